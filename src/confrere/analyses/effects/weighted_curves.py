"""Weighted curves of the two arms of an effect, and the variance of risks and restricted means read off them.

Everybody leaves follow-up in one cell of one kind (a cause, or censoring), which the gate has merged until it holds
nobody or enough people. The weighted counts make the curves (`risks`). With G the derivatives of values by the counts,
the derivative by a person's weight is G at its cell, and `weighted` gives the variance: a curve costs two rounds more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.means import ARMS
from confrere.analyses.effects.weighted import (
    By,
    Derivatives,
    Leaning,
    influences,
    leaning,
    leans,
    targets,
    weighed,
    weighed_of,
)
from confrere.analyses.follow_up import FollowUp, Table, stacked
from confrere.errors import ModelError, StudyError
from confrere.rounds import Array, Design, Flow, Ints, People, Sum, ask, local, register


class Counted(NamedTuple):
    """People by kind, arm and cell; the support told them already."""

    kinds: Sum  # (kinds * 2, cells)


class Squares(NamedTuple):
    """Sums of products of influences: of each target, and of each of the first `pairs` with its neighbour."""

    own: Sum  # (k,)
    pair: Sum  # (pairs,)


class Followed(NamedTuple):
    """The weighted counts of the arms, and the people behind them."""

    weighted: Table
    people: Table


class Spread(NamedTuple):
    """Variances of targets (k,), and covariances of the pairs (0, 1), (2, 3), ... among the first of them."""

    variance: Array
    covariance: Array


@register("_weighted_follow_up")
@dataclass(frozen=True)
class WeightedFollowUp(FollowUp):
    """Who leaves when in the two arms, weighed `by` the propensity."""

    by: By | None = None

    @property
    def whom(self) -> By:
        """What people are weighed by."""
        if self.by is None:
            raise StudyError("weighted curves need to know by what: set by")
        return self.by

    @property
    def labels(self) -> tuple[str, ...]:
        """The two arms, whatever the levels of the treatment."""
        return ARMS

    def grouped(self, people: People) -> tuple[Design, Ints]:
        """The people of the effect with their weights, and the arm of each (n,)."""
        made = weighed(people, self.whom, self.ground)
        arm = weighed_of(made).treated.astype(np.int64)
        return replace(made, x=np.empty((made.n, 0)), names=()), arm

    @local(on="table")
    def counted(self, people: People) -> Counted:
        """People by kind, arm and cell."""
        return Counted(stacked(people, None))

    @local(on="table")
    def derivatives(self, people: People, by_counts: Array) -> Derivatives:
        """Derivatives of values by the propensity's coefficients; `by_counts` (k, kinds * arms * cells)."""
        return leans(people, self._by_weight(people, by_counts), len(by_counts))

    @local(on="table")
    def squares(self, people: People, by_counts: Array, pairs: int, lean: Leaning) -> Squares:
        """Sums of products of what people move the values by."""
        own, pair = np.zeros(len(by_counts)), np.zeros(2 * pairs)
        parts = influences(people, self._by_weight(people, by_counts), len(by_counts), lean)
        for rows, phi in zip(targets(len(by_counts)), parts, strict=True):
            own[rows] = np.einsum("ij,ij->j", phi, phi)
            inside = phi[:, : max(0, 2 * pairs - rows.start)]
            products = np.einsum("ij,ij->j", inside[:, ::2], inside[:, 1::2])
            pair[rows.start // 2 : rows.start // 2 + products.size] = products
        return Squares(people.derived(own, dims=("targets",)), people.derived(pair[:pairs], dims=("targets",)))

    def _by_weight(self, people: People, by_counts: Array) -> Iterator[Array]:
        """The derivatives of the values by each person's weight, some values at a time: (n, some)."""
        place = people.design.once("kind, arm and cell", lambda: self._place(people, by_counts.shape[1]))
        padded = np.column_stack([by_counts, np.zeros(len(by_counts))])  # -1 is the last, of those in no cell
        return (np.take(padded[rows], place, axis=1).T for rows in targets(len(by_counts)))

    def _place(self, people: People, size: int) -> Ints:
        """The column of `by_counts` of each person (n,), -1 in none."""
        cells = people.design.cells
        width = size // (len(cells) * len(ARMS))
        out = np.full(people.design.n, -1)
        for i, (kind, found) in enumerate(cells.items()):
            at = found.placed(people.grid(kind), width)
            out = np.where(at >= 0, i * len(ARMS) * width + at, out)
        return out

    # sums only

    def followed(self) -> Flow[Followed]:
        """The weighted counts, and the people behind them."""
        if len((yield from self.shown())) < len(ARMS):
            raise ModelError("an arm has too few people for a curve: ask about more people")
        table: Table = yield from self.flow()
        got = yield from ask(self.counted)
        parts = dict(zip(table.kinds, np.split(got.kinds.value, len(table.kinds)), strict=True))
        return Followed(table, table._replace(counts=parts))

    def spread(self, by_counts: Array, pairs: int) -> Flow[Spread]:
        """The variances of values from their derivatives by the counts (k, kinds * arms * cells)."""
        lean = yield from leaning(self.whom, (yield from ask(self.derivatives, by_counts)))
        got = yield from ask(self.squares, by_counts, pairs, lean)
        return Spread(got.own.value, got.pair.value)
