"""Feasibility: variants, limits, what a released finding still answers, numbers of criteria that may be changed."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from confrere.analyses.feasibility import Feasibility
from confrere.analyses.feasibility_accrual import Calendar
from confrere.analyses.feasibility_patterns import Patterns, bounds
from confrere.analyses.feasibility_tables import read_back
from confrere.errors import StudyError
from federate import GATE, fit
from laws.cases import OLDER, PLACES, STUDY, definition, eligible

ASKED = Feasibility(STUDY, (2018, 2022), (OLDER,), ground=PLACES)


def test_patterns_are_numbered_and_read() -> None:
    patterns = Patterns((False, True), (0,))
    answers = patterns.answers()
    assert patterns.size == 1 + 2 * 3 * 2
    assert (patterns.number(np.ones(12, dtype=bool), answers[1:]) == np.arange(1, 13)).all()
    assert patterns.number(np.array([False]), answers[1:2]).tolist() == [0]
    assert patterns.stops()[[0, 1, 12]].tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"years": (2024, 2015)}, "years"),
        ({"window": 0}, "window"),
        ({"variants": (STUDY,)}, "another cohort"),
        ({"variants": (STUDY.replace("Death", "VisitOccurrence"),)}, "entry event"),
        ({"variants": (json.dumps({**json.loads(STUDY), "InclusionRules": []}),)}, "0 criteria, not 3"),
        (
            {
                "variants": (
                    OLDER.replace('"no cancer before", "expression": {}', '"x", "expression": {"Type": "ALL"}'),
                )
            },
            "2",
        ),
        ({"cohort": '{"PrimaryCriteria": {}}'}, "no criteria"),
        ({"cohort": json.dumps({"PrimaryCriteria": {}, "InclusionRules": [{}] * 11})}, "2048 patterns; 1024"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        Feasibility(**({"cohort": STUDY, "years": (2018, 2022), "ground": PLACES} | settings)).check()


def test_months_of_a_calendar() -> None:
    calendar = Calendar(2020, 2021)
    days = np.array(
        [18261.0, 18262.0, 18292.0, 18293.0, 18992.0, 18993.0]
    )  # 31 Dec 2019, 1, 31 Jan, 1 Feb; 31 Dec 2021
    assert calendar.cell(days).tolist() == [0, 1, 1, 2, 24, 25]
    assert (calendar.name(1), calendar.name(24)) == ("2020-01", "2021-12")


def test_a_released_finding_answers_any_set_of_criteria() -> None:
    """From its tables alone: the truth lies between the ends, and they are those of the finding itself."""
    frame = eligible(1200, 5)
    tables = json.loads(json.dumps(fit(ASKED, [frame[i::3] for i in range(3)], GATE).tables))
    told, made = read_back(ASKED.patterns, tables, 11), definition(STUDY)
    met = {j: (frame[made.rule(j + 1)] == 1).to_numpy() for j in range(3)}
    met[3] = (frame[definition(OLDER).rule(1)] == 1).to_numpy()
    for size in range(1, 4):
        for columns in combinations(range(4), size):
            truth = int(np.logical_and.reduce([met[j] for j in columns]).sum())
            low, high = bounds(told, ASKED.patterns.meeting(list(columns)).astype(float))
            assert low - 1e-9 <= truth <= high + 1e-9
    (variant,) = tables["variants"]
    ends = bounds(told, ASKED.patterns.meeting([3, 1, 2]).astype(float))
    assert (round(ends.low), round(ends.high)) == (variant["n_low"], variant["n_high"])


def test_numbers_of_a_criterion_are_changed_where_they_stand() -> None:
    pytest.importorskip("fastapi")
    from confrere.console.pages.feasibility_counts import changed, numbers

    window = {"Start": {"Days": 365, "Coeff": -1}, "End": {"Days": 0, "Coeff": 1}}
    listed = [{"StartWindow": window, "Occurrence": {"Type": 0, "Count": 0}}]
    ages = [{"Age": {"Value": 50, "Op": "bt", "Extent": 80}}]
    rule = {"name": "r", "expression": {"CriteriaList": listed, "DemographicCriteriaList": ages}}
    found = {n.what: n for n in numbers(rule)}
    assert {what: n.value for what, n in found.items()} == {
        "Age from": 50, "Age up to": 80, "days before": 365, "days after": 0, "times": 0,
    }  # fmt: skip
    made = changed(rule, {found["Age from"].name: "65", found["days before"].name: "30,5", "other": "1"})
    assert made["expression"]["DemographicCriteriaList"][0]["Age"] == {"Value": 65, "Op": "bt", "Extent": 80}
    assert made["expression"]["CriteriaList"][0]["StartWindow"]["Start"]["Days"] == 30.5
    assert ages[0]["Age"]["Value"] == 50
    for wrong in ("old", "-3", "1e99", "nan"):
        with pytest.raises(StudyError):
            changed(rule, {found["Age from"].name: wrong})


def test_the_page_of_a_released_finding_counts_what_is_chosen() -> None:
    pytest.importorskip("fastapi")
    from starlette.datastructures import QueryParams

    from confrere.console.pages.feasibility import chosen

    frame = eligible(1200, 5)
    finding = fit(ASKED, [frame[i::3] for i in range(3)], GATE)
    at_first = chosen(ASKED, finding, 11, QueryParams(""))
    assert [one["on"] for one in at_first["criteria"]] == [True] * 3
    assert at_first["ends"] == at_first["every"] == (finding.tables["funnel"][-1]["n"],) * 2
    (variant,) = finding.tables["variants"]
    older = chosen(ASKED, finding, 11, QueryParams("asked=1&on=0&on=1&on=2&variant0=0"))
    assert older["ends"] == (variant["n_low"], variant["n_high"])
    nobody_asked = chosen(ASKED, finding, 11, QueryParams("asked=1"))
    assert nobody_asked["ends"] == (finding.tables["funnel"][1]["n"],) * 2  # everybody with an entry event
