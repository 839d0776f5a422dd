"""How good relative risks are, of people who are followed: concordance and deviance.

Harrell's concordance is of pairs within hospitals, as of Cox regression, its standard error by the infinitesimal
jackknife; no times or scores need to be counted in cells for it. The deviance is that by the baseline hazard of the
people of training (`followed`); of it the mean and its standard error follow from two sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses import concordance
from confrere.analyses.finding import Record
from confrere.analyses.ladder import cell_of
from confrere.analyses.learning import followed
from confrere.analyses.learning.attack_times import Tried
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.scored import SAMPLES, Told, Z, apparent, mean_record
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register
from confrere.study.rows import TableRows


class Deviances(NamedTuple):
    """Sums of people, deviances and events by sample; of pairs that are concordant, discordant, tied in risk."""

    people: Sum  # (samples,)
    deviance: Sum  # (samples, 2 powers)
    events: Sum  # (samples,)
    pairs: Sum  # (samples, 3)


class Spread(NamedTuple):
    """Sums over people of squared influence on the concordance."""

    square: Sum  # (samples,)


@register("_scored_times")
@dataclass(frozen=True, eq=False)
class ScoredTimes:
    """The scores of a model's own people. `of` is the analysis that grew the forest.

    `times` are right edges of the ladder, `grid` (ladder cells,) its cells as merged among who trains, `hazard`
    (cells,) the baseline hazard of who leaves there.
    """

    of: Any
    forest: Forest
    times: tuple[float, ...]
    grid: Ints
    hazard: Array

    @property
    def samples(self) -> int:
        """Who was trained on, and who was held out if anybody was."""
        return 2 if self.of.share else 1

    # inside each hospital

    def design(self, people: People) -> Design:
        """Everybody's time, score, sample, and stratum within which pairs are compared: all of the hospital."""
        made: Design = self.of.people(people)
        event, values, train, _, time = made.data
        sample, within, cells = (~train).astype(np.int64), np.zeros(made.n, dtype=np.int64), dict(made.cells)
        if self.of.within:  # no pair is of a few: events and others of each level, of who trains and who does not
            levels = self.of.ground.schema.levels(self.of.within) or ()
            within = TableRows(people.table.frame, self.of.ground.schema, {}).codes(self.of.within)[made.rows]
            cells["within"] = Cells((within * 2 + sample) * 2 + (event > 0), (1, 4 * len(levels)))
        return replace(made, cells=cells, data=(event, self.forest.score(values), sample, time, within * 2 + sample))

    def tried(self, people: People) -> Tried:
        """Everybody, half their deviance, who trained, and strata: for the attack on membership."""
        made = self.design(people)
        event, score, sample, time, within = made.data
        return Tried(made, self._deviance(score, event, time) / 2, sample == 0, within // 2)

    def lost(self, score: Array, data: Any, who: Bools) -> Array:
        """The deviance of some of the people (m,) at their scores; `data` is that of everybody."""
        return self._deviance(score, data[0][who], data[4][who])

    def _deviance(self, score: Array, event: Array, time: Array) -> Array:
        return followed.deviance(score, event, self.hazard[self.grid[cell_of(time, self.times)]])

    @local(on="design")
    def measured(self, people: People) -> Deviances:
        """Sums of deviances, and pairs."""
        event, score, sample, time, _ = people.design.data
        loss = self._deviance(score, event, time)
        many, dims = self.samples, ("samples", "powers")
        powers = np.stack([_by(sample, v, many) for v in (loss, loss**2)], axis=1)
        pairs = np.stack([_by(sample, p, many) for p in self._pairs(people)], axis=1) / 2
        return Deviances(
            people.derived(np.bincount(sample, minlength=many).astype(float), dims=dims[:1], scale=0, known=True),
            people.derived(powers, dims=dims),
            people.derived(_by(sample, event, many), dims=dims[:1], scale=0, known=True),
            people.derived(pairs, dims=("samples", "kinds")),
        )  # fmt: skip

    @local(on="design")
    def spread(self, people: People, estimates: Array, totals: Array) -> Spread:
        """Sums of squared influence on concordances (samples,) of so many pairs."""
        sample, (concordant, discordant, tied) = people.design.data[2], self._pairs(people)
        every = concordant + discordant + tied
        influence = (concordant + tied / 2 - estimates[sample] * every) / np.maximum(totals[sample], 1.0)
        return Spread(people.derived(_by(sample, influence**2, self.samples), dims=("samples",)))

    def _pairs(self, people: People) -> concordance.Pairs:
        """Everybody's comparable pairs."""
        event, score, _, time, within = people.design.data
        ones = np.ones(len(time))
        return people.design.once("pairs", lambda: concordance.pairs(time, event > 0, score, ones, within))


def _by(sample: Ints, values: Array, many: int) -> Array:
    """Sums of values (n,) by sample (many,)."""
    return np.bincount(sample, values, many).astype(float)


# Sums only ------------------------------------------------------------------------------------------------------


def ranked(scored: ScoredTimes) -> Flow[Told]:
    """How good the model is, among who is held out first."""
    found = yield from ask(scored.measured)
    pairs = found.pairs.value
    totals = pairs.sum(axis=1)
    estimates = (pairs[:, 0] + pairs[:, 2] / 2) / np.maximum(totals, 1.0)
    spread = yield from ask(scored.spread, estimates, totals)
    metrics: list[Record] = []
    for s in reversed(range(scored.samples)):
        n, c, se = float(found.people.value[s]), float(estimates[s]), float(np.sqrt(spread.square.value[s]))
        if totals[s] > 0:
            limits = {"conf_low": max(0.0, c - Z * se), "conf_high": min(1.0, c + Z * se)}
            metrics.append({"metric": "concordance", "estimate": c, **limits, "sample": SAMPLES[s]})
        if n:
            total, square = found.deviance.value[s]
            metrics.append(mean_record("deviance", total, square, n) | {"sample": SAMPLES[s]})
    events = round(float(found.events.value.sum()))
    cautions = () if scored.of.share else (apparent(scored.of),)
    return Told({"metrics": metrics}, events, cautions, np.zeros((0, 0)), np.zeros(0, dtype=np.int64))
