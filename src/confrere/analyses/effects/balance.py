"""Table 1 of a comparison, before and after weighting: means of the arms, standardised differences, variance ratios.

The difference of means is divided by the standard deviation of the unweighted arms, sqrt((v1 + v0) / 2), before and
after: a difference that weighting takes away cannot hide behind a spread that it widens. `variance_ratio` is that of
the weighted arms, the treated over the others. Few numbers are needed: terms are standardised over everybody, and the
first ask of the propensity says the unweighted means of the arms. Variance ratios take two numbers more per term, and
are asked where that is next to nothing of the study's budget.

Of a term that is 0 or 1 the mean is a share, and a share of an arm is a count of people. Where 1 to k-1 people of an
arm have a level, or lack it, neither the shares nor the unweighted difference, from which they follow, are told: of no
level of that column, as the last would follow from the others.

In how many hospitals the arms are apart is not told: it would add up answers to "is your own difference larger than
this?", and a study of terms that differ a little would find each hospital's difference by halving. Each hospital may
keep its own balance instead, for its steward (`own`).

Sources: Austin, Stat Med 2009;28:3083; Austin & Stuart, Stat Med 2015;34:3661. As R `cobalt::bal.tab` with
`s.d.denom = "pooled"` and `binary = "std"`, whose variances have n - 1 as here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.effects.nuisance import Learned
from confrere.analyses.finding import Caution, Record
from confrere.analyses.outcomes import INTERCEPT, Frame
from confrere.analyses.scaling import blocks
from confrere.rounds import Array, Bools, Flow, People, Sum, Verdict, together
from confrere.study.own_balance import OwnBalance, OwnTerm

ALIKE = 0.1  # a standardised mean difference that is small (Austin 2009)
AMPLE = 80  # times what variance ratios take
FLAT = 1e-12  # of the largest value: a spread of rounding


class Balance(NamedTuple):
    """Of the terms in the propensity's frame."""

    after: Sum  # (2, p) weighted means by arm, the others first
    treated: Sum  # (p,) sums of squares of the treated, unweighted


class Spreads(NamedTuple):
    """Weighted sums of squares of the terms by arm, the others first."""

    after: Sum  # (2, p)


class Arms(NamedTuple):
    """What the balance is about, by arm (2,): people, sums of weights and of their squares."""

    people: Array
    weight: Array
    square: Array

    @property
    def effective(self) -> Array:
        """Effective numbers of people (2,): (sum w)^2 / sum w^2."""
        return self.weight**2 / self.square


class Weighed(NamedTuple):
    """A hospital's people: terms x (n, p) with the propensity's frame, arm and weight (n,)."""

    x: Array
    frame: Frame
    treated: Bools
    w: Array

    @property
    def by_arm(self) -> Array:
        """Weights by arm (2, n), the others first; 0 for whoever is in the other arm."""
        return np.array([np.where(self.treated, 0.0, self.w), np.where(self.treated, self.w, 0.0)])


def balance(people: People, of: Weighed, weight: tuple[float, float]) -> Balance:
    """The body of a local step; `weight` are the sums of weights of all hospitals, the others first."""
    share = of.by_arm / np.array(weight)[:, None]
    after, treated = np.zeros((2, of.x.shape[1])), np.zeros(of.x.shape[1])
    mine = of.treated.astype(float)
    for rows, z in blocks(of.x, of.frame.mean, of.frame.sd):
        after += share[:, rows] @ z
        np.square(z, out=z)
        treated += mine[rows] @ z
    return Balance(people.derived(after, of.w, dims=("arms", "terms")), people.derived(treated))


def spreads(people: People, of: Weighed) -> Spreads:
    """The body of a local step: weighted squares by arm."""
    w, total = of.by_arm, np.zeros((2, of.x.shape[1]))
    for rows, z in blocks(of.x, of.frame.mean, of.frame.sd):
        np.square(z, out=z)
        total += w[:, rows] @ z
    return Spreads(people.derived(total, of.w, dims=("arms", "terms")))


def own(of: Weighed, names: Sequence[str], about: str) -> OwnBalance:
    """The body of a step whose result stays: the differences in this hospital, over its own standard deviations."""
    arms = [~of.treated, of.treated]
    people = int(arms[0].sum()), int(arms[1].sum())
    if min(people) < 2 or not all(of.w[arm].sum() > 0 for arm in arms):
        return OwnBalance(about, people, tuple(OwnTerm(name, None, None) for name in names))
    before, after = (
        np.average(of.x[arms[1]], axis=0, weights=w[arms[1]]) - np.average(of.x[arms[0]], axis=0, weights=w[arms[0]])
        for w in (np.ones(len(of.w)), of.w)
    )
    sd = np.sqrt(np.mean([of.x[arm].var(axis=0, ddof=1) for arm in arms], axis=0))
    some = sd > FLAT * np.abs(of.x).max(axis=0)
    terms = (
        OwnTerm(name, float(b / s), float(a / s)) if known else OwnTerm(name, None, None)
        for name, b, a, s, known in zip(names, before, after, sd, some, strict=True)
    )
    return OwnBalance(about, people, tuple(terms))


def ample(terms: int, budget: int) -> bool:
    """Whether variance ratios take next to nothing of the budget of numbers."""
    return 2 * terms * AMPLE <= budget


class Asks(NamedTuple):
    """The asks for a balance: of everybody, for variance ratios, and what every hospital keeps of its own people."""

    balance: Flow[Balance]
    spreads: Flow[Spreads]
    own: Flow[None] | None = None


def asked(learned: Learned, arms: Arms, asks: Asks, verdict: Verdict) -> Flow[list[Record]]:
    """The table, from the asks for it and the propensity; variance ratios where the budget of numbers is ample."""
    rich = ample(len(learned.treated), verdict.budget)
    flows: list[Flow[Any]] = [asks.balance, *([asks.spreads] if rich else [])]
    got = yield from together(*flows, *([asks.own] if asks.own is not None else []))
    return table(learned, got[0], got[1] if rich else None, arms, verdict.k)


def table(learned: Learned, sums: Balance, spread: Spreads | None, arms: Arms, k: int) -> list[Record]:
    """A record per term of the propensity: means by arm and standardised difference, before weighting and after.

    `variance_ratio` is that after weighting; None where it was not asked. Where a level rests on fewer than `k` people
    of an arm, `suppressed` stands for what would tell them.
    """
    names, frame = [name for name in learned.names if name != INTERCEPT], learned.model.frame
    before = _before(learned.treated, arms)
    squares = np.array([arms.people.sum() - sums.treated.value, sums.treated.value])
    variance = np.maximum(squares / arms.people[:, None] - before**2, 0.0) * (arms.people / (arms.people - 1))[:, None]
    sd, after = np.sqrt(variance.mean(axis=0)), sums.after.value
    ratio = [None] * len(names) if spread is None else _ratios(after, spread, arms)
    few = _few(names, frame, before, arms, k)
    told = [np.array(frame.mean) + np.array(frame.sd) * means for means in (before, after)]
    return [
        {
            "term": name,
            **_sides(told[0], j, "before", few[j]),
            "smd_before": None if few[j] else float((before[1] - before[0])[j] / sd[j]),
            **_sides(told[1], j, "after", few[j]),
            "smd_after": float((after[1] - after[0])[j] / sd[j]),
            "variance_ratio": ratio[j],
            **({"suppressed": True} if few[j] else {}),
        }
        for j, name in enumerate(names)
    ]


def _before(treated: Array, arms: Arms) -> Array:
    """Unweighted means by arm (2, p) from those of the treated (p,), in a frame where everybody's are 0."""
    n0, n1 = arms.people
    return np.array([-treated * n1 / n0, treated])


def _sides(means: Array, j: int, when: str, few: bool) -> Record:
    """The mean of a term in either arm."""
    return {f"{arm}_{when}": None if few else float(means[a, j]) for a, arm in enumerate(("untreated", "treated"))}


def _few(names: Sequence[str], frame: Frame, before: Array, arms: Arms, k: int) -> list[bool]:
    """Which terms are a level that 1 to k-1 people of an arm have or lack, or another level of the same column."""
    mean, sd = np.array(frame.mean), np.array(frame.sd)
    mark = np.abs(sd**2 - mean * (1 - mean)) <= FLAT
    having = np.rint((mean + sd * before) * arms.people[:, None])  # (2, p) people, of marks
    columns = [name.rpartition("[")[0] if name.endswith("]") else name for name in names]
    rare: set[str] = set()
    for column in columns:
        of = [j for j, other in enumerate(columns) if other == column and mark[j]]
        cells = np.column_stack([having[:, of], arms.people - having[:, of].sum(axis=1)])
        if of and ((cells > 0) & (cells < k)).any():
            rare.add(column)
    return [bool(mark[j]) and column in rare for j, column in enumerate(columns)]


def _ratios(after: Array, spread: Spreads, arms: Arms) -> list[float | None]:
    """Variance of each term among the treated over that among the others, weighted; None where nobody differs."""
    square = spread.after.value / arms.weight[:, None]
    left = square - after**2
    left[left <= 1e-12 * square] = 0.0  # rounding
    left *= (arms.effective / (arms.effective - 1))[:, None]
    return [float(one / other) if other > 0 else None for other, one in left.T]


def cautions(records: Sequence[Record], arms: Arms, estimand: str) -> tuple[Caution, ...]:
    """Terms that stay apart after weighting, and arms that a few people carry: weights of ATO and ATM are 1 at most."""
    found: tuple[Caution, ...] = ()
    apart = [r for r in records if abs(r["smd_after"]) > ALIKE]
    if apart:
        worst = sorted(apart, key=lambda r: -abs(r["smd_after"]))[:4]
        said = ", ".join(f"{r['term']!r} ({r['smd_after']:.2f})" for r in worst)
        found += (
            Caution(
                "imbalance",
                f"After weighting the arms still differ in {len(apart)} of {len(records)} terms by more than {ALIKE} "
                f"standard deviations: {said}. Add squares, splines or interactions of them to the confounders.",
            ),
        )
    share = arms.effective / arms.people
    if share.min() < 0.5 and estimand in ("ATE", "ATT"):
        arm = "treated" if share[1] < share[0] else "untreated"
        found += (
            Caution(
                "extreme-weights",
                f"The weights leave {share.min():.0%} of the information of the {arm}: a few people count for many. "
                f"Set trim or truncate, or ask for the overlap population (estimand ATO).",
            ),
        )
    return found
