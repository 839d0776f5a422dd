"""Areas over few cells: not told, or told with a caution; and near those of the scores where they are told."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.learning.attack import TOO_GOOD, guessed
from confrere.analyses.learning.coarse import BOUNDED, MOST, shares, wide
from confrere.analyses.learning.scored import EDGES, auc
from confrere.coordinator.airlock import Rule, checks
from confrere.hospital.merging import edges, numbered
from confrere.report.cautions import said
from confrere.report.words import Words

STAGES = ("I", "II", "III", "IV")
COEFFICIENTS = {"x": 0.6, "C(stage)[T.II]": 0.5, "C(stage)[T.III]": 1.0, "C(stage)[T.IV]": 1.5}
ONE = np.array([400.0]), np.array([100.0])


@lru_cache
def cohort(n: int) -> pd.DataFrame:
    """People in four stages whose risks differ, by a model that is known."""
    rng = np.random.default_rng(4)
    x, stage = np.round(rng.normal(size=n), 3), rng.integers(0, 4, n)
    score = 0.6 * x + 0.5 * stage
    time, lost = rng.exponential(1 / (0.00028 * np.exp(score))), rng.uniform(300, 2500, n)
    return pd.DataFrame({
        "pid": [f"p{i}" for i in range(n)], "x": x, "stage": np.array(STAGES)[stage], "score": score,
        "time": np.ceil(np.minimum(time, lost)), "event": (time <= lost).astype(int),
        "ill": (rng.random(n) < 1 / (1 + np.exp(1.95 - score))).astype(int),
    })  # fmt: skip


def run(analysis: Any, n: int, hospitals: int = 4) -> Any:
    frame = cohort(n)
    parts = {f"h{i}": frame[i::hospitals].drop(columns="score").reset_index(drop=True) for i in range(hospitals)}
    allow = ["histograms", "model_weights"]
    return cf.local(parts, levels={"stage": list(STAGES)}, person="pid").run(analysis, allow=allow).finding


def binary(n: int, by: str) -> Any:
    return run(cf.Evaluate("ill", model="x + C(stage)", coefficients=COEFFICIENTS | {"Intercept": -1.95}, by=by), n)


def followed(n: int, by: str) -> Any:
    risk = {"model": "x + C(stage)", "link": "cox", "coefficients": COEFFICIENTS, "baseline": 0.75, "times": 1000.0}
    return run(cf.Evaluate("Surv(time, event)", by=by, **risk), n)


def told(found: Any, metric: str) -> dict[str, float | None]:
    """The estimate by level; everybody is ""."""
    return {r["level"]: r["estimate"] for r in found.tables["metrics"] if r["metric"] == metric}


def exact(frame: pd.DataFrame) -> float:
    """The area of the scores themselves."""
    ill, well = (frame["score"][frame["ill"] == y].to_numpy() for y in (1, 0))
    return float(((ill[:, None] > well).mean() + (ill[:, None] >= well).mean()) / 2)


@lru_cache
def harrell(n: int) -> float:
    """Concordance up to the horizon of the scores themselves, of all pairs."""
    frame = cohort(n)
    time, score = frame["time"].to_numpy(), frame["score"].to_numpy()
    case = np.flatnonzero((frame["event"] == 1) & (time <= 1000))
    later = time[case][:, None] < time
    higher = (score[case][:, None] > score) + (score[case][:, None] == score) / 2
    return float((later * higher).sum() / later.sum())


def test_everybody_with_subgroups_is_near_the_scores_themselves_and_levels_without_cells_are_not_told() -> None:
    found, area = binary(1500, "stage"), told(binary(1500, "stage"), "AUC")
    assert area[""] is None or area[""] == pytest.approx(exact(cohort(1500)), abs=0.03)
    assert told(binary(1500, ""), "AUC")[""] == pytest.approx(exact(cohort(1500)), abs=0.004)
    silent = {level for level, each in area.items() if each is None}
    assert silent
    assert not silent & {r["level"] for r in found.tables.get("roc", [])}
    assert {w.code for w in found.warnings} >= {"coarse-score"}
    assert not any(each is not None and each == 0.5 for each in area.values())


def test_more_people_come_nearer() -> None:
    found, frame = binary(6000, "stage"), cohort(6000)
    area = told(found, "AUC")
    assert area[""] == pytest.approx(exact(frame), abs=0.012)
    for level in STAGES:
        assert area[level] == pytest.approx(exact(frame[frame["stage"] == level]), abs=0.03)


def test_a_concordance_of_people_followed_is_near_that_of_the_scores() -> None:
    few, many = followed(1500, "stage"), followed(6000, "stage")
    assert told(many, "Harrell's concordance")[""] == pytest.approx(harrell(6000), abs=0.015)
    for metric in ("AUC", "Harrell's concordance", "Uno's concordance"):
        assert None in told(few, metric).values()
        assert 0.5 not in told(few, metric).values()
    assert "coarse-score" in [w.code for w in few.warnings]


def test_a_small_network_tells_no_coin_of_one_cell() -> None:
    network = cf.Network("ill", "x", module="mlp", rounds=3, holdout=0.3)
    found = run(network, 450, hospitals=3)
    (row,) = [r for r in found.tables["metrics"] if (r["metric"], r["sample"]) == ("AUC", "held out")]
    assert row["estimate"] != 0.5
    drawn = {r["sample"] for r in found.tables.get("roc", [])}
    assert (row["estimate"] is None) == ("held out" not in drawn)
    assert "coarse-score" in [w.code for w in found.warnings]
    (check,) = [c for c in checks({"net": found}, Rule(11, ("model_weights",))) if c.check == "membership"]
    assert (check.verdict == "review") == ("attack" not in found.tables)


def test_an_attack_on_one_cell_is_no_attack() -> None:
    assert guessed(*ONE).rows == []
    even = np.full(2, 100.0)
    assert guessed(even, even).rows == []
    assert guessed(np.full(4, 100.0), np.full(4, 30.0)).rows


def test_an_overfitted_model_is_caught_on_two_cells_too() -> None:
    members, others = np.array([395.0, 5.0]), np.array([55.0, 45.0])
    (row,) = guessed(members, others).rows
    assert row["estimate"] > TOO_GOOD
    assert [c.code for c in guessed(members, others).cautions] == ["membership-attack"]


def test_shares_of_pairs_by_hand() -> None:
    """Of 100 pairs 6 x 3 + 4 x 7 = 46 are in one cell; in cells that overlap all are; in a fine cell none counts."""
    without, having = np.array([6.0, 4.0]), np.array([3.0, 7.0])
    assert shares(without, having).tied == pytest.approx(0.46)
    assert shares(without, having, np.array([True, False])).tied == pytest.approx(0.18)
    apart = np.array([[-np.inf, 0.0], [0.0, np.inf]])
    assert shares(without, having, True, apart) == shares(without, having)
    assert shares(without, having, True, np.array([[-1.0, 0.0], [0.5, 1.0]])).tied == pytest.approx(1.0)
    assert not shares(*ONE).fine
    assert shares(np.zeros(2), having).tied == 1.0 > MOST
    assert wide(np.array([0, 0, 1, 2, 2])).tolist() == [True, False, True]


def test_the_caution_is_known_in_french() -> None:
    for found in (binary(1500, "stage"), followed(1500, "stage")):
        for caution in found.warnings:
            assert not said(caution.code, caution.text, Words("fr")).foreign


def test_limits_are_told_as_far_as_they_hold() -> None:
    """Of people held out, a fifth, in cells that hold nobody or 11 of each outcome in either sample: DeLong's limits
    hold where no more than `BOUNDED` of the pairs are in one cell, and not where a quarter or more are."""
    rng = np.random.default_rng(1)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        score = rng.normal(-0.4, 2.0, n)
        return score, rng.random(n) < 1 / (1 + np.exp(-score))

    score, y = drawn(200_000)
    ranks, ill = np.argsort(np.argsort(score)), int(y.sum())
    truth = (ranks[y].sum() - ill * (ill - 1) / 2) / (ill * (len(y) - ill))
    tied, held = [], []
    for n in (600, 1000, 1800, 3000):
        for _ in range(150):
            score, y = drawn(n)
            kind = 2 * (rng.random(n) < 0.2) + y
            at = np.searchsorted(EDGES, score, side="right")
            rows = np.array([np.bincount(at[kind == k], minlength=len(EDGES) + 1) for k in range(4)], dtype=float)
            left = edges(rows, [], 11)
            grid = numbered(left, len(EDGES) + 1)
            without, having = (np.bincount(grid, row, len(left)) for row in rows[2:])
            area, se = auc(without, having)
            tied.append(shares(without, having, wide(grid, len(left))).tied)
            held.append(abs(area - truth) <= 1.96 * se)
    share, hit = np.array(tied), np.array(held)
    assert hit[share <= BOUNDED].mean() > 0.9
    assert hit[share > 0.25].mean() < 0.8
