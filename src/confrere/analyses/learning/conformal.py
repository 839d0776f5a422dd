"""Sets of classes instead of one class, and no answer where the set is not of one: split conformal prediction.

A class is in a person's set where its margin, log(p / (1 - p)) of its predicted probability p, is at or above a limit.
Limits come from people held out: of two classes of the counts of people by cell of their score that the model was
measured by (`scored`), and no further number is asked for them; of more from the gate's word (`scored_classes`). Of n
people floor(alpha (n + 1)) - 1 at most may lie below the limit, which is an edge of the cells: the limit is at or below
the one that single scores would give, so that the set holds at least as much. Where k people may not lie
below it, the class is in every set.

Of an outcome of two classes each has a limit of its own, from its own people: the set holds the class of a new person
with a probability of 1 - alpha or more within each class (Mondrian; Vovk et al., Algorithmic Learning in a Random
World, 2005, chapter 4). Of more classes there is one limit, from all people together, and the promise is on average
over classes (Papadopoulos et al., ECML 2002; Vovk 2013). It is of new people who come as those held out did, hospitals
in the same proportions: in a hospital whose people differ it may not hold, which nobody can promise.

How large the sets are, and how often the class is in them, by class and by a column `by`, is asked afterwards: counts
of people by set, of which the gate tells those that no combination of, also with the cells of scores of two classes
that were told before, tells about a few (`rounds.Cells`, `known`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.finding import Caution, Citation, Record
from confrere.analyses.learning.scored import EDGES, Scored, Told, erring, margins, trained
from confrere.analyses.learning.scored_classes import Beside, by_losses, limit, with_losses
from confrere.analyses.rates import share
from confrere.errors import StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support
from confrere.study.rows import TableRows

FORMAT = "confrere-sets/1"
ALWAYS = -1e9  # a limit that every margin is above
PARTS = (
    "n",
    "covered",
    "one",
    "right",
    "none",
)  # of a group: all; their class is in the set; one class; that; none
VOVK = Citation(
    "Vovk V. Conditional validity of inductive conformal predictors. Mach Learn 2013;92:349-376",
    "10.1007/s10994-013-5355-6",
)


@dataclass(frozen=True)
class Conformal:
    """Which classes are in a person's set.

    alpha   how often the class may be missing
    levels  the names of the classes (K,)
    limits  (K,) of margins
    people  (K,) who were held out, from whom each limit is
    one_row  whether of each of them one row of their bag was read, such as one picture
    moved    of three classes or more, how scores were recalibrated since: the intercept of each and the slope
             (K + 1,); sets are of the scores before
    """

    alpha: float
    levels: tuple[str, ...]
    limits: tuple[float, ...]
    people: tuple[int, ...]
    one_row: bool = False
    moved: tuple[float, ...] = ()

    def margins(self, objective: str, score: Array) -> Array:
        """(n, K) the margins that sets are made of, of scores (n,), or (n, K) of three classes or more."""
        return margins(objective, (score - np.array(self.moved[:-1])) / self.moved[-1] if self.moved else score)

    def sets(self, margin: Array) -> Bools:
        """(n, K) which classes are in the set, of margins (n, K)."""
        return np.asarray(margin >= np.array(self.limits))

    def worded(self, margin: Array) -> list[str]:
        """The sets of people (n, K) as text, the likeliest class first; "" where there is none."""
        order = np.argsort(-margin, axis=1, kind="stable")
        inside = self.sets(margin)
        return [", ".join(self.levels[j] for j in row if mine[j]) for row, mine in zip(order, inside, strict=True)]

    def plain(self) -> dict[str, Any]:
        """As it stands in the model's file."""
        lists = {key: list(getattr(self, key)) for key in ("levels", "limits", "people")}
        more = {"one_row": True} if self.one_row else {}
        moved = {"moved": list(self.moved)} if self.moved else {}
        return {"format": FORMAT, "alpha": self.alpha, **lists, **more, **moved}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Conformal:
        """The inverse of `plain`. StudyError where it is something else."""
        lists = [tuple(plain.get(key, ())) for key in ("levels", "limits", "people")]
        if plain.get("format") != FORMAT or len({len(one) for one in lists}) != 1 or not lists[0]:
            raise StudyError(f"its sets of classes are not as Confrere writes them ({FORMAT})")
        names, limits, people = lists
        one = tuple(map(str, names)), tuple(map(float, limits)), tuple(map(int, people))
        moved = tuple(map(float, plain.get("moved", ())))
        if moved and not (len(moved) == len(names) + 1 and np.isfinite(moved).all() and moved[-1] > 0):
            raise StudyError("its sets of classes have no intercept for each class and a slope above 0")
        alpha = float(plain["alpha"])
        if not (0 < alpha < 1 and (np.array(one[1]) < np.inf).all()):
            raise StudyError("its sets of classes miss a share that is none, or have limits that are none")
        return cls(alpha, *one, bool(plain.get("one_row", False)), moved)


# Limits, from counts that were told ---------------------------------------------------------------------------


def calibrated(told: Told, alpha: float, levels: tuple[str, ...]) -> Conformal:
    """The limits of two classes, from people held out by merged cell of their score, (2, cells) without and with the
    outcome."""
    cells = int(told.grid.max(initial=0)) + 1
    first = np.searchsorted(told.grid, np.arange(1, cells))  # ladder cell with which each merged cell but one begins
    edges = EDGES[first - 1]
    without, having = told.cells[len(told.cells) // 2 :, :cells]
    low = int(below(having, alpha))
    high = cells - int(below(without[::-1], alpha))
    limits = (_under(edges[high - 1]) if high < cells else ALWAYS, float(edges[low - 1]) if low else ALWAYS)
    return Conformal(alpha, levels, limits, (round(without.sum()), round(having.sum())))


def below(counts: Array, alpha: float) -> int:
    """How many of the first cells may lie beyond a limit, of people (cells,) from the worst: the finite-sample rule."""
    most = math.floor(alpha * (counts.sum() + 1) + 1e-9) - 1
    return int(np.searchsorted(np.cumsum(counts), most, side="right")) if counts.sum() else 0


def _under(edge: float) -> float:
    """The least margin of scores below an edge, the margin being the score with the other sign."""
    return float(np.nextafter(-edge, np.inf))


# How good the sets are ----------------------------------------------------------------------------------------


class Counted(NamedTuple):
    """Of each set of people that may be told, how many they are."""

    people: Sum  # (sets,)


@register("_conformal")
@dataclass(frozen=True, eq=False)
class Covered:
    """The sets of people held out, by class and by the column `by` of the analysis that learned the model.

    `told` are the cells of their scores that were told before. Of several classes the sets of everybody are told first,
    before the cells of losses; after them the others: `known` says of which of the first the size was told.
    """

    scored: Scored
    limits: Conformal
    told: Told
    known: tuple[bool, ...] = ()

    @property
    def by(self) -> str:
        """The column of subgroups; "" for none."""
        return str(self.scored.of.by)

    @property
    def subgroups(self) -> tuple[str, ...]:
        """The levels of the column."""
        return (self.scored.of.ground.schema.levels(self.by) or ()) if self.by else ()

    @property
    def several(self) -> bool:
        """Whether there are more than two classes."""
        return len(self.limits.levels) > 2

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Groups as (level, class), -1 for all: everybody, classes, levels, classes of levels."""
        classes, levels = len(self.limits.levels), len(self.subgroups)
        whole, *others = ((level, y) for level in range(-1, levels) for y in range(-1, classes))
        if not self.several:
            return (whole, *others)
        return tuple(others) if self.known else (whole,)

    @property
    def larger(self) -> range:
        """Sizes of sets of classes of which everybody's are counted: those that `PARTS` leave open."""
        return range(2, len(self.limits.levels) + 1) if self.several and not self.known else range(0)

    @property
    def before(self) -> int:
        """How many sets of several classes are looked at without being counted here: told before, but for the last."""
        return (sum(self.known) if self.known else len(self.limits.levels) + 2) if self.several else 0

    def design(self, people: People) -> Design:
        """Who is held out, by cell of their score, subgroup, class, size of their set, and whether it is right."""
        made = self.scored.design(people)
        index, among = self.atoms(people, made)
        atoms = len(among[0])
        place, many = self._places(made)
        index = np.where(made.data[2] == 1, place * atoms + index, -1)
        sets = Cells(index, (many, atoms), rule="known", needs=self.scored.needs, sets=among)
        columns = tuple(dict.fromkeys((*made.columns, *filter(None, [self.by]))))
        others = {name: cells for name, cells in made.cells.items() if name != "scores"}
        return replace(made, cells={**others, "sets": sets}, data=None, columns=columns)

    def atoms(self, people: People, made: Design) -> tuple[Ints, tuple[Bools, ...]]:
        """Everybody's subgroup, class, size of set, and whether that is right and the likeliest class wrong, as one
        number (n,); and which numbers make each set of people."""
        y, score, _ = made.data
        inside = self.limits.sets(margins(self.scored.forest.objective, score))
        classes, levels, kind = len(self.limits.levels), len(self.subgroups), y.astype(np.int64)
        level = np.full(made.n, levels)
        if self.by:
            codes = TableRows(people.table.frame[made.rows], self.scored.of.ground.schema, {}).codes(self.by)
            level = np.where(codes < 0, levels, codes)
        right = inside[np.arange(made.n), kind] if made.n else np.zeros(0, dtype=bool)
        index = ((level * classes + kind) * 2 + right) * (classes + 1) + inside.sum(axis=1)
        index = index * 2 + (erring(score, y) if classes > 2 else 0)
        return index, self._sets((levels + 1) * classes * 2 * (classes + 1) * 2, classes)

    def _places(self, made: Design) -> tuple[Ints | int, int]:
        """The cell of everybody's score, or loss, (n,) as told of who is held out; and how many there are."""
        wide, (y, score, _) = int(self.told.grid.max(initial=0)) + 1, made.data
        if not self.several:
            scores, rows = made.cells["scores"], len(self.told.cells) // 2
            at = self.told.grid[scores.index % scores.shape[1]]
            return np.maximum(scores.index // scores.shape[1] - rows, 0) * wide + at, rows * wide
        return (self.told.grid[by_losses(self.scored, score, y)], wide) if self.known else (0, 1)

    def _sets(self, size: int, classes: int) -> tuple[Bools, ...]:
        """Which atoms (size,) make each set: of several classes those `before`; of each group its `PARTS`; then who has
        a set of a larger size."""
        rest, wrong = np.divmod(np.arange(size), 2)
        rest, many = np.divmod(rest, classes + 1)
        rest, right = np.divmod(rest, 2)
        level, kind = np.divmod(rest, classes)
        one, none = many == 1, many == 0
        parts = (np.ones(size, dtype=bool), right == 1, one, (right == 1) & one, none)
        first = (*(kind == y for y in range(classes)), wrong == 1, one)  # how many abstain goes before coverage
        inside = [((v < 0) | (level == v)) & ((y < 0) | (kind == y)) for v, y in self.groups]
        sets = (*(group & part for group in inside for part in parts), *(many == m for m in self.larger))
        if not self.several:
            return sets
        whole = replace(self, known=())
        if not self.known:
            return (*first, *sets)
        return (*(s for s, told in zip(whole._sets(size, classes), self.known, strict=True) if told), *sets)

    @local(on="design")
    def counted(self, people: People) -> Counted:
        """People of each set that may be told."""
        cells = people.design.cells["sets"]
        atoms, held = cells.shape[1], cells.index >= 0
        inside = np.array(cells.sets[self.before :]) & self._may(people.grid("sets"))[self.before :, None]
        counted = np.asarray(inside @ np.bincount(cells.index[held] % atoms, minlength=atoms), dtype=float)
        classes = len(self.limits.levels)
        most = len(PARTS) * (1 + len(self.subgroups)) * (1 + classes) + (classes - 1 if self.several else 0)
        about: dict[str, Any] = {"dims": ("sets",), "bounds": (most,), "scale": 0, "known": True}
        return Counted(people.derived(counted, **about, needs=self.scored.needs))

    def _may(self, grid: Ints) -> Bools:
        """Of which sets, in order, the size may be told; none where one that was told before would not be now."""
        may = np.asarray(grid[0, -(self.before + len(self.groups) * len(PARTS) + len(self.larger)) :] >= 0)
        return may & bool(not self.known or may[: self.before].all())

    # sums only

    def flow(self) -> Flow[tuple[list[Record], tuple[bool, ...]]]:
        """The table `conformal`, a record per group; and of which sets, in order, the sizes are told."""
        verdict = yield from support(self.design)
        got = yield from ask(self.counted)
        many = len(self.groups) * len(PARTS)
        may = self._may(verdict.grids["sets"])
        told = may[self.before :]
        parts = told[:many].reshape(-1, len(PARTS))
        rows = list(self._records(got.people.value[:many].reshape(-1, len(PARTS)), parts))
        if self.larger and rows and rows[0]["n"] and told[many:].all() and parts[0, 2]:
            larger = got.people.value[many:] @ np.array(self.larger)
            rows[0]["mean_size"] = float(larger + got.people.value[2]) / rows[0]["n"]
        return rows, tuple(bool(one) for one in may)

    def _records(self, counts: Array, told: Bools) -> Iterator[Record]:
        for (level, y), counted, may in zip(self.groups, counts, told, strict=True):
            n, covered, one, right, none = counted.tolist()
            if may[0] and not n:
                continue
            known = may & may[0]
            limits = share(covered, n) if known[1] else None
            size = (2 * (n - none) - one) / n if known[2] and known[4] else None
            yield {
                "subgroup": self.by if level >= 0 else "", "level": self.subgroups[level] if level >= 0 else "",
                "class": self.limits.levels[y] if y >= 0 else "", "n": round(n) if known[0] else None,
                "coverage": limits and limits.estimate,
                "conf_low": limits and limits.conf_low, "conf_high": limits and limits.conf_high,
                "abstained": 1 - one / n if known[2] else None, "empty": none / n if known[4] else None,
                **({"mean_size": size} if len(self.limits.levels) == 2 else {}),
                "answered_right": right / n if known[3] else None, "suppressed": not bool(known.all()),
            }  # fmt: skip


class Promised(NamedTuple):
    """Limits as a table, how good they are as a table, and what a reader must know."""

    tables: dict[str, list[Record]]
    cautions: tuple[Caution, ...]
    cite: tuple[Citation, ...]


NO_SETS = Promised({}, (), ())


def judged(scored: Scored) -> Flow[tuple[Told, Promised]]:
    """How good the model is; with `conformal` above 0 the sets of classes too: their limits, and how good they are."""
    told = yield from trained(scored)
    several = scored.forest.objective == "multiclass" and bool(scored.of.share)
    beside = Beside(scored, told.errors)
    if scored.of.conformal:
        levels, alpha = classes_of(scored.of), float(scored.of.conformal)
        limits = (yield from _of_several(scored, told, levels)) if several else calibrated(told, alpha, levels)
        covered = Covered(scored, limits, told)
        rows, known = yield from covered.flow()
        if several:
            told = yield from with_losses(replace(beside, covered=covered, told=known), told)
            rows += (yield from Covered(scored, limits, told, known).flow())[0]
        return told, _promised(limits, rows, bool(getattr(scored.of, "one_row", False)))
    return ((yield from with_losses(beside, told)) if several else told), NO_SETS


def _of_several(scored: Scored, told: Told, levels: tuple[str, ...]) -> Flow[Conformal]:
    held = told.people[1]
    found = yield from limit(scored, held, scored.of.conformal)
    each = (ALWAYS if found is None else found,) * len(levels)
    return Conformal(float(scored.of.conformal), levels, each, (held,) * len(levels))


def _promised(limits: Conformal, rows: list[Record], one_row: bool) -> Promised:
    more = {"one_row": True} if one_row else {}
    records: list[Record] = [
        {"class": name, "limit": None if limit == ALWAYS else limit, "people": n, "alpha": limits.alpha} | more
        for name, limit, n in zip(limits.levels, limits.limits, limits.people, strict=True)
    ]
    lacking = [name for name, limit in zip(limits.levels, limits.limits, strict=True) if limit == ALWAYS]
    cautions = (few(lacking, limits.alpha),) if lacking else ()
    return Promised({"conformal": rows, "conformal_limits": records}, cautions, (VOVK,))


def few(classes: list[str], alpha: float) -> Caution:
    """The caution of classes without a limit."""
    return Caution(
        "few-to-calibrate",
        f"{', '.join(classes)}: too few people are held out to say when it is not the class at alpha = {alpha:g}, so "
        f"that it is in every set. Hold out more people, or take a larger alpha.",
    )


def classes_of(of: Any) -> tuple[str, ...]:
    """The names of the classes of an outcome: its declared levels, or 0 and 1."""
    return tuple(of.ground.schema.levels(of.outcome) or ("0", "1"))


def wrong(of: Any, objective: str) -> Iterator[str]:
    """Why sets of classes cannot be made of an analysis."""
    if of.by and not of.conformal:
        yield "by is for the sets of classes: set conformal too, such as conformal = 0.1"
    if of.by and len(of.ground.schema.levels(of.by) or ()) < 2:
        yield f"by = {of.by!r}: declare its levels, [data.columns.{of.by}] levels = [...]"
    if not of.conformal:
        return
    if not 0.001 <= of.conformal <= 0.5:
        yield f"conformal is {of.conformal}; it is how often the class may be missing, from 0.001 to 0.5"
    if objective not in ("binary", "multiclass"):
        yield f"conformal is for an outcome of classes; that of objective {objective!r} is none"
    if not of.share:
        yield "conformal needs people who are held out: set holdout, such as 0.3, and [data] person = ..."


def found_in(tables: Mapping[str, Any]) -> Conformal | None:
    """The sets of a finding's tables; None where there are none."""
    rows = tables.get("conformal_limits")
    if not rows:
        return None
    limits = tuple(ALWAYS if r["limit"] is None else float(r["limit"]) for r in rows)
    classes, people = tuple(r["class"] for r in rows), tuple(int(r["people"]) for r in rows)
    return Conformal(rows[0]["alpha"], classes, limits, people, bool(rows[0].get("one_row", False)))
