"""People over several periods, and since when each is treated: what differences in differences are computed from.

A hospital's table has one row per person, with a column for the outcome of each period: who contributes to several
periods still is one person to the gate, whatever is computed. People fall into groups by the first period at or before
which their treatment begins; whoever begins after the last period, or never (an empty field), belongs to the group of
the never treated. Who is treated by the first period has no time before, and is not in the panel.

Every two groups differ by 0 or at least k people, and so does everything that sums over groups: comparisons of one
group with several others, of which the same people may be controls many times over, tell nobody apart. Products of
terms among the people of a group, or of several, rest on who of them has both: `among` is what they rest on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from confrere.analyses.glm import Glm
from confrere.analyses.outcomes import Cases
from confrere.analyses.scaling import FEW_VALUES, sides
from confrere.errors import DataError
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, register
from confrere.study.ground import Ground, complete, design_of, model_of, narrowed

if TYPE_CHECKING:
    from confrere.analyses.effects.difference_in_differences import DifferenceInDifferences

FIRST = "treated from the first period on"
ELSEWHERE = "in a group that is not compared"


class Panel(NamedTuple):
    """A hospital's people: terms (n, p), outcomes by period (n, T), and group (n,): a period's place, T for never."""

    x: Array
    y: Array
    group: Ints


class Comparison(NamedTuple):
    """A group, and the groups that are its controls: places of periods; public."""

    group: int
    controls: tuple[int, ...]


def groups_of(frame: Any, treated_from: str, periods: tuple[float, ...]) -> Ints:
    """The group (N,) of everybody: the place of the first period at or after `treated_from`; len(periods) for never.

    Raises DataError where there is no such column, or no numbers in it.
    """
    began = numbers(frame, treated_from)
    # what is missing is sorted behind all numbers
    return np.asarray(np.searchsorted(np.array(periods), began, side="left"), dtype=np.int64)


def numbers(frame: Any, name: str) -> Array:
    """A column of numbers (N,), NaN where a field is empty. DataError: there is no such column, or text in it."""
    complete(frame, (name,))
    value = model_of(f"{name} ~ 1", Ground()).evaluate(frame).value
    return np.zeros(len(frame)) if value is None else value


def starts(frame: Any, name: str, rows: Bools, zero: str) -> Array:
    """When the treatment of the people in these rows starts (n,), infinite for never. DataError: before `zero`."""
    start = numbers(frame, name)[rows]
    if bad := int((start < 0).sum()):
        raise DataError(
            f"column {name!r}: {bad} people start before {zero}; leave them out of the study: who is treated already "
            f"cannot be assigned to start, or not to"
        )
    return np.where(np.isnan(start), np.inf, start)


def panel(people: People, of: DifferenceInDifferences) -> Design:
    """The design of a panel: terms, outcomes of all periods and group; its data are a `Panel`.

    Raises DataError where a column is not in the table.
    """
    frame = people.table.frame
    made = design_of(people, of.formula, of.about)
    y = np.column_stack([numbers(frame, name) for name in of.outcomes])[made.rows]
    group = groups_of(frame, of.treated_from, of.periods)[made.rows]
    made = replace(made, data=Panel(made.data.x, y, group), columns=tuple(sorted({*made.columns, *of.reads})))
    made = narrowed(made, group > 0, FIRST)
    data: Panel = made.data
    marks = [data.group == j for j in range(1, len(of.periods) + 1)]
    named = [*(f"treated from {p:.15g}" for p in of.periods[1:]), "never treated"]
    cells = {**made.cells, "groups": Cells(data.group - 1, (1, len(of.periods)))}
    x = np.column_stack([data.x, data.y, *marks]).astype(float)
    return replace(made, x=x, names=(*made.names, *of.outcomes, *named), cells=cells)


def among(people: People, of: DifferenceInDifferences, groups: tuple[int, ...]) -> Design:
    """The design that sums over the people of some groups rest on: their terms and outcomes, 0 of everybody else.

    Everybody stays in it: a hospital with few people of these groups adds to the sums, and so it must to this.
    """
    made = panel(people, of)
    inside = np.isin(made.data.group, groups)
    names = (*made.names[: made.data.x.shape[1]], *of.outcomes)
    columns = np.column_stack([made.data.x, made.data.y])
    cells = {
        f"{name} {side}, in the groups": Cells(np.where(who, 0, -1), (1, 1))
        for name, column in zip(names, columns.T, strict=True)
        for side, who in _inside(column, inside).items()
    }
    x = np.column_stack([*(around(column, inside) for column in columns.T), inside.astype(float)])
    return replace(made, x=x, names=(*names, "in the groups"), flags={}, cells=cells)


def _inside(column: Array, inside: Bools) -> dict[str, Bools]:
    """Who of those inside (n,) the sides of a column (n,) are."""
    return {side: _placed(who, inside) for side, who in sides(column[inside]).items()}


def around(column: Array, inside: Bools) -> Array:
    """A column (n,) of those inside, 0 of others; a measurement about its median there, from which the gate takes how
    many people carry it."""
    values = column[inside]
    middle = np.median(values) if np.unique(values).size > FEW_VALUES else 0.0
    return np.asarray(_placed(values - middle, inside), dtype=float)


def _placed(values: Any, inside: Bools) -> Any:
    """Values of those inside at their places (n,), 0 at others."""
    out = np.zeros(len(inside), dtype=values.dtype)
    out[inside] = values
    return out


@register("_adopted")
@dataclass(frozen=True)
class Adopted(Glm):
    """The propensity of being in the group of a comparison and not among its controls; made by `adopted`."""

    of: DifferenceInDifferences | None = None
    among: Comparison = Comparison(0, ())

    def design(self, people: People) -> Design:
        """Raw terms, and who is in the group."""
        if self.of is None:
            raise TypeError("an adoption model needs to know of what: use adopted")
        made = panel(people, self.of)
        made = narrowed(made, np.isin(made.data.group, (self.among.group, *self.among.controls)), ELSEWHERE)
        x, own = made.data.x, made.data.group == self.among.group
        cases = Cases(x, own.astype(float), np.ones(made.n), np.zeros(made.n))
        cells = {name: c for name, c in made.cells.items() if name != "groups"}
        names = made.names[: x.shape[1]]
        return replace(made, data=cases, x=x, names=names, flags={"outcome": own}, cells=cells)


def adopted(of: DifferenceInDifferences, among: Comparison) -> Adopted:
    """The propensity model of a comparison."""
    ground: Ground = of.about
    return Adopted(of.formula, "binomial", ground=ground, of=of, among=among)
