"""Log-rank tests and their variants against R's survdiff (and, for weights that it lacks, R by hand), and by hand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import LEUKAEMIA, LOGRANK

from confrere.analyses.finding import Finding
from confrere.analyses.logrank import LogRank
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import BREAST, EXACT, GATE, LOOSE, breast, by, column, demo, fit, found, late, lung, masked, oracle, typed

FINE = Ground(BREAST, fine=True)
SEX = Schema({"sex": Column("sex", ("1", "2"))})
DAYS, HORMON, SIZE = "Surv(rtime, recur)", "Surv(rtime, recur) ~ hormon_level", "Surv(rtime, recur) ~ size"
LATE = "Surv(entry, rtime, recur) ~ hormon_level"
OWN = {"baseline": "per hospital"}
TESTS: dict[str, list[tuple[str, dict[str, Any]]]] = {  # by name in logrank.json: all ways to ask for it
    "logrank": [(HORMON, {})],
    "peto": [(HORMON, {"test": "peto"}), (HORMON, {"rho": 1.0})],
    "stratified": [(f"{HORMON} + strata(hospital)", {}), (HORMON, OWN)],
    "stratified_peto": [(f"{HORMON} + strata(hospital)", {"test": "peto"}), (HORMON, OWN | {"test": "peto"})],
    "stratified_size": [(f"{HORMON} + strata(size)", {})],
    "three_groups": [(SIZE, {})],
    "three_groups_stratified": [(f"{SIZE} + strata(hospital)", {}), (SIZE, OWN)],
    "gehan_breslow": [(HORMON, {"test": "gehan"})],
    "tarone_ware": [(HORMON, {"test": "tarone-ware"})],
    "fleming_harrington_1_1": [(HORMON, {"rho": 1.0, "gamma": 1.0})],
    "gehan_breslow_stratified": [
        (f"{HORMON} + strata(hospital)", {"test": "gehan"}),
        (HORMON, OWN | {"test": "gehan"}),
    ],
    "three_groups_tarone_ware": [(SIZE, {"test": "tarone-ware"})],
    "late": [(LATE, {})],
    "late_stratified": [(f"{LATE} + strata(hospital)", {}), (LATE, OWN)],
    "cells_30": [("Surv(cell, recur) ~ hormon_level", {})],
    "lung_sex": [("Surv(time, status == 2) ~ sex", {})],
    "lung_sex_sites": [("Surv(time, status == 2) ~ sex", OWN)],
}
WAYS = [(name, i) for name, ways in TESTS.items() for i in range(len(ways))]


@lru_cache
def r() -> dict[str, Any]:
    """What R says."""
    return oracle("logrank")


@lru_cache
def hospitals(name: str) -> tuple[pd.DataFrame, ...]:
    """The people of a test, at their hospitals."""
    if not name.startswith("lung"):
        frame = breast()
        return tuple(by(late(frame) if name.startswith("late") else frame, "hospital"))
    frame = lung() if "sites" in name else demo("lung").astype(float).assign(inst=lambda f: f["inst"].fillna(0.0))
    return tuple(by(frame.assign(sex=typed(frame[["sex"]].astype(int).astype(str), SEX)["sex"]), "inst"))


def test_of(name: str, way: int) -> Finding:
    """Our test."""
    formula, kind = TESTS[name][way]
    ground = Ground(SEX, fine=True) if name.startswith("lung") else FINE
    return fit(LogRank(formula, ground=ground, **kind), hospitals(name), LOOSE if name.startswith("lung") else EXACT)


test_of.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_it_is_rs(name: str, way: int) -> None:
    said, ours = r()[name], test_of(name, way)
    (test,) = ours.tables["test"]
    assert test["statistic"] == pytest.approx(said["chisq"], rel=1e-10)
    assert test["df"] == said["df"]
    assert [g["group"] for g in ours.tables["groups"]] == said["groups"]
    assert [g["n"] for g in ours.tables["groups"]] == said["n"]
    assert np.allclose(column(ours, "groups", "observed"), said["observed"], rtol=1e-11, atol=0)
    assert np.allclose(column(ours, "groups", "expected"), said["expected"], rtol=1e-11, atol=0)


def test_by_hospital_needs_no_exact_times() -> None:
    """Under the default gate, without any class, the stratified test is R's."""
    ours = fit(LogRank(HORMON, baseline="per hospital", ground=Ground(BREAST)), hospitals("stratified"), GATE)
    assert ours.tables["test"][0]["statistic"] == pytest.approx(r()["stratified"]["chisq"], rel=1e-10)


def test_masked_is_rs() -> None:
    frames = {str(part["hospital"].iloc[0]): part for part in hospitals("stratified")}
    own = found(masked(LogRank(HORMON, baseline="per hospital", ground=Ground(BREAST)), frames))
    assert own.tables["test"][0]["statistic"] == pytest.approx(r()["stratified"]["chisq"], rel=1e-10)
    fine = found(masked(LogRank(SIZE, ground=FINE), frames, allow=["fine_times"]))
    assert fine.tables["test"][0]["statistic"] == pytest.approx(r()["three_groups"]["chisq"], rel=1e-10)


@pytest.mark.parametrize(("name", "tolerance"), [("logrank", 0.1), ("three_groups", 0.03), ("peto", 0.1)])
def test_on_the_default_ladder_it_is_near_the_exact_one(name: str, tolerance: float) -> None:
    formula, kind = TESTS[name][0]
    coarse = fit(LogRank(formula, ground=Ground(BREAST), **kind), hospitals(name), GATE)
    assert coarse.tables["test"][0]["statistic"] == pytest.approx(r()[name]["chisq"], rel=tolerance)
    assert sum(column(coarse, "groups", "observed")) == pytest.approx(
        sum(column(coarse, "groups", "expected")), rel=1e-9
    )


# By hand ------------------------------------------------------------------------------------------------------

GROUND = Ground(
    Schema({"group": Column("group", ("a", "b")), "arm": Column("arm", ("6-MP", "placebo"))}), step=1, fine=True
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("logrank", {}), ("gehan_breslow", {"test": "gehan"}), ("tarone_ware", {"test": "tarone-ware"}),
        ("peto", {"test": "peto"}), ("peto", {"rho": 1.0}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("baseline", ["shared", "per hospital"])
def test_by_hand(name: str, kind: dict[str, Any], baseline: str) -> None:
    wanted = LOGRANK[name]
    frame = typed(pd.DataFrame(LOGRANK["data"]), GROUND.schema)
    parts = [frame] if baseline == "per hospital" else [frame[:2], frame[2:3], frame[3:]]
    ours = fit(LogRank("Surv(time, status) ~ group", baseline=baseline, ground=GROUND, **kind), parts, LOOSE)
    assert ours.tables["test"][0]["statistic"] == pytest.approx(wanted["chisq"], rel=1e-13)
    for field in ("observed", "expected"):
        if field in wanted:
            assert column(ours, "groups", field).tolist() == pytest.approx(wanted[field], rel=1e-13)


def test_leukaemia_by_hand() -> None:
    wanted = LEUKAEMIA["logrank"]
    frame = typed(pd.DataFrame(LEUKAEMIA["data"]), GROUND.schema)
    ours = fit(LogRank("Surv(time, status) ~ arm", ground=GROUND), by(frame, "status"), LOOSE)
    groups = {g["group"]: g for g in ours.tables["groups"]}
    assert {name: g["observed"] for name, g in groups.items()} == wanted["observed"]
    assert {name: round(g["expected"], 2) for name, g in groups.items()} == wanted["expected_2_decimals"]
    assert round(ours.tables["test"][0]["statistic"], 2) == wanted["chisq_2_decimals"]


# What is wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "kind", "says"),
    [
        (f"{DAYS} ~ 1", {}, "compares groups"),
        (f"{DAYS} ~ log(age)", {}, "groups are columns"),
        (HORMON, {"test": "wilcoxon"}, "must be one of"),
        (HORMON, {"baseline": "none"}, "'shared' or 'per hospital'"),
        (HORMON, {"rho": -1.0}, "0 or positive"),
    ],
)
def test_settings_that_make_no_test(formula: str, kind: dict[str, Any], says: str) -> None:
    with pytest.raises((FormulaError, StudyError), match=says):
        LogRank(formula, ground=FINE, **kind).check()


@pytest.mark.parametrize("baseline", ["shared", "per hospital"])
def test_one_group_cannot_be_compared(baseline: str) -> None:
    frame = breast()
    alone = by(frame[frame["hormon"] == 1], "hospital")
    with pytest.raises(ModelError, match="fewer than two groups"):
        fit(LogRank(HORMON, baseline=baseline, ground=FINE), alone, LOOSE)
