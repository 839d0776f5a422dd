"""The funnel, the list and the counts by status against R on real data, and against cases worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import ENROLMENT, RECRUITMENT

from confrere.analyses.recruitment import Enrolment, Recruitment
from confrere.hospital.gate import judge_clear
from confrere.rounds import Ask, Site
from confrere.study.circe import Definition, definition
from confrere.study.ground import Ground
from confrere.study.worklist import Worklist
from federate import GATE, LOOSE, fit, oracle, table

R = oracle("recruitment")
DAY = 18_262  # 2020-01-01, from which days are counted here


def cohort(rules: Sequence[str]) -> Definition:
    """A definition with rules of these names; what it means is in the columns."""
    named = ", ".join(f'{{"name": "{rule}"}}' for rule in rules)
    return definition(f'{{"PrimaryCriteria": {{}}, "InclusionRules": [{named}]}}')


def people(made: Definition, entry: Any, rules: Any, reached: Any) -> pd.DataFrame:
    """What a hospital makes of the definition."""
    columns = {made.entry: np.array(entry, dtype=float) + DAY, made.column: np.array(reached, dtype=float)}
    return pd.DataFrame(columns | {made.rule(j): np.array(rule, dtype=float) for j, rule in enumerate(rules, 1)})


def counts(records: Sequence[dict[str, Any]]) -> list[int | None]:
    """The column n of a funnel."""
    return [record["n"] for record in records]


def kept(analysis: Recruitment, frame: pd.DataFrame) -> Worklist:
    """What one hospital keeps."""
    site, design = Site(table(frame)), Ask(analysis, "design", (), "support")
    site.settle(design, judge_clear([site.design(design)], LOOSE))
    site.run(Ask(analysis, "listed", (), "keep"))
    found = site.kept["recruitment", "listed"]
    assert isinstance(found, Worklist)
    return found


def lung() -> tuple[Recruitment, pd.DataFrame]:
    """R's people, and the list that R makes of them."""
    given = R["list"]
    made = cohort(given["rules"])
    rules = np.array(given["met"], dtype=float)
    passed = np.logical_and.accumulate([~np.isnan(np.array(given["entry"], dtype=float)), *(rules == 1)])
    reached = passed.sum(axis=0) + np.array(given["inside"])  # in the cohort after its exits
    ground = Ground(person="row", cohorts=(("lung", made),))
    settings = {"unknown": 1, "within": 600, "as_of": "2021-12-01"}  # day 700
    frame = people(made, given["entry"], rules, reached).assign(row=[str(i + 1) for i in range(len(reached))])
    return Recruitment("Lung", "lung", ground=ground, **settings), frame


@pytest.mark.parametrize("hospitals", [1, 3, 4])
def test_the_funnel_is_that_of_r(hospitals: int) -> None:
    analysis, frame = lung()
    frames = [frame[np.arange(len(frame)) % hospitals == i] for i in range(hospitals)]
    assert counts(fit(analysis, frames, LOOSE).tables["funnel"]) == R["list"]["n"]


def test_the_list_is_that_of_r_in_its_order() -> None:
    analysis, frame = lung()
    found = kept(analysis, frame.sample(frac=1, random_state=3))
    assert list(found.rows["row"]) == [str(row) for row in R["list"]["listed"]]
    assert [row.count("unknown") for row in found.answers] == R["list"]["unknown"]
    assert [n for _, _, n in found.funnel] == R["list"]["n"]
    assert found.contact


def test_what_few_people_tell_apart_is_not_told() -> None:
    """Cells of 1 to 10 people merge: what is told differs by nobody or by 11 people at least."""
    analysis, frame = lung()
    found = fit(analysis, [frame[i::3] for i in range(3)], GATE).tables["funnel"]
    told = [n for n in counts(found) if n is not None]
    assert set(told) < set(R["list"]["n"])
    assert all(n == 0 or n >= 11 for n in -np.diff(told))
    assert [r.get("suppressed", False) for r in found] == [n is None for n in counts(found)]


def test_the_list_by_hand() -> None:
    made = cohort(["one", "two"])
    frame = people(made, RECRUITMENT["entry"], RECRUITMENT["rules"], RECRUITMENT["reached"])
    frame = frame.assign(pid=list("abcdefghi"), age=np.arange(9.0))
    ground = Ground(person="pid", cohorts=(("trial", made),))
    analysis = Recruitment("By hand", "trial", 1, 30, "2020-04-10", ("age",), ground=ground)  # day 100
    assert counts(fit(analysis, [frame[:2], frame[2:5], frame[5:]], LOOSE).tables["funnel"]) == RECRUITMENT["n"]
    found = kept(analysis, frame)
    assert dict(zip(found.rows["pid"], found.answers, strict=True)) == RECRUITMENT["listed"]
    assert list(found.rows["pid"]) == list(RECRUITMENT["listed"])
    assert list(found.rows.columns) == ["pid", "index_date", "age"]
    assert list(found.rows["index_date"]) == ["2020-04-05", "2020-03-31", "2020-04-09", "2020-03-21"]
    assert found.criteria == ("one", "two")


def test_without_gaps_who_is_in_the_cohort_is_listed() -> None:
    made = cohort(["one", "two"])
    frame = people(made, RECRUITMENT["entry"], RECRUITMENT["rules"], RECRUITMENT["reached"]).assign(
        pid=list("abcdefghi")
    )
    analysis = Recruitment("By hand", "trial", ground=Ground(person="pid", cohorts=(("trial", made),)))
    assert sorted(kept(analysis, frame).rows["pid"]) == ["a", "b", "g"]
    assert counts(fit(analysis, [frame] * 3, LOOSE).tables["funnel"])[-1] == 9


ASKED = Enrolment("trial", "Lung", "2021-12-01", ground=Ground(person="row"))


def listed(statuses: Sequence[float | None]) -> pd.DataFrame:
    """People with these statuses; None for who is on no list."""
    frame = pd.DataFrame({ASKED.reads[0]: np.nan_to_num(np.array(statuses, dtype=float))})
    return frame.assign(row=[str(i) for i in range(len(frame))])


@pytest.mark.parametrize("hospitals", [1, 3])
def test_the_counts_by_status_are_those_of_r(hospitals: int) -> None:
    frame = listed(R["enrolment"]["status"])
    found = fit(ASKED, [frame[i::hospitals] for i in range(hospitals)], LOOSE)
    assert counts(found.tables["funnel"]) == R["enrolment"]["n"]


def test_the_counts_by_hand() -> None:
    frame = listed([status for status, n in ENROLMENT["people"].items() for _ in range(n)])
    assert counts(fit(ASKED, [frame[i::3] for i in range(3)], LOOSE).tables["funnel"]) == ENROLMENT["n"]


def test_fewer_steps_are_the_same_counts() -> None:
    frame = listed([status for status, n in ENROLMENT["people"].items() for _ in range(n)])
    found = fit(replace(ASKED, steps=("contacted", "enrolled")), [frame[i::3] for i in range(3)], LOOSE)
    assert [(r["step"], r["n"]) for r in found.tables["funnel"]] == [("people", 40), ("contacted", 17), ("enrolled", 7)]
