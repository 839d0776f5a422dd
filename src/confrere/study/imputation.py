"""Missing values: what of their imputation is public, and how a hospital completes its table by it.

Each incomplete column has an *equation*: a linear model for a number, a multinomial logit for a column with levels
(two levels: the logistic model), on all other columns of the imputation model. The flow of `analyses.impute` draws the
coefficients, in public; they become part of the ground (`Ground.imputed`). A completed table is then a pure function
of three things: the table, the coefficients drawn so far in their order, and the draws of each person. These come from
a hash of the person's id under a key that the hospital has and the coordinator lacks: who knew them could subtract the
imputed values from the sums.

All works in one standardised matrix of *fields*: a number is one field, a column of L levels is L - 1 indicators. At
the start a missing value is 0, the mean. Sources: van Buuren & Groothuis-Oudshoorn, J Stat Softw 2011;45(3) (mice);
White & Royston, Stat Med 2009;28:1982 (event and cumulative hazard for survival outcomes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, StudyError
from confrere.rounds import Array, Bools, Ints
from confrere.study.rows import TableRows

if TYPE_CHECKING:
    import pandas as pd

    from confrere.study.formulas import Model
    from confrere.study.ground import Ground

Words = NDArray[np.uint64]
MOST = 200  # imputations at most
USUAL = 20  # imputations, where no number is said and the budget carries them
MOST_ITERATIONS, MOST_LEVELS = 20, 50  # levels of an imputed column
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Impute:
    """How missing values are imputed.

    `imputations` completed tables (None: 20, or as many as the budget of numbers carries), each after so many
    `iterations` of the chained equations (one is enough, and is done, where a single column is incomplete).
    `auxiliary` names columns that are not in the analysis but help to predict. `seed` is public: another one gives
    other draws.
    """

    imputations: int | None = None
    iterations: int = 5
    auxiliary: tuple[str, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        if self.imputations is not None and not 2 <= self.imputations <= MOST:
            raise StudyError(f"imputations is {self.imputations}; it must be from 2 to {MOST}")
        if not 1 <= self.iterations <= MOST_ITERATIONS:
            raise StudyError(f"iterations is {self.iterations}; it must be from 1 to {MOST_ITERATIONS}")
        if not 0 <= self.seed < 2**32:
            raise StudyError(f"seed is {self.seed}; it must be a whole number of 0 or more")


Missing = str | Impute  # the setting of an analysis: "complete", "impute", or how to impute


def imputing(analysis: Any) -> Impute | None:
    """How an analysis imputes; None where it counts complete rows. StudyError for anything else."""
    said = getattr(analysis, "missing", "complete")
    if isinstance(said, Impute) or said == "complete":
        return said if isinstance(said, Impute) else None
    if said == "impute":
        return Impute()
    raise StudyError(f"missing is {said!r}; it must be 'complete', 'impute', or a table such as {{imputations = 10}}")


# What is public ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A column of the imputation model. `levels` () is a number; `codes` says that the levels are numbers.

    `mean` and `sd` of its fields, over whom the column is known for. `range` is the declared plausible one.
    """

    name: str
    levels: tuple[str, ...] = ()
    codes: bool = False
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()
    range: tuple[float, float] | None = None

    @property
    def width(self) -> int:
        """How many fields it is."""
        return max(1, len(self.levels) - 1)


@dataclass(frozen=True)
class Equations:
    """An imputation model: what is evaluated of the formula, further columns, and who is predicted.

    `hazard` is the cumulative hazard (edges, values at them) of a survival outcome, linear between the edges. `targets`
    are the incomplete columns in the order in which they are imputed, places in `fields`.
    """

    formula: str
    fields: tuple[Field, ...]
    targets: tuple[int, ...]
    hazard: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    @property
    def width(self) -> int:
        """All fields."""
        return sum(f.width for f in self.fields)

    def place(self, i: int) -> slice:
        """Where the fields of a column are in the matrix."""
        start = sum(f.width for f in self.fields[:i])
        return slice(start, start + self.fields[i].width)

    def others(self, i: int) -> Ints:
        """The fields that predict a column."""
        return np.delete(np.arange(self.width), np.arange(self.width)[self.place(i)])


@dataclass(frozen=True)
class Imputed:
    """A completed table: the equations, which `chain` it is, and the coefficients drawn for it.

    `draws` go round the targets, once more than there are iterations. Each is (L - 1 or 1) x (fields that predict + 1),
    the intercept first, flat; a number has its residual standard deviation last.
    """

    equations: Equations
    chain: int
    draws: tuple[tuple[float, ...], ...]

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are imputed."""
        return frozenset(self.equations.fields[t].name for t in self.equations.targets)


def imputable(model: Model, how: Impute, weights: str = "") -> tuple[str, ...]:
    """The columns that may be imputed: of terms, and auxiliary ones, that nothing else of the formula reads."""
    parts = [*(model.outcome.expressions() if model.outcome else ()), *model.offsets]
    fixed = {name for e in parts for name in e.sources()} | set(model.strata) | {weights}
    return tuple(sorted((set(model.columns) | set(how.auxiliary)) - fixed))


def required(analysis: Any) -> tuple[str, ...]:
    """The columns in which an analysis that imputes needs everybody to be complete."""
    from confrere.study.ground import model_of

    how = imputing(analysis) or Impute()
    model, weights = model_of(analysis.formula, analysis.ground), getattr(analysis, "weights", "")
    return tuple(sorted({*model.columns, weights} - {"", *imputable(model, how, weights)}))


def check_imputing(analysis: Any) -> None:
    """What an analysis that imputes cannot have, before anything is asked. StudyError."""
    from confrere.study.ground import model_of

    how = imputing(analysis)
    if how is None:
        return
    ground = analysis.ground
    model = model_of(analysis.formula, ground)
    if not ground.person:
        raise StudyError(
            'missing = "impute" needs to know who is who, so that a person\'s draws stay the same: name the column of '
            'person ids, person = "..." under [data]'
        )
    if model.pooled:
        raise StudyError(
            f'{analysis.formula!r}: standardize() and center() do not go with missing = "impute": their means would be '
            f"of other people. Write the numbers: I((age - 60) / 10)"
        )
    if model.outcome is not None and len(model.outcome.causes) > 2:
        raise StudyError(f'{analysis.formula!r}: missing = "impute" is not offered where causes compete')
    for name in how.auxiliary:
        if name in (*model.columns, getattr(analysis, "weights", "")):
            raise StudyError(f"auxiliary column {name!r} is in the analysis already; leave it out of auxiliary")
        if name == ground.person:
            raise StudyError(f"auxiliary column {name!r} names the person; leave it out of auxiliary")


# A hospital's matrix -------------------------------------------------------------------------------------------


def raw(frame: pd.DataFrame, equations: Equations, ground: Ground) -> Array:
    """The fields (N, width) in their own units; NaN where missing."""
    from confrere.study.ground import model_of

    model = model_of(equations.formula, ground)
    rows = TableRows(frame, ground.schema, {})
    made = model.evaluate(frame) if equations.fields else None
    columns: list[Array] = []
    for f in equations.fields:
        special_ = _special(f.name, made, equations) if made is not None else None
        values = special_ if special_ is not None else _column(rows, f)
        columns.append(values.reshape(len(frame), f.width))
    return np.hstack(columns) if columns else np.empty((len(frame), 0))


def matrix(frame: pd.DataFrame, equations: Equations, ground: Ground) -> Array:
    """The fields (N, width), standardised; NaN where missing."""
    mean = np.array([m for f in equations.fields for m in f.mean])
    sd = np.array([s for f in equations.fields for s in f.sd])
    return np.asarray((raw(frame, equations, ground) - mean) / sd)


def codes_of(rows: TableRows, f: Field) -> Ints:
    """The level of each person (N,), -1 where missing."""
    if not f.codes:
        return rows.codes(f.name)
    values = rows.numbers(f.name)
    known = np.array([float(level) for level in f.levels])
    at = np.argmin(np.abs(np.nan_to_num(values)[:, None] - known), axis=1)
    if bad := int((~np.isnan(values) & (known[at] != values)).sum()):
        raise DataError(f"column {f.name!r} has {bad} values that are none of {', '.join(f.levels)}; correct them")
    return np.where(np.isnan(values), -1, at).astype(np.int64)


def _column(rows: TableRows, f: Field) -> Array:
    if not f.levels:
        return rows.numbers(f.name)
    return indicators(codes_of(rows, f), f.width)


def indicators(codes: Ints, width: int) -> Array:
    """Indicators of all levels but the first (N, width); NaN where the code is -1."""
    marks: Array = (codes[:, None] == np.arange(1, width + 1)).astype(float)
    marks[codes < 0] = np.nan
    return marks


def _special(name: str, made: Any, equations: Equations) -> Array | None:
    """What is evaluated of the formula, rather than read from a column."""
    plain = {"(outcome)": "value", "(event)": "event", "(offset)": "offset"}
    if name in plain:
        return np.asarray(getattr(made, plain[name]))
    if name == "(strata)":
        return indicators(made.strata, len(made.strata_levels) - 1)
    if name != "(hazard)":
        return None
    edges, values = equations.hazard
    at = np.interp(made.time, edges, values)
    late = made.entry if made.entry is not None else np.zeros(len(at))
    return np.asarray(np.where(np.isnan(made.time), np.nan, at - np.interp(late, edges, values)))


# Drawing -------------------------------------------------------------------------------------------------------


def uniforms(words: Words, chain: int, step: int) -> Array:
    """A number in (0, 1) for each person (n,), chain and step of it, from the person's secret word (splitmix64)."""
    salt = np.uint64((chain * 1_000_003 + step + 1) & 0xFFFFFFFF)
    with np.errstate(over="ignore"):
        z = words + GOLDEN * salt
        for _ in range(2):  # the second time, so that neighbouring steps share nothing
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = (z ^ (z >> np.uint64(31))) + GOLDEN
    return np.asarray(((z >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53)


def shares(x: Array, theta: Array) -> Array:
    """Probabilities of each level (n, L) under a multinomial logit; theta (L - 1, q), x (n, q), ones first."""
    eta = np.column_stack([np.zeros(len(x)), x @ theta.T])
    from scipy.special import softmax  # reading a formula must not wait for it

    return np.asarray(softmax(eta, axis=1))


def multinomial(x: Array, y: Array, theta: Array) -> tuple[float, Array, Array]:
    """Log-likelihood, score (size,) and information (size, size) of levels y (n, L) at theta (size,), L - 1 rows."""
    k = y.shape[1] - 1
    p = shares(x, theta.reshape(k, -1))
    loglik = float(np.log(np.maximum((p * y).sum(axis=1), 1e-300)).sum())
    weights = [[p[:, a + 1] * ((a == b) - p[:, b + 1]) for b in range(k)] for a in range(k)]
    information = np.block([[x.T @ (x * w[:, None]) for w in row] for row in weights])
    return loglik, ((y - p)[:, 1:].T @ x).ravel(), np.asarray(information)


def drawn(f: Field, x: Array, draw: Array, u: Array) -> Array:
    """Values of the fields of a column (n, width), standardised, for those who miss it; x (n, q), ones first."""
    from scipy.special import ndtri

    mean, sd = np.array(f.mean), np.array(f.sd)
    if f.levels:
        p = shares(x, draw.reshape(f.width, -1))
        code = (u[:, None] > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)
        return np.asarray((indicators(code, f.width) - mean) / sd)
    z = x @ draw[:-1] + draw[-1] * ndtri(u)
    if f.range is not None:
        z = np.clip(z, *((np.array(f.range) - mean) / sd))
    return np.asarray(z)[:, None]


@dataclass(eq=False)
class Chains:
    """The people of a hospital who miss something, in all chains at once: `z` (chains, n, width), 0 at the start.

    `gaps` (n, targets) says what each misses. Each `step` draws the next target in turn.
    """

    equations: Equations
    z: Array
    gaps: Bools
    words: Words
    first: int = 0  # number of the first of these chains
    done: int = 0

    @staticmethod
    def start(equations: Equations, z: Array, words: Words, chains: int, first: int = 0) -> Chains:
        """At the means; z (n, width) with NaN where missing."""
        gaps = np.column_stack([np.isnan(z[:, equations.place(t)]).any(axis=1) for t in equations.targets])
        return Chains(equations, np.repeat(np.nan_to_num(z)[None], chains, axis=0), gaps, words, first)

    def step(self, draws: Array | Sequence[Sequence[float]]) -> None:
        """Draw the next target by coefficients (chains, size)."""
        at = self.done % len(self.equations.targets)
        target = self.equations.targets[at]
        who, own = np.flatnonzero(self.gaps[:, at]), self.equations.place(target)
        others, words = self.equations.others(target), self.words[who]
        for c, draw in enumerate(np.asarray(draws, dtype=float)):
            x = np.column_stack([np.ones(len(who)), self.z[c][np.ix_(who, others)]])
            u = uniforms(words, self.first + c, self.done)
            self.z[c, who, own] = drawn(self.equations.fields[target], x, draw, u)
        self.done += 1


def completed(frame: pd.DataFrame, ground: Ground, words: Callable[[pd.Series[Any]], Words]) -> pd.DataFrame:
    """The table with its gaps filled as the ground says; people who miss more than what is imputed stay as they are.

    `words` gives each person's secret word (n,) from the column of person ids.
    """
    imputed = ground.imputed
    if imputed is None:
        return frame
    equations = imputed.equations
    z = matrix(frame, equations, ground)
    fixed = np.delete(
        np.arange(equations.width), np.concatenate([target_fields(equations, t) for t in equations.targets])
    )
    who = np.flatnonzero(np.isnan(z).any(axis=1) & np.isfinite(z[:, fixed]).all(axis=1))
    person = frame[ground.person].iloc[who]
    chains = Chains.start(equations, z[who], words(person), 1, imputed.chain)
    for draw in imputed.draws:
        chains.step([draw])
    made = frame.copy()
    for at, t in enumerate(equations.targets):
        f, gaps = equations.fields[t], chains.gaps[:, at]
        values = chains.z[0][gaps][:, equations.place(t)] * np.array(f.sd) + np.array(f.mean)
        _write(made, f, who[gaps], values)
    return made


def target_fields(equations: Equations, t: int) -> Ints:
    """Places of the fields of a column in the matrix."""
    return np.arange(equations.width)[equations.place(t)]


def _write(frame: pd.DataFrame, f: Field, rows: Ints, values: Array) -> None:
    """Put values (n, width) of the fields into the table, in place."""
    import pandas as pd

    if not f.levels:
        column = frame[f.name].to_numpy(dtype=float, copy=True)
        column[rows] = values[:, 0]
    else:
        code = np.where(values.max(axis=1) > 0.5, values.argmax(axis=1) + 1, 0)
        if f.codes:
            column = frame[f.name].to_numpy(dtype=float, copy=True)
            column[rows] = np.array([float(level) for level in f.levels])[code]
        else:
            held = frame[f.name]
            codes = np.array(held.cat.codes, dtype=np.int64)
            place = {str(level): i for i, level in enumerate(held.cat.categories)}
            codes[rows] = np.array([place[level] for level in f.levels])[code]
            frame[f.name] = pd.Categorical.from_codes(codes, held.cat.categories)
            return
    frame[f.name] = column
