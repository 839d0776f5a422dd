"""The airlock at the coordinator: who may let findings go, that what is fetched is what was read, and its record."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("fastapi")

from typer.testing import CliRunner

from confrere.console.api import web
from confrere.console.client import Remote
from confrere.console.coordinator import app
from confrere.console.demo import load, text_of
from confrere.console.fit import Results
from confrere.console.local import Local
from confrere.console.researcher import _line
from confrere.console.result import as_dict
from confrere.coordinator.book import Act, Book, Entry
from confrere.coordinator.conduct import Folder, Found
from confrere.coordinator.home import Home
from confrere.coordinator.release import Airlock
from confrere.coordinator.service import Service, erase
from confrere.errors import ProtocolError, Refused, StudyError, Waiting
from confrere.report import check, render

RUN = "lung"


@cache
def results() -> Results:
    study, hospitals = load("lung")
    found: Results = Local(hospitals).run(study)
    return found


class Desk(NamedTuple):
    """A coordinator at which one run of ada's has ended."""

    home: Home
    book: Book
    airlock: Airlock

    @property
    def found(self) -> Path:
        return self.home.folder(RUN).path / "found"

    def set(self, readers: int) -> None:
        """Another number of readers, from now on."""
        self.home.settings["release.readers"] = readers
        (self.home.path / "coordinator.toml").write_text(f"[release]\nreaders = {readers}\n")


def ended(path: Path, n: int | None = None) -> Desk:
    """A run that is done; of `n` people, or of as many as there were."""
    home = Home.make(path)
    book = Book(home.database)
    one, text = results(), text_of("lung")
    findings = dict(one.findings)
    if n is not None:
        name = next(iter(findings))
        findings[name] = findings[name].__class__(**{**vars(findings[name]), "n": n})
    folder = Folder.make(home.path / "runs" / RUN, text)
    folder.keep(Found(one.hospitals, findings, {}, one.left, one.rounds, one.bytes, one.seconds))
    now = time.time()
    book.add(Entry(RUN, one.study.hash, "Lung", "ada", now, now + 9, "done", "", "", 1, now))
    return Desk(home, book, Airlock(home, book))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return ended(tmp_path / "coordinator")


@pytest.fixture
def faulty(tmp_path: Path) -> Desk:
    """One of its findings says that it is about 7 people."""
    return ended(tmp_path / "coordinator", 7)


# Who lets it go -----------------------------------------------------------------------------------------------


def test_where_all_checks_pass_and_nobody_need_read_it_goes_at_once(desk: Desk) -> None:
    assert desk.airlock.standing(RUN).state == "released"
    assert desk.airlock.fetch(RUN) == desk.found.read_bytes()
    assert [a.act for a in desk.book.acts()] == ["arrived", "released"]
    desk.airlock.standing(RUN)
    assert len(desk.book.acts()) == 2


def test_what_goes_at_once_is_never_seen_held(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks after any act that is written has the findings, also where the coordinator is lost after it."""
    seen: list[str] = []

    def told(*acts: Act) -> list[Act]:
        made = write(*acts)
        seen.append(Airlock(desk.home, Book(desk.home.database)).standing(RUN).state)
        return made

    write = desk.book.writes
    monkeypatch.setattr(desk.book, "writes", told)
    assert desk.airlock.standing(RUN).state == "released"
    assert seen == ["released"]
    assert [act.number for act in desk.book.acts()] == [1, 2]
    desk.book.verify()


def test_findings_that_arrive_twice_at_once_have_arrived_once(desk: Desk) -> None:
    """The queue and a page may both ask first; what was read in between stays read."""
    desk.set(1)
    desk.airlock.read(RUN, "grace")
    desk.airlock._enter(RUN)
    assert [act.act for act in desk.book.acts()] == ["arrived", "read", "arrived"]
    assert desk.airlock.release(RUN, "grace").state == "released"
    desk.airlock._enter(RUN)
    assert desk.airlock.standing(RUN).state == "released"


def test_the_researcher_has_a_word_for_the_readers_while_it_is_held(desk: Desk) -> None:
    desk.set(1)
    standing = desk.airlock.ask(RUN, "ada", " for the meeting ")
    assert [(act.person, act.comment) for act in standing.asked] == [("ada", "for the meeting")]
    for word in (" ", "x" * 2001):
        with pytest.raises(StudyError, match="1 to 2,000 characters"):
            desk.airlock.ask(RUN, "ada", word)
    with pytest.raises(Refused, match="has not read"):
        desk.airlock.again(RUN, "grace")
    _, data = desk.airlock.read(RUN, "grace")
    assert desk.airlock.again(RUN, "grace")[1] == data
    with pytest.raises(Refused, match="somebody else"):
        desk.airlock.again(RUN, "Ada")
    assert desk.airlock.release(RUN, "grace", comment="fine").record["comment"] == "fine"
    with pytest.raises(StudyError, match="released already"):
        desk.airlock.ask(RUN, "ada", "too late")


def test_a_run_that_is_not_done_has_nothing_to_release(desk: Desk) -> None:
    desk.book.change(RUN, state="running")
    with pytest.raises(StudyError, match="no findings yet"):
        desk.airlock.fetch(RUN)
    assert desk.book.acts() == []


def test_one_reader_who_has_read_it_lets_it_go(desk: Desk) -> None:
    desk.set(1)
    with pytest.raises(Waiting, match="held in the airlock: 0 of 1 readers have released it"):
        desk.airlock.fetch(RUN)
    with pytest.raises(Refused, match="grace has not read"):
        desk.airlock.release(RUN, "grace")
    standing, data = desk.airlock.read(RUN, "grace")
    assert standing.sha256 == hashlib.sha256(data).hexdigest()
    assert desk.airlock.release(RUN, "grace").state == "released"
    assert desk.airlock.fetch(RUN) == data
    with pytest.raises(StudyError, match="released already"):
        desk.airlock.release(RUN, "grace")


def test_two_readers_are_two_people_and_neither_is_the_researcher(desk: Desk) -> None:
    desk.set(2)
    for same in ("ada", " Ada "):
        with pytest.raises(Refused, match="asked for"):
            desk.airlock.read(RUN, same)
    for nobody in ("", "  ", "a\nb", "x" * 201):
        with pytest.raises(StudyError, match="names nobody"):
            desk.airlock.read(RUN, nobody)
    desk.airlock.read(RUN, "Grace Hopper")
    assert desk.airlock.release(RUN, "Grace Hopper").state == "held"
    with pytest.raises(Waiting, match="1 of 2 readers has released it"):
        desk.airlock.fetch(RUN)
    with pytest.raises(Refused, match="another person"):
        desk.airlock.release(RUN, "grace  hopper")
    with pytest.raises(Refused, match="has not read"):
        desk.airlock.release(RUN, "Mary")
    desk.airlock.read(RUN, "Mary")
    assert desk.airlock.release(RUN, "Mary", comment="fine").readers == ("Grace Hopper", "Mary")
    desk.set(0)
    assert desk.airlock.standing(RUN).record["by"] == ["Grace Hopper", "Mary"]


def test_what_was_released_under_one_rule_stays_released_under_a_stricter_one(desk: Desk) -> None:
    assert desk.airlock.standing(RUN).state == "released"
    desk.set(2)
    assert desk.airlock.standing(RUN).state == "released"


def test_a_check_that_fails_holds_the_run_until_it_is_named(faulty: Desk) -> None:
    with pytest.raises(Waiting, match=r"0 of 1 readers .*cells.* did not pass") as held:
        faulty.airlock.fetch(RUN)
    assert "7" not in str(held.value)
    standing, _ = faulty.airlock.read(RUN, "grace")
    failing = sorted({c.check for c in standing.failing})
    with pytest.raises(Refused, match="accept each by name"):
        faulty.airlock.release(RUN, "grace", comment="fine")
    with pytest.raises(StudyError, match="freedom: not a check"):
        faulty.airlock.release(RUN, "grace", accept=[*failing, "freedom"], comment="fine")
    with pytest.raises(StudyError, match="say in a comment"):
        faulty.airlock.release(RUN, "grace", accept=failing, comment=" ")
    released = faulty.airlock.release(RUN, "grace", accept=failing, comment="a count of hospitals")
    assert released.state == "released"
    assert json.loads(released.acts[-1].details)["accepted"] == failing
    assert released.record["comment"] == "a count of hospitals"


def test_what_is_rejected_stays_and_the_researcher_is_told_why(desk: Desk) -> None:
    desk.set(1)
    with pytest.raises(StudyError, match="comment"):
        desk.airlock.reject(RUN, "grace", "")
    assert desk.airlock.reject(RUN, "grace", "merge the stages").state == "rejected"
    with pytest.raises(Refused, match="rejected in the airlock: merge the stages"):
        desk.airlock.fetch(RUN)
    desk.airlock.read(RUN, "mary")
    with pytest.raises(StudyError, match="rejected already"):
        desk.airlock.release(RUN, "mary")


# What is released is what was read ----------------------------------------------------------------------------


def changed(desk: Desk) -> None:
    data = bytearray(desk.found.read_bytes())
    data[-1] ^= 1
    desk.found.write_bytes(bytes(data))


def test_findings_that_changed_after_they_were_read_are_not_given_out(desk: Desk) -> None:
    desk.set(1)
    desk.airlock.read(RUN, "grace")
    changed(desk)
    for act in (desk.airlock.release, desk.airlock.read):
        with pytest.raises(Refused, match="not those that were checked and read"):
            act(RUN, "grace")
    assert desk.airlock.standing(RUN).state == "held"


def test_findings_that_changed_after_their_release_are_not_given_out(desk: Desk) -> None:
    desk.airlock.fetch(RUN)
    changed(desk)
    with pytest.raises(Refused, match="not those that were checked and read"):
        desk.airlock.fetch(RUN)


# The record ---------------------------------------------------------------------------------------------------


def test_who_when_and_why_are_kept(desk: Desk) -> None:
    desk.set(1)
    desk.airlock.read(RUN, "grace")
    before = time.time()
    desk.airlock.release(RUN, "grace", comment="ok")
    last = desk.book.acts(RUN)[-1]
    assert (last.act, last.person, last.comment, last.number) == ("released", "grace", "ok", 3)
    assert before - 1 < last.at < time.time() + 1
    assert desk.book.verify() == last.link


@pytest.mark.parametrize("change", [
    "update acts set comment = 'other' where number = 2", "update acts set person = 'ada' where number = 3",
    "update acts set at = at + 1 where number = 1", "delete from acts where number = 2",
    "update acts set link = 'x' where number = 3", "update acts set number = 9 where number = 3",
])  # fmt: skip
def test_an_act_that_was_changed_or_taken_out_is_found_and_nothing_is_given_out(desk: Desk, change: str) -> None:
    desk.set(1)
    desk.airlock.read(RUN, "grace")
    desk.airlock.release(RUN, "grace", comment="ok")
    with sqlite3.connect(desk.home.path / "state.db") as db:
        assert db.execute(change).rowcount == 1
    with pytest.raises(ProtocolError, match="changed at its act"):
        desk.book.verify()
    with pytest.raises((ProtocolError, Waiting)):
        desk.airlock.fetch(RUN)


def test_a_run_that_was_erased_comes_in_anew_and_its_past_stays(desk: Desk) -> None:
    desk.airlock.fetch(RUN)
    erase(desk.home, desk.book, RUN)
    assert [a.act for a in desk.book.acts(RUN)] == ["arrived", "released", "erased"]
    again = ended(desk.home.path.parent / "again")
    again.home.folder(RUN).path.rename(desk.home.folder(RUN).path)
    entry = again.book.get(RUN)
    assert entry is not None
    desk.book.add(entry)
    desk.set(1)
    assert desk.airlock.standing(RUN).state == "held"
    desk.book.verify()


# Through the service and the command line ---------------------------------------------------------------------


class Nobody:
    """An engine that is not asked anything."""


@pytest.fixture
def remote(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Remote:
    testing = pytest.importorskip("fastapi.testclient")
    service = Service(desk.home, Nobody(), desk.book)  # type: ignore[arg-type]
    made = Remote.__new__(Remote)
    headers = {"Authorization": f"Bearer {desk.book.token('ada')}"}
    made._http = testing.TestClient(web(service, "0"), headers=headers)
    return made


def study(tmp_path: Path) -> Path:
    file = tmp_path / "study.toml"
    file.write_text(text_of("lung"), encoding="utf-8")
    return file


def test_the_researcher_waits_and_then_gets_what_was_released(desk: Desk, remote: Remote, tmp_path: Path) -> None:
    desk.set(1)
    assert "held (0 of 1 readers" in _line(remote.status(RUN))
    with pytest.raises(Waiting, match="held in the airlock") as held:
        remote.fetch(RUN, study(tmp_path))
    assert held.value.exit_code == 4
    desk.airlock.read(RUN, "grace")
    desk.airlock.release(RUN, "grace", comment="fine")
    got = remote.fetch(RUN, study(tmp_path))
    assert "released by grace" in repr(got)
    told = as_dict(got)
    check(told)
    release = told["release"]
    assert (release["state"], release["by"], release["comment"]) == ("released", ["grace"], "fine")
    assert release["sha256"] == hashlib.sha256(desk.found.read_bytes()).hexdigest()
    assert "Read and released by grace on 2" in render(told)
    assert "Lu et libéré par grace" in render(told, "fr")


def test_the_researcher_is_told_of_a_rejection(desk: Desk, remote: Remote, tmp_path: Path) -> None:
    desk.set(1)
    desk.airlock.reject(RUN, "grace", "merge the stages")
    with pytest.raises(Refused, match="merge the stages"):
        remote.fetch(RUN, study(tmp_path))
    assert "rejected (merge the stages)" in _line(remote.status(RUN))


def test_bytes_that_changed_on_the_way_are_not_taken(
    desk: Desk, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.airlock.standing(RUN)
    got = remote._got

    def forged(verb: str, path: str, **given: Any) -> Any:
        answer = got(verb, path, **given)
        if path.endswith("/found"):
            answer._content = answer.content + b" "
        return answer

    monkeypatch.setattr(remote, "_got", forged)
    with pytest.raises(Refused, match="not those that were released"):
        remote.fetch(RUN, study(tmp_path))


def test_the_command_line_of_a_reader(faulty: Desk, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--home", str(faulty.home.path)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.stdout

    listed = said("airlock")
    assert f"{RUN}  0 of 1 readers" in listed
    assert "cells (fail): " in listed
    with pytest.raises(StudyError, match="--reader NAME"):
        said("airlock", RUN)
    shown = said("airlock", RUN, "--reader", "grace", "--out", str(tmp_path / "out"))
    sha256 = hashlib.sha256(faulty.found.read_bytes()).hexdigest()
    assert f"SHA-256 of what was read: {sha256}" in shown
    assert "fail    survival, cells: " in shown
    assert "is not released" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    failing = sorted({c.check for c in faulty.airlock.standing(RUN).failing})
    accepted = [word for name in failing for word in ("--accept", name)]
    assert sha256 in said("release", RUN, "--reader", "grace", *accepted, "--comment", "known")
    assert "nothing is held" in said("airlock")
    with pytest.raises(StudyError, match="released already"):
        said("reject", RUN, "--reader", "mary", "--comment", "too late")


@pytest.mark.parametrize("line", ["release.readers = 3", "[release]\nreaders = -1", "[release]\nreader = 1"])
def test_settings_that_are_none_are_said(tmp_path: Path, line: str) -> None:
    Home.make(tmp_path / "c")
    (tmp_path / "c" / "coordinator.toml").write_text(line)
    with pytest.raises(StudyError, match=r"release\.reader"):
        Home(tmp_path / "c")
