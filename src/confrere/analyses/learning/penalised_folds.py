"""Cross-validation over sums: folds of people, the deviance of each under the fit to the others.

The fit to all folds but one, at a penalty, is the maximum of a quadratic model about the nearest anchor, and what the
fold adds to the log-likelihood there is the difference of two such models. Of a linear model these are exact. Of
others the fold's share of the information is taken to be its share of the weight, and `corrected` asks the likelihoods
themselves: a few steps of a quasi-Newton method, the folds and penalties side by side in one ask.

The loss is the deviance of a fold per unit of its weight; of Cox's model, what the fold adds to the partial likelihood
(Verweij & van Houwelingen, Stat Med 1993;12:2305), per event. Mean and standard error over folds, lambda.min and
lambda.1se are cv.glmnet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from confrere.analyses.learning import penalised_sums as sums
from confrere.analyses.learning.penalised_path import Path, Scale, Stage
from confrere.analyses.learning.penalised_solver import Quadratic, updated
from confrere.analyses.scaling import Scales, indicators
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Flow, Verdict, ask, support, together, within
from confrere.study.ground import model_of

if TYPE_CHECKING:
    from confrere.analyses.learning.penalised import Penalised

DEALS = (10, 5, 4, 3, 2)  # folds that are tried
SPARE = 1.6  # times k people that a mark should have in a fold on average, so that hardly a fold has fewer
SETTLED = 1e-12  # of a fit without a fold: what one more step would add to the log-likelihood
SHARE = 0.25  # of the budget of numbers
ALONE = 0.6  # of it, of an analysis that stands alone in its study


@dataclass(frozen=True, eq=False)
class Folds:
    """The folds of a run: how many, how many anchors the budget allows, and per fold what is known of the others.

    `scales` are those of the people without the fold; `shares` (folds,) their part of the information, unless their
    `information` is known; `weights` (folds,) what each fold's deviance is divided by; `saturated` (folds,) what the
    fold adds to the saturated log-likelihood. `own` says that a fold's own likelihood is asked, and not the others'.
    """

    many: int
    anchors: int
    own: bool
    scales: tuple[Scale, ...]
    shares: Array
    weights: Array
    saturated: Array
    information: Array | None = None  # (folds, q, q) of the people without the fold

    def without(self, whole: Quadratic, parts: Array, scores: Array) -> tuple[Quadratic, ...]:
        """The models of everybody but each fold, from log-likelihoods (folds,) and scores (folds, q)."""
        found = []
        for k in range(self.many):
            value, score = (whole.value - parts[k], whole.score - scores[k]) if self.own else (parts[k], scores[k])
            information = self.shares[k] * whole.information if self.information is None else self.information[k]
            found.append(Quadratic(whole.at, float(value), score, information))
        return tuple(found)


class Crossed(NamedTuple):
    """The cross-validated loss at the values of lambda: mean and standard error (l,), and the two that are told.

    `without` (folds, q) are the fits without each fold at the chosen one.
    """

    mean: Array
    se: Array
    least: int
    within: int  # one standard error
    folds: int
    exact: Bools  # (l,) where the likelihoods themselves were asked
    without: Array = np.zeros((0, 0))

    def chosen(self, rule: str) -> int:
        """The place of the value that a rule, `min` or `1se`, chooses."""
        return self.least if rule == "min" else self.within


# Folds --------------------------------------------------------------------------------------------------------


class Begun(NamedTuple):
    """What is known of the people of a fit before any coefficient."""

    verdict: Verdict
    stage: Stage
    raw: Scales

    def marks(self, other: Begun | None = None) -> set[int]:
        """The terms of 0 and 1; of who is not in the `other` fit, which has some of the people of this one."""
        if other is None:
            return {int(j) for j in np.flatnonzero(indicators(self.raw))}
        left = Scales(*(replace(a, value=a.value - b.value) for a, b in zip(self.raw, other.raw, strict=True)))
        return {int(j) for j in np.flatnonzero(indicators(left))} if left.total.value > 0 else set()


def folds_of(of: Penalised, begun: Begun) -> Flow[Folds | None]:
    """As many folds as were asked, or fewer: so many that each holds nobody or enough people of every mark, and of
    the rarer values of every other column, and that a quarter of the budget of numbers is enough. None if there is one
    penalty. ModelError if not even two can be."""
    if len(of.penalty) == 1:
        return None
    marks, (verdict, stage, _) = tuple(sorted(begun.marks())), begun
    fewest = _fewest(begun, marks)
    for many in _tried(of):
        anchors = _anchors(of, stage, len(marks), many, verdict.budget)
        if anchors < 1 or fewest < SPARE * verdict.k * many:
            continue
        found = yield from support(of.dealt, marks, many)
        if sums.may(found.grids) and (made := (yield from _measured(of, stage, many, anchors))) is not None:
            return made
    raise _refused(of, begun, marks, verdict.budget)


def common(
    fits: Sequence[Penalised], sets: Sequence[str], begun: Sequence[Begun], groups: Sequence[str]
) -> Flow[tuple[Folds, ...]]:  # fmt: skip
    """The folds of several fits, the first of all `groups` of hospitals, the others each without one: as many in all of
    them, and the same people.

    What differs between two fits are the folds of a group, so each group is judged by itself before any fold is asked
    of several together: its marks are those of the fits, and of what they leave of each other. ModelError as above.
    """
    both = (*(b.marks() for b in begun), *(begun[0].marks(other) for other in begun[1:]))
    marks = tuple(sorted(set[int]().union(*both)))
    fewest, k = min(_fewest(b, marks) for b in begun), begun[0].verdict.k
    for many in _tried(fits[0]):
        anchors = [
            _anchors(of, b.stage, len(marks), many, _part(b.verdict.budget, sets))
            for of, b in zip(fits, begun, strict=True)
        ]
        if min(anchors) < 1 or fewest < SPARE * k * many:
            continue
        judged = yield from together(*(within(g, support(fits[-1].dealt, marks, many)) for g in groups))
        if not all(sums.may(one.grids) for one in judged):
            continue
        yield from together(*(within(g, support(of.dealt, marks, many)) for g, of in zip(sets, fits, strict=True)))
        flows = (_measured(of, b.stage, many, a) for of, b, a in zip(fits, begun, anchors, strict=True))
        made = yield from together(*(within(g, flow) for g, flow in zip(sets, flows, strict=True)))
        if None not in made:
            return made
    least = min(begun, key=lambda b: _fewest(b, marks))
    raise _refused(fits[0], least, marks, _part(least.verdict.budget, sets))


def _part(budget: int, sets: Sequence[str]) -> int:
    """The budget of each of several fits, such that a quarter of it is its part."""
    return int(ALONE / SHARE * budget) // (len(sets) + 1)


def _refused(of: Penalised, begun: Begun, marks: tuple[int, ...], budget: int) -> ModelError:
    """Why not even the fewest folds can be: which limit fell, and about how many people would do."""
    n, k, least = begun.verdict.n, begun.verdict.k, min(_tried(of))
    fixed, each = _numbers(of, begun.stage, len(marks), least)
    numbers, may = fixed + each, int(SHARE * budget)
    # both grow as people do: numbers that may be asked, and people on the smallest side of a mark
    short = {"numbers": numbers / max(1, may), "people": SPARE * k * least / max(1.0, _fewest(begun, marks))}
    limit = max(short, key=lambda name: short[name])
    start = f"{n} people cannot be dealt to folds: "
    if short[limit] <= 1:
        return ModelError(
            f"{start}one would hold fewer than {k} people on one side of a term, with its rarer values, or on one "
            f"side of the outcome, or people of too few hospitals. Merge levels, leave terms out, or give one penalty"
        )
    would = f"About {_rounded(n * short[limit]):,} people would do"
    if limit == "people":
        return ModelError(
            f"{start}one of {least} would hold hardly {k} people on the rarer side of a term or of the outcome. "
            f"{would}. Merge levels, leave rare terms out, or give one penalty"
        )
    less = "exact or terms" if of.exact else "terms"
    return ModelError(
        f"{start}with {len(begun.stage.factors)} terms {least} folds ask some {_rounded(numbers):,} numbers, and the "
        f"budget for them is {may:,}. {would}. Ask about more people, leave {less} out, or give one penalty"
    )


def _rounded(value: float) -> int:
    """Two leading digits, upwards."""
    unit = 10 ** max(0, int(np.log10(max(1.0, value))) - 1)
    return int(np.ceil(value / unit) * unit)


def _tried(of: Penalised) -> list[int]:
    """Numbers of folds."""
    return [k for k in dict.fromkeys((of.folds, *DEALS)) if k <= of.folds]


def _fewest(begun: Begun, marks: tuple[int, ...]) -> float:
    """People on the smallest side of a mark, as far as first sums tell; of two marks where the outcome is one."""
    n, stage, raw = begun.verdict.n, begun.stage, begun.raw
    scale = n / float(raw.total.value)
    sides = [float(n)]
    having = raw.first.value[list(marks)] * scale
    sides += [*having, *(n - having)]
    if stage.events is not None:
        sides += [stage.events, n - stage.events]
        if stage.having.size:
            both = stage.having[list(marks)] * scale
            sides += [*both, *(having - both), *(stage.events - both), *(n - having - stage.events + both)]
    return min((side for side in sides if side > 0.5), default=0.0)


def _anchors(of: Penalised, stage: Stage, marks: int, folds: int, budget: int) -> int:
    """How many anchors a quarter of the budget allows, beside all else that a study with so many folds asks."""
    fixed, each = _numbers(of, stage, marks, folds)
    return int(min(of.anchors, (SHARE * budget - fixed) // each))


def _numbers(of: Penalised, stage: Stage, marks: int, folds: int) -> tuple[int, int]:
    """How many numbers a study with so many folds asks, beside anchors, and for each of these."""
    p, q = len(stage.factors), len(stage.factors) + stage.one
    flags = int(stage.events is not None)
    square = q * (q + 1) // 2
    offsets = len(model_of(of.formula, of.ground).offsets) * stage.one
    others = p - marks + stage.one * (1 - flags) + min(1, offsets)  # terms, an outcome of numbers, an offset
    beside = 0 if of.quadratic else (others + marks - p) * p
    dealt = sums.cost(marks, others, flags * stage.one, folds, of.quadratic)
    fixed = p * (p + 1) // 2 + dealt + folds * (2 * p + 3 + beside)
    fixed += (
        2 * square + 10 * (q + 1) + (folds * square if of.quadratic else 4 * of.points * folds // of.folds * (q + 2))
    )
    return fixed, square + (folds + 1) * (q + 1)


def _measured(of: Penalised, stage: Stage, many: int, anchors: int) -> Flow[Folds | None]:
    """The folds, and what the people without each are like; None if a fold has nobody, or no event."""
    got = yield from ask(of.moments, many)
    total, first, second, outcome = (s.value for s in got)
    own = of.kind.own
    weights = total if own else outcome[:, 0]
    if not (weights > 0).all():
        return None
    whole = total.sum()
    rest = (whole - total)[:, None]
    mean = (first.sum(axis=0) - first) / rest
    variance = (second.sum(axis=0) - second) / rest - mean**2
    sd = np.sqrt(np.where(variance > 1e-13 * np.maximum(mean**2, 1e-20), variance, 0.0))
    deviation = np.ones(many)
    if of.quadratic:
        y, yy = ((outcome[:, j].sum() - outcome[:, j]) / rest[:, 0] for j in (0, 1))
        deviation = np.sqrt(yy - y**2)
    saturated = np.zeros(many) if own else stage.saturated - outcome[:, 1]
    scales = tuple(Scale(s, float(r), float(d)) for s, r, d in zip(sd, rest[:, 0], deviation, strict=True))
    made = Folds(many, anchors, own, scales, 1 - weights / weights.sum(), weights, saturated)
    if not of.quadratic:
        return made
    zero = np.zeros(len(of.names))
    grams = yield from ask(of.grams, tuple(zero.tolist()), stage.frame, many)
    matrices = np.array([_full(row, zero.size) for row in grams.products.value])
    return replace(made, information=matrices.sum(axis=0) - matrices)


def _full(upper: Array, size: int) -> Array:
    """The symmetric matrix (q, q) of an upper triangle."""
    full = np.zeros((size, size))
    full[np.triu_indices(size)] = upper
    return np.asarray(full + np.triu(full, 1).T)


# Losses -------------------------------------------------------------------------------------------------------


class Fit(NamedTuple):
    """A fit without a fold at a value of lambda, and what the fold adds to the log-likelihood there."""

    model: Quadratic
    b: Array
    held: float


def choices(of: Penalised, stage: Stage, path: Path, folds: Folds) -> Flow[Crossed]:
    """The loss at every value of lambda, the values that it chooses, and the fits without folds there."""
    fits = {(i, k): _modelled(stage, path, folds, i, k) for i in range(len(path.values)) for k in range(folds.many)}
    held = np.array([f.held for f in fits.values()]).reshape(-1, folds.many)
    exact = np.full(len(path.values), of.quadratic)
    found = _crossed(stage, folds, held, exact)
    if not of.quadratic:
        which = range(len(path.values)) if of.exact else sorted({found.least, found.within})
        wanted = {at: f for at, f in fits.items() if at[0] in which}
        fits |= yield from _corrected(of, stage, path, folds, wanted)
        held = np.array([f.held for f in fits.values()]).reshape(-1, folds.many)
        exact[list(which)] = True
        again = _crossed(stage, folds, held, exact)
        found = again if of.exact else again._replace(least=found.least, within=found.within)
    at = found.chosen(of.choose)
    return found._replace(without=np.array([fits[at, k].b for k in range(folds.many)]))


def _modelled(stage: Stage, path: Path, folds: Folds, i: int, k: int) -> Fit:
    """The fit without a fold by the model about the nearest anchor."""
    near = path.near[i]
    model = near.without[k]
    b = model.peak(stage.penalty(path.values[i], folds.scales[k]), path.fits[i])
    return Fit(model, b, near.whole.of(b) - model.of(b))


def _crossed(stage: Stage, folds: Folds, held: Array, exact: Bools) -> Crossed:
    """Mean and standard error of the losses, from what each fold adds (l, folds), as cv.glmnet."""
    loss = 2 * (folds.saturated - held * stage.frame.unit) / folds.weights
    mean = loss @ folds.weights / folds.weights.sum()
    se = np.sqrt((loss - mean[:, None]) ** 2 @ folds.weights / folds.weights.sum() / (folds.many - 1))
    least = int(np.argmin(mean))  # the first is the largest penalty
    within = int(np.argmax(mean <= mean[least] + se[least]))
    return Crossed(mean, se, least, within, folds.many, exact)


def _corrected(
    of: Penalised, stage: Stage, path: Path, folds: Folds, fits: dict[tuple[int, int], Fit]
) -> Flow[dict[tuple[int, int], Fit]]:  # fmt: skip
    """Fits, named by (lambda, fold), at their own exact maximum, with what the fold adds there."""
    done: dict[tuple[int, int], Fit] = {}
    waiting = {at: f._replace(held=np.nan) for at, f in fits.items()}
    for _ in range(of.corrections):
        order = sorted(waiting)
        betas = np.array([waiting[at].b for at in order])
        points = sums.Points(betas, tuple(k for _, k in order), of.points)
        got = yield from ask(of.held, points, stage.frame, folds.many)
        for j, (i, k) in enumerate(order):
            before = waiting[i, k]
            score = got.score.value[j]
            information = before.model.information
            if not np.isnan(before.held):
                information = updated(information, before.b - before.model.at, before.model.score - score)
            now = Quadratic(before.b, float(got.loglik.value[j]), score, information)
            b = now.peak(stage.penalty(path.values[i], folds.scales[k]), before.b)
            done[i, k] = waiting[i, k] = Fit(now, b, float(got.held.value[j]))
            if now.far(b) <= SETTLED:
                del waiting[i, k]
        if not waiting:
            break
    return done
