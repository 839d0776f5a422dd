"""Risk sets of one hospital: who is at risk at each of its event times, and the sums of Cox's partial likelihood.

With r_i = w_i exp(x_i b), at an event time t with d events of mean weight W/d, S0 the sum of r over those at risk
and D0 over those who have the event (Efron 1977; Breslow is f = 0 for all):

    den_l = S0 - f_l D0,  f_l = l/d,  l = 0..d-1
    loglik = sum_events w x b - sum_t (W/d) sum_l log den_l
    a_t = (W/d) sum_l 1/den_l,   c_t = (W/d) sum_l f_l/den_l
    q_i = r_i (sum of a_t over the times at which i is at risk, - c_t at i's own event)
    score = sum_i (w_i e_i - q_i) x_i
    information = sum_i q_i x_i x_i' - sum_t (W/d) sum_l m_l m_l',   m_l = (S1 - f_l D1)/den_l

Efron's likelihood so becomes separable over people: only the last term needs sums over risk sets (S1, D1), and it
never needs (times, p, p). Matches R survival::coxph(ties = "efron") with weights, strata and (start, stop] times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from confrere.rounds import Array, Ints

STRETCH = 1 << 14  # events at a time


class Tied(NamedTuple):
    """Sums over the ties of each event time, (T,): with inverse denominators to the power 1 and 2, and f^0..2."""

    log: Array  # (W/d) sum log den
    a: Array  # (W/d) sum 1/den
    c: Array  # (W/d) sum f/den
    a2: Array  # (W/d) sum 1/den^2
    c2: Array  # (W/d) sum f/den^2
    e2: Array  # (W/d) sum f^2/den^2


def tied(s0: Array, d0: Array, weight: Array, count: Array, efron: bool) -> Tied:
    """The sums over l of each event time; s0, d0, weight W and count d are (T,). Times without events give 0."""
    sums = np.zeros((len(Tied._fields), count.size))
    some = np.flatnonzero(count > 0)
    ends = np.cumsum(count[some].astype(np.int64))
    for at in np.split(some, np.unique(np.searchsorted(ends, np.arange(STRETCH, count.sum(), STRETCH)))):
        if at.size:
            sums[:, at] = _tied(s0[at], d0[at], weight[at], count[at].astype(np.int64), efron)
    return Tied(*sums)


def _tied(s0: Array, d0: Array, weight: Array, repeats: Ints, efron: bool) -> Array:
    """`tied` of times (T,) that all have events, as many as fit a processor's cache: (6, T)."""
    starts = np.cumsum(repeats) - repeats
    den = np.repeat(s0, repeats)
    f = np.zeros(den.size)
    if efron:
        f = (np.arange(den.size) - np.repeat(starts, repeats)) / np.repeat(repeats, repeats)
        den -= f * np.repeat(d0, repeats)
    inverse = 1 / den
    share = f * inverse
    terms = np.log(den), inverse, share, inverse * inverse, share * inverse, share * share
    return np.array([weight / repeats * np.add.reduceat(term, starts) for term in terms])


@dataclass(frozen=True, eq=False)
class RiskSets:
    """People of one hospital (n,) and its distinct event times (T,), stratum after stratum.

    A person is at risk at the event times `first` <= j <= `last` of its own stratum; `own` is that of its event,
    -1 without one. `starts` are the first event times of the strata.
    """

    first: Ints
    last: Ints
    own: Ints
    starts: Ints
    times: Array
    count: Array
    weight: Array

    @property
    def size(self) -> int:
        return int(self.times.size)

    def slices(self) -> list[tuple[int, int]]:
        """First and last-but-one event times of each stratum."""
        return [(int(a), int(b)) for a, b in zip(self.starts, np.append(self.starts[1:], self.size), strict=False)]

    @cached_property
    def dead(self) -> Ints:
        """Who has an event, by place."""
        return np.flatnonzero(self.own >= 0)

    @cached_property
    def _owns(self) -> Ints:
        """The event times of those who have an event."""
        return self.own[self.dead]

    @cached_property
    def _ends(self) -> Ints:
        """The event time after the last at which each person is at risk (n,)."""
        return self.last + 1

    @cached_property
    def _begins(self) -> Ints | None:
        """The first event time at which each person is at risk (n,), if that is not the very first for everybody."""
        return np.minimum(self.first, self._ends) if self.first.any() else None

    @cached_property
    def _late(self) -> Ints:
        """Who comes after the first event time of the stratum, by place."""
        if not self.starts.size:
            return np.empty(0, dtype=np.int64)
        stratum = np.searchsorted(self.starts, self.first, side="right") - 1
        return np.flatnonzero(self.first > self.starts[np.maximum(stratum, 0)])

    def at_risk(self, values: Array) -> Array:
        """Sums of values (n,) or (n, p) over those at risk at each event time: (T,) or (T, p)."""
        total = self._before(values, self._ends)
        if self._late.size:
            total -= self._before(values[self._late], self.first[self._late])
        return total

    def tied(self, values: Array) -> Array:
        """Sums of values (n,) or (n, p) over those with the event, (T,) or (T, p)."""
        return _by(self._owns, values[self.dead], self.size)

    def firsts(self, columns: Iterable[Array]) -> tuple[Array, Array]:
        """`at_risk` and `tied` of p columns (n,), which may overwrite one another: (T, p) each."""
        both = [(self.at_risk(column), self.tied(column)) for column in columns]
        return np.array([risk for risk, _ in both]).T, np.array([own for _, own in both]).T

    def during(self, values: Array) -> Array:
        """For each person the sum of values (T,) or (T, p) over the times at which it is at risk."""
        ends = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
        until: Array = ends.take(self._ends, axis=0)
        return until if self._begins is None else until - ends.take(self._begins, axis=0)

    def exposed(self, a: Array, c: Array) -> Array:
        """For each person the sum of a (T,) while at risk, less c (T,) at its own event: (n,)."""
        out = self.during(a)
        out[self.dead] -= c[self._owns]
        return out

    def _before(self, values: Array, ends: Ints) -> Array:
        """Sums over people whose `ends` come after j, in the stratum of j; 0 ends before all."""
        sums = _by(ends, values, self.size + 1)[1:]
        for low, high in self.slices():
            sums[low:high] = np.cumsum(sums[low:high][::-1], axis=0)[::-1]
        return sums


def risk_sets(time: Array, event: Array, entry: Array | None, strata: Ints | None, weights: Array) -> RiskSets:
    """Risk sets of people with exit `time`, `event` 0/1, entry times or None, strata or None, weights; all (n,)."""
    groups = np.zeros(time.size, dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    happened = (event > 0) & (weights > 0)
    # a stratum and a time are one whole number, so that event times of all strata stand in one sorted list
    distinct, rank = np.unique(time, return_inverse=True)
    bottom, place = groups * (distinct.size + 1), groups * (distinct.size + 1) + rank
    keys = np.unique(place[happened])
    stratum = keys // (distinct.size + 1)
    cells = (int(groups.max(initial=0)) + 1) * (distinct.size + 1)
    last = _among(keys, place, cells, "right") - 1
    if entry is not None:
        bottom = bottom + np.searchsorted(distinct, entry, side="right")
    first = _among(keys, bottom, cells, "left")
    never = first > last  # gone before the first event of the stratum, come after its last, or between two
    first, last = np.where(never, 0, first), np.where(never, -1, last)
    own = np.where(happened, last, -1)
    return RiskSets(
        first, last, own, np.searchsorted(stratum, np.unique(stratum)), distinct[keys % (distinct.size + 1)],
        np.bincount(own[happened], minlength=keys.size).astype(float),
        np.bincount(own[happened], weights[happened], minlength=keys.size).astype(float),
    )  # fmt: skip


def _among(keys: Ints, whole: Ints, cells: int, side: Literal["left", "right"]) -> Ints:
    """`searchsorted` of whole numbers (n,) from 0 to `cells` - 1: each is looked up once where these are fewer."""
    if cells > whole.size:
        return np.searchsorted(keys, whole, side)
    return np.searchsorted(keys, np.arange(cells), side)[whole]


def _by(index: Ints, values: Array, size: int) -> Array:
    """Sums of values (n,) or (n, p) by index (n,) of 0 to `size` - 1."""
    if values.ndim == 1:
        return np.bincount(index, values, minlength=size).astype(float)
    return np.stack([np.bincount(index, v, minlength=size) for v in values.T], axis=1).astype(float)
