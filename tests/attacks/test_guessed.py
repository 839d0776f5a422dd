"""Counts by loss of two penalised models that are nearly one: what the cells of one tell less those of the other.

Two models of a study whose penalties are a hair apart give nearly everybody the same loss. With the same thirds, and
the cells that the gate lets be, a cell of one less that of the other rests on the few who moved; so thirds are drawn
for each model, and several such cells are told as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.learning import penalised_attack
from confrere.analyses.learning.penalised import Penalised
from confrere.analyses.learning.penalised_attack import FEWEST, MOST, Tried, joined
from confrere.analyses.outcomes import Frame
from confrere.hospital.gate import Policy, judge_clear
from confrere.rounds import People
from confrere.study.ground import Ground
from federate import table

K, N, FOLDS = 11, 3000, 10
GROUND = Ground(person="pid")
ONE = Penalised("y ~ x1 + x2", penalty=(0.1, 0.01), ground=GROUND)
OTHER = replace(ONE, penalty=(0.1, 0.010001))


def people() -> People:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, 2))
    frame = pd.DataFrame({"pid": np.arange(N), "x1": x[:, 0], "x2": x[:, 1], "y": x @ (0.5, 0.2) + rng.normal(size=N)})
    return People(table(frame), shared=b"k" * 32)


def tried(move: float) -> Tried:
    """Fits without folds that are a little apart, as those of cross-validation are; `move` is the other model's."""
    betas = np.array([[0.0, 0.45 + 0.002 * k + move, 0.18] for k in range(FOLDS)])
    return Tried(betas, Frame((0.0, 0.0), (1.0, 1.0), 0.0, 1.0, 1.0, True), 0.65, MOST)


def cells(of: Penalised, given: Tried, some: bool) -> list[np.ndarray]:
    """Who (N,) is in each cell: all that the gate lets be (`some` false), or those that are told."""
    made = penalised_attack.thirds(of, people(), given)
    grid = judge_clear([made], Policy(hospitals=0)).grids["losses"][0]
    starts = joined(grid) if some else tuple(np.flatnonzero(np.diff(grid, prepend=-1)).tolist())
    outside, place = made.data
    at = np.searchsorted(starts, place, side="right") - 1
    return [(outside == half) & (at == i) & (place >= 0) for half in (False, True) for i in range(len(starts))]


def apart(ones: list[np.ndarray], others: list[np.ndarray]) -> Iterator[int]:
    """People by whom a cell of one model and one of the other differ, of either kind or of both together; and runs of
    such cells from the smallest loss."""
    return (int(np.count_nonzero(a ^ b)) for a in runs(ones) for b in runs(others))


def runs(told: list[np.ndarray]) -> list[np.ndarray]:
    """Cells, cells of both kinds together, and both from the first on: (N,) each."""
    half = len(told) // 2
    both = [a | b for a, b in zip(told[:half], told[half:], strict=True)]
    upto = [np.logical_or.accumulate(np.array(cells)) for cells in (told[:half], told[half:], both)]
    return [*told, *both, *(row for rows in upto for row in rows)]


def test_no_difference_of_cells_of_two_models_rests_on_a_few() -> None:
    ones, others = (cells(of, tried(move), True) for of, move in ((ONE, 0.0), (OTHER, 1e-4)))
    assert min(len(ones), len(others)) >= 2 * 4
    assert min(apart(ones, others)) >= K
    assert min(apart(ones, others)) >= 2 * K  # and far from it


def test_cells_of_one_model_hold_many_and_nobody_twice() -> None:
    told = cells(ONE, tried(0.0), True)
    assert min(np.count_nonzero(c) for c in told) >= 4 * K
    assert set(np.sum(told, axis=0)) == {0, 1}
    assert np.sum(told) == pytest.approx(2 * N / 3, abs=100)
    assert all((a & b).sum() == 0 for a, b in pairwise(told))


def test_control_the_same_halves_and_finest_cells_differ_by_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penalised_attack, "_seed", lambda of: 1)
    found = list(apart(*(cells(of, tried(move), False) for of, move in ((ONE, 0.0), (OTHER, 1e-4)))))
    assert any(0 < n < K for n in found)


@pytest.mark.parametrize("settings", [{"choose": "1se"}, {"alpha": 0.5}, {"formula": "y ~ x2 + x1"}])
def test_every_model_draws_its_own_halves(settings: dict[str, Any]) -> None:
    one, other = (penalised_attack.thirds(of, people(), tried(0.0)).data[0] for of in (ONE, replace(ONE, **settings)))
    assert np.count_nonzero(one ^ other) > N / 3


def test_a_small_budget_has_no_ladder() -> None:
    """What the ladder costs, a twentieth of the budget at most: of fewer numbers nothing is asked."""
    assert penalised_attack.SHARE * 399 // 2 < FEWEST <= penalised_attack.SHARE * 400 // 2
