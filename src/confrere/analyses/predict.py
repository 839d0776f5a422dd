"""What a fit predicts for people of the researcher's own, from the finding alone: no hospital is asked.

With terms x, coefficients b and their variance V the linear predictor is x b (and the offset), its variance x V x';
what is shown on another scale has its limits carried over, and its standard error by the delta method. V is the robust
one where the fit is robust, as in its tables; survival curves take the model's. Matches R predict(glm, se.fit = TRUE),
predict(lm, interval = "confidence"), predict(coxph, reference = "sample"), survfit(coxph, newdata).

Learned models (trees, networks, penalised regressions) predict as their files do in `confrere predict`, without errors.

One difference: the standard error of a "risk" is the risk times that of "lp"; R has the root of the risk there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from confrere.analyses.cox import Cox
from confrere.analyses.curves import limits, read_off
from confrere.analyses.curves import spread as spread_of
from confrere.analyses.distributions import norm_ppf, t_ppf
from confrere.analyses.families import family_of
from confrere.analyses.finding import Finding
from confrere.analyses.follow_up import FollowUp
from confrere.analyses.glm import Glm
from confrere.analyses.kaplan_meier import KaplanMeier
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.penalised import Penalised
from confrere.analyses.learning.reasons import contributions
from confrere.analyses.learning.released import columns_of, of
from confrere.analyses.learning.terms import Terms
from confrere.analyses.linear import Linear
from confrere.analyses.logistic import Logistic
from confrere.analyses.networks.network import Network
from confrere.analyses.poisson import Poisson
from confrere.errors import DataError, StudyError
from confrere.rounds import Array, Ints
from confrere.study.ground import Ground, model_of
from confrere.study.rows import TableRows

if TYPE_CHECKING:
    import pandas as pd

    from confrere.study.formulas import Evaluated

LEARNED = ("response", "score", "reasons")
TYPES: Mapping[type, tuple[str, ...]] = {
    Linear: ("response", "link"), Glm: ("response", "link"), Logistic: ("response", "link"),
    Poisson: ("response", "link"), Boosting: LEARNED, Network: LEARNED, Penalised: LEARNED,
    Cox: ("lp", "risk", "survival"), KaplanMeier: ("survival",),
}  # fmt: skip
WHY = {
    "competing_risks": "its weights of censoring and the other causes make no simple prediction; read its tables",
    "logrank": "it is a test",
    "describe": "it describes",
    "worklist": "it counts, and its rows stay in the hospitals",
}


class Wanted(NamedTuple):
    """What is to be predicted: the scale, the times, the person compared with, and the level of limits."""

    type: str
    times: tuple[float, ...]
    reference: Any
    level: float


def predict(finding: Finding, frame: Any = None, wanted: Wanted | None = None) -> pd.DataFrame:
    """Predictions for the rows of a data frame (or a dict of columns, or of one person's values).

    Columns `estimate`, `std_error`, `conf_low`, `conf_high`, a row per row of the frame, under its index; missing where
    a column is. Of learned models `estimate` alone, or a column per class; trees take missing values as they are. With
    `times` a row per row of the frame and time, with `row` and `time`. Errors: StudyError for a type that the method
    has not; DataError for a missing column, an undeclared level, a value out of its declared range.
    """
    analysis = finding.analysis
    kind = next((k for k in TYPES if isinstance(analysis, k)), None)
    if kind is None:
        why = WHY.get(finding.method, "the method does not say how")
        raise StudyError(f"{finding.method} predicts nothing: {why}", about="no-prediction")
    wanted = _checked(finding.method, TYPES[kind], wanted or Wanted("", (), None, 0.95))
    if isinstance(analysis, KaplanMeier):
        return _curves(finding, analysis, frame, wanted)
    if frame is None:
        raise StudyError(f"{finding.method}: predict needs people: a data frame with the columns of the terms")
    table = table_of(frame)
    if TYPES[kind] is LEARNED:
        return _learned(finding, table, wanted.type)
    if isinstance(analysis, Cox):
        return _survival(finding, analysis, table, wanted) if wanted.type == "survival" else _risk(
            finding, analysis, table, wanted
        )  # fmt: skip
    return _regression(finding, analysis, table, wanted)


def table_of(frame: Any) -> pd.DataFrame:
    """A data frame of a data frame, of a dict of columns, or of a dict of one person's values."""
    import pandas as pd

    if isinstance(frame, Mapping) and all(np.ndim(value) == 0 for value in frame.values()):
        return pd.DataFrame([dict(frame)])
    return pd.DataFrame(frame)


def _checked(method: str, types: tuple[str, ...], wanted: Wanted) -> Wanted:
    """The request, its type filled in."""
    if not 0 < wanted.level < 1:
        raise StudyError(f"level is {wanted.level}; it must lie between 0 and 1, such as 0.95")
    chosen = wanted.type or types[0]
    if chosen not in types:
        raise StudyError(
            f"type is {chosen!r}; for {method} it must be one of {', '.join(types)}", about="no-prediction"
        )
    if (chosen == "survival") != bool(wanted.times):
        rule = "needs times, such as times=[365, 730]" if chosen == "survival" else "takes no times"
        raise StudyError(f"type {chosen!r} {rule}")
    if wanted.reference is not None and chosen not in ("lp", "risk"):
        raise StudyError(f"type {chosen!r} takes no reference; it belongs to 'lp' and 'risk'")
    if bad := [t for t in wanted.times if not 0 <= t < np.inf]:
        raise StudyError(f"times has {bad[0]}; times are 0 or more")
    return wanted._replace(type=chosen)


# Terms --------------------------------------------------------------------------------------------------------


def evaluated(analysis: Any, table: pd.DataFrame, *, strata: bool = False) -> Evaluated:
    """The right side of the formula on new people; the outcome, and strata unless wanted, are not asked for."""
    model, ground = model_of(analysis.formula, analysis.ground), analysis.ground
    right = replace(model, outcome=None, strata=model.strata if strata else ())
    left = {name for part in (model.outcome.expressions() if model.outcome else ()) for name in part.sources()}
    _check_ranges(table, set(model.columns) - left, ground)
    return right.evaluate(table, {name: (mean, sd) for name, mean, sd in ground.pooled})


def _check_ranges(table: pd.DataFrame, columns: set[str], ground: Ground) -> None:
    """Values outside a declared range: the hospitals set them to its nearer end, so that nobody in the fit has them."""
    for name, column in ground.schema.columns.items():
        if column.range is None or name not in columns & set(table):
            continue
        low, high = column.range
        values = TableRows(table, ground.schema, {}).numbers(name)
        if bad := int(((values < low) | (values > high)).sum()):
            raise DataError(
                f"column '{name}' has {bad} values outside its declared range {low:g} to {high:g}, where the fit has "
                f"nobody. Correct them, or clip them as the hospitals do: frame['{name}'].clip({low:g}, {high:g})"
            )


def _vcov(finding: Finding) -> Array:
    """The variance that the limits of the finding rest on."""
    arrays = finding.arrays
    return arrays["robust_vcov"] if "robust_vcov" in arrays else arrays["vcov"]


def _se(x: Array, vcov: Array) -> Array:
    """Standard errors (N,) of x b, for x (N, q)."""
    return np.asarray(np.sqrt(((x @ vcov) * x).sum(axis=1)))


def _framed(table: pd.DataFrame, estimate: Array, se: Array, low: Array, high: Array) -> pd.DataFrame:
    import pandas as pd

    columns = {"estimate": estimate, "std_error": se, "conf_low": low, "conf_high": high}
    return pd.DataFrame(columns, index=table.index)


# Regressions --------------------------------------------------------------------------------------------------


def _regression(finding: Finding, analysis: Any, table: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    glm = getattr(analysis, "glm", analysis)
    family, link = family_of(*(("gaussian", "identity") if isinstance(glm, Linear) else (glm.family, glm.link)))
    got = evaluated(analysis, table)
    intercept = model_of(analysis.formula, analysis.ground).intercept
    x = np.hstack([np.ones((len(got.x), 1)), got.x]) if intercept else got.x
    eta = x @ finding.arrays["estimate"] + (0.0 if got.offset is None else got.offset)
    se = _se(x, _vcov(finding))
    # a fit to imputed tables has no single number of degrees of freedom
    df = finding.facts.get("df_residual", np.inf) if family.estimated else np.inf
    reach = t_ppf((1 + wanted.level) / 2, df) * se
    if wanted.type == "link":
        return _framed(table, eta, se, eta - reach, eta + reach)
    at, ends = link.mean(eta), np.array([link.mean(eta - reach).mu, link.mean(eta + reach).mu])
    if link.name == "inverse":  # no mean belongs to a limit on the other side of 0
        ends[:, np.abs(eta) <= reach] = np.nan
    return _framed(table, at.mu, se * np.abs(at.slope), ends.min(axis=0), ends.max(axis=0))


# Cox ----------------------------------------------------------------------------------------------------------


def _risk(finding: Finding, cox: Cox, table: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """The log hazard ratio ("lp"), or the hazard ratio ("risk"), to the mean of the people or to `reference`."""
    centre = finding.arrays.get("centre")
    if wanted.reference is not None:
        person = evaluated(cox, table_of(wanted.reference)).x
        if len(person) != 1 or not np.isfinite(person).all():
            raise DataError(f"reference has {len(person)} rows; it must be one person with a value for every term")
        centre = person[0]
    if centre is None:
        raise StudyError(
            "fits to imputed tables have no mean person to compare with: name one, reference={...}",
            about="no-prediction",
        )
    x = evaluated(cox, table).x - centre
    lp, se = x @ finding.arrays["estimate"], _se(x, _vcov(finding))
    reach = norm_ppf((1 + wanted.level) / 2) * se
    if wanted.type == "lp":
        return _framed(table, lp, se, lp - reach, lp + reach)
    return _framed(table, np.exp(lp), np.exp(lp) * se, np.exp(lp - reach), np.exp(lp + reach))


def _survival(finding: Finding, cox: Cox, table: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """Survival at times, from the baseline that the hospitals share."""
    if "baseline" not in finding.arrays:
        raise StudyError(
            "this fit has no common baseline, and without one there is no survival at a time: baseline hazards per "
            "hospital stayed in the hospitals, and imputed tables have one each. Fit it to the complete people with "
            "baseline = \"shared\", or predict 'lp' or 'risk'",
            about="no-baseline",
        )
    got = evaluated(cox, table, strata=True)
    stratum = np.zeros(len(table), dtype=np.int64) if got.strata is None else got.strata
    at = _read_baseline(finding.arrays["baseline"], wanted.times, fine=cox.ground.fine)[np.maximum(stratum, 0)]
    at[stratum < 0] = np.nan
    hazard, variance, over = at[..., 0], at[..., 1], at[..., 2:]  # (N, times), (N, times), (N, times, p)
    apart = got.x[:, None, :] * hazard[..., None] - over
    risk = np.exp(got.x @ finding.arrays["estimate"])[:, None]
    spread = ((apart @ finding.arrays["vcov"]) * apart).sum(axis=2)
    survival, variance = np.exp(-hazard * risk).ravel(), (risk**2 * (variance + spread)).ravel()
    return _long(table.index, wanted, (survival, variance, "log"))


def _read_baseline(base: Array, times: Sequence[float], *, fine: bool) -> Array:
    """Cumulative hazard and what goes with it at times, (S, times, 2 + p); NaN beyond the last cell.

    With exact times a step; on a coarse grid events are spread evenly over their cell.
    """
    out = np.empty((len(base), len(times), base.shape[2] - 1))
    for s, rows in enumerate(base):
        edges, values = np.append(0.0, rows[:, 0]), np.vstack([np.zeros(rows.shape[1] - 1), rows[:, 1:]])
        if fine:
            out[s] = values[np.searchsorted(edges, times, side="right") - 1]
        else:
            out[s] = np.column_stack([np.interp(times, edges, column) for column in values.T])
        out[s, np.array(times) > edges[-1]] = np.nan
    return out


def _long(index: Any, wanted: Wanted, curve: tuple[Array, Array, str], **more: Any) -> pd.DataFrame:
    """A row per row and time; `curve` is survival and the variance of its logarithm (N times,), and kind of limits."""
    import pandas as pd

    survival, variance, kind = curve
    low, high = limits(survival, variance, kind, float(norm_ppf((1 + wanted.level) / 2)))
    rows = {"row": np.repeat(np.asarray(index), len(wanted.times)), **more, "time": np.tile(wanted.times, len(index))}
    estimates = {"estimate": survival, "std_error": spread_of(survival, variance), "conf_low": low, "conf_high": high}
    return pd.DataFrame(rows | estimates)


# Learned models -----------------------------------------------------------------------------------------------


def _learned(finding: Finding, table: pd.DataFrame, wanted: str) -> pd.DataFrame:
    """Predictions or scores; or what each feature adds to the score. A column for every class."""
    import pandas as pd

    model, analysis = of(finding), finding.analysis
    _check_ranges(table, set(columns_of(model)), analysis.ground)
    score, shown, reasons, names = _by(model, analysis, table, wanted == "reasons")
    classes = () if score.shape[1] == 1 else analysis.ground.schema.levels(analysis.outcome) or ()
    if wanted == "reasons":
        columns = [f"{c}: {name}" for c in classes for name in names] or list(names)
        return pd.DataFrame(reasons.reshape(len(table), len(columns)), columns=columns, index=table.index)
    found = shown if wanted == "response" else score
    return pd.DataFrame(found, columns=list(classes) or ["estimate"], index=table.index)


def _by(model: Any, analysis: Any, table: pd.DataFrame, why: bool) -> tuple[Array, Array, Array, Sequence[str]]:
    """Scores and predictions (n, K); what the named features add to scores (n, K, names), with `why`."""
    reasons, names = np.empty(0), model.features if isinstance(model, Forest) else model.names
    if isinstance(model, Forest):
        x = analysis.values(table)
        score = model.score(x)
        shown, names = model.prediction(score), (*names, "mean score")
        reasons = contributions(model, x) if why else reasons
    elif isinstance(model, Terms):
        score = model.score(table)
        shown = model.prediction(score)
        reasons = model.contributions(table) if why else reasons
    else:
        raw = model.features(table)
        score = model.score(raw)
        shown, score = model.prediction(score), model.index(score)
        reasons = model.contributions(raw).transpose(0, 2, 1) if why else reasons
    score, shown = (one if one.ndim == 2 else one[:, None] for one in (score, shown))
    return score, shown, reasons, names


# Kaplan-Meier -------------------------------------------------------------------------------------------------


def _curves(finding: Finding, analysis: KaplanMeier, frame: Any, wanted: Wanted) -> pd.DataFrame:
    """Survival at times: of every group, or of the group of each row."""
    groups = [record["group"] for record in finding.tables.get("median", [])]
    if frame is None:
        chosen, index = groups, range(len(groups))
    else:
        table = table_of(frame)
        chosen, index = _groups(analysis.follow_up, table), table.index
    points = np.array([_point(finding, groups, g, t, fine=analysis.ground.fine) for g in chosen for t in wanted.times])
    made = _long(
        index, wanted, (points[:, 0], points[:, 1], analysis.conf_type), group=np.repeat(chosen, len(wanted.times))
    )
    return made.drop(columns="row") if frame is None else made


def _point(finding: Finding, groups: list[str], group: str, time: float, *, fine: bool) -> tuple[float, float]:
    """Survival and variance of its logarithm; NaN for a group that is not shown, and beyond its last exit."""
    curves = finding.arrays["curves"]
    rows = curves[curves[:, 0] == groups.index(group)] if group in groups else curves[:0]
    if not len(rows) or time > rows[-1, 1]:
        return np.nan, np.nan
    return read_off(rows[:, 1], rows[:, 2], rows[:, 3], time, exact=fine)


def _groups(follow_up: FollowUp, table: pd.DataFrame) -> list[str]:
    """The group of each row; "" where a column is missing."""
    rows = TableRows(table, follow_up.ground.schema, {})
    index, known = np.zeros(len(table), dtype=np.int64), np.ones(len(table), dtype=bool)
    for column in follow_up.columns:
        codes = _codes(rows, column, follow_up.levels(column))
        known &= codes >= 0
        index = index * len(follow_up.levels(column)) + codes
    return [follow_up.labels[i] if k else "" for i, k in zip(index, known, strict=True)]


def _codes(rows: TableRows, column: str, levels: tuple[str, ...]) -> Ints:
    """Index of the level (N,), -1 where missing."""
    if rows.levels(column) is not None:
        return rows.codes(column)
    values = rows.numbers(column)
    known = ~np.isnan(values)
    if bad := int((~np.isin(values[known], np.arange(len(levels)))).sum()):
        raise DataError(f"column '{column}' makes groups; {bad} of its values are not whole numbers from 0 to 9")
    return np.where(known, values, -1).astype(np.int64)
