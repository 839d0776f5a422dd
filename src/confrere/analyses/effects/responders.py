"""Who benefits: how the effect of a treatment depends on modifiers, whether that holds in other people, and for whom.

The settings of `method = "responders"`. Some people, or the hospitals of one group, teach the regression of a learner
(`learners`) and a small tree over criteria that the study names (`subgroups`). On the others, who taught nothing, the
predicted effects are calibrated and ranked, the rule "treat if the predicted benefit is larger than a threshold" is
valued (`policy`), and the leaves are tested. Each hospital may keep a card of advice for each of its people.

Sources: Kennedy, Electron J Stat 2023;17:3008; Nie & Wager, Biometrika 2021;108:299; Kuenzel, Sekhon, Bickel & Yu, PNAS
2019;116:4156; Chernozhukov, Demirer, Duflo & Fernandez-Val, NBER 24678, 2018; Athey & Imbens, PNAS 2016;113:7353.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np

from confrere.analyses.causes import cause_number
from confrere.analyses.clusters import assigned
from confrere.analyses.effects import policy, pseudo, stability
from confrere.analyses.effects.effect import Effect, Family
from confrere.analyses.effects.learners import Learner, Regressed, Scores, Side, calibrated, prepared, regressed
from confrere.analyses.effects.measures import record
from confrere.analyses.effects.nuisance import Among, Fitted, means
from confrere.analyses.effects.pseudo import Pseudo
from confrere.analyses.effects.pseudo_curves import PseudoFollowUp, Wanted
from confrere.analyses.effects.pseudo_curves import pseudo as pseudo_of
from confrere.analyses.effects.subgroups import (
    MOST,
    Group,
    Groups,
    Leaves,
    Most,
    Priced,
    Rule,
    Tree,
    candidates,
    groups,
    learnt,
    spelt_out,
    tested,
)
from confrere.analyses.finding import Citation, Finding, Record, attrition, chi_square, coefficients
from confrere.analyses.kaplan_meier import grid_notes
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Bools, Flow, People, T, Verdict, keep, local, register, together, within
from confrere.study.ground import LEFT, Ground, design_of, model_of
from confrere.study.worklist import Worklist

CITE = {
    "dr": Citation(
        "Kennedy EH. Towards optimal doubly robust estimation of heterogeneous causal effects. Electron J Stat "
        "2023;17:3008-3049",
        "10.1214/23-EJS2157",
    ),
    "r": Citation(
        "Nie X, Wager S. Quasi-oracle estimation of heterogeneous treatment effects. Biometrika 2021;108:299-319",
        "10.1093/biomet/asaa076",
    ),
    "x": Citation(
        "Kuenzel SR, Sekhon JS, Bickel PJ, Yu B. Metalearners for estimating heterogeneous treatment effects using "
        "machine learning. Proc Natl Acad Sci USA 2019;116:4156-4165",
        "10.1073/pnas.1804597116",
    ),
}
CHERNOZHUKOV = Citation(
    "Chernozhukov V, Demirer M, Duflo E, Fernandez-Val I. Generic machine learning inference on heterogeneous "
    "treatment effects in randomized experiments. NBER Working Paper 24678, 2018",
    "10.3386/w24678",
)
YADLOWSKY = Citation(
    "Yadlowsky S, Fleming S, Shah N, Brunskill E, Wager S. Evaluating treatment prioritization rules via "
    "rank-weighted average treatment effects. J Am Stat Assoc 2025;120:38-51",
    "10.1080/01621459.2024.2393466",
)
POLICY = Citation(
    "Athey S, Wager S. Policy learning with observational data. Econometrica 2021;89:133-161", "10.3982/ECTA15732"
)
ATHEY = Citation(
    "Athey S, Imbens G. Recursive partitioning for heterogeneous causal effects. Proc Natl Acad Sci USA "
    "2016;113:7353-7360",
    "10.1073/pnas.1510489113",
)
ANDERSEN = Citation(
    "Andersen PK, Syriopoulou E, Parner ET. Causal inference in survival analysis using pseudo-observations. Stat Med "
    "2017;36:2669-2681",
    "10.1002/sim.7297",
)
BOUNDS = (("classes", 2, 20), ("depth", 1, 2), ("least", 20, 10**9), ("threshold", 0, 1e300), ("repeats", 1, 50))
STAYS = "The cards of advice stayed in each hospital; only sums left."


@register("responders")
@dataclass(frozen=True)
class Responders:
    """How the effect of `treatment` on `outcome` depends on `modifiers`, given the `confounders`; and who benefits.

    Treatment, outcome, confounders, family, propensity: as of `Effect`. `modifiers` is the right side of a formula,
    splines included. `learner` is `dr`, `r` or `x`; `outcome_model` is the right side of the outcome model (treatment
    times confounders unless given). Models are cross-fitted in `folds`, by a keyed hash of the person. `truncate` are
    two bounds of the propensity in scores; people beyond get no advice. Where the outcome is `Surv(time, event)`, the
    effect is on the restricted mean until `tau`, or on the risk at `time` (of the `cause`, where causes compete).
    Censoring may depend on the treatment, and on the columns with levels that `censoring` names.

    With `learn` and `test`, two groups of hospitals, or with `halves` of the people, the effect is learnt in one and
    tested in the other, in `classes` of the predicted effect. `subgroups` are criteria such as `age >= 65`, or columns
    with declared levels or range, of which a tree of `depth` 1 or 2 is grown, each leaf of `least` people or more: a
    `causal` tree splits where effects differ most, a `policy` tree is the one by which people gain the most.
    `repeats` does all of it so many times with other folds and halves; `swap` has the sides teach each other.
    `benefit` says which outcome is better, `threshold` how much better it must be for a treatment. With `worklist`,
    each hospital keeps a card for each of its people in a list called `title`; `purpose` says what for.

    Finding: tables `effects`, `coefficients`, `tests`; of testing people `calibration`, `groups`, `ranking`, `value`,
    `subgroups`; of several splits `stability`, `rules`; `attrition`. Errors: FormulaError, StudyError; ModelError as of
    `Effect`, and for collinear modifiers.
    """

    treatment: str
    outcome: str
    confounders: str
    modifiers: str
    learner: Learner = "dr"
    family: Family = ""
    propensity: str | float = "logistic"
    outcome_model: str = ""
    truncate: tuple[float, float] = (0.02, 0.98)
    folds: int = 2
    learn: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    halves: bool = False
    classes: int = 5
    subgroups: tuple[str, ...] = ()
    tree: Literal["causal", "policy"] = "causal"
    depth: int = 2
    least: int = 50
    repeats: int = 1
    swap: bool = False
    tau: float | None = None
    time: float | None = None
    cause: str = ""
    censoring: tuple[str, ...] = ()
    benefit: Literal["higher", "lower"] = "higher"
    threshold: float = 0.0
    worklist: bool = False
    title: str = "Advice on treatment"
    purpose: str = ""
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings and formulas, against what the study declares: StudyError, FormulaError."""
        if not self.ground.person:
            raise StudyError('folds are made of person ids: add person = "..." under [data]')
        _check_choices(self)
        _check_followed(self)
        self.effect.check()
        right = model_of(f"~ {self.modifiers}", self.ground).columns
        left = model_of(f"{self.outcome} ~ 1", self.ground).columns
        if both := {self.treatment, *left} & {*right, *self.censoring}:
            raise FormulaError(f"{min(both)!r} is treatment or outcome, and a modifier too: leave it out")
        model = model_of(self.scores().modelling, self.ground)
        if not model.names or not model.intercept or model.strata or model.offsets:
            raise FormulaError(f"modifiers = {self.modifiers!r}: give terms, without 0 +, strata() or offset()")
        if len(self.criteria) > MOST:
            raise StudyError(
                f"subgroups gives {len(self.criteria)} criteria: {list(self.criteria)}; give {MOST} at most"
            )

    # public

    @property
    def criteria(self) -> tuple[str, ...]:
        """The criteria of subgroups; a column gives one for each declared level, or cuts its declared range."""
        return tuple(dict.fromkeys(text for entry in self.subgroups for text in spelt_out(entry, self.ground)))

    @property
    def formula(self) -> str:
        """All that the study reads, with the sets of people that subgroups tell about, in one formula."""
        pairs = [f"I(({a}) * ({b}))" for a, b in combinations(self.criteria, 2)] if self.depth > 1 else []
        more = [self.outcome_model] if self.outcome_model else []
        parts = [self.treatment, self.confounders, self.modifiers, *more, *(f"I({c})" for c in self.criteria), *pairs]
        return f"{self.outcome} ~ {' + '.join(parts)}"

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The groups of hospitals that the settings fix."""
        return tuple(tuple(sorted(g)) for g in (self.learn, self.test) if g)

    @property
    def effect(self) -> Effect:
        """The average effect among the same people: its models are those of the scores."""
        columns = {*self.ground.complete, *model_of(self.formula, self.ground).columns}
        whole = tuple(sorted(columns, key=lambda name: (name != LEFT, name)))
        outcome = pseudo.COLUMN if self.followed else self.outcome
        family: Family = "gaussian" if self.followed else self.family
        return Effect(
            self.treatment, outcome, self.confounders, "aipw", family=family, propensity=self.propensity,
            outcome_model=self.outcome_model or f"{self.treatment} * ({self.confounders})", truncate=self.truncate,
            folds=self.folds, ground=replace(self.ground, complete=whole),
        )  # fmt: skip

    @property
    def followed(self) -> bool:
        """Whether the outcome is the time to an event."""
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        return outcome is not None and outcome.kind == "surv"

    @property
    def valued(self) -> dict[str, tuple[float, ...]]:
        """Times beyond the one that is asked about, for the dummy people of a manifest."""
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        columns = () if outcome is None or outcome.time is None else outcome.time.sources()
        return dict.fromkeys(columns, tuple(self.wanted.time * part / 8 for part in range(1, 17)))

    @property
    def wanted(self) -> Wanted:
        """What is read off the curves of follow-up."""
        if self.tau is not None:
            return Wanted("RMST", self.tau)
        number = cause_number(f"{self.outcome} ~ 1", self.ground, self.cause) - 1 if self.cause else -1
        return Wanted("risk", float(self.time or 0.0), number)

    @property
    def measure(self) -> str:
        """What the average effect is called; by the family where it is no time to an event."""
        return f"{self.wanted.measure} difference" if self.followed else ""

    @property
    def priced(self) -> Priced:
        """What the rule asks of a predicted effect."""
        return Priced(1.0 if self.benefit == "higher" else -1.0, self.threshold)

    @property
    def most(self) -> Most:
        """Public bounds of the sets that sums are told of, and of their patterns, by learning or by testing people."""
        many, used = len(self.criteria), min(len(self.criteria), 2**self.depth - 1)
        sets = 1 + max(len(candidates(many)), self.classes + 2**self.depth)
        return Most(sets, max(2 << many, (self.classes + 1) * (2 << used)))

    def scores(self, half: int = -1, made: Pseudo | None = None, deal: int = 0) -> Scores:
        """The scores of everybody, or of a half of the people."""
        effect = self.effect
        needs = (*effect.among.needs, f"{self.treatment} ~ {self.modifiers}")
        return Scores(effect, Among(needs, half=half, pseudo=made, deal=deal), self.modifiers, self.learner)

    def curves(self, half: int, deal: int) -> PseudoFollowUp:
        """Who of the people of the scores leaves when, by treatment and what censoring depends on."""
        effect, wanted = self.effect, self.wanted
        right = effect.outcoming.partition("~")[2]
        needs = (effect.treating, f"~ {right}", f"{self.treatment} ~ {self.modifiers}")
        groups = " + ".join((self.treatment, *self.censoring))
        ground = effect.ground.marked(wanted.time)
        return PseudoFollowUp(f"{self.outcome} ~ {groups}", ground=ground, among=Among(needs, half=half, deal=deal))

    # inside each hospital

    @local()
    def advised(self, people: People, card: policy.Card, propensity: tuple[Fitted, ...]) -> Worklist:
        """A card for each of this hospital's people who miss no modifier nor confounder; they stay here."""
        ground = self.ground
        made = design_of(people, f"~ {self.confounders} + {self.modifiers}", ground)
        frame = people.table.frame[made.rows]
        pooled = {name: (mean, sd) for name, mean, sd in ground.pooled}
        x = model_of(f"~ {self.confounders}", ground).evaluate(frame, pooled).x
        v = model_of(f"~ {self.modifiers}", ground).evaluate(frame, pooled).x
        e = np.mean([means(x, m).mu for m in propensity], axis=0)
        low, high = self.truncate
        outside = (e < low) | (e > high) | self._beyond(frame, made.columns)
        return assigned(self, people, policy.cards(card, v, outside, self.priced), made, self.title)

    def _beyond(self, frame: Any, columns: Sequence[str]) -> Bools:
        """Who is at an end of a declared range, or beyond it (n,): values there were clamped."""
        found = np.zeros(len(frame), dtype=bool)
        for name in columns:
            if (ends := self.ground.schema.column(name).range) is not None:
                values = np.asarray(frame[name], dtype=float)
                found |= (values <= ends[0]) | (values >= ends[1])
        return found

    # sums only

    def flow(self) -> Flow[Finding]:
        """Learn; test on the others; the same in other splits; keep the cards."""
        made = yield from together(*(self._split(deal) for deal in range(self.repeats)))
        first: Way = made[0][0]
        tables = first.tables
        if len(ways := [way for split in made for way in split]) > 1:
            names = [f"{deal}{' swapped' * place}" for deal, split in enumerate(made, 1) for place in range(len(split))]
            told = [way.tables for way in ways]
            tables = tables | {"stability": stability.splits(names, told)}
            if found := stability.rules(told):
                tables |= {"rules": found}
        if self.worklist:
            side = first.sides[0]
            yield from keep(self.advised, policy.card_of(first.found, side.scores.names), side.models.propensity)
        return _finding(self, first, tables)

    def _split(self, deal: int) -> Flow[tuple[Way, ...]]:
        """One split of the people, and where roles are swapped, both ways."""
        honest = bool(self.learn) or self.halves
        parts = [(self.learn, 0), (self.test, 1)] if honest else [((), -1)]
        made = [_of(group, self._prepared(half if self.halves else -1, deal)) for group, half in parts]
        sides = yield from together(*made)
        groups = [group for group, _ in parts]
        ways = [_way(self, sides, groups)]
        if self.swap:
            ways.append(_way(self, sides[::-1], groups[::-1]))
        return (yield from together(*ways))

    def _prepared(self, half: int, deal: int) -> Flow[Side]:
        """One side; where people are followed, their curves go first."""
        made = (yield from pseudo_of(self.curves(half, deal), self.wanted)) if self.followed else None
        return (yield from prepared(self.scores(half, made, deal)))


class Way(NamedTuple):
    """What one side taught, tested in the other if there is one."""

    sides: tuple[Side, ...]
    found: Regressed
    tables: dict[str, list[Record]]


def _way(method: Responders, sides: Sequence[Side], groups: Sequence[Sequence[str]]) -> Flow[Way]:
    """Learn in the first side, test in the second."""
    side, *others = sides
    found: Regressed = yield from _of(groups[0], regressed(side))
    tables = _learnt(method, side, found)
    if others:
        asked = Tree(method.tree, method.criteria, method.depth, method.least, method.priced, method.most)
        leaves = yield from _of(groups[0], learnt(side, asked))
        more = yield from _of(groups[1], _tested(method, others[0], found.prediction, leaves))
        tables["effects"] += more.pop("effects")
        tables |= more
    return Way(tuple(sides), found, tables)


def _of(group: Sequence[str], flow: Flow[T]) -> Flow[T]:
    """A flow of a group of hospitals, or of all."""
    return within(",".join(sorted(group)), flow) if group else flow


def _learnt(method: Responders, side: Side, found: Regressed) -> dict[str, list[Record]]:
    """Average effect, coefficients, and the test of heterogeneity."""
    se = np.sqrt(np.diag(found.covariance))
    b, v = found.estimate[1:], found.covariance[1:, 1:]
    return {
        "effects": [_average(method, side, *found.average)],
        "coefficients": coefficients(side.scores.names, found.estimate, se),
        "tests": [chi_square("the effect is the same for all", float(b @ np.linalg.solve(v, b)), len(b))],
    }


def _average(method: Responders, side: Side, estimate: float, se: float, who: str = "learning") -> Record:
    measure = method.measure or ("risk difference" if side.family == "binomial" else "mean difference")
    return {"people": who, "n": side.verdict.n, **record(measure, estimate, se)}


class Asked(NamedTuple):
    """The sets of testing people: at or above each edge of the predicted effect, and in each leaf."""

    edges: tuple[float, ...]
    leaves: tuple[Rule, ...]
    criteria: tuple[str, ...]


def _asked(method: Responders, leaves: Sequence[Rule], spread: tuple[float, float], reach: float) -> Asked:
    """Edges of classes and of the rule; leaves over the criteria that they use."""
    used = sorted({j for leaf in leaves for j, _ in leaf})
    at = method.priced.sign * method.threshold / reach
    edges = tuple(sorted({*policy.edges_of(*spread, method.classes), at}))
    place = {j: i for i, j in enumerate(used)}
    mapped = tuple(tuple(sorted((place[j], met) for j, met in leaf)) for leaf in leaves if leaf)  # alike in all splits
    return Asked(edges, mapped, tuple(method.criteria[j] for j in used))


def _tested(method: Responders, side: Side, prediction: Fitted, leaves: Leaves) -> Flow[dict[str, list[Record]]]:
    """Calibration, classes of predicted effects, ranking, value of the rule, leaves: of people who taught nothing."""
    line, vcov, spread = yield from calibrated(side, prediction)
    reach, scale, priced = prediction.frame.reach, side.models.scale, method.priced
    asked = _asked(method, leaves.rules, spread, reach)
    on = Groups(*side.scores.settings, asked.criteria, asked.leaves, method.most, prediction, asked.edges)
    everybody, *sets = yield from groups(on, side.models)
    se = np.sqrt(np.diag(vcov))
    tables = {"calibration": coefficients(("average effect", "slope"), line, se)}
    if everybody is None:
        return {"effects": [], **tables}
    above, found = sets[: len(asked.edges)], sets[len(asked.edges) :]
    divided = policy.classes(asked.edges, above, everybody)
    tables["groups"] = policy.by_class(divided, scale.sd, reach)
    if ranks := policy.ranking(divided, (scale.sd, priced.sign)):
        tables["ranking"] = ranks
    rules: dict[str, Group] = {}
    if (at := above[asked.edges.index(priced.sign * priced.threshold / reach)]) is not None:
        rules["rule"] = policy.chosen(everybody, at, priced)
    if asked.leaves:
        rows = tested(asked.leaves, asked.criteria, found, (scale.sd, priced.sign), everybody)
        tables["subgroups"] = [row | {"treat": treat} for row, treat in zip(rows, leaves.treat, strict=True)]
        if (treated := policy.joined(everybody, found, leaves.treat)) is not None:
            rules["tree"] = treated
    if rules:
        tables["value"] = policy.valued(everybody, rules, priced, (scale.mean, scale.sd))
    effect = scale.sd * everybody.effect, scale.sd * float(np.sqrt(everybody.variance))
    return {"effects": [_average(method, side, *effect, who="testing")], **tables}


def _finding(method: Responders, way: Way, tables: dict[str, list[Record]]) -> Finding:
    """The tables, and what to know of them."""
    sides, found = way.sides, way.found
    side = sides[0]
    whole = _whole([s.verdict for s in sides], method.halves)
    tables["attrition"] = attrition(whole)
    leaves = tables.get("subgroups", [])
    rules, treat = ([r["rule"] for r in leaves if r.get(key)] for key in ("benefits", "treat"))
    family = "survival" if method.followed else side.family
    facts: dict[str, Any] = {"learner": method.learner, "family": family, "rules": "; ".join(rules)}
    if leaves:
        facts["treat"] = " or ".join(f"({rule})" for rule in treat)
    notes = (*(grid_notes(method.ground) if method.followed else ()), *((STAYS,) if method.worklist else ()))
    trees = {"causal": (ATHEY,), "policy": (POLICY,)}[method.tree] if leaves else ()
    cite = (*((ANDERSEN,) if method.followed else ()), CITE[method.learner],
            *((CHERNOZHUKOV, YADLOWSKY) if len(sides) > 1 else ()), *trees,
            *((stability.MEINSHAUSEN,) if "rules" in tables else ()))  # fmt: skip
    return Finding(
        "responders", whole.n, whole.hospitals, tables, facts=facts, arrays={"vcov": found.covariance},
        notes=notes, cite=cite,
    )  # fmt: skip


def _whole(verdicts: Sequence[Verdict], halves: bool) -> Verdict:
    """Learning and testing people together: halves of the same hospitals, or those of two groups."""
    first, n = verdicts[0], sum(v.n for v in verdicts)
    if halves:
        return first._replace(n=n, left_out=tuple((r, m) for r, m in first.left_out if r != Among(half=0).reason))
    counts = [dict(v.left_out) for v in verdicts]
    left = {r: [c[r] for c in counts] for r in counts[0]}
    total = tuple((r, None if None in m else sum(i or 0 for i in m)) for r, m in left.items())
    return first._replace(n=n, hospitals=sum(v.hospitals for v in verdicts), left_out=total)


# Settings -----------------------------------------------------------------------------------------------------


def _check_followed(method: Responders) -> None:
    """What is asked of times to events; and not of other outcomes."""
    outcome = model_of(f"{method.outcome} ~ 1", method.ground).outcome
    if not method.followed:
        if method.tau is not None or method.time is not None or method.cause or method.censoring:
            raise StudyError("tau, time, cause and censoring are of an outcome Surv(time, event); leave them out")
        return
    if outcome is None or outcome.entry is not None:
        raise FormulaError(f"outcome = {method.outcome!r}: follow-up begins at time zero; write Surv(time, event)")
    if (method.tau is None) == (method.time is None) or not 0 < (method.tau or method.time or 0.0) < np.inf:
        raise StudyError(
            "the effect on Surv(time, event) is on the mean until `tau`, or on the risk at `time`: give one"
        )
    if method.family:
        raise StudyError("an outcome Surv(time, event) has no family: leave it out")
    if (len(outcome.causes) > 2) != bool(method.cause):
        raise StudyError("cause is given where causes compete, and only there: name one of the event's levels, or none")
    if method.cause and method.tau is not None:
        raise StudyError("causes compete, and tau ends a mean until any event: give `time` instead of it")
    for name in method.censoring:
        if method.ground.schema.levels(name) is None:
            raise StudyError(f"censoring: {name!r} has no declared levels; add them, or leave it out")


def _check_choices(method: Responders) -> None:
    """Settings that do not go together."""
    if bool(method.learn) != bool(method.test) or (method.learn and method.halves):
        raise StudyError("`learn` and `test` are two groups of hospitals: give both, or neither, or set `halves` alone")
    for name in ("learn", "test"):
        if 0 < len(set(getattr(method, name))) < 3:
            raise StudyError(f"{name} names fewer than 3 hospitals; a sum needs 3: add one, or set `halves`")
    if both := sorted(set(method.learn) & set(method.test)):
        raise StudyError(f"{', '.join(both)} are in `learn` and in `test`; leave them out of one")
    if method.subgroups and not (method.learn or method.halves):
        raise StudyError("subgroups are tested on other people: give `learn` and `test`, or set `halves`")
    if method.swap and not (method.learn or method.halves):
        raise StudyError("swap has two sides teach each other: give `learn` and `test`, or set `halves`")
    if not 2 <= method.folds <= 20:
        raise StudyError(f"folds is {method.folds}; it is 2 to 20")
    for name, least, most in BOUNDS:
        if not least <= getattr(method, name) <= most:
            raise StudyError(f"{name} is {getattr(method, name)}; choose from {least} to {most:g}")
    if not method.title.strip() or not method.title.isprintable():
        raise StudyError(f"title is {method.title!r}; give the list a name that clinicians will recognise")
