"""Sequential trials inside a hospital: everybody's trials, their propensities, weighted events and times at risk.

Everybody is in the first trials up to the last one (`Enrolled.last`), untreated in all but that. Sums are over
person-trials; a person is one row of the design, and enters a sum with all their weights in it, so that the gate counts
people. How many people are in each trial and who starts in it is told, so that every such group has nobody or enough
people. In each trial by itself nobody or enough of its untreated leave, or have the event, in a cell of time; so of the
treated, who are treated in one trial each, in all trials together. All of it is on one grid.

The propensity is logistic over person-trials, with an intercept for each trial: log odds a_k + z'b. A person's score is
the sum of those of their trials, whence variances of people (Liang & Zeger, Biometrika 1986;73:13).

Sources: Hernan et al., Epidemiology 2008;19:766; Danaei et al., Stat Methods Med Res 2013;22:70.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.adhering import Chained, Stretches, chained, stretches
from confrere.analyses.effects.even_tables import Slopes
from confrere.analyses.effects.influence import Lean
from confrere.analyses.effects.panel import around, starts
from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.analyses.effects.strategies import Squares
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
    """A hospital's people: terms by trial (n, trials, p), time and event from entry, the number of trials, treated in
    the last; until when they are followed in each trial (n, trials), from entry.
    """

    x: Array
    time: Array
    event: Bools
    last: Ints
    treated: Bools
    until: Array

    def had(self, of: SequentialTrials) -> Bools:
        """Who has the event in each trial (n, trials)."""
        ends = self.event[:, None] & (self.time[:, None] <= self.until)
        return np.asarray(ends & _inside(self) & (self.until - np.array(of.periods) <= of.horizon))


class PersonTrials(NamedTuple):
    """One row per person and trial (m,), a person's in the order of trials: whose, which, terms (m, p), treated."""

    who: Ints
    trial: Ints
    x: Array
    treated: Bools


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
    treated: Sum  # (1, cells) events of the treated
    untreated: Sum  # (1, cells) those of the untreated of all trials


class Totals(NamedTuple):
    """By arm and cell: weighted events, weighted time; by arm: people's weights, their squares."""

    events: Sum  # (2, cells)
    risk: Sum  # (2, cells)
    weights: Sum  # (2, 2)


class Derivatives(NamedTuple):
    """Of values, by the coefficients of the propensity."""

    by: Sum  # (k, q)


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
            cells[f"events {name}"] = self._cells(own & data.had(self.of)[at], after, edges)
            cells[f"left {name}"] = self._cells(own, after, edges)
        if self.of.adhering:  # a period has its own events, and who else was in its trial untreated is lost in it
            had = data.had(self.of)[np.arange(made.n), data.last - 1]
            lost = ~data.treated & ~had & (data.last < len(self.of.periods))
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
        p = people.design.data.x.shape[2]
        return Scales(made.total, *(replace(s, value=s.value[:p], bounds=(p,)) for s in made[1:]))

    @local(on="table")
    def counted(self, people: People) -> Counts:
        """People by trials, and events by cell."""
        parts = [people.cells(f"events {name}") for name, _ in self._parts()]
        others = replace(parts[1], value=np.sum([s.value for s in parts[1:]], axis=0))
        return Counts(people.cells("enrolled"), parts[0], others)

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
    def totals(self, people: People, edges: Edges, by: Treating) -> Totals:
        """Weighted events and times at risk by arm and cell."""
        rows, weighed = self._rows(people), self._weights(people, by)
        of, w, size = weighed.of, weighed.w, len(edges) - 1
        treated = rows.treated[of.row]
        at = treated * size + self._cell(people, edges)
        events = np.bincount(at[of.event], w[of.event], minlength=2 * size).reshape(2, size).astype(float)
        time, arms = self._spent(people, edges), [~treated, treated]
        risk = np.array([w[arm] @ time[arm] for arm in arms])
        own = [self._followed(people, w * arm) for arm in arms]
        whole, dims = self._followed(people, w), {"dims": ("arms", "cells"), "bounds": (2, self._most(people))}
        return Totals(
            people.derived(events, whole, **dims), people.derived(risk, whole, **dims),
            people.derived(np.array([(o.sum(), o @ o) for o in own]), whole, dims=("arms", "sums")),
        )  # fmt: skip

    @local(on="table")
    def derivatives(self, people: People, edges: Edges, by: Treating, slopes: Slopes) -> Derivatives:
        """Derivatives of values by the coefficients of the propensity."""
        rows, weighed = self._rows(people), self._weights(people, by)
        made = []
        for part in self._parts_of(people, edges, slopes):
            du = weighed.by_odds(part)
            trials = np.bincount(rows.trial, du, minlength=len(by.base))
            made.append(np.concatenate([trials, by.standard.sums(rows.x, du)]))
        most = (2 * len(self.of.times) + 3, len(by.beta))
        whole = self._followed(people, weighed.w)
        return Derivatives(people.derived(np.array(made), whole, dims=("values", "terms"), bounds=most))

    @local(on="table")
    def squares(self, people: People, edges: Edges, by: Treating, slopes: Slopes, lean: Lean) -> Squares:
        """Products of everybody's influences."""
        rows, w = self._rows(people), self._weights(people, by).w
        score, k, z = rows.treated - by.of(rows).mu, len(by.base), by.standard.of(rows.x)
        phi = []
        for part, row in zip(self._parts_of(people, edges, slopes), lean.by, strict=True):
            through = score * (np.array(row[:k])[rows.trial] + z @ np.array(row[k:]))
            phi.append(self._followed(people, w * part) + self._whole(people, through))
        second, whole = np.array(phi) @ np.array(phi).T, self._followed(people, w)
        return Squares(people.derived(second, whole, dims=("values", "values"), symmetric=True))

    # what person-trials are

    def _most(self, people: People) -> int:
        """Cells at most: those of the ladder."""
        return people.design.cells["left of the treated"].shape[1]

    def _rows(self, people: People) -> PersonTrials:
        """The person-trials of a hospital; made once."""
        return people.design.once("person-trials", lambda: person_trials(people.design.data))

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
        return stretches(rows.trial, kept, until, data.had(self.of)[at], periods)

    def _followed(self, people: People, values: Array) -> Array:
        """Sums (n,) over each person's stretches of values (s,)."""
        who = self._rows(people).who[self._stretches(people).row]
        return np.bincount(who, values, minlength=people.design.n).astype(float)

    def _cell(self, people: People, edges: Edges) -> Ints:
        """The cell in which each stretch ends (s,)."""
        return cell_of(self._stretches(people).end, edges[1:])

    def _spent(self, people: People, edges: Edges) -> Array:
        """Time (s, cells) in each cell; made once."""

        def made() -> Array:
            of = self._stretches(people)
            until = [spent(edges[:-1], edges[1:], times) for times in (of.end, of.begin)]
            return until[0] - until[1]

        return people.design.once(f"spent in {edges!r}", made)

    def _weights(self, people: People, by: Treating) -> Chained:
        """The weights of stretches; made once."""
        rows = self._rows(people)
        return people.design.once(
            f"weights by {by!r}",
            lambda: chained(self._stretches(people), by.of(rows), rows.treated, self.of.weighting),
        )

    def _parts_of(self, people: People, edges: Edges, slopes: Slopes) -> list[Array]:
        """What each stretch of weight 1 moves each value by (s,)."""
        of, time, cell = self._stretches(people), self._spent(people, edges), self._cell(people, edges)
        arm, size, made = self._rows(people).treated[of.row].astype(int), len(edges) - 1, []
        for events, risk in zip(slopes.events, slopes.risk, strict=True):
            by_event, by_time = np.array(events).reshape(2, size), np.array(risk).reshape(2, size)
            each = time @ by_time.T
            made.append(of.event * by_event[arm, cell] + each[np.arange(len(arm)), arm])
        return made


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
    data = Enrolled(np.stack(trials, axis=1), time, made.data.event > 0, last, treated, until)
    made = narrowed(replace(made, data=data, columns=of.reads), data.last > 0, NONE)
    data = made.data
    had = data.had(of).any(axis=1)
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


def person_trials(data: Enrolled) -> PersonTrials:
    """Everybody in each of their trials."""
    who, trial = np.nonzero(_inside(data))
    treated = data.treated[who] & (trial == data.last[who] - 1)
    return PersonTrials(who, trial, data.x[who, trial], treated)
