"""Standardised, augmented and censoring-weighted effects on times to events against R, and a case by hand.

Cells are those of the study, without merging; hazards in R are `glm(poisson)`'s on `survSplit` people.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import EFFECT_STAYING

from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.console.demo import load
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "effects_hazards.json").read_text())
BREAST = Schema({"size": Column("size", ("<=20", "20-50", ">50"))})
YEARS = Ground(BREAST, step=365.0, horizon=2555.0)
TERMS = "age + meno + C(size) + grade + nodes"
TIMES, TAU = tuple(map(float, ORACLE["times"])), float(ORACLE["tau"])


def breast() -> list[pd.DataFrame]:
    """The demo's people by hospital."""
    _, hospitals = load("breast")
    return [frame.assign(size=pd.Categorical(frame["size"], BREAST.levels("size"))) for frame in hospitals.values()]


def found(spec: dict[str, Any]) -> Finding:
    """The finding of a case of the oracle, without thresholds."""
    right = {k: spec[k].removeprefix("~ ") for k in ("outcome_model", "censoring") if k in spec}
    effect = Effect(
        "hormon", "Surv(rtime, recur)", TERMS, spec["estimator"], spec["estimand"], times=TIMES, tau=TAU, ground=YEARS,
        baseline="shared" if spec.get("shared") else "per hospital", **right,
    )  # fmt: skip
    effect.check()
    return fit(effect, breast(), LOOSE)


CASES = [*ORACLE["standardised"].values(), *ORACLE["staying"].values()]
NAMES = [*ORACLE["standardised"], *ORACLE["staying"]]


@pytest.mark.parametrize("want", CASES, ids=NAMES)
def test_values_and_their_covariance_equal_r(want: dict[str, Any]) -> None:
    """Risks, means and hazard ratios to 1e-8; standard errors, of differences too, to 1e-6: R's slopes are numeric."""
    got = found(want["spec"])
    assert got.n == want["n"]
    values, vcov = np.array(want["values"]), np.array(want["vcov"])
    rows = [*got.tables["risks"], *got.tables["rmst"]]
    order = [2 * TIMES.index(t) + a for t in TIMES for a in (0, 1)] + [4, 5]
    np.testing.assert_allclose([r["estimate"] for r in rows], values[order], rtol=1e-8)
    np.testing.assert_allclose([r["std_error"] for r in rows], np.sqrt(np.diag(vcov))[order], rtol=1e-6)
    places = {("risk difference", TIMES[0]): 0, ("risk difference", TIMES[1]): 2, ("RMST difference", TAU): 4}
    for row in got.tables["effects"]:
        place = places.get((row["measure"], row.get("time")))
        if place is not None:
            one, other = place + 1, place
            variance = vcov[one, one] + vcov[other, other] - 2 * vcov[one, other]
            assert row["estimate"] == pytest.approx(values[one] - values[other], rel=1e-7)
            assert row["std_error"] == pytest.approx(np.sqrt(variance), rel=1e-6)
        if row["measure"] == "hazard ratio":
            assert row["estimate"] == pytest.approx(values[6], rel=1e-8)
            assert row["std_error"] == pytest.approx(np.sqrt(vcov[6, 6]), rel=1e-6)


FATES = Schema({**BREAST.columns, "fate": Column("fate", ("alive", "relapse", "death"))})
CAUSES = ORACLE["causes"]["found"]


@pytest.mark.parametrize("want", CAUSES.values(), ids=CAUSES)
def test_risks_of_causes_and_their_covariance_equal_r(want: dict[str, Any]) -> None:
    """Of relapse, and of death without one."""
    spec, times = want["spec"], tuple(map(float, ORACLE["causes"]["times"]))
    right = {k: spec[k].removeprefix("~ ") for k in ("outcome_model", "censoring") if k in spec}
    ground = Ground(FATES, step=730.0, horizon=2920.0)
    frames = []
    for f in breast():
        fate = pd.Categorical.from_codes(np.where(f["recur"] == 1, 1, 2 * f["death"]), FATES.levels("fate"))
        frames.append(f.assign(fate=fate, t=np.where(f["recur"] == 1, f["rtime"], f["dtime"]).astype(float)))
    effect = Effect(
        "hormon", "Surv(t, fate)", TERMS, spec["estimator"], spec["estimand"], cause="relapse", times=times,
        ground=ground, **right,
    )  # fmt: skip
    effect.check()
    got = fit(effect, frames, LOOSE)
    place = {(t, c): 4 * i + 2 * j for i, t in enumerate(times) for j, c in enumerate(("relapse", "death"))}
    values, vcov = np.array(want["values"]), np.array(want["vcov"])
    assert (got.n, len(got.tables["risks"]), len(got.tables["effects"])) == (want["n"], 8, 8)
    for row in got.tables["risks"]:
        at = place[row["time"], row["cause"]] + (row["group"] == "treated")
        assert row["estimate"] == pytest.approx(values[at], rel=1e-8)
        assert row["std_error"] == pytest.approx(np.sqrt(vcov[at, at]), rel=1e-6)
    for row in got.tables["effects"]:
        at = place[row["time"], row["cause"]]
        by = np.array([-1.0, 1.0]) / (values[at : at + 2] if row["measure"] == "risk ratio" else 1.0)
        assert row["std_error"] == pytest.approx(np.sqrt(by @ vcov[at : at + 2, at : at + 2] @ by), rel=1e-6)


def test_by_hand() -> None:
    """Weights against censoring by arm, in one cell of time."""
    people = pd.DataFrame(EFFECT_STAYING["data"], dtype=float)
    ground = Ground(step=10.0, horizon=10.0)
    for baseline in ("per hospital", "shared"):
        effect = Effect("a", "Surv(t, e)", "c", censoring="1", baseline=baseline, times=(10.0,), ground=ground)  # type: ignore[arg-type]
        frames = [people] if baseline == "per hospital" else [people.iloc[::2], people.iloc[1::2]]
        rows = {r["measure"]: r["estimate"] for r in fit(effect, frames, LOOSE).tables["effects"]}
        for measure, value in EFFECT_STAYING["effects"].items():
            assert rows[measure] == pytest.approx(value, rel=1e-9), (measure, baseline)
