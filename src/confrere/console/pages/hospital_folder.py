"""What a hospital's pages read of its folder, kept in memory for as long as the files behind it stay as they are.

A steward may have a thousand studies: `Studies.all` parses all of them each time, and what left is a sum over the whole
ledger. So lists are kept by the time, size and number of each file, and the ledger is read on from where it was read
last. What is decided about is always read anew. hospital.toml is read again when it changes; while it cannot be read,
the pages go on with the rules before (a stop must always work) and say what is wrong (`fault`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Lock, RLock
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode

from fastapi import Depends, HTTPException, Request

from confrere.console.pages.languages import N_
from confrere.data.opposition import Said
from confrere.errors import ConfrereError, StudyError
from confrere.hospital.home import Home
from confrere.hospital.left import Left, left
from confrere.hospital.manifest import Manifest, manifest
from confrere.hospital.studies import Record
from confrere.study.file import Study

SIZE = 50  # rows of a page
SETTLED = 100_000_000  # nanoseconds, far more than the step of a file system's clock
KEPT = 500  # manifests in memory
ACTING = N_("Say why, in at most 500 characters.")
_HASH = re.compile(r"[0-9a-f]{64}")
_NO_STUDY = N_("There is no study with this number here.")
Stamp = tuple[int, int, int]


class Listed(NamedTuple):
    """A study in lists. `changed`: its file is not the one that came, so that nothing is known but its number."""

    study: str  # hash
    state: str
    at: datetime
    by: str
    why: str
    id: str
    title: str
    purpose: str
    changed: bool


class Part(NamedTuple):
    """One page of a long list: its rows, how many there are in all, and the addresses of the pages beside it."""

    rows: list[Any]
    total: int
    first: int  # from 1
    before: str = ""
    after: str = ""

    @property
    def last(self) -> int:
        """The place of its last row."""
        return self.first + len(self.rows) - 1


def part(rows: Sequence[Any], page: int, **filters: str) -> Part:
    """The rows of a page (from 1) with addresses that keep the filters."""
    page = max(1, min(page, (len(rows) - 1) // SIZE + 1))
    start = (page - 1) * SIZE
    kept = {key: value for key, value in filters.items() if value}
    before = f"?{urlencode(kept | {'page': page - 1})}" if page > 1 else ""
    after = f"?{urlencode(kept | {'page': page + 1})}" if start + SIZE < len(rows) else ""
    return Part(list(rows[start : start + SIZE]), len(rows), start + 1, before, after)


def moment(at: str) -> datetime:
    """A time of the ledger (UTC, ISO 8601) in the time zone of this machine."""
    found = datetime.fromisoformat(at)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone()


def sentence(text: str) -> str:
    """What somebody wrote in a form, on one line, for the ledger and terminals. HTTPException 422 if it is none."""
    line = " ".join(text.split())
    if not line or len(line) > 500 or not line.isprintable():
        raise HTTPException(422, ACTING)
    return line


class Hospital:
    """The folder of one hospital, as its pages see it. Several threads may ask."""

    def __init__(self, path: Path) -> None:
        self._lock = RLock()
        self._home = Home(path)
        self._config = self._stamps()
        self.importing = Lock()  # one list at a time: two may have one name
        self.fault = ""  # why hospital.toml cannot be read any more
        self._listed: dict[str, tuple[Stamp | None, Listed]] = {}
        self._sorted: tuple[int, list[Listed]] = (0, [])  # as of this time of the folder
        self._manifests: dict[str, Manifest] = {}
        self._left: dict[tuple[str, str], Left] = {}
        self._after = 0  # the last entry of the ledger that `_left` has
        self._said: tuple[Any, list[Said]] = (None, [])
        self._against: dict[tuple[str, ...], list[str]] = {}

    @property
    def home(self) -> Home:
        """The hospital, read again if its settings or its key changed."""
        with self._lock:
            if (now := self._stamps()) != self._config:
                self._config = now
                try:
                    fresh = Home(self._home.path)
                    _ = fresh.rules  # StudyError where they are wrong
                    self._home, self.fault = fresh, ""
                except ConfrereError as error:
                    self.fault = str(error)
            return self._home

    # studies

    def studies(self) -> list[Listed]:
        """All studies, what moved last first.

        Every move replaces a file, which changes the time of the folder; one of this moment may be of the move before.
        """
        home = self.home
        with self._lock:
            now = home.studies.path.stat().st_mtime_ns if home.studies.path.is_dir() else 0
            if now == self._sorted[0]:
                return self._sorted[1]
            found: dict[str, tuple[Stamp | None, Listed]] = {}
            for file in os.scandir(home.studies.path) if home.studies.path.is_dir() else ():
                name = file.name.removesuffix(".json")
                if name == file.name or not _HASH.fullmatch(name):
                    continue
                stamp, known = _stamp(file), self._listed.get(name)
                if known is not None and known[0] == stamp:
                    found[name] = known
                elif (record := home.studies.record(name)) is not None:
                    found[name] = (stamp if _settled(stamp[0]) else None, _listed(home, record))
            self._listed = found
            ordered = sorted((listed for _, listed in found.values()), key=lambda one: one.at, reverse=True)
            self._sorted = (now if _settled(now) else 0, ordered)
            return ordered

    def record(self, study: str) -> Record:
        """What is known of a study's hash now. HTTPException 404 if nothing is."""
        record = self.home.studies.record(study) if _HASH.fullmatch(study) else None
        if record is None:
            raise HTTPException(404, _NO_STUDY)
        return record

    def manifest(self, study: Study) -> Manifest:
        """The manifest of a study as it is made today; made once, since that takes up to some seconds."""
        with self._lock:
            known = self._manifests.pop(study.hash, None)
        made = known or manifest(study)
        with self._lock:
            self._manifests[study.hash] = made
            if len(self._manifests) > KEPT:
                del self._manifests[next(iter(self._manifests))]
        return made

    def against(self, listed: Listed) -> list[str]:
        """Why today's rules would not answer a study that was approved; its records are not looked at."""
        home, today = self.home, date.today()
        at = (listed.study, str(listed.at), home.rules.digest, str(today))
        with self._lock:
            if at in self._against:
                return self._against[at]
        record = home.studies.record(listed.study)
        why = []
        if record is not None and record.approval is not None:
            try:
                study = home.studies.study(listed.study)
                why = home.rules.against(study, Manifest.of(record.approval.manifest), today, home.name)
                home.source(study.table)
            except StudyError as error:
                why.append(str(error))
        with self._lock:
            if len(self._against) > 10_000:  # of rules before
                self._against.clear()
            self._against[at] = why
        return why

    # what left, who opposed

    def left(self) -> list[Left]:
        """What left, by study and month, the latest month first."""
        ledger = self.home.ledger
        with self._lock:
            end = len(ledger)
            if end < self._after:  # another ledger: a backup was restored
                self._left, self._after = {}, 0
            fresh = list(ledger.entries(after=self._after, event="answered"))
            for one in left(fresh):
                known = self._left.get((one.study, one.month))
                self._left[one.study, one.month] = _added(known, one) if known else one
            self._after = max(end, *(entry.number for entry in fresh[-1:]), 0)
            return sorted(self._left.values(), key=lambda one: (one.month, one.study), reverse=True)

    def said(self) -> list[Said]:
        """What holds of patients' oppositions and consents today; of a patient all words together."""
        register = self.home.oppositions
        with self._lock:
            now = (_stamp(register.path), date.today())
            if self._said[0] != now:
                self._said = (now if _settled(now[0][0]) else None, register.last())
            return self._said[1]

    def _stamps(self) -> tuple[Stamp | None, ...]:
        path = self._home.path
        return tuple(
            _stamp(file) if file.exists() else None for file in (path / "hospital.toml", path / "identity.key")
        )


def hospital_of(request: Request) -> Hospital:
    """The hospital of a request."""
    found: Hospital = request.app.state.hospital
    return found


Here = Annotated[Hospital, Depends(hospital_of)]


def _stamp(file: Path | os.DirEntry[str]) -> Stamp:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _settled(at: int) -> bool:
    """Whether what changes now would show another time than this, in nanoseconds since 1970."""
    return time.time_ns() - at > SETTLED


def _listed(home: Home, record: Record) -> Listed:
    at, about = moment(record.at), (record.study[:12], "", "")
    changed = False
    try:
        study = home.studies.study(record.study)
        about = (study.id, study.title, study.purpose)
    except (ConfrereError, OSError):  # its own page says why
        changed = True
    return Listed(record.study, record.state, at, record.by, record.why, *about, changed)


def _added(known: Left, more: Left) -> Left:
    sums = (a + b for a, b in zip(known[2:], more[2:], strict=True))
    return Left(known.study, known.month, *sums)
