"""The method obeys the laws of Confrere, gives published figures, and says what is wrong with its input."""

import numpy as np
import pandas as pd
import pytest
from confrere_agreement import Agreement

from confrere.errors import FormulaError, ModelError
from confrere.testing import LAWS, LOOSE, SCHEMA, Case, Ground, fit

CASE = Case(Agreement("y ~ x1", Ground(SCHEMA)), terms=("x1", "y"))
# Peak flow (l/min) of 17 people by two meters, first readings: Bland & Altman, Lancet 1986;1:307, table 1
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def found(one: list[int], other: list[int]) -> pd.DataFrame:
    """The table `agreement` of these people at three hospitals."""
    frame = pd.DataFrame({"one": one, "other": other}, dtype=float)
    finding = fit(Agreement("one ~ other"), [frame[i::3] for i in range(3)], LOOSE)
    return finding.summary("agreement").set_index("measure")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law):
    law(CASE)


def test_the_published_limits_of_agreement():
    got = found(LARGE, MINI)
    assert np.round(got.loc["mean difference"].astype(float), 1).tolist() == [-2.1, -22.0, 17.8]
    spread = np.subtract(LARGE, MINI).std(ddof=1)
    assert round(spread, 1) == 38.8  # as published
    assert np.isclose(got.loc["upper limit of agreement", "estimate"], -36 / 17 + 1.96 * spread, rtol=1e-12)


def test_the_concordance_correlation_by_its_definition():
    x, y = np.array(LARGE, float), np.array(MINI, float)
    wanted = 1 - np.mean((x - y) ** 2) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    got = found(LARGE, MINI).loc["concordance correlation"]
    assert np.isclose(got["estimate"], wanted, rtol=1e-12)
    assert round(got["estimate"], 3) == 0.943  # as published
    assert got["conf_low"] < wanted < got["conf_high"] < 1


def test_limits_cover_as_often_as_they_say():
    rng, true, inside = np.random.default_rng(3), 2 * 0.8 / (2 + 0.5**2), 0
    for _ in range(300):
        x = rng.multivariate_normal([0, 0.5], [[1, 0.8], [0.8, 1]], size=90)
        got = found(x[:, 0], x[:, 1]).loc["concordance correlation"]
        inside += got["conf_low"] < true < got["conf_high"]
    assert 0.91 < inside / 300 < 0.98


@pytest.mark.parametrize("formula", ["y ~ x1 + x2", "y ~ stage"])
def test_one_column_on_each_side(formula):
    with pytest.raises(FormulaError, match="one numeric column"):
        Agreement(formula, Ground(SCHEMA)).check()


def test_measurements_that_do_not_vary_or_are_the_same():
    with pytest.raises(ModelError, match="check the columns"):
        found([5] * 17, MINI)
    with pytest.raises(ModelError, match="check the columns"):
        found(MINI, MINI)
