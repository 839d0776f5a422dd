"""Table 1: who the people are, by group. Counts, means, standard deviations, quantiles, differences between groups.

Counts and sums by group are exact (means and SD equal the pooled ones; the second moment is taken about the mean that
a first round found). Quantiles are interpolated in public cells of at least k people, and say how wide the cell is.

No two counts may differ by 1 to k-1 people, and missing values are where Table 1 has many counts. So a variable that
fewer than k people miss (in some group) is required of everybody, and variables that fewer than k people miss one
without the other are described over the people who have both. Numbers that rest on fewer than k people are left out.

Sources: SD with n - 1; quantiles of R's type 7; standardised differences of Austin, Stat Med 2009;28:3083, those of
levels by Yang & Dalton, SAS Global Forum 2012, paper 335. Matches R mean, sd, quantile, table, tableone::CreateTableOne.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses import table_one
from confrere.analyses.finding import Finding
from confrere.analyses.follow_up import DIGITS
from confrere.analyses.scaling import RAW
from confrere.analyses.table_one import Group, Histogram, Levels, Numbers, Variable
from confrere.errors import DataError, ModelError, StudyError
from confrere.rounds import (
    Array,
    Bools,
    Cells,
    Design,
    Flow,
    Ints,
    People,
    Sum,
    Verdict,
    ask,
    local,
    register,
    support,
    together,
)
from confrere.study.ground import Ground, complete
from confrere.study.rows import TableRows

MOST_CELLS = 40  # of a ladder on which quantiles are found
Places = tuple[int, ...]
Hidden = tuple[tuple[int, int], ...]  # (variable, group) whose numbers rest on too few people


class Known(NamedTuple):
    """People by group, those of each block of variables who miss none of them; block 0 is everybody."""

    people: Sum  # (blocks * groups, 1)


class Levelled(NamedTuple):
    """People by level of each categorical variable, one variable after the other."""

    people: Sum  # (groups * levels of all,)


class Moments(NamedTuple):
    """Raw sums of the numeric variables (p), missing values as 0."""

    first: Sum  # (groups, 1, p) sums of x
    second: Sum  # (p,) sums of x^2 over all groups: the scale of the next round, and who is 0 or 1 throughout


class Squares(NamedTuple):
    """Sums of ((x - mean of the group) / scale)^2."""

    centred: Sum  # (groups, 1, p)


class Binned(NamedTuple):
    """People by merged cell of each variable's ladder, groups and variables one after the other."""

    people: Sum  # (cells of all,)


class Described(NamedTuple):
    """A hospital's people: group (n,), values (n, V) as numbers or codes, NaN where not described, known (n, blocks)."""

    group: Ints
    values: Array
    known: Bools


class Settled(NamedTuple):
    """What the hospitals agreed before the first number: groups, blocks, what is hidden; all public."""

    shown: Places  # labels of the groups
    blocks: Places  # block of each variable; 0 is required of everybody
    hidden: Hidden
    verdict: Verdict

    @property
    def design(self) -> tuple[Places, Places]:
        """Arguments of the designs."""
        return self.shown, self.blocks


@register("describe")
@dataclass(frozen=True)
class Describe:
    """Describe `variables` (columns: with declared levels, or numeric) by the groups of column `by`, or all together.

    `by` has declared levels, or whole numbers from 0 to 9; people who miss it are left out and counted. `quantiles`
    are shares between 0 and 1.

    Finding: tables `table1` (a record per variable and group, or per level; `group` is null for everybody together;
    `resolution` is the width of the cell in which the quantile is known to lie), `smd` with three groups or more (of
    every pair), `attrition`. Errors: DataError for an unknown column, text without declared levels, infinite values;
    ModelError for a variable that everybody misses and for a single group.
    """

    variables: tuple[str, ...]
    by: str = ""
    quantiles: tuple[float, ...] = (0.25, 0.5, 0.75)
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", tuple(self.variables))
        object.__setattr__(self, "quantiles", tuple(sorted(float(q) for q in self.quantiles)))
        if not self.variables:
            raise StudyError("variables is empty; name the columns to describe")
        for name in self.variables:
            if self.variables.count(name) > 1:
                raise StudyError(f"variables names {name!r} more than once; each column stands there once")
        if self.by in self.variables:
            raise StudyError(f"{self.by!r} is both a variable and `by`; a group cannot differ from itself: take one out")
        if not all(0 < q < 1 for q in self.quantiles) or len(set(self.quantiles)) < len(self.quantiles):
            raise StudyError(f"quantiles are {list(self.quantiles)}; they are different shares between 0 and 1")

    # public

    @property
    def reads(self) -> tuple[str, ...]:
        """The source columns."""
        return tuple(sorted({*self.variables, self.by} - {""}))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns that nobody may miss."""
        return (self.by,) if self.by else ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all groups that may be."""
        return (self.ground.schema.levels(self.by) or DIGITS) if self.by else ("all",)

    @property
    def numeric(self) -> Places:
        """Places of the numeric variables."""
        return tuple(j for j, name in enumerate(self.variables) if self.ground.schema.levels(name) is None)

    @property
    def categorical(self) -> Places:
        """Places of the variables with levels."""
        return tuple(j for j in range(len(self.variables)) if j not in self.numeric)

    def levels(self, j: int) -> tuple[str, ...]:
        """Declared levels of a variable."""
        return self.ground.schema.levels(self.variables[j]) or ()

    # inside each hospital: designs

    def span(self, people: People) -> Design:
        """Groups that may be, and which variables at least k people miss."""
        group, values = self._read(people)
        rows = (group >= 0) & complete(people.table.frame, self.ground.complete)
        missing = np.isnan(values[rows])
        cells = {"groups": Cells(group[rows], (1, len(self.labels)), rule="drop"), "unsaid": _unsaid(missing)}
        for j in range(len(self.variables)):
            cells[f"missing {j}"] = Cells(np.where(missing[:, j], 0, -1), (1, 1), rule="show")
        return Design(n=int(rows.sum()), rows=rows, cells=cells, columns=self.reads)

    def probe(self, people: People, shown: Places, blocks: Places) -> Design:
        """By how many people of each group what is known of every two blocks differs."""
        made = self._people(people, shown, blocks)
        d: Described = made.data
        cells = {"groups": Cells(d.group, (1, len(shown)), rule="drop"), "unsaid": _unsaid(np.isnan(d.values))}
        for a, b in itertools.combinations(range(d.known.shape[1]), 2):
            apart = d.known[:, a] != d.known[:, b]
            cells[f"{a}:{b}"] = Cells(np.where(apart, d.group, -1), (len(shown), 1), rule="suppress")
        return replace(made, cells=cells)

    def table(self, people: People, shown: Places, blocks: Places) -> Design:
        """What counts and sums rest on."""
        made = self._people(people, shown, blocks)
        d: Described = made.data
        cells = {}
        for b, known in enumerate(d.known.T):
            cells[f"known {b}"] = _those(known, d.group, shown)
        for j in self.numeric:
            cells |= self._carriers(j, d, shown)
        for j in self.categorical:
            size = (len(shown), len(self.levels(j)))
            code = np.nan_to_num(d.values[:, j], nan=-1).astype(np.int64)
            cells[f"levels {j}"] = Cells(np.where(code < 0, -1, d.group * size[1] + code), size, rule="suppress")
        filled = np.nan_to_num(d.values)
        for i, j in itertools.combinations(range(len(self.variables)), 2):
            cells[f"twins {i}:{j}"] = _those(filled[:, i] != filled[:, j], d.group, shown)
        return replace(made, cells=cells, left_out=self._left_out(people, shown, blocks))

    def heavy(self, people: People, shown: Places, blocks: Places, hidden: Hidden, j: int) -> Design:
        """One variable, a column for each group: whether a few people carry its sums."""
        made = self._people(people, shown, blocks)
        d: Described = made.data
        x = self._shown(d, hidden)[:, [j]] * (d.group[:, None] == np.arange(len(shown)))
        names = tuple(f"{self.variables[j]}, group {self.labels[g]}" for g in shown)
        return replace(made, x=x, names=names)

    def bins(
        self, people: People, shown: Places, blocks: Places, hidden: Hidden, ladders: tuple[table_one.Ladder, ...]
    ) -> Design:
        """The people of each group on the ladder of each variable."""
        made = self._people(people, shown, blocks)
        d: Described = made.data
        cells = {}
        for ladder in ladders:
            size = (len(shown), len(ladder.edges) + 1)
            x = d.values[:, ladder.variable]
            cell = np.searchsorted(np.array(ladder.edges), x, side="right")
            step = np.array(ladder.steps)[d.group]
            seen = ~np.isnan(x) & ~_hidden_rows(hidden, ladder.variable, d.group)
            # the first cell stays apart: it is what lies below 0, where there is such an edge
            cell = np.where(cell > 0, (cell - 1) // step * step + 1, 0)
            index = np.where(seen, d.group * size[1] + cell, -1)
            name = f"{ladder.variable}"
            cells[name] = Cells(index, size, rule="merge", family=name)
        return replace(made, cells=cells)

    def _carriers(self, j: int, d: Described, shown: Places) -> dict[str, Cells]:
        """Who carries the sum of a variable: the people who are not 0, not usual, and neither 0 nor 1.

        Usual is the value in the middle of this hospital's group, or 1 if all there are 0 or 1. Few people who are
        neither 0 nor 1 would be told by the sum of x^2 - x.
        """
        x = d.values[:, j]
        known = ~np.isnan(x)
        other = known & (x != 0) & (x != 1)
        usual = np.ones(len(shown))
        for g in range(len(shown)):
            here = np.sort(x[known & (d.group == g)])
            if (other & (d.group == g)).any():
                usual[g] = here[here.size // 2]
        return {
            f"some {j}": _those(known & (x != 0), d.group, shown),
            f"off {j}": _those(known & (x != usual[d.group]), d.group, shown),
            f"other {j}": _those(other, d.group, shown),
            f"negative {j}": Cells(np.where(known & (x < 0), 0, -1), (1, 1), rule="show"),
        }

    def _read(self, people: People) -> tuple[Ints, Array]:
        """Group (N,), -1 where missing, and values (N, V), codes for levels, NaN where missing."""
        rows = TableRows(people.table.frame, self.ground.schema, {})
        columns = []
        for j, name in enumerate(self.variables):
            codes = rows.codes(name) if j in self.categorical else None
            columns.append(rows.numbers(name) if codes is None else np.where(codes < 0, np.nan, codes))
        return self._groups(rows, len(people.table.frame)), np.stack(columns, axis=1)

    def _groups(self, rows: TableRows, n: int) -> Ints:
        if not self.by:
            return np.zeros(n, dtype=np.int64)
        if self.ground.schema.levels(self.by):
            return rows.codes(self.by)
        numbers = rows.numbers(self.by)
        if bad := int((~np.isin(numbers[~np.isnan(numbers)], np.arange(len(DIGITS)))).sum()):
            raise DataError(
                f"column {self.by!r} makes groups but declares no levels, and {bad} of its values are not whole numbers "
                f"from 0 to 9. Declare them: [data.columns.{self.by}] levels = [...]"
            )
        return np.nan_to_num(numbers, nan=-1).astype(np.int64)

    def _people(self, people: People, shown: Places, blocks: Places) -> Design:
        """The people of the groups shown who miss nothing that is required."""
        group, values = self._read(people)
        place = np.full(len(self.labels) + 1, -1)  # the last place is for those without a group, -1
        place[list(shown)] = np.arange(len(shown))
        known = np.stack([~np.isnan(values[:, np.array(blocks) == b]).any(axis=1) for b in range(max(blocks) + 1)], axis=1)
        rows = (place[group] >= 0) & known[:, 0] & complete(people.table.frame, self.ground.complete)
        described = np.where(known[:, list(blocks)], values, np.nan)[rows]
        return Design(n=int(rows.sum()), rows=rows, data=Described(place[group[rows]], described, known[rows]),
                      columns=self.reads)  # fmt: skip

    def _left_out(self, people: People, shown: Places, blocks: Places) -> dict[str, int]:
        """People who are not described, each counted once, by reason."""
        group, values = self._read(people)
        frame = people.table.frame
        reasons = {f"missing {self.by}": group < 0} if self.by else {}
        reasons |= {f"missing {name}": ~complete(frame, (name,)) for name in self.ground.complete}
        reasons["in a group that is too small to show"] = (group >= 0) & ~np.isin(group, shown)
        for j in np.flatnonzero(np.array(blocks) == 0):
            reasons[f"missing {self.variables[j]}"] = np.isnan(values[:, j])
        counts, remaining = {}, np.ones(len(group), dtype=bool)
        for reason, who in reasons.items():
            counts[reason] = int((who & remaining).sum())
            remaining &= ~who
        return counts

    def _shown(self, d: Described, hidden: Hidden) -> Array:
        """Values (n, V), 0 where missing or hidden."""
        x = np.nan_to_num(d.values)
        for j in range(len(self.variables)):
            x[_hidden_rows(hidden, j, d.group), j] = 0.0
        return x

    # inside each hospital: sums

    @local(on="table")
    def known(self, people: People) -> Known:
        """People by block and group."""
        counts = [people.cells(name) for name in people.design.cells if name.startswith("known ")]
        values = np.vstack([s.value for s in counts])
        bounds = (len(self.labels) * (len(self.variables) + 1), 1)
        return Known(replace(counts[0], value=values, dims=("blocks and groups", "cells"), bounds=bounds))

    @local(on="table")
    def levelled(self, people: People) -> Levelled:
        """People by group and level; 0 where suppressed."""
        counts = [people.cells(f"levels {j}") for j in self.categorical]
        most = len(self.labels) * sum(len(self.levels(j)) for j in self.categorical)
        return Levelled(_flat(counts, "groups and levels", most))

    @local(on="table")
    def moments(self, people: People, hidden: Hidden) -> Moments:
        """Sums by group, missing values as 0."""
        x = self._shown(people.design.data, hidden)[:, self.numeric]
        second = people.derived((x**2).sum(axis=0), dims=("variables",), scale=RAW)
        return Moments(self._summed(people, x, RAW), second)

    @local(on="table")
    def squares(
        self, people: People, hidden: Hidden, mean: tuple[tuple[float, ...], ...], scale: tuple[float, ...]
    ) -> Squares:
        """Second moments about the means (groups, p) in units of `scale` (p,)."""
        d: Described = people.design.data
        x = (d.values[:, self.numeric] - np.array(mean)[d.group]) / np.array(scale)
        for place, j in enumerate(self.numeric):
            x[_hidden_rows(hidden, j, d.group), place] = 0.0
        return Squares(self._summed(people, np.nan_to_num(x) ** 2, 64))

    @local(on="bins")
    def binned(self, people: People) -> Binned:
        """People by group and merged cell."""
        names = list(people.design.cells)
        packed = []
        for name in names:
            count, grid = people.cells(name), people.grid(name)
            packed += [replace(count, value=row[: grid[g].max() + 1]) for g, row in enumerate(count.value)]
        return Binned(_flat(packed, "groups and cells", len(self.labels) * len(self.numeric) * (MOST_CELLS + 2)))

    def _summed(self, people: People, x: Array, scale: int) -> Sum:
        bounds = (len(self.labels), 1, len(self.numeric))
        return replace(people.cells("known 0", x), dims=("groups", "cells", "variables"), bounds=bounds, scale=scale)

    # sums only

    def flow(self) -> Flow[Finding]:
        """Settle who is described and what may be said; then counts and sums, second moments, histograms."""
        s = yield from self._settled()
        asked = [ask(self.known)] + ([ask(self.levelled)] if self.categorical else [])
        got = yield from together(*asked)
        groups = self._counted(s, got[0])
        variables: dict[int, Variable] = {}
        for j, levels in self._levels(s, got[1] if self.categorical else None).items():
            variables[j] = Variable(self.variables[j], tuple(groups[s.blocks[j]]), levels=levels)
        if self.numeric:
            numbers = yield from self._numbers(s, groups)
            for j, summary in numbers.items():
                variables[j] = Variable(self.variables[j], tuple(groups[s.blocks[j]]), numbers=summary)
        return self._finding(s, [variables[j] for j in sorted(variables)])

    def _settled(self) -> Flow[Settled]:
        """Groups of enough people, and blocks of variables such that no two counts differ by a few people."""
        first = yield from support(self.span)
        shown = _enough(first, tuple(range(len(self.labels))))
        often = itertools.count(1)
        # what nobody or hardly anybody misses is required; all others start as blocks of their own
        blocks = tuple(
            next(often) if first.grids[f"missing {j}"][0, 0] >= 0 else 0 for j in range(len(self.variables))
        )
        while True:
            verdict = yield from support(self.probe, shown, blocks)
            now = _enough(verdict, shown), _joined(verdict, blocks)
            if now == (shown, blocks):
                break
            shown, blocks = now
        if self.by and len(shown) < 2:
            raise ModelError(
                f"by = {self.by!r} has one group of enough people, {self.labels[shown[0]]!r}: there is nothing to compare. "
                f"Leave `by` out, merge levels, or ask more hospitals"
            )
        verdict = yield from support(self.table, shown, blocks)
        hidden = self._hidden(verdict)
        seen = [j for j in self.numeric if sum(h[0] == j for h in hidden) < len(shown)]
        yield from together(*(support(self.heavy, shown, blocks, hidden, j) for j in seen))
        return Settled(shown, blocks, hidden, verdict)

    def _hidden(self, verdict: Verdict) -> Hidden:
        """Variables whose numbers would rest on fewer than k people of a group."""
        found = set()
        for name, grid in verdict.grids.items():
            what, _, which = name.partition(" ")
            if what in ("some", "off", "other", "twins"):
                j = int(which.rpartition(":")[2])  # of twins, the second
                found |= {(j, int(g)) for g in np.flatnonzero(grid[:, 0] < 0)}
        return tuple(sorted(found))

    def _counted(self, s: Settled, got: Known) -> list[list[Group]]:
        """By block and group: people, and those among them who are described."""
        people = got.people.value.reshape(max(s.blocks) + 1, len(s.shown))
        for b, known in enumerate(people):
            if not known.any():
                names = [self.variables[j] for j in range(len(self.variables)) if s.blocks[j] == b]
                raise ModelError(
                    f"{', '.join(map(repr, names))}: missing for everybody whom the table describes. "
                    f"Leave it out of variables, or correct the column"
                )
        return [
            [Group(self._label(g), float(everybody), float(n)) for g, everybody, n in zip(s.shown, people[0], known, strict=True)]
            for known in people
        ]

    def _label(self, g: int) -> str | None:
        return self.labels[g] if self.by else None

    def _levels(self, s: Settled, got: Levelled | None) -> dict[int, list[Levels | None]]:
        """Counts by level of each categorical variable and group."""
        found: dict[int, list[Levels | None]] = {}
        start = 0
        for j in self.categorical if got else ():
            grid, names = s.verdict.grids[f"levels {j}"], self.levels(j)
            width = int(grid.max(initial=-1)) + 1
            size = len(s.shown) * width
            assert got is not None
            table = np.zeros(grid.shape)
            table[:, :width] = got.people.value[start : start + size].reshape(len(s.shown), width)
            start += size
            found[j] = [
                None if (j, g) in s.hidden else Levels(names, tuple(np.where(grid[g] < 0, np.nan, row).tolist()))
                for g, row in enumerate(table)
            ]
        return found

    def _numbers(self, s: Settled, groups: list[list[Group]]) -> Flow[dict[int, list[Numbers | None]]]:
        """Mean, SD and histogram of each numeric variable and group."""
        got = yield from ask(self.moments, s.hidden)
        n = np.array([[g.known for g in groups[s.blocks[j]]] for j in self.numeric]).T
        shown = np.array([[(j, g) not in s.hidden for j in self.numeric] for g in range(len(s.shown))]) & (n > 0)
        safe = np.where(shown, n, 1.0)
        mean = got.first.value[:, 0] / safe
        total = np.where(shown, n, 0.0).sum(axis=0)
        scale = np.sqrt(got.second.value / np.maximum(total, 1.0))
        scale = np.where(scale > 0, scale, 1.0)
        square = yield from ask(self.squares, s.hidden, _tuples(mean), tuple(scale.tolist()))
        centred = square.centred.value[:, 0] * scale**2
        # a second moment of rounding alone is none: the variable is constant
        centred = np.where(centred <= 1e-24 * safe * scale**2, 0.0, centred)
        found: dict[int, list[Numbers | None]] = {
            j: [
                Numbers(n[g, p], mean[g, p], centred[g, p]) if shown[g, p] else None for g in range(len(s.shown))
            ]
            for p, j in enumerate(self.numeric)
        }
        for p, j in enumerate(self.numeric):
            found[j] = table_one.two_valued(found[j], float(got.second.value[p]))
        return (yield from self._binned(s, found))

    def _binned(self, s: Settled, found: dict[int, list[Numbers | None]]) -> Flow[dict[int, list[Numbers | None]]]:
        """The same with histograms, where there is more to tell than mean and SD do."""
        wanted = {j: rows for j, rows in found.items() if any(r is not None and r.spread for r in rows)}
        if not wanted or not self.quantiles:
            return found
        ladders = tuple(
            table_one.ladder(j, rows, s.verdict.grids[f"negative {j}"][0, 0] < 0,
                             self.ground.schema.column(self.variables[j]).range, self._cells(s, len(wanted)))
            for j, rows in wanted.items()
        )  # fmt: skip
        verdict = yield from support(self.bins, *s.design, s.hidden, ladders)
        got = yield from ask(self.binned)
        start = 0
        for ladder in ladders:
            rows = found[ladder.variable]
            for g, grid in enumerate(verdict.grids[f"{ladder.variable}"]):
                size = int(grid.max()) + 1
                counts, row = got.people.value[start : start + size], rows[g]
                start += size
                if row is not None and size:
                    rows[g] = row._replace(cells=Histogram(ladder, grid, counts, ladder.steps[g]))
        return found

    def _cells(self, s: Settled, variables: int) -> table_one.Fineness:
        """How fine ladders may be: cells of 2 k people on average, of more the more variables there are."""
        most = s.verdict.budget // (4 * variables * len(s.shown))
        return table_one.Fineness(max(2 * s.verdict.k, 3 * variables), max(4, min(MOST_CELLS, most)))

    def _finding(self, s: Settled, variables: list[Variable]) -> Finding:
        together_ = [[self.variables[j] for j in range(len(s.blocks)) if s.blocks[j] == b] for b in range(1, max(s.blocks) + 1)]
        notes = [
            f"{', '.join(names)} are described over the people who miss none of them: fewer than {s.verdict.k} miss "
            f"one without the others."
            for names in together_
            if len(names) > 1
        ]
        declared = self.ground.schema.levels(self.by) if self.by else None
        if small := [label for g, label in enumerate(declared or ()) if g not in s.shown]:
            notes.append(f"Groups with fewer than {s.verdict.k} people are not shown: {', '.join(small)}.")
        return table_one.finding(variables, self.quantiles, s.verdict, bool(self.by), tuple(notes))


def _unsaid(missing: Bools) -> Cells:
    """Who misses anything. Cells to `require` keep the verdict from saying how many people a probe has."""
    return Cells(missing.any(axis=1).astype(np.int64), (1, 2), rule="require")


def _those(who: Bools, group: Ints, shown: Places) -> Cells:
    """The marked people by group: one cell each, suppressed where few."""
    return Cells(np.where(who, group, -1), (len(shown), 1), rule="suppress")


def _hidden_rows(hidden: Hidden, j: int, group: Ints) -> Bools:
    """Rows (n,) in groups where variable j is hidden."""
    return np.isin(group, [g for v, g in hidden if v == j])


def _flat(counts: list[Sum], dim: str, most: int) -> Sum:
    values = np.concatenate([s.value.ravel() for s in counts])
    return replace(counts[0], value=values, dims=(dim,), bounds=(most,))


def _tuples(values: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def _enough(verdict: Verdict, shown: Places) -> Places:
    """The groups of at least k people. ModelError if there is none."""
    left = tuple(shown[int(g)] for g in np.flatnonzero(verdict.grids["groups"][0] >= 0))
    if not left:
        raise ModelError("no group has enough people to be described: merge levels, or ask more hospitals")
    return left


def _joined(verdict: Verdict, blocks: Places) -> Places:
    """Blocks with those joined that a few people tell apart; first to what is required, then to each other."""
    few = sorted(tuple(map(int, name.split(":"))) for name, grid in verdict.grids.items() if ":" in name and (grid < 0).any())
    required = [pair for pair in few if pair[0] == 0]
    home = list(range(max(blocks) + 1))
    for a, b in required or few:
        low, high = sorted((home[a], home[b]))
        home = [low if h == high else h for h in home]
    order = {h: i for i, h in enumerate(sorted({0, *(home[b] for b in blocks)}))}
    return tuple(order[home[b]] for b in blocks)
