"""The model in use: files of a result, predictions in Python, and a hospital's own people ordered by risk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import confrere as cf
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.onnx import to_onnx
from confrere.console.app import app
from confrere.console.fit import Fit
from confrere.console.output import delivered
from confrere.console.predict import listed, read, worded
from confrere.errors import DataError, StudyError
from confrere.study.formulas import model
from confrere.study.schema import Column, Schema
from federate import dealt
from laws.cases import gaps

LEVELS = {"stage": ("I", "II", "III"), "arm": ("a", "b"), "fate": ("alive", "relapse", "death")}


@pytest.fixture(scope="module")
def fitted() -> Fit:
    frames = dealt(gaps(900, 1), np.arange(900) % 3, 3)
    hospitals = cf.local({f"h{i}": f for i, f in enumerate(frames)}, levels=LEVELS, person="pid")
    boosting = cf.Boosting("ill", ("x1", "x2", "stage"), trees=5, depth=3)
    return hospitals.run(boosting, allow=["histograms"])


@pytest.fixture
def written(fitted: Fit, tmp_path: Path) -> Path:
    delivered(fitted.results, tmp_path / "out", "fr")
    return tmp_path


def test_a_result_has_its_model_as_files_and_its_figures(fitted: Fit, written: Path) -> None:
    out = written / "out"
    result = json.loads((out / "result.json").read_text())
    forest = Forest.from_plain(json.loads((out / "models" / "boosting.json").read_text()))
    assert forest.sha256 == result["analyses"][0]["facts"]["model_sha256"] == fitted.model.sha256
    loaded = json.loads((out / "models" / "boosting.xgboost.json").read_text())
    assert loaded["learner"]["objective"]["name"] == "binary:logistic"
    assert (out / "models" / "boosting.onnx").read_bytes() == to_onnx(fitted.model)
    drawn = sorted(p.name for p in (out / "figures").glob("*.svg"))
    assert len(drawn) == 2
    report = (out / "report.html").read_text()
    assert "Courbe ROC" in report
    assert "mis de côté" in report


def test_old_models_go_with_the_result_that_had_them(fitted: Fit, written: Path) -> None:
    from dataclasses import replace

    study = fitted.results.study
    renamed = replace(study, analyses=(replace(study.analyses[0], name="other"),))
    one = replace(fitted.results, study=renamed, findings={"other": fitted.finding})
    delivered(one, written / "out", "en")
    assert sorted(p.name for p in (written / "out" / "models").iterdir()) == [
        "other.card.md", "other.json", "other.onnx", "other.xgboost.json",
    ]  # fmt: skip


def test_predictions_in_python(fitted: Fit) -> None:
    people = gaps(40, 9).drop(columns=["ill"])
    found = fitted.predict(people)
    assert list(found) == ["estimate"]
    assert found["estimate"].between(0, 1).all()
    score, why = fitted.predict(people, "score"), fitted.predict(people, "reasons")
    assert why.sum(axis=1).to_numpy() == pytest.approx(score["estimate"].to_numpy())
    assert 1 / (1 + np.exp(-score["estimate"].to_numpy())) == pytest.approx(found["estimate"].to_numpy())
    with pytest.raises(StudyError, match="must be one of"):
        fitted.predict(people, "link")
    with pytest.raises(DataError, match="x2"):
        fitted.predict(people.drop(columns="x2"))


def test_a_hospital_orders_its_people(fitted: Fit, written: Path) -> None:
    people = gaps(60, 4)
    people.to_csv(written / "people.csv", index=False)
    model, table, to = written / "out" / "models" / "boosting.json", written / "people.csv", written / "list.csv"
    done = CliRunner().invoke(app, ["predict", str(model), "--table", str(table), "--person", "pid", "--out", str(to)])
    assert done.exit_code == 0, done.output
    found = pd.read_csv(to)
    assert sorted(found["pid"]) == sorted(people["pid"])
    assert found["prediction"].is_monotonic_decreasing
    expected = fitted.predict(people)["estimate"].to_numpy()
    again = found.set_index("pid").loc[people["pid"], "prediction"].to_numpy()
    assert again == pytest.approx(expected, rel=1e-6)
    assert found["reasons"].str.contains("x1").mean() > 0.5
    assert (found["reasons"].str.count(";") <= 2).all()


def test_no_cell_of_the_list_is_a_formula(tmp_path: Path) -> None:
    """Neither an id nor a level of a model that somebody else made; who has no prediction has an empty cell."""
    none, two = np.zeros(3), np.array([0.0, -1.0, 1.0])
    tree = Tree(np.array([0, -1, -1]), np.array([5.0, 0, 0]), np.zeros(3, np.int64), two, none, np.array([2.0, 1, 1]))
    sets = {
        "format": "confrere-sets/1", "alpha": 0.1, "levels": ['=HYPERLINK("http://example.org")', "=1+1"],
        "limits": [-1e9, 0.0], "people": [50, 50],
    }  # fmt: skip
    plain = Forest("binary", ("nodes",), (0.0,), (tree,)).plain() | {"sets": sets}
    (tmp_path / "m.json").write_text(json.dumps(plain))
    pd.DataFrame({"pid": ["=A1", "p2"], "nodes": [1, 9.0]}).to_csv(tmp_path / "people.csv", index=False)
    command = ["predict", str(tmp_path / "m.json"), "--table", str(tmp_path / "people.csv"), "--person", "pid"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "list.csv")])
    assert done.exit_code == 0, done.output
    found = pd.read_csv(tmp_path / "list.csv")
    assert sorted(found["pid"]) == ["'=A1", "p2"]
    assert "'=HYPERLINK" in "".join(found["set"])
    assert not found.astype(str).apply(lambda column: column.str.startswith(("=", "+", "@"))).to_numpy().any()


def test_trees_of_different_depths_come_back_from_their_file() -> None:
    """A tree is written as far as it has nodes: one of a single leaf beside one of depth 2."""
    none, leaf = np.zeros(7), np.array([0.3, 0, 0, 0, 0, 0, 0])
    single = Tree(np.full(7, -1), none, np.zeros(7, np.int64), leaf, none, np.array([9.0, 0, 0, 0, 0, 0, 0]))
    split = Tree(
        np.array([0, -1, 1, -1, -1, -1, -1]), np.array([0.5, 0, 2.0, 0, 0, 0, 0]), np.zeros(7, np.int64),
        np.array([0, 1.0, 0, 0, 0, 2.0, 3.0]), none, np.array([9.0, 4, 5, 0, 0, 2, 3]),
    )  # fmt: skip
    forest = Forest("squared", ("a", "b"), (0.0,), (single, split))
    again = Forest.from_plain(json.loads(json.dumps(forest.plain())))
    people = [np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 5.0])]
    assert again.score(people) == pytest.approx([1.3, 2.3, 3.3])
    assert forest.score(people) == pytest.approx([1.3, 2.3, 3.3])
    assert again.sha256 == forest.sha256


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"format": "other"}')
    for path in (tmp_path / "m.json", tmp_path / "none.json"):
        with pytest.raises(StudyError, match="no model"):
            read(path)


def test_a_list_has_one_risk() -> None:
    forest = Forest("multiclass", ("x1",), (0.0, 0.0, 0.0), ())
    with pytest.raises(StudyError, match="3 classes"):
        listed(forest, "none.csv", "pid")


# The same in Python, of every method that fits a model -----------------------------------------------------------

FITS = {
    "penalised": lambda: cf.Penalised("ill ~ x1 + stage", "binomial", penalty=(0.01,)),
    "penalised cox": lambda: cf.Penalised("Surv(time, event) ~ x1 + stage", "cox", penalty=(0.01,)),
    "network": lambda: cf.Network("ill", "x1 + stage", rounds=2),
    "network of classes": lambda: cf.Network("fate", "x1 + stage", rounds=2),
    "network of discrete time": lambda: cf.Network("Surv(time, event)", "x1 + stage", rounds=2, intervals=(2.0, 5.0)),
}


@pytest.mark.parametrize("name", FITS)
def test_a_fit_predicts_as_its_file_does(name: str, tmp_path: Path) -> None:
    if "network" in name:
        pytest.importorskip("torch")
    frames = dealt(gaps(900, 1), np.arange(900) % 3, 3)
    hospitals = cf.local({f"h{i}": f for i, f in enumerate(frames)}, levels=LEVELS, person="pid")
    fit = hospitals.run(FITS[name](), allow=["model_weights"])
    delivered(fit.results, tmp_path / "out", "en")
    model = read(tmp_path / "out" / "models" / f"{fit.name}.json")
    assert fit.model.sha256 == model.sha256
    people = gaps(60, 4)
    people.to_csv(tmp_path / "people.csv", index=False)
    level = 2 if "classes" in name else 0
    listing = (
        listed(model, str(tmp_path / "people.csv"), "pid", most=9, level=level).set_index("pid").loc[people["pid"]]
    )
    found = fit.predict(people.drop(columns=["ill", "fate", "event"]))
    assert list(found) == (list(LEVELS["fate"]) if level else ["estimate"])
    assert found.iloc[:, max(0, level - 1)].to_numpy() == pytest.approx(listing["prediction"].to_numpy(), nan_ok=True)
    assert 0 < found.isna().any(axis=1).sum() < 60
    score, why = fit.predict(people, "score"), fit.predict(people, "reasons")
    assert why.isna().any(axis=1).tolist() == score.isna().any(axis=1).tolist() == found.isna().any(axis=1).tolist()
    first = why[[c for c in why if not level or str(c).startswith(LEVELS["fate"][1])]]
    for row, said, (_, person) in zip(first.to_numpy(), listing["reasons"], people.iterrows(), strict=True):
        lost = [c for c in ("stage", "x1") if pd.isna(person[c])]
        by_column = {"x1": row[0], "stage": row[1:].sum()}  # the levels of a column are one reason
        if "x1" not in str(first.columns[0]):
            by_column = {"x1": row[-1], "stage": row[:-1].sum()}
        told = [
            f"{c} = {person[c] if c == 'stage' else f'{person[c]:g}'} ({value:+.2f})"
            for c, value in sorted(by_column.items(), key=lambda one: -abs(one[1]))
            if abs(value) >= 0.005
        ]
        assert sorted(said.split("; ")) == sorted(told or [""]) if not lost else said.startswith("no value of ")
        assert all(name in said for name in lost)
    with pytest.raises(StudyError, match="must be one of response, score, reasons"):
        fit.predict(people, "link")


def test_a_reason_has_the_columns_of_its_terms_and_the_persons_own_values() -> None:
    """Not the levels that somebody does not have, nor what a formula makes of a column."""
    frame = pd.DataFrame({"size": [">50", None], "age": [63.5, 40.0], "sex": ["F", "M"]})
    sources = [("size",), ("size",), ("age",), ("age",), ("age", "sex")]
    values = np.array([[-0.11, 0.4, 0.1, 0.2, -0.02], [np.nan] * 5])
    assert worded(sources, frame, values, 3) == [
        "age = 63.5 (+0.30); size = >50 (+0.29); age = 63.5, sex = F (-0.02)", "no value of size"
    ]  # fmt: skip
    assert worded(sources, frame, np.zeros((2, 5)), 3) == ["", ""]
    trees = worded([("size",), ("age",)], frame, np.array([[0.1, 0.3], [0.5, 0.0]]), 1)
    assert trees == ["age = 63.5 (+0.30)", "size = missing (+0.50)"]  # trees take who misses a value


def test_the_columns_of_terms() -> None:
    schema = Schema({"size": Column("size", ("a", "b", "c"))})
    found = model("~ log(nodes + 1) + C(size) * age + ns(age, knots=[50], lower_bound=20, upper_bound=90)", schema)
    assert set(found.sources) == {("nodes",), ("size",), ("age",), ("age", "size")}
    assert [s for n, s in zip(found.names, found.sources, strict=True) if "[T." in n and "age" not in n] == [
        ("size",), ("size",)
    ]  # fmt: skip


def test_a_list_says_what_its_prediction_is_and_takes_the_name_of_a_class(tmp_path: Path) -> None:
    frames = dealt(gaps(900, 1), np.arange(900) % 3, 3)
    hospitals = cf.local({f"h{i}": f for i, f in enumerate(frames)}, levels=LEVELS, person="pid")
    gaps(60, 4).to_csv(tmp_path / "people.csv", index=False)

    def predicted(analysis: Any, *more: str) -> tuple[str, pd.DataFrame | None]:
        fit = hospitals.run(analysis, allow=["histograms"])
        delivered(fit.results, tmp_path / "out", "en")
        file, to = str(tmp_path / "out" / "models" / f"{fit.name}.json"), str(tmp_path / "list.csv")
        given = ["--table", str(tmp_path / "people.csv"), "--person", "pid", "--out", to, *more]
        done = CliRunner().invoke(app, ["predict", file, *given])
        return done.output + str(done.exception or ""), pd.read_csv(to) if not done.exit_code else None

    said, listing = predicted(FITS["penalised cox"]())
    assert "prediction: Hazard of event, relative to that of somebody with the mean of every number" in said
    assert listing is not None
    assert listing["unit"].unique().tolist() == [said.partition("prediction: ")[2].splitlines()[0]]
    assert np.log(listing["prediction"]).abs().mean() < 1
    trees = cf.Boosting("fate", ("x1", "stage"), "multiclass", trees=2, depth=2)
    by_name, by_place = predicted(trees, "--class", "death"), predicted(trees, "--class", "3")
    assert "prediction: Probability of fate = death" in by_name[0]
    pd.testing.assert_frame_equal(*(one[1] for one in (by_name, by_place)))
    said, listing = predicted(trees, "--class", "dead")
    assert "--class dead is no level of the outcome; it has alive, relapse, death" in " ".join(said.split())
    assert listing is None


def test_a_reason_of_a_term_is_what_the_score_has_more_than_the_mean(tmp_path: Path) -> None:
    frames = dealt(gaps(900, 1), np.arange(900) % 3, 3)
    fit = cf.local({f"h{i}": f for i, f in enumerate(frames)}, levels=LEVELS).run(FITS["penalised"]())
    people = gaps(60, 4)
    score, why = fit.predict(people, "score")["estimate"], fit.predict(people, "reasons")
    assert list(why) == list(fit.model.names)
    assert why.sum(axis=1, skipna=False).to_numpy() == pytest.approx((score - score.mean()).to_numpy(), nan_ok=True)
    assert (1 / (1 + np.exp(-score))).to_numpy() == pytest.approx(
        fit.predict(people)["estimate"].to_numpy(), nan_ok=True
    )


def test_what_fits_no_model_says_which_methods_do() -> None:
    fit = cf.local(dict(zip("abc", dealt(gaps(900, 1), np.arange(900) % 3, 3), strict=True))).run(cf.Linear("x1 ~ x2"))
    with pytest.raises(StudyError, match="linear has no model; boosting, network, penalised, cox, logistic have one"):
        _ = fit.model
