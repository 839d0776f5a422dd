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

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import numpy as np

from confrere.analyses.finding import Citation, Finding, FlowFinding, attrition
from confrere.analyses.learning import ladders
from confrere.analyses.learning.attack import YEOM, attacked
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.growing import Growing
from confrere.analyses.learning.kernels import histograms, unpacked
from confrere.analyses.learning.objectives import OBJECTIVES, Objective
from confrere.analyses.learning.scored import DELONG, Scored, importance, trained
from confrere.analyses.learning.splits import Cells as Bins
from confrere.analyses.learning.splits import Rules
from confrere.analyses.learning.state import Scale, State, mixed, scale_of
from confrere.errors import DataError, ModelError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import Ground, complete, left_out
from confrere.study.rows import TableRows

CITE = (
    Citation("Friedman JH. Greedy function approximation: a gradient boosting machine. Ann Stat 2001;29:1189-1232",
             "10.1214/aos/1013203451"),
    Citation("Chen T, Guestrin C. XGBoost: a scalable tree boosting system. KDD 2016:785-794",
             "10.1145/2939672.2939785"),
)  # fmt: skip
DEEPEST, MOST_BINS, MOST_TREES = 10, 255, 5000
Edges = tuple[Array, ...]


class Counted(NamedTuple):
    """People by cell of each feature's ladder, and how many miss it."""

    cells: Sum  # (features, cells)


class Begun(NamedTuple):
    """People who train, and moments of their outcome."""

    people: Sum  # ()
    outcome: Sum  # (2,) sums of y and y^2; or people by class


class Histogram(NamedTuple):
    """Sums over the bins of nodes, in whole numbers."""

    sums: Sum  # (kinds, nodes, features, bins): gradients, Hessians, and people where the Hessian does not tell them


class Lost(NamedTuple):
    """The loss of who is held out."""

    loss: Sum  # ()


@register("boosting")
@dataclass(frozen=True)
class Boosting:
    """Gradient boosted trees of an `outcome` on `features`, columns of numbers or of declared levels.

    `objective` is `binary` (0 or 1, or two declared levels), `squared`, `multiclass` (declared levels) or `poisson`.
    `trees` (of each class), `depth`, `learning_rate`; `bins` per feature; `penalty` is lambda on leaf values, `gain`
    the least gain of a split, `hessian` the least sum of Hessians in a leaf; `monotone` gives 1 or -1 for a feature
    that may only raise or lower the score; `rows` and `columns` are the shares of people and of features drawn for
    each tree, from `seed`; `holdout` the share of people who are not trained on but measured on (drawn by a keyed hash
    of the person, whom `[data] person` must name), and after `patience` trees without a better loss among them training
    ends. Missing values of features are used: each split learns where they go. Of declared levels each is split from
    the rest.

    Finding: tables `metrics` (`metric`, `estimate`, `conf_low`, `conf_high`, `sample`), `importance` (`feature`,
    `gain`, `share`), `attrition`; facts `model_sha256`, `trees`; the model itself as `model`. Needs the disclosure
    class `histograms`. Errors: ModelError where no feature varies or the outcome does not.
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
    ground: Ground = Ground()

    def __hash__(self) -> int:
        return hash((self.outcome, self.features, self.objective, self.trees, self.depth, self.seed, self.ground))

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
        if any(self.ground.schema.levels(n) is not None for n in self.monotone):
            raise StudyError("monotone is for columns of numbers, not of levels")
        if (self.rows < 1 or self.share > 0 or self.patience) and not self.ground.person:
            raise StudyError("rows, holdout and patience draw people: name their column, [data] person = ...")
        if self.patience and not self.share:
            raise StudyError("patience needs people who are held out: set holdout, such as 0.2")

    @property
    def share(self) -> float:
        """The share of people who are held out: a fifth where the person's column is named, unless it is said."""
        return self.holdout if self.holdout is not None else 0.2 if self.ground.person else 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(dict.fromkeys((self.outcome, *self.features, *([self.ground.person] if self._draws else []))))

    @property
    def requires(self) -> tuple[str, ...]:
        """Whom it is about: who has an outcome."""
        return (self.outcome,)

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
        if self.ground.schema.levels(self.outcome) is not None or self.objective == "squared":
            return {}
        return {self.outcome: (0.0, 1.0) if self.objective == "binary" else (0.0, 1.0, 2.0, 3.0)}

    # inside each hospital

    def first(self, people: People) -> Design:
        """Everybody's place on the first ladder of each feature."""
        edges = ladders.first()
        return self._laddered(people, tuple(edges for _ in self.terms), len(edges) + 1)

    def design(self, people: People, edges: Edges) -> Design:
        """Everybody's place on the second ladders; the outcome."""
        return self._laddered(people, edges, ladders.width(self.bins))

    def _laddered(self, people: People, edges: Edges, size: int = 0) -> Design:
        frame = people.table.frame
        needed = (self.outcome, *self.ground.complete)
        rows = complete(frame, needed)
        y = _some(self._outcome(frame), rows)
        values = [_some(v, rows) for v in self.values(frame)]
        train, words = self._drawn(people, rows)
        cells: dict[str, Cells] = {}
        for i, (name, v, e) in enumerate(zip(self.terms, values, edges, strict=False)):
            cells[f"{i}: {name}"] = ladders.cells_of(v, e, name, size)
            cells[f"{i}: {name} missing"] = Cells(cast(Ints, np.isnan(v).astype(np.int8)), (1, 2), rule="show")
        # who is trained on and who is measured on are counted apart, and so are their outcomes
        many, kinds = 2 if self.share else 1, max(self.classes, 2 if self.objective == "binary" else 1)
        index = np.where(train, 0, 1) * kinds + (y.astype(np.int64) if kinds > 1 else 0)
        cells["outcome"] = Cells(index, (1, many * kinds))
        numeric = kinds == 1
        return Design(
            n=int(rows.sum()), rows=rows, x=y[:, None] if numeric else np.empty((len(y), 0)),
            names=(self.outcome,) if numeric else (), cells=cells, data=(y, values, train, words),
            columns=(self.outcome, *self.features), left_out=left_out(people.table, needed, rows),
        )  # fmt: skip

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

    @local(on="first")
    def placed(self, people: People) -> Counted:
        """People by merged cell of the first ladders."""
        return self._counted(people, len(ladders.first()) + 1)

    @local(on="design")
    def counted(self, people: People, edges: Edges) -> Counted:
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
    def begin(self, people: People, cuts: Edges) -> Begun:
        """Bin everybody; how many train, and moments of their outcome."""
        y, values, train, words = people.design.data
        bins = ladders.binned(values, cuts, self.bins)
        for j, usable in enumerate(self._missing(people)):
            if not usable:  # nobody, or too few: they go with the commonest
                few = bins[:, j] == self.bins
                bins[few, j] = len(cuts[j]) // 2
        people.design.once("begun", lambda: (bins, y, words, train))
        if self.objective == "multiclass":
            outcome = np.bincount(y[train].astype(int), minlength=self.classes).astype(float)
        else:
            outcome = np.array([y[train].sum(), (y[train] ** 2).sum()])
        dims = ("outcome",)
        return Begun(people.count(train), people.derived(outcome, dims=dims, bounds=outcome.shape))

    def _missing(self, people: People) -> list[bool]:
        """Of each term, whether enough people miss it to be told apart."""
        return [bool(people.grid(f"{i}: {name} missing")[0, 1] >= 0) for i, name in enumerate(self.terms)]

    def _drawn(self, people: People, rows: Bools) -> tuple[Bools, Any]:
        """Who trains (n,), and everybody's word."""
        n = int(rows.sum())
        if not self._draws:
            return np.ones(n, dtype=bool), np.zeros(n, dtype=np.uint64)
        ids = people.table.frame[self.ground.person].to_numpy()[rows]
        words = people.words("boosting", ids, shared=True)
        return mixed(words, self.seed, -1) >= self.share, words

    @local(on="design", repeats="rounds")
    def histogram(
        self, people: People, at: tuple[int, int], before: tuple[Ints, Array], build: Ints, scale: Scale
    ) -> Histogram:
        """Sums over the bins of nodes: `at` is (tree, level), `before` the last splits and the last tree's leaves."""
        state, nodes, wide = self._moved(people, at, before, scale), 2 ** (self.depth + 1) - 1, scale.bits > 32
        slot = np.full(nodes, -1, dtype=np.int64)
        slot[build] = np.arange(len(build))
        kinds = [*unpacked(histograms(state.bins, state.node, state.packs, slot, self.bins + 1), wide=wide)]
        if self.about.counted:
            ones = state.inside.astype(np.int64)
            kinds.append(histograms(state.bins, state.node, ones, slot, self.bins + 1))
        bounds = (len(kinds), 2 ** (self.depth - 1), len(self.terms), self.bins + 1)
        return Histogram(people.derived(
            np.stack(kinds), dims=("kinds", "nodes", "features", "bins"), bounds=bounds, needs=ladders.NEEDS, scale=0,
            bits=scale.bits, reach=float(2 ** (scale.bits - 1) - 1),
        ))  # fmt: skip

    @local(on="design", repeats="measurings")
    def lost(self, people: People, tree: int, before: tuple[Ints, Array], scale: Scale) -> Lost:
        """The loss of who is held out, of the trees before this one."""
        return Lost(people.derived(np.array(self._moved(people, (tree, 0), before, scale).lost), scale=0))

    def _moved(self, people: People, at: tuple[int, int], before: tuple[Ints, Array], scale: Scale) -> State:
        """Everybody where the last splits lead them, and with the scores of the trees before this one."""
        state, nodes = self._state(people, scale), 2 ** (self.depth + 1) - 1
        (tree, level), (splits, leaves) = at, before
        if level:
            state.descend(level, splits, nodes)
        elif tree > state.tree:
            state.descend(self.depth, splits, nodes)
            state.begin(tree, leaves, self.rows, self.seed)
        return state

    def _state(self, people: People, scale: Scale) -> State:
        bins, y, words, train = people.design.once("begun", lambda: cast(Any, None))
        return people.design.once("state", lambda: State(self.about, scale, self.bins, bins, y, words, train))

    # sums only

    def flow(self) -> FlowFinding:
        """Agree on cuts; grow the trees; measure."""
        verdict, cuts = yield from self._cuts()
        begun = yield from ask(self.begin, cuts)
        n = round(float(begun.people.value))
        if not any(len(c) for c in cuts):
            raise ModelError("no feature varies among enough people; give other features")
        scale = self._scale(n, begun.outcome.value)
        forest = yield from self._grown(verdict.k, cuts, scale)
        measured = yield from trained(Scored(self, forest))
        attack = attacked(measured)
        told = {"importance": importance(forest), **({"attack": attack.rows} if attack.rows else {})}
        tables = {**measured.tables, **told, "attrition": attrition(verdict)}
        facts = {
            "model_sha256": forest.sha256, "trees": len(forest.trees), "objective": self.objective,
            "people_trained": n,
        }  # fmt: skip
        return Finding(
            "boosting", verdict.n, verdict.hospitals, tables, measured.events, facts, forest.arrays(),
            warnings=(*measured.cautions, *attack.cautions),
            cite=(*CITE, *((DELONG,) if self.objective == "binary" else ()), *((YEOM,) if attack.rows else ())),
        )  # fmt: skip

    def _scale(self, n: int, outcome: Array) -> Scale:
        """Where scores begin, and the scale of gradients: of whole numbers alone, or rounded, so that they do not
        depend on the deal."""
        if self.objective == "multiclass":
            rarest = float(outcome[outcome > 0].min()) / n
            return scale_of(self.about, n, 1.0, (0.0,) * self.classes, rarest)
        mean = float(outcome[0]) / n
        varies = 0 < mean < 1 if self.objective == "binary" else mean > 0 if self.objective == "poisson" else True
        spread = np.sqrt(max(0.0, outcome[1] / n - mean**2)) if self.objective == "squared" else mean
        if not (varies and spread > 1e-9 * abs(mean)):
            raise ModelError(f"{self.outcome!r} does not vary, and there is nothing to learn; give another outcome")
        if self.objective == "binary":
            return scale_of(self.about, n, 1.0, (float(np.float32(np.log(mean / (1 - mean)))),), min(mean, 1 - mean))
        base = mean if self.objective == "squared" else np.log(mean)
        return scale_of(self.about, n, 2.0 ** round(np.log2(spread)), (float(np.float32(f"{base:.6e}")),))

    def _units(self, scale: Scale) -> tuple[float, float]:
        """What a gain and a Hessian of one are worth in the units of the outcome."""
        return {"squared": (scale.unit**2, 1.0), "poisson": (scale.unit, scale.unit)}.get(self.objective, (1.0, 1.0))

    def _rules(self, k: int, scale: Scale, allowed: Bools) -> Rules:
        """The settings in the units of the sums."""
        unit, per = self._units(scale)
        turns = np.array([self.monotone.get(term, 0) for term in self.terms])
        return Rules(self.penalty / per, self.gain / unit, self.hessian / per, float(max(1, k)), allowed, turns)

    def _grown(self, k: int, cuts: Edges, scale: Scale) -> Flow[Forest]:
        """The trees, one after the other, until there are enough or none gets better."""
        made: list[Tree] = []
        before = (np.empty((0, 4), dtype=np.int64), np.zeros((1, 2)))
        lost: list[float] = []
        step = self.learning_rate * (scale.unit if self.objective == "squared" else 1.0)
        drawn = self._columns_drawn()
        for t in range(self.trees * self.classes):
            if self.patience and t % self.classes == 0:
                lost.append((yield from self._loss(t, before, scale)))
                if len(lost) - 1 - int(np.argmin(lost)) >= self.patience:
                    break
            tree = Growing(self.depth, step, cuts, self._rules(k, scale, drawn[t // self.classes]))
            while not tree.done:
                got = yield from ask(self.histogram, (t, tree.level), before, tree.build, scale)
                g, h = (s * 2.0**-power for s, power in zip(got.sums.value, (scale.g, scale.h), strict=False))
                tree.learn(Bins(g, h, got.sums.value[2] if self.about.counted else h / self.about.h))
                before = (tree.splits, np.zeros((1, 2)))
            before = (tree.splits, tree.leaves)
            made.append(tree.finished(*self._units(scale)))
        if self.patience and len(made) == self.trees * self.classes:
            lost.append((yield from self._loss(len(made), before, scale)))
        keep = max(1, int(np.argmin(lost))) * self.classes if self.patience else len(made)
        return Forest(self.objective, self.terms, scale.base, tuple(made[:keep]))

    def _loss(self, tree: int, before: tuple[Ints, Array], scale: Scale) -> Flow[float]:
        got = yield from ask(self.lost, tree, before, scale)
        return float(got.loss.value)

    def _columns_drawn(self) -> Bools:
        """(trees, terms) which features each tree may use."""
        rng, p = np.random.default_rng(self.seed), len(self.terms)
        drawn = np.zeros((self.trees, p), dtype=bool)
        for row in drawn:
            row[rng.permutation(p)[: max(1, round(self.columns * p))]] = True
        return drawn

    def _cuts(self) -> Flow[tuple[Verdict, Edges]]:
        """The cut points of all terms, from the counts on two ladders."""
        verdict = yield from support(self.first)
        placed = yield from ask(self.placed)
        for term, counts in zip(self.terms, placed.cells.value, strict=True):
            if not counts.any():
                raise ModelError(f"feature {term!r} is missing for everybody; correct the column, or leave it out")
        edges = tuple(
            ladders.second(verdict.grids[f"{i}: {name}"][0], counts, self.bins)
            for i, (name, counts) in enumerate(zip(self.terms, placed.cells.value, strict=True))
        )
        verdict = yield from support(self.design, edges)
        counted = yield from ask(self.counted, edges)
        return verdict, tuple(
            ladders.cuts(e, verdict.grids[f"{i}: {name}"][0], counts, self.bins)
            for i, (name, e, counts) in enumerate(zip(self.terms, edges, counted.cells.value, strict=True))
        )


def _some(values: Any, rows: Bools) -> Any:
    """Values (N,) of some rows; not copied if they are all."""
    return values if rows.all() else values[rows]
