"""The equations of an imputation as local steps: who has a value tells how to draw it for who misses it.

An equation predicts one incomplete column from all other columns of the imputation model. First it is fitted with
missing predictors at their mean, once for all chains (`gram`, or `slope` and `curve`). Then each chain has its own
values in the gaps, and `sweep` asks the score of each chain at its last mode, and the information of all chains
together, averaged. What a chain is stands in the arguments alone: the coefficients drawn so far (see
`study.imputation`). `impute` has the flow. Sources: van Buuren & Groothuis-Oudshoorn, J Stat Softw 2011;45(3).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.newton import Curve, Slope
from confrere.analyses.scaling import RAW
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum, local, register
from confrere.study.ground import Ground, complete, finite, left_out, model_of
from confrere.study.imputation import (
    MOST_ITERATIONS,
    Chains,
    Equations,
    Field,
    Imputed,
    codes_of,
    completed,
    matrix,
    multinomial,
    raw,
    shares,
)
from confrere.study.rows import TableRows


class Known(NamedTuple):
    """Raw moments of the fields of some columns, over whom they are known for."""

    first: Sum  # (f,)
    second: Sum  # (f,)
    other: Sum  # (f,) sums of (x^2 - x)^2: 0 for indicators


class Swept(NamedTuple):
    """What moves the mode of an equation in each chain, and the information of all chains together."""

    score: Sum  # (chains, size)
    squares: Sum  # (chains,) of residuals of a number at the mode; 0 for levels
    information: Sum  # (size, size), symmetric: the chains' mean


class Trace(NamedTuple):
    """Sums over those who miss a column of the values drawn for them, standardised."""

    first: Sum  # (chains, f)
    second: Sum  # (chains, f)
    people: Sum  # () who miss it


class Changes(NamedTuple):
    """People whose value differs between two chains, the mean over pairs of chains."""

    fields: Sum  # (width,) fields of the imputation model
    terms: Sum  # (p,) terms of the analysis


@dataclass(frozen=True)
class About:
    """Whom an imputation is about: complete in `base`, with an outcome. In `needs` too, where an equation is fitted.

    `positive` names case weights of which people of weight 0 are left out, as regressions do.
    """

    formula: str
    base: tuple[str, ...]
    needs: tuple[str, ...] = ()
    positive: str = ""
    ground: Ground = Ground()

    def rows(self, people: People) -> Bools:
        """The rows (N,) of the table."""
        frame = people.table.frame
        inside = complete(frame, (*self.base, *self.needs))
        got = model_of(self.formula, self.ground).evaluate(frame)
        inside &= finite(got._replace(x=np.empty((len(frame), 0))), None)
        return inside & np.asarray(frame[self.positive] > 0) if self.positive else inside

    def design(self, people: People, rows: Bools, columns: Sequence[str], **more: Any) -> Design:
        """A design of these rows."""
        reads = tuple(sorted({*self.base, *self.needs, *columns}))
        return Design(n=int(rows.sum()), rows=rows, columns=reads, left_out=left_out(people.table, reads, rows), **more)


@register("_patterns")
@dataclass(frozen=True)
class Patterns:
    """Who misses what: no equation may rest on, or differ by, a few people.

    `needs` gives for each column what else must be known of the people its equation is fitted to.
    """

    about: About
    needs: tuple[tuple[str, tuple[str, ...]], ...]

    def design(self, people: People) -> Design:
        """For each column who misses it, and for each two who has the one alone."""
        frame = people.table.frame
        inside = self.about.rows(people)
        known = {name: inside & complete(frame, (name, *more)) for name, more in self.needs}
        cells = {str(i): _require(inside & ~complete(frame, (name,))) for i, name in enumerate(known)}
        for i, own in enumerate(known.values()):
            cells |= {f"{i}:{j}": _require(own & ~has) for j, has in enumerate(known.values()) if j != i}
        columns = tuple(sorted({*self.about.base, *known}))
        return Design(n=len(frame), rows=np.ones(len(frame), dtype=bool), cells=cells, columns=columns)


def _require(who: Bools) -> Cells:
    return Cells(who.astype(np.int64), (1, 2), rule="require")


@register("_known")
@dataclass(frozen=True)
class Observed:
    """Mean and standard deviation of columns over whom they are known for."""

    equations: Equations  # of these columns alone, in their own units
    most: int  # fields of any columns
    about: About
    ground: Ground = Ground()

    def design(self, people: People) -> Design:
        """The fields of the columns, raw."""
        rows = self.about.rows(people)
        frame = people.table.frame
        x = raw(frame[rows], self.equations, self.ground)
        names = tuple(
            f"{f.name}[{i}]" if f.width > 1 else f.name for f in self.equations.fields for i in range(f.width)
        )
        columns = [f.name for f in self.equations.fields if not f.name.startswith("(")]
        cells = _levels(frame[rows], self.equations.fields, self.ground)
        return self.about.design(people, rows, columns, x=x, names=names, cells=cells)

    @local(on="design")
    def known(self, people: People) -> Known:
        """Raw moments."""
        x = people.design.x
        sums = (v.sum(axis=0) for v in (x, x**2, (x**2 - x) ** 2))
        return Known(*(people.derived(v, scale=RAW, bounds=(self.most,)) for v in sums))


def _levels(frame: Any, fields: Sequence[Field], ground: Ground, numbers: bool = False) -> dict[str, Cells]:
    """The levels of columns as cells; whoever misses one is in none.

    With `numbers` these too have two cells, filled if all that is known is 0 or 1: no shape depends on what is known.
    """
    rows = TableRows(frame, ground.schema, {})
    cells = {}
    for f in (f for f in fields if not f.name.startswith("(")):
        if f.levels:
            cells[f"levels of {f.name}"] = Cells(codes_of(rows, f), (1, len(f.levels)))
        elif numbers:
            cells[f"levels of {f.name}"] = Cells(np.full(len(frame), -1), (1, 2))
    return cells


class Fitted(NamedTuple):
    """Whom an equation is fitted to: predictors (n, q) at the start, target, and the chains of those with gaps."""

    x: Array
    y: Array  # (n,) standardised; of levels (n, L) indicators
    gaps: Ints  # rows with a gap
    chains: Chains  # of these rows
    used: list[Array]  # the draws of the chains so far


@register("_equation")
@dataclass(frozen=True)
class Equation:
    """The equation of one incomplete column (`target`, a place in the equations' targets), in all chains."""

    equations: Equations
    target: int
    chains: int
    about: About
    ground: Ground = Ground()

    @property
    def field(self) -> Field:
        """The column that it predicts."""
        return self.equations.fields[self.equations.targets[self.target]]

    @property
    def size(self) -> int:
        """How many coefficients it has."""
        return (len(self.equations.others(self.equations.targets[self.target])) + 1) * self.field.width

    @property
    def most(self) -> int:
        """The most coefficients that an equation has."""
        return max(replace(self, target=t).size for t in range(len(self.equations.targets)))

    # inside each hospital

    def design(self, people: People) -> Design:
        """Who has the column: predictors and the column itself."""
        rows = self.about.rows(people)
        rows &= complete(people.table.frame, (self.field.name,))
        frame = people.table.frame[rows]
        z = matrix(frame, self.equations, self.ground)
        at = self.equations.targets[self.target]
        own, others = self.equations.place(at), self.equations.others(at)
        if self.field.levels:
            codes = codes_of(TableRows(frame, self.ground.schema, {}), self.field)
            y = (codes[:, None] == np.arange(len(self.field.levels))).astype(float)
        else:
            y = z[:, own][:, 0]
        gaps = np.flatnonzero(np.isnan(z).any(axis=1))
        start = np.nan_to_num(z)
        fitted = Fitted(
            np.column_stack([np.ones(len(z)), start[:, others]]), y, gaps,
            Chains.start(self.equations, z[gaps], self._words(people, frame, gaps), self.chains), [],
        )  # fmt: skip
        names = tuple(
            f"{f.name}[{i}]" if f.width > 1 else f.name for f in self.equations.fields for i in range(f.width)
        )
        x = raw(frame, self.equations, self.ground)
        cells = _levels(frame, self.equations.fields, self.ground)
        return self.about.design(people, rows, self._columns, x=np.nan_to_num(x), names=names, cells=cells, data=fitted)

    def gaps(self, people: People) -> Design:
        """Everybody, by whether they miss the column."""
        rows = replace(self.about, needs=()).rows(people)
        frame = people.table.frame[rows]
        miss = ~complete(frame, (self.field.name,))
        z = matrix(frame, self.equations, self.ground)[miss]
        words = self._words(people, frame, np.flatnonzero(miss))
        chains = Chains.start(self.equations, z, words, self.chains)
        return self.about.design(
            people, rows, self._columns, x=miss[:, None].astype(float), names=(f"missing {self.field.name}",),
            data=Fitted(np.empty((0, 0)), np.empty(0), np.arange(len(z)), chains, []),
        )  # fmt: skip

    @property
    def _columns(self) -> list[str]:
        return [f.name for f in self.equations.fields if not f.name.startswith("(")]

    def _words(self, people: People, frame: Any, rows: Ints) -> Any:
        return people.words("impute", frame[self.ground.person].iloc[rows])

    @local(on="design", repeats=110)
    def gradient(self, people: People, theta: tuple[float, ...]) -> Slope:
        """Log-likelihood and score, missing predictors at their mean."""
        return Slope(*self._curve(people, theta)[:2])

    @local(on="design", repeats=3)
    def hessian(self, people: People, theta: tuple[float, ...]) -> Curve:
        """The same, and the information."""
        return self._curve(people, theta)

    def _curve(self, people: People, theta: tuple[float, ...]) -> Curve:
        fitted: Fitted = people.design.data
        loglik, score, information = self.likelihood(fitted.x, fitted.y, np.array(theta))
        weights = _weights(fitted, theta) if self.field.levels else None
        return Curve(
            people.derived(np.asarray(loglik), weights), people.derived(score, weights, bounds=(self.most,)),
            people.derived(information, weights, symmetric=True, bounds=(self.most, self.most)),
        )  # fmt: skip

    def likelihood(self, x: Array, y: Array, theta: Array) -> tuple[float, Array, Array]:
        """Log-likelihood, score and information of the column; of a number in units of its residual variance."""
        if self.field.levels:
            return multinomial(x, y, theta)
        residual = y - x @ theta
        return -float(residual @ residual) / 2, x.T @ residual, x.T @ x

    @local(on="design", repeats=MOST_ITERATIONS)
    def sweep(self, people: People, draws: tuple[Array, ...], modes: Array) -> Swept:
        """Score at each chain's last mode (chains, size) and the mean information, gaps as drawn so far."""
        fitted: Fitted = people.design.data
        advanced(fitted, draws)
        others = self.equations.others(self.equations.targets[self.target])
        x, scores, squares = fitted.x.copy(), [], []
        information = np.zeros((self.size, self.size))
        for c in range(self.chains):
            x[fitted.gaps, 1:] = fitted.chains.z[c][:, others]
            loglik, score, own = self.likelihood(x, fitted.y, modes[c])
            information += own / self.chains
            squares.append(0.0 if self.field.levels else -2 * loglik)
            scores.append(score)
        bounds = (self.chains, self.most)
        return Swept(
            people.derived(np.array(scores), dims=("chains", "terms"), bounds=bounds),
            people.derived(np.array(squares), dims=("chains",), bounds=bounds[:1]),
            people.derived(information, symmetric=True, bounds=(self.most, self.most)),
        )

    @local(on="gaps", repeats=MOST_ITERATIONS + 1)
    def trace(self, people: People, draws: tuple[Array, ...]) -> Trace:
        """Sums of what was drawn for those who miss the column."""
        fitted: Fitted = people.design.data
        advanced(fitted, draws)
        z = fitted.chains.z[:, :, self.equations.place(self.equations.targets[self.target])]
        kind: dict[str, Any] = {
            "dims": ("chains", "terms"),
            "bounds": (self.chains, max(self.equations.fields[t].width for t in self.equations.targets)),
        }
        first, second = (people.derived(v.sum(axis=1), **kind) for v in (z, z**2))
        return Trace(first, second, people.count(people.design.x[:, 0] > 0))


def advanced(fitted: Fitted, draws: Sequence[Array]) -> None:
    """Take the chains of a hospital on to these draws, from the start if they are not the continuation."""
    chains, used = fitted.chains, fitted.used
    if len(used) > len(draws) or any(not np.array_equal(a, b) for a, b in zip(used, draws, strict=False)):
        missing = chains.gaps[:, :, None]
        for at, target in enumerate(chains.equations.targets):
            own = chains.equations.place(target)
            chains.z[:, :, own] = np.where(missing[:, at], 0.0, chains.z[:, :, own])
        chains.done = 0
        used.clear()
    for draw in draws[len(used) :]:
        chains.step(draw)
        used.append(draw)


@register("_changes")
@dataclass(frozen=True)
class Differing:
    """For how many people imputed tables differ: sums over two of them differ by these people."""

    formula: str
    equations: Equations
    about: About
    ground: Ground = Ground()

    def design(self, people: People) -> Design:
        """Everybody."""
        rows = self.about.rows(people)
        columns = {f.name for f in self.equations.fields if not f.name.startswith("(")}
        return self.about.design(people, rows, sorted(columns | set(model_of(self.formula, self.ground).columns)))

    @local(on="design")
    def changes(self, people: People, draws: tuple[Array, ...]) -> Changes:
        """People who differ between two chains, in each field and each term."""
        frame = people.table.frame[people.design.rows]
        fields, terms = [], []
        model = model_of(self.formula, self.ground)
        for c in range(len(draws[0])):
            imputed = Imputed(self.equations, c, tuple(tuple(d[c].tolist()) for d in draws))
            made = completed(frame, replace(self.ground, imputed=imputed), lambda ids: people.words("impute", ids))
            fields.append(matrix(made, self.equations, self.ground))
            terms.append(model.evaluate(made).x)
        return Changes(*(people.derived(_differing(np.array(v))) for v in (fields, terms)))


def _differing(values: Array) -> Array:
    """Of values (chains, n, p), how many people differ between two chains, the mean over pairs: (p,)."""
    m = len(values)
    if not values.shape[1]:
        return np.zeros(values.shape[2])
    ordered = np.sort(values, axis=0)
    run = np.ones(values.shape[1:])
    alike = np.zeros(values.shape[1:])
    for before, after in itertools.pairwise(ordered):
        equal = np.isclose(before, after, rtol=1e-12, atol=1e-12)
        alike += np.where(equal, run, 0.0)  # pairs with those before in the same run
        run = np.where(equal, run + 1, 1.0)
    return np.asarray((1 - alike / (m * (m - 1) / 2)).sum(axis=0))


def _weights(fitted: Fitted, theta: Sequence[float]) -> Array:
    """How much each person counts in a score (n,): as much as at equal shares, at least."""
    levels = fitted.y.shape[1]
    p = shares(fitted.x, np.array(theta).reshape(levels - 1, -1))
    return np.asarray(2.0 - (p * fitted.y).sum(axis=1) - 1 / levels)
