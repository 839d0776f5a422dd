"""OHDSI's own SQL for a cohort, executed in DuckDB: what circe-be writes, or circepy's port of its query builder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from circe.sqlrender import render, split_sql, translate

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.cohorts import RESULTS, SCHEMAS

from confrere.data.cdm import TABLES
from confrere.data.omop import Cdm

Row = tuple[int, str, str]  # person, start, end


class Expected(NamedTuple):
    """rows of the cohort, sorted; rules that a person's best entry event meets, as a bit mask: {mask: people}."""

    rows: list[Row]
    masks: Mapping[int, int]


@contextmanager
def copied(cdm: Cdm) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with all tables of a source in schema `cdm`."""
    with duckdb.connect() as found:
        found.execute("CREATE SCHEMA cdm; CREATE SCHEMA results")
        for table in TABLES:
            found.register("rows", cdm.table(table).to_pyarrow())
            found.execute(f"CREATE TABLE cdm.{table} AS SELECT * FROM rows")
            found.unregister("rows")
        yield found


def execute(found: duckdb.DuckDBPyConnection, sql: str) -> Expected:
    """Run OHDSI SQL, with its parameters, and read what it made."""
    for name, columns in RESULTS.items():
        found.execute(f"CREATE OR REPLACE TABLE results.{name} ({columns})")
    for statement in split_sql(translate(render(sql, **SCHEMAS), "duckdb")):
        if statement.strip() and not statement.strip().startswith("--"):
            found.execute(statement)
    rows = found.execute("SELECT subject_id, cohort_start_date, cohort_end_date FROM results.cohort").fetchall()
    masks = found.execute(
        "SELECT inclusion_rule_mask, person_count FROM results.cohort_inclusion_result WHERE mode_id = 1"
    ).fetchall()
    return Expected(sorted((p, str(start), str(end)) for p, start, end in rows), dict(masks))


def rows_of(made: Any) -> list[Row]:
    """The rows of one of our cohorts, in the same form."""
    found = made.to_pyarrow().to_pylist()
    return sorted((r["subject_id"], str(r["cohort_start_date"]), str(r["cohort_end_date"])) for r in found)


def text(expression: Any) -> str:
    """A definition as JSON text."""
    return expression if isinstance(expression, str) else json.dumps(expression)
