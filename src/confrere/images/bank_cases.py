"""Cases: one picture of the bank, discussed by professionals whom somebody named, for a limited time.

A case needs the patient's consent to `discussing`. It can be seen by those invited until it expires, and by nobody once
the consent is revoked, the picture is held or the patient opposes; then, as after its end, case and comments are
erased. Every look and every comment is in the ledger first, by the case's name, which says nothing about the patient.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from confrere.errors import Refused, StudyError
from confrere.images.bank import end_cases, named, sound, usable
from confrere.images.bank_store import Store, stamp

DAYS, LONGEST_DAYS = 14, 90  # that a case can be seen; that may be asked for
LONGEST: Final = 2000  # characters of a comment


class Comment(NamedTuple):
    """What somebody said; the time is ISO, UTC."""

    at: str
    who: str
    text: str


class Case(NamedTuple):
    """A case without its picture."""

    name: str
    title: str
    opened: str
    by: str
    expires: str  # ISO, UTC
    invited: tuple[str, ...]
    comments: tuple[Comment, ...]


class Cases:
    """The cases of one hospital. `log(event, **facts)` writes an entry of its ledger."""

    def __init__(self, store: Store, log: Callable[..., None]) -> None:
        self._store = store
        self._log = log

    # for stewards

    def begin(self, image: str, title: str, by: str, invited: tuple[str, ...], days: int = DAYS) -> str:
        """Open a case for those invited; its name. Refused without consent to discussing the picture.

        StudyError for no title, nobody invited, and more than 90 days.
        """
        named(by)
        if not title.strip() or not title.isprintable() or not invited or not all(w.strip() for w in invited):
            raise StudyError("a case needs a title of one line, and somebody who may see it")
        if not 1 <= days <= LONGEST_DAYS:
            raise StudyError(f"a case can be seen for 1 to {LONGEST_DAYS} days, not {days}")
        with self._open() as db:
            row = usable(self._store, db, image, "discussing")
        sound(self._store, row)
        with self._open() as db:
            usable(self._store, db, image, "discussing")
            name = f"case-{secrets.token_hex(4)}"
            self._log("case opened", case=name, image=image, by=by, invited=list(invited), days=days)
            ends = stamp(datetime.now(UTC) + timedelta(days=days))
            db.execute("INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?)", (name, image, title, stamp(), by, ends))
            db.executemany("INSERT OR IGNORE INTO invited VALUES (?, ?)", ((name, who.strip()) for who in invited))
        return name

    def heads(self) -> tuple[Case, ...]:
        """All cases, without what was said."""
        with self._open() as db:
            names = [row["name"] for row in db.execute("SELECT name FROM cases ORDER BY opened, name").fetchall()]
            return tuple(_case(db, name)._replace(comments=()) for name in names)

    def withdraw(self, name: str, who: str, by: str) -> None:
        """Nobody of this name sees the case any more. StudyError where they were not invited."""
        named(by)
        with self._open() as db:
            if not db.execute("DELETE FROM invited WHERE name = ? AND who = ?", (name, who)).rowcount:
                raise StudyError(f"{who} was not invited to {name}")
            self._log("case withdrawn", case=name, who=who, by=by)

    def expire(self) -> None:
        """Erase cases whose time is over, or whose picture may not be discussed. Whatever is asked does so first."""
        with self._open():
            pass

    def close(self, name: str, by: str) -> None:
        """End a case now: it is erased with what was said."""
        named(by)
        with self._open() as db:
            if not db.execute("DELETE FROM cases WHERE name = ?", (name,)).rowcount:
                raise StudyError(f"there is no case {name!r}; `confrere images cases` names them")
            self._log("case closed", case=name, by=by)

    # for those invited

    def mine(self, who: str) -> tuple[Case, ...]:
        """The cases that somebody may see, without what was said."""
        return tuple(case for case in self.heads() if who in case.invited)

    def show(self, name: str, who: str) -> Case:
        """A case. Refused to whoever was not invited, alike where there is none."""
        with self._open() as db:
            self._may(db, name, who)
            self._log("case shown", case=name, who=who)
            return _case(db, name)

    def png(self, name: str, who: str, what: str = "picture") -> bytes:
        """The picture of a case; `what` somebody sees of it is in the ledger. Refused as `show`."""
        with self._open() as db:
            image = self._may(db, name, who)
            self._log("case shown", case=name, who=who, what=what)
            row = usable(self._store, db, image, "discussing")
        return sound(self._store, row).png

    def say(self, name: str, who: str, text: str) -> None:
        """Add a comment. Refused as `show`; StudyError for none or more than 2,000 characters."""
        if not text.strip() or len(text) > LONGEST:
            raise StudyError(f"a comment has 1 to {LONGEST:,} characters")
        with self._open() as db:
            self._may(db, name, who)
            self._log("case comment", case=name, who=who)
            db.execute("INSERT INTO comments VALUES (?, ?, ?, ?)", (name, stamp(), who, text.strip()))

    # inside

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._store.open() as db:  # what must go is erased, whatever becomes of the rest
            rows = db.execute("SELECT name, image, expires FROM cases").fetchall()
            may = self._store.may(db, "discussing", {row["image"] for row in rows})
            over = (row["name"] for row in rows if row["expires"] <= stamp() or row["image"] not in may)
            end_cases(db, self._log, over)
        with self._store.open() as db:
            yield db

    def _may(self, db: sqlite3.Connection, name: str, who: str) -> str:
        """The picture of a case that somebody may see."""
        found = db.execute("SELECT image FROM cases JOIN invited USING (name) WHERE name = ? AND who = ?", (name, who))
        if (row := found.fetchone()) is None:
            raise Refused(f"there is no case {name!r} for {who!r}: it is over, or they were not invited")
        return str(row["image"])


def _case(db: sqlite3.Connection, name: str) -> Case:
    row = db.execute("SELECT * FROM cases WHERE name = ?", (name,)).fetchone()
    invited = db.execute("SELECT who FROM invited WHERE name = ? ORDER BY who", (name,)).fetchall()
    said = db.execute("SELECT at, who, text FROM comments WHERE name = ? ORDER BY rowid", (name,)).fetchall()
    return Case(
        name, row["title"], row["opened"], row["by"], row["expires"], tuple(r["who"] for r in invited),
        tuple(Comment(*r) for r in said),
    )  # fmt: skip
