"""What boosted trees minimise: per person, the gradient and the Hessian of a loss in the score.

Names and formulas are XGBoost's: `squared` is reg:squarederror, `binary` binary:logistic, `multiclass` multi:softprob,
`poisson` count:poisson, `cox` survival:cox (whose slopes need risk sets: `followed`). Gradients and Hessians are
bounded (those that are not are clipped, at what hardly anybody reaches), so that they become whole numbers on a public
scale: sums over people are then exact, and no tree depends on the hospital in which somebody is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.learning.kernels import exponential
from confrere.rounds import Array

DAMPED = float(np.exp(0.7))  # XGBoost's `max_delta_step`, by which it shortens steps of Poisson models
WIDE = 16.0  # standard deviations of the outcome, or times its mean, at which gradients are clipped


class Slopes(NamedTuple):
    """Gradients and Hessians, (n,) or (n, classes)."""

    g: Array
    h: Array


@dataclass(frozen=True)
class Objective:
    """A loss. `g` and `h` are the most that either can be, in absolute value, for an outcome of unit spread.

    counted   whether the Hessian says nothing of how many people there are, so that people are counted besides
    xgboost   its name there
    """

    name: str
    xgboost: str
    g: float
    h: float
    counted: bool = False


OBJECTIVES: Mapping[str, Objective] = {
    o.name: o
    for o in (
        Objective("squared", "reg:squarederror", WIDE, 1.0),
        Objective("binary", "binary:logistic", 1.0, 0.25),
        Objective("multiclass", "multi:softprob", 1.0, 0.5),
        Objective("poisson", "count:poisson", WIDE, WIDE, counted=True),
        Objective("cox", "survival:cox", WIDE, WIDE, counted=True),
    )
}


def slopes(objective: Objective, score: Array, y: Array, unit: float) -> Slopes:
    """Gradient and Hessian at scores (n,), or (n, K) for classes y; `unit` is the spread that both are counted in."""
    if objective.name == "squared":
        return Slopes(np.clip((score - y) / unit, -objective.g, objective.g), np.ones_like(score))
    if objective.name == "binary":
        p = expit(score)
        return Slopes(p - y, p * (1 - p))
    if objective.name == "poisson":
        mean = exponential(score) / unit
        return Slopes(np.clip(mean - y / unit, -objective.g, objective.g), np.minimum(mean * DAMPED, objective.h))
    p = softmax(score)
    p_y = p - (y[:, None] == np.arange(p.shape[1]))
    return Slopes(p_y, 2 * p * (1 - p))


def loss(objective: Objective, score: Array, y: Array) -> Array:
    """Of each person (n,): squared error, log loss, or half the Poisson deviance up to what is constant."""
    if objective.name == "squared":
        return np.asarray((score - y) ** 2)
    if objective.name == "binary":
        return np.asarray(np.logaddexp(0, score) - y * score)
    if objective.name == "poisson":
        return np.asarray(np.exp(np.minimum(score, 700.0)) - y * score)
    high = score.max(axis=1)
    own = score[np.arange(len(y)), y.astype(int)]
    return np.asarray(high + np.log(np.exp(score - high[:, None]).sum(axis=1)) - own)


def expit(score: Array) -> Array:
    """1 / (1 + exp(-score))."""
    return np.asarray(1.0 / (1.0 + exponential(-score)))


def softmax(score: Array) -> Array:
    """Probabilities (n, K) of scores (n, K)."""
    high = exponential(score - score.max(axis=1, keepdims=True))
    return np.asarray(high / high.sum(axis=1, keepdims=True))
