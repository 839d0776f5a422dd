"""The attack on membership of models of times to events, trees and networks: whom they were trained on, by the loss.

The loss of a person is that of the model: of hazards half the squared deviance residual, of discrete time minus the log
likelihood. People of training and held out are counted by cell of their loss on a public ladder, merged until each
holds nobody or at least k of either; five such cells or more are told as one, as of penalised models. The cells of two
models may differ by a few people: a study has one of these (`study.build`), and another study holds out others.

Source: Yeom et al., IEEE CSF 2018; Therneau, Grambsch & Fleming, Biometrika 1990;77:147 (residuals).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from confrere.analyses.learning.attack import KINDS, Attacked, guessed
from confrere.analyses.learning.penalised_attack import joined
from confrere.analyses.learning.scored import LOSSES
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support


class Model(Protocol):
    """A model of times, among its own people."""

    @property
    def needs(self) -> str:
        """The disclosure class of counts by its losses."""

    def tried(self, people: People) -> tuple[Design, Array, Bools]:
        """The people, their losses (n,), and who of them trained (n,)."""


class Guessed(NamedTuple):
    """People by cell of their loss, from the smallest: of training, and held out."""

    people: Sum  # (2, cells)


@register("_losses_of_times")
@dataclass(frozen=True, eq=False)
class Losses:
    """The losses of the people of a model."""

    of: Any

    def design(self, people: People) -> Design:
        """Everybody's loss on the ladder, by whether they were trained on."""
        of: Model = self.of
        made, lost, train = of.tried(people)
        size = len(LOSSES) + 1
        place = np.searchsorted(LOSSES, np.where(np.isfinite(lost), lost, np.inf), side="right")
        index = (~train).astype(np.int64) * size + place
        cells = {"losses": Cells(index, (len(KINDS), size), rule="align", needs=of.needs)}
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=cells, data=(~train, place))

    @local(on="design")
    def counted(self, people: People, starts: tuple[int, ...]) -> Guessed:
        """People of training and held out, by cell of their loss."""
        outside, place = people.design.data
        at: Ints = outside * len(starts) + np.searchsorted(starts, place, side="right") - 1
        counts = np.bincount(at, minlength=len(KINDS) * len(starts)).reshape(len(KINDS), -1).astype(float)
        bounds = (len(KINDS), len(LOSSES) + 1)
        return Guessed(people.derived(counts, dims=("groups", "cells"), bounds=bounds, scale=0, known=True))


def attacked(of: Model, share: float) -> Flow[Attacked]:
    """The attack; nothing where nobody was held out, or where the cells that may be told are too coarse."""
    if not share:
        return Attacked([], ())
    losses = Losses(of)
    grid = (yield from support(losses.design)).grids["losses"]
    if (grid < 0).any():
        return Attacked([], ())
    starts = joined(grid[0])
    got = yield from ask(losses.counted, starts)
    return guessed(*got.people.value)
