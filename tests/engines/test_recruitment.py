"""Recruitment from OMOP records over an engine: every hospital lists its own people of a cohort and those near it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cohorts.definitions import DEFINITION, TEXT
from cohorts.world import world, written
from confrere.coordinator import roster
from confrere.coordinator.conduct import Folder, Found, conduct
from confrere.coordinator.home import Home as CoordinatorHome
from confrere.data.circe import cohort
from confrere.data.omop import opened
from confrere.hospital.home import Home
from confrere.study.file import parse
from engines.inprocess import NAMES, let_go, links

STUDY = f"""
[study]
id = "trial"
purpose = "clinical trial"
[data]
table = "omop"
person = "person_id"
target = "sick"
[cohorts.sick]
circe = '''{TEXT}'''
[features.age]
is = "age"
[[analysis]]
name = "list"
method = "recruitment"
title = "Sick"
cohort = "sick"
unknown = 1
show = ["age"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of three hospitals whose stewards approved the study."""
    made = tmp_path_factory.mktemp("federation")
    homes = []
    for seed, name in enumerate(NAMES):
        records = written(world(DEFINITION, people=150, seed=seed), made / f"{name}-cdm")
        homes.append(Home.make(made / name, name, {"omop": str(records)}))
    listed = made / "roster.json"
    roster.assemble([home.card() for home in homes], listed)
    for home in homes:
        home.sign(listed)
    for home in homes:
        home.pin(listed)
        home.approve(STUDY)
    roster.pin(listed, CoordinatorHome.make(made / "coordinator").path)
    return made


@pytest.fixture(scope="module")
def ran(place: Path) -> Found:
    folder = Folder.make(place / "coordinator" / "runs" / parse(STUDY).hash[:16], STUDY)
    given = links({name: Home(place / name) for name in NAMES})
    try:
        return conduct(folder, dict(given))
    finally:
        let_go(given)


def test_the_list_has_the_cohort_and_who_misses_one_measurement(ran: Found, place: Path) -> None:
    assert not ran.errors
    near = 0
    for name in NAMES:
        lists = Home(place / name).worklists
        lists.grant("sick", "dr-a")
        lines = lists.show("sick", "dr-a").lines
        with opened(place / f"{name}-cdm", name) as cdm:
            found = cohort(cdm, TEXT).reached.to_pyarrow().to_pandas()
        inside = {str(person) for person in found.loc[found["reached"] == 6, "person_id"]}
        assert {line.person for line in lines if "unknown" not in line.answers} == inside
        assert all(isinstance(line.values[1], float) for line in lines if line.person in inside)  # the feature
        for line in lines[len(inside) :]:
            assert line.answers.count("unknown") == 1
            assert line.answers[2] == "unknown"  # HbA1c, which was not measured
            assert "failed" not in line.answers
            near += 1
    assert near > 10


def test_the_funnel_is_of_all_hospitals_and_under_the_gate(ran: Found, place: Path) -> None:
    local = [Home(place / name).worklists.log("sick", "ada", (), steward=True)[1].steps for name in NAMES]
    sums = [sum(n for _, _, n in step) for step in zip(*local, strict=True)]
    told = [record["n"] for record in ran.findings["list"].tables["funnel"]]
    assert told[0] == 450
    assert all(n in (None, total) for n, total in zip(told, sums, strict=False))
    assert sum(n is not None for n in told) > 4
