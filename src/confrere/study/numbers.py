"""Numbers of several analyses of one study: no two of them by 1 to k-1 people apart.

Events up to the age of 40 and, in another analysis, up to 41; time within 30 days of a treatment, and within 31; two
phenotypes that differ by three people: each number rests on enough people, and the difference of two does not. Within
one analysis `analyses.beside` sees to it, and `cuts` to sets of people that words select. These numbers are known once
an analysis has settled what it tells. Then, before any is told, the hospitals count, blinded, for every two numbers of
two analyses the people who enter them differently.

Analyses that take part have `settling`, a flow that gives what they will tell as plain data, and `contributions`: what
everybody of a table (N,) contributes to each number, (N, r).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from confrere.errors import StudyError, UserError
from confrere.rounds import Cells, Design, Flow, People, register, support

MOST = 4_000  # pairs of numbers: each is an array of everybody at a hospital, and one of the verdict's message


@register("_numbers")
@dataclass(frozen=True)
class Numbers:
    """The numbers that several analyses tell."""

    analyses: tuple[Any, ...]

    @property
    def most_cells(self) -> int:
        """Cells of the design at most: what analyses tell hangs on the people, and so do the pairs of it."""
        return MOST

    def design(self, people: People, settled: tuple[Any, ...]) -> Design:
        """For every two numbers of two analyses, who enters them differently."""
        n = len(people.table.frame)
        found = [a.contributions(people, one) for a, one in zip(self.analyses, settled, strict=True)]
        if (pairs := sum(a.shape[1] * b.shape[1] for a, b in combinations(found, 2))) > MOST:
            raise StudyError(
                f"the analyses tell {pairs} pairs of numbers that could be subtracted; {MOST} is the most. Ask for "
                f"fewer years, bands or levels, or leave an analysis out"
            )
        cells = {
            f"{i}:{j} {p} {q}": Cells(np.where(one != other, 0, -1), (1, 1), rule="near")
            for (i, ones), (j, others) in combinations(enumerate(found), 2)
            for p, one in enumerate(ones.T)
            for q, other in enumerate(others.T)
        }
        return Design(n=n, rows=np.ones(n, dtype=bool), cells=cells)


def unlike(analyses: Sequence[Any]) -> Flow[None]:
    """StudyError where two numbers of two analyses are 1 to k-1 people apart."""
    ready: list[tuple[Any, Any]] = []
    among = list(dict.fromkeys(a for a in analyses if hasattr(a, "contributions")))
    if len(among) < 2:
        return
    for analysis in among:
        try:
            ready.append((analysis, (yield from analysis.settling())))
        except UserError:
            continue  # it tells nothing, and says why when its turn comes
    if len(ready) < 2:
        return
    asked, settled = zip(*ready, strict=True)
    verdict = yield from support(Numbers(asked).design, settled)
    if near := {name.split(" ")[0] for name, grid in verdict.grids.items() if grid.any()}:
        pairs = [[list(analyses).index(asked[int(i)]) + 1 for i in pair.split(":")] for pair in sorted(near)]
        named = ", ".join(f"{i} and {j}" for i, j in pairs)
        raise StudyError(
            f"a few people tell numbers of analyses {named} apart, and could be told by subtraction. Give these "
            f"analyses the same settings and cohorts, or leave one out"
        )
