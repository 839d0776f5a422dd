"""Two treatments together: what is refused, coverage in simulated worlds, people who must be in all four arms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects import joint
from confrere.analyses.effects.interaction import Interaction
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.hospital.gate import Violation
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import EXACT, GATE, LOOSE, fit

STUDY = Interaction("a", "b", "y", "x")
SURV = "Surv(time, event)"
MARKED = Ground(marks=(365.0, 730.0))
FINE = Ground(fine=True, step=1.0)
FOLLOWED = replace(STUDY, outcome=SURV, times=(365.0, 730.0), tau=730.0, ground=MARKED)
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
        ({"outcome": SURV}, StudyError, "set times or tau"),
        ({"outcome": SURV, "estimator": "aipw", "times": (365.0,)}, StudyError, "have the estimator iptw"),
        ({"outcome": SURV, "estimator": "regression", "tau": 365.0}, StudyError, "leave them out"),
        ({"outcome": SURV, "times": (0.0,)}, StudyError, "positive numbers"),
        ({"times": (365.0,)}, StudyError, "leave them out"),
        ({"outcome": SURV, "times": (365.0, 365.0)}, StudyError, "name each once"),
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
    with pytest.raises(ModelError, match="nobody has both treatments"):
        fit(FOLLOWED, dealt(never), GATE)
    with pytest.raises(Violation, match="fewer than"):
        fit(FOLLOWED, dealt(few), GATE)


def test_an_arm_of_few_events_has_no_curve() -> None:
    """Enough people have both, but 7 of them an event: the cells of their times would tell these."""
    frame = world(900, 1)
    both = np.flatnonzero((frame["a"] > 0) & (frame["b"] > 0))
    spared = frame.assign(event=np.where(np.isin(np.arange(900), both[7:]), 0.0, frame["event"]))
    with pytest.raises(ModelError, match="no curve of those who have both treatments"):
        fit(FOLLOWED, dealt(spared), GATE)


@pytest.mark.parametrize("study", [STUDY, replace(STUDY, estimator="aipw"), FOLLOWED], ids=["mean", "aipw", "curves"])
def test_an_arm_that_a_few_carry_is_refused(study: Interaction) -> None:
    """One of those with both is of a kind that hardly ever has: its weight is that of hundreds."""
    frame, x = world(1800, 3), np.random.default_rng(3).normal(size=1800)
    both = (frame["a"] > 0) & (frame["b"] > 0)
    x += np.where(both, 1.5, 0.0)
    x[np.flatnonzero(both)[0]] = -5.0
    with pytest.raises(Violation, match=r"the weights of both \(set truncate\)' has an effective number"):
        fit(study, dealt(frame.assign(x=x)), GATE)
    assert fit(replace(study, truncate=(0.1, 0.9)), dealt(frame.assign(x=x)), GATE).tables["interaction"]


@pytest.mark.parametrize("study", [FOLLOWED, replace(STUDY, outcome=SURV, estimator="regression")])
def test_of_times_everybody_may_have_the_event(study: Interaction) -> None:
    """Nobody is censored: risks are the shares of an arm, weighed. Of a few who are, the study is refused."""
    frame = world(1500, 5).assign(event=1.0)
    found = fit(study, dealt(frame), GATE)
    assert found.events == 1500
    if study.times:
        arm, exact = (frame["a"] + 2 * frame["b"]), replace(study, truncate=(0.4999999, 0.5000001), ground=FINE)
        told = fit(exact, dealt(frame), EXACT).tables["risks"][:4]  # all weights the same
        shares = [(frame["time"] <= 365)[arm == j].mean() for j in range(4)]
        np.testing.assert_allclose([row["estimate"] for row in told], shares, rtol=1e-6)
    few = frame.assign(event=np.where(np.arange(1500) < 5, 0.0, 1.0))
    with pytest.raises(Violation, match="rests on fewer than 11 people on one side"):
        fit(study, dealt(few), GATE)


@pytest.mark.filterwarnings("error")
def test_a_time_by_which_nobody_of_an_arm_has_the_event() -> None:
    """Nobody has it within 200 days: of all arms, then of those without the first treatment alone."""
    frame = world(3000, 5)
    frame = frame.assign(time=frame["time"] + np.where(frame["a"] > 0, 0, 200))
    study, note = replace(FOLLOWED, times=(100.0, 730.0), tau=None), "By 100 nobody of an arm has the event"
    told = fit(study, dealt(frame), GATE)
    early = [(row["contrast"], row["measure"]) for row in told.tables["effects"] if row["time"] == 100]
    assert early == [(name, "risk difference") for name in joint.contrasts("a", "b") if name != "b alone"]
    assert [row["measure"] for row in told.tables["interaction"]][:2] == ["difference of differences"] * 2
    assert note in told.notes[-1]
    late = frame.assign(time=frame["time"] + 200)
    told = fit(study, dealt(late), GATE)
    assert {row["time"] for row in told.tables["effects"] + told.tables["interaction"]} == {730.0}
    assert {row["estimate"] for row in told.tables["risks"] if row["time"] == 100} == {0.0}
    assert note in told.notes[-1]
    with pytest.raises(ModelError, match="nobody has the event by 100: ask for later"):
        fit(replace(study, times=(100.0,)), dealt(late), GATE)


def test_nothing_is_read_off_where_nobody_is_followed() -> None:
    late = replace(FOLLOWED, times=(365.0, 9000.0))
    with pytest.raises(ModelError, match="followed until 9000"):
        fit(late, dealt(world(900, 1)), LOOSE)


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


def _risks(time: float) -> np.ndarray:
    """The risks of the four arms of `world` by a time, and their restricted means."""
    x, arm = np.array([[0.0], [1.0]]), np.arange(4)
    a, b = arm % 2, arm // 2
    rate = 0.001 * np.exp(0.4 * a + 0.3 * b + 0.3 * a * b + 0.5 * x)
    return np.array([(1 - np.exp(-rate * time)).mean(axis=0), ((1 - np.exp(-rate * time)) / rate).mean(axis=0)])


def _curves_covered(worlds: int, n: int) -> dict[tuple[str, float], int]:
    """How often limits of risks and means hold the truth, by measure and time."""
    truth = {}
    for t in FOLLOWED.times:
        r = _risks(t)[0]
        excess = r[3] - r[1] - r[2] + r[0]
        truth |= {("difference of differences", t): excess, ("RERI", t): excess / r[0],
                  ("ratio of risk ratios", t): np.log(r[3] * r[0] / r[1] / r[2])}  # fmt: skip
    m = _risks(730.0)[1]
    truth["difference of RMST differences", 730.0] = m[3] - m[1] - m[2] + m[0]
    held = dict.fromkeys(truth, 0)
    for seed in range(worlds):
        got = fit(FOLLOWED, dealt(world(n, 3000 + seed)), LOOSE)
        for row in got.tables["interaction"]:
            if (key := (row["measure"], row["time"])) in truth:
                held[key] += row["conf_low"] <= truth[key] <= row["conf_high"]
    return held


def test_limits_of_curves_hold_the_truth() -> None:
    """Of 60 worlds; fewer than 51 would be chance once in 1,000 times."""
    assert min(_curves_covered(60, 2000).values()) >= 51


@pytest.mark.slow
def test_limits_of_curves_hold_the_truth_95_times_in_100() -> None:
    """Of 1,000 worlds of 3,000 people: 93.6 to 96.4 %."""
    held = _curves_covered(1000, 3000)
    assert all(936 <= times <= 964 for times in held.values()), held


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
