"""The path of penalised fits, on quadratic models about a few anchors; and the exact fit at one penalty.

From the fit of the largest penalty on, each is the maximum of the model about the last anchor, until it lies too far
from there; then the log-likelihood is asked again, and is the next anchor. Half of the anchors that the budget of
numbers allows are spread so over the path; the others go where the models of neighbours say least of each other.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from confrere.analyses.learning.penalised_solver import Penalty, Quadratic, updated
from confrere.analyses.newton import Curve, Slope
from confrere.analyses.outcomes import Frame
from confrere.analyses.separation import NOWHERE
from confrere.errors import ModelError
from confrere.rounds import Array, Flow, ask

if TYPE_CHECKING:
    from confrere.analyses.learning.penalised import Penalised
    from confrere.analyses.learning.penalised_folds import Folds

STOP = 1e-16  # the decrement at which a climb ends, as in `newton`
ROUNDS = 60
ENOUGH = 1e-3  # of what the path explains: what neighbours may be wrong about each other
LEAST = 0.05  # between anchors, in standard deviations of what the model explains


class Scale(NamedTuple):
    """What a penalty is measured in, among the people of a fit.

    `sd` (p,) of the terms, sum of weights, and what divides the quadratic part: the outcome's SD in a linear model.
    """

    sd: Array
    total: float
    deviation: float


class Stage(NamedTuple):
    """What is public before any coefficient: the frame, the factors (p,) of the penalty, and the scale of everybody.

    `saturated` is the log-likelihood of Cox's saturated model; `weight` what deviances are divided by. Of a binomial
    outcome `having` (p,) are the sums of terms over who has it.
    """

    frame: Frame
    factors: Array
    scale: Scale
    alpha: float
    standardize: bool
    saturated: float = 0.0
    weight: float = 1.0
    events: int | None = None
    having: Array = np.zeros(0)

    @property
    def one(self) -> int:
        """1 if the first coefficient is an intercept, else 0."""
        return int(self.frame.intercept)

    def penalty(self, value: float, scale: Scale | None = None, alpha: float | None = None) -> Penalty:
        """The penalty of lambda on the coefficients of the frame (q,), among the people of a scale.

        An infinite lambda leaves only what is not penalised.
        """
        scale, alpha = scale or self.scale, self.alpha if alpha is None else alpha
        factors = self.factors * len(self.factors) / self.factors.sum()
        size = self.frame.reach / np.array(self.frame.sd) * (scale.sd if self.standardize else 1.0)
        if np.isinf(value):
            first, second = np.where(factors > 0, np.inf, 0.0), np.zeros(len(factors))
        else:
            pull = value * factors * scale.total / self.frame.unit
            first, second = alpha * pull * size, (1 - alpha) * pull * size**2 / scale.deviation
        first = np.where(scale.sd > 0, first, np.inf)  # a term that nobody of a fit differs in
        none = np.zeros(self.one)
        return Penalty(np.concatenate([none, first]), np.concatenate([none, second]))

    def far(self, model: Quadratic, b: Array) -> float:
        """How far coefficients are from an anchor, in standard deviations of what the model explains of a person."""
        return float(np.sqrt(model.far(b) * self.frame.unit / self.scale.total))


class Anchored(NamedTuple):
    """The models about an anchor: of everybody, and of everybody but each fold."""

    whole: Quadratic
    without: tuple[Quadratic, ...] = ()


class Path(NamedTuple):
    """The fits (q,) at the values of lambda (l,), each with the nearest anchor."""

    values: Array
    fits: list[Array]
    near: list[Anchored]
    anchors: int


def quadratic(at: Array, got: Curve) -> Quadratic:
    """The model about coefficients of what was asked there."""
    return Quadratic(at, float(got.loglik.value), got.score.value, got.information.value)


def climbed(of: Penalised, frame: Frame, start: Array, penalty: Penalty, model: Quadratic) -> Flow[Quadratic]:
    """The exact maximum of the log-likelihood less a penalty, from `start` (q,), by gradients alone.

    `model` has the information (q, q) to begin with; BFGS mends it on the way. A step is halved while the penalised
    log-likelihood falls. Gives the log-likelihood and score there; ModelError if it does not settle.
    """
    while (at := (yield from _asked(of, frame, start, model.information))).value <= NOWHERE:
        start = (start + model.at) / 2  # the model took the path to where some means cannot be
    for _ in range(ROUNDS):
        step = at.peak(penalty, at.at) - at.at
        if float(step @ at.information @ step) <= STOP:
            return at
        best = at.value - penalty.of(at.at)
        for _ in range(30):
            tried = yield from _asked(of, frame, at.at + step, at.information)
            if tried.value - penalty.of(tried.at) >= best - 1e-9 * (1 + abs(best)):
                break
            step = step / 2
        else:
            break
        at = tried._replace(information=updated(at.information, tried.at - at.at, at.score - tried.score))
    raise ModelError(
        "the penalised fit did not settle: terms may separate the outcome or be nearly collinear. Take a larger "
        "penalty, a smaller alpha, or leave terms out",
        about="no-convergence",
    )


def _asked(of: Penalised, frame: Frame, b: Array, information: Array) -> Flow[Quadratic]:
    got: Slope = yield from ask(of.slope, tuple(b.tolist()), frame)
    return Quadratic(b, float(got.loglik.value), got.score.value, information)


def pathway(of: Penalised, stage: Stage, first: Anchored, values: Array, folds: Folds | None) -> Flow[Path]:
    """The fits at all values of lambda, each on the nearer of the anchors about it."""
    most = 1 if of.quadratic or len(values) == 1 else of.anchors if folds is None else folds.anchors
    along = yield from _spread(of, stage, first, values, folds, (most + 1) // 2)
    while len(along) < most and (place := _wanting(stage, along, values)) is not None:
        most -= place[0] in along  # it is asked again, nearer to its fit
        along[place[0]] = yield from anchor_at(of, stage.frame, place[1], folds)
    fits: list[Array] = []
    near: list[Anchored] = []
    for i, value in enumerate(values):
        about = dict.fromkeys((max(j for j in along if j <= i), min((j for j in along if j > i), default=0)))
        some = [along[j] for j in about]
        peaks = [a.whole.peak(stage.penalty(value), fits[-1] if fits else first.whole.at) for a in some]
        closest = int(np.argmin([a.whole.far(b) for a, b in zip(some, peaks, strict=True)]))
        fits.append(peaks[closest])
        near.append(some[closest])
    return Path(values, fits, near, len(along))


def _spread(
    of: Penalised, stage: Stage, first: Anchored, values: Array, folds: Folds | None, most: int
) -> Flow[dict[int, Anchored]]:  # fmt: skip
    """Anchors by the place of their lambda, as far from one another as the first thinks them to be."""
    if most <= 1:
        return {0: first}
    end = first.whole.peak(stage.penalty(values[-1]), first.whole.at)
    reach = max(LEAST, stage.far(first.whole, end) / most)
    along, last, found = {0: first}, first, first.whole.at
    for i, value in enumerate(values):
        found = last.whole.peak(stage.penalty(value), found)
        if len(along) < most and i and stage.far(last.whole, found) > reach:
            along[i] = last = yield from anchor_at(of, stage.frame, found, folds)
            found = last.whole.peak(stage.penalty(value), found)
    return along


def _wanting(stage: Stage, along: dict[int, Anchored], values: Array) -> tuple[int, Array] | None:
    """Where an anchor is wanted most: the place of its lambda, and coefficients (q,). None if all say enough.

    Either an anchor is not where the fit of its lambda is, or neighbours say too little of each other.
    """
    places = sorted(along)
    ends = [along[j].whole.value for j in (places[0], places[-1])]
    worst, found = ENOUGH * abs(ends[1] - ends[0]), None
    for place in places:
        model = along[place].whole
        b = model.peak(stage.penalty(values[place]), model.at)
        if (off := model.far(b)) > worst:
            worst, found = off, (place, b)
    for low, high in pairwise(places):
        one, other = along[low].whole, along[high].whole
        off = abs(one.of(other.at) - other.value) + abs(other.of(one.at) - one.value)
        if high - low > 1 and off > worst:
            worst, found = off, _between(stage, (one, other), (low + high) // 2, values)
    return found


def _between(stage: Stage, models: tuple[Quadratic, ...], place: int, values: Array) -> tuple[int, Array]:
    """The place of a lambda, with its fit by the nearer of two models."""
    peaks = [model.peak(stage.penalty(values[place]), model.at) for model in models]
    return place, min(zip(models, peaks, strict=True), key=lambda pair: pair[0].far(pair[1]))[1]


def anchor_at(of: Penalised, frame: Frame, b: Array, folds: Folds | None) -> Flow[Anchored]:
    """The models about coefficients (q,)."""
    beta = tuple(b.tolist())
    if folds is None:
        return Anchored(quadratic(b, (yield from ask(of.curve, beta, frame))))
    got = yield from ask(of.anchor, beta, frame, folds.many)
    if float(got.loglik.value) <= NOWHERE:
        raise ModelError("some means are out of range along the path: use the log link (logit for binomial)")
    whole = quadratic(b, Curve(got.loglik, got.score, got.information))
    return Anchored(whole, folds.without(whole, got.parts.value, got.scores.value))
