"""Table 1: who the people are, by group. Counts, means, standard deviations, quantiles, differences between groups.

Counts and sums by group are exact (means and SD equal the pooled ones; the second moment is taken about the mean that
a first round found). Quantiles are interpolated in public cells of at least k people, and say how wide the cell is.

No two counts may differ by 1 to k-1 people, and missing values are where Table 1 has many counts. So a variable that
fewer than k people miss (in some group) is required of everybody, and variables that fewer than k people miss one
without the other are described over the people who have both. Numbers that rest on fewer than k people are left out.

Sources: SD with n - 1; quantiles of R's type 7; standardised differences of Austin, Stat Med 2009;28:3083, those of
levels by Yang & Dalton, SAS Global Forum 2012, paper 335. Matches R mean, sd, quantile, table.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses import table_one
from confrere.analyses.described import (
    Described,
    Hidden,
    Places,
    Source,
    anybody,
    carriers,
    enough,
    joined,
    knowing,
    those,
    too_few,
    unsaid,
)
from confrere.analyses.finding import Finding
from confrere.analyses.scaling import RAW
from confrere.analyses.table_one import Group, Histogram, Levels, Numbers, Variable
from confrere.errors import ModelError, StudyError
from confrere.rounds import (
    Array,
    Bools,
    Cells,
    Design,
    Flow,
    People,
    Sum,
    Verdict,
    ask,
    local,
    register,
    support,
    together,
)
from confrere.study.ground import Ground

MOST_CELLS = 40  # of a ladder on which quantiles are found


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
        if isinstance(self.variables, str):
            raise StudyError(f"variables is the text {self.variables!r}; it is a list of columns")
        object.__setattr__(self, "variables", tuple(self.variables))
        object.__setattr__(self, "quantiles", tuple(sorted(float(q) for q in self.quantiles)))
        if not self.variables:
            raise StudyError("variables is empty; name the columns to describe")
        for name in self.variables:
            if self.variables.count(name) > 1:
                raise StudyError(f"variables names {name!r} more than once; each column stands there once")
        if self.by in self.variables:
            raise StudyError(f"{self.by!r} is both a variable and `by`: leave it out of variables")
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
    def source(self) -> Source:
        """Which columns are described, and by which groups."""
        return Source(self.variables, self.by, self.ground)

    # inside each hospital: designs

    def span(self, people: People) -> Design:
        """Groups that may be, and which variables at least k people miss."""
        rows, group, missing = self.source.grouped(people.table.frame)
        cells = {"groups": Cells(group, (1, len(self.source.labels)), rule="drop"), "unsaid": unsaid(missing)}
        cells |= {f"missing {j}": anybody(missing[:, j]) for j in range(len(self.variables))}
        return Design(n=int(rows.sum()), rows=rows, cells=cells, columns=self.reads)

    def probe(self, people: People, shown: Places, blocks: Places) -> Design:
        """By how many people of each group what is known of every two blocks differs."""
        made = self.source.people(people.table.frame, shown, blocks)
        d: Described = made.data
        cells = {"groups": Cells(d.group, (1, len(shown)), rule="drop"), "unsaid": unsaid(np.isnan(d.values))}
        for a, b in itertools.combinations(range(d.known.shape[1]), 2):
            cells[f"{a}:{b}"] = those(d.known[:, a] != d.known[:, b], d.group, len(shown))
        return replace(made, cells=cells)

    def table(self, people: People, shown: Places, blocks: Places) -> Design:
        """What counts and sums rest on. Twins are variables that a few people tell apart."""
        made = self.source.people(people.table.frame, shown, blocks)
        d: Described = made.data
        # who misses a variable follows by subtraction: by groups, they could be one hospital's own outcomes
        both = bool(self.by)
        cells = {f"known {b}": knowing(d, b, len(shown), both=both) for b in range(d.known.shape[1])}
        for j in self.source.numeric:
            cells |= carriers(j, d, len(shown))
        for j in self.source.categorical:
            size = (len(shown), len(self.source.levels(j)))
            code = np.nan_to_num(d.values[:, j], nan=-1).astype(np.int64)
            cells[f"levels {j}"] = Cells(np.where(code < 0, -1, d.group * size[1] + code), size, rule="spread")
        x = np.nan_to_num(d.values)
        for i, j in itertools.combinations(range(len(self.variables)), 2):
            cells[f"twins {i}:{j}"] = those(x[:, i] != x[:, j], d.group, len(shown))
        left_out = self.source.left_out(people.table, shown, blocks)
        return replace(made, cells=cells, flags=self._groups(d, shown), left_out=left_out)

    def _groups(self, d: Described, shown: Places) -> dict[str, Bools]:
        """Who is in each group, as marks: behind either side of one stand enough hospitals, or none."""
        labels = self.source.labels
        return {f"group {labels[g]}": d.group == i for i, g in enumerate(shown)} if self.by else {}

    def heavy(self, people: People, shown: Places, blocks: Places, hidden: Hidden, j: int) -> Design:
        """One variable, a column for each group: whether a few people carry its sums."""
        made = self.source.people(people.table.frame, shown, blocks)
        d: Described = made.data
        x = d.shown(hidden)[:, [j]] * (d.group[:, None] == np.arange(len(shown)))
        labels = self.source.labels
        names = tuple(f"{self.variables[j]}, group {labels[g]}" if self.by else self.variables[j] for g in shown)
        return replace(made, x=x, names=names)

    def bins(
        self, people: People, shown: Places, blocks: Places, hidden: Hidden, ladders: tuple[table_one.Ladder, ...]
    ) -> Design:
        """The people of each group on the ladder of each variable."""
        made = self.source.people(people.table.frame, shown, blocks)
        d: Described = made.data
        cells = {}
        for ladder in ladders:
            x, size = d.values[:, ladder.variable], (len(shown), len(ladder.edges) + 1)
            cell = table_one.cell_of(x, np.array(ladder.steps)[d.group], ladder)
            seen = ~np.isnan(x) & ~d.where(hidden, ladder.variable)
            name = f"{ladder.variable}"
            cells[name] = Cells(np.where(seen, d.group * size[1] + cell, -1), size, rule="merge", family=name)
        return replace(made, cells=cells)

    # inside each hospital: sums

    @local(on="table")
    def known(self, people: People) -> Known:
        """People by block and group."""
        counts = [people.cells(name) for name in people.design.cells if name.startswith("known ")]
        # no column is left of a block of which every group is suppressed; a second one is of the others
        values = np.vstack([np.pad(s.value, ((0, 0), (0, 1)))[:, :1] for s in counts])
        bounds = (len(self.source.labels) * (len(self.variables) + 1), 1)
        return Known(replace(counts[0], value=values, dims=("blocks and groups", "cells"), bounds=bounds))

    @local(on="table")
    def levelled(self, people: People) -> Levelled:
        """People by group and level; 0 where suppressed."""
        places = self.source.categorical
        counts = [people.cells(f"levels {j}") for j in places]
        most = len(self.source.labels) * sum(len(self.source.levels(j)) for j in places)
        return Levelled(_flat(counts, "groups and levels", most))

    @local(on="table")
    def moments(self, people: People, hidden: Hidden) -> Moments:
        """Sums by group, missing values as 0."""
        x = people.design.data.shown(hidden)[:, self.source.numeric]
        second = people.derived((x**2).sum(axis=0), dims=("variables",), scale=RAW)
        return Moments(self._summed(people, x, RAW), second)

    @local(on="table")
    def squares(
        self, people: People, hidden: Hidden, mean: tuple[tuple[float, ...], ...], scale: tuple[float, ...]
    ) -> Squares:
        """Second moments about the means (groups, p) in units of `scale` (p,)."""
        d: Described = people.design.data
        x = (d.values[:, self.source.numeric] - np.array(mean)[d.group]) / np.array(scale)
        for place, j in enumerate(self.source.numeric):
            x[d.where(hidden, j), place] = 0.0
        # what is left of a constant is the rounding of its mean
        x = np.where(np.abs(x) > table_one.ROUNDING, x, 0.0)
        return Squares(self._summed(people, x**2, 64))

    @local(on="bins")
    def binned(self, people: People) -> Binned:
        """People by group and merged cell."""
        packed = []
        for name in people.design.cells:
            count, grid = people.cells(name), people.grid(name)
            packed += [replace(count, value=row[: grid[g].max() + 1]) for g, row in enumerate(count.value)]
        most = len(self.source.labels) * len(self.source.numeric) * (MOST_CELLS + 1)
        return Binned(_flat(packed, "groups and cells", most))

    def _summed(self, people: People, x: Array, scale: int) -> Sum:
        bounds = (len(self.source.labels), 1, len(self.source.numeric))
        return replace(people.cells("known 0", x), dims=("groups", "cells", "variables"), bounds=bounds, scale=scale)

    # sums only

    def flow(self) -> Flow[Finding]:
        """Settle who is described and what may be said; then counts and sums, second moments, histograms."""
        s = yield from self._settled()
        asks = [ask(self.known), *([ask(self.levelled)] if self.source.categorical else [])]
        known, *levelled = yield from together(*asks)
        groups = self._counted(s, known)
        variables = {j: Variable(name, tuple(groups[s.blocks[j]])) for j, name in enumerate(self.variables)}
        for got in levelled:
            for j, levels in self._levels(s, got).items():
                variables[j] = variables[j]._replace(levels=levels)
        if self.source.numeric:
            for j, numbers in (yield from self._numbers(s, groups)).items():
                variables[j] = variables[j]._replace(numbers=numbers)
        return table_one.finding([*variables.values()], self.quantiles, s.verdict, bool(self.by), self._notes(s))

    def _settled(self) -> Flow[Settled]:
        """Groups of enough people, and blocks of variables such that no two counts differ by a few people."""
        labels = self.source.labels
        first = yield from support(self.span)
        shown = enough(first, tuple(range(len(labels))))
        # what nobody or hardly anybody misses is required; the others start as blocks of their own
        often = itertools.count(1)
        missed = [first.grids[f"missing {j}"][0, 0] >= 0 for j in range(len(self.variables))]
        blocks = tuple(next(often) if m else 0 for m in missed)
        while True:
            verdict = yield from support(self.probe, shown, blocks)
            now = enough(verdict, shown), joined(verdict, blocks)
            if now == (shown, blocks):
                break
            shown, blocks = now
        if self.by and len(shown) < 2:
            raise ModelError(
                f"by = {self.by!r} has one group of enough people, {labels[shown[0]]!r}: there is nothing to compare. "
                f"Leave `by` out, merge levels, or ask more hospitals"
            )
        verdict = yield from support(self.table, shown, blocks)
        hidden = too_few(verdict, blocks)
        seen = [j for j in self.source.numeric if sum(h[0] == j for h in hidden) < len(shown)]
        yield from together(*(support(self.heavy, shown, blocks, hidden, j) for j in seen))
        return Settled(shown, blocks, hidden, verdict)

    def _counted(self, s: Settled, got: Known) -> list[list[Group]]:
        """By block and group: people, and those among them who are described, NaN where few."""
        people = got.people.value.reshape(max(s.blocks) + 1, len(s.shown)).copy()
        for b, known in enumerate(people):
            known[s.verdict.grids[f"known {b}"][:, 0] < 0] = np.nan
            if not known.any():
                raise ModelError(
                    f"{', '.join(map(repr, self._block(s, b)))}: missing for everybody whom the table describes. "
                    f"Leave it out of variables, or correct the column"
                )
        labels = [self.source.labels[g] if self.by else None for g in s.shown]
        return [
            [Group(label, float(n), float(k)) for label, n, k in zip(labels, people[0], known, strict=True)]
            for known in people
        ]

    def _block(self, s: Settled, b: int) -> list[str]:
        """The variables of a block."""
        return [name for j, name in enumerate(self.variables) if s.blocks[j] == b]

    def _levels(self, s: Settled, got: Levelled) -> dict[int, list[Levels]]:
        """Counts by level of each categorical variable and group, NaN where hidden."""
        found: dict[int, list[Levels]] = {}
        start = 0
        for j in self.source.categorical:
            grid = s.verdict.grids[f"levels {j}"]
            width = int(grid.max(initial=-1)) + 1
            end = start + len(s.shown) * width
            table = np.full(grid.shape, np.nan)
            table[:, :width] = got.people.value[start:end].reshape(len(s.shown), width)
            table[grid < 0] = np.nan
            table[[g for v, g in s.hidden if v == j]] = np.nan
            found[j] = [Levels(self.source.levels(j), tuple(row)) for row in table.tolist()]
            start = end
        return found

    def _numbers(self, s: Settled, groups: list[list[Group]]) -> Flow[dict[int, list[Numbers | None]]]:
        """Mean, SD and histogram of each numeric variable and group; None where hidden or of nobody."""
        places = self.source.numeric
        n = np.array([[g.known for g in groups[s.blocks[j]]] for j in places]).T
        n = np.where([[(j, g) in s.hidden for j in places] for g in range(len(s.shown))], 0.0, n)
        got = yield from ask(self.moments, s.hidden)
        mean = got.first.value[:, 0] / np.maximum(n, 1.0)
        scale = np.sqrt(got.second.value / np.maximum(n.sum(axis=0), 1.0))
        scale = np.where(scale > 0, scale, 1.0)
        rows = tuple(tuple(row) for row in mean.tolist())
        square = yield from ask(self.squares, s.hidden, rows, tuple(scale.tolist()))
        centred = square.centred.value[:, 0] * scale**2
        found = {}
        for p, j in enumerate(places):
            of_groups = np.stack([n[:, p], mean[:, p], centred[:, p]], axis=1).tolist()
            summaries = [Numbers(*r) if r[0] else None for r in of_groups]
            second = float(got.second.value[p])
            whole = table_one.whole_numbered(summaries, got.first.value[:, 0, p], second)
            found[j] = table_one.two_valued(whole, second)
        return (yield from self._binned(s, found))

    def _binned(self, s: Settled, found: dict[int, list[Numbers | None]]) -> Flow[dict[int, list[Numbers | None]]]:
        """The same with histograms, where there is more to tell than mean and SD do."""
        wanted = {j: rows for j, rows in found.items() if any(r is not None and r.spread for r in rows)}
        if not wanted or not self.quantiles:
            return found
        fine = self._fineness(s, len(wanted))
        signs = {j: bool(s.verdict.grids[f"negative {j}"][0, 0] < 0) for j in wanted}
        spans = {j: self.ground.schema.column(self.variables[j]).range for j in wanted}
        ladders = tuple(table_one.ladder(j, rows, signs[j], spans[j], fine) for j, rows in wanted.items())
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

    def _fineness(self, s: Settled, variables: int) -> table_one.Fineness:
        """How fine ladders may be: cells of 2 k people on average, of more the more variables there are.

        (Somebody's column among all cells is determined by at most the sum of 1/people over the cells they are in.)
        """
        most = s.verdict.budget // (4 * variables * len(s.shown))
        return table_one.Fineness(max(2 * s.verdict.k, 3 * variables), max(4, min(MOST_CELLS, most)))

    def _notes(self, s: Settled) -> tuple[str, ...]:
        blocks = [self._block(s, b) for b in range(1, max(s.blocks) + 1)]
        notes = [
            f"{', '.join(names)} are described over the people who miss none of them: fewer than {s.verdict.k} people "
            f"miss one without the others."
            for names in blocks
            if len(names) > 1
        ]
        declared = self.ground.schema.levels(self.by) or () if self.by else ()
        if small := [label for g, label in enumerate(declared) if g not in s.shown]:
            notes.append(f"Groups with fewer than {s.verdict.k} people are not shown: {', '.join(small)}.")
        return tuple(notes)


def _flat(counts: list[Sum], dim: str, most: int) -> Sum:
    values = np.concatenate([s.value.ravel() for s in counts])
    return replace(counts[0], value=values, dims=(dim,), bounds=(most,))
