"""Strategies with a grace period against R's models on clones, a bootstrap of people, a case by hand, and a truth."""

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
from confrere.analyses.finding import Finding
from confrere.data.table import Table
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.hospital.gate import Policy, Violation, judge_clear
from confrere.rounds import clear, drive
from confrere.study.cuts import apart
from confrere.study.ground import Ground
from confrere.testing import GATE, LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "strategies.json").read_text())
SURV = "Surv(time, event)"


def people(of: dict[str, Any]) -> pd.DataFrame:
    """R's people; who never starts has no entry in `start`."""
    return pd.DataFrame({name: np.array(v, dtype=float) for name, v in of["people"].items()})


def found(frame: pd.DataFrame, policy: Policy = LOOSE, hospitals: int = 3, **settings: Any) -> Finding:
    """The finding of a study of these people."""
    study = CloneCensorWeight(SURV, "start", **{"confounders": "x + z"} | settings)
    study.check()
    return fit(study, [frame[i::hospitals] for i in range(hospitals)], policy)


def read(finding: Finding) -> np.ndarray:
    """Risks, means, log hazard ratio with their standard errors: (k, 2)."""
    tables = finding.tables
    rows = [*tables["risks"], *tables["rmst"], tables["effects"][0]]
    return np.array([(r["estimate"], r["std_error"]) for r in rows])


def test_heart_transplants_equal_r() -> None:
    """Values to 1e-9; the covariance to 1e-5, where R takes differences by case weights."""
    got = found(people(ORACLE), grace=45.0, times=(180.0, 365.0), ground=Ground(step=15.0))
    cut = [r["time"] for r in got.tables["strategy_curve"] if r["group"].startswith("within")]
    assert cut == pytest.approx(ORACLE["cut"])
    np.testing.assert_allclose(read(got)[:, 0], ORACLE["read"], rtol=1e-9)
    want = np.array(ORACLE["vcov"])
    size = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    np.testing.assert_allclose(got.arrays["vcov"] / size, want / size, atol=1e-5)
    starting = [r["estimate"] for r in got.tables["starting"]]
    np.testing.assert_allclose(starting, ORACLE["starting"][-2:], rtol=1e-7)
    np.testing.assert_allclose([r["estimate"] for r in got.tables["started"]], ORACLE["started"], rtol=1e-8)


def test_standard_errors_are_those_of_a_bootstrap_of_people() -> None:
    """Values to 1e-9; standard errors within 6 %: 1,000 replicates have a standard error of 2.2 % themselves."""
    want = ORACLE["bootstrap"]
    got = found(people(want), grace=180.0, times=(360.0, 720.0), ground=Ground(step=90.0))
    assert [r["time"] for r in got.tables["strategy_curve"] if r["group"].startswith("within")] == want["cut"]
    estimate, se = read(got).T
    np.testing.assert_allclose(estimate, want["read"], rtol=1e-9)
    np.testing.assert_allclose(se, want["std_error"], rtol=0.06)


def test_a_case_by_hand() -> None:
    frame = pd.DataFrame(STRATEGIES_CASE["data"], dtype=float)
    study = CloneCensorWeight(SURV, "start", 1.0, "c", (1.0, 2.0), ground=Ground(unit="years", step=1.0))
    got = fit(study, [frame[0::2], frame[1::2]], LOOSE)
    risks = {(r["group"], r["time"]): r["estimate"] for r in got.tables["risks"]}
    assert list(risks.values()) == pytest.approx([*STRATEGIES_CASE["grace"], *STRATEGIES_CASE["risks"]])
    assert [r["n"] for r in got.tables["arms"]] == [12, 4]
    early, event = frame["start"] <= frame[["time"]].assign(grace=1.0).min(axis=1), frame["event"] > 0
    event &= frame["time"] <= 2.0
    mine, others = int((event & early).sum()), int((event & ~early).sum())
    both = int((event & ~early & (frame["time"] <= 1.0)).sum())
    assert both > 0
    assert [r["events"] for r in got.tables["arms"]] == [others, mine]
    assert [r["clone_events"] for r in got.tables["arms"]] == [others, mine + both]


def test_there_is_no_immortal_time() -> None:
    """Of a treatment that does nothing, with confounding: those who start look protected, the strategies do not."""
    frame = drawn(6000, 5, 0.0, 350)
    early = frame["start"] <= 360
    died = (frame["time"] <= 360) & (frame["event"] > 0)
    assert died[early].mean() - died[~early].mean() < -0.1
    got = found(frame, GATE, grace=360.0, times=(360.0, 1080.0))
    for row in got.tables["effects"]:
        assert abs(row["statistic"]) < 2.6, row


@pytest.mark.slow
def test_limits_hold_the_truth_as_often_as_they_say() -> None:
    """300 networks in which the treatment does nothing: limits of 95 % hold that."""
    held = []
    for seed in range(300):
        got = found(drawn(800, seed, 0.0, 350), grace=180.0, times=(720.0,), ground=Ground(step=60.0))
        rows = {r["measure"]: r for r in got.tables["effects"]}
        held.append([abs(rows[m]["statistic"]) < 1.96 for m in ("hazard ratio", "risk difference", "RMST difference")])
    share = np.mean(held, axis=0)
    assert share.min() > 0.917  # 95 % less 2.6 standard errors
    assert share.max() < 0.983


def test_clones_lend_nobody_to_a_cell() -> None:
    """Nine who start have 18 clones: not enough. Eleven are."""
    frame = drawn(900, 1, -0.5, 350)
    early = np.flatnonzero(frame["start"] <= 180)
    few = frame.assign(start=np.where(np.isin(np.arange(900), early[:9]), frame["start"], np.nan))
    with pytest.raises(Violation, match="starts by 180"):
        found(few, GATE, grace=180.0, times=(720.0,))


@pytest.mark.parametrize(("grace", "same"), [(183.0, False), (180.0, True)])
def test_two_grace_periods_of_one_study_tell_nobody_apart(grace: float, same: bool) -> None:
    """By who starts between the ends of the two; comparisons among the confounders are held against them too."""
    one = CloneCensorWeight(SURV, "start", 180.0, "x + I(z > 0)", (720.0,))
    frame = drawn(900, 1, -0.5, 350)
    between = frame["start"].between(180, 183, inclusive="right").sum()
    assert 0 < between < GATE.k
    verdicts = clear([Table(frame[i::3], 300, {}, {}, "drawn") for i in range(3)], lambda d: judge_clear(d, GATE))
    if same:
        drive(apart([one, replace(one, grace=grace, tau=700.0)]), verdicts)
        return
    with pytest.raises(Violation, match="comparisons or criteria of several analyses"):
        drive(apart([one, replace(one, grace=grace)]), verdicts)


def judged(frame: pd.DataFrame, *studies: CloneCensorWeight) -> None:
    """What the gates of three hospitals say of these analyses of one study: Violation, or nothing."""
    tables = [Table(frame[i::3], len(frame) // 3, {}, {}, "drawn") for i in range(3)]
    drive(apart(studies), clear(tables, lambda d: judge_clear(d, GATE)))


def test_two_horizons_of_one_study_tell_nobody_apart() -> None:
    """Events until 730 and until 731 would differ by those of one day; until 730 and 1,000 many tell them apart."""
    one = CloneCensorWeight(SURV, "start", 180.0, "x", (730.0,))
    frame = drawn(900, 1, -0.5, 350)
    last = frame["time"].between(730, 731, inclusive="right")
    assert 0 < last.sum() < GATE.k
    judged(frame, one, replace(one, times=(1000.0,)))
    with pytest.raises(Violation, match="comparisons or criteria of several analyses"):
        judged(frame, one, replace(one, times=(731.0,)))
    # of many who leave on that day few have the event
    lost = np.isin(np.arange(900), np.flatnonzero((frame["time"] > 1000) & frame["start"].isna())[: 3 * GATE.k])
    many = frame.assign(time=np.where(lost, 730.5, np.where(last, 740.0, frame["time"])))
    judged(many.assign(event=np.where(lost, 1.0, many["event"])), one, replace(one, times=(731.0,)))
    many["event"] = np.where(lost, np.cumsum(lost) <= 3, many["event"])
    with pytest.raises(Violation, match="comparisons or criteria of several analyses"):
        judged(many, one, replace(one, times=(731.0,)))


def test_who_starts_is_who_starts_while_followed() -> None:
    """As in the design, and so are those who are followed beyond the end of either period."""
    study = CloneCensorWeight(SURV, "start", 180.0, "x", (720.0,))
    frame = drawn(900, 1, -0.5, 350)
    frame["start"] = np.where(frame.index % 7 == 0, frame["time"] + 1, frame["start"])  # a start after the end is none
    frame["event"] = np.where(frame.index % 2 == 0, 0.0, frame["event"])
    sets = [who for _, _, who in study.selected(frame)]
    assert len(sets) == len(study.selecting)
    assert all((later <= one).all() for one, later in pairwise(sets))
    pattern = np.sum(sets, axis=0)
    early = (frame["start"] <= 180) & (frame["start"] <= frame["time"])
    assert ((frame["start"] <= 180) & ~early).any()
    for known in (early, frame["time"] > 180, frame["time"] > 720, (frame["event"] > 0) & (frame["time"] <= 720)):
        assert all(known[pattern == p].nunique() <= 1 for p in range(10))
    assert len(set(pattern)) == 10


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"grace": 0.0}, StudyError, "positive"),
        ({"times": ()}, StudyError, "name positive times"),
        ({"times": (90.0,)}, StudyError, "lies in the grace period"),
        ({"confounders": "x + start"}, FormulaError, "leave it out"),
        ({"confounders": "0 + x"}, FormulaError, "terms are needed"),
        ({"outcome": "event"}, FormulaError, "Surv\\(time, event\\)"),
        ({"outcome": "Surv(x, time, event)"}, FormulaError, "time zero"),
        ({"started": "log(start)"}, FormulaError, "not a column of times"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    given = {"outcome": SURV, "started": "start", "grace": 180.0, "confounders": "x + z", "times": (720.0,)} | settings
    with pytest.raises(kind, match=words):
        CloneCensorWeight(**given).check()


def test_what_cannot_be_compared_is_said() -> None:
    frame = drawn(300, 1, 0.0, 350)
    usual = {"grace": 180.0, "times": (720.0,)}
    said = found(frame.assign(event=np.where(np.cumsum(frame["event"]) <= 24, frame["event"], 0.0)), **usual).warnings
    assert any(c.code == "few-events" and "people have the event" in c.text for c in said)
    with pytest.raises(ModelError, match="nobody starts"):
        found(frame.assign(start=np.nan), **usual)
    with pytest.raises(ModelError, match="nobody has the event"):
        found(frame.assign(event=0.0), **usual)
    with pytest.raises(DataError, match="before time zero"):
        found(frame.assign(start=-1.0), **usual)
    with pytest.raises(DataError, match="'start'"):
        found(frame.drop(columns="start"), **usual)


def test_stopping_is_the_same_rule_on_another_column() -> None:
    """All are treated at time zero, and those who fare badly stop sooner; being off it lowers the hazard by a half.

    The risks had everybody stopped within 180 days, when people like them do and the others at its end, and had nobody,
    from a million draws.
    """
    rng = np.random.default_rng(3)

    def ends(z: np.ndarray, off: np.ndarray, rate: float = np.exp(-7.0)) -> np.ndarray:
        hazard, spent = rate * np.exp(0.8 * z), rng.exponential(size=len(z))
        later = off + (spent - hazard * np.minimum(off, 1e9)) / (0.5 * hazard)
        return np.asarray(np.where(spent < hazard * off, spent / hazard, later))

    def mean(z: np.ndarray) -> np.ndarray:
        return np.asarray(500 * np.exp(-0.9 * z))

    z = (rng.random(1_000_000) < 0.4).astype(float)
    off = np.minimum(rng.exponential(mean(z)), 180.0)
    truth = [np.mean(ends(z, when) <= 720) for when in (np.full(len(z), np.inf), off)]

    z = z[:12_000]
    when = rng.exponential(mean(z))
    time = ends(z, np.where(when <= 180, when, np.inf))
    frame = pd.DataFrame({"z": z, "x": rng.normal(size=len(z)), "time": np.minimum(time, 1000.0)})
    frame = frame.assign(event=(time <= 1000).astype(float), off=np.where((when <= 180) & (when <= time), when, np.nan))
    study = CloneCensorWeight(SURV, "off", 180.0, "x + z", (720.0,))
    risks = fit(study, [frame[i::3] for i in range(3)], GATE).tables["risks"]
    for row, want in zip(risks, truth, strict=True):
        assert abs(row["estimate"] - want) < 0.01 + 2 * row["std_error"]
    assert abs(risks[1]["estimate"] - risks[0]["estimate"] - (truth[1] - truth[0])) < 0.03
    crude = [np.mean(frame.loc[who, "time"] <= 720) for who in (frame["off"].isna(), frame["off"].notna())]
    assert abs(crude[1] - crude[0] - (truth[1] - truth[0])) > 0.04
