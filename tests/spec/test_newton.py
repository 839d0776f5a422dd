"""Climbs: a model of the information makes them shorter, and never ends them elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy import special

from confrere.analyses import newton
from confrere.analyses.curvature import gaussian
from confrere.analyses.families import family_of
from confrere.analyses.newton import Curve, Objective, Peak, Slope, maximise
from confrere.analyses.outcomes import Frame
from confrere.rounds import Array, Flow, Sum

RNG = np.random.default_rng(5)
N, P = 4_000, 5
Z = np.column_stack([np.ones(N), RNG.normal(size=(N, P)) @ np.linalg.cholesky(0.7 * np.eye(P) + 0.3).T])
Y = (RNG.random(N) < special.expit(Z @ np.array([-1.0, 0.5, -0.5, 0.4, 0.3, 0.2]))).astype(float)
FRAME = Frame((0.0,) * P, (1.0,) * P, float(special.logit(Y.mean())), 1.0, 1.0, True)
MODEL = gaussian(*family_of("binomial", "logit"), FRAME)


class Asked(NamedTuple):
    """What a climb found, and how often it asked for slopes and for curves."""

    peak: Peak
    slopes: int
    curves: int


def curve_at(beta: tuple[float, ...]) -> Curve:
    """The pooled likelihood of a logistic model."""
    eta = FRAME.base + Z @ np.array(beta)
    mu = special.expit(eta)
    loglik = special.xlogy(Y, mu).sum() + special.xlogy(1 - Y, 1 - mu).sum()
    return Curve(Sum(np.array(loglik)), Sum(Z.T @ (Y - mu)), Sum((Z * (mu * (1 - mu))[:, None]).T @ Z))


def climbed(model: Callable[[Array, Array], Array]) -> Asked:
    slopes, curves = [], []

    def slope(beta: tuple[float, ...]) -> Flow[Slope]:
        slopes.append(beta)
        yield from ()
        return Slope(*curve_at(beta)[:2])

    def curve(beta: tuple[float, ...]) -> Flow[Curve]:
        curves.append(beta)
        yield from ()
        return curve_at(beta)

    names = tuple(f"z{j}" for j in range(P + 1))
    try:
        next(maximise(np.zeros(P + 1), Objective(slope, curve, names, model=model)))
    except StopIteration as stop:
        return Asked(stop.value, len(slopes), len(curves))
    raise AssertionError("a climb without asks cannot wait")


def the_maximum() -> Array:
    beta = np.zeros(P + 1)
    for _ in range(50):
        _, score, information = curve_at(tuple(beta))
        beta += np.linalg.solve(information.value, score.value)
    return beta


def wrong(start: Array, beta: Array) -> Array:
    """A model that says the opposite of what is so."""
    return start * np.exp(4 * float(np.linalg.norm(beta)))


@pytest.mark.parametrize("model", [newton._constant, MODEL, wrong])
def test_the_maximum_whatever_the_model(model: Callable[[Array, Array], Array]) -> None:
    found, beta = climbed(model), the_maximum()
    information = curve_at(tuple(beta)).information.value
    se = np.sqrt(np.diag(np.linalg.inv(information)))
    assert np.abs((found.peak.beta - beta) / se).max() < 1e-11
    ours = np.sqrt(np.diag(np.linalg.inv(found.peak.information)))
    assert np.abs(ours / se - 1).max() < 1e-8
    assert found.curves == 2


def test_a_good_model_asks_less() -> None:
    assert climbed(MODEL).slopes <= climbed(newton._constant).slopes - 3


def test_a_guess_that_fails_asks_the_last_information_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SURE` far too bold: the information that was asked ahead is not that of the maximum."""
    monkeypatch.setattr(newton, "SURE", 1e-12)
    found = climbed(newton._constant)
    assert found.curves == 3
    se = np.sqrt(np.diag(np.linalg.inv(curve_at(tuple(the_maximum())).information.value)))
    assert np.abs(np.sqrt(np.diag(np.linalg.inv(found.peak.information))) / se - 1).max() < 1e-8


@pytest.mark.parametrize(
    ("family", "link"), [("binomial", "logit"), ("binomial", "probit"), ("poisson", "log"), ("gamma", "log")]
)
def test_the_information_of_gaussian_terms(family: str, link: str) -> None:
    """The model against the mean over a million people with these terms."""
    kind, how = family_of(family, link)
    rng, beta = np.random.default_rng(2), np.array([0.2, 0.5, -0.3])
    z = np.column_stack([np.ones(1_000_000), rng.normal(size=(1_000_000, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])])
    frame = Frame((0.0, 0.0), (1.0, 1.0), -0.7, 1.3, 1.0, True)

    def information(at: Array) -> Array:
        m = how.mean(frame.base + frame.reach * z @ at)
        return np.asarray((z * (frame.reach**2 * m.slope**2 / kind.variance(m))[:, None]).T @ z)

    wanted = information(beta)
    size = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    got = gaussian(kind, how, frame)(information(np.zeros(3)), beta)
    assert (np.abs(got - wanted) / size).max() < 0.01
