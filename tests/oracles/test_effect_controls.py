"""Calibration by controls and E-values against R, the package's reference data, and cases by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import EFFECT_CONTROLS, EFFECT_E_VALUES
from scipy import integrate, stats

from confrere.analyses.effects.calibration import Errors, errors_of, null_of
from confrere.analyses.effects.controls import calibrated
from confrere.analyses.effects.measures import record
from confrere.analyses.effects.sensitivity import About, e_value, e_value_of_limit, risk_ratio, sensitivity
from confrere.errors import ModelError
from federate import SHARED

ORACLE = json.loads((Path(__file__).parent / "controls.json").read_text())
FOLDER = SHARED / "pharmacovigilance"


def known(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """Log ratios, standard errors and true log ratios of the controls of a data set, and the first estimate asked."""
    frame = pd.read_csv(FOLDER / f"empcal_{name}.csv")
    if name == "sccs":
        frame["trueLogRr"] = frame["groundTruth"].map({0: 0.0, 1: np.nan})
    controls, asked = frame.dropna(subset="trueLogRr"), frame[frame["trueLogRr"].isna()].iloc[0]
    columns = (controls[c].to_numpy(dtype=float) for c in ("logRr", "seLogRr", "trueLogRr"))
    return *columns, (float(asked["logRr"]), float(asked["seLogRr"]))  # type: ignore[return-value]


@pytest.mark.shared
@pytest.mark.parametrize("name", ORACLE["calibration"])
def test_errors_of_the_reference_sets_are_r_s(name: str) -> None:
    """Maxima to 1e-6 (R's optimiser has no more), what follows from them to 1e-6; null as the folder's reference."""
    want = ORACLE["calibration"][name]
    estimate, se, truth, asked = known(name)
    null = null_of(estimate[truth == 0], se[truth == 0])
    np.testing.assert_allclose((null.mean, null.sd), want["null"], atol=1e-6)
    reference = json.loads((FOLDER / "oracle.json").read_text())["empirical_null_ML"][name]
    np.testing.assert_allclose((null.mean, null.sd), (reference["null_mean"], reference["null_sd"]), atol=1e-7)
    assert null.ease == pytest.approx(want["ease"], abs=1e-6)
    assert null.p_value(*asked) == pytest.approx(want["p_value"], abs=1e-6)
    errors = errors_of(estimate, se, truth) if truth.any() else null
    np.testing.assert_allclose(errors, want["errors"], atol=1e-6)
    np.testing.assert_allclose(errors.limits(*asked), want["limits"], atol=1e-6)


@pytest.mark.shared
def test_a_ratio_is_calibrated_by_the_controls_at_its_time() -> None:
    """Two of the sets as two times of one table of controls: R's numbers at either."""
    sets = {365.0: "grahamReplication", 730.0: "southworthReplication"}
    rows, asked = [], {}
    for time, name in sets.items():
        *columns, asked[time] = known(name)
        for estimate, se, truth in zip(*columns, strict=True):
            row = {"time": time, "estimate": estimate, "std_error": se, "truth": float(np.exp(truth))}
            rows.append({"measure": "risk ratio", **row})
    for time, name in sets.items():
        want, (estimate, se) = ORACLE["calibration"][name], asked[time]
        got = calibrated({"measure": "risk ratio", "time": time, "estimate": estimate, "std_error": se}, rows)
        assert (got["measure"], got["time"]) == ("risk ratio", time)
        assert got["p_value"] == pytest.approx(want["p_value"], abs=1e-6)
        assert got["ease"] == pytest.approx(want["ease"], abs=1e-6)
        limits = [got[field] for field in ("estimate", "conf_low", "conf_high")]
        np.testing.assert_allclose(limits, want["limits"], atol=2e-6)


def test_errors_by_hand() -> None:
    case: dict[str, Any] = EFFECT_CONTROLS
    negative, positive, se = np.array(case["negative"]), np.array(case["positive"]), np.full(5, case["se"])
    null = null_of(negative, se)
    np.testing.assert_allclose((null.mean, null.sd), case["null"], atol=1e-7)
    assert null.p_value(case["estimate"], case["se"]) == pytest.approx(2 * stats.norm.sf(case["z"]), rel=1e-6)
    middle, low, high = null.limits(case["estimate"], case["se"])
    reach = stats.norm.ppf(0.975) * np.sqrt(0.08)
    np.testing.assert_allclose((middle, low, high), 2 * np.sqrt(0.08) + np.array([0, -reach, reach]), atol=1e-6)
    truth = np.repeat([0.0, 1.0], 5)
    errors = errors_of(np.concatenate([negative, positive]), np.full(10, case["se"]), truth)
    np.testing.assert_allclose(errors, case["errors"], atol=1e-5)


def test_errors_without_systematic_error_leave_an_estimate_as_it_is() -> None:
    """Controls that scatter by less than chance: no error is found, and p and limits stay."""
    null = null_of(np.array([-0.1, 0.1, 0.0, -0.05, 0.05]), np.full(5, 0.3))
    np.testing.assert_allclose(null, (0, 1, 0, 0), atol=1e-12)
    assert null.ease == pytest.approx(0.0, abs=1e-12)
    assert null.p_value(0.3, 0.15) == pytest.approx(2 * stats.norm.sf(2.0))
    np.testing.assert_allclose(null.limits(0.3, 0.15), 0.3 + 0.15 * stats.norm.ppf([0.5, 0.025, 0.975]), atol=1e-9)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 0.3), (0.5, 0.2), (-0.8, 0.1), (0.05, 1.0)])
def test_ease_is_the_mean_absolute_error(mean: float, sd: float) -> None:
    want, _ = integrate.quad(lambda x: abs(x) * stats.norm.pdf(x, mean, sd), mean - 10 * sd, mean + 10 * sd, points=[0])
    assert Errors(mean, 1.0, sd, 0.0).ease == pytest.approx(want, rel=1e-8)


def test_limits_are_open_where_errors_grow_faster_than_effects() -> None:
    _, low, high = Errors(0.0, 1.0, 0.1, 1.0).limits(0.5, 0.1)
    assert (low, high) == (-np.inf, np.inf)


def test_controls_that_tell_nothing_are_named() -> None:
    with pytest.raises(ModelError, match="4 controls could be estimated; systematic error needs 5"):
        null_of(np.zeros(4), np.ones(4))
    with pytest.raises(ModelError, match="no finite estimate"):
        null_of(np.array([0.0, 0.1, 0.2, 0.3, np.nan]), np.ones(5))
    with pytest.raises(ModelError, match="other than that of the negative"):
        errors_of(np.arange(5.0), np.ones(5), np.zeros(5))


# --- E-values ---------------------------------------------------------------------------------------------------


def of_limits(measure: str, ratio: list[float]) -> dict[str, Any]:
    """A record with an estimate and limits of a ratio."""
    made = dict(zip(("estimate", "conf_low", "conf_high"), np.log(ratio).tolist(), strict=True))
    return {"measure": measure, "std_error": np.nan, **made}


@pytest.mark.parametrize(
    ("case", "measure"), [("risk_ratio", "risk ratio"), ("odds_ratio", "odds ratio"), ("hazard_ratio", "hazard ratio")]
)
def test_e_values_of_ratios_equal_the_published_formulas(case: str, measure: str) -> None:
    want = ORACLE["evalues"][case]
    (row,) = sensitivity([of_limits(measure, want["ratio"])], About(risk=0.4))
    assert row["e_value"] == pytest.approx(want["e_value"], rel=1e-12)
    assert row["e_value_limit"] == pytest.approx(want["limit"], rel=1e-12)


def test_published_e_values() -> None:
    """VanderWeele & Ding 2017, breast feeding: 3.9 (1.8 to 8.7) has 7.26, 3.0; 0.80 (0.71 to 0.91) 1.81, 1.43."""
    for ratio, want in (([3.9, 1.8, 8.7], (7.26, 3.0)), ([0.80, 0.71, 0.91], (1.81, 1.43))):
        (row,) = sensitivity([of_limits("risk ratio", ratio)], About())
        assert (round(row["e_value"], 2), round(row["e_value_limit"], 2)) == want


def test_e_values_of_a_mean_difference() -> None:
    want = ORACLE["evalues"]["mean_difference"]
    d, se = want["d"]
    about = About(np.array([5.0, 4.0]), np.eye(2), sd=2.0)
    (row,) = sensitivity([record("mean difference", 2 * d, 2 * se)], about)
    assert row["e_value"] == pytest.approx(want["e_value"], rel=1e-12)
    assert row["e_value_limit"] == pytest.approx(want["limit"], rel=1e-12)


def test_the_e_value_of_a_risk_difference_is_that_of_r_s_search() -> None:
    """Hammond and Horn's smokers. The limit is Fieller's; the search steps by 1e-5, and has the share's variance."""
    want = ORACLE["evalues"]["risk_difference"]
    n11, n10, n01, n00 = want["n"]
    people = np.array([n01 + n00, n11 + n10])
    risk = np.array([n01, n11]) / people
    vcov = np.diag(risk * (1 - risk) / people)
    (row,) = sensitivity([record("risk difference", float(risk[1] - risk[0]), float(np.sqrt(vcov.trace())))],
                         About(risk, vcov))  # fmt: skip
    assert row["e_value"] == pytest.approx(want["e_value"], rel=1e-9)
    assert row["e_value_limit"] == pytest.approx(want["limit"], rel=5e-6)


def test_e_values_by_hand() -> None:
    case: dict[str, Any] = EFFECT_E_VALUES
    assert e_value(case["risk ratio"]) == pytest.approx(2.0)
    assert e_value(1 / case["risk ratio"]) == pytest.approx(2.0)
    assert e_value(1.0) == 1.0
    common = risk_ratio(of_limits("odds ratio", [case["odds ratio"]] * 3), About(risk=0.5))
    assert common is not None
    assert e_value(common.estimate) == pytest.approx(2.0)
    risks = np.array(case["risk difference"])
    (row,) = sensitivity([record("risk difference", 1 / 12, 1e-9)], About(risks, np.zeros((2, 2))))
    assert row["e_value"] == row["e_value_limit"] == pytest.approx(2.0)


def test_limits_that_hold_no_effect_need_no_confounder_to_be_explained() -> None:
    (row,) = sensitivity([of_limits("risk ratio", [1.2, 0.9, 1.6])], About())
    assert row["e_value_limit"] == 1.0
    assert row["tipping"] is None
    ratio = risk_ratio(of_limits("hazard ratio", [1.0, 0.9, 1.1]), About(risk=0.5))
    assert ratio is not None
    assert e_value_of_limit(ratio) == 1.0


def test_rare_outcomes_need_no_approximation_and_others_without_arms_have_none() -> None:
    rare = risk_ratio(of_limits("hazard ratio", [2.0, 1.5, 2.7]), About(risk=0.1))
    assert rare is not None
    assert rare[:3] == pytest.approx((2.0, 1.5, 2.7))
    assert rare.by == "rare outcome"
    (row,) = sensitivity([record("RMST difference", 20.0, 5.0)], About(risk=0.1))
    assert row["risk_ratio"] is row["e_value"] is row["e_value_limit"] is None
    assert row["tipping"] == pytest.approx(-20 + 5 * stats.norm.ppf(0.975))


def test_a_difference_of_risks_at_a_time_goes_by_the_ratio_beside_it() -> None:
    beside = {**of_limits("risk ratio", [4 / 3, 1.1, 1.6]), "time": 365.0}
    other = {**of_limits("risk ratio", [3.0, 2.0, 4.0]), "time": 730.0}
    rows = sensitivity([{**record("risk difference", 0.1, 0.01), "time": 365.0}, beside, other], About())
    assert rows[0]["e_value"] == pytest.approx(2.0)
    assert rows[0]["time"] == 365.0


def test_tipping_points_by_hand() -> None:
    """A difference of 0.1 with limits 0.06 to 0.14: 0.06 less. A fifth is missing: 0.3 less among these."""
    z = stats.norm.ppf(0.975)
    effect = record("risk difference", 0.1, 0.04 / z)
    (row,) = sensitivity([effect], About(np.array([0.3, 0.4]), np.eye(2) * 1e-4, missing=0.2))
    assert row["tipping"] == pytest.approx(-0.06)
    assert row["tipping_missing"] == pytest.approx(-0.3)
    (row,) = sensitivity([effect], About(np.array([0.3, 0.4]), np.eye(2) * 1e-4, missing=0.1))
    assert row["tipping_missing"] is None  # their risk would have to be 0.4 - 0.6
    (row,) = sensitivity([of_limits("risk ratio", [0.5, 0.4, 0.8])], About(missing=0.2))
    assert row["tipping"] == pytest.approx(1 / 0.8)
    assert row["tipping_missing"] is None
