"""The file of the image bank, images.sqlite: one short transaction after the other, its owner's alone (0600).

A picture is a file `images/SHA256.png`, named by its pixels and written whole before its row is: a row never points to
nothing, and a file that no row names (the machine stopped between the two) is found by `check` and taken up again when
the picture is added anew.

`store.may` is who may be used for what, and the one place that says so: a picture that is not held, whose patient
consented to the use and opposes neither it nor every use.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

BUSY = 10.0  # seconds to wait for another process
_FORM = 3
_TABLES = (
    """CREATE TABLE IF NOT EXISTS images (
        id TEXT PRIMARY KEY, person TEXT NOT NULL, label TEXT NOT NULL, sha256 TEXT NOT NULL, dhash TEXT NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, tone REAL, added TEXT NOT NULL, by TEXT NOT NULL,
        state TEXT NOT NULL, why TEXT NOT NULL, UNIQUE (person, sha256))""",
    """CREATE TABLE IF NOT EXISTS consents (
        image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, use TEXT NOT NULL, given TEXT NOT NULL,
        by TEXT NOT NULL, revoked TEXT NOT NULL DEFAULT '', revoked_by TEXT NOT NULL DEFAULT '')""",
    """CREATE TABLE IF NOT EXISTS quarantine (
        sha256 TEXT NOT NULL, name TEXT NOT NULL, why TEXT NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL,
        PRIMARY KEY (sha256, name))""",
    "CREATE TABLE IF NOT EXISTS bags (folder TEXT PRIMARY KEY, made TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS painted (sha256 TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS past (person TEXT NOT NULL, dhash TEXT NOT NULL, PRIMARY KEY (person, dhash))",
    """CREATE TABLE IF NOT EXISTS cases (
        name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, title TEXT NOT NULL,
        opened TEXT NOT NULL, by TEXT NOT NULL, expires TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS invited (
        name TEXT NOT NULL REFERENCES cases (name) ON DELETE CASCADE, who TEXT NOT NULL, PRIMARY KEY (name, who))""",
    """CREATE TABLE IF NOT EXISTS comments (
        name TEXT NOT NULL REFERENCES cases (name) ON DELETE CASCADE, at TEXT NOT NULL, who TEXT NOT NULL,
        text TEXT NOT NULL)""",
    f"PRAGMA user_version = {_FORM}",
)
Opposed = Callable[[str, Collection[str]], Collection[str]]  # opposed(use, people): who of them is left out of it


class Store:
    """The database of a bank in a hospital's folder. Several processes may open it."""

    def __init__(self, path: Path, opposed: Opposed = lambda use, people: ()) -> None:
        self.file = path / "images.sqlite"
        self.pictures = path / "images"
        self.opposed = opposed
        self._lock = Lock()

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes alone; what fails is undone. OSError where the file cannot be used."""
        os.close(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600))
        os.chmod(self.file, 0o600)
        try:
            with self._lock, closing(sqlite3.connect(self.file, timeout=BUSY, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA secure_delete = ON")
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("BEGIN IMMEDIATE")
                try:
                    (form,) = db.execute("PRAGMA user_version").fetchone()
                    for statement in _TABLES if form < _FORM else ():
                        db.execute(statement)
                    yield db
                except BaseException:
                    if db.in_transaction:  # a full disk has ended it already
                        db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise OSError(f"{self.file.name} cannot be used ({error}); check the disk, then try again") from None

    def may(
        self, db: sqlite3.Connection, use: str, images: Collection[str] | None = None
    ) -> dict[str, sqlite3.Row]:  # fmt: skip
        """The rows of the pictures (of these alone) that may be used so, by name, in the order of people and pixels."""
        some = None if images is None else json.dumps(list(images))
        found = db.execute(
            "SELECT * FROM images WHERE (? IS NULL OR id IN (SELECT value FROM json_each(?))) AND state = 'in' AND"
            " EXISTS (SELECT 1 FROM consents WHERE image = images.id AND use = ? AND revoked = '')"
            " ORDER BY person, sha256",
            (some, some, use),
        ).fetchall()
        out = set(self.opposed(use, {row["person"] for row in found})) if found else set()
        return {row["id"]: row for row in found if row["person"] not in out}

    def place(self, sha256: str) -> Path:
        """Where a picture is."""
        return self.pictures / f"{sha256}.png"

    def put(self, sha256: str, png: bytes) -> None:
        """Write a picture, whole or not at all; one that is there and the same stays."""
        file = self.place(sha256)
        if file.is_file() and file.read_bytes() == png:
            return
        self.pictures.mkdir(mode=0o700, exist_ok=True)
        half = file.with_suffix(f".{os.getpid()}.part")
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
            handle.write(png)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(half, file)


def stamp(moment: datetime | None = None) -> str:
    """A time as the file has it: of one form, so that texts are in the order of times."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
