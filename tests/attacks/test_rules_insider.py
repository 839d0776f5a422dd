"""Somebody with a hospital's folder and without its key, and a clinician: what is changed or taken away is noticed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from confrere import wire
from confrere.data.opposition import Said
from confrere.errors import LedgerError, Refused
from confrere.hospital.desk import Desk
from confrere.hospital.home import Home
from confrere.hospital.ledger import verify
from confrere.study.file import parse
from confrere.study.worklist import Worklist
from engines.conftest import beginning, place  # noqa: F401
from engines.inprocess import STUDY
from engines.test_desk import HASH, REFUSED, run, start


def stopped(home: Home) -> bool:
    """Whether a hospital answers nothing."""
    desk = Desk(Home(home.path), linger=0.0)
    answer = desk.answer(start())
    desk.close()
    return answer == REFUSED


def test_a_ledger_that_was_taken_away_is_not_begun_anew(place: Path) -> None:  # noqa: F811
    home = Home(place / "curie")
    (home.path / "ledger.sqlite").unlink()
    assert stopped(home)
    with pytest.raises(LedgerError, match="is gone, and studies were approved"):
        Home(home.path).log("anything")
    assert not (home.path / "ledger.sqlite").exists()


@pytest.mark.parametrize("file", ["answered.sqlite", "oppositions.sqlite"])
def test_a_memory_that_was_taken_away_is_not_begun_anew(place: Path, file: str) -> None:  # noqa: F811
    run(place)
    home = Home(place / "curie")
    (home.path / file).unlink()
    assert stopped(home)
    assert not (home.path / file).exists()


def test_a_register_without_a_run_is_missed_too(place: Path) -> None:  # noqa: F811
    home = Home(place / "curie")
    home.oppositions.add([Said("1", "*", "opposed", "2026-01-01", "letter")])
    home.log("oppositions imported", file="list.csv", new=1)
    (home.path / "oppositions.sqlite").unlink()
    assert stopped(home)


def test_an_approval_that_no_steward_gave_is_none(place: Path) -> None:  # noqa: F811
    """Another study's record, copied under a new name and hash."""
    text = STUDY.replace("engine-test", "forged")
    forged = parse(text, "").hash
    studies = place / "curie" / "studies"
    (studies / f"{forged}.toml").write_text(text)
    (studies / f"{forged}.json").write_text((studies / f"{HASH}.json").read_text().replace(HASH, forged))
    assert Desk(Home(place / "curie"), linger=0.0).answer(start(text)) == REFUSED


@pytest.mark.parametrize("action", ["refuse", "pause", "revoke"])
def test_a_no_that_was_turned_into_a_yes_is_none(place: Path, action: str) -> None:  # noqa: F811
    home = Home(place / "curie")
    before = (home.path / "studies" / f"{HASH}.json").read_text()
    home.decide(HASH, action, "dr steward")
    (home.path / "studies" / f"{HASH}.json").write_text(before)
    assert stopped(home)
    home.approve(STUDY)
    desk = Desk(Home(home.path), linger=0.0)
    assert "rounds" in wire.unpack(desk.answer(start()))
    desk.close()


def test_a_study_file_that_was_changed_is_refused(place: Path) -> None:  # noqa: F811
    file = place / "curie" / "studies" / f"{HASH}.toml"
    file.write_text(file.read_text().replace("hormon + age", "hormon + er"))
    assert stopped(Home(place / "curie"))


def test_a_manifest_that_was_widened_is_not_the_approved_one(place: Path) -> None:  # noqa: F811
    """What an approval lists is in the ledger by its digest."""
    file = place / "curie" / "studies" / f"{HASH}.json"
    record = json.loads(file.read_text())
    record["approval"]["manifest"]["entries"] *= 2
    record["approval"]["manifest"]["entries"][0]["bounds"] = [10**6]
    file.write_text(json.dumps(record))
    assert stopped(Home(place / "curie"))


def test_an_entry_that_was_added_without_the_key_stops_the_hospital(place: Path) -> None:  # noqa: F811
    home = Home(place / "curie")
    home.decide(HASH, "refuse", "dr steward")
    home.ledger.close()
    with closing(sqlite3.connect(home.path / "ledger.sqlite")) as db, db:
        facts = json.dumps({"by": "dr steward", "study": HASH})
        db.execute(
            "INSERT INTO entries SELECT number + 1, at, 'approved', ?, hash, signature FROM entries "
            "ORDER BY number DESC LIMIT 1",
            (facts,),
        )
    record = home.path / "studies" / f"{HASH}.json"
    record.write_text(record.read_text().replace('"refused"', '"approved"'))
    assert stopped(home)
    with pytest.raises(LedgerError):
        verify(home.path / "ledger.sqlite")


@pytest.mark.xfail(
    strict=True, reason="an older, whole copy of a file is as good as the file: nothing counts its versions"
)
def test_an_older_copy_of_the_memory_is_noticed(place: Path) -> None:  # noqa: F811
    """Whom a study was about is forgotten by putting back the file of before it."""
    home = Home(place / "curie")
    before = home.path.parent / "older.sqlite"
    home.records(home.studies.study(HASH))
    shutil.copy(home.path / "answered.sqlite", before)
    run(place)
    shutil.copy(before, home.path / "answered.sqlite")
    assert stopped(home)


# A clinician --------------------------------------------------------------------------------------------------


def listed(home: Home) -> str:
    """A list of one patient."""
    rows = pd.DataFrame({"pid": ["p1"], "age": [70.0]})
    return home.worklists.keep(HASH, "care", Worklist("Old", "care", ("age > 65",), rows, (("met",),)))


@pytest.mark.parametrize(
    "who", ["", " ", "dr-b", "DR-A", "dr-a ", "dr‐a", "dr-а", "dr-a\0", "%", "dr-_", "' OR 1=1 --"]
)
def test_a_name_that_is_like_a_clinicians_is_not_theirs(place: Path, who: str) -> None:  # noqa: F811
    home = Home(place / "curie")
    name = listed(home)
    home.worklists.grant(name, "dr-a")
    with pytest.raises(Refused) as mine:
        home.worklists.show(name, who)
    with pytest.raises(Refused):
        home.worklists.text(name, who)
    with pytest.raises(Refused):
        home.worklists.mark(name, who, "p1", "seen")
    with pytest.raises(Refused) as none:
        home.worklists.show("none", who)
    assert str(mine.value).replace(name, "none") == str(none.value), "whether there is such a list stays untold"


def test_who_opposes_later_is_on_no_list(place: Path) -> None:  # noqa: F811
    home = Home(place / "curie")
    name = listed(home)
    home.worklists.grant(name, "dr-a")
    day = datetime.now(UTC).date().isoformat()
    home.oppositions.add([Said("p1", "Care", "opposed", day, "letter")])
    assert home.worklists.show(name, "dr-a").lines == ()
    assert home.worklists.text(name, "dr-a").count("\n") == 1
