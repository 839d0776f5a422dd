"""Survival and cumulative incidence curves with confidence bands, and numbers at risk under the axis.

Curves are right-continuous steps: an estimate holds from its time to the next. On a coarse grid of times, where events
are spread over cells, they slope from one estimate to the next. Nothing marks censorings, since
a mark is one person. Numbers at risk stand under their own times, in the layout of the medical journals.
"""

from __future__ import annotations

from typing import NamedTuple

from confrere.report import svg
from confrere.report.axes import Clock, ticks, time_ticks
from confrere.report.numerals import Numerals
from confrere.report.words import Words

TOP, PLOT, RIGHT = 14.0, 330.0, 22.0
KEY, ROW = 28.0, 19.0  # a sample of a line; a row of the risk table


class Point(NamedTuple):
    """An estimate from `time` on, and its limits where there are any."""

    time: float
    value: float
    low: float | None
    high: float | None


class Series(NamedTuple):
    """One curve."""

    label: str
    points: list[Point]


class Risk(NamedTuple):
    """Numbers at risk at `times`, a row per group; None is a count withheld."""

    times: list[float]
    rows: list[tuple[str, list[float | None]]]


class Panel(NamedTuple):
    """What the axes of a drawing of curves are and say."""

    series: list[Series]
    risk: Risk | None
    start: float  # the value of every curve at time 0: 1 for survival, 0 for incidence
    y_title: str
    clock: Clock
    longest: float
    top: float  # of the vertical axis, at most 1
    remark: str  # set into the empty corner, such as a P value
    sloped: bool = False  # straight lines between the points, not steps


class Frame(NamedTuple):
    """Where the plot stands and how values become places."""

    left: float
    upper: float
    wide: float
    longest: float
    top: float

    def x(self, time: float) -> float:
        return self.left + self.wide * min(time / self.longest, 1.0)

    def y(self, value: float) -> float:
        return self.upper + PLOT * (1 - max(0.0, min(value, self.top)) / self.top)

    @property
    def lower(self) -> float:
        return self.upper + PLOT


def draw_curves(panel: Panel, words: Words) -> tuple[str, float]:
    """(marks, height) of the drawing."""
    rows = panel.risk.rows if panel.risk else []
    left = _left(panel, words)
    legend, legend_height = _legend(panel.series, left)
    frame = Frame(left, TOP + legend_height, svg.WIDTH - left - RIGHT, panel.longest, panel.top)
    marks = [legend, _y_axis(panel, frame, words.numbers), _x_axis(panel, frame, words)]
    marks += [_band(series, number, panel, frame) for number, series in enumerate(panel.series)]
    marks += [_steps(series, number, panel, frame) for number, series in enumerate(panel.series)]
    marks.append(_remark(panel, frame))
    height = frame.lower + 50
    if panel.risk:
        marks.append(_risk_table(panel.risk, [s.label for s in panel.series], frame, words))
        height += 28 + ROW * len(rows)
    return "".join(marks), height


def _left(panel: Panel, words: Words) -> float:
    """Where the plot starts: right of the axis' numbers, and of the names in the risk table."""
    if not panel.risk:
        return 74.0
    if len(panel.risk.rows) < 2:
        return 74.0
    half = max(svg.width(words.numbers.count(row[0])) for _, row in panel.risk.rows) / 2
    names = max(svg.width(label) for label, _ in panel.risk.rows) + KEY + 4
    return min(max(74.0, names + half + 14), 250.0)


def _legend(series: list[Series], left: float) -> tuple[str, float]:
    """Names of the curves over the plot, wrapped; a single curve needs none."""
    if len(series) < 2:
        return "", 0.0
    marks, x, y = [], left, TOP + 4
    for number, one in enumerate(series):
        label = svg.clipped(one.label, 420)
        room = KEY + 30 + svg.width(label)
        if x + room > svg.WIDTH - RIGHT and x > left:
            x, y = left, y + 21
        marks += [_sample(number, x, y), svg.text(x + KEY + 6, y + 4.5, label)]
        x += room
    return "".join(marks), y - TOP + 20


def _sample(number: int, x: float, y: float) -> str:
    return svg.tag("line", x1=x, y1=y, x2=x + KEY - 2, y2=y, **_stroke(number))


def _stroke(number: int) -> dict[str, object]:
    return {
        "class_": f"s{number % len(svg.PALETTE)}",
        "stroke": svg.colour(number),
        "stroke_dasharray": svg.dash(number),
        "stroke_width": 2.2,
        "fill": "none",
    }


def _y_axis(panel: Panel, frame: Frame, numerals: Numerals) -> str:
    marks = []
    for tick in ticks(0.0, panel.top, 5):
        y = frame.y(tick)
        if tick:
            marks.append(svg.line(frame.left, y, frame.left + frame.wide, y, "rule", stroke_width=0.6))
        marks.append(svg.line(frame.left - 5, y, frame.left, y))
        digits = 0 if panel.top > 0.04 else 1
        label = numerals.percent(tick, digits)
        marks.append(svg.text(frame.left - 9, y + 4.5, label, text_anchor="end"))
    marks.append(svg.line(frame.left, frame.upper, frame.left, frame.lower))
    middle = frame.upper + PLOT / 2
    # Beside the numbers, not at the edge: a wide risk table must not tear title and axis apart.
    x = frame.left - 58
    turned = f"rotate(-90 {x:.1f} {middle:.1f})"
    marks.append(svg.text(x, middle, panel.y_title, text_anchor="middle", transform=turned))
    return "".join(marks)


def _x_axis(panel: Panel, frame: Frame, words: Words) -> str:
    marks = [svg.line(frame.left, frame.lower, frame.left + frame.wide, frame.lower)]
    for tick in _x_ticks(panel):
        x = frame.x(tick)
        marks.append(svg.line(x, frame.lower, x, frame.lower + 5))
        marks.append(svg.text(x, frame.lower + 20, panel.clock.shown(tick, words.numbers), text_anchor="middle"))
    title = words("Time ({unit})", unit=words.label(panel.clock.unit)) if panel.clock.unit else words("Time")
    marks.append(svg.text(frame.left + frame.wide / 2, frame.lower + 40, title, text_anchor="middle"))
    return "".join(marks)


def _x_ticks(panel: Panel) -> list[float]:
    """Round times; the times of the risk table where those are few enough to stand beside each other."""
    times = panel.risk.times if panel.risk else []
    if not 3 <= len(times) <= 12:
        return time_ticks(panel.clock, panel.longest)
    step = times[-1] - times[-2]  # the axis goes on where the reported times end
    further = int((panel.longest - times[-1]) / step + 1e-9)
    return [*times, *(times[-1] + step * i for i in range(1, min(further, 12 - len(times)) + 1))]


def _places(series: Series, panel: Panel) -> list[Point]:
    """The points of a curve from time 0 on, where every curve starts without error."""
    if series.points and series.points[0].time <= 0:
        return series.points
    return [Point(0.0, panel.start, panel.start, panel.start), *series.points]


def _stairs(places: list[tuple[float, float]], frame: Frame) -> list[str]:
    """SVG path commands of right-continuous steps; flat stretches are one command."""
    (time, value), *rest = places
    x, y = frame.x(time), frame.y(value)
    commands = [f"{x:.1f} {y:.1f}"]
    for time, value in rest:
        x, step = frame.x(time), frame.y(value)
        if abs(step - y) >= 0.05:
            commands.append(f"H{x:.1f}V{step:.1f}")
            y = step
    commands.append(f"H{x:.1f}")
    return commands


def _slopes(places: list[tuple[float, float]], frame: Frame) -> list[str]:
    """SVG path commands of straight lines from point to point."""
    points = [f"{frame.x(time):.1f} {frame.y(value):.1f}" for time, value in places]
    return [points[0], *(f"L{point}" for point in points[1:])]


def _steps(series: Series, number: int, panel: Panel, frame: Frame) -> str:
    places = [(point.time, point.value) for point in _places(series, panel)]
    path = _slopes(places, frame) if panel.sloped else _stairs(places, frame)
    return svg.tag("path", d="M" + "".join(path), stroke_linejoin="round", **_stroke(number))


def _band(series: Series, number: int, panel: Panel, frame: Frame) -> str:
    """The confidence band: its upper edge forward, its lower edge back."""
    inside = [p for p in _places(series, panel) if p.low is not None and p.high is not None]
    if len(inside) < 2:
        return ""
    edge = _straight if panel.sloped else _corners
    upper = edge([(p.time, p.high or 0.0) for p in inside], frame)
    lower = edge([(p.time, p.low or 0.0) for p in inside], frame)
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    return svg.tag(
        "polygon",
        points=outline,
        class_=f"band s{number % len(svg.PALETTE)}",
        fill=svg.colour(number),
        fill_opacity=0.15,
        stroke="none",
    )


def _straight(places: list[tuple[float, float]], frame: Frame) -> list[tuple[float, float]]:
    return [(frame.x(time), frame.y(value)) for time, value in places]


def _corners(places: list[tuple[float, float]], frame: Frame) -> list[tuple[float, float]]:
    corners: list[tuple[float, float]] = []
    for time, value in places:
        x, y = frame.x(time), frame.y(value)
        if corners and abs(y - corners[-1][1]) < 0.05:
            continue
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    corners.append((frame.x(places[-1][0]), corners[-1][1]))
    return corners


def _remark(panel: Panel, frame: Frame) -> str:
    """A line in the corner where such curves seldom are: low for survival, high for incidence."""
    if not panel.remark:
        return ""
    y = frame.lower - 14 if panel.start else frame.upper + 16
    return svg.text(frame.left + 14, y, panel.remark)


def _risk_table(risk: Risk, drawn: list[str], frame: Frame, words: Words) -> str:
    """Counts under their times; the names of groups, with the lines they are drawn in, at the left edge."""
    y = frame.lower + 68
    marks = [svg.text(0, y, words("Number at risk"), font_weight="bold")]
    many = len(risk.rows) > 1
    for label, counts in risk.rows:
        y += ROW
        if many:
            marks.append(svg.text(KEY + 4, y, svg.clipped(label, 170)))
        if many and label in drawn:
            marks.append(_sample(drawn.index(label), 0.0, y - 4.5))
        for time, count in zip(risk.times, counts, strict=True):
            if time <= frame.longest * (1 + 1e-9):
                shown = "*" if count is None else words.numbers.count(count)
                marks.append(svg.text(frame.x(time), y, shown, text_anchor="middle"))
    return "".join(marks)
