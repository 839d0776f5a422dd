"""Effects with a boosted propensity beside XGBoost: makes boosted.json. Needs xgboost and this package.

    python tests/oracles/make_boosted.py          # seconds, from the top of the repository

XGBoost grows the propensity from all rows at one place: of everybody, and of each fold from the people of the others.
Features have few values, so that its cut points part people as ours do. Weighted means (Hajek) and augmented ones, with
least squares for the outcome, are then written out by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from confrere.analyses.effects.effect import Growth
from confrere.analyses.effects.nuisance import folds_of
from confrere.rounds import Array, People
from confrere.study.ground import Ground
from confrere.testing.runs import table

HERE = Path(__file__).parent
GROUND, FOLDS = Ground(person="pid"), 3
GROWTH = Growth(trees=20, depth=3, learning_rate=0.3)
FEATURES = ["x1", "x2", "x3"]


def people(seed: int = 3, n: int = 2000) -> pd.DataFrame:
    """People who are treated, and have an outcome, by two features being above 0 together."""
    rng = np.random.default_rng(seed)
    x = np.clip(np.round(2 * rng.normal(size=(n, 3))), -5, 5)
    both = (x[:, 0] > 0) & (x[:, 1] > 0)
    a = rng.random(n) < 1 / (1 + np.exp(0.7 - 1.5 * both - 0.25 * x[:, 2]))
    y = 1.5 * both + 0.35 * x[:, 2] + a + rng.normal(size=n)
    return pd.DataFrame(x, columns=FEATURES).assign(a=a.astype(float), y=y, pid=np.arange(n, dtype=float))


def effect(mean: Array, phi: Array) -> dict[str, Any]:
    """The difference of two means and its standard error, from the influences (n, 2) on them."""
    return {"estimate": float(mean[1] - mean[0]), "std_error": float(np.sqrt(np.sum((phi[:, 1] - phi[:, 0]) ** 2)))}


def weighted(e: Array, a: Array, y: Array) -> dict[str, Any]:
    """Hajek's means, the propensity (n,) taken as known."""
    w = np.stack([(1 - a) / (1 - e), a / e], axis=1)
    mean = (w * y[:, None]).sum(axis=0) / w.sum(axis=0)
    return effect(mean, w * (y[:, None] - mean) / w.sum(axis=0))


def augmented(e: Array, m: Array, a: Array, y: Array) -> dict[str, Any]:
    """Means of the scores, from propensities (n,) and predictions (n, 2) of other folds."""
    w = np.stack([(1 - a) / (1 - e), a / e], axis=1)
    score = m + w * (y[:, None] - m)
    mean = score.mean(axis=0)
    return effect(mean, (score - mean) / len(y))


def main() -> None:
    import xgboost

    def propensity(train: pd.DataFrame, other: pd.DataFrame) -> Array:
        given = {
            "objective": "binary:logistic", "tree_method": "hist", "max_bin": 256, "lambda": 1.0, "gamma": 0.0,
            "min_child_weight": 1.0, "max_depth": GROWTH.depth, "eta": GROWTH.learning_rate,
            "base_score": float(train["a"].mean()), "nthread": 1,
        }  # fmt: skip
        booster = xgboost.train(given, xgboost.DMatrix(train[FEATURES], train["a"]), GROWTH.trees)
        return np.asarray(booster.predict(xgboost.DMatrix(other[FEATURES])), dtype=float)

    def predicted(train: pd.DataFrame, other: pd.DataFrame) -> Array:
        def terms(frame: pd.DataFrame, a: Any) -> Array:
            return np.column_stack([np.ones(len(frame)), np.broadcast_to(a, len(frame)), frame[FEATURES]])

        beta = np.linalg.lstsq(terms(train, train["a"]), train["y"], rcond=None)[0]
        return np.stack([terms(other, 0.0) @ beta, terms(other, 1.0) @ beta], axis=1)

    frame = people()
    a, y = frame["a"].to_numpy(), frame["y"].to_numpy()
    fold = folds_of(People(table(frame)), GROUND, np.ones(len(frame), dtype=bool), FOLDS)
    e, m = np.empty(len(frame)), np.empty((len(frame), 2))
    for i in range(FOLDS):
        train, other = frame[fold != i], frame[fold == i]
        e[fold == i], m[fold == i] = propensity(train, other), predicted(train, other)
    made = {
        "software": {"xgboost": xgboost.__version__, "numpy": np.__version__, "pandas": pd.__version__},
        "call": "xgboost.train(settings, DMatrix, trees).predict; numpy.linalg.lstsq",
        "folds": np.bincount(fold).tolist(),
        "iptw": weighted(propensity(frame, frame), a, y),
        "aipw": augmented(e, m, a, y),
    }
    (HERE / "boosted.json").write_text(json.dumps(made, indent=1) + "\n")
    print(made)


if __name__ == "__main__":
    main()
