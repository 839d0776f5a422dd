"""What regressions share: the cases of a hospital, the frame of standardised terms, and what a formula must have.

Fits run in a frame: with an intercept, terms are centred and divided by their standard deviation; without one
they are divided by their root mean square and not centred. The frame is public (it comes from a first ask), so
that `raw` takes estimates and variances back to units of the terms exactly, whatever the rounding of its numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from confrere.analyses.distributions import f_sf
from confrere.analyses.finding import Record
from confrere.analyses.scaling import RAW, Scales, blocks, standard, stretches
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Design, People, Sum
from confrere.study.ground import Ground, Rows, design_of, model_of, narrowed
from confrere.study.imputation import check_imputing

INTERCEPT = "Intercept"


class Regression(Protocol):
    """The settings that every regression has."""

    @property
    def formula(self) -> str: ...
    @property
    def weights(self) -> str: ...
    @property
    def ridge(self) -> float: ...
    @property
    def ground(self) -> Ground: ...


class Start(NamedTuple):
    """Raw moments of the terms and of the outcome, weighted by the case weights."""

    total: Sum  # () sum of weights
    first: Sum  # (p,) sums of x
    second: Sum  # (p,) sums of x^2
    cross: Sum  # (p,) sums of x y
    outcome: Sum  # (4,) sums of y, y^2, the offset, and what the log-likelihood needs beside the deviance
    events: Sum  # () people whose outcome is above 0


class Frame(NamedTuple):
    """How coefficients of the fit read: linear predictor = base + reach * (standardised terms @ coefficients).

    `mean` and `sd` (p,) of the terms; `unit` divides the log-likelihood, so that sums are of the order of n.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    base: float
    reach: float
    unit: float
    intercept: bool

    def raw(self) -> tuple[Array, Array]:
        """(matrix, shift) with raw coefficients = matrix @ coefficients + shift."""
        matrix = np.diag(self.reach / np.array([*([1.0] if self.intercept else []), *self.sd]))
        shift = np.zeros(len(matrix))
        if self.intercept:
            matrix[0, 1:] = -self.reach * np.array(self.mean) / np.array(self.sd)
            shift[0] = self.base
        return matrix, shift


class Cases(NamedTuple):
    """A hospital's complete rows with a positive weight: x (n, p), the others (n,)."""

    x: Array
    y: Array
    w: Array
    offset: Array

    def blocks(self, frame: Frame) -> Iterator[tuple[slice, Array, Cases]]:
        """Blocks of people: which, their standardised terms (b, q), ones first, and their cases. See `blocks`."""
        for rows, z in blocks(self.x, frame.mean, frame.sd, int(frame.intercept)):
            yield rows, z, self.at(rows)

    def at(self, rows: slice) -> Cases:
        """The cases of these rows."""
        return Cases(*(values[rows] for values in self))


def terms_of(analysis: Regression) -> tuple[str, ...]:
    """Names of the coefficients: `Intercept` first, if the formula has one."""
    model = model_of(analysis.formula, analysis.ground)
    return (*((INTERCEPT,) if model.intercept else ()), *model.names)


def check_settings(analysis: Regression, *, two_levels: bool) -> None:
    """What is wrong before any data: FormulaError, StudyError. `two_levels` allows an outcome with declared levels."""
    model, formula = model_of(analysis.formula, analysis.ground), analysis.formula
    if model.outcome is None or model.outcome.kind != "value":
        raise FormulaError(
            f"{formula!r}: a regression needs one outcome on the left, such as los ~ age, not a time and event"
        )
    if model.outcome.causes and not two_levels:
        raise FormulaError(
            f"{formula!r}: the outcome has levels, and this family needs a number; compare it, or use logistic"
        )
    if model.strata:
        raise FormulaError(f"{formula!r}: strata() belongs to Cox models; add C(...) of the column as a term instead")
    if not (model.names or model.intercept):
        raise FormulaError(f"{formula!r}: there is neither a term nor an intercept; write ~ 1 for an intercept alone")
    check_imputing(analysis)
    if not 0 <= analysis.ridge < np.inf:
        raise StudyError(f"ridge is {analysis.ridge}; it must be 0 or a positive number")


def cases_of(people: People, analysis: Regression, check: Callable[[Array, bool], None], *, flag: bool) -> Design:
    """The design of a regression; its data are `Cases`. `check(y, weighted)` raises DataError for impossible outcomes.

    The outcome counts for the support as a mark of two sides if `flag`, otherwise as a column, as does an offset:
    an outcome that is 0 for all but a few would show their rows. People of weight 0 are left out for the same
    reason: they would lend a support that no number rests on.
    """
    made = design_of(people, analysis.formula, analysis.ground, weights=analysis.weights)
    value = made.data.value
    check(np.zeros(made.n) if value is None else value, bool(analysis.weights))
    if analysis.weights:
        made = narrowed(made, made.data.weights > 0, f"{analysis.weights} is 0")
    rows: Rows = made.data
    y = np.zeros(made.n) if rows.value is None else rows.value
    w = np.ones(made.n) if rows.weights is None else rows.weights
    offset = np.zeros(made.n) if rows.offset is None else rows.offset
    cases = Cases(rows.x, y, w, offset)
    model = model_of(analysis.formula, analysis.ground)
    text = model.outcome.value.text if model.outcome and model.outcome.value else "outcome"
    more = {**({} if flag else {text: cases.y}), **({"offset": cases.offset} if model.offsets else {})}
    return dataclasses.replace(
        made, data=cases, x=np.column_stack([cases.x, *more.values()]) if more else cases.x, names=(*made.names, *more),
        flags={"outcome": cases.y > 0} if flag else {},
    )  # fmt: skip


def started(people: People, y: Array, constant: float) -> Start:
    """The body of the first step: moments of the terms and of the outcome y (n,)."""
    cases: Cases = people.design.data
    w, x = cases.w, cases.x
    wy = w * y
    moments = np.array([w @ y, wy @ y, w @ cases.offset, constant])
    first, second, cross = (np.zeros(x.shape[1]) for _ in range(3))
    for rows in stretches(*x.shape):  # once through the memory
        part = x[rows]
        first += w[rows] @ part
        cross += wy[rows] @ part
        second += w[rows] @ np.square(part)
    return Start(
        people.derived(w.sum(), w, scale=RAW),
        people.derived(first, w, scale=RAW),
        people.derived(second, w, scale=RAW),
        people.derived(cross, w, scale=RAW),
        people.derived(moments, w, dims=("moments",), scale=RAW),
        people.count(cases.y > 0),
    )


def spread(s: Start) -> tuple[float, float]:
    """Mean and variance of the outcome; ModelError if nobody differs in it."""
    total = float(s.total.value)
    mean = float(s.outcome.value[0]) / total
    variance = float(s.outcome.value[1]) / total - mean**2
    if variance <= 1e-13 * max(mean**2, 1e-20):
        raise ModelError(
            "the outcome is the same for everybody: there is nothing to explain. Check the outcome's column, or "
            "ask about more people"
        )
    return mean, variance


def standardised(s: Start, names: tuple[str, ...], intercept: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, sd) of the terms (p,); without an intercept 0 and the root mean square."""
    if intercept:
        z = standard(Scales(s.total, s.first, s.second), names)
        return z.mean, z.sd
    square = s.second.value / float(s.total.value)
    for name, v in zip(names, square, strict=True):
        if not v > 0:
            raise ModelError(
                f"term {name!r} is 0 for everybody: nobody has this level. Leave it out, or correct its levels",
                about="constant-term",
            )
    return (0.0,) * len(names), tuple(np.sqrt(square).tolist())


def enough(n: int, terms: int) -> int:
    """Residual degrees of freedom; ModelError if there are none."""
    if not n:
        raise ModelError("nobody is left to fit: every record misses a column of the formula, or has weight 0")
    if n <= terms:
        raise ModelError(f"{n} people cannot determine {terms} coefficients: leave terms out, or ask about more people")
    return n - terms


def determined() -> ModelError:
    """The error of a fit that leaves nothing over."""
    return ModelError(
        "the terms determine the outcome exactly, so that no variance is left to estimate. Is the outcome among its "
        "own terms, or computed from them?"
    )


def f_test(explained: float, df: int, dispersion: float, df_residual: int) -> Record:
    """A record of an F test of `df` terms that explain this much deviance."""
    statistic = explained / df / dispersion
    p = float(f_sf(statistic, df, df_residual))
    return {"test": "F", "statistic": statistic, "df": df, "df_residual": df_residual, "p_value": p}


def covariance(frame: Frame, matrix: NDArray[np.floating[Any]]) -> Array:
    """A covariance of coefficients (q, q) in units of the terms."""
    to, _ = frame.raw()
    return np.asarray(to @ matrix @ to.T)


def estimates(frame: Frame, beta: Array) -> Array:
    """Coefficients (q,) in units of the terms."""
    to, shift = frame.raw()
    return np.asarray(to @ beta + shift)


def penalty(frame: Frame, ridge: float) -> Array:
    """What `ridge`/2 times the squares of the terms' coefficients is on those of the frame (q,); 0 on the intercept."""
    pull = ridge * (frame.reach / np.array(frame.sd)) ** 2 / frame.unit
    return np.asarray(np.concatenate([np.zeros(int(frame.intercept)), pull]))
