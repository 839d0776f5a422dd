"""Worklists in a hospital: who sees them, what the ledger has of it, when they are erased, what the network is told."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.errors import Refused, StudyError
from confrere.hospital import worklists
from confrere.hospital.worklists import Worklists
from confrere.study.worklist import Worklist

STUDY = "a" * 64
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
Entry = tuple[str, dict[str, Any]]


def made(people: int = 3, title: str = "Old & large", first: int = 0, **columns: list[Any]) -> Worklist:
    """A list of people whose ids and values occur nowhere else."""
    ids = [f"patient-{first + i}" for i in range(people)]
    rows = pd.DataFrame({"pid": ids, "age": [70.123456 + i for i in range(people)], **columns})
    return Worklist(title, "call them", ("age >= 65", "size == '>50'"), rows, (("met", "unknown"),) * people)


@pytest.fixture
def entries() -> list[Entry]:
    return []


@pytest.fixture
def lists(tmp_path: Path, entries: list[Entry]) -> Worklists:
    (tmp_path / "home").mkdir()
    return Worklists(tmp_path / "home" / "worklists.sqlite", lambda event, **facts: entries.append((event, facts)))


def kept(lists: Worklists, worklist: Worklist | None = None, **settings: Any) -> str:
    """A list that dr-a may see."""
    name = lists.keep(STUDY, "care", worklist or made(), **({"now": NOW} | settings))
    lists.grant(name, "dr-a")
    return name


# keeping


def test_a_list_is_found_again_as_it_was_kept(lists: Worklists) -> None:
    name = kept(lists, made(size=pd.Categorical([">50", None, ">50"])))
    assert name == "old-large"
    page = lists.show(name, "dr-a")
    assert (page.head.title, page.head.purpose, page.head.study_purpose) == ("Old & large", "call them", "care")
    assert page.head.columns == ("pid", "age", "size")
    assert page.head.criteria == ("age >= 65", "size == '>50'")
    assert [line.person for line in page.lines] == ["patient-0", "patient-1", "patient-2"]
    assert page.lines[0].values == (70.123456, ">50")
    assert page.lines[1].values == (71.123456, None)
    assert page.lines[0].answers == ("met", "unknown")
    assert {line.status for line in page.lines} == {"to see"}


def test_the_same_list_again_keeps_its_name_statuses_grants_and_end(lists: Worklists) -> None:
    """A run is taken up again after a crash: its steps run again."""
    name = kept(lists)
    lists.mark(name, "dr-a", "patient-1", "seen")
    assert lists.keep(STUDY, "care", made(), now=NOW + timedelta(days=9)) == name
    page = lists.show(name, "dr-a")
    assert [line.status for line in page.lines] == ["to see", "seen", "to see"]
    assert page.head.expires == NOW + timedelta(days=90)
    assert len(lists.heads()) == 1


def test_lists_of_one_title_have_names_of_their_own(lists: Worklists) -> None:
    names = [lists.keep(study * 64, "care", made(), now=NOW) for study in "abc"]
    assert names == ["old-large", "old-large-2", "old-large-3"]
    assert lists.keep(STUDY, "care", made(title="É / ¿"), now=NOW) == "e"
    assert lists.keep(STUDY, "care", made(title="★"), now=NOW) == "worklist"


def test_nobody_is_a_list_too(lists: Worklists) -> None:
    assert lists.show(kept(lists, made(0)), "dr-a").lines == ()


def test_a_worklist_says_nothing_of_its_rows(lists: Worklists) -> None:
    assert "patient" not in repr(made())
    assert "70.1" not in f"{made()!s} {made()!r} {[made()]}"


@pytest.mark.parametrize("answers", [(), (("met",),) * 3, (("met", "met"),) * 2])
def test_a_worklist_has_an_answer_to_everything(answers: Any) -> None:
    with pytest.raises(StudyError, match="every row an answer") as error:
        Worklist("t", "", ("a", "b"), made().rows, answers)
    assert "patient" not in str(error.value)


def test_a_person_is_listed_once() -> None:
    rows = pd.DataFrame({"pid": ["patient-1", "patient-1"]})
    with pytest.raises(StudyError, match="each person once") as error:
        Worklist("t", "", (), rows, ((), ()))
    assert "patient-1" not in str(error.value)


# seeing


def test_only_a_named_clinician_sees_a_list(lists: Worklists, entries: list[Entry], tmp_path: Path) -> None:
    name = kept(lists)
    before = len(entries)
    for act in (
        lambda: lists.show(name, "dr-b"),
        lambda: lists.export(name, "dr-b", tmp_path / "out.csv"),
        lambda: lists.mark(name, "dr-b", "patient-1", "seen"),
    ):
        with pytest.raises(Refused, match="no worklist 'old-large' for 'dr-b'"):
            act()
    assert len(entries) == before
    assert not (tmp_path / "out.csv").exists()


def test_a_list_that_is_not_there_and_one_of_others_look_alike(lists: Worklists) -> None:
    name = kept(lists)
    said = []
    for asked in (name, "nothing"):
        with pytest.raises(Refused) as error:
            lists.show(asked, "dr-b")
        said.append(str(error.value).replace(asked, "NAME"))
    assert said[0] == said[1]


def test_a_grant_is_for_one_list_and_can_be_taken_back(lists: Worklists) -> None:
    name, other = kept(lists), lists.keep(STUDY, "care", made(title="Other"), now=NOW)
    with pytest.raises(Refused):
        lists.show(other, "dr-a")
    lists.withdraw(name, "dr-a")
    with pytest.raises(Refused):
        lists.show(name, "dr-a")
    with pytest.raises(StudyError, match="has no grant"):
        lists.withdraw(name, "dr-a")


@pytest.mark.parametrize("who", ["", "  ", "a\nb"])
def test_a_grant_names_somebody(lists: Worklists, who: str) -> None:
    name = kept(lists)
    with pytest.raises(StudyError, match="names no clinician"):
        lists.grant(name, who)


def test_a_grant_for_no_list_says_which_there_are(lists: Worklists) -> None:
    kept(lists)
    with pytest.raises(StudyError, match="there is old-large"):
        lists.grant("old", "dr-a")


def test_the_ledger_has_who_which_and_how_many_and_no_patient(
    lists: Worklists, entries: list[Entry], tmp_path: Path
) -> None:
    name = kept(lists)
    lists.show(name, "dr-a")
    lists.export(name, "dr-a", tmp_path / "out.csv")
    lists.mark(name, "dr-a", "patient-1", "seen", "read the letters")
    lists.withdraw(name, "dr-a")
    lists.expire(NOW + timedelta(days=91))
    (mark,) = [facts.pop("mark") for _, facts in entries if "mark" in facts]
    assert len(mark) == 32
    assert entries == [
        ("worklist kept", {"worklist": name, "study": STUDY, "rows": 3}),
        ("worklist granted", {"worklist": name, "who": "dr-a"}),
        ("worklist shown", {"worklist": name, "who": "dr-a", "rows": 3}),
        ("worklist exported", {"worklist": name, "who": "dr-a", "rows": 3}),
        ("worklist status", {"worklist": name, "who": "dr-a", "rows": 1, "status": "seen"}),
        ("worklist withdrawn", {"worklist": name, "who": "dr-a"}),
        ("worklist erased", {"worklist": name, "rows": 3}),
    ]


def test_where_the_ledger_cannot_be_written_nothing_is_seen_or_changed(tmp_path: Path) -> None:
    full = False

    def log(event: str, **facts: Any) -> None:
        if full:
            raise OSError("the disk is full")

    lists = Worklists(tmp_path / "worklists.sqlite", log)
    name = kept(lists)
    full = True
    out = tmp_path.parent / f"{tmp_path.name}.csv"
    for act in (
        lambda: lists.show(name, "dr-a"),
        lambda: lists.export(name, "dr-a", out),
        lambda: lists.mark(name, "dr-a", "patient-1", "seen"),
        lambda: lists.grant(name, "dr-b"),
        lambda: lists.keep(STUDY, "care", made(title="Other"), now=NOW),
    ):
        with pytest.raises(OSError, match="full"):
            act()
    full = False
    assert not out.exists()
    assert {line.status for line in lists.show(name, "dr-a").lines} == {"to see"}
    assert [head.clinicians for head in lists.heads()] == [("dr-a",)]


# statuses


def test_a_status_is_noted_with_who_when_and_why(lists: Worklists) -> None:
    name = kept(lists)
    lists.mark(name, "dr-a", "patient-2", "seen")
    lists.mark(name, "dr-a", "patient-2", "not eligible", "  moved to\n another town ")
    page = lists.show(name, "dr-a")
    assert [line.status for line in page.lines] == ["to see", "to see", "not eligible"]
    first, second = page.lines[2].moves
    assert (first.who, first.status, first.reason) == ("dr-a", "seen", "")
    assert (second.status, second.reason) == ("not eligible", "moved to another town")
    assert datetime.fromisoformat(second.at) <= datetime.now(UTC)
    assert page.lines[2].next == ("seen",)  # taken back
    assert page.lines[0].next == ("seen", "not eligible", "eligible")


def test_a_wrong_status_or_person_changes_nothing(lists: Worklists, entries: list[Entry]) -> None:
    name = kept(lists)
    before = len(entries)
    with pytest.raises(StudyError, match="one of to see, seen"):
        lists.mark(name, "dr-a", "patient-1", "dead")
    with pytest.raises(StudyError, match="cannot become 'enrolled'; next is seen, not eligible, eligible"):
        lists.mark(name, "dr-a", "patient-1", "enrolled")
    with pytest.raises(StudyError, match="needs a reason"):
        lists.mark(name, "dr-a", "patient-1", "not eligible", " ")
    with pytest.raises(StudyError, match="not on old-large") as error:
        lists.mark(name, "dr-a", "patient-9", "seen")
    assert "patient-9" not in str(error.value)
    assert len(entries) == before
    assert {line.moves for line in lists.show(name, "dr-a").lines} == {()}


def test_the_ledger_has_neither_patient_nor_reason_and_knows_a_changed_move(
    lists: Worklists, entries: list[Entry]
) -> None:
    name = kept(lists)
    for status in ("seen", "eligible", "contacted"):
        lists.mark(name, "dr-a", "patient-1", status, "because of patient-1")
    assert "patient-" not in repr(entries)
    assert "because" not in repr(entries)
    marks = {facts["mark"] for _, facts in entries if "mark" in facts}
    assert len(marks) == 3
    assert lists.log(name, "dr-a", marks)[1].changed == 0
    with sqlite3.connect(lists.path) as db:
        db.execute("UPDATE moves SET reason = 'another' WHERE status = 'eligible'")
    assert lists.log(name, "dr-a", marks)[1].changed == 1
    assert lists.log(name, "dr-a", ())[1].changed == 3


# a later run


def later(lists: Worklists, study: str, worklist: Worklist, purpose: str = "care", days: int = 30) -> str:
    """A run of the study whose id is trial, under another hash."""
    return lists.keep(study * 64, purpose, worklist, now=NOW + timedelta(days=days), id="trial")


def test_a_later_run_of_the_study_keeps_statuses_and_who_is_no_longer_listed(lists: Worklists) -> None:
    name = later(lists, "b", made(4), days=0)
    lists.grant(name, "dr-a")
    lists.mark(name, "dr-a", "patient-1", "seen")
    lists.mark(name, "dr-a", "patient-0", "eligible", "as the letter says")
    assert later(lists, "c", made(3, first=1)) == name
    page = lists.show(name, "dr-a")
    found = {line.person: (line.status, line.listed) for line in page.lines}
    assert found == {
        "patient-1": ("seen", True), "patient-2": ("to see", True), "patient-3": ("to see", True),
        "patient-0": ("eligible", False),
    }  # fmt: skip
    assert page.lines[-1].moves[0].reason == "as the letter says"
    assert (page.head.people, page.head.gone, page.head.study) == (3, 1, "c" * 64)
    assert page.head.expires == NOW + timedelta(days=120)
    assert later(lists, "d", made(4), days=60) == name
    assert [line.listed for line in lists.show(name, "dr-a").lines] == [True] * 4
    lists.mark(name, "dr-a", "patient-0", "contacted")


def test_a_study_of_another_id_is_another_list(lists: Worklists) -> None:
    name = later(lists, "b", made())
    assert lists.keep("c" * 64, "care", made(), now=NOW, id="other") == f"{name}-2"


def test_two_lists_of_one_title_in_a_study_stay_two(lists: Worklists) -> None:
    names = [later(lists, "b", made(extra=[1.0] * 3)), later(lists, "b", made())]
    assert names == ["old-large", "old-large-2"]
    assert [later(lists, "b", made(extra=[1.0] * 3)), later(lists, "b", made())] == names


def test_a_later_run_that_shows_more_is_granted_anew(lists: Worklists) -> None:
    name = later(lists, "b", made(n=[1.0, 2.0, 3.0]))
    lists.grant(name, "dr-a")
    later(lists, "c", made())  # fewer columns
    assert lists.heads()[0].clinicians == ("dr-a",)
    later(lists, "d", made(more=[1.0, 2.0, 3.0]))
    assert lists.heads()[0].clinicians == ()
    lists.grant(name, "dr-a")
    later(lists, "e", made(), purpose="research")
    assert lists.heads()[0].clinicians == ()


def test_who_is_no_longer_listed_is_shown_by_the_lists_present_columns(lists: Worklists) -> None:
    name = later(lists, "b", made(size=["a", "b", "c"]))
    lists.grant(name, "dr-a")
    lists.mark(name, "dr-a", "patient-0", "seen")
    rows = pd.DataFrame({"pid": ["patient-5"], "more": [1.0], "age": [66.0]})
    later(lists, "c", Worklist("Old & large", "call them", ("er > 1", "age >= 65"), rows, (("met", "met"),)))
    lists.grant(name, "dr-a")
    gone = lists.show(name, "dr-a").lines[-1]
    assert (gone.person, gone.values, gone.answers) == ("patient-0", (None, 70.123456), ("unknown", "met"))


# opposition to being contacted


def test_who_opposes_being_contacted_is_on_no_list_that_leads_to_it(tmp_path: Path) -> None:
    entries: list[Entry] = []
    opposed = {"contact for research": {"patient-1"}}
    lists = Worklists(
        tmp_path / "w.sqlite", lambda event, **facts: entries.append((event, facts)),
        opposed=lambda purpose, people: opposed.get(purpose, set()) & set(people),
    )  # fmt: skip
    name = kept(lists)
    assert [line.person for line in lists.show(name, "dr-a").lines] == ["patient-0", "patient-2"]
    assert lists.heads()[0].opposed == 1  # for the steward
    assert lists.show(name, "dr-a").head.opposed is None
    assert lists.log(name, "dr-a", ())[1].opposed is None
    assert lists.log(name, "ada", (), steward=True)[1].opposed == 1
    with pytest.raises(Refused):
        lists.log(name, "ada", ())
    assert "patient-1" not in lists.text(name, "dr-a")
    assert b"patient-1" not in lists.path.read_bytes()
    assert ("worklist kept", {"worklist": name, "study": STUDY, "rows": 2}) in entries
    opposed["contact for research"] |= {"patient-2"}
    assert [line.person for line in lists.show(name, "dr-a").lines] == ["patient-0"]
    assert lists.heads()[0].opposed == 2
    assert b"patient-2" not in lists.path.read_bytes()


def test_a_list_that_leads_to_no_contact_has_them(tmp_path: Path) -> None:
    lists = Worklists(tmp_path / "w.sqlite", lambda event, **facts: None, opposed=lambda purpose, people: (
        set(people) if purpose == "contact for research" else ()))  # fmt: skip
    worklist = made()
    kept(lists, Worklist(worklist.title, "", worklist.criteria, worklist.rows, worklist.answers, contact=False))
    assert (lists.heads()[0].people, lists.heads()[0].opposed) == (3, 0)


# the screening log


def test_the_log_is_the_flow_diagram_of_the_hospital(lists: Worklists) -> None:
    one = made(6)
    funnel = (("screened", "", 40), ("not ruled out", "age >= 65", 9), ("not ruled out", "size == '>50'", 6))
    name = kept(lists, Worklist(one.title, one.purpose, one.criteria, one.rows, one.answers, funnel))
    ways = {0: ("seen",), 1: ("seen", "not eligible"), 2: ("not eligible",), 3: ("eligible", "contacted", "declined"),
            4: ("eligible", "contacted", "consented", "enrolled")}  # fmt: skip
    for person, way in ways.items():
        for status in way:
            lists.mark(name, "dr-a", f"patient-{person}", status, "too frail" if status == "not eligible" else "")
    _, log = lists.log(name, "dr-a", ())
    assert log.steps == (
        *funnel, ("on the list", "", 6), ("seen", "", 5), ("read", "", 4), ("found eligible", "", 2),
        ("contacted", "", 2), ("answered", "", 2), ("consented", "", 1), ("enrolled", "", 1),
    )  # fmt: skip
    assert (log.reasons, log.gone) == ((("too frail", 2),), 0)


def test_no_number_of_the_log_tells_a_clinician_how_many_oppose(tmp_path: Path) -> None:
    """Of 6 on the list 2 oppose being contacted, and a third one later; one of the three meets all criteria."""
    opposed = {"patient-0", "patient-1"}
    lists = Worklists(tmp_path / "w.sqlite", lambda event, **facts: None, opposed=lambda purpose, people: (
        opposed & set(people) if purpose == "contact for research" else ()))  # fmt: skip
    one = made(6)
    answers = (("met", "met"), *(("met", "unknown"),) * 4, ("met", "met"))
    funnel = (("screened", "", 40), ("not ruled out", "age >= 65", 6), ("meet all criteria", "", 2))
    name = kept(lists, Worklist(one.title, one.purpose, one.criteria, one.rows, answers, funnel))
    for gone in (2, 3):
        steps = {what: n for what, _, n in lists.log(name, "dr-a", ())[1].steps}
        assert [steps[what] for what in ("screened", "not ruled out", "meet all criteria", "on the list")] == [
            40 - gone, 6 - gone, 1, 6 - gone,
        ]  # fmt: skip
        assert lists.heads()[0].opposed == gone
        opposed |= {"patient-2"}


def test_statuses_of_a_day_are_those_at_its_end(lists: Worklists) -> None:
    name, today = later(lists, "b", made(), days=-30), datetime.now(UTC).date()
    lists.grant(name, "dr-a")
    lists.mark(name, "dr-a", "patient-1", "seen")
    yesterday = today - timedelta(days=1)
    assert lists.statuses("trial", "Old & large", yesterday) == {f"patient-{i}": "to see" for i in range(3)}
    with sqlite3.connect(lists.path) as db:
        db.execute("UPDATE moves SET at = ?", (f"{yesterday}T23:59:59Z",))
    assert lists.statuses("trial", "Old & large", yesterday)["patient-1"] == "seen"
    assert lists.statuses("trial", "Old & large", yesterday - timedelta(days=1))["patient-1"] == "to see"
    with pytest.raises(StudyError, match="a day that is over"):
        lists.statuses("trial", "Old & large", today)
    with pytest.raises(StudyError, match="no worklist 'Other'"):
        lists.statuses("trial", "Other", yesterday)


# the file


def test_the_file_is_its_owners_alone(lists: Worklists) -> None:
    kept(lists)
    assert stat.S_IMODE(lists.path.stat().st_mode) == 0o600
    os.chmod(lists.path, 0o644)
    lists.heads()
    assert stat.S_IMODE(lists.path.stat().st_mode) == 0o600


def test_rows_are_erased_for_good_when_they_expire(lists: Worklists) -> None:
    name, end = kept(lists), NOW + timedelta(days=90)
    assert b"patient-1" in lists.path.read_bytes()
    assert lists.show(name, "dr-a", end - timedelta(seconds=1)).lines
    with pytest.raises(Refused):
        lists.show(name, "dr-a", end)
    assert b"patient-1" not in lists.path.read_bytes()
    assert b"Old & large" not in lists.path.read_bytes()
    assert not list(lists.path.parent.glob("*journal*"))


def test_the_policy_says_how_long(tmp_path: Path) -> None:
    lists = Worklists(tmp_path / "w.sqlite", lambda event, **facts: None, days=7)
    name = kept(lists)
    assert lists.heads()[0].expires == NOW + timedelta(days=7)
    with pytest.raises(Refused):
        lists.show(name, "dr-a", NOW + timedelta(days=8))


def test_rows_that_a_list_lost_are_erased_too(lists: Worklists) -> None:
    kept(lists, made(3))
    kept(lists, made(2))
    assert b"patient-2" not in lists.path.read_bytes()


def test_who_opposes_is_erased_from_the_lists_of_that_purpose(tmp_path: Path) -> None:
    entries: list[Entry] = []
    opposed: dict[str, set[str]] = {}
    lists = Worklists(
        tmp_path / "w.sqlite", lambda event, **facts: entries.append((event, facts)),
        opposed=lambda purpose, people: opposed.get(purpose, set()) & set(people),
    )  # fmt: skip
    care, other = kept(lists), lists.keep("b" * 64, "research", made(), now=NOW)
    for name in (care, other):
        lists.grant(name, "dr-a")
    opposed["research"] = {"patient-1", "nobody"}
    assert [line.person for line in lists.show(other, "dr-a").lines] == ["patient-0", "patient-2"]
    assert ("worklist rows erased", {"rows": 1}) in entries
    assert len(lists.show(care, "dr-a").lines) == 3
    opposed["care"] = {"patient-1"}
    assert lists.told(2, NOW) == 2
    assert b"patient-1" not in lists.path.read_bytes()
    before = entries.count(("worklist rows erased", {"rows": 1}))
    lists.heads()
    assert entries.count(("worklist rows erased", {"rows": 1})) == before


def test_a_file_of_an_earlier_form_is_brought_to_this_one(lists: Worklists) -> None:
    with sqlite3.connect(lists.path) as db:
        for statement in worklists._TABLES[:4]:
            db.execute(statement)
        db.execute(
            "INSERT INTO lists VALUES ('old', 'i', 's', 'Old', '', 'care', '[\"pid\"]', '[]', '2026-11-01T00:00:00Z',"
            " '2099-01-01T00:00:00Z')"
        )
        for at, status in enumerate(("todo", "done", "ineligible", "contacted")):
            db.execute("INSERT INTO people VALUES ('old', ?, ?, '[]', '[]', ?)", (f"p{at}", at, status))
    for _ in range(2):
        lists.grant("old", "dr-a")
        lines = lists.show("old", "dr-a").lines
        assert [line.status for line in lines] == ["to see", "seen", "not eligible", "contacted"]
    lists.mark("old", "dr-a", "p3", "consented")


def test_a_file_that_is_none_is_an_error_without_content(lists: Worklists) -> None:
    lists.path.write_bytes(b"no database, but long enough to be looked at" * 100)
    with pytest.raises(OSError, match="cannot be used"):
        lists.heads()


def test_a_full_disk_is_an_oserror(lists: Worklists, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(lists)
    connect = sqlite3.connect

    def small(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        db = connect(*args, **kwargs)
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0] + 1}")
        return db

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(OSError, match="full") as error:
        lists.keep("b" * 64, "care", made(5000), now=NOW)
    assert "patient" not in str(error.value)
    assert len(lists.heads()) == 1


def _keep(path: Path, number: int) -> None:
    Worklists(path, lambda event, **facts: None).keep(f"{number}" * 64, "care", made(50), now=NOW)


def test_processes_keep_lists_at_once(tmp_path: Path) -> None:
    path = tmp_path / "worklists.sqlite"
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_keep, args=(path, i)) for i in range(4)]
    for one in running:
        one.start()
    for one in running:
        one.join(60)
        assert one.exitcode == 0
    heads = Worklists(path, lambda event, **facts: None).heads()
    assert sorted(h.name for h in heads) == ["old-large", *(f"old-large-{i}" for i in (2, 3, 4))]
    assert {h.people for h in heads} == {50}


# exports


def rows(file: Path) -> list[list[str]]:
    """A CSV file, read as any program reads it."""
    with file.open(newline="", encoding="utf-8") as handle:
        return list(csv.reader(handle))


def test_an_export_is_the_list(lists: Worklists, tmp_path: Path) -> None:
    name, out = kept(lists, made(size=["a,b", None, "c"], n=[3.0, float("nan"), -2.5])), tmp_path / "out.csv"
    assert lists.export(name, "dr-a", out) == 3
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    head, first, second, third = rows(out)
    assert head == [
        "pid",
        "age",
        "size",
        "n",
        "unknown",
        "failed",
        "listed",
        "status",
        "noted_at",
        "noted_by",
        "reason",
    ]
    assert first == ["patient-0", "70.123456", "a,b", "3", "size == '>50'", "", "yes", "to see", "", "", ""]
    assert second[2:4] == ["", ""]
    assert third[3] == "-2.5"  # a number, which is no formula


@given(st.sampled_from("=+-@\t\r"), st.text(max_size=20), st.sampled_from(["", " ", "   "]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_cell_is_a_formula(tmp_path_factory: pytest.TempPathFactory, sign: str, rest: str, blank: str) -> None:
    text = f"{blank}{sign}{rest}".replace("\0", "")
    place = tmp_path_factory.mktemp("formula")
    (place / "home").mkdir()
    lists = Worklists(place / "home" / "w.sqlite", lambda event, **facts: None)
    table = pd.DataFrame({"=pid": [text], "+x": [text]})
    name = kept(lists, Worklist("t", "", ("-x > 1",), table, (("unknown",),)))
    lists.export(name, "dr-a", place / "out.csv")
    with (place / "out.csv").open(newline="", encoding="utf-8") as handle:
        cells = [cell for row in csv.reader(handle) for cell in row]
    assert not [cell for cell in cells if cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert cells[9:12] == [f"'{text}", f"'{text}", "'-x > 1"]


def test_an_export_overwrites_nothing_and_stays_out_of_the_home(
    lists: Worklists, tmp_path: Path, entries: list[Entry]
) -> None:
    name, out = kept(lists), tmp_path / "out.csv"
    out.write_text("mine")
    before = len(entries)
    with pytest.raises(StudyError, match="own folder"):
        lists.export(name, "dr-a", tmp_path / "home" / ".." / "home" / "out.csv")
    assert len(entries) == before
    with pytest.raises(StudyError, match="is there already"):
        lists.export(name, "dr-a", out)
    with pytest.raises(StudyError, match="cannot be written"):
        lists.export(name, "dr-a", tmp_path / "nowhere" / "out.csv")
    assert out.read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "target.csv")
    with pytest.raises(StudyError, match="is there already"):
        lists.export(name, "dr-a", tmp_path / "link")


def test_half_an_export_is_none(lists: Worklists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, out, ended = kept(lists), tmp_path / "out.csv", []

    class Full(io.FileIO):
        def write(self, text: Any) -> int:
            ended.append(super().write(b"patient-"))
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("confrere.hospital.exports.open", lambda file, *_, **__: Full(file, "w"), raising=False)
    with pytest.raises(StudyError, match="No space left"):
        lists.export(name, "dr-a", out)
    assert ended
    assert not out.exists()


# what the network is told


def test_a_count_is_floored_and_the_same_all_month(lists: Worklists) -> None:
    kept(lists, made(25))
    assert lists.told(11, NOW) == 22
    kept(lists, made(40, "More", 100))
    assert lists.told(11, NOW + timedelta(days=8, hours=15)) == 22  # 30 November
    december = datetime(2026, 12, 1, tzinfo=UTC)
    assert lists.told(11, december) == 55
    assert lists.told(5, december + timedelta(days=30)) == 55
    assert lists.told(11, NOW) == 22  # a clock that is set back tells nothing new


@pytest.mark.parametrize(("people", "said"), [(0, 0), (1, 0), (10, 0), (11, 11), (21, 11), (22, 22)])
def test_one_patient_is_not_seen(tmp_path: Path, people: int, said: int) -> None:
    lists = Worklists(tmp_path / "w.sqlite", lambda event, **facts: None)
    kept(lists, made(people))
    assert lists.told(11, NOW) == said


def test_a_patient_on_two_lists_is_one(lists: Worklists) -> None:
    kept(lists, made(15))
    kept(lists, made(15, "Other"))
    assert lists.told(11, NOW) == 11


def test_what_is_told_outlives_the_process_and_the_rows(lists: Worklists) -> None:
    kept(lists, made(25))
    assert lists.told(11, NOW) == 22
    again = Worklists(lists.path, lambda event, **facts: None)
    again.expire(NOW + timedelta(days=100))
    assert again.told(11, NOW) == 22
    assert again.told(11, NOW + timedelta(days=100)) == 0


def test_the_month_is_that_of_utc(lists: Worklists) -> None:
    kept(lists, made(25), now=datetime(2026, 11, 1, tzinfo=UTC))
    at = datetime.fromisoformat("2026-12-01T00:30:00+01:00")  # still November
    assert lists.told(11, at) == 22
    kept(lists, made(40, "More", 100), now=datetime(2026, 11, 1, tzinfo=UTC))
    assert lists.told(11, datetime(2026, 11, 2, tzinfo=UTC)) == 22
