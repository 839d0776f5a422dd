"""Differences in differences against R on real records, an example by hand, and what R's did has of aggregates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import PANEL

from confrere.analyses.effects.difference_in_differences import DifferenceInDifferences
from confrere.analyses.finding import Finding
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.hospital.gate import Violation
from confrere.testing import LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "panel.json").read_text())
YEARS = tuple(f"y{j}" for j in range(4))


def people() -> pd.DataFrame:
    """R's people; those whose treatment never begins have no entry in `began`."""
    return pd.DataFrame({name: np.array(v, dtype=float) for name, v in ORACLE["people"].items()})


def found(frames: list[pd.DataFrame], **settings: Any) -> Finding:
    """The finding of R's study, without thresholds."""
    study = DifferenceInDifferences(YEARS, (0.0, 1.0, 2.0, 3.0), "began", **{"confounders": "age + male"} | settings)
    study.check()
    return fit(study, frames, LOOSE)


def flat(finding: Finding) -> list[tuple[float, float]]:
    """Estimates and standard errors in R's order: by group and period, overall, by group, by time since, by period."""
    both = finding.tables["group_time"] + finding.tables["parallel_trends"]
    parts = [sorted(both, key=lambda r: (r["group"], r["time"]))]
    parts += [finding.tables[name] for name in ("effects", "by_group", "event_study", "by_period")]
    return [(r["estimate"], r["std_error"]) for part in parts for r in part]


@pytest.mark.parametrize("want", ORACLE["cases"], ids=lambda c: f"{c['estimator']}, {c['controls']}")
def test_effects_and_averages_equal_r(want: dict[str, Any]) -> None:
    """Values to 1e-9; standard errors to 1e-6, where R takes differences by case weights."""
    frame = people()
    got = found([frame[0::3], frame[1::3], frame[2::3]], estimator=want["estimator"], controls=want["controls"])
    assert [r["n"] for r in got.tables["groups"]] == ORACLE["groups"][:3]
    estimate, se = np.array(flat(got)).T
    np.testing.assert_allclose(estimate, want["estimate"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(se, want["std_error"], rtol=1e-6)
    assert got.tables["tests"][0]["statistic"] == pytest.approx(want["wald"], rel=1e-6)


def test_two_groups_by_hand() -> None:
    """Two periods without confounders are a difference of differences of means; three have a time before."""
    frame = pd.DataFrame(PANEL["data"], dtype=float)
    two = DifferenceInDifferences(("a", "b"), (1.0, 2.0), "began")
    got = fit(two, [frame[:5], frame[5:]], LOOSE)
    row = got.tables["effects"][0]
    assert (row["estimate"], row["std_error"]) == pytest.approx(PANEL["effect"])
    assert not got.tables["parallel_trends"]
    assert "cannot be looked at" in got.notes[0]
    three = DifferenceInDifferences(("before", "a", "b"), (0.0, 1.0, 2.0), "began")
    got = fit(three, [frame[:5], frame[5:]], LOOSE)
    (row,) = got.tables["parallel_trends"]
    assert (row["time"], row["estimate"], row["std_error"]) == pytest.approx(PANEL["before"])


def test_trends_that_differ_before_are_said() -> None:
    rng = np.random.default_rng(3)
    began = np.where(rng.random(400) < 0.5, 3.0, np.nan)
    slope = np.where(np.isnan(began), 0.0, 2.0)
    frame = pd.DataFrame({"began": began} | {f"y{t}": slope * t + rng.normal(0, 1, 400) for t in range(1, 5)})
    study = DifferenceInDifferences(("y1", "y2", "y3", "y4"), (1.0, 2.0, 3.0, 4.0), "began")
    got = fit(study, [frame[0::2], frame[1::2]], LOOSE)
    assert [c.code for c in got.warnings] == ["parallel-trends"]


def test_who_is_treated_at_first_is_left_out() -> None:
    frame = people()
    more = pd.concat([frame, frame.head(20).assign(began=-1.0)])
    whole, got = found([frame[0::2], frame[1::2]]), found([more[0::2], more[1::2]])
    assert got.n == whole.n
    left = {r["reason"]: r["n"] for r in got.tables["attrition"]}
    assert left["treated from the first period on"] == 20 + len(frame) - whole.n
    assert got.tables["effects"][0]["estimate"] == pytest.approx(whole.tables["effects"][0]["estimate"])


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"periods": (0.0, 1.0)}, StudyError, "4 outcomes for 2 periods"),
        ({"periods": (0.0, 2.0, 1.0, 3.0)}, StudyError, "ascending"),
        ({"outcomes": ("y0", "y1", "y1", "y3")}, StudyError, "named twice"),
        ({"outcomes": ("y0", "y1", "log(y2)", "y3")}, FormulaError, "not a column"),
        ({"confounders": "age + y0"}, FormulaError, "'y0' is a confounder too"),
        ({"confounders": "0 + age"}, FormulaError, "0 \\+"),
        ({"controls": "others"}, StudyError, "never treated"),
        ({"estimator": "matching"}, StudyError, "iptw"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    given = {
        "outcomes": YEARS,
        "periods": (0.0, 1.0, 2.0, 3.0),
        "treated_from": "began",
        "confounders": "age",
    } | settings
    with pytest.raises(kind, match=words):
        DifferenceInDifferences(**given).check()


def test_what_cannot_be_compared_is_said() -> None:
    frame = people()
    with pytest.raises(ModelError, match="nobody's treatment begins"):
        found([frame.assign(began=np.nan)])
    with pytest.raises(ModelError, match="nobody is left untreated"):
        found([frame.assign(began=2.0)])
    with pytest.raises(DataError, match="began"):
        found([frame.drop(columns="began")])


def crossed(both: int) -> list[pd.DataFrame]:
    """Three groups with two confounders of 0 and 1, of which so many of the never treated have both."""
    rng, at = np.random.default_rng(1), np.arange(900)
    began = np.array([np.nan, 2.0, 3.0])[at % 3]
    a, b = (at % 7 == 0).astype(float), (at % 5 == 0).astype(float)
    untreated = np.flatnonzero((a > 0) & np.isnan(began))
    b[untreated] = np.arange(untreated.size) < both
    frame = pd.DataFrame({"began": began, "a": a, "b": b} | {f"y{t}": rng.normal(t, 1, 900) for t in (1, 2, 3)})
    return [frame[j::4] for j in range(4)]


@pytest.mark.parametrize("estimator", ["gformula", "aipw"])
@pytest.mark.parametrize("controls", ["never treated", "not yet treated"])
def test_products_of_terms_among_controls_rest_on_nobody_or_enough(estimator: Any, controls: Any) -> None:
    """Many have both confounders, but one of the controls: the product of the two among controls would be his."""
    study = DifferenceInDifferences(("y1", "y2", "y3"), (1.0, 2.0, 3.0), "began", "a + b", controls, estimator)
    with pytest.raises(Violation, match="'a' and 'b' meet in fewer than 5"):
        fit(study, crossed(1))
    assert fit(study, crossed(0)).n == fit(study, crossed(20)).n == 900


def test_periods_of_eight_digits_stay_apart() -> None:
    """Days as 20190101 have words and records of their own."""
    days = (20190101.0, 20190110.0, 20190201.0)
    frames = [part.assign(began=part["began"].map({2.0: days[1], 3.0: days[2]})) for part in crossed(20)]
    study = DifferenceInDifferences(("y1", "y2", "y3"), days, "began")
    assert len(set(study.selecting)) == 3
    got = fit(study, frames)
    assert [r["group"] for r in got.tables["by_group"]] == list(days[1:])
    assert [r["time"] for r in got.tables["by_period"]] == list(days[1:])
