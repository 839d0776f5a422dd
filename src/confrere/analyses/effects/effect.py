"""The effect of a treatment, from what was observed: the settings of `method = "effect"`, and which file answers them.

The question is what the mean outcome would be, had everybody (or the treated, or the overlap population) been treated,
and had they not; it has an answer where no confounder is missing and everybody might have had either treatment. `means`
estimates it for outcomes that are numbers, marks or counts, by weighting (`weighting`), by standardising an outcome
model (`gformula`), or by both (`aipw`); `survival` for times to events, in the same ways.

Sources: Rosenbaum & Rubin, Biometrika 1983;70:41; Robins, Rotnitzky & Zhao, JASA 1994;89:846; Hernan & Robins, Causal
Inference: What If, 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from confrere.analyses.effects import controls, sensitivity
from confrere.analyses.effects.controls import Control, Diagnostics
from confrere.analyses.effects.nuisance import Among
from confrere.analyses.effects.weighting import Estimand, Weighting
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Flow, register
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, Ground, model_of

Estimator = Literal["iptw", "gformula", "aipw"]
Family = Literal["", "gaussian", "binomial", "poisson"]
Baseline = Literal["per hospital", "shared"]
Ties = Literal["efron", "breslow"]
SOLE = (
    "hospital_effects leaves out hospitals where the treatment does not vary, and beside another analysis one of them "
    "would be told by subtraction. Make a study of each, or give each its own hospitals with group"
)


@dataclass(frozen=True)
class Growth:
    """How the boosted trees of a propensity grow: the settings of `boosting` of these names."""

    trees: int = 100
    depth: int = 3
    learning_rate: float = 0.1
    bins: int = 32


@register("effect")
@dataclass(frozen=True)
class Effect:
    """The effect of `treatment` on `outcome`, given the `confounders`.

    `treatment` is a column, 0 or 1, or of two declared levels (the second is treated). `outcome` is a column or an
    expression; `confounders` the right side of a formula, as `age + C(stage)`. `estimator` is `iptw` (weighting by the
    inverse propensity, Hajek), `gformula` (standardising an outcome model) or `aipw` (both: right if either model is).
    `estimand` says for whom: `ATE`, `ATT`, `ATO` (overlap weights), `ATM` (matching weights). `family` is that of the
    outcome: `gaussian`, `binomial`, `poisson`; unless given, binomial where all are 0 or 1, else gaussian.

    `propensity` is `logistic`, `lasso` or `ridge` (the penalty by cross-validation), `boosting` (trees, which grow as
    `growth` says; class `histograms`), or the penalty of a ridge. `outcome_model` is the right side of the outcome
    model, the treatment among its terms; unless given, treatment and confounders.
    `stabilised` and `truncate`: see `Weighting`. `trim` are two bounds: people with a propensity beyond them are left
    out, and the propensity is fitted again. `hospital_effects` gives every hospital an intercept of its own in the
    propensity, which never leaves it; a study has no analysis beside it. `folds` of 2 or more cross-fit the models of
    `aipw` (`ATE`, `ATT`), by a keyed hash of the person.

    Where the outcome is `Surv(time, event)`, `iptw` gives the hazard ratio (`baseline` and `ties` as in `cox`; of the
    `cause`, where causes compete), and from the weighted curves risks at `times`, and the restricted mean until `tau`;
    `gformula` and `aipw` give the latter. `censoring` is the right side of a model of being censored, whose inverse
    weighs who stays ("1": by arm alone); `aipw` takes the confounders, unless it is given.

    `controls` are outcomes or treatments of which the effect is known: systematic error is learned from them, and the
    effect calibrated. `diagnostics` are thresholds; where one is missed, the airlock holds the result. `beside` are
    other outcomes that everybody must have too, so that several effects are about the same people. Without `balance`
    that table is not asked. With `own_balance` every hospital keeps the same of its own people, for its steward alone.
    `heterogeneity` tests whether hospitals differ in the difference of means, or in the hazard ratio; it names none.

    Finding: tables `effects` (a record per measure; ratios on the log scale, and as `ratio`), `arms`, `sensitivity`,
    with controls `controls` and `calibrated`, with thresholds `diagnostics`, with propensities `balance`, `overlap`,
    `propensity`; `attrition`. Standard errors account for the estimated models,
    but for trees (`aipw` with `folds` does), for which terms a lasso keeps, and for the choice of a penalty.
    Errors: ModelError where nobody or everybody is treated, a term separates the treatment, an arm has no outcome.
    """

    treatment: str
    outcome: str
    confounders: str
    estimator: Estimator = "iptw"
    estimand: Estimand = "ATE"
    family: Family = ""
    propensity: str | float = "logistic"
    growth: Growth | None = None
    outcome_model: str = ""
    stabilised: bool = False
    truncate: tuple[float, ...] = ()
    trim: tuple[float, ...] = ()
    hospital_effects: bool = False
    folds: int = 1
    baseline: Baseline = "per hospital"
    ties: Ties = "efron"
    cause: str = ""
    times: tuple[float, ...] = ()
    tau: float | None = None
    censoring: str = ""
    heterogeneity: bool = False
    controls: tuple[Control, ...] = ()
    diagnostics: Diagnostics | None = None
    beside: tuple[str, ...] = ()
    balance: bool = True
    own_balance: bool = False
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings and formulas, against the levels that the study declares: StudyError, FormulaError."""
        self.weighting  # noqa: B018  (its bounds are checked as it is made)
        _check_formulas(self)
        _check_choices(self)
        controls.check(self)
        if self.followed:
            from confrere.analyses.effects.survival import check

            check(self)
        elif self.times or self.tau is not None or self.cause or self.censoring:
            raise StudyError("times, tau, cause and censoring are of an outcome Surv(time, event); leave them out")

    # public

    @property
    def followed(self) -> bool:
        """Whether the outcome is the time to an event."""
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        return outcome is not None and outcome.kind == "surv"

    @property
    def formula(self) -> str:
        """Outcome, treatment, confounders and outcome model in one formula: all that the study reads."""
        more = "".join(f" + {right}" for right in (self.outcome_model, self.censoring) if right)
        return f"{self.outcome} ~ {self.treatment} + {self.confounders}{more}"

    @property
    def formulas(self) -> tuple[str, ...]:
        """The formulas of what is known, which say what their columns are."""
        return controls.formulas(self)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that controls, and outcomes beside this one, are made of."""
        return controls.columns(self)

    @property
    def title(self) -> str:
        """What it is about, in a few words of its own."""
        return f"{self.treatment}: {self.outcome}"

    @property
    def comparison(self) -> str:
        """The same, and by which weights the arms are compared: another estimand, or other confounders, has others."""
        return f"{self.title} ({self.estimand}, {self.confounders})"

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of the propensity."""
        return model_of(self.treating, self.ground).names

    @property
    def treating(self) -> str:
        """The formula of the propensity."""
        return f"{self.treatment} ~ {self.confounders}"

    @property
    def sole(self) -> str:
        """Why a study has no analysis beside this one, where it has none: it is about some hospitals only."""
        return SOLE if self.hospital_effects else ""

    @property
    def outcoming(self) -> str:
        """The formula of the outcome model."""
        return f"{self.outcome} ~ {self.outcome_model or f'{self.treatment} + {self.confounders}'}"

    @property
    def losing(self) -> str:
        """The terms of the model of censoring; those of the propensity, where weights against it cannot be left out."""
        return self.censoring or (self.confounders if self.estimator == "aipw" else "")

    @property
    def weighting(self) -> Weighting:
        """How propensities become weights."""
        return Weighting(self.estimand, self.truncate, self.stabilised)

    @property
    def weighs(self) -> bool:
        """Whether there is a propensity."""
        return self.estimator != "gformula"

    @property
    def standardises(self) -> bool:
        """Whether there is an outcome model."""
        return self.estimator != "iptw"

    @property
    def ridge(self) -> float:
        """The penalty of the propensity."""
        return 0.0 if isinstance(self.propensity, str) else float(self.propensity)

    @property
    def about(self) -> Ground:
        """The ground of every part: all parts are about the people who have all columns."""
        columns = {*self.ground.complete, *model_of(self.formula, self.ground).columns, *self.reads}
        marked = self.ground.marked(*self.times, *(() if self.tau is None else (self.tau,)))
        return replace(marked, complete=tuple(sorted(columns, key=lambda name: (name != LEFT, name))))

    @property
    def among(self) -> Among:
        """Whom the effect is about, before any trimming: outcome, treatment, terms of both models are defined."""
        outcomes = tuple(f"{outcome} ~ 1" for outcome in self.beside or (self.outcome,))
        needs = (*outcomes, self.treating, *((self.outcoming,) if self.standardises else ()))
        needs += (f"{self.outcome} ~ {self.censoring}",) if self.censoring else ()
        return Among(needs, self.treating if self.hospital_effects else "")

    # sums only

    def flow(self) -> Flow[Finding]:
        """The flow of the file that answers for this kind of outcome."""
        if self.controls or self.diagnostics is not None:
            return (yield from controls.controlled(self))
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        found = yield from ANSWERS[outcome.kind if outcome else "value"](self)
        table = sensitivity.of(found, model_of(f"{self.outcome} ~ 1", self.ground).columns)
        tables = {**found.tables, "sensitivity": table}
        return replace(found, tables=tables, cite=(*found.cite, sensitivity.VANDERWEELE))


def _means(effect: Effect) -> Flow[Finding]:
    from confrere.analyses.effects.means import estimated

    return estimated(effect)


def _survival(effect: Effect) -> Flow[Finding]:
    from confrere.analyses.effects.survival import estimated

    return estimated(effect)


ANSWERS: dict[str, Callable[[Effect], Flow[Finding]]] = {"value": _means, "surv": _survival}  # by kind of the left side


def _check_formulas(effect: Effect) -> None:
    """Outcome, treatment and confounders are three different things, and the treatment has two sides."""
    levels = effect.ground.schema.levels(effect.treatment)
    if levels is not None and len(levels) != 2:
        raise FormulaError(
            f"treatment = {effect.treatment!r} has {len(levels)} declared levels; it has two, or is 0 or 1"
        )
    treating = model_of(effect.treating, effect.ground)
    outcome = model_of(f"{effect.outcome} ~ 1", effect.ground).outcome
    if outcome is None or outcome.kind not in ANSWERS:
        raise FormulaError(f"outcome = {effect.outcome!r}: an effect needs a column there, such as outcome = 'recur'")
    if treating.columns.count(effect.treatment) != 1:
        raise FormulaError(f"treatment = {effect.treatment!r} is not a column; make a column of it, 0 or 1")
    rights = [("confounders", effect.treating), ("outcome_model", effect.outcoming)]
    rights += [("censoring", f"{effect.outcome} ~ {effect.censoring}")] if effect.censoring else []
    for name, formula in rights:
        model = model_of(formula, effect.ground)
        if not model.intercept or model.strata or model.offsets:
            raise FormulaError(f"{name}: {formula!r}: no 0 +, strata() nor offset() here; leave these out")
    _check_columns(effect, treating)


def _check_columns(effect: Effect, treating: Model) -> None:
    """No column stands on two sides."""
    sources = {"outcome": set(model_of(f"{effect.outcome} ~ 1", effect.ground).columns)}
    sources["treatment"] = {effect.treatment}
    right = set(model_of(f"~ {effect.confounders}", effect.ground).columns)
    for name, columns in sources.items():
        if both := sorted(columns & right):
            raise FormulaError(f"{both[0]!r} is the {name} and a confounder too: leave it out of the confounders")
    if sources["outcome"] & sources["treatment"]:
        raise FormulaError(f"{effect.treatment!r} is both treatment and outcome")
    if effect.treatment not in model_of(f"~ {effect.outcoming.partition('~')[2]}", effect.ground).columns:
        raise FormulaError(f"outcome_model = {effect.outcome_model!r} lacks the treatment {effect.treatment!r}: add it")
    if not treating.names:
        raise FormulaError("confounders has no term; name the columns that treatment and outcome both depend on")


def _check_choices(effect: Effect) -> None:
    """Settings that do not go together."""
    _check_propensity(effect)
    if effect.trim and not (len(effect.trim) == 2 and 0 <= effect.trim[0] < effect.trim[1] <= 1):
        raise StudyError(f"trim is {list(effect.trim)}; it is two bounds of the propensity, such as [0.1, 0.9]")
    if effect.folds < 1 or (effect.folds > 1 and effect.estimator != "aipw"):
        raise StudyError(f"folds is {effect.folds}; it is 1 (none), or 2 to 20 with estimator = 'aipw'")
    if effect.folds > 20:
        raise StudyError(f"folds is {effect.folds}; 20 is the most")
    if effect.folds > 1 and effect.estimand not in ("ATE", "ATT"):
        raise StudyError(
            f"folds is {effect.folds} and estimand {effect.estimand}: whom it is about follows from the estimated "
            f"propensity, which standard errors of folds do not account for; leave folds out, or take ATE or ATT"
        )
    if effect.folds > 1 and not effect.ground.person:
        raise StudyError("folds needs the column of person ids: person = ... under [data]")
    if effect.standardises and not effect.weighs and effect.estimand not in ("ATE", "ATT"):
        raise StudyError(f"estimand {effect.estimand} weighs people by their propensity; gformula has ATE and ATT")
    if effect.own_balance and not (effect.weighs and effect.balance):
        raise StudyError(
            "own_balance is of weighted people, beside the table balance: leave it out, or take iptw or aipw and leave "
            "out balance = false"
        )
    if effect.heterogeneity and not effect.weighs:
        raise StudyError("gformula has one model for all hospitals: leave heterogeneity out, or take iptw or aipw")
    shrunk = effect.ridge or effect.propensity in ("lasso", "ridge", "boosting")
    weighing = (effect.truncate, effect.trim, effect.stabilised, shrunk, effect.hospital_effects)
    if not effect.weighs and any(weighing):
        raise StudyError(
            "gformula has no propensity: leave out truncate, trim, stabilised, propensity and hospital_effects"
        )


def _check_propensity(effect: Effect) -> None:
    """Settings of the propensity."""
    kind = effect.propensity
    if isinstance(kind, str) and kind not in ("logistic", "lasso", "ridge", "boosting"):
        raise StudyError(
            f"propensity is {kind!r}; it is 'logistic', 'lasso', 'ridge', 'boosting', or a number: the penalty of a "
            f"ridge"
        )
    if effect.hospital_effects and effect.folds > 1:
        raise StudyError(
            "hospital_effects leaves out hospitals where the treatment does not vary, which would differ from fold to "
            "fold, and be told by subtraction: leave out hospital_effects, or folds"
        )
    if effect.hospital_effects and (other := {c.treatment for c in effect.controls} - {"", effect.treatment}):
        raise StudyError(
            f"hospital_effects leaves out hospitals where the treatment does not vary, and others for the control "
            f"{sorted(other)[0]!r}: one would be told by subtraction. Leave out hospital_effects, or have controls "
            f"that are outcomes"
        )
    if kind in ("lasso", "ridge", "boosting") and effect.hospital_effects:
        raise StudyError(
            f"a {kind} propensity has one intercept for all: leave hospital_effects out, or take propensity 'logistic'"
        )
    if kind in ("lasso", "ridge") and not effect.ground.person:
        raise StudyError(f"propensity {kind!r} deals people to folds: name their column, person = ... under [data]")
    if not 0 <= effect.ridge < float("inf"):
        raise StudyError(f"propensity is {kind}; as the penalty of a ridge it is 0 or positive")
    if kind != "boosting":
        if effect.growth is not None:
            raise StudyError("growth is of trees: leave it out, or take propensity 'boosting'")
        return
    if effect.estimator == "aipw" and effect.folds < 2:
        raise StudyError(
            "trees fit the people they were grown on too well: with propensity 'boosting', aipw needs folds, such as 5"
        )
    from confrere.analyses.effects.boosted import boosted

    boosted(effect, effect.among)  # its settings are checked as it is made
