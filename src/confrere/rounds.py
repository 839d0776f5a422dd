"""The heart: a study is a generator of asks, and every hospital runs it.

    every hospital                                              coordinator
    flow() yields asks --> step(people) --> gate --> mask ---> adds up
       ^                                                           |
       +-------------- the sums, and only the sums <---------------+

An analysis is a frozen dataclass. Its `@local` methods are pure, run inside the hospitals and see `people`.
Its `flow` is a deterministic generator: it yields rounds (tuples of `Ask`), is sent what came back, does no
I/O, reads no clock, and what it returns is the finding. Everyone runs it: the coordinator to make the
finding, each hospital to know by itself what may be asked next. Everything hangs on one seam, a callable
from a round to its answers: in the clear (`clear`), masked, over a network, or replayed from a journal.

A number leaves a hospital only as a `Sum`, only `People` makes one, and it rests on a named `Design`: the raw
columns a step works on. What a design rests on (its `Support`) is asked once, before its first value, by
`supported`, so that no analysis mentions privacy and the gate has what it needs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar, cast, get_type_hints

import numpy as np
from numpy.typing import NDArray

from confrere.errors import ProtocolError, StudyError, UserError, Waiting

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
T = TypeVar("T")
P = ParamSpec("P")


# What leaves --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sum:
    """An array that leaves a hospital only added to the others' arrays.

    In a step, `value` is this hospital's own part; in a flow it is the total over all hospitals. `dims` names
    each axis and `bounds` gives its public upper bound. `scale` is the power of two of the fixed point, part
    of the step and so public. `effective` is the effective number (sum a)^2 / sum a^2 of the weights with
    which this hospital's people enter, infinite if they enter alike. A `symmetric` matrix travels once.
    """

    value: Array
    dims: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()
    scale: int = 64
    effective: float = np.inf
    symmetric: bool = False
    needs: str = ""  # the disclosure class without which it may not leave
    known: bool = False  # sums of counts that the support of the design holds already: no new numbers
    bits: int = 128  # of the ring for one number; 64 or 32 where totals are known to fit: large arrays travel lighter
    reach: float = np.inf  # public bound of |total| in units of the scale, if there is one

    def numbers(self) -> Array:
        """The distinct numbers, flat: all of them, or the upper triangle of a symmetric matrix."""
        return self.value[np.triu_indices(len(self.value))] if self.symmetric else self.value.ravel()

    def filled(self, numbers: Array) -> Sum:
        """This sum with other numbers, the inverse of `numbers`."""
        if not self.symmetric:
            return dataclasses.replace(self, value=numbers.reshape(self.value.shape))
        full = np.empty_like(self.value)
        full[np.triu_indices(len(full))] = numbers
        full.T[np.triu_indices(len(full))] = numbers
        return dataclasses.replace(self, value=full)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.value, dtype=dtype, copy=bool(copy))


Sums = tuple[Sum, ...]
S = TypeVar("S", bound=Sums)


@dataclass(frozen=True)
class Cells:
    """A partition of the people of a design into cells, whose support decides what becomes of each cell.

    `index` (n,) holds the ladder cell of each person, -1 for none. `shape` is (groups, cells): every group is a
    partition of its own. `rule` says what the gate does with a cell of 1 to k-1 people:

    - `refuse`: the study is refused.
    - `suppress`: the cell and, so that it cannot be had by subtraction, another one of its group are left out.
    - `spread`: the same; and so is a cell that has people, but of fewer hospitals than a sum needs.
    - `hide`: as `suppress`, and nobody learns which of the cells left out have nobody (sparse tables).
    - `near`: cells are (place by one partition, by another), the last of each nowhere: the verdict says whether sums of
      the two, combined, tell 1 to k-1 people apart, and no count. With `sets` cells are as of `known`, and the verdict
      says of each set whether it does, with those before.
    - `drop`: its people are left out, and the verdict's number of people does not count them.
    - `show`: the verdict says which cells hold at least k people; nobody is left out.
    - `merge`: it is merged with its neighbours in the same group (ordered cells). `marks` are cell numbers
      whose left edge stays an edge if both sides allow it. A group with 1 to k-1 people in one partition of a
      `family` is suppressed in all of it.
    - `align`: the same, on one grid for all groups and partitions of the `family`.
    - `require`: two cells, present and missing: a column missing for 1 to k-1 people is required of everybody.
    - `combine`: cells are patterns of `sets` of people, of each analysis (sets, cells): nothing is told of them, and
      the study is refused if a combination of the sets of several analyses rests on 1 to k-1 people.
    - `known`: cells are patterns of `sets` (sets, cells), such as cohorts, of which the sizes may be told too.
      The verdict has a place for every cell and then for every set: told, or -1. No combination of those told, and of
      everybody, rests on 1 to k-1 people. Sets go before cells, larger cells before smaller ones. Of several groups,
      places of which the counts are told elsewhere, sets alone: none with the places either.
    - `cut`: the verdict says of each cell whether it is before, 0, or from an edge on, 1: the last before which at most
      `bound` people are, and at least k on either side. No count is told.
    - `beside`: cells are (group and place, pattern of `sets`), of `bound` places, where the sizes of the sets are told.
      The verdict has the merged place of each place: no sum of people by group and merged place, less a sum of the
      sets, rests on 1 to k-1 people, and each merged place has nobody or k people of each group.
    - `moved`: cells are (place before, place now), of `bound` places now, by which sums are told. If these sums and
      those by the places before, combined, rest on 1 to k-1 people, nothing of the design's cells of this rule is told;
      nor if people enter with `weights` and a few carry a cell.
    - `fine`: everything leaves as it is; needs the disclosure class named in `needs`.
    """

    index: Ints
    shape: tuple[int, int]
    rule: str = "refuse"
    family: str = ""
    marks: tuple[int, ...] = ()
    days: float = np.inf  # width of a cell in days where cells are times
    needs: str = ""
    bound: int = 0  # public upper bound of cells per group, if it is not shape[1]
    sets: tuple[Bools, ...] = ()
    weights: Array | None = None  # (n, cells), of the rule `moved`: with which people enter the sums of each cell

    @property
    def people(self) -> Ints:
        """People per ladder cell, group after group: (groups * cells,). Counted once."""
        if "_people" not in self.__dict__:  # not `cached_property`, for which other hospitals of a process would wait
            self.__dict__["_people"] = np.bincount(self.index + 1, minlength=self.shape[0] * self.shape[1] + 1)[1:]
        return cast(Ints, self.__dict__["_people"])

    def counted(self, merge: Ints, width: int) -> Array:
        """People per cell of a merged grid, group after group of `width` cells."""
        at = merge.ravel()
        here = np.flatnonzero(at >= 0)
        place = here // self.shape[1] * width + at[here]
        return np.bincount(place, self.people[here], minlength=self.shape[0] * width).astype(float)

    def placed(self, merge: Ints, width: int) -> Ints:
        """The cell of each person on a merged grid, group after group of `width` cells; -1 for none: (n,)."""
        at = merge.ravel()[np.maximum(self.index, 0)]
        return np.where((self.index >= 0) & (at >= 0), self.index // self.shape[1] * width + at, -1)


@dataclass(frozen=True, eq=False)
class Design:
    """The raw columns and outcome that steps work on; made once per run, never leaves.

    `rows` (N,) marks the rows of the table that are in it. `x` (n, p) are the raw columns by `names`; `flags` are
    two-sided marks (n,) by name, above all the event; `weights` (n,) the case weights, if any; `cells` the
    partitions. `data` is the method's own and is read by its steps. `columns` names the source columns read: the
    budget of numbers is people x columns / 4. `crowd` is how many people must be enough for the hospital to take part,
    where that is not how many are in it: who trains, for all designs of a model, so that none lacks a hospital.
    `left_out` counts the people not in it by reason, in the order in which reasons are looked at; the reasons are
    public, the counts are not.
    """

    n: int
    rows: Bools
    x: Array = field(default_factory=lambda: np.empty((0, 0)))
    names: tuple[str, ...] = ()
    flags: Mapping[str, Bools] = field(default_factory=dict)
    weights: Array | None = None
    cells: Mapping[str, Cells] = field(default_factory=dict)
    data: Any = None
    columns: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    crowd: int | None = None
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def crowded(self) -> int:
        """How many people decide whether the hospital takes part."""
        return self.n if self.crowd is None else self.crowd

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What is expensive to prepare and the same in every round: made at the first call, then remembered."""
        if name not in self._made:
            self._made[name] = make()
        return cast(T, self._made[name])

    def remembered(self, name: str) -> Any:
        """What `once` has made; None if nothing yet."""
        return self._made.get(name)


LARGE = 10_000  # numbers of a sum that is not remembered if it is of a disclosure class


class Verdict(NamedTuple):
    """What the hospitals say, alike and in the clear, of a design's support; public."""

    n: int  # people
    hospitals: int  # that take part with at least k people
    grids: dict[str, Ints]  # by name of cells: (groups, ladder cells) -> merged cell, -1 where suppressed
    left_out: tuple[tuple[str, int | None], ...]  # people by reason, as the design orders them; None if fewer than k
    budget: int  # distinct numbers that may be asked about these people
    k: int = 0  # the least people a shown count rests on


# Asks and flows -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Ask:
    """One step of one analysis with public arguments: data, never a bound method and never code.

    `kind` is `ask` (sums leave), `keep` (the result stays) or `support` (what a design rests on).
    """

    analysis: Any
    step: str
    args: tuple[Any, ...] = ()
    kind: str = "ask"
    group: str = ""

    def plain(self) -> dict[str, Any]:
        """As plain data for the wire and for comparison: settings by name, no class."""
        return {
            "analysis": name_of(self.analysis),
            "settings": _plain(self.analysis),
            "step": self.step,
            "args": _plain(self.args),
            "kind": self.kind,
            "group": self.group,
        }

    @cached_property
    def key(self) -> Hashable:
        """Equal for equal asks of one process; the arguments by value."""
        return (self.analysis, self.step, self.kind, self.group, _hashable(self.args))


Round = tuple[Ask, ...]
Answers = tuple[Any, ...]
Flow = Generator[Round, Answers, T]
Answer = Callable[[Round], Answers]


def ask(step: Callable[Concatenate[People, P], S], *args: P.args, **kwargs: P.kwargs) -> Flow[S]:
    """Ask every hospital for the sums of a step; gives the same NamedTuple with the totals."""
    (sums,) = yield (_asked(step, args, kwargs, "ask"),)
    return cast(S, sums)


def keep(step: Callable[Concatenate[People, P], object], *args: P.args, **kwargs: P.kwargs) -> Flow[None]:
    """Have every hospital run a step and keep its result: a worklist, a page, state for a later round."""
    yield (_asked(step, args, kwargs, "keep"),)


def support(step: Callable[Concatenate[People, P], Design], *args: P.args, **kwargs: P.kwargs) -> Flow[Verdict]:
    """What a design rests on, as a public verdict. Asked by itself before a first value; ask to see the grid."""
    (verdict,) = yield (_asked(step, args, kwargs, "support"),)
    return cast(Verdict, verdict)


def together(*flows: Flow[Any]) -> Flow[tuple[Any, ...]]:
    """Several flows that share their rounds: folds, penalties, control outcomes. Gives their results in order."""
    results: list[Any] = [None] * len(flows)
    waiting: dict[int, Round] = {}

    def advance(i: int, answers: Answers | None) -> None:
        try:
            waiting[i] = flows[i].send(cast(Answers, answers))
        except StopIteration as stop:
            results[i] = stop.value
            waiting.pop(i, None)

    for i in range(len(flows)):
        advance(i, None)
    while waiting:
        order = sorted(waiting)
        sizes = [len(waiting[i]) for i in order]
        answers = yield tuple(a for i in order for a in waiting[i])
        ends = np.cumsum([0, *sizes])
        for i, low, high in zip(order, ends[:-1], ends[1:], strict=True):
            advance(i, answers[low:high])
    return tuple(results)


def one_by_one(flows: Sequence[Flow[Any]]) -> Flow[list[Any]]:
    """The flows of a study after one another. A `UserError` is its flow's finding, and the others go on."""
    findings: list[Any] = []
    for flow in flows:
        try:
            findings.append((yield from flow))
        except UserError as error:
            findings.append(error)
    return findings


def within(group: str, flow: Flow[T]) -> Flow[T]:
    """A flow asked of a group of hospitals that the study fixed beforehand (three members at least)."""
    return _mapped(flow, lambda asks: tuple(dataclasses.replace(a, group=group) for a in asks))


def supported(flow: Flow[T]) -> Flow[T]:
    """A flow that asks the support of every design before its first value, and nothing twice.

    The same ask again is answered from memory: it would be the same sum, and spend the budget of numbers. Large
    sums of a disclosure class are beyond the budget, and not remembered.
    """
    known: dict[Hashable, Any] = {}
    large: set[Hashable] = set()
    designs: set[Hashable] = set()
    try:
        asks = next(flow)
        while True:
            first = {d.key: d for a in asks if (d := _design_of(a, designs)) is not None}
            for wanted in (tuple(first.values()), asks):
                new = {a.key: a for a in wanted if a.key not in known}
                if new:
                    for a, got in zip(new.values(), (yield tuple(new.values())), strict=True):
                        known[a.key] = got
                        large |= {a.key} if _large(got) else set()
                designs |= {(a.analysis, a.step, a.group) for a in wanted if a.kind == "support"}
            answers = tuple(known[a.key] for a in asks)
            for key in large:
                del known[key]
            large.clear()
            asks = flow.send(answers)
    except StopIteration as stop:
        return cast(T, stop.value)


def _large(answer: Any) -> bool:
    """Whether an answer is of a disclosure class beyond the budget of numbers: too large to be remembered."""
    return isinstance(answer, tuple) and any(isinstance(s, Sum) and s.needs and s.value.size > LARGE for s in answer)


def _design_of(a: Ask, designs: set[Hashable]) -> Ask | None:
    """The support ask that must go before an ask, or None if it has gone."""
    on = "" if a.kind == "support" else step_of(a).on
    if not on or (a.analysis, on, a.group) in designs:
        return None
    return Ask(a.analysis, on, (), "support", a.group)


def _mapped(flow: Flow[T], change: Callable[[Round], Round]) -> Flow[T]:
    try:
        asks = next(flow)
        while True:
            asks = flow.send((yield change(asks)))
    except StopIteration as stop:
        return cast(T, stop.value)


def _asked(step: Any, args: Any, kwargs: Mapping[str, Any], kind: str) -> Ask:
    if kwargs:
        raise StudyError(f"{step.__name__}: arguments of an ask go by position, found {sorted(kwargs)}")
    return Ask(step.__self__, step.__name__, tuple(args), kind)


# Steps and analyses -------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """What is public about a step: the design it works on, and how often it may be asked in a run."""

    on: str
    repeats: int
    counted: str = ""  # the attribute of the analysis that says how often, where its settings decide


def local(
    *, on: str = "", repeats: int | str = 1
) -> Callable[[Callable[Concatenate[Any, People, P], T]], Callable[Concatenate[Any, People, P], T]]:
    """Mark a method that runs inside the hospitals. `on` names the method that makes its design.

    `repeats` is how often it may be asked in a run, or the name of what says so of an analysis.
    """

    def mark(method: Callable[Concatenate[Any, People, P], T]) -> Callable[Concatenate[Any, People, P], T]:
        method.__dict__["step"] = Step(on, 0, repeats) if isinstance(repeats, str) else Step(on, repeats)
        return method

    return mark


def step_of(a: Ask) -> Step:
    """The mark of the step that an ask names; a method without a mark cannot be asked."""
    mark = getattr(getattr(type(a.analysis), a.step, None), "step", None)
    if not isinstance(mark, Step):
        raise ProtocolError(f"{name_of(a.analysis)} has no step {a.step!r}")
    return mark._replace(repeats=int(getattr(a.analysis, mark.counted))) if mark.counted else mark


def sums_of(a: Ask) -> type[Any]:
    """The NamedTuple that the step of an ask gives, as it is annotated."""
    return _given_by(getattr(type(a.analysis), a.step))


@cache
def _given_by(step: Callable[..., Any]) -> type[Any]:
    return cast(type[Any], get_type_hints(step)["return"])


class Analysis(Protocol):
    """One statistical method: a frozen dataclass with local steps and a flow."""

    def flow(self) -> Flow[Any]: ...


_names: dict[type, str] = {}


def register(name: str) -> Callable[[type[T]], type[T]]:
    """Name an analysis. Installed ones are found by the entry point group `confrere.analyses`."""

    def mark(cls: type[T]) -> type[T]:
        if not (dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]
            raise StudyError(f"analysis {name!r}: {cls.__name__} is not a frozen dataclass")
        _names[cls] = name
        return cls

    return mark


def name_of(analysis: object) -> str:
    """The registered name of an analysis."""
    try:
        return _names[type(analysis)]
    except KeyError:
        raise StudyError(f"{type(analysis).__name__} is not a registered analysis: add @register(name)") from None


def installed() -> list[str]:
    """Names of the analyses installed here, ours and others'; parts of analyses start with "_" and do not count."""
    names = {e.name for e in entry_points(group="confrere.analyses")} | set(_names.values())
    return sorted(n for n in names if not n.startswith("_"))


def find(name: str) -> type[Any]:
    """The analysis of a name, imported on demand."""
    for cls, known in _names.items():
        if known == name:
            return cls
    for e in entry_points(group="confrere.analyses"):
        if e.name == name:
            return cast(type[Any], e.load())
    raise StudyError(f"no analysis is called {name!r}; installed are {', '.join(installed())}")


# Inside a hospital --------------------------------------------------------------------------------------------


class People:
    """This hospital's people as one step sees them. Only this class makes a `Sum`."""

    def __init__(
        self, table: Any, design: Design | None = None, verdict: Verdict | None = None, key: bytes = b"",
        shared: bytes = b"",
    ) -> None:  # fmt: skip
        self.table = table
        self.kept: dict[str, Any] = {}
        self.group = ""  # of hospitals, that is asked
        self._key, self._shared = key, shared
        self._made: dict[Hashable, Any] = {}
        self._design = design
        self._verdict = verdict

    @property
    def design(self) -> Design:
        """The design that the step named in `@local(on=...)`, made once per run."""
        if self._design is None:
            raise ProtocolError("this step names no design: write @local(on=...)")
        return self._design

    def words(self, purpose: str, ids: Sequence[object], *, shared: bool = False) -> NDArray[np.uint64]:
        """A random word (n,) for each id, the same whenever it is asked: a hash under a key that stays here.

        `shared`: under a key that all hospitals of the run have and the coordinator lacks, so that who is in a fold or
        a sample does not depend on the hospital.
        """
        key = self._shared if shared else self._key
        keyed, made = hashlib.blake2b(digest_size=8, key=key, person=purpose.encode()), []
        for i in np.asarray(ids, dtype=object).tolist():
            whole = type(i) is not str and isinstance(i, float) and i.is_integer()
            one = keyed.copy()  # which costs less than to give it the key again
            one.update((str(int(i)) if whole else str(i)).encode())
            made.append(one.digest())
        return np.frombuffer(b"".join(made), dtype="<u8").astype(np.uint64)

    def drawn(self, purpose: str, column: str) -> NDArray[np.uint64]:
        """The shared `words` of all rows (N,) by a column of ids; made once in a run."""
        of = (purpose, column, self._shared)
        return self.once(of, lambda: self.words(purpose, self.table.frame[column], shared=True))

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What several designs of a run need of the same table, person by person: made once, then remembered."""
        if name not in self._made:
            self._made[name] = make()
        return cast(T, self._made[name])

    def with_column(self, name: str, values: Array) -> People:
        """The same people with one more column (N,), of whom nothing is remembered yet."""
        other = copy(self)
        other.table, other._made = dataclasses.replace(self.table, frame=self.table.frame.assign(**{name: values})), {}
        return other

    def count(self, where: Bools | None = None) -> Sum:
        """How many people."""
        n = self.design.n if where is None else int(where.sum())
        return Sum(np.array(float(n)), scale=0, known=True)

    def moments(self, x: Array, w: Array | None = None, y: Array | None = None) -> Sum:
        """x'Wx (p, p), or x'Wy (p,), in units of the columns; x (n, p), w and y (n,)."""
        wx = x if w is None else x * w[:, None]
        p = x.shape[1]
        if y is not None:
            return Sum(wx.T @ y, ("terms",), (p,), effective=effective(w))
        return Sum(wx.T @ x, ("terms", "terms"), (p, p), effective=effective(w), symmetric=True)

    def cells(self, name: str, values: Array | Iterable[Array] | None = None) -> Sum:
        """Sums over the cells of this name as the verdict merged them.

        Gives counts (groups, cells), or sums of `values` (n,), or of `values` (n, p): (groups, cells, p). The last may
        come a column (n,) at a time, each overwriting the one before.
        """
        cells, merge = self.design.cells[name], self.grid(name)
        groups, bound = cells.shape[0], cells.bound or cells.shape[1]
        width = int(merge.max(initial=-1)) + 1
        if values is None:
            counted = cells.counted(merge, width).reshape(groups, width)
            return Sum(counted, ("groups", "cells"), (groups, bound), needs=cells.needs, known=True)
        who, place = self.design.once(f"place in {name}", lambda: _in_some(cells.placed(merge, width)))

        def summed(column: Array) -> Array:
            return np.bincount(place, column[who], minlength=groups * width).astype(float, copy=False)

        if isinstance(values, np.ndarray) and values.ndim == 1:
            return Sum(summed(values).reshape(groups, width), ("groups", "cells"), (groups, bound), needs=cells.needs)
        columns = [summed(v) for v in (values.T if isinstance(values, np.ndarray) else values)]
        total = np.stack(columns, axis=1).reshape(groups, width, len(columns))
        return Sum(total, ("groups", "cells", "terms"), (groups, bound, len(columns)), needs=cells.needs)

    def grid(self, name: str) -> Ints:
        """(groups, ladder cells) -> merged cell, -1 where suppressed; as the hospitals agreed."""
        if self._verdict is None:
            raise ProtocolError(f"cells {name!r} have not been judged")
        return self._verdict.grids[name]

    def derived(self, value: Array, weights: Array | None = None, **kind: Any) -> Sum:
        """What a step computed from all its people at once, who entered with `weights` (n,).

        `kind` may give `dims`, `bounds`, `scale`, `symmetric`.
        """
        value = np.asarray(value, dtype=float)
        default = {"dims": tuple("terms" for _ in value.shape), "bounds": value.shape}
        return Sum(value, **(default | kind), effective=effective(weights))


def _in_some(place: Ints) -> tuple[Ints | slice, Ints]:
    """Of the cells of people (n,), -1 for none: who is in one, and in which."""
    if not place.size or place.min() >= 0:
        return slice(None), place
    who = np.flatnonzero(place >= 0)
    return who, place[who]


def effective(weights: Array | None) -> float:
    """(sum a)^2 / sum a^2, the number of equal people that these weights are worth; infinite for none."""
    if weights is None or not (square := float(weights @ weights)):
        return np.inf
    return float(np.abs(weights).sum()) ** 2 / square


class Site:
    """One hospital's records during a run: runs steps, remembers designs; knows nothing of thresholds.

    `key` (32 bytes at most) is what its people's random numbers come from, `shared` those that must not depend on the
    hospital; None until the keys of the run are made. `parts` names groups of hospitals whose people another group has
    too: how many of them are left out would follow from the two, and is not told.
    """

    def __init__(
        self, table: Any, key: bytes | None = None, shared: bytes | None = None, parts: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.table, self.parts = table, parts
        self.key, self.shared = key, shared
        self.kept: dict[tuple[str, str], Any] = {}
        self._own: dict[Hashable, dict[str, Any]] = {}  # what each analysis has kept, by group: two of a method are two
        self._made: dict[Hashable, Any] = {}  # of this table, by all designs
        self._designs: dict[Hashable, Design] = {}
        self._verdicts: dict[Hashable, Verdict] = {}

    def design(self, a: Ask, least: int = 0, member: bool = True) -> Design:
        """Make the design that a support ask names; of nobody if of fewer than `least` people, or not asked at all."""
        made = self._make(a, self.table)
        if made.crowded < least or not member:
            made = self._make(a, self.table.nobody())
        if a.group in self.parts:
            made = dataclasses.replace(made, left_out={})
        self._designs[a.analysis, a.step, a.group] = made
        return made

    def _make(self, a: Ask, table: Any) -> Design:
        people = People(table, key=self.key or b"", shared=self.shared or b"")
        if table is self.table:
            people._made = self._made
        return cast(Design, getattr(a.analysis, a.step)(people, *a.args))

    def people(self, a: Ask) -> int:
        """How many people of this hospital let it take part in the design that an ask works on."""
        design = self._designs.get((a.analysis, step_of(a).on, a.group))
        return 0 if design is None else design.crowded

    def settle(self, a: Ask, verdict: Verdict) -> None:
        """Remember what the hospitals agreed about a design."""
        self._verdicts[a.analysis, a.step, a.group] = verdict

    def run(self, a: Ask) -> Any:
        """Run the step of an ask: sums for `ask`, anything for `keep`, which is then kept here."""
        key = (a.analysis, step_of(a).on, a.group)
        keys = self.key or b"", self.shared or b""
        people = People(self.table, self._designs.get(key), self._verdicts.get(key), *keys)
        people.kept, people.group = dict(self._own.get((a.analysis, a.group), {})), a.group
        result = getattr(a.analysis, a.step)(people, *a.args)
        if a.kind == "keep":
            self.kept[name_of(a.analysis), a.step] = result
            self._own.setdefault((a.analysis, a.group), {})[a.step] = result
            return None
        return result


Settle = Callable[[Sequence[Design]], Verdict]


def clear(tables: Sequence[Any], settle: Settle) -> Answer:
    """Answer in this process and in the clear, for tests and notebooks. `settle` judges the support of a design."""
    sites = [Site(t) for t in tables]

    def one(a: Ask) -> Any:
        if a.kind == "support":
            verdict = settle([s.design(a) for s in sites])
            for s in sites:
                s.settle(a, verdict)
            return verdict
        parts = [s.run(a) for s in sites]
        return None if a.kind == "keep" else added(parts)

    return lambda asks: tuple(one(a) for a in asks)


def added(parts: Sequence[S]) -> S:
    """Add the hospitals' sums, field by field."""
    fields = (dataclasses.replace(f[0], value=np.sum([s.value for s in f], axis=0)) for f in zip(*parts, strict=True))
    return type(parts[0])(*fields)


# The drive ----------------------------------------------------------------------------------------------------

Progress = Callable[[int, Round], None]


def drive(
    flow: Flow[T],
    answer: Answer,
    *,
    deadline: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Progress = lambda number, asks: None,
) -> T:
    """Run a flow to its finding. `deadline` is in seconds from now; both it and `cancelled` end with `Waiting`."""
    end = None if deadline is None else time.monotonic() + deadline
    try:
        asks, number = next(flow), 1
        while True:
            if cancelled():
                raise Waiting(f"cancelled before round {number}; nothing more was asked")
            if end is not None and time.monotonic() > end:
                raise Waiting(f"the deadline of {deadline:g} s passed before round {number}; nothing more was asked")
            progress(number, asks)
            asks, number = flow.send(answer(asks)), number + 1
    except StopIteration as stop:
        return cast(T, stop.value)


# Plain data ---------------------------------------------------------------------------------------------------


_ONE = frozenset([float, str])  # types of which many may stand in a row, which are then taken at once
_LEAVES = frozenset([str, int, bool, float, bytes, type(None)])  # most values, looked at first


def _alike(values: Sequence[Any]) -> bool:
    """Whether values are all floats, or all texts."""
    types = set(map(type, values))
    return len(types) == 1 and types.pop() in _ONE


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, sequences as tuples; numbers, strings and arrays as they are."""
    if type(value) in _LEAVES:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: v if type(v) in _LEAVES else _plain(v) for name, v in own}
    if isinstance(value, (tuple, list)):
        return tuple(value) if _alike(value) else tuple(_plain(v) for v in value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def _hashable(value: Any) -> Hashable:
    if type(value) in _LEAVES:
        return cast(Hashable, value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, (tuple, list)):
        return tuple(value) if _alike(value) else tuple(_hashable(v) for v in value)
    if isinstance(value, Mapping):
        return tuple(sorted((k, _hashable(v)) for k, v in value.items()))
    return cast(Hashable, value)


def same(a: Any, b: Any, tolerance: float = 1e-7) -> bool:
    """Whether two plain values are alike, their floating numbers to a relative tolerance."""
    if type(a) in _LEAVES and type(a) is not float:
        return type(a) is type(b) and bool(a == b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all([_equal(v, b[k]) or same(v, b[k], tolerance) for k, v in a.items()])
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        if _alike((*a, *b)) and tuple(a) == tuple(b):  # mostly, and at once
            return True
        return len(a) == len(b) and all([_equal(x, y) or same(x, y, tolerance) for x, y in zip(a, b, strict=True)])
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return np.array_equal(a, b) or bool(np.all(_near(a, b, tolerance)))  # mostly, and at once
    if isinstance(a, float) and isinstance(b, float):
        return bool(_near(a, b, tolerance))
    return type(a) is type(b) and bool(a == b)


def _equal(a: Any, b: Any) -> bool:
    """Whether two values are the same leaf: mostly so, and at once."""
    return type(a) is type(b) and type(a) in _LEAVES and bool(a == b)


def _near(a: Any, b: Any, tolerance: float) -> Any:
    # a number on its way through zero has no relative size: 1e-12 of a standard deviation is nothing
    return (a == b) | (np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b)) + 1e-12)


def leaves(a: Ask, sums: Sums) -> Iterator[tuple[str, Sum]]:
    """The named arrays of an answer."""
    names = getattr(type(sums), "_fields", tuple(str(i) for i in range(len(sums))))
    return zip(names, sums, strict=True)


__all__ = [name for name in dir() if not name.startswith("_") and name not in {"annotations"}]
