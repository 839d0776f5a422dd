"""What hazards say of people over time: their survival, the weight of those who stay, martingales, and all derivatives.

On cells that end at `breaks` a person has the hazards a_l of the event and b_l of being censored, and is followed for
e_l of each cell. With S = exp(-sum a), K = exp(-sum b) at the ends of cells and u a time within one,

    V_m = 1/K before each moment, summed over the time and the event until cell m       (weights against censoring)
    X_m = dN/(S K) - sum of the integral of a/(S K) over the time followed until m      (martingale, weighted)

Both are sums over cells of exp(what went before), so that their derivatives by a_l and b_l are sums of the same terms:
a hazard early in time multiplies all that follows. Integrals within a cell are exact, of constant hazards.

Sources: Robins & Finkelstein, Biometrics 2000;56:779 (weights); Hubbard, van der Laan & Robins 2000; Bai, Tsiatis &
O'Brien, Biometrics 2013;69:830; Westling, Luedtke, Gilbert & Carone, JASA 2024;119:1541 (the martingale form).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.exponentials import growth
from confrere.analyses.effects.hazards import Rates
from confrere.analyses.ladder import cell_of, spent
from confrere.rounds import Array, Bools, Ints


class Cells(NamedTuple):
    """Public closed cells: where they end and how wide they are, (M,)."""

    breaks: Array
    width: Array

    def of(self, model: Rates) -> Ints:
        """The cell of a model that each cell lies in (M,)."""
        return cell_of(self.breaks, model.edges)


class Stay(NamedTuple):
    """How long people are followed in each cell (n, M); whether they have the event in a cell, as 0 and 1 (n, M)."""

    time: Array
    event: Array


class Walk(NamedTuple):
    """Hazards of people: of the event `a` (n, M), of being censored `b` (n, M); 0 where a model has no part."""

    cells: Cells
    a: Array
    b: Array
    stay: Stay


def cells_of(*edges: tuple[float, ...], end: float = np.inf) -> Cells:
    """The cells between all these edges, up to `end`."""
    breaks = np.unique(np.concatenate([np.array(e) for e in edges]))
    breaks = breaks[breaks <= end]
    return Cells(breaks, np.diff(breaks, prepend=0.0))


def stay_of(time: Array, event: Bools, cells: Cells) -> Stay:
    """How long people who leave at `time` (n,), with an event or not, are followed in each cell."""
    at = cell_of(time, tuple(cells.breaks))
    return Stay(
        spent(cells.breaks - cells.width, cells.breaks, time),
        ((at[:, None] == np.arange(cells.breaks.size)) & event[:, None]).astype(float),
    )


def hazards(relative: Array, stratum: Ints, model: Rates, cells: Cells) -> Array:
    """Hazards (n, M) of people with relative hazards (n,) and strata (n,)."""
    rates = model.rates[:, cells.of(model)]
    return relative[:, None] * rates[stratum if len(rates) > 1 else np.zeros_like(stratum)]


class Grown(NamedTuple):
    """Integrals of exp(sum of hazards) over the time followed in each cell, (n, M).

    `start` is that exponential at the start of the cell, `at` at the event (0 elsewhere), `whole` its integral and
    `slope` the derivative of the integral by the hazard within the cell.
    """

    start: Array
    at: Array
    whole: Array
    slope: Array


def grown(hazard: Array, stay: Stay) -> Grown:
    """Integrals of exp(sum of these hazards (n, M))."""
    x = hazard * stay.time  # of cells that nobody of these reaches nothing matters
    start = np.exp(np.cumsum(x, axis=1) - x)
    first, second = growth(x)
    return Grown(start, stay.event * start * np.exp(x), start * stay.time * first, start * stay.time**2 * second)


def after(values: Array) -> Array:
    """Sums over all later cells (n, M)."""
    return np.asarray(np.cumsum(values[:, ::-1], axis=1)[:, ::-1] - values)


class Weighing(NamedTuple):
    """A sum over cells of V, by person (n,), and b times its derivative by b (n, M)."""

    value: Array
    by_b: Array


def weighing(walk: Walk, grow: Grown, time: Array, event: Array) -> Weighing:
    """The sum over cells of `time` (n, M) per weighted time, and of `event` (n, M) per weighted event."""
    each = time * grow.whole + event * grow.at
    by = walk.stay.time * (after(each) + event * grow.at) + time * grow.slope
    return Weighing(each.sum(axis=1), walk.b * by)


def martingale(walk: Walk, grow: Grown) -> Array:
    """X at the end of each cell (n, M); `grow` is of a + b."""
    return np.asarray(np.cumsum(grow.at - walk.a * grow.whole, axis=1))


def survival(walk: Walk) -> Array:
    """S at the end of each cell (n, M)."""
    return np.exp(-np.cumsum(walk.a * walk.cells.width, axis=1))


class Curves(NamedTuple):
    """Of sum over m of L_m S_m (h - w X_m): a times its derivative by a, b times that by b, (n, M) each."""

    by_a: Array
    by_b: Array


def curve_slopes(walk: Walk, along: Array, h: Array, w: Array, grow: Grown | None) -> Curves:
    """Derivatives of a functional L = `along` (M,) of augmented survival; h and w (n,). No X without `grow`."""
    s = survival(walk) * along
    plain = s * h[:, None]
    if grow is not None:
        plain -= s * w[:, None] * martingale(walk, grow)
    by_a = -walk.cells.width * (after(plain) + plain)
    if grow is None:
        return Curves(walk.a * by_a, np.zeros_like(by_a))
    falls = after(s) + s
    each = (grow.at - walk.a * grow.whole) * falls
    lasting = walk.stay.time * (after(each) + grow.at * falls)
    inside = walk.a * grow.slope * falls
    by_a -= w[:, None] * (lasting - grow.whole * falls - inside)
    by_b = -w[:, None] * (lasting - inside)
    return Curves(walk.a * by_a, walk.b * by_b)


def by_model(values: Array, x: Array, model: Rates, of: tuple[int, Cells]) -> Array:
    """Derivatives by log rates and coefficients (S J + p,), from those by people's log hazards in cells, values (n, M).

    `of` are the arm that the people are in, or are as if in, and the cells; x (n, p) their raw terms.
    """
    arm, cells = of
    by_rate = np.zeros_like(model.rates)
    np.add.at(by_rate[arm if len(by_rate) > 1 else 0], cells.of(model), values.sum(axis=0))
    by_beta = model.z.sums(x, values.sum(axis=1)) if model.beta else np.empty(0)
    return np.concatenate([by_rate.ravel(), by_beta])
