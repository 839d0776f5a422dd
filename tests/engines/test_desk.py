"""The desk: what is asked without a yes, against the rules or too often is refused alike, and written down."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from confrere import wire
from confrere.console.serving import alone
from confrere.coordinator.conduct import Folder, conduct
from confrere.data.opposition import Said
from confrere.errors import Refused, StudyError, Waiting
from confrere.hospital.desk import Desk
from confrere.hospital.home import Home
from confrere.hospital.ledger import verify
from confrere.hospital.left import left
from confrere.study.file import parse
from engines.inprocess import NAMES, STUDY, Fault, let_go, links, told

HASH = parse(STUDY).hash
REFUSED, UNABLE = wire.pack({"refused": True}), wire.pack({"unable": True})


def start(text: str = STUDY, **other: Any) -> bytes:
    study = parse(text, "")
    return wire.pack(
        {"do": "start", "study": study.hash, "version": wire.release(), "without": (), "text": text, **other}
    )


def ruled(home: Home, line: str) -> Home:
    """The hospital with another line in its [policy]."""
    file = home.path / "hospital.toml"
    kept = [old for old in file.read_text().splitlines() if old.split(" =")[0] != line.split(" =")[0]]
    at = next(i for i, old in enumerate(kept) if old.startswith("[policy]"))
    file.write_text("\n".join([*kept[: at + 1], line, *kept[at + 1 :]]))
    return Home(home.path)


def run(place: Path, fault: Fault = lambda name, number, answered: None, text: str = STUDY) -> Any:
    folder = Folder.make(place / "coordinator" / "runs" / parse(text, "").hash[:16], text)
    given = links({name: Home(place / name) for name in NAMES}, fault)
    try:
        return conduct(folder, given)
    finally:
        let_go(given)


def at_message(number: int, act: Callable[[], object]) -> Fault:
    """Something happens at lyon before it answers a message."""

    def fault(name: str, at: int, answered: bool) -> None:
        if (name, at, answered) == ("lyon", number, False):
            act()

    return fault


def test_a_hospital_without_rules_answers_nothing(place: Path) -> None:
    home = Home(place / "curie")
    text = (home.path / "hospital.toml").read_text()
    (home.path / "hospital.toml").write_text(text[: text.index("[policy]")] + "[policy]\n")
    assert Desk(Home(home.path), linger=0.0).answer(start()) == REFUSED
    assert "`methods` does not name cox" in told(home.path)
    with pytest.raises(StudyError, match="`methods` does not name"):
        Home(home.path).approve(STUDY)


def test_a_run_is_in_the_ledger_ask_by_ask_and_the_ledger_holds(place: Path) -> None:
    result = run(place)
    for name in NAMES:
        home = Home(place / name)
        events = [e.event for e in home.ledger.entries()]
        asked, answered = events.count("asked"), events.count("answered")
        assert asked == answered == result.rounds
        assert {"approved", "policy", "started", "done"} <= set(events)
        assert verify(home.path / "ledger.sqlite").entries == len(events)
        record = home.studies.record(HASH)
        assert record is not None
        assert record.state == "done"
        (month,) = left(home.ledger.entries(event="answered"))
        assert month.rounds == result.rounds
        assert month.bytes > 1000


def test_what_the_ledger_has_left_is_what_the_manifest_lists(place: Path) -> None:
    from confrere.hospital.manifest import manifest

    run(place)
    listed = {f"{e.method}.{e.step}.{e.name}" for e in manifest(parse(STUDY)).entries}
    home = Home(place / "curie")
    assert {one["what"] for e in home.ledger.entries(event="answered") for one in e.facts["left"]} <= listed


def test_no_entry_of_a_ledger_holds_a_value_of_the_data(place: Path) -> None:
    run(place)
    home = Home(place / "curie")
    people = [one["people"] for e in home.ledger.entries(event="answered") for one in e.facts["left"]]
    assert all(p is None or p == 0 or p >= 11 for p in people)
    for entry in home.ledger.entries():
        assert not any(isinstance(v, float) for v in entry.facts.values())


def test_an_unknown_study_goes_to_the_inbox_once_and_waits(place: Path) -> None:
    text = STUDY.replace("engine-test", "new")
    desk = Desk(Home(place / "curie"), linger=0.0)
    for _ in range(3):
        assert wire.unpack(desk.answer(start(text)))["undecided"] is True
    home = Home(place / "curie")
    assert [r.state for r in home.studies.all() if r.study == parse(text, "").hash] == ["submitted"]
    assert [e.event for e in home.ledger.entries(study=parse(text, "").hash)] == ["submitted"]


def test_a_text_that_is_another_study_than_its_hash_is_refused(place: Path) -> None:
    text = STUDY.replace("engine-test", "new")
    desk = Desk(Home(place / "curie"), linger=0.0)
    answer = wire.unpack(desk.answer(start(text, study="ab" * 32)))
    assert "undecided" not in answer or answer["undecided"] is True
    assert Home(place / "curie").studies.record("ab" * 32) is None


def test_the_inbox_has_an_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confrere.hospital.studies.INBOX", 2)
    desk = Desk(Home(place / "curie"), linger=0.0)
    answers = [desk.answer(start(STUDY.replace("engine-test", f"new-{i}"))) for i in range(4)]
    assert answers[2:] == [REFUSED, REFUSED]
    assert "decide about some first" in told(place / "curie")


@pytest.mark.parametrize("action", ["refuse", "revoke"])
def test_a_no_in_mid_run_holds_before_the_next_round(place: Path, action: str) -> None:
    def no() -> None:
        Home(place / "lyon").decide(HASH, action, "dr steward", "enough")

    with pytest.raises(Refused) as caught:
        run(place, at_message(9, no))
    assert str(caught.value) == Refused.uniform
    assert "enough" in told(place / "lyon")
    assert "enough" not in told(place / "curie")


def test_a_pause_in_mid_run_waits_and_the_run_goes_on_when_resumed(place: Path) -> None:
    with pytest.raises(Waiting, match="lyon cannot answer now"):
        run(place, at_message(9, lambda: Home(place / "lyon").decide(HASH, "pause", "dr steward")))
    with pytest.raises(Waiting, match="lyon cannot answer now"):
        run(place)
    Home(place / "lyon").decide(HASH, "resume", "dr steward")
    assert run(place).findings


def test_out_of_hours_a_run_waits(place: Path) -> None:
    now = datetime.now()
    closed = now + timedelta(hours=2)
    start_at, end_at = (f"{closed:%H}:00", f"{closed:%H}:59")
    ruled(Home(place / "lyon"), f'hours = "{start_at}-{end_at}"')
    with pytest.raises(Waiting, match="lyon cannot answer now"):
        run(place)
    assert "asks are answered here" in told(place / "lyon")


def test_rounds_and_megabytes_are_bounded_by_the_hospital(place: Path) -> None:
    ruled(Home(place / "lyon"), "rounds = 3")
    with pytest.raises(Refused):
        run(place)
    assert "`rounds` allows 3" in told(place / "lyon")


def test_bytes_over_all_attempts_are_bounded(place: Path) -> None:
    home = Home(place / "lyon")
    folder = home.run(HASH)
    (folder / "bytes").write_text("99999999")
    with pytest.raises(Refused):
        run(place)
    assert "megabytes allows 100" in told(place / "lyon")


def test_a_study_ends_on_its_last_day(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STUDY.replace("[data]", f"ends = {date.today()}\n[data]")
    for name in NAMES:
        Home(place / name).approve(text)

    class Tomorrow(date):
        @classmethod
        def today(cls) -> date:
            return date.today() + timedelta(days=1)

    monkeypatch.setattr("confrere.hospital.desk.date", Tomorrow)
    with pytest.raises(Refused):
        run(place, text=text)
    record = Home(place / "curie").studies.record(parse(text, "").hash)
    assert record is not None
    assert record.state == "expired"


def test_stricter_rules_hold_for_what_was_approved_before(place: Path) -> None:
    file = place / "lyon" / "hospital.toml"
    file.write_text(re.sub(r"methods = \[.*?\]", "methods = []", file.read_text(), count=1, flags=re.DOTALL))
    with pytest.raises(Refused):
        run(place)
    lines = [json.loads(line) for line in told(place / "lyon").splitlines()]
    assert [line["rules"]["methods"] for line in lines if line["event"] == "policy"][-1] == []


def test_another_release_or_roster_needs_a_new_yes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confrere.hospital.desk.software", lambda study: "another")
    with pytest.raises(Waiting, match="waiting for the stewards of curie, delft, lyon"):
        run(place)
    assert "Confrere or a method is another one" in told(place / "lyon")


def test_three_refused_asks_pause_the_study(place: Path) -> None:
    home = Home(place / "curie")
    for _ in range(3):
        desk = Desk(Home(place / "curie"), linger=0.0)
        assert "rounds" in wire.unpack(desk.answer(start()))
        epoch = int((home.run(HASH) / "epoch").read_text()) if (home.run(HASH) / "epoch").exists() else 0
        assert "hello" in wire.unpack(desk.answer(wire.pack({"do": "hello", "epoch": epoch + 1})))
        hostile = {"do": "round", "round": 1, "asks": ({"analysis": "cox", "step": "rows"},), "before": ()}
        assert desk.answer(wire.pack(hostile)) == REFUSED
        desk.close()
    record = home.studies.record(HASH)
    assert record is not None
    assert (record.state, record.by) == ("paused", "gate")
    desk = Desk(Home(place / "curie"), linger=0.0)
    assert desk.answer(start()) == UNABLE
    home.decide(HASH, "resume")
    assert "rounds" in wire.unpack(desk.answer(start()))
    desk.close()


def named(place: Path) -> None:
    """Every hospital says which column names the person, and approves anew."""
    for name in NAMES:
        home = Home(place / name)
        file = home.path / "hospital.toml"
        bound = '"breast" = {path = "breast.csv", person = "pid"}'
        file.write_text(file.read_text().replace('"breast" = "breast.csv"', bound))
        Home(home.path).approve(STUDY)


def test_an_opposition_between_two_rounds_stops_the_run_and_the_next_run_is_covered(place: Path) -> None:
    named(place)
    somebody = str(pd.read_csv(place / "lyon" / "breast.csv")["pid"][7])
    said = Said(somebody, "*", "opposed", "2026-11-22", "letter")
    with pytest.raises(Refused):
        run(place, at_message(9, lambda: Home(place / "lyon").oppositions.add([said])))
    assert "oppositions changed" in told(place / "lyon")
    before = Home(place / "lyon")
    assert before.oppositions.receipt(somebody)
    before.erase(HASH)
    shutil.rmtree(place / "coordinator" / "runs")
    for name in ("curie", "delft"):
        Home(place / name).erase(HASH)
    for name in NAMES:
        Home(place / name).approve(STUDY)
    result = run(place)
    everybody = sum(len((place / name / "breast.csv").read_text().splitlines()) - 1 for name in NAMES)
    assert everybody - result.findings["risk"].n >= 11


def test_a_study_that_differs_by_a_few_people_from_an_earlier_one_is_not_approved(place: Path) -> None:
    run(place)
    home = Home(place / "curie")
    rows = (home.path / "breast.csv").read_text().splitlines()
    (home.path / "breast.csv").write_text("\n".join(rows[:-1]))
    with pytest.raises(StudyError, match="cannot approve"):
        home.approve(STUDY.replace("engine-test", "second"))


def test_a_full_disk_or_a_broken_ledger_answers_nothing(place: Path) -> None:
    home = Home(place / "lyon")
    home.ledger.close()
    import sqlite3

    with sqlite3.connect(home.path / "ledger.sqlite") as link:
        link.execute("DELETE FROM entries WHERE number = (SELECT max(number) FROM entries)")
    with pytest.raises((Refused, Waiting)):
        run(place)


def test_a_slip_in_the_rules_waits_and_is_told_and_everything_can_still_be_stopped(place: Path) -> None:
    ruled(Home(place / "lyon"), "alow = []")
    with pytest.raises(Waiting, match="lyon cannot answer now"):
        run(place)
    assert "did you mean 'allow'" in told(place / "lyon")
    home = Home(place / "lyon")
    home.oppositions.add([Said("1", "*", "opposed", "2026-11-22", "letter")])
    home.decide(HASH, "pause", "dr steward")
    with pytest.raises(StudyError, match="did you mean 'allow'"):
        _ = home.rules


def test_a_study_whose_run_was_refused_is_no_longer_running(place: Path) -> None:
    with pytest.raises(Refused):
        run(place, at_message(9, lambda: Home(place / "lyon").oppositions.need_consent("public-interest research")))
    states = {name: Home(place / name).studies.record(HASH) for name in NAMES}
    assert {name: record.state for name, record in states.items() if record} == dict.fromkeys(NAMES, "waiting")


def test_one_process_serves_a_folder(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "lock"),
        pytest.raises(StudyError, match="served by another process"),
        alone(tmp_path / "lock"),
    ):
        pass
    with alone(tmp_path / "lock"):
        pass


def test_a_receipt_names_no_study_that_was_refused_at_the_last_moment(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(place)
    home = Home(place / "lyon")
    seen = home.records(parse(STUDY, ""))
    refusal = home.answered.judge(seen.cohorts, seen.k)._replace(ok=False, about="people")
    monkeypatch.setattr(home.answered, "admit", lambda *args, **kind: refusal)
    with pytest.raises(Refused):
        seen.answered(home, parse(STUDY, ""))
    assert home.oppositions.receipt(seen.ids[0]) == []
    monkeypatch.undo()
    seen.answered(home, parse(STUDY, ""))
    assert [use.study for use in home.oppositions.receipt(seen.ids[0])] == [HASH]
