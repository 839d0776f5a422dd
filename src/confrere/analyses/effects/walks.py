"""What hazards say of people over time: incidence, the weight of those who stay, martingales, and all derivatives.

On cells that end at `breaks` a person has the hazards a_l of any event, of which a share c_l is the cause's, and b_l of
being censored, and is followed for e_l of each cell. With S = exp(-sum a), K = exp(-sum b) at the ends of cells, F the
incidence of the cause, u a time within a cell, dN events of any cause and dN_k of this one,

    V_m = 1/K before each moment, summed over the time and the event until cell m       (weights against censoring)
    X_m = sum of the integral of (1[k] - (F_m - F(u))/S(u))/K dM(u) over the causes     (martingales, weighted)
        = sum_l (dN_k - c_l dN)/K + (F_l-1 + c_l S_l-1 - F_m) x_l,    x_l = dN/(S K) - the integral of a/(S K)

Both are sums over cells of exp(what went before), so that their derivatives by a_l, c_l and b_l are sums of the same
terms: a hazard early in time multiplies all that follows. Integrals within a cell are exact, of constant hazards. Of
the only cause, F is 1 - S and X_m is S_m sum x_l.

Sources: Robins & Finkelstein, Biometrics 2000;56:779 (weights); Hubbard, van der Laan & Robins 2000; Bai, Tsiatis &
O'Brien, Biometrics 2013;69:830; Westling, Luedtke, Gilbert & Carone, JASA 2024;119:1541 (the martingale form);
Ozenne, Scheike, Staerk & Gerds, Biom J 2020;62:751 (of causes that compete).
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
    return _on(values) - values


class Weighing(NamedTuple):
    """A sum over cells of V, by person (n,), and b times its derivative by b (n, M)."""

    value: Array
    by_b: Array


def weighing(walk: Walk, grow: Grown, time: Array, event: Array) -> Weighing:
    """The sum over cells of `time` (n, M) per weighted time, and of `event` (n, M) per weighted event."""
    each = time * grow.whole + event * grow.at
    by = walk.stay.time * (after(each) + event * grow.at) + time * grow.slope
    return Weighing(each.sum(axis=1), walk.b * by)


class Cause(NamedTuple):
    """A cause: its share of the hazard of any event (n, M); its events in a cell, as 0 and 1 (n, M)."""

    share: Array
    event: Array


def cause_of(hazard: Array, walk: Walk, mine: Bools) -> Cause:
    """The cause with this hazard (n, M), and which events of the walk are `mine` (n,): of this cause."""
    share = np.divide(hazard, walk.a, out=np.zeros_like(hazard), where=walk.a > 0)
    return Cause(share, walk.stay.event * mine[:, None])


class Course(NamedTuple):
    """A walk by a cause: survival and incidence at the ends of cells and at their starts, (n, M) each.

    And of X what any event adds in a cell, x; by how much of F and S before it, `level`; what the cause's `own` events
    add; 1/K at the event, `kept`, 0 elsewhere; the sums of x until the ends. These are 0 of the g-formula, which has no
    `grow` (of a + b).
    """

    walk: Walk
    cause: Cause
    grow: Grown | None
    s: Array
    f: Array
    s_before: Array
    f_before: Array
    x: Array
    level: Array
    own: Array
    kept: Array
    until: Array


def course(walk: Walk, cause: Cause, grow: Grown | None) -> Course:
    """Of people with these hazards."""
    s = np.exp(-np.cumsum(walk.a * walk.cells.width, axis=1))
    before = np.column_stack([np.ones(len(s)), s[:, :-1]])
    rise = cause.share * (before - s)
    f = np.cumsum(rise, axis=1)
    at = (s, f, before, f - rise)
    if grow is None:
        return Course(walk, cause, None, *at, *(5 * (np.zeros_like(s),)))
    x, level = grow.at - walk.a * grow.whole, f - rise + cause.share * before
    kept = grow.at * np.exp(-np.cumsum(walk.a * walk.stay.time, axis=1))
    return Course(walk, cause, grow, *at, x, level, kept * (cause.event - cause.share), kept, np.cumsum(x, axis=1))


def martingale(of: Course) -> Array:
    """X at the end of each cell (n, M)."""
    return np.asarray(np.cumsum(of.own + of.level * of.x, axis=1) - of.f * of.until)


class Slopes(NamedTuple):
    """Of sum over m of L_m (h F_m + w X_m): a times its derivative by a, that by c, and b times that by b (n, M)."""

    by_a: Array
    by_share: Array
    by_b: Array


def slopes(of: Course, along: Array, h: Array, w: Array) -> Slopes:
    """Derivatives of a functional L = `along` (M,) of augmented incidence; h and w (n,)."""
    walk, share = of.walk, of.cause.share
    by_f = h[:, None] * along
    by_s, by_share, by_a, by_b = (np.zeros_like(of.s) for _ in range(4))
    if of.grow is not None:
        weighed, later = w[:, None] * along, w[:, None] * np.cumsum(along[::-1])[::-1]
        worth = later * of.level - _on(weighed * of.f)  # what x_l is multiplied by
        each, moved = of.x * worth, later * of.x
        lasting = walk.stay.time * (after(each) + of.grow.at * worth)
        inside = walk.a * of.grow.slope * worth
        by_a += lasting - of.grow.whole * worth - inside
        by_b += lasting - inside
        if of.own.any():  # not where there is one cause
            by_b += walk.stay.time * _on(later * of.own)
        by_f += _next(moved) - weighed * of.until
        by_s += _next(moved * share)
        by_share += moved * of.s_before - later * of.kept
    whole = _on(by_f)
    by_share += whole * (of.s_before - of.s)
    by_s += _next(whole * share) - whole * share
    by_a -= walk.cells.width * _on(by_s * of.s)
    return Slopes(walk.a * by_a, by_share, walk.b * by_b)


def by_hazard(got: Slopes, causes: tuple[Cause, ...], of: int, by: int) -> Array:
    """The derivative by the logarithm of the hazard of cause `by` (n, M), of slopes of cause `of`."""
    return causes[by].share * (got.by_a + got.by_share * (float(of == by) - causes[of].share))


def _on(values: Array) -> Array:
    """Sums over this and all later cells (n, M)."""
    return np.asarray(np.cumsum(values[:, ::-1], axis=1)[:, ::-1])


def _next(values: Array) -> Array:
    """The values of the next cell (n, M); 0 after the last."""
    return np.column_stack([values[:, 1:], np.zeros(len(values))])


def by_model(values: Array, x: Array, model: Rates, of: tuple[int, Cells]) -> Array:
    """Derivatives by log rates and coefficients (S J + p,), from those by people's log hazards in cells, values (n, M).

    `of` are the arm that the people are in, or are as if in, and the cells; x (n, p) their raw terms.
    """
    arm, cells = of
    by_rate = np.zeros_like(model.rates)
    np.add.at(by_rate[arm if len(by_rate) > 1 else 0], cells.of(model), values.sum(axis=0))
    by_beta = model.z.sums(x, values.sum(axis=1)) if model.beta else np.empty(0)
    return np.concatenate([by_rate.ravel(), by_beta])
