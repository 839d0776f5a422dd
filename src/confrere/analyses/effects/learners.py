"""Effects that differ between people: scores of everybody, and the regressions of three learners, over sums.

With propensity e, predicted outcomes m_1 and m_0 under either treatment and m = e m_1 + (1 - e) m_0, all by models that
were fitted to the other folds, a learner regresses on the modifiers v by weighted least squares, p + p^2 sums:

    dr   m_1 - m_0 + a (y - m_1)/e - (1 - a)(y - m_0)/(1 - e)  on v        (Kennedy, Electron J Stat 2023;17:3008)
    r    (y - m)/(a - e)  on v, weighted by (a - e)^2                      (Nie & Wager, Biometrika 2021;108:299)
    x    y - m_0 of the treated, m_1 - y of the others, on v, weighted by 1 - e and e
                                                                           (Kuenzel et al., PNAS 2019;116:4156)

so that t - v'b is orthogonal to v under the weights w. The covariance is the sandwich with n/(n - p) (HC1). It needs no
derivative by the models of `dr` and `r`, whose equations do not move with them to first order; those of `x` do.
The scores of `dr` are everybody's effect but for noise: their mean over any group is the group's effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

import numpy as np

from confrere.analyses.effects import aipw, gformula
from confrere.analyses.effects.arms import Arms, Models, Outcomes, Scale
from confrere.analyses.effects.means import check_arms, guessed_family, propensity
from confrere.analyses.effects.nuisance import Fitted, Nuisance, learned, of_folds, predictor
from confrere.analyses.families import Mean
from confrere.analyses.newton import check_collinear
from confrere.analyses.outcomes import INTERCEPT, Frame, determined, enough
from confrere.analyses.scaling import RAW, Scales, blocks, products_of, squares, standard
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, support, together
from confrere.study.ground import model_of

Learner = Literal["dr", "r", "x"]


class Gram(NamedTuple):
    """Weighted products of standardised modifiers, ones first, with each other and with what they are to explain."""

    products: Sum  # (p, p), symmetric
    explained: Sum  # (p,)
    scores: Sum  # (2,) sums of the scores of `dr`, and of their squares


class Meat(NamedTuple):
    """Products of everybody's part in the normal equations."""

    second: Sum  # (p, p), symmetric


class Agreement(NamedTuple):
    """Products of (1, predicted effect, score), in standard deviations of the outcome."""

    second: Sum  # (3, 3), symmetric


class Cases(NamedTuple):
    """As `arms.Cases`, and the modifiers' raw terms v (n, p - 1)."""

    x: Array
    treated: Bools
    y: Array
    fold: Ints
    terms: gformula.Terms | None
    v: Array


class Personal(NamedTuple):
    """What the models make of a hospital's people: weights w, w t (n,); scores under no treatment and treatment (2, n).

    `own` are the weights of inverse propensity. Outcomes are in standard deviations from the mean.
    """

    w: Array
    wt: Array
    gamma: Array
    own: Array

    @property
    def psi(self) -> Array:
        """The scores of the effect (n,)."""
        return np.asarray(self.gamma[1] - self.gamma[0])


@register("_scores")
@dataclass(frozen=True)
class Scores(Arms):
    """Scores of the people of public bounds, and regressions of these on modifiers."""

    modifiers: str
    learner: Learner

    @property
    def modelling(self) -> str:
        """The formula of the modifiers."""
        return f"{self.effect.treatment} ~ {self.modifiers}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return (INTERCEPT, *model_of(self.modelling, self.ground).names)

    # inside each hospital

    def design(self, people: People) -> Design:
        """Confounder terms, modifiers, arm and outcome."""
        made = super().design(people)
        pooled = {name: (mean, sd) for name, mean, sd in self.ground.pooled}
        model = model_of(self.modelling, self.ground)
        v = model.evaluate(people.table.frame[made.rows], pooled).x
        new = [j for j, name in enumerate(model.names) if name not in made.names]
        names = (*made.names, *(model.names[j] for j in new))
        return replace(made, x=np.column_stack([made.x, v[:, new]]), names=names, data=Cases(*made.data, v))

    @local(on="design")
    def moments(self, people: People) -> Scales:
        """People, and sums and squares of the modifiers."""
        v = people.design.data.v
        return Scales(
            people.count(), people.derived(v.sum(axis=0), scale=RAW), people.derived(squares(v, np.ones(len(v))), scale=RAW)
        )  # fmt: skip

    @local(on="design")
    def gram(self, people: People, models: Models, frame: Frame) -> Gram:
        """The normal equations of the learner, and moments of the scores."""
        v, at = people.design.data.v, self._personal(people, models)
        products, explained = np.zeros((v.shape[1] + 1, v.shape[1] + 1)), np.zeros(v.shape[1] + 1)
        for rows, z in blocks(v, frame.mean, frame.sd, 1):
            explained += at.wt[rows] @ z
            products += products_of(z, at.w[rows])
        scores = np.array([at.psi.sum(), at.psi @ at.psi])
        return Gram(
            people.derived(products, at.w, symmetric=True),
            people.derived(explained, at.w),
            people.derived(scores, at.own, dims=("moments",)),
        )

    @local(on="design")
    def meat(self, people: People, models: Models, frame: Frame, beta: tuple[float, ...]) -> Meat:
        """Products of the parts of the normal equations at the coefficients."""
        v, at, b = people.design.data.v, self._personal(people, models), np.array(beta)
        total = np.zeros((len(b), len(b)))
        for rows, z in blocks(v, frame.mean, frame.sd, 1):
            total += products_of(z, np.square(at.wt[rows] - at.w[rows] * (z @ b)))
        return Meat(people.derived(total, at.w, symmetric=True))

    @local(on="design")
    def agreement(self, people: People, models: Models, prediction: Fitted) -> Agreement:
        """How scores go with the effects that a model predicts."""
        both = self._both(people, models, prediction)
        return Agreement(people.derived(both.T @ both, self._personal(people, models).own, symmetric=True))

    @local(on="design")
    def residuals(self, people: People, models: Models, prediction: Fitted, line: tuple[float, float]) -> Meat:
        """Products of the parts of the normal equations of scores on predicted effects."""
        both = self._both(people, models, prediction)
        parts = both[:, :2] * (both[:, 2] - both[:, :2] @ np.array(line))[:, None]
        return Meat(people.derived(parts.T @ parts, self._personal(people, models).own, symmetric=True))

    def _both(self, people: People, models: Models, prediction: Fitted) -> Array:
        """Ones, predicted effects and scores (n, 3)."""
        psi = self._personal(people, models).psi
        return np.column_stack([np.ones(len(psi)), predictor(people.design.data.v, prediction) / prediction.frame.reach, psi])

    def _personal(self, people: People, models: Models) -> Personal:
        """What the models make of everybody; made once, and kept while the run goes on."""
        return people.design.once(f"scores by {models!r}", lambda: self._make_personal(people, models))

    def _make_personal(self, people: People, models: Models) -> Personal:
        cases: Cases = people.design.data
        a, terms = cases.treated.astype(float), cast(gformula.Terms, cases.terms)  # `aipw` has an outcome model
        got = [self._propensity(people, m, i).m for i, m in enumerate(models.propensity)]
        e = Mean(*(of_folds(cases.fold, [g[i] for g in got]) for i in range(3)))
        weights = self.effect.weighting.of(e, cases.treated, models.share)
        low, high = self.effect.truncate
        chance = np.clip(e.mu, low, high)
        p = gformula.predictions(terms, cases.treated, models.outcome, cases.fold)
        p = gformula.Predictions((p.mean - models.scale.mean) / models.scale.sd, p.slope / models.scale.sd)
        y = (cases.y - models.scale.mean) / models.scale.sd
        gamma = aipw.augmented(y, cases.treated, weights, p).number
        if self.learner == "dr":
            return Personal(np.ones(len(a)), gamma[1] - gamma[0], gamma, weights.w)
        if self.learner == "r":
            rest = a - chance
            return Personal(rest**2, rest * (y - chance * p.mean[1] - (1 - chance) * p.mean[0]), gamma, weights.w)
        w = np.where(cases.treated, 1 - chance, chance)
        return Personal(w, w * np.where(cases.treated, y - p.mean[0], p.mean[1] - y), gamma, weights.w)


class Side(NamedTuple):
    """People of one side of a study, learning or testing, with the models of their outcomes and treatment."""

    scores: Scores
    verdict: Verdict
    start: Outcomes
    models: Models
    family: str


class Regressed(NamedTuple):
    """The effect by modifiers: coefficients (p,) and covariance (p, p) in units of the terms; the model, public.

    `vcov` of the model is over its frame. `average` is the average effect with its standard error.
    """

    estimate: Array
    covariance: Array
    prediction: Fitted
    vcov: Array
    average: tuple[float, float]


def prepared(scores: Scores) -> Flow[Side]:
    """People, outcomes, and the models of every fold."""
    verdict = yield from support(scores.design)
    start = yield from ask(scores.outcomes)
    check_arms(start, verdict)
    effect = scores.effect
    family = effect.family or guessed_family(start)
    amongs = [scores.among._replace(folds=effect.folds, fold=i) for i in range(effect.folds)]
    glm = Nuisance(effect.outcoming, family, ground=effect.about)
    weighing = yield from together(*(propensity(effect, among) for among in amongs))
    outcome = yield from together(*(learned(replace(glm, among=among), "the outcome model") for among in amongs))
    y, yy, _ = start.outcome.value / verdict.n
    models = Models(
        tuple(m.model for m in weighing),
        tuple(m.model for m in outcome),
        float(start.treated.value) / verdict.n,
        Scale(float(y), float(np.sqrt(yy - y**2))),
    )
    return Side(scores, verdict, start, models, family)


def regressed(side: Side) -> Flow[Regressed]:
    """The regression of a learner, and the average effect."""
    scores, n, sd = side.scores, side.verdict.n, side.models.scale.sd
    enough(n, len(scores.names))
    made = standard((yield from ask(scores.moments)), scores.names[1:])
    frame = Frame(made.mean, made.sd, 0.0, sd, 1.0, True)
    gram = yield from ask(scores.gram, side.models, frame)
    check_collinear(gram.products.value, scores.names)
    bread = np.linalg.inv(gram.products.value)
    beta = bread @ gram.explained.value
    meat = yield from ask(scores.meat, side.models, frame, tuple(beta.tolist()))
    vcov = n / (n - len(beta)) * bread @ meat.second.value @ bread
    if not (np.diag(vcov) > 0).all():
        raise determined()
    to, _ = frame.raw()
    total, square = gram.scores.value / n
    prediction = Fitted(scores.modelling, "gaussian", tuple(beta.tolist()), frame)
    average = (sd * float(total), sd * float(np.sqrt(max(square - total**2, 0.0) / n)))
    return Regressed(to @ beta, to @ vcov @ to.T, prediction, vcov, average)


def calibrated(side: Side, prediction: Fitted) -> Flow[tuple[Array, Array, tuple[float, float]]]:
    """Scores of these people regressed on effects that others predict: (2,) average effect and slope, (2, 2) variance.

    The predicted effect is centred at its mean. Also mean and standard deviation of the predicted effect, in standard
    deviations of the predicting people's outcome. A slope of 1 is a right prediction, 0 one that says nothing
    (Chernozhukov et al., NBER 24678, 2018: best linear predictor). ModelError where all have the same prediction.
    """
    n, scores = side.verdict.n, side.scores
    got = (yield from ask(scores.agreement, side.models, prediction)).second.value / n
    mean, variance = got[0, 1], got[1, 1] - got[0, 1] ** 2
    if variance <= 1e-13 * max(mean**2, 1e-20):
        raise ModelError("the same effect is predicted for all people who test it: choose other modifiers")
    slope = (got[1, 2] - got[0, 1] * got[0, 2]) / variance
    line = (float(got[0, 2] - slope * mean), float(slope))
    meat = (yield from ask(scores.residuals, side.models, prediction, line)).second.value / n
    bread = np.linalg.inv(got[:2, :2])
    to = np.array([[1.0, mean], [0.0, 1.0]])  # the value at the mean, and the slope
    vcov = to @ bread @ meat @ bread @ to.T / (n - 2)
    sd = side.models.scale.sd
    unit = np.array([sd, sd / prediction.frame.reach])
    return unit * (to @ np.array(line)), vcov * np.outer(unit, unit), (float(mean), float(np.sqrt(variance)))
