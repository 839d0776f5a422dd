"""Cox's proportional hazards regression, exact over all hospitals at once.

Two baselines. `per hospital` (default): the likelihood is stratified by hospital, so that risk sets never leave
one; only p and p x p numbers do, and no baseline hazard or curve. `shared`: one baseline on the public grid of
times (see `cox_shared`). Ties by Efron (default) or Breslow.

Sources: Cox, JRSS B 1972;34:187; Efron, JASA 1977;72:557; Lin & Wei, JASA 1989;84:1074 (robust variance);
Grambsch & Therneau, Biometrika 1994;81:515 (proportional hazards, as the score test of R survival 3's cox.zph);
Therneau & Grambsch 2000. Matches R survival::coxph(... + strata(hospital)), cox.zph, concordance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses import cautions, concordance
from confrere.analyses.causes import cause_number, no_events, one_cause
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, chi_square, coefficients
from confrere.analyses.learning.left_out import LeavesOut, listed, wrong
from confrere.analyses.newton import Curve, Objective, Peak, Slope, maximise
from confrere.analyses.risksets import RiskSets, Tied, risk_sets, tied
from confrere.analyses.scaling import RAW, Scales, Standard, indicators, scales, standard
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Bools, Design, Flow, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import Ground, Rows, design_of, model_of
from confrere.study.imputation import Missing, check_imputing, imputing

CITE = (
    Citation("Cox DR. Regression models and life-tables. J R Stat Soc B 1972;34:187-220",
             "10.1111/j.2517-6161.1972.tb00899.x"),
    Citation("Efron B. The efficiency of Cox's likelihood function for censored data. JASA 1977;72:557-565",
             "10.1080/01621459.1977.10480613"),
)  # fmt: skip
ZPH = Citation("Grambsch PM, Therneau TM. Proportional hazards tests and diagnostics based on weighted residuals. "
               "Biometrika 1994;81:515-526", "10.1093/biomet/81.3.515")  # fmt: skip
LIN_WEI = Citation("Lin DY, Wei LJ. The robust inference for the Cox model. JASA 1989;84:1074-1078",
                   "10.1080/01621459.1989.10478874")  # fmt: skip

Beta = tuple[float, ...]


class Start(NamedTuple):
    """Raw moments of the terms, and of the event times for the tests of proportional hazards."""

    total: Sum  # () sum of weights
    first: Sum  # (p,)
    second: Sum  # (p,)
    events: Sum  # ()
    clock: Sum  # (4,) over events: t, t^2, log t, log^2 t


class Meat(NamedTuple):
    """Sums of squares of what each person adds to the score."""

    meat: Sum  # (p, p), symmetric


class Drift(NamedTuple):
    """Score and information of coefficients that drift with g(t)."""

    score: Sum  # (p,)
    cross: Sum  # (p, p) sum of g V, symmetric
    square: Sum  # (p, p) sum of g^2 V, symmetric


class Ranked(NamedTuple):
    """Weights of comparable pairs within hospitals."""

    pairs: Sum  # (3,) concordant, discordant, tied in risk


class Spread(NamedTuple):
    """The infinitesimal jackknife of the concordance."""

    square: Sum  # ()


class Sets(NamedTuple):
    """A hospital's rows and its risk sets."""

    rows: Rows
    sets: RiskSets
    weights: Array


@register("cox")
@dataclass(frozen=True)
class Cox(LeavesOut):
    """Cox's proportional hazards model: `Surv(time, event) ~ terms`, also `Surv(entry, time, event)` and `strata()`.

    `ties` is `efron` or `breslow`. `baseline` is `per hospital` (stratified by hospital) or `shared` (one baseline
    on the grid of times). `weights` names a column of case weights. `robust` adds Lin and Wei's variance by
    person. `ridge` is theta in the penalty theta/2 sum(beta^2), in units of the terms (R `ridge(scale=FALSE)`).
    `diagnostics` asks for the tests of proportional hazards and the concordance. Where causes compete, `cause` is
    the one whose events count, the others being censored (cause-specific hazards); without it every event counts.
    `missing` is `complete` (who misses a column is left out), `impute`, or an `Impute` that says how. `leave_out` are
    groups of hospitals, three at least: the table `left_out` says how good the model of all others is in each.

    Finding: tables `coefficients` (log hazard ratios, per unit of the term), `tests`, `proportional_hazards`,
    `attrition`; with a shared baseline also `baseline`. Exact: equals R's coxph on the pooled rows stratified by
    hospital. Errors: ModelError for constant, collinear and separating terms and for no events.
    """

    formula: str
    ties: str = "efron"
    baseline: str = "per hospital"
    weights: str = ""
    robust: bool = False
    ridge: float = 0.0
    diagnostics: bool = True
    cause: str = ""
    missing: Missing = "complete"
    leave_out: tuple[tuple[str, ...], ...] = ()
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        object.__setattr__(self, "leave_out", listed(self.leave_out))
        if self.ties not in ("efron", "breslow"):
            raise StudyError(f"ties is {self.ties!r}; it must be 'efron' or 'breslow'")
        if self.baseline not in ("per hospital", "shared"):
            raise StudyError(f"baseline is {self.baseline!r}; it must be 'per hospital' or 'shared'")
        if not 0 <= self.ridge < np.inf:
            raise StudyError(f"ridge is {self.ridge}; it must be 0 or a positive number")

    def check(self) -> None:
        """The formula, against the levels that the study declares."""
        model = model_of(self.formula, self.ground)
        if model.outcome is None or model.outcome.kind != "surv":
            raise FormulaError(
                f"{self.formula!r}: the outcome of a Cox model is Surv(time, event) or Surv(entry, time, event)"
            )
        if model.offsets:
            raise FormulaError(f"{self.formula!r}: offset() is not offered for Cox models; use it in a poisson model")
        if not model.names:
            raise FormulaError(f"{self.formula!r}: a Cox model needs at least one term")
        check_imputing(self)
        if found := next(wrong(self), ""):
            raise StudyError(found)
        if self.cause:
            cause_number(self.formula, self.ground, self.cause)

    @property
    def names(self) -> tuple[str, ...]:
        """The terms."""
        return model_of(self.formula, self.ground).names

    # inside each hospital

    def design(self, people: People) -> Design:
        """Raw terms, event, and risk sets."""
        return with_sets(self.rows(people))

    def rows(self, people: People) -> Design:
        """Raw terms and outcome of the complete rows; where `cause` is named, only its events are events."""
        made = design_of(people, self.formula, self.ground, weights=self.weights)
        return one_cause(made, cause_number(self.formula, self.ground, self.cause)) if self.cause else made

    @local(on="design")
    def start(self, people: People) -> Start:
        """Raw moments for standardising."""
        d, rows = people.design, people.design.data.rows
        s: Scales = scales(people)
        t = rows.time[rows.event > 0]
        logt = np.log(np.maximum(t, 1e-9))
        clock = np.array([t.sum(), (t**2).sum(), logt.sum(), (logt**2).sum()])
        return Start(*s, people.count(d.flags["event"]), people.derived(clock, d.weights, dims=("moments",), scale=RAW))

    @local(on="design", repeats=110)
    def slope(self, people: People, beta: Beta, standard: Standard) -> Slope:
        """Log-likelihood and score at standardised coefficients."""
        likelihood = Likelihood.at(people.design, beta, standard, self.ties == "efron")
        return Slope(
            people.derived(likelihood.loglik, likelihood.weights),
            people.derived(likelihood.score()),
        )

    @local(on="design", repeats=3)
    def curve(self, people: People, beta: Beta, standard: Standard) -> Curve:
        """The same, and the information."""
        likelihood = Likelihood.at(people.design, beta, standard, self.ties == "efron")
        return Curve(
            people.derived(likelihood.loglik, likelihood.weights),
            people.derived(likelihood.score()),
            people.derived(likelihood.information(), likelihood.weights, symmetric=True),
        )

    @local(on="design")
    def meat(self, people: People, beta: Beta, standard: Standard) -> Meat:
        """Sums of squares of score residuals, for the robust variance."""
        likelihood = Likelihood.at(people.design, beta, standard, self.ties == "efron")
        return Meat(people.moments(likelihood.score_residuals()))

    @local(on="design", repeats=2)
    def drift(
        self, people: People, beta: Beta, standard: Standard, transform: str, clock: tuple[float, float]
    ) -> Drift:
        """Score test of a coefficient that drifts with g(t): `transform` of time, standardised by `clock`."""
        likelihood = Likelihood.at(people.design, beta, standard, self.ties == "efron")
        times = likelihood.sets.times
        g = ((np.log(np.maximum(times, 1e-9)) if transform == "log" else times) - clock[0]) / clock[1]
        weights = likelihood.weights
        return Drift(
            people.derived(likelihood.drift(g), weights),
            people.derived(likelihood.information(g), weights, symmetric=True),
            people.derived(likelihood.information(g**2), weights, symmetric=True),
        )

    @local(on="design")
    def ranked(self, people: People, beta: Beta, standard: Standard) -> Ranked:
        """Comparable pairs within this hospital and its strata."""
        got = _pairs(people.design, beta, standard)
        return Ranked(people.derived(got.sums, people.design.weights, dims=("kinds",), scale=RAW))

    @local(on="design")
    def spread(self, people: People, beta: Beta, standard: Standard, c: float, total: float) -> Spread:
        """Sum over people of squared influence on the concordance `c`, of `total` comparable pairs."""
        got = _pairs(people.design, beta, standard)
        return Spread(people.derived((got.influence(c, total) ** 2).sum()))

    # sums only

    def flow(self) -> Flow[Finding]:
        """Standardise, climb, then variance and diagnostics; with groups, the same without each in turn."""
        if self.leave_out:
            from confrere.analyses.learning.elsewhere import left_out, of_times

            whole = replace(self, leave_out=())
            part = replace(whole, robust=False, diagnostics=False)
            return (yield from left_out(self, whole, part, of_times(self)))
        if imputing(self):
            from confrere.analyses.impute import imputed

            return (yield from imputed(self))
        if self.baseline == "shared":
            from confrere.analyses.cox_shared import shared

            return (yield from shared(self))
        verdict = yield from support(self.design)
        s = yield from ask(self.start)
        if not float(s.events.value):
            raise no_events(self.cause)
        raw = Scales(s.total, s.first, s.second)
        z = standard(raw, self.names)
        sd = np.array(z.sd)
        peak = yield from maximise(
            np.zeros(len(self.names)),
            Objective(lambda b: ask(self.slope, b, z), lambda b: self._first(b, z), self.names, self.ridge / sd**2),
        )
        beta = tuple(peak.beta.tolist())
        extra: Tables = {}
        facts: dict[str, Any] = {}
        meat: Array | None = None
        if self.robust:
            meat, facts = yield from self._squares(peak, z, verdict)
        if self.diagnostics:
            extra = yield from self._proportional(peak, beta, z, s, verdict.budget)
            facts |= yield from self._concordance(beta, z)
        beside = Beside(extra, facts, indicators(raw), meat)
        return fitted(self, peak, z, int(s.events.value), verdict, beside)

    def _squares(self, peak: Peak, z: Standard, verdict: Verdict) -> Flow[tuple[Array, dict[str, Any]]]:
        """Sums of squares (p, p) of what people move the score by at the maximum, and facts of that."""
        return (yield from ask(self.meat, tuple(peak.beta.tolist()), z)).meat.value, {}

    def _first(self, beta: Beta, z: Standard) -> Flow[Curve]:
        """The information, in which a term that no hospital varies in shows."""
        curve = yield from ask(self.curve, beta, z)
        information = np.diag(curve.information.value)
        for name, own in zip(self.names, information, strict=True):
            if not any(beta) and own < 1e-9 * max(1.0, information.max()):
                raise self._taken_up(name)
        return curve

    def _taken_up(self, name: str) -> ModelError:
        """What a baseline per hospital leaves nothing of."""
        return ModelError(
            f"term {name!r} is constant within every hospital, so a baseline per hospital takes it up. "
            f'Use baseline = "shared", or leave it out',
            about="constant-term",
        )

    def _proportional(self, peak: Peak, beta: Beta, z: Standard, s: Start, budget: int) -> Flow[Tables]:
        """Score tests of proportional hazards against time and log time, as far as the budget of numbers goes."""
        p, (t, tt, l, ll), d = len(beta), s.clock.value, float(s.events.value)
        records: list[Record] = []
        spent = 2 * p * (p + 1) + (p + 1) * peak.rounds + 3 * p
        for transform, total, square in (("identity", t, tt), ("log", l, ll)):
            spent += p + p * (p + 1)  # and as much again must be left: these matrices say most about the last at risk
            sd = float(np.sqrt(max(square / d - (total / d) ** 2, 0.0)))
            if 2 * spent > budget or sd <= 0:
                break
            got = yield from ask(self.drift, beta, z, transform, (float(total / d), sd))
            records += drifting(self.names, peak.information, got, transform)
        return {"proportional_hazards": records} if records else {}

    def _concordance(self, beta: Beta, z: Standard) -> Flow[dict[str, Any]]:
        """Harrell's C within hospitals and strata."""
        got = yield from ask(self.ranked, beta, z)
        total = float(got.pairs.value.sum())
        if total <= 0:
            return {}
        c = concordance.concordance(got.pairs.value)
        spread = yield from ask(self.spread, beta, z, c, total)
        return {"concordance": c, "concordance_se": float(np.sqrt(spread.square.value))}


Tables = dict[str, list[Record]]


def with_sets(made: Design) -> Design:
    """A design whose data are rows with their risk sets."""
    rows: Rows = made.data
    if rows.time is None or rows.event is None:
        raise FormulaError("the outcome must be Surv(time, event)")
    weights = np.ones(made.n) if rows.weights is None else rows.weights
    sets = risk_sets(rows.time, rows.event, rows.entry, rows.strata, weights)
    return replace(made, data=Sets(rows, sets, weights))


def _pairs(design: Design, beta: Beta, standard: Standard) -> concordance.Pairs:
    """Everybody's comparable pairs, which two steps need at the same coefficients."""
    return design.once(f"pairs at {beta}", lambda: _counted(design, beta, standard))


def _counted(design: Design, beta: Beta, standard: Standard) -> concordance.Pairs:
    rows: Rows = design.data.rows
    if rows.time is None or rows.event is None:
        raise FormulaError("the outcome must be Surv(time, event)")
    risk = np.round(standard.times(rows.x, beta), 10)  # people with the same terms tie, whatever the order of sums
    exits = concordance.Exits(rows.time, rows.event > 0, rows.strata)
    if rows.entry is not None:
        return concordance.late_pairs(exits, rows.entry, risk, design.data.weights)
    return concordance.pairs(exits.time, exits.event, risk, design.data.weights, exits.strata)


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Cox's partial likelihood of one hospital at given coefficients; x (n, p) raw, r and residual (n,)."""

    sets: RiskSets
    x: Array
    standard: Standard
    r: Array
    weights: Array
    ties: Tied
    loglik: Array
    residual: Array

    @staticmethod
    def at(design: Design, beta: Beta, standard: Standard, efron: bool) -> Likelihood:
        """Evaluate at standardised coefficients `beta` (p,)."""
        rows, sets, weights = design.data
        eta = standard.times(rows.x, beta)
        r = weights * np.exp(eta)
        ties = tied(sets.at_risk(r), sets.tied(r), sets.weight, sets.count, efron)
        dead = sets.dead
        loglik = weights[dead] @ eta[dead] - ties.log.sum()
        residual = -r * sets.exposed(ties.a, ties.c)
        residual[dead] += weights[dead]
        return Likelihood(sets, rows.x, standard, r, weights, ties, np.asarray(loglik), residual)

    def score(self) -> Array:
        """Derivatives of the log-likelihood by the standardised coefficients (p,)."""
        return self.standard.sums(self.x, self.residual)

    def drift(self, g: Array) -> Array:
        """Score of coefficients times g (T,) at each event time: (p,)."""
        residual = -self.r * self.sets.exposed(self.ties.a * g, self.ties.c * g)
        dead = self.sets.dead
        residual[dead] += self.weights[dead] * g[self.sets.own[dead]]
        return self.standard.sums(self.x, residual)

    @cached_property
    def firsts(self) -> tuple[Array, Array]:
        """S1 and D1, sums of r z over those at risk and over those with the event: (T, p) each."""
        return self.sets.firsts(self.standard.weighed(self.x, self.r))

    def information(self, g: Array | float = 1.0) -> Array:
        """Sum over event times of g (T,) times the variance of x in the risk set: (p, p)."""
        q = self.r * self.sets.exposed(self.ties.a * g, self.ties.c * g)
        return np.asarray(self.standard.products(self.x, q) - means_squared(self.ties, *self.firsts, g))

    def score_residuals(self) -> Array:
        """What each person adds to the score (n, p), weights included (Therneau & Grambsch, section 4.6)."""
        sets, t, (s1, d1) = self.sets, self.ties, self.firsts
        mean = (s1 * t.a[:, None] - d1 * t.c[:, None]) / np.maximum(sets.weight, 1e-300)[:, None]
        b = s1 * t.a2[:, None] - d1 * t.c2[:, None]
        c = s1 * t.c2[:, None] - d1 * t.e2[:, None]
        dead = sets.dead
        out = self.standard.of(self.x) * self.residual[:, None] + self.r[:, None] * sets.during(b)
        out[dead] -= self.r[dead, None] * c[sets.own[dead]] + self.weights[dead, None] * mean[sets.own[dead]]
        return np.asarray(out)


def means_squared(ties: Tied, s1: Array, d1: Array, g: Array | float = 1.0) -> Array:
    """Sum over event times and ties of g (W/d) m m', m = (S1 - f D1)/den; s1 and d1 (T, p): (p, p)."""
    cross = s1.T @ (d1 * (g * ties.c2)[:, None])
    return np.asarray(s1.T @ (s1 * (g * ties.a2)[:, None]) - cross - cross.T + d1.T @ (d1 * (g * ties.e2)[:, None]))


# The finding --------------------------------------------------------------------------------------------------


def drifting(names: tuple[str, ...], information: Array, got: Drift, transform: str) -> list[Record]:
    """Score tests of each term and of all at once, from sums; as R's cox.zph (survival 3)."""
    score, cross, square = got.score.value, got.cross.value, got.square.value
    left = square - cross @ np.linalg.solve(information, cross)
    statistics = score**2 / np.diag(left)
    rows = [chi_square(name, s, 1) for name, s in zip(names, statistics, strict=True)]
    rows.append(chi_square("GLOBAL", float(score @ np.linalg.solve(left, score)), len(names)))
    return [{"term": r.pop("test"), "transform": transform, **r} for r in rows]


class Beside(NamedTuple):
    """What a fit has beside its coefficients: tables, facts, which terms (p,) are 0 or 1, the meat (p, p) if robust."""

    tables: Tables
    facts: Mapping[str, Any]
    indicator: Bools
    meat: Array | None = None


def fitted(cox: Cox, peak: Peak, z: Standard, events: int, verdict: Any, beside: Beside) -> Finding:
    """Coefficients in units of the terms, their variance, and the tests of the whole model."""
    extra, facts, indicator, meat = beside
    sd = np.array(z.sd)
    penalised = peak.information + np.diag(cox.ridge / sd**2)
    bread = np.linalg.inv(penalised)
    estimate, vcov = peak.beta / sd, bread / np.outer(sd, sd)
    se = np.sqrt(np.diag(vcov))
    # what predictions are centred on; as R's coxph, which leaves indicators as they are
    arrays = {"estimate": estimate, "vcov": vcov, "centre": np.where(indicator, 0.0, np.array(z.mean))}
    robust = None
    if meat is not None:
        arrays["robust_vcov"] = (bread @ meat @ bread) / np.outer(sd, sd)
        robust = np.sqrt(np.diag(arrays["robust_vcov"]))
    if cox.ridge:
        arrays["vcov_sandwich"] = (bread @ peak.information @ bread) / np.outer(sd, sd)
    null = peak.null
    score = float(null.score.value @ np.linalg.solve(null.information.value, null.score.value))
    p = len(cox.names)
    ratio = 2 * (peak.loglik - float(null.loglik.value))
    tests = [
        chi_square("likelihood ratio", ratio, p),
        chi_square("Wald", float(estimate @ np.linalg.solve(vcov, estimate)), p),
        chi_square("score", score, p),
    ]
    return Finding(
        method="cox", n=verdict.n, events=events, hospitals=verdict.hospitals,
        tables={
            "coefficients": coefficients(cox.names, estimate, se, robust, exponent="hazard_ratio"),
            "tests": tests, **extra, "attrition": attrition(verdict),
        },
        facts={
            "log_likelihood": peak.loglik, "log_likelihood_null": float(null.loglik.value), "ties": cox.ties,
            "baseline": cox.baseline, "rounds_of_the_fit": peak.rounds, **facts,
        },
        arrays=arrays, warnings=_cautions(cox, arrays, cautions.unit_of(sd, indicator), (events, verdict.n), extra),
        notes=() if cox.baseline == "shared" else ("Stratified by hospital: each has its own baseline hazard.",),
        cite=(*CITE, *((ZPH,) if extra else ()), *((LIN_WEI,) if robust is not None else ())),
    )  # fmt: skip


def _cautions(
    cox: Cox, arrays: Mapping[str, Array], unit: Array, counts: tuple[int, int], extra: Tables
) -> tuple[Caution, ...]:
    """What asks the reader to act; `counts` are events and people."""
    events, n = counts
    tested = extra.get("proportional_hazards", [])
    return (
        *cautions.few_events(events, len(cox.names)),
        *cautions.unsure(cox.names, arrays["estimate"], arrays["vcov"], unit),
        *cautions.drifting_hazards(tested),
        *(cautions.untested_hazards(n, cox.baseline == "shared") if cox.diagnostics and not tested else ()),
    )
