"""A forest as an ONNX model, which other programs run: the same trees, cuts and leaf values.

Operators of ai.onnx.ml 3: one TreeEnsembleRegressor with a target per class, then the link. Input `x` (n, features) of
32-bit numbers, NaN where missing, in the order of `Forest.features`; outputs `score` and `prediction`, (n, classes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from confrere.analyses.learning.forest import Forest
from confrere.errors import StudyError

LINKS = {"binary": "Sigmoid", "multiclass": "Softmax", "poisson": "Exp", "cox": "Exp", "squared": "Identity"}


def to_onnx(forest: Forest) -> bytes:
    """The bytes of the model. StudyError where the package `onnx` is not installed."""
    try:
        from onnx import TensorProto, checker, helper
    except ImportError:
        raise StudyError("onnx is not installed; to export models: pip install 'confrere[learning]'") from None
    wide = [None, len(forest.features)], [None, forest.classes]
    trees = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["score"], domain="ai.onnx.ml", n_targets=forest.classes,
        base_values=[float(b) for b in forest.base], aggregate_function="SUM", post_transform="NONE", **_nodes(forest),
    )  # fmt: skip
    link = helper.make_node(LINKS[forest.objective], ["score"], ["prediction"])
    graph = helper.make_graph(
        [trees, link], "forest", [helper.make_tensor_value_info("x", TensorProto.FLOAT, wide[0])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, wide[1]) for name in ("score", "prediction")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="confrere")
    helper.set_model_props(model, {"features": "\n".join(forest.features), "sha256": forest.sha256})
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _nodes(forest: Forest) -> dict[str, Any]:
    """Nodes and leaves of all trees as the operator has them; a value goes left where it is below the cut."""
    made: dict[str, list[Any]] = {name: [] for name in (
        "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
        "nodes_falsenodeids", "nodes_missing_value_tracks_true", "target_treeids", "target_nodeids", "target_ids",
        "target_weights",
    )}  # fmt: skip
    for t, tree in enumerate(forest.trees):
        for node in (int(n) for n in np.flatnonzero(tree.cover > 0)):
            leaf = tree.feature[node] < 0
            row = (t, node, 0 if leaf else int(tree.feature[node]), 0.0 if leaf else float(tree.cut[node]),
                   "LEAF" if leaf else "BRANCH_LT", 0 if leaf else 2 * node + 1, 0 if leaf else 2 * node + 2,
                   0 if leaf else int(tree.default[node]))  # fmt: skip
            for name, value in zip(list(made)[:8], row, strict=True):
                made[name].append(value)
            if leaf:
                for name, value in zip(
                    list(made)[8:], (t, node, t % forest.classes, float(tree.value[node])), strict=True
                ):
                    made[name].append(value)
    return made
