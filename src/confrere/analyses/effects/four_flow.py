"""The flow of two treatments together: the four arms, and what their means, risks or hazards say.

The rounds: people and outcomes by arm; then one regression, or the models of propensity and outcome, whether a few
carry an arm, sums of weights and outcomes (the means), derivatives and squares (`four_arms`). Of times the means are
risks at times and restricted means, read off weighted curves (`four_curves`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.cox import Cox
from confrere.analyses.curves import suppressed
from confrere.analyses.effects import curve_tables, joint, measures
from confrere.analyses.effects.arms import Scale
from confrere.analyses.effects.curve_tables import Wanted
from confrere.analyses.effects.four_arms import FOUR, FourArms, Models, Outcomes
from confrere.analyses.effects.four_curves import FourCurves
from confrere.analyses.effects.influence import lean_of
from confrere.analyses.effects.interaction import Interaction
from confrere.analyses.effects.means import HERNAN, few, guessed_family
from confrere.analyses.effects.nuisance import Learned, Nuisance, learned
from confrere.analyses.effects.survival import COLE
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, count
from confrere.analyses.glm import Glm
from confrere.errors import ModelError
from confrere.rounds import Array, Flow, Verdict, ask, support, together

VANDERWEELE = Citation(
    "VanderWeele TJ, Knol MJ. A tutorial on interaction. Epidemiol Methods 2014;3:33-72", "10.1515/em-2013-0005"
)
HOSMER = Citation(
    "Hosmer DW, Lemeshow S. Confidence interval estimation of interaction. Epidemiology 1992;3:452-456",
    "10.1097/00001648-199209000-00012",
)
LI = Citation(
    "Li R, Chambless L. Test for additive interaction in proportional hazards models. Ann Epidemiol 2007;17:227-236",
    "10.1016/j.annepidem.2006.10.009",
)
REACH = 1.959963984540054
MEASURES = {"gaussian": "mean difference", "binomial": "odds ratio", "poisson": "rate ratio"}  # of regressions
RARE = "The measures are of odds ratios, which stand for risk ratios only where the outcome is rare."
LOWER = (
    "An arm has less of the outcome than those with neither treatment: RERI, attributable proportion and synergy index "
    "are meant for factors that raise it. Read the difference of differences, or let the arm with the least be neither."
)


class Parts(NamedTuple):
    """What an estimator gives a finding; `arms` are more fields of the four."""

    tables: dict[str, list[Record]]
    arms: list[Record]
    arrays: dict[str, Array]
    said: tuple[Caution, ...] = ()
    notes: tuple[str, ...] = ()
    grid: str = ""  # of times, in words
    rates: Array | None = None  # outcomes of the arms (4,) by which a treatment raises or lowers them; else as counted


class Found(NamedTuple):
    """What a finding is made of: people and outcomes by arm, and the parts of its estimator."""

    verdict: Verdict
    people: Array
    outcomes: Array
    family: str
    parts: Parts


def estimated(study: Interaction) -> Flow[Finding]:
    """The flow of an interaction."""
    arms = FourArms(study)
    verdict = yield from support(arms.design)
    start = yield from ask(arms.outcomes)
    family = "survival" if study.followed else study.family or guessed_family(start.outcome.value)
    _check(study, start, family)
    if study.estimator == "regression":
        parts = yield from _regressed(arms, family)
    elif study.followed:
        parts = yield from _followed(arms, start)
    else:
        parts = yield from _standardised(arms, start, family)
    return _finding(study, Found(verdict, start.people.value, start.arms.value, family, parts))


def _check(study: Interaction, start: Outcomes, family: str) -> None:
    """Every arm has people, and outcomes that differ."""
    people, n = start.people.value, float(start.people.value.sum())
    if people.min() < 0.5:
        raise ModelError(f"nobody has {_worded(study, int(people.argmin()))}: an interaction needs people in all arms")
    y, yy = start.outcome.value / n
    if family != "survival" and yy - y**2 <= 1e-13 * max(y**2, 1e-20):
        raise ModelError("the outcome is the same for everybody: there is no effect to find. Check its column")
    if family != "gaussian" and start.arms.value.min() <= 0:
        arm = int(start.arms.value.argmin())
        raise ModelError(f"nobody who has {_worded(study, arm)} has the outcome: no ratio can be told. Ask more people")


def _worded(study: Interaction, arm: int) -> str:
    return ("neither treatment", f"{study.first} alone", f"{study.second} alone", "both treatments")[arm]


def _regressed(arms: FourArms, family: str) -> Flow[Parts]:
    """Ratios given the confounders, or differences: from one regression."""
    study = arms.study
    model: Any = (
        Cox(study.outcoming, study.ties, study.baseline, diagnostics=False, ground=study.about)
        if family == "survival"
        else Glm(study.outcoming, family, ground=study.about)
    )
    fit: Finding = yield from model.flow()
    terms = [row["term"] for row in fit.tables["coefficients"]]
    at = [terms.index(name) for name in study.product]
    b, vcov = fit.arrays["estimate"][at], fit.arrays["vcov"][np.ix_(at, at)]
    measure = MEASURES.get(family, "hazard ratio")
    names = joint.contrasts(*study.treatments)
    tables = {"effects": joint.of_logs(names, measure, b, vcov), "interaction": joint.of_regression(measure, b, vcov)}
    return Parts(tables, [{} for _ in range(FOUR)], {"estimate": b, "vcov": vcov}, fit.warnings)


def _standardised(arms: FourArms, start: Outcomes, family: str) -> Flow[Parts]:
    """The four means with their covariance, and what they say."""
    study = arms.study
    learnt = yield from together(*_flows(study, family))
    models = _models(study, learnt, start)
    if study.weighs:
        yield from support(arms.weighed, models.propensity)
    totals = yield from ask(arms.totals, models)
    number, weight, square = totals.arms.value.T
    base = tuple(totals.base.value.tolist())
    mean = tuple((number / totals.base.value).tolist())
    got = yield from ask(arms.derivatives, models, mean)
    ends = np.cumsum([len(m.model.beta) for m in learnt])
    leans = tuple(lean_of(m, d) for m, d in zip(learnt, np.split(got.by.value, ends[:-1], axis=1), strict=True))
    second = (yield from ask(arms.squares, models, mean, base, leans)).second.value
    mu, vcov = models.scale.mean + models.scale.sd * np.array(mean), models.scale.sd**2 * second
    se, effective = np.sqrt(np.diag(vcov)), weight**2 / square
    rows: list[Record] = [
        {"effective_n": float(effective[j]), "estimate": float(mu[j]), "std_error": float(se[j]),
         "conf_low": float(mu[j] - REACH * se[j]), "conf_high": float(mu[j] + REACH * se[j])}
        for j in range(FOUR)
    ]  # fmt: skip
    names = joint.contrasts(*study.treatments)
    found = joint.of_means(names, measures.BY_FAMILY[family], mu, vcov)
    tables = {"effects": found, "interaction": joint.interaction(family, mu, vcov)}
    said = _heavy(study, effective / start.people.value) if study.weighs else ()
    return Parts(tables, rows, {"mean": mu, "vcov": vcov}, said)


def _followed(arms: FourArms, start: Outcomes) -> Flow[Parts]:
    """Risks at times and restricted means of the four arms with their covariance, and what they say."""
    study = arms.study
    learnt = yield from together(*_flows(study, "survival"))
    models = _models(study, learnt, start)
    yield from support(arms.weighed, models.propensity)
    follow = FourCurves(f"{study.outcome} ~ {study.confounders}", "propensity", study.about, study, models.propensity)
    got = yield from follow.followed()
    _check_curves(study, [suppressed(got.weighted, g) for g in range(FOUR)])
    _, weight, square = (yield from ask(arms.totals, models)).arms.value.T
    effective = weight**2 / square
    drawn = curve_tables.drawn_of(study, got, ("",), study.arms)
    wanted = [w for w in drawn.wanted if w.kind == "risk" or study.tau is not None]  # no number that nobody asked for
    if late := curve_tables.beyond(drawn, wanted):
        raise ModelError(f"nobody of an arm is followed until {late[0]:g}: ask for earlier times")
    by_counts = curve_tables.derivatives(drawn, got.weighted, wanted, ())  # limits of whole curves would tell too much
    spread = yield from follow.spread(by_counts, len(wanted), learnt)
    curves = curve_tables.tables(drawn, wanted, (), spread.variance)
    mean = np.array([[drawn.read(j, w).value for j in range(FOUR)] for w in wanted])
    vcov = np.array([spread.among(FOUR, i) for i in range(len(wanted))])
    risks = mean[[w.kind == "risk" for w in wanted]]
    return Parts(
        {**_read_off(study, wanted, mean, vcov), **curves.tables}, [{"effective_n": float(n)} for n in effective],
        {"mean": mean, "vcov": vcov}, (*_heavy(study, effective / start.people.value), *curves.warnings),
        curves.notes, curves.grid, risks[-1] if len(risks) else np.zeros(FOUR),
    )  # fmt: skip


def _check_curves(study: Interaction, left_out: list[bool]) -> None:
    """Every arm has a curve."""
    if any(left_out):
        raise ModelError(
            f"there is no curve of those who have {_worded(study, left_out.index(True))}: fewer people, events or "
            f"censorings than may be shown. An interaction needs all four: ask about more people, or follow for longer"
        )


def _read_off(study: Interaction, wanted: list[Wanted], mean: Array, vcov: Array) -> dict[str, list[Record]]:
    """Effects and interaction of each value (4,) that is read off the curves, with its time."""
    names = joint.contrasts(*study.treatments)
    effects: list[Record] = []
    found: list[Record] = []
    for w, m, v in zip(wanted, mean, vcov, strict=True):
        if not v.any():  # nobody has the event yet
            continue
        if w.kind == "risk":
            which = ["risk difference", *(["risk ratio"] if m.min() > 0 else [])]
            rows = joint.interaction("survival", m, v)
        else:
            which, rows = ["RMST difference"], [joint.additive("difference of RMST differences", m, v)]
        effects += [_at(row, w.time) for row in joint.of_means(names, which, m, v)]
        found += [_at(row, w.time) for row in rows]
    if not found:
        raise ModelError(f"nobody has the event by {wanted[-1].time:g}: ask for later times", about="no-events")
    return {"effects": effects, "interaction": found}


def _at(record: Record, time: float) -> Record:
    """A record with its time after its measure."""
    fields = list(record)
    last = fields.index("measure") + 1
    return {**{f: record[f] for f in fields[:last]}, "time": time, **{f: record[f] for f in fields[last:]}}


def _flows(study: Interaction, family: str) -> Iterator[Flow[Learned]]:
    """The models: both propensities, then that of the outcome, as far as the estimator has them."""
    if study.weighs:
        for formula, name in zip(study.treating, study.treatments, strict=True):
            glm = Nuisance(formula, "binomial", ground=study.about, among=study.among)
            yield learned(glm, f"the propensity of {name}")
    if study.standardises:
        yield learned(Nuisance(study.outcoming, family, ground=study.about, among=study.among), "the outcome model")


def _models(study: Interaction, learnt: tuple[Learned, ...], start: Outcomes) -> Models:
    y, yy = start.outcome.value / start.people.value.sum()
    found, many = tuple(m.model for m in learnt), 2 if study.weighs else 0
    sd = float(np.sqrt(max(yy - y**2, 0.0))) or 1.0  # of times everybody may have the event
    return Models(found[:many], found[many:], Scale(float(y), sd))


def _heavy(study: Interaction, share: Array) -> tuple[Caution, ...]:
    """Arms that a few people carry."""
    if share.min() >= 0.5:
        return ()
    text = (
        f"The weights leave {share.min():.0%} of the information of those who have "
        f"{_worded(study, int(share.argmin()))}: a few people count for many. Set truncate."
    )
    return (Caution("extreme-weights", text),)


def _finding(study: Interaction, f: Found) -> Finding:
    """The tables, and what to know of them."""
    marked = f.family in ("binomial", "survival")
    parts, rows = f.parts, []
    for j, (arm, more) in enumerate(zip(study.arms, parts.arms, strict=True)):
        events = count("events", float(f.outcomes[j]), f.verdict.k) if marked else {}
        rows.append({"arm": arm, "n": round(f.people[j]), **events, **more})
    rates = f.outcomes / f.people if parts.rates is None else parts.rates
    rarer = np.minimum(f.outcomes, np.inf if f.family == "survival" else f.people - f.outcomes)
    hazards = f.family == "survival" and study.estimator == "regression"
    notes: tuple[str, ...] = (RARE,) if study.estimator == "regression" and f.family == "binomial" else ()
    notes += (LOWER,) if f.family != "gaussian" and rates[0] > rates.min() else ()
    facts = {"estimator": study.estimator, **({} if f.family == "survival" else {"family": f.family})}
    facts |= {"grid": parts.grid} if parts.grid else {}
    tables = {**parts.tables, "arms": rows, "attrition": attrition(f.verdict)}
    return Finding(
        "interaction", f.verdict.n, f.verdict.hospitals, tables, events=round(f.outcomes.sum()) if marked else None,
        facts=facts, arrays=parts.arrays, notes=(*notes, *parts.notes),
        warnings=(*(few(rarer) if marked else ()), *parts.said),
        cite=(VANDERWEELE, HOSMER, *((LI,) if hazards else ()), *((COLE,) if parts.grid else ()), HERNAN),
    )  # fmt: skip
