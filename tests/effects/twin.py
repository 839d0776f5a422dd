"""The pooled, slow and obvious twin of an effect on a mean: matrices of all people, slopes by differences.

Weights and means are written out as formulas of the propensity alone; their derivatives by the coefficients are central
differences. It shares no code with the package, and a test shows that the package's flow gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit

Array = np.ndarray
STEP = 1e-5
MEAN: dict[str, Callable[[Array], Array]] = {"gaussian": lambda eta: eta, "binomial": expit, "poisson": np.exp}


@dataclass(frozen=True)
class Twin:
    """An estimator, an estimand, and the family of the outcome."""

    estimator: str = "iptw"
    estimand: str = "ATE"
    family: str = "gaussian"

    def equations(self, people: Pooled, alpha: Array, beta: Array, mean: Array) -> Array:
        """The estimating functions of the two means, (n, 2)."""
        e = expit(people.x @ alpha)
        tilt = {"ATE": np.ones_like(e), "ATT": people.a, "ATO": e * (1 - e), "ATM": np.minimum(e, 1 - e)}[self.estimand]
        population = e if self.estimand == "ATT" else tilt
        columns = []
        for arm, z, chance in ((0, people.z0, 1 - e), (1, people.z1, e)):
            w = (people.a == arm) * population / chance
            if self.estimator == "iptw":
                columns.append(w * (people.y - mean[arm]))
                continue
            m = MEAN[self.family](z @ beta)
            correction = w * (people.y - m) if self.estimator == "aipw" else 0.0
            columns.append(tilt * (m - mean[arm]) + correction)
        return np.column_stack(columns)

    def means(self, people: Pooled, alpha: Array, beta: Array) -> Array:
        """The means (2,): the equations are linear in them."""
        at0 = self.equations(people, alpha, beta, np.zeros(2)).sum(axis=0)
        at1 = self.equations(people, alpha, beta, np.ones(2)).sum(axis=0)
        return np.asarray(at0 / (at0 - at1))

    def fitted(self, people: Pooled) -> tuple[Array, Array]:
        """Coefficients of the propensity and of the outcome model (zeros, where the estimator has none)."""
        alpha, beta = np.zeros(people.x.shape[1]), np.zeros(people.z.shape[1])
        if self.estimator != "gformula":
            alpha = glm(people.x, people.a, "binomial")
        if self.estimator != "iptw":
            beta = glm(people.z, people.y, self.family)
        return alpha, beta

    def estimate(self, people: Pooled) -> Array:
        """The means alone, for replicates."""
        return self.means(people, *self.fitted(people))

    def __call__(self, people: Pooled) -> tuple[Array, Array]:
        """Means (2,) and their covariance (2, 2)."""
        alpha, beta = self.fitted(people)
        mean = self.means(people, alpha, beta)

        def total(alpha: Array, beta: Array, mean: Array) -> Array:
            return self.equations(people, alpha, beta, mean).sum(axis=0)

        phi = self.equations(people, alpha, beta, mean)
        if self.estimator != "gformula":
            slope = differences(lambda v: total(v, beta, mean), alpha)
            phi = phi + influence(people.x, people.a, alpha, "binomial") @ slope.T
        if self.estimator != "iptw":
            slope = differences(lambda v: total(alpha, v, mean), beta)
            phi = phi + influence(people.z, people.y, beta, self.family) @ slope.T
        base = total(alpha, beta, np.zeros(2)) - total(alpha, beta, np.ones(2))
        phi = phi / base
        return mean, phi.T @ phi


class Pooled(NamedTuple):
    """People: terms of the propensity (n, q), treatment, outcome (n,); terms of the outcome model as it was, and under
    no treatment and treatment."""

    x: Array
    a: Array
    y: Array
    z: Array
    z0: Array
    z1: Array

    def drawn(self, rows: Array) -> Pooled:
        """The people of these rows."""
        return Pooled(*(v[rows] for v in self))


def glm(x: Array, y: Array, family: str) -> Array:
    """Coefficients (q,) of a canonical generalised linear model, by Newton's steps."""
    beta, middle = np.zeros(x.shape[1]), y.mean()
    if family == "binomial":  # the first column is the intercept
        beta[0] = np.log(middle / (1 - middle))
    else:
        beta[0] = middle if family == "gaussian" else np.log(middle)
    for _ in range(50):
        mu = MEAN[family](x @ beta)
        step = np.linalg.solve((x * spread(mu, family)[:, None]).T @ x, x.T @ (y - mu))
        beta += step
        if np.abs(step).max() < 1e-11:
            break
    return beta


def influence(x: Array, y: Array, beta: Array, family: str) -> Array:
    """What each person moves the coefficients by, (n, q)."""
    mu = MEAN[family](x @ beta)
    return np.asarray((x * (y - mu)[:, None]) @ np.linalg.inv((x * spread(mu, family)[:, None]).T @ x))


def spread(mu: Array, family: str) -> Array:
    """The variance at means (n,)."""
    return {"gaussian": np.ones_like(mu), "binomial": mu * (1 - mu), "poisson": mu}[family]


def differences(of: Callable[[Array], Array], at: Array) -> Array:
    """The Jacobian (2, q), by central differences."""
    steps = STEP * np.eye(len(at))
    return np.array([(of(at + s) - of(at - s)) / (2 * STEP) for s in steps]).T
