"""Whether a hospital would answer a study, beforehand: its rules, its tables, its records, what it answered before."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from confrere.errors import DataError, StudyError
from confrere.hospital.manifest import Manifest
from confrere.study.file import Study

if TYPE_CHECKING:
    from confrere.hospital.home import Home


def reasons(home: Home, study: Study, manifest: Manifest, *, data: bool = True) -> list[str]:
    """Every reason why a hospital would refuse a study, in words for its steward; none if it would answer.

    `data`: look at the records too. Who else takes part is known when the run starts.
    """
    found = home.rules.against(study, manifest, date.today(), home.name)
    try:
        home.source(study.table)
        if data and not found:
            found += home.records(study).why
    except (StudyError, DataError) as error:
        found.append(str(error))
    return found
