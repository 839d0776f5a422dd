"""Risks and restricted means of weighted curves on cells of time, with their derivatives by the counts.

On the cells of `curves.Cellwise`, with n at risk, d_k events of cause k, d of any and c censorings, all weighted:

    h = d/(d + c) log((n - d - c)/n),    S = exp(sum h),    F_k = sum of S (1 - e^h) d_k/d      (S before the cell)

(exact times: h = log(1 - d/n)); within a cell, of an even hazard, a part of h. These are Kaplan-Meier's and
Aalen-Johansen's estimates. Everything is a smooth function of the counts, and a person adds its weight to one of them,
so that derivatives by the counts are all that `weighted` needs for a variance.

Sources: Aalen & Johansen, Scand J Stat 1978;5:141; Xie & Liu, Stat Med 2005;24:3089 (weighted Kaplan-Meier); Conner,
Sullivan, Benjamin, et al., Stat Med 2019;38:3832 (weighted restricted mean). Estimates match R
`survfit(Surv(time, event) ~ a, weights = w)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from confrere.analyses.curves import Cellwise, own_edges, shares, survival
from confrere.analyses.follow_up import Table
from confrere.rounds import Array


class Read(NamedTuple):
    """A value, and its derivatives by the events (causes, m) and the censorings (m,) of the cells."""

    value: float
    events: Array
    censored: Array


class Hazards(NamedTuple):
    """h of each cell (m,), and its derivatives by d, by c and by n."""

    h: Array
    d: Array
    c: Array
    n: Array


@dataclass(frozen=True, eq=False)
class Risks:
    """What is read off the curve of one arm."""

    cells: Cellwise

    @cached_property
    def hazards(self) -> Hazards:
        """h and its derivatives; as in `curves.survival`, one person stays where censorings empty the last cell."""
        cells = self.cells
        d, n = cells.all_events, np.maximum(cells.at_risk, 1e-300)
        c = np.zeros_like(d) if cells.exact else cells.censored
        some = d > 0
        q = np.where(some, d + c, 1.0)
        left = np.maximum(n - np.minimum(d + c, n), 0.0)
        least = np.zeros_like(n) if cells.exact else np.minimum(n, 1.0)
        stays = (left <= least) | (left <= 1e-9 * n)
        left = np.where(stays, least, left)
        with np.errstate(divide="ignore"):
            log = np.where(some, np.log(left / n), 0.0)
        finite = some & np.isfinite(log)
        log0, r = np.where(finite, log, 0.0), np.where(some, d / q, 0.0)
        moves = np.where(finite & ~stays, r / np.where(left > 0, left, 1.0), 0.0)
        return Hazards(
            np.where(some, r * log, 0.0),
            np.where(finite, c / q**2 * log0, 0.0) - moves,
            np.zeros_like(d) if cells.exact else np.where(finite, -d / q**2 * log0, 0.0) - moves,
            moves - np.where(finite, r / n, 0.0) + np.where(finite & stays & (least == n), r / n, 0.0),
        )

    @property
    def survival(self) -> Array:
        """Survival at the right edges (m,)."""
        return survival(self.cells).survival

    def risk(self, time: float, cause: int = -1) -> Read:
        """The risk at a time: of a cause (0, 1, ...), or of any."""
        part = self._before(time)
        steps = self._times(part)
        stay, before = np.exp(steps), np.exp(np.append(0.0, np.cumsum(steps)[:-1]))
        share = self._share(cause)
        fall = before * (1 - stay)
        added = fall * share
        later = np.cumsum(added[::-1])[::-1] - added
        return self._read(float(added.sum()), part * (later - before * stay * share), fall, cause)

    def mean(self, tau: float) -> Read:
        """The restricted mean of the time free of every event, until tau."""
        cells, h = self.cells, self.hazards.h
        edge = cells.right if cells.exact else cells.left
        inside = edge < tau
        ends = cells.right[inside]
        some = ends < tau
        knots = np.array([0.0, *ends[some], tau])
        whole, at_tau = np.cumsum(h[inside])[some], self._before(tau)
        logs = np.array([0.0, *whole, float(self._times(at_tau).sum())])
        value, by_log = _area(logs, np.diff(knots), cells.exact)
        by_h = at_tau * by_log[-1]
        inner = np.zeros_like(h)
        inner[np.flatnonzero(inside)[some]] = by_log[1:-1]
        by_h += np.cumsum(inner[::-1])[::-1]
        return self._read(value, by_h, np.zeros_like(h), -1)

    def _before(self, time: float) -> Array:
        """Which part of each cell's h lies before a time (m,)."""
        cells = self.cells
        if cells.exact:
            return (cells.right <= time + 1e-9).astype(float)
        return np.clip((time - cells.left) / (cells.right - cells.left), 0.0, 1.0)

    def _times(self, part: Array) -> Array:
        """Parts of h (m,); none of an infinite one."""
        return np.multiply(part, self.hazards.h, out=np.zeros_like(part), where=part > 0)

    def _share(self, cause: int) -> Array:
        """The share of a cause in each cell's events."""
        d = self.cells.all_events
        own = d if cause < 0 else self.cells.events[cause]
        return np.divide(own, d, out=np.zeros_like(d), where=d > 0)

    def _read(self, value: float, by_h: Array, by_share: Array, cause: int) -> Read:
        """Derivatives by the counts, from those by h and by the cause's share of the events."""
        cells, hazards = self.cells, self.hazards
        earlier = np.cumsum(by_h * hazards.n)  # whoever leaves in a cell is at risk in all before
        events = np.tile(by_h * hazards.d + earlier, (len(cells.events), 1)) + self._shared(by_share, cause)
        return Read(value, events, by_h * hazards.c + earlier)

    def _shared(self, by_share: Array, cause: int) -> Array:
        """Derivatives by the events (causes, m) through a cause's share of them."""
        out = np.zeros_like(self.cells.events)
        if cause >= 0:
            d = self.cells.all_events
            each = np.divide(by_share, d, out=np.zeros_like(d), where=d > 0)
            out -= each * self._share(cause)
            out[cause] += each
        return out


def _area(logs: Array, widths: Array, exact: bool) -> tuple[float, Array]:
    """The area under exp(logs) at knots, which falls exponentially between them or in steps; derivatives by logs."""
    values = np.exp(logs)
    by = np.zeros_like(logs)
    start, end = values[:-1], values[1:]
    if exact:
        by[:-1] = start * widths
        return float(by.sum()), by
    fall = logs[:-1] - logs[1:]
    flat = fall < 1e-6
    safe = np.where(flat, 1.0, fall)
    piece = np.where(flat, (start + end) / 2, (start - end) / safe)
    by[:-1] += np.where(flat, start / 2, (start - piece) / safe) * widths
    by[1:] += np.where(flat, end / 2, (piece - end) / safe) * widths
    return float((piece * widths).sum()), by


def by_counts(table: Table, g: int, read: Read) -> Array:
    """The derivatives of a value by the counts of an arm's merged cells: (kinds, cells), as wide as the widest kind."""
    starts = own_edges(table, g)
    out = np.zeros((len(table.kinds), next(iter(table.counts.values())).shape[1]))
    for i, kind in enumerate(table.kinds):
        cell, share = shares(table, g, kind, starts)
        by = read.censored if kind == "censored" else read.events[i]
        out[i] = np.bincount(cell, by * share, minlength=out.shape[1])
    return out
