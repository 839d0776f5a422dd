"""The names of a table's columns, so that a hospital's steward can choose among them. No value is read.

Of records in the OMOP data model, these are the names of its tables: what studies make of them has names of its own.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from confrere.data import sources
from confrere.data.cdm import PERSONAL, REQUIRED
from confrere.errors import DataError


def columns(path: str | Path) -> tuple[str, ...]:
    """The columns of a file or folder that `sources.read` can read. DataError where it cannot."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    suffix = "".join(path.suffixes[-2:-1]) if path.suffix.lower() == ".gz" else path.suffix
    if suffix.lower() in sources.TEXTS:
        return tuple(sources.header(sources.Source(path), path, [], str(path))[1])
    if path.is_dir() and (tables := _model(f.name.split(".")[0] for f in path.iterdir())):
        return tables
    if path.is_dir() or suffix.lower() in sources.PARQUET:
        return _parquet(path)
    if suffix.lower() in sources.DUCKDB:
        return _duckdb(path)
    raise DataError(f"{path}: unknown kind of file '{path.suffix}'")


def _model(names: Iterable[str]) -> tuple[str, ...]:
    """Which of these are tables of people in the data model; none unless its two first are there."""
    found = {name.lower() for name in names}
    return tuple(table for table in PERSONAL if table in found) if found.issuperset(REQUIRED) else ()


def _parquet(path: Path) -> tuple[str, ...]:
    import pyarrow.parquet as pq

    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise DataError(f"{path}: the folder holds no .parquet file")
    try:
        return tuple(pq.read_schema(files[0]).names)
    except (OSError, ValueError) as error:
        raise DataError(f"{glob.escape(str(path))}: no Parquet file ({type(error).__name__})") from None


def _duckdb(path: Path) -> tuple[str, ...]:
    """Of all its tables: which of them a study means stands in hospital.toml."""
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as found:
            listed = found.execute("SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views()")
            if tables := _model(str(name) for (name,) in listed.fetchall()):
                return tables
            rows = found.execute("SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal ORDER BY 1")
            return tuple(str(name) for (name,) in rows.fetchall())
    except duckdb.Error as error:
        raise DataError(f"{path}: no DuckDB file ({type(error).__name__})") from None
