"""Risks and restricted means under either treatment: incidences that models predict, averaged, and augmented.

With the incidence F(t | a, x) of a cause by models of the hazards of all causes (`hazards`), tilt h and weights w of
the estimand, the curve of arm a is

    sum h F(t | a, x) + w X(t)      over      sum h

where X is of the martingales of the person's own event, weighed against leaving (`walks`), and w is 0 in the other arm.
Without the second part it is the g-formula. With it, it is right if the outcome models are, or if the propensity and
the model of censoring are. Where no causes compete, survival is 1 - F. Curves are told at the edges of cells; risks and
means are read off them. Standard errors account for all models (`influence`); with folds a person's models come from
the other folds, and their parts are left out.

Sources: Bai, Tsiatis & O'Brien, Biometrics 2013;69:830; Westling, Luedtke, Gilbert & Carone, JASA 2024;119:1541; Chen &
Tsiatis, Biometrics 2001;57:1030 (restricted means); Ozenne, Scheike, Staerk & Gerds, Biom J 2020;62:751 (causes that
compete). Matches R's `glm(poisson)`, predictions written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.causes import each_cause
from confrere.analyses.effects import hazards, walks
from confrere.analyses.effects.arms import chosen, given, treated_of
from confrere.analyses.effects.curve_tables import AMPLE, Curves, Drawn, places_of, told
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.hazards import Followed, Grid, HazardLean, Hazards, Learnt, Rates
from confrere.analyses.effects.influence import Lean, lean_of
from confrere.analyses.effects.means import propensity, uncarried
from confrere.analyses.effects.nuisance import Among, Fitted, Learned, Local, derivative, folds_of, local_of, moved
from confrere.analyses.effects.read_off import curved, people_of
from confrere.analyses.effects.weighted import targets
from confrere.analyses.effects.weighted_curves import Spread, Squares
from confrere.analyses.effects.weighting import Weights
from confrere.analyses.scaling import stretches
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Design, Flow, Ints, People, Sum, ask, local, register, together
from confrere.study.ground import Ground, design_of, model_of


class Models(NamedTuple):
    """The fitted models, one or one per fold (no propensity and no censoring for the g-formula); public.

    The outcome has those of each cause. Curves are told at `points`; a `share` of the people is treated.
    """

    propensity: tuple[Fitted, ...]
    outcome: tuple[tuple[Rates, ...], ...]
    censored: tuple[Rates, ...]
    points: tuple[float, ...]
    share: float


class Cases(NamedTuple):
    """A hospital's people: confounder terms, outcome terms under no treatment and under treatment, terms of censoring.

    Then time, cause of the event (0: censored), arm and fold of each (n,).
    """

    x: Array
    terms: tuple[Array, Array]
    lost: Array
    time: Array
    cause: Ints
    treated: Bools
    fold: Ints


class Totals(NamedTuple):
    """Sums of what people add to the curve of each arm, and of the tilt."""

    number: Sum  # (2, causes, points)
    base: Sum  # ()


class Derivatives(NamedTuple):
    """Derivatives of the targets: by the propensity's coefficients, then by rates and coefficients of the others."""

    by: Sum  # (k, q), (k, 0) of the g-formula
    outcome: Sum  # (k, causes (S J + p))
    censored: Sum  # (k, 2 J + p), (k, 0) of the g-formula


class Leans(NamedTuple):
    """How the targets lean on the models; public, and None of a model that is not there."""

    propensity: Lean | None
    outcome: tuple[HazardLean, ...]
    censored: HazardLean | None


class Part(NamedTuple):
    """Some people as if all were in one arm: which rows, their course by each cause, tilt and weight (0 in the other
    arm)."""

    rows: slice
    by: tuple[walks.Course, ...]
    h: Array
    w: Array

    @property
    def shares(self) -> tuple[walks.Cause, ...]:
        """The causes."""
        return tuple(course.cause for course in self.by)


@register("_standardised_survival")
@dataclass(frozen=True)
class Standardised:
    """The curves of two arms among people of an effect."""

    effect: Effect
    among: Among

    @property
    def ground(self) -> Ground:
        """The ground of every part."""
        return self.effect.about

    # inside each hospital

    def design(self, people: People) -> Design:
        """Confounder terms, arm, event."""
        effect, ground = self.effect, self.ground
        made = design_of(people, f"{effect.outcome} ~ {effect.confounders}", ground)
        made = self.among.narrow(people, made, ground)
        frame, data = people.table.frame[made.rows], made.data
        treated = treated_of(frame, effect.treatment, ground)
        right = effect.outcome_model or effect.confounders
        none, all_ = (given(frame, effect.treatment, np.full(made.n, a), ground) for a in (False, True))
        terms = self._terms(none, right), self._terms(all_, right)
        lost = self._terms(frame, effect.losing) if effect.weighs else np.empty((made.n, 0))
        fold = folds_of(people, ground, made.rows, effect.folds)
        cases = Cases(data.x, terms, lost, data.time, data.event.astype(np.int64), treated, fold)
        names = (*made.names, f"treatment {effect.treatment}")
        return replace(made, data=cases, x=np.column_stack([data.x, treated]), names=names)

    def _terms(self, frame: Any, right: str) -> Array:
        """The terms of a model (n, p)."""
        pooled = {name: (mean, sd) for name, mean, sd in self.ground.pooled}
        return model_of(f"{self.effect.outcome} ~ {right}", self.ground).evaluate(frame, pooled).x

    @local(on="design")
    def totals(self, people: People, models: Models) -> Totals:
        """The curves, not yet divided."""
        number = np.zeros((2, len(models.outcome), len(models.points)))
        for arm in (0, 1):
            for part in self._parts(people, models, arm):
                number[arm] += [_number(part, cause).sum(axis=0) for cause in range(len(part.by))]
        weights = self._weights(people, models)
        return Totals(
            people.derived(number, weights.w, dims=("arms", "causes", "cells")),
            people.derived(np.array(weights.tilt.sum())),
        )

    @local(on="design")
    def derivatives(self, people: People, models: Models, curve: Array, along: Array) -> Derivatives:
        """Derivatives of the targets, not yet divided; `along` (k, 2, causes, points) are theirs by the curves."""
        cases: Cases = people.design.data
        causes = len(models.outcome)
        fitted = [*(of[0] for of in models.outcome), *models.censored]
        by = [np.zeros((len(along), _size(model))) for model in fitted]
        for arm in (0, 1):
            for part in self._parts(people, models, arm):
                for row, cause in zip(*np.nonzero(along[:, arm].any(axis=2)), strict=True):
                    got = walks.slopes(part.by[cause], along[row, arm, cause], part.h, part.w)
                    slopes = [walks.by_hazard(got, part.shares, cause, i) for i in range(causes)] + [got.by_b]
                    for i, (model, values) in enumerate(zip(fitted, slopes, strict=False)):
                        x = cases.terms[arm] if i < causes else cases.lost
                        by[i][row] += walks.by_model(values, x[part.rows], model, (arm, part.by[0].walk.cells))
        outcome, censored = (np.hstack([np.empty((len(along), 0)), *some]) for some in (by[:causes], by[causes:]))
        first = np.empty((len(along), 0))
        for weighing in models.propensity:
            local = self._propensity(people, weighing)
            first = derivative(cases.x, weighing, local, self._sloping(people, models, curve, along))
        w, dims = self._weights(people, models).w, ("targets", "terms")
        return Derivatives(*(people.derived(v, w, dims=dims) for v in (first, outcome, censored)))

    @local(on="design")
    def squares(
        self, people: People, models: Models, curve: tuple[Array, float], along: Array, of: tuple[int, Leans | None]
    ) -> Squares:
        """Products of what people move the targets by; `curve` with the sum of tilts, `of` pairs, leaning on models."""
        pairs, leans = of
        own, pair = np.zeros(len(along)), np.zeros(2 * pairs)
        for rows in targets(len(along)):
            phi = self._added(people, models, curve[0], along[rows])
            if leans is not None:
                phi += self._leaning(people, models, (curve[0], along[rows], leans), rows)
            phi /= curve[1]
            own[rows] = np.einsum("ij,ij->j", phi, phi)
            inside = phi[:, : max(0, 2 * pairs - rows.start)]
            products = np.einsum("ij,ij->j", inside[:, ::2], inside[:, 1::2])
            pair[rows.start // 2 : rows.start // 2 + products.size] = products
        return Squares(people.derived(own, dims=("targets",)), people.derived(pair[:pairs], dims=("targets",)))

    def _added(self, people: People, models: Models, curve: Array, along: Array) -> Array:
        """What people add to the targets themselves (n, k)."""
        out = np.zeros((people.design.n, len(along)))
        for arm in (0, 1):
            for part in self._parts(people, models, arm):
                for cause, at in enumerate(curve[arm]):
                    out[part.rows] += (_number(part, cause) - part.h[:, None] * at) @ along[:, arm, cause].T
        return out

    def _leaning(self, people: People, models: Models, of: tuple[Array, Array, Leans], rows: slice) -> Array:
        """What people move some targets by through the models (n, k)."""
        cases: Cases = people.design.data
        curve, along, leans = of
        own = np.where(cases.treated[:, None], cases.terms[1], cases.terms[0])
        out = np.zeros((people.design.n, rows.stop - rows.start))
        for cause, ((model, *_), lean) in enumerate(zip(models.outcome, leans.outcome, strict=True), 1):
            out += _through(own, cases, cases.cause == cause, model, lean, rows)
        if leans.censored is not None:
            out += _through(cases.lost, cases, cases.cause == 0, models.censored[0], leans.censored, rows)
        if leans.propensity is not None:
            (weighing,) = models.propensity
            by, ridge = np.array(leans.propensity.by)[rows], np.array(leans.propensity.ridge)[rows]
            du = self._sloping(people, models, curve, along)
            out += moved(cases.x, weighing, self._propensity(people, weighing), by, du) - ridge
        return out

    def _sloping(self, people: People, models: Models, curve: Array, along: Array) -> Array:
        """The slope of the targets by the propensity's linear predictor (n, k)."""
        weights, cases = self._weights(people, models), people.design.data
        out = np.zeros((people.design.n, len(along)))
        for arm in (0, 1):
            slope = np.where(cases.treated == arm, weights.slope, 0.0)
            for part in self._parts(people, models, arm):
                changed = part._replace(h=weights.tilt_slope[part.rows], w=slope[part.rows])
                for cause, at in enumerate(curve[arm]):
                    out[part.rows] += (_number(changed, cause) - changed.h[:, None] * at) @ along[:, arm, cause].T
        return out

    def _parts(self, people: People, models: Models, arm: int) -> Iterator[Part]:
        """All people as if in one arm, some at a time."""
        cases, weights = people.design.data, self._weights(people, models)
        cells = walks.cells_of(models.points)
        w = np.where(cases.treated == arm, weights.w, 0.0)
        for rows in stretches(people.design.n, 8 * len(models.outcome) * cells.breaks.size):
            fold, mine = cases.fold[rows], cases.treated[rows] == arm
            each = [self._hazards(of, cases.terms[arm][rows], fold, (arm, cells)) for of in models.outcome]
            a, b, grow = sum(each[1:], each[0]), np.zeros_like(each[0]), None
            time, cause = np.where(mine, cases.time[rows], 0.0), np.where(mine, cases.cause[rows], 0)
            stay = walks.stay_of(time, cause > 0, cells)
            if models.censored:
                b = self._hazards(models.censored, cases.lost[rows], fold, (arm, cells))
                grow = walks.grown(a + b, stay)
            walk = walks.Walk(cells, a, b, stay)
            causes = [walks.cause_of(hazard, walk, cause == i) for i, hazard in enumerate(each, 1)]
            yield Part(rows, tuple(walks.course(walk, c, grow) for c in causes), weights.tilt[rows], w[rows])

    def _hazards(self, models: tuple[Rates, ...], x: Array, fold: Ints, at: tuple[int, walks.Cells]) -> Array:
        """Hazards (n, cells) by the model of each person's fold."""
        arm, cells = at
        stratum = np.full(len(x), arm)
        got = [walks.hazards(m.relative(x), stratum, m, cells) for m in models]
        return got[0] if len(got) == 1 else np.asarray(np.choose(fold[:, None], got))

    def _weights(self, people: People, models: Models) -> Weights:
        """Weights and tilt of everybody; made once."""
        return people.design.once(f"weights by {models.propensity!r}", lambda: self._weigh(people, models))

    def _weigh(self, people: People, models: Models) -> Weights:
        cases, one = people.design.data, np.ones(people.design.n)
        if not models.propensity:
            tilt = cases.treated.astype(float) if self.effect.estimand == "ATT" else one
            return Weights(one, 0 * one, tilt, 0 * one)
        got = [self._propensity(people, m, i).m for i, m in enumerate(models.propensity)]
        return self.effect.weighting.of(chosen(cases.fold, got), cases.treated, models.share)

    def _propensity(self, people: People, model: Fitted, fold: int = -1) -> Local:
        """What a propensity says of everybody; its own intercept is that of the people of other folds."""
        cases: Cases = people.design.data
        used = cases.fold != fold if self._folded else None
        return people.design.once(
            f"propensities by {model!r}", lambda: local_of(cases.x, cases.treated.astype(float), model, used)
        )

    @property
    def _folded(self) -> bool:
        return self.effect.folds > 1

    # sums only

    def curves(self, learned: Learned | None) -> Flow[tuple[Grid, Curves]]:
        """The curves of the arms, with the propensity of everybody."""
        effect = self.effect
        amongs = [self.among]
        if self._folded:
            amongs = [self.among._replace(folds=effect.folds, fold=i) for i in range(effect.folds)]
        causes = each_cause(effect.outcome, self.ground)
        kinds = [f"cause {i}" for i in range(1, len(causes) + 1)] if causes[0] else ["event"]
        kinds += ["censored"] if effect.weighs else []
        grid = yield from Hazards(effect, "event", self.among).settled(len(kinds) * len(amongs))
        flows: list[Flow[Any]] = [Hazards(effect, kind, a, grid.edges).flow() for kind in kinds for a in amongs]
        if self._folded:
            flows += [propensity(effect, among) for among in amongs]
        got = list((yield from together(*flows)))
        rates, weighing = got[: len(kinds) * len(amongs)], got[len(kinds) * len(amongs) :]
        of = [tuple(rates[i : i + len(amongs)]) for i in range(0, len(rates), len(amongs))]  # by kind, by fold
        outcome, censored = of[: len(causes)], [m for some in of[len(causes) :] for m in some]
        if learned is not None and not self._folded:
            weighing = [learned]
        elif learned is not None:
            yield from uncarried(effect, self.among, weighing, learned.share)
        models = Models(
            tuple(m.model for m in weighing), tuple(tuple(m.model for m in some) for some in outcome),
            tuple(m.model for m in censored), grid.points, 0.5 if learned is None else learned.share,
        )  # fmt: skip
        learnt = None
        if not self._folded:
            learnt = Learning(learned, tuple(m for (m,) in outcome), censored[0] if censored else None)
        return grid, (yield from self._read(models, learnt, grid))

    def _read(self, models: Models, learnt: Learning | None, grid: Grid) -> Flow[Curves]:
        """Curves, and what is read off them."""
        if not models.points:
            raise ModelError("nobody of an arm is followed for long enough for a curve: ask about more people")
        got = yield from ask(self.totals, models)
        base = float(got.base.value)
        curve = got.number.value / base
        people = people_of(grid.table, models.points)
        drawn = Drawn(
            self.effect, grid.table, curved(people, curve), people, each_cause(self.effect.outcome, self.ground)
        )
        wanted = drawn.wanted
        numbers = 1 + (learnt.size if learnt else 0)
        places = places_of(drawn, grid.table.verdict.budget // AMPLE // numbers - 2 * len(wanted))
        reads = drawn.reads(wanted, places)
        along = np.zeros((len(reads), *curve.shape))
        for row, (arm, read) in zip(along, reads, strict=True):
            row[arm] = read.events
        leans = None
        if learnt is not None:
            slopes = yield from ask(self.derivatives, models, curve, along)
            leans = learnt.leans(slopes)
        squares = yield from ask(self.squares, models, (curve, base), along, (len(wanted), leans))
        return told(drawn, wanted, places, Spread(squares.own.value, squares.pair.value))


class Learning(NamedTuple):
    """The models as they were fitted, of which the variance takes account."""

    propensity: Learned | None
    outcome: tuple[Learnt, ...]
    censored: Learnt | None

    @property
    def size(self) -> int:
        """Parameters of all."""
        own = 0 if self.propensity is None else len(self.propensity.model.beta)
        return own + sum(_size(m.model) for m in (*self.outcome, self.censored) if m is not None)

    def leans(self, got: Derivatives) -> Leans:
        """How targets lean on the models, from their derivatives."""
        ends = np.cumsum([_size(m.model) for m in self.outcome])[:-1]
        parts = np.split(got.outcome.value, ends, axis=1)
        return Leans(
            None if self.propensity is None else lean_of(self.propensity, got.by.value),
            tuple(m.leans(part) for m, part in zip(self.outcome, parts, strict=True)),
            None if self.censored is None else self.censored.leans(got.censored.value),
        )


def _size(model: Rates) -> int:
    """Rates and coefficients."""
    return model.rates.size + len(model.beta)


def _number(part: Part, cause: int) -> Array:
    """What people add to the curve of a cause at each point (n, points)."""
    by = part.by[cause]
    plain = by.f * part.h[:, None]
    return plain if by.grow is None else np.asarray(plain + part.w[:, None] * walks.martingale(by))


def _through(x: Array, cases: Cases, event: Bools, model: Rates, lean: HazardLean, rows: slice) -> Array:
    """What people move some targets by through a model of hazards (n, k)."""
    exits = hazards.exits_of(Followed(x, cases.time, cases.treated, event), model.edges, len(model.rate) > 1)
    return hazards.moved(x, exits, model, HazardLean(lean.rate[rows], lean.beta[rows]))
