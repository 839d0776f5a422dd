"""What Python is given instead of what a study file holds, in messages to people who write Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from confrere.errors import UserError

_LEVELS = r"levels={'\1': [...]} in WHERE"
_ARGUMENTS = (  # (what a study file holds, what Python is given instead); the first that fit go first
    (r"^\[\[analysis\]\] \w+(?=: )|^analysis '\w+' \(\w+\)(?=: )", "METHOD"),
    (r"levels = \[\.\.\.\] under \[data\.columns\.([^]]+)\]", _LEVELS),
    (r"(?:under )?\[data\.columns\.([^]]+)\] levels = \[\.\.\.\]", _LEVELS),
    (r"levels in \[data\.columns\.([^]]+)\]", _LEVELS),
    (r"under \[data\.columns\.([^]]+)\]", rf"to {_LEVELS}"),
    (r"\[data\.columns\.([^]]+)\]: levels", r"levels of '\1'"),
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
