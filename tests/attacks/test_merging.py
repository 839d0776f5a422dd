"""Merged grids: however counts fall, no cell and no difference of cells of the returned grids rests on 1 to k-1 people.

The attacker has every released count of every table and group, and adds and
subtracts them as it likes. Grids are of each group of each kind by itself, or `aligned`: one for all of them.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.cases import registered
from attacks.detectors import resting_on_few, rows
from attacks.people import GROUND, dealt, patients
from attacks.view import record
from confrere.hospital.gate import Policy, Violation, merged
from confrere.rounds import find

K = 5
POLICY = Policy(k=K)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Counts of two or three kinds: (groups, cells), many of them small or nobody."""
    groups, cells = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    count = st.one_of(st.just(0), st.integers(0, 2 * K))
    row = st.lists(count, min_size=cells, max_size=cells)
    one = st.lists(row, min_size=groups, max_size=groups).map(lambda v: np.array(v, dtype=float))
    return {name: draw(one) for name in ("dead", "alive", "entered")[: draw(st.integers(1, 3))]}


def judged(counts: dict[str, np.ndarray], marks: list[int], aligned: bool) -> dict[str, np.ndarray]:
    """The grids, or none where the gate refuses."""
    try:
        return {name: np.asarray(grid) for name, grid in merged(counts, marks, POLICY, aligned=aligned).items()}
    except Violation:
        return {}


def cuts(grid: np.ndarray) -> set[int]:
    """Where a new cell begins."""
    return {int(i) + 1 for i in np.flatnonzero(np.diff(grid))}


any_case = given(tables(), st.lists(st.integers(0, 12), max_size=4), st.booleans())
often = settings(max_examples=100, deadline=None)


@often
@any_case
def test_every_cell_and_every_union_of_cells_has_nobody_or_k(
    counts: dict[str, np.ndarray], marks: list[int], aligned: bool
):
    """Cumulated counts subtracted: all that sums and differences of released cells of one table and group can be."""
    for name, grids in judged(counts, marks, aligned).items():
        for row, grid in zip(counts[name], grids, strict=True):
            if (grid < 0).any():
                assert (grid < 0).all()
                continue
            edges = sorted(cuts(grid) | {0, row.size})
            between = [row[low:high].sum() for i, low in enumerate(edges) for high in edges[i + 1 :]]
            assert not [n for n in between if 0 < n < K]


@often
@any_case
def test_cells_are_runs_of_the_ladder(counts: dict[str, np.ndarray], marks: list[int], aligned: bool):
    """A merged cell is made of neighbours, numbered from 0 without a gap: a count belongs to a stretch of time."""
    for grids in judged(counts, marks, aligned).values():
        for grid in grids[(grids >= 0).all(axis=1)]:
            assert grid[0] == 0
            assert set(np.diff(grid)) <= {0, 1}


@often
@any_case
def test_a_group_is_shown_in_all_tables_or_in_none(counts: dict[str, np.ndarray], marks: list[int], aligned: bool):
    """A group that one kind hides is hidden in all kinds: else its number would follow from the others."""
    hidden = [np.asarray(grid < 0) for grid in judged(counts, marks, aligned).values()]
    for h in hidden:
        np.testing.assert_array_equal(h, hidden[0])
        assert all(row.all() or not row.any() for row in h)


@often
@any_case
def test_aligned_means_one_grid(counts: dict[str, np.ndarray], marks: list[int], aligned: bool):
    """The grid of one group of one kind is that of all."""
    shown = [g for grids in judged(counts, marks, True).values() for g in grids if (g >= 0).all()]
    assert all((g == shown[0]).all() for g in shown)


@often
@given(st.integers(1, 11), st.lists(st.integers(K, 2 * K), min_size=12, max_size=12), st.booleans())
def test_every_edge_is_kept_where_every_cell_has_k(mark: int, row: list[int], aligned: bool):
    """Every cell could stand by itself, and does."""
    grids = merged({"dead": np.array([row], dtype=float)}, [mark], POLICY, aligned=aligned)
    assert cuts(np.asarray(grids["dead"][0])) == set(range(1, 12))


@often
@given(tables(), st.integers(1, 11))
def test_a_mark_between_k_and_k_is_kept(counts: dict[str, np.ndarray], mark: int):
    """A reporting time is a boundary if at least k people lie on either side of it."""
    row = next(iter(counts.values()))[:1]
    if mark >= row.shape[1] or row[0, :mark].sum() < K or row[0, mark:].sum() < K:
        return
    assert mark in cuts(np.asarray(merged({"dead": row}, [mark], POLICY, aligned=False)["dead"][0]))


def test_people_at_risk_between_two_grids():
    """Events and censorings have grids of their own: at-risk counts between their edges are unions of cells."""
    registered()
    km = find("kaplan_meier")("Surv(time, event) ~ arm", times=(365.0, 1095.0), ground=GROUND)
    found = rows(record(km.flow(), dealt(patients(300))))
    exits = np.array([w for w, label in zip(found.weights, found.labels, strict=True) if "exits" in label])
    assert not resting_on_few(found, 11)
    sums = np.array([exits[i : j + 1].sum(axis=0) for i in range(len(exits)) for j in range(i, len(exits))])
    people = np.array([(a != b).sum() for i, a in enumerate(sums) for b in sums[i + 1 :]])
    assert not ((people > 0) & (people < 11)).any()
