"""Figures of a model that was learned: its loss by round, its ROC curve, and which features it uses most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.schema import Record
from confrere.report.terms import read
from confrere.report.vega import MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

SIDE, WIDE, ROW = 320, 420, 22  # px of the square, of the axis of bars, of a bar
MOST = 30  # features; the table has them all
SAMPLES = ("held out", "training")  # the first is the one that counts


class Roc(NamedTuple):
    """Points (1 - specificity, sensitivity) of each sample, from nobody to everybody."""

    lines: list[tuple[str, list[tuple[float, float]]]]


class Losses(NamedTuple):
    """(round, the mean loss of the people of training in it)."""

    points: list[tuple[int, float]]


class Uses(NamedTuple):
    """(feature, its share of the gain), the largest first."""

    shares: list[tuple[str, float]]


def roc(records: list[Record], words: Words) -> Roc | None:
    """The panel of the table `roc`; None where there is none."""
    points = {
        words(name): [(r["false_positive_rate"], r["true_positive_rate"]) for r in records if r.get("sample") == name]
        for name in SAMPLES
    }
    lines = [(name, p) for name, p in points.items() if p]
    return Roc(lines) if lines else None


def uses(records: list[Record], words: Words) -> Uses | None:
    """The panel of the table `importance`; None where no feature is used."""
    return Uses([(read(r["feature"]).said(words.colon), r["share"]) for r in records[:MOST]]) if records else None


Learned = Roc | Uses | Losses


def losses(records: list[Record]) -> Losses | None:
    """The panel of the table `training`; None of fewer than two rounds."""
    points = [(r["round"], r["loss"]) for r in records if r.get("loss") is not None]
    return Losses(points) if len(points) > 1 else None


def said(panel: Learned, metrics: list[Record], words: Words) -> str:
    """The figure in words."""
    if isinstance(panel, Losses):
        (first, before), (last, after) = panel.points[0], panel.points[-1]
        fixed = words.numbers.fixed
        return words("Curve. Mean loss from {before} in round {first} to {after} in round {last}.",
                     before=fixed(before, 3), first=first, after=fixed(after, 3), last=last)  # fmt: skip
    if isinstance(panel, Uses):
        told = "; ".join(f"{name} {words.numbers.percent(share)}" for name, share in panel.shares)
        return words("Bars. {bars}.", bars=told)
    areas = "; ".join(
        f"{words(r['sample'])} {words.numbers.fixed(r['estimate'], 3)}"
        for r in metrics
        if r["metric"] == "AUC" and r["estimate"] is not None
    )
    return words("Curves. Area under them: {areas}.", areas=areas)


def draw_learned(panel: Learned, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart of a panel, and its rows."""
    if isinstance(panel, Losses):
        return _draw_losses(panel, words)
    return _draw_roc(panel, words) if isinstance(panel, Roc) else _draw_uses(panel, words)


def _draw_losses(panel: Losses, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    import altair as alt

    rows = [{"round": number, "loss": loss} for number, loss in panel.points]
    low, high = min(r["loss"] for r in rows), max(r["loss"] for r in rows)
    whole = alt.Axis(tickMinStep=1, format="d")
    x = alt.X(
        "round:Q", title=words("Round"), axis=whole, scale=alt.Scale(domain=[rows[0]["round"], rows[-1]["round"]])
    )
    y = alt.Y("loss:Q", title=words("Mean loss, training"), scale=alt.Scale(domain=[min(0.0, low), high]))
    line = rows_of("losses").mark_line(strokeWidth=2, color=PALETTE[0]).encode(x=x, y=y)
    dots = rows_of("losses").mark_point(filled=True, size=24, color=PALETTE[0]).encode(x=x, y=y)
    chart = alt.layer(line, dots).properties(width=WIDE, height=SIDE // 2)
    return alt.hconcat(chart), {"losses": rows}


def _draw_roc(panel: Roc, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    import altair as alt

    rows = [
        {"sample": name, "place": i, "x": x, "y": y}
        for name, points in panel.lines
        for i, (x, y) in enumerate(points)
    ]  # fmt: skip
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", scale=scale, title=words("1 − specificity"))
    y = alt.Y("y:Q", scale=scale, title=words("Sensitivity"))
    names = [name for name, _ in panel.lines]
    colour = alt.Color(
        "sample:N", scale=alt.Scale(domain=names, range=[PALETTE[0], PALETTE[1]][: len(names)]),
        legend=alt.Legend(title=None, orient="bottom"),
    )  # fmt: skip
    lines = rows_of("points").mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, order="place:Q")
    chance = rows_of("chance").mark_line(strokeDash=[2, 3], color=MUTED).encode(x=x, y=y)
    chart = alt.layer(chance, lines).properties(width=SIDE, height=SIDE)
    return alt.hconcat(chart), {"points": rows, "chance": [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]}


def _draw_uses(panel: Uses, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    import altair as alt

    rows: list[Mapping[str, Any]] = [
        {"feature": name, "share": share, "text": words.numbers.percent(share)} for name, share in panel.shares
    ]
    names = [name for name, _ in panel.shares]
    top = max(share for _, share in panel.shares)
    x = alt.X("share:Q", title=words("Share of the gain"), scale=alt.Scale(domain=[0, 1.15 * top], nice=False),
              axis=alt.Axis(format="%"))  # fmt: skip
    y = alt.Y("feature:N", sort=names, title=None, axis=alt.Axis(labelLimit=240, ticks=False, domain=False))
    base = rows_of("features").encode(x=x, y=y)
    bars = base.mark_bar(color=PALETTE[0], height=ROW - 8)
    letters = base.mark_text(align="left", dx=5).encode(text="text:N")
    chart = alt.layer(bars, letters).properties(width=WIDE, height=ROW * len(rows))
    return alt.hconcat(chart), {"features": [dict(row) for row in rows]}
