"""What Python is given instead of what a study file holds, and messages about it to people who write Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confrere.errors import StudyError, UserError
from confrere.study import omop
from confrere.study.file import meant
from confrere.study.omop import Omop

_LEVELS = r"levels={'\1': [...]} in WHERE"
_ARGUMENTS = (  # (what a study file holds, what Python is given instead); the first that fit go first
    (r"^\[\[analysis\]\] \w+(?=: )|^analysis '\w+' \(\w+\)(?=: )", "METHOD"),
    (r"levels = \[\.\.\.\] under \[data\.columns\.([^]]+)\]", _LEVELS),
    (r"(?:under )?\[data\.columns\.([^]]+)\] levels = \[\.\.\.\]", _LEVELS),
    (r"levels in \[data\.columns\.([^]]+)\]", _LEVELS),
    (r"under \[data\.columns\.([^]]+)\]", rf"to {_LEVELS}"),
    (r"\[data\.columns\.([^]]+)\]: levels", r"levels of '\1'"),
    (r"\[disclosure\] (allow|alone|k)(?=:)", r"\1"),
    (r'person = "\.\.\." under \[data\]', 'person="..." in WHERE'),
)


@contextmanager
def in_python(method: str, where: str = "cf.local") -> Iterator[None]:
    """Messages name what a study file holds; from Python they name the arguments instead, those of `where`."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for pattern, argument in _ARGUMENTS:
            text = re.sub(pattern, argument.replace("METHOD", method).replace("WHERE", where), text)
        raise type(error)(text, about=error.about) from None


def recorded(records: Mapping[str, Any] | None) -> Omop | None:
    """What people are made of where sources are OMOP records: concepts, cohorts, features, outcomes, target and
    comparator, as the tables of a study file. StudyError names the key."""
    known = (*omop.TABLES, *omop.KEYS)
    if strange := [key for key in records or () if key not in known]:
        raise StudyError(f"records: '{strange[0]}' is no key here; {meant(strange[0], known)}")
    return omop.read(records, records, _unread) if records else None


def _unread(table: str, key: str, message: str) -> StudyError:
    """What is wrong with `records`."""
    place = "".join(f"[{part!r}]" for part in (*table.split(".", 1), key) if part not in ("", "data"))
    return StudyError(f"records{place}: {message}")
