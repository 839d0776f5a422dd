"""Forest plots: squares on a logarithmic axis between the names and the numbers.

All squares are equal: unlike the trials of a meta-analysis, terms have units of their own, and by precision those per
small unit would be the largest and hide their limits. Limits beyond the axis end in an arrow. Levels of one variable
stand indented under its name, after the level that they are compared with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.axes import ratio_ticks, ticks
from confrere.report.numerals import Numerals
from confrere.report.schema import Record
from confrere.report.terms import is_intercept, read
from confrere.report.vega import INK, MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

    from confrere.report.vega import Layers

ROW, WIDE = 24, 300  # of a line and of the axis, in px
NAMES, INDENT = 400, 14  # most room for a name: a rule of two conditions; of a level under its variable
WIDEST = 40.0  # a ratio axis spans at most from 1/40 to 40
SQUARE = 40.0  # the area of a square, in px²


class Measure(NamedTuple):
    """Which fields of a coefficient are shown, and how."""

    field: str
    low: str
    high: str
    title: str  # English, in the catalogue
    short: str
    ratio: bool
    less: str = ""  # what a ratio under 1 means
    more: str = ""


MEASURES = (
    Measure("hazard_ratio", "hr_low", "hr_high", "Hazard ratio", "HR", True, "Lower hazard", "Higher hazard"),
    Measure("odds_ratio", "or_low", "or_high", "Odds ratio", "OR", True, "Lower odds", "Higher odds"),
    Measure("rate_ratio", "rr_low", "rr_high", "Rate ratio", "RR", True, "Lower rate", "Higher rate"),
    Measure("estimate", "conf_low", "conf_high", "Coefficient", "β", False),
)
SUBDISTRIBUTION = Measure(  # of Fine and Gray's model: it orders incidences, and is no ratio of rates
    "hazard_ratio", "hr_low", "hr_high", "Subdistribution hazard ratio", "SHR", True,
    "Lower incidence", "Higher incidence",
)  # fmt: skip


class Row(NamedTuple):
    """A line of the plot; a heading and a reference level have no record."""

    label: str
    indent: bool
    record: Record | None
    reference: bool = False


class Plot(NamedTuple):
    """What a forest plot shows."""

    records: list[Record]
    level: float  # of confidence
    against: dict[str, str]  # the reference level of variables, where it is known
    kind: Measure
    head: str = "Term"  # English, in the catalogue
    unit: str = ""  # of the axis, in the language of the page


class Axis(NamedTuple):
    """The ends of the axis, in units of the measure, and the value of no difference."""

    low: float
    high: float
    null: float


def measure(records: list[Record], model: str = "") -> Measure:
    """The measure that the coefficients of a model were made for: a ratio where they have one."""
    found = next(m for m in MEASURES if all(m.field in record for record in records) or m.field == "estimate")
    return SUBDISTRIBUTION if model == "fine-gray" and found.field == SUBDISTRIBUTION.field else found


def drawn(records: list[Record]) -> list[Record]:
    """The coefficients that a forest plot shows: no intercept, nothing without an estimate."""
    kind = measure(records)
    return [
        record
        for record in records
        if not is_intercept(record["term"])
        and record.get(kind.field) is not None
        and (not kind.ratio or record[kind.field] > 0)
    ]


def lines(records: list[Record], against: dict[str, str], words: Words) -> list[Row]:
    """Terms as lines: a variable of several levels gets a heading, and a line for the level that they refer to."""
    terms = [read(record["term"]) for record in records]
    rows: list[Row] = []
    for place, (term, record) in enumerate(zip(terms, records, strict=True)):
        siblings = [t for t in terms if t.level and t.variable == term.variable]
        reference = against.get(term.variable)
        if not term.level or len(siblings) < 2:
            versus = words("{level} vs {reference}", level=term.level, reference=reference)
            rows.append(Row(term.said(words.colon, versus if reference else ""), False, record))
            continue
        if place == 0 or terms[place - 1].variable != term.variable:
            rows.append(Row(term.variable, False, None))
            rows += [Row(reference, True, None, reference=True)] if reference else []
        rows.append(Row(term.level, True, record))
    return rows


def draw_forest(plot: Plot, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart and its rows, four columns: names, squares on their axis, estimates with intervals, P values."""
    import altair as alt

    kind, axis = plot.kind, _axis(plot.records, plot.kind)
    heading = f"{words(kind.short)} ({words.interval(plot.level)})"
    p = words.p if any(r.get("p_value") is not None for r in plot.records) else ""
    head = {"row": 0, "name": words(plot.head), "text": heading, "p": p, "indent": 0}
    rows = lines(plot.records, plot.against, words)
    values = [_values(row, place, plot, axis, words) for place, row in enumerate(rows, start=1)]
    data: Datasets = {"terms": [head, *values], "null": [{"at": axis.null}]}
    if kind.ratio:
        data["sides"] = [
            {"text": f"← {words(kind.less)}", "side": "less"}, {"text": f"{words(kind.more)} →", "side": "more"},
        ]  # fmt: skip
    high = ROW * len(data["terms"])
    scale = alt.Scale(domain=list(range(len(data["terms"]))), paddingInner=0, paddingOuter=0)
    y = alt.Y("row:O", axis=None, scale=scale)
    squares = [*_squares(plot, axis, y, high, words), *(_sides(high) if kind.ratio else ())]
    columns = (_names(y), alt.layer(*squares, width=WIDE), _text(y, "text", "left"), _text(y, "p", "right"))
    return alt.hconcat(*(column.properties(height=high) for column in columns), spacing=24), data


def _values(row: Row, place: int, plot: Plot, axis: Axis, words: Words) -> Record:
    """A line as data: the numbers of its record as they are, and where they are drawn."""
    made: Record = {"row": place, "name": row.label, "indent": INDENT if row.indent else 0, "text": "", "p": ""}
    if row.reference:
        return made | {"text": words("reference")}
    if row.record is None:
        return made
    kind, record = plot.kind, row.record
    low, high = record.get(kind.low), record.get(kind.high)
    numbers = {"term": record["term"], kind.field: record[kind.field], kind.low: low, kind.high: high}
    places: Record = {"at": _inside(record[kind.field], axis)}
    if low is not None and high is not None:
        places |= {"from": _inside(low, axis), "to": _inside(high, axis)}
        places |= {"less": low < axis.low, "more": high > axis.high}
    p = record.get("p_value")
    shown = {"text": _estimate(record, kind, words.numbers), "p": "" if p is None else words.numbers.p_value(p)}
    return made | numbers | places | shown


def _estimate(record: Record, kind: Measure, numerals: Numerals) -> str:
    return numerals.estimate(record[kind.field], record.get(kind.low), record.get(kind.high), kind.ratio)


def _inside(value: float, axis: Axis) -> float:
    return min(max(value, axis.low), axis.high)


def _axis(records: list[Record], kind: Measure) -> Axis:
    """From the lowest to the highest limit, the null among them, with a little air, within bounds."""
    values = [r[f] for r in records for f in (kind.field, kind.low, kind.high) if r.get(f) is not None]
    if kind.ratio:
        logs = [math.log(min(max(value, 1 / WIDEST), WIDEST)) for value in [*values, 0.9, 1.1]]
        low, high = min(logs), max(logs)
        air = 0.06 * (high - low)
        return Axis(math.exp(low - air), math.exp(high + air), 1.0)
    low, high = min([*values, 0.0]), max([*values, 0.0])
    air = 0.06 * (high - low) or 1.0
    return Axis(low - air, high + air, 0.0)


def _names(y: alt.Y) -> Layers:
    """The names from the left, bold in the head."""
    import altair as alt

    text: dict[str, Any] = {"align": "left", "baseline": "middle", "limit": NAMES}
    held = rows_of("terms")
    parts = [
        held.transform_filter("datum.row == 0").mark_text(fontWeight="bold", **text).encode(x=alt.value(0)),
        held.transform_filter("datum.row > 0 && datum.indent == 0").mark_text(**text).encode(x=alt.value(0)),
        held.transform_filter("datum.indent > 0").mark_text(**text).encode(x=alt.value(INDENT)),
    ]
    return alt.layer(*(part.encode(y=y, text=alt.Text("name:N")) for part in parts), width=1)


def _text(y: alt.Y, field: str, align: str) -> Layers:
    """A column of printed numbers, bold in the head."""
    import altair as alt

    text: dict[str, Any] = {"align": align, "baseline": "middle"}
    parts = [
        rows_of("terms").transform_filter("datum.row == 0").mark_text(fontWeight="bold", **text),
        rows_of("terms").transform_filter("datum.row > 0").mark_text(**text),
    ]
    return alt.layer(*(part.encode(x=alt.value(0), y=y, text=alt.Text(f"{field}:N")) for part in parts), width=1)


def _squares(plot: Plot, axis: Axis, y: alt.Y, high: float, words: Words) -> list[alt.Chart]:
    """Intervals as lines, arrows where they leave the axis, squares, the line of no difference."""
    import altair as alt

    kind = plot.kind
    scale = alt.Scale(type="log" if kind.ratio else "linear", domain=[axis.low, axis.high], nice=False, zero=False)
    places = ratio_ticks(axis.low, axis.high) if kind.ratio else ticks(axis.low, axis.high, 5)
    title = words("{measure} (log scale)", measure=words(kind.title)) if kind.ratio else words(kind.title)
    title += f", {plot.unit}" if plot.unit else ""
    under: dict[str, Any] = {"format": ",.4~g", "title": title, "titlePadding": 26 if kind.ratio else 10}
    x = alt.X("at:Q", scale=scale, axis=alt.Axis(values=places, **under))
    null = rows_of("null").mark_rule(strokeDash=[2, 3], color=MUTED)
    held = rows_of("terms").transform_filter("isValid(datum.at)")
    whole = held.transform_filter("isValid(datum.from)")
    arrow: dict[str, Any] = {"filled": True, "size": 45, "opacity": 1, "color": INK}
    return [
        null.encode(x=x, y=alt.value(ROW), y2=alt.value(high)),
        whole.mark_rule(strokeWidth=1.3, color=INK).encode(x=alt.X("from:Q", scale=scale), x2=alt.X2("to:Q"), y=y),
        whole.transform_filter("datum.less").mark_point(shape="triangle-left", **arrow).encode(x=alt.X("from:Q"), y=y),
        whole.transform_filter("datum.more").mark_point(shape="triangle-right", **arrow).encode(x=alt.X("to:Q"), y=y),
        held.mark_point(shape="square", filled=True, size=SQUARE, opacity=1, color=PALETTE[0]).encode(x=x, y=y),
    ]


def _sides(high: float) -> list[alt.Chart]:
    """What lies on either side of the null, under the numbers of the axis."""
    import altair as alt

    ends: list[tuple[str, Any, int]] = [("less", "left", 0), ("more", "right", WIDE)]
    return [
        rows_of("sides")
        .transform_filter(f"datum.side == '{side}'")
        .mark_text(align=align, baseline="middle", color=MUTED)
        .encode(x=alt.value(x), y=alt.value(high + 34), text=alt.Text("text:N"))
        for side, align, x in ends
    ]
