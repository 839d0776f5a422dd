"""The mean outcomes of four arms, and their covariance: people who have neither, one, the other or both treatments.

With e = P(a | x) P(b | a, x), two logistic models, the weight of a person is the product 1/P(a | x) 1/P(b | a, x). The
estimating functions of the arm j are those of two arms (`aipw`, with tilt 1):

    iptw      w 1_j (y - mu_j)
    gformula  m_j - mu_j                      m_j by the outcome model, had the person been in arm j
    aipw      m_j + w 1_j (y - m_j) - mu_j    right if the propensities are, or the outcome model is

and their covariance the sum of products of influences over all models (`influence`). Outcomes enter in standard
deviations from their mean. Sources: as of `interaction`; Hernan & Robins, What If, chapter 5; Lunceford & Davidian,
Stat Med 2004;23:2937.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.effects.arms import Leans, Scale, given, treated_of
from confrere.analyses.effects.influence import Through, influences
from confrere.analyses.effects.interaction import Interaction
from confrere.analyses.effects.nuisance import Fitted, derivative, local_of, means
from confrere.analyses.effects.weighting import Weights, carried
from confrere.analyses.families import FAMILIES
from confrere.analyses.scaling import RAW
from confrere.rounds import Array, Bools, Design, Ints, People, Sum, local, register
from confrere.study.ground import Ground, design_of, model_of

FOUR = 4


class Outcomes(NamedTuple):
    """People, and sums of their outcomes, by arm; sums of all outcomes and of their squares."""

    people: Sum  # (4,)
    outcome: Sum  # (2,)
    arms: Sum  # (4,)


class Totals(NamedTuple):
    """By arm: sums of `number`, of weights and of their squares (people, where nobody is weighed); of `base`."""

    arms: Sum  # (4, 3)
    base: Sum  # (4,)


class Derivatives(NamedTuple):
    """By arm, of the sum of U: by the coefficients of the two propensities, then by those of the outcome model."""

    by: Sum  # (4, q)


class Squares(NamedTuple):
    """Sums of products of influences on the four means."""

    second: Sum  # (4, 4), symmetric


class Models(NamedTuple):
    """The fitted models, of both propensities or none, and of the outcome or none; public."""

    propensity: tuple[Fitted, ...]
    outcome: tuple[Fitted, ...]
    scale: Scale


class Cases(NamedTuple):
    """A hospital's people: terms of both propensities (n, p), who has either treatment, outcome (n,), arm 0 to 3.

    `terms` are those of the outcome model, with the treatments that people have and then with those of every arm.
    """

    x: tuple[Array, Array]
    treated: tuple[Bools, Bools]
    y: Array
    arm: Ints
    terms: tuple[Array, ...]


class Made(NamedTuple):
    """What the models make of people: weights (n,) of either treatment; number and base of U, arm by person (4, n)."""

    weights: tuple[Weights, ...]
    w: Array
    number: Array
    base: Array
    rest: Array  # (4, n): the outcome less what an arm's weights multiply beside it


def weights_of(study: Interaction, cases: Cases, models: tuple[Fitted, ...]) -> tuple[Weights, ...]:
    """The weights (n,) of either treatment; none where there are no propensities."""
    of = zip(cases.x, models, cases.treated, strict=False)
    return tuple(study.weighting.of(means(x, m), treated, 0.5) for x, m, treated in of)


def slope_of(weights: tuple[Weights, ...], i: int) -> Array:
    """The slope (n,) of a person's weight, a product, by the linear predictor of the propensity i."""
    return np.asarray(weights[i].slope * weights[1 - i].w)


@register("_four_arms")
@dataclass(frozen=True)
class FourArms:
    """The four mean outcomes of two treatments."""

    study: Interaction

    @property
    def ground(self) -> Ground:
        """The ground of every part."""
        return self.study.about

    # inside each hospital

    def design(self, people: People) -> Design:
        """Confounder terms, arm and outcome."""
        study = self.study
        made, cases = self.cased(people)
        marks = cases.arm[:, None] == np.arange(FOUR)
        names = (*made.names, f"outcome {study.outcome}", *(f"arm {name}" for name in study.arms))
        return replace(made, data=cases, x=np.column_stack([made.x, cases.y, marks]), names=names, flags={})

    def weighed(self, people: People, models: tuple[Fitted, ...]) -> Design:
        """The four arms as both propensities weigh their people: the gate refuses an arm that a few carry."""
        made, cases = self.cased(people)
        weights = weights_of(self.study, cases, models)
        return carried(made, cases.arm, self.study.arms, weights[0].w * weights[1].w)

    def cased(self, people: People) -> tuple[Design, Cases]:
        """Outcome and confounder terms as a design has them, and the same people as cases."""
        study, ground = self.study, self.ground
        made = design_of(people, f"{study.outcome} ~ {study.confounders}", ground)
        made = study.among.narrow(people, made, ground)
        frame = people.table.frame[made.rows]
        first, second = (treated_of(frame, name, ground) for name in study.treatments)
        rows = made.data
        y = (rows.event > 0).astype(float) if rows.value is None else rows.value
        if study.family:
            FAMILIES[study.family].check(y, False)
        arm = first + 2 * second.astype(np.int64)
        x = self._evaluated(study.treating[1], frame) if study.weighs else rows.x
        return made, Cases((rows.x, x), (first, second), y, arm, tuple(self._terms(frame)))

    def _evaluated(self, formula: str, frame: Any) -> Array:
        pooled = {name: (mean, sd) for name, mean, sd in self.ground.pooled}
        return model_of(formula, self.ground).evaluate(frame, pooled).x

    def _terms(self, frame: Any) -> Iterator[Array]:
        """The terms of the outcome model: as people are, then as if all were in each arm."""
        study, n = self.study, len(frame)
        if not study.standardises:
            return
        yield self._evaluated(study.outcoming, frame)
        for arm in range(FOUR):
            other = frame
            for name, has in zip(study.treatments, (arm % 2 == 1, arm > 1), strict=True):
                other = given(other, name, np.full(n, has), self.ground)
            yield self._evaluated(study.outcoming, other)

    @local(on="design")
    def outcomes(self, people: People) -> Outcomes:
        """People and outcomes of the four arms."""
        cases: Cases = people.design.data
        counted = np.bincount(cases.arm, minlength=FOUR).astype(float)
        sums = np.bincount(cases.arm, cases.y, minlength=FOUR).astype(float)
        moments = np.array([cases.y.sum(), cases.y @ cases.y])
        return Outcomes(
            people.derived(counted, dims=("arms",)),
            people.derived(moments, dims=("moments",), scale=RAW),
            people.derived(sums, dims=("arms",), scale=RAW),
        )

    @local(on="design")
    def totals(self, people: People, models: Models) -> Totals:
        """Sums of weights and outcomes by arm: the means."""
        made, cases = self._made(people, models), people.design.data
        mine = (cases.arm == np.arange(FOUR)[:, None]).astype(float)
        sums = np.column_stack([made.number.sum(axis=1), mine @ made.w, mine @ made.w**2])
        return Totals(
            people.derived(sums, made.w, dims=("arms", "sums")),
            people.derived(made.base.sum(axis=1), made.w, dims=("arms",)),
        )

    @local(on="design")
    def derivatives(self, people: People, models: Models, mean: tuple[float, ...]) -> Derivatives:
        """Derivatives of the estimating functions by the models' coefficients."""
        made, cases = self._made(people, models), people.design.data
        by = [derivative(t.x, t.model, t.local, t.du) for t in self._weighing(people, models, mean)]
        for model in models.outcome:
            rows = []
            for x, part in zip(cases.terms[1:], made.base - self._own(made, cases), strict=True):
                du = part * means(x, model).slope / models.scale.sd
                rows.append(derivative(x, model, local_of(x[:0], cases.y[:0], model), du[:, None]))
            by.append(np.vstack(rows))
        return Derivatives(people.derived(np.hstack(by), made.w, dims=("arms", "terms")))

    @local(on="design")
    def squares(
        self, people: People, models: Models, mean: tuple[float, ...], base: tuple[float, ...], leans: Leans
    ) -> Squares:
        """Products of everybody's influences on the means."""
        made, cases = self._made(people, models), people.design.data
        u = (made.number - np.array(mean)[:, None] * made.base).T
        through = self._weighing(people, models, mean)
        none = np.zeros((len(cases.y), FOUR))
        through += [Through(cases.terms[0], m, local_of(cases.terms[0], cases.y, m), none) for m in models.outcome]
        phi = influences(u, base, list(zip(through, leans, strict=True)))
        return Squares(people.derived(phi.T @ phi, made.w, dims=("arms", "arms"), symmetric=True))

    def _weighing(self, people: People, models: Models, mean: tuple[float, ...]) -> list[Through]:
        """The propensities that the means lean on."""
        made, cases = self._made(people, models), people.design.data
        rest = made.rest - (np.array(mean)[:, None] if self.study.estimator == "iptw" else 0.0)
        mine = np.where(cases.arm == np.arange(FOUR)[:, None], rest, 0.0)
        found = []
        for i, model in enumerate(models.propensity):
            local = local_of(cases.x[i], cases.treated[i].astype(float), model)
            found.append(Through(cases.x[i], model, local, (mine * slope_of(made.weights, i)).T))
        return found

    def _own(self, made: Made, cases: Cases) -> Array:
        """Everybody's weight in its own arm, 0 in others, and where nobody is weighed: (4, n)."""
        w = made.w if self.study.weighs else np.zeros_like(made.w)
        return np.where(cases.arm == np.arange(FOUR)[:, None], w, 0.0)

    def _made(self, people: People, models: Models) -> Made:
        """Weights and estimating functions by the models; made once, and kept while the run goes on."""
        return people.design.once(f"made by {models!r}", lambda: self._make(people, models))

    def _make(self, people: People, models: Models) -> Made:
        cases: Cases = people.design.data
        scale, y = models.scale, (cases.y - models.scale.mean) / models.scale.sd
        weights = weights_of(self.study, cases, models.propensity)
        w = weights[0].w * weights[1].w if weights else np.ones(len(y))
        own = np.where(cases.arm == np.arange(FOUR)[:, None], w if weights else 0.0, 0.0)
        if not models.outcome:
            return Made(weights, w, own * y, own, np.broadcast_to(y, own.shape))
        (model,) = models.outcome
        m = np.array([(means(x, model).mu - scale.mean) / scale.sd for x in cases.terms[1:]])
        return Made(weights, w, m + own * (y - m), np.ones_like(own), y - m)
