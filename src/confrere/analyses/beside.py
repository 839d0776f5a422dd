"""Sums over groups of people that overlap, told side by side: time at risk in 2015 and in 2016, at age 50 and at 60.

A partition has its rule in the gate. These are none: the same people are at risk in two years, and who is at risk in
one of them alone is told by subtraction. So for every sum, and every two of them, the hospitals first count, blinded,
on how many people it rests: who enters the sum at all; who enters it with another value than is usual (a whole year,
of which the number of people would take the rest away); who enters two sums differently. The gate says where these are
few, and the analysis joins neighbours until nowhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from confrere.rounds import Array, Bools, Cells, Verdict

Pair = tuple[int, int]


def cells(kind: str, weights: Array, size: Array | None = None, first: int = 0) -> dict[str, Cells]:
    """Cells of the sums over people of the columns of `weights` (n, r), which are the sums `first`, `first` + 1, ...

    `size` (r,) is what a whole one is worth: of two columns that have one (years of 365 and 366 days), somebody enters
    both alike with the same share of it. Elsewhere it is NaN.
    """
    size = np.full(weights.shape[1], np.nan) if size is None else size
    made: dict[str, Cells] = {}
    for i, column in enumerate(weights.T):
        made[f"{kind} {first + i}:{first + i}"] = anyone(column != 0)
        made[f"{kind} {first + i}:{first + i} unusual"] = anyone(column != usual(column))
    for i, j in itertools.combinations(range(weights.shape[1]), 2):
        by = size[[i, j]] if np.isfinite(size[[i, j]]).all() else np.ones(2)
        made[f"{kind} {first + i}:{first + j}"] = anyone(weights[:, i] / by[0] != weights[:, j] / by[1])
    return made


def across(kind: str, weights: Array, pairs: Iterable[Pair]) -> dict[str, Cells]:
    """Cells of the people who enter both of two columns: people of years counted twice, less all people, are these."""
    return {f"{kind} {i}:{j} both": anyone((weights[:, i] != 0) & (weights[:, j] != 0)) for i, j in pairs}


def between(kind: str, one: Array, other: Array) -> dict[str, Cells]:
    """Cells of the differences of the columns of two matrices (n, r), place by place: people who are no cases."""
    return {f"{kind} {i}:{i}": anyone(a != b) for i, (a, b) in enumerate(zip(one.T, other.T, strict=True))}


def anyone(who: Bools) -> Cells:
    """The people marked (n,), as one cell: hidden if they are few."""
    return Cells(np.where(who, 0, -1), (1, 1), rule="suppress")


def few(verdict: Verdict) -> set[Pair]:
    """Which sums rest on few people, (i, i), and which two of them few people tell apart, (i, j)."""
    hidden = [name for name, grid in verdict.grids.items() if ":" in name and (grid < 0).any()]
    pairs = (name.split(" ")[1].split(":") for name in hidden)
    return {(int(i), int(j)) for i, j in pairs}


def usual(column: Array) -> float:
    """The value in the middle of those that are not 0."""
    inside = column[column != 0]
    return float(np.partition(inside, inside.size // 2)[inside.size // 2]) if inside.size else 0.0
