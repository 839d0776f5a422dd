"""People weighed by their propensity inside a hospital, and the variance of whatever is computed from their weights.

Let T be any smooth function of the sums that weights w_i (n,) enter, such as a weighted score or a weighted curve, and
g_i = dT/dw_i. If T does not change when all weights are multiplied, or is 0 as a score is, a person moves it by

    phi_i = w_i g_i + D H^-1 s_i + E (a_i - share)/n,   D = sum g_i dw_i/dalpha,   E = sum g_i dw_i/dshare

with the propensity's coefficients alpha, information H and scores s_i; E is there with stabilised weights, whose share
of treated people is an estimate too. Var(T) = sum phi_i^2. So a method gives g, and two rounds give its variance.

Sources: Shu, Young, Toh & Wang, Biometrics 2021;77:1101 (weighted Cox); Hajage, Chauvet, Belin, et al., Stat Med
2018;37:2789 (linearisation); Deville, Surv Methodol 1999;25:193. Matches R `ipwCoxCSV` and stacked equations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.influence import Lean, lean_of
from confrere.analyses.effects.means import propensity
from confrere.analyses.effects.nuisance import Among, Fitted, Local, derivative, local_of, moved
from confrere.analyses.effects.weighting import Weights
from confrere.errors import DataError
from confrere.rounds import Array, Bools, Design, Flow, People, Sum
from confrere.study.counted import persons
from confrere.study.ground import Ground, design_of

TOGETHER = 8  # targets at a time: no table of people and all targets


class By(NamedTuple):
    """What people are weighed by; public. The `effect` is of a treatment on `Surv(time, event)`; `n` people.

    A `share` of the people of `among` is treated, and `model` is their propensity.
    """

    effect: Effect
    among: Among
    model: Fitted
    share: float
    n: int

    @property
    def formula(self) -> str:
        """Outcome and treatment."""
        return f"{self.effect.outcome} ~ {self.effect.treatment}"


class Weighed(NamedTuple):
    """A hospital's people: terms of the propensity (n, p), who is treated (n,), weights, what the propensity says."""

    by: By
    x: Array
    treated: Bools
    weights: Weights
    local: Local


class Derivatives(NamedTuple):
    """The derivative of the targets by the propensity's coefficients, and by the share of the treated."""

    by: Sum  # (k, q)
    share: Sum  # (k,), (0,) unless weights are stabilised


class Leaning(NamedTuple):
    """How the targets lean on the propensity and on the share, per unit of a person's score; public."""

    on: Lean
    share: tuple[float, ...]


def weighed(people: People, by: By, ground: Ground) -> Design:
    """Outcome, treatment and weights of the people of an effect; `weighed_of` gives the rest of what is known of them.

    Raises DataError where a treatment is neither 0 nor 1.
    """
    made = design_of(people, f"{by.formula} + {by.effect.confounders}", ground)
    made = by.among._replace(needs=()).narrow(people, made, ground)  # the formula needs them all
    arm, x = made.x[:, 0], made.x[:, 1:]
    if bad := int(((arm != 0) & (arm != 1)).sum()):
        raise DataError(
            f"treatment {by.effect.treatment!r} is neither 0 nor 1 for {persons(bad)}; declare its two levels, or "
            f"recode it"
        )
    treated = arm == 1
    local = local_of(x, arm, by.model)
    weights = by.effect.weighting.of(local.m, treated, by.share)
    data = made.data._replace(x=made.x[:, :1], weights=weights.w)
    made = replace(made, x=data.x, names=made.names[:1], weights=weights.w, data=data)
    made.once("weighed", lambda: Weighed(by, x, treated, weights, local))
    return made


def weighed_of(design: Design) -> Weighed:
    """The people of a design that `weighed` made."""
    got: Weighed = design.once("weighed", dict)  # type: ignore[assignment]
    return got


def per_weight(values: Array, w: Array) -> Array:
    """Values (n, k) per unit of weight (n,); 0 where nobody counts."""
    return np.divide(values, w[:, None], out=np.zeros_like(values), where=w[:, None] > 0)


def targets(k: int) -> Iterator[slice]:
    """Some targets at a time; pairs stay together."""
    return (slice(low, min(low + TOGETHER, k)) for low in range(0, k, TOGETHER))


def leaning(by: By, got: Derivatives) -> Flow[Leaning]:
    """D H^-1, and E/n. The propensity's flow is run again, on sums that are known; on trees nothing leans."""
    share = tuple((got.share.value / by.n).tolist())
    if by.model.forest is not None:
        targets = len(got.by.value)
        return Leaning(Lean(((),) * targets, (0.0,) * targets), share)
    learned = yield from propensity(by.effect, by.among)
    return Leaning(lean_of(learned, got.by.value), share)


def leans(people: People, parts: Iterator[Array], k: int) -> Derivatives:
    """The body of a step: derivatives of k targets, from dT/dw in parts of (n, some)."""
    at = weighed_of(people.design)
    on_share = _by_share(at)
    by, share = np.zeros((k, len(at.by.model.beta))), np.zeros(k)
    for rows, g in zip(targets(k), parts, strict=True):
        by[rows] = derivative(at.x, at.by.model, at.local, g * at.weights.slope[:, None])
        share[rows] = on_share @ g
    stabilised = at.by.effect.weighting.stabilised
    return Derivatives(
        people.derived(by, at.weights.w, dims=("targets", "terms")),
        people.derived(share if stabilised else share[:0], at.weights.w, dims=("targets",)),
    )


def influences(people: People, parts: Iterator[Array], k: int, lean: Leaning) -> Iterator[Array]:
    """What each person moves the targets by, in parts of (n, some), from dT/dw in the same parts."""
    at = weighed_of(people.design)
    by, ridge, share = np.array(lean.on.by), np.array(lean.on.ridge), np.array(lean.share)
    for rows, g in zip(targets(k), parts, strict=True):
        phi = at.weights.w[:, None] * g
        phi += moved(at.x, at.by.model, at.local, by[rows], g * at.weights.slope[:, None]) - ridge[rows]
        if share.size:
            phi += np.outer(at.treated - at.by.share, share[rows])
        yield phi


def _by_share(at: Weighed) -> Array:
    """The derivative of the weights by the share of the treated (n,): of stabilised ones that no bound holds."""
    by, w = at.by, at.weights.w
    if not by.effect.weighting.stabilised:
        return np.zeros(len(w))
    bound = by.effect.weighting.truncate[0] if len(by.effect.weighting.truncate) == 1 else np.inf
    return np.where(w < bound, w / np.where(at.treated, by.share, by.share - 1), 0.0)
