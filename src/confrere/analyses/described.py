"""Whom Table 1 describes, inside a hospital: groups, values, and who is known; and what verdicts make of it.

Variables come in blocks: a person is described in a variable if they miss none of its block. Block 0 is required of
everybody. So the counts of two blocks differ by the people who miss one of them alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.follow_up import DIGITS
from confrere.errors import DataError, ModelError
from confrere.rounds import Array, Bools, Cells, Design, Ints, Verdict
from confrere.study.ground import LEFT, Ground, complete, outside
from confrere.study.rows import TableRows

Places = tuple[int, ...]
Hidden = tuple[tuple[int, int], ...]  # (variable, group) whose numbers rest on too few people


class Described(NamedTuple):
    """A hospital's people: group (n,), values (n, V), known (n, blocks).

    Values are numbers or codes of levels, NaN where the person is not described.
    """

    group: Ints
    values: Array
    known: Bools

    def shown(self, hidden: Hidden) -> Array:
        """Values (n, V), 0 where missing or hidden."""
        x = np.nan_to_num(self.values)
        for j in range(x.shape[1]):
            x[self.where(hidden, j), j] = 0.0
        return x

    def where(self, hidden: Hidden, j: int) -> Bools:
        """Rows (n,) of the groups in which variable j is hidden."""
        return np.isin(self.group, [g for v, g in hidden if v == j])


@dataclass(frozen=True)
class Source:
    """Which columns are described, and by which groups."""

    variables: tuple[str, ...]
    by: str
    ground: Ground

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all groups that may be."""
        return (self.ground.schema.levels(self.by) or DIGITS) if self.by else ("all",)

    @property
    def numeric(self) -> Places:
        """Places of the numeric variables."""
        return tuple(j for j in range(len(self.variables)) if not self.levels(j))

    @property
    def categorical(self) -> Places:
        """Places of the variables with levels."""
        return tuple(j for j in range(len(self.variables)) if self.levels(j))

    def levels(self, j: int) -> tuple[str, ...]:
        """Declared levels of a variable; none if it is numeric."""
        return self.ground.schema.levels(self.variables[j]) or ()

    # of a hospital's table

    def read(self, frame: Any) -> tuple[Ints, Array]:
        """Group (N,), -1 where missing, and values (N, V), codes for levels, NaN where missing. DataError."""
        rows = TableRows(frame, self.ground.schema, {})
        columns = []
        for j, name in enumerate(self.variables):
            codes = rows.codes(name) if self.levels(j) else None
            columns.append(rows.numbers(name) if codes is None else np.where(codes < 0, np.nan, codes))
        return self._groups(rows, len(frame)), np.stack(columns, axis=1)

    def _groups(self, rows: TableRows, n: int) -> Ints:
        if not self.by:
            return np.zeros(n, dtype=np.int64)
        if self.ground.schema.levels(self.by):
            return rows.codes(self.by)
        numbers = rows.numbers(self.by)
        if bad := int((~np.isin(numbers[~np.isnan(numbers)], np.arange(len(DIGITS)))).sum()):
            raise DataError(
                f"column {self.by!r} makes groups but declares no levels, and {bad} of its values are not whole "
                f"numbers from 0 to 9. Declare them: [data.columns.{self.by}] levels = [...]"
            )
        return np.nan_to_num(numbers, nan=-1).astype(np.int64)

    def grouped(self, frame: Any) -> tuple[Bools, Ints, Bools]:
        """Rows (N,) that have a group and are complete where the study asks for it; their group and what they miss."""
        group, values = self.read(frame)
        rows = (group >= 0) & complete(frame, self.ground.complete)
        return rows, group[rows], np.isnan(values[rows])

    def people(self, frame: Any, shown: Places, blocks: Places) -> Design:
        """The people of the groups shown who miss nothing that is required; the data are `Described`."""
        group, values = self.read(frame)
        place = np.full(len(self.labels) + 1, -1)  # the last place is for those without a group, -1
        place[list(shown)] = np.arange(len(shown))
        missing, of = np.isnan(values), np.array(blocks)
        known = np.stack([~missing[:, of == b].any(axis=1) for b in range(max(blocks) + 1)], axis=1)
        rows = (place[group] >= 0) & known[:, 0] & complete(frame, self.ground.complete)
        described = np.where(known[:, of], values, np.nan)[rows]
        data = Described(place[group[rows]], described, known[rows])
        columns = tuple(sorted({*self.variables, self.by} - {""}))
        return Design(n=int(rows.sum()), rows=rows, data=data, columns=columns)

    def left_out(self, table: Any, shown: Places, blocks: Places) -> dict[str, int]:
        """People who are not described, each counted once, by reason."""
        group, values = self.read(table.frame)
        reasons = outside(table) if LEFT in self.ground.complete else {}
        reasons |= {f"missing {self.by}": group < 0} if self.by else {}
        required = (name for name in self.ground.complete if name != LEFT)
        reasons |= {f"missing {name}": ~complete(table.frame, (name,)) for name in required}
        if self.by:
            reasons["in a group that is too small to show"] = (group >= 0) & ~np.isin(group, shown)
        for j in np.flatnonzero(np.array(blocks) == 0):
            reasons[f"missing {self.variables[j]}"] = np.isnan(values[:, j])
        counts, remaining = {}, np.ones(len(group), dtype=bool)
        for reason, who in reasons.items():
            counts[reason] = int((who & remaining).sum())
            remaining &= ~who
        return counts


# Cells --------------------------------------------------------------------------------------------------------


def unsaid(missing: Bools) -> Cells:
    """Who misses anything. Cells to `require` keep the verdict from saying how many people a probe has."""
    return Cells(np.asarray(missing.any(axis=1), dtype=np.int64), (1, 2), rule="require")


def those(who: Bools, group: Ints, groups: int, rule: str = "suppress") -> Cells:
    """The marked people by group: one cell each, suppressed where few; or by another rule."""
    return Cells(np.where(who, group, -1), (groups, 1), rule=rule)


def knowing(d: Described, b: int, groups: int, *, both: bool) -> Cells:
    """Who misses nothing of a block, by group, or `both` them and the others; not those of few, or of few hospitals."""
    if b and both:
        return Cells(d.group * 2 + ~d.known[:, b], (groups, 2), rule="spread")
    return those(d.known[:, b], d.group, groups, "spread")


def anybody(who: Bools) -> Cells:
    """Whether at least k people are marked."""
    return Cells(np.where(who, 0, -1), (1, 1), rule="show")


def carriers(j: int, d: Described, groups: int) -> dict[str, Cells]:
    """Who carries the sum of a numeric variable: the people who are not 0, not usual, and neither 0 nor 1.

    Usual is the value in the middle of this hospital's group, or 1 if all there are 0 or 1. Few people who are
    neither 0 nor 1 would be told by the sum of x^2 - x.
    """
    x = d.values[:, j]
    known = ~np.isnan(x)
    other = known & (x != 0) & (x != 1)
    usual = np.ones(groups)
    for g in range(groups):
        if (other & (d.group == g)).any():
            here = np.sort(x[known & (d.group == g)])
            usual[g] = here[here.size // 2]
    return {
        f"some {j}": those(known & (x != 0), d.group, groups),
        f"off {j}": those(known & (x != usual[d.group]), d.group, groups),
        f"other {j}": those(other, d.group, groups),
        f"negative {j}": anybody(known & (x < 0)),
    }


# Verdicts -----------------------------------------------------------------------------------------------------


def enough(verdict: Verdict, shown: Places) -> Places:
    """The groups of at least k people. ModelError if there is none."""
    left = tuple(shown[int(g)] for g in np.flatnonzero(verdict.grids["groups"][0] >= 0))
    if not left:
        raise ModelError("no group has enough people to be described: merge levels, or ask more hospitals")
    return left


def joined(verdict: Verdict, blocks: Places) -> Places:
    """Blocks with those joined that a few people tell apart; first to what is required, then to each other."""
    pairs = [(name.split(":"), grid) for name, grid in verdict.grids.items() if ":" in name]
    few = sorted((int(a), int(b)) for (a, b), grid in pairs if (grid < 0).any())
    required = [pair for pair in few if pair[0] == 0]
    home = list(range(max(blocks) + 1))
    for a, b in required or few:
        low, high = sorted((home[a], home[b]))
        home = [low if h == high else h for h in home]
    order = {h: i for i, h in enumerate(sorted({0, *(home[b] for b in blocks)}))}
    return tuple(order[home[b]] for b in blocks)


def too_few(verdict: Verdict, blocks: Places) -> Hidden:
    """Variables whose numbers, or the lack of them, would rest on too few people of a group; of twins, the second."""
    found = {(j, int(g)) for j, b in enumerate(blocks) for g in np.flatnonzero(verdict.grids[f"known {b}"][:, 0] < 0)}
    for name, grid in verdict.grids.items():
        what, _, which = name.partition(" ")
        if what in ("some", "off", "other", "twins"):
            found |= {(int(which.rpartition(":")[2]), int(g)) for g in np.flatnonzero(grid[:, 0] < 0)}
    return tuple(sorted(found))
