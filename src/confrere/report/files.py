"""Names and bytes of what stands beside the page: CSV that spreadsheets and R read, safe file names."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from confrere.report.schema import Record

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def stems(names: Iterable[tuple[str, str]]) -> list[str]:
    """`analysis_table` for every pair, safe on every file system and distinct even where case is not."""
    found: list[str] = []
    taken: set[str] = set()
    for owner, name in names:
        stem = f"{safe(owner)}_{safe(name)}"
        number, unique = 2, stem
        while unique.lower() in taken:
            unique, number = f"{stem}-{number}", number + 1
        taken.add(unique.lower())
        found.append(unique)
    return found


def safe(name: str) -> str:
    """ASCII letters, digits, dots, dashes and underscores; accents go, anything else is a dash."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-._")[:60] or "unnamed"


def csv_bytes(records: list[Record], columns: Iterable[str] = ()) -> bytes:
    """The records as CSV (RFC 4180), these `columns` first. What is not known is empty; every digit is kept.

    A byte order mark stands only before text with accents, where Excel needs one. Text that a spreadsheet would
    run as a formula starts with an apostrophe.
    """
    columns = list(dict.fromkeys([*columns, *(field for record in records for field in record)]))
    held = io.StringIO(newline="")
    writer = csv.writer(held)
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(record.get(column)) for column in columns] for record in records)
    text = held.getvalue()
    return text.encode("utf-8" if text.isascii() else "utf-8-sig")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) and not _is_number(value):
        return "'" + value
    return repr(value) if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
