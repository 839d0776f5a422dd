"""Newton flows: the Hessian at the first and at the last point, gradients between.

Maximises a concave log-likelihood of p standardised coefficients over sums. Fewer numbers leave than with a Hessian at
each step, and fewer equations about anyone. Between the two Hessians a model says how the information changes with the
coefficients (none: not at all), and BFGS says what it leaves out (Nocedal & Wright 2006, algorithm 6.1): every
gradient is corrected by what the model says of its step (structured secant updates, Dennis, Gay & Welsch, ACM TOMS
1981;7:348). The first step goes to the maximum of the model itself. Steps are halved while the likelihood falls.

The stop is a Newton decrement U'H^-1 U of 1e-16, which leaves standard errors right to 1e-8; or more, where standard
errors are so small that the last information, off by a share of about the distance to the maximum, is right to 1e-9
already. Where the next step is sure to get there, the last Hessian is asked there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # `scipy.linalg` is imported where it is first used: a hospital at rest does not hold it

from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Sum

STOP = 1e-16
RIGHT = 6e-10  # relative error of the last information, of which standard errors have half
SLOPES = 80  # rounds of gradients at most
LONGEST = 3.0  # of a step, per standardised coefficient: a wild trial would rest on a few people
FLAT = 1e-6  # of the information at the start
FAR = 25.0  # a standardised coefficient beyond this says separation
SURE = 100.0  # a decrement is foreseen from the fall before it, and may be so many times larger
TRUSTED = 0.5  # of the fall of the gradient along a step: what a model may be off
CHORD = tuple(zip((0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5), (5 / 18, 8 / 18, 5 / 18), strict=True))  # Gauss-Legendre


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
    """The maximum: coefficients (p,) of standardised terms, information there, and where it started.

    What was asked last was asked at `asked` (p,), a step away that no standard error shows.
    """

    beta: Array
    asked: Array
    information: Array
    loglik: float
    null: Curve
    rounds: int


Model = Callable[[Array, Array], Array]


def _constant(start: Array, beta: Array) -> Array:
    """The model that says nothing of how the information changes."""
    return start


class Objective(NamedTuple):
    """A log-likelihood as sums give it, at coefficients (p,).

    `ridge` (p,) adds -ridge/2 beta^2 per term. A standardised coefficient beyond `far` is an error, which says
    separation. The information of the first `curve` may be the expected one; that of the last must be the negative
    Hessian, so that the step from there is Newton's own. `model` takes the first information (p, p) and coefficients
    to what the information is about there: a better one makes a shorter climb, and never another maximum.
    """

    slope: Callable[[tuple[float, ...]], Flow[Slope]]
    curve: Callable[[tuple[float, ...]], Flow[Curve]]
    names: Sequence[str]
    ridge: Array | float = 0.0
    far: float = FAR
    model: Model = _constant


class Step(NamedTuple):
    """A step (p,) that was taken, and how much more the gradient fell along it than the model says (p,)."""

    along: Array
    change: Array  # the whole fall
    beyond: Array


class Point(NamedTuple):
    """Where a climb is: coefficients (p,), penalised value and score there, the steps to it, rounds so far."""

    beta: Array
    value: float
    score: Array
    inverse: Array  # (p, p) of the information as it is thought to be
    decrements: tuple[float, ...]  # here and at the points before
    steps: tuple[Step, ...]
    rounds: int

    @property
    def least(self) -> float:
        """The decrement at which a climb ends."""
        return max(STOP, RIGHT**2 / float(np.diag(self.inverse).max()))

    @property
    def there(self) -> bool:
        """Whether this is the maximum, or as good as it."""
        return self.decrements[-1] <= self.least

    @property
    def near(self) -> bool:
        """Whether one more step is sure to get there."""
        if len(self.decrements) < 2:
            return False
        before, now = self.decrements[-2:]
        return SURE * now * now / before <= self.least


class Climb:
    """A climb on a likelihood from the information (p, p) at its start."""

    def __init__(self, objective: Objective, size: int, information: Array) -> None:
        self.objective = objective
        self.pull = np.broadcast_to(np.asarray(objective.ridge, dtype=float), (size,))
        self._start = information

    def model(self, beta: Array) -> Array:
        """What the model says of the penalised information at coefficients."""
        return self.objective.model(self._start, beta) + np.diag(self.pull)

    def chord(self, beta: Array, step: Array) -> Array:
        """How much the model says that the gradient falls along a step."""
        return np.asarray(sum(w * (self.model(beta + at * step) @ step) for at, w in CHORD))

    def point(self, got: Slope | Curve, beta: Array, before: Point | None, rounds: int) -> Point:
        """A point from what was asked there. A `Curve` says its information, otherwise model and steps do."""
        value, score = _penalised(got.loglik, got.score, beta, self.pull)
        steps: tuple[Step, ...] = ()
        if isinstance(got, Curve):
            inverse = _inverse(got.information.value + np.diag(self.pull), self.objective.names)
        if before is not None:
            along, change = beta - before.beta, before.score - score
            steps = (*before.steps, Step(along, change, change - self.chord(before.beta, along)))
            if not isinstance(got, Curve):
                inverse = self._updated(beta, steps)
        decrements = (*(before.decrements if before else ()), float(score @ inverse @ score))
        return Point(beta, value, score, inverse, decrements, steps, rounds)

    def _updated(self, beta: Array, steps: tuple[Step, ...]) -> Array:
        """The inverse of the model's information, with BFGS updates by what the steps say beyond it.

        A model that was far off in any step is left, and the steps speak for themselves.
        """
        trusted = all(np.linalg.norm(s.beyond) <= TRUSTED * np.linalg.norm(s.change) for s in steps)
        now = self.model(beta) if trusted else self._start + np.diag(self.pull)
        inverse = np.asarray(scipy.linalg.cho_solve(scipy.linalg.cho_factor(now), np.eye(beta.size)))
        for along, change, beyond in steps:
            here = now @ along + beyond
            # what is left of the model may not be curved; the fall itself always is
            inverse = _bfgs(inverse, along, here if trusted and along @ here > 0 else change)
        return inverse

    def ahead(self, at: Point) -> Array:
        """The next step (p,): Newton's; from the start, to the maximum of the model."""
        step = at.inverse @ at.score
        if not at.steps and self.objective.model is not _constant:
            step = self._modelled(at.beta, at.score, step)
        return np.asarray(step * min(1.0, LONGEST / float(np.abs(step).max())))

    def _modelled(self, beta: Array, score: Array, step: Array) -> Array:
        """The step along which the model's gradient falls by the score; as near as Newton comes to it."""
        left = score - self.chord(beta, step)
        for _ in range(20):
            if np.linalg.norm(left) <= 1e-9 * np.linalg.norm(score):
                break
            tried = step + scipy.linalg.solve(self.model(beta + step), left, assume_a="pos")
            new = score - self.chord(beta, tried)
            if not np.linalg.norm(new) < np.linalg.norm(left):
                break
            step, left = tried, new
        return step


def maximise(start: Array, objective: Objective) -> Flow[Peak]:
    """Climb from `start` (p,). ModelError for collinear or separating terms, and where the climb does not settle."""
    names = objective.names
    null = yield from objective.curve(tuple(start))
    climb = Climb(objective, start.size, null.information.value)
    at = climb.point(null, start, None, 1)
    for ask_ahead in (True, False):  # what was sure may be wrong: then the last Hessian is asked again where it holds
        at = yield from _settled(climb, at, ask_ahead)
        guessed = ask_ahead and at.near and not at.there
        beta = at.beta + climb.ahead(at) if guessed else at.beta
        last = yield from objective.curve(tuple(beta))
        _check_flat(null.information.value, last.information.value, climb.pull, names)
        at = climb.point(last, beta, at, at.rounds + 1)
        if not guessed or at.there:
            break
    left = at.decrements[-1]
    if left > 1e-10:
        raise ModelError(
            f"the fit did not settle in {at.rounds - 1} rounds (decrement {left:.1e}). Terms may separate the outcome "
            f"or be nearly collinear: drop or merge some, or add a ridge penalty",
            about="no-convergence",
        )
    return Peak(
        at.beta + at.inverse @ at.score, at.beta, last.information.value, float(last.loglik.value), null, at.rounds
    )


def _settled(climb: Climb, at: Point, ask_ahead: bool) -> Flow[Point]:
    """Climb until the decrement is small enough, or sure to be after one more step, or the rounds are used up."""
    while at.rounds < SLOPES and not at.there and not (ask_ahead and at.near):
        at = yield from _climbed(climb, at)
        _check_far(at.beta, climb.objective.names, climb.objective.far)
    return at


def _climbed(climb: Climb, at: Point) -> Flow[Point]:
    """One step, halved while the likelihood falls beyond rounding."""
    step = climb.ahead(at)
    for halvings in range(30):
        tried = at.beta + step
        got = yield from climb.objective.slope(tuple(tried))
        value, _ = _penalised(got.loglik, got.score, tried, climb.pull)
        if value >= at.value - 1e-9 * (1 + abs(at.value)) and np.isfinite(value):
            return climb.point(got, tried, at, at.rounds + halvings + 1)
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
    return np.asarray(scipy.linalg.cho_solve(scipy.linalg.cho_factor(information), np.eye(len(information))))


def check_collinear(matrix: Array, names: Sequence[str], least: float = 1e-10) -> None:
    """An information or moment matrix (p, p) in which a term is nothing but the ones before it is an error."""
    size = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    for j, name in enumerate(names):
        if not size[j] > 0:
            raise ModelError(f"term {name!r} does not vary among the people who inform the fit: leave it out")
    unit = matrix / np.outer(size, size)
    try:
        if scipy.linalg.cholesky(unit).diagonal().min() ** 2 > 2 * least:  # what the terms before leave of each
            return
    except scipy.linalg.LinAlgError:
        pass  # which term it is follows
    for j in range(1, len(names)):
        before = unit[:j, :j]
        on = scipy.linalg.lstsq(before, unit[:j, j])[0]
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
