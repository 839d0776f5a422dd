"""Figures of a feasibility count: the funnel, what criteria cost, who could enter, how many enter a month.

Bars end where a number is told. Where only two ends are told that it lies between, the bar is full up to the lower one
and hatched from there to the higher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.schema import Record
from confrere.report.vega import INK, MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

    from confrere.report.vega import Layers

WIDE, ROW, LABELS = 420, 22, 300  # px of the axis, of a bar, of its name
STROKES = 60  # of the hatching, over the whole axis
MOST = 30  # bars of a block
AHEAD = 12  # months


class Bar(NamedTuple):
    """A bar: its name, its ends, and which series it is of."""

    label: str
    low: float
    high: float
    series: str = ""


class Bars(NamedTuple):
    """Blocks of bars under heads, on one axis; in a block every name has a bar of each series."""

    blocks: list[tuple[str, list[Bar]]]
    title: str  # of the axis


class Forecast(NamedTuple):
    """People per month: what was counted, of stretches of months, and what is expected, with its interval."""

    past: list[Record]  # from, until (months from the first forecast one, negative), people per month
    ahead: list[Record]  # month, expected, low, high
    title: str
    start: str  # the month from which is predicted


class Shown(NamedTuple):
    """A figure before it has a file: its name, title, description for who cannot see it, panel and records."""

    name: str
    title: str
    description: str
    panel: Bars | Forecast
    records: list[Record]


def shown(analysis: Mapping[str, Any], words: Words) -> Iterator[Shown]:
    """The figures of one analysis, in the order in which they are read; none unless it is a feasibility count."""
    if analysis["method"] != "feasibility":
        return
    tables = analysis["tables"]
    people = words("People")
    if funnel := tables.get("funnel"):
        bars = _steps(funnel, words)[1:]  # beside everybody the others would be too short to see
        yield Shown("funnel", words("Who is left after each criterion"), _said(bars, words), Bars([("", bars)], people),
                    funnel)  # fmt: skip
    costs = [r for r in tables.get("criteria", []) if r["measure"] in ("gain", "shapley")]
    if costs:
        bars = [Bar(r["criterion"], *_ends(r), words.title(r["measure"])) for r in costs]
        yield Shown("costs", words("What each criterion costs"), _said(bars, words), Bars([("", bars)], people), costs)
    if found := tables.get("breakdown"):
        kinds = dict.fromkeys(r["by"] for r in found)
        blocks = [(words.title(kind), [Bar(r["level"], *_ends(r)) for r in found if r["by"] == kind][:MOST])
                  for kind in kinds]  # fmt: skip
        said = _said([bar for _, bars in blocks for bar in bars], words)
        yield Shown("breakdown", words("Who meets all criteria"), said, Bars(blocks, people), found)
    if ahead := tables.get("accrual"):
        yield _forecast(tables.get("entries", []), ahead, analysis["facts"], words)


def _steps(records: list[Record], words: Words) -> list[Bar]:
    """Steps of a funnel: one that is not told lies between the steps around it."""
    bars = []
    for at, r in enumerate(records):
        below = next((float(s["n"]) for s in records[at:] if s["n"] is not None), 0.0)
        above = next((float(s["n"]) for s in records[at::-1] if s["n"] is not None), below)
        bars.append(Bar(r["criterion"] or words.title(r["step"]), below, above))
    return bars


def _ends(record: Record) -> tuple[float, float]:
    return float(record["n_low"]), float(record["n_high"])


def _text(bar: Bar, words: Words) -> str:
    low, high = (words.numbers.count(round(v)) for v in (bar.low, bar.high))
    return low if low == high else words.numbers.interval(low, high)


def _said(bars: list[Bar], words: Words) -> str:
    """The bars in words."""
    told = "; ".join(f"{bar.label}{f' ({bar.series})' if bar.series else ''} {_text(bar, words)}" for bar in bars)
    return words("Bars. {bars}.", bars=told)


def _forecast(entries: list[Record], ahead: list[Record], facts: Mapping[str, Any], words: Words) -> Shown:
    start = _month(facts["accrual_until"]) + 1
    past = [
        {"from": _month(r["from"]) - start, "until": _month(r["until"]) + 1 - start, "people": r["per_month"]}
        for r in entries if start - _month(r["from"]) <= 5 * AHEAD and _month(r["until"]) < start
    ]  # fmt: skip
    later = [{"month": r["month"] - 0.5, "people": r["per_month"], "low": r["month_low"], "high": r["month_high"]}
             for r in ahead]  # fmt: skip
    year, month = divmod(start, 12)
    name = f"{year}-{month + 1:02d}"
    last, forms = ahead[-1], words.numbers
    said = words(
        "{expected} people are expected in {months} months, {low} to {high} with a probability of 95 %.",
        expected=forms.count(round(last["expected"])), months=last["month"], low=forms.count(last["conf_low"]),
        high=forms.count(last["conf_high"]),
    )  # fmt: skip
    panel = Forecast(past, later, words("People per month"), name)
    return Shown("accrual", words("People who enter each month, and what to expect"), said, panel, [*entries, *ahead])


def _month(name: str) -> int:
    """A month, `2019-03`, as months since the year 0."""
    year, month = name.split("-")
    return 12 * int(year) + int(month) - 1


# Charts -------------------------------------------------------------------------------------------------------


def draw_feasible(panel: Bars | Forecast, words: Words) -> tuple[alt.VConcatChart, Datasets]:
    """The chart and its rows."""
    return _bars(panel, words) if isinstance(panel, Bars) else _lines(panel, words)


def _bars(panel: Bars, words: Words) -> tuple[alt.VConcatChart, Datasets]:
    import altair as alt

    everything = [bar for _, bars in panel.blocks for bar in bars]
    top = max((bar.high for bar in everything), default=1.0) or 1.0
    data: Datasets = {}
    parts = []
    for at, (head, bars) in enumerate(panel.blocks):
        data[f"bars{at}"] = [_row(bar, words) for bar in bars]
        data[f"hatch{at}"] = [stroke for bar in bars for stroke in _hatch(bar, top)]
        parts.append(_block(at, head, bars, 1.18 * top, panel.title if at == len(panel.blocks) - 1 else ""))
    return alt.vconcat(*parts, spacing=14), data


def _row(bar: Bar, words: Words) -> Record:
    return {"label": bar.label, "series": bar.series, "low": bar.low, "high": bar.high, "text": _text(bar, words)}


def _hatch(bar: Bar, top: float) -> list[Record]:
    """Places of the strokes between the ends of a bar, those at the ends included."""
    if bar.high <= bar.low:
        return []
    count = max(1, round(STROKES * (bar.high - bar.low) / top))
    return [{"label": bar.label, "series": bar.series, "at": bar.low + (bar.high - bar.low) * i / count}
            for i in range(count + 1)]  # fmt: skip


def _block(at: int, head: str, bars: list[Bar], top: float, title: str) -> Layers:
    """One block: bars, hatching, numbers."""
    import altair as alt

    order = list(dict.fromkeys(bar.label for bar in bars))
    series = list(dict.fromkeys(bar.series for bar in bars))
    high = ROW * len(bars)
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(ticks=False, labelLimit=LABELS, minExtent=150),
              scale=alt.Scale(paddingInner=0.15, paddingOuter=0.1))  # fmt: skip
    scale = alt.Scale(domain=[0, top], nice=False)
    x: dict[str, Any] = {"scale": scale, "axis": alt.Axis(title=title or None, tickCount=5, format=",.0f")}
    offset = {"yOffset": alt.YOffset("series:N", sort=series)} if len(series) > 1 else {}
    legend = alt.Legend(title=None, orient="top", labelLimit=LABELS) if len(series) > 1 else None
    shades = alt.Scale(domain=series, range=list(PALETTE[: len(series)]))
    colour = alt.Color("series:N", sort=series, scale=shades, legend=legend)
    held = rows_of(f"bars{at}")
    size = 0.8 * ROW
    layers = [
        held.mark_bar(height=size).encode(x=alt.X("low:Q", **x), y=y, color=colour, **offset),
        held.transform_filter("datum.high > datum.low")
        .mark_bar(height=size, fillOpacity=0, stroke=INK, strokeWidth=0.8)
        .encode(x=alt.X("low:Q", **x), x2=alt.X2("high:Q"), y=y, **offset),
        rows_of(f"hatch{at}").mark_tick(thickness=1, size=size, color=INK).encode(x=alt.X("at:Q", **x), y=y, **offset),
        held.mark_text(align="left", baseline="middle", dx=5).encode(
            x=alt.X("high:Q", **x), y=y, text=alt.Text("text:N"), **offset
        ),
    ]
    named = {"title": alt.TitleParams(head, anchor="start", fontWeight="bold")} if head else {}
    return alt.layer(*layers).properties(width=WIDE, height=high, **named)


def _lines(panel: Forecast, words: Words) -> tuple[alt.VConcatChart, Datasets]:
    """What was counted as level stretches, what is expected as a line within its interval."""
    import altair as alt

    first = min((r["from"] for r in panel.past), default=0)
    scale = alt.Scale(domain=[first, AHEAD], nice=False)
    ticks = [m for m in range(-5 * AHEAD, AHEAD + 1, 6) if m >= first]
    under = words("Months from {start}", start=panel.start)
    x: dict[str, Any] = {"scale": scale, "axis": alt.Axis(title=under, values=ticks, format="d")}
    y = alt.Y("people:Q", title=panel.title, axis=alt.Axis(tickCount=5, format=",.4~g"), scale=alt.Scale(zero=True))
    band = rows_of("ahead")
    layers = [
        band.mark_area(color=PALETTE[1], opacity=0.22).encode(
            x=alt.X("month:Q", **x), y=alt.Y("low:Q", title=panel.title), y2=alt.Y2("high:Q")
        ),
        rows_of("past").mark_rule(color=PALETTE[0], strokeWidth=2.5).encode(x=alt.X("from:Q", **x), x2="until:Q", y=y),
        band.mark_line(color=PALETTE[1], strokeWidth=2, strokeDash=[7, 3]).encode(x=alt.X("month:Q", **x), y=y),
        rows_of("now").mark_rule(color=MUTED, strokeDash=[2, 3]).encode(x=alt.X("at:Q", **x)),
        rows_of("now").mark_text(align="left", baseline="top", dx=5, color=PALETTE[1]).encode(
            x=alt.X("at:Q", **x), y=alt.value(2), text=alt.Text("text:N")
        ),
    ]  # fmt: skip
    now = [{"at": 0, "text": words("Expected, with 95% prediction interval")}]
    data: Datasets = {"past": panel.past, "ahead": panel.ahead, "now": now}
    return alt.vconcat(alt.layer(*layers).properties(width=560, height=220)), data
