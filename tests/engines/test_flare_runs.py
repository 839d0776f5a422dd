"""A study over a real federation: the finding of one process, bit for bit; and nothing is open to the world."""

from __future__ import annotations

import time

import psutil
import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from engines.flare import HOSPITALS, Machines, study_of, until


def test_the_finding_is_that_of_one_process(federation: Machines) -> None:
    text = study_of("undisturbed")
    began = time.monotonic()
    run = federation.submit(text)
    until(lambda: federation.progress(run).get("round", 0) >= 1, "no round")
    print(f"submit to first round {time.monotonic() - began:.1f} s")
    found = federation.found(run, text)
    print(f"submit to finding {time.monotonic() - began:.1f} s, {federation.progress(run)['round']} rounds")
    assert federation.progress(run)["round"] >= 20
    assert found == federation.memory(text)
    assert {federation.epoch(name, run) for name in HOSPITALS} == {1}


def test_nobody_listens_to_the_world(federation: Machines) -> None:
    addresses = set()
    for name in ("coordinator", *HOSPITALS):
        for process in federation.processes(name):
            addresses |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}
