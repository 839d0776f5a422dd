"""Permutation importance over sums beside scikit-learn's, of the same trees and the same people held out."""

from __future__ import annotations

import numpy as np
import pytest
from make_permutation import FEATURES, OBJECTIVES, REPEATS, found, study

from federate import oracle

R = oracle("permutation")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rises_are_those_of_shuffled_values(objective: str) -> None:
    """Within four standard errors of the draws of both, and a hundredth: ours draws values of the people of training,
    scikit-learn shuffles those of the people held out."""
    result, expected = found(objective), R[objective]
    assert result.facts["model_sha256"] == expected["sha256"]
    rows = {r["feature"]: r for r in result.tables["permutation"]}
    repeats = 1 / REPEATS + 1 / study(objective).permutation
    for name in FEATURES:
        mean, error = expected["mean"][name], expected["std"][name] * np.sqrt(repeats)
        assert rows[name]["estimate"] == pytest.approx(mean, abs=4 * error + 0.01 * abs(mean))
    order = sorted(FEATURES, key=lambda name: -expected["mean"][name])
    assert [r["feature"] for r in result.tables["permutation"]] == order


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_noise_has_gain_and_is_worth_nothing(objective: str) -> None:
    result = found(objective)
    gains = {r["feature"]: r["total_gain"] for r in result.tables["importance"]}
    assert gains["noise"] > 0
    (row,) = [r for r in result.tables["permutation"] if r["feature"] == "noise"]
    assert row["estimate"] < 0.01 * max(r["estimate"] for r in result.tables["permutation"])
