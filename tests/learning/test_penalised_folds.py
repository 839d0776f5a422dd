"""Folds of penalised regressions: in each of them, nobody or enough people, however a column is coded."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Finding
from confrere.analyses.learning.penalised import Penalised
from confrere.errors import ModelError, StudyError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
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


def test_a_fold_is_of_three_hospitals() -> None:
    """Two of 12 people each leave some of ten folds to the third alone."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"pid": np.arange(4000.0), "x": rng.normal(size=4000), "y": rng.normal(size=4000)})
    model, few = Penalised("y ~ x", debias="", ground=GROUND), np.arange(4000) < 24
    even = fit(model, [frame[j::3] for j in range(3)])
    uneven = fit(model, [frame[~few], frame[few][::2], frame[few][1::2]])
    assert even.n == uneven.n == 4000
    assert uneven.facts["folds"] < even.facts["folds"] == 10


def refused(formula: str, rare: int = 600, **settings: Any) -> str:
    with pytest.raises(ModelError) as error:
        found(formula, rare, "binomial", **settings)
    return str(error.value)


def test_a_refusal_says_which_limit_fell_and_how_many_people_would_do() -> None:
    """Of a rare mark, of the budget, of the budget by `exact`: each with its own remedy."""
    rare, exact = refused("ill ~ x + z", 18), refused("ill ~ x", exact=True)
    assert "one of 2 would hold hardly 11 people on the rarer side of a term" in rare
    assert "Merge levels" in rare
    assert "ask some" in exact
    assert "leave exact or terms out" in exact
    assert "Merge levels" not in exact
    many = refused(f"ill ~ {' + '.join(f'abs(x - {j})' for j in range(1, 31))}")
    assert "with 30 terms 2 folds ask some" in many
    assert "the budget for them is" in many


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_as_many_people_as_a_refusal_says_do(family: str) -> None:
    """Of 400 people the number is told; of so many there are folds, and of a fifth less there are none."""
    rng = np.random.default_rng(4)

    def of(n: int) -> Finding:
        x, z = rng.normal(size=n), rng.integers(0, 2, n).astype(float)
        frame = pd.DataFrame({"pid": np.arange(n), "x": x, "z": z, "y": x + rng.normal(size=n), "ill": x > 0})
        frame = frame.astype(float)
        formula = f"{'y' if family == 'gaussian' else 'ill'} ~ x + z"
        return fit(Penalised(formula, family, debias="", ground=GROUND), [frame[j::4] for j in range(4)])

    with pytest.raises(ModelError) as error:
        of(400)
    told = int(re.search(r"About ([\d,]+) people would do", str(error.value))[1].replace(",", ""))  # type: ignore[index]
    assert of(told + 50).facts["folds"] >= 2
    with pytest.raises(ModelError, match="cannot be dealt"):
        of(4 * told // 5)


def test_factors_are_read_whatever_the_blanks() -> None:
    levels = "C(grade, levels=[0, 1, 2])"
    schema = Schema({"size": Column("size", ("a b", "ab"))})
    for name in (levels, "C(grade,levels=[0,1,2])", "C( grade , levels = [0, 1,2] )"):
        of = Penalised(f"y ~ x + {levels} + log(z+1)", factors={name: 2.0, "log( z+1 )": 0.0}, penalty=(0.1,))
        of.check()
        assert of._factors().tolist() == [1.0, 2.0, 2.0, 0.0]
    of = Penalised("y ~ x + size", factors={"size[T.ab]": 0.0}, penalty=(0.1,), ground=Ground(schema))
    assert of._factors().tolist() == [1.0, 0.0]
    of = Penalised("y ~ x + size", factors={"size[T.a b]": 0.0}, penalty=(0.1,), ground=Ground(schema))
    with pytest.raises(StudyError, match="no term"):  # blanks within a level's name count
        of.check()
