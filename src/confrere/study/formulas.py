"""Formulas in R's notation, parsed against an allow-list and planned without data.

    Surv(rtime, recur) ~ hormon + age + C(size) + ns(nodes, knots=[3], Boundary.knots=[0, 20]) + strata(centre)

formulaic does the algebra of `+ - * / : ^ %in%` and decides which categories lose a level; it is given opaque
names and dummy columns once, from declared levels, and never sees an expression or a row. The result is a plan:
every design column is a product of factor columns, so that names are known, and the same, in every hospital
before anything runs. `confrere.study.expressions` holds the allow-list and computes the factors.

Left of `~`: nothing, an expression, `Surv(time, event)` or `Surv(entry, time, event)`. An event column with
declared levels codes competing risks; its first level is censoring. Right of it, besides terms:
`strata(a, b)` of columns with declared levels, and `offset(expression)`.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, FormulaError
from confrere.study.counted import persons
from confrere.study.expressions import POOLED, Expression, Token, check, compute, lex, parse
from confrere.study.factors import Basis, Category, Factor, Number, factor
from confrere.study.rows import TableRows, nearest, side_by_side
from confrere.study.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

MOST_FACTORS, MOST_TERMS, MOST_COLUMNS, MOST_FACTORS_OF_A_TERM, MOST_STRATA = 300, 2000, 2000, 6, 10_000


@dataclass(frozen=True)
class Outcome:
    """The left side of a formula.

    kind    "surv" (time, event and perhaps entry are set) or "value" (value is set)
    causes  the levels of the event or value column when it has any; then the event or value is the
            index of its level (for events 0 is censoring), otherwise events are 0 and 1
    """

    kind: str
    time: Expression | None = None
    event: Expression | None = None
    entry: Expression | None = None
    value: Expression | None = None
    causes: tuple[str, ...] = ()

    def expressions(self) -> list[Expression]:
        return [e for e in (self.entry, self.time, self.event, self.value) if e is not None]


class Evaluated(NamedTuple):
    """A formula on the N rows of a table. Missing is NaN (strata: -1); no row is dropped."""

    x: Array  # (N, p), the columns of `Model.names`, without an intercept
    time: Array | None  # (N,), in the study's time unit
    event: Array | None  # (N,), 0 or 1, or the index of the cause
    entry: Array | None  # (N,), left truncation time
    value: Array | None  # (N,)
    strata: NDArray[np.int64] | None  # (N,), index into strata_levels
    strata_levels: tuple[str, ...]
    offset: Array | None  # (N,)


@dataclass(frozen=True)
class Model:
    """A parsed formula. Made by `model`; everything but `evaluate` and `inner` is known without data.

    columns    names of the source columns, sorted
    names      names of the p design columns
    intercept  whether the model has an intercept (never among `names`)
    strata     names of the columns in strata(...)
    pooled     expressions inside standardize() and center(): their mean and SD over the whole network are
               what `evaluate` needs, so a first ask gets them from `inner`
    """

    text: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    intercept: bool
    outcome: Outcome | None
    strata: tuple[str, ...]
    strata_levels: tuple[str, ...]
    pooled: tuple[str, ...]
    schema: Schema = field(repr=False)
    offsets: tuple[Expression, ...] = field(repr=False)
    factors: tuple[Factor, ...] = field(repr=False)
    plan: tuple[tuple[tuple[int, int], ...], ...] = field(repr=False)  # per column: (factor, field), ...
    inners: tuple[Expression, ...] = field(repr=False)

    @property
    def sources(self) -> tuple[tuple[str, ...], ...]:
        """The source columns, sorted, that each of `names` reads."""
        return tuple(tuple(sorted({s for i, _ in parts for s in _sources(self.factors[i])})) for parts in self.plan)

    def evaluate(self, table: pd.DataFrame, pooled: Mapping[str, tuple[float, float]] | None = None) -> Evaluated:
        """The design of `table`. `pooled` maps each of `self.pooled` to (mean, SD) over the network.

        Raises DataError for a value that breaks a rule (an undeclared level, log of 0, an event that is
        neither 0 nor 1), naming column, rule, number of people and remedy, never a value.
        """
        rows = TableRows(table, self.schema, dict(pooled or {}))
        outcome = self.outcome or Outcome("none")
        return Evaluated(
            self._design(rows),
            _maybe(outcome.time, rows),
            _event(outcome, rows) if outcome.kind == "surv" else None,
            _maybe(outcome.entry, rows),
            _value(outcome, rows),
            _strata(self.strata, rows) if self.strata else None,
            self.strata_levels,
            np.sum([compute(e, rows) for e in self.offsets], axis=0) if self.offsets else None,
        )

    def levels(self, table: pd.DataFrame) -> dict[str, tuple[NDArray[np.int64], int]]:
        """{text: ((N,) index of the level, -1 where missing, number of levels)} of the categories among the terms."""
        rows = TableRows(table, self.schema, {})
        return {f.text: (f.values(rows), len(f.levels)) for f in self.factors if isinstance(f, Category)}

    def inner(self, table: pd.DataFrame) -> dict[str, Array]:
        """{expression: (N,) values} for the expressions of `self.pooled`."""
        rows = TableRows(table, self.schema, {})
        return {expression.text: compute(expression, rows) for expression in self.inners}

    def _design(self, rows: TableRows) -> Array:
        values: list[Any] = [f.values(rows) for f in self.factors]
        if all(len(parts) == 1 for parts in self.plan):
            lying = side_by_side([self.factors[i].column(values[i], part) for ((i, part),) in self.plan])
            if lying is not None:
                return lying
        x = np.empty((len(rows.table), len(self.plan)), order="F")
        for j, parts in enumerate(self.plan):
            (first, part), *others = parts
            x[:, j] = self.factors[first].column(values[first], part)
            for i, part in others:
                x[:, j] *= self.factors[i].column(values[i], part)
        return x


def model(formula: str, schema: Schema | None = None, known: tuple[str, ...] | None = None) -> Model:
    """Parse a formula. Cached.

    schema  declared columns; others are numeric
    known   all columns there are, when that is known: a name outside is an error with a suggestion
    Raises FormulaError: what is wrong, and what to write instead.
    """
    return _model(formula, schema or Schema(), known)


@lru_cache(maxsize=256)
def _model(formula: str, schema: Schema, known: tuple[str, ...] | None) -> Model:
    left, right = _sides(formula, lex(formula))
    outcome = _outcome(left, schema)
    algebra, items = _items(formula, right)
    strata, offsets, factors = _sorted_out(items, schema)
    terms = _terms(formula, algebra, frozenset(items) - frozenset(factors))
    names, intercept, used, plan = _plan(formula, terms, factors)
    parts = [*(outcome.expressions() if outcome else ()), *offsets, *(e for f in used for e in _expressions(f))]
    sources = {name for e in parts for name in e.sources()} | set(strata)
    sources |= {f.source for f in used if isinstance(f, Category)}
    _check_known(formula, sources, known)
    inners = {e.text: e for part in parts for e in _pooled(part)}
    return Model(
        text=formula, columns=tuple(sorted(sources)), names=names, intercept=intercept, outcome=outcome,
        strata=strata, strata_levels=_strata_levels(strata, schema), pooled=tuple(inners), schema=schema,
        offsets=offsets, factors=used, plan=plan, inners=tuple(inners.values()),
    )  # fmt: skip


def _sides(formula: str, tokens: list[Token]) -> tuple[list[Token], list[Token]]:
    tildes = [i for i, token in enumerate(tokens) if token.text == "~"]
    if len(tildes) > 1:
        raise FormulaError(f"the formula '{formula}' has more than one '~'")
    left, right = (tokens[: tildes[0]], tokens[tildes[0] + 1 :]) if tildes else ([], tokens)
    if not right:
        raise FormulaError(f"nothing stands right of '~' in '{formula}'; write ~ 1 for no terms")
    return left, right


def _check_known(formula: str, sources: set[str], known: tuple[str, ...] | None) -> None:
    for name in sorted(sources) if known is not None else ():
        if name not in (known or ()):
            raise FormulaError(f"unknown column '{name}' in '{formula}'; {nearest(name, known or ())}")


def _pooled(expression: Expression) -> Iterator[Expression]:
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Call) and expression.function(node) in POOLED:
            yield expression.part(node.args[0])


def _expressions(part: Factor) -> list[Expression]:
    if isinstance(part, Number):
        return [part.expression]
    return [part.inner] if isinstance(part, Basis) else []


def _sources(part: Factor) -> list[str]:
    if isinstance(part, Category):
        return [part.source]
    return [name for expression in _expressions(part) for name in expression.sources()]


# --- the left side ---------------------------------------------------------------------------------------


def _outcome(tokens: list[Token], schema: Schema) -> Outcome | None:
    if not tokens:
        return None
    expression = parse(tokens)
    if isinstance(expression.tree, ast.Call) and expression.function(expression.tree) == "Surv":
        return _surv(expression, expression.tree, schema)
    levels = _levels_of(expression, schema)
    if levels is None:
        check(expression, schema.levels)
    elif len(levels) > 2:
        raise FormulaError(
            f"the outcome '{expression.text}' has {len(levels)} levels; compare it with one, such as "
            f'I({expression.text} == "{levels[-1]}") ~ ...'
        )
    return Outcome("value", value=expression, causes=levels or ())


def _surv(expression: Expression, call: ast.Call, schema: Schema) -> Outcome:
    if call.keywords or len(call.args) not in (2, 3):
        raise FormulaError(f"'{expression.text}': write Surv(time, event), or Surv(entry, time, event)")
    *entry, time, event = (expression.part(node) for node in call.args)
    causes = _levels_of(event, schema)
    for part in (*entry, time, *([event] if causes is None else [])):
        check(part, schema.levels)
    return Outcome("surv", time, event, entry[0] if entry else None, causes=causes or ())


def _levels_of(expression: Expression, schema: Schema) -> tuple[str, ...] | None:
    """The declared levels when the expression is nothing but a column."""
    return schema.levels(expression.sources()[0]) if isinstance(expression.tree, ast.Name) else None


# --- the right side: what the terms are ------------------------------------------------------------------


def _items(formula: str, tokens: list[Token]) -> tuple[str, dict[str, Expression]]:
    """The formula over opaque names f0, f1, ..., and the expression of each; equal texts share a name."""
    words: list[str] = []
    names: dict[str, str] = {}
    items: dict[str, Expression] = {}
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind in ("name", "tick"):
            end = _end_of_call(tokens, at)
            expression = parse(tokens[at:end])
            name = names.setdefault(expression.text, f"f{len(names)}")
            items[name] = expression
            words.append(name)
            at = end
            continue
        words.append(_operator(formula, token))
        at += 1
    if sum(word in items for word in words) > MOST_FACTORS:
        raise FormulaError(f"the formula has more than {MOST_FACTORS} factors; split the analysis")
    return " ".join(words), items


def _end_of_call(tokens: list[Token], at: int) -> int:
    """Where the factor that starts at `at` ends: after its closing bracket, or after its name."""
    if at + 1 == len(tokens) or tokens[at + 1].text != "(":
        return at + 1
    depth = 0
    for i in range(at + 1, len(tokens)):
        depth += (tokens[i].text in ("(", "[")) - (tokens[i].text in (")", "]"))
        if depth == 0:
            return i + 1
    return len(tokens)


def _operator(formula: str, token: Token) -> str:
    if token.text in ("+", "-", "*", "/", ":", "^", "**", "%in%", "(", ")"):
        return token.text
    if token.kind == "number" and token.text.isdecimal() and int(token.text[:6]) <= MOST_FACTORS_OF_A_TERM:
        return token.text
    raise FormulaError(
        f"'{token.text}' at position {token.at + 1} of '{formula}' stands where a term belongs; "
        "arithmetic and comparisons go inside I(...)"
    )


def _sorted_out(
    items: Mapping[str, Expression], schema: Schema
) -> tuple[tuple[str, ...], tuple[Expression, ...], dict[str, Factor]]:
    """(strata columns, offsets, factors by opaque name)."""
    strata: list[str] = []
    offsets: list[Expression] = []
    factors: dict[str, Factor] = {}
    for name, expression in items.items():
        tree = expression.tree
        function = expression.function(tree) if isinstance(tree, ast.Call) else ""
        if isinstance(tree, ast.Call) and function == "strata":
            strata += _strata_columns(expression, tree, schema)
        elif isinstance(tree, ast.Call) and function == "offset":
            if len(tree.args) != 1 or tree.keywords:
                raise FormulaError(f"'{expression.text}': offset() takes one expression")
            offsets.append(expression.part(tree.args[0]))
            check(offsets[-1], schema.levels)
        else:
            factors[name] = factor(expression, schema)
    return tuple(dict.fromkeys(strata)), tuple(offsets), factors


def _strata_columns(expression: Expression, call: ast.Call, schema: Schema) -> list[str]:
    if not call.args or call.keywords or not all(isinstance(node, ast.Name) for node in call.args):
        raise FormulaError(f"'{expression.text}': strata() takes names of columns")
    names = [expression.name(node) for node in call.args if isinstance(node, ast.Name)]
    for name in names:
        if schema.levels(name) is None:
            raise FormulaError(
                f"'{expression.text}': strata are made of declared levels; write levels = [...] under "
                f"[data.columns.{name}]"
            )
    return names


def _strata_levels(strata: tuple[str, ...], schema: Schema) -> tuple[str, ...]:
    """Names of all strata, the last column varying fastest: 'sex=F, stage=II'."""
    levels = [[f"{name}={level}" for level in schema.levels(name) or ()] for name in strata]
    if np.prod([float(len(each)) for each in levels]) > MOST_STRATA:
        raise FormulaError(f"strata({', '.join(strata)}) makes more than {MOST_STRATA} strata")
    return tuple(", ".join(each) for each in itertools.product(*levels)) if strata else ()


# --- the right side: its algebra, by formulaic -----------------------------------------------------------

Terms = list[tuple[str, ...]]  # each term as the opaque names of its factors; () is the intercept


def _terms(formula: str, algebra: str, alone: frozenset[str]) -> Terms:
    """The terms of a formula over opaque names, without those of `alone` (strata, offsets)."""
    from formulaic.errors import FormulaSyntaxError
    from formulaic.parser import DefaultFormulaParser

    parser = DefaultFormulaParser(feature_flags=set())
    try:
        tree = parser.get_ast(algebra)
        if _size(tree) > MOST_TERMS:
            raise FormulaError(f"the formula '{formula}' has more than {MOST_TERMS} terms")
        found = parser.get_terms(algebra)
    except FormulaSyntaxError as error:
        raise FormulaError(f"cannot read the formula '{formula}'; check its operators: + - * / : ^ %in%") from error
    terms: Terms = []
    for term in found.root:
        names = tuple(f.expr for f in term.factors if f.eval_method.value == "lookup")
        if len(names) < len(term.factors) and len(term.factors) > 1:
            raise FormulaError(f"'{formula}': a number cannot be part of a term; write I(2 * x)")
        if len(names) > MOST_FACTORS_OF_A_TERM:
            raise FormulaError(f"'{formula}': interactions have at most {MOST_FACTORS_OF_A_TERM} factors")
        if len(names) > 1 and alone.intersection(names):
            raise FormulaError(f"'{formula}': strata() and offset() are added by + and interact with nothing")
        if not alone.intersection(names):
            terms.append(names)
    return terms


def _size(node: Any) -> float:
    """An upper bound of the number of terms, before they are made: powers and products explode."""
    if not hasattr(node, "operator"):
        return 1
    symbol, sizes = node.operator.symbol, [_size(arg) for arg in node.args]
    if len(sizes) == 1:
        return sizes[0]
    left, right = sizes
    if symbol in ("**", "^"):
        exponent = str(node.args[1])
        return float(left ** int(exponent)) if exponent.isdecimal() else MOST_TERMS + 1.0
    return min({":": left * right, "*": left + right + left * right}.get(symbol, left + right), 1e30)


def _plan(
    formula: str, terms: Terms, factors: Mapping[str, Factor]
) -> tuple[tuple[str, ...], bool, tuple[Factor, ...], tuple[tuple[tuple[int, int], ...], ...]]:
    """(names, intercept, factors in use, for each column the (factor, field) whose product it is)."""
    used = {factors[name].text: factors[name] for term in terms for name in term}
    texts = [tuple(factors[name].text for name in term) for term in terms]
    width = sum(np.prod([float(len(used[text].columns(False))) for text in term]) for term in texts)
    if width > MOST_COLUMNS:
        raise FormulaError(f"'{formula}' makes {width:.0f} design columns; {MOST_COLUMNS} is the most")
    place = {text: i for i, text in enumerate(used)}
    names: list[str] = []
    plan: list[tuple[tuple[int, int], ...]] = []
    intercept = False
    for scoped in _scoped(texts, used):
        if not scoped:
            intercept = True
            continue
        parts = [[(n, (place[text], f)) for n, f in used[text].columns(reduced)] for text, reduced in scoped]
        # As in R and formulaic, the first factor of an interaction varies fastest.
        for product in itertools.product(*reversed(parts)):
            names.append(":".join(name for name, _ in reversed(product)))
            plan.append(tuple(where for _, where in reversed(product)))
    return tuple(names), intercept, tuple(used.values()), tuple(plan)


def _scoped(terms: Terms, factors: Mapping[str, Factor]) -> Iterator[list[tuple[str, bool]]]:
    """Every product of factors in the design as [(text, reduced), ...]; [] is the intercept.

    formulaic decides which factors lose a column so that the design has full rank by structure. It looks the
    factors up by their text in a dictionary of two dummy rows; there is nothing for it to evaluate.
    """
    import pandas as pd
    from formulaic.formula import SimpleFormula
    from formulaic.materializers import PandasMaterializer
    from formulaic.parser.types import Factor as Symbol
    from formulaic.parser.types import Term

    one = Symbol("1", eval_method="literal")
    symbols = [Term([Symbol(text, eval_method="lookup") for text in term] or [one]) for term in terms]
    dummies = {text: _dummy(part) for text, part in factors.items()}
    materializer = PandasMaterializer(pd.DataFrame(index=range(2)), context=dummies)
    matrix: Any = materializer.get_model_matrix(SimpleFormula(symbols), na_action="ignore", ensure_full_rank=True)
    for entry in matrix.model_spec.structure:
        for scoped in entry.scoped_terms:
            yield [(part.factor.expr, bool(part.reduced)) for part in scoped.factors]


def _dummy(part: Factor) -> Any:
    """Two rows of a factor, as formulaic expects its kind."""
    import pandas as pd
    from formulaic.materializers.types import FactorValues

    if isinstance(part, Category):
        return pd.Series(pd.Categorical([part.levels[0]] * 2, categories=list(part.levels)))
    if isinstance(part, Number):
        return pd.Series(np.zeros(2))
    columns = {i: np.zeros(2) for i in range(part.width)}
    spans = part.spans_intercept
    return FactorValues(columns, kind="numerical", spans_intercept=spans, drop_field=0, format="{name}[{field}]")


# --- values ----------------------------------------------------------------------------------------------


def _maybe(expression: Expression | None, rows: TableRows) -> Array | None:
    return None if expression is None else compute(expression, rows)


def _coded(expression: Expression, rows: TableRows) -> Array:
    codes = rows.codes(expression.sources()[0])
    return np.where(codes < 0, np.nan, codes.astype(np.float64))


def _value(outcome: Outcome, rows: TableRows) -> Array | None:
    if outcome.value is None:
        return None
    return _coded(outcome.value, rows) if outcome.causes else compute(outcome.value, rows)


def _event(outcome: Outcome, rows: TableRows) -> Array | None:
    if outcome.event is None:
        return None
    if outcome.causes:
        return _coded(outcome.event, rows)
    event = compute(outcome.event, rows)
    if bad := int(np.count_nonzero(~np.isnan(event) & (event != 0) & (event != 1))):
        text = outcome.event.text
        raise DataError(
            f"the event '{text}' is neither 0 nor 1 for {persons(bad)}; compare it, such as Surv(time, {text} == 2), "
            "or declare its levels for competing risks (the first is censoring)"
        )
    return event


def _strata(names: tuple[str, ...], rows: TableRows) -> NDArray[np.int64]:
    """(N,) the stratum of each row, the last column varying fastest; -1 where one is missing."""
    total = np.zeros(len(rows.table), dtype=np.int64)
    missing = np.zeros(len(rows.table), dtype=bool)
    for name in names:
        codes = rows.codes(name)
        total = total * len(rows.levels(name) or ()) + codes
        missing |= codes < 0
    return np.where(missing, -1, total)
