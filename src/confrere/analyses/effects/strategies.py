"""Two strategies with a grace period inside a hospital: everybody's weighted events and times at risk in either.

Of people whose treatment starts within the grace period, while followed ("early"), and of the others:

| until | in "not within the grace period" | in "within the grace period" |
| --- | --- | --- |
| the end of the grace period | all, the early until they start; weight 1/P(not started) | all; weight 1 |
| the end | the others; the same weight, no longer growing | the early; weight 1/P(early, of those still followed) |

Where people are weighed against being lost, both weights are times 1/P(not lost so far), which grows throughout. Within
the grace period the hazard of being lost is that of everybody of the same terms, so that who is early among those still
followed does not hang on it; after it, those who started and the others have a baseline each.

A person enters sums of both arms, and yet is one row of the design: the gate counts people. What differs between two
sums are people who leave in a cell: with an event (of either cause) or otherwise (lost), early or not, by starting. The
gate has merged the cells of time until nobody or enough people of each kind leave in each of them, on one grid for all
kinds, so that clones lend nobody to a cell. Where losses are told, whoever reaches the horizon is a kind too.

Sources: Cain et al., Int J Biostat 2010;6(2):18; Maringe et al., Int J Epidemiol 2020;49:1719.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects import nuisance, starting
from confrere.analyses.effects.clone_censor_weight import CloneCensorWeight
from confrere.analyses.effects.even_tables import Slopes
from confrere.analyses.effects.influence import Lean
from confrere.analyses.effects.nuisance import Fitted, local_of
from confrere.analyses.effects.panel import starts
from confrere.analyses.effects.starting import AtRisk, Clock, Rates
from confrere.analyses.effects.walked import Walked, Way, walked
from confrere.analyses.effects.weighting import carried
from confrere.analyses.glm import Glm
from confrere.analyses.ladder import cell_of, spent
from confrere.analyses.newton import Curve, Slope
from confrere.analyses.outcomes import Cases
from confrere.analyses.scaling import Scales, Standard, scales
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum, local, register
from confrere.study.ground import design_of, narrowed

STRATEGIES = ("not within the grace period", "within the grace period")
REPEATS = 110  # slopes at most, as of other models
OVER = "not followed beyond the grace period"
Beta = tuple[float, ...]


class Followed(NamedTuple):
    """A hospital's people: terms (n, p), those of being lost (n, q), time until the horizon, cause (0 for none), start
    (infinite for never), early, lost before the horizon (n,).
    """

    x: Array
    losing: Array
    time: Array
    cause: Ints
    start: Array
    early: Bools
    lost: Bools

    @property
    def event(self) -> Bools:
        """Who has the event (n,)."""
        return self.cause > 0


class Grid(NamedTuple):
    """The merged cells of time: their edges, 0 first; the first `grace` of them are the grace period; public."""

    edges: tuple[float, ...]
    grace: int

    def spent(self, until: Array) -> Array:
        """The time (n, cells) in each cell, of times from 0 until `until` (n,)."""
        return spent(self.edges[:-1], self.edges[1:], until)


class Weighing(NamedTuple):
    """The models of the weights: of starting, of having started by the end of the grace period, of being lost."""

    starting: Rates
    started: Fitted
    lost: Rates | None


class Counts(NamedTuple):
    """Events by cause, starts, by cell, of the others and of the early; time at risk of a start by cell."""

    events: Sum  # (causes, 2, cells)
    started: Sum  # (2, cells)
    waiting: Sum  # (cells,)


class Losses(NamedTuple):
    """By cell, of the others and of the early: people lost, and time."""

    lost: Sum  # (2, cells)
    time: Sum  # (2, cells)


class Totals(NamedTuple):
    """By arm and cell: weighted events, weighted time; by arm: weights as people leave it after the grace period, and
    their squares."""

    events: Sum  # (causes, 2, cells)
    risk: Sum  # (2, cells)
    weights: Sum  # (2, 2)


class Derivatives(NamedTuple):
    """Of values, by the coefficients of starting, and of having started."""

    starting: Sum  # (k, q)
    started: Sum  # (k, q)


class ByLosses(NamedTuple):
    """Of values, by the coefficients of being lost."""

    lost: Sum  # (k, q)


class Squares(NamedTuple):
    """Products of everybody's influences on the values."""

    second: Sum  # (k, k), symmetric


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
        cells = {
            events_of(c): self._cells(data, data.cause == i, data.time, edges, size)
            for i, c in enumerate(self.of.causes, 1)
        }
        cells["left"] = self._cells(data, np.ones(made.n, dtype=bool), data.time, edges, size)
        cells["started"] = self._cells(data, data.early, data.start, edges, size)
        if self.of.censoring:
            cells["lost"] = self._cells(data, data.lost, data.time, edges, size)
            # of an arm, who reaches the horizon follows from who starts, has the event and is lost
            cells["stayed"] = self._cells(data, ~data.event & ~data.lost, data.time, edges, size)
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=cells)

    def _cells(self, data: Followed, who: Bools, when: Array, edges: tuple[float, ...], size: tuple[int, int]) -> Cells:
        index = np.where(who, data.early * size[1] + np.minimum(cell_of(when, edges), size[1] - 1), -1)
        marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges, self.of.about.marks)))
        return Cells(index, size, rule="align", family="time", marks=marks, days=self.of.about.days)

    @local(on="design")
    def moments(self, people: People) -> Scales:
        """Raw moments for standardising."""
        made = scales(people)
        p = people.design.x.shape[1] - 1  # all but who starts early
        return Scales(made.total, *(replace(s, value=s.value[:p], bounds=(p,)) for s in made[1:]))

    @local(on="table")
    def counted(self, people: People, grid: Grid) -> Counts:
        """Events and starts by cell, and the time until they start."""
        data: Followed = people.design.data
        waiting = grid.spent(np.minimum(np.minimum(data.start, data.time), self.of.grace)).sum(axis=0)
        parts = [people.cells(events_of(c)) for c in self.of.causes]
        events = np.stack([s.value for s in parts])
        dims, bounds = ("causes", *parts[0].dims), (len(parts), *parts[0].bounds)
        return Counts(
            replace(parts[0], value=events, dims=dims, bounds=bounds), people.cells("started"),
            people.derived(waiting, dims=("cells",), bounds=(self._most(people),)),
        )  # fmt: skip

    @local(on="table")
    def losses(self, people: People, grid: Grid) -> Losses:
        """People lost to follow-up by cell, and the time for which people are followed."""
        data: Followed = people.design.data
        time = grid.spent(data.time)
        each = np.array([time[~data.early].sum(axis=0), time[data.early].sum(axis=0)])
        bounds = (2, self._most(people))
        return Losses(people.cells("lost"), people.derived(each, dims=("arms", "cells"), bounds=bounds))

    @local(on="table", repeats=REPEATS)
    def slope(self, people: People, beta: Beta, clock: Clock, standard: Standard) -> Slope:
        """Log-likelihood and score of the model of starting."""
        return starting.slope(people, self._started(people, clock), Rates(clock, standard, beta), self._most(people))

    @local(on="table", repeats=3)
    def curve(self, people: People, beta: Beta, clock: Clock, standard: Standard) -> Curve:
        """The same, and the information, of the model of starting."""
        return starting.curve(people, self._started(people, clock), Rates(clock, standard, beta), self._most(people))

    @local(on="table", repeats=REPEATS)
    def lost_slope(self, people: People, beta: Beta, clock: Clock, standard: Standard) -> Slope:
        """Log-likelihood and score of the model of being lost."""
        most = 2 * self._most(people)
        return starting.slope(people, self._losing(people, clock), Rates(clock, standard, beta), most)

    @local(on="table", repeats=3)
    def lost_curve(self, people: People, beta: Beta, clock: Clock, standard: Standard) -> Curve:
        """The same, and the information, of the model of being lost."""
        most = 2 * self._most(people)
        return starting.curve(people, self._losing(people, clock), Rates(clock, standard, beta), most)

    @local(on="table")
    def totals(self, people: People, grid: Grid, by: Weighing) -> Totals:
        """Weighted events and times at risk by arm and cell."""
        clones, most, causes = self._clones(people, grid, by), self._most(people), len(self.of.causes)
        weights = [np.where(self._stays(people, a), clones[a].last, 0.0) for a in (0, 1)]
        own, dims = self._entering(clones), ("arms", "cells")
        events = np.stack([c.events(causes) for c in clones], axis=1)
        return Totals(
            people.derived(events, own, dims=("causes", *dims), bounds=(causes, 2, most)),
            people.derived(np.array([c.risk.sum(axis=0) for c in clones]), own, dims=dims, bounds=(2, most)),
            people.derived(np.array([(w.sum(), w @ w) for w in weights]), own, dims=("arms", "sums")),
        )

    def weighed(self, people: People, grid: Grid, by: Weighing) -> Design:
        """The strategies as people weigh after the grace period: the gate refuses one that a few carry."""
        made = self.design(people)
        inside = People(people.table, made)
        clones, stay = self._clones(inside, grid, by), [self._stays(inside, a) for a in (0, 1)]
        w = np.select(stay, [clone.last for clone in clones])
        return carried(made, np.select(stay, [0, 1], -1), STRATEGIES, w, "leave out confounders")

    @local(on="table")
    def derivatives(self, people: People, grid: Grid, by: Weighing, slopes: Slopes) -> Derivatives:
        """Derivatives of values by the coefficients of both models."""
        data: Followed = people.design.data
        clones, first, odds = self._clones(people, grid, by), [], []
        model = by.starting
        rate = model.on(grid.edges, data.x, data.early)
        for i in range(len(slopes.events)):
            events, risk = slopes.of(i)
            moved = clones[0].by_log_rate(rate, events[:, 0], risk[0])
            first.append(starting.derivative(data.x, model, model.of_grid(grid.edges, moved, data.early)))
            odds.append(clones[1].part(events[:, 1], risk[1], first=grid.grace))
        beyond = self._beyond(data)
        x = data.x[beyond]
        local = local_of(x, data.early[beyond].astype(float), by.started)
        by_odds = -local.m.other[:, None] * np.column_stack(odds)[beyond]  # of 1/mu it is -(1 - mu)/mu
        own, most = self._entering(clones), self._values()
        return Derivatives(
            people.derived(np.array(first), own, dims=("values", "terms"),
                           bounds=(most, self._most(people) + data.x.shape[1])),
            people.derived(nuisance.derivative(x, by.started, local, by_odds), own, dims=("values", "terms")),
        )  # fmt: skip

    @local(on="table")
    def lost_derivatives(self, people: People, grid: Grid, by: Weighing, slopes: Slopes) -> ByLosses:
        """Derivatives of values by the coefficients of being lost."""
        data: Followed = people.design.data
        clones, model, made = self._clones(people, grid, by), self._lost(by), []
        rate = model.on(grid.edges, data.losing, data.early)
        for i in range(len(slopes.events)):
            events, risk = slopes.of(i)
            moved = sum((c.by_log_rate(rate, events[:, a], risk[a]) for a, c in enumerate(clones)), np.zeros(()))
            made.append(starting.derivative(data.losing, model, model.of_grid(grid.edges, moved, data.early)))
        bounds = self._values(), 2 * self._most(people) + data.losing.shape[1]
        return ByLosses(people.derived(np.array(made), self._entering(clones), dims=("values", "terms"), bounds=bounds))

    @local(on="table")
    def squares(self, people: People, grid: Grid, by: Weighing, slopes: Slopes, leans: tuple[Lean, ...]) -> Squares:
        """Products of everybody's influences."""
        data: Followed = people.design.data
        clones, columns = self._clones(people, grid, by), []
        for i in range(len(slopes.events)):
            events, risk = slopes.of(i)
            columns.append(sum(c.part(events[:, a], risk[a]) for a, c in enumerate(clones)))
        phi = np.column_stack(columns)
        phi += starting.moved(self._started(people, by.starting.clock), by.starting, np.array(leans[0].by))
        beyond = self._beyond(data)
        x, own = data.x[beyond], data.early[beyond].astype(float)
        nothing = np.zeros((len(x), phi.shape[1]))
        phi[beyond] += nuisance.moved(x, by.started, local_of(x, own, by.started), np.array(leans[1].by), nothing)
        if self.of.censoring:
            model = self._lost(by)
            phi += starting.moved(self._losing(people, model.clock), model, np.array(leans[2].by))
        return Squares(people.derived(phi.T @ phi, self._entering(clones), dims=("values", "values"), symmetric=True))

    # what people are, by the models

    def _most(self, people: People) -> int:
        """Cells at most: those of the ladder."""
        return people.design.cells["left"].shape[1]

    def _values(self) -> int:
        """Values at most."""
        return (2 * len(self.of.times) + 1) * len(self.of.causes) + 2

    def _lost(self, by: Weighing) -> Rates:
        if by.lost is None:
            raise TypeError("there is no model of being lost")
        return by.lost

    def _started(self, people: People, clock: Clock) -> AtRisk:
        """The people of the model of starting."""
        data: Followed = people.design.data
        risk = np.minimum(np.minimum(data.start, data.time), self.of.grace)
        return AtRisk(data.x, clock.spent(risk, data.early), clock.cell(data.early, data.start, data.early))

    def _losing(self, people: People, clock: Clock) -> AtRisk:
        """The people of the model of being lost."""
        data: Followed = people.design.data
        return AtRisk(
            data.losing, clock.spent(data.time, data.early), clock.cell(data.lost, data.time, data.early)
        )  # fmt: skip

    def _beyond(self, data: Followed) -> Bools:
        return data.time > self.of.grace

    def _stays(self, people: People, arm: int) -> Bools:
        """Who is in an arm after the grace period (n,)."""
        data: Followed = people.design.data
        return self._beyond(data) & (data.early if arm else ~data.early)

    def _entering(self, clones: tuple[Walked, Walked]) -> Array:
        """The larger of a person's two weights (n,), for the gate."""
        return np.maximum(clones[0].last, clones[1].last)

    def _clones(self, people: People, grid: Grid, by: Weighing) -> tuple[Walked, Walked]:
        """Everybody in both arms; made once."""
        return people.design.once(f"clones by {by!r}", lambda: self._cloned(people, grid, by))

    def _cloned(self, people: People, grid: Grid, by: Weighing) -> tuple[Walked, Walked]:
        data: Followed = people.design.data
        widths, cell = np.diff(grid.edges), cell_of(data.time, grid.edges[1:])
        after = np.arange(len(widths)) >= grid.grace
        lost = np.zeros((len(data.time), len(widths)))
        lost = by.lost.on(grid.edges, data.losing, data.early) if by.lost else lost
        waits = lost + by.starting.on(grid.edges, data.x, data.early)
        odds = 1 / local_of(data.x, data.early.astype(float), by.started).m.mu
        late = np.where(self._stays(people, 1), odds, 0.0)[:, None]
        waiting, none = grid.spent(np.minimum(data.start, data.time)), np.zeros_like(lost)
        return (
            walked(Way(widths, none, waiting, np.where(data.early, 0, data.cause), cell), waits, np.ones_like(waits)),
            walked(Way(widths, none, grid.spent(data.time), data.cause, cell), lost, np.where(after, late, 1.0)),
        )  # fmt: skip


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
        return replace(made, data=cases, x=data.x, names=self.of.confounding_terms, flags={"outcome": data.early})


def having_started(of: CloneCensorWeight) -> HavingStarted:
    """The model of having started."""
    return HavingStarted(of.confounding, "binomial", ground=of.about, of=of)


# Inside a hospital --------------------------------------------------------------------------------------------


def followed(people: People, of: CloneCensorWeight) -> Design:
    """Who is followed until the horizon; its data are `Followed`. Raises DataError for starts before time zero."""
    frame = people.table.frame
    made = design_of(people, of.formula, of.about)
    start = starts(frame, of.started, made.rows, "time zero")
    rows = made.data
    time, cause = np.minimum(rows.time, of.horizon), np.where(rows.time <= of.horizon, rows.event, 0).astype(np.int64)
    early = (start <= of.grace) & (start <= time)
    known, losing = ([made.names.index(name) for name in names] for names in (of.confounding_terms, of.losing))
    data = Followed(
        rows.x[:, known], rows.x[:, losing], time, cause, np.where(early, start, np.inf), early,
        (rows.event == 0) & (rows.time < of.horizon),
    )  # fmt: skip
    x = np.column_stack([rows.x, early]).astype(float)
    names = (*made.names, f"starts by {of.grace:g}")
    columns = tuple(sorted({*made.columns, of.started}))
    return replace(made, data=data, x=x, names=names, flags={"event": data.event}, weights=None, columns=columns)


def events_of(cause: str) -> str:
    """The name of the cells of a cause's events."""
    return f"events {cause}" if cause else "events"
