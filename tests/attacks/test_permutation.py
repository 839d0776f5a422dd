"""Permutation importance: sums over who is held out must not be those of the few whose prediction may change at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Record
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.permuted import Marginal, Permuted
from confrere.analyses.learning.scored import Scored
from confrere.rounds import People, drive, supported
from confrere.study.ground import Ground
from federate import GATE, LOOSE, in_the_clear, table

N, FEW, K = 600, 3, 11
FEATURES = ("a", "b", "c")
OF = Boosting("y", FEATURES, "squared", holdout=0.5, permutation=1, ground=Ground(person="pid"))


def held_out(frame: pd.DataFrame) -> Any:
    return ~OF.people(People(table(frame))).data[2]


def people() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({name: rng.integers(0, 2, N).astype(float) for name in FEATURES})
    return frame.assign(y=rng.normal(size=N), pid=np.arange(N))


def forest(*nodes: tuple[int, float]) -> Forest:
    """A tree of a heap of nodes (feature, value), -1 for a leaf; whoever has a value under a half goes left."""
    feature, value = (np.array(v) for v in zip(*nodes, strict=True))
    here = np.ones(len(nodes))
    tree = Tree(
        feature, np.full(len(nodes), 0.5), np.zeros(len(nodes), dtype=np.int64), value.astype(float), here, here
    )
    return Forest("squared", FEATURES, (0.0,), (tree,))


def to_one(name: str) -> Marginal:
    """Everybody's value is replaced by 1."""
    return Marginal(name, np.array([FEATURES.index(name)]), np.array([0.5]), np.array([0.0, 1.0, 1.0]))


def told(frame: pd.DataFrame, trees: Forest, *names: str, policy: Any = GATE) -> dict[str, Record]:
    frames = [frame[i::3].reset_index(drop=True) for i in range(3)]
    step = Permuted(Scored(OF, trees), tuple(map(to_one, names)))
    return {r["feature"]: r for r in drive(supported(step.flow()), in_the_clear(frames, policy))}


# who has a = 1 goes right, and only there b matters
DEEP = forest((0, 0.0), (-1, 0.0), (1, 0.0), (-1, 0.0), (-1, 0.0), (-1, 1.0), (-1, 5.0))
EITHER = forest((0, 0.0), (1, 0.0), (1, 0.0), (-1, 0.0), (-1, 2.0), (-1, 2.0), (-1, 0.0))  # a or b, but not both


@pytest.mark.parametrize(("few", "hidden"), [(FEW, True), (K, False), (0, False)])
def test_a_feature_that_matters_to_a_few_alone_is_not_told(few: int, hidden: bool) -> None:
    frame = people().assign(b=0.0)
    out = np.flatnonzero(held_out(frame))
    frame.loc[out, "a"] = 0.0
    frame.loc[out[:few], "a"] = 1.0
    row = told(frame, DEEP, "b")["b"]
    assert row["suppressed"] == hidden
    assert (row["estimate"] is None) == hidden
    if not hidden:
        error = (frame["y"] - 5) ** 2 - (frame["y"] - 1) ** 2
        assert row["estimate"] == pytest.approx(error[out[:few]].sum() / len(out))


def test_control_without_the_rule_it_is_the_sum_of_the_few() -> None:
    frame = people().assign(b=0.0)
    out = np.flatnonzero(held_out(frame))
    frame.loc[out, "a"] = 0.0
    frame.loc[out[:1], "a"] = 1.0
    y = frame["y"][out[0]]
    row = told(frame, DEEP, "b", policy=LOOSE)["b"]
    assert row["estimate"] * len(out) == pytest.approx((y - 5) ** 2 - (y - 1) ** 2)  # and so y


@pytest.mark.parametrize(("few", "hidden"), [(FEW, True), (2 * K, False)])
def test_of_two_features_that_differ_by_a_few_the_first_is_told(few: int, hidden: bool) -> None:
    """Made 1 in either, the outcome of who has neither is predicted alike: the difference is of who has one of them."""
    frame = people()
    out = np.flatnonzero(held_out(frame))
    frame["b"] = frame["a"]
    frame.loc[out[:few], "b"] = 1 - frame.loc[out[:few], "a"]
    rows = told(frame, EITHER, "a", "b")
    assert not rows["a"]["suppressed"]
    assert rows["b"]["suppressed"] == hidden


def test_nothing_leaves_of_a_feature_that_is_not_told() -> None:
    frame = people().assign(b=0.0)
    out = np.flatnonzero(held_out(frame))
    frame.loc[out, "a"] = 0.0
    frame.loc[out[:FEW], "a"] = 1.0
    step = Permuted(Scored(OF, DEEP), (to_one("b"),))
    design = step.design(People(table(frame)))
    assert np.count_nonzero(design.data[0]) == FEW
    assert not step.risen(People(table(frame), design), np.array([], dtype=np.int64)).rise.value.any()
