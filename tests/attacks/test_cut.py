"""The limit of sets of classes: an edge that at most so many people are before, and no count (`cut`)."""

from __future__ import annotations

import numpy as np
import pytest

from confrere.hospital.gate import Policy
from confrere.hospital.margins import cut

K = 11


@pytest.mark.parametrize("seed", range(40))
def test_k_people_are_on_either_side_of_the_last_such_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = np.floor(rng.exponential(3, (1, 30))) * (rng.random((1, 30)) < 0.6)
    bound = int(rng.integers(0, 40))
    (grid,) = cut(bound, table, Policy())
    before, n = float(table[0, grid == 0].sum()), float(table.sum())
    first = int(np.argmax(grid))
    assert (grid == (np.arange(30) >= first)).all()
    assert first == 0 or (before >= K and before <= bound and n - before >= K)
    later = [table[0, :e].sum() for e in range(first + 1, 30)]
    assert not any(K <= people <= bound and n - people >= K for people in later)


def test_no_minimum_is_told() -> None:
    """Nobody is in the first cells; an edge where the first person stands is none."""
    table = np.array([[0.0, 0, 0, 3, 40, 40]])
    assert cut(5, table, Policy()).tolist() == [[1] * 6]
    assert cut(10, table, Policy()).tolist() == [[1] * 6]
    assert cut(43, table, Policy()).tolist() == [[0, 0, 0, 0, 0, 1]]


def test_how_people_before_a_limit_are_spread_is_not_told() -> None:
    one, other = np.array([[5.0, 9, 0, 8, 50]]), np.array([[1.0, 2, 11, 8, 50]])
    assert (cut(25, one, Policy()) == cut(25, other, Policy())).all()
