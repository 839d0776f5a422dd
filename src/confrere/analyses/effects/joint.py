"""What the outcomes of four arms say of two treatments: effects of each without and with the other, and interaction.

Of outcomes r_0 (neither), r_1 (the first alone), r_2 (the second alone) and r_3 (both):

    difference of differences     r_3 - r_1 - r_2 + r_0
    RERI                          (r_3 - r_1 - r_2 + r_0)/r_0          relative excess risk due to interaction
    attributable proportion       (r_3 - r_1 - r_2 + r_0)/r_3
    synergy index                 (r_3 - r_0)/(r_1 + r_2 - 2 r_0)      by its logarithm
    ratio of ratios               r_3 r_0/(r_1 r_2)                    by its logarithm

all 0, or a ratio of 1, where there is no interaction on the scale. Limits go by the delta method, with derivatives by
complex steps, which are exact. A regression gives r over r_0 from the logarithms of its ratios.

Sources: VanderWeele & Knol, Epidemiol Methods 2014;3:33; Hosmer & Lemeshow, Epidemiology 1992;3:452; Rothman,
Epidemiology, Oxford 2002. Match R `epiR::epi.interaction(model, param = "product")`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.effects import measures
from confrere.analyses.finding import Record, coefficients
from confrere.rounds import Array

STEP = 1e-30
RATIOS = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 1]])  # contrasts, of a regression's terms
MEANS = np.array(
    [
        [[1, 0, 0, 0], [0, 1, 0, 0]], [[1, 0, 0, 0], [0, 0, 1, 0]], [[1, 0, 0, 0], [0, 0, 0, 1]],
        [[0, 0, 1, 0], [0, 0, 0, 1]], [[0, 1, 0, 0], [0, 0, 0, 1]],
        [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]], [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]],
    ]
)  # fmt: skip  # what each contrast compares: (contrasts, 2, arms)


class Outcomes(NamedTuple):
    """Estimates theta (p,) with covariance (p, p), and the function that makes outcomes r (4,) of them."""

    theta: Array
    vcov: Array
    of: Callable[[Any], Any]


def contrasts(first: str, second: str) -> tuple[str, ...]:
    """Names of what is compared: each alone, both, each in people who have the other, each at the margins of a trial.

    At the margins half of the people would have the other treatment, as in a factorial trial.
    """
    return (
        f"{first} alone", f"{second} alone", "both", f"{first} given {second}", f"{second} given {first}",
        f"{first} at the margins", f"{second} at the margins",
    )  # fmt: skip


def of_means(names: tuple[str, ...], which: Sequence[str], mean: Array, vcov: Array) -> list[Record]:
    """Effects from the means of the arms (4,) and their covariance (4, 4): a record per contrast and measure.

    Means that do not vary, as of risks before anybody has the event, are not contrasted.
    """
    return [
        {"contrast": name, **row}
        for name, t in zip(names, MEANS, strict=True)
        if (t @ vcov @ t.T).any()
        for row in measures.effects(which, t @ mean, t @ vcov @ t.T)
    ]


def of_logs(names: tuple[str, ...], measure: str, b: Array, vcov: Array) -> list[Record]:
    """Effects from the coefficients (3,) of the two treatments and their product; differences, or logs of ratios."""
    return [
        {"contrast": name, **measures.record(measure, float(t @ b), float(np.sqrt(t @ vcov @ t)))}
        for name, t in zip(names[: len(RATIOS)], RATIOS, strict=True)
    ]


def interaction(family: str, mean: Array, vcov: Array) -> list[Record]:
    """Interaction of mean outcomes (4,): additive, and where they are risks or rates on the multiplicative scale."""
    rows = [additive("difference of differences", mean, vcov)]
    if family == "gaussian" or mean.min() <= 0:
        return rows
    rows += relative(Outcomes(mean, vcov, lambda m: m), "rate ratio" if family == "poisson" else "risk ratio")
    if family == "binomial" and mean.max() < 1:
        rows.append(told("multiplicative", "ratio of odds ratios", Outcomes(mean, vcov, lambda m: m / (1 - m)), _ratio))
    return rows


def additive(measure: str, mean: Array, vcov: Array) -> Record:
    """What the four means (4,) differ by from a sum of both effects, under the name of the `measure`."""
    return told("additive", measure, Outcomes(mean, vcov, lambda m: m), _excess)


def of_regression(measure: str, b: Array, vcov: Array) -> list[Record]:
    """Interaction from the coefficients (3,) of a regression: of logarithms of ratios, or of differences."""
    if measure == "mean difference":
        value, se = np.array([b[2]]), np.array([np.sqrt(vcov[2, 2])])
        return [_named("additive", coefficients(["difference of differences"], value, se))]
    return relative(Outcomes(b, vcov, lambda t: np.exp(np.array([0 * t[0], t[0], t[1], t[0] + t[1] + t[2]]))), measure)


def relative(r: Outcomes, measure: str) -> list[Record]:
    """Interaction relative to the outcome of neither, of positive outcomes; no synergy index where it has no sign."""
    rows = [
        told("additive", "RERI", r, lambda v: _excess(v) / v[0]),
        told("additive", "attributable proportion", r, lambda v: _excess(v) / v[3]),
    ]
    v = r.of(r.theta)
    if min(v[3] - v[0], v[1] + v[2] - 2 * v[0]) > 0:
        index = told("additive", "synergy index", r, lambda v: np.log((v[3] - v[0]) / (v[1] + v[2] - 2 * v[0])))
        rows.append(index)
    return [*rows, told("multiplicative", f"ratio of {measure}s", r, _ratio)]


def told(scale: str, measure: str, r: Outcomes, of: Callable[[Any], Any]) -> Record:
    """The record of a function of the outcomes, by the delta method; of a ratio give its logarithm."""
    steps = 1j * STEP * np.eye(len(r.theta))
    slope = np.array([complex(of(r.of(r.theta + step))).imag / STEP for step in steps])
    value = np.array([float(np.real(of(r.of(r.theta + 0j))))])
    exponent = "ratio" if measure.startswith("ratio") or measure == "synergy index" else ""
    return _named(scale, coefficients([measure], value, np.array([np.sqrt(slope @ r.vcov @ slope)]), exponent=exponent))


def _named(scale: str, rows: list[Record]) -> Record:
    (row,) = rows
    return {"scale": scale, "measure": row.pop("term"), **row}


def _excess(v: Any) -> Any:
    return v[3] - v[1] - v[2] + v[0]


def _ratio(v: Any) -> Any:
    return np.log(v[3] * v[0] / (v[1] * v[2]))
