"""How the information of a generalised linear model changes with its coefficients, if its terms were Gaussian.

Of terms z with mean m and covariance C the linear predictor eta = base + reach z'b is Gaussian too, and with u the
covariance of z with the standardised eta, t, the information is the sum of three integrals over t (Stein, Ann Stat
1981;9:1135; here by Gauss-Hermite):

    E[w z z'] = E[w] (m m' + C - u u') + E[w t] (m u' + u m') + E[w t^2] u u'

Moments m and C are those of the information at the start, where everybody has the same eta. A climb asks less often
when it knows this much; it never rests on it (`newton`), so that terms of other shapes cost rounds, and no digit.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from confrere.analyses.families import Family, Link
from confrere.analyses.newton import Model
from confrere.analyses.outcomes import Frame
from confrere.rounds import Array

NODES, SHARES = hermegauss(15)
SHARES = SHARES / SHARES.sum()
POWERS = SHARES * np.array([np.ones_like(NODES), NODES, NODES**2])
LEAST, MOST = 1e-6, 1e6  # of the weight at a linear predictor, in units of that at the start


def gaussian(family: Family, link: Link, frame: Frame) -> Model:
    """The information (q, q) at coefficients (q,) of a frame with an intercept, from that at the start."""

    def weight(eta: Array) -> Array:
        with np.errstate(all="ignore"):
            m = link.mean(eta)
            return np.asarray(m.slope**2 / family.variance(m))

    middle = float(weight(np.array([frame.base]))[0])

    def model(start: Array, beta: Array) -> Array:
        total = start[0, 0]
        mean = start[0] / total
        covariance = start / total - np.outer(mean, mean)
        lean = covariance @ beta
        sd = float(np.sqrt(max(beta @ lean, 0.0)))
        u = lean / sd if sd > 0 else lean
        w = np.clip(weight(frame.base + frame.reach * (mean @ beta + sd * NODES)) / middle, LEAST, MOST)
        none, once, twice = POWERS @ np.where(np.isnan(w), 1.0, w)
        cross = np.outer(mean, u)
        return np.asarray(total * (none * start / total + once * (cross + cross.T) + (twice - none) * np.outer(u, u)))

    return model
