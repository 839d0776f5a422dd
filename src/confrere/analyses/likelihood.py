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

FAR = 600.0  # of a linear predictor: e to its power is far from the largest float


class At(NamedTuple):
    """The likelihood of people at coefficients: its value, and derivatives by eta per person (n,)."""

    loglik: float
    score: Array
    expected: Array  # information
    information: Array  # the observed one, or the expected
    weight: Array  # over the unit of the frame
    pearson: float  # Pearson's chi-squared over the unit; 0 unless an information is wanted


def likelihood(cases: Cases, eta: Array, frame: Frame, model: tuple[Family, Link], wanted: str) -> At | None:
    """The likelihood at linear predictors (n,) over the unit of the frame, None where the family has no such mean.

    `wanted` names an information, "expected" or "observed", or none.
    """
    family, link = model
    if (family.name, link.name) == ("binomial", "logit") and answerable(cases.y, eta):
        return yes_or_no(cases, eta, frame, wanted)
    return by_family(cases, eta, frame, model, wanted)


def answerable(y: Array, eta: Array) -> bool:
    """Whether outcomes (n,) are all 0 or 1, and no odds at linear predictors (n,) are beyond a float."""
    return bool(((y == 0) | (y == 1)).all()) and bool(np.abs(eta).max(initial=0.0) <= FAR)


def yes_or_no(cases: Cases, eta: Array, frame: Frame, wanted: str) -> At:
    """Logistic regression in a third of the passes: log mu = -log(1 + e^-eta), log(1 - mu) = log mu - eta."""
    odds = np.exp(-eta)  # against
    one = odds + 1
    mu = 1 / one
    w = cases.w / frame.unit
    yes = w * cases.y
    odds *= mu  # 1 - mu, where it is small too
    slope = odds * mu
    score = yes - w * mu
    loglik = float(yes @ eta - w @ eta - w @ np.log(one, out=one))
    pearson = float((score / slope) @ (cases.y - mu)) if wanted else 0.0
    slope *= w
    slope *= frame.reach**2
    score *= frame.reach
    return At(loglik, score, slope, slope, w, pearson)


def by_family(cases: Cases, eta: Array, frame: Frame, model: tuple[Family, Link], wanted: str) -> At | None:
    """The likelihood of any family and link, as the head of this file has it."""
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
