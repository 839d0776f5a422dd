"""Strategies with a grace period where causes compete and people are lost: R, closed forms, by hand, a truth."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import STRATEGIES_CASE
from starters import drawn

from confrere.analyses.effects.clone_censor_weight import CloneCensorWeight
from confrere.analyses.effects.even_hazards import Arms
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.hospital.gate import Policy, Violation
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "strategies_lost.json").read_text())
FATES = ("alive", "first", "second")
FATE = Schema({"fate": Column("fate", levels=FATES)})


def people(of: dict[str, Any]) -> pd.DataFrame:
    """R's people, of two causes or of one."""
    frame = pd.DataFrame({name: np.array(v, dtype=float) for name, v in of["people"].items()})
    return frame.assign(fate=pd.Categorical.from_codes(frame["cause"].astype(int), FATES), event=frame["cause"])


def found(frame: pd.DataFrame, outcome: str, policy: Policy = LOOSE, **settings: Any) -> Finding:
    """The finding of three hospitals."""
    given = {"grace": 180.0, "confounders": "x + z", "times": (360.0, 720.0), "ground": Ground(FATE, step=90.0)}
    study = CloneCensorWeight(outcome, "start", **given | settings)
    study.check()
    return fit(study, [frame[i::3] for i in range(3)], policy)


def read(finding: Finding) -> np.ndarray:
    """Risks by cause, time and strategy, means, log hazard ratios."""
    tables = finding.tables
    ratios = [r for r in tables["effects"] if r["measure"] == "hazard ratio"]
    return np.array([r["estimate"] for r in (*tables["risks"], *tables["rmst"], *ratios)])


@pytest.mark.parametrize(
    ("name", "outcome", "settings"),
    [
        ("both", "Surv(time, fate)", {"censoring": "x + z", "tau": 630.0}),
        ("causes", "Surv(time, fate)", {}),
        ("lost", "Surv(time, event)", {"censoring": "z + x"}),
        ("heart", "Surv(time, event)", {"censoring": "x", "grace": 45.0, "times": (180.0, 365.0),
                                        "ground": Ground(step=15.0)}),
    ],
)  # fmt: skip
def test_it_equals_r(name: str, outcome: str, settings: dict[str, Any]) -> None:
    """Values to 1e-8; the covariance to 1e-5, where R takes differences by case weights."""
    want = ORACLE[name]
    got = found(people(want), outcome, **settings)
    cut = [r["time"] for r in got.tables["strategy_curve"] if r["group"].startswith("within")]
    assert cut == pytest.approx(want["cut"])
    np.testing.assert_allclose(read(got), want["read"], rtol=1e-8)
    vcov = np.array(want["vcov"])
    size = np.sqrt(np.outer(np.diag(vcov), np.diag(vcov)))
    np.testing.assert_allclose(got.arrays["vcov"] / size, vcov / size, atol=1e-5)
    for table, names in (("starting", "xz"), ("lost", "xz")):
        rows = {r["term"]: r["estimate"] for r in got.tables.get(table, [])}
        for term, value in zip(names, want[table] or [], strict=False):
            assert value is None or rows[term] == pytest.approx(value, rel=1e-7)


def test_causes_of_one_arm_add_up() -> None:
    """Even hazards 0.1 and 0.3 for 2, then 0.2 and 0 for 1: areas under exp(-0.4 t) and exp(-0.2 t)."""
    time = np.array([[10.0, 5.0], [10.0, 5.0]])
    hazard = np.array([[[0.1, 0.2], [0.1, 0.2]], [[0.3, 0.0], [0.3, 0.0]]])
    arms = Arms(hazard * time, time, np.array([0.0, 2.0, 3.0]))
    one, two = (1 - np.exp(-0.8)) / 0.4, np.exp(-0.8) * (1 - np.exp(-0.2)) / 0.2
    assert arms.risk_at(0, 3.0, 0).value == pytest.approx(0.1 * one + 0.2 * two, rel=1e-12)
    assert arms.risk_at(1, 3.0, 1).value == pytest.approx(0.3 * one, rel=1e-12)
    assert arms.mean_until(0, 3.0).value == pytest.approx(one + two, rel=1e-12)
    both = arms.risk_at(0, 2.5, 0).value + arms.risk_at(0, 2.5, 1).value
    assert both == pytest.approx(1 - arms.survival(0, 2.5), rel=1e-12)


def test_derivatives_are_those_of_differences() -> None:
    """Of every value, by every weighted event and time."""
    rng = np.random.default_rng(1)
    events, risk = rng.uniform(1, 5, (2, 2, 3)), rng.uniform(50, 90, (2, 3))
    edges = np.array([0.0, 1.0, 2.5, 4.0])

    def values(events: np.ndarray, risk: np.ndarray) -> list[Any]:
        arms = Arms(events, risk, edges)
        return [arms.risk_at(1, 3.0, 1), arms.risk_at(0, 4.0, 0), arms.mean_until(1, 3.5), arms.log_hazard_ratio(1)]

    for place, array in ((0, events), (1, risk)):
        for at in np.ndindex(array.shape):
            moved = [[events.copy(), risk.copy()] for _ in range(2)]
            for sign, both in zip((1, -1), moved, strict=True):
                both[place][at] += sign * 1e-5
            for up, down, now in zip(values(*moved[0]), values(*moved[1]), values(events, risk), strict=True):
                slope = (up.value - down.value) / 2e-5
                assert (now.events, now.risk)[place][at] == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_the_case_by_hand_with_another_cause() -> None:
    """A third of the events of the case by hand is of another cause in every cell and arm alike: risks split so."""
    frame = pd.concat([pd.DataFrame(STRATEGIES_CASE["data"], dtype=float)] * 3, ignore_index=True)
    frame["cause"] = np.where(frame["event"] > 0, 1 + (frame.index >= 32), 0)
    frame["fate"] = pd.Categorical.from_codes(frame["cause"].astype(int), FATES)
    ground = Ground(FATE, unit="years", step=1.0)
    study = CloneCensorWeight("Surv(time, fate)", "start", 1.0, "c", (1.0, 2.0), ground=ground)
    got = fit(study, [frame[0::2], frame[1::2]], LOOSE)
    whole = np.array([*STRATEGIES_CASE["grace"], *STRATEGIES_CASE["risks"]])
    risks = np.array([r["estimate"] for r in got.tables["risks"]]).reshape(2, 4)
    np.testing.assert_allclose(risks, np.outer([2 / 3, 1 / 3], whole), rtol=1e-9)
    assert [r["cause"] for r in got.tables["risks"]] == ["first"] * 4 + ["second"] * 4


def lost_by(frame: pd.DataFrame, seed: int, by: float) -> pd.DataFrame:
    """The same people, lost to follow-up the sooner the larger x is."""
    rng = np.random.default_rng(seed)
    gone = rng.exponential(900 * np.exp(-by * frame["x"]))
    stays = gone >= frame["time"]
    start = frame["start"].where(frame["start"] <= np.minimum(gone, frame["time"]))
    return frame.assign(time=np.minimum(gone, frame["time"]), event=frame["event"] * stays, start=start)


def test_weights_bring_back_those_who_are_lost() -> None:
    """Whoever has a high x dies sooner and is lost sooner. With weights risks are as of those who are all followed."""
    frame = drawn(12_000, 3, -0.5, 350)
    settings = {"times": (720.0,), "ground": Ground(step=60.0)}
    truth = [r["estimate"] for r in found(frame, "Surv(time, event)", GATE, **settings).tables["risks"]]
    gone = lost_by(frame, 4, 0.9)
    plain = found(gone, "Surv(time, event)", GATE, **settings).tables["risks"]
    weighed = found(gone, "Surv(time, event)", GATE, censoring="x", **settings)
    for was, without, row in zip(truth, plain, weighed.tables["risks"], strict=True):
        assert without["estimate"] < was - 3 * without["std_error"]
        assert abs(row["estimate"] - was) < 2.5 * row["std_error"]
    (lost,) = weighed.tables["lost"]
    assert 0.7 < lost["estimate"] < 0.9  # follow-up of some ends after 400 days, whatever their x


def test_losses_that_hang_on_nothing_change_little() -> None:
    """By time alone: everybody in an arm weighs the same, and hazards stay as they are, but within cells. The hazard
    ratio is one of all cells, of which later ones count more."""
    gone = lost_by(drawn(3000, 5, -0.5, 350), 6, 0.0)
    plain = found(gone, "Surv(time, event)", GATE, times=(720.0,), ground=Ground(step=60.0))
    edges = [r["time"] for r in plain.tables["strategy_curve"]]
    weighed = found(gone, "Surv(time, event)", GATE, times=(720.0,), ground=Ground(step=60.0), censoring="1")
    assert "lost" not in weighed.tables
    assert [r["time"] for r in weighed.tables["strategy_curve"]] == edges
    np.testing.assert_allclose(read(weighed)[:4], read(plain)[:4], rtol=0.002)
    np.testing.assert_allclose(read(weighed)[4], read(plain)[4], atol=0.02)


@pytest.mark.slow
def test_limits_hold_the_truth_as_often_as_they_say() -> None:
    """300 networks in which the treatment does nothing, and x loses people: limits of 95 % hold that."""
    held = []
    for seed in range(300):
        frame = lost_by(drawn(800, seed, 0.0, 350), seed + 1000, 0.6)
        got = found(frame, "Surv(time, event)", times=(720.0,), censoring="x", ground=Ground(step=60.0))
        rows = {r["measure"]: r for r in got.tables["effects"]}
        held.append([abs(rows[m]["statistic"]) < 1.96 for m in ("hazard ratio", "risk difference", "RMST difference")])
    share = np.mean(held, axis=0)
    assert share.min() > 0.917  # 95 % less 2.6 standard errors
    assert share.max() < 0.983


def test_a_cause_of_few_in_an_arm_is_not_told() -> None:
    """Nine of the early have the second cause: of no cell of any grid is it told."""
    frame = drawn(1500, 1, -0.5, 350)
    early = (frame["start"] <= 180) & (frame["event"] > 0) & (frame["time"] <= 720)
    few = np.where(early & (np.cumsum(early) <= 9), 2, frame["event"])
    few = np.where(~early & (frame["event"] > 0) & (frame.index % 3 == 0), 2, few).astype(int)
    frame = frame.assign(fate=pd.Categorical.from_codes(few, FATES))
    with pytest.raises((ModelError, Violation), match=r"too few people|every group has fewer than 11"):
        found(frame, "Surv(time, fate)", GATE, times=(720.0,), ground=Ground(FATE, step=60.0))


def test_few_who_are_lost_are_not_told() -> None:
    """Nine of the early are lost before the last time."""
    frame = drawn(1500, 1, -0.5, 350).assign(time=lambda f: np.where(f["event"] > 0, f["time"], 2000.0))
    early = np.flatnonzero((frame["start"] <= 180) & (frame["event"] == 0))
    others = np.flatnonzero(~(frame["start"] <= 180) & (frame["event"] == 0))
    time = frame["time"].to_numpy().copy()
    time[others[:200]] = np.linspace(20, 700, 200)
    settings: dict[str, Any] = {"times": (720.0,), "censoring": "x", "ground": Ground(step=60.0)}
    for count, told in ((60, True), (9, False)):
        lost = time.copy()
        lost[early[:count]] = np.linspace(200, 700, count)
        moved = frame.assign(time=lost, start=frame["start"].where(frame["start"] <= lost))
        if told:
            found(moved, "Surv(time, event)", GATE, **settings)
            continue
        with pytest.raises((ModelError, Violation), match=r"too few people|every group has fewer than 11"):
            found(moved, "Surv(time, event)", GATE, **settings)


def test_who_leaves_by_which_cause_is_told_apart() -> None:
    """The sets by which analyses are held against each other know the cause."""
    study = CloneCensorWeight("Surv(time, fate)", "start", 180.0, "x", (720.0,), ground=Ground(FATE))
    frame = drawn(900, 1, -0.5, 350)
    code = np.where(frame["event"] > 0, 1 + frame.index % 2, 0)
    frame["fate"] = pd.Categorical.from_codes(code, FATES)
    sets = [who for _, _, who in study.selected(frame)]
    assert len(sets) == len(study.selecting) == 13
    assert all((later <= one).all() for one, later in pairwise(sets))
    pattern = np.sum(sets, axis=0)
    early = (frame["start"] <= 180) & (frame["start"] <= frame["time"])
    for known in (early, frame["time"] > 180, frame["time"] > 720, code * (frame["time"] <= 720)):
        assert all(pd.Series(np.asarray(known))[pattern == p].nunique() <= 1 for p in range(14))
    one = CloneCensorWeight("Surv(time, event)", "start", 180.0, "x", (720.0,))
    assert len(one.selecting) == 9


def test_settings_that_cannot_be_are_named() -> None:
    given: dict[str, Any] = {"started": "start", "grace": 180.0, "confounders": "x + z", "times": (720.0,)}
    for wrong in ("0 + x", "x + strata(z)", "offset(x)"):
        with pytest.raises(FormulaError, match=r"censoring|strata|offset"):
            CloneCensorWeight("Surv(time, event)", censoring=wrong, **given).check()
    everybody = drawn(900, 1, -0.5, 350).assign(time=lambda f: np.where(f["event"] > 0, f["time"], 2000.0))
    with pytest.raises(ModelError, match="nobody is lost"):
        found(everybody, "Surv(time, event)", censoring="x")
    separate = CloneCensorWeight("Surv(time, event)", censoring="x", **given)
    assert separate.formula == "Surv(time, event) ~ x + z + x"
    assert replace(separate, censoring="1").formula == "Surv(time, event) ~ x + z"


def test_cells_with_and_without_losses_could_be_subtracted() -> None:
    """Both tell events of the early and of the others by cells, which end elsewhere: a few have the event between."""
    frame = lost_by(drawn(1500, 0, -0.5, 350), 50, 0.5)
    early, edges = (frame["start"] <= 180) & (frame["event"] > 0), []
    for censoring in ("", "x"):
        rows = found(frame, "Surv(time, event)", GATE, times=(720.0,), ground=Ground(), censoring=censoring).tables
        edges.append({r["time"] for r in rows["strategy_curve"]})
    between = [
        int((early & frame["time"].between(min(a, b), max(a, b), inclusive="right")).sum())
        for a in edges[0] for b in edges[1]
    ]  # fmt: skip
    assert any(0 < n < GATE.k for n in between)  # why both may not be in a study
    head = '[study]\nid = "s"\npurpose = "public-interest research"\n'
    one = (
        '[[analysis]]\nname = "{}"\nmethod = "clone_censor_weight"\noutcome = "Surv({}, event)"\nstarted = "start"\n'
        'grace = 180\nconfounders = "x"\ntimes = [720]\n{}'
    )
    lost = 'censoring = "x"\n'
    with pytest.raises(StudyError, match="a and b have cells of time of their own"):
        build.analyses(parse(head + one.format("a", "time", "") + one.format("b", "time", lost)))
    for pair in ((("time", lost), ("time", lost)), (("time", ""), ("later", lost))):
        both = head + "".join(one.format(name, *settings) for name, settings in zip("ab", pair, strict=True))
        assert len(build.analyses(parse(both))) == 2
