"""Weights from propensities, and how they change with the propensity model's linear predictor.

With propensity e, everybody stands for a population with density h(e): 1 for the average effect (ATE), e for that in
the treated (ATT), e (1 - e) for the overlap population (ATO), min(e, 1 - e) for the one that matching aims at (ATM).
The weights are h / e of the treated and h / (1 - e) of the others. Their slopes follow from de/deta = e (1 - e).

Sources: Hirano, Imbens & Ridder, Econometrica 2003;71:1161; Li, Morgan & Zaslavsky, JASA 2018;113:390 (overlap); Li &
Greene, Int J Biostat 2013;9:215 (matching); Robins, Hernan & Brumback, Epidemiology 2000;11:550 (stabilised); Cole &
Hernan, Am J Epidemiol 2008;168:656 (truncated). Matches the weights of R `WeightIt::weightit` and `PSweight::SumStat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from confrere.analyses.families import Mean
from confrere.errors import StudyError
from confrere.rounds import Array, Bools, Design, Ints

Estimand = Literal["ATE", "ATT", "ATO", "ATM"]


class Weights(NamedTuple):
    """Weights of people, and the population they stand for, each (n,) with its slope by the linear predictor.

    `tilt` is how much a person counts in the population of the estimand, whichever treatment it has.
    """

    w: Array
    slope: Array
    tilt: Array
    tilt_slope: Array


@dataclass(frozen=True)
class Weighting:
    """How propensities become weights.

    `truncate`: two numbers between 0 and 1 bound the propensity of the weights, one above 1 bounds the weight (after
    stabilising). Public bounds, not quantiles: a quantile is one person's weight. `stabilised` multiplies by the share
    of people who have the person's treatment, which is taken as known. Raises StudyError.
    """

    estimand: Estimand = "ATE"
    truncate: tuple[float, ...] = ()
    stabilised: bool = False

    def __post_init__(self) -> None:
        t = self.truncate
        if t and not (len(t) == 1 and t[0] > 1) and not (len(t) == 2 and 0 < t[0] < t[1] < 1):
            raise StudyError(
                f"truncate is {list(t)}; it is two bounds of the propensity, such as [0.05, 0.95], or one bound of the "
                f"weight above 1, such as [10]"
            )
        if self.stabilised and self.estimand != "ATE":
            raise StudyError(f"stabilised weights belong to the estimand ATE, not to {self.estimand}: leave it out")

    def of(self, m: Mean, treated: Bools, share: float) -> Weights:
        """Weights of people with propensities `m`, of whom a `share` of the study is treated."""
        moves = np.ones(len(treated))
        if len(self.truncate) == 2:
            low, high = self.truncate
            moves = ((m.mu > low) & (m.mu < high)).astype(float)
            e = np.clip(m.mu, low, high)
            m = Mean(e, np.clip(m.other, 1 - high, 1 - low), e * (1 - e))
        w, slope = _weights(self.estimand, m, treated)
        tilt, tilt_slope = _tilt(self.estimand, m, treated)
        if self.stabilised:
            own = np.where(treated, share, 1 - share)
            w, slope = w * own, slope * own
        if len(self.truncate) == 1:
            slope = np.where(w < self.truncate[0], slope, 0.0)
            w = np.minimum(w, self.truncate[0])
        return Weights(w, slope * moves, tilt, tilt_slope * moves)


def carried(made: Design, arm: Ints, names: Sequence[str], w: Array, advice: str = "set truncate") -> Design:
    """A design of arms (n,), of these `names`, as people weigh in them (n,): the gate refuses one that a few carry."""
    marks = {f"the weights of {name} ({advice})": arm == j for j, name in enumerate(names)}
    return replace(made, x=np.empty((made.n, 0)), names=(), weights=w, flags=marks)


def _weights(estimand: Estimand, m: Mean, treated: Bools) -> tuple[Array, Array]:
    """Weights (n,) and their slopes by the linear predictor."""
    e, other, zero = m.mu, m.other, np.zeros_like(m.mu)
    if estimand == "ATO":
        return np.where(treated, other, e), np.where(treated, -m.slope, m.slope)
    odds, inverse = e / other, other / e
    if estimand == "ATE":
        return np.where(treated, 1 / e, 1 / other), np.where(treated, -inverse, odds)
    if estimand == "ATT":
        return np.where(treated, 1.0, odds), np.where(treated, zero, odds)
    rare = e < other  # matching weights: the rarer treatment of people like these has weight 1
    return (
        np.where(treated, np.minimum(1.0, inverse), np.minimum(1.0, odds)),
        np.where(treated, np.where(rare, 0.0, -inverse), np.where(rare, odds, 0.0)),
    )


def _tilt(estimand: Estimand, m: Mean, treated: Bools) -> tuple[Array, Array]:
    """How much people count in the population of the estimand (n,), and its slope.

    The treated stand for themselves: as they are, and not as the propensity says.
    """
    one, zero = np.ones_like(m.mu), np.zeros_like(m.mu)
    if estimand == "ATE":
        return one, zero
    if estimand == "ATT":
        return treated.astype(float), zero
    if estimand == "ATO":
        return m.slope, m.slope * (m.other - m.mu)
    return np.minimum(m.mu, m.other), np.where(m.mu < m.other, m.slope, -m.slope)
