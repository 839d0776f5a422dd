"""The public ground that all analyses of a study stand on, and the design that a formula makes of a table.

What is fixed here is known without data: levels of columns, the unit of time, the ladder of times on which curves
may be drawn. An analysis carries its ground, so that every hospital and the coordinator know the same names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from confrere.errors import DataError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Ints, People
from confrere.study.circe import Definition
from confrere.study.imputation import Imputed, completed
from confrere.study.rows import nearest, whole
from confrere.study.schema import Schema

if TYPE_CHECKING:
    from confrere.study.formulas import Evaluated, Model

LEFT = "_left"  # column: 0 for people whom the study is about, j from 1 for the public reason j why somebody is not
DAYS = {"days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}


@dataclass(frozen=True)
class Ground:
    """Levels and ranges of columns, unit of time, ladder of times.

    `step` is the width of a cell of the ladder in units of time; None is the finest that needs no approval, 30
    days (a month). `horizon` is where the ladder ends; None lets the hospitals find a round one. `fine` asks for
    the exact times of the network on a grid of `step` (or 1), and needs the disclosure class `fine_times`. `marks`
    are the reporting times of all analyses of the study, edges of one ladder for all of them: two ladders that differ
    by a few days would differ by a few people. `complete` names columns in which everybody must be complete, for the
    same reason: other analyses of the study leave out a few people who miss them. `pooled` gives the network's mean and
    SD of the expressions within `standardize()` and `center()`, once they were asked. `person` names the column of
    person ids; `imputed` says how missing values are filled, once that was drawn. `cohorts` are the definitions that a
    study names; `reasons` say why the column `LEFT` leaves people out (reason j stands at place j - 1).
    """

    schema: Schema = Schema()
    unit: str = "days"
    step: float | None = None
    horizon: float | None = None
    fine: bool = False
    marks: tuple[float, ...] = ()
    complete: tuple[str, ...] = ()
    pooled: tuple[tuple[str, float, float], ...] = ()
    person: str = ""
    imputed: Imputed | None = None
    cohorts: tuple[tuple[str, Definition], ...] = ()
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.unit not in DAYS:
            raise StudyError(f"time_unit is {self.unit!r}; it must be one of {', '.join(DAYS)}")
        if self.step is not None and not 0 < self.step < np.inf:
            raise StudyError(f"time_step is {self.step}; it must be a positive number of {self.unit}")

    def marked(self, *times: float) -> Ground:
        """The same ground with more reporting times."""
        return replace(self, marks=tuple(sorted({*self.marks, *(float(t) for t in times)})))

    def cohort(self, name: str) -> Definition:
        """The definition of a cohort that the study names. StudyError where it names none so."""
        found = dict(self.cohorts)
        if name not in found:
            near = get_close_matches(name, list(found), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(found) or 'none'}"
            raise StudyError(f"'{name}' is no name of [cohorts]; {hint}")
        return found[name]

    @property
    def width(self) -> float:
        """Width of a ladder cell in units of time."""
        if self.step is not None:
            return self.step
        if self.fine or self.unit == "months":
            return 1.0
        return 30.0 / DAYS[self.unit] if self.unit != "years" else 1.0 / 12

    @property
    def days(self) -> float:
        """Width of a ladder cell in days; a calendar month counts as 30."""
        return self.width * (30.0 if self.unit == "months" else 360.0 if self.unit == "years" else DAYS[self.unit])


class Rows(NamedTuple):
    """What a formula makes of the complete rows of one hospital's table; shapes (n, p) and (n,)."""

    x: Array
    time: Array | None
    event: Array | None
    entry: Array | None
    value: Array | None
    strata: Ints | None
    offset: Array | None
    weights: Array | None


def model_of(formula: str, ground: Ground) -> Model:
    """The formula, read without data."""
    from confrere.study import formulas

    return formulas.model(formula, ground.schema)


def outcome_among(formula: str, ground: Ground) -> list[str]:
    """Columns of the outcome, its entry time apart, that the terms of a formula read too: they would tell it."""
    found = model_of(formula, ground).outcome
    outcome = [part for part in (found.time, found.event, found.value) if part] if found else []
    terms = model_of(f"~ {formula.partition('~')[2]}", ground).columns
    return sorted({name for part in outcome for name in part.sources()} & set(terms))


def design_of(people: People, formula: str, ground: Ground, *, weights: str = "") -> Design:
    """The design of a formula on this hospital's complete rows: raw terms, outcome, and who is left out and why.

    `weights` names the column of case weights. The design's data are `Rows`.
    """
    model = model_of(formula, ground)
    frame = completed(people.table.frame, ground, lambda ids: people.words("impute", ids))
    got = model.evaluate(frame, {name: (mean, sd) for name, mean, sd in ground.pooled})
    w = np.asarray(frame[weights], dtype=float) if weights else None
    rows = finite(got, w) & complete(frame, ground.complete)
    columns = tuple(sorted({*model.columns, weights} - {""}))
    needed = {*columns, *ground.complete} - (ground.imputed.columns if ground.imputed else frozenset())
    data = Rows(
        _at(got.x, rows), _at(got.time, rows), _at(got.event, rows), _at(got.entry, rows), _at(got.value, rows),
        _at(got.strata, rows), _at(got.offset, rows), _at(w, rows),
    )  # fmt: skip
    check_times(data, formula)
    if data.weights is not None and (data.weights < 0).any():
        raise DataError(
            f"column {weights!r}: {int((data.weights < 0).sum())} case weights are negative; weights are >= 0"
        )
    flags = {"event": data.event > 0} if data.event is not None else {}
    # the reference level has no column of its own, but is what is left of the others
    cells = {f"levels of {text}": Cells(codes[rows], (1, many)) for text, (codes, many) in model.levels(frame).items()}
    return Design(
        n=int(rows.sum()), rows=rows, x=data.x, names=model.names, flags=flags, weights=data.weights, cells=cells,
        data=data, columns=columns, left_out=left_out(people.table, tuple(sorted(needed)), rows),
    )  # fmt: skip


def narrowed(made: Design, keep: Bools, reason: str) -> Design:
    """A design whose data are `Rows`, with the people of `keep` (n,) alone; the others are left out for `reason`."""
    rows, x = made.rows.copy(), _at(made.x, keep)
    rows[made.rows] = keep
    data = {f: x if v is made.x else _at(v, keep) for f, v in made.data._asdict().items()}  # large tables once
    return replace(
        made, n=int(keep.sum()), rows=rows, x=x, flags={k: v[keep] for k, v in made.flags.items()},
        weights=_at(made.weights, keep), data=made.data._replace(**data),
        cells={name: replace(c, index=c.index[keep]) for name, c in made.cells.items()},
        left_out={**made.left_out, reason: int((~keep).sum())},
    )  # fmt: skip


def complete(frame: Any, columns: tuple[str, ...]) -> Bools:
    """Rows (N,) that miss none of the columns; of `LEFT`, those whom it does not leave out. DataError: no column."""
    rows = np.ones(len(frame), dtype=bool)
    for name in columns:
        if name not in frame:
            raise DataError(f"no column '{name}' in the table; {nearest(name, [str(c) for c in frame])}")
        rows &= np.asarray(frame[name] == 0 if name == LEFT else ~frame[name].isna(), dtype=bool)
    return rows


def left_out(table: Any, columns: tuple[str, ...], rows: Bools) -> dict[str, int]:
    """People who are not in the rows, each counted once: under why the study leaves them out, else under the first
    column they miss."""
    remaining = ~rows
    counts: dict[str, int] = {}
    if LEFT in columns:
        counts = {reason: int((who & remaining).sum()) for reason, who in outside(table).items()}
        remaining = remaining & np.asarray(table.frame[LEFT] == 0)
    for name in (c for c in columns if c != LEFT):
        missing = np.asarray(table.frame[name].isna(), dtype=bool) & remaining if remaining.any() else remaining
        counts[f"missing {name}"] = int(missing.sum())
        remaining = remaining & ~missing
    counts["not defined by the formula"] = int(remaining.sum())
    return counts


def outside(table: Any) -> dict[str, Bools]:
    """Whom the study is not about, (N,) for each public reason; the reasons come with the table (`Table.reasons`)."""
    code = np.asarray(table.frame[LEFT], dtype=float)
    return {reason: code == number for number, reason in enumerate(table.reasons, 1)}


def finite(got: Evaluated, weights: Array | None) -> Bools:
    """Rows (N,) in which terms, outcome, offset, strata and weights all have a value."""
    rows = np.ones(len(got.x), dtype=bool)
    for values in (*got.x.T, got.time, got.event, got.entry, got.value, got.offset, weights):
        if values is not None and not whole(values):
            rows &= np.isfinite(values)
    if got.strata is not None:
        rows &= got.strata >= 0
    return np.asarray(rows)


def _at(values: Any, rows: Bools) -> Any:
    """Values (N,) or (N, p) of some rows; not copied if they are all, and column after column, as they were."""
    # by their places, which takes a fifth of the time of marks
    return values if values is None or rows.all() else np.take(values.T, np.flatnonzero(rows), axis=-1).T


def framed(frame: Any, rows: Bools) -> Any:
    """Some rows (N,) of a frame; not copied if they are all."""
    return frame if rows.all() else frame[rows]


def check_times(data: Rows, formula: str) -> None:
    """Negative times, and entries that are not before their exit, are errors; both are counted, never shown."""
    if data.time is None:
        return
    if bad := int((data.time < 0).sum()):
        raise DataError(
            f"{formula}: {bad} of the times are negative; a follow-up time counts from time zero and is 0 or more"
        )
    if data.entry is not None and (bad := int((data.entry >= data.time).sum())):
        raise DataError(
            f"{formula}: {bad} people enter at or after their exit; mend the entry times or leave these people out"
        )
