"""What was read from a hospital's records: the columns a study names, and what happened to the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from confrere.data.bags import Bags


@dataclass(frozen=True)
class Table:
    """The people of one hospital. Stays in the hospital.

    frame     numeric columns are float64 with NaN for missing; columns with levels are categorical with
              exactly the declared levels, in their order; the person column, if any, is text
    n_read    rows in the source
    left_out  {reason: rows}; n_read - sum(left_out) == len(frame)
    clamped   {column: values moved to the nearer end of its plausible range}
    source    what was read, for the hospital's own messages
    events    {column of a cohort: one row per stay in it, with `row` (place in the frame), `start`, `end` in days since
              1970-01-01}
    bags      {name: what each person of the frame has of images}, those that the study names
    reasons   public: why the column `study.ground.LEFT` leaves people out, by its numbers from 1
    """

    frame: pd.DataFrame = field(repr=False)
    n_read: int
    left_out: Mapping[str, int]
    clamped: Mapping[str, int]
    source: str
    events: Mapping[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    reasons: tuple[str, ...] = ()
    bags: Mapping[str, Bags] = field(default_factory=dict, repr=False)

    def nobody(self) -> Table:
        """The same table without people: what a hospital too small for a study takes part with."""
        zero = dict.fromkeys(self.left_out, 0)
        return replace(
            self, frame=self.frame.iloc[:0], n_read=0, left_out=zero, clamped=dict.fromkeys(self.clamped, 0),
            events={name: rows.iloc[:0] for name, rows in self.events.items()},
            bags={name: bags.only(()) for name, bags in self.bags.items()},
        )  # fmt: skip
