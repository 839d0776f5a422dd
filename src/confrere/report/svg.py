"""SVG by hand: tags, text, the look of every figure, and the two ways a figure is printed.

Colours are presentation attributes, which any viewer and word processor reads and which any style sheet
overrides: a file stands alone on white paper, and the same marks inside the page follow its dark style by
their classes (`ink`, `muted`, `rule`, `s0` to `s6`). Series differ by colour (Okabe and Ito's palette, safe
for the colour-blind, without the yellow that paper swallows) and by dash.
"""

from __future__ import annotations

import re
from html import escape
from typing import NamedTuple

from confrere.report.schema import Record

INK, MUTED, RULE, PAPER = "#1a1a1a", "#595959", "#c8c8c8", "#ffffff"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9", "#4D4D4D")
DASHES = ("", "7 3", "2 2.5", "9 3 2 3", "12 4", "4 2")
FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
WIDTH = 760.0
MARGIN = 16  # of white around a file's drawing
SIZE = 13  # of the text, in the same unit as WIDTH

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Figure(NamedTuple):
    """A drawing and the numbers behind it."""

    name: str  # what it shows, a word: survival, incidence, forest
    title: str
    description: str  # what a reader who cannot see it is told
    body: str  # SVG marks
    height: float  # at WIDTH
    records: list[Record]  # what its CSV holds
    stem: str = ""  # its file name without ending; set once all figures of a result are known


def plain(text: object) -> str:
    """Text as XML may hold it: control characters go, markup is escaped."""
    return escape(_NOT_XML.sub("\ufffd", str(text)))


def tag(name: str, *children: str, **attributes: object) -> str:
    """One element. `class_` and `stroke_width` become `class` and `stroke-width`; None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(children)}</{name}>" if children else f"<{name}{given}/>"


def _attribute(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else plain(value)


def text(x: float, y: float, content: str, look: str = "ink", **attributes: object) -> str:
    """A line of text in ink or muted."""
    fill = {"ink": INK, "muted": MUTED}[look]
    return tag("text", plain(content), x=x, y=y, class_=look, fill=fill, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, look: str = "ink", **attributes: object) -> str:
    """A thin straight line in ink or as a rule."""
    stroke = {"ink": INK, "rule": RULE, "muted": MUTED}[look]
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=f"{look}-line", stroke=stroke, **attributes)


def colour(series: int) -> str:
    """The colour of the series of this number."""
    return PALETTE[series % len(PALETTE)]


def dash(series: int) -> str | None:
    """The dash of the series of this number: none for the first."""
    return DASHES[series % len(DASHES)] or None


def width(content: str, size: float = SIZE) -> float:
    """About how wide a text is set: without font metrics, 0.55 em a character."""
    return 0.55 * size * len(content)


def clipped(content: str, room: float) -> str:
    """`content`, cut with an ellipsis where it would be wider than `room`."""
    fits = max(1, int(room / (0.55 * SIZE)))
    return content if len(content) <= fits else content[: fits - 1].rstrip() + "…"


def draw(figure: Figure, alone: bool) -> str:
    """The whole SVG: for the page (transparent, named by aria), or `alone` for a file (white paper, XML)."""
    key = figure.stem or figure.name
    said = tag("title", plain(figure.title), id=f"{key}-title")
    said += tag("desc", plain(figure.description), id=f"{key}-desc")
    edge = MARGIN if alone else 0  # a file has a margin of its own; in the page the text's edge is the edge
    wide, high = round(WIDTH) + 2 * edge, round(figure.height) + 2 * edge
    paper = tag("rect", x=-edge, y=-edge, width=wide, height=high, fill=PAPER) if alone else ""
    drawn = tag(
        "svg",
        said,
        paper,
        figure.body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"{-edge} {-edge} {wide} {high}",
        width=wide if alone else "100%",
        height=high if alone else None,
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        font_family=FONT,
        font_size=SIZE,
        style="font-variant-numeric: tabular-nums",
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{drawn}\n' if alone else drawn
