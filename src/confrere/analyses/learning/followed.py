"""Boosted trees of times to events: risk sets on the agreed grid of times, and what they make of gradients.

Cox's partial likelihood: with r = exp(score), d events in a cell of times, S the sum of r over who leaves in it or
later and L over who leaves in it, those at risk are W = S - L/2, since who leaves in a cell is at risk in half of it
(the actuarial convention, as of curves on a grid). Somebody who leaves in cell m has A = sum d/W over the cells before
m and half of that of m, B = sum d/W^2 and a quarter of that of m, the gradient r A - event and the Hessian r A - r^2 B.
Before each tree the hospitals send the sums of r by cell; A and B are public then. With exact times (`fine_times`)
W = S, and whoever leaves has all of their own time: Breslow's ties. XGBoost's `survival:cox` adds the terms of a tied
time one by one in the order of rows.

r is cut off at 2^-20 and 2^20, and is a whole number of 2^-32, in two parts of 26 bits, so that sums are exact
and no tree depends on the hospital in which somebody is. A cell of times holds nobody or at least k people who leave
with the event, and without it, among who trains and (on a grid of their own) among who is held out.

The deviance of a person with expected events m = r A and events e is 2 (m - e - e log m) (Therneau, Grambsch & Fleming,
Biometrika 1990;77:147, the square of the deviance residual); the loss that stops training is the partial likelihood of
who is held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from confrere.analyses.ladder import cell_of, check_on_grid, ladder
from confrere.analyses.learning.kernels import exponential
from confrere.analyses.learning.state import State
from confrere.errors import FormulaError, ModelError
from confrere.rounds import Array, Bools, Cells, Ints, Verdict
from confrere.study.ground import Ground, Rows, check_times, model_of

if TYPE_CHECKING:
    from confrere.study.formulas import Model

NAMES = ("times", "times held out")  # cells of who trains, and of who is held out
MOST = 240  # cells of the ladder of times
FAR = 20 * float(np.log(2))  # where scores are cut off in risk sets
FINE, HALF = 2.0**32, 2.0**26  # the resolution of r; what its lower part holds


class Hazards(NamedTuple):
    """After so many trees: A and B (2, cells) on the grid of who trains; the loss of who is held out."""

    sums: Array
    loss: float


def read(outcome: str, ground: Ground) -> Model:
    """The outcome `Surv(time, event)` as a formula. FormulaError where it is something else."""
    model = model_of(f"{outcome} ~ 1", ground)
    found = model.outcome
    if found is None or found.kind != "surv" or found.entry is not None or found.causes:
        raise FormulaError(
            f"{outcome}: objective 'cox' needs Surv(time, event) with an event of 0 and 1, and no late entry"
        )
    return model


def exits(outcome: str, ground: Ground, frame: Any) -> tuple[Array, Array]:
    """Times and events (N,) of a table, NaN where missing. DataError for negative times."""
    got = read(outcome, ground).evaluate(frame)
    time, event = (np.asarray(v, dtype=float) for v in (got.time, got.event))
    check_times(Rows(got.x, time, event, None, None, None, None, None), outcome)
    return time, event


def edges_of(ground: Ground, horizon: float) -> tuple[float, ...]:
    """Right edges of the ladder of times."""
    return ladder(ground, horizon, MOST)


def cells_of(time: Array, event: Bools, train: Bools, edges: Sequence[float], ground: Ground) -> dict[str, Cells]:
    """Everybody's exit on the ladder: without and with the event, who trains and who is held out."""
    if ground.fine:
        check_on_grid(time, ground)
    size = (2, len(edges) + 1)
    kind: dict[str, Any] = {"rule": "fine", "needs": "fine_times"} if ground.fine else {"rule": "align"}
    at = event * size[1] + cell_of(time, edges)
    return {
        name: Cells(np.where(who, at, -1), size, family=name, days=ground.days, **kind)
        for name, who in zip(NAMES, (train, ~train), strict=True)
    }


def usable(verdict: Verdict) -> None:
    """ModelError where so few people have the event, or have it not, that there are no risk sets."""
    if any((verdict.grids[name] < 0).any() for name in NAMES):
        raise ModelError("too few people leave with the event, or without it, for risk sets: ask more hospitals")


def counted(cells: Ints, event: Array, width: int) -> Array:
    """Events (width,) by cell; -1 is in none."""
    some = (cells >= 0) & (event > 0)
    return np.bincount(cells[some], minlength=width).astype(float)


def whole(risk: Array) -> tuple[Array, Array]:
    """r (n,) as whole numbers of 2^-32: the upper part, and the lower of 26 bits."""
    fine = np.floor(risk * FINE)
    high = np.floor(fine / HALF)
    return high, fine - high * HALF


def _at_risk(sums: Array, exact: bool) -> Array:
    """W (cells,) from the parts (2, cells) of the sums of r."""
    risk = (sums[0] * HALF + sums[1]) / FINE
    at_risk = np.cumsum(risk[::-1])[::-1]
    return np.asarray(at_risk if exact else at_risk - risk / 2)


def hazards(sums: Array, events: Array, exact: bool) -> Array:
    """A and B (2, cells) of who leaves there, from the parts (2, cells) of the sums of r and the events (cells,)."""
    at_risk = _at_risk(sums, exact)
    once = np.divide(events, at_risk, out=np.zeros_like(events), where=events > 0)
    twice = np.divide(once, at_risk, out=np.zeros_like(events), where=events > 0)
    own = (0.0, 0.0) if exact else (0.5, 0.75)
    return np.stack([np.cumsum(h) - part * h for h, part in zip((once, twice), own, strict=True)])


def lost(sums: Array, events: Array, linear: float, exact: bool) -> float:
    """Minus the log partial likelihood, in units of 2^-20; `linear` is the sum of the scores of who had the event."""
    at_risk = _at_risk(sums, exact)
    some = events > 0
    return float(np.rint(np.ldexp((events[some] * np.log(at_risk[some])).sum(), 20)) - linear)


def deviance(score: Array, event: Array, hazard: Array) -> Array:
    """Of each person (n,), from A (n,) at their exit: 0 or more."""
    mean = np.maximum(relative(score) * hazard, 1e-12)
    return np.asarray(2 * np.maximum(mean - event - event * np.log(mean), 0.0))


def relative(score: Array) -> Array:
    """r of scores (n,), cut off."""
    return exponential(np.clip(score, -FAR, FAR))


@dataclass(eq=False)
class Followed(State):
    """The people of one hospital who are followed: cell of exit (n,) on the grid of who trains, and of who does not
    (-1 of everybody else); y (n,) says who had the event."""

    cell: Ints = field(kw_only=True)
    late: Ints = field(kw_only=True)
    taken: int = -1  # the tree whose slopes are taken

    def _take(self, k: int) -> None:
        """Slopes wait for the hazards."""

    def take(self, given: Array) -> None:
        """The slopes of the tree that begins, from A and B (2, cells)."""
        if self.taken == self.tree:
            return
        self.taken = self.tree
        risk, (once, twice) = relative(self.shown), given[:, self.cell]
        mean = risk * once
        g = np.clip(mean - self.y, -self.objective.g, self.objective.g)
        self.pack(g, np.clip(mean - risk * risk * twice, 0.0, self.objective.h))

    def risks(self, width: int) -> Array:
        """(2, 2, width): sums of the parts of r by cell, of who trains and who is held out."""
        parts = whole(relative(self.shown))
        return np.array([
            [np.bincount(cell[who], part[who], width) for part in parts]
            for who, cell in ((self.train, self.cell), (~self.train, self.late))
        ])  # fmt: skip

    @property
    def linear(self) -> float:
        """The sum of the scores of who is held out and had the event, of each a whole number of 2^-20."""
        out = ~self.train & (self.y > 0)
        score = np.clip(self.shown[out], -FAR, FAR)
        return float(np.rint(np.ldexp(score, 20)).sum())
