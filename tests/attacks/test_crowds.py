"""Classes that ask for 4 k people of a hospital: what analyses of fewer beside them would tell by subtraction.

A hospital of 11 to 43 people takes part with nobody where the weights of a network leave. An analysis of everybody less
one of the others would be this hospital alone, whatever k allows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks.histories import K, asked
from confrere.console.local import Local
from confrere.errors import ConfrereError
from confrere.hospital.differencing import Answered
from confrere.study.file import Study, parse

HEAD = """
[study]
id = "{id}"
title = "t"
purpose = "public-interest research"
[data]
table = "t"
[disclosure]
allow = [{allow}]
"""
NETWORK = """
[[analysis]]
name = "net"
method = "network"
outcome = "y"
objective = "squared"
features = "age"
rounds = 1
"""
LINEAR = """
[[analysis]]
name = "all"
method = "linear"
formula = "y ~ age"
"""


def people(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"y": rng.normal(size=n), "age": rng.integers(30, 80, n).astype(float),
                         "pid": [f"{seed}-{i}" for i in range(n)]})  # fmt: skip


def study(*parts: str, allow: str = '"model_weights"', id: str = "one") -> Study:
    return parse(HEAD.format(allow=allow, id=id) + "".join(parts))


def run(asks: Study, small: int) -> Any:
    sizes = {"a": 150, "b": 150, "c": 150, "small": small}
    return Local({name: people(n, i) for i, (name, n) in enumerate(sizes.items())}).run(asks)


@pytest.mark.parametrize("small", [K, 30, 4 * K - 1])
def test_all_analyses_beside_a_network_are_of_the_same_hospitals(small: int) -> None:
    pytest.importorskip("torch")
    found = run(study(NETWORK, LINEAR), small)
    assert {(f.n, f.hospitals) for f in found.findings.values()} == {(450, 3)}
    assert "fewer than 44 people" in str(found["all"].finding.warnings)


def test_control_a_hospital_of_enough_is_in_all_of_them_and_one_of_few_in_a_study_without() -> None:
    pytest.importorskip("torch")
    found = run(study(NETWORK, LINEAR), 4 * K)
    assert {f.n for f in found.findings.values()} == {450 + 4 * K}
    assert run(study(LINEAR, allow=""), 30)["all"].finding.n == 480


def test_similar_cases_of_few_neighbours_beside_a_network_are_refused() -> None:
    """Thirty of each hospital are fewer than 44: nobody is left who votes."""
    pytest.importorskip("torch")
    question = """
[[analysis]]
name = "q"
method = "similar_cases"
outcome = "label"
features = ["y", "age"]
question = [0.0, 50.0]
neighbours = 30
[data.columns.label]
levels = ["a", "b"]
"""
    asks = study(NETWORK, question)
    frames = {str(i): people(150, i).assign(label=np.where(np.arange(150) % 2, "a", "b")) for i in range(3)}
    with pytest.raises(ConfrereError, match="44 people"):
        Local(frames).run(asks)


@pytest.mark.parametrize(("first", "then"), [("net", "all"), ("all", "net")])
@pytest.mark.parametrize(("small", "answered"), [(K, False), (30, False), (4 * K, True)])
def test_the_same_over_two_studies(first: str, then: str, small: int, answered: bool, tmp_path: Path) -> None:
    """The hospital between is the difference of the two; its own guard sees it, as it would a hospital that left."""
    pytest.importorskip("torch")
    frame = people(small, 1)
    asks = {"net": study(NETWORK), "all": study(LINEAR, allow="", id="two")}
    guard = Answered(tmp_path / "answered.sqlite", bytes(32))
    said = [guard.admit(asks[name].hash, asked(asks[name], frame), K) for name in (first, then, first)]
    assert [one.ok for one in said] == [True, answered, True]
    assert answered or said[1].about == "hospitals"


def test_studies_of_the_same_class_stand_one_after_the_other(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    guard, frame = Answered(tmp_path / "answered.sqlite", bytes(32)), people(30, 1)
    for asks in (study(NETWORK), study(LINEAR, id="two"), study(NETWORK, LINEAR, id="three")):
        assert guard.admit(asks.hash, asked(asks, frame), K).ok
