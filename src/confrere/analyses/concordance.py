"""Harrell's concordance within one hospital, with what each person adds to it.

A pair is comparable if the one with the shorter time has the event (an event and a censoring at the same time are
comparable, two events are not). It is concordant if that one has the larger risk. The variance is the
infinitesimal jackknife over people; matches R survival::concordance.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from confrere.rounds import Array, Bools, Ints

BLOCK = 512


class Pairs(NamedTuple):
    """For each person (n,) the weight of its comparable pairs: concordant, discordant, tied in risk."""

    concordant: Array
    discordant: Array
    tied: Array


class Exits(NamedTuple):
    """Exit times (n,), whether with the event (n,), and strata (n,) or None."""

    time: Array
    event: Bools
    strata: Ints | None


def pairs(time: Array, event: Bools, risk: Array, weights: Array, strata: Ints | None = None) -> Pairs:
    """Comparable pairs of each person with all others of its stratum; all arguments (n,)."""
    out = np.zeros((3, time.size))
    for mine in _strata(strata, time.size):
        if mine.size:
            out[:, mine] = _within(time[mine], event[mine], risk[mine], weights[mine])
    return Pairs(*out)


def late_pairs(people: Exits, entry: Array, risk: Array, weights: Array) -> Pairs:
    """The same where people enter late: a pair counts only if the later one had entered when the other had its event.

    Pairs with entry_j >= t_i are those with a person who leaves at entry_j; they are taken off, for both members.
    """
    time, event, strata = people
    base = np.array(pairs(time, event, risk, weights, strata))
    twice = None if strata is None else np.concatenate([strata, strata])
    both = np.array(
        pairs(
            np.concatenate([time, entry]), np.concatenate([event, np.zeros_like(event)]),
            np.concatenate([risk, risk]), np.concatenate([weights, weights]), twice,
        )
    )  # fmt: skip
    n = time.size
    return Pairs(*(2 * base - both[:, :n] - both[:, n:]))


def _strata(strata: Ints | None, n: int) -> list[Ints]:
    if strata is None:
        return [np.arange(n)]
    return [np.flatnonzero(strata == s) for s in np.unique(strata)]


def _within(time: Array, event: Bools, risk: Array, weights: Array) -> Array:
    order = np.lexsort((~event, time))
    t, e, r, w = time[order], event[order], risk[order], weights[order]
    starts = _blocks(t)
    found = np.zeros((3, t.size))
    later, earlier = _Sorted(), _Sorted()
    for low, high in pairwise(starts):
        mine = slice(low, high)
        found[:, mine] += earlier.compare(r[mine], reverse=True)
        found[:, mine] += _inside(t[mine], e[mine], r[mine], w[mine])
        earlier.add(r[mine][e[mine]], w[mine][e[mine]])
    for low, high in zip(starts[-2::-1], starts[:0:-1], strict=True):
        mine = slice(low, high)
        found[:, mine] += later.compare(r[mine], reverse=False) * e[mine]
        later.add(r[mine], w[mine])
    back = np.empty_like(found)
    back[:, order] = found * w
    return back


def _blocks(t: Array) -> list[int]:
    """Starts of blocks of about BLOCK people that keep equal times together, and the end."""
    groups = np.flatnonzero(np.diff(t, prepend=-np.inf) != 0)
    starts = [0]
    for g in groups:
        if g - starts[-1] >= BLOCK:
            starts.append(int(g))
    return [*starts, t.size]


def _inside(t: Array, e: Bools, r: Array, w: Array) -> Array:
    """Pairs within a block, by looking at all of them."""
    first = e[:, None] & ((t[:, None] < t[None, :]) | ((t[:, None] == t[None, :]) & ~e[None, :]))
    above, level = r[:, None] > r[None, :], r[:, None] == r[None, :]
    kinds = (first & above, first & ~above & ~level, first & level)
    return np.array([k @ w + k.T @ w for k in kinds])


class _Sorted:
    """Risks and weights seen so far, sorted by risk."""

    def __init__(self) -> None:
        self.risk = np.empty(0)
        self.weight = np.empty(0)

    def add(self, risk: Array, weight: Array) -> None:
        both = np.concatenate([self.risk, risk])
        order = np.argsort(both, kind="stable")
        self.risk, self.weight = both[order], np.concatenate([self.weight, weight])[order]

    def compare(self, risk: Array, *, reverse: bool) -> Array:
        """Weight seen (concordant, discordant, tied): lower risks are concordant, or the higher with `reverse`."""
        sums = np.concatenate([[0.0], np.cumsum(self.weight)])
        below = sums[np.searchsorted(self.risk, risk, "left")]
        upto = sums[np.searchsorted(self.risk, risk, "right")]
        above = sums[-1] - upto
        return np.array([above, below, upto - below] if reverse else [below, above, upto - below])
