"""Penalised regressions against glmnet with the same folds, coxph's score with Efron's ties, and a case by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import PENALISED

from confrere.analyses.finding import Finding
from confrere.analyses.learning.penalised import Penalised
from confrere.rounds import People
from confrere.study.ground import Ground
from confrere.testing import LOOSE, fit
from federate import demo

HERE = Path(__file__).parent
R = json.loads((HERE / "penalised.json").read_text())
FOLDS = json.loads((HERE / "penalised_folds.json").read_text())["folds"]
TERMS = " + ".join(R["terms"])
GROUND = Ground(person="pid")
FIVE: dict[str, Any] = {"folds": 5, "penalties": 30, "exact": True, "debias": "", "ground": GROUND}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gaussian": ("y0", {"alpha": 0.7}),
    "ridge": ("y0", {"alpha": 0.0}),
    "weighted": ("y0", {"alpha": 0.5, "weights": "w"}),
    "binomial": ("recur", {"family": "binomial"}),
    "factors": ("recur", {"family": "binomial", "factors": {"age": 0.0, "nodes": 2.0}, "standardize": False}),
    "poisson": ("counts", {"family": "poisson", "alpha": 0.5}),
    "adaptive": ("recur", {"family": "binomial", "adaptive": 1.0}),
    "cox_untied": ("Surv(untied, recur)", {"family": "cox", "ties": "breslow"}),
}


def women() -> pd.DataFrame:
    """The breast demo, with the columns of the script."""
    frame = demo("breast")
    size = frame.pop("size").astype(str)
    numbers = frame.drop(columns="hospital").astype(float)
    return numbers.assign(
        mid=(size == "20-50").astype(float),
        large=(size == ">50").astype(float),
        y0=np.log(numbers["dtime"] + 1) + numbers["death"],
        counts=numbers["nodes"] // 2 + numbers["pid"] % 2,
        w=1 + numbers["pid"] % 3,
        untied=numbers["rtime"] + numbers["pid"] / 1e5,
        cost=numbers["rtime"] + 1,
        hospital=frame["hospital"].astype(str),
    )


def dealt(one: bool = False) -> list[pd.DataFrame]:
    """By hospital, or all in one."""
    frame = women()
    return [part.drop(columns="hospital") for _, part in frame.groupby(np.zeros(len(frame)) if one else "hospital")]


def column(found: Finding, table: str, name: str) -> np.ndarray:
    """A column of a table."""
    return np.array([record[name] for record in found.tables[table]], dtype=float)


def test_r_was_given_the_digits_of_the_hash() -> None:
    words = People(None).words("penalised", women()["pid"], shared=True)
    assert "".join(str(int(word % 5)) for word in words) == FOLDS


@pytest.mark.parametrize("name", MODELS)
def test_path_and_cross_validation_are_those_of_glmnet(name: str) -> None:
    """Coefficients to 1e-6 of the largest, the curve and its standard errors to 1e-6, the chosen penalties alike."""
    outcome, settings = MODELS[name]
    want, rule = R[name], "1se" if name in ("ridge", "adaptive") else "min"
    found = fit(Penalised(f"{outcome} ~ {TERMS}", choose=rule, **(FIVE | settings)), dealt(name == "cox_untied"), LOOSE)
    np.testing.assert_allclose(column(found, "cv", "lambda")[1:], want["lambda"][1:], rtol=1e-7)
    estimate = want["within" if rule == "1se" else "min"]
    got = column(found, "coefficients", "estimate")
    np.testing.assert_allclose(got, estimate, rtol=0, atol=1e-6 * np.abs(estimate).max())
    np.testing.assert_allclose(column(found, "cv", "mean"), want["mean"], rtol=1e-6)
    np.testing.assert_allclose(column(found, "cv", "std_error"), want["std_error"], rtol=1e-5)
    assert found.facts["lambda_min"] == pytest.approx(want["lambda_min"], rel=1e-7)
    assert found.facts["lambda_1se"] == pytest.approx(want["lambda_1se"], rel=1e-7)


@pytest.mark.parametrize("name", ["binomial", "poisson", "cox_untied"])
def test_few_questions_come_close(name: str) -> None:
    """By default: the exact fit and the exact loss at the two penalties told, and a curve within a third of its SE."""
    outcome, settings = MODELS[name]
    want = R[name]
    found = fit(Penalised(f"{outcome} ~ {TERMS}", **(FIVE | settings | {"exact": False})), dealt(one=True), LOOSE)
    off = np.abs(column(found, "cv", "mean") - want["mean"]) / want["std_error"]
    assert off.max() < 0.3
    told = column(found, "cv", "exact") == 1
    assert 1 <= told.sum() <= 2
    np.testing.assert_allclose(column(found, "cv", "mean")[told], np.array(want["mean"])[told], rtol=1e-6)
    np.testing.assert_allclose(column(found, "path", "deviance_ratio"), want["deviance_ratio"], atol=3e-3)


@pytest.mark.parametrize("at", range(3))
def test_gamma_with_a_log_link_is_that_of_glmnet(at: int) -> None:
    value = R["gamma"]["lambda"][at]
    model = Penalised(f"cost ~ {TERMS}", "gamma", "log", 0.5, (value,), debias="")
    want = np.array(R["gamma"]["estimate"])[:, at]
    np.testing.assert_allclose(column(fit(model, dealt(), LOOSE), "coefficients", "estimate"), want, atol=1e-7)


@pytest.mark.parametrize("want", R["cox_efron"], ids=lambda w: f"lambda {w['lambda']}")
def test_hazards_with_ties_have_the_score_of_coxph_at_its_bound(want: dict[str, Any]) -> None:
    model = Penalised(f"Surv(rtime, recur) ~ {TERMS}", "cox", penalty=(want["lambda"],), debias="")
    estimate = column(fit(model, dealt(), LOOSE), "coefficients", "estimate")
    np.testing.assert_allclose(estimate, want["estimate"], rtol=1e-6, atol=1e-9)


OUTCOMES = {"gaussian": "y0", "binomial": "recur", "poisson": "counts", "gamma": "cost"}


@pytest.mark.parametrize("want", R["debiased"], ids=lambda w: f"{w['family']}, {w['how']}")
def test_debiased_estimates_are_those_of_glmnets_regressions(want: dict[str, Any]) -> None:
    family = want["family"]
    settings: dict[str, Any] = {"penalty": (want["penalty"],), "debias": want["how"]}
    settings |= {"link": "log"} if family == "gamma" else {}
    found = fit(Penalised(f"{OUTCOMES[family]} ~ {TERMS}", family, **settings), dealt(), LOOSE)
    np.testing.assert_allclose(column(found, "debiased", "estimate"), want["estimate"], rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(column(found, "debiased", "std_error"), want["std_error"], rtol=1e-6)


@pytest.mark.parametrize("want", R["debiased_cox"], ids=lambda w: f"{w['ties']}, {w['how']}")
def test_debiased_hazards_are_those_of_coxphs_score_and_information(want: dict[str, Any]) -> None:
    time = "untied" if want["ties"] == "breslow" else "rtime"
    model = Penalised(
        f"Surv({time}, recur) ~ {TERMS}", "cox", penalty=(want["penalty"],), debias=want["how"], ties=want["ties"]
    )
    found = fit(model, dealt(), LOOSE)
    np.testing.assert_allclose(column(found, "debiased", "estimate"), want["estimate"], rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(column(found, "debiased", "std_error"), want["std_error"], rtol=1e-6)


@pytest.mark.parametrize("penalty", [0.2, 0.02])
def test_a_linear_model_debiased_by_the_inverse_is_least_squares(penalty: float) -> None:
    """Estimates and standard errors are those of R's lm, whatever the penalty was."""
    found = fit(Penalised(f"y0 ~ {TERMS}", penalty=(penalty,), debias="inverse"), dealt(), LOOSE)
    for name in ("estimate", "std_error"):
        np.testing.assert_allclose(column(found, "debiased", name), R["least_squares"][name], rtol=1e-8, err_msg=name)


def test_a_single_term_is_debiased_by_its_own_information() -> None:
    frames = dealt()
    both = [fit(Penalised("y0 ~ age", penalty=(0.02,), debias=how), frames, LOOSE) for how in ("nodewise", "inverse")]
    assert both[0].tables["debiased"] == both[1].tables["debiased"]


def test_a_case_by_hand() -> None:
    case: dict[str, Any] = PENALISED
    frame = pd.DataFrame(case["data"], dtype=float)
    for settings, want in case["fits"]:
        found = fit(Penalised("y ~ a + b", **settings), [frame[:5], frame[5:]], LOOSE)
        np.testing.assert_allclose(column(found, "coefficients", "estimate"), want, atol=1e-12)
