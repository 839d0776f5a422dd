"""How often an outcome is: new cases by time at risk (incidence), or cases among people (prevalence).

By calendar year, by age band and by sex, each by itself (`lexis`). Years and bands of age are joined with their
neighbours until no number, and no difference of two, rests on few people (`beside`).

Incidence counts first events (`at_risk`). Prevalence is that of 1 July, or of anybody observed in the year; by age and
sex it is that of the last year. A case is somebody in the cohort of the outcome, from its first day to its last.

The conventions are those of OHDSI's CohortIncidence and of DARWIN EU's IncidencePrevalence (Raventós B, Català M, Du M,
et al. Pharmacoepidemiol Drug Saf 2024;33:e5717); limits and standardisation those of `rates`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses import beside, lexis, rates, standard_populations
from confrere.analyses.at_risk import NO_SEX, YEAR, Source, check_bands, check_level, followed, sexless
from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.analyses.lexis import Axes, Rows, Seen
from confrere.errors import ModelError, StudyError
from confrere.rounds import Array, Bools, Design, Flow, People, Sum, Verdict, ask, local, register, support
from confrere.study.circe import Definition
from confrere.study.ground import Ground
from confrere.study.omop import SEX, TOLD_SEXES
from confrere.study.rows import TableRows

MEASURES = ("incidence", "point prevalence", "period prevalence")
MOST_YEARS, MOST_BANDS = 40, 20
GOES = ("years", "ages", "sexes")  # which of two axes gives way, where few people tell a row of each apart
DARWIN = Citation(
    "Raventós B, Català M, Du M, et al. IncidencePrevalence: an R package to calculate population-level incidence "
    "rates and prevalence using the OMOP common data model. Pharmacoepidemiol Drug Saf 2024;33:e5717",
    "10.1002/pds.5717",
)
JOINED = "Years, or bands of age, by which too few people differ are told together with their neighbours."
BY = {"years": "year", "ages": "age", "sexes": "sex", "all": "all"}


class Sums(NamedTuple):
    """Sums over people by row: days at risk and events, or people and cases."""

    below: Sum  # (rows,)
    above: Sum  # (rows,)


@register("occurrence")
@dataclass(frozen=True)
class Occurrence:
    """Incidence or prevalence of cohort `outcome`, in everybody or in the cohort `among`, from the first of the
    calendar `years` to the last.

    `measure` is "incidence", "point prevalence" (on 1 July) or "period prevalence". `ages` are the first years of bands
    of age, the last one open; nobody younger than the first counts. `washout` days of observation come before anybody
    counts. `sexes` = false tells no sexes apart. `standard` is the population to which an incidence is standardised:
    "ESP 2013" or "WHO 2000-2025".

    Finding: the table `rates` (`by`, `level`, `events`, `person_years`, `estimate` per person-year, `conf_low`,
    `conf_high`), or `prevalence` (`by`, `level`, `cases`, `people`, `estimate`, limits); with a standard
    `standardised`; `attrition`. Errors: StudyError for settings; ModelError where too few people have the outcome.
    """

    outcome: str
    years: tuple[int, ...]
    among: str = ""
    measure: str = "incidence"
    ages: tuple[int, ...] = (0, 20, 40, 60, 80)
    sexes: bool = True
    washout: int = 365
    standard: str = ""
    conf_level: float = 0.95
    ground: Ground = Ground()
    everybody = True  # `among` names whom it is about

    def __post_init__(self) -> None:
        object.__setattr__(self, "years", tuple(self.years))
        object.__setattr__(self, "ages", tuple(self.ages))

    # public

    @property
    def cohorts(self) -> tuple[Definition, ...]:
        """The outcome, and whom it is counted in."""
        return tuple(self.ground.cohort(name) for name in (self.outcome, self.among) if name)

    @property
    def incidence(self) -> bool:
        """Whether new cases are counted."""
        return self.measure == "incidence"

    @property
    def source(self) -> Source:
        """Whom to follow, and when."""
        outcome, *within = self.cohorts
        return Source(outcome, within[0] if within else None, self.among, self.washout, self.years, self.ages[0])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns read."""
        end = () if self.incidence else (self.cohorts[0].end,)
        return (*self.source.reads, *end, *((SEX,) if self.sexes else ()))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns that nobody may miss: not the days of an outcome."""
        return (*self.source.requires, *((SEX,) if self.sexes else ()))

    @property
    def about(self) -> str:
        """The words for whom it is about."""
        kind = "at risk of" if self.incidence else "observed for"
        of = " in ".join(d.column for d in self.cohorts)
        since = f"{self.years[0]}-{self.years[1]}, from {self.ages[0]} years, after {self.washout} days"
        return f"{kind} {of}, {since}{', female or male' if self.sexes else ''}"

    @property
    def axes(self) -> Axes:
        """All that would be told if everywhere were people enough."""
        years = tuple(range(self.years[0], self.years[1] + 2))
        return Axes(years, self.ages, TOLD_SEXES if self.sexes else ())

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about, twice: by columns that somebody may miss, and as everybody of its own."""
        return self.about, f"all {self.about}"

    def check(self) -> None:
        """Settings, before anything is asked."""
        if self.measure not in MEASURES:
            raise StudyError(f"measure is '{self.measure}'; it must be one of {', '.join(MEASURES)}")
        if len(self.years) != 2 or not 1900 <= self.years[0] <= self.years[1] < self.years[0] + MOST_YEARS:
            raise StudyError(f"years is {list(self.years)}; give the first and the last, {MOST_YEARS} years at most")
        check_bands(self.ages, MOST_BANDS)
        if self.washout < 0:
            raise StudyError(f"washout is {self.washout}; give a number of days, 0 or more")
        check_level(self.conf_level)
        if self.standard:
            standard_populations.check(self.standard, self.ages)
            if not self.incidence:
                raise StudyError("standard: only an incidence is standardised here; leave it out")
        _ = self.cohorts

    # inside each hospital

    def whom(self, frame: Any) -> Bools:
        """(N,) whom it is about."""
        return np.asarray(~np.any([*self._reasons(frame).values()], axis=0))

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """The same for the guard across studies: the words, the columns that select, and who (N,) they are."""
        who = self.whom(frame)
        yield from zip(self.selecting, (self.requires, ()), (who, who), strict=True)

    def _reasons(self, frame: Any) -> dict[str, Bools]:
        """(N,) who does not count, by reason."""
        found = self.source.whom(frame, self.ground, self.incidence)
        if self.sexes:
            found[NO_SEX] = sexless(frame)
        return found

    def design(self, people: People, axes: Axes) -> Design:
        """What each person contributes to every row, and on how many people rows and their differences rest."""
        rows, left = followed(people.table, self._reasons(people.table.frame), self.ground)
        axes = Axes(*axes)
        made, after = self._rows(people.table.frame, rows, axes), list(axes.neighbours(self.incidence))
        cells = beside.cells("below", made.below, made.size)
        cells |= beside.across("below", made.below, after) | beside.across("above", made.above, after)
        cells |= beside.cells("above", made.above)
        if not self.incidence:
            cells |= beside.between("others", made.below, made.above)
        return Design(n=int(rows.sum()), rows=rows, data=made, columns=self.reads, cells=cells, left_out=left)

    def _rows(self, frame: Any, rows: Bools, axes: Axes) -> Rows:
        """Contributions of the people marked (N,)."""
        sex = np.zeros((int(rows.sum()), len(axes.sexes)))
        for j, name in enumerate(axes.sexes):
            sex[:, j] = np.asarray(frame[SEX] == name)[rows]
        if self.incidence:
            return lexis.at_risk(self.source.read(frame, self.ground, rows), sex, axes)
        read = TableRows(frame, self.ground.schema, {})
        days = (read.numbers(name) for name in (self.cohorts[0].start, self.cohorts[0].end))
        seen = Seen(*(values[rows] for values in (*self.source.observed(frame, self.ground), *days)))
        return lexis.observed(seen, sex, axes, self.years[1], self.measure == "point prevalence")

    def contributions(self, people: People, settled: Axes) -> Array:
        """(N, numbers) what everybody contributes to each number that is told."""
        made = self.design(people, settled)
        found = np.zeros((len(made.rows), 2 * made.data.below.shape[1]))
        found[made.rows] = np.hstack([made.data.below, made.data.above])
        return found

    @local(on="design")
    def summed(self, people: People) -> Sums:
        """Sums of the contributions, which are whole numbers."""
        most = len(self.axes.rows(True))
        made: Rows = people.design.data
        return Sums(*(people.derived(m.sum(axis=0), dims=("rows",), bounds=(most,), scale=0)
                      for m in (made.below, made.above)))  # fmt: skip

    # sums only

    def flow(self) -> FlowFinding:
        """Join years and bands of age until all may be told; then sum."""
        axes, verdict = yield from self._settled()
        got = yield from ask(self.summed)
        below, above = got.below.value, got.above.value
        rows = axes.rows(self.incidence)
        told = [self._record(axes, row, *pair) for row, pair in zip(rows, zip(below, above, strict=True), strict=True)]
        tables = {"rates" if self.incidence else "prevalence": told}
        if self.standard and axes.ages:
            tables["standardised"] = [self._standardised(axes, rows, below, above)]
        notes = (JOINED,) if axes != self.axes else ()
        events = round(above[0]) if self.incidence else None
        cite = (
            (DARWIN, rates.ULM, *([rates.FAY] if self.standard else [])) if self.incidence else (DARWIN, rates.WILSON)
        )
        facts = {"measure": self.measure}
        tables["attrition"] = attrition(verdict)
        return Finding("occurrence", verdict.n, verdict.hospitals, tables, events, facts, notes=notes, cite=cite)

    def settling(self) -> Flow[Axes]:
        """What will be told."""
        axes, _ = yield from self._settled()
        return axes

    def _settled(self) -> Flow[tuple[Axes, Verdict]]:
        """The finest years, bands of age and sexes that may be told side by side."""
        axes = self.axes
        while True:
            verdict = yield from support(self.design, axes)
            rows, few = axes.rows(self.incidence), beside.few(verdict)
            if not few:
                return axes, verdict
            if self.incidence and (0, 0) in few:
                raise ModelError(
                    f"too few people have '{self.outcome}' in {self.years[0]} to {self.years[1]}, or too few have not, "
                    f"or too few are followed for another time than all others; ask about more years or hospitals"
                )
            # the axis that goes first is joined; of two places on one axis, the later
            giving = {max((rows[i], rows[j]), key=lambda r: (_last(r[0]), r[1])) for i, j in few}
            axes = axes.joined(giving)
            if not axes.rows(False) and not self.incidence:
                raise ModelError(f"too few people have '{self.outcome}', or too few have not; ask more hospitals")

    def _record(self, axes: Axes, row: tuple[str, int], below: float, above: float) -> Record:
        record: Record = {"by": BY[row[0]], "level": axes.label(*row)}
        if self.incidence:
            found = rates.rate(above, below / YEAR, self.conf_level)
            return record | {"events": round(above), "person_years": below / YEAR} | found._asdict()
        return (
            record
            | {"cases": round(above), "people": round(below)}
            | rates.share(above, below, self.conf_level)._asdict()
        )

    def _standardised(self, axes: Axes, rows: list[tuple[str, int]], below: Array, above: Array) -> Record:
        """The incidence of all, by the ages of the standard population."""
        bands = [axis == "ages" for axis, _ in rows]
        found = rates.standardised(
            above[bands], below[bands] / YEAR, standard_populations.weights(self.standard, axes.ages), self.conf_level
        )
        record: Record = {
            "standard": self.standard,
            "bands": ", ".join(axes.label("ages", i) for i in range(sum(bands))),
        }
        return record | found._asdict()


def _last(axis: str) -> int:
    """How readily an axis gives way: years first, everything never."""
    return GOES[::-1].index(axis) + 1 if axis in GOES else 0
