"""What Table 1 makes of counts and sums: quantiles within cells, standardised differences, records. Pure.

Quantiles. Order statistics lie in cells of known counts; people of a cell are spread evenly over it. Where a cell is
open, it ends where the order statistic must lie by Cantelli's inequality: a share f of people lies no further out than
sqrt((1 - f) / f) standard deviations from the mean. So a quantile of R's type 7 is at most `resolution` away.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from confrere.analyses.distributions import norm_ppf
from confrere.analyses.finding import Citation, Finding, Record, attrition, count
from confrere.rounds import Array, Ints, Verdict

CITE = (
    Citation("Austin PC. Balance diagnostics for comparing the distribution of baseline covariates between treatment "
             "groups in propensity-score matched samples. Stat Med 2009;28:3083-3107", "10.1002/sim.3697"),
    Citation("Yang D, Dalton JE. A unified approach to measuring the effect size between two groups using SAS. "
             "SAS Global Forum 2012, paper 335", ""),
)  # fmt: skip
ROUNDING = 1e-9  # a distance from the mean, relative to the size of a variable, that is none
NAMES = {0.25: "q25", 0.5: "median", 0.75: "q75"}


class Group(NamedTuple):
    """A group: its people, and those among them of whom the variable is described."""

    label: str | None  # None for everybody together
    people: float
    known: float  # NaN where few


class Ladder(NamedTuple):
    """Public cells [low, high) of a variable by their inner edges; group g uses every `steps[g]`-th of them."""

    variable: int
    edges: tuple[float, ...]
    steps: tuple[int, ...]
    low: float | None  # declared ends of the plausible range
    high: float | None


class Fineness(NamedTuple):
    """How fine a ladder may be: people per cell on average, and cells at most."""

    people: int
    cells: int


class Histogram(NamedTuple):
    """People by merged cell: `grid` (ladder cells,) gives the merged cell, of which `counts` has the people."""

    ladder: Ladder
    grid: Ints
    counts: Array
    step: int

    @property
    def cuts(self) -> frozenset[int]:
        """Ladder cells before whose left edge the number of people is known: where merged cells meet, or nobody is."""
        empty = np.append(self.counts == 0, False)[self.grid]
        meet = np.flatnonzero((np.diff(self.grid) != 0) | empty[1:]) + 1
        return frozenset(int(c) for c in meet if (c - 1) % self.step == 0)

    def below(self, cut: int) -> float:
        """People in the ladder cells before one."""
        return float(self.counts[: self.grid[cut]].sum())


class Numbers(NamedTuple):
    """A numeric variable in a group: people, mean, sum of squares about the mean, histograms of its parts."""

    n: float
    mean: float
    centred: float
    cells: Histogram | None = None
    parts: tuple[Histogram, ...] = ()  # of everybody together: of the groups
    zeros: float | None = None  # people who are 0, if all are 0 or 1
    whole: bool = False  # whether all values are whole numbers

    @property
    def sd(self) -> float | None:
        """With n - 1; None for one person."""
        return float(np.sqrt(self.centred / (self.n - 1))) if self.n > 1 else None

    @property
    def spread(self) -> bool:
        """Whether a histogram could tell more."""
        return self.centred > 0 and self.zeros is None


class Levels(NamedTuple):
    """Levels in a group: people by level, NaN where suppressed."""

    names: tuple[str, ...]
    counts: tuple[float, ...]


class Variable(NamedTuple):
    """A variable by group; None where it is hidden in a group."""

    name: str
    groups: tuple[Group, ...]
    numbers: Sequence[Numbers | None] = ()
    levels: Sequence[Levels] = ()


# Public ladders -----------------------------------------------------------------------------------------------


def ladder(
    variable: int, rows: Sequence[Numbers | None], positive: bool, span: tuple[float, float] | None, fine: Fineness
) -> Ladder:
    """Cells of equal probability under a normal distribution with the pooled mean and SD.

    Under a log-normal one, with 0 for an edge, if hardly anybody is negative (`positive`) and the SD is over half the
    mean. The largest group uses all of them, a smaller one every second, third, ...
    """
    whole = together([r for r in rows if r is not None])
    sd = float(np.sqrt(whole.centred / whole.n))
    sizes = [0.0 if r is None else r.n for r in rows]
    cells = [int(np.clip(n // max(fine.people, 1), min(4, fine.cells), fine.cells)) for n in sizes]
    z = norm_ppf(np.arange(1, max(cells)) / max(cells))
    if positive and 0 < whole.mean < 2 * sd:
        variance = np.log1p((sd / whole.mean) ** 2)
        inner = np.exp(np.log(whole.mean) - variance / 2 + np.sqrt(variance) * z)
        inner = np.concatenate([[0.0], inner])
    else:
        inner = whole.mean + sd * z
    # round numbers: the same for any rounding of the moments, also where the mean of short decimals lies on a tie
    inner = np.unique(np.round(inner + 1e-9 * sd, 3 - int(np.floor(np.log10(sd)))))
    low, high = span or (None, None)
    if span is not None:
        inner = inner[(inner > span[0]) & (inner < span[1])]
    steps = tuple(int(np.ceil(max(cells) / c)) for c in cells)
    return Ladder(variable, tuple(inner.tolist()), steps, low, high)


def cell_of(x: Array, step: Ints, ladder: Ladder) -> Ints:
    """Cell of each value (n,), in steps of each person's group (n,).

    The first cell stays apart: it is what lies below 0, where there is such an edge.
    """
    cell = np.searchsorted(np.array(ladder.edges), x, side="right")
    return np.asarray(np.where(cell > 0, (cell - 1) // step * step + 1, 0), dtype=np.int64)


def two_valued(rows: Sequence[Numbers | None], second: float) -> list[Numbers | None]:
    """Marks a variable that is 0 or 1 throughout: x and x^2 (`second`) have the same sum, the variance is p(1 - p)."""
    shown = [r for r in rows if r is not None]
    first = sum(r.n * r.mean for r in shown)
    alike = abs(first - second) <= 1e-9 * max(1.0, abs(first))
    binary = alike and all(abs(r.centred - r.n * r.mean * (1 - r.mean)) <= 1e-9 * max(1.0, r.n) for r in shown)
    if not binary:
        return list(rows)
    return [None if r is None else r._replace(zeros=float(round(r.n * (1 - r.mean)))) for r in rows]


def whole_numbered(rows: Sequence[Numbers | None], first: Array, second: float) -> list[Numbers | None]:
    """Marks a variable of whole numbers: its sums by group (groups,) and of squares are whole, as they hardly are else.

    Of values in tenths one in a thousand columns passes by chance; what is said of it stays within its cells.
    """
    sums = np.append(first, second)
    whole = bool((np.abs(sums) < 2**50).all() and (np.abs(sums - np.round(sums)) < 1e-7).all())
    return [r if r is None else r._replace(whole=whole) for r in rows]


# Summaries ----------------------------------------------------------------------------------------------------


def together(rows: Sequence[Numbers]) -> Numbers:
    """Everybody's summary from those of groups."""
    n = sum(r.n for r in rows)
    mean = sum(r.n * r.mean for r in rows) / n if n else 0.0
    apart = [r.mean - mean if abs(r.mean - mean) > ROUNDING * abs(mean) else 0.0 for r in rows]
    centred = sum(r.centred + r.n * d**2 for r, d in zip(rows, apart, strict=True))
    zeros = [r.zeros for r in rows if r.zeros is not None]
    parts = tuple(r.cells for r in rows if r.cells is not None)
    parts = parts if len(parts) == len(rows) else ()
    return Numbers(
        n, mean, centred, parts=parts, zeros=sum(zeros) if len(zeros) == len(rows) else None,
        whole=bool(rows) and all(r.whole for r in rows),
    )  # fmt: skip


def cells_of(parts: Sequence[Histogram]) -> tuple[Array, Array]:
    """Counts (c,) and edges (c + 1,) of the cells that all parts have in common; open ends are infinite."""
    lad = parts[0].ladder
    cuts = sorted(frozenset.intersection(*(p.cuts for p in parts)))
    below = [0.0, *(sum(p.below(c) for p in parts) for c in cuts), sum(float(p.counts.sum()) for p in parts)]
    low = -np.inf if lad.low is None else lad.low
    high = np.inf if lad.high is None else lad.high
    return np.diff(below), np.array([low, *(lad.edges[c - 1] for c in cuts), high])


def quantile(row: Numbers, p: float) -> tuple[float, float] | None:
    """A quantile of type 7 and how far off it may be; None without cells."""
    place = (row.n - 1) * p
    first, last = int(np.floor(place)), int(np.ceil(place))
    if row.zeros is not None:
        low, high = float(first >= row.zeros), float(last >= row.zeros)
        return low + (place - first) * (high - low), 0.0
    if row.centred <= 0:
        return row.mean, 0.0
    parts = row.parts or ((row.cells,) if row.cells else ())
    if not parts:
        return None
    counts, edges = cells_of(parts)
    edges = np.clip(edges, *_reach(row, first, last))
    ends = np.cumsum(counts)
    a, b = (int(np.searchsorted(ends, i, side="right")) for i in (first, last))

    def at(i: int, cell: int) -> float:
        share = (i - (ends[cell] - counts[cell]) + 0.5) / counts[cell]
        return float(edges[cell] + share * (edges[cell + 1] - edges[cell]))

    low, high = at(first, a), at(last, b)
    if not row.whole:
        return low + (place - first) * (high - low), float(edges[b + 1] - edges[a])
    most = [_whole(edges[c], edges[c + 1], parts[0].ladder) for c in (a, b)]
    low, high = (float(np.clip(np.round(x), *e)) for x, e in zip((low, high), most, strict=True))
    found = low + (place - first) * (high - low)
    return (float(np.clip(np.round(found), *most[0])) if a == b else found), most[1][1] - most[0][0]


def _whole(low: float, high: float, ladder: Ladder) -> tuple[float, float]:
    """The least and the largest whole number of a cell: [low, high), closed where no edge of the ladder ends it.

    A cell of which rounding leaves none has the number nearest to it.
    """
    first = np.ceil(low - ROUNDING)
    last = np.ceil(high) - 1 if high in ladder.edges else np.floor(high + ROUNDING)
    return (float(first), float(last)) if last >= first else (float(np.round(low)),) * 2


def _reach(row: Numbers, first: int, last: int) -> tuple[float, float]:
    """Where the order statistics `first` and `last` (from 0) must lie, by Cantelli's inequality."""
    sd = np.sqrt(row.centred / row.n)
    below, above = (first + 1) / row.n, (row.n - last) / row.n
    return row.mean - sd * np.sqrt((1 - below) / below), row.mean + sd * np.sqrt((1 - above) / above)


# Differences between groups -----------------------------------------------------------------------------------


def smd_numbers(a: Numbers, b: Numbers) -> float | None:
    """(mean of b - mean of a) / sqrt((s_a^2 + s_b^2) / 2); None where nobody differs."""
    if a.sd is None or b.sd is None or a.sd == b.sd == 0:
        return None
    return float((b.mean - a.mean) / np.sqrt((a.sd**2 + b.sd**2) / 2))


def smd_levels(a: Levels, b: Levels) -> float | None:
    """Mahalanobis distance of the shares, without sign, the first level left out; None where it does not exist."""
    counts = np.array([a.counts, b.counts])
    if np.isnan(counts).any() or not counts.sum(axis=1).all():
        return None
    p, q = (counts / counts.sum(axis=1, keepdims=True))[:, counts.sum(axis=0) > 0][:, 1:]
    spread = (np.diag(p) - np.outer(p, p) + np.diag(q) - np.outer(q, q)) / 2
    if np.linalg.matrix_rank(spread) < len(p):
        return 0.0 if np.array_equal(p, q) else None
    return float(np.sqrt((q - p) @ np.linalg.solve(spread, q - p)))


def differences(v: Variable) -> list[Record]:
    """A record for every pair of groups."""
    records: list[Record] = []
    for i, j in itertools.combinations(range(len(v.groups)), 2):
        smd = None
        if v.numbers:
            a, b = v.numbers[i], v.numbers[j]
            smd = smd_numbers(a, b) if a and b else None
        else:
            smd = smd_levels(v.levels[i], v.levels[j])
        records.append({"variable": v.name, "group_1": v.groups[i].label, "group_2": v.groups[j].label, "smd": smd})
    return records


# Records ------------------------------------------------------------------------------------------------------


def finding(
    variables: Sequence[Variable], quantiles: Sequence[float], verdict: Verdict, grouped: bool, notes: tuple[str, ...]
) -> Finding:
    """The tables."""
    table1: list[Record] = []
    pairs: list[Record] = []
    for v in variables:
        of = differences(v)
        whole = everybody(v) if grouped else v
        records = (records_of(v, quantiles, verdict.k) if grouped else []) + (
            records_of(whole, quantiles, verdict.k) if whole else []
        )
        if grouped:
            records[0]["smd"] = summary(of)
        table1 += records
        pairs += of
    tables = {"table1": table1} | ({"smd": pairs} if len(variables[0].groups) > 2 else {})
    return Finding(
        method="describe", n=verdict.n, hospitals=verdict.hospitals, tables=tables | {"attrition": attrition(verdict)},
        facts={"std_dev": "with n - 1", "quantiles": "type 7, interpolated within cells", "k": verdict.k},
        notes=(RESOLUTION, *notes), cite=CITE,
    )  # fmt: skip


RESOLUTION = (
    "Quantiles are interpolated in cells that hold nobody or at least k people; the exact ones are at most as far away "
    "as the column resolution of the CSV file says."
)


def summary(pairs: Sequence[Record]) -> float | None:
    """One difference for a variable: of two groups with its sign, of more the mean of the absolute ones."""
    found = [r["smd"] for r in pairs]
    if None in found or not found:
        return None
    return float(found[0] if len(found) == 1 else np.mean(np.abs(found)))


def everybody(v: Variable) -> Variable | None:
    """All groups together, from the sums of the groups; None if anything of it is hidden."""
    group = Group(None, sum(g.people for g in v.groups), sum(g.known for g in v.groups))
    if np.isnan(group.known):
        return None
    if v.numbers:
        rows = [r for r, g in zip(v.numbers, v.groups, strict=True) if g.known]
        shown = [r for r in rows if r is not None]
        return Variable(v.name, (group,), numbers=[together(shown)]) if len(shown) == len(rows) else None
    counts = np.sum([t.counts for t in v.levels], axis=0)
    if np.isnan(counts).any():
        return None
    return Variable(v.name, (group,), levels=[Levels(v.levels[0].names, tuple(counts.tolist()))])


def records_of(v: Variable, quantiles: Sequence[float], k: int) -> list[Record]:
    """Records of a variable, group after group."""
    records: list[Record] = []
    for i, g in enumerate(v.groups):
        if v.levels:
            records += level_records(v.name, g, v.levels[i], k)
        else:
            records.append(number_record(v.name, g, v.numbers[i], quantiles, k))
    return records


def number_record(name: str, g: Group, row: Numbers | None, quantiles: Sequence[float], k: int) -> Record:
    """Mean, SD and quantiles; null where nobody is known, or too few to say."""
    record: Record = {"variable": name, "level": None, "group": g.label}
    record |= counted("n", g.known, k) | counted("missing", g.people - g.known, k)
    found = {q: quantile(row, q) if row and row.n else None for q in quantiles}
    if row and row.n and row.zeros is not None:
        record["percent"] = 100 * float(row.mean)  # who are 1
    record["mean"] = float(row.mean) if row and row.n else None
    record["std_dev"] = row.sd if row else None
    record |= {NAMES.get(q, f"q{100 * q:g}"): at[0] if at else None for q, at in found.items()}
    record["resolution"] = max((at[1] for at in found.values() if at), default=None)
    record["smd"] = None
    return record if row is not None or not g.known else record | {"suppressed": True}


def level_records(name: str, g: Group, levels: Levels, k: int) -> list[Record]:
    """People of each level, and their share of those known."""
    records = []
    for level, n in zip(levels.names, levels.counts, strict=True):
        record: Record = {"variable": name, "level": level, "group": g.label}
        record |= counted("n", n, k) | counted("missing", g.people - g.known, k)
        shown = record["n"] is not None and g.known > 0
        records.append(record | {"percent": 100 * n / g.known if shown else None, "smd": None})
    return records


def counted(name: str, value: float, k: int) -> Record:
    """A count as a field of a record; null with `suppressed` where it is hidden."""
    return {name: None, "suppressed": True} if np.isnan(value) else count(name, value, k)
