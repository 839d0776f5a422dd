"""The likelihood of people under a generalised linear model at coefficients of a frame, person by person.

With mean mu, slope mu' and variance V at the linear predictor, weight w: the score is w (y - mu) mu' / V, the expected
information w mu'^2 / V, the observed one that less w (y - mu) (mu'' / V - mu'^2 V' / V^2); see `families`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.families import Family, Link
from confrere.analyses.outcomes import Cases, Frame
from confrere.rounds import Array


class At(NamedTuple):
    """The likelihood of people at coefficients: its value, and derivatives by eta per person (n,)."""

    loglik: float
    score: Array
    expected: Array  # information
    information: Array  # the observed one, or the expected
    weight: Array  # over the unit of the frame
    pearson: float  # Pearson's chi-squared over the unit; 0 unless an information is wanted


def predictor(cases: Cases, z: Array, beta: tuple[float, ...], frame: Frame) -> Array:
    """The linear predictor (n,) of standardised terms z (n, q)."""
    eta: Array = z @ (frame.reach * np.array(beta))
    eta += frame.base
    eta += cases.offset
    return eta


def likelihood(cases: Cases, eta: Array, frame: Frame, model: tuple[Family, Link], wanted: str) -> At | None:
    """The likelihood at linear predictors (n,) over the unit of the frame, None where the family has no such mean.

    `wanted` names an information, "expected" or "observed", or none.
    """
    family, link = model
    m = link.mean(eta)
    if not family.inside(m):
        return None
    w, variance, residual = cases.w / frame.unit, family.variance(m), cases.y - m.mu
    ratio = m.slope / variance
    pull = frame.reach * w * ratio
    expected = information = frame.reach * pull * m.slope
    if wanted == "observed":
        turn = link.bend(eta, m) / variance - ratio**2 * family.variance_slope(m)
        information = expected - w * frame.reach**2 * residual * turn
    loglik = -float(w @ family.half_deviance(cases.y, m))
    pearson = float((w / variance) @ residual**2) if wanted else 0.0
    return At(loglik, pull * residual, expected, information, w, pearson)


def least_weight(frame: Frame, model: tuple[Family, Link]) -> float | None:
    """The information at the mean outcome: how much anybody can move a slope, at least. None without an intercept."""
    family, link = model
    if not frame.intercept:
        return None
    with np.errstate(all="ignore"):
        middle = link.mean(np.array([frame.base]))
        return float(((frame.reach * middle.slope) ** 2 / family.variance(middle))[0])
