"""A hospital's ledger: one SQLite file in which every ask, answer, refusal and approval is an entry of a signed chain.

`chain.py` says how entries hang together and how anybody verifies the file. Here is the hospital's own side. An entry
is on the disk when `write` returns (write-ahead log, synchronised at every commit); threads that wait for the disk at
the same time share one commit. Before anything is added, the end is held against its signature: a ledger that was cut
off is not continued, or the next signature would cover that up.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import sqlite3
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from confrere.errors import LedgerError
from confrere.hospital import chain
from confrere.hospital.chain import Entry, Row, Tip, Verified, read, verify
from confrere.sums import Identity
from confrere.sums.frames import number

__all__ = ["Entry", "Ledger", "Verified", "read", "verify"]

IDLE: Final = 2.0  # seconds without a write, after which the file is checkpointed and closed
_WAIT: Final = 30.0  # seconds for another process's transaction
_NOT_OURS: Final = {  # what SQLite says of a file that is not as it should be; all else is the disk's or the system's
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_NOTADB,
}  # fmt: skip
_forked: list[sqlite3.Connection] = []  # a parent's connections: using or closing them here would harm its locks


class Ledger:
    """The ledger of one hospital, for writing and reading: from several threads, and from several processes at once.

    Everything raises OSError where the disk is full or the file cannot be reached, and LedgerError where the file is
    not as it was written. In either case nothing was written, and the hospital must not answer.
    """

    def __init__(self, path: Path, identity: Identity, name: str) -> None:
        self.path, self.name = path.absolute(), name
        self._identity = identity
        self._tip: Tip | None = None  # the last that this process wrote or checked
        self._file = _File(self.path)
        self._waiting: deque[_Job] = deque()
        self._done = weakref.finalize(self, self._file.close)

    def write(self, event: str, facts: Mapping[str, Any]) -> int:
        """Add an entry; its number. It is on the disk when this returns."""
        return self.write_many([(event, facts)])[0]

    def write_many(self, given: Iterable[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """Add entries with one wait for the disk, all or none; their numbers."""
        plain = [(_event(event), canonical(facts)) for event, facts in given]
        if not plain:
            return []
        job = _Job(plain)
        self._waiting.append(job)
        with self._file.lock:
            if not job.done:  # else the thread before took it along
                self._commit()
        if job.error:
            raise job.error
        return job.made

    def rotate(self, new: Identity) -> int:
        """Hand the ledger over to a new key, in an entry that the old one signs; its number. Then `new` signs."""
        with self._transaction() as link:
            last, old = self._new_day(link, self._last(link)), self._identity
            consent = new.sign("ledger rotation", last.link, old.public, new.public)
            facts = {"key": new.public.hex(), "fingerprint": new.fingerprint, "consent": consent.hex()}
            last = self._add(link, last, chain.ROTATED, canonical(facts))
            tip = self._sign_end(link, last, new)
        self._identity, self._tip = new, tip
        return last.number

    def entries(
        self, *, after: int = 0, before: int | None = None, event: str | None = None, study: str | None = None,
        newest: bool = False, limit: int | None = None,
    ) -> Iterator[Entry]:  # fmt: skip
        """Entries with a number above `after` and below `before`, of an event, of a study (the fact `study`).

        `newest`: the newest first.
        """
        if not self.path.exists():
            return
        wanted = ["number > ?"] + ["number < ?"] * (before is not None) + ["event = ?"] * (event is not None)
        # most entries are of other studies: their JSON is not read
        wanted += ["instr(facts, ?) > 0 AND json_extract(facts, '$.study') = ?"] * (study is not None)
        given = (after, before, event, study, study, -1 if limit is None else limit)
        values = [value for value in given if value is not None]
        query = (
            f"SELECT number, at, event, facts, hash FROM entries WHERE {' AND '.join(wanted)} "
            f"ORDER BY number {'DESC' if newest else 'ASC'} LIMIT ?"
        )
        with self._read() as link:
            yield from map(chain.entry_of, link.execute(query, values))

    def __len__(self) -> int:
        """How many entries there are."""
        if not self.path.exists():
            return 0
        with self._read() as link:
            return int(link.execute("SELECT coalesce(max(number), 0) FROM entries").fetchone()[0])

    def copy(self, to: Path) -> None:
        """A whole ledger in another file, also while others write: for backups. FileExistsError where there is one."""
        if to.exists():
            raise FileExistsError(errno.EEXIST, "a copy of the ledger overwrites nothing", str(to))
        with self._read() as link, closing(sqlite3.connect(to)) as other:
            link.backup(other)

    def close(self) -> None:
        """Checkpoint and close; the next write opens the file again."""
        self._file.close()

    # inside

    def _commit(self) -> None:
        """Write what all threads wait for, with one wait for the disk."""
        jobs = []
        while self._waiting:
            jobs.append(self._waiting.popleft())
        error: Exception | None = OSError(errno.EINTR, "the ledger was interrupted; try again", str(self.path))
        try:
            with self._transaction() as link:
                last = self._new_day(link, self._last(link))
                for job in jobs:
                    for event, facts in job.plain:
                        last = self._add(link, last, event, facts)
                        job.made.append(last.number)
                tip = self._sign_end(link, last, self._identity)
            self._tip, error = tip, None
        except (OSError, LedgerError) as why:
            error = why
        finally:
            for job in jobs:
                job.done, job.error = True, error

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connected(self.path)) as link:
                link.execute("PRAGMA query_only = ON")
                yield link
        except sqlite3.Error as error:
            raise meant(error, self.path) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._file.lock:
            try:
                if not self.path.exists():
                    self._begin()
                link = self._file.opened()
                link.execute("BEGIN IMMEDIATE")
                chain.check_form(link)
                yield link
                link.execute("COMMIT")
            except BaseException as error:
                self._file.close()  # which takes back what was not committed
                if isinstance(error, sqlite3.Error):
                    raise meant(error, self.path) from error
                raise

    def _last(self, link: sqlite3.Connection) -> Row:
        """The last entry, if the end is as this hospital has signed it. LedgerError otherwise."""
        rows = link.execute("SELECT * FROM entries ORDER BY number DESC LIMIT 1").fetchall()
        tip, known = chain.tip_of(link), self._tip
        last = Row(*rows[0]) if rows else None
        if tip is None or last is None or (tip.number, tip.link) != (last.number, last.link):
            raise self._stop("its last entry is not the one that was signed")
        if known and (tip.number < known.number or (tip.number == known.number and tip != known)):
            raise self._stop(f"entry {known.number} was written here and is not there: it is an older copy")
        if tip != known and not chain.signed_tip(self._identity.public, tip):
            raise self._stop(
                f"its end is not signed by the key {self._identity.fingerprint}. After a change of key, start the "
                f"hospital's processes again; otherwise the file was changed"
            )
        return last

    def _stop(self, why: str) -> LedgerError:
        return LedgerError(
            f"{self.path.name} is not continued: {why}. Nothing was written; see `confrere ledger verify "
            f"{self.path.name}`"
        )

    def _new_day(self, link: sqlite3.Connection, last: Row) -> Row:
        """Sign the days before in a head, where a new day (UTC) has come; the last entry now."""
        if now()[:10] <= last.at[:10]:
            return last
        signature = self._identity.sign("ledger head", number(last.number), last.hash).hex()
        head = {"day": last.at[:10], "entries": last.number, "hash": last.hash.hex(), "signature": signature}
        return self._add(link, last, chain.HEAD, canonical(head))

    def _add(self, link: sqlite3.Connection, last: Row, event: str, facts: str) -> Row:
        row = self._made(last.number + 1, last.link, now(), event, facts)
        link.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", row)
        return row

    def _made(self, place: int, before: bytes, at: str, event: str, facts: str) -> Row:
        digest = chain.hashed(before, place, at, event, facts)
        return Row(place, at, event, facts, digest, self._identity.sign("ledger entry", digest))

    def _sign_end(self, link: sqlite3.Connection, last: Row, identity: Identity) -> Tip:
        tip = Tip(last.number, last.link, identity.sign("ledger tip", number(last.number), last.link))
        link.execute("REPLACE INTO tip VALUES (1, ?, ?, ?)", tip)
        return tip

    def _begin(self) -> None:
        """Make the file, whole or not at all; another process that is quicker makes it instead."""
        if self._tip is not None:
            raise self._stop("the file is gone")
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".ledger.")  # for the owner alone
        os.close(handle)
        try:
            with closing(connected(Path(name))) as link:
                link.execute("PRAGMA journal_mode = WAL")
                link.execute(f"PRAGMA application_id = {chain.APPLICATION}")
                link.execute(f"PRAGMA user_version = {chain.VERSION}")
                link.execute("BEGIN")
                for made in chain.SCHEMA.values():
                    link.execute(made)
                # the random word tells two ledgers of one hospital apart
                facts = {"name": self.name, "key": self._identity.public.hex(), "ledger": secrets.token_hex(16)}
                first = self._made(1, chain.START, now(), chain.BEGAN, canonical(facts))
                link.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", first)
                self._sign_end(link, first, self._identity)
                link.execute("COMMIT")
            try:
                os.link(name, self.path)  # unlike a renaming, this replaces nothing
            except FileExistsError:
                return
            sync_folder(self.path.parent)
        finally:
            for end in ("", "-wal", "-shm", "-journal"):
                Path(name + end).unlink(missing_ok=True)


@dataclass
class _Job:
    """What one caller wants to be written."""

    plain: list[tuple[str, str]]  # events, and facts as JSON
    made: list[int] = field(default_factory=list)  # numbers
    done: bool = False
    error: Exception | None = None


class _File:
    """The connection of a process for writing: opened when needed, closed (which checkpoints) when idle."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.RLock()
        self._link: sqlite3.Connection | None = None
        self._inode, self._process, self._used, self._watched = 0, os.getpid(), 0.0, False

    def opened(self) -> sqlite3.Connection:
        """The connection to the file that stands at the path now. The caller holds the lock."""
        if self._process != os.getpid():
            _forked.extend([self._link] if self._link else [])
            self._link, self._process, self._watched = None, os.getpid(), False
        inode = self.path.stat().st_ino
        if self._link is not None and inode != self._inode:
            self.close()
        if self._link is None:
            self._link, self._inode = connected(self.path), inode
        self._used = time.monotonic()
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._watch, name="ledger", daemon=True).start()
        return self._link

    def close(self) -> None:
        """Close what this process has opened; the last one to close removes the write-ahead log."""
        with self.lock:
            if self._link is not None and self._process == os.getpid():
                self._link.close()
                self._link = None

    def _watch(self) -> None:
        while True:
            time.sleep(max(0.05, self._used + IDLE - time.monotonic()))
            with self.lock:
                if self._link is None or time.monotonic() - self._used >= IDLE:
                    self.close()
                    self._watched = False
                    return


def connected(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there, whose commits wait until they are on the disk."""
    link = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=_WAIT, check_same_thread=False
    )
    for rule in ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON", "trusted_schema = OFF"):
        link.execute(f"PRAGMA {rule}")
    return link


def meant(error: sqlite3.Error, path: Path) -> Exception:
    """An error of SQLite as one of ours: LedgerError where the file is not right, OSError where the disk is not."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _NOT_OURS:
        return LedgerError(f"{path.name} is damaged or no ledger: {error}. See `confrere ledger verify {path.name}`")
    number = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_BUSY: errno.EBUSY}.get(code, errno.EIO)
    return OSError(number, f"the ledger cannot be written ({error}); make room and try again", str(path))


def canonical(facts: Mapping[str, Any]) -> str:
    """Facts as JSON with its keys in order. LedgerError where they are not a mapping of plain data."""
    if not isinstance(facts, Mapping):
        raise LedgerError(f"the facts of an entry are a mapping, not {type(facts).__name__}")
    try:
        text = json.dumps(_plain(facts), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise LedgerError(f"the facts of an entry cannot be written: {type(error).__name__}") from error
    return text


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(one) for key, one in value.items()}
    raise LedgerError(
        f"the facts of an entry are plain data (text, finite numbers, true, false, null, lists, mappings with text "
        f"keys), not {type(value).__name__}"
    )


def _event(event: str) -> str:
    if not (isinstance(event, str) and 0 < len(event) <= 64 and event.isascii() and event.isprintable()):
        raise LedgerError(f"the event {event!r} must be 1 to 64 printable ASCII letters")
    if event in chain.OWN:
        raise LedgerError(f"the event {event!r} is the ledger's own; choose another word")
    return event


def now() -> str:
    """The time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sync_folder(folder: Path) -> None:
    """Make a new file's name itself survive a crash."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
