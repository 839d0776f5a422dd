"""A model of several classes among other people: what is told of it, how it is put right, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special
from typer.testing import CliRunner

import confrere as cf
from confrere.analyses.learning import evaluate_classes
from confrere.analyses.learning.conformal import ALWAYS, Conformal
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_classes import Cell, Classes, _coarse, mean_gaps, pairs, straight
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.recalibrated import recalibrated
from confrere.console.app import app
from confrere.console.output import delivered
from confrere.console.predict import listed, read, sets_of
from confrere.console.recalibrate import _sets
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.report.cautions import said
from confrere.report.words import Words
from confrere.rounds import drive
from confrere.study.schema import Column, Schema
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import GATE, LOOSE, fit, flow_of, in_the_clear

GROUND = Ground(SCHEMA)
FATES = ("alive", "relapse", "death")
LINE = np.array([0.0, 0.8, -0.5]), 0.5  # how scores have to move to be right


def tree(cut: float, *values: float) -> Tree:
    """A tree of depth 2: x1 at its root, x2 below."""
    numbers = np.array([cut, 4.5, 5.5, 0, 0, 0, 0], dtype=float)
    feature, leaves = np.array([0, 1, 1, -1, -1, -1, -1]), np.array([0, 0, 0, *values], dtype=float)
    return Tree(feature, numbers, np.zeros(7, int), leaves, np.zeros(7), np.ones(7))


TREES = tuple(
    tree(cut, *(scale * np.array(leaves)))
    for cut, scale in ((-0.7, 1.0), (0.0, 0.8), (0.7, 0.6))
    for leaves in ((-1.0, -0.4, 0.6, 1.2), (0.5, 0.9, -0.7, -0.3), (0.2, -0.6, 0.3, -0.9))
)
FOREST = Forest("multiclass", ("x1", "x2"), (0.3, 0.0, -0.2), TREES)


def scores(model: Any, frame: pd.DataFrame) -> np.ndarray:
    return np.asarray(model.score([frame["x1"].to_numpy(), frame["x2"].to_numpy()]))


def people(n: int, seed: int, line: Any = LINE) -> pd.DataFrame:
    """People whose fates are as likely as the forest's scores say, once moved by a line."""
    frame, rng = patients(n, seed), np.random.default_rng(seed)
    chance = special.softmax(line[0] + line[1] * scores(FOREST, frame), axis=1)
    at = (chance.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return frame.assign(fate=np.array(FATES)[at], pid=[f"p{i}" for i in range(n)])


def text(model: Any = FOREST) -> str:
    return json.dumps(model.plain(), sort_keys=True)


def dealt(frame: pd.DataFrame) -> list[pd.DataFrame]:
    return [frame[i::3] for i in range(3)]


def evaluated(frame: pd.DataFrame, policy: Any = GATE, model: Any = FOREST) -> Any:
    return fit(Evaluate("fate", learnt=text(model), ground=GROUND), dealt(frame), policy)


def line_of(found: Any) -> tuple[np.ndarray, float]:
    slope = next(r["estimate"] for r in found.tables["metrics"] if r["metric"] == "calibration slope")
    return np.array([0.0, *(r["estimate"] for r in found.tables["intercepts"])]), slope


# What is told ---------------------------------------------------------------------------------------------------


def test_the_line_is_found_within_its_errors() -> None:
    frame = people(9000, 3)
    found = evaluated(frame)
    starts, slope = line_of(found)
    errors = [r["std_error"] for r in found.tables["intercepts"]]
    assert (np.abs(starts[1:] - LINE[0][1:]) < 2.5 * np.array(errors)).all()
    assert slope == pytest.approx(LINE[1], abs=0.1)
    score = scores(FOREST, frame)
    own = np.array([FATES.index(f) for f in frame["fate"]])
    metrics = {r["metric"]: r["estimate"] for r in found.tables["metrics"]}
    order = np.argsort(-score, axis=1, kind="stable")
    assert metrics["error rate"] == pytest.approx(np.mean(order[:, 0] != own), rel=1e-12)
    neither = (order[:, :2] != own[:, None]).all(axis=1)
    assert metrics["error rate of the two likeliest"] == pytest.approx(neither.mean(), rel=1e-12)
    table = found.tables["calibration"]
    assert sum(r["n"] for r in table) == (~neither).sum()
    assert sum(r["events"] for r in table) == (order[:, 0] == own).sum()
    assert found.facts["evaluated_sha256"] == FOREST.sha256


def test_a_right_model_has_no_line_to_speak_of() -> None:
    starts, slope = line_of(evaluated(people(9000, 4, (np.zeros(3), 1.0))))
    assert np.abs(starts).max() < 0.2
    assert slope == pytest.approx(1, abs=0.1)


def test_by_hand_of_two_cells_each() -> None:
    """Three pairs, each right by a line of its own choice: the line goes through all of them."""
    starts, slope = np.array([0.0, 0.4, -0.3]), 0.7
    cells = []
    for j, (a, b) in enumerate(pairs(3)):
        for low, high in ((0.0, 0.5), (0.5, 1.0), (1.0, np.inf)):
            cells.append([1000.0, low, high, j, a, b])
    n, low, high = (np.array([c[i] for c in cells]) for i in range(3))
    share = special.expit([
        starts[c[4]] - starts[c[5]] + slope * g for c, g in zip(cells, mean_gaps(n, low, high), strict=True)
    ])  # fmt: skip
    made = [Cell(1000 * p, 1000 * (1 - p), c[1], c[2], c[3]) for p, c in zip(share, cells, strict=True)]
    line = straight(made, 3)
    assert line is not None
    np.testing.assert_allclose(line.intercepts, starts, atol=1e-10)
    assert line.slope == pytest.approx(slope, abs=1e-10)
    some = straight([c for c in made if c.pair < 1], 3)  # of the third class nothing is known
    assert some is not None
    assert not some.intercepts.any()
    assert some.intercepts_se.size == 0
    assert straight([c._replace(pair=-1) for c in made], 3) is None


def test_exponential_gaps_lie_where_they_are_on_average() -> None:
    gap, edges = np.random.default_rng(1).exponential(1.6, 200_000), np.array([0.0, 0.4, 1.5, 3.0, np.inf])
    place = np.searchsorted(edges, gap, side="right") - 1
    expected = np.bincount(place, gap) / np.bincount(place)
    np.testing.assert_allclose(mean_gaps(np.bincount(place).astype(float), edges[:-1], edges[1:]), expected, rtol=0.01)


def test_few_people_beyond_the_two_likeliest_count_with_the_second() -> None:
    frame = people(3000, 5, (np.zeros(3), 1.0))
    own, order = frame["fate"].map(FATES.index).to_numpy(), np.argsort(-scores(FOREST, frame), axis=1, kind="stable")
    neither = np.flatnonzero((order[:, :2] != own[:, None]).all(axis=1))
    frame = frame.drop(frame.index[neither[:-6]])  # six are left
    metrics = {r["metric"]: r for r in evaluated(frame).tables["metrics"]}
    assert "error rate of the two likeliest" not in metrics
    right = np.delete(order[:, 0] == own, neither[:-6])
    assert metrics["error rate"]["estimate"] == pytest.approx(1 - right.mean(), rel=1e-12)


def test_of_a_model_that_is_hardly_ever_wrong_nothing_is_told() -> None:
    frame = people(900, 6)
    order = np.argsort(-scores(FOREST, frame), axis=1, kind="stable")
    own = np.where(np.arange(900) < 5, order[:, 1], order[:, 0])
    with pytest.raises(ModelError, match="too few people have their likeliest class"):
        evaluated(frame.assign(fate=np.array(FATES)[own]))


# Nothing leaves but counts of cells -------------------------------------------------------------------------------


def test_all_that_leaves_parts_the_people_by_k() -> None:
    """Every number is people of one kind in one merged cell of one pair; and none of them is of fewer than k."""
    for seed in range(5):
        frame = people(1200, 10 + seed)
        answer, seen = in_the_clear(dealt(frame), GATE), list[Any]()

        def noted(asks: Any, answer: Any = answer, seen: list[Any] = seen) -> Any:
            got = answer(asks)
            seen.extend(s for one, a in zip(got, asks, strict=True) if a.kind == "ask" for s in one)
            return got

        drive(flow_of(Evaluate("fate", learnt=text(), ground=GROUND)), noted)
        counts = np.concatenate([np.ravel(s.value) for s in seen])
        assert (counts == np.round(counts)).all()
        assert ((counts == 0) | (counts >= GATE.k)).all()
        assert counts.sum() == len(frame)


def test_a_model_made_to_mark_somebody_tells_nothing_of_them() -> None:
    """One person has a gap of their own, within the cell of others or in one of theirs: neither shows."""
    frame = people(3000, 7).copy()
    frame.loc[frame.index[7], "x1"] = 3.5
    assert (frame["x1"] > 3.4).sum() == 1
    told = set()
    for value in (0.0, 0.001, 6.0):
        marks = tuple(tree(3.4, 0.0, 0.0, v, v) for v in (value, 0.0, 0.0))
        model = Forest("multiclass", ("x1", "x2"), FOREST.base, (*TREES, *marks))
        for fate in FATES:
            one = frame.copy()
            one.loc[one.index[7], "fate"] = fate
            found = evaluated(one, model=model)
            cells = [(r["n"], r["events"]) for r in found.tables["calibration"]]
            assert all(events >= GATE.k and (n - events >= GATE.k or n == events) for n, events in cells)
            told.add(json.dumps(found.tables["calibration"]))
    assert len(told) > 1  # a person more in a cell of k or more is what any count tells


# Put right -----------------------------------------------------------------------------------------------------


def test_scores_of_classes_are_moved_by_the_line_and_moved_again() -> None:
    frame = people(50, 1)
    made = recalibrated(recalibrated(FOREST, [0.0, 0.4, -0.2], 1.5), [0.0, -0.1, 0.3], 0.5)
    expected = np.array([0.0, -0.1, 0.3]) + 0.5 * (np.array([0.0, 0.4, -0.2]) + 1.5 * scores(FOREST, frame))
    np.testing.assert_allclose(scores(made, frame), expected, atol=1e-12)
    for wrong in (0.0, [0.0, 1.0]):
        with pytest.raises(StudyError, match="intercepts"):
            recalibrated(FOREST, wrong, 1.0)
    with pytest.raises(StudyError, match="the other way"):
        recalibrated(FOREST, [0.0, 0.0, 0.0], -1.0)


@pytest.mark.parametrize(("module", "settings"), [("linear", {}), ("mlp", {"hidden": [4]})])
def test_so_are_those_of_a_network(module: str, settings: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    from confrere.analyses.networks.catalogue import Sizes, built
    from confrere.analyses.networks.model import Net

    sizes = Sizes(2, 0, 3)
    many = sum(p.numel() for p in built(module, sizes, settings).parameters())
    weights = np.random.default_rng(1).normal(size=many)
    net = Net("multiclass", "fate", FATES, "~ x1 + x2", module, settings, sizes, (0.0, 5.0, 0.0), (1.0,) * 3, (), (),
              "", weights, GROUND)  # fmt: skip
    frame, starts = patients(200, 3), [0.0, 0.7, -0.3]
    made = recalibrated(net, starts, 1.3)
    x = net.features(frame)
    np.testing.assert_allclose(made.score(x), np.array(starts) + 1.3 * net.score(x), atol=1e-9)


def test_sets_are_of_the_scores_before() -> None:
    frame = people(400, 2)
    sets = Conformal(0.2, FATES, (-0.4, -0.4, ALWAYS), (50,) * 3)
    before = scores(FOREST, frame)
    inside = sets.sets(sets.margins("multiclass", before))
    plain, model = sets.plain(), FOREST
    for starts, slope in (([0.0, 0.8, -0.5], 0.5), ([0.0, -0.1, 0.3], 1.7)):
        plain, model = _sets(plain, starts, slope), recalibrated(model, starts, slope)
        moved = Conformal.from_plain(json.loads(json.dumps(plain)))
        assert (moved.sets(moved.margins("multiclass", scores(model, frame))) == inside).all()
    for wrong in ([0.0, 1.0], [0.0, 0.0, 0.0, -1.0], [0.0, 0.0, float("nan"), 1.0]):
        with pytest.raises(StudyError, match="for each class"):
            Conformal.from_plain(plain | {"moved": wrong})


HEAD = (
    '[study]\nid = "{0}"\ntitle = "{0}"\npurpose = "care"\nlicence = "CC BY 4.0"\n[data]\ntable = "t"\nperson = "pid"\n'
)
LEVELS = '[data.columns.fate]\nlevels = ["alive", "relapse", "death"]\n'


def run(folder: Path, more: str, frame: pd.DataFrame, name: str) -> Path:
    (folder / f"{name}.toml").write_text(HEAD.format(name) + LEVELS + more)
    hospitals = {f"h{i}": part for i, part in enumerate(dealt(frame))}
    delivered(cf.local(hospitals).run(folder / f"{name}.toml"), folder / name, "en")
    return folder / name


def command(*given: Any) -> Any:
    return CliRunner().invoke(app, [*map(str, given)])


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_from_file_to_file(tmp_path: Path, lang: str) -> None:
    """Learned, evaluated among others, recalibrated; predicts, is evaluated again, and is right among them."""
    text = '[disclosure]\nallow = ["histograms"]\n[[analysis]]\nname = "risk"\nmethod = "boosting"\noutcome = "fate"\n'
    text += 'features = ["x1", "x2"]\nobjective = "multiclass"\ntrees = 12\ndepth = 2\nlearning_rate = 0.3\n'
    learned = run(tmp_path, text + "holdout = 0.4\nconformal = 0.2\n", people(3000, 3, (np.zeros(3), 1.0)), "learned")
    others = people(6000, 4, (np.array([0.0, 1.0, -0.6]), 0.6))
    later = '[[analysis]]\nname = "later"\nmethod = "evaluate"\noutcome = "fate"\nlearnt = "{}"\n'
    found = run(tmp_path, later.format("learned/models/risk.json"), others, "later")
    old, new = learned / "models" / "risk.json", tmp_path / "new.json"
    done = command("recalibrate", old, "--with", found / "result.json", "--out", new, "--lang", lang)
    assert done.exit_code == 0, done.output
    first = tables = json.loads((found / "result.json").read_text())["analyses"][0]["tables"]
    starts = np.array([0.0, *(r["estimate"] for r in tables["intercepts"])])
    slope = next(r["estimate"] for r in tables["metrics"] if r["metric"] == "calibration slope")
    was, now = read(old), read(new)
    np.testing.assert_allclose(scores(now, others), starts + slope * scores(was, others), atol=1e-12)
    own = others["fate"].map(FATES.index).to_numpy()
    before, after = (
        -special.log_softmax(scores(m, others), axis=1)[np.arange(len(own)), own].mean() for m in (was, now)
    )
    assert after < before - 0.03
    others.head(300).to_csv(tmp_path / "people.csv", index=False)
    one, other = (
        listed(read(f), str(tmp_path / "people.csv"), "pid", level=2, sets=sets_of(f)).set_index("pid").sort_index()
        for f in (old, new)
    )
    assert [{*a.split(", ")} for a in one["set"]] == [{*b.split(", ")} for b in other["set"]]
    assert not np.allclose(one["prediction"], other["prediction"])
    card = (tmp_path / "new.card.md").read_text()
    assert ("fois ce qu’ils étaient" if lang == "fr" else "times what they were") in card
    again = run(tmp_path, later.format("new.json"), people(6000, 5, (np.array([0.0, 1.0, -0.6]), 0.6)), "again")
    tables = json.loads((again / "result.json").read_text())["analyses"][0]["tables"]
    slope = next(r["estimate"] for r in tables["metrics"] if r["metric"] == "calibration slope")
    assert slope == pytest.approx(1, abs=0.2)
    assert abs(tables["intercepts"][0]["estimate"]) < 0.2  # of death, which few are predicted now, it has large errors
    assert _rate(tables) < _rate(first) - 0.05
    assert command("card", new, "--with", again / "result.json", "--lang", lang).exit_code == 0
    assert ("taux d’erreur" if lang == "fr" else "error rate") in (tmp_path / "new.card.md").read_text().lower()


def _rate(tables: Any) -> float:
    return float(next(r["estimate"] for r in tables["metrics"] if r["metric"] == "error rate"))


def test_an_evaluation_that_found_no_line_recalibrates_nothing() -> None:
    from confrere.console.recalibrate import of_classes

    with pytest.raises(StudyError, match="found no slope"):
        of_classes({"tables": {"metrics": [{"metric": "calibration slope", "estimate": None}]}})
    alone = {"metrics": [{"metric": "calibration slope", "estimate": 0.5}]}
    assert of_classes({"tables": alone, "facts": {"classes": 3}}) == ([0.0, 0.0, 0.0], 0.5)


# What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"by": "arm"}, StudyError, "by is for an outcome of two levels"),
        ({"over": "stage"}, StudyError, "over is for an outcome of two levels"),
        ({"thresholds": (0.5,)}, StudyError, "thresholds is for an outcome of two levels"),
        ({"times": 365.0}, StudyError, "times is of an outcome Surv"),
        ({"outcome": "ill"}, StudyError, "declare the three levels or more"),
        ({"outcome": "stage", "learnt": text(Forest("multiclass", ("x1", "x2"), (0.0,) * 4, TREES[:8]))}, StudyError,
         "the model predicts 4"),
        ({"learnt": text(Forest("binary", ("x1", "x2"), (0.0,), TREES[:1]))}, StudyError, "predicts one number"),
        ({"learnt": "", "risk": "x1"}, FormulaError, "3 levels"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_classes(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    given = {"outcome": "fate", "learnt": text(), "ground": GROUND} | settings
    with pytest.raises(error, match=says):
        Evaluate(**given).check()


def test_pairs_of_many_classes_would_be_too_many() -> None:
    levels = tuple(f"c{i}" for i in range(13))
    ground = Ground(Schema({"kind": Column("kind", levels)}))
    model = Forest("multiclass", ("x1", "x2"), (0.0,) * 13, TREES[:1] * 13)
    with pytest.raises(StudyError, match="13 levels"):
        Evaluate("kind", learnt=text(model), ground=ground).check()


def test_seven_classes_have_cells_by_pair() -> None:
    levels = tuple(f"c{i}" for i in range(7))
    ground, rng = Ground(Schema({"kind": Column("kind", levels)})), np.random.default_rng(3)
    leaves = rng.normal(size=(21, 4))
    trees = tuple(tree(0.1 * j, *own) for j, own in enumerate(leaves))
    model = Forest("multiclass", ("x1", "x2"), (0.0,) * 7, trees)
    frame = patients(6000, 9)
    chance = special.softmax(0.5 * scores(model, frame), axis=1)
    at = (chance.cumsum(axis=1) < rng.random((6000, 1))).sum(axis=1)
    frame = frame.assign(kind=np.array(levels)[at])
    found = fit(Evaluate("kind", learnt=text(model), ground=ground), dealt(frame), GATE)
    assert "intercepts" not in found.tables  # some class is hardly ever among the two likeliest
    slope = next(r["estimate"] for r in found.tables["metrics"] if r["metric"] == "calibration slope")
    assert slope == pytest.approx(0.5, abs=0.15)


def test_without_a_gate_nothing_is_merged_but_cells_of_nobody() -> None:
    found = evaluated(people(3000, 3), LOOSE)
    assert found.facts["cells_of_risk"] > evaluated(people(3000, 3)).facts["cells_of_risk"]
    assert Classes(Evaluate("fate", learnt=text(), ground=GROUND)).many == len(evaluate_classes.pairs(3)) == 6


def test_few_cells_are_told_with_a_caution() -> None:
    found = evaluated(people(1500, 4))
    assert [w.code for w in found.warnings] == ["coarse-score"]
    assert not said("coarse-score", found.warnings[0].text, Words("fr")).foreign
    fine = [Cell(20 + i, 20, i / 10, (i + 1) / 10, 0) for i in range(40)]
    assert _coarse(fine, straight(fine, 2)) == ()
    assert len(_coarse(fine[:3], straight(fine[:3], 2))) == 1
    assert _coarse(fine, None) == ()  # no slope is told
