"""circe-be's own suites on our sources: rows to load, and the rows that OHDSI's reference implementation gives.

The suites' Java code names the criteria; they are spelt as Circe JSON here. Suites of single criteria and of windows
are run as the events of a criterion, those of cohorts as whole cohorts.
https://github.com/OHDSI/circe-be, src/test/resources, Apache-2.0.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("circe")

from circe.api import cohort_expression_from_json
from circe.execution.ibis.codesets import build_single_codeset_table
from circe.execution.ibis.compiler import compile_event_plan
from circe.execution.ibis.context import make_execution_context
from circe.execution.lower.criteria import lower_criterion
from circe.execution.normalize.cohort import normalize_cohort

from cohorts.reference import rows_of
from cohorts.world import walked, written
from confrere.data.cdm import TABLES
from confrere.data.circe import NOT_YET, _Stages, cohort, expression
from confrere.data.omop import Cdm, opened
from confrere.errors import StudyError
from federate import SHARED

pytestmark = [pytest.mark.shared, pytest.mark.slow]
FOLDER = SHARED / "cohort_definitions" / "circe_be_tests"
Rows = Mapping[str, list[dict[str, Any]]]
Criterion = dict[str, Any]

# What circepy 0.3 does otherwise than the suites, and why: `data/circe.py` refuses such definitions. A case that passes
# again must leave the list, and the refusal with it.
ADJUSTS = "circe-be leaves out events whose adjusted end is before their adjusted start; circepy 0.3 keeps them"
EXPLAINED = {
    "date_adjust": ADJUSTS,
    "windowObservationPeriodUserDefined": "UserDefinedPeriod is not applied by circepy 0.3, and refused",
    "visitDetailCodesetCriteria": "IsExclusion of GenderCS is not applied by circepy 0.3, and refused",
    "negativecontrols": "no cohort definitions: circe-be's builder of negative control outcomes, which circepy has not",
    "conceptset": "SQL text of concept sets alone; the cohort suites expand the same sets",
}


@cache
def suite(name: str) -> dict[str, Any]:
    """The files of one folder of the suites."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def loaded(folder: Path, *sets: Rows) -> Path:
    """The rows of data sets as a hospital; tables that the suites leave out are empty."""
    tables: dict[str, pd.DataFrame] = {
        name: pd.DataFrame(columns=list(TABLES[name])) for name in ("person", "observation_period")
    }
    for rows in sets:
        for name, records in rows.items():
            table = name.partition(".")[2].lower()
            if table in TABLES and name.lower().startswith("cdm.") and records:
                frame = pd.DataFrame(records).rename(columns=str.lower)
                tables[table] = frame[[c for c in frame.columns if c in TABLES[table]]]
    return written(tables, folder)


def settings(kind: str) -> dict[str, Any]:
    """A definition with one kind of criterion, as the cohort suites have it."""
    found: dict[str, Any] = copy.deepcopy(
        suite("cohortgeneration__firstOccurrence")["firstOccurrenceTestExpression.json"]
    )
    found["PrimaryCriteria"]["CriteriaList"] = [{kind: {"CodesetId": 0, "First": True}}]
    return found


FIRST = (
    "ConditionEra", "ConditionOccurrence", "DeviceExposure", "DrugEra", "DrugExposure", "Measurement", "Observation",
    "ProcedureOccurrence", "Specimen", "VisitOccurrence",
)  # fmt: skip


def limits() -> Iterator[dict[str, Any]]:
    """The definition of the limit suite, narrowed more and more."""
    found = copy.deepcopy(suite("cohortgeneration__limits")["limitExpression.json"])
    yield copy.deepcopy(found)
    for path, value in (
        (("ExpressionLimit",), "first"), (("QualifiedLimit",), "first"),
        (("PrimaryCriteria", "PrimaryCriteriaLimit"), "first"), (("PrimaryCriteria", "PrimaryCriteriaLimit"), "last"),
    ):  # fmt: skip
        place = found
        for key in path:
            place = place[key]
        place["Type"] = value
        yield copy.deepcopy(found)


def exposures() -> Iterator[dict[str, Any]]:
    """Continuous exposure: as written, and of the first event alone."""
    found = copy.deepcopy(suite("cohortgeneration__exits")["continuousExposureExpression.json"])
    yield copy.deepcopy(found)
    found["PrimaryCriteria"]["PrimaryCriteriaLimit"]["Type"] = "First"
    yield found


def statuses() -> Iterator[dict[str, Any]]:
    """A condition with any status, with status 0 left to be missing, and with status 1."""
    for status in ({}, {}, {"ConditionStatus": [{"CONCEPT_ID": 1}]}):
        found = settings("ConditionOccurrence")
        found["PrimaryCriteria"]["ObservationWindow"]["PriorDays"] = 0
        found["PrimaryCriteria"]["CriteriaList"] = [{"ConditionOccurrence": {"CodesetId": 0} | status}]
        yield found


def cohorts() -> Iterator[Any]:
    """(folder, PREP and VERIFY, table, definitions in the order of their ids)."""
    yield pytest.param(
        "cohortgeneration__firstOccurrence", "firstOccurrenceTest", lambda: map(settings, FIRST), id="first occurrence"
    )
    yield pytest.param("cohortgeneration__limits", "limitTest", limits, id="limits")
    yield pytest.param("cohortgeneration__exits", "continuousExposure", exposures, id="continuous exposure")
    yield pytest.param("cohortgeneration__conditionOccurrence", "conditionStatusTest", statuses, id="condition status")
    for folder, name in (
        ("eraDupes", "eraDupes"), ("exits", "censorEvent"), ("exits", "continuousExposureCensor"),
        ("exits", "fixedOffset"), ("exits", "fixedOffsetCensor"),
    ):  # fmt: skip
        file = f"cohortgeneration__{folder}"
        yield pytest.param(file, name, lambda f=file, n=name: [suite(f)[f"{n}Expression.json"]], id=name)


@pytest.mark.parametrize(("file", "name", "definitions"), list(cohorts()))
def test_cohorts(tmp_path: Path, file: str, name: str, definitions: Any) -> None:
    verify = next(iter(suite(file)[f"{name}_VERIFY.json"].values()))
    source = loaded(tmp_path, suite("datasets")["vocabulary.json"], suite(file)[f"{name}_PREP.json"])
    with opened(source) as cdm:
        for number, found in enumerate(definitions(), 1):
            expected = sorted(
                (r["subject_id"], r["cohort_start_date"], r["cohort_end_date"])
                for r in verify
                if r["cohort_definition_id"] == number
            )
            assert rows_of(cohort(cdm, json.dumps(found)).rows) == expected, number


def test_all_criteria_at_once(tmp_path: Path) -> None:
    """A definition with every attribute of every criterion is executed: nobody of an empty source is in it."""
    every = copy.deepcopy(suite("cohortgeneration__allCriteria")["allCriteriaExpression.json"])
    with opened(loaded(tmp_path, suite("datasets")["vocabulary.json"])) as cdm:
        with pytest.raises(StudyError, match="does not apply yet"):
            cohort(cdm, json.dumps(every))
        for node in walked(every):
            for kind in set(NOT_YET) & set(node):
                for key in NOT_YET[kind]:
                    node[kind].pop(key, None)
        with pytest.raises(StudyError, match="dose_unit_concept_id"):  # a column of version 5.0 of the data model
            cohort(cdm, json.dumps(every))
        for node in walked(every):
            node.pop("DoseUnit", None)  # type: ignore[attr-defined]
        assert rows_of(cohort(cdm, json.dumps(every)).rows) == []


# Events of a single criterion --------------------------------------------------------------------------------------


def events(cdm: Cdm, kind: str, criterion: Criterion) -> list[dict[str, Any]]:
    """The events of a criterion, where concept set i is concept i."""
    item = [{"id": i, "name": f"set {i}", "expression": {"items": [{"concept": {"CONCEPT_ID": i}}]}} for i in (1, 2, 3)]
    text = json.dumps({"ConceptSets": item, "PrimaryCriteria": {"CriteriaList": [{kind: criterion}]}})
    # what is refused is asked of circepy itself
    read = cohort_expression_from_json if "DateAdjustment" in criterion else expression
    normalized = normalize_cohort(read(text))
    stages = _Stages(cdm)
    codesets = build_single_codeset_table(
        backend=stages, concept_sets=normalized.concept_sets, batch_table_name="codesets"
    )
    context = make_execution_context(backend=stages, cdm_schema="cdm", codeset_table=codesets)
    plan = lower_criterion(normalized.primary.criteria[0], criterion_index=0)
    found: list[dict[str, Any]] = compile_event_plan(plan, context).to_pyarrow().to_pylist()
    return found


def told(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What the suites say of an event: person, event, start, end, visit."""
    keys = ("person_id", "event_id", "start_date", "end_date", "visit_occurrence_id")
    return sorted(tuple(str(row.get(key)) for key in keys) for row in rows)


ADJUSTED = {"DateAdjustment": {"StartWith": "START_DATE", "StartOffset": 15, "EndWith": "END_DATE", "EndOffset": -10}}
OFFSETS = [name.removesuffix("DateOffset_VERIFY.json") for name in (
    "conditionEraDateOffset_VERIFY.json", "conditionOccurrenceDateOffset_VERIFY.json", "deathDateOffset_VERIFY.json",
    "deviceExposureDateOffset_VERIFY.json", "doseEraDateOffset_VERIFY.json", "drugEraDateOffset_VERIFY.json",
    "drugExposureDateOffset_VERIFY.json", "measurementDateOffset_VERIFY.json", "observationDateOffset_VERIFY.json",
    "observationPeriodDateOffset_VERIFY.json", "payerPlanPeriodDateOffset_VERIFY.json",
    "procedureOccurrenceDateOffset_VERIFY.json", "visitDetailDateOffset_VERIFY.json",
    "visitOccurrenceDateOffset_VERIFY.json",
)]  # fmt: skip


def variants() -> list[Any]:
    """Events as they are, and with dates adjusted."""
    turned = pytest.mark.xfail(strict=True, raises=AssertionError, reason=EXPLAINED["date_adjust"])
    return ["simple", pytest.param("date_adjust", marks=turned)]


@pytest.mark.parametrize("variant", variants())
@pytest.mark.parametrize("domain", OFFSETS)
def test_events_and_adjusted_dates(tmp_path: Path, domain: str, variant: str) -> None:
    kind = domain[0].upper() + domain[1:]
    files = suite("criteria")
    source = loaded(tmp_path, suite("datasets")["vocabulary.json"], files[f"{domain}DateOffset_PREP.json"])
    base = {} if domain in ("observationPeriod", "payerPlanPeriod") else {"CodesetId": 1}
    with opened(source) as cdm:
        found = events(cdm, kind, base | (ADJUSTED if variant == "date_adjust" else {}))
    assert told(found) == told(files[f"{domain}DateOffset_VERIFY.json"][f"{domain}.{variant}"])


def test_turned_dates_are_refused(tmp_path: Path) -> None:
    """What circepy would answer otherwise than OHDSI is not answered."""
    definition = settings("ConditionOccurrence")
    definition["PrimaryCriteria"]["CriteriaList"] = [{"ConditionOccurrence": {"CodesetId": 0} | ADJUSTED}]
    with opened(loaded(tmp_path)) as cdm, pytest.raises(StudyError, match="may end before it starts"):
        cohort(cdm, json.dumps(definition))


SEEN = {"ProviderSpecialtyCS": 3, "VisitTypeCS": 2}
SELECTIONS = {
    "conditionEra": {"GenderCS": 1}, "drugEra": {"GenderCS": 1},
    "conditionOccurrence": {"GenderCS": 1, "ConditionTypeCS": 1, **SEEN},
    "death": {"GenderCS": 1, "DeathTypeCS": 1},
    "deviceExposure": {"GenderCS": 1, "DeviceTypeCS": 1, **SEEN},
    "drugExposure": {"GenderCS": 1, "DrugTypeCS": 2, "RouteConceptCS": 3, **SEEN},
    "measurement": {"GenderCS": 1, "MeasurementTypeCS": 2, "OperatorCS": 3, "ValueAsConceptCS": 2, "UnitCS": 1, **SEEN},
    "observation": {"GenderCS": 1, "ObservationTypeCS": 1, **SEEN},
    "procedureOccurrence": {"GenderCS": 1, "ProcedureTypeCS": 2, "ModifierCS": 3, **SEEN},
    "specimen": {"GenderCS": 1, "SpecimenTypeCS": 2, "UnitCS": 3, "AnatomicSiteCS": 2, "DiseaseStatusCS": 3},
    "visitOccurrence": {"GenderCS": 1, "VisitTypeCS": 2, "ProviderSpecialtyCS": 3, "PlaceOfServiceCS": 2},
}  # fmt: skip
REFUSED = {"doseEra": {"UnitCS": 3}, "observationPeriod": {"PeriodTypeCS": 1}}


@pytest.mark.parametrize("domain", REFUSED)
def test_attributes_that_circepy_leaves_out_are_refused(tmp_path: Path, domain: str) -> None:
    chosen = {key: {"CodesetId": number} for key, number in REFUSED[domain].items()}
    with opened(loaded(tmp_path)) as cdm, pytest.raises(StudyError, match="does not apply yet"):
        events(cdm, domain[0].upper() + domain[1:], chosen)


@pytest.mark.parametrize("domain", SELECTIONS)
def test_events_by_concept_sets_of_attributes(tmp_path: Path, domain: str) -> None:
    kind = domain[0].upper() + domain[1:]
    files = suite("criteria")
    source = loaded(tmp_path, suite("datasets")["vocabulary.json"], files[f"{domain}ConceptSet_PREP.json"])
    chosen = {key: {"CodesetId": number, "IsExclusion": False} for key, number in SELECTIONS[domain].items()}
    with opened(source) as cdm:
        found = events(cdm, kind, {"CodesetId": 1} | chosen)
    assert told(found) == told(files[f"{domain}ConceptSet_VERIFY.json"][f"{domain}.conceptset"])


# Events within a window around an index ----------------------------------------------------------------------------


WINDOWS = [name.removesuffix("_PREP.json") for name in (
    "windowConditionEra_PREP.json", "windowConditionOccurrence_PREP.json", "windowDeath_PREP.json",
    "windowDeviceExposure_PREP.json", "windowDoseEra_PREP.json", "windowDrugEra_PREP.json",
    "windowDrugExposure_PREP.json", "windowMeasurement_PREP.json", "windowObservation_PREP.json",
    "windowObservationPeriod_PREP.json", "windowProcedureOccurrence_PREP.json", "windowSpecimen_PREP.json",
    "windowVisitDetail_PREP.json", "windowVisitOccurrence_PREP.json",
)]  # fmt: skip
YEAR_BEFORE = {"Start": {"Days": 365, "Coeff": -1}, "End": {"Days": 0, "Coeff": -1}, "UseEventEnd": False}


def indexed(cdm: Cdm, rows: Rows, group: dict[str, Any]) -> list[tuple[int, int]]:
    """(person, event) of the index events of a suite that meet a group of criteria."""
    from circe.execution.engine.groups import _evaluate_group
    from circe.execution.normalize.groups import normalize_criteria_group

    index = pd.DataFrame(next(records for name, records in rows.items() if name.endswith(".cohort")))
    index["event_id"] = index.groupby("subject_id").cumcount() + 1
    days = {name: pd.to_datetime(index[f"cohort_{name}"]) for name in ("start_date", "end_date")}
    frame = pd.DataFrame({"person_id": index["subject_id"], "event_id": index["event_id"], **days})
    import ibis
    import pyarrow as pa

    made = ibis.memtable(pa.Table.from_pandas(frame, preserve_index=False))
    periods = cdm.table("observation_period")
    made = made.mutate(start_date=made.start_date.cast("date"), end_date=made.end_date.cast("date"))
    joined = made.join(
        periods.select("person_id", op_start_date="observation_period_start_date",
                       op_end_date="observation_period_end_date"), "person_id",
    ).filter(lambda t: (t.start_date >= t.op_start_date) & (t.start_date <= t.op_end_date))  # fmt: skip
    joined = joined.mutate(visit_occurrence_id=ibis.null().cast("int64"))
    item = [{"id": i, "name": f"set {i}", "expression": {"items": [{"concept": {"CONCEPT_ID": i}}]}} for i in (1, 2, 3)]
    text = {"ConceptSets": item, "PrimaryCriteria": {"CriteriaList": [{"Death": {}}]}, "AdditionalCriteria": group}
    read = cohort_expression_from_json(json.dumps(text))
    stages = _Stages(cdm)
    codesets = build_single_codeset_table(
        backend=stages, concept_sets=normalize_cohort(read).concept_sets, batch_table_name="codesets"
    )
    context = make_execution_context(backend=stages, cdm_schema="cdm", codeset_table=codesets)
    found = _evaluate_group(cdm.keep(joined), normalize_criteria_group(read.additional_criteria), context)
    return sorted((r["person_id"], r["event_id"]) for r in found.to_pyarrow().to_pylist())


def grouped(kind: str, criterion: Criterion, occurrence: dict[str, Any]) -> dict[str, Any]:
    """A group of one criterion in the year before."""
    one = {"Criteria": {kind: criterion}, "StartWindow": YEAR_BEFORE, "Occurrence": occurrence}
    return {"Type": "ALL", "CriteriaList": [one], "DemographicCriteriaList": [], "Groups": []}


@pytest.mark.parametrize("name", WINDOWS)
def test_events_in_the_year_before(tmp_path: Path, name: str) -> None:
    """Each index event has exactly as many events in its window as the suite lists for it."""
    files, kind = suite("windowcriteria"), name.removeprefix("window")
    prepared = files[f"{name}_PREP.json"]
    verify = next(rows for table, rows in files[f"{name}_VERIFY.json"].items() if table.endswith("no_columns"))
    counts: dict[tuple[int, int], int] = {}
    for row in verify:
        counts[row["person_id"], row["event_id"]] = counts.get((row["person_id"], row["event_id"]), 0) + 1
    assert counts
    with opened(loaded(tmp_path, suite("datasets")["vocabulary.json"], prepared)) as cdm:
        for key, count in counts.items():
            assert key in indexed(cdm, prepared, grouped(kind, {}, {"Type": 0, "Count": count}))
            assert key not in indexed(cdm, prepared, grouped(kind, {}, {"Type": 0, "Count": count + 1}))


COUNTED = {
    "distinctDefault": {"Type": 2, "Count": 2, "IsDistinct": True},
    "distinctStart": {"Type": 2, "Count": 2, "IsDistinct": True, "CountColumn": "START_DATE"},
    "distinctVisit": {"Type": 2, "Count": 2, "IsDistinct": True, "CountColumn": "VISIT_ID"},
    "simpleInclusion": {"Type": 2, "Count": 1},
}


@pytest.mark.parametrize("name", COUNTED)
def test_counts_of_correlated_criteria(tmp_path: Path, name: str) -> None:
    files = suite("corelatedcriteria")
    prepared, verify = files[f"{name}_PREP.json"], files[f"{name}_VERIFY.json"]
    expected = next(rows for table, rows in verify.items() if table.endswith((".output", ".inclusion")))
    with opened(loaded(tmp_path, suite("datasets")["vocabulary.json"], prepared)) as cdm:
        found = indexed(cdm, prepared, grouped("ConditionOccurrence", {}, COUNTED[name]))
    assert found == sorted((r["person_id"], r["event_id"]) for r in expected)


def test_exclusions_that_circepy_leaves_out_are_refused(tmp_path: Path) -> None:
    chosen = {"GenderCS": {"CodesetId": 1, "IsExclusion": True}}
    with opened(loaded(tmp_path)) as cdm, pytest.raises(StudyError, match="IsExclusion of GenderCS"):
        events(cdm, "VisitDetail", chosen)


def test_every_file_is_run_or_explained() -> None:
    """Of the suites that have rows to load; the others are checks of definitions and texts."""
    known = {f"{d}{kind}" for d in OFFSETS for kind in ("DateOffset",)} | {f"{d}ConceptSet" for d in SELECTIONS}
    known |= {f"{d}ConceptSet" for d in REFUSED} | {*WINDOWS, *COUNTED, *EXPLAINED}
    known |= {
        "firstOccurrenceTest", "limitTest", "continuousExposure", "conditionStatusTest", "eraDupes", "censorEvent",
        "continuousExposureCensor", "fixedOffset", "fixedOffsetCensor",
    }  # fmt: skip
    for file in FOLDER.glob("*.json"):
        folder = file.stem.partition("__")[0]
        if folder in EXPLAINED:
            continue
        names = {n.removesuffix("_PREP.json") for n in json.loads(file.read_text()) if n.endswith("_PREP.json")}
        assert names <= known, file.name
