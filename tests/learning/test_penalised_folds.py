"""Folds of penalised regressions: in each of them, nobody or enough people, however a column is coded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Finding
from confrere.analyses.learning.penalised import Penalised
from confrere.errors import ModelError
from confrere.study.ground import Ground
from confrere.testing import fit

PEOPLE, GROUND = 1500, Ground(person="pid")


def found(formula: str, rare: int, family: str = "gaussian", **settings: Any) -> Finding:
    """The finding on people of four hospitals, of whom so many have z = 1, and as many have 2 in `grade` of 0 to 2."""
    rng = np.random.default_rng(1)
    x, at = rng.normal(size=PEOPLE), np.arange(PEOPLE)
    z = (at < rare).astype(float)
    frame = pd.DataFrame({
        "pid": at.astype(float), "x": x, "z": z, "grade": np.where(z > 0, 2.0, at % 2),
        "y": x + rng.normal(size=PEOPLE), "ill": (x + rng.normal(size=PEOPLE) > 0).astype(float),
    })  # fmt: skip
    model = Penalised(formula, family, folds=5, penalties=10, debias="", ground=GROUND, **settings)
    return fit(model, [frame[j::4] for j in range(4)])


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
@pytest.mark.parametrize("term", ["z", "I(2*z)", "I(z + 1)", "I(1 - 3*z)", "grade"])
def test_a_fold_of_a_few_people_with_a_rare_value_is_refused(term: str, family: str) -> None:
    """18 people in 2 folds are 9 each, whatever their number is called; one penalty needs no folds."""
    formula = f"{'y' if family == 'gaussian' else 'ill'} ~ x + {term}"
    with pytest.raises(ModelError, match="give one penalty"):
        found(formula, 18, family)
    assert "folds" not in found(formula, 18, family, penalty=(0.02,)).facts


@pytest.mark.parametrize("term", ["z", "I(2*z)", "grade"])
def test_a_value_that_is_less_rare_has_fewer_folds(term: str) -> None:
    many = [int(found(f"y ~ x + {term}", rare).facts["folds"]) for rare in (60, 500)]
    assert 2 <= many[0] <= many[1]
    assert many[0] < 5
