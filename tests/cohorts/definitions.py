"""A definition of ours: people with diabetes, who are treated, in poor control, and free of cancer."""

from __future__ import annotations

import json
from typing import Any

DIABETES, METFORMIN, HBA1C, PERCENT, CANCER = 201826, 1503297, 3004410, 8554, 443392


def concept_set(number: int, concept: int, domain: str) -> dict[str, Any]:
    """A concept with its descendants."""
    item = {"concept": {"CONCEPT_ID": concept, "DOMAIN_ID": domain}, "includeDescendants": True, "isExcluded": False}
    return {"id": number, "name": f"set {number}", "expression": {"items": [item]}}


def within(criteria: dict[str, Any], before: int, after: int, kind: int = 2, count: int = 1) -> dict[str, Any]:
    """At least `count` (kind 2), or exactly (kind 0), from so many days before to so many after the entry event."""
    window = {"Start": {"Days": before, "Coeff": -1}, "End": {"Days": after, "Coeff": 1}, "UseEventEnd": False}
    return {"Criteria": criteria, "StartWindow": window, "Occurrence": {"Type": kind, "Count": count}}


def rule(name: str, *criteria: dict[str, Any], ages: tuple[int, int] | None = None) -> dict[str, Any]:
    """An inclusion rule."""
    people = [{"Age": {"Value": ages[0], "Extent": ages[1], "Op": "bt"}}] if ages else []
    group = {"Type": "ALL", "CriteriaList": list(criteria), "DemographicCriteriaList": people, "Groups": []}
    return {"name": name, "expression": group}


DEFINITION: dict[str, Any] = {
    "ConceptSets": [
        concept_set(0, DIABETES, "Condition"), concept_set(1, METFORMIN, "Drug"),
        concept_set(2, HBA1C, "Measurement"), concept_set(3, CANCER, "Condition"),
    ],
    "PrimaryCriteria": {
        "CriteriaList": [{"ConditionOccurrence": {"CodesetId": 0}}],
        "ObservationWindow": {"PriorDays": 180, "PostDays": 0}, "PrimaryCriteriaLimit": {"Type": "All"},
    },
    "QualifiedLimit": {"Type": "All"}, "ExpressionLimit": {"Type": "First"},
    "InclusionRules": [
        rule("18 to 85 years old", ages=(18, 85)),
        rule("metformin within 60 days", within({"DrugExposure": {"CodesetId": 1}}, 60, 60)),
        rule("HbA1c over 7 % in the year before", within({"Measurement": {
            "CodesetId": 2, "ValueAsNumber": {"Value": 7, "Op": "gt"}, "Unit": [{"CONCEPT_ID": PERCENT}],
        }}, 365, 30)),
        rule("no cancer before", within({"ConditionOccurrence": {"CodesetId": 3}}, 365, 0, kind=0, count=0)),
    ],
    "EndStrategy": {"DateOffset": {"DateField": "EndDate", "Offset": 30}},
    "CensoringCriteria": [{"Death": {}}],
    "CollapseSettings": {"CollapseType": "ERA", "EraPad": 0}, "CensorWindow": {},
}  # fmt: skip
TEXT = json.dumps(DEFINITION)
