"""The journal: replay equals live bit for bit; a cut record is dropped; a changed one is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from confrere.analyses.cox import Cox
from confrere.data.dummy import dummy
from confrere.errors import ProtocolError, Waiting
from confrere.hospital.gate import Policy, judge_clear
from confrere.journal import recorded, replay
from confrere.rounds import Answer, Answers, Round, clear, drive, supported
from confrere.study.ground import Ground
from confrere.study.schema import Schema

COX = Cox("Surv(time, event) ~ age + size")
ROLES = {"time": "time", "event": "event"}


def live() -> Answer:
    tables = [dummy(["time", "event", "age", "size"], Schema(), ROLES, Ground(), seed=s) for s in range(3)]
    return clear(tables, lambda designs: judge_clear(designs, Policy()))


def test_replay_equals_live_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    first = drive(supported(COX.flow()), recorded(live(), path))
    again = drive(supported(COX.flow()), replay(path))
    assert again.tables == first.tables
    assert np.array_equal(again.arrays["vcov"], first.arrays["vcov"])


def test_a_coordinator_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    path, hospitals = tmp_path / "run.journal", live()
    whole = drive(supported(COX.flow()), live())
    asked: list[Round] = []

    def answer(asks: Round) -> Answers:
        asked.append(asks)
        return hospitals(asks)

    with pytest.raises(Waiting):
        drive(supported(COX.flow()), recorded(answer, path), cancelled=lambda: len(asked) == 5)
    path.write_bytes(path.read_bytes() + b"\0\0\0")  # killed within a write
    again = drive(supported(COX.flow()), recorded(answer, path))
    assert again.tables == whole.tables
    steps = [a.step for asks in asked for a in asks]
    assert steps.count("start") == 1  # nothing was asked twice


def test_a_changed_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    drive(supported(COX.flow()), recorded(live(), path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ProtocolError, match="changed"):
        drive(supported(COX.flow()), replay(path))


def test_a_journal_of_another_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    drive(supported(COX.flow()), recorded(live(), path))
    with pytest.raises(ProtocolError, match="another study"):
        drive(supported(Cox("Surv(time, event) ~ age").flow()), replay(path))
