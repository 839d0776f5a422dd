"""Why a model gives a person its score: exact Shapley values of the trees.

Lundberg et al., Nat Mach Intell 2020;2:56 (TreeSHAP, path dependent): a feature that is not known sends a person both
ways, in the shares in which the people of training went (by their sums of Hessians). Of every leaf the features on its
path are the players; with at most ten of them all coalitions follow from products. It is what XGBoost's `pred_contribs`
gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.ladders import single
from confrere.rounds import Array, Bools, Ints


class Path(NamedTuple):
    """The way to a leaf: what each of its m features asks of a person, and how many of the people meet that."""

    value: float
    features: Ints  # (m,)
    share: Array  # (m,) of the people of training who go on, where the feature is not known
    low: Array  # (m,) values from here
    high: Array  # (m,) to below here
    missing: Bools  # (m,) whether who has no value goes on


def contributions(forest: Forest, columns: Sequence[Array]) -> Array:
    """Shapley values (n, features + 1), or (n, classes, features + 1), of people with values (n,) of each feature.

    They add up to the score; the last is the mean score of the people of training.
    """
    n, p = len(columns[0]) if columns else 0, len(forest.features)
    x = [single(c) for c in columns]
    out = np.zeros((n, forest.classes, p + 1))
    out[..., p] = forest.base
    for t, tree in enumerate(forest.trees):
        for path in paths(tree):
            known = _known(path, x)
            out[:, t % forest.classes, p] += path.value * path.share.prod()
            if len(path.features):
                table = path.value * _table(path.share)
                code = known.T @ (1 << np.arange(len(path.features)))
                out[:, t % forest.classes, path.features] += table[code]
    return out if forest.classes > 1 else out[:, 0]


def _known(path: Path, x: Sequence[NDArray[np.float32]]) -> Ints:
    """(m, n) whether each person meets what the path asks of each feature."""
    n = len(x[0])
    met = np.zeros((len(path.features), n), dtype=np.int64)
    for i, f in enumerate(path.features):
        lost = np.isnan(x[f])
        met[i] = np.where(lost, path.missing[i], (x[f] >= path.low[i]) & (x[f] < path.high[i]))
    return met


def _table(share: Array) -> Array:
    """(2^m, m) the Shapley values of a leaf of value 1, by which of its m features a person meets (bit by bit).

    Of feature j: the sum over coalitions S of the others of |S|! (m - |S| - 1)! / m! prod(o in S) prod(share not in S)
    times (o_j - share_j). Coalitions of one size are gathered in the coefficients of a polynomial.
    """
    m = len(share)
    met = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
    weight = np.array([factorial(k) * factorial(m - k - 1) / factorial(m) for k in range(m)])
    out = np.empty((2**m, m))
    for j in range(m):
        sizes = np.zeros((2**m, m))  # coefficients by the size of the coalition
        sizes[:, 0] = 1.0
        for i in range(m):
            if i != j:
                sizes[:, 1:] = sizes[:, 1:] * share[i] + sizes[:, :-1] * met[:, [i]]
                sizes[:, 0] *= share[i]
        out[:, j] = (sizes @ weight) * (met[:, j] - share[j])
    return out


def paths(tree: Tree) -> list[Path]:
    """The way to every leaf; a feature that is asked more than once counts once."""
    found: list[Path] = []
    for leaf in np.flatnonzero((tree.feature < 0) & (tree.cover > 0)):
        met: dict[int, tuple[float, float, float, bool]] = {}
        node = int(leaf)
        while node:
            above = (node - 1) // 2
            left, feature = node == 2 * above + 1, int(tree.feature[above])
            share, low, high, missing = met.get(feature, (1.0, -np.inf, np.inf, True))
            cut = float(np.float32(tree.cut[above]))
            low, high = (low, min(high, cut)) if left else (max(low, cut), high)
            share *= float(tree.cover[node] / tree.cover[above])
            met[feature] = share, low, high, missing and left == bool(tree.default[above])
            node = above
        parts = list(zip(*met.values(), strict=True)) or [()] * 4
        shares, lows, highs, ways = (np.array(part) for part in parts)
        features = np.array(list(met), dtype=np.int64)
        found.append(Path(float(tree.value[leaf]), features, shares, lows, highs, ways.astype(bool)))
    return found
