"""Effects with a lasso or a ridge propensity: against R's glmnet and stacked equations, and simulated truths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.analyses.learning.penalised import Penalised
from confrere.errors import ModelError, StudyError
from confrere.study.ground import Ground
from confrere.testing import GATE, LOOSE, fit
from confrere.testing import found as found_of
from confrere.testing import masked as run_masked
from confrere.testing.runs import apart

ORACLE = json.loads((Path(__file__).parent / "penalised_propensity.json").read_text())
TERMS = " + ".join(f"x{j}" for j in range(1, 9))
GROUND = Ground(person="pid")


both = pytest.mark.parametrize("propensity", ["lasso", "ridge"])


def found(frame: pd.DataFrame, estimator: Any = "iptw", **settings: Any) -> Finding:
    """The finding of three hospitals, the settings checked first."""
    effect = Effect("a", "y", TERMS, estimator, ground=GROUND, **({"propensity": "lasso"} | settings))
    effect.check()
    return fit(effect, [frame.iloc[i::3] for i in range(3)], LOOSE)


def people() -> pd.DataFrame:
    """Those of the oracle."""
    frame = pd.DataFrame(ORACLE["people"]).astype(float)
    return frame.assign(pid=np.arange(len(frame), dtype=float))


@both
def test_weights_equal_those_of_glmnet(propensity: str) -> None:
    """At the penalty that cross-validation chooses: coefficients to 1e-7, means to 1e-8, covariance to 1e-6."""
    frame, want = people(), ORACLE["cases"][propensity]
    alpha = float(propensity == "lasso")
    model = Penalised(f"a ~ {TERMS}", "binomial", alpha=alpha, ground=GROUND)
    alone = fit(model, [frame.iloc[i::3] for i in range(3)], LOOSE)
    assert alone.facts["lambda"] == pytest.approx(want["lambda"], rel=1e-9)
    got = found(frame, propensity=propensity)
    b = np.array([r["estimate"] for r in got.tables["propensity"]])
    np.testing.assert_allclose(b, want["beta"], atol=1e-7)
    assert 0 < (b == 0).sum() < 6 if alpha else (b != 0).all()
    np.testing.assert_allclose(got.arrays["mean"], want["mean"], rtol=1e-8)
    np.testing.assert_allclose(got.arrays["vcov"], want["vcov"], rtol=1e-6)
    assert got.tables["propensity"][1]["std_error"] is None  # a penalised estimate has none


def test_a_chosen_ridge_is_that_of_its_penalty() -> None:
    """The same penalty as a number, n lambda of terms in standard deviations: the variance is of one kind."""
    frame = people()
    got = found(frame, propensity="ridge")
    number = ORACLE["cases"]["ridge"]["lambda"] * len(frame)
    scaled = frame.assign(**{x: frame[x] / frame[x].std(ddof=0) for x in TERMS.split(" + ")})
    want = fit(Effect("a", "y", TERMS, propensity=number), [scaled.iloc[i::3] for i in range(3)], LOOSE)
    np.testing.assert_allclose(got.arrays["mean"], want.arrays["mean"], rtol=1e-8)
    np.testing.assert_allclose(got.arrays["vcov"], want.arrays["vcov"], rtol=1e-7)


def drawn(seed: int, n: int = 600) -> pd.DataFrame:
    """People of whom two confounders of eight matter; the effect is 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8))
    a = rng.random(n) < 1 / (1 + np.exp(0.4 * x[:, 1] - 0.6 * x[:, 0]))
    y = x[:, 0] + x[:, 1] + a + rng.normal(size=n)
    made = pd.DataFrame(x, columns=[f"x{j}" for j in range(1, 9)])
    return made.assign(a=a.astype(float), y=y, pid=np.arange(n, dtype=float))


@pytest.mark.parametrize(("estimator", "folds"), [("iptw", 1), ("aipw", 1), ("aipw", 2)])
@both
def test_the_effect_is_near_the_truth(propensity: str, estimator: str, folds: int) -> None:
    row = found(drawn(1, 3000), estimator, folds=folds, propensity=propensity).tables["effects"][0]
    assert abs(row["estimate"] - 1) < 3 * row["std_error"]
    assert row["std_error"] < 0.06


@both
def test_masks_and_the_deal_change_nothing(propensity: str) -> None:
    """Through keys, masks and gates, with other hospitals; folds are by a key that a run draws, so that only their
    choice of the penalty may differ: the same people are asked twice with one key."""
    frame = drawn(4, 6000)
    effect = Effect("a", "y", TERMS, propensity=propensity, ground=GROUND)
    one, other = (
        fit(effect, deal, GATE) for deal in ([frame[i::3] for i in range(3)], [frame[i::5] for i in range(5)])
    )
    assert apart(one, other, 1e-9) == []
    masked = found_of(run_masked(effect, {f"h{i}": frame[i::3] for i in range(3)}))
    row, want = masked.tables["effects"][0], one.tables["effects"][0]
    assert row["estimate"] == pytest.approx(want["estimate"], abs=0.5 * want["std_error"])


def test_one_person_is_no_arm() -> None:
    frame = people()
    with pytest.raises(ModelError, match=r"one person|cannot be dealt"):
        found(frame.assign(a=(frame.index == 5).astype(float)))


@both
def test_a_time_to_an_event(propensity: str) -> None:
    frame = drawn(2, 2000)
    time = np.random.default_rng(3).exponential(np.exp(-0.5 * frame["a"] - 0.3 * frame["x1"]))
    effect = Effect("a", "Surv(time, died)", TERMS, propensity=propensity, ground=GROUND)
    frame = frame.assign(time=np.minimum(time, 1.5) * 365, died=(time <= 1.5).astype(float))
    row = fit(effect, [frame.iloc[i::3] for i in range(3)], LOOSE).tables["effects"][0]
    assert row["measure"] == "hazard ratio"
    assert row["conf_low"] < 0.5 < row["conf_high"]


@pytest.mark.slow
@both
def test_augmented_limits_hold_the_truth_as_often_as_they_say(propensity: str) -> None:
    """60 networks: 95 % limits of the augmented estimator; of weighting alone shrinkage leaves a little bias."""
    rows = [found(drawn(seed, 1000), "aipw", propensity=propensity).tables["effects"][0] for seed in range(60)]
    held = np.mean([row["conf_low"] < 1 < row["conf_high"] for row in rows])
    assert held > 0.87  # 95 % less 2.6 standard errors
    ratio = np.std([row["estimate"] for row in rows]) / np.mean([row["std_error"] for row in rows])
    assert 0.76 < ratio < 1.24


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hospital_effects": True}, "one intercept for all"),
        ({"ground": Ground()}, "deals people to folds"),
        ({"estimator": "gformula"}, "gformula has no propensity"),
        ({"propensity": "ridge", "hospital_effects": True}, "a ridge propensity has one intercept"),
        ({"propensity": "ridge", "ground": Ground()}, "'ridge' deals people to folds"),
        ({"propensity": "ridge", "estimator": "gformula"}, "gformula has no propensity"),
        ({"propensity": "forest"}, "'logistic', 'lasso', 'ridge'"),
    ],
)
def test_what_does_not_go_with_a_penalty_is_named(settings: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"propensity": "lasso", "ground": GROUND} | settings
    with pytest.raises(StudyError, match=words):
        Effect("a", "y", TERMS, **given).check()
