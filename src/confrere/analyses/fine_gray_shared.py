"""Fine and Gray's regression with one baseline for all hospitals, on the public grid of times.

The rounds of `cox_shared`, with competing events as a third kind of exit. One ask of counts per cell comes first:
from them everybody computes the curve G of censoring over the network, which weighs those who remain (`fine_gray`).
At cell t, with G before its own censorings,

    S0(t) = sum of r over those who leave at t or later + G(t) sum over cells s < t of R_s / G(s)

where R_s is the sum of r over competing events in cell s: sums per cell are enough. With exact times equals R's
finegray and coxph on the pooled rows; on coarser cells, the same on times rounded up to the cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from confrere.analyses.cox import Beta
from confrere.analyses.cox_shared import Began, Firsts, Known, Risks, SharedBaseline, later
from confrere.analyses.fine_gray import Remaining, Subdistribution
from confrere.analyses.scaling import Standard
from confrere.rounds import Array, Bools, Design, Flow, People, Sum, Verdict, ask, local, register


class Exits(NamedTuple):
    """People per cell who leave without an event of the cause."""

    censored: Sum  # (strata, cells)
    competing: Sum  # (strata, cells)


@register("_fine_gray_shared")
@dataclass(frozen=True)
class SharedFineGray(SharedBaseline):
    """The steps of Fine and Gray's model with a shared baseline; `cox` is a `FineGray`."""

    kinds: ClassVar[tuple[str, ...]] = ("dead", "alive", "competing")

    def _who(self, made: Design) -> tuple[list[Bools], list[Array]]:
        """Who is of each kind, and when: leaves with the event, censored, by a competing event."""
        event, competing, time = made.flags["event"], made.flags["competing"], made.data.time
        return [event, ~event & ~competing, competing], [time, time, time]

    @local(on="grid")
    def exits(self, people: People) -> Exits:
        """Counts of censorings and competing events."""
        return Exits(people.cells("alive"), people.cells("competing"))

    def _placed(self, people: People, *more: Array) -> Subdistribution:
        """Risk sets on the agreed cells; `more` is the curve of censoring (S T,)."""
        (now,), width = more, self._width(people)
        dead, alive, competing = (self._place(people, kind) for kind in self.kinds)
        last = np.maximum(np.maximum(dead, alive), competing)
        first = np.maximum(last, 0) // max(width, 1) * width
        since = np.where(competing >= 0, 1 / np.append(now, 1.0)[competing], 0.0)
        stop = np.where(competing >= 0, first + width, last + 1)
        starts, ones = np.arange(self.strata) * width, np.zeros(self.strata * width)
        return Subdistribution(
            first, last, dead, starts, ones, ones, ones,
            remaining=Remaining(last + 1, stop, since, now),
        )  # fmt: skip

    # sums only

    def _concordance(self, beta: Beta, z: Standard, edges: tuple[float, ...], given: Verdict) -> Flow[dict[str, Any]]:
        """None: Harrell's C takes who had a competing event for censored."""
        yield from ()
        return {}

    def _known(self, start: Began) -> Flow[Known]:
        """Events per cell, and the curve of censoring."""
        got = yield from ask(self.exits)
        now = before(got.censored.value, start.events.value + got.competing.value)
        return Known(start.events.value, self._weight(start), {}, (now.ravel(),))

    def _at_risk(self, got: Risks | Firsts, known: Known) -> Array:
        """At risk per cell, with those who remain after a competing event, (strata, cells, ...)."""
        gone = got.other.value
        now = known.more[0].reshape(*gone.shape[:2], *[1] * (gone.ndim - 2))
        earlier = np.cumsum(gone / now, axis=1) - gone / now
        return np.asarray(later(got.dead.value + got.alive.value + gone) + now * earlier)


def before(censored: Array, events: Array) -> Array:
    """The curve of censoring just before the censorings of each cell, from counts per cell: (strata, cells).

    Events of a cell leave before its censorings. Beyond the last exit the curve has no meaning and stays.
    """
    at_risk = later(censored + events) - events
    factor = 1 - np.divide(censored, at_risk, out=np.zeros_like(censored), where=censored > 0)
    alive = np.where(later(censored + events) > 0, 1.0, 0.0)
    curve = np.cumprod(np.where(alive > 0, factor, 1.0), axis=1)
    shifted = np.concatenate([np.ones((len(curve), 1)), curve[:, :-1]], axis=1)
    return np.asarray(np.where(shifted > 0, shifted, 1.0))
