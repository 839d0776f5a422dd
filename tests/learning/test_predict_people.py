"""What `confrere predict` makes of people, files and models that are not as they should be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import confrere as cf
from confrere.console.app import app
from confrere.console.fit import Fit
from confrere.console.output import delivered
from federate import dealt
from laws.cases import gaps

LEVELS = {"stage": ("I", "II", "III"), "arm": ("a", "b"), "fate": ("alive", "relapse", "death")}
ASKED = {
    "boosting": lambda: cf.Boosting("ill", ("x1", "x2", "stage"), trees=3, depth=2),
    "boosting of classes": lambda: cf.Boosting("fate", ("x1", "stage"), "multiclass", trees=2, depth=2),
    "penalised": lambda: cf.Penalised("ill ~ x1 + stage", "binomial", penalty=(0.01,)),
    "network": lambda: cf.Network("ill", "x1 + stage", rounds=2),
    "network of classes": lambda: cf.Network("fate", "x1 + stage", rounds=2),
}


@pytest.fixture(scope="module")
def hospitals() -> Any:
    frames = dealt(gaps(900, 1), np.arange(900) % 3, 3)
    return cf.local({f"h{i}": f for i, f in enumerate(frames)}, levels=LEVELS, person="pid")


@pytest.fixture(scope="module")
def fits(hospitals: Any) -> dict[str, Fit]:
    return {name: hospitals.run(made(), allow=["histograms", "model_weights"]) for name, made in ASKED.items()}


def file_of(fit: Fit, folder: Path) -> Path:
    delivered(fit.results, folder / "out", "en")
    return folder / "out" / "models" / f"{fit.name}.json"


def predict(model: Path, people: pd.DataFrame, to: Path, *more: str) -> Result:
    people.to_csv(model.parent.parent.parent / "people.csv", index=False)
    table = str(model.parent.parent.parent / "people.csv")
    return CliRunner().invoke(
        app, ["predict", str(model), "--table", table, "--person", "pid", "--out", str(to), *more]
    )


def said(done: Result) -> str:
    return " ".join(f"{done.output} {done.exception or ''}".split())


def test_a_list_is_not_written_over_what_it_reads(fits: dict[str, Fit], tmp_path: Path) -> None:
    """Neither over the people nor over the model, by whatever path."""
    model, table = file_of(fits["penalised"], tmp_path), tmp_path / "people.csv"
    predict(model, gaps(60, 4), tmp_path / "list.csv")
    (tmp_path / "soft.csv").symlink_to(table)
    os.link(table, tmp_path / "hard.csv")
    before = table.read_bytes(), model.read_bytes()
    for to in (table, tmp_path / "out" / ".." / "people.csv", tmp_path / "soft.csv", tmp_path / "hard.csv", model):
        done = predict(model, gaps(60, 4), to)
        assert done.exit_code != 0, to
        assert "is read here, and would be written over; give another file" in said(done)
    assert before == (table.read_bytes(), model.read_bytes())


def test_no_command_writes_over_a_table_that_it_reads(tmp_path: Path) -> None:
    from confrere.console.output import apart
    from confrere.errors import StudyError

    (tmp_path / "person.csv").write_text("person_id\n1\n")
    apart(tmp_path / "report.json", tmp_path)
    apart(tmp_path / "new.csv", tmp_path, tmp_path / "person.csv")
    with pytest.raises(StudyError, match="would be written over"):
        apart(tmp_path / "person.csv", tmp_path)
    done = CliRunner().invoke(app, ["hospital", "check-data", str(tmp_path), "--out", str(tmp_path / "person.csv")])
    assert "would be written over" in said(done)
    assert (tmp_path / "person.csv").read_text() == "person_id\n1\n"


@pytest.mark.parametrize("name", ASKED)
def test_nobody_and_nobody_complete(name: str, fits: dict[str, Fit], tmp_path: Path) -> None:
    fit = fits[name]
    model, more = file_of(fit, tmp_path), ("--class", "death") if "classes" in name else ()
    people = gaps(40, 9)
    for nobody in (people.iloc[:0], people.assign(x1=np.nan)):
        done = predict(model, nobody, tmp_path / "list.csv", *more)
        assert done.exit_code == 0, said(done)
        found = pd.read_csv(tmp_path / "list.csv")
        assert list(found)[:2] == ["pid", "prediction"]
        assert len(found) == len(nobody)
        assert found["prediction"].isna().all() or "boosting" in name
        for kind in ("response", "score", "reasons"):
            assert len(fit.predict(nobody, kind)) == len(nobody)
    columns = list(fit.predict(people, "reasons"))
    assert list(fit.predict(people.iloc[:0], "reasons")) == columns


def test_a_folder_that_is_not_there_is_said(fits: dict[str, Fit], tmp_path: Path) -> None:
    done = predict(file_of(fits["penalised"], tmp_path), gaps(60, 4), tmp_path / "none" / "list.csv")
    assert "No such file or directory; choose another file" in said(done)


def test_a_changed_model_and_signatures_that_are_not_checked_are_said(fits: dict[str, Fit], tmp_path: Path) -> None:
    model = file_of(fits["penalised"], tmp_path)
    assert "warning" not in predict(model, gaps(60, 4), tmp_path / "list.csv").output
    plain = json.loads(model.read_text())
    model.write_text(json.dumps(plain | {"signatures": {"curie": "00"}}))
    done = predict(model, gaps(60, 4), tmp_path / "list.csv")
    assert "the signatures of curie were not checked; `confrere hospital check-model" in said(done)
    plain["coefficients"][1] += 0.5
    model.write_text(json.dumps(plain))
    done = predict(model, gaps(60, 4), tmp_path / "list.csv")
    assert done.exit_code == 0
    assert f"was changed: its card is of the model {plain['card']['model']['sha256'][:16]}" in said(done)


@pytest.mark.parametrize("name", ["boosting", "penalised"])
def test_a_model_that_has_no_number_for_who_misses_nothing_is_broken(name: str, hospitals: Any, tmp_path: Path) -> None:
    made = {
        "boosting": cf.Boosting("x2", ("x1",), "squared", trees=1, depth=1),
        "penalised": cf.Penalised("x2 ~ x1 + stage", "gaussian", penalty=(0.01,)),
    }
    model = file_of(hospitals.run(made[name], allow=["histograms"]), tmp_path)
    plain = json.loads(model.read_text())
    if name == "boosting":
        plain["base"] = [1.7e308]
        plain["trees"] = [tree | {"value": [1.7e308] * len(tree["value"])} for tree in plain["trees"]]
    else:
        plain["coefficients"] = [1.7e308] * len(plain["coefficients"])
    model.write_text(json.dumps(plain))
    people = pd.DataFrame({"pid": ["a", "b"], "x1": [5.0, np.nan], "stage": ["I", "II"]})
    done = predict(model, people, tmp_path / "list.csv")
    assert done.exit_code != 0
    many = 2 if name == "boosting" else 1
    assert f"the model predicts no number for {many} of 2 people who miss no value" in said(done)


def test_values_outside_of_a_range_and_missing_ones_are_said(fits: dict[str, Fit], tmp_path: Path) -> None:
    model = file_of(fits["penalised"], tmp_path)
    plain = json.loads(model.read_text())
    model.write_text(json.dumps(plain | {"columns": plain["columns"] | {"x1": {"range": [-9, 9]}}}))
    people = gaps(60, 4).assign(x1=lambda p: p["x1"] * 365.25)
    done, many = predict(model, people, tmp_path / "list.csv"), int((people["x1"].abs() > 9).sum())
    assert f"warning: x1: {many} of 60 values are outside of -9 to 9" in said(done)
    assert f"note: stage: missing for {int(people['stage'].isna().sum())} of 60 people" in said(done)


def test_a_class_that_is_not_named_is_asked_for_by_the_names(fits: dict[str, Fit], tmp_path: Path) -> None:
    done = predict(file_of(fits["boosting of classes"], tmp_path), gaps(60, 4), tmp_path / "list.csv")
    assert "the model has alive, relapse, death. Name one: --class LEVEL" in said(done)


def test_models_that_were_signed_are_not_written_over(fits: dict[str, Fit], tmp_path: Path) -> None:
    from confrere.console.output import checked
    from confrere.errors import StudyError

    model = file_of(fits["penalised"], tmp_path)
    checked(tmp_path / "out", "en", None)
    plain = json.loads(model.read_text())
    for added in ({"signatures": {"curie": "00"}}, {"card": plain["card"] | {"evaluations": [{}]}}):
        model.write_text(json.dumps(plain | added))
        with pytest.raises(StudyError, match=r"models/penalised\.json .* another folder"):
            checked(tmp_path / "out", "en", None)
    assert model.is_file()
