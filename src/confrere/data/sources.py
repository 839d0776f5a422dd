"""Reading a hospital's records: CSV, Parquet, DuckDB and pandas, through DuckDB.

    table = read("curie.csv", ["age", "size"], schema, person="pid", hospital="curie")

Only the named columns are read: they are projected in the query, so that a 10 GB file costs what its named columns
do. A CSV is read as text by position, never sniffed from its first rows. Missing is empty, NA or (in numbers) NaN;
true and false are 1 and 0; every other value that is no number is counted and is an error, never a silent gap.

Messages name the source, the column, how many rows, and the remedy. They hold no value of a patient, except the
names of undeclared levels; they are raised inside the hospital and stay there.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from confrere.data.sources_query import INFINITE, Query, Rows, literal, quoted
from confrere.data.table import Table
from confrere.data.unreadable import safely
from confrere.data.without import MISSING, Without
from confrere.errors import DataError
from confrere.study.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

ENCODINGS = ("utf-8", "latin-1", "utf-16")
SEPARATORS = (",", ";", "\t", "|")
TEXTS = (".csv", ".tsv", ".txt")  # also with .gz
PARQUET = (".parquet", ".pq")
DUCKDB = (".duckdb", ".ddb", ".db")
LONGEST_HEADER = 1_000_000  # characters

_ONE = Lock()  # DuckDB's connection is shared by the threads of a process


@dataclass(frozen=True)
class Source:
    """Where a hospital's records are, when a path alone does not say it.

    path       a file, or a folder of Parquet files
    table      the table of a DuckDB file that has several
    encoding   of a CSV: utf-8, latin-1 or utf-16
    separator  of a CSV; None: the one that splits its header into the named columns
    decimal    "." or ","; None: "," is read too where the separator is ";" (Excel in most of Europe)
    person     the column that names the person, by which oppositions are matched
    """

    path: str | Path
    table: str | None = None
    encoding: str = "utf-8"
    separator: str | None = None
    decimal: str | None = None
    person: str | None = None


def is_table(source: str | Path | Source | pd.DataFrame) -> bool:
    """Whether a source is one table of people: a DataFrame, a named table, or a file that is no database of OMOP's."""
    if isinstance(source, Source):
        return source.table is not None or is_table(source.path)
    if not isinstance(source, str | Path):
        return True
    return (path := Path(source)).suffix.lower() not in ("", *DUCKDB) and path.is_file()


@dataclass(frozen=True)
class _Opened:
    """Rows whose columns have the names of the study."""

    rows: Rows
    where: str
    comma: bool = False  # read "3,5" as 3.5
    person: str | None = None  # by which people were left out: rows without one cannot stay


def read(
    source: str | Path | Source | pd.DataFrame | Without,
    columns: Sequence[str],
    schema: Schema,
    person: str | None = None,
    hospital: str = "this hospital",
    repeated: bool = False,
) -> Table:
    """The named columns of a hospital's records; of all people but those whom a `Without` removes.

    person    the column that names the person: rows without one are left out, which `Table.left_out` counts
              and no finding tells, and two rows of one person are an error unless `repeated`
    hospital  named in messages
    Raises DataError: what, where, how many rows, what to do.
    """
    import pandas as pd

    wanted = list(dict.fromkeys([*([person] if person else []), *columns]))
    if not wanted:
        raise DataError(f"{hospital}: no columns to read; the study's formulas name none")
    named = [schema.column(name) for name in wanted if name != person]
    given = _given(source, [column.name for column in named], schema, hospital)
    rest = [column for column in named if column.name not in given]
    if given and not rest and not person:
        n, frame, where = len(given[wanted[0]]), pd.DataFrame(given, copy=False), f"{hospital}: DataFrame"
    else:
        n, frame, where = _queried(source, rest, person, hospital, repeated)
        if given and n > len(frame):  # rows without a person are left out of all columns
            n, frame, where = _queried(source, named, person, hospital, repeated)
        elif given:
            frame = pd.DataFrame({name: given.get(name, frame.get(name)) for name in wanted}, copy=False)
    clamped = {c.name: _clamp(frame, c) for c in named if c.range is not None and c.levels is None}
    without = f"no person id in column '{source.person if isinstance(source, Without) else person}'"
    left_out = {} if n == len(frame) else {without: n - len(frame)}
    return Table(frame, n, left_out, clamped, where)


def _given(source: object, wanted: list[str], schema: Schema, hospital: str) -> dict[str, Any]:
    """The columns of a DataFrame that are numbers as they stand: checked, not copied, and read-only."""
    import pandas as pd

    if not isinstance(source, pd.DataFrame):
        return {}
    where = f"{hospital}: DataFrame"
    _check_columns([str(c) for c in source.columns], wanted, where)
    given = {}
    for name in (w for w in wanted if w in source.columns and schema.levels(w) is None):
        column = source[name]
        if isinstance(kind := column.dtype, np.dtype) and kind.kind in "biuf" and kind.itemsize <= 8:
            values = np.asarray(column.to_numpy(), dtype=np.float64).view()
            values.flags.writeable = False
            if bad := int(np.count_nonzero(np.isinf(values))):
                raise DataError(f"{where}: column '{name}' {INFINITE.format(bad)}")
            given[name] = values
    return given


def _queried(
    source: Any, columns: Sequence[Column], person: str | None, hospital: str, repeated: bool
) -> tuple[int, pd.DataFrame, str]:
    """Rows in the source, the columns in the order of its rows, and what was read."""
    with _opening(source, [*([person] if person else []), *(c.name for c in columns)], hospital) as opened:
        query = Query(opened.rows, columns, person, opened.where, opened.comma, opened.person)
        return query.check(repeated), query.fetch(), opened.where


def texts(source: Any, columns: Sequence[str], hospital: str = "this hospital") -> dict[str, list[str | None]]:
    """Columns as trimmed text, None where missing, in the order of the rows. Raises DataError."""
    with _opening(source, list(columns), hospital) as opened:
        found: dict[str, list[str | None]] = opened.rows.fetched({c: opened.rows.text(c) for c in columns}).to_pydict()
        return found


def check(source: Any, columns: Sequence[str], hospital: str) -> None:
    """That a hospital's records have these columns; their values are not read. Raises DataError."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        _check_columns([str(c) for c in source.columns], columns, f"{hospital}: DataFrame")
    else:
        with _opening(source, list(columns), hospital):
            pass


@contextmanager
def _opening(source: Any, wanted: list[str], hospital: str) -> Iterator[_Opened]:
    """The wanted columns, not read yet; what was made for them is dropped afterwards."""
    without, source = (source, source.source) if isinstance(source, Without) else (None, source)
    wanted = list(dict.fromkeys([without.person, *wanted])) if without else wanted
    with _ONE, _explained(source, hospital):
        opened = _open(source, wanted, hospital)
        try:
            if without:
                less = opened.rows.less(without.person, without.people)
                opened = replace(opened, rows=less, person=without.person)
            yield opened
        finally:
            opened.rows.close()


@contextmanager
def _explained(source: object, hospital: str) -> Iterator[None]:
    """Turns DuckDB's errors, which quote rows, into errors that do not."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        _memory.cache_clear()  # after an internal error DuckDB answers nothing more
        path = source.path if isinstance(source, Source) else source
        where = f"{hospital}: {path}" if isinstance(path, str | Path) else f"{hospital}: DataFrame"
        text = Path(path) if isinstance(path, str | Path) and Path(path).is_file() and _is_text(Path(path)) else None
        raise DataError(f"{where}: {safely(str(error), text)}") from None


def _is_text(path: Path) -> bool:
    return _suffix(path) in TEXTS


def _suffix(path: Path) -> str:
    """The ending that tells the kind of a file: that of data.csv.gz is .csv."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


# --- opening ---------------------------------------------------------------------------------------------


def _open(source: str | Path | Source | pd.DataFrame, wanted: list[str], hospital: str) -> _Opened:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return _open_frame(source, wanted, hospital)
    if isinstance(source, str | Path):
        source = Source(source)
    if not isinstance(source, Source):
        raise DataError(f"{hospital}: cannot read from a {type(source).__name__}; give a path, a Source or a DataFrame")
    path, where = Path(source.path), f"{hospital}: {source.path}"
    if not path.exists():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*")] or [""], 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise DataError(f"{where}: there is no such file{hint}")
    suffix = _suffix(path)
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{where}: the file is empty; export it again, with a header line")
    if path.is_dir() or suffix in PARQUET:
        return _open_parquet(path, wanted, where)
    if suffix in TEXTS:
        return _open_csv(source, path, wanted, where)
    if suffix in DUCKDB:
        return _open_duckdb(source, path, wanted, where)
    known = ", ".join((*TEXTS, *PARQUET, *DUCKDB))
    raise DataError(f"{where}: unknown kind of file '{suffix}'; known are {known}, and folders of Parquet files")


@cache
def _memory() -> Any:
    """One DuckDB in memory for all that is read from files and frames; it has no tables."""
    return _connect()


def _connect(path: str | Path = ":memory:", read_only: bool = False) -> Any:
    import duckdb

    # No extension is fetched from the network: a hospital's machine may have none, and must not need one. A table is
    # never a variable of ours that has its name.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "python_enable_replacements": False,
    }
    connection = duckdb.connect(str(path), read_only=read_only, config=settings)
    connection.execute("SET timezone = 'UTC'")
    return connection


def _open_frame(frame: pd.DataFrame, wanted: list[str], hospital: str) -> _Opened:
    import pyarrow as pa

    where = f"{hospital}: DataFrame"
    _check_columns([str(c) for c in frame.columns], wanted, where)
    plain = frame[wanted].reset_index(drop=True)
    for name in wanted:
        if str(plain[name].dtype) in ("object", "category"):
            series = plain[name].astype("object")
            plain[name] = series.where(series.isna(), series.map(str)).astype("string")  # "str" loses NaN in pandas 2
    try:
        arrow = pa.Table.from_pandas(plain, preserve_index=False)
    except pa.ArrowException:
        raise DataError(f"{where}: a column is neither numbers nor text; convert {', '.join(wanted)}") from None
    return _Opened(Rows.of(_memory(), arrow), where)


def _open_parquet(path: Path, wanted: list[str], where: str) -> _Opened:
    if path.is_dir() and not any(path.rglob("*.parquet")):
        raise DataError(f"{where}: the folder holds no .parquet file")
    pattern = glob.escape(str(path)) + ("/**/*.parquet" if path.is_dir() else "")
    rows = Rows(_memory(), f"SELECT * FROM read_parquet({literal(pattern)})")
    _check_columns(rows.columns, wanted, where)
    return _Opened(rows.select({column: quoted(column) for column in wanted}), where)


def _open_duckdb(source: Source, path: Path, wanted: list[str], where: str) -> _Opened:
    connection = _connect(path, read_only=True)
    listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
    tables = [str(row[0]) for row in connection.execute(listed).fetchall()]
    table = source.table or (tables[0] if len(tables) == 1 else None)
    if table is None or table not in tables:
        near = get_close_matches(source.table or "", tables, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(sorted(tables)) or 'none'}"
        what = f"no table '{source.table}'" if source.table else "say which table to read"
        raise DataError(f"{where}: {what}; {hint}")
    rows = Rows(connection, f"SELECT * FROM {quoted(table)}")
    _check_columns(rows.columns, wanted, where)
    return _Opened(rows.select({column: quoted(column) for column in wanted}), where)


def _open_csv(source: Source, path: Path, wanted: list[str], where: str) -> _Opened:
    if source.encoding.lower() not in ENCODINGS:
        raise DataError(
            f"{where}: encoding '{source.encoding}' is not known; known are {', '.join(ENCODINGS)}. "
            f"Convert others: iconv -f {source.encoding} -t utf-8"
        )
    if source.decimal not in (None, ".", ","):
        raise DataError(f"{where}: decimal is '.' or ',', not '{source.decimal}'")
    separator, names = header(source, path, wanted, where)
    _check_columns(names, wanted, where)
    columns = ", ".join(f"c{i}: 'VARCHAR'" for i in range(len(names)))
    read = (
        f"read_csv({literal(glob.escape(str(path)))}, columns = {{{columns}}}, auto_detect = false, header = true, "
        f"delim = {literal(separator)}, quote = '\"', escape = '\"', nullstr = [{', '.join(map(literal, MISSING))}], "
        f"strict_mode = true, null_padding = false, ignore_errors = false, "
        f"encoding = {literal(source.encoding.lower())})"
    )
    # By position, so that a header that DuckDB would rename or reorder cannot shift a column.
    picked = ", ".join(f"c{names.index(column)} AS {quoted(column)}" for column in wanted)
    rows = Rows(_memory(), f"SELECT {picked} FROM {read}")
    comma = source.decimal == "," or (source.decimal is None and separator == ";")
    return _Opened(rows, where, comma)


def separator(path: Path, wanted: Iterable[str]) -> str:
    """What separates the columns of a CSV: what finds most of those wanted in its first line."""
    return header(Source(str(path)), path, list(wanted), str(path))[0]


def header(source: Source, path: Path, wanted: list[str], where: str) -> tuple[str, list[str]]:
    """(separator, names of columns): the separator is the one that finds most of the wanted columns."""
    encoding = {"utf-8": "utf-8-sig"}.get(source.encoding.lower(), source.encoding)
    # What is not UTF-8 further down is DuckDB's to find, and only in the columns that are read.
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding=encoding, errors="surrogateescape", newline="") as file:
            start = file.read(LONGEST_HEADER)
    except (OSError, EOFError, UnicodeError) as error:
        raise DataError(f"{where}: cannot be read; check that it is complete and of encoding {encoding}") from error
    found: dict[str, list[str]] = {}
    for separator in (source.separator,) if source.separator else SEPARATORS:
        try:
            names = next(csv.reader(io.StringIO(start, newline=""), delimiter=separator), [])
        except (csv.Error, TypeError, ValueError) as error:
            raise DataError(f"{where}: the first line is no header; a separator is one character") from error
        found[separator] = [name.strip() for name in names]
    best = max(found, key=lambda s: (len(set(wanted) & set(found[s])), len(found[s])))
    if any("\udc80" <= c <= "\udcff" for name in found[best] for c in name):
        raise DataError(f'{where}: the header is not UTF-8; give encoding = "latin-1", or convert the file')
    return best, found[best]


def _check_columns(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    for name in wanted:
        if name not in names:
            near = get_close_matches(name, names, 1, 0.6) or [n for n in names if n.casefold() == name.casefold()]
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(list(names)[:30])}"
            raise DataError(f"{where}: there is no column '{name}'; {hint}")
        if list(names).count(name) > 1:
            raise DataError(f"{where}: column '{name}' stands there more than once; rename one")


def _clamp(frame: pd.DataFrame, column: Column) -> int:
    """Move values outside the plausible range to its nearer end; how many they were."""
    low, high = column.range or (-np.inf, np.inf)
    values = frame[column.name].to_numpy()
    outside = int(np.count_nonzero((values < low) | (values > high)))
    if outside:
        frame[column.name] = np.clip(values, low, high)
    return outside
