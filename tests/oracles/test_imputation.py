"""Multiple imputation against R's mice: exactly where nothing is random, within Monte Carlo error where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.cox import Cox
from confrere.analyses.equations import Equation
from confrere.analyses.finding import Finding
from confrere.analyses.impute import anchored, planned
from confrere.analyses.linear import Linear
from confrere.analyses.logistic import Logistic
from confrere.analyses.rubin import pool
from confrere.rounds import drive, supported
from confrere.study.ground import Ground
from confrere.study.imputation import Impute
from confrere.study.schema import Column, Schema
from federate import LOOSE, column, dealt, demo, fit, in_the_clear, oracle, typed

R = oracle("imputation")
SCHEMA = Schema({"hormon": Column("hormon", ("0", "1")), "size": Column("size", ("<=20", "20-50", ">50"))})
GROUND = Ground(SCHEMA, person="pid")
QUICK, LONG = 30, 200
NUMBERS = "age + sex + ph.ecog + meal.cal + wt.loss"


def lung() -> list[pd.DataFrame]:
    """By institution, who misses neither it nor ph.ecog."""
    frame = demo("lung")
    frame = frame[frame["inst"].notna() & frame["ph.ecog"].notna()].astype(float)
    return [part for _, part in frame.assign(pid=np.arange(len(frame)), dead=frame["status"] - 1).groupby("inst")]


def breast() -> list[pd.DataFrame]:
    """The tumour bank with gaps by rules that see the outcome, as in make_imputation.R."""
    frame = demo("breast")[["pid", "recur", "hormon", "age", "size", "nodes"]].copy()
    gaps = {
        "hormon": frame["pid"] * 7919 % 101 < 15 + 15 * frame["recur"],
        "size": frame["pid"] * 10473 % 103 < 25,
        "nodes": frame["pid"] * 12997 % 107 < 15 + 10 * (frame["age"] > 50),
    }
    for name, gap in gaps.items():
        frame[name] = frame[name].astype(object).map(str if name != "nodes" else float).mask(gap)
    return dealt(typed(frame, SCHEMA), frame["pid"].to_numpy() % 4, 4)


STUDIES: dict[str, tuple[Any, Any, Sequence[int]]] = {  # analysis, hospitals, the terms in R's order
    "cox": (Cox(f"Surv(time, dead) ~ {NUMBERS}", ground=GROUND), lung, range(5)),
    "linear": (Linear("ph.ecog ~ age + sex + meal.cal + wt.loss", ground=GROUND), lung, range(5)),
    "single": (Linear("ph.ecog ~ age + sex + meal.cal", ground=GROUND), lung, range(4)),
    "logistic": (Logistic("recur ~ hormon + age + C(size) + nodes", ground=GROUND), breast, range(6)),
}
# mice predicts the outcome of the linear study from what the Cox study imputed
AUXILIARY = {"linear": ("dead",)}


def imputed(name: str, imputations: int) -> Finding:
    """A study with so many imputations."""
    analysis, frames, _ = STUDIES[name]
    how = Impute(imputations, iterations=6, auxiliary=AUXILIARY.get(name, ()))
    return fit(replace(analysis, missing=how), frames(), LOOSE)


def off(finding: Finding, name: str, imputations: int) -> dict[str, float]:
    """The largest differences from mice in Monte Carlo standard errors: of estimates, standard errors and fmi."""
    said = {k: np.array(v, dtype=float) for k, v in R[name].items() if isinstance(v, list) and k != "term"}
    estimate, se, fmi = (column(finding, "coefficients", c) for c in ("estimate", "std_error", "fmi"))
    noise = 1 / imputations + 1 / R[name]["m"]
    share = said["riv"] / (1 + said["riv"])
    return {
        "estimate": float(np.abs((estimate - said["estimate"]) / np.sqrt(said["between"] * noise)).max()),
        # B has 2 B^2/m as its variance: half its share of T is that of the standard error, all of it that of fmi
        "std_error": float(np.abs((se / said["std_error"] - 1) / (share / 2 * np.sqrt(2 * noise))).max()),
        "fmi": float(np.abs((fmi - said["fmi"]) / (share * (1 - share) * np.sqrt(2 * noise))).max()),
    }


@pytest.mark.parametrize("name", STUDIES)
def test_pooled_estimates_are_those_of_mice(name: str) -> None:
    apart = off(imputed(name, QUICK), name, QUICK)
    assert max(apart.values()) < 4, apart


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_pooled_estimates_are_those_of_mice_with_many_imputations(name: str, record_property: Any) -> None:
    apart = off(imputed(name, LONG), name, LONG)
    record_property("monte carlo standard errors", apart)
    assert max(apart.values()) < 4, apart


def test_the_posterior_of_an_equation_is_the_regression_of_those_who_have_the_column() -> None:
    analysis = replace(STUDIES["single"][0], missing=Impute(5))
    answer = in_the_clear(lung(), LOOSE)

    def flow() -> Any:
        plan = yield from planned(analysis, analysis.missing)
        equation = Equation(plan.equations, 0, 5, plan.about, GROUND)
        return plan, equation, (yield from anchored(equation))

    plan, equation, mode = drive(supported(flow()), answer)
    own = equation.field
    others = [f for f in plan.equations.fields if f is not own]
    names = [f.name for f in others]
    order = [names.index(n) for n in ("age", "sex", "(outcome)")]
    sd, mean = np.array([f.sd[0] for f in others]), np.array([f.mean[0] for f in others])
    slopes = mode.modes[0][1:] * own.sd[0] / sd
    intercept = own.mean[0] + own.sd[0] * mode.modes[0][0] - slopes @ mean
    assert np.allclose([intercept, *slopes[order]], R["first"]["coef"], rtol=1e-6)
    sigma = own.sd[0] * np.sqrt(mode.squares[0] / (mode.n - equation.size))
    assert np.isclose(sigma, R["first"]["sigma"], rtol=1e-9)
    vcov = np.linalg.inv(mode.information)[1:, 1:][np.ix_(order, order)] / np.outer(sd[order], sd[order]) * sigma**2
    assert np.allclose(vcov, np.array(R["first"]["vcov"])[1:, 1:], rtol=1e-6)


def test_rubins_rules_are_those_of_mice() -> None:
    q, u = np.array(R["rubin"]["q"]), np.array(R["rubin"]["u"])
    for said in R["rubin"]["rules"]:
        df = said.get("df_complete") or np.inf
        got = pool(q[:, None], u[:, None, None], df)
        assert np.isclose(got.estimate[0], said["estimate"], rtol=1e-12)
        assert np.isclose(got.vcov[0, 0], said["total"], rtol=1e-12)
        for name in ("df", "riv", "fmi"):
            assert np.isclose(getattr(got, name)[0], said[name], rtol=1e-12), name


def test_the_people_who_miss_a_column_are_counted_alike() -> None:
    found = {r["column"]: r["missing"] for r in imputed("logistic", 2).tables["imputation"]}
    assert found == R["missing"]


TRUTH = np.array([0.5, 1.0, -0.7, 0.4])  # Intercept, x, b, z


def simulated(seed: int, n: int = 250) -> pd.DataFrame:
    """People of whom x and b are missing more often where the outcome and z are high: at random, given these."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    b = (rng.random(n) < 1 / (1 + np.exp(-0.8 * z))).astype(float)
    x = 0.5 * z + 0.5 * b + rng.normal(size=n)
    y = np.column_stack([np.ones(n), x, b, z]) @ TRUTH + rng.normal(size=n)
    frame = pd.DataFrame({"pid": np.arange(n) + 1000.0 * seed, "x": x, "b": b, "z": z, "y": y})
    frame["x"] = frame["x"].mask(rng.random(n) < 1 / (1 + np.exp(1.5 - 0.8 * y)))
    frame["b"] = frame["b"].mask(rng.random(n) < 1 / (1 + np.exp(1.8 - 0.6 * y + 0.5 * z)))
    return frame


def coverage(runs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By coefficient: how often the interval holds the truth, the bias, and that of complete rows."""
    inside, errors, complete = [], [], []
    for seed in range(runs):
        frames = dealt(simulated(seed), np.arange(250) % 3, 3)
        analysis = Linear("y ~ x + b + z", missing=Impute(10, seed=seed), ground=Ground(person="pid"))
        found, plain = (fit(a, frames, LOOSE) for a in (analysis, replace(analysis, missing="complete")))
        low, high = (column(found, "coefficients", c) for c in ("conf_low", "conf_high"))
        inside.append((low <= TRUTH) & (high >= TRUTH))
        errors.append(found.arrays["estimate"] - TRUTH)
        complete.append(plain.arrays["estimate"] - TRUTH)
    return np.mean(inside, axis=0), np.mean(errors, axis=0), np.mean(complete, axis=0)


@pytest.mark.slow
def test_intervals_cover_and_the_bias_of_complete_rows_is_gone(record_property: Any) -> None:
    covered, bias, complete = coverage(1000)
    record_property("coverage, bias, bias of complete rows", [v.round(3).tolist() for v in (covered, bias, complete)])
    assert covered.min() > 0.93
    assert covered.max() < 0.975
    assert np.abs(bias[:2]).max() < np.abs(complete[:2]).max() / 4
    assert np.abs(bias).sum() < np.abs(complete).sum() / 4
