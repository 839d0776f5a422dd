"""What is not a machine's death: links that are slow or cut, disks that are full, clocks that are wrong, people who leave."""

# ruff: noqa: E402 - the extra may not be there
from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.console.client import Remote
from engines.flare import ROUND, Machines, command, study_of, until
from engines.link import linked

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = pytest.mark.slow


def test_a_link_is_slow(federation: Machines) -> None:
    text = study_of("slow link")
    with linked(federation, "gouda", delay=0.05) as link:
        run = federation.submit(text)
        found = federation.found(run, text)
        assert link.carried > 10_000
    assert found == federation.memory(text)
    assert federation.epoch("gouda", run) == 1


def test_a_link_is_cut_for_longer_than_a_round_may_take(federation: Machines) -> None:
    text = study_of("cut link", 3)
    with linked(federation, "gouda", delay=0.01) as link:
        run = federation.submit(text)
        federation.reach(run, 10)
        link.sever()
        assert "gouda" in federation.waits(run)
        time.sleep(2 * ROUND)
        link.cut = False
        assert federation.found(run, text) == federation.memory(text)
    assert federation.epoch("gouda", run) > 1


def test_the_researcher_leaves(federation: Machines) -> None:
    """The process that submitted and waited is killed; another one asks later."""
    text = study_of("researcher gone", 3)
    federation.approve(text)
    file, out = federation.file(text), federation.place / "out-gone"
    words = [sys.executable, "-m", "confrere"]
    submitted = command("submit", str(file), *options(federation), cwd=federation.place, environment=told(federation))
    assert submitted.returncode == 0, submitted.stderr
    run = submitted.stdout.strip()
    fetching = [*words, "fetch", run, str(file), "--wait", "600", "--out", str(out), *options(federation)]
    with subprocess.Popen(fetching, cwd=federation.place, env=told(federation), stdout=subprocess.DEVNULL) as waiting:
        federation.reach(run, 5)
        waiting.kill()
    assert federation.found(run, text) == federation.memory(text)


def test_past_its_deadline_a_run_expires_and_fetch_says_so(federation: Machines) -> None:
    text = study_of("deadline", 3)
    run = federation.submit(text, deadline=20.0)
    federation.reach(run, 5)
    federation.kill("gouda")
    assert federation.ended(run) == "expired"
    assert "gouda" in federation.status(run)["why"]
    words = ("fetch", run, str(federation.file(text)), "--out", str(federation.place / "out-expired"))
    done = command(*words, *options(federation), cwd=federation.place, environment=told(federation))
    assert done.returncode == 4, done.stderr
    assert "expired" in done.stderr
    assert "Traceback" not in done.stderr
    for name in ("coordinator", "delft", "rotterdam"):
        until(lambda name=name: not jobs(federation, name), f"the job goes on at {name}")


def test_a_disk_is_full(federation: Machines) -> None:
    text = study_of("disk", 3)
    with small_disk(federation.home("gouda") / "runs") as disk:
        run = federation.submit(text)
        federation.reach(run, 10)
        filled = disk / "filled"
        with filled.open("wb", buffering=0) as handle, pytest.raises(OSError, match="No space"):
            while True:
                handle.write(b"x" * 512)
        assert "gouda" in federation.waits(run)
        time.sleep(ROUND)
        assert federation.status(run)["state"] != "failed"
        filled.unlink()
        assert federation.found(run, text) == federation.memory(text)
        assert federation.epoch("gouda", run) > 1
        assert any(line["event"] == "unable" for line in federation.logged("gouda"))


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (Debian: apt-get install libfaketime)")
@pytest.mark.parametrize("shift", ["-2h", "+2h"])
def test_a_clock_is_wrong(federation: Machines, monkeypatch: pytest.MonkeyPatch, shift: str) -> None:
    text = study_of(f"clock {shift}", 1)
    federation.stop("gouda")
    monkeypatch.setenv("LD_PRELOAD", str(FAKETIME))
    monkeypatch.setenv("FAKETIME", shift)
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    federation.start("gouda")
    monkeypatch.undo()
    try:
        federation.up()
        run = federation.submit(text)
        assert federation.found(run, text) == federation.memory(text)
    finally:
        federation.stop("gouda")


def options(federation: Machines) -> list[str]:
    """Of a researcher's command."""
    profile = federation.remote
    assert isinstance(profile, Remote)
    return ["--to", str(profile._http.base_url), "--authority", str(federation.place / "authority" / "authority.pem")]


def told(federation: Machines) -> dict[str, str]:
    """The environment of a researcher's command."""
    return {**os.environ, "CONFRERE_TOKEN": federation.token}


def jobs(federation: Machines, name: str) -> list[object]:
    """Processes of runs at a machine."""
    return [*federation.part(name, "worker_process"), *federation.part(name, "runner_process")]


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MB; skips where this may not be mounted."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


