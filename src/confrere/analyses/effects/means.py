"""Mean outcomes of two arms, for outcomes that are numbers, marks or counts: by weighting, standardising, or both.

The rounds: who is treated and how outcomes vary; the propensity; who overlaps, and trimming; the outcome model; sums of
weights and outcomes (the means), and balance; derivatives by the models' coefficients; squares of influences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.effects import balance, between, measures
from confrere.analyses.effects import overlap as overlaps
from confrere.analyses.effects.arms import ARMS, Arms, Models, Outcomes, Scale, WeighedArms
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.hospital_effects import OwnIntercepts
from confrere.analyses.effects.influence import Lean, lean_of
from confrere.analyses.effects.nuisance import Among, Learned, Nuisance, learned
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, count
from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Verdict, ask, keep, support, together

HERNAN = Citation("Hernan MA, Robins JM. Causal Inference: What If. Chapman & Hall/CRC 2020", "")
CITE = {
    "iptw": Citation(
        "Lunceford JK, Davidian M. Stratification and weighting via the propensity score in estimation of causal "
        "treatment effects. Stat Med 2004;23:2937-2960",
        "10.1002/sim.1903",
    ),
    "gformula": Citation(
        "Snowden JM, Rose S, Mortimer KM. Implementation of G-computation on a simulated data set. Am J Epidemiol "
        "2011;173:731-738",
        "10.1093/aje/kwq472",
    ),
    "aipw": Citation(
        "Robins JM, Rotnitzky A, Zhao LP. Estimation of regression coefficients when some regressors are not always "
        "observed. J Am Stat Assoc 1994;89:846-866",
        "10.1080/01621459.1994.10476818",
    ),
}
OVERLAP = Citation(
    "Li F, Morgan KL, Zaslavsky AM. Balancing covariates via propensity score weighting. J Am Stat Assoc "
    "2018;113:390-400",
    "10.1080/01621459.2016.1260466",
)
TREES = Caution(
    "trees-as-known",
    "Standard errors take the trees of the propensity as known, and say nothing of their bias: the limits hold the "
    "truth less often than they say. Take estimator = 'aipw' with folds = 5.",
)
MCCAFFREY = Citation(
    "McCaffrey DF, Ridgeway G, Morral AR. Propensity score estimation with boosted regression for evaluating causal "
    "effects in observational studies. Psychol Methods 2004;9:403-425",
    "10.1037/1082-989X.9.4.403",
)
FEW = 10  # people with the rarer outcome in an arm


class Weighed(NamedTuple):
    """The propensity, the people it overlaps for, and whom the effect is about after trimming."""

    learned: Learned
    overlap: overlaps.Histogram
    cautions: tuple[Caution, ...]
    among: Among


class Means(NamedTuple):
    """Means of the arms (2,), their covariance (2, 2), in units of the outcome; weights by arm; their balance.

    `between` are facts of how hospitals differ, if they are asked for.
    """

    mean: Array
    vcov: Array
    arms: balance.Arms
    balance: list[Record]
    between: dict[str, Any]


def estimated(effect: Effect) -> Flow[Finding]:
    """The flow of an effect on an outcome that is a number, a mark or a count."""
    arms = Arms(effect, effect.among)
    verdict = yield from support(arms.design)
    start = yield from ask(arms.outcomes)
    check_arms(start, verdict)
    weighed = None
    if effect.weighs:
        weighed = yield from weigh(effect)
        if weighed.among != arms.among:
            arms = Arms(effect, weighed.among)
            verdict = yield from support(arms.design)
            start = yield from ask(arms.outcomes)
            check_arms(start, verdict)
    family = effect.family or guessed_family(start.outcome.value)
    models, learnt = yield from _models(arms, family, weighed, start, verdict)
    means = yield from _found(arms, Fits(models, learnt, weighed), start, verdict)
    return _finding(effect, Found(family, verdict, start, weighed, means))


def weigh(effect: Effect) -> Flow[Weighed]:
    """The propensity, overlap, and after trimming the propensity of those who stay."""
    found: Learned = yield from propensity(effect, effect.among)
    histogram = yield from overlaps.overlap(found, effect.trim, effect.among, effect.about)
    trim = overlaps.trimmed(histogram, found.model, (effect.trim[0], effect.trim[1])) if effect.trim else None
    said = overlaps.cautions(histogram, effect.estimand, effect.trim, trim)
    said += (TREES,) if effect.propensity == "boosting" and effect.folds == 1 else ()
    among = effect.among
    if trim is not None:
        among = among._replace(trim=trim)
        found = yield from propensity(effect, among)
    yield from uncarried(effect, among, [found], found.share)
    return Weighed(found, histogram, said, among)


def uncarried(effect: Effect, among: Among, found: Sequence[Learned], share: float) -> Flow[None]:
    """No arm is carried by a few, as the propensity, or that of each fold, weighs people: else the gate refuses."""
    yield from support(WeighedArms(effect, among).weighed, tuple(m.model for m in found), share)


def propensity(effect: Effect, among: Among) -> Flow[Learned]:
    """The flow of the propensity among some people."""
    if effect.propensity in ("lasso", "ridge"):
        from confrere.analyses.effects import penalised_propensity as penalised

        made = penalised.PenalisedPropensity(
            effect.treating, "binomial", alpha=penalised.ALPHAS[effect.propensity], debias="", ground=effect.about,
            among=among,
        )  # fmt: skip
        return (yield from penalised.learned(made))
    if effect.propensity == "boosting":
        from confrere.analyses.effects import boosted

        return (yield from boosted.learned(boosted.boosted(effect, among)))
    if effect.hospital_effects:
        return (yield from OwnIntercepts(effect.treating, effect.ridge, among, effect.about).flow())
    glm = Nuisance(effect.treating, "binomial", ridge=effect.ridge, ground=effect.about, among=among)
    return (yield from learned(glm, "the propensity"))


def _models(
    arms: Arms, family: str, weighed: Weighed | None, start: Outcomes, verdict: Verdict
) -> Flow[tuple[Models, tuple[Learned, ...]]]:
    """The models, and those of them that the variance accounts for: none where folds differ, and no trees."""
    effect = arms.effect
    amongs = [arms.among]
    if effect.folds > 1:
        amongs = [arms.among._replace(folds=effect.folds, fold=i) for i in range(effect.folds)]
    weighing: tuple[Learned, ...] = (weighed.learned,) if weighed else ()
    share = float(start.treated.value) / verdict.n
    if weighed and effect.folds > 1:
        weighing = yield from together(*(propensity(effect, among) for among in amongs))
        yield from uncarried(effect, arms.among, weighing, share)
    outcome: tuple[Learned, ...] = ()
    if effect.standardises:
        glm = Nuisance(effect.outcoming, family, ground=effect.about, among=arms.among)
        fits = [learned(replace(glm, among=among), "the outcome model") for among in amongs]
        outcome = yield from together(*fits)
    y, yy, _ = start.outcome.value / verdict.n
    scale = Scale(float(y), float(np.sqrt(yy - y**2)))
    models = Models(tuple(m.model for m in weighing), tuple(m.model for m in outcome), share, scale)
    leant = () if effect.folds > 1 else tuple(m for m in (*weighing, *outcome) if m.model.forest is None)
    return models, leant


class Fits(NamedTuple):
    """The models, those that the variance accounts for, and the propensity of everybody."""

    models: Models
    learnt: tuple[Learned, ...]
    weighed: Weighed | None


def _found(arms: Arms, fits: Fits, start: Outcomes, verdict: Verdict) -> Flow[Means]:
    """The means, then their covariance by influences, and the balance of the arms in the same rounds."""
    models, learnt = fits.models, fits.learnt
    totals = yield from ask(arms.totals, models)
    number, weight, square = totals.arms.value.T
    base = (float(totals.base.value[0]), float(totals.base.value[1]))
    mean = (float(number[0] / base[0]), float(number[1] / base[1]))
    sums = balance.Arms(_people(start, verdict), weight, square)
    flows: list[Flow[Any]] = [ask(arms.derivatives, models, mean)] if learnt else []
    if fits.weighed is not None:
        flows.append(_balanced(arms, fits, sums, verdict))
    got = yield from together(*flows)
    leans: tuple[Lean, ...] = ()
    if learnt:
        ends = np.cumsum([len(m.model.beta) for m in learnt])
        parts = np.split(got[0].by.value, ends[:-1], axis=1)
        leans = tuple(lean_of(m, d) for m, d in zip(learnt, parts, strict=True))
    squares = yield from ask(arms.squares, models, mean, base, leans)
    apart: dict[str, Any] = {}
    if arms.effect.heterogeneity:
        between.enough(verdict)
        statistic = (yield from ask(arms.between, models, mean, base, leans)).statistic
        apart = between.facts(float(statistic.value), verdict.hospitals)
    scale = models.scale
    table = got[-1] if fits.weighed is not None else []
    return Means(scale.mean + scale.sd * np.array(mean), scale.sd**2 * squares.second.value, sums, table, apart)


def _balanced(arms: Arms, fits: Fits, sums: balance.Arms, verdict: Verdict) -> Flow[list[Record]]:
    """The table of balance; variance ratios where the budget of numbers is ample."""
    if fits.weighed is None or not arms.effect.balance:
        return []
    found = fits.weighed.learned
    frame, weight = found.model.frame, (float(sums.weight[0]), float(sums.weight[1]))
    own = keep(arms.own_balance, fits.models, frame) if arms.effect.own_balance else None
    asks = balance.Asks(ask(arms.balanced, fits.models, frame, weight), ask(arms.spreads, fits.models, frame), own)
    return (yield from balance.asked(found, sums, asks, verdict))


def _people(start: Outcomes, verdict: Verdict) -> Array:
    """People by arm (2,), the untreated first."""
    treated = float(start.treated.value)
    return np.array([verdict.n - treated, treated])


def check_arms(start: Outcomes, verdict: Verdict) -> None:
    """Both arms have people, and outcomes that differ."""
    treated = float(start.treated.value)
    if not 0 < treated < verdict.n:
        who = "nobody" if treated <= 0 else "everybody"
        raise ModelError(f"{who} is treated: there is nothing to compare. Check the treatment's column")
    y, yy, _ = start.outcome.value / verdict.n
    if yy - y**2 <= 1e-13 * max(y**2, 1e-20):
        raise ModelError("the outcome is the same for everybody: there is no effect to find. Check its column")


def guessed_family(moments: Array) -> str:
    """Binomial where all outcomes are 0 or 1, as the sum (first) equal to that of squares says; else gaussian."""
    y, yy = moments[:2]
    return "binomial" if abs(y - yy) <= 1e-11 * abs(yy) else "gaussian"


class Found(NamedTuple):
    """All that a finding is made of."""

    family: str
    verdict: Verdict
    start: Outcomes
    weighed: Weighed | None
    means: Means

    @property
    def people(self) -> Array:
        """People by arm (2,), the untreated first."""
        return self.means.arms.people

    @property
    def events(self) -> Array | None:
        """People with the outcome by arm (2,); None unless it is 0 or 1."""
        if guessed_family(self.start.outcome.value) != "binomial":
            return None
        everybody, _, treated = self.start.outcome.value
        return np.array([everybody - treated, treated])


def _finding(effect: Effect, f: Found) -> Finding:
    """Effects, arms, balance, overlap, propensity."""
    tables: dict[str, list[Record]] = {
        "effects": measures.effects(measures.BY_FAMILY[f.family], f.means.mean, f.means.vcov),
        "arms": _arms(f),
    }
    y, yy, _ = f.start.outcome.value / f.verdict.n
    sd = float(np.sqrt((yy - y**2) * f.verdict.n / (f.verdict.n - 1)))
    facts: dict[str, Any] = {"estimator": effect.estimator, "estimand": effect.estimand, "family": f.family}
    facts |= f.means.between | ({"outcome_sd": sd} if f.family == "gaussian" else {})
    said = _few(f)
    if f.weighed is not None:
        found, histogram = f.weighed.learned, f.weighed.overlap
        tables["balance"] = f.means.balance
        tables["overlap"] = histogram.records()
        tables["propensity"] = found.coefficients
        facts |= {"equipoise": histogram.equipoise, "trimmed": histogram.outside(f.weighed.among.trim)}
        said += (*f.weighed.cautions, *balance.cautions(tables["balance"], f.means.arms, effect.estimand))
    tables["attrition"] = attrition(f.verdict)
    events = None if f.events is None else round(f.events.sum())
    arrays = {"mean": f.means.mean, "vcov": f.means.vcov}
    cite = (CITE[effect.estimator], *((OVERLAP,) if effect.estimand == "ATO" else ()), HERNAN)
    cite += (between.HIGGINS,) if effect.heterogeneity else ()
    cite += (MCCAFFREY,) if effect.propensity == "boosting" else ()
    return Finding(
        "effect", f.verdict.n, f.verdict.hospitals, tables, events=events, facts=facts, arrays=arrays, warnings=said,
        cite=cite,
    )  # fmt: skip


def _arms(f: Found) -> list[Record]:
    """A record per arm: people, their effective number, the mean outcome that it would have."""
    se = np.sqrt(np.diag(f.means.vcov))
    reach = float(special.ndtri(0.975)) * se
    records: list[Record] = []
    for a, arm in enumerate(ARMS):
        mean = float(f.means.mean[a])
        n: Record = {"arm": arm, "n": round(f.people[a]), "effective_n": float(f.means.arms.effective[a])}
        if f.events is not None:
            n |= count("events", float(f.events[a]), f.verdict.k)
        limits = {"conf_low": mean - float(reach[a]), "conf_high": mean + float(reach[a])}
        records.append({**n, "estimate": mean, "std_error": float(se[a]), **limits})
    return records


def _few(f: Found) -> tuple[Caution, ...]:
    """Few people in an arm with the rarer outcome."""
    return () if f.events is None else few(np.minimum(f.events, f.people - f.events))


def few(people: Array, what: str = "the rarer outcome") -> tuple[Caution, ...]:
    """The caution of few people (arms,) in an arm with the rarer outcome; of times, with `what` is the event."""
    if people.min() >= FEW:
        return ()
    text = f"In an arm fewer than {FEW} people have {what}: estimates may be unstable, limits too narrow."
    return (Caution("few-events", text),)
