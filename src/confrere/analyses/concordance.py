"""Harrell's concordance within one hospital, with what each person adds to it.

A pair is comparable if the one with the shorter time has the event (an event and a censoring at the same time are
comparable, two events are not). It is concordant if that one has the larger risk. The variance is the
infinitesimal jackknife over people; matches R survival::concordance.

Pairs are counted bit by bit of the order in time: two people differ first in one bit, the higher ones being those of a
block of people. With everybody of a block sorted by risk, sums over those who have the bit, and over the events that
have not, give everybody's pairs. That is a pass over the people for each of log2(times) bits, with ties of any size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.rounds import Array, Bools, Ints


class Pairs(NamedTuple):
    """For each person (n,) the weight of its comparable pairs: concordant, discordant, tied in risk."""

    concordant: Array
    discordant: Array
    tied: Array

    @property
    def sums(self) -> Array:
        """(3,) the pairs of each kind; each pair is of two people and counts once."""
        return np.array([kind.sum() for kind in self]) / 2

    def influence(self, c: float, total: float) -> Array:
        """(n,) what each person adds to the concordance `c` of `total` pairs; its squares add up to the variance."""
        return (self.concordant + self.tied / 2 - c * (self.concordant + self.discordant + self.tied)) / total


def concordance(sums: Array) -> float:
    """Harrell's C of pairs by kind (3,), of at least one pair: half of the tied ones count."""
    concordant, discordant, tied = sums
    return float((concordant + tied / 2) / (concordant + discordant + tied))


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
    # who comes later in this order is comparable with an event; two events at one time are level, and are not
    exits = np.unique(2 * np.unique(time, return_inverse=True)[1] + ~event, return_inverse=True)[1]
    who = np.argsort(risk, kind="stable")
    found = np.zeros((3, time.size))
    for bit in reversed(range(int(exits.max()).bit_length())):
        found[:, who] += _split(exits[who] >> bit, event[who], risk[who], weights[who])
        who = who[np.argsort(exits[who] >> bit, kind="stable")]
    return found * weights


def _split(place: Ints, event: Bools, risk: Array, weights: Array) -> Array:
    """Comparable pairs (3, m) of people in blocks of equal place >> 1, of whom the odd ones come after the even ones.

    The people stand block after block, sorted by risk in each.
    """
    late = (place & 1).astype(bool)
    block = np.diff(place >> 1, prepend=-1, append=-1) != 0
    run = block | np.concatenate([[True], risk[1:] != risk[:-1], [True]])
    (low, high), (first, last) = _ends(block), _ends(run)
    # to an event come the later ones, lower risks being concordant; to a later one the events, higher being so
    others = np.array([np.where(late, weights, 0.0), np.where(event & ~late, weights, 0.0)])
    sums = np.column_stack([np.zeros(2), np.cumsum(others, axis=1)]).ravel()
    mine = late * (place.size + 1)
    low, first, last, high = (sums[at + mine] for at in (low, first, last, high))
    below, level, above = first - low, last - first, high - last
    found = np.array([np.where(late, above, below), np.where(late, below, above), level])
    return np.where(late | event, found, 0.0)


def _ends(edge: Bools) -> tuple[Ints, Ints]:
    """For each of m people the start and the end of its stretch; `edge` (m + 1,) marks where stretches start, and m."""
    at = np.flatnonzero(edge)
    sizes = np.diff(at)
    return np.repeat(at[:-1], sizes), np.repeat(at[1:], sizes)
