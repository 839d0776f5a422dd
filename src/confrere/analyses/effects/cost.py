"""What a treatment costs and what it gains, from one run: mean cost and effect of two arms until a horizon.

The rounds: the propensity, who overlaps, and trimming, as in `means`; people and weights by arm; who leaves when, which
makes the curves of censoring; costs and effects per probability of being seen (`censored_cost`); the covariance of all
means by influences. From the two differences alone `decision` makes ratio, net benefit, acceptability and budget.

Sources: Bang & Tsiatis, Biometrika 2000;87:329; Willan, Lin & Manca, Stat Med 2005;24:131; Husereau, Drummond,
Augustovski et al., Value Health 2022;25:3 (CHEERS, what is to be reported).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.effects import balance, decision, measures
from confrere.analyses.effects.arms import ARMS
from confrere.analyses.effects.censored_cost import (
    YEAR,
    Censoring,
    CostArms,
    Falls,
    Parts,
    Rows,
    Target,
    gains,
)
from confrere.analyses.effects.decision import Increment
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.means import HERNAN, Weighed, few, propensity, weigh
from confrere.analyses.effects.nuisance import Learned
from confrere.analyses.effects.survival import Arms
from confrere.analyses.effects.weighted import By, leaning
from confrere.analyses.effects.weighting import Estimand
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, count
from confrere.analyses.ladder import ladder
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Flow, Verdict, ask, keep, register, support, together
from confrere.study.ground import DAYS, Ground, model_of

BANG = Citation(
    "Bang H, Tsiatis AA. Estimating medical costs with censored data. Biometrika 2000;87:329-343",
    "10.1093/biomet/87.2.329",
)
WILLAN = Citation(
    "Willan AR, Lin DY, Manca A. Regression methods for cost-effectiveness analysis with censored data. Stat Med "
    "2005;24:131-145",
    "10.1002/sim.1794",
)
STINNETT = Citation(
    "Stinnett AA, Mullahy J. Net health benefits: a new framework for the analysis of uncertainty in "
    "cost-effectiveness analysis. Med Decis Making 1998;18:S68-S80",
    "10.1177/0272989X98018002S09",
)
SHORT = 0.1  # a probability of being seen until the horizon under which a few people stand for many
NAMES = ("incremental cost", "incremental effect")


@register("cost")
@dataclass(frozen=True)
class Cost:
    """What the treatment costs more, and gains more, per person until a horizon; where follow-up may end before.

    `treatment` is a column, 0 or 1, or of two declared levels (the second is treated). `outcome` is `Surv(time, died)`.
    `costs` are columns, one for each part of time; `intervals` the right edges of the parts, in units of time, the last
    being the horizon: one part is Bang and Tsiatis' simple estimator, several the partitioned one. A column holds
    what was spent in the part, as far as the person was followed. The effect is years of life, or the sum of the
    columns `qalys`, one for each part. `willingness` are public values of a unit of effect.

    `confounders`, right side of a formula, weigh people by their propensity (`estimand`, `truncate`, `trim` as in
    `effect`); without them the arms are compared as they are. `discount` are the yearly rates of costs and of effects,
    applied at the middle of each part; [0, 0] is none. `eligible` are people eligible in each year of a budget.
    With `own_balance` every hospital keeps the table `balance` of its own people, for its steward alone.
    `seed` is that of the draws behind percentile limits and quadrants.

    Finding: tables `effects`, `arms`, `intervals`, `icer`, `quadrants`, `net_benefit`, `acceptability`, with `eligible`
    `budget_impact`, with confounders `balance`, `overlap`, `propensity`; `attrition`. Costs are in the unit of
    the columns. Arrays `mean` and `vcov` of the targets: the untreated, then the treated.
    Errors: ModelError where 1 to k-1 people of an arm die, are censored or reach the horizon, or nobody reaches it.
    """

    treatment: str
    outcome: str
    costs: tuple[str, ...]
    intervals: tuple[float, ...]
    willingness: tuple[float, ...]
    qalys: tuple[str, ...] = ()
    confounders: str = ""
    estimand: Estimand = "ATE"
    truncate: tuple[float, ...] = ()
    trim: tuple[float, ...] = ()
    discount: tuple[float, ...] = (0.03, 0.03)
    eligible: tuple[float, ...] = ()
    own_balance: bool = False
    seed: int = 1
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings and formulas, against the levels that the study declares: StudyError, FormulaError."""
        _check_numbers(self)
        _check_columns(self)
        self.effect.weighting  # noqa: B018  (its bounds are checked as it is made)
        if self.confounders:
            self.effect.check()
        elif self.truncate or self.trim or self.estimand != "ATE" or self.own_balance:
            raise StudyError(
                "without confounders nobody is weighed: leave out estimand, truncate, trim, own_balance, or name some"
            )

    # public

    @property
    def formula(self) -> str:
        """Outcome, treatment and confounders."""
        return self.effect.formula

    @property
    def formulas(self) -> tuple[str, ...]:
        """The formulas of what is spent and gained."""
        return self.effect.formulas

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of costs and effects."""
        return self.effect.reads

    @property
    def valued(self) -> dict[str, tuple[float, ...]]:
        """Times of dummy people: some reach the horizon."""
        outcome, tau = model_of(f"{self.outcome} ~ 1", self.ground).outcome, self.intervals[-1]
        columns = () if outcome is None or outcome.time is None else outcome.time.sources()
        return {name: (tau / 4, tau / 2, tau, 2 * tau) for name in columns}

    @cached_property
    def effect(self) -> Effect:
        """The comparison whose people, propensity and weights these are."""
        beside = (self.outcome, *self.costs, *self.qalys)
        return Effect(
            self.treatment, self.outcome, self.confounders or "1", estimand=self.estimand, truncate=self.truncate,
            trim=self.trim, own_balance=self.own_balance, beside=beside, ground=self.ground.marked(*self.intervals),
        )  # fmt: skip

    @property
    def parts(self) -> Parts:
        """What is added up in each part of time."""
        return Parts(self.intervals, self.costs, self.qalys)

    @property
    def middles(self) -> Array:
        """The middle of each part (J,), in years."""
        ends = np.array(self.intervals)
        return np.asarray((ends + np.append(0.0, ends[:-1])) / 2 * DAYS[self.ground.unit] / YEAR)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Cost and effect, discounted; and as they are, where that differs."""
        rates = [self.discount, (0.0, 0.0)] if any(self.discount) else [self.discount]
        return tuple(
            Target(what, tuple(((1 + two[what]) ** -self.middles).tolist())) for two in rates for what in range(2)
        )

    # sums only

    def flow(self) -> Flow[Finding]:
        """Propensity, arms, curves of censoring, means, covariance; then what is made of the differences."""
        self.check()
        weighed = (yield from weigh(self.effect)) if self.confounders else None
        among = weighed.among if weighed else self.effect.among
        learned = weighed.learned if weighed else (yield from propensity(self.effect, among))
        by = By(self.effect, among, learned.model, learned.share, learned.n)
        arms, about = Arms(by, self.effect.about), CostArms(by, self.parts, self.targets, self.effect.about)
        verdict = yield from support(arms.design)
        totals = yield from ask(arms.totals)
        (n, died), (weight, square) = totals.people.value.T, totals.weights.value.T
        sums = balance.Arms(n, weight, square)
        found, table = yield from together(
            _means(about, weight, verdict.budget), _balanced(arms, weighed, sums, verdict)
        )
        return _finding(self, Found(verdict, learned, weighed, sums, died, found, table))


class Means(NamedTuple):
    """Means by arm and target (2, T), their covariance (2T, 2T), by part of time (2, J, 2), seen until the end (2,)."""

    mean: Array
    vcov: Array
    parts: Array
    seen: Array


class Found(NamedTuple):
    """All that a finding is made of."""

    verdict: Verdict
    learned: Learned
    weighed: Weighed | None
    arms: balance.Arms
    died: Array  # (2,)
    means: Means
    balance: list[Record]

    @property
    def increments(self) -> tuple[Array, Array]:
        """The treated less the others, by target (T,), and the covariance (T, T)."""
        many = self.means.mean.shape[1]
        along = np.hstack([-np.eye(many), np.eye(many)])
        return self.means.mean[1] - self.means.mean[0], along @ self.means.vcov @ along.T


def _means(about: CostArms, weight: Array, budget: int) -> Flow[Means]:
    """The curves of censoring, the means, and their covariance."""
    edges = _edges(about, budget)
    verdict = yield from support(about.design, edges)
    exits = yield from ask(about.exits)
    inner = _merged(verdict, edges, about.parts.ends)
    counts = exits.kinds.value.reshape(2, 2, -1)
    fine = about.ground.fine
    falls = [Falls(counts[0, a], counts[1, a], float(weight[a]), fine) for a in range(2)]
    logs = np.array([np.append(0.0, np.cumsum(f.fall)) for f in falls])
    k = Censoring(inner, _rows(logs), fine)
    spent = yield from ask(about.spent, k)
    factors = np.array([t.factors for t in about.targets])
    values = spent.values.value / weight[:, None, None]
    mean = np.array([[values[a, :, t.what] @ f for t, f in zip(about.targets, factors, strict=True)] for a in range(2)])
    gain = gains(falls, -spent.by_log.value / weight[:, None, None])
    total, means = (float(weight[0]), float(weight[1])), _rows(mean)
    lean = yield from leaning(about.by, (yield from ask(about.derivatives, k, total, means, gain)))
    squares = yield from ask(about.squares, k, (total, means), gain, lean)
    _reached(weight - counts.sum(axis=(0, 2)), weight, about.parts.ends[-1])  # last: what may leave does not hang on it
    return Means(mean, squares.second.value, values, np.exp(logs[:, -1]))


def _edges(about: CostArms, budget: int) -> tuple[float, ...]:
    """Right edges of the cells of time until the horizon, as many as the budget of numbers pays for."""
    tau, ground = about.parts.ends[-1], about.ground
    most = max(6, budget // (4 * (4 + len(about.targets))))
    return (*(e for e in ladder(ground, tau, most) if e < tau - 1e-9), tau)


def _merged(verdict: Verdict, edges: tuple[float, ...], ends: tuple[float, ...]) -> tuple[float, ...]:
    """The edges of the merged cells, from 0 to the horizon; ModelError where an arm was left out, or an end of a part.

    What is spent in a part tells how many are followed to its ends, and for how long: they are edges as all others.
    """
    grid = verdict.grids["died"]
    if (grid < 0).any():
        raise ModelError(
            f"in an arm 1 to {verdict.k - 1} people die, or are censored, before the horizon {edges[-1]:g}: choose an "
            f"earlier or a later one under intervals, or ask about more people"
        )
    last = np.append(np.diff(grid[0]) > 0, True)
    inner = (0.0, *(e for e, whole in zip(edges, last, strict=True) if whole))
    if lost := [end for end in ends if end not in inner]:
        raise ModelError(
            f"too few people of an arm die, or are censored, on a side of {lost[0]:g}: leave it out of intervals, move "
            f"it, or ask about more people"
        )
    return inner


def _reached(left: Array, weight: Array, horizon: float) -> None:
    """In both arms somebody is followed until the horizon, by weights (2,)."""
    if (left <= 1e-9 * weight).any():
        raise ModelError(
            f"nobody who is {ARMS[int(left.argmin())]} is followed until the horizon {horizon:g}: choose an earlier "
            f"one under intervals"
        )


def _rows(values: Array) -> Rows:
    return tuple(tuple(row) for row in values.tolist())


def _balanced(arms: Arms, weighed: Weighed | None, sums: balance.Arms, verdict: Verdict) -> Flow[list[Record]]:
    """The table of balance, where people are weighed."""
    if weighed is None:
        return []
    learned = weighed.learned
    frame, weight = learned.model.frame, (float(sums.weight[0]), float(sums.weight[1]))
    own = keep(arms.own_balance, frame) if arms.by.effect.own_balance else None
    asks = balance.Asks(ask(arms.balanced, frame, weight), ask(arms.spreads, frame), own)
    return (yield from balance.asked(learned, sums, asks, verdict))


# The finding --------------------------------------------------------------------------------------------------


def _finding(cost: Cost, f: Found) -> Finding:
    """Differences, arms, parts of time, and the decision."""
    mean, vcov = f.increments
    found = Increment(mean[:2], vcov[:2, :2])
    plain = len(mean) - 2  # the place of the undiscounted cost
    tables: dict[str, list[Record]] = {
        "effects": _effects(mean, vcov),
        "icer": [decision.ratio(found, cost.seed)],
        "net_benefit": decision.net_benefits(found, sorted(cost.willingness)),
        "acceptability": decision.acceptability(found, 2 * max(cost.willingness)),
        "quadrants": decision.quadrants(found, cost.seed),
        "arms": _arms(f),
        "intervals": _intervals(cost, f.means.parts),
    }
    if cost.eligible:
        se = float(np.sqrt(vcov[plain, plain]))
        tables["budget_impact"] = decision.budget(float(mean[plain]), se, cost.eligible)
    facts: dict[str, Any] = {
        "estimator": "partitioned" if len(cost.intervals) > 1 else "simple", "horizon": float(cost.intervals[-1]),
        "effect": "quality-adjusted years" if cost.qalys else "years of life",
        "discount_costs": float(cost.discount[0]), "discount_effects": float(cost.discount[1]),
    }  # fmt: skip
    said = (*few(f.died, "the event"), *_unseen(f.means.seen))
    if f.weighed is not None:
        histogram = f.weighed.overlap
        tables |= {"balance": f.balance, "overlap": histogram.records(), "propensity": f.learned.coefficients}
        facts |= {"estimand": cost.estimand, "equipoise": histogram.equipoise}
        facts |= {"trimmed": histogram.outside(f.weighed.among.trim)}
        said += (*f.weighed.cautions, *balance.cautions(f.balance, f.arms, cost.estimand))
    tables["attrition"] = attrition(f.verdict)
    return Finding(
        "cost", f.verdict.n, f.verdict.hospitals, tables, events=round(f.died.sum()), facts=facts,
        arrays={"mean": f.means.mean.ravel(), "vcov": f.means.vcov},
        notes=(_stated(cost), *_unlimited(tables["icer"])), warnings=said,
        cite=(BANG, WILLAN, STINNETT, *((HERNAN,) if cost.confounders else ())),
    )  # fmt: skip


def _effects(mean: Array, vcov: Array) -> list[Record]:
    """A record per difference."""
    names = [*NAMES, *(f"{name}, undiscounted" for name in NAMES)][: len(mean)]
    return [
        measures.record(name, float(m), float(np.sqrt(v)))
        for name, m, v in zip(names, mean, np.diag(vcov), strict=True)
    ]


def _arms(f: Found) -> list[Record]:
    """A record per arm: people, deaths, mean cost and effect as they are decided by, and who is seen until the end."""
    many = f.means.mean.shape[1]
    se = np.sqrt(np.diag(f.means.vcov)).reshape(2, many)
    return [
        {"arm": arm, "n": round(f.arms.people[a]), "effective_n": float(f.arms.effective[a]),
         **count("events", float(f.died[a]), f.verdict.k), "followed": float(f.means.seen[a]),
         "cost": float(f.means.mean[a, 0]), "cost_se": float(se[a, 0]),
         "effect": float(f.means.mean[a, 1]), "effect_se": float(se[a, 1])}
        for a, arm in enumerate(ARMS)
    ]  # fmt: skip


def _intervals(cost: Cost, parts: Array) -> list[Record]:
    """A record per arm and part of time: mean cost and effect, undiscounted, and the factors that discount them."""
    starts = (0.0, *cost.intervals[:-1])
    one, other = (t.factors for t in cost.targets[:2])
    return [
        {"arm": arm, "from": float(starts[j]), "until": float(end), "cost": float(parts[a, j, 0]),
         "effect": float(parts[a, j, 1]), "cost_factor": one[j], "effect_factor": other[j]}
        for a, arm in enumerate(ARMS) for j, end in enumerate(cost.intervals)
    ]  # fmt: skip


def _stated(cost: Cost) -> str:
    """How costs and effects were discounted, in words."""
    if not any(cost.discount):
        return "Nothing is discounted, as the study says."
    costs, effects = (100 * r for r in cost.discount)
    return f"Costs are discounted by {costs:g} % a year, effects by {effects:g} %, at the middle of each interval."


def _unlimited(records: list[Record]) -> tuple[str, ...]:
    """Why a ratio has no limits, where it has none."""
    if records[0]["fieller_low"] is not None:
        return ()
    return ("The ratio of cost to effect has no limits, since the incremental effect may be 0: read the net benefit.",)


def _unseen(seen: Array) -> tuple[Caution, ...]:
    """The caution of few people who are followed until the horizon."""
    if seen.min() >= SHORT:
        return ()
    text = (
        f"In an arm only {100 * seen.min():.2g} % would be followed until the horizon: a few people stand for many. "
        f"Choose an earlier horizon."
    )
    return (Caution("short-follow-up", text),)


def _check_numbers(cost: Cost) -> None:
    """Edges rise, and numbers are what they can be."""
    ends = cost.intervals
    if not ends or any(not 0 < b - a < np.inf for a, b in zip((0.0, *ends[:-1]), ends, strict=True)):
        raise StudyError(f"intervals is {list(ends)}; give the right edges of the parts of time, rising, above 0")
    for name, columns in (("costs", cost.costs), ("qalys", cost.qalys)):
        if len(columns) != len(ends) and (columns or name == "costs"):
            raise StudyError(f"{name} has {len(columns)} columns and intervals {len(ends)} edges; give one for each")
    if not cost.willingness or any(not 0 < v < np.inf for v in cost.willingness):
        raise StudyError(f"willingness is {list(cost.willingness)}; give positive values of a unit of effect")
    if len(cost.discount) != 2 or any(not 0 <= r < 1 for r in cost.discount):
        raise StudyError(
            f"discount is {list(cost.discount)}; give the yearly rates of costs and of effects, such as [0.03, 0.03]; "
            f"[0, 0] is none"
        )
    if any(not 0 <= n < np.inf for n in cost.eligible):
        raise StudyError(f"eligible is {list(cost.eligible)}; give people eligible in each year, 0 or more")
    if cost.seed < 0:
        raise StudyError(f"seed is {cost.seed}; it must be 0 or more")


def _check_columns(cost: Cost) -> None:
    """The outcome is a time until death, and a column stands in one place."""
    outcome = model_of(f"{cost.outcome} ~ 1", cost.ground).outcome
    if outcome is None or outcome.kind != "surv" or outcome.entry is not None or len(outcome.causes) > 2:
        raise FormulaError(f"outcome = {cost.outcome!r}: write Surv(time, died), with one kind of event and no entry")
    named = [*cost.costs, *cost.qalys]
    if twice := sorted({name for name in named if named.count(name) > 1 or name == cost.treatment}):
        raise FormulaError(f"{twice[0]!r} stands in two places of costs, qalys and treatment; name it once")
