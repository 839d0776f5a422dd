"""How good a learned model of three classes or more is, and how its scores would have to move to be right.

Whoever writes a model may give any people any probabilities, and several partitions by them, one less the other, would
tell a few people. So people are parted once: by their two likeliest classes, in order, by whether the first or the
second of these is theirs, and by the gap between them, log p(first) - log p(second), on a public ladder. Each pair of
classes has cells of its own, which the gate merges until each holds nobody or at least k people of either kind; pairs
of too few are one group of others. People of whom neither is their class are told as one number, or, if they are fewer
than k, count with the second.

Right scores are `intercept of the class + slope * score` (Van Hoorde et al., Stat Med 2014;33:2585, with one slope;
Alexandari et al., ICML 2020). One over the slope is the temperature of Guo et al., ICML 2017. Whatever the other
classes are, of who has one of their two likeliest the logit of having the first is the difference of these two
intercepts + slope * gap: a logistic regression of these people, consistent as such paired regressions are (Begg & Gray,
Biometrika 1984;71:11). Everybody in a cell counts with one gap, where people are on average if gaps are exponential:
edges and counts of cells decide it, and nothing else that the model predicts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special

from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition
from confrere.analyses.learning.coarse import SOME, shares
from confrere.analyses.learning.evaluate import TRIPOD, Evaluate
from confrere.analyses.learning.evaluate_binary import few, of_model, told
from confrere.analyses.learning.evaluate_risk import LEAST, STEPS, certain, chances, even, imaged, stacked, starts_of
from confrere.analyses.rates import WILSON, share
from confrere.errors import ModelError
from confrere.rounds import Array, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support
from confrere.study.ground import design_of
from confrere.study.rows import TableRows

WIDEST = 8.0  # the ladder ends at this gap: the first is 3000 times as likely as the second
MOST = round(WIDEST / STEPS[0]) + 1
FAR = 20.0  # an intercept beyond is none: of some class nobody, or everybody, is in these cells
GUO = Citation("Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML 2017, "
               "PMLR 70:1321-1330", "10.48550/arXiv.1706.04599")  # fmt: skip
VAN_CALSTER = Citation("Van Hoorde K, Vergouwe Y, Timmerman D, Van Huffel S, Steyerberg EW, Van Calster B. Assessing "
                       "calibration of multinomial risk prediction models. Stat Med 2014;33:2585-2596",
                       "10.1002/sim.6114")  # fmt: skip
BEGG = Citation("Begg CB, Gray R. Calculation of polytomous logistic regression parameters using individualized "
                "regressions. Biometrika 1984;71:11-18", "10.1093/biomet/71.1.11")  # fmt: skip

TOO_FEW = (
    "too few people have their likeliest class, or too few another: nobody can be told apart. Ask more hospitals, or "
    "evaluate a model of fewer classes"
)

Edges = tuple[float, ...]
Shown = tuple[int, ...]  # the pairs of classes that are told


class Counted(NamedTuple):
    """People by pair of classes, whether the second is theirs, and merged cell of the gap; and those of neither."""

    people: Sum  # ((pairs + 1) * 2, cells)
    neither: Sum  # (1, 1)


class Known(NamedTuple):
    """Of each person (n,): 0 where their class is the likeliest, 1 the second, 2 neither; which pair these two are; the
    gap."""

    kind: Ints
    pair: Ints
    gap: Array


class Cell(NamedTuple):
    """A cell of the gap of a pair of classes: people with the first and with the second, its left and right edge, and
    the pair, -1 for several."""

    first: float
    second: float
    low: float
    high: float
    pair: int


def pairs(classes: int) -> list[tuple[int, int]]:
    """Two classes in order, the likeliest first."""
    return [(a, b) for a in range(classes) for b in range(classes) if a != b]


@register("_classes")
@dataclass(frozen=True)
class Classes:
    """Counts of people by the gap between their two likeliest classes, and by which of them is theirs."""

    of: Evaluate

    @property
    def many(self) -> int:
        """How many pairs of classes there are."""
        return len(pairs(len(self.of.classes)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the cells of each pair, and of the others."""
        return tuple(f"gaps{j:04d}" for j in range(self.many + 1))

    # inside each hospital

    def people(self, people: People) -> Design:
        """Who has a class and probabilities, and of how many neither of the two likeliest is theirs."""
        evaluate = self.of
        complete = tuple(dict.fromkeys((*evaluate.ground.complete, *evaluate.requires)))
        ground, frame = replace(evaluate.ground, complete=complete), people.table.frame
        made = imaged(evaluate, people, design_of(people, evaluate.formula, ground))
        chance = certain(chances(evaluate, people)[made.rows])
        own = TableRows(frame, ground.schema, {}).codes(evaluate.outcome)[made.rows]
        first, second = np.argsort(-chance, axis=1, kind="stable")[:, :2].T
        log = np.log(np.maximum(chance, LEAST**2))
        at = np.arange(made.n)
        kind = np.where(own == first, 0, np.where(own == second, 1, 2))
        pair = first * (len(evaluate.classes) - 1) + second - (second > first)
        cells = {**made.cells, "neither": Cells(np.where(kind == 2, 0, -1), (1, 1), rule="show")}
        columns = tuple(sorted({*made.columns, *evaluate.reads}))
        marks = {f"class {name}": own == j for j, name in enumerate(evaluate.classes)}
        known = Known(kind, pair, log[at, first] - log[at, second])
        return replace(made, flags=marks, cells=cells, data=known, columns=columns)

    def pairs(self, people: People, apart: bool) -> Design:
        """People by pair of classes; those of neither `apart`, or with the second."""
        made = self.people(people)
        known: Known = made.data
        kind = known.kind if apart else np.minimum(known.kind, 1)
        index = np.where(kind < 2, kind * self.many + known.pair, -1)
        told = Cells(np.where(kind == 2, 0, -1), (1, 1))
        cells = {"neither": told, "pairs": Cells(index, (2, self.many), rule="hide")}
        return replace(made, cells={**made.cells, **cells}, data=known._replace(kind=kind))

    def cells(self, people: People, apart: bool, edges: Edges, shown: Shown) -> Design:
        """Everybody's gap on the ladder, by pair of classes and by whether the second is theirs."""
        made, size = self.pairs(people, apart), len(edges) + 1
        known: Known = made.data
        place = np.full(self.many, self.many)
        place[list(shown)] = shown
        row, index = place[known.pair], known.kind * size + np.searchsorted(edges, known.gap, side="right")
        mine = {
            name: Cells(np.where((row == j) & (known.kind < 2), index, -1), (2, size), rule="align", family=name,
                        bound=MOST)
            for j, name in enumerate(self.names)
        }  # fmt: skip
        return replace(made, cells={**made.cells, **mine})

    @local(on="cells")
    def counted(self, people: People) -> Counted:
        """People by pair of likeliest classes, by which of them is theirs, and by cell of the gap."""
        return Counted(stacked([people.cells(name) for name in self.names]), people.cells("neither"))

    # sums only

    def flow(self) -> Flow[Finding]:
        """The finding."""
        verdict = yield from support(self.people)
        apart = bool(verdict.grids["neither"][0, 0] >= 0)
        grid = (yield from support(self.pairs, apart)).grids["pairs"]
        shown = tuple(int(j) for j in np.flatnonzero((grid >= 0).all(axis=0)))
        edges = ladder(verdict.budget // self.of.shares, 2 * len(self.names))
        grids = (yield from support(self.cells, apart, edges, shown)).grids
        if any((grids[name] < 0).any() for name in self.names):
            raise ModelError(TOO_FEW)
        found = yield from ask(self.counted)
        counts = found.people.value.reshape(len(self.names), 2, -1)
        cells = [
            cell for j, (name, each) in enumerate(zip(self.names, counts, strict=True))
            for cell in _cells(each, np.array(edges)[starts_of(grids[name][0])[1:] - 1], j if j < self.many else -1)
        ]  # fmt: skip
        return self._finding(verdict, cells, float(found.neither.value.sum()) if apart else None)

    def _finding(self, verdict: Any, cells: list[Cell], neither: float | None) -> Finding:
        right, second = (round(sum(c[i] for c in cells)) for i in (0, 1))
        wrong = second + round(neither or 0)
        line = straight(cells, len(self.of.classes))
        rows = [told("error rate", *_share(wrong, right + wrong))]
        if neither is not None:
            rows.append(told("error rate of the two likeliest", *_share(neither, right + wrong)))
        rows += _moved(line)
        tables = {
            "metrics": [{"subgroup": "", "level": ""} | r for r in rows],
            "intercepts": _intercepts(line, self.of.classes),
            "calibration": calibration(cells, self.of.bins), "attrition": attrition(verdict),
        }  # fmt: skip
        facts = {"classes": len(self.of.classes), "cells_of_risk": len(cells)} | of_model(self.of)
        return Finding(
            "evaluate", right + wrong, verdict.hospitals, {n: t for n, t in tables.items() if t}, None, facts,
            warnings=(*few(min(right, wrong)), *_coarse(cells, line)), cite=(TRIPOD, GUO, VAN_CALSTER, BEGG, WILSON),
        )  # fmt: skip


def _coarse(cells: list[Cell], line: Line | None) -> tuple[Caution, ...]:
    """The caution of intercepts and a slope that few cells tell."""
    first, second = (np.array([c[i] for c in cells if c.pair >= 0]) for i in (0, 1))
    tied = shares(second, first).tied
    if line is None or tied <= SOME:
        return ()
    text = (
        f"everybody: the cells of gaps are coarse. {tied:.0%} of the pairs of people are in one cell, so that the "
        f"intercepts and the slope may be off by more than their limits say. Ask more people."
    )
    return (Caution("coarse-score", text),)


def ladder(budget: int, rows: int) -> Edges:
    """Edges of the gap, of `rows` rows of cells, that the budget allows."""
    most = budget / 3 / rows
    step = next((s for s in STEPS if WIDEST / s + 1 <= most), STEPS[-1])
    return tuple(float(e) for e in np.round(np.arange(step, WIDEST + step / 2, step), 2))


def _cells(counts: Array, edges: Array, pair: int) -> list[Cell]:
    """The cells with people of a pair, from counts (2, cells) and the edges between them. No gap is below 0."""
    ends = np.array([0.0, *edges, np.inf])
    (first, second), low, high = counts[:, : len(ends) - 1].tolist(), ends[:-1].tolist(), ends[1:].tolist()
    both = zip(first, second, low, high, strict=True)
    return [Cell(a, b, start, end, pair) for a, b, start, end in both if a + b > 0]


def mean_gaps(people: Array, low: Array, high: Array) -> Array:
    """Where the people of cells from `low` to `high` are taken to be (cells,): where they would be on average, were
    gaps exponential with the rate that makes these counts the likeliest."""
    wide = high - low

    def minus(rate: float) -> float:
        return float(people @ (rate * low) - people @ np.log(-np.expm1(-rate * wide)))

    rate = float(optimize.minimize_scalar(minus, bounds=(0.01, 100.0), method="bounded").x)
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = np.where(np.isinf(wide), 0.0, wide / np.expm1(rate * wide))
    return np.asarray(low + 1 / rate - beyond)


# How scores would have to move ----------------------------------------------------------------------------------


class Line(NamedTuple):
    """The intercept of each class (K,), the first 0, and the slope; with their standard errors, of intercepts none
    where they are 0 because people do not determine them."""

    intercepts: Array
    slope: float
    intercepts_se: Array
    slope_se: float


def straight(cells: list[Cell], classes: int) -> Line | None:
    """The intercepts and the slope, or the slope alone, from the cells of single pairs; None where these do not
    determine it."""
    own, known = pairs(classes), [c for c in cells if c.pair >= 0]
    first, second, low, high = (np.array([c[i] for c in known]) for i in range(4))
    if not known or not shares(second, first).fine:
        return None
    x = np.zeros((len(known), classes + 1))
    x[:, classes] = mean_gaps(first + second, low, high)
    for row, cell in zip(x, known, strict=True):
        a, b = own[cell.pair]
        row[a], row[b] = 1.0, -1.0
    if found := logistic(x[:, 1:], first, second):
        beta, se = found
        return Line(np.append(0.0, beta[:-1]), float(beta[-1]), np.append(0.0, se[:-1]), float(se[-1]))
    if found := logistic(x[:, classes:], first, second):  # some class is told in no pair: the temperature alone
        return Line(np.zeros(classes), float(found[0][0]), np.zeros(0), float(found[1][0]))
    return None


def logistic(x: Array, having: Array, without: Array) -> tuple[Array, Array] | None:
    """Coefficients and errors (p,) of a logistic regression without an intercept of cells x (cells, p); None where
    people do not determine them."""
    n, beta = having + without, np.zeros(x.shape[1])
    for _ in range(100):
        p = special.expit(x @ beta)
        bend = x.T @ ((n * p * (1 - p))[:, None] * x)
        if np.linalg.matrix_rank(bend, tol=1e-9 * n.sum()) < len(beta):
            return None
        step = np.linalg.solve(bend, x.T @ (having - n * p))
        beta = beta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(beta).max() > FAR:
            return None
        if np.abs(step).max() < 1e-12:
            return beta, np.sqrt(np.diag(np.linalg.inv(bend)))
    return None


def _moved(line: Line | None) -> list[Record]:
    """The slope, and the temperature where it is above 0 with its limits."""
    if line is None:
        return [told("calibration slope", None)]
    slope = told("calibration slope", line.slope, line.slope_se)
    if slope["conf_low"] <= 0:
        return [slope]
    limits = 1 / slope["conf_high"], 1 / slope["conf_low"]
    return [slope, told("temperature", 1 / line.slope, line.slope_se / line.slope**2, *limits)]


def _intercepts(line: Line | None, classes: tuple[str, ...]) -> list[Record]:
    """What is added to the score of each class but the first, which has 0."""
    if line is None or not line.intercepts_se.size:
        return []
    rows = zip(classes, line.intercepts.tolist(), line.intercepts_se.tolist(), strict=True)
    found = [(name, told("", a, se)) for name, a, se in rows][1:]
    return [{"class": name} | {k: v for k, v in row.items() if k != "metric"} for name, row in found]


# How good the model is ------------------------------------------------------------------------------------------


def _share(cases: float, n: float) -> tuple[float | None, None, float | None, float | None]:
    found = share(cases, n)
    return found.estimate, None, found.conf_low, found.conf_high


def calibration(cells: list[Cell], most: int) -> list[Record]:
    """Of people with one of their two likeliest classes, by groups of the gap: how probable the first was among these
    two, and how often it is theirs."""
    both, low, high = (np.array(v) for v in zip(*((c.first + c.second, c.low, c.high) for c in cells), strict=True))
    gap = mean_gaps(both, low, high)
    place = np.argsort(gap, kind="stable")
    order, people, gap = [cells[i] for i in place], both[place], gap[place]
    records: list[Record] = []
    for g, group in enumerate(np.split(np.arange(len(order)), even(people, most)[1:]), 1):
        mine = [order[i] for i in group]
        n, events = float(people[group].sum()), sum(c.first for c in mine)
        limits = share(events, n)
        records.append({
            "subgroup": "", "level": "", "group": g, "n": round(n), "events": round(events),
            "risk_from": float(special.expit(min(c.low for c in mine))),
            "risk_to": float(special.expit(max(c.high for c in mine))),
            "predicted": float(people[group] @ special.expit(gap[group])) / n,
            "observed": limits.estimate, "conf_low": limits.conf_low, "conf_high": limits.conf_high,
        })  # fmt: skip
    return records
