"""Integrals of exponentials over a stretch in which a hazard is even."""

from __future__ import annotations

import numpy as np

from confrere.rounds import Array

SMALL = 1e-4  # below it the series: its next term is under the rounding of the quotient


def growth(x: Array) -> tuple[Array, Array]:
    """The quotient (exp(x) - 1)/x, the integral of exp(x t) over t from 0 to 1, and its derivative by x; any shape."""
    small = np.abs(x) < SMALL
    safe = np.where(small, 1.0, x)
    first = np.where(small, 1 + x / 2 + x**2 / 6, np.expm1(x) / safe)
    return first, np.where(small, 0.5 + x / 3 + x**2 / 8, (np.exp(x) - first) / safe)
