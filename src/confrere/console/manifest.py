"""What would leave each hospital under a study, before anything runs: the study driven over dummy people."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from confrere.data.dummy import dummy
from confrere.errors import UserError
from confrere.hospital.gate import CLASSES, Policy, judge_clear
from confrere.rounds import Answers, Round, clear, drive, leaves, name_of, step_of, supported
from confrere.study import build
from confrere.study.file import Study
from confrere.study.ground import model_of


class Entry(NamedTuple):
    """An array that may leave: per analysis and step, its named dimensions with upper bounds, how often at most."""

    analysis: str
    step: str
    name: str
    kind: str
    dims: tuple[str, ...]
    bounds: tuple[int, ...]
    repeats: int
    bytes: int  # per time, at most


def manifest(study: Study) -> list[Entry]:
    """Every array that may leave each hospital. The flow runs over dummy people; nobody's data are read."""
    built = build.analyses(study)
    columns = build.columns_of(built)
    roles: dict[str, str] = {}
    for a in built:
        roles |= _roles(a)
    tables = [dummy(columns, study.schema, roles, study.ground, seed=i) for i in range(3)]
    policy = Policy(k=0, pairs=0, effective=0, effective_here=0, days=0, share=1e9, allow=frozenset(CLASSES))
    entries: dict[tuple[Any, ...], Entry] = {}
    answer = clear(tables, lambda designs: judge_clear(designs, policy))

    def recorded(asks: Round) -> Answers:
        answers = answer(asks)
        for a, got in zip(asks, answers, strict=True):
            name = name_of(a.analysis).lstrip("_")
            if a.kind == "ask":
                for field, s in leaves(a, got):
                    numbers = s.numbers().size if not s.bounds else _most(s.bounds, s.symmetric)
                    entries.setdefault(
                        (a.analysis, a.step, field),
                        Entry(name, a.step, field, a.kind, s.dims, s.bounds, step_of(a).repeats, 16 * numbers),
                    )
            elif a.kind == "support":
                entries.setdefault((a.analysis, a.step), Entry(name, a.step, "support", a.kind, ("counts",), (), 1, 0))
        return answers

    for flow in (build.flow_of(study, built),):
        drive(supported(flow), recorded)
    return list(entries.values())


def _most(bounds: tuple[int, ...], symmetric: bool) -> int:
    size = 1
    for b in bounds:
        size *= b
    return bounds[0] * (bounds[0] + 1) // 2 if symmetric else size


def _roles(analysis: Any) -> dict[str, str]:
    """What the columns of a formula are used for."""
    formula = getattr(analysis, "formula", "")
    roles: dict[str, str] = {}
    by = getattr(analysis, "by", "")
    if by:
        roles[by] = "group"
    if not formula:
        return roles
    try:
        outcome = model_of(formula, analysis.ground).outcome
        right = model_of("~ " + formula.split("~", 1)[1], analysis.ground)
    except UserError:
        return roles
    if hasattr(analysis, "follow_up"):
        roles |= dict.fromkeys(right.columns, "group")
    if outcome is not None:
        for role in ("time", "event", "entry"):
            expression = getattr(outcome, role)
            if expression is not None:
                roles |= dict.fromkeys(_names(expression.text), role)
        if outcome.value is not None and name_of(analysis) in ("logistic",):
            roles |= dict.fromkeys(_names(outcome.value.text), "event")
    return roles


def _names(text: str) -> list[str]:
    """Columns in an expression."""
    try:
        return [n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name)]
    except SyntaxError:
        return [text]
