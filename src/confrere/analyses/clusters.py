"""What clusterings of people share: columns, samples, starts, how far two agree, and how a cluster differs.

Columns are standardised by a first ask, so that every hospital and the coordinator start from the same places: along
the first principal component, or drawn by a public seed from a normal distribution with the columns' correlations. No
start needs a row, as k-means++ would.

How far two clusterings agree is the adjusted Rand index of their cross-table (Hubert & Arabie, J Classif 1985;2:193).
The number of clusters is the one on which clusterings of two samples agree best on a third (Wang, Biometrika
2010;97:893). Samples come from a keyed hash of the person: the hospitals share the key, the coordinator lacks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import distance

from confrere.analyses.distributions import norm_ppf
from confrere.analyses.finding import Caution, Citation, Record
from confrere.analyses.pca import Basis, Columns, Plane
from confrere.errors import ModelError, StudyError
from confrere.rounds import (
    Array,
    Bools,
    Cells,
    Design,
    Flow,
    Ints,
    People,
    Sum,
    Verdict,
    ask,
    local,
    register,
    support,
    together,
    within,
)
from confrere.study.ground import Ground, design_of, model_of, narrowed
from confrere.study.worklist import Worklist

MOST = 12  # clusters
SPLIT = ("a", "b")  # samples in which stability learns
SHARES = {"a": (0.0, 0.4), "b": (0.4, 0.8), "c": (0.8, 1.0), "ab": (0.0, 0.8)}  # of the people, by the word of each
FEW, LONG = 4, 8  # rounds that k-means needs at least, and that it should have
STABLE = 0.9  # agreement of clusters that would come back
LEARNING = 0.8  # of the budget of a sample's numbers, for what is learnt from it; half of that if groups learn too
REPLICATING = 0.2  # of the budget of a group's numbers
ROUNDED = 1e-9  # a share that is so near to 0 or 1 is that
TIE = 1e-9  # distances that are this near are equal: which is the least must not hang on the last bit

HUBERT = Citation("Hubert L, Arabie P. Comparing partitions. J Classif 1985;2:193-218", "10.1007/BF01908075")
WANG = Citation(
    "Wang J. Consistent selection of the number of clusters via crossvalidation. Biometrika 2010;97:893-904",
    "10.1093/biomet/asq061",
)
STAYS = "The cluster of each person stays in their hospital, as a worklist for its clinicians."

GATE, BUDGET, ROUNDS = "gate", "budget", "rounds"  # what stops a clustering before it is converged
Model = tuple[tuple[float, ...], ...]  # the public numbers of a clustering, from which everybody finds their cluster


@dataclass(frozen=True)
class Sample:
    """Everybody, or the people of a part `which` ("a", "b", "c", "ab") of a `split` by the keyed hash of the person."""

    which: str = ""
    split: str = ""

    def inside(self, people: People, ids: Sequence[object]) -> Bools:
        """Who of these is in it, (n,)."""
        low, high = SHARES[self.which]
        share = people.words(self.split, ids, shared=True) / 2.0**64
        return np.asarray((share >= low) & (share < high))


EVERYBODY = Sample()


class Fitted(NamedTuple):
    """A clustering: its public numbers, how good it is (more is better), and how it was found."""

    model: Model
    value: float
    rounds: int
    stopped: str  # GATE, BUDGET or ROUNDS; "" where nobody would move on, or the gain is under the tolerance
    state: Any  # the totals of its last round


class Pace(NamedTuple):
    """What a method may ask of samples: a share of their budget, and rounds of one sample, at least and well done."""

    share: float
    least: int
    wanted: int


class Part(Protocol):
    """A clustering into a number of clusters over a sample."""

    def learn(self, basis: Basis, starts: Sequence[Model], share: float) -> Flow[Fitted | None]:
        """The best over the starts, for a share of the sample's budget of numbers; None where none may be told."""
        ...


class Method(Protocol):
    """A way of clustering: the settings of a study."""

    @property
    def formula(self) -> str: ...
    @property
    def ground(self) -> Ground: ...
    @property
    def among(self) -> tuple[int, ...]: ...
    @property
    def repeats(self) -> int: ...
    @property
    def starts(self) -> int: ...
    @property
    def groups(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def pace(self) -> Pace: ...
    def part(self, clusters: int, sample: Sample) -> Part: ...
    def begin(self, basis: Basis, clusters: int, starts: int) -> list[Model]: ...
    def cost(self, terms: int, clusters: int) -> int: ...
    def placed(self, x: Array, columns: Columns, given: Model) -> Ints: ...
    def centres(self, given: Model) -> Array: ...


# Columns ------------------------------------------------------------------------------------------------------


def columns_of(people: People, formula: str, ground: Ground, sample: Sample = EVERYBODY) -> Design:
    """The raw columns of the complete rows of a hospital's sample; nothing of them is asked for by itself."""
    made = design_of(people, formula, ground)
    if sample.which:
        ids = people.table.frame[ground.person].to_numpy()[made.rows]
        made = narrowed(made, sample.inside(people, ids), "in another sample")
    return made


def sides_of(people: People, made: Design, marks: Sequence[bool], formula: str, ground: Ground) -> list[Ints]:
    """What sums by cluster rest on, (n,) each: 0 for whose column is not 0, 1 for the others of a column of 0 and 1.

    -1 is for those of a measurement who are 0. The reference level of a category is a column too.
    """
    levels = model_of(formula, ground).levels(people.table.frame[made.rows])
    sides = [np.where(column != 0, 0, 1 if two else -1) for column, two in zip(made.x.T, marks, strict=True)]
    return sides + [np.where(codes == 0, 0, 1) for codes, many in levels.values() if many > 2]


def moves(now: Ints, clusters: int, before: Sequence[tuple[Ints, int]], sides: Sequence[Ints]) -> dict[str, Cells]:
    """Cells of the rule `moved`: `now` (n,) in one of so many clusters, `before` in others, alone and by each side."""
    cells = {"clusters": Cells(now, (1, clusters), rule="moved", bound=clusters)}
    for s, (old, many) in enumerate([(np.zeros_like(now), 1), *before]):
        went = old * clusters + now
        if s:
            cells[f"since {s}"] = Cells(went, (1, many * clusters), rule="moved", bound=clusters)
        for j, side in enumerate(sides):
            index = np.where(side < 0, -1, side * many * clusters + went)
            cells[f"since {s} of {j}"] = Cells(index, (2, many * clusters), rule="moved", bound=clusters)
    return cells


def hidden(verdict: Verdict) -> bool:
    """Whether the gate tells nothing of a design's clusters."""
    return bool((verdict.grids["clusters"] < 0).all())


def nearest(distance: Array) -> Ints:
    """The place of the least distance (n, K) of each person; of near ties the first."""
    least = distance.min(axis=1, keepdims=True, initial=np.inf)
    return np.asarray(np.argmax(distance <= least + TIE * (1 + np.abs(least)), axis=1), dtype=np.int64)


def check_settings(method: Any) -> None:
    """What the study says, against what a clustering needs. StudyError."""
    if bool(method.clusters) == bool(method.among):
        raise StudyError("give `clusters`, a number, or `among`, the numbers to choose from; one of them")
    for k in (*((method.clusters,) if method.clusters else ()), *method.among):
        if not 2 <= k <= MOST:
            raise StudyError(f"{k} clusters: choose from 2 to {MOST}")
    if len(set(method.among)) != len(method.among) or len(method.among) == 1:
        raise StudyError(f"among is {list(method.among)}; give two or more different numbers, or set `clusters`")
    for name, least, most in (("starts", 1, 20), ("repeats", 1, 20), ("seed", 0, 2**63)):
        if not least <= getattr(method, name) <= most:
            raise StudyError(f"{name} is {getattr(method, name)}; choose from {least} to {most}")
    if bool(method.learn) != bool(method.hold):
        raise StudyError("`learn` and `hold` are two groups of hospitals: give both, or leave both out")
    for name in ("learn", "hold"):
        if 0 < len(set(getattr(method, name))) < 3:
            raise StudyError(f"{name} names fewer than 3 hospitals; a sum needs 3: add one, or leave it out")
    if both := sorted(set(method.learn) & set(method.hold)):
        raise StudyError(f"{', '.join(both)} are in `learn` and in `hold`; leave them out of one")
    sampled = method.learn or (method.among and getattr(method, "by", "stability") == "stability")
    if (sampled or method.worklist) and not method.ground.person:
        raise StudyError(
            'samples and worklists need person ids: add person = "..." under [data], or set `clusters` alone'
        )


def most_of(method: Any) -> int:
    """The most clusters that a study may learn: a public bound of what leaves."""
    most: int = max((method.clusters, *method.among))
    return most


def groups_of(method: Any) -> tuple[tuple[str, ...], ...]:
    """The groups of hospitals that the settings fix, for replication."""
    return tuple(tuple(sorted(g)) for g in (method.learn, method.hold) if g)


# Starts -------------------------------------------------------------------------------------------------------


def starts_of(basis: Basis, clusters: int, starts: int, seed: int) -> list[Array]:
    """Places (K, p) in standardised columns: along the first component, then at random with their correlations."""
    plane = Plane.of(basis.correlation)
    along = norm_ppf((np.arange(clusters) + 0.5) / clusters)[:, None] * plane.sd[0] * plane.loadings[:, 0]
    root = plane.loadings * plane.sd @ plane.loadings.T  # symmetric: the signs of components do not matter
    drawn = [np.random.default_rng([seed, s]).standard_normal((clusters, len(root))) @ root for s in range(1, starts)]
    return [along, *drawn]


def affordable(numbers: float, cost: int, sample: Sample) -> int:
    """How many starts are affordable, if a round costs so many of the `numbers` that may be asked of everybody.

    ModelError where everybody is too few for a start.
    """
    low, high = SHARES.get(sample.which, (0.0, 1.0))
    numbers *= high - low
    if not sample.which and numbers < cost * FEW:
        raise ModelError(
            f"a round costs {cost} numbers, and the budget for so many people leaves {max(0, int(numbers))}: fewer "
            f"than {FEW} rounds. Ask for fewer clusters or columns, or about more people"
        )
    return int(np.clip(numbers / (cost * LONG), 1, 100))


def model(rows: Array) -> Model:
    """Numbers (r, c) as public arguments."""
    return tuple(tuple(row) for row in np.atleast_2d(rows).tolist())


# Agreement ----------------------------------------------------------------------------------------------------


class Met(NamedTuple):
    """People by their clusters in two clusterings."""

    people: Sum  # (1, K x K)


@register("_cluster_agreement")
@dataclass(frozen=True)
class Agreement:
    """How far two clusterings of a method agree on the people of a sample."""

    of: Any
    clusters: int
    sample: Sample
    ground: Ground

    def design(self, people: People, columns: Columns, one: Model, other: Model) -> Design:
        """The clusters of everybody in both."""
        made = columns_of(people, self.of.formula, self.ground, self.sample)
        places = [self.of.placed(made.x, columns, m) for m in (one, other)]
        pairs = Cells(places[0] * self.clusters + places[1], (1, self.clusters**2), rule="suppress")
        return Design(made.n, made.rows, cells={"pairs": pairs}, columns=made.columns)

    @local(on="design")
    def met(self, people: People) -> Met:
        """People by their two clusters."""
        return Met(people.cells("pairs"))

    def flow(self, columns: Columns, one: Model, other: Model) -> Flow[Record]:
        """The adjusted Rand index of the table, as far as it may be told."""
        verdict = yield from support(self.design, columns, one, other)
        met = yield from ask(self.met)
        counts = np.zeros(self.clusters**2)
        counts[: met.people.value.size] = met.people.value[0]
        hidden = verdict.grids["pairs"][0] < 0
        pairs = linear_sum_assignment(distance.cdist(self.of.centres(one), self.of.centres(other), "sqeuclidean"))
        alike = np.isin(np.arange(counts.size), pairs[0] * self.clusters + pairs[1])
        counts[hidden] = 0
        counts = filled(counts, hidden, alike, verdict)
        return {"n": verdict.n, "agreement": rand_index(counts.reshape(self.clusters, -1))}


def filled(counts: Array, hidden: Bools, alike: Bools, verdict: Verdict) -> Array:
    """Counts of pairs of clusters (K^2,), those `hidden` estimated from the number of people.

    Where few meet, a cell is hidden, and with it the next larger one: half of k for each pair of clusters that are not
    `alike`, and the rest for those that are.
    """
    left, few, many = verdict.n - counts.sum(), hidden & ~alike, hidden & alike
    if not hidden.any():
        return counts
    each = min(verdict.k / 2 if many.any() else np.inf, left / hidden.sum())
    rest = (left - each * few.sum()) / max(1, many.sum())
    return np.where(few, each, np.where(many, rest, counts))


def rand_index(table: Array) -> float | None:
    """Hubert and Arabie's adjusted Rand index of a cross-table of counts; None where it is not defined."""

    def pairs(counts: Array) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    both, one, other = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    every = pairs(np.array([table.sum()]))
    if not every or (one + other) / 2 == one * other / every:
        return None
    return float((both - one * other / every) / ((one + other) / 2 - one * other / every))


def _split(
    method: Method, basis: Basis, clusters: int, starts: Sequence[Model], number: int, share: float
) -> Flow[float | None]:
    """The agreement on a third sample of what was learnt from two."""
    name = f"c{clusters} s{number}"
    learnt = yield from together(
        *(method.part(clusters, Sample(which, name)).learn(basis, starts, share) for which in SPLIT)
    )
    if None in learnt:
        return None
    on = Agreement(method, max(method.among), Sample("c", name), method.ground)
    found = yield from on.flow(basis.columns, *(fitted.model for fitted in learnt))
    agreement: float | None = found["agreement"]
    return agreement


def stability(method: Method, basis: Basis, starts: Mapping[int, Sequence[Model]]) -> Flow[list[Record]]:
    """Of each number of clusters: how far what is learnt from two samples agrees on a third, over several splits.

    Learning begins at `starts`; a number of clusters that has none is not judged.
    """
    terms = len(basis.names)
    total = 2 * sum(method.cost(terms, k) for k in method.among)  # of one round of one split
    share, least, wanted = method.pace
    learning = share / 2 if method.groups else share
    numbers = learning * SHARES["a"][1] * basis.budget
    repeats = int(np.clip(numbers / (total * wanted), 1, method.repeats))
    if numbers < total * least:
        raise ModelError(
            f"choosing among {', '.join(map(str, method.among))} clusters takes a budget of "
            f"{int(total * least / learning / SHARES['a'][1])} numbers, "
            f"and a study answers {basis.budget} about so many people; set `clusters`, or leave columns out"
        )
    shares = {k: learning * method.cost(terms, k) / (total * repeats) for k in method.among}
    flows = [_split(method, basis, k, starts[k], r, shares[k]) for k in starts for r in range(repeats)]
    found = iter((yield from together(*flows)))
    records: list[Record] = []
    for k in method.among:
        known = [a for a in (next(found) for _ in range(repeats if k in starts else 0)) if a is not None]
        mean = float(np.mean(known)) if known else None
        records.append({"clusters": k, "splits": len(known), "agreement": mean, "least": min(known) if known else None})
    return records


def best_stable(records: Sequence[Record], better: Mapping[int, float]) -> int:
    """Of the numbers of clusters that would come back the one with the best value of `better`; else the most stable.

    Two clusters may be as stable as the three that make them up: agreement alone does not tell which say more.
    ModelError where none is known.
    """
    known = {r["clusters"]: r["agreement"] for r in records if r["agreement"] is not None}
    if not known:
        raise ModelError(
            "no number of clusters could be judged: some cluster would rest on too few people. Give fewer clusters"
        )
    stable = [k for k, agreement in known.items() if agreement >= STABLE]
    best: int = max(stable, key=better.__getitem__) if stable else max(known, key=lambda k: (round(known[k], 9), -k))
    return best


def replicated(method: Any, basis: Basis, clusters: int) -> Flow[list[Record]]:
    """Learnt in one group of hospitals and, anew, in another: how far they agree on a sample of the other."""
    starts, (learn, hold) = method.begin(basis, clusters, method.starts), groups_of(method)
    learnt = yield from together(
        *(within(",".join(g), method.part(clusters, Sample("ab", "replicate")).learn(basis, starts, REPLICATING))
          for g in (learn, hold))
    )  # fmt: skip
    record: Record = {"learnt": ", ".join(learn), "held_out": ", ".join(hold), "n": None, "agreement": None}
    if None in learnt:
        return [record]
    on = Agreement(method, clusters, Sample("c", "replicate"), method.ground)
    found = yield from within(",".join(hold), on.flow(basis.columns, *(fitted.model for fitted in learnt)))
    return [record | found]


# What a reader must know -------------------------------------------------------------------------------------


def unfinished(fitted: Fitted, silent: str) -> tuple[Caution, ...]:
    """That the rounds ended before the clustering was converged, and why; `silent` is why the gate tells no more."""
    why = {
        GATE: f"The gate told round {fitted.rounds} and no other: {silent}.",
        BUDGET: f"The study's budget of numbers ended the rounds after {fitted.rounds}.",
        ROUNDS: f"A study of this method has no more than {fitted.rounds} rounds.",
    }
    if not fitted.stopped:
        return ()
    remedy = "Other people, or other starts, may give other clusters; ask about more people, or for fewer clusters."
    return (Caution("not-converged", f"{why[fitted.stopped]} The clusters are those of that round. {remedy}"),)


# Profiles -----------------------------------------------------------------------------------------------------


class Profile(NamedTuple):
    """Weight of people (K,), and mean and mean square of the standardised columns (K, p), in each cluster."""

    weight: Array
    mean: Array
    square: Array


def profiles(basis: Basis, profile: Profile) -> list[Record]:
    """Every column in every cluster and in the rest: mean, SD, standardised difference. A level's mean is its share."""
    total, rest = profile.weight.sum(), profile.weight.sum() - profile.weight[:, None]
    everybody = [(profile.weight[:, None] * m).sum(axis=0) for m in (profile.mean, profile.square)]
    outside = [(e - profile.weight[:, None] * m) / rest for e, m in zip(everybody, profile[1:], strict=True)]
    records: list[Record] = []
    centre, sd = np.array(basis.frame.mean), np.array(basis.frame.sd)
    for c in range(len(profile.weight)):
        inside = _named(basis, centre + sd * profile.mean[c], sd**2 * (profile.square[c] - profile.mean[c] ** 2))
        others = _named(basis, centre + sd * outside[0][c], sd**2 * (outside[1][c] - outside[0][c] ** 2))
        for (term, mean, variance), (_, other, spread) in zip(inside, others, strict=True):
            # a spread that is rounding is none
            least = 1e-10 * max(1.0, mean**2)
            a, b = (v if v > least else 0.0 for v in (variance, spread))
            pooled = np.sqrt((a + b) / 2)
            records.append(
                {"cluster": c + 1, "share": float(profile.weight[c] / total), "term": term, "mean": float(mean),
                 "std_dev": float(np.sqrt(a)), "rest_mean": float(other), "rest_std_dev": float(np.sqrt(b)),
                 "smd": float((mean - other) / pooled) if pooled else None}
            )  # fmt: skip
    return records


def _named(basis: Basis, mean: Array, variance: Array) -> list[tuple[str, float, float]]:
    """Columns with mean and variance; the reference level of a category before its other levels."""

    def share(value: float) -> float:
        return float(round(value)) if abs(value - round(value)) < ROUNDED else float(value)

    shares = [share(m) if b else float(m) for m, b in zip(mean, basis.marks, strict=True)]
    found = [
        (n, m, m * (1 - m) if b else float(v))
        for n, m, v, b in zip(basis.names, shares, variance, basis.marks, strict=True)
    ]
    for name, places in basis.categories:
        left = share(1 - sum(shares[j] for j in places))
        at = next(i for i, (n, *_) in enumerate(found) if n == basis.names[places[0]])
        found.insert(at, (name, left, left * (1 - left)))
    return found


# Worklists ----------------------------------------------------------------------------------------------------


def assigned(method: Any, people: People, columns: dict[str, Any], made: Design, title: str) -> Worklist:
    """The people of this hospital with what was found of each, and the columns that were read."""
    person = method.ground.person
    rows = people.table.frame.loc[made.rows, [person, *made.columns]].reset_index(drop=True)
    rows[person] = rows[person].astype(str)
    for place, (name, values) in enumerate(columns.items(), 1):
        rows.insert(place, name, values)
    rows = rows.sort_values([*columns, person], kind="stable").reset_index(drop=True)
    return Worklist(title, method.purpose, (), rows, tuple(() for _ in range(len(rows))))
