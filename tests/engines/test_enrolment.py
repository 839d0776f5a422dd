"""Recruitment over an engine: a list, what clinicians note on it, and how far the network has got, day by day."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from confrere.coordinator.conduct import Folder, conduct
from confrere.data.opposition import CONTACT, Said
from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.study.file import parse
from engines.inprocess import NAMES, found, let_go, links

LIST = """
[study]
id = "trial"
purpose = "care"
[data]
table = "breast"
person = "pid"
[[analysis]]
name = "screening"
method = "worklist"
title = "Over 60"
criteria = ["age >= 60"]
"""
LOOK = """
[study]
id = "trial-enrolment"
purpose = "care"
[data]
table = "breast"
person = "pid"
[[analysis]]
name = "enrolment"
method = "enrolment"
study = "trial"
title = "Over 60"
as_of = "{day}"
"""
TODAY = datetime.now(UTC).date()
OPPOSED = 3  # people of each hospital who oppose being contacted, all over 60


class Network:
    """Three hospitals whose lists are two weeks old."""

    def __init__(self, place: Path) -> None:
        self.place = place
        found(place, LIST)
        self.over: dict[str, list[str]] = {}
        for name in NAMES:
            file, home = place / name / "breast.csv", Home(place / name)
            toml = home.path / "hospital.toml"
            toml.write_text(toml.read_text().replace('"breast.csv"', '{path = "breast.csv", person = "pid"}'))
            frame = pd.read_csv(file)
            people = [f"{name}-{i}" for i in range(len(frame))]
            frame.assign(pid=people).to_csv(file, index=False)
            self.over[name] = [one for one, age in zip(people, frame["age"], strict=True) if age >= 60]
            for one in self.over[name][:OPPOSED]:
                Home(place / name).oppositions.say(Said(one, CONTACT, "opposed", "2026-01-01", "letter"))
        self.screened = self.run(LIST)
        for name in NAMES:
            self.home(name).worklists.grant("over-60", "dr-a")
            self._edit(name, "UPDATE people SET since = ?", f"{TODAY - timedelta(days=14)}T12:00:00Z")

    def home(self, name: str) -> Home:
        return Home(self.place / name)

    def run(self, text: str) -> Any:
        """The finding of a study of one analysis."""
        folder = Folder.make(self.place / "coordinator" / "runs" / parse(text).hash[:16], text)
        given = links({name: self.home(name) for name in NAMES})
        try:
            got = conduct(folder, dict(given))
        finally:
            let_go(given)
        assert not got.errors, got.errors
        (finding,) = got.findings.values()
        return finding

    def noted(self, name: str, first: int, last: int, *statuses: str, ago: int) -> None:
        """So many days ago some of those who may be contacted went through statuses."""
        lists = self.home(name).worklists
        for one in self.over[name][OPPOSED:][first:last]:
            for status in statuses:
                lists.mark("over-60", "dr-a", one, status, "read" if status == "not eligible" else "")
        then, now = (f"{TODAY - timedelta(days=days)}T12:00:00Z" for days in (ago, 0))
        self._edit(name, "UPDATE moves SET at = ? WHERE at >= ?", then, now[:10])

    def _edit(self, name: str, statement: str, *values: str) -> None:
        """Time passes: what was noted today was noted at noon of another day."""
        with sqlite3.connect(self.place / name / "worklists.sqlite") as db:
            db.execute(statement, values)

    def look(self, ago: int) -> dict[str, int | None]:
        """How far the network had got at the end of a day."""
        text = LOOK.format(day=TODAY - timedelta(days=ago))
        for name in NAMES:
            self.home(name).approve(text)
        return {record["step"]: record["n"] for record in self.run(text).tables["funnel"]}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    made = Network(tmp_path_factory.mktemp("network"))
    for name in NAMES:
        made.noted(name, 0, 30, "seen", ago=10)
        made.noted(name, 0, 15, "eligible", "contacted", ago=9)
    return made


def test_the_network_counts_what_clinicians_noted(network: Network) -> None:
    assert network.look(ago=8) == {
        "people": 2982, "seen": 90, "read": 45, "found eligible": 45, "contacted": 45,
        "answered": 0, "consented": 0, "enrolled": 0,
    }  # fmt: skip


def test_the_funnel_of_the_list_counts_who_opposes_contact_too(network: Network) -> None:
    """To be used in research and to be contacted are two oppositions."""
    assert network.screened.tables["funnel"][-1]["n"] == sum(map(len, network.over.values()))
    for name in NAMES:
        (head,) = network.home(name).worklists.heads()
        assert (head.people, head.opposed) == (len(network.over[name]) - OPPOSED, OPPOSED)


def test_a_later_look_that_few_people_tell_apart_is_refused(network: Network) -> None:
    network.noted("lyon", 0, 3, "consented", ago=6)
    with pytest.raises(StudyError, match="so near to one that was answered"):
        network.look(ago=5)


def test_a_later_look_is_answered_once_enough_have_moved(network: Network) -> None:
    for name in NAMES:
        network.noted(name, 3 if name == "lyon" else 0, 15, "consented", ago=4)
    told = network.look(ago=3)
    assert (told["contacted"], told["consented"], told["enrolled"]) == (45, 45, 0)


def test_a_day_that_is_not_over_is_not_told(network: Network) -> None:
    with pytest.raises(StudyError, match="a day that is over"):
        network.look(ago=0)
