"""A study is forgotten by command, at a hospital and at the coordinator, with a proof of what was removed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.console.app import app
from confrere.coordinator import erasures, service
from confrere.coordinator.book import Book, Entry
from confrere.coordinator.home import Home as CoordinatorHome
from confrere.errors import KeysError, StudyError
from confrere.hospital.home import Home
from confrere.study.file import parse
from confrere.study.worklist import Worklist
from confrere.sums.files import read_roster
from confrere.sums.keys import Identity, verify
from confrere.sums.proofs import check
from engines.inprocess import NAMES, STUDY, attempt

HASH = parse(STUDY).hash


def proof(*words: object) -> dict[str, str]:
    """What a command prints."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output))


def signed(place: Path, said: dict[str, str]) -> None:
    """Whoever has the roster can check a hospital's proof. KeysError if it is another's, or was changed."""
    facts = {key: value for key, value in said.items() if key != "signature"}
    key = read_roster(place / "delft" / "roster.json").keys[said["hospital"]]
    verify(key, bytes.fromhex(said["signature"]), "erasure", *(value.encode() for value in facts.values()))


def kept(home: Home) -> str:
    """A list of this study, on which a clinician noted something; its name."""
    rows = pd.DataFrame({"pid": ["patient-7", "patient-9"]})
    name = home.worklists.keep(HASH, "care", Worklist("Seen", "", ("age >= 65",), rows, (("met",),) * 2))
    home.worklists.grant(name, "dr-a")
    home.worklists.mark(name, "dr-a", "patient-7", "seen")
    return name


def test_a_hospital_forgets_a_study_and_signs_for_it(place: Path) -> None:
    attempt(place)
    home = Home(place / "curie")
    name = kept(home)
    journal = hashlib.sha256((home.run(HASH) / "journal").read_bytes()).hexdigest()
    said = proof("hospital", "erase", "engine-test", "--home", home.path)
    assert (said["hospital"], said["study"], said["journal_sha256"]) == ("curie", HASH, journal)
    assert not list((home.path / "runs").iterdir())
    assert [head.name for head in home.worklists.heads()] == [name]  # for the next run, as nobody said otherwise
    signed(place, said)
    (place / "proof.json").write_text(json.dumps(said))
    done = CliRunner().invoke(
        app, ["erasure", "verify", str(place / "proof.json"), "--roster", str(place / "delft" / "roster.json")]
    )
    assert done.exit_code == 0, done.output
    assert "proof.json verifies: hospital curie says that it removed" in done.output
    for changed in ({"study": "0" * 64}, {"erased": "2020-01-01T00:00:00+00:00"}, {"hospital": "lyon"}):
        with pytest.raises(KeysError):
            signed(place, said | changed)
    with pytest.raises(StudyError, match="keeps nothing of the study"):
        proof("hospital", "erase", HASH, "--home", home.path)
    assert home.answered.history(11), "whom it answered about is not forgotten"


def test_worklists_go_by_a_word_of_their_own(place: Path) -> None:
    attempt(place)
    home = Home(place / "curie")
    name = kept(home)
    said = proof("hospital", "erase", "engine-test", "--worklists", "--home", home.path)
    assert said["worklists"] == name
    signed(place, said)
    assert home.worklists.heads() == ()
    assert b"patient-7" not in (home.path / "worklists.sqlite").read_bytes()  # overwritten, not only let go
    (erased,) = home.ledger.entries(event="worklist erased")
    assert erased.facts["rows"] == 2


def test_the_coordinator_forgets_a_run(place: Path) -> None:
    attempt(place)
    home, run = CoordinatorHome(place / "coordinator"), HASH[:16]
    book = Book(home.database)
    entry: dict[str, Any] = {"run": run, "study": HASH, "title": "", "researcher": "ada", "submitted": 0.0}
    book.add(Entry(**entry, deadline=0.0, state="running", why="", handle="", attempts=1, changed=0.0))
    with pytest.raises(StudyError, match="is not over"):
        proof("coordinator", "erase", run, "--home", home.path)
    book.change(run, state="done")
    journal = hashlib.sha256(home.folder(run).journal.read_bytes()).hexdigest()
    said = proof("coordinator", "erase", run, "--home", home.path)
    assert (said["run"], said["study"], said["journal_sha256"]) == (run, HASH, journal)
    check(said, Identity.from_bytes((home.path / "proof.key").read_bytes()).public)
    assert (home.path / "proof.key").stat().st_mode & 0o077 == 0
    assert not home.folder(run).path.exists()
    assert Book(home.database).get(run) is None
    assert [json.loads(line) for line in (home.path / "erased.jsonl").read_text().splitlines()] == [said]
    for name in NAMES:  # what hospitals keep is theirs to erase
        assert (place / name / "runs" / HASH / "journal").is_file()


def test_no_proof_without_an_erasure(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be removed leaves the run known; one that lies elsewhere, by a link, is removed there."""
    attempt(place)
    home, run = CoordinatorHome(place / "coordinator"), HASH[:16]
    book = Book(home.database)
    entry: dict[str, Any] = {"run": run, "study": HASH, "title": "", "researcher": "ada", "submitted": 0.0}
    book.add(Entry(**entry, deadline=0.0, state="done", why="", handle="", attempts=1, changed=0.0))
    folder = home.folder(run).path
    with monkeypatch.context() as stuck:
        stuck.setattr(service.shutil, "rmtree", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
        with pytest.raises(StudyError, match="Read-only file system"):
            proof("coordinator", "erase", run, "--home", home.path)
    assert book.get(run) is not None
    assert not (home.path / "erased.jsonl").exists()
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    check(proof("coordinator", "erase", run, "--home", home.path), erasures.signing_key(home).public)
    assert not elsewhere.exists()
    assert not folder.is_symlink()
