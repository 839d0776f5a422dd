"""The factors of a design: a number, a category or a spline basis, each with columns known without data.

    number     log(nodes + 1)                               one column, named by its text
    category   size, C(size), C(size, ref="20-50"),         one column per level, less the reference level where
               C(grade, levels=[1, 2, 3])                   the model has an intercept: C(size)[T.20-50]
    basis      poly(age, 3, raw=True)                       age, age**2, age**3: [1], [2], [3]
               bs(age, knots=[50], lower_bound=20, upper_bound=90, degree=3)
               ns(age, knots=[40, 60], Boundary.knots=[20, 90])     R's splines::ns
               cr(age, knots=[40, 60], lower_bound=20, upper_bound=90)     mgcv's "cr"

Bounds are `lower_bound` and `upper_bound`, or `Boundary.knots` as in R. Values outside them are an error in `bs`
and go on as straight lines in `ns` and `cr`; `extrapolation="raise"`, `"clip"` or `"extend"` says otherwise.
What would take knots, bounds or orthogonal polynomials from the data of one hospital is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, FormulaError
from confrere.study import splines
from confrere.study.expressions import LARGEST, Expression, Rows, check, compute, literal
from confrere.study.schema import MOST_LEVELS, Schema

Array = NDArray[np.float64]
MOST_FIELDS = 20  # columns of a spline or polynomial


@dataclass(frozen=True)
class Number:
    """One column of float64."""

    expression: Expression

    @property
    def text(self) -> str:
        # A column quoted in backticks is named without them, as formulaic does.
        plain = isinstance(self.expression.tree, ast.Name)
        return self.expression.sources()[0] if plain else self.expression.text

    @property
    def spans_intercept(self) -> bool:
        return False

    def columns(self, reduced: bool) -> list[tuple[str, int]]:
        """(name, field) of its design columns. `reduced`: an intercept spans one of them already."""
        return [(self.text, 0)]

    def values(self, rows: Rows) -> Array:
        """What `column` picks from: (N,)."""
        return compute(self.expression, rows)

    def column(self, values: Array, field: int) -> Array:
        """(N,) float64, NaN where a source is missing."""
        return values


@dataclass(frozen=True)
class Category:
    """Indicators of levels, by treatment contrasts: the first of `levels` is the reference.

    `numeric` holds the levels as numbers when the column itself is numeric.
    """

    text: str
    source: str
    levels: tuple[str, ...]
    declared: tuple[str, ...] | None

    @property
    def spans_intercept(self) -> bool:
        return True

    def columns(self, reduced: bool) -> list[tuple[str, int]]:
        """(name, field) of its design columns. `reduced`: without the reference level."""
        if reduced:
            return [(f"{self.text}[T.{level}]", i) for i, level in enumerate(self.levels) if i > 0]
        return [(f"{self.text}[{level}]", i) for i, level in enumerate(self.levels)]

    def values(self, rows: Rows) -> NDArray[np.int64]:
        """(N,) index into `levels`, -1 where missing. Raises DataError for a value that is no level."""
        if self.declared is not None:
            order = np.array([*(self.levels.index(level) for level in self.declared), -1])
            return np.asarray(order[rows.codes(self.source)], dtype=np.int64)
        numbers = rows.numbers(self.source)
        codes = np.full(len(numbers), -1, dtype=np.int64)
        for i, level in enumerate(self.levels):
            codes[numbers == float(level)] = i
        if bad := int(np.count_nonzero((codes < 0) & ~np.isnan(numbers))):
            raise DataError(
                f"column '{self.source}' has {bad} values that are none of the levels in '{self.text}'; "
                "list every level that occurs"
            )
        return codes

    def column(self, values: NDArray[np.int64], field: int) -> Array:
        """(N,) 0 or 1, NaN where the source is missing."""
        return np.where(values < 0, np.nan, (values == field).astype(np.float64))


class Settings(NamedTuple):
    """What a basis is made with, all of it given by the formula."""

    function: str
    degree: int
    knots: tuple[float, ...]
    bounds: tuple[float, float]
    full: bool
    extrapolation: str


@dataclass(frozen=True)
class Basis:
    """The columns of poly, bs, ns or cr."""

    text: str
    inner: Expression
    settings: Settings

    @property
    def spans_intercept(self) -> bool:
        return self.settings.function == "cr" or self.settings.full

    @property
    def width(self) -> int:
        s = self.settings
        bare = {"poly": s.degree, "bs": len(s.knots) + s.degree, "ns": len(s.knots) + 1, "cr": len(s.knots) + 1}
        return bare[s.function] + int(self.spans_intercept)

    def columns(self, reduced: bool) -> list[tuple[str, int]]:
        """(name, field) of its design columns, counted from 1. `reduced`: without the first."""
        first = int(reduced and self.spans_intercept)
        return [(f"{self.text}[{i + 1}]", i) for i in range(first, self.width)]

    def values(self, rows: Rows) -> Array:
        """(N, width). Raises DataError for values outside the bounds unless they are to go on."""
        x, s = compute(self.inner, rows), self.settings
        if s.function == "poly":
            return x[:, None] ** np.arange(1, s.degree + 1)
        low, high = s.bounds
        if s.extrapolation == "raise" and (bad := int(np.count_nonzero((x < low) | (x > high)))):
            raise DataError(
                f"{bad} people have values of '{self.inner.text}' outside the bounds {low:g} to {high:g} of "
                f"'{self.text}'; widen the bounds, declare a plausible range, or add extrapolation=\"clip\""
            )
        x = np.clip(x, low, high) if s.extrapolation == "clip" else x
        if s.function == "bs":
            return splines.b_spline(x, s.knots, s.bounds, s.degree, s.full)
        if s.function == "ns":
            return splines.natural(x, s.knots, s.bounds, s.full)
        return splines.cubic_regression(x, s.knots, s.bounds)

    def column(self, values: Array, field: int) -> Array:
        """(N,) float64, NaN where a source is missing."""
        return np.asarray(values[:, field], dtype=np.float64)


Factor = Number | Category | Basis


def factor(expression: Expression, schema: Schema) -> Factor:
    """The factor that an expression spells. Raises FormulaError with the remedy where it spells none."""
    tree = expression.tree
    if isinstance(tree, ast.Name):
        name = expression.name(tree)
        declared = schema.levels(name)
        return Number(expression) if declared is None else Category(name, name, declared, declared)
    if isinstance(tree, ast.Call):
        function = expression.function(tree)
        if function == "C":
            return _category(expression, tree, schema)
        if function in _READ:
            inner = _inner(expression, tree, schema.levels)
            return Basis(expression.text, inner, _READ[function](expression, _arguments(expression, tree)))
    check(expression, schema.levels)
    return Number(expression)


# --- categories ------------------------------------------------------------------------------------------


def _category(expression: Expression, call: ast.Call, schema: Schema) -> Category:
    text, given = expression.text, expression.keywords(call)
    if len(call.args) != 1 or set(given) - {"levels", "ref"}:
        raise FormulaError(
            f"'{text}': C() takes a column and, if wanted, ref= (the reference level) and levels=; other "
            "contrasts are not supported"
        )
    if not isinstance(call.args[0], ast.Name):
        raise FormulaError(f"'{text}': C() takes the name of a column; for an indicator write I(...)")
    source = expression.name(call.args[0])
    declared = schema.levels(source)
    listed = _texts(expression, given["levels"]) if "levels" in given else declared
    if listed is None:
        raise FormulaError(
            f"'{text}': the levels of '{source}' are not declared, and no hospital is asked to list values; "
            f"declare levels in [data.columns.{source}], or write C({source}, levels=[...])"
        )
    _check_levels(text, source, listed, declared)
    if "ref" in given:
        listed = _reference_first(text, listed, _texts(expression, given["ref"]))
    return Category(text, source, listed, declared)


def _check_levels(text: str, source: str, listed: tuple[str, ...], declared: tuple[str, ...] | None) -> None:
    if not 2 <= len(listed) <= MOST_LEVELS or len(set(listed)) < len(listed):
        raise FormulaError(f"'{text}': levels are 2 to {MOST_LEVELS} different values")
    if declared is not None and set(listed) != set(declared):
        odd = sorted(set(listed) ^ set(declared))
        raise FormulaError(
            f"'{text}': levels must be those declared for '{source}', in any order; these differ: {odd}. "
            f"Declared are {list(declared)}"
        )
    if declared is None and not all(_is_number(level) for level in listed):
        raise FormulaError(
            f"'{text}': '{source}' is numeric unless the study declares it; for text levels write "
            f"levels = [...] under [data.columns.{source}]"
        )


def _reference_first(text: str, levels: tuple[str, ...], ref: tuple[str, ...]) -> tuple[str, ...]:
    if len(ref) != 1 or ref[0] not in levels:
        near = get_close_matches(ref[0], levels, 1) if ref else []
        hint = f"did you mean '{near[0]}'?" if near else f"levels are {list(levels)}"
        raise FormulaError(f"'{text}': the reference is no level; {hint}")
    return (ref[0], *(level for level in levels if level != ref[0]))


def _texts(expression: Expression, node: ast.expr) -> tuple[str, ...]:
    value = literal(expression, node)
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in items):
        raise FormulaError(f"'{expression.text}': levels are texts or numbers")
    return tuple(v if isinstance(v, str) else f"{v:.15g}" for v in items)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


# --- splines and polynomials -----------------------------------------------------------------------------

_POSITIONS = {"poly": ("degree",), "bs": (), "ns": (), "cr": ()}
_KNOWN = {
    "poly": ("degree", "raw"),
    "bs": ("knots", "degree", "lower_bound", "upper_bound", "Boundary.knots", "include_intercept", "intercept"),
    "ns": ("knots", "lower_bound", "upper_bound", "Boundary.knots", "include_intercept", "intercept"),
    "cr": ("knots", "lower_bound", "upper_bound", "Boundary.knots"),
}


def _inner(expression: Expression, call: ast.Call, levels: Callable[[str], tuple[str, ...] | None]) -> Expression:
    if not call.args:
        raise FormulaError(f"'{expression.text}' needs a column as its first argument")
    inner = expression.part(call.args[0])
    check(inner, levels)
    return inner


def _arguments(expression: Expression, call: ast.Call) -> dict[str, Any]:
    """The arguments after the first, by name, as constants. Raises FormulaError for what is not known."""
    function, text = expression.function(call), expression.text
    given = {name: literal(expression, node) for name, node in expression.keywords(call).items()}
    places = _POSITIONS[function]
    if len(call.args) - 1 > len(places):
        raise FormulaError(f"'{text}': name the arguments, such as knots=[...]")
    given |= {name: literal(expression, node) for name, node in zip(places, call.args[1:], strict=False)}
    if "df" in given:
        raise FormulaError(
            f"'{text}': df= takes knots from the quantiles of the patients, which differ between hospitals; "
            "write them: knots=[...], lower_bound=..., upper_bound=..."
        )
    known = (*_KNOWN[function], *(() if function == "poly" else ("extrapolation",)))
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise FormulaError(
                f"'{text}': {function}() has no argument '{name}'; "
                + (f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}")
            )
    return given


def _poly(expression: Expression, given: dict[str, Any]) -> Settings:
    text = expression.text
    if given.get("raw") is not True:
        raise FormulaError(
            f"'{text}': orthogonal polynomials need the values of all patients in one place; "
            "write raw=True (standardize(x) inside keeps it well-conditioned)"
        )
    degree = _whole(text, "degree", given.get("degree", 1), MOST_FIELDS)
    return Settings("poly", degree, (), (0.0, 0.0), False, "extend")


def _spline(expression: Expression, given: dict[str, Any], function: str) -> Settings:
    text = expression.text
    bounds = _bounds(text, given)
    if "knots" not in given:
        raise FormulaError(f"'{text}': write the inner knots, such as knots=[40, 60] (knots=[] for none)")
    value = given["knots"]
    knots = tuple(sorted(_real(text, "knots", k) for k in (value if isinstance(value, list) else [value])))
    if len(knots) > MOST_FIELDS or len(set(knots)) < len(knots):
        raise FormulaError(f"'{text}': knots are at most {MOST_FIELDS} different numbers")
    if knots and not bounds[0] < knots[0] <= knots[-1] < bounds[1]:
        raise FormulaError(f"'{text}': every knot must lie between the bounds {bounds[0]:g} and {bounds[1]:g}")
    degree = _whole(text, "degree", given.get("degree", 3), 5)
    full = given.get("include_intercept", given.get("intercept", False))
    extrapolation = given.get("extrapolation", "raise" if function == "bs" else "extend")
    if not isinstance(full, bool) or extrapolation not in ("raise", "clip", "extend"):
        raise FormulaError(f"'{text}': include_intercept is True or False; extrapolation raise, clip or extend")
    return Settings(function, degree, knots, bounds, full, str(extrapolation))


def _bounds(text: str, given: dict[str, Any]) -> tuple[float, float]:
    pair: Sequence[Any] = given.get("Boundary.knots", [given.get("lower_bound"), given.get("upper_bound")])
    if not isinstance(pair, list) or len(pair) != 2 or any(b is None for b in pair):
        raise FormulaError(
            f"'{text}': bounds taken from the patients would be a minimum and a maximum, which no hospital "
            "gives; write lower_bound=..., upper_bound=..."
        )
    low, high = (_real(text, "bounds", b) for b in pair)
    if not low < high:
        raise FormulaError(f"'{text}': the lower bound {low:g} is not below the upper bound {high:g}")
    return low, high


def _real(text: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise FormulaError(f"'{text}': {name} must be numbers up to {LARGEST:g}")
    return float(value)


def _whole(text: str, name: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise FormulaError(f"'{text}': {name} must be a whole number from 1 to {most}")
    return value


_READ: dict[str, Callable[[Expression, dict[str, Any]], Settings]] = {
    "poly": _poly,
    "bs": lambda expression, given: _spline(expression, given, "bs"),
    "ns": lambda expression, given: _spline(expression, given, "ns"),
    "cr": lambda expression, given: _spline(expression, given, "cr"),
}
