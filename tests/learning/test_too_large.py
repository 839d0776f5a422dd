"""Numbers that are too large for the sums of hospitals: the error names the array, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import confrere as cf
from confrere.errors import ConfrereError
from federate import dealt
from laws.cases import gaps

LEVELS = {"stage": ("I", "II", "III"), "arm": ("a", "b"), "fate": ("alive", "relapse", "death")}
CASES = {
    "boosting of a large outcome": (
        lambda: cf.Boosting("x2", ("x1",), "squared", trees=2, depth=2), "x2", 1e12,
        r"boosting\.\w+(\.\w+)?: overflow.*Resc",
    ),
    "penalised with a large feature": (
        lambda: cf.Penalised("ill ~ x1", "binomial", penalty=(0.01,)), "x1", 1e15,
        r"penalised\.\w+(\.\w+)?: overflow.*Resc",
    ),
    "network that diverges": (
        lambda: cf.Network("x2", "x1", objective="squared", rounds=30, learning_rate=1e3, clip=1e6), "x2", 1.0,
        "smaller learning_rate",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_too_large_is_named(name: str) -> None:
    made, column, times, says = CASES[name]
    people = gaps(900, 1)
    people[column] = people[column] * times
    frames = dealt(people, np.arange(900) % 3, 3)
    analysis: Any = made()
    hospitals = cf.local({f"h{i}": f for i, f in enumerate(frames)}, levels=LEVELS, person="pid")
    with pytest.raises(ConfrereError, match=says) as found:
        hospitals.run(analysis, allow=["histograms", "model_weights"])
    assert "smaller scale" not in str(found.value)
