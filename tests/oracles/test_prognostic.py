"""Prognostic covariate adjustment against R's lm, glm and sandwich, simulated trials, and a case by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import PROGNOSTIC

from confrere.analyses.effects.prognostic import Arms, Prognostic
from confrere.console.demo import load
from confrere.report.cautions import said
from confrere.report.words import Words
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "prognostic.json").read_text())
SCHEMA = Schema({"size": Column("size", ("<=20", "20-50", ">50"))})


def breast() -> list[pd.DataFrame]:
    """The demo's people by hospital, in the trial or not."""
    _, hospitals = load("breast")
    return [
        f.assign(
            size=pd.Categorical(f["size"], SCHEMA.levels("size")), inside=(f["pid"] % 4 == 0).astype(float),
            a=(f["pid"] % 8 == 0).astype(float), lognodes=np.log(f["nodes"] + 1),
        )
        for f in hospitals.values()
    ]  # fmt: skip


@pytest.mark.parametrize("name", ORACLE["cases"])
def test_effects_and_plans_are_rs(name: str) -> None:
    want = ORACLE["cases"][name]
    call: dict[str, Any] = {
        k: v.replace("size", "C(size)") if isinstance(v, str) else v for k, v in want["call"].items()
    }
    study = Prognostic("a", trial="inside", ground=Ground(SCHEMA), **call)
    study.check()
    got = fit(study, breast(), LOOSE)
    assert (got.n, got.facts["learned_from"]) == (want["n"], want["learned_from"])
    np.testing.assert_allclose([r["estimate"] for r in got.tables["learned"]], want["learned"], rtol=1e-8)
    effects, plan, arms = (got.tables[t] for t in ("effects", "sample_size", "prognosis"))
    np.testing.assert_allclose([r["estimate"] for r in effects], want["estimate"], rtol=1e-9)
    np.testing.assert_allclose([r["std_error"] for r in effects], want["std_error"], rtol=1e-9)
    np.testing.assert_allclose([r["std_dev"] for r in arms], want["sd"], rtol=1e-10)
    np.testing.assert_allclose([r["correlation"] for r in arms], want["correlation"], rtol=1e-9)
    np.testing.assert_allclose([r["variance"] for r in plan], want["variance"], rtol=1e-9)
    np.testing.assert_allclose([r["power"] for r in plan], want["reached"], rtol=1e-9)
    assert [r["n"] for r in plan] == want["people"]
    assert [r["control"] for r in plan] == want["control"]


def test_the_plan_holds_in_simulated_trials() -> None:
    """4,000 trials whose arms differ in everything: two Monte Carlo standard errors are 4.5 %."""
    want = ORACLE["simulated"]
    arms = Arms(np.ones(2), np.zeros(2), np.array(want["sd"]), np.zeros(2), np.ones(2), np.array(want["correlation"]))
    assert arms.variance(want["share"], arms.r) == pytest.approx(want["variance"], rel=0.045)


def test_arms_alike_need_one_less_r_squared() -> None:
    arms = Arms(np.ones(2), np.zeros(2), np.full(2, 3.0), np.zeros(2), np.ones(2), np.full(2, 0.6))
    assert arms.variance(0.5, arms.r) == pytest.approx(4 * 9 * (1 - 0.36))
    assert arms.variance(0.25, arms.r) == pytest.approx(9 * (1 - 0.36) / (0.25 * 0.75))


def test_a_score_that_foretells_the_opposite_is_told_so() -> None:
    """The outcome outside is its mirror image: the score's is too, by which the trial is adjusted as well."""
    study = Prognostic("a", "age", "inside", "meno + grade", ground=Ground(SCHEMA))
    right = fit(study, breast(), LOOSE)
    mirrored = [f.assign(age=f["age"].where(f["inside"] == 1, 100 - f["age"])) for f in breast()]
    got = fit(study, mirrored, LOOSE)
    assert not right.warnings
    assert [r["correlation"] for r in got.tables["prognosis"]] == pytest.approx(
        [-r["correlation"] for r in right.tables["prognosis"]]
    )
    assert got.tables["effects"][1] == pytest.approx(right.tables["effects"][1])
    (warning,) = got.warnings
    assert "the score foretells the opposite" in warning.text
    assert "gains nothing" not in warning.text
    said_in_french = said(warning.code, warning.text, Words("fr"))
    assert "annonce le contraire" in said_in_french.text
    assert not said_in_french.foreign


def test_by_hand() -> None:
    frame = pd.DataFrame(PROGNOSTIC["data"], dtype=float)
    study = Prognostic("a", "y", "trial", "x", difference=2.0, ground=Ground())
    got = fit(study, [frame.iloc[::2], frame.iloc[1::2]], LOOSE)
    assert [r["estimate"] for r in got.tables["learned"]] == pytest.approx(PROGNOSTIC["learned"])
    for row, (estimate, se) in zip(got.tables["effects"], PROGNOSTIC["effects"], strict=True):
        assert (row["estimate"], row["std_error"]) == pytest.approx((estimate, se))
    assert [r["r_squared"] for r in got.tables["prognosis"]] == pytest.approx(PROGNOSTIC["r_squared"])
    assert [r["variance"] for r in got.tables["sample_size"]] == pytest.approx(PROGNOSTIC["variance"])
