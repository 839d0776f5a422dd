"""Curves on cells of time: survival and its area from events and people at risk per cell.

Events and censorings are known on grids of their own and are spread evenly over their cells; a curve is computed on
the cells between all these edges. With n at risk at the left edge, d events and c censorings, survival is
(1 - (d + c)/n)^(d/(d + c)), and Greenwood's sum is d/(d + c) (1/(n - d - c) - 1/n): what Kaplan-Meier and
Greenwood give for many evenly spread exits. Without censorings in the cell both are the textbook formulas. With
exact times censorings follow the events of their time, and both are Kaplan-Meier's and Greenwood's exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from confrere.analyses.follow_up import Table
from confrere.errors import StudyError
from confrere.rounds import Array, Ints

Z = float(special.ndtri(0.975))


@dataclass(frozen=True, eq=False)
class Cellwise:
    """One group on its cells (m,): edges, people at risk at the left edge, events per cause, censorings in the cell.

    `exact` marks times that are exact: events at the right edge, censorings after them.
    """

    left: Array
    right: Array
    at_risk: Array
    events: Array  # (causes, m)
    censored: Array
    exact: bool
    ends: Ints  # the cells at whose right edge a cell of events ends: where the curve is reported
    lost: Ints  # the same of cells of censorings

    @property
    def all_events(self) -> Array:
        """Events of any cause, (m,)."""
        return np.asarray(self.events.sum(axis=0))


def cellwise(table: Table, g: int, exact: bool, edges: Ints | None = None) -> Cellwise | None:
    """One group on the cells between the edges of all its kinds, or on the given `edges`; None if suppressed."""
    causes = [k for k in table.kinds if k.startswith("cause")]
    if suppressed(table, g):
        return None
    starts = own_edges(table, g) if edges is None else edges
    times = np.concatenate([[0.0], table.edges])
    left, right = times[starts], np.append(times[starts[1:]], 0.0)
    right[-1] = _end(times, left[-1])
    spread = {k: _spread(table.counts[k][g], table.maps[k][g], times, starts) for k in table.kinds}
    events = np.array([spread[k] for k in causes])
    out = events.sum(axis=0) + spread["censored"]
    entered = spread.get("entered", np.zeros_like(out))
    total = out.sum() - entered.sum()
    at_risk = total - np.cumsum(out) + out + np.cumsum(entered) - (entered if exact else entered / 2)
    ends = _ends(np.unique(np.concatenate([_starts(table.maps[k][g]) for k in causes])), starts)
    lost = _ends(_starts(table.maps["censored"][g]), starts)
    return Cellwise(left, right, np.maximum(at_risk, 0.0), events, spread["censored"], exact, ends, lost)


def _ends(own: Ints, starts: Ints) -> Ints:
    """The cells, which begin at `starts`, at whose right edge a cell of those that begin at `own` ends."""
    return np.append(np.searchsorted(starts, own[1:]) - 1, starts.size - 1)


def suppressed(table: Table, g: int) -> bool:
    """Whether the gate left a group out."""
    return any(bool((table.maps[k][g] < 0).any()) for k in table.kinds)


def own_edges(table: Table, g: int) -> Ints:
    """Ladder cells at which a cell of any kind of a group begins."""
    return np.unique(np.concatenate([_starts(table.maps[k][g]) for k in table.kinds]))


def shares(table: Table, g: int, kind: str, starts: Ints) -> tuple[Ints, Array]:
    """Of the cells that begin at `starts` (m,): the merged cell of a kind that each is part of, and its share of it."""
    grid = table.maps[kind][g]
    whole = np.ones(int(grid.max(initial=-1)) + 1)
    return grid[starts], _spread(whole, grid, np.concatenate([[0.0], table.edges]), starts)


def _end(times: Array, left: float) -> float:
    """A right edge for the open last cell: the end of the ladder, or one step more."""
    return float(times[-1]) if left < times[-1] else float(left + times[1])


def _starts(grid: Ints) -> Ints:
    """First ladder cell of each merged cell."""
    return np.flatnonzero(np.diff(grid, prepend=-1) > 0)


def _spread(counts: Array, grid: Ints, times: Array, starts: Ints) -> Array:
    """Counts per merged cell, spread evenly over its time, summed over the cells that begin at `starts`: (m,)."""
    own = _starts(grid)
    bounds = np.append(times[own], _end(times, times[own[-1]]))
    cumulated = np.concatenate([[0.0], np.cumsum(counts[: len(own)])])
    at = np.interp(times[starts], bounds, cumulated)
    return np.diff(at, append=cumulated[-1])


@dataclass(frozen=True, eq=False)
class Curve:
    """A survival curve of one group: `survival` and Greenwood's `variance` of its logarithm at the right edges (m,)."""

    cells: Cellwise
    survival: Array
    variance: Array

    def at(self, time: float) -> tuple[float, float]:
        """Survival and variance of its logarithm at a time; within a cell, of an even hazard."""
        return read_off(self.cells.right, self.survival, self.variance, time, exact=self.cells.exact)

    def limits(self, kind: str) -> tuple[Array, Array]:
        """95 % limits at the right edges (m,)."""
        return limits(self.survival, self.variance, kind)

    def area(self, tau: float) -> tuple[float, float]:
        """Restricted mean survival time up to tau and its standard error (R survival's `se(rmean)`)."""
        inside = (self.cells.left if not self.cells.exact else self.cells.right) < tau
        if not inside.any():
            return tau, 0.0
        ends = [t for t in self.cells.right[inside] if t < tau]
        knots = np.array([0.0, *ends, tau])
        values = np.array([self.at(t)[0] for t in knots])
        pieces = _pieces(values, np.diff(knots), self.cells.exact)
        rest = np.concatenate([np.cumsum(pieces[::-1])[::-1], [0.0]])  # area from each knot to tau
        with np.errstate(invalid="ignore"):  # infinite on both sides once nobody is left; then no area is left either
            steps = np.diff([self.at(t)[1] for t in knots])
        after = rest[1:] if self.cells.exact else (rest[1:] + rest[:-1]) / 2
        finite = np.isfinite(steps)
        return float(pieces.sum()), float(np.sqrt((after[finite] ** 2 * steps[finite]).sum()))

    def quantile(self, p: float, kind: str) -> tuple[float | None, float | None, float | None]:
        """Time at which survival falls to 1 - p, with limits where the limits of the curve do (Brookmeyer-Crowley)."""
        low, high = self.limits(kind)
        return tuple(self._crossing(values, 1 - p) for values in (self.survival, low, high))  # type: ignore[return-value]

    def _crossing(self, values: Array, level: float) -> float | None:
        known = np.where(np.isfinite(values), values, np.inf)
        below = np.flatnonzero(known <= level + 1e-12)
        if below.size == 0:
            return None
        j, right = int(below[0]), self.cells.right
        if self.cells.exact:
            if abs(known[j] - level) < 1e-12:  # flat at the level: the middle, as survfit
                later = np.flatnonzero(known < level - 1e-12)
                return float((right[j] + right[later[0]]) / 2) if later.size else float(right[j])
            return float(right[j])
        before = 1.0 if j == 0 else float(values[j - 1])
        if not before > level or not values[j] > 0:
            return float(right[j])
        share = np.log(before / level) / np.log(before / values[j])
        return float(self.cells.left[j] + share * (right[j] - self.cells.left[j]))


def read_off(right: Array, survival: Array, variance: Array, time: float, *, exact: bool) -> tuple[float, float]:
    """Survival and variance of its logarithm at a time, from those at the right edges of cells, all (m,)."""
    if exact:
        j = int(np.searchsorted(right, time, side="right"))
        return (1.0, 0.0) if j == 0 else (float(survival[j - 1]), float(variance[j - 1]))
    at = np.append(0.0, right)
    logs = np.log(np.maximum(np.append(1.0, survival), 1e-300))
    return float(np.exp(np.interp(time, at, logs))), float(np.interp(time, at, np.append(0.0, variance)))


def knots(curves: Sequence[Curve]) -> Array:
    """What predictions read off curves: a row per right edge with the curve's number, the edge, S and var log S."""
    rows = [
        np.column_stack([np.full(c.survival.size, i), c.cells.right, c.survival, c.variance])
        for i, c in enumerate(curves)
    ]
    return np.vstack(rows) if rows else np.empty((0, 4))


def _pieces(values: Array, widths: Array, exact: bool) -> Array:
    """Area of each piece: a step, or an exponential fall from one value to the next."""
    if exact:
        return np.asarray(values[:-1] * widths)
    start, end = values[:-1], values[1:]
    fall = np.log(np.maximum(start, 1e-300) / np.maximum(end, 1e-300))
    return np.where(np.abs(fall) < 1e-12, start, (start - end) / np.where(fall == 0, 1.0, fall)) * widths


def survival(cells: Cellwise) -> Curve:
    """Kaplan-Meier with Greenwood's variance on cells."""
    d = cells.all_events
    n = np.maximum(cells.at_risk, 1e-300)
    c = np.zeros_like(d) if cells.exact else cells.censored
    out = np.minimum(d + c, n)
    share = np.divide(d, d + c, out=np.zeros_like(d), where=d > 0)
    left = np.maximum(n - out, 0.0)
    happened = d > 0
    # exits are people: before the last one leaves, one is at risk
    left = np.where(left > 1e-9 * n, left, 0.0) if cells.exact else np.maximum(left, np.minimum(n, 1.0))
    log, step = np.zeros_like(d), np.zeros_like(d)
    with np.errstate(divide="ignore"):
        log[happened] = share[happened] * np.log(left[happened] / n[happened])
        step[happened] = share[happened] * (1 / left[happened] - 1 / n[happened])
    return Curve(cells, np.exp(np.cumsum(log)), np.cumsum(step))


def spread(survival: Array | float, variance: Array | float) -> Array:
    """Standard error of S from the variance of log S; NaN where S is 0."""
    s, v = np.asarray(survival, dtype=float), np.asarray(variance, dtype=float)
    known = (s > 0) & np.isfinite(v)
    return np.where(known, s * np.sqrt(np.where(known, v, 0.0)), np.nan)


def limits(survival: Array, variance: Array, kind: str, z: float = Z) -> tuple[Array, Array]:
    """Limits from the variance of log S, of 95 % unless `z` says otherwise; NaN where S is 0.

    `kind` is `log` (R's default), `log-log` or `plain`.
    """
    s, se = np.asarray(survival, dtype=float), np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "log":
            low, high = s * np.exp(-z * se), s * np.exp(z * se)
        elif kind == "log-log":
            width = z * se / np.log(s)
            low, high = s ** np.exp(-width), s ** np.exp(width)
            low, high = np.where(s >= 1, s, low), np.where(s >= 1, s, high)
        elif kind == "plain":
            low, high = s - z * s * se, s + z * s * se
        else:
            raise StudyError(f"conf_type is {kind!r}; it must be 'log', 'log-log' or 'plain'")
    known = (s > 0) & np.isfinite(se)
    return np.where(known, np.maximum(low, 0.0), np.nan), np.where(known, np.minimum(high, 1.0), np.nan)
