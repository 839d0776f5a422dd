"""EM of a mixture over all hospitals: sums of posterior probabilities, and few rounds of them.

A round of EM (Dempster, Laird & Rubin, JRSS B 1977;39:1) tells, of every class, the sums of posterior probabilities,
of columns and of their products: K (1 + p + s) numbers for s products of measurements among p columns. These say much
of who lies far out; the rounds of k-means say little. So k-means finds the start (as in scikit-learn): its clusters
with the covariance within them, which follows from what is known. And the rounds of EM are few, however many people
there are: what a number tells of one person becomes less with everybody who joins.

Anderson's acceleration (Henderson & Varadhan, J Comput Graph Stat 2019;28:834) works on the expected sums, and a step
that does not raise the likelihood gives way to EM's own. Before every round the gate looks at the classes to which
people belong by their largest probability, and at how many people all probabilities are worth: a class of few ends
the climb.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import linalg, special

from confrere.analyses.clusters import (
    BUDGET,
    EVERYBODY,
    GATE,
    ROUNDS,
    SPLIT,
    Fitted,
    Model,
    Sample,
    columns_of,
    hidden,
    moves,
)
from confrere.analyses.kmeans import Lloyd
from confrere.analyses.latent import FLAT, Classes, Layout, inside
from confrere.analyses.pca import Basis, Columns
from confrere.rounds import Array, Design, Flow, People, Sum, ask, local, register, support
from confrere.study.ground import Ground

DAMPED = 1e-6  # of the squares of what is mixed
MEMORY = 5  # steps that the acceleration looks back on
APART = 0.5  # of the variance over everybody, that a class starts with if k-means says nothing
Covariance = Literal["full", "diagonal"]


class Expected(NamedTuple):
    """One round of EM."""

    loglik: Sum  # () of standardised measurements
    entropy: Sum  # () of everybody's posterior probabilities
    totals: Sum  # (K, 1 + p + s) sums of probabilities, of columns and of products of measurements


@register("_em")
@dataclass(frozen=True)
class EM:
    """EM of a number of classes over a sample, from the clusters of k-means, or anew from classes that are given."""

    formula: str
    clusters: int
    most: int
    covariance: Covariance
    tolerance: float
    rounds: int
    sample: Sample = EVERYBODY
    ground: Ground = Ground()

    # inside each hospital

    def turn(self, people: People, columns: Columns, given: Model) -> Design:
        """Everybody's probabilities, and the class of the largest."""
        made = columns_of(people, self.formula, self.ground, self.sample)
        z, layout = columns.frame.of(made.x), Layout.of(self, columns.marks)
        logs = Classes.read(given, layout).logs(z, columns.frame, layout)
        whole = special.logsumexp(logs, axis=1)
        data = Posterior(z, np.exp(logs - whole[:, None]), whole, layout)
        now = np.asarray(np.argmax(data.probability, axis=1), dtype=np.int64)
        cells = moves(now, self.clusters, (), ())
        cells["clusters"] = replace(cells["clusters"], weights=data.probability)
        return Design(made.n, made.rows, cells=cells, data=data, columns=made.columns)

    @local(on="turn", repeats="rounds")
    def expected(self, people: People, number: int) -> Expected:
        """Sums of posterior probabilities, columns and products; the number of the round tells one from another."""
        d: Posterior = people.design.data
        i, j = d.layout.products
        measured = d.z[:, list(d.layout.measured)]
        wide = np.column_stack([np.ones(len(d.z)), d.z, measured[:, i] * measured[:, j]])
        totals = d.probability.T @ wide
        # each person enters with probabilities that sum to 1; whom a class rests on is for the cells of its design
        return Expected(
            people.derived(d.loglik.sum()), people.derived(special.entr(d.probability).sum()),
            people.derived(totals, dims=("classes", "terms"), bounds=(self.most, wide.shape[1])),
        )  # fmt: skip

    # sums only

    def learn(self, basis: Basis, starts: Sequence[Model], share: float) -> Flow[Fitted | None]:
        """By k-means from the starts and one climb; half of the share of the budget for each."""
        if self.sample.which in SPLIT:
            return (yield from Climb(self, basis, share).again(starts[0]))
        begun = yield from self.begun(basis, starts, share / 2, [])
        return (yield from Climb(self, basis, share / 2).up(begun))

    def begun(self, basis: Basis, starts: Sequence[Model], share: float, told: list[Model]) -> Flow[Model]:
        """Where to climb from: the clusters of k-means, or, where none may be told, half of everybody's covariance."""
        lloyd = Lloyd(self.formula, self.clusters, self.most, self.sample, self.ground)
        layout = Layout.of(self, basis.marks)
        found = yield from lloyd.learn(basis, starts, share, told)
        at = list(layout.measured)
        weight, places = np.full(self.clusters, 1 / self.clusters), np.array(starts[0])
        within = APART * basis.correlation
        if found:
            totals = found.state[0]
            weight, places = totals[:, 0] / totals[:, 0].sum(), totals[:, 1:] / totals[:, :1]
            rest = basis.correlation - (weight[:, None] * places).T @ places
            # in a sample of some hospitals, what is left of everybody's covariance may be none
            within = rest if np.linalg.eigvalsh(rest).min() > FLAT else within
        each = within if layout.full else np.diag(np.diag(within))
        spread = np.tile(each[np.ix_(at, at)], (self.clusters, 1, 1))
        return Classes(weight, inside(places, basis, layout), spread).public


class Posterior(NamedTuple):
    """A hospital's people in a round: standardised columns (n, p), probabilities (n, K), log-likelihoods (n,)."""

    z: Array
    probability: Array
    loglik: Array
    layout: Layout


class Step(NamedTuple):
    """Expected sums per person that a round started from, and those that it gave."""

    start: Array
    end: Array


class Climb:
    """One climb of EM, accelerated, by a share of the budget of numbers.

    What is told of a class is counted against the budget of its own people: those of a small class are the first to be
    recognised, so that it is as if all classes were as small.
    """

    def __init__(self, em: EM, basis: Basis, share: float) -> None:
        self.em, self.basis, self.share = em, basis, share
        self.layout = Layout.of(em, basis.marks)
        self.cost = 1 + len(basis.names) + len(self.layout.products[0])  # numbers about a class
        self.steps: list[Step] = []
        self.rounds, self.spent = 0, 0.0
        self.stopped = ""  # by whom

    def up(self, start: Model) -> Flow[Fitted | None]:
        """Rounds while the likelihood rises, the gate tells them and the budget lasts."""
        now, at, best = start, None, None
        while Classes.read(now, self.layout).stands(self.basis, self.layout):
            got = yield from self.told(now)
            if got is None:
                return best and best._replace(stopped=self.stopped, rounds=self.rounds)
            value, ended = float(got.loglik.value), got.totals.value / got.totals.value[:, 0].sum()
            if best is None or value >= best.value:
                still = best is not None and value - best.value <= self.em.tolerance * abs(value)
                best = Fitted(now, value, self.rounds, "", (ended, float(got.entropy.value)))
                if still:
                    return best
                at = self.onward(at, ended)
            else:  # a step too far: EM's own from the best, which cannot fall
                if at is best.state[0]:
                    return best._replace(rounds=self.rounds)
                self.steps, at = [], best.state[0]
            now = Classes.of(at, self.layout).public
        return None  # a class collapses on a few values: no maximum is there

    def again(self, start: Model) -> Flow[Fitted | None]:
        """Some steps of EM's own from the classes of everybody, in a sample of them."""
        now, value = start, 0.0
        for _ in range(self.em.rounds):
            got = yield from self.told(now)
            if got is None:
                return None
            made = Classes.of(got.totals.value / got.totals.value[:, 0].sum(), self.layout)
            if not made.stands(self.basis, self.layout):
                return None
            now, value = made.public, float(got.loglik.value)
        return Fitted(now, value, self.rounds, ROUNDS, None)

    def told(self, now: Model) -> Flow[Expected | None]:
        """A round, where the gate tells it and rounds and numbers last; or who stopped it."""
        if self.rounds == self.em.rounds:
            self.stopped = ROUNDS
            return None
        verdict = yield from support(self.em.turn, self.basis.columns, now)
        self.spent += self.cost / min(now[0])
        if hidden(verdict) or self.spent > self.share * min(verdict.budget, self.basis.budget):
            self.stopped = GATE if hidden(verdict) else BUDGET
            return None
        got = yield from ask(self.em.expected, self.rounds)
        self.rounds += 1
        return got

    def onward(self, start: Array | None, end: Array) -> Array:
        """Where to go on from expected sums: Anderson's mix of the last steps, or the end of the last."""
        if start is None:
            return end
        self.steps = [*self.steps[-MEMORY:], Step(start, end)]
        left = np.array([(s.end - s.start).ravel() for s in self.steps])
        ends = np.array([s.end.ravel() for s in self.steps])
        if len(left) < 2:
            return end
        change = np.diff(left, axis=0)
        square = change @ change.T
        # damped, so that the last bits of a sum do not decide
        weights = linalg.solve(square + DAMPED * np.trace(square) * np.eye(len(square)), change @ left[-1])
        mixed = (ends[-1] - weights @ np.diff(ends, axis=0)).reshape(end.shape)
        mixed[:, 0] /= mixed[:, 0].sum()
        return mixed if Classes.of(mixed, self.layout).stands(self.basis, self.layout) else end
