"""Boosted trees over ten hospitals, masks on, beside XGBoost `hist` with all rows at one place.

    python -m benchmarks.boosting                        # 1,000,000 people, 20 features, 100 trees of depth 6
    python -m benchmarks.boosting --people 100000 --trees 20

Needs the extras `benchmarks` and `learning`. Both have as many threads as the machine has cores, and learn from the
same people; the area under the curve is of a tenth as many others. Of ours the clock sees the reading of frames,
keys, gates, masks, signatures, the flow (one for all hospitals of a process, one for the coordinator), and the
metrics; of XGBoost the DMatrix and the training, each said by itself. Compiling the loops comes before, with a first
fit of few people.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import confrere as cf

FEATURES = 20
NAMES = tuple(f"x{j}" for j in range(FEATURES))
RATE, BINS = 0.1, 64


def people(n: int, seed: int) -> pd.DataFrame:
    """`n` people: 20 numbers, an outcome of three in ten by steps, products and waves of five of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, FEATURES))
    eta = x[:, 0] - 0.5 * x[:, 1] * x[:, 2] + 0.6 * np.sin(2 * x[:, 3]) + 0.8 * (x[:, 4] > 1) - 1.2
    return pd.DataFrame(x, columns=list(NAMES)).assign(y=(rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float))


def ours(frame: pd.DataFrame, trees: int, depth: int, hospitals: int) -> Any:
    """The fit over so many hospitals of this process."""
    parts = np.array_split(np.arange(len(frame)), hospitals)
    federation = cf.local({f"h{i}": frame.iloc[part] for i, part in enumerate(parts)})
    boosting = cf.Boosting("y", NAMES, trees=trees, depth=depth, learning_rate=RATE, bins=BINS)
    return federation.run(boosting, allow=["histograms"])


def theirs(frame: pd.DataFrame, trees: int, depth: int, bins: int) -> tuple[Any, float, float]:
    """XGBoost's booster, the seconds of its DMatrix and those of its training."""
    import xgboost

    data, making = timed(lambda: xgboost.QuantileDMatrix(frame[list(NAMES)], frame["y"], max_bin=bins))
    settings = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": depth, "eta": RATE, "max_bin": bins,
                "nthread": os.cpu_count()}  # fmt: skip
    booster, training = timed(lambda: xgboost.train(settings, data, trees))
    return booster, making, training


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds it took."""
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def area(score: np.ndarray, y: np.ndarray) -> float:
    """The area under the ROC curve, by ranks."""
    ranks, n1 = pd.Series(score).rank().to_numpy(), y.sum()
    return float((ranks[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


def main() -> None:
    """Run both, and print seconds, their ratio, bytes and areas."""
    import xgboost

    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("people", 1_000_000), ("trees", 100), ("depth", 6), ("hospitals", 10)):
        given.add_argument(f"--{name}", type=int, default=usual)
    asked = given.parse_args()
    shape = (asked.trees, asked.depth)
    ours(people(3000, 3), 2, 2, 3)
    frame, test = people(asked.people, 1), people(asked.people // 10, 2)
    y = test["y"].to_numpy()
    fit, seconds = timed(lambda: ours(frame, *shape, asked.hospitals))
    found = area(fit.model.score([test[name].to_numpy() for name in NAMES]), y)
    print(f"{asked.people:,} people x {FEATURES}, {shape[0]} trees of depth {shape[1]}, {os.cpu_count()} cores")
    print(f"Confrere, {asked.hospitals} hospitals, {BINS} bins: {seconds:.1f} s, AUC {found:.5f}, "
          f"{fit.results.bytes / 1e6:.1f} MB left each hospital in {fit.results.rounds} rounds, "
          f"{fit.results.bytes / fit.results.rounds / 1e3:.1f} kB in a round")  # fmt: skip
    for bins in (BINS, 256):
        booster, making, training = theirs(frame, *shape, bins)
        other = area(booster.predict(xgboost.DMatrix(test[list(NAMES)]), output_margin=True), y)
        ratio = seconds / (training + making)
        print(f"xgboost {xgboost.__version__} hist, all rows at one place, {bins} bins: {training:.1f} s and "
              f"{making:.1f} s for its matrix, AUC {other:.5f}; ratio {ratio:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
