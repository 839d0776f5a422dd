"""Dummy people, made from what a study declares alone: for the manifest, which nobody's data may shape.

A formula says much about its columns: `Surv(time, status == 2)` that a status is 2 or not, `C(grade, levels=[1, 2])`
which values there are, `bs(age, Boundary.knots=[20, 90])` between which ends. `wishes` reads that; about the rest there
are `RECIPES` to try, such as numbers above 0 (for logarithms) or of either sign.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.data.bags import Bags
from confrere.data.table import Table
from confrere.study.circe import Definition
from confrere.study.expressions import Expression, literal
from confrere.study.factors import Basis, Category, Number
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, Ground
from confrere.study.omop import BIRTH, FROM, TO, TREATED, Omop
from confrere.study.schema import Schema

Array = NDArray[np.float64]

PEOPLE = 600  # in each hospital
STAY = 0.05  # of the people are followed for as long as can be
GAPS = 0.2  # of the people miss a column that may be imputed
STEPS = 60  # of the ladder that a follow-up lasts


class Wish(NamedTuple):
    """What a column must be like: its `role` is time, entry, event, group, outcome, weight, person or none.

    `values` are all that occur; `cuts` must have people on either side; `span` holds all of them. `gaps` says that some
    people miss it. With `after`, the name of a column, `values` are how much more it is than that one.
    """

    role: str = ""
    values: tuple[float, ...] = ()
    cuts: tuple[float, ...] = ()
    span: tuple[float, float] | None = None
    gaps: bool = False
    after: str = ""


class Recipe(NamedTuple):
    """What is tried where nothing is known: a shape of numbers, and whether a plain outcome is 0 or 1."""

    shape: str = "positive"
    flag: bool = True


Numbers = Callable[[np.random.Generator, int], Array]

SHAPES: Mapping[str, Numbers] = {
    "positive": lambda rng, n: np.exp(rng.normal(1.0, 0.4, n)),
    "share": lambda rng, n: rng.uniform(0.02, 0.98, n),
    "hundred": lambda rng, n: rng.uniform(1.0, 100.0, n),
    "signed": lambda rng, n: rng.normal(0.0, 1.0, n),
}
RECIPES = tuple(Recipe(shape, flag) for flag in (True, False) for shape in SHAPES)


def dummy(
    columns: Sequence[str], schema: Schema, wished: Mapping[str, Wish | str], ground: Ground, *, seed: int,
    recipe: Recipe = RECIPES[0],
) -> Table:  # fmt: skip
    """A table of dummy people who miss nothing but where that is wished. `wished` gives columns their wish, or their
    role alone."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    most = max((len(schema.levels(name) or ()) for name in columns), default=0)
    n = max(PEOPLE, 4 * most)
    made: dict[str, Any] = {}
    for name in columns:
        levels = schema.levels(name)
        wish = wished.get(name, Wish())
        wish = Wish(wish) if isinstance(wish, str) else wish
        if wish.role == "person":
            made[name] = [f"{seed}-{i}" for i in range(n)]
        elif levels is not None:
            codes = np.concatenate([np.arange(len(levels)), rng.integers(0, len(levels), n - len(levels))])
            made[name] = pd.Categorical.from_codes(rng.permutation(codes), list(levels))
        else:
            made[name] = _numbers(wish, schema.column(name).range, ground, recipe)(rng, n)
        if wish.gaps:
            made[name] = pd.Series(made[name]).mask(rng.random(n) < GAPS)
    for name, wish in wished.items():
        if isinstance(wish, Wish) and wish.after and name in made:
            made[name] = made[wish.after] + made[name]
    return Table(pd.DataFrame(made), n, {}, {}, "dummy people", reasons=ground.reasons)


class _Dummies(Bags):
    """Bags of dummy people: made as whoever reads them wishes."""

    def fit(self, name: str, size: int, recipe: str) -> Bags:
        """These bags."""
        return self


def bagged(table: Table, sizes: Mapping[str, int], person: str, seed: int) -> Table:
    """The dummy people of a table with dummy bags of images: one to three rows each, of so many numbers."""
    rng, ids = np.random.default_rng(seed), [str(one) for one in table.frame[person]] if sizes else []
    bags = {name: {one: rng.normal(size=(int(rng.integers(1, 4)), d)) for one in ids} for name, d in sizes.items()}
    return replace(table, bags={name: _Dummies.made(rows, sizes[name]) for name, rows in bags.items()})


def _numbers(wish: Wish, declared: tuple[float, float] | None, ground: Ground, recipe: Recipe) -> Numbers:
    """Numbers as wished; within the declared plausible range where nothing closer is known."""
    if wish.values:
        values = np.array(wish.values, dtype=np.float64)
        return lambda rng, n: values[rng.integers(0, len(values), n)]
    if wish.role in ("time", "entry"):
        most, ladder = declared[1] if declared else np.inf, ground.horizon
        longest = max(STEPS * ground.width, 2 * max(ground.marks, default=0.0))  # some outlive every reporting time
        end, last = (min(ladder or other, most) for other in (longest, wish.span[1] if wish.span else longest))
        first = min(0.1 * end, *(m / 2 for m in ground.marks if m > 0), end)
        return _times((first, end, last), ground.width) if wish.role == "time" else _entries(first / 2)
    if wish.cuts:
        low, high = _around(wish.cuts)
        return lambda rng, n: rng.uniform(low, high, n)
    if wish.role in ("event", "group"):
        return lambda rng, n: rng.integers(0, 2 if wish.role == "event" else 10, n).astype(float)
    if wish.role == "outcome" and recipe.flag:
        return lambda rng, n: rng.integers(0, 2, n).astype(float)
    if span := wish.span or declared:
        return lambda rng, n: rng.uniform(*span, n)
    return SHAPES["positive" if wish.role == "weight" else recipe.shape]


def _times(between: tuple[float, float, float], width: float) -> Numbers:
    """Times on the grid from the first to the end; a few people stay until the last, so that every cell is used."""
    first, end, last = between

    def drawn(rng: np.random.Generator, n: int) -> Array:
        time = np.ceil(rng.uniform(first, end, n) / width) * width
        return np.where(rng.random(n) < STAY, np.ceil(last / width) * width, time)

    return drawn


def _entries(later: float) -> Numbers:
    """Half enter at 0, half later."""
    return lambda rng, n: np.asarray(rng.integers(0, 2, n) * later, dtype=np.float64)


def _around(cuts: Sequence[float]) -> tuple[float, float]:
    """An interval with room on either side of all cuts, above 0 if they are."""
    reach = max(1.0, 0.3 * max(abs(c) for c in cuts), max(cuts) - min(cuts))
    low = min(cuts) - reach
    return (min(cuts) / 2 if min(cuts) > 0 >= low else low), max(cuts) + reach


# Of OMOP records ----------------------------------------------------------------------------------------------

STARTS, ENDS = (16_000.0, 18_000.0), (18_001.0, 19_000.0)  # days since 1970-01-01 on which cohorts begin and end


def wishes_of(made: Definition) -> dict[str, Wish]:
    """The columns of a cohort: everybody enters it after the steps that they pass."""
    rules = {made.rule(j): Wish(values=(0.0, 1.0)) for j in range(1, len(made.rules) + 1)}
    steps = Wish(values=tuple(float(step) for step in range(len(made.steps) + 1)))
    spans = {made.entry: Wish(span=STARTS), made.start: Wish(span=STARTS), made.end: Wish(span=ENDS)}
    return {made.column: steps, **rules, **spans}


def wishes_for(omop: Omop | None) -> dict[str, Wish]:
    """The columns that a study on OMOP records has beside those of cohorts."""
    found = {
        LEFT: Wish(values=(0.0,)), TREATED: Wish(values=(0.0, 1.0)), BIRTH: Wish(span=(-14_000.0, 7_000.0)),
        FROM: Wish(span=(14_000.0, 15_999.0)), TO: Wish(span=ENDS),
    }  # fmt: skip
    spans = {
        "age": (20.0, 90.0), "index_year": (2014.0, 2019.0), "index_month": (1.0, 12.0), "charlson": (0.0, 12.0),
        "observation_days": (0.0, 4_000.0), "days since": (0.0, 365.0), "trend": (-5.0, 5.0),
    }  # fmt: skip
    for feature in omop.features if omop else ():
        if feature.value in ("any", "count", "days") and feature.of is not None:
            found[feature.name] = Wish(values=(0.0, 1.0, 2.0)[: 2 if feature.value == "any" else 3])
        else:
            key = feature.kind if feature.of is None else feature.value
            found[feature.name] = Wish(span=spans.get(key, (1.0, 100.0)))
    for outcome in omop.outcomes if omop else ():
        found |= {} if outcome.rivals else {outcome.name: Wish("event")}
        found |= {outcome.time: Wish("time")}
    return found


def stays(table: Table, cohorts: Sequence[Definition]) -> Table:
    """A table of dummy people with one stay of each of them in every cohort whose stays are read."""
    import pandas as pd

    n = len(table.frame)
    rng = np.random.default_rng(n)
    eras = {"row": np.arange(n), "start": np.floor(rng.uniform(*STARTS, n)), "end": np.floor(rng.uniform(*ENDS, n))}
    return replace(table, events={d.column: pd.DataFrame(eras) for d in cohorts})


# What a formula says of its columns ---------------------------------------------------------------------------


def wishes(model: Model) -> dict[str, Wish]:
    """What a formula says of its columns without levels; the outcome's say goes first."""
    found: dict[str, Wish] = {}
    for name, wish in _said(model):
        known = found.get(name, Wish())
        found[name] = Wish(
            known.role or wish.role,
            (*known.values, *wish.values),
            (*known.cuts, *wish.cuts),
            _within(known.span, wish.span),
        )
    return found


def _within(one: tuple[float, float] | None, other: tuple[float, float] | None) -> tuple[float, float] | None:
    """The common part of two spans; the first if they have none."""
    if one is None or other is None:
        return one or other
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low < high else one


def _said(model: Model) -> Iterator[tuple[str, Wish]]:
    """Everything that parts of a formula say about columns."""
    if model.outcome is not None:
        for role in ("entry", "time", "event", "value"):
            expression = getattr(model.outcome, role)
            if expression is not None:
                yield from _of(expression, "outcome" if role == "value" else role)
    for factor in model.factors:
        if isinstance(factor, Category):
            if factor.declared is None:
                yield factor.source, Wish(values=tuple(float(level) for level in factor.levels))
        elif isinstance(factor, Number):
            yield from _of(factor.expression)
        elif isinstance(factor, Basis):
            yield from _of(factor.inner)
            if isinstance(factor.inner.tree, ast.Name) and factor.settings.function != "poly":
                yield factor.inner.sources()[0], Wish(span=factor.settings.bounds)
    for offset in model.offsets:
        yield from _of(offset)


def _of(expression: Expression, role: str = "") -> Iterator[tuple[str, Wish]]:
    """The role of an expression's columns, and the constants that they are compared with."""
    less = _subtracted(expression) if role == "time" else set()
    for name in expression.sources():
        yield name, Wish("entry" if name in less else role)
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Compare):
            yield from _compared(expression, node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            yield from _less(expression, node)


def _subtracted(expression: Expression) -> set[str]:
    """Columns that are taken off others: stop - start."""
    right = [n.right for n in ast.walk(expression.tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub)]
    return {name for node in right for name in expression.part(node).sources()}


def _less(expression: Expression, node: ast.BinOp) -> Iterator[tuple[str, Wish]]:
    """A column less a constant, or the other way round, is above 0: it may stand within a logarithm."""
    if isinstance(node.left, ast.Name) and isinstance(node.right, ast.Constant):
        value = float(literal(expression, node.right))
        yield expression.name(node.left), Wish(span=(value, 2 * abs(value) + 1))
    elif isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Name):
        value = float(literal(expression, node.left))
        yield expression.name(node.right), Wish(span=(0.0 if value > 0 else value - 1, value))


def _compared(expression: Expression, node: ast.Compare) -> Iterator[tuple[str, Wish]]:
    """A column and the constant with which it is compared; equal means that it occurs, and so does another."""
    sides = (node.left, node.comparators[0])
    names = [expression.name(side) for side in sides if isinstance(side, ast.Name)]
    constants = [side for side in sides if isinstance(side, ast.Constant | ast.UnaryOp)]
    value = literal(expression, constants[0]) if len(names) == len(constants) == 1 else None
    if isinstance(value, int | float):
        equal = isinstance(node.ops[0], ast.Eq | ast.NotEq)
        yield names[0], Wish(values=(value, value + 1.0)) if equal else Wish(cuts=(float(value),))
