"""Two strategies with a grace period inside a hospital: everybody's weighted events and times at risk in either.

Of people whose treatment starts within the grace period, while followed ("early"), and of the others:

| until | in "not within the grace period" | in "within the grace period" |
| --- | --- | --- |
| the end of the grace period | all, the early until they start; weight 1/P(not started) | all; weight 1 |
| the end | the others; the same weight, no longer growing | the early; weight 1/P(early, of those still followed) |

A person enters sums of both arms, and yet is one row of the design: the gate counts people. What differs between two
sums are people who leave in a cell: with an event or otherwise, early or not, by starting. The gate has merged the
cells of time until nobody or enough people of each kind leave in each of them, on one grid for all kinds, so that
clones lend nobody to a cell.

Sources: Cain et al., Int J Biostat 2010;6(2):18; Maringe et al., Int J Epidemiol 2020;49:1719.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects import nuisance, starting
from confrere.analyses.effects.clone_censor_weight import CloneCensorWeight
from confrere.analyses.effects.even_tables import Slopes
from confrere.analyses.effects.exponentials import growth
from confrere.analyses.effects.influence import Lean
from confrere.analyses.effects.nuisance import Fitted, local_of
from confrere.analyses.effects.panel import starts
from confrere.analyses.effects.starting import Clock, Rates, Started
from confrere.analyses.glm import Glm
from confrere.analyses.ladder import cell_of, spent
from confrere.analyses.newton import Curve, Slope
from confrere.analyses.outcomes import Cases
from confrere.analyses.scaling import Scales, Standard, scales
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum, local, register
from confrere.study.ground import design_of, narrowed

REPEATS = 110  # slopes at most, as of other models
OVER = "not followed beyond the grace period"
Beta = tuple[float, ...]


class Followed(NamedTuple):
    """A hospital's people: terms (n, p), time until the horizon, event, start (infinite for never), early (n,)."""

    x: Array
    time: Array
    event: Bools
    start: Array
    early: Bools


class Grid(NamedTuple):
    """The merged cells of time: their edges, 0 first; the first `grace` of them are the grace period; public."""

    edges: tuple[float, ...]
    grace: int

    def spent(self, until: Array) -> Array:
        """The time (n, cells) in each cell, of times from 0 until `until` (n,)."""
        return spent(self.edges[:-1], self.edges[1:], until)


class Weighing(NamedTuple):
    """The models of the weights: of starting, and of having started by the end of the grace period; public."""

    starting: Rates
    started: Fitted


class Counts(NamedTuple):
    """Events and starts by cell, of the others and of the early; time at risk of a start by cell of the ladder."""

    events: Sum  # (2, cells)
    started: Sum  # (2, cells)
    waiting: Sum  # (cells,)


class Totals(NamedTuple):
    """By arm and cell: weighted events, weighted time; by arm: weights at the end of the grace period, squares."""

    events: Sum  # (2, cells)
    risk: Sum  # (2, cells)
    weights: Sum  # (2, 2)


class Derivatives(NamedTuple):
    """Of values, by the coefficients of starting, and of having started."""

    starting: Sum  # (k, q)
    started: Sum  # (k, q)


class Squares(NamedTuple):
    """Products of everybody's influences on the values."""

    second: Sum  # (k, k), symmetric


class Clones(NamedTuple):
    """What people contribute to the arms: events and time (n, cells) each, with weights."""

    events: tuple[Array, Array]
    risk: tuple[Array, Array]


@register("_strategies")
@dataclass(frozen=True)
class Strategies:
    """The steps of two strategies with a grace period."""

    of: CloneCensorWeight

    # inside each hospital

    def design(self, people: People) -> Design:
        """Terms, event, and who starts within the grace period."""
        return followed(people, self.of)

    def table(self, people: People, edges: tuple[float, ...]) -> Design:
        """Who leaves when and how, early or not, and when the early start."""
        made = followed(people, self.of)
        data: Followed = made.data
        size = (2, len(edges))
        return replace(
            made, x=np.empty((made.n, 0)), names=(), flags={},
            cells={
                "events": self._cells(data, data.event, data.time, edges, size),
                "left": self._cells(data, np.ones(made.n, dtype=bool), data.time, edges, size),
                "started": self._cells(data, data.early, data.start, edges, size),
            },
        )  # fmt: skip

    def _cells(self, data: Followed, who: Bools, when: Array, edges: tuple[float, ...], size: tuple[int, int]) -> Cells:
        index = np.where(who, data.early * size[1] + np.minimum(cell_of(when, edges), size[1] - 1), -1)
        marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges, self.of.about.marks)))
        return Cells(index, size, rule="align", family="time", marks=marks, days=self.of.about.days)

    @local(on="design")
    def moments(self, people: People) -> Scales:
        """Raw moments for standardising."""
        made = scales(people)
        p = people.design.data.x.shape[1]
        return Scales(made.total, *(replace(s, value=s.value[:p], bounds=(p,)) for s in made[1:]))

    @local(on="table")
    def counted(self, people: People, grid: Grid) -> Counts:
        """Events and starts by cell, and the time until they start."""
        data: Followed = people.design.data
        waiting = grid.spent(np.minimum(np.minimum(data.start, data.time), self.of.grace)).sum(axis=0)
        return Counts(
            people.cells("events"), people.cells("started"),
            people.derived(waiting, dims=("cells",), bounds=(self._most(people),)),
        )  # fmt: skip

    @local(on="table", repeats=REPEATS)
    def slope(self, people: People, beta: Beta, clock: Clock, standard: Standard) -> Slope:
        """Log-likelihood and score of the model of starting."""
        return starting.slope(people, self._started(people, clock), Rates(clock, standard, beta), self._most(people))

    @local(on="table", repeats=3)
    def curve(self, people: People, beta: Beta, clock: Clock, standard: Standard) -> Curve:
        """The same, and the information, of the model of starting."""
        return starting.curve(people, self._started(people, clock), Rates(clock, standard, beta), self._most(people))

    @local(on="table")
    def totals(self, people: People, grid: Grid, by: Weighing) -> Totals:
        """Weighted events and times at risk by arm and cell."""
        data: Followed = people.design.data
        clones, most = self._clones(people, grid, by), self._most(people)
        weights = np.array([np.where(self._stays(data, arm), self._last(people, by, arm), 0.0) for arm in (0, 1)])
        own, dims = self._entering(people, by), ("arms", "cells")
        return Totals(
            people.derived(np.array([e.sum(axis=0) for e in clones.events]), own, dims=dims, bounds=(2, most)),
            people.derived(np.array([r.sum(axis=0) for r in clones.risk]), own, dims=dims, bounds=(2, most)),
            people.derived(np.array([(w.sum(), w @ w) for w in weights]), own, dims=("arms", "sums")),
        )

    @local(on="table")
    def derivatives(self, people: People, grid: Grid, by: Weighing, slopes: Slopes) -> Derivatives:
        """Derivatives of values by the coefficients of both models."""
        data: Followed = people.design.data
        values = len(slopes.events)
        first = [
            starting.derivative(data.x, by.starting, self._by_log_rate(people, grid, by, self._of(slopes, i)))
            for i in range(values)
        ]
        beyond = self._beyond(data)
        x = data.x[beyond]
        local = local_of(x, data.early[beyond].astype(float), by.started)
        second = nuisance.derivative(x, by.started, local, self._by_odds(people, grid, by, slopes)[beyond])
        own, most = self._entering(people, by), 2 * len(self.of.times) + 3
        return Derivatives(
            people.derived(np.array(first), own, dims=("values", "terms"),
                           bounds=(most, self._most(people) + data.x.shape[1])),
            people.derived(second, own, dims=("values", "terms")),
        )  # fmt: skip

    @local(on="table")
    def squares(self, people: People, grid: Grid, by: Weighing, slopes: Slopes, leans: tuple[Lean, Lean]) -> Squares:
        """Products of everybody's influences."""
        data: Followed = people.design.data
        clones = self._clones(people, grid, by)
        phi = np.column_stack([self._part(clones, self._of(slopes, i)) for i in range(len(slopes.events))])
        phi += starting.moved(self._started(people, by.starting.clock), by.starting, np.array(leans[0].by))
        beyond = self._beyond(data)
        x, own = data.x[beyond], data.early[beyond].astype(float)
        nothing = np.zeros((len(x), phi.shape[1]))
        phi[beyond] += nuisance.moved(x, by.started, local_of(x, own, by.started), np.array(leans[1].by), nothing)
        return Squares(
            people.derived(phi.T @ phi, self._entering(people, by), dims=("values", "values"), symmetric=True)
        )

    # what people are, by the models

    def _most(self, people: People) -> int:
        """Cells at most: those of the ladder."""
        return people.design.cells["events"].shape[1]

    def _started(self, people: People, clock: Clock) -> Started:
        """The people of the model of starting."""
        data: Followed = people.design.data
        risk = np.minimum(np.minimum(data.start, data.time), self.of.grace)
        cell = np.where(data.early, np.searchsorted(np.array(clock.right), data.start, side="left"), -1)
        return Started(data.x, risk, cell)

    def _beyond(self, data: Followed) -> Bools:
        return data.time > self.of.grace

    def _stays(self, data: Followed, arm: int) -> Bools:
        """Who is in an arm after the grace period (n,)."""
        return self._beyond(data) & (data.early if arm else ~data.early)

    def _last(self, people: People, by: Weighing, arm: int) -> Array:
        """The weight that each person has at the end in an arm (n,)."""
        data: Followed = people.design.data
        if arm:
            return 1 / local_of(data.x, data.early.astype(float), by.started).m.mu
        risk = self._started(people, by.starting.clock).risk
        return np.asarray(np.exp((by.starting.clock.spent(risk) * by.starting.of(data.x)).sum(axis=1)))

    def _entering(self, people: People, by: Weighing) -> Array:
        """The larger of a person's two weights (n,), for the gate."""
        late = np.where(self._stays(people.design.data, 1), self._last(people, by, 1), 1.0)
        return np.maximum(late, self._last(people, by, 0))

    def _clones(self, people: People, grid: Grid, by: Weighing) -> Clones:
        """Everybody's weighted events and time in both arms; made once."""
        return people.design.once(f"clones by {by!r}", lambda: self._cloned(people, grid, by))

    def _cloned(self, people: People, grid: Grid, by: Weighing) -> Clones:
        data: Followed = people.design.data
        after = np.arange(len(grid.edges) - 1) >= grid.grace
        events = np.zeros((len(data.time), len(after)))
        cell = np.searchsorted(np.array(grid.edges[1:]), data.time[data.event], side="left")
        events[data.event, cell] = 1.0
        time = grid.spent(data.time)
        late = np.where(self._stays(data, 1), self._last(people, by, 1), 0.0)[:, None]
        one = np.where(after, late, 1.0)
        rate, before = self._growth(people, grid, by)
        waiting = np.exp(before) * _grown(rate, grid.spent(np.minimum(data.start, data.time)))[0]
        mine = np.where(data.early, 0.0, self._last(people, by, 0))
        return Clones((events * mine[:, None], events * one), (waiting, time * one))

    def _growth(self, people: People, grid: Grid, by: Weighing) -> tuple[Array, Array]:
        """The rate at which the logarithm of the weight grows in each cell, and what it is before (n, cells)."""
        data: Followed = people.design.data
        rate = np.zeros((len(data.time), len(grid.edges) - 1))
        rate[:, _places(grid, by.starting.clock)] = by.starting.of(data.x)
        grown = np.cumsum(rate * np.diff(grid.edges), axis=1)
        return rate, np.column_stack([np.zeros(len(rate)), grown[:, :-1]])

    # derivatives of a value, from those by the arms' events and times (2, cells) each

    def _of(self, slopes: Slopes, i: int) -> tuple[Array, Array]:
        return np.array(slopes.events[i]).reshape(2, -1), np.array(slopes.risk[i]).reshape(2, -1)

    def _part(self, clones: Clones, slope: tuple[Array, Array]) -> Array:
        """What everybody's clones move a value by (n,), weights as they are."""
        events, risk = slope
        parts = [clones.events[a] @ events[a] + clones.risk[a] @ risk[a] for a in (0, 1)]
        return np.asarray(parts[0] + parts[1])

    def _by_odds(self, people: People, grid: Grid, by: Weighing, slopes: Slopes) -> Array:
        """The derivative (n, k) of values by the predictor of having started: of 1/mu, it is -(1 - mu)/mu."""
        data: Followed = people.design.data
        clones = self._clones(people, grid, by)
        other = local_of(data.x, data.early.astype(float), by.started).m.other
        after = slice(grid.grace, None)
        made = []
        for i in range(len(slopes.events)):
            events, risk = self._of(slopes, i)
            made.append(clones.events[1][:, after] @ events[1, after] + clones.risk[1][:, after] @ risk[1, after])
        return -other[:, None] * np.column_stack(made)

    def _by_log_rate(self, people: People, grid: Grid, by: Weighing, slope: tuple[Array, Array]) -> Array:
        """The derivative (n, cells of the clock) of a value by everybody's log rates of starting."""
        data: Followed = people.design.data
        clones = self._clones(people, grid, by)
        (events, _), (risk, _) = slope
        at = _places(grid, by.starting.clock)
        rate, before = self._growth(people, grid, by)
        time = grid.spent(np.minimum(data.start, data.time))
        own = np.exp(before) * _grown(rate, time)[1] * rate * risk
        whole = clones.risk[0] * risk
        later = whole.sum(axis=1, keepdims=True) - np.cumsum(whole, axis=1)
        width = np.diff(grid.edges)
        counted = (clones.events[0] @ events)[:, None] * time * rate
        return np.asarray((own + later * rate * width + counted)[:, at])


@register("_having_started")
@dataclass(frozen=True)
class HavingStarted(Glm):
    """Who has started by the end of the grace period, of those followed beyond it; made by `having_started`."""

    of: CloneCensorWeight | None = None

    def design(self, people: People) -> Design:
        """Raw terms, and who has started."""
        if self.of is None:
            raise TypeError("a model of having started needs to know of what: use having_started")
        made = followed(people, self.of)
        made = narrowed(made, made.data.time > self.of.grace, OVER)
        data: Followed = made.data
        cases = Cases(data.x, data.early.astype(float), np.ones(made.n), np.zeros(made.n))
        return replace(made, data=cases, x=data.x, names=made.names[: data.x.shape[1]], flags={"outcome": data.early})


def having_started(of: CloneCensorWeight) -> HavingStarted:
    """The model of having started."""
    return HavingStarted(of.formula, "binomial", ground=of.about, of=of)


# Inside a hospital --------------------------------------------------------------------------------------------


def followed(people: People, of: CloneCensorWeight) -> Design:
    """Who is followed until the horizon; its data are `Followed`. Raises DataError for starts before time zero."""
    frame = people.table.frame
    made = design_of(people, of.formula, of.about)
    start = starts(frame, of.started, made.rows, "time zero")
    rows = made.data
    time, event = np.minimum(rows.time, of.horizon), (rows.event > 0) & (rows.time <= of.horizon)
    early = (start <= of.grace) & (start <= time)
    data = Followed(rows.x, time, event, np.where(early, start, np.inf), early)
    x = np.column_stack([rows.x, early]).astype(float)
    names = (*made.names, f"starts by {of.grace:g}")
    columns = tuple(sorted({*made.columns, of.started}))
    return replace(made, data=data, x=x, names=names, flags={"event": event}, weights=None, columns=columns)


def _places(grid: Grid, clock: Clock) -> Ints:
    """The cells of the grid that the clock has."""
    return np.searchsorted(np.array(grid.edges[:-1]), np.array(clock.left))


def _grown(rate: Array, time: Array) -> tuple[Array, Array]:
    """The integral of exp(rate t) over times from 0, and its slope by the rate."""
    first, second = growth(rate * time)
    return time * first, time**2 * second
