"""Cuts of the analyses of one study: no combination of several of them rests on 1 to k-1 people of the network.

A comparison in a formula, `I(age > 65)`, and a criterion of a worklist divide the people. One analysis with 65 and one
with 66 would tell of those who are 66, by subtraction. Within one analysis the gate sees to it (marks meet in 0 or
enough people, steps of a funnel merge). Over several, the hospitals first count, blinded, how many people there are of
every pattern of all cuts, and refuse the study where a combination of sets over analyses rests on few people.

Whom a study on OMOP records is about is such a set too: the funnel of its target, less the people analysed, would tell
of the few who are left out between the two.

Patterns, not pairs: A + B - C may rest on one person where every two differ by hundreds (`hospital.differencing`).

Some analyses are about people whom no missing column selects: those at risk of an outcome, those in a cohort (they have
`whom`). Every two of these, and each and all others, are the same people or differ by enough.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from confrere.errors import DataError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, name_of, register, support
from confrere.study.expressions import Expression, compute
from confrere.study.factors import Category, Number
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, complete, model_of
from confrere.study.rows import TableRows

MOST = 6  # comparisons in one term: they make 2^6 patterns
PATTERNS = 32_768  # of all cuts of a study: a number each in every hospital, blinded


class Cut(NamedTuple):
    """A set of people that one column of a design tells about: those for whom its comparisons hold in certain patterns.

    text      the words that select
    parts     the comparisons
    patterns  which patterns of them: bit j of a pattern says whether part j holds
    """

    text: str
    parts: tuple[Expression, ...]
    patterns: tuple[int, ...]


@lru_cache(maxsize=256)
def cuts_of(model: Model) -> tuple[Cut, ...]:
    """What the columns of a formula's design tell about, each set once. StudyError for a term of too many comparisons.

    A column is a function of its comparisons: people for whom it has the same value, whatever else is in it, are a set.
    """
    whole = [() if isinstance(f, Category) else (f.expression if isinstance(f, Number) else f.inner,)
             for f in model.factors]  # fmt: skip
    columns = [tuple(e for i, _ in parts for e in whole[i]) for parts in model.plan]
    columns += [(e,) for e in (*model.offsets, *(model.outcome.expressions() if model.outcome else ()))]
    found: dict[str, Cut] = {}
    for column in columns:
        parts = {part.text: part for e in column for part in _comparisons(e)}
        if len(parts) > MOST:
            raise StudyError(f"{len(parts)} comparisons stand in one term of {model.text!r}; take {MOST} at most")
        for cut in _sets(column, tuple(parts[text] for text in sorted(parts))):
            found.setdefault(cut.text, cut)
    return tuple(found.values())


def _sets(column: Sequence[Expression], parts: tuple[Expression, ...]) -> Iterator[Cut]:
    """The sets of one column, but that for whom no comparison holds: it is what remains."""
    same: dict[float, list[int]] = {}
    for pattern, worth in enumerate(_worths(column, parts)):
        same.setdefault(worth, []).append(pattern)
    for patterns in same.values():
        if 0 not in patterns:
            text = " * ".join(p.text for p in parts)
            alone = patterns == [(1 << len(parts)) - 1]
            yield Cut(text if alone else f"{patterns} of {text}", parts, tuple(patterns))


def _worths(column: Sequence[Expression], parts: Sequence[Expression]) -> list[float]:
    """The value of a column in every pattern of its comparisons, all else being numbers that no formula has."""
    patterns = [{part.text: bool(i >> j & 1) for j, part in enumerate(parts)} for i in range(1 << len(parts))]
    for scale in (1.0, 100.0, 0.01, 1e4):  # a logarithm may not exist for the first
        with suppress(DataError):
            anybody = _Anybody(scale)
            # not rounded: a column of small numbers tells as much
            return [math.prod(float(compute(_assuming(e, holds), anybody)) for e in column) for holds in patterns]
    return [float(all(holds.values())) for holds in patterns]  # a product, as most are


def _assuming(expression: Expression, holds: Mapping[str, bool]) -> Expression:
    """An expression with its comparisons as 1 and 0."""

    class Assume(ast.NodeTransformer):
        def visit_Compare(self, node: ast.Compare) -> ast.Constant:
            return ast.Constant(float(holds[expression.part(node).text]))

    return replace(expression, tree=Assume().visit(copy.deepcopy(expression.tree)))


class _Anybody:
    """One person's row, with a number of its own in every column, of about `scale`."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def numbers(self, name: str) -> Array:
        return self.scale * np.array(1.0 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48)

    def codes(self, name: str) -> Ints:
        return np.zeros((), dtype=np.int64)

    def levels(self, name: str) -> None:
        return None

    def pooled(self, text: str) -> tuple[float, float]:
        return 0.5, 0.7


def selects(model: Model, frame: Any) -> list[Bools]:
    """Whom each of the `cuts_of` a formula selects, (N,). Means stand for those of the network, not known yet."""
    rows = TableRows(frame, model.schema, standing(model, frame))
    held = {part.text: compute(part, rows) == 1 for cut in cuts_of(model) for part in cut.parts}
    return [
        np.isin(sum(held[part.text].astype(int) << j for j, part in enumerate(cut.parts)), cut.patterns)
        for cut in cuts_of(model)
    ]


def standing(model: Model, frame: Any) -> dict[str, tuple[float, float]]:
    """Means and SDs here of what a formula standardises, which stand for those of the network."""
    return {text: _standing(values) for text, values in model.inner(frame).items()}


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
        for digit in _digits(self.analyses, people.table):
            index += stride * digit.place
            members |= {text: inside[patterns // stride % digit.size] for text, inside in digit.sets.items()}
            stride *= digit.size
        sets = tuple(np.array(list(_members(a, members))) for a in self.analyses)
        n = len(frame)
        cells = {"cuts": Cells(index, (1, stride), rule="combine", sets=sets)}
        return Design(n=n, rows=np.ones(n, dtype=bool), cells=cells)


def told(analysis: Any) -> tuple[str, ...]:
    """The words for the sets of people that an analysis tells about; known without data."""
    return (*_target(analysis), *getattr(analysis, "selecting", ()), *(c.text for c in _cuts(analysis)))


def _target(analysis: Any) -> tuple[str, ...]:
    """The column that says whom a study is about, if an analysis is about these alone."""
    return (LEFT,) if hasattr(analysis, "ground") and LEFT in analysis.ground.complete else ()


def models_of(analysis: Any) -> list[Model]:
    """The formulas whose comparisons divide the people of an analysis: its `formula`, `formulas` and `dividing`."""
    more = (*getattr(analysis, "formulas", ()), *getattr(analysis, "dividing", ()))
    texts = dict.fromkeys((getattr(analysis, "formula", ""), *more))
    return [model_of(text, analysis.ground) for text in texts if text]


def _cuts(analysis: Any) -> list[Cut]:
    return [cut for model in models_of(analysis) for cut in cuts_of(model)]


def _members(analysis: Any, members: Mapping[str, Bools]) -> Iterator[Bools]:
    """Which patterns of a study are in each set of an analysis."""
    yield from (members[text] for text in _target(analysis))
    if hasattr(analysis, "selecting"):
        yield from (members[text] for text in analysis.selecting)
    for cut in _cuts(analysis):
        held = [members[part.text].astype(int) << j for j, part in enumerate(cut.parts)]
        yield np.isin(sum(held), cut.patterns)


def size_of(analyses: Sequence[Any]) -> int:
    """How many patterns the cuts of analyses may have: two for each comparison, of a funnel one more than its steps;
    what stands in several counts once."""
    steps = [len(texts) + 1 for texts in {a.selecting for a in analyses if hasattr(a, "selecting")}]
    halves = {part.text for a in analyses for cut in _cuts(a) for part in cut.parts}
    return int(math.prod(steps)) << len(halves.union(*map(_target, analyses)))


def seen(analysis: Any, table: Any) -> Any:
    """What an analysis chooses people by: the whole table where it reads bags of images, else its rows."""
    return table if getattr(analysis, "bags", "") else table.frame


def _digits(analyses: Sequence[Any], table: Any) -> Iterator[_Digit]:
    done, funnels = set[str](), set[tuple[str, ...]]()
    frame = table.frame
    if any(map(_target, analyses)):
        yield _Digit(complete(frame, (LEFT,)).astype(np.int64), 2, {LEFT: np.array([False, True])})
    for analysis in analyses:
        if hasattr(analysis, "selecting") and analysis.selecting not in funnels:
            funnels.add(analysis.selecting)  # every step is within the one before
            steps = [who for _, _, who in analysis.selected(seen(analysis, table))]
            inside = {text: np.arange(len(steps) + 1) > j for j, text in enumerate(analysis.selecting)}
            yield _Digit(np.sum(steps, axis=0, dtype=np.int64), len(steps) + 1, inside)
        for model in models_of(analysis):
            rows = TableRows(frame, model.schema, standing(model, frame))
            for part in (part for cut in cuts_of(model) for part in cut.parts):
                if part.text not in done:
                    done.add(part.text)
                    yield _Digit((compute(part, rows) == 1).astype(np.int64), 2, {part.text: np.array([False, True])})


@register("_whom")
@dataclass(frozen=True)
class Whom:
    """The people of several analyses that choose them by themselves, and of the others."""

    analyses: tuple[Any, ...]

    def design(self, people: People) -> Design:
        """For every two, who is in one of them alone: 0 or enough."""
        frame = people.table.frame
        n = len(frame)
        sets = [np.asarray(a.whom(seen(a, people.table)), dtype=bool) for a in self.analyses if hasattr(a, "whom")]
        others = [a for a in self.analyses if not hasattr(a, "whom")]
        left = {LEFT in a.ground.complete for a in others if hasattr(a, "ground")}
        sets += [complete(frame, (LEFT,) if target else ()) for target in sorted(left)]
        cells = {
            f"people of analyses {i + 1} and {j + 1}": Cells((sets[i] ^ sets[j]).astype(np.int64), (1, 2))
            for i in range(len(sets))
            for j in range(i)
        }
        return Design(n=n, rows=np.ones(n, dtype=bool), cells=cells)


def apart(analyses: Sequence[Any]) -> Flow[None]:
    """Have the hospitals refuse where cuts of several analyses tell few people apart. StudyError for too many cuts, and
    for two days of one list."""
    looks = {look for a in analyses for look in getattr(a, "looks", ())}
    if len({(look.study, look.title) for look in looks}) < len(looks):
        raise StudyError(
            "the study counts one list on two days, and few people may have moved between; take a study for each day: "
            "hospitals hold a later look against the earlier ones"
        )
    if len(analyses) > 1 and any(hasattr(a, "whom") for a in analyses):
        yield from support(Whom(tuple(analyses)).design)
    among = list({told(a): a for a in analyses if told(a)}.values())
    if len(among) < 2:
        return
    if (patterns := size_of(among)) > PATTERNS:
        each = ", ".join(f"{name_of(a)} {size_of([a])}" for a in among)
        raise StudyError(
            f"the analyses divide people into {patterns} patterns by their comparisons, criteria and periods (each "
            f"alone: {each}); {PATTERNS} is the most. Give them the same ones, which count once, take fewer, or make a "
            f"study of each"
        )
    yield from support(Cuts(tuple(among)).design)
