"""One factor of a formula, such as `log(nodes + 1)`: lexed, parsed and computed behind an allow-list.

Nothing is evaluated as Python. The text is cut into tokens; every name, keyword and backtick-quoted column
becomes a placeholder before `ast.parse` sees it, so that no word of Python survives; the tree may hold the node
types of `_allowed` only; and the numbers are computed by the small interpreter at the end of this file, which
knows columns, constants, arithmetic, comparisons and the functions of `FUNCTIONS`.

Dotted names (`ph.ecog`) are names of columns, as in R: there is no attribute access to confuse them with.
A row in which any source is missing is NaN in the result, also in comparisons and for `x**0`.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, FormulaError
from confrere.study.counted import persons

Array = NDArray[np.float64]

LONGEST, MOST_TOKENS, DEEPEST = 8000, 3000, 24  # characters, tokens, brackets in one another
MOST_TOKENS_OF_A_FACTOR = 300
LARGEST = 1e15  # constants above it lose digits in float64

_LEX = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>'[^'\\]*'|"[^"\\]*")
    |(?P<tick>`[^`]+`)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d][\w.]*)
    |(?P<op>%in%|\*\*|==|!=|<=|>=|[-+*/:^~()\[\],=<>])""",
    re.VERBOSE,
)
_PLAIN = re.compile(r"[^\W\d_][\w.]*")
_WORDS = {"TRUE": "True", "FALSE": "False", "True": "True", "False": "False"}


class Token(NamedTuple):
    """A piece of a formula's text."""

    kind: str  # string, tick, number, name or op
    text: str
    at: int  # position in the formula, from 0


def lex(text: str) -> list[Token]:
    """The tokens of a formula. Raises FormulaError for what cannot be part of one."""
    if len(text) > LONGEST:
        raise FormulaError(f"the formula has {len(text)} characters; {LONGEST} is the most. Split the analysis")
    if not unicodedata.is_normalized("NFKC", text) or not all(c.isprintable() or c.isspace() for c in text):
        raise FormulaError(
            f"the formula {text!r} holds look-alike or invisible characters (it is not in Unicode normal form "
            "NFKC); type it again with plain letters"
        )
    tokens, at = [], 0
    while at < len(text):
        found = _LEX.match(text, at)
        if found is None:
            raise FormulaError(_unreadable(text, at))
        kind = found.lastgroup or ""
        if kind == "name" and (found[0].startswith("_") or "__" in found[0]):
            raise FormulaError(f"'{found[0]}' in the formula '{_short(text)}': private names are not allowed")
        if kind in ("string", "tick") and not found[0].isprintable():
            raise FormulaError(f"a quoted name or level in the formula '{_short(text)}' holds a tab or line break")
        if kind != "space":
            tokens.append(Token(kind, found[0], at))
        at = found.end()
    _check_brackets(text, tokens)
    return tokens


def _unreadable(text: str, at: int) -> str:
    hint = {
        "{": "write I(...) for arithmetic",
        "|": "use strata(...) for strata; conditional terms are not supported",
        ".": "name the columns: '.' would stand for columns that nobody approved",
        "'": "close the quotation mark; backslashes are not allowed in it",
        '"': "close the quotation mark; backslashes are not allowed in it",
        "`": "close the backtick",
    }.get(text[at], "formulas know names, numbers, + - * / : ^ ** %in% ~ and the allowed functions")
    return f"cannot read '{text[at]}' at position {at + 1} of the formula '{_short(text)}': {hint}"


def _check_brackets(text: str, tokens: Sequence[Token]) -> None:
    if len(tokens) > MOST_TOKENS:
        raise FormulaError(f"the formula has {len(tokens)} words and signs; {MOST_TOKENS} is the most")
    open_: list[str] = []
    for token in tokens:
        if token.text in ("(", "["):
            open_.append(token.text)
        elif token.text in (")", "]") and (not open_ or open_.pop() != {")": "(", "]": "["}[token.text]):
            raise FormulaError(f"'{token.text}' at position {token.at + 1} of '{_short(text)}' closes nothing")
        if len(open_) > DEEPEST:
            raise FormulaError(f"brackets are more than {DEEPEST} deep in the formula '{_short(text)}'")
    if open_:
        raise FormulaError(f"a bracket '{open_[-1]}' is never closed in the formula '{_short(text)}'")


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


# --- from tokens to a tree -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expression:
    """A parsed factor: its canonical text (formulaic's spelling) and its tree over placeholders."""

    text: str
    tree: ast.expr = field(compare=False, repr=False)
    names: tuple[str, ...] = field(compare=False, repr=False)  # what placeholder n0, n1, ... stands for

    def name(self, node: ast.Name) -> str:
        return self.names[int(node.id[1:])]

    def function(self, node: ast.Call) -> str:
        if not isinstance(node.func, ast.Name):
            raise FormulaError(f"only functions are called in a formula, by their name; mend '{self.text}'")
        return self.name(node.func)

    def keywords(self, node: ast.Call) -> dict[str, ast.expr]:
        return {self.names[int(str(k.arg)[1:])]: k.value for k in node.keywords}

    def part(self, node: ast.expr) -> Expression:
        """A sub-tree as an expression of its own."""
        return Expression(_spell(node, self.names), node, self.names)

    def sources(self) -> list[str]:
        """The columns it needs, in order of appearance."""
        called = {id(n.func) for n in ast.walk(self.tree) if isinstance(n, ast.Call)}
        names = [self.name(n) for n in ast.walk(self.tree) if isinstance(n, ast.Name) and id(n) not in called]
        return list(dict.fromkeys(names))


def parse(tokens: Sequence[Token]) -> Expression:
    """The expression that these tokens spell. Raises FormulaError when a node is not on the allow-list."""
    text = " ".join(t.text for t in tokens)
    if len(tokens) > MOST_TOKENS_OF_A_FACTOR:
        raise FormulaError(
            f"'{_short(text)}' has {len(tokens)} words and signs; {MOST_TOKENS_OF_A_FACTOR} is the most for a factor"
        )
    names: list[str] = []
    source = " ".join(_placeholder(token, names, text) for token in tokens)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(f"'{_short(text)}' is not an expression; check its operators and brackets") from error
    for node in ast.walk(tree):
        if not _allowed(node):
            raise FormulaError(f"'{_short(text)}' holds {_what(node)}, which is not allowed in a formula")
    return Expression(_spell(tree, names), tree, tuple(names))


def _placeholder(token: Token, names: list[str], text: str) -> str:
    if token.kind == "name" and token.text in _WORDS:
        return _WORDS[token.text]
    if token.kind in ("name", "tick"):
        names.append(token.text.strip("`"))
        return f"n{len(names) - 1}"
    if token.text == "^":
        raise FormulaError(f"'^' inside '{_short(text)}': write ** for powers")
    if token.text in (":", "~", "%in%"):
        raise FormulaError(f"'{token.text}' inside '{_short(text)}' is only allowed between terms")
    return token.text


_NODES = (
    ast.Name, ast.Load, ast.Call, ast.keyword, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow,
    ast.UnaryOp, ast.UAdd, ast.USub, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.List,
)  # fmt: skip


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float | str)
    return isinstance(node, _NODES) and not (isinstance(node, ast.keyword) and node.arg is None)


def _what(node: ast.AST) -> str:
    known = {"Attribute": "access to an attribute", "Subscript": "[...]", "Tuple": "a pair of values"}
    return known.get(type(node).__name__, f"a {type(node).__name__}")


def _spell(node: ast.expr, names: Sequence[str]) -> str:
    """Python's own spelling of the tree, with the placeholders replaced by the names they stand for."""
    spelt = []
    source, at = ast.unparse(node), 0
    for found in _LEX.finditer(source):
        spelt.append(source[at : found.start()])
        is_name = found.lastgroup == "name" and found[0] not in _WORDS
        spelt.append(spell_name(names[int(found[0][1:])]) if is_name else found[0])
        at = found.end()
    return "".join(spelt) + source[at:]


def spell_name(name: str) -> str:
    """A column's name as a formula spells it: in backticks unless it is a plain or dotted word."""
    return name if _PLAIN.fullmatch(name) else f"`{name}`"


def renamed(text: str, columns: Mapping[str, str]) -> str:
    """A formula in which other columns stand for some, all at once; functions, settings and quoted levels stay."""
    tokens, made, at = lex(text), [], 0
    for token, after in zip(tokens, (*(t.text for t in tokens[1:]), ""), strict=True):
        name = token.text.strip("`")
        plain = token.kind == "tick" or (token.kind == "name" and after not in ("(", "="))
        if plain and name in columns:
            made += [text[at : token.at], spell_name(columns[name])]
            at = token.at + len(token.text)
    return "".join([*made, text[at:]])


def literal(expression: Expression, node: ast.expr) -> Any:
    """The constant that an argument spells: number, bool, text, or a list of them ([1, 2] or c(1, 2))."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if isinstance(value, int | float):
            return -value
    if isinstance(node, ast.List):
        return [literal(expression, item) for item in node.elts]
    if isinstance(node, ast.Call) and expression.function(node) == "c" and not node.keywords:
        return [literal(expression, item) for item in node.args]
    raise FormulaError(f"'{expression.text}': this argument must be a constant or a list of constants")


# --- what is allowed, and computing it -------------------------------------------------------------------


class Function(NamedTuple):
    """A function that formulas may call, where it exists, and what to do elsewhere."""

    call: Callable[[Array], Array]
    domain: Callable[[Array], NDArray[np.bool_]]  # where the function exists
    rule: str
    remedy: str


def _everywhere(x: Array) -> NDArray[np.bool_]:
    return np.ones(np.shape(x), dtype=bool)


def _positive(x: Array) -> NDArray[np.bool_]:
    return np.asarray(x > 0)


_LOG = ("is defined for numbers above 0", "write log(x + 1), or declare a plausible range above 0")
FUNCTIONS: Mapping[str, Function] = {
    "log": Function(np.log, _positive, *_LOG),
    "log2": Function(np.log2, _positive, *_LOG),
    "log10": Function(np.log10, _positive, *_LOG),
    "log1p": Function(np.log1p, lambda x: np.asarray(x > -1), "is defined for numbers above -1", _LOG[1]),
    "sqrt": Function(
        np.sqrt, lambda x: np.asarray(x >= 0), "is defined for numbers from 0 on", "declare a plausible range"
    ),
    "exp": Function(np.exp, lambda x: np.asarray(x < 700), "is too large here", "rescale the column first"),
    "abs": Function(np.abs, _everywhere, "", ""),
    "I": Function(lambda x: x, _everywhere, "", ""),
}
POOLED = ("standardize", "center")
_ARITHMETIC: Mapping[type[ast.AST], Callable[[Array, Array], Array]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
}  # fmt: skip
_COMPARISON: Mapping[type[ast.AST], Callable[[Array, Array], NDArray[np.bool_]]] = {
    ast.Eq: np.equal, ast.NotEq: np.not_equal, ast.Lt: np.less, ast.LtE: np.less_equal,
    ast.Gt: np.greater, ast.GtE: np.greater_equal,
}  # fmt: skip


class Rows(Protocol):
    """The rows of a table, as the interpreter needs them."""

    def numbers(self, name: str) -> Array:
        """(N,) float64, NaN where missing."""

    def codes(self, name: str) -> NDArray[np.int64]:
        """(N,) index of the declared level, -1 where missing."""

    def levels(self, name: str) -> tuple[str, ...] | None:
        """Declared levels; None for a numeric column."""

    def pooled(self, text: str) -> tuple[float, float]:
        """Network-wide mean and standard deviation of the expression `text`."""


def compute(expression: Expression, rows: Rows) -> Array:
    """(N,) float64 values of an expression. Raises DataError where it does not exist for a complete row."""
    if isinstance(expression.tree, ast.Name) and rows.levels(expression.sources()[0]) is None:
        return rows.numbers(expression.sources()[0])  # finite or missing, as it was read
    with np.errstate(all="ignore"):
        values = np.asarray(_number(expression.tree, expression, rows), dtype=np.float64)
    missing = _missing(expression, rows)
    values = np.where(missing, np.nan, values)
    if bad := int(np.count_nonzero(~missing & ~np.isfinite(values))):
        raise DataError(
            f"'{expression.text}' does not exist (division by zero, or too large a number) for {persons(bad)}; "
            f"declare a plausible range for {_columns(expression)}, or change the expression"
        )
    return values


def _missing(expression: Expression, rows: Rows) -> NDArray[np.bool_]:
    """(N,) rows in which a source of the expression is missing."""
    gaps = [
        np.isnan(rows.numbers(name)) if rows.levels(name) is None else rows.codes(name) < 0
        for name in expression.sources()
    ]
    return np.asarray(np.logical_or.reduce(gaps), dtype=np.bool_)


def _columns(expression: Expression) -> str:
    return ", ".join(f"'{name}'" for name in expression.sources())


def _number(node: ast.expr, expression: Expression, rows: Rows) -> Array:
    if isinstance(node, ast.Constant) and not isinstance(node.value, str):
        return np.asarray(float(node.value))  # type: ignore[arg-type]  # complex and bytes are not allowed nodes
    if isinstance(node, ast.Name):
        return rows.numbers(expression.name(node))
    if isinstance(node, ast.UnaryOp):
        value = _number(node.operand, expression, rows)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = (_number(side, expression, rows) for side in (node.left, node.right))
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.Compare):
        return _compared(node, expression, rows)
    if isinstance(node, ast.Call):
        return _called(node, expression, rows)
    raise FormulaError(f"'{expression.text}' is no number")


def _compared(node: ast.Compare, expression: Expression, rows: Rows) -> Array:
    compare = _COMPARISON[type(node.ops[0])]
    level = level_test(node, expression, rows.levels)
    if level is not None:
        name, code = level
        return np.asarray(compare(rows.codes(name).astype(np.float64), np.asarray(float(code))), dtype=np.float64)
    left, right = (_number(side, expression, rows) for side in (node.left, node.comparators[0]))
    return np.asarray(compare(left, right), dtype=np.float64)


def _called(node: ast.Call, expression: Expression, rows: Rows) -> Array:
    name, values = expression.function(node), _number(node.args[0], expression, rows)
    if name in POOLED:
        mean, sd = rows.pooled(expression.part(node.args[0]).text)
        return (values - mean) / sd if name == "standardize" else values - mean
    function = FUNCTIONS[name]
    outside = ~function.domain(values) & ~np.isnan(values)
    if bad := int(np.count_nonzero(outside)):
        raise DataError(
            f"'{expression.part(node).text}' does not exist for {persons(bad)}: {name} {function.rule} "
            f"(column {_columns(expression)}). Remedy: {function.remedy}"
        )
    return function.call(values)


def level_test(
    node: ast.Compare, expression: Expression, levels: Callable[[str], tuple[str, ...] | None]
) -> tuple[str, int] | None:
    """(column, index of the level) of a comparison such as `size == ">50"`; None for a numeric one.

    Raises FormulaError for a level that is not declared, for < and > on levels, and for chains (a < b < c).
    """
    if len(node.ops) > 1:
        raise FormulaError(f"'{expression.text}': compare two things at a time, such as I(age > 40) * I(age < 60)")
    sides = (node.left, node.comparators[0])
    texts = [s.value for s in sides if isinstance(s, ast.Constant) and isinstance(s.value, str)]
    names = [expression.name(s) for s in sides if isinstance(s, ast.Name)]
    if not texts:
        return None
    known = levels(names[0]) if names else None
    if known is None or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
        raise FormulaError(
            f"'{expression.text}': text is only compared, by == or !=, with a column that declares levels"
        )
    if texts[0] not in known:
        raise FormulaError(f"'{expression.text}': '{texts[0]}' is no level of '{names[0]}', which has {list(known)}")
    return names[0], known.index(texts[0])


def check(expression: Expression, levels: Callable[[str], tuple[str, ...] | None]) -> None:
    """Refuse, without data, what `compute` could not: unknown functions, categories used as numbers."""
    for node in _numeric_nodes(expression.tree, expression, levels):
        if isinstance(node, ast.Call):
            _check_call(node, expression)
        elif isinstance(node, ast.Name) and levels(expression.name(node)) is not None:
            name = expression.name(node)
            raise FormulaError(
                f"'{name}' has levels and is no number in '{expression.text}'; use it as a term, or compare it: "
                f'I({spell_name(name)} == "...")'
            )
        elif isinstance(node, ast.List) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            raise FormulaError(f"'{expression.text}' holds text or a list where a number belongs")
        elif isinstance(node, ast.Constant) and abs(node.value) > LARGEST:  # type: ignore[arg-type]
            raise FormulaError(f"'{_short(expression.text)}' holds a number above {LARGEST:g}; rescale")
    if not expression.sources():
        raise FormulaError(f"'{_short(expression.text)}' names no column")


def _numeric_nodes(
    tree: ast.expr, expression: Expression, levels: Callable[[str], tuple[str, ...] | None]
) -> Iterator[ast.expr]:
    """The nodes that are computed as numbers: all but names of functions and comparisons of levels."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.Compare) and level_test(node, expression, levels) is not None:
            continue
        parts = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        stack.extend(part for part in parts if isinstance(part, ast.expr))


_REMEDIES = {
    "scale": "use standardize(x), which takes the mean and SD of all hospitals together",
    "C": "C(...) must be a term of its own",
    "strata": "strata(...) must be a term of its own, added by +",
    "offset": "offset(...) must be a term of its own, added by +",
    "Surv": "Surv(...) belongs to the left of ~",
    "ifelse": "write I(x > 1) for an indicator",
    "np": "write log(x), sqrt(x), ... without a prefix",
}


def _check_call(node: ast.Call, expression: Expression) -> None:
    name = expression.function(node)
    if name not in FUNCTIONS and name not in POOLED:
        raise forbidden(name, expression.text)
    if len(node.args) != 1 or node.keywords:
        raise FormulaError(f"'{expression.text}': {name}() takes one expression and nothing else")
    if name in POOLED:
        inside = [n for n in ast.walk(node.args[0]) if isinstance(n, ast.Call)]
        if any(expression.function(n) in POOLED for n in inside):
            raise FormulaError(f"'{expression.text}': {name}() cannot hold another pooled function")


def forbidden(name: str, text: str) -> FormulaError:
    """The error for a function that is not on the list."""
    remedy = _REMEDIES.get(name) or _REMEDIES.get(name.split(".")[0])
    allowed = ", ".join([*FUNCTIONS, *POOLED, "C", "poly", "bs", "ns", "cr", "strata", "offset", "Surv"])
    remedy = remedy or f"allowed are {allowed}"
    return FormulaError(f"{name}() is not an allowed function here, in '{_short(text)}': {remedy}")
