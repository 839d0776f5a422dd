"""A federation in this process, as Python users meet it: what it shows, and messages in the words of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.errors import DataError, FormulaError, StudyError, UserError


def records() -> dict[str, pd.DataFrame]:
    """Three hospitals with 40 people each."""
    draw = np.random.default_rng(1)
    return {
        name: pd.DataFrame(
            {
                "time": draw.exponential(500, 40).round() + 1,
                "event": draw.integers(0, 2, 40),
                "age": draw.normal(60, 9, 40).round(1),
                "arm": np.where(draw.random(40) < 0.5, "a", "b"),
                "therapy": draw.integers(0, 2, 40),
            }
        )
        for name in ("lyon", "curie", "paris")
    }


def test_a_federation_lists_its_hospitals() -> None:
    assert repr(cf.local(records())) == "3 hospitals in this process: curie, lyon, paris"


def test_only_public_names_are_listed() -> None:
    assert {*dir(cf)} == {*cf.__all__, "__version__"}


@pytest.mark.parametrize(
    ("analysis", "kind", "says"),
    [
        (
            cf.Linear("age ~ arm"),
            DataError,
            "column 'arm' holds text in 40 rows; correct them, leave them empty, or declare its levels: "
            "levels={'arm': [...]} in cf.local",
        ),
        (cf.Linear("age ~ C(arm)"), FormulaError, "; declare levels={'arm': [...]} in cf.local, or write C(arm, "),
        (cf.Cox("Surv(time, event) ~ age + strata(arm)"), FormulaError, "write levels={'arm': [...]} in cf.local"),
        (
            cf.CompetingRisks("Surv(time, event) ~ age"),
            StudyError,
            "levels. Write levels={'event': [...]} in cf.local, censoring first",
        ),
        (cf.Linear("age ~ therapy", missing="impute"), StudyError, 'person ids, person="..." in cf.local'),
        (cf.Linear("age ~ therapy", missing=cf.Impute), StudyError, "missing: Impute is a class; write Impute(), with"),
        (cf.Linear("age"), UserError, "Linear: "),
    ],
    ids=lambda value: value.formula if hasattr(value, "formula") else "",
)
def test_messages_name_the_arguments_of_python(analysis: object, kind: type[UserError], says: str) -> None:
    with pytest.raises(kind) as caught:
        cf.local(records()).run(analysis)
    assert says in str(caught.value)
    assert "[data" not in str(caught.value)
    assert "[[analysis]]" not in str(caught.value)


def test_a_study_file_is_answered_in_its_own_words(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        '[study]\nid = "s"\npurpose = "p"\n[data]\n[[analysis]]\nname = "a"\nmethod = "linear"\nformula = "age ~ arm"\n'
    )
    with pytest.raises(DataError, match=r"declare its levels: \[data.columns.arm\] levels = \[...\]"):
        cf.local(records()).run(file)


def test_one_level_is_too_few() -> None:
    with pytest.raises(StudyError, match=r"^levels of 'arm' must list 2 to"):
        cf.local(records(), levels={"arm": ["a"]})


@pytest.mark.parametrize("as_files", [False, True], ids=["frames", "files"])
def test_a_declared_column_must_be_there(tmp_path: Path, as_files: bool) -> None:
    given: dict[str, object] = {**records()}
    for name, frame in records().items() if as_files else ():
        given[name] = tmp_path / f"{name}.csv"
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(DataError, match=r"curie.*no column 'terapy'; did you mean 'therapy'\? \(levels of terapy are"):
        cf.local(given, levels={"terapy": [0, 1]}).run(cf.Linear("age ~ therapy"))
    # the levels of a column that this analysis does not read are for others
    fit = cf.local(given, levels={"arm": ["a", "b"]}).run(cf.Linear("age ~ therapy"))
    assert fit.n == 120


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"alow": ["histograms"]}, "'alow' is no word about what leaves; did you mean 'allow'?"),
        ({"alone": "curie"}, "alone is 'curie'; give a list, ['curie']"),
        ({"alone": ["curry"]}, "alone: 'curry' is no member; did you mean 'curie'?"),
    ],
    ids=["misspelt", "no list", "no member"],
)
def test_words_about_what_leaves_are_those_of_a_study_file(words: Any, says: str) -> None:
    with pytest.raises(StudyError) as caught:
        cf.local(records()).run(cf.Linear("age ~ therapy"), **words)
    assert says in str(caught.value)
    assert "[disclosure]" not in str(caught.value)
