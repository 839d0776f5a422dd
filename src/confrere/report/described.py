"""Figures of whom a study is about, and whether the arms of a comparison are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report import (
    acceptability_plot,
    control_plot,
    evaluated_plot,
    event_plot,
    flow_diagram,
    learned_plot,
    love_plot,
    propensity_plot,
    ranking_plot,
    rate_plot,
    sunburst,
    upset,
)
from confrere.report.acceptability_plot import Acceptable
from confrere.report.axes import clock
from confrere.report.control_plot import Funnel
from confrere.report.evaluated_plot import Quality
from confrere.report.event_plot import Events
from confrere.report.flow_diagram import Diagram
from confrere.report.learned_plot import Learned, Losses, Roc, Uses
from confrere.report.love_plot import Love
from confrere.report.propensity_plot import Mirror
from confrere.report.ranking_plot import Toc
from confrere.report.rate_plot import Rates
from confrere.report.schema import Record
from confrere.report.sunburst import Sunburst
from confrere.report.upset import Upset
from confrere.report.words import Words

if TYPE_CHECKING:
    from confrere.report.vega import Chart, Datasets

Picture = Diagram | Upset | Sunburst | Rates | Love | Mirror | Learned | Quality | Acceptable | Toc | Funnel | Events
FUNNELS = ("cohort", "worklist", "recruitment")  # methods whose funnel is a flow of people


class Described(NamedTuple):
    """A figure before it has a file: its name, title, description for who cannot see it, panel and records."""

    name: str
    title: str
    description: str
    panel: Picture
    records: list[Record]


def described(analysis: Mapping[str, Any], study: Mapping[str, Any], words: Words, level: float) -> Iterator[Described]:
    """The figures of one analysis, in the order in which they are read."""
    tables = analysis["tables"]
    if tables.get("overlap") and tables.get("totals"):
        shown = upset.upset(tables["overlap"], tables["totals"], words)
        if shown.bars:
            yield Described(
                "overlap", words("People in several cohorts"), upset.said(shown, words), shown, tables["overlap"]
            )
    if tables.get("pathways"):
        ways = sunburst.sunburst(tables["pathways"])
        if ways.arcs:
            yield Described("pathways", words("Treatment pathways, the first line in the middle"),
                            sunburst.said(ways, words), ways, tables["pathways"])  # fmt: skip
    for name, title in (("rates", "Rates"), ("prevalence", "Prevalence")):
        if tables.get(name) and (points := rate_plot.rates(tables[name], words, level)):
            yield Described(name, words(title), rate_plot.said(points, words), points, tables[name])
    yield from _flow(analysis, study, words)
    yield from _responding(analysis, words)
    yield from _compared(tables, words)
    yield from _checked(analysis, study, words, level)
    yield from _learned(tables, words)
    yield from _evaluated(tables, words)


def _compared(tables: Mapping[str, list[Record]], words: Words) -> Iterator[Described]:
    """What a treatment is worth; then whether its arms can be compared, and are alike."""
    if curve := acceptability_plot.acceptable(tables.get("acceptability", [])):
        title = words("Acceptability: how likely the treatment is worth its cost")
        told = acceptability_plot.said(curve, words)
        yield Described("acceptability", title, told, curve, tables["acceptability"])
    if hist := propensity_plot.mirror(tables.get("overlap", [])):
        title = words("Propensity of treatment in the arms, before weighting")
        yield Described("overlap", title, propensity_plot.said(hist, words), hist, tables["overlap"])
    if apart := love_plot.love(tables.get("balance", []), words):
        title = words("Differences of the arms before and after weighting")
        yield Described("balance", title, love_plot.said(apart, words), apart, tables["balance"])


def _responding(analysis: Mapping[str, Any], words: Words) -> Iterator[Described]:
    """How well a predicted effect ranks people."""
    if curve := ranking_plot.toc(analysis):
        title = words("Ranking (TOC): how much more those ranked first benefit than all")
        yield Described("ranking", title, ranking_plot.said(curve, words), curve, analysis["tables"]["groups"])


def _checked(analysis: Mapping[str, Any], study: Mapping[str, Any], words: Words, level: float) -> Iterator[Described]:
    """What negative controls, and times before a treatment, say of the design."""
    tables = analysis["tables"]
    for place, one in enumerate(control_plot.funnels(tables)):
        unit = study.get("time_unit")
        time = clock(unit, max(r.get("time") or 0.0 for name in ("curve", "calibrated") for r in tables.get(name, [])))
        when = "" if one.time is None else words.length(time.shown(one.time, words.numbers), time.unit)
        named = ", ".join(filter(None, (words.title(one.measure), when)))
        title = words("Negative controls and the effect, by standard error: {measure}", measure=named)
        name = "controls" + (f"_{place + 1}" if place else "")
        yield Described(name, title, control_plot.said(one, words), one, tables["controls"])
    if found := event_plot.events(tables.get("event_study", [])):
        title = words("Effects by time since treatment with {interval}", interval=words.interval(level))
        yield Described("event_study", title, event_plot.said(found, words), found, tables["event_study"])


def _learned(tables: Mapping[str, list[Record]], words: Words) -> Iterator[Described]:
    """How well a model tells people apart, by what, and how it was trained."""
    if lines := learned_plot.roc(tables.get("roc", []), words):
        told = learned_plot.said(lines, tables.get("metrics", []), words)
        yield Described("roc", words("ROC curve"), told, lines, tables["roc"])
    if bars := learned_plot.uses(tables.get("importance", []), words):
        told = learned_plot.said(bars, [], words)
        yield Described("importance", words("Importance of features"), told, bars, tables["importance"])
    if curve := learned_plot.losses(tables.get("training", [])):
        told = learned_plot.said(curve, [], words)
        yield Described("training", words("Training: loss by round"), told, curve, tables["training"])


def _evaluated(tables: Mapping[str, list[Record]], words: Words) -> Iterator[Described]:
    """How good a risk score is."""
    titles = {
        "calibration": "Calibration: predicted and observed risk",
        "roc": "ROC curve",
        "decision": "Decision curve",
    }
    for name, title in titles.items():
        if panel := evaluated_plot.quality(name, tables.get(name, [])):
            yield Described(name, words(title), evaluated_plot.said(panel, words), panel, panel.records)


def _flow(analysis: Mapping[str, Any], study: Mapping[str, Any], words: Words) -> Iterator[Described]:
    """Of a funnel; else of who was left out, where a study is about a cohort."""
    tables, diagram, records = analysis["tables"], None, []
    if analysis["method"] in FUNNELS and tables.get("funnel"):
        records = tables["funnel"]
        diagram = flow_diagram.of_funnel(records, words)
    elif (study.get("target") or study.get("target_trial")) and tables.get("attrition"):
        records = tables["attrition"]
        diagram = flow_diagram.of_attrition(records, words)
    if diagram is not None:
        yield Described("flow", words("Flow of people"), flow_diagram.said(diagram, words), diagram, records)


DRAW: Mapping[type[Picture], Callable[[Any, Words], tuple[Chart, Datasets]]] = {
    Diagram: flow_diagram.draw_flow,
    Upset: upset.draw_upset,
    Sunburst: sunburst.draw_sunburst,
    Rates: rate_plot.draw_rates,
    Love: love_plot.draw_love,
    Mirror: propensity_plot.draw_mirror,
    Roc: learned_plot.draw_learned,
    Uses: learned_plot.draw_learned,
    Losses: learned_plot.draw_learned,
    Quality: evaluated_plot.draw_quality,
    Acceptable: acceptability_plot.draw_acceptable,
    Toc: ranking_plot.draw_toc,
    Funnel: control_plot.draw_funnel,
    Events: event_plot.draw_events,
}


def draw_described(panel: Picture, words: Words) -> tuple[Chart, Datasets]:
    """The chart of a panel, and its rows."""
    return DRAW[type(panel)](panel, words)
