"""Who is signed in, which sign-ins are under way, and what failed: one SQLite file that several processes share.

A session's id is 256 random bits, made at sign-in and never before (so that nobody can plant one), and kept as its
SHA-256 alone: whoever reads the file can pose as nobody. A session ends when it rested for `idle` seconds, and after
`longest` in any case. A sign-in under way is bound to the browser that began it and taken once. After FAILURES
failures within WINDOW seconds an address is locked out until the first of them is older than that.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

FAILURES, WINDOW = 5, 900.0  # of sign-ins and links: how many, in seconds
UNDERWAY = 600.0  # seconds that a sign-in may take
_TOUCH = 15.0  # seconds between two notes that a session is in use
_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (hash TEXT PRIMARY KEY, person TEXT NOT NULL, csrf TEXT NOT NULL,
    made REAL NOT NULL, seen REAL NOT NULL, said TEXT NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS signins (hash TEXT PRIMARY KEY, browser TEXT NOT NULL, nonce TEXT NOT NULL,
    verifier TEXT NOT NULL, after TEXT NOT NULL, made REAL NOT NULL);
CREATE TABLE IF NOT EXISTS failures (who TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS failures_of ON failures (who, at);
"""


class Person(NamedTuple):
    """Who is signed in: the provider's stable name for them, the name to show, and their roles."""

    id: str
    name: str
    roles: tuple[str, ...]


class Session(NamedTuple):
    """A session: whose it is, and the token that every form of it carries."""

    id: str
    person: Person
    csrf: str


class Signin(NamedTuple):
    """A sign-in under way: what the provider must give back, and where the person wanted to go."""

    state: str
    nonce: str
    verifier: str
    after: str


class Sessions:
    """The file of sessions. Times in seconds; `clock` gives the seconds since 1970."""

    def __init__(
        self, path: Path, idle: float = 1800.0, longest: float = 36000.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._path, self._idle, self._longest, self._clock = path, idle, longest, clock
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # for its owner alone, before anything is in it
        with closing(sqlite3.connect(path, timeout=5)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_TABLES)

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            yield db

    # sessions

    def begin(self, person: Person) -> Session:
        """A new session, with an id that nobody has seen."""
        made, now = Session(secrets.token_urlsafe(32), person, secrets.token_urlsafe(32)), self._clock()
        with self._db() as db:
            db.execute(
                "INSERT INTO sessions (hash, person, csrf, made, seen) VALUES (?, ?, ?, ?, ?)",
                (_hash(made.id), json.dumps(person), made.csrf, now, now),
            )
            db.execute("DELETE FROM sessions WHERE seen < ? OR made < ?", (now - self._idle, now - self._longest))
        return made

    def find(self, id: str) -> Session | None:
        """The session of this id, if it is neither over nor idle for too long; it counts as used."""
        now = self._clock()
        with self._db() as db:
            row = db.execute(
                "SELECT person, csrf, seen FROM sessions WHERE hash = ? AND seen >= ? AND made >= ?",
                (_hash(id), now - self._idle, now - self._longest),
            ).fetchone()
            if row and now - row[2] > _TOUCH:
                db.execute("UPDATE sessions SET seen = ? WHERE hash = ?", (now, _hash(id)))
        if row is None:
            return None
        name, shown, roles = json.loads(row[0])
        return Session(id, Person(name, shown, tuple(roles)), row[1])

    def end(self, id: str) -> None:
        """End a session."""
        with self._db() as db:
            db.execute("DELETE FROM sessions WHERE hash = ?", (_hash(id),))

    def end_all(self, person: str) -> int:
        """End every session of the person of this id, as when their access is taken away; how many there were."""
        with self._db() as db:
            return db.execute("DELETE FROM sessions WHERE json_extract(person, '$[0]') = ?", (person,)).rowcount

    def say(self, id: str, text: str) -> None:
        """Leave a sentence for the next page of a session."""
        with self._db() as db:
            db.execute("UPDATE sessions SET said = json_insert(said, '$[#]', ?) WHERE hash = ?", (text, _hash(id)))

    def heard(self, id: str) -> list[str]:
        """Take the sentences that were left."""
        with self._db() as db:
            row = db.execute("SELECT said FROM sessions WHERE hash = ?", (_hash(id),)).fetchone()
            if row is None or row[0] == "[]":
                return []
            db.execute("UPDATE sessions SET said = '[]' WHERE hash = ?", (_hash(id),))
        return [str(text) for text in json.loads(row[0])]

    # sign-ins under way

    def leave(self, signin: Signin, browser: str) -> None:
        """Note a sign-in that begins in this browser (the value of its cookie)."""
        now = self._clock()
        with self._db() as db:
            db.execute("DELETE FROM signins WHERE made < ?", (now - UNDERWAY,))
            db.execute(
                "INSERT INTO signins VALUES (?, ?, ?, ?, ?, ?)",
                (_hash(signin.state), _hash(browser), *signin[1:], now),
            )

    def back(self, state: str, browser: str) -> Signin | None:
        """Take the sign-in of this state, once, if this browser began it and not too long ago."""
        with self._db() as db:
            row = db.execute(
                "DELETE FROM signins WHERE hash = ? AND browser = ? AND made >= ? RETURNING nonce, verifier, after",
                (_hash(state), _hash(browser), self._clock() - UNDERWAY),
            ).fetchone()
        return Signin(state, *row) if row else None

    # failures

    def failed(self, who: str) -> bool:
        """Note a failure of an address; whether it is locked out by this one."""
        now = self._clock()
        with self._db() as db:
            db.execute("DELETE FROM failures WHERE at < ?", (now - WINDOW,))
            db.execute("INSERT INTO failures VALUES (?, ?)", (who, now))
            (count,) = db.execute("SELECT count(*) FROM failures WHERE who = ?", (who,)).fetchone()
        return bool(count == FAILURES)

    def locked(self, who: str) -> int:
        """Seconds for which an address is still locked out; 0 if it is not."""
        now = self._clock()
        with self._db() as db:
            times = db.execute(
                "SELECT at FROM failures WHERE who = ? AND at >= ? ORDER BY at DESC LIMIT ?",
                (who, now - WINDOW, FAILURES),
            ).fetchall()
        return int(times[-1][0] + WINDOW - now) + 1 if len(times) == FAILURES else 0

    def forgive(self, who: str) -> None:
        """Forget the failures of an address, after a sign-in that worked."""
        with self._db() as db:
            db.execute("DELETE FROM failures WHERE who = ?", (who,))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
