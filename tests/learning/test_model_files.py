"""Files of models that somebody else made: what cannot be one is refused in words, and costs nothing before."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.released import opened, read
from confrere.analyses.learning.terms import Terms
from confrere.errors import StudyError
from confrere.hospital.signing import signers
from confrere.study.learnt import TENSORS, parsed
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import LOOSE, fit

GROUND = Ground(SCHEMA)
SETS = {"format": "confrere-sets/1", "alpha": 0.1, "levels": ["no", "yes"], "limits": [-1.0, -2.0],
        "people": [40, 30]}  # fmt: skip
PREDICTS = {"outcome": "ill", "levels": [], "time_unit": ""}


def plain() -> dict[str, Any]:
    """A forest of one split."""
    seven = np.zeros(7)
    tree = Tree(np.array([0, *[-1] * 6]), seven, seven.astype(int), np.array([0, -0.4, 0.4, 0, 0, 0, 0]), seven,
                np.array([9.0, 4, 5, 0, 0, 0, 0]))  # fmt: skip
    return json.loads(json.dumps(Forest("binary", ("x1",), (0.1,), (tree,)).plain()))  # type: ignore[no-any-return]


def changed(**values: Any) -> str:
    return json.dumps(plain() | values)


def trees(change: Callable[[dict[str, Any]], None], copies: int = 1) -> str:
    """The forest with its tree changed, so many times."""
    whole = plain()
    change(whole["trees"][0])
    return json.dumps(whole | {"trees": whole["trees"] * copies})


@pytest.mark.parametrize("beside", [{}, {"sets": SETS}, {"baseline": {"survival": 0.8, "times": 365.0}},
                                    {"card": {"predicts": PREDICTS}}])  # fmt: skip
def test_what_is_one_is_read(beside: dict[str, Any]) -> None:
    assert opened(changed(**beside)).sha256 == Forest.from_plain(plain()).sha256


@pytest.mark.parametrize("text", [
    '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"format": "confrere-forest/1"}',
    changed(base=[[]]), changed(base=[]), changed(base=["x"]), changed(features=[1]), changed(trees=[[1]]),
    trees(lambda t: t.update(cut=[])), trees(lambda t: t.update(value=[1.0] * 9)),
    trees(lambda t: t.update({name: [] for name in t})), trees(lambda t: t["feature"].__setitem__(0, 10**30)),
    trees(lambda t: t["value"].__setitem__(1, float("nan"))),
    *(changed(sets=SETS | bad) for bad in (
        {"alpha": -5}, {"alpha": 1.0}, {"limits": [float("nan"), 0.0]}, {"limits": [float("inf"), 0.0]},
        {"levels": [1]},
        {"levels": ["a", "b", "c"], "limits": [0, 0, 0], "people": [1, 1, 1]}, {"alpha": "a"}, {"moved": [0.0]},
    )),
    changed(sets="yes"), changed(card=[1]), changed(card={"predicts": {}}), changed(card={"predicts": [1]}),
    *(changed(baseline=bad) for bad in (
        {"survival": 1e308, "times": 1.0}, {"survival": 0.5, "times": float("inf")}, {"survival": 0.5}, [1], "x",
    )),
])  # fmt: skip
def test_what_is_none_is_said(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    for reads, given in ((read, path), (opened, text)):
        with pytest.raises(StudyError, match="no model that Confrere wrote"):
            reads(given)  # type: ignore[operator]


def test_few_bytes_do_not_become_gigabytes() -> None:
    """A tree of 30,000 nodes, and 1,200 of one beside it, which are filled up to it."""
    whole = plain()
    one = {name: values[1:2] for name, values in whole["trees"][0].items()}
    large = {name: values[1:2] * 30_000 for name, values in whole["trees"][0].items()}
    text = json.dumps(whole | {"trees": [large, *[one] * 1200]})
    tracemalloc.start()
    with pytest.raises(StudyError, match="more than 4,194,304 nodes"):
        opened(text)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_signatures_are_by_hospital(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(changed(signatures=[1], card={}))
    with pytest.raises(StudyError, match="signatures are not by hospital"):
        signers(path, None)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="names and values"):
        parsed("[1]")


@pytest.mark.parametrize("numbers", [{"sd": 1e-320}, {"sd": 0.0}, {"mean": float("nan")}, {"weight": float("inf")}])
def test_a_network_of_numbers_that_are_none(numbers: dict[str, float]) -> None:
    pytest.importorskip("torch")
    with pytest.raises(StudyError, match=r"no numbers, or none above 0|cannot be read"):
        opened(network(**({"mean": 0.0, "sd": 1.0, "weight": 1.0} | numbers)))


def network(mean: float, sd: float, weight: float) -> str:
    """A network whose score is NaN of who is far above the mean, where the weights are large enough."""
    from confrere.analyses.networks.catalogue import Sizes
    from confrere.analyses.networks.model import Net

    weights = np.array([weight, weight, 0.0, 0.0, 1.0, -1.0, 0.0])
    made = Net("binary", "ill", (), "ill ~ x1", "mlp", {"hidden": (2,), "dropout": 0.0}, Sizes(1, 0, 1), (mean, 0.0),
               (sd, 1.0), (), (), "", weights, GROUND)  # fmt: skip
    return json.dumps(made.plain() | {TENSORS: base64.b64encode(made.tensors()).decode()})


def test_nobody_is_told_of_by_a_model_that_has_no_number_for_some() -> None:
    """An evaluation ends alike, whoever has a value with which scores overflow: an error would tell that there is."""
    pytest.importorskip("torch")
    frame = patients(900, 3)
    far = float(np.sort(frame.x1)[-4])
    broken = Terms("penalised", "ill ~ x1 + x2", "binomial", "logit", (0.0, 1e308, 0.1), (), GROUND)
    for learnt in (network(far, 1e-300, 1e200), json.dumps(broken.plain())):
        study = Evaluate("ill", learnt=learnt, ground=GROUND)
        assert fit(study, [frame[i::3] for i in range(3)], LOOSE).n == 900
