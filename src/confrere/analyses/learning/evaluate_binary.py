"""How good predicted risks of an outcome of 0 or 1 are, over all hospitals at once.

Area under the ROC curve with DeLong's variance, ROC, decision and calibration curves and confusion are of the merged
cells of the ladder of risks (`evaluate_risk`), exact on them. Brier score, log loss and the expected share are plain
sums of what each person adds. The calibration intercept (slope 1) and slope are logistic regressions on the logit of
the risk, the maximum of the pooled likelihood (Cox, Biometrika 1958;45:562; Miller, Stat Med 1991;10:1213).

Net benefit at a threshold t is TP/n - FP/n t/(1 - t) (Vickers & Elkin, Med Decis Making 2006;26:565), a mean over
people, and its variance that of a mean. Observed over expected is told on the log scale, the expected share being
taken as known. Each subgroup has cells of its own, with nobody or enough people of either outcome, which together part
the people, so that no difference of two is about a few; levels with too few people are one group of others, of which
nothing is told. Everybody is the sum: of cells of several subgroups each counts with its mean risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition
from confrere.analyses.glm import Glm
from confrere.analyses.learning.coarse import ALL, Shares, cautions_of, shares
from confrere.analyses.learning.drift import YURDAKUL, Inputs, drifted
from confrere.analyses.learning.evaluate import TRIPOD, Evaluate
from confrere.analyses.learning.evaluate_risk import (
    EXACT,
    ONE_CELL,
    Predicted,
    Rough,
    between,
    even,
    in_order,
    ladder,
    level_names,
    levelled,
    merged,
    predicted,
    rough,
    stacked,
    starts_of,
)
from confrere.analyses.learning.scored import DELONG, Z, auc
from confrere.analyses.learning.vague import Crowd, sure
from confrere.analyses.rates import WILSON, share
from confrere.errors import ModelError
from confrere.rounds import (
    Array,
    Bools,
    Cells,
    Design,
    Flow,
    People,
    Sum,
    Verdict,
    ask,
    local,
    register,
    support,
)  # fmt: skip

VICKERS = Citation("Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating prediction models. "
                   "Med Decis Making 2006;26:565-574", "10.1177/0272989X06295361")  # fmt: skip
MILLER = Citation("Miller ME, Hui SL, Tierney WM. Validation techniques for logistic regression models. Stat Med "
                  "1991;10:1213-1226", "10.1002/sim.4780100805")  # fmt: skip
OUTCOME, LOGIT, LEVEL = "observed", "logit", "level"  # columns that are computed, not read

Edges = tuple[float, ...]
Shown = tuple[int, ...]  # the levels of subgroups that are told


class Sizes(NamedTuple):
    """People by outcome and level of the subgroups, or all of them."""

    people: Sum  # (2, levels)


class Counted(NamedTuple):
    """People by outcome, subgroup and cell of risk."""

    people: Sum  # (subgroups * 2, cells)


class Measured(NamedTuple):
    """People and their risks by outcome, subgroup and cell of risk; sums of losses and of their squares."""

    people: Sum  # (subgroups * 2, cells)
    risks: Sum  # (subgroups * 2, cells)
    losses: Sum  # (subgroups, 2 losses * 2 powers)


class Part(NamedTuple):
    """Everybody, or a subgroup: counts and risks (2, cells) by outcome, edges between the cells, losses (2, 2), how
    coarse the cells are."""

    subgroup: str
    level: str
    people: Array
    risks: Array
    edges: Array
    losses: Array
    shares: Shares


@register("_risks")
@dataclass(frozen=True)
class Risks:
    """Counts and sums of predicted risks of a binary outcome."""

    of: Evaluate

    # inside each hospital

    def people(self, people: People) -> Design:
        """Who has an outcome, a risk and a level; levels by outcome."""
        made, many = predicted(self.of, people), len(self.of.subgroups)
        cells = Cells(made.data.outcome * many + made.data.level, (2, many), rule="suppress")
        return replace(made, cells={**made.cells, "subgroups": cells})

    def cells(self, people: People, edges: Edges, shown: Shown) -> Design:
        """Everybody's risk on the ladder, by outcome and subgroup."""
        made, size = self.people(people), len(edges) + 1
        at = made.data.outcome * size + np.searchsorted(edges, made.data.logit, side="right")
        row = self.of.row(made.data.level, shown)
        return replace(made, cells=levelled(self.of, at, (2, size), edges, row))

    @local(on="people")
    def sizes(self, people: People) -> Sizes:
        """People by outcome and subgroup."""
        return Sizes(people.cells("subgroups"))

    @local(on="cells")
    def counted(self, people: People) -> Counted:
        """People by outcome, subgroup and cell of risk."""
        return Counted(stacked([people.cells(name) for name in level_names(self.of)]))

    @local(on="cells")
    def measured(self, people: People, shown: Shown, within: Rough) -> Measured:
        """People, their risks and losses, by subgroup and cell of risk; of a learned model risks `within` cells."""
        data = rough(people.design.data, within)
        row = self.of.row(data.level, shown)
        losses = np.array([np.bincount(row, power, minlength=self.of.rows) for power in _powers(data).T], dtype=float).T
        risks = stacked([people.cells(name, data.risk) for name in level_names(self.of)])
        follows = bool(within.edges)  # from the counts: everybody of a cell has one risk
        return Measured(
            stacked([people.cells(name) for name in level_names(self.of)]),
            replace(risks, known=follows),
            replace(people.derived(losses, dims=("subgroups", "losses")), known=follows),
        )

    # sums only

    def flow(self) -> Flow[tuple[Verdict, list[Part], Shown, Rough]]:
        """Everybody, then the subgroups that are told, which these are, and the cells of a learned model's risks."""
        first = yield from support(self.people)
        sizes = yield from ask(self.sizes)
        told, count = first.grids["subgroups"] >= 0, sizes.people.value
        if not count.any(axis=1).all():
            which = "the outcome" if count[1].any() else "no outcome"
            raise ModelError(f"everybody has {which}: there is nobody to tell apart. Check {self.of.outcome!r}")
        shown = tuple(j for j in range(count.shape[1]) if told[:, j].all() and count[:, j].all())
        edges = ladder(first.budget // self.of.shares, 2 * self.of.rows, self.of.thresholds)
        verdict = yield from support(self.cells, edges, shown)
        grids = [next(row for row in verdict.grids[name] if (row >= 0).all()) for name in level_names(self.of)]
        own = [np.array(edges)[starts_of(grid)[1:] - 1] for grid in grids]
        if not any(each.size for each in own):
            raise ModelError(ONE_CELL)
        within = EXACT
        if self.of.learnt:
            counted = yield from ask(self.counted)
            within = Rough.of(own[0], counted.people.value[:, : own[0].size + 1].sum(axis=0))
        got = yield from ask(self.measured, shown, within)
        named = [(self.of.columns[0], level) for level in (*self.of.subgroups, "")] if self.of.parted else [("", "")]
        sums = (s.value.reshape(self.of.rows, 2, -1) for s in (got.people, got.risks))
        wide = [merged(edges, grid) for grid in grids]
        parts = [
            Part(*by[:2], people, risks, e, losses.reshape(2, 2), shares(people[0], people[1], rough))
            for by, each, e, losses, rough in zip(
                named, zip(*sums, strict=True), own, got.losses.value, wide, strict=True
            )
            for people, risks in [(s[:, : e.size + 1] for s in each)]
        ]
        levels = [parts[j] for j in shown] if self.of.parted else []
        return first, [everybody(parts, wide, self.of.thresholds), *levels], shown, within


def everybody(parts: Sequence[Part], wide: Sequence[Bools], thresholds: Sequence[float]) -> Part:
    """All levels together: on their common cells or, where each has its own, on all of them by their mean risks.

    `wide` says of each level which cells hold risks that differ (cells,)."""
    losses, both = np.sum([p.losses for p in parts], axis=0), ([p.people for p in parts], [p.risks for p in parts])
    if all(np.array_equal(p.edges, parts[0].edges) for p in parts):
        people, risks = (np.sum(each, axis=0) for each in both)
        return Part("", "", people, risks, parts[0].edges, losses, shares(people[0], people[1], wide[0]))
    people, risks = map(np.hstack, both)
    place, means = in_order(people.sum(axis=0), risks.sum(axis=0))
    some = place >= 0
    spans = np.hstack([[[-np.inf, *p.edges], [*p.edges, np.inf]] for p in parts])[:, some]
    whole = [np.array([np.bincount(place[some], row[some], len(means)) for row in each]) for each in (people, risks)]
    of = shares(people[0][some], people[1][some], np.concatenate(wide)[some], spans)
    return Part("", "", whole[0], whole[1], between(means, spans, thresholds), losses, of)


def _powers(data: Predicted) -> Array:
    """Of each person the log loss, its square, the squared error and its square: (n, 4)."""
    p, y = data.risk, data.outcome
    log, square = -np.log(np.where(y == 1, p, 1 - p)), (y - p) ** 2
    return np.stack([log, log**2, square, square**2], axis=1)


# Recalibration ------------------------------------------------------------------------------------------------


@register("_recalibrated")
@dataclass(frozen=True)
class Recalibrated(Glm):
    """The logistic regression of the outcome on the logit of the risk: an intercept, and a slope unless it is 1.

    With `levels` of the subgroups, both for each of them.
    """

    of: Evaluate = Evaluate("_")
    levels: tuple[int, ...] = ()
    within: Rough = EXACT

    def design(self, people: People) -> Design:
        """The logit of the risk, and the outcome."""
        made = predicted(self.of, people)
        data = rough(made.data, self.within)
        values = {OUTCOME: data.outcome.astype(float), LOGIT: data.logit}
        for j in self.levels:
            mark = (data.level == j).astype(float)
            values |= {f"{LEVEL}{j}": mark, f"{LOGIT}{j}": mark * data.logit}
        table = people.table
        full = {name: np.full(len(table.frame), np.nan) for name in values}
        for name, value in values.items():
            full[name][made.rows] = value
        seen = replace(table, frame=table.frame.assign(**full))
        return replace(super().design(People(seen)), columns=made.columns)


def recalibrated(evaluate: Evaluate, sloped: bool, levels: Shown = (), within: Rough = EXACT) -> Recalibrated:
    """The model of intercepts and slopes, or of intercepts alone with slope 1."""
    marks = " + ".join(f"{LEVEL}{j}" + (f" + {LOGIT}{j}" if sloped else "") for j in levels)
    right = f"0 + {marks}" if levels else LOGIT if sloped else "1"
    formula = f"{OUTCOME} ~ {right}" + ("" if sloped else f" + offset({LOGIT})")
    ground = replace(evaluate.ground, complete=())
    return Recalibrated(formula, "binomial", "logit", ground=ground, of=evaluate, levels=levels, within=within)


class Straight(NamedTuple):
    """Records of the calibration in the large and of the intercept and the slope; None where there is no estimate."""

    large: Record | None
    intercept: Record | None
    slope: Record | None


def straight(evaluate: Evaluate, levels: Shown = (), within: Rough = EXACT) -> Flow[list[Straight]]:
    """Calibration of everybody, or of each level. Where the people do not determine it, there is none."""
    found: list[Sequence[Record | None]] = []
    for sloped in (False, True):
        try:
            fit = yield from recalibrated(evaluate, sloped, levels, within).flow()
            found.append(fit.tables["coefficients"])
        except ModelError:
            found.append([None] * (1 + sloped) * max(1, len(levels)))
    large, both = found
    return [Straight(large[i], both[2 * i], both[2 * i + 1]) for i in range(max(1, len(levels)))]


# The finding --------------------------------------------------------------------------------------------------


def evaluated(evaluate: Evaluate) -> Flow[Finding]:
    """Everybody, then the subgroups."""
    verdict, both, shown, within = yield from Risks(evaluate).flow()
    whole = both[0]
    inputs = yield from Inputs(evaluate).flow(shown, whole.edges)
    lines = yield from straight(evaluate, within=within)
    if len(both) > 1:
        codes = tuple(evaluate.subgroups.index(part.level) for part in both[1:])
        lines += yield from straight(evaluate, codes, within)
    rows = [r for part, line in zip(both, lines, strict=True) for r in metrics(part, line)]
    told = {
        "metrics": rows,
        "subgroups": [_said(p) | {"n": round(p.people.sum()), "events": round(p.people[1].sum())} for p in both],
        "calibration": [r for part in both for r in calibration(part, evaluate.bins)],
        "roc": [r for part in both for r in roc(part)],
        "decision": [r for part in both for r in decision(part)],
        "confusion": [r for part in both for t in evaluate.thresholds for r in confusion(part, t)],
        "attrition": attrition(verdict),
    }
    known = sure(told, map(_crowd, both) if evaluate.learnt else ())
    counted = {p.level: p.people.sum(axis=0) for p in both[1:]} if evaluate.over else {}
    moved = drifted(evaluate, counted, inputs, known.tables["metrics"])
    tables = {"metrics": known.tables["metrics"], "drift": moved.rows, **known.tables}
    n, events = round(whole.people.sum()), round(whole.people[1].sum())
    first = Straight(None, None, None) if known.vague else lines[0]
    facts = {
        "prevalence": events / n, "cells_of_risk": whole.people.shape[1],
        "recalibration_intercept": first.intercept and first.intercept["estimate"],
        "recalibration_slope": first.slope and first.slope["estimate"],
    } | of_model(evaluate)  # fmt: skip
    return Finding(
        "evaluate", n, verdict.hospitals, {name: t for name, t in tables.items() if t}, events, facts,
        warnings=(
            *few(min(events, n - events)), *cautions_of({named(p): p.shares for p in both}), *known.cautions,
            *moved.cautions,
        ),
        cite=(TRIPOD, DELONG, MILLER, VICKERS, WILSON, *((YURDAKUL,) if moved.rows else ())),
    )  # fmt: skip


def _crowd(part: Part) -> Crowd:
    """The people of a part by cell of risk."""
    counts = part.people.sum(axis=0)
    return Crowd(part.subgroup, part.level, counts, part.edges, float(part.risks.sum() / counts.sum()))


def of_model(evaluate: Evaluate) -> dict[str, str]:
    """The fact that says which learned model was evaluated."""
    return {"evaluated_sha256": evaluate.opened.sha256} if evaluate.learnt else {}


def few(people: int, followed: bool = False) -> tuple[Caution, ...]:
    """Fewer than 100 people with the rarer outcome, or the event: Vergouwe et al., J Clin Epidemiol 2005;58:475."""
    if people >= 100:
        return ()
    text = (
        f"{people} people have the event: with fewer than 100 a validation is imprecise, calibration above all."
        if followed else
        f"{people} people have the rarer outcome: with fewer than 100 a validation is imprecise, calibration above all."
    )  # fmt: skip
    return (Caution("few-to-validate", text),)


def named(part: Any) -> str:
    """The words for the people of a part."""
    return f"{part.subgroup} {part.level}" if part.subgroup else "everybody"


def _said(part: Part) -> Record:
    return {"subgroup": part.subgroup, "level": part.level}


def told(metric: str, estimate: float | None, se: float | None = None, low: float | None = None,
         high: float | None = None) -> Record:  # fmt: skip
    """A record of the table `metrics`; limits by the standard error unless they are given."""
    if estimate is not None and se is not None and low is None:
        low, high = estimate - Z * se, estimate + Z * se
    return {"metric": metric, "estimate": estimate, "std_error": se, "conf_low": low, "conf_high": high}


def told_of(metric: str, found: tuple[float, ...] | None, of: Shares = ALL) -> list[Record]:
    """The record of an estimate, if there is one; without limits, or a number, where cells are too coarse for it."""
    if found is None:
        return []
    return [told(metric, *(found if of.sure else found[:1])) if of.fine else told(metric, None)]


def metrics(part: Part, line: Straight) -> list[Record]:
    """How good the risks of a part are."""
    n, events, expected = float(part.people.sum()), float(part.people[1].sum()), float(part.risks.sum())
    area, se = auc(part.people[0], part.people[1])
    (log, log_se), (brier, brier_se) = (_mean(total, square, n) for total, square in part.losses.tolist())
    observed = events / n
    ratio_se = float(np.sqrt((1 - observed) / events))
    rows = [
        *told_of("AUC", (area, se, max(0.0, area - Z * se), min(1.0, area + Z * se)), part.shares),
        told("Brier score", brier, brier_se), told("scaled Brier score", 1 - brier / (observed * (1 - observed))),
        told("log loss", log, log_se),
        told("observed share", *_plain(share(events, n))), told("mean predicted risk", expected / n),
        ratio("observed/expected", events / expected, ratio_se),
    ]  # fmt: skip
    for name, record in (("calibration in the large", line.large), ("calibration slope", line.slope)):
        if record is not None:
            rows.append({"metric": name} | {k: record[k] for k in ("estimate", "std_error", "conf_low", "conf_high")})
    return [_said(part) | r for r in rows]


def ratio(metric: str, estimate: float, log_se: float) -> Record:
    """A ratio, with limits on the log scale and a standard error of the ratio itself."""
    reach = np.exp(Z * log_se)
    return told(metric, estimate, estimate * log_se, float(estimate / reach), float(estimate * reach))


def _plain(limits: Any) -> tuple[float, None, float, float]:
    return limits.estimate, None, limits.conf_low, limits.conf_high


def _mean(total: float, square: float, n: float) -> tuple[float, float]:
    mean = float(total) / n
    return mean, float(np.sqrt(max(0.0, float(square) / n - mean**2) / n))


def calibration(part: Part, most: int) -> list[Record]:
    """Runs of cells with about as many people: the mean risk, and the observed share with Wilson's limits."""
    n = part.people.sum(axis=0)
    starts = even(n, most)
    people, risks = np.add.reduceat(part.people, starts, axis=1), np.add.reduceat(part.risks, starts, axis=1)
    edges = special.expit(part.edges[starts[1:] - 1])
    records = []
    for g, (without, having) in enumerate(people.T):
        total = float(without + having)
        if total:
            limits = share(float(having), total)
            records.append(_said(part) | {
                "group": g + 1, "n": round(total), "events": round(float(having)),
                "risk_from": 0.0 if g == 0 else float(edges[g - 1]),
                "risk_to": 1.0 if g == len(edges) else float(edges[g]),
                "predicted": float(risks[:, g].sum()) / total, "observed": limits.estimate,
                "conf_low": limits.conf_low, "conf_high": limits.conf_high,
            })  # fmt: skip
    return records


def _above(part: Part) -> tuple[Array, Array]:
    """People (2, edges + 2) with a risk at or above each threshold, the last being nobody; thresholds from 0 to 1."""
    above = np.cumsum(part.people[:, ::-1], axis=1)[:, ::-1]
    above = np.hstack([above, np.zeros((2, 1))])
    return above, np.concatenate([[0.0], special.expit(part.edges), [1.0]])


def roc(part: Part) -> list[Record]:
    """The ROC curve: of whose risk is at or above `threshold`; the first is nobody, the last everybody. None of cells
    that are too coarse for an area."""
    if not part.shares.fine:
        return []
    above, thresholds = _above(part)
    false, true = above / part.people.sum(axis=1, keepdims=True)
    return [
        _said(part) | {"threshold": float(t), "true_positive_rate": float(a), "false_positive_rate": float(b)}
        for t, a, b in zip(thresholds[::-1], true[::-1], false[::-1], strict=True)
    ]


def decision(part: Part) -> list[Record]:
    """Net benefit of treating whose risk is at or above the threshold, and of treating all; of treating none: 0."""
    above, thresholds = _above(part)
    n, events = float(part.people.sum()), float(part.people[1].sum())
    records = []
    for t, (false, true) in zip(thresholds[1:-1], above.T[1:-1], strict=True):
        odds = t / (1 - t)
        benefit = float(true - odds * false) / n
        se = float(np.sqrt(max(0.0, float(true + odds**2 * false) / n - benefit**2) / n))
        everybody = float(events - odds * (n - events)) / n
        records.append(_said(part) | {
            "threshold": float(t), "net_benefit": benefit, "std_error": se, "conf_low": benefit - Z * se,
            "conf_high": benefit + Z * se, "treat_all": everybody,
        })  # fmt: skip
    return records


def confusion(part: Part, threshold: float) -> list[Record]:
    """Sensitivity, specificity and predictive values with Wilson's limits, at the edge nearest to a threshold.

    `edge` is the threshold itself unless the hospitals had to merge the cells around it.
    """
    above, edges = _above(part)
    at = int(np.argmin(np.abs(special.logit(np.clip(edges, 1e-12, 1 - 1e-12)) - special.logit(threshold))))
    (false, true), (without, having) = above[:, at], part.people.sum(axis=1)
    kinds = {
        "sensitivity": (true, having), "specificity": (without - false, without),
        "positive predictive value": (true, true + false),
        "negative predictive value": (without - false, without + having - true - false),
    }  # fmt: skip
    edge = threshold if abs(edges[at] - threshold) < 1e-9 else float(edges[at])
    said = _said(part) | {"threshold": threshold, "edge": edge}
    return [
        said | {"measure": name, "of": round(float(whole)), "estimate": found.estimate, "conf_low": found.conf_low,
                "conf_high": found.conf_high}
        for name, (some, whole) in kinds.items()
        for found in [share(float(some), float(whole))]
    ]  # fmt: skip
