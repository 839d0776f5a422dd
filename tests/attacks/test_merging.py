"""Merged grids: however counts fall, no cell and no difference of cells of the returned grids rests on 1 to k-1 people.

The attacker has every released count of every table and group, on its own grid and on the common one, and adds and
subtracts them as it likes.
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


def judged(counts: dict[str, np.ndarray], marks: list[int]) -> dict[str, np.ndarray]:
    """The grids, or none where the gate refuses."""
    try:
        return {name: np.asarray(grid) for name, grid in merged(counts, marks, POLICY).items()}
    except Violation:
        return {}


def over(grid: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Counts of one group by merged cell."""
    return np.bincount(grid[grid >= 0], counts[grid >= 0], minlength=int(grid.max(initial=-1)) + 1)


marks_of = st.lists(st.integers(0, 12), max_size=4)


@settings(max_examples=150, deadline=None)
@given(tables(), marks_of)
def test_every_cell_has_nobody_or_k(counts: dict[str, np.ndarray], marks: list[int]):
    """On its own grid and on the common one."""
    grids = judged(counts, marks)
    for name, table in counts.items():
        for grid in (grids.get(name), grids.get("common")):
            for row, cells in zip(table, [] if grid is None else grid, strict=False):
                got = over(cells, row)
                assert not ((got > 0) & (got < K)).any()


@settings(max_examples=150, deadline=None)
@given(tables(), marks_of)
def test_any_two_released_cells_differ_by_nobody_or_k(counts: dict[str, np.ndarray], marks: list[int]):
    """Released cells of one table and group, on both grids: as sets they are nested or apart, and so are their unions."""
    grids = judged(counts, marks)
    for name, table in counts.items():
        for g, row in enumerate(table if grids else []):
            own, common = grids[name][g], grids["common"][g]
            cuts = [_cuts(own), _cuts(common)]
            assert cuts[1] <= cuts[0]
            edges = sorted(cuts[0] | {0, row.size}) if (own >= 0).any() else []
            between = [row[low:high].sum() for i, low in enumerate(edges) for high in edges[i + 1 :]]
            assert not [n for n in between if 0 < n < K]


def _cuts(grid: np.ndarray) -> set[int]:
    return {int(i) + 1 for i in np.flatnonzero(np.diff(grid))}


@settings(max_examples=150, deadline=None)
@given(tables(), marks_of)
def test_a_group_is_shown_in_all_tables_or_in_none(counts: dict[str, np.ndarray], marks: list[int]):
    """A group that one kind hides is hidden in all kinds: otherwise the common grid would count it."""
    grids = judged(counts, marks)
    hidden = [np.asarray(grid < 0) for grid in grids.values()]
    for h in hidden:
        np.testing.assert_array_equal(h, hidden[0])
        assert all(row.all() or not row.any() for row in h)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 11), st.lists(st.integers(K, 2 * K), min_size=12, max_size=12))
def test_a_mark_is_an_edge_where_both_sides_allow_it(mark: int, row: list[int]):
    """Every cell could stand by itself: the reporting time is then a boundary, and so is every other cell's edge."""
    grids = merged({"dead": np.array([row], dtype=float)}, [mark], POLICY)
    assert mark in _cuts(np.asarray(grids["dead"][0]))
    assert mark in _cuts(np.asarray(grids["common"][0]))


@settings(max_examples=150, deadline=None)
@given(tables(), st.integers(1, 11))
def test_a_mark_between_k_and_k_is_kept(counts: dict[str, np.ndarray], mark: int):
    """One table, one group: a single mark with at least k people on either side is always an edge."""
    row = next(iter(counts.values()))[:1]
    if mark >= row.shape[1] or row[0, :mark].sum() < K or row[0, mark:].sum() < K:
        return
    assert mark in _cuts(np.asarray(merged({"dead": row}, [mark], POLICY)["dead"][0]))


def test_people_at_risk_between_two_grids():
    """Events and censorings have grids of their own: at-risk counts between their edges are unions of released cells."""
    registered()
    km = find("kaplan_meier")("Surv(time, event) ~ arm", times=(365.0, 1095.0), ground=GROUND)
    found = rows(record(km.flow(), dealt(patients(300))))
    exits = np.array([w for w, label in zip(found.weights, found.labels, strict=True) if "exits" in label])
    assert not resting_on_few(found, 11)
    sums = np.array([exits[i : j + 1].sum(axis=0) for i in range(len(exits)) for j in range(i, len(exits))])
    people = np.array([(a != b).sum() for i, a in enumerate(sums) for b in sums[i + 1 :]])
    assert not ((people > 0) & (people < 11)).any()
