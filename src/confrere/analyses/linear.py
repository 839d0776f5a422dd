"""Linear regression over all hospitals at once: one Gram matrix, exact.

X'WX, X'Wy and y'Wy of standardised columns leave, once; the least-squares fit follows from them, and so do residual
variance, t tests, F, R squared, log-likelihood and AIC. The robust variance (HC0: White, Econometrica 1980;48:817)
needs one more ask, of the squares of what each person adds to the score. Matches R `lm`, `sandwich::sandwich`.
An offset is taken off the outcome first, as the model with a fixed coefficient of 1 says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses import cautions
from confrere.analyses.finding import Citation, Finding, Record, attrition, coefficients
from confrere.analyses.newton import check_collinear
from confrere.analyses.outcomes import (
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
from confrere.rounds import Array, Design, Flow, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import Ground, model_of
from confrere.study.imputation import Missing, imputing

WHITE = Citation(
    "White H. A heteroskedasticity-consistent covariance matrix estimator and a direct test for heteroskedasticity. "
    "Econometrica 1980;48:817-838",
    "10.2307/1912934",
)
LEGENDRE = Citation("Seber GAF, Lee AJ. Linear regression analysis. 2nd ed. Wiley 2003", "10.1002/9780471722199")
EXACT = 1e-13  # share of the outcome's variance that is left by terms that determine it


class Gram(NamedTuple):
    """Products of standardised terms (q of them, the intercept included) and outcome."""

    xtx: Sum  # (q, q), symmetric
    xty: Sum  # (q,)
    yty: Sum  # ()


class Meat(NamedTuple):
    """Sums of squares of what each person adds to the score."""

    meat: Sum  # (q, q), symmetric


class Least(NamedTuple):
    """The fit in its frame: coefficients (q,), inverse of X'WX with the ridge (q, q), sums of squares."""

    beta: Array
    inverse: Array
    rss: float  # of residuals
    tss: float  # of the outcome about its mean, about 0 without an intercept


@register("linear")
@dataclass(frozen=True)
class Linear:
    """Linear regression: `outcome ~ terms`, also `offset()` and `0 +` for no intercept.

    `weights` names a column of case weights (as R `lm(weights=)`: a residual's variance is inverse to them).
    `robust` adds HC0 standard errors, on which tests and limits then rest. `ridge` is theta in the penalty
    theta/2 sum(beta^2) on half the residual sum of squares, in units of the terms; the intercept is free.
    `missing` is `complete` (who misses a column is left out), `impute`, or an `Impute` that says how.

    Finding: tables `coefficients` (term `Intercept` first), `tests` (F, if there is an intercept and no ridge),
    `attrition`; facts `r_squared`, `sigma`, `log_likelihood`, ... Exact: equals R's lm on the pooled rows. Errors:
    ModelError for constant and collinear terms, an outcome that does not vary, or one that the terms determine.
    """

    formula: str
    weights: str = ""
    robust: bool = False
    ridge: float = 0.0
    missing: Missing = "complete"
    ground: Ground = Ground()

    def check(self) -> None:
        """The formula, against the levels that the study declares."""
        check_settings(self, two_levels=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients, `Intercept` first."""
        return terms_of(self)

    # inside each hospital

    def design(self, people: People) -> Design:
        """Raw terms and outcome."""
        return cases_of(people, self, lambda y, weighted: None, flag=False)

    @local(on="design")
    def start(self, people: People) -> Start:
        """Raw moments for standardising, of the outcome less the offset."""
        cases: Cases = people.design.data
        return started(people, cases.y - cases.offset, float(np.log(cases.w).sum()))

    @local(on="design")
    def gram(self, people: People, frame: Frame) -> Gram:
        """Products of standardised terms and outcome."""
        cases: Cases = people.design.data
        q = len(self.names)
        xtx, xty, yty = np.zeros((q, q)), np.zeros(q), 0.0
        for _, z, part in cases.blocks(frame):
            w, y = part.w / frame.unit, _outcome(part, frame)
            xtx += (z * w[:, None]).T @ z
            xty += (w * y) @ z
            yty += float(w @ y**2)
        return Gram(
            people.derived(xtx, cases.w, symmetric=True),
            people.derived(xty, cases.w),
            people.derived(np.asarray(yty), cases.w),
        )

    @local(on="design")
    def meat(self, people: People, beta: tuple[float, ...], frame: Frame) -> Meat:
        """Sums of squares of scores, for the robust variance."""
        cases: Cases = people.design.data
        total = np.zeros((len(beta), len(beta)))
        for _, z, part in cases.blocks(frame):
            residual = _outcome(part, frame) - z @ np.array(beta)
            scores = z * (part.w / frame.unit * residual)[:, None]
            total += scores.T @ scores
        return Meat(people.derived(total, symmetric=True))

    # sums only

    def flow(self) -> Flow[Finding]:
        """Standardise, one Gram matrix, and the robust variance if wanted."""
        if imputing(self):
            from confrere.analyses.impute import imputed

            return (yield from imputed(self))
        verdict = yield from support(self.design)
        s = yield from ask(self.start)
        enough(verdict.n, len(self.names))
        frame = self._frame(s, verdict.n)
        gram = yield from ask(self.gram, frame)
        least = self._solved(gram, frame)
        meat = None
        if self.robust:
            meat = (yield from ask(self.meat, tuple(least.beta.tolist()), frame)).meat.value
        return fitted(self, s, frame, least, verdict, meat)

    def _frame(self, s: Start, n: int) -> Frame:
        model = model_of(self.formula, self.ground)
        mean, variance = spread(s)
        centre, sd = standardised(s, model.names, model.intercept)
        reach = np.sqrt(variance if model.intercept else variance + mean**2)
        return Frame(
            centre, sd, mean if model.intercept else 0.0, float(reach), float(s.total.value) / n, model.intercept
        )

    def _solved(self, gram: Gram, frame: Frame) -> Least:
        check_collinear(gram.xtx.value, self.names)
        # the outcome is in units of `reach`, so that the penalty is the one on coefficients over reach squared
        pull = penalty(frame, self.ridge) / frame.reach**2
        inverse = np.linalg.inv(gram.xtx.value + np.diag(pull))
        beta = inverse @ gram.xty.value
        beta += inverse @ (gram.xty.value - gram.xtx.value @ beta - pull * beta)  # one refinement
        rss = float(gram.yty.value) - 2 * beta @ gram.xty.value + beta @ gram.xtx.value @ beta
        if rss <= EXACT * float(gram.yty.value):
            raise determined()
        return Least(beta, np.asarray(inverse), float(rss), _total(gram, frame))


def _outcome(cases: Cases, frame: Frame) -> Array:
    """The outcome less the offset in the frame: (n,)."""
    return (cases.y - cases.offset - frame.base) / frame.reach


def fitted(linear: Linear, s: Start, frame: Frame, least: Least, verdict: Verdict, meat: Array | None) -> Finding:
    """Coefficients in units of the terms, their variance, and how well they fit."""
    n, q, one = verdict.n, len(linear.names), int(frame.intercept)
    df = n - q
    scale = frame.unit * frame.reach**2  # a sum of squares of the frame in units of the outcome
    rss, tss = least.rss * scale, least.tss * scale
    dispersion = rss / df
    bread = least.inverse / (frame.unit * frame.reach**2)
    arrays = {"estimate": estimates(frame, least.beta), "vcov": covariance(frame, dispersion * bread)}
    robust = None
    if meat is not None:
        # the inverse is per unit of weight, as are the scores: the units cancel
        arrays["robust_vcov"] = covariance(frame, least.inverse @ meat @ least.inverse)
        robust = np.sqrt(np.diag(arrays["robust_vcov"]))
    se = np.sqrt(np.diag(arrays["vcov"]))
    r2 = 1 - rss / tss
    loglik = -n / 2 * (np.log(2 * np.pi * rss / n) + 1) + float(s.outcome.value[3]) / 2
    tests: list[Record] = [f_test(tss - rss, q - one, dispersion, df)] if one and q > one and not linear.ridge else []
    return Finding(
        method="linear", n=n, hospitals=verdict.hospitals,
        tables={
            "coefficients": coefficients(linear.names, arrays["estimate"], se, robust, df=df),
            **({"tests": tests} if tests else {}), "attrition": attrition(verdict),
        },
        facts={
            "r_squared": r2, "adjusted_r_squared": 1 - (1 - r2) * (n - one) / df, "sigma": float(np.sqrt(dispersion)),
            "dispersion": dispersion, "deviance": rss, "null_deviance": tss, "df_residual": df, "df_null": n - one,
            "log_likelihood": float(loglik), "aic": float(-2 * loglik + 2 * (q + 1)),
        },
        arrays=arrays, warnings=cautions.collinear(linear.names[one:], arrays["vcov"][one:, one:]),
        cite=(LEGENDRE, *((WHITE,) if robust is not None else ())),
    )  # fmt: skip


def _total(gram: Gram, frame: Frame) -> float:
    """Sum of squares of the outcome about its mean (about 0 without an intercept), in the frame."""
    if not frame.intercept:
        return float(gram.yty.value)
    # the frame's base is the mean to rounding only
    return float(gram.yty.value - gram.xty.value[0] ** 2 / gram.xtx.value[0, 0])
