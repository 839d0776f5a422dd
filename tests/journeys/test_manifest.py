"""The manifest: what a steward reads before anything runs, and that nothing else, and nothing larger, leaves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import confrere as cf
from confrere.console.demo import DEMOS, load
from confrere.coordinator.federation import Left
from confrere.hospital.manifest import Entry, Manifest, manifest
from confrere.rounds import installed
from confrere.study.circe import definition
from confrere.study.file import Study, parse
from confrere.study.recruitment import Look
from laws.cases import classes, learnt

from .command import Frames, Shell, breast

Settings = list[dict[str, Any]]

HEAD = """\
[study]
id = "every-method"
purpose = "public-interest research"
[data]
table = "breast"
{data}
[data.columns.size]
levels = ["<=20", "20-50", ">50"]
[data.columns.fate]
levels = ["alive", "relapse", "death"]
[data.columns.treated]
levels = ["no", "yes"]
[disclosure]
allow = [{allow}]
"""

# Every installed method, with settings that make it ask for more than it does by itself.
SURVIVAL: Settings = [
    {"method": "cox", "formula": "Surv(rtime, recur) ~ age + log(nodes + 1) + C(size)", "robust": True},
    {"method": "cox", "formula": "Surv(rtime, recur == 1) ~ age + I(nodes > 3)", "baseline": "shared", "robust": True},
    {"method": "cox", "formula": "Surv(entry, rtime, recur) ~ age + strata(treated)", "baseline": "shared"},
    {"method": "kaplan_meier", "formula": "Surv(rtime, recur) ~ treated", "times": [365.0, 1826.0]},
    {"method": "kaplan_meier", "formula": "Surv(rtime, recur) ~ grade"},
    {"method": "logrank", "formula": "Surv(rtime, recur) ~ treated"},
    {"method": "logrank", "formula": "Surv(rtime, recur) ~ size", "baseline": "per hospital"},
]
CAUSES: Settings = [
    {"method": "competing_risks", "formula": "Surv(rtime, fate) ~ treated", "times": [365.0]},
    {"method": "competing_risks", "formula": "Surv(rtime, fate) ~ age", "model": "cause-specific", "cause": "relapse"},
    {"method": "competing_risks", "formula": "Surv(rtime, fate) ~ age", "model": "fine-gray", "cause": "death"},
    {"method": "competing_risks", "formula": "Surv(rtime, fate) ~ age", "model": "fine-gray", "cause": "relapse",
     "baseline": "shared"},
]  # fmt: skip
OUTCOMES: Settings = [
    {"method": "linear", "formula": "log(er + 1) ~ age + poly(nodes, 2, raw=True)", "robust": True},
    {"method": "logistic", "formula": "treated ~ age + ns(nodes, knots=[3], Boundary.knots=[0, 20])"},
    {"method": "logistic", "formula": "I(nodes > 3) ~ age + size", "weights": "weight", "robust": True},
    {"method": "poisson", "formula": "nodes ~ age + treated + offset(log(rtime))"},
    {"method": "glm", "formula": "rtime ~ age + recur", "family": "gamma", "link": "log"},
    {"method": "glm", "formula": "age ~ 0 + nodes + grade", "link": "log"},
]
TABLES: Settings = [
    {"method": "describe", "variables": ["age", "size", "nodes", "er", "recur"], "by": "treated"},
    {"method": "describe", "variables": ["age", "pgr"], "by": "grade", "quantiles": [0.1, 0.9]},
    {"method": "describe", "variables": ["treated", "age"]},
    {"method": "worklist", "title": "Seen", "criteria": ["age > 60 or nodes > 9", "size == '>50'", "er > 10"]},
    {"method": "similar_cases", "outcome": "size", "question": [60.0, 5.0], "features": ["age", "nodes"]},
]
CIRCE = '{"PrimaryCriteria": {"CriteriaList": [{"Death": {}}]}, "InclusionRules": [{"name": "old"}, {"name": "ill"}]}'
COHORTS: Settings = [{"method": "cohort", "definition": CIRCE}]
CONTROLS = [{"outcome": f"mark{j}"} for j in range(5)] + [{"outcome": "death", "truth": 1.5}]
EFFECTS: Settings = [
    {"method": "effect", "treatment": "treated", "outcome": "recur", "confounders": "age + C(size)",
     "trim": [0.05, 0.6]},
    {"method": "effect", "treatment": "treated", "outcome": "er", "confounders": "age + nodes", "estimator": "aipw",
     "folds": 2},
    {"method": "effect", "treatment": "treated", "outcome": "nodes", "confounders": "age", "estimator": "gformula",
     "family": "poisson", "outcome_model": "treated * age"},
    {"method": "effect", "treatment": "treated", "outcome": "recur", "confounders": "age + nodes",
     "controls": CONTROLS, "diagnostics": {"smd": 0.1, "ease": 0.5}},
    {"method": "effect", "treatment": "hormon", "outcome": "recur", "confounders": "age + nodes", "estimand": "ATO",
     "hospital_effects": True, "own_balance": True},
    {"method": "effect", "treatment": "treated", "outcome": "er", "confounders": "age + nodes + grade",
     "propensity": "lasso"},
    {"method": "effect", "treatment": "treated", "outcome": "er", "confounders": "age + nodes + grade",
     "propensity": "ridge", "estimand": "ATT"},
    {"method": "effect", "treatment": "treated", "outcome": "er", "confounders": "age + C(size)", "estimator": "aipw",
     "propensity": "boosting", "growth": {"trees": 3, "depth": 2}, "folds": 2},
    {"method": "effect", "treatment": "treated", "outcome": "Surv(rtime, recur)", "confounders": "age + nodes",
     "times": [365.0, 1826.0], "stabilised": True},
    {"method": "effect", "treatment": "treated", "outcome": "Surv(rtime, recur)", "confounders": "age",
     "baseline": "shared", "tau": 1826.0},
    {"method": "effect", "treatment": "treated", "outcome": "Surv(rtime, recur)", "confounders": "age + nodes",
     "times": [1826.0], "censoring": "age", "heterogeneity": True, "own_balance": True},
    {"method": "effect", "treatment": "treated", "outcome": "Surv(rtime, recur)", "confounders": "age",
     "estimator": "aipw", "folds": 2, "tau": 1826.0},
    {"method": "effect", "treatment": "treated", "outcome": "Surv(rtime, fate)", "confounders": "age + nodes",
     "cause": "relapse", "times": [365.0]},
    {"method": "effect", "treatment": "treated", "outcome": "Surv(rtime, fate)", "confounders": "age",
     "estimator": "gformula", "times": [1826.0]},
]  # fmt: skip
COSTS: Settings = [
    {"method": "cost", "treatment": "treated", "outcome": "Surv(rtime, recur)", "costs": ["er", "pgr"],
     "intervals": [1826.0, 2922.0], "willingness": [20000.0], "confounders": "age + nodes",
     "own_balance": True},
    {"method": "cost", "treatment": "hormon", "outcome": "Surv(rtime, recur)", "costs": ["er"], "qalys": ["pgr"],
     "intervals": [1826.0], "willingness": [20000.0], "discount": [0.0, 0.0]},
    {"method": "prognostic", "treatment": "treated", "outcome": "er", "trial": "hormon", "score": "age + nodes",
     "covariates": "grade", "difference": 5.0},
    {"method": "prognostic", "treatment": "treated", "outcome": "Surv(rtime, recur)", "trial": "hormon",
     "score": "age + nodes", "covariates": "grade", "difference": -0.3},
]  # fmt: skip
LATER: Settings = [
    {"method": "difference_in_differences", "outcomes": ["er", "pgr", "nodes"], "periods": [2019, 2020, 2021],
     "treated_from": "began", "confounders": "age + C(size)"},
    {"method": "difference_in_differences", "outcomes": ["er", "pgr"], "periods": [2019, 2020],
     "treated_from": "began"},
    {"method": "clone_censor_weight", "outcome": "Surv(rtime, recur)", "started": "start", "grace": 360.0,
     "confounders": "age + nodes", "times": [1826.0]},
    {"method": "clone_censor_weight", "outcome": "Surv(rtime, fate)", "started": "start", "grace": 720.0,
     "confounders": "age + nodes", "times": [2922.0]},
    {"method": "sequential_trials", "outcome": "Surv(rtime, recur)", "started": "start", "periods": [180.0, 360.0],
     "confounders": "age + nodes", "updated": [["nodes", "er"]], "estimand": "ATT", "times": [1826.0]},
    {"method": "sequential_trials", "outcome": "Surv(rtime, recur)", "started": "start", "periods": [730.0],
     "confounders": "age + nodes", "censoring": "age", "times": [3285.0]},
    {"method": "sequential_trials", "outcome": "Surv(rtime, recur)", "started": "start", "periods": [180.0, 900.0],
     "confounders": "age + nodes", "contrast": "per protocol", "times": [700.0]},
    {"method": "sequential_trials", "outcome": "Surv(rtime, death)", "started": "start", "stopped": "stop",
     "periods": [365.0, 1095.0], "confounders": "age", "contrast": "per protocol", "times": [730.0]},
]  # fmt: skip
RECRUITING: Settings = [
    {"method": "recruitment", "title": "Seen", "cohort": "trial", "unknown": 1, "within": 90, "as_of": "2026-10-31",
     "show": ["age"]},
    {"method": "enrolment", "study": "trial", "title": "Seen", "as_of": "2026-10-31"},
]  # fmt: skip
DESCRIBED: Settings = [
    {"method": "overlap", "of": ["one", "two", "ill"]},
    {"method": "pathways", "target": "all", "treatments": ["one", "two"]},
    {"method": "occurrence", "outcome": "ill", "years": [2014, 2018], "ages": [18, 50]},
    {"method": "occurrence", "outcome": "ill", "years": [2014, 2018], "measure": "point prevalence", "among": "all"},
    {"method": "person_time", "outcome": "ill", "exposure": "one", "among": "all", "ages": [18, 50]},
]
FEASIBLE: Settings = [{"method": "feasibility", "cohort": "one", "years": [2020, 2026]}]
PHENOTYPES: Settings = [
    {"method": "pca", "formula": "~ age + nodes + log(er + 1) + C(size)", "worklist": True},
    {"method": "kmeans", "formula": "~ age + log(nodes + 1) + log(er + 1)", "among": [2, 3], "worklist": True},
    {"method": "mixture", "formula": "~ age + log(er + 1) + log(pgr + 1) + C(size)", "clusters": 2, "starts": 2},
]
TREES: Settings = [
    {"method": "boosting", "outcome": "recur", "features": ["age", "nodes", "size", "er"], "trees": 3, "depth": 2,
     "patience": 1, "rows": 0.8, "permutation": 2},
    {"method": "boosting", "outcome": "fate", "features": ["age", "rtime"], "objective": "multiclass", "trees": 2,
     "depth": 2},
    {"method": "boosting", "outcome": "nodes", "features": ["age", "treated"], "objective": "poisson", "trees": 2},
    {"method": "boosting", "outcome": "Surv(rtime, recur)", "features": ["age", "nodes"], "objective": "cox",
     "trees": 3, "depth": 2, "patience": 2},
]  # fmt: skip
NETWORKS: Settings = [
    {"method": "network", "outcome": "recur", "features": "age + nodes", "rounds": 2, "strategy": "scaffold"},
    {"method": "network", "outcome": "fate", "features": "age + C(size)", "rounds": 2, "module": "mlp",
     "settings": {"hidden": [4]}, "personal": ["out"], "fine_tune": 1},
    {"method": "network", "outcome": "nodes", "features": "age + treated", "objective": "poisson", "rounds": 2,
     "steps": 1, "privacy": 1.0},
    {"method": "network", "outcome": "Surv(rtime, recur)", "features": "age", "rounds": 2},
    {"method": "network", "outcome": "Surv(rtime, recur)", "features": "age", "rounds": 2, "fine_tune": 1,
     "intervals": [365, 1095, 2190]},
]  # fmt: skip
PENALISED: Settings = [
    {"method": "penalised", "formula": "er ~ age + nodes + C(size) + treated", "alpha": 0.5},
    {"method": "penalised", "formula": "recur ~ age + nodes + C(size)", "family": "binomial", "adaptive": 1.0},
    {"method": "penalised", "formula": "Surv(rtime, recur) ~ age + nodes + treated", "family": "cox", "folds": 5},
    {"method": "penalised", "formula": "nodes ~ age + treated", "family": "poisson", "penalty": [0.01]},
]  # fmt: skip
NAMED = {name: CIRCE.replace("old", name) for name in ("all", "ill", "one", "two")}
TRIAL = f"[cohorts.trial]\ncirce = '''{CIRCE}'''\n"
INTERACTING: Settings = [
    {"method": "interaction", "first": "treated", "second": "hormon", "outcome": "recur", "confounders": "age + nodes",
     "estimator": "aipw"},
    {"method": "interaction", "first": "treated", "second": "hormon", "outcome": "Surv(rtime, recur)",
     "confounders": "age + nodes", "estimator": "regression"},
    {"method": "interaction", "first": "treated", "second": "hormon", "outcome": "Surv(rtime, recur)",
     "confounders": "age + nodes", "truncate": [0.05, 0.95], "times": [1826.0]},
]  # fmt: skip
RESPONDING: Settings = [
    {"method": "responders", "treatment": "treated", "outcome": "recur", "confounders": "age + nodes",
     "modifiers": "age", "learner": "x", "folds": 3, "worklist": True},
    {"method": "responders", "treatment": "hormon", "outcome": "er", "confounders": "age + nodes",
     "modifiers": "age + nodes", "halves": True, "subgroups": ["nodes >= 4", "grade >= 3", "size"], "threshold": 1,
     "folds": 2},
    {"method": "responders", "treatment": "hormon", "outcome": "Surv(rtime, recur)", "confounders": "age + nodes",
     "modifiers": "age", "tau": 1826, "folds": 2},
]  # fmt: skip
EVALUATING: Settings = [
    {"method": "evaluate", "outcome": "recur", "model": "age + nodes", "thresholds": [0.4, 0.5], "by": "size",
     "coefficients": {"Intercept": -1.0, "age": 0.01, "nodes": 0.1}, "own_measures": True},
    {"method": "evaluate", "outcome": "Surv(rtime, recur)", "model": "nodes", "link": "cox", "times": 2555,
     "coefficients": {"nodes": 0.08}, "baseline": 0.6, "by": "treated"},
    {"method": "evaluate", "outcome": "Surv(rtime, fate)", "model": "nodes", "link": "cox", "times": 1826,
     "coefficients": {"nodes": 0.08}, "baseline": 0.7, "cause": "relapse", "own_measures": True},
    {"method": "evaluate", "outcome": "recur", "learnt": learnt("age", "nodes", (55.0, 3.5))},
    {"method": "evaluate", "outcome": "size", "learnt": classes("age", "nodes", (55.0, 3.5))},
    {"method": "evaluate", "outcome": "recur", "model": "age + nodes", "over": "size", "inputs": {"age": [50, 60]},
     "coefficients": {"Intercept": -1.0, "age": 0.01, "nodes": 0.1}},
]  # fmt: skip
METHODS: dict[str, Settings] = {
    **{f"evaluating {i}": [one] for i, one in enumerate(EVALUATING)},  # a study has one
    "recruiting": RECRUITING, "later": LATER,
    "effects": EFFECTS, "costs": COSTS, "interactions": INTERACTING, "responders": RESPONDING, "described": DESCRIBED,
    "survival": SURVIVAL, "causes": CAUSES, "outcomes": OUTCOMES, "tables": TABLES, "cohorts": COHORTS,
    "networks": NETWORKS, "trees": TREES, "penalised": PENALISED, "feasible": FEASIBLE, "phenotypes": PHENOTYPES,
}  # fmt: skip


def study(analyses: Settings, data: str = "", allow: str = "") -> Study:
    """A study of these analyses, named a0, a1, ..."""
    if any("boosting" in (settings["method"], settings.get("propensity")) for settings in analyses):
        allow = '"histograms"'
    if any(settings["method"] == "network" for settings in analyses):
        allow = '"model_weights"'
    naming = (
        "worklist",
        "recruitment",
        "enrolment",
        "boosting",
        "penalised",
        "network",
    )  # methods that know people by name
    listing = any(settings["method"] in naming or {"folds", "worklist"} & settings.keys() for settings in analyses)
    listing |= any(settings.get("propensity") in ("lasso", "ridge") for settings in analyses)
    blocks = [HEAD.format(data=data + ('\nperson = "pid"' if listing else ""), allow=allow)]
    if any(settings["method"] in {s["method"] for s in (*DESCRIBED, *FEASIBLE)} for settings in analyses):
        blocks += [f"[cohorts.{name}]\ncirce = '''{text}'''\n" for name, text in NAMED.items()]
    blocks += [TRIAL] * any(settings["method"] == "recruitment" for settings in analyses)
    for i, settings in enumerate(analyses):
        lines = [f"{key} = {str(v).lower() if isinstance(v, bool) else toml(v)}" for key, v in settings.items()]
        blocks.append("\n".join(["[[analysis]]", f'name = "a{i}"', *lines]) + "\n")
    return parse("".join(blocks))


def toml(value: Any) -> str:
    """A value in TOML: tables in line, else as Python writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f"{{{', '.join(f'{k} = {v!r}' for k, v in value.items())}}}" if isinstance(value, dict) else repr(value)


def people() -> Frames:
    """The breast demo with the columns that the studies above name, and values missing here and there."""
    frames = breast("delft", "dordrecht", "gouda", "rotterdam", people=None)
    rng = np.random.default_rng(3)
    for frame in frames.values():
        frame["treated"] = np.where(frame["chemo"] > 0, "yes", "no")
        frame["fate"] = np.where(frame["recur"] > 0, "relapse", np.where(frame["death"] > 0, "death", "alive"))
        some = rng.random(len(frame)) < 0.1
        frame["fate"] = np.where(some, "death", frame["fate"])
        frame["entry"] = np.where(rng.random(len(frame)) < 0.3, 10, 0)
        later = np.random.default_rng(9)
        frame["began"] = np.where(later.random(len(frame)) < 0.6, later.choice([2020, 2021], len(frame)), np.nan)
        start = np.ceil(later.exponential(600, len(frame)))
        frame["start"] = np.where(start <= frame["rtime"], start, np.nan)
        stop = frame["start"] + np.ceil(later.exponential(900, len(frame)))
        frame["stop"] = np.where(stop <= frame["rtime"], stop, np.nan)
        frame["rtime"] += 20
        frame["weight"] = rng.uniform(0.5, 2, len(frame))
        for j in range(5):
            frame[f"mark{j}"] = (np.random.default_rng(j).random(len(frame)) < 0.4).astype(float)
        frame[definition(CIRCE).column] = rng.integers(0, 5, len(frame)).astype(float)  # steps that each passes
        frame[definition(CIRCE).entry] = 20_757.0 - rng.integers(0, 200, len(frame))
        for j in (1, 2):
            frame[definition(CIRCE).rule(j)] = rng.choice([0.0, 1.0, np.nan], len(frame))
        able = definition(NAMED["one"])
        frame[able.entry] = np.where(rng.random(len(frame)) < 0.8, 20_000.0 - rng.integers(0, 900, len(frame)), np.nan)
        for j in (1, 2):
            frame[able.rule(j)] = (rng.random(len(frame)) < 0.6).astype(float)
        frame[Look("trial", "Seen", "2026-10-31").column] = rng.integers(0, 8, len(frame)).astype(float)
        frame["_sex"] = np.where(rng.random(len(frame)) < 0.5, "female", "male")
        frame["_birth"] = rng.integers(-14000, 0, len(frame))
        frame["_observed_from"] = rng.integers(15000, 16000, len(frame))
        frame["_observed_to"] = frame["_observed_from"] + rng.integers(400, 3000, len(frame))
        for name, text in NAMED.items():
            d, inside = definition(text), rng.random(len(frame)) < (1.0 if name == "all" else 0.5)
            start = frame["_observed_from"] + rng.integers(0, 5 if name == "all" else 800, len(frame))
            frame[d.start] = start.where(inside)
            frame[d.end] = (frame["_observed_to"] if name == "all" else start + 100).where(inside)
        frame["er"] = frame["er"].where(rng.random(len(frame)) > 0.1)
    frames["gouda"].loc[:3, "age"] = np.nan  # few: the study requires it of everybody
    return frames


def check_left(found: Manifest, left: list[Left]) -> None:
    """Law 3: what left is listed, in no larger shape and no more often."""
    listed: dict[tuple[str, str, str], list[Entry]] = {}
    for e in found.entries:
        listed.setdefault((e.method, e.step, e.name), []).append(e)
    times = Counter((a.analysis.lstrip("_"), a.step, a.name) for a in left)
    assert set(times) <= set(listed)
    for a in left:
        entries = listed[a.analysis.lstrip("_"), a.step, a.name]
        fits = [e for e in entries if e.dims == a.dims and all(n <= b for n, b in zip(a.shape, e.bounds, strict=True))]
        assert fits, (a, entries)
        assert a.bytes <= max(e.bytes for e in fits)
        assert {e.kind for e in fits} == {a.kind}
    for key, count in times.items():
        if all(e.repeats for e in listed[key]):
            assert count <= sum(e.repeats for e in listed[key]), key


def test_every_installed_method_is_here() -> None:
    assert {settings["method"] for analyses in METHODS.values() for settings in analyses} >= set(installed())


LONG = ("phenotypes",)  # of many rounds; those of each method by itself are in the laws


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in METHODS])
def test_what_leaves_is_listed_and_no_larger(name: str) -> None:
    for analysis in METHODS[name]:
        asked = study([analysis])
        found = manifest(asked)
        assert found.unreached == ()
        results = cf.local(people()).run(asked)
        assert not results.errors, analysis
        check_left(found, list(results.left))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_what_leaves_of_a_whole_study_is_listed(name: str) -> None:
    # learned models, and people who are followed from different days, are studies of their own
    asked = study([METHODS[name][0], SURVIVAL[0]] if name in ("later", "networks", "trees") else METHODS[name][:3])
    check_left(manifest(asked), list(cf.local(people()).run(asked).left))


def test_exact_times_are_bounded_too() -> None:
    exact = study([SURVIVAL[3]], "time_step = 1.0", '"fine_times"')
    found = manifest(exact)
    check_left(found, list(cf.local(people()).run(exact).left))
    (exits,) = (e for e in found.entries if e.step == "exits")
    assert exits.bounds[1] > 365 * 100  # a century and more of days, unless the study names a horizon
    bounded = manifest(study([SURVIVAL[3]], "time_step = 1.0\nhorizon = 3650", '"fine_times"'))
    (shorter,) = (e for e in bounded.entries if e.step == "exits")
    assert shorter.bounds == (4, 3651)
    assert shorter.bytes == 16 * 4 * 3651


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_stays_within_its_manifest(name: str) -> None:
    asked, hospitals = load(name)
    found = manifest(asked)
    assert found.unreached == ()
    check_left(found, list(cf.local(hospitals).run(asked).left))


def test_it_is_made_from_the_study_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr("confrere.data.sources.read", never)
    asked = study(SURVIVAL[:1] + OUTCOMES[:1])
    assert manifest(asked) == manifest(asked)
    assert manifest(asked).columns == ("age", "er", "nodes", "recur", "rtime", "size")


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "cox", "formula": "Surv(time, status == 2) ~ log(dose) + C(stage, levels=[1, 2, 3])"},
        {"method": "cox", "formula": "Surv(stop - start, status > 1) ~ standardize(age) + center(log(x))"},
        {"method": "cox", "formula": "Surv(time / 30.4, d) ~ bs(age, knots=[50], lower_bound=20, upper_bound=90)"},
        {"method": "kaplan_meier", "formula": "Surv(time, status != 0) ~ size + grade"},
        {"method": "logrank", "formula": "Surv(time, d) ~ grade + strata(size)"},
        {"method": "linear", "formula": "sqrt(x - 50) ~ log(1 - share) + age:size"},
        {"method": "linear", "formula": "log(cost) ~ I(age > 65) * size"},
        {"method": "logistic", "formula": "I(los >= 7) ~ age"},
        {"method": "logistic", "formula": "status == 2 ~ log2(x) + C(size, ref='>50')"},
        {"method": "poisson", "formula": "visits ~ age + offset(log(years))", "weights": "w"},
        {"method": "glm", "formula": "cost ~ age + size", "family": "gamma"},
        {"method": "glm", "formula": "share ~ age", "family": "binomial", "weights": "w", "link": "probit"},
    ],
    ids=lambda settings: settings["formula"],
)
def test_dummy_people_suit_any_reasonable_formula(settings: dict[str, Any]) -> None:
    found = manifest(study([settings]))
    assert found.unreached == ()
    assert len(found.entries) > 2


def test_what_dummy_people_cannot_reach_is_said(shell: Shell) -> None:
    """No numbers satisfy this formula, so that its steps are listed by name, and other analyses in full."""
    impossible = {"method": "linear", "formula": "y ~ log(x) + log(0 - x)", "robust": True}
    asked = study([impossible, OUTCOMES[0]])
    found = manifest(asked)
    (missed,) = found.unreached
    assert missed.analysis == "a0"
    assert "log is defined for numbers above 0" in missed.reason
    first = "start (total, first, second, cross, outcome, events)"
    assert missed.steps == ("gram (xtx, xty, yty)", "meat (meat)", first)
    (shell.folder / "study.toml").write_text(
        HEAD.format(data="", allow="")
        + '[[analysis]]\nname = "odd"\nmethod = "linear"\nformula = "y ~ log(x) + log(0 - x)"\n'
    )
    said = " ".join(shell("manifest", "study.toml").out.split())
    assert "odd: not listed to its end Dummy people do not suit it: 'log(" in said
    assert f"It may also ask for: gram (xtx, xty, yty), meat (meat), {first}" in said
    assert {e.step for e in found.entries if e.analysis == "a1"} == {"design", "start", "gram", "meat"}


def test_the_page_that_a_steward_reads(shell: Shell) -> None:
    (shell.folder / "study.toml").write_text(
        HEAD.format(data='person = "pid"', allow='"fine_times"').replace("allow =", 'alone = ["gouda"]\nallow =')
        + '[groups]\nsouth = ["delft", "gouda", "rotterdam"]\n'
        + '[[analysis]]\nname = "recurrence"\nmethod = "cox"\ngroup = "south"\n'
        + 'formula = "Surv(rtime, recur) ~ age + nodes"\n'
        + '[[analysis]]\nname = "curve"\nmethod = "kaplan_meier"\ngroup = "south"\n'
        + 'formula = "Surv(rtime, recur) ~ size"\n'
        + '[[analysis]]\nname = "test"\nmethod = "logrank"\ngroup = "south"\n'
        + 'formula = "Surv(rtime, recur) ~ size"\n'
    )
    said = shell("manifest", "study.toml")
    assert (said.code, said.err) == (0, "")
    text = " ".join(said.out.split())
    for words in (
        "What may leave each hospital under every-method", "only ever seen added to those of the other hospitals",
        "recurrence; asked of delft, gouda, rotterdam alone",
        "cox slope: Log-likelihood and score at standardised coefficients.",
        "information terms 2 x terms 2 3 times 48 bytes", "loglik one number", " times 16 bytes",
        "kinds groups 6 x cells", "support counts", "blinded once",
        "test: asks for nothing more; what the analyses above ask for is enough",
        "Columns read (6): age, nodes, pid, recur, rtime, size.",
        "Needs your word for fine_times: exact event times of the network leave",
        "0.25 numbers per person and column",
        "Names gouda: with that member's consent, in its own rules, sums over its people alone may leave",
    ):  # fmt: skip
        assert words in text, words
    assert cf.read("study.toml").hash in said.out
