"""Predictions for people of the researcher's own, against R's predict and survfit, through masks and gate."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import confrere as cf
from confrere.console.fit import Fit
from confrere.errors import DataError, StudyError
from federate import breast, demo, oracle

LEVELS = {"size": ["<=20", "20-50", ">50"]}
COX = "Surv(rtime, recur) ~ hormon + age + C(size) + nodes"
SPLINE = "ns(age, knots=[45, 55, 65], Boundary.knots=[20, 95])"
MODELS: dict[str, Any] = {  # by their names in predict.json
    "gaussian": cf.Linear("nodes ~ age + C(size) + grade"),
    "logit": cf.Logistic(f"recur ~ hormon * nodes + {SPLINE} + standardize(er)"),
    "probit": cf.Glm("recur ~ hormon + age + C(size)", "binomial", "probit"),
    "poisson_offset": cf.Poisson("nodes ~ age + C(size) + offset(log(rtime / 365.25))"),
    "gamma_inverse": cf.Glm("rtime ~ age + C(size) + nodes", "gamma"),
    "cox_by_hospital": cf.Cox(COX, diagnostics=False),
    "cox_weights": cf.Cox(COX, weights="w", robust=True, diagnostics=False),
    "cox_robust": cf.Cox(COX, robust=True, diagnostics=False),
    "shared": cf.Cox(COX, baseline="shared"),
    "shared_breslow": cf.Cox(COX, baseline="shared", ties="breslow"),
    "shared_strata": cf.Cox("Surv(rtime, recur) ~ hormon + age + nodes + strata(size)", baseline="shared"),
}
SHARED = [name for name in MODELS if name.startswith("shared")]


def said(name: str) -> dict[str, Any]:
    """What R says."""
    got: dict[str, Any] = oracle("predict")[name]
    return got


@lru_cache
def ours(name: str) -> Fit:
    """Our fit over the four hospitals; of a shared baseline on months, which are the times themselves."""
    frame = breast()
    months = frame.assign(rtime=np.ceil(frame.rtime / 30))
    parts = {str(h): part for h, part in (months if name in SHARED else frame).groupby("hospital")}
    hospitals = cf.local(parts, levels=LEVELS, time_unit="months" if name in SHARED else "days")
    fit = hospitals.run(MODELS[name], allow=["fine_times"] if name in SHARED else [])
    assert isinstance(fit, Fit)
    return fit


def newcomers(**more: Any) -> pd.DataFrame:
    """The people predicted for; no outcome among their columns but the time of the offset."""
    return pd.DataFrame(oracle("predict")["newcomers"] | more)


def near(got: Any, wanted: Any, tolerance: float = 1e-8) -> None:
    assert np.asarray(got) == pytest.approx(np.asarray(wanted, dtype=float), rel=tolerance)


@pytest.mark.parametrize("kind", ["link", "response"])
@pytest.mark.parametrize("name", ["logit", "probit", "poisson_offset", "gamma_inverse"])
def test_a_glm_predicts_as_r_does(name: str, kind: str) -> None:
    got, r = ours(name).predict(newcomers(), kind), said(name)[kind]
    near(got["estimate"], r["estimate"])
    near(got["std_error"], r["std_error"])
    assert ((got.conf_low < got.estimate) & (got.estimate < got.conf_high)).all()


def test_limits_of_a_mean_are_those_of_the_link_carried_over() -> None:
    link, response = (ours("logit").predict(newcomers(), kind) for kind in ("link", "response"))
    near(response["conf_low"], 1 / (1 + np.exp(-link["conf_low"])), 1e-12)
    near(link["conf_high"] - link["estimate"], stats.norm.ppf(0.975) * link["std_error"], 1e-12)


def test_limits_of_a_falling_link_are_in_order() -> None:
    link, response = (ours("gamma_inverse").predict(newcomers(), kind) for kind in ("link", "response"))
    near(response["conf_low"], 1 / link["conf_high"], 1e-12)


def test_a_linear_model_predicts_as_r_does_with_limits_of_t() -> None:
    r = said("gaussian")
    got = ours("gaussian").predict(newcomers(), level=r["level"])
    for column, wanted in r["response"].items():
        near(got[column], wanted)


@pytest.mark.parametrize("name", ["cox_by_hospital", "cox_weights", "cox_robust"])
def test_a_cox_model_predicts_as_r_does(name: str) -> None:
    """R centres on means, of indicators on 0; its standard error of a risk is another (see predict.json)."""
    lp, risk, r = ours(name).predict(newcomers()), ours(name).predict(newcomers(), "risk"), said(name)
    near(ours(name).arrays["centre"], list(r["centre"].values()))
    near(lp["estimate"], r["lp"]["estimate"])
    near(lp["std_error"], r["lp"]["std_error"])
    near(risk["estimate"], r["risk"]["estimate"])
    near(risk["std_error"], np.array(r["lp"]["std_error"]) * np.array(r["risk"]["estimate"]))
    near(risk["std_error"] / np.sqrt(risk["estimate"]), r["risk"]["std_error"])


def test_a_hazard_ratio_to_a_person_is_the_one_of_the_terms_that_differ() -> None:
    fit = ours("cox_by_hospital")
    person = {"hormon": 0, "age": 50, "size": "<=20", "nodes": 2}
    got = fit.predict({**person, "hormon": 1}, "risk", reference=person).iloc[0]
    told = fit.summary().set_index("term").loc["hormon"]
    near([got.estimate, got.conf_low, got.conf_high], told[["hazard_ratio", "hr_low", "hr_high"]], 1e-12)
    same = fit.predict(person, reference=person).iloc[0]
    assert (same.estimate, same.std_error) == (0.0, 0.0)


@pytest.mark.parametrize("name", SHARED)
def test_survival_from_a_shared_baseline_is_rs(name: str) -> None:
    r = said(name)
    got = ours(name).predict(newcomers(), times=r["times"])
    assert list(got.row) == list(np.repeat(range(5), 4))
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        near(got[column], [value for person in r["people"] for value in person[column]])


def test_between_months_exact_survival_is_a_step_and_beyond_the_last_there_is_none() -> None:
    got = ours("shared").predict(newcomers().head(1), times=[0, 12, 12.9, 1000])
    assert got.estimate[0] == 1
    assert got.estimate[1] == got.estimate[2] < 1
    assert np.isnan(got.estimate[3])


def test_survival_without_diagnostics_has_no_standard_error() -> None:
    parts = {str(h): part for h, part in breast().groupby("hospital")}
    fit = cf.local(parts).run(cf.Cox("Surv(rtime, recur) ~ age", baseline="shared", diagnostics=False))
    got = fit.predict({"age": 50}, times=[365])
    assert got.estimate.notna().all()
    assert got.std_error.isna().all()


def test_coarse_survival_is_read_off_the_baseline_at_its_edges() -> None:
    parts = {str(h): part for h, part in breast().groupby("hospital")}
    fit = cf.local(parts).run(cf.Cox("Surv(rtime, recur) ~ age", baseline="shared"))
    baseline = fit.summary("baseline")
    got = fit.predict({"age": 0}, times=baseline["time"])
    near(got.estimate, baseline["survival"], 1e-12)
    middle = fit.predict({"age": 0}, times=[baseline["time"][:2].mean()]).estimate[0]
    near(np.log(middle), np.log(baseline["survival"][:2]).mean(), 1e-12)


# Kaplan-Meier -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fine", [True, False])
def test_kaplan_meier_predicts_what_its_tables_say(fine: bool) -> None:
    parts = {str(h): part for h, part in breast().groupby("hospital")}
    times = [365.0, 1826.0, 2500.0]
    hospitals = cf.local(parts, levels=LEVELS)
    model = cf.KaplanMeier("Surv(rtime, recur) ~ size", times=tuple(times), conf_type="log-log")
    fit = hospitals.run(model, allow=["fine_times"] if fine else [])
    told = fit.summary("survival")
    got = fit.predict(times=times)
    assert list(got.columns) == ["group", "time", "estimate", "std_error", "conf_low", "conf_high"]
    pd.testing.assert_frame_equal(got, told[got.columns])
    people = fit.predict(pd.DataFrame({"size": [">50", None, "<=20"]}, index=["a", "b", "c"]), times=[365, 1e6])
    assert list(people.row) == ["a", "a", "b", "b", "c", "c"]
    near(people.estimate[[0, 4]], [told.estimate[6], told.estimate[0]], 1e-12)
    assert people.estimate[[1, 2, 3, 5]].isna().all()


def test_kaplan_meier_of_undeclared_groups_and_of_everybody() -> None:
    parts = {str(h): part for h, part in breast().groupby("hospital")}
    fit = cf.local(parts).run(cf.KaplanMeier("Surv(rtime, recur) ~ hormon"))
    assert list(fit.predict({"hormon": [1, 0]}, times=[365]).group) == ["1", "0"]
    with pytest.raises(DataError, match="not whole numbers"):
        fit.predict({"hormon": [0.5]}, times=[365])
    alone = cf.local(parts).run(cf.KaplanMeier("Surv(rtime, recur) ~ 1"))
    assert list(alone.predict(times=[365]).group) == ["all"]


# What is wrong ------------------------------------------------------------------------------------------------


def test_a_missing_value_predicts_nothing_and_keeps_its_row() -> None:
    frame = newcomers().set_index(pd.Index(list("abcde")))
    frame.loc["b", "age"] = np.nan
    got = ours("logit").predict(frame)
    assert list(got.index) == list("abcde")
    assert list(got.estimate.isna()) == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop(columns="age"), "no column 'age'"),
        (lambda f: f.assign(size="huge"), "no declared level"),
        (lambda f: f.assign(age="old"), "holds text"),
    ],
)
def test_a_frame_that_does_not_suit_is_told(change: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        ours("cox_by_hospital").predict(change(newcomers()))


def test_values_out_of_a_declared_range_are_told(tmp_path: Any) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        '[study]\nid = "a"\ntitle = "A"\npurpose = "b"\n[data]\ntable = "t"\n[data.columns.age]\nrange = [18, 90]\n'
        '[[analysis]]\nname = "who"\nmethod = "logistic"\nformula = "recur ~ age"\n'
    )
    parts = {str(h): part for h, part in demo("breast").groupby("hospital")}
    fit = cf.local(parts).run(study)["who"]
    with pytest.raises(DataError, match="'age' has 1 values outside its declared range 18 to 90"):
        fit.predict({"age": [50, 99]})
    assert fit.predict({"age": [50, 89], "other": [1, 2]}).estimate.notna().all()


@pytest.mark.parametrize(
    ("name", "request_", "says"),
    [
        ("cox_by_hospital", {"times": [365]}, "stayed in the hospitals"),
        ("cox_by_hospital", {"type": "response"}, "must be one of lp, risk, survival"),
        ("cox_by_hospital", {"type": "survival"}, "needs times"),
        ("cox_by_hospital", {"type": "lp", "times": [1]}, "takes no times"),
        ("logit", {"reference": {"age": 50}}, "takes no reference"),
        ("logit", {"level": 95}, "between 0 and 1"),
        ("shared", {"times": [-1]}, "0 or more"),
    ],
)
def test_a_request_that_makes_no_sense_is_told(name: str, request_: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        ours(name).predict(newcomers(), **request_)


def test_a_fit_to_imputed_tables_predicts_too() -> None:
    parts = {str(h): part.assign(er=part.er.where(part.pid % 7 > 0)) for h, part in breast().groupby("hospital")}
    hospitals = cf.local(parts, person="pid")
    fit = hospitals.run(cf.Cox("Surv(rtime, recur) ~ hormon + er", missing="impute"))
    apart = [fit.predict({"hormon": h, "er": 0}).estimate.iloc[0] for h in (0, 1)]
    got = fit.predict({"hormon": 1, "er": 0}, "risk", reference={"hormon": 0, "er": 0}).iloc[0]
    told = fit.summary().set_index("term").loc["hormon"]
    near([apart[1] - apart[0]], told[["estimate"]], 1e-12)
    near([got.estimate, got.std_error / got.estimate], told[["hazard_ratio", "std_error"]], 1e-12)
    line = hospitals.run(cf.Linear("nodes ~ hormon + er", missing="impute"))
    assert line.predict({"hormon": 1, "er": 0}).notna().all(axis=None)
    with pytest.raises(StudyError, match="imputed tables have one each"):
        fit.predict({"hormon": 1, "er": 0}, times=[365])


def test_people_are_needed_and_a_reference_is_one_person() -> None:
    with pytest.raises(StudyError, match="needs people"):
        ours("logit").predict()
    with pytest.raises(DataError, match="must be one person"):
        ours("cox_by_hospital").predict(newcomers(), reference=newcomers())


def test_a_method_without_predictions_says_so() -> None:
    parts = {str(h): part for h, part in breast().groupby("hospital")}
    fit = cf.local(parts).run(cf.LogRank("Surv(rtime, recur) ~ hormon"))
    with pytest.raises(StudyError, match="logrank predicts nothing: it is a test") as error:
        fit.predict(times=[365])
    assert error.value.page == "errors.md#no-prediction"
