"""The best split of each node of a tree, from its sums over bins.

Chen & Guestrin, XGBoost, KDD 2016, equation 7 and algorithm 3: for every feature and cut, people without a value go
left, then right, and the gain is GL^2/(HL + lambda) + GR^2/(HR + lambda) - G^2/(H + lambda). The first of the best
wins: all hospitals come to the same tree, since the sums are whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.learning.kernels import compiler
from confrere.rounds import Array, Bools, Ints

SMALL = 1e-6  # a gain that is none


class Cells(NamedTuple):
    """Sums over the bins of nodes, (m, p, width); the last bin is for who has no value."""

    g: Array
    h: Array
    n: Array  # people, or what says at least how many there are

    def rows(self, at: Ints | Bools) -> Cells:
        """Some of the nodes."""
        return Cells(self.g[at], self.h[at], self.n[at])

    @property
    def totals(self) -> tuple[Array, Array]:
        """G and H (m,) of each node: every feature has everybody."""
        return self.g[:, 0].sum(axis=1), self.h[:, 0].sum(axis=1)


@dataclass(frozen=True)
class Rules:
    """Which splits there may be.

    penalty  lambda on leaf values, in units of H
    gain     the least gain, XGBoost's gamma
    hessian  least H of a child; people  least n of a child
    allowed  (p,) features that may be used; monotone (p,) 1, -1 or 0
    """

    penalty: float
    gain: float
    hessian: float
    people: float
    allowed: Bools
    monotone: Ints


class Best(NamedTuple):
    """The best split of each node (m,): -1 as its feature where there is none."""

    feature: Ints
    cut: Ints  # the last bin that goes left
    default: Ints  # 1 if people without a value go left
    gain: Array
    left: Array  # (m, 2) G and H of the left child
    right: Array  # (m, 2)


def best(cells: Cells, rules: Rules, low: Array, high: Array) -> Best:
    """The best split of each node. `low` and `high` (m,) bound the leaf values that monotone features leave.

    All hospitals must find the same: the compiled loop and numpy give the same bits.
    """
    loop = _loop()
    if loop is None:
        return slow_best(cells, rules, low, high)
    m = len(cells.g)
    where, gain, sides = np.full((m, 3), -1, dtype=np.int64), np.full(m, -np.inf), np.zeros((m, 2, 2))
    limits = np.array([rules.penalty, rules.hessian, rules.people, max(rules.gain, SMALL)])
    sums = tuple(np.ascontiguousarray(s) for s in cells)
    loop(sums, limits, (rules.allowed, rules.monotone), (low, high), (where, gain, sides))
    return Best(where[:, 0], where[:, 1], where[:, 2], gain, sides[:, 0], sides[:, 1])


def slow_best(cells: Cells, rules: Rules, low: Array, high: Array) -> Best:
    """The twin of `best` in numpy."""
    right = _best(cells, rules, 0, low, high)
    if not (cells.h[..., -1].any() or cells.n[..., -1].any()):  # nobody misses a value
        return right
    return _better(right, _best(cells, rules, 1, low, high))


def _better(a: Best, b: Best) -> Best:
    second = b.gain > a.gain
    pick = (np.where(second if x.ndim == 1 else second[:, None], y, x) for x, y in zip(a, b, strict=True))
    return Best._make(pick)


def _best(cells: Cells, rules: Rules, default: int, low: Array, high: Array) -> Best:
    """The best split of each node where people without a value all go left (`default` 1) or right."""
    sums = np.stack([cells.g, cells.h, cells.n])  # (3, m, p, width)
    total = sums.sum(axis=3, keepdims=True)
    left = np.cumsum(sums[..., :-2], axis=3)  # a cut after the last bin parts nobody
    if default:
        left = left + sums[..., -1:]
    right = total - left
    fits = (np.minimum(left[1], right[1]) >= rules.hessian) & (np.minimum(left[2], right[2]) >= rules.people)
    fits &= rules.allowed[None, :, None]
    bounds = low[:, None, None], high[:, None, None]
    values = [_value(side, rules.penalty, *bounds) for side in (left, right)]
    turn = rules.monotone[None, :, None]
    fits &= (turn == 0) | (turn * (values[1] - values[0]) >= 0)
    gains = [_worth(side, value, rules.penalty) for side, value in zip((left, right), values, strict=True)]
    whole = _worth(total, _value(total, rules.penalty, *bounds), rules.penalty)
    gain = np.where(fits, gains[0] + gains[1] - whole, -np.inf).reshape(len(cells.g), -1)
    at = gain.argmax(axis=1)
    rows, width = np.arange(len(at)), left.shape[3]
    top = gain[rows, at]
    feature, cut = at // max(1, width), at % max(1, width)
    sides = [side[:2, rows, feature, cut].T for side in (left, right)]
    good = top > max(rules.gain, SMALL)
    way = np.full(len(at), default)
    return Best(np.where(good, feature, -1), cut, way, np.where(good, top, -np.inf), *sides)


def _value(side: Array, penalty: float, low: Array, high: Array) -> Array:
    return np.asarray(np.clip(leaf(side[0], side[1], penalty), low, high))


def _worth(side: Array, value: Array, penalty: float) -> Array:
    """What a leaf of a value is worth: G^2/(H + lambda) for the best one."""
    return np.asarray(-(2 * side[0] * value + (side[1] + penalty) * value**2))


def leaf(g: Array, h: Array, penalty: float) -> Array:
    """The best value of a leaf, -G/(H + lambda); 0 of nobody."""
    scale = np.asarray(h + penalty)
    return np.asarray(np.where(scale > 0, -g / np.where(scale > 0, scale, 1.0), 0.0))


@cache
def _loop() -> Callable[..., None] | None:
    """The compiled loop over nodes, features and cuts; None without numba."""
    compiled = compiler()
    return None if compiled is None else compiled(_searched)


def _searched(sums: Any, limits: Any, features: Any, bounds: Any, found: Any) -> None:
    """`limits` are the penalty, the least Hessian, people and gain; `found` is filled as `Best` has it.

    What a leaf is worth stands here as in `leaf` and `_worth`, with the same roundings.
    """
    g, h, n = sums
    allowed, monotone = features
    where, gain, sides = found
    m, p, width = g.shape
    penalty, least, people, small = limits
    for i in range(m):
        low, high = bounds[0][i], bounds[1][i]
        for default in range(2):  # people without a value go right; or left, where that is better
            top = max(gain[i], small)
            for j in range(p):
                gl, hl, nl = (
                    (g[i, j, width - 1], h[i, j, width - 1], n[i, j, width - 1]) if default else (0.0, 0.0, 0.0)
                )
                if not allowed[j] or (default and hl == 0 and nl == 0):
                    continue
                ga, ha, na = g[i, j].sum(), h[i, j].sum(), n[i, j].sum()
                value = min(max(-ga / (ha + penalty), low), high) if ha + penalty > 0 else 0.0
                whole = -(2 * ga * value + (ha + penalty) * (value * value))
                for c in range(width - 2):
                    gl, hl, nl = gl + g[i, j, c], hl + h[i, j, c], nl + n[i, j, c]
                    gr, hr = ga - gl, ha - hl
                    if min(hl, hr) < least or min(nl, na - nl) < people or min(hl, hr) + penalty <= 0:
                        continue
                    left = min(max(-gl / (hl + penalty), low), high)
                    right = min(max(-gr / (hr + penalty), low), high)
                    worth_l = -(2 * gl * left + (hl + penalty) * (left * left))
                    worth_r = -(2 * gr * right + (hr + penalty) * (right * right))
                    better = worth_l + worth_r - whole
                    if better > top and monotone[j] * (right - left) >= 0:
                        top = gain[i] = better
                        where[i, 0], where[i, 1], where[i, 2] = j, c, default
                        sides[i, 0, 0], sides[i, 0, 1], sides[i, 1, 0], sides[i, 1, 1] = gl, hl, gr, hr
