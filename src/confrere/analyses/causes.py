"""Competing causes: the levels of an event column, of which the first is censoring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Design
from confrere.study.ground import Ground, model_of
from confrere.study.rows import nearest


def causes_of(formula: str, ground: Ground) -> tuple[str, ...]:
    """The causes of a formula's outcome, censoring not among them.

    Raises FormulaError where the outcome is no Surv(), StudyError where its event has no levels or one cause only.
    """
    outcome = model_of(formula, ground).outcome
    if outcome is None or outcome.kind != "surv" or outcome.event is None:
        raise FormulaError(f"{formula!r}: the outcome is Surv(time, event) or Surv(entry, time, event)")
    event, levels = outcome.event.text, outcome.causes
    if not levels:
        raise StudyError(
            f"{formula!r}: competing risks need the causes by name, and {event!r} declares no levels. Write under "
            f"[data.columns.{outcome.event.sources()[0]}] levels = [...], censoring first; codes are levels too: "
            f'["0", "1", "2"]'
        )
    if len(levels) < 3:
        raise StudyError(
            f"{formula!r}: {event!r} has one cause only, {levels[1]!r} (its first level {levels[0]!r} is censoring). "
            f"With one cause use method kaplan_meier or cox, or declare the causes that compete"
        )
    return levels[1:]


def each_cause(outcome: str, ground: Ground) -> tuple[str, ...]:
    """The causes of an outcome, censoring not among them; one without a name where none compete."""
    found = model_of(f"{outcome} ~ 1", ground).outcome
    return found.causes[1:] if found is not None and len(found.causes) > 2 else ("",)


def cause_number(formula: str, ground: Ground, cause: str) -> int:
    """Which number the event column has for a cause: 1 is the first level after censoring."""
    causes = causes_of(formula, ground)
    if not cause:
        raise StudyError(f"no cause is named; set cause to one of {', '.join(map(repr, causes))}")
    if cause in causes:
        return causes.index(cause) + 1
    outcome = model_of(formula, ground).outcome
    if outcome is not None and cause == outcome.causes[0]:
        raise StudyError(f"cause is {cause!r}, which is censoring (the first level); it must be one of {list(causes)}")
    near = nearest(cause, causes)
    hint = near if near.startswith("did you") else f"causes are {', '.join(map(repr, causes))}"
    raise StudyError(f"cause is {cause!r}, which is no level of the event; {hint}")


def one_cause(made: Design, number: int) -> Design:
    """A design in which only events of this cause count; the other causes are censored."""
    event = np.asarray(made.data.event == number, dtype=float)
    return replace(made, data=made.data._replace(event=event), flags={**made.flags, "event": event > 0})


def no_events(cause: str = "") -> ModelError:
    """The error of a regression without events."""
    if cause:
        return ModelError(
            f"no events of cause {cause!r} in any hospital: check the event column, or choose another cause",
            about="no-events",
        )
    return ModelError(
        "no events: everybody is censored. Check the event column, or follow people for longer", about="no-events"
    )
