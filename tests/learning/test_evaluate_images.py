"""Evaluation of a network of images that stands in the study: hospitals predict with it from their own bags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.learning.evaluate import Evaluate
from confrere.data.bags import Bags, fitted
from confrere.data.table import Table
from confrere.errors import DataError, Refused, StudyError
from confrere.study.learnt import written as model_text
from confrere.testing import Ground

pytest.importorskip("torch")

HOSPITALS = ("aa", "bb", "cc")
LEVELS = {"kind": ("benign", "doubtful", "malign")}
OF_NOBODY = 5  # people of each hospital without a picture


def hospital(name: str, n: int = 400) -> tuple[pd.DataFrame, Bags]:
    """People with an outcome of two and of three levels, and bags of two to four rows that tell of it."""
    rng = np.random.default_rng(list(name.encode()))
    kind, age = rng.integers(0, 3, n), rng.normal(50, 9, n)
    ill = rng.random(n) < 1 / (1 + np.exp(-1.2 * (kind - 1) - 0.05 * (age - 50)))
    frame = pd.DataFrame({"pid": [f"{name}{i}" for i in range(n)], "ill": ill.astype(float), "age": age})
    frame["kind"] = np.array(LEVELS["kind"])[kind]
    rows = {p: rng.normal(size=(2 + i % 3, 3)) + k - 1 for i, (p, k) in enumerate(zip(frame["pid"], kind, strict=True))}
    for i in range(OF_NOBODY):
        del rows[f"{name}{i}"]
    return frame, Bags.made(rows, 3)


PEOPLE = {name: hospital(name) for name in HOSPITALS}


def federation(**changed: Any) -> cf.Local:
    frames = {name: frame for name, (frame, _) in PEOPLE.items()}
    bags = {name: {"pictures": changed.get(name, bag)} for name, (_, bag) in PEOPLE.items()}
    return cf.local(frames, person="pid", bags=bags, levels=LEVELS)


def network(outcome: str, folder: Path) -> tuple[Any, str]:
    """A network of age and pictures, and the text with which it stands in a study."""
    of = cf.Network(
        outcome, features="age", bags="pictures", bag_size=3, module="mean_pool", settings={"hidden": 8}, rounds=12,
        learning_rate=1.0, holdout=0.0,
    )  # fmt: skip
    net = federation().run(of, allow=["model_weights"]).model
    file = folder / "net.json"
    file.write_text(json.dumps(net.plain()))
    file.with_suffix(".safetensors").write_bytes(net.tensors())
    return net, model_text(file)


def predicted(net: Any) -> dict[str, np.ndarray]:
    """What it predicts in each hospital, NaN without a picture."""
    return {
        name: net.prediction(net.scored(frame, bags, frame["pid"].to_numpy())) for name, (frame, bags) in PEOPLE.items()
    }


def metrics(found: Any) -> dict[str, float]:
    return {r["metric"]: r["estimate"] for r in found.tables["metrics"]}


def test_a_network_of_images_is_as_good_as_the_column_of_its_risks(tmp_path: Path) -> None:
    net, text = network("ill", tmp_path)
    risks = predicted(net)
    own = federation().run(Evaluate("ill", learnt=text, thresholds=(0.4,))).finding
    assert own.n == 3 * (400 - OF_NOBODY)
    left = {row["reason"]: row["n"] for row in own.tables["attrition"]}
    assert left["no bag of pictures"] == 3 * OF_NOBODY
    frames = {name: frame.assign(risk=risks[name]) for name, (frame, _) in PEOPLE.items()}
    column = cf.local(frames, person="pid", levels=LEVELS).run(Evaluate("ill", "risk", thresholds=(0.4,))).finding
    one, other = metrics(own), metrics(column)
    assert one["AUC"] > 0.7
    assert one["AUC"] == pytest.approx(other["AUC"], abs=2e-3)  # a study of its own budget has other cells
    whole, ill = np.concatenate(list(risks.values())), pd.concat([f for f, _ in PEOPLE.values()])["ill"].to_numpy()
    assert one["Brier score"] == pytest.approx(np.nanmean((whole - ill) ** 2), abs=2e-3)
    assert own.facts["evaluated_sha256"] == net.sha256


def test_classes_of_images(tmp_path: Path) -> None:
    net, text = network("kind", tmp_path)
    found = federation().run(Evaluate("kind", learnt=text)).finding
    chances = np.concatenate(list(predicted(net).values()))
    kind = pd.concat([f for f, _ in PEOPLE.values()])["kind"].map(LEVELS["kind"].index).to_numpy()
    known = np.isfinite(chances).all(axis=1)
    wrong = np.mean(chances[known].argmax(axis=1) != kind[known])
    assert metrics(found)["error rate"] == pytest.approx(wrong, abs=1e-12)


def test_what_a_network_cannot_read_is_named(tmp_path: Path) -> None:
    _, text = network("ill", tmp_path)
    frames = {name: frame for name, (frame, _) in PEOPLE.items()}
    with pytest.raises(StudyError, match="name their column"):
        cf.local(frames).run(Evaluate("ill", learnt=text))
    with pytest.raises(DataError, match="not bound"):
        cf.local(frames, person="pid").run(Evaluate("ill", learnt=text))
    with pytest.raises(DataError, match="have 2 numbers, and bag_size is 3"):
        federation(bb=Bags.made({"bb7": np.zeros((1, 2))}, 2)).run(Evaluate("ill", learnt=text))
    other = Bags.made({"bb7": np.zeros((1, 3))}, 3, {"encoder": "another"})
    with pytest.raises(DataError, match="is 'another', and that of the study or the model which reads them is not"):
        federation(bb=other).run(Evaluate("ill", learnt=text))
    table = Table(frames["bb"], 400, {}, {}, "test", bags={"pictures": other})
    with pytest.raises(DataError, match="is 'another', and that"):
        fitted(table, [Evaluate("ill", learnt=text)])
    stayed = json.dumps(json.loads(text) | {"personal": ["out"]})
    with pytest.raises(StudyError, match="stayed in the hospitals"):
        Evaluate("ill", learnt=stayed, ground=Ground(person="pid")).check()


def test_hospitals_with_few_people_of_images_take_part_with_nobody(tmp_path: Path) -> None:
    """A hospital whose people have a picture by fewer than k is as one with nobody; of three, none is told then."""
    _, text = network("ill", tmp_path)
    few = Bags.made({f"bb{i}": np.zeros((1, 3)) for i in range(10, 16)}, 3)
    with pytest.raises((Refused, DataError)):
        federation(bb=few, cc=Bags.made({}, 3)).run(Evaluate("ill", learnt=text))
