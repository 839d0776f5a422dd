"""Hazards that are constant within public cells of time, proportional in terms: what stays and who leaves.

With rate l_sj of stratum s (an arm, or all) in cell j, time e_ij of a person in the cell, and r = exp(x b), sums of

    R_sj = sum r e_ij,      sum x (d_i - r sum_j l_sj e_ij)

are all that a fit needs: given b, l_sj is the number of events D_sj over R_sj, so that b alone is climbed for. Within a
cell a hospital uses its exact times. With cells as narrow as the times it is Cox's model (Breslow's ties). The scores
of log l_sj and b, and their information

    diag(D),   l_sj sum x r e_ij,   sum x x' r sum_j l_sj e_ij

are those of a Poisson regression, so that `influence` holds for whatever is computed from the rates.

Sources: Friedman, Ann Stat 1982;10:101; Holford, Biometrics 1980;36:299. Matches R `glm(event ~ cell + x, poisson,
offset = log(time))` on `survSplit` people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.causes import each_cause
from confrere.analyses.effects.arms import ARMS, treated_of
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.nuisance import Among, Beta
from confrere.analyses.follow_up import Table
from confrere.analyses.ladder import cell_of, check_on_grid, horizon_of, ladder, span_cells
from confrere.analyses.newton import Curve, Objective, Slope, check_collinear, maximise
from confrere.analyses.scaling import Scales, Standard, blocks, scales, standard
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support
from confrere.study.ground import Ground, design_of, model_of


class Rates(NamedTuple):
    """A fitted model; public. `rate` (strata, cells) are those of people whose standardised terms are 0.

    `edges` are the right edges of the cells; one cell more is open.
    """

    beta: Beta
    z: Standard
    edges: tuple[float, ...]
    rate: tuple[tuple[float, ...], ...]

    @property
    def rates(self) -> Array:
        """The rates (strata, cells)."""
        return np.array(self.rate)

    def relative(self, x: Array) -> Array:
        """exp(x b) of people with raw terms x (n, p)."""
        return np.asarray(np.exp(self.z.times(x, self.beta))) if self.beta else np.ones(len(x))


class HazardLean(NamedTuple):
    """How targets lean on a model, per unit of a person's score; public. `rate` (k, strata, cells), `beta` (k, p)."""

    rate: Array
    beta: Array


class Learnt(NamedTuple):
    """A fitted model and its information: of the rates `events` (S, J), `cross` (S J, p), of the terms `terms`."""

    model: Rates
    events: Array
    cross: Array
    terms: Array

    def leans(self, derivative: Array) -> HazardLean:
        """Derivatives (k, S J + p) by log rates and coefficients, times the inverse information."""
        inverse = np.divide(1.0, self.events, out=np.zeros_like(self.events), where=self.events > 0).ravel()
        by_rate, by_beta = np.split(derivative, [inverse.size], axis=1)
        beta = np.zeros_like(by_beta)
        if by_beta.shape[1]:
            left = self.terms - (self.cross * inverse[:, None]).T @ self.cross
            beta = np.asarray(np.linalg.solve(left, (by_beta - (by_rate * inverse) @ self.cross).T).T)
        rate = (by_rate - beta @ self.cross.T) * inverse
        return HazardLean(rate.reshape(len(rate), *self.events.shape), beta)


class Exits(NamedTuple):
    """When people leave, each (n,): stratum, cell, time in that cell, whether with the event that is modelled."""

    stratum: Ints
    cell: Ints
    part: Array
    event: Bools


class Followed(NamedTuple):
    """A hospital's people: terms (n, p), time, arm, whether with the event, (n,) each."""

    x: Array
    time: Array
    treated: Bools
    event: Bools


class Began(NamedTuple):
    """Raw moments of the terms and the treatment; people who leave, by kind, arm and cell."""

    total: Sum
    first: Sum
    second: Sum
    exits: Sum  # (kinds * 2, cells)


class Times(NamedTuple):
    """Times at risk weighed by r, by stratum and cell; sum of x b over events."""

    time: Sum  # (strata, cells)
    linear: Sum  # ()


class Score(NamedTuple):
    """The score of the terms at given rates."""

    score: Sum  # (p,)


class Second(NamedTuple):
    """Second moments of the terms weighed by the expected events."""

    second: Sum  # (p, p), symmetric


class Firsts(NamedTuple):
    """First moments of the terms by stratum and cell, weighed by r and time."""

    firsts: Sum  # (strata, cells, p)


class Leave(NamedTuple):
    """People who leave with the event, and without, by arm and cell (2, cells)."""

    events: Array
    censored: Array


class Grid(NamedTuple):
    """Cells that all of a study's models share: right `edges` of all but the last, which is open; who leaves when."""

    edges: tuple[float, ...]
    table: Table

    @property
    def leave(self) -> Leave:
        """People who leave by arm and cell."""
        counts = self.table.counts
        return Leave(np.sum([v for k, v in counts.items() if k != "censored"], axis=0), counts["censored"])

    @property
    def points(self) -> tuple[float, ...]:
        """Right edges of cells in which somebody of either arm is at risk; the last one ends with the ladder."""
        end = float(self.table.edges[-1])
        right = (*self.edges, end) if not self.edges or self.edges[-1] < end else self.edges
        leave = self.leave.events + self.leave.censored
        at_risk = np.cumsum(leave[:, ::-1], axis=1)[:, ::-1].min(axis=0)
        return tuple(e for e, n in zip(right, at_risk, strict=False) if n > 0.5)


@register("_hazards")
@dataclass(frozen=True)
class Hazards:
    """The hazard of the event, or of being censored, among people of an effect; cells merge from `ladder`.

    `kind` is `event` (of any cause), `censored`, or a cause: `cause 1` is that of the first level after censoring.
    """

    effect: Effect
    kind: str
    among: Among
    ladder: tuple[float, ...] = ()
    fits: bool = True  # False of what finds the grid: another analysis than the fit, even where no cells merge

    @property
    def ground(self) -> Ground:
        """The ground of every part."""
        return self.effect.about

    @property
    def formula(self) -> str:
        """Outcome and terms."""
        effect = self.effect
        terms = effect.losing if self.kind == "censored" else effect.outcome_model or effect.confounders
        return f"{effect.outcome} ~ {terms}"

    @property
    def by_arm(self) -> bool:
        """Whether each arm has rates of its own; otherwise the treatment is among the terms."""
        return self.kind == "censored" or not self.effect.outcome_model

    @property
    def names(self) -> tuple[str, ...]:
        """The terms."""
        return model_of(self.formula, self.ground).names

    @property
    def modelled(self) -> str:
        """What it is a model of, for people who read an error."""
        if self.kind == "censored":
            return "the model of censoring"
        name = each_cause(self.effect.outcome, self.ground)[self._number - 1] if self._number else ""
        return "the outcome model" + f" of {name}" * bool(name)

    @property
    def _number(self) -> int:
        """What the event column has for those who leave so; 0 for the censored and for any event."""
        return int(self.kind.partition(" ")[2] or 0)

    @property
    def strata(self) -> int:
        """How many baselines there are."""
        return 2 if self.by_arm else 1

    # inside each hospital

    def span(self, people: People) -> Design:
        """Exits on a coarse ladder."""
        made = self._rows(people)
        return replace(
            made, cells={"span": span_cells(made.data.time, self.ground)}, flags={}, x=np.empty((made.n, 0)), names=()
        )

    def design(self, people: People) -> Design:
        """Raw terms, treatment, and who leaves when by arm: all kinds on one grid, so that nobody is between two."""
        made = self._rows(people)
        treated = treated_of(people.table.frame[made.rows], self.effect.treatment, self.ground)
        time, event = made.data.time, made.data.event
        if self.ground.fine:
            check_on_grid(time, self.ground)
        size = len(self.ladder) + 1
        place = treated * size + cell_of(time, self.ladder)
        cells = {
            name: cells_at(np.where(who, place, -1), self.ladder, self.ground)
            for name, who in kinds(event, self.ground, self.formula)
        }
        mine = event > 0 if self.kind == "event" else event == self._number
        return replace(
            made, x=np.column_stack([made.data.x, treated]), names=(*made.names, f"treatment {self.effect.treatment}"),
            cells={**made.cells, **cells}, data=Followed(made.data.x, time, treated, mine),
        )  # fmt: skip

    def _rows(self, people: People) -> Design:
        """The people of the fit."""
        made = design_of(people, self.formula, self.ground)
        return self.among.taught(people, made, self.ground, self.formula)

    @local(on="design")
    def began(self, people: People) -> Began:
        """Raw moments, and people who leave."""
        sums = [people.cells(name) for name in people.design.cells if _leaves(name)]
        exits = replace(
            sums[0], value=np.vstack([s.value for s in sums]), bounds=(2 * len(sums), sums[0].bounds[1])
        )  # fmt: skip
        return Began(*scales(people), exits)

    @local(on="design", repeats=110)
    def times(self, people: People, beta: Beta, z: Standard) -> Times:
        """Times at risk."""
        d, exits, width = people.design.data, self._exits(people), self._widths(people)
        eta = z.times(d.x, beta) if beta else np.zeros(len(d.x))
        value = self._spent(exits, width, np.exp(eta))
        return Times(
            people.derived(value, dims=("strata", "cells"), bounds=(self.strata, len(self.ladder) + 1)),
            people.derived(np.array(eta[d.event].sum())),
        )

    @local(on="design", repeats=110)
    def score(self, people: People, model: Rates) -> Score:
        """The score of the terms."""
        d, expected = people.design.data, self._expected(people, model)
        return Score(people.derived(model.z.sums(d.x, d.event - expected)))

    @local(on="design", repeats=3)
    def second(self, people: People, model: Rates) -> Second:
        """Second moments of the terms."""
        expected = self._expected(people, model)
        return Second(people.derived(model.z.products(people.design.data.x, expected), expected, symmetric=True))

    @local(on="design", repeats=3)
    def firsts(self, people: People, beta: Beta, z: Standard) -> Firsts:
        """First moments by cell."""
        d, exits, width = people.design.data, self._exits(people), self._widths(people)
        r = np.exp(z.times(d.x, beta))
        value = np.stack([self._spent(exits, width, r * column) for column in z.of(d.x).T], axis=2)
        bounds = (self.strata, len(self.ladder) + 1, d.x.shape[1])
        return Firsts(people.derived(value, dims=("strata", "cells", "terms"), bounds=bounds))

    def _widths(self, people: People) -> Array:
        """Widths of the agreed cells (cells,); 0 of the open one, which nobody outlives."""
        return widths(merged_edges(self.ladder, people.grid("censored")))

    def _exits(self, people: People) -> Exits:
        """When people leave, on the agreed cells; made once."""
        edges = merged_edges(self.ladder, people.grid("censored"))
        return people.design.once("exits", lambda: exits_of(people.design.data, edges, self.by_arm))

    def _spent(self, exits: Exits, width: Array, r: Array) -> Array:
        """Sums of r times the time at risk (strata, cells)."""
        flat, size = exits.stratum * width.size + exits.cell, self.strata * width.size
        inside, leaving = (np.bincount(flat, v, minlength=size).reshape(-1, width.size) for v in (r * exits.part, r))
        after = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1] - leaving
        return np.asarray(inside + after * width)

    def _expected(self, people: People, model: Rates) -> Array:
        """Expected events of each person (n,) while followed."""
        d = people.design.data
        return np.asarray(model.relative(d.x) * cumulated(model, model.rates[None], self._exits(people))[0])

    # sums only

    def settled(self, models: int) -> Flow[Grid]:
        """The grid of the study, on which so many models are fitted."""
        first = yield from support(self.span)
        horizon = horizon_of(first.grids["span"], self.ground)
        # a climb asks some 10 times for a number per stratum and cell, and for first moments at its ends
        most = int(0.6 * first.budget / (2 * max(models, 1) * (10 + 3 * len(self.names))))
        merging = replace(self, fits=False, ladder=ladder(self.ground, horizon, max(6, most)))
        verdict = yield from support(merging.design)
        got = yield from ask(merging.began)
        names = [name for name in verdict.grids if _leaves(name)]
        names = [*(kind for kind in _causes(len(names) - 1)), "censored"]
        parts = dict(zip(names, np.split(got.exits.value, len(names)), strict=True))
        maps = {name: verdict.grids[name] for name in names}
        return Grid(
            merged_edges(merging.ladder, maps["censored"]),
            Table(ARMS, (), tuple(names), parts, maps, np.array(merging.ladder), verdict),
        )

    def flow(self) -> Flow[Learnt]:
        """The fit. ModelError as `maximise`, and where an arm has too few people of a kind."""
        try:
            return (yield from self._fitted())
        except ModelError as error:
            raise ModelError(f"{self.modelled} ({self.formula}): {error}", about=error.about) from None

    def _fitted(self) -> Flow[Learnt]:
        verdict = yield from support(self.design)
        edges = merged_edges(self.ladder, verdict.grids["censored"])
        start = yield from ask(self.began)
        events, p = self._events(start), len(self.names)
        if not events.any() and self.kind != "censored":
            raise ModelError("nobody has the event: check the event column, or follow people for longer")
        raw = Scales(start.total, *(replace(s, value=s.value[:p]) for s in (start.first, start.second)))
        z = standard(raw, self.names)
        empty = Rates((0.0,) * p, z, edges, ())
        if not p or not events.any():
            rates = _rates(events, (yield from ask(self.times, empty.beta, z)).time.value)
            model = empty._replace(rate=rates, beta=())
            return Learnt(model, events, np.empty((events.size, 0)), np.empty((0, 0)))
        objective = Objective(
            lambda b: self._slope(empty._replace(beta=b), events),
            lambda b: self._curve(empty._replace(beta=b), events),
            self.names,
        )
        peak = yield from maximise(np.zeros(p), objective)
        asked = tuple(peak.asked.tolist())
        return (yield from self._learnt(empty._replace(beta=asked), events, peak.beta))

    def _learnt(self, at: Rates, events: Array, beta: Array) -> Flow[Learnt]:
        """The information where it was asked, and rates at the maximum, a step that no standard error shows away."""
        time = (yield from ask(self.times, at.beta, at.z)).time.value
        at = at._replace(rate=_rates(events, time))
        firsts = (yield from ask(self.firsts, at.beta, at.z)).firsts.value
        second = (yield from ask(self.second, at)).second.value
        cross = (at.rates[..., None] * firsts).reshape(events.size, -1)
        model = at._replace(beta=tuple(beta.tolist()), rate=_rates(events, time + firsts @ (beta - np.array(at.beta))))
        return Learnt(model, events, cross, second)

    def _events(self, start: Began) -> Array:
        """Events by stratum and cell."""
        parts = np.split(start.exits.value, len(start.exits.value) // 2)  # the causes, then the censored
        mine = np.sum(parts[:-1], axis=0) if self.kind == "event" else parts[self._number - 1]
        return np.asarray(mine if self.by_arm else mine.sum(axis=0, keepdims=True))

    def _slope(self, at: Rates, events: Array) -> Flow[Slope]:
        got = yield from ask(self.times, at.beta, at.z)
        at = at._replace(rate=_rates(events, got.time.value))
        score = (yield from ask(self.score, at)).score
        return Slope(Sum(np.array(_loglik(got, events))), score)

    def _curve(self, at: Rates, events: Array) -> Flow[Curve]:
        slope = yield from self._slope(at, events)
        time = (yield from ask(self.times, at.beta, at.z)).time.value
        at = at._replace(rate=_rates(events, time))
        firsts = (yield from ask(self.firsts, at.beta, at.z)).firsts.value.reshape(events.size, -1)
        second = (yield from ask(self.second, at)).second
        check_collinear(second.value, self.names)
        each = np.divide(at.rates, time, out=np.zeros_like(time), where=time > 0).ravel()
        return Curve(
            slope.loglik, slope.score, replace(second, value=second.value - (firsts * each[:, None]).T @ firsts)
        )


def cells_at(index: Ints, edges: tuple[float, ...], ground: Ground) -> Cells:
    """People by arm and cell of time; those of all kinds merge on one grid."""
    size = (2, len(edges) + 1)
    if ground.fine:
        return Cells(index, size, rule="fine", family="time", days=ground.days, needs="fine_times")
    marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges, ground.marks)))
    return Cells(index, size, rule="align", family="time", marks=marks, days=ground.days)


def kinds(event: Array, ground: Ground, formula: str) -> list[tuple[str, Bools]]:
    """How people may leave, and who does (n,): each cause, or without any."""
    outcome = model_of(formula, ground).outcome
    many = max(1, len(outcome.causes) - 1) if outcome is not None else 1
    return [*((name, event == i) for i, name in enumerate(_causes(many), 1)), ("censored", event == 0)]


def _causes(many: int) -> list[str]:
    """The kinds of so many causes."""
    return [f"cause {i}" for i in range(1, many + 1)]


def _leaves(name: str) -> bool:
    """Whether cells are of people who leave."""
    return name == "censored" or name.startswith("cause ")


def merged_edges(edges: tuple[float, ...], grid: Ints) -> tuple[float, ...]:
    """Right edges of the merged cells but the last, which is open. ModelError where an arm was left out."""
    if (grid < 0).any():
        raise ModelError(
            "in an arm too few people have the event, or are censored: ask about more people, or have the estimator "
            "iptw without censoring",
            about="no-events",
        )
    return tuple(edges[int(i)] for i in np.flatnonzero(np.diff(grid[0])))


def widths(edges: tuple[float, ...]) -> Array:
    """Widths of closed cells, and 0 of the open one: (cells,)."""
    return np.append(np.diff(edges, prepend=0.0), 0.0)


def exits_of(people: Followed, edges: tuple[float, ...], by_arm: bool) -> Exits:
    """When people leave, on cells with these right edges."""
    cell = cell_of(people.time, edges)
    stratum = people.treated.astype(np.int64) if by_arm else np.zeros(len(cell), dtype=np.int64)
    return Exits(stratum, cell, people.time - np.append(0.0, edges)[cell], people.event)


def cumulated(model: Rates, values: Array, exits: Exits) -> Array:
    """The integral of `values` (k, strata, cells) over the time in which each person is followed: (k, n)."""
    width = widths(model.edges)
    before = np.cumsum(values * width, axis=2) - values * width
    return np.asarray(before[:, exits.stratum, exits.cell] + values[:, exits.stratum, exits.cell] * exits.part)


def moved(x: Array, exits: Exits, model: Rates, lean: HazardLean) -> Array:
    """What each person moves the targets by through a model (n, k); raw terms x (n, p)."""
    r, rates = model.relative(x), model.rates
    out = lean.rate[:, exits.stratum, exits.cell] * exits.event - r * cumulated(model, lean.rate * rates, exits)
    if model.beta:
        over = exits.event - r * cumulated(model, rates[None], exits)[0]
        for rows, z in blocks(x, model.z.mean, model.z.sd):
            out[:, rows] += (lean.beta @ z.T) * over[rows]
    return np.asarray(out.T)


def _rates(events: Array, time: Array) -> tuple[tuple[float, ...], ...]:
    """Events per time at risk; 0 where nobody is at risk."""
    rate = np.divide(events, time, out=np.zeros_like(time), where=time > 0)
    return tuple(tuple(row) for row in rate.tolist())


def _loglik(got: Times, events: Array) -> float:
    """The log-likelihood at rates that are best for the coefficients, less a constant."""
    some = events > 0
    return float(got.linear.value - events[some] @ np.log(got.time.value[some]))
