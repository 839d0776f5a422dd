"""Effects with a boosted propensity: against XGBoost's trees, any deal, and the truth of simulations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.errors import StudyError
from confrere.hospital.gate import Policy, Violation
from confrere.study.ground import Ground
from confrere.testing import GATE, LOOSE, fit
from confrere.testing.runs import apart
from oracles.make_boosted import FOLDS, GROUND, GROWTH, people

ORACLE = json.loads((Path(__file__).parent / "boosted.json").read_text())
TERMS = "x1 + x2 + x3"
HISTOGRAMS = Policy(allow=frozenset(["histograms"]))


def effect(estimator: Any = "iptw", **settings: Any) -> Effect:
    """The settings checked first."""
    given = {"outcome": "y", "propensity": "boosting", "growth": GROWTH, "ground": GROUND} | settings
    made = Effect("a", confounders=TERMS, estimator=estimator, **given)
    made.check()
    return made


def found(frame: pd.DataFrame, estimator: Any = "iptw", **settings: Any) -> Finding:
    """The finding of three hospitals."""
    return fit(effect(estimator, **settings), [frame.iloc[i::3] for i in range(3)], LOOSE)


@pytest.mark.parametrize(("estimator", "folds"), [("iptw", 1), ("aipw", FOLDS)])
def test_effects_equal_those_of_xgboost(estimator: str, folds: int) -> None:
    """XGBoost counts in 32 bits: estimate and standard error to 1e-6."""
    row = found(people(), estimator, folds=folds).tables["effects"][0]
    assert row["estimate"] == pytest.approx(ORACLE[estimator]["estimate"], rel=1e-6)
    assert row["std_error"] == pytest.approx(ORACLE[estimator]["std_error"], rel=1e-6)


@pytest.mark.parametrize(("estimator", "folds", "said"), [("iptw", 1, True), ("aipw", FOLDS, False)])
def test_what_standard_errors_lack_is_said(estimator: str, folds: int, said: bool) -> None:
    assert ("trees-as-known" in [w.code for w in found(people(), estimator, folds=folds).warnings]) is said


def test_the_deal_changes_nothing() -> None:
    """One hospital or five, through the gate: all numbers are the same."""
    frame = people()
    study = effect("aipw", folds=2)
    one = fit(study, [frame], LOOSE)
    dealt = fit(study, [frame[i::5] for i in range(5)], LOOSE)
    gated = [fit(study, [frame[i::m] for i in range(m)], HISTOGRAMS) for m in (3, 5)]
    assert apart(one, dealt, 1e-11) == []
    assert apart(*gated, 1e-11) == []


def test_without_the_word_of_the_steward_nothing_leaves() -> None:
    frame = people()
    with pytest.raises(Violation, match="histograms"):
        fit(effect(), [frame.iloc[i::3] for i in range(3)], GATE)


def test_trees_find_what_a_line_does_not() -> None:
    """Treatment and outcome go with two features being above 0 together: a logistic propensity leaves them apart."""
    frame = people(5, 6000)
    trees, line = found(frame, "aipw", folds=5), found(frame, "aipw", folds=5, propensity="logistic", growth=None)
    (row, other) = (f.tables["effects"][0] for f in (trees, line))
    assert abs(row["estimate"] - 1) < 3 * row["std_error"] < 0.15 < abs(other["estimate"] - 1)
    assert {r["term"] for r in trees.tables["propensity"]} == {"x1", "x2", "x3"}
    assert any("McCaffrey" in c.text for c in trees.cite)
    assert not any("McCaffrey" in c.text for c in line.cite)
    assert sum(r["share"] for r in trees.tables["propensity"]) == pytest.approx(1)


def test_a_bound_trims_by_the_trees() -> None:
    got = found(people(), "aipw", folds=2, trim=(0.2, 0.8))
    assert 0 < got.facts["trimmed"] < 0.5
    assert abs(got.tables["effects"][0]["estimate"] - 1) < 0.3


@pytest.mark.parametrize("settings", [{}, {"times": (1.0,)}, {"times": (1.0,), "censoring": "1", "baseline": "shared"}])
def test_a_time_to_an_event(settings: dict[str, Any]) -> None:
    """Weighted hazards and curves; the standard error takes the propensity as known."""
    frame = people()
    time = np.random.default_rng(3).exponential(np.exp(-0.5 * frame["a"] - 0.3 * frame["x1"]))
    frame = frame.assign(time=np.minimum(time, 1.5) * 365, died=(time <= 1.5).astype(float))
    more = {k: tuple(365 * t for t in v) if k == "times" else v for k, v in settings.items()}
    row = found(frame, outcome="Surv(time, died)", **more).tables["effects"][0]
    assert row["measure"] == "hazard ratio"
    assert 1.2 < np.exp(row["estimate"]) < 2
    if not settings:
        return
    curves = found(frame, "aipw", outcome="Surv(time, died)", folds=2, times=(365.0,))
    assert curves.tables["effects"][0]["measure"] == "risk difference"
    assert curves.tables["effects"][0]["estimate"] > 0


@pytest.mark.slow
def test_augmented_limits_hold_the_truth_where_both_models_are_near_it() -> None:
    """60 networks: 95 % limits of the augmented estimator with five folds."""
    rows = []
    for seed in range(60):
        frame = people(seed, 1000)
        frame["both"] = ((frame["x1"] > 0) & (frame["x2"] > 0)).astype(float)
        rows.append(found(frame, "aipw", folds=5, outcome_model="a + both + x3", growth=None).tables["effects"][0])
    held = np.mean([row["conf_low"] < 1 < row["conf_high"] for row in rows])
    assert held > 0.87  # 95 % less 2.6 standard errors
    ratio = np.std([row["estimate"] for row in rows]) / np.mean([row["std_error"] for row in rows])
    assert 0.76 < ratio < 1.24


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hospital_effects": True}, "one intercept for all"),
        ({"estimator": "aipw"}, "needs folds"),
        ({"estimator": "gformula", "growth": None}, "gformula has no propensity"),
        ({"propensity": "logistic"}, "growth is of trees"),
        ({"growth": replace(GROWTH, depth=20)}, "depth is 20"),
        ({"growth": replace(GROWTH, trees=0)}, "trees is 0"),
    ],
)
def test_what_does_not_go_with_trees_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError, match=words):
        effect(**settings)


def test_no_person_is_needed_without_folds() -> None:
    assert effect(ground=Ground()).ground.person == ""
