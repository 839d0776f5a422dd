"""Everybody's trials inside a hospital, and the chances with which treatments start in them, or stop (`trials`).

Everybody is in the first trials up to the last one (`Enrolled.last`), untreated in all but that. Where stops are looked
at, the treated have further rows: one of each later period before which they are still treated, and beyond which they
are followed. A row is of a person and a period in which their treatment may change, by starting or by stopping. Both
chances are logistic over rows: log odds a_k + z'b, with an intercept for each period.

Whoever stops within the period in which they start is taken to stop within the next one: a trial begins at the end of a
period, and to be in it as treated is to have started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.panel import around, numbers, starts
from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.analyses.families import LINKS, Mean
from confrere.analyses.scaling import Standard, products_of
from confrere.errors import DataError
from confrere.rounds import Array, Bools, Design, Ints, People
from confrere.study.ground import design_of, model_of, narrowed

NONE = "not followed beyond the first period"


class Enrolled(NamedTuple):
    """A hospital's people: terms by period (n, periods, p), time and cause from entry, the number of trials, treated in
    the last; the number of periods that they have rows of, stopped in the last; until when they are followed in each
    trial (n, periods), from entry.
    """

    x: Array
    time: Array
    cause: Ints
    last: Ints
    treated: Bools
    through: Ints
    stopped: Bools
    until: Array

    def had(self, of: SequentialTrials) -> Ints:
        """The cause of which each has the event in each trial (n, trials), 0 for none."""
        ends = (self.time[:, None] <= self.until) & self.inside
        return np.where(ends & (self.until - np.array(of.periods) <= of.horizon), self.cause[:, None], 0)

    def lost(self, of: SequentialTrials) -> Bools:
        """Who is lost to follow-up in each trial (n, trials), and leaves it for no other reason."""
        end = of.periods[-1] if of.adhering else np.inf
        gone = (self.cause[:, None] == 0) & (self.time[:, None] <= self.until) & (self.until < end)
        return np.asarray(gone & self.inside & (self.until - np.array(of.periods) < of.horizon))

    @property
    def inside(self) -> Bools:
        """Who is in each trial (n, periods)."""
        return np.arange(self.x.shape[1]) < self.last[:, None]

    @property
    def on(self) -> Bools:
        """Who is treated before each period, and may stop in it (n, periods)."""
        return (np.arange(self.x.shape[1]) < self.through[:, None]) & ~self.inside

    def stops(self) -> Bools:
        """Who stops in each period (n, periods)."""
        at = np.arange(self.x.shape[1]) == self.through[:, None] - 1
        return np.asarray(at & self.stopped[:, None])


class PersonTrials(NamedTuple):
    """One row per person and period in which their treatment may change (m,), a person's in the order of periods.

    `who` and `trial` are the person and the period; `x` (m, p) terms, `losing` (m, q) those of being lost; `changed`,
    whether the treatment starts in it, or, of those who are `on` it, stops. Rows of those who are on it begin no trial.
    """

    who: Ints
    trial: Ints
    x: Array
    changed: Bools
    losing: Array
    on: Bools

    def those(self, on: bool) -> PersonTrials:
        """The rows in which it may start, or those in which it may stop."""
        some = self.on == on
        return self if some.all() else PersonTrials(*(column[some] for column in self))


class Treating(NamedTuple):
    """The chance of a change: log odds of periods from the `first` on, that coefficients add to; coefficients of
    periods, then terms; public. Of starting, which is the propensity, or, of those who are `on`, of stopping.
    """

    base: tuple[float, ...]
    standard: Standard
    beta: tuple[float, ...]
    on: bool = False

    @property
    def first(self) -> int:
        """The place of the first of its periods: nobody stops in the first."""
        return int(self.on)

    def of(self, rows: PersonTrials) -> Mean:
        """Chances (m,) of its own rows."""
        alpha = np.array(self.base) + np.array(self.beta[: len(self.base)])
        terms = self.standard.times(rows.x, self.beta[len(self.base) :])
        return LINKS["logit"].mean(alpha[rows.trial - self.first] + terms)

    def sums(self, rows: PersonTrials, values: Array) -> Array:
        """Sums (q,) over its own rows of values (m,) times what each coefficient multiplies."""
        periods = np.bincount(rows.trial - self.first, values, minlength=len(self.base))
        return np.concatenate([periods, self.standard.sums(rows.x, values)])

    def products(self, rows: PersonTrials, w: Array) -> Array:
        """Weighted products (q, q) over its own rows of what coefficients multiply."""
        k, z = len(self.base), self.standard.of(rows.x)
        made = np.zeros((k + z.shape[1],) * 2)
        place = rows.trial - self.first
        made[:k, :k] = np.diag(np.bincount(place, w, minlength=k))
        for j in range(k):
            made[j, k:] = w[place == j] @ z[place == j]
        made[k:, :k] = made[:k, k:].T
        made[k:, k:] = products_of(z, w)
        return made

    def moved(self, rows: PersonTrials, by: Array) -> Array:
        """What each of its own rows (m,) moves a value by that leans `by` (q,) on it."""
        k = len(self.base)
        through = by[:k][rows.trial - self.first] + self.standard.of(rows.x) @ by[k:]
        return np.asarray((rows.changed - self.of(rows).mu) * through)


def chances(rows: PersonTrials, by: Sequence[Treating]) -> Mean:
    """The chance of a change in every row (m,)."""
    made = Mean(*(np.zeros(len(rows.who)) for _ in Mean._fields))
    for one in by:
        for out, values in zip(made, one.of(rows.those(one.on)), strict=True):
            out[rows.on == one.on] = values
    return made


def enrolled(people: People, of: SequentialTrials) -> Design:
    """Who is in a trial; its data are `Enrolled`. Raises DataError for starts before entry, and stops before these."""
    frame = people.table.frame
    made = design_of(people, of.formula, of.about)
    time = np.zeros(len(frame))
    time[made.rows] = made.data.time
    _check_stops(frame, of, starts(frame, of.started, made.rows, "their entry"), made.rows)
    last, treated = of.enrolment(frame, time)
    through, stopped = of.keeping(frame, time, last, treated)
    trials = [made.data.x]
    for k, formula in enumerate(of.formulas[1:], 1):
        x = model_of(formula, of.about).evaluate(frame).x
        trials.append(np.where((through > k)[:, None], x, 0.0)[made.rows])  # of these everything is known
    last, treated, through, stopped = last[made.rows], treated[made.rows], through[made.rows], stopped[made.rows]
    until = of.ends(made.data.time, last, treated, through, stopped)
    cause = np.where(made.data.event > 0, made.data.event, 0).astype(np.int64)
    data = Enrolled(np.stack(trials, axis=1), made.data.time, cause, last, treated, through, stopped, until)
    made = narrowed(replace(made, data=data, columns=of.reads), data.last > 0, NONE)
    data = made.data
    had = (data.had(of) > 0).any(axis=1)
    columns = {**dict(zip(made.names, data.x[:, 0].T, strict=True)), "starts in a period": data.treated}
    columns |= ({"stops in a period": data.stopped} if of.stopped else {}) | _by_trial(data, of)
    return replace(
        made, x=np.column_stack(list(columns.values())).astype(float), names=tuple(columns), flags={"event": had},
        weights=None,
    )  # fmt: skip


def _check_stops(frame: object, of: SequentialTrials, start: Array, rows: Bools) -> None:
    """DataError for a treatment that stops before it starts, or that never starts."""
    if of.stopped and (bad := int((numbers(frame, of.stopped)[rows] < start).sum())):
        raise DataError(
            f"column {of.stopped!r}: {bad} people stop before they start by {of.started!r}, or without a start: "
            f"correct the times, or empty the field"
        )


def _by_trial(data: Enrolled, of: SequentialTrials) -> dict[str, Array]:
    """What the gate judges beside the first trial, since sums over each trial leave: who is in it, and every term of
    theirs in it; and of terms that are updated, what they are in everybody's last trial, where people start. So of
    everybody who may stop in a period."""
    names, made = [model_of(formula, of.ground).names for formula in of.formulas], dict[str, Array]()
    for k, terms in enumerate(names[1:], 1):
        parts = [(f"in the trial at {of.periods[k]:g}", data.inside[:, k])]
        parts += [(f"treated before the period to {of.periods[k]:g}", data.on[:, k])] if of.stopped else []
        for where, who in parts:
            made[where] = who.astype(float)
            made |= {f"{term} {where}": around(data.x[:, k, j], who) for j, term in enumerate(terms)}
    rows = np.arange(len(data.last))
    for j, (first, *later) in enumerate(zip(*names, strict=True)):
        if set(later) - {first}:
            made[f"{first} in the last trial"] = data.x[rows, data.last - 1, j]
            if of.stopped:
                made[f"{first} in the last period"] = around(
                    data.x[rows, data.through - 1, j], np.asarray(data.on.any(axis=1))
                )
    return made


def person_trials(data: Enrolled, of: SequentialTrials) -> PersonTrials:
    """Everybody in each of their trials, and in the periods after the last of them in which they may stop."""
    who, trial = np.nonzero(np.arange(data.x.shape[1]) < data.through[:, None])
    on = trial >= data.last[who]
    starts_in = data.treated[who] & (trial == data.last[who] - 1)
    names, x = model_of(of.formula, of.ground).names, data.x[who, trial]
    known, losing = ([names.index(name) for name in those] for those in (of.confounding, of.losing))
    changed = np.where(on, data.stops()[who, trial], starts_in)
    return PersonTrials(who, trial, x[:, known], changed, x[:, losing], on)
