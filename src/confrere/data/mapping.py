"""A mapping: which columns of which CSV files become which columns of which OMOP tables. `mapping_import.py` runs it.

    vocabulary = "athena"                          # a folder with concept and concept_relationship

    [[table]]
    table = "condition_occurrence"
    file = "diagnoses_*.csv"                       # beside the mapping; with encoding, separator, decimal if need be
    separator = ";"
    [table.columns]
    condition_occurrence_id = { number = true }    # 1, 2, 3, ...
    person_id = { column = "patient", hash = true }
    condition_concept_id = { column = "icd", vocabulary = "ICD10CM" }
    condition_start_date = { column = "day", date = "%d.%m.%Y" }
    condition_type_concept_id = { value = 32817 }
    condition_source_value = "icd"                 # a column as it is

A column is read by one of the ways in `WAYS`; what it gives is cast to the model's type. Everything that is wrong with
a mapping is said before a record is read.
"""

from __future__ import annotations

import csv
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from confrere.data.cdm import NEEDED, TABLES
from confrere.data.fhir_import import number
from confrere.data.without import MISSING
from confrere.errors import DataError

Cells = Mapping[str, str]  # one record: {column: text}
Read = Callable[[str], Any]
Codes = Mapping[tuple[str, str], tuple[int, int]]  # {(vocabulary, code): (standard concept or 0, its own concept)}

OPTIONS = ("encoding", "separator", "decimal")
WAYS = {  # what may stand in a column's braces
    "column": ("date", "part", "map", "else", "codes", "vocabulary", "source", "unknown", "factor", "hash"),
    "value": (), "number": (),
}  # fmt: skip
WHOLE = re.compile(r"[+-]?\d+(\.0+)?")


@dataclass(frozen=True)
class Column:
    """How a column of the model is made: of `column` by `given` (the keys of `WAYS`), of a `value`, or by counting."""

    name: str
    kind: str
    column: str | None
    given: Mapping[str, Any]
    needed: bool


@dataclass(frozen=True)
class Part:
    """What becomes of some files: rows of one table."""

    table: str
    files: tuple[Path, ...]
    columns: tuple[Column, ...]
    encoding: str
    separator: str
    decimal: str


@dataclass(frozen=True)
class Plan:
    """A whole mapping, its parts in the order of the file; person first. `codes` are the files of code translations."""

    parts: tuple[Part, ...]
    vocabulary: Path | None
    codes: Mapping[str, Mapping[str, int]]

    @property
    def vocabularies(self) -> tuple[str, ...]:
        """The vocabularies whose codes are looked up."""
        named = {c.given["vocabulary"] for part in self.parts for c in part.columns if "vocabulary" in c.given}
        return tuple(sorted(named))


def read(file: Path) -> Plan:
    """A mapping from its file. DataError: what is wrong with it, and where."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the mapping {file}: {error.strerror}; check its path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: {error}") from None
    _known(given, ("vocabulary", "table"), str(file))
    tables = given.get("table")
    if not isinstance(tables, list) or not tables:
        raise DataError(f"{file}: there is no [[table]]; a mapping has one for each kind of file")
    parts = [_part(one, i, file) for i, one in enumerate(tables, 1)]
    if "person" not in {part.table for part in parts}:
        raise DataError(f"{file}: no [[table]] makes 'person'; records of nobody cannot be read")
    parts.sort(key=lambda part: part.table != "person")  # a stable order: others name people
    named = {c.given["codes"] for part in parts for c in part.columns if "codes" in c.given}
    found = Plan(
        tuple(parts), file.parent / given["vocabulary"] if "vocabulary" in given else None,
        {name: _translation(file.parent / name) for name in sorted(named)},
    )  # fmt: skip
    if found.vocabularies and found.vocabulary is None:
        raise DataError(f"{file}: codes of {found.vocabularies[0]} need `vocabulary`, a folder as Athena sends it")
    return found


def _part(given: Any, place: int, file: Path) -> Part:
    where = f"{file}: [[table]] {place}"
    _known(given, ("table", "file", "columns", *OPTIONS), where)
    table, columns = str(given.get("table")), given.get("columns")
    if table not in TABLES:
        raise DataError(f"{where}: table = {table!r} is not of the data model; such as condition_occurrence")
    if not isinstance(columns, dict):
        raise DataError(f"{where}: [table.columns] is missing; it says how each column of {table} is made")
    where = f"{where} ({table})"
    if missing := [c for c in NEEDED[table] if c not in columns]:
        raise DataError(f"{where}: [table.columns] has no {', '.join(missing)}; without it the table cannot be read")
    pattern = str(given.get("file") or "")
    files = sorted(file.parent.glob(pattern)) if pattern and not pattern.startswith("/") else [Path(pattern)]
    if not pattern or not files or not all(path.is_file() for path in files):
        raise DataError(f"{where}: there is no file {pattern!r} beside the mapping")
    options = {"encoding": "utf-8", "separator": ",", "decimal": "."} | {k: given[k] for k in OPTIONS if k in given}
    try:
        "".encode(options["encoding"])
    except (LookupError, TypeError):
        raise DataError(f"{where}: encoding {options['encoding']!r} is not known; such as utf-8 or cp1252") from None
    if not (isinstance(options["separator"], str) and len(options["separator"]) == 1):
        raise DataError(f"{where}: separator {options['separator']!r} is not one character, such as ';'")
    if options["decimal"] not in (".", ","):
        raise DataError(f"{where}: decimal {options['decimal']!r} is neither '.' nor ','")
    made = tuple(_column(name, rule, table, where) for name, rule in columns.items())
    return Part(table, tuple(files), made, **options)


def _column(name: str, rule: Any, table: str, where: str) -> Column:
    if name not in TABLES[table]:
        raise DataError(f"{where}: {name} is no column of {table}; it has {', '.join(TABLES[table])}")
    rule = {"column": rule} if isinstance(rule, str) else rule
    ways = [way for way in WAYS if isinstance(rule, dict) and way in rule]
    if len(ways) != 1:
        raise DataError(f"{where}: {name} must be the name of a column, or have one of {', '.join(WAYS)}")
    _known(rule, (ways[0], *WAYS[ways[0]]), f"{where}: {name}")
    kind = TABLES[table][name]
    if "part" in rule and rule["part"] not in ("year", "month", "day"):
        raise DataError(f"{where}: {name}: part = {rule['part']!r} is none of year, month, day")
    if rule.get("unknown", "0") not in ("0", "quarantine"):
        raise DataError(f'{where}: {name}: unknown = {rule["unknown"]!r} is neither "0" nor "quarantine"')
    if "map" in rule and not isinstance(rule["map"], dict):
        raise DataError(f"{where}: {name}: map must be a table, such as {{ M = 8507, F = 8532 }}")
    if "factor" in rule and not isinstance(rule["factor"], int | float):
        raise DataError(f"{where}: {name}: factor = {rule['factor']!r} is no number")
    column = rule.get("column")
    return Column(name, kind, column, {k: v for k, v in rule.items() if k != "column"}, name in NEEDED[table])


def _known(given: Any, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(given, dict):
        raise DataError(f"{where}: it must be a table")
    if strange := [key for key in given if key not in keys]:
        raise DataError(f"{where}: {strange[0]!r} is not known; there are {', '.join(keys)}")


def _translation(path: Path) -> Mapping[str, int]:
    """{code: concept_id} of a CSV with these two columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the codes {path} ({type(error).__name__}); give a CSV in UTF-8") from None
    made: dict[str, int] = {}
    for line, row in enumerate(rows, 2):
        code, concept = (row.get("code") or "").strip(), (row.get("concept_id") or "").strip()
        if not code or not concept.isdecimal() or made.get(code, int(concept)) != int(concept):
            raise DataError(f"{path}, line {line}: it needs columns code and concept_id, each code with one number")
        made[code] = int(concept)
    return made


# Values -------------------------------------------------------------------------------------------------------


def reader(column: Column, part: Part, mapping: Plan, codes: Codes) -> Read:
    """What turns the text of a cell into the value of a column; it raises DataError with the reason, without the value.

    An empty cell is missing, whatever the way.
    """
    given = column.given
    zero = given.get("unknown") != "quarantine"
    if "map" in given:
        found = {str(key): value for key, value in given["map"].items()}
        translate = _looked_up(found, given.get("else"), "else" in given, "is not among those of `map`")
        return lambda cell: _typed(str(translate(cell)), column.kind, part.decimal)
    if "codes" in given:
        return _looked_up(mapping.codes[given["codes"]], 0, zero, "is not among the codes")
    if "vocabulary" in given:
        own, words = int(bool(given.get("source"))), given["vocabulary"]
        known = {code: both[own] for (vocabulary, code), both in codes.items() if vocabulary == words and both[own]}
        return _looked_up(known, 0, zero, f"has no concept by {words}")
    if given.get("hash"):
        return number  # as FHIR's ids, the same in every import
    if "date" in given or "part" in given:
        return lambda cell: _moment(cell, column.kind, given.get("date"), given.get("part"))
    factor = float(given.get("factor", 1))
    if factor == 1:
        return lambda cell: _typed(cell, column.kind, part.decimal)
    return lambda cell: float(_typed(cell, "float64", part.decimal)) * factor


def _looked_up(found: Mapping[str, Any], other: Any, may_miss: bool, why: str) -> Read:
    def read(cell: str) -> Any:
        if cell in found:
            return found[cell]
        if may_miss:
            return other
        raise DataError(f"the code {why}")

    return read


def _moment(cell: str, kind: str, form: str | None, part: str | None) -> Any:
    try:
        found = datetime.strptime(cell, form) if form else datetime.fromisoformat(cell)
    except ValueError:
        raise DataError(f"it is no date of the form {form or '2026-03-01'}") from None
    if not 1850 <= found.year <= 2150:
        raise DataError("it is not of the years 1850 to 2150")
    if part:
        return getattr(found, part)
    found = found.replace(tzinfo=None, microsecond=0)  # on the clock where it was written
    return {"date": found.date(), "timestamp": found}.get(kind, cell)


def _typed(cell: str, kind: str, decimal: str) -> Any:
    if kind == "string":
        return cell
    if kind in ("date", "timestamp"):
        return _moment(cell, kind, None, None)
    if kind == "int64":
        if not WHOLE.fullmatch(cell) or abs(int(cell.split(".")[0])) >= 2**63:
            raise DataError("it is no whole number")
        return int(cell.split(".")[0])
    if decimal == "," and "." in cell:  # 1.500 would be one and a half, or fifteen hundred
        raise DataError('it has a point, and decimal = "," is said')
    try:
        found = float(cell.replace(",", ".") if decimal == "," else cell)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or "_" in cell:
        raise DataError("it is no number")
    return found


def constant(column: Column) -> Any:
    """The value of a column that is the same for all rows. DataError: it is not of the column's type."""
    value = column.given["value"]
    if column.kind == "date" and type(value) is date:
        return value
    try:
        return _typed(str(value), column.kind, ".")
    except DataError as error:
        raise DataError(f"{column.name} = {value!r}: {error}") from None


def empty(cell: str) -> bool:
    """Whether a cell says nothing."""
    return cell in MISSING
