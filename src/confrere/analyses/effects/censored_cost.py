"""What people cost, and how long they live, until a horizon, where follow-up of some ends before: sums by arm.

Time is parted at public times t_1 < ... < t_J, the last of which is the horizon. With exit T, T_j = min(T, t_j), d_j =
1 of whom nothing is missing until T_j (died before t_j, or followed until it), value v_j within part j, weight w, and
the curve K of censoring of the person's arm, the mean of an arm is

    sum_i w_i sum_j f_j d_ij v_ij / K(T_ij) / sum_i w_i,      f_j the discount of the part

(Bang and Tsiatis' partitioned estimator; with one part the simple one). K is the product limit of censorings, by arm,
weighted: on cells of time in which deaths and censorings both are of nobody or of enough people,

    log K falls by h = c/(d + c) log((n - d - c)/n) over a cell, evenly,

with n at risk, d deaths, c censorings; on exact times by log(1 - c/(n - d)), deaths going before censorings. A mean is
a smooth function of everybody's weights; a person's derivative has an own part, and one by the cell it leaves in,
through K. The rest is `weighted`'s.

Sources: Bang & Tsiatis, Biometrika 2000;87:329; Lin, Biostatistics 2003;4:35; Willan, Lin & Manca, Stat Med
2005;24:131; Li, Handorf, Bekelman & Mitra, Stat Med 2016;35:1985 (propensity weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.weighted import (
    By,
    Derivatives,
    Leaning,
    influences,
    leans,
    targets,
    weighed,
    weighed_of,
)
from confrere.analyses.ladder import cell_of, check_on_grid
from confrere.analyses.scaling import RAW
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum, local, register
from confrere.study.ground import DAYS, Ground, model_of

YEAR = 365.25
KINDS = ("censored", "died")
Rows = tuple[tuple[float, ...], ...]


class Parts(NamedTuple):
    """What is added up in each part of time: right edges, columns of costs, of quality-adjusted years (or none)."""

    ends: tuple[float, ...]
    costs: tuple[str, ...]
    qalys: tuple[str, ...]


class Target(NamedTuple):
    """A mean of either arm: of `what` (0 cost, 1 effect), the parts of time discounted by `factors`."""

    what: int
    factors: tuple[float, ...]


class Censoring(NamedTuple):
    """The curves of censoring; public. `edges` (m + 1,) of cells from 0 to the horizon, `log` K there, by arm.

    `exact`: censorings lie on right edges.
    """

    edges: tuple[float, ...]
    log: Rows
    exact: bool


class Exits(NamedTuple):
    """Weights of people by kind and arm, and the merged cell in which they leave."""

    kinds: Sum  # (2 * 2, cells)


class Spent(NamedTuple):
    """By arm: of every part cost and effect, per probability of being seen; of every target, how K moves it."""

    values: Sum  # (2, J, 2)
    by_log: Sum  # (2, cells, targets): less the derivative of the sum by the fall of log K in a cell


class Squares(NamedTuple):
    """Sums of products of influences on the means: targets of the others, then those of the treated."""

    second: Sum  # (2 * targets, 2 * targets), symmetric


class Gain(NamedTuple):
    """What a person's weight moves the means by through K; public. By arm, place of exit and target.

    `censored` and `died` (2, cells, targets), `reached` (2, targets) of those who reach the horizon.
    """

    censored: Array
    died: Array
    reached: Array


class Seen(NamedTuple):
    """A hospital's people: cost and effect of each part (n, J, 2), T_j (n, J), whether nothing is missing (n, J)."""

    values: Array
    until: Array
    whole: Bools


@dataclass(frozen=True, eq=False)
class Falls:
    """The fall of log K on the cells (m,) of one arm, with weighted counts of who leaves and is at risk."""

    censored: Array
    died: Array
    total: float
    exact: bool

    @cached_property
    def at_risk(self) -> Array:
        """Weights at risk at the left edge (m,)."""
        out = self.censored + self.died
        return np.asarray(self.total - np.cumsum(out) + out)

    @cached_property
    def fall(self) -> Array:
        """h (m,)."""
        left, risk, share = self._sides
        return np.asarray(share * np.log(left / risk))

    @cached_property
    def slopes(self) -> tuple[Array, Array, Array]:
        """The derivatives of h by the censorings, by the deaths, and by those at risk: (m,) each."""
        left, risk, share = self._sides
        by_risk = share * (1 / left - 1 / risk)
        if self.exact:
            return -1 / left, -by_risk, by_risk
        out = self.censored + self.died
        some = np.where(out > 0, out, 1.0)
        turn = np.where(out > 0, np.log(left / risk) / some, -1 / risk)
        return (1 - share) * turn - share / left, -share * turn - share / left, by_risk

    @property
    def _sides(self) -> tuple[Array, Array, Array]:
        """Who stays, of whom, and the share of censorings among those who leave; somebody always stays."""
        out, least = self.censored + self.died, 1e-9 * self.total
        left, risk = (np.maximum(self.at_risk - gone, least) for gone in (out, self.died if self.exact else 0.0))
        if self.exact:
            return left, risk, np.ones_like(out)
        return left, risk, np.divide(self.censored, out, out=np.zeros_like(out), where=out > 0)


def gains(falls: Sequence[Falls], by_fall: Array) -> Gain:
    """Derivatives by a weight, through K, from those by the falls of log K: (2, cells, targets)."""
    censored, died, reached = [], [], []
    for fall, b in zip(falls, by_fall, strict=True):
        by_c, by_d, by_n = (s[:, None] for s in fall.slopes)
        earlier = np.cumsum(b * by_n, axis=0)  # whoever leaves in a cell is at risk in it, and in all before
        censored.append(b * by_c + earlier)
        died.append(b * by_d + earlier)
        reached.append(earlier[-1])
    return Gain(np.array(censored), np.array(died), np.array(reached))


@register("_cost_arms")
@dataclass(frozen=True)
class CostArms:
    """Costs and effects of two arms, people weighed `by` their propensity."""

    by: By
    parts: Parts
    targets: tuple[Target, ...]
    ground: Ground

    # inside each hospital

    def design(self, people: People, edges: tuple[float, ...]) -> Design:
        """Who leaves when, and what everybody costs and gains in each part of time; `edges` are of cells of time."""
        made = weighed(people, self.by, self.ground)
        arm, tau = weighed_of(made).treated.astype(np.int64), self.parts.ends[-1]
        time, event = made.data.time, made.data.event > 0
        frame = people.table.frame[made.rows]
        columns = [*self.parts.costs, *self.parts.qalys]
        given = [self._column(frame, name) for name in columns]
        if self.ground.fine:
            check_on_grid(time, self.ground)
        inside, reached = time < tau, Cells(np.where(time < tau, -1, arm), (2, 1), rule="refuse")
        place = arm * len(edges) + cell_of(np.minimum(time, tau), edges)
        cells = {
            kind: self._cells(np.where(inside & (event == dies), place, -1), edges)
            for kind, dies in zip(KINDS, (False, True), strict=True)
        }
        x, names = np.column_stack([made.x, *given]), (*made.names, *columns)
        added = replace(
            made, x=x, names=names, cells={**cells, "reached": reached}, flags={},
            columns=tuple(sorted({*made.columns, *columns})),
        )  # fmt: skip
        seen = self._seen(time, event, np.array(given).reshape(len(columns), made.n))
        added.once("weighed", lambda: weighed_of(made))
        added.once("seen", lambda: seen)
        return added

    def _column(self, frame: object, name: str) -> Array:
        value = model_of(f"{name} ~ 1", self.ground).evaluate(frame).value
        return np.zeros(0) if value is None else np.asarray(value)

    def _cells(self, index: Ints, edges: tuple[float, ...]) -> Cells:
        size = (2, len(edges))
        if self.ground.fine:
            return Cells(index, size, rule="fine", family="time", days=self.ground.days, needs="fine_times")
        marks = tuple(int(i) + 1 for i in np.flatnonzero(np.isin(edges[:-1], self.parts.ends)))
        return Cells(index, size, rule="align", family="time", marks=marks, days=self.ground.days)

    def _seen(self, time: Array, event: Bools, given: Array) -> Seen:
        """What is known of each part of time; a part of life in years, unless quality-adjusted years are given."""
        ends = np.array(self.parts.ends)
        starts, j = np.append(0.0, ends[:-1]), len(ends)
        until = np.minimum(time[:, None], ends)
        lived = np.maximum(until - starts, 0.0) * DAYS[self.ground.unit] / YEAR
        effect = given[j:].T if self.parts.qalys else lived
        return Seen(np.stack([given[:j].T, effect], axis=2), until, (time[:, None] >= ends) | event[:, None])

    @local(on="design")
    def exits(self, people: People) -> Exits:
        """Weights of who is censored and who dies, by arm and merged cell."""
        w = weighed_of(people.design).weights.w
        parts = [people.cells(kind, w) for kind in KINDS]
        stacked = np.vstack([part.value for part in parts])
        return Exits(replace(parts[0], value=stacked, bounds=(2 * len(KINDS), parts[0].bounds[1])))

    @local(on="design")
    def spent(self, people: People, k: Censoring) -> Spent:
        """Costs and effects by part of time, per probability of being seen, and how they hang on the curves K."""
        at, kept = weighed_of(people.design), self._kept(people, k)
        mine = np.array([~at.treated, at.treated]) * at.weights.w
        values = np.einsum("ai,ijv->ajv", mine, kept)
        m = len(k.edges) - 1
        by_log = np.zeros((2, m, len(self.targets)))
        for j in range(len(self.parts.ends)):
            cell, part = self._place(people, k, j)
            for t, target in enumerate(self.targets):
                z = target.factors[j] * kept[:, j, target.what]
                for a in range(2):
                    here = np.bincount(cell, mine[a] * z, minlength=m)
                    by_log[a, :, t] += np.bincount(cell, mine[a] * z * part, minlength=m)
                    by_log[a, :, t] += here.sum() - np.cumsum(here)
        w, needs = at.weights.w, "fine_times" if k.exact else ""
        bound = next(iter(people.design.cells.values())).shape[1]
        bounds = (2, bound, len(self.targets))
        return Spent(
            people.derived(values, w, dims=("arms", "parts", "values"), scale=RAW),
            people.derived(by_log, w, dims=("arms", "cells", "targets"), bounds=bounds, scale=RAW, needs=needs),
        )

    @local(on="design")
    def derivatives(
        self, people: People, k: Censoring, total: tuple[float, float], mean: Rows, gain: Gain
    ) -> Derivatives:
        """Derivatives of the means by the propensity's coefficients."""
        g = self._by_weight(people, k, total, mean, gain)
        return leans(people, (g[:, rows] for rows in targets(g.shape[1])), g.shape[1])

    @local(on="design")
    def squares(
        self, people: People, k: Censoring, means: tuple[tuple[float, float], Rows], gain: Gain, lean: Leaning
    ) -> Squares:
        """Products of everybody's influences on the means."""
        g = self._by_weight(people, k, *means, gain)
        parts = influences(people, (g[:, rows] for rows in targets(g.shape[1])), g.shape[1], lean)
        phi = np.column_stack(list(parts))
        return Squares(people.derived(phi.T @ phi, dims=("targets", "targets"), scale=RAW, symmetric=True))

    def _by_weight(self, people: People, k: Censoring, total: tuple[float, float], mean: Rows, gain: Gain) -> Array:
        """The derivative of the means by each person's weight (n, 2 * targets)."""
        at, kept = weighed_of(people.design), self._kept(people, k)
        arm, many = at.treated.astype(np.int64), len(self.targets)
        z = np.column_stack([kept[:, :, t.what] @ np.array(t.factors) for t in self.targets])
        own = (z - np.array(mean)[arm]) / np.array(total)[arm, None] + self._through(people, arm, gain)
        g = np.zeros((len(arm), 2 * many))
        for a in range(2):
            g[arm == a, a * many : (a + 1) * many] = own[arm == a]
        return g

    def _through(self, people: People, arm: Ints, gain: Gain) -> Array:
        """What each person's weight moves the means of its arm by through K (n, targets)."""
        design, width = people.design, gain.died.shape[1]
        out = gain.reached[arm]
        for kind, by in zip(KINDS, (gain.censored, gain.died), strict=True):
            place = design.cells[kind].placed(people.grid(kind), width)
            some = place >= 0
            out[some] = by.reshape(2 * width, -1)[place[some]]
        return out

    def _kept(self, people: People, k: Censoring) -> Array:
        """d_j v_j / K(T_j) of each part, cost and effect: (n, J, 2)."""
        return people.design.once(f"per probability of being seen by {k}", lambda: self._keep(people, k))

    def _keep(self, people: People, k: Censoring) -> Array:
        seen, treated = seen_of(people.design), weighed_of(people.design).treated
        logs, per = np.array(k.log), np.zeros(seen.until.shape)
        for j in range(len(self.parts.ends)):
            cell, part = self._place(people, k, j)
            start = logs[treated.astype(np.int64), cell]
            fall = logs[treated.astype(np.int64), cell + 1] - start
            per[:, j] = np.where(seen.whole[:, j], np.exp(-start - part * fall), 0.0)
        return np.asarray(per[:, :, None] * seen.values)

    def _place(self, people: People, k: Censoring, j: int) -> tuple[Ints, Array]:
        """The cell of T_j, and which part of it lies before T_j: none where times are exact; (n,) each."""
        until, edges = seen_of(people.design).until[:, j], np.array(k.edges)
        cell = cell_of(until, k.edges[1:])
        left = edges[cell]
        return cell, np.zeros(len(cell)) if k.exact else (until - left) / (edges[cell + 1] - left)


def seen_of(design: Design) -> Seen:
    """What is known of the people of a design that `CostArms` made."""
    got: Seen = design.once("seen", dict)  # type: ignore[assignment]
    return got
