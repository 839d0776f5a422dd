"""Treatment pathways: what people of a cohort were treated with first, second, third.

Everybody of the target has one path (`lines_of_treatment`). The hospitals count it line by line: how many begin with
each treatment; of those who do, how many go on with which; and so on. The people of one path make one partition, in
which what few people do is hidden, and with it what would give them away by subtraction: it is folded into *other* of
the path that it goes on from. So the paths told and the others together are a partition of the target's people, none
of whose parts rests on 1 to k-1 of them.

Hripcsak G, Ryan PB, Duke JD, et al. Characterizing treatment pathways at scale using the OHDSI network. Proc Natl Acad
Sci USA 2016;113:7329.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.at_risk import followed, stays
from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.analyses.lines_of_treatment import labels, lines
from confrere.errors import StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support
from confrere.study.circe import Definition
from confrere.study.ground import Ground, complete
from confrere.study.rows import TableRows

MOST, LONGEST = 8, 5  # treatments; lines
FOLLOWED = 20  # paths, the commonest, of which the next line is asked
OTHER, ANY = "other", "not followed further"
CITE = (
    Citation("Hripcsak G, Ryan PB, Duke JD, et al. Characterizing treatment pathways at scale using the OHDSI network. "
             "Proc Natl Acad Sci USA 2016;113:7329-7336", "10.1073/pnas.1510502113"),
    Citation("Markus AF, Verhamme KMC, Kors JA, Rijnbeek PR. TreatmentPatterns: an R package to facilitate the "
             "standardized development and analysis of treatment patterns across disease domains. Comput Methods "
             "Programs Biomed 2022;225:107081", "10.1016/j.cmpb.2022.107081"),
)  # fmt: skip
FOLDED = "What fewer people do than the rule allows is folded into 'other' of the path that it goes on from."

Path = tuple[int, ...]


class Next(NamedTuple):
    """People of each path by what they go on with; the last cell is nothing more."""

    people: Sum  # (paths, lines + 1)


@dataclass(frozen=True)
class Branch:
    """What was told of a path: its people, those who go on with each line (or with nothing: `ended`)."""

    n: float
    ended: float = 0.0
    on: Mapping[Path, float] = field(default_factory=dict)
    followed: bool = False

    @property
    def other(self) -> float:
        """People of whom it was not told how they go on."""
        return self.n - sum(self.on.values()) - self.ended


@register("pathways")
@dataclass(frozen=True)
class Pathways:
    """Count the paths of the people of cohort `target` through `treatments` (cohorts, two to eight), to the line
    `lines`.

    Treatments count that begin while somebody is in the target, until they leave it. `gap`: stays in a treatment that
    are so many days apart at most are one. `overlap_days`: two treatments at once for so many days are a combination,
    for fewer a switch.

    Finding: tables `pathways` (a record per path: `line_1`, `line_2`, ..., `n`, `share` of all), and `attrition`.
    Errors: StudyError for a name that is no cohort and for numbers out of range.
    """

    target: str
    treatments: tuple[str, ...]
    lines: int = 3
    gap: int = 30
    overlap_days: int = 30
    ground: Ground = Ground()
    everybody = True  # its target is its own

    def __post_init__(self) -> None:
        object.__setattr__(self, "treatments", tuple(self.treatments))

    # public

    @property
    def eras(self) -> tuple[Definition, ...]:
        """The treatments, of which every stay counts."""
        return tuple(self.ground.cohort(name) for name in self.treatments)

    @property
    def cohorts(self) -> tuple[Definition, ...]:
        """The target and the treatments."""
        return (self.ground.cohort(self.target), *self.eras)

    @property
    def reads(self) -> tuple[str, ...]:
        """First and last days of all these cohorts."""
        return tuple(name for d in self.cohorts for name in (d.start, d.end))

    @property
    def requires(self) -> tuple[str, ...]:
        """Who is in the target."""
        return self.reads[:2]

    @property
    def labels(self) -> tuple[str, ...]:
        """Every line that may be."""
        return labels(self.treatments)

    @property
    def about(self) -> str:
        """The words for whom it is about."""
        target = self.cohorts[0]
        return f"{target.column} == {len(target.steps)}"

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about, twice: by columns that somebody may miss, and as everybody of its own."""
        return self.about, f"all {self.about}"

    def check(self) -> None:
        """Settings, before anything is asked."""
        if not 1 <= len(self.treatments) <= MOST or len(set(self.treatments)) < len(self.treatments):
            raise StudyError(f"treatments names {list(self.treatments)}; give 1 to {MOST} different names of [cohorts]")
        if not 1 <= self.lines <= LONGEST:
            raise StudyError(f"lines is {self.lines}; give 1 to {LONGEST}")
        for name in ("gap", "overlap_days"):
            if getattr(self, name) < 0:
                raise StudyError(f"{name} is {getattr(self, name)}; give a number of days, 0 or more")
        _ = self.cohorts

    # inside each hospital

    def whom(self, frame: Any) -> Bools:
        """(N,) whom it is about."""
        return np.asarray(complete(frame, self.requires))

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """The same for the guard across studies: the words, the columns that select, and who (N,) they are."""
        who = self.whom(frame)
        yield from zip(self.selecting, (self.requires, ()), (who, who), strict=True)

    @property
    def most_cells(self) -> int:
        """Cells of a design at most: which paths go on hangs on the people."""
        return FOLLOWED * (len(self.labels) + 1)

    def design(self, people: People, paths: tuple[Path, ...]) -> Design:
        """Of the people of each path: what they go on with."""
        begin, end = self._target(people.table.frame)
        outside = {f"not in {self.target}": np.isnan(begin) | np.isnan(end)}
        rows, left = followed(people.table, outside, self.ground)
        sequence = np.pad(self._lines(people.table)[rows], ((0, 0), (0, 1)), constant_values=-1)
        groups, size = 1 if paths == ((),) else FOLLOWED, len(self.labels) + 1
        index = np.full(int(rows.sum()), -1, dtype=np.int64)
        for group, path in enumerate(paths):
            on = (sequence[:, : len(path)] == np.array(path)).all(axis=1)
            after = sequence[on, len(path)]
            index[on] = group * size + np.where(after < 0, size - 1, after)
        cells = {"next": Cells(index, (groups, size), "hide")}
        return Design(n=int(rows.sum()), rows=rows, columns=self.reads, cells=cells, left_out=left)

    def _target(self, frame: Any) -> tuple[Array, Array]:
        """(N,) first and last day in the target."""
        read = TableRows(frame, self.ground.schema, {})
        return read.numbers(self.requires[0]), read.numbers(self.requires[1])

    def _lines(self, table: Any) -> Ints:
        """(N, lines) of everybody."""
        begin, end = (np.nan_to_num(days, nan=-np.inf) for days in self._target(table.frame))
        within = []
        for d in self.eras:
            all_ = stays(table, d)
            begun = all_.start >= begin[all_.row]
            within.append(all_.at(begun).clipped(begin, end).joined(self.gap))
        return lines(within, len(table.frame), self.lines, self.overlap_days)

    def contributions(self, people: People, settled: tuple[bool, ...]) -> Array:
        """(N, numbers) whose first line is each of those that are told; and a number for each whole path."""
        made = self.design(people, ((),))
        found = np.zeros((len(made.rows), len(settled) + 1))
        found[made.rows, :-1] = made.cells["next"].index[:, None] == np.arange(len(settled))
        radix = float(len(self.labels) + 1) ** np.arange(self.lines)
        found[made.rows, -1] = 1 + (self._lines(people.table)[made.rows] + 1) @ radix
        return found[:, np.array([*settled, True])]

    @local(on="design", repeats="lines")
    def counted(self, people: People, paths: tuple[Path, ...]) -> Next:
        """People of the paths by next line, but for those hidden."""
        counts = people.cells("next")
        return Next(replace(counts, bounds=(FOLLOWED, len(self.labels) + 1)))

    # sums only

    def settling(self) -> Flow[tuple[bool, ...]]:
        """Which first lines will be told."""
        verdict = yield from support(self.design, ((),))
        return tuple(bool(told) for told in verdict.grids["next"][0] >= 0)

    def flow(self) -> FlowFinding:
        """Line after line: settle which may be told, count, and go on with the commonest paths."""
        branches: dict[Path, Branch] = {}
        paths: tuple[Path, ...] = ((),)
        for _ in range(self.lines):
            verdict = yield from support(self.design, paths)
            got = yield from ask(self.counted, paths)
            branches.setdefault((), Branch(float(verdict.n)))
            grown: dict[Path, float] = {}
            for path, grid, row in zip(paths, verdict.grids["next"], got.people.value, strict=False):
                on = self._told(path, grid, row)
                ended = on.pop((*path, len(self.labels)), 0.0)
                branches[path] = Branch(branches[path].n, ended, on, followed=True)
                grown |= on
            branches |= {path: Branch(n) for path, n in grown.items()}
            paths = tuple(sorted(grown, key=lambda p: (-grown[p], p))[:FOLLOWED])
            if not paths:
                break
        records = list(self._records(branches))
        tables = {"pathways": records, "attrition": attrition(verdict)}
        notes = (FOLDED,) if any(OTHER in record.values() for record in records) else ()
        return Finding("pathways", verdict.n, verdict.hospitals, tables, notes=notes, cite=CITE)

    def _told(self, path: Path, grid: Ints, row: Array) -> dict[Path, float]:
        """How many people go on from a path with what, as far as it is told; nobody is left out."""
        found = {(*path, code): float(row[cell]) for code, cell in enumerate(grid.tolist()) if cell >= 0}
        return {p: n for p, n in found.items() if n > 0}

    def _records(self, branches: Mapping[Path, Branch], path: Path = ()) -> Iterator[Record]:
        """A record for everywhere that a path ends, the commonest branches first."""
        branch = branches[path]
        if len(path) == self.lines:
            yield self._record(path, "", branch.n, branches[()].n)
            return
        if not branch.followed:
            yield self._record(path, ANY, branch.n, branches[()].n)
            return
        for on in sorted(branch.on, key=lambda p: (-branch.on[p], p)):
            yield from self._records(branches, on)
        if branch.ended:
            yield self._record(path, "", branch.ended, branches[()].n)
        if branch.other > 0.5:
            yield self._record(path, OTHER, branch.other, branches[()].n)

    def _record(self, path: Path, last: str, n: float, everybody: float) -> Record:
        told = [*(self.labels[code] for code in path), *([last] if last else [])]
        steps = [*told, *[None] * (self.lines - len(told))]
        record: Record = {f"line_{i}": step for i, step in enumerate(steps, 1)}
        return record | {"n": round(n), "share": n / everybody}
