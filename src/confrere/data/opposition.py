"""The register of oppositions and consents: who is left out of a study, why, and which studies used whose data.

    register = Register(home / "oppositions.sqlite")
    register.add([Said("1017", "*", "opposed", "2026-03-01", "letter")])
    ids = patients(source, "curie")
    left = register.eligible("breast", study.purpose, ids, k=11)
    table = sources.read(Without(source, source.person, left.everyone), columns, schema)

What a patient said is one line per time it was said; lines are added, never changed or deleted. Of a patient and a
purpose the last word holds: by day, then in the order of recording. "*" is every purpose. Whoever opposes "*" or the
purpose is left out; where a purpose needs consent, so is everybody who has not consented to it or to "*". A consent to
one purpose does not lift an opposition to every purpose: that is withdrawn first.

Left out, beside them, is the cover (`confrere.data.cover`): any two sets of people of one table that were ever
answered are the same, or differ by k people or more. Neither number leaves: what is read afterwards has no trace of
either. The register keeps the sets as bitmaps over patients whose ids are hashed with a key of its own. Whoever has the
file has the key: it protects against a glance, and the file itself is for its owner alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

from pyroaring import BitMap

from confrere.data import sources
from confrere.data.cover import cohort
from confrere.data.sources import Source
from confrere.errors import DataError, Refused

EVERY = "*"
CONTACT = "contact for research"  # a purpose beside those of studies: who opposes it is on no list of whom to contact
STATUSES = ("opposed", "consented", "withdrawn", "ended")
BUSY = 30.0  # seconds to wait for another process that writes
_MASK = (1 << 62) - 1

_TABLES = """
CREATE TABLE IF NOT EXISTS said (
    n INTEGER PRIMARY KEY, person TEXT NOT NULL, purpose TEXT NOT NULL, status TEXT NOT NULL, date TEXT NOT NULL,
    source TEXT NOT NULL, until TEXT NOT NULL, again INTEGER NOT NULL, recorded TEXT NOT NULL,
    UNIQUE (person, purpose, status, date, source, until, again));
CREATE TABLE IF NOT EXISTS consent (
    n INTEGER PRIMARY KEY, purpose TEXT NOT NULL, needed INTEGER NOT NULL, recorded TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS secret (key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS member (n INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, draw INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answered (
    n INTEGER PRIMARY KEY, list TEXT NOT NULL, purpose TEXT NOT NULL, recorded TEXT NOT NULL, members BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS used (
    n INTEGER PRIMARY KEY, study TEXT NOT NULL, title TEXT NOT NULL, purpose TEXT NOT NULL, day TEXT NOT NULL,
    members BLOB NOT NULL);
"""


class Said(NamedTuple):
    """What a patient said, once. Ids are trimmed text; dates ISO 8601; `until` is the last day of a consent, or ""."""

    person: str
    purpose: str
    status: str  # opposed, consented, withdrawn: nothing stands any more; ended: nothing of this source does
    date: str
    source: str
    until: str = ""


class Left(NamedTuple):
    """Ids of those who are left out, of those who were asked about. Both stay in the hospital."""

    out: frozenset[str]  # opposed, or without the consent that is needed
    cover: frozenset[str]  # others, so that at least k differ from every set that was answered before

    @property
    def everyone(self) -> frozenset[str]:
        """Whom the query leaves out; nothing tells the two apart from here on."""
        return self.out | self.cover


class Use(NamedTuple):
    """A study that used the data of a patient. `day` is ISO 8601."""

    study: str
    title: str
    purpose: str
    day: str


def patients(source: Source, hospital: str = "this hospital") -> list[str]:
    """Everybody whom a source names, once, as trimmed text. DataError where its binding does not say who they are."""
    if source.person is None:
        raise DataError(
            f"{hospital}: {source.path}: nobody who opposes could be left out, since no column is said to name the "
            f'person; say it in hospital.toml: [tables] NAME = {{path = "{source.path}", person = "COLUMN"}}'
        )
    return [i for i in dict.fromkeys(sources.texts(source, [source.person], hospital)[source.person]) if i is not None]


# Letters and signs, small, that look like ours in one of their cases (as Unicode UTS 39 has them).
ALIKE = str.maketrans(
    "асԁеһіјӏорԛѕѵԝхугкмнтвαβεηικμνορστυχγօոսհցզɑ|ǀ∣│", "acdehijlopqsvwxyrkmhtbabehikmvopctuxyonuhgqallll"
)
_LATIN = re.compile(r"LATIN (?:SMALL LETTER|LETTER SMALL CAPITAL) (?:DOTLESS |SCRIPT |LONG )?([A-Z])(?: WITH .+)?")
_UNSEEN = re.compile("COMBINING|VARIATION SELECTOR|FILLER")


def purpose_key(purpose: str) -> str:
    """A purpose as it is compared: without case, blanks as one, letters in one form, and nothing that is not seen."""
    plain = unicodedata.normalize("NFKC", purpose)
    seen = "".join(c for c in plain if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace())
    return " ".join(seen.casefold().split())


@lru_cache(maxsize=4096)
def looks(purpose: str) -> str:
    """What a reader sees of a purpose: purposes that look alike are one. For comparison alone, never stored or shown.

    Letters and digits alone count, without accents and hooks; those that look alike are one, as i, l and 1 are.
    """
    seen = "".join(map(_look, purpose_key(purpose).translate(ALIKE)))
    return seen.translate(str.maketrans("i10", "llo"))


def _look(letter: str) -> str:
    """The plain small letter that one looks like; "" for what is no letter or digit."""
    name = unicodedata.name(letter, "")
    if unicodedata.category(letter)[0] not in "LMN" or _UNSEEN.search(name):
        return ""
    found = _LATIN.fullmatch(name)
    return found[1].lower() if found else letter


class Register:
    """The register in one SQLite file. OSError where it cannot be opened or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RLock()
        self._digests: dict[tuple[Any, ...], str] = {}
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with _as_oserror():
            self._db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous = FULL")
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'used'").fetchone():
                self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES}")
                if not self._db.execute("SELECT 1 FROM secret").fetchone():  # another process may have been first
                    self._db.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))
                self._db.execute("COMMIT")
        self._key = bytes(self._all("SELECT key FROM secret")[0][0])

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # what patients said

    def add(self, lines: Iterable[Said]) -> int:
        """Record what patients said, all of it or nothing; how much was new. DataError for what cannot be.

        A line that the register has already is no new word: the same list twice changes nothing.
        """
        wanted = sorted((checked(line) for line in lines), key=lambda line: line.date)  # the last word is the latest
        times: Counter[Said] = Counter()
        with self._writing() as db:
            before = db.total_changes
            for line in wanted:
                self._insert(db, line, times[line])
                times[line] += 1
            return db.total_changes - before

    def say(self, line: Said) -> None:
        """Record one word of a patient, as the last one. DataError where a later word is recorded."""
        line = checked(line)
        with self._writing() as db:
            lines = [known for known in self.history(line.person) if known.purpose == line.purpose]
            if later := [known.date for known in lines if known.date[:10] > line.date[:10]]:
                raise DataError(f"the register has a word of {max(later)}, later than {line.date}; give a later date")
            self._insert(db, line, lines.count(line))

    def withdraw(self, person: str, purpose: str, source: str) -> None:
        """Take back what a patient last said on a purpose; the history stays. DataError if nothing stands."""
        last = {line.purpose: line.status for line in self.last(person)}
        if last.get(purpose_key(purpose), "withdrawn") == "withdrawn":
            standing = [on for on, status in last.items() if status != "withdrawn"]
            known = f"; what stands is on {', '.join(standing)}" if standing else ""
            raise DataError(f"nothing of this person stands on the purpose {purpose!r}{known}")
        self.say(Said(person, purpose, "withdrawn", date.today().isoformat(), source))

    @staticmethod
    def _insert(db: sqlite3.Connection, line: Said, again: int) -> None:
        db.execute(
            "INSERT OR IGNORE INTO said (person, purpose, status, date, source, until, again, recorded)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*line, again, _now()),
        )

    def need_consent(self, purpose: str, needed: bool = True) -> None:
        """From now on a purpose ("*": every purpose) leaves out everybody without consent; or no longer does."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO consent (purpose, needed, recorded) VALUES (?, ?, ?)",
                (purpose_key(purpose), int(needed), _now()),
            )

    def consents(self) -> tuple[str, ...]:
        """Purposes that need consent."""
        last = dict(self._all("SELECT purpose, needed FROM consent ORDER BY n"))
        return tuple(sorted(purpose for purpose, needed in last.items() if needed))

    def history(self, person: str | None = None) -> list[Said]:
        """All that one patient, or everybody, ever said, in the order of recording."""
        query = "SELECT person, purpose, status, date, source, until FROM said WHERE person = ? OR ? ORDER BY n"
        rows = self._all(query, (person or "").strip(), person is None)
        return [Said(*row) for row in rows]

    def last(self, person: str | None = None) -> list[Said]:
        """The last word of one patient, or of everybody, on every purpose: what holds today.

        A consent that is over is no word; where a source's word has ended, those of other sources hold on.
        """
        today = date.today().isoformat()
        lines = [w for w in self.history(person) if w.status != "consented" or not w.until or w.until >= today]
        of_source: dict[tuple[str, str, str], Said] = {}
        for line in sorted(lines, key=lambda line: line.date[:10]):  # stable: of one day, the later recorded is later
            of_source.pop(key := (line.person, line.purpose, line.source), None)
            of_source[key] = line
        found = {(line.person, line.purpose): line for line in of_source.values() if line.status != "ended"}
        return [found[key] for key in sorted(found)]

    # who is left out

    def left_out(self, purpose: str, ids: Collection[str]) -> frozenset[str]:
        """Those of `ids` who are left out of studies of a purpose: opposed, or without the consent that it needs."""
        opposed, consented = self._standing(purpose)
        if consented is None:
            return frozenset(opposed.intersection(ids))
        return frozenset(ids) - (consented - opposed)

    def digest(self, purpose: str) -> str:
        """Changes if and only if who is left out of studies of this purpose does. 64 hexadecimal digits, keyed."""
        latest = self._all("SELECT (SELECT max(n) FROM said), (SELECT max(n) FROM consent)")
        state = (purpose_key(purpose), date.today(), *latest)
        with self._lock:
            if state not in self._digests:
                opposed, consented = self._standing(purpose)
                who = opposed if consented is None else consented - opposed
                text = "\n".join(["opposed" if consented is None else "consented", *sorted(map(repr, who))])
                self._digests = {state: hashlib.blake2b(text.encode(), key=self._key, digest_size=32).hexdigest()}
            return self._digests[state]

    def _standing(self, purpose: str) -> tuple[set[str], set[str] | None]:
        """Who opposes a purpose, and who consents to it; None where it needs no consent."""
        last, needed = self.last(), self.consents()
        meant = {EVERY, *(p for p in {*(w.purpose for w in last), *needed} if looks(p) == looks(purpose))}
        words = [line for line in last if line.purpose in meant]
        opposed, consented = ({w.person for w in words if w.status == status} for status in ("opposed", "consented"))
        return opposed, consented if meant & set(needed) else None

    def eligible(self, table: str, purpose: str, ids: Sequence[str], k: int) -> Left:
        """Whom of a table's people to leave out, so that they differ from every set answered before by 0 or k.

        The same question has the same answer, until a set is `answered` or somebody says something.
        """
        out = self.left_out(purpose, ids)
        may = [i for i in dict.fromkeys(ids) if i not in out]
        answered = [members for _, members in self._answered(table)]
        known = dict(self._all("SELECT hash, n FROM member"))
        free = max(known.values(), default=0) + 1  # whoever was never answered about has no number yet
        places = {known.get(h) or free + at: i for at, (h, i) in enumerate((self._hash(i), i) for i in may)}
        draw = [n for (n,) in self._all("SELECT n FROM member ORDER BY draw")] if answered else []
        stay = cohort(BitMap(places), answered, draw, k)
        return Left(out, frozenset(i for n, i in places.items() if n not in stay))

    def answered(self, table: str, purpose: str, ids: Collection[str], k: int) -> None:
        """Record, before anything is answered, whom the answers are about: what `eligible` leaves of the table.

        Refused where another set was answered meanwhile that differs from this one by 1 to k-1 people.
        """
        with self._writing() as db:
            members = self._members(db, ids)
            before = [known for _, known in self._answered(table)]
            if not members or members in before:
                return
            if any(0 < len(members ^ known) < k for known in before):
                raise Refused(f"another study of the table {table!r} was answered meanwhile; start this one anew")
            db.execute(
                "INSERT INTO answered (list, purpose, recorded, members) VALUES (?, ?, ?, ?)",
                (table, purpose_key(purpose), _now(), members.serialize()),
            )

    def known(self, table: str) -> bool:
        """Whether any set of this table's people was answered."""
        return bool(self._answered(table))

    def _answered(self, table: str) -> list[tuple[str, BitMap]]:
        rows = self._all("SELECT recorded, members FROM answered WHERE list = ? ORDER BY n", table)
        return [(recorded, BitMap.deserialize(members)) for recorded, members in rows]

    # who was used

    def used(self, study: str, title: str, purpose: str, ids: Collection[str], day: str) -> None:
        """Record whose data a study (its hash) used, on a day in ISO 8601. The same again changes nothing."""
        with self._writing() as db:
            members = self._members(db, ids)
            known = db.execute("SELECT members FROM used WHERE study = ?", (study,)).fetchall()
            if any(BitMap.deserialize(blob) == members for (blob,) in known):
                return
            db.execute(
                "INSERT INTO used (study, title, purpose, day, members) VALUES (?, ?, ?, ?, ?)",
                (study, title, purpose, day, members.serialize()),
            )

    def receipt(self, person: str) -> list[Use]:
        """The studies that used the data of a patient, the first first; a study once, from its first day."""
        place = self._all("SELECT n FROM member WHERE hash = ?", self._hash(person.strip()))
        uses: dict[str, Use] = {}
        for *use, members in self._all("SELECT study, title, purpose, day, members FROM used ORDER BY day, n"):
            if place and place[0][0] in BitMap.deserialize(members):
                uses.setdefault(use[0], Use(*use))
        return list(uses.values())

    # the file

    def _hash(self, person: str) -> bytes:
        return hashlib.blake2b(person.encode(), key=self._key, digest_size=16).digest()

    def _members(self, db: sqlite3.Connection, ids: Collection[str]) -> BitMap:
        """The numbers of people, in a transaction; whoever has none gets one, and a place in the draw by chance."""
        hashes = [self._hash(i) for i in ids]
        known = dict(db.execute("SELECT hash, n FROM member"))
        new = [(h, secrets.randbits(64) & _MASK) for h in dict.fromkeys(hashes) if h not in known]
        secrets.SystemRandom().shuffle(new)  # numbers in no order of the table
        db.executemany("INSERT INTO member (hash, draw) VALUES (?, ?)", new)
        known |= dict(db.execute("SELECT hash, n FROM member WHERE n > ?", (max(known.values(), default=0),)))
        members = BitMap(known[h] for h in hashes)
        members.run_optimize()
        return members

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, _as_oserror():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it, or nothing."""
        with self._lock, _as_oserror():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def checked(line: Said) -> Said:
    """The line as it is kept. DataError names the column, the rule and the remedy, and never the person."""
    person, source = line.person.strip(), line.source.strip()
    purpose, status = purpose_key(line.purpose), line.status.strip().casefold()
    if not person:
        raise DataError("person is empty; give the id as the hospital's tables have it")
    if not purpose:
        raise DataError('purpose is empty; give the purpose as studies word it, or "*" for every purpose')
    if status not in STATUSES:
        raise DataError(f"status {line.status!r} is not known; it is one of {', '.join(STATUSES)}")
    if not source:
        raise DataError("source is empty; say where it was recorded, such as letter or portal")
    day = iso(line.date, "date")
    if day[:10] > datetime.now(UTC).date().isoformat() and day[:10] > date.today().isoformat():
        raise DataError(f"date {line.date!r} is in the future; give the day on which it was said")
    return Said(person, purpose, status, day, source, iso(line.until, "until")[:10] if line.until else "")


def iso(text: str, column: str) -> str:
    """A date or a time of ISO 8601 in one spelling: 2026, 2026-03, 2026-03-01 or 2026-03-01T12:00:00+01:00."""
    text = text.strip()
    whole = {4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text)
    try:
        found = datetime.fromisoformat(whole)
    except ValueError:
        raise DataError(f"{column} {text[:40]!r} is no date; write year-month-day, such as 2026-03-01") from None
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    return found.date().isoformat() if len(whole) == 10 else found.isoformat(timespec="seconds")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _as_oserror() -> Iterator[None]:
    """A full disk, a file that cannot be opened or written: an OSError, on which a hospital waits."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"the register of oppositions cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        if "malformed" in str(error) or "not a database" in str(error):
            raise OSError(f"the register of oppositions is damaged: {error}; restore it from a backup") from error
        raise
