"""FLamby's Fed-Heart-Disease and Fed-TCGA-BRCA, with its splits and metrics: at least its best published strategy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from federate import SHARED

pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.flamby import PUBLISHED, SETTINGS, Task, brca, heart, measured, trained


@pytest.mark.shared
@pytest.mark.parametrize("name", ["heart", "brca"])
def test_networks_reach_the_best_published_strategy(name: str) -> None:
    if name == "heart":
        pytest.importorskip("sklearn")
    task = {"heart": heart, "brca": brca}[name](SHARED)
    sizes = {"heart": ([199, 172, 30, 85], 254), "brca": ([248, 156, 164, 129, 129, 40], 222)}[name]
    assert ([len(rows) for rows in task.train.values()], len(task.test)) == sizes
    got = measured(trained(task, 1, **SETTINGS[name]), task)
    assert got.estimate >= PUBLISHED[name]
    assert got.estimate - PUBLISHED[name] < got.std_error  # which is no more than chance


def test_the_metrics_are_those_of_their_definitions() -> None:
    frame = pd.DataFrame(
        {"x": [1.0, -1.0, 2.0, -2.0], "ill": [1.0, 1.0, 1.0, 0.0], "T": [1.0, 4, 2, 9], "E": [1.0, 0, 1, 1]}
    )
    task = Task({"a": frame, "b": frame}, frame, "ill", ("x",))
    net = trained(task, 1, rounds=30, learning_rate=1.0)
    assert measured(net, task).estimate == np.mean((net.score(frame[["x"]].to_numpy())[:, 0] > 0) == (frame["ill"] > 0))
    survival = trained(task._replace(outcome="Surv(T, E)"), 1, rounds=5)
    score = survival.score(frame[["x"]].to_numpy())[:, 0]
    before = [(0, 2), (0, 1), (0, 3), (2, 1), (2, 3)]  # who has the event first, and who is followed for longer
    assert measured(survival, task).estimate == np.mean([score[i] > score[j] for i, j in before])
