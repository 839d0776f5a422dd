"""What a penalised regression finds: coefficients, path, cross-validation, and confidence by debiasing.

A penalised estimate is pulled to 0, and has no usual standard error. The debiased one adds what the score says is
missing, b + Theta U(b), with Theta an approximate inverse of the information at b: by lasso regressions of each term on
the others (`nodewise`: van de Geer et al., Ann Stat 2014;42:1166; Zhang & Zhang, JRSS B 2014;76:217), lambda being
sqrt(log p / n) for terms of unit variance; or the inverse itself (`inverse`), which Xia, Nan & Li (Biometrics
2023;79:344) prefer where there are fewer terms than people, as here always. Its covariance is Theta I Theta'. The
intercept's score is 0, and is profiled out. n counts people, events in Cox's model (Fang, Ning & Liu, JRSS B
2017;79:1415). A linear model's variance is that about the debiased coefficients, so that `inverse` is least squares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from confrere.analyses.families import family_of
from confrere.analyses.finding import SHORT, Citation, Finding, Record, attrition, coefficients
from confrere.analyses.glm import EXPONENTS
from confrere.analyses.learning.attack import YEOM, Attacked
from confrere.analyses.learning.penalised_folds import Crossed
from confrere.analyses.learning.penalised_path import Path, Stage
from confrere.analyses.learning.penalised_solver import Quadratic, solved
from confrere.analyses.learning.reconstruction import OTHERS, TRAINED, rebuilt
from confrere.analyses.newton import check_collinear
from confrere.analyses.outcomes import estimates
from confrere.rounds import Array, Verdict
from confrere.study.ground import model_of

if TYPE_CHECKING:
    from confrere.analyses.learning.penalised import Penalised

CITE = (
    Citation("Friedman J, Hastie T, Tibshirani R. Regularization paths for generalized linear models via coordinate "
             "descent. J Stat Softw 2010;33(1)", "10.18637/jss.v033.i01"),
    Citation("Zou H, Hastie T. Regularization and variable selection via the elastic net. JRSS B 2005;67:301-320",
             "10.1111/j.1467-9868.2005.00503.x"),
)  # fmt: skip
ADAPTIVE = Citation("Zou H. The adaptive lasso and its oracle properties. JASA 2006;101:1418-1429",
                    "10.1198/016214506000000735")  # fmt: skip
SIMON = Citation("Simon N, Friedman J, Hastie T, Tibshirani R. Regularization paths for Cox's proportional hazards "
                 "model via coordinate descent. J Stat Softw 2011;39(5)", "10.18637/jss.v039.i05")  # fmt: skip
VERWEIJ = Citation("Verweij PJM, van Houwelingen HC. Cross-validation in survival analysis. Stat Med "
                   "1993;12:2305-2314", "10.1002/sim.4780122407")  # fmt: skip
DEBIASED = Citation("van de Geer S, Buhlmann P, Ritov Y, Dezeure R. On asymptotically optimal confidence regions and "
                    "tests for high-dimensional models. Ann Stat 2014;42:1166-1202", "10.1214/14-AOS1221")  # fmt: skip


class Fit(NamedTuple):
    """What a flow found: the null log-likelihood, the path, cross-validation if any, the place of the chosen lambda,
    the exact fit there, with whom (p,) hazards are compared, and Pearson's chi-squared where it was asked."""

    stage: Stage
    null: float
    path: Path
    crossed: Crossed | None
    at: int
    best: Quadratic
    verdict: Verdict
    centre: Array
    pearson: float = 0.0

    @property
    def usual(self) -> float:
        """Half the deviance per unit of weight; of Cox's model, of the weight of events."""
        return _deviance(self, self.best.value) / (2 * self.stage.weight)


def told(of: Penalised, fit: Fit, attack: Attacked) -> Finding:
    """The finding of a penalised regression."""
    stage, verdict = fit.stage, fit.verdict
    raw = estimates(stage.frame, fit.best.at)
    ratio = "hazard_ratio" if of.family == "cox" else EXPONENTS.get((of.family, _link(of)), "")
    tables = {"coefficients": shrunk(of.names, raw, ratio), "path": _path(fit)}
    if fit.crossed is not None:
        tables["cv"] = _crossed(fit.path.values, fit.crossed)
    if of.debias:
        tables["debiased"] = debiased(of, fit, ratio)
    if attack.rows:
        tables["attack"] = attack.rows
    memory = rebuilt([] if of.family == "cox" else _explained(fit))
    return Finding(
        method="penalised", n=verdict.n, events=stage.events, hospitals=verdict.hospitals,
        tables=tables | memory.tables | {"attrition": attrition(verdict)}, facts=_facts(of, fit),
        arrays={"estimate": raw} | ({"centre": fit.centre} if of.family == "cox" else {}), notes=_notes(of, fit),
        warnings=(*attack.cautions, *memory.cautions),
        cite=(*CITE, *((SIMON, VERWEIJ) if of.family == "cox" else ()), *((ADAPTIVE,) if of.adaptive else ()),
              *((DEBIASED,) if of.debias else ()), *((YEOM,) if attack.rows else ()), *memory.cite),
    )  # fmt: skip


def _explained(fit: Fit) -> list[Record]:
    """The share of the null deviance that is explained, among who was fitted to and by cross-validation; not of
    hazards: what a fold adds to the partial likelihood is of other risk sets."""
    if fit.crossed is None:
        return []
    null, name = _deviance(fit, fit.null) / fit.stage.weight, "deviance explained"
    # the samples are the same people: neither's standard error is that of how much one is above the other
    left = {TRAINED: 2 * fit.usual, OTHERS: float(fit.crossed.mean[fit.at])}
    return [{"metric": name, "sample": sample, "estimate": 1 - each / null} for sample, each in left.items()]


def _link(of: Penalised) -> str:
    return family_of(of.family, of.link)[1].name


def shrunk(names: tuple[str, ...], raw: Array, ratio: str) -> list[Record]:
    """Records of penalised coefficients (q,), which have no standard errors; with their ratio where there is one."""
    rows = coefficients(names, raw, np.ones(len(raw)), exponent=ratio)
    empty = {"std_error", "statistic", "p_value", "conf_low", "conf_high"}
    empty |= {f"{SHORT.get(ratio, ratio)}_{end}" for end in ("low", "high")}
    return [{key: None if key in empty else value for key, value in row.items()} for row in rows]


def _deviance(fit: Fit, loglik: float) -> float:
    return 2 * (fit.stage.saturated - loglik * fit.stage.frame.unit)


def _path(fit: Fit) -> list[Record]:
    """Of each lambda: how many terms are not 0, and the share of the null deviance that is explained."""
    null, rows = _deviance(fit, fit.null), []
    for i, (value, b, near) in enumerate(zip(fit.path.values, fit.path.fits, fit.path.near, strict=True)):
        loglik, b = (fit.best.value, fit.best.at) if i == fit.at else (near.whole.of(b), b)
        left = 1 - _deviance(fit, loglik) / null
        rows.append({"lambda": float(value), "df": _df(fit, b), "deviance_ratio": float(left)})
    return rows


def _df(fit: Fit, b: Array) -> int:
    return int(np.count_nonzero(b[fit.stage.one :]))


def _crossed(values: Array, crossed: Crossed) -> list[Record]:
    """The cross-validated loss of each lambda; which of them are told."""
    marks = {crossed.within: "1se"} | {crossed.least: "min"}
    if crossed.within == crossed.least:
        marks = {crossed.least: "min, 1se"}
    return [
        {"lambda": float(value), "mean": float(mean), "std_error": float(se), "exact": bool(exact),
         "chosen": marks.get(i, "")}
        for i, (value, mean, se, exact) in enumerate(
            zip(values, crossed.mean, crossed.se, crossed.exact, strict=True)
        )
    ]  # fmt: skip


def _facts(of: Penalised, fit: Fit) -> dict[str, float | str]:
    deviance, null = _deviance(fit, fit.best.value), _deviance(fit, fit.null)
    facts: dict[str, float | str] = {
        "family": of.family, "lambda": float(fit.path.values[fit.at]), "alpha": of.alpha, "df": _df(fit, fit.best.at),
        "deviance": deviance, "null_deviance": null, "deviance_ratio": 1 - deviance / null, "anchors": fit.path.anchors,
    }  # fmt: skip
    if of.family == "cox":
        facts |= {"ties": of.ties, "baseline": "per hospital"}
    else:
        facts["link"] = _link(of)
    if (crossed := fit.crossed) is not None:
        least, within = (float(fit.path.values[i]) for i in (crossed.least, crossed.within))
        facts |= {"lambda_min": least, "lambda_1se": within, "folds": crossed.folds}
    return facts


def _notes(of: Penalised, fit: Fit) -> tuple[str, ...]:
    notes = ["Coefficients are shrunk by a penalty, and have no standard errors; the debiased ones have."]
    if fit.crossed is not None and not fit.crossed.exact.all():
        notes.append(
            "The curve of cross-validation is that of local quadratic models, exact at the two penalties that it "
            "tells; the fit at the chosen penalty is exact."
        )
    if of.adaptive and fit.crossed is not None:
        notes.append("The factors of the adaptive lasso come from everybody, also in cross-validation.")
    if of.family == "cox":
        notes.append("Stratified by hospital: each has its own baseline hazard.")
    if of.cause:
        notes.append(f"Events of other causes than {of.cause!r} are censored: ratios are of cause-specific hazards.")
    if model_of(of.formula, of.ground).offsets:
        notes.append("The formula has an offset, which new people have not: no model is delivered that predicts them.")
    return tuple(notes)


# Debiasing ----------------------------------------------------------------------------------------------------


def debiased(of: Penalised, fit: Fit, ratio: str) -> list[Record]:
    """Debiased estimates of the terms, with standard errors; the intercept is left out."""
    stage, one = fit.stage, fit.stage.one
    n = stage.events if of.family == "cox" and stage.events is not None else fit.verdict.n
    information = profiled(fit.best.information, one)
    scale = stage.scale.total / stage.frame.unit
    check_collinear(information, of.names[one:])
    unit = information / scale
    theta = (nodewise(unit, n) if of.debias == "nodewise" else np.linalg.inv(unit)) / scale
    unit = stage.frame.reach / np.array(stage.frame.sd)
    move = theta @ fit.best.score[one:]
    variance = np.diag(theta @ information @ theta.T) * _dispersion(of, fit, move) / stage.frame.unit
    return coefficients(of.names[one:], (fit.best.at[one:] + move) * unit, np.sqrt(variance) * unit, exponent=ratio)


def profiled(information: Array, one: int) -> Array:
    """The information (p, p) of the terms when the intercept, if there is `one`, is fitted."""
    terms = information[one:, one:]
    if not one:
        return terms
    return np.asarray(terms - np.outer(information[0, 1:], information[0, 1:]) / information[0, 0])


def nodewise(information: Array, n: int) -> Array:
    """An approximate inverse (p, p) of an information (p, p) per person, by a lasso of every term on the others."""
    if len(information) == 1:
        return np.asarray(np.linalg.inv(information))
    size, p = np.sqrt(np.diag(information)), len(information)
    unit, theta = information / np.outer(size, size), np.eye(p)
    penalty = np.full(p - 1, np.sqrt(np.log(p) / n))
    for j in range(p):
        others = np.flatnonzero(np.arange(p) != j)
        gamma = solved(unit[np.ix_(others, others)], unit[others, j], penalty, np.zeros(p - 1))
        theta[j, others] = -gamma
        theta[j] /= unit[j, j] - unit[j, others] @ gamma
    return np.asarray(theta / np.outer(size, size))


def _dispersion(of: Penalised, fit: Fit, move: Array) -> float:
    """The dispersion, where debiasing moves the terms' coefficients by `move` (p,): 1 where the family has none.

    Of a linear model what is left about the debiased coefficients, over n - p - 1; of others Pearson's chi-squared of
    the penalised fit per degree of freedom, as glm and R's summary.glm have it.
    """
    if of.estimated:
        return fit.pearson / (fit.verdict.n - _df(fit, fit.best.at) - 1)
    if not of.quadratic:
        return 1.0
    along = fit.best.information[0]
    b = fit.best.at + np.concatenate([[-(along[1:] @ move) / along[0]], move])  # the intercept is fitted again
    return _deviance(fit, fit.best.of(b)) / (fit.verdict.n - len(of.names))
