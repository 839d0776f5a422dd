"""Boosted trees over hospitals: a slow twin that has all rows, any deal, what is refused, and on whom leaves rest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import confrere as cf
from confrere.analyses.concordance import pairs
from confrere.analyses.ladder import cell_of
from confrere.analyses.learning import boosting as boosted
from confrere.analyses.learning import followed, kernels, ladders, objectives, splits
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.grown import agreed as agreed_on
from confrere.analyses.learning.grown import rules_of, scale_for
from confrere.analyses.learning.ladders import ABOVE
from confrere.analyses.learning.objectives import OBJECTIVES
from confrere.analyses.learning.splits import Cells, Rules
from confrere.analyses.learning.state import State, known, mixed, scale_of
from confrere.errors import ModelError, Refused, StudyError, UserError
from confrere.hospital.gate import Policy, Violation
from confrere.rounds import People, drive, supported
from confrere.study.ground import Ground
from confrere.testing import SCHEMA
from federate import LOOSE, dealt, fit, in_the_clear
from laws.cases import gaps

GROUND = Ground(SCHEMA, person="pid")
HISTOGRAMS = Policy(allow=frozenset(["histograms"]))
KINDS: dict[str, dict[str, Any]] = {
    "binary": {"outcome": "ill", "features": ("x1", "x2", "stage", "gap")},
    "squared": {"outcome": "y", "features": ("x1", "x2", "gap")},
    "multiclass": {"outcome": "fate", "features": ("x1", "time")},
    "poisson": {"outcome": "visits", "features": ("x1", "arm", "time")},
    "cox": {"outcome": "Surv(time, event)", "features": ("x1", "arm", "gap")},
}


def study(objective: str, **more: Any) -> Boosting:
    """A few trees of an objective, everybody trained on."""
    given: dict[str, Any] = {"trees": 4, "depth": 3, "holdout": 0.0, "ground": GROUND}
    return Boosting(objective=objective, **(KINDS[objective] | given | more))


# The slow twin: all rows at one place, a person at a time, no hospital, no sums, no kernels -----------------------


def twin(
    boosting: Boosting, frame: pd.DataFrame, cuts: Any, times: Any
) -> list[dict[int, tuple[int, float, int, float]]]:
    """Trees as dictionaries from node to (feature, cut, default, value), grown with the cut points that were agreed.

    `times` are the ladder of times and the cells that its own are merged to. A node's best split is looked for over all
    people in it, for each cut by comparing values with it.
    """
    rows = np.ones(len(frame), dtype=bool)
    values = np.stack(boosting.values(frame), axis=1).astype(np.float32)
    y = _events(boosting, frame, times) if boosting.timed else boosting._outcome(frame)
    scale = scale_for(boosting, len(y), _moments(boosting, y))
    step = boosting.learning_rate * (scale.unit if boosting.objective == "squared" else 1.0)
    score = np.tile(np.array(scale.base), (len(y), 1))
    grown = []
    for t in range(boosting.trees * boosting.classes):
        k = t % boosting.classes
        if k == 0:
            slopes = _slopes(boosting, score, y, scale.unit)
        g = np.round(slopes[0][:, k] * 2.0**scale.g) / 2.0**scale.g
        h = np.round(slopes[1][:, k] * 2.0**scale.h) / 2.0**scale.h
        tree: dict[int, tuple[int, float, int, float]] = {}
        under = 0, tree, cuts, rules_of(boosting, 0, scale, rows[:0])
        _grow(boosting, values, (g, h), np.arange(len(y)), under)
        for node, (feature, _, _, value) in tree.items():
            tree[node] = (*tree[node][:3], float(np.float32(step * value)) if feature < 0 else 0.0)
        score[:, k] += [_value(tree, row) for row in values]
        grown.append(tree)
    return grown


def _events(boosting: Boosting, frame: pd.DataFrame, times: Any) -> np.ndarray:
    """(n, 2) whether with the event, and the cell of time."""
    time, event = followed.exits(boosting.outcome, boosting.ground, frame)
    return np.stack([event, times[1][cell_of(time, times[0])]], axis=1)


def _moments(boosting: Boosting, y: np.ndarray) -> np.ndarray:
    if boosting.objective == "multiclass":
        return np.bincount(y.astype(int)).astype(float)
    return np.array([y.sum(), (y**2).sum()])


def _slopes(boosting: Boosting, score: np.ndarray, y: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    if boosting.objective == "binary":
        p = 1 / (1 + np.exp(-score))
        return p - y[:, None], p * (1 - p)
    if boosting.timed:
        (event, cell), risk = y.T, np.exp(score[:, 0])
        at_risk = np.array([risk[cell >= c].sum() - risk[cell == c].sum() / 2 for c in cell])
        once, twice = (
            np.array([((event / at_risk**p) * ((cell < c) + own * (cell == c))).sum() for c in cell])
            for p, own in ((1, 0.5), (2, 0.25))
        )
        return (risk * once - event)[:, None], (risk * once - risk**2 * twice)[:, None]
    if boosting.objective == "squared":
        return np.clip((score - y[:, None]) / unit, -16, 16), np.ones_like(score)
    if boosting.objective == "poisson":
        mean = np.exp(score) / unit
        return np.clip(mean - y[:, None] / unit, -16, 16), np.minimum(mean * np.exp(0.7), 16)
    p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    return p - (y[:, None] == np.arange(score.shape[1])), 2 * p * (1 - p)


def _grow(boosting: Boosting, values: np.ndarray, slopes: Any, who: np.ndarray, under: Any) -> None:
    """One node and what is below it. `under` is (node, the tree so far, cuts, rules)."""
    node, tree, cuts, rules = under
    g, h = (s[who] for s in slopes)
    depth = int(np.log2(node + 1))
    found: tuple[float, int, float, int] = (1e-6, -1, 0.0, 0)
    for default in (0, 1) if depth < boosting.depth else ():
        for j, edges in enumerate(cuts):
            x = values[who, j]
            for cut in edges:
                left = np.where(np.isnan(x), bool(default), x < np.float32(cut))
                sides = [(g[s].sum(), h[s].sum()) for s in (left, ~left)]
                if not (left.any() and (~left).any()) or min(s[1] for s in sides) < rules.hessian:
                    continue
                worth = [gs**2 / (hs + rules.penalty) for gs, hs in (*sides, (g.sum(), h.sum()))]
                if worth[0] + worth[1] - worth[2] > found[0] * (1 + 1e-9):
                    found = worth[0] + worth[1] - worth[2], j, cut, default
    _, feature, cut, default = found
    tree[node] = (feature, cut, default, -g.sum() / (h.sum() + rules.penalty))
    if feature >= 0:
        x = values[who, feature]
        left = np.where(np.isnan(x), bool(default), x < np.float32(cut))
        _grow(boosting, values, slopes, who[left], (2 * node + 1, tree, cuts, rules))
        _grow(boosting, values, slopes, who[~left], (2 * node + 2, tree, cuts, rules))


def _value(tree: dict[int, tuple[int, float, int, float]], row: np.ndarray) -> float:
    node = 0
    while (at := tree[node])[0] >= 0:
        x = row[at[0]]
        node = 2 * node + (1 if (at[2] if np.isnan(x) else x < np.float32(at[1])) else 2)
    return at[3]


@pytest.mark.parametrize("objective", KINDS)
def test_the_trees_are_those_of_the_slow_twin(objective: str) -> None:
    """Held to the last split where gains do not tie: the same features, cuts, defaults and leaf values."""
    frame, boosting = gaps(400, 3), study(objective, trees=3)
    frames = dealt(frame, np.arange(400) % 3, 3)
    forest = Forest.of(fit(boosting, frames, LOOSE))
    verdict, agreed, times, _ = drive(supported(agreed_on(boosting)), in_the_clear(frames, LOOSE))
    cuts = [np.append(edges, ABOVE) for edges in agreed]  # and one above all, that parts who misses the value
    on = (times, verdict.grids["times"][0]) if boosting.timed else None
    for tree, slow in zip(forest.trees, twin(boosting, frame, cuts, on), strict=True):
        nodes = [int(n) for n in np.flatnonzero(tree.cover > 0)]
        assert sorted(slow) == nodes
        for n in nodes:
            feature, cut, default, value = slow[n]
            assert tree.feature[n] == feature
            if feature >= 0:
                assert np.float32(tree.cut[n]) == np.float32(cut)
                assert tree.default[n] == default
            else:
                assert tree.value[n] == pytest.approx(value, rel=1e-6)


# Any deal -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(KINDS)))
@settings(max_examples=12, deadline=None)
def test_any_deal_gives_the_same_model(seed: int, objective: str) -> None:
    """Also with values missing, levels, an empty hospital, held-out people and samples drawn by a common key."""
    frame, rng = gaps(300, 1), np.random.default_rng(seed)
    boosting = study(objective, trees=2, holdout=0.2, rows=0.7, columns=0.7, patience=2)
    whole = fit(boosting, [frame], replace(LOOSE, hospitals=1)).facts["model_sha256"]
    deal = rng.choice(4, 300, p=rng.permutation([0.6, 0.3, 0.1, 0.0]))
    shuffled = [f.sample(frac=1, random_state=seed % 1000) for f in dealt(frame, deal, 4)]
    assert fit(boosting, shuffled, LOOSE).facts["model_sha256"] == whole


def test_a_seed_draws_other_people_and_a_model_is_its_bytes() -> None:
    frames = dealt(gaps(900, 1), np.arange(900) % 3, 3)
    one, two = (fit(study("binary", rows=0.5, seed=s), frames, HISTOGRAMS) for s in (1, 2))
    assert one.facts["model_sha256"] != two.facts["model_sha256"]
    forest = Forest.of(one)
    again = Forest.from_plain(json.loads(json.dumps(forest.plain())))
    assert again.sha256 == forest.sha256 == one.facts["model_sha256"]


@pytest.mark.parametrize(
    ("objective", "more", "kept"),
    [("binary", {}, True), ("binary", {"holdout": 0.3, "rows": 0.7}, True), ("squared", {"trees": 1}, True),
     ("poisson", {"holdout": 0.3, "patience": 50}, True), ("multiclass", {}, False),
     ("squared", {"holdout": 0.3, "patience": 1, "trees": 60}, False)],
)  # fmt: skip
def test_scores_kept_since_trees_grew_are_those_of_the_model(
    objective: str, more: dict[str, Any], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, also of the few whose missing values went with the others'; else all go down the trees again."""
    frame = gaps(1500, 5)
    frame.loc[[7, 500, 900], "x1"] = np.nan  # too few for a bin of their own
    seen: list[tuple[int, int]] = []

    def watched(forest: Forest, values: Any, states: Any) -> np.ndarray:
        alone, again = Forest.score, 0

        def counted(self: Forest, columns: Any) -> np.ndarray:
            nonlocal again
            again += len(columns[0]) * len(self.trees)
            return alone(self, columns)

        with pytest.MonkeyPatch.context() as within:
            within.setattr(Forest, "score", counted)
            scores = known(forest, values, list(states))
        seen.append((again, len(values[0]) * len(forest.trees)))
        assert (scores == forest.score(values)).all()
        return scores

    monkeypatch.setattr(boosted, "known", watched)
    fit(study(objective, **({"trees": 6} | more)), dealt(frame, np.arange(1500) % 3, 3), HISTOGRAMS)
    assert len(seen) >= 3
    assert all((again < whole) == (kept and whole > 500) for again, whole in seen)


def test_scores_kept_of_other_trees_are_not_taken() -> None:
    """Another group of hospitals may have grown others of the same settings from people of the same hospital."""
    frame, cases = gaps(900, 6), study("binary", features=("x1", "x2"))
    own, other = (Forest.of(fit(cases, dealt(f, np.arange(len(f)) % 3, 3), LOOSE)) for f in (frame, frame[:850]))
    values = [frame[name].to_numpy() for name in cases.features]
    nobody = np.zeros(900, dtype=bool)
    about = OBJECTIVES["binary"], scale_of(OBJECTIVES["binary"], 900, 1.0, own.base), 64
    for leaves, taken in ((own, True), (other, False)):
        state = State(
            *about, np.zeros((900, 2), np.uint8), frame["ill"].to_numpy(), np.zeros(900, np.uint64), ~nobody, nobody
        )
        state.leaves, state.score[:] = [tree.leaves for tree in leaves.trees], 7.0
        assert (known(own, values, [None, state]) == (7.0 if taken else own.score(values))).all()


# What the gate says -----------------------------------------------------------------------------------------------


def test_it_needs_the_word_histograms() -> None:
    hospitals = cf.local({f"h{i}": f for i, f in enumerate(dealt(gaps(900, 1), np.arange(900) % 3, 3))})
    with pytest.raises(Refused, match="histograms"):
        hospitals.run(Boosting("ill", ("x1", "x2"), trees=2))


@pytest.mark.parametrize("objective", KINDS)
def test_bins_of_the_root_and_leaves_rest_on_k_people(objective: str) -> None:
    """Whoever is told apart by a leaf is one of eleven at least, of those who were drawn for its tree."""
    frame, boosting = gaps(900, 1), study(objective, hessian=0.0, rows=0.8, depth=5)
    found = fit(boosting, dealt(frame, np.arange(900) % 3, 3), HISTOGRAMS)
    forest, ids = Forest.of(found), frame["pid"].to_numpy()
    x = np.stack(boosting.values(frame), axis=1).astype(np.float32)
    words = People(None).words("boosting", ids, shared=True)
    assert max(int((t.feature < 0).sum()) for t in forest.trees) > 1
    for i, tree in enumerate(forest.trees):
        drawn = mixed(words, boosting.seed, i // boosting.classes) < boosting.rows
        rooted, leaves = [], np.zeros(900, dtype=int)
        for r, row in enumerate(x):
            node, first = 0, True
            while tree.feature[node] >= 0:
                known = row[tree.feature[node]]
                left = tree.default[node] if np.isnan(known) else known < np.float32(tree.cut[node])
                node = 2 * node + (1 if left else 2)
                if first:
                    rooted.append(node)
                    first = False
            leaves[r] = node
        assert min(np.bincount(leaves[drawn])[np.unique(leaves[drawn])]) >= 11
        assert min(np.bincount(rooted)[1:], default=11) >= 11


@pytest.mark.parametrize(("bins", "depth", "few"), [(255, 5, True), (16, 1, False)])
def test_what_the_word_means(bins: int, depth: int, few: bool) -> None:
    """The cells of one tree on 1,000 people, as the coordinator has their counts: with 255 bins and five levels half of
    the people or more are as good as alone; a tree of one level shows nobody."""
    frame = gaps(1000, 2)
    boosting = study("binary", features=("x1", "x2", "time", "y"), trees=1, bins=bins, depth=depth)
    frames = dealt(frame, np.arange(1000) % 3, 3)
    tree = Forest.of(fit(boosting, frames, HISTOGRAMS)).trees[0]
    _, cuts, *_ = drive(supported(agreed_on(boosting)), in_the_clear(frames, HISTOGRAMS))
    binned = ladders.binned(boosting.values(frame), cuts, bins)
    node, cells = np.zeros(1000, dtype=np.int64), []
    for level in range(depth):
        at = node[tree.feature[node] >= 0] if level else node
        for n in np.unique(at):
            for column in binned.T:
                cells += [(node == n) & (column == b) for b in np.unique(column[node == n])]
        x = np.stack(boosting.values(frame), axis=1).astype(np.float32)
        for i in np.flatnonzero(tree.feature[node] >= 0):
            f, known = tree.feature[node[i]], x[i, tree.feature[node[i]]]
            left = tree.default[node[i]] if np.isnan(known) else known < np.float32(tree.cut[node[i]])
            assert f >= 0
            node[i] = 2 * node[i] + (1 if left else 2)
    together = np.array(cells, dtype=float).T @ np.array(cells, dtype=float)
    value, vector = np.linalg.eigh(together)  # the leverage of each person: of how much of them sums of cells tell
    alone = np.square(vector[:, value > 1e-8 * value.max()]).sum(axis=1) > 0.5
    assert alone.mean() >= 0.5 if few else not alone.any(), f"{alone.mean():.1%} of the people are as good as alone"


def test_few_held_out_people_are_refused_before_a_sum_of_them_leaves() -> None:
    frames = dealt(gaps(120, 1), np.arange(120) % 3, 3)
    with pytest.raises(Violation, match="fewer than 11 people are on one side of 'held out'"):
        fit(study("squared", holdout=0.02, patience=1), frames, HISTOGRAMS)


# Settings -----------------------------------------------------------------------------------------------------------


def test_who_has_no_value_of_the_strata_takes_no_part() -> None:
    frame = gaps(900, 9).assign(pid=[f"p{i}" for i in range(900)])
    frame.loc[frame.index[::18], "stage"] = None
    within = study("cox", features=("x1", "x2"), within="stage", holdout=0.4)
    found = fit(within, dealt(frame, np.arange(900) % 3, 3), HISTOGRAMS)
    known = int(frame[["stage", "time", "event"]].notna().all(axis=1).sum())
    assert found.n == known < 850
    assert sum(r["n_members"] + r["n_others"] for r in found.tables["attack"]) == known
    assert "missing stage" in [r["reason"] for r in found.tables["attrition"]]


@pytest.mark.parametrize("objective", ["binary", "cox"])
def test_people_held_out_in_two_hospitals_are_measured_on_by_nobody(objective: str) -> None:
    """What is told of them would be one hospital's, to the other and the coordinator."""
    frame = gaps(1200, 8).assign(pid=[f"p{i}" for i in range(1200)])
    sizes, told, share = np.repeat([0, 1, 2], [14, 1172, 14]), [], 0.08
    for seed in range(6):
        asked, frames = study(objective, holdout=share, seed=seed), dealt(frame, sizes, 3)
        out = [mixed(People(None).words("boosting", f["pid"], shared=True), seed, -1) < share for f in frames]
        told.append(all(o.any() for o in out))
        if told[-1]:
            found = fit(asked, frames, HISTOGRAMS)
            assert {r["sample"] for r in found.tables["metrics"]} == {"training", "held out"}
        else:
            with pytest.raises(Violation, match=r"'held out' has people in . hospitals? only.*Ask about more people"):
                fit(asked, frames, HISTOGRAMS)
    assert set(told) == {True, False}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objective": "rank"}, "it must be one of"),
        ({"features": ()}, "features must list different columns"),
        ({"features": "x1"}, "a list of columns"),
        ({"depth": 11}, "it must be from 1 to 10"),
        ({"monotone": {"x9": 1}}, "name a feature"),
        ({"holdout": 0.9}, "from 0 to 0.5"),
        ({"patience": 3, "holdout": 0.0}, "set holdout"),
        ({"within": "x2"}, "by levels: declare"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError, match=words):
        Boosting(**({"outcome": "ill", "features": ("x1",), "ground": GROUND} | given)).check()


def test_what_draws_people_needs_their_names() -> None:
    with pytest.raises(StudyError, match="person"):
        Boosting("ill", ("x1",), rows=0.5, ground=Ground(SCHEMA)).check()
    with pytest.raises(StudyError, match="multiclass"):
        Boosting("fate", ("x1",), ground=Ground(SCHEMA)).check()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"outcome": "ill"}, "needs Surv"),
        ({"outcome": "Surv(time, fate)"}, "event of 0 and 1"),
        ({"outcome": "Surv(entry, time, event)"}, "no late entry"),
        ({"features": ("time",)}, "is among the features"),
    ],
)
def test_times_have_their_own_rules(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        study("cox", **given).check()
    with pytest.raises(UserError, match="take objective = 'cox'"):
        study("binary", outcome="Surv(time, event)").check()


def test_concordance_is_that_of_pairs_within_hospitals() -> None:
    """And the trees are those of the same people in other hospitals."""
    frame = gaps(900, 5)
    boosting, models = study("cox", trees=8, learning_rate=0.3, holdout=0.4), set()
    for parts in (1, 3):
        frames = dealt(frame, np.arange(900) % parts, parts)
        found = fit(boosting, frames, replace(HISTOGRAMS, hospitals=1))
        models.add(found.facts["model_sha256"])
        forest, counts = Forest.of(found), np.zeros((2, 3))
        for own in frames:
            words = People(None).words("boosting", own["pid"].to_numpy(), shared=True)
            train, score = mixed(words, boosting.seed, -1) >= 0.4, forest.score(boosting.values(own))
            for s, who in enumerate((~train, train)):
                mine = own[who]
                got = pairs(mine["time"].to_numpy(), mine["event"].to_numpy() > 0, score[who], np.ones(who.sum()))
                counts[s] += [p.sum() for p in got]
        expected = (counts[:, 0] + counts[:, 2] / 2) / counts.sum(axis=1)
        rows = [r for r in found.tables["metrics"] if r["metric"] == "concordance"]
        assert [r["sample"] for r in rows] == ["held out", "training"]
        assert [r["estimate"] for r in rows] == pytest.approx(expected)
    assert len(models) == 1


def test_an_outcome_that_does_not_vary_says_so() -> None:
    frames = dealt(gaps(300, 1).assign(y=5.0), np.arange(300) % 3, 3)
    with pytest.raises(ModelError, match="does not vary"):
        fit(study("squared"), frames, LOOSE)


def test_a_model_learns() -> None:
    """People who are held out are told apart, a wave is followed, and only features that matter are used most."""
    rng = np.random.default_rng(2)
    n = 4000
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "pid": np.arange(n)})
    frame["y"] = np.sin(3 * frame["a"]) + 0.1 * rng.normal(size=n)
    boosting = Boosting("y", ("a", "b"), "squared", trees=60, depth=4, learning_rate=0.3, ground=Ground(person="pid"))
    found = fit(boosting, dealt(frame, np.arange(n) % 3, 3), HISTOGRAMS)
    metrics = {(r["metric"], r["sample"]): r["estimate"] for r in found.tables["metrics"]}
    assert metrics["R2", "held out"] > 0.95
    assert found.tables["importance"][0]["feature"] == "a"
    assert found.tables["importance"][0]["share"] > 0.9


# Loops beside their twins --------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_compiled_splits_are_those_of_numpy_to_the_bit(seed: int) -> None:
    """Hospitals with and without numba must grow the same tree."""
    rng = np.random.default_rng(seed)
    m, p, width = 4, 3, 7
    people = rng.integers(0, 30, (m, 1, width)).repeat(p, axis=1)
    g = (rng.integers(-(2**12), 2**12, (m, 1, width)).repeat(p, axis=1) * (people > 0)) / 2.0**10
    for j in range(1, p):
        order = rng.permutation(width)
        people[:, j], g[:, j] = people[:, j][:, order], g[:, j][:, order]
    if rng.random() < 0.5:
        people[..., -1], g[..., -1] = 0, 0
    cells = Cells(g, people * 0.25, people * 1.0)
    rules = Rules(rng.choice([0.0, 1.0]), 0.0, 1.0, 5.0, rng.random(p) < 0.8, rng.integers(-1, 2, p))
    low, high = rng.choice([-np.inf, -0.5], m), rng.choice([np.inf, 0.5], m)
    fast, slow = splits.best(cells, rules, low, high), splits.slow_best(cells, rules, low, high)
    assert (fast.feature == slow.feature).all()
    at = fast.feature >= 0
    for a, b in zip(fast, slow, strict=True):
        assert (a[at] == b[at]).all()


def test_exponentials_are_right_and_the_same_everywhere() -> None:
    x = np.concatenate([np.linspace(-745, 709, 5001), [0.0, -0.0, 1e-300, 1.0, -1.0]])
    slow = np.empty(x.size)
    kernels._slow_exponential(x, slow)
    assert (kernels.exponential(x) == slow).all()
    inside = np.abs(x) <= kernels.FAR
    assert slow[inside] == pytest.approx(np.exp(x[inside]), rel=4e-16)


def test_slopes_of_the_log_loss_are_those_of_the_objective() -> None:
    """One loop gives the whole numbers that slopes and `packed` give, compiled or not."""
    rng = np.random.default_rng(9)
    score, y = np.append(4 * rng.standard_normal(2000), [800.0, -800.0, 0.0, -0.0]), rng.integers(0, 2, 2004) * 1.0
    g, h = objectives.slopes(objectives.OBJECTIVES["binary"], score, y, 1.0)
    whole, slow = kernels.packed(np.rint(g * 2.0**10), np.rint(h * 2.0**12)), np.empty(len(y), dtype=np.int64)
    kernels._slow_logistic(score, y, 2.0**10, 2.0**12, slow)
    made = np.empty_like(slow)
    kernels.logistic(score, y, (10, 12), made)
    assert (made == whole).all()
    assert (slow == whole).all()
    node, values, moved = rng.integers(0, 7, 2004).astype(np.int16), rng.standard_normal(7), np.tile(score, (2, 1)).T
    kernels.step(moved[:, 1], node, values)
    assert (moved == np.stack([score, score + values[node]], axis=1)).all()


def test_sums_of_64_bits_are_those_of_32() -> None:
    """What takes two numbers of 64 bits gives the trees of what fits one, and rare outcomes are not rounded away."""
    rng = np.random.default_rng(5)
    bins, node = rng.integers(0, 5, (500, 2)).astype(np.uint8), rng.integers(0, 3, 500).astype(np.int16)
    g, h = rng.integers(-(2**10), 2**10, 500), rng.integers(0, 2**10, 500)
    slot = np.array([0, -1, 1])
    one = kernels.unpacked(kernels.histograms(bins, node, kernels.packed(g, h), slot, 5))
    two = kernels.histograms(bins, node, kernels.packed(g, h, wide=True), slot, 5)
    slow = np.zeros_like(two)
    kernels._slow_histograms(bins, node, kernels.packed(g, h, wide=True), slot, slow)
    assert (two == slow).all()
    for a, b in zip(one, kernels.unpacked(two, wide=True), strict=True):
        assert (a == b).all()
    from confrere.analyses.learning.objectives import OBJECTIVES

    rare = scale_of(OBJECTIVES["binary"], 10**6, 1.0, (0.0,), 1e-4)
    assert rare.bits == 64
    assert 2.0**-rare.g < 1e-4 / 100
    assert scale_of(OBJECTIVES["binary"], 10**6, 1.0, (0.0,), 0.3).bits == 32


def test_many_people_with_numbers_keep_their_sums() -> None:
    """Beyond 131,072 people squared losses take the wide ring: trees of all and of every other person agree in size."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"a": rng.normal(size=140_000)})
    frame["y"] = 3.0 * (frame["a"] > 0.5) - 100
    boosting = Boosting("y", ("a",), "squared", trees=1, depth=1, learning_rate=1.0)
    forest = Forest.of(fit(boosting, dealt(frame, np.arange(140_000) % 3, 3), HISTOGRAMS))
    score = forest.score([np.array([-2.0, 2.0])])
    assert score[1] - score[0] == pytest.approx(3.0, abs=0.2)
