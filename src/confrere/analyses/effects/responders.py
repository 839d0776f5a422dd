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

from confrere.analyses.clusters import assigned
from confrere.analyses.effects import policy
from confrere.analyses.effects.effect import Effect, Family
from confrere.analyses.effects.learners import Learner, Regressed, Scores, Side, calibrated, prepared, regressed
from confrere.analyses.effects.measures import record
from confrere.analyses.effects.nuisance import Among, Fitted, means
from confrere.analyses.effects.subgroups import MOST, Groups, Most, Rule, Tree, candidates, groups, learnt, tested
from confrere.analyses.finding import Citation, Finding, Record, attrition, chi_square, coefficients
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Bools, Flow, People, T, Verdict, keep, local, register, together, within
from confrere.study.criteria import Criterion, Joined, criterion
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
ATHEY = Citation(
    "Athey S, Imbens G. Recursive partitioning for heterogeneous causal effects. Proc Natl Acad Sci USA "
    "2016;113:7353-7360",
    "10.1073/pnas.1510489113",
)
STAYS = "The cards of advice stayed in each hospital; only sums left."


@register("responders")
@dataclass(frozen=True)
class Responders:
    """How the effect of `treatment` on `outcome` depends on `modifiers`, given the `confounders`; and who benefits.

    Treatment, outcome, confounders, family, propensity: as of `Effect`. `modifiers` is the right side of a formula,
    splines included. `learner` is `dr`, `r` or `x`; `outcome_model` is the right side of the outcome model (treatment
    times confounders unless given). Models are cross-fitted in `folds`, by a keyed hash of the person. `truncate` are
    two bounds of the propensity in scores; people beyond get no advice.

    With `learn` and `test`, two groups of hospitals, or with `halves` of the people, the effect is learnt in one and
    tested in the other, in `classes` of the predicted effect. `subgroups` are criteria such as `age >= 65`, or columns
    with declared levels or range, of which a tree of `depth` 1 or 2 is grown, each leaf of `least` people or more.
    `benefit` says which outcome is better, `threshold` how much better it must be for a treatment. With `worklist`,
    each hospital keeps a card for each of its people in a list called `title`; `purpose` says what for.

    Finding: tables `effects`, `coefficients`, `tests`; of testing people `calibration`, `groups`, `ranking`, `value`,
    `subgroups`; `attrition`. Errors: FormulaError, StudyError; ModelError as of `Effect`, and for collinear modifiers.
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
    depth: int = 2
    least: int = 50
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
        self.effect.check()
        right = model_of(f"~ {self.modifiers}", self.ground).columns
        if both := {self.treatment, *model_of(f"{self.outcome} ~ 1", self.ground).columns} & set(right):
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
        return tuple(dict.fromkeys(text for entry in self.subgroups for text in _criteria(entry, self.ground)))

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
        return Effect(
            self.treatment, self.outcome, self.confounders, "aipw", family=self.family, propensity=self.propensity,
            outcome_model=self.outcome_model or f"{self.treatment} * ({self.confounders})", truncate=self.truncate,
            folds=self.folds, ground=replace(self.ground, complete=whole),
        )  # fmt: skip

    @property
    def priced(self) -> policy.Priced:
        """What the rule asks of a predicted effect."""
        return policy.Priced(1.0 if self.benefit == "higher" else -1.0, self.threshold)

    @property
    def most(self) -> Most:
        """Public bounds of the sets that sums are told of, and of their patterns, by learning or by testing people."""
        many, used = len(self.criteria), min(len(self.criteria), 2**self.depth - 1)
        sets = 1 + max(len(candidates(many)), self.classes + 2**self.depth)
        return Most(sets, max(2 << many, (self.classes + 1) * (2 << used)))

    def scores(self, half: int = -1) -> Scores:
        """The scores of everybody, or of a half of the people."""
        effect = self.effect
        needs = (*effect.among.needs, f"{self.treatment} ~ {self.modifiers}")
        return Scores(effect, Among(needs, half=half), self.modifiers, self.learner)

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
        """Learn; test on the others; keep the cards."""
        honest = bool(self.learn) or self.halves
        sides = [(self.learn, 0), (self.test, 1)] if honest else [((), -1)]
        made = [_of(group, prepared(self.scores(half if self.halves else -1))) for group, half in sides]
        side, *others = yield from together(*made)
        found: Regressed = yield from _of(self.learn, regressed(side))
        tables = _learnt(self, side, found)
        if others:
            asked = Tree(self.criteria, self.depth, self.least, self.most)
            leaves = yield from _of(self.learn, learnt(side, asked))
            more = yield from _of(self.test, _tested(self, others[0], found.prediction, leaves))
            tables["effects"] += more.pop("effects")
            tables |= more
        if self.worklist:
            card = policy.card_of(found, side.scores.names)
            yield from keep(self.advised, card, side.models.propensity)
        return _finding(self, [side, *others], found, tables)


def _of(group: Sequence[str], flow: Flow[T]) -> Flow[T]:
    """A flow of a group of hospitals, or of all."""
    return within(",".join(sorted(group)), flow) if group else flow


def _learnt(method: Responders, side: Side, found: Regressed) -> dict[str, list[Record]]:
    """Average effect, coefficients, and the test of heterogeneity."""
    se = np.sqrt(np.diag(found.covariance))
    b, v = found.estimate[1:], found.covariance[1:, 1:]
    return {
        "effects": [_average(side, *found.average)],
        "coefficients": coefficients(side.scores.names, found.estimate, se),
        "tests": [chi_square("the effect is the same for all", float(b @ np.linalg.solve(v, b)), len(b))],
    }


def _average(side: Side, estimate: float, se: float, who: str = "learning") -> Record:
    measure = "risk difference" if side.family == "binomial" else "mean difference"
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
    mapped = tuple(tuple((place[j], met) for j, met in leaf) for leaf in leaves if leaf)
    return Asked(edges, mapped, tuple(method.criteria[j] for j in used))


def _tested(
    method: Responders, side: Side, prediction: Fitted, leaves: Sequence[Rule]
) -> Flow[dict[str, list[Record]]]:
    """Calibration, classes of predicted effects, ranking, value of the rule, leaves: of people who taught nothing."""
    line, vcov, spread = yield from calibrated(side, prediction)
    reach, scale, priced = prediction.frame.reach, side.models.scale, method.priced
    asked = _asked(method, leaves, spread, reach)
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
    treated = above[asked.edges.index(priced.sign * priced.threshold / reach)]
    if treated is not None:
        tables["value"] = policy.valued(everybody, treated, priced, (scale.mean, scale.sd))
    if asked.leaves:
        tables["subgroups"] = tested(asked.leaves, asked.criteria, found, (scale.sd, priced.sign), everybody)
    effect = scale.sd * everybody.effect, scale.sd * float(np.sqrt(everybody.variance))
    return {"effects": [_average(side, *effect, who="testing")], **tables}


def _finding(method: Responders, sides: Sequence[Side], found: Regressed, tables: dict[str, list[Record]]) -> Finding:
    """The tables, and what to know of them."""
    side = sides[0]
    whole = _whole([s.verdict for s in sides], method.halves)
    tables["attrition"] = attrition(whole)
    rules = [r["rule"] for r in tables.get("subgroups", ()) if r.get("benefits")]
    facts: dict[str, Any] = {"learner": method.learner, "family": side.family, "rules": "; ".join(rules)}
    cite = (CITE[method.learner], *((CHERNOZHUKOV, YADLOWSKY) if len(sides) > 1 else ()),
            *((ATHEY,) if "subgroups" in tables else ()))  # fmt: skip
    return Finding(
        "responders", whole.n, whole.hospitals, tables, facts=facts, arrays={"vcov": found.covariance},
        notes=(STAYS,) if method.worklist else (), cite=cite,
    )  # fmt: skip


def _whole(verdicts: Sequence[Verdict], halves: bool) -> Verdict:
    """Learning and testing people together: halves of the same hospitals, or those of two groups."""
    first, n = verdicts[0], sum(v.n for v in verdicts)
    if halves:
        return first._replace(n=n, left_out={r: m for r, m in first.left_out.items() if r != Among(half=0).reason})
    left = {r: [v.left_out[r] for v in verdicts] for r in first.left_out}
    total = {r: None if None in m else sum(i or 0 for i in m) for r, m in left.items()}
    return first._replace(n=n, hospitals=sum(v.hospitals for v in verdicts), left_out=total)


# Settings -----------------------------------------------------------------------------------------------------


def _criteria(entry: str, ground: Ground) -> tuple[str, ...]:
    """The criteria that an entry of `subgroups` gives, in one spelling."""
    if entry.isidentifier():
        column = ground.schema.column(entry)
        if column.levels is not None:
            return tuple(f"{entry} == {level!r}" for level in column.levels[len(column.levels) == 2 :])
        if column.range is not None:
            low, high = column.range
            return tuple(f"{entry} >= {low + (high - low) * q:g}" for q in (0.25, 0.5, 0.75))
        raise StudyError(
            f"subgroups: {entry!r} has neither levels nor a range declared; write a cut, as '{entry} >= 65'"
        )
    found: Criterion = criterion(entry, ground.schema)
    if isinstance(found.rule, Joined):
        raise StudyError(f"subgroups: {entry!r} joins comparisons; give each by itself, the tree joins them")
    return (found.canonical,)


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
    if not 2 <= method.folds <= 20:
        raise StudyError(f"folds is {method.folds}; it is 2 to 20")
    for name, least, most in (("classes", 2, 20), ("depth", 1, 2), ("least", 20, 10**9), ("threshold", 0, 1e300)):
        if not least <= getattr(method, name) <= most:
            raise StudyError(f"{name} is {getattr(method, name)}; choose from {least} to {most:g}")
    if not method.title.strip() or not method.title.isprintable():
        raise StudyError(f"title is {method.title!r}; give the list a name that clinicians will recognise")
