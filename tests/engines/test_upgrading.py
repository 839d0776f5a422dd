"""docs/upgrading.md: releases that differ say so and stop, and nothing is lost by it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from confrere import wire
from confrere.coordinator.book import Book
from confrere.coordinator.conduct import OVER, Folder, conduct
from confrere.coordinator.service import Service
from confrere.errors import ProtocolError, WireError
from confrere.hospital.desk import Desk
from confrere.hospital.home import Home
from confrere.journal import Journal
from engines.inprocess import STUDY, InProcess, found, let_go, links, told
from engines.test_service import until

PAGE = Path(__file__).parents[2] / "docs" / "upgrading.md"


def of_version(message: bytes, version: int) -> bytes:
    """A message as a release of another wire would send it."""
    return message[:8] + struct.pack("<I", version) + message[12:]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    coordinator, homes = found(tmp_path)
    engine = InProcess(coordinator, homes)
    yield Service(coordinator, engine, Book(coordinator.database))
    engine.close()


def test_a_hospital_of_another_release_is_named_and_once_upgraded_the_study_runs(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Desk._start

    def older(desk: Desk, asked: Any) -> dict[str, Any]:
        return {"version": "0.0.9"} if desk.home.name == "lyon" else start(desk, asked)

    with monkeypatch.context() as patched:
        patched.setattr(Desk, "_start", older)
        run = service.submit(STUDY, "ada").run
        status = until(service, run, *OVER)
        assert status["state"] == "refused"
        said = f"lyon runs 0.0.9, the coordinator runs Confrere {wire.release()}; install the same release everywhere"
        assert said in str(status["why"])
        assert not service.home.folder(run).journal.is_file() or not Journal(service.home.folder(run).journal).records
    assert service.submit(STUDY, "ada").run == run
    until(service, run, "done")
    assert "install the same release everywhere" in PAGE.read_text(encoding="utf-8")


def test_a_hospital_refuses_another_wire_and_its_steward_learns_which(tmp_path: Path) -> None:
    found(tmp_path)
    desk = Desk(Home(tmp_path / "curie"))
    assert wire.unpack(desk.answer(of_version(wire.pack({"do": "start"}), 2))) == {"refused": True}
    assert f"of version 2, and this package reads version {wire.VERSION}" in told(tmp_path / "curie")


def test_the_coordinator_says_that_a_hospital_speaks_another_wire(tmp_path: Path) -> None:
    _, homes = found(tmp_path)
    given = links(homes)
    other = {**given, "lyon": lambda message: of_version(given["lyon"](message), 7)}
    with pytest.raises(WireError, match="of version 7"):
        conduct(Folder.make(tmp_path / "coordinator" / "runs" / "r", STUDY), other)
    let_go(given)


def test_a_journal_that_reads_otherwise_is_an_error_and_stays_as_it_is(service: Service) -> None:
    run = service.submit(STUDY, "ada").run
    until(service, run, "done")
    file = service.home.folder(run).journal
    written = file.read_bytes()
    at = written.index(b"confrere") + 8  # the wire version of the first record
    file.write_bytes(written[:at] + struct.pack("<I", 2) + written[at + 4 :])
    with pytest.raises(ProtocolError, match=r"changed at byte 0|of version 2"):
        Journal(file)
    assert len(file.read_bytes()) == len(written)
