"""The elastic net on a quadratic log-likelihood, exactly: feature-sign search, and grids of penalties.

Near a point, a log-likelihood is value + score'(b - at) - (b - at)'I(b - at)/2. Its maximum less a penalty
sum(first |b| + second b^2/2) is a quadratic program. Feature-sign search (Lee et al., NeurIPS 2006, algorithm 1)
guesses signs, solves linear equations among the coefficients that are not 0, and goes no further than to where one
changes its sign; it ends after finitely many steps, at the maximum itself: every hospital finds the same numbers.

The grid of penalties is glmnet's: from the least at which all penalised coefficients are 0, evenly on the log scale
(Friedman, Hastie & Tibshirani, J Stat Softw 2010;33(1)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from confrere.errors import ModelError
from confrere.rounds import Array, Bools

EXACT = 1e-12  # of the largest slope: how far from 0 a slope may be
RIDGE_LEAST = 1e-3  # glmnet's grid for a ridge is that of this alpha


class Penalty(NamedTuple):
    """first |b| + second b^2 / 2 of each coefficient: (q,) each. `first` is 0 where nothing is shrunk to 0."""

    first: Array
    second: Array

    def of(self, b: Array) -> float:
        """The penalty of coefficients (q,); those that are 0 have none, however large `first` is."""
        some = b != 0
        return float(self.first[some] @ np.abs(b[some]) + 0.5 * self.second @ b**2)


class Quadratic(NamedTuple):
    """A log-likelihood near the coefficients `at` (q,): its value, score (q,) and information (q, q) there."""

    at: Array
    value: float
    score: Array
    information: Array

    def of(self, b: Array) -> float:
        """The log-likelihood of coefficients b (q,)."""
        step = b - self.at
        return self.value + float(self.score @ step - 0.5 * step @ self.information @ step)

    def far(self, b: Array) -> float:
        """How far coefficients are from here: twice the fall of the log-likelihood between, were this its maximum."""
        step = b - self.at
        return float(step @ self.information @ step)

    def less(self, other: Quadratic) -> Quadratic:
        """This log-likelihood less another one's part, near the same coefficients."""
        return Quadratic(
            self.at, self.value - other.value, self.score - other.score, self.information - other.information
        )

    def peak(self, penalty: Penalty, warm: Array) -> Array:
        """Where this less the penalty is largest, sought from `warm` (q,)."""
        return solved(
            self.information + np.diag(penalty.second), self.score + self.information @ self.at, penalty.first, warm
        )


def solved(h: Array, c: Array, first: Array, warm: Array) -> Array:
    """The minimum of b'hb/2 - c'b + first'|b| over b (q,), from `warm`; h (q, q) is positive definite."""
    b = np.where(np.isfinite(first), warm, 0.0)
    sign, active = np.sign(b), (first == 0) | (b != 0)
    least = EXACT * float(np.abs(c).max(initial=1e-300))
    for _ in range(100 * (len(b) + 1)):
        b, sign, active = _among(h, c, first, b, sign, active)
        slope = h @ b - c
        over = np.where(active, -np.inf, np.abs(slope) - first)
        worst = int(np.argmax(over))
        if over[worst] <= least:
            return b
        active[worst], sign[worst] = True, -np.sign(slope[worst])
    raise ModelError("the penalised fit did not settle: terms are nearly collinear. Leave some out, or lower alpha")


def _among(
    h: Array, c: Array, first: Array, b: Array, sign: Array, active: Bools
) -> tuple[Array, Array, Bools]:  # fmt: skip
    """The minimum among the active coefficients, those leaving that reach 0 on the way; with signs and who is left."""
    while active.any():
        pull = np.where(active & (first > 0), first, 0.0) * sign
        target = np.zeros_like(b)
        target[active] = _linear(h[np.ix_(active, active)], (c - pull)[active])
        turned = active & (first > 0) & (target * sign <= 0)
        if not turned.any():
            return target, np.sign(target), active
        step = target - b
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(turned & (b != 0), -b / step, np.inf)
        stops = np.unique(np.append(shares[(shares > 0) & (shares < 1)], 1.0))
        tried = [_stopped(b, step, shares, at) for at in stops]
        b = min(tried, key=lambda v: 0.5 * v @ h @ v - c @ v + first[v != 0] @ np.abs(v[v != 0]))
        sign, active = np.sign(b), (first == 0) | (b != 0)
    return b, sign, active


def _stopped(b: Array, step: Array, shares: Array, at: float) -> Array:
    """The coefficients after this share of a step, exactly 0 where they are about to change their sign."""
    return np.asarray(np.where(shares == at, 0.0, b + at * step))


def _linear(h: Array, c: Array) -> Array:
    try:
        return np.asarray(linalg.cho_solve(linalg.cho_factor(h), c))
    except linalg.LinAlgError:
        return np.asarray(linalg.lstsq(h, c)[0])


def grid(largest: float, many: int, ratio: float) -> Array:
    """`many` penalties (many,) from the largest to `ratio` times it, evenly on the log scale."""
    return np.asarray(largest * ratio ** (np.arange(many) / max(1, many - 1)))


def updated(information: Array, step: Array, fall: Array) -> Array:
    """BFGS update of an information from a step (q,) and the fall of the score along it; skipped if not curved."""
    along = float(step @ fall)
    if along <= 1e-14 * float(np.linalg.norm(step) * np.linalg.norm(fall)):
        return information
    lean = information @ step
    return np.asarray(information + np.outer(fall, fall) / along - np.outer(lean, lean) / float(step @ lean))
