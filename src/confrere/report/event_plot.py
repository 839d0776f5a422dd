"""The event study of difference in differences: effects by time since treatment, with their limits.

Before treatment there is no effect: what lies off 0 there speaks against parallel trends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confrere.report.schema import Record
from confrere.report.vega import MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

WIDE, HIGH = 460, 260  # px


class Events(NamedTuple):
    """Records of `event_study`, ascending by time."""

    records: list[Record]


def events(records: list[Record]) -> Events | None:
    """The panel; None with fewer than two times."""
    told = sorted((r for r in records if r.get("estimate") is not None), key=lambda r: float(r["event_time"]))
    return Events(told) if len(told) > 1 else None


def said(panel: Events, words: Words) -> str:
    """The points in words."""
    forms = words.numbers
    told = (
        f"{forms.any(r['event_time'])} {forms.estimate(r['estimate'], r.get('conf_low'), r.get('conf_high'), False)}"
        for r in panel.records
    )
    return words("Points with intervals. {points}.", points="; ".join(told))


def draw_events(panel: Events, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart of a panel, and its rows."""
    import altair as alt

    when = {True: words("Before treatment"), False: words("Since treatment")}
    fields = ("event_time", "estimate", "conf_low", "conf_high")
    rows = [{f: r.get(f) for f in fields} | {"when": when[r["event_time"] < 0]} for r in panel.records]
    times = [r["event_time"] for r in panel.records]
    ends = [min(times) - 0.5, max(times) + 0.5]
    axis = alt.Axis(values=sorted(set(times)), format=",.4~g")
    x = alt.X("event_time:Q", scale=alt.Scale(domain=ends, nice=False), axis=axis, title=words("Time since treatment"))
    y = alt.Y("estimate:Q", title=words("Effect on the treated"))
    scale = alt.Scale(domain=list(when.values()), range=[PALETTE[6], PALETTE[0]])
    colour = alt.Color("when:N", scale=scale, legend=alt.Legend(title=None, orient="bottom"))
    limits = rows_of("times").transform_filter("isValid(datum.conf_low)").mark_rule(strokeWidth=1.6)
    points = rows_of("times").mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, color=colour)
    none = rows_of("none").mark_rule(strokeDash=[2, 3], color=MUTED).encode(y=y)
    bars = limits.encode(x=x, y=alt.Y("conf_low:Q"), y2="conf_high:Q", color=colour)
    chart = alt.layer(none, bars, points).properties(width=WIDE, height=HIGH)
    return alt.hconcat(chart), {"times": rows, "none": [{"estimate": 0.0}]}
