"""Weighted curves of the arms of an effect, and the variance of risks and restricted means read off them.

Everybody leaves follow-up in one cell of one kind (a cause, or censoring), which the gate has merged until it holds
nobody or enough people. The weighted counts make the curves (`risks`). With G the derivatives of values by the counts,
the derivative by a person's weight is G at its cell, and `weighted` gives the variance: a curve costs two rounds more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.arms import ARMS
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
    """Sums of products of influences: of each target, and of the arms' pairs in each of the first `values`."""

    own: Sum  # (k,)
    pair: Sum  # (values * pairs of arms,)


class Followed(NamedTuple):
    """The weighted counts of the arms, and the people behind them."""

    weighted: Table
    people: Table


class Spread(NamedTuple):
    """Variances of targets (k,), arm by arm of each value; covariances of the arms' pairs in each of the first values.

    Of two arms one pair, of four six: (0, 1), (0, 2), (0, 3), (1, 2), ...
    """

    variance: Array
    covariance: Array

    def among(self, arms: int, i: int) -> Array:
        """The covariance (arms, arms) of the value i."""
        rows, columns = np.triu_indices(arms, 1)
        out = np.diag(self.variance[arms * i : arms * (i + 1)])
        out[rows, columns] = out[columns, rows] = self.covariance[rows.size * i : rows.size * (i + 1)]
        return out


@dataclass(frozen=True)
class ArmsFollowUp(FollowUp):
    """Who leaves when in the arms, `labels`, people weighed as `grouped` says."""

    @local(on="table")
    def counted(self, people: People) -> Counted:
        """People by kind, arm and cell."""
        return Counted(stacked(people, None))

    def by_weight(self, people: People, by_counts: Array) -> Iterator[Array]:
        """The derivatives of the values by each person's weight, some values at a time: (n, some)."""
        place = people.design.once("kind, arm and cell", lambda: self._place(people, by_counts.shape[1]))
        padded = np.column_stack([by_counts, np.zeros(len(by_counts))])  # -1 is the last, of those in no cell
        return (np.take(padded[rows], place, axis=1).T for rows in targets(len(by_counts)))

    def products(self, people: People, parts: Iterator[Array], k: int, values: int) -> Squares:
        """Sums of products of what people move the k targets by, in parts; pairs of arms of the first `values`."""
        arms = len(self.labels)
        first, second = np.triu_indices(arms, 1)
        own, pair = np.zeros(k), np.zeros((values, first.size))
        for rows, phi in zip(targets(k), parts, strict=True):
            own[rows] = np.einsum("ij,ij->j", phi, phi)
            inside = phi[:, : max(0, arms * values - rows.start)]
            of = inside.reshape(len(phi), inside.shape[1] // arms, arms)
            products = np.einsum("ivp,ivp->vp", of[:, :, first], of[:, :, second])
            pair[rows.start // arms : rows.start // arms + len(products)] = products
        dims = ("targets",)
        return Squares(people.derived(own, dims=dims), people.derived(pair.ravel(), dims=dims))

    def _place(self, people: People, size: int) -> Ints:
        """The column of `by_counts` of each person (n,), -1 in none."""
        cells, arms = people.design.cells, len(self.labels)
        width = size // (len(cells) * arms)
        out = np.full(people.design.n, -1)
        for i, (kind, found) in enumerate(cells.items()):
            at = found.placed(people.grid(kind), width)
            out = np.where(at >= 0, i * arms * width + at, out)
        return out

    # sums only

    def followed(self) -> Flow[Followed]:
        """The weighted counts, and the people behind them."""
        if len((yield from self.shown())) < len(self.labels):
            raise ModelError("an arm has too few people for a curve: ask about more people")
        table: Table = yield from self.flow()
        got = yield from ask(self.counted)
        parts = dict(zip(table.kinds, np.split(got.kinds.value, len(table.kinds)), strict=True))
        return Followed(table, table._replace(counts=parts))


@register("_weighted_follow_up")
@dataclass(frozen=True)
class WeightedFollowUp(ArmsFollowUp):
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
    def derivatives(self, people: People, by_counts: Array) -> Derivatives:
        """Derivatives of values by the propensity's coefficients; `by_counts` (k, kinds * arms * cells)."""
        return leans(people, self.by_weight(people, by_counts), len(by_counts))

    @local(on="table")
    def squares(self, people: People, by_counts: Array, values: int, lean: Leaning) -> Squares:
        """Sums of products of what people move the values by."""
        parts = influences(people, self.by_weight(people, by_counts), len(by_counts), lean)
        return self.products(people, parts, len(by_counts), values)

    # sums only

    def spread(self, by_counts: Array, values: int) -> Flow[Spread]:
        """The variances of values from their derivatives by the counts (k, kinds * arms * cells)."""
        lean = yield from leaning(self.whom, (yield from ask(self.derivatives, by_counts)))
        got = yield from ask(self.squares, by_counts, values, lean)
        return Spread(got.own.value, got.pair.value)
