"""Drift of a risk score: planted shifts are found and others are not, indices and changes by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import confrere as cf
from confrere.analyses.learning.drift import INDEX, stability
from confrere.analyses.learning.evaluate import Evaluate

LEVELS = {"stage": ("I", "II", "III"), "period": ("2019", "2020", "2021")}
INPUTS: dict[str, tuple[float, ...]] = {"age": (50, 60, 70), "stage": ()}


def watched(older: float = 8.0, iller: float = 0.7, n: int = 6000) -> pd.DataFrame:
    """People of three periods, of whom the last are older, and ill more often than their risks say."""
    rng = np.random.default_rng(1)
    period, stage = (rng.choice(LEVELS[name], n) for name in ("period", "stage"))
    last = period == "2021"
    age = rng.normal(60, 10, n) + older * last
    score = -6 + 0.08 * age + 0.8 * (stage == "III")
    risk, truth = (1 / (1 + np.exp(-s)) for s in (score, score + iller * last))
    time, out = rng.exponential(1000 / (truth + 0.2)), rng.exponential(3000, n)
    return pd.DataFrame({
        "ill": (rng.random(n) < truth).astype(int), "risk": risk, "age": age, "stage": stage, "period": period,
        "time": np.minimum(time, out).round(), "event": (time < out).astype(int),
    })  # fmt: skip


def found(frame: pd.DataFrame, *outcome: Any, **more: Any) -> Any:
    hospitals = cf.local({f"h{i}": frame[i::3] for i in range(3)}, levels=LEVELS)
    return hospitals.run(Evaluate(*(outcome or ("ill",)), risk="risk", over="period", inputs=INPUTS, **more))


def test_what_moved_is_found_and_nothing_else() -> None:
    fit = found(watched())
    (caution,) = [w for w in fit.warnings if w.code == "model-drift"]
    assert "drift of risk in 2021; drift of age in 2021; drift of calibration in the large in 2021." in caution.text
    rows = {(r["what"], r["level"]): r for r in fit.tables["drift"]}
    change = rows["calibration in the large", "2021"]
    assert change["conf_low"] < 0.7 < change["conf_high"]
    assert rows["age", "2020"]["estimate"] < 0.1 < 0.25 < rows["age", "2021"]["estimate"]
    assert rows["stage", "2021"]["estimate"] < 0.1


def test_where_nothing_moved_nothing_is_said() -> None:
    fit = found(watched(0.0, 0.0))
    assert "model-drift" not in [w.code for w in fit.warnings]
    for row in fit.tables["drift"]:
        if row["measure"] == INDEX:
            assert row["estimate"] < 2 * row["if_same"]
        else:
            assert abs(row["estimate"]) < 3 * row["std_error"]


def test_inputs_are_those_of_all_rows_and_changes_those_of_metrics() -> None:
    frame = watched()
    fit = found(frame)
    rows = {(r["what"], r["level"]): r for r in fit.tables["drift"]}
    cells = {"age": np.searchsorted([50, 60, 70], frame["age"], side="right"), "stage": frame["stage"]}
    for name, at in cells.items():
        counts = pd.crosstab(frame["period"], at).to_numpy(float)
        p, q = counts[0] / counts[0].sum(), counts[2] / counts[2].sum()
        assert rows[name, "2021"]["estimate"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
        limit = stats.chi2.ppf(0.95, counts.shape[1] - 1) * (1 / counts[0].sum() + 1 / counts[2].sum())
        assert rows[name, "2021"]["if_same"] == pytest.approx(limit)
    auc = {r["level"]: r for r in fit.tables["metrics"] if r["metric"] == "AUC"}
    change = rows["AUC", "2021"]
    assert change["estimate"] == pytest.approx(auc["2021"]["estimate"] - auc["2019"]["estimate"])
    assert change["std_error"] == pytest.approx(np.hypot(auc["2021"]["std_error"], auc["2019"]["std_error"]))


def test_people_who_are_followed() -> None:
    fit = found(watched(), "Surv(time, event)", times=700.0)
    rows = {(r["what"], r["level"]): r for r in fit.tables["drift"]}
    assert {"risk", "age", "stage", "AUC", "Uno's concordance", "calibration slope"} <= {what for what, _ in rows}
    assert rows["risk", "2021"]["estimate"] > 0.25 > rows["risk", "2020"]["estimate"]


def test_the_index_by_hand() -> None:
    """Shares 1/4 3/4, then 1/2 1/2: (1/4) log 2 + (-1/4) log(2/3) = log(3) / 4. An empty cell goes with the next."""
    assert stability(np.array([[25.0, 75.0], [60.0, 60.0]]))["estimate"] == pytest.approx(np.log(3) / 4)
    assert stability(np.array([[25.0, 0.0, 75.0, 0.0], [60.0, 30.0, 30.0, 0.0]]))["estimate"] == pytest.approx(
        np.log(3) / 4
    )
    assert stability(np.array([[25.0, 75.0], [50.0, 150.0]]))["estimate"] == pytest.approx(0)


def test_a_limit_where_nothing_moved_is_kept_19_times_of_20() -> None:
    rng = np.random.default_rng(5)
    share = np.array([0.1, 0.2, 0.3, 0.4])
    beyond = 0
    for _ in range(1000):
        made = stability(np.array([rng.multinomial(800, share), rng.multinomial(500, share)], dtype=float))
        beyond += made["estimate"] > made["if_same"]
    assert 30 <= beyond <= 72  # 50 +- 3.2 standard errors
