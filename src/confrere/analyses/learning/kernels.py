"""The inner loops of boosted trees: sums over bins of nodes, the way of people down a tree, and exponentials.

Compiled by numba where it is installed (the extra `learning`), else numpy, which says the same more slowly, and to the
same bits: the sums are of whole numbers, and the exponential is made of additions and multiplications alone, which all
processors round alike (their libraries' own do not agree in the last bit). A person's gradient and Hessian are whole
numbers packed into one of 64 bits, g 2^32 + h with h >= 0, so that one addition adds both (Shi, Ke, Chen et al.,
Quantized training of gradient boosting decision trees, NeurIPS 2022); or two of 64 bits where sums need more room.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import factorial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from confrere.rounds import Array, Ints

Bins = NDArray[np.uint8]
Nodes = NDArray[np.int16]
HALF = 32  # bits of the Hessian
SHIFT = np.uint32(18)  # what is left of a key of 32 bits says its bucket
BUCKETS = 1 << 14
INFINITE = np.uint32(0x7F800000)  # as bits of 32; what is above is no number
BLOCK = 1024  # people at a time, whose numbers fit a processor's cache
FAR = 700.0  # beyond it no exponential is taken
LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)  # in two parts: the first has 33 bits (fdlibm)
TAYLOR = tuple(1.0 / factorial(j) for j in range(13, -1, -1))  # of exp within half of ln 2: error under 1e-17
INVERSE = 1 / np.log(2)
BIAS, MANTISSA = 1023, 52  # of a number of 64 bits: to what its exponent is added, and the bits below it


def packed(g: Array, h: Array, *, wide: bool = False) -> Ints:
    """Whole numbers g and h >= 0 (n,), of which all sums have less than 32 bits, in one of 64; `wide`: (n, 2)."""
    if wide:
        return np.stack([g, h], axis=1).astype(np.int64)
    return (g.astype(np.int64) << HALF) + h.astype(np.int64)


def unpacked(total: Ints, *, wide: bool = False) -> tuple[Ints, Ints]:
    """The sums of g and of h in sums of `packed`."""
    if wide:
        return total[..., 0], total[..., 1]
    return total >> HALF, total & ((1 << HALF) - 1)  # h >= 0 borrows nothing from g


def histograms(bins: Bins, node: Nodes, packs: Ints, slot: Ints, width: int, splits: Ints | None = None) -> Ints:
    """Sums of `packs` (n,) or (n, 2) over bins of nodes: (m, p, width) or (m, p, width, 2), m the slots in use.

    bins (n, p), node (n,) of each person; slot (nodes,) the place of a node, -1 if it is not asked about. With `splits`
    everybody is moved down first, as `descend` does.
    """
    many = int(slot.max(initial=-1)) + 1
    out = np.zeros((many, bins.shape[1], width, *packs.shape[1:]), dtype=np.int64)
    if many and splits is not None and packs.ndim == 1:  # at once: what is read of a person's bins is read again
        _loops().moved(bins, node, packs, slot, splits, out)
        return out
    if splits is not None:
        descend(bins, node, splits, width - 1)
    if many:
        _loops().histograms(bins, node, packs, slot, out)
    return out


def descend(bins: Bins, node: Nodes, splits: Ints, missing: int) -> None:
    """Move everybody in a node that is split to the child, in place. `splits` (nodes, 3): feature or -1, last bin to
    the left, whether `missing` (a bin) goes left. Children of node j are 2 j + 1 and 2 j + 2."""
    _loops().descend(bins, node, splits, missing)


def added(x: NDArray[np.float32], trees: tuple[Any, ...], out: Array) -> None:
    """Add to scores (n, classes), in place, the leaf of each person x (n, p) in each tree, of one class after another.

    trees are (trees, nodes) features (-1 in leaves), cuts (32 bits), whether NaN goes left, and values.
    """
    _loops().added(np.ascontiguousarray(x), *trees, out)


def places(values: Array, edges: NDArray[np.float32], missing: int) -> NDArray[np.int32]:
    """How many edges (m,), in order, are at or below each value (n,) as a number of 32 bits; `missing` where NaN."""
    out = np.empty(len(values), dtype=np.int32)
    _loops().places(values, edges, missing, out)
    return out


def exponential(x: Array) -> Array:
    """exp of numbers of any shape, beyond 700 as of 700: the same bits on every machine, to 1 in the last place."""
    out = np.empty(x.size)
    _loops().exponential(x.ravel(), out)
    return out.reshape(x.shape)


def logistic(score: Array, y: Array, scale: tuple[int, int], out: Ints) -> None:
    """Write to `out` (n,) the `packed` slopes of the log loss at scores (n,) of outcomes y (n,), 0 or 1: g = p - y and
    h = p (1 - p), times two to the powers of `scale`, to the nearest whole numbers."""
    _loops().logistic(score, y, *np.ldexp(1.0, scale), out)


def step(score: Array, node: Nodes, values: Array) -> None:
    """Add to each score (n,), in place, the value of the person's node."""
    _loops().step(score, node, values)


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
    for j in range(bins.shape[1]):
        np.add.at(out[:, j], (at[rows], bins[rows, j].astype(np.int64)), packs[rows])


def _slow_moved(bins: Bins, node: Nodes, packs: Ints, slot: Ints, splits: Ints, out: Ints) -> None:
    _slow_descend(bins, node, splits, out.shape[2] - 1)
    _slow_histograms(bins, node, packs, slot, out)


def _slow_descend(bins: Bins, node: Nodes, splits: Ints, missing: int) -> None:
    feature, cut, default = splits[node].T
    rows = np.flatnonzero(feature >= 0)
    value = bins[rows, feature[rows]]
    left = np.where(value == missing, default[rows] > 0, value <= cut[rows])
    node[rows] = 2 * node[rows] + np.where(left, 1, 2)


def _slow_exponential(x: Array, out: Array) -> None:
    x = np.clip(x, -FAR, FAR)
    k = np.rint(x * INVERSE)
    rest = (x - k * LN2[0]) - k * LN2[1]
    made = np.full_like(x, TAYLOR[0])
    for c in TAYLOR[1:]:
        made = made * rest + c
    out[:] = made * np.ldexp(1.0, k.astype(np.int64))


def _slow_logistic(score: Array, y: Array, of_g: float, of_h: float, out: Ints) -> None:
    odds = np.empty_like(score)
    _slow_exponential(-score, odds)
    p = 1.0 / (1.0 + odds)
    out[:] = packed(np.rint((p - y) * of_g), np.rint(p * (1 - p) * of_h))


def _slow_step(score: Array, node: Nodes, values: Array) -> None:
    score += values[node]


def _slow_added(x: Any, feature: Any, cut: Any, default: Any, value: Any, out: Array) -> None:
    for t in range(len(feature)):
        node = np.zeros(len(x), dtype=np.int64)
        while (rows := np.flatnonzero(feature[t, node] >= 0)).size:
            at, known = node[rows], x[rows, feature[t, node[rows]]]
            left = np.where(np.isnan(known), default[t, at] > 0, known < cut[t, at])
            node[rows] = 2 * at + np.where(left, 1, 2)
        out[:, t % out.shape[1]] += value[t, node]


class Loops(NamedTuple):
    """The loops, compiled or not."""

    histograms: Callable[..., None]
    moved: Callable[..., None]
    descend: Callable[..., None]
    places: Callable[..., None]
    exponential: Callable[..., None]
    logistic: Callable[..., None]
    step: Callable[..., None]
    added: Callable[..., None]


SLOW = Loops(
    _slow_histograms, _slow_moved, _slow_descend, _slow_places, _slow_exponential, _slow_logistic, _slow_step,
    _slow_added,
)  # fmt: skip


@cache
def _loops() -> Loops:
    """The loops, compiled if numba is there."""
    compiled = compiler()
    if compiled is None:
        return SLOW
    narrow, wide, down, led = (compiled(loop) for loop in (_narrow, _wide, _down, _led))
    looked_up = compiled(_looked_up)

    def ways(splits: Ints, missing: int) -> tuple[Any, ...]:
        feature, child = np.empty(len(splits), np.uint64), np.empty((len(splits), missing + 1), np.int16)
        led(splits, feature, child)
        return feature, child

    def histograms(bins: Bins, node: Nodes, packs: Ints, slot: Ints, out: Ints) -> None:
        if packs.ndim == 1:
            narrow(bins, node, packs, slot, ways(np.empty((0, 3), np.int64), 0), out)
        else:
            wide(bins, node, packs, slot, out)

    def moved(bins: Bins, node: Nodes, packs: Ints, slot: Ints, splits: Ints, out: Ints) -> None:
        narrow(bins, node, packs, slot, ways(splits, out.shape[2] - 1), out)

    def descend(bins: Bins, node: Nodes, splits: Ints, missing: int) -> None:
        down(bins, node, *ways(splits, missing))

    def places(values: Array, edges: NDArray[np.float32], missing: int, out: Any) -> None:
        """Numbers of a bucket share their leading bits: few edges of a ladder lie in one."""
        with np.errstate(over="ignore"):
            short = values.astype(np.float32)
        ordered = _keys(edges)
        starts = np.searchsorted(ordered >> SHIFT, np.arange(BUCKETS + 1)).astype(np.int32)
        looked_up(short.view(np.uint32), ordered, starts, missing, out)

    rest = (compiled(loop) for loop in (_raised, _sloped, _stepped, _added))
    return Loops(histograms, moved, descend, places, *rest)


def compiler() -> Callable[..., Any] | None:
    """What compiles a loop, without reordering or fusing what it computes; None where numba is not installed."""
    try:
        from numba import njit
    except ImportError:
        return None
    return cast(Callable[..., Any], njit(nogil=True, cache=True, fastmath=False, error_model="numpy"))


# As numba compiles them -----------------------------------------------------------------------------------------


def _narrow(bins: Any, node: Any, packs: Any, slot: Any, ways: Any, out: Any) -> None:
    feature, child = ways
    p, width = np.uint64(bins.shape[1]), np.uint64(out.shape[2])
    flat, cells, leads, moves = bins.reshape(-1), out.reshape(-1), child.reshape(-1), feature.size > 0
    rows, starts = np.empty(BLOCK, dtype=np.uint64), np.empty(BLOCK, dtype=np.uint64)
    for low in range(0, node.size, BLOCK):
        many, high = 0, min(node.size, low + BLOCK)
        for i in range(np.uint64(low), np.uint64(high)):  # who is asked about, without a branch, which no processor
            at = np.uint64(node[i])  # could foresee
            if moves:  # as `_down`
                node[i] = leads[at * width + np.uint64(flat[i * p + feature[at]])]
            place = slot[node[i]]
            rows[many], starts[many] = i, np.uint64(place) * p * width
            many += place >= 0
        for r in range(many):
            cell, at, v = starts[r], rows[r] * p, packs[rows[r]]
            for _ in range(p):
                cells[cell + np.uint64(flat[at])] += v
                cell += width
                at += np.uint64(1)


def _wide(bins: Any, node: Any, packs: Any, slot: Any, out: Any) -> None:
    n, p = bins.shape
    for i in range(n):
        s = slot[node[i]]
        if s >= 0:
            g, h = packs[i, 0], packs[i, 1]
            for j in range(p):
                b = bins[i, j]
                out[s, j, b, 0] += g
                out[s, j, b, 1] += h


def _led(splits: Any, feature: Any, child: Any) -> None:
    missing = child.shape[1] - 1
    for j in range(splits.shape[0]):  # where each bin of a node leads, so that people need no branch, as above
        for value in range(missing + 1):
            left = splits[j, 2] > 0 if value == missing else value <= splits[j, 1]
            child[j, value] = 2 * j + 2 - left if splits[j, 0] >= 0 else j
        feature[j] = max(0, splits[j, 0])


def _down(bins: Any, node: Any, feature: Any, child: Any) -> None:
    p, flat, leads, width = np.uint64(bins.shape[1]), bins.reshape(-1), child.reshape(-1), np.uint64(child.shape[1])
    for i in range(np.uint64(node.size)):
        at = np.uint64(node[i])
        node[i] = leads[at * width + np.uint64(flat[i * p + feature[at]])]


def _added(x: Any, feature: Any, cut: Any, default: Any, value: Any, out: Any) -> None:
    flat, (n, p), classes = x.reshape(-1), x.shape, out.shape[1]
    at = np.empty(BLOCK, dtype=np.uint64)
    for low in range(0, n, BLOCK):
        many = min(n, low + BLOCK) - low
        for t in range(feature.shape[0]):  # one tree at a time, level by level, for people who do not wait for another
            features, cuts, defaults, reached = feature[t], cut[t], default[t], 1
            at[:many] = 0
            while reached < feature.shape[1]:  # by the nodes of this level and those above it
                for r in range(many):
                    node = at[r]
                    split = features[node] >= 0
                    known = flat[np.uint64((low + r) * p + features[node] * split)]
                    left = (known < cuts[node]) | ((known != known) & (defaults[node] > 0))
                    at[r] = node + np.uint64(split) * (node + np.uint64(2) - np.uint64(left))
                reached = 2 * reached + 1
            for r in range(many):
                out[low + r, t % classes] += value[t, at[r]]


def _looked_up(bits: Any, edges: Any, starts: Any, missing: Any, out: Any) -> None:
    sign = np.uint32(1 << 31)
    for i in range(bits.size):
        one = bits[i]
        if one & ~sign > INFINITE:
            out[i] = missing
            continue
        key = one | sign if one < sign or one == sign else ~one  # as `_keys`, where -0 is 0
        bucket = key >> SHIFT
        low, high = starts[bucket], starts[bucket + 1]
        while low < high and edges[low] <= key:
            low += 1
        out[i] = low


def _raised(x: Any, out: Any) -> None:
    for i in range(x.size):
        one = min(max(x[i], -FAR), FAR)
        k = np.rint(one * INVERSE)
        rest = (one - k * LN2[0]) - k * LN2[1]
        made = TAYLOR[0]
        for j in range(1, len(TAYLOR)):
            made = made * rest + TAYLOR[j]
        out[i] = made * np.int64((np.int64(k) + BIAS) << MANTISSA).view(np.float64)  # times 2^k


def _sloped(score: Any, y: Any, of_g: Any, of_h: Any, out: Any) -> None:
    for i in range(score.size):  # as `_raised` and then `_slow_logistic`, without memory in between
        one = min(max(-score[i], -FAR), FAR)
        k = np.rint(one * INVERSE)
        rest = (one - k * LN2[0]) - k * LN2[1]
        made = TAYLOR[0]
        for j in range(1, len(TAYLOR)):
            made = made * rest + TAYLOR[j]
        p = 1.0 / (1.0 + made * np.int64((np.int64(k) + BIAS) << MANTISSA).view(np.float64))
        out[i] = (np.int64(np.rint((p - y[i]) * of_g)) << HALF) + np.int64(np.rint(p * (1 - p) * of_h))


def _stepped(score: Any, node: Any, values: Any) -> None:
    for i in range(score.size):
        score[i] += values[node[i]]
