"""Whom sums over two partitions of the same people tell apart, when both are told.

Everybody is in a place before and in a place now. Sums over the places are sums over the edges of a bipartite graph:
an edge (before, now) carries the people who went that way. A combination of the sums is worth the same for all people
of an edge; it rests on those edges whose two ends it values differently: a cut. So the fewest people on whom any
combination rests are those of the least cut that is not empty, by Menger's theorem the least flow between two places
of a connected part (Ahuja, Magnanti & Orlin, Network Flows, 1993, theorem 6.4). A place of few people is a cut as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from confrere.rounds import Array, Cells, Ints

ABSENT = 0.5  # of a person


def fewest(table: Array, enough: float = np.inf) -> float:
    """The fewest people on whom a combination of sums by place rests; infinite for nobody. `table` (before, now).

    Where it is seen at once that they are `enough` or more, that is said: `enough`.
    """
    from scipy.sparse import csr_array  # which a hospital at rest, and most studies, do not need
    from scipy.sparse.csgraph import connected_components, maximum_flow

    before, now = table.shape
    weights = np.zeros((before + now, before + now), dtype=np.int32)
    weights[:before, before:] = np.round(table)
    weights[before:, :before] = weights[:before, before:].T
    parts, part = connected_components(csr_array(weights), directed=False)
    if connected_components(csr_array(weights * (weights >= enough)), directed=False)[0] == parts and weights.any():
        return enough  # every cut crosses an edge of so many
    least, graph = np.inf, csr_array(weights)
    for one in np.unique(part[weights.any(axis=1)]):
        first, *others = np.flatnonzero(part == one)
        least = min(least, *(maximum_flow(graph, int(first), int(other)).flow_value for other in others))
    return float(least)


def told(
    family: Mapping[str, Cells], tables: Mapping[str, Array], k: int, weighed: Array, effective: float
) -> dict[str, Ints]:
    """The grids of cells of the rule `moved`: each to its place now; all -1 where what they tell rests on under k.

    Or on an effective number under `effective`, by the sums of weights of all hospitals `weighed` (3, cells).
    """
    whole, square, few = weighed
    pairs = (pair for name, c in family.items() for pair in tables[name].reshape(c.shape[0], -1, c.bound))
    silent = k > 0 and any(fewest(pair, k) < k for pair in pairs)
    silent |= bool(few.any() or (np.square(whole) < effective * square * (1 - 1e-9)).any())
    place = {name: np.arange(c.shape[1], dtype=np.int64) % c.bound for name, c in family.items()}
    return {
        name: np.tile(np.full_like(p, -1) if silent else p, (family[name].shape[0], 1)) for name, p in place.items()
    }


def carried(families: Iterable[Cells], here: float) -> Array:
    """Of cells that people enter with weights a: sums of a and of a^2, and 1 if a few carry the cell here (3, cells).

    A few are an effective number (sum a)^2 / sum a^2 under `here`. Under half a person, the cell has nobody here.
    """
    weights = [c.weights for c in families if c.weights is not None]
    whole, square = (np.concatenate([*(w.sum(axis=0) for w in of), []]) for of in (weights, [w**2 for w in weights]))
    few = (whole >= ABSENT) & (np.square(whole) < here * square * (1 - 1e-9))
    return np.stack([whole, square, few.astype(float)])


def joined(cells: Cells, counts: Ints) -> Ints:
    """A hospital's own people by group; by place now where the rule is `moved`, by cell where it is one of sets."""
    if cells.rule in ("known", "beside"):
        return np.asarray(counts.reshape(cells.shape).sum(axis=0))
    return np.asarray(counts.reshape(cells.shape[0], -1, cells.bound if cells.rule == "moved" else 1).sum(axis=1))
