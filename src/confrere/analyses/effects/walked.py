"""Rows followed through cells of time with weights that grow evenly within a cell (`strategies`, `trials`).

In cell l a person's weight is f_l exp(b_l + r_l t) after a time t in it, with the rate r_l at which its logarithm grows
there, b_l what it has grown before, and a factor f_l. Their weighted time at risk is the integral of it over the time
E_l that they spend there, f_l exp(b_l) E_l g(r_l E_l) with g(x) = (exp(x) - 1)/x, and a weighted event is its value at
the end. Who begins within a cell after a time a_l in it has exp(b_l + r_l a_l) there for exp(b_l). A rate may be a sum
of the rates of several models: starting, being lost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.exponentials import growth
from confrere.rounds import Array, Ints


class Walked(NamedTuple):
    """Rows (m,) in an arm: weights at their ends, causes (0 for no event here) and cells of these ends; by cell (m,
    cells) weighted times at risk, their derivatives by the rate, times until the end from 0 on; widths (cells,)."""

    last: Array
    cause: Ints
    cell: Ints
    risk: Array
    by_rate: Array
    time: Array
    widths: Array

    def events(self, causes: int, w: Array | None = None) -> Array:
        """Weighted events (causes, cells), times `w` (m,)."""
        cells, some = len(self.widths), self.cause > 0
        at = (self.cause[some] - 1) * cells + self.cell[some]
        whole = self.last if w is None else self.last * w
        return np.bincount(at, whole[some], minlength=causes * cells).reshape(causes, cells).astype(float)

    def _ended(self, events: Array) -> Array:
        """What the event of each row is worth (m,), by the derivatives of a value by events (causes, cells)."""
        worth = events[np.maximum(self.cause, 1) - 1, np.minimum(self.cell, len(self.widths) - 1)]
        return np.where(self.cause > 0, self.last * worth, 0.0)

    def part(self, events: Array, risk: Array, first: int = 0) -> Array:
        """What each row moves a value by (m,), of derivatives by events (causes, cells) and times at risk (cells,);
        in the cells from `first` on."""
        ended = np.where(self.cell >= first, self._ended(events), 0.0)
        return np.asarray(ended + self.risk[:, first:] @ risk[first:])

    def by_log_rate(self, rate: Array, events: Array, risk: Array) -> Array:
        """The derivative (m, cells) of a value by the logarithms of the `rate` (m, cells) of one of the models."""
        whole = self.risk * risk
        later = whole.sum(axis=1, keepdims=True) - np.cumsum(whole, axis=1)
        return np.asarray(rate * (self.by_rate * risk + later * self.widths + self._ended(events)[:, None] * self.time))


class Way(NamedTuple):
    """How rows (m,) are followed: time in each cell of these widths (cells,) until their begin, and until their end (m,
    cells); their causes (0 for no event) and the cells of their ends."""

    widths: Array
    begin: Array
    end: Array
    cause: Ints
    cell: Ints


def walked(way: Way, rate: Array, factor: Array) -> Walked:
    """Rows whose weights grow by `rate` (m, cells) from 0 on; `factor` (m, cells) multiplies them."""
    time = way.end - way.begin
    first, second = growth(rate * time)
    before = np.cumsum(rate * way.widths, axis=1)
    start = factor * np.exp(np.column_stack([np.zeros(len(rate)), before[:, :-1]]) + rate * way.begin)
    here = np.minimum(way.cell, len(way.widths) - 1)
    last = factor[np.arange(len(rate)), here] * np.exp((rate * way.end).sum(axis=1))
    risk = start * time * first
    return Walked(last, way.cause, here, risk, risk * way.begin + start * time**2 * second, way.end, way.widths)
