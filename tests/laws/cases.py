"""One study or more per registered analysis, and the pooled twin that it must equal.

An analysis inherits the laws by standing here; `test_complete` fails where a registered one does not.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from confrere.analyses.effects.controls import Control, Diagnostics
from confrere.analyses.effects.effect import Growth
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.networks.catalogue import Sizes
from confrere.analyses.networks.model import Net
from confrere.data.bags import Bags
from confrere.rounds import find, installed
from confrere.study.circe import definition
from confrere.study.imputation import Impute
from confrere.study.learnt import TENSORS
from confrere.study.recruitment import Look
from confrere.study.schema import Column, Schema
from confrere.testing import SCHEMA, Case, Ground
from confrere.testing.people import patients

GROUND = Ground(SCHEMA)
FINE = Ground(SCHEMA, fine=True, horizon=2190.0)
TERMS = "x1 + x2 + treated"
KNOWN = Ground(SCHEMA, person="pid")


def gaps(n: int, seed: int) -> pd.DataFrame:
    """Patients with a name each, of whom some miss x2, treated or stage; more of them where the outcome is high."""
    frame, rng = patients(n, seed), np.random.default_rng(seed + 100)
    often = 0.15 + 0.15 * (frame["y"] > frame["y"].median())
    lost = {name: frame[name].mask(rng.random(n) < often) for name in ("x2", "treated", "stage")}
    return frame.assign(pid=[f"p{seed}-{i}" for i in range(n)], **lost)


def learnt(first: str, second: str, cuts: tuple[float, float]) -> str:
    """A model of two trees as it stands in a study."""
    trees = tuple(
        Tree(np.array([j, 1 - j, 1 - j, -1, -1, -1, -1]), np.array([cuts[j], cuts[1 - j], cuts[1 - j], 0, 0, 0, 0]),
             np.ones(7, int), np.array([0, 0, 0, *leaves]), np.zeros(7), np.ones(7))
        for j, leaves in enumerate(((-0.5, -0.8, 0.6, 0.1), (-0.2, 0.3, -0.3, 0.1)))
    )  # fmt: skip
    return json.dumps(Forest("binary", (first, second), (-0.1,), trees).plain(), sort_keys=True)


LEARNT = learnt("x1", "treated", (0.0, 0.5))


def classes(first: str, second: str, cuts: tuple[float, float], levels: int = 3) -> str:
    """A model of classes as it stands in a study: a tree for each, whose leaves are turned by one from the last."""
    leaves = np.array([0.9, -0.2, 0.4, -0.7])
    trees = tuple(
        Tree(np.array([0, 1, 1, -1, -1, -1, -1]), np.array([cuts[0], cuts[1], cuts[1], 0, 0, 0, 0]), np.ones(7, int),
             np.array([0, 0, 0, *np.roll(leaves, j)]), np.zeros(7), np.ones(7))
        for j in range(levels)
    )  # fmt: skip
    return json.dumps(Forest("multiclass", (first, second), (0.0,) * levels, trees).plain(), sort_keys=True)


CLASSES = classes("x1", "treated", (0.0, 0.5))


def images(outcome: str) -> str:
    """A network of x1 and of bags of two numbers as it stands in a study: of the rows' mean one unit, and a sum."""
    about = ("binary", outcome, (), f"{outcome} ~ x1", "mean_pool", {"hidden": 1, "dropout": 0.0}, Sizes(1, 2, 1))
    weights = np.array([0.6, -0.3, 0.2, 0.5, 0.4, -0.1])
    net = Net(*about, (0.0, 0.0), (1.0, 1.0), (), (), "pictures", weights)
    return json.dumps(net.plain() | {TENSORS: base64.b64encode(net.tensors()).decode()}, sort_keys=True)


IMAGES = images("ill")
LOGISTIC = {"Intercept": -0.2, "x1": 0.4, "C(stage)[T.II]": 0.1, "C(stage)[T.III]": -0.1}


def scored(n: int, seed: int) -> pd.DataFrame:
    """Patients with risks of being ill and of leaving by two times, which are right on the whole."""
    frame = patients(n, seed)
    eta = 0.4 * frame["x1"] - 0.1 * (frame["x2"] - 5) - 0.5 * frame["treated"]
    late = {f"by{i}": 1 - np.exp(-rate * np.exp(eta)) for i, rate in enumerate((0.4, 0.9))}
    return frame.assign(risk=1 / (1 + np.exp(-eta)), **late)


class Learnt(Case):
    """The prognostic model has a baseline per hospital: the twin has all rows, and these as strata."""

    @property
    def twin(self) -> Any:
        """The analysis of all rows, its prognostic model stratified by hospital."""
        return replace(self.analysis, strata="hospital")


class Crowd(Case):
    """A study of twice as many people, who are enough for folds by the default rules."""

    def hospitals(self, n: int = 900, seed: int = 1) -> list[pd.DataFrame]:
        """Three hospitals that share them unevenly."""
        return super().hospitals(2 * n, seed)


class Nearest(Case):
    """Every hospital has nearest cases, or pairs, of its own: the twin has all rows, and looks within each hospital."""

    @property
    def twin(self) -> Any:
        """The analysis of all rows, within hospitals."""
        return replace(self.analysis, within="hospital")


MARKS = tuple(f"m{j}" for j in range(6))
CONTROLS = (*(Control(m) for m in MARKS[:-1]), Control(MARKS[-1], 1.5))


def marked(n: int, seed: int) -> pd.DataFrame:
    """Patients with six outcomes: five that no treatment changes, and one that it makes half as common again."""
    frame, rng = patients(n, seed), np.random.default_rng(seed + 100)
    chance = 0.2 + 0.4 / (1 + np.exp(-frame["x1"]))
    rise = 1 + 0.5 * frame["treated"]
    return frame.assign(**{m: (rng.random(n) < chance * (rise if m == MARKS[-1] else 1)).astype(float) for m in MARKS})


SPANS = (365.0, 1095.0)


def spending(n: int, seed: int) -> pd.DataFrame:
    """Patients with what they cost and gain in the first year, and in the next two."""
    frame, rng, start = patients(n, seed), np.random.default_rng(seed + 100), 0.0
    more = {}
    for j, end in enumerate(SPANS):
        lived = np.clip(frame["time"] - start, 0, end - start)
        more[f"c{j}"] = np.round(lived * rng.gamma(4.0, (3 + frame["treated"]) / 4), 1)
        more[f"q{j}"] = np.round(lived / 365.25 * rng.uniform(0.5, 0.9, n), 3)
        start = end
    return frame.assign(**more)


def within(n: int, seed: int) -> pd.DataFrame:
    """Patients of whom half are in a trial; what the others were treated with is not known of all."""
    frame, rng = patients(n, seed), np.random.default_rng(seed + 100)
    inside = (rng.random(n) < 0.5).astype(float)
    return frame.assign(inside=inside, treated=frame["treated"].mask((inside == 0) & (rng.random(n) < 0.5)))


def named(n: int, seed: int) -> pd.DataFrame:
    """Patients with a name each."""
    return patients(n, seed).assign(pid=[f"p{seed}-{i}" for i in range(n)])


def pictured(n: int, seed: int) -> pd.DataFrame:
    """Patients with a bag each, of one picture to three."""
    frame, rng = named(n, seed), np.random.default_rng(seed + 100)
    kind = frame["stage"].cat.codes.to_numpy()
    rows = {
        pid: np.stack([kind[i] == 1, kind[i] == 2], axis=-1) + rng.normal(size=(int(rng.integers(1, 4)), 2))
        for i, pid in enumerate(frame["pid"])
    }
    frame.attrs["bags"] = {"pictures": Bags.made(rows, 2)}
    return frame


YEARS = ("y1", "y2", "y3")


def panel(n: int, seed: int) -> pd.DataFrame:
    """Patients with an outcome in three years, of whom some begin a treatment in one of them."""
    frame, rng = patients(n, seed), np.random.default_rng(seed + 400)
    began = np.where(rng.random(n) < 0.6, rng.choice([2.0, 3.0], n), np.nan)
    years = {y: frame["y"] + t * (0.5 + 0.2 * frame["x1"]) + rng.normal(0, 1, n) for t, y in enumerate(YEARS)}
    return frame.assign(began=began, **years)


def starting(n: int, seed: int) -> pd.DataFrame:
    """Patients of whom some start a treatment while they are followed."""
    frame, rng = patients(n, seed), np.random.default_rng(seed + 500)
    start = np.ceil(rng.exponential(500 * np.exp(-0.3 * frame["x1"]), n))
    return frame.assign(began=np.where(start <= frame["time"], start, np.nan))


def stopping(n: int, seed: int) -> pd.DataFrame:
    """The same, of whom some stop again."""
    frame, rng = measured(n, seed), np.random.default_rng(seed + 700)
    stop = frame["began"] + np.ceil(rng.exponential(600, n))
    return frame.assign(stop=np.where(stop <= frame["time"], stop, np.nan))


def measured(n: int, seed: int) -> pd.DataFrame:
    """The same, with `x2` measured anew later on in most of them."""
    frame, rng = starting(n, seed), np.random.default_rng(seed + 600)
    later = 0.5 * frame["x2"] + rng.normal(0, 1, n)
    return frame.assign(later=later.mask(rng.random(n) < 0.1))


SIDES = ("x1 >= 0", "cost >= 1", "visits >= 1", "w >= 1.5", "time >= 300")
CIRCE = '{"PrimaryCriteria": {"CriteriaList": [{"Death": {}}]}, "InclusionRules": [{"name": "old"}, {"name": "ill"}]}'


def passing(n: int, seed: int) -> pd.DataFrame:
    """Patients, and how many of the steps of a cohort definition each passes."""
    reached = np.random.default_rng(seed + 100).choice([0.0, 1.0, 2.0, 3.0, 4.0], n, p=[0.3, 0.2, 0.1, 0.1, 0.3])
    return patients(n, seed).assign(**{definition(CIRCE).column: reached})


TRIAL = definition(CIRCE)
RECRUITING = replace(KNOWN, cohorts=(("trial", TRIAL),))
LISTED = Look("trial", "To be seen", "2026-10-31")


def near(n: int, seed: int) -> pd.DataFrame:
    """Patients, and what `TRIAL` says of each: entry event, rules (some unknown), steps passed; and statuses."""
    rng, day = np.random.default_rng(seed + 100), 20_757.0  # LISTED.as_of
    entry = np.where(rng.random(n) < 0.8, day - rng.integers(-20, 200, n), np.nan)
    rules = [np.where(np.isnan(entry), np.nan, rng.choice([0.0, 1.0, np.nan], n, p=[0.2, 0.6, 0.2])) for _ in range(2)]
    passed = np.logical_and.accumulate([~np.isnan(entry), *(r == 1 for r in rules), rng.random(n) < 0.9])
    status = np.where(rng.random(n) < 0.7, rng.integers(0, 8, n), 0)
    made = {TRIAL.column: passed.sum(axis=0).astype(float), TRIAL.entry: entry, LISTED.column: status,
            TRIAL.rule(1): rules[0], TRIAL.rule(2): rules[1]}  # fmt: skip
    return patients(n, seed).assign(pid=[f"p{seed}-{i}" for i in range(n)], **made)


RULES = ("of age", "no cancer before", "HbA1c over 7")
MEASURED = {"CriteriaList": [{"Criteria": {"Measurement": {"ValueAsNumber": {"Value": 7, "Op": "gt"}}}}]}
ENTRY = {"PrimaryCriteria": {"CriteriaList": [{"Death": {}}]}}
STUDY = json.dumps(
    ENTRY | {"InclusionRules": [{"name": r, "expression": MEASURED if "HbA1c" in r else {}} for r in RULES]}
)
OLDER = STUDY.replace('"of age", "expression": {}', '"over 65", "expression": {"Type": "ANY"}')
PLACES = Ground(
    Schema(
        {"_sex": Column("_sex", ("female", "male", "other")), "_region": Column("_region", ("north", "south", "west"))}
    )
)


def eligible(n: int, seed: int) -> pd.DataFrame:
    """People whose entry event meets, fails or leaves open the criteria of a study, of whom some have none."""
    rng, made = np.random.default_rng(seed + 200), definition(STUDY)
    entered = rng.random(n) < 0.8
    answers = {made.rule(j): rng.random(n) < 0.7 for j in (1, 2, 3)} | {definition(OLDER).rule(1): rng.random(n) < 0.4}
    frame = pd.DataFrame({name: np.where(entered, met, np.nan) for name, met in answers.items()})
    frame[made.rule(3)] = frame[made.rule(3)].mask(rng.random(n) < 0.2)
    return frame.assign(
        _sex=pd.Categorical(rng.choice(["female", "male"], n), ["female", "male", "other"]),
        _region=pd.Categorical(rng.choice(["north", "south"], n), ["north", "south", "west"]),
        _birth=np.floor(rng.uniform(-20000, 3000, n)),
        **{made.entry: np.where(entered, np.floor(rng.uniform(17532, 19358, n)), np.nan)},
    )


STAYS = {
    name: definition(json.dumps({"PrimaryCriteria": {"CriteriaList": [{"Death": {}}]}, "Title": name}))
    for name in ("target", "outcome", "one", "two", "three")
}
DAYS = Ground(Schema({"_sex": Column("_sex", ("female", "male", "other"))}), cohorts=tuple(STAYS.items()))


def staying(n: int, seed: int) -> pd.DataFrame:
    """People observed for some years, and their first stays in a target, in an outcome and in three treatments."""
    rng = np.random.default_rng(seed + 300)
    begin, share = np.floor(rng.uniform(14000, 16500, n)), {"target": 0.8, "outcome": 0.4, "one": 0.5, "two": 0.4}
    end = np.floor(begin + rng.uniform(200, 3500, n))
    made = {
        "_birth": np.floor(rng.uniform(-20000, 5000, n)), "_observed_from": begin, "_observed_to": end,
        "_sex": pd.Categorical.from_codes(rng.choice(3, n, p=[0.5, 0.48, 0.02]), ["female", "male", "other"]),
    }  # fmt: skip
    for name, stay in STAYS.items():
        start = np.floor(begin + (0.1 if name == "target" else 1.0) * rng.random(n) * (end - begin))
        last = end if name == "target" else np.minimum(end, start + np.floor(rng.exponential(200, n)))
        inside = rng.random(n) < share.get(name, 0.3)
        made |= {stay.start: np.where(inside, start, np.nan), stay.end: np.where(inside, last, np.nan)}
    return pd.DataFrame(made)


def _imputed(note: str, analysis: str, formula: str, terms: tuple[str, ...], how: Impute, **kind: Any) -> Case:
    return Case(find(analysis)(formula, missing=how, **({"ground": KNOWN} | kind)), note, terms, people=gaps)


def _case(name: str, note: str, *settings: Any, **kind: Any) -> Case:
    own = {k: kind.pop(k) for k in ("terms", "stratified", "allow", "people") if k in kind}
    return Case(find(name)(*settings, **({"ground": GROUND} | kind)), note, **own)


def _cox(note: str, formula: str, **kind: Any) -> Case:
    terms = tuple(t for t in ("x1", "x2", "treated") if t in formula)
    return _case("cox", note, formula, **({"terms": terms} | kind))


def _regression(name: str, note: str, outcome: str, right: str = TERMS, **kind: Any) -> Case:
    return _case(name, note, f"{outcome} ~ {right}", **({"terms": ("x1", "x2", "treated")} | kind))


SURV, LATE, FATE = "Surv(time, event)", "Surv(entry, time, event)", "Surv(time, fate)"

# fmt: off
CASES = (
    _cox("by hospital", f"{SURV} ~ {TERMS}", stratified=True, robust=True),
    _cox("strata, weights, late entry", f"{LATE} ~ x1 + treated + strata(arm)", stratified=True, weights="w"),
    _cox("Breslow, ridge, standardised", f"{SURV} ~ standardize(x1) + C(stage)", stratified=True, ties="breslow",
         ridge=2.0, terms=("x1",)),
    _cox("shared on cells", f"{SURV} ~ x1 + treated", baseline="shared", robust=True),
    _cox("shared on exact days", f"{LATE} ~ x1 + treated + strata(arm)", baseline="shared", ground=FINE, weights="w"),
    _case("kaplan_meier", "two arms", f"{SURV} ~ arm", times=(365.0, 730.0)),
    _case("kaplan_meier", "exact days, late entry, weights", f"{LATE} ~ stage", times=(365.0,), weights="w",
          ground=FINE),
    _case("logrank", "on cells", f"{SURV} ~ arm"),
    _case("logrank", "exact days, strata", f"{SURV} ~ stage + strata(arm)", test="tarone-ware", ground=FINE),
    _case("logrank", "by hospital", f"{LATE} ~ stage", baseline="per hospital", test="peto", stratified=True),
    _case("competing_risks", "incidence on cells", f"{FATE} ~ arm", times=(365.0, 730.0)),
    _case("competing_risks", "incidence on exact days", f"{FATE} ~ arm", times=(365.0,), ground=FINE),
    _case("competing_risks", "cause by hospital", f"{FATE} ~ x1 + treated", model="cause-specific", cause="relapse",
          terms=("x1", "treated"), stratified=True),
    _case("competing_risks", "Fine-Gray by hospital", f"{FATE} ~ x1 + treated", model="fine-gray", cause="death",
          terms=("x1", "treated"), stratified=True),
    _case("competing_risks", "Fine-Gray, shared", f"{FATE} ~ x1 + treated", model="fine-gray", cause="death",
          terms=("x1", "treated"), baseline="shared"),
    _case("describe", "by arm", ("x1", "gap", "treated", "stage"), by="arm", terms=("x1",)),
    _case("describe", "everybody", ("x1", "x2", "gap"), terms=("x1", "x2")),
    _regression("linear", "robust", "y", robust=True),
    _regression("linear", "weights, no intercept", "y", "0 + x1 + x2 + C(stage)", weights="w", terms=("x1", "x2")),
    _regression("logistic", "robust", "ill", robust=True),
    _regression("logistic", "ridge", "ill", ridge=1.0, weights="w"),
    _regression("poisson", "offset", "visits", f"{TERMS} + offset(log(time / 365.25))"),
    _regression("glm", "gamma", "cost", family="gamma", link="log", robust=True),
    _regression("glm", "probit", "ill", family="binomial", link="probit"),
    _regression("glm", "gaussian", "y", family="gaussian", weights="w"),
    _imputed("one column imputed", "linear", "y ~ x1 + x2", ("x1", "x2"), Impute(5), robust=True),
    _imputed("columns of two kinds imputed", "logistic", f"ill ~ {TERMS}", ("x1", "x2", "treated"), Impute(2, 2)),
    _imputed("levels imputed", "glm", "visits ~ x1 + C(stage)", ("x1",), Impute(2), family="poisson"),
    _case("effect", "weighting", "treated", "ill", "x1 + x2", terms=("x1", "x2")),
    _case("effect", "the treated, trimmed", "arm", "y", "x1 + C(stage)", estimand="ATT", trim=(0.4, 0.55),
          terms=("x1",)),
    _case("effect", "standardised counts", "treated", "visits", "x1 + x2", estimator="gformula", family="poisson",
          terms=("x1", "x2")),
    _case("effect", "augmented, overlap", "treated", "ill", "x1 + x2", estimator="aipw", estimand="ATO",
          outcome_model="treated * x1 + standardize(x2)", propensity=1.0, terms=("x1", "x2")),
    Case(find("effect")("treated", "ill", "x1 + x2", controls=CONTROLS, diagnostics=Diagnostics(0.1, 0.2, 0.25),
                        ground=GROUND), "controls", ("x1", "x2"), people=marked),
    _case("effect", "hazards and curves", "treated", SURV, "x1 + x2", estimand="ATO", baseline="shared",
          times=(365.0, 730.0), terms=("x1", "x2")),
    _case("effect", "those who stay", "treated", SURV, "x1 + x2", censoring="x1", baseline="shared", times=(730.0,),
          terms=("x1", "x2")),
    _case("effect", "standardised curves", "treated", SURV, "x1 + x2", estimator="gformula", times=(730.0,),
          outcome_model="treated * x1 + x2", terms=("x1", "x2")),
    _case("effect", "augmented curves", "arm", SURV, "x1 + x2", estimator="aipw", tau=730.0, terms=("x1", "x2")),
    _case("effect", "standardised risks of causes", "treated", FATE, "x1 + x2", estimator="gformula", times=(730.0,),
          estimand="ATT", terms=("x1", "x2")),
    _case("effect", "augmented risks of causes", "arm", FATE, "x1 + x2", estimator="aipw", cause="death",
          estimand="ATO", times=(730.0,), terms=("x1", "x2")),
    _case("effect", "risks of causes", "arm", FATE, "x1 + x2", stabilised=True, times=(730.0,), terms=("x1", "x2")),
    Case(find("effect")("treated", "y", "x1 + x2", estimator="aipw", folds=2, ground=KNOWN), "cross-fitted",
         ("x1", "x2"), people=gaps),
    Case(find("effect")("treated", "y", "x1 + x2", estimator="aipw", folds=2, propensity="boosting",
                        growth=Growth(4, 2, 0.5), ground=KNOWN), "trees, cross-fitted", ("x1",), people=gaps,
         allow=("histograms",)),
    Crowd(find("effect")("treated", "y", "x1 + x2", propensity="ridge", ground=KNOWN), "ridge weights", ("x1", "x2"),
          people=named),
    _case("effect", "trees, hazards", "treated", SURV, "x1 + x2", propensity="boosting", growth=Growth(3, 2, 0.5),
          times=(730.0,), trim=(0.1, 0.9), baseline="shared", terms=("x1",), allow=("histograms",)),
    _case("interaction", "augmented", "treated", "arm", "y", "x1", estimator="aipw", outcome_model="treated * arm + x1",
          terms=("x1",)),
    _case("interaction", "hazards", "treated", "arm", SURV, "x1", estimator="regression", baseline="shared",
          terms=("x1",)),
    _case("interaction", "risks of four arms", "treated", "arm", SURV, "x1", times=(730.0,), terms=("x1",)),
    Case(find("difference_in_differences")(YEARS, (1.0, 2.0, 3.0), "began", "x1 + x2", ground=GROUND), "doubly robust",
         ("x1", "x2"), people=panel),
    Case(find("difference_in_differences")(YEARS, (1.0, 2.0, 3.0), "began", "x1 + C(stage)", "not yet treated", "iptw",
                                           ground=GROUND), "not yet treated, odds", ("x1",), people=panel),
    Case(find("clone_censor_weight")(SURV, "began", 360.0, "x1 + x2", (1080.0,), ground=GROUND), "a year's grace",
         ("x1", "x2"), people=starting),
    Case(find("clone_censor_weight")(FATE, "began", 360.0, "x1 + x2", (1080.0,), censoring="x1", ground=GROUND),
         "causes, and weights against loss", ("x1", "x2"), people=starting),
    Case(find("sequential_trials")(SURV, "began", (180.0, 360.0), "x1 + x2", (("x2", "later"),), times=(720.0,),
                                   ground=GROUND), "two trials, one measured anew", ("x1",), people=measured),
    Case(find("sequential_trials")(SURV, "began", (180.0, 360.0, 720.0), "x1 + x2", (("x2", "later", "later"),),
                                   times=(360.0,), contrast="per protocol", ground=GROUND), "as people keep to it",
         ("x1",), people=measured),
    Case(find("sequential_trials")(SURV, "began", (180.0, 360.0, 720.0), "x1 + x2", (("x2", "later", "later"),),
                                   times=(360.0,), contrast="per protocol", stopped="stop", ground=GROUND),
         "until they stop", ("x1",), people=stopping),
    Case(find("sequential_trials")(FATE, "began", (180.0, 360.0), "x1 + x2", (("x2", "later"),), times=(720.0,),
                                   censoring="x1", ground=GROUND), "causes, and weights against loss", ("x1",),
         people=measured),
    Case(find("sequential_trials")(SURV, "began", (360.0,), "x1 + x2", estimand="ATO", tau=720.0, ground=GROUND),
         "one trial, overlap", ("x1", "x2"), people=starting),
    Case(find("cost")("treated", SURV, ("c0", "c1"), SPANS, (2e4, 5e4), confounders="x1 + x2", eligible=(100.0, 120.0),
                      ground=GROUND), "weighed, years of life", ("x1", "x2"), people=spending),
    Case(find("cost")("arm", SURV, ("c0", "c1"), SPANS, (2e4,), ("q0", "q1"), discount=(0.0, 0.0), ground=GROUND),
         "as they are, quality-adjusted", people=spending),
    Case(find("prognostic")("treated", "y", "inside", "x1 + x2", difference=0.5, ground=GROUND), "numbers",
         ("x1", "x2"), people=within),
    Case(find("prognostic")("treated", "ill", "inside", "x1", "binomial", "C(stage)", deflate=0.9, ground=GROUND),
         "marks", ("x1",), people=within),
    Learnt(find("prognostic")("treated", SURV, "inside", "x1 + x2", covariates="arm", difference=-0.3, share=0.6,
                              ground=GROUND), "times", ("x1", "x2"), people=within),
    Case(find("responders")("treated", "ill", "x1 + x2", "x1", "x", worklist=True, ground=KNOWN), "x-learner",
         ("x1", "x2"), people=named),
    Case(find("responders")("treated", SURV, "x1", "x1", tau=365.0, ground=KNOWN), "restricted means", ("x1",),
         people=named),
    Case(find("responders")("treated", "y", "x1", "x1", outcome_model="treated + x1", halves=True, subgroups=SIDES,
                            depth=1, least=20, benefit="lower", ground=KNOWN), "tested", ("x1",), people=named),
    Case(find("responders")("treated", "y", "x1", "x1", outcome_model="treated + x1", halves=True, subgroups=SIDES,
                            tree="policy", depth=1, least=20, ground=KNOWN), "a policy tree", ("x1",), people=named),
    Case(find("worklist")("To be seen", ("x1 > -1", "treated == 1 or stage == 'III'", "not x2 > 5"), order_by="-x1",
                          ground=KNOWN), "three criteria", ("x1", "x2"), people=gaps),
    Case(find("cohort")(CIRCE), "two rules", (definition(CIRCE).column,), people=passing),
    Case(find("recruitment")("To be seen", "trial", unknown=1, within=90, as_of=LISTED.as_of, show=("x1", "stage"),
                             ground=RECRUITING), "one rule unknown, recent", (TRIAL.rule(1),), people=near),
    Case(find("enrolment")(LISTED.study, LISTED.title, LISTED.as_of, ground=KNOWN), "a day", (LISTED.column,),
         people=near),
    Case(find("feasibility")(STUDY, (2018, 2022), (OLDER,), ground=PLACES), "three criteria and a variant",
         (definition(STUDY).rule(1),), people=eligible),
    _case("pca", "a category", "~ x1 + x2 + y + C(stage)", terms=("x1", "x2", "y")),
    Case(find("pca")("~ x1 + y + cost", worklist=True, ground=KNOWN), "scores kept", ("x1", "y"), people=gaps),
    _case("kmeans", "three of three columns", "~ x1 + x2 + y", 3, terms=("x1", "x2", "y")),
    Case(find("kmeans")("~ x1 + y", among=(2, 3), repeats=2, worklist=True, ground=KNOWN), "how many", ("x1", "y"),
         people=gaps),
    _case("mixture", "two of mixed columns", "~ cost + y + treated + C(stage)", 2, covariance="diagonal", starts=2,
          terms=("cost", "y", "treated")),
    _case("mixture", "by bic", "~ cost + y", among=(2, 3), by="bic", starts=1, terms=("cost", "y")),
    Case(find("overlap")(("one", "two", "three"), ground=DAYS), "three cohorts", people=staying),
    Case(find("pathways")("target", ("one", "two", "three"), ground=DAYS), "three lines", (STAYS["target"].start,),
         people=staying),
    Case(find("occurrence")("outcome", (2010, 2016), standard="ESP 2013", ages=(20, 40, 60), ground=DAYS), "incidence",
         ("_birth", "_observed_from"), people=staying),
    Case(find("occurrence")("outcome", (2010, 2016), "target", "point prevalence", ground=DAYS), "of a day",
         ("_birth", STAYS["target"].start), people=staying),
    Case(find("occurrence")("outcome", (2010, 2016), measure="period prevalence", sexes=False, ground=DAYS), "of years",
         ("_birth",), people=staying),
    Case(find("person_time")("outcome", "one", "target", ages=(0, 50), sexes=True, ground=DAYS), "strata",
         ("_birth", STAYS["target"].end), people=staying),
    # a step of full batches: what a network learns otherwise depends on who is in which hospital
    _case("network", "one step", "ill", "x1 + x2", rounds=4, steps=1, learning_rate=0.5, terms=("x1",),
          allow=("model_weights",)),
    Case(find("network")("y", "x1 + stage", "squared", module="mlp", settings={"hidden": [4]}, strategy="fedyogi",
                         rounds=3, steps=1, ground=KNOWN), "a perceptron", ("x1",), people=named,
         allow=("model_weights",)),
    Case(find("network")("stage", bags="pictures", bag_size=2, module="mean_pool", rounds=6, steps=1, learning_rate=1.0,
                         holdout=0.5, conformal=0.3, one_row=True, ground=KNOWN), "one picture of each",
         people=pictured, allow=("model_weights",)),
    Case(find("boosting")("ill", ("x1", "x2", "stage", "treated", "gap"), trees=4, depth=3, rows=0.8, columns=0.7,
                          monotone={"x1": 1}, ground=KNOWN), "levels, gaps, samples", ("x1", "gap"), people=gaps,
         allow=("histograms",)),
    Case(find("boosting")("y", ("x1", "x2"), "squared", trees=6, depth=2, learning_rate=0.5, holdout=0.3, patience=1,
                          ground=KNOWN), "stops early", ("x1", "y"), people=gaps, allow=("histograms",)),
    Case(find("boosting")("ill", ("x1", "x2", "treated"), trees=3, depth=2, holdout=0.5, conformal=0.2, by="stage",
                          ground=KNOWN), "sets of classes", ("x1", "x2"), people=named, allow=("histograms",)),
    Case(find("boosting")("fate", ("x1", "x2"), "multiclass", trees=2, depth=2, holdout=0.5, conformal=0.2, by="stage",
                          ground=KNOWN), "sets of three classes", ("x1", "x2"), people=named, allow=("histograms",)),
    Case(find("boosting")("ill", ("x1", "stage", "gap"), trees=3, depth=2, holdout=0.5, permutation=2, ground=KNOWN),
         "values replaced", ("x1",), people=gaps, allow=("histograms",)),
    _case("boosting", "three classes", "fate", ("x1", "x2", "treated"), "multiclass", trees=2, depth=2, terms=("x2",),
          allow=("histograms",)),
    _case("boosting", "counts", "visits", ("x1", "time", "arm"), "poisson", trees=3, depth=2, terms=("time",),
          allow=("histograms",)),
    Nearest(find("boosting")("Surv(time, event)", ("x1", "gap"), "cox", trees=4, depth=2, learning_rate=0.5,
                             holdout=0.3, patience=2, ground=KNOWN), "times", ("x1", "gap"), people=gaps,
            allow=("histograms",)),
    Case(find("penalised")("y ~ x1 + x2 + treated", alpha=0.5, folds=4, ground=KNOWN), "elastic net",
         ("x1", "x2"), people=named),
    Case(find("penalised")("ill ~ x1 + x2", "binomial", folds=3, adaptive=1.0, choose="1se", weights="w",
                           debias="inverse", ground=KNOWN), "adaptive lasso", ("x1", "x2"), people=named),
    Case(find("penalised")("visits ~ x1 + x2 + treated + offset(log(time))", "poisson", penalty=(0.3, 0.03),
                           folds=2, factors={"treated": 0.0}, exact=True, standardize=False, ground=KNOWN),
         "counts, one term free", ("x1", "x2"), people=named),
    _case("penalised", "gamma, one penalty", "cost ~ x1 + treated", "gamma", "log", penalty=(0.02,), alpha=0.0,
          terms=("x1",)),
    Case(find("penalised")(f"{SURV} ~ x1 + x2 + treated", "cox", folds=2, penalties=20, ground=KNOWN), "hazards",
         ("x1", "x2"), stratified=True, people=named),
    _case("penalised", "hazards of a cause", f"{FATE} ~ x1 + treated", "cox", penalty=(0.02,), cause="relapse",
          terms=("x1",), stratified=True),
    _case("evaluate", "binary, subgroups", "ill", "risk", by="stage", thresholds=(0.3, 0.5), terms=("risk",),
          people=scored),
    _case("evaluate", "a published model", "ill", model="x1 + C(stage)", coefficients=LOGISTIC, terms=("x1",)),
    _case("evaluate", "a learned model", "ill", learnt=LEARNT, thresholds=(0.5,)),
    _case("evaluate", "a learned model, followed", "Surv(time, event)", learnt=LEARNT, times=1095.0),
    _case("evaluate", "a learned model of classes", "stage", learnt=CLASSES),
    Case(find("evaluate")("ill", learnt=IMAGES, thresholds=(0.5,), ground=KNOWN), "a network of images",
         people=pictured),
    _case("evaluate", "periods", "ill", "risk", over="stage", inputs={"x1": (-0.5, 0.5), "arm": ()}, terms=("risk",),
          people=scored),
    _case("evaluate", "followed", "Surv(time, event)", "by1", times=1095.0, thresholds=(0.5,),
          by="arm", terms=("by1",), people=scored),
    _case("evaluate", "followed, exact times", "Surv(time, event)", model="x1 + treated", link="cox", times=1095.0,
          coefficients={"x1": 0.4, "treated": -0.5}, baseline=0.5, grid=(365.0, 730.0), survival=(0.8, 0.65),
          terms=("x1",), ground=FINE),
    _case("evaluate", "a cause", "Surv(time, fate)", "by0", times=1095.0, cause="relapse", terms=("by0",),
          people=scored),
    Nearest(find("similar_cases")("stage", (0.2, 5.0), ("x1", "x2"), neighbours=30, ground=GROUND), "labels",
            ("x1", "x2")),
    _imputed("imputed, shared", "cox", f"{SURV} ~ x1 + x2", ("x1", "x2"), Impute(2), baseline="shared",
             ground=replace(KNOWN, step=365.0)),
)
# fmt: on


def registered() -> list[str]:
    """Names of the analyses of this package: those of others bring their own tests."""
    return [name for name in installed() if find(name).__module__.startswith("confrere.")]
