"""The curves of the groups of a study, and the pseudo-values that they give (`pseudo`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.coarse import followed
from confrere.analyses.curves import cellwise
from confrere.analyses.effects.nuisance import Among
from confrere.analyses.effects.pseudo import Pseudo
from confrere.analyses.effects.risks import Read, Risks, by_counts
from confrere.analyses.follow_up import FollowUp, Table
from confrere.errors import ModelError
from confrere.rounds import Design, Flow, Ints, People, register
from confrere.study.ground import narrowed


@register("_pseudo_follow_up")
@dataclass(frozen=True)
class PseudoFollowUp(FollowUp):
    """Who leaves when, among the people of a study."""

    among: Among = Among()

    def grouped(self, people: People) -> tuple[Design, Ints]:
        """The people and the group of each (n,)."""
        made, group = super().grouped(people)
        inside, _, many = self.among.of(people, self.ground, "", made.rows)
        keep = inside[made.rows]
        return replace(narrowed(made, keep, self.among.reason), crowd=many), group[keep]


class Wanted(NamedTuple):
    """What is read off the curves: the restricted mean until a time, or the risk at it, of a cause (-1: of any)."""

    measure: str  # "RMST" or "risk"
    time: float
    cause: int = -1

    def of(self, risks: Risks) -> Read:
        """The value."""
        return risks.mean(self.time) if self.measure == "RMST" else risks.risk(self.time, self.cause)


def pseudo(follow: PseudoFollowUp, wanted: Wanted) -> Flow[Pseudo]:
    """The pseudo-values. ModelError where nobody has an event, or a group is not followed until the time."""
    table: Table = yield from follow.flow()
    people = np.array([sum(counts.sum(axis=1) for counts in table.counts.values())]).ravel()
    if people.sum() - table.counts["censored"].sum() < 0.5:
        raise ModelError("nobody has the event: check the event column, or follow people for longer", about="no-events")
    values: list[tuple[tuple[float, ...], ...]] = [()] * len(follow.labels)
    for g in np.flatnonzero(people > 0.5):
        values[follow.labels.index(table.groups[g])] = _values(table, int(g), follow, wanted)
    return Pseudo(follow.formula, tuple(table.edges.tolist()), tuple(values))


def _values(table: Table, g: int, follow: PseudoFollowUp, wanted: Wanted) -> tuple[tuple[float, ...], ...]:
    """By kind and cell of the ladder, of one group."""
    cells, group = cellwise(table, g, follow.ground.fine), table.groups[g]
    if cells is None:
        raise ModelError(
            f"the curve of the group {group!r} rests on too few people: ask about more, or set no censoring"
        )
    if followed(cells) < wanted.time - 1e-9:
        raise ModelError(
            f"nobody of the group {group!r} is followed until {wanted.time:g}: the last leave by {followed(cells):g}. "
            f"Ask about an earlier time"
        )
    read = wanted.of(Risks(cells))
    n = sum(float(table.counts[kind][g].sum()) for kind in table.kinds)
    by = by_counts(table, g, read)
    maps = [table.maps[kind][g] for kind in table.kinds]
    return tuple(tuple((read.value + n * np.take(row, at)).tolist()) for row, at in zip(by, maps, strict=True))
