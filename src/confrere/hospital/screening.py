"""What clinicians note of the patients on a worklist: every move from one status to the next, in the file of the lists.

A move has who made it, when, and why. It is a row of `moves`, which is only ever added to, and goes when its patient's
row goes. The ledger has it too, without the patient and the reason: a keyed hash of the move, whose key is in the row
alone. So `changed` tells whether a move in the file is not as it was written, and the ledger tells nobody who it was.

The screening log is the flow diagram of one hospital, for its own trial file (CONSORT 2025, Hopewell et al., BMJ
2025;389:e081123). Its numbers are those of one hospital, as they are: no page of the network shows them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from confrere.study.recruitment import FIRST, reached

if TYPE_CHECKING:
    from confrere.hospital.ledger import Ledger

TABLE = """CREATE TABLE IF NOT EXISTS moves (
    n INTEGER PRIMARY KEY, list TEXT NOT NULL, person TEXT NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, salt TEXT NOT NULL,
    FOREIGN KEY (list, person) REFERENCES people (list, person) ON DELETE CASCADE)"""


class Move(NamedTuple):
    """A status that somebody noted. `at` is UTC in ISO 8601."""

    at: str
    who: str
    status: str
    reason: str


class Log(NamedTuple):
    """The screening log of a list: people at every step, who was left out, and why.

    steps     (what, criterion or "", people), the flow diagram from above
    reasons   why people were found not eligible, the most frequent first
    gone      people of these who are no longer on the list, and kept with their status
    opposed   people who are not on it because they oppose being contacted; None for who may not know
    changed   moves that are not as the ledger has them
    """

    steps: tuple[tuple[str, str, int], ...]
    reasons: tuple[tuple[str, int], ...]
    gone: int
    opposed: int | None
    changed: int


def add(db: sqlite3.Connection, name: str, person: str, move: Move) -> str:
    """Write a move down; its mark for the ledger, 32 hexadecimal digits."""
    salt = secrets.token_hex(16)
    db.execute(
        "INSERT INTO moves (list, person, at, who, status, reason, salt) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, person, *move, salt),
    )
    return _mark(name, person, move, salt)


def moves(db: sqlite3.Connection, name: str, person: str | None = None) -> dict[str, tuple[Move, ...]]:
    """Every move of each patient of a list, or of one of them, in the order in which they were made."""
    found: dict[str, tuple[Move, ...]] = {}
    query = "SELECT person, at, who, status, reason FROM moves WHERE list = ? AND (person = ? OR ?) ORDER BY n"
    for one, *move in db.execute(query, (name, person or "", person is None)):
        found[one] = (*found.get(one, ()), Move(*move))
    return found


def path(made: Sequence[Move]) -> tuple[str, ...]:
    """Every status that a patient had, the first first."""
    return (FIRST, *(move.status for move in made))


def changed(db: sqlite3.Connection, name: str, marks: Collection[str]) -> int:
    """Moves of a list that have no mark among those of the ledger: changed, or added, beside Confrere."""
    query = "SELECT person, at, who, status, reason, salt FROM moves WHERE list = ?"
    rows = db.execute(query, (name,)).fetchall()
    return sum(_mark(name, person, Move(*move), salt) not in marks for person, *move, salt in rows)


def log(db: sqlite3.Connection, name: str, marks: Collection[str]) -> Log:
    """The screening log of a list, whose funnel is that of its last run."""
    funnel, opposed = db.execute("SELECT funnel, opposed FROM lists WHERE name = ?", (name,)).fetchone()
    people = db.execute("SELECT person, status, listed FROM people WHERE list = ?", (name,)).fetchall()
    statuses = Counter(status for _, status, _ in people)
    steps = [(what, criterion, n) for what, criterion, n in json.loads(funnel)]
    steps += [(what, "", n) for what, n in reached(statuses).items()]
    last = {one: made[-1] for one, made in moves(db, name).items()}
    why = Counter(last[one].reason for one, status, _ in people if status == "not eligible")
    gone = sum(not listed for _, _, listed in people)
    return Log(tuple(steps), tuple(why.most_common()), gone, opposed, changed(db, name, marks))


def as_of(db: sqlite3.Connection, name: str, end: str) -> dict[str, str]:
    """The status that each patient of a list had at a time (UTC, ISO 8601): of those who were on it by then."""
    found = {p: FIRST for (p,) in db.execute("SELECT person FROM people WHERE list = ? AND since < ?", (name, end))}
    rows = db.execute("SELECT person, status FROM moves WHERE list = ? AND at < ? ORDER BY n", (name, end))
    return found | {person: status for person, status in rows if person in found}


def marks(ledger: Ledger) -> set[str]:
    """The marks of all moves that the ledger has."""
    return {str(e.facts["mark"]) for e in ledger.entries(event="worklist status") if "mark" in e.facts}


def _mark(name: str, person: str, move: Move, salt: str) -> str:
    text = json.dumps([name, person, *move])
    return hashlib.blake2b(text.encode(), key=bytes.fromhex(salt), digest_size=16).hexdigest()
