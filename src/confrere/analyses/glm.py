"""Generalised linear models, the maximum of the pooled likelihood.

A first ask gives the frame (terms standardised, linear predictor counted from the mean outcome). Then `newton`: the
information at the first and at the last point, gradients between, `curvature` saying what to expect of them. At the
first it is the expected one, as in Fisher scoring, which never is indefinite; at the last the observed one, so that the
coefficients are the maximum. Where the link is not canonical these differ, and the expected one is asked once more for
the standard errors, as R has them. What is sent is divided by the variance of the outcome at its mean, so that no
number depends on the unit of the outcome. A trial step at which a hospital's means cannot be (an overflow, a mean of a
Poisson variable below 0) is answered by `NOWHERE` and halved.

The null model has a closed form; with an offset it is fitted beside the other in the same rounds. Dispersion is
Pearson's chi-squared over the residual degrees of freedom (gaussian, gamma) or 1. The robust variance is HC0.

Sources: Nelder & Wedderburn, J R Stat Soc A 1972;135:370; McCullagh & Nelder 1989; White, Econometrica 1980;48:817;
Albert & Anderson, Biometrika 1984;71:1 (separation). Matches R `glm`, `summary.glm`, `sandwich::sandwich`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses import cautions
from confrere.analyses.curvature import gaussian
from confrere.analyses.families import family_of
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, chi_square, coefficients
from confrere.analyses.likelihood import At, least_weight, likelihood
from confrere.analyses.linear import WHITE, Meat
from confrere.analyses.newton import FAR, Curve, Objective, Peak, Slope, check_collinear, maximise
from confrere.analyses.outcomes import (
    INTERCEPT,
    Cases,
    Frame,
    Start,
    cases_of,
    check_settings,
    covariance,
    determined,
    enough,
    estimates,
    f_test,
    penalty,
    spread,
    standardised,
    started,
    terms_of,
)  # fmt: skip
from confrere.analyses.scaling import Centred, Scales, indicators
from confrere.analyses.separation import NOWHERE, Watch, check_levels
from confrere.errors import ModelError
from confrere.rounds import Array, Design, Flow, People, Sum, Verdict, ask, local, register, support, together
from confrere.study.ground import Ground, model_of
from confrere.study.imputation import Missing, imputing

NELDER = Citation(
    "Nelder JA, Wedderburn RWM. Generalized linear models. J R Stat Soc A 1972;135:370-384", "10.2307/2344614"
)
REPEATS = 110  # slopes at most: 80 rounds, and the halvings of the last
EXPONENTS = {("binomial", "logit"): "odds_ratio", ("binomial", "log"): "risk_ratio", ("poisson", "log"): "rate_ratio"}

Beta = tuple[float, ...]


class Anchor(NamedTuple):
    """For a model without an intercept: what says where its linear predictor is nearest to a constant."""

    xtx: Sum  # (q, q), symmetric
    xt1: Sum  # (q,)


class Fisher(NamedTuple):
    """The expected information."""

    information: Sum  # (q, q), symmetric


class Last(NamedTuple):
    """Log-likelihood, score, observed information, and Pearson's chi-squared over the unit of the frame."""

    loglik: Sum  # ()
    score: Sum  # (q,)
    information: Sum  # (q, q), symmetric
    pearson: Sum  # ()


class Local(NamedTuple):
    """The likelihood of a hospital at coefficients: its value, score (q,) and information (q, q).

    `weights` (2, n) are those of the people: their contribution to sums of scores, and their expected information.
    `pearson` is Pearson's chi-squared over the unit of the frame, 0 unless the information is wanted.
    """

    loglik: float
    score: Array
    information: Array
    weights: Array
    pearson: float = 0.0


@register("glm")
@dataclass(frozen=True)
class Glm:
    """A generalised linear model: `outcome ~ terms`, also `offset()` and `0 +` for no intercept.

    `family` is `gaussian`, `binomial`, `poisson` or `gamma`; `link` one of `identity`, `log`, `inverse`, `sqrt`,
    `logit`, `probit`, `cloglog` that is usual for it, the canonical one unless named. `weights` names a column of case
    weights (with shares as a binomial outcome: of how many). `robust` adds HC0 standard errors, on which tests and
    limits then rest. `ridge` is theta in the penalty theta/2 sum(beta^2) on minus half the deviance, in units of the
    terms; the intercept is free.
    `missing` is `complete` (who misses a column is left out), `impute`, or an `Impute` that says how.

    Finding: tables `coefficients` (term `Intercept` first; odds, risk or rate ratios where they are natural), `tests`
    (likelihood ratio, or F where the dispersion is estimated), `attrition`; facts `deviance`, `aic`, `dispersion`, ...
    Exact: equals R's glm on the pooled rows. Errors: ModelError for constant, collinear and separating terms and for
    an outcome that does not vary; DataError in a hospital for outcomes that the family cannot have.
    """

    formula: str
    family: str = "gaussian"
    link: str = ""
    weights: str = ""
    robust: bool = False
    ridge: float = 0.0
    missing: Missing = "complete"
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        family_of(self.family, self.link)

    def check(self) -> None:
        """The formula, against the levels that the study declares."""
        check_settings(self, two_levels=self.family == "binomial")

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients, `Intercept` first."""
        return terms_of(self)

    @property
    def canonical(self) -> bool:
        """Whether the expected information is the observed one."""
        family, link = family_of(self.family, self.link)
        return link.name == family.links[0]

    # inside each hospital

    def design(self, people: People) -> Design:
        """Raw terms and outcome."""
        family, _ = family_of(self.family, self.link)
        return cases_of(people, self, family.check, flag=self.family == "binomial")

    @local(on="design")
    def start(self, people: People) -> Start:
        """Raw moments, for the frame."""
        family, _ = family_of(self.family, self.link)
        cases: Cases = people.design.data
        return started(people, cases.y, family.constant(cases.y, cases.w))

    @local(on="design")
    def anchor(self, people: People, frame: Frame) -> Anchor:
        """Products of standardised terms, where there is no intercept to start from."""
        cases: Cases = people.design.data
        xtx, xt1 = np.zeros((len(self.names),) * 2), np.zeros(len(self.names))
        for _, z, _ in cases.blocks(frame):
            xtx += z.T @ z
            xt1 += z.sum(axis=0)
        return Anchor(people.derived(xtx, symmetric=True), people.derived(xt1))

    @local(on="design", repeats=REPEATS)
    def slope(self, people: People, beta: Beta, frame: Frame) -> Slope:
        """Log-likelihood and score."""
        return _slope(people, self.local_of(people.design.data, beta, frame))

    @local(on="design")
    def curve(self, people: People, beta: Beta, frame: Frame) -> Curve:
        """The same, and the expected information."""
        return _curve(people, self.local_of(people.design.data, beta, frame, "expected"), False)

    @local(on="design", repeats=2)
    def last(self, people: People, beta: Beta, frame: Frame) -> Last:
        """The same at the maximum: the observed information, and Pearson's chi-squared."""
        observed = not self.canonical
        got = self.local_of(people.design.data, beta, frame, _kind(observed))
        return Last(*_curve(people, got, observed), people.derived(np.asarray(got.pearson), got.weights[0]))

    @local(on="design")
    def fisher(self, people: People, beta: Beta, frame: Frame) -> Fisher:
        """The expected information, for the variance."""
        got = self.local_of(people.design.data, beta, frame, "expected")
        return Fisher(people.derived(got.information, got.weights[1], symmetric=True))

    @local(on="design", repeats=REPEATS)
    def null_slope(self, people: People, beta: Beta, frame: Frame) -> Slope:
        """`slope` of the model of an intercept and the offset."""
        return _slope(people, self.local_of(*_null(people.design.data, beta, frame)))

    @local(on="design", repeats=3)
    def null_curve(self, people: People, beta: Beta, frame: Frame, observed: bool) -> Curve:
        """`curve` of the model of an intercept and the offset."""
        return _curve(people, self.local_of(*_null(people.design.data, beta, frame), _kind(observed)), observed)

    @local(on="design")
    def meat(self, people: People, beta: Beta, frame: Frame) -> Meat:
        """Sums of squares of scores, for the robust variance."""
        terms, cases = Centred.of(frame.mean, frame.sd, frame.intercept), people.design.data
        total = np.zeros_like(terms.to)
        for rows, part in terms.blocks(cases.x):
            if (at := self._at(cases.at(rows), terms.times(part, np.array(beta)), frame)) is not None:
                total += terms.products(part, at.score**2)
        return Meat(people.derived(terms.to.T @ total @ terms.to, symmetric=True))

    def _at(self, cases: Cases, z: Array, frame: Frame, wanted: str = "") -> At | None:
        """The likelihood of people at standardised terms times coefficients z (n,); None if a mean cannot be there."""
        # numbers may overflow on a trial step; that is what is looked for
        with np.errstate(all="ignore"):
            eta = frame.base + frame.reach * z + cases.offset
            got = likelihood(cases, eta, frame, family_of(self.family, self.link), wanted)
            return got if got is not None and np.isfinite(got.loglik) and np.isfinite(got.expected.sum()) else None

    def local_of(self, cases: Cases, beta: Beta, frame: Frame, wanted: str = "") -> Local:
        """The likelihood of a hospital, with the information if `wanted` ("expected" or "observed").

        A log-likelihood of `NOWHERE`, and no derivatives, if a mean cannot be there.
        """
        q, n, b = len(beta), len(cases.y), np.array(beta)
        loglik, score, information, weights, pearson = 0.0, np.zeros(q), np.zeros((q, q)), np.empty((2, n)), 0.0
        least = least_weight(frame, family_of(self.family, self.link))
        terms = Centred.of(frame.mean, frame.sd, frame.intercept)
        for rows, part in terms.blocks(cases.x):
            at = self._at(cases.at(rows), terms.times(part, b), frame, wanted)
            if at is None or loglik + at.loglik <= NOWHERE:
                return Local(NOWHERE, np.zeros(q), np.zeros((q, q)), np.array([cases.w, np.zeros(n)]))
            loglik += at.loglik
            score += terms.sums(part, at.score)
            weights[0, rows] = at.expected + (at.expected if least is None else least * at.weight)
            weights[1, rows] = at.expected
            pearson += at.pearson
            if wanted:
                information += terms.products(part, at.information)
        return Local(loglik, score @ terms.to, terms.to.T @ information @ terms.to, weights, pearson)

    # sums only

    def flow(self) -> Flow[Finding]:
        """The frame, the climb (the null model beside it), then dispersion and robust variance."""
        if imputing(self):
            from confrere.analyses.impute import imputed

            return (yield from imputed(self))
        fit, verdict = yield from self.fit()
        return fitted(self, fit, verdict)

    def fit(self) -> Flow[tuple[Fit, Verdict]]:
        """What the finding is made of, in the frame of the fit: for methods that go on from it."""
        verdict = yield from support(self.design)
        s = yield from ask(self.start)
        enough(verdict.n, len(self.names))
        frame = self.frame_of(s, verdict.n)
        start = np.zeros(len(self.names))
        if not frame.intercept:
            start = yield from self._anchored(s, frame)
        peak, chi, null = yield from self._climbs(start, s, frame)
        beta = tuple(peak.beta.tolist())
        more: dict[str, Flow[Any]] = {} if self.canonical else {"information": ask(self.fisher, beta, frame)}
        more |= {"meat": ask(self.meat, beta, frame)} if self.robust else {}
        sums = yield from together(*more.values())
        got = {name: s[0].value for name, s in zip(more, sums, strict=True)}
        kinds = {"information": peak.information, "pearson": chi, "meat": None}
        return Fit(s, frame, peak, null, **kinds | got), verdict

    def frame_of(self, s: Start, n: int) -> Frame:
        """The frame of the fit of n people, from raw moments."""
        family, link = family_of(self.family, self.link)
        model = model_of(self.formula, self.ground)
        mean, variance = spread(s)
        centre, sd = standardised(s, model.names, model.intercept)
        if family.separable and not self.ridge:
            check_levels(s, model.names, model.intercept, self.family)
        if mean <= 0 and link.name in ("log", "inverse", "sqrt"):
            raise ModelError(
                f"the mean outcome is not above 0, where the link {link.name!r} has no value. Use identity"
            )
        size = float(np.sqrt(variance if model.intercept else variance + mean**2))
        reach = {"identity": size, "inverse": 1 / abs(mean), "sqrt": float(np.sqrt(abs(mean)))}.get(link.name, 1.0)
        total = float(s.total.value)
        base = link.of(mean) - float(s.outcome.value[2]) / total if model.intercept else 0.0
        return Frame(centre, sd, base, reach, total / n * family.unit(mean, variance), model.intercept)

    def _anchored(self, s: Start, frame: Frame) -> Flow[Array]:
        """Where the linear predictor of a model without an intercept is nearest to that of the mean outcome."""
        _, link = family_of(self.family, self.link)
        total = float(s.total.value)
        target = link.of(float(s.outcome.value[0]) / total) - float(s.outcome.value[2]) / total
        got = yield from ask(self.anchor, frame)
        check_collinear(got.xtx.value, self.names)
        return np.asarray(np.linalg.solve(got.xtx.value, got.xt1.value)) * target / frame.reach

    def _climbs(self, start: Array, s: Start, frame: Frame) -> Flow[tuple[Peak, Array, float | None]]:
        """The fit, its chi-squared, and the log-likelihood of the null model, None where it has none; in the frame."""
        full = self._maximise(start, s, frame)
        if not frame.intercept:
            peak, chi = yield from full
            at_zero = yield from ask(self.slope, (0.0,) * len(start), frame)
            value = float(at_zero.loglik.value)
            return peak, chi, value if value > NOWHERE else None
        if not model_of(self.formula, self.ground).offsets:
            peak, chi = yield from full
            return peak, chi, float(peak.null.loglik.value)
        watch = Watch((INTERCEPT,), False, np.inf, [])
        null = maximise(
            np.zeros(1),
            Objective(
                lambda b: ask(self.null_slope, b, frame),
                lambda b: watch.curve(lambda last: ask(self.null_curve, b, frame, last and not self.canonical)),
                (INTERCEPT,),
                far=np.inf,
            ),
        )
        (peak, chi), least = yield from together(full, null)
        return peak, chi, least.loglik

    def _maximise(self, start: Array, s: Start, frame: Frame) -> Flow[tuple[Peak, Array]]:
        """The fit, and Pearson's chi-squared where its last information was asked."""
        family, link = family_of(self.family, self.link)
        watch = Watch(self.names, family.separable and not self.ridge, _perfect(s, self), [])
        chi = np.zeros(())

        def curve(beta: Beta, last: bool) -> Flow[Curve]:
            nonlocal chi
            if not last:
                return (yield from ask(self.curve, beta, frame))
            loglik, score, information, pearson = yield from ask(self.last, beta, frame)
            chi = pearson.value
            return Curve(loglik, score, information)

        objective = Objective(
            lambda b: watch.slope(ask(self.slope, b, frame)),
            lambda b: watch.curve(lambda last: curve(b, last)),
            self.names,
            penalty(frame, self.ridge),
            FAR if watch.separable else np.inf,
        )
        if frame.intercept and family.everywhere(link.name):
            objective = objective._replace(model=gaussian(family, link, frame))
        peak = yield from maximise(start, objective)
        return peak, chi


# Inside a hospital --------------------------------------------------------------------------------------------


def _null(cases: Cases, beta: Beta, frame: Frame) -> tuple[Cases, Beta, Frame]:
    """The arguments of `_local` for the model of an intercept and the offset."""
    return cases._replace(x=cases.x[:, :0]), beta, frame._replace(mean=(), sd=())


def _kind(observed: bool) -> str:
    return "observed" if observed else "expected"


def _slope(people: People, got: Local) -> Slope:
    return Slope(people.derived(np.asarray(got.loglik), got.weights[0]), people.derived(got.score, got.weights[0]))


def _curve(people: People, got: Local, observed: bool) -> Curve:
    # the observed one is made of residuals, as the score is: the same people carry it
    information = people.derived(got.information, got.weights[0 if observed else 1], symmetric=True)
    return Curve(*_slope(people, got), information)


# The finding --------------------------------------------------------------------------------------------------


class Fit(NamedTuple):
    """What a flow found: everything that the finding is made of."""

    start: Start
    frame: Frame
    peak: Peak
    null: float | None  # log-likelihood of the null model, in the frame
    information: Array  # the expected one
    pearson: Array  # (), over the unit
    meat: Array | None

    @property
    def chi2(self) -> float:
        """Pearson's chi-squared."""
        return float(self.pearson) * self.frame.unit


def fitted(glm: Glm, fit: Fit, verdict: Verdict) -> Finding:
    """Coefficients in units of the terms, their variance, and how well they fit."""
    family, link = family_of(glm.family, glm.link)
    frame, n, q = fit.frame, verdict.n, len(glm.names)
    df = n - q
    dispersion = fit.chi2 / df if family.estimated else 1.0
    bread = np.linalg.inv(fit.information + np.diag(penalty(frame, glm.ridge)))
    arrays = {"estimate": estimates(frame, fit.peak.beta), "vcov": covariance(frame, bread) * dispersion / frame.unit}
    robust = None
    if fit.meat is not None:
        # both are over the unit, so that it cancels
        arrays["robust_vcov"] = covariance(frame, bread @ fit.meat @ bread)
        robust = np.sqrt(np.diag(arrays["robust_vcov"]))
    if glm.ridge:
        middle = bread @ fit.information @ bread
        arrays["vcov_sandwich"] = covariance(frame, middle) * dispersion / frame.unit
    se = np.sqrt(np.diag(arrays["vcov"]))
    exponent = EXPONENTS.get((glm.family, link.name), "")
    events = int(fit.start.events.value) if _counts_people(glm, fit.start) else None
    tests = _tests(glm, fit, dispersion, df)
    return Finding(
        method="glm", n=n, events=events, hospitals=verdict.hospitals,
        tables={
            "coefficients": coefficients(
                glm.names, arrays["estimate"], se, robust, exponent, df if family.estimated else np.inf
            ),
            **({"tests": tests} if tests else {}), "attrition": attrition(verdict),
        },
        facts=_facts(glm, fit, n, dispersion), arrays=arrays, warnings=_cautions(glm, fit, arrays, n, events),
        cite=(NELDER, *((WHITE,) if robust is not None else ())),
    )  # fmt: skip


def _perfect(s: Start, glm: Glm) -> float:
    """The log-likelihood above which coefficients separate the outcome completely; infinite where none do.

    While anybody of outcome 0 or 1 is on the wrong side of 1/2, the log-likelihood is at most -log 2 of the weight,
    which is 1 in the frame without case weights; with them a thousandth is taken for the least.
    """
    if not _counts_people(glm, s):
        return np.inf
    return -float(np.log(2)) * (1e-3 if glm.weights else 1.0)


def _counts_people(glm: Glm, s: Start) -> bool:
    """Whether the outcome is 0 or 1 for everybody."""
    y, yy = s.outcome.value[:2]
    return glm.family == "binomial" and bool(abs(y - yy) <= 1e-11 * y)


def _tests(glm: Glm, fit: Fit, dispersion: float, df: int) -> list[Record]:
    """All terms against the null model; none without an intercept, in which it would not be nested, or with a ridge."""
    terms = len(glm.names) - 1
    if fit.null is None or not fit.frame.intercept or not terms or glm.ridge:
        return []
    explained = 2 * (fit.peak.loglik - fit.null) * fit.frame.unit
    if family_of(glm.family, glm.link)[0].estimated:
        return [f_test(explained, terms, dispersion, df)]
    return [chi_square("likelihood ratio", explained, terms)]


def _facts(glm: Glm, fit: Fit, n: int, dispersion: float) -> dict[str, Any]:
    family, link = family_of(glm.family, glm.link)
    deviance, total = -2 * fit.peak.loglik * fit.frame.unit, float(fit.start.total.value)
    if family.estimated and deviance <= 1e-13 * n * fit.frame.unit:
        raise determined()
    loglik = family.log_likelihood(deviance, float(fit.start.outcome.value[3]), n, total)
    q = len(glm.names)
    return {
        "family": glm.family, "link": link.name, "log_likelihood": loglik,
        "aic": -2 * loglik + 2 * (q + family.estimated), "deviance": deviance,
        "null_deviance": None if fit.null is None else -2 * fit.null * fit.frame.unit,
        "df_residual": n - q, "df_null": n - int(fit.frame.intercept), "dispersion": dispersion,
        "pearson_chi2": fit.chi2, "rounds_of_the_fit": fit.peak.rounds,
    }  # fmt: skip


def _cautions(glm: Glm, fit: Fit, arrays: dict[str, Array], n: int, events: int | None) -> tuple[Caution, ...]:
    """What asks the reader to act: few people with the rarer outcome, separation, collinearity, overdispersion."""
    one = int(fit.frame.intercept)
    names, vcov = glm.names[one:], arrays["vcov"][one:, one:]
    found: tuple[Caution, ...] = ()
    if events is not None:
        found += cautions.few_events(min(events, n - events), len(names), "people have the rarer outcome,")
    if family_of(glm.family, glm.link)[0].separable:
        raw = Scales(fit.start.total, fit.start.first, fit.start.second)
        unit = cautions.unit_of(np.array(fit.frame.sd), indicators(raw))
        found += cautions.unsure(names, arrays["estimate"][one:], vcov, unit)
    else:
        found += cautions.collinear(names, vcov)
    # of single outcomes of 0 and 1 the chi-squared says nothing
    counts = {"poisson": "counts", "binomial": "shares"}.get(glm.family) if events is None else None
    if counts and not glm.robust:
        found += cautions.overdispersed(fit.chi2 / (n - len(glm.names)), counts)
    return found
