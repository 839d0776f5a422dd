"""The acceptability curve: how likely a treatment is worth its cost, by what a unit of its effect is worth.

Source: Fenwick, O'Brien & Briggs, Health Econ 2004;13:405.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confrere.report.schema import Record
from confrere.report.vega import MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

WIDE, HIGH = 460, 260  # px
TOLD = 5  # points that are told in words


class Acceptable(NamedTuple):
    """Points (worth of a unit of effect, probability), by rising worth."""

    points: list[tuple[float, float]]


def acceptable(records: list[Record]) -> Acceptable | None:
    """The panel of the table `acceptability`; None where there is none."""
    return Acceptable([(r["willingness"], r["probability"]) for r in records]) if records else None


def said(panel: Acceptable, words: Words) -> str:
    """The figure in words."""
    step = max(1, (len(panel.points) - 1) // (TOLD - 1))
    told = "; ".join(
        words("{probability} at {worth}", probability=words.numbers.percent(p), worth=words.numbers.significant(worth))
        for worth, p in panel.points[::step]
    )
    return words("A curve of the probability that the treatment is worth its cost: {points}.", points=told)


def draw_acceptable(panel: Acceptable, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart of a panel, and its rows."""
    import altair as alt

    rows = [{"worth": worth, "probability": p} for worth, p in panel.points]
    x = alt.X("worth:Q", title=words("Worth of a unit of effect"))
    y = alt.Y(
        "probability:Q", scale=alt.Scale(domain=[0, 1]), title=words("Probability that the net benefit is positive")
    )
    line = rows_of("points").mark_line(strokeWidth=2, color=PALETTE[0]).encode(x=x, y=y)
    even = rows_of("even").mark_line(strokeDash=[2, 3], color=MUTED).encode(x=x, y=y)
    ends = [{"worth": worth, "probability": 0.5} for worth in (panel.points[0][0], panel.points[-1][0])]
    chart = alt.layer(even, line).properties(width=WIDE, height=HIGH)
    return alt.hconcat(chart), {"points": rows, "even": ends}
