"""Families and links of generalised linear models.

A family has a variance V(mu) and half a unit deviance d(y, mu); a fit minimises sum w d, which is the same as
maximising the likelihood. A link is a function from the linear predictor eta to the mean and its slope
d mu / d eta. Per person the score of eta is w (y - mu) mu' / V, the expected information w mu'^2 / V, and the
observed one, the negative second derivative, that less w (y - mu) (mu''/ V - mu'^2 V' / V^2).

Sources: McCullagh & Nelder, Generalized Linear Models, 2nd ed. 1989, chapter 2. Log-likelihoods are those of
R's `logLik(glm(...))`: the dispersion of gaussian is deviance / n, that of gamma deviance / sum of weights, and
each counts as one more parameter of the AIC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from confrere.errors import DataError, StudyError
from confrere.rounds import Array
from confrere.study.counted import persons

LEAST = 1e-300  # keeps quotients of a mean, or of one minus a mean, finite


class Mean(NamedTuple):
    """What a link makes of linear predictors, each (n,): the mean, one minus it without rounding, its derivative."""

    mu: Array
    other: Array
    slope: Array


class Link(NamedTuple):
    """`of` takes a mean to the linear predictor, `mean` takes linear predictors (n,) back.

    `bend` is the second derivative of the mean (n,), from linear predictors and what `mean` made of them.
    """

    name: str
    of: Callable[[float], float]
    mean: Callable[[Array], Mean]
    bend: Callable[[Array, Mean], Array]


def _identity(eta: Array) -> Mean:
    return Mean(eta, 1 - eta, np.ones_like(eta))


def _log(eta: Array) -> Mean:
    mu = np.exp(eta)
    return Mean(mu, -np.expm1(eta), mu)


def _inverse(eta: Array) -> Mean:
    return Mean(1 / eta, 1 - 1 / eta, -1 / eta**2)


def _sqrt(eta: Array) -> Mean:
    # below 0 the square root would name the same mean twice: no mean there
    mu = np.where(eta > 0, eta**2, np.nan)
    return Mean(mu, 1 - mu, 2 * eta)


def _logit(eta: Array) -> Mean:
    small = np.abs(eta)
    np.exp(np.negative(small, out=small), out=small)  # one exponential, never too large
    near = 1 / (1 + small)
    far = small * near
    above = eta >= 0
    return Mean(np.where(above, near, far), np.where(above, far, near), near * far)


def _probit(eta: Array) -> Mean:
    slope = np.exp(-(eta**2) / 2) / np.sqrt(2 * np.pi)
    return Mean(special.ndtr(eta), special.ndtr(-eta), slope)


def _cloglog(eta: Array) -> Mean:
    rate = np.exp(eta)
    other = np.exp(-rate)
    return Mean(-np.expm1(-rate), other, rate * other)


LINKS = {
    link.name: link
    for link in (
        Link("identity", float, _identity, lambda eta, m: np.zeros_like(eta)),
        Link("log", lambda mu: float(np.log(mu)), _log, lambda eta, m: m.mu),
        Link("inverse", lambda mu: 1 / mu, _inverse, lambda eta, m: 2 / eta**3),
        Link("sqrt", lambda mu: float(np.sqrt(mu)), _sqrt, lambda eta, m: np.full_like(eta, 2.0)),
        Link("logit", lambda mu: float(special.logit(mu)), _logit, lambda eta, m: m.slope * (m.other - m.mu)),
        Link("probit", lambda mu: float(special.ndtri(mu)), _probit, lambda eta, m: -eta * m.slope),
        Link(
            "cloglog",
            lambda mu: float(np.log(-np.log1p(-mu))),
            _cloglog,
            lambda eta, m: m.slope * (1 - np.exp(eta)),
        ),
    )
}


class Family(ABC):
    """What differs between families. `links` begins with the canonical one; `estimated` says that the dispersion is."""

    name: str
    links: tuple[str, ...]
    estimated: bool
    separable: bool  # a level in which the outcome never varies has no finite coefficient

    @abstractmethod
    def check(self, y: Array, weighted: bool) -> None:
        """DataError for outcomes (n,) that the family cannot have; counts them and shows none."""

    @abstractmethod
    def inside(self, m: Mean) -> bool:
        """Whether every mean is one that the family can have."""

    @abstractmethod
    def variance(self, m: Mean) -> Array:
        """V(mu) (n,)."""

    @abstractmethod
    def variance_slope(self, m: Mean) -> Array:
        """dV / dmu (n,)."""

    @abstractmethod
    def half_deviance(self, y: Array, m: Mean) -> Array:
        """Half the unit deviance (n,): log-likelihood of the saturated model less that of the means."""

    @abstractmethod
    def constant(self, y: Array, w: Array) -> float:
        """What the log-likelihood needs of the people beside the deviance, summed."""

    @abstractmethod
    def log_likelihood(self, deviance: float, constant: float, n: int, total: float) -> float:
        """Of n people with `total` weight, as R's logLik."""

    def unit(self, mean: float, variance: float) -> float:
        """V at the mean of the outcome: dividing by it makes sums of the order of n."""
        return 1.0

    def everywhere(self, link: str) -> bool:
        """Whether every linear predictor has a mean under this link."""
        return link in ("log", "logit", "probit", "cloglog")


class Gaussian(Family):
    """Normal errors of one variance."""

    name, links, estimated, separable = "gaussian", ("identity", "log", "inverse"), True, False

    def check(self, y: Array, weighted: bool) -> None:
        return

    def inside(self, m: Mean) -> bool:
        return True

    def variance(self, m: Mean) -> Array:
        return np.ones_like(m.mu)

    def variance_slope(self, m: Mean) -> Array:
        return np.zeros_like(m.mu)

    def half_deviance(self, y: Array, m: Mean) -> Array:
        return np.asarray((y - m.mu) ** 2 / 2)

    def constant(self, y: Array, w: Array) -> float:
        return float(np.log(w).sum())

    def log_likelihood(self, deviance: float, constant: float, n: int, total: float) -> float:
        return float(-n / 2 * (np.log(2 * np.pi * deviance / n) + 1) + constant / 2)

    def unit(self, mean: float, variance: float) -> float:
        return variance


class Binomial(Family):
    """Yes or no, or shares of as many as the weight says."""

    name, estimated, separable = "binomial", False, True
    links = ("logit", "probit", "cloglog", "log", "identity")

    def check(self, y: Array, weighted: bool) -> None:
        if weighted and (bad := int(((y < 0) | (y > 1)).sum())):
            raise DataError(
                f"the outcome is outside 0 to 1 for {persons(bad)}; a binomial outcome is 0 or 1, or a share"
            )
        if not weighted and (bad := int(((y != 0) & (y != 1)).sum())):
            raise DataError(
                f"the outcome is neither 0 nor 1 for {persons(bad)}; compare it, such as I(stage == 2) ~ ..., or give "
                f"weights that say of how many it is a share"
            )

    def inside(self, m: Mean) -> bool:
        return bool(m.mu.min(initial=1.0) > 0 and m.other.min(initial=1.0) > 0)

    def variance(self, m: Mean) -> Array:
        return np.maximum(m.mu, LEAST) * np.maximum(m.other, LEAST)

    def variance_slope(self, m: Mean) -> Array:
        return m.other - m.mu

    def everywhere(self, link: str) -> bool:
        return link != "log" and super().everywhere(link)

    def half_deviance(self, y: Array, m: Mean) -> Array:
        if ((y == 0) | (y == 1)).all():  # of no shares, one logarithm
            return np.asarray(-np.log(np.maximum(np.where(y == 1, m.mu, m.other), LEAST)))
        yes = special.xlogy(y, y / np.maximum(m.mu, LEAST))
        return np.asarray(yes + special.xlogy(1 - y, (1 - y) / np.maximum(m.other, LEAST)))

    def constant(self, y: Array, w: Array) -> float:
        # 0 for outcomes of 0 and 1; for shares of whole weights the binomial coefficients, as R has them
        share = (y != 0) & (y != 1)
        y, w = y[share], w[share]
        ways = special.gammaln(w + 1) - special.gammaln(w * y + 1) - special.gammaln(w * (1 - y) + 1)
        return float((ways + w * (special.xlogy(y, y) + special.xlogy(1 - y, 1 - y))).sum())

    def log_likelihood(self, deviance: float, constant: float, n: int, total: float) -> float:
        return constant - deviance / 2


class Poisson(Family):
    """Counts."""

    name, links, estimated, separable = "poisson", ("log", "identity", "sqrt"), False, True

    def check(self, y: Array, weighted: bool) -> None:
        if bad := int((y < 0).sum()):
            raise DataError(
                f"the outcome is negative for {persons(bad)}; counts are 0 or more. Correct or leave them out"
            )

    def inside(self, m: Mean) -> bool:
        return bool((m.mu > 0).all())

    def variance(self, m: Mean) -> Array:
        return m.mu

    def variance_slope(self, m: Mean) -> Array:
        return np.ones_like(m.mu)

    def half_deviance(self, y: Array, m: Mean) -> Array:
        return np.asarray(special.xlogy(y, y / m.mu) - (y - m.mu))

    def constant(self, y: Array, w: Array) -> float:
        return float((w * (special.xlogy(y, y) - y - special.gammaln(y + 1))).sum())

    def log_likelihood(self, deviance: float, constant: float, n: int, total: float) -> float:
        return constant - deviance / 2

    def unit(self, mean: float, variance: float) -> float:
        return mean


class Gamma(Family):
    """Positive outcomes whose standard deviation is proportional to their mean."""

    name, links, estimated, separable = "gamma", ("inverse", "log", "identity"), True, False

    def check(self, y: Array, weighted: bool) -> None:
        if bad := int((y <= 0).sum()):
            raise DataError(
                f"the outcome is 0 or negative for {persons(bad)}; a gamma outcome is above 0. Leave them out"
            )

    def inside(self, m: Mean) -> bool:
        return bool((m.mu > 0).all())

    def variance(self, m: Mean) -> Array:
        return np.asarray(m.mu**2)

    def variance_slope(self, m: Mean) -> Array:
        return 2 * m.mu

    def half_deviance(self, y: Array, m: Mean) -> Array:
        return np.asarray((y - m.mu) / m.mu - np.log(y / m.mu))

    def constant(self, y: Array, w: Array) -> float:
        return float((w * np.log(y)).sum())

    def log_likelihood(self, deviance: float, constant: float, n: int, total: float) -> float:
        shape = total / deviance
        return float(total * (shape * np.log(shape) - special.gammaln(shape) - shape) - shape * deviance / 2 - constant)


FAMILIES: dict[str, Family] = {family.name: family for family in (Gaussian(), Binomial(), Poisson(), Gamma())}


def family_of(name: str, link: str) -> tuple[Family, Link]:
    """The family and link of these names; no link is the canonical one. StudyError for what is not usual."""
    if name not in FAMILIES:
        raise StudyError(f"family is {name!r}; it must be one of {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    if link and link not in family.links:
        raise StudyError(f"link is {link!r}; for {name} it must be one of {', '.join(family.links)}")
    return family, LINKS[link or family.links[0]]
