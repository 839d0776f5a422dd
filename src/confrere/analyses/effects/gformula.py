"""Standardising an outcome model: everybody's mean outcome under either treatment (g-formula, g-computation).

Each person is predicted twice, as treated and as not; the predictions are averaged over the population of the estimand.
The model is a generalised linear model with the canonical link of the outcome's family. Sources: Robins, Math Modelling
1986;7:1393; Snowden, Rose & Mortimer, Am J Epidemiol 2011;173:731. Matches R `marginaleffects::avg_comparisons` and
`stdReg::stdGlm`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.nuisance import Fitted, Local, derivative, means, of_folds
from confrere.rounds import Array, Bools, Ints


class Terms(NamedTuple):
    """The terms of the outcome model (n, r): with the treatment that people had, and with the other one."""

    own: Array
    other: Array


class Predictions(NamedTuple):
    """Mean outcomes under no treatment and under treatment, and their slopes by the linear predictor: (2, n) each."""

    mean: Array
    slope: Array


def predictions(terms: Terms, treated: Bools, models: tuple[Fitted, ...], fold: Ints) -> Predictions:
    """What the model of each person's fold predicts for both treatments."""
    own = [means(terms.own, model) for model in models]
    other = [means(terms.other, model) for model in models]
    pairs = [(of_folds(fold, [m.mu for m in got]), of_folds(fold, [m.slope for m in got])) for got in (own, other)]
    (mean, slope), (mean_other, slope_other) = pairs
    arms = (~treated, treated)
    return Predictions(
        np.array([np.where(mine, mean, mean_other) for mine in arms]),
        np.array([np.where(mine, slope, slope_other) for mine in arms]),
    )


def derivatives(terms: Terms, treated: Bools, model: Fitted, local: Local, du: Array) -> Array:
    """The derivative (2, r) of sums by the coefficients, from that by the predictors of either treatment du (2, n)."""
    mine = np.array([~treated, treated])
    first = derivative(terms.own, model, local, np.where(mine, du, 0.0).T)
    return first + derivative(terms.other, model, local, np.where(mine, 0.0, du).T)
