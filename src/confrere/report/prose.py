"""What the report says in sentences: the main results, what left the hospitals, how sure one may be. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from confrere.report.figures import group_label, group_name, grouped_by, level, shown_clock
from confrere.report.forest import drawn, measure
from confrere.report.schema import Record, Result
from confrere.report.tables import Column, Row, Table, threshold
from confrere.report.terms import is_intercept, read
from confrere.report.words import Words

DOUBT = 0.05  # a check of proportional hazards under this is spoken of
EVENTS_PER_TERM = 10

CLASSES = {
    "fine_times": (
        "Exact event times of the network were seen; someone who knows when an event happened may find it there."
    ),
    "small_cells": (
        "Cells resting on fewer people than the rule were allowed; a person with rare values may be recognised in them."
    ),
    "histograms": ("Histograms of many cells were seen; together they may narrow down the values of single people."),
    "model_weights": "Weights of a trained network left; such weights can remember single examples.",
    "per_hospital": (
        "Results of single hospitals were released, each after its own steward had seen it; "
        "they are not hidden among the others."
    ),
}
UNKNOWN_CLASS = "A class of disclosure that this version of the report does not know; ask the study’s steward."


class Said(NamedTuple):
    """A sentence under a short heading."""

    head: str
    text: str


def headline(analysis: dict[str, Any], unit: str | None, words: Words) -> str:
    """The first result of an analysis in a line; empty where it has none."""
    tables, forms = analysis["tables"], words.numbers
    terms = drawn(tables.get("coefficients", []))
    if terms:
        first, kind = terms[0], measure(terms)
        shown = forms.estimate(first[kind.field], first.get(kind.low), first.get(kind.high), kind.ratio)
        name = str(read(first["term"])).replace(": ", " ")
        interval = words.interval(level(analysis))
        return f"{name}{words.colon}{words(kind.short)} ({interval}) {shown}, {forms.p_equals(first.get('p_value'))}"
    if tables.get("median"):
        return _medians(analysis, unit, words)
    if tables.get("incidence"):
        return _last_incidences(analysis, unit, words)
    return ""


def _medians(analysis: dict[str, Any], unit: str | None, words: Words) -> str:
    time, forms, by = shown_clock(analysis, unit), words.numbers, grouped_by(analysis)
    parts = []
    for record in analysis["tables"]["median"]:
        value = record["estimate"]
        shown = words("not reached") if value is None else forms.fixed(value / time.per, 1)
        named = f"{words.label(time.unit)}" if time.unit and value is not None else ""
        parts.append(" ".join(filter(None, (group_label(record["group"], by), shown, named))))
    return f"{words('Median time')}{words.colon}{'; '.join(parts)}"


def _last_incidences(analysis: dict[str, Any], unit: str | None, words: Words) -> str:
    last: dict[str, Record] = {}
    by = grouped_by(analysis)
    for record in analysis["tables"]["incidence"]:
        if record["estimate"] is not None:
            last[", ".join(filter(None, (group_name(record["cause"]), group_label(record["group"], by))))] = record
    if not last:
        return ""
    time = shown_clock(analysis, unit)
    longest = max(record["time"] for record in last.values())
    when = time.shown(longest, words.numbers) + (f" {words.label(time.unit)}" if time.unit else "")
    parts = (f"{name} {words.numbers.percent(record['estimate'])}" for name, record in last.items())
    return f"{words('Cumulative incidence')} ({when}){words.colon}{'; '.join(parts)}"


def what_left(result: Result, words: Words) -> list[str]:
    """Which promise holds, and what is not promised: the words of the design."""
    classes = bool(result["study"]["disclosure"])
    first = (
        "No patient’s record left a hospital. Each hospital sent {arrays} named arrays in {rounds} rounds, "
        "{size} in all. Every one was covered by masks that cancel only in the sum over all {hospitals} "
        "hospitals: the coordinator could read that sum, and no hospital’s own numbers."
    )
    rule = "Every cell, level and column that was opened rests on nobody or on at least {k} people of the network."
    beyond = (
        "Beyond the classes of disclosure named here, every cell, level and column that was opened rests on "
        "nobody or on at least {k} people of the network."
    )
    not_promised = (
        "Not promised without differential privacy: that exact sums hide whether a person with known values "
        "took part (membership), and protection against all hospitals but one colluding."
    )
    forms = words.numbers
    return [
        words(
            first,
            arrays=len(result["left"]),
            rounds=forms.count(result["rounds"]),
            size=forms.size(result["bytes"]),
            hospitals=len(result["hospitals"]),
        ),
        words(beyond if classes else rule, k=threshold(result["study"])),
        words(not_promised),
    ]


def disclosed(result: Result, words: Words) -> list[Said]:
    """Each class of disclosure that was allowed, and its risk in a sentence."""
    return [Said(name, words(CLASSES.get(name, UNKNOWN_CLASS))) for name in result["study"]["disclosure"]]


def left_table(result: Result, words: Words) -> Table:
    """Every array that left each hospital, with its shape in words and its bytes."""
    forms = words.numbers
    heads = ("Analysis", "Step", "Array", "Kind", "Shape")
    columns = [*(Column(words(head), False) for head in heads), Column(words("Rounds")), Column(words("Bytes"))]
    rows = [
        Row(
            (
                left["analysis"],
                left["step"],
                left["name"],
                words.label(left["kind"]),
                _shape(left, words),
                forms.count(left["rounds"]),
                forms.size(left["bytes"]),
            )
        )
        for left in result["left"]
    ]
    whole = (words("Whole run"), "", "", "", "", forms.count(result["rounds"]), forms.size(result["bytes"]))
    records = [
        left | {"shape": " x ".join(map(str, left["shape"])), "dims": " x ".join(left["dims"])}
        for left in result["left"]
    ]
    caption = words("Arrays that left each hospital")
    return Table("left", caption, tuple(columns), (*rows, Row(whole, "total")), records)


def _shape(left: Record, words: Words) -> str:
    """`8 terms × 8 terms`."""
    if not left["shape"]:
        return words("one number")
    dims = [*left["dims"], *[""] * len(left["shape"])]
    named = (
        f"{words.numbers.count(size)} {words.label(dim)}".strip()
        for size, dim in zip(left["shape"], dims, strict=False)
    )
    return " × ".join(named)


def how_sure(result: Result, words: Words) -> list[Said]:
    """What a reader may rely on, and what not; first what holds always, then what this run shows."""
    exact = (
        "The estimates are made from sums over all hospitals, by the same equations as on pooled records "
        "(stratified by hospital where the settings say so, and on the same public grid of times). "
        "Distributing the computation adds no approximation of its own."
    )
    causes = (
        "Records of care are observed, not assigned: a difference between groups is the effect of a "
        "treatment only if the model holds every common cause."
    )
    said = [Said(words("Exactness"), words(exact)), *_approximation(result, words), *_chance(result, words)]
    said.append(Said(words("Causes"), words(causes)))
    return [*said, *_people_left_out(result, words), *_doubts(result, words), *_withheld(result, words)]


def _records(result: Result) -> list[Record]:
    return [record for analysis in result["analyses"] for records in analysis["tables"].values() for record in records]


def _approximation(result: Result, words: Words) -> list[Said]:
    """Which numbers rest on cells of time, and what that means."""
    named = [a["name"] for a in result["analyses"] if str(a["facts"].get("grid", "")).startswith("ladder")]
    if not named:
        return []
    text = (
        "{names}: times were counted in cells. The numbers equal those of pooled records counted in the same cells; "
        "on exact times, curves, medians and tests would differ a little. Curves slope between the edges of cells."
    )
    return [Said(words("Approximation"), words(text, names=", ".join(named)))]


def _chance(result: Result, words: Words) -> list[Said]:
    count = sum(record.get("p_value") is not None for record in _records(result))
    if not count:
        return []
    text = (
        "Intervals and P values describe chance alone, each by itself. This page holds {count} P values; "
        "none is adjusted for the others."
    )
    return [Said(words("Chance"), words(text, count=count))]


def _people_left_out(result: Result, words: Words) -> list[Said]:
    if not any(analysis["tables"].get("attrition") for analysis in result["analyses"]):
        return []
    text = (
        "People left out are counted by reason under Data. The estimates hold for those analysed, and for "
        "the others only as far as they are alike."
    )
    return [Said(words("Missing people"), words(text))]


def _withheld(result: Result, words: Words) -> list[Said]:
    if not any(record.get("suppressed") for record in _records(result)):
        return []
    text = "Some counts are withheld because too few people stand behind them (marked *)."
    return [Said(words("Withheld counts"), words(text))]


def _doubts(result: Result, words: Words) -> list[Said]:
    """What the numbers themselves warn of: hazards that are not proportional, few events per term."""
    doubtful = (
        "{name}: doubtful for {terms} (P < 0.05). A hazard ratio that changes over time is reported as its "
        "average over follow-up."
    )
    few = (
        "{name}: {events} events for {terms} terms. Under 10 events per term, estimates tend to be too large "
        "and intervals too narrow."
    )
    said = []
    for analysis in result["analyses"]:
        tables = analysis["tables"]
        terms = [r for r in tables.get("coefficients", []) if not is_intercept(r["term"])]
        failed = [
            r["term"]
            for r in tables.get("proportional_hazards", [])
            if r["p_value"] is not None and r["p_value"] < DOUBT
        ]
        if failed:
            shown = ", ".join(dict.fromkeys(_term(term, words) for term in failed))
            said.append(Said(words("Proportional hazards"), words(doubtful, name=analysis["name"], terms=shown)))
        events = analysis["events"]
        if terms and events is not None and events < EVENTS_PER_TERM * len(terms):
            text = words(few, name=analysis["name"], events=words.numbers.count(events), terms=len(terms))
            said.append(Said(words("Few events"), text))
    return said


def _term(term: str, words: Words) -> str:
    return words.label(term) if term.lower() == "global" else str(read(term))
