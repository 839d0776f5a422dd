"""What the coordinator's service remembers: runs, releases, researchers' tokens. SQLite, or PostgreSQL by one setting.

Findings, journals and progress are files in the runs' folders; here stands only what must be looked up: who asked for
what until when, which attempt of the engine is under way, and who let which findings out of the airlock. Tokens are
kept as hashes, and each may do what its scopes say, until it expires. Every act of the airlock holds the hash of the
one before, so that none can be changed or taken out.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)  # fmt: skip
from sqlalchemy.exc import IntegrityError

from confrere.errors import ProtocolError, StudyError, Waiting

SCOPES = ("read", "submit")  # of a token: runs and findings; studies and cancelling
DAYS = 365  # that a token holds at most

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
    Column("label", String(200), nullable=False, server_default=""),
    Column("scopes", String(40), nullable=False, server_default=" ".join(SCOPES)),
    Column("expires", Float, nullable=False, server_default="0"),
)  # fmt: skip
_ID = 12  # first letters of a token's hash, by which its owner names it
ACTS = Table(
    "acts", _META,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run", String(64), nullable=False, index=True),
    Column("act", String(20), nullable=False),
    Column("person", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("details", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("link", String(64), nullable=False),
)  # fmt: skip
_TRIES = 20  # at a place that another process takes first


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


class Act(NamedTuple):
    """What happened to a run in the airlock: `arrived`, `asked`, `read`, `released`, `rejected` or `erased`.

    `person` is who did it, "" where nobody did; `sha256` is that of the findings as they then were, and `details` is
    JSON. `link` is the SHA-256 over the link before and all of this.
    """

    number: int
    run: str
    act: str
    person: str
    comment: str
    sha256: str
    details: str
    at: float
    link: str

    def linked(self, before: str) -> str:
        """What the link must be after the link `before`."""
        return _hash(before + json.dumps(self[:-1], ensure_ascii=True))


class Token(NamedTuple):
    """What is known of a token: its number in lists, its owner's name for it, what it may do. Times since 1970."""

    id: str
    label: str
    scopes: tuple[str, ...]
    made: float
    expires: float


class Book:
    """The service's memory, at a database URL such as `sqlite:///.../state.db` or `postgresql+psycopg://...`."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, pool_pre_ping=True)
        _META.create_all(self._engine)
        _widen(self._engine)

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

    def write(
        self, run: str, act: str, sha256: str, *, person: str = "", comment: str = "", details: str = "{}"
    ) -> Act:
        """Write down what happened to a run in the airlock, after all that happened before."""
        return self.writes(Act(0, run, act, person, comment, sha256, details, 0.0, ""))[0]

    def writes(self, *acts: Act) -> list[Act]:
        """Write down what happened at once: all or nothing. Numbers, times and links are given here."""
        for _ in range(_TRIES):
            with self._engine.connect() as db:
                last = db.execute(select(ACTS).order_by(ACTS.c.number.desc()).limit(1)).first()
            (number, before), made, now = (last.number, last.link) if last else (0, ""), list[Act](), time.time()
            for act in acts:
                number += 1
                numbered = act._replace(number=number, at=now)
                made.append(numbered._replace(link=numbered.linked(before)))
                before = made[-1].link
            try:
                with self._engine.begin() as db:
                    db.execute(insert(ACTS), [one._asdict() for one in made])
            except IntegrityError:
                continue  # another process took this place
            return made
        raise Waiting("the record of releases is being written by others; try again")

    def acts(self, run: str = "") -> list[Act]:
        """What happened in the airlock, to all runs or to one, in order."""
        asked = select(ACTS).order_by(ACTS.c.number)
        with self._engine.connect() as db:
            return [Act(**row._mapping) for row in db.execute(asked.where(ACTS.c.run == run) if run else asked)]

    def verify(self) -> str:
        """The last link of the record of releases. ProtocolError names the first act that was changed or is missing."""
        before = ""
        for place, act in enumerate(self.acts(), start=1):
            if act.number != place or act.link != act.linked(before):
                raise ProtocolError(f"the record of releases was changed at its act {place}: nothing can be released")
            before = act.link
        return before

    def token(self, researcher: str, label: str = "", scopes: tuple[str, ...] = SCOPES, days: float = DAYS) -> str:
        """A new token for a researcher: shown once, kept as its hash. StudyError for a scope or a time that is none."""
        if not scopes or set(scopes) - set(SCOPES):
            raise StudyError(f"a token's scopes {scopes} must be of {', '.join(SCOPES)}")
        if not 0 < days <= DAYS:
            raise StudyError(f"a token holds for at most {DAYS} days, not {days:g}")
        token, now = secrets.token_urlsafe(32), time.time()
        known = {"hash": _hash(token), "researcher": researcher, "made": now, "label": label}
        with self._engine.begin() as db:
            db.execute(delete(TOKENS).where(TOKENS.c.expires < now))
            db.execute(insert(TOKENS).values(**known, scopes=" ".join(scopes), expires=now + days * 86400))
        return token

    def tokens(self, researcher: str) -> list[Token]:
        """The tokens of a researcher that still hold, the oldest first."""
        mine = (TOKENS.c.researcher == researcher) & (TOKENS.c.expires >= time.time())
        with self._engine.connect() as db:
            rows = db.execute(select(TOKENS).where(mine).order_by(TOKENS.c.made)).all()
        return [Token(r.hash[:_ID], r.label, tuple(r.scopes.split()), r.made, r.expires) for r in rows]

    def withdraw(self, researcher: str, id: str) -> bool:
        """Take back one token of a researcher, by its number; whether there was one."""
        if len(id) != _ID or not id.isalnum():
            return False
        one = (TOKENS.c.researcher == researcher) & TOKENS.c.hash.startswith(id)
        with self._engine.begin() as db:
            return bool(db.execute(delete(TOKENS).where(one)).rowcount)

    def revoke(self, researcher: str) -> int:
        """Take back every token of a researcher; how many there were. StudyError if there was none."""
        with self._engine.begin() as db:
            gone = db.execute(delete(TOKENS).where(TOKENS.c.researcher == researcher)).rowcount
        if not gone:
            raise StudyError(f"{researcher!r} has no token")
        return gone

    def researcher(self, token: str, scope: str = "read") -> str | None:
        """Whose token this is, if it still holds and may do this."""
        with self._engine.connect() as db:
            row = db.execute(select(TOKENS).where(TOKENS.c.hash == _hash(token))).first()
        if row is None or row.expires < time.time() or scope not in row.scopes.split():
            return None
        return str(row.researcher)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _widen(engine: Engine) -> None:
    """Give the tokens of a database of version 0.1 the columns that it lacks; they hold as long as new ones."""
    there = {column["name"] for column in inspect(engine).get_columns(TOKENS.name)}
    with engine.begin() as db:
        for column in (c for c in TOKENS.columns if c.name not in there):
            kind, default = column.type.compile(engine.dialect), column.server_default.arg  # type: ignore[union-attr]
            db.execute(text(f"ALTER TABLE tokens ADD COLUMN {column.name} {kind} NOT NULL DEFAULT '{default}'"))
        if "expires" not in there:
            db.execute(update(TOKENS).values(expires=TOKENS.c.made + DAYS * 86400))
