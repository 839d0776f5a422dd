"""Two treatments together: what is refused, coverage in simulated worlds, people who must be in all four arms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.interaction import Interaction
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.hospital.gate import Violation
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, fit

STUDY = Interaction("a", "b", "y", "x")
SURV = "Surv(time, event)"
RISK = (0.1, 0.15, 0.2, 0.4)  # of the four arms, at x = 0


def world(n: int, seed: int) -> pd.DataFrame:
    """People whose treatments depend on x, and on each other; risks are `RISK` on average over x."""
    rng = np.random.default_rng(seed)
    x = (rng.random(n) < 0.5).astype(float)
    a = (rng.random(n) < 0.3 + 0.3 * x).astype(float)
    b = (rng.random(n) < 1 / (1 + np.exp(0.4 - 0.6 * a - 0.5 * x))).astype(float)
    risk = np.array(RISK)[(a + 2 * b).astype(int)] * np.where(x > 0, 1.4, 0.6)
    rate = 0.001 * np.exp(0.4 * a + 0.3 * b + 0.3 * a * b + 0.5 * x)
    time, end = rng.exponential(1 / rate), rng.uniform(200, 2000, n)
    return pd.DataFrame(
        {"x": x, "a": a, "b": b, "y": (rng.random(n) < risk).astype(float), "time": np.ceil(np.minimum(time, end)),
         "event": (time <= end).astype(float)}
    )  # fmt: skip


def dealt(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """People by hospital."""
    return [frame.iloc[i::3] for i in range(3)]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"second": "a"}, FormulaError, "both 'a'"),
        ({"confounders": "x + b"}, FormulaError, "leave it out there"),
        ({"confounders": "1"}, FormulaError, "give terms"),
        ({"confounders": "x + y"}, FormulaError, "outcome and a confounder"),
        ({"outcome": "a"}, FormulaError, "in outcome too"),
        ({"outcome": "Surv(entry, time, event)", "estimator": "regression"}, FormulaError, "one kind of event"),
        ({"first": "stage"}, FormulaError, "3 declared levels"),
        ({"first": "log(a)"}, FormulaError, "not a column"),
        ({"estimator": "matching"}, StudyError, "estimator is 'matching'"),
        ({"outcome": SURV}, StudyError, "set estimator"),
        ({"outcome": SURV, "estimator": "regression", "family": "poisson"}, StudyError, "no family"),
        ({"estimator": "gformula", "truncate": (0.1, 0.9)}, StudyError, "no propensity"),
        ({"truncate": (0.9, 0.1)}, StudyError, "truncate"),
        ({"outcome_model": "a * b"}, StudyError, "no outcome model"),
        ({"estimator": "aipw", "outcome_model": "a + x"}, FormulaError, "lacks the treatment 'b'"),
        ({"estimator": "regression", "outcome_model": "a + b"}, FormulaError, "write a \\* b"),
        ({"ties": "exact"}, StudyError, "ties"),
        ({"baseline": "mine"}, StudyError, "baseline"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    ground = Ground(Schema({"stage": Column("stage", ("I", "II", "III"))}))
    with pytest.raises(error, match=words):
        replace(STUDY, ground=ground, **settings).check()


def test_people_must_be_in_all_four_arms() -> None:
    """Nobody has both: an error that says so. A few have: the gate refuses."""
    frame = world(900, 1)
    never = frame.assign(b=np.where(frame["a"] > 0, 0.0, frame["b"]))
    with pytest.raises(ModelError, match="nobody has both treatments"):
        fit(STUDY, dealt(never), GATE)
    few = never.assign(b=np.where(np.arange(900) < 12, 1.0, never["b"]))
    with pytest.raises(Violation, match="fewer than"):
        fit(STUDY, dealt(few), GATE)


def test_an_arm_needs_events_and_outcomes_differ() -> None:
    frame = world(900, 2)
    none = frame.assign(y=np.where((frame["a"] > 0) & (frame["b"] > 0), 0.0, frame["y"]))
    with pytest.raises(ModelError, match="who has both treatments has the outcome"):
        fit(STUDY, dealt(none), LOOSE)
    with pytest.raises(ModelError, match="same for everybody"):
        fit(STUDY, dealt(frame.assign(y=2.0)), LOOSE)


def test_declared_levels_are_treatments_too() -> None:
    """Of two levels the second is treated: the same as 0 and 1."""
    frame = world(1200, 3)
    schema = Schema({"b": Column("b", ("no", "yes"))})
    named = frame.assign(b=pd.Categorical.from_codes(frame["b"].astype(int), ["no", "yes"]))
    for estimator in ("aipw", "regression"):
        study = replace(STUDY, estimator=estimator)
        one = fit(study, dealt(frame), GATE)
        other = fit(replace(study, ground=Ground(schema)), dealt(named), GATE)
        np.testing.assert_allclose(
            other.summary("interaction")["estimate"], one.summary("interaction")["estimate"], rtol=1e-9
        )


def test_a_preventive_arm_is_pointed_out() -> None:
    frame = world(1200, 4)
    got = fit(replace(STUDY, estimator="regression"), dealt(frame.assign(y=1 - frame["y"])), GATE)
    assert any("neither treatment: RERI" in note for note in got.notes)
    assert not any(row["measure"] == "synergy index" for row in got.tables["interaction"])


def _covered(estimator: str, worlds: int, n: int) -> dict[str, int]:
    """How often limits hold the truth."""
    r = RISK
    excess = r[3] - r[1] - r[2] + r[0]
    truth = {"difference of differences": excess, "RERI": excess / r[0], "attributable proportion": excess / r[3],
             "synergy index": np.log((r[3] - r[0]) / (r[1] + r[2] - 2 * r[0])),
             "ratio of risk ratios": np.log(r[3] * r[0] / r[1] / r[2])}  # fmt: skip
    held = dict.fromkeys(truth, 0)
    for seed in range(worlds):
        got = fit(replace(STUDY, estimator=estimator), dealt(world(n, 1000 + seed)), LOOSE)
        for row in got.tables["interaction"]:
            if row["measure"] in truth:
                held[row["measure"]] += row["conf_low"] <= truth[row["measure"]] <= row["conf_high"]
    return held


@pytest.mark.parametrize("estimator", ["iptw", "aipw"])
def test_limits_hold_the_truth(estimator: str) -> None:
    """Of 60 worlds; fewer than 51 would be chance once in 1,000 times."""
    assert min(_covered(estimator, 60, 2000).values()) >= 51


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["iptw", "aipw"])
def test_limits_hold_the_truth_95_times_in_100(estimator: str) -> None:
    """Of 1,000 worlds of 3,000 people: 93.6 to 96.4 %."""
    held = _covered(estimator, 1000, 3000)
    assert all(936 <= times <= 964 for times in held.values()), held


def test_hazards_of_a_planted_interaction() -> None:
    """Cox's product is near 0.3, and RERI near that of the planted hazards."""
    got = fit(replace(STUDY, outcome=SURV, estimator="regression"), dealt(world(6000, 5)), GATE)
    rows = {row["measure"]: row for row in got.tables["interaction"]}
    truth = {"ratio of hazard ratios": 0.3, "RERI": np.exp(1.0) - np.exp(0.4) - np.exp(0.3) + 1}
    for measure, value in truth.items():
        assert abs(rows[measure]["estimate"] - value) < 3 * rows[measure]["std_error"]
    assert [row["arm"] for row in got.tables["arms"]] == ["neither", "a alone", "b alone", "both"]
    assert got.events == sum(row["events"] for row in got.tables["arms"])
