"""A hospital's records in the OMOP common data model: a folder of Parquet or CSV, a DuckDB file, a PostgreSQL URL.

    with opened("cdm/") as cdm:
        cdm.table("person").count().execute()

Tables are found whatever the case of their names, and are Ibis expressions: nothing is read before it is asked, and
work is pushed down to the engine. Every column is cast to the model's type (`cdm.py`), since sources store numbers as
text; a table or a column that a source does not have is empty, unless nothing could be read without it. What has to be
kept on the way are temporary tables, gone with the connection: nothing is written to the source.
"""

from __future__ import annotations

import glob
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from confrere.data import sources
from confrere.data.cdm import NEEDED, REQUIRED, TABLES
from confrere.data.unreadable import safely
from confrere.data.without import text
from confrere.errors import DataError

POSTGRESQL = ("postgresql", "postgres")
KINDS = "a folder of Parquet or CSV files, a DuckDB file, or a URL such as postgresql://user@host/database?schema=cdm"
_COMPACT = r"^([0-9]{4})([0-9]{2})([0-9]{2})$"  # dates of vocabulary files


class Cdm:
    """An opened common data model. `where` names it in messages, without a password.

    found    {table, lower case: what opens it as stored}
    without  ids of people (trimmed text) who are in none of its tables
    """

    def __init__(
        self, backend: Any, found: Mapping[str, Callable[[], Any]], where: str, without: Collection[str] = ()
    ) -> None:
        self.backend, self.where = backend, where
        self._found, self._without = found, without
        self._tables: dict[str, Any] = {}
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
        """Rows, computed and put into a temporary table of the engine."""
        return self.backend.create_table(f"cf_{uuid.uuid4().hex[:16]}", rows, temp=True)

    def forget(self, rows: Any) -> None:
        """Drop what `keep` made."""
        self.backend.drop_table(rows.get_name(), force=True)

    def _typed(self, name: str) -> Any:
        import ibis

        kinds = TABLES.get(name)
        if name not in self._found:
            if kinds is None:
                raise DataError(f"{self.where}: there is no table '{name}', and the data model has none of this name")
            return self.backend.create_table(f"cf_{uuid.uuid4().hex[:16]}", schema=ibis.schema(kinds), temp=True)
        rows = self._found[name]()
        rows = rows.rename({column.lower(): column for column in rows.columns if column != column.lower()})
        for column in NEEDED.get(name, ()):
            if column not in rows.columns:
                raise DataError(f"{self.where}: table '{name}' has no column '{column}'; it has {_some(rows.columns)}")
        columns = {c: _cast(rows[c], kind) for c, kind in (kinds or {}).items() if c in rows.columns}
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
            rows = self._found[name]()
            rows = rows.rename({column.lower(): column for column in rows.columns if column != column.lower()})
            odd = {
                c: (text(rows[c]).notnull() & _dashed(text(rows[c]), kind).try_cast(kind).isnull()).sum()
                for c, kind in TABLES[name].items()
                if c in rows.columns and rows[c].type().is_string() and kind != "string"
            }
            counts = rows.aggregate(**odd).to_pyarrow().to_pylist()[0] if odd else {}
            found += [f"{name}.{c} ({n} rows are no {TABLES[name][c]})" for c, n in counts.items() if n]
        return found


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:30])


def _dashed(column: Any, kind: str) -> Any:
    return column.re_replace(_COMPACT, r"\1-\2-\3") if kind == "date" else column


def _cast(column: Any, kind: str) -> Any:
    if column.type().is_string() and kind != "string":
        column = _dashed(text(column), kind)
    return column.cast(kind)


@contextmanager
def opened(source: str | Path, hospital: str = "this hospital", without: Collection[str] = ()) -> Iterator[Cdm]:
    """The common data model at a path or a URL, until the block ends; less the people in `without`.

    DataError: what cannot be opened or read, also within the block, with the file or the table and the remedy.
    """
    where = f"{hospital}: {shown(source)}"
    backend, found = _connected(source, where)
    try:
        cdm = Cdm(backend, found(backend), where, without)
        with _explained(cdm):
            yield cdm
    finally:
        backend.disconnect()


def shown(source: str | Path) -> str:
    """A source as messages may name it: a URL without user and password."""
    if not _is_url(source):
        return str(source)
    parts = urlsplit(str(source))
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _is_url(source: str | Path) -> bool:
    return "://" in str(source)


def _connected(source: str | Path, where: str) -> tuple[Any, Callable[[Any], Mapping[str, Callable[[], Any]]]]:
    """The engine, and what finds the tables in it."""
    import duckdb
    import ibis

    if _is_url(source):
        return _server(str(source), where), _listed
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


def _server(url: str, where: str) -> Any:
    import ibis

    if urlsplit(url).scheme not in POSTGRESQL:
        raise DataError(f"{where}: {urlsplit(url).scheme}:// is not known here; give {KINDS}")
    try:
        import psycopg
    except ImportError:
        raise DataError(f"{where}: psycopg is not installed; pip install 'confrere[postgresql]'") from None
    try:
        return ibis.connect(url.replace("postgresql://", "postgres://", 1))
    except psycopg.Error as error:
        raise DataError(
            f"{where}: no connection ({type(error).__name__}); check host, port, user and database"
        ) from None


def _listed(backend: Any) -> Mapping[str, Callable[[], Any]]:
    return {name.lower(): partial(backend.table, name) for name in backend.list_tables()}


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

    engines: tuple[type[Exception], ...] = (duckdb.Error,)
    if cdm.backend.name == "postgres":
        import psycopg

        engines = (*engines, psycopg.Error)
    try:
        yield
    except engines as error:
        if isinstance(error, duckdb.ConversionException) and (misfits := cdm.misfits()):
            remedy = "correct them, or leave them empty"
            raise DataError(f"{cdm.where}: not of the data model's type: {', '.join(misfits)}; {remedy}") from None
        if isinstance(error, duckdb.Error):
            raise DataError(f"{cdm.where}: {safely(str(error), None)}") from None
        raise DataError(
            f"{cdm.where}: the server answered {type(error).__name__}; check that the user may read the tables and "
            f"make temporary ones, and that columns have the data model's types"
        ) from None
