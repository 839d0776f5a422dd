"""Love plots: how far the arms of a comparison lie apart in each term, before weighting and after.

Absolute standardised mean differences, the largest from the top; the dashed line is at 0.1, from which on people speak
of imbalance (Austin, Stat Med 2009;28:3083). The name is that of Thomas Love, who drew them first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.axes import ticks
from confrere.report.schema import Record
from confrere.report.terms import read
from confrere.report.vega import MUTED, PALETTE, PAPER, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

WIDE, ROW = 460, 24  # px of the axis, of a line
NAMES = 240  # room for a name
ALIKE = 0.1
MOST = 60  # terms; the table has them all
BOTH = (("smd_before", "Before weighting", PALETTE[6]), ("smd_after", "After weighting", PALETTE[2]))


class Love(NamedTuple):
    """(term, absolute difference before, after), the largest before first."""

    terms: list[tuple[str, float, float]]


def love(records: list[Record], words: Words) -> Love | None:
    """The panel of the table `balance`; None without terms, or with too many of them to be read."""
    told = [r for r in records if r.get("smd_before") is not None and r.get("smd_after") is not None]
    terms = [(read(r["term"]).said(words.colon), abs(r["smd_before"]), abs(r["smd_after"])) for r in told]
    return Love(sorted(terms, key=lambda t: -t[1])) if 1 <= len(terms) <= MOST else None


def said(panel: Love, words: Words) -> str:
    """The differences in words."""
    form = words.numbers.fixed
    told = (words("{name}: {before} before, {after} after", name=n, before=form(b), after=form(a))
            for n, b, a in panel.terms)  # fmt: skip
    return words("Points. {points}.", points="; ".join(told))


def draw_love(panel: Love, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart, and its rows; the names of the two colours stand over it."""
    import altair as alt

    rows = [{"term": n, "smd_before": b, "smd_after": a} for n, b, a in panel.terms]
    top = max(0.25, 1.06 * max(max(b, a) for _, b, a in panel.terms))
    scale = alt.Scale(domain=[0, top], nice=False)
    title = words("Absolute standardised mean difference")
    x = {f: alt.X(f"{f}:Q", scale=scale, axis=alt.Axis(values=ticks(0, top, 6), title=title)) for f, *_ in BOTH}
    order = [n for n, *_ in panel.terms]
    y = alt.Y(
        "term:N", sort=order, title=None, axis=alt.Axis(labelLimit=NAMES, labelPadding=12, ticks=False, domain=False)
    )
    held, high = rows_of("terms"), ROW * len(rows)
    limit = rows_of("limit").mark_rule(strokeDash=[2, 3], color=MUTED).encode(x=alt.X("at:Q", scale=scale))
    between = held.mark_rule(strokeWidth=1, color=MUTED, opacity=0.5).encode(x=x["smd_before"], x2="smd_after:Q", y=y)
    points = [
        held.mark_point(shape="circle", size=70, strokeWidth=1.6, filled=filled, fill=fill, color=colour, opacity=1)
        .encode(x=x[field], y=y)
        for (field, _, colour), filled, fill in zip(BOTH, (False, True), (PAPER, PALETTE[2]), strict=True)
    ]  # fmt: skip
    marks = _key(words)
    chart = alt.layer(limit, between, *points, *marks).properties(width=WIDE, height=high)
    key = [{"place": 150 * i, "text": words(text)} for i, (_, text, _) in enumerate(BOTH)]
    return alt.hconcat(chart), {"terms": rows, "limit": [{"at": ALIKE}], "key": key}


def _key(words: Words) -> list[alt.Chart]:
    """What the two colours mean, over the plot."""
    import altair as alt

    made = []
    for i, (_, text, colour) in enumerate(BOTH):
        held = rows_of("key").transform_filter(f"datum.text == {words(text)!r}")
        x = alt.X("place:Q", scale=None, axis=None)
        look: dict[str, Any] = {"shape": "circle", "size": 70, "strokeWidth": 1.6, "opacity": 1, "xOffset": 6}
        point = held.mark_point(filled=bool(i), fill=colour if i else None, color=colour, **look)
        letters = held.mark_text(align="left", baseline="middle", xOffset=16)
        made += [point.encode(x=x, y=alt.value(-16)), letters.encode(x=x, y=alt.value(-16), text="text:N")]
    return made
