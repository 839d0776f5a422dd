"""`confrere cohort describe`, `compile` and `count` on a study file, as users see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import certifi
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("circe")

import confrere as cf
from cohorts.definitions import TEXT
from cohorts.test_eligibility import tables
from cohorts.world import written
from confrere.console.app import app
from confrere.console.feasibility import asked
from confrere.console.local import Local
from confrere.console.show import findings, text
from confrere.data.sources import is_table
from confrere.errors import DataError, StudyError
from confrere.study.circe import definition
from confrere.study.circe_words import described
from confrere.study.file import read

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


def test_a_file_of_cohorts_alone_is_counted_and_described(study: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.toml"
    alone.write_text(STUDY[: STUDY.index("[[analysis]]")])
    assert run("describe", alone, "--cohort", "women").stdout == run("describe", study, "--cohort", "women").stdout
    assert run("compile", alone, "--cohort", "women").stdout == run("compile", study, "--cohort", "women").stdout
    with pytest.raises(StudyError, match=r"one \[\[analysis\]\] or more"):
        read(alone)  # a study that is run must ask something


def test_wrong_definitions_are_named_by_their_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text("no JSON")
    with pytest.raises(StudyError, match=r"notes\.json: the cohort definition is no JSON"):
        run("describe", path)


def test_feasibility_of_the_target_says_which_cohort(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace('table = "omop"', 'table = "omop"\ntarget = "everybody"'))
    study = asked(path, "2010-2019")
    frames = {}
    for name in ("a", "b", "c"):
        frame = pd.DataFrame({"_birth": [0.0] * 300, "_sex": ["female"] * 300, "_left": [0.0] * 300})
        cohort = dict(study.omop.cohorts)["everybody"]  # type: ignore[union-attr]
        frames[name] = frame.assign(
            **{cohort.entry: 15_000.0 + 9 * np.arange(300), cohort.rule(1): 1.0 * (np.arange(300) > 99)}
        )
    results = Local(frames).run(study)
    assert results["feasibility"].facts["cohort"] == "everybody"
    assert "feasibility (of cohort everybody, n = 900): funnel" in text(findings(results))
    nobody = {name: frame.assign(**{cohort.entry: np.nan}) for name, frame in frames.items()}
    assert "nobody has an entry event of cohort 'everybody'" in str(Local(nobody).run(study).errors["feasibility"])


def test_any_file_is_a_table_of_people_here_as_in_a_hospital(study: Path, tmp_path: Path) -> None:
    made = read(study)
    cohort = dict(made.omop.cohorts)["women"]  # type: ignore[union-attr]
    paths = {name: str(tmp_path / f"{name}.csv") for name in ("a", "b", "c")}
    for path in paths.values():
        pd.DataFrame({cohort.column: np.arange(40) % 5, "pid": range(40)}).to_csv(path, index=False)
    assert [r["n"] for r in Local(paths).run(made)["women"].tables["funnel"]][:2] == [120, 96]
    pd.DataFrame({"person_id": [1]}).to_csv(paths["b"], index=False)
    with pytest.raises(DataError, match=r"no column 'cohort_.*makes its columns of OMOP records: give a folder"):
        Local(paths).run(made)
    assert [is_table(s) for s in (paths["a"], tmp_path, tmp_path / "x.duckdb", pd.DataFrame())] == [
        True, False, False, True,
    ]  # fmt: skip


def test_analyses_from_python_over_a_federation_say_what_people_are_made_of(tmp_path: Path) -> None:
    authority = certifi.where()
    records = {
        "target": "users", "concepts": {"drug": {"include": [1118084]}},
        "cohorts": {"users": {"entry": {"drug": "drug", "first": True}}}, "features": {"age": {"is": "age"}},
    }  # fmt: skip
    remote = cf.connect("https://localhost:1", "token", authority=authority, table="omop", records=records)
    made = remote.write(cf.Linear("age ~ 1"), tmp_path / "made.toml", title="Ages", purpose="a test")
    assert read(tmp_path / "made.toml").hash == made.hash
    assert made.omop is not None
    assert (made.omop.target, [f.name for f in made.omop.features]) == ("users", ["age"])
    with pytest.raises(StudyError, match="records: 'cohort' is no key here; did you mean 'cohorts'"):
        cf.connect("https://localhost:1", "token", authority=authority, records={"cohort": {}})
