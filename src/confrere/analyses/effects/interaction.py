"""Two treatments together: do they work better, or worse, than what each does alone lets expect? The settings.

The question of a factorial target trial, in which everybody has neither treatment, the first alone, the second alone,
or both. `four_flow` finds the four mean outcomes, and `joint` what they say: effects of either treatment without and
with the other, and interaction on the additive scale (do both together spare more people than the sum of what each
spares?) and on the multiplicative one. Where the outcome is a time to an event these are risks at times, read off
weighted curves. With the estimator `regression` the same comes of ratios given the confounders: of Cox's model hazard
ratios.

Sources: VanderWeele & Knol, Epidemiol Methods 2014;3:33; Hosmer & Lemeshow, Epidemiology 1992;3:452 (RERI and its
limits); Li & Chambless, Ann Epidemiol 2007;17:227 (hazards). Matches R `epiR::epi.interaction` for regressions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from confrere.analyses.effects.effect import Baseline, Family, Ties
from confrere.analyses.effects.nuisance import Among
from confrere.analyses.effects.weighting import Weighting
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Flow, register
from confrere.study.ground import LEFT, Ground, model_of

Estimator = Literal["iptw", "gformula", "aipw", "regression"]


@register("interaction")
@dataclass(frozen=True)
class Interaction:
    """Effects of treatments `first` and `second`, alone and together, on `outcome`, given the `confounders`.

    Either treatment is a column, 0 or 1, or of two declared levels (the second is treated). `outcome` is a column or an
    expression, or `Surv(time, event)` (`iptw`, `regression`); `confounders` the right side of a formula. `estimator` is
    `iptw` (weighting by the inverse propensity of the arm), `gformula`, `aipw` (both), or `regression`: ratios given
    the confounders, from one model with the product of the treatments. `family`: as of `Effect`. `outcome_model` is the
    right side of the outcome model, both treatments in it; unless given, their product and the confounders.
    `truncate` bounds the propensity of each treatment, or its weight: see `Weighting`. `ties` and `baseline`: as of
    `cox`. `iptw` of `Surv(time, event)` gives risks at `times`, means until `tau`.

    Finding: tables `effects` (a record per contrast, measure and time), `interaction` (per measure and time, with its
    `scale`), `arms` (the four), of weighted times `risks`, `rmst`, `curve`; `attrition`. Standard errors account for
    the estimated models. Errors: ModelError where an arm is empty, has no outcome or no curve, or a term separates a
    treatment.
    """

    first: str
    second: str
    outcome: str
    confounders: str
    estimator: Estimator = "iptw"
    family: Family = ""
    outcome_model: str = ""
    truncate: tuple[float, ...] = ()
    ties: Ties = "efron"
    baseline: Baseline = "per hospital"
    times: tuple[float, ...] = ()
    tau: float | None = None
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings and formulas, against the levels that the study declares: StudyError, FormulaError."""
        self.weighting  # noqa: B018  (its bounds are checked as it is made)
        _check_choices(self)
        _check_formulas(self)

    # public

    @property
    def treatments(self) -> tuple[str, str]:
        """Both."""
        return self.first, self.second

    @property
    def valued(self) -> dict[str, tuple[float, ...]]:
        """What values of columns are known beforehand."""
        return dict.fromkeys(self.treatments, (0.0, 1.0))

    @property
    def arms(self) -> tuple[str, str, str, str]:
        """Names of the four arms."""
        return "neither", f"{self.first} alone", f"{self.second} alone", "both"

    @property
    def followed(self) -> bool:
        """Whether the outcome is the time to an event."""
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        return outcome is not None and outcome.kind == "surv"

    @property
    def formula(self) -> str:
        """All that the study reads."""
        more = f" + {self.outcome_model}" if self.outcome_model else ""
        return f"{self.outcome} ~ {self.first} + {self.second} + {self.confounders}{more}"

    @property
    def treating(self) -> tuple[str, str]:
        """The formulas of the propensities: of the first treatment, and of the second given the first."""
        return f"{self.first} ~ {self.confounders}", f"{self.second} ~ {self.first} + {self.confounders}"

    @property
    def outcoming(self) -> str:
        """The formula of the outcome model."""
        return f"{self.outcome} ~ {self.outcome_model or f'{self.first} * {self.second} + {self.confounders}'}"

    @property
    def product(self) -> tuple[str, ...]:
        """The terms of the two treatments and of their product."""
        return model_of(f"~ {self.first} * {self.second}", self.ground).names

    @property
    def weighs(self) -> bool:
        """Whether there are propensities."""
        return self.estimator in ("iptw", "aipw")

    @property
    def standardises(self) -> bool:
        """Whether there is an outcome model that everybody is predicted by."""
        return self.estimator in ("gformula", "aipw")

    @property
    def weighting(self) -> Weighting:
        """How the propensity of a treatment becomes a weight; an arm's weight is the product of two."""
        return Weighting("ATE", self.truncate)

    @property
    def about(self) -> Ground:
        """The ground of every part: all parts are about the people who have all columns."""
        columns = {*self.ground.complete, *model_of(self.formula, self.ground).columns}
        return replace(self.ground, complete=tuple(sorted(columns, key=lambda name: (name != LEFT, name))))

    @property
    def among(self) -> Among:
        """Whom it is about: outcome, treatments and terms of all models are defined."""
        needs = (f"{self.outcome} ~ 1", *self.treating, *(() if self.followed else (self.outcoming,)))
        return Among(needs)

    # sums only

    def flow(self) -> Flow[Finding]:
        """The four arms, and what they say."""
        from confrere.analyses.effects.four_flow import estimated

        return (yield from estimated(self))


def _check_choices(study: Interaction) -> None:
    """Settings that do not go together."""
    if study.estimator not in ("iptw", "gformula", "aipw", "regression"):
        raise StudyError(f"estimator is {study.estimator!r}; it is 'iptw', 'gformula', 'aipw' or 'regression'")
    _check_times(study)
    if study.followed and (study.family or study.outcome_model):
        raise StudyError("an outcome Surv(time, event) has no family and no outcome_model: leave them out")
    if study.truncate and not study.weighs:
        raise StudyError(f"the estimator {study.estimator} has no propensity: leave out truncate")
    if study.estimator == "iptw" and study.outcome_model:
        raise StudyError("iptw has no outcome model: leave out outcome_model, or set estimator = 'aipw'")
    if study.ties not in ("efron", "breslow"):
        raise StudyError(f"ties is {study.ties!r}; it must be 'efron' or 'breslow'")
    if study.baseline not in ("per hospital", "shared"):
        raise StudyError(f"baseline is {study.baseline!r}; it must be 'per hospital' or 'shared'")


def _check_times(study: Interaction) -> None:
    """An outcome Surv(time, event) has risks at times, or hazard ratios."""
    asks = bool(study.times) or study.tau is not None
    if study.followed and study.estimator not in ("iptw", "regression"):
        raise StudyError(
            f"{study.estimator} knows no outcome Surv(time, event) of four arms: have the estimator iptw, or regression"
        )
    if study.followed and study.estimator == "iptw" and not asks:
        raise StudyError("iptw gives risks at times: set times or tau, or estimator = 'regression' for hazard ratios")
    if asks and not (study.followed and study.estimator == "iptw"):
        raise StudyError("times and tau are of iptw with an outcome Surv(time, event); leave them out")
    if any(not 0 < t < float("inf") for t in (*study.times, *(() if study.tau is None else (study.tau,)))):
        raise StudyError(f"times are {list(study.times)} and tau is {study.tau}; these are positive numbers")
    if len(set(study.times)) < len(study.times):
        raise StudyError(f"times are {list(study.times)}: name each once")


def _check_formulas(study: Interaction) -> None:
    """Outcome, treatments and confounders are different columns, and a treatment has two sides."""
    ground = study.ground
    outcome = model_of(f"{study.outcome} ~ 1", ground)
    if outcome.outcome is None or outcome.outcome.kind not in ("value", "surv"):
        raise FormulaError(f"outcome = {study.outcome!r}: give a column there, such as outcome = 'recur'")
    if len(outcome.outcome.causes) > 2 or outcome.outcome.entry is not None:
        raise FormulaError(f"outcome = {study.outcome!r}: one kind of event, from time zero; write Surv(time, event)")
    if study.first == study.second:
        raise FormulaError(f"first and second are both {study.first!r}; name two treatments")
    right = model_of(f"~ {study.confounders}", ground)
    if not right.names or not right.intercept or right.strata or right.offsets:
        raise FormulaError(f"confounders = {study.confounders!r}: give terms, without 0 +, strata() or offset()")
    for name in study.treatments:
        levels = ground.schema.levels(name)
        if levels is not None and len(levels) != 2:
            raise FormulaError(f"treatment {name!r} has {len(levels)} declared levels; it has two, or is 0 or 1")
        if model_of(f"~ {name}", ground).columns != (name,):
            raise FormulaError(f"treatment {name!r} is not a column; make a column of it, 0 or 1")
        if name in right.columns or name in outcome.columns:
            where = "confounders" if name in right.columns else "outcome"
            raise FormulaError(f"{name!r} is a treatment and in {where} too: leave it out there")
        if name not in model_of(f"~ {study.outcoming.partition('~')[2]}", ground).columns:
            raise FormulaError(f"outcome_model = {study.outcome_model!r} lacks the treatment {name!r}: add it")
    if study.estimator == "regression" and not set(study.product) <= set(model_of(study.outcoming, ground).names):
        raise FormulaError(f"outcome_model = {study.outcome_model!r}: write {study.first} * {study.second} in it")
    if both := sorted(set(right.columns) & set(outcome.columns)):
        raise FormulaError(f"{both[0]!r} is the outcome and a confounder too: leave it out of the confounders")
