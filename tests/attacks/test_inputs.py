"""Counts of the inputs of a score beside counts of its risk: two ways to divide the same people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Finding
from confrere.analyses.learning.evaluate import Evaluate
from confrere.errors import StudyError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import GATE, fit

N, FEW = 1500, 3
CUT = 60.0
GROUND = Ground(Schema({"period": Column("period", ("before", "after"))}))
POINT = f"I((age >= {CUT}) * (seen > 0))"  # a point of the score for the old, but for who was not seen
FITTED = {"Intercept": -1.0, POINT: 2.0}


def people(few: int) -> pd.DataFrame:
    """A score's own people: `few` of the old were not seen."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"age": rng.integers(30, 90, N).astype(float), "seen": 1.0})
    frame["period"] = pd.Categorical(np.where(np.arange(N) % 2, "before", "after"), ["before", "after"])
    old = np.flatnonzero(frame["age"] >= CUT)
    frame.loc[old[:few], "seen"] = 0.0
    frame["weight"] = frame["age"]
    frame.loc[np.flatnonzero(frame["age"] < 50)[:few], "weight"] = 55.0  # all but the age
    frame["ill"] = (rng.random(N) < np.where((frame["age"] >= CUT) & (frame["seen"] > 0), 0.7, 0.3)).astype(float)
    return frame


def drift(frame: pd.DataFrame, inputs: dict[str, Any]) -> Finding:
    score = Evaluate("ill", model=POINT, coefficients=FITTED, over="period", inputs=inputs, ground=GROUND)
    return fit(score, [frame[i::3].reset_index(drop=True) for i in range(3)], GATE)


def told(found: Finding) -> set[str]:
    return {r["what"] for r in found.tables["drift"] if r["measure"] == "population stability index"}


def test_control_the_few_are_the_difference_of_two_counts() -> None:
    frame = people(FEW)
    point = (frame["age"] >= CUT) & (frame["seen"] > 0)
    assert int((frame["age"] >= CUT).sum() - point.sum()) == FEW


def test_an_input_whose_cell_is_all_but_a_cell_of_risk_is_not_told() -> None:
    found = drift(people(FEW), {"age": (CUT,)})
    assert told(found) == {"risk"}
    assert ["age" in c.text for c in found.warnings if c.code == "inputs-not-told"] == [True]


@pytest.mark.parametrize(("few", "cut"), [(200, CUT), (0, CUT), (FEW, 50.0)])
def test_one_by_which_enough_people_or_nobody_differ_is_told(few: int, cut: float) -> None:
    assert told(drift(people(few), {"age": (cut,)})) == {"risk", "age"}


def test_of_two_inputs_that_few_people_tell_apart_the_first_is_told() -> None:
    frame = people(FEW).assign(risk=np.random.default_rng(6).uniform(0.1, 0.9, N))
    for cut, wanted in ((50.0, {"risk", "age"}), (70.0, {"risk", "age", "weight"})):
        score = Evaluate("ill", "risk", over="period", inputs={"age": (50.0,), "weight": (cut,)}, ground=GROUND)
        assert told(fit(score, [frame[i::3].reset_index(drop=True) for i in range(3)], GATE)) == wanted


@pytest.mark.parametrize(("few", "wanted"), [(FEW, {"risk", "age"}), (0, {"risk", "age", "weight"}), (200, None)])
def test_a_column_of_risks_that_is_all_but_the_sum_of_two_inputs(few: int, wanted: set[str] | None) -> None:
    """People at 0.5 or above, and at 0.7, less those of 60 years and of 70 kg: the few. No two of the three are."""
    rng = np.random.default_rng(8)
    frame = people(0).assign(weight=rng.integers(40, 100, N).astype(float))
    points = (frame["age"] >= CUT).astype(int) + (frame["weight"] >= 70.0)
    points[np.flatnonzero(points == 1)[:few]] = 2
    frame["risk"] = np.array([0.3, 0.5, 0.7])[points]
    score = Evaluate("ill", "risk", over="period", inputs={"age": (CUT,), "weight": (70.0,)}, ground=GROUND)
    found = told(fit(score, [frame[i::3].reset_index(drop=True) for i in range(3)], GATE))
    assert found == (wanted or {"risk", "age", "weight"})


def test_a_model_that_is_the_sum_of_two_inputs_has_one_beside_it() -> None:
    """A point for the old and a point for the heavy, but for three people: counts of all three tell them."""
    score = Evaluate("ill", model=POINT, coefficients=FITTED, over="period", inputs={"age": (50.0,), "weight": (70.0,)},
                     ground=GROUND)  # fmt: skip
    with pytest.raises(StudyError, match="one input stands beside a published model"):
        score.check()


def test_the_same_of_people_who_are_followed() -> None:
    rng = np.random.default_rng(5)
    frame = people(FEW).assign(time=rng.exponential(900.0, N).round() + 1)
    cox: dict[str, Any] = {"link": "cox", "times": 365.0, "baseline": 0.7}
    fitted = {POINT: 1.0}
    for cut, wanted in ((CUT, {"risk"}), (50.0, {"risk", "age"})):
        score = Evaluate("Surv(time, ill)", model=POINT, coefficients=fitted, over="period", inputs={"age": (cut,)},
                         ground=GROUND, **cox)  # fmt: skip
        assert told(fit(score, [frame[i::3].reset_index(drop=True) for i in range(3)], GATE)) == wanted
