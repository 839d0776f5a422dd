"""Servers that hold records: PostgreSQL, BigQuery, Spark (Databricks), Snowflake and SQL Server, each through Ibis.

A source is one URL; `${NAME}` in it is taken from the environment, so that no password stands in a file:

    postgresql://user@host:5432/database?schema=cdm
    bigquery://project/dataset?region=europe-west9&max_bytes=50000000000
    snowflake://user:${PASSWORD}@account/database/schema?warehouse=small
    mssql://user:${PASSWORD}@host:1433/database?schema=cdm
    spark://host:15002/catalog.schema          Spark Connect, as Databricks has it; spark:///schema: this process's own

Rows that have to be kept on the way are temporary, each engine in its own manner, and gone when the source is closed:

    PostgreSQL, Snowflake, DuckDB   a temporary table of the connection
    SQL Server                      a local temporary table (#name). Ibis would make a global one (##name), which every
                                    user of the server can read
    Spark                           a temporary view of the session over a local checkpoint: rows held by the executors
    BigQuery                        a table of the user's anonymous dataset, which that user alone can read; BigQuery
                                    itself drops what is left there after 24 hours
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from confrere.data import engines_bigquery
from confrere.errors import DataError

Found = Mapping[str, Callable[[], Any]]
LIMITS = ("max_bytes", "region")  # keys of [tables] in hospital.toml for BigQuery
ODBC = "ODBC Driver 18 for SQL Server"


class Place(NamedTuple):
    """A URL in its parts; `settings` is what stands after the question mark, `where` names it in messages."""

    url: SplitResult
    settings: dict[str, str]
    where: str

    @property
    def path(self) -> tuple[str, ...]:
        """The parts of the path."""
        return tuple(unquote(part) for part in self.url.path.split("/") if part)


class Engine(NamedTuple):
    """A kind of server.

    modules   what must be installed, by which extra of ours
    failures  what its driver raises, as module:name
    connect   gives the backend and the schema its tables are in (None: that of the connection)
    """

    modules: tuple[str, ...]
    extra: str
    failures: tuple[str, ...]
    connect: Callable[[Place], tuple[Any, Any]]


def is_url(source: object) -> bool:
    """Whether a source is a server's URL, and no path."""
    return "://" in str(source)


def shown(source: object) -> str:
    """A source as messages may name it: a URL without user, password and settings."""
    if not is_url(source):
        return str(source)
    parts = urlsplit(str(source))
    _, _, server = parts.netloc.rpartition("@")
    beyond = parts.path + parts.query + parts.fragment
    if "@" in beyond:  # a password with / ? or # in it: where it ends cannot be told
        return f"{parts.scheme}://"
    return f"{parts.scheme}://{server}{parts.path}"


def limited(url: str, limits: Mapping[str, Any]) -> str:
    """A URL with the limits that hospital.toml sets beside it. DataError: it is not BigQuery's."""
    if limits and not url.startswith("bigquery://"):
        raise DataError(f"{shown(url)}: {', '.join(limits)} is for bigquery:// alone; leave it out")
    return f"{url}{'&' if '?' in url else '?'}{urlencode(limits)}" if limits else url


def connected(url: str, where: str) -> tuple[Any, Found]:
    """The server of a URL, and what opens each of its tables, by lower-case name.

    DataError: an unknown kind of server, a driver that is not installed, no connection, another region.
    """
    parts = urlsplit(_expanded(url, where))
    engine = ENGINES.get(parts.scheme)
    if engine is None:
        raise DataError(f"{where}: {parts.scheme}:// is not known here; it may be {', '.join(sorted(ENGINES))}")
    if missing := [name for name in engine.modules if not _there(name)]:
        raise DataError(f"{where}: {missing[0]} is not installed; pip install 'confrere[{engine.extra}]'")
    place = Place(parts, dict(parse_qsl(parts.query)), where)
    try:
        backend, schema = engine.connect(place)
        names = backend.list_tables(database=schema)
    except failures(parts.scheme) as error:
        raise DataError(
            f"{where}: no connection ({type(error).__name__}); check that the server is up, and host, port, user, "
            f"password and the names in the URL"
        ) from None
    return backend, {name.lower(): partial(backend.table, name, database=schema) for name in names}


def failures(scheme: str) -> tuple[type[Exception], ...]:
    """What the driver of an engine raises, by a scheme or by Ibis's name; nothing where it is not installed."""
    engine = ENGINES.get(_SCHEMES.get(scheme, scheme))
    if engine is None or not all(map(_there, engine.modules)):
        return ()
    named = (name.partition(":") for name in engine.failures)
    return tuple(getattr(import_module(module), name) for module, _, name in named)


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _expanded(url: str, where: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise DataError(f"{where}: the environment has no {found[1]}; set it, or write the URL without ${{...}}")
        return quote(os.environ[found[1]], safe="")

    return re.sub(r"\$\{(\w+)\}", value, url)


# Kinds --------------------------------------------------------------------------------------------------------


def _postgresql(place: Place) -> tuple[Any, Any]:
    import ibis

    return ibis.connect(place.url._replace(scheme="postgres").geturl()), None


def _snowflake(place: Place) -> tuple[Any, Any]:
    import ibis

    if len(place.path) != 2:
        raise DataError(f"{place.where}: name database and schema: snowflake://user@account/database/schema")
    database, schema = place.path
    given = {"user": place.url.username, "password": place.url.password, "account": place.url.hostname}
    given = {key: unquote(value) for key, value in given.items() if value}
    # Ibis would make a database for functions of its own, which nothing here needs
    return ibis.snowflake.connect(
        create_object_udfs=False, database=database, schema=schema, **given, **place.settings
    ), None


def _mssql(place: Place) -> tuple[Any, Any]:
    import ibis

    if len(place.path) != 1:
        raise DataError(f"{place.where}: name the database: mssql://user@host:1433/database?schema=cdm")
    settings = {"driver": ODBC} | place.settings
    schema = settings.pop("schema", None)
    user, password = (unquote(part) if part else None for part in (place.url.username, place.url.password))
    return ibis.mssql.connect(
        host=place.url.hostname, port=place.url.port or 1433, user=user, password=password, database=place.path[0],
        **settings,
    ), schema  # fmt: skip


def _spark(place: Place) -> tuple[Any, Any]:
    import ibis
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    if place.url.hostname:
        options = "".join(f";{key}={value}" for key, value in place.settings.items())
        builder = builder.remote(f"sc://{place.url.hostname}:{place.url.port or 15002}/{options}")
    catalog, _, schema = place.path[0].rpartition(".") if place.path else ("", "", "")
    backend = ibis.pyspark.connect(builder.getOrCreate())
    return backend, ((catalog, schema) if catalog else schema or None)


def _bigquery(place: Place) -> tuple[Any, Any]:
    if not place.url.hostname or len(place.path) != 1:
        raise DataError(f"{place.where}: name project and dataset: bigquery://project/dataset")
    most, region = place.settings.get("max_bytes", ""), place.settings.get("region")
    if most and not (most.isdecimal() and int(most) > 0):
        raise DataError(f"{place.where}: max_bytes={most!r} is no number of bytes; write such as max_bytes=50000000000")
    cap = engines_bigquery.Cap(int(most or engines_bigquery.MOST_BYTES), region, place.where)
    # netloc, since hostname is lower case, and a project may be example.com:project
    return engines_bigquery.connect(place.url.netloc, place.path[0], cap), None


ENGINES: Mapping[str, Engine] = {
    "postgresql": Engine(("psycopg",), "postgresql", ("psycopg:Error",), _postgresql),
    "postgres": Engine(("psycopg",), "postgresql", ("psycopg:Error",), _postgresql),
    "bigquery": Engine(
        ("google.cloud.bigquery", "pandas_gbq", "pydata_google_auth"), "bigquery",
        ("google.api_core.exceptions:GoogleAPIError", "google.auth.exceptions:GoogleAuthError"), _bigquery,
    ),
    "snowflake": Engine(("snowflake.connector",), "snowflake", ("snowflake.connector:Error",), _snowflake),
    "mssql": Engine(("pyodbc",), "mssql", ("pyodbc:Error",), _mssql),
    "spark": Engine(("pyspark",), "spark", ("pyspark.errors:PySparkException",), _spark),
}  # fmt: skip
_SCHEMES = {"pyspark": "spark"}  # Ibis's names that differ from ours


# Rows that are kept -------------------------------------------------------------------------------------------


def keep(backend: Any, rows: Any) -> Any:
    """Rows, computed and kept in the engine until `forget`."""
    name = f"cf_{uuid.uuid4().hex[:16]}"
    rows = adapted(backend, rows)
    if backend.name == "pyspark":
        backend._run_pre_execute_hooks(rows)
        # a checkpoint stands by itself: a view, also a cached one, would still need those it was made from
        backend.raw_sql(backend.compile(rows)).localCheckpoint().createOrReplaceTempView(name)
        return backend.table(name)
    return _local(backend, name, rows) if backend.name == "mssql" else backend.create_table(name, rows, temp=True)


def forget(backend: Any, rows: Any) -> None:
    """Drop what `keep` made."""
    name = rows.get_name()
    if backend.name == "pyspark":
        backend.drop_view(name, force=True)
    elif backend.name == "bigquery":
        place = rows.op().namespace
        backend.drop_table(name, database=(place.catalog, place.database), force=True)
    elif backend.name == "mssql":
        with backend.begin() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS [{name}]")
    else:
        backend.drop_table(name, force=True)


def close(backend: Any, kept: Iterable[Any]) -> None:
    """End the connection, and with it what is kept. A Spark session is its process's own, and goes on."""
    if backend.name in ("pyspark", "bigquery"):
        for rows in list(kept):
            forget(backend, rows)
    if backend.name != "pyspark":
        backend.disconnect()


def _local(backend: Any, name: str, rows: Any) -> Any:
    """A local temporary table of SQL Server."""
    import ibis.expr.operations as ops

    create, fill = local_table(backend.compiler, f"#{name}", rows)
    backend._run_pre_execute_hooks(rows)
    with backend.begin() as cursor:
        cursor.execute(create)
        cursor.execute(fill)
    return ops.DatabaseTable(f"#{name}", schema=rows.schema(), source=backend, namespace=ops.Namespace()).to_expr()


def local_table(compiler: Any, name: str, rows: Any) -> tuple[str, str]:
    """The two statements of SQL Server that make a table of rows and fill it."""
    import sqlglot.expressions as sge

    table = sge.Table(this=sge.to_identifier(name, quoted=True))
    columns = sge.Schema(this=table.copy(), expressions=rows.schema().to_sqlglot_column_defs(compiler.dialect))
    create = sge.Create(kind="TABLE", this=columns)
    fill = sge.Insert(this=table, expression=compiler.to_sqlglot(rows))
    return create.sql(compiler.dialect), fill.sql(compiler.dialect)


def adapted(backend: Any, rows: Any) -> Any:
    """The same rows, said as the engine understands them, or computes them fast."""
    return with_whole_days(rows) if backend.name == "duckdb" else without_arrays(rows)


def with_whole_days(rows: Any) -> Any:
    """The same rows, days being added to dates as whole numbers; for DuckDB.

    There a date and an interval are a timestamp: to make and to compare these took half of the time of a criterion.
    """
    import ibis
    import ibis.expr.operations as ops

    def added(left: Any, days: Any) -> Any:
        return plus(ops.Cast(left, "date").to_expr(), days).op()  # whatever Ibis believes that it is

    def replaced(node: Any, changed: Any) -> Any:
        made = node.__recreate__(changed) if changed else node
        if not isinstance(made, ops.DateAdd | ops.DateSub) or not made.right.dtype.is_interval():
            return made
        sign, given = 1 if isinstance(made, ops.DateAdd) else -1, made.right
        if given.dtype.unit.short == "D" and isinstance(given, ops.Literal):
            return added(made.left, sign * int(given.value)) if given.value else made.left
        if given.dtype.unit.short == "D" and isinstance(given, ops.IntervalFromInteger):
            return added(made.left, sign * given.arg.to_expr().cast("int32"))
        return made

    plus = ibis.udf.scalar.builtin(_add, name="add", signature=(("date", "int32"), "date"))
    return rows.op().replace(replaced).to_expr()


def _add(day: Any, days: Any) -> Any:
    """DuckDB's own."""


def without_arrays(rows: Any) -> Any:
    """The same rows, lists of values being unions of single ones.

    ohdsi-circepy lists concepts as arrays. SQL Server has none, and Snowflake's way round it is a page for each.
    """
    import ibis
    import ibis.expr.operations as ops

    plain = {}
    for node in rows.op().find(ops.TableUnnest):
        (values,), (column,) = node.find(ops.Literal), node.schema.names[-1:]
        kind = node.schema[column]
        ones = [ops.DummyTable({column: ibis.literal(value, kind)}).to_expr() for value in values.value]
        plain[node] = (ibis.union(*ones) if len(ones) > 1 else ones[0]).op()
    return rows.op().replace(plain).to_expr() if plain else rows
