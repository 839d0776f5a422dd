"""Calibration of a new model from its counts by score: that of single people, and nothing where cells are coarse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from confrere.analyses.learning.calibrated import calibrated, slope
from confrere.analyses.learning.scored import EDGES


def people(n: int, truth: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Scores in logits, and outcomes whose logits are `truth` times as far."""
    rng = np.random.default_rng(seed)
    score = rng.normal(-1.0, 1.2, n)
    return score, (rng.random(n) < 1 / (1 + np.exp(-truth * score - 0.1))).astype(int)


def counted(score: np.ndarray, y: np.ndarray, edges: np.ndarray) -> np.ndarray:
    at = np.searchsorted(edges, score, side="right")
    return np.array([np.bincount(at[y == k], minlength=len(edges) + 1) for k in (0, 1)], dtype=float)


@pytest.mark.parametrize("truth", [0.6, 1.0, 1.5])
def test_on_a_fine_ladder_they_are_those_of_single_people(truth: float) -> None:
    score, y = people(20_000, truth)
    ratio, line = calibrated(counted(score, y, EDGES), EDGES)
    fit = optimize.minimize(lambda b: np.logaddexp(0, (1 - 2 * y) * (b[0] + b[1] * score)).sum(), [0.0, 1.0])
    assert line["estimate"] == pytest.approx(fit.x[1], abs=2e-3)
    p = 1 / (1 + np.exp(-fit.x[0] - fit.x[1] * score))
    x = np.column_stack([np.ones_like(score), score])
    se = np.sqrt(np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]))[1, 1])
    assert (line["conf_high"] - line["conf_low"]) / 2 / 1.959964 == pytest.approx(se, rel=5e-3)
    assert ratio["estimate"] == pytest.approx(y.mean() / (1 / (1 + np.exp(-score))).mean(), rel=2e-3)
    assert ratio["conf_low"] < ratio["estimate"] < ratio["conf_high"]


def test_of_coarse_cells_nothing_is_said() -> None:
    score, y = people(2000, 1.0)
    few = np.array([0.0])
    assert calibrated(counted(score, y, few), few) == []
    assert calibrated(np.array([[5.0, 5.0], [0.0, 0.0]]), few) == []
    assert calibrated(np.array([[5.0], [5.0]]), np.zeros(0)) == []


def test_where_all_with_the_outcome_are_above_there_is_no_slope() -> None:
    assert slope(np.array([[20.0, 30.0, 0.0], [0.0, 0.0, 40.0]]), np.array([-1.0, 0.0, 1.0])) is None
