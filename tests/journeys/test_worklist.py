"""`confrere hospital worklist ...`, as a steward and a clinician use it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from confrere.console.worklist import FRENCH, Words, app
from confrere.errors import ConfrereError, Refused, StudyError
from confrere.hospital.home import Home
from confrere.study.recruitment import STATUSES
from confrere.study.worklist import Worklist

ROWS = pd.DataFrame({"pid": ["patient-7", "patient-9"], "age": [81.0, 70.0], "size": [">50", None]})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A hospital with one list, of two patients."""
    made = Home.make(tmp_path / "curie", "curie", {"breast": "breast.csv"})
    worklist = Worklist("Large, over 65", "a second look", ("age >= 65", "size == '>50'"), ROWS,
                        (("met", "met"), ("met", "unknown")))  # fmt: skip
    made.worklists.keep("a" * 64, "care", worklist)
    return made.path


def run(home: Path, *words: str) -> Result:
    """A command; errors of ours go through."""
    done = CliRunner().invoke(app, [*words, "--home", str(home)])
    if isinstance(done.exception, ConfrereError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_a_list_from_the_steward_to_the_clinician(home: Path, tmp_path: Path) -> None:
    said = run(home, "list").output
    assert "large-over-65: Large, over 65" in said
    assert "2 patients, until" in said
    assert "nobody may see it yet" in said
    assert "patient-" not in said
    with pytest.raises(Refused, match="no worklist"):
        run(home, "show", "large-over-65", "--clinician", "dr-a")
    run(home, "grant", "large-over-65", "--clinician", "dr-a")
    assert "for dr-a" in run(home, "list").output
    said = run(home, "show", "large-over-65", "--clinician", "dr-a").output
    for words in (
        "Purpose: care",
        "What it is for: a second look",
        "patient-7",
        "81",
        "all met",
        "to be checked: size",
    ):
        assert words in said
    run(home, "status", "large-over-65", "patient-7", "not-eligible", "--reason", "too frail", "--clinician", "dr-a")
    assert "too frail" in run(home, "show", "large-over-65", "--clinician", "dr-a").output
    out = tmp_path / "list.csv"
    assert (
        "2 patients"
        in run(home, "export", "large-over-65", "--clinician", "dr-a", "--out", str(out), "--with-patients").output
    )
    assert out.read_text().splitlines()[1].startswith("patient-7,81,>50,,,yes,not eligible,20")
    run(home, "withdraw", "large-over-65", "--clinician", "dr-a")
    with pytest.raises(Refused):
        run(home, "show", "large-over-65", "--clinician", "dr-a")


def test_the_ledger_has_it_all_and_no_patient(home: Path, tmp_path: Path) -> None:
    run(home, "grant", "large-over-65", "--clinician", "dr-a")
    run(home, "show", "large-over-65", "--clinician", "dr-a")
    run(home, "export", "large-over-65", "--clinician", "dr-a", "--out", str(tmp_path / "list.csv"), "--with-patients")
    run(home, "status", "large-over-65", "patient-7", "seen", "--clinician", "dr-a")
    entries = [(e.event, dict(e.facts)) for e in Home(home).ledger.entries() if e.event.startswith("worklist")]
    assert [event for event, _ in sorted(entries, key=str)] == sorted(
        ["worklist kept", "worklist granted", "worklist shown", "worklist exported", "worklist status"]
    )
    assert {facts.get("who") for _, facts in entries} == {None, "dr-a"}
    assert {facts["worklist"] for _, facts in entries} == {"large-over-65"}
    files = [p for p in home.rglob("*") if p.is_file() and p.name != "worklists.sqlite"]
    assert files
    assert not [p for p in files if b"patient-" in p.read_bytes()]


def test_french(home: Path) -> None:
    assert "Liste" not in run(home, "grant", "large-over-65", "--clinician", "dr-a", "--lang", "fr").output
    assert "pour dr-a" in run(home, "list", "--lang", "fr").output
    said = run(home, "show", "large-over-65", "--clinician", "dr-a", "--lang", "fr").output
    for words in ("Finalité : care", "Critères", "tous remplis", "à vérifier", "statut", "à voir"):
        assert words in said
    with pytest.raises(StudyError, match="en or fr"):
        run(home, "list", "--lang", "de")


def test_every_status_has_its_french() -> None:
    assert set(STATUSES) <= set(FRENCH)
    assert [Words("fr")(status) for status in STATUSES] == [FRENCH[status] for status in STATUSES]


def test_wrong_words_are_named(home: Path) -> None:
    with pytest.raises(StudyError, match="there is large-over-65"):
        run(home, "grant", "large", "--clinician", "dr-a")
    run(home, "grant", "large-over-65", "--clinician", "dr-a")
    with pytest.raises(StudyError, match="no status"):
        run(home, "status", "large-over-65", "patient-7", "dead", "--clinician", "dr-a")
    with pytest.raises(StudyError, match="give the id") as error:
        run(home, "status", "large-over-65", "patient-8", "seen", "--clinician", "dr-a")
    assert "patient-8" not in str(error.value)


def test_no_lists_is_no_error(tmp_path: Path) -> None:
    made = Home.make(tmp_path / "lyon", "lyon", {"breast": "breast.csv"})
    assert run(made.path, "list").output == "no worklists\n"
