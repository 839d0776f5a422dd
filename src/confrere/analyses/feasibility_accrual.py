"""How many people enter each month, and how many to expect: counts on merged public months, a Poisson-gamma model.

Monthly entries over the network are Poisson at a rate that is the same throughout the window, with a gamma
distribution for what is not known of it: Anisimov VV & Fedorov VV, Stat Med 2007;26:4958, whose rates per centre are
added here into the network's, since nothing is told of a centre. Under Jeffreys' prior, Gamma(1/2, 0), after N people
in T months the rate is Gamma(N + 1/2, T) and the people of the next h months are negative binomial of size N + 1/2 and
probability T / (T + h). Where months vary by more than Poisson counts would, by a factor f (Pearson's, McCullagh &
Nelder, Generalized Linear Models, 1989, section 4.5), the variance is f times as large: probability T / (f (T + h)) at
the same mean. As R's qnbinom.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy

from confrere.analyses.finding import Record
from confrere.errors import StudyError
from confrere.rounds import Array, Ints

YEARS = 60  # at most
AHEAD = 12  # months


class Calendar(NamedTuple):
    """The public months from January of `first` to December of `last`; a cell before them, and one after."""

    first: int
    last: int

    def check(self) -> None:
        """StudyError for years that are none."""
        if not 1900 <= self.first <= self.last < self.first + YEARS or self.last > 2200:
            raise StudyError(
                f"years = [{self.first}, {self.last}] must be the first and the last calendar year of entry, at most "
                f"{YEARS} of them, such as years = [2015, 2024]"
            )

    @property
    def months(self) -> int:
        """How many months."""
        return 12 * (self.last - self.first + 1)

    @property
    def size(self) -> int:
        """Cells: before, every month, after."""
        return self.months + 2

    @property
    def marks(self) -> tuple[int, ...]:
        """The cells at whose left edge a year begins, the one after the last year included."""
        return tuple(range(1, self.size, 12))

    def cell(self, days: Array) -> Ints:
        """The cell (n,) of days since 1970-01-01."""
        month = np.floor(days).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return np.clip(month - 12 * (self.first - 1970) + 1, 0, self.size - 1)

    def name(self, cell: int) -> str:
        """A month, as 2019-03."""
        year, month = divmod(cell - 1, 12)
        return f"{self.first + year}-{month + 1:02d}"


class Stretch(NamedTuple):
    """Merged months: cells `first` to `last` of the calendar, and the people who enter in them."""

    first: int
    last: int
    people: float

    @property
    def months(self) -> int:
        """How long."""
        return self.last - self.first + 1


def stretches(grid: Ints, counts: Array) -> list[Stretch]:
    """The merged cells of a calendar: grid (cells,) gives the merged one, `counts` its people. [] if hidden."""
    if (grid < 0).any():
        return []
    edges = [0, *(np.flatnonzero(np.diff(grid)) + 1).tolist(), len(grid)]
    return [Stretch(a, b - 1, float(counts[grid[a]])) for a, b in pairwise(edges)]


def entries(calendar: Calendar, found: Sequence[Stretch]) -> list[Record]:
    """A record per stretch within the calendar: `from`, `until` (months), `months`, `n`, `per_month`."""
    return [
        {"from": calendar.name(s.first), "until": calendar.name(s.last), "months": s.months, "n": round(s.people),
         "per_month": s.people / s.months}
        for s in _inside(calendar, found)
    ]  # fmt: skip


def _inside(calendar: Calendar, found: Sequence[Stretch]) -> list[Stretch]:
    """Stretches that do not reach beyond the calendar, whose length is known."""
    return [s for s in found if s.first >= 1 and s.last <= calendar.months]


class Rate(NamedTuple):
    """People who enter: `people` in `months`, varying `dispersion` times as much as Poisson counts would."""

    people: float
    months: int
    dispersion: float
    first: int  # cells of the calendar
    last: int

    def ahead(self, months: int) -> tuple[float, float, float]:
        """Expected people of so many months together, and the ends of a 95 % prediction interval."""
        size_mean = (self.people + 0.5) * months / self.months
        probability = self.months / (self.dispersion * (self.months + months))
        law = scipy.stats.nbinom(size_mean * probability / (1 - probability), probability)
        return size_mean, float(law.ppf(0.025)), float(law.ppf(0.975))


def rate(calendar: Calendar, found: Sequence[Stretch], window: int) -> Rate | None:
    """The rate over the last stretches of the calendar, `window` months long or a little more; None without any."""
    recent: list[Stretch] = []
    for one in reversed(_inside(calendar, found)):
        if recent and (recent[-1].first != one.last + 1 or sum(s.months for s in recent) >= window):
            break
        recent.append(one)
    if not recent:
        return None
    people, months = sum(s.people for s in recent), sum(s.months for s in recent)
    expected = np.array([people * s.months / months for s in recent])
    spread = float((((np.array([s.people for s in recent]) - expected) ** 2) / np.maximum(expected, 1e-300)).sum())
    factor = spread / (len(recent) - 1) if len(recent) > 1 and people else 1.0
    return Rate(people, months, max(1.0, factor), recent[-1].first, recent[0].last)


def accrual(found: Rate) -> list[Record]:
    """A record per month ahead: people of that month, and of all months up to it, with their 95 % intervals."""
    mean, low, high = found.ahead(1)
    made: list[Record] = []
    for month in range(1, AHEAD + 1):
        total = found.ahead(month)
        made.append({
            "month": month, "per_month": mean, "month_low": low, "month_high": high, "expected": total[0],
            "conf_low": total[1], "conf_high": total[2],
        })  # fmt: skip
    return made


def years(calendar: Calendar, grid: Ints) -> list[tuple[str, int, int]]:
    """(years, first, last merged cell): the years between which merged months end, several where they do not."""
    if (grid < 0).any():
        return []
    edges = [m for m in calendar.marks if grid[m] != grid[m - 1]]
    return [
        (calendar.name(a)[:4] if b - a == 12 else f"{calendar.name(a)[:4]} to {calendar.name(b - 1)[:4]}",
         int(grid[a]), int(grid[b - 1]))
        for a, b in pairwise(edges)
    ]  # fmt: skip
