"""One study or more per registered analysis, and the pooled twin that it must equal.

An analysis inherits the laws by standing here; `test_complete` fails where a registered one does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from confrere.rounds import find, installed
from confrere.study.circe import definition
from confrere.study.imputation import Impute
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


CIRCE = '{"PrimaryCriteria": {"CriteriaList": [{"Death": {}}]}, "InclusionRules": [{"name": "old"}, {"name": "ill"}]}'


def passing(n: int, seed: int) -> pd.DataFrame:
    """Patients, and how many of the steps of a cohort definition each passes."""
    reached = np.random.default_rng(seed + 100).choice([0.0, 1.0, 2.0, 3.0, 4.0], n, p=[0.3, 0.2, 0.1, 0.1, 0.3])
    return patients(n, seed).assign(**{definition(CIRCE).column: reached})


def _imputed(note: str, analysis: str, formula: str, terms: tuple[str, ...], how: Impute, **kind: Any) -> Case:
    return Case(find(analysis)(formula, missing=how, **({"ground": KNOWN} | kind)), note, terms, people=gaps)


def _case(name: str, note: str, *settings: Any, **kind: Any) -> Case:
    own = {k: kind.pop(k) for k in ("terms", "stratified") if k in kind}
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
    Case(find("worklist")("To be seen", ("x1 > -1", "treated == 1 or stage == 'III'", "not x2 > 5"), order_by="-x1",
                          ground=KNOWN), "three criteria", ("x1", "x2"), people=gaps),
    Case(find("cohort")(CIRCE), "two rules", (definition(CIRCE).column,), people=passing),
    _imputed("imputed, shared", "cox", f"{SURV} ~ x1 + x2", ("x1", "x2"), Impute(2), baseline="shared",
             ground=replace(KNOWN, step=365.0)),
)
# fmt: on


def registered() -> list[str]:
    """Names of the analyses of this package: those of others bring their own tests."""
    return [name for name in installed() if find(name).__module__.startswith("confrere.")]
