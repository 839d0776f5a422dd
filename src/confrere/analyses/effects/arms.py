"""The two arms of an effect inside a hospital: sums that make the mean outcomes, their balance and their variance.

The outcome enters in standard deviations from its mean, so that no number depends on its unit. With estimating
functions U_a = number_a - base_a mu_a the means are sum number_a / sum base_a, whatever the estimator (`aipw`), and
their covariance the sum of products of influences (`influence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.effects import aipw, balance, gformula
from confrere.analyses.effects.between import Between, between
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.influence import Lean, Through, influences
from confrere.analyses.effects.nuisance import (
    Among,
    Fitted,
    Local,
    derivative,
    folds_of,
    local_of,
    of_folds,
)
from confrere.analyses.effects.weighting import Weights, carried
from confrere.analyses.families import FAMILIES, Mean
from confrere.analyses.outcomes import Frame
from confrere.analyses.scaling import RAW
from confrere.errors import DataError, ModelError
from confrere.rounds import Array, Bools, Design, Ints, People, Sum, local, register
from confrere.study.counted import persons
from confrere.study.ground import Ground, design_of, framed, model_of
from confrere.study.own_balance import OwnBalance

ARMS = ("untreated", "treated")


class Outcomes(NamedTuple):
    """People treated; sums of the outcome, of its square, and of the outcome of the treated."""

    treated: Sum  # ()
    outcome: Sum  # (3,)


class Totals(NamedTuple):
    """By arm: sums of `number`, of the weights and of their squares (people, where nobody is weighed); of `base`."""

    arms: Sum  # (2, 3)
    base: Sum  # (2,)


class Derivatives(NamedTuple):
    """By arm, of the sum of U: by the coefficients of the propensity, then by those of the outcome model."""

    by: Sum  # (2, q + r)


class Squares(NamedTuple):
    """Sums of products of influences on the two means."""

    second: Sum  # (2, 2), symmetric


class Scale(NamedTuple):
    """Mean and standard deviation of the outcome: the unit in which it enters sums."""

    mean: float
    sd: float


class Models(NamedTuple):
    """The fitted models, one or one per fold (none, where the estimator has none); public.

    `share` of the people is treated.
    """

    propensity: tuple[Fitted, ...]
    outcome: tuple[Fitted, ...]
    share: float
    scale: Scale


Leans = tuple[Lean, ...]


class Cases(NamedTuple):
    """A hospital's people: confounder terms (n, p), arm, outcome, fold (n,), terms of the outcome model."""

    x: Array
    treated: Bools
    y: Array
    fold: Ints
    terms: gformula.Terms | None


class Made(NamedTuple):
    """What the models make of a hospital's people: weights, estimating functions."""

    weights: Weights | None
    parts: aipw.Parts

    def slopes(self, mean: Array) -> Array:
        """The slope of U by the propensity's linear predictor (n, 2), at means (2,)."""
        return np.asarray((self.parts.number_slope - mean[:, None] * self.parts.base_slope).T)


@register("_arms")
@dataclass(frozen=True)
class Arms:
    """The two mean outcomes of an effect, among people of public bounds."""

    effect: Effect
    among: Among

    @property
    def ground(self) -> Ground:
        """The ground of every part."""
        return self.effect.about

    # inside each hospital

    def design(self, people: People) -> Design:
        """Confounder terms, arm and outcome."""
        effect, ground = self.effect, self.ground
        people = self.among.seen(people, ground)
        made = design_of(people, f"{effect.outcome} ~ {effect.confounders}", ground)
        made = self.among.narrow(people, made, ground)
        frame = framed(people.table.frame, made.rows)
        treated = treated_of(frame, effect.treatment, ground)
        y = made.data.value
        if effect.family:
            FAMILIES[effect.family].check(y, False)
        fold = folds_of(people, ground, made.rows, effect.folds, self.among.deal)
        cases = Cases(made.data.x, treated, y, fold, self._terms(frame, treated))
        # the treatment is a column: people of one hospital alone may be treated only where the stewards say so
        names = (*made.names, f"outcome {effect.outcome}", f"treatment {effect.treatment}")
        return replace(made, data=cases, x=np.column_stack([cases.x, y, treated]), names=names, flags={})

    def _terms(self, frame: Any, treated: Bools) -> gformula.Terms | None:
        """The terms of the outcome model, with either treatment."""
        if not self.effect.standardises:
            return None
        model = model_of(self.effect.outcoming, self.ground)
        pooled = {name: (mean, sd) for name, mean, sd in self.ground.pooled}
        other = given(frame, self.effect.treatment, ~treated, self.ground)
        return gformula.Terms(model.evaluate(frame, pooled).x, model.evaluate(other, pooled).x)

    @local(on="design")
    def outcomes(self, people: People) -> Outcomes:
        """People treated, and moments of the outcome."""
        cases: Cases = people.design.data
        moments = np.array([cases.y.sum(), cases.y @ cases.y, cases.y[cases.treated].sum()])
        return Outcomes(people.count(cases.treated), people.derived(moments, dims=("moments",), scale=RAW))

    @local(on="design")
    def totals(self, people: People, models: Models) -> Totals:
        """Sums of weights and outcomes by arm: the means."""
        made, cases = self._made(people, models), people.design.data
        mine = np.array([~cases.treated, cases.treated], dtype=float)
        w = np.ones(len(cases.y)) if made.weights is None else made.weights.w
        sums = np.column_stack([made.parts.number.sum(axis=1), mine @ w, mine @ w**2])
        own = _weights(made)
        base = made.parts.base.sum(axis=1)
        return Totals(people.derived(sums, own, dims=("arms", "sums")), people.derived(base, own, dims=("arms",)))

    @local(on="design")
    def balanced(self, people: People, models: Models, frame: Frame, weight: tuple[float, float]) -> balance.Balance:
        """Weighted means of the confounders' terms by arm, and their spread without weights."""
        return balance.balance(people, self._weighed(people, models, frame), weight)

    @local(on="design")
    def spreads(self, people: People, models: Models, frame: Frame) -> balance.Spreads:
        """Weighted squares of the confounders' terms by arm."""
        return balance.spreads(people, self._weighed(people, models, frame))

    @local(on="design")
    def own_balance(self, people: People, models: Models, frame: Frame) -> OwnBalance:
        """How far the arms' confounders are apart in this hospital, for its steward; it stays here."""
        return balance.own(self._weighed(people, models, frame), self.effect.terms, self.effect.comparison)

    def _weighed(self, people: People, models: Models, frame: Frame) -> balance.Weighed:
        made, cases = self._made(people, models), people.design.data
        w = np.ones(len(cases.y)) if made.weights is None else made.weights.w
        return balance.Weighed(cases.x, frame, cases.treated, w)

    @local(on="design")
    def derivatives(self, people: People, models: Models, mean: tuple[float, float]) -> Derivatives:
        """Derivatives of the estimating functions by the models' coefficients."""
        made, cases = self._made(people, models), people.design.data
        by = [
            derivative(t.x, t.model, t.local, t.du) for t in self._weighing(people, models, made.slopes(np.array(mean)))
        ]
        by += [
            gformula.derivatives(cases.terms, cases.treated, t.model, t.local, made.parts.outcome_slope)
            for t in self._outcome(people, models)
        ]
        return Derivatives(people.derived(np.hstack(by), _weights(made), dims=("arms", "terms")))

    @local(on="design")
    def squares(
        self,
        people: People,
        models: Models,
        mean: tuple[float, float],
        base: tuple[float, float],
        leans: Leans,
    ) -> Squares:
        """Products of everybody's influences on the means."""
        phi = self._influences(people, models, mean, base, leans)
        return Squares(people.derived(phi.T @ phi, dims=("arms", "arms"), symmetric=True))

    @local(on="design")
    def between(
        self,
        people: People,
        models: Models,
        mean: tuple[float, float],
        base: tuple[float, float],
        leans: Leans,
    ) -> Between:
        """How far this hospital is from the difference of the means."""
        return between(people, self._influences(people, models, mean, base, leans) @ np.array([-1.0, 1.0]))

    def _influences(
        self,
        people: People,
        models: Models,
        mean: tuple[float, float],
        base: tuple[float, float],
        leans: Leans,
    ) -> Array:
        """Everybody's influences on the means (n, 2)."""
        made, mu = self._made(people, models), np.array(mean)
        u = (made.parts.number - mu[:, None] * made.parts.base).T
        through = []
        if leans:
            through = [*self._weighing(people, models, made.slopes(mu)), *self._outcome(people, models)]
        return influences(u, base, list(zip(through, leans, strict=True)))

    def _weighing(self, people: People, models: Models, du: Array) -> list[Through]:
        """The propensity that the means lean on, if there is one."""
        cases: Cases = people.design.data
        return [Through(cases.x, m, self._propensity(people, m), du) for m in models.propensity]

    def _outcome(self, people: People, models: Models) -> list[Through]:
        """The outcome model that the means lean on, if there is one."""
        cases: Cases = people.design.data
        if cases.terms is None:
            return []
        own, none = cases.terms.own, np.zeros((len(cases.y), 2))
        return [Through(own, m, local_of(own, cases.y, m), none) for m in models.outcome]

    def _propensity(self, people: People, model: Fitted, fold: int = -1) -> Local:
        """What a propensity says of everybody; its own intercept is that of the people of other folds."""
        cases: Cases = people.design.data
        used = cases.fold != fold if self.effect.folds > 1 else None
        return people.design.once(
            f"propensities by {model!r}", lambda: local_of(cases.x, cases.treated.astype(float), model, used)
        )

    def _made(self, people: People, models: Models) -> Made:
        """Weights and estimating functions by the models; made once, and kept while the run goes on."""
        return people.design.once(f"made by {models!r}", lambda: self._make(people, models))

    def _make(self, people: People, models: Models) -> Made:
        cases: Cases = people.design.data
        scale, weights = models.scale, None
        y = (cases.y - scale.mean) / scale.sd
        if models.propensity:
            got = [self._propensity(people, m, i).m for i, m in enumerate(models.propensity)]
            weights = self.effect.weighting.of(chosen(cases.fold, got), cases.treated, models.share)
        if cases.terms is None:
            if weights is None:
                raise ModelError("there is neither a propensity nor an outcome model")
            return Made(weights, aipw.weighted(y, cases.treated, weights))
        p = gformula.predictions(cases.terms, cases.treated, models.outcome, cases.fold)
        p = gformula.Predictions((p.mean - scale.mean) / scale.sd, p.slope / scale.sd)
        if weights is None:
            tilt = cases.treated.astype(float) if self.effect.estimand == "ATT" else np.ones(len(y))
            return Made(None, aipw.standardised(p, tilt))
        return Made(weights, aipw.augmented(y, cases.treated, weights, p))


@register("_weighed_arms")
@dataclass(frozen=True)
class WeighedArms:
    """The two arms as their people weigh, whatever the outcome is."""

    effect: Effect
    among: Among

    @property
    def ground(self) -> Ground:
        """The ground of every part."""
        return self.effect.about

    def weighed(self, people: People, models: tuple[Fitted, ...], share: float) -> Design:
        """The arms as the propensity weighs their people: the gate refuses an arm that a few carry.

        Of several `models` a person has that of the own fold; a `share` of the people is treated.
        """
        effect, ground = self.effect, self.ground
        people = self.among.seen(people, ground)
        made = design_of(people, effect.treating, ground)
        made = self.among.narrow(people, made, ground, effect.treating)
        treated = np.asarray(made.data.value, dtype=np.int64)
        fold = folds_of(people, ground, made.rows, len(models), self.among.deal)
        e = chosen(fold, [local_of(made.x, made.data.value, model).m for model in models])
        return carried(made, treated, [f"the {arm}" for arm in ARMS], effect.weighting.of(e, treated > 0, share).w)


def chosen(fold: Ints, means: Sequence[Mean]) -> Mean:
    """Of the means by one model, or by that of each fold, everybody's own."""
    return means[0] if len(means) == 1 else Mean(*(of_folds(fold, [m[i] for m in means]) for i in range(3)))


def _weights(made: Made) -> Array | None:
    """The weights with which people enter, for the gate."""
    return None if made.weights is None else made.weights.w


def treated_of(frame: Any, treatment: str, ground: Ground) -> Bools:
    """Who has a treatment (n,), a column of 0 and 1 or of two levels. Raises DataError for other values."""
    value = model_of(f"{treatment} ~ 1", ground).evaluate(frame).value
    value = np.zeros(0) if value is None else value
    if bad := int(((value != 0) & (value != 1)).sum()):
        raise DataError(
            f"treatment {treatment!r} is neither 0 nor 1 for {persons(bad)}; declare its two levels, or recode it"
        )
    return np.asarray(value == 1)


def given(frame: Any, treatment: str, treated: Bools, ground: Ground) -> Any:
    """The frame, were these people (n,) treated and the others not."""
    import pandas as pd

    levels, codes = ground.schema.levels(treatment), treated.astype(int)
    column: Any = treated.astype(float) if levels is None else pd.Categorical.from_codes(codes, list(levels))
    made = frame.copy(deep=False)  # the other columns stay where they are
    made[treatment] = column
    return made
