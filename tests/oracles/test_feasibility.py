"""Feasibility against brute force in R over the pooled rows, and against a case worked out on paper."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import FEASIBILITY
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.feasibility import Feasibility
from confrere.analyses.feasibility_accrual import Calendar, Rate, Stretch, rate
from confrere.analyses.feasibility_patterns import Patterns, Told, bounds, shapley
from confrere.console.demo import load
from confrere.hospital.gate import Policy
from confrere.hospital.margins import hide
from confrere.study.circe import definition
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import GATE, LOOSE, fit, oracle

R = oracle("feasibility")
GROUND = Ground(Schema({"_sex": Column("_sex", ("female", "male", "other"))}))
LAB = {"CriteriaList": [{"Criteria": {"Measurement": {"ValueAsNumber": {"Value": 10, "Op": "gte"}}}}]}


def circe(*rules: str, width: int = 0) -> str:
    """A definition with rules of these names; `lab` asks for a measurement. `width` tells variants apart."""
    made = [
        {"name": r, "expression": LAB if r == "lab" else {"Groups": [], "Count": width * (r == "nodes")}} for r in rules
    ]
    return json.dumps({"PrimaryCriteria": {"CriteriaList": []}, "InclusionRules": made})


NAMES = ("age", "nodes", "lab", "grade")
BASE, WIDER = circe(*NAMES), circe(*NAMES, width=1)


def breast() -> pd.DataFrame:
    """The women of the demo as a hospital's table of people; as in make_feasibility.R."""
    frame = pd.concat(load("breast")[1].values())
    pid = frame["pid"].astype(int)
    entered, made = (pid % 10 != 0).to_numpy(), definition(BASE)
    day = np.floor(365.25 * (frame["year"] - 1970)) + (pid * 7919) % 365
    nodes = frame["nodes"]
    lab = (frame["pgr"] >= 10).astype(float).mask((pid * 12997) % 107 < 20)
    answers = {
        made.rule(1): frame["age"] >= 50, made.rule(2): nodes <= 3, made.rule(3): lab,
        made.rule(4): frame["grade"] == 3, definition(WIDER).rule(2): nodes <= 9,
    }  # fmt: skip
    columns = {name: np.where(entered, np.asarray(met, dtype=float), np.nan) for name, met in answers.items()}
    columns |= {
        made.entry: np.where(entered, day, np.nan),
        "_birth": np.floor(365.25 * (frame["year"] - frame["age"] - 1970)),
    }
    return pd.DataFrame(columns).assign(_sex=pd.Categorical(["female"] * len(frame), ["female", "male", "other"]))


@pytest.fixture(scope="module", params=["all told", "the gate"])
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    frame = breast()
    analysis = Feasibility(BASE, (1979, 1992), (WIDER,), ground=GROUND)
    made = fit(analysis, [frame[i::4] for i in range(4)], LOOSE if request.param == "all told" else GATE)
    return {"loose": request.param == "all told", **made.tables}


def told(record: dict[str, Any], truth: float, loose: bool) -> bool:
    """Whether a record says the truth: exactly if all is told, else within its ends."""
    if loose or record["n"] is not None:
        return bool(np.isclose(record["n"], truth, rtol=1e-12))
    return bool(record["n_low"] - 1e-9 <= truth <= record["n_high"] + 1e-9)


def test_the_funnel(found: dict[str, Any]) -> None:
    assert [r["n"] for r in found["funnel"]] == [R["people"], *R["funnel"]]


@pytest.mark.parametrize("measure", ["alone", "without", "gain", "shapley"])
def test_criteria(found: dict[str, Any], measure: str) -> None:
    records = [r for r in found["criteria"] if r["measure"] == measure]
    assert len(records) == len(NAMES)
    assert all(told(r, truth, found["loose"]) for r, truth in zip(records, R[measure], strict=True))


def test_unknown_is_told_apart(found: dict[str, Any]) -> None:
    (record,) = [r for r in found["criteria"] if r["measure"] == "unknown"]
    assert record["criterion"] == "lab"
    assert told(record, R["unknown"], found["loose"])


def test_a_variant(found: dict[str, Any]) -> None:
    (record,) = found["variants"]
    assert (record["number"], record["criterion"]) == (2, "nodes")
    assert told(record, R["variant"], found["loose"])


def test_years_and_ages(found: dict[str, Any]) -> None:
    by = {kind: [r for r in found["breakdown"] if r["by"] == kind] for kind in ("year", "age", "sex")}
    years = dict(R["years"])
    for record in by["year"]:
        first, last = int(record["level"][:4]), int(record["level"][-4:])
        assert record["n"] == sum(years[str(y)] for y in range(first, last + 1))
    assert sum(r["n"] for r in by["year"]) >= sum(years.values()) - (0 if found["loose"] else 13)  # the first few years
    assert sum(r["n"] for r in by["age"]) == sum(R["ages"]) == R["funnel"][-1]
    bands = ("0 to 17", "18 to 29", "30 to 39", "40 to 49", "50 to 59", "60 to 69", "70 to 79", "80 or more", "unknown")
    ages = dict(zip(bands, [*R["ages"], 0], strict=True))
    assert all(r["n"] == sum(ages[band] for band in r["level"].split(", ")) for r in by["age"])
    assert by["sex"][0]["n"] == R["funnel"][-1]


def test_months_of_entry(found: dict[str, Any]) -> None:
    calendar = [f"{y}-{m:02d}" for y in range(1979, 1993) for m in range(1, 13)]
    for record in found["entries"]:
        low, high = calendar.index(record["from"]), calendar.index(record["until"])
        assert record["n"] == sum(R["months"][low : high + 1])
        assert record["months"] == high - low + 1
        assert found["loose"] or record["n"] == 0 or record["n"] >= 11


def test_accrual_is_that_of_qnbinom() -> None:
    made = Rate(R["recent"], 24, 1.0, 1, 24)
    for h, mean, low, high in zip(range(1, 13), R["expected"], R["low"], R["high"], strict=True):
        assert np.allclose(made.ahead(h), (mean, low, high), rtol=1e-12)


def test_accrual_rests_on_the_last_months(found: dict[str, Any]) -> None:
    year = [r for r in found["accrual"] if r["month"] == 12]
    if found["loose"]:  # not merged: the 24 last months
        assert np.isclose(year[0]["expected"], R["expected"][-1], rtol=1e-12)
    assert year[0]["conf_low"] < year[0]["expected"] < year[0]["conf_high"]


def test_by_hand() -> None:
    case = FEASIBILITY
    made = definition(circe("one", "lab"))
    rows = [(np.nan if a is None else a, np.nan if b is None else b) for (a, b), n in case["people"] for _ in range(n)]
    entered = [a is not None for (a, _), n in case["people"] for _ in range(n)]
    frame = pd.DataFrame(rows, columns=[made.rule(1), made.rule(2)])
    frame = frame.assign(_birth=0.0, _sex="female", **{made.entry: np.where(entered, 17600.0, np.nan)})
    for policy, name in ((LOOSE, "n"), (GATE, "told")):
        analysis = Feasibility(circe("one", "lab"), (2018, 2019), ground=GROUND)
        tables = fit(analysis, [frame[i::3] for i in range(3)], policy).tables
        assert [r["n"] for r in tables["funnel"]] == case[name]["funnel"]
        said = {(r["criterion"], r["measure"]): r["n"] if r["n"] is not None else (r["n_low"], r["n_high"])
                for r in tables["criteria"]}  # fmt: skip
        assert said == case[name]["criteria"]


# The parts, against their definitions ---------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_shapley_is_the_mean_over_all_orders(open_: list[bool], seed: int) -> None:
    patterns = Patterns(tuple(open_))
    people = np.random.default_rng(seed).integers(0, 30, patterns.size).astype(float)
    met, count = patterns.met(), len(open_)

    def left(criteria: tuple[int, ...]) -> float:
        return float(people[patterns.meeting(list(criteria))].sum()) if criteria else float(people[1:].sum())

    orders = list(itertools.permutations(range(count)))
    for j in range(count):
        losses = [left(o[: o.index(j)]) - left(o[: o.index(j) + 1]) for o in orders]
        assert np.isclose(people @ shapley(patterns)[:, j], np.mean(losses), rtol=1e-12, atol=1e-9)
    assert met.shape == (patterns.size, count)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_truth_lies_between_the_ends(seed: int) -> None:
    """People as they are, told by the gate's rule: every sum over patterns is within its ends."""
    rng = np.random.default_rng(seed)
    patterns = Patterns((False, True, False))
    truth = rng.choice([0, 1, 4, 9, 12, 40], patterns.size).astype(float)
    group = patterns.stops()
    totals = np.array([truth[group == g].sum() for g in range(5)])
    grids = [hide("", np.where(group == g, truth, 0.0)[None], Policy())[0] for g in range(5)]
    enough = np.where((totals == 0) | (totals >= 11))[0]
    hidden = np.array([grids[g][at] < 0 for at, g in enumerate(group)])
    kept = np.isin(group, enough)
    told = Told(np.where(hidden, 0.0, truth)[kept], hidden[kept], group[kept], totals * np.isin(range(5), enough), 11)
    for weights in (*rng.random((4, kept.sum())), *rng.integers(0, 2, (4, kept.sum())).astype(float)):
        low, high = bounds(told, weights)
        assert low - 1e-9 <= truth[kept] @ weights <= high + 1e-9


def test_dispersion_widens_the_interval() -> None:
    calendar = Calendar(2020, 2021)
    even = [Stretch(m, m, 20.0) for m in range(1, 25)]
    uneven = [Stretch(m, m, 40.0 * (m % 2)) for m in range(1, 25)]
    one, other = rate(calendar, even, 24), rate(calendar, uneven, 24)
    assert one is not None
    assert other is not None
    assert one.people == other.people
    assert one.dispersion == 1.0
    assert np.isclose(other.dispersion, 24 * 20 / 23)
    assert other.ahead(12)[2] > one.ahead(12)[2]
