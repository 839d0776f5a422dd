"""A malicious coordinator against whole desks, alone and with one hospital: what it sends, when, and how often."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks.network import Network
from attacks.people import GROUND, dealt, patients
from confrere import wire
from confrere.coordinator import federation
from confrere.coordinator.conduct import Folder, conduct
from confrere.data.opposition import Said
from confrere.errors import ConfrereError, Refused, StudyError, Waiting
from confrere.hospital.desk import Desk, _members
from confrere.hospital.home import Home
from confrere.hospital.run import SUPPORT_SCALE
from confrere.rounds import find
from confrere.study.file import parse
from confrere.sums import fixed
from engines.conftest import beginning, place  # noqa: F401
from engines.inprocess import NAMES, STUDY, told
from engines.test_desk import HASH, REFUSED, UNABLE, at_message, run, start

Message = dict[str, Any]


def conducted(place: Path, tamper: Callable[[str, Message], Message], text: str = STUDY) -> Any:  # noqa: F811
    """A run in which the coordinator sends what it likes."""
    folder = Folder.make(place / "coordinator" / "runs" / parse(text, "").hash[:16], text)
    desks = {name: Desk(Home(place / name), linger=0.0) for name in NAMES}

    def link(name: str) -> Callable[[bytes], bytes]:
        return lambda raw: desks[name].answer(wire.pack(tamper(name, wire.unpack(raw))))

    try:
        return conduct(folder, {name: link(name) for name in NAMES})
    finally:
        for desk in desks.values():
            desk.close()


def at_first(do: str, act: Callable[[], object]) -> Callable[[str, Message], Message]:
    """Something happens at lyon before it answers its first message of a kind."""
    done: list[int] = []

    def tamper(name: str, message: Message) -> Message:
        if name == "lyon" and message["do"] == do and not done:
            done.append(1)
            act()
        return message

    return tamper


# A stop holds for the second half of a round too --------------------------------------------------------------


def test_a_stop_between_a_round_and_its_verdict_holds(place: Path) -> None:  # noqa: F811
    """What a design rests on has left, masked; the verdict on it, in the clear, does not follow."""
    stop = at_first("settle", lambda: Home(place / "lyon").decide(HASH, "revoke", "dr steward"))
    with pytest.raises(Refused):
        conducted(place, stop)
    assert "revoked here" in told(place / "lyon")


def test_an_opposition_between_a_round_and_its_verdict_holds(place: Path) -> None:  # noqa: F811
    for name in NAMES:
        file = place / name / "hospital.toml"
        file.write_text(file.read_text().replace('"breast.csv"', '{path = "breast.csv", person = "pid"}'))
        Home(place / name).approve(STUDY)
    somebody = str(pd.read_csv(place / "lyon" / "breast.csv")["pid"][7])
    said = Said(somebody, "*", "opposed", "2026-11-22", "letter")
    with pytest.raises(Refused):
        conducted(place, at_first("settle", lambda: Home(place / "lyon").oppositions.add([said])))


def test_a_study_ends_in_the_middle_of_a_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A coordinator that starts on the last day and asks on the next."""
    text = STUDY.replace("[data]", f"ends = {date.today()}\n[data]")
    for name in NAMES:
        Home(place / name).approve(text)

    class Tomorrow(date):
        @classmethod
        def today(cls) -> date:
            return date.today() + timedelta(days=1)

    with pytest.raises(Refused):
        run(place, at_message(9, lambda: monkeypatch.setattr("confrere.hospital.desk.date", Tomorrow)), text)
    record = Home(place / "lyon").studies.record(parse(text, "").hash)
    assert record is not None
    assert record.state == "expired"


# With one hospital --------------------------------------------------------------------------------------------


def test_one_hospital_cannot_try_what_designs_rest_on(place: Path) -> None:  # noqa: F811
    """Ended after the first verdict and begun anew with other records of its own, it would see where verdicts turn."""

    def end() -> None:
        raise Waiting("the coordinator ends the run")

    with pytest.raises(Waiting):
        run(place, at_message(7, end))
    theirs = place / "delft"
    for file in ("ledger.sqlite", "answered.sqlite", "oppositions.sqlite"):
        (theirs / file).unlink()
    shutil.rmtree(theirs / "studies")
    shutil.rmtree(theirs / "runs")
    rows = (theirs / "breast.csv").read_text().splitlines()
    (theirs / "breast.csv").write_text("\n".join(rows[:-20]))
    Home(theirs).approve(STUDY)
    shutil.rmtree(place / "coordinator" / "runs")
    with pytest.raises(Refused):
        run(place)
    assert "settled has other numbers than before" in told(place / "curie")


def test_the_same_run_goes_on_where_it_was_ended(place: Path) -> None:  # noqa: F811
    """The control: with the same records the verdicts are the same ones."""

    def end() -> None:
        raise Waiting("the coordinator ends the run")

    with pytest.raises(Waiting):
        run(place, at_message(7, end))
    assert run(place).findings


def test_two_hospitals_that_were_told_different_supports_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """h2 signs two answers, for h0 and for h1: their grids would differ, and a sum over both be a new question."""
    fit = find("cox")("Surv(time, event) ~ x1 + x2 + treated", diagnostics=False, ground=GROUND)

    def tamper(name: str, message: Message) -> Message:
        if name != "h1" or message["do"] != "settle" or message["round"] != 1:
            return message
        theirs = net.runs["h2"]
        session = copy.copy(theirs._session)
        session._attempts = type(session._attempts)()
        session._asked, session._sent = {}, {}
        own = list(theirs._supports[0])
        own[0] = own[0] + np.array([13.0] + [0.0] * (len(own[0]) - 1))
        rings = [fixed.encode(part.ravel(), SUPPORT_SCALE, 3) for part in own]
        at = 1 << 16
        masked = session.mask(at, theirs._digest(0), rings, members=("h0", "h1", "h2"), blinded=True)
        forged = message["answers"][0] | {"h2": (tuple(masked), session.sign(at))}
        seen.append(1)
        return message | {"answers": (forged,)}

    seen: list[int] = []
    net = Network(lambda: fit.flow(), dealt(patients(180)), 5, tamper=tamper)
    monkeypatch.setattr(federation, "_agreed", lambda values, what: values[0])  # it does not mind
    with pytest.raises(ConfrereError):
        net.drive()
    assert seen
    assert net.runs["h0"]._transcript.digest() != net.runs["h1"]._transcript.digest()


# Messages -----------------------------------------------------------------------------------------------------


def sent(study: object, text: str) -> bytes:
    """A start of anything."""
    return wire.pack({"do": "start", "study": study, "version": wire.release(), "without": (), "text": text})


def nested(depth: int) -> bytes:
    """A header of lists in lists, which `pack` would not write."""
    header = b"\x91" * depth + b"\xc0"
    return (
        b"confrere" + (1).to_bytes(4, "little") + len(header).to_bytes(4, "little") + header + bytes(-len(header) % 8)
    )


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "junk": b"\xff" * 1000,
    "deep": nested(20_000),
    "no word": wire.pack({"round": 1}),
    "a list": wire.pack([1, 2, 3]),
    "an unknown word": wire.pack({"do": "x" * 100_000}),
    "no study": wire.pack({"do": "start"}),
    "a path for a study": sent("../../etc/passwd", "x"),
    "a long path": sent("a" * 100_000, ""),
    "a text that is none": sent("ab", "[" * 100_000),
    "a text that is too long": sent("ab", "x" * 1_000_001),
    "a number for a study": sent(7, ""),
    "keys before a start": wire.pack({"do": "hello", "epoch": 1}),
    "a round before a start": wire.pack({"do": "round", "round": 1, "asks": (), "before": ()}),
    "a verdict before a start": wire.pack({"do": "settle", "round": 0, "answers": ()}),
    "an end before a start": wire.pack({"do": "close", "round": 0, "before": ()}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_messages_get_one_answer_and_a_short_line(place: Path, name: str) -> None:  # noqa: F811
    desk = Desk(Home(place / "curie"), linger=0.0)
    assert desk.answer(HOSTILE[name]) == REFUSED
    last = next(Home(place / "curie").ledger.entries(newest=True, limit=1))
    assert last.event == "refused"
    assert len(last.facts["why"]) <= 2000, "a coordinator does not fill the disk by the megabyte"
    assert all(r.study == HASH for r in desk.home.studies.all())


def test_epochs_and_rounds_that_are_none(place: Path) -> None:  # noqa: F811
    """Whatever number is sent, no second epoch of the same keys, and no round out of turn."""
    desk = Desk(Home(place / "curie"), linger=0.0)
    assert "rounds" in wire.unpack(desk.answer(start()))
    for epoch in (0, -1, "", None, (), float("nan")):
        assert desk.answer(wire.pack({"do": "hello", "epoch": epoch})) == REFUSED
    assert "hello" in wire.unpack(desk.answer(wire.pack({"do": "hello", "epoch": 5})))
    for epoch in (5, 4, 1):
        assert desk.answer(wire.pack({"do": "hello", "epoch": epoch})) == REFUSED
    for number in (0, 2, -1, 10**9, "1", None):
        message = {"do": "settle", "round": number, "answers": ()}
        assert desk.answer(wire.pack(message)) in (REFUSED, UNABLE)
    desk.close()


def test_strikes_count_against_their_own_study_alone(place: Path) -> None:  # noqa: F811
    other = STUDY.replace("engine-test", "other")
    home = Home(place / "curie")
    home.approve(other)
    desk = Desk(home, linger=0.0)
    for _ in range(5):  # before a start, there is no study to count against
        desk.answer(wire.pack({"do": "round", "round": 1, "asks": (), "before": ()}))
    desk.answer(start())
    desk.answer(wire.pack({"do": "hello", "epoch": 1}))
    for _ in range(5):
        desk.answer(wire.pack({"do": "settle", "round": 9, "answers": ()}))
    desk.close()
    states = {r.study: r.state for r in home.studies.all()}
    assert states == {HASH: "paused", parse(other, "").hash: "approved"}


def test_who_takes_part_is_said_once(place: Path) -> None:  # noqa: F811
    home = Home(place / "curie")
    folder, one, other = home.run(HASH), NAMES[1], NAMES[2]
    folder.mkdir(parents=True, exist_ok=True)
    assert _members(home, HASH, (one,)) == (one,)
    (folder / "asked").touch()
    assert _members(home, HASH, (one,)) == (one,)
    for without in ((), (other,), (one, other)):
        with pytest.raises(Refused, match="begun with other hospitals"):
            _members(home, HASH, without)


def test_a_study_of_one_byte_more_is_another_one(place: Path) -> None:  # noqa: F811
    """Blanks and comments change nothing that is asked; any other byte needs its own yes."""
    desk = Desk(Home(place / "curie"), linger=0.0)
    assert "rounds" in wire.unpack(desk.answer(start(STUDY + "# a comment\n")))
    for old, new in (
        ("age + nodes", "age+nodes "),
        ("recur ~ hormon", "recur ~  hormon"),
        ("Recurrence", "recurrence"),
    ):
        assert "undecided" in wire.unpack(desk.answer(start(STUDY.replace(old, new))))
    assert desk.answer(sent(HASH.upper(), "")) == REFUSED
    desk.close()


@pytest.mark.parametrize(
    "text",
    ["care\\u001b[2J", "care\\u202Eytefas", "c\\u200Bare", "care\\u0007", "care\\u2066x\\u2069", "ca\\u00ADre"],
)
def test_a_text_that_shows_a_steward_something_else_is_not_taken_in(place: Path, text: str) -> None:  # noqa: F811
    """Terminal commands, letters that turn the line round, letters that nobody sees."""
    home = Home(place / "curie")
    for old in ('"Recurrence, over an engine"', '"public-interest research"'):
        forged = STUDY.replace(old, f'"{text}"')
        assert Desk(home, linger=0.0).answer(start(forged)) == REFUSED
        with pytest.raises(StudyError, match="which nobody sees"):
            home.approve(forged)


def test_a_text_in_french_is_taken_in(place: Path) -> None:  # noqa: F811
    text = STUDY.replace('"public-interest research"', '"recherche d’intérêt public\\u00A0: étude\\u202Fn°\\u00A01"')
    assert Home(place / "curie").approve(text).purpose.startswith("recherche")
