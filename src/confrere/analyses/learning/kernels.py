"""The inner loops of boosted trees: sums over cells of nodes, and the way of people down a tree.

Compiled by numba where it is installed (the extra `learning`), else numpy, which says the same more slowly; the sums are
of whole numbers, so that both give the same bits. A person's gradient and Hessian are whole numbers packed into one of
64 bits, g 2^32 + h with h >= 0, so that one addition adds both (Shi, Ke, Chen et al., Quantized training of gradient
boosting decision trees, NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confrere.rounds import Array, Ints

Bins = NDArray[np.uint8]
Nodes = NDArray[np.int16]
HALF = 32  # bits of the Hessian
SHIFT = np.uint32(18)  # what is left of a key of 32 bits says its bucket
BUCKETS = 1 << 14


def packed(g: Array, h: Array) -> Ints:
    """Whole numbers g and h >= 0 (n,), each of less than 32 bits, in one of 64."""
    return (g.astype(np.int64) << HALF) + h.astype(np.int64)


def unpacked(total: Ints) -> tuple[Ints, Ints]:
    """The sums of g and of h in sums of `packed`."""
    h = total & ((1 << HALF) - 1)
    return (total - h) >> HALF, h


def histograms(bins: Bins, node: Nodes, packs: Ints, slot: Ints, width: int) -> Ints:
    """Sums of `packs` (n,) over cells of nodes: (m, p, width), m being the number of slots that are filled.

    bins (n, p), node (n,) of each person; slot (nodes,) the place of a node, -1 if it is not asked about.
    """
    many = int(slot.max(initial=-1)) + 1
    out = np.zeros((many, bins.shape[1], width), dtype=np.int64)
    if many:
        _loops()[0](bins, node, packs, slot, out)
    return out


def descend(bins: Bins, node: Nodes, splits: Ints, missing: int) -> None:
    """Move everybody in a node that is split to the child, in place. `splits` (nodes, 3): feature or -1, last bin to
    the left, whether `missing` (a bin) goes left. Children of node j are 2 j + 1 and 2 j + 2."""
    _loops()[1](bins, node, splits, missing)


def places(values: Array, edges: NDArray[np.float32], missing: int) -> NDArray[np.int32]:
    """How many edges (m,), in order, are at or below each value (n,) as a number of 32 bits; `missing` where NaN."""
    out = np.empty(len(values), dtype=np.int32)
    _loops()[2](values, edges, missing, out)
    return out


def _keys(short: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers in the order of numbers of 32 bits; -0 is 0."""
    bits = (short + np.float32(0)).view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))


def _slow_places(values: Array, edges: Any, missing: int, out: Any) -> None:
    with np.errstate(over="ignore"):  # beyond 32 bits a number is infinite, and above all edges
        short = values.astype(np.float32)
    out[:] = np.where(np.isnan(values), missing, np.searchsorted(edges, short, side="right"))


def _slow_histograms(bins: Bins, node: Nodes, packs: Ints, slot: Ints, out: Ints) -> None:
    at = slot[node]
    rows = np.flatnonzero(at >= 0)
    place, size = at[rows] * out.shape[2], out.shape[0] * out.shape[2]
    for j in range(bins.shape[1]):
        cell = place + bins[rows, j]
        for half, unit in ((packs[rows] >> HALF, 1 << HALF), (packs[rows] & ((1 << HALF) - 1), 1)):
            # sums of fewer than 2^21 numbers of 32 bits are exact in floats of 53 bits; blocks keep them few
            for low in range(0, rows.size, 1 << 20):
                part = slice(low, low + (1 << 20))
                added = np.bincount(cell[part], half[part].astype(float), minlength=size)
                out[:, j] += added.astype(np.int64).reshape(out.shape[0], -1) * unit


def _slow_descend(bins: Bins, node: Nodes, splits: Ints, missing: int) -> None:
    feature, cut, default = splits[node].T
    rows = np.flatnonzero(feature >= 0)
    value = bins[rows, feature[rows]]
    left = np.where(value == missing, default[rows] > 0, value <= cut[rows])
    node[rows] = 2 * node[rows] + np.where(left, 1, 2)


@cache
def _loops() -> tuple[Callable[..., Any], ...]:
    """The loops, compiled if numba is there."""
    try:
        from numba import njit
    except ImportError:
        return _slow_histograms, _slow_descend, _slow_places

    def fast_histograms(bins: Any, node: Any, packs: Any, slot: Any, out: Any) -> None:
        n, p = bins.shape
        for i in range(n):
            s = slot[node[i]]
            if s >= 0:
                v = packs[i]
                for j in range(p):
                    out[s, j, bins[i, j]] += v

    def fast_descend(bins: Any, node: Any, splits: Any, missing: Any) -> None:
        for i in range(bins.shape[0]):
            at = node[i]
            feature = splits[at, 0]
            if feature >= 0:
                value = bins[i, feature]
                left = splits[at, 2] > 0 if value == missing else value <= splits[at, 1]
                node[i] = 2 * at + 1 if left else 2 * at + 2

    def search(keys: Any, edges: Any, starts: Any, out: Any) -> None:
        for i in range(keys.size):
            key = keys[i]
            bucket = key >> SHIFT
            low, high = starts[bucket], starts[bucket + 1]
            while low < high and edges[low] <= key:
                low += 1
            out[i] = low

    looked_up = njit(nogil=True, cache=True)(search)

    def fast_places(values: Array, edges: Any, missing: int, out: Any) -> None:
        """Numbers of a bucket share their leading bits: few edges of a ladder lie in one."""
        with np.errstate(over="ignore"):
            short = values.astype(np.float32)
        ordered = _keys(edges)
        starts = np.searchsorted(ordered >> SHIFT, np.arange(BUCKETS + 1)).astype(np.int32)
        looked_up(_keys(short), ordered, starts, out)
        out[np.isnan(short)] = missing

    compiled = njit(nogil=True, cache=True)
    return compiled(fast_histograms), compiled(fast_descend), fast_places
