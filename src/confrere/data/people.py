"""The people of a hospital, made of its OMOP records: one row per person of the source, with the columns of a study.

    people("cdm/", study, built, "curie")

| column | what it holds, for everybody (NaN: unknown) |
| `person_id` | text |
| `_birth`, `_sex`, `_observed_from`, `_observed_to`, `_region` | day of birth; female, male, other; the observation |
| | period that holds the index date, or the last one; a declared level of state, county or postcode |
| of each definition that is read | `column`, `entry`, `start`, `end`, `rule(j)` of `study.circe.Definition` |
| `_left`, `treated` | whom the study is about, and who of them is in the target (`study.omop`) |
| features and outcomes | of those whom it is about, by their names |

Days count from 1970-01-01. Work is done in the engine: cohorts by OHDSI's own executor, features with one pass over
each table of the data model, outcomes with a pass over the rows of their cohort. What comes here is a row per person
(and feature); rows of events never do, but the stays of a cohort where an analysis is about person-time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from confrere.data import features, sources
from confrere.data.cdm import TABLES
from confrere.data.circe import cohort
from confrere.data.features import Index, days
from confrere.data.omop import KINDS, Cdm, opened
from confrere.data.table import Table
from confrere.errors import DataError, StudyError
from confrere.study import build
from confrere.study.circe import Definition
from confrere.study.features import SEXES, Outcome
from confrere.study.file import Study
from confrere.study.ground import DAYS, LEFT
from confrere.study.omop import BIRTH, FROM, NO_ENTRY, PERSON, REGION, SAME_DAY, SEX, TO, TREATED, Omop
from confrere.study.rows import Array
from confrere.study.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

Bools = NDArray[np.bool_]

WOMAN, MAN = 8532, 8507
OTHERS = (8521, 8570)  # other, ambiguous; whatever else is there says nothing
MIDDLE = (6, 15)  # month and day of birth where they are not recorded: the middle of the year


def people(
    source: str | Path, study: Study, built: Sequence[Any], hospital: str = "this hospital",
    without: Collection[str] = (),
) -> Table:  # fmt: skip
    """The people of a source as the analyses `built` of a study read them; without those of the ids in `without`.

    DataError: what cannot be read, and a concept that the vocabulary does not have. StudyError: a definition that
    cannot be executed, or a column of persons that is not the data model's.
    """
    if study.person not in (None, PERSON):
        raise StudyError(f"[data] person = '{study.person}': OMOP records name people by {PERSON}; say so, or nothing")
    with opened(source, hospital, without) as cdm:
        return made(cdm, study, built)


def made(cdm: Cdm, study: Study, built: Sequence[Any]) -> Table:
    """The people of an opened source. Errors are those of `people`."""
    frame, events, clamped = _Making(cdm, study, built).made(cdm.where)
    return Table(frame, len(frame), {}, clamped, cdm.where, events, study.ground.reasons)


def ids(source: str | Path, hospital: str = "this hospital") -> list[str]:
    """Everybody whom a source has, as text. DataError: ids that are spelt in another way than whole numbers are."""
    from confrere.data.without import text

    with opened(source, hospital) as cdm:
        named = cdm.stored("person")[PERSON]
        odd = (text(named) != text(named).cast("int64").cast("string")).sum()
        if named.type().is_string() and (n := odd.to_pyarrow().as_py()):
            raise DataError(
                f"{cdm.where}: {n} ids of table 'person' are whole numbers spelt in another way, such as 007: who "
                f"opposes by such an id would not be left out. Store {PERSON} as whole numbers, as the model has it"
            )
        found = cdm.table("person").select(PERSON).order_by(PERSON).to_pyarrow()[PERSON].to_pylist()
    return [str(one) for one in found]


def cut(source: str | Path, hospital: str = "this hospital") -> str:
    """sha256 over what a server's records say of their release, and how many rows there are of each table: the same for
    every study that reads them until they are refreshed."""
    with opened(source, hospital) as cdm:
        said = cdm.table("cdm_source").select("cdm_release_date", "vocabulary_version").to_pyarrow().to_pylist()
        counts = {name: cdm.table(name).count().to_pyarrow().as_py() for name in sorted(TABLES) if cdm.has(name)}
    return hashlib.sha256(json.dumps([said, counts], default=str, sort_keys=True).encode()).hexdigest()


def asked(study: Study, built: Sequence[Any]) -> bool:
    """Whether a study reads OMOP records, and not one table."""
    return study.omop is not None or bool(build.definitions(built) or build.definitions(built, "eras"))


def table(source: Any, columns: Sequence[str], study: Study, hospital: str = "this hospital") -> Table:
    """The people of a source that is one table already, with these columns, as a study reads it.

    DataError: what cannot be read; where the study is on OMOP records, also what the source may be instead.
    """
    left = [LEFT] if study.ground.reasons else []
    try:
        made = sources.read(source, [*columns, *left], study.schema, study.person, hospital)
    except DataError as error:
        if study.omop is None:
            raise
        raise DataError(
            f"{error}{'' if str(error).endswith('?') else '.'} The study makes its columns of OMOP records: give "
            f"{KINDS}. Any other file is read as a table in which they are made already",
            about=error.about,
        ) from None
    return replace(made, reasons=study.ground.reasons)


@dataclass
class _Making:
    """The table of one hospital, as it grows."""

    cdm: Cdm
    study: Study
    built: Sequence[Any]
    columns: dict[str, Any] = field(default_factory=dict)
    rows: dict[Definition, Any] = field(default_factory=dict)  # the stays of each cohort, in the engine

    @property
    def omop(self) -> Omop:
        return self.study.omop or Omop({})

    def made(self, where: str) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], dict[str, int]]:
        """The frame, the stays that analyses read, and how many values were clamped in each column."""
        import pandas as pd

        self.ids = _persons(self.cdm, self.columns, self.study.schema, where)
        for made in self._definitions():
            self._cohort(made)
        index, last = self._index()
        self._observed(index)
        if self.omop.target:
            self._whom(index)
            self._outcomes(index, last)
            self._features(np.where(self.columns[LEFT] == 0, index, np.nan))
        events = {d.column: self._stays(d) for d in build.definitions(self.built, "eras")}
        clamped = self._clamped()
        texts = {PERSON: pd.Series(self.ids).astype(str)}
        return pd.DataFrame({**texts, **self.columns}, copy=False), events, clamped

    def _features(self, index: Array) -> None:
        """The features that analyses read, of those whom the study is about."""
        read = set(build.columns_of(self.built))
        wanted = [f for f in self.omop.features if f.name in read]
        here = Index(self.ids, index, self._day_table(index))
        self.columns |= features.made(self.cdm, wanted, here, self.columns, self.study.schema)

    def _clamped(self) -> dict[str, int]:
        """Move values outside the plausible ranges that the study declares to their nearer ends; how many they were."""
        counts = {}
        for name, declared in self.study.schema.columns.items():
            if name in self.columns and declared.range is not None:
                values, (low, high) = self.columns[name], declared.range
                counts[name] = int(np.count_nonzero((values < low) | (values > high)))
                self.columns[name] = np.clip(values, low, high)
        return counts

    def _definitions(self) -> list[Definition]:
        """Every definition once: what analyses read, whom they are about, what happens to them."""
        named = [self.omop.cohort(name) for name in self.omop.compared]
        named += [self.omop.cohort(name) for o in self.omop.outcomes for name in o.cohorts]
        read = build.definitions(self.built) + build.definitions(self.built, "eras")
        return list(dict.fromkeys([*named, *read]))

    def _cohort(self, d: Definition) -> None:
        """The columns of a definition; `entry` and `rule(j)` if an analysis reads them."""
        read = set(build.columns_of(self.built))
        rules = {f"rule_{j}": d.rule(j) for j in range(1, len(d.rules) + 1) if d.rule(j) in read}
        names = {"entry": d.entry} if d.entry in read else {}
        names |= {"start": d.start, "end": d.end}
        made = cohort(self.cdm, d.text, unknown=bool(rules))
        dates = {name: days(made.people[name]) for name in names}
        got, place = self._placed(made.people.select(PERSON, "reached", *rules, **dates))
        names |= rules
        for name, column in names.items():
            self.columns[column] = self._filled(place, got[name], np.nan)
        self.columns[d.column] = self._filled(place, got["reached"], 0.0)
        self.rows[d] = made.rows

    def _placed(self, rows: Any) -> tuple[Any, Any]:
        """Rows of the engine, as an Arrow table (m,), and the places of their persons; without rows of persons who are
        not in the table `person`."""
        got = rows.to_pyarrow()
        if not len(self.ids):
            return got.slice(0, 0), np.zeros(0, dtype=np.int64)
        found = np.asarray(got[PERSON])
        place = np.minimum(np.searchsorted(self.ids, found), len(self.ids) - 1)
        known = self.ids[place] == found
        return got.filter(known), place[known]

    def _filled(self, place: Any, values: Any, rest: float) -> Array:
        """(n,) with an Arrow column (m,) at these places (m,), and `rest` elsewhere."""
        made = np.full(len(self.ids), rest)
        made[place] = _floats(values)
        return made

    def _day_table(self, day: Array, **more: Array) -> Any:
        """person_id, day of those who have a day (n,), in the engine."""
        import ibis
        import pyarrow as pa

        known = np.isfinite(day)
        columns = {PERSON: self.ids[known], "day": day[known].astype(np.int64)}
        columns |= {name: values[known].astype(np.int64) for name, values in more.items()}
        return self.cdm.keep(ibis.memtable(pa.table(columns)))

    # whom the study is about

    def _index(self) -> tuple[Array, Array]:
        """The index date of everybody who is in the target or the comparator, and the end of that stay: (n,) days."""
        if not self.omop.target:
            return np.full(len(self.ids), np.nan), np.full(len(self.ids), np.nan)
        one, *other = (self.omop.cohort(name) for name in self.omop.compared)
        start, end = self.columns[one.start], self.columns[one.end]
        if other:
            later, until = self.columns[other[0].start], self.columns[other[0].end]
            theirs = (later < start) | (np.isnan(start) & np.isfinite(later))
            start, end = np.where(theirs, later, start), np.where(theirs, until, end)
        return start, end

    def _whom(self, index: Array) -> None:
        """The column `_left`: 0, or the first reason that holds; and who is in the target."""
        reasons = {reason: float(j) for j, reason in enumerate(self.omop.reasons, 1)}
        left, best = np.full(len(self.ids), reasons[NO_ENTRY]), np.zeros(len(self.ids))
        for name in self.omop.compared:
            d = self.omop.cohort(name)
            reached = self.columns[d.column]
            first = reasons[self.omop.stops(name)[0]]
            further = reached > best
            left[further] = (first + reached - 1)[further]
            best = np.maximum(best, reached)
        left[np.isfinite(index)] = 0
        if self.omop.comparator:
            one, other = (self.columns[self.omop.cohort(name).start] for name in self.omop.compared)
            left[one == other] = reasons[SAME_DAY]
            self.columns[TREATED] = np.where(left == 0, (index == one).astype(float), np.nan)
        self.columns[LEFT] = left

    def _observed(self, index: Array) -> None:
        """The observation period that holds the index date; of people without one the last."""
        periods = self.cdm.table("observation_period")
        first, last = periods.observation_period_start_date, periods.observation_period_end_date
        periods = periods.select(PERSON, first=days(first), last=days(last))
        ends = periods.group_by(PERSON).agg(end=periods.last.max())
        newest = periods.view().join(ends, [PERSON, ("last", "end")])
        newest = newest.group_by(PERSON).agg(first=newest.first.min(), last=newest.last.max())
        held = periods.join(self._day_table(index), PERSON)
        held = held.filter((held.first <= held.day) & (held.day <= held.last))
        held = held.group_by(PERSON).agg(first=held.first.min(), last=held.last.max())
        for found in (newest, held):
            got, place = self._placed(found)
            for name, column in (("first", FROM), ("last", TO)):
                known = self.columns.setdefault(column, np.full(len(self.ids), np.nan))
                known[place] = _floats(got[name])

    # what happens to them

    def _outcomes(self, index: Array, last: Array) -> None:
        """Events and times at risk, of those whom the study is about; who has no time at risk is left out."""
        if not self.omop.outcomes:
            return
        death = self.cdm.table("death")
        death = death.group_by(PERSON).agg(day=days(death.death_date).min())
        got, place = self._placed(death)
        died = self._filled(place, got["day"], np.nan)
        end = np.fmin(np.fmin(last, self.columns[TO]), died)
        reasons = {reason: float(j) for j, reason in enumerate(self.omop.reasons, 1)}
        judged = {o: self._outcome(o, index, end) for o in self.omop.outcomes}
        left = self.columns[LEFT]
        for o, (_, _, before, never) in judged.items():
            if not o.keep:
                left[(left == 0) & before] = reasons[o.before]
            left[(left == 0) & never] = reasons[o.never]
        if TREATED in self.columns:
            self.columns[TREATED] = np.where(left == 0, self.columns[TREATED], np.nan)
        for o, (event, time, *_) in judged.items():
            self.columns[o.name] = self._told(o, np.where(left == 0, event, np.nan))
            self.columns[o.time] = np.where(left == 0, time / DAYS[self.study.time_unit], np.nan)

    def _outcome(self, o: Outcome, index: Array, end: Array) -> tuple[Array, Array, Bools, Bools]:
        """Which of its cohorts happens first (n,), from 1, or 0, and when; who had one before the time at risk, and who
        has none."""
        found = [self._happens(name, o.first, index) for name in o.cohorts]
        days = np.stack([np.where(np.isnan(day), np.inf, day) for day, _ in found])
        first, before = days.min(axis=0), np.any([had for _, had in found], axis=0)
        stop = end if o.last is None else np.fmin(end, index + o.last)
        begin = index + o.first
        event = np.where(first <= stop, 1.0 + days.argmin(axis=0), 0.0)
        return event, np.where(event > 0, first, stop) - begin + 1, before, ~(stop >= begin)

    def _happens(self, name: str, since: int, index: Array) -> tuple[Array, Bools]:
        """The first day (n,) of a cohort, from so many days after the index date on, and who was in it before."""
        rows = self.rows[self.omop.cohort(name)]
        rows = rows.select(**{PERSON: rows.subject_id, "start": days(rows.cohort_start_date)})
        joined = rows.join(self._day_table(index), PERSON)
        risk = joined.start >= joined.day + since
        found = joined.group_by(PERSON).agg(first=joined.start.min(where=risk), before=(~risk).any())
        got, place = self._placed(found)
        return self._filled(place, got["first"], np.nan), self._filled(place, got["before"], 0.0) == 1

    def _told(self, o: Outcome, event: Array) -> Any:
        """The column of an outcome: 1 or 0, or which of several came first."""
        import pandas as pd

        if o.column is None:
            return event
        codes = np.nan_to_num(event, nan=-1).astype(np.int64)
        return pd.Categorical.from_codes(codes, list(o.column.levels or ()))

    def _stays(self, d: Definition) -> pd.DataFrame:
        """All stays in a cohort: row, start, end."""
        import pandas as pd

        rows = self.rows[d]
        dates = {"start": days(rows.cohort_start_date), "end": days(rows.cohort_end_date)}
        named = rows.select(**{PERSON: rows.subject_id, **dates})
        got, place = self._placed(named.order_by(PERSON, "start", "end"))
        start, end = (np.asarray(got[name].to_numpy(), dtype=np.float64) for name in ("start", "end"))
        return pd.DataFrame({"row": place, "start": start, "end": end})


def basics(cdm: Cdm, schema: Schema, where: str) -> tuple[NDArray[Any], dict[str, Any]]:
    """Ids of everybody (n,), ascending, and what is known of them: `_birth`, `_sex` and, if declared, `_region`."""
    columns: dict[str, Any] = {}
    return _persons(cdm, columns, schema, where), columns


def _persons(cdm: Cdm, columns: dict[str, Any], schema: Schema, where: str) -> Any:
    """Fill in what is known of everybody; their ids (n,), ascending."""
    import ibis
    import pandas as pd

    person = cdm.table("person")
    born = ("year_of_birth", "month_of_birth", "day_of_birth")
    got = person.select(PERSON, "gender_concept_id", "location_id", *born).order_by(ibis.asc(PERSON)).to_pyarrow()
    ids = got[PERSON].to_numpy(zero_copy_only=False)
    if got[PERSON].null_count or (np.diff(ids) == 0).any():
        raise DataError(f"{where}: table 'person' has rows without, or with the same, person_id")
    year, month, day = (_floats(got[name]) for name in born)
    month, day = np.where(np.isnan(month), MIDDLE[0], month), np.where(np.isnan(day), MIDDLE[1], day)
    months = np.nan_to_num((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    birth = months.astype("datetime64[D]").astype(np.float64) + day - 1
    columns[BIRTH] = np.where(np.isnan(year), np.nan, birth)
    sex = _floats(got["gender_concept_id"])
    codes = np.select([sex == WOMAN, sex == MAN, np.isin(sex, OTHERS)], [0, 1, 2], -1)
    columns[SEX] = pd.Categorical.from_codes(codes, list(SEXES))
    if levels := schema.levels(REGION):
        columns[REGION] = _region(cdm, ids, levels)
    return ids


def _region(cdm: Cdm, ids: Any, levels: Sequence[str]) -> Any:
    """The declared level that a person's state, county, or postcode's first two signs are."""
    import pandas as pd

    from confrere.data.without import text

    person, location = cdm.table("person"), cdm.table("location")
    joined = person.join(location, person.location_id == location.location_id)
    parts = {"state": text(joined.state), "county": text(joined.county), "zip": text(joined.zip).left(2)}
    got = joined.select(person.person_id, **parts).to_pyarrow()
    codes, place = np.full(len(ids), -1), np.searchsorted(ids, np.asarray(got[PERSON]))
    known = {level: j for j, level in enumerate(levels)}
    for name in reversed(parts):
        found = np.array([known.get(one, -1) for one in got[name].to_pylist()], dtype=np.int64)
        codes[place[found >= 0]] = found[found >= 0]
    return pd.Categorical.from_codes(codes, list(levels))


def _floats(column: Any) -> Array:
    """An Arrow column as numbers, missing ones NaN."""
    return np.asarray(column.cast("float64").to_numpy(), dtype=np.float64)
