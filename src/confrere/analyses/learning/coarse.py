"""How coarse cells of scores are, and whether an area over them says anything.

Of all pairs of somebody with the outcome and somebody without, an area over cells counts those in one cell as one half.
In one cell for everybody it is 0.5 with a standard error of 0, whatever the score. So an area of which more than `MOST`
of the pairs are in one cell, as in two even cells, is not told. Of more than `SOME`, as in ten, it is told with a
caution; of more than `BOUNDED` without limits. These held the truth in 83 to 93 of 100 generated studies with 15 to
20 % of the pairs in one cell, and in half with 30 % (in 92 to 96 below 15 %; areas of 0.74 and 0.86; a part of them is
in tests/learning/test_coarse.py). A cell of the ladder that was not merged counts as fine: the people in it have one
score, nearly. Where subgroups have cells of their own, these are ordered by their means, and pairs in cells that
overlap count as in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Caution
from confrere.rounds import Array, Bools, Ints

MOST, BOUNDED, SOME = 0.45, 0.15, 0.1  # of pairs
GUESSED = 1 / 3  # of pairs, at most, of an attack on membership: a coarse one says that all is well


class Shares(NamedTuple):
    """Of pairs of somebody with the outcome and somebody without, how many are in one cell, or in two that overlap."""

    tied: float

    @property
    def fine(self) -> bool:
        """Whether an area over the cells is told."""
        return self.tied <= MOST

    @property
    def sure(self) -> bool:
        """Whether limits of it are told: of coarse cells they hold far less often than they say."""
        return self.tied <= BOUNDED


ALL = Shares(0.0)  # nobody in one cell with another


def shares(without: Array, having: Array, wide: Bools | bool = True, spans: Array | None = None) -> Shares:
    """Of people (cells,) without and with the outcome; `wide` (cells,) hold scores that differ. `spans` say from where
    to where cells are (2, cells), if they may overlap, or be the same."""
    pairs = float(without.sum() * having.sum())
    if not pairs:
        return Shares(1.0)
    if spans is None:
        return Shares(float((without * having * wide).sum()) / pairs)
    (low, high), rough = spans, np.broadcast_to(wide, without.shape)
    meet = (low[:, None] < high) & (low < high[:, None]) & (rough[:, None] | rough)
    return Shares(float(without @ meet @ having) / pairs)


def wide(grid: Ints, cells: int = 0) -> Bools:
    """Which merged cells (`cells` or more,) are of several of the ladder; `grid` (ladder cells,) says which."""
    return np.asarray(np.bincount(grid[grid >= 0], minlength=cells) > 1)


def cautions_of(found: Mapping[str, Shares]) -> tuple[Caution, ...]:
    """The cautions of areas, from the shares of pairs by the words for their people."""
    none = {name: each.tied for name, each in found.items() if not each.fine}
    rough = {name: each.tied for name, each in found.items() if each.fine and each.tied > SOME}
    made: list[Caution] = []
    if none:
        text = (
            f"{'; '.join(none)}: the cells of scores are too coarse for an area under the curve or a concordance, "
            f"which are not told: {max(none.values()):.0%} of the pairs of people would be in one cell, or in "
            f"two that overlap. Ask more people, or about everybody without subgroups."
        )
        made.append(Caution("coarse-score", text))
    if rough:
        most = max(rough.values())
        bounded = (
            f"{'; '.join(rough)}: the cells of scores are coarse. Up to {most:.0%} of the pairs of people are in one "
            f"cell, or in two that overlap, so that the area or concordance may be off, and is mostly too low. Ask "
            f"more people, or about everybody without subgroups."
        )
        unbounded = (
            f"{'; '.join(rough)}: the cells of scores are coarse. Up to {most:.0%} of the pairs of people are in one "
            f"cell, or in two that overlap, so that the area or concordance may be off, and is mostly too low. Over "
            f"15 %, it has no limits. Ask more people, or about everybody without subgroups."
        )
        made.append(Caution("coarse-score", bounded if most <= BOUNDED else unbounded))
    return tuple(made)
