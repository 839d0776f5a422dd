"""What must go is erased by whatever serves a hospital, once an hour, though nobody looks at it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pandas as pd
import pytest

from confrere.data.opposition import CONTACT, Said
from confrere.hospital.home import Home
from confrere.kits import Profile
from confrere.study.worklist import Worklist
from images.lesions import picture, png

PAST = "2020-01-01T00:00:00Z"
SERVING = """
from confrere.console import serving
serving.HOUR, serving.LOOK = 0.2, 0.05
{engine}
from confrere.console.app import main
main()
"""
NO_ENGINE = """
from confrere.hospital import flare
flare.serve = lambda home, process, target: False  # its heartbeats look at the lists too
from confrere import kits
kits.ending = lambda kit: ""
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A hospital with two lists of two patients each, and a case."""
    made = Home.make(tmp_path / "curie", "curie", {})
    Profile("test", "localhost", 1).write(made.path / "federation.json")
    for title in ("First", "Second"):
        rows = pd.DataFrame({"pid": [f"{title}-1", f"{title}-2"]})
        made.worklists.keep(title, "care", Worklist(title, "a second look", ("age >= 65",), rows, (("met",),) * 2))
    image = made.images.add(png(picture(1)), "patient-1", "steward", label="nevus").image
    made.images.consent(image, "discussing", "steward")
    made.cases.begin(image, "What is it?", "steward", ("martin",))
    return made


def known(home: Home, what: str, file: str = "worklists.sqlite") -> set[str]:
    """Names in a file, read without opening the lists, which would erase by itself."""
    with closing(sqlite3.connect(home.path / file, timeout=10)) as db:
        return {name for (name,) in db.execute(what)}


def past(home: Home, table: str, name: str, file: str = "worklists.sqlite") -> None:
    """Its last day was years ago."""
    with closing(sqlite3.connect(home.path / file, timeout=10)) as db, db:
        db.execute(f"UPDATE {table} SET expires = ? WHERE name = ?", (PAST, name))


def until(what: Callable[[], bool], why: str) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.1)


@contextmanager
def serving(home: Home, kind: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a hospital, whose hours are short."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    code = SERVING.format(engine=NO_ENGINE if kind == "serve" else "")
    words = ["hospital", kind, "--home", str(home.path), *(("--port", port) if kind == "pages" else ())]
    with (home.path.parent / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=said, stderr=subprocess.STDOUT, cwd=home.path.parent
        )  # fmt: skip
        try:
            yield process
            assert process.poll() is None, (home.path.parent / "said").read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["serve", "pages"])
def test_lists_and_cases_past_their_day_go_and_whoever_opposes(home: Home, kind: str) -> None:
    pytest.importorskip("nvflare" if kind == "serve" else "joserfc", reason="needs an extra")
    lists, people, cases = "SELECT name FROM lists", "SELECT person FROM people", "SELECT name FROM cases"
    (case,) = known(home, cases, "images.sqlite")
    with serving(home, kind):
        past(home, "lists", "first")
        until(lambda: known(home, lists) == {"second"}, "the first list stays")
        assert known(home, people) == {"Second-1", "Second-2"}  # not past its day
        assert known(home, cases, "images.sqlite") == {case}
        past(home, "cases", case, "images.sqlite")  # again, and not at the start alone
        until(lambda: not known(home, cases, "images.sqlite"), "the case stays")
        home.oppositions.say(Said("Second-1", CONTACT, "opposed", "2026-01-01", "letter"))
        until(lambda: known(home, people) == {"Second-2"}, "the patient who opposes stays")
    events = {entry.event for entry in home.ledger.entries()}
    assert {"worklist erased", "case erased", "worklist rows erased"} <= events


@pytest.mark.parametrize("kind", ["serve", "pages"])
def test_a_file_that_cannot_be_read_ends_nothing(home: Home, kind: str) -> None:
    pytest.importorskip("nvflare" if kind == "serve" else "joserfc", reason="needs an extra")
    file, away = home.path / "worklists.sqlite", home.path / "away"
    with serving(home, kind) as process:
        past(home, "lists", "first")
        until(lambda: known(home, "SELECT name FROM lists") == {"second"}, "it does not serve")
        os.replace(file, away)
        file.write_bytes(b"nonsense" * 1000)
        time.sleep(1.0)
        assert process.poll() is None
        os.replace(away, file)
        past(home, "lists", "second")
        until(lambda: not known(home, "SELECT name FROM lists"), "it does not go on")
    said = (home.path.parent / "said").read_text()
    assert ("what is past its day could not be erased: worklists.sqlite cannot be used" in said) == (kind == "serve")
