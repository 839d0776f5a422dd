"""The effect in subgroups and in classes of its prediction on one axis, and what rules gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from confrere.report.effect_forest import RMST, Together, measure_of
from confrere.report.forest import Measure, Plot
from confrere.report.schema import Record
from confrere.report.words import Words

GAIN = Measure("estimate", "conf_low", "conf_high", "Gain in benefit for each person", "Gain", False)


def forests(analysis: Mapping[str, Any], unit: str | None, level: float, words: Words) -> Iterator[Together]:
    """The figures of responders that a forest plot shows; `unit` is that of time."""
    tables = analysis["tables"]
    kind = measure_of(tables["effects"][0]["measure"])
    timed = words.label(unit) if unit and tables["effects"][0]["measure"] == RMST else ""
    whole = [r | {"term": words("People tested on")} for r in tables["effects"] if r.get("people") == "testing"]
    classes = [(words("Class of the predicted effect"), predicted(r, words), r) for r in tables.get("groups", [])]
    leaves = [(words.title("subgroup"), r["rule"], r) for r in tables.get("subgroups", []) if r["rule"]]
    named = [r | {"term": f"{head}[{name}]"} for head, name, r in (*classes, *leaves) if r["estimate"] is not None]
    if named:
        rows = [{k: v for k, v in r.items() if k not in ("p_value", "p_holm")} for r in (*whole, *named)]
        title = words("{measure} in subgroups, and by its prediction", measure=words(kind.title))
        yield _figure("subgroups", title, Plot(rows, level, {}, kind, "People", timed), words)
    gains = [r | {"term": words.title(r["policy"])} for r in tables.get("value", []) if " less " in r["policy"]]
    if gains:
        yield _figure("value", words("What the rules gain"), Plot(gains, level, {}, GAIN, "Gain of", timed), words)


def predicted(record: Record, words: Words) -> str:
    """`under 0.26`, `0.26 to 1.2`, `3.1 and over`: the bounds of a class of predicted effects."""
    ends = (record.get("predicted_from"), record.get("predicted_to"))
    low, high = (None if end is None else words.numbers.short(end) for end in ends)
    if low is None:
        return words("all") if high is None else words("under {high}", high=high)
    return words("{low} and over", low=low) if high is None else words("{low} to {high}", low=low, high=high)


def _figure(name: str, title: str, plot: Plot, words: Words) -> Together:
    records: list[Record] = plot.records
    told = (
        f"{r['term']} {words.numbers.estimate(r['estimate'], r['conf_low'], r['conf_high'], False)}" for r in records
    )
    return Together(name, title, words("Forest plot. {ends}.", ends="; ".join(told)), plot, records)
