"""k-means over all hospitals: Lloyd's rounds over sums, from starts that everybody knows.

A round tells the size and the sums of each cluster, K x (p + 1) numbers; new centres are their means (Lloyd, IEEE Trans
Inf Theory 1982;28:129). As R `kmeans(algorithm = "Lloyd")` on standardised columns from the same start, after as many
rounds. Two rounds subtracted are the people who moved in between: until convergence, that gives rows back. So every
round is a design of its own, whose cells are where people were in every round told before, and where they are now;
the gate tells a round only if no combination with a round before rests on fewer than k people. Otherwise the clusters
of the last round told are the result: to within the few who would still move, they are those of convergence.

Quality comes from sums too: within and between sums of squares, Calinski & Harabasz (Commun Stat 1974;3:1), and the
simplified silhouette, which takes distances to centres for those to people (Vendramin et al., Stat Anal Data Min
2010;3:209).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.clusters import (
    BUDGET,
    EVERYBODY,
    FEW,
    GATE,
    HUBERT,
    LEARNING,
    LONG,
    STAYS,
    WANG,
    Fitted,
    Model,
    Pace,
    Profile,
    Sample,
    affordable,
    assigned,
    best_stable,
    check_settings,
    columns_of,
    groups_of,
    hidden,
    model,
    most_of,
    moves,
    nearest,
    profiles,
    replicated,
    sides_of,
    stability,
    starts_of,
    unfinished,
)
from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.analyses.pca import Basis, Columns, Correlations, check_columns
from confrere.errors import ModelError
from confrere.rounds import Array, Design, Flow, Ints, People, Sum, ask, keep, local, register, support
from confrere.study.ground import Ground
from confrere.study.worklist import Worklist

STILL = 1e-9  # standard deviations that a centre moves when nobody does
ASKED = 1000  # rounds at most over all starts: the budget of numbers ends them long before
HALF, WHOLE = 0.5, 0.9  # of the budget: where samples or groups are asked too, and where not
MOVED = "after it, too few people would change cluster to be told"
LLOYD = Citation(
    "Lloyd SP. Least squares quantization in PCM. IEEE Trans Inf Theory 1982;28:129-137", "10.1109/TIT.1982.1056489"
)
CALINSKI = Citation(
    "Calinski T, Harabasz J. A dendrite method for cluster analysis. Commun Stat 1974;3:1-27",
    "10.1080/03610927408827101",
)
VENDRAMIN = Citation(
    "Vendramin L, Campello RJGB, Hruschka ER. Relative clustering validity criteria: a comparative overview. Stat Anal "
    "Data Min 2010;3:209-235",
    "10.1002/sam.10080",
)


class Told(NamedTuple):
    """One round: how many people each cluster has, and the sums of their standardised columns."""

    totals: Sum  # (1, K, 1 + p)


class Spread(NamedTuple):
    """How tight the clusters of the result are."""

    second: Sum  # (1, K, p) sums of squares of standardised columns
    silhouette: Sum  # (1, K) sums of simplified silhouettes


class Placed(NamedTuple):
    """A hospital's people in a round: standardised columns (n, p)."""

    z: Array


@register("_lloyd")
@dataclass(frozen=True)
class Lloyd:
    """k-means of a number of clusters over a sample, from starts that are given."""

    formula: str
    clusters: int
    most: int
    sample: Sample = EVERYBODY
    ground: Ground = Ground()

    # inside each hospital

    def turn(self, people: People, columns: Columns, centres: Model, before: tuple[Model, ...]) -> Design:
        """Whose centre is nearest, and where everybody was in the rounds told before."""
        made = columns_of(people, self.formula, self.ground, self.sample)
        z = columns.frame.of(made.x)
        now = nearest(distances(z, centres))
        old = [(nearest(distances(z, b)), len(b)) for b in before]
        cells = moves(now, self.clusters, old, sides_of(people, made, columns.marks, self.formula, self.ground))
        return Design(made.n, made.rows, cells=cells, data=Placed(z), columns=made.columns)

    def result(self, people: People, columns: Columns, centres: Model, before: tuple[Model, ...]) -> Design:
        """The same of the last round told, once more: its clusters are the result."""
        return self.turn(people, columns, centres, before)

    @local(on="turn", repeats=ASKED)
    def told(self, people: People, number: int) -> Told:
        """Size and sums of the clusters of a round; the number of the round tells one from another."""
        z = people.design.data.z
        totals = people.cells("clusters", np.column_stack([np.ones(len(z)), z]))
        return Told(replace(totals, bounds=(1, self.most, 1 + z.shape[1])))

    @local(on="result")
    def spread(self, people: People, centres: Model) -> Spread:
        """Sums of squares and silhouettes of the clusters of the result, by its centres."""
        z = people.design.data.z
        inside = people.design.cells["clusters"].index
        second = people.cells("clusters", np.square(z))
        tight = people.cells("clusters", silhouettes(z, inside, np.array(centres)))
        return Spread(
            replace(second, bounds=(1, self.most, z.shape[1])), replace(tight, bounds=(1, self.most))
        )  # fmt: skip

    # sums only

    def learn(
        self, basis: Basis, starts: Sequence[Model], share: float, told: list[Model] | None = None
    ) -> Flow[Fitted | None]:
        """The best of several starts; each may use its part of the budget. `told` were told before, and gets more."""
        told = [] if told is None else told
        best: Fitted | None = None
        starts = starts[: affordable(share * basis.budget, self.clusters * (1 + len(basis.names)) + 1, self.sample)]
        for start in starts:
            fitted = yield from self.climb(basis, start, told, share / len(starts))
            if fitted and (best is None or fitted.value > best.value * (1 + 1e-9)):
                best = fitted
        return None if best is None else best._replace(state=(best.state, tuple(told)))

    def climb(self, basis: Basis, start: Model, told: list[Model], share: float) -> Flow[Fitted | None]:
        """Rounds from one start, while the gate tells them and the budget lasts. `told` gets the centres told."""
        centres, fitted, numbers = start, None, 0
        while True:
            verdict = yield from support(self.turn, basis.columns, centres, tuple(told))
            cost = self.clusters * (1 + len(basis.names)) + 1
            spent = numbers + cost > share * min(verdict.budget, basis.budget)
            if hidden(verdict) or spent:
                return fitted and fitted._replace(stopped=GATE if hidden(verdict) else BUDGET)
            numbers += cost
            got = (yield from ask(self.told, len(told))).totals.value[0]
            told.append(centres)
            if not got[:, 0].all():
                return fitted
            means = got[:, 1:] / got[:, :1]
            new = model(means)
            value = float((got[:, 0] * (means**2).sum(axis=1)).sum())  # between; a constant less the squares within
            still = float(np.abs(np.array(new) - np.array(centres)).max()) <= STILL
            fitted = Fitted(centres, value, (fitted.rounds if fitted else 0) + 1, "", got)
            if still:
                return fitted
            centres = new


def distances(z: Array, centres: Model) -> Array:
    """Squared distances (n, K)."""
    return np.asarray(np.stack([((z - np.array(c)) ** 2).sum(axis=1) for c in centres], axis=1))


def silhouettes(z: Array, inside: Ints, centres: Array) -> Array:
    """(b - a) / max(a, b) of the distances to the own centre and to the nearest other: (n,)."""
    away = np.sqrt(distances(z, model(centres)))
    own = np.take_along_axis(away, inside[:, None], axis=1)[:, 0]
    np.put_along_axis(away, inside[:, None], np.inf, axis=1)
    other = away.min(axis=1, initial=np.inf)
    most = np.maximum(own, other)
    return np.asarray(np.divide(other - own, most, out=np.zeros_like(most), where=most > 0))


@register("kmeans")
@dataclass(frozen=True)
class KMeans:
    """k-means of the columns of `formula`, such as `~ age + bmi + C(sex)`, all standardised.

    `clusters` is their number; or `among` gives numbers, of which the best is taken that is stable over
    `repeats` splits. The
    best of `starts` is taken (of fewer, where the budget of numbers asks for that); `seed` is public. `learn` and
    `hold` are two groups of hospitals, in which the clusters are learnt anew and compared. With `worklist`, each
    hospital keeps the cluster of its people, as a list called `title` for its clinicians (`purpose` says what for).

    Finding: tables `clusters` (size, squares within, silhouette), `profiles` (each column in each cluster and in the
    rest), `stability`, `replication`, `attrition`. Clusters are in order of size. Errors: FormulaError, StudyError;
    ModelError where some cluster would rest on too few people.
    """

    formula: str
    clusters: int = 0
    among: tuple[int, ...] = ()
    starts: int = 4
    repeats: int = 5
    seed: int = 1
    learn: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    worklist: bool = False
    title: str = "Clusters"
    purpose: str = ""
    ground: Ground = Ground()

    def check(self) -> None:
        """Settings against the ground, before anything is asked."""
        check_columns(self.formula, self.ground, 1)
        check_settings(self)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The groups of hospitals that the settings fix."""
        return groups_of(self)

    @property
    def nested(self) -> tuple[tuple[str, ...], ...]:
        """The same, which are asked beside everybody."""
        return groups_of(self)

    def part(self, clusters: int, sample: Sample) -> Lloyd:
        """k-means over a sample."""
        return Lloyd(self.formula, clusters, most_of(self), sample, self.ground)

    def centres(self, given: Model) -> Array:
        """Those of the clusters."""
        return np.array(given)

    @property
    def pace(self) -> Pace:
        """What stability may ask."""
        return Pace(LEARNING, FEW, LONG)

    def begin(self, basis: Basis, clusters: int, starts: int) -> list[Model]:
        """The centres of each start."""
        return [model(places) for places in starts_of(basis, clusters, starts, self.seed)]

    def cost(self, terms: int, clusters: int) -> int:
        """Numbers of a round."""
        return clusters * (1 + terms) + 1

    def placed(self, x: Array, columns: Columns, given: Model) -> Ints:
        """The cluster (n,) of raw columns (n, p)."""
        return nearest(distances(columns.frame.of(x), given))

    @local()
    def listed(self, people: People, columns: Columns, centres: Model) -> Worklist:
        """The cluster of each of this hospital's people, and the distance to its centre; they stay here."""
        made = columns_of(people, self.formula, self.ground)
        away = np.sqrt(distances(columns.frame.of(made.x), centres))
        found = {"cluster": nearest(away**2) + 1, "distance": away.min(axis=1, initial=np.inf)}
        return assigned(self, people, found, made, self.title)

    def fits(self, basis: Basis) -> Flow[dict[int, Fitted]]:
        """Of every number of clusters the best for everybody; rounds of all are held against each other."""
        numbers, told = self.among or (self.clusters,), list[Model]()
        found: dict[int, Fitted] = {}
        share = (HALF if self.among or self.learn else WHOLE) / len(numbers)
        for k in numbers:
            starts = self.begin(basis, k, self.starts)
            fitted = yield from self.part(k, EVERYBODY).learn(basis, starts, share, told)
            found |= {k: fitted} if fitted else {}
        return {k: fitted._replace(state=(fitted.state[0], tuple(told))) for k, fitted in found.items()}

    def flow(self) -> FlowFinding:
        """Standardise; choose how many; learn; describe; replicate; keep the lists."""
        basis = yield from Correlations(self.formula, self.ground).flow()
        tables: dict[str, list[Record]] = {}
        fits = yield from self.fits(basis)
        if not fits:
            raise ModelError(
                f"{' or '.join(map(str, self.among or (self.clusters,)))} clusters: in every start some cluster, or a "
                f"level in it, rests on too few people. Give fewer clusters, merge levels, or ask about more people"
            )
        clusters = next(iter(fits))
        if self.among:
            begun = {k: self.begin(basis, k, self.starts) for k in fits}
            tables["stability"] = yield from stability(self, basis, begun)
            apart = {k: calinski_harabasz(basis, k, fitted.value) for k, fitted in fits.items()}
            clusters = best_stable(tables["stability"], apart)
        part, fitted = self.part(clusters, EVERYBODY), fits[clusters]
        told = next(reversed(fits.values())).state[1]  # all rounds of all numbers
        totals = fitted.state[0]
        order = np.lexsort((totals[:, 1], -totals[:, 0]))
        yield from support(part.result, basis.columns, fitted.model, told)
        centres = model(totals[:, 1:] / totals[:, :1])
        spread = yield from ask(part.spread, centres)
        if self.learn:
            tables["replication"] = yield from replicated(self, basis, clusters)
        if self.worklist:
            yield from keep(self.listed, basis.columns, tuple(fitted.model[int(i)] for i in order))
        return found(self, basis, fitted, totals[order], spread_of(spread, order), tables)


def calinski_harabasz(basis: Basis, clusters: int, between: float) -> float:
    """Between and within squares by their degrees of freedom; standardised columns have n squares each."""
    n = basis.verdict.n
    return (between / (clusters - 1)) / ((n * len(basis.names) - between) / (n - clusters))


def spread_of(spread: Spread, order: Ints) -> tuple[Array, Array]:
    """Mean squares and sums of silhouettes in the order of the clusters."""
    return spread.second.value[0][order], spread.silhouette.value[0][order]


def found(
    kmeans: KMeans, basis: Basis, fitted: Fitted, totals: Array, spread: tuple[Array, Array], more: Any
) -> Finding:
    """The tables."""
    n, means = totals[:, 0], totals[:, 1:] / totals[:, :1]
    second, silhouette = spread
    within = (second - n[:, None] * means**2).sum(axis=1)
    between = float((n[:, None] * means**2).sum())
    k, people = len(n), basis.verdict.n
    clusters: list[Record] = [
        {"cluster": c + 1, "n": round(n[c]), "share": float(n[c] / people), "withinss": float(within[c]),
         "silhouette": float(silhouette[c] / n[c])}
        for c in range(k)
    ]  # fmt: skip
    v = basis.verdict
    tables = {"clusters": clusters, "profiles": profiles(basis, Profile(n, means, second / n[:, None])), **more}
    return Finding(
        method="kmeans", n=v.n, hospitals=v.hospitals, tables=tables | {"attrition": attrition(v)},
        facts={
            "clusters": k, "tot_withinss": float(within.sum()), "betweenss": between,
            "explained": between / (between + float(within.sum())),
            "calinski_harabasz": (between / (k - 1)) / (float(within.sum()) / (people - k)),
            "silhouette": float(silhouette.sum() / people), "rounds": fitted.rounds, "converged": not fitted.stopped,
        },
        arrays={"centres": means},
        notes=(STAYS,) if kmeans.worklist else (), warnings=unfinished(fitted, MOVED),
        cite=(LLOYD, CALINSKI, VENDRAMIN, *((HUBERT,) if kmeans.learn or kmeans.among else ()),
              *((WANG,) if kmeans.among else ())),
    )  # fmt: skip
