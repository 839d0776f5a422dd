"""Cumulative incidence of competing causes on cells of time (Aalen-Johansen), with its variance.

State is the probability S of being free of every event, F_k of having had cause k, and the covariance V of all of
them. A cell takes S to S q and F_k to F_k + S f_k, so that V becomes J V J' + S^2 C with J the derivative of this map
and C the covariance of (q, f): the delta method, propagated.

Exact times, n at risk, d_k events: q = 1 - d/n, f_k = d_k/n and Cov(f_k, f_l) = (delta_kl d_k/n - d_k d_l/n^2)/n. This
is equation 10.12 of Marubini & Valsecchi (1995), and equals R survival's infinitesimal jackknife without weights.

Cells in which d events (a share s_k = d_k/d of cause k) and c censorings are spread evenly, as in `curves`: with
r = d/(d + c), m = n - d - c and y the number at risk within the cell, from n down to m,

    q = (m/n)^r,   f_k = s_k (1 - q)
    Var(q) = q^2 v,  Cov(q, f_k) = -s_k q^2 v,  Cov(f_k, f_l) = s_k s_l (q^2 v - w) + delta_kl s_k w
    v = r (1/m - 1/n),   w = integral of (r/y^2)(y/n)^(2r) dy = (r/n) (1 - (m/n)^(2r-1))/(2r-1)

the limit of the formula above for many small cells. Cutting a cell in two changes nothing, so that a curve can be
read within a cell, and without censorings both formulas agree. Where censorings empty the last cell, half a person
is taken to stay: the last exit has one person at risk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.curves import Cellwise, limits
from confrere.rounds import Array


class State(NamedTuple):
    """Free of every event, incidence per cause (K,), covariance of both (K + 1, K + 1)."""

    free: float
    incidence: Array
    variance: Array


class Cell(NamedTuple):
    """At risk at the left edge, events per cause (K,), censorings; `exact` if all events are at the right edge."""

    n: float
    events: Array
    censored: float
    exact: bool


class Estimate(NamedTuple):
    """Incidence, its standard error and its 95 % limits; NaN where there are none."""

    estimate: float
    std_error: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Incidence:
    """The curves of one group: the states at the start and at the right edge of each of its cells (m + 1)."""

    cells: Cellwise
    states: list[State]

    def at(self, time: float) -> State:
        """The state at a time; within a cell, part of its exits have happened."""
        cells = self.cells
        if cells.exact:
            return self.states[int(np.searchsorted(cells.right, time, side="right"))]
        j = min(int(np.searchsorted(cells.right, time, side="left")), cells.right.size - 1)
        share = min(1.0, (time - cells.left[j]) / (cells.right[j] - cells.left[j]))
        return after(self.states[j], cell_at(cells, j, share))

    def at_risk(self, time: float) -> float:
        """People at risk just before a time."""
        cells = self.cells
        if cells.exact:
            j = int(np.searchsorted(cells.right, time, side="left"))
            return float(cells.at_risk[j]) if j < cells.right.size else 0.0
        end = cells.at_risk[-1] - cells.all_events[-1] - cells.censored[-1]
        return float(np.interp(time, np.append(cells.left, cells.right[-1]), np.append(cells.at_risk, end)))


def incidence(cells: Cellwise) -> Incidence:
    """Aalen-Johansen's curves of one group."""
    causes = len(cells.events)
    states = [State(1.0, np.zeros(causes), np.zeros((causes + 1, causes + 1)))]
    for j in range(cells.left.size):
        states.append(after(states[-1], cell_at(cells, j)))
    return Incidence(cells, states)


def cell_at(cells: Cellwise, j: int, share: float = 1.0) -> Cell:
    """The first `share` of a cell."""
    return Cell(float(cells.at_risk[j]), cells.events[:, j] * share, float(cells.censored[j]) * share, cells.exact)


def after(state: State, cell: Cell) -> State:
    """The state at the end of a cell."""
    total = float(cell.events.sum())
    if not (total > 0 and cell.n > 0):
        return state
    q, f, covariance = _exact(cell, total) if cell.exact else _spread(cell, total)
    jacobian = np.eye(f.size + 1)
    jacobian[0, 0], jacobian[1:, 0] = q, f
    variance = jacobian @ state.variance @ jacobian.T + state.free**2 * covariance
    return State(state.free * q, state.incidence + state.free * f, variance)


def _exact(cell: Cell, total: float) -> tuple[float, Array, Array]:
    """q, f and the covariance of (q, f) of events at one time."""
    f = cell.events / cell.n
    inner = (np.diag(f) - np.outer(f, f)) / cell.n
    return max(1 - total / cell.n, 0.0), f, _bordered(inner)


def _bordered(inner: Array) -> Array:
    """The covariance of (1 - sum f, f) from that of f."""
    edge = -inner.sum(axis=1)
    return np.block([[inner.sum(), edge], [edge[:, None], inner]])


def _spread(cell: Cell, total: float) -> tuple[float, Array, Array]:
    """The same of events and censorings spread evenly over a cell."""
    n, out, s = cell.n, total + cell.censored, cell.events / total
    least = min(0.5, n / 2) if cell.censored > 1e-9 * n else 1e-12 * n
    m, r = max(n - out, least), total / out
    q = (m / n) ** r
    square = r * (q**2 / m - q**2 / n)  # q^2 v
    e = 2 * r - 1
    w = r / n * (np.log(n / m) if abs(e) < 1e-9 else -np.expm1(e * np.log(m / n)) / e)
    inner = np.outer(s, s) * (square - w) + np.diag(s) * w
    return q, s * (1 - q), _bordered(inner)


def estimate(state: State, cause: int, kind: str) -> Estimate:
    """Incidence of a cause (0, 1, ...) with limits of the given kind (`log`, `log-log`, `plain`)."""
    f, variance = float(state.incidence[cause]), max(float(state.variance[cause + 1, cause + 1]), 0.0)
    if not f > 0:
        return Estimate(0.0, 0.0, np.nan, np.nan)
    low, high = limits(np.array(f), np.array(variance / f**2), kind)
    return Estimate(f, float(np.sqrt(variance)), float(low), float(high))
