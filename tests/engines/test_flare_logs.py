"""No log of anybody holds a value of a patient, and no log of a hospital comes to the coordinator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from engines.flare import HOSPITALS, Machines, study_of

LOGS = re.compile(r"log|\.txt$|\.jsonl?$")
PRIVATE = ("startup", "local", "runs", "snapshots", "transfer")


def logs(home: Path) -> list[Path]:
    """Everything at a machine that reads like a log; not its settings, and not what it keeps of runs."""
    found = [p for p in home.rglob("*") if p.is_file() and LOGS.search(p.name)]
    found = [p for p in found if not set(PRIVATE) & set(p.relative_to(home).parts)]
    return [*found, *home.glob("runs/*/log.jsonl")]


@pytest.mark.slow
def test_logs_hold_no_value_of_a_patient(federation: Machines) -> None:
    text = study_of("logged")
    marked = {}
    for name in HOSPITALS:
        table = federation.home(name) / "breast.csv"
        marked[table] = table.read_bytes()
        frame = federation.frames[name].copy()
        # every value becomes one that no log has by chance: 17 digits, and an id that is a word
        frame["age"] = [age + 0.123456789 + i * 1e-7 for i, age in enumerate(frame["age"])]
        frame["pid"] = [f"patient-{name}-{i}" for i in range(len(frame))]
        frame.to_csv(table, index=False)
    try:
        run = federation.submit(text)
        assert federation.ended(run) == "done"
    finally:
        for table, before in marked.items():
            table.write_bytes(before)
    read = 0
    for name in ("coordinator", *HOSPITALS):
        for log in logs(federation.home(name)):
            said = log.read_text(encoding="utf-8", errors="replace")
            read += len(said)
            assert "patient-" not in said, log
            assert not re.search(r"\.1234[0-9]{5}", said), log
    assert read > 10_000


@pytest.mark.slow
def test_no_log_of_a_hospital_is_at_the_coordinator(federation: Machines) -> None:
    home = federation.home("coordinator")
    assert not [p for p in home.rglob("*") if p.is_file() and set(HOSPITALS) & set(p.relative_to(home).parts)]
    for log in logs(home):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            assert not any(f"identity={name}" in line for name in HOSPITALS), (log, line)
