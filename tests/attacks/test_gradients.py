"""Gradient inversion: what an honest but curious coordinator rebuilds of records from the first update of a network.

The coordinator has the sum of the hospitals' changes after one full step, the weights before it, and here also the
outcome of everybody, which favours it. It looks for features whose gradient is the one it saw (Zhu et al., NeurIPS
2019), from two beginnings. A person counts as rebuilt if a row of the result is within 0.3 SDs in every feature; rows
drawn from the same distribution say how often chance does that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

import torch

from confrere.analyses.networks import losses
from confrere.analyses.networks.network import Network
from confrere.analyses.networks.training import load, repeatable
from confrere.rounds import Array
from confrere.study.ground import Ground
from federate import LOOSE, fit

FEATURES, NEAR = 6, 0.3
NAMES = [f"z{j}" for j in range(FEATURES)]


def people(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, FEATURES))
    ill = (rng.random(n) < 1 / (1 + np.exp(-x[:, 0] - x[:, 1]))).astype(float)
    ill[:2] = (0.0, 1.0)
    return pd.DataFrame(x, columns=NAMES).assign(ill=ill)


def first_update(frame: pd.DataFrame, hospitals: int, **settings: Any) -> tuple[Network, Array, Array]:
    """The analysis, what it changed in its one round, and everybody's features as it read them (n, p)."""
    kind = {"module": "mlp", "settings": {"hidden": (24,)}, "rounds": 1, "steps": 1, "clip": 1e3, "learning_rate": 1.0}
    analysis = Network("ill", " + ".join(NAMES), ground=Ground(), **(kind | settings))
    got = fit(analysis, [frame.iloc[i::hospitals] for i in range(hospitals)], LOOSE)
    mean, sd = got.arrays["mean"][:-1], got.arrays["sd"][:-1]
    return analysis, got.arrays["weights"] - analysis.begins, (frame[NAMES].to_numpy() - mean) / sd


def rebuilt(analysis: Network, change: Array, y: Array, steps: int = 400) -> Array:
    """Features (n, p) whose gradient is that of the update, by L-BFGS from a random beginning; the best of two."""
    module, best = analysis.built, (np.inf, np.zeros((len(y), FEATURES)))
    load(module, analysis.begins)
    params, target = list(module.parameters()), torch.from_numpy(-change / analysis.learning_rate)
    outcome = torch.from_numpy(y.copy())
    for seed in range(2):
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(y), FEATURES))).requires_grad_()
        optimizer = torch.optim.LBFGS([x], max_iter=steps, history_size=50, line_search_fn="strong_wolfe")

        def apart() -> Any:
            optimizer.zero_grad()  # noqa: B023 - called before the next beginning
            loss = losses.mean("binary", module(x), outcome)  # noqa: B023
            found = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, params, create_graph=True)])
            wrong = ((found - target) ** 2).sum() / (target**2).sum()
            wrong.backward()
            return wrong

        with repeatable(seed):
            optimizer.step(apart)
            left = float(apart().detach())
        if left < best[0]:
            best = (left, x.detach().numpy().copy())
    return best[1]


def share_within(found: Array, x: Array) -> float:
    """The share of people (n, p) whom a row of what was found is near in every feature."""
    apart = np.abs(x[:, None, :] - found[None]).max(axis=2)
    return float((apart.min(axis=1) <= NEAR).mean())


def by_chance(x: Array) -> float:
    return share_within(np.random.default_rng(9).normal(size=x.shape), x)


def attacked(n: int, hospitals: int, **settings: Any) -> tuple[float, float]:
    frame = people(n, 3)
    analysis, change, x = first_update(frame, hospitals, **settings)
    return share_within(rebuilt(analysis, change, frame["ill"].to_numpy()), x), by_chance(x)


def test_control_the_update_of_three_people_gives_their_records() -> None:
    got, chance = attacked(3, 1, settings={"hidden": (64,)})
    assert got == 1.0
    assert chance < 0.5


@pytest.mark.parametrize("hidden", [24, pytest.param(256, marks=pytest.mark.slow)])
def test_the_sum_over_hospitals_of_four_k_people_gives_no_more_than_chance(
    hidden: int, capsys: pytest.CaptureFixture[str]
) -> None:
    got, chance = attacked(132, 3, settings={"hidden": (hidden,)})
    with capsys.disabled():
        print(f"\nnetwork of {hidden}: {got:.1%} of 132 people rebuilt, {chance:.1%} by chance")
    assert got <= chance + 0.05


def test_noise_hides_three_people_from_the_attack_that_had_them() -> None:
    """Gaussian noise of a hospital's clip on the sum: nothing is left of the control's records."""
    got, _ = attacked(3, 1, settings={"hidden": (64,)}, privacy=1.0, clip=1.0)
    assert got < 0.5
