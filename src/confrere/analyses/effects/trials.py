"""Sequential trials inside a hospital: everybody's trials, their propensities, weighted events and times at risk.

Everybody is in the first trials up to the last one (`Enrolled.last`), untreated in all but that. Sums are over
person-trials; a person is one row of the design, and enters a sum with all their weights in it, so that the gate counts
people. How many people are in each trial and who starts in it is told, so that every such group has nobody or enough
people. In each trial by itself nobody or enough of its untreated leave, or have the event, in a cell of time; so of the
treated, who are treated in one trial each, in all trials together; so by each cause, and of those who are lost, or
followed to the end, where losses are weighed against. All of it is on one grid.

The propensity is logistic over person-trials, with an intercept for each trial: log odds a_k + z'b. A person's score is
the sum of those of their trials, whence variances of people (Liang & Zeger, Biometrika 1986;73:13). Being lost has a
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
from confrere.analyses.effects.even_tables import Slopes
from confrere.analyses.effects.influence import Lean
from confrere.analyses.effects.panel import around, starts
from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.analyses.effects.starting import AtRisk, Clock, Rates
from confrere.analyses.effects.strategies import Squares
from confrere.analyses.effects.walked import Walked, Way, walked
from confrere.analyses.families import LINKS, Mean
from confrere.analyses.ladder import cell_of, spent
from confrere.analyses.newton import Curve, Slope
from confrere.analyses.scaling import Scales, Standard, products_of, scales
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum, local, register
from confrere.study.ground import design_of, model_of, narrowed

REPEATS = 110  # slopes at most, as of other models
NONE = "not followed beyond the first period"
QUARTER = 0.25  # what a score weighs people by, beside their information: as of other logistic models
Edges = tuple[float, ...]


class Enrolled(NamedTuple):
    """A hospital's people: terms by trial (n, trials, p), time and cause from entry, the number of trials, treated in
    the last; until when they are followed in each trial (n, trials), from entry.
    """

    x: Array
    time: Array
    cause: Ints
    last: Ints
    treated: Bools
    until: Array

    def had(self, of: SequentialTrials) -> Ints:
        """The cause of which each has the event in each trial (n, trials), 0 for none."""
        ends = (self.time[:, None] <= self.until) & _inside(self)
        return np.where(ends & (self.until - np.array(of.periods) <= of.horizon), self.cause[:, None], 0)

    def lost(self, of: SequentialTrials) -> Bools:
        """Who is lost to follow-up in each trial (n, trials), and leaves it for no other reason."""
        end = of.periods[-1] if of.adhering else np.inf
        gone = (self.cause[:, None] == 0) & (self.time[:, None] <= self.until) & (self.until < end)
        return np.asarray(gone & _inside(self) & (self.until - np.array(of.periods) < of.horizon))


class PersonTrials(NamedTuple):
    """One row per person and trial (m,), a person's in the order of trials: whose, which, terms (m, p), treated; terms
    of being lost (m, q)."""

    who: Ints
    trial: Ints
    x: Array
    treated: Bools
    losing: Array


class Treating(NamedTuple):
    """The propensity: log odds of the trials that coefficients add to; coefficients of trials, then terms; public."""

    base: tuple[float, ...]
    standard: Standard
    beta: tuple[float, ...]

    def of(self, rows: PersonTrials) -> Mean:
        """Propensities (m,)."""
        trials = len(self.base)
        alpha = np.array(self.base) + np.array(self.beta[:trials])
        return LINKS["logit"].mean(alpha[rows.trial] + self.standard.times(rows.x, self.beta[trials:]))


class Counts(NamedTuple):
    """People by the number of their trials, those treated in the last one beside; events by cell of time."""

    enrolled: Sum  # (1, 2 trials), of each number the untreated first
    treated: Sum  # (causes, cells) events of the treated
    untreated: Sum  # (causes, cells) those of the untreated of all trials


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

    treating: Treating
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
                started = data.treated & (at[1] < data.last - 1) & self.of.adhering
                stayed = own & (had == 0) & ~lost & ~started & (after > 0)
                cells[f"stayed {name}"] = self._cells(stayed, after, edges)
        if self.of.adhering:  # a period has its own events, and who else was in its trial untreated is lost in it
            had = data.had(self.of)[np.arange(made.n), data.last - 1]
            lost = ~data.treated & (had == 0) & (data.last < len(self.of.periods))
            cells["lost"] = Cells(np.where(lost, data.last - 1, -1), (1, len(self.of.periods)))
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=cells)

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
    def losses(self, people: People, edges: Edges) -> Losses:
        """People lost to follow-up by cell, and the time for which people are followed."""
        own, others = self._apart(people, "lost")
        time, treated = self._row_time(people, edges), self._rows(people).treated
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
        rows = self._rows(people)
        m = by.of(rows)
        k, z = len(by.base), by.standard.of(rows.x)
        q = k + z.shape[1]
        information = np.zeros((q, q))
        information[:k, :k] = np.diag(np.bincount(rows.trial, m.slope, minlength=k))
        for j in range(k):
            information[j, k:] = m.slope[rows.trial == j] @ z[rows.trial == j]
        information[k:, :k] = information[:k, k:].T
        information[k:, k:] = products_of(z, m.slope)
        return Curve(
            *self._slope(people, by), people.derived(information, self._whole(people, m.slope), symmetric=True)
        )

    def _slope(self, people: People, by: Treating) -> Slope:
        rows = self._rows(people)
        m = by.of(rows)
        score = rows.treated - m.mu
        loglik = np.log(np.where(rows.treated, m.mu, m.other)).sum()
        trials = np.bincount(rows.trial, score, minlength=len(by.base))
        w = self._whole(people, m.slope + QUARTER)
        return Slope(
            people.derived(np.asarray(loglik), w),
            people.derived(np.concatenate([trials, by.standard.sums(rows.x, score)]), w),
        )

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

    @local(on="table")
    def derivatives(self, people: People, edges: Edges, by: Weighing, slopes: Slopes) -> Derivatives:
        """Derivatives of values by the coefficients of the propensity."""
        rows, weighed, treating = self._rows(people), self._weights(people, by), by.treating
        made = []
        for part in self._parts_of(people, edges, by, slopes):
            du = weighed.by_odds(part)
            trials = np.bincount(rows.trial, du, minlength=len(treating.base))
            made.append(np.concatenate([trials, treating.standard.sums(rows.x, du)]))
        most, whole = (self._values(), len(treating.beta)), self._entering(people, edges, by)
        return Derivatives(people.derived(np.array(made), whole, dims=("values", "terms"), bounds=most))

    @local(on="table")
    def lost_derivatives(self, people: People, edges: Edges, by: Weighing, slopes: Slopes) -> ByLosses:
        """Derivatives of values by the coefficients of being lost."""
        rows, way, model, made = self._rows(people), self._walked(people, edges, by), _lost(by), []
        row, arm, w = self._stretches(people).row, self._arm(people), self._weights(people, by).w
        rate = model.on(edges, rows.losing, rows.treated)[row]
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
        rows, w, treating = self._rows(people), self._weights(people, by).w, by.treating
        score, k, z = rows.treated - treating.of(rows).mu, len(treating.base), treating.standard.of(rows.x)
        phi = []
        for part, row in zip(self._parts_of(people, edges, by, slopes), leans[0].by, strict=True):
            through = score * (np.array(row[:k])[rows.trial] + z @ np.array(row[k:]))
            phi.append(self._followed(people, w * part) + self._whole(people, through))
        if by.lost is not None:
            moved = starting.moved(self._losing(people, edges, by.lost.clock), by.lost, np.array(leans[1].by))
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
        """Sums (n,) over each person's trials of values (m,)."""
        return np.bincount(self._rows(people).who, values, minlength=people.design.n).astype(float)

    def _stretches(self, people: People) -> Stretches:
        """How they are followed; made once."""
        return people.design.once("stretches", lambda: self._stretched(people.design.data, self._rows(people)))

    def _stretched(self, data: Enrolled, rows: PersonTrials) -> Stretches:
        at, periods = (rows.who, rows.trial), np.array(self.of.periods)
        until = np.minimum(data.until[at] - periods[rows.trial], self.of.horizon)
        kept = ~rows.treated & self.of.adhering
        return stretches(rows.trial, kept, until, data.had(self.of)[at] > 0, periods)

    def _followed(self, people: People, values: Array) -> Array:
        """Sums (n,) over each person's stretches of values (s,)."""
        who = self._rows(people).who[self._stretches(people).row]
        return np.bincount(who, values, minlength=people.design.n).astype(float)

    def _arm(self, people: People) -> Bools:
        """Whether each stretch (s,) is of the treated."""
        return self._rows(people).treated[self._stretches(people).row]

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
                rate = by.lost.on(edges, rows.losing, rows.treated)[self._stretches(people).row]
            return walked(way, rate, np.ones_like(rate))

        return people.design.once(f"walked on {edges!r} by {by.lost!r}", made)

    def _row_time(self, people: People, edges: Edges) -> Array:
        """Time (m, cells) for which people are followed in each of their trials."""
        return spent(edges[:-1], edges[1:], self._until(people))

    def _until(self, people: People) -> Array:
        """Until when people are followed in each of their trials (m,), from its beginning."""
        rows, data = self._rows(people), people.design.data
        after = data.until[rows.who, rows.trial] - np.array(self.of.periods)[rows.trial]
        return np.asarray(np.minimum(after, self.of.horizon))

    def _losing(self, people: People, edges: Edges, clock: Clock) -> AtRisk:
        """The person-trials of the model of being lost, as they are followed."""
        rows, until, data = self._rows(people), self._until(people), people.design.data
        lost = data.lost(self.of)[rows.who, rows.trial]
        return AtRisk(rows.losing, clock.spent(until, rows.treated), clock.cell(lost, until, rows.treated))

    def _entering(self, people: People, edges: Edges, by: Weighing) -> Array:
        """The weights (n,) with which people enter, for the gate."""
        return self._followed(people, self._weights(people, by).w * self._walked(people, edges, by).last)

    def _values(self) -> int:
        """Values at most."""
        return (2 * len(self.of.times) + 1) * len(self.of.causes) + 2

    def _weights(self, people: People, by: Weighing) -> Chained:
        """The weights of stretches, but for being lost; made once."""
        rows, treating = self._rows(people), by.treating
        return people.design.once(
            f"weights by {treating!r}",
            lambda: chained(self._stretches(people), treating.of(rows), rows.treated, self.of.weighting),
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


def enrolled(people: People, of: SequentialTrials) -> Design:
    """Who is in a trial; its data are `Enrolled`. Raises DataError for starts before entry."""
    frame = people.table.frame
    made = design_of(people, of.formula, of.about)
    time = np.zeros(len(frame))
    time[made.rows] = made.data.time
    starts(frame, of.started, made.rows, "their entry")
    last, treated = of.enrolment(frame, time)
    trials = [made.data.x]
    for k, formula in enumerate(of.formulas[1:], 1):
        x = model_of(formula, of.about).evaluate(frame).x
        trials.append(np.where((last > k)[:, None], x, 0.0)[made.rows])  # of those in the trial everything is known
    last, treated, time = last[made.rows], treated[made.rows], made.data.time
    until = of.ends(time, last, treated)
    cause = np.where(made.data.event > 0, made.data.event, 0).astype(np.int64)
    data = Enrolled(np.stack(trials, axis=1), time, cause, last, treated, until)
    made = narrowed(replace(made, data=data, columns=of.reads), data.last > 0, NONE)
    data = made.data
    had = (data.had(of) > 0).any(axis=1)
    columns = {**dict(zip(made.names, data.x[:, 0].T, strict=True)), "starts in a period": data.treated}
    columns |= _by_trial(data, of)
    return replace(
        made, x=np.column_stack(list(columns.values())).astype(float), names=tuple(columns), flags={"event": had},
        weights=None,
    )  # fmt: skip


def _inside(data: Enrolled) -> Bools:
    """Who is in each trial (n, trials)."""
    return np.arange(data.x.shape[1]) < data.last[:, None]


def _by_trial(data: Enrolled, of: SequentialTrials) -> dict[str, Array]:
    """What the gate judges beside the first trial, since sums over each trial leave: who is in it, and every term of
    theirs in it; and of terms that are updated, what they are in everybody's last trial, where people start."""
    names, inside = [model_of(formula, of.ground).names for formula in of.formulas], _inside(data)
    rows, made = np.arange(len(data.last)), {}
    for k, terms in enumerate(names[1:], 1):
        where = f"in the trial at {of.periods[k]:g}"
        made[where] = inside[:, k].astype(float)
        made |= {f"{term} {where}": around(data.x[:, k, j], inside[:, k]) for j, term in enumerate(terms)}
    for j, (first, *later) in enumerate(zip(*names, strict=True)):
        if set(later) - {first}:
            made[f"{first} in the last trial"] = data.x[rows, data.last - 1, j]
    return made


def person_trials(data: Enrolled, of: SequentialTrials) -> PersonTrials:
    """Everybody in each of their trials."""
    who, trial = np.nonzero(_inside(data))
    treated = data.treated[who] & (trial == data.last[who] - 1)
    names, x = model_of(of.formula, of.ground).names, data.x[who, trial]
    known, losing = ([names.index(name) for name in those] for those in (of.confounding, of.losing))
    return PersonTrials(who, trial, x[:, known], treated, x[:, losing])
