"""Kaplan-Meier against R's survfit on exact days, near it on the default ladder of times, and by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import KAPLAN_MEIER, KAPLAN_MEIER_LATE, KAPLAN_MEIER_WEIGHTS, LEUKAEMIA

from confrere.analyses.finding import Finding
from confrere.analyses.kaplan_meier import KaplanMeier
from confrere.errors import FormulaError, StudyError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import BREAST, EXACT, GATE, LOOSE, breast, by, column, demo, fit, found, late, lung, masked, oracle, typed

TIMES = (365.0, 730.0, 1826.0, 3652.0)
FINE = Ground(BREAST, fine=True)
CODED = Ground(Schema({"sex": Column("sex", ("1", "2"))}), fine=True)
DAY = Ground(step=1, fine=True)  # for cases by hand: a ladder of whole numbers

CURVES: dict[str, tuple[str, KaplanMeier]] = {  # by name: the key in km_breast.json or km_lung.json, the study
    "by_hormon": ("km_breast", KaplanMeier("Surv(rtime, recur) ~ hormon_level", times=TIMES, ground=FINE)),
    "overall": ("km_breast", KaplanMeier("Surv(rtime, recur) ~ 1", times=TIMES, ground=FINE)),
    "by_size": ("km_breast", KaplanMeier("Surv(rtime, recur) ~ size", times=TIMES, ground=FINE)),
    "late": ("km_breast", KaplanMeier("Surv(entry, rtime, recur) ~ hormon_level", times=TIMES, ground=FINE)),
    "weights_greenwood": (
        "km_breast", KaplanMeier("Surv(rtime, recur) ~ hormon_level", times=TIMES, weights="w", ground=FINE)
    ),
    "death_by_hormon": ("km_breast", KaplanMeier("Surv(dtime, death) ~ hormon_level", times=TIMES, ground=FINE)),
    "by_sex": ("km_lung", KaplanMeier("Surv(time, status == 2) ~ sex", times=(90, 180, 365, 730), ground=CODED)),
    "sites_by_sex": ("km_lung", KaplanMeier("Surv(time, status == 2) ~ sex", times=(90, 180, 365, 730), ground=CODED)),
    "eleven_by_sex": ("km_lung", KaplanMeier("Surv(time, status == 2) ~ sex", times=(90, 180, 365, 730), ground=CODED)),
}  # fmt: skip
LIMITS = {"log": ("log", "quantiles_log"), "log-log": ("loglog", "quantiles_loglog")}
GROUPS = [(name, limits) for name in CURVES for limits in LIMITS]
both = pytest.mark.parametrize(("name", "limits"), GROUPS)


def hospitals(name: str) -> list[pd.DataFrame]:
    """The people of a curve, at their hospitals."""
    if CURVES[name][0] == "km_breast":
        frame = breast()
        return by(late(frame) if name == "late" else frame, "hospital")
    everybody = demo("lung").astype(float).assign(inst=lambda f: f["inst"].fillna(0.0))
    frame = everybody if name == "by_sex" else lung()
    frame = frame.assign(sex=typed(frame[["sex"]].astype(int).astype(str), CODED.schema)["sex"])
    return [s for s in by(frame, "inst") if len(s) >= 11 or name != "eleven_by_sex"]


@lru_cache
def ours(name: str, limits: str) -> Finding:
    """Our curves."""
    analysis, loose = replace(CURVES[name][1], conf_type=limits), CURVES[name][0] == "km_lung"
    return fit(analysis, hospitals(name), LOOSE if loose else EXACT)


@lru_cache
def said(name: str) -> dict[str, Any]:
    """R's curves by group."""
    return dict(oracle(CURVES[name][0])[name]["groups"])


def of(finding: Finding, table: str, group: str, field: str) -> np.ndarray:
    """A field of one group's records, missing values as NaN."""
    return np.array([t[field] for t in finding.tables[table] if t["group"] == group], dtype=float)


def close(got: np.ndarray, wanted: Any, rtol: float = 1e-12) -> None:
    """Alike, with the same values missing."""
    assert np.allclose(got, np.array(wanted, dtype=float), rtol=rtol, atol=0, equal_nan=True), (got, wanted)


@both
def test_survival_at_times_is_rs(name: str, limits: str) -> None:
    got, key = ours(name, limits), LIMITS[limits][0]
    for group, r in said(name).items():
        at = r["at_times"]
        close(of(got, "survival", group, "time"), at["time"])
        for field, theirs in {
            "estimate": "estimate", "std_error": "std_error", "conf_low": f"{key}_low", "conf_high": f"{key}_high",
        }.items():  # fmt: skip
            close(of(got, "survival", group, field), at[theirs])
        if name != "weights_greenwood":  # sums of fractional weights are shown as whole numbers
            close(of(got, "survival", group, "at_risk"), at["at_risk"])


@both
def test_median_is_rs(name: str, limits: str) -> None:
    for group, r in said(name).items():
        quantiles = r[LIMITS[limits][1]]
        for field in ("estimate", "conf_low", "conf_high"):
            close(of(ours(name, limits), "median", group, field), [quantiles[field]["0.5"]])


@pytest.mark.parametrize("name", CURVES)
def test_restricted_mean_is_rs(name: str) -> None:
    for group, r in said(name).items():
        last = r["rmst"][-1]
        assert [t["tau"] for t in ours(name, "log").tables["rmst"] if t["group"] == group] == [last["tau"]]
        for field in ("estimate", "std_error"):
            close(of(ours(name, "log"), "rmst", group, field), [last[field]])
    earlier = fit(replace(CURVES[name][1], tau=said(name)[group]["rmst"][0]["tau"]), hospitals(name), LOOSE)
    for group, r in said(name).items():
        for field in ("estimate", "std_error"):
            close(of(earlier, "rmst", group, field), [r["rmst"][0][field]])


@pytest.mark.parametrize("name", ["by_hormon", "by_sex"])
def test_whole_curve_is_rs(name: str) -> None:
    got = ours(name, "log")
    for group, r in said(name).items():
        table = pd.DataFrame(r["table"])
        for field in ("time", "at_risk", "events", "censored", "estimate"):
            close(of(got, "curve", group, field), table[field])
        close(of(got, "curve", group, "std_error"), table["std_error_log"] * table["estimate"])


def test_groups_of_zeros_and_ones_need_no_levels() -> None:
    got = fit(KaplanMeier("Surv(rtime, recur) ~ hormon", times=TIMES, ground=FINE), by(breast(), "hospital"), EXACT)
    for group, r in said("by_hormon").items():
        close(of(got, "survival", group, "estimate"), r["at_times"]["estimate"])


def test_masked_is_rs() -> None:
    frames = {str(part["hospital"].iloc[0]): part for part in by(breast(), "hospital")}
    got = found(masked(CURVES["by_hormon"][1], frames, allow=["fine_times"]))
    for group, r in said("by_hormon").items():
        close(of(got, "survival", group, "estimate"), r["at_times"]["estimate"])
        close(of(got, "survival", group, "std_error"), r["at_times"]["std_error"])


# On the default ladder ----------------------------------------------------------------------------------------


# A time before which fewer than 11 of a group die, or after which, is no boundary of a cell: survival there is that of
# an even hazard in its cell. Early deaths of the 339 treated, and the last ones over 50 mm, are such.
SHARES = [("by_hormon", 0.25), ("overall", 0.25), ("death_by_hormon", 0.8), ("by_size", 0.7)]


@pytest.mark.parametrize(("name", "share"), SHARES)
def test_on_the_default_ladder_it_is_near_the_exact_one(name: str, share: float) -> None:
    """At 1, 2, 5 and 10 years, on cells of 30 days, 11 events, 11 censorings or more: in standard errors."""
    coarse = fit(replace(CURVES[name][1], ground=Ground(BREAST)), by(breast(), "hospital"), GATE)
    for group, r in said(name).items():
        at = r["at_times"]
        error = np.abs(of(coarse, "survival", group, "estimate") - np.array(at["estimate"])) / np.array(at["std_error"])
        assert error.max() < share, (group, error)
        area = r["rmst"][-1]
        assert abs(of(coarse, "rmst", group, "estimate")[0] - area["estimate"]) < share * area["std_error"]


@pytest.mark.parametrize("name", ["by_hormon", "overall"])
def test_standard_errors_on_the_default_ladder_are_near_the_exact_ones(name: str) -> None:
    coarse = fit(replace(CURVES[name][1], ground=Ground(BREAST)), by(breast(), "hospital"), GATE)
    for group, r in said(name).items():
        close(of(coarse, "survival", group, "std_error"), r["at_times"]["std_error"], 0.05)


def test_no_count_on_the_default_ladder_is_of_a_few() -> None:
    coarse = fit(KaplanMeier("Surv(rtime, recur) ~ size", times=TIMES, ground=Ground(BREAST)), by(breast(), "hospital"))
    for table in ("curve", "survival", "risk"):
        for record in coarse.tables[table]:
            for field in ("at_risk", "events", "censored"):
                assert record.get(field) is None or not 0 < record[field] < GATE.k, record


# By hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "formula", "weights"),
    [
        (KAPLAN_MEIER, "Surv(time, status) ~ 1", ""),
        (KAPLAN_MEIER_LATE, "Surv(entry, time, status) ~ 1", ""),
        (KAPLAN_MEIER_WEIGHTS, "Surv(time, status) ~ 1", "weight"),
    ],
    ids=["plain", "late", "weights"],
)
def test_by_hand(case: dict[str, Any], formula: str, weights: str) -> None:
    frame = pd.DataFrame(case["data"]).astype(float)
    got = fit(KaplanMeier(formula, tau=6, weights=weights, ground=DAY), [frame[:1], frame[1:4], frame[4:]], LOOSE)
    curve = got.summary("curve").set_index("time").loc[case["time"]]
    assert curve["at_risk"].tolist() == case["at_risk"]
    assert curve["events"].tolist() == case["events"]
    close(curve["estimate"].to_numpy(), case["estimate"], 1e-14)
    if "greenwood_sum" in case:
        close((curve["std_error"] / curve["estimate"]).to_numpy() ** 2, case["greenwood_sum"], 1e-13)
    else:
        close(curve["std_error"].to_numpy(), case["std_error"], 1e-14)
    if "rmst" in case:
        assert got.tables["median"][0]["estimate"] == case["median"]
        (area,) = got.tables["rmst"]
        assert area["estimate"] == pytest.approx(case["rmst"]["estimate"], rel=1e-14)
        assert area["std_error"] == pytest.approx(case["rmst"]["std_error"], rel=1e-13)


def test_leukaemia_by_hand() -> None:
    """6-mercaptopurine against placebo (Freireich 1963): a textbook's table."""
    ground = Ground(Schema({"arm": Column("arm", ("6-MP", "placebo"))}), unit="weeks", step=1, fine=True)
    frame = typed(pd.DataFrame(LEUKAEMIA["data"]), ground.schema)
    got = fit(KaplanMeier("Surv(time, status) ~ arm", ground=ground), by(frame, "status"), LOOSE)
    treated = got.summary("curve").query("group == '6-MP' and events > 0")
    assert treated["time"].tolist() == LEUKAEMIA["treated"]["time"]
    assert treated["at_risk"].tolist() == LEUKAEMIA["treated"]["at_risk"]
    assert treated["events"].tolist() == LEUKAEMIA["treated"]["events"]
    close(treated["estimate"].to_numpy(), np.cumprod(LEUKAEMIA["treated"]["factors"]), 1e-14)
    medians = {t["group"]: t["estimate"] for t in got.tables["median"]}
    assert medians == {"6-MP": LEUKAEMIA["treated"]["median"], "placebo": LEUKAEMIA["placebo"]["median"]}


def test_a_curve_that_ends_at_zero_has_no_limits_there() -> None:
    """Everybody dies: R gives NA limits, and the area up to a later time is the whole."""
    frame = pd.DataFrame({"time": [1.0, 2.0, 3.0], "status": 1.0})
    got = fit(KaplanMeier("Surv(time, status) ~ 1", times=(9,), ground=DAY), [frame], LOOSE)
    last = got.tables["curve"][-1]
    assert (last["estimate"], last["std_error"], last["conf_low"]) == (pytest.approx(0.0, abs=1e-300), None, None)
    assert got.tables["rmst"][0]["estimate"] == pytest.approx(2.0, rel=1e-14)


@pytest.mark.parametrize(
    ("formula", "kind", "says"),
    [
        ("age ~ hormon", {}, "Surv"),
        ("Surv(rtime, recur) ~ log(age)", {}, "groups are columns"),
        ("Surv(rtime, recur) ~ hormon", {"times": (0.0,)}, "positive"),
        ("Surv(rtime, recur) ~ hormon", {"conf_type": "arcsin"}, "'log', 'log-log' or 'plain'"),
    ],
)
def test_settings_that_make_no_curve(formula: str, kind: dict[str, Any], says: str) -> None:
    with pytest.raises((FormulaError, StudyError), match=says):
        KaplanMeier(formula, ground=FINE, **kind).check()


def test_a_small_group_is_left_out_of_the_curves() -> None:
    frame = breast()
    few = frame.iloc[np.r_[np.flatnonzero(frame["size"] != ">50")[:900], np.flatnonzero(frame["size"] == ">50")[:7]]]
    got = fit(KaplanMeier("Surv(rtime, recur) ~ size", ground=Ground(BREAST)), by(few, "hospital"))
    assert [t["group"] for t in got.tables["suppressed"]] == [">50"]
    assert column(got, "attrition", "n")[-1] == 900
