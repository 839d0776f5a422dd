"""Limits of debiased coefficients hold the truth about as often as they say, and their errors are those of samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.learning.penalised import Penalised
from confrere.testing import LOOSE, fit

TRUTH = np.array([0.4, -0.3, 0, 0, 0.2, 0, 0, 0])
TERMS = " + ".join(f"x{j}" for j in range(TRUTH.size))


def drawn(family: str, seed: int, n: int = 600) -> pd.DataFrame:
    """People whose terms go with their neighbours; costs have twice the dispersion of an exponential outcome."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, TRUTH.size))
    x[:, 1:] = 0.5 * x[:, :-1] + np.sqrt(0.75) * x[:, 1:]
    made, mean = pd.DataFrame(x, columns=TERMS.split(" + ")), np.exp(x @ TRUTH)
    if family == "cox":
        time, end = rng.exponential(1 / mean), rng.exponential(2.0, n)
        return made.assign(time=1000 * np.minimum(time, end), event=(time <= end).astype(float))
    y = rng.poisson(mean) if family == "poisson" else rng.gamma(0.5, mean / 0.5) + 1e-12
    return made.assign(y=y.astype(float))


@pytest.mark.parametrize(("family", "link"), [("poisson", ""), ("gamma", "log"), ("cox", "")])
def test_limits_hold_the_truth(family: str, link: str) -> None:
    """60 networks of 600 people, 8 terms: 480 limits, and errors within a tenth of the spread of estimates."""
    outcome = "Surv(time, event)" if family == "cox" else "y"
    model = Penalised(f"{outcome} ~ {TERMS}", family, link, penalty=(0.05,))
    rows = []
    for seed in range(60):
        frame = drawn(family, seed)
        rows += [fit(model, [frame.iloc[i::3] for i in range(3)], LOOSE).tables["debiased"]]
    held = np.mean([[r["conf_low"] < b < r["conf_high"] for r, b in zip(row, TRUTH, strict=True)] for row in rows])
    assert 0.90 < held < 0.98
    estimates, errors = (np.array([[r[name] for r in row] for row in rows]) for name in ("estimate", "std_error"))
    ratio = np.sqrt(np.mean(estimates.var(axis=0, ddof=1) / np.mean(errors**2, axis=0)))
    assert ratio == pytest.approx(1, abs=0.1)
