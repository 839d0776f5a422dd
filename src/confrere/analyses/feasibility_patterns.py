"""Patterns of criteria, and what may be said of a sum over patterns of which some are hidden. Pure.

Everybody with an entry event fails, or meets, or is unknown for each criterion: a pattern. How many people there are of
every pattern answers every question about the criteria at once: in sequence, alone, without one, in any order. Nobody
can subtract one answer from another, for they are all made of the same cells.

A pattern of few people is hidden, and looks like one of nobody. Of a group of patterns the total is known. So a sum
over patterns lies between two ends that follow from what is told (`bounds`); nothing is guessed in between.

**What a criterion costs** is a game of the criteria, as in Trial Pathfinder (Liu R, Rizzo S, Whipple S, et al., Nature
2021;592:629). v(S) is how many people meet all of a set S; the Shapley value is the mean of what a criterion takes
away over all orders of applying them. A person is lost to the first criterion of an order that they do not meet, and
each of those that they do not meet is equally often the first. So the cost of a criterion is the sum over people of
1 / (criteria that they do not meet): exact over all subsets, from the table of patterns (Shapley LS, Contributions to
the Theory of Games II, 1953, 307; `shapley` below is the slow definition's equal).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Record
from confrere.errors import StudyError
from confrere.rounds import Array, Bools, Ints

MOST = 1024  # patterns of people with an entry event
FAILED, UNKNOWN, MET = 0, 1, 2


@dataclass(frozen=True)
class Patterns:
    """The patterns of criteria, numbered: 0 is no entry event, then digits, the first criterion weighing most.

    open_     of each criterion whether it can be unknown: three answers instead of two
    variants  the place of the criterion that each variant stands for
    """

    open_: tuple[bool, ...]
    variants: tuple[int, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Answers of every criterion, then of every variant (met, or not)."""
        return (*(3 if one else 2 for one in self.open_), *(2 for _ in self.variants))

    @property
    def size(self) -> int:
        """How many patterns there are."""
        return 1 + math.prod(self.sizes)

    def check(self) -> None:
        """StudyError for too many patterns."""
        if self.size - 1 > MOST:
            raise StudyError(
                f"{len(self.open_)} criteria and {len(self.variants)} variants divide people into {self.size - 1} "
                f"patterns; {MOST} is the most. Leave out variants, or write several criteria as one"
            )

    def answers(self) -> Ints:
        """(size, criteria + variants) FAILED, UNKNOWN or MET; -1 throughout for no entry event."""
        made = np.full((self.size, len(self.sizes)), -1, dtype=np.int64)
        if self.sizes:
            digits = np.array(np.unravel_index(np.arange(self.size - 1), self.sizes)).T
            made[1:] = np.where(np.array(self.sizes) == 2, MET * digits, digits)
        return made

    def number(self, entered: Bools, answers: Ints) -> Ints:
        """The pattern (N,) of people of whom `answers` (N, criteria + variants) are known."""
        three = np.array(self.sizes) == 3
        digits = np.where(three, answers, answers == MET)
        weights = np.cumprod([1, *self.sizes[:0:-1]])[::-1] if self.sizes else np.empty(0)
        return np.asarray(np.where(entered, 1 + digits @ weights.astype(np.int64), 0), dtype=np.int64)

    def met(self) -> Bools:
        """(size, criteria + variants) whether a pattern meets each."""
        return np.asarray(self.answers() == MET)

    def stops(self) -> Ints:
        """(size,) at which criterion (from 1) a pattern stops, all of them in sequence; 0 without an entry event."""
        count = len(self.open_)
        met = self.met()[:, :count]
        first = np.where(met.all(axis=1), count, np.argmin(met, axis=1) if count else 0)
        return np.asarray(np.where(np.arange(self.size) == 0, 0, first + 1), dtype=np.int64)

    def of(self, place: int, variant: int | None = None) -> int:
        """The column of `met` for a criterion, or for the variant that is taken in its stead."""
        return place if variant is None else len(self.open_) + variant

    def meeting(self, columns: list[int]) -> Bools:
        """(size,) the patterns that meet all of these columns of `met`; nobody without an entry event does."""
        return np.asarray(self.met()[:, columns].all(axis=1) & (np.arange(self.size) > 0))


class Told(NamedTuple):
    """What the hospitals told of patterns.

    counts  (size,) people, 0 where hidden
    hidden  (size,) a pattern of few people or of nobody, or the one that is hidden with a few
    group   (size,) the merged step of the funnel that the pattern is in
    totals  (groups,) people of each
    k       the least people that a told pattern has; 0 where any may be told
    """

    counts: Array
    hidden: Bools
    group: Ints
    totals: Array
    k: int


class Interval(NamedTuple):
    """The ends between which a number of people lies."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether it is one number: the ends are sums of the same counts, apart from rounding."""
        return self.high - self.low <= 1e-9 * max(1.0, abs(self.high))


def bounds(told: Told, weights: Array) -> Interval:
    """The ends of the sum of `weights` (size,) over all people.

    Of the hidden patterns of a group the sum is known, and what one of them can hold at most: so the ends are those of
    a fractional knapsack, filled in the order of the weights.
    """
    low = high = float(told.counts @ weights)
    for g, total in enumerate(told.totals):
        inside = told.group == g
        left = float(total - told.counts[inside].sum())
        if left < 0.5:
            continue
        cap = _most(told, inside, left)
        order = np.sort(weights[inside & told.hidden])
        low += _filled(order, left, cap)
        high += _filled(order[::-1], left, cap)
    return Interval(low, high)


def _most(told: Told, inside: Bools, left: float) -> float:
    """What one hidden pattern of a group can hold: under k, or less than the least told where it was hidden with few.

    A pattern of k or more is hidden only where the small ones are under k together, or fill all hidden patterns to the
    last but one (`margins.hide`), and then it is the smallest.
    """
    shown, hidden = told.counts[inside & ~told.hidden], np.count_nonzero(inside & told.hidden)
    least = float(shown.min()) if shown.size else left
    small = told.k - 1 + least < left <= (told.k - 1) * (hidden - 1)
    return float(told.k - 1) if small else min(least, left)


def _filled(weights: Array, left: float, cap: float) -> float:
    """`left` people dealt to weights in their order, at most `cap` to each."""
    dealt = np.clip(left - cap * np.arange(len(weights)), 0.0, cap)
    return float(dealt @ weights)


def shapley(patterns: Patterns) -> Array:
    """(size, criteria) the share of a person of each pattern that each criterion takes away; 0 for who is left."""
    lost = ~patterns.met()[:, : len(patterns.open_)]
    lost[0] = False  # without an entry event there is nobody to lose
    return np.asarray(lost / np.maximum(lost.sum(axis=1, keepdims=True), 1))


def counted(found: Interval, *, whole: bool = True) -> Record:
    """A count as fields of a record: `n`, its ends, and `suppressed` where they differ."""
    ends = [round(v) if whole else v for v in found]
    if found.exact:
        return {"n": ends[0], "n_low": ends[0], "n_high": ends[0]}
    return {"n": None, "n_low": ends[0], "n_high": ends[1], "suppressed": True}
