"""How many people of the network a cohort has, and how many its rules leave on the way: a definition of OHDSI's Circe.

Each hospital has `ohdsi-circepy` execute the definition on its own records in the OMOP common data model; of every
person there is one number, how many steps of the definition they pass: an entry event that qualifies, the inclusion
rules one after the other, the exits. Whoever has several entry events passes as far as the one that gets furthest. So
everybody is in one cell of an ordered partition, as in a screening log, and its counts leave (`funnel`).

Hripcsak G, Duke JD, Shah NH, et al. Observational Health Data Sciences and Informatics (OHDSI). Stud Health Technol
Inform 2015;216:574. Attrition by sequence of rules is that of ATLAS' "attrition view".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.finding import Citation, Finding, FlowFinding, attrition
from confrere.analyses.funnel import funnel, screened
from confrere.errors import DataError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum, ask, local, register, support
from confrere.study.circe import Definition, definition
from confrere.study.ground import Ground
from confrere.study.rows import TableRows

OHDSI = Citation(
    "Hripcsak G, Duke JD, Shah NH, et al. Observational Health Data Sciences and Informatics (OHDSI): opportunities "
    "for observational researchers. Stud Health Technol Inform 2015;216:574-578",
    "10.3233/978-1-61499-564-7-574",
)
TWICE = (
    "People are counted per hospital: person ids are each hospital's own, so somebody who was treated in two hospitals "
    "is two people here, and the same id in two hospitals is two people too."
)


class Counted(NamedTuple):
    """People by how far they get, on the merged grid."""

    people: Sum  # (1, cells)


@register("cohort")
@dataclass(frozen=True)
class Cohort:
    """Count the people of a cohort and of its funnel over all hospitals.

    `definition` is its Circe JSON; or `cohort` its name in [cohorts] of the study.

    Finding: tables `funnel` (a record per step: `step`, `criterion`, `n`) and `attrition`; the last record of the
    funnel is the cohort. Errors: StudyError for what is no definition; DataError where a hospital's table of people was
    not made for this definition.
    """

    definition: str = ""
    cohort: str = ""
    ground: Ground = Ground()
    everybody = True  # not of those whom a study is about: of all people of the hospitals

    # public

    @property
    def counts(self) -> Definition:
        """The definition, read."""
        return self.ground.cohort(self.cohort) if self.cohort else definition(self.definition)

    @property
    def cohorts(self) -> tuple[Definition, ...]:
        """The definitions that it reads."""
        return (self.counts,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The column that says how far each person gets."""
        return (self.counts.column,)

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom the funnel counts after each step, and at its end: each within the one before."""
        last = len(self.counts.steps)
        return (*(f"{self.counts.column} >= {j}" for j in range(1, last + 1)), f"{self.counts.column} == {last}")

    def check(self) -> None:
        """The definition, before anything is asked."""
        if bool(self.definition) == bool(self.cohort):
            raise StudyError('give one of definition = "..." (Circe JSON) and cohort = "NAME", a name of [cohorts]')
        _ = self.counts

    # inside each hospital

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom the funnel counts: what selects them, the columns of that, and who (N,) they are."""
        reached, last = self._reached(frame), len(self.counts.steps)
        for text, j in zip(self.selecting, (*range(1, last + 1), last), strict=True):
            yield text, self.reads, reached >= j

    def design(self, people: People) -> Design:
        """How far everybody gets."""
        reached, last = self._reached(people.table.frame), len(self.counts.steps)
        place: Ints = np.nan_to_num(reached, nan=-1).astype(np.int64)
        # the edge that matters most: who is in the cohort
        cells = Cells(place, (1, last + 1), rule="merge", marks=(last,))
        return screened(people.table, (*self.reads, *self.ground.complete), self.reads, cells)

    @local(on="design")
    def counted(self, people: People) -> Counted:
        """People by merged cell."""
        return Counted(people.cells("funnel"))

    def _reached(self, frame: Any) -> Array:
        """(N,) steps passed; NaN where unknown."""
        column, last = self.counts.column, len(self.counts.steps)
        reached = TableRows(frame, self.ground.schema, {}).numbers(column)
        known = reached[~np.isnan(reached)]
        if ((known < 0) | (known > last) | (known != np.floor(known))).any():
            raise DataError(
                f"column {column!r} must hold how many of {last} steps each person passes, 0 to {last}; make the table "
                f"of people anew from this definition"
            )
        return reached

    # sums only

    def flow(self) -> FlowFinding:
        """Settle which counts may be told; then count."""
        verdict = yield from support(self.design)
        counted = yield from ask(self.counted)
        steps = [("people", ""), *self.counts.steps]
        records = funnel(steps, verdict.grids["funnel"][0], counted.people.value[0])
        tables = {"funnel": records, "attrition": attrition(verdict)}
        facts = {"cohort": self.cohort} if self.cohort else {}
        return Finding("cohort", verdict.n, verdict.hospitals, tables, facts=facts, notes=(TWICE,), cite=(OHDSI,))
