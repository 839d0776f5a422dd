"""Calibration of a model of classes: what R says of the same scores of real people, with and without the gate."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from scipy import special

from confrere.analyses.finding import Finding
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_classes import logistic
from confrere.analyses.learning.released import opened
from confrere.hospital.gate import Policy
from confrere.study.learnt import TENSORS
from confrere.testing import Ground
from federate import BREAST, GATE, LOOSE, breast, by, fit, oracle

pytest.importorskip("torch")
R = oracle("temperature")
LEVELS = ("<=20", "20-50", ">50")


@lru_cache
def model() -> str:
    """The scores of `make_temperature.R` as a network of one layer, as it stands in a study."""
    import base64

    from confrere.analyses.networks.catalogue import Sizes
    from confrere.analyses.networks.model import Net

    weights = 1.8 * np.array([-0.12, -0.15, -0.02, 0.0, 0.06, 0.3, 0.9, 0.6, -1.6])
    flat = (0.0,) * 3, (1.0,) * 3
    net = Net("multiclass", "size", LEVELS, "~ nodes + grade", "linear", {}, Sizes(2, 0, 3), *flat, (), (), "", weights,
              Ground(BREAST))  # fmt: skip
    return json.dumps(net.plain() | {TENSORS: base64.b64encode(net.tensors()).decode()}, sort_keys=True)


@lru_cache
def found(policy: Policy) -> Finding:
    return fit(Evaluate("size", learnt=model(), ground=Ground(BREAST)), by(breast(), "hospital"), policy)


def frame() -> pd.DataFrame:
    return breast().dropna(subset=["size", "nodes", "grade"])


def test_the_regression_is_that_of_r_on_the_gaps_themselves() -> None:
    net, people = opened(model()), frame()
    score = net.score(net.features(people))  # type: ignore[union-attr, call-arg]
    own = np.array([LEVELS.index(s) for s in people["size"]])
    two = np.argsort(-score, axis=1, kind="stable")[:, :2]
    either = (two == own[:, None]).any(axis=1)
    gap = score[np.arange(len(own)), two[:, 0]] - score[np.arange(len(own)), two[:, 1]]
    x = np.column_stack([*((two[:, 0] == k).astype(float) - (two[:, 1] == k) for k in (1, 2)), gap])[either]
    first = (two[:, 0] == own)[either].astype(float)
    line = logistic(x, first, 1 - first)
    assert line is not None
    np.testing.assert_allclose(line[0], R["paired"], rtol=1e-9)
    np.testing.assert_allclose(line[1], R["paired_se"], rtol=1e-7)


@pytest.mark.parametrize("policy", [LOOSE, GATE], ids=["loose", "gate"])
def test_counts_are_exact_and_cells_cost_less_than_an_error(policy: Policy) -> None:
    """The scores have few values: without the gate each gap is nearly alone in a cell of the ladder."""
    made = found(policy)
    metrics = {r["metric"]: r for r in made.tables["metrics"]}
    assert made.n == R["n"]
    assert metrics["error rate"]["estimate"] == pytest.approx(R["wrong"] / R["n"], rel=1e-12)
    limits = [metrics["error rate"][f"conf_{side}"] for side in ("low", "high")]
    np.testing.assert_allclose(limits, R["wrong_limits"], rtol=1e-10)
    assert metrics["error rate of the two likeliest"]["estimate"] == pytest.approx(R["neither"] / R["n"], rel=1e-12)
    line = [*(r["estimate"] for r in made.tables["intercepts"]), metrics["calibration slope"]["estimate"]]
    assert [r["class"] for r in made.tables["intercepts"]] == ["20-50", ">50"]
    apart = np.abs(np.array(line) - R["paired"]) / np.array(R["paired_se"])
    assert apart.max() < (0.5 if policy is LOOSE else 1.0)
    assert metrics["temperature"]["estimate"] == pytest.approx(1 / metrics["calibration slope"]["estimate"], rel=1e-12)


@pytest.mark.parametrize("policy", [LOOSE, GATE], ids=["loose", "gate"])
def test_the_loss_falls_by_four_fifths_of_what_it_can(policy: Policy) -> None:
    """The scores have other faults too, of which the likelihood of all people makes the best and pairs do not."""
    made = found(policy)
    slope = next(r["estimate"] for r in made.tables["metrics"] if r["metric"] == "calibration slope")
    line = [*(r["estimate"] for r in made.tables["intercepts"]), slope]
    before, after, least = loss([0.0, 0.0, 1.0]), loss(line), loss(R["whole"])
    assert before - least > 0.03
    assert after - least < 0.2 * (before - least)


def loss(line: list[float]) -> float:
    """Minus the mean log likelihood of everybody, with the scores moved by two intercepts and a slope."""
    net, people = opened(model()), frame()
    moved = np.array([0.0, *line[:2]]) + line[2] * net.score(net.features(people))  # type: ignore[union-attr, call-arg]
    own = np.array([LEVELS.index(s) for s in people["size"]])
    return float(-np.mean(special.log_softmax(moved, axis=1)[np.arange(len(own)), own]))
