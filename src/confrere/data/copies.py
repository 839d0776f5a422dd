"""One criterion of a cohort at a time, quickly: copies of the rows of people with an entry event, one per source.

    with copied({"brest": "cdm/"}, text, "folder") as sources:
        sources.judge(changed)      # of every entry event: 1 met, 0 not, NaN unknown; by source

A change of one criterion needs the rows of people with an entry event alone, so these are copied once into DuckDB
files, with the entry events and the concepts of every set. `ohdsi-circepy` and Ibis take longer to write a query than
DuckDB to run it; tables have the same names in every copy, so that it is written once and run on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confrere.data.cdm import TABLES
from confrere.data.circe import CODES, EVENTS, Entered
from confrere.data.engines import adapted
from confrere.data.omop import Cdm, opened
from confrere.data.people import basics
from confrere.study.circe import definition
from confrere.study.omop import tables
from confrere.study.schema import Schema

Array = NDArray[np.float64]
ALWAYS = ("person", "observation_period", "visit_occurrence", "location")


@dataclass(frozen=True, eq=False)
class Events:
    """The entry events of one source, in any order, and what is known of their people.

    person  (n,) whose each is, as a place in `basics`
    day     (n,) days since 1970-01-01
    event   (n,) ids
    basics  columns of everybody with an entry event, by name
    everybody  how many people the source has
    """

    person: NDArray[np.int64]
    day: Array
    event: NDArray[np.int64]
    basics: Mapping[str, Any]
    everybody: int


@dataclass(eq=False)
class Copies:
    """Copies of several sources, by name."""

    entered: Entered
    backends: Mapping[str, Any]
    events: Mapping[str, Events] = field(default_factory=dict)

    def judge(self, text: str) -> dict[str, Array]:
        """Of every entry event (n,) of each source whether it meets the one rule of a definition: 1, 0, NaN unknown.

        The rule may be any on the concept sets of the definition that the copies were made for. StudyError where it
        cannot be executed.
        """
        met, known = (None if rows is None else self._sql(rows) for rows in self.entered.meeting(text))
        return {name: self._judged(name, met, known) for name in self.backends}

    def _sql(self, rows: Any) -> str:
        backend = self.entered.cdm.backend
        return str(backend.compile(adapted(backend, rows)))

    def _judged(self, name: str, met: str | None, known: str | None) -> Array:
        found = np.zeros(len(self.events[name].person))
        if known is not None:
            found[:] = np.nan
            found[self._places(name, known)] = 0.0
        if met is not None:
            found[self._places(name, met)] = 1.0
        return found

    def _places(self, name: str, sql: str) -> NDArray[np.int64]:
        """The places of the entry events that a query selects."""
        ask = f"SELECT DISTINCT k.place FROM cf_keys k JOIN ({sql}) m USING (person_id, event_id)"
        return np.asarray(self.backends[name].con.execute(ask).fetchnumpy()["place"], dtype=np.int64)


@contextmanager
def copied(sources: Mapping[str, str | Path], text: str, folder: Path, schema: Schema) -> Iterator[Copies]:
    """Copies of sources in files of a folder, until the block ends. Errors are those of `data.circe.Entered`."""
    import ibis

    backends: dict[str, Any] = {}
    events: dict[str, Events] = {}
    first: Entered | None = None
    try:
        for at, (name, source) in enumerate(sources.items()):
            backends[name] = ibis.duckdb.connect(str(folder / f"{at}.duckdb"), autoinstall_known_extensions=False)
            made, everybody = _copy(source, name, text, backends[name])
            first = first or made
            events[name] = _events(made.cdm, schema, everybody)
        if first is None:
            raise ValueError("there is no source")
        yield Copies(first, backends, events)
    finally:
        for backend in backends.values():
            backend.disconnect()


def _copy(source: str | Path, name: str, text: str, backend: Any) -> tuple[Entered, int]:
    """Copy what criteria may read of the people with an entry event; and how many people there are."""
    with opened(source, name) as cdm:
        entered = Entered(cdm, text)
        who = cdm.keep(entered.events.select("person_id").distinct())
        made = {EVENTS: entered.events, CODES: entered.context.codeset_table}
        for table in sorted({*tables(None, [definition(text)]), *ALWAYS} & TABLES.keys()):
            rows = cdm.table(table)
            made[table] = rows.semi_join(who, "person_id") if "person_id" in rows.columns else rows
        for table, rows in made.items():
            backend.create_table(table, rows.to_pyarrow())
        copy = Cdm(backend, {table: partial(backend.table, table) for table in made}, cdm.where)
        return entered.on(copy), int(cdm.table("person").count().to_pyarrow().as_py())


def _events(cdm: Cdm, schema: Schema, everybody: int) -> Events:
    """Number the entry events, and read them."""
    con = cdm.backend.con
    con.execute(
        f"CREATE TABLE cf_keys AS SELECT row_number() OVER () - 1 AS place, person_id, event_id, day FROM (SELECT "
        f"person_id, event_id, date_diff('day', DATE '1970-01-01', min(start_date)::DATE) AS day FROM {EVENTS} "
        f"GROUP BY ALL)"
    )
    got = con.execute("SELECT person_id, day, event_id FROM cf_keys ORDER BY place").fetchnumpy()
    person, day, event = (np.asarray(got[c]) for c in ("person_id", "day", "event_id"))
    ids, columns = basics(cdm, schema, cdm.where)
    return Events(np.searchsorted(ids, person), day.astype(np.float64), event.astype(np.int64), columns, everybody)
