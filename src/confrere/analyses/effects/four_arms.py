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

from confrere.analyses.cox import Cox
from confrere.analyses.effects import joint
from confrere.analyses.effects.arms import Leans, Scale, given, treated_of
from confrere.analyses.effects.influence import Through, influences, lean_of
from confrere.analyses.effects.interaction import Interaction
from confrere.analyses.effects.means import HERNAN, few, guessed_family
from confrere.analyses.effects.nuisance import Fitted, Learned, Nuisance, derivative, learned, local_of, means
from confrere.analyses.effects.weighting import Weights
from confrere.analyses.families import FAMILIES
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, count
from confrere.analyses.glm import Glm
from confrere.analyses.scaling import RAW
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
from confrere.study.ground import Ground, design_of, model_of

VANDERWEELE = Citation(
    "VanderWeele TJ, Knol MJ. A tutorial on interaction. Epidemiol Methods 2014;3:33-72", "10.1515/em-2013-0005"
)
HOSMER = Citation(
    "Hosmer DW, Lemeshow S. Confidence interval estimation of interaction. Epidemiology 1992;3:452-456",
    "10.1097/00001648-199209000-00012",
)
LI = Citation(
    "Li R, Chambless L. Test for additive interaction in proportional hazards models. Ann Epidemiol 2007;17:227-236",
    "10.1016/j.annepidem.2006.10.009",
)
REACH = 1.959963984540054
MEASURES = {"gaussian": "mean difference", "binomial": "odds ratio", "poisson": "rate ratio"}  # of regressions
RARE = "The measures are of odds ratios, which stand for risk ratios only where the outcome is rare."
LOWER = (
    "An arm has less of the outcome than those with neither treatment: RERI, attributable proportion and synergy index "
    "are meant for factors that raise it. Read the difference of differences, or let the arm with the least be neither."
)
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
        cases = Cases((rows.x, x), (first, second), y, arm, tuple(self._terms(frame)))
        marks = arm[:, None] == np.arange(FOUR)
        names = (*made.names, f"outcome {study.outcome}", *(f"arm {name}" for name in study.arms))
        return replace(made, data=cases, x=np.column_stack([rows.x, y, marks]), names=names, flags={})

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
            slope = made.weights[i].slope * made.weights[1 - i].w
            local = local_of(cases.x[i], cases.treated[i].astype(float), model)
            found.append(Through(cases.x[i], model, local, (mine * slope).T))
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
        weighting = self.study.weighting
        weights = tuple(
            weighting.of(means(x, m), treated, 0.5)
            for x, m, treated in zip(cases.x, models.propensity, cases.treated, strict=False)  # or no propensities
        )
        w = weights[0].w * weights[1].w if weights else np.ones(len(y))
        own = np.where(cases.arm == np.arange(FOUR)[:, None], w if weights else 0.0, 0.0)
        if not models.outcome:
            return Made(weights, w, own * y, own, np.broadcast_to(y, own.shape))
        (model,) = models.outcome
        m = np.array([(means(x, model).mu - scale.mean) / scale.sd for x in cases.terms[1:]])
        return Made(weights, w, m + own * (y - m), np.ones_like(own), y - m)


# Sums only ----------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What a finding is made of: people and outcomes by arm, and the tables of its estimator."""

    verdict: Verdict
    people: Array
    outcomes: Array
    family: str
    tables: dict[str, list[Record]]
    arms: list[Record]
    arrays: dict[str, Array]
    said: tuple[Caution, ...]


def estimated(study: Interaction) -> Flow[Finding]:
    """The flow of an interaction."""
    arms = FourArms(study)
    verdict = yield from support(arms.design)
    start = yield from ask(arms.outcomes)
    family = "survival" if study.followed else study.family or guessed_family(start.outcome.value)
    _check(study, start, family)
    of = _regressed(arms, family) if study.estimator == "regression" else _standardised(arms, start, family)
    tables, rows, arrays, said = yield from of
    people, outcomes = start.people.value, start.arms.value
    found = Found(verdict, people, outcomes, family, tables, rows, arrays, said)
    return _finding(study, found)


def _check(study: Interaction, start: Outcomes, family: str) -> None:
    """Every arm has people, and outcomes that differ."""
    people, n = start.people.value, float(start.people.value.sum())
    if people.min() < 0.5:
        raise ModelError(f"nobody has {_worded(study, int(people.argmin()))}: an interaction needs people in all arms")
    y, yy = start.outcome.value / n
    if yy - y**2 <= 1e-13 * max(y**2, 1e-20):
        raise ModelError("the outcome is the same for everybody: there is no effect to find. Check its column")
    if family != "gaussian" and start.arms.value.min() <= 0:
        arm = int(start.arms.value.argmin())
        raise ModelError(f"nobody who has {_worded(study, arm)} has the outcome: no ratio can be told. Ask more people")


def _worded(study: Interaction, arm: int) -> str:
    return ("neither treatment", f"{study.first} alone", f"{study.second} alone", "both treatments")[arm]


Parts = tuple[dict[str, list[Record]], list[Record], dict[str, Array], tuple[Caution, ...]]


def _regressed(arms: FourArms, family: str) -> Flow[Parts]:
    """Ratios given the confounders, or differences: from one regression."""
    study = arms.study
    model: Any = (
        Cox(study.outcoming, study.ties, study.baseline, diagnostics=False, ground=study.about)
        if family == "survival"
        else Glm(study.outcoming, family, ground=study.about)
    )
    fit: Finding = yield from model.flow()
    terms = [row["term"] for row in fit.tables["coefficients"]]
    at = [terms.index(name) for name in study.product]
    b, vcov = fit.arrays["estimate"][at], fit.arrays["vcov"][np.ix_(at, at)]
    measure = MEASURES.get(family, "hazard ratio")
    names = joint.contrasts(*study.treatments)
    tables = {"effects": joint.of_logs(names, measure, b, vcov), "interaction": joint.of_regression(measure, b, vcov)}
    return tables, [{} for _ in range(FOUR)], {"estimate": b, "vcov": vcov}, fit.warnings


def _standardised(arms: FourArms, start: Outcomes, family: str) -> Flow[Parts]:
    """The four means with their covariance, and what they say."""
    study = arms.study
    learnt = yield from together(*_flows(study, family))
    models = _models(study, learnt, start)
    totals = yield from ask(arms.totals, models)
    number, weight, square = totals.arms.value.T
    base = tuple(totals.base.value.tolist())
    mean = tuple((number / totals.base.value).tolist())
    got = yield from ask(arms.derivatives, models, mean)
    ends = np.cumsum([len(m.model.beta) for m in learnt])
    leans = tuple(lean_of(m, d) for m, d in zip(learnt, np.split(got.by.value, ends[:-1], axis=1), strict=True))
    second = (yield from ask(arms.squares, models, mean, base, leans)).second.value
    mu, vcov = models.scale.mean + models.scale.sd * np.array(mean), models.scale.sd**2 * second
    se, effective = np.sqrt(np.diag(vcov)), weight**2 / square
    rows: list[Record] = [
        {"effective_n": float(effective[j]), "estimate": float(mu[j]), "std_error": float(se[j]),
         "conf_low": float(mu[j] - REACH * se[j]), "conf_high": float(mu[j] + REACH * se[j])}
        for j in range(FOUR)
    ]  # fmt: skip
    names = joint.contrasts(*study.treatments)
    tables = {"effects": joint.of_means(names, family, mu, vcov), "interaction": joint.interaction(family, mu, vcov)}
    said = _heavy(study, effective / start.people.value) if study.weighs else ()
    return tables, rows, {"mean": mu, "vcov": vcov}, said


def _flows(study: Interaction, family: str) -> Iterator[Flow[Learned]]:
    """The models: both propensities, then that of the outcome, as far as the estimator has them."""
    if study.weighs:
        for formula, name in zip(study.treating, study.treatments, strict=True):
            glm = Nuisance(formula, "binomial", ground=study.about, among=study.among)
            yield learned(glm, f"the propensity of {name}")
    if study.standardises:
        yield learned(Nuisance(study.outcoming, family, ground=study.about, among=study.among), "the outcome model")


def _models(study: Interaction, learnt: tuple[Learned, ...], start: Outcomes) -> Models:
    y, yy = start.outcome.value / start.people.value.sum()
    found, many = tuple(m.model for m in learnt), 2 if study.weighs else 0
    return Models(found[:many], found[many:], Scale(float(y), float(np.sqrt(yy - y**2))))


def _heavy(study: Interaction, share: Array) -> tuple[Caution, ...]:
    """Arms that a few people carry."""
    if share.min() >= 0.5:
        return ()
    text = (
        f"The weights leave {share.min():.0%} of the information of those who have "
        f"{_worded(study, int(share.argmin()))}: a few people count for many. Set truncate."
    )
    return (Caution("extreme-weights", text),)


def _finding(study: Interaction, f: Found) -> Finding:
    """The tables, and what to know of them."""
    marked = f.family in ("binomial", "survival")
    rows = []
    for j, (arm, more) in enumerate(zip(study.arms, f.arms, strict=True)):
        events = count("events", float(f.outcomes[j]), f.verdict.k) if marked else {}
        rows.append({"arm": arm, "n": round(f.people[j]), **events, **more})
    rates = f.outcomes / f.people
    rarer = np.minimum(f.outcomes, np.inf if f.family == "survival" else f.people - f.outcomes)
    notes: tuple[str, ...] = (RARE,) if study.estimator == "regression" and f.family == "binomial" else ()
    notes += (LOWER,) if f.family != "gaussian" and rates[0] > rates.min() else ()
    facts = {"estimator": study.estimator, "family": f.family}
    return Finding(
        "interaction", f.verdict.n, f.verdict.hospitals, {**f.tables, "arms": rows, "attrition": attrition(f.verdict)},
        events=round(f.outcomes.sum()) if marked else None, facts=facts, arrays=f.arrays, notes=notes,
        warnings=(*(few(rarer) if marked else ()), *f.said),
        cite=(VANDERWEELE, HOSMER, *((LI,) if f.family == "survival" else ()), HERNAN),
    )  # fmt: skip
