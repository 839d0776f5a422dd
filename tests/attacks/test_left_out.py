"""Sums of all groups of hospitals but one, for each: together they are those of each group, where few may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.cox import Cox
from confrere.analyses.learning import penalised_sums
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.penalised import Penalised
from confrere.analyses.logistic import Logistic
from confrere.analyses.networks.network import Network
from confrere.errors import Refused, StudyError
from confrere.hospital.gate import Gate, Policy
from confrere.rounds import Ask, ask, drive, supported
from confrere.study.file import parse
from confrere.study.ground import Ground
from federate import found, in_the_clear, masked

NAMES = tuple("abcdefghi")
GROUPS = (NAMES[:3], NAMES[3:6], NAMES[6:])
FEW, SIZE = 3, 600


def people(few: int) -> dict[str, pd.DataFrame]:
    """Nine hospitals; of the rare mark there are `few` people in the last group, and many elsewhere."""
    rng, made = np.random.default_rng(1), {}
    for i, name in enumerate(NAMES):
        frame = pd.DataFrame({"x": rng.normal(size=SIZE), "rare": 0.0})
        frame.loc[: (44 if i < 6 else -1), "rare"] = 1.0
        if i >= 6:
            frame.loc[: few // 3 - 1, "rare"] = 1.0 if few else 0.0
        frame["ill"] = (rng.random(SIZE) < 0.4).astype(float)
        frame["time"] = np.ceil(rng.exponential(900, SIZE))
        made[name] = frame.assign(pid=[f"{name}{j}" for j in range(SIZE)])
    return made


ALLOW = ("model_weights",)
MODELS = (
    Logistic("ill ~ x + rare", leave_out=GROUPS),
    Cox("Surv(time, ill) ~ x + rare", leave_out=GROUPS),
    Penalised("ill ~ x + rare", "binomial", alpha=0.0, penalty=(0.01,), leave_out=GROUPS),
    Network("ill", "x + rare", rounds=2, leave_out=GROUPS),
    Penalised("Surv(time, ill) ~ x + rare", "cox", alpha=0.0, penalty=(0.01,), leave_out=GROUPS),
    Penalised("ill ~ x + rare", "binomial", penalties=5, folds=2, leave_out=GROUPS, ground=Ground(person="pid")),
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__ + " " + model.formula[:4])
def test_a_mark_of_few_in_one_group_is_refused(model: Any) -> None:
    with pytest.raises(Refused, match="rare"):
        found(masked(model, people(FEW), allow=ALLOW))
    assert found(masked(model, people(150), allow=ALLOW)).tables["left_out"]


@pytest.mark.parametrize("model", MODELS[1:], ids=lambda model: type(model).__name__ + " " + model.formula[:4])
def test_no_cells_of_people_are_merged_by_several_groups(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of two sets of groups would be merged otherwise and differ by few: only a group by itself has any, once."""
    merged: dict[str, set[str]] = {}
    settle = Gate.settle

    def noted(gate: Gate, a: Ask, *rest: Any) -> Any:
        verdict = settle(gate, a, *rest)
        if a.group and any((grid != np.arange(grid.size).reshape(grid.shape)).any() for grid in verdict.grids.values()):
            merged.setdefault(a.group, set()).add(a.step)
        return verdict

    monkeypatch.setattr(Gate, "settle", noted)
    found(masked(model, people(150), allow=ALLOW))
    assert set(merged) <= {",".join(group) for group in GROUPS}
    assert all(steps <= {"people", "cells", "design", "dealt"} for steps in merged.values())


def test_folds_of_all_less_those_of_the_others_are_of_enough_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every fold that is asked, a group has nobody with the mark or k people of whom some are ill, and some not."""
    told: dict[int, dict[str, np.ndarray]] = {}
    moments = penalised_sums.moments

    def noted(people: Any, kind: Any, folds: int) -> Any:
        got = moments(people, kind, folds)
        (name,) = {pid[0] for pid in people.table.frame["pid"]}
        told.setdefault(folds, {})[name] = got.first.value[:, -1]
        return got

    monkeypatch.setattr(penalised_sums, "moments", noted)
    model = Penalised(
        "ill ~ x + rare", "binomial", penalties=5, folds=10, leave_out=GROUPS, ground=Ground(person="pid")
    )
    hospitals = people(120)
    assert found(masked(model, hospitals)).facts["folds"] == 2
    assert told
    for each in told.values():
        inside = [sum(each[name] for name in group) for group in GROUPS]
        assert all(((count == 0) | (count >= 11)).all() for count in inside)
    told.clear()
    found(masked(replace(model, leave_out=()), people(45)))  # control: of all people alone there are more folds
    inside = [sum(each[name] for name in GROUPS[2]) for each in told.values()]
    assert any(((count > 0) & (count < 11)).any() for count in inside)


def test_control_sums_of_the_others_are_those_of_the_group() -> None:
    """Each is of enough people by itself: 138 or more with the mark. The few are a sum of three of them."""
    hospitals, glm = people(FEW), Logistic("ill ~ x + rare", ground=Ground()).glm
    firsts = []
    for group in GROUPS:
        frames = [hospitals[name] for name in NAMES if name not in group]
        got = drive(supported(ask(glm.start)), in_the_clear(frames, Policy()))
        firsts.append(got.first.value[glm.names.index("rare") - 1])
    mine = (firsts[0] + firsts[1] - firsts[2]) / 2
    assert round(mine) == FEW == sum(hospitals[name]["rare"].sum() for name in GROUPS[2])


def test_control_cells_that_are_merged_would_tell_three_people() -> None:
    """Why trees leave no group out: the cells of a feature, merged by each set of groups, are all of enough people."""
    hospitals, boosting = people(0), Boosting("ill", ("dose",), trees=1, depth=1, holdout=0.0)
    for i, frame in enumerate(hospitals.values()):
        frame["dose"] = 1.0
        frame.loc[: (0 if 3 <= i < 6 else 15 if i >= 6 else -1), "dose"] = 2.0  # one in each of d, e, f; 16 in g, h, i

    def told(*left: tuple[str, ...]) -> list[int]:
        frames = [frame for name, frame in hospitals.items() if name not in sum(left, ())]
        got = drive(supported(ask(boosting.placed)), in_the_clear(frames, Policy(allow=("histograms",))))
        return [int(count) for count in got.cells.value[0] if count]

    assert (told()[-1], told(GROUPS[1])[-1]) == (51, 48)  # three people: the difference
    assert told(GROUPS[2]) == [6 * SIZE]  # by themselves they are told with the others
    assert not hasattr(boosting, "leave_out")


def test_two_analyses_of_a_study_do_not_show_a_level_of_few_by_their_groups() -> None:
    """One of all hospitals, the other of those of two groups: what is left are the sums of the third, three people."""
    text = '[study]\nid = "s"\npurpose = "research"\n[data]\ntable = "t"\n'
    for name, group in (("all", ""), ("most", 'group = ["a", "b", "c", "d", "e", "f"]\n')):
        text += f'[[analysis]]\nname = "{name}"\nmethod = "logistic"\nformula = "ill ~ x + rare"\n{group}'
    with pytest.raises(StudyError, match="ask hospitals that overlap"):
        cf.local(people(FEW)).run(parse(text))


def test_people_left_out_are_told_of_all_and_of_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """51 miss a value, 48 without the last group: told of the two, that three of it do."""
    told: dict[str, set[str]] = {}
    settle = Gate.settle

    def noted(gate: Gate, a: Ask, *rest: Any) -> Any:
        verdict = settle(gate, a, *rest)
        told.setdefault(a.group, set()).update(reason for reason, _ in verdict.left_out)
        return verdict

    monkeypatch.setattr(Gate, "settle", noted)
    hospitals = people(45)
    for i, frame in enumerate(hospitals.values()):
        frame.loc[: 7 if i < 6 else 0, "x"] = np.nan
    found(masked(Logistic("ill ~ x", leave_out=GROUPS), hospitals))
    groups = {group: reasons for group, reasons in told.items() if group}
    assert len(groups) == 2 * len(GROUPS) + 1
    assert {group for group, reasons in groups.items() if reasons} == {",".join(NAMES)}
    assert "missing x" in groups[",".join(NAMES)]
