"""Principal components of columns over all hospitals: one correlation matrix, exact.

Columns are standardised by a first ask; their products leave once, and the components are the eigenvectors of the
correlation matrix they make (Pearson, Phil Mag 1901;2:559; Hotelling, J Educ Psychol 1933;24:417). As R
`prcomp(scale. = TRUE)`. An eigenvector has no sign: here the largest of its loadings is positive (of those that are
alike to a millionth, the first).

How many components say more than chance is judged by parallel analysis (Horn, Psychometrika 1965;30:179; Glorfeld,
Educ Psychol Meas 1995;55:377): a component is kept while its variance is above the 95th percentile of those of as many
people whose columns are independent. Such correlation matrices are drawn by a public seed from Wishart's distribution
(Bartlett's decomposition), which takes n and p alone: nothing more is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.analyses.newton import check_collinear
from confrere.analyses.scaling import Scales, Standard, indicators, scales, standard
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Design, Flow, Ints, People, Sum, Verdict, ask, keep, local, register, support
from confrere.study.factors import Category
from confrere.study.ground import Ground, design_of, model_of
from confrere.study.worklist import Worklist

DRAWS = 500  # matrices of the parallel analysis
BEYOND = 0.95  # of them, that a component's variance must exceed
ALIKE = 1e-6  # loadings that are the largest together

PEARSON = Citation(
    "Pearson K. On lines and planes of closest fit to systems of points in space. Phil Mag 1901;2:559-572",
    "10.1080/14786440109462720",
)
HORN = Citation(
    "Horn JL. A rationale and test for the number of factors in factor analysis. Psychometrika 1965;30:179-185",
    "10.1007/BF02289447",
)
GLORFELD = Citation(
    "Glorfeld LW. An improvement on Horn's parallel analysis methodology for selecting the correct number of factors "
    "to retain. Educ Psychol Meas 1995;55:377-393",
    "10.1177/0013164495055003002",
)
SCORES = "The scores of each person stay in their hospital, as a worklist for its clinicians."


class Products(NamedTuple):
    """Products of standardised columns."""

    products: Sum  # (p, p), symmetric


class Columns(NamedTuple):
    """What is public of the columns and later steps need: mean and SD, and which are 0 or 1 for everybody."""

    frame: Standard
    marks: tuple[bool, ...]


class Basis(NamedTuple):
    """What is public of the columns: whom they are of, mean and SD, correlations (p, p), and which are 0 or 1.

    `categories` are pairs of the name of a reference level and the places of the other levels. `budget` is how many
    distinct numbers may still be asked about these people.
    """

    verdict: Verdict
    budget: int
    frame: Standard
    correlation: Array
    names: tuple[str, ...]
    marks: tuple[bool, ...]
    categories: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def columns(self) -> Columns:
        """As an argument of steps."""
        return Columns(self.frame, self.marks)


class Plane(NamedTuple):
    """Principal components of a correlation matrix, the largest first: SDs (p,), loadings (p, p) by column."""

    sd: Array
    loadings: Array

    @classmethod
    def of(cls, correlation: Array) -> Plane:
        """The largest loading of each is positive."""
        values, vectors = np.linalg.eigh(correlation)
        order = np.argsort(values, kind="stable")[::-1]
        vectors = vectors[:, order]
        first = np.argmax(np.abs(vectors) >= np.abs(vectors).max(axis=0) - ALIKE, axis=0)
        sign = np.sign(vectors[first, np.arange(len(values))])
        return cls(np.sqrt(np.maximum(values[order], 0.0)), np.asarray(vectors * sign))


@register("_correlations")
@dataclass(frozen=True)
class Correlations:
    """The correlations of the columns of a formula."""

    formula: str
    ground: Ground

    def design(self, people: People) -> Design:
        """The raw columns of complete rows."""
        return design_of(people, self.formula, self.ground)

    @local(on="design")
    def start(self, people: People) -> Scales:
        """Raw moments for standardising."""
        return scales(people)

    @local(on="design")
    def products(self, people: People, frame: Standard) -> Products:
        """Products of standardised columns."""
        x = people.design.x
        return Products(people.derived(frame.products(x, np.ones(len(x))), symmetric=True))

    def flow(self) -> Flow[Basis]:
        """Mean and SD, then the products."""
        model, levels = model_of(self.formula, self.ground), categories(self.formula, self.ground)
        verdict = yield from support(self.design)
        p = len(model.names)
        if verdict.n <= p + 1:
            raise ModelError(
                f"{verdict.n} people cannot determine {p} columns: leave columns out, or ask about more people"
            )
        moments = yield from ask(self.start)
        frame = standard(moments, model.names)
        got = yield from ask(self.products, frame)
        size = np.sqrt(np.diag(got.products.value))
        correlation = got.products.value / np.outer(size, size)
        check_collinear(correlation, model.names)
        spent = p * (p + 1) + 2 * p + 3 + len(verdict.left_out) + sum(len(places) + 1 for _, places in levels)
        marks = tuple(bool(mark) for mark in indicators(moments))
        return Basis(verdict, verdict.budget - spent, frame, correlation, model.names, marks, levels)


def categories(formula: str, ground: Ground) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Of each category in a formula: its reference level as a term, and the places of the terms of its other levels."""
    model = model_of(formula, ground)
    places: dict[int, list[int]] = {}
    for j, ((factor, _), *others) in enumerate(model.plan):
        if not others and isinstance(model.factors[factor], Category):
            places.setdefault(factor, []).append(j)
    named = ((model.factors[f], found) for f, found in places.items())
    return tuple((f"{c.text}[T.{c.levels[0]}]", tuple(at)) for c, at in named if isinstance(c, Category))


def check_columns(formula: str, ground: Ground, least: int) -> None:
    """A formula of columns alone: `~ age + bmi + C(sex)`. FormulaError."""
    model = model_of(formula, ground)
    if model.outcome is not None or model.strata or model.offsets or not model.intercept:
        raise FormulaError(f"{formula}: write columns alone, without outcome, strata, offset or 0: '~ age + bmi'")
    if any(len(parts) > 1 for parts in model.plan):
        raise FormulaError(f"{formula}: leave out products of columns; a cluster or component is of columns themselves")
    if len(model.names) < least:
        raise FormulaError(f"{formula}: give {least} columns at least")


@register("pca")
@dataclass(frozen=True)
class PCA:
    """Principal components of the columns of `formula`, such as `~ age + bmi + C(sex)`, all standardised.

    `components` is how many are kept; 0 lets parallel analysis say, by the public `seed`. With `worklist`, each
    hospital keeps the scores of its people, as a list called `title` for its clinicians (`purpose` says what for).

    Finding: tables `components` (a record per component), `loadings` (by term and component), `attrition`; arrays
    `loadings` (p, p) and `correlation` (p, p). Exact: equals R's prcomp on the pooled rows. Errors: FormulaError for
    an outcome or a single column; ModelError for constant and collinear columns.
    """

    formula: str
    components: int = 0
    seed: int = 1
    worklist: bool = False
    title: str = "Principal components"
    purpose: str = ""
    ground: Ground = Ground()

    def check(self) -> None:
        """Settings against the ground, before anything is asked."""
        check_columns(self.formula, self.ground, 2)
        p = len(model_of(self.formula, self.ground).names)
        if not 0 <= self.components <= p:
            raise StudyError(f"components is {self.components}; choose from 1 to {p}, or 0 for parallel analysis")
        if self.seed < 0:
            raise StudyError(f"seed is {self.seed}; give a whole number from 0")
        if self.worklist and not self.ground.person:
            raise StudyError('a worklist names people: add person = "..." under [data], the column of person ids')

    @local()
    def scored(self, people: People, frame: Standard, loadings: tuple[tuple[float, ...], ...]) -> Worklist:
        """The scores of this hospital's people on the components kept; they stay here."""
        from confrere.analyses.clusters import assigned  # which needs the basis of this file

        made = design_of(people, self.formula, self.ground)
        scores = frame.of(made.x) @ np.array(loadings).T
        columns = {f"PC{j + 1}": scores[:, j] for j in range(scores.shape[1])}
        return assigned(self, people, columns, made, self.title)

    def flow(self) -> FlowFinding:
        """The correlations, and the scores where they are wanted."""
        basis = yield from Correlations(self.formula, self.ground).flow()
        plane = Plane.of(basis.correlation)
        limits = parallel(basis.verdict.n, len(basis.names), self.seed)
        kept = self.components or above(plane.sd**2, limits)
        if self.worklist and kept:
            yield from keep(self.scored, basis.frame, tuple(map(tuple, plane.loadings.T[:kept].tolist())))
        return found(basis, plane, limits, kept, self.worklist and kept > 0)


def parallel(n: int, p: int, seed: int) -> Array:
    """The 95th percentiles (p,) of the components' variances if n people had p independent columns."""
    rng, draws = np.random.default_rng(seed), np.empty((DRAWS, p))
    below: tuple[Ints, ...] = np.tril_indices(p, -1)
    for draw in draws:
        root = np.diag(np.sqrt(rng.chisquare(n - 1 - np.arange(p))))
        root[below] = rng.standard_normal(len(below[0]))
        unit = root / np.linalg.norm(root, axis=1, keepdims=True)
        draw[:] = np.linalg.eigvalsh(unit @ unit.T)[::-1]
    return np.asarray(np.quantile(draws, BEYOND, axis=0))


def above(variances: Array, limits: Array) -> int:
    """How many components, one after the other, have more variance than chance gives."""
    under = np.flatnonzero(variances <= limits)
    return int(under[0]) if under.size else len(variances)


def found(basis: Basis, plane: Plane, limits: Array, kept: int, stays: bool) -> Finding:
    """The tables."""
    variance, p = plane.sd**2, len(basis.names)
    shares = variance / variance.sum()
    components: list[Record] = [
        {"component": f"PC{j + 1}", "variance": float(variance[j]), "std_dev": float(plane.sd[j]),
         "proportion": float(shares[j]), "cumulative": float(shares[: j + 1].sum()), "by_chance": float(limits[j]),
         "kept": j < kept}
        for j in range(p)
    ]  # fmt: skip
    loadings: list[Record] = [
        {"term": name, "component": f"PC{j + 1}", "loading": float(plane.loadings[i, j]),
         "correlation": float(plane.loadings[i, j] * plane.sd[j])}
        for j in range(p) for i, name in enumerate(basis.names)
    ]  # fmt: skip
    v = basis.verdict
    return Finding(
        method="pca", n=v.n, hospitals=v.hospitals,
        tables={"components": components, "loadings": loadings, "attrition": attrition(v)},
        facts={"components_kept": kept, "variance_kept": float(shares[:kept].sum())},
        arrays={"loadings": plane.loadings, "correlation": basis.correlation},
        notes=(SCORES,) if stays else (), cite=(PEARSON, HORN, GLORFELD),
    )  # fmt: skip
