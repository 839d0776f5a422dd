"""Effects on times to events against R's weighted Cox models and curves, a case by hand, and the truth of a federation.

Times are exact there, so that R's risk sets are ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import EFFECT_SURVIVAL

from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.analyses.kaplan_meier import KaplanMeier
from confrere.console.demo import load
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "effects_survival.json").read_text())
BREAST = Schema({"size": Column("size", ("<=20", "20-50", ">50"))})
MYELOMA = Schema({"event": Column("event", ("censored", "progression", "death")), "sex": Column("sex", ("F", "M"))})
EXACT = Ground(BREAST, fine=True, step=1.0)
MONTHS = Ground(MYELOMA, unit="months", step=1, horizon=430, fine=True)
TERMS = "age + meno + C(size) + grade + nodes"


def breast() -> list[pd.DataFrame]:
    """The demo's people by hospital."""
    _, hospitals = load("breast")
    return [frame.assign(size=pd.Categorical(frame["size"], BREAST.levels("size"))) for frame in hospitals.values()]


def myeloma() -> list[pd.DataFrame]:
    """The same of the demo with competing causes."""
    _, hospitals = load("myeloma")
    levels = {name: MYELOMA.levels(name) for name in ("event", "sex")}
    return [f.assign(**{n: pd.Categorical(f[n], made) for n, made in levels.items()}) for f in hospitals.values()]


def effect_of(spec: dict[str, Any], causes: bool = False, ground: Ground = EXACT, **more: Any) -> Effect:
    """The study of a case of the oracle."""
    settings = {
        "estimand": spec["estimand"], "ties": spec.get("ties", "efron"), "stabilised": spec.get("stabilised", False),
        "baseline": "shared" if spec.get("shared") else "per hospital",
        "truncate": tuple(np.ravel(spec.get("truncate", ())).astype(float).tolist()),
    } | more  # fmt: skip
    if causes:
        return Effect("sex", "Surv(etime, event)", "age + hgb + mspike", ground=MONTHS, **settings)
    return Effect("hormon", "Surv(rtime, recur)", TERMS, ground=ground, **settings)


def found(effect: Effect, frames: list[pd.DataFrame]) -> Finding:
    """The finding without thresholds, its settings checked first."""
    effect.check()
    return fit(effect, frames, LOOSE)


@pytest.mark.parametrize("case", ORACLE["hazard_ratios"])
def test_hazard_ratios_and_their_variance_equal_r(case: str) -> None:
    """The weighted fit to 1e-9, its standard error to 1e-7: R's derivatives are numerical ones."""
    want = ORACLE["hazard_ratios"][case]
    effect = effect_of(want["spec"], case == "cause", **({"cause": "progression"} if case == "cause" else {}))
    got = found(effect, myeloma() if case == "cause" else breast())
    assert got.n == want["n"]
    row = got.tables["effects"][0]
    assert row["measure"] == "hazard ratio"
    assert row["estimate"] == pytest.approx(want["estimate"], rel=1e-9, abs=1e-10)
    assert row["std_error"] == pytest.approx(want["std_error"], rel=1e-7)
    assert row["ratio"] == pytest.approx(np.exp(want["coxph"]), rel=1e-6)  # coxph stops early
    assert np.sqrt(got.arrays["naive_vcov"][0, 0]) == pytest.approx(want["naive"], rel=1e-8)


@pytest.mark.parametrize("case", ORACLE["curves"])
def test_risks_and_restricted_means_equal_r(case: str) -> None:
    """Values of weighted curves on exact times to 1e-9, covariances to 1e-6."""
    want = ORACLE["curves"][case]
    competing = case == "causes"
    more = {"times": tuple(map(float, want["times"]))} | ({} if competing else {"tau": float(want["tau"])})
    got = found(effect_of(want["spec"], competing, **more), myeloma() if competing else breast())
    records = [(r["estimate"], r["std_error"]) for r in got.tables["risks"] + got.tables.get("rmst", [])]
    order = _order(want)
    values, vcov = np.array(want["values"]), np.array(want["vcov"])
    np.testing.assert_allclose([v for v, _ in records], values[order], rtol=1e-9)
    np.testing.assert_allclose([se for _, se in records], np.sqrt(np.diag(vcov))[order], rtol=1e-6)
    for row in got.tables["effects"]:
        if row["measure"].endswith("difference"):
            one, other = _pair(want, row)
            assert row["estimate"] == pytest.approx(values[one] - values[other], rel=1e-8)
            variance = vcov[one, one] + vcov[other, other] - 2 * vcov[one, other]
            assert row["std_error"] == pytest.approx(np.sqrt(variance), rel=1e-6)


def _places(want: dict[str, Any]) -> list[tuple[int, str, str, float]]:
    """What each value of the oracle is: arm, measure, cause, time."""
    causes = list(np.ravel(want["causes"]).tolist())
    made: list[tuple[int, str, str, float]] = []
    for arm in (0, 1):
        made += [(arm, "risk difference", cause, float(t)) for cause in causes for t in want["times"]]
        made += [] if len(causes) > 1 else [(arm, "RMST difference", "", float(want["tau"]))]
    return made


def _order(want: dict[str, Any]) -> list[int]:
    """The oracle's values in the order of our tables: risks by cause, time and arm, then means by arm."""
    places = _places(want)
    causes = list(np.ravel(want["causes"]).tolist())
    key = [(p[1] != "risk difference", causes.index(p[2]), p[3], p[0]) for p in places]
    return sorted(range(len(places)), key=lambda i: key[i])


def _pair(want: dict[str, Any], row: dict[str, Any]) -> tuple[int, int]:
    """Where the oracle has the treated and the others of a record."""
    places = _places(want)
    about = row["measure"], row.get("cause", ""), row["time"]
    return places.index((1, *about)), places.index((0, *about))


def test_by_hand() -> None:
    """One confounder of two levels: weights, hazard ratio and risks can be worked out."""
    people = pd.DataFrame(EFFECT_SURVIVAL["data"])
    ground = Ground(fine=True, step=1.0, horizon=5.0)
    effect = Effect("a", "Surv(t, e)", "c", baseline="shared", ties="breslow", times=(1.0, 3.0), tau=4.0, ground=ground)
    got = found(effect, [people.iloc[::2], people.iloc[1::2]])
    rows = {(r["measure"], r.get("time")): r["estimate"] for r in got.tables["effects"]}
    for key, value in EFFECT_SURVIVAL["effects"].items():
        assert rows[key] == pytest.approx(value, rel=1e-9), key
    errors = {(r["measure"], r.get("time")): r["std_error"] for r in got.tables["effects"]}
    for key, value in EFFECT_SURVIVAL["std_error"].items():
        assert errors[key] == pytest.approx(value, rel=1e-8), key
    assert [r["events"] for r in got.tables["arms"]] == EFFECT_SURVIVAL["events"]


def test_arms_of_a_trial_have_kaplan_meiers_curves() -> None:
    """Where treatment depends on nothing that is measured, weights within an arm are alike: the curves are plain."""
    frames, rng = breast(), np.random.default_rng(1)
    frames = [
        f.assign(a=(rng.random(len(f)) < 0.5).astype(float), x=np.where(np.arange(len(f)) % 2, 1.0, -1.0))
        for f in frames
    ]
    ground = Ground(BREAST, marks=(730.0, 1826.0))
    got = fit(
        Effect("a", "Surv(rtime, recur)", "x", propensity=1e9, times=(730.0, 1826.0), ground=ground), frames, GATE
    )
    plain = fit(KaplanMeier("Surv(rtime, recur) ~ a", (730.0, 1826.0), ground=ground), frames, GATE)
    risks = {(r["group"], r["time"]): r["estimate"] for r in got.tables["risks"]}
    for row in plain.tables["survival"]:
        arm = "treated" if row["group"] == "1" else "untreated"
        assert risks[arm, row["time"]] == pytest.approx(1 - row["estimate"], rel=1e-8)
    for ours, row in zip(got.tables["rmst"], plain.tables["rmst"], strict=True):
        assert ours["estimate"] == pytest.approx(row["estimate"], rel=1e-8)
    alike = ("time", "at_risk", "events")
    for one, other in zip(got.tables["curve"], plain.tables["curve"], strict=True):
        assert [one[k] for k in alike] == [other[k] for k in alike]
        assert one["estimate"] == pytest.approx(other["estimate"], rel=1e-8)
