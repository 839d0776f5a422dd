"""A network that is trained over hospitals' homes: whoever is lost in mid-training, the weights are the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from confrere.errors import Waiting
from confrere.hospital.home import Home
from engines.inprocess import Fault, attempt, found, told

STUDY = """
[study]
id = "training"
title = "A network, over an engine"
purpose = "public-interest research"
[data]
table = "breast"
person = "pid"
[disclosure]
allow = ["model_weights"]
[[analysis]]
name = "net"
method = "network"
outcome = "recur"
features = "age + nodes"
module = "mlp"
settings = { hidden = [3], dropout = 0.2 }
strategy = "scaffold"
rounds = 4
epochs = 1
batch = 64
"""


def begun(place: Path) -> None:
    """Homes whose stewards allow the class, and approved the study."""
    _, homes = found(place)
    for home in homes.values():
        toml = home.path / "hospital.toml"
        toml.write_text(toml.read_text().replace("allow = []", 'allow = ["model_weights"]'))
        Home(home.path).approve(STUDY)


@pytest.mark.parametrize("answered", [False, True])
def test_training_goes_on_bit_for_bit_after_a_hospital_and_the_coordinator_were_lost(
    answered: bool, tmp_path: Path
) -> None:
    """A control variate of each hospital, its batches and its dropout are state that no sum holds."""
    begun(tmp_path / "broken")

    def lose(at: int) -> Fault:
        def fault(name: str, number: int, after: bool) -> None:
            if (name, number, after) == ("delft", at, answered):
                raise Waiting("delft did not answer")

        return fault

    with pytest.raises(Waiting):  # before anybody trains: from here on the keys are kept by which people are drawn
        attempt(tmp_path / "broken", lose(5), STUDY)
    shutil.copytree(tmp_path / "broken", tmp_path / "whole")
    for at in (14, 8):
        with pytest.raises(Waiting):
            attempt(tmp_path / "broken", lose(at), STUDY)  # every process is gone then, the coordinator's too
        assert "network.update" in told(tmp_path / "broken" / "delft")  # within the training
    again, whole = (attempt(tmp_path / name, text=STUDY).findings["net"] for name in ("broken", "whole"))
    assert np.array_equal(again.arrays["weights"], whole.arrays["weights"])
    assert again.tables == whole.tables
