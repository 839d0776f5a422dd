"""How good predicted risks are among the people of one hospital, for its steward: nothing of it leaves.

The measures of `evaluate`, of each person's own risk. Of an outcome of 0 or 1 they are exact. With follow-up they are
exact while no more than `MOST` risks and times differ, else on as many groups of about as many people each. The
calibration in the large and the slope are regressions of these people alone, by Newton's method. Of a later
period there is also how far its risks are from those of the first that all hospitals tell, as in the table `drift`.

A level of the subgroups, or the hospital, with fewer than `LEAST` people with the outcome or without it has no measures
(with follow-up: followed beyond the horizon): an area of five people is noise, and limits by a standard error hold for
many people alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import special

from confrere.analyses.finding import Finding, Record
from confrere.analyses.learning import evaluate_binary, evaluate_followed
from confrere.analyses.learning.coarse import ALL
from confrere.analyses.learning.drift import GROUPS, INDEX, stability
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_binary import Part, Straight, told
from confrere.analyses.learning.evaluate_censored import Leaving
from confrere.analyses.learning.evaluate_line import Line, climbed, derivatives, frame_of, peak_of, scored, told_line
from confrere.analyses.learning.evaluate_risk import Predicted, even
from confrere.analyses.learning.evaluate_thresholds import Bins
from confrere.analyses.outcomes import Cases
from confrere.rounds import Array, Bools, Ints
from confrere.study.own_measures import LEAST, OwnMeasure, OwnMeasures, OwnPart

MOST = 500  # groups of risk, and of time
IF_SAME = "if_same"  # the 95 % limit of the index where nothing moved
Everywhere = Mapping[str, Mapping[str, float | None]]  # the estimates of all hospitals by level and metric


def own(of: Evaluate, data: Predicted, everywhere: Everywhere) -> OwnMeasures:
    """The measures of the people here, and of those of each level that somebody here has.

    Never an error: that one hospital has one would be told to the coordinator by its answer.
    """
    levels = {name: data.level == j for j, name in enumerate(of.subgroups)} if of.parted else {}
    groups = {"": np.ones(len(data.risk), dtype=bool)} | {name: who for name, who in levels.items() if who.any()}
    parts = {name: _part(of, name, _some(data, who), everywhere) for name, who in groups.items()}
    first = next((name for name in of.subgroups if name in everywhere), "") if of.over else ""
    told = [name for name, part in parts.items() if part.measures] if first else []
    for name in told[1 + told.index(first) :] if first in told else []:
        moved = _moved(data.risk, (groups[first], groups[name]), everywhere.get(name, {}))
        parts[name] = parts[name]._replace(measures=(*parts[name].measures, *moved))
    return OwnMeasures(of.about, of.horizon if of.followed else None, of.ground.unit, of.parted, tuple(parts.values()))


def everywhere(found: Finding) -> Everywhere:
    """The estimates of all hospitals, and how far the risks of later periods moved."""
    told: dict[str, dict[str, float | None]] = {}
    for r in found.tables["metrics"]:
        told.setdefault(r["level"], {})[r["metric"]] = r["estimate"]
    for r in found.tables.get("drift", ()):
        if r["what"] == "risk":
            told[r["level"]] |= {INDEX: r["estimate"], IF_SAME: r["if_same"]}
    return told


def _some(data: Predicted, who: Bools) -> Predicted:
    time = None if data.time is None else data.time[who]
    return Predicted(data.risk[who], data.outcome[who], time, data.level[who])


def _part(of: Evaluate, level: str, data: Predicted, everywhere: Everywhere) -> OwnPart:
    """The people and measures of a level, or of everybody."""
    late = data.time > of.horizon if data.time is not None else data.outcome == 0
    events = int(((data.outcome == 1) & ~late).sum())
    made: list[Record] = []
    if min(events, int(late.sum())) >= LEAST:
        with np.errstate(all="ignore"):  # what people do not determine is no number, and not told
            made = _followed(of, data, late) if data.time is not None else _binary(data)
    return OwnPart(level, len(data.risk), events, tuple(_told(level, made, everywhere)))


def _told(level: str, made: list[Record], everywhere: Everywhere) -> Iterator[OwnMeasure]:
    known = everywhere.get(level, {})
    for r in made:
        estimate, low, high = (_finite(r[key]) for key in ("estimate", "conf_low", "conf_high"))
        if low == high:  # of a risk that is the same for everybody, or right about all: no error could be told
            low = high = None
        yield OwnMeasure(r["metric"], estimate, low, high, known.get(r["metric"]))


def _finite(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _moved(risk: Array, periods: tuple[Bools, Bools], known: Mapping[str, float | None]) -> Iterator[OwnMeasure]:
    """How far the risks of a later period are from those of the first, whose people are told (n,)."""
    group, many = _groups(risk)
    counts = np.array([np.bincount(group[who], minlength=many) for who in periods], dtype=float)
    found = stability(np.add.reduceat(counts, even(counts[0], GROUPS), axis=1))
    for metric, value in ((INDEX, found["estimate"]), (IF_SAME, found["if_same"])):
        yield OwnMeasure(metric, value, None, None, known.get(metric))


# An outcome of 0 or 1 -----------------------------------------------------------------------------------------


def _binary(data: Predicted) -> list[Record]:
    """The measures, every risk being a cell of its own."""
    y, (risks, place) = data.outcome, np.unique(data.risk, return_inverse=True)
    people = np.array([np.bincount(place[y == kind], minlength=len(risks)) for kind in (0, 1)], dtype=float)
    lost = np.array([-np.log(np.where(y == 1, data.risk, 1 - data.risk)), (y - data.risk) ** 2])
    losses = np.stack([lost.sum(axis=1), (lost**2).sum(axis=1)], axis=1)
    part = Part("", "", people, people * risks, np.zeros(0), losses, ALL)
    return evaluate_binary.metrics(part, straight(data.logit, y))


def straight(logit: Array, y: Ints) -> Straight:
    """The calibration in the large, the intercept and the slope of some people; None where they determine none."""
    one, none = np.ones((len(y), 1)), np.zeros(len(y))
    return Straight(*_line(one, logit, y), *_line(np.column_stack([one, logit]), none, y))


def _line(x: Array, offset: Array, y: Ints) -> list[Record | None]:
    """The coefficients of the logistic regression of y (n,) on x (n, p), with an offset (n,)."""

    def at(beta: Array) -> tuple[Array, Array]:
        p = special.expit(x @ beta + offset)
        return x.T @ (y - p), (x * (p * (1 - p))[:, None]).T @ x

    found = climbed(at, x.shape[1])
    if found is None:
        return [None] * x.shape[1]
    se = np.sqrt(np.diag(np.linalg.inv(at(found)[1])))
    return [told("", float(b), float(s)) for b, s in zip(found, se, strict=True)]


# A time to an event -------------------------------------------------------------------------------------------


def _followed(of: Evaluate, data: Predicted, late: Bools) -> list[Record]:
    """The measures, of groups of risk and of time; `late` is followed beyond the horizon."""
    risk, time = data.risk, np.asarray(data.time)
    group, many = _groups(risk)
    at, right, exact = _times(time[~late], (*of.grid, of.horizon))
    cell = np.full(len(risk), len(right))
    cell[~late] = at
    kind = np.where(late, 3, np.where(data.outcome == 0, 2, data.outcome - 1))  # as `Bins` has them; late: beyond

    def counted(who: Bools) -> Array:
        index = (group * (len(right) + 1) + cell)[who]
        return np.bincount(index, minlength=many * (len(right) + 1)).reshape(many, -1).astype(float)

    def means(who: Bools, values: Array) -> Array:
        n = np.bincount(group[who], minlength=many)
        sums = np.column_stack([np.bincount(group[who], v, minlength=many) for v in values[who].T])
        return np.asarray(sums / np.maximum(n, 1)[:, None])

    leaving = Leaving(
        np.append(right, 2 * right[-1]), counted(kind == 0), counted(kind == 1), counted(kind >= 2), exact
    )
    powers = risk[:, None] ** np.arange(1, 5)
    part = Bins(
        "", "", leaving, np.append(0.0, right), np.array([means(kind == k, powers) for k in range(3)]),
        means(late, powers), means(kind >= 0, np.log(-np.log1p(-risk))[:, None])[:, 0],
        np.bincount(group, minlength=many).astype(float), np.zeros(many - 1), ALL,
    )  # fmt: skip
    g = leaving.censoring()
    early = np.append(g.inside, 0.0)[cell]  # by the horizon, at the own time
    return evaluate_followed.metrics(of, part, _scaled(data, kind == 0, np.where(kind < 2, early, late * g.edge[-1])))


def _scaled(data: Predicted, having: Bools, w: Array) -> Line | None:
    """The line by which these people's risks would be right, with the weights w (n,) of `evaluate_line`."""
    cases = scored(data, having, w)
    cases = Cases(*(values[w > 0] for values in cases))
    frame = frame_of(cases.x[:, 0], cases.w * cases.y, cases.w * (1 - cases.y))
    found = peak_of(cases, frame)
    got = None if found is None else derivatives(cases, tuple(found.tolist()), frame, "expected")
    return None if found is None or got is None else told_line(frame, found, got.information, got.squares)


def _groups(risk: Array) -> tuple[Ints, int]:
    """The group of each risk (n,), the lowest first, and how many groups there are."""
    risks, place = np.unique(risk, return_inverse=True)
    if len(risks) > MOST:
        last = np.cumsum(np.bincount(place)) - 1
        _, place = np.unique((last * MOST // len(risk))[place], return_inverse=True)
    return place, int(place.max()) + 1


def _times(time: Array, marks: tuple[float, ...]) -> tuple[Ints, Array, bool]:
    """The cell of each time (n,), right edges of cells to the last of `marks`, and whether each is one time alone."""
    times = np.unique(time)
    if exact := len(times) <= MOST:
        edges = np.union1d(times, marks)
    else:
        edges = np.union1d(np.quantile(time, np.arange(1, MOST) / MOST, method="higher"), marks)
    return np.searchsorted(edges, time), edges, exact
