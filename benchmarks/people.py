"""Synthetic people for benchmarks: strata of risk, day-rounded times up to ten years, 30 % events."""

from __future__ import annotations

import numpy as np
import pandas as pd


def people(n: int, terms: int, hospitals: int, seed: int = 1) -> dict[str, pd.DataFrame]:
    """`hospitals` tables with `terms` covariates x0, x1, ..., `time` in days, `event` and `ill`, from a seed."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, terms)) + rng.integers(0, 3, n)[:, None] * 0.2
    beta = np.linspace(-0.3, 0.3, terms)
    hazard = np.exp(x @ beta - 9.6)
    death = rng.exponential(1 / hazard)
    censor = rng.uniform(300, 5000, n)
    end = np.minimum(np.minimum(death, censor), 3650)
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(terms)])
    frame["time"] = np.ceil(end)
    frame["event"] = ((death <= censor) & (death <= 3650)).astype(float)
    frame["ill"] = (rng.uniform(size=n) < 1 / (1 + np.exp(-(x @ beta - 0.8)))).astype(float)
    deal = rng.choice(hospitals, n, p=rng.dirichlet(np.full(hospitals, 5.0)))
    return {f"hospital {h:02d}": frame[deal == h].reset_index(drop=True) for h in range(hospitals)}
