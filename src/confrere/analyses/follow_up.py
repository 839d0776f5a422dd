"""Who leaves follow-up when: events, censorings and entries by group on the public ladder of times.

Shared by the curves and tests (`kaplan_meier`, `logrank`, `competing_risks`), which ask it once. First the groups
and the horizon are settled, then the grids: the events and the censorings of each group merge on their own.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.ladder import cell_of, check_on_grid, horizon_of, ladder, span_cells
from confrere.errors import DataError, FormulaError, ModelError
from confrere.rounds import Array, Cells, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import Ground, design_of, model_of, narrowed

FEW = "in a group of too few people"
DIGITS = tuple(str(i) for i in range(10))  # values of a numeric group column that declares no levels


class Exits(NamedTuple):
    """Sums of case weights by group and cell; each kind on its own merged grid. Kinds: causes, censored, entered."""

    kinds: Sum  # (kinds * groups, cells)


class Table(NamedTuple):
    """What the flow knows of a follow-up: `counts` and `maps` by kind, each row a group; right edges of the ladder."""

    groups: tuple[str, ...]
    hidden: tuple[str, ...]  # groups left out for want of people
    kinds: tuple[str, ...]
    counts: dict[str, Array]  # kind -> (groups, merged cells)
    maps: dict[str, Ints]  # kind -> (groups, ladder cells)
    edges: Array  # right edges, (cells - 1,); the last cell is open
    verdict: Verdict


@register("_follow_up")
@dataclass(frozen=True)
class FollowUp:
    """Events, censorings and entries by group. `causes` counts the kinds of event, 1 unless they compete.

    `by` is the right side of the formula: columns with levels, or whose values are 0 to 9, or 1 for everybody.
    """

    formula: str
    weights: str = ""
    ground: Ground = Ground()

    def check(self) -> None:
        """Group columns are plain columns, and there is an outcome."""
        model = model_of(self.formula, self.ground)
        if model.offsets or model.pooled:
            raise FormulaError(
                f"{self.formula!r}: groups are columns; offset(), standardize() and center() have no place"
            )
        right = self.formula.split("~", 1)[1]
        plain = right.replace("strata(", "(").replace("C(", "(")
        if re.search(r"[\w.]\s*\(|[*^:/-]|%", plain) or not right.strip():
            raise FormulaError(f"{self.formula!r}: groups are columns: write ~ column, ~ a + b, or ~ 1 for everybody")
        self.kinds()

    # inside each hospital

    def span(self, people: People) -> Design:
        """Groups that may be, and exits on a coarse ladder."""
        made, group = self.grouped(people)
        groups = Cells(group, (1, len(self.labels)), rule="drop")
        return replace(made, cells={"groups": groups, "span": span_cells(made.data.time, self.ground)}, flags={})

    def table(self, people: People, shown: tuple[int, ...], edges: tuple[float, ...]) -> Design:
        """Kinds of exits on the ladder, for the people of the groups that are shown."""
        made, group = self.grouped(people)
        place = np.full(len(self.labels), -1)
        place[list(shown)] = np.arange(len(shown))
        keep = place[group] >= 0
        made, g = narrowed(made, keep, FEW), place[group[keep]]
        rows = made.data
        if self.ground.fine:
            check_on_grid(rows.time, self.ground)
        size = (len(shown), len(edges) + 1)
        cells = {}
        for kind, (who, when) in self._exits(rows).items():
            index = np.where(who, g * size[1] + cell_of(when, edges), -1)
            cells[kind] = self._cells(index, size, edges)
        return replace(made, flags={}, cells=cells)

    def _cells(self, index: Ints, size: tuple[int, int], edges: tuple[float, ...]) -> Cells:
        if self.ground.fine:
            return Cells(index, size, rule="fine", family="time", days=self.ground.days, needs="fine_times")
        marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges, self.ground.marks)))
        return Cells(index, size, rule="merge", family="time", marks=marks, days=self.ground.days)

    def _exits(self, rows: Any) -> dict[str, tuple[Any, Array]]:
        """Who leaves how, and when."""
        kinds = {f"cause {i}": (rows.event == i, rows.time) for i in range(1, self.causes + 1)}
        kinds["censored"] = (rows.event == 0, rows.time)
        if rows.entry is not None:
            kinds["entered"] = (rows.entry > 0, rows.entry)
        return kinds

    def grouped(self, people: People) -> tuple[Design, Ints]:
        """The complete rows and the group of each (n,), an index into `labels`."""
        made = design_of(people, self.formula, self.ground, weights=self.weights)
        index = np.zeros(made.n, dtype=np.int64)
        for column in self.columns:
            levels = self.levels(column)
            values = people.table.frame[column][made.rows]
            index = index * len(levels) + _codes(values, column, levels)
        return replace(made, x=np.empty((made.n, 0)), names=()), index

    @local(on="table")
    def exits(self, people: People) -> Exits:
        """Sums of weights on each kind's own grid, the kinds one below the other."""
        return Exits(stacked(people, people.design.weights))

    # public

    @property
    def causes(self) -> int:
        """Kinds of event."""
        outcome = model_of(self.formula, self.ground).outcome
        if outcome is None or outcome.kind != "surv":
            raise FormulaError(f"{self.formula!r}: the outcome is Surv(time, event) or Surv(entry, time, event)")
        return max(1, len(outcome.causes) - 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns whose levels make the groups."""
        right = self.formula.split("~", 1)[1]
        return () if right.strip() in ("1", "") else model_of(f"~ {right}", self.ground).columns

    def levels(self, column: str) -> tuple[str, ...]:
        """Levels that a column of groups may have."""
        return self.ground.schema.levels(column) or DIGITS

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all groups that may be."""
        if len(self.columns) <= 1:
            return self.levels(self.columns[0]) if self.columns else ("all",)
        levels = [[f"{c}={level}" for level in self.levels(c)] for c in self.columns]
        return tuple(", ".join(parts) for parts in itertools.product(*levels))

    def kinds(self) -> tuple[str, ...]:
        """Kinds of exits and entries, in their order."""
        outcome = model_of(self.formula, self.ground).outcome
        entered = ("entered",) if outcome is not None and outcome.entry is not None else ()
        return (*(f"cause {i}" for i in range(1, self.causes + 1)), "censored", *entered)

    # sums only

    def settled(self) -> Flow[tuple[Verdict, tuple[str, ...], tuple[str, ...], tuple[float, ...]]]:
        """Settle groups, horizon and grid: verdict, groups shown, groups hidden, edges of the ladder."""
        first = yield from support(self.span)
        shown = yield from self.shown()
        horizon = horizon_of(first.grids["span"], self.ground)
        most = max(6, first.budget // (3 * len(shown) * len(self.kinds())))
        edges = ladder(self.ground, horizon, most)
        verdict = yield from support(self.table, shown, edges)
        declared = any(self.ground.schema.levels(c) for c in self.columns)
        hidden = tuple(label for i, label in enumerate(self.labels) if i not in shown) if declared else ()
        return verdict, tuple(self.labels[i] for i in shown), hidden, edges

    def shown(self) -> Flow[tuple[int, ...]]:
        """The labels of groups that have enough people."""
        first = yield from support(self.span)
        shown = tuple(int(i) for i in np.flatnonzero(first.grids["groups"][0] >= 0))
        if not shown:
            raise ModelError("no group has enough people: merge levels, or ask more hospitals")
        return shown

    def flow(self) -> Flow[Table]:
        """Counts of each kind on its own grid."""
        verdict, groups, hidden, edges = yield from self.settled()
        got = yield from ask(self.exits)
        kinds = self.kinds()
        parts = dict(zip(kinds, np.split(got.kinds.value, len(kinds)), strict=True))
        maps = {k: verdict.grids[k] for k in kinds}
        return Table(groups, hidden, kinds, parts, maps, np.array(edges), verdict)


def stacked(people: People, values: Array | None) -> Sum:
    """Sums of values (n,), or people, on each kind's own grid, one kind below the other: (kinds * groups, cells)."""
    sums = [people.cells(kind, values) for kind in people.design.cells]
    width = max(s.value.shape[1] for s in sums)
    rows = [np.pad(s.value, ((0, 0), (0, width - s.value.shape[1]))) for s in sums]
    bounds = (sum(s.bounds[0] for s in sums), sums[0].bounds[1])
    return replace(sums[0], value=np.vstack(rows), bounds=bounds)


def _codes(values: Any, column: str, levels: tuple[str, ...]) -> Ints:
    """Index of each value among the levels (n,)."""
    if hasattr(values, "cat"):
        return np.asarray(values.cat.codes, dtype=np.int64)
    numbers = np.asarray(values, dtype=float)
    if bad := int((~np.isin(numbers, np.arange(len(levels)))).sum()):
        raise DataError(
            f"column {column!r} makes groups but declares no levels, and {bad} of its values are not whole numbers "
            f"from 0 to 9. Declare them: [data.columns.{column}] levels = [...]"
        )
    return numbers.astype(np.int64)
