"""Weights against censoring that depends on what is known: hazard ratio, risks and means, had everybody stayed.

Whoever is followed at a time counts w/K(t | x): w by the propensity, K the probability of not being censored before, by
a model of hazards (`hazards`) with rates by arm. Weighted events D and weighted time at risk R by arm and cell are all
that is needed:

    rate D/R in each cell (risks, means: `read_off`),      sum_j D_1j - D_.j p_j,   p_j = R_1j e^b/(R_0j + R_1j e^b)

the score of the hazard ratio b (`even_hazards`); by hospital, if baselines are. Within cells times at risk and weights
are exact. Everything is a smooth function of the D and R, of which `walks` says how they change with the model of
censoring, so that the variance accounts for both models.

Sources: Robins & Finkelstein, Biometrics 2000;56:779; Hernan, Brumback & Robins, Epidemiology 2000;11:561; Buchanan et
al., Am J Epidemiol 2014;180:89. Matches R `coxph` and `glm(poisson)` on weighted `survSplit` people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.causes import cause_number
from confrere.analyses.effects import hazards, measures, walks
from confrere.analyses.effects.between import Between, between, enough, facts
from confrere.analyses.effects.curve_tables import AMPLE, Curves, Drawn, places_of, told
from confrere.analyses.effects.even_hazards import Arms
from confrere.analyses.effects.hazards import Followed, Grid, HazardLean, Hazards, Learnt, Rates
from confrere.analyses.effects.read_off import people_of, rated
from confrere.analyses.effects.weighted import By, Leaning, influences, leaning, leans, targets, weighed, weighed_of
from confrere.analyses.effects.weighted import Derivatives as ByWeights
from confrere.analyses.effects.weighted_curves import Spread, Squares
from confrere.analyses.finding import Record
from confrere.analyses.ladder import cell_of
from confrere.analyses.newton import Curve, Objective, Slope, maximise
from confrere.analyses.scaling import stretches
from confrere.rounds import Array, Bools, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, together
from confrere.study.ground import Ground, model_of


class Staying(NamedTuple):
    """The model of censoring, and the right edges of the cells on which curves are told; public."""

    lost: Rates
    points: tuple[float, ...]


class Cases(NamedTuple):
    """A hospital's people: terms of censoring (n, p), time, cause of the event (0: censored), whether treated (n,)."""

    x: Array
    time: Array
    cause: Ints
    treated: Bools


class Weighted(NamedTuple):
    """Weighted events by cause, arm and cell, and weighted time at risk by arm and cell."""

    events: Sum  # (causes * 2, cells)
    time: Sum  # (2, cells)


class Along(NamedTuple):
    """Derivatives of targets by weighted events (k, causes, 2, cells) and by weighted time at risk (k, 2, cells)."""

    events: Array
    time: Array


class Derivatives(NamedTuple):
    """Derivatives of the targets by both models."""

    by: Sum  # (k, q)
    share: Sum  # (k,), (0,) unless weights are stabilised
    lost: Sum  # (k, 2 J + p)


@register("_censored_rates")
@dataclass(frozen=True)
class CensoredRates:
    """Weighted events and time at risk of people who leave on the cells `edges`."""

    by: By
    edges: tuple[float, ...]

    @property
    def ground(self) -> Ground:
        """The ground of every part."""
        return self.by.effect.about

    @property
    def causes(self) -> int:
        """Kinds of event."""
        outcome = model_of(self.by.formula, self.ground).outcome
        return max(1, len(outcome.causes) - 1) if outcome is not None else 1

    @property
    def cause(self) -> int:
        """The place of the cause whose hazards are compared; -1 of any."""
        effect = self.by.effect
        return cause_number(f"{effect.outcome} ~ 1", effect.ground, effect.cause) - 1 if effect.cause else -1

    # inside each hospital

    def design(self, people: People) -> Design:
        """Treatment, event and weights; who leaves when."""
        made = weighed(people, self.by, self.ground)
        at, data = weighed_of(made), made.data
        pooled = {name: (mean, sd) for name, mean, sd in self.ground.pooled}
        formula = f"{self.by.effect.outcome} ~ {self.by.effect.losing}"
        x = model_of(formula, self.ground).evaluate(people.table.frame[made.rows], pooled).x
        size = len(self.edges) + 1
        place = at.treated * size + cell_of(data.time, self.edges)
        cells = {
            name: hazards.cells_at(np.where(who, place, -1), self.edges, self.ground)
            for name, who in hazards.kinds(data.event, self.ground, formula)
        }
        cases = Cases(x, data.time, data.event.astype(np.int64), at.treated)
        return replace(made, cells={**made.cells, **cells}, data=cases)

    @local(on="design")
    def weighted(self, people: People, staying: Staying) -> Weighted:
        """Weighted events and times at risk by arm and cell."""
        w, (events, time) = weighed_of(people.design).weights.w, self._sums(people, staying)
        dims = ("kinds and arms", "cells"), ("arms", "cells")
        return Weighted(
            people.derived(events.reshape(-1, events.shape[2]), w, dims=dims[0]), people.derived(time, w, dims=dims[1])
        )

    @local(on="design", repeats=110)
    def slope(self, people: People, staying: Staying, beta: tuple[float, ...]) -> Slope:
        """Log-likelihood and score of the log hazard ratio, the baseline of this hospital being its own."""
        return Slope(*self._curve(people, staying, beta)[:2])

    @local(on="design", repeats=3)
    def curve(self, people: People, staying: Staying, beta: tuple[float, ...]) -> Curve:
        """The same, and the information."""
        return self._curve(people, staying, beta)

    def _curve(self, people: People, staying: Staying, beta: tuple[float, ...]) -> Curve:
        got = score_at(*self.compared(*self._sums(people, staying)), beta[0])
        w = weighed_of(people.design).weights.w
        return Curve(
            people.derived(np.array(got.loglik), w), people.derived(np.array([got.score]), w),
            people.derived(np.array([[got.information]]), w, symmetric=True),
        )  # fmt: skip

    @local(on="design")
    def derivatives(self, people: People, staying: Staying, along: Along) -> Derivatives:
        """Derivatives of targets that the sums of all hospitals say."""
        return self._derivatives(people, staying, along)

    @local(on="design")
    def squares(
        self, people: People, staying: Staying, along: Along, pairs: int, of: tuple[Leaning, HazardLean]
    ) -> Squares:
        """Sums of products of what people move the targets by."""
        return self._squares(people, staying, along, pairs, of)

    @local(on="design")
    def own_derivatives(self, people: People, staying: Staying, beta: tuple[float, ...]) -> Derivatives:
        """Derivatives of the score, the baseline of this hospital being its own."""
        return self._derivatives(people, staying, self._own(people, staying, beta))

    @local(on="design")
    def own_squares(
        self, people: People, staying: Staying, beta: tuple[float, ...], of: tuple[Leaning, HazardLean]
    ) -> Squares:
        """Sum of squares of what people move the score by, the baseline of this hospital being its own."""
        return self._squares(people, staying, self._own(people, staying, beta), 0, of)

    @local(on="design")
    def between(
        self, people: People, staying: Staying, beta: tuple[float, ...], of: tuple[Leaning, HazardLean]
    ) -> Between:
        """How far this hospital's score is from 0."""
        ((_, phi),) = self._influences(people, staying, self._own(people, staying, beta), of)
        return between(people, phi[:, 0])

    def _own(self, people: People, staying: Staying, beta: tuple[float, ...]) -> Along:
        events, time = self._sums(people, staying)
        at = score_at(*self.compared(events, time), beta[0])
        return self.by_sums(at.by_events, at.by_time, events.shape)

    def compared(self, events: Array, time: Array) -> tuple[Array, Array]:
        """Events (2, cells) of the cause whose hazards are compared, and time at risk."""
        return (events.sum(axis=0) if self.cause < 0 else events[self.cause]), time

    def by_sums(self, by_events: Array, by_time: Array, shape: tuple[int, ...]) -> Along:
        """One target, from its derivatives by the compared events and by time; all weighted events are of `shape`."""
        events = np.zeros((1, *shape))
        events[0, self.cause if self.cause >= 0 else slice(None)] = by_events
        return Along(events, by_time[None])

    def _derivatives(self, people: People, staying: Staying, along: Along) -> Derivatives:
        k, cases = len(along.time), people.design.data
        lost = np.zeros((k, staying.lost.rates.size + len(staying.lost.beta)))
        w = weighed_of(people.design).weights.w
        for rows, walk, grow in self._walks(people, staying):
            for row in range(k):
                time, event = _of(walk, cases, along, (row, rows))
                by = walks.weighing(walk, grow, time, event).by_b * w[rows, None]
                for arm in (0, 1):
                    mine = cases.treated[rows] == arm
                    lost[row] += walks.by_model(by[mine], cases.x[rows][mine], staying.lost, (arm, walk.cells))
        got: ByWeights = leans(people, self._per_weight(people, staying, along), k)
        return Derivatives(got.by, got.share, people.derived(lost, w, dims=("targets", "terms")))

    def _squares(
        self, people: People, staying: Staying, along: Along, pairs: int, of: tuple[Leaning, HazardLean]
    ) -> Squares:
        own, pair = np.zeros(len(along.time)), np.zeros(2 * pairs)
        for rows, phi in self._influences(people, staying, along, of):
            own[rows] = np.einsum("ij,ij->j", phi, phi)
            inside = phi[:, : max(0, 2 * pairs - rows.start)]
            products = np.einsum("ij,ij->j", inside[:, ::2], inside[:, 1::2])
            pair[rows.start // 2 : rows.start // 2 + products.size] = products
        return Squares(people.derived(own, dims=("targets",)), people.derived(pair[:pairs], dims=("targets",)))

    def _influences(
        self, people: People, staying: Staying, along: Along, of: tuple[Leaning, HazardLean]
    ) -> Iterator[tuple[slice, Array]]:
        """What people move the targets by, some targets at a time (n, some)."""
        k, cases, (leaning_, lean) = len(along.time), people.design.data, of
        exits = hazards.exits_of(
            Followed(cases.x, cases.time, cases.treated, cases.cause == 0), staying.lost.edges, True
        )
        parts = influences(people, self._per_weight(people, staying, along), k, leaning_)
        for rows, phi in zip(targets(k), parts, strict=True):
            mine = HazardLean(lean.rate[rows], lean.beta[rows])
            yield rows, phi + hazards.moved(cases.x, exits, staying.lost, mine)

    def _per_weight(self, people: People, staying: Staying, along: Along) -> Iterator[Array]:
        """Derivatives of the targets by everybody's weight, some targets at a time (n, some)."""
        cases = people.design.data
        for some in targets(len(along.time)):
            out = np.empty((people.design.n, some.stop - some.start))
            for rows, walk, grow in self._walks(people, staying):
                for column, row in enumerate(range(some.start, some.stop)):
                    time, event = _of(walk, cases, along, (row, rows))
                    out[rows, column] = walks.weighing(walk, grow, time, event).value
            yield out

    def _sums(self, people: People, staying: Staying) -> tuple[Array, Array]:
        """This hospital's weighted events (causes, 2, cells) and time at risk (2, cells); made once."""
        return people.design.once(f"sums by {staying!r}", lambda: self._summed(people, staying))

    def _summed(self, people: People, staying: Staying) -> tuple[Array, Array]:
        cases, w = people.design.data, weighed_of(people.design).weights.w
        size = len(staying.points)
        events, time = np.zeros((self.causes, 2, size)), np.zeros((2, size))
        for rows, _, grow in self._walks(people, staying):
            for arm in (0, 1):
                mine = np.where(cases.treated[rows] == arm, w[rows], 0.0)
                time[arm] += mine @ grow.whole
                for cause in range(self.causes):
                    events[cause, arm] += np.where(cases.cause[rows] == cause + 1, mine, 0.0) @ grow.at
        return events, time

    def _walks(self, people: People, staying: Staying) -> Iterator[tuple[slice, walks.Walk, walks.Grown]]:
        """How people stay and how their weights grow, some people at a time."""
        cases, cells = people.design.data, walks.cells_of(staying.points)
        for rows in stretches(people.design.n, 8 * cells.breaks.size):
            relative, stratum = staying.lost.relative(cases.x[rows]), cases.treated[rows].astype(np.int64)
            b = walks.hazards(relative, stratum, staying.lost, cells)
            stay = walks.stay_of(cases.time[rows], cases.cause[rows] > 0, cells)
            yield rows, walks.Walk(cells, np.zeros_like(b), b, stay), walks.grown(b, stay)

    # sums only

    def within(self, at: Known) -> Flow[tuple[float, float, dict[str, Any]]]:
        """The log hazard ratio, each hospital with a baseline of its own; its standard error; how hospitals differ."""
        effect, apart = self.by.effect, dict[str, Any]()
        slope, curve = (lambda b: ask(self.slope, at.staying, b)), (lambda b: ask(self.curve, at.staying, b))
        peak = yield from maximise(np.zeros(1), Objective(slope, curve, (effect.treatment,)))
        beta = tuple(peak.beta.tolist())
        of = yield from self._leaning(at, (yield from ask(self.own_derivatives, at.staying, beta)))
        square = (yield from ask(self.own_squares, at.staying, beta, of)).own.value
        if effect.heterogeneity:
            enough(at.verdict)
            q = float((yield from ask(self.between, at.staying, beta, of)).statistic.value)
            apart = facts(q, at.verdict.hospitals)
        return beta[0], float(np.sqrt(square[0]) / peak.information[0, 0]), apart

    def read(self, at: Known, drawn: Drawn, ratio: Along | None) -> Flow[tuple[Curves, float]]:
        """The tables of the curves, and the variance of a hazard ratio with these derivatives, if there is one."""
        wanted, size = drawn.wanted, len(at.staying.points)
        numbers = 1 + len(self.by.model.beta) + at.staying.lost.rates.size + len(at.staying.lost.beta)
        most = drawn.table.verdict.budget // AMPLE // numbers - 2 * len(wanted)
        places = places_of(drawn, most) if wanted else []
        reads = drawn.reads(wanted, places)
        along = Along(np.zeros((len(reads), self.causes, 2, size)), np.zeros((len(reads), 2, size)))
        for row, (arm, read) in enumerate(reads):
            along.events[row, :, arm], along.time[row, arm] = read.events, read.censored
        if ratio is not None:
            along = Along(*(np.concatenate([own, one]) for own, one in zip(along, ratio, strict=True)))
        if not len(along.time):
            return Curves([], {}, (), ()), 0.0
        of = yield from self._leaning(at, (yield from ask(self.derivatives, at.staying, along)))
        got = yield from ask(self.squares, at.staying, along, len(wanted), of)
        variance = got.own.value
        spread = Spread(variance[: len(reads)], got.pair.value)
        made = told(drawn, wanted, places, spread) if wanted else Curves([], {}, (), ())
        return made, float(variance[-1])

    def _leaning(self, at: Known, got: Derivatives) -> Flow[tuple[Leaning, HazardLean]]:
        """How targets lean on the propensity and on the model of censoring."""
        first = yield from leaning(self.by, ByWeights(got.by, got.share))
        return first, at.learnt.leans(got.lost.value)


class Known(NamedTuple):
    """What everybody knows when the model of censoring is fitted."""

    staying: Staying
    learnt: Learnt
    verdict: Verdict


class Likelihood(NamedTuple):
    """The likelihood of a log hazard ratio, and derivatives of the score by events and time at risk (2, cells)."""

    loglik: float
    score: float
    information: float
    by_events: Array
    by_time: Array


def score_at(events: Array, time: Array, beta: float) -> Likelihood:
    """At a log hazard ratio, from weighted events and time at risk by arm and cell (2, cells)."""
    r = time * np.exp(np.array([[0.0], [beta]]))
    d, whole = events.sum(axis=0), r.sum(axis=0)
    p = np.divide(r[1], whole, out=np.zeros_like(whole), where=whole > 0)
    log = np.log(whole, out=np.zeros_like(whole), where=d > 0)
    spread = d * p * (1 - p)
    by = np.divide(spread, time, out=np.zeros_like(time), where=time > 0) * np.array([[1.0], [-1.0]])
    return Likelihood(
        float(beta * events[1].sum() - d @ log), float(events[1].sum() - d @ p), float(spread.sum()),
        np.array([-p, 1 - p]), by,
    )  # fmt: skip


def _of(walk: walks.Walk, cases: Cases, along: Along, of: tuple[int, slice]) -> tuple[Array, Array]:
    """The derivative of a target by each person's weighted time at risk and event in each cell (n, cells) both."""
    row, rows = of
    arm, cause = cases.treated[rows].astype(np.int64), np.maximum(cases.cause[rows] - 1, 0)
    return along.time[row][arm], along.events[row][cause, arm] * walk.stay.event


def staying(by: By, causes: tuple[str, ...]) -> Flow[tuple[Curves, dict[str, Any]]]:
    """The flow of hazard ratio and curves with weights against censoring, of each of the `causes`; with facts."""
    effect = by.effect
    grid: Grid = yield from Hazards(effect, "censored", by.among).settled(1)
    learnt = yield from Hazards(effect, "censored", by.among, grid.edges).flow()
    at = Known(Staying(learnt.model, grid.points), learnt, grid.table.verdict)
    rates = CensoredRates(by, grid.edges)
    got = yield from ask(rates.weighted, at.staying)
    events, time = got.events.value.reshape(rates.causes, 2, -1), got.time.value
    people = people_of(grid.table, grid.points)
    drawn = Drawn(effect, grid.table, rated(people, events, time), people, causes)
    shared = effect.baseline == "shared"
    compares = bool(effect.cause) or len(causes) == 1
    ratio = along = None
    if compares and shared:
        own, risk = rates.compared(events, time)
        ratio = Arms(own[None], risk, np.zeros(0)).log_hazard_ratio()
        along = rates.by_sums(ratio.events[0], ratio.risk, events.shape)
    flows: list[Flow[Any]] = [rates.read(at, drawn, along)] + [rates.within(at)] * (compares and not shared)
    (read, variance), *within = yield from together(*flows)
    if not compares:
        return read, {}
    estimate, se, apart = within[0] if ratio is None else (ratio.value, float(np.sqrt(variance)), {})
    made = measures.record("hazard ratio", estimate, se)
    cause = {"cause": effect.cause} if effect.cause else {}
    record: Record = {"measure": made.pop("measure"), **cause, **made}
    return read._replace(effects=[record, *read.effects]), apart
