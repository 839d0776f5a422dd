"""How strong would what was not measured have to be? E-values and tipping points, from the estimates alone.

An unmeasured confounder that raises the outcome's risk by a ratio E, and is E times as common in one arm as in the
other, could by itself make an observed risk ratio R > 1 of no effect at all; a weaker one could not:

    E = R + sqrt(R (R - 1)),   and of R < 1 that of 1/R; 1 where the limits hold no effect.

Other measures go through a risk ratio. Hazard and odds ratios of rare outcomes (under 15 %) are taken as they are; of
common ones R = (1 - 0.5^sqrt(HR)) / (1 - 0.5^sqrt(1/HR)) and R = sqrt(OR). A difference of means d in standard
deviations of the outcome is R = exp(0.91 d), its limits exp(0.91 d +- 1.78 se(d)). Of a difference of risks it is
the ratio of the risks, and its limit Fieller's: the bias factor B at which mu_1 - B mu_0 is no longer told from 0.

The tipping point is what has to be done to the outcomes of the treated until the limits reach no effect: added to their
mean for differences, multiplied with for ratios; or added to the outcomes of those of them alone whose outcome is
missing, who are taken to be as many as in the other arm (delta adjustment; the variance is left as it is).

Sources: VanderWeele & Ding, Ann Intern Med 2017;167:268; Ding & VanderWeele, Epidemiology 2016;27:368; VanderWeele,
Epidemiology 2017;28:e58 and Biometrics 2020;76:746; Ratitch, O'Kelly & Tosiello, Pharm Stat 2013;12:337. As R `EValue`
(`evalues.RR`, `.OR`, `.HR`, `.MD`), and `evalues.RD` but for the variance of the share of the treated in the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.measures import fieller
from confrere.analyses.finding import Citation, Finding, Record
from confrere.rounds import Array

RARE = 0.15  # the share of people with the outcome under which odds and hazard ratios stand for risk ratios
VANDERWEELE = Citation(
    "VanderWeele TJ, Ding P. Sensitivity analysis in observational research: introducing the E-value. Ann Intern Med "
    "2017;167:268-274",
    "10.7326/M16-2607",
)


class About(NamedTuple):
    """What is known beside the estimates.

    `mean` (2,) and `vcov` (2, 2) of the arms, the untreated first; `sd` of the outcome, NaN unless it is a number;
    `risk`, the largest share of an arm with the outcome, NaN where unknown; `missing`, the share of people whose
    outcome is missing, NaN where unknown.
    """

    mean: Array | None = None
    vcov: Array | None = None
    sd: float = np.nan
    risk: float = np.nan
    missing: float = np.nan


class Ratio(NamedTuple):
    """A risk ratio, or what stands for it, with its limits; `by` says how it was made."""

    estimate: float
    low: float
    high: float
    by: str


def e_value(ratio: float) -> float:
    """The E-value of a risk ratio > 0: 1 of 1."""
    r = max(ratio, 1 / ratio)
    return float(r + np.sqrt(r * (r - 1)))


def e_value_of_limit(ratio: Ratio) -> float:
    """The E-value of the limit that is nearer to no effect: 1 where the limits hold it."""
    if ratio.low <= 1 <= ratio.high:
        return 1.0
    return e_value(ratio.low if ratio.estimate > 1 else ratio.high)


def sensitivity(effects: Sequence[Record], about: About) -> list[Record]:
    """A record per record of `effects`, by `measure` (and `cause` and `time`, where it has them).

    `risk_ratio` is what stands for the effect, made as `by` says; `e_value` and `e_value_limit`; `tipping` and
    `tipping_missing` (None where there is nothing to tip, or nothing that missing people could do would tip it).
    """
    ratios = {_place(r): r for r in effects if r["measure"] == "risk ratio"}
    return [_record(r, about, ratios.get(_place(r))) for r in effects]


def of(finding: Finding, outcome: Sequence[str]) -> list[Record]:
    """The table of a finding; `outcome` are the columns that its outcome is made of."""
    means = finding.arrays.get("mean")
    mean, vcov = (means, finding.arrays["vcov"]) if means is not None and means.shape == (2,) else (None, None)
    rare = np.nan if finding.events is None else finding.events / finding.n
    if mean is not None and finding.facts.get("family") == "binomial":
        rare = float(mean.max())
    about = About(mean, vcov, float(finding.facts.get("outcome_sd") or np.nan), rare, _missing(finding, set(outcome)))
    return sensitivity(finding.tables["effects"], about)


def _missing(finding: Finding, outcome: set[str]) -> float:
    """The share of people left out because their outcome is missing; NaN where it is not told, 0 where it is nobody."""
    rows = finding.tables.get("attrition", [])
    left = [r["n"] for r in rows if r["reason"] in {f"missing {name}" for name in outcome}]
    if any(n is None for n in left) or any(r["n"] is None for r in rows if r["step"] == "records read"):
        return float(np.nan)
    return float(sum(left) / (finding.n + sum(left)))


def _place(effect: Record) -> tuple[str, float | None]:
    """What tells records of the same measure apart: cause and time, where effects have them."""
    return str(effect.get("cause", "")), effect.get("time")


def _record(effect: Record, about: About, beside: Record | None) -> Record:
    ratio = risk_ratio(effect, about)
    if ratio is None and beside is not None and effect["measure"] == "risk difference":
        ratio = risk_ratio(beside, about)
        ratio = None if ratio is None else ratio._replace(by="ratio of the means")
    record: Record = {name: effect[name] for name in ("measure", "cause", "time") if name in effect}
    said = [None, None, None, ""] if ratio is None else [
        ratio.estimate, e_value(ratio.estimate), e_value_of_limit(ratio), ratio.by,
    ]  # fmt: skip
    record |= dict(zip(("risk_ratio", "e_value", "e_value_limit", "by"), said, strict=True))
    shift = _shift(effect)
    whole = None if shift is None else float(np.exp(shift)) if _is_ratio(effect) else shift
    return {**record, "tipping": whole, "tipping_missing": _missing_shift(effect, about, shift)}


def risk_ratio(effect: Record, about: About) -> Ratio | None:
    """The risk ratio that stands for an effect; None where none does (differences of times, arms unknown)."""
    measure = effect["measure"]
    log = np.array([effect[name] for name in ("estimate", "conf_low", "conf_high")])
    if measure in ("risk ratio", "rate ratio"):
        return _ratio(np.exp(log), "as it is")
    if measure in ("odds ratio", "hazard ratio"):
        if not np.isfinite(about.risk):
            return None
        if about.risk < RARE:
            return _ratio(np.exp(log), "rare outcome")
        return _ratio(np.exp(log / 2) if measure == "odds ratio" else _hazard(np.exp(log)), "common outcome")
    if not measure.endswith("difference") or about.mean is None or about.vcov is None:
        return None
    if np.isfinite(about.sd):
        d, se = effect["estimate"] / about.sd, effect["std_error"] / about.sd
        return _ratio(np.exp(0.91 * d + 1.78 * se * np.array([0.0, -1.0, 1.0])), "standardised difference")
    return _fieller(about.mean, about.vcov) if about.mean.min() > 0 else None


def _ratio(values: Array, by: str) -> Ratio:
    return Ratio(float(values[0]), float(values[1]), float(values[2]), by)


def _hazard(ratio: Array) -> Array:
    """The risk ratio of a common outcome whose hazards are in this ratio."""
    return np.asarray((1 - 0.5 ** np.sqrt(ratio)) / (1 - 0.5 ** np.sqrt(1 / ratio)))


def _fieller(mean: Array, vcov: Array) -> Ratio:
    """The ratio of two means that are positive, with Fieller's limits: 0 and infinite where there are none."""
    low, high = fieller(mean, vcov) or (0.0, np.inf)
    return Ratio(float(mean[1] / mean[0]), max(low, 0.0), high, "ratio of the means")


def _is_ratio(effect: Record) -> bool:
    return str(effect["measure"]).endswith("ratio")


def _shift(effect: Record) -> float | None:
    """What moves the limit nearer to no effect onto it, on the scale of the estimate; None where limits hold it."""
    low, high = effect["conf_low"], effect["conf_high"]
    if low <= 0 <= high:
        return None
    return float(-low if low > 0 else -high)


def _missing_shift(effect: Record, about: About, shift: float | None) -> float | None:
    """The shift among people with a missing outcome alone; None where no risk of theirs would be enough."""
    if shift is None or _is_ratio(effect) or about.mean is None or not about.missing > 0:
        return None
    needed = shift / about.missing
    if effect["measure"] == "risk difference" and not 0 <= about.mean[1] + needed <= 1:
        return None
    return float(needed)
