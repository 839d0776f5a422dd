"""Criteria of people: comparisons of columns, joined by `and`, `or`, `not` and brackets.

    age >= 65 and (size == ">50" or not grade < 3)

The comparisons are those of formulas (`expressions`): parsed against an allow-list, never evaluated as Python. Where a
value is missing the answer is unknown, and joins as in Kleene, Introduction to Metamathematics, 1952, section 64:
unknown and no is no, unknown or yes is yes. R's `&`, `|` and `!` do the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from confrere.errors import FormulaError
from confrere.rounds import Bools
from confrere.study.expressions import MOST_TOKENS_OF_A_FACTOR, POOLED, Expression, Token, check, compute, lex, parse
from confrere.study.rows import TableRows
from confrere.study.schema import Schema

HOW = "Compare a column, such as age >= 65 or size == '>50', and join comparisons by and, or, not and brackets"


class Judged(NamedTuple):
    """For whom a criterion holds, and for whom it does not; for the others it is unknown. Shapes (N,)."""

    met: Bools
    failed: Bools


class Joined(NamedTuple):
    """Criteria joined by a word: `and`, `or`, or `not` with one part."""

    word: str
    parts: tuple[Rule, ...]


Rule = Expression | Joined


@dataclass(frozen=True)
class Criterion:
    """A criterion as it was written, parsed. `columns` are those it reads, in order of appearance."""

    text: str
    rule: Rule = field(compare=False, repr=False)
    columns: tuple[str, ...]

    @property
    def canonical(self) -> str:
        """One spelling for all texts that differ in blanks, quotes and needless brackets."""
        return _spelt(self.rule)

    def judge(self, rows: TableRows) -> Judged:
        """For whom of the rows it holds. Raises DataError where a column is absent or is not what is declared."""
        return _judged(self.rule, rows)


@lru_cache(maxsize=1024)
def criterion(text: str, schema: Schema) -> Criterion:
    """The criterion that a text spells. Raises FormulaError, which says what cannot be read."""
    text = text.strip()
    try:
        tokens = lex(text)
        if len(tokens) > MOST_TOKENS_OF_A_FACTOR:
            raise FormulaError(f"it has {len(tokens)} words and signs; {MOST_TOKENS_OF_A_FACTOR} is the most")
        rule = _read(tokens, schema)
    except FormulaError as error:
        raise FormulaError(f"criterion {text!r}: {error}. {HOW}", about=error.about) from None
    return Criterion(text, rule, tuple(dict.fromkeys(name for e in _tests(rule) for name in e.sources())))


def _read(tokens: Sequence[Token], schema: Schema) -> Rule:
    """`or` binds least, then `and`, then `not`; brackets around all of it fall away."""
    for word in ("or", "and"):
        parts = _split(tokens, word)
        if len(parts) > 1:
            return Joined(word, tuple(_read(part, schema) for part in parts))
    if tokens and _is(tokens[0], "not"):
        return Joined("not", (_read(tokens[1:], schema),))
    if _bracketed(tokens):
        return _read(tokens[1:-1], schema)
    return _test(tokens, schema)


def _split(tokens: Sequence[Token], word: str) -> list[Sequence[Token]]:
    """The stretches between a word that stands outside of brackets."""
    parts, start = [], 0
    for i, depth in enumerate(_depths(tokens)):
        if depth == 0 and _is(tokens[i], word):
            parts.append(tokens[start:i])
            start = i + 1
    return [*parts, tokens[start:]]


def _is(token: Token, word: str) -> bool:
    return token.kind == "name" and token.text == word


def _depths(tokens: Sequence[Token]) -> Iterator[int]:
    """Around how many brackets each token stands within; the brackets themselves within their own."""
    depth = 0
    for token in tokens:
        opens, closes = token.text in ("(", "["), token.text in (")", "]")
        depth += opens
        yield depth
        depth -= closes


def _bracketed(tokens: Sequence[Token]) -> bool:
    return len(tokens) > 1 and tokens[0].text == "(" and all(depth > 0 for depth in _depths(tokens))


def _test(tokens: Sequence[Token], schema: Schema) -> Expression:
    """A comparison, checked without data."""
    if not tokens:
        raise FormulaError("a comparison is missing beside and, or, not, or within brackets")
    found = parse(tokens)
    if not isinstance(found.tree, ast.Compare):
        raise FormulaError(f"'{found.text}' compares nothing")
    if len(found.tree.ops) > 1:
        raise FormulaError(f"'{found.text}' compares more than two things; write 40 < age and age < 60")
    calls = [node for node in ast.walk(found.tree) if isinstance(node, ast.Call)]
    if pooled := [name for node in calls if (name := found.function(node)) in POOLED]:
        raise FormulaError(f"{pooled[0]}() has no place here: a criterion is known before anything is asked")
    check(found, schema.levels)
    return found


def _tests(rule: Rule) -> Iterator[Expression]:
    """The comparisons of a rule."""
    if isinstance(rule, Expression):
        yield rule
    else:
        for part in rule.parts:
            yield from _tests(part)


def _spelt(rule: Rule) -> str:
    if isinstance(rule, Expression):
        return rule.text
    parts = [_spelt(part) if isinstance(part, Expression) else f"({_spelt(part)})" for part in rule.parts]
    return f"not {parts[0]}" if rule.word == "not" else f" {rule.word} ".join(parts)


def _judged(rule: Rule, rows: TableRows) -> Judged:
    if isinstance(rule, Expression):
        values = compute(rule, rows)
        return Judged(values == 1, values == 0)
    parts = [_judged(part, rows) for part in rule.parts]
    if rule.word == "not":
        return Judged(parts[0].failed, parts[0].met)
    met, failed = zip(*parts, strict=True)
    if rule.word == "and":
        return Judged(np.logical_and.reduce(met), np.logical_or.reduce(failed))
    return Judged(np.logical_or.reduce(met), np.logical_and.reduce(failed))
