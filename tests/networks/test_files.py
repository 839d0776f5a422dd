"""The files of a network: its card, its hash after reading, its signature, and what is refused of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from confrere.analyses.networks.privacy import epsilon
from confrere.console.fit import Results
from confrere.console.local import Local
from confrere.console.predict import listed, read
from confrere.console.result import as_dict, models
from confrere.errors import KeysError, StudyError
from confrere.hospital.home import Home
from confrere.hospital.signing import sign_model, signers
from confrere.report.model_card import NOISE, card
from confrere.study import build
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.sums.files import write_roster
from confrere.sums.keys import Roster
from networks.test_network import make, people

SCHEMA = Schema({"x1": Column("x1", range=(-9.0, 9.0), unit="g/l"), "x2": Column("x2", unit="years")})


def ran(outcome: str, features: str = "x1", n: int = 600, **settings: Any) -> Results:
    ground = Ground(SCHEMA, person="pid")
    frame = people(n)
    study = build.single(make(outcome, features, ground=ground, **settings), ground, allow=("model_weights",))
    found: Results = Local({h: frame.iloc[i::3] for i, h in enumerate("abc")}, ground).run(study)
    return found


def written(found: Results, folder: Path) -> Path:
    for name, content in models(found).items():
        (folder / name).write_bytes(content)
    return folder / "network.json"


@pytest.fixture(scope="module")
def binary() -> Results:
    return ran("ill", "x1 + x2")


def test_a_result_names_the_software_that_trained(binary: Results) -> None:
    assert {"torch", "safetensors", "numpy"} <= as_dict(binary)["versions"].keys()


def test_the_card_of_a_network_says_what_left_and_what_it_reads(binary: Results) -> None:
    result = as_dict(binary)
    made = card(result, result["analyses"][0])
    assert list(made["population"]["columns"]) == ["x1", "x2"]
    found = made["attacks"]["reconstruction"]
    assert found["word"] == "model_weights"
    assert found["values_held"] == result["analyses"][0]["n"] * 3  # two features and the outcome
    text = models(binary)["network.card.md"].decode()
    assert "outside the limit of numbers" in text
    assert "has an AUC of" in text


def test_the_card_says_what_noise_promises_and_to_whom(binary: Results) -> None:
    """Of three hospitals, 2 rounds of z = 4: epsilon by the accountant, and with 2/3 of the variance."""
    noisy = ran("ill", privacy=4.0, rounds=2)
    facts = noisy["network"].facts
    made = card(as_dict(noisy), as_dict(noisy)["analyses"][0])
    assert made["noise"] == {name: facts[name] for name in NOISE}
    assert facts["epsilon_if_one_colludes"] == epsilon(4 * (2 / 3) ** 0.5, 2, 1e-5)
    text = models(noisy)["network.card.md"].decode()
    assert f"to an epsilon of {facts['epsilon']:.2f}, at a delta of 1e-05" in text
    assert f"its noise, the others are hidden to an epsilon of {facts['epsilon_if_one_colludes']:.2f}" in text
    plain = card(as_dict(binary), as_dict(binary)["analyses"][0])
    assert plain["noise"] == {}


def test_a_model_of_few_people_whose_losses_are_not_told() -> None:
    text = models(ran("y", objective="squared", holdout=0.05))["network.card.md"].decode()
    assert "losses are counted in cells of enough people, of which there are too few" in text
    assert "nobody was held out" not in text
    followed = card(as_dict(ran("Surv(time, event)", n=400)), as_dict(ran("Surv(time, event)", n=400))["analyses"][0])
    assert len(followed["attacks"]["membership"]) == 1  # of times pairs are told, and no cells


def test_the_hash_is_the_same_after_reading(binary: Results, tmp_path: Path) -> None:
    sha256 = binary["network"].facts["model_sha256"]  # in Python as in the result
    assert read(written(binary, tmp_path)).sha256 == sha256
    assert as_dict(binary)["analyses"][0]["facts"]["model_sha256"] == sha256
    text = models(binary)["network.card.md"].decode()
    assert sha256 in text


def test_who_is_held_out_is_of_the_people_and_not_left_out() -> None:
    """As of boosted trees: people are those of training and those measured on."""
    for outcome in ("ill", "Surv(time, event)"):
        found = ran(outcome, holdout=0.3)["network"].finding
        assert found.n == 600 > found.facts["people_trained"] > 300
        assert [(r["step"], r["n"]) for r in found.tables["attrition"]] == [("records read", 600), ("analysed", 600)]
    whole = ran("ill", holdout=0.0)["network"].finding
    assert whole.n == whole.facts["people_trained"] == 600


def test_changed_parameters_are_found_out_by_signature_and_by_hash(binary: Results, tmp_path: Path) -> None:
    path, homes = written(binary, tmp_path), [Home.make(tmp_path / h, h, {}, "") for h in ("curie", "lyon", "paris")]
    roster = Roster({home.name: home.identity.public for home in homes})
    for home in homes:
        roster = roster.signed(home.name, home.identity)
    write_roster(tmp_path / "roster.json", roster)
    homes[0].pin(tmp_path / "roster.json")
    sign_model(homes[0], path)
    assert signers(path, roster) == ("curie",)
    tensors = path.with_suffix(".safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x01")
    with pytest.raises(KeysError, match="not by the key"):
        signers(path, roster)
    with pytest.raises(StudyError, match="their SHA-256 differs"):
        read(path)
    tensors.write_bytes(b"broken")
    with pytest.raises(StudyError, match="cannot be read"):
        read(path)
    tensors.unlink()
    with pytest.raises(StudyError, match=r"network\.safetensors cannot be read"):
        signers(path, roster)


def test_a_class_of_a_model_of_one_prediction_is_refused(binary: Results, tmp_path: Path) -> None:
    net = read(written(binary, tmp_path))
    frame = pd.DataFrame({"pid": ["a"], "x1": [0.1], "x2": [3.0]})
    frame.to_csv(tmp_path / "p.csv", index=False)
    for level in (2, -1):
        with pytest.raises(StudyError, match="has one prediction"):
            listed(net, str(tmp_path / "p.csv"), "pid", level=level)
    assert np.isfinite(listed(replace(net), str(tmp_path / "p.csv"), "pid")["prediction"]).all()
