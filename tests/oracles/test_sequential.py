"""Sequential trials against R on one row per person and trial, a case by hand, and a truth."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import SEQUENTIAL
from starters import APART, VISITS, drawn, risks_kept, visited

from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.analyses.finding import Finding
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.hospital.gate import Policy, Violation
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "sequential.json").read_text())
SURV = "Surv(time, event)"


def found(frame: pd.DataFrame, policy: Policy = LOOSE, **settings: Any) -> Finding:
    """The finding of three hospitals, the settings checked first."""
    given = {"periods": (90.0, 180.0), "confounders": "x + z", "times": (360.0,)} | settings
    study = SequentialTrials(SURV, "start", **given)
    study.check()
    return fit(study, [frame.iloc[i::3] for i in range(3)], policy)


def read(finding: Finding) -> np.ndarray:
    """Risks, means, log hazard ratio."""
    tables = finding.tables
    return np.array([r["estimate"] for r in (*tables["risks"], *tables["rmst"], tables["effects"][0])])


def agrees(got: Finding, want: dict[str, Any]) -> None:
    """Values to 1e-8; the covariance to 1e-6, where R takes differences by case weights."""
    assert got.n == want["n"]
    assert [(r["n"], r["treated"]) for r in got.tables["trials"]] == list(
        zip(want["rows"], want["treated"], strict=True)
    )
    np.testing.assert_allclose(read(got), want["read"], rtol=1e-8)
    vcov = np.array(want["vcov"])
    size = np.sqrt(np.outer(np.diag(vcov), np.diag(vcov)))
    np.testing.assert_allclose(got.arrays["vcov"] / size, vcov / size, atol=1e-6)
    np.testing.assert_allclose([r["estimate"] for r in got.tables["propensity"]], want["propensity"][-2:], rtol=1e-7)


def test_heart_transplants_equal_r() -> None:
    want = ORACLE["heart"]
    frame = pd.DataFrame(want["people"]).astype(float).rename(columns={"x1": "x"})
    got = found(frame, periods=(20.0, 40.0, 60.0), times=(180.0, 360.0), ground=Ground(step=30.0))
    agrees(got, want)
    # Cox's model in continuous time, and its variance that takes the weights as known, which is too large
    row = got.tables["effects"][0]
    assert row["estimate"] == pytest.approx(want["cox"][0], abs=0.01)
    assert 0.7 * want["cox"][1] < row["std_error"] < want["cox"][1]


def test_confounders_measured_anew_equal_r() -> None:
    """In the treated; who lacks the second measurement is in the first trial alone."""
    want = ORACLE["updated"]
    frame = pd.DataFrame(want["people"]).astype(float)
    got = found(
        frame, periods=(60.0, 120.0, 180.0), confounders="x1 + z", updated=(("x1", "x2", "x3"),), estimand="ATT",
        times=(180.0, 360.0), tau=300.0, ground=Ground(step=60.0),
    )  # fmt: skip
    agrees(got, want)


SIX = tuple(60.0 * k for k in range(1, 7))
KEEPING: dict[str, Any] = {
    "periods": SIX, "contrast": "per protocol", "confounders": "x1 + z", "ground": Ground(step=60.0),
    "updated": (("x1", *(f"x{k}" for k in range(2, 7))),),
}  # fmt: skip


@pytest.mark.parametrize(("name", "estimand", "tau"), [("adhering", "ATE", 180.0), ("adhering_treated", "ATT", 240.0)])
def test_keeping_to_a_treatment_equals_r(name: str, estimand: str, tau: float) -> None:
    """Those who start later leave, as do those of whom the next trial lacks a value; weights grow as periods end."""
    want = ORACLE[name]
    frame = pd.DataFrame(want["people"]).astype(float)
    got = found(frame, estimand=estimand, times=(120.0, 240.0), tau=tau, **KEEPING)
    agrees(got, {**want, "rows": want["rows"][:-1], "treated": want["treated"][:-1]})  # no trial begins in the last
    assert got.facts["contrast"] == "per protocol"
    row = got.tables["effects"][0]
    assert row["estimate"] == pytest.approx(want["cox"][0], abs=0.02)


@pytest.mark.parametrize(("name", "estimand", "tau"), [("stopping", "ATE", 180.0), ("stopping_treated", "ATT", 240.0)])
def test_to_stop_is_to_leave_as_in_r(name: str, estimand: str, tau: float) -> None:
    """The treated leave at the end of the period in which they stop, and who goes on weighs more by its chance."""
    want = ORACLE[name]
    frame = pd.DataFrame(want["people"]).astype(float)
    got = found(frame, estimand=estimand, times=(120.0, 240.0), tau=tau, stopped="stop", **KEEPING)
    agrees(got, {**want, "rows": want["rows"][:-1], "treated": want["treated"][:-1]})
    np.testing.assert_allclose([r["estimate"] for r in got.tables["stopping"]], want["stopping"][-2:], rtol=1e-7)
    row = got.tables["effects"][0]
    assert row["estimate"] == pytest.approx(want["cox"][0], abs=0.03)
    assert "stops leaves" in " ".join(got.notes)


def test_a_case_by_hand() -> None:
    frame = pd.DataFrame(SEQUENTIAL["data"], dtype=float)
    study = SequentialTrials(SURV, "start", (1.0, 2.0), "c", times=(1.0,), ground=Ground(unit="years", step=1.0))
    got = fit(study, [frame[0::2], frame[1::2]], LOOSE)
    assert [r["estimate"] for r in got.tables["risks"]] == pytest.approx(SEQUENTIAL["risks"])
    assert got.tables["effects"][0]["ratio"] == pytest.approx(SEQUENTIAL["ratio"])
    assert [(r["n"], r["person_trials"], r["events"]) for r in got.tables["arms"]] == SEQUENTIAL["arms"]


def test_a_treatment_that_does_nothing_has_no_effect() -> None:
    """Those who start later must have lived until then; in the trials they have no advantage."""
    frame = drawn(6000, 5, 0.0)
    started = frame["start"].notna()
    assert frame.loc[started, "time"].mean() > 1.05 * frame.loc[~started, "time"].mean()
    got = found(frame, GATE, times=(360.0, 720.0))
    for row in got.tables["effects"]:
        assert abs(row["statistic"]) < 2.6, row
    assert found(drawn(6000, 5, -0.7), GATE).tables["effects"][0]["conf_high"] < 0


@pytest.mark.slow
def test_limits_hold_the_truth_as_often_as_they_say() -> None:
    """300 networks in which the treatment does nothing: limits of 95 % hold that."""
    held = []
    for seed in range(300):
        rows = {r["measure"]: r for r in found(drawn(800, seed, 0.0), ground=Ground(step=60.0)).tables["effects"]}
        held.append([abs(rows[m]["statistic"]) < 1.96 for m in ("hazard ratio", "risk difference", "RMST difference")])
    share = np.mean(held, axis=0)
    assert share.min() > 0.917  # 95 % less 2.6 standard errors
    assert share.max() < 0.983


def test_person_trials_lend_nobody_to_a_group() -> None:
    """Nine start in the second period, and are in two trials each: 18 person-trials, of too few people."""
    frame = drawn(900, 1, -0.5)
    second = np.flatnonzero((frame["start"] > 90) & (frame["start"] <= 180) & (frame["time"] > 180))
    few = frame.assign(start=np.where(np.isin(np.arange(900), second[9:]), np.nan, frame["start"]))
    with pytest.raises(Violation, match=r"in the trial at 180|enrolled"):
        found(few, GATE)


def test_a_trial_with_few_events_is_refused() -> None:
    """Ten of the untreated of the second trial, of whom some were in the first as well, have the event; in all many."""
    frame = drawn(900, 1, -0.5)
    late = (frame["time"] > 180) & (frame["event"] > 0) & ~(frame["start"] <= 180)
    few = frame.assign(event=np.where(late & (late.cumsum() > 10), 0.0, frame["event"]))
    assert few["event"].sum() > 100
    with pytest.raises(Violation, match="every group has fewer than 11"):
        found(few, GATE)


def test_who_is_in_which_trial_is_told_apart() -> None:
    """The sets by which analyses are held against each other follow enrolment, follow-up and event."""
    study = SequentialTrials(SURV, "start", (90.0, 180.0), "x + z", times=(360.0,))
    frame = drawn(900, 1, -0.5)
    sets = [who for _, _, who in study.selected(frame)]
    assert len(sets) == len(study.selecting)
    assert all((later <= one).all() for one, later in pairwise(sets))
    pattern = np.sum(sets, axis=0)
    last, treated = study.enrolment(frame, frame["time"].to_numpy())
    for known in (last, treated, frame["time"] > 90 + 360, (frame["time"] > 180 + 360) & (last > 1)):
        assert all(pd.Series(np.asarray(known))[pattern == p].nunique() <= 1 for p in set(pattern))


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"periods": ()}, StudyError, "ascend"),
        ({"periods": (180.0, 90.0)}, StudyError, "ascend"),
        ({"times": ()}, StudyError, "name positive times"),
        ({"estimand": "ATT", "truncate": (0.5,)}, StudyError, "truncate"),
        ({"confounders": "x + start"}, FormulaError, "leave it out"),
        ({"confounders": "0 + x"}, FormulaError, "terms are needed"),
        ({"updated": (("y", "y2"),)}, FormulaError, "'y' is not among"),
        ({"updated": (("x", "x2", "x3"),)}, StudyError, "after the first, 1"),
        ({"updated": ((),)}, FormulaError, "'' is not among"),
        ({"updated": (("x", "x2"), ("x", "x3"))}, StudyError, "names a column twice"),
        ({"updated": (("x", "z"),)}, FormulaError, "'z \\+ z', in which terms fall together"),
        ({"confounders": "x + stage", "updated": (("stage", "later"),)}, StudyError, "'later' has other levels"),
        ({"confounders": "x + stage", "updated": (("stage", "x2"),)}, StudyError, "'x2' has other levels"),
        ({"confounders": "standardize(x)"}, FormulaError, "one time, and there are 2 periods"),
        ({"confounders": "z + center(x)"}, FormulaError, "one time, and there are 2 periods"),
        ({"contrast": "as treated"}, StudyError, "'intention to treat' or 'per protocol'"),
        ({"contrast": "per protocol"}, StudyError, "no time after 90"),
        ({"contrast": "per protocol", "times": (90.0,), "truncate": (10.0,)}, StudyError, "two bounds"),
        ({"stopped": "stop"}, StudyError, "whoever stops stays treated"),
        ({"contrast": "per protocol", "times": (90.0,), "stopped": "start"}, StudyError, "both 'start'"),
        ({"contrast": "per protocol", "times": (90.0,), "stopped": "log(stop)"}, FormulaError, "stopped = 'log"),
        ({"contrast": "per protocol", "times": (90.0,), "stopped": "x"}, FormulaError, "'x' is the end of the"),
        ({"outcome": "event"}, FormulaError, "Surv\\(time, event\\)"),
        ({"started": "log(start)"}, FormulaError, "not a column of times"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    levels = {"stage": Column("stage", levels=("I", "II")), "later": Column("later", levels=("I", "II", "III"))}
    given = {"outcome": SURV, "started": "start", "periods": (90.0, 180.0), "confounders": "x + z", "times": (360.0,),
             "ground": Ground(Schema(levels))}  # fmt: skip
    with pytest.raises(kind, match=words):
        SequentialTrials(**given | settings).check()


def test_columns_are_renamed_all_at_once_and_nothing_else() -> None:
    """x becomes y and y becomes x; a function, a setting and a level of the same name stay."""
    study = SequentialTrials(
        SURV, "start", (90.0, 180.0), "log(log) + x * y + I(`the arm` == 'x') + ns(z, knots=[1])",
        (("x", "y"), ("y", "x"), ("the arm", "an arm"), ("log", "x2"), ("knots", "z")), times=(360.0,),
    )  # fmt: skip
    assert study.formulas[1] == f"{SURV} ~ log(x2) + y * x + I(`an arm` == 'x') + ns(z, knots=[1])"


def test_one_trial_may_be_standardised() -> None:
    frame = drawn(900, 1, -0.5)
    got = [found(frame, periods=(90.0,), confounders=f"{x} + z") for x in ("x", "standardize(x)")]
    np.testing.assert_allclose(read(got[1]), read(got[0]), rtol=1e-9)


def keeping(contrast: str = "per protocol", **settings: Any) -> dict[str, Any]:
    """Settings of trials at every visit of `visited`."""
    others = ("x1", *(f"x{k}" for k in range(2, VISITS + 1)))
    periods = tuple(APART * k for k in range(1, VISITS + 1))
    given = {"periods": periods, "confounders": "x1 + z", "updated": (others,), "times": (240.0,)}
    return {**given, "contrast": contrast, "ground": Ground(step=60.0)} | settings


def test_keeping_to_a_treatment_has_the_effect_that_it_has() -> None:
    """A start lowers the hazard, and the condition that people start for. The risks had all kept to it are known; where
    they stay as they were assigned, the untreated who start later have some of the good of it."""
    frame = visited(12_000, 1, -0.8)
    truth = np.mean([risks_kept(frame, seed, -0.8, 240.0) for seed in range(3)], axis=0)
    kept, assigned = (found(frame, GATE, **keeping(c)).tables["risks"] for c in ("per protocol", "intention to treat"))
    for row, want in zip(kept, truth, strict=True):
        assert abs(row["estimate"] - want) < 3.5 * row["std_error"]
        assert row["std_error"] < 0.01
    assert assigned[0]["estimate"] < truth[0] - 3 * assigned[0]["std_error"]
    nothing = found(visited(12_000, 1, 0.0), GATE, **keeping())
    for row in nothing.tables["effects"]:
        assert abs(row["statistic"]) < 2.6, row


def test_going_on_with_a_treatment_has_the_effect_that_it_has() -> None:
    """Whoever fares badly stops sooner, and loses the good of it: where nobody is censored for that, the treated look
    worse than if all had gone on; censored without weights, they would look better."""
    frame = visited(12_000, 2, -0.8, stopping=True)
    assert frame["stop"].notna().sum() > 1500
    truth = np.mean([risks_kept(frame, seed, -0.8, 240.0) for seed in range(3)], axis=0)
    stops, goes = (found(frame, GATE, **keeping(), stopped=s).tables["risks"] for s in ("stop", ""))
    for row, want in zip(stops, truth, strict=True):
        assert abs(row["estimate"] - want) < 3.5 * row["std_error"]
        assert row["std_error"] < 0.012
    assert goes[1]["estimate"] > truth[1] + 3 * goes[1]["std_error"]
    nothing = found(visited(12_000, 2, 0.0, stopping=True), GATE, **keeping(), stopped="stop")
    for row in nothing.tables["effects"]:
        assert abs(row["statistic"]) < 2.6, row


@pytest.mark.slow
@pytest.mark.parametrize("stopped", ["", "stop"])
def test_limits_of_keeping_hold_the_truth_as_often_as_they_say(stopped: str) -> None:
    """200 networks in which the treatment does nothing."""
    held = []
    for seed in range(200):
        frame = visited(1500, seed, 0.0, stopping=bool(stopped))
        rows = {r["measure"]: r for r in found(frame, **keeping(), stopped=stopped).tables["effects"]}
        held.append([abs(rows[m]["statistic"]) < 1.96 for m in ("hazard ratio", "risk difference", "RMST difference")])
    share = np.mean(held, axis=0)
    assert share.min() > 0.91  # 95 % less 2.6 standard errors
    assert share.max() < 0.99


def test_two_contrasts_of_a_study_could_be_subtracted() -> None:
    head = '[study]\nid = "s"\npurpose = "public-interest research"\n'
    one = (
        '[[analysis]]\nname = "{}"\nmethod = "sequential_trials"\noutcome = "Surv(time, event)"\nstarted = "start"\n'
        'periods = [60, 180]\nconfounders = "x"\ntimes = [120]\ncontrast = "{}"\n'
    )
    both = parse(head + one.format("a", "per protocol") + one.format("b", "intention to treat"))
    with pytest.raises(StudyError, match="a and b follow the same people differently"):
        build.analyses(both)
    assert len(build.analyses(parse(head + one.format("a", "per protocol")))) == 1


def test_who_keeps_to_it_is_told_apart() -> None:
    """The sets by which studies are held against each other know who leaves a trial by starting, and who has the event
    before."""
    frame = visited(900, 1, -0.5)
    kept, assigned = (SequentialTrials(SURV, "start", **keeping(c)) for c in ("per protocol", "intention to treat"))
    assert not {*kept.selecting} & {*assigned.selecting}
    sets = [who for _, _, who in kept.selected(frame)]
    assert all((later <= one).all() for one, later in pairwise(sets))
    pattern = np.sum(sets, axis=0)
    last, treated = kept.enrolment(frame, frame["time"].to_numpy())
    early = (frame["event"] > 0) & (frame["time"] <= 60.0 * VISITS) & (last > 0) & ~treated & (last < VISITS)
    for known in (last, treated, early & (frame["time"] <= 240)):
        inside = last > 0
        assert all(pd.Series(np.asarray(known))[inside & (pattern == p)].nunique() <= 1 for p in set(pattern))


def test_what_cannot_be_compared_is_said() -> None:
    frame = drawn(300, 1, 0.0)
    said = found(frame.assign(event=np.where(np.cumsum(frame["event"]) <= 30, frame["event"], 0.0))).warnings
    assert any(c.code == "few-events" for c in said)
    with pytest.raises(ModelError, match="nobody starts in the period that ends at 90"):
        found(frame.assign(start=np.nan))
    with pytest.raises(ModelError, match="has no event"):
        found(frame.assign(event=0.0))
    with pytest.raises(DataError, match="before their entry"):
        found(frame.assign(start=-1.0))
    with pytest.raises(DataError, match="'start'"):
        found(frame.drop(columns="start"))


def test_weights_that_a_few_people_carry_are_said() -> None:
    """Whoever has a large x nearly always starts."""
    frame = drawn(3000, 2, 0.0)
    rng = np.random.default_rng(3)
    start = np.where(rng.random(3000) < 1 / (1 + np.exp(-2.5 * frame["x"])), rng.uniform(0, 180, 3000), np.nan)
    got = found(frame.assign(start=np.where(start <= frame["time"], start, np.nan)))
    assert "extreme-weights" in {c.code for c in got.warnings}
    bounded = found(frame.assign(start=np.where(start <= frame["time"], start, np.nan)), truncate=(0.1, 0.9))
    assert bounded.tables["arms"][0]["effective_n"] > got.tables["arms"][0]["effective_n"]
