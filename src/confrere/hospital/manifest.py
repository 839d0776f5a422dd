"""What would leave each hospital under a study, before anything runs: the study driven over dummy people.

The dummy people are granted everything that depends on real ones (every group is shown, the ladder of times is as long
as it can be, nothing is too small), so that what is listed is the most that may leave. Bounds are those of the arrays.
Flows that stop on dummy people (perhaps their numbers do not suit a formula) are tried with others; if none suit, the
steps that were not reached are listed by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from confrere.analyses.equations import Equation, Observed
from confrere.analyses.ladder import doublings
from confrere.data import people
from confrere.data.dummy import RECIPES, Recipe, Wish, bagged, dummy, stays, wishes, wishes_for, wishes_of
from confrere.errors import UserError
from confrere.hospital.classes import CLASSES
from confrere.hospital.gate import Policy, judge_clear, support_of
from confrere.rounds import (
    Answers,
    Ask,
    Design,
    Flow,
    Round,
    Step,
    Sum,
    Verdict,
    clear,
    drive,
    leaves,
    name_of,
    step_of,
    supported,
)
from confrere.study import build
from confrere.study.cohorts import reads
from confrere.study.file import Study
from confrere.study.ground import Ground, model_of
from confrere.study.imputation import imputable, imputing
from confrere.study.omop import tables
from confrere.study.pooled import with_pooled
from confrere.study.recruitment import STATUSES

HOSPITALS = 3
NUMBER = 16  # bytes
STEPS = 200  # of a ladder that is short enough to run over
ALL = Policy(k=0, pairs=0, effective=0, effective_here=0, days=0, share=1e9, parameters=1e9, allow=frozenset(CLASSES))
PEOPLE = "whom the study is about"  # what is asked before the analyses


class Entry(NamedTuple):
    """An array that may leave: of which analysis and step, its named dimensions with upper bounds, how often at most.

    `analysis` is the study's name, `method` the one whose step it is. A support has one bound, of its counts. `repeats`
    is 0 where the flow decides: supports that are asked again until the hospitals agree whom a table is about.
    """

    analysis: str
    method: str
    step: str
    name: str
    kind: str
    dims: tuple[str, ...]
    bounds: tuple[int, ...]
    repeats: int
    bytes: int  # per time, at most
    does: str  # what the step does, in its own words
    bits: int = 8 * NUMBER  # of a number


class Unreached(NamedTuple):
    """An analysis whose flow ended early on all dummy people: why, and the steps that it may ask all the same."""

    analysis: str
    reason: str
    steps: tuple[str, ...]


class Manifest(NamedTuple):
    """Every array that may leave each hospital, the columns read, and what dummy people could not reach.

    Of OMOP records, the columns are the tables of the data model that are read.
    """

    entries: tuple[Entry, ...]
    columns: tuple[str, ...]
    unreached: tuple[Unreached, ...]

    def may(self, method: str, step: str, name: str, s: Sum | None = None) -> bool:
        """Whether an array is listed with its dimensions, and fits; of a support the name is enough."""
        method = method.lstrip("_")
        for e in self.entries:
            if (e.method, e.step, e.name) == (method, step, name):
                if s is None:
                    return True
                shape = s.value.shape
                fits = len(e.bounds) == len(shape) and all(n <= most for n, most in zip(shape, e.bounds, strict=True))
                if fits and tuple(s.dims) == e.dims:
                    return True
        # what dummy people could not reach is listed by its steps alone: `step (names)`
        return any(one.split(" (")[0] == step for u in self.unreached for one in u.steps)

    @property
    def numbers(self) -> int:
        """How many numbers leave if everything that has a bound is asked as often as it may be."""
        return sum(8 * e.bytes // e.bits * max(1, e.repeats) for e in self.entries)

    @property
    def bytes(self) -> int:
        """How many bytes these are."""
        return sum(e.bytes * max(1, e.repeats) for e in self.entries)

    @property
    def rounds(self) -> int:
        """Rounds at most: every step as often as it may be asked, one at a time."""
        steps: dict[tuple[str, ...], int] = {}
        for e in self.entries:
            at = (e.analysis, e.method, e.step)
            steps[at] = max(steps.get(at, 1), e.repeats)
        return sum(steps.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain content: what an approval is of, beside the study."""
        return {
            "entries": [dict(e._asdict()) for e in self.entries], "columns": list(self.columns),
            "unreached": [dict(u._asdict()) for u in self.unreached], "rounds": self.rounds, "bytes": self.bytes,
        }  # fmt: skip

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Manifest:
        """The manifest that `to_dict` gave."""
        entries = (e | {"dims": tuple(e["dims"]), "bounds": tuple(e["bounds"])} for e in plain["entries"])
        missed = (u | {"steps": tuple(u["steps"])} for u in plain["unreached"])
        return cls(tuple(Entry(**e) for e in entries), tuple(plain["columns"]), tuple(Unreached(**u) for u in missed))

    @property
    def digest(self) -> str:
        """sha256 over `to_dict`, 64 hexadecimal digits."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def manifest(study: Study) -> Manifest:
    """Every array that may leave each hospital. The flow runs over dummy people; nobody's data are read."""
    if "fine_times" not in study.allow or study.horizon is not None:
        return _manifest(study)
    # Exact times without a horizon: too many cells to run over. Bounds grow by so much per step, as two short ladders
    # show, both beyond every reporting time.
    ground = study.ground
    least = max((STEPS * ground.width, *ground.marks))
    short, long = (_manifest(dataclasses.replace(study, horizon=least + i * STEPS * ground.width)) for i in (1, 2))
    times = (float(doublings(ground)[-1]) - least) / (STEPS * ground.width) - 1
    other = {e[:4]: e for e in long.entries}
    return short._replace(entries=tuple(_longer(e, other.get(e[:4], e), times) for e in short.entries))


def _longer(short: Entry, long: Entry, times: float) -> Entry:
    """An entry whose bounds have grown by the difference of two, so many times."""
    bounds = tuple(a + math.ceil((b - a) * times) for a, b in zip(short.bounds, long.bounds, strict=True))
    size = short.bytes * math.prod(bounds) // max(1, math.prod(short.bounds))
    return short._replace(bounds=bounds, bytes=size)


def _manifest(study: Study) -> Manifest:
    """The manifest of a study whose ladder is not too long to run over."""
    built = build.analyses(study)
    columns: Sequence[str] = build.sourced(built)
    if people.asked(study, built):
        columns = tables(study.omop, build.definitions(built) + build.definitions(built, "eras"))
    listed = _List(study, {name for a in built for name in reads(a)})
    listed.drive(PEOPLE, built, lambda: build.settled(study, built))
    for spec, analysis in zip(study.analyses, built, strict=True):
        listed.drive(spec.name, [analysis], partial(_whole, analysis), ",".join(spec.group))
    person = [study.person] if study.person and not people.asked(study, built) else []
    return Manifest(tuple(listed.entries.values()), tuple(sorted({*columns, *person})), tuple(listed.unreached))


class _Drive(NamedTuple):
    """What one drive asked for: arrays by the analysis, step and name; kinds of analyses; those of imputed tables."""

    entries: dict[tuple[Any, ...], Entry]
    kinds: set[type]
    tables: dict[tuple[Any, ...], set[Any]]

    def add(self, a: Ask, entry: Entry) -> None:
        """One more entry. An analysis of twenty imputed tables is one analysis, twenty times as often; so is one that
        asks several groups of hospitals."""
        at = (_alike(a.analysis), entry.step, entry.name)
        alike = self.tables.setdefault(at, set())
        alike.add((a.analysis, a.group))
        known = self.entries.get(at, entry)
        bounds = tuple(map(max, entry.bounds, known.bounds))
        most = max(entry.bytes, known.bytes)
        self.entries[at] = entry._replace(bounds=bounds, bytes=most, repeats=entry.repeats * len(alike))


class _List:
    """Collects what flows ask for."""

    def __init__(self, study: Study, columns: set[str]) -> None:
        self.study, self.columns = study, columns
        self.entries: dict[tuple[Any, ...], Entry] = {}
        self.unreached: list[Unreached] = []

    def drive(self, name: str, analyses: Sequence[Any], flow: Callable[[], Flow[Any]], group: str = "") -> None:
        """Drive a flow over dummy people, with one recipe after the other until it ends by itself."""
        reason, furthest = "", _Drive({}, set(), {})
        for recipe in RECIPES:
            seen = _Drive({}, set(), {})
            try:
                drive(supported(flow()), self._answer(name, analyses, recipe, seen))
                furthest, reason = seen, ""
                break
            except UserError as error:
                reason = reason or str(error)
                furthest = max(furthest, seen, key=lambda d: len(d.entries))
        for (asked, *place), entry in furthest.entries.items():
            self.entries.setdefault((group, asked, *place), entry)
        if reason:
            kinds = furthest.kinds or {type(a) for a in analyses}
            self.unreached.append(Unreached(name, reason, tuple(_rest(furthest, kinds))))

    def _answer(self, name: str, analyses: Sequence[Any], recipe: Recipe, seen: _Drive) -> Callable[[Round], Answers]:
        wished: dict[str, Wish] = {}
        for a in analyses:
            wished = _wishes(a) | wished
        named = {c for a in analyses for c in (*reads(a), *getattr(a, "ground", self.study.ground).complete)}
        columns = sorted(named | ({self.study.person or ""} - {""}))
        schema, ground = self.study.schema, self.study.ground
        known = wishes_for(self.study.omop)  # a formula that wishes nothing of a column is asked after
        wished |= {c: known[c] for c in columns if c in known and not any(wished.get(c, Wish()))}
        longest = (0.0, float(doublings(ground)[-1]))
        wished |= {c: w._replace(span=longest) for c, w in wished.items() if w.role == "time" and not w.span}
        eras = build.definitions(analyses, "eras")
        tables = [stays(dummy(columns, schema, wished, ground, seed=i, recipe=recipe), eras) for i in range(HOSPITALS)]
        sizes_of = {a.bags: int(a.bag_size) for a in analyses if getattr(a, "bags", "")}
        tables = [bagged(table, sizes_of, self.study.person or "", i) for i, table in enumerate(tables)]
        sizes: list[int] = []  # counts in the supports of a round, in order
        answer = clear(tables, lambda designs: _granted(designs, sizes))

        def recorded(asks: Round) -> Answers:
            sizes.clear()
            answers = answer(asks)
            counts = iter(sizes)
            for a, got in zip(asks, answers, strict=True):
                seen.kinds.add(type(a.analysis))
                for entry in self._support(name, a, next(counts)) if a.kind == "support" else _sums(name, a, got):
                    seen.add(a, entry)
            return answers

        return recorded

    def _support(self, name: str, a: Ask, counts: int) -> Iterator[Entry]:
        """The counts behind a design, and one for each column of the study that may be required in addition."""
        counts += len(self.columns) + getattr(a.analysis, "most_cells", 0)  # beside those of dummy people
        repeats = 0 if a.args else 1
        if name == PEOPLE and (sets := getattr(a.analysis, "sets", ())):
            repeats = max(1, len(sets) - 1)
        does = _first_line(getattr(type(a.analysis), a.step))
        yield Entry(name, _method(a), a.step, "support", a.kind, ("counts",), (counts,), repeats, NUMBER * counts, does)


def _rest(seen: _Drive, kinds: set[type]) -> Iterator[str]:
    """The steps of analyses that a drive did not reach, with what they return."""
    reached = {e.step for e in seen.entries.values()}
    for step in sorted({step for kind in kinds for step in dir(kind)} - reached):
        method = next(getattr(kind, step) for kind in kinds if hasattr(kind, step))
        if isinstance(getattr(method, "step", None), Step):
            gives = get_type_hints(method).get("return")
            yield f"{step} ({', '.join(getattr(gives, '_fields', ()))})"


def _alike(value: Any) -> Any:
    """An analysis, whichever imputed table it is made in; of parts of an imputation the kind, whatever the column."""
    if isinstance(value, Observed | Equation):
        return type(value)
    if isinstance(value, Ground):
        return dataclasses.replace(value, imputed=None)
    held = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    known = {name: v for name, v in held.items() if isinstance(v, Ground) or hasattr(v, "flow")}
    return dataclasses.replace(value, **{name: _alike(v) for name, v in known.items()})


def _whole(analysis: Any) -> Flow[Any]:
    """The flow of an analysis, after the moments that its formula needs."""
    ready = yield from with_pooled(analysis)
    return (yield from ready.flow())


def _sums(name: str, a: Ask, got: Any) -> Iterator[Entry]:
    """The arrays of an answer; of what is kept a line without any, since it does not leave."""
    does = _first_line(getattr(type(a.analysis), a.step))
    if a.kind == "keep":
        yield Entry(name, _method(a), a.step, "rows that stay", a.kind, (), (), step_of(a).repeats, 0, does)
        return
    for field, s in leaves(a, got):
        numbers = math.prod(s.bounds) if not s.symmetric else s.bounds[0] * (s.bounds[0] + 1) // 2
        size = s.bits // 8 * numbers
        yield Entry(name, _method(a), a.step, field, a.kind, s.dims, s.bounds, step_of(a).repeats, size, does, s.bits)


def _method(a: Ask) -> str:
    return name_of(a.analysis).lstrip("_")


def _first_line(method: Any) -> str:
    return (method.__doc__ or "").strip().partition("\n")[0].strip()


def _granted(designs: Sequence[Design], sizes: list[int]) -> Verdict:
    """A verdict under which everything is shown that some people might be enough for."""
    sizes.append(sum(part.size for part in support_of(designs[0])))
    verdict = judge_clear(designs, ALL)
    for name, cells in designs[0].cells.items():
        if cells.rule in ("drop", "show", "hide", "merge", "align"):
            verdict.grids[name] = np.tile(np.arange(cells.shape[1]), (cells.shape[0], 1))
        elif cells.rule == "beside":
            verdict.grids[name] = np.arange(cells.bound)[None]
    return verdict


def _wishes(analysis: Any) -> dict[str, Wish]:
    """What an analysis says of the columns that it reads."""
    found: dict[str, Wish] = {}
    if by := getattr(analysis, "by", ""):
        found[by] = Wish("group")
    for made in getattr(analysis, "cohorts", ()):
        found |= wishes_of(made)
    for look in getattr(analysis, "looks", ()):
        found[look.column] = Wish(values=tuple(float(place) for place in range(len(STATUSES))))
    if how := imputing(analysis):
        may = imputable(model_of(analysis.formula, analysis.ground), how, analysis.weights)
        found |= {name: Wish(gaps=True) for name in may} | {analysis.ground.person: Wish("person")}
    found |= {column: Wish(values=values) for column, values in getattr(analysis, "valued", {}).items()}
    found |= {column: Wish(values=more, after=of) for column, (of, more) in getattr(analysis, "later", {}).items()}
    if weights := getattr(analysis, "weights", ""):
        found[weights] = Wish("weight")
    if treatment := getattr(analysis, "treatment", ""):  # which must have two sides
        found[treatment] = Wish(values=(0.0, 1.0))
    for known in getattr(analysis, "formulas", ()):  # outcomes and treatments of ratios: marks, or times
        model = model_of(known, analysis.ground)
        found = wishes(model) | found
        if model.outcome is not None and model.outcome.kind == "value":
            found |= {c: Wish(values=(0.0, 1.0)) for c in model.columns}
    formula = getattr(analysis, "formula", "")
    if formula:
        model = model_of(formula, analysis.ground)
        said = {c: w._replace(gaps=found.get(c, w).gaps) for c, w in wishes(model).items()}
        found = said | {c: w for c, w in found.items() if not w.gaps or c not in said}
        if dataclasses.is_dataclass(getattr(analysis, "follow_up", None)):
            # the groups of curves; a term of a regression is a number
            found |= {c: Wish("group") for c in analysis.follow_up.columns if not found.get(c, Wish()).role}
    return found
