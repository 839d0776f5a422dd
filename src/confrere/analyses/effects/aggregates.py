"""Effects by group and period, their covariance, and averages over groups and periods.

With effects a_j, and shares p_g of the groups, an average A = sum p a / sum p over some of them; shares are estimates
too, and the gradient of A by all of them with the covariance of effects and shares gives its variance (delta method,
as by the influence functions of Callaway & Sant'Anna). Averages: over periods of each group, then
over groups (`group`, who is ever treated counts alike); over all groups and periods from treatment on (`simple`); by
time since treatment (`dynamic`); by period (`calendar`). Sources: Callaway & Sant'Anna, J Econom 2021;225:200.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.difference_in_differences import DifferenceInDifferences
from confrere.analyses.effects.group_time import Contrast, Frame, GroupTime, Leans, Means, Models, Start, Totals
from confrere.analyses.effects.influence import Rows
from confrere.analyses.effects.nuisance import Learned, learned
from confrere.analyses.effects.panel import Comparison, adopted
from confrere.analyses.finding import (
    Caution,
    Citation,
    Finding,
    Record,
    attrition,
    chi_square,
    coefficients,
)
from confrere.analyses.newton import check_collinear
from confrere.analyses.scaling import Scales, standard
from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Sum, Verdict, ask, support, together

CALLAWAY = Citation(
    "Callaway B, Sant'Anna PHC. Difference-in-differences with multiple time periods. J Econom 2021;225:200-230",
    "10.1016/j.jeconom.2020.12.001",
)
SANTANNA = Citation(
    "Sant'Anna PHC, Zhao J. Doubly robust difference-in-differences estimators. J Econom 2020;219:101-122",
    "10.1016/j.jeconom.2020.06.003",
)
DOUBT = 0.05  # a p-value of the test before treatment below it is said


class Effects(NamedTuple):
    """Effects (K,) of the contrasts with the shares (groups,) of the groups, and the covariance of both."""

    models: Models
    effect: Array
    share: Array
    vcov: Array

    @property
    def groups(self) -> list[int]:
        """The groups that are compared: places of periods."""
        return sorted({c.group for c in self.models.comparisons})

    @property
    def at(self) -> list[tuple[int, int]]:
        """Group and period of each effect."""
        return [(self.models.comparisons[c.comparison].group, c.time) for c in self.models.contrasts]

    def average(self, among: Sequence[int]) -> tuple[float, Array]:
        """The average of some effects by the shares of their groups, and its gradient by effects and shares."""
        place = [self.groups.index(self.at[j][0]) for j in among]
        p, a = self.share[place], self.effect[list(among)]
        value = float(p @ a / p.sum())
        gradient = np.zeros(len(self.vcov))
        gradient[list(among)] = p / p.sum()
        np.add.at(gradient, len(self.effect) + np.array(place), (a - value) / p.sum())
        return value, gradient


class Average(NamedTuple):
    """An average of effects: what it is called, its value and its gradient by effects and shares."""

    name: str
    value: float
    gradient: Array


def estimated(of: DifferenceInDifferences) -> Flow[Finding]:
    """The flow of differences in differences."""
    steps = GroupTime(of)
    verdict = yield from support(steps.design)
    start = yield from ask(steps.start)
    people = start.groups.value[0]  # of the groups from the second period on, the never treated last
    plan = Models(*_plan(of, people), _frame(of, start, verdict.n), (), ())
    for groups in sorted({c.controls for c in plan.comparisons} | {(c.group,) for c in plan.comparisons}):
        yield from support(steps.among, groups)
    odds: tuple[Learned, ...] = ()
    if of.models_odds:
        fits = [learned(adopted(of, c), _named(of, c)) for c in plan.comparisons]
        odds = yield from together(*fits)
    models = plan._replace(odds=tuple(m.model for m in odds))
    yield from together(*(support(steps.weighed, models, at) for at in range(len(odds))))
    inverse = np.zeros((0, 0, 0))
    if of.models_changes:
        got = yield from ask(steps.regressions, models)
        inverse = _inverses(of, got.terms.value)
        which = [c.comparison for c in models.contrasts]
        models = models._replace(changes=_rows(np.einsum("kij,kj->ki", inverse[which], got.changes.value)))
    totals = yield from ask(steps.totals, models)
    means = _means(models, totals, people)
    squares = yield from ask(steps.squares, models, means, _leans(of, (models, means, totals), odds, inverse))
    return _finding(of, _effects(models, means, squares.second.value, people), totals, verdict)


def _plan(of: DifferenceInDifferences, people: Array) -> tuple[tuple[Comparison, ...], tuple[Contrast, ...]]:
    """What is compared: every group with every period but the first, of those that have controls then."""
    last = len(of.periods)
    there = [g for g in range(1, last) if people[g - 1] > 0]
    if not there:
        raise ModelError("nobody's treatment begins after the first period: check treated_from, or add earlier periods")
    comparisons: dict[Comparison, int] = {}
    contrasts = []
    for g in there:
        for t in range(1, last):
            before = g - 1 if t >= g else t - 1
            later = [h for h in there if h > max(t, before) and h != g] if of.controls == "not yet treated" else []
            controls = (*later, *([last] if people[-1] > 0 else []))
            if controls:
                at = comparisons.setdefault(Comparison(g, controls), len(comparisons))
                contrasts.append(Contrast(at, before, t))
    made = list(comparisons)
    if not any(c.time >= made[c.comparison].group for c in contrasts):
        raise ModelError("nobody is left untreated to be a control: set controls = 'not yet treated', or add people")
    return tuple(made), tuple(contrasts)


def _frame(of: DifferenceInDifferences, start: Start, n: int) -> Frame:
    """The units of terms and outcomes. ModelError for what does not vary."""
    total = Sum(np.array(float(n)))
    z = standard(Scales(total, start.first, start.second), adopted(of, Comparison(0, ())).names[1:])
    y, yy = start.outcomes.value.sum(axis=0) / (n * len(of.periods))
    if yy - y**2 <= 1e-13 * max(y**2, 1e-20):
        raise ModelError("the outcome is the same for everybody in all periods: check its columns")
    return Frame(z.mean, z.sd, float(np.sqrt(yy - y**2)))


def _named(of: DifferenceInDifferences, c: Comparison) -> str:
    return f"the propensity of treatment from {of.periods[c.group]:.15g} on"


def _inverses(of: DifferenceInDifferences, upper: Array) -> Array:
    """Inverses (comparisons, q, q) of products of terms. ModelError where controls do not determine a regression."""
    names = adopted(of, Comparison(0, ())).names
    q = len(names)
    out = np.zeros((len(upper), q, q))
    for at, numbers in enumerate(upper):
        full = np.zeros((q, q))
        full[np.triu_indices(q)] = numbers
        full = full + np.triu(full, 1).T
        check_collinear(full, names)
        out[at] = np.linalg.inv(full)
    return out


def _rows(values: Array) -> Rows:
    return tuple(tuple(row) for row in values.tolist())


def _means(models: Models, totals: Totals, people: Array) -> Means:
    """Means of the changes of groups and controls, in standard deviations."""
    which = [c.comparison for c in models.contrasts]
    n = np.array([people[c.group - 1] for c in models.comparisons])
    weight = totals.weights.value[:, 0]
    treated, controls = totals.changes.value.T
    treated, controls = treated / n[which], controls / weight[which]
    return Means(tuple(treated.tolist()), tuple(controls.tolist()), tuple(n.tolist()), tuple(weight.tolist()))


def _leans(
    of: DifferenceInDifferences, found: tuple[Models, Means, Totals], odds: tuple[Learned, ...], inverse: Array
) -> Leans:
    """How effects lean on the models: their derivatives by the coefficients, times the inverse information."""
    models, means, totals = found
    weight, changes, by_odds = np.array(means.weight), [], []
    for k, c in enumerate(models.contrasts):
        at = c.comparison
        treated, controls = totals.terms.value[at]
        if models.changes:
            d = -treated / means.people[at] + (controls / weight[at] if of.weighs else 0.0)
            changes.append(d @ inverse[at])
        if odds:
            slopes = totals.slopes.value
            d = -(slopes[k] - means.controls[k] * slopes[len(models.contrasts) + at]) / weight[at]
            by_odds.append(odds[at].leans(d[None])[0][0])
    return Leans(_rows(np.array(changes)), _rows(np.array(by_odds)))


def _effects(models: Models, means: Means, second: Array, people: Array) -> Effects:
    """Effects in units of the outcome, shares of the groups, and the covariance of both."""
    n, sd = float(people.sum()), models.frame.y_sd
    effect = np.array(means.treated) - np.array(means.controls)
    groups = sorted({c.group for c in models.comparisons})
    share = np.array([people[g - 1] for g in groups]) / n
    k = len(effect)
    vcov = second.copy()
    vcov[k:, k:] = (vcov[k:, k:] / n - np.outer(share, share)) / n  # influences of effects add up to 0
    vcov[:k, k:] /= n
    vcov[k:, :k] /= n
    unit = np.array([sd] * k + [1.0] * len(groups))
    return Effects(models, effect * sd, share, vcov * np.outer(unit, unit))


# The finding --------------------------------------------------------------------------------------------------


def _finding(of: DifferenceInDifferences, e: Effects, totals: Totals, verdict: Verdict) -> Finding:
    """Averages, effects by group and period, and what was there before treatment."""
    began = [(of.periods[g], of.periods[t]) for g, t in e.at]
    after = [j for j, (g, t) in enumerate(e.at) if t >= g]
    before = [j for j, (g, t) in enumerate(e.at) if t < g]
    since = [t - g for g, t in began]
    event = _averages(e, range(len(since)), lambda j: since[j])
    group, period = _averages(e, after, lambda j: began[j][0]), _averages(e, after, lambda j: began[j][1])
    later = [a for a in event if float(a.name) >= 0]
    simple = Average("simple", *e.average(after))
    overall = [_over_groups(e, group), simple, _mean("dynamic", later), _mean("calendar", period)]
    tests, notes, said = _parallel(e, before)
    tables: dict[str, list[Record]] = {
        "effects": [{"measure": "ATT", "aggregate": r.pop("term"), **r} for r in _records(e, overall)],
        "group_time": _by_both(e, after, began),
        "event_study": [{"event_time": float(r.pop("term")), **r} for r in _records(e, event)],
        "by_group": [{"group": float(r.pop("term")), **r} for r in _records(e, group)],
        "by_period": [{"time": float(r.pop("term")), **r} for r in _records(e, period)],
        "parallel_trends": _by_both(e, before, began), "tests": tests,
        "groups": _groups(of, e, totals, verdict.n), "attrition": attrition(verdict),
    }  # fmt: skip
    k = len(e.effect)
    return Finding(
        "difference_in_differences", verdict.n, verdict.hospitals, tables,
        facts={"estimator": of.estimator, "controls": of.controls, "groups": len(e.groups), "periods": len(of.periods)},
        arrays={"estimate": e.effect, "vcov": e.vcov[:k, :k]}, notes=notes, warnings=said, cite=(CALLAWAY, SANTANNA),
    )  # fmt: skip


def _averages(e: Effects, among: Sequence[int], by: Callable[[int], float]) -> list[Average]:
    """An average for each value of `by`, ascending."""
    values = sorted({by(j) for j in among})
    return [Average(repr(float(v)), *e.average([j for j in among if by(j) == v])) for v in values]


def _mean(name: str, parts: Sequence[Average]) -> Average:
    """The plain mean of averages."""
    value = float(np.mean([p.value for p in parts]))
    return Average(name, value, np.mean([p.gradient for p in parts], axis=0))


def _over_groups(e: Effects, parts: Sequence[Average]) -> Average:
    """The mean of the groups' averages by the groups' shares; of the groups that have one."""
    after = sorted({g for g, t in e.at if t >= g})
    place = [e.groups.index(g) for g in after]
    p = e.share[place]
    value = float(p @ np.array([a.value for a in parts]) / p.sum())
    gradient = p @ np.array([a.gradient for a in parts]) / p.sum()
    gradient[len(e.effect) + np.array(place)] += (np.array([a.value for a in parts]) - value) / p.sum()
    return Average("group", value, gradient)


def _records(e: Effects, averages: Sequence[Average]) -> list[Record]:
    """Records with the columns of `coefficients`, `term` the average's name."""
    g = np.array([a.gradient for a in averages])
    variance = np.einsum("ij,jk,ik->i", g, e.vcov, g)
    return coefficients([a.name for a in averages], np.array([a.value for a in averages]), np.sqrt(variance))


def _by_both(e: Effects, among: Sequence[int], began: Sequence[tuple[float, float]]) -> list[Record]:
    """Records by group and period."""
    if not among:
        return []
    se = np.sqrt(np.diag(e.vcov))[list(among)]
    made = coefficients([""] * len(among), e.effect[list(among)], se)
    both = [(j, {k: v for k, v in r.items() if k != "term"}) for j, r in zip(among, made, strict=True)]
    return [{"group": began[j][0], "time": began[j][1], "event_time": began[j][1] - began[j][0], **r} for j, r in both]


def _parallel(e: Effects, before: list[int]) -> tuple[list[Record], tuple[str, ...], tuple[Caution, ...]]:
    """The test that all effects before treatment are 0 (Wald), a note where there is none, a caution where it fails."""
    if not before:
        text = "No group has two periods before its treatment: whether trends were parallel before cannot be looked at."
        return [], (text,), ()
    a, v = e.effect[before], e.vcov[np.ix_(before, before)]
    if np.linalg.cond(v / np.sqrt(np.outer(np.diag(v), np.diag(v)))) > 1e10:
        return [], ("Effects before treatment determine each other: there is no test of all of them.",), ()
    test = chi_square("no effect before treatment", float(a @ np.linalg.solve(v, a)), len(before))
    if test["p_value"] >= DOUBT:
        return [test], (), ()
    text = (
        f"Before treatment, groups and their controls changed differently (p = {test['p_value']:.2g}): they may have "
        f"gone on to, and then the difference is no effect of the treatment."
    )
    return [test], (), (Caution("parallel-trends", text),)


def _groups(of: DifferenceInDifferences, e: Effects, totals: Totals, n: int) -> list[Record]:
    """People by group, and as many equal controls as theirs are worth, in the comparison where these are fewest."""
    w, square = totals.weights.value.T
    records = []
    for g, share in zip(e.groups, e.share, strict=True):
        mine = [i for i, c in enumerate(e.models.comparisons) if c.group == g]
        worth = min(float(w[i] ** 2 / square[i]) for i in mine)
        records.append({"group": of.periods[g], "n": round(share * n), "effective_controls": worth})
    return records
