"""CSV files as OMOP tables by a mapping: what each way of reading a column gives, and that no record is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from confrere.console.app import app
from confrere.data.cdm import TABLES
from confrere.data.fhir_import import number
from confrere.data.mapping_import import Imported, imported
from confrere.data.omop import opened
from confrere.data.synthetic_vocabulary import vocabulary
from confrere.errors import DataError

PEOPLE = "id;sex;born\nP1;F;17.05.1950\nP2;M;01.02.1961\nP3;X;30.12.1970\n"
DIAGNOSES = "patient,icd,day\nP1,K92.2,2020-02-03\nP2,K92.2,2020-02-04\nP1,Z99.9,2020-02-05\n"
LABS = "patient;test;result;unit;at\nP1;HBA;7,5;%;2020-01-02 09:15\nP2;HBA;; %;2020-01-03 10:00\n"
PERSON = """
[[table]]
table = "person"
file = "people.csv"
separator = ";"
[table.columns]
person_id = { column = "id", hash = true }
gender_concept_id = { column = "sex", map = { F = 8532, M = 8507 }, else = 0 }
year_of_birth = { column = "born", date = "%d.%m.%Y", part = "year" }
month_of_birth = { column = "born", date = "%d.%m.%Y", part = "month" }
race_concept_id = { value = 0 }
person_source_value = "id"
"""
CONDITION = """
[[table]]
table = "condition_occurrence"
file = "diagnoses*.csv"
[table.columns]
condition_occurrence_id = { number = true }
person_id = { column = "patient", hash = true }
condition_concept_id = { column = "icd", vocabulary = "ICD10CM" }
condition_source_concept_id = { column = "icd", vocabulary = "ICD10CM", source = true }
condition_source_value = "icd"
condition_start_date = "day"
"""
LAB = """
[[table]]
table = "measurement"
file = "labs.csv"
separator = ";"
decimal = ","
[table.columns]
measurement_id = { number = true }
person_id = { column = "patient", hash = true }
measurement_concept_id = { column = "test", codes = "tests.csv", unknown = "quarantine" }
measurement_date = { column = "at", date = "%Y-%m-%d %H:%M" }
measurement_datetime = { column = "at", date = "%Y-%m-%d %H:%M" }
value_as_number = { column = "result", factor = 2 }
unit_concept_id = { column = "unit", vocabulary = "UCUM" }
"""


class Made:
    """An import, and questions to its tables."""

    def __init__(self, folder: Path, mapping: str, **files: str | bytes) -> None:
        given = {"people": PEOPLE, "diagnoses": DIAGNOSES, "labs": LABS, "tests": "code,concept_id\nHBA,3004410\n"}
        for name, text in (given | files).items():
            (folder / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        (folder / "words").mkdir()
        for name, table in vocabulary("here").items():
            pq.write_table(table, folder / "words" / f"{name}.parquet")
        (folder / "map.toml").write_text('vocabulary = "words"\n' + mapping)
        self.out = folder / "cdm"
        self.told: Imported = imported(folder / "map.toml", self.out)
        for tally in self.told.files:
            assert tally.read == tally.rows + tally.quarantined
        assert sum(t.quarantined for t in self.told.files) == len(self.quarantine())

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table, in its order."""
        found: list[dict[str, Any]] = pq.read_table(self.out / f"{table}.parquet").to_pylist()
        return found

    def quarantine(self) -> list[dict[str, str]]:
        """The records that could not be read."""
        path = self.told.quarantine
        return [json.loads(line) for line in path.read_text().splitlines()] if path else []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Files in which nothing is wrong."""
    return Made(tmp_path_factory.mktemp("csv"), CONDITION + LAB + PERSON)  # person need not be first


def test_people(made: Made) -> None:
    rows = made.rows("person")
    assert [r["person_id"] for r in rows] == [number("P1"), number("P2"), number("P3")]
    assert [r["gender_concept_id"] for r in rows] == [8532, 8507, 0]
    assert [(r["year_of_birth"], r["month_of_birth"]) for r in rows] == [(1950, 5), (1961, 2), (1970, 12)]
    assert {r["race_concept_id"] for r in rows} == {0}
    assert rows[0]["person_source_value"] == "P1"


def test_codes_become_standard_concepts_and_unknown_ones_are_counted(made: Made) -> None:
    rows = made.rows("condition_occurrence")
    assert [r["condition_concept_id"] for r in rows] == [192671, 192671, 0]
    assert [r["condition_source_concept_id"] for r in rows] == [35208414, 35208414, 0]
    assert [r["condition_occurrence_id"] for r in rows] == [1, 2, 3]
    assert str(rows[0]["condition_start_date"]) == "2020-02-03"
    assert {t.table: t.unmapped for t in made.told.files}["condition_occurrence"] == 1


def test_numbers_units_and_times(made: Made) -> None:
    first, second = made.rows("measurement")
    assert (first["value_as_number"], first["unit_concept_id"]) == (15.0, 8554)
    assert first["measurement_concept_id"] == 3004410
    assert (str(first["measurement_date"]), str(first["measurement_datetime"])) == ("2020-01-02", "2020-01-02 09:15:00")
    assert second["value_as_number"] is None  # empty is missing


def test_observation_periods_are_made_of_the_records(made: Made) -> None:
    periods = {r["person_id"]: r for r in made.rows("observation_period")}
    assert made.told.periods == len(periods) == 2  # nothing is recorded of P3
    ada = periods[number("P1")]
    assert str(ada["observation_period_start_date"]) == "2020-01-02"
    assert str(ada["observation_period_end_date"]) == "2020-02-05"


def test_the_folder_is_a_source(made: Made) -> None:
    with opened(made.out) as cdm:
        for table in ("person", "condition_occurrence", "measurement", "concept"):
            assert list(cdm.table(table).columns) == list(TABLES[table])
            assert cdm.table(table).count().to_pyarrow().as_py() > 0


BAD = [
    ("diagnoses", "P1,K92.2,2020-13-03", "column 'day' (condition_start_date): it is no date"),
    ("diagnoses", "P1,K92.2,1066-01-03", "not of the years 1850 to 2150"),
    ("diagnoses", "P9,K92.2,2020-01-03", "person_id names nobody in person"),
    ("diagnoses", ",K92.2,2020-01-03", "column 'patient' is empty; person_id needs it"),
    ("diagnoses", "P1,K92.2", "it has 2 fields, and the header 3"),
    ("diagnoses", 'P1,"K92".2,2020-01-03', "no record of a CSV file"),
    ("people", "P4;F;1950-05-17", "no date of the form %d.%m.%Y"),
    ("people", "P1;F;17.05.1950", "person_id stands twice"),
    ("labs", "P1;CRP;1;%;2020-01-02 09:15", "column 'test' (measurement_concept_id): the code is not among the codes"),
    ("labs", "P1;HBA;high;%;2020-01-02 09:15", "column 'result' (value_as_number): it is no number"),
    ("labs", "P1;HBA;5.4;%;2020-01-02 09:15", 'it has a point, and decimal = "," is said'),
    ("labs", "P1;HBA;inf;%;2020-01-02 09:15", "it is no number"),
]


@pytest.mark.parametrize(("file", "line", "reason"), BAD, ids=[reason[:40] for *_, reason in BAD])
def test_a_record_that_cannot_be_read_is_kept_with_its_reason(
    file: str, line: str, reason: str, tmp_path: Path
) -> None:
    given = {"people": PEOPLE, "diagnoses": DIAGNOSES, "labs": LABS}[file]
    head, first, *rest = given.splitlines()
    made = Made(tmp_path, PERSON + CONDITION + LAB, **{file: "\n".join([head, first, line, *rest]) + "\n"})
    (kept,) = made.quarantine()
    assert kept["place"] == f"{file}.csv:3"
    assert reason in kept["reason"]
    assert kept["line"] == line
    assert sum(t.rows for t in made.told.files) == 8  # the others are in
    assert made.told.quarantine is not None
    assert made.told.quarantine.stat().st_mode & 0o777 == 0o600


def test_a_code_without_an_else_is_kept_out(tmp_path: Path) -> None:
    made = Made(tmp_path, PERSON.replace(", else = 0", ""))
    (kept,) = made.quarantine()
    assert "the code is not among those of `map`" in kept["reason"]
    assert kept["line"] == "P3;X;30.12.1970"


def test_encodings(tmp_path: Path) -> None:
    """Of a file in another encoding, what is not ASCII is kept out; once it is named, all is read."""
    text = PEOPLE.replace("P3", "Zoé").encode("cp1252")
    (tmp_path / "a").mkdir()
    wrong = Made(tmp_path / "a", PERSON, people=text)
    (kept,) = wrong.quarantine()
    assert kept["place"] == "people.csv:4"
    assert "it is not utf-8" in kept["reason"]
    assert "Zo\\udce9" in kept["line"]
    (tmp_path / "b").mkdir()
    right = Made(tmp_path / "b", PERSON.replace('separator = ";"', 'separator = ";"\nencoding = "cp1252"'), people=text)
    assert right.rows("person")[2]["person_source_value"] == "Zoé"


def test_lines_are_counted_through_fields_of_several_lines_and_a_mark_at_the_start(tmp_path: Path) -> None:
    text = '\ufeffid;sex;born\r\n"P\n1";F;17.05.1950\r\n\r\nP2;M;never\r\n'
    made = Made(tmp_path, PERSON, people=text)
    assert [r["person_source_value"] for r in made.rows("person")] == ["P\n1"]
    assert [k["place"] for k in made.quarantine()] == ["people.csv:5"]


def test_several_files_of_one_table(tmp_path: Path) -> None:
    made = Made(tmp_path, PERSON + CONDITION, diagnoses_2021="patient,icd,day\nP2,K92.2,2021-02-03\n")
    assert [(t.file, t.rows) for t in made.told.files[1:]] == [("diagnoses.csv", 3), ("diagnoses_2021.csv", 1)]
    assert [r["condition_occurrence_id"] for r in made.rows("condition_occurrence")] == [1, 2, 3, 4]


WRONG = [
    (CONDITION, "no [[table]] makes 'person'"),
    (PERSON.replace('table = "person"', 'table = "people"'), "table = 'people' is not of the data model"),
    (PERSON.replace("people.csv", "nobody.csv"), "there is no file 'nobody.csv'"),
    (PERSON.replace("race_concept_id", "race"), "race is no column of person"),
    (PERSON.replace('"born", date', '"birth", date'), "there is no column 'birth'; it has id, sex, born"),
    (PERSON.replace('separator = ";"', ""), "there is no column 'id'; it has id;sex;born"),
    (PERSON.replace('separator = ";"', 'separator = "::"'), "separator '::' is not one character"),
    (PERSON.replace('separator = ";"', 'encoding = "utf-9"'), "encoding 'utf-9' is not known"),
    (PERSON.replace("value = 0", 'value = "none"'), "race_concept_id = 'none': it is no whole number"),
    (PERSON.replace("value = 0", "constant = 0"), "must be the name of a column, or have one of column, value, number"),
    (PERSON.replace("hash = true", "hashed = true"), "'hashed' is not known"),
    (PERSON.replace('part = "year"', 'part = "age"'), "part = 'age' is none of"),
    (PERSON.replace("year_of_birth", "day_of_birth"), "[table.columns] has no year_of_birth"),
    (PERSON + CONDITION.replace("ICD10CM", "ICD11"), "it has no codes of 'ICD11'"),
    (PERSON + LAB.replace("tests.csv", "none.csv"), "cannot read the codes"),
    (PERSON + "[[table", "Expected"),
]


@pytest.mark.parametrize(("mapping", "words"), WRONG, ids=[words[:30] for _, words in WRONG])
def test_what_is_wrong_with_a_mapping_is_said_before_anything_is_written(
    mapping: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        Made(tmp_path, mapping)
    assert words in str(error.value)
    assert not (tmp_path / "cdm").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cdm").mkdir()
    (tmp_path / "cdm" / "person.parquet").write_text("mine")
    with pytest.raises(DataError, match="not an empty folder"):
        Made(tmp_path, PERSON)


def test_many_records_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confrere.data.mapping_import.BATCH", 7)
    lines = "".join(f"Q{i};F;17.05.1950\n" for i in range(100))
    made = Made(tmp_path, PERSON, people="id;sex;born\n" + lines)
    assert len({r["person_id"] for r in made.rows("person")}) == 100
    assert duckdb.sql(f"select count(*) from '{made.out}/person.parquet'").fetchall() == [(100,)]


def test_the_command_tells_what_became_of_every_record(tmp_path: Path) -> None:
    Made(tmp_path, PERSON + CONDITION, diagnoses=DIAGNOSES + "P1,K92.2,soon\n")
    done = CliRunner().invoke(
        app, ["hospital", "import-csv", str(tmp_path / "map.toml"), "--out", str(tmp_path / "again")]
    )
    assert done.exit_code == 2
    said = "diagnoses.csv: 4 records = 3 rows of condition_occurrence + 1 in quarantine, 1 without a concept"
    assert said in done.output
    assert "observation_period: 2 rows" in done.output
    assert "Mend the records in" in done.output
    assert "1 x column 'day' (condition_start_date): " in done.output  # the commonest reasons, and where to look
    assert "(first: diagnoses.csv:5)" in done.output


def test_the_tables_say_what_they_are_unless_the_mapping_does(made: Made) -> None:
    (source,) = made.rows("cdm_source")
    assert (source["cdm_source_name"], source["cdm_version"]) == ("cdm", "5.4")
    assert source["vocabulary_version"] == made.rows("vocabulary")[0]["vocabulary_version"]
