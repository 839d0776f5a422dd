"""Output checks: what a finding would tell about few people, looked for once more before anybody sees it (DESIGN 4.8).

The gate of every hospital decides which sums leave. These checks look at the other end, at the numbers as a researcher
will read them, and know nothing of how they were made: a method with a fault, or a plug-in, is caught here. They are
those of human output checkers in research data centres.

    cells          a count of 1 to k-1 people
    complementary  a withheld count that follows from the counts and totals beside it
    tails          a step of a curve on fewer than k people at risk, or on 1 to k-1 events
    extremes       a minimum, a maximum, an estimate that one person decides
    saturated      a model with as many parameters as groups, which gives back their counts
    freedom        fewer than 10 residual degrees of freedom
    diagnostics    a threshold that the study set for the design itself is missed: the result stays unseen
    membership     a learned model tells whom it was trained on, or nobody was held out to try that
    differences    two analyses of the study whose numbers of people differ by 1 to k-1

A check passes, fails, or asks for a review: what only somebody who knows the data can judge. Reasons name places and
never a count. What the stewards approved as a disclosure class is no fault, and the reason says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from confrere.analyses.finding import Finding, Record
from confrere.analyses.learning.attack import TOO_GOOD, YEOM, tells
from confrere.analyses.learning.reconstruction import FREDRIKSON, recovers
from confrere.coordinator.refit import fitted_counts
from confrere.coordinator.withheld import Line, follows

HANDBOOK: Final = (
    "Griffiths E, Greci C, Kotrotsios Y, et al. Handbook on Statistical Disclosure Control for Outputs. Safe Data "
    "Access Professionals 2019"
)
ACRO: Final = (
    "Green E, Ritchie F, Smith J. Automatic Checking of Research Outputs (ACRO): a tool for dynamic disclosure "
    "checks. Eurostat 2021"
)
LEGEND: Final = (
    "Schuemie MJ, Ryan PB, Pratt N, et al. Principles of Large-scale Evidence Generation and Evaluation across a "
    "Network of Databases (LEGEND). J Am Med Inform Assoc 2020;27:1331-1337"
)
SOURCES: Final = {
    "cells": HANDBOOK, "complementary": HANDBOOK, "tails": ACRO, "extremes": HANDBOOK, "saturated": HANDBOOK,
    "freedom": ACRO, "diagnostics": LEGEND, "differences": HANDBOOK,
    "membership": YEOM.text, "reconstruction": FREDRIKSON.text,
}  # fmt: skip
LEARNED: Final = ("boosting", "network", "penalised")  # methods whose models are attacked
FREEDOM: Final = 10  # residual degrees of freedom; ACRO's safe_dof_threshold
ABSURD: Final = 10.0  # |statistic| over this times the root of n: the term all but determines the outcome
COUNTS: Final = frozenset(
    ["n", "events", "clone_events", "at_risk", "censored", "entered", "missing", "observed", "people", "count"]
)
BY_TIME: Final = frozenset(["curve", "incidence", "survival", "at_times", "risk", "groups"])  # told by exact times too
ENDS: Final = frozenset(["min", "max", "minimum", "maximum", "range", "mode"])
SHOWN: Final = 5  # places that a reason names


class Check(NamedTuple):
    """What one check says of one analysis; `analysis` is empty where it is about all of them.

    `verdict` is `pass`, `fail` or `review`; `source` is the paper or handbook that the rule is from.
    """

    analysis: str
    check: str
    verdict: str
    reason: str
    source: str


class Rule(NamedTuple):
    """People on whom a number must rest, and the disclosure classes that the stewards approved."""

    k: int
    allow: tuple[str, ...] = ()

    def few(self, value: Any) -> bool:
        """Whether a value is a count of 1 to k-1 people."""
        return _is_number(value) and 0.5 <= value < self.k - 0.5

    def approved(self, table: str) -> str:
        """The class by which small counts may stand in a table; "" if there is none."""
        return "small_cells" if "small_cells" in self.allow else self._fine(table)

    def _fine(self, table: str) -> str:
        return "fine_times" if "fine_times" in self.allow and table in BY_TIME else ""


class Place(NamedTuple):
    """Where a check found something: the table, and the words that tell its row and field."""

    table: str
    words: str


def checks(findings: Mapping[str, Finding], rule: Rule) -> tuple[Check, ...]:
    """Every check of every finding, by the names of the analyses, and what they tell together."""
    made = [check for name, finding in findings.items() for check in _of(name, finding, rule)]
    return (*made, _differences(findings, rule))


def _of(name: str, finding: Finding, rule: Rule) -> Iterator[Check]:
    """The six checks of one finding; others where the study set thresholds for its design, or a model was learned."""
    last = rule.k - 1
    yield _told(
        name, "cells", rule, _cells(finding, rule), f"No count of 1 to {last} people.", f"Counts of 1 to {last} people"
    )
    yield _told(
        name, "complementary", rule, _complementary(finding, rule), "No withheld count follows from those shown.",
        "Withheld counts that follow from those shown",
    )  # fmt: skip
    yield _told(
        name, "tails", rule, _tails(finding, rule), "No step of a curve rests on too few people.",
        f"Steps of curves on fewer than {rule.k} people at risk or events",
    )  # fmt: skip
    yield _extremes(name, finding, rule)
    yield _saturated(name, finding, rule)
    yield _freedom(name, finding)
    if rows := finding.tables.get("diagnostics"):
        yield _diagnostics(name, rows)
    if rows := finding.tables.get("attack"):
        yield _membership(name, rows)
    elif finding.method in LEARNED:
        yield _unattacked(name, finding)
    if rows := finding.tables.get("reconstruction"):
        yield _reconstruction(name, rows)


def _told(name: str, check: str, rule: Rule, places: Iterable[Place], good: str, bad: str) -> Check:
    """A check of places: those that no class covers fail it."""
    found = list(places)
    open_ = [p for p in found if not rule.approved(p.table)]
    if open_:
        return Check(name, check, "fail", f"{bad}: {_listed(open_)}.", SOURCES[check])
    if found:
        classes = ", ".join(sorted({rule.approved(p.table) for p in found}))
        good = f"{bad} stand in it: the stewards approved the class {classes}."
    return Check(name, check, "pass", good, SOURCES[check])


def _listed(places: Sequence[Place]) -> str:
    shown = [f"{p.table} ({p.words})" for p in places[:SHOWN]]
    return "; ".join(shown) + (f"; and {len(places) - SHOWN} more" if len(places) > SHOWN else "")


def _row(record: Record, field: str = "") -> str:
    """The words that tell a row: its labels and time, and the field."""
    labels = ("criterion", "variable", "level", "group", "cause", "term", "step", "reason", "time")
    said = [f"{key} {record[key]}" for key in labels if record.get(key) not in (None, "")]
    return ", ".join([*said, *([field] if field else [])])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _diagnostics(name: str, rows: Sequence[Record]) -> Check:
    """Whether the design is within the thresholds of the study; what it found is not looked at."""
    missed = [str(row["diagnostic"]) for row in rows if not row["passed"]]
    said = f"Beyond the study's thresholds: {', '.join(missed)}." if missed else "Within the study's thresholds."
    return Check(name, "diagnostics", "fail" if missed else "pass", said, SOURCES["diagnostics"])


def _membership(name: str, rows: Sequence[Record]) -> Check:
    """Whether an attacker with a whole record could tell that it was trained on."""
    worst = max(float(row["estimate"]) for row in rows)
    said = (
        f"An attack on membership has an AUC of {worst:.2f}; 0.5 is a coin, {TOO_GOOD:g} the most that passes, if sure."
    )
    return Check(name, "membership", "fail" if any(map(tells, rows)) else "pass", said, SOURCES["membership"])


def _reconstruction(name: str, rows: Sequence[Record]) -> Check:
    """Whether the model gives back outcomes that it was trained on. Where it was not tried, nor was the attack on
    membership, of which a check says so."""
    said = "; ".join(
        f"{row['metric']} {row['of_training']:.2f} of people of training, {row['of_others']:.2f} of people held out"
        for row in rows
    )
    verdict = "fail" if any(map(recovers, rows)) else "pass"
    return Check(name, "reconstruction", verdict, f"Outcomes guessed by the model: {said}.", SOURCES["reconstruction"])


def _unattacked(name: str, finding: Finding) -> Check:
    """A learned model on which no attack was tried: what it tells of its people is for a person to judge."""
    metrics = finding.tables.get("metrics", [])
    some = "cv" in finding.tables or any("held out" in str(row.get("sample", "")) for row in metrics)
    said = (
        "No attack: too few people or numbers for one, or an outcome that none is tried on."
        if some
        else "No attack: nobody was held out."
    )
    return Check(name, "membership", "review", said, SOURCES["membership"])


# Counts -------------------------------------------------------------------------------------------------------


def _cells(finding: Finding, rule: Rule) -> Iterator[Place]:
    """Counts of few people: as they stand, and as another field of the row gives them."""
    for field, value in _whole(finding).items():
        if rule.few(value):
            yield Place("finding", field)
    for table, records in finding.tables.items():
        for record in records:
            yield from (Place(table, _row(record, f)) for f, v in _counted(record).items() if rule.few(v))


def _whole(finding: Finding) -> dict[str, float]:
    """People, events and the others, of the whole finding."""
    events = {} if finding.events is None else {"events": finding.events, "without event": finding.n - finding.events}
    return {"n": finding.n, **events}


def _counted(record: Record) -> dict[str, float]:
    """Every number of people that a row says or implies. Weighted sums that are no whole number count nobody."""
    found = {f: v for f, v in record.items() if (f in COUNTS or f.startswith("n_")) and _is_number(v)}
    n = found.get("n")
    if "observed" in found and "predicted" in record:  # of a calibration, a share
        share = found.pop("observed")
        found |= {"observed": n * share} if n is not None and "time" not in record else {}
    if "observed" in found and abs(found["observed"] - round(found["observed"])) > 1e-6:
        del found["observed"]  # weighted by time: not people
    if n is not None and "observed" in found:
        found["without event"] = n - found["observed"]
    if n is not None and _is_number(record.get("percent")) and record.get("level") is None:
        found["with the mark"] = n * record["percent"] / 100
        found["without the mark"] = n - found["with the mark"]
    return found


def _complementary(finding: Finding, rule: Rule) -> Iterator[Place]:
    """Withheld counts that totals give away."""
    lines = [*_attrition_lines(finding), *_table_lines(finding)]
    for table, words in follows(lines, rule.k):
        yield Place(table, words)
    yield from _left_group(finding, rule)
    yield from _left_step(finding, rule)
    if not str(finding.facts.get("grid", "")).startswith("ladder"):
        # on a ladder, numbers at risk between edges are interpolated in cells of k people: differences are nobody's
        yield from _left_exits(finding, rule)


def _attrition_lines(finding: Finding) -> Iterator[Line]:
    """Records read are those left out and those analysed."""
    rows = finding.tables.get("attrition", [])
    by_step = {step: [r for r in rows if r.get("step") == step] for step in ("records read", "left out", "analysed")}
    if len(by_step["records read"]) == len(by_step["analysed"]) == 1:
        parts = [*by_step["left out"], *by_step["analysed"]]
        (whole,) = by_step["records read"]
        yield Line([(("attrition", _row(r)), r["n"]) for r in parts], (("attrition", _row(whole)), whole["n"]))


def _table_lines(finding: Finding) -> Iterator[Line]:
    """Table 1: levels and missing add up to the people of a group, and groups to everybody."""
    rows = [r for r in finding.tables.get("table1", []) if {"variable", "n", "missing"} <= r.keys()]
    groups = list(dict.fromkeys(r.get("group") for r in rows))
    for variable in dict.fromkeys(r["variable"] for r in rows):
        for group in groups:
            about = [r for r in rows if r["variable"] == variable and r.get("group") == group]
            if about:
                parts = [(("table1", _row(r, "n")), r["n"]) for r in about]
                parts.append((("table1", f"variable {variable}, group {group}, missing"), about[0]["missing"]))
                yield Line(parts, (("people", f"{group}"), finding.n if group is None else None))
        yield from _over_groups(variable, rows)
    named = [g for g in groups if g is not None]
    if named:
        yield Line([(("people", f"{g}"), None) for g in named], (("people", "None"), finding.n))


def _over_groups(variable: str, rows: Sequence[Record]) -> Iterator[Line]:
    """A level over all groups is that of everybody, where the table has everybody."""
    for level in dict.fromkeys(r.get("level") for r in rows if r["variable"] == variable):
        about = [r for r in rows if r["variable"] == variable and r.get("level") == level]
        whole = [r for r in about if r.get("group") is None]
        parts = [r for r in about if r.get("group") is not None]
        if len(whole) == 1 and parts:
            key = ("table1", _row(whole[0], "n"))
            yield Line([(("table1", _row(r, "n")), r["n"]) for r in parts], (key, whole[0]["n"]))


def _left_group(finding: Finding, rule: Rule) -> Iterator[Place]:
    """Groups that are left out: everybody less those whose curves are shown."""
    hidden = finding.tables.get("suppressed", [])
    first: dict[Any, Any] = {}
    for record in (*finding.tables.get("curve", []), *finding.tables.get("incidence", [])):
        first.setdefault(record.get("group"), record.get("at_risk"))
    if hidden and first and None not in first.values() and rule.few(finding.n - sum(first.values())):
        yield Place("suppressed", ", ".join(_row(r) for r in hidden))


def _left_step(finding: Finding, rule: Rule) -> Iterator[Place]:
    """Criteria of a funnel: who is left after one, less who is left after the next."""
    for one, after in pairwise(r for r in finding.tables.get("funnel", []) if r["n"] is not None):
        if rule.few(one["n"] - after["n"]):
            yield Place("funnel", _row(after, "n"))


def _left_exits(finding: Finding, rule: Rule) -> Iterator[Place]:
    """Withheld censorings: at risk before, less events, less at risk after."""
    rows = finding.tables.get("curve", [])
    for one, after in pairwise(rows):
        if one.get("group") == after.get("group") and "censored" in one and one["censored"] is None:
            known = [v for v in (one.get("at_risk"), one.get("events"), after.get("at_risk")) if v is not None]
            if len(known) == 3 and rule.few(known[0] - known[1] - known[2]):
                yield Place("curve", _row(one, "censored"))


def _differences(findings: Mapping[str, Finding], rule: Rule) -> Check:
    """Totals of two analyses that differ by few people, of whom the difference would tell."""
    totals: dict[str, float] = {}
    for name, finding in findings.items():
        totals[f"{name}, n"] = finding.n
        read = next((r for r in finding.tables.get("attrition", []) if r.get("step") == "records read"), {})
        if read.get("n") is not None:
            totals[f"{name}, records read"] = read["n"]
    pairs = [f"{a} and {b}" for a, b in combinations(totals, 2) if rule.few(abs(totals[a] - totals[b]))]
    if not pairs or "small_cells" in rule.allow:
        text = f"No two analyses differ by 1 to {rule.k - 1} people."
        return Check("", "differences", "pass", text, SOURCES["differences"])
    more = f"; and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    text = f"Numbers of people that differ by 1 to {rule.k - 1}: {'; '.join(pairs[:SHOWN])}{more}."
    return Check("", "differences", "review", text, SOURCES["differences"])


# Curves -------------------------------------------------------------------------------------------------------


def _tails(finding: Finding, rule: Rule) -> Iterator[Place]:
    """Steps on few people at risk or few events, and readings beyond the last step on few at risk."""
    last: dict[Any, float] = {}
    for table in ("curve", "incidence"):
        for record in finding.tables.get(table, []):
            last[record.get("group")] = max(last.get(record.get("group"), 0.0), record["time"])
            for field in ("at_risk", "events"):
                if field in record and (record[field] is None or rule.few(record[field])):
                    yield Place(table, _row(record, field))
    for table in ("survival", "at_times"):
        for record in finding.tables.get(table, []):
            at_risk, beyond = record.get("at_risk"), record["time"] > last.get(record.get("group"), 0.0)
            if beyond and record.get("estimate") is not None and (at_risk is None or rule.few(at_risk)):
                yield Place(table, _row(record, "at_risk"))


# Values -------------------------------------------------------------------------------------------------------


def _extremes(name: str, finding: Finding, rule: Rule) -> Check:
    """Ends of the data fail; an estimate that nearly determines the outcome is to be looked at."""
    ends = [Place("facts", f) for f, v in finding.facts.items() if f in ENDS and _is_number(v)]
    odd: list[Place] = []
    for table, records in finding.tables.items():
        for record in records:
            ends += [Place(table, _row(record, f)) for f, v in record.items() if f in ENDS and _is_number(v)]
            ends += [Place(table, _row(record, f)) for f in _far_quantiles(record, rule)]
            if table == "coefficients" and _odd(record, finding):
                odd.append(Place(table, _row(record)))
    if float(finding.facts.get("r_squared", 0.0)) > 0.9999:
        odd.append(Place("facts", "r_squared"))
    if ends:
        return Check(name, "extremes", "fail", f"Values of one person or few: {_listed(ends)}.", SOURCES["extremes"])
    if odd:
        text = f"Estimates that all but determine the outcome: {_listed(odd)}."
        return Check(name, "extremes", "review", text, SOURCES["extremes"])
    return Check(name, "extremes", "pass", "No value of one person or few.", SOURCES["extremes"])


def _far_quantiles(record: Record, rule: Rule) -> Iterator[str]:
    """Quantiles beyond which fewer than k people lie. With a `resolution` they are read off cells of k people."""
    n = record.get("n")
    if record.get("resolution") is not None or n is None:
        return
    for field, value in record.items():
        if (match := re.fullmatch(r"q(\d+(?:\.\d+)?)", field)) and _is_number(value):
            share = float(match[1]) / 100
            if n * min(share, 1 - share) < rule.k:
                yield field


def _odd(record: Record, finding: Finding) -> bool:
    """An estimate without error, or with a test statistic that no usual effect has."""
    if record.get("std_error") == 0:
        return True
    if finding.facts.get("family") == "poisson" or record["term"] == "Intercept":
        return False  # large counts, and a mean far from 0, have large statistics by themselves
    return abs(float(record.get("statistic") or 0.0)) > float(ABSURD * np.sqrt(finding.n))


# Models -------------------------------------------------------------------------------------------------------


def _saturated(name: str, finding: Finding, rule: Rule) -> Check:
    """Counts that the coefficients and their covariance give back."""
    counts = fitted_counts(finding)
    if not counts:
        text = "No model that gives back counts of groups."
        return Check(name, "saturated", "pass", text, SOURCES["saturated"])
    places = [Place("coefficients", where) for where, count in counts.items() if rule.few(count)]
    good = "The model gives back counts of groups; none is of few people."
    return _told(name, "saturated", rule, places, good, f"Counts of 1 to {rule.k - 1} people that the model gives back")


def _freedom(name: str, finding: Finding) -> Check:
    """People, or events where these carry the information, less parameters."""
    rows = finding.tables.get("coefficients", [])
    if not rows:
        return Check(name, "freedom", "pass", "No fitted model.", SOURCES["freedom"])
    carried = finding.events if "baseline" in finding.facts or "cause" in finding.facts else finding.n
    freedom = int(np.floor(finding.facts.get("df_residual", (carried or finding.n) - len(rows))))
    if freedom >= FREEDOM:
        return Check(name, "freedom", "pass", f"At least {FREEDOM} residual degrees of freedom.", SOURCES["freedom"])
    text = f"Residual degrees of freedom: {freedom}; there must be {FREEDOM}."
    return Check(name, "freedom", "fail", text, SOURCES["freedom"])
