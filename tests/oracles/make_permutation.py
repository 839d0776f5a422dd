"""Permutation importance by scikit-learn, on all rows in one place: makes permutation.json. Needs scikit-learn and this
package.

    python tests/oracles/make_permutation.py          # about a minute, from the top of the repository

The model is the one that three hospitals learn (`forest`), its people are those whom they hold out (`held_out`); of a
regression and of an outcome of two levels, the loss that training minimises.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from confrere.analyses.finding import Finding
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.forest import Forest
from confrere.hospital.gate import Policy
from confrere.rounds import People
from confrere.study.ground import Ground
from confrere.testing.runs import fit, table

HERE = Path(__file__).parent
N, REPEATS = 12_000, 50
FEATURES = ("a", "like_a", "c", "noise", "whole")
OBJECTIVES = ("binary", "squared")
HISTOGRAMS = Policy(allow=frozenset(["histograms"]))


def study(objective: str) -> Boosting:
    """Forty trees; half of the people are held out."""
    return Boosting("y", FEATURES, objective, trees=40, depth=3, learning_rate=0.2, holdout=0.5,
                    permutation=20, ground=Ground(person="pid"))  # fmt: skip


@lru_cache
def cohort() -> pd.DataFrame:
    """Five numbers, two of which say almost the same, one nothing; and the mean of an outcome."""
    rng = np.random.default_rng(21)
    frame = pd.DataFrame({name: rng.normal(size=N) for name in ("a", "c", "noise")})
    frame["like_a"] = frame["a"] + 0.3 * rng.normal(size=N)
    frame["whole"] = rng.poisson(2.0, N).astype(float)
    mean = frame["a"] + 0.5 * frame["like_a"] * (frame["c"] > 0) + 0.4 * frame["whole"]
    return frame.assign(mean=mean, pid=np.arange(N))


def people(objective: str) -> pd.DataFrame:
    """The cohort with an outcome `y`."""
    noise = np.random.default_rng(22).logistic(size=N)
    y = cohort()["mean"] + noise
    return cohort().assign(y=y if objective == "squared" else (y > 1).astype(float))


@lru_cache
def found(objective: str) -> Finding:
    """What three hospitals learn, and what they tell."""
    frame = people(objective)
    return fit(study(objective), [frame[i::3] for i in range(3)], HISTOGRAMS)


def held_out(objective: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, p) and outcome (n,) of who is held out."""
    made = study(objective).people(People(table(people(objective))))
    y, values, train = made.data[:3]
    return np.stack(values, axis=1)[~train], y[~train]


class Fitted:
    """The forest as scikit-learn takes it."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest

    def fit(self, x: Any, y: Any) -> None:
        """It is."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions (n,)."""
        return self.forest.prediction(self.forest.score(list(x.T)))


def main() -> None:
    """Write permutation.json."""
    import sklearn
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import log_loss, mean_squared_error

    def score(kind: str) -> Any:
        if kind == "binary":
            return lambda model, x, y: -log_loss(y, model.predict(x))
        return lambda model, x, y: -mean_squared_error(y, model.predict(x))

    made: dict[str, Any] = {
        "software": {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "pandas": pd.__version__},
        "call": "permutation_importance(forest, x, y, scoring=-loss, n_repeats=50, random_state=1)",
    }
    for objective in OBJECTIVES:
        forest = Forest.of(found(objective))
        x, y = held_out(objective)
        got = permutation_importance(Fitted(forest), x, y, scoring=score(objective), n_repeats=REPEATS, random_state=1)
        made[objective] = {
            "sha256": forest.sha256, "mean": dict(zip(FEATURES, got.importances_mean.tolist(), strict=True)),
            "std": dict(zip(FEATURES, got.importances_std.tolist(), strict=True)),
        }  # fmt: skip
    (HERE / "permutation.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
