"""Rubin's rules: one finding of several completed tables, and what its reader should know of the imputation.

With m estimates Q and their variances U: the estimate is their mean, its variance T = mean U + (1 + 1/m) B, with B the
variance of Q between tables; degrees of freedom by Barnard and Rubin; all terms at once by the pooled Wald test D1.
Sources: Rubin 1987; Barnard & Rubin, Biometrika 1999;86:948; Li, Raghunathan & Rubin, JASA 1991;86:1065 (D1). Matches R
`mice::pool`, `mitml::testModels` (D1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from confrere.analyses.distributions import f_sf
from confrere.analyses.finding import SHORT, Caution, Citation, Finding, Record, coefficients
from confrere.rounds import Array
from confrere.study.imputation import Impute

if TYPE_CHECKING:
    from confrere.analyses.impute import Chained, Plan, Traces

RUBIN = Citation("Rubin DB. Multiple imputation for nonresponse in surveys. Wiley 1987", "10.1002/9780470316696")
BARNARD = Citation(
    "Barnard J, Rubin DB. Small-sample degrees of freedom with multiple imputation. Biometrika 1999;86:948-955",
    "10.1093/biomet/86.4.948",
)
MICE = Citation(
    "van Buuren S, Groothuis-Oudshoorn K. mice: multivariate imputation by chained equations in R. J Stat Softw "
    "2011;45(3):1-67", "10.18637/jss.v045.i03",
)  # fmt: skip
WHITE_ROYSTON = Citation(
    "White IR, Royston P. Imputing missing covariate values for the Cox model. Stat Med 2009;28:1982-1998",
    "10.1002/sim.3618",
)
HIGH = 0.5  # fraction of missing information
FEW = 5  # imputations
MIXED = 1.1  # rhat
LEAST = 1e-4  # share of the variance due to missing values, at least, in degrees of freedom (as mice)


class Pooled(NamedTuple):
    """Estimates (p,), their total variance (p, p) and by term: its square root, degrees of freedom, riv, fmi."""

    estimate: Array
    vcov: Array
    se: Array
    df: Array
    riv: Array
    fmi: Array


def pool(estimates: Array, variances: Array, df: float) -> Pooled:
    """Rubin's rules for estimates (m, p) and variances (m, p, p); `df` is that of complete data, perhaps infinite."""
    m = len(estimates)
    within, between = variances.mean(axis=0), np.cov(estimates.T, ddof=1).reshape(variances.shape[1:])
    total = within + (1 + 1 / m) * between
    u, b, t = np.diag(within), np.diag(between), np.diag(total)
    riv = (1 + 1 / m) * b / u
    share = np.maximum((1 + 1 / m) * b / t, LEAST)
    old = (m - 1) / share**2
    own = (df + 1) / (df + 3) * df * (1 - share) if np.isfinite(df) else np.inf
    freedom = old * own / (old + own) if np.isfinite(df) else old
    return Pooled(estimates.mean(axis=0), total, np.sqrt(t), freedom, riv, (riv + 2 / (freedom + 3)) / (riv + 1))


def wald(estimates: Array, variances: Array) -> Record:
    """D1: all terms (m, p) against 0, between and within variances taken as proportional."""
    m, p = estimates.shape
    mean, within = estimates.mean(axis=0), variances.mean(axis=0)
    between = np.cov(estimates.T, ddof=1).reshape(within.shape)
    r = (1 + 1 / m) * float(np.trace(np.linalg.solve(within, between))) / p
    statistic = float(mean @ np.linalg.solve(within, mean)) / (p * (1 + r))
    t = p * (m - 1)
    r = max(r, 1e-8)
    df = 4 + (t - 4) * (1 + (1 - 2 / t) / r) ** 2 if t > 4 else t * (1 + 1 / p) * (1 + 1 / r) ** 2 / 2
    return {
        "test": "Wald (D1)", "statistic": statistic, "df": p, "df_residual": df,
        "p_value": float(f_sf(statistic, p, df)),
    }  # fmt: skip


def pooled(fits: Sequence[Finding], plan: Plan, chained: Chained, how: Impute) -> Finding:
    """The finding of all completed tables. What cannot be pooled by Rubin's rules is not in it."""
    first = fits[0]
    robust = "robust_vcov" in first.arrays
    q = np.array([f.arrays["estimate"] for f in fits])
    u = np.array([f.arrays["robust_vcov" if robust else "vcov"] for f in fits])
    got = pool(q, u, complete_df(first))
    names = [str(r["term"]) for r in first.tables["coefficients"]]
    exponent = next((name for name in (*SHORT, "risk_ratio") if name in first.tables["coefficients"][0]), "")
    rows = coefficients(names, got.estimate, got.se, None, exponent, got.df)
    for row, df, riv, fmi in zip(rows, got.df, got.riv, got.fmi, strict=True):
        row |= {"df": float(df), "riv": float(riv), "fmi": float(fmi)}
    terms = [i for i, name in enumerate(names) if name != "Intercept"]
    tests = {"tests": [wald(q[:, terms], u[:, terms][:, :, terms])]} if terms else {}
    columns = described(plan, chained)
    tables = {
        "coefficients": rows, **tests, "imputation": columns, "chains": courses(plan, chained),
        "attrition": [
            *first.tables["attrition"],
            *({"step": "imputed", "reason": f"missing {name}", "n": n} for name, n in plan.missing.items()),
        ],
    }  # fmt: skip
    arrays = {"estimate": got.estimate, "vcov": got.vcov}
    if "centre" in first.arrays:  # of all completed tables
        arrays["centre"] = np.mean([f.arrays["centre"] for f in fits], axis=0)
    kept = {k: v for k, v in first.facts.items() if k in ("family", "link", "ties", "baseline")}
    survival = "(hazard)" in [f.name for f in plan.equations.fields]
    return replace(
        first, tables=tables, arrays=arrays, notes=(*first.notes, counted(plan, len(fits)), note(len(fits))),
        facts={**kept, "imputations": len(fits), "iterations": how.iterations if len(plan.missing) > 1 else 1},
        warnings=(*first.warnings, *high_fmi(names, got.fmi), *few_imputations(len(fits)), *unmixed(columns)),
        cite=(*first.cite, RUBIN, BARNARD, MICE, *((WHITE_ROYSTON,) if survival else ())),
    )  # fmt: skip


def complete_df(fit: Finding) -> float:
    """Degrees of freedom of the analysis of a complete table: residual ones, of a Cox model events less terms."""
    if "df_residual" in fit.facts:
        return float(fit.facts["df_residual"])
    return float(max((fit.events or fit.n) - len(fit.arrays["estimate"]), 1))


def note(m: int) -> str:
    """How the estimates came about."""
    return (
        f"Missing values were imputed {m} times by chained equations, and the results pooled by Rubin's "
        f"rules; this holds if, given the columns of the imputation model, who misses a value does not depend on it."
    )


def counted(plan: Plan, m: int) -> str:
    """What was imputed, for how many people; who is missed by fewer than k is not imputed (`impute.settled`)."""
    return f"Imputed: {', '.join(f'{name} ({n:,})' for name, n in plan.missing.items())}; m = {m}."


def described(plan: Plan, chained: Chained) -> list[Record]:
    """By imputed column, and level: who has it and who misses it, and whether the chains have mixed."""
    rows: list[Record] = []
    for name, f, trace, label in _fields(plan, chained):
        last_mean, last_sd = trace.mean[-1].mean(axis=0), trace.sd[-1].mean(axis=0)
        for i, level in enumerate(label):
            number = not f.levels
            rows.append({
                "column": name, "level": level, "missing": trace.people,
                "method": "linear" if number else "logistic" if len(f.levels) == 2 else "multinomial",
                "observed_mean": f.mean[i], "imputed_mean": float(last_mean[i]),
                "observed_sd": f.sd[i] if number else None, "imputed_sd": float(last_sd[i]) if number else None,
                "rhat": rhat(trace.mean[:, :, i]),
            })  # fmt: skip
    return rows


def courses(plan: Plan, chained: Chained) -> list[Record]:
    """The course of the chains: by imputed column, level and iteration the mean, and how chains lie apart."""
    return [
        {
            "column": name, "level": level, "iteration": t, "mean": float(mean.mean()),
            "sd_between": float(mean.std(ddof=1)), "sd_within": float(trace.sd[t, :, i].mean()),
        }
        for name, _, trace, label in _fields(plan, chained)
        for i, level in enumerate(label)
        for t, mean in enumerate(trace.mean[:, :, i])
    ]  # fmt: skip


def _fields(plan: Plan, chained: Chained) -> list[tuple[str, Any, Traces, tuple[str | None, ...]]]:
    """Imputed columns with their traces and the labels of their fields: levels, but for the first, or none."""
    targets = [plan.equations.fields[t] for t in plan.equations.targets]
    return [(f.name, f, chained.traces[f.name], f.levels[1:] or (None,)) for f in targets]


def rhat(means: Array) -> float | None:
    """Potential scale reduction of the chains' means (iterations, chains), over the later half of the iterations."""
    late = means[len(means) // 2 :]
    if len(late) < 2:
        return None
    within = float(late.var(axis=0, ddof=1).mean())
    between = float(late.mean(axis=0).var(ddof=1))
    n = len(late)
    return float(np.sqrt((n - 1) / n + between / within)) if within > 0 else None


def high_fmi(names: Sequence[str], fmi: Array) -> list[Caution]:
    """Estimates that rest on what was imputed more than on what was seen."""
    high = [name for name, share in zip(names, fmi, strict=True) if share > HIGH and name != "Intercept"]
    if not high:
        return []
    return [
        Caution(
            "high-fmi",
            f"{', '.join(map(repr, high[:4]))}: more than half of the information is missing (fmi above {HIGH:g}), so "
            f"that the estimate rests on the imputation model. Impute more often, and read the result as weak.",
        )
    ]


def few_imputations(m: int) -> list[Caution]:
    """So few completed tables that another seed would give other limits."""
    if m >= FEW:
        return []
    text = f"{m} imputations: fewer than {FEW}, so that limits and p-values depend much on the draws."
    return [Caution("few-imputations", text)]


def unmixed(columns: Sequence[Record]) -> list[Caution]:
    """Imputed columns whose chains lie apart."""
    apart = {r["column"]: r["rhat"] for r in columns if r["rhat"] is not None and r["rhat"] > MIXED}
    if not apart:
        return []
    named = ", ".join(f"{name!r} (rhat {value:.2f})" for name, value in apart.items())
    text = f"{named}: the chains lie apart (rhat above {MIXED:g}). Ask for more iterations."
    return [Caution("chains-not-mixed", text)]
