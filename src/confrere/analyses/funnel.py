"""A funnel: people go through steps one after the other, and each is in the cell of the step at which they stop.

The cells are an ordered partition, and the gate merges neighbours until each holds nobody or at least k people. So
successive counts differ by 0 or at least k, and a step that loses fewer than k people is told together with the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from confrere.analyses.finding import Record
from confrere.rounds import Array, Bools, Cells, Design, Ints
from confrere.study.ground import complete, left_out

NOBODY: Mapping[str, Bools] = MappingProxyType({})

Columns = tuple[str, ...]


def screened(table: Any, needed: Columns, reads: Columns, place: Cells, known: Mapping[str, Bools] = NOBODY) -> Design:
    """The design of a funnel, on the people who miss none of the columns `needed`; it reads the columns `reads`.

    `place` has everybody's cell (N,). `known` says of each criterion who has an answer (N,): the gate tells whether at
    least k people do.
    """
    rows = complete(table.frame, needed)
    cells = {"funnel": replace(place, index=place.index[rows])}
    cells |= {f"known {n}": Cells(np.where(who[rows], 0, -1), (1, 1), rule="show") for n, who in known.items()}
    left = left_out(table, needed, rows)
    return Design(n=int(rows.sum()), rows=rows, cells=cells, columns=reads, left_out=left)


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
