"""Spline bases whose knots and bounds are given, so that every hospital computes the same columns.

`natural` is R's `splines::ns` (2022, R 4.2): cubic B-splines with second derivative zero at both bounds,
linear outside them. The constraint is taken out with the full Q of a Householder QR of the second
derivatives, which is what makes the columns, and not only their span, equal R's.
`b_spline` is R's `splines::bs` (de Boor, A Practical Guide to Splines, 1978, IX).
`cubic_regression` is mgcv's "cr" without constraint: column j is the natural cubic spline that is 1 at knot j
and 0 at the others (Wood, Generalized Additive Models, 2017, 5.3.1); the columns add up to 1.

A row that is NaN stays NaN in every column. All arrays are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def b_spline(x: Array, knots: Sequence[float], bounds: tuple[float, float], degree: int, full: bool) -> Array:
    """(N,) -> (N, len(knots) + degree [+ 1 if full]). Outside the bounds the end polynomials go on."""
    low, high = bounds
    ends = degree + 1
    basis = _pieces(np.array([low] * ends + sorted(knots) + [high] * ends), degree)(x)
    return np.asarray(basis if full else basis[:, 1:], dtype=np.float64)


def natural(x: Array, knots: Sequence[float], bounds: tuple[float, float], full: bool) -> Array:
    """(N,) -> (N, len(knots) + 1 [+ 1 if full]), column by column equal to R's ns()."""
    low, high = bounds
    pieces = _pieces(np.array([low] * 4 + sorted(knots) + [high] * 4), 3)
    inside = np.clip(x, low, high)
    # Outside the bounds: the tangent at the bound, as the spline is linear there.
    basis = pieces(inside) + (x - inside)[:, None] * pieces(inside, 1)
    bend = pieces(np.array([low, high]), 2)
    if not full:
        basis, bend = basis[:, 1:], bend[:, 1:]
    q, _ = np.linalg.qr(bend.T, mode="complete")
    return np.asarray(basis @ q[:, 2:], dtype=np.float64)


def cubic_regression(x: Array, knots: Sequence[float], bounds: tuple[float, float]) -> Array:
    """(N,) -> (N, len(knots) + 2), one column per knot and bound; linear outside the bounds."""
    from scipy.interpolate import CubicSpline

    low, high = bounds
    at = np.array([low, *sorted(knots), high])
    cardinal = CubicSpline(at, np.eye(len(at)), bc_type="natural")
    inside = np.clip(x, low, high)
    return np.asarray(cardinal(inside) + (x - inside)[:, None] * cardinal(inside, 1), dtype=np.float64)


def _pieces(knots: Array, degree: int) -> Any:
    """All B-splines over `knots` at once: called with (x, order of derivative), gives (N, K)."""
    from scipy.interpolate import BSpline

    return BSpline(knots, np.eye(len(knots) - degree - 1), degree, extrapolate=True)
