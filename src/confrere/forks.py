"""The engine's process and the processes of its jobs, forked from one that has imported what they all need.

    python -m confrere.forks MODULE[,MODULE...] ENGINE [WORDS...]

A process of a job spends most of its start on imports, and every hospital starts one for every run. Here they are made
once: this process imports the modules, forks the engine's process (the module `ENGINE` with its words), and then waits.
Where the engine would start a process for a job, the `Launcher` of `hospital.flare` or `coordinator.flare` has this one
fork it. It imports and forks, nothing more: it never has a thread, a connection, a key or a record, so that nothing but
modules is handed on. Pages of memory that nobody changes are shared. Random numbers are not: what a job draws comes
from the system, or from a seed.

The engine's process ends when this one does, and this one when the engine's does; a job sees that its parent is gone.
All have one command line; `ps -o comm` tells them apart (Linux): `engine-forks`, `engine`, `engine-job`.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import os
import queue
import runpy
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final

FORKS, ENGINE, JOB = "engine-forks", "engine", "engine-job"  # names of processes
KILLED: Final = -signal.SIGKILL  # the code of a job that could not be started, or whose end was not seen

_engine: Engine | None = None  # in the engine's process: the one that it has its jobs forked by


def main() -> None:
    """Import, fork and wait; go on in every child as the module that it is to be."""
    modules, *words = sys.argv[1:]
    gc.disable()  # nothing is garbage yet; a collection in a child would copy pages that it could share
    for module in modules.split(","):
        importlib.import_module(module)
    inspect.stack()  # every job asks for it once, for a name in its log: where all the modules lie is found out here
    gc.freeze()
    sys.argv = _forked(words)
    gc.enable()
    sys.modules.pop(sys.argv[0], None)  # it runs once more, as the main module
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def engine() -> Engine:
    """Where this process has its jobs forked. RuntimeError in a process that was not forked for it."""
    if _engine is None:
        raise RuntimeError("jobs are forked by the process that forked the engine's: start it by `confrere.forks`")
    return _engine


def importing(*modules: str) -> threading.Thread:
    """Import what is large, beside whatever else there is to do or to wait for; `join` before it is needed."""
    thread = threading.Thread(target=lambda: [importlib.import_module(name) for name in modules], daemon=True)
    thread.start()
    return thread


class Job:
    """The process of a job, as the engine holds it: `poll`, `wait` and `terminate` of its own adapter of processes."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._over = threading.Event()
        self._code = KILLED

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it runs."""
        return self._code if self._over.is_set() else None

    def wait(self) -> None:
        """Wait until it is over."""
        self._over.wait()

    def terminate(self) -> None:
        """Kill it with all that it started."""
        if self.poll() is None:
            for kill in (os.killpg, os.kill):  # it may not have a group of its own yet
                with suppress(ProcessLookupError):
                    kill(self.pid, signal.SIGKILL)

    def over(self, code: int) -> None:
        """It ended, with this code."""
        self._code = code
        self._over.set()


class Engine:
    """The engine's end of the link to the process that forks."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._lock = threading.Lock()  # one job is asked for at a time
        self._born: queue.Queue[Job] = queue.Queue()
        self._jobs: dict[int, Job] = {}
        threading.Thread(target=self._hear, daemon=True).start()

    def start(self, command: str, more: Mapping[str, str]) -> Job:
        """Have a process forked for a command line, `INTERPRETER -m MODULE WORDS...`: here, in this process's
        environment with `more` in it."""
        words = shlex.split(command)[2:]
        with self._lock:
            self._link.send_bytes(json.dumps([words, {**os.environ, **more}, os.getcwd()]).encode())
            return self._born.get()

    def _hear(self) -> None:
        """Take what the forking process tells. When it is gone, so is this one: whoever watches it starts both anew."""
        while True:
            try:
                pid, code = json.loads(self._link.recv_bytes())
            except (EOFError, OSError):
                os._exit(1)
            if code is None:
                self._jobs[pid] = Job(pid)
                self._born.put(self._jobs[pid])
            elif pid:
                self._jobs.pop(pid).over(code)
            else:
                unborn = Job(0)
                unborn.over(code)
                self._born.put(unborn)


def _forked(words: list[str]) -> list[str]:
    """Fork the engine's process, then jobs as it asks for them. Returns in the children alone: what each is to run."""
    global _engine
    ours, theirs = Pipe()
    if (first := os.fork()) == 0:
        ours.close()
        _named(ENGINE)
        _engine = Engine(theirs)
        return words
    theirs.close()
    _named(FORKS)
    woken, alarm = socket.socketpair()
    alarm.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a byte in `alarm` is all that it is for
    signal.signal(signal.SIGTERM, lambda *_: _end(first))
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    asking: list[Any] = [ours, woken]
    while True:
        for ready in wait(asking):
            if ready is woken:
                woken.recv(4096)
                _told(ours, first)
                continue
            try:
                asked, environment, folder = json.loads(ours.recv_bytes())
            except (EOFError, OSError):
                asking.remove(ours)  # the engine's process is on its way out
                continue
            if (born := _fork()) == 0:
                _own([ours, woken, alarm], environment, folder)
                return list(asked)
            _tell(ours, born, None) if born else _tell(ours, 0, KILLED)


def _named(name: str) -> None:
    """Name this process, where the system lets it."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")


def _end(pid: int) -> None:
    """Ask a process to end; it may have been asked by others too, and be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _fork() -> int | None:
    """Fork; None where the machine could not."""
    try:
        return os.fork()
    except OSError:
        return None


def _own(parents: Sequence[Any], environment: Mapping[str, str], folder: str) -> None:
    """Make a forked process a job's: nothing of its parent's but the modules."""
    _named(JOB)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for one in parents:
        one.close()
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def _told(link: Connection, first: int) -> None:
    """Tell the engine's process which jobs are over. If itself is over, end as it did."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, code = found[0], os.waitstatus_to_exitcode(found[1])
            if pid == first:
                os._exit(code if code >= 0 else 128 - code)
            _tell(link, pid, code)


def _tell(link: Connection, pid: int, code: int | None) -> None:
    """A line to the engine's process: a job was born (`code` None), or is over."""
    with suppress(OSError):  # it is on its way out
        link.send_bytes(json.dumps([pid, code]).encode())


if __name__ == "__main__":
    from confrere import forks  # the module that components of the engine will find, not this copy of it

    forks.main()
