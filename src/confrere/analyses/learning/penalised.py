"""Penalised regression over all hospitals at once: ridge, lasso and elastic net, with the penalty by cross-validation.

The objective is glmnet's: the log-likelihood per unit of weight, less lambda times the sum over terms of
factor (alpha |b| + (1 - alpha) b^2 / 2), b being per standard deviation (1/n) of the term. The linear model, as there,
has the outcome in standard deviations, so that its quadratic part is divided by that of the outcome.

Few questions. The log-likelihood is asked with its information at a few coefficients along the path, the anchors; the
whole path, for everybody and for all folds, is that of quadratic models about the nearest anchor (`penalised_solver`).
The fit at the chosen penalty is then the exact maximum: gradients alone, until nothing moves. Of a linear model the
quadratic is the likelihood itself, so that path and cross-validation are exact with one matrix for each fold. Of the
others cross-validation is exact at lambda.min and lambda.1se, of the curve found by the models; at every penalty with
`exact`.

Sources: Hoerl & Kennard, Technometrics 1970;12:55; Tibshirani, JRSS B 1996;58:267; Zou & Hastie, JRSS B 2005;67:301;
Zou, JASA 2006;101:1418 (adaptive); Friedman, Hastie & Tibshirani, J Stat Softw 2010;33(1); Simon et al., J Stat Softw
2011;39(5) (Cox). Matches R glmnet, cv.glmnet with its foldid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import ClassVar, NamedTuple

import numpy as np

from confrere.analyses.causes import cause_number, each_cause, no_events
from confrere.analyses.cox import Cox
from confrere.analyses.families import family_of
from confrere.analyses.finding import Finding
from confrere.analyses.glm import Glm
from confrere.analyses.learning import penalised_attack as membership
from confrere.analyses.learning import penalised_sums as sums
from confrere.analyses.learning.attack import Attacked
from confrere.analyses.learning.elsewhere import left_out, of_risk, of_times
from confrere.analyses.learning.left_out import Group, LeavesOut, asked, listed, others, wrong
from confrere.analyses.learning.penalised_finding import Fit, told
from confrere.analyses.learning.penalised_folds import Begun, Folds, choices, common, folds_of
from confrere.analyses.learning.penalised_path import Scale, Stage, anchor_at, climbed, pathway, quadratic
from confrere.analyses.learning.penalised_solver import RIDGE_LEAST, Penalty, Quadratic, grid
from confrere.analyses.learning.penalised_sums import Beta, Kind, Linked, Points, Survived
from confrere.analyses.newton import Curve, Slope, check_collinear
from confrere.analyses.outcomes import Frame, Start, enough, spread, started
from confrere.analyses.scaling import RAW, Scales, indicators, scales, standard
from confrere.analyses.separation import NOWHERE
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Design, Flow, People, Sum, Verdict, ask, local, register, support, together, within
from confrere.study.ground import Ground, model_of, outcome_among

SLOPES, ANCHORS, CORRECTIONS = 250, 8, 12


class Began(NamedTuple):
    """Raw moments of the terms; weight of the events, and the log-likelihood of the saturated model."""

    total: Sum  # () sum of weights
    first: Sum  # (p,)
    second: Sum  # (p,)
    events: Sum  # (2,) weight of the events, and people with one
    saturated: Sum  # ()


class Left(NamedTuple):
    """What the fit leaves of the outcome."""

    pearson: Sum  # () Pearson's chi-squared, over the unit of the frame


@register("penalised")
@dataclass(frozen=True)
class Penalised(LeavesOut):
    """Ridge, lasso or elastic net: `outcome ~ terms`, of a generalised linear model or of Cox's model.

    `family` is `gaussian`, `binomial`, `poisson` or `gamma`, with the `link`s of `glm`, or `cox` (stratified by
    hospital, `ties` as there). `alpha` is 1 for the lasso, 0 for ridge, between for the elastic net. `penalty` lists
    the values of lambda; without it there are `penalties` of them, down to `smallest` times the least that shrinks
    everything to 0. Of several, cross-validation over `folds` (10, or fewer where a fold would hold few people) picks
    one: `choose` is `min` or `1se`. `factors` multiply the penalty of terms (0: not penalised); `adaptive` is gamma of
    the adaptive lasso, whose factors are `|b|^-gamma` of the fit without penalty. `standardize = false` penalises
    coefficients in units of the terms. `debias` is `nodewise`, `inverse`, or empty for no confidence intervals.
    `weights` names a column of case weights. Of `cox`, where causes compete, `cause` is the one whose events count, the
    others being censored (cause-specific hazards). `exact` asks cross-validation at every penalty. `leave_out` are
    groups of hospitals, three at least: the table `left_out` says how good the model of all others is in each, of
    `binomial` and `cox`; of several penalties each such model chooses its own, by folds of its own people.

    Finding: tables `coefficients`, `path`, `cv`, `debiased`, `attack`, `attrition`; facts `lambda`, `lambda_min`,
    `lambda_1se`. The fit at the chosen penalty is exact: equals R's glmnet. Errors: ModelError for constant and
    collinear terms; StudyError where folds need the column of person ids.
    """

    formula: str
    family: str = "gaussian"
    link: str = ""
    alpha: float = 1.0
    penalty: tuple[float, ...] = ()
    penalties: int = 100
    smallest: float = 1e-4
    choose: str = "min"
    folds: int = 10
    exact: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)
    adaptive: float = 0.0
    standardize: bool = True
    debias: str = "nodewise"
    ties: str = "efron"
    weights: str = ""
    cause: str = ""
    leave_out: tuple[tuple[str, ...], ...] = ()
    ground: Ground = Ground()
    anchors: ClassVar[int] = ANCHORS
    corrections: ClassVar[int] = CORRECTIONS

    def __hash__(self) -> int:
        return hash((self.formula, self.family, self.link, self.alpha, self.penalty, self.folds, self.ground))

    def __post_init__(self) -> None:
        object.__setattr__(self, "leave_out", listed(self.leave_out))
        object.__setattr__(self, "penalty", tuple(sorted((float(v) for v in self.penalty), reverse=True)))
        for name, low, high in (
            ("alpha", 0, 1), ("penalties", 2, 200), ("smallest", 1e-6, 0.5), ("folds", 2, sums.MOST),
            ("adaptive", 0, 5),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise StudyError(f"{name} is {getattr(self, name)}; it must be from {low:g} to {high:g}")
        for name, known in (("choose", ("min", "1se")), ("debias", ("nodewise", "inverse", ""))):
            if getattr(self, name) not in known:
                raise StudyError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(map(repr, known))}")
        if any(not 0 <= v < np.inf for v in self.penalty) or len(set(self.penalty)) < len(self.penalty):
            raise StudyError(f"penalty is {list(self.penalty)}; give different values of lambda, 0 or more")
        if bad := [name for name, factor in self.factors.items() if not 0 <= factor < np.inf]:
            raise StudyError(f"factors: {bad[0]!r} = {self.factors[bad[0]]}; a factor is 0 or a positive number")

    # public

    def check(self) -> None:
        """The formula and the factors, against the levels that the study declares."""
        model = model_of(self.formula, self.ground)
        if model.outcome is not None and (model.outcome.kind == "surv") != (self.family == "cox"):
            raise FormulaError(
                f"{self.formula!r}: family is {self.family!r}; a time and event, Surv(), goes with 'cox' and no other"
            )
        if self.cause or (self.family == "cox" and len(each_cause(self.formula.partition("~")[0], self.ground)) > 1):
            cause_number(self.formula, self.ground, self.cause)
        self.inner.check()
        if both := outcome_among(self.formula, self.ground):
            raise FormulaError(f"{self.formula!r}: {both[0]!r} is the outcome, and among the terms; leave it out")
        if not model.names:
            raise FormulaError(f"{self.formula!r}: a penalised regression needs at least one term")
        if self.family != "cox" and not model.intercept:
            raise FormulaError(f"{self.formula!r}: a penalised regression has an intercept; leave out 0 + or - 1")
        if strange := [name for name in self.factors if not any(_named(name, term) for term in model.names)]:
            known = ", ".join(model.names)
            raise StudyError(f"factors: {strange[0]!r} is no term of {self.formula!r}; there are {known}")
        if not self._factors().any():
            raise StudyError("factors: every term has 0, so that nothing is penalised; use glm or cox")
        if len(self.penalty) != 1 and not self.ground.person:
            raise StudyError(
                "cross-validation deals people to folds: name their column, [data] person = ..., or give one penalty"
            )
        if found := next(chain(wrong(self), self._unmeasured()), ""):
            raise StudyError(found)

    def _unmeasured(self) -> Iterator[str]:
        """Why the fit cannot be measured on groups that it lacks."""
        if self.leave_out and (self.family, self.link or "logit") not in (("binomial", "logit"), ("cox", "logit")):
            yield "leave_out measures risks and hazards: family = 'binomial' with the link logit, or 'cox'"

    @property
    def inner(self) -> Glm | Cox:
        """The model without its penalty."""
        if self.family == "cox":
            return Cox(
                self.formula, self.ties, weights=self.weights, cause=self.cause, diagnostics=False, ground=self.ground
            )
        return self.linked

    @property
    def linked(self) -> Glm:
        """The generalised linear model. To have a ridge says that separating terms have finite coefficients."""
        return Glm(self.formula, self.family, self.link, self.weights, ridge=1.0, ground=self.ground)

    @property
    def kind(self) -> Kind:
        """Its likelihood, inside a hospital."""
        inner = self.inner
        return Survived(inner) if isinstance(inner, Cox) else Linked(inner)

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients, `Intercept` first where there is one."""
        return self.inner.names

    @property
    def quadratic(self) -> bool:
        """Whether the log-likelihood is a quadratic, so that one matrix of each fold says it all."""
        return self.family == "gaussian" and self.link in ("", "identity")

    @property
    def estimated(self) -> bool:
        """Whether the dispersion is Pearson's, which is asked; of a linear model it follows from other sums."""
        return self.family != "cox" and family_of(self.family, self.link)[0].estimated and not self.quadratic

    @property
    def points(self) -> int:
        """At how many coefficients cross-validation is asked at once, at most."""
        return self.folds * (len(self.penalty) or self.penalties if self.exact else 2)

    # inside each hospital

    def design(self, people: People) -> Design:
        """Raw terms and outcome."""
        return self.inner.design(people)

    def dealt(self, people: People, marks: tuple[int, ...], folds: int) -> Design:
        """The fold of everybody, by a hash of the person that all hospitals share; and marks by fold."""
        made, own = self.kind.dealt(people)
        at = people.drawn("penalised", self.ground.person)[made.rows] % np.uint64(folds)
        return sums.folded(made, own._replace(at=at.astype(np.int64)), marks, folds, self.quadratic)

    @local(on="design")
    def start(self, people: People) -> Start:
        """Raw moments, for the frame."""
        return started(people, people.design.data.y, 0.0)

    @local(on="design")
    def began(self, people: People) -> Began:
        """Raw moments of the terms, the weight of the events, and the saturated model's log-likelihood."""
        kind, d = self.kind, people.design
        if not isinstance(kind, Survived):
            raise StudyError(f"family {self.family!r} has no events in time")
        w = d.data.weights
        events = np.array([d.data.sets.weight.sum(), d.flags["event"].sum()])
        saturated = people.derived(np.asarray(kind.saturated(d)), w)
        return Began(*scales(people), people.derived(events, w, dims=("events",), scale=RAW), saturated)

    @local(on="design", repeats=SLOPES)
    def slope(self, people: People, beta: Beta, frame: Frame) -> Slope:
        """Log-likelihood and score at standardised coefficients."""
        got = self.kind.part(self.kind.data(people.design), beta, frame)
        return Slope(people.derived(np.asarray(got.loglik), got.weights), people.derived(got.score, got.weights))

    @local(on="design", repeats=ANCHORS + 4)
    def curve(self, people: People, beta: Beta, frame: Frame) -> Curve:
        """The same, and the expected information."""
        got = self.kind.part(self.kind.data(people.design), beta, frame, wanted=True)
        return Curve(
            people.derived(np.asarray(got.loglik), got.weights), people.derived(got.score, got.weights),
            people.derived(np.asarray(got.information), got.weights, symmetric=True),
        )  # fmt: skip

    @local(on="design")
    def left(self, people: People, beta: Beta, frame: Frame) -> Left:
        """Pearson's chi-squared at the fit, where the dispersion is estimated from it."""
        got = self.linked.local_of(people.design.data, beta, frame, "expected")
        return Left(people.derived(np.asarray(got.pearson), got.weights[0]))

    @local(on="dealt", repeats=6)
    def moments(self, people: People, folds: int) -> sums.Moments:
        """Raw moments of every fold."""
        return sums.moments(people, self.kind, folds)

    @local(on="dealt")
    def grams(self, people: People, beta: Beta, frame: Frame, folds: int) -> sums.Grams:
        """Products of standardised terms of every fold."""
        return sums.grams(people, self.kind, beta, frame, folds)

    @local(on="dealt", repeats=ANCHORS)
    def anchor(self, people: People, beta: Beta, frame: Frame, folds: int) -> sums.Anchor:
        """Log-likelihood, score and expected information; of every fold the log-likelihood and score."""
        return sums.anchor(people, self.kind, beta, frame, folds)

    @local(on="dealt", repeats=CORRECTIONS)
    def held(self, people: People, points: Points, frame: Frame, folds: int) -> sums.Held:
        """Log-likelihood and score without a fold, and what the fold adds, at several coefficients."""
        return sums.held(people, self.kind, points, frame, folds)

    def thirds(self, people: People, tried: membership.Tried) -> Design:
        """The loss of two thirds of the people, of the fit without their own fold or of one without another."""
        return membership.thirds(self, people, tried)

    @local(on="thirds")
    def guessed(self, people: People, starts: tuple[int, ...]) -> membership.Guessed:
        """People by cell of their loss, in a fit and held out of it."""
        return membership.counted(people, starts)

    # sums only

    def flow(self) -> Flow[Finding]:
        """The frame, folds, anchors along the path, the choice, the exact fit at the chosen penalty; the attack."""
        if self.leave_out:
            inner, whole = self.inner, replace(self, leave_out=())
            measure = of_times(inner) if isinstance(inner, Cox) else of_risk(self)
            part = replace(whole, debias="")
            fits = whole.together_with(part, self.leave_out) if len(self.penalty) != 1 else None
            return (yield from left_out(self, whole, part, measure, fits))
        fit = yield from self.fit()
        return told(self, (yield from self._left(fit)), (yield from membership.attacked(self, fit)))

    def _left(self, fit: Fit) -> Flow[Fit]:
        """The same with Pearson's chi-squared, where it is wanted."""
        if not (self.debias and self.estimated):
            return fit
        left = yield from ask(self.left, tuple(fit.best.at.tolist()), fit.stage.frame)
        return fit._replace(pearson=float(left.pearson.value) * fit.stage.frame.unit)

    def fit(self) -> Flow[Fit]:
        """What the finding is made of, in the frame of the fit: for methods that go on from it."""
        begun = yield from self.begun()
        return (yield from self.fitted(begun, (yield from folds_of(self, begun))))

    def together_with(self, part: Penalised, groups: tuple[Group, ...]) -> Flow[tuple[Finding, ...]]:
        """The finding of all groups, and those of `part`, without each: all with the same folds, and each with the
        penalty that its own cross-validation chooses. Cells of losses that two sets of groups merge would differ by a
        few people: there is no attack."""
        sets = [",".join(names) for names in (asked(groups)[-1], *others(groups))]
        fits = [self, *(part for _ in groups)]
        begun = yield from together(*(within(g, of.begun()) for g, of in zip(sets, fits, strict=True)))
        folds = yield from common(fits, sets, begun, [",".join(sorted(group)) for group in groups])
        flows = (of._found(b, f, of is part) for of, b, f in zip(fits, begun, folds, strict=True))
        return (yield from together(*(within(g, flow) for g, flow in zip(sets, flows, strict=True))))

    def _found(self, begun: Begun, folds: Folds, some: bool) -> Flow[Finding]:
        fit = yield from self.fitted(begun, folds, some)
        return told(self, (yield from self._left(fit)), Attacked([], ()))

    def begun(self) -> Flow[Begun]:
        """What is known before any coefficient."""
        verdict = yield from support(self.design)
        stage, raw = yield from self._stage(verdict)
        return Begun(verdict, stage, raw)

    def fitted(self, begun: Begun, folds: Folds | None, some: bool = False) -> Flow[Fit]:
        """The path, the choice, and the exact fit at the chosen penalty; with `some`, at the largest below it that
        leaves a term, where it leaves none."""
        verdict, stage, _ = begun
        first = yield from anchor_at(self, stage.frame, np.zeros(len(self.names)), folds)
        if first.whole.value <= NOWHERE:
            raise ModelError("the fit cannot start at the mean outcome: with these offsets some means are out of range")
        check_collinear(first.whole.information, self.names)
        null, top = yield from self._null(stage, first.whole)
        if self.adaptive:
            stage = yield from self._adapted(stage, first.whole)
        values = self._values(stage, top)
        path = yield from pathway(self, stage, first, values, folds)
        crossed = None if folds is None else (yield from choices(self, stage, path, folds))
        at = 0 if crossed is None else crossed.chosen(self.choose)
        left = [bool(b[stage.one :].any()) for b in path.fits]
        at = next((i for i in range(at, len(left)) if left[i]), at) if some else at
        best = yield from climbed(self, stage.frame, path.fits[at], stage.penalty(values[at]), path.near[at].whole)
        last = yield from ask(self.curve, tuple(best.at.tolist()), stage.frame)
        # whom hazards are compared with, as of `cox`: its numbers at their mean, indicators at 0
        centre = np.where(indicators(begun.raw), 0.0, np.array(stage.frame.mean))
        return Fit(stage, null, path, crossed, at, quadratic(best.at, last), verdict, centre)

    def _null(self, stage: Stage, first: Quadratic) -> Flow[tuple[float, Quadratic]]:
        """The log-likelihood of the model of an intercept alone, and the fit of what is not penalised."""
        terms = np.full(len(self.names), np.inf)
        terms[: stage.one] = 0.0
        null = yield from climbed(self, stage.frame, first.at, Penalty(terms, np.zeros_like(terms)), first)
        if (stage.factors > 0).all():
            return null.value, null
        top = yield from climbed(self, stage.frame, null.at, stage.penalty(np.inf), first)
        return null.value, top

    def _adapted(self, stage: Stage, first: Quadratic) -> Flow[Stage]:
        """The factors of the adaptive lasso, from the fit without a penalty."""
        free = Penalty(np.zeros(len(self.names)), np.zeros(len(self.names)))
        fit = yield from climbed(self, stage.frame, first.at, free, first)
        size = np.abs(fit.at[stage.one :]) * stage.frame.reach
        if not (size > 0).all():
            raise ModelError("adaptive: a coefficient of the fit without penalty is 0; leave its term out")
        return stage._replace(factors=stage.factors * size**-self.adaptive)

    def _values(self, stage: Stage, top: Quadratic) -> Array:
        """The values of lambda, from the largest."""
        if self.penalty:
            return np.array(self.penalty)
        unit = stage.penalty(1.0, alpha=1.0).first
        some = unit > 0
        largest = float((np.abs(top.score[some]) / unit[some]).max()) / max(self.alpha, RIDGE_LEAST)
        return grid(largest, self.penalties, self.smallest)

    def _stage(self, verdict: Verdict) -> Flow[tuple[Stage, Scales]]:
        """What is public before any coefficient, and raw moments of the terms."""
        if self.family == "cox":
            b = yield from ask(self.began)
            enough(verdict.n, len(self.names))
            raw = Scales(b.total, b.first, b.second)
            if not b.events.value[1] > 0:
                raise no_events(self.cause)
            z = standard(raw, self.names)
            frame = Frame(z.mean, z.sd, 0.0, 1.0, 1.0, False)
            whole = Scale(np.array(z.sd), float(b.total.value), 1.0)
            stage = Stage(frame, self._factors(), whole, self.alpha, self.standardize)
            weight, events = (float(v) for v in b.events.value)
            return stage._replace(saturated=float(b.saturated.value), weight=weight, events=round(events)), raw
        s = yield from ask(self.start)
        enough(verdict.n, len(self.names))
        spread(s)
        frame = self.linked.frame_of(s, verdict.n)
        whole = Scale(np.array(frame.sd), float(s.total.value), frame.reach if self.quadratic else 1.0)
        stage = Stage(frame, self._factors(), whole, self.alpha, self.standardize, weight=whole.total)
        if self.family == "binomial":
            stage = stage._replace(events=round(float(s.events.value)), having=s.cross.value)
        return stage, Scales(s.total, s.first, s.second)

    def _factors(self) -> Array:
        """The factor of every term (p,)."""
        terms = model_of(self.formula, self.ground).names
        return np.array([next((f for n, f in self.factors.items() if _named(n, t)), 1.0) for t in terms])


def _named(name: str, term: str) -> bool:
    """Whether a name is that of a term, or of the expression of which it is a level, whatever the blanks."""
    name, term = _without_blanks(name), _without_blanks(term)
    return term == name or term.startswith(f"{name}[")


def _without_blanks(text: str) -> str:
    """A term without the blanks between its parts: those in quotes and in the name of a level stay."""
    return re.sub(r"""("[^"]*"|'[^']*'|\[T\.[^\]]*\])|\s+""", lambda part: part[1] or "", text)
