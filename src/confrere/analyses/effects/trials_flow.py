"""The rounds of sequential trials, and their finding (`sequential_trials`).

The grid of times; who is in which trial and starts in it; the propensity of all trials, and the model of being lost;
weighted events and times at risk of the arms, which make all values (`even_hazards`); their derivatives by the models;
products of influences.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.effects.arms import ARMS
from confrere.analyses.effects.even_hazards import Arms
from confrere.analyses.effects.even_tables import Read, curve_of, slopes_of, terms_of, wanted
from confrere.analyses.effects.means import few
from confrere.analyses.effects.person_trials import Treating
from confrere.analyses.effects.sequential_trials import SequentialTrials
from confrere.analyses.effects.starting import Even, Rates, fitted_losses, lean_by, lost_clock, those
from confrere.analyses.effects.strategies_flow import ROBINS
from confrere.analyses.effects.trials import Counts, Trials, Weighing
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, count
from confrere.analyses.ladder import ladder
from confrere.analyses.newton import Curve, Objective, Peak, Slope, maximise
from confrere.analyses.scaling import Standard, standard
from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Verdict, ask, support, together
from confrere.study.ground import model_of

PER_CELL = 36  # numbers of the budget for each cell of the ladder, and for each trial as many as
PER_TRIAL = 8
PER_LOST, SQUARE = 40, 6  # more where people are weighed against being lost, and for each pair of cells
WORTH = 0.5  # of the information: below it, weights are said to be extreme
ASSIGNED = "Whoever starts after the period of a trial stays untreated in it (intention to treat)."
KEPT = "Whoever starts after the period of a trial leaves it at the end of that later period (per protocol)."
HERNAN = Citation(
    "Hernan MA, Alonso A, Logan R, et al. Observational studies analyzed like randomized experiments: an application "
    "to postmenopausal hormone therapy and coronary heart disease. Epidemiology 2008;19:766-779",
    "10.1097/EDE.0b013e3181875e61",
)
DANAEI = Citation(
    "Danaei G, Garcia Rodriguez LA, Cantero OF, Logan R, Hernan MA. Observational data for comparative effectiveness "
    "research: an emulation of randomised trials of statins and primary prevention of coronary heart disease. Stat "
    "Methods Med Res 2013;22:70-96",
    "10.1177/0962280211403603",
)
KEOGH = Citation(
    "Keogh RH, Gran JM, Seaman SR, Davies G, Vansteelandt S. Causal inference in survival analysis using longitudinal "
    "observational data: sequential trials and marginal structural models. Stat Med 2023;42:2191-2225",
    "10.1002/sim.9718",
)

GOES_ON = "Whoever is treated is taken to go on: nobody is censored for stopping."
STOPPED = "Whoever is treated and stops leaves a trial at the end of the period in which they stop."


class Enrolment(NamedTuple):
    """People in each trial (K,), and those of them who are treated in it (K,)."""

    people: Array
    treated: Array


class Changed(NamedTuple):
    """A model of starting, or of stopping, and its fit."""

    model: Treating
    peak: Peak


class Found(NamedTuple):
    """All that a finding is made of."""

    verdict: Verdict
    trials: Enrolment
    counts: Counts
    weights: Array  # (2, 2)
    changes: tuple[Changed, ...]
    lost: Even | None
    arms: Arms
    read: Read


def estimated(of: SequentialTrials) -> Flow[Finding]:
    """The flow of sequential trials."""
    steps = Trials(of)
    first = yield from support(steps.design)
    edges = _edges(of, of.cells_worth(first.budget))
    verdict = yield from support(steps.table, edges)
    grid = _grid(edges, verdict)
    names = model_of(of.formula, of.ground).names
    z = standard((yield from ask(steps.moments)), names)
    known = those(z, names, of.confounding)
    counts = yield from ask(steps.counted)
    enrolment = _enrolment(of, counts)
    fits: list[Flow[Any]] = [_starting(of, steps, enrolment, known)]
    fits += [_stopping(of, steps, known)] if of.stopped else []
    fits += [_losing(of, steps, grid, those(z, names, of.losing))] if of.censoring else []
    found = yield from together(*fits)
    found, lost = (found[:-1], found[-1]) if of.censoring else (found, None)
    by = Weighing(tuple(one.model for one in found), lost.rates if lost else None)
    yield from together(*(support(steps.weighed, grid, by, arm) for arm in (0, 1)))
    totals = yield from ask(steps.totals, grid, by)
    arms = Arms(totals.events.value, totals.risk.value, np.array(grid))
    values = wanted(arms, of.times, of.until)
    slopes = slopes_of(values)
    asks: list[Flow[Any]] = [ask(steps.derivatives, grid, by, slopes)]
    asks += [ask(steps.lost_derivatives, grid, by, slopes)] if lost else []
    got, *along = yield from together(*asks)
    leans = [lean_by(along[0].lost.value, lost.peak)] if lost else []
    ends = np.cumsum([len(one.model.beta) for one in found])[:-1]
    parts = np.split(got.by.value, ends, axis=1)
    leans += [lean_by(part, one.peak) for part, one in zip(parts, found, strict=True)]
    squares = yield from ask(steps.squares, grid, by, slopes, tuple(leans))
    read = Read(values, squares.second.value, of.times, of.until, ARMS, of.causes)
    trials = Enrolment(*(v[:-1] for v in enrolment)) if of.adhering else enrolment
    return _finding(of, Found(verdict, trials, counts, totals.weights.value, found, lost, arms, read))


def _edges(of: SequentialTrials, budget: int) -> tuple[float, ...]:
    """Right edges of the ladder of times from the beginning of a trial until its end."""
    each = PER_CELL + PER_TRIAL * len(of.periods) * (2 if of.stopped else 1)
    most = budget // each
    if of.censoring:  # the information about being lost has a number for each pair of cells
        each += PER_LOST
        most = int((np.sqrt(each**2 + 4 * SQUARE * budget) - each) / (2 * SQUARE))
    made = ladder(of.about, of.horizon, max(6, most))
    return tuple(e for e in made if e <= of.horizon)


def _grid(edges: tuple[float, ...], verdict: Verdict) -> tuple[float, ...]:
    """Edges of the merged cells, 0 first; the gate refuses where few of a trial have the event, or leave it."""
    merged = verdict.grids["left of the treated"][0]
    last = [*np.flatnonzero(np.diff(merged)), len(edges) - 1]  # the last cell of the ladder in each merged cell
    return (0.0, *(edges[int(i)] for i in last))


def _enrolment(of: SequentialTrials, counts: Counts) -> Enrolment:
    """Who is in each trial. ModelError where nobody, or everybody, starts in a period, and where there is no event."""
    ends, treated = counts.enrolled.value[0].reshape(-1, 2).sum(axis=1), counts.enrolled.value[0][1::2]
    people = np.cumsum(ends[::-1])[::-1]
    for p, n, a in zip(of.periods, people, treated, strict=True):
        if not 0 < a < n:
            who = "nobody" if a <= 0 else "everybody who is in the trial"
            raise ModelError(
                f"{who} starts in the period that ends at {p:g}: there is nothing to compare. Take fewer or longer "
                f"periods, and check the column of starts"
            )
    if not (counts.treated.value.sum() and counts.untreated.value.sum()):
        raise ModelError("an arm has no event: check its column, or name a later time", about="no-events")
    return Enrolment(people, treated)


def _starting(of: SequentialTrials, steps: Trials, enrolment: Enrolment, z: Standard) -> Flow[Changed]:
    """The fit of the propensity."""
    named = (*(f"trial at {p:g}" for p in of.periods), *of.confounding)
    start = Treating(_odds(enrolment.treated / enrolment.people), z, ())

    def slope(beta: tuple[float, ...]) -> Flow[Slope]:
        return ask(steps.slope, start._replace(beta=beta))

    def curve(beta: tuple[float, ...]) -> Flow[Curve]:
        return ask(steps.curve, start._replace(beta=beta))

    return (yield from _fit(Objective(slope, curve, named), start, f"the propensity ({of.confounders})"))


def _stopping(of: SequentialTrials, steps: Trials, z: Standard) -> Flow[Changed]:
    """The fit of the model of stopping. ModelError where nobody stops in a period, or all who are treated do."""
    kept = yield from ask(steps.kept)
    on, stops = kept.keeping.value.sum(axis=1), kept.keeping.value[:, 1]
    for p, n, a in zip(of.periods[1:], on, stops, strict=True):
        if not 0 < a < n:
            who = "nobody" if a <= 0 else "everybody who is treated"
            raise ModelError(
                f"{who} stops in the period that ends at {p:g}: its weights are not known. Take fewer or longer "
                f"periods, check the column of stops, or leave stopped out"
            )
    named = (*(f"stops by {p:g}" for p in of.periods[1:]), *of.confounding)
    start = Treating(_odds(stops / on), z, (), on=True)

    def slope(beta: tuple[float, ...]) -> Flow[Slope]:
        return ask(steps.stop_slope, start._replace(beta=beta))

    def curve(beta: tuple[float, ...]) -> Flow[Curve]:
        return ask(steps.stop_curve, start._replace(beta=beta))

    return (yield from _fit(Objective(slope, curve, named), start, f"the model of stopping ({of.confounders})"))


def _odds(share: Array) -> tuple[float, ...]:
    """Log odds."""
    return tuple(np.log(share / (1 - share)).tolist())


def _fit(asks: Objective, start: Treating, what: str) -> Flow[Changed]:
    """The fit of a model of starting, or of stopping."""
    try:
        peak = yield from maximise(np.zeros(len(asks.names)), asks)
    except ModelError as error:
        raise ModelError(f"{what}: {error}", about=error.about) from None
    return Changed(start._replace(beta=tuple(peak.beta.tolist())), peak)


def _losing(of: SequentialTrials, steps: Trials, grid: tuple[float, ...], z: Standard) -> Flow[Even]:
    """The fit of the model of being lost."""
    losses = yield from ask(steps.losses, grid)
    cells = range(len(grid) - 1)
    groups = [(a, cells, losses.lost.value[a], losses.time.value[a]) for a in (0, 1)]
    start = Rates(lost_clock(grid, groups), z, ())

    def slope(beta: tuple[float, ...]) -> Flow[Slope]:
        return ask(steps.lost_slope, grid, start._replace(beta=beta))

    def curve(beta: tuple[float, ...]) -> Flow[Curve]:
        return ask(steps.lost_curve, grid, start._replace(beta=beta))

    return (yield from fitted_losses(Objective(slope, curve, ()), start, of))


# The finding --------------------------------------------------------------------------------------------------


def _finding(of: SequentialTrials, f: Found) -> Finding:
    """Effects, risks, means, curves, arms, trials, propensity."""
    tables: dict[str, list[Record]] = {
        "effects": f.read.effects(), "arms": _arms(f), "trials": _trials(of, f), "risks": f.read.risks(),
        "rmst": f.read.means(), "trial_curve": curve_of(f.arms, ARMS),
    }  # fmt: skip
    for name, one in zip(("propensity", "stopping"), f.changes, strict=False):
        tables[name] = terms_of(one.peak, one.model.standard, of.confounding, "odds_ratio")
    if f.lost is not None and of.losing:
        tables["lost"] = terms_of(f.lost.peak, f.lost.rates.standard, of.losing, "hazard_ratio")
    tables["attrition"] = attrition(f.verdict)
    cells = len(f.arms.edges) - 1
    facts = {"estimand": of.estimand, "contrast": of.contrast, "trials": len(f.trials.people), "horizon": of.horizon,
             "cells": cells, "person_trials": round(float(f.trials.people.sum()))}  # fmt: skip
    notes = (
        f"Hazards are taken to be even within {cells} cells of time from the beginning of a trial; times at risk "
        f"within a cell are exact.",
        *((KEPT, STOPPED if of.stopped else GOES_ON) if of.adhering else (ASSIGNED,)),
    )
    return Finding(
        "sequential_trials", f.verdict.n, f.verdict.hospitals, tables, facts=facts, arrays={"vcov": f.read.vcov},
        notes=notes, warnings=_cautions(f), cite=(HERNAN, DANAEI, KEOGH, *((ROBINS,) if of.censoring else ())),
    )  # fmt: skip


def _people(f: Found) -> Array:
    """People in the arms (2,): who is untreated in some trial, and who is treated in one."""
    alone = float(f.counts.enrolled.value[0][1])  # in the first trial only, and treated in it
    return np.array([f.verdict.n - alone, float(f.trials.treated.sum())])


def _events(f: Found) -> Array:
    """Person-trials of the arms (2,) in which the event happens."""
    return np.array([f.counts.untreated.value.sum(), f.counts.treated.value.sum()])


def _arms(f: Found) -> list[Record]:
    """By arm: people, person-trials, what weights are worth in people, person-trials with the event."""
    people, treated = _people(f), float(f.trials.treated.sum())
    trials = float(f.trials.people.sum()) - treated, treated
    worth, events = f.weights[:, 0] ** 2 / f.weights[:, 1], _events(f)
    return [
        {"arm": arm, "n": round(people[a]), "person_trials": round(float(trials[a])), "effective_n": float(worth[a]),
         **count("events", float(events[a]), f.verdict.k)}
        for a, arm in enumerate(ARMS)
    ]  # fmt: skip


def _trials(of: SequentialTrials, f: Found) -> list[Record]:
    """By trial: its beginning, people in it, and those treated. The last period of who keeps to it begins none."""
    rows = zip(of.periods, f.trials.people, f.trials.treated, strict=False)
    return [{"time": float(p), "n": round(float(n)), "treated": round(float(a))} for p, n, a in rows]


def _cautions(f: Found) -> tuple[Caution, ...]:
    """Few events in an arm, and arms that a few people carry."""
    rarest = [counts.value.sum(axis=1).min() for counts in (f.counts.untreated, f.counts.treated)]  # of the causes
    said = few(np.array(rarest), "the event")
    share = f.weights[:, 0] ** 2 / f.weights[:, 1] / _people(f)
    if share.min() < WORTH:
        text = (
            f"The weights leave {share.min():.0%} of the information of the {ARMS[share.argmin()]}: a few people count "
            f"for many. Set truncate, take the estimand ATT or ATO, or longer periods."
        )
        said += (Caution("extreme-weights", text),)
    return said
