"""Linear, logistic, Poisson and other generalised linear models against R, a pooled twin and cases by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from by_hand import GAMMA, LINEAR, LOGISTIC, POISSON
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.families import FAMILIES, family_of
from confrere.analyses.finding import Finding
from confrere.analyses.glm import Glm
from confrere.analyses.linear import Linear
from confrere.analyses.logistic import Logistic
from confrere.analyses.poisson import Poisson
from confrere.hospital.gate import Gate, Policy, Support, judge, support_of
from confrere.rounds import Answers, Array, Ask, Design, Round, Site, Verdict, clear, drive, supported
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.sums import fixed

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHARED = Path(os.environ.get("CONFRERE_DATA", ROOT.parent / "shared" / "data")) / "heart_disease_4_hospitals"
SIZES = ("<=20", "20-50", ">50")
HOSPITALS = ("delft", "dordrecht", "gouda", "rotterdam")
GROUND = Ground(Schema({"size": Column("size", SIZES), "hospital": Column("hospital", HOSPITALS)}))
LOOSE = Policy(k=1, pairs=0, effective=0.0, effective_here=0.0, hospitals=1, share=1e9, parameters=1e9)

NODES = "nodes ~ age + meno + C(size) + grade"
RECUR = "recur ~ hormon + age + meno + C(size) + grade + nodes"
COUNTS = "nodes ~ age + C(size) + grade + offset(log(rtime / 365.25))"
RTIME = "rtime ~ age + C(size) + grade + nodes"

MODELS: dict[str, Any] = {  # by name in glm_breast.json
    "gaussian": Glm(NODES, robust=True, ground=GROUND),
    "gaussian_weights": Glm(NODES, weights="w", robust=True, ground=GROUND),
    "gaussian_log": Glm("rtime ~ age + C(size)", "gaussian", "log", robust=True, ground=GROUND),
    "gaussian_no_intercept": Glm("nodes ~ 0 + C(size) + age", robust=True, ground=GROUND),
    "logit": Logistic(RECUR, robust=True, ground=GROUND),
    "logit_weights": Logistic(RECUR, weights="w", robust=True, ground=GROUND),
    "logit_offset": Logistic("recur ~ hormon + nodes + offset(log(rtime / 365.25))", robust=True, ground=GROUND),
    "logit_hospital": Logistic("recur ~ hormon * age + C(size) + C(hospital)", robust=True, ground=GROUND),
    "logit_no_intercept": Logistic("recur ~ 0 + C(size) + age", robust=True, ground=GROUND),
    "logit_shares": Logistic(
        "I(((er > 10) + (pgr > 10) + recur) / 3) ~ age + grade", weights="three", robust=True, ground=GROUND
    ),
    "probit": Glm(RECUR, "binomial", "probit", robust=True, ground=GROUND),
    "cloglog": Glm(RECUR, "binomial", "cloglog", robust=True, ground=GROUND),
    "binomial_log": Glm("recur ~ hormon + C(size)", "binomial", "log", robust=True, ground=GROUND),
    "poisson": Poisson("nodes ~ age + C(size) + grade", robust=True, ground=GROUND),
    "poisson_offset": Poisson(COUNTS, robust=True, ground=GROUND),
    "poisson_weights": Poisson(COUNTS, weights="w", robust=True, ground=GROUND),
    "poisson_rate": Poisson("recur ~ hormon + C(size) + offset(log(rtime / 365.25))", robust=True, ground=GROUND),
    "poisson_identity": Glm("nodes ~ C(size)", "poisson", "identity", robust=True, ground=GROUND),
    "poisson_sqrt": Glm("nodes ~ C(size) + grade", "poisson", "sqrt", robust=True, ground=GROUND),
    "poisson_alone": Poisson("nodes ~ 1", robust=True, ground=GROUND),
    "gamma_log": Glm(RTIME, "gamma", "log", robust=True, ground=GROUND),
    "gamma_log_weights": Glm(RTIME, "gamma", "log", weights="w", robust=True, ground=GROUND),
    "gamma_log_pgr": Glm("I(pgr + 1) ~ age + meno + C(size)", "gamma", "log", robust=True, ground=GROUND),
    "gamma_identity": Glm("rtime ~ C(size) + meno", "gamma", "identity", robust=True, ground=GROUND),
    "gamma_inverse": Glm(RTIME, "gamma", robust=True, ground=GROUND),
    "gamma_inverse_weights": Glm(RTIME, "gamma", weights="w", robust=True, ground=GROUND),
    "gamma_inverse_no_intercept": Glm("rtime ~ 0 + C(size)", "gamma", robust=True, ground=GROUND),
}
LINES = {
    "gaussian": Linear(NODES, robust=True, ground=GROUND),
    "gaussian_weights": Linear(NODES, weights="w", robust=True, ground=GROUND),
    "gaussian_no_intercept": Linear("nodes ~ 0 + C(size) + age", robust=True, ground=GROUND),
}


class Table:
    """A hospital's table as analyses see it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame.reset_index(drop=True)

    def nobody(self) -> Table:
        return Table(self.frame.iloc[:0])


def total(designs: Sequence[Design]) -> Support:
    parts = [support_of(d) for d in designs]
    return Support(*(np.sum([getattr(p, name) for p in parts], axis=0) for name in Support._fields))


def fit(analysis: Any, frames: Sequence[pd.DataFrame], policy: Policy = LOOSE) -> Finding:
    """Drive an analysis in the clear, with the gate's verdict on support but without its eye on answers."""

    def settle(designs: Sequence[Design]) -> Verdict:
        return judge(designs[0], total(designs), policy)

    found: Finding = drive(supported(analysis.flow()), clear([Table(f) for f in frames], settle))
    return found


class Gated:
    """Answers as hospitals do: every answer passes a gate, travels as integers, and is counted."""

    def __init__(self, frames: Sequence[pd.DataFrame]) -> None:
        self.sites = [Site(Table(f)) for f in frames]
        self.gates: list[Gate] = []
        self.rounds = 0

    def __call__(self, asks: Round) -> Answers:
        self.rounds += 1
        return tuple(self.one(a) for a in asks)

    def one(self, a: Ask) -> Any:
        if a.kind == "support":
            designs = [s.design(a) for s in self.sites]
            self.gates = self.gates or [Gate(Policy(), len(d.columns)) for d in designs]
            verdicts = [g.settle(a, d, total(designs)) for g, d in zip(self.gates, designs, strict=True)]
            for s in self.sites:
                s.settle(a, verdicts[0])
            return verdicts[0]
        parts = [s.run(a) for s in self.sites]
        for g, s, p in zip(self.gates, self.sites, parts, strict=True):
            g.admit(a, p, s.people(a))
        sums = (
            f[0].filled(fixed.decode(fixed.total([fixed.encode(s.numbers(), s.scale, len(f)) for s in f]), f[0].scale))
            for f in zip(*parts, strict=True)
        )
        return type(parts[0])(*sums)


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    return dict(json.loads((HERE / "glm_breast.json").read_text()))


def read_breast() -> pd.DataFrame:
    frame = pd.read_csv(ROOT / "src/confrere/demos/breast.csv")
    frame["w"] = 1 + (frame["pid"] % 3) / 2
    frame["three"] = 3.0
    for name in frame.columns.difference(["size", "hospital"]):
        frame[name] = frame[name].astype(float)
    return frame


BREAST = read_breast()


def by_hospital(frame: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in frame.groupby("hospital")]


def column(found: Finding, name: str) -> Array:
    return np.array([row[name] for row in found.tables["coefficients"]], dtype=float)


# R -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_equals_r(name: str, oracle: dict[str, Any]) -> None:
    policy = Policy(allow=frozenset(["per_hospital"] if "hospital" in name else []))
    found, r = fit(MODELS[name], by_hospital(BREAST), policy), oracle[name]
    equal_to_r(found, r)
    loglik = r.get("loglik_weighted", r["loglik"])  # R rounds fractional weights of a binomial
    assert found.facts["log_likelihood"] == pytest.approx(loglik, rel=1e-12)
    assert found.facts["aic"] == pytest.approx(r["aic"] if loglik == r["loglik"] else 16 - 2 * loglik, rel=1e-12)


@pytest.mark.parametrize("name", LINES)
def test_linear_equals_r(name: str, oracle: dict[str, Any]) -> None:
    found, r = fit(LINES[name], by_hospital(BREAST), Policy()), oracle[name]
    equal_to_r(found, r)
    assert found.facts["log_likelihood"] == pytest.approx(r["loglik"], rel=1e-12)
    assert found.facts["aic"] == pytest.approx(r["aic"], rel=1e-12)
    lm = r["lm"]
    for fact in ("sigma", "r_squared", "adjusted_r_squared"):
        assert found.facts[fact] == pytest.approx(lm[fact], rel=1e-11)
    if "tests" in found.tables:
        (test,) = found.tables["tests"]
        assert [test["statistic"], test["df"], test["df_residual"]] == pytest.approx(lm["f_statistic"], rel=1e-11)


def equal_to_r(found: Finding, r: dict[str, Any]) -> None:
    """Coefficients, both variances, deviances, dispersion, degrees of freedom; gamma_identity of R is 5e-10 SE off."""
    se = np.array(list(r["std_error"].values()))
    assert column(found, "estimate") == pytest.approx(np.array(list(r["coef"].values())), abs=1e-9 * se.min())
    np.testing.assert_allclose(column(found, "std_error"), se, rtol=1e-9)
    np.testing.assert_allclose(column(found, "robust_se"), list(r["robust_std_error"].values()), rtol=1e-9)
    within(found.arrays["vcov"], r["vcov"])
    within(found.arrays["robust_vcov"], r["robust_vcov"])
    assert found.facts["deviance"] == pytest.approx(r["deviance"], rel=1e-12)
    if isinstance(r["null_deviance"], float | int):
        assert found.facts["null_deviance"] == pytest.approx(r["null_deviance"], rel=1e-12)
    else:  # infinite in R: the null model of an inverse link without an intercept has a mean of 1/0
        assert found.facts["null_deviance"] is None
    assert found.facts["dispersion"] == pytest.approx(r["dispersion"], rel=1e-9)
    assert (found.facts["df_residual"], found.facts["df_null"]) == (r["df_residual"], r["df_null"])
    assert found.n == r["n"]


def within(got: Array, want: Any) -> None:
    want = np.array(want)
    se = np.sqrt(np.diag(want))
    assert np.abs((got - want) / np.outer(se, se)).max() < 1e-9


def test_linear_tests_and_limits_are_rs(oracle: dict[str, Any]) -> None:
    found, lm = fit(Linear(NODES, ground=GROUND), by_hospital(BREAST)), oracle["gaussian"]["lm"]
    np.testing.assert_allclose(column(found, "statistic"), list(lm["statistic"].values()), rtol=1e-10)
    np.testing.assert_allclose(column(found, "p_value"), list(lm["p_value"].values()), rtol=1e-8)


# The gate and the numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian_log", "logit", "logit_offset", "poisson_weights", "gamma_inverse"])
def test_passes_the_gate_as_integers(name: str) -> None:
    answer = Gated(by_hospital(BREAST))
    found = drive(supported(MODELS[name].flow()), answer)
    alike(found, fit(MODELS[name], [BREAST]))
    assert answer.rounds <= 25


def test_linear_asks_four_times() -> None:
    answer = Gated(by_hospital(BREAST))
    alike(drive(supported(LINES["gaussian"].flow()), answer), fit(LINES["gaussian"], [BREAST]))
    assert answer.rounds == 4  # support, moments, one Gram matrix, squares of scores


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("kind", ["linear", "gaussian", "gamma", "poisson"])
def test_does_not_depend_on_the_unit_of_the_outcome(kind: str, factor: float) -> None:
    frame = BREAST.assign(y=(BREAST["rtime"] + 1) * factor, x=BREAST["age"] * factor)
    formula = "{y} ~ {x} + nodes"
    wanted, scaled = (
        fit(
            Linear(formula.format(y=y, x=x)) if kind == "linear" else Glm(formula.format(y=y, x=x), kind, LOGS[kind]),
            by_hospital(frame.assign(rtime=frame["rtime"] + 1)),
        )
        for y, x in (("rtime", "age"), ("y", "x"))
    )
    at = factor if kind in ("linear", "gaussian") else 1.0
    ratio = column(scaled, "estimate")[1:] / column(wanted, "estimate")[1:]
    np.testing.assert_allclose(ratio, [at / factor, at], rtol=1e-8)


LOGS = {"gaussian": "identity", "gamma": "log", "poisson": "log"}


# The twin ----------------------------------------------------------------------------------------------------


class Twin(NamedTuple):
    """A pooled fit."""

    beta: Array
    fisher: Array


def irls(x: Array, y: Array, w: Array, offset: Array, model: Glm) -> Twin:
    """The slow obvious twin: iteratively reweighted least squares on raw columns, as in the textbook."""
    family, link = family_of(model.family, model.link)
    start = np.full(len(y), link.of(float(w @ y / w.sum())))
    eta = start
    for _ in range(300):
        m = link.mean(eta)
        working = w * m.slope**2 / family.variance(m)
        response = eta - offset + (y - m.mu) / m.slope
        root = np.sqrt(working)
        beta = np.linalg.lstsq(x * root[:, None], response * root, rcond=None)[0]
        eta = x @ beta + offset
    m = link.mean(eta)
    return Twin(beta, x.T @ (x * (w * m.slope**2 / family.variance(m))[:, None]))


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_pooled_twin(family: str) -> None:
    y = {"gaussian": "nodes", "binomial": "recur", "poisson": "nodes", "gamma": "rtime"}[family]
    x = np.column_stack([np.ones(len(BREAST)), *(BREAST[c] for c in ("age", "grade", "hormon"))])
    offset = np.asarray(BREAST["meno"] / 10)
    for link in FAMILIES[family].links[:2] if family != "gaussian" else ("identity",):
        formula = f"{y} ~ age + grade + hormon" + ("" if link == "inverse" else " + offset(meno / 10)")
        model = Glm(formula, family, link, weights="w")
        twin = irls(x, np.asarray(BREAST[y]), np.asarray(BREAST["w"]), offset * (link != "inverse"), model)
        found = fit(model, by_hospital(BREAST))
        se = np.sqrt(np.diag(np.linalg.inv(twin.fisher)))
        assert np.abs((column(found, "estimate") - twin.beta) / se).max() < 1e-10
        model_se = np.sqrt(np.diag(found.arrays["vcov"]) / found.facts["dispersion"])
        np.testing.assert_allclose(model_se, se, rtol=1e-9)


def test_linear_and_glm_agree() -> None:
    for formula in (NODES, "nodes ~ 0 + C(size) + age", "nodes ~ age + offset(grade)"):
        line = fit(Linear(formula, weights="w", robust=True, ground=GROUND), by_hospital(BREAST))
        glm = fit(Glm(formula, weights="w", robust=True, ground=GROUND), by_hospital(BREAST))
        alike(line, glm)
        for fact in ("deviance", "null_deviance", "log_likelihood", "aic", "df_residual", "dispersion"):
            assert line.facts[fact] == pytest.approx(glm.facts[fact], rel=1e-11)


def test_ridge_equals_rows_that_pull_to_zero() -> None:
    theta, x = 50.0, np.column_stack([np.ones(len(BREAST)), BREAST["age"], BREAST["hormon"]])
    y = np.asarray(BREAST["nodes"])
    want = np.linalg.solve(x.T @ x + np.diag([0.0, theta, theta]), x.T @ y)
    for model in (Linear("nodes ~ age + hormon", ridge=theta), Glm("nodes ~ age + hormon", ridge=theta)):
        np.testing.assert_allclose(column(fit(model, by_hospital(BREAST)), "estimate"), want, rtol=1e-10)
    logit = fit(Logistic("recur ~ age + hormon", ridge=theta), by_hospital(BREAST))
    mean = 1 / (1 + np.exp(-x @ column(logit, "estimate")))
    pull = np.array([0.0, theta, theta]) * column(logit, "estimate")
    np.testing.assert_allclose(x.T @ (np.asarray(BREAST["recur"]) - mean), pull, atol=1e-6)


# Any deal ----------------------------------------------------------------------------------------------------

SOME = BREAST.iloc[::30].reset_index(drop=True)  # 100 people
DEALS = st.lists(st.integers(0, 3), min_size=len(SOME), max_size=len(SOME))
DEALT = [
    Linear("nodes ~ age + grade", weights="w", robust=True),
    Logistic("recur ~ age + nodes", robust=True),
    Poisson("nodes ~ age + grade + offset(log(rtime))", robust=True),
    Glm("rtime ~ age + nodes", "gamma", "inverse", weights="w"),
    Glm("recur ~ 0 + age + nodes", "binomial", "probit"),
]
POOLED = [fit(model, [SOME]) for model in DEALT]


@pytest.mark.parametrize("which", range(len(DEALT)))
@given(deal=DEALS, seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_any_deal_of_the_people_gives_the_pooled_finding(which: int, deal: list[int], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(len(SOME))
    dealt = [SOME.iloc[shuffled[np.array(deal) == h]] for h in range(5)]  # the fifth hospital has nobody
    alike(fit(DEALT[which], dealt), POOLED[which])


def alike(a: Finding, b: Finding) -> None:
    """The same finding to 1e-9 of a standard error."""
    se = column(b, "std_error")
    assert np.abs((column(a, "estimate") - column(b, "estimate")) / se).max() < 1e-9
    np.testing.assert_allclose(column(a, "std_error"), se, rtol=1e-8)
    if "robust_vcov" in b.arrays:
        np.testing.assert_allclose(column(a, "robust_se"), column(b, "robust_se"), rtol=1e-8)
    assert a.n == b.n
    assert a.events == b.events
    assert a.facts["deviance"] == pytest.approx(b.facts["deviance"], rel=1e-11)


# By hand -----------------------------------------------------------------------------------------------------


def in_three(data: dict[str, list[float]]) -> list[pd.DataFrame]:
    frame = pd.DataFrame(data).astype(float)
    return [frame.iloc[0::2], frame.iloc[1::2], frame.iloc[:0]]


def test_linear_by_hand() -> None:
    for model in (Linear("y ~ x", robust=True), Glm("y ~ x", robust=True)):
        found = fit(model, in_three(LINEAR["data"]))
        check(found, LINEAR, ("deviance", "null_deviance", "dispersion", "aic"))
        assert found.facts["log_likelihood"] == pytest.approx(LINEAR["loglik"])
    assert fit(Linear("y ~ x"), in_three(LINEAR["data"])).facts["r_squared"] == pytest.approx(LINEAR["r_squared"])


def test_logistic_by_hand() -> None:
    found = fit(Logistic("ill ~ exposed", robust=True), in_three(LOGISTIC["data"]))
    check(found, LOGISTIC, ("deviance", "null_deviance", "aic"))
    assert found.facts["log_likelihood"] == pytest.approx(LOGISTIC["loglik"])
    assert found.tables["coefficients"][1]["odds_ratio"] == pytest.approx(4)
    (test,) = found.tables["tests"]
    assert test["statistic"] == pytest.approx(LOGISTIC["null_deviance"] - LOGISTIC["deviance"])
    assert found.events == 35


def test_poisson_by_hand() -> None:
    model = Poisson(f"events ~ exposed + offset({POISSON['offset']})", robust=True)
    check(found := fit(model, in_three(POISSON["data"])), POISSON, ("deviance",))
    assert found.tables["coefficients"][1]["rate_ratio"] == pytest.approx(2)


def test_gamma_by_hand() -> None:
    for link in ("log", "inverse"):
        found = fit(Glm("y ~ x", "gamma", link, robust=True), in_three(GAMMA["data"]))
        check(found, GAMMA[link], ())
        for fact in ("deviance", "dispersion"):
            assert found.facts[fact] == pytest.approx(GAMMA[fact])


def check(found: Finding, case: dict[str, Any], facts: Sequence[str]) -> None:
    np.testing.assert_allclose(column(found, "estimate"), case["coef"], rtol=1e-11)
    np.testing.assert_allclose(column(found, "std_error"), case["std_error"], rtol=1e-9)
    if "robust_std_error" in case:
        np.testing.assert_allclose(column(found, "robust_se"), case["robust_std_error"], rtol=1e-9)
    for fact in facts:
        assert found.facts[fact] == pytest.approx(case[fact])


# A real federation -------------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.skipif(
    not SHARED.exists(), reason=f"{SHARED} is not there; set CONFRERE_DATA to the folder of public data"
)
def test_heart_disease_of_four_hospitals() -> None:
    frame = pd.read_csv(SHARED / "heart_disease.csv")
    wanted = json.loads((SHARED / "oracle.json").read_text())["pooled_logit_complete_cases"]
    terms = [t for t in wanted["coef"] if t != "const"]
    answer = Gated(by_hospital(frame))
    found = drive(supported(Logistic(f"I(num > 0) ~ {' + '.join(terms)}").flow()), answer)
    se = np.array(list(wanted["se"].values()))
    assert (found.n, found.hospitals) == (740, 4)
    assert np.abs((column(found, "estimate") - list(wanted["coef"].values())) / se).max() < 1e-6  # statsmodels' own
    np.testing.assert_allclose(column(found, "std_error"), se, rtol=1e-6)
    assert found.facts["log_likelihood"] == pytest.approx(wanted["loglik"], rel=1e-11)
    alike(found, fit(Logistic(f"I(num > 0) ~ {' + '.join(terms)}"), [frame]))
