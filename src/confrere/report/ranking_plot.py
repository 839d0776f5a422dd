"""How well the predicted effect ranks people: how much more the share ranked first benefits than everybody (TOC).

The curve is of the classes of the predicted effect, the largest benefit first; people of one class are in no order, so
that within a class their mean is mixed in evenly. AUTOC is its mean, Qini the mean weighted by the share.

Source: Yadlowsky et al., J Am Stat Assoc 2025;120:38 (targeting operator characteristic).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.schema import Record
from confrere.report.vega import MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

WIDE, HIGH = 460, 260  # px
STEPS = 12  # points of the curve in a class


class Toc(NamedTuple):
    """(share, how much more it benefits): the curve, and its points at the ends of classes."""

    curve: list[tuple[float, float]]
    ends: list[tuple[float, float]]
    told: list[Record]  # AUTOC and Qini


def toc(analysis: Mapping[str, Any]) -> Toc | None:
    """The panel of the table `groups` of responders; None of other analyses, or of a single class."""
    tables = analysis["tables"]
    groups = [r for r in tables.get("groups", []) if r.get("estimate") is not None and "predicted_from" in r]
    if len(groups) < 2:
        return None
    sign = -1.0 if analysis["settings"].get("benefit") == "lower" else 1.0
    first = groups[::-1] if sign > 0 else groups
    total = sum(r["n"] for r in first)
    mean = sum(r["n"] * sign * r["estimate"] for r in first) / total
    curve, ends, people, summed = [], [], 0.0, 0.0
    for r in first:
        steps = [i / STEPS for i in range(0 if people else 1, STEPS + 1)]
        shares = [(people + step * r["n"], summed + step * r["n"] * sign * r["estimate"]) for step in steps]
        curve += [(n / total, s / n - mean) for n, s in shares]
        people, summed = shares[-1]
        ends.append(curve[-1])
    return Toc([(0.0, curve[0][1]), *curve], ends, tables.get("ranking", []))


def said(panel: Toc, words: Words) -> str:
    """The curve in words."""
    forms = words.numbers
    told = "; ".join(f"{forms.percent(u, 0)} {forms.significant(v)}" for u, v in panel.ends)
    return words("A curve of how much more the share ranked first benefits than all: {points}.", points=told)


def draw_toc(panel: Toc, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart of a panel, and its rows."""
    import altair as alt

    forms = words.numbers
    rows = [{"share": u, "more": v} for u, v in panel.curve]
    x = alt.X("share:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=alt.Axis(format="%", tickCount=5),
              title=words("Share of people, ranked by the predicted benefit"))  # fmt: skip
    y = alt.Y("more:Q", title=words("Benefit over that of all"))
    line = rows_of("curve").mark_line(strokeWidth=2, color=PALETTE[0]).encode(x=x, y=y)
    points = rows_of("ends").mark_point(filled=True, size=45, color=PALETTE[0], opacity=1).encode(x=x, y=y)
    none = rows_of("none").mark_rule(strokeDash=[2, 3], color=MUTED).encode(y=y)
    lines = [
        f"{words.label(r['measure'])} {forms.estimate(r['estimate'], r['conf_low'], r['conf_high'], False)}"
        for r in panel.told
    ]
    place = alt.Y("place:Q", scale=None, axis=None)
    told = rows_of("note").mark_text(align="right").encode(x=alt.value(WIDE - 4), y=place, text="text:N")
    chart = alt.layer(none, line, points, told).properties(width=WIDE, height=HIGH)
    notes = [{"text": text, "place": 10 + 18 * i} for i, text in enumerate(lines)]
    ends = [{"share": u, "more": v} for u, v in panel.ends]
    return alt.hconcat(chart), {"curve": rows, "ends": ends, "none": [{"more": 0.0}], "note": notes}
