"""Systematic error, learned from controls: effects that are known, estimated as the one in question was.

Of a negative control the treatment has no effect: what its estimate y_i (a log ratio with standard error s_i) shows is
chance and error of the design. Over the controls the errors are taken to be normal,

    y_i ~ N(mean + slope theta_i, (sd + sd_slope |theta_i|)^2 + s_i^2),

with theta_i the log of the true ratio (0 of negative controls; mean and sd alone, slope 1, where there are no positive
ones). They are fitted by maximum likelihood. A p-value then asks whether an estimate stands out among the errors too:
p = 2 Phi(-|y - mean| / sqrt(sd^2 + s^2)); limits are the theta at which it would just do so, and the estimate is the
theta at which it is in the middle. The expected absolute systematic error (EASE) is E|N(mean, sd^2)|.

Sources: Schuemie, Ryan, DuMouchel, Suchard & Madigan, Stat Med 2014;33:209; Schuemie, Hripcsak, Ryan, Madigan &
Suchard, PNAS 2018;115:2571; Schuemie et al., J Am Med Inform Assoc 2020;27:1331 (EASE). As R `EmpiricalCalibration`
(`fitNull`, `fitSystematicErrorModel`, `convertNullToErrorModel`, `calibrateP`, `calibrateConfidenceInterval`), whose
optimiser stops at 1e-4; the maximum here is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from confrere.analyses.finding import Citation
from confrere.errors import ModelError
from confrere.rounds import Array

LEAST = 5  # estimated negative controls without which there is no telling of errors
FAR = 100.0  # log ratios beyond which no limit is looked for
SCHUEMIE = Citation(
    "Schuemie MJ, Hripcsak G, Ryan PB, Madigan D, Suchard MA. Empirical confidence interval calibration for "
    "population-level effect estimation studies in observational healthcare data. Proc Natl Acad Sci USA "
    "2018;115:2571-2577",
    "10.1073/pnas.1708282114",
)


class Errors(NamedTuple):
    """The distribution of systematic errors of log ratios, at a true log ratio theta."""

    mean: float
    slope: float
    sd: float
    sd_slope: float

    def at(self, theta: float) -> tuple[float, float]:
        """Mean of the estimates and SD of their errors."""
        return self.mean + self.slope * theta, self.sd + self.sd_slope * abs(theta)

    @property
    def ease(self) -> float:
        """The expected absolute systematic error where there is no effect."""
        if self.sd == 0:
            return abs(self.mean)
        z = self.mean / self.sd
        return float(self.mean * (1 - 2 * stats.norm.cdf(-z)) + 2 * self.sd * stats.norm.pdf(z))

    def p_value(self, estimate: float, std_error: float) -> float:
        """The two-sided p-value of an estimate among the errors."""
        return float(2 * stats.norm.sf(abs(estimate - self.mean) / np.hypot(self.sd, std_error)))

    def limits(self, estimate: float, std_error: float, level: float = 0.95) -> tuple[float, float, float]:
        """The calibrated log ratio and its limits; infinite where errors grow faster than effects."""
        z = float(stats.norm.ppf((1 + level) / 2))
        return (
            self._at(estimate, std_error, 0.0, np.nan), self._at(estimate, std_error, z, -np.inf),
            self._at(estimate, std_error, -z, np.inf),
        )  # fmt: skip

    def _at(self, estimate: float, std_error: float, z: float, none: float) -> float:
        """The theta at which an estimate lies z standard deviations over its mean."""

        def over(theta: float) -> float:
            mean, sd = self.at(theta)
            return mean + z * float(np.hypot(sd, std_error)) - estimate

        if over(-FAR) * over(FAR) > 0:
            return none
        return float(optimize.brentq(over, -FAR, FAR, xtol=1e-12))


def null_of(estimate: Array, std_error: Array) -> Errors:
    """The errors of negative controls (n,), from their log ratios and standard errors. ModelError under 5 controls."""
    _check(estimate, std_error)

    def mean(sd: float) -> float:
        w = 1 / (sd**2 + std_error**2)
        return float(w @ estimate / w.sum())

    def minus(sd: float) -> float:
        v = sd**2 + std_error**2
        return float(0.5 * (np.log(v) + (estimate - mean(sd)) ** 2 / v).sum())

    sd = _least(minus, float(np.ptp(estimate)))
    return Errors(mean(sd), 1.0, sd, 0.0)


def errors_of(estimate: Array, std_error: Array, truth: Array) -> Errors:
    """The errors of negative and positive controls (n,); `truth` are the true log ratios.

    ModelError under 5 controls, or unless three true ratios and more are among them or errors do not grow.
    """
    _check(estimate, std_error)
    if (truth == truth[0]).all():
        raise ModelError("positive controls need a true ratio other than that of the negative ones")
    size, most = np.abs(truth), float(np.abs(truth).max())

    def fitted(ends: Array) -> tuple[float, float, float]:
        sd = ends[0] + (ends[1] - ends[0]) * size / most
        v = sd**2 + std_error**2
        x = np.column_stack([np.ones_like(truth), truth])
        mean, slope = np.linalg.solve((x.T / v) @ x, (x.T / v) @ estimate)
        return mean, slope, float(0.5 * (np.log(v) + (estimate - mean - slope * truth) ** 2 / v).sum())

    spread = null_of(estimate - truth, std_error).sd
    found = [
        optimize.minimize(
            lambda ends: fitted(ends)[2], start, method="L-BFGS-B", bounds=[(0, None)] * 2,
            options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
        )
        for start in ([spread + 0.05, spread + 0.05], [0.01, spread + 0.3], [spread + 0.3, 0.01])
    ]  # fmt: skip
    best = min(found, key=lambda f: (round(f.fun, 10), tuple(f.x)))
    low, high = best.x
    mean, slope, _ = fitted(best.x)
    return Errors(float(mean), float(slope), float(low), float((high - low) / most))


def _check(estimate: Array, std_error: Array) -> None:
    if len(estimate) < LEAST:
        raise ModelError(
            f"{len(estimate)} controls could be estimated; systematic error needs {LEAST} or more: add controls"
        )
    if not (np.isfinite(estimate).all() and np.isfinite(std_error).all() and (std_error > 0).all()):
        raise ModelError("a control has no finite estimate with a standard error above 0; leave it out")


def _least(minus: Callable[[float], float], most: float) -> float:
    """Where a smooth function of an SD in [0, most] is least: a grid, then a bracket of it."""
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 60) * max(most, 1e-3)])
    at = int(np.argmin([minus(sd) for sd in grid]))
    low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(minus, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    return 0.0 if minus(0.0) <= found.fun else float(found.x)
