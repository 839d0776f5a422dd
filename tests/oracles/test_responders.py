"""Effects that differ between people against R's glm and lm with sandwiches, a case by hand, and known truths."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import RESPONDERS
from test_effects import CAUSAL, GROUND, TERMS, breast

from confrere.analyses.effects.policy import Class, ranking
from confrere.analyses.effects.responders import Responders
from confrere.analyses.effects.subgroups import Group
from confrere.analyses.finding import Finding, Record
from confrere.rounds import People
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit
from federate import demo

ORACLE = json.loads((Path(__file__).parent / "responders.json").read_text())
PARTS = json.loads((Path(__file__).parent / "responders_parts.json").read_text())
CRITERIA = tuple(PARTS["criteria"])


def found(method: Responders, frames: list[pd.DataFrame]) -> Finding:
    """The finding without thresholds, its settings checked first."""
    method.check()
    return fit(method, frames, LOOSE)


def halved(**more: Any) -> Finding:
    """The receptor of the demo's people, learnt in one half and tested in the other."""
    return found(
        Responders(
            "hormon", "log(pgr + 1)", TERMS, "age + nodes", halves=True, subgroups=CRITERIA, benefit="lower",
            threshold=PARTS["threshold"], ground=GROUND, **more,
        ),
        breast(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["folds", "halves"])
def test_r_was_given_the_digits_of_the_hash(name: str) -> None:
    """What R read is the keyed hash under an empty key, in the order of the demo's file."""
    words = People(None).words(name, demo("breast")["pid"].astype(float), shared=True)
    assert "".join(str(int(word % 2)) for word in words) == PARTS[name]


@pytest.mark.parametrize("learner", ["dr", "r", "x"])
def test_learners_equal_lm_with_the_sandwich(learner: Any) -> None:
    """Coefficients to 1e-8, their covariance to 1e-8; of the x-learner 1e-6: R's Jacobian is a numerical one."""
    want = ORACLE["everybody"]
    got = found(Responders("hormon", "recur", TERMS, "age + nodes", learner=learner, ground=GROUND), breast())
    np.testing.assert_allclose(got.summary("coefficients")["estimate"], want[learner]["estimate"], rtol=1e-8)
    vcov, close = np.array(want[learner]["vcov"]), 1e-6 if learner == "x" else 1e-8
    np.testing.assert_allclose(got.arrays["vcov"], vcov, rtol=close, atol=close * 1e-6)
    (average,) = got.tables["effects"]
    assert [average["estimate"], average["std_error"]] == pytest.approx(want["ate"], rel=1e-8)
    assert average["measure"] == "risk difference"


def test_testing_people_equal_r() -> None:
    """Calibration, classes, ranking, value of the rule and leaves; the tree is the one whose rules R was given."""
    got = halved()
    line = got.summary("calibration")
    np.testing.assert_allclose(line["estimate"], ORACLE["calibration"]["estimate"], rtol=1e-8)
    np.testing.assert_allclose(line["std_error"] ** 2, np.diag(ORACLE["calibration"]["vcov"]), rtol=1e-8)
    assert len(got.tables["groups"]) == len(ORACLE["classes"])
    for row, want in zip(got.tables["groups"], ORACLE["classes"], strict=True):
        _alike(row, want)
    for row, name in zip(got.tables["ranking"], ("autoc", "qini"), strict=True):
        assert [row["estimate"], row["std_error"]] == pytest.approx(ORACLE[name], rel=1e-6)
    values = ORACLE["value"] | ORACLE["trees"]["causal"]["values"]
    assert {row["policy"] for row in got.tables["value"]} == set(values)
    for row in got.tables["value"]:
        assert [row["estimate"], row["std_error"]] == pytest.approx(values[row["policy"]], rel=1e-8)
    assert got.tables["value"][0]["share_treated"] == pytest.approx(ORACLE["share"])
    assert [row["rule"] for row in got.tables["subgroups"]] == PARTS["rules"]
    for row in got.tables["subgroups"]:
        want = ORACLE["leaves"][row["rule"]]
        _alike(row, want)
        assert row["difference"] == pytest.approx(want["difference"], rel=1e-7)
        assert row["difference_se"] == pytest.approx(want["difference_se"], rel=1e-7)


def test_the_policy_tree_is_the_best_of_all_trees() -> None:
    """The one that R finds by trying all in the half that learns, its decisions, and its value in the other half."""
    want = ORACLE["trees"]["policy"]
    got = halved(tree="policy")
    assert [row["rule"] for row in got.tables["subgroups"]] == want["rules"] != PARTS["rules"]
    assert [row["treat"] for row in got.tables["subgroups"]] == want["treat"]
    rows = {row["policy"]: row for row in got.tables["value"]}
    for name, known in want["values"].items():
        assert [rows[name]["estimate"], rows[name]["std_error"]] == pytest.approx(known, rel=1e-7), name
    assert rows["treat by the tree"]["share_treated"] == pytest.approx(want["share"])
    assert got.facts["treat"] == " or ".join(f"({r})" for r, t in zip(want["rules"], want["treat"], strict=True) if t)


FATE = ("alive", "relapse", "death")
FINE = replace(GROUND, fine=True, schema=Schema({**GROUND.schema.columns, "fate": Column("fate", FATE)}))
FOLLOWED: dict[str, dict[str, Any]] = {
    "rmst": {"tau": 1826.0}, "risk": {"time": 1826.0}, "by_size": {"tau": 1826.0, "censoring": ("size",)},
    "cause": {"time": 1826.0, "cause": "relapse"},
}  # fmt: skip


def fated() -> list[pd.DataFrame]:
    """The demo's people, and what came first: relapse, death without one, or neither."""
    return [
        f.assign(fate=pd.Categorical.from_codes(np.where(f["recur"] == 1, 1, 2 * f["death"]).astype(int), FATE))
        for f in breast()
    ]


@pytest.mark.parametrize("learner", ["dr", "r", "x"])
@pytest.mark.parametrize("case", FOLLOWED)
def test_effects_on_follow_up_equal_pseudo_values(case: str, learner: Any) -> None:
    """On exact days, R's pseudo() by arm, then its lm: restricted means, risks, of a cause, by strata of censoring."""
    want = ORACLE["followed"][case]
    outcome = "Surv(rtime, fate)" if case == "cause" else "Surv(rtime, recur)"
    method = Responders("hormon", outcome, TERMS, "age + nodes", learner=learner, ground=FINE, **FOLLOWED[case])
    got = found(method, fated())
    np.testing.assert_allclose(got.summary("coefficients")["estimate"], want[learner]["estimate"], rtol=1e-8)
    vcov, close = np.array(want[learner]["vcov"]), 1e-6 if learner == "x" else 1e-8
    np.testing.assert_allclose(got.arrays["vcov"], vcov, rtol=close, atol=close * 1e-6 * np.max(np.abs(vcov)))
    (average,) = got.tables["effects"]
    assert [average["estimate"], average["std_error"]] == pytest.approx(want["ate"], rel=1e-8)
    assert average["measure"] == ("RMST difference" if "tau" in FOLLOWED[case] else "risk difference")


def _alike(row: Record, want: Record) -> None:
    assert (row["n"], row["treated"]) == (want["n"], want["treated"])
    assert [row["estimate"], row["std_error"]] == pytest.approx([want["estimate"], want["se"]], rel=1e-7)


@pytest.mark.parametrize("learner", ["dr", "r", "x"])
def test_models_that_fit_every_cell_by_hand(learner: Any) -> None:
    """Everybody has a double in the other fold, so that the models of both folds are the cells' means."""
    ids = np.array([str(i) for i in range(400)])
    fold = People(None).words("folds", ids, shared=True) % 2
    data = pd.DataFrame(RESPONDERS["data"])
    frame = pd.concat([data.assign(pid=ids[fold == f][: len(data)]) for f in (0, 1)], ignore_index=True)
    method = Responders("a", "y", "c", "c", learner=learner, ground=Ground(person="pid"))
    got = found(method, [frame.iloc[::2], frame.iloc[1::2]])
    table = got.summary("coefficients")
    np.testing.assert_allclose(table["estimate"], RESPONDERS["estimate"], rtol=1e-9)
    if learner != "x":
        np.testing.assert_allclose(table["std_error"] ** 2, RESPONDERS["variance"], rtol=1e-9)
    assert got.tables["effects"][0]["estimate"] == pytest.approx(RESPONDERS["average"])


def test_ranking_by_hand() -> None:
    """Two classes with mean scores of 3 and 1."""
    people = [Group(5.0, np.array([10.0, 0.0, 10.0 * s, 0.0, 0.0, 10.0 * s**2 + 1])) for s in (1.0, 3.0)]
    rows = ranking([Class(None, 0.0, people[0]), Class(0.0, None, people[1])], (1.0, 1.0))
    assert [row["estimate"] for row in rows] == pytest.approx([RESPONDERS["autoc"], RESPONDERS["qini"]])


# --- known truths, on data that are not in the repository -------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("learner", ["dr", "r"])
def test_ihdp_effects_are_near_the_truth(learner: Any) -> None:
    """Semi-synthetic outcomes: over five draws the predicted effects are nearer to the true ones than the average is
    in most, and the limits of the average effect hold the truth."""
    terms = " + ".join(f"x{i}" for i in range(1, 26))
    nearer = inside = 0
    for replicate in range(1, 6):
        frame = pd.read_csv(CAUSAL / "ihdp_npci_1_5.csv").astype(float)
        frame = frame[frame["replicate"] == replicate]
        frame = frame.assign(pid=np.arange(len(frame), dtype=float))
        few = "x1 + x2 + x3 + x4 + x5 + x6"
        method = Responders(
            "treatment", "y_factual", terms, few, learner, outcome_model=f"treatment * ({few}) + {terms}",
            truncate=(0.05, 0.95), propensity=1.0, folds=5, ground=Ground(person="pid"),
        )  # fmt: skip
        got = found(method, [frame.iloc[i::3] for i in range(3)])
        b = got.summary("coefficients")["estimate"].to_numpy()
        predicted = b[0] + frame[few.split(" + ")].to_numpy() @ b[1:]
        truth = (frame["mu1"] - frame["mu0"]).to_numpy()
        nearer += np.sqrt(np.mean((predicted - truth) ** 2)) < np.std(truth)  # PEHE
        row = got.tables["effects"][0]
        inside += row["conf_low"] <= truth.mean() <= row["conf_high"]
    assert nearer >= 3
    assert inside >= 4


@pytest.mark.shared
def test_a_trial_has_the_interaction_of_a_regression() -> None:
    """ACTG 175: treatment was drawn by lot, so the slope by age is that of the regression with an interaction."""
    want = json.loads((CAUSAL / "oracle.json").read_text())["actg175"]["treat_by_age"]
    frame = pd.read_csv(CAUSAL / "actg175.csv").astype(float)
    method = Responders("treat", "cd420", "age + cd40 + karnof", "age", ground=Ground(person="pidnum"))
    row = found(method, [frame.iloc[i::3] for i in range(3)]).tables["coefficients"][1]
    assert abs(row["estimate"] - want["coef"]) < want["se"]
    assert 0.6 < row["std_error"] / want["se"] < 1.2
    assert row["p_value"] > 0.05
