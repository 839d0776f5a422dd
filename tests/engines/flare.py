"""A federation of real processes on loopback, over TLS, whose machines can be lost, frozen and brought back.

To meet a moment of a round without a race, a machine is frozen first (SIGSTOP): while a hospital is frozen no round can
end, so that whatever is done meanwhile is done within that round.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from confrere.console import federated
from confrere.console.demo import load
from confrere.console.fit import Results
from confrere.console.local import Local
from confrere.console.result import as_dict
from confrere.coordinator.conduct import OVER, Folder
from confrere.hospital.home import Home
from confrere.kits import Profile
from engines.inprocess import told

HOSPITALS = ("delft", "gouda", "rotterdam")
ROUND = 8.0  # seconds to wait for an answer
UP = 180.0  # seconds for whatever must happen by itself, on a machine that others load

STUDY = """\
[study]
id = "faults"
title = "{title}"
purpose = "public-interest research"
[data]
table = "breast"
person = "pid"
[data.columns.size]
levels = ["<=20", "20-50", ">50"]
[data.columns.hormon]
levels = ["0", "1"]
"""
MODELS = (
    ("cox", "Surv(rtime, recur) ~ hormon + age + C(size)"),
    ("logistic", "recur ~ age + grade"),
    ("poisson", "nodes ~ age + grade"),
)
MORE = ("", " + er", " + pgr", " + meno", " + er + pgr", " + er + meno", " + pgr + meno", " + er + pgr + meno")


def study_of(title: str, repeats: int = 1) -> str:
    """A study of about 25 rounds times `repeats` (at most 8), of a hash of its own by its title."""
    analyses = [
        f'[[analysis]]\nname = "{method}-{i}"\nmethod = "{method}"\nformula = "{formula}{MORE[i]}"\n'
        for i in range(repeats)
        for method, formula in MODELS
    ]
    return STUDY.format(title=title) + "".join(analyses)


def records() -> dict[str, pd.DataFrame]:
    """The tables of three hospitals: of 400 people at most, drawn, for the files lie in order of recurrence."""
    frames = load("breast")[1]
    few = {name: frames[name].sample(min(400, len(frames[name])), random_state=1) for name in HOSPITALS}
    return {name: frame.reset_index(drop=True) for name, frame in few.items()}


def numbers(results: Results) -> list[Any]:
    """What was found, to the last digit: what a study's results must equal wherever it ran."""
    return list(json.loads(json.dumps(as_dict(results)["analyses"])))


def until(what: Callable[[], Any], why: str, seconds: float = UP, every: float = 0.02) -> Any:
    """Wait until something is true; what it is. AssertionError after a while."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"after {seconds:g} s: {why}"
        time.sleep(every)
    return found


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, of whatever session."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class Machines:
    """A federation in a folder: its machines are the coordinator and the hospitals."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.frames = records()
        self.token = federated.found(place, self.frames, study_of("founded"))
        settings = place / "coordinator" / "coordinator.toml"
        settings.write_text(f"round_seconds = {ROUND}\n", encoding="utf-8")
        profile = Profile.read(place / "authority" / "federation.json")
        self.url = f"https://{profile.host}:{profile.api_port}"
        self.remote = federated.remote_of(place, self.token)
        self._serving: dict[str, subprocess.Popen[bytes]] = {}

    # machines

    def home(self, name: str) -> Path:
        """The folder of a machine."""
        return self.place / name if name == "coordinator" else self.place / "hospitals" / name

    def start(self, name: str) -> None:
        """Switch a machine on."""
        if name not in self._serving:
            self._serving[name] = federated.start(self.place, name)

    def processes(self, name: str) -> list[psutil.Process]:
        """All processes of a machine."""
        return family(self._serving[name].pid) if name in self._serving else []

    def part(self, name: str, role: str) -> list[psutil.Process]:
        """Those processes of a machine that have a name of `confrere.forks`: `engine` or, of runs, `engine-job`."""
        found = []
        for one in self.processes(name):
            with suppress(psutil.NoSuchProcess):
                if one.name() == role:
                    found.append(one)
        return found

    def kill(self, name: str) -> None:
        """A machine loses power: nothing of it has a chance to say anything."""
        lost = self.processes(name)
        for one in lost:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self._serving.pop(name).wait(UP)
        psutil.wait_procs(lost, UP)

    def freeze(self, name: str) -> None:
        """A machine stands still."""
        for one in self.processes(name):
            with suppress(psutil.NoSuchProcess):
                one.suspend()

    def thaw(self, name: str) -> None:
        """A machine goes on."""
        for one in self.processes(name):
            with suppress(psutil.NoSuchProcess):
                one.resume()

    def stop(self, name: str) -> None:
        """Switch a machine off in good order."""
        process = self._serving.pop(name)
        process.terminate()
        process.wait(60)

    def up(self) -> None:
        """Switch on what is off, and wait until all are connected."""
        for name, process in list(self._serving.items()):
            self.thaw(name)
            if process.poll() is not None:
                del self._serving[name]
        for name in ("coordinator", *HOSPITALS):
            self.start(name)
        until(lambda: set(self.seen()) == set(HOSPITALS), "not all are connected", every=0.2)

    def seen(self) -> list[str]:
        """The hospitals that the coordinator says are connected; none while it does not answer."""
        try:
            return [n for n, said in self.remote.health()["hospitals"].items() if said["connected"]]
        except Exception:  # noqa: BLE001 - whatever it is, nobody is seen
            return []

    def down(self) -> None:
        """Switch all off."""
        for name in list(self._serving):
            self.thaw(name)
            self._serving[name].terminate()
        for name in list(self._serving):
            try:
                self._serving[name].wait(60)
                del self._serving[name]
            except subprocess.TimeoutExpired:
                self.kill(name)
        self.remote.close()

    # runs

    def approve(self, text: str) -> None:
        """Every steward's yes."""
        for name in HOSPITALS:
            Home(self.home(name)).approve(text)

    def submit(self, text: str, deadline: float = 600.0) -> str:
        """Have a study approved and queued; its run."""
        self.approve(text)
        return str(self.remote.submit(self.file(text), deadline=deadline)["run"])

    def file(self, text: str) -> Path:
        """A study as the researcher's file."""
        path = self.place / "study.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def folder(self, run: str) -> Folder:
        """What the coordinator keeps of a run."""
        return Folder(self.place / "coordinator" / "runs" / run)

    def progress(self, run: str) -> Mapping[str, Any]:
        """Where a run is, as its conducting says."""
        return self.folder(run).progress

    def reach(self, run: str, number: int) -> None:
        """Wait until a run is in this round or a later one, and not at its end."""
        until(lambda: self.progress(run).get("round", 0) >= number, f"{run} does not come to round {number}")
        assert self.progress(run)["state"] == "running", self.progress(run)

    def status(self, run: str) -> dict[str, Any]:
        """What the researcher is told; nothing while the coordinator does not answer."""
        try:
            return self.remote.status(run)
        except Exception:  # noqa: BLE001
            return {"state": "", "why": ""}

    def waits(self, run: str) -> str:
        """Wait until a run says that it waits, and why."""
        said = until(lambda: (s := self.status(run))["state"] == "waiting" and s, f"{run} does not say that it waits")
        return str(said["why"])

    def ended(self, run: str, seconds: float = UP) -> str:
        """Wait until a run is over; its state."""
        return str(until(lambda: (s := self.status(run)["state"]) in OVER and s, f"{run} goes on", seconds, every=0.1))

    def found(self, run: str, text: str) -> list[Any]:
        """What a run found, once it is done."""
        assert self.ended(run) == "done", self.status(run)
        return numbers(self.remote.fetch(run, self.file(text)))

    def memory(self, text: str) -> list[Any]:
        """What the same study finds in this process, undisturbed."""
        return numbers(Local(self.frames).run(self.file(text)))

    def logged(self, name: str) -> list[dict[str, Any]]:
        """What a hospital wrote for its steward."""
        return [json.loads(line) for line in told(self.home(name)).splitlines()]

    def epoch(self, name: str, run: str) -> int:
        """The last epoch of keys of a run at a hospital."""
        return int(next((self.home(name) / "runs").glob(f"{run}*/epoch")).read_bytes())


@contextmanager
def machines(place: Path) -> Iterator[Machines]:
    """A federation that is up; switched off at the end."""
    made = Machines(place)
    try:
        made.up()
        yield made
    finally:
        made.down()


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A `confrere` command as a program of its own."""
    return subprocess.run(
        [sys.executable, "-m", "confrere", *words], cwd=cwd, capture_output=True, text=True, timeout=UP,
        check=False,
    )  # fmt: skip
