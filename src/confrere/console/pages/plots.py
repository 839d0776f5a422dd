"""Pictures of pages: Altair charts in the look of the report, drawn to SVG here, so that no script runs for them.

Colours stand in the picture by value; the style sheet gives each its shade for dark screens, as in the report.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup

from confrere.console.pages.tables import Table
from confrere.report.numerals import Language
from confrere.report.vega import INK, MUTED, PALETTE, finished, rows_of, spec, svg
from confrere.report.words import Words


class Plot(NamedTuple):
    """A picture and the table behind it; the macro `plot` shows both."""

    svg: Markup
    caption: str
    table: Table


def bars(table: Table, x: str, y: str, description: str, lang: Language = "en") -> Plot:
    """One bar per record: `x` a column of few texts (months, names), in their order; `y` a column of numbers.

    `description` says to those who cannot see the picture what it shows.
    """
    import altair as alt

    heads = {column.field: column.head for column in table.columns}
    rows = [{"x": str(record[x]), "y": record[y]} for record in table.records]
    marks = rows_of("rows").mark_bar(color=PALETTE[0], size=min(48, 360 // max(1, len(rows)))).encode(
        x=alt.X("x:N", sort=None, title=heads[x], axis=alt.Axis(labelAngle=0, labelOverlap="greedy", ticks=False)),
        y=alt.Y("y:Q", title=heads[y], axis=alt.Axis(grid=True, gridColor=MUTED, gridOpacity=0.25, tickCount=4)),
    )  # fmt: skip
    rule = rows_of("rows").mark_rule(color=INK, strokeWidth=0.8).encode(y=alt.datum(0))
    chart = alt.vconcat((marks + rule).properties(width=560, height=180))
    made = spec(finished(chart, {"rows": rows}, table.caption, Words(lang)))
    return Plot(
        Markup(_drawn(json.dumps(made, sort_keys=True), table.name, table.caption, description)), table.caption, table
    )


@lru_cache(maxsize=64)
def _drawn(made: str, key: str, title: str, description: str) -> str:
    """The picture; kept, since drawing takes longer than all else of a page."""
    read: dict[str, Any] = json.loads(made)
    return svg(read, key, title, description)
