"""What DuckDB's errors mean: it quotes rows of the file, so its own words must not be shown."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def safely(message: str, text: Path | None) -> str:
    """What DuckDB's message means, and what to do. `text` is the file that it read as text, if it was one."""
    first = message.splitlines()[0] if message else ""
    line = f"line {first.rsplit(' ', 1)[1]}: " if "CSV Error on Line:" in first else ""
    if "Expected Number of Columns" in message:
        return f"{line}the row has more or fewer values than the header has columns; mend the row or its quotes"
    if "quote" in first or "unterminated quote" in message:
        return f'{line}a quotation mark is not closed, or stands inside a value; double it ("")'
    if "Maximum line size" in message:
        return f"{line}the row is too long; check its quotation marks and line ends"
    if "lock" in first:
        return "another program holds the file open for writing; close it there, or read a copy"
    # DuckDB reports bytes that are not UTF-8 in several ways, so they are looked for.
    for number, bad in enumerate(map(_is_no_utf8, _lines(text)) if text else (), 1):
        if bad:
            return (
                f'line {number}: the file is not UTF-8; if it is Latin-1, give encoding = "latin-1", '
                "or convert it: iconv -f latin1 -t utf-8"
            )
    return f"{line}DuckDB cannot read it; check that the file is complete and of the kind its name says"


def _lines(path: Path) -> Iterator[bytes]:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:
        yield from file


def _is_no_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
