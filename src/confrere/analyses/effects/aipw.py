"""Augmented weighting: the outcome model's predictions, and its residuals weighted by the inverse propensity.

With prediction m_a, weight w_a of those in arm a and tilt h of the estimand's population, the mean in arm a is

    sum (h m_a + w_a (y - m_a)) / sum h

which is right if either model is (for ATO and ATM: if the propensity is). Cross-fitting predicts every person by models
of the other folds; the score is then a plain mean, whose variance needs no derivative (Neyman orthogonality). Without
folds the variance accounts for both models. Sources: Robins, Rotnitzky & Zhao, JASA 1994;89:846; Chernozhukov et al.,
Econometrics J 2018;21:C1; Mao, Li & Greene, Stat Methods Med Res 2019;28:2439 (ATO, ATM).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.gformula import Predictions
from confrere.analyses.effects.weighting import Weights
from confrere.rounds import Array, Bools


class Parts(NamedTuple):
    """The estimating functions of the means, U_a = number_a - base_a mu_a, arm by person: (2, n) each.

    `number_slope` and `base_slope` are by the propensity's linear predictor, `outcome_slope` by the outcome model's.
    """

    number: Array
    base: Array
    number_slope: Array
    base_slope: Array
    outcome_slope: Array


def weighted(y: Array, treated: Bools, weights: Weights) -> Parts:
    """Of the weighted means of the outcome (Hajek)."""
    w, slope = (np.array([np.where(treated, 0.0, v), np.where(treated, v, 0.0)]) for v in weights[:2])
    return Parts(w * y, w, slope * y, slope, np.zeros_like(w))


def standardised(p: Predictions, tilt: Array) -> Parts:
    """Of the mean predictions over a population."""
    base = np.broadcast_to(tilt, p.mean.shape)
    nothing = np.zeros_like(p.mean)
    return Parts(tilt * p.mean, base, nothing, nothing, tilt * p.slope)


def augmented(y: Array, treated: Bools, weights: Weights, p: Predictions) -> Parts:
    """Of both: mean predictions over a population, and weighted residuals."""
    residual = y - p.mean
    w, _, w_slope, _, _ = weighted(np.ones_like(y), treated, weights)
    base = np.broadcast_to(weights.tilt, p.mean.shape)
    base_slope = np.broadcast_to(weights.tilt_slope, p.mean.shape)
    return Parts(
        base * p.mean + w * residual, base, base_slope * p.mean + w_slope * residual, base_slope, (base - w) * p.slope
    )
