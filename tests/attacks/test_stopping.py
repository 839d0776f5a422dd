"""Sequential trials that follow the treated until they stop: who stops, goes on, or leaves in a period, told by few?

Sums of the model of stopping are over those who are treated before a period: how many they are, who of them stops, and
who is not there any more at the next one, follow by subtraction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.errors import ConfrereError, DataError, StudyError
from confrere.hospital.gate import Violation
from confrere.rounds import drive, find
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.testing import GATE, fit
from confrere.testing.runs import flow_of, in_the_clear

STUDY = find("sequential_trials")(
    "Surv(time, event)", "start", (90.0, 180.0, 270.0), "x + mark", times=(180.0,), contrast="per protocol",
    stopped="stop",
)  # fmt: skip
FEW = pytest.mark.parametrize("few", [1, 3, 10])


def people(n: int = 3000) -> pd.DataFrame:
    """Three in five start within 270 days, and a third of these stop; the event and losses are frequent."""
    rng = np.random.default_rng(8)
    start = np.where(rng.random(n) < 0.6, np.ceil(rng.uniform(1, 270, n)), np.nan)
    stop = np.where(rng.random(n) < 0.3, np.ceil(rng.uniform(91, 270, n)), np.nan)
    frame = pd.DataFrame({
        "x": rng.normal(size=n), "mark": (rng.random(n) < 0.5).astype(float), "start": start,
        "stop": np.where(stop > start, stop, np.nan), "time": np.ceil(rng.uniform(60, 600, n)),
        "event": (rng.random(n) < 0.5).astype(float),
    })  # fmt: skip
    for name in ("start", "stop"):
        frame[name] = frame[name].where(frame[name] <= frame["time"])
    return frame.assign(stop=frame["stop"].where(frame["start"].notna()))


def found(frame: pd.DataFrame, study: Any = STUDY) -> Any:
    return fit(study, [frame[i::3] for i in range(3)], GATE)


def before(frame: pd.DataFrame, end: float = 270.0) -> np.ndarray:
    """Who is treated before the period of 90 days to `end`, and followed beyond it."""
    first = np.ceil(frame["start"] / 90) * 90  # the end of the period in which they start
    stop = np.maximum(frame["stop"].fillna(np.inf), first + 1)
    return ((first <= end - 90) & (frame["time"] > end) & (stop > end - 90)).to_numpy()


def test_control_many_who_stop_are_told() -> None:
    frame = people()
    told: dict[str, Any] = {}
    answer = in_the_clear([frame[i::3] for i in range(3)], GATE)

    def noted(asks: Any) -> Any:
        sums = answer(asks)
        told.update({a.step: s for a, s in zip(asks, sums, strict=True)})
        return sums

    drive(flow_of(STUDY), noted)
    stops = before(frame) & (frame["stop"] <= 270)
    assert told["kept"].keeping.value[1][1] == stops.sum() > 11


@FEW
def test_few_who_stop_in_a_period_are_not_told(few: int) -> None:
    frame = people()
    stops = np.flatnonzero(before(frame) & (frame["stop"] <= 270))
    with pytest.raises(Violation, match=r"leaving|treated before|fewer than 11|stops"):
        found(frame.assign(stop=frame["stop"].mask(np.isin(np.arange(len(frame)), stops[few:]))))


@FEW
def test_nor_few_who_go_on(few: int) -> None:
    frame = people()
    goes = np.flatnonzero(before(frame) & ~(frame["stop"] <= 270))
    moved = np.isin(np.arange(len(frame)), goes[few:])
    with pytest.raises((Violation, ConfrereError), match=r"leaving|treated before|fewer than 11|too few|everybody"):
        found(frame.assign(stop=frame["stop"].mask(moved, 250.0)))


@FEW
def test_nor_few_who_leave_otherwise(few: int) -> None:
    """All who are treated before the last period but a few are followed beyond it, or stop before."""
    frame = people()
    last = np.flatnonzero(before(frame.assign(time=600.0)) & frame["time"].between(180, 270, inclusive="right"))
    moved = np.isin(np.arange(len(frame)), last[few:])
    with pytest.raises(Violation, match=r"leaving|treated before|fewer than 11"):
        found(frame.assign(time=frame["time"].mask(moved, 280.0)))


@pytest.mark.parametrize(("few", "mark"), [(1, 1.0), (3, 1.0), (10, 1.0), (1, 0.0), (3, 0.0)])
def test_nor_a_mark_of_few_who_may_stop(few: int, mark: float) -> None:
    """That they lack it is a matter of a pair of columns, which rests on 5 people."""
    frame = people()
    own = np.flatnonzero(before(frame))
    other = np.where(np.isin(np.arange(len(frame)), own), 1 - mark, frame["mark"])
    other[own[:few]] = mark
    with pytest.raises(Violation, match=r"mark"):
        found(frame.assign(mark=other))


@FEW
def test_nor_a_mark_measured_anew(few: int) -> None:
    """Few of those who may stop have it as it is in the last period."""
    frame = people()
    own = np.flatnonzero(before(frame))
    later = frame["mark"].to_numpy().copy()
    later[own] = 0.0
    later[own[:few]] = 1.0
    study = replace(STUDY, updated=(("mark", "mark", "later"),), ground=Ground())
    with pytest.raises(Violation, match="later"):
        found(frame.assign(later=later), study)
    assert found(frame.assign(later=frame["mark"]), study).tables["stopping"]


def test_control_the_same_people_unchanged() -> None:
    assert found(people()).tables["stopping"]


def test_those_who_stop_and_those_who_do_not_are_two_studies() -> None:
    head = '[study]\nid = "s"\npurpose = "public-interest research"\n'
    one = (
        '[[analysis]]\nname = "{}"\nmethod = "sequential_trials"\noutcome = "Surv(time, event)"\nstarted = "start"\n'
        'periods = [60, 180]\nconfounders = "x"\ntimes = [120]\ncontrast = "per protocol"\n{}\n'
    )
    with pytest.raises(StudyError, match="settings by which they follow people"):
        build.analyses(parse(head + one.format("a", 'stopped = "stop"') + one.format("b", "")))


def test_stops_that_cannot_be_are_named() -> None:
    frame = people()
    for wrong in (frame.assign(stop=frame["start"] - 1), frame.assign(stop=100.0)):
        with pytest.raises(DataError, match="stop before they start"):
            found(wrong)
