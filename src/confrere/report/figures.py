"""Which figures an analysis has, from its tables alone, and their charts. Pure; no file, no clock.

from confrere.report.figures import charts
charts(result["analyses"][0], "en", result["study"])["survival"]    # an Altair chart
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.axes import Clock, clock, nice_step, time_ticks
from confrere.report.curves import Panel, Point, Risk, Series, draw_curves
from confrere.report.described import Picture, described, draw_described
from confrere.report.effect_forest import is_effect, together
from confrere.report.feasible import Bars, Forecast, draw_feasible, shown
from confrere.report.forest import Plot, draw_forest, drawn, measure
from confrere.report.heat import Heat, draw_heat, mapped
from confrere.report.responder_forest import forests
from confrere.report.schema import Record
from confrere.report.terms import read, references, single_factor
from confrere.report.vega import Spec, finished, spec, svg
from confrere.report.words import Words, language

if TYPE_CHECKING:
    from confrere.report.vega import Chart

MOST_TERMS = 60  # a longer forest plot is no figure any more; the table has them all
MOST_TIMES = 12  # with numbers at risk beside each other
MOST_MARKS = 150  # censorings that a reader can tell apart
CURVES = ("curve", "strategy_curve", "trial_curve")
COUNTS = ("at_risk", "censored")  # on cells of time these are estimated between edges
ESTIMATED = "at_risk and censored are estimated between the edges of cells"


class Figure(NamedTuple):
    """What a figure shows, and the numbers behind it."""

    name: str  # a word: survival, incidence, forest
    title: str
    description: str  # what a reader who cannot see it is told
    panel: Panel | Plot | Bars | Forecast | Picture | Heat
    records: list[Record]  # what its CSV holds
    stem: str = ""  # its file name without ending; set once all figures of a result are known

    @property
    def withheld(self) -> bool:
        """Whether an asterisk stands in it for a count under the rule."""
        risk = self.panel.risk if isinstance(self.panel, Panel) else None
        return risk is not None and any(None in row.values() for row in risk.rows.values())

    @property
    def estimated(self) -> bool:
        """Whether numbers at risk stand in it that are estimated."""
        return isinstance(self.panel, Panel) and self.panel.sloped and self.panel.risk is not None


class Drawing(NamedTuple):
    """A figure as a specification and as a picture."""

    spec: Spec
    svg: str


def charts(analysis: Mapping[str, Any], lang: str = "en", study: Mapping[str, Any] | None = None) -> dict[str, Chart]:
    """The figures of an analysis as Altair charts, by name: `survival`, `baseline`, `incidence`, `forest`.

    `analysis` is a record of `analyses` in result.json, `study` its `study`: the unit of time and the declared levels
    are known from there, and left unsaid without it. An analysis without anything to draw has none. Raises StudyError
    for a language that is not en or fr.
    """
    words = Words(language(lang))
    return {figure.name: chart(figure, words) for figure in figures(analysis, study or {}, words)}


def chart(figure: Figure, words: Words) -> Chart:
    """The Altair chart of a figure."""
    panel = figure.panel
    if isinstance(panel, Bars | Forecast):
        return finished(*draw_feasible(panel, words), figure.title, words)
    if isinstance(panel, Picture):
        return finished(*draw_described(panel, words), figure.title, words)
    if isinstance(panel, Heat):
        return finished(*draw_heat(panel, words), figure.title, words)
    made, rows = draw_curves(panel, words) if isinstance(panel, Panel) else draw_forest(panel, words)
    return finished(made, rows, figure.title, words)


def draw(figure: Figure, words: Words) -> Drawing:
    """The figure drawn, once."""
    made = spec(chart(figure, words))
    return Drawing(made, svg(made, figure.stem or figure.name, figure.title, figure.description))


def figures(analysis: Mapping[str, Any], study: Mapping[str, Any], words: Words) -> list[Figure]:
    """The figures of one analysis, in the order in which they are read."""
    tables, unit = analysis["tables"], study.get("time_unit")
    made: list[Figure] = []
    if _curve(_curves(tables)):
        made.append(_survival(analysis, unit, words))
    if any(record.get("survival") is not None for record in tables.get("baseline", [])):
        made.append(_baseline(analysis, unit, words))
    made += _incidence(analysis, unit, words)
    if analysis["method"] == "responders" and is_effect(analysis):
        made += [Figure(*one) for one in forests(analysis, unit, level(analysis), words)]
    made += [Figure(*one) for one in shown(analysis, words)]
    made += [Figure(*one) for one in described(analysis, study, words, level(analysis))]
    made += [Figure(*one) for one in mapped(analysis, words)]
    terms = drawn(tables.get("coefficients", []))
    if 1 <= len(terms) <= MOST_TERMS:
        made.append(_forest(analysis, terms, study, words))
    return made


def of_effects(analyses: list[dict[str, Any]], study: Mapping[str, Any], words: Words) -> list[Figure]:
    """The figures of all analyses of an effect together; they stand with the first of these."""
    first = next((a for a in analyses if is_effect(a)), None)
    if first is None:
        return []
    time = shown_clock(first, study.get("time_unit"))
    return [Figure(*one) for one in together(analyses, time, level(first), words)]


def reference_levels(analysis: Mapping[str, Any], study: Mapping[str, Any]) -> dict[str, str]:
    """The reference level of each variable of a model, where the study's declared levels tell it."""
    terms = [record["term"] for name in ("coefficients", "balance") for record in analysis["tables"].get(name, [])]
    declared = {name: column.get("levels", ()) for name, column in study.get("columns", {}).items()}
    return references(terms, declared)


def shown_clock(analysis: Mapping[str, Any], unit: str | None) -> Clock:
    """One unit of time for everything that an analysis shows."""
    return clock(unit, max(_times(analysis), default=0.0))


def level(analysis: Mapping[str, Any]) -> float:
    """The confidence level of an analysis' intervals: 0.95 unless its settings say another."""
    given = analysis["settings"].get("conf_level", 0.95)
    return float(given) if isinstance(given, (int, float)) and 0 < given < 1 else 0.95


def fitted_model(analysis: Mapping[str, Any]) -> str:
    """The model of a method that has several, such as `fine-gray`; else ""."""
    return str(analysis["facts"].get("model") or analysis["settings"].get("model") or "")


def group_name(value: Any) -> str:
    """A group as text; everybody together has no name."""
    if value is None or value == "":
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def group_label(value: Any, factor: str) -> str:
    """A group as text; a bare number such as 0 or 1 gets the variable that it is a level of, if it does not count."""
    name, running = group_name(value), isinstance(value, int)  # as the groups of a calibration curve
    return f"{factor}: {name}" if factor and not running and name.replace(".", "", 1).lstrip("-").isdigit() else name


def grouped_by(analysis: Mapping[str, Any]) -> str:
    """The one variable by which groups are made, as far as the settings tell it."""
    settings = analysis["settings"]
    by = settings.get("by")
    return by if isinstance(by, str) else single_factor(str(settings.get("formula", "")))


def _times(analysis: Mapping[str, Any]) -> Iterable[float]:
    for name in (*CURVES, "incidence", "baseline", "survival", "risk", "risks"):
        for record in analysis["tables"].get(name, []):
            if record.get("time") is not None:
                yield record["time"]


def _curves(tables: Mapping[str, list[Record]]) -> list[Record]:
    """The records of curves of who is free of the event."""
    return next((tables[name] for name in CURVES if tables.get(name)), [])


def _curve(records: list[Record]) -> bool:
    """Whether there is a curve to draw: an estimate at a time after 0."""
    return any(r.get("estimate") is not None and r["time"] > 0 for r in records)


def _series(records: list[Record], keys: tuple[str, ...], value: str = "estimate", factor: str = "") -> list[Series]:
    """A curve for every distinct label, in order of appearance; it ends at the first missing estimate."""
    found: dict[str, list[Point]] = {}
    ended = set()
    for record in sorted(records, key=lambda record: float(record["time"])):
        label = _label(record, keys, factor)
        points = found.setdefault(label, [])
        if record.get(value) is None or label in ended:
            ended.add(label)
            continue
        points.append(Point(record["time"], record[value], record.get("conf_low"), record.get("conf_high")))
    order = dict.fromkeys(_label(record, keys, factor) for record in records)
    return [Series(label, found[label]) for label in order if found[label]]


def _label(record: Record, keys: tuple[str, ...], factor: str) -> str:
    """The name of a curve; a bare number such as 0 or 1 gets the variable that it is a level of."""
    return ", ".join(filter(None, (group_label(record.get(key), factor) for key in keys)))


def _survival(analysis: Mapping[str, Any], unit: str | None, words: Words) -> Figure:
    records = _curves(analysis["tables"])
    series = _series(records, ("group",), factor=grouped_by(analysis))
    if is_effect(analysis):
        series = [one._replace(label=words.label(one.label)) for one in series]
    time, longest = shown_clock(analysis, unit), _longest(series)
    marks = _censored(analysis, series)
    panel = Panel(
        series, _risk(analysis, time, longest), 1.0, words("Probability without event"), time, longest, 1.0,
        logrank(analysis, words), coarse(analysis) or not analysis["tables"].get("curve"), censored=marks,
    )  # fmt: skip
    interval = words.interval(level(analysis))
    title = words("Kaplan–Meier estimates with {interval} bands", interval=interval)
    if is_effect(analysis):
        text = "Weighted survival of the arms with {interval} bands"
        limited = any(p.low is not None for one in series for p in one.points)
        title = words(text, interval=interval) if limited else words("Weighted survival of the arms")
    elif marks:
        title = words("Kaplan–Meier estimates with {interval} bands; ticks mark censorings", interval=interval)
    return _figure("survival", title, panel, records, words)


def _censored(analysis: Mapping[str, Any], series: list[Series]) -> tuple[tuple[str, Point], ...]:
    """Where censorings are marked: at exact times that were allowed, where they are few enough to be told apart."""
    if not str(analysis["facts"].get("grid", "")).startswith("exact"):
        return ()
    points = {(one.label, point.time): point for one in series for point in one.points}
    marks = [
        (key[0], points[key])
        for record in analysis["tables"]["curve"]
        for key in [(_label(record, ("group",), grouped_by(analysis)), record["time"])]
        if record.get("censored") and key in points
    ]
    return tuple(marks) if len(marks) <= MOST_MARKS else ()


def _baseline(analysis: Mapping[str, Any], unit: str | None, words: Words) -> Figure:
    records = analysis["tables"]["baseline"]
    series = _series(records, ("stratum", "group"), "survival")
    time, longest = shown_clock(analysis, unit), _longest(series)
    panel = Panel(series, None, 1.0, words("Baseline survival"), time, longest, 1.0, field="survival")
    return _figure("baseline", words("Survival at the baseline"), panel, records, words)


def _incidence(analysis: Mapping[str, Any], unit: str | None, words: Words) -> list[Figure]:
    """One panel of all causes where there is one group; else one panel per cause, its groups compared."""
    records = analysis["tables"].get("incidence", [])
    if not _curve(records):
        return []
    band = words.interval(level(analysis))
    if len({group_name(record["group"]) for record in records}) == 1:
        title = words("Cumulative incidence with {interval} bands", interval=band)
        series = _series(records, ("cause",))
        panel = _rising(analysis, series, words("Cumulative incidence"), unit)
        return [_figure("incidence", title, panel, records, words)]
    made = []
    for cause in dict.fromkeys(record["cause"] for record in records):
        inside = [record for record in records if record["cause"] == cause]
        if not _curve(inside):
            continue
        name = group_name(cause)
        axis = words("Cumulative incidence of {cause}", cause=name)
        title = words("Cumulative incidence of {cause} with {interval} bands", cause=name, interval=band)
        panel = _rising(analysis, _series(inside, ("group",), factor=grouped_by(analysis)), axis, unit)
        made.append(_figure(f"incidence_{name}", title, panel, inside, words))
    return made


def _rising(analysis: Mapping[str, Any], series: list[Series], axis: str, unit: str | None) -> Panel:
    """A panel of incidences; its axis ends at the round share above the highest of them."""
    highest = max(max(p.value, p.high or 0.0) for one in series for p in one.points)
    step = nice_step(max(highest, 0.01), 5)
    top = min(1.0, step * -(-highest // step) or step)
    time, longest = shown_clock(analysis, unit), _longest(series)
    return Panel(series, _risk(analysis, time, longest), 0.0, axis, time, longest, top, "", coarse(analysis))


def noted(records: list[Record], estimated: bool) -> list[Record]:
    """The records of a file, with a note where their counts at a time are estimated between the edges of cells."""
    if not estimated:
        return records
    return [record | {"note": ESTIMATED} if is_estimated(record) else record for record in records]


def is_estimated(record: Record) -> bool:
    """Whether a record of an analysis on cells of time holds a count that may fall between their edges: not at 0."""
    return bool(record.get("time")) and any(record.get(field) is not None for field in COUNTS)


def coarse(analysis: Mapping[str, Any]) -> bool:
    """Whether estimates are of cells of time, between which events are spread, not of exact times."""
    return str(analysis["facts"].get("grid", "")).startswith("ladder")


def _longest(series: list[Series]) -> float:
    return max((p.time for one in series for p in one.points), default=1.0) or 1.0


def _risk(analysis: Mapping[str, Any], time: Clock, longest: float) -> Risk | None:
    """Numbers at risk as the analysis reports them, else read off its curve at round times where those are exact."""
    tables = analysis["tables"]
    records = tables.get("risk") or (_reported(tables) if coarse(analysis) else [])
    at = {(group_name(r["group"]), r["time"]): r["at_risk"] for r in records if r["time"] <= longest * (1 + 1e-9)}
    if not at and not coarse(analysis):
        at = _read_off(tables.get("curve") or tables.get("incidence", []), time_ticks(time, longest))
    times = sorted({moment for _, moment in at})
    while len(times) > MOST_TIMES:
        times = times[::2]
    rows: dict[str, dict[float, float | None]] = {}
    for (group, moment), count in at.items():
        if moment in times:
            rows.setdefault(group_label(group, grouped_by(analysis)), {})[moment] = count
    return Risk(times, rows) if rows else None


def _reported(tables: Mapping[str, list[Record]]) -> list[Record]:
    """On cells of time: the counts at reporting times, and everybody of a group at 0, where its first cell starts.

    Other counts of a curve stand at left edges of cells, which it does not name.
    """
    reported = [r for name in ("survival", "at_times") for r in tables.get(name, []) if "at_risk" in r]
    firsts: dict[str, Record] = {}
    for record in tables.get("curve") or tables.get("incidence", []):
        firsts.setdefault(group_name(record["group"]), record)
    return [r | {"time": 0.0} for r in firsts.values() if "at_risk" in r] + reported if reported else []


def _read_off(curve: list[Record], times: list[float]) -> dict[tuple[str, float], float | None]:
    """At a time as many are at risk as at the first point of the curve from there on (as in R's survfit)."""
    by_group: dict[str, list[Record]] = {}
    for record in sorted(curve, key=lambda record: float(record["time"])):
        if "at_risk" in record:
            by_group.setdefault(group_name(record["group"]), []).append(record)
    return {
        (group, moment): next((r["at_risk"] for r in records if r["time"] >= moment), 0)
        for group, records in by_group.items()
        for moment in times
    }


def logrank(analysis: Mapping[str, Any], words: Words) -> str:
    """`Log-rank P = 0.024`; empty where an analysis has no such test."""
    tables = analysis["tables"]
    for record in [*tables.get("tests", []), *tables.get("test", [])]:
        if record["test"].lower().replace("-", "").replace("_", "") == "logrank":
            return words("Log-rank {p}", p=words.numbers.p_equals(record["p_value"]))
    return ""


def _figure(name: str, title: str, panel: Panel, records: list[Record], words: Words) -> Figure:
    ends = "; ".join(
        f"{one.label or panel.y_title} {words.numbers.percent(one.points[-1].value)}" for one in panel.series
    )
    time = panel.clock.shown(panel.longest, words.numbers)
    time = words.length(time, panel.clock.unit)
    said = (
        "Curves over {time}. Last estimates: {ends}."
        if panel.sloped
        else "Step curves over {time}. Last estimates: {ends}."
    )
    return Figure(name, title, words(said, time=time, ends=ends), panel, noted(records, panel.sloped))


def _forest(analysis: Mapping[str, Any], terms: list[Record], study: Mapping[str, Any], words: Words) -> Figure:
    kind = measure(terms, fitted_model(analysis))
    interval = words.interval(level(analysis))
    title = words("{measure} of each term with {interval}", measure=words(kind.title), interval=interval)
    form = words.numbers.estimate
    ends = "; ".join(
        f"{read(r['term']).said(words.colon)} {form(r[kind.field], r.get(kind.low), r.get(kind.high), kind.ratio)}"
        for r in terms
    )
    plot = Plot(terms, level(analysis), reference_levels(analysis, study), kind)
    return Figure("forest", title, words("Forest plot. {ends}.", ends=ends), plot, terms)
