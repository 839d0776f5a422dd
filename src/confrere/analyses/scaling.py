"""The first ask of a regression: mean and standard deviation of every term over the network.

Fits run on standardised terms, so that fixed-point numbers have one scale, solvers agree to 1e-13 and hospitals
can compare arguments; coefficients are given back in units of the terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from confrere.errors import ModelError
from confrere.rounds import Array, Flow, People, Sum

RAW = 40  # power of two of raw sums: up to 1e25, steps of 1e-12


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


def scales(people: People) -> Scales:
    """The raw moments of a design's columns; the body of a local step."""
    d = people.design
    w = np.ones(d.n) if d.weights is None else d.weights
    raw = {"scale": RAW}
    return Scales(
        people.derived(w.sum(), d.weights, **raw),
        people.derived(w @ d.x, d.weights, **raw),
        people.derived(w @ d.x**2, d.weights, **raw),
    )


def standard(s: Scales, names: Sequence[str]) -> Standard:
    """Mean and SD from raw moments; a term without spread is an error."""
    total = float(s.total.value)
    mean = s.first.value / total
    variance = s.second.value / total - mean**2
    for name, m, v in zip(names, mean, variance, strict=True):
        if v <= 1e-13 * max(m * m, 1e-20):
            raise ModelError(
                f"term {name!r} is constant over all hospitals: nobody differs in it, or none has this level. "
                f"Leave it out, or correct its levels"
            )
    return Standard(tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


Scaled = Flow[Standard]
