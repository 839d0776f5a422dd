"""Heat maps: how far each column of a cluster lies from the rest, how each column goes with a component.

Every square bears its number, so that colour says nothing that is not written. Blue is under 0, orange above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.schema import Record
from confrere.report.terms import read
from confrere.report.vega import INK, PALETTE, PAPER, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    from confrere.report.vega import Layers

WIDE, HIGH = 76, 26  # of a square, in px
MOST = 60  # rows; the table has them all
STRONG = 0.75  # share of the scale from which on letters are white


class Heat(NamedTuple):
    """Squares: (row, column, value or None), all values within plus or minus `reach`."""

    squares: list[tuple[str, str, float | None]]
    axis: str
    reach: float


class Mapped(NamedTuple):
    """A figure before it has a file: its name, title, description for who cannot see it, panel and records."""

    name: str
    title: str
    description: str
    panel: Heat
    records: list[Record]


def mapped(analysis: Mapping[str, Any], words: Words) -> Iterator[Mapped]:
    """The heat maps of one analysis."""
    tables = analysis["tables"]
    if found := tables.get("profiles"):
        squares = [(str(read(r["term"])), str(r["cluster"]), r["smd"]) for r in found]
        reach = max([1.0, *(abs(v) for *_, v in squares if v is not None)])
        title = words("Clusters: standardised difference of each column from the rest")
        yield from _one("profiles", title, Heat(squares, words("Cluster"), reach), found, words)
    if found := tables.get("loadings"):
        kept = {r["component"] for r in tables["components"] if r["kept"]} or {"PC1"}
        rows = [r for r in found if r["component"] in kept]
        squares = [(str(read(r["term"])), r["component"], r["correlation"]) for r in rows]
        title = words("Components: correlation of each column with them")
        yield from _one("loadings", title, Heat(squares, words("Component"), 1.0), rows, words)


def _one(name: str, title: str, panel: Heat, records: list[Record], words: Words) -> Iterator[Mapped]:
    if len({row for row, *_ in panel.squares}) <= MOST:
        told = (f"{panel.axis} {c}, {row}{words.colon}{_text(v, words)}" for row, c, v in panel.squares)
        yield Mapped(name, title, words("Squares. {squares}.", squares="; ".join(told)), panel, records)


def _text(value: float | None, words: Words) -> str:
    return "–" if value is None else words.numbers.fixed(value, 2)


def draw_heat(panel: Heat, words: Words) -> tuple[Layers, Datasets]:
    """The chart of a panel, and its rows."""
    import altair as alt

    rows = [
        {"row": row, "column": column, "value": value or 0.0, "text": _text(value, words),
         "strong": abs(value or 0.0) > STRONG * panel.reach}
        for row, column, value in panel.squares
    ]  # fmt: skip
    order = list(dict.fromkeys(row for row, *_ in panel.squares))
    columns = list(dict.fromkeys(column for _, column, _ in panel.squares))
    base = rows_of("squares").encode(
        x=alt.X("column:N", sort=columns, title=panel.axis, axis=alt.Axis(labelAngle=0, orient="top")),
        y=alt.Y("row:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)),
    )
    scale = alt.Scale(domain=[-panel.reach, 0, panel.reach], range=[PALETTE[0], PAPER, PALETTE[1]], interpolate="rgb")
    squares = base.mark_rect(stroke=PAPER).encode(color=alt.Color("value:Q", scale=scale, legend=None))
    letters = base.mark_text().encode(
        text="text:N",
        color=alt.condition(alt.datum.strong, alt.value(PAPER), alt.value(INK)),
    )
    chart = alt.layer(squares, letters).properties(width=WIDE * len(columns), height=HIGH * len(order))
    return chart, {"squares": rows}
