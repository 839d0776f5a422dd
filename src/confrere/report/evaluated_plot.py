"""Figures of how good a risk score is: calibration, ROC and decision curves of everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.schema import Record
from confrere.report.vega import MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

SIDE, WIDE, HIGH = 320, 420, 280  # px of the square, of the decision curve


class Quality(NamedTuple):
    """A figure of one `kind` (calibration, roc, decision), and the records that it draws."""

    kind: str
    records: list[Record]


def quality(kind: str, records: list[Record]) -> Quality | None:
    """The panel of a table of an evaluation; None of another, and where there are fewer than two points."""
    mine = [r for r in records if r.get("subgroup") == ""]
    if kind == "decision":  # beyond it, treating anybody does harm
        most = max((r["threshold"] for r in mine if r["net_benefit"] > 0), default=0.0)
        mine = [r for r in mine if r["threshold"] <= most]
    return Quality(kind, mine) if len(mine) > 1 else None


def said(panel: Quality, words: Words) -> str:
    """The figure in words."""
    forms = words.numbers
    if panel.kind == "calibration":
        pairs = "; ".join(f"{forms.fixed(r['predicted'])} {forms.fixed(r['observed'])}" for r in panel.records)
        return words("Points. Predicted and observed risk of groups of people: {pairs}.", pairs=pairs)
    if panel.kind == "roc":
        return words("A curve of sensitivity over 1 − specificity, in {count} points.", count=len(panel.records))
    best = max(panel.records, key=lambda r: r["net_benefit"])
    return words("Curves of net benefit by threshold; the highest is {benefit} at {threshold}.",
                 benefit=forms.fixed(best["net_benefit"], 3), threshold=forms.percent(best["threshold"]))  # fmt: skip


def draw_quality(panel: Quality, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart of a panel, and its rows."""
    return {"calibration": _calibration, "roc": _roc, "decision": _decision}[panel.kind](panel.records, words)


def _axes(x: str, y: str, words: Words) -> tuple[Any, Any]:
    import altair as alt

    scale = alt.Scale(domain=[0, 1], nice=False)
    return alt.X("x:Q", scale=scale, title=words(x)), alt.Y("y:Q", scale=scale, title=words(y))


def _line() -> Any:
    return rows_of("line").mark_line(strokeDash=[2, 3], color=MUTED)


DIAGONAL = [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]


def _calibration(records: list[Record], words: Words) -> tuple[alt.HConcatChart, Datasets]:
    import altair as alt

    x, y = _axes("Predicted risk", "Observed risk", words)
    rows = [{"x": r["predicted"], "y": r["observed"], "low": r["conf_low"], "high": r["conf_high"]} for r in records]
    rules = rows_of("groups").transform_filter("datum.low != null").mark_rule(color=PALETTE[0])
    points = rows_of("groups").mark_point(filled=True, size=45, color=PALETTE[0], opacity=1)
    parts = (_line().encode(x=x, y=y), rules.encode(x=x, y=alt.Y("low:Q"), y2="high:Q"), points.encode(x=x, y=y))
    return alt.hconcat(alt.layer(*parts).properties(width=SIDE, height=SIDE)), {"groups": rows, "line": DIAGONAL}


def _roc(records: list[Record], words: Words) -> tuple[alt.HConcatChart, Datasets]:
    import altair as alt

    x, y = _axes("1 − specificity", "Sensitivity", words)
    rows = [
        {"place": i, "x": r["false_positive_rate"], "y": r["true_positive_rate"]} for i, r in enumerate(records)
    ]  # fmt: skip
    curve = rows_of("points").mark_line(strokeWidth=2, color=PALETTE[0]).encode(x=x, y=y, order="place:Q")
    chart = alt.layer(_line().encode(x=x, y=y), curve).properties(width=SIDE, height=SIDE)
    return alt.hconcat(chart), {"points": rows, "line": DIAGONAL}


def _decision(records: list[Record], words: Words) -> tuple[alt.HConcatChart, Datasets]:
    import altair as alt

    names = {"net_benefit": words("By the score"), "treat_all": words("Treat all")}
    low = -0.05
    rows = [
        {"way": name, "threshold": r["threshold"], "benefit": r[field]}
        for field, name in names.items() for r in records
    ]  # fmt: skip
    top = max(r["benefit"] for r in rows)
    x = alt.X("threshold:Q", title=words("Threshold of risk"), axis=alt.Axis(format="%", tickCount=6))
    y = alt.Y("benefit:Q", title=words("Net benefit"), scale=alt.Scale(domain=[low, max(1.1 * top, 0.01)], nice=False))
    scale = alt.Scale(domain=list(names.values()), range=[PALETTE[0], PALETTE[1]])
    colour = alt.Color("way:N", scale=scale, legend=alt.Legend(title=None, orient="bottom"))
    # who is below the frame leaves it: a line along its edge would say that harm stays the same
    lines = rows_of("ways").mark_line(strokeWidth=2, clip=True).encode(x=x, y=y, color=colour)
    none = rows_of("none").mark_rule(strokeDash=[2, 3], color=MUTED).encode(y=alt.Y("benefit:Q"))
    chart = alt.layer(none, lines).properties(width=WIDE, height=HIGH)
    return alt.hconcat(chart), {"ways": rows, "none": [{"benefit": 0.0}]}
