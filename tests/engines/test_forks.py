"""Jobs forked by the process that forked the engine's: they run as if started alone, and nothing outlives it."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from confrere import forks

psutil = pytest.importorskip("psutil", reason="needs the extra `federation`")

# An engine that does what each line of its input says, and says what came of it.
ENGINE = """
import json, os, sys, threading
from confrere import forks
jobs = []
print(json.dumps([os.getpid(), sys.argv[1:], __name__, "colorsys" in sys.modules]), flush=True)
for line in sys.stdin:
    what, *given = json.loads(line)
    if what == "start":
        os.chdir(given[2])
        jobs.append(forks.engine().start("python -m " + given[0], given[1]))
        answer = jobs[-1].pid
    elif what == "wait":
        answer = [jobs[given[0]].wait(), jobs[given[0]].poll()][1]
    elif what == "poll":
        answer = jobs[given[0]].poll()
    elif what == "kill":
        answer = jobs[given[0]].terminate()
    elif what == "end":
        sys.exit(given[0])
    print(json.dumps(answer), flush=True)
"""
JOB = """
import os, signal, sys, time
from pathlib import Path
said = [__name__, *sys.argv[1:], os.getcwd(), os.environ.get("WORD"), "colorsys" in sys.modules, os.getppid()]
Path(os.environ["SAID"]).write_text(repr(said))
if sys.argv[1] == "stay":
    time.sleep(600)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(int(sys.argv[1]))
"""


class Shell:
    """The processes, and a way to talk to the engine's."""

    def __init__(self, folder: Path, modules: str = "colorsys,numpy") -> None:
        (folder / "toyengine.py").write_text(ENGINE)
        (folder / "toyjob.py").write_text(JOB)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "confrere.forks", modules, "toyengine", "one", "two words"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.engine, *self.first = self._line()

    def _line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, *what: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return None if what[0] == "end" else self._line()

    def start(self, word: str, **environment: str) -> int:
        said = {"SAID": str(self.folder / f"said-{word}"), **environment}
        return int(self.ask("start", f"toyjob {word}", said, str(self.folder)))

    def said(self, word: str) -> str:
        file, end = self.folder / f"said-{word}", time.monotonic() + 30
        while not file.exists() or not file.read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        return file.read_text()

    def close(self) -> None:
        for pid in (self.process.pid, self.engine):
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


def gone(pids: list[int], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_the_engine_runs_as_a_main_module_with_its_words(shell: Shell) -> None:
    assert shell.first == [["one", "two words"], "__main__", True]
    assert psutil.Process(shell.engine).ppid() == shell.process.pid


def test_a_job_is_a_main_module_in_the_environment_and_folder_it_was_given(shell: Shell) -> None:
    shell.start("0", WORD="a b\nc")
    assert shell.ask("wait", 0) == 0
    assert shell.said("0") == repr(["__main__", "0", str(shell.folder), "a b\nc", True, shell.process.pid])


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="names of processes are Linux's")
def test_processes_are_told_apart_by_their_names(shell: Shell) -> None:
    """Their command lines are one; who looks at a machine, and tests that end one of them, must know which is which."""
    pid = shell.start("stay")
    shell.said("stay")
    assert [psutil.Process(p).name() for p in (shell.process.pid, shell.engine, pid)] == [
        forks.FORKS,
        forks.ENGINE,
        forks.JOB,
    ]
    shell.ask("kill", 0)  # it would keep the pipe open, for which the end waits


def test_the_codes_are_those_of_each_job(shell: Shell) -> None:
    words = ["3", "killed", "0", "7"]
    assert len({shell.start(word) for word in words}) == 4
    assert [shell.ask("wait", i) for i in range(4)] == [3, -signal.SIGTERM, 0, 7]


def test_a_job_is_seen_to_run_and_can_be_killed(shell: Shell) -> None:
    pid = shell.start("stay")
    shell.said("stay")
    assert shell.ask("poll", 0) is None
    shell.ask("kill", 0)
    assert shell.ask("wait", 0) == -signal.SIGKILL
    assert gone([pid])
    shell.ask("kill", 0)  # a job that is over is nobody's to kill


@pytest.mark.parametrize("side", ["hospital.engine", "coordinator.flare"])
def test_what_forks_has_one_thread(tmp_path: Path, side: str) -> None:
    """A thread would not be in the children, and a lock that it held would never be given back."""
    pytest.importorskip("nvflare", reason="needs the extra `federation`")
    shell = Shell(tmp_path, ",".join(importlib.import_module(f"confrere.{side}").SHARED))
    try:
        shell.start("0")
        assert psutil.Process(shell.process.pid).num_threads() == 1
    finally:
        shell.close()


def test_it_ends_as_its_engine_does(shell: Shell) -> None:
    shell.ask("end", 5)
    assert shell.process.wait(15) == 5


def test_an_engine_that_is_killed_takes_it_along(shell: Shell) -> None:
    os.kill(shell.engine, signal.SIGKILL)
    assert shell.process.wait(15) == 128 + signal.SIGKILL


def test_an_engine_does_not_outlive_it(shell: Shell) -> None:
    os.kill(shell.process.pid, signal.SIGKILL)
    shell.process.wait(15)
    assert gone([shell.engine])


def test_who_stops_it_stops_the_engine(shell: Shell) -> None:
    shell.process.terminate()
    assert shell.process.wait(15) == 128 + signal.SIGTERM
    assert gone([shell.engine])
