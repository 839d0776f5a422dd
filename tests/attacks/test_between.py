"""The statistic of heterogeneity: coordinator and one hospital solve for the effects of the other hospitals.

What they know: their own numbers, every total, and that scores add up to 0. Unknown of each other hospital are its
score U and information V at the common estimate; its own effect is the estimate plus U/V.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.between import LEAST
from confrere.analyses.effects.effect import Effect
from confrere.errors import ModelError
from confrere.testing import LOOSE, fit

Array = np.ndarray
OTHERS = np.array([[1.7, 40.0], [-2.6, 70.0]])  # U and V of two hospitals


def told(others: Array) -> Array:
    """What totals less the colluding hospital's own say of the others: sum of U, of V, and the statistic."""
    u, v = others.T
    return np.array([u.sum(), v.sum(), (u**2 / v).sum()])


def cochran(others: Array) -> Array:
    """What Cochran's own sums would say beside: of weights, of weights and estimates, their squares, and for tau2."""
    u, v = others.T
    return np.array([v.sum(), u.sum(), (u**2 / v).sum(), (v**2).sum()])


UNITS = np.column_stack([np.sqrt(OTHERS[:, 1]), OTHERS[:, 1]])  # a score varies by sqrt(V)


def slopes(view: Callable[[Array], Array]) -> Array:
    """The Jacobian of a view by U and V of the other hospitals, in their units."""
    step, found = 1e-6, []
    for place in np.ndindex(OTHERS.shape):
        move = np.zeros_like(OTHERS)
        move[place] = step * UNITS[place]
        found.append((view(OTHERS + move) - view(OTHERS - move)) / (2 * step))
    return np.array(found).T


def effect_slope() -> Array:
    """The derivative of the first other hospital's own effect, U/V, by U and V of both."""
    u, v = OTHERS[0]
    return np.array([1 / v, -u / v**2, 0.0, 0.0]) * UNITS.ravel()


def left(view: Callable[[Array], Array]) -> float:
    """How much of a hospital's own effect a view leaves open: the part of its slope that no total fixes."""
    _, sizes, rows = np.linalg.svd(slopes(view))
    free = rows[int((sizes > 1e-8 * sizes[0]).sum()) :]
    return float(np.linalg.norm(free @ effect_slope()) / np.linalg.norm(effect_slope()))


def test_a_hospitals_own_effect_stays_open() -> None:
    """Along the direction that is free, another hospital's effect moves by more than a tenth of what anything could."""
    assert left(told) > 0.1


def test_the_control_cochrans_sums_would_tell_it_is_caught() -> None:
    """Four sums fix four unknowns."""
    assert left(cochran) < 1e-6


@pytest.mark.parametrize("hospitals", [1, 2])
def test_two_hospitals_are_not_asked(hospitals: int) -> None:
    """Each would know the other's: the flow ends before the ask."""
    rng, n = np.random.default_rng(1), 600
    x, a = rng.normal(size=n), (rng.random(n) < 0.5).astype(float)
    people = pd.DataFrame({"a": a, "x": x, "y": x + a + rng.normal(size=n)})
    frames = [people.iloc[i::hospitals] for i in range(hospitals)]
    with pytest.raises(ModelError, match=f"at least {LEAST} hospitals"):
        fit(Effect("a", "y", "x", heterogeneity=True), frames, LOOSE)
