"""Two learned models in one study: cells of their losses or scores, one less the other, would tell a few people."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.evaluate_risk import starts_of
from confrere.analyses.learning.scored import Scored
from confrere.errors import StudyError
from confrere.hospital.gate import Policy
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.testing import fit

HEAD = '[study]\nid = "s"\npurpose = "public-interest research"\n[data]\ntable = "t"\nperson = "pid"\n'
TREES = 'method = "boosting"\noutcome = "ill"\nfeatures = ["x", "z"]\n'
TIMES = 'method = "boosting"\noutcome = "Surv(time, event)"\nobjective = "cox"\nfeatures = ["x", "z"]\n'
NUMBERS = 'method = "boosting"\noutcome = "y"\nobjective = "squared"\nfeatures = ["x", "z"]\n'
NETWORK = 'method = "network"\noutcome = "ill"\nfeatures = "x + z"\n'
KNOWN = 'method = "evaluate"\noutcome = "ill"\nrisk = "x"\n'


def both(one: str, other: str, more: str = "") -> Any:
    text = "".join(f'[[analysis]]\nname = "{name}"\n{kind}' for name, kind in (("a", one), ("b", other)))
    return build.analyses(parse(HEAD + text + more))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TIMES, TIMES + "learning_rate = 0.10001\n"), (TREES, TREES + "learning_rate = 0.10001\n"), (TREES, NETWORK),
        (TREES, TIMES), (NUMBERS, NUMBERS), (TREES, KNOWN), (KNOWN, TREES), (TREES + "holdout = 0\n",) * 2,
        (TREES + "permutation = 1\n",) * 2,
    ],
)  # fmt: skip
def test_two_models_whose_cells_could_be_subtracted_are_two_studies(one: str, other: str) -> None:
    with pytest.raises(StudyError, match="a and b both count people by cell of a model's score"):
        both(one, other)


def test_control_models_without_such_cells_stand_side_by_side() -> None:
    assert len(both(NUMBERS + "holdout = 0\n", NUMBERS + "holdout = 0\nseed = 2\n")) == 2
    assert len(both(TREES, 'method = "penalised"\nformula = "ill ~ x + z"\nfamily = "binomial"\n')) == 2
    here, there = ('group = ["a", "b", "c"]\n', 'group = ["d", "e", "f"]\n')
    assert len(both(TREES + here, TREES + there)) == 2


def scores(rate: float, frames: list[pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Any]:
    """Who is held out and ill, everybody's place on the ladder of scores, and where the cells that are told begin."""
    seen: list[tuple[Any, Any, Any]] = []
    measured = Scored.measured

    def noted(self: Scored, people: Any) -> Any:
        cells = people.design.cells["scores"]
        kind, place = np.divmod(cells.index, cells.shape[1])
        seen.append((kind == 3, place, starts_of(people.grid("scores")[3])))
        return measured(self, people)

    noted.__dict__.update(measured.__dict__)
    noted.__name__ = "measured"
    monkeypatch.setattr(Scored, "measured", noted)
    trees = Boosting("ill", ("x", "z"), trees=30, depth=3, learning_rate=rate, holdout=0.4, ground=Ground(person="pid"))
    fit(trees, frames, Policy(allow=frozenset(["histograms"])))
    monkeypatch.setattr(Scored, "measured", measured)
    outside, place, starts = zip(*seen, strict=True)
    return np.concatenate(outside), np.concatenate(place), starts[0]


def test_control_two_models_alone_differ_by_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why: between two learning rates that are nearly the same, fewer than k people are at or above an edge."""
    rng, n = np.random.default_rng(3), 1800
    x, z = rng.normal(size=(2, n))
    ill = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(float)
    frame = pd.DataFrame({"pid": [f"p{i}" for i in range(n)], "x": x, "z": z, "ill": ill})
    found = [scores(rate, [frame[i::3] for i in range(3)], monkeypatch) for rate in (0.1, 0.102)]
    apart = [
        abs(int((own[1][own[0]] >= s).sum()) - int((its[1][its[0]] >= t).sum()))
        for own, its in combinations(found, 2) for s, t in product(own[2][1:], its[2][1:])
    ]  # fmt: skip
    assert any(0 < many < 11 for many in apart)
