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

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # `scipy.optimize` is imported where it is first used: most runs have no use for it

from confrere.analyses.distributions import norm_cdf, norm_pdf, norm_ppf, norm_sf
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
        return float(self.mean * (1 - 2 * norm_cdf(-z)) + 2 * self.sd * norm_pdf(z))

    def p_value(self, estimate: float, std_error: float) -> float:
        """The two-sided p-value of an estimate among the errors."""
        return float(2 * norm_sf(abs(estimate - self.mean) / np.hypot(self.sd, std_error)))

    def limits(self, estimate: float, std_error: float, level: float = 0.95) -> tuple[float, float, float]:
        """The calibrated log ratio and its limits; infinite where errors grow faster than effects."""
        z = float(norm_ppf((1 + level) / 2))
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
        return float(scipy.optimize.brentq(over, -FAR, FAR, xtol=1e-12))


def null_of(estimate: Array, std_error: Array) -> Errors:
    """The errors of negative controls (n,), from their log ratios and standard errors. ModelError under 5 controls."""
    _check(estimate, std_error)

    fit = Fit(estimate, std_error, np.ones((1, len(estimate))), np.ones((len(estimate), 1)))
    ends = fit.most_likely([np.array([c * float(estimate.std()) + 1e-3]) for c in (1.0, 0.1)])
    return Errors(float(fit.line(ends)[0]), 1.0, float(ends[0]), 0.0)


def errors_of(estimate: Array, std_error: Array, truth: Array) -> Errors:
    """The errors of negative and positive controls (n,); `truth` are the true log ratios.

    ModelError under 5 controls, or where all true ratios are alike.
    """
    _check(estimate, std_error)
    if (truth == truth[0]).all():
        raise ModelError("positive controls need a true ratio other than that of the negative ones")
    size, most = np.abs(truth), float(np.abs(truth).max())
    # the SD is linear in |theta|: between what it is at 0 and what it is at the largest ratio
    fit = Fit(estimate, std_error, np.array([1 - size / most, size / most]), np.column_stack([size**0, truth]))
    spread = null_of(estimate - truth, std_error).sd
    near, far = spread + 0.01, spread + 0.3
    ends = fit.most_likely([np.array(start) for start in ((near, near), (0.01, far), (far, 0.01))])
    low, high = (float(v) for v in ends)
    mean, slope = fit.line(ends)
    return Errors(float(mean), float(slope), low, (high - low) / most)


class Fit(NamedTuple):
    """A line with normal errors whose SD is a mean of `ends` (m,) >= 0, weighed by `share` (m, n); `x` (n, q)."""

    estimate: Array
    std_error: Array
    share: Array
    x: Array

    def most_likely(self, starts: Sequence[Array]) -> Array:
        """The ends (m,) with the largest likelihood, to 1e-12: by steps from several starts, then a root."""
        found = [
            scipy.optimize.minimize(self.minus, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start),
                              options={"ftol": 1e-15, "gtol": 1e-10})
            for start in starts
        ]  # fmt: skip
        best = np.array(min(found, key=lambda f: round(float(f.fun), 8)).x)
        for i in range(len(best)):  # the likelihood is flat in an SD at 0: near 0 it is 0, unless that is less likely
            without = np.where(np.arange(len(best)) == i, 0.0, best)
            if best[i] < 1e-3 * self.std_error.min() and self.minus(without)[0] <= self.minus(best)[0] + 1e-9:
                best = without
        free = best > 0
        if not free.any():
            return best

        def slope(ends: Array) -> Array:
            whole = best.copy()
            whole[free] = ends
            return self.minus(whole)[1][free]

        polished = scipy.optimize.root(slope, best[free], tol=1e-14)
        if np.abs(polished.x - best[free]).max() < 1e-3 * self.std_error.max():
            best[free] = polished.x
        return best

    def line(self, ends: Array) -> Array:
        """The coefficients of the line (q,), weighed by the inverse variances."""
        w = 1 / self._variance(ends)
        return np.asarray(np.linalg.solve((self.x.T * w) @ self.x, (self.x.T * w) @ self.estimate))

    def minus(self, ends: Array) -> tuple[float, Array]:
        """Minus the log-likelihood with the best line, and its slope by the ends (m,)."""
        v, left = self._variance(ends), self.estimate - self.x @ self.line(ends)
        by = self.share @ ((1 / v - (left / v) ** 2) * (ends @ self.share))
        return float(0.5 * (np.log(v) + left**2 / v).sum()), by

    def _variance(self, ends: Array) -> Array:
        return np.asarray((ends @ self.share) ** 2 + self.std_error**2)


def _check(estimate: Array, std_error: Array) -> None:
    if len(estimate) < LEAST:
        raise ModelError(
            f"{len(estimate)} controls could be estimated; systematic error needs {LEAST} or more: add controls"
        )
    if not (np.isfinite(estimate).all() and np.isfinite(std_error).all() and (std_error > 0).all()):
        raise ModelError("a control has no finite estimate with a standard error above 0; leave it out")
