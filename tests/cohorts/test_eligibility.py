"""The readable form of a cohort: people who are in it, worked out on paper, at the edges of every window."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("circe")

from cohorts.reference import rows_of
from cohorts.world import written
from confrere.data.circe import cohort
from confrere.data.omop import Cdm, opened
from confrere.errors import StudyError
from confrere.study.circe import Definition
from confrere.study.concepts import ConceptSet, concept_set
from confrere.study.eligibility import compiled
from federate import SHARED

DRUG, BLEEDING, HBA1C, PERCENT, MMOL, POSITIVE, STAY, CLINIC = (
    1118084,
    192671,
    3004410,
    8554,
    8753,
    45884084,
    9201,
    9202,
)
PEOPLE = range(1, 13)
# Everybody is observed from 2009-01-01 to 2012-01-01 and takes the drug from 2010-06-01 to 2010-06-30.
CONDITIONS = {  # person: days of bleeding
    1: ["2009-06-01"], 2: ["2009-05-31"], 3: ["2010-06-01"], 4: ["2010-06-02"], 5: ["2010-07-01"], 6: ["2010-07-02"],
    7: ["2008-12-31"], 9: ["2010-05-01", "2010-05-01"], 10: ["2010-05-01", "2010-05-02"],
}  # fmt: skip
VALUES = {  # person: HbA1c on 2010-05-20, its unit
    1: (7.0, PERCENT), 2: (10.0, PERCENT), 3: (6.99, PERCENT), 4: (10.01, PERCENT), 5: (7.5, MMOL), 6: (None, PERCENT),
}  # fmt: skip
SETS = {"drug": [DRUG], "bleeding": [BLEEDING], "hba1c": [HBA1C], "stay": [STAY], "any": [1]}


def concepts() -> dict[str, ConceptSet]:
    """The sets of the tests."""
    return {name: concept_set(name, {"include": ids}) for name, ids in SETS.items()}


def events(name: str, day: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of a table of events: `who`, `what`, `day`, and more."""
    stem = name.split("_")[0]
    frame = pd.DataFrame(rows).rename(columns={"who": "person_id", "what": f"{stem}_concept_id", "day": day})
    return frame.assign(**{f"{name}_id": range(1, len(rows) + 1)})


def tables() -> dict[str, pd.DataFrame]:
    """The hospital."""
    born = {1: 1960, 2: 1930, 3: 1929, 4: 1961}
    drugs = [
        {"who": p, "what": DRUG, "day": "2010-06-01", "drug_exposure_end_date": "2010-06-30", "days_supply": 20 + p}
        for p in PEOPLE
    ]
    drugs += [{"who": 11, "what": DRUG, "day": "2009-02-01", "drug_exposure_end_date": "2009-02-10"},
              {"who": 12, "what": DRUG, "day": "2010-07-20", "drug_exposure_end_date": "2010-08-10"}]  # fmt: skip
    visits = [
        {"who": 1, "what": STAY, "day": "2010-05-01", "visit_end_date": "2010-05-06", "visit_occurrence_id": 1},
        {"who": 2, "what": STAY, "day": "2010-05-01", "visit_end_date": "2010-05-05", "visit_occurrence_id": 2},
        {"who": 3, "what": CLINIC, "day": "2010-05-01", "visit_end_date": "2010-05-01", "visit_occurrence_id": 3},
    ]
    bled = [{"who": p, "what": BLEEDING, "day": d} for p, days in CONDITIONS.items() for d in days]
    bled[0]["visit_occurrence_id"] = 1
    measured = [
        {
            "who": p,
            "what": HBA1C,
            "day": "2010-05-20",
            "value_as_number": v,
            "unit_concept_id": u,
            "range_high": 6.0 + p,
        }
        for p, (v, u) in VALUES.items()
    ]
    measured.append({"who": 8, "what": HBA1C, "day": "2010-05-20", "value_as_concept_id": POSITIVE})
    return {
        "person": pd.DataFrame({
            "person_id": PEOPLE, "gender_concept_id": [8532 if p % 2 else 8507 for p in PEOPLE],
            "year_of_birth": [born.get(p, 1950) for p in PEOPLE],
        }),
        "observation_period": pd.DataFrame({
            "person_id": PEOPLE, "observation_period_start_date": "2009-01-01",
            "observation_period_end_date": "2012-01-01",
        }),
        "drug_exposure": events("drug_exposure", "drug_exposure_start_date", drugs),
        "condition_occurrence": events("condition_occurrence", "condition_start_date", bled),
        "measurement": events("measurement", "measurement_date", measured),
        "visit_occurrence": events("visit", "visit_start_date", visits).drop(columns="visit_id"),
        "procedure_occurrence": events("procedure_occurrence", "procedure_date",
                                       [{"who": 5, "what": 1, "day": "2010-05-01"}]),
        "observation": events("observation", "observation_date",
                              [{"who": 6, "what": 1, "day": "2010-05-01", "value_as_number": 3}]),
        "device_exposure": events("device_exposure", "device_exposure_start_date",
                                  [{"who": 7, "what": 1, "day": "2010-05-01"}]),
        "death": pd.DataFrame({"person_id": [8], "death_date": ["2011-01-01"], "cause_concept_id": [1]}),
        "concept": pd.DataFrame({
            "concept_id": [PERCENT, POSITIVE], "concept_code": ["%", "LA6576-8"], "vocabulary_id": ["UCUM", "LOINC"],
            "standard_concept": "S", "concept_name": ["percent", "Positive"],
        }),
    }  # fmt: skip


@pytest.fixture(scope="module")
def cdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cdm]:
    """The hospital, opened."""
    with opened(written(tables(), tmp_path_factory.mktemp("cdm"))) as made:
        yield made


def read(text: str) -> Definition:
    """A definition of a TOML text; people enter with the drug unless it says otherwise."""
    table = tomllib.loads(text)
    return compiled("ours", {"entry": {"drug": "drug"}, "from": "2010-01-01", **table}, concepts())


def who(cdm: Cdm, text: str) -> set[int]:
    """Who is in the cohort."""
    return {row[0] for row in rows_of(cohort(cdm, read(text).text).rows)}


ALL = set(PEOPLE)
CRITERIA: dict[str, set[int]] = {
    '{ condition = "bleeding", before = 365 }': {1, 3, 9, 10},
    '{ condition = "bleeding", before = 366 }': {1, 2, 3, 9, 10},
    '{ condition = "bleeding" }': {1, 2, 3, 9, 10},
    '{ condition = "bleeding", beyond_observation = true }': {1, 2, 3, 7, 9, 10},
    '{ condition = "bleeding", before = 0, after = 30 }': {3, 4, 5},
    '{ condition = "bleeding", before = -1, after = 30 }': {4, 5},
    '{ condition = "bleeding", before = 365, after = -1 }': {1, 9, 10},
    '{ condition = "bleeding", before = "ever", after = "ever" }': ALL - {7, 8, 11, 12},
    '{ no = { condition = "bleeding" }, before = 365 }': ALL - {1, 3, 9, 10},
    '{ no = { condition = "bleeding", before = 365 } }': ALL - {1, 3, 9, 10},
    '{ at_least = 2, condition = "bleeding" }': {9, 10},
    '{ at_least = 2, condition = "bleeding", on_different_days = true }': {10},
    '{ at_most = 1, condition = "bleeding" }': ALL - {9, 10},
    '{ exactly = 1, condition = "bleeding" }': {1, 2, 3},
    '{ condition = "bleeding", from = 2010-05-01, until = 2010-05-01 }': {9, 10},
    '{ condition = "bleeding", until = 2009-05-31 }': {2},
    "{ condition = [192671] }": {1, 2, 3, 9, 10},
    '{ condition = "bleeding", in_visit = 9201 }': {1},
    "{ age = [50, 80] }": ALL - {3, 4},
    '{ age = ">= 50" }': ALL - {4},
    '{ age = "< 50" }': {4},
    "{ age = 81 }": {3},
    '{ sex = "female" }': {1, 3, 5, 7, 9, 11},
    '{ sex = "female", age = "<= 50" }': {1},
    '{ no = { sex = "female" } }': {2, 4, 6, 8, 10, 12},
    '{ measurement = "hba1c", value = [7.0, 10.0], unit = "UCUM:%", before = 90 }': {1, 2},
    '{ measurement = "hba1c", value = ">= 7" }': {1, 2, 4, 5},
    '{ measurement = "hba1c", value = "> 7" }': {2, 4, 5},
    '{ measurement = "hba1c", value = "> 7", unit = [8753, 8554] }': {2, 4, 5},
    '{ measurement = "hba1c", value = 7 }': {1},
    '{ measurement = "hba1c", value = "= 7" }': {1},
    '{ measurement = "hba1c", result = "loinc:la6576-8" }': {8},
    '{ measurement = "hba1c", range_high = ">= 12" }': {6},
    '{ measurement = "hba1c", value = ">= 7", before = 11 }': set(),
    '{ measurement = "hba1c", value = ">= 7", before = 12 }': {1, 2, 4, 5},
    '{ visit = "stay", length = ">= 5" }': {1},
    "{ visit = true }": {1, 2, 3},
    '{ procedure = "any" }': {5},
    '{ observation = "any", value = 3 }': {6},
    '{ device = "any" }': {7},
    '{ death = true, after = "ever" }': {8},
    '{ no = { death = true }, after = "ever" }': ALL - {8},
    '{ drug = "drug", days_supply = ">= 31" }': {11, 12},
    '{ any = [ { procedure = "any" }, { device = "any" }, { age = 81 } ] }': {3, 5, 7},
    '{ no = { any = [ { procedure = "any" }, { device = "any" } ] } }': ALL - {5, 7},
    '{ all = [ { sex = "male" }, { condition = "bleeding" } ] }': {2, 10},
    '{ at_least = 2, of = [ { sex = "male" }, { condition = "bleeding" }, { age = [80, 81] } ] }': {2, 3, 10},
    '{ at_most = 0, of = [ { sex = "male" }, { condition = "bleeding" }, { age = [80, 81] } ] }': {5, 7, 11},
    '{ any = [ { all = [ { age = 81 }, { sex = "female" } ] }, { no = { drug = "drug" } } ] }': {3},
}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_who_meets_a_criterion(cdm: Cdm, criterion: str) -> None:
    assert who(cdm, f"criteria = [{criterion}]") == CRITERIA[criterion]


ENTRIES: dict[str, set[int]] = {
    "": ALL,
    'entry = { drug = "drug", first = true }': ALL - {11},  # who took it in 2009 already
    "observed = { before = 516 }": ALL,
    "observed = { before = 517 }": {12},  # who takes it once more
    "observed = { before = 0, after = 579 }": ALL,
    "observed = { before = 0, after = 580 }": set(),
    "until = 2010-06-01": ALL,
    "until = 2010-05-31": set(),
    "from = 2010-06-02": {12},
    'entry = [{ condition = "bleeding" }, { procedure = "any" }]': {3, 4, 5, 6, 9, 10},
    'entry = { condition = "bleeding", until = 2010-06-01 }': {3, 9, 10},
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_who_enters(cdm: Cdm, entry: str) -> None:
    assert who(cdm, entry) == ENTRIES[entry]


def stays(cdm: Cdm, text: str, person: int) -> list[tuple[str, str]]:
    """From when to when a person is in the cohort."""
    return [row[1:] for row in rows_of(cohort(cdm, read(text).text).rows) if row[0] == person]


EXITS: dict[str, tuple[int, list[tuple[str, str]]]] = {
    "": (1, [("2010-06-01", "2012-01-01")]),
    'exit = "end of observation"': (1, [("2010-06-01", "2012-01-01")]),
    "exit = { after = 365 }": (1, [("2010-06-01", "2011-06-01")]),
    "exit = { after_end = 10 }": (1, [("2010-06-01", "2010-07-10")]),
    'exit = { while_on = "drug", gap = 10 }': (12, [("2010-06-01", "2010-06-30")]),
    'exit = { while_on = "drug", gap = 20 }': (12, [("2010-06-01", "2010-08-10")]),
    'exit = { while_on = "drug", gap = 20, plus = 5 }': (12, [("2010-06-01", "2010-08-15")]),
    'censor = [{ condition = "bleeding" }]': (4, [("2010-06-01", "2010-06-02")]),
    'events = "last"': (12, [("2010-07-20", "2012-01-01")]),
    'events = "all"\nexit = { after_end = 0 }': (12, [("2010-06-01", "2010-06-30"), ("2010-07-20", "2010-08-10")]),
    'events = "all"\nexit = { after_end = 0 }\njoin = 20': (12, [("2010-06-01", "2010-08-10")]),
    'events = "all"\nexit = { after_end = 0 }\njoin = 19': (
        12, [("2010-06-01", "2010-06-30"), ("2010-07-20", "2010-08-10")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", EXITS)
def test_when_people_leave(cdm: Cdm, text: str) -> None:
    person, expected = EXITS[text]
    assert stays(cdm, text, person) == expected


WRONG = {
    "": "entry: say by which event",
    'entry = { drug = "drugs" }': "entry, drug: 'drugs' is no name of .concepts.; did you mean 'drug'",
    'entry = { drugs = "drug" }': "entry, 'drugs' is no key here; did you mean 'drug'",
    'entry = { drug = "drug", condition = "bleeding" }': "entry: say one of .*, not condition and drug",
    'entry = { drug = "drug", before = 3 }': "entry, 'before' is no key here",
    'entry = { drug = "drug", from = 2010-01-01 }\nfrom = 2010-01-01': "entry, from: stands in the cohort as well",
    'entry = { drug = "RxNorm" }': "no name of .concepts.",
    'entry = { drug = "RxNorm:" }': "is no concept; give its id",
    'entry = { drug = ["1118084"] }': "is in quotes; the id of a concept is a number",
    'entry = { drug = false }': "entry, drug: give a name",
    'entry = { drug = "drug" }\nentri = 1': "'entri' is no key here; did you mean 'entry'",
    'entry = { drug = "drug" }\nfrom = 2015-01-01\nuntil = 2014-01-01': "from 2015-01-01 until 2014-01-01 is no time",
    'entry = { drug = "drug" }\nfrom = "1/1/2015"': "'1/1/2015' is no date; write year-month-day",
    'entry = { drug = "drug" }\nobserved = { before = -1 }': "observed, before: -1 must be 0",
    'entry = { drug = "drug" }\nobserved = { before = "1 y" }': "observed, before: '1 y' is not a whole number",
    'entry = { drug = "drug" }\nobserved = 365': "observed: write { before = 180",
    'entry = { drug = "drug" }\nevents = "frist"': "'frist' is not known; did you mean 'first'",
    'entry = { drug = "drug" }\nexit = "death"': "exit: \"end of observation\", .*not 'death'",
    'entry = { drug = "drug" }\nexit = { after = 3, gap = 2 }': "one of them, not after, gap",
    'entry = { drug = "drug" }\nexit = { while_on = "drgu" }': "exit, while_on: 'drgu' .*did you mean 'drug'",
    'entry = { death = true, first = true }': "nobody dies twice",
    'entry = { drug = "drug" }\ncriteria = { age = 3 }': "criteria: write a list",
    'entry = { drug = "drug" }\njoin = -2': "join: -2 must be 0",
}  # fmt: skip
WRONG_CRITERIA = {
    "{ }": "criteria 1: write",
    '{ name = "x", agee = 3 }': r"criteria 1 \('x'\), 'agee' is no key here; did you mean 'age'",
    '{ age = "old" }': "criteria 1, age: 'old' is no comparison",
    "{ age = [80, 50] }": "80 to 50 is empty",
    "{ age = [80] }": "write .low, high.",
    "{ age = 80.5 }": "80.5 must be a whole number",
    '{ sex = "femal" }': "'femal' is not known; did you mean 'female'",
    '{ age = 50, condition = "bleeding" }': "age and condition are two criteria",
    "{ before = 3 }": "say one of age, sex, no",
    '{ condition = "bleeding", before = -5, after = 2 }': "would begin 5 days after entry and end 2 days after",
    '{ condition = "bleeding", before = "30 d" }': "before: '30 d' is not a number of days, or 'ever'",
    '{ condition = "bleeding", before = 99999 }': "before: 99999 must be at most 40000 days",
    '{ condition = "bleeding", value = 3 }': "value: goes with measurement, observation; a condition has none",
    '{ condition = "bleeding", at_least = 1, at_most = 2 }': "at_least and at_most exclude each other",
    '{ condition = "bleeding", at_least = 0 }': "at_least: 0 events",
    '{ measurement = "hba1c", unit = "%" }': "unit: '%' is no concept",
    '{ no = { condition = "bleeding", before = 3 }, before = 3 }': "before: stands inside 'no' as well",
    '{ no = { condition = "bleeding", at_least = 3 } }': "criteria 1, at_least: 'no' is none at all",
    '{ no = { sex = "male" }, before = 3 }': "before: a window goes with an event",
    '{ no = "bleeding" }': "no: write { no = { condition",
    "{ any = [] }": "any: list criteria",
    '{ any = [ { sex = "male" } ], before = 3 }': "before: does not go with any",
    '{ of = [ { sex = "male" } ] }': "of: say at_least = 2",
    '{ at_least = 3, of = [ { sex = "male" } ] }': "at_least: 3 of 1 criteria cannot be",
    '{ any = [ { sex = "male" }, { condition = "bleding" } ] }': "1, any, 2, condition: 'bleding' .*'bleeding'",
    '{ name = 3, sex = "male" }': "criteria 1, name: is a text",
}


def test_wrong_tables_are_explained() -> None:
    for text, words in WRONG.items():
        with pytest.raises(StudyError, match=words):
            compiled("ours", tomllib.loads(text), concepts())


def test_wrong_criteria_are_explained() -> None:
    for criterion, words in WRONG_CRITERIA.items():
        with pytest.raises(StudyError, match=words):
            read(f"criteria = [{criterion}]")


def test_rules_have_the_names_that_they_are_given_or_their_words() -> None:
    made = read('criteria = [{ name = "adults", age = ">= 18" }, { no = { condition = "bleeding" }, before = 365 }]')
    assert made.rules == ("adults", "no (condition bleeding), before 365")


def test_the_same_form_is_the_same_definition() -> None:
    one, other = (read('criteria = [{ sex = "male" }, { condition = "bleeding" }]') for _ in range(2))
    assert one == other
    assert one.column != read('criteria = [{ sex = "female" }, { condition = "bleeding" }]').column


@pytest.mark.shared
def test_a_form_is_what_is_written_by_hand_in_circe() -> None:
    """New users of celecoxib from 30 years of age without an earlier bleeding, on OHDSI's GiBleed."""
    form = tomllib.loads("""
        entry = { drug = "celecoxib", first = true }
        observed = { before = 180 }
        criteria = [
          { age = ">= 30" }, { sex = "female" }, { no = { condition = "bleeding" } },
          { at_least = 1, condition = "sinusitis", before = 7300 },
        ]
        exit = { after = 365 }
        """)
    ids = {"celecoxib": [1118084], "bleeding": ["SNOMED:74474003"], "sinusitis": [40481087]}
    made = compiled("c", form, {name: concept_set(name, {"include": given}) for name, given in ids.items()})

    def concept(number: int, concept_id: int) -> dict[str, Any]:
        item = {"concept": {"CONCEPT_ID": concept_id}, "includeDescendants": True}
        return {"id": number, "name": str(number), "expression": {"items": [item]}}

    def rule(name: str, criteria: list[Any], people: list[Any]) -> dict[str, Any]:
        group = {"Type": "ALL", "CriteriaList": criteria, "DemographicCriteriaList": people, "Groups": []}
        return {"name": name, "expression": group}

    def window(days: int | None, of: int, kind: int, count: int) -> dict[str, Any]:
        start = {"Coeff": -1} if days is None else {"Days": days, "Coeff": -1}
        around = {"Start": start, "End": {"Days": 0, "Coeff": 1}}
        return {"Criteria": {"ConditionOccurrence": {"CodesetId": of}}, "StartWindow": around,
                "Occurrence": {"Type": kind, "Count": count}}  # fmt: skip

    by_hand = {
        "ConceptSets": [concept(3, 1118084), concept(5, 192671), concept(7, 40481087)],
        "PrimaryCriteria": {"CriteriaList": [{"DrugExposure": {"CodesetId": 3, "First": True}}],
                            "ObservationWindow": {"PriorDays": 180, "PostDays": 0}},
        "InclusionRules": [
            rule("age", [], [{"Age": {"Value": 30, "Op": "gte"}}]),
            rule("women", [], [{"Gender": [{"CONCEPT_ID": 8532}]}]),
            rule("no bleeding", [window(None, 5, 0, 0)], []), rule("sinusitis", [window(7300, 7, 2, 1)], []),
        ],
        "ExpressionLimit": {"Type": "First"},
        "EndStrategy": {"DateOffset": {"DateField": "StartDate", "Offset": 365}},
        "CollapseSettings": {"CollapseType": "ERA", "EraPad": 0},
    }  # fmt: skip
    with opened(SHARED / "omop_gibleed") as source:
        rows = rows_of(cohort(source, made.text).rows)
        assert rows == rows_of(cohort(source, json.dumps(by_hand)).rows)
    assert len(rows) > 100


def test_the_definition_can_be_opened_in_atlas(tmp_path: Path) -> None:
    """The keys and the types of Circe's own schema, as circepy checks them."""
    from circe.api import cohort_expression_from_json

    text = "criteria = [" + ", ".join(CRITERIA) + "]"
    found = cohort_expression_from_json(read(text).text)
    assert len(found.inclusion_rules) == len(CRITERIA)
