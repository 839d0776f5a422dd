"""What must go is erased by whatever serves a hospital, once an hour, though nobody looks at it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from confrere.console import serving as sides
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
from confrere.hospital import engine
engine.serve = lambda home, process, target: False  # its heartbeats look at the lists too
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


def signed(site: Path, days: int) -> Path:
    """A kit with a certificate that ends in so many days; its file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "curie")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=days))
    file = site / "startup" / "client.crt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return file


def test_a_certificate_half_written_ends_nothing_and_its_end_is_said(home: Home) -> None:
    pytest.importorskip("nvflare", reason="needs an extra")
    file = signed(home.path / "engine" / "site", 30)
    whole, said = file.read_bytes(), home.path.parent / "said"
    file.write_bytes(whole[:100])
    with serving(home, "serve") as process:
        until(lambda: "could not be read, and is looked at again" in said.read_text(), "nothing is said of it")
        assert process.poll() is None
        assert "ends on" not in said.read_text()
        file.write_bytes(whole)
        until(lambda: "ends on" in said.read_text(), "its end is not said")


def test_a_coordinator_says_every_hour_that_a_certificate_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that comes within sixty days long after the start; and what cannot be read does not end it."""
    said: list[str] = []
    looked = iter([95, 70, 50, None, 40])  # days to the end, hour by hour

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if (days := next(looked, -1)) == -1:
                return True
            for kit in ("site", "runner"):
                file = signed(tmp_path / "engine" / kit, days or 10)
                file.write_bytes(file.read_bytes()[: None if days else 50])
            return False

    monkeypatch.setattr(sides, "HOUR", -1.0)
    service = SimpleNamespace(home=SimpleNamespace(path=tmp_path), tidy=lambda: None)
    engine: Any = SimpleNamespace(serve=lambda patience: False, up=False, tidy=lambda: None)
    sides._look(service, engine, 1.0, Stop(), said.append)
    ends = [one.partition(" ends on ")[2][:10] for one in said if " ends on " in one]
    days = [(date.fromisoformat(day) - datetime.now(UTC).date()).days for day in ends]
    assert days == [50, 50, 40, 40]
    assert sum("could not be read" in one for one in said) == 2
