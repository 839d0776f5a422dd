"""The line of risks by a horizon: derivatives, what it mends, levels that determine none, causes, a learned model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.glm import Glm
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_line import derivatives, frame_of, means
from confrere.analyses.outcomes import Cases
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import BREAST, GATE, LOOSE, breast, by, fit

GROUND = Ground(SCHEMA)


def slopes(found: Any) -> dict[str, float]:
    return {r["level"]: r["estimate"] for r in found.tables["metrics"] if r["metric"] == "calibration slope"}


def test_derivatives_are_those_of_the_likelihood() -> None:
    rng = np.random.default_rng(4)
    n = 60
    cases = Cases(rng.normal(size=(n, 1)), rng.integers(0, 2, n).astype(float), 1 + rng.random(n), np.zeros(n))
    frame = frame_of(cases.x[:, 0], cases.w * cases.y, cases.w * (1 - cases.y))
    at, step = np.array([0.2, -0.4]), 1e-5

    def value(beta: np.ndarray) -> Any:
        got = derivatives(cases, tuple(beta), frame, "observed")
        assert got is not None
        return got

    here = value(at)
    for i, move in enumerate(step * np.eye(2)):
        up, down = value(at + move), value(at - move)
        assert here.score[i] == pytest.approx((up.loglik - down.loglik) / (2 * step), rel=1e-7)
        np.testing.assert_allclose(here.information[i], (down.score - up.score) / (2 * step), rtol=1e-7)
    assert derivatives(cases, (900.0, 0.0), frame) is None


def test_a_merged_cell_has_the_mean_of_its_weights() -> None:
    merge = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [-1, -1, -1, -1]])
    got = means(merge, 2, (1.0, 2.0, 4.0))
    assert got.tolist() == pytest.approx([1.5, 4.0, 7 / 3, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("policy", [LOOSE, GATE])
def test_a_recalibrated_risk_has_slope_1_and_intercept_0(policy: Any) -> None:
    frame = breast().assign(risk=lambda d: 1 - 0.8 ** np.exp(0.15 * np.minimum(d["nodes"], 15)))
    of = Evaluate("Surv(rtime, recur)", "risk", times=1826.0, ground=Ground(BREAST))
    facts = fit(of, by(frame, "hospital"), policy).facts
    score = np.log(-np.log1p(-frame["risk"]))
    moved = facts["recalibration_intercept"] + facts["recalibration_slope"] * score
    again = fit(of, by(frame.assign(risk=-np.expm1(-np.exp(moved))), "hospital"), policy)
    assert again.facts["recalibration_intercept"] == pytest.approx(0, abs=5e-3)
    assert again.facts["recalibration_slope"] == pytest.approx(1, abs=5e-3)
    told = {r["metric"]: r["estimate"] for r in again.tables["metrics"]}
    assert told["observed/expected"] == pytest.approx(1, abs=0.02)


def test_a_level_that_determines_no_slope_is_told_without_it() -> None:
    """In one arm the risks part who has the event by the horizon from who has not."""
    frame = patients(900, 3)
    score = frame["x1"].clip(-2, 2)
    ill = ((frame["event"] == 1) & (frame["time"] <= 730)).to_numpy()
    apart = np.where(ill, 0.9, 0.05) + 0.01 * score
    frame = frame.assign(risk=np.where(frame["arm"] == "a", apart, 1 / (1 + np.exp(1 - score))))
    of = Evaluate("Surv(time, event)", "risk", times=730.0, by="arm", ground=GROUND)
    censored = (frame["event"] == 0) & (frame["time"] <= 730) & (frame["arm"] == "a")
    found = fit(of, [f for f in (frame[~censored][i::3] for i in range(3))], LOOSE)
    assert {"", "b"} <= set(slopes(found))
    assert "a" not in slopes(found)
    assert {r["level"] for r in found.tables["metrics"]} >= {"", "a", "b"}


def test_of_people_all_followed_it_is_the_regression_without_weights() -> None:
    """Nobody is censored before the horizon: all weigh 1, and errors are those of a robust `glm`."""
    frame = breast().query("rtime > 1461 or recur == 1").assign(risk=lambda d: 1 - 0.8 ** np.exp(0.1 * d["nodes"]))
    of = Evaluate("Surv(rtime, recur)", "risk", times=1461.0, ground=Ground(BREAST))
    found = fit(of, by(frame, "hospital"), GATE)
    plain = pd.DataFrame({"ill": ((frame["rtime"] <= 1461) & (frame["recur"] == 1)).astype(float),
                          "s": np.log(-np.log1p(-frame["risk"])), "hospital": frame["hospital"]})  # fmt: skip
    line = fit(Glm("ill ~ s", "binomial", "cloglog", robust=True), by(plain, "hospital"), GATE).tables["coefficients"]
    assert found.facts["recalibration_intercept"] == pytest.approx(line[0]["estimate"], abs=1e-9)
    assert slopes(found)[""] == pytest.approx(line[1]["estimate"], abs=1e-9)
    (told,) = (r for r in found.tables["metrics"] if r["metric"] == "calibration slope")
    assert told["std_error"] == pytest.approx(line[1]["robust_se"], rel=1e-8)


@pytest.mark.parametrize(("people", "level", "told"), [(400, "", True), (400, "size", False), (1200, "size", True)])
def test_without_room_in_the_budget_there_is_no_slope_and_no_refusal(people: int, level: str, told: bool) -> None:
    frame = breast().sample(people, random_state=1)
    of = cf.Evaluate("Surv(rtime, recur)", model="nodes", coefficients={"nodes": 0.1}, link="cox", baseline=0.75,
                     times=1826.0, by=level, ground=Ground(BREAST))  # fmt: skip
    found = cf.local({str(i): frame[i::3] for i in range(3)}).run(of).finding
    assert ("recalibration_slope" in found.facts) is told
    assert ("" in slopes(found)) is told
