"""The names that formulas give to terms, as people say them: `C(size)[T.20-50]` is size, 20-50."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_INTERCEPT = {"intercept", "(intercept)", "1", "const"}


class Term(NamedTuple):
    """One term: what it is about, and which level of it (empty for a number)."""

    variable: str
    level: str = ""

    def __str__(self) -> str:
        return self.said()

    def said(self, colon: str = ": ", level: str = "") -> str:
        """`size: 20-50`, with the colon of a language; `level` replaces the term's own where it has one."""
        return f"{self.variable}{colon}{level or self.level}" if self.level else self.variable


def read(term: str) -> Term:
    """The parts of a term; an interaction is one variable, `hormon yes × age`."""
    parts = _factors(term)
    if len(parts) > 1:
        return Term(" × ".join(str(_one(part)).replace(": ", " ") for part in parts))
    return _one(term)


def is_intercept(term: str) -> bool:
    """Whether a term is the constant, which no forest plot shows."""
    return term.strip().lower() in _INTERCEPT


def _factors(term: str) -> list[str]:
    """Split at colons outside brackets: a level such as `10:30` stays whole."""
    parts, depth, start = [], 0, 0
    for place, mark in enumerate(term):
        depth += (mark in "([") - (mark in ")]")
        if mark == ":" and depth == 0:
            parts.append(term[start:place])
            start = place + 1
    return [part for part in [*parts, term[start:]] if part.strip()] or [term]


def _one(term: str) -> Term:
    """The bracket that the term ends with holds the level; brackets inside either part are its own."""
    term = term.strip()
    depth = 0
    for place in range(len(term) - 1, 0, -1) if term.endswith("]") else ():
        depth += (term[place] == "]") - (term[place] == "[")
        if depth == 0:
            return Term(_bare(term[:place]), term[place + 1 : -1].removeprefix("T."))
    return Term(_bare(term))


def _bare(name: str) -> str:
    """Without the wrappers that only tell the formula how to read a column."""
    inner = re.fullmatch(r"(?:C|I|Q)\((.*)\)", name, re.DOTALL)
    if not inner or inner[1].count("(") != inner[1].count(")"):
        return name
    return inner[1].split(",")[0].strip(" '\"")


def references(terms: Sequence[str], levels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The level that each variable's other levels are compared with: the only declared one that has no term.

    `levels` are those that the study declares, by column; a variable that it does not declare is not in the answer.
    """
    shown: dict[str, set[str]] = {}
    for term in map(read, terms):
        if term.level:
            shown.setdefault(term.variable, set()).add(term.level)
    found = {}
    for variable, known in shown.items():
        rest = [str(level) for level in levels.get(variable, ()) if str(level) not in known]
        if len(rest) == 1:
            found[variable] = rest[0]
    return found


def single_factor(formula: str) -> str:
    """The variable on the right of a formula where it is a single one, else "": `Surv(t, d) ~ C(size)` gives size."""
    right = formula.rpartition("~")[2].strip()
    name = read(right).variable if right else ""
    return name if re.fullmatch(r"[\w.]+", name) and not name.isdigit() else ""
