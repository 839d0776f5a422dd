"""Harrell's concordance over all hospitals at once, on fixed public bins of risk and the ladder of times.

Risks are cut at the normal quantiles of the linear predictor (mean and standard deviation are asked), so that a pair
within a bin counts as tied; times as in `follow_up`. On exact times equals R survival::concordance of the binned risk;
with 40 bins it lies within about 0.002 of that of the risk itself. The variance is the infinitesimal jackknife.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.cox import Beta, Cox
from confrere.analyses.curves import cellwise, own_edges, suppressed
from confrere.analyses.distributions import norm_ppf
from confrere.analyses.follow_up import Table
from confrere.analyses.ladder import cell_of
from confrere.analyses.scaling import Standard
from confrere.rounds import Array, Cells, Design, Flow, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import design_of

FEWEST, MOST = 4, 40  # bins of risk


class Size(NamedTuple):
    """Moments of the linear predictor of the standardised terms."""

    total: Sum  # ()
    first: Sum  # ()
    second: Sum  # ()


class Ranked(NamedTuple):
    """People by bin of risk and time who leave with and without the event."""

    dead: Sum  # (bins, cells)
    alive: Sum  # (bins, cells)


@register("_ranks")
@dataclass(frozen=True)
class Ranks:
    """Concordance of a Cox model with a shared baseline."""

    cox: Cox

    def people(self, people: People) -> Design:
        """Raw terms."""
        return design_of(people, self.cox.formula, self.cox.ground, weights=self.cox.weights)

    @local(on="people")
    def size(self, people: People, beta: Beta, z: Standard) -> Size:
        """Moments of the linear predictor."""
        lp = z.times(people.design.data.x, beta)
        ones = people.derived(np.array(float(lp.size)))
        return Size(ones, people.derived(lp.sum()), people.derived((lp**2).sum()))

    def binned(
        self, people: People, beta: Beta, z: Standard, cuts: tuple[float, ...], edges: tuple[float, ...]
    ) -> Design:
        """Bin of risk and exit of each person."""
        made = self.people(people)
        rows, ground, size = made.data, self.cox.ground, (len(cuts) + 1, len(edges) + 1)
        index = np.searchsorted(cuts, z.times(rows.x, beta)) * size[1] + cell_of(rows.time, edges)
        rule: dict[str, Any] = (
            {"rule": "fine", "needs": "fine_times"} if ground.fine else {"rule": "merge", "family": "ranks"}
        )
        cells = {
            name: Cells(np.where(who, index, -1), size, days=ground.days, **rule)
            for name, who in (("dead", rows.event > 0), ("alive", ~(rows.event > 0)))
        }
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, weights=None, cells=cells, data=None)

    @local(on="binned")
    def ranked(self, people: People) -> Ranked:
        """Counts by bin and time."""
        return Ranked(people.cells("dead"), people.cells("alive"))

    def concordance(self, beta: Beta, z: Standard, edges: tuple[float, ...], given: Verdict) -> Flow[dict[str, Any]]:
        """C and its standard error; nothing where the bins of risk would be too few or cost too many numbers."""
        fine, columns = self.cox.ground.fine, 2 * (len(edges) + 1)
        bins = MOST if fine else min(MOST, given.n // (20 * max(given.k, 1)), given.budget // (4 * columns))
        if bins < FEWEST:
            return {}
        size = yield from ask(self.size, beta, z)
        n = float(size.total.value)
        mean = float(size.first.value) / n
        sd = float(np.sqrt(max(float(size.second.value) / n - mean**2, 1e-30)))
        cuts = tuple(float(c) for c in mean + sd * norm_ppf(np.arange(1, bins) / bins))
        verdict = yield from support(self.binned, beta, z, cuts, edges)
        got = yield from ask(self.ranked)
        return concordant(_table(got, verdict, edges), self.cox.ground.fine)


def _table(got: Ranked, verdict: Verdict, edges: Sequence[float]) -> Table:
    """The counts as a table of exits whose groups are the bins of risk, lowest first."""
    bins = tuple(str(b) for b in range(len(got.dead.value)))
    counts = {"cause 1": got.dead.value, "censored": got.alive.value}
    maps = {"cause 1": verdict.grids["dead"], "censored": verdict.grids["alive"]}
    return Table(bins, (), ("cause 1", "censored"), counts, maps, np.array(edges), verdict)


def concordant(table: Table, exact: bool) -> dict[str, Any]:
    """C and its standard error from people by bin of risk and cell of time."""
    used = [g for g in range(len(table.groups)) if not suppressed(table, g)]
    if len(used) < 2:
        return {}
    edges = np.unique(np.concatenate([own_edges(table, g) for g in used]))
    cells = [one for g in used if (one := cellwise(table, g, exact, edges)) is not None]
    d, c = np.array([x.all_events for x in cells]), np.array([x.censored for x in cells])
    n = np.array([x.at_risk for x in cells])
    # whom an event of this cell is compared with, and the events with which a later exit is compared
    later = n - d if exact else n - (d + c) / 2
    before = np.cumsum(d, axis=1) - d
    event, censored = (before, before + d) if exact else (before + d / 2, before + d / 2)
    first = _kinds(later, lower_is_concordant=True)
    total, good = float((d * first.sum(axis=0)).sum()), float((d * (first[0] + first[1] / 2)).sum())
    if total <= 0:
        return {}
    estimate = good / total
    as_event, as_censored = (_kinds(x, lower_is_concordant=False) for x in (event, censored))
    square = (d * _influence(first + as_event, estimate) ** 2).sum() + (
        c * _influence(as_censored, estimate) ** 2
    ).sum()
    return {"concordance": estimate, "concordance_se": float(np.sqrt(square)) / total, "concordance_bins": len(used)}


def _kinds(weights: Array, *, lower_is_concordant: bool) -> Array:
    """For each bin and cell the weight (concordant, tied, discordant) of the others at risk: (3, bins, cells)."""
    below = np.cumsum(weights, axis=0) - weights
    above = weights.sum(axis=0) - below - weights
    return np.array([below, weights, above] if lower_is_concordant else [above, weights, below])


def _influence(pairs: Array, estimate: float) -> Array:
    return np.asarray(pairs[0] + pairs[1] / 2 - estimate * pairs.sum(axis=0))
