"""The first ask of a regression: mean and standard deviation of every term over the network.

Fits run on standardised terms, so that fixed-point numbers have one scale, solvers agree to 1e-13 and hospitals
can compare arguments; coefficients are given back in units of the terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from confrere.errors import ModelError
from confrere.rounds import Array, Bools, People, Sum

BLOCK = 160_000  # numbers at a time
NEAR = 10.0  # standard deviations; beyond, sums over raw terms would lose more than two digits in what is spread
RAW = 40  # power of two of raw sums: up to 1e25, steps of 1e-12
FEW_VALUES = 12  # as to the gate: a column of more different values is a measurement, not a score


class Scales(NamedTuple):
    """Raw moments of the columns (p,), weighted by the case weights."""

    total: Sum  # () sum of weights
    first: Sum  # (p,) sums of x
    second: Sum  # (p,) sums of x^2


class Standard(NamedTuple):
    """Mean and standard deviation of each term (p,), as public arguments of the steps that follow."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def of(self, x: Array) -> Array:
        """Standardised terms (n, p)."""
        return np.asarray((x - np.array(self.mean)) / np.array(self.sd))

    def weighed(self, x: Array, w: Array) -> Iterator[Array]:
        """Standardised terms of raw ones x (n, p) times weights w (n,), a column (n,) at a time: no second table.

        Each is overwritten by the next.
        """
        column = np.empty(len(x))
        for raw, mean, sd in zip(x.T, self.mean, self.sd, strict=True):
            np.subtract(raw, mean, out=column)
            column *= w
            column *= 1 / sd
            yield column

    def times(self, x: Array, beta: Sequence[float]) -> Array:
        """The linear predictor z b (n,) of raw terms x (n, p)."""
        eta, b, terms = np.empty(len(x)), np.array([0.0, *beta]), self._centred
        for rows, part in terms.blocks(x):
            eta[rows] = terms.times(part, b)
        return eta

    def sums(self, x: Array, w: Array) -> Array:
        """z'w (p,) of raw terms x (n, p) and weights w (n,)."""
        terms = self._centred
        total = np.zeros(len(terms.to))
        for rows, part in terms.blocks(x):
            total += terms.sums(part, w[rows])
        return np.asarray((total @ terms.to)[1:])

    def products(self, x: Array, w: Array) -> Array:
        """z'Wz (p, p) of raw terms x (n, p) and weights w (n,)."""
        terms = self._centred
        total = np.zeros_like(terms.to)
        for rows, part in terms.blocks(x):
            total += terms.products(part, w[rows])
        return np.asarray((terms.to.T @ total @ terms.to)[1:, 1:])

    @property
    def _centred(self) -> Centred:
        """Sums over standardised terms from those over raw ones and a column of ones, which is left out in the end."""
        return Centred.of(self.mean, self.sd, intercept=True)


def blocks(x: Array, mean: Sequence[float], sd: Sequence[float], ones: int = 0) -> Iterator[tuple[slice, Array]]:
    """Blocks of people, with their standardised terms (b, p), `ones` columns of ones before them.

    Each is overwritten by the next: a pass over a processor's cache instead of the memory, and no second table. Who
    gets a block may change it.
    """
    p, centre, scale = x.shape[1], np.array(mean), 1 / np.array(sd)
    buffer: Array | None = None
    for rows in stretches(len(x), ones + p):
        if buffer is None:
            buffer = np.empty((rows.stop, ones + p), order="F")
        block = buffer[: rows.stop - rows.start]
        block[:, :ones] = 1.0
        z = block[:, ones:]
        np.subtract(x[rows], centre, out=z)
        np.multiply(z, scale, out=z)
        yield rows, block


class Centred(NamedTuple):
    """Sums over standardised terms z (n, q) from sums over raw ones, or over raw ones `less` their means.

    z = [1, x - less] @ to, the ones if there is an intercept: what is linear or quadratic in z needs no pass over the
    people to standardise them, and none to centre them where no mean is `NEAR` standard deviations from 0 or more.
    """

    less: Array  # (p,)
    to: Array  # (q, q)

    @classmethod
    def of(cls, mean: Sequence[float], sd: Sequence[float], intercept: bool) -> Centred:
        """From means and standard deviations (p,) of the terms."""
        centre, scale, first = np.array(mean, dtype=float), 1 / np.array(sd, dtype=float), int(intercept)
        away = centre * scale
        to = np.diag(np.concatenate([np.ones(first), scale]))
        if intercept and np.abs(away).max(initial=0.0) < NEAR:
            to[0, 1:] = -away
            return cls(np.zeros_like(centre), to)
        return cls(centre, to)

    def blocks(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """Blocks of people (b, p) of raw terms x (n, p), less `less`; not to be changed. See `blocks`."""
        buffer: Array | None = None
        for rows in stretches(*x.shape):
            part = x[rows]
            if self.less.any():
                buffer = np.empty(part.shape, order="F") if buffer is None else buffer
                part = np.subtract(part, self.less, out=buffer[: len(part)])
            yield rows, part

    def times(self, part: Array, beta: Array) -> Array:
        """z b (b,) of a block (b, p) and coefficients (q,)."""
        by = self.to @ beta
        ones = by.size - part.shape[1]
        eta: Array = part @ by[ones:]
        eta += by[:ones].sum()
        return eta

    def sums(self, part: Array, w: Array) -> Array:
        """w'[1, x - less] (q,) of a block; times `to` it is w'z."""
        ones = len(self.to) - part.shape[1]
        return np.concatenate([[w.sum()] * ones, w @ part])

    def products(self, part: Array, w: Array) -> Array:
        """[1, x - less]'W[1, x - less] (q, q) of a block; between `to` and its transpose it is z'Wz."""
        ones = len(self.to) - part.shape[1]
        total = np.empty_like(self.to)
        total[ones:, ones:] = products_of(part, w)
        if ones:
            total[0] = total[:, 0] = self.sums(part, w)
        return total


def stretches(n: int, width: int) -> Iterator[slice]:
    """The rows of n people in stretches of which tables as wide as this stay in a processor's cache."""
    size = max(64, min(n, BLOCK // (width + 1)))
    return (slice(low, min(low + size, n)) for low in range(0, n, size))


def products_of(z: Array, w: Array) -> Array:
    """z'Wz (p, p) of a block z (b, p) and weights w (b,)."""
    least, most = w.min(initial=np.inf), w.max(initial=-np.inf)
    if least == most:  # as at the start of a climb
        return np.asarray(w[0] * (z.T @ z))
    if least < 0:
        return np.asarray((z * w[:, None]).T @ z)
    part = z * np.sqrt(w)[:, None]  # a product with itself is symmetric, and takes half the time
    return np.asarray(part.T @ part)


def scales(people: People) -> Scales:
    """The raw moments of a design's columns; the body of a local step."""
    d = people.design
    w = np.ones(d.n) if d.weights is None else d.weights
    raw = {"scale": RAW}
    return Scales(
        people.derived(w.sum(), d.weights, **raw),
        people.derived(w @ d.x, d.weights, **raw),
        people.derived(squares(d.x, w), d.weights, **raw),
    )


def squares(x: Array, w: Array) -> Array:
    """Sums of w x^2 (p,) of columns x (n, p), one after the other."""
    return np.array([w @ np.square(column) for column in x.T])


def standard(s: Scales, names: Sequence[str]) -> Standard:
    """Mean and SD from raw moments; a term without spread is an error."""
    total = float(s.total.value)
    mean = s.first.value / total
    variance = s.second.value / total - mean**2
    for name, m, v in zip(names, mean, variance, strict=True):
        if v <= 1e-13 * max(m * m, 1e-20):
            raise ModelError(
                f"term {name!r} is constant over all hospitals, or as good as: nobody differs in it, none has this "
                f"level, or it varies too little beside its mean or in its unit. Leave it out, correct its levels, or "
                f"centre and rescale it",
                about="constant-term",
            )
    return Standard(tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def indicators(s: Scales) -> Bools:
    """Which columns (p,) are 0 or 1 for everybody: those equal to their squares."""
    return np.asarray(np.abs(s.first.value - s.second.value) <= 1e-11 * np.abs(s.second.value))


def sides(column: Array) -> dict[str, Bools]:
    """Who of a column (n,) sums of it may tell: nobody, or enough people, are each of these (n,).

    Those off the commonest value here, and off the two commonest: of three values, how many people have each follows
    from their number, sum and sum of squares. Of a measurement those who are not 0 are taken for both.
    """
    values, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    rank = np.empty(values.size, dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(values.size)
    at = rank[place] if values.size <= FEW_VALUES else 2 * (column != 0)
    return {"off its commonest value": at > 0, "off its two commonest values": at > 1}
