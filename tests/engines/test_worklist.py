"""A study with a worklist over an engine: hospitals keep their rows, and nobody else has one of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from confrere import wire
from confrere.coordinator.conduct import Folder, Found, conduct
from confrere.coordinator.federation import Link
from confrere.hospital.home import Home
from confrere.hospital.worklists import Worklists
from confrere.study.file import parse
from engines.inprocess import NAMES, found, let_go, links

STUDY = """
[study]
id = "to-be-seen"
title = "Who should be seen"
purpose = "care"
[data]
table = "breast"
person = "pid"
[[analysis]]
name = "elderly"
method = "worklist"
title = "Nodes over 65"
criteria = ["age >= 65", "nodes > 3"]
show = ["age", "nodes", "er"]
order_by = "-age"
"""
HERE = {"breast.csv", "worklists.sqlite"}  # where a hospital's rows may be


class Ran:
    """A run in which every patient's id and values are such as occur nowhere else."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.crossed: list[bytes] = []
        self.records: dict[str, pd.DataFrame] = {}
        found(place, STUDY)
        for name in NAMES:
            self.records[name] = self._marked(place / name / "breast.csv", name)
        folder = Folder.make(place / "coordinator" / "runs" / parse(STUDY).hash[:16], STUDY)
        given = links({name: Home(place / name) for name in NAMES})
        try:
            self.found: Found = conduct(folder, {name: self._tapped(link) for name, link in given.items()})
        finally:
            let_go(given)

    def _marked(self, file: Path, name: str) -> pd.DataFrame:
        frame = pd.read_csv(file)
        frame["age"] = [age + 0.123456789 + i * 1e-7 for i, age in enumerate(frame["age"])]
        frame["er"] = [1e6 + 0.987654321 + i * 1e-6 for i in range(len(frame))]
        frame["pid"] = [f"patient-{name}-{i}" for i in range(len(frame))]
        frame.to_csv(file, index=False)
        return frame

    def _tapped(self, link: Link) -> Callable[[bytes], bytes]:
        def send(message: bytes) -> bytes:
            reply = link(message)
            self.crossed += [message, reply]
            return reply

        return send

    def listed(self, name: str) -> pd.DataFrame:
        """Whom a hospital's list must have."""
        frame = self.records[name]
        return frame[(frame["age"] >= 65) & (frame["nodes"] > 3)].sort_values("age", ascending=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("federation"))


def carried(where: bytes, records: Mapping[str, pd.DataFrame]) -> bool:
    """Whether an id or a value of a patient is in these bytes, as text or as a number of the machine."""
    forms = [b"patient-"]
    for frame in records.values():
        for value in (*frame["age"], *frame["er"]):
            forms += [repr(value).encode()[:11], struct.pack("<d", value), struct.pack(">d", value)]
    return any(form in where for form in forms)


def test_the_run_counts_what_the_lists_hold(ran: Ran) -> None:
    assert not ran.found.errors
    *_, last = ran.found.findings["elderly"].tables["funnel"]
    assert last["n"] == sum(len(ran.listed(name)) for name in NAMES) > 100


@pytest.mark.parametrize("name", NAMES)
def test_every_hospital_keeps_its_own_list(ran: Ran, name: str) -> None:
    entries: list[str] = []
    lists = Worklists(ran.place / name / "worklists.sqlite", lambda event, **facts: entries.append(event))
    (head,) = lists.heads()
    assert (head.name, head.title, head.study_purpose) == ("nodes-over-65", "Nodes over 65", "care")
    assert head.study == parse(STUDY).hash
    lists.grant(head.name, "dr-a")
    page = lists.show(head.name, "dr-a")
    assert [line.person for line in page.lines] == list(ran.listed(name)["pid"])
    assert [line.values for line in page.lines] == [
        tuple(r) for r in ran.listed(name)[["age", "nodes", "er"]].to_numpy()
    ]
    assert entries == ["worklist granted", "worklist shown"]


def test_no_message_carries_a_row(ran: Ran) -> None:
    assert len(ran.crossed) > 30
    assert not carried(b"\0".join(ran.crossed), ran.records)


def test_no_file_but_the_lists_and_the_records_has_a_row(ran: Ran) -> None:
    """Journals, ledgers, logs, findings: at the coordinator nothing, at a hospital nothing of another one either."""
    read = 0
    for file in (p for p in ran.place.rglob("*") if p.is_file()):
        name = file.relative_to(ran.place).parts[0]
        others = {n: frame for n, frame in ran.records.items() if file.name not in HERE or n != name}
        if file.name in HERE:
            assert name in NAMES, file
            assert not any(f"patient-{other}-".encode() in file.read_bytes() for other in others), file
            continue
        read += file.stat().st_size
        assert not carried(file.read_bytes(), others), file
    assert read > 10_000


def test_the_search_finds_what_it_is_for(ran: Ran) -> None:
    """A control."""
    value = float(ran.records["lyon"]["age"][7])
    for where in (b"patient-lyon-7", f"{value:.17g}".encode(), wire.pack({"a": value}), struct.pack("<d", value)):
        assert carried(b"..." + where, ran.records)
