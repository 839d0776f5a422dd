"""Neighbouring cells merged until each holds nobody or enough people: the finest such partition, from the left."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from confrere.rounds import Array, Ints


def edges(rows: Array, marks: Sequence[int], least: float) -> tuple[int, ...]:
    """Left edges of the finest partition in which every row has 0 or at least `least` per cell.

    rows (r, cells) are counts; `marks` are kept as edges if they can be.
    """
    return _edges(np.ascontiguousarray(rows, dtype=float).tobytes(), rows.shape, tuple(marks), least)


@lru_cache(maxsize=64)  # hospitals of one process judge the same totals
def _edges(counted: bytes, shape: tuple[int, ...], marks: tuple[int, ...], least: float) -> tuple[int, ...]:
    rows = np.frombuffer(counted).reshape(shape)
    cut = np.concatenate([np.zeros((rows.shape[0], 1)), np.cumsum(rows, axis=1)], axis=1)
    # plain numbers: arrays of few rows would take most of the time
    counts = cut.tolist()

    def good(low: int, high: int) -> bool:
        return not any(0 < row[high] - row[low] < least for row in counts)

    def empty(low: int, high: int) -> bool:
        return not any(row[high] - row[low] for row in counts)

    end = rows.shape[1]
    kept = [0]
    for m in sorted({m for m in marks if 0 < m < end}):
        if good(kept[-1], m):
            kept.append(m)
    while len(kept) > 1 and not good(kept[-1], end):
        kept.pop()
    found: list[int] = []
    for low, high in zip(kept, [*kept[1:], end], strict=True):
        if len(counts) == 1:
            found += _stretches(counts[0], low, high, least)
            continue
        found.append(low)
        for e in range(low + 1, high):
            lone = empty(found[-1], e + 1) or empty(found[-1], high)  # a stretch with nobody is one cell
            if good(found[-1], e) and good(e, high) and not lone:
                found.append(e)
    return tuple(found)


def _stretches(cut: Sequence[float], low: int, high: int, least: float) -> list[int]:
    """Left edges between `low` and `high` of one row alone, from its cumulated counts: leaps to where one may be."""
    edges = [low]
    while True:
        last = edges[-1]
        full = bisect_right(cut, cut[last]) - 1  # the next cell with somebody
        if full >= high:
            return edges
        if full > last and not 0 < cut[high] - cut[full] < least:  # nobody until there: one cell
            edges.append(full)
            continue
        edge = max(full + 1, bisect_left(cut, cut[last] + least))
        if edge < high and 0 < cut[high] - cut[edge] < least:
            edge = bisect_left(cut, cut[high])  # what remains is nobody
        if edge >= high:
            return edges
        edges.append(edge)


def numbered(left: Sequence[int], size: int) -> Ints:
    """(size,) the number of the merged cell of each cell, from the left edges."""
    steps = np.zeros(size, dtype=np.int64)
    steps[list(left)] = 1
    return np.cumsum(steps) - 1
