"""When a treatment starts, or people are lost, by terms: a hazard even in every cell of time (piecewise exponential),
of those who are followed and have not started, or been lost.

With the rate r_l(x) = exp(alpha_l + x'b) in cell l and a person's time E_l there, the log-likelihood is the sum of
log r of those who start less sum_l E_l r_l; exp(sum_l E_l r_l), up to a time, is the inverse probability of not having
started by then. A cell may be of one group of people only (`Clock.whose`), so that two groups have a baseline each.
Times are exact in each hospital; cells are public. A person is one row whatever the number of cells.

Sources: Friedman, Ann Stat 1982;10:101; Laird & Olivier, JASA 1981;76:231. Equals R `glm(started ~ cell + x +
offset(log(time)), poisson)` on people split at the cells (`survSplit`), and Cox's model as cells become narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from confrere.analyses.effects.influence import Lean
from confrere.analyses.ladder import spent
from confrere.analyses.newton import Curve, Objective, Peak, Slope, maximise
from confrere.analyses.scaling import Standard
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Flow, Ints, People

Beta = tuple[float, ...]
Edges = tuple[float, ...]
Rows = Sequence[tuple[int, range, Array, Array]]  # of each group: its name, its cells, people lost and time by cell
Whole = Callable[[Array], Array]  # of values by row, those of each person


class Clock(NamedTuple):
    """The cells in which somebody starts, or is lost: their edges, and log rates that coefficients add to.

    `whose` are the groups of people, 0 or 1, of which a cell is; -1 where it is of everybody.
    """

    left: tuple[float, ...]
    right: tuple[float, ...]
    base: tuple[float, ...]
    whose: tuple[int, ...]

    def own(self, group: Bools) -> Bools:
        """Whether each cell is of each person's group (n, cells)."""
        whose = np.array(self.whose)
        return np.asarray((whose < 0) | (whose == group[:, None]))

    def spent(self, until: Array, group: Bools) -> Array:
        """The time (n, cells) in each person's own cells, of a time from time zero until `until` (n,)."""
        return spent(self.left, self.right, until) * self.own(group)

    def cell(self, who: Bools, when: Array, group: Bools) -> Ints:
        """Each person's own cell (n,) with a time in it; -1 for those who are not `who`."""
        inside = (np.array(self.left) < when[:, None]) | ((np.array(self.left) == 0) & (when[:, None] == 0))
        inside &= (when[:, None] <= np.array(self.right)) & self.own(group)
        return np.where(who, inside.argmax(axis=1) if inside.shape[1] else 0, -1)


def lost_clock(edges: Edges, groups: Rows) -> Clock:
    """The cells in which somebody is lost, and the logarithms of their rates. ModelError where nobody is."""
    rows = [
        (j, whose, float(np.log(lost[j] / time[j])))
        for whose, cells, lost, time in groups
        for j in cells
        if lost[j] > 0 and time[j] > 0
    ]
    if not rows:
        raise ModelError("nobody is lost to follow-up before the last time: leave out censoring")
    places, whose, base = zip(*rows, strict=True)
    return Clock(tuple(edges[j] for j in places), tuple(edges[j + 1] for j in places), base, whose)


class AtRisk(NamedTuple):
    """A hospital's people: terms (n, p), time at risk in each cell (n, cells), the cell of the start, -1 for none."""

    x: Array
    spent: Array
    cell: Ints


class Rates(NamedTuple):
    """The model of starting, or of being lost: coefficients of the cells, then of the standardised terms; public."""

    clock: Clock
    standard: Standard
    beta: Beta

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.clock.left)

    def of(self, x: Array) -> Array:
        """Rates (n, cells)."""
        alpha = np.array(self.clock.base) + np.array(self.beta[: self.cells])
        return np.asarray(np.exp(alpha + self.standard.times(x, self.beta[self.cells :])[:, None]))

    def on(self, edges: Edges, x: Array, group: Bools) -> Array:
        """Everybody's rates in all cells of a grid (n, cells), 0 where nobody starts, or is lost."""
        rate = np.zeros((len(x), len(edges) - 1))
        own = self.of(x) * self.clock.own(group)
        for j, place in enumerate(self._places(edges)):
            rate[:, place] += own[:, j]
        return rate

    def of_grid(self, edges: Edges, by: Array, group: Bools) -> Array:
        """What is by cell of a grid (n, cells), by cell of the clock: each person's own."""
        return np.asarray(by[:, self._places(edges)] * self.clock.own(group))

    def _places(self, edges: Edges) -> Ints:
        return np.searchsorted(np.array(edges[:-1]), np.array(self.clock.left))


def scores(got: AtRisk, rates: Rates) -> Array:
    """The derivative of everybody's log-likelihood by their log rates (n, cells)."""
    out = -got.spent * rates.of(got.x)
    starts = got.cell >= 0
    out[starts, got.cell[starts]] += 1.0
    return out


def _alone(values: Array) -> Array:
    """Values where each row is one person."""
    return values


def slope(people: People, got: AtRisk, rates: Rates, most: int, whole: Whole = _alone) -> Slope:
    """Log-likelihood and score; the body of a step. `most` cells there may be; `whole` adds up a person's rows."""
    out = scores(got, rates)
    rate, starts = rates.of(got.x), got.cell >= 0
    log = np.log(rate[starts, got.cell[starts]]) - np.array(rates.clock.base)[got.cell[starts]]
    expected = got.spent * rate
    score = np.concatenate([out.sum(axis=0), rates.standard.sums(got.x, out.sum(axis=1))])
    w = whole(expected.sum(axis=1) + starts)
    return Slope(
        people.derived(np.asarray(log.sum() - expected.sum()), w),
        people.derived(score, w, bounds=(most + got.x.shape[1],)),
    )


def curve(people: People, got: AtRisk, rates: Rates, most: int, whole: Whole = _alone) -> Curve:
    """The same, and the information; the body of a step."""
    expected = got.spent * rates.of(got.x)
    k, z = rates.cells, rates.standard.of(got.x)
    size = k + z.shape[1]
    information = np.zeros((size, size))
    information[:k, :k] = np.diag(expected.sum(axis=0))
    information[:k, k:] = expected.T @ z
    information[k:, :k] = information[:k, k:].T
    information[k:, k:] = (z * expected.sum(axis=1)[:, None]).T @ z
    bounds = (most + z.shape[1],) * 2
    return Curve(
        *slope(people, got, rates, most, whole),
        people.derived(information, whole(expected.sum(axis=1)), bounds=bounds, symmetric=True),
    )


def derivative(x: Array, rates: Rates, by_log_rate: Array) -> Array:
    """The derivative (q,) of a sum over people by the coefficients, from that by everybody's log rates (n, cells)."""
    return np.concatenate([by_log_rate.sum(axis=0), rates.standard.sums(x, by_log_rate.sum(axis=1))])


def moved(got: AtRisk, rates: Rates, lean: Array) -> Array:
    """What each person moves targets by through the model (n, k), for `lean` (k, q)."""
    own, k = scores(got, rates), rates.cells
    through = rates.standard.of(got.x) @ lean[:, k:].T
    return np.asarray(own @ lean[:, :k].T + own.sum(axis=1)[:, None] * through)


# At the coordinator -------------------------------------------------------------------------------------------


class Even(NamedTuple):
    """A model of rates that are even within cells, and its fit."""

    rates: Rates
    peak: Peak

    def lean(self, derivatives: Array) -> Lean:
        """How values lean on it, from their derivatives (k, q) by its coefficients."""
        return lean_by(derivatives, self.peak)


def lean_by(derivatives: Array, peak: Peak) -> Lean:
    """How values lean on a fit, from their derivatives (k, q) by its coefficients."""
    by = derivatives @ np.linalg.inv(peak.information)
    return Lean(tuple(tuple(row) for row in by.tolist()), (0.0,) * len(by))


def those(z: Standard, names: tuple[str, ...], wanted: tuple[str, ...]) -> Standard:
    """The standard of some terms."""
    places = [names.index(name) for name in wanted]
    return Standard(tuple(z.mean[i] for i in places), tuple(z.sd[i] for i in places))


class Losing(Protocol):
    """An analysis with a model of being lost: what its terms are, in words and one by one."""

    @property
    def censoring(self) -> str: ...

    @property
    def losing(self) -> tuple[str, ...]: ...


def fitted_losses(asks: Objective, start: Rates, of: Losing) -> Flow[Even]:
    """The fit of the model of being lost, by the asks for its slope and curve."""
    named = (*(f"lost by {right:g}" for right in start.clock.right), *of.losing)
    try:
        peak = yield from maximise(np.zeros(len(named)), asks._replace(names=named))
    except ModelError as error:
        raise ModelError(f"the model of being lost ({of.censoring}): {error}", about=error.about) from None
    return Even(start._replace(beta=tuple(peak.beta.tolist())), peak)
