"""The tables of a feasibility count, from what the hospitals told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.feasibility_accrual import Calendar, accrual, entries, rate, stretches, years
from confrere.analyses.feasibility_groups import Group
from confrere.analyses.feasibility_patterns import Interval, Patterns, Told, bounds, counted, shapley
from confrere.analyses.finding import Record
from confrere.analyses.funnel import funnel
from confrere.rounds import Array, Bools, Ints

SIGNS = ("-", "?", "+")  # failed, unknown, met


class Answer(NamedTuple):
    """What the hospitals told.

    patterns, rules, variants  what was asked
    grid      (steps,) the merged step of the funnel, of which `stopped` (merged,) has the people
    counts    (steps, patterns) people by merged step and pattern; a hidden one is 0, and -1 in its grid
    months    (merged months,), groups (levels of all,): who meets all criteria
    grids     the merged cells of all of them
    k         the least people that a told count has
    shown     by what those who meet all criteria are described: months, and words of `by`
    """

    patterns: Patterns
    rules: tuple[str, ...]
    variants: tuple[str, ...]
    grid: tuple[int, ...]
    stopped: Array
    counts: Array
    months: Array
    groups: Array
    grids: Mapping[str, Ints]
    by: tuple[Group, ...]
    k: int
    shown: tuple[str, ...]

    @property
    def told(self) -> Told:
        """The patterns, each in the merged step that it belongs to."""
        group = np.array(self.grid, dtype=np.int64)[self.patterns.stops()]
        place = (group, np.arange(self.patterns.size))
        wide = np.pad(self.counts, ((0, 0), (0, self.patterns.size - self.counts.shape[1])))
        hidden = self.grids["patterns"][place] < 0
        return Told(np.where(hidden, 0.0, wide[place]), hidden, group, self.stopped, self.k)

    @property
    def hidden(self) -> Bools:
        """(merged steps,) where people are in hidden patterns."""
        told = self.told
        shown = np.array([told.counts[told.group == g].sum() for g in range(len(told.totals))])
        return np.asarray(told.totals - shown > 0.5)


def tables(answer: Answer, calendar: Calendar, window: int) -> tuple[dict[str, list[Record]], dict[str, Any]]:
    """All tables but attrition, by name; and facts of the accrual."""
    steps = [("people", ""), ("entry event", ""), *(("criterion", rule) for rule in answer.rules)]
    made: dict[str, list[Record]] = {
        "funnel": funnel(steps, np.array(answer.grid), answer.stopped),
        "criteria": list(_criteria(answer)),
    }
    if answer.variants:
        made["variants"] = list(_variants(answer))
    made["patterns"] = list(_patterns(answer))
    found = stretches(answer.grids["months"][0], answer.months) if "months" in answer.shown else []
    speed = rate(calendar, found, window)
    made["breakdown"] = list(_breakdown(answer, calendar))
    made["entries"] = entries(calendar, found)
    made["accrual"] = [] if speed is None else accrual(speed)
    facts = {} if speed is None else {
        "accrual_from": calendar.name(speed.first), "accrual_until": calendar.name(speed.last),
        "accrual_people": round(speed.people), "dispersion": speed.dispersion,
    }  # fmt: skip
    return made, facts


def _criteria(answer: Answer) -> Iterator[Record]:
    """Of every criterion: who meets it alone, is unknown, would be there without it, and what it costs."""
    patterns, told = answer.patterns, answer.told
    every, costs = list(range(len(answer.rules))), shapley(patterns)
    unknown, all_met = patterns.answers() == 1, patterns.meeting(every)
    for j, rule in enumerate(answer.rules):
        without = patterns.meeting([i for i in every if i != j])
        measures = {
            "alone": patterns.meeting([j]), "unknown": unknown[:, j], "without": without, "gain": without & ~all_met,
            "shapley": costs[:, j],
        }  # fmt: skip
        for measure, weights in measures.items():
            if measure == "unknown" and not patterns.open_[j]:
                continue
            found = bounds(told, weights.astype(float))
            about = {"number": j + 1, "criterion": rule, "measure": measure}
            yield about | counted(found, whole=measure != "shapley")


def _variants(answer: Answer) -> Iterator[Record]:
    """Who meets all criteria if a variant stands for its criterion."""
    patterns, told = answer.patterns, answer.told
    for v, (name, place) in enumerate(zip(answer.variants, patterns.variants, strict=True)):
        columns = [patterns.of(j, v if j == place else None) for j in range(len(answer.rules))]
        found = bounds(told, patterns.meeting(columns).astype(float))
        yield {"variant": name, "number": place + 1, "criterion": answer.rules[place]} | counted(found)


def _patterns(answer: Answer) -> Iterator[Record]:
    """Every pattern that was told and has somebody, then what is hidden in each merged step: the whole answer.

    `pattern` has a sign for each criterion, then for each variant: + met, - failed, ? unknown. `step` is the merged
    step of the funnel.
    """
    told, signs = answer.told, answer.patterns.answers()
    for number in np.flatnonzero(told.counts):
        text = "".join(SIGNS[s] for s in signs[number]) if number else "no entry event"
        yield {"step": int(told.group[number]), "pattern": text, "n": round(told.counts[number])}
    for g in np.flatnonzero(answer.hidden):
        inside = told.group == g
        yield {"step": int(g), "pattern": "hidden", "n": round(told.totals[g] - told.counts[inside].sum())}


def _breakdown(answer: Answer, calendar: Calendar) -> Iterator[Record]:
    """Who meets all criteria by year, sex, age and region. Neighbouring levels of few people stand on one line."""
    if "months" in answer.shown:
        for name, first, last in years(calendar, answer.grids["months"][0]):
            count = float(answer.months[first : last + 1].sum())
            yield {"by": "year", "level": name} | counted(Interval(count, count))
    low = 0
    for g in answer.by:
        counts = answer.groups[low : low + len(g.levels)]
        low += len(g.levels)
        if g.by in answer.shown:
            found = _hidden(answer, g, counts) if g.rule == "hide" else _merged(answer, g, counts)
            for level, ends in found:
                yield {"by": g.by, "level": level} | counted(ends)


def _merged(answer: Answer, group: Group, counts: Array) -> Iterator[tuple[str, Interval]]:
    """The people of merged levels."""
    grid = answer.grids[group.by][0]
    for cell in np.unique(grid[grid >= 0]):
        name = ", ".join(level for level, at in zip(group.levels, grid, strict=True) if at == cell)
        yield name, Interval(float(counts[cell]), float(counts[cell]))


def _hidden(answer: Answer, group: Group, counts: Array) -> Iterator[tuple[str, Interval]]:
    """What is told of each level, by the same rule as of patterns."""
    hidden, one = answer.grids[group.by][0] < 0, np.zeros(len(counts), dtype=np.int64)
    told = Told(np.where(hidden, 0.0, counts), hidden, one, answer.stopped[-1:], answer.k)
    for level, weights in zip(group.levels, np.eye(len(counts)), strict=True):
        yield level, bounds(told, weights)


def read_back(patterns: Patterns, records: Mapping[str, list[Record]], k: int) -> Told:
    """What was told, from the tables `funnel` and `patterns` of a finding: any set of criteria can be counted from it.

    `k` is the least people that a told count has; 0 where any may be told.
    """
    counts, hidden = np.zeros(patterns.size), np.ones(patterns.size, dtype=bool)
    places = {tuple(SIGNS[s] for s in signs): at for at, signs in enumerate(patterns.answers()) if at}
    for record in records["patterns"]:
        if record["pattern"] != "hidden":
            at = places.get(tuple(record["pattern"]), 0)  # no entry event
            counts[at], hidden[at] = record["n"], False
    left = [(at, float(r["n"])) for at, r in enumerate(records["funnel"]) if r["n"] is not None]
    edges = np.array([at for at, _ in left])
    group = np.searchsorted(edges, patterns.stops(), side="right") - 1
    return Told(counts, hidden, group, -np.diff([n for _, n in left], append=0.0), k)
