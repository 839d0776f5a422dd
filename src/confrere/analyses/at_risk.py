"""From when to when people are at risk of an outcome that is a cohort, and stays in cohorts. Inside a hospital.

Days count from 1970-01-01. Somebody is at risk from the first day to the last on which they are observed, at least
`washout` days after observation began, in the cohort `within` if one is named, and in the years asked for; of the
outcome until the day on which they first have it, which is the last one. Who had it before has no time at risk. So an
event counts once per person: incidence proper, as `repeatedEvents = FALSE` of DARWIN's IncidencePrevalence and OHDSI's
CohortIncidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.lines_of_treatment import Stays
from confrere.errors import StudyError
from confrere.rounds import Array, Bools
from confrere.study.circe import Definition
from confrere.study.ground import LEFT, Ground, complete, outside
from confrere.study.omop import BIRTH, FROM, SEX, TO, TOLD_SEXES
from confrere.study.rows import TableRows

YEAR = 365.25  # days
UNSEEN, BEFORE = "not observed in this time", "outcome before the time at risk"
NO_SEX = "neither female nor male"


def check_bands(ages: Sequence[float], most: int) -> None:
    """The first years of bands of age. StudyError unless they are 1 to `most`, ascending, from 0 to 120."""
    listed = list(ages)
    if not 1 <= len(listed) <= most or listed != sorted({*listed}) or not 0 <= listed[0] <= listed[-1] <= 120:
        raise StudyError(f"ages is {listed}; give the first years of 1 to {most} bands, ascending, 0 to 120")


def check_level(level: float) -> None:
    """StudyError unless limits can have this level."""
    if not 0 < level < 1:
        raise StudyError(f"conf_level is {level}; it must be between 0 and 1")


def sexless(frame: Any) -> Bools:
    """(N,) who is of neither sex that is told apart."""
    return ~np.asarray(frame[SEX].isin(TOLD_SEXES), dtype=bool)


class AtRisk(NamedTuple):
    """From when to when people are at risk, in days: first day, day after the last; whether the last day is that of the
    outcome; day of birth. (n,) each."""

    start: Array
    stop: Array
    event: Bools
    birth: Array


@dataclass(frozen=True)
class Source:
    """Whom to follow for what: `name` is that of the cohort `within`, `years` are the first and the last calendar year,
    `youngest` is the least age in years."""

    outcome: Definition
    within: Definition | None
    name: str = ""
    washout: int = 0
    years: tuple[int, ...] = ()
    youngest: float = 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns read."""
        return (BIRTH, FROM, TO, self.outcome.start, *((self.within.start, self.within.end) if self.within else ()))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns that nobody at risk may miss."""
        return tuple(name for name in self.reads if name != self.outcome.start)

    def observed(self, frame: Any, ground: Ground) -> tuple[Array, Array, Array]:
        """(N,) first day that counts, day after the last, day of birth; NaN where unknown. The outcome plays no part.

        The wash-out counts from the first day of observation; the cohort `within` begins on its own day.
        """
        read = TableRows(frame, ground.schema, {})
        birth = read.numbers(BIRTH)
        start, stop = read.numbers(FROM) + self.washout, read.numbers(TO) + 1
        start = np.maximum(start, birth + np.floor(self.youngest * YEAR))
        if self.within is not None:
            start, stop = (
                np.maximum(start, read.numbers(self.within.start)), np.minimum(stop, read.numbers(self.within.end) + 1)
            )  # fmt: skip
        if self.years:
            start, stop = np.maximum(start, new_year(self.years[0])), np.minimum(stop, new_year(self.years[1] + 1))
        return start, stop, birth

    def read(self, frame: Any, ground: Ground, rows: Bools) -> AtRisk:
        """Time at risk of the people marked (N,), who have some."""
        start, stop, birth = (values[rows] for values in self.observed(frame, ground))
        onset = TableRows(frame, ground.schema, {}).numbers(self.outcome.start)[rows]
        event = onset < stop
        return AtRisk(start, np.where(event, onset + 1, stop), event, birth)

    def whom(self, frame: Any, ground: Ground, incident: bool = True) -> dict[str, Bools]:
        """(N,) who is not followed, by reason: seen at no time, or with the outcome before (if `incident`)."""
        start, stop, _ = self.observed(frame, ground)
        onset = TableRows(frame, ground.schema, {}).numbers(self.outcome.start)
        reasons = {f"missing {name}": ~complete(frame, (name,)) for name in (BIRTH, FROM, TO)}
        if self.within is not None:
            reasons[f"not in {self.name}"] = ~complete(frame, (self.within.start,))
        reasons[UNSEEN] = ~(start < stop)
        return reasons | ({BEFORE: onset < start} if incident else {})


def followed(table: Any, reasons: Mapping[str, Bools], ground: Ground) -> tuple[Bools, dict[str, int]]:
    """Who is left (N,) when everybody is taken out for whom a reason holds, or whom the study leaves out; people taken
    out by reason, each counted once, under the first that holds."""
    first = outside(table) if LEFT in ground.complete else {}
    gaps = {f"missing {name}": ~complete(table.frame, (name,)) for name in ground.complete if name != LEFT}
    counts, remaining = {}, np.ones(len(table.frame), dtype=bool)
    for reason, who in (first | gaps | dict(reasons)).items():
        counts[reason] = int((who & remaining).sum())
        remaining &= ~who
    return remaining, counts


def new_year(year: int) -> float:
    """1 January of a year, in days since 1970-01-01."""
    return float((np.datetime64(f"{year:04d}-01-01") - np.datetime64("1970-01-01")).astype(int))


def stays(table: Any, definition: Definition) -> Stays:
    """Every stay of everybody in a cohort; a table that was not made of OMOP records has the first stay of each."""
    found = getattr(table, "events", {}).get(definition.column)
    if found is not None:
        return Stays(*(found[name].to_numpy(dtype=kind) for name, kind in _FIELDS.items()))
    first = TableRows(table.frame, Ground().schema, {})
    start, end = first.numbers(definition.start), first.numbers(definition.end)
    row = np.flatnonzero(~np.isnan(start) & ~np.isnan(end))
    return Stays(row, start[row], end[row])


_FIELDS: Mapping[str, Any] = {"row": np.int64, "start": np.float64, "end": np.float64}
