"""The attack on membership of models of times to events, trees and networks: whom they were trained on, by the loss.

The loss of a person is that of the model: of hazards half the squared deviance residual, of discrete time minus the log
likelihood. Everybody of training is compared with everybody held out in the same hospital (and stratum, where a model
has strata): the area under the curve is the share of pairs in which who trained has the smaller loss, ties counting one
half, as Harrell's concordance is of pairs within hospitals. Of others' outcomes people are counted by cell of their
loss (`attack`); in discrete time most people are censored, and their losses are so near one another that cells of
enough people would not part them.

Source: Yeom et al., IEEE CSF 2018; Therneau, Grambsch & Fleming, Biometrika 1990;77:147 (residuals); DeLong et al.,
Biometrics 1988;44:837 (the variance, hospitals being strata).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from confrere.analyses import concordance
from confrere.analyses.learning.attack import KINDS, Attacked, told
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support


class Tried(NamedTuple):
    """The people of a model of times, their losses (n,), who of them trained (n,), and strata within which pairs are
    compared (n,), where there are any besides hospitals."""

    design: Design
    lost: Array
    train: Bools
    within: Ints | None = None


class Model(Protocol):
    """A model of times, among its own people."""

    def tried(self, people: People) -> Tried:
        """The people, as the attack sees them."""


class Compared(NamedTuple):
    """People of training and held out; pairs of one of each, whose loss is smaller: of training, held out, neither."""

    people: Sum  # (2,)
    pairs: Sum  # (3,)


class Spread(NamedTuple):
    """The sum over people of squared influence on the area."""

    square: Sum  # ()


@register("_losses_of_times")
@dataclass(frozen=True, eq=False)
class Losses:
    """The losses of the people of a model."""

    of: Any

    def design(self, people: People) -> Design:
        """Everybody's loss, and whether they were trained on."""
        of: Model = self.of
        made, lost, train, within = of.tried(people)
        # of fewer hospitals than a sum needs, pairs would be one's own, and so of few people
        cells = {"kinds": Cells((~train).astype(np.int64), (1, len(KINDS)), rule="spread")}
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=cells, data=(train, lost, within))

    @local(on="design")
    def compared(self, people: People) -> Compared:
        """Pairs of people of this hospital, of training and held out, by whose loss is smaller."""
        train = people.design.data[0]
        many, dims = np.array([train.sum(), (~train).sum()], dtype=float), ("kinds",)
        return Compared(
            people.derived(many, dims=dims, scale=0, known=True),
            people.derived(_pairs(people).sums, dims=dims, scale=0),
        )

    @local(on="design")
    def spread(self, people: People, area: float, total: float) -> Spread:
        """Squared influence on the area under the curve of so many pairs."""
        return Spread(people.derived(np.array((_pairs(people).influence(area, total) ** 2).sum())))


def _pairs(people: People) -> concordance.Pairs:
    """Pairs of each person: as if who trained had an event before all others were censored, at risk by a small loss."""
    train, lost, within = people.design.data
    lost = np.where(np.isfinite(lost), np.round(lost, 10), np.inf)  # what differs by rounding alone is tied
    of = (~train).astype(float), train, -lost, np.ones(len(lost)), within
    return people.design.once("pairs", lambda: concordance.pairs(*of))


def attacked(of: Model, share: float) -> Flow[Attacked]:
    """The attack; nothing where nobody was held out, or too few of either kind were, or in too few hospitals."""
    if not share:
        return Attacked([], ())
    losses = Losses(of)
    grid = (yield from support(losses.design)).grids["kinds"]
    if (grid < 0).any():
        return Attacked([], ())
    found = yield from ask(losses.compared)
    total = float(found.pairs.value.sum())
    if not total:  # no hospital has some of both
        return Attacked([], ())
    area = concordance.concordance(found.pairs.value)
    spread = yield from ask(losses.spread, area, total)
    return told(area, float(np.sqrt(spread.square.value)), *found.people.value)
