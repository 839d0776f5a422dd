"""Every clinical table of generated small hospitals is the same on DuckDB and on a real PostgreSQL, however stored."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("psycopg")

import psycopg

import postgres
from cohorts.test_servers import SQL
from confrere.data.cdm import NEEDED, PERSONAL, TABLES
from confrere.data.conformity import checked
from confrere.data.omop import opened

Rows = list[dict[str, Any]]
ARROW = {"int64": pa.int64(), "float64": pa.float64(), "date": pa.date32(), "timestamp": pa.timestamp("us"),
         "string": pa.string()}  # fmt: skip
DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**53), 2**53), "date": DAYS, "float64": st.floats(allow_nan=False, allow_infinity=False),
    "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    "string": st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=6),
}  # fmt: skip
CLINICAL = tuple(t for t in PERSONAL if t not in ("person", "observation_period"))


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """user@host:port/database of a server."""
    with postgres.server() as found:
        yield found


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Rows]:
    """A few people, and rows of three tables about them and others; some columns are not there."""
    people = [{"person_id": i, "gender_concept_id": 8507, "year_of_birth": 1950} for i in range(1, 5)]
    start, end = date(2000, 1, 1), date(2020, 1, 1)
    found: dict[str, Rows] = {
        "person": people,
        "observation_period": [
            {"person_id": 1, "observation_period_start_date": start, "observation_period_end_date": end}
        ],
    }
    for name in draw(st.lists(st.sampled_from(CLINICAL), min_size=3, max_size=3, unique=True)):
        optional = [c for c in TABLES[name] if c not in NEEDED[name]]
        columns = (
            [*NEEDED[name], *draw(st.lists(st.sampled_from(optional), max_size=6, unique=True))] if optional else []
        )
        cells = {c: st.none() | VALUES[TABLES[name][c]] for c in columns or NEEDED[name]} | {
            "person_id": st.integers(1, 6)
        }
        found[name] = draw(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=5))
    return found


def stored(name: str, rows: Rows, as_text: bool) -> pa.Table:
    """Rows as a table; as text, every column of it."""
    columns = {}
    for column in rows[0]:
        array = pa.array([row[column] for row in rows], ARROW[TABLES[name][column]])
        columns[column] = array.cast(pa.string()) if as_text else array
    return pa.table(columns)


def copied(place: str, made: dict[str, pa.Table], as_text: bool) -> str:
    """The same tables in a schema of the server; its URL."""
    with psycopg.connect(f"postgresql://{place}", autocommit=True) as server:
        server.execute("DROP SCHEMA IF EXISTS tables CASCADE")
        server.execute("CREATE SCHEMA tables")
        for name, table in made.items():
            kinds = {c: "text" if as_text else SQL[TABLES[name][c]] for c in table.column_names}
            server.execute(f"CREATE TABLE tables.{name} ({', '.join(f'{c} {kind}' for c, kind in kinds.items())})")
            with server.cursor().copy(f"COPY tables.{name} ({', '.join(kinds)}) FROM STDIN") as copy:
                for row in table.to_pylist():
                    copy.write_row(list(row.values()))
    return f"postgresql://{place}?schema=tables"


def answer(source: str | Path) -> dict[str, list[str]]:
    """All tables of people, less person 2."""
    with opened(source, without=["2"]) as cdm:
        return {t: sorted(map(str, cdm.table(t).to_pyarrow().to_pylist())) for t in PERSONAL}


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_=tables(), as_text=st.booleans())
def test_tables_are_identical(place: str, given_: dict[str, Rows], as_text: bool) -> None:
    made = {name: stored(name, rows, as_text) for name, rows in given_.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, table in made.items():
            pq.write_table(table, Path(folder) / f"{name}.parquet")
        url = copied(place, made, as_text)
        direct = answer(Path(folder))
        assert answer(url) == direct
        assert any(len(rows) for name, rows in direct.items() if name in CLINICAL)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_=tables(), as_text=st.booleans())
def test_so_is_what_is_found_wrong_with_them(place: str, given_: dict[str, Rows], as_text: bool) -> None:
    made = {name: stored(name, rows, as_text) for name, rows in given_.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, table in made.items():
            pq.write_table(table, Path(folder) / f"{name}.parquet")
        found = []
        for source in (Path(folder), copied(place, made, as_text)):
            with opened(source) as cdm:
                found.append(checked(cdm, date(2026, 1, 1))._replace(source=""))
        assert found[0] == found[1]
