"""Features and outcomes of a study on OMOP records: what each column of the table of people means; public, fixed here.

    [features.hba1c]
    measurement = "hba1c"           # a name of [concepts], or codes
    value = "last"
    before = 365                    # days before the index date; the index date itself belongs to the window

The model is OHDSI's FeatureExtraction (https://github.com/OHDSI/FeatureExtraction): what starts within a window of days
around the index date, counted or measured. Its windows are before = 365 (long term), 180 (medium), 30 (short). Which
columns there are is known without data: nothing is found by listing what a hospital has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from confrere.errors import StudyError
from confrere.study.concepts import ConceptSet, inline
from confrere.study.kinds import converted
from confrere.study.schema import Column

Error = Callable[[str, str, str], StudyError]  # table, key, message: with the line of the study file


class Source(NamedTuple):
    """The table of a domain in the OMOP data model, and its columns."""

    table: str
    concept: str
    start: str
    end: str = ""


SOURCES: Mapping[str, Source] = {
    "condition": Source("condition_occurrence", "condition_concept_id", "condition_start_date"),
    "drug": Source("drug_exposure", "drug_concept_id", "drug_exposure_start_date"),
    "procedure": Source("procedure_occurrence", "procedure_concept_id", "procedure_date"),
    "measurement": Source("measurement", "measurement_concept_id", "measurement_date"),
    "observation": Source("observation", "observation_concept_id", "observation_date"),
    "visit": Source("visit_occurrence", "visit_concept_id", "visit_start_date", "visit_end_date"),
    "device": Source("device_exposure", "device_concept_id", "device_exposure_start_date"),
}

DOMAINS = tuple(SOURCES)
ABOUT = (
    "age", "sex", "index_year", "index_month", "observation_days", "charlson",
)  # fmt: skip
COUNTED = ("any", "count", "days since")
MEASURED = ("last", "first", "mean", "min", "max", "trend")
STAYED = ("days",)
SEXES = ("female", "male", "other")
MOST = 1_000  # columns
LONGEST = 40_000  # days of a window

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
TOGETHER = "together"
NONE = "none"  # of competing outcomes: none of them

_KEYS = ("is", *DOMAINS, TOGETHER, "value", "before", "after", "after_index", "unit", "convert", "each")


@dataclass(frozen=True)
class Feature:
    """One column of the table of people.

    kind     a domain of events (`DOMAINS`), or what `is` says (`ABOUT`)
    of       the concept set of its events
    value    any (1 or 0), count, days since; of measurements and observations last, first, mean, min, max, trend (per
             year); of visits days (of stay)
    before, after  the window in days around the index date, both ends in it; before = None is from ever
    unit     code of the unit (`UCUM:%`) or its concept id; "" takes every record, if all are in one unit
    convert  (unit, factor, shift) of other units: value x factor + shift
    """

    name: str
    kind: str
    of: ConceptSet | None = None
    value: str = "any"
    before: int | None = None
    after: int = 0
    unit: str | int = ""
    convert: tuple[tuple[str | int, float, float], ...] = ()

    @property
    def measured(self) -> bool:
        """Whether it is made of values, so that whoever has none misses it."""
        return self.value in MEASURED

    @property
    def column(self) -> Column | None:
        """What the table's schema says of it, if it has levels."""
        return Column(self.name, SEXES[:2]) if self.kind == "sex" else None


@dataclass(frozen=True)
class Together(Feature):
    """Days of the window on which drug eras of two sets of concepts both run; `of` is the one."""

    other: ConceptSet | None = None


@dataclass(frozen=True)
class Outcome:
    """Events of a cohort after the index date, and the time at risk of them: columns `name` (1 or 0) and `name_time`.

    first, last  days after the index date on which the time at risk begins and ends, both in it; None: no end
    keep         whoever had one before the time at risk stays; otherwise the study leaves them out
    rivals       cohorts that compete with it: `name` is then the one that comes first, or none, as levels
    """

    name: str
    cohort: str
    first: int = 1
    last: int | None = None
    keep: bool = False
    rivals: tuple[str, ...] = ()

    @property
    def cohorts(self) -> tuple[str, ...]:
        """The names of all its cohorts; of two on one day, the one that stands first comes first."""
        return (self.cohort, *self.rivals)

    @property
    def column(self) -> Column | None:
        """What the table's schema says of it, if it has levels: none, which is censoring, and its causes."""
        return Column(self.name, (NONE, *self.cohorts)) if self.rivals else None

    @property
    def time(self) -> str:
        """The column of the time at risk, in the study's unit of time; the day of the event counts."""
        return f"{self.name}_time"

    @property
    def before(self) -> str:
        """Why somebody is left out who had it before."""
        return f"{self.name} before the time at risk"

    @property
    def never(self) -> str:
        """Why somebody is left out who dies, or whose observation or cohort ends, before the time at risk."""
        return f"no time at risk of {self.name}"


def features(written: Mapping[str, Any], sets: Mapping[str, ConceptSet], error: Error) -> Iterator[Feature]:
    """The features of [features], `each` written out. StudyError names the table, the key and the line."""
    for name, said in written.items():
        table = f"features.{name}"
        if not _NAME.fullmatch(name):
            raise error(table, "", "a feature is named by letters, digits and _, the first a letter (at most 64)")
        if not isinstance(said, dict):
            raise error("features", name, f"write a table: [{table}]")
        yield from _Reader(name, said, sets, error).features()


class _Reader:
    """One table [features.NAME]."""

    def __init__(self, name: str, said: dict[str, Any], sets: Mapping[str, ConceptSet], error: Error) -> None:
        self.name, self.said, self.sets = name, said, sets
        self._error = error

    def error(self, key: str, message: str) -> StudyError:
        return self._error(f"features.{self.name}", key, message)

    def features(self) -> Iterator[Feature]:
        from confrere.study.file import meant

        for key in self.said:
            if key not in _KEYS:
                raise self.error(key, f"is no key here; {meant(key, _KEYS)}")
        kinds = [key for key in ("is", *DOMAINS, TOGETHER) if key in self.said]
        if len(kinds) != 1:
            raise self.error(kinds[1] if kinds else "is", f"give one of is, {', '.join(DOMAINS)}, {TOGETHER}")
        if kinds[0] in ("is", TOGETHER):
            yield self._about(self.choice("is", ABOUT)) if kinds[0] == "is" else self._together()
            return
        kind = kinds[0]
        first, last = self._window()
        more = {"value": self._value(kind), "before": first, "after": last, **self._units(kind)}
        for name, of in self._sets(kind):
            yield Feature(name, kind, of, **more)

    def _about(self, kind: str) -> Feature:
        """What is no event. Charlson's diseases are looked for in a window; the rest is of the index date."""
        allowed = ("is", "before", "after", "after_index") if kind == "charlson" else ("is",)
        for key in self.said:
            if key not in allowed:
                raise self.error(key, f"does not go with is = '{kind}'")
        first, last = self._window()
        return Feature(self.name, kind, None, kind, first, last)

    def _together(self) -> Together:
        """Two drugs at once."""
        for key in self.said:
            if key not in (TOGETHER, "before", "after", "after_index"):
                raise self.error(key, f"does not go with {TOGETHER}, which counts days")
        given = self.said[TOGETHER]
        if not isinstance(given, list) or len(given) != 2:
            raise self.error(TOGETHER, "give two drugs, each a name of [concepts], a code or an id")
        (_, one), (_, other) = self._sets(TOGETHER, each=True)
        return Together(self.name, TOGETHER, one, "days", *self._window(), other=other)

    def _window(self) -> tuple[int | None, int]:
        before, after = self.get("before", int | None, None), self.get("after", int, 0)
        if before is not None and not 0 <= before <= LONGEST:
            raise self.error("before", f"{before} must be 0 to {LONGEST} days before the index date")
        if not -LONGEST <= after <= LONGEST or (before is not None and after < -before):
            raise self.error("after", f"{after}: the window would end before it begins; give days after the index date")
        if after > 0 and not self.get("after_index", bool, False):
            raise self.error(
                "after", f"{after}: what happens after the index date may be caused by what is compared. If that is "
                f"meant, add after_index = true"
            )  # fmt: skip
        return before, after

    def _value(self, kind: str) -> str:
        choices = COUNTED + (MEASURED if kind in ("measurement", "observation") else ())
        return self.choice("value", choices + (STAYED if kind == "visit" else ()), "any")

    def _units(self, kind: str) -> dict[str, Any]:
        unit, convert = self.get("unit", str | int, ""), self.get("convert", dict[str, Any], {})
        if (unit != "" or convert) and self.said.get("value") not in MEASURED:
            raise self.error("unit", f"a unit goes with a value of a measurement: value = {', '.join(MEASURED)}")
        if convert and unit == "":
            raise self.error("convert", 'say first in which unit the feature is: unit = "UCUM:..."')
        made = []
        for other, rule in convert.items():
            try:
                factor, shift = msgspec.convert(rule if isinstance(rule, list) else [rule, 0.0], tuple[float, float])
            except msgspec.ValidationError:
                raise self.error("convert", f"'{other}': give a factor, or [factor, shift]") from None
            made.append((int(other) if other.isdigit() else other, factor, shift))
        return {"unit": unit, "convert": tuple(made)}

    def _sets(self, kind: str, each: bool = False) -> Iterator[tuple[str, ConceptSet]]:
        """The columns of a feature, and what each looks for; one for `each` of what is listed."""
        from confrere.study.file import meant

        given = self.said[kind]
        listed = given if isinstance(given, list) else [given]
        if not listed or not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
            raise self.error(kind, "give a name of [concepts], or a list of codes and ids of concepts")
        for one in listed:
            if isinstance(one, str) and ":" not in one and one not in self.sets:
                raise self.error(kind, f"'{one}' is no name of [concepts]; {meant(one, self.sets)}")
        try:
            if each or self.get("each", bool, False):
                for one in listed:
                    yield f"{self.name}_{_word(one)}", self.sets[one] if one in self.sets else inline([one])
            elif len(listed) == 1 and listed[0] in self.sets:
                yield self.name, self.sets[listed[0]]
            elif named := [one for one in listed if one in self.sets]:
                raise self.error(kind, f"'{named[0]}' is a name of [concepts]; list codes alone, or say each = true")
            else:
                yield self.name, inline(listed)
        except StudyError as error:
            raise error if "line" in str(error) else self.error(kind, str(error)) from None

    def get(self, key: str, kind: Any, default: Any) -> Any:
        if key not in self.said:
            return default
        try:
            return converted(self.said[key], kind)
        except msgspec.ValidationError as error:
            raise self.error(key, f"has the wrong type: {error}") from None

    def choice(self, key: str, choices: Sequence[str], default: str = "") -> str:
        from confrere.study.file import meant

        value = str(self.get(key, str, default))
        if value not in choices:
            raise self.error(key, f"'{value}' is not known; {meant(value, choices)}")
        return value


def _word(code: str | int) -> str:
    """A code as part of a column's name: ATC:M01A is ATC_M01A."""
    return re.sub(r"[^A-Za-z0-9]+", "_", str(code)).strip("_")


def outcomes(written: Mapping[str, Any], cohorts: Sequence[str], error: Error) -> Iterator[Outcome]:
    """The outcomes of [outcomes]. StudyError names the table, the key and the line."""
    from confrere.study.file import meant

    kinds = {"cohort": str, "cohorts": list, "from": int, "until": int, "prior": str}
    words = {int: "days, a whole number", list: "a list of names of [cohorts]", str: "text"}
    for name, said in written.items():
        table = f"outcomes.{name}"
        if not isinstance(said, dict):
            raise error("outcomes", name, f"write a table: [{table}]")
        if not _NAME.fullmatch(name):
            raise error(table, "", "an outcome is named by letters, digits and _, the first a letter (at most 64)")
        for key, value in said.items():
            if key not in kinds:
                raise error(table, key, f"is no key here; {meant(key, kinds)}")
            if type(value) is not kinds[key]:
                raise error(table, key, f"must be {words[kinds[key]]}")
        first, last = said.get("from", 1), said.get("until")
        cohort, *rivals = _happening(said, table, cohorts, error)
        if not 0 <= first <= LONGEST:
            raise error(table, "from", f"{first} must be 0 to {LONGEST} days after the index date")
        if last is not None and not first <= last <= LONGEST:
            raise error(table, "until", f"{last} must be {first} (from) to {LONGEST} days after the index date")
        if (prior := said.get("prior", "leave out")) not in ("leave out", "keep"):
            raise error(table, "prior", f"'{prior}' must be 'leave out' or 'keep'")
        yield Outcome(name, cohort, first, last, prior == "keep", tuple(rivals))


def _happening(said: Mapping[str, Any], table: str, cohorts: Sequence[str], error: Error) -> list[str]:
    """The names of the cohorts of an outcome: one, or several that compete."""
    from confrere.study.file import meant

    if ("cohort" in said) == ("cohorts" in said):
        raise error(table, "cohorts" if "cohort" in said else "cohort", "give one of cohort and cohorts")
    key = "cohort" if "cohort" in said else "cohorts"
    given: list[Any] = said["cohorts"] if "cohorts" in said else [said["cohort"]]
    for one in given:
        if one not in cohorts:
            raise error(table, key, f"'{one}' is no name of [cohorts]; {meant(str(one), cohorts)}")
    if key == "cohorts" and (len(given) < 2 or len(set(given)) < len(given) or NONE in given):
        raise error(table, key, f"{given} must be two names or more, each once, none of them '{NONE}'")
    return given
