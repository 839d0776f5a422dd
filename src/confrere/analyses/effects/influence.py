"""Variance of estimates that lean on other estimates, by influence functions over sums (stacked M-estimation).

Targets mu (k,) solve sum U_i(mu, alpha) = 0, where alpha solves the score equations of a model, sum s_i = 0. With
S = -d sum U / d mu, D = d sum U / d alpha and the model's information H, a person moves the targets by

    phi_i = S^-1 (U_i + D H^-1 s_i),      Var(mu) = sum phi_i phi_i'.

Several models add a term each. The hospitals give D once (q numbers per target), are told D H^-1, and give the sum of
squares: two rounds whatever the estimator. A ridge makes the scores add up to its pull and not to 0; each person's
part of it is taken off.

Sources: Stefanski & Boos, Am Stat 2002;56:29; Lunceford & Davidian, Stat Med 2004;23:2937; Shu, Young, Toh & Wang,
Biometrics 2021;77:1101. Matches R `sandwich` on the stacked equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.nuisance import Fitted, Learned, Local, moved
from confrere.rounds import Array

Rows = tuple[tuple[float, ...], ...]


class Lean(NamedTuple):
    """How the targets lean on a model; public. `by` (k, q) is D H^-1, `ridge` (k,) each person's part of the pull."""

    by: Rows
    ridge: tuple[float, ...]


class Through(NamedTuple):
    """A model that targets lean on, in a hospital: its terms x (n, p), and du (n, k), the slope of U by its eta."""

    x: Array
    model: Fitted
    local: Local
    du: Array


def lean_of(learned: Learned, derivative: Array) -> Lean:
    """D H^-1 from the derivative D (k, q) over all hospitals."""
    by, ridge = learned.leans(derivative)
    return Lean(tuple(tuple(row) for row in by.tolist()), tuple(ridge.tolist()))


def influences(u: Array, base: Sequence[float], through: Sequence[tuple[Through, Lean]]) -> Array:
    """phi (n, k): what each person moves the targets by. U (n, k) at the estimates; `base` (k,) is S."""
    phi = u.copy()
    for t, lean in through:
        phi += moved(t.x, t.model, t.local, np.array(lean.by), t.du) - np.array(lean.ridge)
    return np.asarray(phi / np.array(base))
