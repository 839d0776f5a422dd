"""Gradient boosted trees over all hospitals at once: the same trees for any deal of the people.

Cut points are agreed from counts on public ladders (`ladders`). For every level of a tree the hospitals send, for each
node, feature and bin, the sums of gradients and Hessians; of two children only the smaller is asked, the other follows
by subtraction (`growing`). A person's gradient and Hessian are whole numbers on a public scale before they are summed
(`state`), so that sums are exact, and the tree is the one that a single place would grow from all rows.

Sums over bins of small nodes rest on few people: the study needs the disclosure class `histograms`. Bins at the root
and leaves rest on at least k people.

Sources: Friedman, Ann Stat 2001;29:1189; Chen & Guestrin, KDD 2016 (XGBoost, whose objectives, penalties and default
directions these are); Ke et al., NeurIPS 2017 (histogram subtraction); Shi et al., NeurIPS 2022 (quantised gradients).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple, cast

import numpy as np

from confrere.analyses.finding import Citation, Finding, FlowFinding, attrition
from confrere.analyses.kaplan_meier import grid_note
from confrere.analyses.ladder import span_cells
from confrere.analyses.learning import attack_times, followed, ladders
from confrere.analyses.learning.attack import YEOM, attacked
from confrere.analyses.learning.conformal import NO_SETS, judged
from confrere.analyses.learning.conformal import wrong as unconformal
from confrere.analyses.learning.followed import Followed
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.grown import Before, learned
from confrere.analyses.learning.kernels import unpacked
from confrere.analyses.learning.objectives import OBJECTIVES, Objective
from confrere.analyses.learning.permuted import BREIMAN, permuted
from confrere.analyses.learning.permuted import wrong as unpermuted
from confrere.analyses.learning.reconstruction import rebuilt
from confrere.analyses.learning.scored import DELONG, Scored, importance
from confrere.analyses.learning.scored_times import ScoredTimes, ranked
from confrere.analyses.learning.state import Scale, State, designs, known, mixed
from confrere.errors import DataError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum, local, register
from confrere.study.ground import Ground, complete, left_out
from confrere.study.rows import TableRows

CITE = (
    Citation("Friedman JH. Greedy function approximation: a gradient boosting machine. Ann Stat 2001;29:1189-1232",
             "10.1214/aos/1013203451"),
    Citation("Chen T, Guestrin C. XGBoost: a scalable tree boosting system. KDD 2016:785-794",
             "10.1145/2939672.2939785"),
)  # fmt: skip
DEEPEST, MOST_BINS, MOST_TREES = 10, 255, 5000
Cuts = tuple[Array, ...]
Ladders = tuple[ladders.Ladder, ...]


class Counted(NamedTuple):
    """People by cell of each feature's ladder, and how many miss it."""

    cells: Sum  # (features, cells)


class Begun(NamedTuple):
    """People who train, and moments of their outcome."""

    people: Sum  # ()
    outcome: Sum  # (2,) sums of y and y^2; people by class; of times, events by cell of who trains, then held out


class Histogram(NamedTuple):
    """Sums over the bins of nodes, in whole numbers."""

    sums: Sum  # (kinds, nodes, features, bins): gradients, Hessians, and people where the Hessian does not tell them


class Risks(NamedTuple):
    """Of times: the two parts of the sums of r by cell, of who trains and who is held out; scores of those events."""

    sums: Sum  # (2, 2, cells)
    linear: Sum  # ()


class Lost(NamedTuple):
    """The loss of who is held out."""

    loss: Sum  # ()


@register("boosting")
@dataclass(frozen=True)
class Boosting:
    """Gradient boosted trees of an `outcome` on `features`, columns of numbers or of declared levels.

    `objective` is `binary` (0 or 1, or two declared levels), `squared`, `multiclass` (declared levels), `poisson`, or
    `cox` of the outcome `Surv(time, event)`: relative risks, times being on the ladder of the study, ties Breslow's.
    `trees` (of each class), `depth`, `learning_rate`; `bins` per feature; `penalty` is lambda on leaf values, `gain`
    the least gain of a split, `hessian` the least sum of Hessians in a leaf; `monotone` gives 1 or -1 for a feature
    that may only raise or lower the score; `rows` and `columns` are the shares of people and of features drawn for
    each tree, from `seed`; `holdout` the share of people who are not trained on but measured on (drawn by a keyed hash
    of the person, whom `[data] person` must name), and after `patience` trees without a better loss among them training
    ends. Missing values of features are used: each split learns where they go. Of declared levels each is split from
    the rest. Of `cox` pairs of people are compared within hospitals, or within the values of the column `within` of
    each. With `conformal` above 0, of classes, people get sets of classes that miss the right one so often, and
    `by` is a column by whose levels it is told how good they are. With `permutation`, the values of people held out are
    replaced so often, feature by feature, and it is told by how much their loss rises.

    Finding: tables `metrics` (`metric`, `estimate`, `conf_low`, `conf_high`, `sample`), `importance` (`feature`,
    `gain`, `share`), `permutation`, `attrition`; facts `model_sha256`, `trees`; the model itself as `model`.
    Needs the disclosure class `histograms`. Errors: ModelError where no feature varies or the outcome does not.
    """

    outcome: str
    features: tuple[str, ...]
    objective: str = "binary"
    trees: int = 100
    depth: int = 6
    learning_rate: float = 0.1
    seed: int = 1
    bins: int = 64
    penalty: float = 1.0
    gain: float = 0.0
    hessian: float = 1.0
    monotone: Mapping[str, int] = field(default_factory=dict)
    rows: float = 1.0
    columns: float = 1.0
    holdout: float | None = None
    patience: int = 0
    within: str = ""
    conformal: float = 0.0
    by: str = ""
    permutation: int = 0
    ground: Ground = Ground()

    def __hash__(self) -> int:
        return hash((self.outcome, self.features, self.objective, self.trees, self.depth, self.seed))  # asked often

    def __post_init__(self) -> None:
        if isinstance(self.features, str):
            raise StudyError(f"features is the text {self.features!r}; it is a list of columns")
        object.__setattr__(self, "features", tuple(self.features))
        if self.objective not in OBJECTIVES:
            raise StudyError(f"objective is {self.objective!r}; it must be one of {', '.join(OBJECTIVES)}")
        if not self.features or len(set(self.features)) < len(self.features) or self.outcome in self.features:
            raise StudyError("features must list different columns, and not the outcome")
        for name, low, high in (
            ("trees", 1, MOST_TREES), ("depth", 1, DEEPEST), ("bins", 2, MOST_BINS), ("learning_rate", 1e-6, 1),
            ("rows", 1e-3, 1), ("columns", 1e-3, 1), ("penalty", 0, 1e6), ("gain", 0, 1e12), ("hessian", 0, 1e12),
            ("patience", 0, MOST_TREES), ("seed", 0, 2**31),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise StudyError(f"{name} is {getattr(self, name)}; it must be from {low} to {high}")
        if self.holdout is not None and not 0 <= self.holdout <= 0.5:
            raise StudyError(f"holdout is {self.holdout}; it must be a share from 0 to 0.5")
        for name, turn in self.monotone.items():
            if name not in self.features or turn not in (-1, 0, 1):
                raise StudyError(f"monotone: {name!r} = {turn}; name a feature, and 1, -1 or 0")

    # public

    def check(self) -> None:
        """The columns, against the levels that the study declares, and what needs the person's name."""
        levels = self.ground.schema.levels(self.outcome)
        if self.objective == "multiclass" and (levels is None or len(levels) < 3):
            raise StudyError(f"objective 'multiclass' needs 3 declared levels or more of its outcome {self.outcome!r}")
        if self.objective == "binary" and levels is not None and len(levels) != 2:
            raise StudyError(f"{self.outcome!r} has {len(levels)} levels; take objective = 'multiclass'")
        if self.objective in ("squared", "poisson") and levels is not None:
            raise StudyError(f"{self.outcome!r} has levels; objective {self.objective!r} is for numbers")
        if self.timed and set(self._sources) & set(self.features):
            raise StudyError(f"a column of {self.outcome} is among the features; leave it out")
        if not self.timed and self.outcome.startswith("Surv("):
            raise StudyError(f"{self.outcome} is of people who are followed: take objective = 'cox'")
        if any(self.ground.schema.levels(n) is not None for n in self.monotone):
            raise StudyError("monotone is for columns of numbers, not of levels")
        if (self.rows < 1 or self.share > 0 or self.patience) and not self.ground.person:
            raise StudyError("rows, holdout and patience draw people: name their column, [data] person = ...")
        if found := next(chain(unconformal(self, self.objective), unpermuted(self)), ""):
            raise StudyError(found)
        if self.conformal and self.patience:
            raise StudyError("patience chooses trees by the people held out, who then are no test; leave conformal out")
        if self.within and self.ground.schema.levels(self.within) is None:
            raise StudyError(f"within compares pairs by levels: declare [data.columns.{self.within}] levels")
        if self.patience and not self.share:
            raise StudyError("patience needs people who are held out: set holdout, such as 0.2")

    @property
    def share(self) -> float:
        """The share of people who are held out: a fifth where the person's column is named, unless it is said."""
        return self.holdout if self.holdout is not None else 0.2 if self.ground.person else 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(dict.fromkeys((*self._sources, *self.features, *self._beside)))

    @property
    def _beside(self) -> tuple[str, ...]:
        return tuple(name for name in (self.ground.person if self._draws else "", self.by, self.within) if name)

    @property
    def requires(self) -> tuple[str, ...]:
        """Whom it is about: who has an outcome."""
        return self._sources

    @property
    def _sources(self) -> tuple[str, ...]:
        """The columns of the outcome."""
        return tuple(followed.read(self.outcome, self.ground).columns) if self.timed else (self.outcome,)

    @property
    def _needed(self) -> tuple[str, ...]:
        """Columns without which nobody takes part."""
        return (*self._sources, *((self.within,) if self.within else ()), *self.ground.complete)

    @property
    def formulas(self) -> tuple[str, ...]:
        """The outcome as a formula, where it is of times."""
        return (f"{self.outcome} ~ 1",) if self.timed else ()

    @property
    def timed(self) -> bool:
        """Whether the outcome is a time to an event."""
        return self.objective == "cox"

    @property
    def _draws(self) -> bool:
        return bool(self.ground.person) and (self.rows < 1 or self.share > 0)

    @property
    def terms(self) -> tuple[str, ...]:
        """The features of the trees: numbers by name, levels as `column[level]`."""
        found: list[str] = []
        for name in self.features:
            levels = self.ground.schema.levels(name)
            found += [name] if levels is None else [f"{name}[{level}]" for level in levels]
        return tuple(found)

    @property
    def rounds(self) -> int:
        """How often sums over bins are asked at most."""
        return self.trees * self.classes * self.depth

    @property
    def measurings(self) -> int:
        """How often the loss of who is held out is asked at most."""
        return self.trees + 1 if self.patience else 0

    @property
    def sets(self) -> int:
        """How often sums over risk sets are asked at most."""
        return self.trees + 1 if self.timed else 0

    @property
    def classes(self) -> int:
        """Trees in a round of boosting."""
        return len(self.ground.schema.levels(self.outcome) or ()) if self.objective == "multiclass" else 1

    @property
    def about(self) -> Objective:
        """The loss."""
        return OBJECTIVES[self.objective]

    @property
    def valued(self) -> Mapping[str, tuple[float, ...]]:
        """The values that a column without levels may have, where not all numbers will do."""
        if self.timed or self.ground.schema.levels(self.outcome) is not None or self.objective == "squared":
            return {}
        return {self.outcome: (0.0, 1.0) if self.objective == "binary" else (0.0, 1.0, 2.0, 3.0)}

    # inside each hospital

    def first(self, people: People) -> Design:
        """The place of who trains on the first ladder of each feature."""
        edges = ladders.first()
        made = self._laddered(people, (ladders.Ladder(edges),) * len(self.terms), len(edges) + 1)
        return (
            replace(made, cells={**made.cells, "span": span_cells(made.data[4], self.ground)}) if self.timed else made
        )

    def design(self, people: People, second: Ladders, times: tuple[float, ...] = ()) -> Design:
        """The place of who trains on the second ladders; everybody's on that of times, and the outcome."""
        made = self._laddered(people, second, ladders.width(self.bins))
        y, _, train, _, time = made.data
        cells = followed.cells_of(time, y > 0, train, times, self.ground) if self.timed else {}
        designs(people).append((self, made := replace(made, cells={**made.cells, **cells})))
        return made

    def _laddered(self, people: People, given: Ladders, size: int = 0) -> Design:
        frame = people.table.frame
        rows, crowd = self._whom(people)
        time, whole = followed.exits(self.outcome, self.ground, frame) if self.timed else (None, self._outcome(frame))
        rows = rows if time is None else rows & np.isfinite(time) & np.isfinite(whole)
        y, time = _some(whole, rows), None if time is None else _some(time, rows)
        values = [_some(v, rows) for v in self.values(frame)]
        train, words = self._drawn(people, rows)
        cells: dict[str, Cells] = {}
        for i, (name, v, ladder) in enumerate(zip(self.terms, values, given, strict=False)):
            cells[f"{i}: {name}"] = ladders.cells_of(np.where(train, v, np.nan), ladder, name, size)
            gone = np.where(train, np.isnan(v), -1).astype(np.int8)  # bins rest on those who train
            cells[f"{i}: {name} missing"] = Cells(cast(Ints, gone), (1, 2), rule="show")
        # who is trained on and who is measured on are counted apart, and so are their outcomes
        marked = self.objective == "binary" or self.timed
        many, kinds = 2 if self.share else 1, max(self.classes, 2 if marked else 1)
        index = np.where(train, 0, 1) * kinds + (y.astype(np.int64) if kinds > 1 else 0)
        cells["outcome"] = Cells(index, (1, many * kinds))
        numeric = kinds == 1
        return Design(
            n=int(rows.sum()), rows=rows, x=y[:, None] if numeric else np.empty((len(y), 0)),
            names=(self.outcome,) if numeric else (), cells=cells, data=(y, values, train, words, time),
            flags={"held out": ~train} if self.share else {},
            columns=(*self._sources, *self.features), left_out=left_out(people.table, self._needed, rows),
            crowd=crowd,
        )  # fmt: skip

    def _whom(self, people: People) -> tuple[Bools, int | None]:
        """Whom it is about (N,): who has an outcome; and the design's `crowd`."""
        return complete(people.table.frame, self._needed), None

    def _outcome(self, frame: Any) -> Array:
        """The outcome (N,) as a number: of levels, which."""
        given = TableRows(frame, self.ground.schema, {})
        if self.ground.schema.levels(self.outcome) is not None:
            return np.asarray(given.codes(self.outcome), dtype=float)
        y = given.numbers(self.outcome)
        known = y[~np.isnan(y)]
        if self.objective == "binary" and not np.isin(known, (0, 1)).all():
            raise DataError(f"column {self.outcome!r} must hold 0 and 1 for objective 'binary', or two declared levels")
        if self.objective == "poisson" and ((known < 0) | (known != np.floor(known))).any():
            raise DataError(f"column {self.outcome!r} must hold counts, 0 or more, for objective 'poisson'")
        return y

    def values(self, frame: Any) -> list[Array]:
        """The values (N,) of each term, NaN where missing. DataError for a missing column or an undeclared level."""
        given = TableRows(frame, self.ground.schema, {})
        found: list[Array] = []
        for name in self.features:
            levels = self.ground.schema.levels(name)
            if levels is None:
                found.append(given.numbers(name))
                continue
            codes = given.codes(name)
            found += [np.where(codes < 0, np.nan, (codes == j).astype(float)) for j in range(len(levels))]
        return found

    def people(self, people: People) -> Design:
        """The people, their outcome, the values of all terms and who trains, without ladders: for measuring."""
        made = self._laddered(people, ())
        return replace(made, cells={"outcome": made.cells["outcome"]})

    def scores(self, people: People, forest: Forest, values: Sequence[Array]) -> Array:
        """The scores (n,) of a forest: what is known of them since it grew here, the rest by its trees."""
        return known(forest, values, [made.remembered("state") for of, made in designs(people) if of == self])

    @local(on="first")
    def placed(self, people: People) -> Counted:
        """People by merged cell of the first ladders."""
        return self._counted(people, len(ladders.first()) + 1)

    @local(on="design")
    def counted(self, people: People, second: Ladders) -> Counted:
        """People by merged cell of the second ladders."""
        return self._counted(people, ladders.width(self.bins))

    def _counted(self, people: People, size: int) -> Counted:
        counts = [people.cells(f"{i}: {name}").value[0] for i, name in enumerate(self.terms)]
        out = np.zeros((len(counts), max(len(count) for count in counts)))
        for row, count in zip(out, counts, strict=True):
            row[: len(count)] = count
        bounds = (len(counts), size)
        return Counted(people.derived(out, dims=("features", "cells"), bounds=bounds, scale=0, needs=ladders.NEEDS))

    @local(on="design")
    def begin(self, people: People, cuts: Cuts) -> Begun:
        """Bin everybody; how many train, and moments of their outcome."""
        y, values, train, words, _ = people.design.data
        bins = ladders.binned(values, cuts, self.bins)
        apart = np.zeros(len(y), dtype=bool)
        for j, usable in enumerate(self._missing(people)):
            if not usable:  # nobody, or too few: they go with the commonest
                few = bins[:, j] == self.bins
                bins[few, j], apart = len(cuts[j]) // 2, apart | few
        people.design.once("begun", lambda: (bins, y, words, train, apart))
        if self.timed:
            (trained, held), wide = self._exits(people), self._width(people)
            events = [followed.counted(np.where(who, c, -1), y, wide) for who, c in ((train, trained), (~train, held))]
            outcome = np.concatenate(events)
        elif self.objective == "multiclass":
            outcome = np.bincount(y[train].astype(int), minlength=self.classes).astype(float)
        else:
            outcome = np.array([y[train].sum(), (y[train] ** 2).sum()])
        dims = ("outcome",)
        return Begun(people.count(train), people.derived(outcome, dims=dims, bounds=outcome.shape))

    def _width(self, people: People) -> int:
        return people.design.cells[followed.NAMES[0]].shape[1]

    def _exits(self, people: People) -> list[Ints]:
        """Everybody's cell of time (n,) on the grid of who trains, and on that of who is held out."""
        edges, cells = self._width(people), [people.design.cells[name].index for name in followed.NAMES]
        at = np.maximum(*cells) % edges
        return [people.grid(name)[0][at] for name in followed.NAMES]

    def _missing(self, people: People) -> list[bool]:
        """Of each term, whether enough people miss it to be told apart."""
        return [bool(people.grid(f"{i}: {name} missing")[0, 1] >= 0) for i, name in enumerate(self.terms)]

    def _drawn(self, people: People, rows: Bools) -> tuple[Bools, Any]:
        """Who trains (n,), and everybody's word."""
        n = int(rows.sum())
        if not self._draws:
            return np.ones(n, dtype=bool), np.zeros(n, dtype=np.uint64)
        words = people.drawn("boosting", self.ground.person)[rows]
        return mixed(words, self.seed, -1) >= self.share, words

    @local(on="design", repeats="rounds")
    def histogram(self, people: People, at: tuple[int, int], before: Before, build: Ints, scale: Scale) -> Histogram:
        """Sums over the bins of nodes: `at` is (tree, level)."""
        state, nodes, wide = self._moved(people, at, before, scale), 2 ** (self.depth + 1) - 1, scale.bits > 32
        slot = np.full(nodes, -1, dtype=np.int64)
        slot[build] = np.arange(len(build))
        slopes, *people_there = state.sums(slot, counted=self.about.counted)
        kinds = [*unpacked(slopes, wide=wide), *people_there]
        bounds = (len(kinds), 2 ** (self.depth - 1), state.bins.shape[1], self.bins + 1)
        return Histogram(people.derived(
            np.stack(kinds, dtype=float), dims=("kinds", "nodes", "features", "bins"), bounds=bounds,
            needs=ladders.NEEDS, scale=0, bits=scale.bits, reach=float(2 ** (scale.bits - 1) - 1),
        ))  # fmt: skip

    @local(on="design", repeats="sets")
    def risks(self, people: People, tree: int, before: Before, scale: Scale) -> Risks:
        """Sums of relative risks by cell of time, by the trees before this one."""
        state, wide = cast(Followed, self._moved(people, (tree, 0), before, scale)), self._width(people)
        sums = people.derived(
            state.risks(wide), dims=("samples", "parts", "cells"), bounds=(2, 2, wide), scale=0, needs=ladders.NEEDS
        )
        return Risks(sums, people.derived(np.array(state.linear), scale=0, needs=ladders.NEEDS))

    @local(on="design", repeats="measurings")
    def lost(self, people: People, tree: int, before: Before, scale: Scale) -> Lost:
        """The loss of who is held out, of the trees before this one."""
        return Lost(people.derived(np.array(self._moved(people, (tree, 0), before, scale).lost), scale=0))

    def _moved(self, people: People, at: tuple[int, int], before: Before, scale: Scale) -> State:
        """Everybody where the last splits lead them, and with the scores of the trees before this one."""
        state, nodes = self._state(people, scale), 2 ** (self.depth + 1) - 1
        (tree, level), (splits, leaves, hazards) = at, before
        if level:
            state.descend(level, splits, nodes)
        elif tree > state.tree:
            state.descend(self.depth, splits, nodes)
            state.begin(tree, leaves, self.rows, self.seed)
        if isinstance(state, Followed) and hazards.size:
            state.take(hazards)
        return state

    def _state(self, people: People, scale: Scale) -> State:
        about = (self.about, scale, self.bins, *people.design.once("begun", lambda: cast(Any, None)))
        if not self.timed:
            return people.design.once("state", lambda: State(*about))
        cell, late = self._exits(people)
        return people.design.once("state", lambda: Followed(*about, cell=cell, late=late))

    # sums only

    def flow(self) -> FlowFinding:
        """Agree on cuts; grow the trees; measure."""
        made, n, (forest, hazards) = yield from learned(self)
        scored: Scored | ScoredTimes = Scored(self, forest)
        if self.timed:
            grid = made.verdict.grids[followed.NAMES[0]][0]
            scored = ScoredTimes(self, forest, made.times, grid, hazards[0])
        if isinstance(scored, ScoredTimes):
            measured, sets = (yield from ranked(scored)), NO_SETS
        else:
            measured, sets = yield from judged(scored)
        permutation = yield from permuted(scored, made, n)
        if isinstance(scored, ScoredTimes):
            attack = yield from attack_times.attacked(scored, self.share)
        else:
            attack = attacked(measured)
        memory = rebuilt(measured.tables["metrics"])
        told = {"importance": importance(forest), **permutation, **({"attack": attack.rows} if attack.rows else {})}
        tables = {**measured.tables, **sets.tables, **told, **memory.tables, "attrition": attrition(made.verdict)}
        facts = {
            "model_sha256": forest.sha256, "trees": len(forest.trees), "objective": self.objective,
            "people_trained": n,
        }  # fmt: skip
        return Finding(
            "boosting", made.verdict.n, made.verdict.hospitals, tables, measured.events, facts, forest.arrays(),
            notes=(grid_note(self.ground),) * self.timed,
            warnings=(*measured.cautions, *attack.cautions, *memory.cautions, *sets.cautions),
            cite=(*CITE, *((DELONG,) * (self.objective == "binary")), *((YEOM,) if attack.rows else ()), *memory.cite,
                  *sets.cite, *((BREIMAN,) if permutation else ())),
        )  # fmt: skip


def _some(values: Any, rows: Bools) -> Any:
    """Values (N,) of some rows; not copied if they are all."""
    return values if rows.all() else values[rows]
