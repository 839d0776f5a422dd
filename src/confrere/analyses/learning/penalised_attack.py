"""What a penalised model tells of who it was fitted to: the attack on membership, on the fits of cross-validation.

Whoever is in a fold is held out of the fit to the others at the chosen penalty, and in all the other fits. A third of
the people, drawn by a keyed hash, are tried on the fit that lacks their own fold, a third on the fit that lacks the
next one, which they are in, each counted once; the last third is not tried. The attacker guesses by the loss, as in
`attack`: half the deviance of the person; of Cox's model that of the martingale residual, by the hospital's own
baseline hazard at these coefficients (Therneau, Grambsch & Fleming, Biometrika 1990;77:147), as if the attacker had
it.

Two penalised models of a study may differ for few people, and so might counts by their losses. So the thirds are drawn
for each analysis by itself, and each cell that is told is of some of the least that the gate lets be: what two models'
cells differ by, and their sums of both kinds, is a third of them or more, and never of a few.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.learning.attack import Attacked, guessed
from confrere.analyses.learning.state import mixed
from confrere.analyses.outcomes import Frame
from confrere.rounds import Array, Cells, Design, Flow, Ints, People, Sum, ask, support
from confrere.study.ground import Ground

if TYPE_CHECKING:
    from confrere.analyses.learning.penalised import Penalised
    from confrere.analyses.learning.penalised_finding import Fit

MOST, FEWEST = 300, 10  # cells of the ladder of losses
SHARE = 0.05  # of the budget of numbers
JOINED = 5  # cells that may be told, to one that is
KINDS = 2  # of people: in the fit, and held out


class Tried(NamedTuple):
    """Public: the fits without each fold (folds, q), the frame, the mean loss of the fit, cells of the ladder."""

    betas: Array
    frame: Frame
    usual: float
    cells: int

    @property
    def edges(self) -> Array:
        """Inner edges of the ladder: even quantiles of squares of normal residuals with this mean."""
        share = np.arange(1, self.cells) / self.cells
        return np.asarray(self.usual * special.ndtri((1 + share) / 2) ** 2)


class Guessed(NamedTuple):
    """People by cell of their loss, from the smallest: in the fit, and held out of it."""

    people: Sum  # (2, cells)


# Inside a hospital --------------------------------------------------------------------------------------------


def thirds(of: Penalised, people: People, tried: Tried) -> Design:
    """The loss on the ladder of who is tried, by whether as one of the fit; the design of a local step."""
    kind, folds = of.kind, len(tried.betas)
    made, own = kind.dealt(people)
    words = people.drawn("penalised", of.ground.person)[made.rows]
    fold, drawn = (words % np.uint64(folds)).astype(np.int64), mixed(words, _seed(of), -1)
    outside = drawn < 1 / 3
    without = np.where(outside, fold, (fold + 1) % folds)
    lost = np.empty(made.n)
    for k, beta in enumerate(tried.betas):
        who = without == k
        lost[who] = kind.losses(own.data, tuple(beta.tolist()), tried.frame)[who]
    drawn = np.where(made.weights == 0, 1.0, drawn) if made.weights is not None else drawn  # they are in no fit
    place = np.where(drawn < 2 / 3, np.searchsorted(tried.edges, lost, side="right"), -1)
    index = np.where(place < 0, -1, outside * tried.cells + place)
    cells = {"losses": Cells(index, (KINDS, tried.cells), rule="align", bound=MOST)}
    return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=cells, data=(outside, place))


def _seed(of: Penalised) -> int:
    """What an analysis draws its thirds from, beside the people's words."""
    said = repr(replace(of, ground=Ground())).replace(", leave_out=()", "")  # with groups there is no attack
    said = said.replace(", cause=''", "")  # without one as ever
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "little")


def counted(people: People, starts: tuple[int, ...]) -> Guessed:
    """People by cell; the body of a local step. `starts` are the first cells of the ladder in each cell told."""
    outside, place = (each[people.design.data[1] >= 0] for each in people.design.data)
    at = outside * len(starts) + np.searchsorted(starts, place, side="right") - 1
    counts = np.bincount(at, minlength=KINDS * len(starts)).reshape(KINDS, len(starts)).astype(float)
    return Guessed(people.derived(counts, dims=("groups", "cells"), bounds=(KINDS, MOST), scale=0, known=True))


# Sums only ----------------------------------------------------------------------------------------------------


def attacked(of: Penalised, fit: Fit) -> Flow[Attacked]:
    """The attack on the fits of cross-validation; none without folds, or where few numbers may be asked."""
    cells = min(MOST, int(SHARE * fit.verdict.budget) // KINDS)
    if fit.crossed is None or cells < FEWEST:
        return Attacked([], ())
    tried = Tried(fit.crossed.without, fit.stage.frame, fit.usual, cells)
    grid = (yield from support(of.thirds, tried)).grids["losses"]
    if (grid < 0).any():
        return Attacked([], ())
    starts = joined(grid[0])
    got = yield from ask(of.guessed, starts)
    return guessed(*got.people.value)


def joined(grid: Ints) -> tuple[int, ...]:
    """First ladder cells of the cells that are told, each of `JOINED` merged ones; the last has what remains too."""
    many = max(1, (int(grid.max()) + 1) // JOINED)
    return tuple(int(np.argmax(grid >= JOINED * i)) for i in range(many))
