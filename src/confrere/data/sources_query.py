"""The rows of one table in DuckDB as queries of ours: what is wrong with its columns, and their values.

    rows = Rows(connection, "SELECT ...")     nothing is read yet
    rows.fetched({"pid": rows.text("pid")})   an Arrow table

In plain SQL, which a run reads its records by in a third of the time that Ibis takes to be imported and to write it.
Names of columns and declared levels come from a study: they enter a query as `quoted` and `literal` write them, alone.
"""

from __future__ import annotations

import string
import uuid
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from confrere.data.without import MISSING
from confrere.errors import DataError
from confrere.study.counted import counted
from confrere.study.schema import Column

if TYPE_CHECKING:
    import pandas as pd

TEXTUAL: Final = ("varchar", "enum")  # kinds of columns, as DuckDB calls them
FLOATING: Final = ("float", "double")
NUMERIC: Final = (
    *FLOATING, "decimal", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger",
    "ubigint", "uhugeint",
)  # fmt: skip
PLAIN: Final = (*TEXTUAL, *NUMERIC, "boolean", "sqlnull", "null")

INFINITE: Final = "has {} infinite values; make them missing, or correct them"
_DATE = r"^([0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4})"
_COMMA = r"^[+-]?[0-9]+,[0-9]+$"


def quoted(given: str) -> str:
    """An identifier in SQL, whatever stands in it."""
    return '"' + given.replace('"', '""') + '"'


def literal(given: str) -> str:
    """A text in SQL, whatever stands in it."""
    return "'" + given.replace("'", "''") + "'"


class Rows:
    """Rows of a connection that a query names, not read yet. `kinds`: DuckDB's kind of each column, such as varchar."""

    def __init__(self, connection: Any, query: str, made: Sequence[str] = ()) -> None:
        """`made` was registered for the query, and is forgotten by `close`."""
        self._connection, self.query, self._made = connection, query, tuple(made)
        found = connection.sql(query)
        self.kinds = {column: str(kind.id) for column, kind in zip(found.columns, found.types, strict=True)}

    @classmethod
    def of(cls, connection: Any, arrow: Any) -> Rows:
        """The rows of an Arrow table."""
        made = f"rows_{uuid.uuid4().hex}"
        connection.register(made, arrow)
        return cls(connection, f"SELECT * FROM {quoted(made)}", [made])

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.kinds)

    def select(self, picked: Mapping[str, str]) -> Rows:
        """The same rows with these columns: expressions by their names."""
        return Rows(self._connection, f"SELECT {_listed(picked)} FROM ({self.query})", self._made)

    def less(self, person: str, people: Collection[str]) -> Rows:
        """The rows less those of some people (ids as trimmed text), in their order."""
        import pyarrow as pa

        out, place = (f"{what}_{uuid.uuid4().hex}" for what in ("out", "place"))
        self._connection.register(out, pa.table({out: pa.array(sorted(people), pa.string())}))
        # a join keeps no order, and the order of the rows is part of the cut that a run is about
        placed = f"SELECT *, row_number() OVER () AS {place}, {self.text(person)} AS {out} FROM ({self.query})"
        less = f"FROM ({placed}) ANTI JOIN {out} USING ({out}) ORDER BY {place}"
        return Rows(self._connection, f"SELECT {', '.join(map(quoted, self.columns))} {less}", [*self._made, out])

    def fetched(self, picked: Mapping[str, str], where: str = "true", order: str = "") -> Any:
        """An Arrow table of expressions by their names, of the rows `where` a condition holds."""
        query = f"SELECT {_listed(picked)} FROM ({self.query}) WHERE {where} {order}"
        return self._connection.sql(query).to_arrow_table()

    def close(self) -> None:
        """Forget what was registered."""
        for made in self._made:
            self._connection.unregister(made)

    def text(self, column: str) -> str:
        """A column as trimmed text, null where missing; 2.0 is '2'. The same as `without.text` says in Ibis."""
        given = quoted(column)
        if self.kinds[column] in FLOATING:
            whole = f"{given} = floor({given}) AND abs({given}) < 1e15"
            spelt = f"CASE WHEN {whole} THEN TRY_CAST({given} AS BIGINT)::VARCHAR ELSE {given}::VARCHAR END"
            return f"CASE WHEN NOT isnan({given}) THEN {spelt} END"
        text = f"trim({given}::VARCHAR, {literal(string.whitespace)})"
        for missing in MISSING:
            text = f"nullif({text}, {literal(missing)})"
        return text


def _listed(picked: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {quoted(column)}" for column, expression in picked.items())


class Query:
    """Two passes over the named columns: one that counts what is wrong, one that fetches."""

    def __init__(
        self, rows: Rows, columns: Sequence[Column], person: str | None, where: str, comma: bool = False,
        named: str | None = None,
    ) -> None:  # fmt: skip
        """`where` is what messages call the source. `comma`: "3,5" is 3.5. `named`: rows without a person in this
        column cannot stay."""
        self.person, self.where, self._comma, self._named = person, where, comma, named
        self.numbers = [column for column in columns if column.levels is None]
        self.levels = [column for column in columns if column.levels is not None]
        texts = {person, named, *(column.name for column in self.levels)} - {column.name for column in self.numbers}
        # trimmed once, below all else that is asked of a text: DuckDB would work out every mention of it
        told = {c: rows.text(c) if c in texts or rows.kinds[c] in TEXTUAL else quoted(c) for c in rows.columns}
        self.rows = rows.select(told)
        for column in self.numbers:
            self._check_type(column.name)

    def _check_type(self, column: str) -> None:
        kind = self.rows.kinds[column]
        if kind.startswith(("date", "time")):
            raise self._error(column, "holds dates; give numbers, such as days since diagnosis")
        if kind not in PLAIN:
            raise self._error(column, f"is of type {kind}; give numbers, or text with declared levels")

    def _error(self, column: str, message: str) -> DataError:
        return DataError(f"{self.where}: column '{column}' {message}")

    # --- expressions ---

    def _number(self, column: str) -> str:
        """A column as a number: true and false are 1 and 0, a decimal comma a point; null where it is none."""
        text = quoted(column)
        if not self._textual(column):
            return f"{text}::DOUBLE"
        spelt = f"replace({text}, ',', '.')" if self._comma else text
        known = f"CASE lower({text}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
        # DuckDB would read 1_000 as 1000; a patient's record that says so deserves a look.
        return f"CASE WHEN NOT contains({text}, '_') THEN coalesce(TRY_CAST({spelt} AS DOUBLE), {known}) END"

    def _textual(self, column: str) -> bool:
        return self.rows.kinds[column] in TEXTUAL

    def _code(self, column: Column) -> str:
        """Index of the declared level, -1 where missing, -2 where it is none."""
        text = quoted(column.name)
        pairs = " ".join(f"WHEN {literal(level)} THEN {i}" for i, level in enumerate(column.levels or ()))
        other = f"CASE WHEN {text} IS NULL THEN -1 ELSE -2 END"
        return f"(CASE {text} {pairs} ELSE {other} END)::SMALLINT" if pairs else f"({other})::SMALLINT"

    # --- the first pass ---

    def check(self, repeated: bool) -> int:
        """How many rows there are. Raises DataError for what cannot be read."""
        counts = {"n": "count(*)"}
        for i, column in enumerate(self.numbers):
            counts |= {f"{kind}{i}": _many(found) for kind, found in self._troubles(column.name).items()}
        for i, column in enumerate(self.levels):
            counts[f"level{i}"] = _many(f"{self._code(column)} = -2")
        if self.person is not None:
            person = quoted(self.person)
            counts |= {"people": f"count(DISTINCT {person})", "known": f"count({person})"}
        found = {key: int(value[0]) for key, value in self.rows.fetched(counts).to_pydict().items()}
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

    def _troubles(self, column: str) -> dict[str, str]:
        """{kind: rows in trouble} of a numeric column."""
        number = self._number(column)
        troubles = {"infinite": f"isinf({number})"}
        if self._textual(column):
            troubles["text"] = f"({number}) IS NULL AND {quoted(column)} IS NOT NULL"
        return troubles

    def _check_number(self, column: str, found: Mapping[str, int], i: int) -> None:
        if bad := found[f"infinite{i}"]:
            raise self._error(column, INFINITE.format(bad))
        if not (bad := found.get(f"text{i}", 0)):
            return
        kinds = {"date": _DATE, "comma": _COMMA}
        matched = {k: _many(f"regexp_matches({quoted(column)}, {literal(kind)})") for k, kind in kinds.items()}
        odds = self.rows.fetched(matched, self._troubles(column)["text"]).to_pydict()
        if odds["date"][0] == bad:
            raise self._error(
                column, f"holds dates in {counted(bad, 'row')}; give numbers, such as days since diagnosis"
            )
        if odds["comma"][0] == bad:
            raise self._error(column, f'has a decimal comma in {counted(bad, "row")}; give decimal = ","')
        remedy = f"correct them, leave them empty, or declare its levels: [data.columns.{column}] levels = [...]"
        raise self._error(column, f"holds text in {counted(bad, 'row')}; {remedy}")

    def _undeclared(self, column: Column, bad: int) -> DataError:
        some = {"level": f"DISTINCT {quoted(column.name)}"}
        odd = self.rows.fetched(some, f"{self._code(column)} = -2", "ORDER BY level LIMIT 6")
        names = [str(value) for value in odd["level"].to_pylist()]
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

        keys = [f"{self.rows.text(key)} IS NOT NULL" for key in (self.person, self._named) if key]
        picked = {column.name: self._number(column.name) for column in self.numbers}
        picked |= {column.name: self._code(column) for column in self.levels}
        if self.person is not None:
            picked[self.person] = quoted(self.person)
        arrow = self.rows.fetched(picked, " AND ".join(keys) or "true")
        # one block in the order of the source: terms that stand together need no copy
        names = sorted((column.name for column in self.numbers), key=self.rows.columns.index)
        columns: dict[str, Any] = dict(zip(names, np.empty((len(names), arrow.num_rows)), strict=True))
        for column in names:
            columns[column][:] = arrow[column].to_numpy()
        for level in self.levels:
            columns[level.name] = pd.Categorical.from_codes(arrow[level.name].to_numpy(), list(level.levels or ()))
        if self.person is not None:
            columns[self.person] = arrow[self.person].to_pandas().astype("str")
        return pd.DataFrame({column: columns[column] for column in self.rows.columns if column in columns}, copy=False)


def _many(condition: str) -> str:
    """How many rows a condition holds in."""
    return f"count(*) FILTER (WHERE {condition})"
