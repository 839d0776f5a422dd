"""Sequential trials where causes compete and people are lost: R, closed forms, the case by hand, a truth."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import SEQUENTIAL
from starters import drawn, visited

from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.analyses.effects.walked import Way, walked
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, ModelError
from confrere.hospital.gate import Policy, Violation
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "sequential_lost.json").read_text())
FATES = ("alive", "first", "second")
FATE = Schema({"fate": Column("fate", levels=FATES)})


def people(of: dict[str, Any]) -> pd.DataFrame:
    """R's people, of two causes."""
    frame = pd.DataFrame({name: np.array(v, dtype=float) for name, v in of["people"].items()})
    return frame.assign(fate=pd.Categorical.from_codes(frame["cause"].astype(int), FATES))


def found(frame: pd.DataFrame, outcome: str, policy: Policy = LOOSE, **settings: Any) -> Finding:
    """The finding of three hospitals."""
    given = {"periods": (90.0, 180.0), "confounders": "x + z", "times": (360.0,), "ground": Ground(FATE, step=60.0)}
    study = SequentialTrials(outcome, "start", **given | settings)
    study.check()
    return fit(study, [frame.iloc[i::3] for i in range(3)], policy)


def read(finding: Finding) -> np.ndarray:
    """Risks by cause, time and arm, means, log hazard ratios."""
    tables = finding.tables
    ratios = [r for r in tables["effects"] if r["measure"] == "hazard ratio"]
    return np.array([r["estimate"] for r in (*tables["risks"], *tables["rmst"], *ratios)])


def columns(last: int) -> tuple[tuple[str, ...], ...]:
    """x1, measured anew in each trial."""
    return (tuple(f"x{k}" for k in range(1, last + 1)),)


@pytest.mark.parametrize(
    ("name", "step", "settings"),
    [
        ("assigned", 60.0, {"censoring": "x1 + z", "times": (180.0, 360.0), "tau": 300.0}),
        ("kept", 60.0, {"censoring": "x1", "times": (120.0, 240.0), "contrast": "per protocol"}),
        ("stopping", 60.0, {"censoring": "x1", "times": (120.0, 180.0), "contrast": "per protocol", "stopped": "stop"}),
        ("kept_between", 80.0, {"censoring": "z", "times": (160.0, 240.0), "contrast": "per protocol"}),
    ],
)
def test_it_equals_r(name: str, step: float, settings: dict[str, Any]) -> None:
    """Values to 1e-8; the covariance to 1e-5, where R takes differences by case weights. In the last one periods end
    within cells, so that weights change there."""
    want = ORACLE[name]
    periods = tuple(float(p) for p in want["periods"])
    given = {"confounders": "x1 + z", "periods": periods, "updated": columns(len(periods))} | settings
    got = found(people(want), "Surv(time, fate)", ground=Ground(FATE, step=step), **given)
    assert got.n == want["n"]
    np.testing.assert_allclose(read(got), want["read"], rtol=1e-8)
    vcov = np.array(want["vcov"])
    size = np.sqrt(np.outer(np.diag(vcov), np.diag(vcov)))
    np.testing.assert_allclose(got.arrays["vcov"] / size, vcov / size, atol=1e-5)
    rows = {r["term"]: r["estimate"] for r in got.tables["lost"]}
    for term, value in zip(("x1", "z"), want["lost"], strict=True):
        assert value is None or rows[term] == pytest.approx(value, rel=1e-7)


def test_weights_within_a_cell_in_closed_form() -> None:
    """From 1 to 2.5 at the rate 0.4 until 2, then 0.1: integrals of exp(0.4 t), and exp(0.8 + 0.1 (t - 2))."""
    way = Way(
        np.array([2.0, 2.0]), np.array([[1.0, 0.0]]), np.array([[2.0, 0.5]]), np.array([1]), np.array([1])
    )  # fmt: skip
    got = walked(way, np.array([[0.4, 0.1]]), np.full((1, 2), 3.0))
    first = 3 * (np.exp(0.8) - np.exp(0.4)) / 0.4
    np.testing.assert_allclose(got.risk, [[first, 3 * np.exp(0.8) * (np.exp(0.05) - 1) / 0.1]], rtol=1e-12)
    np.testing.assert_allclose(got.events(1), [[0.0, 3 * np.exp(0.85)]], rtol=1e-12)
    events, risk, rate = np.array([[0.7, -0.2]]), np.array([0.3, 0.9]), np.array([[0.4, 0.1]])
    for cell in (0, 1):
        moved = [rate.copy(), rate.copy()]
        moved[0][0, cell] *= np.exp(1e-6)
        moved[1][0, cell] *= np.exp(-1e-6)
        up, down = (float(walked(way, r, np.full((1, 2), 3.0)).part(events, risk)[0]) for r in moved)
        assert got.by_log_rate(rate, events, risk)[0, cell] == pytest.approx((up - down) / 2e-6, rel=1e-7)


def test_the_case_by_hand_with_another_cause() -> None:
    """A third of the events of the case by hand is of another cause: risks split so, hazard ratios do not change."""
    frame = pd.concat([pd.DataFrame(SEQUENTIAL["data"], dtype=float)] * 3, ignore_index=True)
    frame["cause"] = np.where(frame["event"] > 0, 1 + (frame.index >= 32), 0)
    frame["fate"] = pd.Categorical.from_codes(frame["cause"].astype(int), FATES)
    ground = Ground(FATE, unit="years", step=1.0)
    study = SequentialTrials("Surv(time, fate)", "start", (1.0, 2.0), "c", times=(1.0,), ground=ground)
    got = fit(study, [frame[0::2], frame[1::2]], LOOSE)
    risks = np.array([r["estimate"] for r in got.tables["risks"]]).reshape(2, 2)
    np.testing.assert_allclose(risks, np.outer([2 / 3, 1 / 3], SEQUENTIAL["risks"]), rtol=1e-9)
    ratios = {r["cause"]: r["ratio"] for r in got.tables["effects"] if r["measure"] == "hazard ratio"}
    assert ratios == {"first": pytest.approx(SEQUENTIAL["ratio"]), "second": pytest.approx(SEQUENTIAL["ratio"])}


def lost_by(frame: pd.DataFrame, seed: int, by: float, column: str = "x") -> pd.DataFrame:
    """The same people, lost to follow-up the sooner the larger a column is."""
    gone = np.random.default_rng(seed).exponential(900 * np.exp(-by * frame[column]))
    stays = gone >= frame["time"]
    start = frame["start"].where(frame["start"] <= np.minimum(gone, frame["time"]))
    return frame.assign(time=np.minimum(gone, frame["time"]), event=frame["event"] * stays, start=start)


def test_weights_bring_back_those_who_are_lost() -> None:
    """Whoever has a high x dies sooner and is lost sooner: without weights risks are too low."""
    frame = drawn(16_000, 3, -0.5)
    settings = {"times": (720.0,), "periods": (90.0,)}
    truth = found(frame[frame["time"] > 90], "Surv(time, event)", GATE, **settings).tables["risks"]
    # whoever is lost is lost after the trial has begun, so that it is of the same people
    late = lost_by(frame.assign(time=frame["time"] - 90), 4, 0.9)
    gone = frame.assign(time=np.where(frame["time"] > 90, late["time"] + 90, frame["time"]))
    gone["event"] = np.where(gone["time"] < frame["time"], 0.0, frame["event"])
    gone["start"] = frame["start"].where(frame["start"] <= gone["time"])
    gone = gone[gone["time"] > 90]
    plain = found(gone, "Surv(time, event)", GATE, **settings).tables["risks"]
    weighed = found(gone, "Surv(time, event)", GATE, censoring="x", **settings)
    for was, without, row in zip(truth, plain, weighed.tables["risks"], strict=True):
        assert without["estimate"] < was["estimate"] - 2.5 * without["std_error"]
        assert abs(row["estimate"] - was["estimate"]) < 2.5 * row["std_error"]


@pytest.mark.slow
def test_limits_hold_the_truth_as_often_as_they_say() -> None:
    """300 networks in which the treatment does nothing, and x loses people: limits of 95 % hold that."""
    held = []
    for seed in range(300):
        frame = lost_by(drawn(1000, seed, 0.0), seed + 1000, 0.6)
        rows = {r["measure"]: r for r in found(frame, "Surv(time, event)", censoring="x").tables["effects"]}
        held.append([abs(rows[m]["statistic"]) < 1.96 for m in ("hazard ratio", "risk difference", "RMST difference")])
    share = np.mean(held, axis=0)
    assert share.min() > 0.917  # 95 % less 2.6 standard errors
    assert share.max() < 0.983


def test_keeping_to_a_treatment_with_losses_has_no_effect_where_there_is_none() -> None:
    """Those who are lost are lost by their first x."""
    frame = lost_by(visited(12_000, 1, 0.0), 2, 0.5, "x1")
    others = ("x1", *(f"x{k}" for k in range(2, 9)))
    got = found(
        frame, "Surv(time, event)", GATE, periods=tuple(60.0 * k for k in range(1, 9)), confounders="x1 + z",
        updated=(others,), censoring="x1", times=(240.0,), contrast="per protocol",
    )  # fmt: skip
    for row in got.tables["effects"]:
        assert abs(row["statistic"]) < 2.6, row
    assert got.tables["lost"][0]["statistic"] > 3


def test_few_who_are_lost_in_a_trial_are_not_told() -> None:
    """Nine of the treated are lost before the last time."""
    frame = drawn(2400, 1, -0.5).assign(time=lambda f: np.where(f["event"] > 0, f["time"], 2000.0))
    treated = np.flatnonzero((frame["start"] <= 180) & (frame["event"] == 0))
    others = np.flatnonzero(frame["start"].isna() & (frame["event"] == 0))
    time = frame["time"].to_numpy().copy()
    time[others[:60]] = np.linspace(200, 500, len(others[:60]))
    for count, told in ((60, True), (9, False)):
        lost = time.copy()
        lost[treated[:count]] = np.linspace(200, 400, count)
        moved = frame.assign(time=lost)
        if told:
            found(moved, "Surv(time, event)", GATE, censoring="x")
            continue
        with pytest.raises((ModelError, Violation), match=r"every group has fewer than 11"):
            found(moved, "Surv(time, event)", GATE, censoring="x")


def test_a_cause_of_few_in_a_trial_is_not_told() -> None:
    """Ten of the untreated of the second trial have the second cause; in all many."""
    frame = drawn(1500, 1, -0.5)
    late = (frame["time"] > 180) & (frame["event"] > 0) & ~(frame["start"] <= 180)
    second = (frame["event"] > 0) & ~late & (frame.index % 2 == 0) | (late & (late.cumsum() <= 10))
    frame["fate"] = pd.Categorical.from_codes((frame["event"] + second).astype(int), FATES)
    with pytest.raises(Violation, match="every group has fewer than 11"):
        found(frame, "Surv(time, fate)", GATE)


def test_who_leaves_by_which_cause_is_told_apart() -> None:
    study = SequentialTrials("Surv(time, fate)", "start", (90.0, 180.0), "x + z", times=(360.0,), ground=Ground(FATE))
    frame = drawn(900, 1, -0.5)
    code = np.where(frame["event"] > 0, 1 + frame.index % 2, 0)
    frame["fate"] = pd.Categorical.from_codes(code, FATES)
    sets = [who for _, _, who in study.selected(frame)]
    assert len(sets) == len(study.selecting) == 22
    assert all((later <= one).all() for one, later in pairwise(sets))
    pattern = np.sum(sets, axis=0)
    last, treated = study.enrolment(frame, frame["time"].to_numpy())
    early = np.where((last > 0) & (frame["time"] <= 90 + 360), code, 0)
    for known in (last, treated, early):
        assert all(pd.Series(np.asarray(known))[pattern == p].nunique() <= 1 for p in set(pattern))


def test_settings_that_cannot_be_are_named() -> None:
    given: dict[str, Any] = {"started": "start", "periods": (90.0,), "confounders": "x + z", "times": (360.0,)}
    for wrong in ("0 + x", "x + strata(z)", "offset(x)"):
        with pytest.raises(FormulaError, match=r"censoring|strata|offset"):
            SequentialTrials("Surv(time, event)", censoring=wrong, **given).check()
    everybody = drawn(900, 1, -0.5).assign(time=lambda f: np.where(f["event"] > 0, f["time"], 2000.0))
    with pytest.raises(ModelError, match="nobody is lost"):
        found(everybody, "Surv(time, event)", censoring="x")
