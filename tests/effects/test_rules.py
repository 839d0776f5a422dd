"""What an effect refuses, what it warns of, and whom it leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, fit, found, masked
from effects.worlds import drawn

GROUND = Ground(Schema({"stage": Column("stage", ("I", "II", "III")), "arm": Column("arm", ("no", "yes"))}))


def people(n: int = 1500, **columns: Any) -> pd.DataFrame:
    """People of a world with a binary outcome, with other columns, given or made from theirs."""
    frame = drawn("binomial", n, np.random.default_rng(2)).frame
    return frame.assign(**columns)


def three(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Three hospitals."""
    return [frame.iloc[i::3] for i in range(3)]


def codes(finding: Finding) -> list[str]:
    """The codes of its warnings."""
    return [caution.code for caution in finding.warnings]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"treatment": "stage"}, FormulaError, "3 declared levels"),
        ({"treatment": "log(x1)"}, FormulaError, "not a column|expression|log"),
        ({"confounders": "x1 + a"}, FormulaError, "'a' is the treatment"),
        ({"confounders": "x1 + y"}, FormulaError, "'y' is the outcome"),
        ({"confounders": "1"}, FormulaError, "no term"),
        ({"confounders": "0 + x1"}, FormulaError, "no 0"),
        ({"confounders": "x1 + offset(x2)"}, FormulaError, "offset"),
        ({"outcome": "a"}, FormulaError, "both treatment and outcome"),
        ({"outcome_model": "x1", "estimator": "gformula"}, FormulaError, "lacks the treatment"),
        ({"propensity": "forest"}, StudyError, "logistic"),
        ({"propensity": -1.0}, StudyError, "0 or positive"),
        ({"trim": (0.9, 0.1)}, StudyError, r"\[0.1, 0.9\]"),
        ({"truncate": (0.5,)}, StudyError, "above 1"),
        ({"truncate": (0.2, 1.5)}, StudyError, "bounds of the propensity"),
        ({"stabilised": True, "estimand": "ATT"}, StudyError, "belong to the estimand ATE"),
        ({"folds": 3}, StudyError, "aipw"),
        ({"folds": 21, "estimator": "aipw"}, StudyError, "20 is the most"),
        ({"folds": 3, "estimator": "aipw"}, StudyError, "person"),
        ({"folds": 3, "estimator": "aipw", "estimand": "ATO"}, StudyError, "leave folds out, or take ATE or ATT"),
        ({"folds": 3, "estimator": "aipw", "estimand": "ATM"}, StudyError, "leave folds out, or take ATE or ATT"),
        ({"estimator": "gformula", "estimand": "ATO"}, StudyError, "ATE and ATT"),
        ({"estimator": "gformula", "trim": (0.1, 0.9)}, StudyError, "no propensity"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Effect(**({"treatment": "a", "outcome": "y", "confounders": "x1", "ground": GROUND} | settings)).check()


def test_nobody_or_everybody_is_treated() -> None:
    for value, who in ((0.0, "nobody"), (1.0, "everybody")):
        with pytest.raises(ModelError, match=f"{who} is treated"):
            fit(Effect("a", "y", "x1"), three(people(300, a=value)), LOOSE)
    with pytest.raises(DataError, match="treatment 'a' is neither 0 nor 1 for 300 people"):
        fit(Effect("a", "y", "x1"), three(people(900, a=2.0)), LOOSE)


def test_an_outcome_that_does_not_vary() -> None:
    with pytest.raises(ModelError, match="the same for everybody"):
        fit(Effect("a", "y", "x1"), three(people(300, y=1.0)), LOOSE)
    none = people(300)
    none["y"] = none["y"].where(none["a"] == 0, 0.0)
    with pytest.raises(ModelError, match="no risk ratio"):
        fit(Effect("a", "y", "x1"), three(none), LOOSE)


def test_a_family_that_the_outcome_cannot_have() -> None:
    with pytest.raises(DataError, match="neither 0 nor 1"):
        fit(Effect("a", "x1", "x2", family="binomial"), three(people(300)), LOOSE)


def test_a_term_that_separates_the_treatment_is_named_with_the_model() -> None:
    frame = people(600)
    frame["x9"] = (frame["a"] == 1) & (frame["x1"] > 0)
    with pytest.raises(ModelError, match=r"the propensity \(a ~ x1 \+ x9\).*'x9' separates"):
        fit(Effect("a", "y", "x1 + x9"), three(frame.astype(float)), LOOSE)


def test_everybody_misses_no_column_of_any_model() -> None:
    """People who miss a column of the outcome model alone are in none of the sums."""
    frame = people(900)
    frame["x2"] = frame["x2"].mask(np.arange(900) % 5 == 0)
    effect = Effect("a", "y", "x1", "aipw", outcome_model="a + x1 + x2")
    got, whole = fit(effect, three(frame), LOOSE), fit(effect, three(frame.dropna()), LOOSE)
    assert got.n == whole.n == 720
    np.testing.assert_allclose(got.arrays["mean"], whole.arrays["mean"], rtol=1e-12)
    assert {r["reason"]: r["n"] for r in got.tables["attrition"]}["missing x2"] == 180


def test_levels_are_as_good_as_marks() -> None:
    frame = people(900)
    frame["arm"] = pd.Categorical(np.where(frame["a"] > 0, "yes", "no"), ("no", "yes"))
    for estimator in ("iptw", "aipw"):
        got = fit(Effect("arm", "y", "x1", estimator, ground=GROUND), three(frame), LOOSE)  # type: ignore[arg-type]
        same = fit(Effect("a", "y", "x1", estimator), three(frame), LOOSE)  # type: ignore[arg-type]
        np.testing.assert_allclose(got.arrays["vcov"], same.arrays["vcov"], rtol=1e-10)


def test_a_sound_study_has_no_warning() -> None:
    assert codes(fit(Effect("a", "y", "x1 + x2 + x3"), three(people()), GATE)) == []


def test_hardly_any_overlap_is_warned_of_and_overlap_weights_are_not() -> None:
    frame = people(3000)
    rng = np.random.default_rng(1)
    frame["a"] = (rng.random(3000) < 1 / (1 + np.exp(-3 * frame["x1"]))).astype(float)
    assert {"positivity", "extreme-weights"} <= set(codes(fit(Effect("a", "y", "x1 + x2"), three(frame), GATE)))
    assert codes(fit(Effect("a", "y", "x1 + x2", estimand="ATO"), three(frame), GATE)) == []


def test_arms_that_differ_after_weighting_are_named() -> None:
    frame = people(3000)
    rng = np.random.default_rng(1)
    frame["a"] = (rng.random(3000) < 1 / (1 + np.exp(1.5 - frame["x1"] ** 2))).astype(float)
    got = fit(Effect("a", "y", "x1 + I(x1**2)", propensity=2000.0), three(frame), GATE)
    assert codes(got) == ["imbalance"]
    assert "'I(x1 ** 2)'" in got.warnings[0].text


def test_trimming_leaves_out_whoever_is_beyond_and_fits_again() -> None:
    frame = people(4000)
    got = fit(Effect("a", "y", "x1 + x2", trim=(0.25, 0.65)), three(frame), GATE)
    whole = fit(Effect("a", "y", "x1 + x2"), three(frame), GATE)
    assert 0 < got.facts["trimmed"] < 0.5
    assert got.n == pytest.approx(whole.n * (1 - got.facts["trimmed"]))
    assert got.tables["propensity"][1]["estimate"] != whole.tables["propensity"][1]["estimate"]
    bins = got.summary("overlap")
    assert bins["n"].sum() == whole.n  # overlap is shown before trimming
    assert {0.25, 0.65} <= set(bins["propensity_from"])


def test_a_bound_that_would_tell_few_people_apart_moves_inwards() -> None:
    frame = people(1500)
    alone = fit(Effect("a", "y", "x1 + x2"), three(frame), LOOSE).summary("overlap")
    few = alone[(alone["propensity_from"] >= 0.7) & (alone["n"] > 0)]
    bound = float(few[few["n"] < 11]["propensity_from"].min())
    got = fit(Effect("a", "y", "x1 + x2", trim=(0.05, bound)), three(frame), GATE)
    said = [c.text for c in got.warnings if c.code == "trim-moved"]
    assert all(f"not 0.05 and {bound:g}" in text for text in said)
    beyond = alone[alone["propensity_from"] >= bound].groupby("arm")["n"].sum()
    assert bool(said) == bool(((beyond > 0) & (beyond < 11)).any())


def test_no_bin_of_the_overlap_tells_of_a_few() -> None:
    for n in (400, 1500):
        bins = fit(Effect("a", "y", "x1 + x2 + x3"), three(people(n)), GATE).summary("overlap")
        assert bins["n"].sum() == n
        assert not bins["n"].between(1, 10).any()


# --- an intercept for every hospital ----------------------------------------------------------------------


def habits(n: int = 2000) -> pd.DataFrame:
    """Four hospitals that treat by different habits; in the last nobody is treated."""
    frame = people(n, hospital=np.arange(n) % 4)
    rng = np.random.default_rng(4)
    chance = 1 / (1 + np.exp(-(frame["x1"] + np.array([-1.0, 0.0, 1.0, -99.0])[frame["hospital"]])))
    return frame.assign(a=(rng.random(n) < chance).astype(float))


def test_a_hospital_without_a_comparison_takes_no_part() -> None:
    frame = habits()
    parts = [part for _, part in frame.groupby("hospital")]
    got = fit(Effect("a", "y", "x1 + x2", hospital_effects=True), parts, GATE)
    without = fit(Effect("a", "y", "x1 + x2", hospital_effects=True), parts[:3], GATE)
    assert got.n == without.n == 1500
    np.testing.assert_allclose(got.arrays["vcov"], without.arrays["vcov"], rtol=1e-10)
    reasons = {r["reason"]: r["n"] for r in got.tables["attrition"]}
    assert reasons["treatment does not vary in the hospital"] == 500
    assert [row["term"] for row in got.tables["propensity"]] == ["x1", "x2"]  # no hospital is named


def test_own_intercepts_are_indicators_of_hospitals() -> None:
    """Trimming, ridge and estimands too; over masks and gates."""
    frame = habits()
    frame = frame[frame["hospital"] < 3]
    for more in ({}, {"trim": (0.2, 0.8)}, {"estimand": "ATT", "estimator": "aipw"}):
        own: Any = Effect("a", "y", "x1 + x2", hospital_effects=True, **more)
        parts = {f"h{i}": part for i, part in frame.groupby("hospital")}
        got, clear = found(masked(own, parts)), fit(own, list(parts.values()), GATE)
        np.testing.assert_allclose(got.arrays["mean"], clear.arrays["mean"], rtol=1e-9)
        if not more:
            marks = pd.get_dummies(frame["hospital"], prefix="h", dtype=float).iloc[:, 1:]
            pooled = fit(Effect("a", "y", "x1 + x2 + h_1 + h_2"), three(frame.join(marks)), LOOSE)
            np.testing.assert_allclose(got.arrays["mean"], pooled.arrays["mean"], rtol=1e-9)
            np.testing.assert_allclose(got.arrays["vcov"], pooled.arrays["vcov"], rtol=1e-7)
