"""Groups of hospitals left out in turn, the penalty chosen within the others: what glmnet says with the same folds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from confrere.analyses.finding import Finding
from confrere.analyses.learning.penalised import Penalised
from confrere.rounds import Answer, Ask, drive
from confrere.study.ground import Ground
from federate import LOOSE, demo, flow_of, in_the_clear, oracle

R = oracle("left_out")
GROUPS = {"first": ("a", "b", "c"), "second": ("d", "e", "f")}


@lru_cache
def fitted() -> Finding:
    frame = demo("breast")
    place = (np.arange(len(frame)) + 1) % 6  # rows of R are counted from 1
    numbers = frame[["pid", *R["terms"], "recur"]].astype({name: float for name in (*R["terms"], "recur")})
    hospitals = {name: numbers[place == i].reset_index(drop=True) for i, name in enumerate("abcdef")}
    of = Penalised(
        f"recur ~ {' + '.join(R['terms'])}", "binomial", penalties=20, folds=5, exact=True, debias="",
        leave_out=tuple(GROUPS.values()), ground=Ground(person="pid"),
    )  # fmt: skip
    answers: dict[str, Answer] = {}

    def answer(asks: tuple[Ask, ...]) -> tuple[Any, ...]:
        """Without a gate, which would not let as many numbers be asked of so few people."""
        for group in {a.group for a in asks} - set(answers):
            names = group.split(",") if group else list(hospitals)
            answers[group] = in_the_clear([hospitals[name] for name in names], LOOSE)
        return tuple(answers[a.group]((a,))[0] for a in asks)

    return drive(flow_of(of), answer)


@pytest.mark.parametrize("group", GROUPS)
def test_the_penalty_and_what_it_is_worth_are_those_of_glmnet(group: str) -> None:
    want, made = R[group], fitted()
    assert made.facts["folds"] == 5
    rows = {r["metric"]: r for r in made.tables["left_out"] if r["left_out"] == ", ".join(GROUPS[group])}
    assert {(r["n"], r["events"]) for r in rows.values()} == {(want["n"], want["events"])}
    assert rows["AUC"]["lambda"] == pytest.approx(want["lambda"], rel=1e-7)
    assert rows["log loss"]["estimate"] == pytest.approx(want["log_loss"], rel=1e-6)
    assert rows["Brier score"]["estimate"] == pytest.approx(want["brier"], rel=1e-6)
    assert rows["calibration slope"]["estimate"] == pytest.approx(want["slope"], rel=1e-5)
