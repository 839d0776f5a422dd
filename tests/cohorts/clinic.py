"""Generated clinics in the OMOP common data model: two drugs, diseases, values, visits and bleeds of everybody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

ONE, OTHER, ULCER, BLEED, SUGAR, INSIDE, OUTSIDE = 101, 102, 201, 202, 301, 9201, 9202
ONE_TABLET, SMALL_ULCER, DIABETES, NERVES = 111, 211, 201820, 443767  # below ONE, ULCER; of Charlson's index
PERCENT, MMOL = 8554, 8753
CONCEPTS = (
    (ONE, "RxNorm", "1"), (OTHER, "RxNorm", "2"), (ONE_TABLET, "RxNorm", "11"), (ULCER, "SNOMED", "1"),
    (BLEED, "SNOMED", "2"), (SMALL_ULCER, "SNOMED", "11"), (SUGAR, "LOINC", "4548-4"), (INSIDE, "Visit", "IP"),
    (OUTSIDE, "Visit", "OP"), (DIABETES, "SNOMED", "3"), (NERVES, "SNOMED", "31"), (PERCENT, "UCUM", "%"),
    (MMOL, "UCUM", "mmol/mol"),
)  # fmt: skip
BELOW = ((ONE, ONE_TABLET), (ULCER, SMALL_ULCER), (DIABETES, NERVES))


def day(values: Any) -> pd.Series[Any]:
    """Days since 1970-01-01 as dates."""
    return pd.Series(pd.to_datetime(np.asarray(values), unit="D", origin="1970-01-01").strftime("%Y-%m-%d"))


def clinic(people: int, seed: int) -> dict[str, pd.DataFrame]:
    """The tables of a clinic: a few hundred days of everybody, so that events meet the edges of every window."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(10 * people, people, replace=False)) + 1
    first = rng.integers(15_000, 15_100, people)
    last = first + rng.integers(50, 900, people)
    person = pd.DataFrame({
        "person_id": ids, "gender_concept_id": rng.choice([8507, 8532, 8521, 0], people, p=[0.4, 0.4, 0.1, 0.1]),
        "year_of_birth": rng.integers(1930, 2000, people), "race_concept_id": 0, "ethnicity_concept_id": 0,
        "month_of_birth": pd.array(np.where(rng.random(people) < 0.2, 0, rng.integers(1, 13, people)), "Int64"),
    })  # fmt: skip
    person["month_of_birth"] = person["month_of_birth"].where(person["month_of_birth"] > 0)
    period = pd.DataFrame({
        "observation_period_id": np.arange(people), "person_id": ids, "period_type_concept_id": 0,
        "observation_period_start_date": day(first), "observation_period_end_date": day(last),
    })  # fmt: skip
    tables = {"person": person, "observation_period": period, **_vocabulary()}
    spans = (rng, ids, first, last)
    tables["drug_exposure"] = _events(*spans, "drug_exposure", "drug_exposure_start_date", [ONE, OTHER, ONE_TABLET])
    begin = rng.integers(0, 300, 8 * people)
    who = np.sort(rng.integers(0, people, 8 * people))
    tables["drug_era"] = pd.DataFrame({
        "drug_era_id": np.arange(8 * people), "person_id": ids[who],
        "drug_concept_id": rng.choice([ONE, OTHER, ONE_TABLET, 997], 8 * people),
        "drug_era_start_date": day(first[who] + begin),
        "drug_era_end_date": day(first[who] + begin + rng.integers(0, 90, 8 * people)),
    })  # fmt: skip
    tables["condition_occurrence"] = _events(
        *spans, "condition_occurrence", "condition_start_date", [ULCER, SMALL_ULCER, BLEED, DIABETES, NERVES, 999]
    )
    values = _events(*spans, "measurement", "measurement_date", [SUGAR, 998])
    n = len(values)
    values["value_as_number"] = np.where(rng.random(n) < 0.1, np.nan, np.round(rng.uniform(4, 12, n), 3))
    values["unit_concept_id"] = rng.choice([PERCENT, MMOL], n)
    tables["measurement"] = values
    visit = _events(*spans, "visit_occurrence", "visit_start_date", [INSIDE, OUTSIDE])
    start = (pd.to_datetime(visit["visit_start_date"]) - pd.Timestamp("1970-01-01")).dt.days
    visit["visit_end_date"] = day(start + rng.integers(0, 9, len(visit))).where(rng.random(len(visit)) < 0.8)
    tables["visit_occurrence"] = visit
    dead = rng.random(people) < 0.2
    tables["death"] = pd.DataFrame({
        "person_id": ids[dead], "death_date": day(rng.integers(first[dead], last[dead] + 1)),
        "death_type_concept_id": 0,
    })  # fmt: skip
    return tables


def _events(
    rng: np.random.Generator, ids: Any, first: Any, last: Any, table: str, start: str, pool: Sequence[int]
) -> pd.DataFrame:
    """About four events of everybody while they are observed, some on the same day."""
    who = np.sort(rng.integers(0, len(ids), 4 * len(ids)))
    stem = start.removesuffix("_date").removesuffix("_start")
    concept = {"drug_exposure": "drug", "visit_occurrence": "visit", "condition_occurrence": "condition"}.get(
        table, stem
    )
    return pd.DataFrame({
        f"{table}_id": np.arange(1, len(who) + 1), "person_id": ids[who],
        f"{concept}_concept_id": rng.choice(pool, len(who)),
        start: day(first[who] + rng.integers(0, 300, len(who)) % (last[who] - first[who] + 1)),
        f"{concept}_type_concept_id": 0,
    })  # fmt: skip


def _vocabulary() -> dict[str, pd.DataFrame]:
    concept = pd.DataFrame(CONCEPTS, columns=["concept_id", "vocabulary_id", "concept_code"])
    pairs = [(c, c, 0) for c, *_ in CONCEPTS] + [(a, d, 1) for a, d in BELOW]
    columns = ["ancestor_concept_id", "descendant_concept_id", "min_levels_of_separation"]
    return {
        "concept": concept.assign(standard_concept="S", concept_name="", domain_id=""),
        "concept_ancestor": pd.DataFrame(pairs, columns=columns),
    }


def circe(kind: str, concept: int, first: bool, *, days: int = 0, youngest: int = 0, end: int = -1) -> str:
    """A definition: events of a concept, `days` of observation before, people of an age, an end after so many days."""
    age = [{"Age": {"Value": youngest, "Op": "gte"}}]
    rule = {"Type": "ALL", "CriteriaList": [], "DemographicCriteriaList": age, "Groups": []}
    definition: dict[str, Any] = {
        "ConceptSets": [{"id": 0, "name": "events", "expression": {"items": [
            {"concept": {"CONCEPT_ID": concept}, "includeDescendants": True}]}}],
        "PrimaryCriteria": {
            "CriteriaList": [{kind: {"CodesetId": 0, **({"First": True} if first else {})}}],
            "ObservationWindow": {"PriorDays": days, "PostDays": 0},
            "PrimaryCriteriaLimit": {"Type": "First" if first else "All"},
        },
        "InclusionRules": [{"name": f"{youngest} or older", "expression": rule}] if youngest else [],
    }  # fmt: skip
    if end >= 0:
        definition["EndStrategy"] = {"DateOffset": {"DateField": "StartDate", "Offset": end}}
    return json.dumps(definition)


STUDY = f"""
[study]
id = "clinics"
purpose = "a test"
[data]
table = "omop"
target = "one"
comparator = "other"
[cohorts.one]
circe = '''{circe("DrugExposure", ONE, True, days=10, youngest=40, end=300)}'''
[cohorts.other]
circe = '''{circe("DrugExposure", OTHER, True, days=10, youngest=40)}'''
[cohorts.bleeding]
circe = '''{circe("ConditionOccurrence", BLEED, False, end=1)}'''
[cohorts.sore]
circe = '''{circe("ConditionOccurrence", ULCER, False, end=1)}'''
[outcomes.bleed]
cohort = "bleeding"
until = 180
[outcomes.late]
cohort = "bleeding"
from = 30
prior = "keep"
[outcomes.what]
cohorts = ["bleeding", "sore"]
until = 120
prior = "keep"
[features]
age = {{ is = "age" }}
sex = {{ is = "sex" }}
year = {{ is = "index_year" }}
month = {{ is = "index_month" }}
seen = {{ is = "observation_days" }}
charlson = {{ is = "charlson" }}
ulcer = {{ condition = [{ULCER}], before = 30 }}
ulcers = {{ condition = [{ULCER}], value = "count", after = -1 }}
since = {{ condition = [{ULCER}], value = "days since" }}
later = {{ condition = [{ULCER}], after = 30, after_index = true, before = 0 }}
last = {{ measurement = [{SUGAR}], value = "last", unit = {PERCENT}, convert = {{ "{MMOL}" = [0.0915, 2.15] }} }}
first = {{ measurement = [{SUGAR}], value = "first", unit = {PERCENT} }}
mean = {{ measurement = ["LOINC:4548-4"], value = "mean", unit = "UCUM:%", before = 200 }}
low = {{ measurement = [{SUGAR}], value = "min", unit = {PERCENT} }}
high = {{ measurement = [{SUGAR}], value = "max", unit = {PERCENT} }}
trend = {{ measurement = [{SUGAR}], value = "trend", unit = {PERCENT}, after = 90, after_index = true }}
visits = {{ visit = [{INSIDE}, {OUTSIDE}], value = "count", before = 100 }}
stay = {{ visit = [{INSIDE}], value = "days" }}
both = {{ together = [{ONE}, "RxNorm:2"], before = 60, after = 30, after_index = true }}
drug = {{ drug = ["RxNorm:1", "RxNorm:2"], each = true, before = 60 }}
[[analysis]]
name = "everything"
method = "describe"
by = "treated"
variables = [
    "age", "year", "month", "seen", "charlson", "ulcer", "ulcers", "since", "later", "last", "first", "mean", "low",
    "high", "trend", "visits", "stay", "drug_RxNorm_1", "drug_RxNorm_2", "sex", "bleed", "bleed_time", "late",
    "late_time", "what", "what_time", "both",
]
"""
