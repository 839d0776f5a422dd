"""Forest plots: squares on a logarithmic axis, sized by precision, between the names and the numbers.

A square's area is proportional to 1 / standard error: by 1 / variance, as in a meta-analysis, terms in other
units would vanish beside each other. Limits beyond the axis end in an arrow. Levels of one variable stand
indented under its name.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from confrere.report import svg
from confrere.report.axes import ratio_ticks, ticks
from confrere.report.numerals import Numerals
from confrere.report.schema import Record
from confrere.report.terms import is_intercept, read
from confrere.report.words import Words

ROW, TOP = 25.0, 16.0
WIDEST = 40.0  # a ratio axis spans at most from 1/40 to 40
P_COLUMN, GAP = 66.0, 22.0


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


class Row(NamedTuple):
    """A line of the plot; a heading has no record."""

    label: str
    indent: bool
    record: Record | None


def measure(records: list[Record]) -> Measure:
    """The measure that the coefficients were made for: a ratio where they have one."""
    return next(m for m in MEASURES if all(m.field in record for record in records) or m.field == "estimate")


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


def lines(records: list[Record]) -> list[Row]:
    """Terms as lines: a variable of several levels gets a heading."""
    terms = [read(record["term"]) for record in records]
    rows: list[Row] = []
    for place, (term, record) in enumerate(zip(terms, records, strict=True)):
        siblings = [t for t in terms if t.level and t.variable == term.variable]
        if not term.level or len(siblings) < 2:
            rows.append(Row(str(term), False, record))
            continue
        if place == 0 or terms[place - 1].variable != term.variable:
            rows.append(Row(term.variable, False, None))
        rows.append(Row(term.level, True, record))
    return rows


class Frame(NamedTuple):
    """The columns of the plot and its axis."""

    left: float
    right: float
    low: float  # on the scale of `place`: logarithms for ratios
    high: float
    ratio: bool

    def x(self, value: float) -> float:
        place = math.log(value) if self.ratio else value
        return self.left + (self.right - self.left) * (place - self.low) / (self.high - self.low)


def draw_forest(records: list[Record], level: float, words: Words) -> tuple[str, float]:
    """(marks, height) of the plot of `drawn(records)`."""
    kind, rows, numerals = measure(records), lines(records), words.numbers
    heading = f"{words(kind.short)} ({words.interval(level)})"
    texts = [_estimate(record, kind, numerals) for record in records]
    names = max(svg.width(row.label) + (18 if row.indent else 0) for row in rows)
    numbers = max(map(svg.width, [*texts, heading]))
    left = min(max(names + GAP, 110.0), 270.0)
    right = max(svg.WIDTH - P_COLUMN - numbers - 2 * GAP, left + 150)
    frame = Frame(left, right, *_span(records, kind), kind.ratio)
    bottom = TOP + ROW * (len(rows) + 1) + 6
    marks = [_head(heading, frame, words), _axis(kind, frame, bottom, words)]
    sizes = _sides(records)
    for place, row in enumerate(rows):
        y = TOP + ROW * (place + 1) + 14
        indent = 18.0 if row.indent else 0.0
        marks.append(svg.text(indent, y, svg.clipped(row.label, left - GAP - indent + 8)))
        if row.record is not None:
            marks.append(_mark(row.record, sizes[id(row.record)], kind, frame, y - 4.5))
            marks.append(svg.text(right + GAP, y, _estimate(row.record, kind, numerals)))
            p_value = numerals.p_value(row.record.get("p_value"))
            marks.append(svg.text(svg.WIDTH, y, p_value, text_anchor="end"))
    return "".join(marks), bottom + (62 if kind.ratio else 44)


def _estimate(record: Record, kind: Measure, numerals: Numerals) -> str:
    return numerals.estimate(record[kind.field], record.get(kind.low), record.get(kind.high), kind.ratio)


def _span(records: list[Record], kind: Measure) -> tuple[float, float]:
    """The ends of the axis: all limits and the reference, with a little air, within bounds."""
    fields = (kind.field, kind.low, kind.high)
    values = [record[f] for record in records for f in fields if record.get(f) is not None]
    if kind.ratio:
        values = [min(max(value, 1 / WIDEST), WIDEST) for value in values]
        low, high = math.log(min([*values, 0.9])), math.log(max([*values, 1.1]))
    else:
        low, high = min([*values, 0.0]), max([*values, 0.0])
    air = 0.06 * (high - low) or 1.0
    return low - air, high + air


def _sides(records: list[Record]) -> dict[int, float]:
    """The side of each square, by identity of the record."""
    precision = {id(r): 1 / r["std_error"] for r in records if r.get("std_error")}
    best = max(precision.values(), default=1.0)
    return {id(r): max(6.0, 14.0 * math.sqrt(precision.get(id(r), 0.0) / best)) for r in records}


def _head(heading: str, frame: Frame, words: Words) -> str:
    bold = {"font_weight": "bold"}
    return "".join(
        [
            svg.text(0, TOP, words("Term"), **bold),
            svg.text(frame.right + GAP, TOP, heading, **bold),
            svg.text(svg.WIDTH, TOP, words.p, text_anchor="end", **bold),
            svg.line(0, TOP + 8, svg.WIDTH, TOP + 8),
        ]
    )


def _axis(kind: Measure, frame: Frame, bottom: float, words: Words) -> str:
    """The reference line, the ticks and what lies on either side."""
    reference = 1.0 if kind.ratio else 0.0
    ends = (math.exp(frame.low), math.exp(frame.high)) if kind.ratio else (frame.low, frame.high)
    places = ratio_ticks(*ends) if kind.ratio else ticks(*ends, 5)
    zero, middle = frame.x(reference), (frame.left + frame.right) / 2
    marks = [
        svg.line(frame.left, bottom, frame.right, bottom),
        svg.line(zero, TOP + 8, zero, bottom, "muted", stroke_dasharray="2 3"),
    ]
    for tick in places:
        x = frame.x(tick)
        label = words.numbers.short(tick)
        marks += [svg.line(x, bottom, x, bottom + 5), svg.text(x, bottom + 19, label, text_anchor="middle")]
    if kind.ratio:
        small = {"font_size": 12}
        marks.append(svg.text(zero - 8, bottom + 38, f"← {words(kind.less)}", "muted", text_anchor="end", **small))
        marks.append(svg.text(zero + 8, bottom + 38, f"{words(kind.more)} →", "muted", **small))
    title = words("{measure} (log scale)", measure=words(kind.title)) if kind.ratio else words(kind.title)
    marks.append(svg.text(middle, bottom + (56 if kind.ratio else 38), title, text_anchor="middle"))
    return "".join(marks)


def _mark(record: Record, side: float, kind: Measure, frame: Frame, y: float) -> str:
    """The interval as a line, with arrows where it leaves the axis, and the square on it."""
    marks = []
    low, high = record.get(kind.low), record.get(kind.high)
    if low is not None and high is not None:
        x1, x2 = _inside(low, frame), _inside(high, frame)
        marks.append(svg.line(x1, y, x2, y, stroke_width=1.4))
        marks.append(_arrow(x1, y, 1) if _beyond(low, frame) else "")
        marks.append(_arrow(x2, y, -1) if _beyond(high, frame) else "")
    x = _inside(record[kind.field], frame)
    square = {"x": x - side / 2, "y": y - side / 2, "width": side, "height": side}
    marks.append(svg.tag("rect", class_="s0 square", fill=svg.colour(0), **square))
    return "".join(marks)


def _inside(value: float, frame: Frame) -> float:
    if frame.ratio and value <= 0:
        return frame.left
    return min(max(frame.x(value), frame.left), frame.right)


def _beyond(value: float, frame: Frame) -> bool:
    return (frame.ratio and value <= 0) or not frame.left <= frame.x(value) <= frame.right


def _arrow(x: float, y: float, way: int) -> str:
    points = f"{x:.1f},{y:.1f} {x + 7 * way:.1f},{y - 4:.1f} {x + 7 * way:.1f},{y + 4:.1f}"
    return svg.tag("polygon", points=points, class_="ink", fill=svg.INK)
