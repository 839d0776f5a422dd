"""Cox's regression with one baseline on public times against R's coxph, basehaz and survfit.

On exact days, and on cells of 30 days whose numbers are the times: the grid is then the same as R's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import COX, COX_STRATA

from confrere.analyses.cox import Cox
from confrere.analyses.finding import Finding
from confrere.errors import DataError, ModelError
from confrere.hospital.gate import Policy
from confrere.rounds import LARGE
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import BREAST, EXACT, GATE, LOOSE, breast, by, column, demo, fit, found, late, lung, masked, oracle

FINE = Ground(BREAST, fine=True)
RIGHT = "hormon + chemo + age + meno + C(size) + grade + nodes + pgr + er"
STRATA = RIGHT.replace("meno + ", "") + " + strata(meno_level)"
LUNG = "Surv(time, status == 2) ~ age + sex + ph.ecog"
PERSON = np.array([1, 0, 60, 1, 1, 0, 3, 4, 100, 150], dtype=float)  # as in cox_breast_baseline.json

MODELS: dict[str, tuple[str, str, Cox]] = {  # name: file, key, model
    name: (file, key, Cox(formula, baseline="shared", robust=True, ground=FINE, **kind))
    for name, file, key, formula, kind in (
        ("days", "cox_breast", "shared_efron", f"Surv(rtime, recur) ~ {RIGHT}", {}),
        ("days, Breslow", "cox_breast", "shared_breslow", f"Surv(rtime, recur) ~ {RIGHT}", {"ties": "breslow"}),
        ("cells", "cox_breast_baseline", "cells_efron", f"Surv(cell, recur) ~ {RIGHT}", {}),
        ("cells, Breslow", "cox_breast_baseline", "cells_breslow", f"Surv(cell, recur) ~ {RIGHT}", {"ties": "breslow"}),
        ("cells, weights", "cox_breast_baseline", "cells_weights", f"Surv(cell, recur) ~ {RIGHT}", {"weights": "w"}),
        ("cells, late", "cox_breast_baseline", "cells_late", f"Surv(entry_cell, cell, recur) ~ {RIGHT}", {}),
        ("cells, strata", "cox_breast_baseline", "cells_strata", f"Surv(cell, recur) ~ {STRATA}", {}),
        ("lung", "cox_lung", "shared", LUNG, {}),
        ("lung, eleven", "cox_lung", "shared_eleven", LUNG, {}),
    )
}
each = pytest.mark.parametrize("name", MODELS)
LENIENT = Policy(hospitals=1, effective_here=0)


@lru_cache
def said(name: str) -> dict[str, Any]:
    """What R says of the fit."""
    file, key, _ = MODELS[name]
    got: dict[str, Any] = oracle(file)[key]
    return dict(got.get("fit", got))


@lru_cache
def ours(name: str) -> Finding:
    """Our fit over hospitals: the four of the demo, or the institutions."""
    _, _, cox = MODELS[name]
    if name.startswith("lung"):
        whole = demo("lung").astype(float)
        whole = whole.assign(inst=whole["inst"].fillna(0.0))  # one person without an institution is one of its own
        sites = by(whole if name == "lung" else lung(), "inst")
        return fit(cox, [s for s in sites if len(s) >= 11 or name == "lung"], LOOSE)
    frame = breast()
    return fit(cox, by(late(late(frame), "entry_cell", "cell") if "late" in name else frame, "hospital"), EXACT)


def values(named: dict[str, float]) -> np.ndarray:
    """R's named vector."""
    return np.array(list(named.values()))


@each
def test_coefficients_and_standard_errors_are_rs(name: str) -> None:
    r, got = said(name), ours(name)
    se = values(r["std_error"])
    assert (got.n, got.events) == (r["n"], r["events"])
    assert np.abs((column(got, "coefficients", "estimate") - values(r["coef"])) / se).max() < 1e-8
    assert np.allclose(column(got, "coefficients", "std_error"), se, rtol=1e-9, atol=0)
    assert np.allclose(column(got, "coefficients", "robust_se"), values(r["robust_std_error"]), rtol=1e-8, atol=0)


@each
def test_likelihood_and_tests_are_rs(name: str) -> None:
    r, got = said(name), ours(name)
    assert got.facts["log_likelihood_null"] == pytest.approx(r["loglik"]["null"], rel=1e-11)
    assert got.facts["log_likelihood"] == pytest.approx(r["loglik"]["fitted"], rel=1e-11)
    tests = {t["test"]: t["statistic"] for t in got.tables["tests"]}
    assert tests["likelihood ratio"] == pytest.approx(r["likelihood_ratio"], rel=1e-8)
    assert tests["Wald"] == pytest.approx(r["wald_test"], rel=1e-8)
    # on a long grid the information at 0 is averaged over blocks, and the score test is left out
    assert tests.get("score", r["score_test"]) == pytest.approx(r["score_test"], rel=1e-8)
    assert ("score" in tests) == (got.facts["cells"] * max(1, len(said_strata(name))) <= 128)


def said_strata(name: str) -> tuple[str, ...]:
    """Strata of a model."""
    return ("0", "1") if "strata" in name else ()


@each
def test_proportional_hazards_are_rs(name: str) -> None:
    r, got = said(name), ours(name)
    statistics = {(t["transform"], t["term"]): t["statistic"] for t in got.tables["proportional_hazards"]}
    terms = [c["term"] for c in got.tables["coefficients"]]
    for transform, theirs in r["zph"].items():
        assert np.allclose([statistics[transform, t] for t in terms], values(theirs["columns"]), rtol=1e-7), transform
        assert statistics[transform, "GLOBAL"] == pytest.approx(theirs["global"], rel=1e-7)


@pytest.mark.parametrize("name", [n for n in MODELS if not re.search("late|strata|weights", n)])
def test_concordance_on_bins_is_near_rs(name: str) -> None:
    """Forty bins of risk, which know neither entries nor strata nor weights: there it is not offered."""
    r, got = said(name), ours(name)
    assert got.facts["concordance"] == pytest.approx(r["concordance"]["estimate"], abs=0.002)
    assert got.facts["concordance_se"] == pytest.approx(r["concordance"]["std_error"], rel=0.03)


@pytest.mark.parametrize("name", [n for n in MODELS if re.search("late|strata|weights", n)])
def test_concordance_that_the_bins_cannot_tell_is_not_said(name: str) -> None:
    assert "concordance" not in ours(name).facts


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith(("days", "cells"))])
def test_baseline_and_predicted_curves_are_rs(name: str) -> None:
    key = {"days": "days_efron"}.get(name, MODELS[name][1])
    if name == "days, Breslow":
        return
    r, got = oracle("cox_breast_baseline")[key], ours(name).tables["baseline"]
    theirs = pd.DataFrame(r["baseline"])
    if "stratum" in theirs:
        theirs = theirs.assign(
            hazard=theirs.groupby("stratum")["cumulative_hazard"].diff().fillna(theirs["cumulative_hazard"])
        )
        theirs = theirs[theirs["hazard"] > 0]  # R lists times of the other stratum too
        assert [t["group"].replace("meno_level", "meno") for t in got] == theirs["stratum"].tolist()
    assert [t["time"] for t in got] == theirs["time"].tolist()
    assert np.allclose([t["cumulative_hazard"] for t in got], theirs["cumulative_hazard"], rtol=1e-9, atol=0)
    assert np.allclose([t["survival"] for t in got], np.exp(-theirs["cumulative_hazard"]), rtol=1e-9, atol=0)
    if "predicted" in r:
        risk = np.exp(PERSON @ column(ours(name), "coefficients", "estimate"))
        curve = np.exp(-risk * np.array([t["cumulative_hazard"] for t in got]))
        assert np.allclose(curve, r["predicted"]["survival"], rtol=1e-9, atol=0)


def test_on_the_default_grid_it_is_near_the_exact_one() -> None:
    """Coarsened to cells of at least 11 events and 11 censorings: within a tenth of a standard error."""
    cox = Cox(f"Surv(rtime, recur) ~ {RIGHT}", baseline="shared", ground=Ground(BREAST))
    coarse, exact = fit(cox, by(breast(), "hospital"), GATE), said("days")
    error = (column(coarse, "coefficients", "estimate") - values(exact["coef"])) / values(exact["std_error"])
    assert np.abs(error).max() < 0.1
    assert np.allclose(column(coarse, "coefficients", "std_error"), values(exact["std_error"]), rtol=0.01)
    assert coarse.facts["concordance"] == pytest.approx(exact["concordance"]["estimate"], abs=0.01)


def test_masked_on_exact_days_is_rs() -> None:
    hospitals = {str(part["hospital"].iloc[0]): part for part in by(breast(), "hospital")}
    results, r = masked(MODELS["days"][2], hospitals, allow=["fine_times"]), said("days")
    error = (column(found(results), "coefficients", "estimate") - values(r["coef"])) / values(r["std_error"])
    assert np.abs(error).max() < 1e-8
    firsts = [part.numbers for part in results.left if part.step == "firsts" and part.name == "dead"]
    assert len(firsts) == 1  # the largest sums of the fit leave once
    assert firsts[0] > LARGE


# By hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_by_hand_with_the_baseline(ties: str) -> None:
    wanted, frame = COX[ties], pd.DataFrame(COX["data"]).astype(float)
    cox = Cox("Surv(time, status) ~ x", ties=ties, baseline="shared", robust=True, ground=Ground(step=1, fine=True))
    got = fit(cox, [frame[:2], frame[2:5], frame[5:]], LOOSE)
    assert got.tables["coefficients"][0]["estimate"] == pytest.approx(wanted["coef"], rel=1e-9)
    assert got.tables["coefficients"][0]["std_error"] == pytest.approx(wanted["std_error"], rel=1e-9)
    if "robust_std_error" in wanted:
        assert got.tables["coefficients"][0]["robust_se"] == pytest.approx(wanted["robust_std_error"], rel=1e-9)
    assert [t["time"] for t in got.tables["baseline"]] == wanted["baseline_time"]
    hazards = [t["cumulative_hazard"] for t in got.tables["baseline"]]
    assert hazards == pytest.approx(wanted["cumulative_hazard"], rel=1e-9)


def test_strata_by_hand() -> None:
    frame = pd.DataFrame(COX_STRATA["data"]).astype({"time": float, "status": float, "x": float})
    frame["stratum"] = pd.Categorical(frame["stratum"], list("ABC"))
    ground = Ground(Schema({"stratum": Column("stratum", tuple("ABC"))}), step=1, fine=True)
    got = fit(
        Cox("Surv(time, status) ~ x + strata(stratum)", baseline="shared", ground=ground),
        [frame[::2], frame[1::2]],
        LOOSE,
    )
    assert got.tables["coefficients"][0]["estimate"] == pytest.approx(COX_STRATA["coef"], rel=1e-9)
    assert got.facts["log_likelihood"] == pytest.approx(COX_STRATA["loglik"], rel=1e-11)
    assert {t["group"] for t in got.tables["baseline"]} == {f"stratum={s}" for s in "ABC"}


def test_all_events_in_one_cell() -> None:
    """Fifteen deaths merge to one cell: there is no time over which hazards could drift, and nothing to test."""
    frame = breast().iloc[:600].copy()
    frame["recur"] = (np.arange(600) % 40 == 0).astype(float)
    got = fit(Cox("Surv(rtime, recur) ~ age", baseline="shared", ground=Ground(BREAST)), by(frame, "hospital"), LENIENT)
    assert "proportional_hazards" not in got.tables
    assert len(got.tables["baseline"]) == 1


def test_people_of_a_stratum_that_is_withheld_do_not_count() -> None:
    """A stratum of five events is withheld whole: the fit is that of the others."""
    frame = breast().copy()
    where = np.where(np.arange(len(frame)) % 20 == 0, "C", np.where(frame["meno"] > 0, "B", "A"))
    frame["recur"] = np.where((where == "C") & (np.cumsum(where == "C") > 5), 0.0, frame["recur"])
    frame.loc[np.flatnonzero(where == "C")[:5], "recur"] = 1.0
    frame["stratum"] = pd.Categorical(where, list("ABC"))
    ground = Ground(Schema({**BREAST.columns, "stratum": Column("stratum", tuple("ABC"))}))
    cox = Cox("Surv(rtime, recur) ~ age + hormon + strata(stratum)", baseline="shared", ground=ground)
    got, wanted = (fit(cox, by(part, "hospital"), GATE) for part in (frame, frame[where != "C"]))
    assert column(got, "coefficients", "estimate") == pytest.approx(
        column(wanted, "coefficients", "estimate"), rel=1e-8
    )
    assert column(got, "coefficients", "std_error") == pytest.approx(
        column(wanted, "coefficients", "std_error"), rel=1e-8
    )
    assert not [t for t in got.tables["baseline"] if t["group"] == "stratum=C" and t["hazard"] > 0]


# What is wrong ------------------------------------------------------------------------------------------------


def test_times_off_the_grid() -> None:
    frame = breast().assign(rtime=breast()["rtime"] + 0.25)
    with pytest.raises(DataError, match="grid of 1 days"):
        fit(Cox("Surv(rtime, recur) ~ age", baseline="shared", ground=FINE), by(frame, "hospital"), EXACT)


def test_no_events() -> None:
    frame = breast().assign(recur=0.0)
    with pytest.raises(ModelError, match="no events"):
        fit(Cox("Surv(rtime, recur) ~ age", baseline="shared", ground=FINE), by(frame, "hospital"), LOOSE)
