"""Lines of treatment: what somebody was treated with first, second, third, from stays in cohorts of treatments.

As OHDSI's TreatmentPatterns (Markus AF, Verhamme KMC, Kors JA, Rijnbeek PR. Comput Methods Programs Biomed
2022;225:107081), in these steps:

1. Stays in the same treatment with at most `gap` days between them are one.
2. Where a treatment begins before another one ends, and they overlap for fewer than `overlap_days` days, the earlier
   one ends there: a switch. If they overlap for longer, or one lies within the other, they are a combination.
3. Time falls into stretches with the same treatments. Stretches after one another with the same are one line, whatever
   lies between them; a line that was there before does not count again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from confrere.rounds import Array, Bools, Ints

NONE = -1  # no such line

Era = tuple[float, float, int]  # first day, day after the last, treatment


class Stays(NamedTuple):
    """Stays of people (rows of a table) in one cohort: row, first and last day, (stays,) each."""

    row: Ints
    start: Array
    end: Array

    def at(self, keep: Bools) -> Stays:
        """The stays marked (stays,)."""
        return Stays(self.row[keep], self.start[keep], self.end[keep])

    def of(self, rows: Bools) -> Stays:
        """The stays of the people marked (N,)."""
        return self.at(rows[self.row])

    def clipped(self, low: Array, high: Array) -> Stays:
        """Their parts from day `low` to day `high` of each person (N,)."""
        start, end = np.maximum(self.start, low[self.row]), np.minimum(self.end, high[self.row])
        return Stays(self.row, start, end).at(start <= end)

    def joined(self, gap: float = 0.0) -> Stays:
        """In order, those of a person with at most `gap` days between them made one."""
        if not self.row.size:
            return self
        order = np.lexsort((self.start, self.row))
        row, start, end = self.row[order], self.start[order], self.end[order]
        # the last day so far of each person: days are put so far apart by person that one running maximum does
        span = float(max(end.max() - start.min(), 0.0)) + gap + 2.0
        apart = np.cumsum(np.r_[0, row[1:] != row[:-1]]) * 2 * span
        reach = np.maximum.accumulate(end - start.min() + apart)
        new = np.r_[True, (start - start.min() + apart)[1:] > reach[:-1] + gap + 1]
        first = np.flatnonzero(new)
        return Stays(row[first], start[first], np.maximum.reduceat(end, first))


def labels(treatments: Sequence[str]) -> tuple[str, ...]:
    """All lines that may be: each treatment, every two together, and three or more together."""
    pairs = [f"{a} + {b}" for a, b in itertools.combinations(treatments, 2)]
    return (*treatments, *pairs, *(["three or more together"] if len(treatments) > 2 else []))


def lines(stays: Sequence[Stays], people: int, most: int, overlap_days: int) -> Ints:
    """(people, most) the lines of everybody as places in `labels`, `NONE` after the last. `stays` by treatment,
    joined."""
    found = np.full((people, most), NONE, dtype=np.int64)
    places = _places(len(stays))
    row = np.concatenate([s.row for s in stays])
    start, end = (np.concatenate([getattr(s, f) for s in stays]) for f in ("start", "end"))
    what = np.repeat(np.arange(len(stays)), [s.row.size for s in stays])
    order = np.lexsort((what, end, start, row))
    row, what, start, end = row[order], what[order], start[order], end[order] + 1
    edges = [0, *(np.flatnonzero(row[1:] != row[:-1]) + 1).tolist(), row.size]
    for low, high in itertools.pairwise(edges):
        if high <= low + 1:  # most people; or nobody
            found[row[low:high], 0] = what[low:high]
            continue
        eras = list(zip(start[low:high].tolist(), end[low:high].tolist(), what[low:high].tolist(), strict=True))
        told = list(itertools.islice(_sequence(eras, places, overlap_days), most))
        found[row[low], : len(told)] = told
    return found


def _places(many: int) -> dict[frozenset[int], int]:
    """Place in `labels` of each set of one or two treatments."""
    sets = [frozenset([i]) for i in range(many)]
    sets += [frozenset(pair) for pair in itertools.combinations(range(many), 2)]
    return {one: place for place, one in enumerate(sets)}


def _sequence(eras: list[Era], places: dict[frozenset[int], int], overlap_days: int) -> Iterator[int]:
    """The lines of one person, each once."""
    eras = _switched(eras, overlap_days)
    edges = sorted({day for start, end, _ in eras for day in (start, end)})
    seen = set[int]()
    for low, high in itertools.pairwise(edges):
        held = frozenset(what for start, end, what in eras if start <= low and end >= high)
        place = places.get(held, len(places)) if held else NONE
        if held and place not in seen:
            seen.add(place)
            yield place


def _switched(eras: list[Era], overlap_days: int) -> list[Era]:
    """The eras (by start), of which those end early that another one replaces."""
    made: list[Era] = []
    for i, (start, end, what) in enumerate(eras):
        for other_start, other_end, other in eras[i + 1 :]:
            replaced = other != what and start < other_start < end < other_end
            if replaced and end - other_start < overlap_days:
                end = other_start
        made.append((start, end, what))
    return made
