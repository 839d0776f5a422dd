"""The researcher's `confrere.connect`: analyses from Python over a federation, and what they are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("fastapi.testclient")

import certifi
from fastapi.testclient import TestClient

import confrere as cf
from confrere.console.api import web
from confrere.console.client import Remote
from confrere.coordinator.book import Book
from confrere.coordinator.service import Service
from confrere.errors import Refused, StudyError, UserError, Waiting
from confrere.hospital.home import Home
from engines.inprocess import NAMES, InProcess, found, tables

if TYPE_CHECKING:
    from engines.flare import Machines

AGE = cf.Cox("Surv(rtime, recur) ~ hormon + age + C(size)")
LEVELS = {"size": ["<=20", "20-50", ">50"]}
SAID = {"title": "Age and recurrence", "purpose": "public-interest research"}


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Remote]:
    """A federation in this process behind its HTTPS face, stepping by itself."""
    coordinator, homes = found(tmp_path)
    service = Service(coordinator, InProcess(coordinator, homes), Book(coordinator.database))
    token = service.book.token("ada")
    remote = cf.connect("https://testserver", token, authority=certifi.where(), table="breast", levels=LEVELS)
    remote.close()
    remote._http = TestClient(web(service, "0"), headers={"Authorization": f"Bearer {token}"})
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            service.step()

    thread = threading.Thread(target=look)
    thread.start()
    yield remote
    stop.set()
    thread.join()
    service._engine.close()


def approved(place: Path, file: Path) -> None:
    """Every steward's yes to a file that was sent."""
    for name in NAMES:
        Home(place / name).approve(file.read_text(encoding="utf-8"))


def test_an_analysis_that_nobody_approved_waits_and_teaches(federation: Remote, tmp_path: Path) -> None:
    with pytest.raises(Waiting, match=r"federation\.write\(analysis, 'study\.toml'") as caught:
        federation.run(AGE, **SAID)
    assert "the stewards of curie, delft, lyon to decide" in str(caught.value)
    study = federation.write(AGE, tmp_path / "study.toml", **SAID)
    assert study.hash[:16] in str(caught.value)
    approved(tmp_path, tmp_path / "study.toml")
    assert federation.run(AGE, **SAID).n > 1000


def test_an_analysis_that_a_steward_refused_is_refused(federation: Remote, tmp_path: Path) -> None:
    study = federation.write(AGE, tmp_path / "study.toml", **SAID)
    approved(tmp_path, tmp_path / "study.toml")
    Home(tmp_path / "lyon").refuse(study.hash)
    with pytest.raises(Refused, match=f"approved exactly this study, {study.hash[:16]}"):
        federation.run(AGE, **SAID)


def test_an_analysis_finds_what_it_finds_in_one_process(federation: Remote, tmp_path: Path) -> None:
    federation.write(AGE, tmp_path / "study.toml", **SAID)
    approved(tmp_path, tmp_path / "study.toml")
    fit = federation.run(AGE, **SAID)
    here = cf.local(tables(), levels=LEVELS).run(AGE)
    assert fit.tables == here.tables
    assert (fit.name, fit.n, fit.events, fit.hospitals) == (here.name, here.n, here.events, here.hospitals)
    assert fit.results.study.title == SAID["title"]
    assert not fit.results.self_approved
    # the file that stewards approved is the same study, and the same run
    assert federation.run(tmp_path / "study.toml")["cox"].tables == fit.tables
    assert federation.run(fit.results.study)["cox"].tables == fit.tables
    assert [run["attempts"] for run in federation.runs()] == [1]


def test_classes_are_asked_for_in_the_file(federation: Remote, tmp_path: Path) -> None:
    study = federation.write(AGE, tmp_path / "study.toml", allow=["fine_times"], **SAID)
    assert study.allow == ("fine_times",)
    assert study.hash != federation.write(AGE, tmp_path / "other.toml", **SAID).hash


@pytest.mark.parametrize("missing", ["title", "purpose"])
def test_a_steward_is_told_what_it_is_for(federation: Remote, missing: str) -> None:
    with pytest.raises(StudyError, match=f"say {missing}=: a steward"):
        federation.run(AGE, **{k: v for k, v in SAID.items() if k != missing})
    assert federation.runs() == []


def test_errors_speak_of_python(federation: Remote) -> None:
    with pytest.raises(StudyError, match=r"say table= in cf\.connect"):
        cf.connect("https://testserver", "t", authority=certifi.where()).run(AGE, **SAID)
    with pytest.raises(UserError, match=r"levels=\{'grade': \[\.\.\.\]\} in cf\.connect"):
        federation.run(cf.Cox("Surv(rtime, recur) ~ C(grade)"), **SAID)
    with pytest.raises(StudyError, match="levels of 'size'"):
        cf.connect("https://testserver", "t", authority=certifi.where(), levels={"size": ["one"]})
    assert federation.runs() == []


@pytest.mark.slow
def test_an_analysis_over_a_federation_of_processes(federation_of_processes: Machines, tmp_path: Path) -> None:
    machines = federation_of_processes
    remote = cf.connect(
        machines.url, machines.token, authority=machines.place / "authority" / "authority.pem", table="breast",
        levels=LEVELS,
    )  # fmt: skip
    try:
        with pytest.raises(Waiting, match="must have approved"):
            remote.run(AGE, **SAID)
        remote.write(AGE, tmp_path / "study.toml", **SAID)
        machines.approve((tmp_path / "study.toml").read_text(encoding="utf-8"))
        assert remote.run(AGE, **SAID).tables == cf.local(machines.frames, levels=LEVELS).run(AGE).tables
    finally:
        remote.close()


@pytest.fixture
def federation_of_processes(founded: Machines) -> Machines:
    founded.up()
    return founded
