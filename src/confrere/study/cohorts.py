"""Whom the analyses of a study are about: no two of them by 1 to k-1 people apart.

Analyses leave out people who miss one of their columns. Two that differ by a few people would give those few away by
subtraction. So the hospitals first count, blinded, by how many people every two analyses differ; where it is 1 to k-1,
both leave out whoever misses a column of either, and say so. Where the people of three or more, added and subtracted,
are 1 to k-1 (all less those with x, less those with y, and those with both: who misses x and y), all do. Analyses of a
group of hospitals are compared over its hospitals: those of others hide nobody there.

Patterns double with every set of columns, so a study has MOST sets at most. Of more, those that differ by the fewest
columns are joined beforehand, by the study file alone: a hospital knows it when it approves and remembers a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
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
    own = [_own(a) for a in built]
    needs = limited(own)
    while len(sets := _sets(needs)) > 1:
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


def limited(needs: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Columns of analyses, of MOST different sets at most: those that differ by the fewest columns become one."""
    found = list(needs)
    while len(sets := _sets(found)) > MOST:
        one, other = min(combinations(map(frozenset, sets), 2), key=lambda pair: len(pair[0] ^ pair[1]))
        found = [one | other if n in (one, other) else n for n in found]
    return found


def few(built: Sequence[Analysis]) -> list[Any]:
    """The analyses of the same hospitals, of a number of sets of columns that can be looked at together."""
    own = [_own(a) for a in built]
    return [_with(a, tuple(sorted(n - o))) for a, n, o in zip(built, limited(own), own, strict=True)]


def _own(analysis: Any) -> frozenset[str]:
    ground = getattr(analysis, "ground", None)
    return frozenset((*(ground.complete if ground else ()), *needed(analysis)))


def _sets(needs: Sequence[frozenset[str]]) -> list[Columns]:
    return sorted({tuple(sorted(n)) for n in needs})


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
