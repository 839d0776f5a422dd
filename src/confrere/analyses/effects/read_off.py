"""What is read off curves whose hazards are constant within cells: of weighted rates, and of standardised survival.

The reading is that of `risks`; here are the hazards, and what they depend on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from confrere.analyses.curves import Cellwise
from confrere.analyses.effects.arms import ARMS
from confrere.analyses.effects.risks import Hazards, Read, Risks
from confrere.analyses.follow_up import Table
from confrere.errors import ModelError
from confrere.rounds import Array


@dataclass(frozen=True, eq=False)
class RateRisks(Risks):
    """Of weighted events per weighted time at risk, which `cells` has as `at_risk`; `Read.censored` is by that time."""

    @property
    def survival(self) -> Array:
        """Survival at the right edges (m,)."""
        return np.exp(np.cumsum(self.hazards.h))

    @cached_property
    def hazards(self) -> Hazards:
        """The logarithm of survival over each cell (m,), by events and (as `n`) by time at risk."""
        cells = self.cells
        some = cells.at_risk > 0
        each = np.divide(cells.right - cells.left, cells.at_risk, out=np.zeros_like(cells.left), where=some)
        rate = np.divide(cells.all_events, cells.at_risk, out=np.zeros_like(each), where=some)
        return Hazards(-each * cells.all_events, -each, np.zeros_like(each), each * rate)

    def _read(self, value: float, by_h: Array, by_share: Array, cause: int) -> Read:
        hazards = self.hazards
        events = np.tile(by_h * hazards.d, (len(self.cells.events), 1)) + self._shared(by_share, cause)
        return Read(value, events, by_h * hazards.n)


@dataclass(frozen=True, eq=False)
class CurveRisks(Risks):
    """Of incidences that are known at the right edges of the cells (causes, m), by which `Read.events` is."""

    curve: Array

    @property
    def survival(self) -> Array:
        """Survival at the right edges (m,)."""
        return np.asarray(1 - self.curve.sum(axis=0))

    @cached_property
    def hazards(self) -> Hazards:
        """The logarithm of survival over each cell (m,)."""
        none = np.zeros(self.curve.shape[1])
        return Hazards(np.diff(np.log(self.survival), prepend=0.0), none, none, none)

    def risk(self, time: float, cause: int = -1) -> Read:
        """The risk at a time: of a cause (0, 1, ...), or of any. It may fall over a cell, of augmented curves."""
        rows = np.ones(len(self.curve)) if cause < 0 else np.arange(len(self.curve)) == cause
        rise = np.diff(rows @ self.curve, prepend=0.0)
        share, by_h = _even(self._before(time), self.hazards.h)
        read = self._read(float(share @ rise), by_h * rise, np.zeros_like(rise), cause)
        return read._replace(events=read.events + np.outer(rows, share - np.append(share[1:], 0.0)))

    def _read(self, value: float, by_h: Array, by_share: Array, cause: int) -> Read:
        by_survival = (by_h - np.append(by_h[1:], 0.0)) / self.survival
        return Read(value, np.tile(-by_survival, (len(self.curve), 1)), np.zeros_like(by_survival))


def _even(part: Array, h: Array) -> tuple[Array, Array]:
    """What share of a cell's events comes before a part of it (m,), of an even hazard -h; derivatives by h."""
    flat = np.abs(h) < 1e-6
    safe = np.where(flat, 1.0, h)
    top, whole = np.expm1(part * safe), np.expm1(safe)
    slope = (part * (top + 1) - (whole + 1) * top / whole) / whole
    return (
        np.where(flat, part + part * (part - 1) * h / 2, top / whole),
        np.where(flat, part * (part - 1) / 2, slope),
    )


def people_of(table: Table, edges: tuple[float, ...]) -> tuple[Cellwise, ...]:
    """People at risk, with events and censored, by arm on cells that end at `edges`, the first of a grid."""
    made = []
    right = np.array(edges)
    for arm in range(len(ARMS)):
        leave = np.array([table.counts[kind][arm] for kind in table.kinds])
        at_risk = np.cumsum(leave.sum(axis=0)[::-1])[::-1]
        ends = np.arange(right.size)
        inside = leave[:, : right.size]
        made.append(
            Cellwise(
                np.append(0.0, right[:-1]), right, at_risk[: right.size], inside[:-1], inside[-1], False, ends, ends
            )
        )
    return tuple(made)


def rated(people: tuple[Cellwise, ...], events: Array, time: Array) -> tuple[RateRisks, ...]:
    """Curves of weighted events (causes, arms, cells) per weighted time (arms, cells); the open cell is left out."""
    m = people[0].right.size
    return tuple(
        RateRisks(Cellwise(c.left, c.right, time[g, :m], events[:, g, :m], np.zeros(m), False, c.ends, c.lost))
        for g, c in enumerate(people)
    )


def curved(people: tuple[Cellwise, ...], curve: Array) -> tuple[CurveRisks, ...]:
    """Incidences at the right edges of cells (arms, causes, cells). ModelError where survival is not positive."""
    if not (curve.sum(axis=1) < 1).all():
        raise ModelError(
            "augmented survival is not positive at the end of follow-up: a few weights carry it. Ask for earlier "
            "times, or set trim or truncate"
        )
    return tuple(CurveRisks(c, values) for c, values in zip(people, curve, strict=True))
