"""Whether weighting makes the arms alike: standardised mean differences and variance ratios, before and after.

The difference of means is divided by the standard deviation of the unweighted arms, sqrt((v1 + v0) / 2), before and
after: a difference that weighting takes away cannot hide behind a spread that it widens. `variance_ratio` is that of
the weighted arms, the treated over the others. Few numbers are needed: terms are standardised over everybody, and the
first ask of the propensity says the means of the arms. Variance ratios take four numbers per term, and are asked where
that is next to nothing of the study's budget.

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

from confrere.analyses.finding import Caution, Record
from confrere.analyses.outcomes import Frame
from confrere.analyses.scaling import blocks
from confrere.rounds import Array, Bools, Flow, People, Sum, together
from confrere.study.own_balance import OwnBalance, OwnTerm

ALIKE = 0.1  # a standardised mean difference that is small (Austin 2009)
AMPLE = 40  # times what variance ratios take
FLAT = 1e-12  # of the largest value: a spread of rounding


class Balance(NamedTuple):
    """Of the terms in the propensity's frame."""

    apart: Sum  # (p,) weighted mean of the treated less that of the others
    treated: Sum  # (p,) sums of squares of the treated, unweighted


class Spreads(NamedTuple):
    """Weighted moments of the terms by arm, the others first."""

    after: Sum  # (2, 2, p): arm, power, term


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


def balance(people: People, of: Weighed, weight: tuple[float, float]) -> Balance:
    """The body of a local step; `weight` are the sums of weights of all hospitals, the others first."""
    share = np.where(of.treated, of.w / weight[1], -of.w / weight[0])
    apart, treated = np.zeros(of.x.shape[1]), np.zeros(of.x.shape[1])
    mine = of.treated.astype(float)
    for rows, z in blocks(of.x, of.frame.mean, of.frame.sd):
        apart += share[rows] @ z
        np.square(z, out=z)
        treated += mine[rows] @ z
    return Balance(people.derived(apart, of.w), people.derived(treated))


def spreads(people: People, of: Weighed) -> Spreads:
    """The body of a local step: first and second weighted moments by arm."""
    w = np.array([np.where(of.treated, 0.0, of.w), np.where(of.treated, of.w, 0.0)])
    total = np.zeros((2, 2, of.x.shape[1]))
    for rows, z in blocks(of.x, of.frame.mean, of.frame.sd):
        total[:, 0] += w[:, rows] @ z
        np.square(z, out=z)
        total[:, 1] += w[:, rows] @ z
    return Spreads(people.derived(total, of.w, dims=("arms", "powers", "terms")))


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
    return 4 * terms * AMPLE <= budget


class Asks(NamedTuple):
    """The asks for a balance: of everybody, for variance ratios, and what every hospital keeps of its own people."""

    balance: Flow[Balance]
    spreads: Flow[Spreads]
    own: Flow[None] | None = None


def asked(names: Sequence[str], treated: Array, arms: Arms, asks: Asks, budget: int) -> Flow[list[Record]]:
    """The table, from the asks for it; variance ratios where the budget of numbers is ample."""
    flows: list[Flow[Any]] = [asks.balance, *([asks.spreads] if ample(len(names), budget) else [])]
    got = yield from together(*flows, *([asks.own] if asks.own is not None else []))
    return table(names, treated, got[0], got[1] if len(flows) > 1 else None, arms)


def table(names: Sequence[str], treated: Array, sums: Balance, spread: Spreads | None, arms: Arms) -> list[Record]:
    """A record per term: `smd_before`, `smd_after`, `variance_ratio` after weighting (None where it was not asked).

    `treated` (p,) are the means of the treated in the propensity's frame, where everybody's are 0.
    """
    n0, n1 = arms.people
    before = treated * (n0 + n1) / n0
    squares = np.array([n0 + n1 - sums.treated.value, sums.treated.value])
    means = np.array([treated - before, treated])
    variance = np.maximum(squares / arms.people[:, None] - means**2, 0.0) * (arms.people / (arms.people - 1))[:, None]
    sd = np.sqrt(variance.mean(axis=0))
    ratio = [None] * len(names) if spread is None else _ratios(spread, arms)
    return [
        {
            "term": name, "smd_before": float(before[j] / sd[j]), "smd_after": float(sums.apart.value[j] / sd[j]),
            "variance_ratio": ratio[j],
        }
        for j, name in enumerate(names)
    ]  # fmt: skip


def _ratios(spread: Spreads, arms: Arms) -> list[float | None]:
    """Variance of each term among the treated over that among the others, weighted; None where nobody differs."""
    mean, square = np.moveaxis(spread.after.value / arms.weight[:, None, None], 1, 0)
    left = square - mean**2
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
