"""Mixtures of people over all hospitals: Gaussian, and of mixed columns, by EM over sums.

In a class, measurements are normal (with any covariance, or independent of each other), marks are Bernoulli and
categories multinomial, independent of each other and of the measurements: the latent class model with a Gaussian part
(Hunt & Jorgensen, Wiley Interdiscip Rev Data Min Knowl Discov 2011;1:352; McLachlan & Peel, Finite Mixture Models,
Wiley 2000). A round of EM (Dempster, Laird & Rubin, JRSS B 1977;39:1) tells, of every class, the sums of posterior
probabilities, of columns and of their products: K (1 + p + q (q + 1) / 2) numbers for q measurements among p columns.
As R's mclust (models VVV for `full`, VVI for `diagonal`) and scikit-learn's GaussianMixture from the same start.

Rounds are few: Anderson's acceleration (Henderson & Varadhan, J Comput Graph Stat 2019;28:834) works on the expected
sums, and a step that does not raise the likelihood gives way to EM's own. Before every round the gate looks at the
classes to which people belong by their largest probability: a class of fewer than k people ends the climb.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import linalg, special

from confrere.analyses.clusters import (
    EVERYBODY,
    HUBERT,
    STAYS,
    WANG,
    Fitted,
    Model,
    Profile,
    Sample,
    affordable,
    assigned,
    check_settings,
    columns_of,
    groups_of,
    hidden,
    most_of,
    most_stable,
    moves,
    profiles,
    replicated,
    stability,
    starts_of,
)
from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.analyses.latent import Classes, Layout, inside
from confrere.analyses.pca import Basis, Columns, Correlations, check_columns
from confrere.errors import ModelError, StudyError
from confrere.rounds import Array, Design, Flow, Ints, People, Sum, ask, keep, local, register, support, together
from confrere.study.ground import Ground
from confrere.study.worklist import Worklist

SHARE = 0.2  # of the budget: more rounds about the same people would say too much of who lies far out
ASKED = 2000  # rounds at most over all starts: the budget of numbers ends them long before
DAMPED = 1e-6  # of the squares of what is mixed
MEMORY = 5  # steps that the acceleration looks back on
APART = 0.5  # of the variance over everybody, that a class starts with
SETTLED = "The likelihood rose no more."
STOPPED = "The climb ended before the likelihood was at rest: at the most rounds, or by the study's budget of numbers."
DEMPSTER = Citation(
    "Dempster AP, Laird NM, Rubin DB. Maximum likelihood from incomplete data via the EM algorithm. J R Stat Soc B "
    "1977;39:1-38",
    "10.1111/j.2517-6161.1977.tb01600.x",
)
HUNT = Citation(
    "Hunt L, Jorgensen M. Clustering mixed data. Wiley Interdiscip Rev Data Min Knowl Discov 2011;1:352-361",
    "10.1002/widm.33",
)
HENDERSON = Citation(
    "Henderson NC, Varadhan R. Damped Anderson acceleration with restarts and monotonicity control for accelerating EM "
    "and EM-like algorithms. J Comput Graph Stat 2019;28:834-846",
    "10.1080/10618600.2019.1594835",
)
BIERNACKI = Citation(
    "Biernacki C, Celeux G, Govaert G. Assessing a mixture model for clustering with the integrated completed "
    "likelihood. IEEE Trans Pattern Anal Mach Intell 2000;22:719-725",
    "10.1109/34.865189",
)
Covariance = Literal["full", "diagonal"]


class Expected(NamedTuple):
    """One round of EM."""

    loglik: Sum  # () of standardised measurements
    entropy: Sum  # () of everybody's posterior probabilities
    totals: Sum  # (K, 1 + p + s) sums of probabilities, of columns and of products of measurements


class Sizes(NamedTuple):
    """The classes to which people belong."""

    totals: Sum  # (1, K, 2) people, and sums of their largest probabilities


@register("_em")
@dataclass(frozen=True)
class EM:
    """EM of a number of classes over a sample, from starts that are given."""

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
        return Design(made.n, made.rows, cells=cells, data=data, columns=made.columns)

    def result(self, people: People, columns: Columns, given: Model) -> Design:
        """The same of the result, once more."""
        return self.turn(people, columns, given)

    @local(on="turn", repeats=ASKED)
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

    @local(on="result")
    def sizes(self, people: People) -> Sizes:
        """People by class, and how sure their class is."""
        most = people.design.data.probability.max(axis=1, initial=0.0)
        totals = people.cells("clusters", np.column_stack([np.ones(len(most)), most]))
        return Sizes(replace(totals, bounds=(1, self.most, 2)))

    # sums only

    def learn(self, basis: Basis, starts: Sequence[Model], share: float) -> Flow[Fitted | None]:
        """The best of several starts; each may use its part of the budget."""
        layout = Layout.of(self, basis.marks)
        cost = self.clusters * (1 + len(basis.names) + len(layout.products[0])) + 3
        starts = starts[: affordable(share * basis.budget, cost, self.sample)]
        best: Fitted | None = None
        for number, start in enumerate(starts):
            climb = Climb(self, basis, layout, cost, number * ASKED)
            fitted = yield from climb.up(start, share / len(starts))
            if fitted and (best is None or fitted.value > best.value + 1e-9 * abs(best.value)):
                best = fitted
        return best


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
    """One climb of EM, accelerated."""

    def __init__(self, em: EM, basis: Basis, layout: Layout, cost: int, first: int) -> None:
        self.em, self.basis, self.layout, self.cost = em, basis, layout, cost
        self.first = first  # number of its first round
        self.steps: list[Step] = []

    def up(self, start: Model, share: float) -> Flow[Fitted | None]:
        """Rounds while the likelihood rises, the gate tells them and the budget lasts."""
        now, at, best, numbers, rounds = start, None, None, 0, 0
        while True:
            verdict = yield from support(self.em.turn, self.basis.columns, now)
            numbers += self.cost
            if rounds == self.em.rounds or hidden(verdict) or numbers > share * min(verdict.budget, self.basis.budget):
                return best
            got = yield from ask(self.em.expected, self.first + rounds)
            rounds += 1
            value, ended = float(got.loglik.value), got.totals.value / verdict.n
            entropy = float(got.entropy.value)
            if best is None or value >= best.value:
                settled = best is not None and value - best.value <= self.em.tolerance * abs(value)
                best = Fitted(now, value, rounds, settled, (ended, entropy))
                if settled:
                    return best
                at = self.onward(at, ended)
            else:  # a step too far: EM's own from the best, which cannot fall
                if at is best.state[0]:
                    return best._replace(settled=True, rounds=rounds)
                self.steps, at = [], best.state[0]
            if not Classes.of(at, self.layout).stands(self.basis, self.layout):
                return None  # a class collapses on a few values: no maximum is there
            now = Classes.of(at, self.layout).public

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


@register("mixture")
@dataclass(frozen=True)
class Mixture:
    """A mixture of classes of people in the columns of `formula`, such as `~ age + bmi + C(sex)`.

    Measurements are normal in a class, with `covariance` full or diagonal; marks and categories have probabilities.
    `clusters` is the number of classes; or `among` gives numbers, of which the one that is best `by` stability (over
    `repeats` splits), bic or icl is taken. The best of `starts` is taken (of fewer, where the budget of numbers asks
    for that); `seed` is public. A climb ends when the log-likelihood rises by less than `tolerance` of itself, or after
    so many `rounds`. `learn` and `hold` are two groups of hospitals, in which classes are learnt anew and compared.
    With `worklist`, each hospital keeps the class of its people, as a list called `title` for its clinicians
    (`purpose` says what for).

    Finding: tables `clusters` (weight, people, how sure), `profiles` (each column in each class and in the rest),
    `covariances`, `criteria`, `stability`, `replication`, `attrition`. Errors: FormulaError, StudyError; ModelError
    where a class collapses or would rest on too few people.
    """

    formula: str
    clusters: int = 0
    among: tuple[int, ...] = ()
    covariance: Covariance = "full"
    by: Literal["stability", "bic", "icl"] = "stability"
    starts: int = 4
    repeats: int = 5
    tolerance: float = 1e-8
    rounds: int = 60
    seed: int = 1
    learn: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    worklist: bool = False
    title: str = "Classes"
    purpose: str = ""
    ground: Ground = Ground()

    def check(self) -> None:
        """Settings against the ground, before anything is asked."""
        check_columns(self.formula, self.ground, 1)
        check_settings(self)
        if not 2 <= self.rounds <= ASKED // 20:
            raise StudyError(f"rounds is {self.rounds}; choose from 2 to {ASKED // 20}")
        if not 0 < self.tolerance < 1e-2:
            raise StudyError(f"tolerance is {self.tolerance:g}; choose a number above 0 and under 0.01")

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The groups of hospitals that the settings fix."""
        return groups_of(self)

    def part(self, clusters: int, sample: Sample) -> EM:
        """EM over a sample."""
        settings = (self.covariance, self.tolerance, self.rounds, sample, self.ground)
        return EM(self.formula, clusters, most_of(self), *settings)

    def begin(self, basis: Basis, clusters: int, starts: int) -> list[Model]:
        """Classes of equal weight about the places of each start, each with half of everybody's covariance."""
        layout = Layout.of(self, basis.marks)
        at = list(layout.measured)
        spread = APART * basis.correlation[np.ix_(at, at)]
        spread = spread if layout.full else np.diag(np.diag(spread))
        weight = np.full(clusters, 1 / clusters)
        return [
            Classes(weight, inside(places, basis, layout), np.tile(spread, (clusters, 1, 1))).public
            for places in starts_of(basis, clusters, starts, self.seed)
        ]

    def cost(self, terms: int, clusters: int) -> int:
        """Numbers of a round, at most."""
        return clusters * (1 + terms + (terms * (terms + 1) // 2 if self.covariance == "full" else terms)) + 2

    def placed(self, x: Array, columns: Columns, given: Model) -> Ints:
        """The class (n,) of raw columns (n, p)."""
        return np.asarray(np.argmax(self._probable(x, columns, given), axis=1), dtype=np.int64)

    def _probable(self, x: Array, columns: Columns, given: Model) -> Array:
        """Posterior probabilities (n, K) of raw columns (n, p)."""
        layout = Layout.of(self, columns.marks)
        logs = Classes.read(given, layout).logs(columns.frame.of(x), columns.frame, layout)
        return np.asarray(special.softmax(logs, axis=1))

    @local()
    def listed(self, people: People, columns: Columns, given: Model) -> Worklist:
        """The class of each of this hospital's people, and its probability; they stay here."""
        made = columns_of(people, self.formula, self.ground)
        sure = self._probable(made.x, columns, given)
        named = {"cluster": sure.argmax(axis=1) + 1, "probability": sure.max(axis=1, initial=0.0)}
        return assigned(self, people, named, made, self.title)

    def flow(self) -> FlowFinding:
        """Standardise; choose how many; learn; describe; replicate; keep the lists."""
        basis = yield from Correlations(self.formula, self.ground).flow()
        tables: dict[str, list[Record]] = {}
        numbers = self.among or (self.clusters,)
        if self.among and self.by == "stability":
            tables["stability"] = yield from stability(self, basis)
            numbers = (most_stable(tables["stability"]),)
        learnt = yield from together(
            *(
                self.part(k, EVERYBODY).learn(basis, self.begin(basis, k, self.starts), SHARE / len(numbers))
                for k in numbers
            )
        )
        fits = [Fit.of(self, basis, k, fitted) for k, fitted in zip(numbers, learnt, strict=True) if fitted]
        if not fits:
            raise ModelError(
                f"{_either(numbers)} classes: from every start some class collapses, or rests on too few people. Give "
                f"fewer classes, set covariance to diagonal, or ask about more people"
            )
        tables["criteria"] = [f.record for f in fits]
        fit = min(fits, key=lambda f: f.icl if self.by == "icl" else f.bic)
        part = self.part(len(fit.fitted.model[0]), EVERYBODY)
        yield from support(part.result, basis.columns, fit.fitted.model)
        sizes = yield from ask(part.sizes)
        fit = fit.sorted(sizes.totals.value[0], Layout.of(self, basis.marks))
        if self.learn:
            tables["replication"] = yield from replicated(self, basis, part.clusters)
        if self.worklist:
            yield from keep(self.listed, basis.columns, fit.fitted.model)
        return found(self, basis, fit, tables)


class Fit(NamedTuple):
    """A fitted number of classes: bic and icl are the less the better; people and sureness by class (K, 2)."""

    fitted: Fitted
    free: int
    loglik: float  # in units of the columns
    bic: float
    icl: float
    sizes: Array

    @classmethod
    def of(cls, mixture: Mixture, basis: Basis, clusters: int, fitted: Fitted) -> Fit:
        """Criteria of a fit, as mclust has them but for their sign (Biernacki et al. 2000 for icl)."""
        layout = Layout.of(mixture, basis.marks)
        scale = np.log(np.array(basis.frame.sd))[list(layout.measured)].sum()
        loglik, free = fitted.value - basis.verdict.n * float(scale), layout.free(clusters)
        bic = free * float(np.log(basis.verdict.n)) - 2 * loglik
        return cls(fitted, free, loglik, bic, bic + 2 * fitted.state[1], np.empty((0, 2)))

    @property
    def record(self) -> Record:
        """As a line of the table `criteria`."""
        return {
            "clusters": len(self.fitted.model[0]), "log_likelihood": self.loglik, "parameters": self.free,
            "bic": self.bic, "icl": self.icl, "rounds": self.fitted.rounds, "settled": self.fitted.settled,
        }  # fmt: skip

    def sorted(self, sizes: Array, layout: Layout) -> Fit:
        """The classes in the order of their weights."""
        known = Classes.read(self.fitted.model, layout)
        order = np.argsort(-known.weight, kind="stable")
        ordered = Classes(*(part[order] for part in known)).public
        return self._replace(fitted=self.fitted._replace(model=ordered), sizes=sizes[order])


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def found(mixture: Mixture, basis: Basis, fit: Fit, more: dict[str, list[Record]]) -> Finding:
    """The tables."""
    layout, v = Layout.of(mixture, basis.marks), basis.verdict
    classes = Classes.read(fit.fitted.model, layout)
    square = classes.mean**2
    square[:, list(layout.measured)] += np.diagonal(classes.covariance, axis1=1, axis2=2)
    clusters: list[Record] = [
        {"cluster": c + 1, "weight": float(classes.weight[c]), "n": round(n), "share": float(n / v.n),
         "probability": float(sure / n) if n else None}
        for c, (n, sure) in enumerate(fit.sizes)
    ]  # fmt: skip
    tables = {"clusters": clusters, "profiles": profiles(basis, Profile(classes.weight, classes.mean, square)), **more}
    if layout.full and len(layout.measured) > 1:
        tables["covariances"] = _covariances(basis, layout, classes)
    cite = (DEMPSTER, HUNT, HENDERSON, BIERNACKI, *((HUBERT,) if mixture.learn or "stability" in more else ()),
            *((WANG,) if "stability" in more else ()))  # fmt: skip
    return Finding(
        method="mixture", n=v.n, hospitals=v.hospitals, tables=tables | {"attrition": attrition(v)},
        facts={
            "clusters": len(clusters), "covariance": mixture.covariance, "log_likelihood": fit.loglik,
            "parameters": fit.free, "bic": fit.bic, "icl": fit.icl, "rounds": fit.fitted.rounds,
            "settled": fit.fitted.settled,
        },
        arrays={"weights": classes.weight, "means": classes.shares(basis.frame)},
        notes=(SETTLED if fit.fitted.settled else STOPPED, *((STAYS,) if mixture.worklist else ())), cite=cite,
    )  # fmt: skip


def _covariances(basis: Basis, layout: Layout, classes: Classes) -> list[Record]:
    """Covariances and correlations of every two measurements in a class, in their units."""
    records: list[Record] = []
    for c, matrix in enumerate(classes.covariance):
        for a, b in zip(*np.triu_indices(len(layout.measured), 1), strict=True):
            i, j = layout.measured[a], layout.measured[b]
            value = float(matrix[a, b] * basis.frame.sd[i] * basis.frame.sd[j])
            apart = float(matrix[a, b] / np.sqrt(matrix[a, a] * matrix[b, b]))
            records.append(
                {"cluster": c + 1, "term": basis.names[i], "other": basis.names[j], "covariance": value,
                 "correlation": apart}
            )  # fmt: skip
    return records
