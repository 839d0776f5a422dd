"""An arm that one person carries by a weight: its mean would be that person's outcome (`effects/arms.py`).

Of one treated person a confounder is as of the untreated alone: the weight is that of hundreds. Over both arms together
the effective number is that of many people; of the arm it is 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.clone_censor_weight import CloneCensorWeight
from confrere.analyses.effects.cost import Cost
from confrere.analyses.effects.difference_in_differences import DifferenceInDifferences
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.responders import Responders
from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.hospital.gate import Violation
from confrere.study.ground import Ground
from confrere.testing import GATE, LOOSE, fit

SURV = "Surv(time, event)"
KNOWN = Ground(person="id")
STUDY = Effect("a", "y", "x", balance=False)


def carried(ill: bool, at: float = -5.0, people: int = 1500) -> list[pd.DataFrame]:
    """Three hospitals; `ill` says what the heavy person's outcome is."""
    rng = np.random.default_rng(3)
    a = (rng.random(people) < 0.4).astype(float)
    heavy = np.flatnonzero(a)[0]
    x = rng.normal(size=people) + np.where(a > 0, 2.0, 0.0)
    y = (rng.random(people) < 0.3).astype(float)
    x[heavy], y[heavy] = at, float(ill)
    time, end = rng.exponential(900, people), rng.uniform(200, 2000, people)
    frame = pd.DataFrame(
        {"x": x, "a": a, "y": y, "time": np.ceil(np.minimum(time, end)), "event": (time <= end).astype(float),
         "cost": rng.gamma(2, 500, people), "id": np.arange(people),
         "start": np.where(a > 0, np.where(np.arange(people) % 2 == heavy % 2, 30.0, 150.0), np.nan)}
    )  # fmt: skip
    return [frame.iloc[i::3] for i in range(3)]


def test_the_mean_of_the_arm_is_the_outcome_of_one() -> None:
    """What a gate that does not look at arms would tell."""
    told = [fit(STUDY, carried(ill), LOOSE).tables["arms"][1] for ill in (False, True)]
    assert told[0]["estimate"] < 0.05
    assert told[1]["estimate"] > 0.95
    assert told[0]["effective_n"] < 1.1


STUDIES: dict[str, Any] = {
    "mean": STUDY,
    "aipw": replace(STUDY, estimator="aipw"),
    "folds": replace(STUDY, estimator="aipw", folds=3, ground=KNOWN),
    "ridge": replace(STUDY, propensity=0.5),
    "stabilised": replace(STUDY, stabilised=True),
    "hazards": replace(STUDY, outcome=SURV),
    "curves": replace(STUDY, outcome=SURV, times=(365.0,), tau=730.0),
    "stay": replace(STUDY, outcome=SURV, times=(365.0,), tau=730.0, censoring="1"),
    "augmented": replace(STUDY, outcome=SURV, times=(365.0,), estimator="aipw"),
    "trials": SequentialTrials(SURV, "start", (90.0, 180.0), "x", times=(365.0,)),
    "kept": SequentialTrials(SURV, "start", (90.0, 500.0), "x", times=(365.0,), contrast="per protocol"),
    "cost": Cost("a", SURV, ("cost",), (365.0,), (2e4,), confounders="x"),
}


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_an_arm_that_one_person_carries_is_refused(study: Effect | Cost | SequentialTrials) -> None:
    with pytest.raises(Violation, match=r"the weights of the treated \(set truncate\)' has an effective number"):
        fit(study, carried(True), GATE)
    assert fit(replace(study, truncate=(0.1, 0.9)), carried(True), GATE).tables["effects"]


def test_the_propensity_of_each_fold_is_looked_at() -> None:
    """The propensity of everybody is drawn towards the heavy person; that of the other folds is not."""
    people, study = carried(True, -2.34, 3000), STUDIES["folds"]
    assert fit(replace(study, folds=1), people, GATE).tables["effects"]
    with pytest.raises(Violation, match="the weights of the treated"):
        fit(study, people, GATE)


def test_scores_of_responders_are_weighed_within_bounds() -> None:
    study = Responders("a", "y", "x", "x", ground=KNOWN)
    assert fit(study, carried(True), GATE).n == 1500
    with pytest.raises(Violation, match="the weights of the treated"):
        fit(replace(study, truncate=(1e-4, 1 - 1e-4)), carried(True), GATE)


def test_a_strategy_that_one_person_carries_is_refused() -> None:
    study = CloneCensorWeight(SURV, "start", 90.0, "x", (365.0,))
    worth = fit(study, carried(True), LOOSE).tables["arms"][1]["effective_n"]
    assert worth < 6
    with pytest.raises(Violation, match=r"the weights of within the grace period .* has an effective number"):
        fit(study, carried(True), GATE)
    assert fit(study, carried(True, 1.0), GATE).tables["effects"]


@pytest.mark.parametrize("estimator", ["iptw", "aipw"])
def test_controls_that_one_of_them_carries_are_refused(estimator: Any) -> None:
    """The heavy person is a control who is as those whom a treatment reaches; the regression of changes has no odds."""
    rng = np.random.default_rng(1)
    y = {"y1": rng.normal(size=500), "y2": rng.normal(size=500)}
    people, like = (
        [frame.assign(began=np.where(frame["a"] > 0, np.nan, 2.0), **y) for frame in carried(True, at)]
        for at in (-5.0, 1.0)
    )
    study = DifferenceInDifferences(("y1", "y2"), (1.0, 2.0), "began", "x", estimator=estimator)
    assert fit(study, people, LOOSE).tables["groups"][0]["effective_controls"] < 1.1
    with pytest.raises(Violation, match=r"the controls of those treated from 2 on .* has an effective number"):
        fit(study, people, GATE)
    assert fit(replace(study, estimator="gformula"), people, GATE).tables["effects"]
    assert fit(study, like, GATE).tables["effects"]
