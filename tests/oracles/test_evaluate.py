"""Evaluation of risks: what R says of the same risks of real people, and cases by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import EVALUATE

from confrere.analyses.finding import Finding
from confrere.analyses.learning.evaluate import Evaluate
from confrere.hospital.gate import Policy
from confrere.study.schema import Column, Schema
from confrere.testing import Ground
from federate import BREAST, GATE, LOOSE, breast, by, demo, fit, oracle, typed

R = oracle("evaluate")
FINE = Ground(BREAST, fine=True, step=1.0)
HORIZONS = (("risk0", 1461.0), ("risk1", 2555.0))  # R has both, and what needs the last of the second alone
CAUSES = ("censored", "progression", "death")


@lru_cache
def scored() -> pd.DataFrame:
    """The breast demo with risks of few values, as `make_evaluate.R` has them."""
    frame = breast()
    s = np.round(
        6 * np.minimum(frame["nodes"], 10) / 10 + 3.0 * (frame["size"] != "<=20") + 3.0 * (frame["grade"] == 3)
    )
    frame = frame.assign(score=s / 10, risk=1 / (1 + np.exp(0.725 - s / 10)))
    for i, hazard in enumerate((0.4, 0.6)):
        frame[f"risk{i}"] = 1 - np.exp(-hazard * np.exp(frame["score"] - 0.5))
    return frame


@lru_cache
def myeloma() -> pd.DataFrame:
    """The myeloma demo with a risk of few values."""
    frame = demo("myeloma")
    frame = frame.dropna(subset=["etime", "event", "age", "hgb", "mspike"])
    s = np.round(4 * (frame["mspike"] - 1.2) - (frame["hgb"] - 13) / 2 - (frame["age"] - 70) / 20) / 4
    return frame.assign(risk=1 - np.exp(-0.1 * np.exp(s.clip(-2, 2))))


@lru_cache
def binary(policy: Policy = LOOSE) -> Finding:
    return fit(Evaluate("recur", "risk", by="meno_level", thresholds=(0.5,), ground=Ground(BREAST)),
               by(scored(), "hospital"), policy)  # fmt: skip


@lru_cache
def followed(policy: Policy = LOOSE, at: int = 1) -> Finding:
    ground = FINE if policy is not GATE else Ground(BREAST)
    risk, horizon = HORIZONS[at]
    return fit(Evaluate("Surv(rtime, recur)", risk, times=horizon, by="meno_level", ground=ground),
               by(scored(), "hospital"), policy)  # fmt: skip


def row(found: Finding, metric: str, level: str = "") -> dict[str, Any]:
    (one,) = (r for r in found.tables["metrics"] if (r["metric"], r["level"]) == (metric, level))
    return one


LEVELS = pytest.mark.parametrize("level", ["", "0", "1"])


@LEVELS
def test_risks_of_a_binary_outcome_are_r_s(level: str) -> None:
    found, expected = binary(), R["binary"][level or "all"]
    auc = row(found, "AUC", level)
    assert auc["estimate"] == pytest.approx(expected["auc"], rel=1e-12)
    assert auc["std_error"] == pytest.approx(expected["auc_se"], rel=1e-10)
    assert [auc["conf_low"], auc["conf_high"]] == pytest.approx(expected["auc_limits"], rel=1e-10)
    for metric, name in (("Brier score", "brier"), ("log loss", "log_loss")):
        assert row(found, metric, level)["estimate"] == pytest.approx(expected[name], rel=1e-12)
        assert row(found, metric, level)["std_error"] == pytest.approx(expected[f"{name}_se"], rel=1e-9)
    assert row(found, "observed/expected", level)["estimate"] == pytest.approx(expected["observed_expected"], rel=1e-12)
    for metric, name, at in (("calibration in the large", "large", None), ("calibration slope", "line", 1)):
        wanted, se = expected[name], expected[f"{name}_se"]
        assert row(found, metric, level)["estimate"] == pytest.approx(wanted if at is None else wanted[at], abs=1e-9)
        assert row(found, metric, level)["std_error"] == pytest.approx(se if at is None else se[at], rel=1e-8)
    sizes = next(r for r in found.tables["subgroups"] if r["level"] == level)
    assert (sizes["n"], sizes["events"]) == (expected["n"], expected["events"])


@LEVELS
def test_decisions_at_a_threshold_are_r_s(level: str) -> None:
    found, expected = binary(), R["binary"][level or "all"]
    near = [r for r in found.tables["decision"] if r["level"] == level and abs(r["threshold"] - 0.5) < 1e-9]
    assert near[0]["net_benefit"] == pytest.approx(expected["benefit"], rel=1e-10)
    assert near[0]["treat_all"] == pytest.approx(expected["treat_all"], rel=1e-10)
    told = {r["measure"]: r for r in found.tables["confusion"] if r["level"] == level}
    names = {"sensitivity": "sensitivity", "specificity": "specificity", "positive predictive value": "ppv",
             "negative predictive value": "npv"}  # fmt: skip
    for measure, name in names.items():
        assert told[measure]["estimate"] == pytest.approx(expected[name], rel=1e-12)
    limits = [told["sensitivity"]["conf_low"], told["sensitivity"]["conf_high"]]
    assert limits == pytest.approx(expected["sensitivity_limits"], rel=1e-9)


def test_recalibration_is_the_regression_of_r() -> None:
    intercept, slope = R["binary"]["all"]["line"]
    assert binary().facts["recalibration_intercept"] == pytest.approx(intercept, abs=1e-9)
    assert binary().facts["recalibration_slope"] == pytest.approx(slope, abs=1e-9)


def test_cells_of_the_gate_lose_little() -> None:
    found, expected = binary(GATE), R["binary"]["all"]
    assert row(found, "AUC")["estimate"] == pytest.approx(expected["auc"], abs=0.009)  # of cells of two levels
    alone = fit(Evaluate("recur", "risk", ground=Ground(BREAST)), by(scored(), "hospital"), GATE)
    assert row(alone, "AUC")["estimate"] == pytest.approx(expected["auc"], abs=0.004)
    assert row(found, "Brier score")["estimate"] == pytest.approx(expected["brier"], rel=1e-12)
    assert row(found, "calibration slope")["estimate"] == pytest.approx(expected["line"][1], abs=1e-9)


@LEVELS
def test_risks_of_people_who_are_followed_are_r_s(level: str) -> None:
    expected = R["followed"][level or "all"]
    for i, (_, horizon) in enumerate(HORIZONS):
        found = followed(at=i)
        for metric, name in (("AUC", "auc"), ("Brier score", "brier"), ("observed risk", "observed"),
                             ("mean predicted risk", "expected")):  # fmt: skip
            assert row(found, metric, level)["estimate"] == pytest.approx(expected[name][i], rel=1e-10)
        assert row(found, "observed risk", level)["std_error"] == pytest.approx(expected["observed_se"][i], rel=1e-9)
        groups = [r for r in found.tables["calibration"] if r["level"] == level]
        mean = np.average([r["predicted"] for r in groups], weights=[r["n"] for r in groups])
        assert mean == pytest.approx(expected["expected"][i], rel=1e-9)
        assert {r["time"] for r in found.tables["calibration"]} == {horizon}
    found = followed()
    for metric, name in (("Harrell's concordance", "harrell"), ("Uno's concordance", "uno"),
                         ("calibration slope", "slope")):  # fmt: skip
        assert row(found, metric, level)["estimate"] == pytest.approx(expected[name], rel=1e-9)
    assert row(found, "Harrell's concordance", level)["std_error"] == pytest.approx(expected["harrell_se"], rel=1e-9)
    assert row(found, "calibration slope", level)["std_error"] == pytest.approx(
        expected["slope_se"], rel=5e-3
    )  # one weight a kind and bin
    if not level:
        assert found.facts["recalibration_intercept"] == pytest.approx(expected["intercept"], rel=1e-9)
        assert found.facts["recalibration_slope"] == row(found, "calibration slope")["estimate"]


@pytest.mark.parametrize(("metric", "name"), [("AUC", "auc_se"), ("Brier score", "brier_se")])
def test_standard_errors_are_those_of_the_jackknife(metric: str, name: str) -> None:
    assert row(followed(), metric)["std_error"] == pytest.approx(R["followed"]["all"][name], rel=2e-3)


MEASURES = {"sensitivity": "sensitivity", "specificity": "specificity", "positive predictive value": "ppv",
            "negative predictive value": "npv"}  # fmt: skip


def decides(found: Finding, level: str, expected: dict[str, float], near: float) -> None:
    """That what follows at a threshold is R's: errors to `near`, and limits beside the estimates."""
    told = {r["measure"]: r for r in found.tables["confusion"] if r["level"] == level}
    for measure, name in MEASURES.items():
        one = told[measure]
        assert one["edge"] == expected["cut"]
        assert one["estimate"] == pytest.approx(expected[name], rel=1e-9)
        assert one["std_error"] == pytest.approx(expected[f"{name}_se"], rel=near)
        assert 0 <= one["conf_low"] < one["estimate"] < one["conf_high"] <= 1
        wide = one["conf_high"] - one["conf_low"]
        assert wide == pytest.approx(2 * 1.96 * one["std_error"], rel=0.05)
    (one,) = [
        r for r in found.tables["decision"] if r["level"] == level and abs(r["threshold"] - expected["cut"]) < 1e-9
    ]
    assert one["net_benefit"] == pytest.approx(expected["benefit"], rel=1e-9)
    assert one["std_error"] == pytest.approx(expected["benefit_se"], rel=near)
    assert one["conf_high"] - one["net_benefit"] == pytest.approx(1.96 * one["std_error"], rel=1e-3)


@pytest.mark.parametrize("level", ["", "0"])
def test_decisions_at_a_horizon_are_r_s(level: str) -> None:
    """Errors are the jackknife's, also of net benefit, for which a share and a risk are taken not to hang together."""
    found = fit(Evaluate("Surv(rtime, recur)", "risk1", times=2555.0, by="meno_level", thresholds=(0.5,), ground=FINE),
                by(scored(), "hospital"), LOOSE)  # fmt: skip
    decides(found, level, R["followed"][level or "all"]["treated"], 1e-2)


def test_decisions_of_a_cause_are_r_s() -> None:
    schema = Schema({"event": Column("event", CAUSES)})
    frame = typed(myeloma()[["etime", "event", "risk"]], schema)
    asked = Evaluate("Surv(etime, event)", "risk", times=120.0, cause="progression", thresholds=(0.1,),
                     ground=Ground(schema, "months", step=1.0, fine=True))  # fmt: skip
    decides(fit(asked, [frame[i::3] for i in range(3)], LOOSE), "", R["competing"]["treated"], 2e-2)


def test_cells_of_time_lose_little() -> None:
    found, expected = followed(GATE), R["followed"]["all"]
    assert row(found, "AUC")["estimate"] == pytest.approx(expected["auc"][1], abs=0.01)
    assert row(found, "Harrell's concordance")["estimate"] == pytest.approx(expected["harrell"], abs=0.01)
    assert row(found, "Brier score")["estimate"] == pytest.approx(expected["brier"][1], rel=0.005)
    assert row(found, "observed risk")["estimate"] == pytest.approx(expected["observed"][1], rel=0.01)
    assert row(found, "calibration slope")["estimate"] == pytest.approx(expected["slope"], rel=0.01)


def test_risks_of_a_cause_are_r_s() -> None:
    schema = Schema({"event": Column("event", CAUSES)})
    frame, expected = typed(myeloma()[["etime", "event", "risk"]], schema), R["competing"]
    ground = Ground(schema, "months", step=1.0, fine=True)
    found = fit(Evaluate("Surv(etime, event)", "risk", times=120.0, cause="progression", ground=ground),
                [frame[i::3] for i in range(3)], LOOSE)  # fmt: skip
    for metric, name in (("AUC", "auc"), ("Brier score", "brier"), ("Wolbers's concordance", "wolbers"),
                         ("observed risk", "observed"), ("calibration slope", "slope")):  # fmt: skip
        assert row(found, metric)["estimate"] == pytest.approx(expected[name], rel=1e-9), metric
    assert row(found, "observed risk")["std_error"] == pytest.approx(expected["observed_se"], rel=1e-9)
    assert row(found, "calibration slope")["std_error"] == pytest.approx(
        expected["slope_se"], rel=5e-3
    )  # one weight a kind and bin
    assert found.facts["recalibration_intercept"] == pytest.approx(expected["intercept"], rel=1e-9)
    for metric, name in (("AUC", "auc_se"), ("Brier score", "brier_se")):
        assert row(found, metric)["std_error"] == pytest.approx(expected[name], rel=2e-2)


@pytest.mark.parametrize("by_level", ["", "meno_level"])
def test_the_slope_needs_no_bins(by_level: str) -> None:
    """Of a model of the nodes alone, of which a few women have many: on the rows, with their own weights, it is R's."""
    found = fit(Evaluate("Surv(rtime, recur)", model="nodes", coefficients={"nodes": 0.1}, link="cox", baseline=0.75,
                         times=1826.0, by=by_level, ground=Ground(BREAST)), by(breast(), "hospital"), GATE)  # fmt: skip
    slope, expected = row(found, "calibration slope"), R["nodes"]
    assert found.facts["bins_of_risk"] <= 8
    assert slope["estimate"] == pytest.approx(expected["slope"], abs=0.005)
    assert slope["std_error"] == pytest.approx(expected["slope_se"], rel=0.01)
    assert found.facts["recalibration_intercept"] == pytest.approx(expected["intercept"], abs=0.01)


def test_several_times_of_hazards_are_scikit_survival_s() -> None:
    """Nine risks, each in a bin of its own, and exact times: the integrated Brier score too."""
    expected = oracle("integrated")
    frame = pd.DataFrame({key: expected[key] for key in ("time", "event", "eta")})
    (*grid, horizon), (*survival, baseline) = expected["times"], expected["survival"]
    asked = Evaluate("Surv(time, event)", model="eta", coefficients={"eta": 1.0}, link="cox", times=horizon,
                     baseline=baseline, grid=grid, survival=survival, ground=Ground(fine=True, step=1.0))  # fmt: skip
    found = fit(asked, [frame[i::3] for i in range(3)], LOOSE)
    rows = found.tables["horizons"]
    for metric, name in (("AUC", "auc"), ("Brier score", "brier")):
        told = [r for r in rows if r["metric"] == metric]
        assert [r["estimate"] for r in told] == pytest.approx(expected[name], rel=1e-9)
        assert [r["edge"] for r in told] == [r["time"] for r in told] == expected["times"]
        assert told[-1]["estimate"] == pytest.approx(row(found, metric)["estimate"], rel=1e-9)
        assert told[-1]["std_error"] == pytest.approx(row(found, metric)["std_error"], rel=1e-9)
    assert row(found, "integrated Brier score")["estimate"] == pytest.approx(expected["integrated"], rel=1e-9)
    coarse = fit(replace(asked, ground=Ground()), [frame[i::3] for i in range(3)], GATE)
    brier = [r["estimate"] for r in coarse.tables["horizons"] if r["metric"] == "Brier score"]
    assert brier[-1] == row(coarse, "Brier score")["estimate"]
    assert row(coarse, "integrated Brier score")["estimate"] == pytest.approx(expected["integrated"], rel=0.02)


def test_by_hand_binary() -> None:
    frame = pd.DataFrame(EVALUATE["binary"])
    found = fit(Evaluate("y", "p", thresholds=(0.5,)), [frame[:3], frame[3:]], LOOSE)
    for metric, value in EVALUATE["metrics"].items():
        assert row(found, metric)["estimate"] == pytest.approx(value, abs=1e-9), metric
    benefit = next(r for r in found.tables["decision"] if abs(r["threshold"] - 0.5) < 1e-9)
    assert benefit["net_benefit"] == pytest.approx(EVALUATE["net_benefit"], abs=1e-12)


def test_by_hand_followed() -> None:
    frame = pd.DataFrame(EVALUATE["followed"]).astype(float)
    ground = Ground(fine=True, step=1.0)
    found = fit(Evaluate("Surv(t, e)", "p", times=3.0, ground=ground), [frame[:3], frame[3:]], LOOSE)
    for metric, value in EVALUATE["followed_metrics"].items():
        assert row(found, metric)["estimate"] == pytest.approx(value, abs=1e-9), metric
