"""A trial adjusted for what its people could expect anyway: a prognostic score, learned from patients outside it.

A model of the outcome is learned from historical controls, above all the patients of the hospitals; in the trial every
hospital, or the sponsor, computes its prediction m for its own people and takes it as one more covariate of a linear
model (PROCOVA). Since m comes from other people than the trial's, it is a covariate like any other: the effect keeps
its meaning and its limits their coverage whether the model is right or not, and where it is good they are narrower.

With SDs s_a of the outcome and correlations r_a with the score in the arms, of which a share p_1 is treated (p_0 not),
n times the variance of the adjusted difference is

    s_1^2/p_1 + s_0^2/p_0 + c/(p_0 p_1) (c - 2 (p_1 r_0 s_0 + p_0 r_1 s_1)),   c = p_0 r_0 s_0 + p_1 r_1 s_1

which for arms alike is s^2 (1 - r^2)/(p_0 p_1): a trial needs 1 - r^2 as many people as without the score.

Sources: Schuler, Walsh, Hall, et al., Int J Biostat 2022;18:329 (theorem 2 and its plan of a sample size); EMA,
Qualification opinion for Prognostic Covariate Adjustment, EMADOC-1700519818-907465, 2022; Yang & Tsiatis, Am Stat
2001;55:314 (the variance). Matches R `lm` with `sandwich` on the trial's people and scores by `glm`'s `predict`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from confrere.analyses.distributions import norm_cdf, norm_ppf
from confrere.analyses.effects import measures
from confrere.analyses.effects.nuisance import Fitted, Learned, learned, means
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition
from confrere.analyses.glm import Glm
from confrere.analyses.linear import Linear
from confrere.analyses.outcomes import Cases, Frame, Start, spread, standardised
from confrere.analyses.scaling import RAW
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.rounds import Array, Bools, Design, Flow, People, Sum, Verdict, ask, local, register, support, together
from confrere.study.counted import persons
from confrere.study.ground import Ground, design_of, model_of, narrowed

SCHULER = Citation(
    "Schuler A, Walsh D, Hall D, Walsh J, Fisher C. Increasing the efficiency of randomized trial estimates via linear "
    "adjustment for a prognostic score. Int J Biostat 2022;18:329-356",
    "10.1515/ijb-2021-0072",
)
YANG = Citation(
    "Yang L, Tsiatis AA. Efficiency study of estimators for a treatment effect in a pretest-posttest trial. Am Stat "
    "2001;55:314-321",
    "10.1198/000313001753272466",
)
SCORE = "prognostic score"
ARMS = ("control", "treated")
REST = "in the other part"  # nobody is counted so: one part less the other may be of a few
WEAK = 0.1  # a correlation under which a score gains nothing worth having
Family = Literal["gaussian", "binomial", "poisson"]


class Moments(NamedTuple):
    """By arm, controls first: people, outcome y, score m, yy, mm, ym, about a public centre in a public unit."""

    arms: Sum  # (2, 6)


@register("_prognosis")
@dataclass(frozen=True)
class Prognosis(Glm):
    """The prognostic model, of untreated people outside the trial."""

    trial: str = ""
    treatment: str = ""

    def design(self, people: People) -> Design:
        """Raw terms and outcome of the historical controls."""
        return outside(super().design(people), people, self.trial, self.treatment, self.ground)


@register("_adjusted")
@dataclass(frozen=True)
class Adjusted(Linear):
    """A linear model of the trial's people, who are complete in `whole`, a formula of all that any model needs."""

    trial: str = ""
    whole: str = ""

    def design(self, people: People) -> Design:
        """Raw terms and outcome of the trial's people."""
        made, _, x = self._trial(people)
        return self._of(made, x)

    def _trial(self, people: People) -> tuple[Design, Any, Array]:
        """The trial's people, their records, and the terms of the formula (n, p)."""
        made, frame = inside(people, self.whole, self.trial, self.ground)
        return made, frame, terms_of(self.formula, frame, self.ground)

    def _of(self, made: Design, x: Array) -> Design:
        cases = Cases(x, made.data.value, np.ones(made.n), np.zeros(made.n))
        x = np.column_stack([x, cases.y])
        return replace(made, data=cases, x=x, names=(*self.names[1:], "outcome"), flags={})


@register("_prognostic_score")
@dataclass(frozen=True)
class Scored(Adjusted):
    """The same, and the score that a `model` gives everybody."""

    model: Fitted | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients; the score is the last."""
        return (*super().names, SCORE)

    def design(self, people: People) -> Design:
        """Raw terms, score and outcome of the trial's people."""
        if self.model is None:
            raise StudyError("a score needs a model: use prognostic")
        made, frame, x = self._trial(people)
        score = means(terms_of(self.model.formula, frame, self.ground), self.model).mu
        return self._of(made, np.column_stack([x, score]))

    def _frame(self, s: Start, n: int) -> Frame:
        """As Linear's, the score among the terms."""
        mean, variance = spread(s)
        centre, sd = standardised(s, self.names[1:], True)
        return Frame(centre, sd, mean, float(np.sqrt(variance)), float(s.total.value) / n, True)

    @local(on="design")
    def moments(self, people: People, centre: float, unit: float) -> Moments:
        """Moments of outcome and score by arm."""
        cases: Cases = people.design.data
        arm, y, m = cases.x[:, 0], (cases.y - centre) / unit, (cases.x[:, -1] - centre) / unit
        columns = np.column_stack([np.ones(len(y)), y, m, y * y, m * m, y * m])
        return Moments(people.derived(np.array([1 - arm, arm]) @ columns, dims=("arms", "moments"), scale=RAW))


def outside(made: Design, people: People, trial: str, treatment: str, ground: Ground) -> Design:
    """The design of the historical controls, of a design of everybody."""
    made = narrowed(made, _mark(people, trial, ground, made.rows) == 0, REST)
    treated = model_of(f"{treatment} ~ 1", ground).evaluate(people.table.frame).value
    treated = np.zeros(0) if treated is None else treated[made.rows]  # it may be unknown here
    return replace(narrowed(made, treated != 1, REST), left_out={})


def inside(people: People, whole: str, trial: str, ground: Ground) -> tuple[Design, Any]:
    """The design of the trial's people, complete in a formula of all that any model needs; and their records."""
    everybody = design_of(people, whole, ground)
    made = narrowed(everybody, _mark(people, trial, ground, everybody.rows) == 1, REST)
    return replace(made, left_out=everybody.left_out), people.table.frame[made.rows]


def terms_of(formula: str, frame: Any, ground: Ground) -> Array:
    """The terms (n, p) of a formula on complete records."""
    return model_of(formula, ground).evaluate(frame, {name: (mean, sd) for name, mean, sd in ground.pooled}).x


def _mark(people: People, column: str, ground: Ground, rows: Bools) -> Array:
    """A column of 0 and 1, or of two levels, on some rows. DataError: another value."""
    value = model_of(f"{column} ~ 1", ground).evaluate(people.table.frame).value
    value = np.zeros(0) if value is None else value[rows]
    if bad := int(((value != 0) & (value != 1)).sum()):
        raise DataError(
            f"column {column!r} is neither 0 nor 1 for {persons(bad)}; declare its two levels, or recode it"
        )
    return np.asarray(value)


class Arms(NamedTuple):
    """By arm (2,), controls first: people, means and SDs of outcome and score, their correlation."""

    n: Array
    mean: Array
    sd: Array
    score: Array
    score_sd: Array
    r: Array

    def variance(self, share: float, r: Array) -> float:
        """n times the variance of the adjusted difference, of whom a share is treated, with correlations r (2,)."""
        p = np.array([1 - share, share])
        plain = float((self.sd**2 / p).sum())
        own, other = float((p * r * self.sd).sum()), float((p[::-1] * r * self.sd).sum())
        return plain + own * (own - 2 * other) / float(p.prod())


def arms_of(moments: Array, centre: float, unit: float) -> Arms:
    """From sums (2, 6). ModelError where nothing varies in an arm."""
    n, y, m, yy, mm, ym = moments.T
    y, m = y / n, m / n
    var, var_m, cov = yy / n - y**2, mm / n - m**2, ym / n - y * m
    if min(var.min(), var_m.min()) <= 1e-12:
        raise ModelError(
            "in an arm of the trial the outcome, or the score, is the same for everybody: check their columns"
        )
    free = np.sqrt(n / (n - 1)) * unit
    return Arms(
        n, centre + unit * y, np.sqrt(var) * free, centre + unit * m, np.sqrt(var_m) * free, cov / np.sqrt(var * var_m)
    )


@register("prognostic")
@dataclass(frozen=True)
class Prognostic:
    """The effect of a randomised treatment, adjusted for a prognostic score learned outside the trial (PROCOVA).

    `trial` says who is in the trial (1, or the second of two levels); the others are historical controls, and who of
    them is treated is left out. `treatment` is randomised in the trial; `outcome` is a column, or `Surv(time, event)`;
    `score` the right side of the prognostic model, of the `family` `gaussian`, `binomial` or `poisson`, of times to
    events Cox's, with the penalty `ridge`. `covariates` are terms that the trial adjusts for beside the score, such as
    what its randomisation was stratified by. `strata` is a column of declared levels, of which each has a baseline
    hazard of its own in Cox's models but that of the treatment alone, as each hospital has.

    With a `difference` (of times to events the logarithm of a hazard ratio), a future trial is planned: `power`,
    two-sided `alpha`, a `share` of its people treated, the correlations multiplied by `deflate` for prudence.

    Finding: tables `effects` (a record per `adjustment`; differences of means or risks, HC1; hazard ratios, robust),
    `prognosis` (an arm), `sample_size`, `attrition` and `learned` (coefficients of the prognostic model).
    Errors: ModelError where an arm is empty, nothing varies, terms are collinear or separate the outcome.
    """

    treatment: str
    outcome: str
    trial: str
    score: str
    family: Family = "gaussian"
    covariates: str = ""
    strata: str = ""
    ridge: float = 0.0
    difference: float | None = None
    power: float = 0.8
    alpha: float = 0.05
    share: float = 0.5
    deflate: float = 1.0
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings and formulas, against the levels that the study declares: StudyError, FormulaError."""
        _check(self)

    # public

    @property
    def formula(self) -> str:
        """All that is read in the trial, in one formula."""
        strata = f"strata({self.strata})" if self.strata else ""
        return " + ".join(filter(None, (f"{self.outcome} ~ {self.treatment}", self.covariates, self.score, strata)))

    @property
    def followed(self) -> bool:
        """Whether the outcome is the time to an event."""
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        return outcome is not None and outcome.kind == "surv"

    @property
    def formulas(self) -> tuple[str, ...]:
        """The formula of who is in the trial, which says what its column is."""
        return (f"{self.trial} ~ 1",)

    @property
    def reads(self) -> tuple[str, ...]:
        """The column of who is in the trial, and that of the strata."""
        return (self.trial, *filter(None, [self.strata]))

    @property
    def about(self) -> Ground:
        """Nobody is without a mark of being in the trial."""
        return replace(self.ground, complete=tuple(dict.fromkeys((*self.ground.complete, self.trial))))

    # sums only

    def flow(self) -> Flow[Finding]:
        """The prognostic model beside the unadjusted fits; then the adjusted fit beside moments by arm."""
        self.check()
        try:
            if self.followed:
                from confrere.analyses.effects.prognostic_times import followed

                return (yield from followed(self))
            return (yield from self._valued())
        except ModelError as error:
            arm = model_of(f"{self.outcome} ~ {self.treatment}", self.ground).names[0]
            if error.about == "constant-term" and repr(arm) in str(error):
                raise self._lacks_arms() from None
            raise

    def _lacks_arms(self) -> ModelError:
        """What to do where everybody in the trial has the same treatment."""
        model = "times" if self.followed else f"outcome_model = '{self.treatment} * ({self.score})'"
        return ModelError(
            f"{self.treatment!r} is the same for everybody in the trial ({self.trial}): it has no randomised arms to "
            f"compare. Compare it with the hospitals' controls by method 'effect', which learns from these what the "
            f"trial's people could expect: confounders = '{self.score}', estimator = 'aipw', estimand = 'ATT', {model}",
            about="constant-term",
        )

    def _valued(self) -> Flow[Finding]:
        """The flow of an outcome that is a number or a mark."""
        glm = Prognosis(
            f"{self.outcome} ~ {self.score}", self.family, ridge=self.ridge, ground=self.about, trial=self.trial,
            treatment=self.treatment,
        )  # fmt: skip
        plain = self._fit("")
        fits = {"none": plain.flow()} | ({"covariates": self._fit(self.covariates).flow()} if self.covariates else {})
        model, *found = yield from together(learned(glm, "the prognostic model"), *fits.values())
        named = dict(zip(fits, found, strict=True))
        centre, unit = float(named["none"].arrays["estimate"][0]), float(named["none"].facts["sigma"])
        last = Scored(**vars(self._fit(self.covariates)), model=model.model)
        scored, got = yield from together(last.flow(), ask(last.moments, centre, unit))
        named["covariates and score" if self.covariates else "score"] = scored
        verdict = yield from support(last.design)
        return _finding(self, Found(model, named, arms_of(got.arms.value, centre, unit), verdict))

    def _fit(self, covariates: str) -> Adjusted:
        formula = " + ".join(filter(None, (f"{self.outcome} ~ {self.treatment}", covariates)))
        return Adjusted(formula, robust=True, ground=self.about, trial=self.trial, whole=self.formula)


class Found(NamedTuple):
    """The prognostic model, the fits by adjustment, the arms, the verdict on the trial's people."""

    learned: Learned
    fits: dict[str, Finding]
    arms: Arms
    verdict: Verdict


def _finding(study: Prognostic, f: Found) -> Finding:
    """Effects by adjustment, arms, the plan of a trial."""
    measure = "risk difference" if study.family == "binomial" else "mean difference"
    effects, variances = [], []
    for name, fit in f.fits.items():
        q = len(fit.arrays["estimate"])
        variances.append(float(fit.arrays["robust_vcov"][1, 1]) * fit.n / (fit.n - q))  # HC1
        record = measures.record(measure, float(fit.arrays["estimate"][1]), float(np.sqrt(variances[-1])))
        effects.append(
            {"measure": measure, "adjustment": name, **record, "relative_variance": variances[-1] / variances[0]}
        )
    variance = [f.arms.variance(study.share, share * f.arms.r) for share in (0.0, study.deflate)]
    tables: dict[str, list[Record]] = {
        "effects": effects,
        "prognosis": [
            {"arm": arm, "n": round(f.arms.n[a]), "mean": float(f.arms.mean[a]), "std_dev": float(f.arms.sd[a]),
             "score_mean": float(f.arms.score[a]), "score_std_dev": float(f.arms.score_sd[a]),
             "correlation": float(f.arms.r[a]), "r_squared": float(f.arms.r[a] ** 2)}
            for a, arm in enumerate(ARMS)
        ],
        "sample_size": plan(study, *variance),
        "learned": f.learned.coefficients,
        "attrition": attrition(f.verdict),
    }  # fmt: skip
    facts: dict[str, Any] = {"family": study.family, "learned_from": f.learned.n, "r_squared": overall(f.arms)}
    return Finding(
        "prognostic",
        f.verdict.n,
        f.verdict.hospitals,
        tables,
        facts=facts,
        warnings=weak(f.arms),
        cite=(SCHULER, YANG),
    )


def plan(study: Prognostic, plain: float, scored: float, rate: float | None = None) -> list[Record]:
    """What a future trial needs, without and with the score, of which n times the variances are given: the variance,
    people, what is saved; and events, of which there are `rate` per person."""
    rows: list[Record] = []
    z = float(norm_ppf(1 - study.alpha / 2) + norm_ppf(study.power))
    for name, variance in (("none", plain), ("score", scored)):
        row: Record = {"adjustment": name, "variance": variance, "multiplier": variance / plain}
        if study.difference is not None:
            need = z**2 * variance / study.difference**2
            n = int(np.ceil(need))
            control = int(np.ceil(n * (1 - study.share) - 1e-9))
            row |= {} if rate is None else {"events": int(np.ceil(need * rate))}
            row |= {"n": n, "treated": n - control, "control": control}
            whole = rows[0] if rows else row
            row |= {"saved": whole["n"] - n, "control_saved": whole["control"] - control}
            # what the unadjusted number of people would reach
            row |= {"power": _power(study, variance, whole["n"])}
        rows.append(row)
    return rows


def _power(study: Prognostic, variance: float, n: int) -> float:
    """The power of a trial of n people."""
    z = abs(study.difference or 0.0) / np.sqrt(variance / n)
    return float(norm_cdf(z - norm_ppf(1 - study.alpha / 2)))


def overall(arms: Arms) -> float:
    """The mean of the arms' squared correlations, by people."""
    return float((arms.n * arms.r**2).sum() / arms.n.sum())


def weak(arms: Arms) -> tuple[Caution, ...]:
    """The caution of a score that says little, or the opposite, of the trial's outcome."""
    if arms.r.min() >= WEAK:
        return ()
    text = f"In an arm the score and the outcome have a correlation of {arms.r.min():.2f}"
    if arms.r.min() < -WEAK:
        text = (
            f"{text}: the score foretells the opposite of what happens. The effect adjusted for it holds, and may be "
            f"surer; its model does not hold for the trial's people. Are outcome and terms coded alike in and outside "
            f"the trial?"
        )
    else:
        text = (
            f"{text}: the trial's people are not those the model was learned from, or nothing is known that foretells "
            f"the outcome. Adjusting for it gains nothing."
        )
    return (Caution("weak-score", text),)


def _check(study: Prognostic) -> None:
    """Settings, and columns that stand where they should."""
    for name in (study.treatment, study.trial):
        levels = study.ground.schema.levels(name)
        if levels is not None and len(levels) != 2:
            raise FormulaError(f"{name!r} has {len(levels)} declared levels; it must have two, or be 0 or 1")
    outcome = model_of(f"{study.outcome} ~ 1", study.ground).outcome
    times = study.followed and outcome is not None and outcome.entry is None and len(outcome.causes) <= 2
    if not times and (outcome is None or outcome.kind != "value" or outcome.causes):
        raise FormulaError(
            f"outcome = {study.outcome!r}: name a column of numbers, or of 0 and 1, or write Surv(time, event)"
        )
    if study.strata and not times:
        raise StudyError("strata are of an outcome Surv(time, event); write C(column) in score")
    if times and study.family != "gaussian":
        raise StudyError(f"family is {study.family!r}; of a time to an event leave it out: the score is Cox's")
    right = {
        *model_of(f"~ {study.score}", study.ground).columns,
        *model_of(f"~ {study.covariates or 1}", study.ground).columns,
    }
    mine = [study.treatment, study.trial, *outcome_columns(study)]
    if both := sorted({name for name in mine if name in right or mine.count(name) > 1}):
        raise FormulaError(
            f"{both[0]!r} stands in two places of treatment, trial, outcome, score and covariates; name it once"
        )
    model = model_of(f"{study.outcome} ~ {study.score}", study.ground)
    if not model.names or not model.intercept or model.offsets or model.strata:
        raise FormulaError(f"score = {study.score!r}: give terms, and no 0 +, strata() nor offset()")
    if study.family not in ("gaussian", "binomial", "poisson"):
        raise StudyError(f"family is {study.family!r}; it must be gaussian, binomial or poisson")
    if not 0 <= study.ridge < float("inf"):
        raise StudyError(f"ridge is {study.ridge}; it must be 0 or a positive number")
    for name in ("power", "alpha", "share"):
        if not 0 < getattr(study, name) < 1:
            raise StudyError(f"{name} is {getattr(study, name)}; it must lie between 0 and 1")
    if not 0 <= study.deflate <= 1:
        raise StudyError(
            f"deflate is {study.deflate}; it must lie between 0 and 1: what correlations are multiplied by"
        )
    if study.difference is not None and not 0 < abs(study.difference) < float("inf"):
        raise StudyError(
            f"difference is {study.difference}; give the effect that a trial is planned for, which is not 0"
        )


def outcome_columns(study: Prognostic) -> tuple[str, ...]:
    """The columns that the outcome is made of."""
    return model_of(f"{study.outcome} ~ 1", study.ground).columns
