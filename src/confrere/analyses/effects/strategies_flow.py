"""The rounds of two strategies with a grace period, and their finding (`clone_censor_weight`).

The grid of times; who starts and leaves when; the models of starting and of being lost, side by side; weighted events
and times at risk of the arms, which make all values (`even_hazards`); their derivatives by the models; products of
influences.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.effects.clone_censor_weight import CloneCensorWeight
from confrere.analyses.effects.even_hazards import Arms
from confrere.analyses.effects.even_tables import Read, curve_of, slopes_of, terms_of, wanted
from confrere.analyses.effects.influence import lean_of
from confrere.analyses.effects.means import few
from confrere.analyses.effects.nuisance import Learned, learned
from confrere.analyses.effects.starting import Clock, Even, Rates, fitted_losses, lost_clock, those
from confrere.analyses.effects.strategies import STRATEGIES, Counts, Grid, Losses, Strategies, Weighing, having_started
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, count
from confrere.analyses.ladder import ladder
from confrere.analyses.newton import Curve, Objective, Slope, maximise
from confrere.analyses.scaling import Standard, standard
from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Verdict, ask, support, together
from confrere.study.ground import model_of

PER_CELL = 40  # numbers of the budget for each cell of the ladder
PER_LOST, SQUARE = 70, 6  # the same where people are weighed against being lost, and for each pair of cells
WORTH = 0.5  # of the information: below it, weights are said to be extreme
HERNAN = Citation(
    "Hernan MA. How to estimate the effect of treatment duration on survival outcomes using observational data. BMJ "
    "2018;360:k182",
    "10.1136/bmj.k182",
)
CAIN = Citation(
    "Cain LE, Robins JM, Lanoy E, Logan R, Costagliola D, Hernan MA. When to start treatment? A systematic approach to "
    "the comparison of dynamic regimes using observational data. Int J Biostat 2010;6(2):18",
    "10.2202/1557-4679.1212",
)
MARINGE = Citation(
    "Maringe C, Benitez Majano S, Exarchakou A, et al. Reflection on modern methods: trial emulation in the presence "
    "of immortal-time bias. Int J Epidemiol 2020;49:1719-1729",
    "10.1093/ije/dyaa057",
)

ROBINS = Citation(
    "Robins JM, Finkelstein DM. Correcting for noncompliance and dependent censoring in an AIDS clinical trial with "
    "inverse probability of censoring weighted (IPCW) log-rank tests. Biometrics 2000;56:779-788",
    "10.1111/j.0006-341X.2000.00779.x",
)


class Found(NamedTuple):
    """All that a finding is made of."""

    verdict: Verdict
    grid: Grid
    counts: Counts
    weights: Array  # (2, 2)
    learnt: Learnt
    arms: Arms
    read: Read


def estimated(of: CloneCensorWeight) -> Flow[Finding]:
    """The flow of two strategies with a grace period."""
    steps = Strategies(of)
    first = yield from support(steps.design)
    edges = _edges(of, of.cells_worth(first.budget))
    verdict = yield from support(steps.table, edges)
    grid = _grid(of, edges, verdict)
    names = model_of(of.formula, of.ground).names
    z = standard((yield from ask(steps.moments)), names)
    counts = yield from ask(steps.counted, grid)
    _check(counts, verdict)
    learnt = yield from _learned(steps, grid, counts, (z, names))
    by = Weighing(learnt.starting.rates, learnt.started.model, learnt.lost.rates if learnt.lost else None)
    yield from support(steps.weighed, grid, by)
    totals = yield from ask(steps.totals, grid, by)
    arms = Arms(totals.events.value, totals.risk.value, np.array(grid.edges))
    values = wanted(arms, of.times, of.until)
    slopes = slopes_of(values)
    asks: list[Flow[Any]] = [ask(steps.derivatives, grid, by, slopes)]
    asks += [ask(steps.lost_derivatives, grid, by, slopes)] if learnt.lost else []
    got, *more = yield from together(*asks)
    leans = [learnt.starting.lean(got.starting.value), lean_of(learnt.started, got.started.value)]
    leans += [learnt.lost.lean(more[0].lost.value)] if learnt.lost else []
    squares = yield from ask(steps.squares, grid, by, slopes, tuple(leans))
    read = Read(values, squares.second.value, of.times, of.until, STRATEGIES, of.causes)
    return _finding(of, Found(verdict, grid, counts, totals.weights.value, learnt, arms, read))


class Learnt(NamedTuple):
    """The models of starting, of having started, of being lost."""

    starting: Even
    started: Learned
    lost: Even | None


def _learned(steps: Strategies, grid: Grid, counts: Counts, terms: tuple[Standard, tuple[str, ...]]) -> Flow[Learnt]:
    """The models, side by side; `terms` are all that there are."""
    of = steps.of
    started = learned(having_started(of), "the model of having started")
    flows: list[Flow[Any]] = [_starting(steps, _clock(grid, counts), those(*terms, of.confounding_terms)), started]
    if of.censoring:
        losses = yield from ask(steps.losses, grid)
        flows.append(_losing(steps, _losing_clock(grid, losses), those(*terms, of.losing)))
    first, second, *lost = yield from together(*flows)
    return Learnt(first, second, lost[0] if lost else None)


def _edges(of: CloneCensorWeight, budget: int) -> tuple[float, ...]:
    """Right edges of the ladder until the horizon, the end of the grace period among them."""
    most = budget // PER_CELL
    if of.censoring:  # the information about being lost has a number for each pair of cells
        most = int((np.sqrt(PER_LOST**2 + 4 * SQUARE * budget) - PER_LOST) / (2 * SQUARE))
    made = ladder(of.about, of.horizon, max(6, most))
    return tuple(e for e in made if e <= of.horizon)


def _grid(of: CloneCensorWeight, edges: tuple[float, ...], verdict: Verdict) -> Grid:
    """The merged cells. ModelError where too few people leave on either side of the end of the grace period."""
    merged = verdict.grids["left"]
    if (merged < 0).any():
        raise ModelError(
            "too few people of those who start within the grace period, or of the others, have the event: ask about "
            "more people, or for a later time"
        )
    last = [*np.flatnonzero(np.diff(merged[0])), len(edges) - 1]  # the last cell of the ladder in each merged cell
    right = [edges[int(i)] for i in last]
    if of.grace not in right:
        raise ModelError(
            f"few people leave or have the event before, or after, {of.grace:g}: the grace period cannot be told from "
            f"what follows. Choose a longer or shorter one, a later last time, or ask about more people"
        )
    return Grid((0.0, *right), right.index(of.grace) + 1)


def _check(counts: Counts, verdict: Verdict) -> None:
    """Some start within the grace period, some do not, and events are in both."""
    early = float(counts.started.value.sum())
    if not 0 < early < verdict.n:
        who = "nobody starts" if early <= 0 else "everybody starts"
        raise ModelError(f"{who} within the grace period: there is nothing to compare. Check the column of starts")
    if not counts.events.value.sum():
        raise ModelError("nobody has the event: check its column, or name a later time", about="no-events")


def _clock(grid: Grid, counts: Counts) -> Clock:
    """The cells in which somebody starts, and the logarithms of their rates over everybody."""
    starts, waiting = counts.started.value[1], counts.waiting.value
    some = [j for j in range(grid.grace) if starts[j] > 0]
    left, right = grid.edges[:-1], grid.edges[1:]
    if not waiting[some].all():
        raise ModelError("everybody starts at time zero: there is no grace period. Use method = 'effect'")
    base = np.log(starts[some] / waiting[some])
    everybody = (-1,) * len(some)
    return Clock(tuple(left[j] for j in some), tuple(right[j] for j in some), tuple(base.tolist()), everybody)


def _losing_clock(grid: Grid, losses: Losses) -> Clock:
    """The cells in which somebody is lost: of everybody in the grace period, then of the others and of the early."""
    lost, time = losses.lost.value, losses.time.value
    after = range(grid.grace, len(grid.edges) - 1)
    own = [(a, after, lost[a], time[a]) for a in (0, 1)]
    return lost_clock(grid.edges, [(-1, range(grid.grace), lost.sum(axis=0), time.sum(axis=0)), *own])


def _starting(steps: Strategies, clock: Clock, z: Standard) -> Flow[Even]:
    """The fit of the model of starting."""

    def slope(beta: tuple[float, ...]) -> Flow[Slope]:
        return ask(steps.slope, beta, clock, z)

    def curve(beta: tuple[float, ...]) -> Flow[Curve]:
        return ask(steps.curve, beta, clock, z)

    named = (*(f"starts by {right:g}" for right in clock.right), *steps.of.confounding_terms)
    peak = yield from maximise(np.zeros(len(named)), Objective(slope, curve, named))
    return Even(Rates(clock, z, tuple(peak.beta.tolist())), peak)


def _losing(steps: Strategies, clock: Clock, z: Standard) -> Flow[Even]:
    """The fit of the model of being lost."""

    def slope(beta: tuple[float, ...]) -> Flow[Slope]:
        return ask(steps.lost_slope, beta, clock, z)

    def curve(beta: tuple[float, ...]) -> Flow[Curve]:
        return ask(steps.lost_curve, beta, clock, z)

    return (yield from fitted_losses(Objective(slope, curve, ()), Rates(clock, z, ()), steps.of))


# The finding --------------------------------------------------------------------------------------------------


def _finding(of: CloneCensorWeight, f: Found) -> Finding:
    """Effects, risks, means, curves, arms, models."""
    tables: dict[str, list[Record]] = {
        "effects": f.read.effects(), "arms": _arms(f), "risks": f.read.risks(), "rmst": f.read.means(),
        "strategy_curve": curve_of(f.arms, STRATEGIES),
        "starting": _terms(f.learnt.starting, of.confounding_terms), "started": f.learnt.started.coefficients,
    }  # fmt: skip
    if f.learnt.lost is not None and of.losing:
        tables["lost"] = _terms(f.learnt.lost, of.losing)
    tables["attrition"] = attrition(f.verdict)
    counted = f.counts.events.value.sum()
    cells, some = len(f.grid.edges) - 1, f.grid.grace
    facts = {"grace": of.grace, "horizon": of.horizon, "cells": cells}
    notes = (
        f"Hazards are taken to be even within {cells} cells of time, {some} of them in the grace period; times at risk "
        f"within a cell are exact.",
    )
    cite = (HERNAN, CAIN, MARINGE, *((ROBINS,) if of.censoring else ()))
    return Finding(
        "clone_censor_weight", f.verdict.n, f.verdict.hospitals, tables, events=round(counted), facts=facts,
        arrays={"vcov": f.read.vcov}, notes=notes, warnings=_cautions(f), cite=cite,
    )  # fmt: skip


def _terms(of: Even, names: tuple[str, ...]) -> list[Record]:
    return terms_of(of.peak, of.rates.standard, names, "hazard_ratio")


def _arms(f: Found) -> list[Record]:
    """By strategy: who follows it until the end, their events, what weights are worth after the grace period.

    Events of clones too, which count in it: of the early those in the grace period of people who have not started.
    """
    early, k = float(f.counts.started.value.sum()), f.verdict.k
    within = slice(0, f.grid.grace)
    others, own = f.counts.events.value.sum(axis=0)
    events = others.sum(), own.sum()
    clones = others.sum(), own.sum() + others[within].sum()
    people = f.verdict.n - early, early
    worth = f.weights[:, 0] ** 2 / f.weights[:, 1]
    return [
        {"arm": arm, "n": round(people[a]), "effective_n": float(worth[a]),
         **count("events", float(events[a]), k), **count("clone_events", float(clones[a]), k)}
        for a, arm in enumerate(STRATEGIES)
    ]  # fmt: skip


def _cautions(f: Found) -> tuple[Caution, ...]:
    """Few events in an arm, and arms that a few people carry."""
    events = f.counts.events.value.sum(axis=2).min(axis=0)  # of the rarest cause
    said = few(events, "the event")
    # people who are in an arm after the grace period, against what their weights are worth
    stay = f.learnt.started.n * np.array([1 - f.learnt.started.share, f.learnt.started.share])
    share = f.weights[:, 0] ** 2 / f.weights[:, 1] / stay
    if share.min() < WORTH:
        text = (
            f"The weights leave {share.min():.0%} of the information of those {STRATEGIES[share.argmin()]!r}: a few "
            f"people count for many. Choose another grace period, or people who might do either."
        )
        said += (Caution("extreme-weights", text),)
    return said
