"""Mixtures of people over all hospitals: Gaussian, and of mixed columns, by EM over sums.

In a class, measurements are normal (with any covariance, or independent of each other), marks are Bernoulli and
categories multinomial, independent of each other and of the measurements: the latent class model with a Gaussian part
(Hunt & Jorgensen, Wiley Interdiscip Rev Data Min Knowl Discov 2011;1:352; McLachlan & Peel, Finite Mixture Models,
Wiley 2000). Parameters by EM in few rounds, from the clusters of k-means (em.py). As R's mclust (models VVV for `full`,
VVI for `diagonal`) and scikit-learn's GaussianMixture, once it is converged.

A number of classes is stable if a round of EM in two samples of the people leaves classes that agree on a third (Wang,
Biometrika 2010;97:893); of the stable ones the least criterion decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.clusters import (
    EVERYBODY,
    HUBERT,
    SPLIT,
    STAYS,
    WANG,
    Fitted,
    Model,
    Pace,
    Profile,
    Sample,
    assigned,
    best_stable,
    check_settings,
    columns_of,
    groups_of,
    model,
    most_of,
    profiles,
    replicated,
    stability,
    starts_of,
    unfinished,
)
from confrere.analyses.em import EM, Climb, Covariance
from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.analyses.latent import Classes, Layout
from confrere.analyses.pca import Basis, Columns, Correlations, check_columns
from confrere.errors import ModelError, StudyError
from confrere.rounds import Array, Flow, Ints, People, keep, local, register, together
from confrere.study.ground import Ground
from confrere.study.worklist import Worklist

STARTING = 0.2  # of the budget, for the rounds of k-means
SHARE = 0.12  # of the budget, for those of EM: more would say too much of who lies far out
SAMPLED = 0.3  # of the budget of a sample's numbers
MOST = 8  # rounds of EM of two classes, the most there are; of more classes fewer
LEAST = 2  # rounds of EM of a number of classes, or of a group of hospitals
AGAIN = 1  # rounds of EM in a sample, from the classes of everybody
CLASS = "some class would rest on a few people, or on a few of one hospital"
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


@register("mixture")
@dataclass(frozen=True)
class Mixture:
    """A mixture of classes of people in the columns of `formula`, such as `~ age + bmi + C(sex)`.

    Measurements are normal in a class, with `covariance` full or diagonal; marks and categories have probabilities.
    `clusters` is the number of classes; or `among` gives numbers, of which the one that is best `by` bic or icl is
    taken; by stability, the best by bic of those that are stable over `repeats` splits. EM begins at the best of
    `starts` of k-means (of fewer, where the budget of numbers asks for that); `seed` is public. A climb ends when the
    log-likelihood rises by less than `tolerance` of itself, or after its part of so many `rounds`. `learn` and `hold`
    are two groups of hospitals, in which classes are learnt anew and compared. With `worklist`, each hospital keeps
    the class of its people, as a list called `title` for its clinicians (`purpose` says what for).

    Finding: tables `clusters` (weight, and how many people it is worth), `profiles` (each column in each class and in
    the rest), `covariances`, `criteria`, `stability`, `replication`, `attrition`. Errors: FormulaError, StudyError;
    ModelError where a class collapses or would rest on too few people.
    """

    formula: str
    clusters: int = 0
    among: tuple[int, ...] = ()
    covariance: Covariance = "full"
    by: Literal["stability", "bic", "icl"] = "stability"
    starts: int = 4
    repeats: int = 5
    tolerance: float = 1e-8
    rounds: int = MOST
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
        if not 2 <= self.rounds <= MOST:
            raise StudyError(f"rounds is {self.rounds}; choose from 2 to {MOST}: each says more of who lies far out")
        if not 0 < self.tolerance < 1e-2:
            raise StudyError(f"tolerance is {self.tolerance:g}; choose a number above 0 and under 0.01")

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The groups of hospitals that the settings fix."""
        return groups_of(self)

    @property
    def nested(self) -> tuple[tuple[str, ...], ...]:
        """The same, which are asked beside everybody."""
        return groups_of(self)

    def part(self, clusters: int, sample: Sample) -> EM:
        """EM over a sample, of so many rounds at most."""
        rounds = max(LEAST, 2 * self.rounds // (clusters * len(self.among or (1,))))  # as many numbers of every one
        if sample.which:
            rounds = AGAIN if sample.which in SPLIT else min(LEAST, rounds)
        settings = (self.covariance, self.tolerance, rounds, sample, self.ground)
        return EM(self.formula, clusters, most_of(self), *settings)

    def centres(self, given: Model) -> Array:
        """The means of the classes."""
        return np.array(given[1 : 1 + len(given[0])])

    @property
    def pace(self) -> Pace:
        """What stability may ask."""
        return Pace(SAMPLED, 2 * AGAIN, 2 * AGAIN)

    def begin(self, basis: Basis, clusters: int, starts: int) -> list[Model]:
        """The centres of each start of k-means."""
        return [model(places) for places in starts_of(basis, clusters, starts, self.seed)]

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

    def climbs(self, basis: Basis) -> Flow[dict[int, Fit]]:
        """The fit of every number of classes to everybody."""
        numbers, begun = self.among or (self.clusters,), {}
        told: list[Model] = []  # the clusters of k-means
        for k in numbers:
            part, starts = self.part(k, EVERYBODY), self.begin(basis, k, self.starts)
            begun[k] = yield from part.begun(basis, starts, STARTING / len(numbers), told)
        climbs = (Climb(self.part(k, EVERYBODY), basis, SHARE / len(numbers)).up(begun[k]) for k in numbers)
        learnt = yield from together(*climbs)
        return {k: Fit.of(self, basis, fitted) for k, fitted in zip(numbers, learnt, strict=True) if fitted}

    def flow(self) -> FlowFinding:
        """Standardise; learn; choose how many; describe; replicate; keep the lists."""
        basis = yield from Correlations(self.formula, self.ground).flow()
        tables: dict[str, list[Record]] = {}
        numbers, fits = self.among or (self.clusters,), (yield from self.climbs(basis))
        if not fits:
            raise ModelError(
                f"{_either(numbers)} classes: some class collapses, or rests on too few people, of "
                f"everybody or of one hospital, for a round. Give fewer classes, set covariance to diagonal, declare "
                f"plausible ranges, or ask about more people"
            )
        tables["criteria"] = [f.record for f in fits.values()]
        if self.among and self.by == "stability":
            begun = {k: [f.fitted.model] for k, f in fits.items()}
            tables["stability"] = yield from stability(self, basis, begun)
            best = best_stable(tables["stability"], {k: -f.bic for k, f in fits.items()})
            fits = {best: fits[best]}
        fit = min(fits.values(), key=lambda f: f.icl if self.by == "icl" else f.bic)
        fit = fit.sorted(Layout.of(self, basis.marks))
        if self.learn:
            tables["replication"] = yield from replicated(self, basis, len(fit.fitted.model[0]))
        if self.worklist:
            yield from keep(self.listed, basis.columns, fit.fitted.model)
        return found(self, basis, fit, tables)


class Fit(NamedTuple):
    """A fitted number of classes: bic and icl are the less the better."""

    fitted: Fitted
    free: int
    loglik: float  # in units of the columns
    bic: float
    icl: float

    @classmethod
    def of(cls, mixture: Mixture, basis: Basis, fitted: Fitted) -> Fit:
        """Criteria of a fit, as mclust has them but for their sign (Biernacki et al. 2000 for icl)."""
        layout = Layout.of(mixture, basis.marks)
        scale = np.log(np.array(basis.frame.sd))[list(layout.measured)].sum()
        loglik, free = fitted.value - basis.verdict.n * float(scale), layout.free(len(fitted.model[0]))
        bic = free * float(np.log(basis.verdict.n)) - 2 * loglik
        return cls(fitted, free, loglik, bic, bic + 2 * fitted.state[1])

    @property
    def record(self) -> Record:
        """As a line of the table `criteria`."""
        return {
            "clusters": len(self.fitted.model[0]), "log_likelihood": self.loglik, "parameters": self.free,
            "bic": self.bic, "icl": self.icl, "rounds": self.fitted.rounds, "converged": not self.fitted.stopped,
        }  # fmt: skip

    def sorted(self, layout: Layout) -> Fit:
        """The classes in the order of their weights."""
        known = Classes.read(self.fitted.model, layout)
        order = np.argsort(-known.weight, kind="stable")
        ordered = Classes(*(part[order] for part in known)).public
        return self._replace(fitted=self.fitted._replace(model=ordered))


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def found(mixture: Mixture, basis: Basis, fit: Fit, more: dict[str, list[Record]]) -> Finding:
    """The tables."""
    layout, v = Layout.of(mixture, basis.marks), basis.verdict
    classes = Classes.read(fit.fitted.model, layout)
    square = classes.mean**2
    square[:, list(layout.measured)] += np.diagonal(classes.covariance, axis1=1, axis2=2)
    clusters: list[Record] = [
        {"cluster": c + 1, "weight": float(weight), "n": round(weight * v.n)} for c, weight in enumerate(classes.weight)
    ]
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
            "converged": not fit.fitted.stopped,
        },
        arrays={"weights": classes.weight, "means": classes.shares(basis.frame)},
        notes=(STAYS,) if mixture.worklist else (), warnings=unfinished(fit.fitted, CLASS), cite=cite,
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
