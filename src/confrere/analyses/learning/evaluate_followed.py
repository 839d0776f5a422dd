"""How good predicted risks of an event by a horizon are, over all hospitals at once, people being censored.

First the hospitals agree on cells of risk, each with nobody or at least k people of each kind: with the event by the
horizon, with another cause, censored before it, followed beyond it. Of these cells bins are made, and in every bin
events and censorings are counted by time, as for curves. All numbers are functions of that one table
(`evaluate_censored`); subgroups are parts of it, so that no two tables differ by a few people. Sums of powers of the
risk by bin and kind give the Brier score, for which risk and time are taken to be unrelated within a bin and kind.

Observed risks are 1 - Kaplan-Meier, or Aalen-Johansen's where causes compete, with log-log limits. Observed over
expected is told on the log scale, the expected risk being taken as known. The calibration slope is of the risks
themselves (`evaluate_line`). Net benefit at a horizon: Vickers et al., BMC Med Inform Decis Mak 2008;8:53.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.curves import Cellwise, cellwise, own_edges, suppressed
from confrere.analyses.finding import Finding, Record, attrition
from confrere.analyses.follow_up import Table
from confrere.analyses.kaplan_meier import grid_note
from confrere.analyses.ladder import cell_of, check_on_grid, ladder
from confrere.analyses.learning import evaluate_risk
from confrere.analyses.learning.coarse import Shares, cautions_of, shares
from confrere.analyses.learning.drift import YURDAKUL, Inputs, drifted
from confrere.analyses.learning.evaluate import TRIPOD, Evaluate
from confrere.analyses.learning.evaluate_binary import VICKERS, Edges, Shown, few, named, of_model, ratio, told, told_of
from confrere.analyses.learning.evaluate_censored import (
    BLANCHE,
    GRAF,
    UNO,
    WOLBERS,
    Leaving,
    Powers,
    auc_at,
    beyond,
    brier,
    brier_at,
    concordance,
    integrated,
)  # fmt: skip
from confrere.analyses.learning.evaluate_line import GELOVEN, HOLT, Left, Line, Lines, facts_of, lines_of, spent
from confrere.analyses.learning.evaluate_risk import (
    EXACT,
    ONE_CELL,
    Cut,
    Predicted,
    Rough,
    between,
    cut_of,
    even,
    in_order,
    level_names,
    levelled,
    predicted,
    rough,
    stacked,
)
from confrere.analyses.learning.evaluate_thresholds import Bins, confusion, decision, finite, observed, roc, said
from confrere.analyses.learning.vague import Crowd, sure
from confrere.errors import ModelError
from confrere.rounds import Array, Cells, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import Ground

BINS, FINE_BINS = 20, 40  # of risk, at most; with exact times
CELLS = 12  # of time, that a bin is worth


class Sizes(NamedTuple):
    """People by kind of leaving and level of the subgroups, or all of them."""

    people: Sum  # (kinds, levels)


class Counted(NamedTuple):
    """People by kind of leaving, subgroup and cell of risk."""

    people: Sum  # (subgroups * kinds, cells)


class Exits(NamedTuple):
    """People by kind of leaving, subgroup, bin of risk and cell of time; and sums over them by bin and kind alone."""

    times: Sum  # (kinds that leave * subgroups * bins, cells)
    people: Sum  # (kinds, subgroups * bins)
    powers: Sum  # (kinds, subgroups * bins, 5): powers of the risk; its complementary log-log


@register("_followed_risks")
@dataclass(frozen=True)
class FollowedRisks(Lines):
    """Counts of predicted risks of people who are followed."""

    of: Evaluate

    # inside each hospital

    def people(self, people: People) -> Design:
        """Who has a time, a risk and a level; kinds of leaving by level."""
        made = predicted(self.of, people)
        many = len(self.of.subgroups)
        code = made.data.level
        cells = {"subgroups": Cells(self._kind(made.data) * many + code, (len(self.kinds), many), rule="suppress")}
        return replace(made, cells={**made.cells, **cells})

    def cells(self, people: People, edges: Edges, shown: Shown) -> Design:
        """Everybody's risk on the ladder, by kind of leaving and subgroup."""
        made, size = self.people(people), len(edges) + 1
        at = self._kind(made.data) * size + np.searchsorted(edges, made.data.logit, side="right")
        shape, row = (len(self.kinds), size), self.of.row(made.data.level, shown)
        return replace(made, cells=levelled(self.of, at, shape, edges, row))

    def table(self, people: People, cuts: tuple[Edges, ...], edges: Edges, shown: Shown, within: Rough) -> Design:
        """Kinds of leaving on the ladder of times, by subgroup and bin of risk; learned risks `within` cells."""
        made, first = self.people(people), np.cumsum([0, *(len(c) + 1 for c in cuts)])
        data: Predicted = made.data
        row, many = self.of.row(data.level, shown), int(first[-1])
        group = np.array([np.searchsorted(c, data.logit, side="right") for c in cuts])[row, np.arange(made.n)]
        group = group + first[row]
        kind, size = self._kind(data), (many, len(edges) + 1)
        ground, time = self.ground, np.zeros(made.n) if data.time is None else data.time
        if ground.fine:
            check_on_grid(time[time <= edges[-1]], ground)
        cells = {"kinds": Cells(kind * many + group, (len(self.kinds), many))}
        rule: dict[str, Any] = {"rule": "fine", "needs": "fine_times"} if ground.fine else {"rule": "merge"}
        marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges, ground.marks)))
        for i, name in enumerate(self.kinds[:-1]):
            index = np.where(kind == i, group * size[1] + cell_of(time, edges), -1)
            cells[name] = Cells(index, size, family="time", days=ground.days, marks=marks, **rule)
        return replace(made, cells=cells, data=rough(data, within))

    @local(on="people")
    def sizes(self, people: People) -> Sizes:
        """People by kind of leaving and subgroup."""
        return Sizes(people.cells("subgroups"))

    @local(on="cells")
    def counted(self, people: People) -> Counted:
        """People by kind of leaving, subgroup and cell of risk."""
        return Counted(stacked([people.cells(name) for name in level_names(self.of)]))

    @local(on="table")
    def exits(self, people: People) -> Exits:
        """People by kind of leaving, subgroup, bin of risk and time; sums of powers of their risks."""
        risk = people.design.data.risk
        values = np.column_stack([risk, risk**2, risk**3, risk**4, np.log(-np.log1p(-risk))])
        times = stacked([people.cells(name) for name in self.kinds[:-1]])
        return Exits(times, people.cells("kinds"), people.cells("kinds", values))

    def _kind(self, data: Predicted) -> Ints:
        """How each person (n,) leaves by the horizon: an index into `kinds`."""
        time = np.zeros(len(data.outcome)) if data.time is None else data.time
        censored = len(self.kinds) - 2
        kind = np.where(data.outcome == 1, 0, np.where(data.outcome == 2, 1, censored))
        return np.where(time > self.of.horizon, censored + 1, kind)

    # public

    @property
    def kinds(self) -> tuple[str, ...]:
        """How people leave; the last are followed beyond the horizon."""
        return ("event", *(("other",) if self.of.competes else ()), "censored", "beyond")

    @property
    def ground(self) -> Ground:
        """The ground, on whose ladder of times are the horizon and the grid."""
        return self.of.ground.marked(self.of.horizon, *self.of.grid)

    # sums only

    def flow(self) -> Flow[tuple[Verdict, list[Bins], list[Line | None], Array, Shown]]:
        """Subgroups, cells and bins of risk, the table, then lines. Gives everybody, the subgroups, the edges between
        cells of the first in logits, and which levels are told."""
        first = yield from support(self.people)
        sizes = yield from ask(self.sizes)
        shown = self._shown(sizes.people.value, first.grids["subgroups"])
        rows = len(self.kinds) * self.of.rows
        edges = evaluate_risk.ladder(first.budget, rows, self.of.thresholds)
        verdict = yield from support(self.cells, edges, shown)
        counted = yield from ask(self.counted)
        counts = counted.people.value.reshape(self.of.rows, len(self.kinds), -1).sum(axis=1)
        cut = self._cuts(first, verdict, counts, np.array(edges))
        cuts, own = tuple(tuple(c.cuts.tolist()) for c in cut), cut[0].cells
        within = Rough.of(own, counts.sum(axis=0)[: own.size + 1]) if self.of.learnt else EXACT
        most = max(6, first.budget // (4 * (len(self.kinds) - 1) * sum(len(c) + 1 for c in cuts)))
        times = tuple(e for e in ladder(self.ground, self.of.horizon, most) if e <= self.of.horizon * (1 + 1e-12))
        final = yield from support(self.table, cuts, times, shown, within)
        got = yield from ask(self.exits)
        parts = list(self._bins(got, final, np.array(times), shown, cut))
        level = np.repeat(np.arange(self.of.rows), [len(c.cuts) + 1 for c in cut])
        whom = [level >= 0, *(level == j for j in shown if self.of.columns)]
        room = first.budget - spent(self.of, (first, verdict, final), got.powers.value.size)
        left = Left(np.array(times), got.times.value, {name: final.grids[name] for name in self.kinds[:-1]})
        lines = yield from lines_of(self, [(p.leaving, p.scores) for p in parts], whom, left, room)
        return first, parts, lines, own, shown

    def _shown(self, people: Array, told: Ints) -> Shown:
        """Levels that are told: with enough people of every kind that anybody is of."""
        by_kind = people.sum(axis=1)
        if not by_kind[0]:
            raise ModelError(
                f"nobody has the event by {self.of.horizon:g}: check {self.of.outcome!r}, or choose a later time"
            )
        if not self.of.columns:
            return (0,)
        some = by_kind > 0
        return tuple(j for j in range(len(self.of.subgroups)) if (told[some, j] >= 0).all() and people[0, j] > 0)

    def _cuts(self, first: Verdict, verdict: Verdict, counts: Array, edges: Array) -> list[Cut]:
        """How risks are cut in each level, of people (levels, cells): levels of the same cells have the same bins."""
        grids = [verdict.grids[name] for name in level_names(self.of)]
        if any((row < 0).any() for grid in grids for row in grid):
            raise ModelError(
                f"few people are censored, or have another cause, by {self.of.horizon:g}, or are followed beyond it: "
                f"choose an earlier or a later time"
            )
        many = len(self.kinds) * self.of.rows * CELLS
        most = max(2, FINE_BINS if self.ground.fine else min(BINS, first.budget // (4 * many)))
        people = counts if self.of.apart else [counts.sum(axis=0)] * len(counts)
        cut = [cut_of(n, grid[0], edges, most, self.of.thresholds) for n, grid in zip(people, grids, strict=True)]
        if not any(c.cells.size for c in cut):
            raise ModelError(ONE_CELL)
        return cut

    def _bins(self, got: Exits, final: Verdict, times: Array, shown: Shown, cut: list[Cut]) -> Iterator[Bins]:
        """Everybody, and then each subgroup that is told."""
        groups, kinds = got.people.value.shape[1], self.kinds[:-1]
        counts = dict(zip(kinds, np.split(got.times.value, len(kinds)), strict=True))
        maps = {name: final.grids[name] for name in kinds}
        counts["censored"], maps["censored"] = beyond(counts["censored"], maps["censored"], got.people.value[-1])
        names = {"event": "cause 1", "other": "cause 2", "censored": "censored"}
        table = Table(
            tuple(str(g) for g in range(groups)), (), tuple(names[k] for k in kinds),
            {names[k]: v for k, v in counts.items()}, {names[k]: v for k, v in maps.items()}, times, final,
        )  # fmt: skip
        if any(suppressed(table, g) for g in range(groups)):
            raise ModelError("too few people for the times: ask more hospitals, or choose another time")
        edges = np.unique(np.concatenate([own_edges(table, g) for g in range(groups)]))
        cells = [c for g in range(groups) if (c := cellwise(table, g, self.ground.fine, edges)) is not None]
        level = np.repeat(np.arange(self.of.rows), [len(c.cuts) + 1 for c in cut])
        own = np.concatenate([np.arange(len(c.cuts) + 1) for c in cut])
        wide, spans = np.concatenate([c.wide for c in cut]), np.hstack([c.spans for c in cut])

        def of(place: Ints) -> Shares:
            some = place >= 0
            people = got.people.value[:, some]
            return shares(people[1:].sum(axis=0), people[0], wide[some], spans[:, some])

        place, cuts = own, cut[0].cuts
        if self.of.apart:
            place, means = in_order(got.people.value.sum(axis=0), got.powers.value[:, :, 0].sum(axis=0))
            cuts = between(means, spans[:, place >= 0], self.of.thresholds)
        yield _of(("", ""), cells, place, got, cuts, of(place))
        for j in shown if self.of.columns else ():
            mine = np.where(level == j, own, -1)
            yield _of((self.of.columns[0], self.of.subgroups[j]), cells, mine, got, cut[j].cuts, of(mine))


def _of(named: tuple[str, str], cells: list[Cellwise], place: Ints, got: Exits, cuts: Array, fine: Shares) -> Bins:
    """The people of the groups with a `place` (groups,) among the bins between `cuts`; -1 for the others."""
    some = np.flatnonzero(place >= 0)

    def summed(each: Array) -> Array:
        out = np.zeros((len(cuts) + 1, *each.shape[1:]))
        np.add.at(out, place[some], each[some])
        return out

    events = np.array([c.events for c in cells])  # (groups, causes, M)
    event = summed(events[:, 0])
    other = summed(events[:, 1]) if events.shape[1] > 1 else np.zeros_like(event)
    leaving = Leaving(cells[0].right, event, other, summed(np.array([c.censored for c in cells])), cells[0].exact)
    powers = np.array([summed(kind) for kind in got.powers.value])  # (kinds, B, ...)
    people = np.array([summed(kind) for kind in got.people.value])
    n = people.sum(axis=0)
    scores = np.divide(powers[:, :, -1].sum(axis=0), n, out=np.zeros(len(n)), where=n > 0)
    scores = np.where(n > 0, scores, (scores @ n) / n.sum())
    mean = np.divide(powers[:, :, :-1], people[:, :, None], out=np.zeros_like(powers[:, :, :-1]),
                     where=people[:, :, None] > 0)  # fmt: skip
    kinds = [mean[0], mean[1] if len(mean) == 4 else np.zeros_like(mean[0]), mean[-2]]
    return Bins(*named, leaving, cells[0].left, np.array(kinds), mean[-1], scores, n, cuts, fine)


# The finding --------------------------------------------------------------------------------------------------


def evaluated(evaluate: Evaluate) -> Flow[Finding]:
    """One table; everything else is a function of it."""
    verdict, parts, lines, own, shown = yield from FollowedRisks(evaluate).flow()
    inputs = yield from Inputs(evaluate).flow(shown, own)
    whole, t = parts[0], evaluate.horizon
    if not whole.leaving.censored[:, -1].any():
        raise ModelError(f"nobody is followed beyond {t:g}: choose an earlier time")
    told = {
        "metrics": [r for part, line in zip(parts, lines, strict=True) for r in metrics(evaluate, part, line)],
        "horizons": [r for part in parts for r in horizons(evaluate, part)] if evaluate.grid else [],
        "subgroups": [said(p) | _sizes(p) for p in parts],
        "calibration": [r for part in parts for r in calibration(part, t, evaluate.bins)],
        "roc": [r for part in parts for r in roc(part, t)],
        "decision": [r for part in parts for r in decision(part, t)],
        "confusion": [r for part in parts for at in evaluate.thresholds for r in confusion(part, t, at)],
        "attrition": attrition(verdict),
    }  # fmt: skip
    known = sure(told, (Crowd(p.subgroup, p.level, p.counts, p.cuts, _mean_risk(p)) for p in parts if evaluate.learnt))
    counted = {p.level: p.counts for p in parts[1:]} if evaluate.over else {}
    moved = drifted(evaluate, counted, inputs, known.tables["metrics"])
    tables = {"metrics": known.tables["metrics"], "drift": moved.rows, **known.tables}
    n, events = round(float(whole.counts.sum())), _sizes(whole)["events"]
    gray = (BLANCHE, WOLBERS) if evaluate.competes else (UNO, BLANCHE)
    return Finding(
        "evaluate", n, verdict.hospitals, {name: rows for name, rows in tables.items() if rows}, events,
        {"horizon": t, "bins_of_risk": len(whole.counts)} | facts_of(None if known.vague else lines[0])
        | of_model(evaluate),
        notes=(grid_note(evaluate.ground),), warnings=(
            *few(events, followed=True), *cautions_of({named(p): p.shares for p in parts}), *known.cautions,
            *moved.cautions,
        ),
        cite=(TRIPOD, *gray, GRAF, GELOVEN, HOLT, VICKERS, *((YURDAKUL,) if moved.rows else ())),
    )  # fmt: skip


def _sizes(part: Bins) -> Record:
    return {"n": round(float(part.counts.sum())), "events": round(float(part.leaving.event.sum()))}


def metrics(evaluate: Evaluate, part: Bins, line: Line | None) -> list[Record]:
    """How good the risks of a part are."""
    t, people = evaluate.horizon, part.leaving
    seen, score, expected = observed(part, t), brier(people, _powers(part), t), _mean_risk(part)
    fine = part.shares
    rows = [*told_of("AUC", auc_at(people, t), fine), *told_of("Brier score", score)]
    if 0 < seen.estimate < 1:
        rows.append(told("scaled Brier score", 1 - score.estimate / (seen.estimate * (1 - seen.estimate))))
    rows += [
        told("observed risk", seen.estimate, *finite(seen.std_error, seen.low, seen.high)),
        told("mean predicted risk", expected),
    ]  # fmt: skip
    if seen.estimate > 0 and np.isfinite(seen.std_error):
        rows.append(ratio("observed/expected", seen.estimate / expected, seen.std_error / seen.estimate))
    if not evaluate.competes:
        rows += told_of("Harrell's concordance", concordance(people, weighted=False), fine)
    name = "Wolbers's concordance" if evaluate.competes else "Uno's concordance"
    rows += told_of(name, concordance(people, weighted=True), fine)
    rows += told_of("calibration slope", line and line.slope)
    if evaluate.grid:
        when = np.array([*evaluate.grid, t])
        rows += told_of("integrated Brier score", integrated(people, risks_at(evaluate, part, when), when))
    return [said(part) | {"time": t} | r for r in rows]


def risks_at(evaluate: Evaluate, part: Bins, times: Array) -> Array:
    """The risk of each bin by each of some times (T, B), from its mean complementary log-log at the horizon."""
    survival = np.interp(times, [*evaluate.grid, evaluate.horizon], [*evaluate.survival, evaluate.baseline or 0.5])
    share = np.log(survival) / np.log(survival[-1])  # of the cumulative hazard at the horizon
    return np.asarray(-np.expm1(-np.exp(part.scores)[None, :] * share[:, None]))


def horizons(evaluate: Evaluate, part: Bins) -> list[Record]:
    """Area and Brier score at each time of the grid, and at the horizon; `edge` is where the cell of time ends."""
    when, people, rows = np.array([*evaluate.grid, evaluate.horizon]), part.leaving, list[Record]()
    for t, risks in zip(when.tolist(), risks_at(evaluate, part, when), strict=True):
        at = people.until(t)
        edge = float(people.right[at - 1]) if at else 0.0
        score = brier_at(people, risks, t) if t < evaluate.horizon else brier(people, _powers(part), t)
        found = [*told_of("AUC", auc_at(people, t), part.shares), *told_of("Brier score", score)]
        rows += [said(part) | {"time": t, "edge": edge} | r for r in found]
    return rows


def _powers(part: Bins) -> Powers:
    """Powers of the risks, by cell of time."""
    people = part.leaving
    event, other, censored = part.powers
    late = people.censored.copy()
    late[:, :-1] = 0.0
    before = people.censored - late
    return Powers(people.event.T @ event, people.other.T @ other, before.T @ censored + late.T @ part.beyond)


def _risks(part: Bins) -> Array:
    """Sums of the risks, by bin (B,)."""
    people = part.leaving
    n = [people.event.sum(axis=1), people.other.sum(axis=1), people.censored[:, :-1].sum(axis=1)]
    return np.asarray(sum(m * p for m, p in zip(n, part.powers[:, :, 0], strict=True))
                      + people.censored[:, -1] * part.beyond[:, 0])  # fmt: skip


def _mean_risk(part: Bins) -> float:
    return float(_risks(part).sum() / part.counts.sum())


def calibration(part: Bins, time: float, most: int) -> list[Record]:
    """Runs of bins with about as many people: the mean risk by the horizon, and the observed one with its limits."""
    starts = even(part.counts, most)
    ends, edges = [*starts[1:].tolist(), len(part.counts)], special.expit(part.cuts)
    risks, records = _risks(part), list[Record]()
    for g, (low, high) in enumerate(zip(starts.tolist(), ends, strict=True)):
        n = float(part.counts[low:high].sum())
        if n:
            seen = observed(part, time, slice(low, high))
            near, far = finite(seen.low, seen.high)
            records.append(said(part) | {
                "time": time, "group": g + 1, "n": round(n),
                "risk_from": 0.0 if low == 0 else float(edges[low - 1]),
                "risk_to": 1.0 if high == len(part.counts) else float(edges[high - 1]),
                "predicted": float(risks[low:high].sum()) / n, "observed": seen.estimate, "conf_low": near,
                "conf_high": far,
            })  # fmt: skip
    return records
