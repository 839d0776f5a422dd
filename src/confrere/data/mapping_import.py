"""CSV files as a folder of OMOP tables (Parquet), by a mapping (`mapping.py`).

    imported(Path("mapping.toml"), Path("cdm"))

Records are read one after the other and written in batches. Each makes one row, or stands in `quarantine.ndjson` with
its file, line and reason: records read = rows + quarantined. Of people, their ids are held in memory.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from confrere.data import mapping as plans
from confrere.data.cdm import RELEASE, TABLES, source_of
from confrere.data.fhir_tables import KNOWN_VOCABULARY, lay
from confrere.data.mapping import Column, Part, Plan
from confrere.data.quarantine import Quarantine
from confrere.errors import DataError

BATCH = 20_000
LONGEST = 1_000_000  # characters of a field


class Tally(NamedTuple):
    """What became of the records of a file: read = rows + quarantined. `unmapped`: rows whose concept is 0."""

    table: str
    file: str
    read: int
    rows: int
    quarantined: int
    unmapped: int


class Imported(NamedTuple):
    """What became of all. `periods`: observation periods made here; None where the mapping makes them."""

    files: tuple[Tally, ...]
    periods: int | None
    quarantine: Path | None


def imported(file: Path, out: Path, progress: Callable[[int], None] = lambda records: None) -> Imported:
    """Make the tables of a mapping in a new or empty folder. DataError: the mapping or a file cannot be read."""
    import duckdb

    plan = plans.read(file)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder; give another one, or remove what is in it")
    with duckdb.connect() as db:
        codes = _codes(db, plan)
        made = [(part, _Rows(part, plan, codes)) for part in plan.parts]  # all that is wrong with it is said here
        heads = {path: _header(path, part) for part in plan.parts for path in part.files}
        out.mkdir(parents=True, exist_ok=True)
        with _Book(out, progress) as book:
            tallies = [book.read(path, part, rows, heads[path]) for part, rows in made for path in part.files]
        _vocabulary(db, plan, out)
        _source(db, out)
        periods = None if any(part.table == "observation_period" for part in plan.parts) else _periods(db, out)
    return Imported(tuple(tallies), periods, book.quarantine.path)


# Codes --------------------------------------------------------------------------------------------------------


def _codes(db: Any, plan: Plan) -> plans.Codes:
    """{(vocabulary, code): (standard concept or 0, own concept)}; of several standard ones the smallest id."""
    if plan.vocabulary is None:
        return {}
    lay(db, plan.vocabulary)
    found = db.execute(
        """
        select c.vocabulary_id, c.concept_code, c.concept_id,
            case when c.standard_concept = 'S' then c.concept_id else coalesce(min(s.concept_id), 0) end
        from concept c
        left join concept_relationship r
            on r.concept_id_1 = c.concept_id and r.relationship_id = 'Maps to' and r.invalid_reason is null
        left join concept s on s.concept_id = r.concept_id_2 and s.standard_concept = 'S'
        where list_contains(?, c.vocabulary_id)
        group by c.vocabulary_id, c.concept_code, c.concept_id, c.standard_concept""",
        [list(plan.vocabularies)],
    ).fetchall()
    known = {vocabulary for vocabulary, *_ in found}
    if missing := [name for name in plan.vocabularies if name not in known]:
        raise DataError(f"{plan.vocabulary}: it has no codes of {missing[0]!r}; choose it when you download at Athena")
    return {(vocabulary, code): (standard, own) for vocabulary, code, own, standard in found}


def _vocabulary(db: Any, plan: Plan, out: Path) -> None:
    """The vocabulary goes along, so that studies find codes and descendants."""
    for name in KNOWN_VOCABULARY if plan.vocabulary else ():
        if db.execute("select count(*) from duckdb_tables() where table_name = ?", [name]).fetchone()[0]:
            db.table(name).write_parquet(str(out / f"{name}.parquet"), compression="zstd")


def _source(db: Any, out: Path) -> None:
    """`cdm_source`, unless the mapping makes it: what these tables are, and of today."""
    path = out / "cdm_source.parquet"
    if path.exists():
        return
    laid = db.execute("select count(*) from duckdb_tables() where table_name = 'vocabulary'").fetchone()[0]
    told = source_of(out.resolve().name, "CSV files, by a mapping", RELEASE if laid else "null")
    columns = ", ".join(f"{said} as {name}" for name, said in told.items())
    db.sql(f"select {columns}").write_parquet(str(path), compression="zstd")


def _periods(db: Any, out: Path) -> int:
    """An observation period of everybody with a record: from the first day of one to the last."""
    from confrere.data.conformity import when

    days = []
    for table in TABLES:
        start, end = when(table)
        if start and "person_id" in TABLES[table] and (out / f"{table}.parquet").exists():
            last = f"coalesce({end}, {start})" if end else start
            days.append(f"select person_id, {start} as s, {last} as e from '{_quoted(out / table)}.parquet'")
    if not days:
        days = ["select 0::bigint as person_id, null::date as s, null::date as e where false"]
    made = db.sql(
        f"""select row_number() over (order by person_id) as observation_period_id, person_id,
            min(s) as observation_period_start_date, greatest(max(e), max(s)) as observation_period_end_date,
            32817::bigint as period_type_concept_id
        from ({" union all ".join(days)}) group by person_id order by person_id"""
    )
    made.write_parquet(str(out / "observation_period.parquet"), compression="zstd")
    return int(db.execute(f"select count(*) from '{_quoted(out)}/observation_period.parquet'").fetchone()[0])


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


# Records ------------------------------------------------------------------------------------------------------


class _Rows:
    """Makes the values of a table's row from a record."""

    def __init__(self, part: Part, plan: Plan, codes: plans.Codes) -> None:
        self._made = 0
        self._constants = {c.name: plans.constant(c) for c in part.columns if "value" in c.given}
        self._numbered = [c.name for c in part.columns if "number" in c.given]
        self._read: list[tuple[Column, str, plans.Read]] = [
            (c, c.column, plans.reader(c, part, plan, codes)) for c in part.columns if c.column is not None
        ]

    def of(self, cells: plans.Cells) -> dict[str, Any]:
        """The values by column. DataError: the column of the file, and what is wrong with it."""
        row = dict(self._constants)
        for column, name, read in self._read:
            cell = cells[name].strip()
            if plans.empty(cell):
                if column.needed:
                    raise DataError(f"column '{name}' is empty; {column.name} needs it")
                continue
            try:
                row[column.name] = read(cell)
            except DataError as error:
                raise DataError(f"column '{name}' ({column.name}): {error}") from None
        self._made += 1
        return row | dict.fromkeys(self._numbered, self._made)


class _Book:
    """Reads files, writes tables and the quarantine, and counts."""

    def __init__(self, out: Path, progress: Callable[[int], None]) -> None:
        self.out, self.quarantine, self._progress = out, Quarantine(out), progress
        self._people: set[int] = set()
        self._writers: dict[str, Any] = {}
        self._held: dict[str, list[dict[str, Any]]] = {}
        self._records = 0
        self._open = ExitStack()

    def __enter__(self) -> _Book:
        return self

    def __exit__(self, *_: object) -> None:
        for table in self._held:
            self._flush(table)
        self._open.close()
        self.quarantine.close()

    def read(self, path: Path, part: Part, rows: _Rows, header: list[str]) -> Tally:
        """One file, to its end."""
        import pyarrow.parquet as pq

        if part.table not in self._writers:  # a table of which no record can be read is there, empty
            writer = pq.ParquetWriter(self.out / f"{part.table}.parquet", _schema(part.table), compression="zstd")
            self._writers[part.table], self._held[part.table] = self._open.enter_context(writer), []
        good = bad = unmapped = 0
        concept = next((c for c in TABLES[part.table] if c.endswith("_concept_id")), "")
        for line, raw, fields in _records(path, part):
            self._records += 1
            if self._records % BATCH == 0:
                self._progress(self._records)
            try:
                row = self._row(fields, header, rows, part.table)
            except DataError as error:
                self.quarantine.add(f"{path.name}:{line}", str(error), raw)
                bad += 1
                continue
            good += 1
            unmapped += row.get(concept) == 0
            self._held[part.table].append(row)
            if len(self._held[part.table]) >= BATCH:
                self._flush(part.table)
        return Tally(part.table, path.name, good + bad, good, bad, unmapped)

    def _row(self, fields: list[str] | str, header: list[str], rows: _Rows, table: str) -> dict[str, Any]:
        if isinstance(fields, str):
            raise DataError(fields)
        if len(fields) != len(header):
            raise DataError(f"it has {len(fields)} fields, and the header {len(header)}; look at separators and quotes")
        row = rows.of(dict(zip(header, fields, strict=True)))
        person = row.get("person_id")
        if table == "person":
            if person in self._people:
                raise DataError("person_id stands twice; a person has one row")
            self._people.add(row["person_id"])
        elif "person_id" in TABLES[table] and person not in self._people:
            raise DataError("person_id names nobody in person; add this person, or mend the id")
        return row

    def _flush(self, table: str) -> None:
        import pyarrow as pa

        if held := self._held[table]:
            self._writers[table].write_table(pa.Table.from_pylist(held, _schema(table)))
            held.clear()


def _schema(table: str) -> Any:
    import pyarrow as pa

    kinds = {"int64": pa.int64(), "float64": pa.float64(), "date": pa.date32(), "timestamp": pa.timestamp("us"),
             "string": pa.string()}  # fmt: skip
    return pa.schema([(name, kinds[kind]) for name, kind in TABLES[table].items()])


def _header(path: Path, part: Part) -> list[str]:
    """The names of a file's columns. DataError: the mapping names one that is not there, or one stands twice."""
    first = next(_records(path, part, skip=0), None)
    if first is None or isinstance(first[2], str):
        raise DataError(f"{path}: its first line is no header; give the names of the columns there")
    header = [name.strip() for name in first[2]]
    wanted = list(dict.fromkeys(c.column for c in part.columns if c.column is not None))
    if missing := [name for name in wanted if name not in header]:
        raise DataError(
            f"{path}: there is no column '{missing[0]}'; it has {', '.join(header[:30])}. Look at the separator, too"
        )
    if twice := [name for name in wanted if header.count(name) > 1]:
        raise DataError(f"{path}: the column '{twice[0]}' stands twice; rename one")
    return header


def _records(path: Path, part: Part, skip: int = 1) -> Iterator[tuple[int, str, list[str] | str]]:
    """Line, text as it stood, and fields of each record after the header; or in their place why it has none.

    Bytes that are not of the encoding spoil their own record only. Empty lines are no records.
    """
    csv.field_size_limit(LONGEST)
    taken: list[str] = []

    def lines(handle: Any) -> Iterator[str]:
        for line in handle:
            taken.append(line)
            yield line

    encoding = "utf-8-sig" if part.encoding.lower() in ("utf-8", "utf8") else part.encoding
    try:
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as handle:
            rows = csv.reader(lines(handle), delimiter=part.separator, strict=True)
            start = 1
            while True:
                try:
                    fields: list[str] | str = next(rows)
                except StopIteration:
                    return
                except csv.Error as error:
                    fields = f"it is no record of a CSV file ({error}); look at quotes"
                raw, first = "".join(taken), start
                start += len(taken)
                taken.clear()
                if any("\udc80" <= c <= "\udcff" for c in raw):
                    fields, raw = f"it is not {part.encoding}; name the encoding in the mapping", ascii(raw)
                if skip:
                    skip -= 1
                elif fields:
                    yield first, raw, fields
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path}: cannot be read as {part.encoding} ({type(error).__name__})") from None
