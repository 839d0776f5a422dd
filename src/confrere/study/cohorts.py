"""Whom the analyses of a study are about: no two of them by 1 to k-1 people apart.

Analyses leave out people who miss one of their columns. Two that differ by a few people would give those few away by
subtraction. So the hospitals first count, blinded, by how many people every two analyses differ; where it is 1 to k-1,
both leave out whoever misses a column of either, and say so. Where the people of three or more, added and subtracted,
are 1 to k-1 (all less those with x, less those with y, and those with both: who misses x and y), all do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from confrere.rounds import Analysis, Cells, Design, Flow, People, register, support
from confrere.study.ground import LEFT, complete, model_of
from confrere.study.imputation import imputing, required

Columns = tuple[str, ...]
MOST = 10  # sets of columns that are looked at together: they make 2^10 patterns
WHOLE = "all"


def reads(analysis: Any) -> tuple[str, ...]:
    """The source columns that an analysis reads: of its formula, its weights, and what else it says it reads."""
    names = set(getattr(analysis, "reads", ()))
    if hasattr(analysis, "formula"):
        names |= set(model_of(analysis.formula, analysis.ground).columns)
    names.add(getattr(analysis, "weights", ""))
    if how := imputing(analysis):
        names |= set(how.auxiliary)
    return tuple(sorted(names - {""}))


@register("_cohorts")
@dataclass(frozen=True)
class Cohorts:
    """The people who are complete in each of several sets of columns."""

    sets: tuple[Columns, ...]

    def design(self, people: People) -> Design:
        """For every two sets, who is in one of them alone.

        And of a few sets together, in which of them everybody is.
        """
        frame = people.table.frame
        n = len(frame)
        inside = [complete(frame, columns) for columns in self.sets]
        cells = {
            f"{i}:{j}": Cells((inside[i] ^ inside[j]).astype(np.int64), (1, 2), rule="require")
            for i in range(len(self.sets))
            for j in range(i)
        }
        if 3 <= (many := len(self.sets)) <= MOST:
            pattern = sum((who.astype(np.int64) << j for j, who in enumerate(inside)), np.zeros(n, dtype=np.int64))
            sets = tuple(np.arange(2**many) >> j & 1 == 1 for j in range(many))
            cells[WHOLE] = Cells(np.where(pattern > 0, pattern, -1), (1, 2**many), rule="near", sets=sets)
        return Design(n=n, rows=np.ones(n, dtype=bool), cells=cells, columns=tuple(sorted({*sum(self.sets, ())})))


def agreed(built: Sequence[Analysis]) -> Flow[list[Any]]:
    """The analyses, with the columns in which everybody must be complete."""
    own = [frozenset((*a.ground.complete, *needed(a))) if hasattr(a, "ground") else frozenset(needed(a)) for a in built]
    needs = list(own)
    while len(sets := sorted({tuple(sorted(n)) for n in needs})) > 1:
        verdict = yield from support(Cohorts(tuple(sets)).design)
        near = [name for name, grid in verdict.grids.items() if grid.any()]
        joined = {s: frozenset(s) for s in sets}
        if near == [WHOLE]:
            joined = dict.fromkeys(sets, frozenset(sum(sets, ())))
        for pair in (name for name in near if name != WHOLE):
            one, other = (joined[sets[int(i)]] for i in pair.split(":"))
            joined = {s: one | other if columns in (one, other) else columns for s, columns in joined.items()}
        if all(joined[s] == frozenset(s) for s in sets):
            break
        needs = [joined[tuple(sorted(n))] for n in needs]
    return [_with(a, tuple(sorted(n - o))) for a, n, o in zip(built, needs, own, strict=True)]


def needed(analysis: Any) -> Columns:
    """The columns in which an analysis needs everybody to be complete: all that it reads, unless it says otherwise."""
    if imputing(analysis):
        return required(analysis)
    return tuple(getattr(analysis, "requires", reads(analysis)))


def _with(analysis: Any, columns: Columns) -> Any:
    if not columns:
        return analysis
    joined = sorted({*analysis.ground.complete, *columns}, key=lambda name: (name != LEFT, name))
    return replace(analysis, ground=replace(analysis.ground, complete=tuple(joined)))
