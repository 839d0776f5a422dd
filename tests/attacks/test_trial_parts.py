"""A trial among people of hospitals: what one part leaves out, less the other, is told of nobody few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf

IN = 1000  # in the trial
OUTCOMES = ["y", "Surv(time, event)"]


def people(treated_outside: int, missing: int) -> pd.DataFrame:
    """1,800 people, 1,000 of them in a trial; some outside it are treated, and of some in it a column is missing."""
    rng, n = np.random.default_rng(4), 1800
    trial = np.repeat([1, 0], [IN, n - IN])
    arm = np.where(trial == 1, rng.integers(0, 2, n), 0)
    arm[IN : IN + treated_outside] = 1
    x, z = rng.normal(size=(2, n))
    z[:missing] = np.nan
    time = np.ceil(rng.exponential(700 * np.exp(-0.4 * x))) + 1
    return pd.DataFrame({
        "pid": [f"p{i}" for i in range(n)], "trial": trial, "arm": arm, "x": x, "z": z,
        "y": x + arm + rng.normal(size=n),
        "time": np.minimum(time, 2000), "event": (time <= 2000).astype(int),
    }).sample(frac=1, random_state=1)  # fmt: skip


def numbers(outcome: str, frame: pd.DataFrame, covariates: str) -> tuple[set[int], set[int]]:
    """Counts of people in the finding: of its facts and of who is left out."""
    hospitals = cf.local({f"h{i}": frame[i::3].reset_index(drop=True) for i in range(3)}, person="pid")
    given: dict[str, Any] = {"covariates": covariates} if covariates else {}
    fit = hospitals.run(cf.Prognostic("arm", outcome, "trial", "x", **given))
    left = {row["n"] for row in fit.tables["attrition"] if row["n"] is not None}
    return left, {fit.n, *(int(v) for v in fit.facts.values() if isinstance(v, int | float) and v > 10)}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_who_is_treated_outside_the_trial_does_not_follow(outcome: str) -> None:
    left, told = numbers(outcome, people(3, 0), "")
    assert not {abs(a - b) for a in left | told for b in left | told} & {3}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_who_misses_a_column_in_the_trial_does_not_follow(outcome: str) -> None:
    left, told = numbers(outcome, people(0, 4), "z")
    assert not {abs(a - b) for a in left | told for b in left | told} & {4}
