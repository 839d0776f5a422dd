"""Effects in groups of people that a study names in advance, and rules of subgroups found in some and tested in others.

Groups are sets: people whose predicted effect is at least a public edge, people who meet a criterion of the study, and
people who meet two. Everything told of a set is a sum of scores (`learners`) and of their squares. The gate tells only
sets of which no combination, by arm of treatment too, rests on 1 to k-1 people (rule `known`): what two neighbouring
sets, or a leaf and a class of predicted effects, differ by is a set as well.

A tree of at most two levels is grown from sums over the criteria and pairs of them alone, so that growing asks nothing:
each step takes the split with the largest z = difference of the sides' effects over its standard error (causal tree:
Athey & Imbens, PNAS 2016;113:7353), if that is above 1.96 and all sides have enough people. A policy tree is that of
all trees whose leaves, each treated or not, gain the most over its people (Athey & Wager, Econometrica 2021;89:133;
Zhou, Athey & Wager, Oper Res 2023;71:148). On other people each leaf is tested against all others, p by Holm (Scand J
Stat 1979;6:65), and the tree is valued (`policy`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.distributions import norm_sf
from confrere.analyses.effects.arms import Models
from confrere.analyses.effects.learners import Scores, Side
from confrere.analyses.effects.nuisance import Fitted, predictor
from confrere.analyses.finding import Record
from confrere.errors import StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support
from confrere.study.criteria import Criterion, Joined, criterion
from confrere.study.ground import Ground
from confrere.study.rows import TableRows

SPLIT = 1.96  # z of the difference between the sides of a split
MOST = 6  # criteria: their patterns by arm are counted

Rule = tuple[tuple[int, bool], ...]  # criteria by their place, each met or not


class Told(NamedTuple):
    """By set: people treated; people and sums of S0, S1, S0^2, S0 S1, S1^2 of the scores S of either treatment.

    0 throughout for a set that may not be told.
    """

    treated: Sum  # (sets,)
    sums: Sum  # (sets, 6)


class Most(NamedTuple):
    """Public bounds: of sets, and of the patterns that they are made of."""

    sets: int
    patterns: int


class Group(NamedTuple):
    """Sums over the people of a group: how many, how many treated, and the moments (6,) of `Told`."""

    treated: float
    sums: Array

    @property
    def n(self) -> float:
        """People."""
        return float(self.sums[0])

    @property
    def effect(self) -> float:
        """The mean score of the effect, in standard deviations of the outcome."""
        return float(self.sums[2] - self.sums[1]) / self.n

    @property
    def square(self) -> float:
        """The sum of squares of the scores."""
        return float(self.sums[3] - 2 * self.sums[4] + self.sums[5])

    @property
    def variance(self) -> float:
        """Of the effect."""
        return max(self.square / self.n - self.effect**2, 0.0) / max(self.n - 1, 1.0)

    @property
    def compares(self) -> bool:
        """Whether people of both arms are in it."""
        return self.treated > 0.5 and self.n - self.treated > 0.5

    def less(self, other: Group) -> Group:
        """The people of this group who are not in the other, a part of it."""
        return Group(self.treated - other.treated, self.sums - other.sums)

    def more(self, other: Group) -> Group:
        """The people of this group, and of another that has none of them."""
        return Group(self.treated + other.treated, self.sums + other.sums)

    def enough(self, least: int) -> bool:
        """Whether it has so many people, and a tenth as many of either arm."""
        some = max(least / 10, 2)
        return self.n >= least - 0.5 and self.treated >= some and self.n - self.treated >= some


class Priced(NamedTuple):
    """What a benefit is, in units of the outcome: `sign` of it, and how large it must be for a rule to treat."""

    sign: float
    threshold: float

    def gain(self, group: Group, sd: float) -> float:
        """The benefit of all of a group together, less the threshold for each; `sd` is the unit of the scores."""
        return group.n * (self.sign * sd * group.effect - self.threshold) if group.n > 0.5 else 0.0


@register("_groups")
@dataclass(frozen=True)
class Groups(Scores):
    """Sums of scores over sets: whose predicted effect is at least each edge; who meets the criteria of each rule."""

    criteria: tuple[str, ...]
    rules: tuple[Rule, ...]
    most: Most
    prediction: Fitted | None = None
    edges: tuple[float, ...] = ()  # ascending, in units of the prediction's frame

    def design(self, people: People) -> Design:
        """The pattern of everybody: place among the edges, criteria met, arm."""
        made = super().design(people)
        rows = TableRows(people.table.frame[made.rows], self.ground.schema, {})
        met = [criterion(text, self.ground.schema).judge(rows).met for text in self.criteria]
        index = made.data.treated.astype(np.int64)
        for j, who in enumerate(met):
            index += who.astype(np.int64) << (1 + j)
        if self.prediction is not None:
            s = predictor(made.data.v, self.prediction) / self.prediction.frame.reach
            index += np.searchsorted(np.array(self.edges), s, side="right") << (1 + len(met))
        cells = {"groups": Cells(index, (1, self.most.patterns), rule="known", sets=self._sets(self.most.patterns))}
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=cells)

    def _sets(self, size: int) -> tuple[Bools, ...]:
        """Which patterns (size,) make each set, everybody first, and the treated of each."""
        pattern = np.arange(size)
        above = pattern >> (1 + len(self.criteria))
        sets = [np.ones(size, dtype=bool), *(above > j for j in range(len(self.edges)))]
        for rule in self.rules:
            holds = [(pattern >> (1 + j)) & 1 == met for j, met in rule]
            sets.append(np.logical_and.reduce(holds))
        return tuple(part for s in sets for part in (s, s & (pattern & 1 == 1)))

    @local(on="design")
    def told(self, people: People, models: Models) -> Told:
        """Sums of scores over the sets that may be told."""
        cells, at = people.design.cells["groups"], self._personal(people, models)
        place = self.places(people.grid("groups"))
        g0, g1 = at.gamma
        values = np.column_stack([np.ones(len(g0)), g0, g1, g0**2, g0 * g1, g1**2])
        treated, sums = np.zeros(len(place)), np.zeros((len(place), 6))
        for j in np.flatnonzero(place):
            sums[j] = values[cells.sets[2 * j][cells.index]].sum(axis=0)
            treated[j] = cells.sets[2 * j + 1][cells.index].sum()
        dims = ("sets", "sums")
        return Told(
            people.derived(treated, dims=dims[:1], bounds=(self.most.sets,)),
            people.derived(sums, at.own, dims=dims, bounds=(self.most.sets, 6)),
        )

    def places(self, grid: Ints) -> Bools:
        """Which sets the gate tells, with the treated among them, (sets,)."""
        return np.asarray((grid[0, self.most.patterns :].reshape(-1, 2) >= 0).all(axis=1))


def groups(on: Groups, models: Models) -> Flow[list[Group | None]]:
    """Everybody, then each set; None for what may not be told."""
    verdict = yield from support(on.design)
    got = yield from ask(on.told, models)
    place = on.places(verdict.grids["groups"])
    return [Group(float(t), s) if p else None for t, s, p in zip(got.treated.value, got.sums.value, place, strict=True)]


def spelt_out(entry: str, ground: Ground) -> tuple[str, ...]:
    """The criteria that an entry of `subgroups` gives, in one spelling."""
    if entry.isidentifier():
        column = ground.schema.column(entry)
        if column.levels is not None:
            return tuple(f"{entry} == {level!r}" for level in column.levels[len(column.levels) == 2 :])
        if column.range is not None:
            low, high = column.range
            return tuple(f"{entry} >= {low + (high - low) * q:g}" for q in (0.25, 0.5, 0.75))
        raise StudyError(
            f"subgroups: {entry!r} has neither levels nor a range declared; write a cut, as '{entry} >= 65'"
        )
    found: Criterion = criterion(entry, ground.schema)
    if isinstance(found.rule, Joined):
        raise StudyError(f"subgroups: {entry!r} joins comparisons; give each by itself, the tree joins them")
    return (found.canonical,)


# Growing ------------------------------------------------------------------------------------------------------


def candidates(criteria: int) -> tuple[Rule, ...]:
    """The sets that a tree is grown from: each criterion, then each pair."""
    ones: list[Rule] = [((j, True),) for j in range(criteria)]
    return (*ones, *(((i, True), (j, True)) for i, j in combinations(range(criteria), 2)))


class Grown(NamedTuple):
    """Sums of the people whom a tree may divide, by candidate set."""

    everybody: Group
    of: dict[Rule, Group]

    def group(self, rule: Rule) -> Group | None:
        """The people who meet these criteria, or fail them, by subtraction; None where sums for it may not be told."""
        rule = tuple(sorted(rule))
        if not rule:
            return self.everybody
        fails = [r for r in rule if not r[1]]
        if not fails:
            return self.of.get(rule)
        rest = tuple(r for r in rule if r != fails[0])
        outer, inner = self.group(rest), self.group((*rest, (fails[0][0], True)))
        return None if outer is None or inner is None else outer.less(inner)


def grow(grown: Grown, criteria: int, depth: int, least: int) -> tuple[Rule, ...]:
    """The leaves of the tree; of one leaf, (), where nothing divides the people."""
    leaves: list[Rule] = []

    def split(rule: Rule) -> None:
        used = {j for j, _ in rule}
        options = [j for j in range(criteria) if j not in used] if len(rule) < depth else []
        best = max(((_parted(grown, rule, j, least), -j) for j in options), default=(0.0, 0))
        if best[0] < SPLIT:
            leaves.append(rule)
            return
        for met in (True, False):
            split((*rule, (-best[1], met)))

    split(())
    return tuple(leaves)


def _parted(grown: Grown, rule: Rule, j: int, least: int) -> float:
    """|z| of the difference in effect between the two sides of a split; 0 where a side is too small."""
    sides = [grown.group((*rule, (j, met))) for met in (True, False)]
    one, other = sides
    if one is None or other is None or not (one.enough(least) and other.enough(least)):
        return 0.0
    variance = one.variance + other.variance
    return round(abs(one.effect - other.effect) / np.sqrt(variance), 9) if variance > 0 else 0.0


def allotted(grown: Grown, criteria: int, depth: int, least: int, gain: Callable[[Group], float]) -> tuple[Rule, ...]:
    """The leaves of the tree whose people gain the most, were each leaf treated that gains; the fewest that do."""

    def best(rule: Rule) -> tuple[float, tuple[Rule, ...]]:
        here = grown.group(rule)
        most, leaves = 0.0 if here is None else max(gain(here), 0.0), tuple[Rule, ...]((rule,))
        used = {j for j, _ in rule}
        for j in range(criteria) if len(rule) < depth else ():
            sides = [grown.group((*rule, (j, met))) for met in (True, False)]
            if j in used or any(side is None or not side.enough(least) for side in sides):
                continue
            parts = [best((*rule, (j, met))) for met in (True, False)]
            if (both := parts[0][0] + parts[1][0]) > most + 1e-9 * grown.everybody.n:
                most, leaves = both, parts[0][1] + parts[1][1]
        return most, leaves

    return best(())[1]


class Tree(NamedTuple):
    """What a tree is grown of: `causal` or `policy`, criteria, levels, people in a leaf; what is gained; bounds."""

    kind: str
    criteria: tuple[str, ...]
    depth: int
    least: int
    priced: Priced
    most: Most


class Leaves(NamedTuple):
    """The leaves of a tree, and which of them gain by the treatment among the people who taught it."""

    rules: tuple[Rule, ...]
    treat: tuple[bool, ...]


def learnt(side: Side, tree: Tree) -> Flow[Leaves]:
    """The leaves found among the people of a side."""
    nothing = Leaves(((),), (False,))
    if not tree.criteria:
        return nothing
    many = len(tree.criteria)
    rules = candidates(many)[: None if tree.depth > 1 else many]
    everybody, *found = yield from groups(Groups(*side.scores.settings, tree.criteria, rules, tree.most), side.models)
    if everybody is None:
        return nothing
    of = {rule: group for rule, group in zip(rules, found, strict=True) if group is not None}
    grown, sd = Grown(everybody, of), side.models.scale.sd

    def gain(group: Group) -> float:
        return tree.priced.gain(group, sd)

    asked = (grown, many, tree.depth, tree.least)
    leaves = allotted(*asked, gain) if tree.kind == "policy" else grow(*asked)
    known = [grown.group(leaf) for leaf in leaves]
    return Leaves(leaves, tuple(group is not None and gain(group) > 0 for group in known))


# Testing ------------------------------------------------------------------------------------------------------


def spelt(rule: Rule, criteria: Sequence[str]) -> str:
    """A rule as a criterion of a study file; empty for everybody."""
    return " and ".join(criteria[j] if met else f"not ({criteria[j]})" for j, met in rule)


def tested(leaves: Sequence[Rule], criteria: Sequence[str], found: Sequence[Group | None], scale: tuple[float, float],
           everybody: Group) -> list[Record]:  # fmt: skip
    """A record per leaf: its effect, its difference from all others, and p by Holm.

    `scale` is the unit of the scores, and 1 or -1: the sign of a benefit.
    """
    sd, sign = scale
    raw = [None if g is None or not g.compares or len(leaves) == 1 else _against(g, everybody.less(g)) for g in found]
    p = holm([r[2] for r in raw if r is not None], 1 if len(leaves) == 2 else len(leaves))
    adjusted = iter(p)
    records: list[Record] = []
    reach = float(special.ndtri(0.975))
    for rule, group, test in zip(leaves, found, raw, strict=True):
        record: Record = {"rule": spelt(rule, criteria)}
        if group is None or not group.compares:
            blank = ("n", "treated", "estimate", "std_error", "conf_low", "conf_high", "difference", "difference_se",
                     "p_value", "p_holm", "benefits")  # fmt: skip
            records.append(record | dict.fromkeys(blank) | {"suppressed": True})
            continue
        effect, se = sd * group.effect, sd * float(np.sqrt(group.variance))
        record |= {"n": round(group.n), "treated": round(group.treated), "estimate": effect, "std_error": se,
                   "conf_low": effect - reach * se, "conf_high": effect + reach * se}  # fmt: skip
        holm_p = None if test is None else next(adjusted)
        more = (None, None, None) if test is None else (sd * test[0], sd * test[1], test[2])
        record |= dict(zip(("difference", "difference_se", "p_value"), more, strict=True)) | {"p_holm": holm_p}
        benefits = holm_p is not None and holm_p < 0.05 and sign * more[0] > 0 and sign * effect - reach * se > 0  # type: ignore[operator]
        records.append(record | {"benefits": benefits})
    return records


def _against(one: Group, other: Group) -> tuple[float, float, float] | None:
    """Difference of two groups' effects, its standard error and p; None where there is none to test."""
    variance = one.variance + other.variance if one.compares and other.compares else 0.0
    if variance <= 0:
        return None
    difference, se = one.effect - other.effect, float(np.sqrt(variance))
    return difference, se, float(2 * norm_sf(abs(difference) / se))


def holm(p: Sequence[float], tests: int) -> list[float]:
    """Holm's adjusted p values among so many tests, of which these were made."""
    out, most = [0.0] * len(p), 0.0
    for place, i in enumerate(np.argsort(p, kind="stable").tolist()):
        most = max(most, min(1.0, p[i] * max(tests - place, 1)))
        out[i] = most
    return out
