"""Cuts of the analyses of one study: no combination of several of them rests on 1 to k-1 people of the network.

A comparison in a formula, `I(age > 65)`, and a criterion of a worklist divide the people. One analysis with 65 and one
with 66 would tell of those who are 66, by subtraction. Within one analysis the gate sees to it (marks meet in 0 or
enough people, steps of a funnel merge). Over several, the hospitals first count, blinded, how many people there are of
every pattern of all cuts, and refuse the study where a combination of sets over analyses rests on few people.

Patterns, not pairs: A + B - C may rest on one person where every two differ by hundreds (`hospital.differencing`).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from confrere.errors import StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, register, support
from confrere.study.expressions import Expression, compute
from confrere.study.factors import Category, Number
from confrere.study.formulas import Model
from confrere.study.ground import model_of
from confrere.study.rows import TableRows

MOST = 6  # comparisons in one term: their products are 2^6
PATTERNS = 16_384  # of all cuts of a study


def products(model: Model) -> list[tuple[Expression, ...]]:
    """The comparisons of a formula, and of those that stand in one column of the design every product, each once.

    A column is a sum over products of its comparisons, whatever else is in it: it tells about these sets of people.
    StudyError where more than `MOST` stand in one.
    """
    whole = [() if isinstance(f, Category) else (f.expression if isinstance(f, Number) else f.inner,)
             for f in model.factors]  # fmt: skip
    columns = [tuple(e for i, _ in parts for e in whole[i]) for parts in model.plan]
    columns += [(e,) for e in (*model.offsets, *(model.outcome.expressions() if model.outcome else ()))]
    found: dict[tuple[str, ...], tuple[Expression, ...]] = {}
    for column in columns:
        compared = {part.text: part for e in column for part in _comparisons(e)}
        if len(compared) > MOST:
            raise StudyError(f"{len(compared)} comparisons stand in one term of {model.text!r}; take {MOST} at most")
        for size in range(1, len(compared) + 1):
            found |= {texts: tuple(compared[t] for t in texts) for texts in combinations(sorted(compared), size)}
    return list(found.values())


def selects(model: Model, frame: Any) -> list[Bools]:
    """Whom each of the `products` of a formula selects, (N,). Means stand for those of the network, not known yet."""
    means = {text: _standing(values) for text, values in model.inner(frame).items()}
    rows = TableRows(frame, model.schema, means)
    return [np.logical_and.reduce([compute(part, rows) == 1 for part in parts]) for parts in products(model)]


def _comparisons(expression: Expression) -> Iterator[Expression]:
    return (expression.part(node) for node in ast.walk(expression.tree) if isinstance(node, ast.Compare))


def _standing(values: Array) -> tuple[float, float]:
    """Mean and SD here, which stand for those of the network."""
    known = values[np.isfinite(values)]
    return (float(known.mean()), float(known.std()) or 1.0) if known.size else (0.0, 1.0)


class _Digit(NamedTuple):
    """One digit of a pattern: everybody's (N,), how many values it has, and by words which values are in a set."""

    place: Ints
    size: int
    sets: dict[str, Bools]  # (size,) each


@register("_cuts")
@dataclass(frozen=True)
class Cuts:
    """The sets of people that the cuts of several analyses select."""

    analyses: tuple[Any, ...]

    def design(self, people: People) -> Design:
        """How many people there are of every pattern of the cuts, and which patterns make each set."""
        frame = people.table.frame
        index, stride = np.zeros(len(frame), dtype=np.int64), 1
        patterns, members = np.arange(size_of(self.analyses)), dict[str, Bools]()
        for digit in _digits(self.analyses, frame):
            index += stride * digit.place
            members |= {text: inside[patterns // stride % digit.size] for text, inside in digit.sets.items()}
            stride *= digit.size
        sets = tuple(
            np.array([np.logical_and.reduce([members[text] for text in parts]) for parts in told(a)])
            for a in self.analyses
        )
        n = len(frame)
        cells = {"cuts": Cells(index, (1, stride), rule="combine", sets=sets)}
        return Design(n=n, rows=np.ones(n, dtype=bool), cells=cells)


def told(analysis: Any) -> list[tuple[str, ...]]:
    """The words for the sets of people that an analysis tells about, each of one part or a product of several."""
    if hasattr(analysis, "selecting"):
        return [(text,) for text in analysis.selecting]
    if not getattr(analysis, "formula", ""):
        return []
    return [tuple(p.text for p in parts) for parts in products(model_of(analysis.formula, analysis.ground))]


def size_of(analyses: Sequence[Any]) -> int:
    """How many patterns the cuts of analyses may have: two for each comparison, of a funnel one more than its steps."""
    steps = [len(a.selecting) + 1 for a in analyses if hasattr(a, "selecting")]
    compared = {text for a in analyses if not hasattr(a, "selecting") for parts in told(a) for text in parts}
    return int(math.prod(steps)) << len(compared)


def _digits(analyses: Sequence[Any], frame: Any) -> Iterator[_Digit]:
    seen: set[str] = set()
    for analysis in analyses:
        if hasattr(analysis, "selecting"):  # every step is within the one before
            steps = [who for _, _, who in analysis.selected(frame)]
            inside = {text: np.arange(len(steps) + 1) > j for j, text in enumerate(analysis.selecting)}
            yield _Digit(np.sum(steps, axis=0, dtype=np.int64), len(steps) + 1, inside)
            continue
        model = model_of(analysis.formula, analysis.ground)
        for parts, who in zip(products(model), selects(model, frame), strict=True):
            if len(parts) == 1 and parts[0].text not in seen:
                seen.add(parts[0].text)
                yield _Digit(who.astype(np.int64), 2, {parts[0].text: np.array([False, True])})


def apart(analyses: Sequence[Any]) -> Flow[None]:
    """Have the hospitals refuse where cuts of several analyses tell few people apart. StudyError for too many cuts."""
    among = list({tuple(told(a)): a for a in analyses if told(a)}.values())
    if len(among) < 2:
        return
    if (patterns := size_of(among)) > PATTERNS:
        raise StudyError(
            f"the analyses divide people into {patterns} patterns by their comparisons and criteria; {PATTERNS} is the "
            f"most. Take fewer, or several studies"
        )
    yield from support(Cuts(tuple(among)).design)
