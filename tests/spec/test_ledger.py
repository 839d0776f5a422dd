"""The ledger: what it takes and gives back, every way to tamper with its file, keys, processes, export, figures."""

from __future__ import annotations

import csv
import errno
import importlib
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from typer.testing import CliRunner

from confrere.console.ledger import app
from confrere.errors import LedgerError
from confrere.hospital import chain
from confrere.hospital import ledger as module
from confrere.hospital.chain import Row, hashed
from confrere.hospital.ledger import Ledger, read, verify
from confrere.sums import Identity
from confrere.sums.frames import number
from federate import ROOT

IDENTITY, OTHER = Identity.from_bytes(bytes(range(32))), Identity.from_bytes(bytes(32))
COUNT = 14


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger of 14 entries over three days: began, 4 asks, head, 4 asks, head, 3 asks; closed."""
    made = Ledger(tmp_path / "ledger.sqlite", IDENTITY, "curie")
    clock = pytest.MonkeyPatch()
    for day, times in ((1, 4), (2, 4), (3, 3)):
        clock.setattr(module, "now", lambda d=day: f"2026-11-{d:02d}T10:00:00.000Z")
        for i in range(times):
            made.write("ask", {"study": f"s{i % 2}", "round": i, "day": day})
    clock.undo()
    made.close()
    return made


def rows(path: Path) -> list[Row]:
    """All rows as they stand."""
    with closing(sqlite3.connect(path)) as link:
        return [Row(*row) for row in link.execute("SELECT * FROM entries ORDER BY number")]


def run(path: Path, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
    """What somebody with write access to the file does, without a trace beside it."""
    with closing(sqlite3.connect(path)) as link:
        link.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            link.execute(*([statement] if isinstance(statement, str) else statement))
        link.commit()


def put(path: Path, given: list[Row], tip: bool = False) -> None:
    """Replace all rows; the tip says the new end if wanted, under the old signature."""
    run(path, "DELETE FROM entries", *[("INSERT INTO entries VALUES (?,?,?,?,?,?)", tuple(row)) for row in given])
    if tip:
        run(path, ("UPDATE tip SET number = ?, link = ?", (given[-1].number, given[-1].link)))


def anew(given: list[Row], signer: Identity | None = None) -> list[Row]:
    """Rows with numbers and hashes computed as they should be; signed where somebody has a key."""
    made, before = [], chain.START
    for place, row in enumerate(given, 1):
        digest = hashed(before, place, row.at, row.event, row.facts)
        kept = (
            row.signature if digest == row.hash else (signer.sign("ledger entry", digest) if signer else row.signature)
        )
        made.append(Row(place, row.at, row.event, row.facts, digest, kept))
        before = made[-1].link
    return made


def renumbered(given: list[Row]) -> list[Row]:
    """Rows with new numbers and their old hashes."""
    return [row._replace(number=place) for place, row in enumerate(given, 1)]


def caught(path: Path, **pinned: Any) -> LedgerError:
    """What verification says, which leaves the file as it is."""
    before = path.read_bytes()
    with pytest.raises(LedgerError) as found:
        verify(path, **pinned)
    assert path.read_bytes() == before
    assert found.value.exit_code == 3
    return found.value


# Writing and reading ------------------------------------------------------------------------------------------


def test_what_was_written_is_read(ledger: Ledger) -> None:
    found = list(ledger.entries())
    assert [entry.number for entry in found] == list(range(1, COUNT + 1))
    assert len(ledger) == COUNT
    events = ["began", *["ask"] * 4, "head", *["ask"] * 4, "head", *["ask"] * 3]
    assert [entry.event for entry in found] == events
    assert found[1].facts == {"study": "s0", "round": 0, "day": 1}
    assert found[0].facts["key"] == IDENTITY.public.hex()
    assert found[5].facts["hash"] == found[4].hash
    assert datetime.fromisoformat(found[0].at).utcoffset() is not None
    assert list(read(ledger.path)) == found


def test_entries_are_chosen(ledger: Ledger) -> None:
    def numbers(**wanted: Any) -> list[int]:
        return [entry.number for entry in ledger.entries(**wanted)]

    assert numbers(after=12) == [13, 14]
    assert numbers(event="head") == [6, 11]
    assert numbers(study="s1") == [3, 5, 8, 10, 13]
    assert numbers(study="s1", newest=True, limit=2, event="ask") == [13, 10]
    assert numbers(newest=True, after=12) == [14, 13]
    assert numbers(limit=0) == []


def test_it_verifies(ledger: Ledger) -> None:
    found = verify(ledger.path)
    assert (found.entries, found.heads, found.key) == (COUNT, 2, IDENTITY.fingerprint)
    assert found.head == rows(ledger.path)[-1].hash.hex()
    assert sorted(p.name for p in ledger.path.parent.iterdir()) == ["ledger.sqlite"]
    assert ledger.path.stat().st_mode & 0o077 == 0


def test_a_ledger_that_is_not_there_is_empty_until_it_is_written(tmp_path: Path) -> None:
    made = Ledger(tmp_path / "ledger.sqlite", IDENTITY, "curie")
    assert len(made) == 0
    assert list(made.entries()) == []
    assert not made.path.exists()
    assert made.write("ask", {}) == 2
    assert made.write_many([]) == []
    assert made.write_many([("ask", {}), ("answer", {})]) == [3, 4]


@pytest.mark.parametrize(
    "facts",
    [
        {"a": float("nan")}, {"a": float("inf")}, {"a": b"x"}, {1: "x"}, {"a": {2: 3}}, {"a": {1, 2}}, {"a": object()},
        {"a": datetime.now()}, {"a": Path("x")}, {"a": "\ud800"}, ["a"], "a",
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_plain_data_is_refused_before_anything_is_written(ledger: Ledger, facts: Any) -> None:
    with pytest.raises(LedgerError, match="facts"):
        ledger.write_many([("ask", {}), ("ask", facts)])
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(LedgerError, match="RecursionError"):
        ledger.write("ask", endless)
    assert len(ledger) == COUNT


def test_plain_data_come_back(ledger: Ledger) -> None:
    facts = {"é\x00\n": [None, True, 1 << 70, 0.1, "a\u2028;=1"], "b": {"c": []}, "a": -0.5}
    ledger.write("ask", MappingProxyType(facts))
    assert next(ledger.entries(newest=True)).facts == facts
    assert verify(ledger.path).entries > COUNT


@pytest.mark.parametrize("event", ["began", "head", "rotated", "", "a\nb", "é", "x" * 65, 3])
def test_events_of_the_ledger_itself_cannot_be_written(ledger: Ledger, event: Any) -> None:
    with pytest.raises(LedgerError, match="event"):
        ledger.write(event, {})


def test_it_is_checkpointed_when_idle(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.1)
    beside = Path(f"{ledger.path}-wal")
    ledger.write("ask", {})
    assert beside.exists()
    assert verify(ledger.path).entries == len(ledger)  # what is not checkpointed yet is seen
    deadline = time.monotonic() + 10
    while beside.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not beside.exists()
    ledger.write("ask", {})  # and opens again


def test_a_short_process_leaves_one_file(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from confrere.hospital.ledger import Ledger; from confrere.sums import Identity\n"
        f"kept = Ledger(Path({str(tmp_path / 'l')!r}), Identity.generate(), 'curie'); kept.write('ask', {{}})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [p.name for p in tmp_path.iterdir()] == ["l"]
    assert verify(tmp_path / "l").entries == 2


def test_a_copy_of_a_ledger_in_use_is_whole(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write("ask", {})
    ledger.copy(tmp_path / "copy")
    assert verify(tmp_path / "copy") == verify(ledger.path)
    with pytest.raises(FileExistsError):
        ledger.copy(tmp_path / "copy")


def _write(path: Path, times: int) -> None:
    book = Ledger(path, IDENTITY, "curie")
    for i in range(times):
        book.write("ask", {"from": os.getpid(), "i": i})


def test_processes_and_threads_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"  # they also race to make it
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=_write, args=(path, 40)) for _ in range(3)]
    for other in others:
        other.start()
    book, seen = Ledger(path, IDENTITY, "curie"), []
    threads = [
        threading.Thread(target=lambda: seen.append([book.write("ask", {}) for _ in range(20)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(other.is_alive() for other in others):
        if path.exists():
            assert verify(path).entries >= 1  # while they write
    for one in (*threads, *others):
        one.join()
    assert [other.exitcode for other in others] == [0, 0, 0]
    assert len({n for made in seen for n in made}) == 80
    assert verify(path).entries - verify(path).heads == 1 + 3 * 40 + 80


# Tampering ----------------------------------------------------------------------------------------------------

Tamper = Callable[[Path, list[Row]], None]
FORGED = '{"study":"forged"}'


def sql(*statements: str) -> Tamper:
    """Statements that an attacker runs."""
    return lambda path, _: run(path, *statements)


def swapped(given: list[Row], a: int, b: int) -> list[Row]:
    """Two rows in each other's place."""
    given = list(given)
    given[a - 1], given[b - 1] = given[b - 1]._replace(number=a), given[a - 1]._replace(number=b)
    return given


def inserted(given: list[Row], at: int) -> list[Row]:
    """A row that was never written."""
    return [*given[: at - 1], given[at - 1]._replace(facts=FORGED, hash=bytes(32)), *given[at - 1 :]]


def posing(path: Path, given: list[Row]) -> None:
    """The end cut off before a daily head, whose signature is to pass for the tip's."""
    signature = bytes.fromhex(json.loads(given[5].facts)["signature"])
    put(path, given[:5], tip=True)
    run(path, ("UPDATE tip SET signature = ?", (signature,)))


TAMPERED: dict[str, tuple[Tamper, int | None, str]] = {
    "a fact": (sql("UPDATE entries SET facts = replace(facts, 's0', 's9') WHERE number = 4"), 4, "changed"),
    "a time": (sql("UPDATE entries SET at = '2026-11-01T10:00:00.001Z' WHERE number = 3"), 3, "changed"),
    "an event": (sql("UPDATE entries SET event = 'answer' WHERE number = 8"), 8, "changed"),
    "a hash": (sql("UPDATE entries SET hash = zeroblob(32) WHERE number = 7"), 7, "changed"),
    "a signature": (sql("UPDATE entries SET signature = zeroblob(64) WHERE number = 7"), 7, "changed"),
    "a longer signature": (sql("UPDATE entries SET signature = zeroblob(65) WHERE number = 7"), 7, "changed"),
    "some anew": (lambda p, r: put(p, anew([*r[:3], r[3]._replace(facts=FORGED), *r[4:8]]) + r[8:]), 4, "changed"),
    "the last signature": (sql("UPDATE entries SET signature = zeroblob(64) WHERE number = 14"), 14, "changed"),
    "the last fact": (sql("UPDATE entries SET facts = '{}' WHERE number = 14"), 14, "changed"),
    "letters moved": (sql("UPDATE entries SET event = 'as', facts = 'k' || facts WHERE number = 4"), 4, "changed"),
    "not text": (sql("UPDATE entries SET event = cast(x'ff' AS TEXT) WHERE number = 4"), 4, "changed"),
    "the key": (sql("UPDATE entries SET facts = json_set(facts, '$.key', 'aa') WHERE number = 1"), 1, "changed"),
    "first removed": (sql("DELETE FROM entries WHERE number = 1"), 1, "removed"),
    "middle removed": (sql("DELETE FROM entries WHERE number = 5"), 5, "removed"),
    "removed, renumbered": (lambda p, r: put(p, renumbered(r[:4] + r[5:])), 5, "removed"),
    "removed, anew": (lambda p, r: put(p, anew(r[:4] + r[5:])), 5, "removed"),
    "first removed, anew": (lambda p, r: put(p, anew(r[1:])), 1, "removed"),
    "head removed, anew": (lambda p, r: put(p, anew(r[:5] + r[6:])), 6, "removed"),
    "last removed": (sql("DELETE FROM entries WHERE number = 14"), 14, "end is cut off"),
    "last three removed": (sql("DELETE FROM entries WHERE number > 11"), 12, "end is cut off"),
    "all removed": (sql("DELETE FROM entries"), 1, "removed"),
    "end cut, tip anew": (lambda p, r: put(p, r[:9], tip=True), 10, "signature of the head"),
    "a head for a tip": (posing, 6, "signature of the head"),
    "tip removed": (sql("DELETE FROM tip"), 15, "tip"),
    "tip removed, end cut": (sql("DELETE FROM tip", "DELETE FROM entries WHERE number = 14"), 14, "tip"),
    "tip's signature": (sql("UPDATE tip SET signature = zeroblob(64)"), 15, "signature of the head"),
    "tip's number": (sql("UPDATE tip SET number = 15"), 15, "signature of the head"),
    "tip's number below 0": (sql("UPDATE tip SET number = -1"), 15, "signature of the head"),
    "neighbours swapped": (lambda p, r: put(p, swapped(r, 7, 8)), 7, "reordered"),
    "far rows swapped": (lambda p, r: put(p, swapped(r, 3, 12)), 3, "reordered"),
    "inserted": (lambda p, r: put(p, renumbered(inserted(r, 4))), 4, "inserted"),
    "inserted twice the same": (lambda p, r: put(p, renumbered(r[:6] + r[3:])), 7, "inserted"),
    "inserted, anew": (lambda p, r: put(p, anew(inserted(r, 4))), 4, "inserted"),
    "inserted at the end": (lambda p, r: put(p, [*r, r[-1]._replace(number=15)]), 15, "inserted"),
    "inserted at the end, anew": (lambda p, r: put(p, anew([*r, r[-1]])), 15, "inserted"),
    "changed, anew": (lambda p, r: put(p, anew([*r[:7], r[7]._replace(facts=FORGED), *r[8:]])), 8, "changed"),
    "changed, anew, other key": (
        lambda p, r: put(p, anew([*r[:7], r[7]._replace(facts=FORGED), *r[8:]], OTHER), tip=True), 8, "changed",
    ),
    "a number": (sql("UPDATE entries SET number = 40 WHERE number = 6"), 6, "removed"),
    "a table": (sql("CREATE TABLE more (a)"), None, "foreign"),
    "a view": (sql("CREATE VIEW more AS SELECT 1"), None, "foreign"),
    "an index": (sql("CREATE INDEX more ON entries (event)"), None, "foreign"),
    "a trigger": (sql("CREATE TRIGGER more AFTER INSERT ON entries BEGIN DELETE FROM tip; END"), None, "foreign"),
    "a column": (sql("ALTER TABLE entries ADD COLUMN more TEXT"), None, "is not as a ledger"),
    "a type": (sql("UPDATE sqlite_master SET sql = replace(sql, 'TEXT', 'ANY')"), None, "is not as a ledger"),
    "statistics": (sql("ANALYZE"), None, "foreign"),
    "no tip": (sql("DROP TABLE tip"), None, "removed"),
    "application_id": (sql("PRAGMA application_id = 7"), None, "no ledger"),
    "user_version": (sql("PRAGMA user_version = 2"), None, "form"),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_found_and_named(ledger: Ledger, how: str) -> None:
    tamper, entry, word = TAMPERED[how]
    tamper(ledger.path, rows(ledger.path))
    found = caught(ledger.path)
    assert word in str(found), found
    assert found.entry == entry, found
    assert entry is None or f"entry {entry}" in str(found) or "signature" in str(found) or "tip" in str(found)


def test_every_byte_of_a_row_counts(ledger: Ledger) -> None:
    whole = ledger.path.read_bytes()
    row = rows(ledger.path)[4]
    record = f"{row.at}{row.event}{row.facts}".encode() + row.link
    start = whole.index(record)
    for at in range(start, start + len(record)):
        ledger.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert caught(ledger.path).entry == row.number
    ledger.path.write_bytes(whole)
    verify(ledger.path)


@pytest.mark.parametrize("bytes_", [b"", b"no ledger at all" * 1000, None], ids=["empty", "text", "cut"])
def test_what_is_no_ledger_is_said(ledger: Ledger, bytes_: bytes | None) -> None:
    ledger.path.write_bytes(ledger.path.read_bytes()[:9000] if bytes_ is None else bytes_)
    caught(ledger.path)
    with pytest.raises(LedgerError):
        ledger.write("ask", {})
    with pytest.raises(LedgerError, match="no such file"):
        verify(ledger.path.with_name("nowhere"))


def test_rewritten_under_another_key_is_found_with_the_key(ledger: Ledger) -> None:
    ledger.path.unlink()
    forged = Ledger(ledger.path, OTHER, "curie")
    forged.write("ask", {})
    forged.close()
    assert verify(ledger.path).key == OTHER.fingerprint
    for key in (IDENTITY.public, IDENTITY.public.hex(), IDENTITY.fingerprint):
        assert "another key" in str(caught(ledger.path, key=key))


def test_an_older_copy_is_found_with_a_head(ledger: Ledger) -> None:
    older = ledger.path.read_bytes()
    before = verify(ledger.path).head
    ledger.write("ask", {})
    ledger.close()
    noted = verify(ledger.path, head=before).head
    ledger.path.write_bytes(older)
    assert verify(ledger.path).entries == COUNT
    assert caught(ledger.path, head=noted).entry == COUNT + 1


@pytest.mark.parametrize(
    "how",
    ["last removed", "end cut, tip anew", "tip removed", "a trigger", "the last fact", "changed, anew", "a column"],
)
@pytest.mark.parametrize("fresh", [True, False])
def test_a_tampered_ledger_is_not_continued(ledger: Ledger, how: str, fresh: bool) -> None:
    TAMPERED[how][0](ledger.path, rows(ledger.path))
    if how == "the last fact":  # its hash and link stand: the chain tells, and a later entry does not hide it
        ledger.write("ask", {})
        assert caught(ledger.path).entry == COUNT
        return
    before = ledger.path.read_bytes()
    with pytest.raises(LedgerError):
        (Ledger(ledger.path, IDENTITY, "curie") if fresh else ledger).write("ask", {})
    assert ledger.path.read_bytes() == before


def test_a_process_notices_an_older_copy_and_a_missing_file(ledger: Ledger) -> None:
    older = ledger.path.read_bytes()
    ledger.write("ask", {})
    ledger.close()
    ledger.path.write_bytes(older)
    with pytest.raises(LedgerError, match="older copy"):
        ledger.write("ask", {})
    ledger.path.unlink()
    with pytest.raises(LedgerError, match="gone"):
        ledger.write("ask", {})
    assert not ledger.path.exists()


# Keys ---------------------------------------------------------------------------------------------------------


def test_a_rotation_is_followed(ledger: Ledger) -> None:
    stale = Ledger(ledger.path, IDENTITY, "curie")
    assert ledger.rotate(OTHER) > COUNT
    ledger.write("ask", {})
    ledger.close()
    assert verify(ledger.path).key == OTHER.fingerprint
    for key in (IDENTITY.public, OTHER.public):
        assert verify(ledger.path, key).entries == len(ledger)
    with pytest.raises(LedgerError, match="change of key"):
        stale.write("ask", {})
    Ledger(ledger.path, OTHER, "curie").write("ask", {})


def test_a_rotation_cannot_be_cut_off_or_forged(ledger: Ledger) -> None:
    ledger.rotate(OTHER)
    ledger.close()
    whole = rows(ledger.path)
    put(ledger.path, whole[:-1])
    assert "cut off" in str(caught(ledger.path))
    thief = Identity.generate()
    stolen = json.dumps({"key": thief.public.hex(), "consent": thief.sign("x", b"").hex()})
    put(ledger.path, anew([*whole[:6], whole[-1]._replace(facts=stolen)], thief))
    last = rows(ledger.path)[-1]
    signature = thief.sign("ledger tip", number(last.number), last.link)
    run(ledger.path, ("UPDATE tip SET number = ?, link = ?, signature = ?", (last.number, last.link, signature)))
    assert caught(ledger.path).entry == 7


# Disk ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_and_loses_nothing(ledger: Ledger) -> None:
    ledger.write("ask", {})
    link = ledger._file.opened()
    pages = link.execute("PRAGMA page_count").fetchone()[0]
    link.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="full") as full:
        ledger.write_many([("ask", {"text": "x" * 1000})] * 100)
    assert full.value.errno == errno.ENOSPC
    before = len(ledger)
    assert verify(ledger.path).entries == before
    ledger.write("ask", {"text": "x" * 9000})  # a new connection has room again
    assert verify(ledger.path).entries == before + 1


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Ledger(tmp_path / "nowhere" / "l", IDENTITY, "curie").write("ask", {})


# Command line -------------------------------------------------------------------------------------------------


def command(*given: object) -> tuple[int, str]:
    """Exit code and output; errors as the command line has them."""
    done = CliRunner().invoke(app, [str(word) for word in given])
    return getattr(done.exception, "exit_code", done.exit_code), f"{done.output}{done.exception or ''}"


def test_verify_command(ledger: Ledger) -> None:
    code, said = command("verify", ledger.path)
    assert code == 0, said
    assert "entries 14, daily heads 2" in said
    assert IDENTITY.fingerprint in said
    head = verify(ledger.path).head
    assert command("verify", ledger.path, "--key", IDENTITY.fingerprint, "--head", head)[0] == 0
    assert command("verify", ledger.path, "--key", OTHER.public.hex())[0] == 3
    assert command("verify", ledger.path, "--head", "0" * 64)[0] == 3
    assert command("verify", ledger.path, "--key", "12")[0] == 2
    assert command("verify", ledger.path, "--head", "xy")[0] == 2
    TAMPERED["a fact"][0](ledger.path, [])
    code, said = command("verify", ledger.path)
    assert (code, "entry 4 was changed" in said) == (3, True)


def test_export_as_json_lines(ledger: Ledger, tmp_path: Path) -> None:
    code, said = command("export", ledger.path, "--format", "jsonl")
    assert code == 0
    assert [json.loads(line) for line in said.splitlines()] == [entry._asdict() for entry in ledger.entries()]
    assert command("export", ledger.path, "--format", "xml")[0] == 2
    assert command("export", ledger.path, "--format", "csv", "--out", ledger.path)[0] == 2
    assert command("export", tmp_path / "none", "--format", "csv", "--out", tmp_path / "o")[0] == 3
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("nasty", ["=1+1", "+cmd", "-2", "@sum", ' =1;=cmd|"/c calc"!A1', "\t=1", "\n=1", 'a";=1', "é"])
def test_a_spreadsheet_runs_nothing_of_the_export(ledger: Ledger, tmp_path: Path, nasty: str) -> None:
    facts = {nasty: nasty, "list": [nasty]}
    ledger.write(nasty if nasty.isascii() and nasty.isprintable() else "ask", facts)
    out = tmp_path / "out.csv"
    assert command("export", ledger.path, "--format", "csv", "--out", out)[0] == 0
    text = out.read_text(encoding="utf-8-sig")
    for separator in ",;\t":
        for line in csv.reader(text.splitlines(), delimiter=separator):
            assert not [cell for cell in line if cell.lstrip(" \"'").startswith(("=", "+", "@")) and cell[0] != "'"]
    assert ";" not in text
    assert json.loads(list(csv.DictReader(text.splitlines()))[-1]["facts"]) == facts


# Figures ------------------------------------------------------------------------------------------------------


def test_the_benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    found = importlib.import_module("benchmarks.ledger").ledger(tmp_path, 300, 32)
    assert found["one_writer_per_second"] > 0
    assert found["verify_seconds"] > 0
    shutil.rmtree(tmp_path)
