"""The outcome of a penalised regression: one of several causes, and none of its own terms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from confrere.analyses.learning.penalised import Penalised
from confrere.errors import FormulaError, StudyError
from confrere.study.ground import Ground
from confrere.testing import SCHEMA
from confrere.testing.people import patients
from federate import LOOSE, fit

GROUND = Ground(SCHEMA)


def test_one_of_several_causes_is_the_event() -> None:
    """The same as of a column of 0 and 1 of that cause; without a cause it is not guessed."""
    frame = patients(900, 7)
    frame["relapsed"] = (frame["fate"] == "relapse").astype(float)
    frames = [frame[i::3] for i in range(3)]
    settings = {"family": "cox", "penalty": (0.02,), "ground": GROUND}
    of_cause = Penalised("Surv(time, fate) ~ x1 + x2 + treated", cause="relapse", **settings)
    of_one = replace(of_cause, formula="Surv(time, relapsed) ~ x1 + x2 + treated", cause="")
    one, other = (fit(a, frames, LOOSE) for a in (of_cause, of_one))
    assert one.arrays["estimate"] == pytest.approx(other.arrays["estimate"], abs=1e-12)
    assert one.events == other.events == int(frame["relapsed"].sum())
    assert any("'relapse' are censored" in note for note in one.notes)
    with pytest.raises(StudyError, match="no cause is named; set cause to one of 'relapse', 'death'"):
        replace(of_cause, cause="").check()
    with pytest.raises(StudyError, match="no level of the event"):
        replace(of_cause, cause="cured").check()
    with pytest.raises(FormulaError, match="the outcome is Surv"):
        Penalised("y ~ x1", cause="relapse", ground=GROUND, penalty=(1.0,)).check()


@pytest.mark.parametrize(("formula", "family"), [
    ("y ~ y + x1", "gaussian"), ("y ~ x1 + I(2 * y)", "gaussian"), ("ill ~ ill:x1", "binomial"),
    ("Surv(time, event) ~ x1 + log(time)", "cox"), ("Surv(time, event) ~ event", "cox"),
])  # fmt: skip
def test_the_outcome_is_no_term(formula: str, family: str) -> None:
    with pytest.raises(FormulaError, match="is the outcome, and among the terms; leave it out"):
        Penalised(formula, family, penalty=(0.1,), ground=GROUND).check()
