"""The best split of each node of a tree, from its sums over bins.

Chen & Guestrin, XGBoost, KDD 2016, equation 7 and algorithm 3: for every feature and cut, people without a value go
left, then right, and the gain is GL^2/(HL + lambda) + GR^2/(HR + lambda) - G^2/(H + lambda). The first of the best
wins: all hospitals come to the same tree, since the sums are whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.rounds import Array, Bools, Ints


class Cells(NamedTuple):
    """Sums over the bins of nodes, (m, p, width); the last bin is for who has no value."""

    g: Array
    h: Array
    n: Array  # people, or what says at least how many there are

    def minus(self, other: Cells) -> Cells:
        """What is left of parents once one child of each is taken away."""
        return Cells(self.g - other.g, self.h - other.h, self.n - other.n)

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
    """The best split of each node. `low` and `high` (m,) bound the leaf values that monotone features leave."""
    right = _best(cells, rules, 0, low, high)
    if not (cells.h[..., -1].any() or cells.n[..., -1].any()):  # nobody misses a value
        return right
    return _better(right, _best(cells, rules, 1, low, high))


def _better(a: Best, b: Best) -> Best:
    second = b.gain > a.gain
    return Best(*(np.where(second if x.ndim == 1 else second[:, None], y, x) for x, y in zip(a, b, strict=True)))


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
    good = top > max(rules.gain, 1e-6)
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
