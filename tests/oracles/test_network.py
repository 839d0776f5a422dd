"""Networks: federated averaging and its relatives in plain PyTorch, logistic regression, and a case by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import NETWORK

pytest.importorskip("torch")

import torch
from make_network import CASES, CUTS, EPOCHS, HIDDEN, OUTCOMES, RATE, ROUNDS, TERMS, hospitals, start

from confrere.analyses.logistic import Logistic
from confrere.analyses.networks import losses, training
from confrere.analyses.networks.network import Network
from confrere.analyses.networks.privacy import ORDERS, epsilon, renyi
from confrere.study.ground import Ground
from confrere.testing import SCHEMA
from federate import LOOSE, fit, oracle

R = oracle("network")
GROUND = Ground(SCHEMA)


def begin(monkeypatch: pytest.MonkeyPatch, *parts: Any) -> None:
    """Have training begin with these parameters."""
    whole = np.concatenate([np.ravel(p) for p in parts])
    monkeypatch.setattr(training, "begun", lambda module, seed: whole.copy())


@pytest.mark.parametrize("name", CASES)
def test_plain_torch_makes_the_same_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = dict(CASES[name])
    goal = case.pop("objective")
    discrete = {"intervals": CUTS} if goal == "discrete" else {}
    begin(monkeypatch, *start(len(CUTS) if discrete else 1))
    outcome = OUTCOMES.get(goal, "Surv(time, event)")
    network = Network(
        outcome, " + ".join(TERMS), goal, module="mlp", settings={"hidden": (HIDDEN,)}, rounds=ROUNDS, epochs=EPOCHS,
        learning_rate=RATE, ground=GROUND, **case, **discrete,
    )  # fmt: skip
    found = fit(network, hospitals(), LOOSE)
    # Adam divides by the size of gradients: what is 0 but for rounding is not
    assert found.arrays["weights"] == pytest.approx(np.array(R[name]), rel=1e-10, abs=1e-7 if "adam" in name else 1e-10)


def test_a_linear_module_trained_long_is_logistic_regression() -> None:
    frames = hospitals()
    network = Network("ill", "x1 + x2", rounds=400, steps=1, learning_rate=2.0, ground=GROUND)
    found, exact = fit(network, frames, LOOSE), fit(Logistic("ill ~ x1 + x2", ground=GROUND), frames, LOOSE)
    slopes = found.arrays["weights"][:2] / found.arrays["sd"][:2]
    expected = {r["term"]: r["estimate"] for r in exact.tables["coefficients"]}
    assert slopes == pytest.approx([expected["x1"], expected["x2"]], abs=1e-8)


@pytest.mark.parametrize(("clip", "slope"), [(10.0, NETWORK["slope"]), (0.25, NETWORK["clipped"])])
def test_a_step_by_hand(clip: float, slope: float, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, [0.0, 0.0])
    frames = [pd.DataFrame(rows, columns=["x", "y"], dtype=float) for rows in NETWORK["data"]]
    found = fit(Network("y", "x", rounds=1, steps=1, learning_rate=1.0, clip=clip), frames, LOOSE)
    assert found.arrays["weights"] == pytest.approx([slope, 0.0], abs=1e-15)


def test_losses_by_hand() -> None:
    score, time = torch.zeros(4, dtype=torch.float64), torch.tensor([1.0, 2.0, 2.0, 3.0])
    partial = losses.partial(score, time, torch.tensor([1.0, 1, 1, 0]))
    assert float(partial) == pytest.approx(NETWORK["partial"], rel=1e-15)
    lived = losses.lived(np.array([3.0, 5, 9, 5]), np.array([1.0, 0, 1, 1]), (2.0, 5.0, 8.0))
    assert lived == pytest.approx(np.array(NETWORK["lived"]))


PUBLISHED = ((1.12, 60, 2.92), (1.2, 10, 1.20))  # noise, epochs, epsilon: tensorflow/privacy, tutorials/README.md


@pytest.mark.parametrize(("noise", "epochs", "published"), PUBLISHED)
def test_the_accountant_has_the_published_values(noise: float, epochs: int, published: float) -> None:
    """Of 60,000 people in batches of 256, at delta 1e-5, by the conversion that was used there (Mironov 2017,
    Proposition 3); that of Balle et al. promises more of the same noise."""
    steps, sample = epochs * 60_000 // 256, 256 / 60_000
    former = (renyi(noise, steps, sample) - np.log(1e-5) / (ORDERS - 1)).min()
    assert former == pytest.approx(published, abs=0.01)
    assert epsilon(noise, steps, 1e-5, sample) < former


def test_one_round_for_everybody_is_near_the_exact_gaussian_mechanism() -> None:
    # one round for everybody: the Gaussian mechanism of z = 4 is exactly (1, 2.924e-6)-private (Balle & Wang, ICML
    # 2018, Theorem 8); Renyi's bound lies a little above
    assert 1.0 < epsilon(4.0, 1, 2.924e-6) < 1.15
    assert epsilon(0.0, 1, 1e-5) == np.inf
