"""Which slides a folder has and whose they are (`slides.csv`), and the ledger of what became of each.

    slide,person,mpp
    2019-0413.svs,curie-17,
    old/0007.tif,curie-18,0.4990

`slide` is a path in the folder, `person` the id that the hospital's tables have, `mpp` microns per pixel where the file
does not say, or says what no scanner has. Semicolons and decimal commas are read too, as Excel writes them. Nobody is
read off a file's name. Every file that looks like a slide is in the ledger, used or rejected with the reason.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from confrere.data import sources
from confrere.errors import DataError
from confrere.images.slides import ENDINGS

LIST: Final = "slides.csv"
LEDGER: Final = "ledger.csv"
MAPS: Final = "heatmaps"  # the folder in the bags that the hospital's pages show: a picture by its slide's hash

REASONS: Final = {  # code: what it means
    "used": "used",
    "not listed": "it is not in slides.csv, so that nobody knows whose it is",
    "missing": "slides.csv names it, and there is no such file",
    "unreadable": "it cannot be read as a slide",
    "resolution": "its microns per pixel are not known, not a scanner's, or stated in two ways",
    "coarse": "it was scanned at a coarser resolution than the tiles need",
    "twice": "the same slide is listed again, or for two people",
    "no tissue": "it has too little tissue",
    "pen": "too much of it is marked by a pen",
    "blurred": "too many of its tiles are out of focus",
}


class Listed(NamedTuple):
    """A line of slides.csv."""

    slide: str  # path in the folder, with /
    person: str
    mpp: float | None  # as stated; None: as the file says


class Entry(NamedTuple):
    """A line of the ledger. What was not reached, because the slide was rejected before, is empty."""

    slide: str
    person: str = ""
    reason: str = "used"  # a code of `REASONS`
    detail: str = ""  # what was found, and what to do
    sha256: str = ""
    vendor: str = ""
    mpp: float | None = None
    width: int | None = None
    height: int | None = None
    tissue: float | None = None  # share of the slide
    pen: float | None = None  # share of tissue and marks
    tiles: int | None = None  # encoded
    blurred: int | None = None  # tiles left out: out of focus

    @property
    def used(self) -> bool:
        """Whether its tiles are in the bags."""
        return self.reason == "used"


def listed(folder: Path) -> list[Listed]:
    """The lines of slides.csv. DataError: no such file, no such column, an empty person, a slide named twice."""
    path = folder / LIST
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of slides")
    if not path.is_file():
        first = next(iter(files(folder)), "scan-1.svs")
        raise DataError(
            f"{folder} has no {LIST}, which says whose each slide is; write one line a slide, such as:\n"
            f"slide,person,mpp\n{first},curie-17,"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter=sources.separator(path, ("slide", "person", "mpp")))
        if lacking := {"slide", "person"} - set(reader.fieldnames or ()):
            raise DataError(
                f"{path}: there is no column {' and no '.join(sorted(lacking))} among "
                f"{', '.join(reader.fieldnames or ())}; a list has slide and person, and may have mpp"
            )
        found = [_line(path, number, row) for number, row in enumerate(reader, 2)]
    names = [one.slide for one in found]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} names {again[0]} more than once; a slide belongs to one person")
    return found


def _line(path: Path, number: int, row: dict[str, str]) -> Listed:
    slide, person, stated = ((row.get(name) or "").strip() for name in ("slide", "person", "mpp"))
    if not slide or not person:
        raise DataError(f"{path}, line {number}: slide and person must both be there")
    parts = Path(slide.replace("\\", "/")).parts
    if Path(slide).is_absolute() or ".." in parts:
        raise DataError(f"{path}, line {number}: a slide is a path inside the folder, without '..'")
    try:
        mpp = float(stated.replace(",", ".")) if stated else None
    except ValueError:
        raise DataError(f"{path}, line {number}: mpp is no number; write microns per pixel, such as 0.499") from None
    return Listed("/".join(parts), person, mpp)


def files(folder: Path) -> list[str]:
    """All files of a folder that look like slides, as paths in it."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    names = (p.relative_to(folder).as_posix() for p in found if not _part(p, folder))
    return sorted(name.encode("utf-8", "replace").decode() for name in names)  # a name may hold bytes that are no text


def _part(path: Path, folder: Path) -> bool:
    """Whether a file is a part of another slide: DICOM has many files a slide, of which one is listed."""
    if path.suffix.lower() != ".dcm":
        return False
    return path != min(p for p in path.parent.iterdir() if p.suffix.lower() == ".dcm")


def unlisted(folder: Path, known: Iterable[Listed]) -> list[Entry]:
    """Ledger lines of slides in the folder that slides.csv does not name."""
    names = {one.slide for one in known}
    dicom = {str(Path(name).parent) for name in names if name.lower().endswith(".dcm")}
    strange = [n for n in files(folder) if n not in names and not (n.endswith(".dcm") and str(Path(n).parent) in dicom)]
    return [Entry(name, reason="not listed", detail=f"add it to {LIST}") for name in strange]


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Write a ledger as CSV, at once or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([Entry._fields, *(_cells(entry) for entry in entries)])
    part.replace(path)


def _cells(entry: Entry) -> list[str]:
    return ["" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in entry]


def read(path: Path) -> list[Entry]:
    """The lines of a ledger. DataError where it is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_entry(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{path} is no ledger of slides; `confrere slides extract` writes it") from None


def _entry(row: dict[str, str]) -> Entry:
    kinds = {"mpp": float, "tissue": float, "pen": float, "width": int, "height": int, "tiles": int, "blurred": int}
    made = {name: (kinds[name](row[name]) if row[name] else None) for name in kinds}
    return Entry(**{n: row[n] for n in Entry._fields if n not in kinds}, **made)  # type: ignore[arg-type]
