"""How many people are in several cohorts at once: every combination of two to six cohorts of a study.

Everybody is in one cell of one partition: in none of the cohorts, in the first alone, in the first two alone, and so
on. Sizes of cohorts are told first, for they may be told elsewhere too. Then combinations are, the largest first, as
long as no sum or difference of what is told is about few people; those of nobody are not told apart from hidden ones.

The figure is an UpSet plot: Lex A, Gehlenborg N, Strobelt H, Vuillemot R, Pfister H. IEEE Trans Vis Comput Graph
2014;20:1983. As OHDSI's CohortDiagnostics ("cohort overlap"): whoever is ever in a cohort is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.errors import StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support
from confrere.study.circe import Definition
from confrere.study.ground import Ground, complete, left_out
from confrere.study.rows import TableRows

MOST = 6  # cohorts: 64 combinations
UPSET = Citation(
    "Lex A, Gehlenborg N, Strobelt H, Vuillemot R, Pfister H. UpSet: visualization of intersecting sets. "
    "IEEE Trans Vis Comput Graph 2014;20:1983-1992",
    "10.1109/TVCG.2014.2346248",
)
HIDDEN = "Combinations under the rule are hidden, and with them those from which they could be worked out."


class Counted(NamedTuple):
    """People by combination of cohorts, whose bit j says whether cohort j is in it, and in each cohort; 0 if hidden."""

    combinations: Sum  # (combinations,)
    cohorts: Sum  # (cohorts,)


@register("overlap")
@dataclass(frozen=True)
class Overlap:
    """Count the people in every combination of the cohorts named in `of` (two to six names of [cohorts]).

    Finding: tables `overlap` (a record per combination: one column per cohort that says whether it is in it,
    `cohorts` of them, `n`), `totals` (a record per cohort: `cohort`, `n`), and `attrition`. Errors: StudyError for a
    name that is no cohort, or for too few or too many of them.
    """

    of: tuple[str, ...]
    ground: Ground = Ground()
    everybody = True  # all people of the hospitals: whoever is in no cohort is counted too

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", tuple(self.of) if not isinstance(self.of, str) else (self.of,))

    # public

    @property
    def cohorts(self) -> tuple[Definition, ...]:
        """The definitions, in the order of the study."""
        return tuple(self.ground.cohort(name) for name in self.of)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that say when each person first enters each cohort; missing for those who never do."""
        return tuple(d.start for d in self.cohorts)

    @property
    def requires(self) -> tuple[str, ...]:
        """Nobody needs to be in a cohort."""
        return ()

    @property
    def inside(self) -> Bools:
        """(combinations, cohorts) whether a combination is in a cohort."""
        return np.asarray(np.arange(2 ** len(self.of))[:, None] >> np.arange(len(self.of)) & 1 == 1)

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about: each combination with those after it; their differences are they."""
        columns = "+".join(d.column for d in self.cohorts)
        return (*(f"combination >= {j} of {columns}" for j in range(1, 2 ** len(self.of))), f"all of {columns}")

    def check(self) -> None:
        """The names, before anything is asked."""
        if not 2 <= len(self.of) <= MOST or len(set(self.of)) < len(self.of):
            raise StudyError(f"of names {list(self.of)}; give 2 to {MOST} different names of [cohorts]")
        if len(set(self.cohorts)) < len(self.of):
            raise StudyError(f"of = {list(self.of)}: two of these cohorts are the same definition; leave one out")

    # inside each hospital

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` speaks of: words, columns that select, and who (N,) they are."""
        place, last = self._place(frame), 2 ** len(self.of) - 1
        for text, j in zip(self.selecting, [*range(1, last + 1), last], strict=True):
            yield text, () if text == self.selecting[-1] else self.reads, place >= j

    def _place(self, frame: Any) -> Ints:
        """(N,) the combination that everybody is in."""
        read = TableRows(frame, self.ground.schema, {})
        held = np.stack([~np.isnan(read.numbers(name)) for name in self.reads], axis=1)
        return np.asarray((held << np.arange(len(self.of))).sum(axis=1), dtype=np.int64)

    def design(self, people: People) -> Design:
        """The combination that everybody is in."""
        rows, size = complete(people.table.frame, self.ground.complete), 2 ** len(self.of)
        place = self._place(people.table.frame)[rows]
        cells = {"combinations": Cells(place, (1, size), rule="known", sets=tuple(self.inside.T))}
        left = left_out(people.table, self.ground.complete, rows)
        return Design(n=int(rows.sum()), rows=rows, columns=self.reads, cells=cells, left_out=left)

    def contributions(self, people: People, settled: tuple[bool, ...]) -> Array:
        """(N, numbers) who is in each combination and each cohort that is told."""
        place, size = self._place(people.table.frame), 2 ** len(self.of)
        made = np.hstack([place[:, None] == np.arange(size), self.inside[place]])[:, np.array(settled)]
        return (made & complete(people.table.frame, self.ground.complete)[:, None]).astype(float)

    @local(on="design")
    def counted(self, people: People) -> Counted:
        """People by combination, and by cohort, but for those hidden."""
        size, told = 2 ** len(self.of), people.grid("combinations")[0] >= 0
        here = np.bincount(people.design.cells["combinations"].index, minlength=size).astype(float)
        parts = {"combinations": here * told[:size], "cohorts": (here @ self.inside) * told[size:]}
        return Counted(*(people.derived(part, dims=(name,), scale=0) for name, part in parts.items()))

    # sums only

    def settling(self) -> Flow[tuple[bool, ...]]:
        """Which combinations and cohorts will be told."""
        verdict = yield from support(self.design)
        return tuple(bool(told) for told in verdict.grids["combinations"][0] >= 0)

    def flow(self) -> FlowFinding:
        """Settle what may be told; then count."""
        verdict = yield from support(self.design)
        got = yield from ask(self.counted)
        told = verdict.grids["combinations"][0] >= 0
        counts, size = got.combinations.value, 2 ** len(self.of)
        order = np.lexsort((np.arange(size), -counts, ~told[:size]))
        tables = {
            "overlap": [self._combination(i, counts[i] if told[i] else None) for i in order.tolist()],
            "totals": [
                {"cohort": name, **_counted(n if told[size + j] else None)}
                for j, (name, n) in enumerate(zip(self.of, got.cohorts.value, strict=True))
            ],
            "attrition": attrition(verdict),
        }
        notes = () if told.all() else (HIDDEN,)
        return Finding("overlap", verdict.n, verdict.hospitals, tables, notes=notes, cite=(UPSET,))

    def _combination(self, number: int, n: float | None) -> Record:
        held = self.inside[number].tolist()
        return dict(zip(self.of, held, strict=True)) | {"cohorts": sum(held)} | _counted(n)


def _counted(n: float | None) -> Record:
    return {"n": None, "suppressed": True} if n is None else {"n": round(n)}
