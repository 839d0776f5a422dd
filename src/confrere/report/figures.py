"""Which figures an analysis has, from its tables alone. Pure; no file, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confrere.report.axes import Clock, clock, nice_step, time_ticks
from confrere.report.curves import Panel, Point, Risk, Series, draw_curves
from confrere.report.forest import draw_forest, drawn, measure
from confrere.report.schema import Record
from confrere.report.svg import Figure
from confrere.report.terms import read
from confrere.report.words import Words

MOST_TERMS = 60  # a longer forest plot is no figure any more; the table has them all


def figures(analysis: dict[str, Any], unit: str | None, words: Words) -> list[Figure]:
    """The figures of one analysis, in the order in which they are read."""
    tables = analysis["tables"]
    made: list[Figure] = []
    if _curve(tables.get("curve", [])):
        made.append(_survival(analysis, unit, words))
    if any(record.get("survival") is not None for record in tables.get("baseline", [])):
        made.append(_baseline(analysis, unit, words))
    made += _incidence(analysis, unit, words)
    terms = drawn(tables.get("coefficients", []))
    if 1 <= len(terms) <= MOST_TERMS:
        made.append(_forest(analysis, terms, words))
    return made


def shown_clock(analysis: dict[str, Any], unit: str | None) -> Clock:
    """One unit of time for everything that an analysis shows."""
    return clock(unit, max(_times(analysis), default=0.0))


def level(analysis: dict[str, Any]) -> float:
    """The confidence level of an analysis' intervals: 0.95 unless its settings say another."""
    given = analysis["settings"].get("conf_level", 0.95)
    return float(given) if isinstance(given, (int, float)) and 0 < given < 1 else 0.95


def group_name(value: Any) -> str:
    """A group as text; everybody together has no name."""
    if value is None or value == "":
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _times(analysis: dict[str, Any]) -> Iterable[float]:
    for name in ("curve", "incidence", "baseline", "survival", "risk"):
        for record in analysis["tables"].get(name, []):
            if record.get("time") is not None:
                yield record["time"]


def _curve(records: list[Record]) -> bool:
    """Whether there is a curve to draw: an estimate at a time after 0."""
    return any(r.get("estimate") is not None and r["time"] > 0 for r in records)


def _series(records: list[Record], keys: tuple[str, ...] = ("group",), value: str = "estimate") -> list[Series]:
    """A curve for every distinct label, in order of appearance; it ends at the first missing estimate."""
    found: dict[str, list[Point]] = {}
    ended = set()
    for record in sorted(records, key=lambda record: float(record["time"])):
        label = ", ".join(filter(None, (group_name(record.get(key)) for key in keys)))
        points = found.setdefault(label, [])
        if record.get(value) is None or label in ended:
            ended.add(label)
            continue
        points.append(Point(record["time"], record[value], record.get("conf_low"), record.get("conf_high")))
    order = dict.fromkeys(", ".join(filter(None, (group_name(record.get(key)) for key in keys))) for record in records)
    return [Series(label, found[label]) for label in order if found[label]]


def _survival(analysis: dict[str, Any], unit: str | None, words: Words) -> Figure:
    records = analysis["tables"]["curve"]
    series = _series(records)
    time, longest = shown_clock(analysis, unit), _longest(series)
    panel = Panel(
        series,
        _risk(analysis, time, longest),
        1.0,
        words("Probability without event"),
        time,
        longest,
        1.0,
        _logrank(analysis, words),
        _sloped(analysis),
    )
    title = words("Kaplan–Meier estimates with {interval} bands", interval=words.interval(level(analysis)))
    return _figure("survival", title, panel, records, words)


def _baseline(analysis: dict[str, Any], unit: str | None, words: Words) -> Figure:
    records = analysis["tables"]["baseline"]
    series = _series(records, ("stratum", "group"), "survival")
    time, longest = shown_clock(analysis, unit), _longest(series)
    panel = Panel(series, None, 1.0, words("Baseline survival"), time, longest, 1.0, "")
    return _figure("baseline", words("Survival at the baseline"), panel, records, words)


def _incidence(analysis: dict[str, Any], unit: str | None, words: Words) -> list[Figure]:
    """One panel of all causes where there is one group; else one panel per cause, its groups compared."""
    records = analysis["tables"].get("incidence", [])
    if not _curve(records):
        return []
    band = words.interval(level(analysis))
    if len({group_name(record["group"]) for record in records}) == 1:
        title = words("Cumulative incidence with {interval} bands", interval=band)
        series = _series(records, ("cause",))
        panel = _rising(analysis, series, words("Cumulative incidence"), unit, words)
        return [_figure("incidence", title, panel, records, words)]
    made = []
    for cause in dict.fromkeys(record["cause"] for record in records):
        inside = [record for record in records if record["cause"] == cause]
        if not _curve(inside):
            continue
        name = group_name(cause)
        axis = words("Cumulative incidence of {cause}", cause=name)
        title = words("Cumulative incidence of {cause} with {interval} bands", cause=name, interval=band)
        panel = _rising(analysis, _series(inside), axis, unit, words)
        made.append(_figure(f"incidence_{name}", title, panel, inside, words))
    return made


def _rising(analysis: dict[str, Any], series: list[Series], axis: str, unit: str | None, words: Words) -> Panel:
    """A panel of incidences; its axis ends at the round share above the highest of them."""
    highest = max(max(p.value, p.high or 0.0) for one in series for p in one.points)
    step = nice_step(max(highest, 0.01), 5)
    top = min(1.0, step * -(-highest // step) or step)
    time, longest = shown_clock(analysis, unit), _longest(series)
    return Panel(series, _risk(analysis, time, longest), 0.0, axis, time, longest, top, "", _sloped(analysis))


def _sloped(analysis: dict[str, Any]) -> bool:
    """Whether estimates are of cells of time, between which events are spread, not of exact times."""
    return str(analysis["facts"].get("grid", "")).startswith("ladder")


def _longest(series: list[Series]) -> float:
    return max((p.time for one in series for p in one.points), default=1.0) or 1.0


def _risk(analysis: dict[str, Any], time: Clock, longest: float) -> Risk | None:
    """Numbers at risk as the analysis reports them, else read off its curve at round times."""
    given = [r for r in analysis["tables"].get("risk", []) if r["time"] <= longest * (1 + 1e-9)]
    if given:
        times = sorted({record["time"] for record in given})
        while len(times) > 12:
            times = times[::2]
        at = {(group_name(r["group"]), r["time"]): r["at_risk"] for r in given}
    else:
        times = time_ticks(time, longest)
        at = _read_off(analysis["tables"].get("curve", []), times)
    groups = dict.fromkeys(group for group, _ in at)
    rows = [(group, [at.get((group, moment), 0) for moment in times]) for group in groups]
    return Risk(times, rows) if rows else None


def _read_off(curve: list[Record], times: list[float]) -> dict[tuple[str, float], float | None]:
    """At a time as many are at risk as at the first point of the curve from there on (as in R's survfit)."""
    by_group: dict[str, list[Record]] = {}
    for record in sorted(curve, key=lambda record: float(record["time"])):
        by_group.setdefault(group_name(record["group"]), []).append(record)
    return {
        (group, moment): next((r["at_risk"] for r in records if r["time"] >= moment), 0)
        for group, records in by_group.items()
        for moment in times
    }


def _logrank(analysis: dict[str, Any], words: Words) -> str:
    tables = analysis["tables"]
    for record in [*tables.get("tests", []), *tables.get("test", [])]:
        if record["test"].lower().replace("-", "").replace("_", "") == "logrank":
            return words("Log-rank {p}", p=words.numbers.p_equals(record["p_value"]))
    return ""


def _figure(name: str, title: str, panel: Panel, records: list[Record], words: Words) -> Figure:
    body, height = draw_curves(panel, words)
    ends = "; ".join(
        f"{one.label or panel.y_title} {words.numbers.percent(one.points[-1].value)}" for one in panel.series
    )
    time = panel.clock.shown(panel.longest, words.numbers)
    if panel.clock.unit:
        time = f"{time} {words.label(panel.clock.unit)}"
    said = words("Step curves over {time}. Last estimates: {ends}.", time=time, ends=ends)
    return Figure(name, title, said, body, height, records)


def _forest(analysis: dict[str, Any], terms: list[Record], words: Words) -> Figure:
    kind = measure(terms)
    interval = words.interval(level(analysis))
    title = words("{measure} of each term with {interval}", measure=words(kind.title), interval=interval)
    form = words.numbers.estimate
    ends = "; ".join(
        f"{read(r['term'])} {form(r[kind.field], r.get(kind.low), r.get(kind.high), kind.ratio)}" for r in terms
    )
    body, height = draw_forest(terms, level(analysis), words)
    return Figure("forest", title, words("Forest plot. {ends}.", ends=ends), body, height, terms)
