"""Times to events as one number for each person: the pseudo-value of a risk, or of a restricted mean.

Of a value theta read off the curve of a group, such as the restricted mean until tau, a person's pseudo-value is

    theta + n dtheta/dw_i

with w_i the person's weight in the curve (the infinitesimal jackknife). It is the doubly robust censoring-unbiased
transformation with the group's curves for both parts: a number whose mean, given whatever is known of a person, is that
of what censoring hides, if censoring does not depend on it within the group. Groups are the arms, or levels of columns
within them. dtheta/dw_i depends only on how a person leaves and in which cell: a public table says it all.

Sources: Andersen, Klein & Rosthoj, Biometrika 2003;90:15; Andersen, Syriopoulou & Parner, Stat Med 2017;36:2669
(effects); Rubin & van der Laan, Int J Biostat 2007;3:4. Matches R `survival::pseudo` of the curves `survfit` by group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.follow_up import FollowUp
from confrere.analyses.ladder import cell_of
from confrere.rounds import Array, People
from confrere.study.ground import Ground

COLUMN = "pseudo_value"


class Pseudo(NamedTuple):
    """The pseudo-values by how people leave; public.

    `formula` is the outcome by its groups. `edges` end the cells of the ladder; `values` (groups, kinds, cells) are by
    all groups that may be, kinds of event and censoring last; empty for a group that has too few people.
    """

    formula: str
    edges: tuple[float, ...]
    values: tuple[tuple[tuple[float, ...], ...], ...]

    def given(self, people: People, ground: Ground) -> People:
        """The same people, their pseudo-values in one more column; none of those whose group has too few people."""
        return people.once((self, ground), lambda: people.with_column(COLUMN, self._column(people, ground)))

    def _column(self, people: People, ground: Ground) -> Array:
        columns = tuple(name for name in ground.complete if name != COLUMN)
        made, group = FollowUp(self.formula, ground=replace(ground, complete=columns)).grouped(people)
        rows = made.data
        kind = np.where(rows.event > 0, rows.event - 1, -1).astype(int)
        cell = cell_of(rows.time, self.edges)
        column = np.zeros(len(made.rows))  # of people who miss a column, who are left out for that
        found = np.full(made.n, np.nan)
        for g, table in enumerate(self.values):
            mine = group == g
            if table and mine.any():
                found[mine] = np.array(table)[kind[mine], cell[mine]]
        column[made.rows] = found
        return column
