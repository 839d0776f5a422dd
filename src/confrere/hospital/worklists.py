"""What stays: the rows that studies keep for this hospital's clinicians, in a file of the hospital, worklists.sqlite.

A list is shown to clinicians whom the steward named for it, and erased when it expires. Whatever is seen or changed
goes into the ledger first, through `log`: who, which list, how many rows; never a patient's id or value. Where the
ledger cannot be written, nothing is shown. To the network goes one number, `told`: once in a calendar month, floored to
a multiple of k, and the same all month, so that two looks do not show one patient.

The file is its owner's alone (0600), and erased rows are overwritten in it (SQLite's `secure_delete`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from confrere.errors import Refused, StudyError
from confrere.study.worklist import Worklist

DAYS = 90  # that rows are kept, unless the hospital's policy says otherwise
BUSY = 10.0  # seconds to wait for another process
STATUSES = ("todo", "contacted", "done", "declined", "ineligible")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet knows a formula
Log = Callable[..., None]  # log(event, **facts)
Opposed = Callable[[str, Collection[str]], Collection[str]]  # of a purpose and people: who of them is left out

_TABLES = (
    """CREATE TABLE IF NOT EXISTS lists (
        name TEXT PRIMARY KEY, identity TEXT UNIQUE NOT NULL, study TEXT NOT NULL, title TEXT NOT NULL,
        purpose TEXT NOT NULL, study_purpose TEXT NOT NULL, columns TEXT NOT NULL, criteria TEXT NOT NULL,
        made TEXT NOT NULL, expires TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS people (
        list TEXT NOT NULL REFERENCES lists (name) ON DELETE CASCADE, person TEXT NOT NULL, place INTEGER NOT NULL,
        cells TEXT NOT NULL, answers TEXT NOT NULL, status TEXT NOT NULL, PRIMARY KEY (list, person))""",
    """CREATE TABLE IF NOT EXISTS grants (
        list TEXT NOT NULL REFERENCES lists (name) ON DELETE CASCADE, clinician TEXT NOT NULL,
        PRIMARY KEY (list, clinician))""",
    "CREATE TABLE IF NOT EXISTS told (month TEXT PRIMARY KEY, people INTEGER NOT NULL)",
)


class Head(NamedTuple):
    """What is known of a list without seeing a row."""

    name: str
    study: str  # its hash
    title: str
    purpose: str  # of the list, as the study says
    study_purpose: str
    columns: tuple[str, ...]  # the person's id first
    criteria: tuple[str, ...]
    made: datetime
    expires: datetime
    people: int
    clinicians: tuple[str, ...]


class Line(NamedTuple):
    """A patient on a list. `answers` says of each criterion whether it is met, unknown or failed."""

    person: str
    values: tuple[str | float | None, ...]  # of the columns after the id
    answers: tuple[str, ...]
    status: str


class Page(NamedTuple):
    """A list as a clinician sees it."""

    head: Head
    lines: tuple[Line, ...]


class Worklists:
    """The worklists of one hospital. Several processes may open the same file."""

    def __init__(
        self, path: Path, log: Log, days: int = DAYS, opposed: Opposed = lambda purpose, people: ()
    ) -> None:  # fmt: skip
        """`log(event, **facts)` writes an entry of the ledger; `days` is how long rows are kept.

        `opposed(purpose, people)` says who of some people is left out of a purpose: their rows are erased first.
        """
        self.path = path
        self._log = log
        self._days = days
        self._lock = Lock()
        self._opposed = opposed

    # what studies keep

    def keep(self, study: str, purpose: str, worklist: Worklist, now: datetime | None = None) -> str:
        """Store what a study's step kept; the name of the list. The same list again keeps its name, statuses and end.

        study    hash of the study
        purpose  of the study
        Raises OSError where the file cannot be written.
        """
        now = now or datetime.now(UTC)
        columns, criteria = [str(c) for c in worklist.rows.columns], list(worklist.criteria)
        said = json.dumps([study, worklist.title, worklist.purpose, columns, criteria])
        identity = hashlib.sha256(said.encode()).hexdigest()
        with self._open(now) as db:
            known = db.execute("SELECT name FROM lists WHERE identity = ?", (identity,)).fetchone()
            name = known[0] if known else _free(db, _slug(worklist.title))
            if not known:
                end = now + timedelta(days=self._days)
                db.execute(
                    "INSERT INTO lists VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (name, identity, study, worklist.title, worklist.purpose, purpose, json.dumps(columns),
                     json.dumps(criteria), _stamp(now), _stamp(end)),
                )  # fmt: skip
            statuses = dict(db.execute("SELECT person, status FROM people WHERE list = ?", (name,)))
            db.execute("DELETE FROM people WHERE list = ?", (name,))
            db.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", _stored(name, worklist, statuses))
            self._log("worklist kept", worklist=name, study=study, rows=len(worklist.rows))
        return name

    def expire(self, now: datetime | None = None) -> None:
        """Erase what has expired, and who opposes. Whatever else is asked of the lists does so first."""
        with self._open(now):
            pass

    # for stewards

    def heads(self, now: datetime | None = None) -> tuple[Head, ...]:
        """All lists, without a row of theirs."""
        with self._open(now) as db:
            return tuple(_head(db, name) for (name,) in db.execute("SELECT name FROM lists ORDER BY name").fetchall())

    def grant(self, name: str, clinician: str) -> None:
        """Name a clinician who may see a list. StudyError where there is no such list."""
        if not clinician.strip() or not clinician.isprintable():
            raise StudyError(f"{clinician!r} names no clinician; give the name with which they sign in")
        with self._open() as db:
            self._exists(db, name)
            db.execute("INSERT OR IGNORE INTO grants VALUES (?, ?)", (name, clinician))
            self._log("worklist granted", worklist=name, who=clinician)

    def withdraw(self, name: str, clinician: str) -> None:
        """Take a grant back. StudyError where there is no such list, or the clinician has no grant for it."""
        with self._open() as db:
            self._exists(db, name)
            if not db.execute("DELETE FROM grants WHERE list = ? AND clinician = ?", (name, clinician)).rowcount:
                raise StudyError(f"{clinician} has no grant for {name}; see `confrere hospital worklist list`")
            self._log("worklist withdrawn", worklist=name, who=clinician)

    # for clinicians

    def show(self, name: str, clinician: str, now: datetime | None = None) -> Page:
        """A list, for a clinician whom the steward named. Refused for anybody else, and where there is no such list."""
        with self._open(now) as db:
            return self._seen(db, name, clinician, "worklist shown")

    def export(self, name: str, clinician: str, file: Path, now: datetime | None = None) -> int:
        """Write a list to a new CSV file that its owner alone may read; the number of rows.

        Refused as `show`. StudyError for a file that is there already, and for one in the hospital's own folder, from
        which the engine and backups take files.
        """
        if file.resolve().is_relative_to(self.path.parent.resolve()):
            raise StudyError(f"{file} lies in the hospital's own folder; export to a folder of the clinician's")
        with self._open(now) as db:
            page = self._seen(db, name, clinician, "worklist exported")
            _write_new(file, _csv(page))
            return len(page.lines)

    def text(self, name: str, clinician: str, now: datetime | None = None) -> str:
        """A list as the CSV of an export, for a page that hands it over. Refused as `show`."""
        with self._open(now) as db:
            return _csv(self._seen(db, name, clinician, "worklist exported"))

    def mark(self, name: str, clinician: str, person: str, status: str) -> None:
        """Note what became of a patient. Refused as `show`; StudyError for another status or for nobody on the list."""
        if status not in STATUSES:
            raise StudyError(f"{status!r} is no status; it is one of {', '.join(STATUSES)}")
        with self._open() as db:
            self._granted(db, name, clinician)
            change = (status, name, person)
            if not db.execute("UPDATE people SET status = ? WHERE list = ? AND person = ?", change).rowcount:
                # the id stays unsaid: errors are copied into mails and tickets
                raise StudyError(f"this person is not on {name}; give the id as `worklist show` prints it")
            self._log("worklist status", worklist=name, who=clinician, rows=1, status=status)

    # for the network

    def told(self, k: int, now: datetime | None = None) -> int:
        """People on the lists, floored to a multiple of k: the same number for the whole calendar month (UTC)."""
        now = now or datetime.now(UTC)
        month = f"{now.astimezone(UTC):%Y-%m}"
        with self._open(now) as db:
            (people,) = db.execute("SELECT COUNT(DISTINCT person) FROM people").fetchone()
            db.execute("INSERT OR IGNORE INTO told VALUES (?, ?)", (month, people // k * k))
            (said,) = db.execute("SELECT people FROM told WHERE month = ?", (month,)).fetchone()
            return int(said)

    # inside

    @contextmanager
    def _open(self, now: datetime | None = None) -> Iterator[sqlite3.Connection]:
        """One short transaction, which writes alone, after what has expired is erased. What fails is undone."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        os.chmod(self.path, 0o600)  # also what a copy has made readable
        try:
            # threads queue here: SQLite polls for its lock, and under many of them some would wait too long
            with self._lock, closing(sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)) as db:
                db.execute("PRAGMA secure_delete = ON")
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("BEGIN IMMEDIATE")
                try:
                    for table in _TABLES:
                        db.execute(table)
                    self._expire(db, now or datetime.now(UTC))
                    self._strike(db)
                    db.execute("COMMIT")  # what must go is erased, whatever becomes of the rest
                    db.execute("BEGIN IMMEDIATE")
                    yield db
                except BaseException:
                    if db.in_transaction:  # a full disk has ended it already
                        db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise OSError(f"{self.path.name} cannot be used ({error}); check the disk, then try again") from None

    def _expire(self, db: sqlite3.Connection, now: datetime) -> None:
        for (name,) in db.execute("SELECT name FROM lists WHERE expires <= ?", (_stamp(now),)).fetchall():
            (rows,) = db.execute("SELECT COUNT(*) FROM people WHERE list = ?", (name,)).fetchone()
            db.execute("DELETE FROM lists WHERE name = ?", (name,))
            self._log("worklist erased", worklist=name, rows=rows)

    def _strike(self, db: sqlite3.Connection) -> None:
        """Erase who has opposed since the lists were made."""
        gone = 0
        for (purpose,) in db.execute("SELECT DISTINCT study_purpose FROM lists").fetchall():
            own = "list IN (SELECT name FROM lists WHERE study_purpose = ?)"
            people = [p for (p,) in db.execute(f"SELECT DISTINCT person FROM people WHERE {own}", (purpose,))]
            for person in self._opposed(purpose, people):
                gone += db.execute(f"DELETE FROM people WHERE person = ? AND {own}", (person, purpose)).rowcount
        if gone:
            self._log("worklist rows erased", rows=gone)

    def _seen(self, db: sqlite3.Connection, name: str, clinician: str, event: str) -> Page:
        """A list that is about to be seen; the ledger has it first."""
        self._granted(db, name, clinician)
        found = db.execute(
            "SELECT person, cells, answers, status FROM people WHERE list = ? ORDER BY place", (name,)
        ).fetchall()
        lines = tuple(Line(p, tuple(json.loads(c)), tuple(json.loads(a)), s) for p, c, a, s in found)
        self._log(event, worklist=name, who=clinician, rows=len(lines))
        return Page(_head(db, name), lines)

    def _granted(self, db: sqlite3.Connection, name: str, clinician: str) -> None:
        """Refused alike for a list that is not there and for one that is not this clinician's."""
        if not db.execute("SELECT 1 FROM grants WHERE list = ? AND clinician = ?", (name, clinician)).fetchone():
            raise Refused(f"there is no worklist {name!r} for {clinician!r}; the steward grants it, `worklist grant`")

    def _exists(self, db: sqlite3.Connection, name: str) -> None:
        if not db.execute("SELECT 1 FROM lists WHERE name = ?", (name,)).fetchone():
            names = [n for (n,) in db.execute("SELECT name FROM lists ORDER BY name")]
            raise StudyError(f"there is no worklist {name!r}; there is {', '.join(names) or 'none'}")


def _write_new(file: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all. StudyError where it is there already."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(handle, "w", encoding="utf-8", newline="") as out:
                out.write(text)
        except OSError:
            file.unlink()
            raise
    except FileExistsError:
        raise StudyError(f"{file} is there already; an export overwrites nothing. Choose another name") from None
    except OSError as error:
        raise StudyError(f"{file} cannot be written ({error.strerror}); choose another folder") from None


def _slug(title: str) -> str:
    """A title as a name to type: letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-") or "worklist"


def _free(db: sqlite3.Connection, wanted: str) -> str:
    """The wanted name, numbered if another list has it."""
    taken = {name for (name,) in db.execute("SELECT name FROM lists")}
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _stamp(moment: datetime) -> str:
    """A time as the file has it: of one form, so that texts are in the order of times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _head(db: sqlite3.Connection, name: str) -> Head:
    row = db.execute(
        "SELECT study, title, purpose, study_purpose, columns, criteria, made, expires FROM lists WHERE name = ?",
        (name,),
    ).fetchone()
    (people,) = db.execute("SELECT COUNT(*) FROM people WHERE list = ?", (name,)).fetchone()
    clinicians = db.execute("SELECT clinician FROM grants WHERE list = ? ORDER BY clinician", (name,))
    made, expires = (datetime.fromisoformat(text) for text in row[6:])
    columns, criteria = (tuple(json.loads(text)) for text in row[4:6])
    who = tuple(c for (c,) in clinicians)
    return Head(name, row[0], row[1], row[2], row[3], columns, criteria, made, expires, people, who)


def _stored(name: str, worklist: Worklist, statuses: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    """The rows of a list as the file has them."""
    rows = worklist.rows.itertuples(index=False, name=None)
    for place, ((person, *values), answers) in enumerate(zip(rows, worklist.answers, strict=True)):
        cells = json.dumps([_cell(v) for v in values])
        yield name, str(person), place, cells, json.dumps(answers), statuses.get(str(person), STATUSES[0])


def _cell(value: Any) -> str | float | None:
    """A value as a number, a text, or missing."""
    if isinstance(value, str):
        return value
    number = float("nan") if value is None else float(value)
    return None if number != number else number


def _csv(page: Page) -> str:
    """A list as CSV: the columns, the criteria that are unknown or failed, the status."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(_safe, [*page.head.columns, "unknown", "failed", "status"]))
    for line in page.lines:
        reasons = ["; ".join(criteria_of(page.head, line, answer)) for answer in ("unknown", "failed")]
        writer.writerow(map(_safe, [line.person, *line.values, *reasons, line.status]))
    return out.getvalue()


def criteria_of(head: Head, line: Line, answer: str) -> Sequence[str]:
    """The criteria of a list to which this is the answer of a line."""
    return [text for text, found in zip(head.criteria, line.answers, strict=True) if found == answer]


def _safe(value: str | float | None) -> str:
    """A cell that no spreadsheet takes for a formula; whole numbers without a point."""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(FORMULA) else value
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else str(value)
