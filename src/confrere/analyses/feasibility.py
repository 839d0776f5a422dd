"""Feasibility: how many people of the network could enter a study, what each criterion costs, how many enter a month.

Of everybody with an entry event each hospital knows which criteria they meet, fail, or are unknown for: a pattern. The
counts of patterns answer at once who is left in sequence, alone, and without a criterion, what a criterion costs over
all orders (Shapley values, as in Trial Pathfinder: Liu R, Rizzo S, Whipple S, et al., Nature 2021;592:629), and how a
variant of a criterion would do. Unknown counts as not met, and is told apart.

**No differencing.** Two partitions of the same people could be subtracted, so there is one: first the steps of the
funnel, ordered, merged until each holds nobody or at least k; then, within each merged step, the patterns, of which
small ones are hidden, together with another one where they are few in all. What needs a hidden pattern is an interval.
The people who meet all criteria are then described by month of entry, sex, age and region, if their number is told;
each of these only if no count of it and of another one are a few people apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.feasibility_accrual import Calendar
from confrere.analyses.feasibility_groups import Group, groups
from confrere.analyses.feasibility_patterns import FAILED, MET, UNKNOWN, Patterns
from confrere.analyses.feasibility_tables import Answer, tables
from confrere.analyses.feasibility_variants import measured, replaced
from confrere.analyses.finding import Citation, Finding, FlowFinding, attrition
from confrere.errors import DataError, ModelError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, support
from confrere.study.circe import Definition, definition
from confrere.study.ground import Ground, complete, left_out
from confrere.study.rows import TableRows

CITE = (
    Citation("Liu R, Rizzo S, Whipple S, et al. Evaluating eligibility criteria of oncology trials using real-world "
             "data and AI. Nature 2021;592:629-633", "10.1038/s41586-021-03430-5"),
    Citation("Anisimov VV, Fedorov VV. Modelling, prediction and adaptive adjustment of recruitment in multicentre "
             "trials. Stat Med 2007;26:4958-4975", "10.1002/sim.2956"),
)  # fmt: skip
TWICE = (
    "People are counted per hospital: somebody who was treated in two hospitals is two people here. Somebody with "
    "several entry events counts with the one that meets most criteria."
)
INTERVALS = (
    "Where a count rests on a small group that may not be told, the two numbers between which it lies are given."
)
UNSAID = (
    "Too few people meet all criteria, or too few do not: the people who meet all are not described by month, sex, age "
    "and region, and no accrual is predicted."
)
CLOSE = (
    "By month, sex, age or region some counts of the people who meet all criteria would differ by a few people: what "
    "is missing of these is not told."
)
Places = tuple[int, ...]
Described = tuple[Places, tuple[tuple[str, Places], ...]]


class Stopped(NamedTuple):
    """People by the step at which they stop, on the merged grid."""

    people: Sum  # (1, cells)


class Parts(NamedTuple):
    """People by pattern; those who meet all criteria by month of entry, and by sex, age and region."""

    patterns: Sum  # (steps, patterns)
    months: Sum  # (1, merged months)
    groups: Sum  # (1, levels of all)


@register("feasibility")
@dataclass(frozen=True)
class Feasibility:
    """Count who could enter a study. `cohort` names one of [cohorts] (or is Circe JSON, whole), its rules the criteria.

    `years` are the first and the last calendar year of entry that are looked at; `variants` name other cohorts of the
    study, each like `cohort` but for one criterion; `window` is how many of the last months the accrual rests on.

    Finding: tables `funnel` (`step`, `criterion`, `n`), `criteria` (per criterion and `measure`: alone, unknown,
    without, gain, shapley), `variants`, `patterns` (all that was told, from which any set of criteria can be counted),
    `breakdown` (`by` year, sex, age, region), `entries` by months, `accrual` of the next 12, `attrition`. A count that
    needs a hidden one is `n_low` to `n_high`, `n` null. Errors: StudyError for a variant that differs in more than one
    criterion, or too many patterns; DataError for answers that are none; ModelError if nobody has an entry event.
    """

    cohort: str
    years: tuple[int, int]
    variants: tuple[str, ...] = ()
    window: int = 24
    ground: Ground = Ground()
    everybody = True  # not of those whom a study is about: of all people of the hospitals

    def __post_init__(self) -> None:
        object.__setattr__(self, "years", tuple(self.years))
        object.__setattr__(self, "variants", tuple(self.variants))
        if len(set(self.variants)) < len(self.variants) or self.cohort in self.variants:
            raise StudyError(
                f"variants are {list(self.variants)}; each names another cohort than {self.cohort!r}, once"
            )
        if not 1 <= self.window <= 600:
            raise StudyError(f"window is {self.window}; give the number of months, 1 to 600, that accrual rests on")
        Calendar(*self.years).check()

    # public

    @cached_property
    def cohorts(self) -> tuple[Definition, ...]:
        """The definitions: of the cohort, then of the variants."""
        return tuple(
            definition(name) if name.lstrip().startswith("{") else self.ground.cohort(name)
            for name in (self.cohort, *self.variants)
        )

    @cached_property
    def patterns(self) -> Patterns:
        """The patterns of its criteria and variants. StudyError where there are none, or too many."""
        base, *others = self.cohorts
        if not base.rules:
            raise StudyError('the cohort has no criteria; give it one at least, or count it by method = "cohort"')
        made = Patterns(
            measured(base), tuple(replaced(base, d, name) for d, name in zip(others, self._names, strict=True))
        )
        made.check()
        return made

    @property
    def calendar(self) -> Calendar:
        """The public months."""
        return Calendar(*self.years)

    @property
    def kinds(self) -> tuple[Group, ...]:
        """By what people who meet all criteria are described, with public levels."""
        return groups(self.ground.schema)

    @property
    def answers(self) -> tuple[str, ...]:
        """The columns that answer each criterion and variant."""
        base, *others = self.cohorts
        own = tuple(base.rule(j) for j in range(1, len(base.rules) + 1))
        return own + tuple(d.rule(place + 1) for d, place in zip(others, self.patterns.variants, strict=True))

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the table of people."""
        return tuple(sorted({self.cohorts[0].entry, *self.answers, *(g.column for g in self.kinds)}))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns that nobody may miss: none; what is missing is no entry event, or unknown."""
        return ()

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about: each pattern with those after it; their differences are the patterns."""
        words = "+".join(self.answers)
        chain = (f"pattern >= {j} of {words}" for j in range(1, self.patterns.size))
        return (*chain, f"all of {words}")

    @property
    def _name(self) -> str:
        """What the cohort is called in the study; nothing where it is given as a definition."""
        return "" if self.cohort.lstrip().startswith("{") else self.cohort

    @property
    def _names(self) -> tuple[str, ...]:
        """What the variants are called; one that is given as a definition by its place."""
        return tuple(f"variant {v}" if n.lstrip().startswith("{") else n for v, n in enumerate(self.variants, 1))

    def check(self) -> None:
        """Definitions, variants and patterns, before anything is asked."""
        self.patterns.check()

    # inside each hospital

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` speaks of: the words, the columns that select, and who (N,) they are."""
        entered, number = self._judged(frame)
        *chain, last = self.selecting
        for j, text in enumerate(chain, 1):
            yield text, self.reads, number >= j
        yield last, self.reads, self._all[number] & entered

    def funnel(self, people: People) -> Design:
        """At which criterion everybody stops, the criteria in sequence."""
        frame = people.table.frame
        _, number = self._judged(frame)
        rows = complete(frame, self.ground.complete)
        last = len(self.cohorts[0].rules) + 1
        place = self.patterns.stops()[number][rows]
        # the edge that matters most: who meets all criteria
        return Design(
            n=int(rows.sum()), rows=rows, cells={"funnel": Cells(place, (1, last + 1), rule="merge", marks=(last,))},
            data=number[rows], columns=self.reads, left_out=left_out(people.table, self.ground.complete, rows),
        )  # fmt: skip

    def parts(self, people: People, grid: Places) -> Design:
        """Patterns within the merged steps of the funnel; those who meet all criteria by month, sex, age and region."""
        made = self.funnel(people)
        number, steps = made.data, len(grid)
        group = np.array(grid, dtype=np.int64)[self.patterns.stops()[number]]
        cells = {"patterns": Cells(group * self.patterns.size + number, (steps, self.patterns.size), rule="hide")}
        cells["months"] = Cells(self._who(made, people, grid, "months"), (1, self.calendar.size), rule="merge",
                                marks=self.calendar.marks, days=30.0)  # fmt: skip
        for g in self.kinds:
            cells[g.by] = Cells(self._who(made, people, grid, g.by), (1, len(g.levels)), rule=g.rule, family=g.by)
        return replace(made, cells=cells, data=None)

    def near(self, people: People, grid: Places, told: tuple[Places, ...]) -> Design:
        """By how many people any two counts of different partitions of those who meet all criteria differ."""
        made = self.funnel(people)
        places = []
        for (name, size), merged in zip(self._partitions.items(), told, strict=True):
            cell = self._who(made, people, grid, name)
            at = np.array(merged, dtype=np.int64)[np.maximum(cell, 0)]
            places.append((np.where((cell < 0) | (at < 0), size, at), size + 1))
        inside = described(grid, self.patterns.stops()[made.data])
        cells = {
            f"{i}:{j}": Cells(np.where(inside, one * wide + other, -1), (high, wide), rule="near")
            for (i, (one, high)), (j, (other, wide)) in combinations(enumerate(places), 2)
        }
        return replace(made, cells=cells, data=None)

    def contributions(self, people: People, settled: Described) -> Array:
        """(N, numbers) who is in each cell by which those who meet all criteria are described, and up to each month."""
        (grid, kept), made = settled, self.funnel(people)
        found = [np.zeros((made.n, 0))]
        for name, merged in kept:
            cell, at = self._who(made, people, grid, name), np.array(merged, dtype=np.int64)
            inside = (at[np.maximum(cell, 0)][:, None] == np.arange(at.max(initial=-1) + 1)) & (cell >= 0)[:, None]
            found += [inside, np.cumsum(inside, axis=1)] if name == "months" else [inside]
        numbers = np.hstack(found)
        whole = np.zeros((len(made.rows), numbers.shape[1]))
        whole[made.rows] = numbers
        return whole

    @local(on="funnel")
    def stopped(self, people: People) -> Stopped:
        """People by merged step of the funnel."""
        return Stopped(people.cells("funnel"))

    @local(on="parts")
    def counted(self, people: People, kept: tuple[str, ...]) -> Parts:
        """People by pattern, by merged month of entry, and by sex, age and region; 0 for what is not `kept`."""
        found = [(people.cells(g.by), g) for g in self.kinds]
        flat = [np.pad(s.value, ((0, 0), (0, len(g.levels) - s.value.shape[1]))) * (g.by in kept) for s, g in found]
        whole = np.concatenate(flat, axis=1)
        groups = replace(found[0][0], value=whole, dims=("groups", "levels"), bounds=whole.shape)
        months = people.cells("months")
        return Parts(people.cells("patterns"), replace(months, value=months.value * ("months" in kept)), groups)

    @property
    def _partitions(self) -> dict[str, int]:
        """By what those who meet all criteria are divided, and into how many cells; what goes first is kept."""
        return {"patterns": int(self._all.sum()), "months": self.calendar.size} | {
            g.by: len(g.levels) for g in self.kinds
        }

    def _who(self, made: Design, people: People, grid: Places, name: str) -> Ints:
        """(n,) the cell of a partition of everybody who meets all criteria; -1 for others."""
        inside = described(grid, self.patterns.stops()[made.data])
        if name == "patterns":  # of those that meet all criteria, and differ by variants
            return np.where(inside, np.searchsorted(np.flatnonzero(self._all), made.data), -1)
        frame = people.table.frame.iloc[np.flatnonzero(made.rows)[inside]]
        entry = TableRows(frame, self.ground.schema, {}).numbers(self.cohorts[0].entry)
        found = np.full(made.n, -1, dtype=np.int64)
        if name == "months":
            found[inside] = self.calendar.cell(entry)
        else:
            (group,) = (g for g in self.kinds if g.by == name)
            found[inside] = group.place(frame, entry)
        return found

    @property
    def _all(self) -> Bools:
        """(patterns,) which meet all criteria."""
        return self.patterns.meeting(list(range(len(self.cohorts[0].rules))))

    def _judged(self, frame: Any) -> tuple[Bools, Ints]:
        """(N,) who has an entry event, and everybody's pattern."""
        rows = TableRows(frame, self.ground.schema, {})
        entered = ~np.isnan(rows.numbers(self.cohorts[0].entry))
        found = [rows.numbers(name) for name in self.answers]
        three = (*self.patterns.open_, *(True for _ in self.variants))  # a variant that is unknown is not met
        for name, values, open_ in zip(self.answers, found, three, strict=True):
            missing = np.isnan(values)
            if (~missing & (values != 0) & (values != 1)).any() or (not open_ and (missing & entered).any()):
                raise DataError(
                    f"column {name!r} must be 1 (met) or 0 (failed) for everybody with an entry event"
                    f"{', or missing (unknown)' if open_ else ''}; make the table of people anew from this study"
                )
        known = [np.select([np.isnan(v), v == 1], [UNKNOWN, MET], FAILED) for v in found]
        return entered, self.patterns.number(entered, np.column_stack(known))

    # sums only

    def flow(self) -> FlowFinding:
        """Settle the funnel and count it; within it settle and count patterns, months, sex, age and region."""
        steps, grid, parts, kept = yield from self._settled()
        stopped = yield from ask(self.stopped)
        if not (stopped.people.value[0, 1:].sum() or grid[-1] == 0):
            raise ModelError(
                f"nobody has an entry event of {f'cohort {self._name!r}' if self._name else 'the cohort'} at these "
                f"hospitals. Correct the event, or its concepts, by which people enter, or ask more hospitals"
            )
        counted = yield from ask(self.counted, kept)
        shown = kept if grid[-1] != grid[-2] else ()
        answer = Answer(
            self.patterns, self.cohorts[0].rules, self._names, grid, stopped.people.value[0], counted.patterns.value,
            counted.months.value[0], counted.groups.value[0], parts.grids, self.kinds, steps.k, shown,
        )  # fmt: skip
        made, facts = tables(answer, self.calendar, self.window)
        made["attrition"] = attrition(steps)
        facts = {"cohort": self._name} | facts if self._name else facts
        notes = [TWICE, *([INTERVALS] if answer.hidden.any() else [])]
        notes += [UNSAID] if not shown else [CLOSE] if len(shown) < len(self._partitions) else []
        return Finding("feasibility", steps.n, steps.hospitals, made, facts=facts, notes=tuple(notes), cite=CITE)

    def settling(self) -> Flow[Described]:
        """By what those who meet all criteria will be described: the merged steps, and the merged cells of each."""
        _, grid, parts, kept = yield from self._settled()
        names = [name for name in kept if name != "patterns"]
        return grid, tuple((name, tuple(int(cell) for cell in parts.grids[name][0])) for name in names)

    def _settled(self) -> Flow[tuple[Verdict, Places, Verdict, tuple[str, ...]]]:
        """What of the funnel, of patterns, months, sex, age and region may be told."""
        steps = yield from support(self.funnel)
        grid = tuple(int(g) for g in steps.grids["funnel"][0])
        parts = yield from support(self.parts, grid)
        shown_patterns = np.where(parts.grids["patterns"][grid[-1], self._all] < 0, -1, np.arange(self._all.sum()))
        merged = [shown_patterns, *(parts.grids[name][0] for name in list(self._partitions)[1:])]
        told = tuple(tuple(int(cell) for cell in one) for one in merged)
        near = yield from support(self.near, grid, told)
        return steps, grid, parts, self._kept({pair for pair, found in near.grids.items() if found.any()})

    def _kept(self, close: set[str]) -> tuple[str, ...]:
        """The partitions that are told: each if it is not close to one before it."""
        kept: list[int] = []
        for j in range(len(self._partitions)):
            if not any(f"{i}:{j}" in close for i in kept):
                kept.append(j)
        names = list(self._partitions)
        return tuple(names[j] for j in kept)


def described(grid: Places, stop: Ints) -> Bools:
    """(n,) who meets all criteria, of people who stop at a step; nobody, where that number is not told by itself."""
    return np.asarray((stop == len(grid) - 1) & (grid[-1] != grid[-2]))
