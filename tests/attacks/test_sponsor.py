"""A trial's arm at its sponsor: the sponsor may give its own sums away, and nobody else's go with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from attacks.cases import registered
from attacks.detectors import resting_on_few, rows
from attacks.people import GROUND, Table, patients
from attacks.view import record
from confrere.hospital.gate import Policy, Support, Violation, judge, support_of
from confrere.rounds import Design, find
from confrere.study.schema import Column, Schema
from confrere.testing import GATE

ALONE = ("sponsor",)
FLOWS = {
    "effect": lambda: find("effect")("treated", "y", "x1 + x2", estimand="ATT", ground=GROUND),
    "augmented": lambda: find("effect")(
        "treated", "y", "x1", "aipw", "ATT", outcome_model="treated * x1", ground=GROUND
    ),
    "its mark as an outcome": lambda: find("logistic")("treated ~ x1 + x2", ground=GROUND),
    "its mark as a term": lambda: find("linear")("y ~ x1 + treated", ground=GROUND),
    "the others' mark": lambda: find("linear")("y ~ x1 + control", ground=GROUND),
}


def network(frame: pd.DataFrame | None = None, hospitals: int = 3, shared: int = 0) -> dict[str, Table]:
    """The treated at a sponsor, all but `shared` of them who are h0's; the others dealt to hospitals."""
    registered()
    frame = patients(720) if frame is None else frame
    frame = frame.assign(control=1 - frame["treated"])
    treated = np.flatnonzero(frame["treated"] == 1)
    mine, others = treated[shared:], np.setdiff1d(np.arange(len(frame)), treated[shared:])
    parts = {"sponsor": frame.iloc[mine]} | {f"h{i}": frame.iloc[others[i::hospitals]] for i in range(hospitals)}
    if shared:
        parts["h0"] = pd.concat([parts["h0"][parts["h0"]["treated"] == 0], frame.iloc[treated[:shared]]])
        parts |= {h: f[f["treated"] == 0] for h, f in parts.items() if h not in ("sponsor", "h0")}
    return {name: Table(f.reset_index(drop=True)) for name, f in parts.items()}


def test_without_its_word_nothing_of_the_sponsors_leaves() -> None:
    for make in FLOWS.values():
        with pytest.raises(Violation, match=r"hospitals? only"):
            record(make().flow(), network())


@pytest.mark.parametrize("name", FLOWS)
def test_with_its_word_a_study_passes(name: str) -> None:
    view = record(FLOWS[name]().flow(), network(), alone=ALONE)
    assert view.finding.n == 720


def test_the_word_of_one_member_is_not_that_of_another() -> None:
    """h0's own mark, in a network whose sponsor gives its own sums away."""
    tables = network()
    marked = {
        h: Table(t.frame.assign(mine=(np.arange(len(t.frame)) % 2) * float(h == "h0"))) for h, t in tables.items()
    }
    with pytest.raises(Violation, match="'mine' has people in 1 hospital only"):
        record(find("linear")("y ~ x1 + mine", ground=GROUND).flow(), marked, alone=ALONE)


def test_a_hospital_that_shares_the_arm_is_not_uncovered() -> None:
    """h0 has treated people as well: their sums would be those of the arm less the sponsor's."""
    with pytest.raises(Violation, match="'treatment treated' has people in 1 hospital only"):
        record(FLOWS["effect"]().flow(), network(shared=40), alone=ALONE)


def test_controls_of_two_hospitals_are_too_few() -> None:
    """Totals less the sponsor's would be those of two hospitals, known to each other."""
    for name in ("effect", "its mark as a term", "its mark as an outcome"):
        with pytest.raises(Violation, match="2 hospitals have at least"):
            record(FLOWS[name]().flow(), network(hospitals=2), alone=ALONE)


@pytest.mark.parametrize(
    ("asked", "passes"), [((0, 0, 0), True), ((1, 0, 0), False), ((1, 1, 0), False), ((1, 1, 1), True)]
)
def test_members_that_are_asked_alone_make_nobody_else_safe(asked: tuple[int, ...], passes: bool) -> None:
    """A sum with theirs less the sum of theirs alone would be that of one or two hospitals which said nothing."""
    sizes = [50, 50, *(40 * there for there in asked)]  # two members that consented; three that did not
    designs = [Design(n=n, rows=np.ones(n, dtype=bool)) for n in sizes]
    policies = [replace(GATE, alone=i < 2) for i in range(5)]
    supports = [support_of(d, policy) for d, policy in zip(designs, policies, strict=True)]
    total = Support(*(np.sum([getattr(s, f) for s in supports], axis=0) for f in Support._fields))
    if passes:
        judge(designs[0], total, GATE)
        return
    with pytest.raises(Violation, match="a sum needs 3"):
        judge(designs[0], total, GATE)


def test_a_study_of_the_sponsor_and_one_hospital_is_refused() -> None:
    with pytest.raises(Violation, match="1 hospital has at least"):
        record(find("linear")("y ~ x1", ground=GROUND).flow(), network(hospitals=1), alone=ALONE)


def test_who_knows_all_of_the_sponsors_learns_no_few_of_the_others() -> None:
    """The coordinator, with the sponsor on its side: what is left of every sum rests on many, of three hospitals."""
    tables = network(patients(240))
    for name in ("effect", "augmented", "its mark as a term"):
        found = rows(record(FLOWS[name]().flow(), tables, alone=ALONE))
        place = np.concatenate([np.full(len(t.frame), i) for i, t in enumerate(tables.values())])
        left = found.weights.copy()
        left[:, place == 0] = 0.0
        assert not resting_on_few(found._replace(weights=left), Policy().k)
        behind = np.array([(left[:, place == i] != 0).any(axis=1) for i in (1, 2, 3)]).sum(axis=0)
        assert set(behind.tolist()) <= {0, 3}
        assert (behind == 0).any()  # the sponsor's own did leave


def test_the_word_is_about_hospitals_and_not_about_patients() -> None:
    """Five of the sponsor's people stay five people."""
    tables = network()
    rare = {
        h: Table(t.frame.assign(rare=((np.arange(len(t.frame)) < 5) & (h == "sponsor")).astype(float)))
        for h, t in tables.items()
    }
    with pytest.raises(Violation, match="'rare' rests on fewer than 11"):
        record(find("linear")("y ~ x1 + rare", ground=GROUND).flow(), rare, alone=ALONE)


def test_a_table_by_member() -> None:
    """Table 1 of the sponsor's people, without its word; with it they are described."""
    table = find("describe")(("x1", "x2"), by="arm", ground=GROUND)
    with pytest.raises(Violation, match=r"'group [ab]' has people (without it )?in 1 hospital only"):
        record(table.flow(), grouped())
    assert record(table.flow(), grouped(), alone=ALONE).finding.n == 720


def test_a_table_of_two_hospitals_by_member() -> None:
    """Totals less the sponsor's would be those of two hospitals, known to each other."""
    table = find("describe")(("x1", "x2"), by="arm", ground=GROUND)
    with pytest.raises(Violation, match="2 hospitals"):
        record(table.flow(), grouped(2), alone=ALONE)


def grouped(hospitals: int = 3) -> dict[str, Table]:
    """The network, with a column of two declared levels that tells the sponsor's people."""
    tables = network(hospitals=hospitals)
    level = {
        h: pd.Categorical(np.full(len(t.frame), "b" if h == "sponsor" else "a"), ["a", "b"]) for h, t in tables.items()
    }
    return {h: Table(t.frame.assign(arm=level[h])) for h, t in tables.items()}


def told(variables: tuple[str, ...], tables: dict[str, Table], by: str = "", **kind: object) -> list[dict[str, object]]:
    """The records of variables of Table 1."""
    return record(find("describe")(variables, by=by, ground=GROUND).flow(), tables, **kind).finding.tables["table1"]


@pytest.mark.parametrize("by", ["", "stage"])
def test_a_variable_of_one_hospital(by: str) -> None:
    """Only h0 has it, or has it of some: its people are not described; those of three hospitals are."""
    for name, having in (("one", ["h0"]), ("two", ["h0", "h1"]), ("three", ["h0", "h1", "h2"])):
        tables = {h: Table(t.frame.assign(own=t.frame["x1"] if h in having else np.nan)) for h, t in network().items()}
        rows = [r for r in told(("x2", "own"), tables, by) if r["variable"] == "own"]
        numbers = [r[key] for r in rows for key in ("n", "missing", "mean", "median", "std_dev")]
        # by groups, those who miss it are the sponsor's outcomes
        assert all(v is None for v in numbers) == (name != "three" or bool(by))
        assert all(r["mean"] is not None for r in told(("x2", "own"), tables, by) if r["variable"] == "x2")


@pytest.mark.parametrize("by", ["", "stage"])
def test_a_level_of_one_hospital(by: str) -> None:
    """Nor by subtraction: with the sponsor's level the others' are left out, unless it gives them away."""
    assert all(r["n"] is None for r in told(("arm",), grouped(), by))
    assert all(r["n"] is not None for r in told(("arm",), grouped(), by, alone=ALONE))


def test_a_level_of_one_hospital_takes_one_of_several_with_it() -> None:
    """Of a, b, c and the sponsor's own, the smallest of the others; what is left out together is of all hospitals."""
    tables = {
        h: Table(t.frame.assign(site=np.where(h == "sponsor", 3, np.arange(len(t.frame)) % 7 // 3)))
        for h, t in network().items()
    }
    levels = ("a", "b", "c", "own")
    tables = {
        h: Table(t.frame.assign(site=pd.Categorical.from_codes(t.frame["site"], levels))) for h, t in tables.items()
    }
    ground = replace(GROUND, schema=Schema({**GROUND.schema.columns, "site": Column("site", levels)}))
    rows = record(find("describe")(("site",), ground=ground).flow(), tables).finding.tables["table1"]
    assert {r["level"]: r["n"] is None for r in rows} == {"a": False, "b": False, "c": True, "own": True}


@pytest.mark.xfail(
    strict=True,
    reason="gate: groups of curves are cells, of which nobody counts the hospitals; marks of them would refuse tests "
    "that are stratified by a column of hospitals",
)
@pytest.mark.parametrize(
    ("method", "formula"),
    [
        ("kaplan_meier", "Surv(time, event) ~ arm"), ("logrank", "Surv(time, event) ~ arm"),
        ("competing_risks", "Surv(time, status) ~ arm"),
    ],
)  # fmt: skip
def test_curves_by_member(method: str, formula: str) -> None:
    """The sponsor's curve, without its word; with it, and three hospitals beside it, both are drawn."""
    with pytest.raises(Violation, match=r"'group [ab]' has people (without it )?in 1 hospital only"):
        record(find(method)(formula, ground=GROUND).flow(), grouped())
    assert record(find(method)(formula, ground=GROUND).flow(), grouped(), alone=ALONE).finding.n == 720
    with pytest.raises(Violation, match="2 hospitals"):
        record(find(method)(formula, ground=GROUND).flow(), grouped(2), alone=ALONE)


@pytest.mark.parametrize("outcome", ["y", "Surv(time, event)"])
def test_a_sponsors_trial_with_a_score_of_the_hospitals(outcome: str) -> None:
    """Both arms at the sponsor, the score from three hospitals: nothing without its word; with it no few of theirs."""
    frame = patients(900)
    place = np.where(frame["arm"] == "b", -1, np.arange(len(frame)) % 3)
    parts = {"sponsor": frame[place < 0]} | {f"h{i}": frame[place == i] for i in range(3)}
    tables = {h: Table(f.reset_index(drop=True)) for h, f in parts.items()}
    study = find("prognostic")("treated", outcome, "arm", "x1 + x2", ground=GROUND)
    with pytest.raises(Violation, match=r"1 hospital has at least 11 people .*\[disclosure\] alone"):
        record(study.flow(), tables)
    found = rows(record(study.flow(), tables, alone=ALONE))
    place = np.concatenate([np.full(len(t.frame), i) for i, t in enumerate(tables.values())])
    left = found.weights.copy()
    left[:, place == 0] = 0.0
    assert not resting_on_few(found._replace(weights=left), Policy().k)
