"""Cohorts of an OMOP source: definitions in OHDSI's Circe JSON (what ATLAS exports), executed by `ohdsi-circepy`.

    with opened("cdm/") as cdm:
        made = cohort(cdm, Path("cohort.json").read_text())
        made.rows.execute()       # subject_id, cohort_start_date, cohort_end_date

`ohdsi-circepy` builds a cohort in stages (entry events, inclusion rules one after the other, exit) and writes each into
a table of the backend. Here the backend is `_Stages`: it gives the source's typed tables, keeps what is written as
temporary tables, and notes at each stage who is left. So the funnel costs nothing but a list of people per rule.

https://github.com/OHDSI/Circepy; the reference is OHDSI's circe-be (Java), whose own suites are our tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confrere.data.omop import Cdm
from confrere.errors import StudyError

ENTRY, RULE, FINAL = "qualified", "included", "ended"  # stages of ohdsi-circepy, by the names of their tables


class Made(NamedTuple):
    """A cohort as Ibis tables of its source.

    rows     subject_id, cohort_start_date, cohort_end_date: one row per person and era
    reached  person_id, reached: how many of `Definition.steps` each person of the source has passed
    """

    rows: Any
    reached: Any


@dataclass(eq=False)
class _Stages:
    """What `ohdsi-circepy` takes for a backend: the tables of a source, and temporary ones."""

    cdm: Cdm
    made: dict[str, Any] = field(default_factory=dict)
    people: list[Any] = field(default_factory=list)  # who had an entry event; passed rule 1; 2; ...
    name: str = "confrere"

    def table(self, name: str, database: str | None = None) -> Any:
        return self.made[name] if name in self.made else self.cdm.table(name)

    def create_table(self, name: str, obj: Any, database: str | None = None, overwrite: bool = False) -> None:
        old, self.made[name] = self.made.get(name), self.cdm.keep(obj)
        if name.endswith((ENTRY, RULE)):
            self.people.append(self.cdm.keep(self.made[name].select("person_id").distinct()))
        if old is not None:
            self.cdm.forget(old)

    def drop_table(self, name: str, database: str | None = None, force: bool = False) -> None:
        if name in self.made:
            self.cdm.forget(self.made.pop(name))
