"""Evaluation of a learned model that stands in the study: the same risks as of the column, its bytes in the hash, and
nothing of what it predicts within a cell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import confrere as cf
from attacks.histories import asked
from confrere.analyses.learning import evaluate_binary, evaluate_followed
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_risk import Predicted
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.terms import Terms
from confrere.console.app import app
from confrere.console.output import delivered
from confrere.console.result import as_dict
from confrere.errors import DataError, StudyError
from confrere.hospital.differencing import Answered
from confrere.study import build
from confrere.study.file import parse, read
from confrere.study.learnt import written as model_text
from confrere.study.schema import Column, Schema
from confrere.study.write import sent, written
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import GATE, LOOSE, fit

GROUND = Ground(SCHEMA)


def tree(*values: float, cut: float = 0.0, cuts: tuple[float, float] = (4.0, 6.0), turned: bool = False) -> Tree:
    """A tree of depth 2: x1 at its root, x2 below, or `turned`; the values of its leaves from the left."""
    first, second = (1, 0) if turned else (0, 1)
    leaves = np.array([0, 0, 0, *values], dtype=float)
    numbers = np.array([cut, *cuts, 0, 0, 0, 0], dtype=float)
    feature = np.array([first, second, second, -1, -1, -1, -1])
    return Tree(feature, numbers, np.zeros(7, int), leaves, np.zeros(7), np.ones(7))


TREES = tree(-0.6, -0.5, 0.2, 0.4), tree(0.3, -0.1, 0.2, -0.3, cut=5.0, cuts=(-1.0, 1.0), turned=True)
FOREST = Forest("binary", ("x1", "x2"), (-0.2,), TREES)
HAZARDS = Terms("penalised", "Surv(time, event) ~ x1 + C(stage)", "cox", "", (0.4, 0.1, -0.1), (), GROUND)


def text(model: Any) -> str:
    """A model as it stands in a study."""
    return json.dumps(model.plain(), sort_keys=True)


def dealt(frame: pd.DataFrame) -> list[pd.DataFrame]:
    return [frame[i::3] for i in range(3)]


def metrics(finding: Any) -> dict[str, float]:
    return {r["metric"]: r["estimate"] for r in finding.tables["metrics"]}


def test_a_forest_is_as_good_as_the_column_of_its_risks() -> None:
    frame = patients(3000, 3)
    risk = FOREST.prediction(FOREST.score([frame["x1"].to_numpy(), frame["x2"].to_numpy()]))
    own = fit(Evaluate("ill", learnt=text(FOREST), thresholds=(0.4,), ground=GROUND), dealt(frame), GATE)
    column = fit(Evaluate("ill", "risk", thresholds=(0.4,), ground=GROUND), dealt(frame.assign(risk=risk)), GATE)
    one, other = metrics(own), metrics(column)
    ill = frame["ill"].to_numpy()
    assert one["AUC"] == other["AUC"]  # of the same cells
    assert own.tables["confusion"] == column.tables["confusion"]
    assert one["Brier score"] == pytest.approx(np.mean((risk - ill) ** 2), abs=2e-3)
    assert one["mean predicted risk"] == pytest.approx(risk.mean(), abs=0.01)  # a few trees have a few risks
    assert one["calibration slope"] == pytest.approx(other["calibration slope"], abs=0.05)
    assert own.facts["evaluated_sha256"] == FOREST.sha256


def test_a_model_of_hazards_has_a_baseline() -> None:
    frame = patients(3000, 4)
    given = {"times": 730.0, "baseline": 0.6, "ground": GROUND}
    own = fit(Evaluate("Surv(time, event)", learnt=text(HAZARDS), **given), dealt(frame), GATE)
    terms = {"x1": 0.4, "C(stage)[T.II]": 0.1, "C(stage)[T.III]": -0.1}
    formula = Evaluate("Surv(time, event)", model="x1 + C(stage)", coefficients=terms, link="cox", **given)
    one, other = metrics(own), metrics(fit(formula, dealt(frame), GATE))
    assert one["AUC"] == other["AUC"]
    assert one["Uno's concordance"] == other["Uno's concordance"]
    for name in ("Brier score", "mean predicted risk", "observed/expected"):
        assert one[name] == pytest.approx(other[name], rel=0.01)
    assert one["calibration slope"] == pytest.approx(other["calibration slope"], rel=0.05)


def test_trees_take_who_misses_a_value_and_a_regression_does_not() -> None:
    frame = patients(900, 5).copy()
    frame.loc[frame.index[:300], "x1"] = np.nan
    logistic = replace(HAZARDS, formula="ill ~ x1", family="binomial", link="logit", coefficients=(0.1, 0.4))
    assert fit(Evaluate("ill", learnt=text(FOREST), ground=GROUND), dealt(frame)).n == 900
    assert fit(Evaluate("ill", learnt=text(logistic), ground=GROUND), dealt(frame)).n == 600
    with pytest.raises(DataError, match="x1"):
        fit(Evaluate("ill", learnt=text(FOREST), ground=GROUND), dealt(frame.drop(columns="x1")), LOOSE)


def test_a_network_predicts_with_its_parameters_in_the_study(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from confrere.analyses.networks.catalogue import Sizes
    from confrere.analyses.networks.model import Net

    about = ("binary", "ill", (), "ill ~ x1 + x2", "linear", {}, Sizes(2, 0, 1), (0.0, 5.0, 0.0), (1.0, 1.0, 1.0))
    net = Net(*about, (), (), "", np.array([0.5, -0.1, 0.1]), GROUND)
    file = tmp_path / "net.json"
    file.write_text(json.dumps(net.plain()))
    file.with_suffix(".safetensors").write_bytes(net.tensors())
    frame = patients(3000, 3)
    own = fit(Evaluate("ill", learnt=model_text(file), ground=GROUND), dealt(frame), GATE)
    given = {"Intercept": 0.6, "x1": 0.5, "x2": -0.1}
    formula = Evaluate("ill", model="x1 + x2", coefficients=given, ground=GROUND)
    one, other = metrics(own), metrics(fit(formula, dealt(frame), GATE))
    assert one["AUC"] == other["AUC"]
    assert one["Brier score"] == pytest.approx(other["Brier score"], abs=1e-3)
    assert own.facts["evaluated_sha256"] == net.sha256
    wide = json.loads(model_text(file)) | {"module": "mlp", "settings": {"hidden": [16_384] * 9, "dropout": 0.0}}
    with pytest.raises(StudyError, match="not those of its module"):
        Evaluate("ill", learnt=json.dumps(wide), ground=GROUND).check()


# Nothing leaves but counts of cells -----------------------------------------------------------------------------


def told(model: Forest, frame: pd.DataFrame, **settings: Any) -> str:
    """All that is told of a model, in figures that lose no bit."""
    found = fit(Evaluate(learnt=text(model), ground=GROUND, **settings), dealt(frame), GATE)
    return json.dumps(found.tables, sort_keys=True)


BINARY: dict[str, Any] = {"outcome": "ill"}
FOLLOWED: dict[str, Any] = {"outcome": "Surv(time, event)", "times": 730.0}


@pytest.mark.parametrize("settings", [BINARY, FOLLOWED], ids=["binary", "followed"])
def test_a_model_made_to_mark_somebody_tells_nothing_of_them(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model gives one person a risk of their own within a cell; sums of exact risks would say who has it."""
    frame = patients(3000, 6).copy()
    frame.loc[frame.index[7], "x1"] = target = 3.5
    assert (frame["x1"] > 3.4).sum() == 1
    plain = Forest("binary", ("x1", "x2"), (0.012,), (tree(-0.5, -0.1, 0.3, 0.7), tree(0.0, 0.0, 0.0, 0.0)))
    mark = tree(0.0, 0.0, 0.002, 0.002, cut=target - 0.1)
    marking = replace(plain, trees=(plain.trees[0], mark))
    assert plain.sha256 != marking.sha256
    assert told(plain, frame, **settings) == told(marking, frame, **settings)

    def exact(data: Predicted, edges: object) -> Predicted:
        return data

    monkeypatch.setattr(evaluate_binary, "rough", exact)
    monkeypatch.setattr(evaluate_followed, "rough", exact)
    assert told(plain, frame, **settings) != told(marking, frame, **settings)  # the control is caught


def test_a_learned_model_has_no_analysis_beside_it() -> None:
    head = '[study]\nid = "s"\npurpose = "care"\n[data]\ntable = "t"\n'
    one = f'[[analysis]]\nname = "a"\nmethod = "evaluate"\noutcome = "ill"\nlearnt = {json.dumps(text(FOREST))}\n'
    other = '[[analysis]]\nname = "b"\nmethod = "linear"\nformula = "y ~ I(x1 > 0)"\n'
    with pytest.raises(StudyError, match="a and b: a learned model may divide people in any way"):
        build.analyses(parse(head + one + other))
    groups = ['group = ["a", "b", "c"]\n', 'group = ["d", "e", "f"]\n']
    assert len(build.analyses(parse(head + one + groups[0] + other + groups[1]))) == 2


def test_a_second_learned_model_of_the_same_people_is_refused(tmp_path: Path) -> None:
    """One made for somebody gives them alone another risk; the difference of the two tables would be their outcome."""
    past = Answered(tmp_path / "answered.sqlite", bytes(32))

    def answered(model: Forest, name: str, outcome: str = "ill") -> bool:
        head = f'[study]\nid = "{name}"\npurpose = "care"\n[data]\ntable = "t"\nperson = "pid"\n'
        one = f'[[analysis]]\nname = "a"\nmethod = "evaluate"\noutcome = "{outcome}"\n'
        one += f"learnt = {json.dumps(text(model))}\n"
        study = parse(head + one)
        frame = patients(300, 1).assign(pid=[f"p{i}" for i in range(300)])
        return past.admit(study.hash, asked(study, frame), 11).ok

    assert answered(FOREST, "first")
    assert answered(FOREST, "again")  # the same model of the same people
    assert not answered(replace(FOREST, base=(-0.2001,)), "second")
    assert not answered(FOREST, "other", "treated")  # of another outcome cells of the same risks end elsewhere


# In the study ---------------------------------------------------------------------------------------------------

STUDY = '[study]\nid = "later"\npurpose = "care"\n[data]\ntable = "t"\n'
STUDY += '[[analysis]]\nname = "later"\nmethod = "evaluate"\n'
STUDY += 'outcome = "ill"\nlearnt = "models/risk.json"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "models" / "risk.json").write_text(json.dumps(FOREST.plain() | {"card": {"a": 1}, "signatures": {}}))
    return tmp_path


def test_the_study_has_the_model_and_its_hash_is_over_it(folder: Path) -> None:
    study = read(folder / "study.toml")
    assert study.analyses[0].settings["learnt"] == text(FOREST)
    assert parse(written(study)).hash == study.hash
    assert sent(folder / "study.toml") == (written(study), study)
    assert build.analyses(study)[0].opened.sha256 == FOREST.sha256
    with pytest.raises(StudyError, match="Run or submit it by its path"):
        build.analyses(parse(STUDY))
    file = folder / "models" / "risk.json"
    file.write_text(json.dumps(FOREST.plain() | {"card": {"a": 2}}))
    assert read(folder / "study.toml").hash == study.hash
    file.write_text(json.dumps(replace(FOREST, base=(-0.3,)).plain()))
    assert read(folder / "study.toml").hash != study.hash


def test_a_study_without_a_model_is_sent_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("# my study\n" + STUDY.replace('learnt = "models/risk.json"', 'risk = "risk"'))
    assert sent(file)[0] == file.read_text()


def test_a_result_names_the_model_and_does_not_repeat_it(folder: Path) -> None:
    frames = dealt(patients(900, 3))
    results = cf.local({f"h{i}": f for i, f in enumerate(frames)}).run(folder / "study.toml")
    analysis = as_dict(results)["analyses"][0]
    assert analysis["settings"]["learnt"].startswith("SHA-256 ")
    assert analysis["facts"]["evaluated_sha256"] == FOREST.sha256
    assert "model_sha256" not in analysis["facts"]  # it learned none


@pytest.mark.parametrize("content", ["", "[]", '{"format": "x"}', "5"])
def test_a_file_that_is_no_model_is_named(folder: Path, content: str) -> None:
    (folder / "models" / "risk.json").write_text(content)
    with pytest.raises(StudyError, match="no model"):
        build.analyses(read(folder / "study.toml"))


def test_a_file_that_is_not_there_or_too_large_is_named(folder: Path) -> None:
    file = folder / "models" / "risk.json"
    file.write_text(json.dumps(FOREST.plain() | {"more": "x" * 1_000_000}))
    with pytest.raises(StudyError, match="a study has room for 900000"):
        model_text(file)
    file.unlink()
    with pytest.raises(StudyError, match="No such file"):
        read(folder / "study.toml")


ROOT = FOREST.trees[0]


@pytest.mark.parametrize(
    "bad",
    [
        ROOT._replace(feature=np.array([5, 1, 1, -1, -1, -1, -1])),
        ROOT._replace(feature=np.array([0, 1, 1, 0, -1, -1, -1])),
        ROOT._replace(feature=np.array([0, 1, 1, -7, -1, -1, -1])),
        ROOT._replace(value=np.full(7, np.nan)),
        ROOT._replace(cut=np.full(7, np.nan)),
    ],
    ids=["feature", "node", "negative", "value", "cut"],
)
def test_trees_that_would_leave_their_arrays_are_refused(bad: Tree) -> None:
    with pytest.raises(StudyError, match="no model that Confrere wrote"):
        Evaluate("ill", learnt=text(replace(FOREST, trees=(bad,))), ground=GROUND).check()


SQUARED = text(replace(FOREST, objective="squared"))
FOUR = {**SCHEMA.columns, "stage": replace(SCHEMA.columns["stage"], levels=("I", "II", "III", "IV"))}
OTHER = text(replace(HAZARDS, ground=Ground(replace(SCHEMA, columns=FOUR)), coefficients=(0.1, 0.1, 0.1, 0.1)))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"outcome": "ill", "learnt": SQUARED}, "predicts no risk"),
        ({"outcome": "ill", "learnt": text(FOREST), "risk": "x1"}, "one of them"),
        ({"outcome": "ill", "learnt": text(FOREST), "coefficients": {"x1": 1.0}}, "has its own"),
        ({"outcome": "ill", "learnt": text(FOREST), "baseline": 0.5}, "this one predicts risks"),
        ({"outcome": "ill", "learnt": text(FOREST), "over": "stage", "inputs": {"x1": (0.0,)}}, "no learned model"),
        ({"outcome": "Surv(time, event)", "learnt": text(HAZARDS), "times": 9.0}, "baseline is missing"),
        ({"outcome": "ill", "learnt": text(HAZARDS), "baseline": 0.5}, "its outcome is Surv"),
        ({"outcome": "Surv(time, event)", "learnt": OTHER, "times": 9.0, "baseline": 0.5}, "other levels of 'stage'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        Evaluate(**settings, ground=GROUND).check()


# On the card ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def carded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a learned model, its card, and the result of its evaluation among other people."""
    out = tmp_path_factory.mktemp("card")
    learning = '[study]\nid = "one"\npurpose = "care"\nlicence = "CC BY 4.0"\n[data]\ntable = "t"\n'
    (out / "one.toml").write_text(
        learning + '[[analysis]]\nname = "risk"\nmethod = "logistic"\nformula = "ill ~ x1 + x2"\n'
    )
    first, second = ({f"h{i}": f for i, f in enumerate(dealt(patients(900, seed)))} for seed in (3, 4))
    delivered(cf.local(first).run(out / "one.toml"), out, "en")
    (out / "study.toml").write_text(STUDY)
    delivered(cf.local(second).run(out / "study.toml"), out / "later", "en")
    return out


def test_an_evaluation_is_put_on_the_card_of_its_model(carded: Path) -> None:
    file = carded / "models" / "risk.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps(plain | {"signatures": {"curie": "00"}}))
    given = ["card", str(file), "--with", str(carded / "later" / "result.json"), "--lang", "fr"]
    for _ in range(2):  # twice is once
        ran = CliRunner().invoke(app, given)
        assert ran.exit_code == 0, ran.output
        assert "the card has 1 evaluation of model" in ran.output
    after = json.loads(file.read_text())
    (one,) = after["card"]["evaluations"]
    result = json.loads((carded / "later" / "result.json").read_text())
    told = {r["metric"]: r["estimate"] for r in result["analyses"][0]["tables"]["metrics"]}
    assert {r["metric"]: r["estimate"] for r in one["metrics"]} == told
    assert one["hash"] == result["study"]["hash"]
    assert one["warnings"] == result["analyses"][0]["warnings"]
    assert one["horizon"] == result["analyses"][0]["facts"].get("horizon")
    assert "signatures" not in after
    assert {k: v for k, v in after.items() if k != "card"} == {k: v for k, v in plain.items() if k != "card"}
    page = (carded / "models" / "risk.card.md").read_text()
    assert "## Évaluation" in page
    assert "AUC" in page


def test_an_evaluation_of_another_model_is_refused(carded: Path, tmp_path: Path) -> None:
    file = carded / "models" / "risk.json"
    plain = json.loads(file.read_text())
    other = tmp_path / "risk.json"
    other.write_text(json.dumps(plain | {"coefficients": [0.0, *plain["coefficients"][1:]]}))
    later = ["--with", str(carded / "later" / "result.json")]
    for given, says in (
        ([str(other), *later], "is of another model"),
        ([str(file), "--with", str(carded / "result.json")], "no evaluation of model"),
        ([str(file), "--with", str(file)], "is no result"),
    ):
        ran = CliRunner().invoke(app, ["card", *given])
        assert isinstance(ran.exception, StudyError)
        assert says in str(ran.exception)


def learned(tmp_path: Path, outcome: str, levels: list[str]) -> str:
    """The text of a forest whose card says what it predicts."""
    said = {"outcome": outcome, "levels": levels, "time_unit": ""}
    (file := tmp_path / "risk.json").write_text(json.dumps(FOREST.plain() | {"card": {"predicts": said}}))
    return model_text(file)


def levelled(*levels: str) -> Ground:
    return Ground(Schema({**SCHEMA.columns, "sick": Column("sick", levels)}))


def test_the_outcome_of_a_model_is_not_turned_round(tmp_path: Path) -> None:
    model = learned(tmp_path, "sick", ["no", "yes"])
    Evaluate("sick", learnt=model, ground=levelled("no", "yes")).check()
    for wrong in (("yes", "no"), ("well", "ill")):
        with pytest.raises(StudyError, match=r"learned with the levels \['no', 'yes'\] of 'sick'"):
            Evaluate("sick", learnt=model, ground=levelled(*wrong)).check()
    with pytest.raises(StudyError, match="in the same order"):
        Evaluate("sick", learnt=learned(tmp_path, "other", ["yes", "no"]), ground=levelled("no", "yes")).check()


def test_an_outcome_of_another_name_is_told(tmp_path: Path) -> None:
    frame = dealt(patients(600, 5))
    other, same = (
        fit(Evaluate("ill", learnt=learned(tmp_path, name, []), ground=GROUND), frame) for name in ["z", "ill"]
    )
    assert other.notes == ("The model was learned to predict z; here its risks are compared with ill.",)
    assert same.notes == fit(Evaluate("ill", learnt=text(FOREST), ground=GROUND), frame).notes == ()


def test_what_a_model_predicts_is_read_as_data() -> None:
    for said in (1, {}, {"outcome": 1, "levels": []}, {"outcome": "y", "levels": [1]}):
        with pytest.raises(StudyError, match="does not say what it predicts"):
            Evaluate("ill", learnt=json.dumps(FOREST.plain() | {"predicts": said}), ground=GROUND).check()
