"""DuckDB that is given only what another engine's SQL says: every query is compiled for that engine, and read back.

    with spoken("snowflake"), opened(folder) as cdm: ...

Ibis compiles an expression to the engine's own SQL; sqlglot parses this as that engine's, and writes it for DuckDB,
which runs it. So what is said for an engine can be held against what DuckDB answers, without a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlglot
import sqlglot.expressions as sge
from ibis.backends.sql import compilers
from ibis.backends.sql.compilers.duckdb import DuckDBCompiler

from confrere.data import engines, omop
from confrere.data.engines import without_arrays

DIALECTS = {
    "bigquery": compilers.BigQueryCompiler,
    "databricks": compilers.DatabricksCompiler,  # Spark's SQL, without a Spark
    "snowflake": compilers.SnowflakeCompiler,
    "mssql": compilers.MSSQLCompiler,
}


def said(dialect: str, rows: Any) -> str:
    """An expression in the SQL of an engine."""
    compiler = DIALECTS[dialect]()
    tree = compiler.to_sqlglot(without_arrays(rows.unbind()))
    if dialect == "mssql":  # a truth is no value there: a condition must be made 1 or 0 by IIF
        assert not [cast for cast in tree.find_all(sge.Cast) if isinstance(cast.this, sge.Predicate | sge.Connector)]
    return str(tree.sql(compiler.dialect))


def heard(dialect: str, sql: str) -> Any:
    """SQL of an engine, read as that engine's and written for DuckDB; a tree."""
    tree = sqlglot.parse_one(sql, read=DIALECTS[dialect]().dialect)
    text = tree.transform(_whole).sql("duckdb")
    return sqlglot.parse_one(text, read="duckdb")


def _whole(node: Any) -> Any:
    """What sqlglot leaves as it is, and DuckDB does not know.

    BigQuery divides by a function; Snowflake writes the number of days as text, '180', which it casts by itself.
    """
    if isinstance(node, sge.Anonymous) and node.name.lower() == "ieee_divide":
        above, below = (sge.paren(part.transform(_whole)) for part in node.expressions)
        return sge.Div(this=above, expression=below)
    if isinstance(node, sge.DataType) and node.this == sge.DataType.Type.DECIMAL and not node.expressions:
        return sge.DataType.build("DECIMAL(38, 9)")  # what BigQuery's NUMERIC is
    if isinstance(node, sge.DataType) and node.this == sge.DataType.Type.FLOAT:
        return sge.DataType.build("DOUBLE")  # what SQL Server's FLOAT is
    days = node.expression if isinstance(node, sge.TsOrDsAdd | sge.DateAdd | sge.TimestampAdd) else None
    for literal in [] if days is None else list(days.find_all(sge.Literal)):
        literal.set("is_string", False)
    return node


@contextmanager
def spoken(dialect: str) -> Iterator[list[str]]:
    """The statements that were said in a dialect while DuckDB ran them."""
    direct, statements = DuckDBCompiler.to_sqlglot, []

    def through(self: Any, expr: Any, **settings: Any) -> Any:
        statements.append(said(dialect, expr.as_table()))
        return heard(dialect, statements[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuckDBCompiler, "to_sqlglot", through)
        patch.setattr(engines, "with_whole_days", lambda rows: rows)  # DuckDB's alone
        patch.setattr(omop, "WITHOUT_NAN", ("duckdb",) if dialect in omop.WITHOUT_NAN else ())
        yield statements
    assert DuckDBCompiler.to_sqlglot is direct
