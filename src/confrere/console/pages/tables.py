"""Tables of pages: a caption, heads with scope, numbers and times as the language writes them, and a CSV of it all."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from fastapi import Request, Response
from markupsafe import Markup

from confrere.console.pages.languages import Tongue
from confrere.report.files import csv_bytes, safe
from confrere.report.numerals import NONE

Kind = Literal["text", "code", "count", "number", "size", "date", "time"]


class Column(NamedTuple):
    """A column: the field of each record, its head (already translated), and how it is written.

    `size` is in bytes; `date` and `time` are dates or seconds since 1970. `link` is the field with an address.
    """

    field: str
    head: str
    kind: Kind = "text"
    link: str = ""

    @property
    def right(self) -> bool:
        """Whether it stands right, digits under digits."""
        return self.kind in ("count", "number", "size")


class Table(NamedTuple):
    """A table: its name in addresses (one word), its caption, its records, and what is said where there are none."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    records: list[dict[str, Any]]
    empty: str = ""


def cell(value: Any, kind: Kind, tongue: Tongue) -> str:
    """A value as its column is written in a language; a dash for what is not known."""
    if value is None or value == "":
        return NONE
    numbers = tongue.numbers
    ways: dict[str, Callable[[Any], str]] = {
        "count": numbers.count, "number": numbers.short, "size": numbers.size, "date": tongue.date, "time": tongue.time,
        "code": Markup("<code>{}</code>").format,
    }  # fmt: skip
    return ways.get(kind, str)(value)


def downloaded(request: Request, *tables: Table) -> Response | None:
    """The CSV that this request asks for (`?csv=NAME`, the link under each table); None if it wants the page."""
    for table in tables:
        if request.query_params.get("csv") == table.name:
            fields = [c.field for c in table.columns]
            body = csv_bytes([{f: record.get(f) for f in fields} for record in table.records])
            name = f"{safe(table.name)}.csv"
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(body or (",".join(fields) + "\r\n").encode(), media_type="text/csv", headers=headers)
    return None
