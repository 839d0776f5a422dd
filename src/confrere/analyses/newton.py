"""Newton flows: the Hessian at the first and at the last point, gradients between.

Maximises a concave log-likelihood of p standardised coefficients over sums. Between the two Hessians the steps
are BFGS (Nocedal & Wright 2006, algorithm 6.1, started from the exact Hessian), halved while the likelihood
falls: fewer numbers leave than with a Hessian at each step, and fewer equations about anyone. The stop is a
Newton decrement U'H^-1 U of 1e-16, which leaves standard errors right to 1e-8; or more, where standard errors are so
small that the last information, off by a share of about the distance to the maximum, is right to 1e-9 already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg

from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Sum

STOP = 1e-16
RIGHT = 2e-10  # relative error of the last information
SLOPES = 80  # rounds of gradients at most
LONGEST = 3.0  # of a step, per standardised coefficient: a wild trial would rest on a few people
FLAT = 1e-6  # of the information at the start
FAR = 25.0  # a standardised coefficient beyond this says separation


class Slope(NamedTuple):
    """Log-likelihood and its gradient."""

    loglik: Sum  # ()
    score: Sum  # (p,) per standardised term


class Curve(NamedTuple):
    """Log-likelihood, gradient and information (the negative Hessian)."""

    loglik: Sum  # ()
    score: Sum  # (p,)
    information: Sum  # (p, p), symmetric


class Peak(NamedTuple):
    """The maximum: coefficients (p,) of standardised terms, information there, and where it started."""

    beta: Array
    information: Array
    loglik: float
    null: Curve
    rounds: int


Ask1 = Callable[[tuple[float, ...]], Flow[Slope]]
Ask2 = Callable[[tuple[float, ...]], Flow[Curve]]


class Point(NamedTuple):
    """Where a climb is: coefficients (p,), penalised value and score there, inverse Hessian (p, p), rounds so far."""

    beta: Array
    value: float
    score: Array
    inverse: Array
    rounds: int


def maximise(
    start: Array, slope: Ask1, curve: Ask2, names: Sequence[str], ridge: Array | float = 0.0, far: float = FAR
) -> Flow[Peak]:
    """Climb from `start` (p,). `ridge` (p,) adds -ridge/2 beta^2 per term to the log-likelihood.

    A standardised coefficient beyond `far` is an error, which says separation. The first information may be the
    expected one; the last must be the negative Hessian, so that the step from there is Newton's own.
    """
    pull = np.broadcast_to(np.asarray(ridge, dtype=float), start.shape)
    null = yield from curve(tuple(start))
    at = yield from _settled(slope, _point(null, start, pull, names, 1), pull, names, far)
    last = yield from curve(tuple(at.beta))
    _check_flat(null.information.value, last.information.value, pull, names)
    at = _point(last, at.beta, pull, names, at.rounds + 1)
    left = float(at.score @ at.inverse @ at.score)
    if left > 1e-10:
        raise ModelError(
            f"the fit did not settle in {at.rounds - 1} rounds (decrement {left:.1e}). Terms may separate the outcome "
            f"or be nearly collinear: drop or merge some, or add a ridge penalty",
            about="no-convergence",
        )
    return Peak(at.beta + at.inverse @ at.score, last.information.value, float(last.loglik.value), null, at.rounds)


def _point(curve: Curve, beta: Array, pull: Array, names: Sequence[str], rounds: int) -> Point:
    value, score = _penalised(curve.loglik, curve.score, beta, pull)
    return Point(beta, value, score, _inverse(curve.information.value + np.diag(pull), names), rounds)


def _settled(slope: Ask1, at: Point, pull: Array, names: Sequence[str], far: float) -> Flow[Point]:
    """Climb until the decrement is small enough or the rounds are used up."""
    while at.rounds < SLOPES and at.score @ at.inverse @ at.score > max(STOP, RIGHT**2 / np.diag(at.inverse).max()):
        at = yield from _climb(slope, at, pull)
        _check_far(at.beta, names, far)
    return at


def _climb(slope: Ask1, at: Point, pull: Array) -> Flow[Point]:
    """One step, halved while the likelihood falls beyond rounding, and the BFGS update of the inverse."""
    step = at.inverse @ at.score
    step = step * min(1.0, LONGEST / float(np.abs(step).max()))
    for halvings in range(30):
        tried = at.beta + step
        got = yield from slope(tuple(tried))
        new, score = _penalised(got.loglik, got.score, tried, pull)
        if new >= at.value - 1e-9 * (1 + abs(at.value)) and np.isfinite(new):
            return Point(tried, new, score, _bfgs(at.inverse, step, at.score - score), at.rounds + halvings + 1)
        step = step / 2
    raise ModelError(
        "the likelihood does not rise along its own gradient: rescale the columns, or drop outlying terms",
        about="no-convergence",
    )


def _penalised(loglik: Sum, score: Sum, beta: Array, pull: Array) -> tuple[float, Array]:
    return float(loglik.value) - 0.5 * float(pull @ beta**2), score.value - pull * beta


def _bfgs(inverse: Array, step: Array, change: Array) -> Array:
    """Update of the inverse Hessian from a step and the fall of the gradient along it; skipped if not curved."""
    along = float(step @ change)
    if along <= 1e-300 or along <= 1e-14 * float(np.linalg.norm(step) * np.linalg.norm(change)):
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / along
    return np.asarray(left @ inverse @ left.T + np.outer(step, step) / along)


def _inverse(information: Array, names: Sequence[str]) -> Array:
    check_collinear(information, names)
    return np.asarray(linalg.cho_solve(linalg.cho_factor(information), np.eye(len(information))))


def check_collinear(matrix: Array, names: Sequence[str], least: float = 1e-10) -> None:
    """An information or moment matrix (p, p) in which a term is nothing but the ones before it is an error."""
    size = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    for j, name in enumerate(names):
        if not size[j] > 0:
            raise ModelError(f"term {name!r} does not vary among the people who inform the fit: leave it out")
    unit = matrix / np.outer(size, size)
    for j in range(1, len(names)):
        before = unit[:j, :j]
        on = linalg.lstsq(before, unit[:j, j])[0]
        if unit[j, j] - unit[:j, j] @ on < least:
            others = ", ".join(repr(names[int(i)]) for i in np.flatnonzero(np.abs(on) > 1e-6))
            raise ModelError(f"term {names[j]!r} is collinear with {others}: leave one of them out", about="collinear")


def _check_flat(first: Array, last: Array, pull: Array, names: Sequence[str]) -> None:
    """Information that has all but vanished on the way up says that the likelihood rises for ever."""
    left = (np.diag(last) + pull) / np.maximum(np.diag(first) + pull, 1e-300)
    worst = int(np.argmin(left))
    if left[worst] < FLAT:
        raise ModelError(
            f"term {names[worst]!r} separates the outcome: the likelihood rises for ever as its coefficient grows. "
            f"Merge its levels, leave it out, or add a ridge penalty",
            about="separation",
        )


def _check_far(beta: Array, names: Sequence[str], far: float) -> None:
    worst = int(np.argmax(np.abs(beta)))
    if abs(beta[worst]) > far:
        raise ModelError(
            f"term {names[worst]!r} separates the outcome: its coefficient grows without bound (beyond {far:g} per "
            f"standard deviation). Merge its levels, leave it out, or add a ridge penalty",
            about="separation",
        )
