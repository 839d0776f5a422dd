"""Measures of effect from the means of two arms: differences, and ratios by their logarithm (delta method)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from confrere.analyses.finding import Record, coefficients
from confrere.errors import ModelError
from confrere.rounds import Array

Z = float(special.ndtri(0.975))
BY_FAMILY = {
    "gaussian": ("mean difference",),
    "binomial": ("risk difference", "risk ratio", "odds ratio"),
    "poisson": ("mean difference", "rate ratio"),
}


def record(measure: str, estimate: float, std_error: float) -> Record:
    """A record of the table `effects`: the columns of `coefficients`, under `measure`.

    For a ratio give the estimate and the standard error of its logarithm; `ratio`, `ratio_low`, `ratio_high` are added.
    """
    kind = "ratio" if measure.endswith("ratio") else ""
    (made,) = coefficients([measure], np.array([estimate]), np.array([std_error]), exponent=kind)
    made.pop("term")
    return {"measure": measure, **made}


def effects(measures: Sequence[str], mean: Array, vcov: Array) -> list[Record]:
    """A record per measure from the means (2,) of the others and of the treated, and their covariance (2, 2)."""
    return [_effect(measure, mean, vcov) for measure in measures]


def _effect(measure: str, mean: Array, vcov: Array) -> Record:
    least, most = float(mean.min()), float(mean.max())
    if measure.endswith("difference"):
        scaled, slope = mean, np.ones(2)
    elif least <= 0 or (measure == "odds ratio" and most >= 1):
        raise ModelError(
            f"there is no {measure}: the mean outcome of an arm is {least:.3g} or {most:.3g}. In an arm nobody, or "
            f"everybody, has the outcome; ask about more people"
        )
    elif measure == "odds ratio":
        scaled, slope = np.log(mean / (1 - mean)), 1 / (mean * (1 - mean))
    else:
        scaled, slope = np.log(mean), 1 / mean
    along = slope * np.array([-1.0, 1.0])
    if not vcov.any():
        raise ModelError(
            f"the {measure} has no standard error: the mean outcome is {least:.3g} in one arm and {most:.3g} in the "
            f"other, the same for everybody in it. Ask about more people, or a later time"
        )
    return record(measure, float(scaled[1] - scaled[0]), float(np.sqrt(along @ vcov @ along)))


def fieller(mean: Array, vcov: Array) -> tuple[float, float] | None:
    """Fieller's 95 % limits of the ratio mean[1] / mean[0]; None where mean[0] may be 0, and there are none.

    They are the B at which mean[1] - B mean[0] is no longer told from 0. Source: Fieller, JRSS B 1954;16:175.
    """
    a = mean[0] ** 2 - Z**2 * vcov[0, 0]
    b = mean[0] * mean[1] - Z**2 * vcov[0, 1]
    c = mean[1] ** 2 - Z**2 * vcov[1, 1]
    root = b**2 - a * c
    if a <= 0 or root < 0:
        return None
    return float((b - np.sqrt(root)) / a), float((b + np.sqrt(root)) / a)
