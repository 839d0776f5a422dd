"""People measured by one row of their bag: what sets of classes promise of single rows, and of whole bags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.learning.conformal import Conformal, found_in
from confrere.analyses.learning.scored import margins
from confrere.analyses.networks.model import Net
from confrere.console.reading import Reading
from confrere.data.bags import Bags
from confrere.errors import StudyError
from confrere.rounds import find
from confrere.study.ground import Ground

pytest.importorskip("torch")

KINDS, ALPHA = ("one", "two", "three"), 0.1
PLACES = np.array([[0.0, 0.0], [1.6, 0.0], [0.0, 1.6]])


def bag(rng: np.random.Generator, kind: int, many: int) -> np.ndarray:
    """Rows of a person of a kind: exchangeable, each unlike the others by chance alone."""
    return PLACES[kind] + rng.normal(size=(many, 2))


def run(one_row: bool) -> Any:
    """A network of three kinds, of 2,400 people with one row, or with eight; half of them held out."""
    frames, bags = {}, {}
    for h, name in enumerate("abc"):
        rng = np.random.default_rng([5, h])
        kind = rng.choice(3, 800)
        ids = [f"{name}{i}" for i in range(800)]
        frames[name] = pd.DataFrame({"pid": ids, "kind": pd.Categorical.from_codes(kind, KINDS)})
        rows = {p: bag(rng, k, 1 if rng.random() < 0.5 else 8) for p, k in zip(ids, kind, strict=True)}
        bags[name] = {"pictures": Bags.made(rows, 2)}
    network = find("network")(
        "kind", bags="pictures", bag_size=2, module="mean_pool", rounds=8, steps=10, optimizer="adam",
        learning_rate=0.02, batch=128, holdout=0.5, conformal=ALPHA, one_row=one_row,
    )  # fmt: skip
    hospitals = cf.local(frames, levels={"kind": KINDS}, person="pid", bags=bags)
    return hospitals.run(network, allow=["model_weights"])


def covered(fit: Any, many: int, n: int = 4000) -> float:
    """How many of new people, with so many rows each, have their kind in their set."""
    finding = next(iter(fit.results.findings.values()))
    sets = found_in(finding.tables)
    assert sets is not None
    rng = np.random.default_rng(many)
    kind = rng.choice(3, n)
    rows = [bag(rng, k, many) for k in kind]
    score = Net.of(finding).score(np.empty((n, 0)), lambda i: rows[i].astype(np.float32))
    return float(sets.sets(margins("multiclass", score))[np.arange(n), kind].mean())


def test_sets_from_one_row_of_each_hold_of_single_rows_and_those_from_bags_of_bags() -> None:
    single, whole = run(True), run(False)
    noise = 3 * np.sqrt(ALPHA * (1 - ALPHA) * (1 / 1200 + 1 / 4000))
    assert 1 - ALPHA - noise < covered(single, 1) < 1 - ALPHA + noise + 11 / 1200
    assert covered(whole, 1) < 1 - ALPHA - 2 * noise  # control: half of the people had eight
    assert covered(single, 8) > 1 - ALPHA
    rows = next(iter(single.results.findings.values())).tables
    assert rows["conformal"][0]["coverage"] is None or rows["conformal"][0]["coverage"] >= 1 - ALPHA
    assert all(row["one_row"] for row in rows["conformal_limits"])


def test_the_model_remembers_it() -> None:
    sets = Conformal(ALPHA, KINDS, (0.1,) * 3, (20,) * 3, one_row=True)
    assert Conformal.from_plain(sets.plain()) == sets
    assert "one_row" not in replace(sets, one_row=False).plain()
    assert Reading._fields.index("single") == 3


@pytest.mark.parametrize("more", [{"bags": "", "bag_size": 0, "module": "linear"}, {"fine_tune": 1}])
def test_what_it_does_not_go_with_is_named(more: dict[str, Any]) -> None:
    kind = {
        "bags": "pictures",
        "bag_size": 2,
        "module": "mean_pool",
        "one_row": True,
        "ground": Ground(person="pid"),
    } | more
    with pytest.raises(StudyError, match="one_row measures on a row of each bag"):
        find("network")("ill", features="x" if not kind["bags"] else "", **kind).check()
