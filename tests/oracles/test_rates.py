"""Incidence, prevalence, person-time by exposure, overlap and pathways: against R, slow twins, and cases by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import OCCURRENCE, OVERLAP, PATHWAYS, PERSON_TIME

from confrere.analyses import rates, standard_populations
from confrere.analyses.finding import Finding
from confrere.analyses.lexis import Axes
from confrere.analyses.lines_of_treatment import Stays, labels, lines
from confrere.analyses.occurrence import Occurrence
from confrere.analyses.overlap import Overlap
from confrere.analyses.pathways import Pathways
from confrere.analyses.person_time import TOGETHER, UNTOLD, PersonTime
from confrere.data.table import Table
from confrere.errors import DataError, ModelError, StudyError
from confrere.hospital.gate import Policy, judge_clear
from confrere.rounds import clear, drive, supported
from confrere.study.circe import Definition, definition
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import GATE, LOOSE, oracle

R = oracle("rates")
COHORTS = {
    name: definition(json.dumps({"PrimaryCriteria": {"CriteriaList": [{"Death": {}}]}, "Title": name}))
    for name in ("target", "outcome", "a", "b", "c")
}
GROUND = Ground(Schema({"_sex": Column("_sex", ("female", "male", "other"))}), cohorts=tuple(COHORTS.items()))
Given = Mapping[str, Sequence[tuple[int, float, float]]]  # stays by cohort: person, first and last day


def table(people: pd.DataFrame, stays: Given) -> Table:
    """A hospital's table of these people, made as of OMOP records: the first stays as columns, all of them as rows."""
    events, columns = {}, {}
    for name, d in COHORTS.items():
        rows = pd.DataFrame(list(stays.get(name, ())), columns=["row", "start", "end"]).astype({"row": int})
        first = rows.sort_values("start").groupby("row").first().reindex(range(len(people)))
        columns |= {d.start: first["start"].to_numpy(float), d.end: first["end"].to_numpy(float)}
        events[d.column] = rows
    frame = people.reset_index(drop=True).assign(**columns)
    return Table(frame, len(frame), {}, {}, "test", events=events)


def found(analysis: Any, people: pd.DataFrame, stays: Given, policy: Policy = LOOSE) -> Finding:
    """The finding of these people, dealt to three hospitals in turn."""
    analysis.check()
    tables = []
    for i in range(3):
        own = {name: [(row // 3, *days) for row, *days in rows if row % 3 == i] for name, rows in stays.items()}
        tables.append(table(people[i::3], own))
    result: Finding = drive(supported(analysis.flow()), clear(tables, lambda made: judge_clear(made, policy)))
    return result


def drawn() -> tuple[pd.DataFrame, Given]:
    """The people of R."""
    p = R["people"]
    sex = pd.Categorical(p["sex"], ["female", "male", "other"])
    people = pd.DataFrame({"_birth": p["birth"], "_sex": sex, "_observed_from": p["from"], "_observed_to": p["to"]})
    ill = [(i, a, b) for i, (a, b) in enumerate(zip(p["outcome"], p["end"], strict=True)) if a is not None]
    s = R["stays"]
    taken = [(i - 1, a, b) for i, a, b in zip(s["person"], s["start"], s["stop"], strict=True)]
    whole = [(i, a, b) for i, (a, b) in enumerate(zip(p["from"], p["to"], strict=True))]
    return people.astype({"_birth": float, "_observed_from": float, "_observed_to": float}), {
        "outcome": ill, "a": taken, "target": whole,
    }  # fmt: skip


# R ------------------------------------------------------------------------------------------------------------


def test_incidence_is_that_of_pyears_and_poisson_test() -> None:
    study = Occurrence("outcome", (2010, 2016), ages=(20, 40, 60), standard="ESP 2013", ground=GROUND)
    got = found(study, *drawn())
    for by, said in R["incidence"].items():
        rows = [r for r in got.tables["rates"] if r["by"] == by]
        assert [r["events"] for r in rows] == np.atleast_1d(said["events"]).tolist()
        for field, scale in (("person_years", 365.25), ("estimate", 1), ("conf_low", 1), ("conf_high", 1)):
            expected = np.atleast_1d(said["days" if field == "person_years" else field]) / scale
            np.testing.assert_allclose([r[field] for r in rows], expected, rtol=1e-10)
    (row,) = got.tables["standardised"]
    for field, value in R["standardised"].items():
        assert row[field] == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("measure", ["point prevalence", "period prevalence"])
def test_prevalence_is_that_of_prop_test(measure: str) -> None:
    got = found(Occurrence("outcome", (2010, 2016), measure=measure, ages=(20, 60), ground=GROUND), *drawn())
    rows = [r for r in got.tables["prevalence"] if r["by"] == "year"]
    fields = ("cases", "people", "conf_low", "conf_high")
    np.testing.assert_allclose([[r[f] for f in fields] for r in rows], R[measure.split()[0]], rtol=1e-10)
    for by in ("age", "sex"):  # of the last year
        parts = [r for r in got.tables["prevalence"] if r["by"] == by]
        assert [sum(r[f] for r in parts) for f in ("cases", "people")] == [rows[-1]["cases"], rows[-1]["people"]]


def test_person_time_is_that_of_day_after_day() -> None:
    study = PersonTime("outcome", "a", lag=5, ages=(20, 50), sexes=True, ground=GROUND)
    got = found(study, *drawn())
    strata = [r for r in got.tables["rates"] if r["stratum"]]
    assert [r["events"] for r in strata] == R["states"]["events"]
    np.testing.assert_allclose([r["person_years"] * 365.25 for r in strata], R["states"]["days"], rtol=1e-12)
    for row, said in zip(got.tables["ratios"], (R["crude"], R["mh"]), strict=True):
        for field in said.keys() - ({"p_value"} if row["measure"] != "crude" else set()):
            assert row[field] == pytest.approx(said[field], rel=1e-6 if field == "p_value" else 1e-9), (row, field)


def test_within_a_cohort_of_everybody_it_is_the_same() -> None:
    people, stays = drawn()
    one, other = (
        found(PersonTime("outcome", "a", within, ground=GROUND), people, stays).tables for within in ("", "target")
    )
    assert one["rates"] == other["rates"]


# Slow twins ---------------------------------------------------------------------------------------------------


def slow_lines(stays: Sequence[Stays], person: int, most: int, overlap_days: int) -> list[str]:
    """The lines of a person, day after day."""
    names = [f"t{i}" for i in range(len(stays))]
    eras = [(s.start[i], s.end[i] + 1, w) for w, s in enumerate(stays) for i in np.flatnonzero(s.row == person)]
    cut = []
    for start, end, what in eras:  # a treatment that another one replaces ends early
        for other, after, which in sorted(eras):
            if which != what and start < other < end < after and end - other < overlap_days:
                end = other
        cut.append((start, end, what))
    told: list[str] = []
    for today in range(int(min((e[0] for e in cut), default=0)), int(max((e[1] for e in cut), default=0))):
        held = sorted({what for start, end, what in cut if start <= today < end})
        name = " + ".join(names[i] for i in held) if len(held) < 3 else "three or more together"
        if held and name not in told:
            told.append(name)
    return told[:most]


@pytest.mark.parametrize("seed", range(4))
def test_lines_are_those_of_day_after_day(seed: int) -> None:
    rng, people = np.random.default_rng(seed), 60
    made = []
    for _ in range(3):
        row = rng.integers(0, people, 80)
        start = rng.integers(0, 300, 80).astype(float)
        made.append(Stays(row, start, start + rng.integers(0, 120, 80)).joined(10 * seed))
    names = labels(("t0", "t1", "t2"))
    got = lines(made, people, 4, 30)
    for person in range(people):
        assert [names[c] for c in got[person] if c >= 0] == slow_lines(made, person, 4, 30)


def test_joining_stays_is_that_of_day_after_day() -> None:
    rng = np.random.default_rng(5)
    row, start = rng.integers(0, 30, 200), rng.integers(0, 400, 200).astype(float)
    end = start + rng.integers(0, 60, 200)
    for gap in (0, 3, 30):
        got = Stays(row, start, end).joined(gap)
        for person in range(30):
            mine = np.zeros(600, dtype=bool)
            for a, b in zip(start[row == person], end[row == person], strict=True):
                mine[int(a) : int(b) + 1] = True
            runs = [(int(g[0]), int(g[-1])) for g in np.split(np.flatnonzero(mine), np.flatnonzero(
                np.diff(np.flatnonzero(mine)) > gap + 1) + 1) if g.size]  # fmt: skip
            own = got.row == person
            assert list(zip(got.start[own].astype(int), got.end[own].astype(int), strict=True)) == runs


def test_paths_add_up() -> None:
    """Under the gate: paths told and those folded are everybody, and each has 11 people at least."""
    rng = np.random.default_rng(8)
    n = 900
    people = pd.DataFrame({"x": np.zeros(n)})
    stays: dict[str, list[tuple[int, float, float]]] = {"target": [(i, 0.0, 999.0) for i in range(n)]}
    for name, share in (("a", 0.8), ("b", 0.4), ("c", 0.1)):
        start = rng.integers(0, 800, n)
        stays[name] = [(i, float(start[i]), float(start[i] + 90)) for i in range(n) if rng.random() < share]
    study = Pathways("target", ("a", "b", "c"), ground=GROUND)
    told, all_ = (found(study, people, stays, policy).tables["pathways"] for policy in (GATE, LOOSE))
    assert sum(r["n"] for r in told) == sum(r["n"] for r in all_) == n
    assert min(r["n"] for r in told) >= 11 > min(r["n"] for r in all_)
    exact, shown = dict[str, int](), dict[str, int]()
    for size in (1, 2, 3):
        exact, shown = _prefixes(all_, size), _prefixes(told, size)
        assert all(n == exact[path] for path, n in shown.items() if "other" not in path)
    assert shown != exact


def _prefixes(records: list[dict[str, Any]], size: int) -> dict[str, int]:
    """People by the first lines of their paths."""
    made: dict[str, int] = {}
    for r in records:
        path = "/".join(str(r[f"line_{i}"]) for i in range(1, size + 1))
        made[path] = made.get(path, 0) + r["n"]
    return made


# By hand ------------------------------------------------------------------------------------------------------


def test_overlap_by_hand() -> None:
    counts: dict[str, int] = OVERLAP["people"]
    everybody = [held for held, n in counts.items() for _ in range(n)]
    stays = {name: [(i, 0.0, 1.0) for i, held in enumerate(everybody) if name in held] for name in "abc"}
    people = pd.DataFrame({"x": np.zeros(len(everybody))})
    study = Overlap(("a", "b", "c"), ground=GROUND)
    for policy, expected in ((LOOSE, OVERLAP["n"]), (GATE, OVERLAP["told"])):
        got = found(study, people, stays, policy).tables
        told = {"".join(c for c in "abc" if r[c]): r["n"] for r in got["overlap"]}
        assert {held: n for held, n in told.items() if n is not None} == expected
        assert [r["n"] for r in got["totals"]] == OVERLAP["totals"]


def test_pathways_by_hand() -> None:
    stays: dict[str, list[tuple[int, float, float]]] = {"target": []}
    for i, person in enumerate(PATHWAYS["people"]):
        stays["target"].append((i, 0.0, 1000.0))
        for name, start, end in person["stays"]:
            stays.setdefault(name, []).append((i, float(start), float(end)))
    people = pd.DataFrame({"x": np.zeros(len(PATHWAYS["people"]))})
    got = found(Pathways("target", ("a", "b", "c"), ground=GROUND), people, stays).tables["pathways"]
    told = sorted(tuple(r[f"line_{i}"] for i in (1, 2, 3) if r[f"line_{i}"]) for r in got for _ in range(r["n"]))
    assert told == sorted(tuple(person["lines"]) for person in PATHWAYS["people"])


def test_occurrence_by_hand() -> None:
    people = pd.DataFrame(OCCURRENCE["people"])
    people["_sex"] = pd.Categorical(people["_sex"], ["female", "male", "other"])
    study = Occurrence("outcome", (2010, 2011), ages=(0, 50), washout=0, ground=GROUND)
    got = found(study, people, {"outcome": OCCURRENCE["outcome"]}).tables["rates"]
    told = {(r["by"], r["level"]): (r["events"], round(r["person_years"] * 365.25)) for r in got}
    assert told == OCCURRENCE["told"]


def test_person_time_by_hand() -> None:
    people = pd.DataFrame(PERSON_TIME["people"])
    stays = {"outcome": PERSON_TIME["outcome"], "a": PERSON_TIME["exposure"]}
    got = found(PersonTime("outcome", "a", carry_over=10, ground=GROUND), people, stays).tables
    told = {r["state"]: (r["events"], round(r["person_years"] * 365.25)) for r in got["rates"]}
    assert told == PERSON_TIME["told"]
    assert got["ratios"][0]["rate_ratio"] == pytest.approx(PERSON_TIME["ratio"], rel=1e-12)


# Statistics and rules -----------------------------------------------------------------------------------------


def test_a_rate_of_no_events_has_an_upper_limit() -> None:
    assert rates.rate(0, 100)[:2] == (0.0, 0.0)
    assert rates.rate(0, 100).conf_high == pytest.approx(-np.log(0.025) / 100)
    assert rates.rate(3, 0) == rates.NOTHING
    assert rates.ratio(np.array([4.0, 0.0]), np.array([10.0, 10.0])).limits.conf_high is None


def test_standards_are_whole_and_bands_are_sums() -> None:
    assert sum(standard_populations.STANDARDS["ESP 2013"]) == 100_000
    assert sum(standard_populations.STANDARDS["WHO 2000-2025"]) == pytest.approx(100.03)
    got = standard_populations.weights("ESP 2013", (0, 20, 65))
    assert got.tolist() == [21_500, 59_000, 19_500]
    with pytest.raises(StudyError, match="bands of ESP 2013 begin at"):
        standard_populations.check("ESP 2013", (0, 18))


def test_joined_years_and_bands() -> None:
    axes = Axes((2010, 2011, 2012, 2013), (0, 20, 40), ("female", "male"))
    assert axes.joined({("years", 1)}).years == (2010, 2012, 2013)
    assert axes.joined({("years", 0)}).years == (2010, 2012, 2013)
    assert axes.joined({("ages", 1), ("ages", 2)}).ages == (0, 40)
    assert axes.joined({("sexes", 0)}).sexes == ()
    assert Axes((2010, 2012), (), ()).label("years", 0) == "2010-2011"


def test_years_in_which_few_come_and_go_are_told_together() -> None:
    """300 people are at risk from 2010 to 2013; five of them from 2012 on only: 2011 less 2012 would be these five."""
    first, last = (float(np.datetime64(d, "D").astype(int)) for d in ("2010-01-01", "2013-12-31"))
    later = float(np.datetime64("2012-01-01", "D").astype(int))
    n = 300
    people = pd.DataFrame({
        "_birth": np.full(n, first - 50 * 365.0), "_observed_from": [later if i < 5 else first for i in range(n)],
        "_observed_to": last,
    })  # fmt: skip
    days = first + np.random.default_rng(1).integers(0, 300, n) + np.where(np.arange(n) % 4 == 1, 1100, 0)
    ill = [(i, days[i], days[i]) for i in range(5, n, 2)]  # in 2010 or 2013: in between nobody comes or goes but five
    study = Occurrence("outcome", (2010, 2013), ages=(0,), sexes=False, washout=0, ground=GROUND)
    got = found(study, people, {"outcome": ill}, GATE)
    levels = [r["level"] for r in got.tables["rates"] if r["by"] == "year"]
    assert "2012" not in levels
    assert got.notes
    fine = found(study, people.assign(_observed_from=first), {"outcome": ill}, GATE)
    assert [r["level"] for r in fine.tables["rates"] if r["by"] == "year"] == ["2010", "2011", "2012", "2013"]


def test_who_stays_for_a_year_alone_hides_who_stays_for_two() -> None:
    """Everybody is there for one whole year but five: people of all years, less all people, would be these five."""
    starts = [float(np.datetime64(f"{y}-01-01", "D").astype(int)) for y in (2010, 2011, 2012)]
    n = 300
    begin = np.array([starts[i % 2] for i in range(n)])
    end = np.array([starts[i % 2 + 1] - 1 for i in range(n)])
    end[:10:2] = starts[2] - 1
    people = pd.DataFrame({"_birth": begin - 50 * 365.0, "_observed_from": begin, "_observed_to": end})
    ill = [(i, begin[i], begin[i] + 100.0) for i in range(n) if i % 3 == 0]
    study = Occurrence(
        "outcome", (2010, 2011), measure="period prevalence", ages=(0,), sexes=False, washout=0, ground=GROUND
    )
    got = found(study, people, {"outcome": ill}, GATE).tables["prevalence"]
    assert [r["level"] for r in got if r["by"] == "year"] == ["2010-2011"]


@pytest.mark.parametrize(
    ("analysis", "says"),
    [
        (Overlap(("a",), ground=GROUND), "2 to 6 different"),
        (Overlap(("a", "d"), ground=GROUND), "'d' is no name of"),
        (Pathways("target", ("a", "a"), ground=GROUND), "different names"),
        (Pathways("target", ("a", "b"), lines=9, ground=GROUND), "lines is 9"),
        (Pathways("target", ("a", "b"), gap=-1, ground=GROUND), "gap is -1"),
        (Occurrence("outcome", (2012, 2010), ground=GROUND), "the first and the last"),
        (Occurrence("outcome", (2010, 2012), measure="odds", ground=GROUND), "must be one of incidence"),
        (Occurrence("outcome", (2010, 2012), ages=(40, 20), ground=GROUND), "ascending"),
        (Occurrence("outcome", (2010, 2012), standard="Segi", ground=GROUND), "ESP 2013"),
        (PersonTime("outcome", "outcome", ground=GROUND), "name two cohorts"),
        (PersonTime("outcome", "a", carry_over=-1, ground=GROUND), "carry_over is -1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_make_no_sense(analysis: Any, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        analysis.check()


def test_a_table_of_other_definitions() -> None:
    frame = pd.DataFrame({"x": np.zeros(30)})
    tables = [Table(frame, 30, {}, {}, "test")] * 3
    with pytest.raises(DataError, match="no column"):
        drive(supported(Overlap(("a", "b"), ground=GROUND).flow()), clear(tables, lambda m: judge_clear(m, LOOSE)))


def test_too_few_events() -> None:
    people, stays = drawn()
    rare = {**stays, "outcome": stays["outcome"][:4]}
    with pytest.raises(ModelError, match="too few people have 'outcome'"):
        found(Occurrence("outcome", (2010, 2016), ages=(20,), ground=GROUND), people, rare, GATE)
    with pytest.raises(ModelError, match="too few people have 'outcome'"):
        found(PersonTime("outcome", "a", ground=GROUND), people, rare, GATE)


def events_by_state(before: int, exposed: int, after: int) -> tuple[pd.DataFrame, Given]:
    """Nine hundred people followed from day 0 to 99, all exposed from day 40 to 49; so many with the outcome then."""
    n = 900
    people = pd.DataFrame({"_birth": [-9000.0] * n, "_observed_from": [0.0] * n, "_observed_to": [99.0] * n})
    days = np.repeat([10.0, 45.0, 80.0], [before, exposed, after])
    ill = [(i, day, day) for i, day in enumerate(np.random.default_rng(1).permutation(days).tolist())]
    return people, {"outcome": ill, "a": [(i, 40.0, 49.0) for i in range(n)]}


def states_told(before: int, exposed: int, after: int) -> tuple[dict[str, int | None], Finding]:
    """The events of each state under the gate, and the finding."""
    got = found(PersonTime("outcome", "a", carry_over=0, ground=GROUND), *events_by_state(before, exposed, after), GATE)
    return {r["state"]: r["events"] for r in got.tables["rates"]}, got


def test_a_state_of_few_events_is_not_told_and_the_others_are() -> None:
    told, got = states_told(40, 4, 30)
    assert told == {"before": 40, "exposed": None, "after": 30}
    assert got.tables["rates"][1]["suppressed"]
    assert got.tables["rates"][1]["person_years"] is None
    assert got.tables["ratios"] == [{"measure": "crude", "rate_ratio": None, "rr_low": None, "rr_high": None,
                                     "p_value": None, "suppressed": True}]  # fmt: skip
    assert got.events is None  # the four would follow by subtraction
    assert got.notes == (UNTOLD,)


def test_before_and_after_are_told_together_where_one_has_few_events() -> None:
    told, got = states_told(4, 40, 30)
    assert told == {"before and after": 34, "exposed": 40}
    days = (40 * 896 + 4 * 11 + 50 * (896 - 40 - 30) + 31 * 30) / 365.25
    assert got.tables["rates"][0]["person_years"] == pytest.approx(days, rel=1e-12)
    whole = found(PersonTime("outcome", "a", carry_over=0, ground=GROUND), *events_by_state(4, 40, 30))
    assert got.tables["ratios"] == whole.tables["ratios"]
    assert (got.events, got.notes) == (74, (TOGETHER,))


def test_states_of_few_events_on_both_sides() -> None:
    assert states_told(30, 40, 0)[0] == {"before": 30, "exposed": 40, "after": 0}
    told, got = states_told(4, 4, 30)
    assert told == {"before and after": 34, "exposed": None}
    assert got.notes == (TOGETHER, UNTOLD)
    assert states_told(3, 30, 3)[0] == {"before": None, "exposed": 30, "after": None}
    with pytest.raises(ModelError, match="too few people have 'outcome'"):
        states_told(3, 4, 3)


def test_definitions_are_those_of_the_study() -> None:
    assert all(isinstance(d, Definition) for d in Pathways("target", ("a", "b"), ground=GROUND).cohorts)
    assert [d.column for d in Pathways("target", ("a", "b"), ground=GROUND).eras] == [
        COHORTS[name].column for name in ("a", "b")
    ]
    assert len({d.column for d, _ in itertools.product(COHORTS.values(), range(2))}) == len(COHORTS)
