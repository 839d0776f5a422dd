"""What is asked of BigQuery, Spark, Snowflake and SQL Server: their SQL, parsed as theirs, and run by DuckDB."""

from __future__ import annotations

import json
from pathlib import Path

import ibis
import pandas as pd
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ibis.common.exceptions import OperationNotDefinedError

pytest.importorskip("circe")

from cohorts.clinic import STUDY, clinic
from cohorts.definitions import DEFINITION, TEXT
from cohorts.dialects import DIALECTS, heard, said, spoken
from cohorts.reference import Row, rows_of
from cohorts.world import world, written
from confrere.data.cdm import TABLES
from confrere.data.circe import cohort
from confrere.data.engines import local_table, without_arrays
from confrere.data.omop import _cast, opened
from confrere.data.people import people
from confrere.study import build
from confrere.study.file import parse

ALL = pytest.mark.parametrize("dialect", sorted(DIALECTS))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital for the definition."""
    return written(world(DEFINITION, people=60, seed=5), tmp_path_factory.mktemp("world"))


def answer(source: Path, text: str) -> tuple[list[Row], list[tuple[object, ...]]]:
    """The rows of a cohort, and how many steps each person passes."""
    with opened(source) as cdm:
        made = cohort(cdm, text)
        columns = ("person_id", "reached")
        return rows_of(made.rows), sorted(tuple(r[c] for c in columns) for r in made.reached.to_pyarrow().to_pylist())


@ALL
def test_a_cohort_in_the_words_of_an_engine_is_the_same(dialect: str, hospital: Path) -> None:
    direct = answer(hospital, TEXT)
    assert direct[0]
    with spoken(dialect) as statements:
        assert answer(hospital, TEXT) == direct
    assert len(statements) > 5  # it did go through


@ALL
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.permutations(range(4)), many=st.integers(0, 4))
def test_whatever_its_rules(dialect: str, hospital: Path, chosen: list[int], many: int) -> None:
    text = json.dumps(DEFINITION | {"InclusionRules": [DEFINITION["InclusionRules"][i] for i in chosen[:many]]})
    direct = answer(hospital, text)
    with spoken(dialect):
        assert answer(hospital, text) == direct


@ALL
def test_every_table_of_the_model_is_the_same(dialect: str, hospital: Path) -> None:
    """The casts, the columns that are not there, the tables that are not there."""

    def everything() -> dict[str, list[str]]:
        with opened(hospital, without=["3"]) as cdm:
            return {t: sorted(map(str, cdm.table(t).to_pyarrow().to_pylist())) for t in TABLES}

    direct = everything()
    with spoken(dialect):
        assert everything() == direct


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"mssql"}))
def test_values_stored_as_text_are_cast_alike(dialect: str, tmp_path: Path) -> None:
    tables = {
        "person": {"person_id": ["1", " 2 "], "gender_concept_id": [8507, 8532], "year_of_birth": ["1950", "1960"]},
        "observation_period": {
            "person_id": [1, 2], "observation_period_start_date": ["20000101", "2001-01-01"],
            "observation_period_end_date": ["2010-12-31", ""],
        },
    }  # fmt: skip
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet")

    def read() -> list[str]:
        with opened(tmp_path) as cdm:
            return [str(sorted(map(str, cdm.table(t).to_pyarrow().to_pylist()))) for t in tables]

    direct = read()
    assert "datetime.date(2000, 1, 1)" in direct[1]
    with spoken(dialect):
        assert read() == direct


def test_sql_server_has_no_patterns_and_reads_compact_dates_itself() -> None:
    table = ibis.table({"day": "string"}, name="t")
    sql = said("mssql", table.select(day=_cast(table.day, "date", dash=False)))
    assert sql.startswith("SELECT CAST(")
    assert "AS DATE)" in sql
    with pytest.raises(OperationNotDefinedError):
        said("mssql", table.select(day=_cast(table.day, "date")))


@ALL
def test_what_is_said_is_parsed_as_the_engines_own(dialect: str) -> None:
    """Over unbound tables of the model: no engine of ours had a part in it."""
    for name, kinds in TABLES.items():
        table = ibis.table(dict(kinds), name=name)
        sql = said(dialect, table.filter(table[next(iter(kinds))].notnull()))
        (tree,) = sqlglot.parse(sql, read=DIALECTS[dialect]().dialect)
        assert tree is not None
        assert heard(dialect, sql).find(sqlglot.exp.Table).name == name


def test_sql_server_keeps_rows_in_a_table_that_its_connection_alone_sees() -> None:
    people = ibis.table({"person_id": "int64", "name": "string"}, name="person")
    names = people.group_by("name").agg(person_id=people.person_id.max())
    both = ibis.union(names.filter(names.person_id > 3), names.filter(names.person_id < 2))  # WITH names
    create, fill = local_table(DIALECTS["mssql"](), "#cf_1", both)
    assert create == "CREATE TABLE [#cf_1] ([name] VARCHAR(max), [person_id] BIGINT)"
    assert fill.startswith("WITH ")  # T-SQL has it at the top of the statement
    assert "INSERT INTO [#cf_1] SELECT" in fill
    assert "##" not in create + fill


def test_lists_become_single_rows_where_there_are_no_arrays() -> None:
    from circe.execution.ibis_compat import literal_column_relation

    for values in ([8507], [8507, 8532], []):
        rows = without_arrays(literal_column_relation(values, column_name="concept_id", dtype="int64"))
        assert "UNNEST" not in said("mssql", rows).upper()
        assert sorted(ibis.duckdb.connect().to_pyarrow(rows)["concept_id"].to_pylist()) == values


@ALL
def test_the_table_of_people_is_the_same(dialect: str, tmp_path: Path) -> None:
    """Cohorts, features and outcomes of a whole study; sums of numbers may differ in the last digits."""
    source = written(clinic(80, 3), tmp_path)
    study = parse(STUDY)
    direct = people(source, study, build.analyses(study)).frame
    with spoken(dialect):
        made = people(source, study, build.analyses(study)).frame
    pd.testing.assert_frame_equal(made, direct, rtol=1e-12, atol=0)
