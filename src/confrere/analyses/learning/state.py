"""What a hospital remembers while trees grow: everybody's bins, score, node, quantised gradients. It stays there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.kernels import Bins, Nodes, descend, histograms, logistic, packed, step
from confrere.analyses.learning.objectives import Objective, loss, slopes
from confrere.rounds import Array, Bools, Design, Ints, People

Words = NDArray[np.uint64]
MOST = 26  # of a scale: finer is of no use


class Scale(NamedTuple):
    """What makes whole numbers of gradients: public, from the number of people and the spread of the outcome.

    unit  the spread in which the outcome is counted; g, h  powers of two; bits  of the ring; base  where scores begin
    """

    unit: float
    g: int
    h: int
    bits: int
    base: tuple[float, ...]


def scale_of(objective: Objective, n: int, unit: float, base: tuple[float, ...], rarest: float = 1.0) -> Scale:
    """The finest scale at which the sum over n people cannot leave the ring: 32 bits a number while that is fine.

    `rarest` is the share of the rarest class: the gradients of the others are as small as that, and must not become 0.
    """
    fine = 10 if rarest >= 2.0**-3 else ceil(7 - log2(rarest))
    for bits in (32, 64):
        # 51 bits at most in a float that must be exact
        room = min(bits - 1, 51) - log2(max(2, n))
        g, h = (floor(room - log2(bound)) for bound in (objective.g, objective.h))
        if bits == 64 or min(g, h) >= fine:
            break
    return Scale(unit, min(g, MOST), min(h, MOST), bits, base)


@dataclass(eq=False)
class State:
    """The people of one hospital: bins (n, p), outcome (n,), scores (n, classes), node (n,) of the tree that grows."""

    objective: Objective
    scale: Scale
    missing: int
    bins: Bins
    y: Array
    words: Words
    train: Bools  # who is not held out
    apart: Bools  # whose bins are not all of their own values
    score: Array = field(init=False)
    node: Nodes = field(init=False)
    inside: Bools = field(init=False)  # who is in the sample of this tree
    packs: Ints = field(init=False)
    leaves: list[Array] = field(init=False, default_factory=list)  # of the trees that are in the scores
    tree: int = -1
    level: int = 0
    _slopes: tuple[Array, Array] | None = None
    _waiting: Ints | None = None  # splits by which nobody has moved yet

    def __post_init__(self) -> None:
        self.score = np.tile(np.array(self.scale.base), (len(self.y), 1))
        self.node = np.zeros(len(self.y), dtype=np.int16)
        self.inside = self.train
        self.packs = np.zeros(len(self.y), dtype=np.int64)

    @property
    def classes(self) -> int:
        """Scores of a person."""
        return len(self.scale.base)

    @property
    def shown(self) -> Array:
        """Scores (n,), or (n, classes) of several."""
        return self.score if self.classes > 1 else self.score[:, 0]

    @property
    def lost(self) -> float:
        """The loss of who is held out, in units of 2^-20: of each a whole number, so that the sum is exact."""
        out = ~self.train
        score = self.shown[out]
        return float(np.rint(np.ldexp(loss(self.objective, score, self.y[out]), 20)).sum())

    def descend(self, level: int, splits: Ints, size: int) -> None:
        """Have everybody move down by the splits (s, 4) of a level, when it is needed: node, feature, cut, default."""
        if level <= self.level:
            return
        self._waiting = np.full((size, 3), -1, dtype=np.int64)
        self._waiting[splits[:, 0]] = splits[:, 1:]
        self.level = level

    def sums(self, slot: Ints, *, counted: bool = False) -> list[Ints]:
        """Sums over bins of the nodes that have a `slot`, as `histograms`: of slopes, and of people if `counted`."""
        splits, self._waiting = self._waiting, None
        made = [histograms(self.bins, self.node, self.packs, slot, self.missing + 1, splits)]
        if counted:
            made.append(histograms(self.bins, self.node, self.inside.astype(np.int64), slot, self.missing + 1))
        return made

    def begin(self, tree: int, leaves: Array, share: float, seed: int) -> None:
        """Add the leaves (l, 2) of the tree before to the scores, and take the slopes for the next."""
        if tree <= self.tree:
            return
        if self._waiting is not None:
            descend(self.bins, self.node, self._waiting, self.missing)
            self._waiting = None
        if tree:
            values = np.zeros(int(leaves[:, 0].max(initial=0)) + 1)
            values[leaves[:, 0].astype(int)] = leaves[:, 1]
            step(self.score[:, (tree - 1) % self.classes], self.node, values)
            self.leaves.append(leaves)
        self.tree, self.level = tree, 0
        self.node.fill(0)
        if share < 1:
            self.inside = self.train & (mixed(self.words, seed, tree // self.classes) < share)
        self._take(tree % self.classes)

    def _take(self, k: int) -> None:
        """Quantised slopes of class k; those of all classes are taken together."""
        if self.objective.name == "binary" and self.scale.bits <= 32:  # in one loop
            logistic(self.shown, self.y, (self.scale.g, self.scale.h), self.packs)
            self._packed(self.packs)
            return
        if self._slopes is None or k == 0:
            self._slopes = slopes(self.objective, self.shown, self.y, self.scale.unit)
        g, h = (s[:, k] if s.ndim > 1 else s for s in self._slopes)
        self.pack(g, h)

    def pack(self, g: Array, h: Array) -> None:
        """Slopes (n,) of the tree that grows, as whole numbers; of who is not in its sample 0."""
        g, h = np.rint(g * 2.0**self.scale.g), np.rint(h * 2.0**self.scale.h)
        self._packed(packed(g, h, wide=self.scale.bits > 32))

    def _packed(self, packs: Ints) -> None:
        self.packs = packs
        if not self.inside.all():
            self.packs[~self.inside] = 0


def designs(people: People) -> list[tuple[object, Design]]:
    """The designs on which trees grow in this run, each with its analysis."""
    return people.once("designs of trees", list[tuple[object, Design]])


def known(forest: Forest, values: Sequence[Array], states: Iterable[State | None]) -> Array:
    """Scores (n,) or (n, classes) of people with these values (n,) of features: as they stand where all trees of the
    forest but the last, or all, have been added to them; of who was put into others' bins, and else, by its trees.

    Of states of one analysis, which other groups of hospitals may have asked too, leaves tell whose trees they are.
    """
    for state in states:
        if state is None or state.classes > 1 or not 0 <= len(forest.trees) - len(state.leaves) <= 1:
            continue
        leaves = [tree.leaves for tree in forest.trees]
        same = state.scale.base == forest.base and len(state.y) == len(values[0])
        if same and all(map(np.array_equal, state.leaves, leaves)):
            score, last = state.score[:, 0].copy(), forest.trees[len(state.leaves) :]
            if last:
                score += replace(forest, base=(0.0,), trees=last).score(values)
            score[state.apart] = forest.score([v[state.apart] for v in values])
            return score
    return forest.score(values)


def mixed(words: Words, seed: int, tree: int) -> Array:
    """A number in [0, 1) for each person and tree, from the person's word: splitmix64 (Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = words + np.uint64((seed * 0x9E3779B97F4A7C15 + (tree + 1) * 0xD1342543DE82EF95) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)).astype(float) * 2.0**-53)
