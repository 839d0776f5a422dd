"""Reading a hospital's records: CSV, Parquet, DuckDB and pandas through Ibis on DuckDB.

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
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from confrere.data.table import Table
from confrere.data.unreadable import safely
from confrere.data.without import MISSING, Without, text
from confrere.errors import DataError
from confrere.study.counted import counted
from confrere.study.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

ENCODINGS = ("utf-8", "latin-1", "utf-16")
SEPARATORS = (",", ";", "\t", "|")
TEXTS = (".csv", ".tsv", ".txt")  # also with .gz
PARQUET = (".parquet", ".pq")
DUCKDB = (".duckdb", ".ddb", ".db")
LONGEST_HEADER = 1_000_000  # characters

_DATE = r"^([0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4})"
_INFINITE = "has {} infinite values; make them missing, or correct them"
_COMMA = r"^[+-]?[0-9]+,[0-9]+$"

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
    """An Ibis table whose columns have the names of the study."""

    rows: Any
    where: str
    comma: bool = False  # read "3,5" as 3.5
    table: str = ""  # temporary, dropped once it was read
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

    person    the column that names the person: rows without one are left out and counted, and two rows of one
              person are an error unless `repeated`
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
                raise DataError(f"{where}: column '{name}' {_INFINITE.format(bad)}")
            given[name] = values
    return given


def _queried(
    source: Any, columns: Sequence[Column], person: str | None, hospital: str, repeated: bool
) -> tuple[int, pd.DataFrame, str]:
    """Rows in the source, the columns in the order of its rows, and what was read."""
    with _opening(source, [*([person] if person else []), *(c.name for c in columns)], hospital) as opened:
        query = _Query(opened, columns, person)
        return query.check(repeated), query.fetch(), opened.where


def texts(source: Any, columns: Sequence[str], hospital: str = "this hospital") -> dict[str, list[str | None]]:
    """Columns as trimmed text, None where missing, in the order of the rows. Raises DataError."""
    with _opening(source, list(columns), hospital) as opened:
        found: dict[str, list[str | None]] = (
            opened.rows.select(**{c: text(opened.rows[c]) for c in columns}).to_pyarrow().to_pydict()
        )
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
            yield replace(opened, rows=without.less(opened.rows), person=without.person) if without else opened
        finally:
            if opened.table:
                _memory().drop_table(opened.table, force=True)


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
    """One DuckDB in memory for all that is read from files and frames; its tables are views or temporary."""
    return _connect()


def _connect(path: str | Path = ":memory:", read_only: bool = False) -> Any:
    import ibis

    # No extension is fetched from the network: a hospital's machine may have none, and must not need one.
    return ibis.duckdb.connect(path, read_only=read_only, autoinstall_known_extensions=False)


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
    table = f"people_{uuid.uuid4().hex}"
    return _Opened(_memory().create_table(table, arrow, temp=True), where, table=table)


def _open_parquet(path: Path, wanted: list[str], where: str) -> _Opened:
    if path.is_dir() and not any(path.rglob("*.parquet")):
        raise DataError(f"{where}: the folder holds no .parquet file")
    pattern = glob.escape(str(path)) + ("/**/*.parquet" if path.is_dir() else "")
    rows = _memory().read_parquet(pattern)
    _check_columns(rows.columns, wanted, where)
    return _Opened(rows.select(wanted), where)


def _open_duckdb(source: Source, path: Path, wanted: list[str], where: str) -> _Opened:
    connection = _connect(path, read_only=True)
    listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
    tables = [str(row[0]) for row in connection.con.execute(listed).fetchall()]
    name = source.table or (tables[0] if len(tables) == 1 else None)
    if name is None or name not in tables:
        near = get_close_matches(source.table or "", tables, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(sorted(tables)) or 'none'}"
        what = f"no table '{source.table}'" if source.table else "say which table to read"
        raise DataError(f"{where}: {what}; {hint}")
    rows = connection.table(name)
    _check_columns(rows.columns, wanted, where)
    return _Opened(rows.select(wanted), where)


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
    rows = _memory().read_csv(
        glob.escape(str(path)),
        columns={f"c{i}": "VARCHAR" for i in range(len(names))},
        auto_detect=False, header=True, delim=separator, quote='"', escape='"', nullstr=list(MISSING),
        strict_mode=True, null_padding=False, ignore_errors=False, encoding=source.encoding.lower(),
    )  # fmt: skip
    # By position, so that a header that DuckDB would rename or reorder cannot shift a column.
    rows = rows.select(**{name: rows[f"c{names.index(name)}"] for name in wanted})
    comma = source.decimal == "," or (source.decimal is None and separator == ";")
    return _Opened(rows, where, comma)


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


# --- checking and fetching -------------------------------------------------------------------------------


class _Query:
    """Two passes over the named columns: one that counts what is wrong, one that fetches."""

    def __init__(self, opened: _Opened, columns: Sequence[Column], person: str | None) -> None:
        self.opened, self.rows, self.person = opened, opened.rows, person
        self.numbers = [column for column in columns if column.levels is None]
        self.levels = [column for column in columns if column.levels is not None]
        for column in self.numbers:
            self._check_type(column.name)

    def _check_type(self, name: str) -> None:
        kind = self.rows[name].type()
        if kind.is_temporal():
            raise self._error(name, "holds dates; give numbers, such as days since diagnosis")
        if not (kind.is_string() or kind.is_numeric() or kind.is_boolean() or kind.is_null()):
            raise self._error(name, f"is of type {kind}; give numbers, or text with declared levels")

    def _error(self, name: str, message: str) -> DataError:
        return DataError(f"{self.opened.where}: column '{name}' {message}")

    # --- expressions ---

    def text(self, name: str) -> Any:
        return text(self.rows[name])

    def spelt(self, name: str) -> Any:
        """A text column as the spelling of a number: true and false are 1 and 0, a decimal comma a point."""
        text = self.text(name).lower()
        text = text.isin(["true", "false"]).ifelse(text.cases(("true", "1"), else_="0"), text)
        return text.replace(",", ".") if self.opened.comma else text

    def number(self, name: str) -> Any:
        column = self.rows[name]
        if not column.type().is_string():
            return column.cast("float64")
        spelt = self.spelt(name)
        # DuckDB would read 1_000 as 1000; a patient's record that says so deserves a look.
        return spelt.contains("_").ifelse(None, spelt).try_cast("float64")

    def code(self, column: Column) -> Any:
        """Index of the declared level, -1 where missing, -2 where it is none."""
        text = self.text(column.name)
        pairs = [(level, i) for i, level in enumerate(column.levels or ())]
        return text.isnull().ifelse(-1, text.cases(*pairs, else_=-2)).cast("int16")

    # --- the first pass ---

    def check(self, repeated: bool) -> int:
        """How many rows there are. Raises DataError for what cannot be read."""
        counts: dict[str, Any] = {"n": self.rows.count()}
        for i, column in enumerate(self.numbers):
            counts |= {f"{kind}{i}": found.sum().fill_null(0) for kind, found in self._troubles(column.name).items()}
        for i, column in enumerate(self.levels):
            counts[f"level{i}"] = (self.code(column) == -2).sum().fill_null(0)
        if self.person is not None:
            counts |= {"people": self.text(self.person).nunique(), "known": self.text(self.person).count()}
        found = {key: int(value[0]) for key, value in self.rows.aggregate(**counts).to_pyarrow().to_pydict().items()}
        for i, column in enumerate(self.numbers):
            self._check_number(column.name, found, i)
        for i, column in enumerate(self.levels):
            if found[f"level{i}"]:
                raise self._undeclared(column, found[f"level{i}"])
        if self.person is not None and not repeated and found["people"] < found["known"]:
            raise self._error(
                self.person,
                f"names {found['known'] - found['people']} people more than once; one row per person is needed. "
                "Choose one row of each, or another key",
            )
        return found["n"]

    def _troubles(self, name: str) -> dict[str, Any]:
        """{kind: rows in trouble} of a numeric column."""
        number = self.number(name)
        troubles = {"infinite": number.isinf()}
        if self.rows[name].type().is_string():
            troubles["text"] = number.isnull() & self.text(name).notnull()
        return troubles

    def _check_number(self, name: str, found: Mapping[str, int], i: int) -> None:
        if bad := found[f"infinite{i}"]:
            raise self._error(name, _INFINITE.format(bad))
        if not (bad := found.get(f"text{i}", 0)):
            return
        odd = self.rows.filter(self._troubles(name)["text"])
        kinds = {"date": self.text(name).re_search(_DATE), "comma": self.text(name).re_search(_COMMA)}
        odds = odd.aggregate(**{kind: is_.sum() for kind, is_ in kinds.items()}).to_pyarrow().to_pydict()
        if odds["date"][0] == bad:
            raise self._error(name, f"holds dates in {counted(bad, 'row')}; give numbers, such as days since diagnosis")
        if odds["comma"][0] == bad:
            raise self._error(name, f'has a decimal comma in {counted(bad, "row")}; give decimal = ","')
        remedy = f"correct them, leave them empty, or declare its levels: [data.columns.{name}] levels = [...]"
        raise self._error(name, f"holds text in {counted(bad, 'row')}; {remedy}")

    def _undeclared(self, column: Column, bad: int) -> DataError:
        text = self.text(column.name).name("level")
        odd = self.rows.filter(self.code(column) == -2).select(text).distinct().order_by("level").limit(6)
        names = [str(value) for value in odd.to_pyarrow()["level"].to_pylist()]
        near = get_close_matches(names[0], column.levels or (), 1, 0.6)
        hint = f" (is '{names[0]}' meant to be '{near[0]}'?)" if near else ""
        shown = ", ".join(f"'{name}'" for name in names[:5]) + (", ..." if len(names) > 5 else "")
        return self._error(
            column.name,
            f"has {counted(bad, 'row')} with levels that the study does not declare: {shown}{hint}. Declared are "
            f"{', '.join(column.levels or ())}. Correct the data, or ask the researcher to declare them",
        )

    # --- the second pass ---

    def fetch(self) -> pd.DataFrame:
        """The columns: float64, categorical with the declared levels, and the person as text."""
        import pandas as pd

        keys = [self.text(name).notnull() for name in (self.person, self.opened.person) if name]
        rows = self.rows.filter(*keys) if keys else self.rows
        picked = {column.name: self.number(column.name) for column in self.numbers}
        picked |= {column.name: self.code(column) for column in self.levels}
        if self.person is not None:
            picked[self.person] = self.text(self.person)
        arrow = rows.select(**picked).to_pyarrow()
        # one block in the order of the source: terms that stand together need no copy
        names = sorted((column.name for column in self.numbers), key=self.rows.columns.index)
        columns: dict[str, Any] = dict(zip(names, np.empty((len(names), arrow.num_rows)), strict=True))
        for name in names:
            columns[name][:] = arrow[name].to_numpy()
        for column in self.levels:
            columns[column.name] = pd.Categorical.from_codes(arrow[column.name].to_numpy(), list(column.levels or ()))
        if self.person is not None:
            columns[self.person] = arrow[self.person].to_pandas().astype("str")
        return pd.DataFrame({name: columns[name] for name in self.rows.columns if name in columns}, copy=False)


def _clamp(frame: pd.DataFrame, column: Column) -> int:
    """Move values outside the plausible range to its nearer end; how many they were."""
    low, high = column.range or (-np.inf, np.inf)
    values = frame[column.name].to_numpy()
    outside = int(np.count_nonzero((values < low) | (values > high)))
    if outside:
        frame[column.name] = np.clip(values, low, high)
    return outside
