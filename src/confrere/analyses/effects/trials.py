"""Sequential trials inside a hospital: everybody's trials, their propensities, weighted events and times at risk.

Everybody is in the first trials up to the last one (`Enrolled.last`), untreated in all but that. Sums are over
person-trials; a person is one row of the design, and enters a sum with all their weights in it, so that the gate counts
people. How many people are in each trial and who starts in it is told, so that every such group has nobody or enough
people. In each trial by itself nobody or enough of its untreated leave, or have the event, in a cell of time; so of the
treated, who are treated in one trial each, in all trials together; so by each cause, and of those who are lost, or
followed to the end, where losses are weighed against. All of it is on one grid.

The propensity is logistic over person-trials, with an intercept for each trial: log odds a_k + z'b; so is, where stops
are looked at, the chance of stopping in a later period, over those who are treated before it (`person_trials`). A
person's score is the sum of those of their trials, whence variances of people (Liang & Zeger, Biometrika 1986;73:13).
Who stops in a period, and who leaves treatment in it otherwise, are nobody or enough people too. Being lost has a
hazard even in each cell of time since the beginning of a trial, of each arm, over person-trials (`starting`).

Sources: Hernan et al., Epidemiology 2008;19:766; Danaei et al., Stat Methods Med Res 2013;22:70.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects import starting
from confrere.analyses.effects.adhering import Chained, Stretches, chained, stretches
from confrere.analyses.effects.arms import ARMS
from confrere.analyses.effects.even_tables import Slopes
from confrere.analyses.effects.influence import Lean
from confrere.analyses.effects.person_trials import (
    Enrolled,
    PersonTrials,
    Treating,
    chances,
    enrolled,
    person_trials,
)
from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.analyses.effects.starting import AtRisk, Clock, Rates
from confrere.analyses.effects.strategies import Squares
from confrere.analyses.effects.walked import Walked, Way, walked
from confrere.analyses.effects.weighting import carried
from confrere.analyses.ladder import cell_of, spent
from confrere.analyses.newton import Curve, Slope
from confrere.analyses.scaling import Scales, scales
from confrere.rounds import Array, Bools, Cells, Design, People, Sum, local, register

REPEATS = 110  # slopes at most, as of other models
QUARTER = 0.25  # what a score weighs people by, beside their information: as of other logistic models
Edges = tuple[float, ...]


class Counts(NamedTuple):
    """People by the number of their trials, those treated in the last one beside; events by cell of time."""

    enrolled: Sum  # (1, 2 trials), of each number the untreated first
    treated: Sum  # (causes, cells) events of the treated
    untreated: Sum  # (causes, cells) those of the untreated of all trials


class Kept(NamedTuple):
    """By period but the first, who was treated before it and is followed beyond it: who goes on, who stops."""

    keeping: Sum  # (periods - 1, 2)


class Losses(NamedTuple):
    """By cell, of the untreated of all trials and of the treated: person-trials lost, and time."""

    lost: Sum  # (2, cells)
    time: Sum  # (2, cells)


class Totals(NamedTuple):
    """By arm and cell: weighted events, weighted time; by arm: people's weights, their squares."""

    events: Sum  # (causes, 2, cells)
    risk: Sum  # (2, cells)
    weights: Sum  # (2, 2)


class Derivatives(NamedTuple):
    """Of values, by the coefficients of the propensity."""

    by: Sum  # (k, q)


class ByLosses(NamedTuple):
    """Of values, by the coefficients of being lost."""

    lost: Sum  # (k, q)


class Weighing(NamedTuple):
    """The models of the weights; public."""

    changes: tuple[Treating, ...]  # of starting; of stopping, if that is looked at
    lost: Rates | None


@register("_trials")
@dataclass(frozen=True)
class Trials:
    """The steps of sequential trials."""

    of: SequentialTrials

    # inside each hospital

    def design(self, people: People) -> Design:
        """Terms, who starts, and the event."""
        return enrolled(people, self.of)

    def table(self, people: People, edges: Edges) -> Design:
        """In how many trials everybody is, and when they leave them and how."""
        made = enrolled(people, self.of)
        data: Enrolled = made.data
        cells = {"enrolled": Cells((data.last - 1) * 2 + data.treated, (1, 2 * len(self.of.periods)))}
        for name, k in self._parts():
            own = data.treated if k < 0 else (data.last > k) & ~(data.treated & (data.last == k + 1))
            at = np.arange(made.n), data.last - 1 if k < 0 else np.full(made.n, k)
            after = data.until[at] - np.array(self.of.periods)[at[1]]
            had = data.had(self.of)[at]
            for c, cause in enumerate(self.of.causes, 1):
                cells[f"{events_of(cause)} {name}"] = self._cells(own & (had == c), after, edges)
            cells[f"left {name}"] = self._cells(own, after, edges)
            if self.of.censoring:
                lost = data.lost(self.of)[at]
                cells[f"lost {name}"] = self._cells(own & lost, after, edges)
                # who is followed to the end follows by subtraction; whoever leaves by starting is told
                changed = np.where(at[1] < data.last - 1, data.treated & self.of.adhering, data.stopped)
                stayed = own & (had == 0) & ~lost & ~(changed & (after < self.of.horizon)) & (after > 0)
                cells[f"stayed {name}"] = self._cells(stayed, after, edges)
            if self.of.stopped and k < 0:
                stopped = data.stops().any(axis=1) & (after < self.of.horizon)
                cells["stopped"] = self._cells(stopped, after, edges)
        if self.of.stopped:
            cells |= self._keeping(data)
        if self.of.adhering:  # a period has its own events, and who else was in its trial untreated is lost in it
            had = data.had(self.of)[np.arange(made.n), data.last - 1]
            lost = ~data.treated & (had == 0) & (data.last < len(self.of.periods))
            cells["lost"] = Cells(np.where(lost, data.last - 1, -1), (1, len(self.of.periods)))
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=cells)

    def _keeping(self, data: Enrolled) -> dict[str, Cells]:
        """Who of the treated stops in each period; and how they leave: how many are not there any more, and have
        neither stopped nor the event, follows from how many are treated before each period."""
        made, size = {}, len(self.of.periods)
        for k, name in self._before():
            made[name] = Cells(np.where(data.on[:, k], data.stops()[:, k], -1).astype(np.int64), (1, 2))
        had = data.had(self.of)[np.arange(len(data.last)), data.last - 1]
        how = np.where(data.stopped, 0, np.where(had > 0, 1, 2))
        made["leaving"] = Cells(np.where(data.treated, (data.through - 1) * 3 + how, -1), (1, 3 * size))
        return made

    def _before(self) -> list[tuple[int, str]]:
        """Places and names of the periods in which people may stop."""
        return [(k, f"treated before the period to {end:g}") for k, end in enumerate(self.of.periods) if k]

    def _parts(self) -> list[tuple[str, int]]:
        """The treated of all trials, and the untreated of each: their names, and the places of the trials."""
        return [("of the treated", -1), *((f"in the trial at {p:g}", k) for k, p in enumerate(self.of.periods))]

    def _cells(self, who: Bools, after: Array, edges: Edges) -> Cells:
        index = np.where(who, np.minimum(cell_of(after, edges), len(edges) - 1), -1)
        marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges, self.of.about.marks)))
        return Cells(index, (1, len(edges)), rule="align", family="time", marks=marks, days=self.of.about.days)

    @local(on="design")
    def moments(self, people: People) -> Scales:
        """Raw moments for standardising, of everybody's first trial."""
        made = scales(people)
        p = people.design.data.x.shape[2]  # all terms
        return Scales(made.total, *(replace(s, value=s.value[:p], bounds=(p,)) for s in made[1:]))

    @local(on="table")
    def counted(self, people: People) -> Counts:
        """People by trials, and events by cell."""
        own, others = zip(*(self._apart(people, events_of(cause)) for cause in self.of.causes), strict=True)
        return Counts(people.cells("enrolled"), _stacked(own), _stacked(others))

    def _apart(self, people: People, kind: str) -> tuple[Sum, Sum]:
        """Person-trials of a kind by cell, of the treated, and of the untreated of all trials: (1, cells) each."""
        parts = [people.cells(f"{kind} {name}") for name, _ in self._parts()]
        return parts[0], replace(parts[1], value=np.sum([s.value for s in parts[1:]], axis=0))

    @local(on="table")
    def kept(self, people: People) -> Kept:
        """Who is treated before a period and goes on, and who stops, by period."""
        return Kept(_stacked([people.cells(name) for _, name in self._before()]))

    @local(on="table")
    def losses(self, people: People, edges: Edges) -> Losses:
        """People lost to follow-up by cell, and the time for which people are followed."""
        own, others = self._apart(people, "lost")
        time, treated = self._row_time(people, edges), self._rows(people).changed  # those who are on it have no time
        each = np.array([time[~treated].sum(axis=0), time[treated].sum(axis=0)])
        bounds = (2, self._most(people))
        return Losses(_stacked((others, own)), people.derived(each, dims=("arms", "cells"), bounds=bounds))

    @local(on="table", repeats=REPEATS)
    def lost_slope(self, people: People, edges: Edges, rates: Rates) -> Slope:
        """Log-likelihood and score of the model of being lost."""
        whole, most = partial(self._whole, people), 2 * self._most(people)
        return starting.slope(people, self._losing(people, edges, rates.clock), rates, most, whole)

    @local(on="table", repeats=3)
    def lost_curve(self, people: People, edges: Edges, rates: Rates) -> Curve:
        """The same, and the information, of the model of being lost."""
        whole, most = partial(self._whole, people), 2 * self._most(people)
        return starting.curve(people, self._losing(people, edges, rates.clock), rates, most, whole)

    @local(on="table", repeats=REPEATS)
    def slope(self, people: People, by: Treating) -> Slope:
        """Log-likelihood and score of the propensity."""
        return self._slope(people, by)

    @local(on="table", repeats=3)
    def curve(self, people: People, by: Treating) -> Curve:
        """The same, and the information."""
        return self._curve(people, by)

    @local(on="table", repeats=REPEATS)
    def stop_slope(self, people: People, by: Treating) -> Slope:
        """Log-likelihood and score of the model of stopping."""
        return self._slope(people, by)

    @local(on="table", repeats=3)
    def stop_curve(self, people: People, by: Treating) -> Curve:
        """The same, and the information, of the model of stopping."""
        return self._curve(people, by)

    def _curve(self, people: People, by: Treating) -> Curve:
        rows = self._rows(people).those(by.on)
        m = by.of(rows)
        whole = self._by_person(people, rows, m.slope)
        return Curve(*self._slope(people, by), people.derived(by.products(rows, m.slope), whole, symmetric=True))

    def _slope(self, people: People, by: Treating) -> Slope:
        rows = self._rows(people).those(by.on)
        m = by.of(rows)
        loglik = np.log(np.where(rows.changed, m.mu, m.other)).sum()
        w = self._by_person(people, rows, m.slope + QUARTER)
        return Slope(
            people.derived(np.asarray(loglik), w), people.derived(by.sums(rows, rows.changed - m.mu), w)
        )  # fmt: skip

    @local(on="table")
    def totals(self, people: People, edges: Edges, by: Weighing) -> Totals:
        """Weighted events and times at risk by arm and cell."""
        way, w = self._walked(people, edges, by), self._weights(people, by).w
        treated = self._arm(people)
        arms, causes = [~treated, treated], len(self.of.causes)
        events = np.stack([way.events(causes, w * arm) for arm in arms], axis=1)
        risk = np.array([w[arm] @ way.risk[arm] for arm in arms])
        entering = w * way.last
        own = [self._followed(people, entering * arm) for arm in arms]
        whole, dims = self._followed(people, entering), ("arms", "cells")
        bounds = (2, self._most(people))
        return Totals(
            people.derived(events, whole, dims=("causes", *dims), bounds=(causes, *bounds)),
            people.derived(risk, whole, dims=dims, bounds=bounds),
            people.derived(np.array([(o.sum(), o @ o) for o in own]), whole, dims=("arms", "sums")),
        )

    def weighed(self, people: People, edges: Edges, by: Weighing, arm: int) -> Design:
        """An arm as its people weigh in all trials together: the gate refuses one that a few carry."""
        made = self.design(people)
        inside = People(people.table, made)
        w = self._weights(inside, by).w * self._walked(inside, edges, by).last * (self._arm(inside) == arm)
        return carried(made, np.zeros(made.n, dtype=np.int64), [f"the {ARMS[arm]}"], self._followed(inside, w))

    @local(on="table")
    def derivatives(self, people: People, edges: Edges, by: Weighing, slopes: Slopes) -> Derivatives:
        """Derivatives of values by the coefficients of the propensity, then by those of stopping."""
        rows, weighed, made = self._rows(people), self._weights(people, by), []
        own = [(one, rows.on == one.on, rows.those(one.on)) for one in by.changes]
        for part in self._parts_of(people, edges, by, slopes):
            du = weighed.by_odds(part)
            made.append(np.concatenate([one.sums(of, du[here]) for one, here, of in own]))
        most = (self._values(), sum(len(one.beta) for one in by.changes))
        whole = self._entering(people, edges, by)
        return Derivatives(people.derived(np.array(made), whole, dims=("values", "terms"), bounds=most))

    @local(on="table")
    def lost_derivatives(self, people: People, edges: Edges, by: Weighing, slopes: Slopes) -> ByLosses:
        """Derivatives of values by the coefficients of being lost."""
        rows, way, model, made = self._rows(people), self._walked(people, edges, by), _lost(by), []
        row, arm, w = self._stretches(people).row, self._arm(people), self._weights(people, by).w
        rate = model.on(edges, rows.losing, rows.changed)[row]
        for i in range(len(slopes.events)):
            events, risk = slopes.of(i)
            moved = np.zeros_like(rate)
            for a, own in enumerate((~arm, arm)):
                moved[own] = (w[:, None] * way.by_log_rate(rate, events[:, a], risk[a]))[own]
            by_cell = model.of_grid(edges, moved, arm)
            made.append(starting.derivative(rows.losing[row], model, by_cell))
        bounds = self._values(), 2 * self._most(people) + rows.losing.shape[1]
        whole = self._entering(people, edges, by)
        return ByLosses(people.derived(np.array(made), whole, dims=("values", "terms"), bounds=bounds))

    @local(on="table")
    def squares(self, people: People, edges: Edges, by: Weighing, slopes: Slopes, leans: tuple[Lean, ...]) -> Squares:
        """Products of everybody's influences."""
        w, rows = self._weights(people, by).w, self._rows(people)
        phi = [self._followed(people, w * part) for part in self._parts_of(people, edges, by, slopes)]
        for one, lean in zip(by.changes, leans[by.lost is not None :], strict=True):
            of = rows.those(one.on)
            phi = [
                own + self._by_person(people, of, one.moved(of, np.array(row)))
                for own, row in zip(phi, lean.by, strict=True)
            ]
        if by.lost is not None:
            moved = starting.moved(self._losing(people, edges, by.lost.clock), by.lost, np.array(leans[0].by))
            phi = [own + self._whole(people, column) for own, column in zip(phi, moved.T, strict=True)]
        second, whole = np.array(phi) @ np.array(phi).T, self._entering(people, edges, by)
        return Squares(people.derived(second, whole, dims=("values", "values"), symmetric=True))

    # what person-trials are

    def _most(self, people: People) -> int:
        """Cells at most: those of the ladder."""
        return people.design.cells["left of the treated"].shape[1]

    def _rows(self, people: People) -> PersonTrials:
        """The person-trials of a hospital; made once."""
        return people.design.once("person-trials", lambda: person_trials(people.design.data, self.of))

    def _whole(self, people: People, values: Array) -> Array:
        """Sums (n,) over each person's rows of values (m,)."""
        return self._by_person(people, self._rows(people), values)

    def _by_person(self, people: People, rows: PersonTrials, values: Array) -> Array:
        """Sums (n,) over each person's part of the rows of values (m,)."""
        return np.bincount(rows.who, values, minlength=people.design.n).astype(float)

    def _stretches(self, people: People) -> Stretches:
        """How they are followed; made once."""
        return people.design.once("stretches", lambda: self._stretched(people.design.data, self._rows(people)))

    def _stretched(self, data: Enrolled, rows: PersonTrials) -> Stretches:
        event = data.had(self.of)[rows.who, rows.trial] > 0
        kept = self.of.adhering & (~rows.changed | bool(self.of.stopped))
        return stretches(rows.trial, kept, self._follow(data, rows), event, np.array(self.of.periods))

    def _followed(self, people: People, values: Array) -> Array:
        """Sums (n,) over each person's stretches of values (s,)."""
        who = self._rows(people).who[self._stretches(people).row]
        return np.bincount(who, values, minlength=people.design.n).astype(float)

    def _arm(self, people: People) -> Bools:
        """Whether each stretch (s,) is of the treated."""
        return self._rows(people).changed[self._stretches(people).row]

    def _way(self, people: People, edges: Edges) -> Way:
        """How stretches are followed on the grid; made once."""

        def made() -> Way:
            of, rows = self._stretches(people), self._rows(people)
            had = people.design.data.had(self.of)[rows.who, rows.trial]
            begin, end = (spent(edges[:-1], edges[1:], times) for times in (of.begin, of.end))
            return Way(np.diff(edges), begin, end, np.where(of.event, had[of.row], 0), cell_of(of.end, edges[1:]))

        return people.design.once(f"followed on {edges!r}", made)

    def _walked(self, people: People, edges: Edges, by: Weighing) -> Walked:
        """Stretches whose weights grow by the inverse probability of not being lost; made once."""

        def made() -> Walked:
            way, rows = self._way(people, edges), self._rows(people)
            rate = np.zeros_like(way.end)
            if by.lost is not None:
                rate = by.lost.on(edges, rows.losing, rows.changed)[self._stretches(people).row]
            return walked(way, rate, np.ones_like(rate))

        return people.design.once(f"walked on {edges!r} by {by.lost!r}", made)

    def _row_time(self, people: People, edges: Edges) -> Array:
        """Time (m, cells) for which people are followed in each of their trials."""
        return spent(edges[:-1], edges[1:], self._follow(people.design.data, self._rows(people)))

    def _follow(self, data: Enrolled, rows: PersonTrials) -> Array:
        """For how long people are followed in each trial (m,), from its beginning; in rows that begin none, not."""
        after = data.until[rows.who, rows.trial] - np.array(self.of.periods)[rows.trial]
        return np.where(rows.on, 0.0, np.minimum(after, self.of.horizon))

    def _losing(self, people: People, edges: Edges, clock: Clock) -> AtRisk:
        """The person-trials of the model of being lost, as they are followed."""
        rows, data = self._rows(people), people.design.data
        until, lost = self._follow(data, rows), data.lost(self.of)[rows.who, rows.trial]
        return AtRisk(rows.losing, clock.spent(until, rows.changed), clock.cell(lost, until, rows.changed))

    def _entering(self, people: People, edges: Edges, by: Weighing) -> Array:
        """The weights (n,) with which people enter, for the gate."""
        return self._followed(people, self._weights(people, by).w * self._walked(people, edges, by).last)

    def _values(self) -> int:
        """Values at most."""
        return (2 * len(self.of.times) + 1) * len(self.of.causes) + 2

    def _weights(self, people: People, by: Weighing) -> Chained:
        """The weights of stretches, but for being lost; made once."""
        rows = self._rows(people)
        return people.design.once(
            f"weights by {by.changes!r}",
            lambda: chained(self._stretches(people), chances(rows, by.changes), rows.changed, self.of.weighting),
        )

    def _parts_of(self, people: People, edges: Edges, by: Weighing, slopes: Slopes) -> list[Array]:
        """What each stretch of weight 1 moves each value by (s,)."""
        way, arm = self._walked(people, edges, by), self._arm(people)
        made = []
        for events, risk in map(slopes.of, range(len(slopes.events))):
            made.append(np.where(arm, *(way.part(events[:, a], risk[a]) for a in (1, 0))))
        return made


def events_of(cause: str) -> str:
    """The name of the cells of a cause's events."""
    return f"events of {cause}" if cause else "events"


def _stacked(parts: Sequence[Sum]) -> Sum:
    """Counts (1, cells) each, one below the other."""
    first = parts[0]
    return replace(first, value=np.vstack([s.value for s in parts]), bounds=(len(parts), *first.bounds[1:]))


def _lost(by: Weighing) -> Rates:
    if by.lost is None:
        raise TypeError("there is no model of being lost")
    return by.lost
