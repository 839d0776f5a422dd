"""Output checks: what each finds, what it leaves alone, and that findings of demos and of the laws pass them all."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.finding import Finding
from confrere.analyses.linear import Linear
from confrere.analyses.logistic import Logistic
from confrere.console.demo import DEMOS, load
from confrere.console.fit import Results
from confrere.console.local import Local
from confrere.coordinator.airlock import LEARNED, SOURCES, Check, Rule, checks
from confrere.coordinator.refit import fitted_counts
from confrere.coordinator.withheld import Line, follows
from confrere.report import render
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit
from laws.cases import CASES
from report_sample import sample

RULE = Rule(11)
LEVELS = ("a", "b", "c")


def finding(n: int = 500, **tables: Any) -> Finding:
    """A finding of 500 people with these tables."""
    facts = tables.pop("facts", {})
    return Finding("describe", n, 3, tables, events=tables.pop("events", None), facts=facts)


def verdict(found: Finding, check: str, rule: Rule = RULE) -> Check:
    """What one check says of a finding."""
    return next(c for c in checks({"it": found}, rule) if c.check == check)


def coefficient(term: str = "age", **fields: Any) -> dict[str, Any]:
    return {"term": term, "estimate": 0.2, "std_error": 0.1, "statistic": 2.0, "p_value": 0.05} | fields


# What passes --------------------------------------------------------------------------------------------------


@cache
def demo(name: str) -> Results:
    study, hospitals = load(name)
    results: Results = Local(hospitals).run(study)
    return results


@pytest.mark.parametrize("name", DEMOS)
def test_every_demo_passes(name: str) -> None:
    made = checks(demo(name).findings, RULE)
    assert [c for c in made if c.verdict != "pass"] == []
    assert len(made) == 6 * len(demo(name).findings) + 1
    assert {c.check for c in made} == set(SOURCES) - {"diagnostics", "membership", "reconstruction"}
    assert all(c.reason and c.source for c in made)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.label)
def test_every_case_of_the_laws_passes(case: Any) -> None:
    found = fit(case.analysis, case.hospitals(), case.policy)
    made = checks({"it": found}, Rule(11, tuple(case.policy.allow)))
    untried = case.name in LEARNED and "attack" not in found.tables
    assert [(c.check, c.verdict) for c in made if c.verdict != "pass"] == [("membership", "review")] * untried


def test_a_model_that_no_attack_was_tried_on_is_for_a_person_to_judge() -> None:
    def said(tables: dict[str, Any], method: str = "penalised") -> list[str]:
        made = checks({"it": Finding(method, 900, 3, tables)}, RULE)
        return [c.reason for c in made if (c.check, c.verdict) == ("membership", "review")]

    nobody, untried = "No attack: nobody was held out.", "an outcome that none is tried on"
    assert said({}) == said({"metrics": [{"metric": "AUC", "sample": "training"}]}, "boosting") == [nobody]
    assert untried in said({"cv": [{"lambda": 0.1}]})[0]
    assert untried in said({"metrics": [{"metric": "concordance", "sample": "held out"}]}, "network")[0]
    assert said({}, "cox") == []


def test_a_run_in_one_process_releases_itself_with_its_checks() -> None:
    told = demo("lung").released
    assert (told["state"], told["by"], told["sha256"]) == ("self-released", [], None)
    assert {c["verdict"] for c in told["checks"]} == {"pass"}
    assert "19 output checks passed (self-released)" in repr(demo("lung"))


# Cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["n", "missing", "events", "at_risk", "censored", "observed", "n_treated"])
@pytest.mark.parametrize(("value", "said"), [(0, "pass"), (1, "fail"), (10, "fail"), (11, "pass"), (None, "pass")])
def test_a_count_of_few_people_fails_in_any_table(field: str, value: int | None, said: str) -> None:
    found = verdict(finding(anything=[{"group": "a", field: value}]), "cells")
    assert found.verdict == said
    if said == "fail":
        assert f"anything (group a, {field})" in found.reason
        assert "10 people" in found.reason  # the rule; the count itself is not told


def test_a_share_of_few_people_is_a_count() -> None:
    rows = [{"variable": "x", "level": None, "group": None, "n": 400, "missing": 0, "percent": 1.5}]
    assert "with the mark" in verdict(finding(table1=rows), "cells").reason
    rows[0]["percent"] = 98.5
    assert "without the mark" in verdict(finding(table1=rows), "cells").reason
    rows[0]["percent"] = 50.0
    assert verdict(finding(table1=rows), "cells").verdict == "pass"


@pytest.mark.parametrize(
    ("share", "result"), [(1.0, "pass"), (0.0, "pass"), (0.5, "pass"), (0.06, "fail"), (0.94, "fail")]
)
def test_what_is_observed_of_a_calibration_is_a_share(share: float, result: str) -> None:
    """All of 50 people, not one; 3 of 50 are few, and so are 3 without. By a time it is no count of people."""
    row = {"group": 1, "n": 50, "predicted": 0.9, "observed": share}
    assert verdict(finding(calibration=[row]), "cells").verdict == result
    assert verdict(finding(calibration=[row | {"time": 365.0}]), "cells").verdict == "pass"


def test_those_without_the_event_are_people_too() -> None:
    assert verdict(replace(finding(), events=495), "cells").verdict == "fail"
    groups = [{"group": "a", "n": 100, "observed": 95.0, "expected": 90.0}]
    assert verdict(finding(groups=groups), "cells").verdict == "fail"


def test_a_class_that_the_stewards_approved_is_no_fault() -> None:
    curve = [{"group": "a", "time": 5.0, "at_risk": 500, "events": 1, "censored": 0, "estimate": 0.998}]
    assert verdict(finding(curve=curve), "cells").verdict == "fail"
    said = verdict(finding(curve=curve), "cells", Rule(11, ("fine_times",)))
    assert (said.verdict, "fine_times" in said.reason) == ("pass", True)
    table = [{"variable": "x", "level": "b", "group": "a", "n": 3, "missing": 0}]
    assert verdict(finding(table1=table), "cells", Rule(11, ("fine_times",))).verdict == "fail"
    assert verdict(finding(table1=table), "cells", Rule(11, ("small_cells",))).verdict == "pass"


def test_the_study_may_ask_for_more_people() -> None:
    assert verdict(finding(anything=[{"n": 15}]), "cells", Rule(20)).verdict == "fail"


# Withheld counts ----------------------------------------------------------------------------------------------


def level(name: str, group: str | None, n: int | None, missing: int | None = 0) -> dict[str, Any]:
    return {"variable": "stage", "level": name, "group": group, "n": n, "missing": missing} | (
        {"suppressed": True} if n is None else {}
    )


def test_one_withheld_level_follows_from_the_total() -> None:
    said = verdict(
        finding(n=100, table1=[level("a", None, 60), level("b", None, None), level("c", None, 35)]), "complementary"
    )
    assert (said.verdict, "level b" in said.reason) == ("fail", True)


def test_two_withheld_levels_of_enough_people_do_not_follow() -> None:
    rows = [level("a", None, None), level("b", None, None), level("c", None, 35)]
    assert verdict(finding(n=100, table1=rows), "complementary").verdict == "pass"
    assert verdict(finding(n=43, table1=rows), "complementary").verdict == "fail"  # both together are 8 people


def test_a_level_follows_across_groups() -> None:
    """Each group hides two levels; the column of everybody tells one, and with it the other."""
    rows = [
        level("a", "x", None), level("b", "x", None), level("c", "x", 30),
        level("a", "y", 40), level("b", "y", 20), level("c", "y", 30),
        level("a", None, 45), level("b", None, 50), level("c", None, 60),
    ]  # fmt: skip
    said = verdict(finding(n=155, table1=rows), "complementary")
    assert said.verdict == "fail"
    assert "level a, group x" in said.reason
    assert "level b" not in said.reason  # 30 people: it follows, and is no small count


def test_records_read_tell_who_was_left_out() -> None:
    def rows(read: int | None) -> list[dict[str, Any]]:
        left = {"step": "left out", "reason": "missing age", "n": None}
        return [{"step": "records read", "reason": "", "n": read}, left, {"step": "analysed", "reason": "", "n": 500}]

    assert verdict(finding(attrition=rows(504)), "complementary").verdict == "fail"
    assert verdict(finding(attrition=rows(None)), "complementary").verdict == "pass"


def test_a_group_that_is_left_out_is_what_the_others_are_not() -> None:
    curve = [{"group": g, "time": 30.0, "at_risk": n, "events": 20, "censored": 0} for g, n in (("a", 300), ("b", 195))]
    hidden = [{"group": "c", "estimate": None, "suppressed": True}]
    assert verdict(finding(curve=curve, suppressed=hidden), "complementary").verdict == "fail"
    assert verdict(finding(n=520, curve=curve, suppressed=hidden), "complementary").verdict == "pass"


def test_withheld_censorings_follow_from_those_at_risk_but_not_on_a_ladder() -> None:
    curve = [
        {"group": "a", "time": t, "at_risk": n, "events": 20, "censored": None} for t, n in ((30.0, 300), (60.0, 275))
    ]
    assert verdict(finding(curve=curve), "complementary").verdict == "fail"
    ladder = finding(curve=curve, facts={"grid": "ladder of 9 cells up to 270 days, merged to 4"})
    assert verdict(ladder, "complementary").verdict == "pass"


def test_a_criterion_that_rules_out_a_few() -> None:
    funnel = [{"step": "screened", "criterion": "", "n": 500}, {"step": "not ruled out", "criterion": "age", "n": 494}]
    assert verdict(finding(funnel=funnel), "complementary").verdict == "fail"
    funnel[1]["n"] = 480
    assert verdict(finding(funnel=funnel), "complementary").verdict == "pass"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_follows_is_what_every_filling_agrees_on(data: st.DataObject) -> None:
    """The slow twin: all tables of 2 x 3 counts with the totals and the counts shown."""
    cells = data.draw(st.lists(st.integers(0, 5), min_size=6, max_size=6))
    hidden = data.draw(st.sets(st.integers(0, 5), min_size=1, max_size=4))
    table, keys = np.array(cells).reshape(2, 3), [("t", str(i)) for i in range(6)]
    count = [(keys[i], None if i in hidden else float(cells[i])) for i in range(6)]
    rows = [Line(count[3 * r : 3 * r + 3], (("t", f"row {r}"), float(table[r].sum()))) for r in range(2)]
    columns = [Line([count[c], count[c + 3]], (("t", f"column {c}"), float(table[:, c].sum()))) for c in range(3)]
    values = []
    for filling in itertools.product(range(16), repeat=len(hidden)):
        made = np.array(cells)
        made[sorted(hidden)] = filling
        made = made.reshape(2, 3)
        if (made.sum(0) == table.sum(0)).all() and (made.sum(1) == table.sum(1)).all():
            values.append(filling)
    alone = [h for h, seen in zip(sorted(hidden), zip(*values, strict=True), strict=True) if len(set(seen)) == 1]
    known = {keys[h] for h in alone if 0 < cells[h] < 6}
    sums = [[i for i in line if i in hidden] for line in [(0, 1, 2), (3, 4, 5), (0, 3), (1, 4), (2, 5)]]
    known |= {keys[i] for line in sums for i in line if 0 < sum(cells[j] for j in line) < 6}
    assert set(follows([*rows, *columns], 6)) == known


# Curves, values, models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_risk", "events", "said"), [
    (11, 11, "pass"), (40, 0, "pass"), (10, 0, "fail"), (None, 12, "fail"), (40, 3, "fail"), (40, None, "fail"),
])  # fmt: skip
def test_the_last_step_rests_on_enough_people(at_risk: int | None, events: int | None, said: str) -> None:
    first = {"group": "a", "time": 30.0, "at_risk": 400, "events": 40, "estimate": 0.9}
    last = {"group": "a", "time": 90.0, "at_risk": at_risk, "events": events, "estimate": 0.5}
    found = verdict(finding(curve=[first, last]), "tails")
    assert found.verdict == said
    assert ("time 90" in found.reason) == (said == "fail")


def test_a_curve_is_not_read_beyond_its_end_on_few_people() -> None:
    curve = [{"group": "a", "time": 365.0, "at_risk": 400, "events": 40, "estimate": 0.9}]
    for time, at_risk, said in ((200.0, None, "pass"), (500.0, None, "fail"), (500.0, 8, "fail"), (500.0, 30, "pass")):
        read = [{"group": "a", "time": time, "at_risk": at_risk, "estimate": 0.9}]
        assert verdict(finding(curve=curve, survival=read), "tails").verdict == said


def test_ends_of_the_data_and_far_quantiles_are_people() -> None:
    row: dict[str, Any] = {"variable": "age", "group": None, "n": 100}
    assert verdict(finding(table1=[row | {"max": 97.0, "missing": 0}]), "extremes").verdict == "fail"
    assert verdict(finding(facts={"minimum": 18.0}), "extremes").verdict == "fail"
    assert verdict(finding(anything=[row | {"q5": 31.0}]), "extremes").verdict == "fail"
    assert verdict(finding(anything=[row | {"q25": 40.0}]), "extremes").verdict == "pass"
    assert verdict(finding(anything=[row | {"q5": 31.0, "resolution": 4.0}]), "extremes").verdict == "pass"


@pytest.mark.parametrize(("fields", "said"), [
    ({}, "pass"), ({"std_error": 0.0}, "review"), ({"statistic": 400.0}, "review"), ({"statistic": -400.0}, "review"),
    ({"statistic": 60.0}, "pass"), ({"statistic": 400.0, "term": "Intercept"}, "pass"), ({"statistic": None}, "pass"),
])  # fmt: skip
def test_an_estimate_that_determines_the_outcome_is_to_be_judged(fields: dict[str, Any], said: str) -> None:
    assert verdict(finding(coefficients=[coefficient(**fields)]), "extremes").verdict == said
    assert verdict(finding(coefficients=[coefficient()], facts={"r_squared": 0.99999}), "extremes").verdict == "review"


def people(counts: dict[tuple[str, int], int]) -> pd.DataFrame:
    """A row for each person of (stage, outcome)."""
    rows = [key for key, n in counts.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["stage", "ill"]).assign(y=np.arange(len(rows)) % 7.0)


SMALL = {("a", 0): 60, ("a", 1): 40, ("b", 0): 50, ("b", 1): 7, ("c", 0): 30, ("c", 1): 33}


def regressed(method: Any, formula: str, frame: pd.DataFrame) -> Finding:
    schema = Schema({"stage": Column("stage", LEVELS)})
    typed = frame.assign(stage=pd.Categorical(frame["stage"], LEVELS), ill=frame["ill"].astype(float))
    return fit(method(formula, ground=Ground(schema)), [typed[i::3] for i in range(3)], LOOSE)


def test_a_saturated_model_gives_back_its_table_and_a_small_count_fails() -> None:
    found = regressed(Logistic, "ill ~ C(stage)", people(SMALL))
    counts = fitted_counts(found)
    assert sorted(counts.values()) == sorted(SMALL.values())
    said = verdict(found, "saturated")
    assert said.verdict == "fail"
    assert "level" not in said.reason
    assert "b, with the outcome" in said.reason
    enough = regressed(Logistic, "ill ~ C(stage)", people(SMALL | {("b", 1): 17}))
    assert verdict(enough, "saturated").verdict == "pass"
    assert "gives back" in verdict(enough, "saturated").reason


def test_a_number_that_is_0_or_1_is_a_group_as_well() -> None:
    frame = people(SMALL).assign(x=lambda f: (f["stage"] == "b").astype(float))
    assert sorted(fitted_counts(regressed(Logistic, "ill ~ x", frame)).values()) == [7, 50, 73, 90]
    crossed = frame.assign(x=lambda f: (np.arange(len(f)) % 2).astype(float))
    counts = fitted_counts(regressed(Linear, "y ~ C(stage) * x", crossed))
    assert sorted(counts.values()) == sorted(crossed.groupby(["stage", "x"]).size())


def test_a_model_of_measurements_gives_back_nothing() -> None:
    frame = people(SMALL).assign(x=np.random.default_rng(1).normal(size=sum(SMALL.values())))
    assert fitted_counts(regressed(Logistic, "ill ~ x", frame)) == {}
    assert fitted_counts(regressed(Logistic, "ill ~ C(stage) + x", frame)) == {}
    assert fitted_counts(finding()) == {}


@pytest.mark.parametrize(("n", "said"), [(12, "pass"), (11, "fail")])
def test_ten_residual_degrees_of_freedom(n: int, said: str) -> None:
    terms = [coefficient("Intercept"), coefficient()]
    assert verdict(finding(n=n, coefficients=terms), "freedom").verdict == said
    assert verdict(finding(n=500, coefficients=terms, facts={"df_residual": n - 2}), "freedom").verdict == said
    cox = replace(finding(n=500, coefficients=terms, facts={"baseline": "shared"}), events=n)
    assert verdict(cox, "freedom").verdict == said


def test_two_analyses_that_differ_by_a_few_are_to_be_judged() -> None:
    assert checks({"one": finding(500), "two": finding(495)}, RULE)[-1].verdict == "review"
    assert checks({"one": finding(500), "two": finding(480)}, RULE)[-1].verdict == "pass"
    assert checks({"one": finding(500), "two": finding(500)}, RULE)[-1].verdict == "pass"


# In the report ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "by", "english", "french"), [
    ("self-released", [], "This run released itself", "Cette exécution s’est libérée elle-même"),
    ("held", [], "This result is not released", "Ce résultat n’est pas libéré"),
    ("released", [], "All checks passed, and the airlock", "le sas a laissé passer"),
    ("released", ["grace", "mary"], "Read and released by grace, mary on 2026-11-22.", "Lu et libéré par grace, mary"),
])  # fmt: skip
def test_the_report_says_who_released_it_and_what_did_not_pass(
    state: str, by: list[str], english: str, french: str
) -> None:
    missed = [{"diagnostic": "smd", "value": 0.3, "threshold": 0.1, "passed": False}]
    coin = [{"attack": "membership by loss", "estimate": 0.52, "std_error": 0.03}]
    guess = [{"metric": "AUC", "of_training": 0.9, "of_others": 0.7, "estimate": 0.2, "std_error": 0.02}]
    found = finding(anything=[{"n": 3}], diagnostics=missed, attack=coin, reconstruction=guess)
    made = [verdict(found, check) for check in SOURCES]
    release = {"state": state, "by": by, "at": "2026-11-22T08:00:00+00:00", "sha256": "0" * 64, "comment": ""}
    result = sample() | {"release": release | {"checks": [check._asdict() for check in made]}}
    page, page_fr = render(result), render(result, "fr")
    assert english in page
    assert french in page_fr
    assert "Counts of 1 to 10 people: anything (n)." in page
    assert "did not pass" in page
    assert "effectifs de moins de 11 personnes" in page_fr
    assert "non satisfait" in page_fr
