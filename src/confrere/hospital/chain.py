"""The form of a ledger's file, and its verification, which needs the file alone.

The hash of an entry is SHA-256 over the link before, its number, time, event and facts. A link is a hash with its
signature (Ed25519), and so covers all that came before. Entry 1 ("began") says the public key; a "rotated" entry, which
the old key signs, says the new one. So nobody without the key makes an entry, whatever hashes are computed.

A chain alone does not show that its end was cut off. So the table `tip` has one row, replaced at every write, in which
the key signs number and link of the last entry. The first write of a day adds a "head", which signs the last entry of
the days before, for those who note it elsewhere. What the key signs for one use (entry, tip, head, rotation) serves for
no other: a head is no tip of a shorter ledger.

Verification follows the hashes row by row, and checks the signatures of the end, the heads and the rotations. Those of
the other entries are there to find by bisection where hashes were computed anew: after that point none is right.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from confrere.errors import KeysError, LedgerError
from confrere.sums.frames import frames, number, purpose
from confrere.sums.keys import fingerprint
from confrere.sums.keys import verify as verify_signature

APPLICATION: Final = 0x434F4C47  # "COLG": says in the header what the file is
VERSION: Final = 1
SIGNATURE_BYTES: Final = 64
START: Final = hashlib.sha256(frames(purpose("ledger"))).digest() + bytes(SIGNATURE_BYTES)  # the link before entry 1
BEGAN, HEAD, ROTATED = "began", "head", "rotated"
OWN: Final = frozenset({BEGAN, HEAD, ROTATED})  # events that the ledger writes about itself
SCHEMA: Final = {
    "entries": "CREATE TABLE entries (number INTEGER PRIMARY KEY, at TEXT NOT NULL, event TEXT NOT NULL, "
    "facts TEXT NOT NULL, hash BLOB NOT NULL, signature BLOB NOT NULL) STRICT",
    "tip": "CREATE TABLE tip (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, "
    "link BLOB NOT NULL, signature BLOB NOT NULL) STRICT",
}
_ALL: Final = "SELECT number, at, event, facts, hash, signature FROM entries ORDER BY number"
_TRIES: Final = 5
_KEEP = "Keep the file as it is, and compare it with a backup"


class Entry(NamedTuple):
    """One entry, as it is read."""

    number: int  # 1, 2, 3, ...
    at: str  # UTC, ISO 8601, milliseconds
    event: str
    facts: dict[str, Any]
    hash: str  # 64 hex digits


class Row(NamedTuple):
    """One entry, as it stands in the file."""

    number: int
    at: str
    event: str
    facts: str  # JSON, keys in order
    hash: bytes  # (32,)
    signature: bytes  # (64,)

    @property
    def link(self) -> bytes:
        """What the next entry and the tip cover (96,)."""
        return self.hash + self.signature


class Tip(NamedTuple):
    """The signed end."""

    number: int  # of the last entry
    link: bytes  # (96,) of the last entry
    signature: bytes  # (64,)


class Verified(NamedTuple):
    """What a ledger that verifies has."""

    entries: int
    head: str  # hash of the last entry, 64 hex digits: to be noted elsewhere
    heads: int  # signed daily heads
    key: str  # fingerprint of the key that signs at the end


class _Unsettled(LedgerError):
    """The file was written to while it was read without locks."""


def hashed(before: bytes, number: int, at: str, event: str, facts: str) -> bytes:
    """The hash (32,) of an entry after the link `before` (96,). Lengths are covered, so texts cannot trade letters."""
    parts = at.encode(), event.encode(), facts.encode()
    sizes = struct.pack(">QIII", number, *map(len, parts))
    return hashlib.sha256(b"".join((before, sizes, *parts))).digest()


def check_form(link: sqlite3.Connection) -> None:
    """LedgerError unless the file says that it is a ledger, with these two tables and nothing else."""
    said = link.execute("PRAGMA application_id").fetchone()[0]
    if said != APPLICATION:
        raise LedgerError(f"the file is no ledger: application_id is {said}, not {APPLICATION}. Name a ledger.sqlite")
    version = link.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise LedgerError(f"the ledger says that its form is {version}, and this package reads {VERSION}. {_KEEP}")
    found = {(kind, name, sql) for kind, name, sql in link.execute("SELECT type, name, sql FROM sqlite_master")}
    wanted = {("table", name, sql) for name, sql in SCHEMA.items()}
    for kind, name, _ in sorted(found - wanted, key=str):
        what = "is not as a ledger has it" if (kind, name) in {w[:2] for w in wanted} else "is foreign to a ledger"
        raise LedgerError(f"the {kind} {name!r} {what}. {_KEEP}")
    for _, name, _ in sorted(wanted - found):
        raise LedgerError(f"the table {name!r} is removed. {_KEEP}")


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, to one state of the file, also while others write.

    A file that nobody has open is read without locks, which would leave files beside it; LedgerError if it was then
    written to after all, or where the file is damaged or cannot be read.
    """
    if not path.is_file():
        raise LedgerError(f"{path} is no ledger: there is no such file. Name a ledger.sqlite")
    alone, before = not _beside(path), _state(path)
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)) as link:
            link.execute("PRAGMA trusted_schema = OFF")
            link.execute("BEGIN")
            yield link
    except (sqlite3.Error, LedgerError) as error:
        if not (alone and _moved(path, before)):
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"{path.name} is no ledger, or is damaged: {error}. {_KEEP}") from error
    if alone and _moved(path, before):
        raise _Unsettled(f"{path.name} was written to while it was read. Read it again")


def read(path: Path) -> Iterator[Entry]:
    """All entries of a file, in their order, without verifying it. LedgerError where it is no ledger."""
    with reading(path) as link:
        check_form(link)
        yield from map(entry_of, link.execute(_ALL))


def entry_of(row: tuple[Any, ...]) -> Entry:
    """A row as people read it. LedgerError where its facts are none."""
    try:
        return Entry(row[0], row[1], row[2], json.loads(row[3]), row[4].hex())
    except (ValueError, TypeError, AttributeError) as error:
        raise LedgerError(f"entry {row[0]} was changed: it cannot be read. Verify the ledger", entry=row[0]) from error


def verify(path: Path, key: bytes | str | None = None, *, head: str | None = None) -> Verified:
    """Check the whole file; LedgerError names the first bad entry, and what is wrong with it. Nothing is written.

    `key`: a public key (32 bytes or hex) or fingerprint that must be among the ledger's own keys. `head`: the hash of
    an entry, noted before, that must be in it: an older copy of the file is a good ledger, and only such a note tells.
    """
    for left in reversed(range(_TRIES)):
        try:
            with reading(path) as link:
                return _verified(link, key, head)
        except _Unsettled:
            if not left:
                raise
    raise RuntimeError("not reached: the last try returns or raises")


@dataclass
class _Walk:
    """What was seen on the way through the entries."""

    noted: bytes | None  # a hash to look for
    keys: list[tuple[int, bytes]] = field(default_factory=list)  # from which entry on which key signs
    heads: int = 0
    met: bool = False

    def key(self, entry: int) -> bytes:
        """The public key that signs an entry."""
        return [key for start, key in self.keys if start <= entry][-1]

    def signed(self, row: Row) -> bool:
        """Whether an entry's hash is signed."""
        return holds(self.key(row.number), row.signature, "ledger entry", row.hash)

    def own(self, row: Row, before: bytes) -> bool:
        """Take in an entry of the ledger about itself; whether its signatures hold."""
        try:
            facts = json.loads(row.facts)
            if row.number == 1:
                self.keys.append((1, bytes.fromhex(facts["key"])))
                return row.event == BEGAN and self.signed(row)
            if row.event == BEGAN:
                return False
            if row.event == HEAD:
                self.heads += 1
                right = facts["entries"] == row.number - 1 and facts["hash"] == before[:32].hex()
                use, signer, signature = "ledger head", self.key(row.number), facts["signature"]
                parts: tuple[bytes, ...] = (number(row.number - 1), before[:32])
            else:
                right, new = True, bytes.fromhex(facts["key"])
                use, signer, signature = "ledger rotation", new, facts["consent"]
                parts = (before, self.key(row.number), new)
            if not (right and self.signed(row) and holds(signer, bytes.fromhex(signature), use, *parts)):
                return False
            if row.event == ROTATED:
                self.keys.append((row.number + 1, new))
            return True
        except (ValueError, KeyError, TypeError, AttributeError):
            return False


def holds(public: bytes, signature: bytes, use: str, *parts: bytes) -> bool:
    """Whether a signature is right."""
    try:
        verify_signature(public, signature, use, *parts)
    except (KeysError, TypeError):
        return False
    return True


def _verified(link: sqlite3.Connection, key: bytes | str | None, head: str | None) -> Verified:
    check_form(link)
    walk = _Walk(bytes.fromhex(head) if head else None)
    _chain(link, walk)
    last = _end(link, walk)
    sound = link.execute("PRAGMA quick_check(1)").fetchone()[0]
    if sound != "ok":
        raise LedgerError(f"the file is damaged: {sound}. {_KEEP}")
    if key is not None and not any(_is(key, own) for _, own in walk.keys):
        raise LedgerError(
            f"the ledger is of another key, {fingerprint(walk.keys[-1][1])}: another hospital's, or written anew from "
            f"entry 1 on. {_KEEP}",
            entry=1,
        )
    if head and not walk.met:
        raise LedgerError(
            f"the noted head {head[:16]}... is not in it, and it ends with entry {last.number}: an older copy, or "
            f"cut off. {_KEEP}",
            entry=last.number + 1,
        )
    return Verified(last.number, last.hash.hex(), walk.heads, fingerprint(walk.keys[-1][1]))


def _chain(link: sqlite3.Connection, walk: _Walk) -> None:
    """Follow the hashes through all entries. LedgerError at the first that does not fit."""
    before, expected, row = START, 1, None
    rows = link.execute(_ALL)
    while True:
        try:
            row = rows.fetchone()
            if row is None:
                return
            place, at, event, facts, digest, signature = row
            fits = place == expected and hashed(before, place, at, event, facts) == digest
            after = digest + signature
        except (sqlite3.DatabaseError, AttributeError, TypeError) as error:  # not text where text belongs
            said = "its values are not of the right types"
            raise LedgerError(f"entry {expected} was changed: {said}. {_KEEP}", entry=expected) from error
        if not fits or len(after) != len(START):
            raise _broken(link, walk, before, Row(*row), expected)
        if (event in OWN or place == 1) and not walk.own(Row(*row), before):
            raise _rewritten(link, walk, expected)
        walk.met = walk.met or digest == walk.noted
        before, expected = after, expected + 1


def _end(link: sqlite3.Connection, walk: _Walk) -> Row:
    """The last entry, if it is the one that the key has signed as the end. LedgerError otherwise."""
    rows = [Row(*row) for row in link.execute(f"{_ALL} DESC LIMIT 1")]
    if not rows:
        raise LedgerError(f"entry 1 was removed: no entry is left. {_KEEP}", entry=1)
    last, tip = rows[0], tip_of(link)
    if not walk.signed(last):
        raise _rewritten(link, walk, last.number)
    if tip is None:
        raise LedgerError(
            f"the signed end (table tip) was removed: entries after {last.number} may be cut off. {_KEEP}",
            entry=last.number + 1,
        )
    if not signed_tip(walk.key(last.number + 1), tip):
        raise LedgerError(
            f"the signature of the head is not by the ledger's key: table tip was changed, or entries after "
            f"{last.number} were cut off. {_KEEP}",
            entry=last.number + 1,
        )
    if tip.number > last.number:
        raise LedgerError(
            f"entry {last.number + 1} was removed: the end is cut off, {tip.number} entries were signed. {_KEEP}",
            entry=last.number + 1,
        )
    if (tip.number, tip.link) != (last.number, last.link):
        raise LedgerError(
            f"entry {tip.number + 1} was inserted after the signed end, or the signed end is an older one. {_KEEP}",
            entry=tip.number + 1,
        )
    return last


def tip_of(link: sqlite3.Connection) -> Tip | None:
    """The one row of the table tip; None where there is none, or not of these types."""
    rows = link.execute("SELECT number, link, signature FROM tip").fetchall()
    if len(rows) != 1 or [type(value) for value in rows[0]] != [int, bytes, bytes]:
        return None
    return Tip(*rows[0])


def signed_tip(public: bytes, tip: Tip) -> bool:
    """Whether a tip is signed by a key."""
    return tip.number >= 0 and holds(public, tip.signature, "ledger tip", number(tip.number), tip.link)


def _broken(link: sqlite3.Connection, walk: _Walk, before: bytes, row: Row, expected: int) -> LedgerError:
    """What is wrong with the first entry that does not fit, told from what comes after it and from the signed end."""
    if row.number != expected:
        return LedgerError(f"entry {expected} was removed: entry {row.number} follows. {_KEEP}", entry=expected)
    previous = link.execute(_ALL.replace(" ORDER", " WHERE number = ? ORDER"), (expected - 1,)).fetchone()
    if previous and not walk.signed(Row(*previous)):  # rewritten up to here, or its signature was changed
        return _rewritten(link, walk, expected - 1)
    tip, more, genuine = tip_of(link), _surplus(link), bool(walk.keys) and _safely(lambda: walk.signed(row))
    elsewhere = _safely(lambda: _stands_further_on(link, before, expected))
    if more > 0 and (elsewhere or not genuine or (tip is not None and expected > tip.number)):
        what = "was inserted: the signed end knows fewer entries"
    elif more < 0 and genuine and not elsewhere:
        what = "was removed, and those after it have its number"
    elif elsewhere:
        what = "was reordered: what belongs here stands further on"
    else:
        what = "was changed: its hash does not fit what it says"
    return LedgerError(f"entry {expected} {what}. {_KEEP}", entry=expected)


def _rewritten(link: sqlite3.Connection, walk: _Walk, upto: int) -> LedgerError:
    """The first entry whose hash the key never signed: the chain was computed anew from there on."""
    low, high = 1, upto
    while low < high:
        middle = (low + high) // 2
        row = link.execute(_ALL.replace(" ORDER", " WHERE number = ? ORDER"), (middle,)).fetchone()
        low, high = (middle + 1, high) if walk.signed(Row(*row)) else (low, middle)
    more = _surplus(link)
    what = "inserted" if more > 0 else "removed" if more < 0 else "changed"
    said = f"entry {low} was {what}: its hash, perhaps computed anew, is not signed by the ledger's key"
    return LedgerError(f"{said}. {_KEEP}", entry=low)


def _stands_further_on(link: sqlite3.Connection, before: bytes, expected: int) -> bool:
    """Whether a later row is what belongs after the link `before`."""
    later = link.execute(_ALL.replace(" ORDER", " WHERE number > ? ORDER"), (expected,))
    return any(hashed(before, expected, at, event, facts) == found for _, at, event, facts, found, _ in later)


def _surplus(link: sqlite3.Connection) -> int:
    """How many entries more (or fewer) there are than the tip says."""
    tip, last = tip_of(link), link.execute("SELECT max(number) FROM entries").fetchone()[0]
    return int(last - tip.number) if tip else 0


def _safely(test: Callable[[], bool]) -> bool:
    """A test of a row that may hold anything."""
    try:
        return test()
    except (TypeError, AttributeError, sqlite3.Error):
        return False


def _is(key: bytes | str, own: bytes) -> bool:
    if isinstance(key, bytes):
        return key == own
    return "".join(key.split()).lower() in (own.hex(), fingerprint(own).replace(" ", ""))


def _beside(path: Path) -> bool:
    return Path(f"{path}-wal").exists()


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _moved(path: Path, before: tuple[int, int, int]) -> bool:
    return _beside(path) or not path.exists() or _state(path) != before
