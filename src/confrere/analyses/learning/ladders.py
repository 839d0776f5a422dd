"""Cut points of features, agreed from counts on public ladders: no value of anybody is a cut point.

A first ladder is the same for all features of all studies: 0, and 8 steps to every doubling from 2^-20 to 2^40 on both
sides. The gate merges its cells until each holds nobody or at least k people, and the counts say where the people are.
There a second ladder divides the cells evenly, the finer the more people are in them; it is merged and counted alike.
Its cells are parts of the first ladder's, so that no difference of the two rests on fewer. Counted are those who train.
Of its edges the cut points are those nearest to even quantiles. What is below a cut goes to the left, as in XGBoost,
whose numbers have 32 bits: so have cuts and values here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from confrere.analyses.learning.kernels import places
from confrere.rounds import Array, Cells, Ints

NEEDS = "histograms"
STEPS = 8  # to a doubling
LEAST, MOST = -20, 40  # powers of two
ABOVE = np.finfo(np.float32).max  # a cut that has all values below it: only who misses the value is on the other side
FINE = 4  # cells of the second ladder for every bin


def first() -> Array:
    """Inner edges of the ladder that is the same for everybody, (m,)."""
    side = 2.0 ** np.arange(LEAST, MOST + 1 / STEPS, 1 / STEPS)
    return np.asarray(single(np.concatenate([-side[::-1], side])), dtype=float)


def single(values: Array) -> NDArray[np.float32]:
    """Values as numbers of 32 bits, beyond them the largest below `ABOVE`."""
    most = np.nextafter(ABOVE, np.float32(0))
    return np.clip(values, -most, most).astype(np.float32)


def width(bins: int) -> int:
    """Cells of a ladder at most: those of the first, and what the second has between them."""
    return len(first()) + 1 + FINE * bins


class Ladder(NamedTuple):
    """A ladder of one feature."""

    edges: Array  # (m,) inner edges
    kept: tuple[int, ...] = ()  # cells whose left edge stays one


def cells_of(values: Array, ladder: Ladder, family: str, size: int) -> Cells:
    """The cell [edge, next edge) of each value (n,), -1 where it is missing; merged by the gate, each by itself.

    The ladder has `size` cells whatever its edges are, the last of them empty: shapes are public.
    """
    index = cast(Ints, places(values, single(ladder.edges), -1))
    return Cells(index, (1, size), rule="merge", family=family, marks=ladder.kept, needs=NEEDS)


def second(grid: Ints, counts: Array, bins: int) -> Ladder:
    """The second ladder, from the merged grid (cells,) of the first and its counts (merged,), whose edges it keeps."""
    edges = first()
    starts = _starts(grid, edges)
    inner = edges[starts[1:] - 1]
    outer = np.concatenate([inner[:1], inner, inner[-1:]]) if inner.size else np.array([0.0])
    if not inner.size:
        return Ladder(edges)
    shares = counts[: len(starts)] / max(1.0, counts.sum())
    made = [inner]
    for low, high, share in zip(outer[:-1], outer[1:], shares, strict=True):
        many = int(np.ceil(FINE * bins * share))
        if many > 1 and high > low:
            made.append(np.linspace(low, high, many + 1)[1:-1])
    # an open end has no even division: there the first ladder stays
    ends = [edges[: starts[1] - 1], edges[starts[-1] :]]
    found = np.unique(single(np.concatenate([*made, *ends])).astype(float))
    return Ladder(found, tuple(int(at) + 1 for at in np.searchsorted(found, inner)))


def _starts(grid: Ints, edges: Array) -> Ints:
    """The first ladder cell of each merged cell, without what is beyond the ladder."""
    return np.flatnonzero(np.diff(grid[: len(edges) + 1], prepend=-1) > 0)


def cuts(edges: Array, grid: Ints, counts: Array, bins: int) -> Array:
    """At most `bins` - 1 cut points (c,): edges of the merged second ladder nearest to even quantiles."""
    starts = _starts(grid, edges)
    counts = counts[: len(starts)]
    total = np.cumsum(counts)
    parts = (counts > 0)[:-1] & (total[:-1] < total[-1])  # a cut beside a cell of nobody parts nobody
    inner, below = edges[starts[1:] - 1][parts], total[:-1][parts]
    if inner.size < bins:
        return np.asarray(inner)
    wanted = counts.sum() * np.arange(1, bins) / bins
    at = np.clip(np.searchsorted(below, wanted), 0, inner.size - 1)
    nearer = (at > 0) & (np.abs(below[at - 1] - wanted) <= np.abs(below[at] - wanted))
    return np.asarray(inner[np.unique(at - nearer)])


def table(cut: Sequence[Array], bins: int) -> Array:
    """Cut points of all features, (p, bins): after the last of a feature, `ABOVE`."""
    out = np.full((len(cut), bins), float(ABOVE))
    for row, edges in zip(out, cut, strict=True):
        row[: len(edges)] = edges
    return out


def between(edges: Array, grid: Ints, counts: Array, cut: Array) -> Array:
    """People (c + 1,) between cut points (c,), from the counts of the merged ladder of which they are edges."""
    starts = _starts(grid, edges)
    at = np.searchsorted(cut, edges[starts[1:] - 1], side="right")
    return np.bincount(np.append(0, at), counts[: len(starts)], minlength=len(cut) + 1).astype(float)


def binned(columns: Sequence[Array], cut: Sequence[Array], missing: int) -> NDArray[np.uint8]:
    """The bin of each value, (n, p): how many cuts are at or below it, or `missing`."""
    out = np.empty((len(columns[0]) if columns else 0, len(columns)), dtype=np.uint8)
    for j, (values, edges) in enumerate(zip(columns, cut, strict=True)):
        out[:, j] = places(values, single(edges), missing)
    return out
