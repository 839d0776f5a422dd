"""A funnel: people go through steps one after the other, and each is in the cell of the step at which they stop.

The cells are an ordered partition, and the gate merges neighbours until each holds nobody or at least k people. So
successive counts differ by 0 or at least k, and a step that loses fewer than k people is told together with the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from confrere.analyses.finding import Record
from confrere.rounds import Array, Ints


def funnel(steps: Sequence[tuple[str, str]], grid: Ints, counts: Array) -> list[Record]:
    """How many people are left at each step: records of `step`, `criterion`, `n`, and `suppressed` where not told.

    steps   (step, criterion), the first one everybody's
    grid    (steps,) the merged cell of those who stop before the next step
    counts  people per merged cell
    """
    records: list[Record] = []
    for at, (step, text) in enumerate(steps):
        cell = int(grid[at])
        # within a merged cell the count is not told, unless nobody is in it
        told = at == 0 or cell != grid[at - 1] or counts[cell] == 0
        record: Record = {"step": step, "criterion": text, "n": round(counts[cell:].sum()) if told else None}
        records.append(record if told else record | {"suppressed": True})
    return records
