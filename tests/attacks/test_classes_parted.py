"""A learned model of classes by which people are counted: whoever writes it may give anybody any probabilities."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_classes import pairs
from confrere.analyses.learning.forest import Forest, Tree
from confrere.hospital.gate import Policy, Violation
from confrere.rounds import drive
from confrere.study.schema import Column, Schema
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import fit, flow_of, in_the_clear

CLASSES = ("c0", "c1", "c2", "c3", "c4")
GROUND = Ground(Schema(dict(SCHEMA.columns) | {"fate": Column("fate", CLASSES)}))
PAIRS = pairs(len(CLASSES))
VALUES = range(101, 114)  # of x1, that nobody else has
MARKED = {value: PAIRS[i + 3] for i, value in enumerate(VALUES)}


def stump(cut: float, value: float) -> Tree:
    """A tree that adds a value above a cut of x1."""
    leaves = np.array([0, 0, value], dtype=float)
    return Tree(np.array([0, -1, -1]), np.array([cut, 0.0, 0.0]), np.zeros(3, int), leaves, np.zeros(3), np.ones(3))


def hostile() -> str:
    """A model by which whoever has a marked value has a pair of likeliest classes of their own."""
    trees = []
    for value, (first, second) in MARKED.items():
        for sign in (1, -1):
            score = np.zeros(len(CLASSES))
            score[first], score[second] = 10 * sign, 5 * sign
            trees += [stump(value - sign / 2, each) for each in score]
    model = Forest("multiclass", ("x1", "x2"), (1.0, 0.5, -3.0, -3.0, -3.0), tuple(trees))
    return json.dumps(model.plain(), sort_keys=True)


def people(values: list[int]) -> pd.DataFrame:
    """People, of whom one has each of some marked values, and the first class of its pair."""
    frame, rng = patients(1500, 5), np.random.default_rng(2)
    frame = frame.assign(pid=[f"p{i}" for i in range(1500)], fate=np.array(CLASSES)[rng.integers(0, 5, 1500)])
    for i, value in zip(rng.choice(1500, len(values), replace=False), values, strict=True):
        frame.loc[i, "x1"], frame.loc[i, "fate"] = float(value), CLASSES[MARKED[value][0]]
    return frame


def hidden(frame: pd.DataFrame) -> set[int]:
    """Marked values of whose pair the verdict tells nothing."""
    evaluate = Evaluate("fate", learnt=hostile(), ground=GROUND)
    answer, got = in_the_clear([frame[i::3] for i in range(3)], Policy()), list[Any]()

    def heard(asks: Any) -> Any:
        answers = answer(asks)
        got.extend(zip(asks, answers, strict=True))
        return answers

    drive(flow_of(evaluate), heard)
    grid = next(a for asked, a in got if asked.kind == "support" and asked.step == "pairs").grids["pairs"]
    return {value for value, pair in MARKED.items() if grid[0, PAIRS.index(pair)] < 0}


def test_a_pair_of_one_person_looks_as_one_of_nobody() -> None:
    """Else so many pairs that are not told, and as many people in them together, would be one person each."""
    some = list(VALUES)[1:12]
    assert hidden(people(some)) == set(VALUES)


def test_a_class_of_one_hospital_is_refused() -> None:
    parts = [people([])[i::3] for i in range(3)]
    for part in parts[1:]:
        part["fate"] = part["fate"].replace("c4", "c0")
    with pytest.raises(Violation, match=r"class c4.* in 1 hospital only"):
        fit(Evaluate("fate", learnt=hostile(), ground=GROUND), parts, Policy())
