"""Whether counts by place and counts of sets of the same people, combined, could rest on a few of them.

People are counted by place, such as the cell of a score, and again by sets, such as a class, that may overlap. Places
and *cells* of people who are in the same sets make a bipartite graph, whose edges carry people. A combination of what
is told is worth a(place) + b(cell) on an edge, b being a combination of the sets. Where b differs between two cells,
it is not 0 on a cut between them: two cells with k people on every cut between them (Menger; Gusfield, SIAM J Comput
1990;19:143) are *tied*, and b is the same on both, or the combination rests on k people. Ties are equations for b.
Cells on which every b that is left is the same are one, by which more are tied. Where in the end b is the same
throughout each connected part, the combination is worth the same in all of a place, and of those each has k people or
nobody.

Where kinds of cells of few people are left, which are tied to none, every b is looked at that is the same on as many
kinds as can be: a combination with another is not 0 on more. Of a b it rests on the fewest people where a(place) is
minus its commonest worth there.

What is said to be safe is; of the rest it is not known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from confrere.rounds import Array, Bools, Ints

ZERO = 1e-7  # of orthonormal rows
MOST = 2000  # combinations that are looked at


class Ties:
    """People by place and cell, and which cells are tied whatever the sets are."""

    def __init__(self, table: Array, k: float) -> None:
        """Of a `table` (places, cells) whose places were told, with k people or nobody in each."""
        self.some = table.any(axis=0)
        self.people, self.k = table[table.any(axis=1)][:, self.some], k
        self.told = bool((self.people.sum(axis=1) >= k).all())  # or whoever counted the places had to refuse
        self.part = _parts(self.people)
        self.tied = _tied(self.people, k)

    def safe(self, sets: Sequence[Bools]) -> bool:
        """Whether no combination of places and of sets (cells,) rests on 1 to k-1 people."""
        rows = np.concatenate([np.array(sets)[:, self.some], np.ones((1, self.people.shape[1]))]).astype(float)
        left, tied, kind = _basis(rows), self.tied, np.arange(rows.shape[1])
        while self.told and not _alike(left, self.part):
            fewer = _basis(_null((left - left[:, _first(tied)]).T) @ left)
            if len(fewer) == len(left) and tied is not self.tied:
                return self._fewest(left, kind) >= self.k
            left = fewer
            kind = np.unique(np.round(left / ZERO / 10), axis=1, return_inverse=True)[1].ravel()
            tied = _tied(_joined(self.people.T, kind).T, self.k)[kind]
        return self.told

    def _fewest(self, left: Array, kind: Ints) -> float:
        """The fewest people a combination with a row of `left` (b, cells) rests on; 0 where that is not known."""
        least = np.inf
        for part in np.unique(self.part):
            inside = self.part == part
            _, first, of = np.unique(kind[inside], return_index=True, return_inverse=True)
            people = _joined(self.people[:, inside].T, of.ravel()).T
            least = min(least, _resting(left[:, inside][:, first], people[people.any(axis=1)]))
        return least


def _resting(left: Array, people: Array) -> float:
    """The same of one part, of `people` (places, kinds)."""
    one, other = np.triu_indices(left.shape[1], 1)
    apart = _basis((left[:, one] - left[:, other]).T) @ left  # all b but for what is the same on every kind
    free, least = len(apart), np.inf
    if not free or math.comb(len(one), free - 1) > MOST:
        return 0.0 if free else np.inf
    for pairs in itertools.combinations(range(len(one)), free - 1):
        equal = (apart[:, one] - apart[:, other])[:, list(pairs)]
        for u in _null(equal.T) if pairs else np.eye(1):
            worth = np.unique(np.round(u @ apart / ZERO / 10), return_inverse=True)[1].ravel()
            each = np.sort(_joined(people.T, worth).T, axis=1)
            rests = (people.sum(axis=1) - each[:, -1]).sum()
            if not rests and free == 1:
                rests = (people.sum(axis=1) - each[:, -2]).min()
            least = min(least, float(rests))
    return least


def _first(label: Ints) -> Ints:
    """The first place of the label of each."""
    _, first, of = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(first[of.ravel()], dtype=np.int64)


def _alike(left: Array, part: Ints) -> bool:
    """Whether every row is the same throughout each part."""
    return bool((np.abs(left - left[:, _first(part)]) < ZERO).all())


def _joined(rows: Array | Ints | Bools, kind: Ints) -> Array:
    """Sums of rows by kind."""
    from scipy.sparse import csr_array

    each = np.arange(len(kind))
    return np.asarray(csr_array((np.ones(len(kind)), (kind, each)), (int(kind.max(initial=-1)) + 1, len(kind))) @ rows)


def _basis(rows: Array) -> Array:
    """Orthonormal rows of the same span."""
    _, s, v = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(v[s > ZERO * max(1.0, s.max(initial=0.0))])


def _null(rows: Array) -> Array:
    """(., columns) what is 0 by every row."""
    _, s, v = np.linalg.svd(rows.T @ rows)
    return np.asarray(v[s <= ZERO**2 * max(1.0, s.max(initial=0.0))])


def _graph(people: Array) -> Ints:
    """People on the edges between places and cells: square, places first."""
    places, cells = people.shape
    weights = np.zeros((places + cells, places + cells), dtype=np.int32)
    weights[:places, places:] = np.round(people)
    weights[places:, :places] = weights[:places, places:].T
    return weights


def _components(edges: Ints) -> Ints:
    from scipy.sparse import csr_array  # which a hospital at rest, and most studies, do not need
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components(csr_array(edges), directed=False)[1], dtype=np.int64)


def _parts(people: Array) -> Ints:
    """The connected part of each cell."""
    return _components(_graph(people))[len(people) :]


def _tied(people: Array, k: float) -> Ints:
    """Of each cell of `people` (places, cells) a label, that only cells which are tied share.

    Cells of few people are tied to none, and what flows through them is left out.
    """
    out = -1 - np.arange(people.shape[1])
    large = np.flatnonzero(people.sum(axis=0) >= k)
    weights, label = _contracted(_graph(people[:, large]), np.arange(len(people) + large.size), k)
    apart = np.eye(len(weights), dtype=bool)  # of nodes: what was looked at stays so when others become one
    while (pair := _next(weights, label[len(people) :], apart)) is not None:
        if _flow(weights, *pair) < k:
            apart[pair] = apart[pair[::-1]] = True
            continue
        node = np.arange(len(weights))
        node[pair[1]] = pair[0]
        before = np.unique(label, return_index=True)[1]
        weights, label = _contracted(*_merged(weights, label, node), k)
        apart = _joined(_joined(apart, label[before]).T, label[before]) > 0
    out[large] = label[len(people) :]
    return out


def _next(weights: Ints, cells: Ints, apart: Bools) -> tuple[int, int] | None:
    """Two nodes with cells in them that were not looked at, the largest first."""
    nodes = np.unique(cells)
    nodes = nodes[np.argsort(-weights[nodes].sum(axis=1), kind="stable")]
    found = np.argwhere(~apart[np.ix_(nodes, nodes)])
    return None if not found.size else (int(nodes[found[0, 0]]), int(nodes[found[0, 1]]))


def _merged(weights: Ints, label: Ints, node: Ints) -> tuple[Ints, Ints]:
    """The graph with nodes of the same number as one, and the new label of what had one."""
    number = np.unique(node, return_inverse=True)[1].ravel()
    joined = _joined(_joined(weights, number).T, number)
    np.fill_diagonal(joined, 0)
    return joined.astype(np.int32), number[label]


def _contracted(weights: Ints, label: Ints, k: float) -> tuple[Ints, Ints]:
    """The graph with nodes that share k people as one."""
    while (weights >= k).any():
        weights, label = _merged(weights, label, _components(weights * (weights >= k)))
    return weights, label


def _flow(weights: Ints, one: int, other: int) -> float:
    """People on the least cut between two nodes."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    return float(maximum_flow(csr_array(weights), one, other).flow_value)
