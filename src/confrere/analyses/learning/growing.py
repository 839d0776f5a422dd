"""Growing one tree from sums: what everybody who follows the flow does alike.

At each level the sums over bins of the nodes are asked, of two children only of the smaller; then every node has its
best split (`splits`), or is a leaf.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from confrere.analyses.learning.forest import Tree
from confrere.analyses.learning.splits import Best, Cells, Rules, best, leaf
from confrere.rounds import Array, Ints


@dataclass(eq=False)
class Growing:
    """One tree under way. `depth` levels of splits; `step` is what leaf values are multiplied by.

    `cuts` (p, bins) are the cut points of each feature, as `ladders.table` has them. What is asked next: `level`,
    `splits` (s, 4) of the level before (node, feature, cut, default), `build` (b,) the nodes whose sums are asked.
    """

    depth: int
    step: float
    cuts: Array
    rules: Rules
    level: int = 0
    splits: Ints = field(default_factory=lambda: np.empty((0, 4), dtype=np.int64))
    build: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    def __post_init__(self) -> None:
        size = 2 ** (self.depth + 1) - 1
        self.tree = Tree(
            np.full(size, -1), np.zeros(size), np.zeros(size, dtype=np.int64), np.zeros(size), np.zeros(size),
            np.zeros(size),
        )  # fmt: skip
        self._nodes = np.zeros(1, dtype=np.int64)
        self._cells: Cells | None = None
        self._low, self._high = np.full(size, -np.inf), np.full(size, np.inf)

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask."""
        return not self.build.size

    def learn(self, asked: Cells) -> None:
        """Take the sums over bins of the nodes that were asked, and split the level."""
        cells = self._whole(asked)
        if self.level == 0:
            g, h = cells.totals
            self._settle(self._nodes, np.stack([g, h], axis=1))
        found = best(cells, self.rules, self._low[self._nodes], self._high[self._nodes])
        at = np.flatnonzero(found.feature >= 0)
        self._split(self._nodes[at], Best._make(f[at] for f in found))
        self.level += 1
        parents = self._nodes[at]
        if self.level == self.depth or not at.size:
            self.build, self._nodes = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
            return
        smaller = 1 + (found.right[at, 1] < found.left[at, 1]).astype(np.int64)
        self.build = 2 * parents + smaller
        self._cells = cells.rows(at)
        self._nodes = parents

    def _whole(self, asked: Cells) -> Cells:
        """The sums of all nodes of the level: those asked, and their siblings by subtraction."""
        if self._cells is None:
            return asked
        at, side = np.arange(len(self.build)), (self.build + 1) % 2  # of parent j the children 2 j + 1 and 2 j + 2
        self._nodes = (2 * self._nodes[:, None] + np.array([1, 2])).ravel()
        whole = [np.empty((len(at), 2, *sums.shape[1:])) for sums in asked]
        for out, parents, sums in zip(whole, self._cells, asked, strict=True):
            out[at, side] = sums
            out[at, 1 - side] = parents - sums
        return Cells(*(out.reshape(-1, *out.shape[2:]) for out in whole))

    def _split(self, nodes: Ints, found: Best) -> None:
        """Write the splits into the tree, and what their children are worth."""
        self.splits = np.stack([nodes, found.feature, found.cut, found.default], axis=1).astype(np.int64)
        self.tree.feature[nodes] = found.feature
        self.tree.cut[nodes] = self.cuts[found.feature, found.cut]
        self.tree.default[nodes] = found.default
        self.tree.gain[nodes] = found.gain
        for side, sums in ((1, found.left), (2, found.right)):
            self._low[2 * nodes + side], self._high[2 * nodes + side] = self._low[nodes], self._high[nodes]
            self._settle(2 * nodes + side, sums)
        self._bound(nodes, self.rules.monotone[found.feature])

    def _settle(self, nodes: Ints, sums: Array) -> None:
        """The best value of nodes with G and H (m, 2), within their bounds."""
        value = np.clip(leaf(sums[:, 0], sums[:, 1], self.rules.penalty), self._low[nodes], self._high[nodes])
        self.tree.value[nodes] = (self.step * value).astype(np.float32)
        self.tree.cover[nodes] = sums[:, 1]

    def _bound(self, nodes: Ints, turn: Ints) -> None:
        """Below a split of a monotone feature no leaf crosses the middle of its two children's values."""
        left, right = 2 * nodes + 1, 2 * nodes + 2
        middle = (self.tree.value[left] + self.tree.value[right]) / 2 / self.step
        for sign, lower, upper in ((1, left, right), (-1, right, left)):
            at = turn == sign
            self._high[lower[at]], self._low[upper[at]] = middle[at], middle[at]

    @property
    def leaves(self) -> Array:
        """(l, 2) node and value of each leaf."""
        return self.tree.leaves

    def finished(self, gain: float = 1.0, cover: float = 1.0) -> Tree:
        """The tree, inner nodes without values; `gain` and `cover` are the units in which it grew."""
        value = np.where(self.tree.feature >= 0, 0.0, self.tree.value)
        return self.tree._replace(value=value, gain=gain * self.tree.gain, cover=cover * self.tree.cover)
