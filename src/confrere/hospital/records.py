"""The records that a study would see here: oppositions applied, the cut they are of, and what was answered before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confrere.data import bags, people, sources
from confrere.data.opposition import Left, patients
from confrere.data.sources import Source
from confrere.data.table import Table
from confrere.data.without import Without
from confrere.errors import DataError, Refused, StudyError
from confrere.hospital.differencing import HOSPITALS, alone
from confrere.hospital.populations import Cohort, Here, cohorts_of
from confrere.study import build
from confrere.study.file import Study
from confrere.study.omop import PERSON
from confrere.study.recruitment import STATUSES, Look

if TYPE_CHECKING:
    from confrere.hospital.home import Home


@dataclass(frozen=True)
class Records:
    """What a study sees of a hospital. Stays in the hospital.

    cut      what was read, as a hash: a run is about one cut
    opposed  digest of the register for the study's purpose: another one stops a run
    ids      patients whose records are read; none where the hospital does not say which column names them
    cohorts  whom its analyses are about
    bags     of which state the bags are that it reads: a consent taken back, and they are written anew
    why      reasons against answering; none if the guard has no objection
    """

    table: Table
    cut: str
    opposed: str
    k: int
    ids: tuple[str, ...] = field(repr=False)
    cohorts: list[Cohort] = field(repr=False)
    bags: tuple[Any, ...] = ()
    why: tuple[str, ...] = ()

    def answered(self, home: Home, study: Study) -> None:
        """Write down, before the first value leaves, whom the answers are about."""
        home.oppositions.answered(study.table, study.purpose, self.ids, self.k)
        judged = home.answered.admit(study.hash, self.cohorts, self.k, strict=home.rules.scope == "own")
        if not judged.ok:
            raise Refused(judged.why)
        today = datetime.now(UTC).date().isoformat()  # last: a receipt names no study that was refused
        home.oppositions.used(study.hash, study.title, study.purpose, self.ids, today)


def records(home: Home, study: Study, without: Sequence[str] = ()) -> Records:
    """Read a study's records as they are now. DataError names what is wrong, and stays in the hospital.

    `without` names hospitals of the roster that take no part.
    """
    built, source = build.analyses(study), home.source(study.table)
    k = max(study.k, home.rules.k)
    state = pictures(home, study)
    opposed = home.oppositions.digest(study.purpose)  # before anybody is looked up: who opposes meanwhile stops the run
    omop = people.asked(study, built) and not sources.is_table(source)
    left, ids = _left(home, study, source, k, omop)
    if omop:
        table = people.people(source.path, study, built, home.name, left.everyone)
        who: Sequence[str | None] = table.frame[PERSON].tolist()
    else:
        given = Without(source, source.person, left.everyone) if source.person else source
        table = people.table(given, build.sourced(built), study, home.name)
        who = sources.texts(given, [source.person], home.name)[source.person] if source.person else ()
    table = _noted(home, table, build.looks_of(built), study.person or PERSON)
    table = bags.fitted(bags.attached(table, study, home.bags, home.name), built)
    members = tuple(n for n in home.members if n not in without)
    if members != (home.name,) and alone(build.asked_of(study, built, members)):
        raise StudyError(
            f"the study's groups differ by fewer than {HOSPITALS} hospitals: the difference of two sums would be theirs"
        )
    cut = people.cut(source.path, home.name) if "://" in str(source.path) else _cut(Path(source.path))
    cohorts = cohorts_of(study, built, table, Here(home.name, members, cut, k, tuple(who)))
    judged = home.answered.judge(cohorts, k, strict=home.rules.scope == "own")
    return Records(table, _hash(table), opposed, k, ids, cohorts, state, () if judged.ok else (judged.why,))


def pictures(home: Home, study: Study) -> tuple[Any, ...]:
    """The state of the bags that a study reads: another one stops a run. Those of the image bank are made anew first if
    they have a picture that may not be used any more; DataError where that cannot be."""
    folders = [home.bags[name] for name in study.bags if name in home.bags]
    if folders and (home.path / "images.sqlite").is_file():
        home.images.bagged.current(folders)
    return bags.standing(folders)


def _left(home: Home, study: Study, source: Source, k: int, omop: bool) -> tuple[Left, tuple[str, ...]]:
    """Whom to leave out, and whose records remain. DataError where somebody opposes and nobody can be told apart."""
    register = home.oppositions
    if omop and source.person not in (None, PERSON):
        raise DataError(
            f"hospital.toml, [tables] {study.table}: person is '{source.person}', but OMOP records name people by "
            f"{PERSON}: by other ids nobody who opposes would be left out. Write person = '{PERSON}' there, and record "
            f"oppositions by it"
        )
    if not omop and source.person is None and not register.history() and not register.consents():
        return Left(frozenset(), frozenset()), ()
    everybody = people.ids(source.path, home.name) if omop else patients(source, home.name)
    if not register.known(study.table) and _unnamed(home, study.table):
        register.answered(study.table, study.purpose, everybody, k)
    left = register.eligible(study.table, study.purpose, everybody, k)
    return left, tuple(i for i in everybody if i not in left.everyone)


def _noted(home: Home, table: Table, looks: Sequence[Look], person: str) -> Table:
    """The table with the statuses that this hospital's clinicians noted, as some analyses count them."""
    frame = table.frame
    for look in looks:
        found = home.worklists.statuses(look.study, look.title, date.fromisoformat(look.as_of))
        places = {one: float(STATUSES.index(status)) for one, status in found.items()}
        frame = frame.assign(**{look.column: frame[person].astype(str).map(places).fillna(0.0).astype(float)})
    return replace(table, frame=frame)


def _unnamed(home: Home, table: str) -> bool:
    """Whether studies of a table were answered before anybody said which column names the person.

    Then everybody who is there when it is said counts as answered: the first opposition must be covered too.
    """
    begun = (r.study for r in home.studies.all() if (home.path / "runs" / r.study / "asked").exists())
    return any(home.studies.study(study).table == table for study in begun)


def _hash(table: Table) -> str:
    """sha256 over what was read, in its order."""
    import pandas as pd

    digest = hashlib.sha256(pd.util.hash_pandas_object(table.frame, index=False).to_numpy().tobytes())
    for name in sorted(table.events):
        digest.update(pd.util.hash_pandas_object(table.events[name], index=False).to_numpy().tobytes())
    for name in sorted(table.bags):
        digest.update(table.bags[name].digest.encode())
    return digest.hexdigest()


def _cut(path: Path) -> str:
    """sha256 over the bytes of a table, a file or the files of a folder: the same for every study that reads it."""
    digest = hashlib.sha256()
    for file in sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]:
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
