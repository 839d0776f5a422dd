"""The numbers behind a figure or a table, as they are."""

from __future__ import annotations

from typing import Any

from confrere.report.figures import COUNTS, ESTIMATED
from confrere.report.schema import Record
from confrere.report.tables import BETWEEN, Column, Row, Table, fields, numeric
from confrere.report.words import Words


def raw(records: list[Record], words: Words) -> Table:
    """The numbers as they are, to six figures: what stands behind a figure or a table."""
    estimated = any(record.get("note") == ESTIMATED for record in records)
    shown = [field for field in fields(records) if not (estimated and field == "note")]
    rows = tuple(Row(tuple(_six(field, record, words) for field in shown)) for record in _without_residue(records))
    foot = (words(BETWEEN),) if estimated else ()
    return Table("raw", "", tuple(Column(field, numeric(records, field)) for field in shown), rows, records, foot)


def _without_residue(records: list[Record]) -> list[Record]:
    """Where censorings of a cell are withheld, without the people left after it: the difference would be those."""
    made, withheld = [], dict[tuple[Any, Any], bool]()
    for record in records:
        curve = (record.get("group"), record.get("cause"))
        hide = withheld.get(curve, False) and record.get("note") == ESTIMATED
        made.append(record | {"at_risk": None, "suppressed": True} if hide else record)
        withheld[curve] = "censored" in record and record["censored"] is None
    return made


def _six(field: str, record: Record, words: Words) -> str:
    value = record.get(field)
    if value is None:
        return "*" if record.get("suppressed") and field in ("at_risk", "events", "censored") else ""
    if field in COUNTS and record.get("note") == ESTIMATED:
        return words.numbers.about(value)
    return words.numbers.short(value, 6) if isinstance(value, float) else words.numbers.any(value)
