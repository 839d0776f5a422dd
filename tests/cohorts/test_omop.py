"""Sources in the OMOP common data model: found whatever their form, cast to the model's types, wrong ones explained."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from confrere.data.cdm import NEEDED, REQUIRED, TABLES
from confrere.data.omop import opened, shown
from confrere.errors import DataError

PERSON = "PERSON_ID,Gender_Concept_Id,year_of_birth\n1,8507,1950\n2,8532,1960\n"
PERIOD = "person_id,observation_period_start_date,observation_period_end_date\n1,20000101,2010-12-31\n2,2001-01-01,\n"


def folder(path: Path, **tables: str) -> Path:
    """Tables as CSV files."""
    for name, text in ({"person": PERSON, "observation_period": PERIOD} | tables).items():
        (path / f"{name}.csv").write_text(text)
    return path


def read(source: str | Path, table: str) -> list[dict[str, object]]:
    """All rows of a table."""
    with opened(source) as cdm:
        found: list[dict[str, object]] = cdm.table(table).to_pyarrow().to_pylist()
        return found


def test_columns_are_lower_case_and_of_the_models_types(tmp_path: Path) -> None:
    with opened(folder(tmp_path)) as cdm:
        schema = cdm.table("person").schema()
        assert {c: str(kind) for c, kind in schema.items()} == TABLES["person"]
        first = cdm.table("observation_period").order_by("person_id").to_pyarrow().to_pylist()
    assert [str(r["observation_period_start_date"]) for r in first] == ["2000-01-01", "2001-01-01"]
    assert first[1]["observation_period_end_date"] is None


def test_numbers_stored_as_text(tmp_path: Path) -> None:
    """As in exports of Eunomia: `value_as_number` is text."""
    folder(tmp_path)
    frame = pd.DataFrame({
        "measurement_id": [1.0, 2.0], "person_id": [1, 2], "measurement_concept_id": [3, 3],
        "measurement_date": ["2000-01-01", "2000-02-01"], "value_as_number": ["7.5", ""], "range_high": [" 8 ", "NA"],
    })  # fmt: skip
    with duckdb.connect() as made:
        made.register("frame", frame)
        made.execute(f"COPY frame TO '{tmp_path}/Measurement.parquet' (FORMAT parquet)")
    rows = sorted(read(tmp_path, "measurement"), key=lambda r: str(r["measurement_id"]))
    assert [(r["measurement_id"], r["value_as_number"], r["range_high"]) for r in rows] == [
        (1, 7.5, 8.0),
        (2, None, None),
    ]


def test_tables_that_are_not_there_are_empty(tmp_path: Path) -> None:
    with opened(folder(tmp_path)) as cdm:
        assert not cdm.has("death")
        assert cdm.table("death").count().to_pyarrow().as_py() == 0
        assert list(cdm.table("death").columns) == list(TABLES["death"])


def test_files_of_every_kind(tmp_path: Path) -> None:
    """Zipped, with tabs as Athena writes them (quotes are text there), as a folder of parts."""
    folder(tmp_path)
    lines = 'concept_id\tconcept_name\tvalid_start_date\n1\tthe "5" rule\t19700101\n2\tother\t19700101\n'
    with gzip.open(tmp_path / "CONCEPT.csv.gz", "wt") as file:
        file.write(lines)
    (tmp_path / "death").mkdir()
    with duckdb.connect() as made:
        for part in (1, 2):
            made.execute(
                f"COPY (SELECT {part} AS person_id, DATE '2005-01-01' AS death_date) "
                f"TO '{tmp_path}/death/part{part}.parquet' (FORMAT parquet)"
            )
    names = {str(r["concept_name"]) for r in read(tmp_path, "concept")}
    assert names == {'the "5" rule', "other"}
    assert len(read(tmp_path, "death")) == 2


def test_a_duckdb_file_is_found_by_its_schema_and_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "hospital.duckdb"
    with duckdb.connect(str(file)) as made:
        made.execute("CREATE SCHEMA cdm; CREATE TABLE cdm.PERSON AS SELECT 1 AS PERSON_ID, 8507 AS gender_concept_id, "
                     "1950 AS year_of_birth")  # fmt: skip
        made.execute("CREATE VIEW cdm.observation_period AS SELECT 1 AS person_id, DATE '2000-01-01' AS "
                     "observation_period_start_date, DATE '2001-01-01' AS observation_period_end_date")  # fmt: skip
    before = file.read_bytes()
    with opened(file) as cdm:
        kept = cdm.keep(cdm.table("person"))
        assert kept.count().to_pyarrow().as_py() == 1
    assert file.read_bytes() == before


def test_people_who_opposed_are_in_no_table(tmp_path: Path) -> None:
    folder(tmp_path, death="person_id,death_date\n1,2005-01-01\n2,2006-01-01\n")
    with opened(tmp_path, without=["2"]) as cdm:
        for table in ("person", "observation_period", "death"):
            assert cdm.table(table).person_id.to_pyarrow().to_pylist() == [1]


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_table_without_which_nothing_can_be_read(tmp_path: Path, missing: str) -> None:
    (folder(tmp_path) / f"{missing}.csv").unlink()
    with pytest.raises(DataError, match=f"no table '{missing}'"):
        read(tmp_path, "person")


def test_a_column_without_which_a_table_cannot_be_read(tmp_path: Path) -> None:
    folder(tmp_path, death="person_id,died\n1,2005-01-01\n")
    with pytest.raises(DataError, match=r"table 'death' has no column 'death_date'; it has person_id, died"):
        read(tmp_path, "death")
    assert set(NEEDED) <= set(TABLES)
    assert all(set(columns) <= set(TABLES[table]) for table, columns in NEEDED.items())


def test_values_that_are_not_of_their_type_are_counted_not_shown(tmp_path: Path) -> None:
    folder(tmp_path, death="person_id,death_date\n1,last-spring\n2,2006-01-01\n")
    with pytest.raises(DataError, match=r"death.death_date \(1 rows are no date\)") as error:
        read(tmp_path, "death")
    assert "last-spring" not in str(error.value)


def test_two_files_of_one_table(tmp_path: Path) -> None:
    (folder(tmp_path) / "PERSON.tsv").write_text(PERSON.replace(",", "\t"))
    with pytest.raises(DataError, match="both table 'person'"):
        read(tmp_path, "person")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "no such file"), ("mysql://h/d", "mysql:// is not known"), (__file__, "DuckDB cannot open it"),
        ("postgresql://me:secret@127.0.0.1:1/none", "no connection|psycopg is not installed"),
    ],
)  # fmt: skip
def test_what_is_no_source(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        read(source, "person")
    assert "secret" not in str(error.value)


def test_an_unknown_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table 'wards'"):
        read(folder(tmp_path), "wards")


def test_a_url_is_shown_without_its_password() -> None:
    assert shown("postgresql://me:secret@host:5432/omop?schema=cdm") == "postgresql://host:5432/omop"
    # written without %23, %3F or %2F: the server is named in no part
    for password in ("se#cret", "12?34", "1/2", "p@s/w", "p@s#w", "p@s?w=1"):
        assert shown(f"postgresql://me:{password}@host:5432/omop") == "postgresql://"
