"""Effects that differ between people: scores of everybody, and the regressions of three learners, over sums.

With propensity e, predicted outcomes m_1 and m_0 under either treatment and m = e m_1 + (1 - e) m_0, all by models that
were fitted to the other folds, a learner regresses on the modifiers v by weighted least squares, p + p^2 sums:

    dr   m_1 - m_0 + a (y - m_1)/e - (1 - a)(y - m_0)/(1 - e)  on v        (Kennedy, Electron J Stat 2023;17:3008)
    r    (y - m)/(a - e)  on v, weighted by (a - e)^2                      (Nie & Wager, Biometrika 2021;108:299)
    x    y - m_0 of the treated, m_1 - y of the others, on v, weighted by 1 - e and e
                                                                           (Kuenzel et al., PNAS 2019;116:4156)

so that t - v'b is orthogonal to v under the weights w. The covariance is the sandwich with n/(n - p) (HC1). The normal
equations of `dr` and `r` do not move with the models to first order; those of `x` do, and its covariance goes by the
influence functions of `influence`, each person through the models of the folds that it is not in.
The scores of `dr` are everybody's effect but for noise: their mean over any group is the group's effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

import numpy as np

from confrere.analyses.effects import aipw, gformula
from confrere.analyses.effects.arms import Arms, Leans, Models, Outcomes, Scale, chosen
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.influence import lean_of
from confrere.analyses.effects.means import check_arms, guessed_family, propensity, uncarried
from confrere.analyses.effects.nuisance import (
    Among,
    Fitted,
    Learned,
    Nuisance,
    derivative,
    learned,
    local_of,
    moved,
    predictor,
)
from confrere.analyses.newton import check_collinear
from confrere.analyses.outcomes import INTERCEPT, Frame, determined, enough
from confrere.analyses.scaling import RAW, Scales, Standard, blocks, products_of, squares, standard
from confrere.errors import ModelError
from confrere.rounds import (
    Array,
    Bools,
    Design,
    Flow,
    Ints,
    People,
    Sum,
    Verdict,
    ask,
    local,
    register,
    support,
    together,
)
from confrere.study.ground import framed, model_of

Learner = Literal["dr", "r", "x"]


class Gram(NamedTuple):
    """Weighted products of standardised modifiers, ones first, with each other and with what they are to explain."""

    products: Sum  # (p, p), symmetric
    explained: Sum  # (p,)
    scores: Sum  # (2,) sums of the scores of `dr`, and of their squares


class Meat(NamedTuple):
    """Products of everybody's part in the normal equations."""

    second: Sum  # (p, p), symmetric


class Derivatives(NamedTuple):
    """Of the normal equations by the coefficients of every fold's outcome model, then of every fold's propensity."""

    by: Sum  # (p, folds x (r + q))


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

    `own` are the weights of inverse propensity. Outcomes are in standard deviations from the mean. Of the x-learner the
    slopes of w t by the predictor of the outcome under the other treatment, and of the propensity by its own (n,).
    """

    w: Array
    wt: Array
    gamma: Array
    own: Array
    other_slope: Array
    chance_slope: Array

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
    def settings(self) -> tuple[Effect, Among, str, Learner]:
        """What says whom the scores are of, and how they are made."""
        return self.effect, self.among, self.modifiers, self.learner

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
        v = model.evaluate(framed(people.table.frame, made.rows), pooled).x
        of = made.data
        data = Cases(of.x, of.treated, of.y, of.fold, of.terms, v)
        new = [j for j, name in enumerate(model.names) if name not in made.names]
        names = (*made.names, *(model.names[j] for j in new))
        return replace(made, x=np.column_stack([made.x, v[:, new]]) if new else made.x, names=names, data=data)

    @local(on="design")
    def moments(self, people: People) -> Scales:
        """People, and sums and squares of the modifiers."""
        v = people.design.data.v
        return Scales(
            people.count(),
            people.derived(v.sum(axis=0), scale=RAW),
            people.derived(squares(v, np.ones(len(v))), scale=RAW),
        )

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
    def meat(self, people: People, models: Models, frame: Frame, beta: tuple[float, ...], leans: Leans) -> Meat:
        """Products of everybody's part in the normal equations at the coefficients, and of what models add to it."""
        v, at, b = people.design.data.v, self._personal(people, models), np.array(beta)
        more = self._through(people, models, leans)
        total = np.zeros((len(b), len(b)))
        for rows, z in blocks(v, frame.mean, frame.sd, 1):
            z *= (at.wt[rows] - at.w[rows] * (z @ b))[:, None]
            z += 0.0 if more is None else more[rows]
            total += z.T @ z
        return Meat(people.derived(total, at.w, symmetric=True))

    @local(on="design")
    def turns(self, people: People, models: Models, frame: Frame, beta: tuple[float, ...]) -> Derivatives:
        """Derivatives of the normal equations of the x-learner by the models of every fold."""
        cases, at = people.design.data, self._personal(people, models)
        z = np.column_stack([np.ones(len(cases.v)), Standard(frame.mean, frame.sd).of(cases.v)])
        rest = at.wt - at.w * (z @ np.array(beta))
        chance = np.where(at.w > 0, at.chance_slope * np.where(cases.treated, -1.0, 1.0) * rest / at.w, 0.0)
        parts = []
        for by, x, ms in ((at.other_slope, cases.terms.other, models.outcome), (chance, cases.x, models.propensity)):
            for f, model in enumerate(ms):
                du = np.where(cases.fold == f, by, 0.0)[:, None] * z
                parts.append(derivative(x, model, local_of(x[:0], cases.y[:0], model), du))
        return Derivatives(people.derived(np.hstack(parts), at.w))

    def _through(self, people: People, models: Models, leans: Leans) -> Array | None:
        """What everybody adds to the normal equations through the models (n, p); None where there is nothing."""
        if not leans:
            return None
        cases = people.design.data
        own = [(cases.terms.own, cases.y, m, f) for f, m in enumerate(models.outcome)]
        own += [(cases.x, cases.treated.astype(float), m, f) for f, m in enumerate(models.propensity)]
        total = np.zeros((len(cases.y), len(leans[0].by)))
        for (x, y, model, fold), lean in zip(own, leans, strict=True):
            part = moved(x, model, local_of(x, y, model), np.array(lean.by), total) - np.array(lean.ridge)
            total += np.where((cases.fold != fold)[:, None], part, 0.0)
        return total

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
        return np.column_stack(
            [np.ones(len(psi)), predictor(people.design.data.v, prediction) / prediction.frame.reach, psi]
        )

    def _personal(self, people: People, models: Models) -> Personal:
        """What the models make of everybody; made once, and kept while the run goes on."""
        return people.design.once(f"scores by {models!r}", lambda: self._make_personal(people, models))

    def _make_personal(self, people: People, models: Models) -> Personal:
        cases: Cases = people.design.data
        a, terms = cases.treated.astype(float), cast(gformula.Terms, cases.terms)  # `aipw` has an outcome model
        got = [self._propensity(people, m, i).m for i, m in enumerate(models.propensity)]
        e = chosen(cases.fold, got)
        weights = self.effect.weighting.of(e, cases.treated, models.share)
        low, high = self.effect.truncate
        chance = np.clip(e.mu, low, high)
        p = gformula.predictions(terms, cases.treated, models.outcome, cases.fold)
        p = gformula.Predictions((p.mean - models.scale.mean) / models.scale.sd, p.slope / models.scale.sd)
        y = (cases.y - models.scale.mean) / models.scale.sd
        gamma = aipw.augmented(y, cases.treated, weights, p).number
        other = np.where(cases.treated, -p.slope[0], p.slope[1])
        moves = np.where((e.mu > low) & (e.mu < high), e.slope, 0.0)
        if self.learner == "dr":
            w, wt = np.ones(len(a)), gamma[1] - gamma[0]
        elif self.learner == "r":
            w = (a - chance) ** 2
            wt = (a - chance) * (y - chance * p.mean[1] - (1 - chance) * p.mean[0])
        else:
            w = np.where(cases.treated, 1 - chance, chance)
            wt = w * np.where(cases.treated, y - p.mean[0], p.mean[1] - y)
        return Personal(w, wt, gamma, weights.w, w * other, moves)


class Side(NamedTuple):
    """People of one side of a study, learning or testing, with the models of their outcomes and treatment."""

    scores: Scores
    verdict: Verdict
    start: Outcomes
    models: Models
    family: str
    learnt: tuple[Learned, ...]  # of every fold, the outcome models first


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
    effect = scores.effect
    terms = len(model_of(effect.outcoming, effect.about).names) + 1
    if verdict.n * (effect.folds - 1) < 2 * terms * effect.folds:
        raise ModelError(
            f"{verdict.n} people in {effect.folds} folds are too few for an outcome model of {terms} coefficients: ask "
            f"about more people, or leave terms out"
        )
    start = yield from ask(scores.outcomes)
    check_arms(start, verdict)
    family = effect.family or guessed_family(start.outcome.value)
    amongs = [scores.among._replace(folds=effect.folds, fold=i) for i in range(effect.folds)]
    glm = Nuisance(effect.outcoming, family, ground=effect.about)
    weighing = yield from together(*(propensity(effect, among) for among in amongs))
    share = float(start.treated.value) / verdict.n
    yield from uncarried(effect, scores.among, weighing, share)
    outcome = yield from together(*(learned(replace(glm, among=among), "the outcome model") for among in amongs))
    y, yy, _ = start.outcome.value / verdict.n
    models = Models(
        tuple(m.model for m in weighing),
        tuple(m.model for m in outcome),
        share,
        Scale(float(y), float(np.sqrt(yy - y**2))),
    )
    return Side(scores, verdict, start, models, family, (*outcome, *weighing))


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
    at = tuple(beta.tolist())
    leans = yield from _leans(side, frame, at)
    meat = yield from ask(scores.meat, side.models, frame, at, leans)
    vcov = n / (n - len(beta)) * bread @ meat.second.value @ bread
    total, square = gram.scores.value / n
    if not (np.diag(vcov) > 0).all() or square <= total**2:
        raise determined()
    to, _ = frame.raw()
    prediction = Fitted(scores.modelling, "gaussian", at, frame)
    average = (sd * float(total), sd * float(np.sqrt((square - total**2) / n)))
    return Regressed(to @ beta, to @ vcov @ to.T, prediction, vcov, average)


def _leans(side: Side, frame: Frame, beta: tuple[float, ...]) -> Flow[Leans]:
    """How the normal equations lean on the models: those of the x-learner alone do."""
    if side.scores.learner != "x":
        return ()
    got = yield from ask(side.scores.turns, side.models, frame, beta)
    ends = np.cumsum([len(m.model.beta) for m in side.learnt])
    parts = np.split(got.by.value, ends[:-1], axis=1)
    return tuple(lean_of(m, part) for m, part in zip(side.learnt, parts, strict=True))


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
    if not (np.diag(vcov) > 0).all():
        raise determined()
    return unit * (to @ np.array(line)), vcov * np.outer(unit, unit), (float(mean), float(np.sqrt(variance)))
