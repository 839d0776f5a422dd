"""One attack case (or more) per registered analysis: a study on generated people that uses all the method asks.

A method inherits the attacks by standing in `CASES`; `test_cases` fails when a registered one does not.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from attacks.people import CIRCE, GROUND, LISTED, STAYS, TRIAL, WIDER, dealt, patients
from attacks.view import View, record, refused
from confrere import analyses
from confrere.analyses.effects.controls import Control
from confrere.analyses.effects.effect import Growth
from confrere.errors import UserError
from confrere.hospital.gate import Policy
from confrere.rounds import find, installed
from confrere.study.circe import definition
from confrere.study.imputation import Impute
from laws.cases import CLASSES, IMAGES, LEARNT

WORLDS = ("ranges", "heavy tails")
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)  # people, in units of 15 per term
X = ("x1", "x2", "treated")
MARKS = tuple(f"m{j}" for j in range(5))
YEARS = ("y1", "y2", "y3")
KNOWN = replace(GROUND, person="pid")
DAYS = replace(GROUND, cohorts=tuple(STAYS.items()))
FIRSTS = tuple(day for stay in STAYS.values() for day in (stay.start, stay.end))
SEEN = ("_birth", "_sex", "_observed_from", "_observed_to")


@dataclass(frozen=True)
class Case:
    """A study under attack. `make` gives the analysis; `p` terms make 15 p people the fewest.

    `columns` are read (they count for the budget), `smooth` are those of them that are continuous or treated as
    such by the attacker, `outcome` what an informed attacker knows already.
    """

    name: str
    make: Callable[[], Any]
    columns: tuple[str, ...]
    smooth: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    p: int = 3
    note: str = ""
    allow: tuple[str, ...] = ()  # disclosure classes that it needs

    @property
    def policy(self) -> Policy:
        """The default rules, with the disclosure classes that the case needs."""
        return Policy(allow=frozenset(self.allow))

    @property
    def label(self) -> str:
        """As printed."""
        return f"{self.name} ({self.note})" if self.note else self.name


def _of(name: str, *settings: Any, **named: Any) -> Callable[[], Any]:
    return lambda: find(name)(*settings, **({"ground": GROUND} | named))


def _regression(name: str, outcome: str, smooth: bool, note: str = "", **named: Any) -> Case:
    made = _of(name, f"{outcome} ~ x1 + x2 + treated", **named)
    known = (outcome,) if smooth else ()
    return Case(name, made, (*X, outcome), (*X, *known), known, note=note)


def _survival(name: str, formula: str, note: str = "", terms: bool = False, p: int = 3, **named: Any) -> Case:
    columns = tuple(c for c in (*X, "time", "event", "status", "arm", "stage") if c in formula)
    smooth = (*X, "time") if terms else ()
    return Case(name, _of(name, formula, **named), columns, smooth, ("time",) if terms else (), p, note)


def _effect(outcome: str, note: str, **named: Any) -> Case:
    known = (outcome,) if outcome == "y" else ()
    made = _of("effect", "treated", outcome, "x1 + x2", **named)
    return Case("effect", made, (*X, outcome), ("x1", "x2", *known), known, note=note)


def _followed(outcome: str, note: str, **named: Any) -> Case:
    made, columns = _of("effect", "treated", outcome, "x1 + x2", **named), outcome.strip("Surv()").split(", ")
    return Case("effect", made, (*X, *columns), ("x1", "x2", "time"), ("time",), note=note)


def _penalised(outcome: str, family: str, note: str) -> Case:
    made = _of("penalised", f"{outcome} ~ x1 + x2 + treated", family, penalties=20, folds=3, ground=KNOWN)
    columns = (*X, *outcome.strip("Surv()").split(", "))
    known = tuple(c for c in ("y", "time") if c in columns)
    return Case("penalised", made, columns, (*X, *known), known, note=note)


# fmt: off
CASES = (
    _survival("cox", "Surv(time, event) ~ x1 + x2 + treated", terms=True, robust=True),
    _survival("cox", "Surv(time, event) ~ x1 + x2 + treated", "shared", terms=True,
              baseline="shared", diagnostics=False, ground=replace(GROUND, step=1095.0)),
    _survival("kaplan_meier", "Surv(time, event) ~ arm", times=(365.0, 1095.0, 1825.0)),
    _survival("kaplan_meier", "Surv(time, event) ~ stage", "three groups", times=(730.0,)),
    _survival("logrank", "Surv(time, event) ~ arm"),
    _survival("competing_risks", "Surv(time, status) ~ arm"),
    _survival("competing_risks", "Surv(time, status) ~ x1 + x2 + treated", "cause", terms=True,
              model="cause-specific", cause="relapse"),
    _survival("competing_risks", "Surv(time, status) ~ x1 + x2 + treated", "fine-gray", terms=True,
              model="fine-gray", cause="relapse"),
    Case("describe", _of("describe", ("x1", "x2", "treated", "stage"), by="arm"),
         ("x1", "x2", "treated", "stage", "arm"), ("x1", "x2"), note="by arm"),
    Case("describe", _of("describe", ("x1", "x2", "treated", "stage")), ("x1", "x2", "treated", "stage"), ("x1", "x2")),
    _regression("linear", "y", smooth=True),
    _regression("logistic", "ill", smooth=False),
    _regression("poisson", "visits", smooth=False),
    _regression("glm", "cost", smooth=True, note="gamma", family="gamma", link="log"),
    _regression("glm", "y", smooth=True, note="gaussian", family="gaussian"),
    _effect("y", note="weighting"),
    _effect("ill", estimand="ATO", note="overlap weights, a mark"),
    _effect("y", note="trimmed", trim=(0.3, 0.7)),
    _effect("y", note="standardised", estimator="gformula"),
    _effect("y", note="augmented", estimator="aipw"),
    _effect("y", note="own intercepts", hospital_effects=True),
    _effect("y", note="a lasso propensity", propensity="lasso", ground=KNOWN),
    _effect("y", note="a ridge propensity", propensity="ridge", ground=KNOWN),
    _followed("Surv(time, event)", note="hazards", times=(1095.0,)),
    _followed("Surv(time, event)", note="hazards, shared", baseline="shared", estimand="ATO"),
    _followed("Surv(time, event)", note="those who stay", censoring="x1", baseline="shared", times=(1095.0,)),
    _followed("Surv(time, event)", note="augmented curves", estimator="aipw", times=(1095.0,)),
    _followed("Surv(time, status)", note="risks of causes", times=(730.0, 1825.0)),
    _followed("Surv(time, status)", note="augmented risks of causes", estimator="aipw", times=(1095.0,)),
    Case("effect", _of("effect", "treated", "ill", "x1 + x2", controls=tuple(Control(m) for m in MARKS)),
         (*X, "ill", *MARKS), ("x1", "x2"), note="controls"),
    Case("interaction", _of("interaction", "treated", "arm", "y", "x1 + x2"), (*X, "arm", "y"), ("x1", "x2", "y"),
         ("y",), p=5, note="two treatments"),
    Case("interaction", _of("interaction", "treated", "arm", "Surv(time, event)", "x1 + x2", times=(1095.0,)),
         (*X, "arm", "time", "event"), ("x1", "x2", "time"), ("time",), p=5, note="risks of four arms"),
    Case("difference_in_differences", _of("difference_in_differences", YEARS, (1.0, 2.0, 3.0), "began", "x1 + x2"),
         ("x1", "x2", *YEARS, "began"), ("x1", "x2", *YEARS), YEARS, note="three years"),
    Case("difference_in_differences", _of("difference_in_differences", YEARS[:2], (1.0, 2.0), "began"),
         (*YEARS[:2], "began"), YEARS[:2], YEARS[:1], note="two years"),
    Case("clone_censor_weight", _of("clone_censor_weight", "Surv(time, event)", "start", 720.0, "x1 + x2", (1825.0,)),
         ("x1", "x2", "time", "event", "start"), ("x1", "x2", "time"), ("time",), note="grace of two years"),
    Case("clone_censor_weight", _of("clone_censor_weight", "Surv(time, status)", "start", 720.0, "x1 + x2", (1825.0,),
                                    censoring="x1"),
         ("x1", "x2", "time", "start"), ("x1", "x2", "time"), ("time",), note="causes, those who stay"),
    Case("sequential_trials", _of("sequential_trials", "Surv(time, event)", "start", (365.0, 730.0), "x1 + x2",
                                  times=(1095.0,)),
         ("x1", "x2", "time", "event", "start"), ("x1", "x2", "time"), ("time",), note="two trials"),
    Case("sequential_trials", _of("sequential_trials", "Surv(time, event)", "start", (365.0, 1095.0), "x1 + x2",
                                  times=(730.0,), contrast="per protocol"),
         ("x1", "x2", "time", "event", "start"), ("x1", "x2", "time"), ("time",), note="as people keep to it"),
    Case("sequential_trials", _of("sequential_trials", "Surv(time, event)", "start", (365.0, 1095.0), "x1 + x2",
                                  times=(730.0,), contrast="per protocol", stopped="stop"),
         ("x1", "x2", "time", "event", "start", "stop"), ("x1", "x2", "time"), ("time",), note="until they stop"),
    Case("sequential_trials", _of("sequential_trials", "Surv(time, status)", "start", (365.0, 730.0), "x1 + x2",
                                  times=(1095.0,), censoring="x1"),
         ("x1", "x2", "time", "start"), ("x1", "x2", "time"), ("time",), note="causes, those who stay"),
    Case("cost", _of("cost", "treated", "Surv(time, event)", ("cost",), (1095.0,), (2e4,), confounders="x1 + x2"),
         (*X, "time", "event", "cost"), ("x1", "x2", "cost"), ("time",), note="weighed, one part"),
    Case("cost", _of("cost", "treated", "Surv(time, event)", ("cost",), (1095.0,), (2e4,), discount=(0.0, 0.0)),
         ("treated", "time", "event", "cost"), ("cost",), ("time",), note="as they are"),
    Case("prognostic", _of("prognostic", "treated", "y", "arm", "x1 + x2"), (*X, "arm", "y"), ("x1", "x2", "y"),
         ("y",)),
    Case("prognostic", _of("prognostic", "treated", "Surv(time, event)", "arm", "x1 + x2"),
         (*X, "arm", "time", "event"), ("x1", "x2", "time"), ("time",), note="a trial, followed"),
    Case("responders", _of("responders", "treated", "y", "x1", "x1", ground=KNOWN), ("x1", "treated", "y"), ("x1", "y"),
         ("y",), p=2),
    Case("responders", _of("responders", "treated", "Surv(time, event)", "x1", "x1", tau=730.0, ground=KNOWN),
         ("x1", "treated", "time", "event"), ("x1", "time"), ("time",), p=2, note="restricted means"),
    Case("worklist", _of("worklist", "To be seen", ("x1 > -0.5", "stage == 'I' or lab > 0", "x2 > 3"), ground=KNOWN),
         ("x1", "x2", "stage", "lab"), note="three criteria"),
    Case("worklist", _of("worklist", "Fine steps", tuple(f"x2 > {cut / 2}" for cut in range(12)), ground=KNOWN),
         ("x2",), note="cuts close to one another"),
    Case("cohort", _of("cohort", CIRCE), (definition(CIRCE).column,), note="five rules"),
    Case("recruitment", _of("recruitment", "To be seen", "trial", unknown=2, within=90, as_of=LISTED.as_of,
                            ground=replace(KNOWN, cohorts=(("trial", definition(CIRCE)),))),
         (definition(CIRCE).column, definition(CIRCE).entry, *(definition(CIRCE).rule(j) for j in range(1, 6))),
         note="five rules, two unknown"),
    Case("enrolment", _of("enrolment", LISTED.study, LISTED.title, LISTED.as_of, ground=KNOWN), (LISTED.column,),
         note="eight statuses"),
    Case("feasibility", _of("feasibility", TRIAL.text, (2018, 2021), (WIDER.text,)),
         (TRIAL.entry, *(TRIAL.rule(j) for j in range(1, 5)), WIDER.rule(1), "_birth", "_sex"), note="and a variant"),
    Case("overlap", _of("overlap", ("outcome", "one", "two", "three"), ground=DAYS), FIRSTS[2::2], note="four cohorts"),
    Case("pathways", _of("pathways", "target", ("one", "two", "three"), ground=DAYS), FIRSTS[:2] + FIRSTS[4:],
         note="three lines"),
    Case("occurrence", _of("occurrence", "outcome", (2012, 2020), ages=(16, 40), ground=DAYS), (*SEEN, FIRSTS[2]),
         note="incidence"),
    Case("occurrence", _of("occurrence", "outcome", (2012, 2020), measure="period prevalence", ages=(16, 40),
                           washout=0, ground=DAYS), (*SEEN, *FIRSTS[2:4]), note="prevalence"),
    Case("person_time", _of("person_time", "outcome", "one", "target", ages=(16, 40), sexes=True, ground=DAYS),
         (*SEEN, *FIRSTS[:6]), note="strata"),
    Case("boosting", _of("boosting", "ill", ("x1", "x2"), trees=2, depth=1, bins=8), ("x1", "x2", "ill"),
         note="one level", allow=("histograms",)),
    Case("effect", _of("effect", "treated", "y", "x1 + x2", propensity="boosting", growth=Growth(2, 1, bins=8)),
         (*X, "y"), note="a boosted propensity", allow=("histograms",)),
    Case("boosting", _of("boosting", "Surv(time, event)", ("x1", "x2"), "cox", trees=2, depth=1, bins=8),
         ("x1", "x2", "time", "event"), note="times", allow=("histograms",)),
    Case("boosting", _of("boosting", "Surv(time, event)", ("x1", "x2"), "cox", trees=2, depth=1, bins=8, holdout=0.5,
                         ground=KNOWN), ("x1", "x2", "time", "event"), p=12, note="times, some held out",
         allow=("histograms",)),
    Case("network", _of("network", "Surv(time, event)", "x1 + x2", rounds=2, steps=1, holdout=0.5, ground=KNOWN),
         ("x1", "x2", "time", "event"), p=12, note="times, some held out", allow=("model_weights",)),
    Case("network", _of("network", "Surv(time, event)", "x1 + x2", rounds=2, steps=1, holdout=0.5, ground=KNOWN,
                        intervals=(730.0, 1460.0)), ("x1", "x2", "time", "event"), p=12,
         note="discrete times, some held out", allow=("model_weights",)),
    Case("boosting", _of("boosting", "ill", ("x1", "x2"), trees=2, depth=1, bins=8, holdout=0.5, permutation=2,
                         ground=KNOWN), ("x1", "x2", "ill"), p=12, note="values replaced", allow=("histograms",)),
    Case("network", _of("network", "ill", "x1 + x2", rounds=2, steps=1), ("x1", "x2", "ill"), p=12,
         note="two steps", allow=("model_weights",)),
    Case("network", _of("network", "ill", "x1 + x2", rounds=2, steps=1, holdout=0.5, conformal=0.3, by="stage",
                        ground=KNOWN), ("x1", "x2", "ill", "stage"), p=12, note="sets of classes",
         allow=("model_weights",)),
    Case("network", _of("network", "stage", "x1 + x2", rounds=2, steps=1, holdout=0.5, conformal=0.3, by="arm",
                        ground=KNOWN), ("x1", "x2", "arm", "stage"), p=12, note="sets of three classes",
         allow=("model_weights",)),
    Case("network", _of("network", "stage", bags="pictures", bag_size=2, module="mean_pool", settings={"hidden": 2},
                        rounds=2, steps=1, holdout=0.5, conformal=0.3, one_row=True, ground=KNOWN), ("stage",), p=12,
         note="one picture of each", allow=("model_weights",)),
    Case("evaluate", _of("evaluate", "ill", model="x1 + x2", by="stage", thresholds=(0.4,),
                         coefficients={"Intercept": 0.1, "x1": 0.3, "x2": -0.05}), ("x1", "x2", "ill", "stage"),
         ("x1", "x2"), p=2, note="a model, by stage"),
    Case("evaluate", _of("evaluate", "ill", learnt=LEARNT, thresholds=(0.5,)), ("x1", "treated", "ill"), ("x1",), p=2,
         note="a learned model"),
    Case("evaluate", _of("evaluate", "stage", learnt=CLASSES), ("x1", "treated", "stage"), ("x1",), p=2,
         note="a learned model of classes"),
    Case("evaluate", _of("evaluate", "ill", learnt=IMAGES, thresholds=(0.5,), ground=KNOWN), ("x1", "ill"), ("x1",),
         p=2, note="a network of images"),
    Case("evaluate", _of("evaluate", "ill", model="x1 + x2", over="stage", inputs={"x1": (0.0,)},
                         coefficients={"Intercept": 0.1, "x1": 0.3, "x2": -0.05}),
         ("x1", "x2", "ill", "stage", "arm"), ("x1", "x2"), p=2, note="periods"),
    Case("evaluate", _of("evaluate", "Surv(time, event)", model="x1 + x2", link="cox", times=1460.0, by="arm",
                         coefficients={"x1": 0.3, "x2": -0.1}, baseline=0.6, grid=(730.0,), survival=(0.8,)),
         ("x1", "x2", "time", "event", "arm"), ("x1", "x2"), ("time",), p=2, note="followed"),
    Case("evaluate", _of("evaluate", "Surv(time, status)", model="x1 + x2", link="cox", times=1095.0,
                         cause="relapse", coefficients={"x1": 0.3, "x2": -0.1}, baseline=0.8),
         ("x1", "x2", "time", "status"), ("x1", "x2"), ("time",), p=2, note="a cause"),
    Case("similar_cases", _of("similar_cases", "stage", (0.2, 5.0), ("x1", "x2"), neighbours=15),
         ("x1", "x2", "stage"), note="one question"),
    _penalised("y", "gaussian", "linear"),
    _penalised("ill", "binomial", "logistic"),
    _penalised("Surv(time, event)", "cox", "hazards"),
    _survival("penalised", "Surv(time, status) ~ x1 + x2 + treated", "hazards of a cause", terms=True, family="cox",
              penalty=(0.02,), cause="relapse"),
    Case("pca", _of("pca", "~ x1 + x2 + y"), ("x1", "x2", "y"), ("x1", "x2", "y")),
    Case("kmeans", _of("kmeans", "~ x1 + x2 + treated", 2), X, X),
    Case("kmeans", _of("kmeans", "~ x1 + x2", among=(2, 3), starts=2, repeats=2, ground=KNOWN), X[:2], X[:2],
         p=2, note="how many by stability"),
    Case("mixture", _of("mixture", "~ x1 + y", 2), ("x1", "y"), ("x1", "y"), p=2),
    Case("linear", _of("linear", "y ~ x1 + lab + treated", missing=Impute(5), ground=KNOWN),
         ("x1", "lab", "treated", "y"), ("x1", "lab", "treated", "y"), ("y",), note="a number imputed"),
    Case("logistic", _of("logistic", "ill ~ x1 + lab + mild", missing=Impute(2, 2), ground=KNOWN),
         ("x1", "lab", "mild", "ill"), ("x1", "lab"), note="a number and a mark imputed"),
)
# fmt: on


@lru_cache
def registered() -> tuple[str, ...]:
    """All analyses there are here: every file of the package is read, whether or not it is an entry point yet."""
    for module in pkgutil.walk_packages(analyses.__path__, "confrere.analyses."):
        importlib.import_module(module.name)
    return tuple(name for name in installed() if not name.startswith("_"))


@lru_cache
def seen(case: Case, world: str) -> View | str:
    """The view of the smallest study of this kind that every gate lets pass, from 15 people per term on."""
    registered()
    reason = ""
    for step in STEPS:
        tables = dealt(patients(15 * case.p * step, heavy=world != WORLDS[0]))
        try:
            reason = refused(case.make().flow(), tables, case.policy, len(case.columns))
        except UserError as error:
            reason = str(error)
        if not reason:
            return record(case.make().flow(), tables, case.policy, len(case.columns))
    return reason
