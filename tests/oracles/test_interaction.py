"""Two treatments together against R's stacked estimating equations and delta method, a case by hand, and the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import INTERACTION
from test_effects import GROUND, breast
from test_effects_survival import EXACT

from confrere.analyses.effects.interaction import Interaction
from confrere.analyses.finding import Finding
from confrere.testing import LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "interaction.json").read_text())
FOLLOWED = json.loads((Path(__file__).parent / "interaction_survival.json").read_text())
TERMS = "age + C(size) + grade + nodes"
CASES: dict[str, dict[str, Any]] = {
    "iptw": {}, "truncated": {"truncate": (0.1, 0.9)}, "gformula": {"estimator": "gformula"},
    "aipw": {"estimator": "aipw", "truncate": (0.1, 0.9)}, "counts": {"estimator": "aipw", "family": "poisson"},
}  # fmt: skip


def found(outcome: str, frames: list[pd.DataFrame], terms: str = TERMS, **settings: Any) -> Finding:
    """The finding without thresholds, its settings checked first."""
    study = Interaction("meno", "chemo", outcome, terms, ground=GROUND, **settings)
    study.check()
    return fit(study, frames, LOOSE)


def told(got: Finding, want: dict[str, Any], ratio: str, time: float | None = None) -> None:
    """The table `interaction`, at a time if there are several, is R's to 1e-6: R's gradients are numerical ones."""
    rows = {row["measure"]: row for row in got.tables["interaction"] if time is None or row["time"] == time}
    names = {"RERI": "RERI", "attributable proportion": "attributable proportion", "ratio": ratio}
    names |= {"synergy index": "synergy index"} if want["synergy index"] else {}
    assert ("synergy index" in rows) == ("synergy index" in names)
    for name, measure in names.items():
        row = rows[measure]
        assert [row["estimate"], row["std_error"]] == pytest.approx(want[name], rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_four_means_and_their_variance_equal_the_stacked_equations(case: str) -> None:
    """The means to 1e-9, their covariance to 1e-7; what they say to 1e-6."""
    want, settings = ORACLE[case], CASES[case]
    got = found("er" if case == "counts" else "recur", breast(), **settings)
    np.testing.assert_allclose(got.arrays["mean"], want["mean"], rtol=1e-9)
    np.testing.assert_allclose(got.arrays["vcov"], want["vcov"], rtol=1e-7, atol=1e-7 * np.max(want["vcov"]))
    rate = "rate" if case == "counts" else "risk"
    told(got, want, f"ratio of {rate} ratios")
    effects = {(row["contrast"], row["measure"]): row for row in got.tables["effects"]}
    both = effects["both", f"{rate} ratio"]
    assert [both["estimate"], both["std_error"]] == pytest.approx(want["both"], rel=1e-7)
    margin = effects["meno at the margins", "mean difference" if case == "counts" else "risk difference"]
    assert [margin["estimate"], margin["std_error"]] == pytest.approx(want["margin"], rel=1e-7)
    row = got.tables["interaction"][0]
    assert [row["estimate"], row["std_error"]] == pytest.approx(want["difference"], rel=1e-7)


@pytest.mark.parametrize(("case", "outcome"), [("logistic", "recur"), ("cox", "Surv(rtime, recur)")])
def test_regressions_equal_glm_and_coxph(case: str, outcome: str) -> None:
    """Coefficients to 1e-8, their covariance to 1e-6, as glm's own."""
    want = ORACLE[case]
    got = found(outcome, breast(), estimator="regression")
    np.testing.assert_allclose(got.arrays["estimate"], want["estimate"], rtol=1e-8)
    np.testing.assert_allclose(got.arrays["vcov"], want["vcov"], rtol=1e-6)
    told(got, want, "ratio of odds ratios" if case == "logistic" else "ratio of hazard ratios")


@pytest.mark.parametrize("case", FOLLOWED["cases"])
def test_weighted_curves_of_four_arms_equal_survfit(case: str) -> None:
    """Risks and restricted means on exact times to 1e-9, their covariance to 1e-6; what they say to 1e-6."""
    want, times = FOLLOWED["cases"][case], tuple(map(float, FOLLOWED["times"]))
    truncate = tuple(np.ravel(want["truncate"]).astype(float).tolist()) if want["truncate"] else ()
    ground = replace(EXACT, marks=times)
    study = Interaction("meno", "chemo", "Surv(rtime, recur)", TERMS, truncate=truncate, times=times,
                        tau=float(FOLLOWED["tau"]), ground=ground)  # fmt: skip
    study.check()
    got = fit(study, breast(), LOOSE)
    np.testing.assert_allclose([row["effective_n"] for row in got.tables["arms"]], want["effective"], rtol=1e-9)
    assert {row["time"] for row in got.tables["effects"]} == {*times, float(FOLLOWED["tau"])}
    for i, read in enumerate(want["read"]):
        np.testing.assert_allclose(got.arrays["mean"][i], read["value"], rtol=1e-9)
        np.testing.assert_allclose(got.arrays["vcov"][i], read["vcov"], rtol=1e-6, atol=1e-6 * np.max(read["vcov"]))
    for time, read in zip(times, want["read"], strict=False):
        told(got, read, "ratio of risk ratios", time)
        (row,) = (r for r in got.tables["effects"]
                  if (r["contrast"], r["measure"], r["time"]) == ("both", "risk ratio", time))  # fmt: skip
        assert [row["estimate"], row["std_error"]] == pytest.approx(read["both"], rel=1e-6)
    mean = got.tables["interaction"][-1]
    assert mean["measure"] == "difference of RMST differences"
    assert [mean["estimate"], mean["std_error"]] == pytest.approx(want["read"][-1]["difference"], rel=1e-6)


def test_weights_as_known_are_another_variance() -> None:
    """So that the oracle would tell: what the propensities add is not small."""
    want = FOLLOWED["cases"]["bounds"]
    estimated = np.concatenate([np.diag(read["vcov"]) for read in want["read"]])
    assert np.max(np.abs(np.sqrt(np.diag(want["vcov_fixed"]) / estimated) - 1)) > 0.02


@pytest.mark.parametrize("estimator", ["iptw", "gformula", "aipw"])
def test_risks_of_cells_by_hand(estimator: Any) -> None:
    """Treatments that depend on nothing: the means are those of the arms."""
    frame = pd.DataFrame(INTERACTION["data"])
    model = "meno * chemo" if estimator != "iptw" else ""
    got = found("y", [frame.iloc[::2], frame.iloc[1::2]], "c", estimator=estimator, outcome_model=model)
    np.testing.assert_allclose([row["estimate"] for row in got.tables["arms"]], INTERACTION["risks"], rtol=1e-9)
    rows = {row["measure"]: row["estimate"] for row in got.tables["interaction"]}
    for measure, value in INTERACTION["interaction"].items():
        assert rows[measure] == pytest.approx(value, rel=1e-9), measure


def test_a_regression_by_hand() -> None:
    """The model of the four cells alone, with Woolf's variance of the product: one over each of eight counts."""
    frame = pd.DataFrame(INTERACTION["data"])
    got = found("y", [frame.iloc[::2], frame.iloc[1::2]], "c", estimator="regression", outcome_model="meno * chemo")
    row = got.tables["interaction"][-1]
    assert row["measure"] == "ratio of odds ratios"
    assert row["estimate"] == pytest.approx(INTERACTION["interaction"]["ratio of odds ratios"])
    assert row["std_error"] ** 2 == pytest.approx(INTERACTION["woolf"])
