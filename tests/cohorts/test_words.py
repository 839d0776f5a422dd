"""Definitions as text: complete in both languages, so that nothing of a definition goes unmentioned."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cohorts.definitions import DEFINITION, TEXT
from confrere.errors import StudyError
from confrere.study.circe_phrases import ATTRIBUTES, COLUMNS, KINDS, PHRASES
from confrere.study.circe_words import LANGUAGES, described
from federate import SHARED

# Of a concept, its name, id, vocabulary and code are said; the rest follows from them.
CAPTIONS = (
    "STANDARD_CONCEPT", "STANDARD_CONCEPT_CAPTION", "INVALID_REASON", "INVALID_REASON_CAPTION", "DOMAIN_ID",
    "CONCEPT_CLASS_ID",
)  # fmt: skip


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values that a definition states."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key not in CAPTIONS:
                yield from leaves(value, (*path, key))
    elif node is not None and node != "":
        yield path


def changed(whole: Any, path: tuple[Any, ...]) -> Any:
    """The definition with one value changed."""
    made = copy.deepcopy(whole)
    place = made
    for key in path[:-1]:
        place = place[key]
    value = place[path[-1]]
    place[path[-1]] = not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else "x"
    return made


def unmentioned(whole: Any, language: str) -> list[tuple[Any, ...]]:
    """Values that may change without a change of the text."""
    text = described(json.dumps(whole), language)
    return [path for path in leaves(whole) if described(json.dumps(changed(whole, path)), language) == text]


EVERYTHING: dict[str, Any] = {
    **DEFINITION,
    "Title": "All there is",
    "AdditionalCriteria": {"Type": "AT_LEAST", "Count": 1, "CriteriaList": [
        {"Criteria": {"DrugExposure": {
            "CodesetId": 1, "First": True, "DrugType": [{"CONCEPT_ID": 5, "CONCEPT_NAME": "pharmacy"}],
            "DrugTypeExclude": True, "RouteConceptCS": {"CodesetId": 2, "IsExclusion": True},
            "Refills": {"Value": 1, "Op": "gt"}, "StopReason": {"Text": "ended", "Op": "contains"},
            "DrugSourceConcept": 3, "Age": {"Value": 1, "Op": "!bt", "Extent": 9},
            "OccurrenceEndDate": {"Value": "2010-01-01", "Op": "lt"},
            "DateAdjustment": {"StartWith": "END_DATE", "StartOffset": 7, "EndWith": "END_DATE", "EndOffset": -7},
            "CorrelatedCriteria": {"Type": "AT_MOST", "Count": 2, "Groups": [{"Type": "ANY", "CriteriaList": [
                {"Criteria": {"Death": {}}, "StartWindow": {
                    "Start": {"Coeff": -1}, "End": {"Days": 3, "Coeff": -1}, "UseIndexEnd": True, "UseEventEnd": True},
                 "EndWindow": {"Start": {"Days": 1, "Coeff": -1}, "End": {"Coeff": 1}}, "RestrictVisit": True,
                 "IgnoreObservationPeriod": True,
                 "Occurrence": {"Type": 1, "Count": 3, "IsDistinct": True, "CountColumn": "VISIT_ID"}}]}]},
        }}, "Occurrence": {"Type": 0, "Count": 2}},
    ]},
    "EndStrategy": {"CustomEra": {"DrugCodesetId": 1, "GapDays": 30, "Offset": 2, "DaysSupplyOverride": 28}},
    "CensorWindow": {"StartDate": "2008-01-01", "EndDate": "2010-01-01"},
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("whole", [DEFINITION, EVERYTHING], ids=["ours", "everything"])
def test_every_value_leads_to_words(whole: dict[str, Any], language: str) -> None:
    assert unmentioned(whole, language) == []


def library() -> dict[int, Any]:
    """The definitions of OHDSI's PhenotypeLibrary."""
    lines = (SHARED / "cohort_definitions" / "phenotype_library.jsonl").read_text().splitlines()
    made = {found["cohort_id"]: found["expression"] for found in map(json.loads, lines)}
    return {number: json.loads(e) if isinstance(e, str) else e for number, e in made.items()}


@pytest.mark.shared
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_library_is_told_in_words_of_the_language(language: str) -> None:
    """No attribute keeps its own name, as `OccurrenceStartDate`; concepts that definitions list are all there."""
    keys = {
        key for whole in library().values() for path in leaves(whole) for key in path
        if isinstance(key, str) and not key.isupper() and any(c.isupper() for c in key[1:])
    }  # fmt: skip
    assert len(keys) > 30
    for number, whole in library().items():
        names = {s["name"] for s in whole["ConceptSets"]} | {str(r.get("name")) for r in whole["InclusionRules"]}
        names |= {i["concept"]["CONCEPT_NAME"] for s in whole["ConceptSets"] for i in s["expression"]["items"]}
        text = described(json.dumps(whole), language)
        assert not [name for name in names if name.strip() not in text], number
        own = " ".join(line for line in text.splitlines() if not any(n and n in line for n in names)).split()
        assert not {k.lower() for k in keys} & {word.strip(":;,").lower() for word in own}, number


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_value_of_the_library_leads_to_words(language: str) -> None:
    for number, whole in library().items():
        made = copy.deepcopy(whole)
        for one in made["ConceptSets"]:  # thousands of concepts alike: three of each set
            one["expression"]["items"] = one["expression"]["items"][:3]
        assert unmentioned(made, language) == [], number


def test_the_text_of_our_definition() -> None:
    assert described(TEXT) == (Path(__file__).parent / "definition.en.txt").read_text(encoding="utf-8")
    assert described(TEXT, "fr") == (Path(__file__).parent / "definition.fr.txt").read_text(encoding="utf-8")


def test_every_phrase_is_in_both_languages() -> None:
    for name, table in {"p": PHRASES, "k": KINDS, "a": ATTRIBUTES, "c": COLUMNS}.items():
        for key, both in table.items():
            assert all(both), f"{name} {key}"
    for key, (english, french) in PHRASES.items():
        assert set(fields(english)) == set(fields(french)), key


def fields(text: str) -> Iterator[str]:
    """What a phrase has filled in."""
    import string

    return (name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_another_language() -> None:
    with pytest.raises(StudyError, match="there is en, fr"):
        described(TEXT, "de")


def test_what_has_no_words_keeps_its_name() -> None:
    text = described(json.dumps({**DEFINITION, "NewPart": {"Depth": 3}}))
    assert 'newpart: {"depth": 3}' in text


@pytest.mark.parametrize(
    "change",
    [{"InclusionRules": [3]}, {"ConceptSets": ["x"]}, {"EndStrategy": [1]}, {"CensoringCriteria": 5},
     {"PrimaryCriteria": {"CriteriaList": ["x"]}}, {"AdditionalCriteria": {"CriteriaList": [None]}}],
)  # fmt: skip
def test_what_is_not_circes(change: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="is not Circe's"):
        described(json.dumps({**DEFINITION, **change}))
