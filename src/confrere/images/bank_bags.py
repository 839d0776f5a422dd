"""Bags that are made of the pictures of the bank, and stay true to its consents.

`NAME.bags` (`confrere.data.bags`) holds what an encoder made of every picture that may be used for training, and beside
the three files `images.csv` (person,image: one line per row of the features, in their order). `NAME.csv` beside it is a
table for studies: `person`, `label`, `tone` (degrees), `skin` (group of the tone).

Who takes a consent back is in no bag from then on. The folder is set aside before the word is written, and made anew
without the rows after it. Stopped in between, it is not to be found, which is an error for a study and not a leak,
until the bank is used again. What could not be reached at that moment, and who opposes, is found when the bank or the
bags are used: bags that have a picture which may not be used are made anew before they are read (`current`).
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from confrere.data.bags import ENDING, Bags, write
from confrere.errors import DataError, StudyError
from confrere.images import bank_pixels
from confrere.images.bank_pixels import tone_name
from confrere.images.bank_store import Store, stamp
from confrere.images.encoders import Encoder

LISTED = "images.csv"
COLUMNS = ("person", "label", "tone", "skin")  # of the table
MADE_OF = "image bank"  # as about.json says
Rows = Mapping[str, Sequence[str]]  # {person: pictures, in the order of the rows}


class Extracted(NamedTuple):
    """What was extracted."""

    folder: Path
    table: Path
    images: int
    people: int
    size: int  # numbers of a picture
    recipe: str  # how they were made, as studies state it
    several: int  # people whose pictures are of several kinds: the table has no label for them
    none: int  # people of whose pictures none has a label


class Bagged:
    """The bags that were made of a bank."""

    def __init__(self, store: Store, log: Callable[..., None]) -> None:
        self._store = store
        self._log = log

    def extract(self, folder: Path, encoder: Encoder) -> Extracted:
        """Encode all pictures that may be used for training, into a new folder NAME.bags and the table NAME.csv.

        A folder and a table that the bank made before are replaced. StudyError for others that are there, and where
        there is nothing to encode; DataError where a file is gone or changed.
        """
        folder = folder.absolute()
        if folder.suffix != ENDING:
            raise StudyError(f"{folder.name}: the name of bags ends in {ENDING}, such as images{ENDING}")
        self.mend()
        with self._store.open() as db:
            may = list(self._store.may(db, "training").values())
            ours = db.execute("SELECT 1 FROM bags WHERE folder = ?", (str(folder),)).fetchone()
            if folder.exists() and not (ours and (folder / LISTED).is_file()):
                raise StudyError(f"{folder} is there already, and the bank did not make it; choose another name")
            if (table := folder.with_suffix(".csv")).exists() and not (ours and _made(table)):
                raise StudyError(f"{table} is there already, and the bank did not make it; choose another name")
            if not may:
                raise StudyError("no picture has a consent for training; `confrere images consent` notes them")
            # known from the first byte on: whatever is left half made is removed
            db.execute("INSERT OR REPLACE INTO bags VALUES (?, ?)", (str(folder), stamp()))
        rows: dict[str, list[sqlite3.Row]] = {}
        for row in may:
            rows.setdefault(row["person"], []).append(row)
        fresh = _fresh(folder)
        about = {**encoder.about(), "made_of": MADE_OF}
        made = write(fresh, ((p, self._encoded(theirs, encoder)) for p, theirs in rows.items()), about)
        _listed(fresh, {p: [r["id"] for r in theirs] for p, theirs in rows.items()})
        with self._store.open() as db:  # a consent may have been taken back in the meantime
            self._log("images extracted", bags=folder.name, images=len(may), people=len(rows), encoder=encoder.name)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(_aside(folder), ignore_errors=True)
            fresh.rename(_aside(folder))
        self.mend()
        kinds = [len(_kinds(theirs)) for theirs in rows.values()]
        about_people = sum(n > 1 for n in kinds), kinds.count(0)
        return Extracted(
            folder, folder.with_suffix(".csv"), len(may), len(rows), made.size, made.recipe, *about_people
        )  # fmt: skip

    def _encoded(self, rows: Sequence[sqlite3.Row], encoder: Encoder) -> Any:
        """(m, d) of the pictures of one person."""
        return np.concatenate([encoder.rows(self._pixels(row)[None]) for row in rows])

    def _pixels(self, row: sqlite3.Row) -> bank_pixels.Pixels:
        found = bank_pixels.whole(self._store.place(row["sha256"]), row["sha256"])
        if found is None:
            raise DataError(f"the file of {row['id']} is gone, damaged or changed; add the picture again")
        return found.pixels

    def aside(self, db: sqlite3.Connection) -> None:
        """Have no bags until they are made anew. In the transaction of a revocation: no other process can make them
        anew before the word is written."""
        for folder in _folders(db):
            with suppress(OSError):  # a disk that cannot be written stops no revocation: `mend` says it after the word
                self._set_aside(folder)

    @staticmethod
    def _set_aside(folder: Path) -> None:
        if (folder / LISTED).is_file():  # else it is not the bank's: an extraction of this name came to no end
            shutil.rmtree(_aside(folder), ignore_errors=True)
            folder.rename(_aside(folder))

    @contextmanager
    def remade(self) -> Iterator[None]:
        """Make bags anew after something that sets them aside, also where it fails."""
        try:
            yield
        finally:
            self.mend()

    def mend(self) -> None:
        """Make anew the bags that were set aside, of the pictures that may be used for training now, and those that
        have another: the disk was away when it was taken back, or the patient has opposed since."""
        with self._store.open() as db:
            folders, may = _folders(db), self._store.may(db, "training")
            for folder in folders:
                if not _has(folder) <= may.keys():
                    self._set_aside(folder)
        for folder in folders:
            _swept(folder)
            if (old := _aside(folder)).is_dir():
                self._again(folder, old)

    def current(self, folders: Collection[Path]) -> None:
        """Have nothing in these folders that may not be used for training now, before they are read.

        DataError for what is made of a bank, has such a picture, and is not known here: a copy, another name.
        """
        self.mend()
        with self._store.open() as db:
            may = self._store.may(db, "training")
        for folder in folders:
            if _of_a_bank(folder) and not _has(folder, {""}) <= may.keys():
                raise DataError(
                    f"{folder} has pictures that may not be used for training, and is not known to the image bank: a "
                    f"copy, or its name was changed. Remove it, and make bags anew with `confrere images extract`"
                )

    def _again(self, folder: Path, old: Path) -> None:
        with self._store.open() as db:
            if not old.is_dir():
                return  # another process has done it
            may = self._store.may(db, "training")
            before, listed = Bags.open(old), images_of(old)
            keep = {p: [i for i, image in enumerate(theirs) if image in may] for p, theirs in listed.items()}
            keep = {p: places for p, places in keep.items() if places}
            fresh = _fresh(folder)
            images = {p: [listed[p][i] for i in places] for p, places in keep.items()}
            table = folder.with_suffix(".csv")
            theirs = table.exists() and not _made(table)  # somebody has put another table there: it stays
            if keep:
                half = np.load(old / "features.npy", mmap_mode="r", allow_pickle=False).dtype == np.float16
                write(fresh, ((p, before.of(p)[places]) for p, places in keep.items()), before.about, half=half)
                _listed(fresh, images)
                if not theirs:
                    _table(table, images, may)
                shutil.rmtree(folder, ignore_errors=True)  # made by one that stopped before the end
                fresh.rename(folder)
            else:
                if not theirs:
                    table.unlink(missing_ok=True)
                db.execute("DELETE FROM bags WHERE folder = ?", (str(folder),))
            shutil.rmtree(old)


def _folders(db: sqlite3.Connection) -> list[Path]:
    return [Path(row["folder"]) for row in db.execute("SELECT folder FROM bags ORDER BY folder").fetchall()]


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.aside")


def _fresh(folder: Path) -> Path:
    """Where this process makes bags anew: nothing is there."""
    _swept(folder)
    ours = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(ours, ignore_errors=True)
    return ours


def _swept(folder: Path) -> None:
    """Remove what processes that were stopped left half made: pictures in it may have been taken back since."""
    for left in folder.parent.glob(f".{folder.name}.*.new"):
        process = left.name.split(".")[-2]
        if process.isdigit() and not _runs(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listed(folder: Path, images: Rows) -> None:
    """Write which picture each row is."""
    with (folder / LISTED).open("w", newline="", encoding="utf-8") as file:
        pairs = ((person, image) for person, theirs in images.items() for image in theirs)
        csv.writer(file).writerows([("person", "image"), *pairs])


def images_of(folder: Path) -> dict[str, list[str]]:
    """Which pictures the rows of each person are."""
    found: dict[str, list[str]] = {}
    with (folder / LISTED).open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            found.setdefault(line["person"], []).append(line["image"])
    return found


def _made(table: Path) -> bool:
    """Whether a table begins as those of the bank do; somebody may have added columns."""
    with table.open("rb") as file:
        return file.readline(200).decode("utf-8", "replace").strip().split(",")[: len(COLUMNS)] == list(COLUMNS)


def _of_a_bank(folder: Path) -> bool:
    """Whether bags are of the pictures of an image bank."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("made_of") == MADE_OF


def _has(folder: Path, unknown: Collection[str] = ()) -> set[str]:
    """The pictures that are in bags; `unknown` where that is not written beside them."""
    if not (folder / LISTED).is_file():
        return set(unknown)
    return {image for theirs in images_of(folder).values() for image in theirs}


def _kinds(rows: Iterable[sqlite3.Row]) -> set[str]:
    """The labels that pictures have."""
    return {str(row["label"]) for row in rows} - {""}


def _table(file: Path, images: Rows, may: Mapping[str, sqlite3.Row]) -> None:
    """A line for each person: the label if all their pictures have one, the median tone where it is known."""
    lines = []
    for person, theirs in images.items():
        labels = _kinds(may[i] for i in theirs)
        tones = [may[i]["tone"] for i in theirs if may[i]["tone"] is not None]
        tone = float(np.median(tones)) if tones else None
        label = labels.pop() if len(labels) == 1 else ""
        lines.append((person, label, "" if tone is None else f"{tone:.1f}", tone_name(tone)))
    half = file.with_name(f".{file.name}.part")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="") as handle:
        csv.writer(handle).writerows([COLUMNS, *lines])
    os.replace(half, file)
