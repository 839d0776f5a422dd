"""Treatment pathways as a sunburst: the first line in the middle, the second around it, and so on outwards.

An arc is as wide as the people on that path; a gap is who had nothing more. After Hripcsak et al., PNAS 2016;113:7329,
figure 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from confrere.report.schema import Record
from confrere.report.vega import INK, MUTED, PALETTE, PAPER, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

    from confrere.report.vega import Layers

CENTRE, RING = 62.0, 58.0  # px of the hole and of each ring
LINE = 20  # px of a line of the legend
NAMES = 240  # px for its names
LABELLED = 0.045  # the least share of the circle in which a number has room
OTHERS = ("other", "not followed further")
TINTS = (0.0, 0.45, 0.7)  # how far colours go towards paper, when all were taken


class Arc(NamedTuple):
    """A stretch of a ring, in shares of the circle."""

    ring: int
    start: float
    end: float
    label: str
    n: float


class Sunburst(NamedTuple):
    """Arcs, and people: those with a first line, and all."""

    arcs: list[Arc]
    treated: float
    people: float


def sunburst(records: list[Record]) -> Sunburst:
    """The panel of the table `pathways`; paths stand in its order."""
    fields = sorted(name for name in records[0] if name.startswith("line_"))
    paths = [([r[f] for f in fields if r[f] is not None], float(r["n"])) for r in records]
    treated = sum(n for path, n in paths if path)
    arcs = list(_arcs([(path, n) for path, n in paths if path], 0, 0.0, treated)) if treated else []
    return Sunburst(arcs, treated, sum(n for _, n in paths))


def _arcs(paths: list[tuple[list[str], float]], ring: int, start: float, whole: float) -> Iterable[Arc]:
    """The arcs of paths that have a line in this ring, from `start` on, one label after the other."""
    for label in dict.fromkeys(path[ring] for path, _ in paths if len(path) > ring):
        on = [(path, n) for path, n in paths if len(path) > ring and path[ring] == label]
        n = sum(n for _, n in on)
        yield Arc(ring, start, start + n / whole, label, n)
        yield from _arcs(on, ring + 1, start, whole)
        start += n / whole


def said(panel: Sunburst, words: Words) -> str:
    """The first lines in words."""
    first = "; ".join(
        f"{_named(a.label, words)} {words.numbers.percent(a.end - a.start)}" for a in panel.arcs if not a.ring
    )
    return words("Rings from the first line outwards. First line: {first}.", first=first)


def _named(label: str, words: Words) -> str:
    return words.label(label) if label in (*OTHERS, "three or more together") else label


def _colours(labels: list[str]) -> dict[str, str]:
    """A colour for every label: grey for others, tints when the palette has no more."""
    own = [label for label in labels if label not in OTHERS]
    found = {label: _tint(PALETTE[i % 6], TINTS[min(i // 6, len(TINTS) - 1)]) for i, label in enumerate(own)}
    return found | {OTHERS[0]: "#b0b0b0", OTHERS[1]: "#e2e2e2"}


def _tint(colour: str, towards: float) -> str:
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(v + (255 - v) * towards):02x}" for v in parts)


def draw_sunburst(panel: Sunburst, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The rings, and the names of their colours beside them."""
    import altair as alt

    labels = list(dict.fromkeys(arc.label for arc in sorted(panel.arcs, key=lambda a: (a.label in OTHERS, a.ring))))
    colours, rings = _colours(labels), 1 + max((arc.ring for arc in panel.arcs), default=0)
    size = 2 * (CENTRE + RING * rings) + 4
    rows: Datasets = {
        "arcs": [_arc(arc, size / 2, words) for arc in panel.arcs],
        "key": [{"name": _named(label, words), "key": label, "y": 30 + LINE * i} for i, label in enumerate(labels)],
        "centre": [{"text": words.numbers.count(panel.treated), "y": size / 2 - 8},
                   {"text": words("treated"), "y": size / 2 + 10}],
    }  # fmt: skip
    scale = alt.Scale(domain=labels, range=[colours[label] for label in labels])
    made = []
    for ring in range(rings):
        inner = CENTRE + RING * ring
        arcs = rows_of("arcs").transform_filter(f"datum.ring == {ring}")
        marked = arcs.mark_arc(innerRadius=inner, outerRadius=inner + RING - 1, stroke=PAPER, strokeWidth=1)
        made.append(
            marked.encode(
                theta=alt.Theta("from:Q", scale=None),
                theta2=alt.Theta2("to:Q"),
                color=alt.Color("label:N", scale=scale, legend=None),
            )
        )
    text = (
        rows_of("arcs").transform_filter("datum.text != ''").mark_text(fontSize=11, baseline="middle", align="center")
    )
    place = {"x": alt.X("x:Q", scale=None, axis=None), "y": alt.Y("y:Q", scale=None, axis=None), "text": "text:N"}
    made.append(text.encode(**place, color=alt.Color("ink:N", scale=None)))
    middle = rows_of("centre").mark_text(fontSize=14, baseline="middle", align="center", color=INK)
    made.append(middle.encode(x=alt.value(size / 2), y=alt.Y("y:Q", scale=None, axis=None), text="text:N"))
    return alt.hconcat(alt.layer(*made, width=size, height=size), _key(size, scale), spacing=28), rows


def _key(size: float, scale: alt.Scale) -> Layers:
    import altair as alt

    y = alt.Y("y:Q", scale=None, axis=None)
    squares = rows_of("key").mark_square(size=150, opacity=1)
    names = rows_of("key").mark_text(align="left", baseline="middle", limit=NAMES, color=INK)
    return alt.layer(
        squares.encode(x=alt.value(8), y=y, color=alt.Color("key:N", scale=scale, legend=None)),
        names.encode(x=alt.value(24), y=y, text="name:N"),
        width=NAMES, height=size,
    )  # fmt: skip


def _arc(arc: Arc, middle: float, words: Words) -> Record:
    """An arc as data: angles clockwise from the top; where its share stands, if there is room."""
    angle, radius = math.pi * (arc.start + arc.end), CENTRE + RING * (arc.ring + 0.5)
    share = arc.end - arc.start
    dark = arc.label not in OTHERS
    return {
        "ring": arc.ring, "label": arc.label, "n": arc.n, "from": 2 * math.pi * arc.start, "to": 2 * math.pi * arc.end,
        "x": middle + radius * math.sin(angle), "y": middle - radius * math.cos(angle),
        "text": words.numbers.percent(share, 0) if share >= LABELLED / (1 + 0.6 * arc.ring) else "",
        "ink": PAPER if dark else MUTED,
    }  # fmt: skip
