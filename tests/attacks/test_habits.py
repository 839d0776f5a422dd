"""A hospital without a comparison, left out of one analysis and not of another: their difference is that hospital's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.effects.arms import Arms
from confrere.analyses.effects.controls import Control
from confrere.analyses.effects.effect import Effect
from confrere.errors import StudyError
from confrere.hospital.gate import Policy
from confrere.rounds import ask, drive, supported
from confrere.study.build import analyses
from confrere.study.file import parse
from federate import in_the_clear

NAMES = ("angers", "brest", "caen", "dijon")
SIZE = 300
OWN = 'method = "effect"\ntreatment = "treated"\noutcome = "ill"\nconfounders = "x"\nhospital_effects = true\n'
POOLED = OWN.replace("hospital_effects = true\n", "")
TABLE = 'method = "describe"\nvariables = ["x", "ill", "treated"]\n'
REGRESSION = 'method = "logistic"\nformula = "ill ~ x + treated"\n'
MARKS = tuple(f"mark{j}" for j in range(5))


def people() -> dict[str, pd.DataFrame]:
    """Four hospitals; in the last everybody is treated, by another treatment some."""
    rng, made = np.random.default_rng(2), {}
    for name in NAMES:
        frame = pd.DataFrame({"x": rng.normal(size=SIZE), "treated": (rng.random(SIZE) < 0.5).astype(float)})
        frame["other"] = (rng.random(SIZE) < 0.5).astype(float)
        for mark in ("ill", *MARKS):
            frame[mark] = (rng.random(SIZE) < 0.4).astype(float)
        made[name] = frame
    made[NAMES[-1]]["treated"] = 1.0
    return made


def study(*blocks: str) -> str:
    """A study of these analyses."""
    head = '[study]\nid = "s"\npurpose = "research"\n[data]\ntable = "t"\n'
    return head + "".join(f'[[analysis]]\nname = "a{i}"\n{block}' for i, block in enumerate(blocks))


def outcomes(effect: Effect) -> Any:
    """The sums of outcomes by arm that leave for an effect."""
    frames = list(people().values())
    return drive(supported(ask(Arms(effect, effect.among).outcomes)), in_the_clear(frames, Policy()))


def test_control_the_difference_is_one_hospitals() -> None:
    """How many are treated, and how many of them ill: of the hospital where everybody is treated."""
    everybody, some = (outcomes(Effect("treated", "ill", "x", hospital_effects=own)) for own in (False, True))
    assert everybody.treated.value - some.treated.value == pytest.approx(SIZE)
    ill = np.asarray(everybody.outcome.value) - np.asarray(some.outcome.value)
    np.testing.assert_allclose(ill, people()[NAMES[-1]]["ill"].sum())  # also squared, and of the treated


@pytest.mark.parametrize("beside", [TABLE, POOLED, REGRESSION, OWN.replace("treated", "other")])
def test_an_effect_with_own_intercepts_stands_alone(beside: str) -> None:
    for blocks in ((OWN, beside), (beside, OWN)):
        with pytest.raises(StudyError, match=r"hospital_effects.*a study of each"):
            analyses(parse(study(*blocks)))


def test_control_one_intercept_for_all_has_others_beside_it() -> None:
    assert len(analyses(parse(study(POOLED, TABLE, REGRESSION)))) == 3


def test_with_hospitals_of_its_own_it_may_stand_beside_others() -> None:
    """Sums of other hospitals say nothing of the one that is left out."""
    groups = [f'group = ["{a}1", "{a}2", "{a}3"]\n' for a in "pq"]
    assert len(analyses(parse(study(OWN + groups[0], TABLE + groups[1])))) == 2


def test_a_control_of_another_treatment_would_leave_out_other_hospitals() -> None:
    """Effect and controls are one analysis, each with hospitals of its own: their difference is one of these."""
    marks = tuple(Control(outcome=mark) for mark in MARKS)
    for own in (True, False):
        effect = Effect("treated", "ill", "x", controls=(*marks, Control(treatment="other")), hospital_effects=own)
        if own:
            with pytest.raises(StudyError, match=r"hospital_effects.*other"):
                effect.check()
        else:
            effect.check()


def test_controls_that_are_outcomes_leave_out_the_same_hospitals() -> None:
    marks = tuple(Control(outcome=mark) for mark in MARKS)
    effects = [Effect("treated", outcome, "x", hospital_effects=True) for outcome in ("ill", *MARKS)]
    assert len({float(outcomes(effect).treated.value) for effect in effects}) == 1
    results = cf.local(people()).run(replace(effects[0], controls=marks))
    assert results.n == 3 * SIZE
