"""Treatment effects against R's stacked estimating equations, a case by hand, published results, and the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import EFFECT

from confrere.analyses.effects.effect import Effect
from confrere.analyses.finding import Finding
from confrere.console.demo import load
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit
from federate import SHARED

ORACLE = json.loads((Path(__file__).parent / "effects.json").read_text())
GROUND = Ground(Schema({"size": Column("size", ("<=20", "20-50", ">50"))}), person="pid")
TERMS = "age + meno + C(size) + grade + nodes"
OUTCOMES = {"receptor": "log(pgr + 1)"}


def breast() -> list[pd.DataFrame]:
    """The demo's people by hospital."""
    _, hospitals = load("breast")
    return [frame.assign(size=pd.Categorical(frame["size"], ("<=20", "20-50", ">50"))) for frame in hospitals.values()]


def effect_of(spec: dict[str, Any]) -> Effect:
    """The study of a case of the oracle."""
    model = spec.get("model", "").replace("size", "C(size)")
    truncate = spec.get("truncate", ())
    return Effect(
        "hormon", OUTCOMES.get(spec["outcome"], spec["outcome"]), TERMS, estimator=spec["estimator"],
        estimand=spec["estimand"], family=spec["family"], outcome_model=model,
        truncate=tuple(np.ravel(truncate).astype(float).tolist()), trim=tuple(spec.get("trim", ())),
        stabilised=spec.get("stabilised", False), hospital_effects=spec.get("hospital_effects", False),
        ground=GROUND,
    )  # fmt: skip


def found(effect: Effect, frames: list[pd.DataFrame]) -> Finding:
    """The finding without thresholds, its settings checked first."""
    effect.check()
    return fit(effect, frames, LOOSE)


@pytest.mark.parametrize("case", ORACLE["cases"])
def test_means_and_variances_equal_the_stacked_equations(case: str) -> None:
    """The means to 1e-9, their covariance to 1e-7: R's Jacobian is a numerical one."""
    want = ORACLE["cases"][case]
    got = found(effect_of(want["spec"]), breast())
    assert got.n == want["n"]
    np.testing.assert_allclose(got.arrays["mean"], want["mean"], rtol=1e-9)
    np.testing.assert_allclose(got.arrays["vcov"], want["vcov"], rtol=1e-7, atol=1e-7 * np.max(want["vcov"]))
    if want["spec"]["estimator"] != "gformula":
        effective = [row["effective_n"] for row in got.tables["arms"]]
        np.testing.assert_allclose(effective, want["effective"], rtol=1e-8)


def test_balance_and_propensity_equal_r() -> None:
    """Means of the arms, differences with the spread of the unweighted arms; the propensity is glm's."""
    got = found(effect_of(ORACLE["cases"]["iptw_ate"]["spec"]), breast())
    table = got.summary("balance")
    np.testing.assert_allclose(table["smd_before"], ORACLE["balance"]["before"], rtol=1e-9)
    np.testing.assert_allclose(table["smd_after"], ORACLE["balance"]["after"], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(table["variance_ratio"], ORACLE["balance"]["variance_ratio"], rtol=1e-8)
    for when in ("before", "after"):
        for arm, means in zip(("untreated", "treated"), ORACLE["balance"][f"means_{when}"], strict=True):
            np.testing.assert_allclose(table[f"{arm}_{when}"], means, rtol=1e-8)
    assert "suppressed" not in table
    fitted = got.summary("propensity")
    np.testing.assert_allclose(fitted["estimate"], ORACLE["propensity"]["estimate"], rtol=1e-9)
    np.testing.assert_allclose(fitted["std_error"], ORACLE["propensity"]["std_error"], rtol=1e-7)


SATURATED = {"iptw": "", "gformula": "a * c", "aipw": "a * c"}


@pytest.mark.parametrize("estimator", SATURATED)
def test_models_that_fit_every_cell_are_standardisation(estimator: Any) -> None:
    """By hand: with one confounder of two levels the three estimators are one, and so are their variances."""
    people = pd.DataFrame(EFFECT["data"])
    deal = [people.iloc[::2], people.iloc[1::2]]
    effect = Effect("a", "y", "c", estimator, outcome_model=SATURATED[estimator])
    got = found(effect, deal)
    np.testing.assert_allclose(got.arrays["mean"], EFFECT["mean"], rtol=1e-10)
    np.testing.assert_allclose(got.arrays["vcov"], EFFECT["vcov"], rtol=1e-8)
    for row in got.tables["effects"]:
        estimate, se = EFFECT["measures"][row["measure"]]
        assert row["estimate"] == pytest.approx(estimate, rel=1e-9)
        assert se is None or row["std_error"] == pytest.approx(se, rel=1e-8)
    treated = found(Effect("a", "y", "c", estimator, "ATT", outcome_model=SATURATED[estimator]), deal)
    np.testing.assert_allclose(treated.arrays["mean"], EFFECT["mean_att"], rtol=1e-10)
    if estimator == "iptw":
        np.testing.assert_allclose(got.summary("arms")["effective_n"], EFFECT["effective"], rtol=1e-10)
        (row,) = got.tables["balance"]
        assert row["smd_before"] == pytest.approx(EFFECT["smd"]["before"])
        assert row["smd_after"] == pytest.approx(EFFECT["smd"]["after"], abs=1e-12)


# --- published results, on data that are not in the repository --------------------------------------------------

CAUSAL = SHARED / "causal_hte"
SQUARES = ("age", "wt71", "smokeintensity", "smokeyrs")
NHEFS = " + ".join(
    ["sex", "race", "C(education)", "C(exercise)", "C(active)", *SQUARES, *(f"I({name}**2)" for name in SQUARES)]
)
LEVELS = {"education": ("1", "2", "3", "4", "5"), "exercise": ("0", "1", "2"), "active": ("0", "1", "2")}


def nhefs() -> tuple[list[pd.DataFrame], Ground]:
    """Weight gain and quitting smoking (Hernan & Robins, chapter 12), dealt to three hospitals."""
    frame = pd.read_csv(CAUSAL / "nhefs_complete.csv")
    for name, levels in LEVELS.items():
        frame[name] = pd.Categorical(frame[name].astype(int).astype(str), levels)
    frame["race"] = frame["race"].astype(float)
    frame["sex"] = frame["sex"].astype(float)
    ground = Ground(Schema({name: Column(name, levels) for name, levels in LEVELS.items()}), person="seqn")
    columns = ["seqn", "qsmk", "wt82_71", "sex", "race", *LEVELS, *SQUARES]
    return [frame[columns].iloc[i::3] for i in range(3)], ground


@pytest.mark.shared
def test_nhefs_is_as_published() -> None:
    """What If: weighting 3.4 kg (2.4 to 4.5), standardising 3.5 kg (2.6 to 4.5); and figures of the data's folder."""
    want = json.loads((CAUSAL / "oracle.json").read_text())["nhefs"]
    frames, ground = nhefs()
    weighted = found(Effect("qsmk", "wt82_71", NHEFS, ground=ground), frames).tables["effects"][0]
    assert weighted["estimate"] == pytest.approx(want["ipw"]["est"], rel=1e-6)
    assert round(weighted["estimate"], 1) == 3.4
    # the published limits take the weights as known, which is too wide; ours lie within them
    assert want["ipw"]["robust_se"] * 0.85 < weighted["std_error"] < want["ipw"]["robust_se"]
    model = f"qsmk + qsmk:smokeintensity + {NHEFS}"
    standardised = found(Effect("qsmk", "wt82_71", NHEFS, "gformula", outcome_model=model, ground=ground), frames)
    row = standardised.tables["effects"][0]
    assert row["estimate"] == pytest.approx(want["gformula"], rel=1e-6)
    assert (round(row["conf_low"], 1), round(row["conf_high"], 1)) == (2.6, 4.5)  # the book's, by 1,000 bootstraps
    both = found(Effect("qsmk", "wt82_71", NHEFS, "aipw", ground=ground), frames).tables["effects"][0]
    assert both["estimate"] == pytest.approx(3.45, abs=0.1)


@pytest.mark.shared
def test_a_trial_has_the_effect_of_its_arms() -> None:
    """ACTG 175: where treatment was drawn by lot, adjusting changes little, and the standard error falls."""
    want = json.loads((CAUSAL / "oracle.json").read_text())["actg175"]
    frame = pd.read_csv(CAUSAL / "actg175.csv")
    terms = "age + wtkg + hemo + homo + drugs + karnof + race + gender + symptom + cd40 + cd80"
    frames = [frame.iloc[i::3].astype(float) for i in range(3)]
    got = {e: found(Effect("treat", "cd420", terms, e), frames).tables["effects"][0] for e in SATURATED}
    for row in got.values():
        assert row["estimate"] == pytest.approx(want["ancova"]["treat"], abs=1.5)
        assert 0.85 < row["std_error"] / want["ancova"]["se"] < 1.02  # theirs adjusts for less


@pytest.mark.shared
@pytest.mark.parametrize("replicate", range(1, 6))
def test_ihdp_has_its_true_effect(replicate: int) -> None:
    """Semi-synthetic outcomes whose true effect is known: an augmented estimate with interactions is near."""
    want = json.loads((CAUSAL / "oracle.json").read_text())["ihdp"][str(replicate)]
    frame = pd.read_csv(CAUSAL / "ihdp_npci_1_5.csv")
    frame = frame[frame["replicate"] == replicate].astype(float)
    frames = [frame.iloc[i::3] for i in range(3)]
    terms = " + ".join(f"x{i}" for i in range(1, 26))
    model = f"treatment * ({terms})"
    for estimand, truth in (("ATE", want["true_ATE"]), ("ATT", want["true_ATT"])):
        row = found(Effect("treatment", "y_factual", terms, "aipw", estimand, outcome_model=model), frames)
        (effect,) = row.tables["effects"]
        assert abs(effect["estimate"] - truth) < 3 * effect["std_error"]
        assert abs(effect["estimate"] - truth) < 0.35
