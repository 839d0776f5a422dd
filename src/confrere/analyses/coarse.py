"""What a coarse grid of times hides of a curve: between the edges of a cell, times are not known.

A curve on cells is that of evenly spread exits. It is right at the edges of cells of events where those of censorings
are edges too; elsewhere it can be off by a part of its fall over the cell. Where that part may matter, the reader is
told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from confrere.analyses.curves import Cellwise
from confrere.analyses.finding import Caution, Record
from confrere.rounds import Array, Ints

FEWEST = 10  # cells with events
FALL = 0.05  # of the curve over a cell
WIDE = 0.1  # a cell, of the follow-up, or of a median
GONE = 0.1  # of those at risk, censored in a cell
SHOWN = 6  # places that are named


class Between(NamedTuple):
    """The edges of the cell in which a time lies, in units of time; both the time itself if it is an edge.

    `high` is None beyond the last edge.
    """

    low: float
    high: float | None

    @property
    def fields(self) -> Record:
        """As columns of a record."""
        return {"cell_low": self.low, "cell_high": self.high}


class Seen(NamedTuple):
    """A curve and what is read off it.

    `ends` are the cells at whose right edge a cell of its events ends, `events` (m,) its events in each cell, `value`
    is the curve at a time, `times` the times read off by what they are: "median", or the time in words.
    """

    name: str
    cells: Cellwise
    ends: Ints
    events: Array
    value: Callable[[float], float]
    times: Mapping[str, float]

    @property
    def having(self) -> int:
        """How many cells of events have any."""
        return int((np.diff(np.cumsum(self.events)[self.ends], prepend=0.0) > 1e-9).sum())


def between(cells: Cellwise, ends: Ints, time: float) -> Between:
    """The cell around a time among those that end at the right edges of the cells `ends`."""
    edges = np.append(0.0, cells.right[ends])
    if cells.exact or np.isclose(edges, time).any():
        return Between(time, time)
    j = int(np.searchsorted(edges, time))
    return Between(float(edges[j - 1]), float(edges[j]) if j < edges.size else None)


def followed(cells: Cellwise) -> float:
    """The right edge of the last cell in which anybody is at risk; 0 where nobody is."""
    inside = np.flatnonzero(cells.at_risk > 1e-6)
    return float(cells.right[inside[-1]]) if inside.size else 0.0


def last_supported(cells: Cellwise) -> float:
    """Where a curve ends: the right edge of its last cell of events that has any; 0 where there is none.

    Beyond it people are censored at times that are not known. With exact times: where the last one leaves.
    """
    if cells.exact:
        return followed(cells)
    ends = np.concatenate([[0], np.cumsum(cells.all_events)[cells.ends]])
    happened = np.flatnonzero(np.diff(ends) > 1e-9)
    return float(cells.right[cells.ends[happened[-1]]]) if happened.size else 0.0


def coarse(curves: Sequence[Seen], unit: str) -> tuple[Caution, ...]:
    """One caution for all curves: those of few cells, and times read off within a cell that matters."""
    few = [f"{c.name} ({c.having})" for c in curves if c.having < FEWEST]
    said = [f"Curves of few cells with events: {_listed(few)}." if few else ""]
    places = [text for c in curves for text in _places(c, unit)]
    said += [f"{_listed(places)}." if places else ""]
    if not any(said):
        return ()
    return (Caution("coarse-curve", " ".join([*filter(None, said), "Within a cell times are not known."])),)


def _places(c: Seen, unit: str) -> list[str]:
    """Times read off within a cell of events, or else of censorings, that matters."""
    found, around = [], dict[tuple[float, float], list[str]]()
    for what, time in c.times.items():
        low, high = _edges(c, c.ends, time)
        wide = high - low > WIDE * (time if what == "median" else followed(c.cells))
        if low < time and (wide or abs(c.value(high) - c.value(low)) > FALL):
            found.append(f"the {what} of {c.name} lies in a cell from {low:g} to {high:g} {unit}")
            continue
        low, high = _edges(c, c.cells.lost, time)
        inside = (c.cells.left >= low - 1e-9) & (c.cells.right <= high + 1e-9)
        if low < time and inside.any() and c.cells.censored[inside].sum() > GONE * c.cells.at_risk[inside][0]:
            around.setdefault((low, high), []).append(what)
    return found + [
        f"around the {' and '.join(whats)}, censorings of {c.name} lie in a cell from {low:g} to {high:g} {unit}"
        for (low, high), whats in around.items()
    ]


def _edges(c: Seen, ends: Ints, time: float) -> tuple[float, float]:
    """The cell around a time, up to the end of follow-up; the time itself where it is an edge."""
    cell, last = between(c.cells, ends, time), max(time, followed(c.cells))
    return cell.low, last if cell.high is None else min(cell.high, last)


def _listed(texts: Iterable[str]) -> str:
    whole = list(texts)
    more = f"; and {len(whole) - SHOWN} more" if len(whole) > SHOWN else ""
    joined = "; ".join(whole[:SHOWN]) + more
    return joined[:1].upper() + joined[1:] if joined.startswith(("the ", "around ")) else joined
