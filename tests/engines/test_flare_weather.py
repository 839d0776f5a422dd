"""What is not a machine's death: links that are slow or cut, disks that are full, wrong clocks, people who leave."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.forks import JOB
from engines.flare import ROUND, Machines, command, study_of, until
from engines.link import linked

CLOCK = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { const char *s = getenv("CLOCK_SHIFT"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, t);
    if (!done && id == CLOCK_REALTIME) t->tv_sec += shift();
    return done;
}
time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec t;
    int done = clock_gettime(CLOCK_REALTIME, &t);
    out->tv_sec = t.tv_sec;
    out->tv_usec = t.tv_nsec / 1000;
    return done;
}
"""  # the wall clock alone: libfaketime 0.9 stops threads that wait, whose clock it moves too
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
    researcher(federation)
    submitted = command("submit", str(file), cwd=federation.place)
    assert submitted.returncode == 0, submitted.stderr
    run = submitted.stdout.strip()
    fetching = [*words, "fetch", run, str(file), "--wait", "600", "--out", str(out)]
    with subprocess.Popen(fetching, cwd=federation.place, stdout=subprocess.DEVNULL) as waiting:
        federation.reach(run, 5)
        waiting.kill()
    assert federation.found(run, text) == federation.memory(text)


def test_past_its_deadline_a_run_expires_and_fetch_says_so(federation: Machines) -> None:
    text = study_of("deadline", 3)
    run = federation.submit(text, deadline=45.0)
    federation.reach(run, 5)
    federation.kill("gouda")
    assert "gouda" in federation.waits(run)
    assert federation.ended(run) == "expired"
    assert "gouda" in federation.status(run)["why"]
    words = ("fetch", run, str(federation.file(text)), "--out", str(federation.place / "out-expired"))
    researcher(federation)
    done = command(*words, cwd=federation.place)
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
        fill(filled)
        assert "gouda" in federation.waits(run)
        time.sleep(ROUND)
        assert federation.status(run)["state"] != "failed"
        filled.unlink()
        assert federation.found(run, text) == federation.memory(text)
        assert federation.epoch("gouda", run) > 1
        assert any(line["event"] == "unable" for line in federation.logged("gouda"))


def test_a_clock_is_ahead(federation: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    text = study_of("clock ahead")
    start_at(7200, federation, monkeypatch)
    try:
        federation.up()
        run = federation.submit(text)
        assert federation.found(run, text) == federation.memory(text)
        assert federation.epoch("gouda", run) == 1
    finally:
        federation.stop("gouda")


def test_a_clock_before_the_certificates_keeps_a_hospital_out(
    federation: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = study_of("clock behind")
    start_at(-7200, federation, monkeypatch)
    until(lambda: "gouda" not in federation.seen(), "gouda is connected")
    run = federation.submit(text)
    until(lambda: federation.status(run)["why"] == "waiting for gouda", "it does not say for whom it waits")
    time.sleep(ROUND)
    assert federation.status(run)["why"] == "waiting for gouda"
    federation.stop("gouda")
    federation.start("gouda")
    assert federation.found(run, text) == federation.memory(text)


def start_at(shift: int, federation: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a hospital whose clock is wrong by some seconds; skips where no C compiler can make such a clock."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler, cc, to make a wrong clock")
    source, library = federation.place / "clock.c", federation.place / "clock.so"
    source.write_text(CLOCK, encoding="utf-8")
    words = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(words, check=True, capture_output=True)
    federation.stop("gouda")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_SHIFT", str(shift))
    federation.start("gouda")
    monkeypatch.undo()


def researcher(federation: Machines) -> None:
    """A researcher's folder, in which commands find the coordinator."""
    token = federation.place / "token"
    token.write_text(federation.token, encoding="utf-8")
    authority = federation.place / "authority" / "authority.pem"
    words = ("connect", federation.url, "--token", str(token), "--authority", str(authority))
    done = command(*words, cwd=federation.place)
    assert done.returncode == 0, done.stderr


def jobs(federation: Machines, name: str) -> list[object]:
    """Processes of runs at a machine."""
    return [*federation.part(name, JOB)]


def fill(file: Path) -> None:
    """Take all the room that is left on a disk."""
    with file.open("wb", buffering=0) as handle, suppress(OSError):
        while True:
            handle.write(b"x" * 512)


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
