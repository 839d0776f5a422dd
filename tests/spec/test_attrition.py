"""Nobody is left out silently: people of groups that are too small to be shown stand in the attrition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.finding import Finding
from confrere.data.sources import read
from confrere.hospital.gate import Policy, judge_clear
from confrere.rounds import Answers, Round, Verdict, clear, drive, supported
from confrere.study import build


def hospitals(rare: int) -> dict[str, pd.DataFrame]:
    """Three hospitals of 120 people in groups 0 and 1, and `rare` people of each in group 7."""
    rng = np.random.default_rng(5)
    frames = {}
    for name in "abc":
        frame = pd.DataFrame(
            {"time": rng.uniform(1, 2000, 120), "event": rng.integers(0, 2, 120), "arm": np.arange(120) % 2}
        )
        frame.loc[: rare - 1, "arm"] = 7
        frames[name] = frame
    return frames


def counted(finding: Finding) -> dict[str, Any]:
    return {r["reason"] or r["step"]: r["n"] for r in finding.tables["attrition"]}


@pytest.mark.parametrize("analysis", [
    cf.KaplanMeier("Surv(time, event) ~ arm"),
    cf.LogRank("Surv(time, event) ~ arm"),
    cf.LogRank("Surv(time, event) ~ arm", baseline="per hospital"),
])  # fmt: skip
def test_people_of_small_groups_are_counted_or_withheld(analysis: Any) -> None:
    few = counted(cf.local(hospitals(2)).run(analysis))
    assert few == {"records read": None, "in a group of too few people": None, "analysed": 354}
    none = counted(cf.local(hospitals(0)).run(analysis))
    assert none == {"records read": 360, "analysed": 360}


def test_what_is_standardised_is_about_the_same_people_as_the_fit() -> None:
    """Three people have no case weight: moments that counted them would give them away by subtraction."""
    frames = hospitals(0)
    for frame in frames.values():
        frame["age"], frame["w"] = np.linspace(30, 80, 120), 1.0
        frame.loc[0, "w"] = np.nan
    study = build.single(cf.Cox("Surv(time, event) ~ standardize(age)", weights="w"), cf.Ground())
    tables = [read(f, ["time", "event", "age", "w"], cf.Schema()) for f in frames.values()]
    people: list[int] = []
    live = clear(tables, lambda designs: judge_clear(designs, Policy()))

    def answer(asks: Round) -> Answers:
        answers = live(asks)
        people.extend(v.n for v in answers if isinstance(v, Verdict))
        return answers

    drive(supported(build.flow_of(study, build.analyses(study))), answer)
    assert people == [357, 357]
