"""Effects on times to events where people are lost by what they are like: twin, bootstrap, coverage, robustness."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects import walks
from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.errors import ModelError
from confrere.study.ground import Ground
from confrere.testing import GATE, LOOSE, SCHEMA, fit, found, masked
from effects.followed import RATE, People
from effects.lost import END, STEP, TIMES, lost, measured, truth
from effects.make_lost import FIRST, PLACE, WORLDS, covered, effect_of

STORED = json.loads(PLACE.read_text())
each = pytest.mark.parametrize("estimator", WORLDS)


def named(finding: Finding) -> dict[str, dict[str, Any]]:
    """The records of the effects by measure and time."""
    return {r["measure"] + (f" {r['time']:g}" if "time" in r else ""): r for r in finding.tables["effects"]}


@each
def test_the_flow_is_the_twin(estimator: str) -> None:
    """Estimates equal the pooled twin's."""
    people = lost(WORLDS[estimator], 1000, np.random.default_rng(STORED["seed"]))
    got, want = named(fit(effect_of(estimator), people.frames, LOOSE)), measured(people, estimator)
    assert got.keys() == want.keys()
    for name, row in got.items():
        assert row["estimate"] == pytest.approx(want[name], rel=1e-8), name


@pytest.mark.parametrize("estimator", STORED["std_error"])
def test_standard_errors_are_the_bootstraps(estimator: str) -> None:
    """Those of 5,000 replicates within 2 % (log ratios 3 %)."""
    people = lost(WORLDS[estimator], STORED["drawn"][estimator], np.random.default_rng(STORED["seed"]))
    spread = STORED["std_error"][estimator]
    got = named(fit(effect_of(estimator), people.frames, LOOSE))
    assert STORED["replicates"] >= 5000
    assert got.keys() == spread.keys()
    for name, row in got.items():
        assert row["std_error"] == pytest.approx(spread[name], rel=0.03 if "risk ratio" in name else 0.02), name


@each
def test_limits_held_the_truth_in_a_thousand_studies(estimator: str) -> None:
    """As `make_lost` stored it: 1,000 runs, of 95 % limits, 93.6 to 96.4 %; hardly a study was refused.

    The first of them are made anew: limits that move would hold the truth in others.
    """
    assert covered(estimator, FIRST, STORED["seed"] + 2, STORED["drawn"][estimator]) == STORED["first"][estimator]
    assert STORED["runs"] == 1000
    shares = dict(STORED["coverage"][estimator])
    assert shares.pop("refused") <= 0.01
    for measure, share in shares.items():
        assert 0.936 <= share <= 0.964, (measure, share)


def test_limits_of_weights_against_loss_are_a_little_narrow_of_few_people() -> None:
    """A large weight or two are not yet as in theory with 1,000 people, as the method's page says."""
    shares = STORED["coverage_of_few"]["iptw"]
    assert 0.90 <= min(shares[m] for m in shares if m != "refused") < 0.936


@pytest.mark.slow
@each
def test_limits_hold_the_truth(estimator: str) -> None:
    """150 studies made anew, four standard errors."""
    shares = covered(estimator, 150, 77)
    assert shares.pop("refused") <= 0.02
    for measure, share in shares.items():
        assert share >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 150), (measure, share)


@pytest.mark.slow
def test_a_large_study_is_right() -> None:
    """Weighted by who is treated and who stays."""
    people = lost("marginal", 20_000, np.random.default_rng(5))
    rows = named(fit(effect_of("iptw"), people.frames, LOOSE))
    for name in ("hazard ratio", "RMST difference 730"):
        true = truth("marginal", name.removesuffix(" 730"), 730.0)
        assert abs(rows[name]["estimate"] - true) < 3.5 * rows[name]["std_error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"outcome_model": "a + x1"}, True),
        ({"confounders": "x1", "censoring": "1", "outcome_model": "a + x0 + x1"}, True),
        ({"confounders": "x1", "censoring": "1", "outcome_model": "a + x1"}, False),
    ],
    ids=["outcome", "weights", "both"],
)
def test_augmented_curves_are_right_if_either_side_is(wrong: dict[str, Any], right: bool) -> None:
    """With x0 left out of the outcome model, or of propensity and censoring, the effect is right; of all, it is not."""
    people = lost("conditional", 20_000, np.random.default_rng(6))
    row = named(fit(replace(effect_of("aipw"), **wrong), people.frames, LOOSE))["risk difference 730"]
    off = abs(row["estimate"] - truth("conditional", "risk difference", 730.0)) / row["std_error"]
    assert (off < 3.5) == right, off


def test_cross_fitting_agrees_with_one_fit() -> None:
    """With models that are right, folds change an estimate by less than half a standard error, and its error little."""
    people, seen = lost("conditional", 3000, np.random.default_rng(7)), 0
    frames = []
    for frame in people.frames:
        frames.append(frame.assign(pid=np.arange(seen, seen + len(frame))))
        seen += len(frame)
    one = named(fit(effect_of("aipw"), frames, LOOSE))
    folded = effect_of("aipw", folds=4, ground=Ground(step=STEP, horizon=END, person="pid"))
    many = named(fit(folded, frames, LOOSE))
    for name, row in one.items():
        assert 0 < abs(row["estimate"] - many[name]["estimate"]) < 0.5 * row["std_error"], name
        assert many[name]["std_error"] == pytest.approx(row["std_error"], rel=0.05), name


@pytest.mark.parametrize(
    "more",
    [
        {"estimator": "aipw"},
        {"estimator": "gformula", "estimand": "ATT"},
        {"censoring": "x0", "hospital_effects": True},
    ],
)
def test_masked_is_clear_and_counts_are_of_enough_people(more: dict[str, Any]) -> None:
    """Over masks and gates; no count of a table is of 1 to 10 people."""
    people = lost("conditional", 1500, np.random.default_rng(4))
    effect = Effect("a", "Surv(time, event)", "x0 + x1", ground=Ground(), times=TIMES, **more)
    clear = fit(effect, people.frames, GATE)
    got = found(masked(effect, {f"h{i}": frame for i, frame in enumerate(people.frames)}))
    for one, other in zip(got.tables["effects"], clear.tables["effects"], strict=True):
        assert one["estimate"] == pytest.approx(other["estimate"], rel=1e-8)
        assert one["std_error"] == pytest.approx(other["std_error"], rel=1e-7)
    for row in [*got.tables["curve"], *got.tables["arms"]]:
        counts = [row[k] for k in ("n", "at_risk", "events", "censored") if row.get(k) is not None]
        assert not any(0 < n < 11 for n in counts), row


def test_causes_have_risks_of_their_own_that_add_up() -> None:
    """Weighted against censoring too: risks of two causes add up to that of any."""
    people, rng = lost("marginal", 3000, np.random.default_rng(8)), np.random.default_rng(9)
    levels = SCHEMA.levels("fate")
    fate = np.where(people.event == 0, "alive", np.where(rng.random(3000) < 0.4, "relapse", "death"))
    frames = [f.assign(fate=pd.Categorical(fate[people.hospital == h], levels)) for h, f in enumerate(people.frames)]
    more: dict[str, Any] = {"censoring": "x0", "times": TIMES, "ground": Ground(SCHEMA, step=STEP, horizon=END)}
    several = fit(Effect("a", "Surv(time, fate)", "x0 + x1", cause="death", **more), frames, LOOSE)
    any_of = fit(Effect("a", "Surv(time, event)", "x0 + x1", **more), frames, LOOSE)
    parts = [[r["estimate"] for r in several.tables["risks"] if r["cause"] == cause] for cause in ("relapse", "death")]
    np.testing.assert_allclose(np.sum(parts, axis=0), [r["estimate"] for r in any_of.tables["risks"]], rtol=1e-9)
    assert [r["cause"] for r in several.tables["effects"] if r["measure"] == "hazard ratio"] == ["death"]


def test_derivatives_by_hazards_are_differences() -> None:
    """Of weighted times and events: by each hazard in each cell."""
    rng, n, m = np.random.default_rng(3), 5, 4
    cells = walks.Cells(np.array([1.0, 2.5, 3.0, 5.0]), np.array([1.0, 1.5, 0.5, 2.0]))
    time, event = np.array([0.4, 2.2, 2.9, 4.0, 9.0]), np.array([True, False, True, True, True])
    stay, by_time, b = walks.stay_of(time, event, cells), rng.uniform(0.05, 0.4, (n, m)), rng.uniform(0.05, 0.4, (n, m))
    by_event = rng.normal(size=(n, m))

    def weighed(b: np.ndarray) -> walks.Weighing:
        return walks.weighing(walks.Walk(cells, 0 * b, b, stay), walks.grown(b, stay), by_time, by_event)

    step = 1e-6
    for j in range(m):
        move = np.zeros((n, m))
        move[:, j] = step
        by_b = (weighed(b + move).value - weighed(b - move).value) / (2 * step)
        np.testing.assert_allclose(weighed(b).by_b[:, j], b[:, j] * by_b, rtol=1e-6, atol=1e-8)


# Between hospitals --------------------------------------------------------------------------------------------


def rejected(runs: int, moved: float, **more: Any) -> float:
    """The share of studies in which hospitals are found to differ (5 %), where their effects do by `moved`."""
    rng, n = np.random.default_rng(3), 0
    for _ in range(runs):
        frames = lost("marginal", 800, rng, moved).frames
        study = effect_of("iptw", times=(), tau=None, heterogeneity=True, **more)
        n += fit(study, frames, LOOSE).facts["heterogeneity_p"] < 0.05
    return n / runs


@pytest.mark.slow
@pytest.mark.parametrize("censoring", ["", "x0 + x1"])
def test_hospitals_that_differ_are_found_and_others_are_not(censoring: str) -> None:
    assert rejected(100, 0.0, censoring=censoring) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)
    assert rejected(30, 0.5, censoring=censoring) >= 0.6


def test_heterogeneity_is_cochrans_of_the_hospitals_own_estimates() -> None:
    """In large hospitals: Q of fits of each alone, weighted by their precision, is near; and it names nobody."""
    rng, n = np.random.default_rng(10), 12_000
    h, x = np.arange(n) % 4, rng.normal(size=n)
    a = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x))).astype(float)
    y = x + a * (1 + 0.12 * h) + rng.normal(size=n)
    frames = [pd.DataFrame({"a": a, "y": y, "x": x})[h == i] for i in range(4)]
    for estimator in ("iptw", "aipw"):
        alone = [fit(Effect("a", "y", "x", estimator), [f], LOOSE).tables["effects"][0] for f in frames]  # type: ignore[arg-type]
        estimate, se = np.array([(r["estimate"], r["std_error"]) for r in alone]).T
        common = np.average(estimate, weights=se**-2)
        cochran = float((((estimate - common) / se) ** 2).sum())
        got = fit(Effect("a", "y", "x", estimator, heterogeneity=True), frames, LOOSE)  # type: ignore[arg-type]
        assert got.facts["heterogeneity"] == pytest.approx(cochran, rel=0.15)
        assert got.facts["i2"] == pytest.approx(1 - 3 / got.facts["heterogeneity"], rel=1e-12)
        assert got.facts["heterogeneity_p"] < 0.05
    with pytest.raises(ModelError, match="at least 3 hospitals"):
        fit(Effect("a", "y", "x", heterogeneity=True), frames[:2], LOOSE)


def test_weights_of_censoring_mend_what_censoring_spoils() -> None:
    """Who is ill is lost sooner: risks by arm are too low without the weights, and right with them."""
    rng, n, drift = np.random.default_rng(12), 6000, 1.0
    x, a = rng.normal(size=(n, 2)), (rng.random(n) < 0.5).astype(float)
    lived = rng.exponential(size=n) * np.exp(-drift * x[:, 0]) / RATE
    gone = np.minimum(rng.exponential(900, n) * np.exp(-1.2 * x[:, 0]), 1400.0)
    people = People(x, a, np.minimum(lived, gone), (lived <= gone).astype(float), np.arange(n) % 3)
    at, weight = np.polynomial.hermite_e.hermegauss(60)
    true = float((1 - np.exp(-RATE * np.exp(drift * at) * 730.0)) @ weight / weight.sum())

    def off(censoring: str) -> list[float]:
        rows = fit(effect_of("iptw", censoring=censoring), people.frames, LOOSE).tables["risks"]
        return [(r["estimate"] - true) / r["std_error"] for r in rows if r["time"] == 730.0]

    assert max(off("1")) < -4
    assert np.abs(off("x0")).max() < 3.5
