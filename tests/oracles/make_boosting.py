"""Boosted trees beside XGBoost: makes boosting.json. Needs xgboost and this package.

    python tests/oracles/make_boosting.py          # about a minute, from the top of the repository

Of each objective: the scores and Shapley values that XGBoost gives people by the model that Confrere exports. And how
well XGBoost's own trees (`hist`, all rows at one place, the same settings) predict people who were held out.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from confrere.analyses.concordance import pairs
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.forest import Forest, to_xgboost
from confrere.hospital.gate import Policy
from confrere.rounds import Array
from confrere.study.ground import Ground
from confrere.testing import SCHEMA
from confrere.testing.people import patients
from confrere.testing.runs import fit

HERE = Path(__file__).parent
TERMS = tuple(f"x{j}" for j in range(20))
TRAINED, HELD_OUT = 80_000, 20_000
LARGE = {"trees": 60, "depth": 6, "learning_rate": 0.1}
BINS = (62, 63, 64, 65, 66)  # by which alone the area of XGBoost's own trees moves by 0.0017
SEEN = 25  # people of each objective whose scores are stored
HEART = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")  # as FLamby
SPLITS = 20
FEATURES, FOLLOWED = TERMS[:5], 20_000
TIMES = {"trees": 60, "depth": 3, "learning_rate": 0.1}
SMALL = {"trees": 60, "depth": 3, "learning_rate": 0.1}

HISTOGRAMS = Policy(allow=frozenset(["histograms"]))
GROUND = Ground(SCHEMA)
MODELS: dict[str, Boosting] = {
    "binary": Boosting("ill", ("x1", "x2", "stage", "gap"), trees=8, depth=4, learning_rate=0.3, ground=GROUND),
    "squared": Boosting("y", ("x1", "x2", "gap"), "squared", trees=8, depth=4, learning_rate=0.3, ground=GROUND),
    "multiclass": Boosting("stage", ("x1", "x2", "gap"), "multiclass", trees=3, depth=3, ground=GROUND),
    "poisson": Boosting("visits", ("x1", "gap", "arm"), "poisson", trees=8, depth=3, ground=GROUND),
    "cox": Boosting("Surv(time, event)", ("x1", "gap", "arm"), "cox", trees=8, depth=3, ground=GROUND),
}


@lru_cache
def forest_of(name: str) -> Forest:
    """The model of 3,000 people of three hospitals."""
    frame = patients(3000, 5)
    return Forest.of(fit(MODELS[name], [frame[i::3] for i in range(3)], HISTOGRAMS))


def newcomers(name: str) -> list[Array]:
    """The values of each feature of some other people, of whom some miss one."""
    return MODELS[name].values(patients(SEEN, 6))


def large() -> pd.DataFrame:
    """100,000 people: 20 numbers, an outcome by steps, products and waves of some of them."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(TRAINED + HELD_OUT, len(TERMS)))
    x[:, 5] = np.round(x[:, 5] * 2)
    eta = x[:, 0] - 0.5 * x[:, 1] * x[:, 2] + 0.6 * np.sin(2 * x[:, 3]) + 0.8 * (x[:, 4] > 1) + 0.2 * x[:, 5] - 1
    y = (rng.random(len(x)) < 1 / (1 + np.exp(-eta))).astype(float)
    return pd.DataFrame(x, columns=list(TERMS)).assign(y=y)


def heart(shared: Path) -> pd.DataFrame:
    """The 740 people of four hospitals who miss none of ten columns."""
    frame = pd.read_csv(shared / "heart_disease_4_hospitals" / "heart_disease.csv")
    return frame.dropna(subset=list(HEART)).assign(ill=lambda f: (f["num"] > 0).astype(float)).reset_index(drop=True)


def hazards() -> pd.DataFrame:
    """30,000 people followed for ten years: hazards by steps, products and waves of some of five numbers."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(FOLLOWED + 10_000, len(FEATURES)))
    eta = 0.7 * x[:, 0] - 0.4 * x[:, 1] * x[:, 2] + 0.5 * np.sin(2 * x[:, 3])
    event, lost = rng.exponential(4000 * np.exp(-eta)), rng.uniform(300, 3650, len(x))
    made = pd.DataFrame(x, columns=list(FEATURES))
    return made.assign(time=np.minimum(event, lost), event=(event <= lost).astype(float))


def concordant(score: np.ndarray, people: pd.DataFrame) -> float:
    """Harrell's concordance of scores."""
    time, event = people["time"].to_numpy(), people["event"].to_numpy() > 0
    got = pairs(time, event, np.asarray(score, dtype=float), np.ones(len(time)))
    return float((got.concordant.sum() + got.tied.sum() / 2) / np.sum(got))


def held_out(n: int, seed: int) -> np.ndarray:
    """Who of n people is held out: a fifth."""
    return np.random.default_rng(seed).permutation(n) < n // 5


def area(score: np.ndarray, y: np.ndarray) -> float:
    """The area under the ROC curve, by ranks."""
    ranks = pd.Series(score).rank().to_numpy()
    n1 = y.sum()
    return float((ranks[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


def settings(kind: dict[str, Any], least: float) -> dict[str, Any]:
    """The same settings in XGBoost's words; `least` is the sum of Hessians that k people have at the least."""
    return {
        "max_depth": kind["depth"], "eta": kind["learning_rate"], "max_bin": kind.get("bins", 64),
        "min_child_weight": max(1.0, least),
        "objective": "binary:logistic", "tree_method": "hist", "lambda": 1.0, "nthread": 1,
    }  # fmt: skip


def main() -> None:
    """Write boosting.json."""
    import xgboost

    def margins(train: Any, test: Any, terms: tuple[str, ...], y: str, kind: dict[str, Any]) -> Any:
        data = xgboost.DMatrix(train[list(terms)], train[y])
        booster = xgboost.train(settings(kind, 11 / 4), data, kind["trees"])
        return booster.predict(xgboost.DMatrix(test[list(terms)]), output_margin=True)

    def exported(name: str) -> dict[str, Any]:
        forest, x = forest_of(name), newcomers(name)
        booster = xgboost.Booster()
        booster.load_model(bytearray(json.dumps(to_xgboost(forest)).encode()))
        data = xgboost.DMatrix(np.stack(x, axis=1), feature_names=booster.feature_names)
        return {
            "sha256": forest.sha256,
            "score": booster.predict(data, output_margin=True).tolist(),
            "prediction": booster.predict(data).tolist(),
            "contributions": booster.predict(data, pred_contribs=True).tolist(),
        }

    def followed(bins: int) -> float:
        cohort = hazards()
        train, test = cohort[:FOLLOWED], cohort[FOLLOWED:]
        label = np.ceil(train["time"] / 30) * np.where(train["event"] > 0, 1, -1)
        given = settings(TIMES | {"bins": bins}, 0) | {"objective": "survival:cox"}
        booster = xgboost.train(given, xgboost.DMatrix(train[list(FEATURES)], label), TIMES["trees"])
        return concordant(booster.predict(xgboost.DMatrix(test[list(FEATURES)]), output_margin=True), test)

    people = large()
    train, test = people[:TRAINED], people[TRAINED:]
    found = [area(margins(train, test, TERMS, "y", LARGE | {"bins": b}), test["y"].to_numpy()) for b in BINS]
    ill, areas = heart(Path(os.environ.get("CONFRERE_DATA") or HERE.parents[2] / "shared" / "data")), []
    for seed in range(SPLITS):
        out = held_out(len(ill), seed)
        areas.append(area(margins(ill[~out], ill[out], HEART, "ill", SMALL), ill["ill"].to_numpy()[out]))
    made = {
        "software": {"xgboost": xgboost.__version__, "numpy": np.__version__, "pandas": pd.__version__},
        "call": "xgboost.train(settings, DMatrix, trees); Booster.load_model(exported JSON).predict",
        "models": {name: exported(name) for name in MODELS},
        "large": {"auc": found, **LARGE},
        "heart": {"auc": areas, **SMALL},
        "followed": {"concordance": [followed(b) for b in BINS], **TIMES},
    }
    (HERE / "boosting.json").write_text(json.dumps(made, indent=1) + "\n")
    print(found, np.mean(areas))


if __name__ == "__main__":
    main()
