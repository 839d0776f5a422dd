"""Effects on the time to an event: hazard ratio, risks at times, restricted mean time.

The rounds: the propensity, who overlaps, and trimming, as in `means`; people, events and weights by arm; then together
the balance of the arms, the weighted Cox model (`weighted_cox`) and, where the study asks for times, the weighted
curves (`weighted_curves`); with weights against censoring both at once (`censoring`); of the g-formula and of augmented
weighting the standardised curves (`standardised`). Where causes compete, curves are those of each cause, and the hazard
ratio is that of the cause which the study names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.causes import cause_number, each_cause
from confrere.analyses.effects import balance, measures
from confrere.analyses.effects.arms import ARMS
from confrere.analyses.effects.between import HIGGINS
from confrere.analyses.effects.censoring import staying
from confrere.analyses.effects.curve_tables import Curves, curves
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.means import HERNAN, MCCAFFREY, OVERLAP, Weighed, few, weigh
from confrere.analyses.effects.standardised import Standardised
from confrere.analyses.effects.weighted import By, weighed, weighed_of
from confrere.analyses.effects.weighted_cox import weighted_cox
from confrere.analyses.finding import Citation, Finding, Record, attrition, count
from confrere.analyses.outcomes import Frame
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Design, Flow, People, Sum, Verdict, ask, keep, local, register, support, together
from confrere.study.ground import Ground, model_of
from confrere.study.own_balance import OwnBalance

ARRAYS = {"estimate": "estimate", "vcov": "robust_vcov", "naive_vcov": "vcov"}  # of a weighted Cox fit, as told
COLE = Citation(
    "Cole SR, Hernan MA. Adjusted survival curves with inverse probability weights. Comput Methods Programs Biomed "
    "2004;75:45-49",
    "10.1016/j.cmpb.2003.10.004",
)
SHU = Citation(
    "Shu D, Young JG, Toh S, Wang R. Variance estimation in inverse probability weighted Cox models. Biometrics "
    "2021;77:1101-1117",
    "10.1111/biom.13332",
)


CHEN = Citation(
    "Chen PY, Tsiatis AA. Causal inference on the difference of the restricted mean lifetime between two groups. "
    "Biometrics 2001;57:1030-1038",
    "10.1111/j.0006-341X.2001.01030.x",
)
BAI = Citation(
    "Bai X, Tsiatis AA, O'Brien SM. Doubly-robust estimators of treatment-specific survival distributions in "
    "observational studies with stratified sampling. Biometrics 2013;69:830-839",
    "10.1111/biom.12076",
)
WESTLING = Citation(
    "Westling T, Luedtke A, Gilbert PB, Carone M. Inference for treatment-specific survival curves using machine "
    "learning. J Am Stat Assoc 2024;119:1541-1553",
    "10.1080/01621459.2023.2205060",
)
OZENNE = Citation(
    "Ozenne BMH, Scheike TH, Staerk L, Gerds TA. On the estimation of average treatment effects with right-censored "
    "time to event outcome and competing risks. Biom J 2020;62:751-763",
    "10.1002/bimj.201800298",
)
ROBINS = Citation(
    "Robins JM, Finkelstein DM. Correcting for noncompliance and dependent censoring in an AIDS clinical trial with "
    "inverse probability of censoring weighted (IPCW) log-rank tests. Biometrics 2000;56:779-788",
    "10.1111/j.0006-341X.2000.00779.x",
)


class Totals(NamedTuple):
    """By arm, the others first: people, people with an event, sums of weights and of their squares."""

    people: Sum  # (2, 2)
    weights: Sum  # (2, 2)


@register("_effect_arms")
@dataclass(frozen=True)
class Arms:
    """The two arms of a survival effect: how many, how they weigh, how alike they are."""

    by: By
    ground: Ground

    def design(self, people: People) -> Design:
        """Confounder terms, treatment and event."""
        made = weighed(people, self.by, self.ground)
        at = weighed_of(made)
        names = model_of(self.by.effect.treating, self.ground).names
        treatment = f"treatment {self.by.effect.treatment}"  # a column, as in `arms`
        return replace(made, x=np.column_stack([at.x, at.treated]), names=(*names, treatment))

    @local(on="design")
    def totals(self, people: People) -> Totals:
        """People, events and weights by arm."""
        at, event = weighed_of(people.design), people.design.flags["event"]
        mine = np.array([~at.treated, at.treated], dtype=float)
        w = at.weights.w
        counted = np.column_stack([mine.sum(axis=1), mine @ event])
        sums = np.column_stack([mine @ w, mine @ w**2])
        dims = ("arms", "sums")
        return Totals(people.derived(counted, dims=dims), people.derived(sums, w, dims=dims))

    @local(on="design")
    def balanced(self, people: People, frame: Frame, weight: tuple[float, float]) -> balance.Balance:
        """Weighted means of the confounders' terms by arm, and their spread without weights."""
        return balance.balance(people, self._weighed(people, frame), weight)

    @local(on="design")
    def spreads(self, people: People, frame: Frame) -> balance.Spreads:
        """Weighted squares of the confounders' terms by arm."""
        return balance.spreads(people, self._weighed(people, frame))

    @local(on="design")
    def own_balance(self, people: People, frame: Frame) -> OwnBalance:
        """How far the arms' confounders are apart in this hospital, for its steward; it stays here."""
        effect = self.by.effect
        return balance.own(self._weighed(people, frame), effect.terms, effect.comparison)

    def _weighed(self, people: People, frame: Frame) -> balance.Weighed:
        at = weighed_of(people.design)
        return balance.Weighed(at.x, frame, at.treated, at.weights.w)


class Found(NamedTuple):
    """All that a finding is made of."""

    verdict: Verdict
    propensity: Weighed | None
    arms: balance.Arms
    events: Array  # (2,)
    balance: list[Record]
    cox: Finding | None
    curves: Curves | None
    between: Mapping[str, Any] = MappingProxyType({})  # how hospitals differ, where it is asked


def check(effect: Effect) -> None:
    """The settings of an outcome Surv(time, event): StudyError, FormulaError."""
    outcome = model_of(f"{effect.outcome} ~ 1", effect.ground).outcome
    if outcome is None or outcome.entry is not None:
        raise FormulaError(f"outcome = {effect.outcome!r}: follow-up begins at time zero; write Surv(time, event)")
    if effect.family:
        raise StudyError("an outcome Surv(time, event) has no family: leave it out")
    if effect.standardises:
        _check_standardised(effect, len(outcome.causes) > 2)
    elif effect.outcome_model:
        raise StudyError("iptw has no outcome model: leave outcome_model out, or have the estimator gformula or aipw")
    if effect.baseline not in ("per hospital", "shared"):
        raise StudyError(f"baseline is {effect.baseline!r}; it must be 'per hospital' or 'shared'")
    if effect.ties not in ("efron", "breslow"):
        raise StudyError(f"ties is {effect.ties!r}; it must be 'efron' or 'breslow'")
    tau = [] if effect.tau is None else [effect.tau]
    if any(not 0 < t < np.inf for t in (*effect.times, *tau)):
        raise StudyError(f"times are {list(effect.times)} and tau is {effect.tau}; these are positive numbers")
    if len(set(effect.times)) < len(effect.times):
        raise StudyError(f"times are {list(effect.times)}: name each once")
    competing = len(outcome.causes) > 2
    if effect.heterogeneity and (effect.standardises or effect.baseline == "shared" or competing > bool(effect.cause)):
        raise StudyError(
            "heterogeneity of times to events is that of the hazard ratio: with iptw, a baseline per hospital, and a "
            "cause where causes compete"
        )
    if effect.cause:
        cause_number(f"{effect.outcome} ~ 1", effect.ground, effect.cause)
    elif competing and not effect.times:
        raise StudyError("causes compete: name the cause whose hazards are compared, or times at which risks are")
    if competing and effect.tau is not None:
        raise StudyError("tau ends a mean until any event, and causes compete: leave it out, and set times")


def _check_standardised(effect: Effect, competing: bool) -> None:
    """The settings of the g-formula and of augmented weighting."""
    if competing and not effect.times:
        raise StudyError(f"causes compete, and {effect.estimator} gives the risk of each at times: set times")
    if not effect.times and effect.tau is None:
        raise StudyError(f"{effect.estimator} gives risks at times and means until tau: set times or tau")
    if effect.censoring and not effect.weighs:
        raise StudyError("gformula weighs nobody: leave censoring out, or have the estimator aipw")


def estimated(effect: Effect) -> Flow[Finding]:
    """The flow of an effect on the time to an event."""
    check(effect)
    if not effect.weighs:
        return (yield from _standardised(effect))
    propensity = yield from weigh(effect)
    learned = propensity.learned
    by = By(effect, propensity.among, learned.model, learned.share, learned.n)
    arms = Arms(by, effect.about)
    verdict = yield from support(arms.design)
    totals = yield from ask(arms.totals)
    (n, events), (weight, square) = totals.people.value.T, totals.weights.value.T
    _check_events(events)
    sums = balance.Arms(n, weight, square)
    causes = each_cause(effect.outcome, effect.ground)
    cox = bool(effect.cause) or len(causes) == 1
    flows: list[Flow[Any]] = [_balanced(arms, propensity, sums, verdict)]
    if effect.standardises:
        flows.append(Standardised(effect, propensity.among).curves(learned))
        table, (_, read) = yield from together(*flows)
        return _finding(effect, Found(verdict, propensity, sums, events, table, None, read))
    if effect.censoring:
        flows.append(staying(by, causes))
        table, (read, apart) = yield from together(*flows)
        return _finding(effect, Found(verdict, propensity, sums, events, table, None, read, apart))
    times = effect.times or effect.tau is not None
    flows += [weighted_cox(by).flow()] * cox + [curves(by, causes, verdict)] * bool(times)
    got = list((yield from together(*flows)))
    table = got.pop(0)
    fit = got.pop(0) if cox else None
    return _finding(effect, Found(verdict, propensity, sums, events, table, fit, got.pop(0) if got else None))


def _standardised(effect: Effect) -> Flow[Finding]:
    """The flow of the g-formula: nobody is weighed."""
    standardised = Standardised(effect, effect.among)
    verdict = yield from support(standardised.design)
    grid, read = yield from standardised.curves(None)
    events = grid.leave.events.sum(axis=1)
    n = events + grid.leave.censored.sum(axis=1)
    _check_events(events)
    return _finding(effect, Found(verdict, None, balance.Arms(n, n, n), events, [], None, read))


def _check_events(events: Array) -> None:
    """Somebody of either arm has the event."""
    if not events.all():
        raise ModelError(
            f"nobody who is {ARMS[int(events.argmin())]} has the event: check the event column, or follow people for "
            f"longer",
            about="no-events",
        )


def _balanced(arms: Arms, propensity: Weighed, sums: balance.Arms, verdict: Verdict) -> Flow[list[Record]]:
    """The table of balance."""
    if not arms.by.effect.balance:
        return []
    learned = propensity.learned
    frame = learned.model.frame
    weight = float(sums.weight[0]), float(sums.weight[1])
    own = keep(arms.own_balance, frame) if arms.by.effect.own_balance else None
    asks = balance.Asks(ask(arms.balanced, frame, weight), ask(arms.spreads, frame), own)
    return (yield from balance.asked(learned, sums, asks, verdict))


def _finding(effect: Effect, f: Found) -> Finding:
    """Effects, arms, curves, balance, overlap, propensity."""
    ratio = [] if f.cox is None else [_hazard_ratio(effect, f.cox)]
    tables: dict[str, list[Record]] = {
        "effects": [*ratio, *([] if f.curves is None else f.curves.effects)],
        "arms": [
            {"arm": arm, "n": round(f.arms.people[a]), "effective_n": float(f.arms.effective[a]),
             **count("events", float(f.events[a]), f.verdict.k)}
            for a, arm in enumerate(ARMS)
        ],
        **({} if f.curves is None else f.curves.tables),
    }  # fmt: skip
    facts: dict[str, Any] = {
        "estimator": effect.estimator, "estimand": effect.estimand,
        **({} if f.cox is None else {"baseline": effect.baseline, "ties": effect.ties, **_between(f.cox)}), **f.between,
        **({} if f.curves is None or not f.curves.grid else {"grid": f.curves.grid}),
    }  # fmt: skip
    notes = (() if f.cox is None else f.cox.notes) + (() if f.curves is None else f.curves.notes)
    said = few(f.events, "the event")
    if f.propensity is not None:
        learned, histogram = f.propensity.learned, f.propensity.overlap
        tables |= {"balance": f.balance, "overlap": histogram.records(), "propensity": learned.coefficients}
        facts |= {"equipoise": histogram.equipoise, "trimmed": histogram.outside(f.propensity.among.trim)}
        said += (*f.propensity.cautions, *balance.cautions(f.balance, f.arms, effect.estimand))
    tables["attrition"] = attrition(f.verdict)
    said += () if f.curves is None else f.curves.warnings
    return Finding(
        "effect", f.verdict.n, f.verdict.hospitals, tables, events=round(f.events.sum()), facts=facts,
        arrays={} if f.cox is None else {new: f.cox.arrays[name] for new, name in ARRAYS.items()},
        notes=notes, warnings=said, cite=_cited(effect),
    )  # fmt: skip


def _cited(effect: Effect) -> tuple[Citation, ...]:
    """The papers that an effect rests on."""
    own = {"iptw": (COLE, SHU), "gformula": (CHEN,), "aipw": (BAI, WESTLING)}[effect.estimator]
    own += (OZENNE,) if effect.standardises and each_cause(effect.outcome, effect.ground)[0] else ()
    own += (ROBINS,) if effect.censoring and not effect.standardises else ()
    own += (HIGGINS,) if effect.heterogeneity else ()
    own += (MCCAFFREY,) if effect.propensity == "boosting" else ()
    return (*own, *((OVERLAP,) if effect.estimand == "ATO" else ()), HERNAN)


def _between(cox: Finding) -> Mapping[str, Any]:
    """How hospitals differ, where it was asked."""
    return {name: cox.facts[name] for name in ("heterogeneity", "heterogeneity_p", "i2") if name in cox.facts}


def _hazard_ratio(effect: Effect, cox: Finding) -> Record:
    """The record of the hazard ratio; of a cause where causes compete."""
    estimate, se = float(cox.arrays["estimate"][0]), float(np.sqrt(cox.arrays["robust_vcov"][0, 0]))
    made = measures.record("hazard ratio", estimate, se)
    return {"measure": made.pop("measure"), "cause": effect.cause, **made} if effect.cause else made
