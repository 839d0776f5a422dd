"""Generated people with known effects: a treatment that depends on three confounders, outcomes that do too.

The true means are integrals over the confounders' distribution, by quadrature: no sample is drawn for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss

from effects.twin import MEAN, Array, Pooled, expit

ALPHA = np.array([-0.3, 0.5, -0.5, 0.3])  # of 1, x1, x2, x3
BETA = {
    "gaussian": np.array([1.0, 0.8, 1.0, -0.7, 0.5, 0.4]),  # of 1, a, x1, x2, x3, a x1
    "binomial": np.array([-0.6, 0.5, 0.6, -0.4, 0.3, 0.2]),
    "poisson": np.array([0.2, 0.3, 0.3, -0.2, 0.2, 0.1]),
}
FORMULA, MODEL = "x1 + x2 + x3", "a * x1 + x2 + x3"


class World(NamedTuple):
    """People, and their outcomes."""

    x: Array  # (n, 3)
    a: Array
    y: Array

    @property
    def pooled(self) -> Pooled:
        """As the twin has them."""
        x = np.column_stack([np.ones(len(self.a)), self.x])
        z, z0, z1 = (terms(self.x, a) for a in (self.a, np.zeros_like(self.a), np.ones_like(self.a)))
        return Pooled(x, self.a, self.y, z, z0, z1)

    @property
    def frame(self) -> pd.DataFrame:
        """As a hospital has them."""
        columns = {f"x{j + 1}": self.x[:, j] for j in range(3)}
        return pd.DataFrame(columns | {"a": self.a, "y": self.y, "pid": np.arange(len(self.a), dtype=float)})


def terms(x: Array, a: Array) -> Array:
    """The terms of the outcome model (n, 6)."""
    return np.column_stack([np.ones(len(a)), a, x, a * x[:, 0]])


def drawn(family: str, n: int, rng: np.random.Generator) -> World:
    """n people."""
    x = np.column_stack([rng.normal(size=n), rng.random(n) < 0.4, rng.normal(size=n)]).astype(float)
    a = (rng.random(n) < expit(ALPHA[0] + x @ ALPHA[1:])).astype(float)
    mean = MEAN[family](terms(x, a) @ BETA[family])
    if family == "gaussian":
        y = mean + rng.normal(size=n)
    else:
        y = (rng.random(n) < mean).astype(float) if family == "binomial" else rng.poisson(mean).astype(float)
    return World(x, a, y)


def truth(family: str, estimand: str) -> Array:
    """The means (2,) of the population of an estimand under no treatment and under treatment."""
    nodes, shares = hermegauss(80)
    shares = shares / shares.sum()
    x1, x2, x3 = (v.ravel() for v in np.meshgrid(nodes, [0.0, 1.0], nodes, indexing="ij"))
    weight = np.einsum("i,j,k->ijk", shares, [0.6, 0.4], shares).ravel()
    x = np.column_stack([x1, x2, x3])
    e = expit(ALPHA[0] + x @ ALPHA[1:])
    weight = weight * {"ATE": 1.0, "ATT": e, "ATO": e * (1 - e), "ATM": np.minimum(e, 1 - e)}[estimand]
    means = [MEAN[family](terms(x, np.full(len(x), arm)) @ BETA[family]) for arm in (0.0, 1.0)]
    return np.array([np.average(m, weights=weight) for m in means])
