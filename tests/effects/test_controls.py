"""Controls beside an effect: shared rounds, errors found and taken off, diagnostics, and what the airlock does then."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.controls import Control, Diagnostics, calibrated
from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.coordinator.airlock import Rule, checks
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import name_of
from confrere.study.file import Study, parse
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.study.write import written
from confrere.testing import GATE, LOOSE, fit, found, masked

NEGATIVE = tuple(Control(f"n{j}") for j in range(10))
POSITIVE = tuple(Control(f"p{j}", 2.0) for j in range(2))
EFFECT = Effect("a", "y", "x", controls=NEGATIVE)


def world(n: int = 3000, hidden: float = 1.0, seed: int = 1) -> pd.DataFrame:
    """A confounder x, a hidden one; ten outcomes without effect; two and one that treatment makes twice as common."""
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=(2, n))
    a = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x - hidden * u))).astype(float)
    made: dict[str, Any] = {"x": x, "a": a, "b": (rng.random(n) < 0.5).astype(float)}
    risk = np.minimum(0.2 * np.exp(0.2 * x + 0.3 * hidden * u), 0.5)
    for j in range(10):
        made[f"n{j}"] = (rng.random(n) < risk).astype(float)
    for name in ("p0", "p1", "y"):
        made[name] = (rng.random(n) < risk * (1 + a)).astype(float)
    made["time"] = np.ceil(rng.exponential(800, n)).clip(1, 1500)
    return pd.DataFrame(made)


def three(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Three hospitals."""
    return [frame.iloc[i::3] for i in range(3)]


def run(effect: Effect, frame: pd.DataFrame) -> Finding:
    """The finding under the default gate, settings checked first."""
    effect.check()
    return fit(effect, three(frame), GATE)


def test_hidden_confounding_is_seen_in_controls_and_taken_off() -> None:
    """The true ratio is 2: outside the limits as they are, inside the calibrated ones."""
    got = run(replace(EFFECT, controls=(*NEGATIVE, *POSITIVE)), world(6000))
    (row,) = [r for r in got.tables["effects"] if r["measure"] == "risk ratio"]
    (made,) = [r for r in got.tables["calibrated"] if r["measure"] == "risk ratio"]
    assert row["ratio_low"] > 2.0
    assert made["ratio_low"] < 2.0 < made["ratio_high"]
    assert made["ratio"] < row["ratio"]
    assert made["p_value"] > row["p_value"]
    assert (made["negative_controls"], made["positive_controls"]) == (10, 2)
    assert made["ease"] == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("settings", [{}, {"estimator": "aipw", "times": (730.0,)}])
def test_controls_of_one_cause_calibrate_each_of_causes_that_compete(settings: dict[str, Any]) -> None:
    """`cause` is of the outcome alone: a control Surv(time, mark) has none, and counts for it."""
    frame = world(3000)
    levels = ("alive", "relapse", "death")
    ill = np.where(frame["y"] == 0, 0, 1 + (frame["n0"] > 0))
    frame["fate"] = pd.Categorical.from_codes(ill, levels)
    controls = tuple(Control(f"Surv(time, n{j})") for j in range(1, 7))
    effect = Effect(
        "a", "Surv(time, fate)", "x", cause="relapse", controls=controls,
        ground=Ground(Schema({"fate": Column("fate", levels)})), **settings,
    )  # fmt: skip
    got = run(effect, frame)
    assert {row["reason"] for row in got.tables["controls"]} == {""}
    assert not any("cause" in row for row in got.tables["controls"])
    measures = {(row["measure"], row["cause"]) for row in got.tables["calibrated"]}
    ratio = "risk ratio" if settings else "hazard ratio"
    assert measures == {(ratio, c) for c in (levels[1:] if settings else ("relapse",))}
    assert {row["negative_controls"] for row in got.tables["calibrated"]} == {6}


def test_without_confounding_calibration_changes_little() -> None:
    got = run(EFFECT, world(6000, hidden=0.0))
    row, made = got.tables["effects"][1], got.tables["calibrated"][0]
    assert row["measure"] == made["measure"] == "risk ratio"
    assert made["ratio"] == pytest.approx(row["ratio"], rel=0.05)
    assert made["ratio_low"] < 2.0 < made["ratio_high"]
    assert made["ease"] < 0.05


def test_a_control_is_estimated_as_the_effect_is() -> None:
    """Each as an effect of its own on the same people gives the same; there is one propensity for all."""
    frame = world(1500)
    frame["n3"] = frame["n3"].mask(np.arange(1500) % 10 == 0)
    got = run(EFFECT, frame)
    assert got.n == 1350  # everybody has all outcomes
    alone = fit(Effect("a", "n2", "x"), three(frame.dropna()), LOOSE)
    (want,) = [r for r in alone.tables["effects"] if r["measure"] == "odds ratio"]
    (row,) = [r for r in got.tables["controls"] if (r["outcome"], r["measure"]) == ("n2", "odds ratio")]
    for name in ("estimate", "std_error", "ratio_high"):
        assert row[name] == pytest.approx(want[name], rel=1e-8)


def test_the_propensity_and_the_balance_are_asked_once() -> None:
    results = masked(EFFECT, dict(zip("abc", three(world(1500)), strict=True)))
    assert found(results).tables["calibrated"]
    times = Counter((sent.analysis, sent.step, sent.name) for sent in results.left)
    assert times["_nuisance", "start", "outcome"] == times["_propensity_overlap", "counted", "people"] == 1
    assert times["_arms", "balanced", "after"] == 1
    assert times["_arms", "squares", "second"] == 1 + len(NEGATIVE)
    single = masked(Effect("a", "y", "x"), dict(zip("abc", three(world(1500)), strict=True)))
    assert results.rounds == single.rounds


def test_a_control_treatment_has_its_own_propensity() -> None:
    effect = replace(EFFECT, controls=(*NEGATIVE, Control(treatment="b")))
    frame = world(1500)
    got = run(effect, frame)
    (row,) = [r for r in got.tables["controls"] if (r["treatment"], r["measure"]) == ("b", "risk ratio")]
    want = fit(Effect("b", "y", "x"), three(frame), LOOSE).tables["effects"][1]
    assert row["outcome"] == "y"
    assert row["std_error"] == pytest.approx(want["std_error"], rel=1e-8)


def test_times_to_events_are_calibrated_by_their_hazards() -> None:
    controls = tuple(Control(f"Surv(time, n{j})") for j in range(6))
    got = run(Effect("a", "Surv(time, y)", "x", controls=controls), world(1500))
    assert [r["measure"] for r in got.tables["calibrated"]] == ["hazard ratio"]
    assert got.tables["calibrated"][0]["negative_controls"] == 6


def test_each_time_has_its_own_errors() -> None:
    """A control counts once; at either time the numbers are those of the run that asks about this time alone."""
    controls = tuple(Control(f"Surv(time, n{j})") for j in range(6))
    effect = Effect("a", "Surv(time, y)", "x", estimator="aipw", controls=controls)
    frame = world(3000)
    rows = run(replace(effect, times=(365.0, 730.0)), frame).tables["calibrated"]
    assert [(r["measure"], r["time"], r["negative_controls"]) for r in rows] == [
        ("risk ratio", 365.0, 6), ("risk ratio", 730.0, 6)
    ]  # fmt: skip
    assert rows[0]["error_mean"] != rows[1]["error_mean"]
    for row in rows:
        (alone,) = run(replace(effect, times=(row["time"],)), frame).tables["calibrated"]
        for name in ("estimate", "conf_low", "p_value", "ease", "error_mean", "error_sd"):
            assert row[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-6)  # the grids differ by a cell's edge


def test_each_cause_has_its_own_errors_and_a_control_without_causes_counts_for_each() -> None:
    effect = {"measure": "risk ratio", "cause": "relapse", "time": 365.0, "estimate": 0.3, "std_error": 0.1}
    rows = [
        {"measure": "risk ratio", "time": 365.0, "estimate": e, "std_error": 0.1, "truth": 1.0} | cause
        for e in (0.1, 0.2, 0.0) for cause in ({}, {"cause": "relapse"}, {"cause": "death"})
    ]  # fmt: skip
    got = calibrated(effect, rows)
    assert got["cause"] == "relapse"
    assert got["negative_controls"] == 6


def test_a_control_that_nobody_has_is_said_and_left_out() -> None:
    frame = world(1500)
    frame["n0"] = 0.0
    got = run(EFFECT, frame)
    row = got.tables["controls"][0]
    assert row["estimate"] is None
    assert "the same for everybody" in row["reason"]
    assert got.tables["calibrated"][0]["negative_controls"] == 9
    with pytest.raises(ModelError, match="4 controls could be estimated"):
        run(replace(EFFECT, controls=NEGATIVE[:5]), frame)


def test_controls_of_an_outcome_without_ratio() -> None:
    frame = world(1500).assign(z=lambda f: f["x"] + np.random.default_rng(5).normal(size=1500))
    with pytest.raises(ModelError, match="controls calibrate ratios"):
        fit(replace(EFFECT, outcome="z"), three(frame), LOOSE)


# --- diagnostics ------------------------------------------------------------------------------------------------


def test_a_missed_threshold_is_warned_of_and_keeps_the_result_in_the_airlock() -> None:
    frame = world(3000)
    wanted = Diagnostics(smd=0.1, equipoise=0.2, ease=0.05)
    got = run(replace(EFFECT, diagnostics=wanted), frame)
    rows = {r["diagnostic"]: r for r in got.tables["diagnostics"]}
    assert [rows[name]["passed"] for name in ("smd", "equipoise", "ease")] == [True, True, False]
    assert rows["ease"]["value"] == max(r["ease"] for r in got.tables["calibrated"])
    assert rows["smd"]["value"] == max(abs(r["smd_after"]) for r in got.tables["balance"])
    assert [c.code for c in got.warnings] == ["diagnostics-failed"]
    (check,) = [c for c in checks({"it": got}, Rule(11)) if c.check == "diagnostics"]
    assert check.verdict == "fail"
    assert check.reason == "Beyond the study's thresholds: ease."


def test_thresholds_that_are_met_let_it_go() -> None:
    got = run(replace(EFFECT, diagnostics=Diagnostics(0.1, 0.2, 0.25)), world(3000, hidden=0.0))
    assert all(r["passed"] for r in got.tables["diagnostics"])
    assert not got.warnings
    assert [c.verdict for c in checks({"it": got}, Rule(11)) if c.check == "diagnostics"] == ["pass"]


def test_thresholds_need_no_controls() -> None:
    got = run(replace(EFFECT, controls=(), diagnostics=Diagnostics(smd=1e-9)), world(1500))
    assert [(r["diagnostic"], r["passed"]) for r in got.tables["diagnostics"]] == [("smd", False)]
    assert "calibrated" not in got.tables


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"controls": (Control(),)}, StudyError, "names an outcome or a treatment"),
        ({"controls": (*NEGATIVE, Control("p0", 0.0))}, StudyError, "truth is 0.0 of 'p0'"),
        ({"controls": (*NEGATIVE, Control("y"))}, StudyError, "'y' is the effect in question"),
        ({"controls": (*NEGATIVE, NEGATIVE[0])}, StudyError, "twice"),
        ({"controls": (*NEGATIVE[:4], *POSITIVE)}, StudyError, r"5 negative ones \(truth = 1\)"),
        ({"controls": (*NEGATIVE, Control("log(n0)"))}, FormulaError, r"'log\(n0\)' is no column"),
        ({"controls": (*NEGATIVE, Control("Surv(time, p0)"))}, StudyError, "make it a column of marks or counts"),
        ({"outcome": "Surv(time, y)"}, StudyError, r"'n0' is of another kind than the outcome; make it Surv\(time"),
        ({"outcome": "Surv(time, y)", "times": (365.0,)}, StudyError, "'n0' is of another kind than the outcome"),
        ({"controls": (*NEGATIVE, Control("x"))}, FormulaError, "'x' is the outcome and a confounder"),
        ({"diagnostics": Diagnostics(smd=-1.0)}, StudyError, "smd is -1.0"),
        ({"controls": (), "diagnostics": Diagnostics(ease=0.25)}, StudyError, "ease is found from controls"),
        ({"estimator": "gformula", "diagnostics": Diagnostics(smd=0.1)}, StudyError, "gformula has no propensity"),
        ({"balance": False, "diagnostics": Diagnostics(smd=0.1)}, StudyError, "balance = false"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        replace(EFFECT, **settings).check()


def study(controls: str) -> Study:
    """A study file with these controls."""
    return parse(
        f"""[study]
id = "controls"
purpose = "public-interest research"
[data]
table = "people"
[[analysis]]
name = "it"
method = "effect"
treatment = "a"
outcome = "y"
confounders = "x"
controls = [{controls}]
diagnostics = {{ smd = 0.1, ease = 0.25 }}
"""
    )


def test_controls_stand_in_the_study_file_and_survive_being_written() -> None:
    from confrere.study.build import analyses

    made = study(", ".join(f'{{ outcome = "n{j}" }}' for j in range(5)) + ', { outcome = "p0", truth = 2 }')
    (effect,) = analyses(made)
    assert name_of(effect) == "effect"
    assert effect.controls == (*NEGATIVE[:5], Control("p0", 2.0))  # type: ignore[attr-defined]
    assert effect.diagnostics == Diagnostics(smd=0.1, ease=0.25)  # type: ignore[attr-defined]
    assert parse(written(made)).hash == made.hash
    with pytest.raises(StudyError, match="controls"):
        analyses(study('{ outcome = "n0", truth = "none" }'))
