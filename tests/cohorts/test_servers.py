"""The same cohort on DuckDB and on a real PostgreSQL: identical rows, identical steps passed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("circe")
pytest.importorskip("psycopg")

import psycopg

import postgres
from cohorts.definitions import DEFINITION, TEXT
from cohorts.reference import Row, rows_of
from cohorts.world import world, written
from confrere.data.cdm import TABLES
from confrere.data.circe import cohort
from confrere.data.omop import opened
from confrere.errors import DataError

SQL = {"int64": "bigint", "float64": "double precision", "date": "date", "timestamp": "timestamp", "string": "text"}


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """user@host:port/database of a server."""
    with postgres.server() as found:
        yield found


def loaded(place: str, schema: str, folder: Path) -> str:
    """The tables of a folder of Parquet files in a schema of the server; its URL."""
    with psycopg.connect(f"postgresql://{place}", autocommit=True) as server, opened(folder) as cdm:
        server.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        server.execute(f"CREATE SCHEMA {schema}")
        for table in (t for t in TABLES if cdm.has(t)):
            columns = ", ".join(f"{name} {SQL[kind]}" for name, kind in TABLES[table].items())
            server.execute(f"CREATE TABLE {schema}.{table} ({columns})")
            names = list(TABLES[table])
            with server.cursor().copy(f"COPY {schema}.{table} ({', '.join(names)}) FROM STDIN") as copy:
                for row in cdm.table(table).select(*names).to_pyarrow().to_pylist():
                    copy.write_row([row[name] for name in names])
    return f"postgresql://{place}?schema={schema}"


def answer(source: str | Path, text: str) -> tuple[list[Row], list[tuple[int, int]]]:
    """The rows of a cohort, and how many steps each person passes."""
    with opened(source) as cdm:
        made = cohort(cdm, text)
        steps = made.reached.to_pyarrow().to_pylist()
        return rows_of(made.rows), sorted((r["person_id"], r["reached"]) for r in steps)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), people=st.integers(12, 80), rules=st.permutations(range(4)), many=st.integers(0, 4))
def test_tables_are_identical(place: str, seed: int, people: int, rules: list[int], many: int) -> None:
    chosen: dict[str, Any] = DEFINITION | {"InclusionRules": [DEFINITION["InclusionRules"][i] for i in rules[:many]]}
    with tempfile.TemporaryDirectory() as folder:
        source = written(world(DEFINITION, people=people, seed=seed), Path(folder))
        server = loaded(place, "generated", source)
        assert answer(server, json.dumps(chosen)) == answer(source, json.dumps(chosen))


def test_nothing_stays_on_the_server(place: str, tmp_path: Path) -> None:
    """A user who may read the tables alone is enough: what is kept on the way is temporary."""
    source = written(world(DEFINITION, people=60, seed=3), tmp_path)
    loaded(place, "readonly", source)
    with psycopg.connect(f"postgresql://{place}", autocommit=True) as server:
        server.execute("DROP ROLE IF EXISTS reader")
        server.execute("CREATE ROLE reader LOGIN")
        server.execute("GRANT USAGE ON SCHEMA readonly TO reader")
        server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA readonly TO reader")
        count = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'v')"
        before = server.execute(count).fetchone()
        found = answer(f"postgresql://reader@{place.partition('@')[2]}?schema=readonly", TEXT)
        assert found == answer(source, TEXT)
        assert server.execute(count).fetchone() == before
        server.execute("DROP OWNED BY reader")
        server.execute("DROP ROLE reader")


def test_a_table_that_the_user_may_not_read(place: str, tmp_path: Path) -> None:
    source = written(world(DEFINITION, people=20, seed=3), tmp_path)
    server = loaded(place, "closed", source)
    with psycopg.connect(f"postgresql://{place}", autocommit=True) as admin:
        admin.execute("ALTER TABLE closed.person ALTER COLUMN year_of_birth TYPE text USING 'unknown'")
    with opened(source), pytest.raises(DataError, match="the server answered") as error:
        answer(server, TEXT)
    assert "unknown" not in str(error.value)
