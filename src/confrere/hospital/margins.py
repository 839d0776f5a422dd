"""Rules of the gate for tables of cells and for several ways to divide the same people (`rounds.Cells`).

`suppress`, and `spread`. A cell of few people is left out and, while those left out of a group are few, its next
smallest. By `spread` so is a cell with people of fewer hospitals than a sum needs, with another that has enough.

`hide`. A cell of few people is left out, as by `suppress`; and a cell of nobody looks alike. Where it did not, 11
people in 11 hidden cells would be one in each. Nor may so many be hidden that each cell must be nearly full: 30 people
in three cells of 10 at most are 10 in each. Then the next smallest cells are left out with them.

`near`. People divided by age and again by sex: where those under 50 and the women are all but the same people, counts
of the one less counts of the other tell about the few who are not, in however many bands of age they are. Cells are
(place by one, place by the other); the verdict says whether any sums of the two rest, combined, on 1 to k-1 people
(`moves`); no count is told.

`known`. The combinations of several cohorts, of which the sizes are told too, here or elsewhere: a cell of few people
is hidden, and as many others as it takes for no sum or difference of what is told to be about 1 to k-1 people. Where
people were counted by a place before, such as a cell of their score, no sum of places less a sum of sets may be about
1 to k-1 people either (`ties`).

`cut` and `beside`. Scores of people are told in two parts: before all else one edge with k people on either side,
before which at most so many are, without any count; and at the end the cells, merged until no sum of them less a sum of
the sets that were told between is about 1 to k-1 people. Were cells told first, they would stand in the way of sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from confrere.hospital.atoms import on_few
from confrere.hospital.merging import edges, numbered
from confrere.hospital.moves import fewest
from confrere.hospital.ties import Ties
from confrere.rounds import Array, Bools, Cells, Ints

if TYPE_CHECKING:
    from confrere.hospital.gate import Policy


def suppress(name: str, table: Array, policy: Policy) -> Ints:
    """(groups, cells): -1 for few and, while what is left out of a group sums to under k, for its next smallest."""
    return _left_out(table, np.zeros(table.shape), policy)


def spread(tables: Mapping[str, Array], hospitals: Array, policy: Policy) -> dict[str, Ints]:
    """The same of several tables, by the `hospitals` of each cell (all cells,) too."""
    ends = np.cumsum([table.size for table in tables.values()], dtype=np.int64)
    parts = zip(tables.items(), np.split(hospitals, ends[:-1]), strict=False)  # no table, and one part of nothing
    return {name: _left_out(table, part.reshape(table.shape), policy) for (name, table), part in parts}


def there(cells: Iterable[Cells], alone: bool) -> Array:
    """Of every cell of the rule `spread` (all cells,), whether people are there, of who does not leave `alone`."""
    own = [c.people > 0 for c in cells if c.rule == "spread"]
    return np.concatenate([*own, []]).astype(float) * (not alone)


def _left_out(table: Array, hospitals: Array, policy: Policy) -> Ints:
    enough = 0 if "per_hospital" in policy.allow else policy.hospitals
    few, lone = np.asarray(policy.few(table)), (hospitals > 0) & (hospitals < enough)
    hidden = few | lone
    for row, out, apart, covering in zip(table, hidden, lone, ~few & (hospitals >= enough), strict=True):
        while policy.few(row[out].sum()) or (apart.any() and not covering[out].any()):
            if not (row[~out] > 0).any():
                break
            out[int(np.argmin(np.where(out | (row == 0), np.inf, row)))] = True
    return np.where(hidden, -1, np.arange(table.shape[1]))


def hide(name: str, table: Array, policy: Policy) -> Ints:
    """(groups, cells): -1 for few and for nobody and, while a group's few sum to under k, for its next smallest."""
    hidden = np.asarray(policy.few(table))
    for row, out in zip(table, hidden, strict=True):
        most, full = policy.least - 1.0, bool(row[out].sum() >= policy.least > 0)
        while (shown := np.sort(row[~out & (row > 0)])).size:
            left, cells = row[out].sum(), np.count_nonzero(out | (row == 0))
            full = full and left > most * (cells - 1)  # even if all others were full, some would be left for each
            if not (full or policy.few(left)):
                break
            out[int(np.argmin(np.where(out | (row == 0), np.inf, row)))] = True
            most = float(shown[1]) if shown.size > 1 else np.inf
    return np.where(hidden | (table == 0), -1, np.arange(table.shape[1]))


def near(name: str, table: Array, policy: Policy) -> Ints:
    """(places by one, places by the other): 1 throughout where sums over places of both rest on 1 to k-1, else 0."""
    return np.full(table.shape, int(fewest(table, policy.least) < policy.least), dtype=np.int64)


def close(sets: Sequence[Bools], table: Array, policy: Policy) -> Ints:
    """(1, sets): 1 where a set, combined with those before that are 0, and with places, rests on 1 to k-1 people."""
    return (known(sets, table, policy, cells=False)[:, table.shape[1] :] < 0).astype(np.int64)


def known(sets: Sequence[Bools], table: Array, policy: Policy, *, cells: bool = True) -> Ints:
    """(1, cells + sets): the place of a cell or set that is told, -1 for others and for cells of nobody.

    A set goes in if no combination with those before rests on 1 to k-1 people; then the `cells`, the largest first. Of
    a `table` of several rows, places of which the counts are told elsewhere, sets alone.
    """
    counts = table.sum(axis=0)
    told: list[Bools] = []
    out = np.full(counts.size + len(sets), -1, dtype=np.int64)
    candidates = [(counts.size + j, one) for j, one in enumerate(sets)]
    if cells and len(table) == 1:
        order = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i] > 0]
        candidates += [(i, np.arange(counts.size) == i) for i in order]
    ties = Ties(table, policy.least) if len(table) > 1 and policy.least else None
    for place, one in candidates:
        both = [*told, one]
        if ties.safe(both) if ties else not on_few(np.array(both), counts, policy.least):
            told.append(one)
            out[place] = place
    return out[None]


def cut(bound: int, table: Array, policy: Policy) -> Ints:
    """(1, cells): 0 before, and 1 from, the last edge before which at most `bound` people are, and k on either side."""
    before = np.cumsum(table[0]) - table[0]
    may = (before <= bound) & (before >= policy.least) & (table.sum() - before >= policy.least)
    first = int(np.flatnonzero(may).max(initial=0))  # not the last that nobody is before: it would tell a minimum
    return (np.arange(table.shape[1]) >= first).astype(np.int64)[None]


def beside(sets: Sequence[Bools], width: int, table: Array, policy: Policy) -> Ints:
    """(1, `width`) the merged place of each: the finest that is tried beside which the sets are safe.

    Places of the `table` (groups x width, atoms) are merged alike in each group, until each group has so many people,
    or nobody, in each: k, then a quarter more, and so on.
    """
    groups = table.reshape(-1, width, table.shape[1])
    least = float(policy.least)
    while True:
        grid = numbered(edges(groups.sum(axis=2), (), least), width)
        wide = int(grid[-1]) + 1
        merged = np.add.reduceat(groups, np.flatnonzero(np.diff(grid, prepend=-1)), axis=1).reshape(-1, table.shape[1])
        if wide == 1 or not policy.least or Ties(merged, policy.least).safe(sets):
            return grid[None]
        least *= 1.25


def on_sets(cells: Cells, table: Array, policy: Policy) -> Ints:
    """The grid of cells of which more than the counts matters."""
    if cells.rule == "cut":
        return cut(cells.bound, table, policy)
    if cells.rule == "beside":
        return beside(cells.sets, cells.bound, table, policy)
    return (close if cells.rule == "near" else known)(cells.sets, table, policy)
