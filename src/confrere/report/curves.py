"""Survival and cumulative incidence curves with confidence bands, and numbers at risk under the axis.

Curves are right-continuous steps: an estimate holds from its time to the next. On a coarse grid of times, where events
are spread over cells, they slope from one estimate to the next. Censorings are marked only where exact times were
allowed and few enough for a reader to tell apart: on cells, a mark would stand for nobody. Names stand at the ends of
their curves, and numbers at risk under their own times, in the layout of the medical journals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from confrere.report.axes import Clock, ticks, time_ticks
from confrere.report.schema import Record
from confrere.report.vega import INK, Datasets, colours, dashes, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

    from confrere.report.vega import Layers

WIDE, HIGH = 540, 320  # of the plot, in px
ROW = 19  # of the risk table
BETWEEN = 16  # of names at the ends of curves
NAMES = 160  # room for a name
FINE = 1 / 2000  # of the height of the plot: a step below it is not seen
MANY = 1000  # points, from which on unseen steps are left out of the picture


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
    """Numbers at risk, a row of counts by time for every group; None is a count withheld, no entry one not known."""

    times: list[float]
    rows: dict[str, dict[float, float | None]]


class Panel(NamedTuple):
    """What the axes of a drawing of curves are and say."""

    series: list[Series]
    risk: Risk | None
    start: float  # the value of every curve at time 0: 1 for survival, 0 for incidence
    y_title: str
    clock: Clock
    longest: float
    top: float  # of the vertical axis, at most 1
    remark: str = ""  # set into the empty corner, such as a P value
    sloped: bool = False  # straight lines between the points, not steps
    field: str = "estimate"  # of the records that are drawn
    censored: tuple[tuple[str, Point], ...] = ()  # where to mark a censoring, by the name of the curve


def draw_curves(panel: Panel, words: Words) -> tuple[alt.VConcatChart, Datasets]:
    """The chart of a panel and its rows: bands, curves and their names; under them the numbers at risk."""
    import altair as alt

    rows = {
        "curves": _points(panel), "names": _ends(panel), "censored": _censored(panel),
        "remark": [{"text": panel.remark}] if panel.remark else [],
        "at_risk": _counts(panel, words), "groups": [{"group": label} for label in _groups(panel)],
    }  # fmt: skip
    parts = [
        *_curves(panel, words),
        *(_marks(panel) if rows["censored"] else ()),
        *(_names(panel) if rows["names"] else ()),
        *(_remark(panel) if rows["remark"] else ()),
    ]
    table = [_risk_table(panel, words)] if rows["at_risk"] else []
    chart = alt.vconcat(alt.layer(*parts, width=WIDE, height=HIGH), *table, spacing=16)
    return chart, {name: values for name, values in rows.items() if values}


def _points(panel: Panel) -> list[Record]:
    return [
        {"group": one.label, "time": p.time, panel.field: p.value, "conf_low": p.low, "conf_high": p.high}
        for one in panel.series
        for p in _thinned(_places(one, panel), panel.top)
    ]


def _curves(panel: Panel, words: Words) -> list[alt.Chart]:
    import altair as alt

    held = rows_of("curves").transform_calculate(x=_shown(panel))
    form: Literal["linear", "step-after"] = "linear" if panel.sloped else "step-after"
    x, y = _x_axis(panel, words), _y_axis(panel)
    limited = held.transform_filter("isValid(datum.conf_low) && isValid(datum.conf_high)")
    band = limited.mark_area(interpolate=form, opacity=0.15, line=False)
    line = held.mark_line(interpolate=form, strokeWidth=1.8, strokeJoin="round")
    return [
        band.encode(x=x, y=y("conf_low"), y2=alt.Y2("conf_high:Q"), color=_colour(panel)),
        line.encode(x=x, y=y(panel.field), color=_colour(panel), strokeDash=_dash(panel)),
    ]


def _shown(panel: Panel) -> str:
    """Time in the unit of the axis, as an expression over the time of the data."""
    return f"datum.time / {panel.clock.per:g}" if panel.clock.per != 1 else "datum.time"


def _labels(panel: Panel) -> list[str]:
    return [one.label for one in panel.series]


def _colour(panel: Panel) -> alt.Color:
    import altair as alt

    scale = alt.Scale(domain=_labels(panel), range=colours(len(panel.series)))
    return alt.Color("group:N", legend=None, scale=scale)


def _dash(panel: Panel) -> alt.StrokeDash:
    import altair as alt

    scale = alt.Scale(domain=_labels(panel), range=dashes(len(panel.series)))
    return alt.StrokeDash("group:N", legend=None, scale=scale)


def _x_scale(panel: Panel) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=[0, panel.longest / panel.clock.per], nice=False, zero=False)


def _x_axis(panel: Panel, words: Words) -> alt.X:
    import altair as alt

    unit = panel.clock.unit
    title = words("Time ({unit})", unit=words.label(unit)) if unit else words("Time")
    axis = alt.Axis(values=[tick / panel.clock.per for tick in _x_ticks(panel)], format=",.2~f", title=title)
    return alt.X("x:Q", scale=_x_scale(panel), axis=axis)


def _y_axis(panel: Panel) -> Any:
    """Makes the vertical channel of a field; its axis is the same for all."""
    import altair as alt

    digits = 0 if panel.top > 0.04 else 1
    axis = alt.Axis(values=ticks(0.0, panel.top, 5), format=f".{digits}%", title=panel.y_title)
    return lambda field: alt.Y(f"{field}:Q", scale=alt.Scale(domain=[0, panel.top], clamp=True), axis=axis)


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


def _thinned(points: list[Point], top: float) -> list[Point]:
    """A long curve without the steps that nobody sees; the first and the last point always stay."""
    if len(points) <= MANY:
        return points
    kept = [points[0]]
    for point in points[1:-1]:
        pairs = zip(point[1:], kept[-1][1:], strict=True)
        if any(abs((new or 0.0) - (old or 0.0)) > FINE * top for new, old in pairs):
            kept.append(point)
    return [*kept, points[-1]]


def _ends(panel: Panel) -> list[Record]:
    """Where the names of the curves stand, and where their curves end, in px; a single curve has no name."""
    if len(panel.series) < 2:
        return []
    last = [one.points[-1] for one in panel.series]
    ends = [HIGH * (1 - min(point.value, panel.top) / panel.top) for point in last]
    return [
        {"group": one.label, "place": place, "end": end, "from": WIDE * point.time / panel.longest + 3}
        for one, point, end, place in zip(panel.series, last, ends, apart(ends, BETWEEN, HIGH), strict=True)
    ]


def _names(panel: Panel) -> list[alt.Chart]:
    """The names of the curves right of the plot, at the heights where they end, moved apart where they would touch.

    A hair leads from a curve that ends early to its name.
    """
    import altair as alt

    held = rows_of("names")
    start, end = alt.X("from:Q", scale=None), alt.Y("end:Q", scale=None, axis=None)
    hair = held.transform_filter(f"datum.from < {WIDE - 10}").mark_rule(strokeWidth=0.6, opacity=0.6)
    text = held.mark_text(align="left", limit=NAMES, baseline="middle")
    place = alt.Y("place:Q", scale=None, axis=None)
    return [
        hair.encode(x=start, x2=alt.value(WIDE + 5), y=end, y2=alt.Y2("place:Q"), color=_colour(panel)),
        text.encode(x=alt.value(WIDE + 8), y=place, text=alt.Text("group:N"), color=_colour(panel)),
    ]


def apart(places: list[float], least: float, room: float) -> list[float]:
    """The places moved as little as a pass down and a pass up need for `least` between them, within 0 and `room`."""
    least = min(least, room / max(len(places) - 1, 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    lowest = 0.0
    for i in order:
        moved[i] = max(moved[i], lowest)
        lowest = moved[i] + least
    highest = room
    for i in reversed(order):
        moved[i] = min(moved[i], highest)
        highest = moved[i] - least
    return moved


def _censored(panel: Panel) -> list[Record]:
    return [{"group": label, "time": p.time, panel.field: p.value} for label, p in panel.censored]


def _marks(panel: Panel) -> list[alt.Chart]:
    """A short upright tick on the curve for every time of censoring that is to be marked."""
    import altair as alt

    held = rows_of("censored").transform_calculate(x=_shown(panel))
    y = alt.Y(f"{panel.field}:Q", scale=alt.Scale(domain=[0, panel.top]))
    marked = held.mark_point(shape="stroke", angle=90, size=50, strokeWidth=1, filled=False, opacity=1)
    return [marked.encode(x=alt.X("x:Q", scale=_x_scale(panel)), y=y, color=_colour(panel))]


def _remark(panel: Panel) -> list[alt.Chart]:
    """A line in the corner where such curves seldom are: low for survival, high for incidence."""
    import altair as alt

    said = rows_of("remark").mark_text(align="left", baseline="middle")
    return [said.encode(x=alt.value(12), y=alt.value(HIGH - 14 if panel.start else 14), text=alt.Text("text:N"))]


def _counts(panel: Panel, words: Words) -> list[Record]:
    """The numbers at risk and how they are printed: withheld ones as an asterisk, on cells of time as estimates."""
    if not panel.risk:
        return []
    return [
        {"group": label, "time": time, "at_risk": n, "text": _count(n, panel.sloped and time > 0, words)}
        for label, row in panel.risk.rows.items()
        for time, n in sorted(row.items())
    ]


def _count(n: float | None, estimated: bool, words: Words) -> str:
    if n is None:
        return "*"
    return words.numbers.about(n) if estimated else words.numbers.count(n)


def _groups(panel: Panel) -> list[str]:
    """The names of the rows of the risk table; a single one needs none."""
    labels = list(panel.risk.rows) if panel.risk else []
    return labels if len(labels) > 1 else []


def _risk_table(panel: Panel, words: Words) -> Layers:
    """Counts under their times, the names of groups left of the axis in the colours of their curves."""
    import altair as alt

    labels = list(panel.risk.rows) if panel.risk else []
    y = alt.Y("group:N", axis=None, scale=alt.Scale(domain=labels, paddingInner=0, paddingOuter=0))
    look = _colour(panel) if set(labels) <= set(_labels(panel)) else alt.value(INK)
    held = rows_of("at_risk").transform_calculate(x=_shown(panel)).mark_text(baseline="middle")
    numbers = held.encode(x=alt.X("x:Q", axis=None, scale=_x_scale(panel)), y=y, text=alt.Text("text:N"), color=look)
    names = rows_of("groups").mark_text(align="right", baseline="middle", limit=NAMES)
    named = [names.encode(x=alt.value(-32), y=y, text=alt.Text("group:N"), color=look)] if _groups(panel) else []
    title = alt.TitleParams(words("Number at risk"), anchor="start", frame="bounds", offset=6, fontWeight="bold")
    return alt.layer(numbers, *named, width=WIDE, height=ROW * len(labels), title=title)
