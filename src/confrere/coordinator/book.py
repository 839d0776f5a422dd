"""What the coordinator's service remembers: runs, and researchers' tokens. SQLite, or PostgreSQL by one setting.

Findings, journals and progress are files in the runs' folders; here stands only what must be looked up: who asked for
what until when, and which attempt of the engine is under way. Tokens are kept as hashes.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any, NamedTuple

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, create_engine, delete, insert, select, update

from confrere.errors import StudyError

_META = MetaData()
RUNS = Table(
    "runs", _META,
    Column("run", String(64), primary_key=True),
    Column("study", String(64), nullable=False),
    Column("title", String(500), nullable=False),
    Column("researcher", String(200), nullable=False),
    Column("submitted", Float, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("state", String(20), nullable=False),
    Column("why", String(2000), nullable=False, default=""),
    Column("handle", String(200), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("changed", Float, nullable=False),
)  # fmt: skip
TOKENS = Table(
    "tokens", _META,
    Column("hash", String(64), primary_key=True),
    Column("researcher", String(200), nullable=False),
    Column("made", Float, nullable=False),
)  # fmt: skip


class Entry(NamedTuple):
    """One run. Times are seconds since 1970."""

    run: str
    study: str
    title: str
    researcher: str
    submitted: float
    deadline: float
    state: str
    why: str
    handle: str
    attempts: int
    changed: float


class Book:
    """The service's memory, at a database URL such as `sqlite:///.../state.db` or `postgresql+psycopg://...`."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, pool_pre_ping=True)
        _META.create_all(self._engine)

    def add(self, entry: Entry) -> None:
        """A new run."""
        with self._engine.begin() as db:
            db.execute(insert(RUNS).values(**entry._asdict()))

    def get(self, run: str) -> Entry | None:
        """The run of a name."""
        with self._engine.connect() as db:
            row = db.execute(select(RUNS).where(RUNS.c.run == run)).first()
        return Entry(**row._mapping) if row else None

    def all(self) -> list[Entry]:
        """All runs, the oldest first."""
        with self._engine.connect() as db:
            return [Entry(**row._mapping) for row in db.execute(select(RUNS).order_by(RUNS.c.submitted))]

    def change(self, run: str, **facts: Any) -> None:
        """Change what is known of a run."""
        with self._engine.begin() as db:
            db.execute(update(RUNS).where(RUNS.c.run == run).values(**facts, changed=time.time()))

    def forget(self, run: str) -> None:
        """Remove a run."""
        with self._engine.begin() as db:
            db.execute(delete(RUNS).where(RUNS.c.run == run))

    def token(self, researcher: str) -> str:
        """A new token for a researcher: shown once, kept as its hash."""
        token = secrets.token_urlsafe(32)
        with self._engine.begin() as db:
            db.execute(insert(TOKENS).values(hash=_hash(token), researcher=researcher, made=time.time()))
        return token

    def revoke(self, researcher: str) -> int:
        """Take back every token of a researcher; how many there were. StudyError if there was none."""
        with self._engine.begin() as db:
            gone = db.execute(delete(TOKENS).where(TOKENS.c.researcher == researcher)).rowcount
        if not gone:
            raise StudyError(f"{researcher!r} has no token")
        return gone

    def researcher(self, token: str) -> str | None:
        """Whose token this is."""
        with self._engine.connect() as db:
            row = db.execute(select(TOKENS.c.researcher).where(TOKENS.c.hash == _hash(token))).first()
        return str(row[0]) if row else None

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
