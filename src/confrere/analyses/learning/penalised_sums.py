"""What a penalised regression asks of the hospitals: likelihoods of everybody and of folds, at public coefficients.

Two kinds of likelihood. That of a generalised linear model is a sum over people: of a fold its own part is sent, and
what the others have follows by subtraction. Cox's partial likelihood, stratified by hospital, is not: of a fold, what
is sent is the likelihood of the people of the *other* folds, among themselves, and what the fold adds to it follows
(Verweij & van Houwelingen, Stat Med 1993;12:2305). So of either kind the coordinator knows both.

Folds come from a keyed hash of the person that all hospitals share and the coordinator lacks, so that they do not
depend on the deal. In every fold, each side of a mark (a term of 0 and 1, an event) has nobody or enough people, and
so have the rarer values of every other term.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from confrere.analyses.cox import Cox, Likelihood, with_sets
from confrere.analyses.families import family_of
from confrere.analyses.glm import Glm
from confrere.analyses.outcomes import Cases, Frame
from confrere.analyses.risksets import tied
from confrere.analyses.scaling import RAW, Centred, Standard, sides, squares
from confrere.errors import ProtocolError
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum
from confrere.study.ground import narrowed

Beta = tuple[float, ...]
MOST = 10  # folds


class Moments(NamedTuple):
    """Raw moments of the people of each fold, weighted by the case weights.

    `outcome` holds, of a generalised linear model, the sums of y and y^2 less the offset; of Cox's model the weight of
    the fold's events, and the log-likelihood of the others' saturated model.
    """

    total: Sum  # (folds,)
    first: Sum  # (folds, p)
    second: Sum  # (folds, p)
    outcome: Sum  # (folds, 2)


class Anchor(NamedTuple):
    """The log-likelihood at coefficients (q,), with its derivatives; and, see above, of the folds."""

    loglik: Sum  # ()
    score: Sum  # (q,)
    information: Sum  # (q, q), the expected one
    parts: Sum  # (folds,)
    scores: Sum  # (folds, q)


class Grams(NamedTuple):
    """Products of standardised terms of the people of each fold."""

    products: Sum  # (folds, q (q + 1) / 2), the upper triangles


class Held(NamedTuple):
    """At each of several coefficients: the likelihood without a fold, and what the fold adds."""

    loglik: Sum  # (points,) of the people of the other folds
    score: Sum  # (points, q)
    held: Sum  # (points,)


class Part(NamedTuple):
    """A log-likelihood with its score (q,), information (q, q) if wanted, and the weights (n,) of its people."""

    loglik: float
    score: Array
    information: Array | None
    weights: Array | None


class Own(NamedTuple):
    """The data of a design: those of its likelihood, terms (n, p), case weights (n,), rows to make others of; folds."""

    data: Any
    x: Array
    w: Array
    rows: Design | None = None
    at: Ints = np.zeros(0, dtype=np.int64)  # (n,) the fold of each person, once there are folds


class Kind(Protocol):
    """A kind of likelihood, inside a hospital. `split` gives the data of every fold: its own people, or all others."""

    @property
    def own(self) -> bool: ...  # whether a fold's own people are told of, and not the others
    def data(self, design: Design) -> Any: ...
    def dealt(self, people: People) -> tuple[Design, Own]: ...
    def split(self, own: Own, folds: int) -> Sequence[Any]: ...
    def part(self, data: Any, beta: Beta, frame: Frame, *, wanted: bool = False) -> Part: ...
    def outcome(self, data: Any, fold: Any) -> tuple[float, float]: ...
    def losses(self, data: Any, beta: Beta, frame: Frame) -> Array: ...


class Linked(NamedTuple):
    """Generalised linear models; data are `Cases`."""

    glm: Glm

    @property
    def own(self) -> bool:
        """A likelihood is a sum over people."""
        return True

    def data(self, design: Design) -> Cases:
        """The people of a design."""
        cases: Cases = design.data
        return cases

    def dealt(self, people: People) -> tuple[Design, Own]:
        """Raw terms and outcome, and what folds need of them."""
        made = self.glm.design(people)
        return made, Own(made.data, made.data.x, made.data.w)

    def split(self, own: Own, folds: int) -> Sequence[Cases]:
        """The people of each fold."""
        return [Cases(*(values[own.at == k] for values in own.data)) for k in range(folds)]

    def part(self, data: Cases, beta: Beta, frame: Frame, *, wanted: bool = False) -> Part:
        """Log-likelihood and score, over the unit of the frame."""
        got = self.glm.local_of(data, beta, frame, "expected" if wanted else "")
        return Part(got.loglik, got.score, got.information if wanted else None, got.weights[0])

    def outcome(self, data: Cases, fold: Cases) -> tuple[float, float]:
        """Sums of the outcome and of its square, less the offset."""
        y = fold.y - fold.offset
        return float(fold.w @ y), float(fold.w @ y**2)

    def losses(self, data: Cases, beta: Beta, frame: Frame) -> Array:
        """Half the deviance of each person (n,), whatever their weight; infinite where a mean cannot be."""
        family, link = family_of(self.glm.family, self.glm.link)
        terms = Centred.of(frame.mean, frame.sd, frame.intercept)
        lost = np.empty(len(data.y))
        with np.errstate(all="ignore"):
            for rows, part in terms.blocks(data.x):
                eta = frame.base + frame.reach * terms.times(part, np.array(beta)) + data.offset[rows]
                lost[rows] = family.half_deviance(data.y[rows], link.mean(eta))
        return np.where(np.isnan(lost), np.inf, lost)


class Survived(NamedTuple):
    """Cox's partial likelihood within hospitals; data are designs with risk sets."""

    cox: Cox

    @property
    def own(self) -> bool:
        """A person's part depends on who else is at risk."""
        return False

    def data(self, design: Design) -> Design:
        """A design with its risk sets."""
        return design

    def dealt(self, people: People) -> tuple[Design, Own]:
        """Raw terms, event and risk sets, and what folds need of them."""
        rows = self.cox.rows(people)
        made = with_sets(rows)
        return made, Own(made, made.data.rows.x, made.data.weights, rows)

    def split(self, own: Own, folds: int) -> Sequence[Design]:
        """The people of all folds but each, with their risk sets."""
        if own.rows is None:
            raise ProtocolError("the design has no rows to make risk sets of")
        return [with_sets(narrowed(own.rows, own.at != k, "in the fold")) for k in range(folds)]

    def part(self, data: Design, beta: Beta, frame: Frame, *, wanted: bool = False) -> Part:
        """Log partial likelihood and score."""
        got = Likelihood.at(data, beta, Standard(frame.mean, frame.sd), self.cox.ties == "efron")
        return Part(float(got.loglik), got.score(), got.information() if wanted else None, got.weights)

    def outcome(self, data: Design, fold: Design) -> tuple[float, float]:
        """The weight of the events of who is not in `fold`, and the log-likelihood of its saturated model."""
        events = float(data.data.sets.weight.sum() - fold.data.sets.weight.sum())
        return events, self.saturated(fold)

    def losses(self, data: Design, beta: Beta, frame: Frame) -> Array:
        """Half the squared deviance residual of each person (n,): of expected events m, m - e - e log m."""
        got = Likelihood.at(data, beta, Standard(frame.mean, frame.sd), self.cox.ties == "efron")
        event = np.zeros(len(got.residual))
        event[got.sets.dead] = 1.0
        each = np.divide(got.residual, got.weights, out=np.zeros_like(event), where=got.weights > 0)
        expected = np.maximum(event - each, 0.0)
        return np.asarray(expected - event - event * np.log(np.maximum(expected, 1e-300)))

    def saturated(self, data: Design) -> float:
        """The log partial likelihood of a model in which only those with an event at a time are at risk of it."""
        sets = data.data.sets
        return -float(tied(sets.weight, sets.weight, sets.weight, sets.count, self.cox.ties == "efron").log.sum())


# Folds --------------------------------------------------------------------------------------------------------


def folded(design: Design, own: Own, marks: Sequence[int], folds: int, products: bool) -> Design:
    """A design that says whether, in every fold, each side of each mark has nobody or enough people.

    `own` says people's folds. `marks` are terms of 0 and 1; the outcome's marks are added. Other columns, such as an
    outcome of numbers, are looked at as the gate looks at columns: who has the rarer values. With
    `products`, so it is with every two. Of the terms there is nothing new: the same people stand in the design of
    everybody.
    """
    at, names, p = cast(Ints, own.at.astype(np.int8)), design.names, own.x.shape[1]  # there are many partitions
    has: list[Bools] = list(design.x.T != 0)
    cells = {"folds": Cells(at, (1, folds), rule="spread")}
    for name, mark in (*((names[j], has[j]) for j in marks), *design.flags.items()):
        cells[f"side of {name}"] = Cells(at + folds * mark, (1, 2 * folds), rule="suppress")
    for j in sorted(set(range(len(has))) - set(marks)):
        cells |= {f"{names[j]} {side}": _of(who, at, folds) for side, who in sides(design.x[:, j]).items()}
    for i, j in combinations(range(len(has)), 2):
        if products or (j >= p and own.rows is None):  # the score holds sums of outcomes over terms
            four = i in marks and j in marks
            both = _four(at, has[i], has[j], folds) if four else _of(has[i] & has[j], at, folds)
            cells[f"{names[i]} with {names[j]}"] = both
    if own.rows is None:  # sums of outcomes over a mark are counts; of partial likelihoods they are not
        for j, (flag, event) in product(range(p), design.flags.items()):
            two = _of(has[j], at + folds * event, 2 * folds)
            cells[f"{names[j]} with {flag}"] = _four(at, has[j], event, folds) if j in marks else two
    return replace(design, x=np.empty((design.n, 0)), names=(), flags={}, cells=cells, data=own)


def _of(who: Bools, at: Ints, many: int) -> Cells:
    return Cells(np.where(who, at, at.dtype.type(-1)), (1, many), rule="suppress")


def _four(at: Ints, one: Bools, other: Bools, folds: int) -> Cells:
    kind = one.view(np.int8) * 2 + other.view(np.int8)
    return Cells(at + folds * kind, (1, 4 * folds), rule="suppress")


def may(grids: Mapping[str, Ints]) -> bool:
    """Whether every cell has nobody or enough people."""
    return all(bool((grid >= 0).all()) for grid in grids.values())


def cost(marks: int, others: int, flags: int, folds: int, products: bool) -> int:
    """Distinct numbers in the support of folds, at most: of `marks` terms of 0 and 1, and of other columns."""
    pairs = 2 * marks * (marks - 1) + others * (others - 1) // 2 + others * marks
    alone = 1 + 2 * (marks + flags) + 2 * others + (4 * marks + 2 * others) * flags
    return folds * (alone + pairs * products) + 2


# Sums ---------------------------------------------------------------------------------------------------------


def split(people: People, kind: Kind, folds: int) -> Sequence[Any]:
    """The data of every fold, made once."""
    return people.design.once("split", lambda: kind.split(people.design.data, folds))


def moments(people: People, kind: Kind, folds: int) -> Moments:
    """The raw moments of each fold; the body of a local step."""
    own: Own = people.design.data
    p = own.x.shape[1]
    total, first, second = np.zeros(folds), np.zeros((folds, p)), np.zeros((folds, p))
    for k in range(folds):
        w, x = own.w[own.at == k], own.x[own.at == k]
        total[k], first[k], second[k] = w.sum(), w @ x, squares(x, w)
    outcome = np.array([kind.outcome(own.data, part) for part in split(people, kind, folds)])
    raw: dict[str, Any] = {"scale": RAW}
    return Moments(
        people.derived(total, own.w, dims=("folds",), bounds=(MOST,), **raw),
        people.derived(first, own.w, dims=("folds", "terms"), bounds=(MOST, p), **raw),
        people.derived(second, own.w, dims=("folds", "terms"), bounds=(MOST, p), **raw),
        people.derived(outcome, own.w, dims=("folds", "moments"), bounds=(MOST, 2), **raw),
    )


def anchor(people: People, kind: Kind, beta: Beta, frame: Frame, folds: int) -> Anchor:
    """The likelihood of everybody and of the folds; the body of a local step."""
    whole = kind.part(people.design.data.data, beta, frame, wanted=True)
    parts = [kind.part(data, beta, frame) for data in split(people, kind, folds)]
    q, w = len(beta), whole.weights
    return Anchor(
        people.derived(np.asarray(whole.loglik), w),
        people.derived(whole.score, w),
        people.derived(np.asarray(whole.information), w, symmetric=True),
        people.derived(np.array([p.loglik for p in parts]), w, dims=("folds",), bounds=(MOST,)),
        people.derived(np.array([p.score for p in parts]), w, dims=("folds", "terms"), bounds=(MOST, q)),
    )


def grams(people: People, kind: Kind, beta: Beta, frame: Frame, folds: int) -> Grams:
    """The information of each fold, upper triangles; the body of a local step."""
    q, w = len(beta), people.design.data.w
    upper = np.triu_indices(q)
    found = [kind.part(data, beta, frame, wanted=True).information for data in split(people, kind, folds)]
    triangles = np.array([np.asarray(one)[upper] for one in found])
    return Grams(people.derived(triangles, w, dims=("folds", "pairs"), bounds=(MOST, len(upper[0]))))


class Points(NamedTuple):
    """Coefficients (points, q), the fold that each is without, and how many there may be."""

    betas: Array
    at: tuple[int, ...]
    most: int


def held(people: People, kind: Kind, points: Points, frame: Frame, folds: int) -> Held:
    """The likelihood without a fold, and what the fold adds; the body of a local step."""
    own: Own = people.design.data
    size, q = points.betas.shape
    loglik, score, rest = np.zeros(size), np.zeros((size, q)), np.zeros(size)
    parts = split(people, kind, folds)
    for i, (k, b) in enumerate(zip(points.at, points.betas, strict=True)):
        beta = tuple(b.tolist())
        whole, part = kind.part(own.data, beta, frame), kind.part(parts[k], beta, frame)
        left = (whole.loglik - part.loglik, whole.score - part.score)
        (loglik[i], score[i]), rest[i] = (left, part.loglik) if kind.own else ((part.loglik, part.score), left[0])
    some: dict[str, Any] = {"dims": ("points",), "bounds": (points.most,)}
    return Held(
        people.derived(loglik, own.w, **some),
        people.derived(score, own.w, dims=("points", "terms"), bounds=(points.most, q)),
        people.derived(rest, own.w, **some),
    )
