"""k-means as the gate lets it pass, where its control is caught; and the rule `moved` by itself."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from attacks.cases import registered
from attacks.detectors import counts, identified, jacobian, leverage, resting_on_few, rows
from attacks.people import GROUND, dealt, patients
from attacks.test_controls import BLIND
from attacks.view import View, record
from confrere.hospital.gate import Policy, Violation, judge_clear, spent_on, support_of
from confrere.hospital.moves import fewest
from confrere.rounds import Cells, Design, find

K = Policy().k


def test_until_convergence_it_would_be_caught() -> None:
    """The same method behind a gate that looks away gives rows back, as the control does."""
    registered()
    view = record(find("kmeans")("~ x1 + x2", 3, starts=1, ground=GROUND).flow(), dealt(patients(200)), BLIND)
    assert resting_on_few(rows(view), K)


@pytest.fixture(scope="module")
def view() -> View:
    """Several starts of a study that may ask many numbers: the gate alone ends each."""
    registered()
    study = find("kmeans")("~ x1 + x2", 3, starts=3, ground=GROUND)
    return record(study.flow(), dealt(patients(400)), Policy(share=10.0))


def test_no_two_rounds_of_any_start_tell_of_a_few(view: View) -> None:
    """Sizes and sums of every round, of every start, subtracted from each other."""
    assert sum(a.step == "told" for a, _ in view.sums) >= 4
    found = rows(view)
    assert not resting_on_few(found, K)
    assert leverage(counts(found).weights).max() <= 0.5


@pytest.mark.slow
def test_nobody_is_identified_by_many_rounds(view: View) -> None:
    assert identified(jacobian(view, ("x1", "x2"))).max() <= 0.5


# The rule -----------------------------------------------------------------------------------------------------


def brute(table: np.ndarray) -> float:
    """The fewest people, above 0, on whom a combination of sums by place rests: all values 0 and 1 of all places."""
    before, now = table.shape
    least = np.inf
    for worth in itertools.product([0, 1], repeat=before + now):
        apart = np.array(worth[:before])[:, None] != np.array(worth[before:])[None, :]
        least = min(least, table[apart].sum() or np.inf)
    return float(least)


@pytest.mark.parametrize("seed", range(20))
def test_the_fewest_are_those_of_all_combinations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 40, rng.integers(1, 5, 2))
    table = table * (rng.random(table.shape) < 0.6)
    assert fewest(table) == brute(table)
    quick = fewest(table, 11)
    assert (quick < 11) == (brute(table) < 11)


def design(before: np.ndarray, now: np.ndarray, places: int = 2) -> Design:
    """People who were in a place and are in another."""
    cells = {
        "now": Cells(now, (1, places), rule="moved", bound=places),
        "since": Cells(before * places + now, (1, places**2), rule="moved", bound=places),
    }
    return Design(len(now), np.ones(len(now), dtype=bool), cells=cells, columns=("x",))


def weighed(weights: np.ndarray) -> Design:
    """People in two places of 60, who enter the sums of both with weights."""
    made = design(np.repeat([0, 1], 60), np.repeat([0, 1], 60))
    return replace(made, cells=made.cells | {"now": replace(made.cells["now"], weights=weights)})


def few_of_network(people: int) -> list[Design]:
    """A second place whose weights so many people have, over three hospitals alike; all others next to none."""
    weights = np.full((120, 2), 1e-3)
    weights[:, 0] = 1 - 1e-3
    weights[: people // 3, 1] = 1.0
    return [weighed(weights)] * 3


@pytest.mark.parametrize(("people", "told"), [(9, False), (12, False), (18, True), (60, True)])
def test_a_place_that_a_few_carry_is_not_told(people: int, told: bool) -> None:
    """An effective number of 11 over the network and of 5 in each hospital: 4 people here are too few."""
    grids = judge_clear(few_of_network(people), Policy()).grids
    assert (grids["now"] >= 0).all() == told


def test_over_the_network_too_few_may_be_enough_in_each_hospital() -> None:
    one, none = np.full((120, 2), 1e-6), np.full((120, 2), 1e-6)
    one[:8, 1] = 1.0
    parts = [weighed(one), weighed(none), weighed(none)]
    assert (judge_clear(parts, Policy()).grids["now"] == -1).all()
    assert (judge_clear(parts, Policy(effective=7)).grids["now"] >= 0).all()


def test_under_half_a_person_a_place_has_nobody_in_a_hospital() -> None:
    many, one = np.full((120, 2), 0.5), np.full((120, 2), 1e-9)
    one[0, 1] = 0.4
    assert (judge_clear([weighed(many), weighed(many), weighed(one)], Policy()).grids["now"] >= 0).all()
    one[0, 1] = 0.9
    assert (judge_clear([weighed(many), weighed(many), weighed(one)], Policy()).grids["now"] == -1).all()


@pytest.mark.parametrize(("moved", "told"), [(0, True), (1, False), (K - 1, False), (K, True), (40, True)])
def test_a_round_is_told_where_nobody_or_enough_have_moved(moved: int, told: bool) -> None:
    before = np.repeat([0, 1], 60)
    now = before.copy()
    now[:moved] = 1
    grids = judge_clear([design(before, now)] * 3, Policy(k=3 * K)).grids  # three hospitals alike: 3 people for 1
    assert grids["now"].tolist() == ([[0, 1]] if told else [[-1, -1]])
    assert grids["since"].tolist() == ([[0, 1, 0, 1]] if told else [[-1, -1, -1, -1]])


def test_a_place_of_few_is_not_told() -> None:
    now = np.repeat([0, 1], [110, K - 1])
    assert (judge_clear([design(np.zeros_like(now), now)] * 3, Policy(k=3 * K)).grids["now"] == -1).all()


def test_under_the_stricter_scope_a_hospitals_own_clusters_count_and_its_moves_do_not() -> None:
    before = np.repeat([0, 1], 60)
    now = before.copy()
    now[:12] = 1
    own = Policy(own=True)
    assert support_of(design(before, now), own).here[2] == 0
    now[:-5] = 0
    now[-5:] = 1
    assert support_of(design(before, now), own).here[2] == 1


def test_the_rule_costs_no_numbers_and_says_no_count() -> None:
    """Of moves the verdict says one bit; the budget counts what sums tell."""
    made = design(np.repeat([0, 1], 60), np.repeat([0, 1], 60))
    assert spent_on(made, support_of(made)) == 1


def test_a_study_without_hospitals_enough_is_refused_as_ever() -> None:
    before = np.repeat([0, 1], 60)
    with pytest.raises(Violation):
        judge_clear([design(before, before)] * 2, Policy())
