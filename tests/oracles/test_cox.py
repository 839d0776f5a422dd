"""Cox's regression by hospital against R's coxph stratified by hospital, cox.zph and concordance; cases by hand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import COX, COX_RIDGE, COX_STRATA

from confrere.analyses.cox import Cox
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import BREAST, GATE, LOOSE, breast, by, column, fit, found, late, lung, masked, oracle

GROUND = Ground(BREAST)
RIGHT = "hormon + chemo + age + meno + C(size) + grade + nodes + pgr + er"
DAYS, LATE = "Surv(rtime, recur)", "Surv(entry, rtime, recur)"
KNOTS = "knots=[45, 55, 65], Boundary.knots=[20, 95]"
MIXED = "hormon * age + log(nodes + 1) + I(pgr / 100) + meno + meno:C(size)"
MODELS: dict[str, Cox] = {  # by name in cox_breast.json
    name: Cox(formula, robust=True, ground=GROUND, **kind)
    for name, formula, kind in (
        ("stratified_efron", f"{DAYS} ~ {RIGHT}", {}),
        ("stratified_breslow", f"{DAYS} ~ {RIGHT}", {"ties": "breslow"}),
        ("extra_strata", f"{DAYS} ~ {RIGHT.replace('meno + ', '')} + strata(meno_level)", {}),
        ("weights_efron", f"{DAYS} ~ {RIGHT}", {"weights": "w"}),
        ("weights_breslow", f"{DAYS} ~ {RIGHT}", {"weights": "w", "ties": "breslow"}),
        ("late_efron", f"{LATE} ~ {RIGHT}", {}),
        ("late_breslow", f"{LATE} ~ {RIGHT}", {"ties": "breslow"}),
        ("late_weights", f"{LATE} ~ {RIGHT}", {"weights": "w"}),
        ("one_term", f"{DAYS} ~ hormon", {}),
        ("mixed_terms", f"{DAYS} ~ {MIXED}", {}),
        ("b_spline", f"{DAYS} ~ hormon + bs(age, {KNOTS})", {}),
        ("natural_spline", f"{DAYS} ~ hormon + ns(age, {KNOTS})", {}),
    )
}
LUNG = "Surv(time, status == 2) ~ age + sex + ph.ecog"
INSTITUTIONS: dict[str, Cox] = {  # by name in cox_lung.json
    "stratified_sites": Cox(LUNG, robust=True),
    "stratified_sites_breslow": Cox(LUNG, ties="breslow", robust=True),
    "stratified_eleven": Cox(LUNG, robust=True),
}


@lru_cache
def r(name: str) -> dict[str, Any]:
    """A file of reference results."""
    return oracle(name)


@lru_cache
def on_breast(name: str) -> Finding:
    """A model on the four hospitals, under the default gate where it lets the model pass."""
    frame = breast()
    people = late(frame) if name.startswith("late") else frame
    return fit(MODELS[name], by(people, "hospital"), LOOSE if "spline" in name else GATE)


@lru_cache
def on_lung(name: str) -> Finding:
    """A model on the institutions: all, or those with eleven people or more."""
    sites = by(lung(), "inst")
    return fit(INSTITUTIONS[name], [s for s in sites if len(s) >= 11 or "eleven" not in name], LOOSE)


def cases() -> list[tuple[dict[str, Any], Finding]]:
    """R's fit and ours, of all models."""
    breasts = [(r("cox_breast")[name], on_breast(name)) for name in MODELS]
    return breasts + [(r("cox_lung")[name], on_lung(name)) for name in INSTITUTIONS]


NAMES = [*MODELS, *INSTITUTIONS]
each = pytest.mark.parametrize("at", range(len(NAMES)), ids=NAMES)


def values(said: dict[str, float] | list[float]) -> np.ndarray:
    """R's named vector; of one term it may have no name."""
    return np.array(said if isinstance(said, list) else list(said.values()))


@each
def test_coefficients_and_standard_errors_are_rs(at: int) -> None:
    said, ours = cases()[at]
    se, robust = values(said["std_error"]), values(said["robust_std_error"])
    assert (ours.n, ours.events) == (said["n"], said["events"])
    assert np.abs((column(ours, "coefficients", "estimate") - values(said["coef"])) / se).max() < 1e-9
    assert np.allclose(column(ours, "coefficients", "std_error"), se, rtol=1e-9, atol=0)
    assert np.allclose(column(ours, "coefficients", "robust_se"), robust, rtol=1e-8, atol=0)
    for name, theirs in (("vcov", "vcov"), ("robust_vcov", "robust_vcov")):
        scale = np.sqrt(np.outer(*[np.diag(np.array(said[theirs]))] * 2))
        assert np.abs((ours.arrays[name] - np.array(said[theirs])) / scale).max() < 1e-8


@each
def test_likelihood_and_tests_are_rs(at: int) -> None:
    said, ours = cases()[at]
    assert ours.facts["log_likelihood_null"] == pytest.approx(said["loglik"]["null"], rel=1e-11)
    assert ours.facts["log_likelihood"] == pytest.approx(said["loglik"]["fitted"], rel=1e-11)
    tests = {t["test"]: t["statistic"] for t in ours.tables["tests"]}
    wanted = {"likelihood ratio": "likelihood_ratio", "Wald": "wald_test", "score": "score_test"}
    assert tests == {name: pytest.approx(said[key], rel=1e-8) for name, key in wanted.items()}


@pytest.mark.parametrize("at", [pytest.param(i, id=name) for i, name in enumerate(NAMES)])
def test_concordance_is_rs(at: int) -> None:
    said, ours = cases()[at]
    assert ours.facts["concordance"] == pytest.approx(said["concordance"]["estimate"], rel=1e-9)
    assert ours.facts["concordance_se"] == pytest.approx(said["concordance"]["std_error"], rel=1e-8)


@each
def test_proportional_hazards_are_rs(at: int) -> None:
    said, ours = cases()[at]
    if "zph" not in said:
        return
    got = {(t["transform"], t["term"]): t["statistic"] for t in ours.tables["proportional_hazards"]}
    terms = [c["term"] for c in ours.tables["coefficients"]]
    for transform, theirs in said["zph"].items():
        columns = [got[transform, term] for term in terms]
        assert np.allclose(columns, values(theirs["columns"]), rtol=1e-8), transform
        assert got[transform, "GLOBAL"] == pytest.approx(theirs["global"], rel=1e-8)


@pytest.mark.parametrize("name", ["ridge_10", "ridge_1000", "ridge_breslow"])
def test_ridge_is_rs(name: str) -> None:
    said = r("cox_breast")[name]
    cox = Cox(f"{DAYS} ~ {RIGHT}", ties=said["ties"], ridge=said["theta"], diagnostics=False, ground=GROUND)
    ours = fit(cox, by(breast(), "hospital"))
    se = values(said["std_error_inverse"])
    assert np.abs((column(ours, "coefficients", "estimate") - values(said["coef"])) / se).max() < 1e-9
    assert np.allclose(column(ours, "coefficients", "std_error"), se, rtol=1e-9)
    assert np.allclose(np.sqrt(np.diag(ours.arrays["vcov_sandwich"])), values(said["std_error_sandwich"]), rtol=1e-9)
    assert ours.facts["log_likelihood"] == pytest.approx(said["loglik"]["fitted"], rel=1e-11)


def test_institutions_with_fewer_than_eleven_take_part_with_nothing() -> None:
    """A masked run of all institutions under the default gate is R's fit of those with eleven people and more."""
    said = r("cox_lung")["stratified_eleven"]
    sites = {f"{int(s['inst'].iloc[0]):02d}": s for s in by(lung(), "inst")}
    ours = found(masked(Cox(LUNG, diagnostics=False), sites))
    assert len(sites) == 18
    assert ours.hospitals == len(r("cox_lung")["data"]["institutions_with_eleven"])
    assert (ours.n, ours.events) == (said["n"], said["events"])
    error = (column(ours, "coefficients", "estimate") - values(said["coef"])) / values(said["std_error"])
    assert np.abs(error).max() < 1e-9


def test_masked_is_rs() -> None:
    said = r("cox_breast")["stratified_efron"]
    hospitals = {str(part["hospital"].iloc[0]): part for part in by(breast(), "hospital")}
    ours = found(masked(MODELS["stratified_efron"], hospitals))
    error = (column(ours, "coefficients", "estimate") - values(said["coef"])) / values(said["std_error"])
    assert np.abs(error).max() < 1e-9
    assert np.allclose(column(ours, "coefficients", "robust_se"), values(said["robust_std_error"]), rtol=1e-8)


def test_cells_stratified_by_hospital() -> None:
    """On cells of 30 days, where hundreds die at one time: ties weigh most."""
    said = r("cox_breast_baseline")["cells_stratified_by_hospital"]
    ours = fit(Cox(f"Surv(cell, recur) ~ {RIGHT}", robust=True, ground=GROUND), by(breast(), "hospital"))
    error = (column(ours, "coefficients", "estimate") - values(said["coef"])) / values(said["std_error"])
    assert np.abs(error).max() < 1e-9
    assert np.allclose(column(ours, "coefficients", "robust_se"), values(said["robust_std_error"]), rtol=1e-8)


# By hand ------------------------------------------------------------------------------------------------------


def table(case: dict[str, Any]) -> pd.DataFrame:
    """The people of a case by hand."""
    frame = pd.DataFrame(case["data"])
    return frame.assign(**{c: frame[c].astype(float) for c in frame if c != "stratum"})


@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_by_hand(ties: str) -> None:
    wanted, frame = COX[ties], table(COX)
    ours = fit(Cox("Surv(time, status) ~ x", ties=ties, robust=True), [frame], LOOSE)
    (got,) = ours.tables["coefficients"]
    assert got["estimate"] == pytest.approx(wanted["coef"], rel=1e-10)
    assert got["std_error"] == pytest.approx(wanted["std_error"], rel=1e-10)
    if "robust_std_error" in wanted:
        assert got["robust_se"] == pytest.approx(wanted["robust_std_error"], rel=1e-10)
    assert got["hazard_ratio"] == pytest.approx(np.exp(wanted["coef"]), rel=1e-10)
    assert ours.facts["log_likelihood_null"] == pytest.approx(wanted["loglik_null"], rel=1e-12)
    assert ours.facts["log_likelihood"] == pytest.approx(wanted["loglik"], rel=1e-12)
    tests = {t["test"]: t["statistic"] for t in ours.tables["tests"]}
    assert tests["score"] == pytest.approx(wanted["score_test"], rel=1e-10)
    assert tests["Wald"] == pytest.approx(wanted["wald_test"], rel=1e-9)
    assert ours.facts["concordance"] == pytest.approx(COX["concordance"]["estimate"], rel=1e-12)


def test_strata_by_hand_are_hospitals_or_strata() -> None:
    """Three strata: as a column, as three hospitals, or as both."""
    frame = table(COX_STRATA)
    strata = Cox(
        "Surv(time, status) ~ x + strata(stratum)", ground=Ground(Schema({"stratum": Column("stratum", tuple("ABC"))}))
    )
    plain = Cox("Surv(time, status) ~ x")
    frame["stratum"] = pd.Categorical(frame["stratum"], list("ABC"))
    for cox, hospitals in ((strata, [frame]), (plain, by(frame, "stratum")), (strata, by(frame, "stratum"))):
        ours = fit(cox, hospitals, LOOSE)
        (got,) = ours.tables["coefficients"]
        assert got["estimate"] == pytest.approx(COX_STRATA["coef"], rel=1e-10)
        assert got["std_error"] == pytest.approx(COX_STRATA["std_error"], rel=1e-9)
        assert ours.facts["log_likelihood_null"] == pytest.approx(COX_STRATA["loglik_null"], rel=1e-12)
        assert ours.facts["log_likelihood"] == pytest.approx(COX_STRATA["loglik"], rel=1e-12)


def test_ridge_by_hand() -> None:
    frame = table(COX_RIDGE)
    ours = fit(Cox("Surv(time, status) ~ x", ridge=COX_RIDGE["theta"]), by(frame, "stratum"), LOOSE)
    (got,) = ours.tables["coefficients"]
    assert got["estimate"] == pytest.approx(COX_RIDGE["coef"], rel=1e-10)
    assert got["std_error"] == pytest.approx(COX_RIDGE["std_error_inverse"], rel=1e-10)
    assert np.sqrt(ours.arrays["vcov_sandwich"])[0, 0] == pytest.approx(COX_RIDGE["std_error_sandwich"], rel=1e-10)


# What is wrong ------------------------------------------------------------------------------------------------


def test_a_term_that_is_constant_in_every_hospital_points_to_the_shared_baseline() -> None:
    frame = breast()
    with pytest.raises(ModelError, match=r"'by_house'.*shared"):
        fit(Cox(f"{DAYS} ~ age + by_house", ground=GROUND),
            by(frame.assign(by_house=(frame["hospital"] == "delft").astype(float)), "hospital"), LOOSE)  # fmt: skip


def test_a_term_that_separates() -> None:
    """Only the exposed have events: the coefficient grows without bound."""
    frame = breast()
    split = frame.assign(exposed=frame["recur"])
    with pytest.raises(ModelError, match="separate") as error:
        fit(Cox(f"{DAYS} ~ exposed", ground=GROUND), by(split, "hospital"), LOOSE)
    assert "exposed" in str(error.value) or "terms" in str(error.value).lower()


def test_no_events() -> None:
    with pytest.raises(ModelError, match="no events"):
        fit(Cox(f"{DAYS} ~ age", ground=GROUND), by(breast().assign(recur=0.0), "hospital"), LOOSE)


@pytest.mark.parametrize(
    ("formula", "kind", "says"),
    [
        ("age ~ hormon", {}, "Surv"),
        (f"{DAYS} ~ 1", {}, "at least one term"),
        (f"{DAYS} ~ age + offset(nodes)", {}, "offset"),
        (f"{DAYS} ~ age", {"ties": "exact"}, "'efron' or 'breslow'"),
        (f"{DAYS} ~ age", {"baseline": "common"}, "'per hospital' or 'shared'"),
        (f"{DAYS} ~ age", {"ridge": -1.0}, "0 or a positive number"),
    ],
)
def test_settings_that_make_no_model(formula: str, kind: dict[str, Any], says: str) -> None:
    with pytest.raises((FormulaError, StudyError), match=says):
        Cox(formula, ground=GROUND, **kind).check()
