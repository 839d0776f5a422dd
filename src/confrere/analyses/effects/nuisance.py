"""The models that an effect leans on: the propensity of treatment, and the outcome given treatment and confounders.

Each is the flow of a `Glm` over the people of the effect (`Nuisance`), or of those people in other folds. What it
leaves is public (`Fitted`): coefficients in the frame of the fit, or trees (`boosted`). Steps that follow recompute in
each hospital what it says of every person (`Local`), and from it what influence functions need: with the estimating
function U of a step, its derivative by the coefficients, sum dU/deta z, and each person's score, z (y - mu) for
canonical links.

Folds come from the keyed hash of the person, whose key the coordinator lacks. Trimming leaves out whoever has a
propensity beyond public bounds by a public model; models are then fitted again among those who stay (Li, Thomas & Li,
Am J Epidemiol 2019;188:250).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy  # `scipy.optimize` is imported where it is first used: most runs have no use for it

from confrere.analyses.effects.pseudo import Pseudo
from confrere.analyses.families import LINKS, Mean, family_of
from confrere.analyses.finding import Record
from confrere.analyses.glm import Glm, fitted
from confrere.analyses.likelihood import likelihood
from confrere.analyses.outcomes import Cases, Frame, penalty
from confrere.analyses.scaling import blocks
from confrere.errors import ModelError, StudyError
from confrere.rounds import Array, Bools, Design, Flow, Ints, People, register
from confrere.study.ground import Ground, finite, model_of, narrowed

if TYPE_CHECKING:
    from confrere.analyses.learning.forest import Forest

Beta = tuple[float, ...]


class Fitted(NamedTuple):
    """A model as its sums found it; public, and an argument of the steps that use it.

    `beta` (q,) belongs to the standardised terms of `frame`. `own` says that every hospital has an intercept of its
    own, which it finds by itself and which never leaves it. Where there is a `forest`, its score of the raw terms
    stands for the linear predictor, and there are no coefficients.
    """

    formula: str
    family: str
    beta: Beta
    frame: Frame
    own: bool = False
    forest: Forest | None = None


class Trim(NamedTuple):
    """Whoever has a propensity below `low`, or at `high` or above, by the model is left out."""

    model: Fitted
    low: float
    high: float


class Among(NamedTuple):
    """Whom a fit or an estimate is about.

    `needs` are formulas that must be defined for a person, beside the fit's own. With `varies`, a formula, nobody of a
    hospital in which its left side is the same for all. Of `folds` the `fold` is left out; -1 leaves out none. `half`
    0 or 1 is about that half of the people, by another keyed hash; -1 about all. `pseudo` makes a number of follow-up.
    Another `deal` deals people to other folds and halves.
    """

    needs: tuple[str, ...] = ()
    varies: str = ""
    trim: Trim | None = None
    folds: int = 1
    fold: int = -1
    half: int = -1
    pseudo: Pseudo | None = None
    deal: int = 0

    def seen(self, people: People, ground: Ground) -> People:
        """People as a design sees them: with pseudo-values, where the outcome is made of follow-up."""
        return people if self.pseudo is None else self.pseudo.given(people, ground)

    def of(self, people: People, ground: Ground, own: str, rows: Bools) -> tuple[Bools, Bools, int]:
        """Of the rows (N,) on which the formula `own` is defined: who is in the effect, who of these in the fit; and
        how many would be in both without halves and folds, by which a hospital takes part in all of them or in none."""
        frame, inside = people.table.frame, rows.copy()
        pooled = {name: (mean, sd) for name, mean, sd in ground.pooled}
        for formula in self.needs:
            if formula != own:
                inside &= _defined(people, formula, ground)
        self._varying(inside, frame, ground)
        if self.trim is not None:
            got = model_of(self.trim.model.formula, ground).evaluate(frame, pooled)
            e = local_of(got.x[inside], _values(got.value)[inside], self.trim.model).m.mu
            inside[inside] = (e >= self.trim.low) & (e < self.trim.high)
            self._varying(inside, frame, ground)
        many = int(inside.sum())
        if self.half >= 0:
            words = people.drawn(_dealt("halves", self.deal), ground.person)[inside]
            inside[inside] = words % np.uint64(2) == self.half
        used = inside.copy()
        if self.fold >= 0:
            used[inside] = folds_of(people, ground, inside, self.folds, self.deal) != self.fold
        return inside, used, many

    def narrow(self, people: People, made: Design, ground: Ground, own: str = "") -> Design:
        """The design of who is in the effect; `own` is the formula that it is of."""
        inside, _, many = self.of(people, ground, own, made.rows)
        return replace(narrowed(made, inside[made.rows], self.reason), crowd=many)

    def taught(self, people: People, made: Design, ground: Ground, own: str) -> Design:
        """The design of who is in the fit of the formula `own`: less the fold that is left out."""
        inside, used, many = self.of(people, ground, own, made.rows)
        made = replace(narrowed(made, inside[made.rows], self.reason), crowd=many)
        return narrowed(made, used[made.rows], "in the fold left out") if self.fold >= 0 else made

    def _varying(self, inside: Bools, frame: Any, ground: Ground) -> None:
        """Leave out everybody where nobody differs in what must vary."""
        if not self.varies or not inside.any():
            return
        left = f"{self.varies.partition('~')[0]} ~ 1"
        values = _values(model_of(left, ground).evaluate(frame).value)[inside]
        if (values == values[0]).all():
            inside[:] = False

    @property
    def reason(self) -> str:
        """Why somebody who is complete is not in the effect."""
        if self.trim is not None:
            return "propensity beyond the bounds"
        if self.half >= 0:
            return "in the other half of the people"
        return "treatment does not vary in the hospital" if self.varies else "not defined by another model"


def _defined(people: People, formula: str, ground: Ground) -> Bools:
    """Rows (N,) on which a formula is defined: the same for every design of a run, and found once."""

    def found() -> Bools:
        pooled = {name: (mean, sd) for name, mean, sd in ground.pooled}
        return finite(model_of(formula, ground).evaluate(people.table.frame, pooled), None)

    return people.once(("defined", formula, ground), found)


def _values(values: Array | None) -> Array:
    return np.zeros(0) if values is None else values


def _dealt(what: str, deal: int) -> str:
    """The purpose of a keyed hash."""
    return f"{what} {deal}" if deal else what


def folds_of(people: People, ground: Ground, rows: Bools, folds: int, deal: int = 0) -> Ints:
    """The fold, 0 to folds - 1, of each of the rows: by a keyed hash of the person, the same in every step."""
    if folds == 1:
        return np.zeros(int(rows.sum()), dtype=np.int64)
    words = people.drawn(_dealt("folds", deal), ground.person)[rows]
    return np.asarray(words % np.uint64(folds), dtype=np.int64)


@register("_nuisance")
@dataclass(frozen=True)
class Nuisance(Glm):
    """A generalised linear model among the people of an effect."""

    among: Among = Among()

    def design(self, people: People) -> Design:
        """Raw terms and outcome of those whom the fit is about."""
        people = self.among.seen(people, self.ground)
        return self.among.taught(people, super().design(people), self.ground, self.formula)


class Learned(NamedTuple):
    """A fitted model, with what its variance needs: all over the frame and its unit.

    `inverse` (q, q) of the information with the ridge; `pull` (q,) the ridge's part of the score at the maximum, which
    the scores of all people add up to; `n` people it was fitted to.
    """

    model: Fitted
    inverse: Array
    pull: Array
    n: int
    share: float  # of the outcome among them: of people treated, for a propensity
    treated: Array  # (p,) mean of the standardised terms of those who have the outcome
    names: tuple[str, ...]
    coefficients: list[Record]

    def leans(self, derivative: Array) -> tuple[Array, Array]:
        """What a person's score moves the targets by (k, q), and what the ridge moves them by (k,); `influence`."""
        lean = derivative @ self.inverse
        return lean, lean @ self.pull / self.n


def learned(glm: Glm, what: str) -> Flow[Learned]:
    """Fit a model, and keep what the steps that follow need; `what` names it where it cannot be fitted."""
    try:
        fit, verdict = yield from glm.fit()
    except ModelError as error:
        raise ModelError(f"{what} ({glm.formula}): {error}", about=error.about) from None
    ridge = penalty(fit.frame, glm.ridge)
    inverse = np.linalg.inv(fit.information + np.diag(ridge))
    model = Fitted(glm.formula, glm.family, tuple(fit.peak.beta.tolist()), fit.frame)
    share = float(fit.start.outcome.value[0]) / float(fit.start.total.value)
    treated = means_of(fit.start.cross.value, float(fit.start.outcome.value[0]), fit.frame)
    pull, made = ridge * fit.peak.beta, fitted(glm, fit, verdict).tables["coefficients"]
    return Learned(model, np.asarray(inverse), pull, verdict.n, share, treated, glm.names, made)


def means_of(total: Array, people: float, frame: Frame) -> Array:
    """The mean of the standardised terms (p,) of so many people, from the sums of their terms."""
    return np.asarray((total / people - np.array(frame.mean)) / np.array(frame.sd))


# Inside a hospital --------------------------------------------------------------------------------------------


class Local(NamedTuple):
    """What a model says of a hospital's people.

    `m` (n,) their means; `score` (n,) by which z is multiplied to be a person's score; `centre` (q,) is taken off z,
    and `spread` is the information about the hospital's own intercept: 0 and infinite where there is none.
    """

    m: Mean
    score: Array
    centre: Array
    spread: float


def predictor(x: Array, model: Fitted) -> Array:
    """The linear predictor (n,) of raw terms x (n, p), without a hospital's own intercept; or the score of trees."""
    if model.forest is not None:
        return model.forest.score(list(x.T))
    frame, eta = model.frame, np.empty(len(x))
    beta = frame.reach * np.array(model.beta)
    for rows, z in blocks(x, frame.mean, frame.sd, int(frame.intercept)):
        np.dot(z, beta, out=eta[rows])
    eta += frame.base
    return eta


def means(x: Array, model: Fitted) -> Mean:
    """The means (n,) of raw terms x (n, p)."""
    return family_of(model.family, "")[1].mean(predictor(x, model))


def local_of(x: Array, y: Array, model: Fitted, used: Bools | None = None) -> Local:
    """What a model says of people with raw terms x (n, p) and outcome y (n,).

    A hospital's own intercept is fitted to those `used` (n,), all unless given.
    """
    eta, family = predictor(x, model), family_of(model.family, "")
    centre, spread = np.zeros(len(model.beta)), np.inf
    if model.own and len(y):
        fit = slice(None) if used is None else used
        own = intercept(eta[fit], y[fit])
        eta += own
        slope = family[1].mean(eta[fit]).slope
        spread = float(slope.sum())
        for rows, z in blocks(x[fit], model.frame.mean, model.frame.sd):
            centre += slope[rows] @ z / spread
    cases = Cases(x, y, np.ones(len(y)), np.zeros(len(y)))
    at = likelihood(cases, eta, model.frame, family, "")
    if at is None:
        raise StudyError(f"{model.formula}: a mean is out of range; take a model with fewer terms")
    return Local(family[1].mean(eta), at.score, centre, spread)


def intercept(eta: Array, y: Array) -> float:
    """The intercept at which propensities of linear predictors eta (n,) add up to sum y, which is neither 0 nor n."""
    share = float(y.mean())
    middle, link = float(np.log(share / (1 - share))), LINKS["logit"]

    def short(at: float) -> float:
        return share - float(link.mean(eta + at).mu.mean())

    low, high = middle - float(eta.max()) - 1e-9, middle - float(eta.min()) + 1e-9
    at = float(scipy.optimize.brentq(short, low, high, xtol=1e-13, rtol=1e-14))
    return at + short(at) / float(link.mean(eta + at).slope.mean())  # the last digits


def _terms(x: Array, model: Fitted, local: Local) -> Iterator[tuple[slice, Array]]:
    """Blocks of standardised terms, less the hospital's own centre where it has one; of trees none."""
    if model.forest is not None:
        return
    for rows, z in blocks(x, model.frame.mean, model.frame.sd, int(model.frame.intercept)):
        if np.isfinite(local.spread):
            z -= local.centre
        yield rows, z


def derivative(x: Array, model: Fitted, local: Local, du: Array) -> Array:
    """The derivative (k, q) of sums of U by the coefficients, from that by each linear predictor, du (n, k)."""
    total = np.zeros((du.shape[1], len(model.beta)))
    for rows, z in _terms(x, model, local):
        total += du[rows].T @ z
    return total * model.frame.reach


def moved(x: Array, model: Fitted, local: Local, lean: Array, du: Array) -> Array:
    """What each person moves the targets by through the model (n, k), for `lean` (k, q) and du (n, k) as above."""
    out = np.zeros((len(x), len(lean)))
    for rows, z in _terms(x, model, local):
        np.multiply(z @ lean.T, local.score[rows, None], out=out[rows])
    if np.isfinite(local.spread):
        out += np.outer(local.score, du.sum(axis=0) / local.spread)
    return out


def of_folds(at: Ints, values: Sequence[Array]) -> Array:
    """Of one array (n,) per fold, each person's own (n,): the model of a fold was fitted without its people."""
    return values[0] if len(values) == 1 else np.choose(at, np.array(values))
