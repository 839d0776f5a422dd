"""Parts of boosted trees, each beside a slow and obvious twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.learning import followed, kernels, ladders
from confrere.analyses.learning.followed import Followed
from confrere.analyses.learning.growing import Growing
from confrere.analyses.learning.objectives import OBJECTIVES, slopes
from confrere.analyses.learning.scored import auc
from confrere.analyses.learning.splits import Cells, Rules, best
from confrere.analyses.learning.state import mixed, scale_of

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(0, 400), st.integers(1, 4), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_sums_over_bins_are_those_of_their_twin(seed: int, n: int, p: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, width, (n, p)).astype(np.uint8)
    node = rng.integers(0, 7, n).astype(np.int16)
    g, h = rng.integers(-(2**20), 2**20, n), rng.integers(0, 2**20, n)
    slot = np.array([-1, 0, -1, 1, 2, -1, 3])
    found = kernels.histograms(bins, node, kernels.packed(g, h), slot, width)
    slow = np.zeros_like(found)
    kernels._slow_histograms(bins, node, kernels.packed(g, h), slot, slow)
    assert (found == slow).all()
    got_g, got_h = kernels.unpacked(found)
    for place, one in ((0, 1), (1, 3), (2, 4), (3, 6)):
        for j in range(p):
            inside = node == one
            assert (got_g[place, j] == np.bincount(bins[inside, j], g[inside], width)).all()
            assert (got_h[place, j] == np.bincount(bins[inside, j], h[inside], width)).all()


@given(SEEDS, st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_people_go_down_a_tree_as_its_twin_sends_them(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, 5, (n, 3)).astype(np.uint8)
    splits = np.stack([rng.integers(-1, 3, 7), rng.integers(0, 4, 7), rng.integers(0, 2, 7)], axis=1)
    node = rng.integers(0, 7, n).astype(np.int16)
    one, two = node.copy(), node.copy()
    kernels.descend(bins, one, splits, 4)
    kernels._slow_descend(bins, two, splits, 4)
    assert (one == two).all()


@given(SEEDS, st.integers(0, 3000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_sums_after_moving_are_those_of_who_was_moved_before(seed: int, n: int, wide: bool) -> None:
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, 5, (n, 3)).astype(np.uint8)
    splits = np.stack([rng.integers(-1, 3, 7), rng.integers(0, 4, 7), rng.integers(0, 2, 7)], axis=1)
    slot = np.append(rng.permutation(np.append(np.full(11, -1), np.arange(4))), -1)
    node = rng.integers(0, 7, n).astype(np.int16)
    packs = kernels.packed(rng.integers(-(2**20), 2**20, n), rng.integers(0, 2**20, n), wide=wide)
    one, two = node.copy(), node.copy()
    found = kernels.histograms(bins, one, packs, slot, 5, splits)
    kernels.descend(bins, two, splits, 4)
    assert (one == two).all()
    assert (found == kernels.histograms(bins, two, packs, slot, 5)).all()
    three, slow = node.copy(), np.zeros_like(found)
    kernels.SLOW.moved(bins, three, packs, slot, splits, slow)
    assert (three == two).all()
    assert (slow == found).all()


@given(SEEDS, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_places_on_a_ladder_are_counted_edges(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.unique(ladders.single(rng.normal(size=m) * 10.0 ** rng.integers(-6, 6)))
    values = np.concatenate([rng.normal(size=50), edges, -edges, [0.0, -0.0, np.nan, np.inf, -np.inf, 1e300, -1e300]])
    found, slow = kernels.places(values, edges, -1), np.empty(len(values), np.int32)
    kernels._slow_places(values, edges, -1, slow)
    assert (found == slow).all()


@given(SEEDS, st.sampled_from([20, 300, 3000]), st.sampled_from(["normal", "integers", "lognormal", "constant"]))
@settings(max_examples=40, deadline=None)
def test_cuts_leave_nobody_alone_and_part_people_evenly(seed: int, n: int, kind: str) -> None:
    """Two ladders merged as the gate does; of many values the bins are about even, of few values each has its own."""
    rng = np.random.default_rng(seed)
    drawn = {
        "normal": rng.normal(50, 10, n), "integers": rng.integers(0, 6, n).astype(float),
        "lognormal": np.exp(rng.normal(0, 3, n)), "constant": np.full(n, 3.0),
    }  # fmt: skip
    values, ladder, of = drawn[kind], ladders.Ladder(ladders.first()), []
    for step in (1, 2):
        cells = ladders.cells_of(values, ladder, "x", ladders.width(16))
        counts = np.bincount(cells.index, minlength=ladders.width(16)).astype(float)
        grid = _merged(counts, 11, cells.marks)
        people = np.bincount(grid, counts)
        of.append(grid[cells.index])
        if step == 1:
            ladder = ladders.second(grid, people, 16)
    pairs = {(int(a), int(b)) for a, b in zip(*of, strict=True)}
    assert len(pairs) == len({b for _, b in pairs})  # who share a cell of the second ladder share one of the first
    cuts = ladders.cuts(ladder.edges, grid, people, 16)
    inside = np.bincount(ladders.binned([values], [cuts], 16)[:, 0], minlength=len(cuts) + 1)
    assert inside.sum() == n
    assert (inside >= min(n, 11)).all()
    if kind == "normal" and n == 3000:
        assert len(cuts) == 15
        assert inside.max() < 2.2 * n / 16
    if kind == "integers" and n == 3000:
        assert len(cuts) == 5
    if kind == "constant":
        assert not len(cuts)


def _merged(counts: np.ndarray, k: int, marks: tuple[int, ...] = ()) -> np.ndarray:
    from confrere.hospital.gate import Policy, merged

    return merged({"x": counts[None]}, marks, Policy(k=k), aligned=False)["x"][0]


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_best_split_is_the_best_of_all(seed: int) -> None:
    """Every feature, cut and default direction tried by hand."""
    rng = np.random.default_rng(seed)
    m, p, width = 3, 2, 5
    g = np.repeat(rng.normal(size=(m, 1, width)), p, axis=1)
    h = np.repeat(rng.uniform(0.5, 2, (m, 1, width)), p, axis=1)
    for j in range(1, p):  # the same people, in other bins
        order = rng.permutation(width)
        g[:, j], h[:, j] = g[:, j][:, order], h[:, j][:, order]
    cells = Cells(g, h, h)
    rules = Rules(1.0, 0.0, 1.0, 1.0, np.ones(p, dtype=bool), np.zeros(p, dtype=np.int64))
    found = best(cells, rules, np.full(m, -np.inf), np.full(m, np.inf))
    for i in range(m):
        top = -np.inf
        for j in range(p):
            for cut in range(width - 2):
                for default in (0, 1):
                    left = [*range(cut + 1), *([width - 1] if default else [])]
                    gl, hl = g[i, j, left].sum(), h[i, j, left].sum()
                    gr, hr = g[i, j].sum() - gl, h[i, j].sum() - hl
                    if min(hl, hr) >= 1.0:
                        gain = gl**2 / (hl + 1) + gr**2 / (hr + 1) - (gl + gr) ** 2 / (hl + hr + 1)
                        top = max(top, gain)
        if top > 1e-6:
            assert found.feature[i] >= 0
            assert found.gain[i] == pytest.approx(top)
        else:
            assert found.feature[i] == -1


def test_a_tree_by_hand() -> None:
    """Eight people, one feature, squared loss from 0: the first split parts 1, 1, 1, 1 from 5, 5, 9, 9; then these."""
    y = np.array([1.0, 1, 1, 1, 5, 5, 9, 9])
    bins = np.array([0, 0, 1, 1, 2, 2, 3, 3])

    def sums(nodes: list[list[int]]) -> Cells:
        g = np.array([[np.bincount(bins[rows], -y[rows], 5)] for rows in nodes])
        h = np.array([[np.bincount(bins[rows], minlength=5).astype(float)] for rows in nodes])
        return Cells(g, h, h)

    rules = Rules(0.0, 0.0, 1.0, 1.0, np.ones(1, dtype=bool), np.zeros(1, dtype=np.int64))
    tree = Growing(2, 1.0, np.array([[10.0, 20.0, 30.0]]), rules)
    tree.learn(sums([list(range(8))]))
    assert tree.splits.tolist() == [[0, 0, 1, 0]]  # bins 0 and 1 go left
    assert tree.build.tolist() == [1]  # of even children the left is asked
    tree.learn(sums([[0, 1, 2, 3]]))
    made = tree.finished()
    assert made.feature.tolist() == [0, -1, 0, -1, -1, -1, -1]  # the left child has one value: a leaf
    assert made.cut[[0, 2]].tolist() == [20.0, 30.0]
    assert tree.leaves.tolist() == [[1.0, 1.0], [5.0, 5.0], [6.0, 9.0]]
    assert made.cover.tolist() == [8, 4, 4, 0, 0, 2, 2]


def test_monotone_leaves_do_not_cross() -> None:
    """A feature that may only raise the score gives no falling steps, whatever the data say."""
    rng = np.random.default_rng(3)
    bins = rng.integers(0, 16, 2000)
    y = np.sin(bins / 2.5) + bins / 20 + rng.normal(size=2000) / 10
    rules = Rules(1.0, 0.0, 1.0, 1.0, np.ones(1, dtype=bool), np.ones(1, dtype=np.int64))
    tree = Growing(4, 1.0, np.arange(15.0)[None], rules)
    node = np.zeros((2000), dtype=np.int16)
    while not tree.done:
        g = np.array([[np.bincount(bins[node == b], -y[node == b], 17)] for b in tree.build])
        h = np.array([[np.bincount(bins[node == b], minlength=17).astype(float)] for b in tree.build])
        tree.learn(Cells(g, h, h))
        table = np.full((31, 3), -1)
        table[tree.splits[:, 0]] = tree.splits[:, 1:]
        kernels.descend(bins[:, None].astype(np.uint8), node, table, 16)
    values = dict(zip(*tree.leaves.T, strict=True))
    steps = [values[float(node[bins == b][0])] for b in range(16)]
    assert (np.diff(steps) >= 0).all()
    assert steps[-1] > steps[0]


@pytest.mark.parametrize("name", sorted(OBJECTIVES.keys() - {"cox"}))
def test_slopes_are_the_derivatives_of_the_loss(name: str) -> None:
    """By differences; the Poisson Hessian is e^0.7 times itself, as XGBoost damps its steps."""
    from confrere.analyses.learning.objectives import loss

    objective, rng = OBJECTIVES[name], np.random.default_rng(1)
    many = 3 if name == "multiclass" else 1
    score = rng.normal(size=(40, many)) if many > 1 else rng.normal(size=40)
    y = {"binary": rng.integers(0, 2, 40), "multiclass": rng.integers(0, 3, 40), "poisson": rng.poisson(2, 40)}.get(
        name, rng.normal(size=40)
    ) * 1.0
    got, step = slopes(objective, score, y, 1.0), 1e-5
    for k in range(many):
        move = np.zeros_like(score)
        move[..., k] = step
        if many == 1:
            move = np.full_like(score, step)
        up, down, here = (loss(objective, score + d, y) for d in (move, -move, 0))
        factor = 2.0 if name == "squared" else 1.0  # XGBoost's is half the square
        g, h = (x[:, k] if many > 1 else x for x in got)
        assert g == pytest.approx((up - down) / (2 * step) / factor, abs=1e-6)
        curvature = (up + down - 2 * here) / step**2 / factor
        damped = {"poisson": np.exp(0.7), "multiclass": 2.0}.get(name, 1.0)
        assert h == pytest.approx(np.minimum(curvature * damped, objective.h), rel=1e-3, abs=1e-4)


def _partial(score: np.ndarray, event: np.ndarray, cell: np.ndarray, exact: bool) -> float:
    """Minus the log partial likelihood: who leaves in a cell later is at risk in it, who leaves in it in half of it."""
    own, total = 1.0 if exact else 0.5, 0.0
    for i in np.flatnonzero(event):
        at_risk = (cell > cell[i]) + own * (cell == cell[i])
        total -= score[i] - np.log(at_risk @ np.exp(score))
    return total


@pytest.mark.parametrize("exact", [False, True])
def test_slopes_of_times_are_the_derivatives_of_the_partial_likelihood(exact: bool) -> None:
    """By differences, from the parts of sums that hospitals send; and the loss of who is held out is minus its
    logarithm. r of 2^-32 and scores beyond the limits make no difference that counts."""
    rng, cells = np.random.default_rng(2), 5
    n = 60
    score, event, cell = rng.normal(size=n), (rng.random(n) < 0.6) * 1.0, rng.integers(0, cells, n)
    bins, words, train = np.zeros((n, 1), np.uint8), np.zeros(n, np.uint64), np.ones(n, dtype=bool)
    scale = scale_of(OBJECTIVES["cox"], n, 1.0, (0.0,))
    state = Followed(OBJECTIVES["cox"], scale, 1, bins, event, words, train, ~train, cell=cell, late=cell)
    state.begin(0, np.zeros((1, 2)), 1.0, 1)
    state.score[:, 0] = score
    own, others = state.risks(cells)
    events = followed.counted(cell, event, cells)
    state.take(followed.hazards(own, events, exact))
    g, h = (s * 2.0**-p for s, p in zip(kernels.unpacked(state.packs, wide=scale.bits > 32), scale[1:3], strict=True))
    for i in range(n):
        step = np.zeros(n)
        step[i] = 1e-4
        up, here, down = (_partial(score + d, event, cell, exact) for d in (step, 0 * step, -step))
        assert g[i] == pytest.approx((up - down) / 2e-4, abs=1e-5)
        assert h[i] == pytest.approx((up + down - 2 * here) / 1e-8, abs=1e-4)
    assert not others.any()
    state.train = ~train
    held = state.risks(cells)[1]
    lost = followed.lost(held, events, state.linear, exact) * 2.0**-20
    assert lost == pytest.approx(_partial(score, event, cell, exact), abs=1e-4)


def test_sums_of_whole_numbers_never_leave_the_ring() -> None:
    """The scale is the finest at which everybody's largest gradient fits."""
    for objective in OBJECTIVES.values():
        for n in (12, 1000, 10**6, 10**8, 10**9):
            scale = scale_of(objective, n, 1.0, (0.0,))
            for bound, power in ((objective.g, scale.g), (objective.h, scale.h)):
                assert n * bound * 2.0**power < min(2.0 ** (scale.bits - 1), 2.0**52)
            assert scale.bits == 64 or min(scale.g, scale.h) >= 10


def test_draws_are_even_and_differ_from_tree_to_tree() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64)
    one, two = mixed(words, 1, 0), mixed(words, 1, 1)
    assert abs(one.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
    assert (mixed(words, 1, 0) == one).all()
    assert not (mixed(words, 2, 0) == one).any()


def test_the_area_under_the_curve_by_hand() -> None:
    """Pairs in one cell count half: (2 x 3 + 1 x 1/2 ...) of all; DeLong's error equals that of people one by one."""
    without, having = np.array([3.0, 2, 1, 0]), np.array([0.0, 1, 2, 3])
    area, se = auc(without, having)
    a, b = np.repeat(np.arange(4), without.astype(int)), np.repeat(np.arange(4), having.astype(int))
    wins = (b[:, None] > a[None]) + 0.5 * (b[:, None] == a[None])
    assert area == pytest.approx(wins.mean())
    expected = wins.mean(axis=1).var(ddof=1) / 6 + wins.mean(axis=0).var(ddof=1) / 6
    assert se**2 == pytest.approx(expected)
