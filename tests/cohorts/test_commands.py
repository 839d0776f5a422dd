"""`confrere cohort describe`, `compile` and `count` on a study file, as users see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("circe")

from cohorts.definitions import TEXT
from cohorts.test_eligibility import tables
from cohorts.world import written
from confrere.console.app import app
from confrere.errors import DataError, StudyError
from confrere.study.circe import definition
from confrere.study.circe_words import described

STUDY = """
[study]
id = "hba1c"
purpose = "public-interest research"
[data]
table = "omop"
[concepts.drug]
include = [1118084]
[concepts.hba1c]
include = [3004410]
[cohorts.women]
entry = { drug = "drug" }
from = 2010-01-01
criteria = [
  { sex = "female" },
  { measurement = "hba1c", value = ">= 6", unit = "UCUM:%", after = "ever" },
]
[cohorts.everybody]
entry = { drug = "drug" }
criteria = [{ name = "born long ago", age = ">= 18" }]
[[analysis]]
name = "women"
method = "cohort"
cohort = "women"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study file with two cohorts."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def run(*words: Any) -> Any:
    """What a command prints; its error is raised."""
    done = CliRunner().invoke(app, ["cohort", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_describe_a_definition(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(TEXT)
    assert run("describe", tmp_path / "d.json").output == described(TEXT)
    assert run("describe", tmp_path / "d.json", "--language", "fr").output == described(TEXT, "fr")
    assert run("describe", tmp_path / "d.json", "--lang", "fr").output == described(TEXT, "fr")


def test_describe_a_cohort_of_a_study(study: Path) -> None:
    text = run("describe", study, "--cohort", "women").output
    assert "unit: UCUM %" in text
    assert "3004410, with descendants" in text


def test_compile_gives_the_definition_of_the_study(study: Path, tmp_path: Path) -> None:
    from confrere.study.file import read

    made = run("compile", study, "--cohort", "everybody")
    known = dict(read(study).omop.cohorts)  # type: ignore[union-attr]
    assert definition(made.stdout) == known["everybody"]
    assert not made.stderr
    left = run("compile", study, "--cohort", "women")
    assert "without an id: 1 (such as UCUM:%)" in left.stderr
    source = written(tables(), tmp_path / "cdm")
    full = run("compile", study, "--cohort", "women", "--vocabulary", source)
    assert '"CONCEPT_ID": 8554' in full.stdout
    assert not full.stderr


def test_count_a_cohort_of_a_study(study: Path, tmp_path: Path) -> None:
    """Twelve people in each of three hospitals: six women, of whom one has HbA1c in percent over 6."""
    given = [w for n in "abc" for w in ("--hospital", f"{n}={written(tables(), tmp_path / n)}")]
    run("count", study, "--cohort", "everybody", *given, "--out", tmp_path / "n.json")
    found = json.loads((tmp_path / "n.json").read_text())
    assert (found["cohort"], found["n"]) == ("everybody", 36)
    assert [r["rule"] for r in found["funnel"]] == ["", "", "born long ago", ""]
    run("count", study, "--cohort", "women", *given, "--out", tmp_path / "n.json")
    found = json.loads((tmp_path / "n.json").read_text())
    assert (found["n"], found["suppressed"]) == (None, True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("study.toml",), "has 2 cohorts; say --cohort and one of women, everybody"),
        (("study.toml", "--cohort", "woman"), "woman is not in .*did you mean 'women'"),
        (("d.json", "--cohort", "women"), "--cohort women goes with a study file"),
        (("empty.toml",), r"has no \[cohorts\]"),
        (("none.json",), "cannot read the cohort definition"),
        (("latin.json",), "is not UTF-8"),
    ],
)
def test_which_definition(study: Path, tmp_path: Path, given: tuple[str, ...], words: str) -> None:
    (tmp_path / "d.json").write_text(TEXT)
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    head, _, _ = STUDY.partition("[concepts.drug]")
    (tmp_path / "empty.toml").write_text(head + '[[analysis]]\nname = "a"\nmethod = "describe"\ncolumns = ["x"]\n')
    with pytest.raises(StudyError, match=words):
        run("describe", tmp_path / given[0], *given[1:])


def test_a_code_that_the_vocabulary_does_not_have(study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.replace("UCUM:%", "UCUM:%%"))
    source = written(tables(), tmp_path / "cdm")
    with pytest.raises(DataError, match="the vocabulary UCUM has no code '%%'; near it are %"):
        run("compile", study, "--cohort", "women", "--vocabulary", source)
