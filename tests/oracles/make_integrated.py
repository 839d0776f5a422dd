"""Writes tests/oracles/integrated.json: AUC, Brier score and integrated Brier score of a model of hazards at several
times, by scikit-survival 0.28. Run with an interpreter that has it: python tests/oracles/make_integrated.py"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sksurv.metrics import brier_score, cumulative_dynamic_auc, integrated_brier_score
from sksurv.util import Surv

TIMES, BASE = [200.0, 400.0, 600.0, 800.0], [0.9, 0.8, 0.68, 0.55]


def main() -> None:
    """Nine hundred people with nine linear predictors; no two leave on the same day."""
    rng = np.random.default_rng(5)
    n = 900
    eta = rng.integers(-4, 5, n) / 4
    failure, left = rng.exponential(1100 * np.exp(-0.8 * eta)), rng.uniform(100, 2500, n)
    order = np.argsort(np.argsort(np.minimum(failure, left)))
    time = np.round(np.minimum(failure, left)) + 0.0
    time = np.maximum.accumulate(np.sort(time) + np.arange(n) * 1e-9)
    days = np.zeros(n)
    for i in range(n):  # the next free day
        days[i] = max(time[i].round(), days[i - 1] + 1 if i else 1)
    time, event = days[order], failure <= left
    y = Surv.from_arrays(event, time)
    survival = np.array(BASE)[None, :] ** np.exp(eta)[:, None]
    auc, _ = cumulative_dynamic_auc(y, y, eta, TIMES)
    _, brier = brier_score(y, y, survival, TIMES)
    found = {
        "time": time.tolist(), "event": event.astype(int).tolist(), "eta": eta.tolist(), "times": TIMES,
        "survival": BASE, "auc": auc.tolist(), "brier": brier.tolist(),
        "integrated": integrated_brier_score(y, y, survival, TIMES),
    }  # fmt: skip
    Path(__file__).with_name("integrated.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
