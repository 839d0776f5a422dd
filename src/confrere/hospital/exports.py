"""Files that a clinician or a steward takes out of the store of worklists, and which stay in the hospital: CSV.

A file is new, whole and its owner's alone; no cell of it is a formula to a spreadsheet.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.hospital.screening import Log
    from confrere.hospital.worklists import Head, Line, Page

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet knows a formula
Value = str | float | None


def write_new(file: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all. StudyError where it is there already."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(handle, "w", encoding="utf-8", newline="") as out:
                out.write(text)
        except OSError:
            file.unlink()
            raise
    except FileExistsError:
        raise StudyError(f"{file} is there already; an export overwrites nothing. Choose another name") from None
    except OSError as error:
        raise StudyError(f"{file} cannot be written ({error.strerror}); choose another folder") from None


def list_csv(page: Page) -> str:
    """A list as CSV: the columns, the criteria that are unknown or failed, the status, when and why it was noted."""
    noted = ("unknown", "failed", "listed", "status", "noted_at", "noted_by", "reason")
    rows: list[Sequence[Value]] = [[*page.head.columns, *noted]]
    for line in page.lines:
        reasons = ["; ".join(criteria_of(page.head, line, answer)) for answer in ("unknown", "failed")]
        said = line.moves[-1] if line.moves else None
        listed = "yes" if line.listed else "no longer"
        why = [said.at, said.who, said.reason] if said else ["", "", ""]
        rows.append([line.person, *line.values, *reasons, listed, line.status, *why])
    return _csv(rows)


def log_csv(log: Log) -> str:
    """A screening log as CSV: people at every step, of those found not eligible by reason, and who is left out."""
    rows: list[Sequence[Value]] = [["step", "criterion", "n"], *log.steps]
    rows += [["not eligible", reason, n] for reason, n in log.reasons]
    rows.append(["no longer on the list, status kept", "", log.gone])
    if log.opposed is not None:
        rows.append(["left off: opposes being contacted", "", log.opposed])
    return _csv(rows)


def _csv(rows: Iterable[Sequence[Value]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([_safe(value) for value in row] for row in rows)
    return out.getvalue()


def criteria_of(head: Head, line: Line, answer: str) -> Sequence[str]:
    """The criteria of a list to which this is the answer of a line."""
    return [text for text, found in zip(head.criteria, line.answers, strict=True) if found == answer]


def _safe(value: Value) -> str:
    """A cell that no spreadsheet takes for a formula; whole numbers without a point."""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(FORMULA) else value
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else str(value)
