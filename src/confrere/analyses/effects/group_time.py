"""Effects by group and period inside a hospital: sums that make them, and the sums of products of their influences.

For a group g, controls C, a period t and the period b before: with the change dy = y_t - y_b, its regression m on the
terms among controls, and the odds w of being in the group and not in C,

    effect = mean over g of (dy - m) - sum over C of w (dy - m) / sum over C of w.

It is right if either model is; without m it is weighting, without the second part standardisation. Both models are
estimates, and a person's influence has a part through each: D_m (Z'Z)^-1 z (dy - m) of controls, D_w H^-1 s of
everybody in the comparison. A person's influences on all effects are kept together, so that they are one person in
every aggregate. Sources: Sant'Anna & Zhao, J Econom 2020;219:101; Callaway & Sant'Anna, J Econom 2021;225:200. Equals R
`DRDID::drdid_panel` (`std_ipw_did_panel`, `reg_did_panel`) and `did::att_gt(bstrap = FALSE)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.difference_in_differences import DifferenceInDifferences
from confrere.analyses.effects.influence import Rows
from confrere.analyses.effects.nuisance import Fitted, Local, derivative, local_of, moved, predictor
from confrere.analyses.effects.panel import Comparison, Panel, among, panel
from confrere.analyses.effects.weighting import carried
from confrere.analyses.scaling import RAW
from confrere.rounds import Array, Bools, Design, People, Sum, effective, local, register


class Contrast(NamedTuple):
    """The change from the period `before` to the period `time` (places) in a comparison, by its place; public."""

    comparison: int
    before: int
    time: int


class Frame(NamedTuple):
    """Mean and SD of the terms (p,), and SD of all outcomes: the units in which they enter sums."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    y_sd: float


class Models(NamedTuple):
    """What is fitted; public. `odds` by comparison, none where there are no weights; `changes` (K, q) by contrast."""

    comparisons: tuple[Comparison, ...]
    contrasts: tuple[Contrast, ...]
    frame: Frame
    odds: tuple[Fitted, ...]
    changes: Rows


class Means(NamedTuple):
    """By contrast: the mean of the group and that of the controls; by comparison: people of the group, weights."""

    treated: tuple[float, ...]
    controls: tuple[float, ...]
    people: tuple[float, ...]
    weight: tuple[float, ...]


class Leans(NamedTuple):
    """How effects lean on the regressions of the changes, and on the odds; (K, q) each; public."""

    changes: Rows
    odds: Rows


class Start(NamedTuple):
    """People by group; raw moments of the terms and of the outcomes."""

    groups: Sum  # (1, T)
    first: Sum  # (p,)
    second: Sum  # (p,)
    outcomes: Sum  # (T, 2)


class Regressions(NamedTuple):
    """Products of terms, and of terms and changes, among controls."""

    terms: Sum  # (comparisons, q (q + 1)/2)
    changes: Sum  # (K, q)


class Totals(NamedTuple):
    """What means are made of, and derivatives."""

    weights: Sum  # (comparisons, 2) of the controls' weights and their squares
    terms: Sum  # (comparisons, 2, q) terms of the group, weighted terms of the controls
    changes: Sum  # (K, 2) changes less their regression, of the group, and weighted of the controls
    slopes: Sum  # (K + comparisons, q) the derivatives of the controls' sums by the odds' coefficients


class Squares(NamedTuple):
    """Products of everybody's influences on the effects, and of who is in which group."""

    second: Sum  # (K + groups, K + groups), symmetric


class Side(NamedTuple):
    """A comparison in a hospital: who is in the group, who is a control (n,), and the weights of controls (n,)."""

    group: Bools
    controls: Bools
    w: Array


class Fit(NamedTuple):
    """The odds model of a comparison in a hospital: who is in it (n,), their terms, what the model says of them."""

    inside: Bools
    x: Array
    local: Local


@register("_group_time")
@dataclass(frozen=True)
class GroupTime:
    """The steps of differences in differences."""

    of: DifferenceInDifferences

    @property
    def most(self) -> int:
        """Effects at most: groups times periods but the first."""
        return (len(self.of.periods) - 1) ** 2

    # inside each hospital

    def design(self, people: People) -> Design:
        """Raw terms, outcomes of all periods, and group."""
        return panel(people, self.of)

    def among(self, people: People, groups: tuple[int, ...]) -> Design:
        """Terms and outcomes of the people of some groups, over which products are summed."""
        return among(people, self.of, groups)

    @local(on="design")
    def start(self, people: People) -> Start:
        """People by group, moments of terms and outcomes."""
        data: Panel = people.design.data
        outcomes = np.column_stack([data.y.sum(axis=0), np.square(data.y).sum(axis=0)])
        return Start(
            people.cells("groups"),
            people.derived(data.x.sum(axis=0), scale=RAW),
            people.derived(np.square(data.x).sum(axis=0), scale=RAW),
            people.derived(outcomes, dims=("periods", "moments"), scale=RAW),
        )

    @local(on="design")
    def regressions(self, people: People, models: Models) -> Regressions:
        """Products of terms and changes among controls."""
        data: Panel = people.design.data
        z = _terms(data, models.frame)
        upper = np.triu_indices(z.shape[1])
        controls = [np.isin(data.group, c.controls) for c in models.comparisons]
        products = np.array([(z[who].T @ z[who])[upper] for who in controls])
        cross = np.array([z[controls[c.comparison]].T @ _change(data, models, c)[controls[c.comparison]]
                          for c in models.contrasts])  # fmt: skip
        return Regressions(
            people.derived(products, dims=("comparisons", "pairs"), bounds=(self.most, products.shape[1])),
            people.derived(cross, dims=("contrasts", "terms"), bounds=(self.most, z.shape[1])),
        )

    def weighed(self, people: People, models: Models, at: int) -> Design:
        """The controls of a comparison as the odds weigh them: the gate refuses those whom a few carry."""
        made, group = self.design(people), self.of.periods[models.comparisons[at].group]
        side = _sides(made.data, models)[at]
        names = [f"the controls of those treated from {group:.15g} on"]
        return carried(made, np.zeros(made.n, dtype=np.int64), names, side.w, "leave out confounders")

    @local(on="design")
    def totals(self, people: People, models: Models) -> Totals:
        """Sums over groups and their controls."""
        data: Panel = people.design.data
        z, sides = _terms(data, models.frame), _sides(data, models)
        weights = np.array([(s.w.sum(), s.w @ s.w) for s in sides])
        terms = np.array([(s.group @ z, s.w @ z) for s in sides])
        left = np.array(list(_left(z, data, models)))
        who = [sides[c.comparison] for c in models.contrasts]
        changes = np.array([(s.group @ r, s.w @ r) for s, r in zip(who, left, strict=True)])
        slopes = np.zeros((len(left) + len(sides), z.shape[1]))
        for at, (fit, side) in enumerate(zip(_fits(people, models, sides), sides, strict=bool(models.odds))):
            mine = [k for k, c in enumerate(models.contrasts) if c.comparison == at]
            du = np.column_stack([*(side.w * left[k] for k in mine), side.w])[fit.inside]
            slopes[[*mine, len(left) + at]] = derivative(fit.x, models.odds[at], fit.local, du)
        own, q, most = _entering(sides), z.shape[1], self.most
        return Totals(
            people.derived(weights, own, dims=("comparisons", "sums"), bounds=(most, 2)),
            people.derived(terms, own, dims=("comparisons", "sides", "terms"), bounds=(most, 2, q)),
            people.derived(changes, own, dims=("contrasts", "sides"), bounds=(most, 2)),
            people.derived(slopes, own, dims=("contrasts", "terms"), bounds=(2 * most, q)),
        )

    @local(on="design")
    def squares(self, people: People, models: Models, means: Means, leans: Leans) -> Squares:
        """Products of everybody's influences."""
        data: Panel = people.design.data
        phi = np.column_stack([*self._influences(people, models, means, leans), *_memberships(data, models)])
        most = self.most + len(self.of.periods) - 1
        return Squares(
            people.derived(phi.T @ phi, _entering(_sides(data, models)), dims=("effects", "effects"),
                           bounds=(most, most), symmetric=True)
        )  # fmt: skip

    def _influences(self, people: People, models: Models, means: Means, leans: Leans) -> Iterator[Array]:
        """What everybody moves each effect by (n,)."""
        data: Panel = people.design.data
        z, sides = _terms(data, models.frame), _sides(data, models)
        fits = _fits(people, models, sides)
        for k, (c, r) in enumerate(zip(models.contrasts, _left(z, data, models), strict=True)):
            side = sides[c.comparison]
            phi = side.group * (r - means.treated[k]) / means.people[c.comparison]
            if self.of.weighs:
                phi -= side.w * (r - means.controls[k]) / means.weight[c.comparison]
            if models.changes:
                phi += side.controls * r * (z @ np.array(leans.changes[k]))
            if fits:
                fit, lean = fits[c.comparison], np.array([leans.odds[k]])
                nothing = np.zeros((len(fit.x), 1))
                phi[fit.inside] += moved(fit.x, models.odds[c.comparison], fit.local, lean, nothing)[:, 0]
            yield phi


# Inside a hospital --------------------------------------------------------------------------------------------


def _terms(data: Panel, frame: Frame) -> Array:
    """Ones and standardised terms (n, q)."""
    return np.column_stack([np.ones(len(data.x)), (data.x - np.array(frame.mean)) / np.array(frame.sd)])


def _change(data: Panel, models: Models, c: Contrast) -> Array:
    """The change of everybody (n,), in standard deviations of the outcome."""
    return np.asarray((data.y[:, c.time] - data.y[:, c.before]) / models.frame.y_sd)


def _left(z: Array, data: Panel, models: Models) -> Iterator[Array]:
    """The change of everybody less its regression (n,), contrast after contrast."""
    for k, c in enumerate(models.contrasts):
        change = _change(data, models, c)
        yield change - z @ np.array(models.changes[k]) if models.changes else change


def _sides(data: Panel, models: Models) -> list[Side]:
    """The comparisons: controls weigh by their odds of being in the group, alike where there are none."""
    made = []
    for at, c in enumerate(models.comparisons):
        controls = np.isin(data.group, c.controls)
        w = controls.astype(float)
        if models.odds:
            w[controls] = np.exp(predictor(data.x[controls], models.odds[at]))
        made.append(Side(data.group == c.group, controls, w))
    return made


def _fits(people: People, models: Models, sides: list[Side]) -> list[Fit]:
    """What the odds say of the people of each comparison; nothing where there are none. Made once."""

    def made() -> list[Fit]:
        data: Panel = people.design.data
        out = []
        for side, model in zip(sides, models.odds, strict=bool(models.odds)):
            inside = side.group | side.controls
            x = data.x[inside]
            out.append(Fit(inside, x, local_of(x, side.group[inside].astype(float), model)))
        return out

    return people.design.once(f"odds by {models.odds!r}", made)


def _entering(sides: list[Side]) -> Array | None:
    """The weights (n,) with which people enter all comparisons together, for the gate; None where all are alike."""
    w = np.sum([s.group + s.w for s in sides], axis=0)
    return w if effective(w) < np.inf else None


def _memberships(data: Panel, models: Models) -> Iterator[Array]:
    """Who is in each group that is compared (n,), in the order of the groups."""
    for group in sorted({c.group for c in models.comparisons}):
        yield (data.group == group).astype(float)
