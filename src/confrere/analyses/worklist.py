"""Worklists: who may meet the criteria of a study, kept in each hospital for its clinicians; a funnel of counts leaves.

Criteria are applied one after the other. Whoever fails one is ruled out at the first that they fail; whoever fails none
is on the list of their hospital: they meet all criteria, or some are unknown because a value is missing, to be checked
by hand. This is the screening log of a trial, and the funnel is the upper part of its flow diagram: CONSORT,
Hopewell et al., BMJ 2025;389:e081123. Unknown values join as in R's `&`, `|` and `!`.

Everybody is in one cell of an ordered partition: ruled out at criterion 1, 2, ..., to be checked, eligible. The gate
merges neighbours until each holds nobody or at least k people. So successive counts differ by 0 or at least k, and a
step that rules out fewer than k people is told together with the next. The rows are no sums: they are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.analyses.funnel import funnel, screened
from confrere.errors import ModelError, StudyError
from confrere.rounds import (
    Array,
    Bools,
    Cells,
    Design,
    Ints,
    People,
    Sum,
    Verdict,
    ask,
    keep,
    local,
    register,
    support,
    together,
)
from confrere.study.criteria import Criterion, criterion
from confrere.study.ground import Ground
from confrere.study.rows import TableRows
from confrere.study.worklist import Answer, Worklist

MOST = 50  # criteria
CONSORT = Citation(
    "Hopewell S, Chan A-W, Collins GS, et al. CONSORT 2025 statement: updated guideline for reporting randomised "
    "trials. BMJ 2025;389:e081123",
    "10.1136/bmj-2024-081123",
)
STAYS = (
    "Only this table left the hospitals. The rows of the people who are not ruled out stay in each hospital, as a "
    "worklist for its clinicians."
)


class Funnel(NamedTuple):
    """People by where the criteria lead them, on the merged grid."""

    people: Sum  # (1, cells)


@register("worklist")
@dataclass(frozen=True)
class Screening:
    """Keep in each hospital the people who may meet all `criteria`, as a worklist called `title` for its clinicians.

    `criteria` are comparisons of columns, joined by and, or, not. `show` are the columns that a clinician sees (those
    of the criteria unless given), `order_by` is the column by which rows are ordered ("-age": the largest first),
    `purpose` says what the list is for. Whoever opposes being contacted for research is not on it, unless `contact` is
    false: the list leads to no contact for research. It needs the column of person ids, `[data] person`.

    Finding: tables `funnel` (a record per step: `step`, `criterion`, `n`) and `attrition`. Errors: FormulaError for a
    criterion that cannot be read; DataError for an unknown column or text without declared levels; ModelError for a
    criterion that is unknown for everybody.
    """

    title: str
    criteria: tuple[str, ...]
    show: tuple[str, ...] = ()
    order_by: str = ""
    purpose: str = ""
    contact: bool = True
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        for name in ("criteria", "show"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise StudyError(f"{name} is the text {given!r}; it is a list of texts")
            object.__setattr__(self, name, tuple(given))
            for text in getattr(self, name):
                if getattr(self, name).count(text) > 1:
                    raise StudyError(f"{name} names {text!r} more than once; leave one out")
        if not self.title.strip() or not self.title.isprintable():
            raise StudyError(f"title is {self.title!r}; give the worklist a name that clinicians will recognise")
        if not 1 <= len(self.criteria) <= MOST:
            raise StudyError(f"criteria has {len(self.criteria)} entries; give 1 to {MOST}")

    # public

    @property
    def parsed(self) -> tuple[Criterion, ...]:
        """The criteria, read without data."""
        return tuple(criterion(text, self.ground.schema) for text in self.criteria)

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that a clinician sees, beside the person's id."""
        columns = self.show or tuple(dict.fromkeys(name for c in self.parsed for name in c.columns))
        return tuple(name for name in columns if name != self.ground.person)

    @property
    def reads(self) -> tuple[str, ...]:
        """The source columns."""
        asked = {name for c in self.parsed for name in c.columns}
        return tuple(sorted({*asked, *self.shown, self.order_by.removeprefix("-")} - {"", self.ground.person}))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns that nobody may miss: none, since a missing value makes a criterion unknown."""
        return ()

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom the funnel counts after each criterion, and at its end: each within the one before."""
        texts = [f"({c.canonical})" for c in self.parsed]
        steps = [" and ".join(texts[: j + 1]) for j in range(len(texts))]
        return (*(f"not ruled out by {step}" for step in steps), steps[-1])

    def check(self) -> None:
        """Settings against the ground, before anything is asked."""
        if not self.ground.person:
            raise StudyError('a worklist names people: add person = "..." under [data], the column of person ids')
        for c in self.parsed:
            if self.ground.person in c.columns:
                raise StudyError(
                    f"criterion {c.text!r} reads {self.ground.person!r}, the column of person ids, of which every "
                    f"hospital has its own; leave it out"
                )

    # inside each hospital

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom the funnel counts: what selects them, the columns of that, and who (N,) they are."""
        met, failed = self._judged(frame)
        steps = [~np.logical_or.reduce(failed[: j + 1]) for j in range(len(self.criteria))]
        for j, (text, who) in enumerate(zip(self.selecting, [*steps, np.logical_and.reduce(met)], strict=True), 1):
            yield text, tuple(sorted({name for c in self.parsed[:j] for name in c.columns})), who

    def design(self, people: People) -> Design:
        """Where the criteria lead everybody, and whether at least k people have an answer to each."""
        frame = people.table.frame
        met, failed = self._judged(frame)
        last = len(self.criteria)
        place = np.where(met.all(axis=0), last + 1, last)  # eligible, or to be checked
        place = np.where(failed.any(axis=0), failed.argmax(axis=0), place)
        # the edges that matter most: who is on the list, and who of them is known to meet all
        cells = Cells(place, (1, last + 2), rule="merge", marks=(last, last + 1))
        known = {str(j): met[j] | failed[j] for j in range(last)}
        return screened(people.table, self.ground.complete, self.reads, cells, known)

    @local(on="design")
    def counted(self, people: People) -> Funnel:
        """People by merged cell: ruled out at each criterion, to be checked, eligible."""
        return Funnel(people.cells("funnel"))

    @local(on="design")
    def listed(self, people: People) -> Worklist:
        """The people who are not ruled out: their rows stay in the hospital, as a worklist for its clinicians."""
        frame = people.table.frame
        met, failed = self._judged(frame)
        order = self._order(frame, np.flatnonzero(~failed.any(axis=0)))
        rows = frame.iloc[order][[self.ground.person, *self.shown]].reset_index(drop=True)
        rows[self.ground.person] = rows[self.ground.person].astype(str)
        answers = tuple(tuple(_answer(known) for known in column) for column in met.T[order])
        left = [int(who.sum()) for _, _, who in self.selected(frame)]
        told = tuple((step, text, n) for (step, text), n in zip(self._steps(), [len(frame), *left], strict=True))
        return Worklist(self.title.strip(), self.purpose.strip(), self.criteria, rows, answers, told, self.contact)

    def _judged(self, frame: Any) -> tuple[Bools, Bools]:
        """(criteria, N) who meets each, and who fails it."""
        rows = TableRows(frame, self.ground.schema, {})
        judged = [c.judge(rows) for c in self.parsed]
        for name in (*self.shown, self.order_by.removeprefix("-")):
            if name:  # wrong columns are known before a number is asked
                self._column(rows, name)
        return np.array([j.met for j in judged]), np.array([j.failed for j in judged])

    def _order(self, frame: Any, places: Ints) -> Ints:
        """Places (n,) in the order of the list: by `order_by`, missing values last, then by the person's id."""
        ids = np.array(frame[self.ground.person].astype(str), dtype=str)[places]
        keys: list[Any] = [ids]
        if self.order_by:
            values = self._column(TableRows(frame, self.ground.schema, {}), self.order_by.removeprefix("-"))[places]
            keys.append(-values if self.order_by.startswith("-") else values)
        return places[np.lexsort(keys)]  # NaN is sorted last

    def _column(self, rows: TableRows, name: str) -> Array:
        """Numbers (N,), or places of the levels; NaN where missing. DataError for what is neither."""
        if self.ground.schema.levels(name) is None:
            return rows.numbers(name)
        codes = rows.codes(name)
        return np.where(codes < 0, np.nan, codes)

    # sums only

    def flow(self) -> FlowFinding:
        """Settle which counts may be told; then count, and keep the rows."""
        verdict = yield from support(self.design)
        for j, text in enumerate(self.criteria):
            if verdict.grids[f"known {j}"][0, 0] < 0:
                raise ModelError(
                    f"criterion {text!r} is unknown for (nearly) everybody: too few people have a value of "
                    f"{', '.join(map(repr, self.parsed[j].columns))}. Correct the column, or leave the criterion out"
                )
        funnel, _ = yield from together(ask(self.counted), keep(self.listed))
        tables = {"funnel": self._funnel(verdict, funnel.people.value[0]), "attrition": attrition(verdict)}
        return Finding("worklist", verdict.n, verdict.hospitals, tables, notes=(STAYS,), cite=(CONSORT,))

    def _funnel(self, verdict: Verdict, counts: Array) -> list[Record]:
        """How many people are left before the first criterion, after each, and among them who meet all."""
        return funnel(self._steps(), verdict.grids["funnel"][0], counts)

    def _steps(self) -> list[tuple[str, str]]:
        """Every step and its criterion, everybody first."""
        return [("screened", ""), *(("not ruled out", text) for text in self.criteria), ("meet all criteria", "")]


def _answer(met: bool) -> Answer:
    """Of a person who fails no criterion."""
    return "met" if met else "unknown"
