"""Defaults that train, and the cautions of networks that did not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import confrere as cf
from confrere.analyses.networks.network import Network
from confrere.analyses.networks.settled import near_chance, still_learning
from confrere.console.demo import load
from confrere.report.cautions import said
from confrere.report.words import Words
from confrere.study.ground import Ground
from confrere.testing import LOOSE, fit
from confrere.testing.people import patients

FEATURES = "age + nodes + C(size) + er + pgr"


@pytest.fixture(scope="module")
def breast() -> Any:
    study, hospitals = load("breast")
    return hospitals, dict(study.ground.schema.columns)


def trained(breast: Any, outcome: str, **settings: Any) -> Any:
    hospitals, columns = breast
    levels = {"size": columns["size"].levels}
    network = cf.Network(outcome, FEATURES, **settings)
    return cf.local(hospitals, levels=levels, person="pid").run(network, allow=["model_weights"]).finding


@pytest.mark.parametrize("module", ["linear", "mlp"])
@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("recur", {}), ("Surv(rtime, recur)", {}), ("Surv(rtime, recur)", {"intervals": (730.0, 1826.0, 3652.0)})],
)
def test_the_defaults_train(breast: Any, outcome: str, kind: dict[str, Any], module: str) -> None:
    """Regressions of the same people reach 0.70, and 0.67 of times."""
    found = trained(breast, outcome, module=module, **kind)
    area = {r["sample"]: r["estimate"] for r in found.tables["metrics"] if r["metric"] in ("AUC", "concordance")}
    assert area["training"] > (0.69 if outcome == "recur" else 0.655)
    assert area["held out"] > 0.62  # of some 600 people, with a standard error of 0.02
    assert not {"still-learning", "near-chance"} & {w.code for w in found.warnings}


def test_a_network_that_was_stopped_early_says_so(breast: Any) -> None:
    found = trained(breast, "recur", steps=1, rounds=4)
    assert {"still-learning", "near-chance"} <= {w.code for w in found.warnings}


def test_with_noise_no_loss_leaves_and_nothing_is_said_of_it(breast: Any) -> None:
    found = trained(breast, "recur", steps=1, rounds=4, privacy=1.0)
    assert not found.tables["training"]
    assert "still-learning" not in [w.code for w in found.warnings]


def test_steps_that_are_too_large_are_said() -> None:
    """Twenty features of one cause: gradient descent goes away from the least squares, slowly enough to be finite."""
    rng, frame = np.random.default_rng(1), patients(300, 2)
    frame = frame.assign(**{f"c{j}": frame["x1"] + 0.3 * rng.normal(size=300) for j in range(20)})
    features = " + ".join(f"c{j}" for j in range(20))
    network = Network("y", features, objective="squared", learning_rate=0.3, rounds=5, ground=Ground())
    found = fit(network, [frame.iloc[i::3] for i in range(3)], LOOSE)
    (caution,) = [w for w in found.warnings if w.code == "still-learning"]
    assert "rose" in caution.text


def test_a_loss_that_came_to_rest_says_nothing() -> None:
    rng, rest = np.random.default_rng(0), 0.6 + 0.2 * 0.6 ** np.arange(20.0)
    assert not still_learning(rest)
    assert not still_learning(rest + 0.01 * rng.normal(size=20))
    assert not still_learning([0.7])
    assert not still_learning([])
    assert not still_learning([0.6, 0.6, 0.6])
    # batches: the last rounds lie lower, but not one as the other
    assert not still_learning([0.8, 0.7, 0.62, 0.72, 0.62, 0.71, 0.61, 0.70, 0.61, 0.69])
    (still,) = still_learning(np.linspace(0.8, 0.6, 20))
    assert "of 20 rounds, by 21% of" in still.text
    assert still_learning([0.8, 0.7])


ROW = {"metric": "AUC", "estimate": 0.55, "conf_low": 0.49, "conf_high": 0.61, "sample": "held out"}


def test_an_area_whose_limits_hold_a_half_is_said_of_people_held_out_alone() -> None:
    for said_of in (ROW, {**ROW, "metric": "concordance"}, {**ROW, "left_out": "a, b, c"}):
        assert [w.code for w in near_chance([said_of])] == ["near-chance"]
    for other in ({"conf_low": 0.51}, {"sample": "training"}, {"metric": "Brier score"}, {"conf_low": None}):
        assert not near_chance([{**ROW, **other}])


def test_groups_that_are_left_out_are_said_each() -> None:
    frame = patients(1200, 3).assign(
        pid=[f"p{i}" for i in range(1200)], noise=np.random.default_rng(0).normal(size=1200)
    )
    hospitals = {f"h{i}": frame.iloc[i::6].reset_index(drop=True) for i in range(6)}
    groups = (("h0", "h1", "h2"), ("h3", "h4", "h5"))
    network = cf.Network("ill", "noise", leave_out=groups)
    found = cf.local(hospitals, person="pid").run(network, allow=["model_weights"]).finding
    texts = [w.text for w in found.warnings if w.code == "near-chance"]
    low = {r["left_out"] for r in found.tables["left_out"] if r["metric"] == "AUC" and r["conf_low"] <= 0.5}
    assert len(texts) == len(low) > 0
    assert all(any(name in text for text in texts) for name in low)


def test_both_are_said_in_french() -> None:
    told = [*still_learning(np.linspace(0.8, 0.6, 20)), *still_learning([0.7, 0.9]), *near_chance([ROW])]
    for caution in told:
        assert not said(caution.code, caution.text, Words("fr")).foreign
    assert "0,55 (0,49 à 0,61)" in said("near-chance", told[-1].text, Words("fr")).text
