"""What methods that follow people through cells of time of their own say of them to the study that they are in."""

from __future__ import annotations

from confrere.analyses.causes import each_cause
from confrere.rounds import name_of
from confrere.study.ground import Ground, model_of


class InCells:
    """A method with an `outcome` Surv() and `censoring`, the right side of a model of being lost."""

    outcome: str
    censoring: str
    ground: Ground

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes of the event; one without a name where none compete."""
        return each_cause(self.outcome, self.ground)

    @property
    def cells_of_time(self) -> tuple[frozenset[str], str, str, bool, bool]:
        """The columns of the time that it is about, however it is spelled; and what else its cells of time hang on: the
        method, the spelling, losses, causes."""
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        time = None if outcome is None else outcome.time
        columns, text = (frozenset(time.sources()), time.text) if time is not None else (frozenset[str](), "")
        return columns, name_of(self), text, bool(self.censoring), len(self.causes) > 1
