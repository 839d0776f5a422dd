"""circe-be's own suites on our sources: rows to load, and the rows that OHDSI's reference implementation gives.

The suites' Java code names the criteria; they are spelt as Circe JSON here. Suites of single criteria and of windows are
run as the events of a criterion, those of cohorts as whole cohorts.
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
from cohorts.world import written
from confrere.data.cdm import TABLES
from confrere.data.circe import _Stages, cohort
from confrere.data.omop import Cdm, opened
from federate import SHARED

pytestmark = [pytest.mark.shared, pytest.mark.slow]
FOLDER = SHARED / "cohort_definitions" / "circe_be_tests"
Rows = Mapping[str, list[dict[str, Any]]]
Criterion = dict[str, Any]

# What circepy 0.3 does otherwise than the suites, each with its reason; a case that passes again must leave the list.
EXPLAINED: dict[str, str] = {}


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
    found: dict[str, Any] = copy.deepcopy(suite("cohortgeneration__firstOccurrence")["firstOccurrenceTestExpression.json"])
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
        for number, expression in enumerate(definitions(), 1):
            expected = sorted(
                (r["subject_id"], r["cohort_start_date"], r["cohort_end_date"])
                for r in verify
                if r["cohort_definition_id"] == number
            )
            assert rows_of(cohort(cdm, json.dumps(expression)).rows) == expected, number


def test_all_criteria_at_once(tmp_path: Path) -> None:
    """A definition with every attribute of every criterion is executed: nobody of an empty source is in it."""
    expression = suite("cohortgeneration__allCriteria")["allCriteriaExpression.json"]
    with opened(loaded(tmp_path, suite("datasets")["vocabulary.json"])) as cdm:
        assert rows_of(cohort(cdm, json.dumps(expression)).rows) == []


# Events of a single criterion --------------------------------------------------------------------------------------


def events(cdm: Cdm, kind: str, criterion: Criterion) -> list[dict[str, Any]]:
    """The events of a criterion, where concept set i is concept i."""
    item = [{"id": i, "name": f"set {i}", "expression": {"items": [{"concept": {"CONCEPT_ID": i}}]}} for i in (1, 2, 3)]
    text = json.dumps({"ConceptSets": item, "PrimaryCriteria": {"CriteriaList": [{kind: criterion}]}})
    normalized = normalize_cohort(cohort_expression_from_json(text))
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


SPECIAL = {"UserDefinedPeriod": {"StartDate": "2000-06-10", "EndDate": "2000-06-15"}}
ADJUSTED = {"DateAdjustment": {"StartWith": "START_DATE", "StartOffset": 15, "EndWith": "END_DATE", "EndOffset": -10}}
OFFSETS = [name.removesuffix("DateOffset_VERIFY.json") for name in (
    "conditionEraDateOffset_VERIFY.json", "conditionOccurrenceDateOffset_VERIFY.json", "deathDateOffset_VERIFY.json",
    "deviceExposureDateOffset_VERIFY.json", "doseEraDateOffset_VERIFY.json", "drugEraDateOffset_VERIFY.json",
    "drugExposureDateOffset_VERIFY.json", "measurementDateOffset_VERIFY.json", "observationDateOffset_VERIFY.json",
    "observationPeriodDateOffset_VERIFY.json", "payerPlanPeriodDateOffset_VERIFY.json",
    "procedureOccurrenceDateOffset_VERIFY.json", "visitDetailDateOffset_VERIFY.json",
    "visitOccurrenceDateOffset_VERIFY.json",
)]  # fmt: skip


@pytest.mark.parametrize("variant", ["simple", "date_adjust"])
@pytest.mark.parametrize("domain", OFFSETS)
def test_events_and_adjusted_dates(tmp_path: Path, domain: str, variant: str) -> None:
    kind = domain[0].upper() + domain[1:]
    files = suite("criteria")
    source = loaded(tmp_path, suite("datasets")["vocabulary.json"], files[f"{domain}DateOffset_PREP.json"])
    base = {} if domain in ("observationPeriod", "payerPlanPeriod") else {"CodesetId": 1}
    with opened(source) as cdm:
        found = events(cdm, kind, base | (ADJUSTED if variant == "date_adjust" else {}))
    assert told(found) == told(files[f"{domain}DateOffset_VERIFY.json"][f"{domain}.{variant}"])
