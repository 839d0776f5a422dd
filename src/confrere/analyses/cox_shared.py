"""Cox's regression with one baseline hazard for all hospitals, on the public grid of times.

With R(t) = S0 - f D0 as in `risksets`, three kinds of sums are enough (Efron's likelihood is separable):

1. per cell of time, the sums of r = w exp(x b) of those who leave with and without the event (and who enter): from
   them everybody computes S0, D0, the weights a_t and c_t, and the log-likelihood;
2. a and c being public then, the score and the q-weighted second moments: p and p x p numbers;
3. for the Hessian alone, S1 and D1: at the first point averaged over blocks of cells, in full once, at the last (as
   slopes of S0 and D0 they give these at the maximum too, a step of 1e-9 further).

Never (cells, p, p). A cell holds at least k events and k people without (or none), unless `fine_times` is approved.
Equals R survival::coxph on times rounded up to the cells. Sources: those of `cox`; basehaz by Efron's hazard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from confrere.analyses.baseline import baseline, baseline_records, shared_note
from confrere.analyses.causes import no_events
from confrere.analyses.cox import Beside, Beta, Cox, Meat, Tables, drifting, fitted, means_squared
from confrere.analyses.cox import Drift as FullDrift
from confrere.analyses.finding import Finding, Record
from confrere.analyses.ladder import cell_of, check_on_grid, horizon_of, ladder, span_cells
from confrere.analyses.newton import Curve, Objective, Peak, Slope, maximise
from confrere.analyses.ranks import Ranks
from confrere.analyses.risksets import RiskSets, Tied, tied
from confrere.analyses.scaling import Scales, Standard, indicators, scales, standard
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import Rows, model_of

Facts = dict[str, Any]
BLOCKS = 64  # blocks of cells over which S1 is averaged at the first point


class Began(NamedTuple):
    """Raw moments of the terms; events per cell, and their weights."""

    total: Sum  # () sum of weights
    first: Sum  # (p,)
    second: Sum  # (p,)
    events: Sum  # (strata, cells) people with the event
    weight: Sum  # (strata, cells) case weights of the events; (strata, 0) without case weights


class Risks(NamedTuple):
    """Sums of r per cell: of those who leave with the event, without it, and the others; and of w x b over events.

    The others are those who enter; for Fine and Gray those who leave by a competing event. (strata, 0) if none can.
    """

    dead: Sum  # (strata, cells)
    alive: Sum  # (strata, cells)
    other: Sum  # (strata, cells)
    linear: Sum  # ()


class Score(NamedTuple):
    """Score at given a and c."""

    score: Sum  # (p,)


class Second(NamedTuple):
    """Second moments weighted by q."""

    moments: Sum  # (p, p), symmetric


class Blocks(NamedTuple):
    """Sums of the means of x in the risk sets over blocks of cells."""

    means: Sum  # (blocks, p)


class Firsts(NamedTuple):
    """First moments of x weighted by r per cell."""

    dead: Sum  # (strata, cells, p)
    alive: Sum  # (strata, cells, p)
    other: Sum  # (strata, cells, p), (strata, 0) if none can be


class Weighted(NamedTuple):
    """Score and second moments with a and c times g and g^2."""

    score: Sum  # (p,)
    once: Sum  # (p, p), symmetric
    twice: Sum  # (p, p), symmetric


class Cell(NamedTuple):
    """One hospital's rows on the agreed grid."""

    rows: Rows
    weights: Array
    entered: bool


class Known(NamedTuple):
    """What everybody knows of the grid: events and their weights per cell, and what risk sets need beside it."""

    events: Array  # (strata, cells)
    weight: Array  # (strata, cells)
    firsts: dict[Beta, tuple[Array, Array]]  # S1 and D1 as they were asked last, by where
    more: tuple[Array, ...] = ()  # for Fine and Gray the curve of censoring, (S T,)


class Hazard(NamedTuple):
    """What the risks say, in the order of strata and cells, flat (S T,)."""

    ties: Tied
    loglik: float


class Summit(NamedTuple):
    """What is known at the maximum: of the risks (S T,), and S1 and D1 (S T, p)."""

    ties: Tied
    s1: Array
    d1: Array


@register("_cox_shared")
@dataclass(frozen=True)
class SharedBaseline:
    """The steps of a Cox model with a shared baseline."""

    cox: Cox
    kinds: ClassVar[tuple[str, ...]] = ("dead", "alive", "entered")

    # designs

    def span(self, people: People) -> Design:
        """Exits on a coarse ladder."""
        made = self._rows(people)
        cells = {"span": span_cells(made.data.time, self.cox.ground)}
        return replace(made, cells=cells, x=np.empty((made.n, 0)), names=(), data=None)

    def grid(self, people: People, edges: tuple[float, ...]) -> Design:
        """Raw terms, and exits and entries on the ladder, by stratum."""
        made = self._rows(people)
        rows: Rows = made.data
        ground, size = self.cox.ground, (self.strata, len(edges) + 1)
        if ground.fine:
            check_on_grid(made.data.time, ground)
        stratum: Any = 0 if rows.strata is None else rows.strata * size[1]
        exits = stratum + cell_of(made.data.time, edges)
        marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges, ground.marks)))
        kind: dict[str, Any] = (
            {"rule": "fine", "needs": "fine_times"} if ground.fine else {"rule": "align", "marks": marks}
        )
        cells = {
            name: Cells(
                np.where(who, exits if when is rows.time else stratum + cell_of(when, edges), -1),
                size, family="time", days=ground.days, **kind,
            )
            for name, who, when in zip(self.kinds, *self._who(made), strict=True)
            if name in self.used
        }  # fmt: skip
        weights = np.ones(made.n) if rows.weights is None else rows.weights
        return replace(made, cells={**made.cells, **cells}, data=Cell(rows, weights, rows.entry is not None))

    def _who(self, made: Design) -> tuple[list[Bools], list[Array]]:
        """Who is of each kind, and when: leaves with the event, leaves without it, enters."""
        rows, event = made.data, made.flags["event"]
        entry = np.zeros(made.n) if rows.entry is None else rows.entry
        return [event, ~event, entry > 0], [rows.time, rows.time, entry]

    def _rows(self, people: People) -> Design:
        return self.cox.rows(people)

    @property
    def strata(self) -> int:
        """How many strata the study declares."""
        return max(1, len(model_of(self.cox.formula, self.cox.ground).strata_levels))

    @property
    def used(self) -> tuple[str, ...]:
        """The kinds that can have people: nobody enters late where the outcome names no entry."""
        return self.kinds if self._late or "entered" not in self.kinds else self.kinds[:2]

    @property
    def per_cell(self) -> int:
        """Numbers per cell: a climb asks some 14 times for 2 of them, and for first moments at its ends."""
        return self.strata * len(self.used) * (16 + 3 * len(self.cox.names))

    @property
    def _late(self) -> bool:
        """Whether people enter late: concordance with entries is not offered."""
        outcome = model_of(self.cox.formula, self.cox.ground).outcome
        return outcome is not None and outcome.entry is not None

    # steps

    @local(on="grid")
    def began(self, people: People) -> Began:
        """Raw moments and events per cell."""
        d = people.design
        weight = people.cells("dead", d.data.weights) if self.cox.weights else self._nothing(people)
        return Began(*scales(people), people.cells("dead"), weight)

    @local(on="grid", repeats=110)
    def risks(self, people: People, beta: Beta, z: Standard) -> Risks:
        """Sums of r per cell."""
        eta, r, w = _weights(people, beta, z)
        dead = self._dead(people)
        linear = w[dead] @ eta[dead]
        dead_r, alive_r, other_r = (self._cells(people, kind, r) for kind in self.kinds)
        return Risks(dead_r, alive_r, other_r, people.derived(linear, w))

    @local(on="grid", repeats=110)
    def score(self, people: People, beta: Beta, z: Standard, a: Array, c: Array, *more: Array) -> Score:
        """Score with public a and c (S T,)."""
        _, r, w = _weights(people, beta, z)
        residual = w * self._dead(people) - r * self._sets(people, *more).exposed(a, c)
        return Score(people.derived(z.sums(people.design.data.rows.x, residual)))

    @local(on="grid", repeats=3)
    def second(self, people: People, beta: Beta, z: Standard, a: Array, c: Array, *more: Array) -> Second:
        """Second moments weighted by q."""
        _, r, w = _weights(people, beta, z)
        q = r * self._sets(people, *more).exposed(a, c)
        return Second(people.derived(z.products(people.design.data.rows.x, q), w, symmetric=True))

    @local(on="grid")
    def blocks(self, people: People, beta: Beta, z: Standard, a: Array, c: Array, *more: Array) -> Blocks:
        """a S1 - c D1 of this hospital, summed over blocks of cells."""
        _, r, w = _weights(people, beta, z)
        s1, d1 = self._sets(people, *more).firsts(z.weighed(people.design.data.rows.x, r))
        means = s1 * a[:, None] - d1 * c[:, None]
        starts = block_starts(a.size)
        value = np.add.reduceat(means, starts, axis=0)
        return Blocks(people.derived(value, w, dims=("blocks", "terms"), bounds=(BLOCKS, len(z.mean))))

    @local(on="grid", repeats=3)
    def firsts(self, people: People, beta: Beta, z: Standard) -> Firsts:
        """First moments weighted by r per cell."""
        _, r, _ = _weights(people, beta, z)
        x = people.design.data.rows.x
        return Firsts(*(self._cells(people, kind, z.weighed(x, r)) for kind in self.kinds))

    @local(on="grid", repeats=2)
    def weighted(self, people: People, beta: Beta, z: Standard, a: Array, c: Array, g: Array, *more: Array) -> Weighted:
        """Score and second moments with drifting coefficients; g (S T,)."""
        _, r, w = _weights(people, beta, z)
        sets, x = self._sets(people, *more), people.design.data.rows.x
        own = np.where(sets.own >= 0, np.append(g, 0.0)[sets.own], 0.0)
        once, twice = (r * sets.exposed(a * h, c * h) for h in (g, g**2))
        return Weighted(
            people.derived(z.sums(x, w * own - once), w),
            people.derived(z.products(x, once), w, symmetric=True),
            people.derived(z.products(x, twice), w, symmetric=True),
        )

    @local(on="grid")
    def meat(self, people: People, beta: Beta, z: Standard, a: Array, c: Array, means: Array, *more: Array) -> Meat:
        """Squares of score residuals; `means` (3, S T, p) are the public sums over the risk sets."""
        return Meat(people.moments(self._residuals(people, beta, z, a, c, means, *more)))

    def _residuals(self, people: People, beta: Beta, z: Standard, *sums: Array) -> Array:
        """What each person adds to the score (n, p), weights included; `sums` are those that `meat` is told."""
        (a, c, means, *more), (_, r, w) = sums, _weights(people, beta, z)
        sets, (b, own_b, mean) = self._sets(people, *more), means
        residual = w * self._dead(people) - r * sets.exposed(a, c)
        out = z.of(people.design.data.rows.x) * residual[:, None] + r[:, None] * sets.during(b)
        dead = sets.dead
        out[dead] -= r[dead, None] * own_b[sets.own[dead]] + w[dead, None] * mean[sets.own[dead]]
        return out

    def _sets(self, people: People, *more: Array) -> RiskSets:
        """Risk sets on the agreed cells, made once."""
        return people.design.once("sets", lambda: self._placed(people, *more))

    def _placed(self, people: People, *more: Array) -> RiskSets:
        """Risk sets on the agreed cells. On a coarse grid who enters within a cell is at risk in all of it."""
        width = self._width(people)
        dead, alive, entered = (self._place(people, kind) for kind in self.kinds)
        last = np.maximum(dead, alive)
        begin = np.maximum(last, 0) // max(width, 1) * width  # of the stratum; who is in none is at risk at no time
        first = np.where(entered >= 0, entered + (1 if self.cox.ground.fine else 0), begin)
        starts, total = np.arange(self.strata) * width, self.strata * width
        ones = np.zeros(total)
        return RiskSets(first, last, dead, starts, ones, ones, ones)

    def _cells(self, people: People, kind: str, values: Array | Iterable[Array]) -> Sum:
        """Sums over the cells of a kind; nothing for a kind that cannot have people."""
        return people.cells(kind, values) if kind in self.used else self._nothing(people)

    def _nothing(self, people: People) -> Sum:
        """Sums over no cells."""
        return people.derived(np.empty((self.strata, 0)), dims=("groups", "cells"), bounds=(self.strata, 0))

    def _width(self, people: People) -> int:
        """Merged cells per stratum."""
        return int(people.grid("dead").max(initial=-1)) + 1

    def _place(self, people: People, kind: str) -> Ints:
        """The merged cell of everybody of a kind, in the order of strata and cells; -1 for the others: (n,)."""
        if kind not in self.used:
            return np.full(people.design.n, -1)
        return people.design.cells[kind].placed(people.grid(kind), self._width(people))

    def _dead(self, people: People) -> Bools:
        """Who has the event, in a stratum that is not suppressed."""
        return people.design.once("dead", lambda: self._place(people, "dead") >= 0)

    # sums only

    def flow(self) -> Flow[Finding]:
        """Grid, climb, variance and tests, baseline."""
        verdict, times, edges = yield from self._settled()
        start = yield from ask(self.began)
        if not start.events.value.sum():
            raise no_events(self.cox.cause)
        known = yield from self._known(start)
        cox, names = self.cox, self.cox.names
        raw = Scales(start.total, start.first, start.second)
        z = standard(raw, names)
        ridge = cox.ridge / np.array(z.sd) ** 2
        objective = Objective(lambda b: self._slope(b, z, known), lambda b: self._curve(b, z, known), names, ridge)
        peak = yield from maximise(np.zeros(len(names)), objective)
        summit = yield from self._summit(peak, z, known)
        meat, extra, means, beside = yield from self._after(peak, z, summit, known, times)
        events = round(start.events.value.sum())
        facts: dict[str, Any] = {"cells": int(start.events.value.shape[1]), **beside}
        facts |= yield from self._concordance(tuple(peak.beta.tolist()), z, edges, verdict)
        finding = fitted(cox, peak, z, events, verdict, Beside(extra, facts, indicators(raw), meat))
        base = baseline(summit.ties, peak.beta, z, known.events, times, means)
        levels = model_of(cox.formula, cox.ground).strata_levels or ("all",)
        tables = {**finding.tables, "baseline": baseline_records(base, known.events, levels)}
        if summit.ties.a.size > 2 * BLOCKS:  # the information at 0 was averaged over blocks
            tables["tests"] = [t for t in tables["tests"] if t["test"] != "score"]
        arrays = {**finding.arrays, "baseline": base}
        return replace(finding, tables=tables, arrays=arrays, notes=(shared_note(cox.ground),))

    def _settled(self) -> Flow[tuple[Verdict, Array, tuple[float, ...]]]:
        """The verdict on the grid, the right edges of its cells, and those of the ladder."""
        ground = self.cox.ground
        first = yield from support(self.span)
        horizon = horizon_of(first.grids["span"], ground)
        edges = ladder(ground, horizon, max(6, int(0.6 * first.budget / self.per_cell)))
        verdict = yield from support(self.grid, edges)
        grid = verdict.grids["dead"]
        shown = grid[(grid >= 0).all(axis=1)]
        if not len(shown):
            raise ModelError("no stratum has enough people with and without events")
        ends = np.append(np.flatnonzero(np.diff(shown[0])), len(edges))
        return verdict, np.append(edges, edges[-1] + ground.width)[ends], edges

    def _concordance(self, beta: Beta, z: Standard, edges: tuple[float, ...], given: Verdict) -> Flow[dict[str, Any]]:
        """Harrell's C over all hospitals, on bins of risk."""
        # the bins know neither weights nor strata nor entries
        if not self.cox.diagnostics or self._late or self.cox.weights or self.strata > 1:
            yield from ()
            return {}
        return (yield from Ranks(self.cox).concordance(beta, z, edges, given))

    def _squares(self, peak: Peak, z: Standard, t: Tied, means: Array, *more: Array) -> Flow[tuple[Array, Facts]]:
        """Sums of squares (p, p) of what people move the score by at the maximum, and facts of that."""
        return (yield from ask(self.meat, tuple(peak.beta.tolist()), z, t.a, t.c, means, *more)).meat.value, {}

    def _known(self, start: Began) -> Flow[Known]:
        """What everybody knows of the grid after the first ask."""
        yield from ()
        return Known(start.events.value, self._weight(start), {})

    def _weight(self, start: Began) -> Array:
        """Case weights of the events per cell, (strata, cells)."""
        return start.weight.value if self.cox.weights else start.events.value

    def _hazard(self, beta: Beta, z: Standard, known: Known) -> Flow[Hazard]:
        got = yield from ask(self.risks, beta, z)
        ties = self._tied(self._at_risk(got, known).ravel(), got.dead.value.ravel(), known)
        return Hazard(ties, float(got.linear.value - ties.log.sum()))

    def _tied(self, s0: Array, d0: Array, known: Known) -> Tied:
        return tied(s0, d0, known.weight.ravel(), np.round(known.events.ravel()), self.cox.ties == "efron")

    def _summit(self, peak: Peak, z: Standard, known: Known) -> Flow[Summit]:
        """What is known at the maximum, from what was asked where its information was: nothing leaves for it."""
        before, step = tuple(peak.asked.tolist()), peak.beta - peak.asked
        got = yield from ask(self.risks, before, z)
        s1, d1 = yield from self._first_moments(before, z, known)
        s0, d0 = self._at_risk(got, known).ravel() + s1 @ step, got.dead.value.ravel() + d1 @ step
        return Summit(self._tied(s0, d0, known), s1, d1)

    def _at_risk(self, got: Risks | Firsts, known: Known) -> Array:
        """At risk per cell from sums of those who leave and enter per cell, (strata, cells, ...)."""
        enter = got.other.value
        if not enter.size:
            return later(got.dead.value + got.alive.value)
        after = later(enter)
        if not self.cox.ground.fine:  # at risk in the cell of entry
            after = after - enter
        return later(got.dead.value + got.alive.value) - after

    def _slope(self, beta: Beta, z: Standard, known: Known) -> Flow[Slope]:
        hazard = yield from self._hazard(beta, z, known)
        got = yield from ask(self.score, beta, z, hazard.ties.a, hazard.ties.c, *known.more)
        return Slope(Sum(np.array(hazard.loglik)), got.score)

    def _curve(self, beta: Beta, z: Standard, known: Known) -> Flow[Curve]:
        """The Hessian: averaged over blocks at the first point of a long grid, else in full."""
        hazard = yield from self._hazard(beta, z, known)
        t = hazard.ties
        got = yield from ask(self.score, beta, z, t.a, t.c, *known.more)
        second = yield from ask(self.second, beta, z, t.a, t.c, *known.more)
        if not any(beta) and t.a.size > 2 * BLOCKS:
            means = (yield from ask(self.blocks, beta, z, t.a, t.c, *known.more)).means.value
            events = np.add.reduceat(known.weight.ravel(), block_starts(t.a.size))
            squares = (means / np.maximum(events, 1e-300)[:, None]).T @ means
        else:
            s1, d1 = yield from self._first_moments(beta, z, known)
            squares = means_squared(t, s1, d1, np.ones(t.a.size))
        information = replace(second.moments, value=second.moments.value - squares)
        return Curve(Sum(np.array(hazard.loglik)), got.score, information)

    def _first_moments(self, beta: Beta, z: Standard, known: Known) -> Flow[tuple[Array, Array]]:
        """S1 and D1 per cell, (S T, p). On a long grid they are large: not asked twice where they were asked last."""
        if beta not in known.firsts:
            got = yield from ask(self.firsts, beta, z)
            s1 = self._at_risk(got, known)
            p = s1.shape[2]
            known.firsts.clear()
            known.firsts[beta] = s1.reshape(-1, p), got.dead.value.reshape(-1, p)
        return known.firsts[beta]

    def _after(
        self, peak: Peak, z: Standard, summit: Summit, known: Known, times: Array
    ) -> Flow[tuple[Array | None, Tables, Array | None, Facts]]:
        """At the maximum: robust variance, tests of proportional hazards, means over the risk sets (S T, p), facts."""
        cox, beta, (t, s1, d1) = self.cox, tuple(peak.beta.tolist()), summit
        meat: Array | None = None
        extra: Tables = {}
        facts: Facts = {}
        if not (cox.robust or cox.diagnostics):
            return meat, extra, None, facts
        b = s1 * t.a2[:, None] - d1 * t.c2[:, None]
        if cox.robust:
            weight = np.maximum(known.weight.ravel(), 1e-300)
            means = np.array([
                b,
                s1 * t.c2[:, None] - d1 * t.e2[:, None],
                (s1 * t.a[:, None] - d1 * t.c[:, None]) / weight[:, None],
            ])  # fmt: skip
            meat, facts = yield from self._squares(peak, z, t, means, *known.more)
        if cox.diagnostics:
            records: list[Record] = []
            for transform in ("identity", "log"):
                g = _standard_time(times, transform, self.strata, known)
                if g is None:  # all events in one cell: no time to drift over
                    break
                got = yield from ask(self.weighted, beta, z, t.a, t.c, g, *known.more)
                cross = replace(got.once, value=got.once.value - means_squared(t, s1, d1, g))
                square = replace(got.twice, value=got.twice.value - means_squared(t, s1, d1, g**2))
                records += drifting(cox.names, peak.information, FullDrift(got.score, cross, square), transform)
            extra = {"proportional_hazards": records} if records else {}
        return meat, extra, b, facts


def shared(cox: Cox) -> Flow[Finding]:
    """The flow of a Cox model with a shared baseline."""
    return (yield from SharedBaseline(cox).flow())


def later(leave: Array) -> Array:
    """Sums over this cell and all later ones of its stratum, of values (strata, cells, ...)."""
    return np.asarray(np.cumsum(leave[:, ::-1], axis=1)[:, ::-1])


def block_starts(size: int) -> Any:
    """First cells of at most BLOCKS blocks of cells."""
    return np.unique(np.linspace(0, size, BLOCKS + 1).astype(int)[:-1])


def _weights(people: People, beta: Beta, z: Standard) -> tuple[Array, Array, Array]:
    """The linear predictor, r = w exp(x b) and case weights w, each (n,); the last ones are remembered."""
    rows, w, _ = people.design.data
    last: dict[Any, tuple[Array, Array]] = people.design.once("weights", dict)
    if (beta, z) not in last:
        eta = z.times(rows.x, beta)
        last.clear()
        last[beta, z] = eta, w * np.exp(eta)
    return *last[beta, z], w


def _standard_time(times: Array, transform: str, strata: int, known: Known) -> Array | None:
    """g of the cells' right edges, standardised over the events, for every stratum: (S T,); None without spread."""
    g = np.tile(np.log(times) if transform == "log" else times, strata)
    weight = known.events.ravel()
    mean = (weight @ g) / weight.sum()
    square = float(weight @ (g - mean) ** 2 / weight.sum())
    return np.asarray((g - mean) / np.sqrt(square)) if square > 1e-20 * max(mean**2, 1.0) else None
