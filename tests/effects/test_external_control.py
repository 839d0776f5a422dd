"""A trial arm at one member, controls in the hospitals: refused unless the stewards say so, and then as pooled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.effects.effect import Effect
from confrere.errors import Refused
from confrere.hospital.gate import Policy, Violation
from confrere.testing import GATE, LOOSE, fit, found, masked

WORD = replace(GATE, allow=frozenset({"per_hospital"}))
ATT = Effect("a", "y", "x", estimand="ATT")


def trial(n: int = 2400, seed: int = 1) -> dict[str, pd.DataFrame]:
    """A sponsor's treated people, older by x than the controls of three hospitals; treatment adds 0.5 to y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    a = (rng.random(n) < 1 / (1 + np.exp(1.2 - 0.8 * x))).astype(float)
    y = 1 + 0.7 * x + 0.5 * a + rng.normal(0, 1, n)
    frame = pd.DataFrame({"a": a, "x": x, "y": y, "good": (y > 1).astype(float)})
    time = np.ceil(rng.exponential(900 * np.exp(-0.4 * x + 0.3 * a)))
    frame["time"], frame["died"] = np.minimum(time, 1500), (time <= 1500).astype(float)
    controls = frame[frame["a"] == 0]
    return {"sponsor": frame[frame["a"] == 1], **{f"h{i}": controls.iloc[i::3] for i in range(3)}}


def test_the_default_gate_refuses_an_arm_of_one_hospital() -> None:
    """By arm, sums would be the sponsor's own."""
    parts = trial()
    for outcome in ("y", "good"):
        with pytest.raises(Violation, match="'treatment a' has people in 1 hospital only"):
            fit(replace(ATT, outcome=outcome), list(parts.values()), GATE)
    with pytest.raises(Refused, match="treatment a"):
        masked(ATT, parts)


def test_the_refusal_says_whose_word_is_missing() -> None:
    """What is refused, where it is said, by whom; and a study that says so from Python passes."""
    parts = trial()
    with pytest.raises(Refused) as refusal:
        cf.local(parts).run(ATT)
    for words in ("'treatment a' has people in 1 hospital only", "trial sponsor", "[disclosure] alone", "alone="):
        assert words in str(refusal.value)
    arm = {**parts, **{h: parts[h].assign(y=np.nan) for h in ("h0", "h1", "h2")}}
    with pytest.raises(Refused, match=r"1 hospital has at least 11 people .*\[disclosure\] alone"):  # of the arm itself
        cf.local(arm).run(cf.Linear("y ~ x"))
    got = cf.local(parts).run(ATT, alone=["sponsor"]).finding
    want = fit(ATT, list(parts.values()), WORD)
    np.testing.assert_allclose(got.arrays["mean"], want.arrays["mean"], rtol=1e-9)


def test_times_to_events_need_the_word_and_one_baseline() -> None:
    parts = trial()
    effect = replace(ATT, outcome="Surv(time, died)", baseline="shared")
    with pytest.raises(Violation, match="'outcome' has people in 1 hospital only"):  # of the propensity
        fit(effect, list(parts.values()), GATE)
    (row,) = fit(effect, list(parts.values()), WORD).tables["effects"]
    assert row["measure"] == "hazard ratio"
    assert abs(row["estimate"] + 0.3) < 3 * row["std_error"]


def test_two_hospitals_are_too_few_too() -> None:
    parts = trial()
    sponsors = [parts["sponsor"].iloc[i::2] for i in range(2)]
    with pytest.raises(Violation, match="in 2 hospitals only"):
        fit(ATT, [*sponsors, *(parts[f"h{i}"] for i in range(3))], GATE)


@pytest.mark.parametrize("settings", [{}, {"estimator": "aipw", "outcome_model": "a * x"}, {"outcome": "good"}])
def test_with_the_stewards_word_it_is_as_pooled(settings: dict[str, Any]) -> None:
    """Weighting, and prognostic adjustment: with the interaction, the control's model is fitted on controls alone."""
    parts, effect = trial(), replace(ATT, **settings)
    pooled = pd.concat(parts.values())
    got = found(masked(effect, parts, allow=["per_hospital"]))
    want = fit(effect, [pooled.iloc[i::3] for i in range(3)], LOOSE)
    np.testing.assert_allclose(got.arrays["mean"], want.arrays["mean"], rtol=1e-9)
    np.testing.assert_allclose(got.arrays["vcov"], want.arrays["vcov"], rtol=1e-7)
    if settings.get("outcome") != "good":
        (row,) = got.tables["effects"]
        assert abs(row["estimate"] - 0.5) < 3 * row["std_error"]
    arms = got.tables["arms"]
    assert arms[1]["effective_n"] == pytest.approx(len(parts["sponsor"]))  # the trial's people stand for themselves
    assert arms[0]["effective_n"] < arms[0]["n"]


def test_prognostic_adjustment_narrows_the_limits() -> None:
    parts = list(trial().values())
    plain = fit(ATT, parts, WORD).tables["effects"][0]
    both = fit(replace(ATT, estimator="aipw", outcome_model="a * x"), parts, WORD).tables["effects"][0]
    assert both["std_error"] <= plain["std_error"] * 1.001


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("outcome", ["y", "Surv(time, died)"])
def test_a_score_of_the_hospitals_controls_finds_the_truth(outcome: str, folds: int) -> None:
    """Of numbers it is learned from controls alone: whose outcome is whose at the sponsor does not move what its people
    are said to have expected. Cross-fitted too."""
    parts = {name: frame.assign(pid=range(len(frame))) for name, frame in trial(3600).items()}
    given: dict[str, Any] = {"outcome_model": "a * x"} if outcome == "y" else {"times": (900.0,)}
    study = cf.Effect("a", outcome, "x", "aipw", "ATT", folds=folds, **given)
    own = parts["sponsor"]
    other = {**parts, "sponsor": own.assign(y=own["y"].to_numpy()[::-1])}
    hospitals = [cf.local(p, person="pid", time_unit="days", horizon=1500) for p in (parts, other)]
    one, two = (h.run(study, alone=["sponsor"]).finding for h in hospitals)
    if outcome == "y":
        assert one.arrays["mean"][0] == pytest.approx(two.arrays["mean"][0], rel=1e-9)
    row = next(r for r in one.tables["effects"] if r["measure"].endswith("difference"))
    truth = 0.5 if outcome == "y" else _true_difference()
    assert abs(row["estimate"] - truth) < 3 * row["std_error"]


def _true_difference() -> float:
    """Of the treated: the risk at 900 days less that without treatment, by the law of `trial`."""
    x = np.random.default_rng(7).normal(size=400_000)
    e = 1 / (1 + np.exp(1.2 - 0.8 * x))
    risks = [1 - np.exp(-900 / (900 * np.exp(-0.4 * x + 0.3 * a))) for a in (0, 1)]
    return float((e * (risks[1] - risks[0])).sum() / e.sum())


def test_a_class_is_needed_and_no_other_will_do() -> None:
    other = Policy(allow=frozenset({"small_cells", "fine_times"}))
    with pytest.raises(Violation, match="treatment a"):
        fit(ATT, list(trial().values()), other)
