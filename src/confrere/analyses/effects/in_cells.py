"""What methods that follow people through cells of time of their own say of them to the study that they are in."""

from __future__ import annotations

from confrere.analyses.causes import each_cause
from confrere.rounds import name_of
from confrere.study.ground import Ground, model_of

COLUMNS = 4  # a time, an event, the start of a treatment, a confounder


class InCells:
    """A method with an `outcome` Surv() and `censoring`, the right side of a model of being lost.

    Two of them that are of the same time have the same cells, or do not stand in one study: events are told by cell and
    arm, and of the people between two edges, or whom one follows and the other does not, a few could be told.
    """

    outcome: str
    censoring: str
    ground: Ground

    @property
    def reads(self) -> tuple[str, ...]:
        """All columns."""
        raise NotImplementedError

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes of the event; one without a name where none compete."""
        return each_cause(self.outcome, self.ground)

    @property
    def following(self) -> tuple[object, ...]:
        """The settings by which people are counted in a cell of time, in an arm."""
        raise NotImplementedError

    @property
    def cells_of_time(self) -> tuple[object, ...]:
        """The columns of the time that it is about, however it is spelled; and what else its cells of time hang on: the
        method, the spelling, losses, causes, how people are followed."""
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        time = None if outcome is None else outcome.time
        columns, text = (frozenset(time.sources()), time.text) if time is not None else (frozenset[str](), "")
        return columns, name_of(self), text, bool(self.censoring), len(self.causes) > 1, *self.following

    def cells_worth(self, budget: int) -> int:
        """The part of a budget of numbers that cells of time are made by: that of so many people and `COLUMNS` columns,
        whatever the confounders, so that two analyses with other confounders have the same cells."""
        return budget // len(self.reads) * COLUMNS
