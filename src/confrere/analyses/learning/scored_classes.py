"""Of several classes: the limit of their sets, and the cells of losses, before and after what is told of people.

Whose likeliest class is wrong, whose set has theirs, and whose set is of one class, are nearly, but for a few people,
those whose score is beyond some edge of cells: had all cells been told first, hardly any of it could be told as well.
So of the scores nothing but the limit of the sets is asked first, an edge with k people on either side, without a count
(`rounds.Cells`, `cut`); then follow errors and the sets of everybody; then the cells of losses for the attack on
membership, merged until none of what was told, combined with them, is about a few (`beside`); and at the end the sets
by class and subgroup, of which fewer are told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.learning.scored import EDGES, LOSSES, Scored, Told, erring, losses, margins
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support


@register("_limit")
@dataclass(frozen=True, eq=False)
class Limit:
    """The one limit of the sets of several classes, from people held out."""

    scored: Scored

    def design(self, people: People, most: int) -> Design:
        """People held out by the margin of their class, of which at most `most` may be before the limit."""
        made = self.scored.design(people)
        y, score, sample = made.data
        own = margins(self.scored.forest.objective, score)[np.arange(made.n), y.astype(np.int64)]
        index = np.where(sample == 1, np.searchsorted(EDGES, own, side="right"), -1)
        cells = Cells(index, (1, len(EDGES) + 1), rule="cut", needs=self.scored.needs, bound=most)
        return replace(made, cells={**made.cells, "margins": cells}, data=None)


def limit(scored: Scored, held: int, alpha: float) -> Flow[float | None]:
    """Of which floor(alpha (n + 1)) - 1 of the n people `held` out at most are below; None where there is none."""
    most = math.floor(alpha * (held + 1) + 1e-9) - 1
    if most < 0:
        return None
    verdict = yield from support(Limit(scored).design, most)
    first = int(verdict.grids["margins"][0].argmax())
    return float(EDGES[first - 1]) if first else None


class Lost(NamedTuple):
    """People by cell of their loss, from the smallest: of training, and held out."""

    people: Sum  # (2, cells)


class Parted(NamedTuple):
    """Of people by which sets are told: the atom of each (n,), and the sets (sets, atoms) that were told."""

    atom: Ints
    sets: Bools


@register("_beside")
@dataclass(frozen=True, eq=False)
class Beside:
    """The losses of people of training and held out. `covered` makes the sets of classes, of which `told` were told."""

    scored: Scored
    errors: tuple[bool, ...]  # of which samples the errors were told
    covered: Any = None
    told: tuple[bool, ...] = ()

    def parted(self, made: Design, held: Parted | None) -> Parted:
        """Everybody's atom, the same in every hospital: by what was told of both samples."""
        y, score, sample = made.data
        kinds = score.shape[1]
        plain = (sample * kinds + y.astype(np.int64)) * 2 + erring(score, y)
        rest, wrong = np.divmod(np.arange(4 * kinds), 2)
        sets = [rest == r for r in range(2 * kinds)]
        sets += [(wrong == 1) & (rest // kinds == s) for s in (0, 1) if self.errors[s]]
        some = np.array(sets)
        if held is None:
            return Parted(plain, some)
        many = held.sets.shape[1]
        before = np.hstack([some[:, : 2 * kinds], np.zeros((len(some), many), dtype=bool)])
        after = np.hstack([np.zeros((len(held.sets), 2 * kinds), dtype=bool), held.sets])
        return Parted(np.where(sample == 1, 2 * kinds + held.atom, plain), np.vstack([before, after]))

    def design(self, people: People) -> Design:
        """Everybody's loss on the ladder, by whether they were trained on and by what else was told of them."""
        made = self.scored.design(people)
        y, score, sample = made.data
        held = None
        if self.covered is not None:
            atom, sets = self.covered.atoms(people, made)
            held = Parted(atom, np.array(sets)[list(self.told)])
        parted = self.parted(made, held)
        pattern, kind = np.unique(parted.sets, axis=1, return_inverse=True)
        many, width = pattern.shape[1], len(LOSSES) + 1
        place = by_losses(self.scored, score, y)
        index = (sample * width + place) * many + kind.ravel()[parted.atom]
        cells = Cells(
            index, (2 * width, many), rule="beside", needs=self.scored.needs, bound=width, sets=tuple(pattern)
        )
        return replace(made, cells={**made.cells, "losses": cells}, data=sample * width + place)

    @local(on="design")
    def lost(self, people: People) -> Lost:
        """People of training and held out by merged cell of their loss."""
        width, at = len(LOSSES) + 1, people.design.data
        counts = np.bincount(at, minlength=2 * width).reshape(2, width)
        grid = people.grid("losses")[0]
        merged = np.add.reduceat(counts, np.flatnonzero(np.diff(grid, prepend=-1)), axis=1).astype(float)
        dims = ("samples", "cells")
        return Lost(people.derived(merged, dims=dims, bounds=(2, width), scale=0, known=True, needs=self.scored.needs))


def by_losses(scored: Scored, score: Array, y: Array) -> Ints:
    """The cell of everybody's loss on the ladder (n,), of scores (n, K) and classes (n,)."""
    return np.asarray(np.searchsorted(LOSSES, losses(scored.forest, score, y)[:, 0], side="right"), dtype=np.int64)


def with_losses(beside: Beside, told: Told) -> Flow[Told]:
    """The cells of losses with what was told before, for the attack on membership."""
    verdict = yield from support(beside.design)
    got = yield from ask(beside.lost)
    cells: Array = got.people.value
    return told._replace(cells=cells, grid=verdict.grids["losses"][0])
