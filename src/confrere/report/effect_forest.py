"""All analyses of an effect on one axis: a line per estimator and estimand, a figure per measure and outcome."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from confrere.report.axes import Clock
from confrere.report.forest import Measure, Plot
from confrere.report.schema import Record
from confrere.report.words import Words

RATIOS = {
    "risk ratio": ("Risk ratio", "RR", "Lower risk", "Higher risk"),
    "odds ratio": ("Odds ratio", "OR", "Lower odds", "Higher odds"),
    "rate ratio": ("Rate ratio", "RR", "Lower rate", "Higher rate"),
    "hazard ratio": ("Hazard ratio", "HR", "Lower hazard", "Higher hazard"),
}
DIFFERENCES = {
    "risk difference": ("Risk difference", "RD"), "mean difference": ("Mean difference", "MD"),
    "RMST difference": ("Difference of restricted means", "ΔRMST"),
}  # fmt: skip

RMST = "RMST difference"  # in units of time
SHORT = {"iptw": "IPTW", "aipw": "AIPW", "gformula": "g-formula"}


class Together(NamedTuple):
    """A figure before it has a file: its name, title, description for who cannot see it, panel and records."""

    name: str
    title: str
    description: str
    panel: Plot
    records: list[Record]


def is_effect(analysis: Mapping[str, Any]) -> bool:
    """Whether an analysis found effects in the measures of this file."""
    return any(r.get("measure") in RATIOS | DIFFERENCES for r in analysis["tables"].get("effects", []))


def measure_of(name: str) -> Measure:
    """How a measure of an effect is drawn and printed."""
    if name in RATIOS:
        title, short, less, more = RATIOS[name]
        return Measure("ratio", "ratio_low", "ratio_high", title, short, True, less, more)
    title, short = DIFFERENCES.get(name, (name, ""))
    return Measure("estimate", "conf_low", "conf_high", title, short, False)


def together(analyses: Sequence[Mapping[str, Any]], time: Clock, level: float, words: Words) -> Iterator[Together]:
    """A figure for every measure of an outcome that two analyses have at least."""
    found: dict[tuple[str, str], list[Record]] = {}
    for analysis in analyses:
        if not is_effect(analysis):
            continue
        outcome = str(analysis["settings"].get("outcome", ""))
        for record in analysis["tables"]["effects"]:
            kind = measure_of(record["measure"])
            if record.get("contrast"):  # of two treatments: no estimates of one effect
                continue
            if record.get(kind.field) is not None and (not kind.ratio or record[kind.field] > 0):
                line = {"term": _line(analysis, record, time, words), "analysis": analysis["name"], **record}
                found.setdefault((record["measure"], outcome), []).append(line)
    for (name, outcome), records in found.items():
        if len({record["analysis"] for record in records}) > 1:
            yield _figure(name, outcome, (records, level), time, words)


def _line(analysis: Mapping[str, Any], record: Record, time: Clock, words: Words) -> str:
    """`recurrence (AIPW, ATO), 5 years`."""
    facts = {**analysis["settings"], **analysis["facts"]}
    estimator = str(facts.get("estimator", ""))
    how = ", ".join(filter(None, (SHORT.get(estimator, estimator), str(facts.get("estimand", "")))))
    when = "" if record.get("time") is None else words.length(time.shown(record["time"], words.numbers), time.unit)
    named = f"{analysis['name']} ({how})" if how else analysis["name"]
    given = words.label(record["adjustment"]) if record.get("adjustment") else ""
    return ", ".join(filter(None, (named, given, str(record.get("cause") or ""), when)))


def in_unit(record: Record, time: Clock) -> tuple[Record, str | None]:
    """A record of `effects` in the unit in which times are shown, and the unit; most have none."""
    if record["measure"] != RMST:
        return record, None
    fields = ("estimate", "std_error", "conf_low", "conf_high")
    return record | {f: record[f] / time.per for f in fields if record.get(f) is not None}, time.unit


def _figure(name: str, outcome: str, shown: tuple[list[Record], float], time: Clock, words: Words) -> Together:
    made, level = shown
    kind, unit = measure_of(name), in_unit(made[0], time)[1]
    forms, records = words.numbers, [in_unit(r, time)[0] for r in made]
    told = (
        f"{r['term']} {forms.estimate(r[kind.field], r.get(kind.low), r.get(kind.high), kind.ratio)}" for r in records
    )
    title = words("{measure} of {outcome}, all analyses together", measure=words(kind.title), outcome=outcome)
    description = words("Squares with intervals. {squares}.", squares="; ".join(told))
    slug = re.sub(r"\W+", "_", f"{name} {outcome}").strip("_").lower()
    plot = Plot(records, level, {}, kind, "Analysis", words.label(unit) if unit else "")
    return Together(f"together_{slug}", title, description, plot, made)
