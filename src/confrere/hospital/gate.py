"""The gate: the one place that decides which numbers may leave (DESIGN 4, rules 3 to 6).

Two moments. Before the first value of a design, `judge` looks at what the design rests on over the whole network
(totals that the hospitals see and the coordinator does not) and gives a `Verdict` or a `Violation`. Before every
answer, `Gate.admit` looks at the sums themselves: shape, effective number, repeats, budget, disclosure class.

No analysis knows a threshold. The rules and their origin:

- cells, levels, both sides of an indicator, events and non-events: 0 or at least k people (k = 11, the rule for
  published cells of French health data);
- pairs of columns: 0 or at least 5; effective number (sum a)^2/sum a^2 at least 11, and 5 in each hospital;
- at least three hospitals that take part, and on either side of a mark; or members that let their own sums leave;
- under a study by which weights of a network may leave a hospital has 4 k people in every analysis, or nobody;
- times at the finest by 30 days, and all distinct numbers at most a quarter of people x columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from confrere.errors import ConfrereError, RangeError
from confrere.hospital.atoms import across
from confrere.hospital.classes import CLASSES, enough
from confrere.hospital.margins import hide, near, on_sets, spread, suppress, there
from confrere.hospital.merging import edges, numbered
from confrere.hospital.moves import carried, joined, told
from confrere.hospital.rare import CONSENT, reasons, sides
from confrere.rounds import Array, Ask, Bools, Cells, Design, Ints, Sum, Sums, Verdict, leaves, name_of, step_of
from confrere.study.counted import counted

BLOCK = 4096  # people at a time, whose marks fit a processor's cache
SILENT = ("combine", "moved", "near", "cut")  # rules of which the verdict tells no count
SAMPLE, FEW_VALUES = 10_000, 12  # a column of more different values is a measurement, not a score
UNSENT = (  # of a number that is too large, too small or not finite
    "nothing was sent. Rescale columns of very large or very small values, features and outcome; where a network "
    "diverges, set a smaller learning_rate"
)


class Violation(ConfrereError):
    """Why the gate said no. It stays with the steward; what leaves is `Refused`."""


@dataclass(frozen=True)
class Policy:
    """What a hospital asks of every study. The defaults are the strictest the field uses."""

    k: int = 11  # people per cell, network-wide
    pairs: int = 5  # people per pair of columns
    effective: float = 11.0  # effective number, network-wide
    effective_here: float = 5.0  # effective number in this hospital
    hospitals: int = 3  # that take part
    days: float = 30.0  # finest step of a ladder of times
    share: float = 0.25  # distinct numbers per people x columns
    parameters: float = 1 / 3  # columns of a design per person, network-wide
    own: bool = False  # the stricter scope: cells of this hospital alone rest on 0 or at least k people too
    alone: bool = False  # this member lets sums over its own people leave, though few others or none add to them
    allow: frozenset[str] = field(default_factory=frozenset)  # disclosure classes approved for this study

    @property
    def least(self) -> int:
        """People per cell; none where the steward has said that fewer may leave."""
        return 0 if "small_cells" in self.allow else self.k

    @property
    def enough(self) -> int:
        """People with whom a hospital takes part; with fewer it takes part with nobody, and nobody learns of it."""
        return enough(self.k, self.allow)

    def few(self, count: Array | float) -> Bools:
        """Where a count is of 1 to k-1 people, and the steward has not said that such may leave."""
        return (np.asarray(count) > 0) & (np.asarray(count) < self.least)


# What a design rests on, in one hospital ----------------------------------------------------------------------


class Support(NamedTuple):
    """Counts of one design; hospitals add them, blinded from the coordinator. Shapes are public."""

    here: Array  # (4,) people; 1 if it takes part, its own cells are too small for its own rule, it is not `alone`
    columns: Array  # (4 + 4, p) people: not 0; neither 0 nor 1; off the median here; of rarer values here. `behind`
    flags: Array  # (1 + 4, q) people with the mark; `behind`
    pairs: Array  # (p + q, p + q) people with both
    sizes: Array  # (2, p + q + 1) sums of |a| and of a^2: columns off their median, marks, the case weights
    cells: Array  # (all cells,) people per cell, the partitions one after the other
    carried: Array  # (3, cells with weights) sums of a and of a^2; hospitals in which a few people carry the cell
    left_out: Array  # (reasons,) people
    spread: Array  # (cells of the rule `spread`,) hospitals with people there whose own sums may not leave


def support_of(design: Design, policy: Policy | None = None) -> Support:
    """What a design rests on in this hospital; with its `policy`, also whether it objects or a few carry a cell."""
    x, n = design.x.reshape(design.n, len(design.names)), design.n
    flags = [np.asarray(design.flags[f], dtype=bool) for f in sorted(design.flags)]
    columns = [_column(np.ascontiguousarray(column), design.weights) for column in x.T]
    marked = [_sizes(mark.astype(float), design.weights) for mark in flags]
    alone = policy is not None and policy.alone
    some = n > 0 and (policy is None or design.crowd is None or not policy.few(n))
    counts = [c.people for _, c in ordered(design)]
    about = np.array([about for about, _ in columns]).reshape(-1, 4).T
    marks = np.array([float(np.count_nonzero(mark)) for mark in flags])
    behind = [
        np.array([_behind(n, present, alone) for present in counted]).reshape(-1, 4).T for counted in (about[0], marks)
    ]
    objects = policy is not None and policy.own and _objects(design, about, marks, counts, policy)
    return Support(
        np.array([n, float(some), float(objects), float(some and not alone)]),
        np.vstack([about, behind[0]]),
        np.vstack([marks, behind[1]]),
        _meetings(x, flags),
        np.array([*(size for _, size in columns), *marked, _sizes(np.ones(n), design.weights)]).T,
        np.concatenate([*counts, []]).astype(float),
        carried((c for _, c in ordered(design)), 0.0 if policy is None else policy.effective_here),
        np.array([float(design.left_out[r]) for r in sorted(design.left_out)]),
        there((c for _, c in ordered(design)), alone),
    )


def _objects(design: Design, columns: Array, marks: Array, counts: Sequence[Ints], policy: Policy) -> bool:
    """Whether a cell of this hospital alone rests on 1 to k-1 people. Cells that merge are looked at whole."""
    n = design.n
    halves = [sides(n, *column[:4]) for column in columns.T] + [(mark, n - mark) for mark in marks]
    cells = [
        joined(c, count) if c.rule in ("merge", "align", "fine", "moved", "known", "cut", "beside") else count
        for (_, c), count in zip(ordered(design), counts, strict=True)
        if c.rule not in ("require", "combine", "near")  # whom analyses differ by is a matter of the network
    ]
    return bool(policy.few(n)) or any(policy.few(np.asarray(part)).any() for part in (*halves, *cells))


def _behind(n: int, present: float, alone: bool) -> tuple[float, ...]:
    """Whether this hospital has people with, and without, a mark; and the same if its sums may not leave alone."""
    some = float(present > 0), float(present < n)
    return (*some, *(0.0 if alone else side for side in some))


def _column(column: Array, weights: Array | None) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Of one column (n,): its part of `Support.columns`, and of `sizes`."""
    present, off = np.count_nonzero(column != 0), column - _median(column)  # of booleans it counts many at once
    about = (present, present - np.count_nonzero(column == 1), np.count_nonzero(off != 0), _rarer(column))
    return tuple(float(v) for v in about), _sizes(off, weights) if column.size else (0.0, 0.0)


def _sizes(values: Array, weights: Array | None) -> tuple[float, float]:
    """Sums of |a| and of a^2 of values (n,) times the case weights."""
    weighed = values if weights is None else values * weights
    return float(np.abs(weighed).sum()), float(weighed @ weighed)


def _median(column: Array) -> float:
    """As `np.median`, which looks for missing values too, at several times the cost; 0 of nobody."""
    half = column.size // 2
    if not column.size:
        return 0.0
    parted = np.partition(column, half)
    return float(parted[half] if column.size % 2 else np.mean([parted[:half].max(), parted[half]]))


def _meetings(x: Array, flags: Sequence[Bools]) -> Array:
    """People who have both of every two columns of x (n, p) and marks: (p + q, p + q), in blocks of people."""
    n, columns = len(x), [*x.T, *flags]
    have = np.array([float(np.count_nonzero(column != 0)) for column in columns])
    total: Array = np.minimum.outer(have, have)  # right where everybody has one of the two, or nobody
    some = np.flatnonzero((have > 0) & (have < n))
    block = np.empty((min(n, BLOCK), some.size), dtype=np.float32, order="F")  # exact up to 2^24 people
    total[np.ix_(some, some)] = 0
    for low in range(0, n if some.size else 0, BLOCK):
        marks = block[: min(BLOCK, n - low)]
        for at, j in enumerate(some):
            np.not_equal(columns[j][low : low + BLOCK], 0, out=marks[:, at])
        total[np.ix_(some, some)] += marks.T @ marks
    return total


def _rarer(column: Array) -> int:
    """People whose value is not one of the two commonest here; all of them where values are many."""
    for sample in (SAMPLE // 50, SAMPLE):  # mostly the first few tell
        if column.size > SAMPLE and np.unique(column[:sample]).size > FEW_VALUES:
            return column.size
    counts = np.sort(np.unique(column, return_counts=True)[1])
    return int(column.size if counts.size > FEW_VALUES else counts[:-2].sum())


def ordered(design: Design) -> Iterator[tuple[str, Cells]]:
    """The partitions of a design in their order on the wire."""
    return ((name, design.cells[name]) for name in sorted(design.cells))


def spent_on(design: Design, support: Support) -> int:
    """Distinct numbers in a support: one per column, pair and cell, but for cells that a steward's word frees.

    Of patterns of cuts and of moves nothing is told to anybody.
    """
    p = len(support.pairs)
    cells = sum(int(np.prod(c.shape)) for _, c in ordered(design) if not c.needs and c.rule not in SILENT)
    return p * (p + 1) // 2 + cells + int(support.left_out.size) + 1


# The verdict over the network ---------------------------------------------------------------------------------


def judge(design: Design, total: Support, policy: Policy) -> Verdict:
    """The rules of support on the network's totals: a verdict, the same at every hospital, or a `Violation`."""
    n, hospitals, bound = int(total.here[0]), int(total.here[1]), int(total.here[3])
    if (policy.hospitals and not hospitals) or 0 < bound < policy.hospitals:
        least, trains = f"{policy.k if design.crowd is not None else policy.enough} people for this", ""
        if design.crowd is not None and policy.enough > policy.k:  # who trains is counted apart: `support_of`
            trains = f", and {policy.enough} to train on"
        raise Violation(
            f"{counted(bound, 'hospital has', 'hospitals have')} at least {least}{trains}; a sum needs "
            f"{policy.hospitals}. Invite more hospitals, or ask about more people{f'. {CONSENT}' if hospitals else ''}"
        )
    if policy.few(n):
        raise Violation(f"the design rests on fewer than {policy.k} people")
    if total.here[2]:
        raise Violation(
            f"a hospital of the network asks that its own cells rest on {policy.k} people too, and one does not. "
            f"Merge levels, or ask about more people"
        )
    if len(design.names) > policy.parameters * n > 0:
        raise Violation(
            f"{len(design.names)} columns for {n} people; a hospital allows {policy.parameters:.2g} per person. "
            f"Ask for fewer terms"
        )
    if found := list(reasons(design, total, policy)):
        raise Violation(". ".join(found))
    tables = _tables(design, total.cells)
    grids = _grids(design, tables, policy, total.carried)
    grids |= spread({f: tables[f] for f, c in ordered(design) if c.rule == "spread"}, total.spread, policy)
    n -= sum(int(tables[name][grids[name] < 0].sum()) for name, c in ordered(design) if c.rule == "drop")
    # one reason alone would follow from the others where the people of all are told elsewhere
    told = suppress("left out", total.left_out[None], policy)[0] >= 0
    counts = {
        reason: int(count) if shown else None
        for reason, count, shown in zip(sorted(design.left_out), total.left_out, told, strict=True)
    }
    left = tuple((reason, counts[reason]) for reason in design.left_out)
    if any(c.rule in ("require", "combine") for _, c in ordered(design)):
        n = 0  # not yet the people of any answer: some may be left out
    return Verdict(n, hospitals, grids, left, int(policy.share * n * max(1, len(design.columns))), policy.least)


def judge_clear(designs: Sequence[Design], policy: Policy) -> Verdict:
    """Judge designs whose supports are added in the clear: one process, tests, dummy people."""
    parts = [support_of(d, policy) for d in designs]
    total = Support(*(np.sum([p[i] for p in parts], axis=0) for i in range(len(Support._fields))))
    return judge(designs[0], total, policy)


# Cells --------------------------------------------------------------------------------------------------------


def _tables(design: Design, counts: Array) -> dict[str, Array]:
    """The counts of each partition, (groups, cells)."""
    sizes = [int(np.prod(cells.shape)) for _, cells in ordered(design)]
    parts = np.split(counts, np.cumsum(sizes)[:-1]) if sizes else []
    return {name: part.reshape(cells.shape) for (name, cells), part in zip(ordered(design), parts, strict=True)}


def _grids(design: Design, tables: Mapping[str, Array], policy: Policy, weighed: Array) -> dict[str, Ints]:
    """For every partition: which merged cell each ladder cell goes to, -1 where suppressed."""
    grids: dict[str, Ints] = {}
    for name, cells in ordered(design):
        _allowed(name, cells, policy)
        if name in grids:
            continue
        if cells.rule in ("merge", "align"):
            family = {f: tables[f] for f, c in ordered(design) if (c.rule, c.family) == (cells.rule, cells.family)}
            grids |= merged(family, cells.marks, policy, aligned=cells.rule == "align")
        elif cells.rule == "combine":
            grids[name] = _combine(cells, tables[name], policy)
        elif cells.sets or cells.rule == "cut":
            grids[name] = on_sets(cells, tables[name], policy)
        elif cells.rule == "moved":
            places = {f: c for f, c in ordered(design) if c.rule == "moved"}
            effective = 0.0 if "small_cells" in policy.allow else policy.effective
            grids |= told(places, tables, policy.least, weighed, effective)
        elif cells.rule != "spread":
            grids[name] = _RULES[cells.rule](name, tables[name], policy)
    return grids


def _allowed(name: str, cells: Cells, policy: Policy) -> None:
    if cells.needs and cells.needs not in policy.allow:
        raise Violation(f"cells {name!r} need the disclosure class {cells.needs!r}: {CLASSES[cells.needs]}")
    if cells.days < policy.days * (1 - 1e-9) and "fine_times" not in policy.allow:
        raise Violation(f"cells {name!r} are finer than {policy.days:g} days and need the class 'fine_times'")
    if cells.rule == "fine" and not cells.needs:
        raise Violation(f"cells {name!r} ask for no support and name no disclosure class")


def _fine(name: str, table: Array, policy: Policy) -> Ints:
    return np.tile(np.arange(table.shape[1]), (table.shape[0], 1))


def _refuse(name: str, table: Array, policy: Policy) -> Ints:
    if policy.few(table).any():
        raise Violation(
            f"cells {name!r}: some rest on fewer than {policy.k} people. Merge levels or ask about more people"
        )
    return _fine(name, table, policy)


def _enough(name: str, table: Array, policy: Policy) -> Ints:
    """Which cells hold enough people; an empty one looks like one of few. `drop` leaves their people out."""
    return np.where(policy.few(table) | (table == 0), -1, _fine(name, table, policy))


def _require(name: str, table: Array, policy: Policy) -> Ints:
    """(groups, 2) people present and missing: 1 in every cell if any group misses 1 to k-1, else 0."""
    return np.full(table.shape, int(policy.few(table[:, 1]).any()), dtype=np.int64)


def _combine(cells: Cells, table: Array, policy: Policy) -> Ints:
    """Refuse where sets of several analyses, added and subtracted, leave few people. Nothing is told otherwise."""
    few = np.asarray(policy.few(table[0]))
    if across(cells.sets, (table[0] > 0) & ~few, few):
        raise Violation(
            f"comparisons or criteria of several analyses tell fewer than {policy.k} people apart. Take the same values"
        )
    return np.zeros(table.shape, dtype=np.int64)


_RULES = {"fine": _fine, "refuse": _refuse, "suppress": suppress, "drop": _enough, "show": _enough,
          "require": _require, "hide": hide, "near": near}  # fmt: skip


def merged(tables: Mapping[str, Array], marks: Sequence[int], policy: Policy, *, aligned: bool) -> dict[str, Ints]:
    """Merge neighbouring cells of several (groups, cells) tables until each holds 0 or at least k people.

    Each group of each table by itself, or all of them `aligned` on one grid. A group with 1 to k-1 people in one of
    the tables is suppressed in all of them: its number in one would follow from the others.
    """
    stack = np.stack(list(tables.values()))  # (tables, groups, cells)
    small = np.asarray(policy.few(stack.sum(axis=2)).any(axis=0))
    if small.all():
        few = ", ".join(repr(name) for name, table in tables.items() if policy.few(table.sum(axis=1)).any())
        raise Violation(f"every group has fewer than {policy.k} people with, or without, an event (cells {few})")
    size = stack.shape[2]
    common = numbered(edges(stack[:, ~small].reshape(-1, size), marks, policy.least), size) if aligned else None

    def grid(row: Array) -> Ints:
        return numbered(edges(row[None], marks, policy.least), size) if common is None else common

    return {
        name: np.array([np.full(size, -1) if few else grid(row) for row, few in zip(table, small, strict=True)])
        for name, table in tables.items()
    }


class Manifest(Protocol):
    """What a steward approved, as the gate asks it."""

    def may(self, method: str, step: str, name: str, s: Sum | None = None) -> bool:
        """Whether an array may leave: of this name, shape and names of dimensions. Without one, a support."""
        ...


# Every answer -------------------------------------------------------------------------------------------------


class Gate:
    """One hospital's gate during one run: remembers what was asked how often, and how many numbers left."""

    def __init__(self, policy: Policy, columns: int, listed: Manifest | None = None) -> None:
        """`listed` is the manifest that a steward approved: nothing that it does not list is answered."""
        self.policy = policy
        self.columns = columns
        self._listed = listed
        self.people = 0
        self._spent: Counter[int] = Counter()  # distinct numbers by how many people they are about
        self._about: dict[tuple[object, str, str], int] = {}
        self._asked: Counter[tuple[object, str, str]] = Counter()

    def settle(self, a: Ask, design: Design, total: Support) -> Verdict:
        """Judge a design on the network's totals, and open it for values if it stands."""
        if self._listed is not None and not self._listed.may(name_of(a.analysis), a.step, "support"):
            raise Violation(f"{name_of(a.analysis)}.{a.step} is not in the manifest that the steward approved")
        verdict = judge(design, total, self.policy)
        people = self._about[a.analysis, a.step, a.group] = int(total.here[0])
        self.people = max(self.people, people)
        self._spend(spent_on(design, total), people)
        return verdict

    def admit(self, a: Ask, sums: Sums, people: int) -> None:
        """Let the sums of an answer pass, or raise `Violation`. `people` is how many the design has here."""
        step = step_of(a)
        if (a.analysis, step.on, a.group) not in self._about:
            raise Violation(f"{a.step} asks for sums of a design that was not judged")
        self._asked[a.analysis, a.step, a.group] += 1
        if self._asked[a.analysis, a.step, a.group] > step.repeats:
            raise Violation(f"{name_of(a.analysis)}.{a.step} was asked more than {step.repeats} times")
        for name, s in leaves(a, sums):
            if self._listed is not None and not self._listed.may(name_of(a.analysis), a.step, name, s):
                raise Violation(
                    f"{name_of(a.analysis)}.{a.step}.{name} is not in the manifest that the steward approved"
                )
            self._one(f"{name_of(a.analysis)}.{a.step}.{name}", s, people)
            new = 0 if s.needs or s.known else s.numbers().size
            self._spend(new, self._about[a.analysis, step.on, a.group])

    def _one(self, name: str, s: Sum, people: int) -> None:
        if not np.isfinite(s.value).all():
            raise RangeError(f"{name} is not finite; {UNSENT}")
        if len(s.bounds) != s.value.ndim or any(n > b for n, b in zip(s.value.shape, s.bounds, strict=True)):
            raise Violation(f"{name} has shape {s.value.shape}, the manifest allows {s.bounds}")
        if people and s.effective < self.policy.effective_here and s.value.any():
            raise Violation(f"{name} has an effective number of {s.effective:.1f} here: a few people carry it")
        if s.needs and s.needs not in self.policy.allow:
            raise Violation(f"{name} needs the disclosure class {s.needs!r}: {CLASSES[s.needs]}")
        if 0 < people < self.policy.enough:
            raise Violation(f"{name} rests on fewer than {self.policy.enough} people here")

    def about(self, a: Ask) -> int:
        """How many people of the network an answer is about; 0 before its design was judged."""
        on = a.step if a.kind == "support" else step_of(a).on
        return self._about.get((a.analysis, on, a.group), 0)

    @property
    def spent(self) -> int:
        """Distinct numbers answered in this run."""
        return self._spent.total()

    def _spend(self, numbers: int, people: int) -> None:
        """Count numbers about so many people; all that is about as many or fewer stays within their budget."""
        self._spent[people] += numbers
        for most in sorted(n for n in self._spent if n >= people):
            spent = sum(count for n, count in self._spent.items() if n <= most)
            budget = int(self.policy.share * most * self.columns)
            if spent > budget:
                raise Violation(
                    f"the run would have answered {spent} distinct numbers about {most} people and {self.columns} "
                    f"columns; the budget is {budget}. Ask for fewer terms, groups or cells, or about more people"
                )
