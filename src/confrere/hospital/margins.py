"""Rules of the gate for sparse tables and for several ways to divide the same people (`rounds.Cells`).

`hide`. A cell of few people is left out, as by `suppress`; and a cell of nobody looks alike. Where it did not, 11
people in 11 hidden cells would be one in each.

`near`. People divided by age and again by sex: where those aged 60 to 69 and the women are all but the same people, the
difference of the two counts tells about the few who are not. Cells are (place by one, place by the other), the last of
each being nowhere, and the verdict says which two places 1 to k-1 people tell apart; no count is told.

`known`. The combinations of several cohorts, of which the sizes are told too, here or elsewhere: a cell of few people
is hidden, and as many others as it takes for no sum or difference of what is told to be about 1 to k-1 people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from confrere.hospital.atoms import on_few
from confrere.rounds import Array, Bools, Ints

if TYPE_CHECKING:
    from confrere.hospital.gate import Policy


def hide(name: str, table: Array, policy: Policy) -> Ints:
    """(groups, cells): -1 for few and for nobody and, while a group's few sum to under k, for its next smallest."""
    hidden = np.asarray(policy.few(table))
    for row, out in zip(table, hidden, strict=True):
        while policy.few(row[out].sum()) and (row[~out] > 0).any():
            out[int(np.argmin(np.where(out | (row == 0), np.inf, row)))] = True
    return np.where(hidden | (table == 0), -1, np.arange(table.shape[1]))


def near(name: str, table: Array, policy: Policy) -> Ints:
    """(places by one, places by the other): 1 where 1 to k-1 people are in one of the two places alone, else 0."""
    one, other = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    apart = np.asarray(policy.few(one + other - 2 * table))
    apart[-1], apart[:, -1] = False, False  # nowhere is no place that is told of
    return apart.astype(np.int64)


def known(sets: Sequence[Bools], table: Array, policy: Policy) -> Ints:
    """(1, cells + sets): the place of a cell or set that is told, -1 for others and for cells of nobody.

    A set goes in if no combination with those before rests on 1 to k-1 people; then the cells, the largest first.
    """
    counts = table[0]
    told: list[Bools] = []
    out = np.full(counts.size + len(sets), -1, dtype=np.int64)
    cells = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i] > 0]
    candidates = [(counts.size + j, one) for j, one in enumerate(sets)]
    candidates += [(i, np.arange(counts.size) == i) for i in cells]
    for place, one in candidates:
        if not on_few(np.array([*told, one]), counts, policy.least):
            told.append(one)
            out[place] = place
    return out[None]
