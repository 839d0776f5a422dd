"""`confrere cohort count`: the size of a cohort over hospitals and its funnel, as users see it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("circe")

from cohorts.definitions import DEFINITION, TEXT
from cohorts.world import world, written
from confrere.console.app import app
from confrere.data.circe import cohort
from confrere.data.omop import opened
from confrere.errors import DataError, Refused, StudyError, UserError
from confrere.study.circe import definition

Tables = dict[str, pd.DataFrame]
NAMES = ("brest", "lille", "nice")


@pytest.fixture
def count(tmp_path: Path) -> Callable[..., Any]:
    """Deal a hospital's people to three, count a cohort, and read the file."""

    def run(text: str, tables: Tables, hospitals: tuple[str, ...] = NAMES, name: str = "diabetes") -> Any:
        (tmp_path / f"{name}.json").write_text(text)
        given = []
        for i, hospital in enumerate(hospitals):
            own = {t: f[f["person_id"] % len(hospitals) == i] if "person_id" in f else f for t, f in tables.items()}
            given += ["--hospital", f"{hospital}={written(own, tmp_path / hospital)}"]
        words = ["cohort", "count", str(tmp_path / f"{name}.json"), *given, "--out", str(tmp_path / "out" / "n.json")]
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads((tmp_path / "out" / "n.json").read_text())

    return run


def left(tables: Tables, folder: Path, text: str = TEXT) -> list[int]:
    """People left at each step, from the pooled rows."""
    with opened(written(tables, folder)) as cdm:
        reached = cohort(cdm, text).reached.to_pyarrow().to_pandas()["reached"]
    return [int((reached >= step).sum()) for step in range(len(definition(text).steps) + 1)]


def test_counts_are_those_of_the_pooled_people(count: Callable[..., Any], tmp_path: Path) -> None:
    tables = world(DEFINITION, people=900, seed=2)
    expected, found = left(tables, tmp_path / "pooled"), count(TEXT, tables)
    assert found["cohort"] == "diabetes"
    assert found["hospitals"] == list(NAMES)
    assert [r["step"] for r in found["funnel"]] == ["people", "entry event", *["inclusion rule"] * 4, "cohort"]
    assert [r["rule"] for r in found["funnel"]] == ["", "", *definition(TEXT).rules, ""]
    assert found["n"] == expected[-1] == found["funnel"][-1]["n"]
    for record, n in zip(found["funnel"], expected, strict=True):
        assert record["n"] in (None, n)
        assert record["suppressed"] == (record["n"] is None)
    told = [r["n"] for r in found["funnel"] if r["n"] is not None]
    assert all(one - other == 0 or one - other >= 11 for one, other in pairwise(told))
    assert "two people" in found["note"]


def test_an_empty_cohort_is_zero(count: Callable[..., Any]) -> None:
    tables = world(DEFINITION, people=90, seed=2)
    tables["condition_occurrence"] = tables["condition_occurrence"].iloc[:0]
    found = count(TEXT, tables)
    assert (found["n"], found["suppressed"]) == (0, False)
    assert [r["n"] for r in found["funnel"]] == [90, *[0] * 6]


def test_fewer_than_k_are_not_told(count: Callable[..., Any], tmp_path: Path) -> None:
    tables = world(DEFINITION, people=150, seed=2)
    assert 0 < left(tables, tmp_path / "pooled")[-1] < 11
    found = count(TEXT, tables)
    assert (found["n"], found["suppressed"]) == (None, True)


def test_the_same_id_in_two_hospitals_is_two_people(tmp_path: Path) -> None:
    tables = world(DEFINITION, people=60, seed=2)
    (tmp_path / "d.json").write_text(TEXT)
    given = [w for n in NAMES for w in ("--hospital", f"{n}={written(tables, tmp_path / n)}")]
    done = CliRunner().invoke(app, ["cohort", "count", str(tmp_path / "d.json"), *given, "--out", str(tmp_path / "o")])
    assert done.exit_code == 0, done.exception
    assert json.loads((tmp_path / "o").read_text())["funnel"][0]["n"] == 180


WRONG: dict[str, tuple[str, type[UserError], str]] = {
    "no JSON": ("{", StudyError, "no JSON"),
    "no definition": ('{"a": 1}', StudyError, "no PrimaryCriteria"),
    "no entry events": ('{"PrimaryCriteria": {"CriteriaList": []}}', StudyError, "cannot be executed"),
    "not Circe": ('{"PrimaryCriteria": {"CriteriaList": "all"}}', StudyError, "is not Circe's"),
    "a criterion of nobody's": (
        '{"PrimaryCriteria": {"CriteriaList": [{"Nothing": {}}]}}',
        StudyError,
        "'Nothing', which is not one of OHDSI's",
    ),
    "an attribute misspelt": (
        '{"PrimaryCriteria": {"CriteriaList": [{"Death": {"Aeg": {}}}]}}',
        StudyError,
        "'Aeg' in Death",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_definitions(tmp_path: Path, case: str) -> None:
    text, kind, words = WRONG[case]
    with opened(written(world(DEFINITION, people=20, seed=2), tmp_path)) as cdm, pytest.raises(kind, match=words):
        cohort(cdm, text)


def test_fewer_than_three_hospitals(count: Callable[..., Any]) -> None:
    with pytest.raises(StudyError, match="2 hospitals were given"):
        count(TEXT, world(DEFINITION, people=60, seed=2), hospitals=NAMES[:2])


def test_too_few_people_are_refused(count: Callable[..., Any]) -> None:
    with pytest.raises(Refused, match="hospitals have at least 11 people"):
        count(TEXT, world(DEFINITION, people=20, seed=2))


def test_a_hospital_without_its_tables(count: Callable[..., Any]) -> None:
    tables = world(DEFINITION, people=60, seed=2)
    del tables["person"]
    with pytest.raises(DataError, match=r"brest: .*no table 'person'"):
        count(TEXT, tables)


def test_the_expression_inside_what_webapi_sends() -> None:
    wrapped = json.dumps({"id": 1, "name": "Diabetes", "expression": DEFINITION})
    assert definition(wrapped) == definition(TEXT)
    assert definition(json.dumps({"expression": TEXT})).column == definition(TEXT).column


def test_what_to_install_is_said(count: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A core installation has no ohdsi-circepy."""
    for name in [m for m in sys.modules if m == "circe" or m.startswith("circe.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "circe", None)
    with pytest.raises(StudyError, match=r"pip install 'confrere\[omop\]'"):
        count(TEXT, world(DEFINITION, people=60, seed=2))
