"""Multiple imputation by chained equations over sums: the flow of an analysis with `missing = "impute"`.

For each incomplete column in turn, a regression on all other columns of the imputation model among those who have it (a
number: Bayesian linear regression, mice's `norm`; levels: multinomial logit, with two levels `logreg`), coefficients
drawn from their posterior, values drawn from the coefficients. Several chains give several completed tables, the
analysis is made in each, and `rubin` pools it.

What keeps the numbers few. Equations are first fitted with missing predictors at their mean, once for all chains:
where a single column is incomplete that is the exact posterior, and nothing else is asked. Otherwise each iteration
takes one Newton step from each chain's last mode, with the score of the chain and the mean information of all chains.
Chains differ from their mean by the imputed part of the information alone, so that a step is wrong by about 1/sqrt(n)
of itself, and the next iteration corrects it. Logits carry the pseudo-observations of White, Daniel & Royston (Comput
Stat Data Anal 2010;54:2267) against separation, as mice does; they are public.

Sums over two imputed tables differ by the people whose values differ: `Differing` counts them once, and the flow ends
where they would be few. Sources: Rubin 1987; van Buuren & Groothuis-Oudshoorn, J Stat Softw 2011;45(3); White &
Royston, Stat Med 2009;28:1982 (event and cumulative hazard for survival outcomes). Matches R `mice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.curves import cellwise, survival
from confrere.analyses.equations import About, Differing, Equation, Known, Observed, Patterns
from confrere.analyses.finding import Finding
from confrere.analyses.follow_up import FollowUp, Table
from confrere.analyses.ladder import horizon_of, ladder
from confrere.analyses.newton import LONGEST, Curve, Objective, Slope, maximise
from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Sum, Verdict, ask, name_of, support, together
from confrere.study.factors import Basis, Category, Number
from confrere.study.formulas import Model
from confrere.study.ground import Ground, model_of
from confrere.study.imputation import (
    MOST,
    MOST_LEVELS,
    USUAL,
    Equations,
    Field,
    Impute,
    Imputed,
    imputable,
    imputing,
    multinomial,
    required,
)

RIDGE = 1e-7  # share of the information: collinear predictors are no error
HALF = 0.5  # of the budget of numbers: sums over completed tables ask much the same of the same people again
CELLS = 12  # of the ladder on which the cumulative hazard is known
FAR = 6  # times k people must differ between two imputed tables, on average over pairs
Draws = tuple[Array, ...]
Hazard = tuple[tuple[float, ...], tuple[float, ...]]  # edges, and values at them


class Plan(NamedTuple):
    """What is imputed from what: whom it is about, the equations, and each target's own people and missing."""

    about: About
    equations: Equations
    needs: dict[str, tuple[str, ...]]
    n: int
    missing: dict[str, int]


class Traces(NamedTuple):
    """Means and SDs (iterations, chains, f) of what was drawn for a column, in its own units, and for how many."""

    mean: Array
    sd: Array
    people: int


class Chained(NamedTuple):
    """All that was drawn, in order, and the traces by column."""

    draws: Draws
    traces: dict[str, Traces]

    def of(self, chain: int) -> tuple[tuple[float, ...], ...]:
        """The draws of one chain."""
        return tuple(tuple(d[chain].tolist()) for d in self.draws)


@dataclass
class Mode:
    """An equation of all chains: modes (chains, size), information (size, size), residual squares (chains,)."""

    modes: Array
    information: Array
    squares: Array
    n: int


def imputed(analysis: Any) -> Flow[Finding]:
    """The flow of an analysis that imputes: plan, chains, the analysis in each completed table, Rubin's rules."""
    from confrere.analyses.rubin import pooled

    how = imputing(analysis) or Impute()
    plan = yield from planned(analysis, how)
    whole = replace(analysis, missing="complete", ground=replace(analysis.ground, complete=plan.about.base))
    if not plan.equations.targets:
        found: Finding = yield from whole.flow()
        return replace(found, notes=(*found.notes, nobody(analysis, how, plan)))
    differing = Differing(analysis.formula, plan.equations, plan.about, analysis.ground)
    verdict = yield from support(differing.design)
    m = carried(plan, how, int(HALF * verdict.budget), _numbers(analysis))
    chained = yield from chains_of(plan, how, m, analysis.ground, differing)
    if hasattr(whole, "diagnostics"):
        whole = replace(whole, diagnostics=False)
    grounds = [replace(whole.ground, imputed=Imputed(plan.equations, c, chained.of(c))) for c in range(m)]
    fits = yield from together(*(replace(whole, ground=g).flow() for g in grounds))
    return pooled(fits, plan, chained, how)


def nobody(analysis: Any, how: Impute, plan: Plan) -> str:
    """The note of an analysis in which there is nothing to impute."""
    few = sorted(set(plan.about.base) & set(imputable(model_of(analysis.formula, analysis.ground), how)))
    if few:
        return (
            f"Nothing was imputed: {', '.join(few)} is missing for too few people for that; they are left out, and the "
            f"result is that of complete rows."
        )
    return "Nobody misses a value of a term: nothing was imputed, and the result is that of complete rows."


# The plan ------------------------------------------------------------------------------------------------------


def planned(analysis: Any, how: Impute) -> Flow[Plan]:
    """Who misses what, and what is known of the columns."""
    model, ground = model_of(analysis.formula, analysis.ground), analysis.ground
    weights = getattr(analysis, "weights", "")
    positive = weights if name_of(analysis) in ("linear", "glm") else ""
    base = tuple(sorted({*required(analysis), *ground.complete}))
    may = sorted(set(imputable(model, how, weights)) - set(base))
    about, needs = yield from settled(About(analysis.formula, base, (), positive, ground), may)
    hazard: Hazard = ((), ())
    if model.outcome is not None and model.outcome.kind == "surv":
        hazard = yield from cumulative_hazard(analysis.formula, replace(ground, complete=about.base))
    fields = [*_evaluated(model), *([Field(weights)] if weights else [])]
    fields += [_field(name, model, ground) for name in sorted({*_read(model), *how.auxiliary} - set(needs))]
    first = Equations(analysis.formula, tuple(fields), (), hazard)
    most = max((f.width for f in (*fields, *(_field(name, model, ground) for name in needs))), default=0)
    most = max(most, sum(f.width for f in fields))
    asked = {"": Observed(first, most, about, ground)}
    for name, more in needs.items():
        alone = replace(first, fields=(_field(name, model, ground),))
        asked[name] = Observed(alone, most, replace(about, needs=(name, *more)), ground)
    verdicts = yield from together(*(support(o.design) for o in asked.values()))
    known = yield from together(*(ask(o.known) for o in asked.values()))
    return _plan(first, about, needs, dict(zip(asked, zip(asked.values(), verdicts, known, strict=True), strict=True)))


def settled(about: About, may: Sequence[str]) -> Flow[tuple[About, dict[str, tuple[str, ...]]]]:
    """Columns that may be imputed, each with what else must be known where its equation is fitted.

    A column that 1 to k-1 people miss is required of everybody; if so few have one column and miss another, the
    equation of the one is fitted to those who have both.
    """
    needs: dict[str, tuple[str, ...]] = {name: () for name in may}
    while needs:
        verdict = yield from support(Patterns(about, tuple(needs.items())).design)
        names = list(needs)
        flagged = {name for name, grid in verdict.grids.items() if grid.any()}
        few = [name for i, name in enumerate(names) if str(i) in flagged]
        if few:
            about = replace(about, base=tuple(sorted({*about.base, *few})))
            needs = {n: tuple(m for m in more if m not in few) for n, more in needs.items() if n not in few}
            continue
        more = {
            one: tuple(sorted({*needs[one], *(o for j, o in enumerate(names) if f"{i}:{j}" in flagged)}))
            for i, one in enumerate(names)
        }
        if more == needs:
            break
        needs = more
    return about, needs


def cumulative_hazard(formula: str, ground: Ground) -> Flow[Hazard]:
    """The cumulative hazard of everybody on a coarse public ladder: its edges, and its values there."""
    plain = replace(ground, fine=False, step=None)
    follow = FollowUp(f"{formula.split('~', 1)[0]} ~ 1", ground=plain)
    first = yield from support(follow.span)
    shown = yield from follow.shown()
    edges = ladder(plain, horizon_of(first.grids["span"], plain), CELLS)
    verdict = yield from support(follow.table, shown, edges)
    got = yield from ask(follow.exits)
    kinds = follow.kinds()
    parts = dict(zip(kinds, np.split(got.kinds.value, len(kinds)), strict=True))
    maps = {k: verdict.grids[k] for k in kinds}
    cells = cellwise(Table(("all",), (), kinds, parts, maps, np.array(edges), verdict), 0, exact=False)
    if cells is None:
        raise ModelError("too few people have, or do not have, the event for an imputation: ask more hospitals")
    hazard = -np.log(np.maximum(survival(cells).survival, 1e-300))
    return (0.0, *cells.right.tolist()), (0.0, *hazard.tolist())


def _evaluated(model: Model) -> list[Field]:
    """What is evaluated of the formula, rather than read from a column."""
    outcome = model.outcome
    names = ["(outcome)"] if outcome is not None and outcome.kind == "value" else ["(event)", "(hazard)"]
    fields = [Field(name) for name in (*names, *(["(offset)"] if model.offsets else []))]
    if len(model.strata_levels) > MOST_LEVELS:
        raise ModelError(f"{len(model.strata_levels)} strata are too many for an imputation: {MOST_LEVELS} is the most")
    return [*fields, *([Field("(strata)", model.strata_levels)] if model.strata else [])]


def _read(model: Model) -> set[str]:
    """The columns of the terms."""
    found: set[str] = set()
    for f in model.factors:
        if isinstance(f, Category):
            found.add(f.source)
        elif isinstance(f, Number | Basis):
            found |= set((f.expression if isinstance(f, Number) else f.inner).sources())
    return found


def _field(name: str, model: Model, ground: Ground) -> Field:
    """A column: its declared levels, those that the formula gives a number, or a number."""
    declared = ground.schema.levels(name)
    said = next((f.levels for f in model.factors if isinstance(f, Category) and f.source == name), ())
    levels = declared or tuple(map(str, said))
    if len(levels) > MOST_LEVELS:
        raise ModelError(
            f"column {name!r} has {len(levels)} levels; an imputation has {MOST_LEVELS} at most: merge some"
        )
    return Field(name, levels, bool(levels) and declared is None, range=ground.schema.column(name).range)


Known_ = dict[str, tuple[Observed, Verdict, Known]]


def _plan(first: Equations, about: About, needs: dict[str, tuple[str, ...]], asked: Known_) -> Plan:
    """The equations, with mean and SD of every field; who predicts, and who is predicted, fewest missing first."""
    whole, verdict, known = asked.pop("")
    fields = [f for f in _measured(whole.equations.fields, known, verdict.n) if any(f.sd)]
    missing: dict[str, int] = {}
    targets: list[Field] = []
    for name, (observed, own, got) in asked.items():
        (f,) = _measured(observed.equations.fields, got, own.n)
        if own.n == verdict.n:
            fields += [f] if any(f.sd) else []
            continue
        if not all(f.sd) or (f.levels and own.n * (1 - sum(f.mean)) < 0.5):
            raise ModelError(
                f"column {name!r} cannot be imputed: everybody who has it has the same value, or a level has nobody. "
                f"Leave it out, or correct its levels"
            )
        if not f.levels and abs(float(got.other.value[0])) <= 1e-9 * max(own.n, 1):
            f = replace(f, levels=("0", "1"), codes=True)  # all that is known is 0 or 1
        missing[name] = verdict.n - own.n
        targets.append(f)
    targets.sort(key=lambda f: (missing[f.name], f.name))
    places = tuple(range(len(fields), len(fields) + len(targets)))
    equations = replace(first, fields=(*fields, *targets), targets=places)
    return Plan(about, equations, {t.name: needs[t.name] for t in targets}, verdict.n, missing)


def _measured(fields: Sequence[Field], known: Known, n: int) -> list[Field]:
    """Fields with their mean and SD."""
    made, at = [], 0
    for f in fields:
        own = slice(at, at + f.width)
        at += f.width
        mean = known.first.value[own] / max(n, 1)
        variance = known.second.value[own] / max(n, 1) - mean**2
        sd = np.sqrt(np.where(variance > 1e-12 * np.maximum(mean**2, 1e-12), variance, 0.0))
        if f.name.startswith("(strata)") or (f.levels and not sd.all()):
            sd = np.where(sd > 0, sd, 1.0) if sd.any() else sd
        f = replace(f, mean=tuple(mean.tolist()), sd=tuple(sd.tolist()))
        made.append(f)
    return made


def carried(plan: Plan, how: Impute, budget: int, fit: int) -> int:
    """How many imputations are made: those asked for, else 20 or as many as may be answered.

    Says what fits before anything is spent: ModelError where the numbers of the imputation are more than may be
    answered. `fit` is how many numbers an analysis of one completed table takes.
    """
    sizes = [_size(plan.equations, t) for t in plan.equations.targets]
    rounds = how.iterations if len(sizes) > 1 else 0
    once = sum(3 * s * (s + 1) // 2 + 7 * s for s in sizes) + rounds * sum(s * (s + 1) // 2 for s in sizes)
    each = rounds * sum(s + 3 for s in sizes) + fit
    fits = min(MOST, (budget - once) // each)
    if fits < 2:
        raise ModelError(
            f"too few people for imputation: {plan.n:,} people carry {max(budget, 0):,} numbers for it, and two "
            f'imputations of {", ".join(plan.missing)} need {once + 2 * each:,}. Use missing = "complete", or ask for '
            f"fewer iterations, columns or terms, or about more people"
        )
    wanted = how.imputations or min(USUAL, fits)
    if wanted > fits:
        raise ModelError(
            f"{wanted} imputations of {', '.join(plan.missing)} would answer about {once + wanted * each:,} numbers "
            f"about {plan.n:,} people, and {budget:,} may go to an imputation. Set imputations to {fits} at most, or "
            f"leave it out; or ask for fewer iterations, columns or terms, or about more people"
        )
    return int(wanted)


def _numbers(analysis: Any) -> int:
    """About how many numbers a fit to one completed table takes, its support included."""
    q = len(model_of(analysis.formula, analysis.ground).names) + 1
    squares = q * (q + 1) // 2
    return 2 * squares + 4 * q + 12 + (0 if name_of(analysis) == "linear" else squares + 9 * q)


def _size(equations: Equations, target: int) -> int:
    return (len(equations.others(target)) + 1) * equations.fields[target].width


# The chains ----------------------------------------------------------------------------------------------------


def chains_of(plan: Plan, how: Impute, m: int, ground: Ground, differing: Differing) -> Flow[Chained]:
    """Fit every equation once, then go round them; every step draws coefficients for all chains."""
    each = [
        Equation(plan.equations, at, m, replace(plan.about, needs=more), ground)
        for at, more in enumerate(plan.needs.values())
    ]
    modes = yield from together(*(anchored(e) for e in each))
    draws: Draws = tuple(_draw(e, m, how.seed, 0) for e, m in zip(each, modes, strict=True))
    yield from _check_changes(differing, draws)
    traces = [(yield from together(*(ask(e.trace, draws) for e in each)))]
    for iteration in range(1, how.iterations + 1 if len(each) > 1 else 1):
        for e, mode in zip(each, modes, strict=True):
            got = yield from ask(e.sweep, draws, mode.modes)
            _stepped(e, mode, got.score.value, got.squares.value, got.information.value)
            draws = (*draws, _draw(e, mode, how.seed, iteration))
        traces.append((yield from together(*(ask(e.trace, draws) for e in each))))
    return Chained(draws, {e.field.name: _traced(e, [t[i] for t in traces]) for i, e in enumerate(each)})


def _check_changes(asked: Differing, draws: Draws) -> Flow[None]:
    """ModelError where two imputed tables would differ by a few people in a column or term."""
    verdict = yield from support(asked.design)
    got = yield from ask(asked.changes, draws)
    names = [f.name for f in asked.equations.fields for _ in range(f.width)]
    terms = model_of(asked.formula, asked.ground).names
    counts = [*zip(names, got.fields.value, strict=True), *zip(terms, got.terms.value, strict=True)]
    for name, count in counts:
        if 1e-6 < count < FAR * verdict.k:
            raise ModelError(
                f"{name!r} would differ for about {count:.0f} people between two imputed tables; sums over both would "
                f"differ by these few, and {FAR * verdict.k} are needed. Merge levels, leave it out, or use missing = "
                f'"complete"'
            )


def anchored(e: Equation) -> Flow[Mode]:
    """The maximum of an equation at the start: missing predictors at their mean, the same in all chains."""
    verdict = yield from support(e.design)

    def slope(theta: tuple[float, ...]) -> Flow[Slope]:
        got = yield from ask(e.gradient, theta)
        more = pseudo(e, np.array(theta))
        return Slope(_plus(got.loglik, more[0]), _plus(got.score, more[1]))

    def curve(theta: tuple[float, ...]) -> Flow[Curve]:
        got = yield from ask(e.hessian, theta)
        more = pseudo(e, np.array(theta))
        return Curve(
            _plus(got.loglik, more[0]), _plus(got.score, more[1]),
            replace(got.information, value=_ridged(got.information.value + more[2])),
        )  # fmt: skip

    names = tuple(f"{e.field.name}: {i}" for i in range(e.size))
    peak = yield from maximise(np.zeros(e.size), Objective(slope, curve, names, far=np.inf))
    squares = np.full(e.chains, max(-2 * peak.loglik, 1e-10 * verdict.n))
    return Mode(np.tile(peak.beta, (e.chains, 1)), peak.information, squares, verdict.n)


def _plus(s: Sum, more: float | Array) -> Sum:
    return replace(s, value=s.value + more)


def _ridged(information: Array) -> Array:
    """The information with a little more on its diagonal, so that collinear predictors are no error."""
    size = np.diag(information)
    return np.asarray(information + np.diag(RIDGE * np.maximum(size, size.max(initial=0.0) * RIDGE)))


def pseudo(e: Equation, theta: Array) -> tuple[float, Array, Array]:
    """Log-likelihood, score and information of the pseudo-observations: each predictor half an SD either side.

    For each predictor and level two, which weigh as much as there are coefficients of a level (mice's `augment`). A
    number has none.
    """
    p, levels = e.size // e.field.width - 1, len(e.field.levels)
    if not (p and levels):
        return 0.0, np.zeros(e.size), np.zeros((e.size, e.size))
    half = np.vstack([0.5 * np.eye(p), -0.5 * np.eye(p)])
    x = np.column_stack([np.ones(2 * p * levels), np.tile(half, (levels, 1))])
    y = np.repeat(np.eye(levels), 2 * p, axis=0)
    loglik, score, information = multinomial(x, y, theta)
    weight = (p + 1) / len(x)
    return weight * loglik, weight * score, weight * information


def _stepped(e: Equation, mode: Mode, score: Array, squares: Array, information: Array) -> None:
    """One Newton step of every chain from its last mode."""
    more = [pseudo(e, theta) for theta in mode.modes]
    score = score + np.array([m[1] for m in more])
    information = information + np.mean([m[2] for m in more], axis=0)
    mode.information = _ridged(information)
    step = np.linalg.solve(mode.information, score.T).T
    step *= np.minimum(1.0, LONGEST / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-300))
    fall = 2 * (step * score).sum(axis=1) - np.einsum("cp,pq,cq->c", step, information, step)
    mode.squares = np.maximum(squares - fall, 1e-10 * mode.n)
    mode.modes = mode.modes + step


def _draw(e: Equation, mode: Mode, seed: int, iteration: int) -> Array:
    """Coefficients of every chain from their posterior; of a number the residual SD last."""
    rng = np.random.default_rng([seed, iteration, e.target])
    upper = np.linalg.cholesky(np.linalg.inv(mode.information)).T
    z = rng.standard_normal((e.chains, e.size))
    if e.field.levels:
        return np.asarray(mode.modes + z @ upper)
    sigma = np.sqrt(mode.squares / rng.chisquare(max(mode.n - e.size, 1), e.chains))
    return np.column_stack([mode.modes + sigma[:, None] * (z @ upper), sigma])


def _traced(e: Equation, asked: Sequence[Any]) -> Traces:
    """Means and SDs in units of the column."""
    people = round(float(asked[0].people.value))
    mean, sd = np.array(e.field.mean), np.array(e.field.sd)
    first = np.array([t.first.value for t in asked]) / people
    second = np.array([t.second.value for t in asked]) / people
    spread = np.sqrt(np.maximum(second - first**2, 0.0) * people / max(people - 1, 1))
    return Traces(first * sd + mean, spread * sd, people)
