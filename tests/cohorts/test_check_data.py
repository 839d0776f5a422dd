"""Conformity of OMOP records: one defect of each kind is found and counted, and a sound hospital has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from cohorts.dialects import DIALECTS, spoken
from confrere.console import output
from confrere.console.app import app
from confrere.data import conformity
from confrere.data.conformity import Problem, Report, checked
from confrere.data.omop import opened
from confrere.data.synthesize import Plan, synthesize
from confrere.errors import StudyError

TODAY = date(2026, 1, 1)
Tables = dict[str, pd.DataFrame]


def sound() -> Tables:
    """A hospital of ten people in which nothing is wrong, on paper."""
    ids = list(range(1, 11))
    visits = {"visit_concept_id": 9201, "visit_start_date": "2020-01-01", "visit_end_date": "2020-01-03"}
    return {
        "person": pd.DataFrame({
            "person_id": ids, "gender_concept_id": [8507, 8532] * 5, "year_of_birth": 1950, "month_of_birth": 2,
            "day_of_birth": 29,
        }),
        "observation_period": pd.DataFrame({
            "observation_period_id": ids, "person_id": ids, "observation_period_start_date": "2010-01-01",
            "observation_period_end_date": "2024-12-31", "period_type_concept_id": 0,
        }),
        "visit_occurrence": pd.DataFrame({"visit_occurrence_id": ids, "person_id": ids, **visits}),
        "drug_exposure": pd.DataFrame({
            "drug_exposure_id": ids, "person_id": ids, "drug_concept_id": 1118084,
            "drug_exposure_start_date": "2020-01-01", "drug_exposure_end_date": "2020-02-01", "quantity": 30.0,
            "days_supply": 30,
        }),
        "measurement": pd.DataFrame({
            "measurement_id": ids, "person_id": ids, "measurement_concept_id": 3004410,
            "measurement_date": "2020-01-01", "value_as_number": "5.5", "value_as_concept_id": 0,
            "unit_concept_id": 8554, "range_low": 4.0, "range_high": 6.0, "visit_occurrence_id": ids,
        }),
        "death": pd.DataFrame({"person_id": [10], "death_date": ["2023-01-01"], "cause_concept_id": [0]}),
        "concept": pd.DataFrame({
            "concept_id": [9201, 1118084, 3004410, 19],
            "domain_id": ["Visit", "Drug", "Measurement", "Condition"], "standard_concept": ["S", "S", "S", None],
        }),
        "cdm_source": pd.DataFrame({
            "cdm_source_name": ["x"], "cdm_version": ["v5.4.1"], "vocabulary_version": ["v5.0 1-JAN-25"],
            "source_release_date": ["2025-01-01"],
        }),
        "vocabulary": pd.DataFrame({"vocabulary_id": ["None"], "vocabulary_version": ["v5.0 1-JAN-25"]}),
    }  # fmt: skip


def report(tables: Tables, folder: Path) -> Report:
    """What is found in tables."""
    for name, frame in tables.items():
        frame.to_parquet(folder / f"{name}.parquet")
    with opened(folder) as cdm:
        return checked(cdm, TODAY)


def test_a_table_without_rows_is_counted_as_it_is(tmp_path: Path) -> None:
    found = report(sound() | {"death": sound()["death"].iloc[:0]}, tmp_path)
    assert [(t.name, t.rows) for t in found.tables if t.name == "death"] == [("death", 0)]
    assert serious(found) == []


def serious(found: Report) -> list[Problem]:
    """All but notes, and but the vocabulary's two tables that are not in these."""
    return [p for p in found.problems if p.severity != "note" and not p.table.startswith("concept_")]


def put(table: str, column: str, value: Any, row: int = 0) -> Callable[[Tables], None]:
    """A defect: another value in one row."""

    def change(tables: Tables) -> None:
        frame = tables[table].astype({column: object})
        frame.loc[row, column] = value
        tables[table] = frame if isinstance(value, str) else frame.infer_objects()

    return change


def drop(table: str, column: str = "") -> Callable[[Tables], None]:
    """A defect: a table or a column is not there."""

    def change(tables: Tables) -> None:
        if column:
            tables[table] = tables[table].drop(columns=column)
        else:
            del tables[table]

    return change


def twice(table: str) -> Callable[[Tables], None]:
    """A defect: the first row stands twice."""

    def change(tables: Tables) -> None:
        tables[table] = pd.concat([tables[table], tables[table][:1]], ignore_index=True)

    return change


def second_period(tables: Tables) -> None:
    """A defect: of one person, a period within the other one."""
    more = tables["observation_period"][:1].assign(observation_period_id=11, observation_period_start_date="2012-01-01")
    tables["observation_period"] = pd.concat([tables["observation_period"], more], ignore_index=True)


DEFECTS: list[tuple[Callable[[Tables], None], str, str, str, int, int]] = [
    (
        put("visit_occurrence", "visit_start_date", "soon"),
        "error",
        "visit_occurrence.visit_start_date",
        "no date",
        1,
        10,
    ),
    (put("measurement", "value_as_number", "high"), "error", "measurement.value_as_number", "no float64", 1, 10),
    (
        drop("visit_occurrence", "visit_concept_id"),
        "error",
        "visit_occurrence.visit_concept_id",
        "the column is not",
        0,
        0,
    ),
    (put("drug_exposure", "person_id", None), "error", "drug_exposure.person_id", "missing", 1, 10),
    (
        put("drug_exposure", "drug_exposure_start_date", None),
        "error",
        "drug_exposure.drug_exposure_start_date",
        "missing",
        1,
        10,
    ),
    (put("drug_exposure", "person_id", 99), "error", "drug_exposure.person_id", "of nobody in person", 1, 10),
    (twice("drug_exposure"), "error", "drug_exposure.drug_exposure_id", "the key is repeated", 1, 11),
    (put("person", "year_of_birth", None), "error", "person.year_of_birth", "missing", 1, 10),
    (put("person", "year_of_birth", 1849), "warning", "person.year_of_birth", "before 1850", 1, 10),
    (put("person", "month_of_birth", 13), "warning", "person.month_of_birth", "not 1 to 12", 1, 10),
    (put("person", "day_of_birth", 32), "warning", "person.day_of_birth", "not 1 to 31", 1, 10),
    (
        put("visit_occurrence", "visit_start_date", "1950-01-31"),
        "warning",
        "visit_occurrence.visit_start_date",
        "before birth",
        1,
        10,
    ),
    (
        put("visit_occurrence", "visit_end_date", "2019-12-31"),
        "warning",
        "visit_occurrence.visit_end_date",
        "end before start",
        1,
        10,
    ),
    (
        put("measurement", "measurement_date", "2026-01-02"),
        "warning",
        "measurement.measurement_date",
        "in the future",
        1,
        10,
    ),
    (
        put("measurement", "measurement_date", "2023-03-03", 9),
        "warning",
        "measurement.measurement_date",
        "more than 60 days after death",
        1,
        1,
    ),
    (put("drug_exposure", "quantity", -1.0), "warning", "drug_exposure.quantity", "negative", 1, 10),
    (put("drug_exposure", "days_supply", -30), "warning", "drug_exposure.days_supply", "negative", 1, 10),
    (put("measurement", "range_low", 7.0), "warning", "measurement.range_low", "range_low above range_high", 1, 10),
    (
        put("drug_exposure", "drug_concept_id", 0),
        "warning",
        "drug_exposure.drug_concept_id",
        "without a concept (0)",
        1,
        10,
    ),
    (
        put("drug_exposure", "drug_concept_id", 77),
        "warning",
        "drug_exposure.drug_concept_id",
        "not in the vocabulary",
        1,
        10,
    ),
    (put("concept", "standard_concept", "C", 1), "warning", "drug_exposure.drug_concept_id", "not standard", 10, 10),
    (
        put("drug_exposure", "drug_concept_id", 9201),
        "warning",
        "drug_exposure.drug_concept_id",
        "another domain than Drug",
        1,
        10,
    ),
    (
        lambda t: t.update(observation_period=t["observation_period"][1:]),
        "warning",
        "observation_period.person_id",
        "people without one",
        1,
        10,
    ),
    (second_period, "warning", "observation_period.observation_period_start_date", "overlaps another one", 1, 11),
    (drop("cdm_source"), "warning", "cdm_source.", "nothing says which version", 0, 0),
    (put("cdm_source", "cdm_version", "6.0"), "warning", "cdm_source.cdm_version", "version 6.0", 0, 0),
    (
        put("vocabulary", "vocabulary_version", "v6"),
        "warning",
        "cdm_source.vocabulary_version",
        "the vocabulary is v6",
        0,
        0,
    ),
    (drop("concept"), "warning", "concept.", "the table is not there", 0, 0),
]


def test_a_sound_hospital_has_no_findings(tmp_path: Path) -> None:
    found = report(sound(), tmp_path)
    assert serious(found) == []
    assert (found.cdm, found.vocabulary, found.released) == ("v5.4.1", "v5.0 1-JAN-25", date(2025, 1, 1))
    told = {t.name: t for t in found.tables}
    assert (told["visit_occurrence"].rows, told["visit_occurrence"].latest) == (10, date(2020, 1, 1))
    assert told["drug_exposure"].unmapped == 0


@pytest.mark.parametrize("defect", DEFECTS, ids=[f"{where} {what}" for _, _, where, what, _, _ in DEFECTS])
def test_one_defect_is_one_finding(
    defect: tuple[Callable[[Tables], None], str, str, str, int, int], tmp_path: Path
) -> None:
    change, severity, where, what, count, total = defect
    tables = sound()
    change(tables)
    (found,) = (p for p in serious(report(tables, tmp_path)) if not (p.table == "concept" and where != "concept."))
    assert (found.severity, f"{found.table}.{found.column}") == (severity, where)
    assert what in found.what
    assert (found.found, found.total) == (count, total)
    assert found.remedy


def test_values_outside_their_range_are_a_note(tmp_path: Path) -> None:
    tables = sound()
    tables["measurement"].loc[0, "value_as_number"] = "6.5"
    (found,) = (p for p in report(tables, tmp_path).problems if p.what.startswith("outside"))
    assert (found.severity, found.found, found.total, found.share) == ("note", 1, 10, 0.1)


def test_few_records_without_a_concept_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformity, "UNMAPPED", 0.1)
    tables = sound()
    tables["drug_exposure"].loc[0, "drug_concept_id"] = 0
    assert serious(report(tables, tmp_path)) == []


def test_a_feed_that_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformity, "FEW", 10)
    tables = sound()
    tables["drug_exposure"]["drug_exposure_start_date"] = "2018-12-31"
    (found,) = serious(report(tables, tmp_path))
    assert (found.table, found.what) == ("drug_exposure", "ends 2018-12-31, the newest table 2020-01-01")


def test_a_person_who_stands_twice_does_not_double_the_others_rows(tmp_path: Path) -> None:
    tables = sound()
    twice("person")(tables)
    found = report(tables, tmp_path)
    assert [(p.table, p.what) for p in serious(found)] == [("person", "the key is repeated")]
    assert {t.name: t.rows for t in found.tables}["measurement"] == 10


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_the_same_is_found_in_the_words_of_every_engine(dialect: str, tmp_path: Path) -> None:
    tables = sound()
    for table, column, value in (
        ("drug_exposure", "quantity", -1.0), ("drug_exposure", "person_id", 99), ("person", "month_of_birth", 13),
    ):  # fmt: skip
        put(table, column, value)(tables)
    second_period(tables)
    for frame in tables.values():  # of the model's types: what is text, SQL Server casts as DuckDB does not
        for column in (c for c in frame.columns if c.endswith("_date")):
            frame[column] = pd.to_datetime(frame[column]).dt.date
    tables["measurement"]["value_as_number"] = 5.5
    direct = report(tables, tmp_path)
    assert len(serious(direct)) == 4
    with spoken(dialect):
        assert report(tables, tmp_path) == direct


def test_synthetic_hospitals_are_sound(tmp_path: Path) -> None:
    synthesize(Plan(hospitals=2, people=500, seed=3), tmp_path)
    for folder in sorted(p for p in tmp_path.iterdir() if p.is_dir()):
        with opened(folder) as cdm:
            assert [p for p in checked(cdm, TODAY).problems if p.severity != "note"] == []


def test_the_command(tmp_path: Path) -> None:
    tables = sound()
    for name, frame in tables.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
    out = tmp_path / "report.json"
    done = CliRunner().invoke(app, ["hospital", "check-data", str(tmp_path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "0 errors, 2 warnings" in done.output
    told = json.loads(out.read_text())
    assert told["cdm_version"] == "v5.4.1"
    assert {f["severity"] for f in told["findings"]} == {"warning", "note"}
    assert out.stat().st_mode & 0o777 == 0o600
    tables["drug_exposure"].loc[0, "person_id"] = 99
    tables["drug_exposure"].to_parquet(tmp_path / "drug_exposure.parquet")
    done = CliRunner().invoke(app, ["hospital", "check-data", str(tmp_path)])
    assert done.exit_code == 2
    assert "of nobody in person" in done.output


def test_records_are_checked_without_what_a_federation_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(modules: object, what: str, extra: str) -> None:
        raise StudyError(f"{what}: {extra}")

    for name, frame in sound().items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
    monkeypatch.setattr(output, "installed", absent)
    assert CliRunner().invoke(app, ["hospital", "check-data", str(tmp_path)]).exit_code == 0
    done = CliRunner().invoke(app, ["hospital", "worklist", "list"])
    assert isinstance(done.exception, StudyError)
    assert "a federation needs" in str(done.exception)


def test_the_hospitals_own_records(tmp_path: Path) -> None:
    (tmp_path / "cdm").mkdir()
    for name, frame in sound().items():
        frame.to_parquet(tmp_path / "cdm" / f"{name}.parquet")
    home = tmp_path / "home"
    home.mkdir()
    (home / "hospital.toml").write_text('[hospital]\nname = "brest"\n[tables]\nomop = "../cdm"\nother = "x.csv"\n')
    words = ["hospital", "check-data", "--home", str(home)]
    done = CliRunner().invoke(app, words)
    assert "brest has the tables omop, other; say which: --table NAME" in str(done.exception)
    done = CliRunner().invoke(app, [*words, "--table", "omop"])
    assert done.exit_code == 0, done.output
    assert "brest:" in done.output
    done = CliRunner().invoke(app, [*words, "cdm", "--table", "omop"])
    assert "not both" in str(done.exception)
