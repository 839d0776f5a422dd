"""Whether a hospital would answer a study, beforehand: its rules, its tables, its records, what it answered before."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from confrere.errors import DataError, StudyError
from confrere.hospital.manifest import Manifest
from confrere.study.file import Study

if TYPE_CHECKING:
    from confrere.hospital.home import Home

QUESTIONS = "similar_cases"  # the method that asks one


def reasons(home: Home, study: Study, manifest: Manifest, *, data: bool = True) -> list[str]:
    """Every reason why a hospital would refuse a study, in words for its steward; none if it would answer.

    `data`: look at the records too. Who else takes part is known when the run starts.
    """
    found = [*home.rules.against(study, manifest, date.today(), home.name), *_questions(home, study)]
    try:
        home.source(study.table)
        if data and not found:
            found += home.records(study).why
    except (StudyError, DataError) as error:
        found.append(str(error))
    return found


def asks(study: Study) -> int:
    """How many questions of similar cases a study asks."""
    return sum(spec.method == QUESTIONS for spec in study.analyses)


def _questions(home: Home, study: Study) -> list[str]:
    """Every question tells a little of who is near: a hospital answers a limited number, of all studies together.

    What counts is what the ledger says was approved, also where it was revoked or erased since.
    """
    if not asks(study):
        return []
    said = {e.facts["study"]: int(e.facts.get("questions", 0)) for e in home.ledger.entries(event="approved")}
    before = sum(many for hash, many in said.items() if hash != study.hash)
    if before + asks(study) <= home.rules.questions:
        return []
    return [
        f"it asks {asks(study)} questions of similar cases, {before} were approved before, and `questions` allows "
        f"{home.rules.questions} in all"
    ]
