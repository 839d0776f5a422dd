"""The classes of a mixture: which columns are what, the parameters, and the density of people under them.

Measurements are normal in a class, marks Bernoulli, categories multinomial, all independent of each other but for the
measurements among themselves (McLachlan & Peel, Finite Mixture Models, Wiley 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy import linalg

from confrere.analyses.clusters import Model, model
from confrere.analyses.pca import Basis, categories
from confrere.analyses.scaling import Standard
from confrere.rounds import Array, Ints
from confrere.study.ground import Ground

FLAT = 1e-4  # the least variance of a class in any direction, of what the columns have over everybody
RARE = 1e-9  # the least probability of a level
LOG_ROOT = 0.5 * float(np.log(2 * np.pi))


class Mixed(Protocol):
    """What says which columns a mixture has."""

    @property
    def formula(self) -> str: ...
    @property
    def covariance(self) -> str: ...
    @property
    def ground(self) -> Ground: ...


class Layout(NamedTuple):
    """Which of p columns are measurements, marks by themselves, and levels of one category: places. All public."""

    measured: tuple[int, ...]
    alone: tuple[int, ...]
    together: tuple[tuple[int, ...], ...]
    full: bool

    @classmethod
    def of(cls, method: Mixed, marks: Sequence[bool]) -> Layout:
        """That of a formula's columns, of which so many are `marks`, 0 or 1."""
        levels = tuple(places for _, places in categories(method.formula, method.ground))
        taken = {j for places in levels for j in places}
        alone = tuple(j for j, mark in enumerate(marks) if mark and j not in taken)
        measured = tuple(j for j in range(len(marks)) if j not in taken and j not in alone)
        return cls(measured, alone, levels, method.covariance == "full")

    @property
    def products(self) -> tuple[Ints, Ints]:
        """Which pairs of measurements are multiplied: (s,) and (s,)."""
        q = len(self.measured)
        pairs: tuple[Ints, Ints] = np.triu_indices(q) if self.full else (np.arange(q), np.arange(q))
        return pairs

    def free(self, classes: int) -> int:
        """Free parameters of the model."""
        of_levels = len(self.alone) + sum(len(places) for places in self.together)
        return classes - 1 + classes * (len(self.measured) + len(self.products[0]) + of_levels)


class Classes(NamedTuple):
    """The parameters: weights (K,), means (K, p) of standardised columns, covariances (K, q, q) of measurements."""

    weight: Array
    mean: Array
    covariance: Array

    @classmethod
    def of(cls, expected: Array, layout: Layout) -> Classes:
        """EM's second half: the parameters of expected sums per person (K, 1 + p + s)."""
        p = expected.shape[1] - 1 - len(layout.products[0])
        weight = expected[:, 0]
        mean = expected[:, 1 : 1 + p] / weight[:, None]
        i, j = layout.products
        inner = mean[:, list(layout.measured)]
        q = inner.shape[1]
        covariance = np.zeros((len(weight), q, q))
        covariance[:, i, j] = expected[:, 1 + p :] / weight[:, None] - inner[:, i] * inner[:, j]
        covariance[:, j, i] = covariance[:, i, j]
        return cls(weight, mean, covariance)

    @classmethod
    def read(cls, given: Model, layout: Layout) -> Classes:
        """The parameters from public arguments."""
        classes, q = len(given[0]), len(layout.measured)
        rest = np.array(given[1 : 1 + classes])
        covariance = np.array(given[1 + classes :]).reshape(classes, q, q)
        return cls(np.array(given[0]), rest, covariance)

    @property
    def public(self) -> Model:
        """As public arguments."""
        return (*model(self.weight), *model(self.mean), *model(self.covariance.reshape(len(self.weight), -1)))

    def stands(self, basis: Basis, layout: Layout) -> bool:
        """Whether these are parameters at all: weights, probabilities and variances are positive."""
        if not (np.isfinite(self.mean).all() and (self.weight > 0).all()):
            return False
        if self.covariance.shape[1] and np.linalg.eigvalsh(self.covariance).min() < FLAT:
            return False
        shares = self.shares(basis.frame)
        each = [shares[:, [j]] for j in layout.alone] + [shares[:, list(places)] for places in layout.together]
        return all((s > -RARE).all() and (s.sum(axis=1) < 1 + RARE).all() for s in each)

    def shares(self, frame: Standard) -> Array:
        """Means (K, p) in units of the columns: of marks and levels, their probabilities."""
        return np.asarray(np.array(frame.mean) + np.array(frame.sd) * self.mean)

    def logs(self, z: Array, frame: Standard, layout: Layout) -> Array:
        """Log of weight times density (n, K) of standardised columns (n, p)."""
        out = np.tile(np.log(self.weight), (len(z), 1))
        x, shares = z[:, list(layout.measured)], self.shares(frame)
        for c in range(len(self.weight)):
            if layout.measured:
                root = linalg.cholesky(self.covariance[c], lower=True)
                off = linalg.solve_triangular(root, (x - self.mean[c, list(layout.measured)]).T, lower=True)
                out[:, c] -= 0.5 * (off**2).sum(axis=0) + np.log(np.diag(root)).sum() + x.shape[1] * LOG_ROOT
            for places in (*((j,) for j in layout.alone), *layout.together):
                share = shares[c, list(places)]
                log = np.log(np.maximum([1 - share.sum(), *share], RARE))
                out[:, c] += log[0] + (z[:, list(places)] > 0) @ (log[1:] - log[0])  # standardised, 1 is over 0
        return out


def inside(places: Array, basis: Basis, layout: Layout) -> Array:
    """Places (K, p) whose probabilities are between 0 and 1: where a mark or level is too far, half way to its end."""
    centre, sd = np.array(basis.frame.mean), np.array(basis.frame.sd)
    shares = centre + sd * places
    for at in ([j] for j in layout.alone):
        shares[:, at] = np.clip(shares[:, at], centre[at] / 2, (1 + centre[at]) / 2)
    for at in map(list, layout.together):
        inner = np.clip(shares[:, at], centre[at] / 2, (1 + centre[at]) / 2)
        rest = (1 - centre[at].sum()) / 2  # the reference level keeps half of its share at least
        shares[:, at] = inner * np.minimum(1, (1 - rest) / inner.sum(axis=1, keepdims=True))
    marks = [*layout.alone, *(j for at in layout.together for j in at)]
    places = places.copy()
    places[:, marks] = ((shares - centre) / sd)[:, marks]
    return places
