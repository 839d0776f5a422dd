"""People in an arm, followed through cells of time with weights that grow evenly within a cell (`strategies`).

In cell l a person's weight is f_l exp(b_l + r_l t) after a time t in it, with the rate r_l at which its logarithm grows
there, b_l what it has grown before, and a factor f_l. Their weighted time at risk is the integral of it over the time
E_l that they spend there, f_l exp(b_l) E_l g(r_l E_l) with g(x) = (exp(x) - 1)/x, and a weighted event is its value at
the end. A rate may be a sum of the rates of several models: starting, being lost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.exponentials import growth
from confrere.rounds import Array, Ints


class Walked(NamedTuple):
    """Rows (m,) in an arm: weights at their ends, causes (0 for no event here) and cells of these ends; by cell (m,
    cells) weighted times at risk, their derivatives by the rate, times and widths (cells,)."""

    last: Array
    cause: Ints
    cell: Ints
    risk: Array
    by_rate: Array
    time: Array
    widths: Array

    def events(self, causes: int) -> Array:
        """Weighted events (causes, cells)."""
        cells, some = len(self.widths), self.cause > 0
        at = (self.cause[some] - 1) * cells + self.cell[some]
        return np.bincount(at, self.last[some], minlength=causes * cells).reshape(causes, cells).astype(float)

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


def walked(rate: Array, widths: Array, time: Array, factor: Array, cause: Ints, cell: Ints) -> Walked:
    """Rows whose weights grow by `rate` (m, cells) in the `time` (m, cells) that they spend in cells of these `widths`.

    `factor` (m, cells) multiplies their weights; `cause` and `cell` (m,) say how and where they end.
    """
    first, second = growth(rate * time)
    before = np.cumsum(rate * widths, axis=1)
    start = factor * np.exp(np.column_stack([np.zeros(len(rate)), before[:, :-1]]))
    here = np.minimum(cell, len(widths) - 1)
    last = factor[np.arange(len(rate)), here] * np.exp((rate * time).sum(axis=1))
    return Walked(last, cause, here, start * time * first, start * time**2 * second, time, widths)
