"""A forest as an ONNX model, which other programs run: the same trees, cuts and leaf values.

Operators of ai.onnx.ml 3: one TreeEnsembleRegressor with a target per class, then the link. Input `x` (n, features) of
32-bit numbers, NaN where missing, in the order of `Forest.features`; outputs `score` and `prediction`, (n, classes).
The file is written here, so that nothing needs be installed: a message of protocol buffers is a row of numbered fields.

Source: onnx.proto of ONNX 1.16, <https://github.com/onnx/onnx/blob/v1.16.0/onnx/onnx.proto>;
<https://protobuf.dev/programming-guides/encoding/>.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from confrere.analyses.learning.forest import Forest
from confrere.rounds import Array

LINKS = {"binary": "Sigmoid", "multiclass": "Softmax", "poisson": "Exp", "cox": "Exp", "squared": "Identity"}
IR, OPSETS = 8, {"": 17, "ai.onnx.ml": 3}
FLOAT, INT, STRING, FLOATS, INTS, STRINGS = 1, 2, 3, 6, 7, 8  # types, as attributes have them
NODES: Final = (
    "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)  # fmt: skip
TARGETS: Final = ("target_treeids", "target_nodeids", "target_ids")


def to_onnx(forest: Forest) -> bytes:
    """The bytes of the model."""
    trees = _node("TreeEnsembleRegressor", "x", "score", "ai.onnx.ml", _trees(forest))
    link = _node(LINKS[forest.objective], "score", "prediction")
    values = (_value("score", forest.classes), _value("prediction", forest.classes))
    graph = _message((1, trees), (1, link), (2, "forest"), (11, _value("x", len(forest.features))),
                     *((12, value) for value in values))  # fmt: skip
    said = {"features": "\n".join(forest.features), "sha256": forest.sha256}
    return _message(
        (1, IR), (2, "confrere"), (7, graph), *((8, _message((1, name), (2, n))) for name, n in OPSETS.items()),
        *((14, _message((1, key), (2, value))) for key, value in said.items()),
    )  # fmt: skip


def _trees(forest: Forest) -> list[bytes]:
    """Nodes and leaves of all trees as the operator has them; a value goes left where it is below the cut."""
    nodes: list[tuple[int, ...]] = []
    targets: list[tuple[int, ...]] = []
    cuts: list[float] = []
    weights: list[float] = []
    for t, tree in enumerate(forest.trees):
        for node in (int(n) for n in np.flatnonzero(tree.cover > 0)):
            if leaf := tree.feature[node] < 0:
                targets.append((t, node, t % forest.classes))
                weights.append(float(tree.value[node]))
            inner = (int(tree.feature[node]), 2 * node + 1, 2 * node + 2, int(tree.default[node]))
            nodes.append((t, node, *((0, 0, 0, 0) if leaf else inner)))
            cuts.append(0.0 if leaf else float(tree.cut[node]))
    leaves = {node[:2] for node in targets}
    modes = ["LEAF" if node[:2] in leaves else "BRANCH_LT" for node in nodes]
    columns = zip((*NODES, *TARGETS), (*zip(*nodes, strict=True), *zip(*targets, strict=True)), strict=True)
    made = [_ints(name, column) for name, column in columns]
    made += [
        _floats("nodes_values", np.array(cuts)), _floats("target_weights", np.array(weights)),
        _floats("base_values", np.array(forest.base)),
        _message((1, "n_targets"), (3, forest.classes), (20, INT)),
        _message((1, "nodes_modes"), *((9, mode) for mode in modes), (20, STRINGS)),
    ]  # fmt: skip
    texts = {"aggregate_function": "SUM", "post_transform": "NONE"}
    return [*made, *(_message((1, name), (4, text), (20, STRING)) for name, text in texts.items())]


# Messages of onnx.proto, by the numbers of their fields --------------------------------------------------------


def _node(operator: str, given: str, made: str, domain: str = "", attributes: Iterable[bytes] = ()) -> bytes:
    return _message((1, given), (2, made), (4, operator), *((5, a) for a in attributes), (7, domain))


def _value(name: str, wide: int) -> bytes:
    """An input or output: 32-bit numbers (n, wide)."""
    shape = _message((1, _message((2, "n"))), (1, _message((1, wide))))
    return _message((1, name), (2, _message((1, _message((1, FLOAT), (2, shape))))))


def _ints(name: str, values: Iterable[int]) -> bytes:
    return _message((1, name), (8, b"".join(map(_varint, values))), (20, INTS))


def _floats(name: str, values: Array) -> bytes:
    return _message((1, name), (7, values.astype("<f4").tobytes()), (20, FLOATS))


def _message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Fields by number: a whole number of 0 or more, or a text, a message or packed numbers."""
    made: list[bytes] = []
    for number, value in fields:
        if isinstance(value, int):
            made += [_varint(number << 3), _varint(value)]
        else:
            content = value.encode() if isinstance(value, str) else value
            made += [_varint(number << 3 | 2), _varint(len(content)), content]
    return b"".join(made)


def _varint(value: int) -> bytes:
    """A whole number of 0 or more, 7 bits a byte, the lowest first; the highest bit says that more follow."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])
