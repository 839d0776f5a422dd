"""Prognostic covariate adjustment of times to events, against R's coxph and simulated trials; and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.prognostic import Prognostic
from confrere.analyses.effects.prognostic_times import trial_of
from confrere.console.demo import load
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.hospital.gate import Violation
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import EXACT, GATE, LOOSE, fit, found, masked

ORACLE = json.loads((Path(__file__).parent / "prognostic_times.json").read_text())
SCHEMA = Schema({"size": Column("size", ("<=20", "20-50", ">50"))})
OUTCOME = "Surv(rtime, recur)"


def breast() -> list[pd.DataFrame]:
    """The demo's people by hospital, in the trial or not."""
    _, hospitals = load("breast")
    return [
        f.assign(
            size=pd.Categorical(f["size"], SCHEMA.levels("size")), inside=(f["pid"] % 4 == 0).astype(float),
            a=(f["pid"] % 8 == 0).astype(float), lognodes=np.log(f["nodes"] + 1),
        ).drop(columns="hospital")
        for f in hospitals.values()
    ]  # fmt: skip


@pytest.mark.parametrize("name", ORACLE["cases"])
def test_ratios_and_plans_are_rs(name: str) -> None:
    """On exact days: estimates to 1e-8, standard errors and correlations to 1e-7."""
    want = ORACLE["cases"][name]
    call: dict[str, Any] = {
        k: v.replace("size", "C(size)") if isinstance(v, str) else v for k, v in want["call"].items()
    }
    study = Prognostic("a", trial="inside", ground=Ground(SCHEMA, fine=True), **call)
    study.check()
    got = fit(study, breast(), EXACT)
    assert (got.n, got.events, got.facts["learned_from"]) == (want["n"], want["events"], want["learned_from"])
    np.testing.assert_allclose([r["estimate"] for r in got.tables["learned"]], want["learned"], rtol=1e-8)
    effects, plan, arms = (got.tables[t] for t in ("effects", "sample_size", "prognosis"))
    np.testing.assert_allclose([r["estimate"] for r in effects], want["estimate"], rtol=1e-8)
    np.testing.assert_allclose([r["std_error"] for r in effects], want["std_error"], rtol=1e-7)
    np.testing.assert_allclose([r["correlation"] for r in arms], want["correlation"], rtol=1e-7)
    np.testing.assert_allclose([r["variance"] for r in plan], want["variance"], rtol=1e-7)
    np.testing.assert_allclose([r["power"] for r in plan], want["reached"], rtol=1e-7)
    assert [r["n"] for r in plan] == want["people"]
    assert [r["events"] for r in plan] == want["planned_events"]
    assert [r["control"] for r in plan] == want["control"]
    assert [r.get("relative_variance") is None for r in effects] == [False, *[True] * (len(effects) - 2), False]


def test_on_the_ladder_it_is_nearly_the_same() -> None:
    """Four cells, in which both arms have people: within an eighth of a standard error of exact days."""
    given: dict[str, Any] = {"trial": "inside", "score": "lognodes + grade + age", "difference": -0.3}
    exact = fit(Prognostic("a", OUTCOME, ground=Ground(SCHEMA, fine=True), **given), breast(), EXACT)
    coarse = fit(Prognostic("a", OUTCOME, ground=Ground(SCHEMA), **given), breast(), GATE)
    for one, other in zip(exact.tables["effects"], coarse.tables["effects"], strict=True):
        assert one["estimate"] == pytest.approx(other["estimate"], abs=one["std_error"] / 8)
        assert one["std_error"] == pytest.approx(other["std_error"], rel=0.05)
    assert coarse.facts["cells"] >= 4


def simulated(rng: np.random.Generator, n: int, hospitals: int) -> list[pd.DataFrame]:
    """A trial of n people by hospital, each with a baseline of its own, among 1,500 others; log ratio -0.6 given x."""
    everybody = n + 1500
    h, inside, x = rng.integers(hospitals, size=everybody), np.arange(everybody) < n, rng.normal(size=everybody)
    a = (rng.random(everybody) < 0.5) * inside
    t = rng.exponential(size=everybody) * np.exp(0.6 * a - 1.2 * x - 0.3 * h) * 700
    c = rng.uniform(0, 2100, everybody)
    f = pd.DataFrame(
        {"a": a * 1.0, "inside": inside * 1.0, "x": x, "t": np.ceil(np.minimum(t, c)), "e": (t <= c) * 1.0}
    )
    return [f[h == i].reset_index(drop=True) for i in range(hospitals)]


def test_given_the_score_the_ratio_does_not_rest_on_cells() -> None:
    """60 trials of 600 people, in four cells or so, on which it would be -0.43: within four Monte Carlo errors."""
    rng = np.random.default_rng(11)
    study = Prognostic("a", "Surv(t, e)", "inside", "x")
    fits = [fit(study, simulated(rng, 600, 4), GATE) for _ in range(60)]
    rows = [next(r for r in f.tables["effects"] if r["adjustment"] == "score") for f in fits]
    given, errors = (np.array([r[key] for r in rows]) for key in ("estimate", "std_error"))
    assert np.mean([f.facts["cells"] for f in fits]) < 8
    assert given.mean() == pytest.approx(-0.6, abs=4 * given.std() / np.sqrt(60))
    assert (np.abs(given + 0.6) < 1.96 * errors).mean() > 0.86  # four errors of 0.95 in 60


def test_simulated_trials_say_so() -> None:
    """2,000 trials (R): limits hold the ratio of everybody, errors are right, and no test gains less than planned."""
    sim = ORACLE["simulated"]
    assert 0.936 < sim["held_own"] < 0.964
    assert sim["se_own"] == pytest.approx(sim["sd_own"], rel=0.032)  # two Monte Carlo standard errors
    assert sim["multiplier"] == pytest.approx((sim["sd_own"] / sim["sd_none"]) ** 2, rel=0.064)
    assert sim["power_none"] < sim["power_own"] < sim["power_score"]
    assert sim["saved_by_test"] < sim["multiplier"]
    assert abs(sim["mean_score"] - sim["conditional"]) < 0.01  # it answers another question
    assert abs(sim["conditional"]) > abs(sim["truth"]) + 0.1


def test_by_hand() -> None:
    """Arms of 4. U is -1 -1 1 1, I is 2: O is 2 2 -2 -2 of the others, -2 -2 2 2 of the treated, whose scores are the
    same, or their opposites: correlations of 1, slopes of 2 for the others' scores of 1, of 2/3 for scores of 3."""
    moments = np.array([[4, 0, 0, 4, 4, -4, 3], [4, 0, 0, 4, 36, 12, 2]], dtype=float)
    trial = trial_of(moments, 2.0)
    np.testing.assert_allclose(trial.arms.r, [1, 1])
    np.testing.assert_allclose(trial.arms.sd, np.sqrt(np.array([4, 4]) * 4 / 3))
    assert (trial.share, trial.step, trial.events.tolist()) == (0.5, 0.0, [3.0, 2.0])
    assert trial.arms.variance(0.5, trial.arms.r) == pytest.approx(0.0, abs=1e-12)


def test_masks_change_nothing() -> None:
    study = Prognostic("a", OUTCOME, "inside", "lognodes + grade", ground=Ground(SCHEMA))
    frames = breast()
    got = found(masked(study, {f"h{i}": f for i, f in enumerate(frames)}))
    want = fit(study, frames, GATE)
    for one, other in zip(got.tables["effects"], want.tables["effects"], strict=True):
        assert one["estimate"] == pytest.approx(other["estimate"], rel=1e-8)
        assert one["std_error"] == pytest.approx(other["std_error"], rel=1e-8)


def test_a_score_of_nothing_gains_nothing() -> None:
    rng = np.random.default_rng(4)
    frames = [f.assign(noise=rng.normal(size=len(f))) for f in breast()]
    got = fit(Prognostic("a", OUTCOME, "inside", "noise", ground=Ground(SCHEMA)), frames, LOOSE)
    assert "weak-score" in {w.code for w in got.warnings}
    assert got.tables["sample_size"][1]["multiplier"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"outcome": "Surv(dtime, rtime, recur)"}, FormulaError, "write Surv\\(time, event\\)"),
        ({"family": "binomial"}, StudyError, "the score is Cox's"),
        ({"score": "1"}, FormulaError, "give terms"),
        ({"score": "age + strata(size)"}, FormulaError, "no 0 \\+, strata"),
        ({"score": "age + rtime"}, FormulaError, "'rtime' stands in two places"),
    ],
)
def test_what_does_not_go_with_times_is_named(settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    given: dict[str, Any] = {"outcome": OUTCOME, "trial": "inside", "score": "age"} | settings
    with pytest.raises(kind, match=words):
        Prognostic("a", ground=Ground(SCHEMA), **given).check()


@pytest.mark.parametrize("outcome", [OUTCOME, "er"])
def test_a_trial_of_treated_people_alone_is_told_what_to_do(outcome: str) -> None:
    frames = [f[(f["inside"] == 0) | (f["a"] == 1)] for f in breast()]
    study = Prognostic("a", outcome, "inside", "age + lognodes", ground=Ground(SCHEMA))
    with pytest.raises(ModelError, match=r"'a' is the same for everybody in the trial.*estimator = 'aipw'"):
        fit(study, frames, LOOSE)


@pytest.mark.parametrize(("arm", "who"), [(1.0, "treated"), (0.0, "not treated")])
@pytest.mark.parametrize("fine", [False, True])
def test_an_arm_without_events_is_told_before_the_climb(arm: float, who: str, fine: bool) -> None:
    frames = [f.assign(recur=f["recur"].where((f["inside"] == 0) | (f["a"] != arm), 0)) for f in breast()]
    study = Prognostic("a", OUTCOME, "inside", "age + lognodes", ground=Ground(SCHEMA, fine=fine))
    with pytest.raises(ModelError, match=f"^nobody who is {who} in the trial has the event.*: no hazard ratio"):
        fit(study, frames, replace(GATE, allow=frozenset({"fine_times"})))


def test_an_arm_with_five_events_is_named() -> None:
    frames = breast()
    few = pd.concat(f[(f["inside"] == 1) & (f["a"] == 1) & (f["recur"] == 1)] for f in frames)["pid"].head(5)
    rare = [f.assign(recur=f["recur"].where((f["a"] == 0) | f["pid"].isin(few), 0)) for f in frames]
    with pytest.raises(Violation, match=r"with, or without, an event \(cells 'with the event, treated'\)"):
        fit(Prognostic("a", OUTCOME, "inside", "age + lognodes", ground=Ground(SCHEMA)), rare, GATE)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no hospital of the trial has both arms of 'a'"),
        ({"treatment": "b", "covariates": "a"}, "term 'a' is the same for everybody in the trial at every hospital"),
    ],
)
def test_what_a_hospitals_baseline_takes_up_is_named(settings: dict[str, Any], words: str) -> None:
    """Hospitals with one arm each, or with one value of a covariate."""
    frames = [f.assign(b=f["a"], a=(i % 2) * f["inside"]) for i, f in enumerate(breast())]
    study = Prognostic(
        **{"treatment": "a", "outcome": OUTCOME, "trial": "inside", "score": "age + lognodes"} | settings
    )
    with pytest.raises(ModelError, match=words):
        fit(study, frames, replace(LOOSE, hospitals=0))
