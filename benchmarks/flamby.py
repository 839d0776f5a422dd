"""Networks on two data sets of FLamby, with its splits and metrics, beside its best published strategy.

    python -m benchmarks.flamby [FOLDER]     # of the shared data: heart_disease_4_hospitals, oncology_survival

Fed-Heart-Disease: 740 people of four hospitals, 13 columns; 486 are trained on, 254 measured on: accuracy at 1/2.
FLamby stratifies the split of each hospital with scikit-learn's `train_test_split`, seed 43. Fed-TCGA-BRCA: 1,088
people of six regions, 39 columns, FLamby's stored split 866 / 222; concordance. Both are of all people measured on
together, as the mean over five seeds.

Settings were chosen by cross-validation among the people of training alone, of few: see `SETTINGS`. Splits are fixed,
so the standard error that counts is that over people: of a share by the binomial, of a concordance by the jackknife.

Everybody trains here, as in FLamby: driven in the clear, without the gate's rule of 4 k people in a hospital, nor of k
people on either side of a column. `--gate` applies them: Switzerland, with 30 people of training, then takes part with
nobody; of the regions' columns too many are rare to ask at all.

Published: Ogier du Terrail et al., FLamby, NeurIPS 2022 (arXiv:2210.04620), five seeds: heart 0.785 (cyclic; FedAvg
0.748, pooled 0.795), BRCA 0.842 (FedAdam and FedYogi; FedAvg 0.735, pooled 0.704).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from confrere.analyses.concordance import concordance, pairs
from confrere.analyses.networks.model import Net
from confrere.console.local import Local
from confrere.rounds import find
from confrere.study.ground import Ground
from confrere.testing.runs import LOOSE, fit

HEART = ("age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak")
PUBLISHED = {"heart": 0.785, "brca": 0.842}
SEEDS = range(1, 6)
CANDIDATES: tuple[dict[str, Any], ...] = tuple(
    {"strategy": strategy, "rounds": 60, "epochs": epochs, "learning_rate": 0.2, "decay": decay, "server_rate": rate}
    for strategy, rate, epochs in (("fedavg", 0.0, 2), ("scaffold", 0.0, 5), ("fedyogi", 0.05, 2))
    for decay in (0.001, 0.01, 0.05)
)
SETTINGS: dict[str, dict[str, Any]] = {"heart": CANDIDATES[8], "brca": CANDIDATES[5]}  # as `--choose` says
FOLDS = 5


class Task(NamedTuple):
    """People to train on, by hospital, and all to measure on; the outcome and the features."""

    train: dict[str, pd.DataFrame]
    test: pd.DataFrame
    outcome: str
    features: tuple[str, ...]


def heart(folder: Path) -> Task:
    """Fed-Heart-Disease as FLamby prepares it."""
    from sklearn.model_selection import train_test_split

    frame = pd.read_csv(folder / "heart_disease_4_hospitals" / "heart_disease.csv")
    frame = frame.dropna(subset=[*HEART, "cp", "restecg"])
    frame = frame.assign(ill=(frame["num"] > 0).astype(float))
    for column in ("cp", "restecg"):
        for value in sorted(frame[column].unique())[1:]:
            frame[f"{column}{value:g}"] = (frame[column] == value).astype(float)
    dummies = tuple(c for c in frame if c.startswith(("cp", "restecg")) and c not in ("cp", "restecg"))
    train, test = {}, []
    for name, rows in frame.groupby("hospital"):
        counts = rows["ill"].value_counts()
        even = rows["ill"] if len(counts) > 1 and counts.min() > 2 else None
        inside, outside = train_test_split(
            np.arange(len(rows)), test_size=1 - 0.66, train_size=0.66, random_state=43, stratify=even
        )
        train[str(name)], _ = rows.iloc[np.sort(inside)], test.append(rows.iloc[outside])
    return Task(train, pd.concat(test), "ill", (*HEART, *dummies))


def brca(folder: Path) -> Task:
    """Fed-TCGA-BRCA, with FLamby's stored split."""
    frame = pd.read_csv(folder / "oncology_survival" / "tcga_brca_flamby.csv")
    given = [
        c
        for c in frame
        if c not in {"pid", "E", "T", "tss", "fold", "fold2", "source_site", "country", "region", "center"}
    ]
    names = {c: f"z{j}" for j, c in enumerate(given)}
    frame = frame.rename(columns=names)
    inside = frame["fold"] == "train"
    train = {f"region {c}": rows for c, rows in frame[inside].groupby("center")}
    return Task(train, frame[~inside], "Surv(T, E)", tuple(names.values()))


class Measured(NamedTuple):
    """An accuracy or a concordance, and its standard error over people."""

    estimate: float
    std_error: float


def measured(net: Net, task: Task) -> Measured:
    """FLamby's metric on all people who were not trained on."""
    score = net.score(task.test[list(task.features)].to_numpy(float))[:, 0]
    if net.objective == "binary":
        right = (score > 0) == (task.test["ill"].to_numpy() > 0)
        return Measured(float(right.mean()), float(np.sqrt(right.mean() * (1 - right.mean()) / len(right))))
    found = pairs(task.test["T"].to_numpy(float), task.test["E"].to_numpy() > 0, score, np.ones(len(score)))
    c = concordance(found.sums)
    return Measured(c, float(np.sqrt((found.influence(c, float(found.sums.sum())) ** 2).sum())))


def trained(task: Task, seed: int, gate: bool = False, **settings: Any) -> Net:
    """A network of the people of training; with the `gate` by a whole run, masked, under the default policy."""
    network = find("network")(task.outcome, " + ".join(task.features), seed=seed, **settings)
    if gate:
        return Net.of(Local(task.train, Ground()).run(network, allow=["model_weights"]).finding)
    return Net.of(fit(network, list(task.train.values()), LOOSE))


def compared(name: str, task: Task, gate: bool = False) -> Measured:
    """The mean over seeds, and the mean of the standard errors."""
    found = [measured(trained(task, seed, gate, **SETTINGS[name]), task) for seed in SEEDS]
    return Measured(float(np.mean([m.estimate for m in found])), float(np.mean([m.std_error for m in found])))


def chosen(task: Task) -> list[tuple[float, dict[str, Any]]]:
    """Candidates by the mean metric over folds of the people of training alone, the best first."""
    found = []
    for settings in CANDIDATES:
        metrics = []
        for fold in range(FOLDS):
            inside = {name: rows[np.arange(len(rows)) % FOLDS != fold] for name, rows in task.train.items()}
            outside = pd.concat([rows[np.arange(len(rows)) % FOLDS == fold] for rows in task.train.values()])
            part = task._replace(train=inside, test=outside)
            metrics.append(measured(trained(part, 1, **settings), part).estimate)
        found.append((float(np.mean(metrics)), settings))
    return sorted(found, key=lambda one: -one[0])


def main() -> None:
    """Print both beside what was published."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("CONFRERE_DATA", "../shared/data")))
    parser.add_argument("--gate", action="store_true", help="apply the gate's rules (heart alone)")
    parser.add_argument("--choose", action="store_true", help="cross-validate the candidates among people of training")
    given = parser.parse_args()
    for name, task in (("heart", heart(given.folder)), *((("brca", brca(given.folder)),) if not given.gate else ())):
        for metric, settings in chosen(task) if given.choose else ():
            print(f"{name}: {metric:.4f} in cross-validation by {settings}")
        got = compared(name, task, given.gate)
        ahead = (got.estimate - PUBLISHED[name]) / got.std_error
        print(
            f"{name}: {got.estimate:.3f} (standard error {got.std_error:.3f}), published {PUBLISHED[name]:.3f}: "
            f"{'+' if ahead >= 0 else ''}{ahead:.1f} standard errors, by {SETTINGS[name]}"
        )


if __name__ == "__main__":
    main()
