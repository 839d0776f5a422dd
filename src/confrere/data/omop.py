"""A hospital's records in the OMOP common data model: a folder of Parquet or CSV, a DuckDB file, a server's URL.

    with opened("cdm/") as cdm:
        cdm.table("person").count().execute()

Tables are found whatever the case of their names, and are Ibis expressions: nothing is read before it is asked, and
work is pushed down to the engine. Every column is cast to the model's type (`cdm.py`), since sources store numbers as
text; a table or a column that a source does not have is empty, unless nothing could be read without it. What has to be
kept on the way is temporary (`engines.py` says where), gone with the connection: nothing is written to the source.
"""

from __future__ import annotations

import glob
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from confrere.data import engines, sources
from confrere.data.cdm import NEEDED, REQUIRED, TABLES
from confrere.data.engines import is_url, shown
from confrere.data.unreadable import safely
from confrere.data.without import text
from confrere.errors import DataError

KINDS = (
    "a folder of Parquet or CSV files, a DuckDB file, or a server's URL such as "
    "postgresql://user@host/database?schema=cdm"
)
WITHOUT_NAN = ("mssql",)  # engines whose numbers are all numbers, and which cannot be asked
_COMPACT = r"^([0-9]{4})([0-9]{2})([0-9]{2})$"  # dates of vocabulary files


class Cdm:
    """An opened common data model. `where` names it in messages, without a password.

    found    {table, lower case: what opens it as stored}
    without  ids of people (trimmed text) who are in none of its tables
    dash     whether dates are told with dashes, see `misfit`
    kept     {name: rows} that the engine keeps until the source is closed
    """

    def __init__(
        self, backend: Any, found: Mapping[str, Callable[[], Any]], where: str, without: Collection[str] = ()
    ) -> None:
        self.backend, self.where = backend, where
        self._found, self._without = found, without
        self.dash = backend.name != "mssql"
        self._tables: dict[str, Any] = {}
        self.kept: dict[str, Any] = {}
        for name in REQUIRED:
            if name not in found:
                raise DataError(f"{where}: there is no table '{name}'; it has {', '.join(sorted(found)) or 'none'}")

    def table(self, name: str) -> Any:
        """A table of the model by its lower-case name: an Ibis expression with the model's columns and types."""
        if name not in self._tables:
            self._tables[name] = self._typed(name)
        return self._tables[name]

    def has(self, name: str) -> bool:
        """Whether the source has the table; one that it does not have reads as empty."""
        return name in self._found

    def keep(self, rows: Any) -> Any:
        """Rows, computed and kept by the engine for as long as the source is open."""
        kept = engines.keep(self.backend, rows)
        self.kept[kept.get_name()] = kept
        return kept

    def forget(self, rows: Any) -> None:
        """Drop what `keep` made."""
        engines.forget(self.backend, self.kept.pop(rows.get_name(), rows))

    def stored(self, name: str) -> Any:
        """A table as the source has it, its columns in lower case: neither cast nor without anybody."""
        rows = self._found[name]()
        return rows.rename({column.lower(): column for column in rows.columns if column != column.lower()})

    def readable(self, column: Any, kind: str) -> Any:
        """A column of text as this engine can cast it to a type."""
        return _readable(column, kind, self.dash)

    def is_number(self, column: Any) -> Any:
        """Whether a number is there, and is not NaN."""
        there = column.notnull()
        return there if self.backend.name in WITHOUT_NAN else there & ~column.isnan()

    def _typed(self, name: str) -> Any:
        import ibis

        kinds = TABLES.get(name)
        if name not in self._found:
            if kinds is None:
                raise DataError(f"{self.where}: there is no table '{name}', and the data model has none of this name")
            person = self.stored("person")
            return person.select(**{c: ibis.null().cast(kind) for c, kind in kinds.items()}).filter(ibis.literal(False))
        rows = self.stored(name)
        for column in NEEDED.get(name, ()):
            if column not in rows.columns:
                raise DataError(f"{self.where}: table '{name}' has no column '{column}'; it has {_some(rows.columns)}")
        columns = {c: _cast(rows[c], kind, self.dash) for c, kind in (kinds or {}).items() if c in rows.columns}
        columns |= {c: ibis.null().cast(kind) for c, kind in (kinds or {}).items() if c not in rows.columns}
        typed = rows.select(**columns, **{c: rows[c] for c in rows.columns if c not in columns})
        return self._less(typed) if "person_id" in typed.columns else typed

    def _less(self, rows: Any) -> Any:
        import ibis
        import pyarrow as pa

        if not self._without:
            return rows
        listed = ibis.memtable(pa.table({"opposed": pa.array(sorted(self._without), pa.string())}))
        return rows.anti_join(listed, rows.person_id.cast("string") == listed.opposed)

    def misfits(self) -> list[str]:
        """Columns of the tables read so far that hold text which is not of the model's type: how many rows of each."""
        found = []
        for name in (n for n in self._tables if n in self._found and n in TABLES):
            rows = self.stored(name)
            texts = {c: kind for c, kind in TABLES[name].items() if _is_text(rows, c, kind)}
            odd = {c: misfit(rows[c], kind, self.dash).sum() for c, kind in texts.items()}
            counts = rows.aggregate(**odd).to_pyarrow().to_pylist()[0] if odd else {}
            found += [f"{name}.{c} ({n} rows are no {TABLES[name][c]})" for c, n in counts.items() if n]
        return found


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:30])


def _is_text(rows: Any, column: str, kind: str) -> bool:
    """Whether a column of another type is stored as text."""
    return column in rows.columns and kind != "string" and rows[column].type().is_string()


def misfit(column: Any, kind: str, dash: bool = True) -> Any:
    """Whether a text is there that is not of a type; the engine must have a cast that may fail."""
    return text(column).notnull() & _readable(column, kind, dash).try_cast(kind).isnull()


def _readable(column: Any, kind: str, dash: bool) -> Any:
    """Text that an engine can cast; dates as vocabulary files write them, 20991231, get dashes.

    SQL Server reads these as they are, and has no patterns to change them by.
    """
    given = text(column)
    return given.re_replace(_COMPACT, r"\1-\2-\3") if dash and kind == "date" else given


def _cast(column: Any, kind: str, dash: bool = True) -> Any:
    as_text = column.type().is_string() and kind != "string"
    return (_readable(column, kind, dash) if as_text else column).cast(kind)


@contextmanager
def opened(source: str | Path, hospital: str = "this hospital", without: Collection[str] = ()) -> Iterator[Cdm]:
    """The common data model at a path or a URL, until the block ends; less the people in `without`.

    DataError: what cannot be opened or read, also within the block, with the file or the table and the remedy.
    """
    where = f"{hospital}: {shown(source)}"
    backend, found = _connected(source, where)
    kept: dict[str, Any] = {}
    try:
        cdm = Cdm(backend, found(backend), where, without)
        kept = cdm.kept
        with _explained(cdm):
            yield cdm
    finally:
        engines.close(backend, kept.values())


def _connected(source: str | Path, where: str) -> tuple[Any, Callable[[Any], Mapping[str, Callable[[], Any]]]]:
    """The engine, and what finds the tables in it."""
    import duckdb
    import ibis

    if is_url(source):
        backend, found = engines.connected(str(source), where)
        return backend, lambda backend: found
    path = Path(source)
    if not path.exists():
        raise DataError(f"{where}: there is no such file or folder; give {KINDS}")
    backend = ibis.duckdb.connect(autoinstall_known_extensions=False)
    if path.is_dir():
        return backend, partial(_files, path, where)
    try:
        backend.attach(path, name="source", read_only=True)
    except duckdb.Error:
        backend.disconnect()
        raise DataError(f"{where}: DuckDB cannot open it; give {KINDS}") from None
    return backend, partial(_attached, where)


def _attached(where: str, backend: Any) -> Mapping[str, Callable[[], Any]]:
    """The tables of an attached DuckDB file: of the one schema that has a table `person`."""
    listed = backend.con.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'source' UNION ALL "
        "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'source' AND NOT internal"
    ).fetchall()
    schemas = sorted({schema for schema, table in listed if table.lower() == "person"})
    if len(schemas) > 1:
        raise DataError(f"{where}: schemas {', '.join(schemas)} each have a table 'person'; keep one in the file")
    return {
        table.lower(): partial(backend.table, table, database=("source", schema))
        for schema, table in listed
        if schema in schemas
    }


def _files(folder: Path, where: str, backend: Any) -> Mapping[str, Callable[[], Any]]:
    """The tables of a folder: person.parquet, PERSON.csv, person.csv.gz, or a folder person/ of Parquet files."""
    found: dict[str, Callable[[], Any]] = {}
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.split(".")[0].lower()
        suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
        if path.is_dir() and any(path.rglob("*.parquet")):
            opens = partial(backend.read_parquet, glob.escape(str(path)) + "/**/*.parquet")
        elif suffix in sources.PARQUET:
            opens = partial(backend.read_parquet, glob.escape(str(path)))
        elif suffix in sources.TEXTS:
            opens = partial(_csv, backend, path, where)
        else:
            continue
        if name in found:
            raise DataError(f"{where}: {paths[name].name} and {path.name} are both table '{name}'; keep one of them")
        found[name], paths[name] = opens, path
    return found


def _csv(backend: Any, path: Path, where: str) -> Any:
    """A CSV file as text columns, in a temporary table: it is read once, however often it is asked."""
    wanted = list(TABLES.get(path.name.split(".")[0].lower(), ()))
    separator, names = sources.header(
        sources.Source(path), path, [*wanted, *(w.upper() for w in wanted)], f"{where}/{path.name}"
    )
    quote = {"quote": "", "escape": ""} if separator == "\t" else {"quote": '"', "escape": '"'}  # Athena's have none
    rows = backend.read_csv(
        glob.escape(str(path)), columns={f"c{i}": "VARCHAR" for i in range(len(names))}, auto_detect=False,
        header=True, delim=separator, nullstr=[""], strict_mode=True, **quote,
    )  # fmt: skip
    rows = rows.select(**{name: rows[f"c{i}"] for i, name in enumerate(names)})
    return backend.create_table(f"cf_{uuid.uuid4().hex[:16]}", rows, temp=True)


@contextmanager
def _explained(cdm: Cdm) -> Iterator[None]:
    """Turns an engine's errors, which quote values, into errors that name tables and columns."""
    import duckdb
    from ibis.common.exceptions import OperationNotDefinedError, UnsupportedOperationError

    wrong: tuple[type[Exception], ...] = (duckdb.Error, *engines.failures(cdm.backend.name))
    try:
        yield
    except (OperationNotDefinedError, UnsupportedOperationError) as error:
        raise DataError(
            f"{cdm.where}: this engine cannot do what is asked ({error}); export the tables as Parquet, and read these"
        ) from None
    except wrong as error:
        if isinstance(error, duckdb.ConversionException) and (misfits := cdm.misfits()):
            remedy = "correct them, or leave them empty"
            raise DataError(f"{cdm.where}: not of the data model's type: {', '.join(misfits)}; {remedy}") from None
        if isinstance(error, duckdb.Error):
            raise DataError(f"{cdm.where}: {safely(str(error), None)}") from None
        raise DataError(
            f"{cdm.where}: the server answered {type(error).__name__}; check that the user may read the tables and "
            f"make temporary ones, and that columns have the data model's types"
        ) from None
