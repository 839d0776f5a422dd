"""Analyses that leak, written so that the detectors can prove that they see (DESIGN 8, law 7 d).

Each is what a well-known system does, or what an earlier design of ours did. They are registered under names that
start with "_", so that no study file finds them, and each says what it gives away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.rounds import Cells, Design, Flow, People, Sum, ask, local, register, together, within

X = ("x1", "x2", "treated")


def plain(people: People, columns: tuple[str, ...] = X) -> Design:
    """The columns as they are."""
    f = people.table.frame
    return Design(
        len(f), np.ones(len(f), dtype=bool), f[list(columns)].to_numpy(float), columns, data=f, columns=columns
    )


class AtRisk(NamedTuple):
    """Sums over the risk set of every event time: of r, of r x, and of r x x'."""

    s0: Sum  # (T,)
    s1: Sum  # (T, p)
    s2: Sum  # (T, p (p + 1) / 2)


@register("_control_webdisco")
@dataclass(frozen=True)
class WebDisco:
    """Cox's likelihood from S0, S1, S2 at every event time (Lu et al., JAMIA 2015): whoever leaves alone is seen."""

    times: tuple[float, ...]

    def design(self, people: People) -> Design:
        """The terms."""
        return plain(people)

    @local(on="design", repeats=9)
    def at_risk(self, people: People, beta: tuple[float, ...]) -> AtRisk:
        """Messages of one round."""
        x = people.design.x
        r, (i, j) = np.exp(x @ np.array(beta)), np.triu_indices(x.shape[1])
        at = (people.design.data["time"].to_numpy()[None, :] >= np.array(self.times)[:, None]).astype(float)
        sums = (at @ r, at @ (x * r[:, None]), at @ (x[:, i] * x[:, j] * r[:, None]))
        return AtRisk(*(people.derived(s) for s in sums))

    def flow(self) -> Flow[Any]:
        """Two rounds are enough."""
        yield from ask(self.at_risk, (0.0, 0.0, 0.0))
        return (yield from ask(self.at_risk, (0.1, -0.02, 0.2)))


class Moments(NamedTuple):
    """Of one set of columns."""

    xx: Sum  # (p, p)


@register("_control_moments")
@dataclass(frozen=True)
class Moment:
    """Second moments of columns: harmless, unless a column is the mark of a few people."""

    columns: tuple[str, ...]

    def design(self, people: People) -> Design:
        """The columns."""
        return plain(people, self.columns)

    @local(on="design")
    def second(self, people: People) -> Moments:
        """X'X with an intercept."""
        x = people.design.x
        return Moments(people.moments(np.column_stack([np.ones(len(x)), x])))

    def flow(self) -> Flow[Any]:
        """One ask."""
        return (yield from ask(self.second))


class Clusters(NamedTuple):
    """Size and sum of each cluster."""

    size: Sum  # (K,)
    total: Sum  # (K, p)


@register("_control_kmeans")
@dataclass(frozen=True)
class KMeans:
    """Lloyd's rounds until nobody moves: two rounds subtracted are the few who moved."""

    clusters: int = 4
    rounds: int = 60

    def design(self, people: People) -> Design:
        """The columns."""
        return plain(people)

    @local(on="design", repeats=1000)
    def assign(self, people: People, centres: tuple[tuple[float, ...], ...]) -> Clusters:
        """Each to the nearest centre."""
        x = people.design.x
        nearest = np.argmin(((x[:, None, :] - np.array(centres)[None]) ** 2).sum(axis=2), axis=1)
        one = (nearest[None, :] == np.arange(self.clusters)[:, None]).astype(float)
        return Clusters(people.derived(one.sum(axis=1)), people.derived(one @ x))

    def flow(self) -> Flow[Any]:
        """Until the centres stay."""
        rng = np.random.default_rng(3)
        centres = rng.normal(0, 1, (self.clusters, len(X))) + np.array([0.0, 5.0, 0.5])
        for _ in range(self.rounds):
            got = yield from ask(self.assign, tuple(tuple(c) for c in centres.tolist()))
            new = got.total.value / np.maximum(got.size.value, 1)[:, None]
            if np.allclose(new, centres):
                break
            centres = new
        return centres


class Replicates(NamedTuple):
    """Weighted sums of the outcome, one per replicate."""

    total: Sum  # (B,)


@register("_control_replicates")
@dataclass(frozen=True)
class PublicReplicates:
    """Bootstrap weights from a public hash of the row: as many sums with known weights as there are people."""

    replicates: int

    def design(self, people: People) -> Design:
        """The outcome."""
        return plain(people, ("y", "person"))

    @local(on="design")
    def totals(self, people: People) -> Replicates:
        """Sum of w_b y."""
        d = people.design
        w = np.array([public_weights(int(i), self.replicates) for i in d.x[:, 1]]).reshape(d.n, self.replicates)
        return Replicates(people.derived(w.T @ d.x[:, 0]))

    def flow(self) -> Flow[Any]:
        """All replicates at once."""
        return (yield from ask(self.totals))


def public_weights(person: int, replicates: int) -> np.ndarray:
    """Poisson(1) weights that anybody can compute."""
    seed = int.from_bytes(hashlib.sha256(str(person).encode()).digest()[:8], "big")
    return np.random.default_rng(seed).poisson(1.0, replicates).astype(float)


class Histogram(NamedTuple):
    """Gradients and counts by node and bin."""

    total: Sum  # (nodes, bins)
    count: Sum  # (nodes, bins)


@register("_control_trees")
@dataclass(frozen=True)
class Trees:
    """Histograms of one feature in 256 bins, in every node of one level of a tree."""

    depth: int = 5
    bins: int = 256

    def design(self, people: People) -> Design:
        """Node and bin of everybody, in a partition that asks for no support."""
        made = plain(people)
        a, b = made.x[:, 0], made.x[:, 1]
        node = np.floor(np.clip((a + 3) / 6, 0, 0.999) * 2**self.depth).astype(int)
        index = node * self.bins + np.floor(np.clip(b / 10, 0, 0.9999) * self.bins).astype(int)
        cells = Cells(index, (2**self.depth, self.bins), rule="fine", needs="histograms")
        return replace(made, cells={"bins": cells})

    @local(on="design")
    def histogram(self, people: People) -> Histogram:
        """Sums per bin."""
        return Histogram(people.cells("bins", people.design.data["y"].to_numpy()), people.cells("bins"))

    def flow(self) -> Flow[Any]:
        """One level."""
        return (yield from ask(self.histogram))


class Curved(NamedTuple):
    """X'WX."""

    xwx: Sum  # (p, p), symmetric


@register("_control_vectors")
@dataclass(frozen=True)
class Vectors:
    """X'WX of a Poisson regression at many coefficients that the coordinator chose."""

    vectors: int
    size: float = 0.5

    def design(self, people: People) -> Design:
        """Four terms."""
        return plain(people, ("x1", "x2", "y", "cost"))

    @local(on="design", repeats=1000)
    def curved(self, people: People, beta: tuple[float, ...]) -> Curved:
        """At one vector."""
        x = people.design.x
        return Curved(people.moments(x, w=np.exp(x @ np.array(beta))))

    def flow(self) -> Flow[Any]:
        """All at once."""
        rng = np.random.default_rng(8)
        scale = self.size / np.array([1.0, 3.0, 2.0, 1.0])
        betas = [tuple((rng.normal(0, 1, 4) * scale).tolist()) for _ in range(self.vectors)]
        return (yield from together(*(ask(self.curved, b) for b in betas)))


class Shift(NamedTuple):
    """One sum."""

    total: Sum  # ()


@register("_control_two_groups")
@dataclass(frozen=True)
class TwoGroups:
    """What group "b" is asked depends on a sum of group "a"."""

    def design(self, people: People) -> Design:
        """The columns."""
        return plain(people)

    @local(on="design", repeats=2)
    def shifted(self, people: People, by: float) -> Shift:
        """Sum of x1 + by."""
        return Shift(people.derived((people.design.x[:, 0] + by).sum()))

    def flow(self) -> Flow[Any]:
        """Of a, then of b."""
        first = yield from within("a", ask(self.shifted, 0.0))
        return (yield from within("b", ask(self.shifted, float(first.total.value))))
