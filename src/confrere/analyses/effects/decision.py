"""From two differences, of cost and of effect, to a decision: net benefit, ratio, acceptability, budget.

With an incremental cost C and an incremental effect E, normal with covariance V, and what a unit of effect is worth, l:

    net benefit  l E - C, variance l^2 V_ee - 2 l V_ce + V_cc;  acceptability P(net benefit > 0)
    ICER         C / E; Fieller's limits are the R at which C - R E is no longer told from 0

A ratio means little where E may be 0 or of either sign: there are no limits then, and the shares of the four quadrants
of the plane of cost and effect say why. Percentile limits are those of draws from the bivariate normal, ordered by
their angle from the estimate (the parametric bootstrap: no person is drawn, and no hospital is asked again).

Sources: Stinnett & Mullahy, Med Decis Making 1998;18:S68; Willan & O'Brien, Health Econ 1996;5:297 (Fieller); van Hout,
Al, Gordon & Rutten, Health Econ 1994;3:309; Fenwick, O'Brien & Briggs, Health Econ 2004;13:405 (acceptability);
Sullivan et al., Value Health 2014;17:5 (budget impact: undiscounted).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.distributions import norm_cdf
from confrere.analyses.effects.measures import fieller
from confrere.analyses.finding import Record
from confrere.rounds import Array

Z = float(special.ndtri(0.975))
DRAWS = 10_000  # from the bivariate normal
POINTS = 41  # of the acceptability curve
QUADRANTS = ("costs more, does more", "costs more, does less", "costs less, does less", "costs less, does more")


class Increment(NamedTuple):
    """Incremental cost and effect (2,), and their covariance (2, 2)."""

    mean: Array
    vcov: Array

    def net_benefit(self, worth: float) -> tuple[float, float]:
        """l E - C, and its standard error."""
        along = np.array([-1.0, worth])
        return float(along @ self.mean), float(np.sqrt(max(along @ self.vcov @ along, 0.0)))


def net_benefits(found: Increment, worths: Sequence[float]) -> list[Record]:
    """A record per public value of a unit of effect."""
    return [_net_benefit(found, worth) for worth in worths]


def _net_benefit(found: Increment, worth: float) -> Record:
    value, se = found.net_benefit(worth)
    limits = {"conf_low": value - Z * se, "conf_high": value + Z * se}
    record: Record = {"willingness": float(worth), "estimate": value, "std_error": se, **limits}
    return record | {"probability": _probability(value, se)}


def _probability(value: float, se: float) -> float:
    return float(norm_cdf(value / se)) if se > 0 else float(np.heaviside(value, 0.5))


def acceptability(found: Increment, most: float) -> list[Record]:
    """The probability of a positive net benefit at evenly many values of a unit of effect, from 0 to the most."""
    return [
        {"willingness": float(worth), "probability": _probability(*found.net_benefit(float(worth)))}
        for worth in np.linspace(0.0, most, POINTS)
    ]


def ratio(found: Increment, seed: int) -> Record:
    """The record of the ratio: estimate, quadrant, Fieller's limits and those of draws, null where there are none."""
    cost, effect = (float(v) for v in found.mean)
    limits = fieller(found.mean[::-1], found.vcov[::-1, ::-1])
    drawn = drawn_limits(found, draws(found, seed))
    shown = cost / effect if effect else None
    record: Record = {"icer": shown, "quadrant": QUADRANTS[int(_quadrant(found.mean[None])[0])]}
    for name, pair in (("fieller", limits), ("percentile", drawn)):
        low, high = (None, None) if pair is None else pair
        record |= {f"{name}_low": low, f"{name}_high": high}
    return record


def draws(found: Increment, seed: int) -> Array:
    """Cost and effect drawn from the bivariate normal (DRAWS, 2): PCG64 from the seed, the same everywhere."""
    values, axes = np.linalg.eigh(found.vcov)
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)  # an axis has no sign of its own
    root = axes * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(found.mean + np.random.default_rng(seed).standard_normal((DRAWS, 2)) @ root.T)


def drawn_limits(found: Increment, drawn: Array) -> tuple[float, float] | None:
    """The ratios at the 2.5th and 97.5th percentile of draws by angle; None where these lie on both sides of E = 0."""
    scale = np.sqrt(np.diag(found.vcov))
    if not (scale > 0).all():
        return None
    x, y = (drawn / scale)[:, 1], (drawn / scale)[:, 0]
    at = float(np.arctan2(found.mean[0] / scale[0], found.mean[1] / scale[1]))
    turned = (np.arctan2(y, x) - at + np.pi) % (2 * np.pi) - np.pi
    ends = at + np.percentile(turned, [2.5, 97.5])
    side = np.cos(ends) * np.cos(at)
    if (side <= 0).any():
        return None
    low, high = np.sort(np.tan(ends)) * scale[0] / scale[1]
    return float(low), float(high)


def quadrants(found: Increment, seed: int) -> list[Record]:
    """The share of draws in each quadrant of the plane of cost and effect."""
    counts = np.bincount(_quadrant(draws(found, seed)), minlength=4)
    return [{"quadrant": name, "probability": float(c / DRAWS)} for name, c in zip(QUADRANTS, counts, strict=True)]


def _quadrant(pairs: Array) -> Array:
    """The number of the quadrant of cost and effect (n, 2)."""
    more, better = pairs[:, 0] > 0, pairs[:, 1] > 0
    return np.where(more, np.where(better, 0, 1), np.where(better, 3, 2))


def budget(cost: float, se: float, eligible: Sequence[float]) -> list[Record]:
    """Of those who begin in each year, `entering`: the undiscounted incremental cost until the horizon, and not of
    that year alone."""
    return [
        {"entering": y, "eligible": float(n), "estimate": n * cost, "std_error": n * se,
         "conf_low": n * (cost - Z * se), "conf_high": n * (cost + Z * se)}
        for y, n in enumerate(eligible, 1)
    ]  # fmt: skip
