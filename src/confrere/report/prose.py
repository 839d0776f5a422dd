"""What the report says in sentences: the main results, what left the hospitals, how sure one may be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from confrere.report.axes import median_clock
from confrere.report.effect_forest import in_unit, is_effect, measure_of
from confrere.report.figures import (
    coarse,
    fitted_model,
    group_label,
    group_name,
    grouped_by,
    level,
    logrank,
    shown_clock,
)
from confrere.report.forest import drawn, measure
from confrere.report.numerals import FIRM, NONE
from confrere.report.schema import Record, Result
from confrere.report.tables import Column, Row, Table, percents, threshold
from confrere.report.terms import is_intercept, read
from confrere.report.words import Words

DOUBT = 0.05  # a check of proportional hazards under this is spoken of
EVENTS_PER_TERM = 10
TRAINED = {"network"}  # methods whose model is no function of sums over all people
FORETELL = {"boosting", "evaluate", "network", "penalised", "similar_cases"}  # methods that predict, and ask no causes
SAME = "the effect is the same for all"  # a test of responders
ASKED = (  # settings that a question is made of
    "treatment", "first", "second", "exposure", "started", "stopped", "treated_from", "grace", "outcome", "outcomes",
    "costs", "qalys", "confounders", "modifiers", "covariates", "features", "variables", "score",
)  # fmt: skip

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


def headline(analysis: dict[str, Any], study: Mapping[str, Any], words: Words) -> str:
    """The first result of an analysis in a line; empty where it has none."""
    tables, forms = analysis["tables"], words.numbers
    if tables.get("interaction"):
        return _estimates(tables["interaction"][:1], analysis, words)
    if tables.get("icer"):
        return _estimates(tables["effects"][:2], analysis, words)
    if is_effect(analysis):
        return ". ".join((_effect(analysis, study, words), *_tested(analysis, words), *_failed(tables, words)))
    if any(r.get("aggregate") for r in tables.get("effects", [])):
        return _estimates(tables["effects"][:1], analysis, words)
    if analysis["method"] == "penalised":
        return _kept(analysis, words)
    terms = drawn(tables.get("debiased", tables.get("coefficients", [])))  # shrunk ones have no limits
    kind = measure(terms, fitted_model(analysis)) if terms else None
    if kind is not None and terms[0].get(kind.low) is not None:
        first = terms[0]
        shown = forms.estimate(first[kind.field], first.get(kind.low), first.get(kind.high), kind.ratio)
        name = str(read(first["term"])).replace(": ", " ")
        interval = words.interval(level(analysis))
        return f"{name}{words.colon}{words(kind.short)} ({interval}) {shown}, {forms.p_equals(first.get('p_value'))}"
    if tables.get("metrics"):
        return _metric(analysis, words)
    if tables.get("clusters"):
        sizes = [forms.count(record["n"]) for record in tables["clusters"]]
        return words("{count} clusters of {sizes} people", count=len(sizes), sizes=", ".join(sizes))
    if tables.get("median"):
        return ". ".join(filter(None, (_medians(analysis, study.get("time_unit"), words), _test(analysis, words))))
    if tables.get("at_times"):
        return _incidences(analysis, study, words)
    return _test(analysis, words)


def _estimates(records: list[Record], analysis: dict[str, Any], words: Words) -> str:
    """`Incremental cost (95% CI) 4 653 (3 896–5 411), P < 0.001. Incremental effect ...`."""
    forms, interval = words.numbers, words.interval(level(analysis))
    said = []
    for r in records:
        shown = forms.estimate(r["estimate"], r["conf_low"], r["conf_high"], False)
        unit = str(analysis["facts"].get("effect", "")) if r["measure"] == "incremental effect" else ""
        named = ", ".join(filter(None, (words.title(r["measure"]), words.label(unit))))
        said.append(f"{named} ({interval}) {shown}, {forms.p_equals(r.get('p_value'))}")
    return ". ".join(said)


def _effect(analysis: dict[str, Any], study: Mapping[str, Any], words: Words) -> str:
    """`Risk difference (95% CI) −0.07 (−0.13 to −0.02), P = 0.01`: of the people who taught nothing, if there are any.

    Where controls calibrate it, the calibrated estimate stands beside it.
    """
    tables, forms, interval = analysis["tables"], words.numbers, words.interval(level(analysis))
    first = next((r for r in tables["effects"] if r.get("people") == "testing"), tables["effects"][0])
    there, unit = in_unit(first, shown_clock(analysis, study.get("time_unit")))
    kind = measure_of(first["measure"])

    def said(record: Record) -> str:
        shown = forms.estimate(record.get(kind.field), record.get(kind.low), record.get(kind.high), kind.ratio)
        return f"({interval}) {shown}, {forms.p_equals(record.get('p_value'))}"

    whom = words("people tested on") if first.get("people") == "testing" else ""
    parts = [", ".join(filter(None, (words(kind.title), unit and words.label(unit), whom))) + f" {said(there)}"]
    same = [r for r in tables.get("calibrated", []) if all(r.get(f) == first.get(f) for f in ("measure", "time"))]
    parts += [f"{words('calibrated by controls')} {said(r)}" for r in same[:1]]
    return "; ".join(parts)


def _tested(analysis: dict[str, Any], words: Words) -> list[str]:
    """Whether the effect depends on the modifiers, and whether its prediction holds in other people; of responders."""
    tables, forms = analysis["tables"], words.numbers
    slopes = [r for r in tables.get("calibration", []) if r.get("term") == "slope"]
    said = []
    for r in slopes:
        shown = forms.estimate(r["estimate"], r["conf_low"], r["conf_high"], False)
        said.append(f"{words.title('slope')} ({words.interval(level(analysis))}) {shown}")
    asked = [test for test in tables.get("tests", []) if test["test"] == SAME]
    return [*said, *(f"{words.title(SAME)}{words.colon}{forms.p_equals(test['p_value'])}" for test in asked)]


def _failed(tables: Mapping[str, list[Record]], words: Words) -> list[str]:
    """That the study's own diagnostics forbid the use of an estimate."""
    failed = [words.label(r["diagnostic"]) for r in tables.get("diagnostics", []) if not r["passed"]]
    text = "Not to be used as it stands, by the study’s diagnostics: {names}"
    return [words(text, names=", ".join(failed))] if failed else []


def _kept(analysis: dict[str, Any], words: Words) -> str:
    """`6 of 10 terms kept. Cross-validated deviance 1.26, 8.9% less than without terms`."""
    tables, forms = analysis["tables"], words.numbers
    terms = [r for r in tables["coefficients"] if not is_intercept(r["term"])]
    kept = len({r["term"] for r in terms if r["estimate"]})
    said = [words("{kept} of {all} terms kept", kept=kept, all=len({r["term"] for r in terms}))]
    if crossed := tables.get("cv", []):
        at = min(crossed, key=lambda r: abs(r["lambda"] - analysis["facts"]["lambda"]))
        less = 1 - at["mean"] / crossed[0]["mean"] if crossed[0]["mean"] else None  # the first penalty keeps nothing
        text = "Cross-validated deviance {value}, {share} less than without terms"
        said.append(words(text, value=forms.significant(at["mean"]), share=forms.percent(less)))
    return ". ".join(said)


def asked(analysis: dict[str, Any], words: Words) -> list[tuple[str, str]]:
    """What an analysis is about, by its settings: of a formula that alone."""
    settings = analysis["settings"]
    names = ("formula",) if "formula" in settings else ASKED
    heads = {"formula": "", "started": words.label("treated_from")}  # a table `started` is a model
    return [(heads.get(name, words.label(name)), words.numbers.any(settings[name]))
            for name in names if settings.get(name)]  # fmt: skip


def _metric(analysis: dict[str, Any], words: Words) -> str:
    """`AUC (held out; 95% CI) 0.70 (0.66–0.74)`: of who was held out, if anybody was."""
    rows = analysis["tables"]["metrics"]
    first = next((r for r in rows if r["estimate"] is not None), rows[0])  # an area of few cells is not told
    shown = words.numbers.estimate(first["estimate"], first["conf_low"], first["conf_high"], False)
    whom = words(first["sample"]) if "sample" in first else ""
    limits = words.interval(level(analysis)) if first["conf_low"] is not None else ""  # of coarse cells there are none
    about = "; ".join(filter(None, (whom, limits)))
    return f"{words.label(first['metric'])}{f' ({about})' if about else ''} {shown}"


def _test(analysis: dict[str, Any], words: Words) -> str:
    """The log-rank test, or the first where the analysis is a test of groups; else nothing."""
    found = logrank(analysis, words)
    tests = analysis["tables"].get("test", [])
    if found or not tests:
        return found
    return f"{words.title(tests[0]['test'])}{words.colon}{words.numbers.p_equals(tests[0].get('p_value'))}"


def _medians(analysis: dict[str, Any], unit: str | None, words: Words) -> str:
    """`Median time: 8.4 years (hormon 0; 95% CI 7.9–9.1)`, in months where one is under two years."""
    records, forms, by = analysis["tables"]["median"], words.numbers, grouped_by(analysis)
    known = [record["estimate"] for record in records if record["estimate"] is not None]
    time = median_clock(shown_clock(analysis, unit), unit, min(known, default=0.0))

    def length(value: float | None) -> str:
        return words("not reached") if value is None else forms.fixed(value / time.per, 1)

    parts = []
    for record in records:
        low, high = record.get("conf_low"), record.get("conf_high")
        limits = forms.interval(length(low), length(high))
        if low is None or high is None:
            limits = words("{low} to {high}", low=length(low) if low is not None else NONE, high=length(high))
        named = words.label(time.unit) if time.unit and record["estimate"] is not None else ""
        about = [group_label(record["group"], by).replace(": ", FIRM)]
        about += [f"{words.interval(level(analysis))}{FIRM}{limits}"] if (low, high) != (None, None) else []
        inside = "; ".join(filter(None, about))
        shown = FIRM.join(filter(None, (length(record["estimate"]), named)))
        parts.append(f"{shown} ({inside})" if inside else shown)
    return f"{words('Median time')}{words.colon}{', '.join(parts)}"


def _incidences(analysis: dict[str, Any], study: Mapping[str, Any], words: Words) -> str:
    """Incidences at the last requested time, of groups of whom enough people are still at risk."""
    records, by, k = analysis["tables"]["at_times"], grouped_by(analysis), threshold(study)
    last = max(record["time"] for record in records)
    found = [record for record in records if record["time"] == last and record["estimate"] is not None]
    shown = [record for record in found if (record.get("at_risk") or 0) >= k]
    if not shown:
        return ""
    time = shown_clock(analysis, study.get("time_unit"))
    when = words.length(time.shown(last, words.numbers), time.unit).replace(" ", FIRM)
    parts = []
    for record in shown:
        label = group_label(record["group"], by).replace(": ", FIRM)
        name = ", ".join(filter(None, (group_name(record["cause"]), label)))
        parts.append(f"{name} {percents(record, words)}")
    head = f"{words('Cumulative incidence')} ({when}; {words.interval(level(analysis))})"
    return f"{head}{words.colon}{'; '.join(parts)}"


def taking_part(result: Result) -> int:
    """Hospitals that gave something to an analysis at least."""
    return max((int(analysis["hospitals"]) for analysis in result["analyses"]), default=len(result["hospitals"]))


def shares(taking: int, asked: int, words: Words) -> str:
    """`4 hospitals` or `9 of 18 hospitals`."""
    forms = words.numbers
    if taking >= asked:
        return words("{count} hospitals", count=forms.count(asked))
    return words("{count} of {asked} hospitals", count=forms.count(taking), asked=forms.count(asked))


def where_from(result: Result, words: Words) -> str:
    """Whose records were analysed. Which hospitals gave nothing is not known, only how many."""
    names, taking = result["hospitals"], taking_part(result)
    if taking >= len(names):
        text = "Records of {hospitals} were analysed where they are; sums over all of them made every number below."
        return words(text, hospitals=listed(names, words))
    return f"{contributed(result, words)} " + words("Sums over those that contributed made every number below.")


def contributed(result: Result, words: Words) -> str:
    """That some hospitals gave nothing, in a sentence; empty where all gave something."""
    names, taking = result["hospitals"], taking_part(result)
    if taking >= len(names):
        return ""
    forms = words.numbers
    said = words("{count} of {asked} hospitals contributed.", count=forms.count(taking), asked=forms.count(len(names)))
    codes = [w["code"] for a in result["analyses"] for w in a["warnings"] if isinstance(w, dict) and "code" in w]
    if "hospitals-left-out" not in codes:  # the others were not asked
        return said
    return f"{said} " + words("The rest had fewer than {k} people for these analyses.", k=threshold(result["study"]))


def listed(names: list[str], words: Words) -> str:
    """`curie, lyon and nantes`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {words('and')} {names[-1]}"


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
            arrays=forms.count(len(result["left"])),
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
    foretold = (
        "A model predicts from what goes with the outcome, which need not bring it about: changing a feature of a "
        "person need not change what becomes of them."
    )
    methods = {analysis["method"] for analysis in result["analyses"]}
    summed = [a for a in result["analyses"] if a["method"] not in TRAINED and not _predicting(a)]
    said = [Said(words("Exactness"), words(exact))] if summed else []
    said += [*_trained(result, words), *_approximation(result, words), *_chance(result, words)]
    said.append(Said(words("Causes"), words(causes if methods - FORETELL else foretold)))
    said += _between(result, words)
    return [*said, *_people_left_out(result, words), *_doubts(result, words), *_withheld(result, words)]


def _trained(result: Result, words: Words) -> list[Said]:
    """How the networks came about, which no sums of all people make."""
    named = [a["name"] for a in result["analyses"] if a["method"] in TRAINED]
    if not named:
        return []
    text = (
        "{names}: every hospital trains on its own people for some steps, and the changes of the weights are added up, "
        "round by round. The network is the one that this way of training finds; other rounds or steps, or pooled "
        "records, give another. What is measured of it is exact for the people measured, on the cells of its scores."
    )
    return [Said(words("Training"), words(text, names=", ".join(named)))]


def _predicting(analysis: Record) -> bool:
    """Whether it evaluates a learned model, of whose risks the cells alone are told."""
    return analysis["method"] == "evaluate" and bool(analysis["settings"].get("learnt"))


def _records(result: Result) -> list[Record]:
    return [record for analysis in result["analyses"] for records in analysis["tables"].values() for record in records]


def _approximation(result: Result, words: Words) -> list[Said]:
    """Which numbers rest on cells of time, or of risk, and what that means."""
    named = [a["name"] for a in result["analyses"] if coarse(a)]
    learned = [a["name"] for a in result["analyses"] if _predicting(a)]
    risks = (
        "{names}: the risks of a learned model are counted in cells, and each person's counts as one near the middle "
        "of its cell. Areas are those of pooled records in the same cells; mean risk, Brier score and calibration "
        "differ a little from those of the risks themselves."
    )
    found = [Said(words("Approximation"), words(risks, names=", ".join(learned)))] if learned else []
    if not named:
        return found
    text = (
        "{names}: times were counted in cells. The numbers equal those of pooled records counted in the same cells; "
        "on exact times, curves, medians and tests would differ a little. Curves slope between the edges of cells."
    )
    return [*found, Said(words("Approximation"), words(text, names=", ".join(named)))]


def _chance(result: Result, words: Words) -> list[Said]:
    count = sum(record.get("p_value") is not None for record in _records(result))
    if not count:
        return []
    text = (
        "Intervals and P values describe chance alone, each by itself. This page holds {count} P values; "
        "none is adjusted for the others."
    )
    return [Said(words("Chance"), words(text, count=words.numbers.count(count)))]


def _between(result: Result, words: Words) -> list[Said]:
    """Whether effects differ between hospitals, of the analyses that tested it."""
    text = (
        "{name}: of the variation of the effect between {hospitals} hospitals, chance does not explain {share} (I2; "
        "{p} for equal effects). The test is made from sums, and no hospital's effect is known. With few hospitals it "
        "sees large differences only."
    )
    forms = words.numbers
    return [
        Said(words("Between hospitals"),
             words(text, name=a["name"], hospitals=forms.count(a["hospitals"]), share=forms.percent(facts["i2"], 0),
                   p=forms.p_equals(facts.get("heterogeneity_p"))))
        for a in result["analyses"] if (facts := a["facts"]).get("i2") is not None
    ]  # fmt: skip


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
    for_one = (
        "{name}: {events} events for one term. Under 10 events per term, estimates tend to be too large "
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
            text = words(
                for_one if len(terms) == 1 else few,
                name=analysis["name"],
                events=words.numbers.count(events),
                terms=len(terms),
            )
            said.append(Said(words("Few events"), text))
    return said


def _term(term: str, words: Words) -> str:
    return words.label(term) if term.lower() == "global" else read(term).said(words.colon)
