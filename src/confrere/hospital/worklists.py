"""What stays: the rows that studies keep for this hospital's clinicians, in a file of the hospital, worklists.sqlite.

A list is shown to clinicians whom the steward named for it, and erased when it expires. A later run of the same study
(the same id, whatever else of it was amended) takes it up under its name: patients keep their status, and whoever is no
longer listed but has one stays, marked so. Who opposes being contacted for research is never on a list that leads to
contact; only stewards are told how many. Whatever is seen or changed
goes into the ledger first, through `log`: who, which list, how many rows; never a patient's id or value. Where the
ledger cannot be written, nothing is shown. To the network goes one number, `told`: once in a calendar month, floored to
a multiple of k, and the same all month, so that two looks do not show one patient.

The file is its owner's alone (0600), and erased rows are overwritten in it (SQLite's `secure_delete`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from confrere.data.opposition import CONTACT
from confrere.errors import Refused, StudyError
from confrere.hospital import screening
from confrere.hospital.exports import list_csv, write_new
from confrere.study.recruitment import FIRST, following, moved
from confrere.study.worklist import Worklist

DAYS = 90  # that rows are kept, unless the hospital's policy says otherwise
BUSY = 10.0  # seconds to wait for another process
LONGEST = 300  # characters of a reason
FORM = 2  # of the file; an older one is brought to it when it is opened
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
    screening.TABLE,
)
_ADDED = (  # to files of the form 1
    "ALTER TABLE lists ADD COLUMN study_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE lists ADD COLUMN funnel TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE lists ADD COLUMN contact INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE lists ADD COLUMN opposed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE people ADD COLUMN listed INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE people ADD COLUMN since TEXT NOT NULL DEFAULT ''",
    "UPDATE people SET status = CASE status WHEN 'todo' THEN 'to see' WHEN 'done' THEN 'seen'"
    " WHEN 'ineligible' THEN 'not eligible' ELSE status END",
    """INSERT INTO moves (list, person, at, who, status, reason, salt) SELECT list, person, '', '', status,
        'noted before an upgrade', lower(hex(randomblob(16))) FROM people WHERE status <> 'to see'""",
    f"PRAGMA user_version = {FORM}",
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
    people: int  # on the list
    clinicians: tuple[str, ...]
    gone: int  # no longer on it, and kept with their status
    opposed: int | None  # not on it since they oppose being contacted; None for clinicians, who may not know
    contact: bool  # whether it leads to contact for research


class Line(NamedTuple):
    """A patient on a list. `answers` says of each criterion whether it is met, unknown or failed."""

    person: str
    values: tuple[str | float | None, ...]  # of the columns after the id
    answers: tuple[str, ...]
    status: str
    listed: bool = True  # False for who is no longer on the list, and kept with a status
    moves: tuple[screening.Move, ...] = ()

    @property
    def next(self) -> tuple[str, ...]:
        """The statuses that may follow."""
        path = screening.path(self.moves)
        return following(path[-1], path[-2] if len(path) > 1 else "")


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
        self._term = timedelta(days=days)
        self._lock = Lock()
        self._opposed = opposed

    # what studies keep

    def keep(
        self, study: str, purpose: str, worklist: Worklist, now: datetime | None = None, *, id: str = ""
    ) -> str:  # fmt: skip
        """Store what a study's step kept; the name of the list. The same list again keeps its name, statuses and end.

        study    hash of the study
        purpose  of the study
        id       of the study: another hash with the same id and title is a later run of this list
        Who opposes being contacted is left off where the list leads to contact. Raises OSError where the file cannot be
        written.
        """
        now = now or datetime.now(UTC)
        columns, criteria = [str(c) for c in worklist.rows.columns], list(worklist.criteria)
        said = json.dumps([study, worklist.title, worklist.purpose, columns, criteria])
        identity = hashlib.sha256(said.encode()).hexdigest()
        with self._open(now) as db:
            name = _known(db, identity, study, id, worklist.title)
            if not name:
                name = _free(db, _slug(worklist.title))
                db.execute(
                    "INSERT INTO lists (name, identity, study, study_id, title, purpose, study_purpose, columns,"
                    " criteria, made, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (name, identity, study, id or study, worklist.title, worklist.purpose, purpose,
                     json.dumps(columns), json.dumps(criteria), _stamp(now), _stamp(now + self._term)),
                )  # fmt: skip
            self._renew(db, name, (identity, study, worklist.purpose, purpose, columns, criteria), now)
            rows = self._put(db, name, worklist, now)
            self._log("worklist kept", worklist=name, study=study, rows=rows)
        return name

    def _renew(self, db: sqlite3.Connection, name: str, said: tuple[Any, ...], now: datetime) -> None:
        """A later run: the list is that of another hash from now on, and who may see it is asked anew if it shows more.

        said  identity, hash of the study, purpose of the list and of the study, columns, criteria
        """
        identity, study, purpose, study_purpose, columns, criteria = said
        before = db.execute(
            "SELECT identity, columns, criteria, study_purpose FROM lists WHERE name = ?", (name,)
        ).fetchone()
        if before[0] == identity:
            return
        shown, asked, purpose_before = json.loads(before[1]), json.loads(before[2]), before[3]
        if not set(columns) <= set(shown) or study_purpose != purpose_before:
            db.execute("DELETE FROM grants WHERE list = ?", (name,))
        kept = db.execute("SELECT cells, answers, person FROM people WHERE list = ?", (name,)).fetchall()
        db.executemany(
            "UPDATE people SET cells = ?, answers = ? WHERE list = ? AND person = ?",
            ((_as(shown[1:], cells, columns[1:], None), _as(asked, answers, criteria, "unknown"), name, person)
             for cells, answers, person in kept),
        )  # fmt: skip
        db.execute(
            "UPDATE lists SET identity = ?, study = ?, purpose = ?, study_purpose = ?, columns = ?, criteria = ?,"
            " made = ?, expires = ? WHERE name = ?",
            (identity, study, purpose, study_purpose, json.dumps(columns), json.dumps(criteria), _stamp(now),
             _stamp(now + self._term), name),
        )  # fmt: skip

    def _put(self, db: sqlite3.Connection, name: str, worklist: Worklist, now: datetime) -> int:
        """The rows of a list, of who may be contacted; how many. Who had a status keeps it, listed or no longer."""
        people = [str(person) for person in worklist.rows.iloc[:, 0]]
        opposed = set(self._opposed(CONTACT, people)) if worklist.contact else set()
        out = [answers for person, answers in zip(people, worklist.answers, strict=True) if person in opposed]
        db.execute(
            "UPDATE lists SET funnel = ?, contact = ?, opposed = ? WHERE name = ?",
            (json.dumps(_less(worklist.funnel, len(people), out)), int(worklist.contact), len(opposed), name),
        )
        db.execute("UPDATE people SET listed = 0 WHERE list = ?", (name,))
        db.executemany(
            "INSERT INTO people (list, person, place, cells, answers, status, since) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (list, person) DO UPDATE SET place = excluded.place, cells = excluded.cells,"
            " answers = excluded.answers, listed = 1",
            (row for row in _stored(name, worklist, _stamp(now)) if row[1] not in opposed),
        )
        # of who is no longer listed, an untouched row is kept no longer than it is needed
        db.execute("DELETE FROM people WHERE list = ? AND NOT listed AND status = ?", (name, FIRST))
        return len(people) - len(opposed)

    def expire(self, now: datetime | None = None) -> None:
        """Erase what has expired, and who opposes. Whatever else is asked of the lists does so first."""
        with self._open(now):
            pass

    # for stewards

    def erase(self, study: str) -> list[str]:
        """Erase the lists of a study, by its hash, with all that was noted on them; their names."""
        with self._open() as db:
            return self._drop(db, "study = ?", study)

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
            write_new(file, list_csv(page))
            return len(page.lines)

    def text(self, name: str, clinician: str, now: datetime | None = None) -> str:
        """A list as the CSV of an export, for a page that hands it over. Refused as `show`."""
        with self._open(now) as db:
            return list_csv(self._seen(db, name, clinician, "worklist exported"))

    def mark(self, name: str, clinician: str, person: str, status: str, reason: str = "") -> None:
        """Note what became of a patient, and why. Refused as `show`.

        StudyError for nobody on the list, for a move that `study.recruitment` does not have, or that needs a reason.
        """
        reason, at = " ".join(reason.split())[:LONGEST], _stamp(datetime.now(UTC))
        with self._open() as db:
            self._granted(db, name, clinician)
            if not db.execute("SELECT 1 FROM people WHERE list = ? AND person = ?", (name, person)).fetchone():
                # the id stays unsaid: errors are copied into mails and tickets
                raise StudyError(f"this person is not on {name}; give the id as `worklist show` prints it")
            path = screening.path(screening.moves(db, name, person).get(person, ()))
            to = moved(path, status, reason)
            mark = screening.add(db, name, person, screening.Move(at, clinician, to, reason))
            db.execute("UPDATE people SET status = ? WHERE list = ? AND person = ?", (to, name, person))
            self._log("worklist status", worklist=name, who=clinician, rows=1, status=status, mark=mark)

    # for the hospital's own trial file

    def log(self, name: str, who: str, marks: Collection[str], *, steward: bool = False) -> tuple[Head, screening.Log]:
        """The screening log of a list: numbers of this hospital alone. `marks` are those of its moves in the ledger.

        Refused as `show`, but for a steward, who alone sees how many oppose being contacted.
        """
        with self._open() as db:
            if steward:
                self._exists(db, name)
            else:
                self._granted(db, name, who)
            head, found = _head(db, name), screening.log(db, name, marks)
            self._log("screening log shown", worklist=name, who=who)
        return (head, found) if steward else (head._replace(opposed=None), found._replace(opposed=None))

    def statuses(self, id: str, title: str, day: date) -> dict[str, str]:
        """Of everybody on the list of this title of a study (its id): the status at the end of a day (UTC).

        StudyError where there is no such list, or the day is not over: its statuses may change yet.
        """
        if day >= datetime.now(UTC).date():
            raise StudyError(f"statuses of {day} are not settled; as_of must be a day that is over (UTC)")
        end = _stamp(datetime.combine(day + timedelta(days=1), time(), UTC))
        with self._open() as db:
            named = "SELECT name FROM lists WHERE study_id = ? AND title = ? ORDER BY name"
            if not (found := db.execute(named, (id, title)).fetchall()):
                raise StudyError(f"there is no worklist {title!r} of the study {id!r} here; run that study first")
            return screening.as_of(db, found[0][0], end)

    # for the network

    def told(self, k: int, now: datetime | None = None) -> int:
        """People on the lists, floored to a multiple of k: the same number for the whole calendar month (UTC)."""
        now = now or datetime.now(UTC)
        month = f"{now.astimezone(UTC):%Y-%m}"
        with self._open(now) as db:
            (people,) = db.execute("SELECT COUNT(DISTINCT person) FROM people WHERE listed").fetchone()
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
                    _formed(db)
                    self._drop(db, "expires <= ?", _stamp(now or datetime.now(UTC)))
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

    def _drop(self, db: sqlite3.Connection, which: str, value: str) -> list[str]:
        """Erase lists with all that was noted on them; their names."""
        names = [name for (name,) in db.execute(f"SELECT name FROM lists WHERE {which} ORDER BY name", (value,))]
        for name in names:
            (rows,) = db.execute("SELECT COUNT(*) FROM people WHERE list = ?", (name,)).fetchone()
            db.execute("DELETE FROM lists WHERE name = ?", (name,))
            self._log("worklist erased", worklist=name, rows=rows)
        return names

    def _strike(self, db: sqlite3.Connection) -> None:
        """Erase who has opposed since the lists were made: the study, or being contacted."""
        gone = 0
        for name, purpose, contact in db.execute("SELECT name, study_purpose, contact FROM lists").fetchall():
            people = [p for (p,) in db.execute("SELECT person FROM people WHERE list = ?", (name,))]
            gone += self._erase(db, name, out := set(self._opposed(purpose, people)))
            if contact and (more := set(self._opposed(CONTACT, people)) - out):
                gone += self._erase(db, name, more)
                db.execute("UPDATE lists SET opposed = opposed + ? WHERE name = ?", (len(more), name))
        if gone:
            self._log("worklist rows erased", rows=gone)

    @staticmethod
    def _erase(db: sqlite3.Connection, name: str, people: Collection[str]) -> int:
        """Erase people from a list, with all that was noted of them, and from its funnel; how many were on it."""
        if not people:
            return 0
        found = db.execute("SELECT person, answers FROM people WHERE list = ? AND listed", (name,)).fetchall()
        out = [json.loads(answers) for person, answers in found if person in people]
        (funnel,) = db.execute("SELECT funnel FROM lists WHERE name = ?", (name,)).fetchone()
        less = json.dumps(_less(json.loads(funnel), len(found), out))
        db.execute("UPDATE lists SET funnel = ? WHERE name = ?", (less, name))
        own = ((name, person) for person in people)
        return db.executemany("DELETE FROM people WHERE list = ? AND person = ?", own).rowcount

    def _seen(self, db: sqlite3.Connection, name: str, clinician: str, event: str) -> Page:
        """A list that is about to be seen; the ledger has it first."""
        self._granted(db, name, clinician)
        found = db.execute(
            "SELECT person, cells, answers, status, listed FROM people WHERE list = ? ORDER BY listed DESC, place",
            (name,),
        ).fetchall()
        noted = screening.moves(db, name)
        lines = tuple(
            Line(p, tuple(json.loads(c)), tuple(json.loads(a)), s, bool(on), noted.get(p, ()))
            for p, c, a, s, on in found
        )
        self._log(event, worklist=name, who=clinician, rows=len(lines))
        return Page(_head(db, name)._replace(opposed=None), lines)

    def _granted(self, db: sqlite3.Connection, name: str, clinician: str) -> None:
        """Refused alike for a list that is not there and for one that is not this clinician's."""
        if not db.execute("SELECT 1 FROM grants WHERE list = ? AND clinician = ?", (name, clinician)).fetchone():
            raise Refused(f"there is no worklist {name!r} for {clinician!r}; the steward grants it, `worklist grant`")

    def _exists(self, db: sqlite3.Connection, name: str) -> None:
        if not db.execute("SELECT 1 FROM lists WHERE name = ?", (name,)).fetchone():
            names = [n for (n,) in db.execute("SELECT name FROM lists ORDER BY name")]
            raise StudyError(f"there is no worklist {name!r}; there is {', '.join(names) or 'none'}")


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


def _formed(db: sqlite3.Connection) -> None:
    """The tables of the file, in their present form."""
    (form,) = db.execute("PRAGMA user_version").fetchone()
    for statement in (*_TABLES, *_ADDED) if form < FORM else ():
        db.execute(statement)


def _known(db: sqlite3.Connection, identity: str, study: str, id: str, title: str) -> str:
    """The name of a list that is there: the very same, or that of another run of its study. "" where there is none."""
    later = "identity <> ? AND study <> ? AND study_id = ? AND title = ?"  # lists of one run have names of their own
    found = (
        db.execute("SELECT name FROM lists WHERE identity = ?", (identity,)).fetchone()
        or db.execute(
            f"SELECT name FROM lists WHERE {later} ORDER BY name", (identity, study, id or study, title)
        ).fetchone()
    )
    return str(found[0]) if found else ""


def _head(db: sqlite3.Connection, name: str) -> Head:
    row = db.execute(
        "SELECT study, title, purpose, study_purpose, columns, criteria, made, expires, opposed, contact FROM lists"
        " WHERE name = ?",
        (name,),
    ).fetchone()
    people, gone = db.execute(
        "SELECT COUNT(*) FILTER (WHERE listed), COUNT(*) FILTER (WHERE NOT listed) FROM people WHERE list = ?", (name,)
    ).fetchone()
    clinicians = db.execute("SELECT clinician FROM grants WHERE list = ? ORDER BY clinician", (name,))
    columns, criteria = (tuple(json.loads(text)) for text in row[4:6])
    made, expires = (datetime.fromisoformat(text) for text in row[6:8])
    who = tuple(c for (c,) in clinicians)
    study, title, purpose, study_purpose = row[:4]
    return Head(
        name, study, title, purpose, study_purpose, columns, criteria, made, expires, people, who, gone, row[8],
        bool(row[9]),
    )  # fmt: skip


def _stored(name: str, worklist: Worklist, since: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a list as the file has them."""
    rows = worklist.rows.itertuples(index=False, name=None)
    for place, ((person, *values), answers) in enumerate(zip(rows, worklist.answers, strict=True)):
        yield name, str(person), place, json.dumps([_cell(v) for v in values]), json.dumps(answers), FIRST, since


def _less(funnel: Sequence[Sequence[Any]], listed: int, out: Sequence[Sequence[str]]) -> list[tuple[str, str, int]]:
    """A funnel without some of the `listed` people, whose answers are `out`: else it would tell how many they are."""
    met = sum(set(answers) <= {"met"} for answers in out)  # who is left after a later step than the list's
    return [(step, criterion, n - (len(out) if n >= listed else met)) for step, criterion, n in funnel]


def _as(before: list[str], values: str, after: list[str], missing: str | None) -> str:
    """Values of some names as those of others, in the file's form; `missing` for a name that was not there."""
    known = dict(zip(before, json.loads(values), strict=True))
    return json.dumps([known.get(name, missing) for name in after])


def _cell(value: Any) -> str | float | None:
    """A value as a number, a text, or missing."""
    if isinstance(value, str):
        return value
    number = float("nan") if value is None else float(value)
    return None if number != number else number
