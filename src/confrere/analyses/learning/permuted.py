"""Permutation importance over sums: how much worse the trees predict people held out who have another's value.

The value of a feature of a person held out is replaced by one drawn from how the people of training are spread over the
bins of the trees, which everybody who follows the flow knows; the draw follows from the keyed hash of the person. So no
value crosses hospitals, and what comes out does not depend on the deal of the people. A column of levels is replaced as
a whole. What leaves are, of each feature, the sums of the rise of the loss and of its square.

A sum rests on the people whose loss changes, and the difference of two sums on those whose losses change differently:
the hospitals count both first, and a feature by which a few people would be told is not told.

Sources: Breiman, Mach Learn 2001;45:5; Fisher, Rudin & Dominici, J Mach Learn Res 2019;20(177), whose model reliance
this is, with draws; scikit-learn's `permutation_importance` shuffles the values of the people held out among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple, cast

import numpy as np

from confrere.analyses import beside
from confrere.analyses.finding import Citation, Record
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.grown import Agreed
from confrere.analyses.learning.scored import Scored, mean_record
from confrere.analyses.learning.scored_times import ScoredTimes
from confrere.analyses.learning.state import mixed
from confrere.rounds import Array, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support

MOST, FEATURES = 100, 25  # repeats; features, of which every two are held against each other
LOSSES = {"binary": "log loss", "multiclass": "log loss", "squared": "mean squared error", "poisson": "Poisson loss",
          "cox": "deviance"}  # fmt: skip
BREIMAN = Citation("Breiman L. Random forests. Mach Learn 2001;45:5-32", "10.1023/A:1010933404324")


class Marginal(NamedTuple):
    """What the value of a feature is replaced by.

    name    the column
    terms   (t,) which terms of the trees are made of it
    cuts    (c,) of a number its cut points; of levels None
    upto    (v,) the share of the people of training in the bins up to this one: those between cut points, or with each
            level and with one that no tree can tell; and the missing
    """

    name: str
    terms: Ints
    cuts: Array | None
    upto: Array

    @property
    def values(self) -> Array:
        """(v, t) a value of the terms for each bin."""
        if self.cuts is not None:
            return np.concatenate([[-np.inf], self.cuts, [np.nan]])[:, None]  # what is at a cut is above it
        many = len(self.terms)
        return np.vstack([np.eye(many), np.zeros((1, many)), np.full((1, many), np.nan)])


class Rise(NamedTuple):
    """People held out; sums of the rise of their losses and of its square."""

    people: Sum  # ()
    rise: Sum  # (features, 2 powers)


@register("_permuted")
@dataclass(frozen=True, eq=False)
class Permuted:
    """The rise of the losses of who is held out, feature by feature. `scored` is the model and its loss."""

    scored: Scored | ScoredTimes
    marginals: tuple[Marginal, ...]

    def design(self, people: People) -> Design:
        """By how much everybody's loss rises, of people of training 0; whose does, and whose of two features differ."""
        made: Design = self.scored.of.people(people)
        out = ~made.data[2]
        rises = np.zeros((made.n, len(self.marginals)))
        rises[out] = self._rises([v[out] for v in made.data[1]], made.data, out)
        cells = {f"permuted {i}:{i}": _some(rises[:, i] != 0) for i in range(len(self.marginals))}
        for i, j in combinations(range(len(self.marginals)), 2):
            cells[f"permuted {i}:{j}"] = _some(rises[:, i] != rises[:, j])
        return replace(made, cells={**made.cells, **cells}, data=(rises, out))

    def _rises(self, values: list[Array], data: Any, out: Any) -> Array:
        """(m, features) of the people held out: the mean over the repeats."""
        of, forest = self.scored.of, self.scored.forest
        before, words = self.scored.lost(forest.score(values), data, out), data[3][out]
        rises = np.zeros((len(before), len(self.marginals)))
        used = {f for tree in forest.trees for f in tree.feature[tree.feature >= 0].tolist()}
        for i, marginal in enumerate(self.marginals):
            if not used & set(marginal.terms.tolist()):
                continue
            for repeat in range(of.permutation):
                turn = mixed(words, of.seed, -2 - (repeat * FEATURES + i))
                drawn = np.searchsorted(marginal.upto[:-1], turn, side="right")
                given = list(values)
                for t, of_bin in zip(marginal.terms, marginal.values.T, strict=True):
                    given[t] = of_bin[drawn]
                rises[:, i] += (self.scored.lost(forest.score(given), data, out) - before) / of.permutation
        return rises

    @local(on="design")
    def risen(self, people: People, told: Ints) -> Rise:
        """Sums of the rise of the losses of people held out, and of its square, of the features that are told."""
        rises, out = people.design.data
        sums = np.zeros((len(self.marginals), 2))
        sums[told] = np.stack([rises[:, told].sum(axis=0), (rises[:, told] ** 2).sum(axis=0)], axis=1)
        return Rise(people.count(out), people.derived(sums, dims=("features", "powers")))

    # sums only

    def flow(self) -> Flow[list[Record]]:
        """The table `permutation`, the most useful feature first."""
        few = beside.few((yield from support(self.design)))
        told: list[int] = []
        for i in range(len(self.marginals)):
            if not any(pair in few for pair in [(i, i), *((j, i) for j in told)]):
                told.append(i)
        got = yield from ask(self.risen, np.array(told, dtype=np.int64))
        n, rows = float(got.people.value), []
        for i, (marginal, (total, square)) in enumerate(zip(self.marginals, got.rise.value, strict=True)):
            row = mean_record(LOSSES[self.scored.of.objective], total, square, n)
            hidden = {} if i in told else dict.fromkeys(("estimate", "conf_low", "conf_high"))
            rows.append({"feature": marginal.name} | row | hidden | {"suppressed": i not in told})
        return sorted(rows, key=lambda r: np.inf if r["suppressed"] else -r["estimate"])


def _some(who: Any) -> Cells:
    """The people marked (n,), as one cell, in as little room as may be: there are many of these."""
    return replace(beside.anyone(who), index=cast(Ints, np.where(who, 0, -1).astype(np.int8)))


def permuted(scored: Scored | ScoredTimes, agreed: Agreed, n: int) -> Flow[dict[str, list[Record]]]:
    """The table `permutation` of an analysis that asks for it, of `n` people who train; else none."""
    if not scored.of.permutation:
        return {}
    rows = yield from Permuted(scored, marginals_of(scored.of, scored.forest, agreed, n)).flow()
    return {"permutation": rows}


def marginals_of(of: Any, forest: Forest, agreed: Agreed, n: int) -> tuple[Marginal, ...]:
    """How the people of training are spread over the bins of each feature: of those with the largest gain, if many."""
    found: list[Marginal] = []
    gains, worth, first = forest.gains(), dict[str, float](), 0
    for name in of.features:
        levels = of.ground.schema.levels(name)
        terms = np.arange(first, first := first + (1 if levels is None else len(levels)))
        bins, cuts = [agreed.bins[t] for t in terms], agreed.cuts[terms[0]]
        present = float(bins[0].sum())
        counts = bins[0]
        if levels is not None:  # those between cut points, if there are any, have the level or not
            having = np.array([b[-1] if len(b) > 1 else 0.0 for b in bins])
            counts, cuts = np.append(having, max(0.0, present - having.sum())), None
        upto = np.cumsum(np.append(counts, max(0.0, n - present)))
        found.append(Marginal(name, terms, cuts, upto / upto[-1]))
        worth[name] = sum(gains.get(of.terms[t], 0.0) for t in terms)
    return tuple(sorted(found, key=lambda m: -worth[m.name])[:FEATURES])


def wrong(of: Any) -> Iterator[str]:
    """Why permutation importance cannot be made of an analysis."""
    if not 0 <= of.permutation <= MOST:
        yield f"permutation is {of.permutation}; it is how often each value is drawn anew, from 0 (never) to {MOST}"
    if of.permutation and not of.share:
        yield "permutation needs people who are held out: set holdout, such as 0.3, and [data] person = ..."
