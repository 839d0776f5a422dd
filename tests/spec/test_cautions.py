"""Warnings: when they are given and when not, and that every code and every error has its section in the docs."""

from __future__ import annotations

import ast
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere import errors
from confrere.analyses import cautions
from confrere.analyses.finding import Caution, Record
from confrere.console.demo import load
from confrere.console.explain import explained, sections
from confrere.errors import ConfrereError, ModelError, StudyError
from confrere.report.cautions import CAUTIONS
from house.tree import modules, name, parsed

PARTS = ("*What it means.*", "*Why it matters.*", "*What to do.*", "*Example.*")


def codes(found: tuple[Caution, ...]) -> list[str]:
    return [caution.code for caution in found]


# The documentation --------------------------------------------------------------------------------------------


def raised() -> dict[str, list[str]]:
    """Every code that the source gives to a `Caution`, and where, each place once for each time."""
    found = dict[str, list[str]]()
    for path in (p for p in modules() if p.parent.name != "report"):  # which shows those it is given
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Caution":
                (code, *_) = node.args
                if isinstance(code, ast.Starred):  # read back from plain data
                    continue
                assert isinstance(code, ast.Constant), f"{name(path)}: a code is written out, so that it can be found"
                found.setdefault(str(code.value), []).append(name(path))
    return found


def situations() -> set[str]:
    """Every situation that the source gives to an error."""
    calls = [n for path in modules() for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]
    words = [k.value for call in calls for k in call.keywords if k.arg == "about"]
    return {str(w.value) for w in words if isinstance(w, ast.Constant) and w.value}


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    assert set(raised()) == set(sections("warnings.md"))


@pytest.mark.parametrize("code", raised())
def test_a_section_says_what_why_and_what_to_do(code: str) -> None:
    text = explained(code)
    at = [text.index(part) for part in PARTS]
    assert all(a < b for a, b in pairwise(at))
    assert Caution(code, "").page == f"warnings.md#{code}"
    assert f"| [{code}](#{code}) |" in (modules()[0].parents[2] / "docs/warnings.md").read_text(encoding="utf-8")


def test_every_code_is_said_in_french() -> None:
    assert set(sections("warnings.fr.md")) == set(sections("warnings.md"))
    for code in raised():
        assert "*Que faire.*" in explained(code, "fr")


def test_every_caution_has_its_sentence_in_french_reports() -> None:
    """One at least for each place that gives a code; that they are those of the source, a test of words asks."""
    found = raised()
    assert set(CAUTIONS) == set(found)
    assert [code for code, places in found.items() if len(CAUTIONS[code]) < len(places)] == []


def test_every_error_and_every_situation_has_a_section_and_every_section_one() -> None:
    classes = {n.lower() for n, e in vars(errors).items() if isinstance(e, type) and issubclass(e, ConfrereError)}
    assert set(sections("errors.md")) == set(sections("errors.fr.md")) == classes | situations()


@pytest.mark.parametrize(
    ("lang", "parts"), [("en", ("*Why.*", "*What to do.*")), ("fr", ("*Pourquoi.*", "*Que faire.*"))]
)
def test_a_section_on_an_error_says_what_why_and_what_to_do(lang: str, parts: tuple[str, str]) -> None:
    for code in sections("errors.md"):
        text = explained(code, lang)
        at = [text.index(part) for part in ("\n**", *parts)]
        assert all(a < b for a, b in pairwise(at)), code


def test_an_error_says_where_more_stands() -> None:
    assert ModelError("x").page == "errors.md#modelerror"
    assert ModelError("x", about="separation").page == "errors.md#separation"
    assert str(ModelError("x", about="separation")) == "x"
    assert explained("errors.md#separation") == explained("separation")


def test_an_unknown_code_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(StudyError, match="did you mean 'few-events'"):
        explained("few-event")


# When they are given ------------------------------------------------------------------------------------------


def test_few_events_are_fewer_than_ten_per_term() -> None:
    assert codes(cautions.few_events(29, 3)) == ["few-events"]
    assert not cautions.few_events(30, 3)


def test_near_separation_is_huge_and_imprecise() -> None:
    names, one = ("a", "b", "c"), np.ones(3)
    (found,) = cautions.separated(names, np.array([4.5, 4.5, 1.0]), np.array([0.9, 0.1, 0.9]), one)
    assert found.code == "near-separation"
    assert found.text.startswith("'a':")
    # per two standard deviations of a number: 0.01 per unit of a column whose SD is 300 is a lot
    unit = cautions.unit_of(np.array([300.0]), np.array([False]))
    assert cautions.separated(("x",), np.array([0.01]), np.array([0.005]), unit)
    assert not cautions.separated(("x",), np.array([0.01]), np.array([0.005]), np.ones(1))


def test_near_collinearity_names_the_terms_and_no_others() -> None:
    rng = np.random.default_rng(1)
    x, other = rng.normal(size=500), rng.normal(size=500)
    for spread, wanted in ((0.01, ["near-collinear"]), (0.3, [])):
        terms = np.column_stack([x, 1000 * (x + spread * rng.normal(size=500)), other])
        found = cautions.collinear(("x", "twin", "other"), np.linalg.inv(terms.T @ terms))
        assert codes(found) == wanted
        assert all("'x', 'twin' nearly" in caution.text for caution in found)
    assert not cautions.collinear(("x",), np.ones((1, 1)))


def zph(**p_values: float) -> list[Record]:
    return [{"term": term, "transform": "log", "p_value": p} for term, p in p_values.items()]


def test_hazards_that_drift_are_told_with_corrected_tests() -> None:
    (found,) = cautions.drifting_hazards(zph(age=0.001, nodes=0.04, sex=0.5, GLOBAL=0.01))
    assert found.code == "not-proportional"
    assert "p = 0.010, corrected for 1 tests; most clearly 'age'." in found.text  # 0.04 x 2 is not under 0.05
    twice = [*zph(age=0.03, GLOBAL=0.03), {"term": "GLOBAL", "transform": "identity", "p_value": 0.9}]
    assert not cautions.drifting_hazards(twice)  # 0.03 x 2 tests
    assert not cautions.drifting_hazards([])


def frame(n: int, seed: int = 3) -> pd.DataFrame:
    """People with independent terms and proportional hazards."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.integers(0, 2, n)
    time = rng.exponential(1000 / np.exp(0.3 * x))
    return pd.DataFrame({"time": np.ceil(time), "event": 1, "x": x, "z": z, "hospital": np.arange(n) % 3})


def run(analysis: object, data: pd.DataFrame) -> tuple[Caution, ...]:
    hospitals = cf.local({f"h{int(h)}": part for h, part in data.groupby("hospital")})
    found: tuple[Caution, ...] = hospitals.run(analysis).warnings
    return found


def test_a_sound_fit_has_no_warning() -> None:
    data = frame(1500)
    data["count"] = np.random.default_rng(5).poisson(np.exp(0.2 * data.x))
    for analysis in (
        cf.Cox("Surv(time, event) ~ x + z"),
        cf.Cox("Surv(time, event) ~ x + z", baseline="shared"),
        cf.Linear("x ~ z"),
        cf.Logistic("z ~ x"),
        cf.Poisson("count ~ x + z"),
    ):
        assert not run(analysis, data), analysis


def test_what_a_fit_warns_of() -> None:
    data = frame(1500)
    rng = np.random.default_rng(7)
    data = data.assign(
        twin=data.x + 0.01 * rng.normal(size=1500),
        rare=(rng.random(1500) < 0.2).astype(int),
        wide=rng.negative_binomial(1, 0.2, 1500),
    )
    data["yes"] = np.where(data.rare == 1, 0, rng.random(1500) < 0.6)
    data.loc[data.index[data.rare == 1][:5], "yes"] = 1  # the least that the gate lets pass
    assert codes(run(cf.Cox("Surv(time, event) ~ x + twin"), data)) == ["near-collinear"]
    assert codes(run(cf.Linear("wide ~ x + twin"), data)) == ["near-collinear"]
    assert codes(run(cf.Logistic("yes ~ rare + x"), data)) == ["near-separation"]
    assert codes(run(cf.Poisson("wide ~ x"), data)) == ["overdispersion"]
    assert not run(cf.Poisson("wide ~ x", robust=True), data)


def test_tests_that_the_budget_leaves_out_are_told() -> None:
    data = frame(90).assign(**{f"x{i}": np.random.default_rng(10 + i).normal(size=90) for i in range(5)})
    formula = "Surv(time, event) ~ x + x0 + x1 + x2 + x3"
    assert codes(run(cf.Cox(formula), data)) == ["hazards-not-tested"]
    assert not run(cf.Cox(formula, diagnostics=False), data)


def test_hospitals_that_gave_nothing_are_counted() -> None:
    data = frame(600)
    small = data.head(5).assign(hospital=3)
    (told,) = run(cf.Cox("Surv(time, event) ~ x"), pd.concat([data, small]))
    assert told == (
        "hospitals-left-out",
        "1 of 4 hospitals has fewer than 11 people for this and takes part with nothing.",
    )


def test_coarse_times_are_told() -> None:
    _, hospitals = load("breast")
    few = {h: part.sample(120, random_state=1) for h, part in hospitals.items()}
    federation = cf.local(few)
    assert codes(federation.run(cf.LogRank("Surv(rtime, recur) ~ hormon")).warnings) == ["coarse-test"]
    late = federation.run(cf.KaplanMeier("Surv(rtime, recur) ~ hormon", times=[4000])).warnings
    assert codes(late) == ["coarse-curve"]
