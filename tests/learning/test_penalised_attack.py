"""The attack on membership of penalised models: against losses of people, what it finds, and where there is none.

The twin makes everything from all rows at one place: folds and thirds by the hash, a fit without each fold by the same
method at the chosen penalty, losses by their formulas, and the area from ranks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Finding
from confrere.analyses.learning.attack import TOO_GOOD
from confrere.analyses.learning.penalised import Penalised
from confrere.analyses.learning.penalised_attack import JOINED, _seed, joined
from confrere.analyses.learning.penalised_sums import Survived
from confrere.analyses.learning.state import mixed
from confrere.analyses.outcomes import Frame
from confrere.coordinator.airlock import Rule, checks
from confrere.rounds import People
from confrere.study.ground import Ground
from confrere.testing import LOOSE, fit
from confrere.testing.membership import membership_auc
from federate import GATE, table

GROUND = Ground(person="pid")


def drawn(n: int, terms: int, seed: int = 3) -> pd.DataFrame:
    """People of whom the first term tells something."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, terms))
    eta = 0.7 * x[:, 0]
    made = pd.DataFrame(x, columns=[f"x{j}" for j in range(terms)]).assign(pid=np.arange(n, dtype=float))
    time, end = rng.exponential(np.exp(-eta)), rng.exponential(2.0, n)
    return made.assign(
        y=eta + rng.normal(size=n), ill=(rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float),
        visits=rng.poisson(np.exp(eta)).astype(float), cost=rng.gamma(2.0, np.exp(eta)) + 1e-9,
        time=1000 * np.minimum(time, end), event=(time <= end).astype(float),
    )  # fmt: skip


def found(frame: pd.DataFrame, outcome: str, family: str, **settings: Any) -> tuple[Penalised, Finding]:
    """The analysis, and its finding over three hospitals."""
    terms = " + ".join(c for c in frame if c.startswith("x"))
    model = Penalised(f"{outcome} ~ {terms}", family, folds=5, debias="", ground=GROUND, **settings)
    return model, fit(model, [frame.iloc[i::3] for i in range(3)], LOOSE)


def half_deviance(family: str, y: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """By the formulas, with the links of the tests."""
    if family == "gaussian":
        return (y - eta) ** 2 / 2
    if family == "binomial":
        return np.logaddexp(0, eta) - y * eta
    mu = np.exp(eta)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (y - mu) / mu - np.log(y / mu) if family == "gamma" else np.where(y > 0, y * np.log(y / mu), 0) - y + mu


@pytest.mark.parametrize(
    ("outcome", "family", "link"),
    [("y", "gaussian", ""), ("ill", "binomial", ""), ("visits", "poisson", ""), ("cost", "gamma", "log")],
)
def test_it_is_that_on_the_losses_of_people(outcome: str, family: str, link: str) -> None:
    frame = drawn(1500, 6)
    model, got = found(frame, outcome, family, link=link, penalty=(0.3, 0.03, 0.003))
    (row,) = got.tables["attack"]
    words = People(None).words("penalised", frame["pid"], shared=True)
    fold, turn = (words % np.uint64(5)).astype(int), mixed(words, _seed(model), -1)
    outside, inside = turn < 1 / 3, (turn >= 1 / 3) & (turn < 2 / 3)
    lost, x = np.empty(len(frame)), frame[[f"x{j}" for j in range(6)]].to_numpy()
    for k in range(5):
        others = replace(model, penalty=(got.facts["lambda"],))
        b = fit(others, [frame[fold != k]], LOOSE).arrays["estimate"]
        who = np.where(outside, fold, (fold + 1) % 5) == k
        lost[who] = half_deviance(family, frame[outcome].to_numpy(), b[0] + x @ b[1:])[who]
    exact = membership_auc(lost[inside], lost[outside])
    assert (row["n_members"], row["n_others"]) == (inside.sum(), outside.sum())
    assert row["estimate"] == pytest.approx(exact.estimate, abs=0.02)  # cells of a few dozen people
    assert row["std_error"] == pytest.approx((exact.high - exact.low) / 3.92, rel=0.1)


def test_the_loss_of_a_hazard_is_the_deviance_residual() -> None:
    """By hand: 4 people, coefficients 0, event, censored, event, event at 1, 2, 3, 4: the Breslow hazard is 1/4, then
    1/4 + 1/2, then 1 more; half the squared residual of event e and expected m is m - e - e log m."""
    frame = pd.DataFrame({"x": [0.5, -1.0, 1.0, 0.0], "time": [1.0, 2, 3, 4], "event": [1.0, 0, 1, 1]})
    kind = Penalised("Surv(time, event) ~ x", "cox", penalty=(0.1,)).kind
    assert isinstance(kind, Survived)
    _, own = kind.dealt(People(table(frame.assign(pid=range(4)))))
    m = np.array([1 / 4, 1 / 4, 3 / 4, 7 / 4])
    e = frame["event"].to_numpy()
    expected = m - e - e * np.log(m)
    assert kind.losses(own.data, (0.0,), Frame((0.0,), (1.0,), 0.0, 1.0, 1.0, False)) == pytest.approx(expected)


@pytest.mark.parametrize(("outcome", "family"), [("y", "gaussian"), ("ill", "binomial"), ("Surv(time, event)", "cox")])
def test_a_model_of_many_people_tells_no_one_and_one_of_few_and_many_terms_does(outcome: str, family: str) -> None:
    _, sound = found(drawn(3000, 5, 7), outcome, family)
    (row,) = sound.tables["attack"]
    assert row["conf_low"] < 0.5 < row["conf_high"]
    assert sound.warnings == ()
    _, told = found(drawn(420, 120), outcome, family, penalty=(2e-4, 1e-4))
    (row,) = told.tables["attack"]
    assert row["estimate"] > TOO_GOOD
    outcomes = ["reconstruction-attack"] * (family != "cox")
    assert [w.code for w in told.warnings] == ["membership-attack", *outcomes]
    (check,) = [c for c in checks({"it": told}, Rule(11)) if c.check == "membership"]
    assert check.verdict == "fail"


def test_without_folds_there_is_none_and_the_airlock_says_why() -> None:
    _, one = found(drawn(600, 4), "y", "gaussian", penalty=(0.1,))
    assert "attack" not in one.tables
    (check,) = [c for c in checks({"it": one}, Rule(11)) if c.check == "membership"]
    assert check.reason == "No attack: nobody was held out."


def test_cells_are_joined_and_what_remains_goes_to_the_last() -> None:
    grid = np.repeat(np.arange(12), 2)
    assert joined(grid) == (0, 2 * JOINED)
    assert joined(grid[: 2 * JOINED - 2]) == (0,)


def test_where_losses_lie_close_together_no_attack_is_told() -> None:
    """Half of the people have the outcome, and nothing tells who: a few cells would say 0.5 of any model."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"pid": np.arange(1500.0), "ill": rng.integers(0, 2, 1500).astype(float)})
    frame[["x0", "x1", "x2"]] = rng.normal(size=(1500, 3))
    model = Penalised("ill ~ x0 + x1 + x2", "binomial", debias="", ground=GROUND)
    got = fit(model, [frame.iloc[i::3] for i in range(3)], GATE)
    assert "attack" not in got.tables
    assert [c.verdict for c in checks({"it": got}, Rule(11)) if c.check == "membership"] == ["review"]


def test_who_weighs_nothing_is_in_no_fit_and_not_tried() -> None:
    frame = drawn(1200, 3)
    frame["weight"] = (np.arange(1200) % 3 > 0).astype(float)
    _, got = found(frame, "Surv(time, event)", "cox", weights="weight")
    (row,) = got.tables["attack"]
    assert row["n_members"] + row["n_others"] == pytest.approx(800 * 2 / 3, abs=60)
