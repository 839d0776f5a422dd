"""Boosted trees as data: what the flow grows, what predicts, and what other programs read.

Trees are arrays over a heap: node 0 is the root, the children of node j are 2 j + 1 and 2 j + 2. A value below the cut
goes left; cuts and leaf values are numbers of 32 bits, as in XGBoost, so that an exported model predicts the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.finding import Finding
from confrere.analyses.learning.kernels import added
from confrere.analyses.learning.ladders import single
from confrere.analyses.learning.objectives import OBJECTIVES, expit, softmax
from confrere.errors import StudyError
from confrere.rounds import Array, Ints

WHOLE = ("feature", "default")  # fields of a tree that are whole numbers
LARGEST = 1 << 22  # nodes of all trees of a file, filled up to the largest: 200 MB


class Tree(NamedTuple):
    """One tree on a heap of `nodes`; `feature` is -1 in leaves, and `cover` is 0 where there is no node.

    cut (nodes,) what is below it goes left; default 1 if who has no value goes left; value of leaves; gain of splits;
    cover the sum of Hessians
    """

    feature: Ints
    cut: Array
    default: Ints
    value: Array
    gain: Array
    cover: Array

    @property
    def leaves(self) -> Array:
        """(l, 2) node and value of each leaf."""
        at = np.flatnonzero((self.feature < 0) & (self.cover > 0))
        return np.stack([at.astype(float), self.value[at]], axis=1)


@dataclass(frozen=True, eq=False)
class Forest:
    """A model: the score of a person is `base` and the leaf values of all trees, of one class after the other.

    features  names; `column[level]` is 1 for people of that level
    base      (classes,) where scores begin
    """

    objective: str
    features: tuple[str, ...]
    base: tuple[float, ...]
    trees: tuple[Tree, ...]

    @property
    def classes(self) -> int:
        """How many scores a person has: one, or one per class."""
        return len(self.base)

    def score(self, columns: Sequence[Array]) -> Array:
        """Scores of people, (n,) or (n, classes), from the values (n,) of each feature, NaN where missing."""
        x = np.stack([single(c) for c in columns], axis=1) if columns else np.empty((0, 0), np.float32)
        out = np.tile(np.array(self.base, dtype=float), (len(x), 1))
        trees = self.trees
        feature, default = (
            np.array([getattr(t, name) for t in trees], dtype=np.int16) for name in ("feature", "default")
        )
        cut = np.array([t.cut for t in trees], dtype=np.float32)
        added(x, (feature, cut, default, np.array([t.value for t in trees])), out)
        return out if self.classes > 1 else out[:, 0]

    def prediction(self, score: Array) -> Array:
        """What scores mean: probabilities, rates, relative risks or the outcome itself."""
        if self.objective == "binary":
            return expit(score)
        if self.objective == "multiclass":
            return softmax(score)
        return np.exp(score) if self.objective in ("poisson", "cox") else score

    def gains(self) -> dict[str, float]:
        """Total gain of the splits of each feature that is used."""
        total = np.zeros(len(self.features))
        for tree in self.trees:
            used = tree.feature >= 0
            np.add.at(total, tree.feature[used], tree.gain[used])
        return {name: float(g) for name, g in zip(self.features, total, strict=True) if g > 0}

    def arrays(self) -> dict[str, Array]:
        """For a finding: `base` (classes,), and `trees` (trees, nodes, 6) in the order of the fields of `Tree`."""
        trees = [np.stack([f.astype(float) for f in tree], axis=1) for tree in self.trees]
        return {"base": np.array(self.base), "trees": np.array(trees)}

    def __repr__(self) -> str:
        return f"Forest({self.sha256})"  # the same text for the same model alone: what is remembered goes by it

    @cached_property
    def sha256(self) -> str:
        """Hash of the model: equal where trees, cuts and leaf values are the same to the bit."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """The model as plain data; floats as Python spells them, which loses no bit."""
        trees = [
            {name: [v.item() for v in getattr(tree, name)[: _size(tree)]] for name in Tree._fields}
            for tree in self.trees
        ]
        about = {"objective": self.objective, "features": list(self.features), "base": list(self.base)}
        return {"format": "confrere-forest/1", **about, "trees": trees}

    @classmethod
    def of(cls, finding: Finding) -> Forest:
        """The model that a finding holds. StudyError where it holds none."""
        if "trees" not in finding.arrays:
            raise StudyError(f"{finding.method} has no trees; boosting has them")
        base, trees = (np.asarray(finding.arrays[name]) for name in ("base", "trees"))
        made = tuple(
            Tree(*(tree[:, i].astype(np.int64) if name in WHOLE else tree[:, i] for i, name in enumerate(Tree._fields)))
            for tree in trees
        )
        return cls(finding.facts["objective"], finding.analysis.terms, tuple(base.tolist()), made)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Forest:
        """The inverse of `plain`. StudyError where it is something else."""
        if plain.get("format") != "confrere-forest/1":
            raise StudyError("this is no model of boosted trees as Confrere writes it (confrere-forest/1)")
        written = [[t[name] for name in Tree._fields] for t in plain["trees"]]  # each as far as it has nodes
        sizes = {len(values) for tree in written for values in tree}
        wide = max(sizes, default=0)
        if not all(len({len(values) for values in tree}) == 1 for tree in written) or 0 in sizes:
            raise StudyError("its trees have nodes without all that a node has")
        if len(written) * wide > LARGEST:
            raise StudyError(f"its trees have more than {LARGEST:,} nodes, were all as large as the largest")
        trees = tuple(
            Tree._make(_filled(v, name, wide) for name, v in zip(Tree._fields, tree, strict=True)) for tree in written
        )
        if not all(isinstance(name, str) for name in plain["features"]):
            raise StudyError("its features have no names")
        made = cls(plain["objective"], tuple(plain["features"]), tuple(map(float, plain["base"])), trees)
        made._check(wide)
        return made

    def _check(self, wide: int) -> None:
        """StudyError where trees are none: a file may come from anybody, and loops over nodes ask nothing."""
        places = np.arange(wide)
        numbers = [np.array(self.base, dtype=float), *(f for tree in self.trees for f in tree if f is not tree.cut)]
        sound = self.objective in OBJECTIVES and self.base and self.trees and len(self.trees) % len(self.base) == 0
        sound = sound and all(np.isfinite(n).all() for n in numbers)
        for tree in self.trees:
            sound = sound and bool(((tree.feature >= -1) & (tree.feature < len(self.features))).all())
            sound = sound and bool((2 * places[tree.feature >= 0] + 2 < wide).all() and not np.isnan(tree.cut).any())
        if not sound:
            raise StudyError("its trees have features or nodes that are not there, or numbers that are none")


def _filled(values: Sequence[float], name: str, wide: int) -> Any:
    """A field of a tree on a heap of `wide` nodes, of which those that are not written are none."""
    full = np.full(wide, -1 if name == "feature" else 0, dtype=np.int64 if name in WHOLE else np.float64)
    full[: len(values)] = values
    return full


def _size(tree: Tree) -> int:
    """Nodes of the heap up to the last that there is."""
    return int(np.flatnonzero(tree.cover > 0).max(initial=0)) + 1


def to_xgboost(forest: Forest) -> dict[str, Any]:
    """The model as XGBoost's JSON (`Booster.load_model`), version 3: the same trees, cuts and leaf values."""
    objective = OBJECTIVES[forest.objective]
    classes = forest.classes if forest.objective == "multiclass" else 0
    about = {"name": objective.xgboost, "reg_loss_param": {"scale_pos_weight": "1"}}
    if classes:
        about = {"name": objective.xgboost, "softmax_multiclass_param": {"num_class": str(classes)}}
    if forest.objective == "poisson":
        about = {"name": objective.xgboost, "poisson_regression_param": {"max_delta_step": "0.7"}}
    model = {
        "gbtree_model_param": {"num_trees": str(len(forest.trees)), "num_parallel_tree": "1"},
        "trees": [_xgboost_tree(t, i, len(forest.features)) for i, t in enumerate(forest.trees)],
        "tree_info": [i % forest.classes for i in range(len(forest.trees))],
        "iteration_indptr": list(range(0, len(forest.trees) + 1, forest.classes)),
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
    }
    learner = {
        "attributes": {}, "feature_names": [_ascii(f) for f in forest.features],
        "feature_types": ["float"] * len(forest.features),
        "gradient_booster": {"name": "gbtree", "model": model},
        "learner_model_param": {
            "base_score": _base_score(forest), "boost_from_average": "1", "num_class": str(classes),
            "num_feature": str(len(forest.features)), "num_target": "1",
        },
        "objective": about,
    }  # fmt: skip
    return {"version": [3, 2, 0], "learner": learner}


def _ascii(name: str) -> str:
    """A name as XGBoost takes it: without brackets and <."""
    return name.replace("[", "(").replace("]", ")").replace("<", "lt ")


def _base_score(forest: Forest) -> str:
    """Where scores begin, as predictions; XGBoost 3 writes a list of them."""
    base = np.array(forest.base)
    shown = base if forest.objective == "multiclass" else forest.prediction(base)
    return "[" + ",".join(f"{v:.9E}" for v in shown) + "]"


def _xgboost_tree(tree: Tree, number: int, features: int) -> dict[str, Any]:
    """One tree with its nodes renumbered in the order of the heap."""
    nodes = np.flatnonzero(tree.cover > 0)
    new = {int(old): i for i, old in enumerate(nodes)}
    inner = [bool(tree.feature[n] >= 0) for n in nodes]

    def child(n: int, side: int) -> int:
        return new[2 * n + side] if tree.feature[n] >= 0 else -1

    parents = [2147483647 if n == 0 else new[(int(n) - 1) // 2] for n in nodes]
    zeros = [0] * len(nodes)
    return {
        "id": number, "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
        "tree_param": {
            "num_nodes": str(len(nodes)), "num_deleted": "0", "num_feature": str(features), "size_leaf_vector": "1",
        },
        "left_children": [child(int(n), 1) for n in nodes], "right_children": [child(int(n), 2) for n in nodes],
        "parents": parents, "split_type": zeros,
        "split_indices": [int(tree.feature[n]) if i else 0 for n, i in zip(nodes, inner, strict=True)],
        "split_conditions": [
            float(np.float32(tree.cut[n] if i else tree.value[n])) for n, i in zip(nodes, inner, strict=True)
        ],
        "default_left": [int(tree.default[n]) if i else 0 for n, i in zip(nodes, inner, strict=True)],
        "base_weights": [float(np.float32(tree.value[n])) for n in nodes],
        "loss_changes": [float(tree.gain[n]) if i else 0.0 for n, i in zip(nodes, inner, strict=True)],
        "sum_hessian": [float(tree.cover[n]) for n in nodes],
    }  # fmt: skip
