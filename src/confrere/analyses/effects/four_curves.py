"""Weighted curves of four arms: people who have neither, one, the other or both of two treatments.

A person's weight is the product 1/P(a | x) 1/P(b | a, x) of `four_arms`. It enters the count of one cell of one arm, so
that with G the derivatives of risks and means by the counts (`risks`) a person moves them by

    w g + sum over both propensities of D H^-1 s,      D = sum of g dw/dalpha

with g at the person's cell; covariances between arms are there because all lean on the same two models. Sources: as of
`four_arms` and `weighted`. Matches R `survfit(Surv(time, event) ~ arm, weights = w)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.arms import Leans
from confrere.analyses.effects.four_arms import FourArms, slope_of, weights_of
from confrere.analyses.effects.influence import Lean, lean_of
from confrere.analyses.effects.interaction import Interaction
from confrere.analyses.effects.nuisance import Fitted, Learned, Local, derivative, local_of, moved
from confrere.analyses.effects.weighted import targets
from confrere.analyses.effects.weighted_curves import ArmsFollowUp, Spread, Squares
from confrere.errors import StudyError
from confrere.rounds import Array, Design, Flow, Ints, People, Sum, ask, local, register


class Leaning(NamedTuple):
    """A propensity inside a hospital: terms (n, p), what it says of people, slope (n,) of their weights by it."""

    x: Array
    model: Fitted
    local: Local
    slope: Array


class Derivatives(NamedTuple):
    """The derivatives of values by the coefficients of both propensities."""

    by: Sum  # (k, q)


@register("_four_curves")
@dataclass(frozen=True)
class FourCurves(ArmsFollowUp):
    """Who leaves when in the four arms of a study, weighed by both propensities, `models`."""

    study: Interaction | None = None
    models: tuple[Fitted, ...] = ()

    @property
    def of(self) -> Interaction:
        """The study."""
        if self.study is None:
            raise StudyError("curves of four arms need to know which: set study")
        return self.study

    @property
    def labels(self) -> tuple[str, ...]:
        """The four arms, whatever the levels of the treatments."""
        return self.of.arms

    # inside each hospital

    def grouped(self, people: People) -> tuple[Design, Ints]:
        """The people of the study with their weights, and the arm of each (n,)."""
        study = self.of
        made, cases = FourArms(study).cased(people)
        weights = weights_of(study, cases, self.models)
        w = weights[0].w * weights[1].w
        made = replace(made, x=np.empty((made.n, 0)), names=(), weights=w, data=made.data._replace(weights=w))
        said = [local_of(x, a.astype(float), m) for x, a, m in zip(cases.x, cases.treated, self.models, strict=True)]
        made.once(
            "leaning",
            lambda: [Leaning(cases.x[i], m, said[i], slope_of(weights, i)) for i, m in enumerate(self.models)],
        )
        return made, cases.arm

    @local(on="table")
    def derivatives(self, people: People, by_counts: Array) -> Derivatives:
        """Derivatives of values by the propensity's coefficients; `by_counts` (k, kinds * arms * cells)."""
        k, by = len(by_counts), []
        for at in _leaning(people.design):
            of = np.zeros((k, len(at.model.beta)))
            for rows, g in zip(targets(k), self.by_weight(people, by_counts), strict=True):
                of[rows] = derivative(at.x, at.model, at.local, g * at.slope[:, None])
            by.append(of)
        return Derivatives(people.derived(np.hstack(by), _weights(people.design), dims=("targets", "terms")))

    @local(on="table")
    def squares(self, people: People, by_counts: Array, values: int, leans: Leans) -> Squares:
        """Sums of products of what people move the values by."""
        return self.products(people, self._influences(people, by_counts, leans), len(by_counts), values)

    def _influences(self, people: People, by_counts: Array, leans: Leans) -> Iterator[Array]:
        """What each person moves the values by, in parts of (n, some)."""
        w, through = _weights(people.design), list(zip(_leaning(people.design), leans, strict=True))
        for rows, g in zip(targets(len(by_counts)), self.by_weight(people, by_counts), strict=True):
            phi = w[:, None] * g
            for at, lean in through:
                by, ridge = np.array(lean.by)[rows], np.array(lean.ridge)[rows]
                phi += moved(at.x, at.model, at.local, by, g * at.slope[:, None]) - ridge
            yield phi

    # sums only

    def spread(self, by_counts: Array, values: int, learnt: tuple[Learned, ...]) -> Flow[Spread]:
        """The variances of values from their derivatives by the counts (k, kinds * arms * cells)."""
        got = yield from ask(self.derivatives, by_counts)
        ends = np.cumsum([len(m.model.beta) for m in learnt])
        parts = np.split(got.by.value, ends[:-1], axis=1)
        leans: tuple[Lean, ...] = tuple(lean_of(m, d) for m, d in zip(learnt, parts, strict=True))
        squares = yield from ask(self.squares, by_counts, values, leans)
        return Spread(squares.own.value, squares.pair.value)


def _leaning(design: Design) -> list[Leaning]:
    """The propensities of a design that `grouped` made."""
    return design.once("leaning", list)


def _weights(design: Design) -> Array:
    """The weights (n,) of a design that `grouped` made."""
    return np.ones(design.n) if design.weights is None else design.weights
