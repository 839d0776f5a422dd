"""Recruitment: who of a hospital may join a trial, kept there for its clinicians; and how far the network has got.

**The list** (`recruitment`) is of the people of a cohort of OMOP records, and of those near it: a cohort is a yes or a
no, but records have gaps, and a measurement that nobody made rules nobody out of a trial. So of every person with an
entry event each inclusion rule is met, failed or unknown. Who fails one is ruled out; who fails none and of whom few
enough are unknown is on the list. The funnel is that of a worklist (`analyses/worklist.py`): an ordered partition,
whose cells the gate merges until each holds nobody or at least k people. The rows are no sums: they are kept.

**The counts** (`enrolment`) are of the statuses that clinicians noted since (`study/recruitment.py`), at the end of a
day that is over. They are an ordered partition too, from "not seen" to "enrolled". How many are on the list is not
among them: less than the funnel of the list by those who oppose being contacted, whose number is the steward's. Another
day is another cut of everybody: each hospital holds it against the days that it answered before, as it holds any two
cuts, so that two looks differ by nobody, or by at least k people.

The flow diagram is that of CONSORT, Hopewell et al., BMJ 2025;389:e081123. Rules that are unknown are those of Kleene's
logic, as in R's `&`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, NamedTuple

import numpy as np

from confrere.analyses.cohort import TWICE
from confrere.analyses.finding import Finding, FlowFinding, attrition
from confrere.analyses.funnel import funnel, screened
from confrere.analyses.worklist import CONSORT, STAYS, Funnel
from confrere.errors import DataError, ModelError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, ask, keep, local, register, support, together
from confrere.study.circe import Definition
from confrere.study.ground import Ground
from confrere.study.recruitment import STATUSES, STEPS, Look
from confrere.study.rows import TableRows
from confrere.study.worklist import Answer, Worklist

EPOCH = date(1970, 1, 1).toordinal()
INDEX = "index_date"  # the list's column of entry events
ANSWERS: dict[float, Answer] = {1.0: "met", 0.0: "failed"}


class Step(NamedTuple):
    """A step of a funnel: what it is called, its criterion or "", and the words that select who passes it."""

    name: str
    criterion: str
    words: str


@register("recruitment")
@dataclass(frozen=True)
class Recruitment:
    """Keep in each hospital the people who may be in a `cohort` of [cohorts], as a worklist called `title`.

    `unknown` is how many inclusion rules may be unknown of a person on the list. With `as_of` (a day, ISO 8601) entry
    events after it do not count, with `within` those more than so many days before it neither. `show` are the features
    that a clinician sees, `purpose` says what the list is for.

    Who opposes being contacted for research is not on the list. Finding: tables `funnel` (a record per step: `step`,
    `criterion`, `n`) and `attrition`. Errors: StudyError for a cohort that the study does not name, or a day that is
    none; DataError where a hospital's table of people was not made for the cohort.
    """

    title: str
    cohort: str
    unknown: int = 0
    within: int | None = None
    as_of: str = ""
    show: tuple[str, ...] = ()
    purpose: str = ""
    ground: Ground = Ground()
    everybody: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "show", tuple(self.show))
        if not self.title.strip() or not self.title.isprintable():
            raise StudyError(f"title is {self.title!r}; give the worklist a name that clinicians will recognise")
        if self.unknown < 0:
            raise StudyError(f"unknown is {self.unknown}; it is how many rules may be unknown, 0 or more")
        if self.within is not None and (self.within < 1 or not self.as_of):
            raise StudyError(f"within is {self.within}; give days, 1 or more, and the day they count back from, as_of")
        if self.as_of:
            _day(self.as_of)

    # public

    @property
    def definition(self) -> Definition:
        """The cohort's definition."""
        return self.ground.cohort(self.cohort)

    @property
    def cohorts(self) -> tuple[Definition, ...]:
        """The definitions whose columns it reads."""
        return (self.definition,)

    @property
    def rules(self) -> tuple[str, ...]:
        """The columns of the inclusion rules."""
        return tuple(self.definition.rule(j) for j in range(1, len(self.definition.rules) + 1))

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that a clinician sees, beside the person's id and the index date."""
        return tuple(name for name in dict.fromkeys(self.show) if name != self.ground.person)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the table of people."""
        return tuple(sorted({self.definition.column, self.definition.entry, *self.rules, *self.shown}))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns that nobody may miss: none, since what is missing makes a rule unknown."""
        return ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps after everybody, in their order."""
        made, entry = self.definition, self.definition.entry
        start = ".."  # open, in ISO 8601
        if self.within:
            start = date.fromordinal(EPOCH + _day(self.as_of) - self.within).isoformat()
        steps = [Step("entry event", "", f"{entry} is known")]
        if self.as_of:
            steps.append(Step("recent entry event", f"{start}/{self.as_of}", f"{entry} in {start}/{self.as_of}"))
        steps += [Step("not ruled out", rule, f"not {name} == 0")
                  for rule, name in zip(made.rules, self.rules, strict=True)]  # fmt: skip
        steps.append(Step("not cut off by censoring", "", f"{made.column} == {len(made.steps)} or a rule is unknown"))
        if self.unknown:
            most = f"<= {self.unknown}"
            steps.append(Step("few criteria unknown", most, f"unknown rules {most}"))
        return (*steps, Step("meet all criteria", "", f"{made.column} == {len(made.steps)}"))

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom the funnel counts after each step: each within the one before."""
        words = [f"({step.words})" for step in self.steps]
        return tuple(" and ".join(words[: j + 1]) for j in range(len(words)))

    def check(self) -> None:
        """Settings against the ground, before anything is asked."""
        if not self.ground.person:
            raise StudyError('a worklist names people: add person = "..." under [data], the column of person ids')
        if self.unknown > len(self.definition.rules):
            raise StudyError(
                f"unknown is {self.unknown}, and {self.cohort!r} has {len(self.definition.rules)} inclusion rules; "
                f"give that at most"
            )

    # inside each hospital

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom the funnel counts: what selects them, the columns of that, and who (N,) they are."""
        passed = self._passed(frame)
        told = [self.reads] * (len(passed) - 1)
        # where nothing is unknown, whoever is not ruled out meets all: one set, not two
        told.append(self.reads if (passed[-1] != passed[-2]).any() else ())
        yield from zip(self.selecting, told, passed, strict=True)

    def design(self, people: People) -> Design:
        """Where the steps lead everybody, and whether at least k people have an answer to each rule."""
        frame, last = people.table.frame, len(self.steps)
        # the edges that matter most: who is on the list, and who of them is known to meet all
        marks = (last - 1, last) if self.unknown else (last,)
        place = Cells(self._passed(frame).sum(axis=0), (1, last + 1), rule="merge", marks=marks)
        known = dict(zip(self.rules, ~np.isnan(self._answers(frame)), strict=True))
        return screened(people.table, self.ground.complete, self.reads, place, known)

    @local(on="design")
    def counted(self, people: People) -> Funnel:
        """People by merged cell: no entry event, ruled out at each rule, too much unknown, to be checked, eligible."""
        return Funnel(people.cells("funnel"))

    @local(on="design")
    def listed(self, people: People) -> Worklist:
        """The people who are not ruled out: their rows stay in the hospital, as a worklist for its clinicians."""
        frame, passed = people.table.frame, self._passed(people.table.frame)
        answers, entry = self._answers(frame), self._numbers(frame, self.definition.entry)
        on = np.flatnonzero(passed[len(self.steps) - (2 if self.unknown else 1)])
        ids = np.array(frame[self.ground.person].astype(str), dtype=str)[on]
        order = on[np.lexsort([ids, -entry[on], np.isnan(answers[:, on]).sum(axis=0)])]  # the newest first
        rows = frame.iloc[order][[self.ground.person, *self.shown]].reset_index(drop=True)
        rows[self.ground.person] = rows[self.ground.person].astype(str)
        rows.insert(1, INDEX, [date.fromordinal(EPOCH + int(day)).isoformat() for day in entry[order]])
        told = tuple(tuple(ANSWERS.get(known, "unknown") for known in person) for person in answers.T[order])
        counts = [len(frame), *(int(n) for n in passed.sum(axis=1))]
        local_funnel = tuple((name, text, n) for (name, text), n in zip(self._named(), counts, strict=True))
        return Worklist(self.title.strip(), self.purpose.strip(), self.definition.rules, rows, told, local_funnel)

    def _passed(self, frame: Any) -> Bools:
        """(steps, N) who passes each step and all before it."""
        made, answers = self.definition, self._answers(frame)
        entry, reached = self._numbers(frame, made.entry), self._numbers(frame, made.column)
        unknown = np.isnan(answers).sum(axis=0)
        steps = [~np.isnan(entry)]
        if self.as_of:
            end = _day(self.as_of)
            steps.append((entry <= end) & (entry >= (end - self.within if self.within else -np.inf)))
        steps += [*(answers != 0), (reached == len(made.steps)) | (unknown > 0)]
        if self.unknown:
            steps.append(unknown <= self.unknown)
        return np.logical_and.accumulate([*steps, unknown == 0], axis=0)

    def _answers(self, frame: Any) -> Array:
        """(rules, N) 1 met, 0 failed, NaN unknown."""
        found = np.array([self._numbers(frame, name) for name in self.rules]).reshape(len(self.rules), len(frame))
        for name, known in zip(self.rules, found, strict=True):
            if not np.isin(known[~np.isnan(known)], (0, 1)).all():
                raise DataError(
                    f"column {name!r}, a rule of {self.cohort!r}, must hold 1 for met and 0 for failed; make the table "
                    f"of people anew from this definition"
                )
        return found

    def _numbers(self, frame: Any, name: str) -> Array:
        """Numbers (N,), NaN where missing."""
        return TableRows(frame, self.ground.schema, {}).numbers(name)

    def _named(self) -> list[tuple[str, str]]:
        """Every step and its criterion, everybody first."""
        return [("people", ""), *((step.name, step.criterion) for step in self.steps)]

    # sums only

    def flow(self) -> FlowFinding:
        """Settle which counts may be told; then count, and keep the rows."""
        verdict = yield from support(self.design)
        for rule, name in zip(self.definition.rules, self.rules, strict=True):
            if verdict.grids[f"known {name}"][0, 0] < 0:
                raise ModelError(
                    f"the rule {rule!r} of {self.cohort!r} is unknown for (nearly) everybody: too few people have a "
                    f"value of {name!r}. Correct the rule, or leave it out"
                )
        counted, _ = yield from together(ask(self.counted), keep(self.listed))
        records = funnel(self._named(), verdict.grids["funnel"][0], counted.people.value[0])
        tables = {"funnel": records, "attrition": attrition(verdict)}
        return Finding("recruitment", verdict.n, verdict.hospitals, tables, notes=(STAYS, TWICE), cite=(CONSORT,))


@register("enrolment")
@dataclass(frozen=True)
class Enrolment:
    """Count how far the people of a list have got, over all hospitals, at the end of a day.

    `study` is the id of the study that made the list, `title` what the list is called, `as_of` the day (ISO 8601), over
    in UTC when the hospitals answer. `steps` are those that are told, in their order.

    Finding: tables `funnel` (a record per step: `step`, `criterion`, `n`) and `attrition`. Errors: StudyError for a day
    that is none; DataError for a column that holds no statuses; ModelError where (nearly) nobody has reached a step.
    """

    study: str
    title: str
    as_of: str
    steps: tuple[str, ...] = STEPS[1:]
    ground: Ground = Ground()
    everybody: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _day(self.as_of)
        wanted = tuple(self.steps)
        if not wanted or wanted != tuple(step for step in STEPS[1:] if step in wanted):
            raise StudyError(f"steps is {list(wanted)}; give some of {', '.join(STEPS[1:])}, each once, in this order")
        object.__setattr__(self, "steps", wanted)

    # public

    @property
    def looks(self) -> tuple[Look, ...]:
        """The statuses that hospitals add to the table of people."""
        return (Look(self.study, self.title.strip(), self.as_of),)

    @property
    def reads(self) -> tuple[str, ...]:
        """The column of the statuses."""
        return (self.looks[0].column,)

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom the funnel counts after each step: each within the one before."""
        # without the day: a step that nobody reached since an earlier look is the same people under the same words
        on = f"on the list {self.title.strip()!r} of {self.study}"
        return tuple(f"{step}: {on}" for step in (*self.steps, self.steps[-1] + ", last"))

    def check(self) -> None:
        """Settings against the ground, before anything is asked."""
        if not self.ground.person:
            raise StudyError('statuses are of people: add person = "..." under [data], the column of person ids')

    # inside each hospital

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom the funnel counts: what selects them, the columns of that, and who (N,) they are."""
        place = self._place(frame)
        last = len(self.steps)
        for text, at in zip(self.selecting, [*range(1, last + 1), last], strict=True):
            yield text, self.reads if text != self.selecting[-1] else (), place >= at

    def design(self, people: People) -> Design:
        """How far everybody got."""
        last = len(self.steps)
        place = Cells(self._place(people.table.frame), (1, last + 1), rule="merge", marks=(1, last))
        return screened(people.table, self.ground.complete, self.reads, place)

    @local(on="design")
    def counted(self, people: People) -> Funnel:
        """People by merged cell: not seen or on no list, then each status."""
        return Funnel(people.cells("funnel"))

    def _place(self, frame: Any) -> Ints:
        """(N,) how many of the steps each person has reached: 0 for who is not on the list."""
        (column,) = self.reads
        found = TableRows(frame, self.ground.schema, {}).numbers(column)
        if not np.isin(found, np.arange(len(STATUSES))).all():
            raise DataError(
                f"column {column!r} must hold the place of each person's status, 1 to {len(STATUSES) - 1}, or 0; have "
                f"the hospitals add it, from their own lists"
            )
        starts = [STEPS.index(step) for step in self.steps]
        return np.searchsorted(starts, found, side="right").astype(np.int64)

    # sums only

    def flow(self) -> FlowFinding:
        """Settle which counts may be told; then count."""
        verdict = yield from support(self.design)
        counted = yield from ask(self.counted)
        steps = [("people", ""), *((step, "") for step in self.steps)]
        records = funnel(steps, verdict.grids["funnel"][0], counted.people.value[0])
        if not records[1]["n"]:
            raise ModelError(
                f"nobody, or too few people to tell, of the list {self.title!r} of {self.study!r} were {self.steps[0]} "
                f"by the end of {self.as_of} ({self.reads[0]!r}); choose a later day"
            )
        tables = {"funnel": records, "attrition": attrition(verdict)}
        return Finding("enrolment", verdict.n, verdict.hospitals, tables, notes=(TWICE,), cite=(CONSORT,))


def _day(text: str) -> int:
    """A day of ISO 8601 as days since 1970. StudyError for anything else."""
    try:
        return date.fromisoformat(text).toordinal() - EPOCH
    except ValueError:
        raise StudyError(f"as_of is {text!r}; write a day as year-month-day, such as 2026-10-31") from None
