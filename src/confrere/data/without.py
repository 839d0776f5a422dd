"""Records less the rows of some people: these are removed in the query itself, before anything is counted or checked.

Nothing that is made of such records tells how many rows there were before: neither counts nor messages.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

MISSING = ("", "NA")


@dataclass(frozen=True)
class Without:
    """A source (path, Source or DataFrame) less the rows of some people.

    person  the source's column that names the person: from the hospital's own settings, never from a study, which
            could name another column and have everybody stay
    people  ids as trimmed text, as `opposition.patients` gives them

    Rows that name no person are left out too, and counted: nobody could say whether these people are opposed.
    """

    source: Any
    person: str
    people: Collection[str] = field(repr=False)


def text(column: Any) -> Any:
    """A column as trimmed text, null where missing; 2.0 is '2'."""
    if column.type().is_floating():
        whole = (column == column.floor()) & (column.abs() < 1e15)
        text = whole.ifelse(column.try_cast("int64").cast("string"), column.cast("string"))
        return column.isnan().ifelse(None, text)
    text = column.cast("string").strip()
    return text.isin(list(MISSING)).ifelse(None, text)
