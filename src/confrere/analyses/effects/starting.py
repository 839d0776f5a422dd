"""When a treatment starts, by confounders: a hazard even in every cell of time of the grace period (piecewise
exponential), of the people who are followed and have not started.

With the rate r_l(x) = exp(alpha_l + x'b) in cell l and a person's time E_l there, the log-likelihood is the sum of
log r of those who start less sum_l E_l r_l; exp(sum_l E_l r_l), up to a time, is the inverse probability of not having
started by then. Times are exact in each hospital; cells are public. A person is one row whatever the number of cells.

Sources: Friedman, Ann Stat 1982;10:101; Laird & Olivier, JASA 1981;76:231. Equals R `glm(started ~ cell + x +
offset(log(time)), poisson)` on people split at the cells (`survSplit`), and Cox's model as cells become narrow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.ladder import spent
from confrere.analyses.newton import Curve, Slope
from confrere.analyses.scaling import Standard
from confrere.rounds import Array, Ints, People

Beta = tuple[float, ...]


class Clock(NamedTuple):
    """The cells of the grace period in which somebody starts: their edges, and log rates that coefficients add to."""

    left: tuple[float, ...]
    right: tuple[float, ...]
    base: tuple[float, ...]

    def spent(self, until: Array) -> Array:
        """The time (n, cells) in each cell, of a time from time zero until `until` (n,)."""
        return spent(self.left, self.right, until)


class Started(NamedTuple):
    """A hospital's people: terms (n, p), time at risk of a start (n,), and the cell of the start, -1 for none."""

    x: Array
    risk: Array
    cell: Ints


class Rates(NamedTuple):
    """The model of starting: coefficients of the cells, then of the standardised terms; public."""

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


def scores(got: Started, rates: Rates) -> Array:
    """The derivative of everybody's log-likelihood by their log rates (n, cells)."""
    out = -rates.clock.spent(got.risk) * rates.of(got.x)
    starts = got.cell >= 0
    out[starts, got.cell[starts]] += 1.0
    return out


def slope(people: People, got: Started, rates: Rates, most: int) -> Slope:
    """Log-likelihood and score; the body of a step. `most` cells there may be."""
    out = scores(got, rates)
    rate, starts = rates.of(got.x), got.cell >= 0
    log = np.log(rate[starts, got.cell[starts]]) - np.array(rates.clock.base)[got.cell[starts]]
    expected = rates.clock.spent(got.risk) * rate
    score = np.concatenate([out.sum(axis=0), rates.standard.sums(got.x, out.sum(axis=1))])
    w = expected.sum(axis=1) + starts
    return Slope(
        people.derived(np.asarray(log.sum() - expected.sum()), w),
        people.derived(score, w, bounds=(most + got.x.shape[1],)),
    )


def curve(people: People, got: Started, rates: Rates, most: int) -> Curve:
    """The same, and the information; the body of a step."""
    expected = rates.clock.spent(got.risk) * rates.of(got.x)
    k, z = rates.cells, rates.standard.of(got.x)
    size = k + z.shape[1]
    information = np.zeros((size, size))
    information[:k, :k] = np.diag(expected.sum(axis=0))
    information[:k, k:] = expected.T @ z
    information[k:, :k] = information[:k, k:].T
    information[k:, k:] = (z * expected.sum(axis=1)[:, None]).T @ z
    bounds = (most + z.shape[1],) * 2
    return Curve(
        *slope(people, got, rates, most),
        people.derived(information, expected.sum(axis=1), bounds=bounds, symmetric=True),
    )


def derivative(x: Array, rates: Rates, by_log_rate: Array) -> Array:
    """The derivative (q,) of a sum over people by the coefficients, from that by everybody's log rates (n, cells)."""
    return np.concatenate([by_log_rate.sum(axis=0), rates.standard.sums(x, by_log_rate.sum(axis=1))])


def moved(got: Started, rates: Rates, lean: Array) -> Array:
    """What each person moves targets by through the model (n, k), for `lean` (k, q)."""
    own, k = scores(got, rates), rates.cells
    through = rates.standard.of(got.x) @ lean[:, k:].T
    return np.asarray(own @ lean[:, :k].T + own.sum(axis=1)[:, None] * through)
