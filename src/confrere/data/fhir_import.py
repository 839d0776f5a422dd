"""A folder of FHIR R4 bulk export (NDJSON) as a folder of OMOP tables (CDM 5.4, Parquet).

    imported(Path("export"), Path("cdm"), Path("vocabulary"))

Lines are read one after the other and staged in DuckDB, so memory does not grow with events (ids of patients are held).
Every line is taken, left on purpose, of a kind that is not read, or in `quarantine.ndjson` with its reason: they add
up. `fhir.py` says what a line says, `fhir_tables.py` which concepts and which rows that makes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from confrere.data.fhir import READERS, Code, Event, Left, Person, Visit, medication, rows
from confrere.data.fhir_tables import MAPPED, STAGED, SYSTEMS, insert, lay, make, write
from confrere.data.quarantine import Quarantine
from confrere.errors import DataError

SUFFIXES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
CONSENTS = "consents.ndjson"
BATCH = 20_000


class Tally(NamedTuple):
    """What became of the lines of a kind of resource: read = taken + repeated + left + quarantined."""

    read: int
    taken: int
    repeated: int  # another version of the same resource, as exports that follow one another have it
    left: Mapping[str, int]  # by reason
    quarantined: int


class Imported(NamedTuple):
    """What became of an export.

    lines       that are not empty
    kinds       {resource: Tally}; lines that are no resource stand under ""
    unread      {resource: lines} of kinds that have no place in OMOP here
    rows        {table: rows}
    unmapped    {table: rows whose concept is 0}
    undated     patients who are said to be dead, without a day: they have no row in death
    quarantine  the file of the lines that could not be read; None: none
    consents    the file of the Consent resources, with the person_id of each; None: none
    """

    lines: int
    kinds: Mapping[str, Tally]
    unread: Mapping[str, int]
    rows: Mapping[str, int]
    unmapped: Mapping[str, int]
    undated: int
    quarantine: Path | None
    consents: Path | None


def imported(
    folder: Path, out: Path, vocabulary: Path, systems: Mapping[str, str] = SYSTEMS,
    progress: Callable[[int], None] = lambda lines: None,
) -> Imported:  # fmt: skip
    """Make the tables of an export in a new or empty folder.

    vocabulary  a folder with concept and concept_relationship (Parquet, or the CSV files of Athena)
    systems     {URL of a code system: OHDSI's vocabulary_id}
    DataError: no export, no vocabulary, or the folder holds something already.
    """
    import duckdb

    files = sorted(path for path in folder.glob("*") if path.name.lower().endswith(SUFFIXES))
    if not files:
        raise DataError(f"{folder}: there is no file {', '.join(SUFFIXES)} in it; give the folder of a bulk export")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder; give another one, or remove what is in it")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch, duckdb.connect(f"{scratch}/staging.duckdb") as db:
        lay(db, vocabulary)
        with _Book(db, out, progress) as book:
            book.read(files)
        make(db, book.codes, systems, folder.resolve().name)
        return book.told(write(db, out))


# Reading ------------------------------------------------------------------------------------------------------


class _Book:
    """Reads an export line by line, stages its rows, and counts."""

    def __init__(self, db: Any, out: Path, progress: Callable[[int], None]) -> None:
        self.db, self.out, self._progress = db, out, progress
        self.codes: dict[Code, int] = {}
        self.patients: dict[int, str] = {}
        self._medications: dict[str, Code] = {}
        self._seen: Counter[tuple[str, str]] = Counter()  # (resource, what became of it)
        self._staged: dict[str, list[tuple[Any, ...]]] = {name: [] for name in STAGED}
        self._lines = self._consents = self._undated = 0
        self._bad = Quarantine(out)
        self._said: IO[str] | None = None
        self._open = ExitStack()

    def __enter__(self) -> _Book:
        return self

    def __exit__(self, *_: object) -> None:
        self._bad.close()
        self._open.close()

    def read(self, files: Sequence[Path]) -> None:
        """Patients and medications first: others name them."""
        for first in (True, False):
            for path in files:
                for number, line in enumerate(_lines(path), 1):
                    if not line.strip() or (first and '"Patient"' not in line and '"Medication"' not in line):
                        continue
                    self._line(f"{path.name}:{number}", line, first)
        for name in STAGED:
            self._flush(name)

    def _line(self, place: str, line: str, first: bool) -> None:
        try:
            resource = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError):
            resource = None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        ours = kind in ("Patient", "Medication")
        if not first:
            self._lines += 1
            if self._lines % BATCH == 0:
                self._progress(self._lines)
        if first != ours:
            return
        if not isinstance(resource, dict) or not isinstance(kind, str) or not kind:
            self._refuse("", place, line, "no JSON object with a resourceType; export it again")
            return
        try:
            self._take(kind, resource, place)
        except DataError as error:
            self._refuse(kind, place, line, str(error))

    def _take(self, kind: str, resource: dict[str, Any], place: str) -> None:
        if kind == "Medication":
            own, code = medication(resource)
            self._medications[own] = code
        elif kind == "Consent":
            self._consent(resource)
        elif kind not in READERS:
            self._seen[kind, "unread"] += 1
            return
        else:
            made = rows(resource, self._medications)
            version = updated(resource), place
            if isinstance(made, Left):
                self._seen[kind, made.reason] += 1
                if own := str(resource.get("id") or ""):
                    self._add("withdrawn", (kind, own, number(own), version[0]))
                return
            for row in made:
                self._stage(row, version)
        self._seen[kind, "taken"] += 1

    def _refuse(self, kind: str, place: str, line: str, reason: str) -> None:
        self._bad.add(place, reason, line)
        self._seen[kind, "quarantined"] += 1

    def _consent(self, resource: dict[str, Any]) -> None:
        """Consents go to the register of oppositions, which names people as the tables do."""
        patient = resource.get("patient")
        reference = str((patient if isinstance(patient, dict) else {}).get("reference") or "")
        own = number(reference.split("/_history/")[0].rstrip("/").rsplit("/", 1)[-1].removeprefix("urn:uuid:"))
        if own not in self.patients:
            raise DataError("patient.reference names nobody whose Patient is in the export; export it as well")
        if self._said is None:
            self._said = self._open.enter_context((self.out / CONSENTS).open("w", encoding="utf-8"))
            (self.out / CONSENTS).chmod(0o600)
        resource = {**resource, "patient": {**resource["patient"], "reference": f"Patient/{own}"}}
        self._said.write(json.dumps(resource, ensure_ascii=False) + "\n")

    def _stage(self, row: Person | Visit | Event, version: tuple[str, str]) -> None:
        if isinstance(row, Person):
            own = number(row.id)
            if self.patients.setdefault(own, row.id) != row.id:
                raise DataError("two Patients would get the same person_id; change the id of one")
            self._undated += row.died and row.death is None
            self._add("patient", (own, row.id, row.gender, row.year, row.month, row.day, row.death, *version))
            return
        patient = number(row.patient)
        if patient not in self.patients:
            raise DataError("it names nobody whose Patient is in the export; export it as well")
        if isinstance(row, Visit):
            self._add("encounter", (number(row.id), patient, row.kind, row.start, row.end, *version))
            return
        key, unit, value = (None if c is None else self._key(c) for c in (row.code, row.unit, row.value))
        visit = number(row.visit) if row.visit else None
        given = (row.start, row.end, row.number, row.operator, row.text, row.low, row.high, row.quantity, row.days)
        self._add("event", (row.resource, row.id, patient, visit, key, unit, value, *given, row.refills, *version))

    def _key(self, code: Code) -> int:
        return self.codes.setdefault(code, len(self.codes))

    def _add(self, name: str, row: tuple[Any, ...]) -> None:
        self._staged[name].append(row)
        if len(self._staged[name]) >= BATCH:
            self._flush(name)

    def _flush(self, name: str) -> None:
        if held := self._staged[name]:
            insert(self.db, name, STAGED[name], held)
            held.clear()

    def told(self, rows: Mapping[str, tuple[int, int]]) -> Imported:
        """What became of it all; `rows` {table: (rows, of these unmapped)}."""
        repeated = dict(self.db.execute("select resource, lines from repeated").fetchall())
        kinds: dict[str, Tally] = {}
        for kind in sorted({kind for kind, what in self._seen if what != "unread"}):
            mine = {what: n for (one, what), n in self._seen.items() if one == kind}
            again = repeated.get(kind, 0)
            taken, bad = mine.pop("taken", 0), mine.pop("quarantined", 0)
            kinds[kind] = Tally(taken + bad + sum(mine.values()), taken - again, again, mine, bad)
        return Imported(
            self._lines, kinds, {k: n for (k, what), n in self._seen.items() if what == "unread"},
            {name: n for name, (n, _) in rows.items()}, {name: n for name, (_, n) in rows.items() if name in MAPPED},
            self._undated, self._bad.path, self.out / CONSENTS if self._said else None,
        )  # fmt: skip


def updated(resource: Mapping[str, Any]) -> str:
    """When a version of a resource was written; empty where it does not say."""
    meta = resource.get("meta")
    return str((meta if isinstance(meta, dict) else {}).get("lastUpdated") or "")


def number(own: str) -> int:
    """The number of an id of FHIR: 60 bits of its SHA-256, the same in every export."""
    return int.from_bytes(hashlib.sha256(own.encode()).digest()[:8], "big") >> 4


def _lines(path: Path) -> Iterator[str]:
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape") as handle:
            for line in handle:  # bytes that are no UTF-8 spoil their own line only
                yield line if line.isascii() or _clean(line) else "not UTF-8: " + ascii(line)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read to its end ({type(error).__name__}); copy it again") from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _clean(line: str) -> bool:
    return not any("\udc80" <= c <= "\udcff" for c in line)
