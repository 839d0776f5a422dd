"""The public ladder of times on which curves are drawn, and where it ends.

A ladder is a grid of cells (left, right] that is known before any data: steps of `ground.width`, and the times at
which a study reports. Where the study names no horizon, the hospitals find a round one: the first of 1, 2, 4, ...
steps beyond which fewer than k people were followed. Exact times never leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from confrere.errors import DataError, ModelError
from confrere.rounds import Array, Cells, Ints
from confrere.study.ground import Ground

SAME = 24  # cells of the same width, two years of months
DOUBLINGS = 12  # 30 days x 2^11: more than a century and a half


def doublings(ground: Ground) -> Array:
    """Right edges of the coarse ladder by which the horizon is found: (DOUBLINGS,), in units of time."""
    return np.asarray(Ground(unit=ground.unit).width * 2.0 ** np.arange(DOUBLINGS))


def span_cells(time: Array, ground: Ground) -> Cells:
    """Everybody's exit on the coarse ladder."""
    edges = doublings(ground)
    index = np.minimum(np.searchsorted(edges, time, side="left"), DOUBLINGS - 1)
    return Cells(index, (1, DOUBLINGS), rule="show")


def horizon_of(grid: Ints, ground: Ground) -> float:
    """Where the ladder ends: the right edge of the last coarse cell in which at least k people exit."""
    if ground.horizon is not None:
        return ground.horizon
    shown = np.flatnonzero(grid[0] >= 0)
    if shown.size == 0:
        raise ModelError("too few people exit in any stretch of time for a curve: ask more hospitals")
    return float(doublings(ground)[shown[-1]])


def ladder(ground: Ground, horizon: float, most: int) -> tuple[float, ...]:
    """Right edges of the cells up to the horizon, at most about `most`; the last cell is open to the right.

    Where the study writes no step, cells double after every 24 (where fewer are at risk, finer ones would be merged
    anyway). All steps are widened (2, 3, 4, ... times the finest) until there are at most `most`: a long ladder
    spends the budget of numbers.
    """
    times = 1
    edges = _steps(ground, horizon, times)
    while len(edges) > max(most, 1) and not ground.fine:
        times += 1
        edges = _steps(ground, horizon, times)
    marks = [m for m in ground.marks if m > 0]
    if not ground.fine and (close := [m for m, n in pairwise(marks) if n - m < ground.width * (1 - 1e-9)]):
        raise ModelError(
            f"reporting times lie less than {ground.width:g} {ground.unit} apart, the finest step that needs no "
            f"approval: leave out {close[0]:g}, or the one after it"
        )
    marked = np.unique(np.concatenate([edges, marks]))
    return tuple(float(e) for e in marked)


def _steps(ground: Ground, horizon: float, times: int) -> Array:
    """Right edges of steps of `times` the width, up to the horizon."""
    width = ground.width * times
    if ground.fine or ground.step is not None:
        return np.asarray(width * np.arange(1, int(np.ceil(horizon / width - 1e-9)) + 1))
    edges: list[float] = []
    while not edges or edges[-1] < horizon - 1e-9:
        edges.append((edges[-1] if edges else 0.0) + width * 2 ** (len(edges) // SAME))
    return np.array(edges)


def cell_of(time: Array, edges: Sequence[float]) -> Ints:
    """Cell (left, right] of each time (n,); 0 lies in the first, what is beyond the last edge in one more."""
    return np.asarray(np.searchsorted(np.array(edges), time, side="left"), dtype=np.int64)


def spent(left: Sequence[float] | Array, right: Sequence[float] | Array, until: Array) -> Array:
    """The time (n, cells) in each cell between these edges, of times from 0 until `until` (n,)."""
    begins = np.asarray(left, dtype=float)
    return np.asarray(np.clip(until[:, None], begins, right) - begins)


def check_on_grid(time: Array, ground: Ground) -> None:
    """Exact times must lie on the grid of the study."""
    off = np.abs(time / ground.width - np.round(time / ground.width)) > 1e-9
    if bad := int(off.sum()):
        raise DataError(
            f"{bad} times do not lie on the grid of {ground.width:g} {ground.unit} that exact times need. "
            f"Set time_step to the unit in which times are recorded, or do without fine_times"
        )
