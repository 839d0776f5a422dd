"""Conducting a run: whatever message a fault strikes, the run is taken up again and finds the same, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from confrere import wire
from confrere.console.local import Local
from confrere.coordinator.conduct import Folder, Found, conduct
from confrere.errors import ProtocolError, Refused, StudyError, Waiting
from confrere.hospital.desk import Desk
from confrere.journal import Journal
from confrere.study.file import parse
from engines.inprocess import FOUR, NAMES, STUDY, attempt, found, let_go, links, tables, told

HASH = parse(STUDY).hash
START = {"do": "start", "study": HASH, "version": wire.release(), "without": ()}


@pytest.fixture(scope="module")
def whole(beginning: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The undisturbed run."""
    copy = tmp_path_factory.mktemp("whole") / "f"
    shutil.copytree(beginning, copy)
    return attempt(copy)


def same(one: Found, other: Found) -> bool:
    """The same findings, to the last bit, and the same account of what left."""
    assert one.left == other.left
    assert not one.errors
    assert set(one.findings) == set(other.findings)
    for name, finding in one.findings.items():
        assert finding.tables == other.findings[name].tables
        assert finding.facts == other.findings[name].facts
        assert all(np.array_equal(v, other.findings[name].arrays[k]) for k, v in finding.arrays.items())
    return True


def test_a_run_over_homes_finds_what_a_local_run_finds(whole: Found) -> None:
    local = Local(tables()).run(parse(STUDY))
    for name, finding in local.findings.items():
        assert finding.tables == whole.findings[name].tables
    assert local.rounds == whole.rounds


def test_findings_come_back_from_a_file_as_they_were(whole: Found, tmp_path: Path) -> None:
    folder = Folder.make(tmp_path, STUDY)
    folder.keep(whole)
    assert same(folder.found, whole)
    for name, finding in folder.found.findings.items():
        before = whole.findings[name]
        assert [list(r) for t in finding.tables.values() for r in t] == [
            list(r) for t in before.tables.values() for r in t
        ]
        assert list(finding.tables) == list(before.tables)
        assert list(finding.facts) == list(before.facts)
        assert (finding.warnings, finding.cite, finding.notes) == (before.warnings, before.cite, before.notes)
        assert finding.analysis == before.analysis


def messages(place: Path) -> int:
    """How many messages one hospital gets in an undisturbed run."""
    seen = 0

    def count(name: str, number: int, answered: bool) -> None:
        nonlocal seen
        seen = max(seen, number)

    attempt(place, count)
    return seen


@pytest.mark.parametrize(
    "every", [pytest.param(False, id="some"), pytest.param(True, id="every", marks=pytest.mark.slow)]
)
def test_a_hospital_lost_at_any_message_is_waited_for(place: Path, beginning: Path, whole: Found, every: bool) -> None:
    total = messages(place)
    assert total > 20
    strikes = [(at, answered) for at in range(1, total + 1) for answered in (False, True)]
    for at, answered in strikes if every else [strikes[i] for i in (0, 9, 24, 51, -1)]:
        shutil.rmtree(place)
        shutil.copytree(beginning, place)

        def lose(name: str, number: int, done: bool, at: int = at, answered: bool = answered) -> None:
            if name == "delft" and number == at and done == answered:
                raise Waiting("delft did not answer")

        with pytest.raises(Waiting, match="delft"):
            attempt(place, lose)
        assert same(attempt(place), whole), f"lost at message {at}, {'after' if answered else 'before'} its answer"


def test_faults_of_all_one_after_another(place: Path, whole: Found) -> None:
    rng = np.random.default_rng(1)

    def unlucky(name: str, number: int, answered: bool) -> None:
        if rng.uniform() < 0.01:
            raise Waiting(f"{name} did not answer")

    for _ in range(200):
        try:
            result = attempt(place, unlucky)
        except Waiting:
            continue
        assert same(result, whole)
        return
    raise AssertionError("the run never came to its end")


def test_what_was_answered_is_not_asked_again(place: Path) -> None:
    def lose(name: str, number: int, answered: bool) -> None:
        if name == "lyon" and number == 20:
            raise Waiting("lyon did not answer")

    with pytest.raises(Waiting):
        attempt(place, lose)
    learned = len(Journal(place / "curie" / "runs" / HASH / "journal").records)
    assert learned > 5
    asked = []

    def note(name: str, number: int, answered: bool) -> None:
        if answered and name == "curie":
            asked.append(number)

    attempt(place, note)
    assert len(asked) < messages_after(learned)


def messages_after(learned: int) -> int:
    """No more than the keys, the rounds that were left, and their settling."""
    return 5 + 2 * 60 - learned


def test_a_study_that_is_not_approved_is_refused_alike_and_the_reason_stays(place: Path) -> None:
    from confrere.hospital.home import Home

    Home(place / "lyon").refuse(HASH)
    with pytest.raises(Refused) as caught:
        attempt(place)
    assert str(caught.value) == Refused.uniform
    assert "not approved" in told(place / "lyon")
    assert "not approved" not in "".join(told(place / n) for n in ("curie", "delft"))


def test_changed_data_are_noticed_and_nothing_is_mixed(place: Path) -> None:
    def lose(name: str, number: int, answered: bool) -> None:
        if name == "lyon" and number == 25 and not answered:
            raise Waiting("lyon did not answer")

    with pytest.raises(Waiting):
        attempt(place, lose)
    csv = place / "curie" / "breast.csv"
    rows = csv.read_text().splitlines()
    csv.write_text("\n".join(rows[:-30]) + "\n")
    with pytest.raises(Refused):
        attempt(place)
    assert "changed since" in told(place / "curie")


def test_the_first_rounds_sums_are_of_one_cut_too(place: Path) -> None:
    rounds = 0

    def stop(name: str, number: int, answered: bool) -> None:
        nonlocal rounds
        rounds = max(rounds, number)
        if name == "lyon" and number == 6:  # the first round is answered and settled; nobody has learned it yet
            raise Waiting("lyon did not answer")

    with pytest.raises(Waiting):
        attempt(place, stop)
    assert not Journal(place / "curie" / "runs" / HASH / "journal").records
    csv = place / "curie" / "breast.csv"
    csv.write_text("\n".join(csv.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(Refused):
        attempt(place)
    assert "changed since" in told(place / "curie")


def test_a_yes_that_is_taken_back_holds_before_the_next_round(place: Path) -> None:
    from confrere.hospital.home import Home

    def refuse(name: str, number: int, answered: bool) -> None:
        if name == "curie" and number == 20 and answered:
            Home(place / "delft").refuse(HASH)

    with pytest.raises(Refused) as caught:
        attempt(place, refuse)
    assert str(caught.value) == Refused.uniform
    assert "not approved" in told(place / "delft")
    assert len(Journal(place / "curie" / "runs" / HASH / "journal").records) < 20


def test_an_epoch_is_never_used_twice(place: Path) -> None:
    from confrere.hospital.home import Home

    desk = Desk(Home(place / "curie"), linger=0.0)
    started = wire.unpack(desk.answer(wire.pack(START)))
    assert started == {"version": wire.release(), "rounds": 0, "epoch": 0}
    assert "hello" in wire.unpack(desk.answer(wire.pack({"do": "hello", "epoch": 3})))
    for epoch in (3, 2, 0, -1):
        assert wire.unpack(desk.answer(wire.pack({"do": "hello", "epoch": epoch}))) == {"refused": True}
    desk.close()
    again = Desk(Home(place / "curie"), linger=0.0)
    assert wire.unpack(again.answer(wire.pack(START)))["epoch"] == 3
    again.close()


@pytest.mark.parametrize("message", [b"", b"nonsense", wire.pack({}), wire.pack({"do": "round", "round": 1})])
def test_nonsense_is_refused(place: Path, message: bytes) -> None:
    from confrere.hospital.home import Home

    assert wire.unpack(Desk(Home(place / "curie")).answer(message)) == {"refused": True}


def test_another_release_is_told_politely(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from confrere.hospital.home import Home

    desk = Desk(Home(place / "curie"))
    assert wire.unpack(desk.answer(wire.pack({**START, "version": "9.9"}))) == {"version": wire.release()}
    monkeypatch.setattr("confrere.coordinator.federation.wire.release", lambda: "9.9")
    monkeypatch.setattr("confrere.hospital.desk.wire.release", lambda: "9.9")
    folder = Folder.make(place / "coordinator" / "runs" / "r", STUDY)
    given = links({name: Home(place / name) for name in NAMES})
    old = {**given, "lyon": lambda message: wire.pack({"version": "0.0.1"})}
    with pytest.raises(ProtocolError, match=r"lyon runs 0\.0\.1, the coordinator runs Confrere 9\.9"):
        conduct(folder, old)
    let_go(given)


def test_a_study_starts_without_a_hospital_and_stays_without_it(tmp_path: Path) -> None:
    _, homes = found(tmp_path, names=FOUR)
    path = tmp_path / "coordinator" / "runs" / HASH[:16]
    three = {n: h for n, h in homes.items() if n != "paris"}

    def lose(name: str, number: int, answered: bool) -> None:
        if name == "lyon" and number == 15:
            raise Waiting("lyon did not answer")

    given = links(three, lose)
    with pytest.raises(Waiting):
        conduct(Folder.make(path, STUDY, ["paris"]), given)
    let_go(given)
    with pytest.raises(StudyError, match="begun with other hospitals"):
        Folder.make(path, STUDY)
    (path / "journal").unlink()  # a coordinator that forgets
    given = links(homes)
    with pytest.raises(Refused):
        conduct(Folder.make(path, STUDY), given)
    let_go(given)
    assert "begun with other hospitals" in told(tmp_path / "curie")
    given = links(three)
    result = conduct(Folder.make(path, STUDY, ["paris"]), given)
    let_go(given)
    local = Local({n: t for n, t in tables(FOUR).items() if n != "paris"}).run(parse(STUDY))
    assert result.hospitals == ("curie", "delft", "lyon")
    for name, finding in local.findings.items():
        assert finding.tables == result.findings[name].tables
