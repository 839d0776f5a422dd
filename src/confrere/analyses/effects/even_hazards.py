"""Risks, mean times and hazard ratios of two arms from weighted events D and weighted times at risk Y by cell of time.

A hazard is even in a cell: of cause k it is h_k = D_k/Y, of any h = sum of h_k, and S(t) = exp(- sum of h times the
time in the cell). The risk of a cause is the sum over cells of S h_k A, with S at the beginning of the cell and A the
area under exp(- h t) in it (Aalen-Johansen); the mean time free of every event that of S A. With time at risk taken
exactly, whoever leaves within a cell counts for the time until then: nothing is assumed of when in a cell people are
censored. The hazard ratio exp(b) of a cause is that of hazards proportional cell by cell: sum of D_1 - (D_0 + D_1) pi =
0 with pi = e^b Y_1 / (e^b Y_1 + Y_0), Breslow's as cells become narrow. All of it is a smooth function of D and Y, so
that derivatives by them are all that a variance needs beside each person's parts of D and Y.

Sources: Friedman, Ann Stat 1982;10:101; Holford, Biometrics 1980;36:299; Aalen & Johansen, Scand J Stat 1978;5:141.
Equals R `glm(poisson)` with offset log(Y).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # `scipy.optimize` is imported where it is first used: most runs have no use for it

from confrere.analyses.effects.exponentials import growth
from confrere.errors import ModelError
from confrere.rounds import Array


class Value(NamedTuple):
    """A number, and its derivatives by D (causes, 2, cells) and Y (2, cells): the others in row 0, the treated in 1."""

    value: float
    events: Array
    risk: Array


class Arms(NamedTuple):
    """D (causes, 2, cells), Y (2, cells), and the edges of the cells (cells + 1,), 0 first."""

    events: Array
    risk: Array
    edges: Array

    @property
    def hazards(self) -> Array:
        """(causes, 2, cells), 0 where nobody is at risk."""
        risk = np.broadcast_to(self.risk, self.events.shape)
        return np.divide(self.events, risk, out=np.zeros_like(self.events), where=risk > 0)

    def _by_hazards(self, arm: int, value: float, slope: Array) -> Value:
        """A value with its derivatives, from those by the hazards of an arm (causes, cells)."""
        events, risk = np.zeros_like(self.events), np.zeros_like(self.risk)
        some = self.risk[arm] > 0
        events[:, arm, some] = slope[:, some] / self.risk[arm, some]
        risk[arm] = -(events[:, arm] * self.hazards[:, arm]).sum(axis=0)
        return Value(value, events, risk)

    def _within(self, arm: int, until: float) -> Array:
        """Time (cells,) until a time. ModelError where nobody of the arm is followed until then."""
        width = np.clip(until, self.edges[:-1], self.edges[1:]) - self.edges[:-1]
        if (self.risk[arm][width > 0] <= 0).any():
            raise ModelError(f"nobody of an arm is followed until {until:g}: name an earlier time")
        return np.asarray(width)

    def survival(self, arm: int, until: float) -> float:
        """The probability of no event by a time."""
        return float(np.exp(-(self.hazards[:, arm].sum(axis=0) @ self._within(arm, until))))

    def _summed(self, arm: int, until: float, each: Array) -> tuple[float, Array, Array]:
        """The sum over cells of S A times `each` (cells,); its derivatives by every hazard, and by `each` (cells,)."""
        h, width = self.hazards[:, arm].sum(axis=0), self._within(arm, until)
        before = np.exp(-np.append(0.0, np.cumsum(h * width)[:-1]))
        own, slope = _areas(h, width)
        part = before * own * each
        later = part.sum() - np.cumsum(part)
        return float(part.sum()), before * slope * each - width * later, before * own

    def risk_at(self, arm: int, until: float, cause: int = 0) -> Value:
        """The risk of a cause by a time."""
        value, by_any, by_own = self._summed(arm, until, self.hazards[cause, arm])
        slope = np.tile(by_any, (len(self.events), 1))
        slope[cause] += by_own
        return self._by_hazards(arm, value, slope)

    def mean_until(self, arm: int, until: float) -> Value:
        """The mean time free of every event until a time."""
        value, by_any, _ = self._summed(arm, until, np.ones(self.risk.shape[1]))
        return self._by_hazards(arm, value, np.tile(by_any, (len(self.events), 1)))

    def log_hazard_ratio(self, cause: int = 0) -> Value:
        """The logarithm of the ratio of a cause's hazards, of the treated over the others. ModelError: an arm without
        events."""
        both = (self.risk > 0).all(axis=0)
        (d0, d1), (y0, y1) = self.events[cause][:, both], self.risk[:, both]
        if not (d0.sum() > 0 and d1.sum() > 0):
            raise ModelError("an arm has no event while both are at risk: ask about more people, or a later time")

        def score(b: float) -> float:
            return float(d1.sum() - (d0 + d1) @ (y1 / (y1 + y0 * np.exp(-b))))

        b = float(scipy.optimize.brentq(score, -50, 50, xtol=1e-14, rtol=1e-14))
        pi = y1 / (y1 + y0 * np.exp(-b))
        information = float((d0 + d1) @ (pi * (1 - pi)))
        events, risk = np.zeros_like(self.events), np.zeros_like(self.risk)
        events[cause][:, both] = np.array([-pi, 1 - pi]) / information
        moves = (d0 + d1) * pi * (1 - pi) / information
        risk[:, both] = np.array([moves / y0, -moves / y1])
        return Value(b, events, risk)


def _areas(h: Array, width: Array) -> tuple[Array, Array]:
    """The area under exp(-h t) over each width, and its slope by h."""
    first, second = growth(-h * width)
    return width * first, -(width**2) * second
