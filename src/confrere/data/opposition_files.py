"""Lists of oppositions and consents: CSV, a table of Parquet or DuckDB, FHIR Consent; read line by line, none lost.

A CSV or a table has the columns person, purpose, date, source, status. What can be read of a file takes effect at once
and together. What cannot is reported with its line, and written as it stands into a file beside the list, to be mended
and imported by itself: an opposition that nobody could read must not get lost, nor hold up a thousand others.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from confrere.data import sources
from confrere.data.fhir_consent import Terms, consents
from confrere.data.opposition import Register, Said, checked
from confrere.data.sources import Source
from confrere.errors import DataError

COLUMNS = ("person", "purpose", "date", "source", "status")
FHIR = (".json", ".ndjson", ".jsonl")


class Line(NamedTuple):
    """One line, row or resource of a list: what it says, why it says nothing, or neither (a draft)."""

    place: str  # line 3, row 3, resource 3
    raw: str
    said: tuple[Said, ...] = ()
    problem: str = ""


class Imported(NamedTuple):
    """What became of a list."""

    new: int  # words that the register did not have
    known: int  # words that it had
    silent: int  # drafts and proposals: nothing is said yet
    problems: tuple[str, ...]  # place, rule and remedy; no patient's id
    quarantine: Path | None  # where the lines with problems are


def load(register: Register, source: Source, terms: Terms | None = None) -> Imported:
    """Import a list. DataError where the file as a whole cannot be read, OSError where nothing can be written.

    terms  how FHIR resources name patients and purposes
    """
    lines = list(_reader(Path(source.path))(source, terms or Terms()))
    bad = [line for line in lines if line.problem]
    said = [one for line in lines for one in line.said]
    quarantine = _quarantined(Path(source.path), bad) if bad else None  # before the rest takes effect
    new = register.add(said)
    silent = sum(not (line.said or line.problem) for line in lines)
    return Imported(new, len(said) - new, silent, tuple(f"{b.place}: {b.problem}" for b in bad), quarantine)


def _reader(path: Path) -> Callable[[Source, Terms], Iterator[Line]]:
    if path.suffix.lower() in FHIR:
        return _resources
    return _csv if path.suffix.lower() in sources.TEXTS else _table


def _resources(source: Source, terms: Terms) -> Iterator[Line]:
    text = _text(Path(source.path))
    for number, found in enumerate(consents(text, Path(source.path), terms), 1):
        said, problem = found.said, found.problem
        try:
            said = tuple(checked(one) for one in said)
        except DataError as error:
            said, problem = (), str(error)
        yield Line(f"resource {number}", found.raw, said, problem)


def _csv(source: Source, terms: Terms) -> Iterator[Line]:
    """Line by line: a quotation mark that is not closed must not swallow the lines after it."""
    path = Path(source.path)
    lines = _text(path).splitlines()
    first = lines[0] if lines else ""
    separator = source.separator or max(sources.SEPARATORS, key=first.count)
    names = [name.strip().casefold() for name in next(csv.reader([first], delimiter=separator), [])]
    if missing := [name for name in COLUMNS if names.count(name) != 1]:
        raise DataError(f"{path}: the first line must name {', '.join(COLUMNS)}, each once; see {', '.join(missing)}")
    for number, raw in enumerate(lines[1:], 2):
        if raw.strip():
            yield _line(f"line {number}", raw, names, separator)


def _line(place: str, raw: str, names: list[str], separator: str) -> Line:
    try:
        (cells,) = csv.reader([raw], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        return Line(place, raw, problem="a quotation mark is not closed or stands alone; mend it")
    if len(cells) != len(names):
        return Line(place, raw, problem=f"{len(cells)} values for {len(names)} columns; mend the separators")
    found = dict(zip(names, cells, strict=True))
    try:
        return Line(
            place, raw, (checked(Said(*(found[name] for name in ("person", "purpose", "status", "date", "source")))),)
        )
    except DataError as error:
        return Line(place, raw, problem=str(error))


def _table(source: Source, terms: Terms) -> Iterator[Line]:
    found = sources.texts(source, COLUMNS, "oppositions")
    for number, cells in enumerate(zip(*(found[name] for name in COLUMNS), strict=True), 1):
        written = io.StringIO()
        csv.writer(written, lineterminator="").writerow(cells)
        yield _line(f"row {number}", written.getvalue(), list(COLUMNS), ",")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8; convert it: iconv -f latin1 -t utf-8 {path.name}") from None


def _quarantined(path: Path, bad: list[Line]) -> Path:
    """Write the lines with problems beside the list, as a list of its kind. A file that is there stays."""
    if path.suffix.lower() in FHIR:
        suffix, head = ".ndjson", []
    else:
        plain = path.suffix.lower() in sources.TEXTS
        suffix, head = ".csv", [_text(path).splitlines()[0] if plain else ",".join(COLUMNS)]
    text = "\n".join([*head, *(line.raw for line in bad)]) + "\n"
    for number in range(1, 1000):
        file = path.with_name(f"{path.stem}.quarantine{number if number > 1 else ''}{suffix}")
        if file.exists() and file.read_text(encoding="utf-8") == text:
            return file  # the same list was imported before
        if not file.exists():
            with file.open("x", encoding="utf-8") as handle:
                file.chmod(0o600)
                handle.write(text)
            return file
    raise DataError(f"{path}: a thousand files of quarantined lines lie beside it; import or remove them first")
