"""Combinations of cohorts of which the sizes are known: what the gate lets be told, held against a slow search."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from confrere.hospital.atoms import on_few
from confrere.hospital.gate import Policy, Violation, judge_clear
from confrere.hospital.margins import known
from confrere.rounds import clear, drive, supported
from confrere.study.cuts import apart
from confrere.study.ground import Ground
from confrere.testing.runs import table


def inside(cohorts: int) -> np.ndarray:
    return (np.arange(2**cohorts)[:, None] >> np.arange(cohorts) & 1 == 1).T


def slow(sets: np.ndarray, counts: np.ndarray, k: int) -> bool:
    """Whether a combination, of small whole coefficients, of the sets and of everybody rests on 1 to k-1 people."""
    rows = np.vstack([sets, np.ones((1, counts.size))]).astype(int)
    for weights in itertools.product((-2, -1, 0, 1, 2), repeat=len(rows)):
        people = counts[np.array(weights) @ rows != 0].sum()
        if 0 < people < k:
            return True
    return False


@pytest.mark.parametrize("seed", range(12))
def test_what_is_told_gives_nobody_away(seed: int) -> None:
    counts = np.floor(np.random.default_rng(seed).exponential(25, 4))
    grid = known(tuple(inside(2)), counts[None], Policy())[0]
    told = [row for row, place in zip(np.vstack([np.eye(4), inside(2)]), grid, strict=True) if place >= 0]
    assert not slow(np.array(told).reshape(-1, 4), counts, 11)


@pytest.mark.parametrize("seed", range(12))
def test_the_quick_search_finds_what_the_slow_one_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts, sets = np.floor(rng.exponential(12, 6)), rng.random((3, 6)) < 0.5
    if slow(sets, counts, 11):
        assert on_few(sets, counts, 11)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_rests_on_few_and_nothing_else_is(seed: int) -> None:
    """Five sets of seven atoms, most of few people, some atoms in the same sets: held against small coefficients."""
    rng = np.random.default_rng(seed)
    counts, sets = np.floor(rng.exponential(6, 7)), rng.random((5, 7)) < 0.5
    sets[:, 6] = sets[:, 5]
    assert on_few(sets, counts, 11) == slow(sets, counts, 11)


def test_atoms_of_few_people_are_not_all_that_can_be_told_apart() -> None:
    """Four classes; of each most are right, and few of each are wrong, or have no set: the sums of these are many."""
    counts = np.tile([50.0, 6.0, 5.0], 4)
    kind, state = np.divmod(np.arange(12), 3)
    sets = np.array([*(kind == c for c in range(4)), state == 1, state == 2])
    assert not on_few(sets, counts, 11)
    assert on_few(np.vstack([sets, (state == 1) & (kind == 0)]), counts, 11)


def test_sizes_go_before_combinations() -> None:
    counts = np.array([[100.0, 50.0, 60.0, 5.0]])  # none, a, b, both
    grid = known(tuple(inside(2)), counts, Policy())[0]
    assert (grid >= 0).tolist() == [False, False, False, False, True, True]
    everything = known(tuple(inside(2)), counts, Policy(allow=frozenset({"small_cells"})))[0]
    assert (everything >= 0).all()


class Chosen:
    """An analysis that is about people of its own choosing."""

    ground = Ground()

    def __init__(self, least: int) -> None:
        self.least = least

    def whom(self, frame: pd.DataFrame) -> np.ndarray:
        return np.asarray(frame["x"] >= self.least)


@pytest.mark.parametrize(("least", "few"), [(20, False), (3, True), (0, False)])
def test_two_analyses_of_nearly_the_same_people_are_refused(least: int, few: bool) -> None:
    tables = [table(pd.DataFrame({"x": np.arange(i, 120, 3).astype(float)})) for i in range(3)]
    answer = clear(tables, lambda designs: judge_clear(designs, Policy()))
    if few:
        with pytest.raises(Violation, match="people of analyses 2 and 1"):
            drive(supported(apart([Chosen(0), Chosen(least)])), answer)
        return
    drive(supported(apart([Chosen(0), Chosen(least)])), answer)
