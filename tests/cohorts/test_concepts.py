"""Concept sets: from a study's table to the concepts of a hospital's own vocabulary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("circe")

from cohorts.world import written
from confrere.data.concepts import codes, ids, one, resolved
from confrere.data.omop import Cdm, opened
from confrere.data.synthesize import Plan, synthesize
from confrere.errors import DataError, StudyError
from confrere.study.concepts import concept_set, inline
from federate import SHARED

# ATC M01 (1) > M01A (2) > the ingredient (3) > the product (4); two codes of ICD-10, one of which maps to two
# conditions (10, 11), one to none; "g" and "G" of UCUM; a code that was replaced; one that stands twice, once invalid.
CONCEPTS = [
    (1, "ATC", "M01", "C", None), (2, "ATC", "M01A", "C", None), (3, "RxNorm", "161", "S", None),
    (4, "RxNorm", "198440", "S", None), (5, "RxNorm", "7", "S", "D"), (10, "SNOMED", "100", "S", None),
    (11, "SNOMED", "101", "S", None), (12, "SNOMED", "102", "S", None), (20, "ICD10CM", "K92.2", None, None),
    (21, "ICD10CM", "K92", None, None), (30, "UCUM", "g", "S", None), (31, "UCUM", "G", "S", None),
    (40, "LOINC", "1-1", None, "U"), (41, "LOINC", "1-2", "S", None), (42, "LOINC", "2-2", None, "D"),
    (43, "LOINC", "2-2", "S", None), (44, "SNOMED", "200", "S", None), (45, "SNOMED", "200", "S", None),
]  # fmt: skip
BELOW = [(1, 2), (1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (3, 4), (10, 12)]
MAPS = [(20, 10, "Maps to", None), (20, 11, "Maps to", None), (20, 12, "Maps to value", None),
        (20, 44, "Maps to", "D"), (40, 41, "Maps to", None), (3, 3, "Maps to", None)]  # fmt: skip


@pytest.fixture(scope="module")
def cdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cdm]:
    """A hospital with this vocabulary."""
    columns = ["concept_id", "vocabulary_id", "concept_code", "standard_concept", "invalid_reason"]
    everybody = [(c, c) for c, *_ in CONCEPTS]
    made = {
        "person": pd.DataFrame({"person_id": [1], "gender_concept_id": 8507, "year_of_birth": 1950}),
        "observation_period": pd.DataFrame({"person_id": [1], "observation_period_start_date": "2009-01-01",
                                            "observation_period_end_date": "2012-01-01"}),
        "concept": pd.DataFrame(CONCEPTS, columns=columns).assign(concept_name="a name"),
        "concept_ancestor": pd.DataFrame(BELOW + everybody, columns=["ancestor_concept_id", "descendant_concept_id"]),
        "concept_relationship": pd.DataFrame(MAPS, columns=["concept_id_1", "concept_id_2", "relationship_id",
                                                            "invalid_reason"]),
    }  # fmt: skip
    with opened(written(made, tmp_path_factory.mktemp("cdm"))) as source:
        yield source


def found(cdm: Cdm, **table: Any) -> list[int]:
    """The concepts of a set."""
    return sorted(ids(cdm, concept_set("x", table)).concept_id.to_pyarrow().to_pylist())


SETS: list[tuple[dict[str, Any], list[int]]] = [
    ({"include": ["ATC:M01A"]}, [2, 3, 4]),
    ({"include": ["ATC:M01"]}, [1, 2, 3, 4]),  # 5 is no longer valid
    ({"include": ["atc:m01a"]}, [2, 3, 4]),
    ({"include": [" ATC : M01A "]}, [2, 3, 4]),
    ({"include": ["ATC:M01A"], "descendants": False}, [2]),
    ({"include": ["ATC:M01A"], "exclude": ["RxNorm:161"]}, [2]),
    ({"include": ["ATC:M01A"], "exclude": ["RxNorm:161"], "descendants": False}, [2]),
    ({"include": [1], "exclude": [4]}, [1, 2, 3]),
    ({"include": ["ICD10CM:K92.2"]}, [10, 11, 12]),
    ({"include": ["ICD10CM:K92.2"], "descendants": False}, [10, 11]),
    ({"include": ["ICD10CM:K92.2"], "exclude": ["SNOMED:102"]}, [10, 11]),
    ({"include": [10, 11], "mapped": True}, [10, 11, 12, 20]),
    ({"include": ["LOINC:1-1"]}, [41]),
    ({"include": ["LOINC:2-2"]}, [43]),
    ({"include": [999]}, [999]),
]


@pytest.mark.parametrize(("table", "expected"), SETS)
def test_the_concepts_of_a_set(cdm: Cdm, table: dict[str, Any], expected: list[int]) -> None:
    assert found(cdm, **table) == expected


def test_one_concept(cdm: Cdm) -> None:
    assert [one(cdm, "UCUM:g"), one(cdm, "UCUM:G"), one(cdm, 77)] == [30, 31, 77]
    with pytest.raises(DataError, match="stands for 2 concepts, one is needed"):
        one(cdm, "ICD10CM:K92.2")


UNKNOWN = {
    "ICD10CM:K92.3": r"the vocabulary ICD10CM has no code 'K92.3'; near it are K92.2, K92",
    "ICD10CMM:K92.2": r"no vocabulary 'ICD10CMM' \(ICD10CMM:K92.2\); did you mean 'ICD10CM'",
    "ICD10CM:K92": r"ICD10CM:K92 \(a name\) is not standard and maps to no standard concept; take the codes below it",
    "SNOMED:200": r"SNOMED:200 is not one concept: 200 \(44\), 200 \(45\); give the id",
    "Read:zz": "no vocabulary 'Read' .*it has ATC, ICD10CM, LOINC, RxNorm, SNOMED, UCUM",
}


@pytest.mark.parametrize("code", UNKNOWN)
def test_codes_that_are_not_there(cdm: Cdm, code: str) -> None:
    with pytest.raises(DataError, match=UNKNOWN[code]):
        found(cdm, include=[code])


def test_a_source_without_a_vocabulary(tmp_path: Path) -> None:
    made = {
        "person": pd.DataFrame({"person_id": [1], "gender_concept_id": 8507, "year_of_birth": 1950}),
        "observation_period": pd.DataFrame({"person_id": [1], "observation_period_start_date": "2009-01-01",
                                            "observation_period_end_date": "2012-01-01"}),
    }  # fmt: skip
    with opened(written(made, tmp_path)) as cdm, pytest.raises(DataError, match="needs the table 'concept'"):
        found(cdm, include=["ATC:M01A"])


def test_codes_in_a_definition_become_ids(cdm: Cdm) -> None:
    items = [*concept_set("x", {"include": ["ICD10CM:K92.2", 3], "exclude": ["ATC:M01A"]}).expression["items"]]
    criterion = {"CodesetId": 0, "Unit": [{"VOCABULARY_ID": "UCUM", "CONCEPT_CODE": "g"}, {"CONCEPT_ID": 5}]}
    text = json.dumps({"ConceptSets": [{"id": 0, "expression": {"items": items}}], "a": {"Measurement": criterion}})
    assert codes(json.loads(text)) == [("ICD10CM", "K92.2"), ("ATC", "M01A"), ("UCUM", "g")]
    made = json.loads(resolved(cdm, text))
    listed = made["ConceptSets"][0]["expression"]["items"]
    assert [(i["concept"]["CONCEPT_ID"], i["isExcluded"]) for i in listed] == [
        (10, False), (11, False), (3, False), (2, True),
    ]  # fmt: skip
    assert [u["CONCEPT_ID"] for u in made["a"]["Measurement"]["Unit"]] == [30, 5]
    assert codes(made) == []
    assert resolved(cdm, json.dumps(made)) == json.dumps(made)


def test_a_code_outside_a_list_is_not_passed_over(cdm: Cdm) -> None:
    """The executor would drop a concept without an id."""
    text = json.dumps({"ConceptSets": [{"expression": {"concept": {"VOCABULARY_ID": "ATC", "CONCEPT_CODE": "M01A"}}}]})
    with pytest.raises(DataError, match="ATC:M01A outside a list of concepts"):
        resolved(cdm, text)


WRONG: list[tuple[Any, str]] = [
    ([], "write a table"),
    ({}, "include: list at least one concept"),
    ({"includes": [1]}, "'includes' is no key of a concept set; did you mean 'include'"),
    ({"include": "ATC:M01A"}, "include: write a list"),
    ({"include": ["M01A"]}, "'M01A' is no concept; give its id, or VOCABULARY:code"),
    ({"include": ["ATC:"]}, "is no concept"),
    ({"include": ["1124300"]}, '"1124300" is in quotes'),
    ({"include": [-1]}, "-1 is no concept"),
    ({"include": [True]}, "True is no concept"),
    ({"include": [1.5]}, "1.5 is no concept"),
    ({"include": [1], "exclude": 2}, "exclude: write a list"),
    ({"include": [1], "descendants": "no"}, "descendants: write true or false"),
    ({"include": [1] * 2001}, "2001 concepts; 2000 are the most"),
]


@pytest.mark.parametrize(("table", "words"), WRONG)
def test_wrong_sets(table: Any, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        concept_set("x", table)


def test_a_set_written_in_place_has_its_codes_for_a_name() -> None:
    assert inline(["ATC:M01A", 3, 3]).label == "ATC:M01A, 3"
    assert concept_set("nsaid", {"include": [3]}).label == "nsaid"


def test_the_hospitals_of_synthesize(tmp_path: Path) -> None:
    """A code of ICD-10 is looked up in the vocabulary that they bring."""
    synthesize(Plan(hospitals=1, people=100, seed=1), tmp_path)
    with opened(tmp_path / "hospital-01") as cdm:
        assert found(cdm, include=["ICD10CM:K92.2"]) == [192671]
        assert found(cdm, include=["RxNorm:140587"]) == [1118084, 1118088]
        assert one(cdm, "UCUM:mm[Hg]") == 8876
        with pytest.raises(DataError, match="has no code '140588'; near it are 140587"):
            found(cdm, include=["RxNorm:140588"])


@pytest.mark.shared
def test_a_public_vocabulary(tmp_path: Path) -> None:
    """omock's: ATC with what is below it, and codes of ICD-10 that map to what the subset has."""
    made = SHARED / "omop_vocab_mock"
    for file in ("concept.csv", "concept_ancestor.csv", "concept_relationship.parquet"):
        shutil.copy(made / file, tmp_path)
    (tmp_path / "person.csv").write_text("person_id,gender_concept_id,year_of_birth\n1,8507,1950\n")
    (tmp_path / "observation_period.csv").write_text(
        "person_id,observation_period_start_date,observation_period_end_date\n1,2000-01-01,2010-12-31\n"
    )
    concept = pd.read_csv(made / "concept.csv", dtype={"concept_code": str})
    ancestor = pd.read_csv(made / "concept_ancestor.csv")
    with opened(tmp_path) as cdm:
        assert found(cdm, include=["ATC:L01"], descendants=False) == [21601387]
        below = set(ancestor[ancestor["ancestor_concept_id"] == 21601387]["descendant_concept_id"])
        valid = set(concept[concept["invalid_reason"].isna()]["concept_id"])
        assert set(found(cdm, include=["ATC:L01"])) == below & valid | {21601387}
        read = concept[concept["vocabulary_id"] == "Read"]["concept_code"].iloc[0]
        link = pd.read_parquet(made / "concept_relationship.parquet")
        start = concept[(concept["vocabulary_id"] == "Read") & (concept["concept_code"] == read)]["concept_id"].iloc[0]
        targets = set(link[(link["concept_id_1"] == start) & (link["relationship_id"] == "Maps to")]["concept_id_2"])
        standard = set(concept[concept["standard_concept"] == "S"]["concept_id"])
        assert set(found(cdm, include=[f"Read:{read}"], descendants=False)) == targets & standard
