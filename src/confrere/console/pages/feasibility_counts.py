"""Counts behind the pages of feasibility: of sources on this machine, where criteria change; of a released finding.

**On this machine** each criterion's people are kept, so that a change judges one criterion. The counts are then those
of the analysis itself, under the hospitals' rules. Whoever has the sources could read them anyway; several answers
together are not judged as one here, and nothing on the page is a release.

**Of a released finding** any set of criteria, and any of its variants, is counted from the patterns that were told: no
new question is asked.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from confrere.analyses.feasibility import Feasibility
from confrere.analyses.finding import Finding
from confrere.data.copies import Array, Copies, Events
from confrere.data.table import Table
from confrere.errors import StudyError
from confrere.hospital.gate import Policy, judge_clear
from confrere.rounds import clear, drive, supported
from confrere.study.circe import Definition, definition

Place = tuple[str | int, ...]
LARGEST: Final = 1e6  # of a number in a field


class Number(NamedTuple):
    """A number of a criterion that may be changed: where it stands in its JSON, what it is (a key of words), itself."""

    place: Place
    what: str
    value: float

    @property
    def name(self) -> str:
        """Its place as the name of a field."""
        return ".".join(map(str, self.place))


def numbers(rule: Any, place: Place = (), above: str = "") -> Iterator[Number]:
    """The numbers of a criterion (Circe JSON) that a page lets change: ages, values, days, counts."""
    # the first of two ends first: Value, Extent; Start, End
    listed = enumerate(rule) if isinstance(rule, list) else ()
    for key, value in sorted(rule.items(), reverse=True) if isinstance(rule, dict) else listed:
        here = (*place, key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield from numbers(value, here, str(key) if isinstance(rule, dict) else above)
        elif key == "Days" and isinstance(rule.get("Coeff"), int):
            yield Number(here, "days before" if rule["Coeff"] < 0 else "days after", value)
        elif key in ("Value", "Extent") and "Op" in rule:
            what = "up to" if key == "Extent" else "from" if "Extent" in rule else rule["Op"]
            yield Number(here, f"{above} {what}", value)
        elif key == "Count" and above == "Occurrence" and "Type" in rule:
            yield Number(here, "times", value)


def changed(rule: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """A criterion with the numbers of a form; what the form does not have stays. StudyError for what is no number."""
    made: dict[str, Any] = copy.deepcopy(dict(rule))
    for number in numbers(rule):
        if (text := given.get(number.name, "").strip()) == "":
            continue
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            raise StudyError(f"{text[:40]!r} is no number; write one, such as {number.value:g}") from None
        if not 0 <= value <= LARGEST:
            raise StudyError(f"{text[:40]} is out of bounds; write a number from 0 to {LARGEST:,.0f}")
        at: Any = made
        for key in number.place[:-1]:
            at = at[key]
        at[number.place[-1]] = int(value) if value.is_integer() else value
    return made


@dataclass(eq=False)
class Explorer:
    """The criteria of a cohort over sources of this machine; `analysis` is what the study asks."""

    analysis: Feasibility
    copies: Copies
    k: int
    kept: dict[str, dict[str, Array]] = field(default_factory=dict)  # by the JSON of a rule

    def __post_init__(self) -> None:
        self.asked: int | None = self.count(self.rules).tables["funnel"][-1]["n"]  # who meets all, as the study has it

    @property
    def base(self) -> dict[str, Any]:
        """The definition as it was given, its concepts by their ids."""
        return _spelled(definition(self.copies.entered.text))

    @property
    def rules(self) -> list[dict[str, Any]]:
        """Its criteria."""
        return list(self.base["InclusionRules"])

    def count(self, rules: Sequence[Mapping[str, Any]]) -> Finding:
        """The finding with these criteria in place of the definition's. StudyError where there is none."""
        made = definition(json.dumps({**self.base, "InclusionRules": list(rules)}))
        analysis = replace(self.analysis, cohort=made.text, variants=())
        analysis.check()
        answers = [self._answers(rule) for rule in rules]
        tables = [
            Table(frame, len(frame), {}, {}, name)
            for name, events in self.copies.events.items()
            for frame in [_frame(events, made, np.column_stack([one[name] for one in answers]))]
        ]
        answer = clear(tables, lambda designs: judge_clear(designs, Policy(k=self.k)))
        with threadpool_limits(1, "blas"):  # arrays of one hospital are too short to be shared out
            finding: Finding = drive(supported(analysis.flow()), answer)
        return finding

    def _answers(self, rule: Mapping[str, Any]) -> dict[str, Array]:
        text = json.dumps(rule, sort_keys=True)
        if text not in self.kept:
            self.kept[text] = self.copies.judge(json.dumps({**self.base, "InclusionRules": [rule]}))
        return self.kept[text]


def _spelled(made: Definition) -> dict[str, Any]:
    """A definition with its list of rules under the name that Circe gives it."""
    found = json.loads(made.text)
    rules: list[Any] = next((found.pop(key) for key in [*found] if key.lower() == "inclusionrules"), [])
    return {**found, "InclusionRules": rules}


def _frame(events: Events, made: Definition, answers: Array) -> pd.DataFrame:
    """Everybody of a source, with the answers (events, rules) of the entry event that meets most rules.

    Of those with as many the one that meets the earliest rule, then the earliest: as `data.circe` has it.
    """
    met = answers == 1
    earliest = np.where(met.any(axis=1), met.argmax(axis=1), met.shape[1])
    order = np.lexsort((events.event, events.day, earliest, -met.sum(axis=1), events.person))
    best = order[np.unique(events.person[order], return_index=True)[1]]
    more = events.everybody - len(best)
    columns = {made.rule(j): answers[best, j - 1] for j in range(1, answers.shape[1] + 1)}
    columns |= {made.entry: events.day[best]}
    known = pd.DataFrame({**columns, **{name: np.asarray(v)[events.person[best]] for name, v in events.basics.items()}})
    return known.reindex(range(len(best) + more))
