"""Records less the rows of some people: these are removed in the query itself, before anything is counted or checked.

Nothing that is made of such records tells how many rows there were before: neither counts nor messages.
"""

from __future__ import annotations

import uuid
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

    def less(self, rows: Any) -> Any:
        """An Ibis table less the rows of these people, in its order."""
        import ibis
        import pyarrow as pa

        out, place = (f"{name}_{uuid.uuid4().hex}" for name in ("out", "place"))
        listed = ibis.memtable(pa.table({out: pa.array(sorted(self.people), pa.string())}))
        # a join keeps no order, and the order of the rows is part of the cut that a run is about
        placed = rows.mutate(**{place: ibis.row_number(), out: text(rows[self.person])})
        return placed.anti_join(listed, out).order_by(place).drop(place, out)


def text(column: Any) -> Any:
    """A column as trimmed text, null where missing; 2.0 is '2'."""
    if column.type().is_floating():
        whole = (column == column.floor()) & (column.abs() < 1e15)
        text = whole.ifelse(column.try_cast("int64").cast("string"), column.cast("string"))
        return column.isnan().ifelse(None, text)
    text = column.cast("string").strip()
    return text.isin(list(MISSING)).ifelse(None, text)
