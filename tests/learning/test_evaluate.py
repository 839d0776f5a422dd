"""Evaluation of risks: influence of people by numerical derivatives, recalibration, settings that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_censored import (
    Leaving,
    Powers,
    auc_added,
    brier_added,
    concordance_added,
    integrated,
)
from confrere.data.table import Table
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.hospital.gate import Violation, judge_clear
from confrere.rounds import clear, drive
from confrere.study import build
from confrere.study.cuts import apart
from confrere.study.file import parse
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import GATE, LOOSE, fit

GROUND = Ground(SCHEMA)
BINS, CELLS = 4, 6
KINDS = ("event", "other", "censored")


def people(exact: bool) -> Leaving:
    """Some people by cell of risk and time, the last cell of time being who is followed on."""
    rng = np.random.default_rng(1)
    event, other, censored = rng.integers(1, 7, (3, BINS, CELLS)).astype(float)
    event[:, -1] = other[:, -1] = 0
    return Leaving(np.arange(1.0, CELLS + 1), event, other, censored, exact)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "added",
    [
        lambda p: auc_added(p, 4.0),
        lambda p: concordance_added(p, weighted=True),
        lambda p: concordance_added(p, weighted=False),
    ],
    ids=["AUC", "Uno", "Harrell"],
)
def test_influence_is_the_derivative_by_people(exact: bool, added: Callable[[Leaving], Any]) -> None:
    given, step = people(exact), 1e-5
    _, influence = added(given)
    for kind, mine in zip(KINDS, influence, strict=True):
        for at in np.ndindex(BINS, CELLS if kind == "censored" else CELLS - 1):
            change = np.zeros((BINS, CELLS))
            change[at] = step
            up, down = (added(replace(given, **{kind: getattr(given, kind) + c}))[0] for c in (change, -change))
            assert mine[at] == pytest.approx((up - down) / (2 * step), abs=1e-9)


@pytest.mark.parametrize("exact", [True, False])
def test_influence_on_the_brier_score_is_the_derivative_by_people(exact: bool) -> None:
    given, step = people(exact), 1e-5
    risks = np.linspace(0.1, 0.7, BINS)
    powers = np.stack([risks**i for i in range(1, 5)], axis=1)

    def score(p: Leaving) -> tuple[float, tuple[float, float, float]]:
        return brier_added(p, Powers(*(getattr(p, kind).T @ powers for kind in KINDS)), 4.0)

    _, squares = score(given)
    for kind, mine in zip(KINDS, squares, strict=True):
        total = 0.0
        for at in np.ndindex(BINS, CELLS if kind == "censored" else CELLS - 1):
            change = np.zeros((BINS, CELLS))
            change[at] = step
            up, down = (score(replace(given, **{kind: getattr(given, kind) + c}))[0] for c in (change, -change))
            total += getattr(given, kind)[at] * ((up - down) / (2 * step)) ** 2
        assert mine == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_influence_on_the_integrated_brier_score_is_the_derivative_by_people(exact: bool) -> None:
    given, step = people(exact), 1e-5
    times = np.array([2.0, 3.0, 5.0])
    risks = np.outer([0.5, 0.7, 1.0], np.linspace(0.1, 0.7, BINS))
    found, total = integrated(given, risks, times), 0.0
    for kind in KINDS:
        for at in np.ndindex(BINS, CELLS if kind == "censored" else CELLS - 1):
            change = np.zeros((BINS, CELLS))
            change[at] = step
            up, down = (
                integrated(replace(given, **{kind: getattr(given, kind) + c}), risks, times).estimate
                for c in (change, -change)
            )
            total += getattr(given, kind)[at] * ((up - down) / (2 * step)) ** 2
    assert found.std_error == pytest.approx(np.sqrt(total), rel=1e-6)


def test_a_recalibrated_risk_is_calibrated() -> None:
    frame = patients(900, 3)
    frame = frame.assign(risk=1 / (1 + np.exp(1 - frame["x1"])))
    found = fit(Evaluate("ill", "risk", ground=GROUND), [frame[i::3] for i in range(3)])
    a, b = found.facts["recalibration_intercept"], found.facts["recalibration_slope"]
    again = frame.assign(risk=1 / (1 + np.exp(-(a + b * np.log(frame["risk"] / (1 - frame["risk"]))))))
    recalibrated = fit(Evaluate("ill", "risk", ground=GROUND), [again[i::3] for i in range(3)])
    after = {r["metric"]: r["estimate"] for r in recalibrated.tables["metrics"]}
    assert after["calibration slope"] == pytest.approx(1, abs=1e-8)
    assert after["calibration in the large"] == pytest.approx(0, abs=1e-8)
    assert after["observed/expected"] == pytest.approx(1, abs=1e-8)


def test_everybody_is_the_sum_of_subgroups_and_rare_levels_are_not_told() -> None:
    frame = patients(900, 3)
    frame = frame.assign(risk=1 / (1 + np.exp(-frame["x1"])))
    frame.loc[frame.index[:880], "stage"] = np.where(frame["arm"][:880] == "a", "I", "II")
    found = fit(Evaluate("ill", "risk", by="stage", ground=GROUND), [frame[i::3] for i in range(3)], GATE)
    sizes = {r["level"]: r["n"] for r in found.tables["subgroups"]}
    assert sizes[""] == 900
    assert "III" not in sizes
    assert 900 - sum(n for level, n in sizes.items() if level) >= 11


COX = {"model": "x1", "link": "cox", "coefficients": {"x1": 0.3}, "times": 365.0, "baseline": 0.8}


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({}, StudyError, "give risk"),
        ({"risk": "x1", "model": "x1"}, StudyError, "give risk"),
        ({"model": "x1", "coefficients": {"x1": 1.0}}, StudyError, "'Intercept' is missing"),
        ({"model": "x1", "coefficients": {"Intercept": 0, "x": 1.0}}, StudyError, "'x' is no term"),
        ({"risk": "x1", "times": 1.0}, StudyError, "leave it out"),
        ({"risk": "x1", "cause": "death"}, StudyError, "cause"),
        ({"risk": "x1", "thresholds": (1.5,)}, StudyError, "above 0 and below 1"),
        ({"risk": "x1", "bins": 1}, StudyError, "bins"),
        ({"risk": "ill"}, FormulaError, "is the outcome"),
        ({"outcome": "fate", "risk": "x1"}, FormulaError, "has 3 levels"),
        ({"outcome": "Surv(time, event)", "risk": "x1"}, StudyError, "times is missing"),
        ({"outcome": "Surv(entry, time, event)", "risk": "x1", "times": 9.0}, FormulaError, "entry"),
        ({"outcome": "Surv(time, fate)", "risk": "x1", "times": 9.0}, StudyError, "no cause is named"),
        ({"outcome": "Surv(time, event)", **COX, "baseline": None}, StudyError, "a baseline"),
        ({"outcome": "Surv(time, event)", **COX, "baseline": 1.8}, StudyError, "above 0 and below 1"),
        ({"outcome": "Surv(time, event)", "risk": "x1", "times": (365.0, 730.0)}, StudyError, "give one horizon"),
        ({"outcome": "Surv(time, event)", "risk": "x1", "times": -1.0}, StudyError, "positive"),
        ({"risk": "x1", "grid": [1.0]}, StudyError, "of a model of hazards"),
        ({"outcome": "Surv(time, event)", **COX, "grid": [90.0]}, StudyError, "as many numbers"),
        ({"outcome": "Surv(time, event)", **COX, "grid": [400.0], "survival": [0.9]}, StudyError, "times go up"),
        ({"outcome": "Surv(time, event)", **COX, "grid": [90.0], "survival": [0.7]}, StudyError, "survival falls"),
        ({"risk": "x1 + x2"}, StudyError, "name one column"),
        ({"risk": "x1", "by": "arm", "over": "stage"}, StudyError, "cannot both"),
        ({"risk": "x1", "over": "x2"}, StudyError, "the periods have an order"),
        ({"risk": "x1", "inputs": {"x2": [1.0]}}, StudyError, "name their column"),
        ({"risk": "x1", "over": "stage", "inputs": {"x2": []}}, StudyError, "needs cuts"),
        ({"risk": "x1", "over": "stage", "inputs": {"x2": [2.0, 1.0]}}, StudyError, "needs cuts"),
        ({"risk": "x1", "over": "stage", "inputs": {"arm": [1.0]}}, StudyError, "needs cuts"),
        ({"risk": "x1", "over": "stage", "inputs": {"stage": []}}, StudyError, "periods itself"),
        ({"risk": "x1", "over": "stage", "inputs": {"ill": [0.5]}}, FormulaError, "is the outcome"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Evaluate(**({"outcome": "ill", "ground": GROUND} | settings)).check()


def test_a_score_that_is_no_probability_is_named() -> None:
    frame = patients(300, 1)
    with pytest.raises(DataError, match=r"\d+ of \d+ people have a risk outside 0 to 1"):
        fit(Evaluate("ill", "x2", ground=GROUND), [frame[i::3] for i in range(3)], LOOSE)


def test_everybody_with_one_outcome_is_named() -> None:
    frame = patients(300, 1).assign(ill=1.0, risk=0.5)
    with pytest.raises(ModelError, match="everybody has the outcome"):
        fit(Evaluate("ill", "risk", ground=GROUND), [frame[i::3] for i in range(3)], LOOSE)


# Beside other analyses ----------------------------------------------------------------------------------------

HEAD = '[study]\nid = "s"\npurpose = "care"\n[data]\ntable = "t"\n'
SCORE = 'method = "evaluate"\noutcome = "ill"\nrisk = "risk"\nthresholds = [{}]\n'


def together(*analyses: str) -> list[Any]:
    """The analyses of one study."""
    parts = (f'[[analysis]]\nname = "a{i}"\n{text}' for i, text in enumerate(analyses))
    return build.analyses(parse(HEAD + "".join(parts)))


@pytest.mark.parametrize("threshold", [0.5, 0.502])
def test_a_study_has_one_evaluation_of_the_same_people(threshold: float) -> None:
    with pytest.raises(StudyError, match="a0 and a1: a study has one evaluation"):
        together(SCORE.format(0.5), SCORE.format(threshold))
    with pytest.raises(StudyError, match="hospitals that overlap"):
        together(SCORE.format(0.5), SCORE.format(0.5) + 'group = ["a", "b", "c"]\n')
    elsewhere = [SCORE.format(0.5) + f"group = {list(g)}\n".replace("'", '"') for g in ("abc", "def")]
    assert len(together(*elsewhere)) == 2


def scores() -> pd.DataFrame:
    """People of whom two have a risk from 0.5 to 0.502, and two leave between the days 700 and 701."""
    risk = np.array([*np.linspace(0.1, 0.49, 400), 0.5005, 0.501, *np.linspace(0.51, 0.9, 400)])
    time = np.roll([*np.linspace(10, 690, 400), 700.4, 700.6, *np.linspace(710, 1500, 400)], 200)
    ill = np.tile([0.0, 1.0], 401)
    return pd.DataFrame({"risk": risk, "x": special.logit(risk), "ill": ill, "time": np.ceil(time * 10) / 10})


def settle(analyses: list[Any]) -> None:
    """Hold the cuts of some analyses against each other at three hospitals."""
    tables = [Table(scores()[i::3], 300, {}, {}, "drawn") for i in range(3)]
    drive(apart(analyses), clear(tables, lambda designs: judge_clear(designs, GATE)))


MODEL = 'method = "evaluate"\noutcome = "ill"\nmodel = "x"\nthresholds = [0.5]\n'
MODEL += "coefficients = {Intercept = 0, x = 1}\n"
FOLLOWED = 'method = "evaluate"\noutcome = "Surv(time, ill)"\nrisk = "risk"\ntimes = 700\n'


@pytest.mark.parametrize(
    ("evaluation", "near", "same"),
    [
        (SCORE.format(0.5), "risk >= 0.502", "risk >= 0.5"),
        (MODEL, "risk >= 0.502", "risk >= 0.5"),
        (FOLLOWED, "time > 701", "time > 700"),
    ],
)
def test_comparisons_of_other_analyses_tell_nobody_apart(evaluation: str, near: str, same: str) -> None:
    line = 'method = "linear"\nformula = "ill ~ I({})"\n'
    settle(together(evaluation, line.format(same)))
    with pytest.raises(Violation, match="comparisons or criteria of several analyses"):
        settle(together(evaluation, line.format(near)))


def test_a_hospital_holds_thresholds_against_other_studies() -> None:
    """The words name the columns and all that makes the risk; who has no risk is not among them."""
    one = Evaluate("ill", model="x", coefficients={"Intercept": 0.0, "x": 1.0}, thresholds=(0.5, 0.2))
    other = replace(one, coefficients={"Intercept": 0.0, "x": 1.001})
    assert "risk of x [" in one.selecting[0]
    assert not {*one.selecting} & {*other.selecting}
    assert replace(one, coefficients={"x": 1, "Intercept": 0}).selecting == one.selecting
    frame = scores().assign(x=lambda f: f["x"].where(f.index >= 3))
    people = [int(who.sum()) for _, _, who in one.selected(frame)]
    risk = scores()["risk"][3:]
    assert people == [(risk >= t - 1e-12).sum() for t in (0.2, 0.5, 0.5)]
    assert not [*replace(one, thresholds=()).selected(frame)]
