"""What people contribute to calendar years, bands of age and sexes: time at risk and events, or presence and cases.

Somebody at risk for years counts in each of them, and in every band of age that they go through, for as long as they
are there (Lexis W. Einleitung in die Theorie der Bevölkerungsstatistik, 1875). Age changes on the birthday, a year
having 365.25 days. Inside a hospital; `Axes` alone is public.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from confrere.analyses.at_risk import YEAR, AtRisk, new_year
from confrere.rounds import Array, Bools

OPEN = np.inf  # where the last band of age ends


class Axes(NamedTuple):
    """What is told apart: first years of periods and the year after the last; first years of bands of age; sexes."""

    years: tuple[int, ...]
    ages: tuple[int, ...]
    sexes: tuple[str, ...]

    def rows(self, whole: bool) -> list[tuple[str, int]]:
        """(axis, place) of every row. The first is everybody, if that is told."""
        places = (("years", len(self.years) - 1), ("ages", len(self.ages)), ("sexes", len(self.sexes)))
        return [*([("all", 0)] if whole else []), *((axis, i) for axis, many in places for i in range(many))]

    def neighbours(self, whole: bool) -> Iterator[tuple[int, int]]:
        """Places among `rows` that follow one another on an axis."""
        rows = self.rows(whole)
        for i, (one, other) in enumerate(itertools.pairwise(rows)):
            if one[0] == other[0] != "sexes":
                yield i, i + 1

    def joined(self, few: set[tuple[str, int]]) -> Axes:
        """With these rows joined to their neighbours; sexes have none, and are not told apart any more."""
        return Axes(
            _joined(self.years, {i for axis, i in few if axis == "years"}, len(self.years) - 1),
            _joined(self.ages, {i for axis, i in few if axis == "ages"}, len(self.ages)),
            () if any(axis == "sexes" for axis, _ in few) else self.sexes,
        )

    def label(self, axis: str, place: int) -> str:
        """A row in words: 2015, 2015-2017, 40-59, 80+, female."""
        if axis == "years":
            return _span(self.years[place], self.years[place + 1])
        if axis == "ages":
            last = place + 1 == len(self.ages)
            return f"{self.ages[place]}+" if last else _span(self.ages[place], self.ages[place + 1])
        return self.sexes[place] if axis == "sexes" else ""


def _span(first: int, after: int) -> str:
    return f"{first}" if after == first + 1 else f"{first}-{after - 1}"


def _joined(edges: tuple[int, ...], few: set[int], many: int) -> tuple[int, ...]:
    """Edges without the left one of each of these cells; of cells in a row, every second, which is often enough."""
    if few and many == 1:
        return ()
    gone: set[int] = set()
    for i in sorted(few):
        if i - 1 not in gone:
            gone.add(max(i, 1))
    return tuple(edge for i, edge in enumerate(edges) if i not in gone)


class Rows(NamedTuple):
    """What each person contributes to each row.

    below  (n, rows) days at risk, or 1 for who is there
    above  (n, rows) 1 for an event, or a case
    size   (rows,) what a whole one of `below` is worth where rows are of different length; NaN elsewhere
    """

    below: Array
    above: Array
    size: Array


def at_risk(a: AtRisk, sex: Array, axes: Axes) -> Rows:
    """Days at risk and events. `sex` (n, sexes) marks who is of each."""
    periods = [(new_year(y), new_year(z)) for y, z in zip(axes.years[:-1], axes.years[1:], strict=True)]
    spans = [(np.full(a.start.shape, low), np.full(a.start.shape, high)) for low, high in periods]
    spans += [(birthday(a.birth, low), birthday(a.birth, high)) for low, high in _bands(axes.ages)]
    last = a.stop - 1
    time, event = a.stop - a.start, a.event.astype(float)
    days = [np.clip(np.minimum(a.stop, high) - np.maximum(a.start, low), 0.0, None) for low, high in spans]
    cases = [event * ((last >= low) & (last < high)) for low, high in spans]
    size = [np.nan, *(high - low for low, high in periods), *[np.nan] * (len(axes.ages) + sex.shape[1])]
    below, above = np.stack([time, *days], axis=1), np.stack([event, *cases], axis=1)
    return Rows(np.hstack([below, time[:, None] * sex]), np.hstack([above, event[:, None] * sex]), np.array(size))


class Seen(NamedTuple):
    """People and when they are observed: first day, day after the last, birth; first and last day of the outcome; (n,)
    each."""

    start: Array
    stop: Array
    birth: Array
    onset: Array
    end: Array

    def on(self, window: tuple[float, float]) -> tuple[Bools, Bools]:
        """Who is observed in a window of days, and who of them is a case there."""
        low, high = np.maximum(self.start, window[0]), np.minimum(self.stop, window[1])
        there = low < high
        return there, there & (self.onset < high) & (self.end >= low)


def observed(s: Seen, sex: Array, axes: Axes, last: int, point: bool) -> Rows:
    """People and cases. By age and sex they are those of the year `last`."""
    years = [window(y, z, point) for y, z in zip(axes.years[:-1], axes.years[1:], strict=True)]
    now = window(last, last + 1, point)
    found = [s.on(one) for one in years]
    there, ill = s.on(now)
    age = np.maximum(s.start, now[0])
    bands = [(age >= birthday(s.birth, low)) & (age < birthday(s.birth, high)) for low, high in _bands(axes.ages)]
    marks = [*bands, *(sex.T > 0)]
    below, above = ([pair[k] for pair in found] + [(there, ill)[k] & mark for mark in marks] for k in (0, 1))
    return Rows(_columns(below, len(age)), _columns(above, len(age)), np.full(len(below), np.nan))


def window(first: int, after: int, point: bool) -> tuple[float, float]:
    """1 July of the last of some years, or all of them: first day, and day after the last."""
    if not point:
        return new_year(first), new_year(after)
    july = new_year(after) - 184  # the days from 1 July to the end of the year
    return july, july + 1


def birthday(birth: Array, age: float) -> Array:
    """The day on which people are so many years old."""
    return birth + (np.floor(age * YEAR) if np.isfinite(age) else OPEN)


def _bands(ages: tuple[int, ...]) -> list[tuple[float, float]]:
    return list(zip(ages, [*ages[1:], OPEN], strict=True)) if ages else []


def _columns(marks: list[Bools], people: int) -> Array:
    """Marks (people,) as columns of 0 and 1."""
    return np.stack(marks, axis=1).astype(float) if marks else np.empty((people, 0))
