"""Attacks on sparse tables, and on people who are divided in several ways: the rules `hide` and `near` of the gate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.feasibility import Feasibility
from confrere.analyses.feasibility_patterns import Told, bounds
from confrere.hospital.gate import Policy
from confrere.hospital.margins import hide, near, suppress
from federate import GATE, fit
from laws.cases import PLACES, STUDY, definition, eligible

K = Policy().k


def test_as_many_hidden_people_as_hidden_cells_are_one_in_each() -> None:
    """The control: where nobody is told, 11 people in 11 cells left out are known to the last one."""
    table = np.array([[1.0] * 11 + [0.0] * 5 + [40.0]])
    left_out = int((suppress("", table, Policy())[0] < 0).sum())
    assert (left_out, table[0, :11].sum()) == (11, 11)  # so each has one
    assert (hide("", table, Policy())[0] < 0).sum() == 16  # which of them are empty is not told


def test_what_is_hidden_is_never_few_in_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        table = rng.choice([0, 1, 3, 9, 10, 11, 12, 50], (3, 8)).astype(float)
        for row, grid in zip(table, hide("", table, Policy()), strict=True):
            left = row[grid < 0].sum()
            assert left == 0 or left >= K or not (grid >= 0).any()
            assert (row[grid >= 0] >= K).all()


def test_two_partitions_that_a_few_people_tell_apart() -> None:
    """Women and those over 60 are the same people but for four: the two counts are not both told."""
    table = np.array([[30.0, 2.0, 0.0], [2.0, 40.0, 0.0], [0.0, 0.0, 0.0]])
    found = near("", table, Policy())
    assert found.all()
    assert not near("", np.array([[30.0, 20.0, 0.0], [25.0, 40.0, 0.0], [0.0] * 3]), Policy()).any()


def test_no_table_tells_apart_a_few_who_could_enter() -> None:
    """Sex given away by region: 3 men of 60 live in the south. Its table is not told beside that of sex."""
    frame = eligible(1500, 3)
    made = definition(STUDY)
    met = np.logical_and.reduce([frame[made.rule(j)] == 1 for j in (1, 2, 3)])
    where = np.where(frame["_sex"] == "female", "south", "north")
    men = np.flatnonzero(met & (frame["_sex"] == "male").to_numpy())[:3]
    where[men] = "south"
    frame["_region"] = pd.Categorical(where, ["north", "south", "west"])
    tables = fit(Feasibility(STUDY, (2018, 2022), ground=PLACES), [frame[i::3] for i in range(3)], GATE).tables
    assert {r["by"] for r in tables["breakdown"]} == {"year", "sex", "age"}


def test_no_bands_together_tell_apart_a_few_who_could_enter() -> None:
    """Women are those under 50, but for three men. No band differs from the women by a few; three together do."""
    frame, made = eligible(1500, 3), definition(STUDY)
    rng, women = np.random.default_rng(0), (frame["_sex"] == "female").to_numpy()
    met = np.logical_and.reduce([frame[made.rule(j)] == 1 for j in (1, 2, 3)])
    age = np.where(women, rng.choice([25, 35, 45], 1500), rng.choice([55, 65, 75], 1500))
    age[np.flatnonzero(met & ~women)[:3]] = 35
    frame["_birth"] = np.floor(frame[made.entry].fillna(18000) - 365.25 * (age + 0.5))
    tables = fit(Feasibility(STUDY, (2018, 2022), ground=PLACES), [frame[i::3] for i in range(3)], GATE).tables
    assert {r["by"] for r in tables["breakdown"]} == {"year", "sex", "region"}


@pytest.mark.parametrize("shown", [(), (12.0,), (12.0, 12.0, 12.0), (12.0, 50.0), (500.0, 700.0)])
def test_hidden_cells_are_not_all_full(shown: tuple[float, ...]) -> None:
    """30 people in three hidden cells of 10 at most would be 10 in each: cells that hold more are hidden with them."""
    row = np.array([10.0, 10.0, 10.0, *shown])
    out = hide("", row[None], Policy())[0] < 0
    assert out.sum() > 3 or not shown
    most = min(row[~out], default=np.inf)
    assert row[out].sum() <= most * (out.sum() - 1)


def test_a_hidden_pattern_of_few_is_no_number() -> None:
    """However patterns fall, no interval is one number under k."""
    rng = np.random.default_rng(2)
    for _ in range(500):
        counts = np.append(0.0, rng.choice([0, 8, 9, 10, 11, 12, 40], 4))
        hidden = hide("", counts[None], Policy())[0] < 0
        told = Told(np.where(hidden, 0.0, counts), hidden, np.zeros(5, dtype=np.int64), counts.sum(keepdims=True), K)
        for one, count in zip(np.eye(5), counts, strict=True):
            found = bounds(told, one)
            assert found.low - 1e-9 <= count <= found.high + 1e-9
            assert not found.exact or not 0 < found.low < K


def test_patterns_leave_no_difference_to_the_funnel() -> None:
    """Steps of the funnel less all that is told of their patterns: nobody, or at least k."""
    for seed in range(12):
        frame = eligible(400, seed)
        tables = fit(Feasibility(STUDY, (2018, 2022), ground=PLACES), [frame[i::3] for i in range(3)], GATE).tables
        assert all(r["n"] >= K for r in tables["patterns"])
        told = [r["n"] for r in tables["funnel"] if r["n"] is not None]
        assert all(a == b or a - b >= K for a, b in pairwise(told))
        assert sum(r["n"] for r in tables["patterns"]) == tables["funnel"][0]["n"]
