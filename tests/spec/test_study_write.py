"""A study written as a file is the study: the same analyses, and a hash that a second writing does not change."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import certifi
import pytest

import confrere as cf
from confrere.console.demo import text_of
from confrere.errors import StudyError
from confrere.study import build
from confrere.study.file import Spec, Study, parse, read
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.study.write import written
from confrere.testing import Case
from laws.cases import CASES

FULL = """
[study]
id = "full"
title = 'Quotes " and \\, the sign é'
purpose = "public-interest research"
[data]
table = "breast"
person = "pid"
time_unit = "months"
time_step = 2
horizon = 60.0
[data.columns."tumour size"]
levels = ["<=20", ">20"]
[data.columns.age]
range = [18, 110]
unit = "years"
[disclosure]
allow = ["fine_times"]
k = 20
[groups]
south = ["a", "b", "c"]
north = ["d", "e", "f"]
[[analysis]]
name = "one"
method = "cox"
group = "south"
formula = "Surv(t, d) ~ age"
ridge = 1e-7
[[analysis]]
name = "two"
method = "logistic"
group = "north"
formula = "d ~ age"
missing = {imputations = 3, auxiliary = ["x"]}
"""


@pytest.mark.parametrize("text", [FULL, *(text_of(name) for name in ("breast", "lung", "myeloma"))])
def test_a_file_is_written_back(text: str) -> None:
    study = parse(text)
    again = parse(written(study))
    assert again.hash == study.hash
    assert build.analyses(again) == build.analyses(study)
    assert written(again) == written(study)


@pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])
def test_an_analysis_of_python_is_written_whole(case: Case) -> None:
    study = build.single(case.analysis, case.analysis.ground)
    again = parse(written(build.shortest(study)))
    assert build.analyses(parse(written(study))) == build.analyses(again)
    (built,) = build.analyses(again)
    assert built == build.analyses(study)[0]
    assert parse(written(again)).hash == again.hash


def test_what_the_method_has_anyway_is_left_out() -> None:

    ground = Ground(Schema({"size": Column("size", ("a", "b"))}))
    content = tomllib.loads(written(build.shortest(build.single(cf.Cox("Surv(t, d) ~ size", ridge=0.0), ground))))
    assert content["analysis"] == [{"name": "cox", "method": "cox", "formula": "Surv(t, d) ~ size"}]
    assert content["data"] == {"table": "people", "columns": {"size": {"levels": ["a", "b"]}}}
    assert "disclosure" not in content


@pytest.mark.parametrize(
    "title", ["a\nb", 'tab\t and \x7f "quotes"', "\\", "emoji \U0001f600", "[study]", "# no comment"]
)
def test_every_text_is_written_as_it_is(title: str) -> None:
    spec = Spec("one", "logistic", (), {"formula": "d ~ age"})
    study = Study(id="one", title=title, purpose="p", table="t", analyses=(spec,))
    assert parse(written(study)).title == title


def test_what_no_file_may_say_is_an_error_when_it_is_read() -> None:
    spec = Spec("one", "logistic", (), {"formula": "d ~ age"})
    with pytest.raises(StudyError, match="table"):
        parse(written(Study(id="one", title="t", purpose="p", table=" ", analyses=(spec,))))


def test_what_a_study_says_of_itself_is_written_too() -> None:
    """Its basis in law, who reads it, and when it ends."""
    about = 'purpose = "research"\nlegal_basis = "MR-004 123"\npeople = ["ada", "grace"]\nends = 2027-01-31'
    asked = '[data]\ntable = "t"\n[[analysis]]\nname = "x"\nmethod = "logistic"\nformula = "y ~ z"'
    study = parse(f'[study]\nid = "a"\n{about}\n{asked}\n')
    again = parse(written(study))
    assert again == study
    assert again.hash == study.hash
    assert "ends = 2027-01-31" in written(study)


def test_words_about_what_leaves_are_asked_of_stewards_from_python(tmp_path: Path) -> None:
    """Over a federation an analysis says them as in one process, and every steward reads them in the file."""
    remote = cf.connect("https://localhost:1", "token", authority=certifi.where(), table="trial")
    words: dict[str, Any] = {"allow": ["fine_times"], "alone": ["sponsor"], "k": 20}
    made = remote.write(cf.Linear("y ~ x"), tmp_path / "made.toml", title="A trial's arm", purpose="a test", **words)
    assert read(tmp_path / "made.toml").hash == made.hash
    assert (made.allow, made.alone, made.k) == (("fine_times",), ("sponsor",), 20)
    with pytest.raises(StudyError, match="k: 5 must be 11 or more"):
        remote.write(cf.Linear("y ~ x"), tmp_path / "lax.toml", title="t", purpose="p", k=5)
