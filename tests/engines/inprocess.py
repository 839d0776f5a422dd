"""An engine in this process: threads for processes, function calls for the network, faults at exact messages."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from confrere.console.demo import load
from confrere.coordinator import roster
from confrere.coordinator.conduct import Folder, Found, conduct, ended
from confrere.coordinator.engine import Vitals
from confrere.coordinator.federation import Link
from confrere.coordinator.home import Home as CoordinatorHome
from confrere.errors import Waiting
from confrere.hospital.chain import read
from confrere.hospital.desk import Desk
from confrere.hospital.home import Home
from confrere.hospital.vitals import vitals
from confrere.study.file import parse

FOUR = ("curie", "delft", "lyon", "paris")
STUDY = """
[study]
id = "engine-test"
title = "Recurrence, over an engine"
purpose = "public-interest research"
[data]
table = "breast"
[[analysis]]
name = "ages"
method = "describe"
by = "hormon"
variables = ["age"]
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + age + nodes"
[[analysis]]
name = "risk"
method = "logistic"
formula = "recur ~ hormon + age"
"""
NAMES = ("curie", "delft", "lyon")
Fault = Callable[[str, int, bool], None]  # hospital, number of its message, whether it was answered; raises


def tables(names: tuple[str, ...] = NAMES) -> dict[str, pd.DataFrame]:
    """Records of three hospitals, or of four."""
    _, hospitals = load("breast")
    frames = list(hospitals.values())
    if len(names) == len(frames):
        return dict(zip(names, frames, strict=True))
    return dict(zip(NAMES, [frames[0], frames[1], pd.concat(frames[2:], ignore_index=True)], strict=True))


def found(place: Path, text: str = STUDY, names: tuple[str, ...] = NAMES) -> tuple[CoordinatorHome, dict[str, Home]]:
    """A federation's folders: everybody has signed, and every steward approved the study."""
    homes = {}
    for name, frame in tables(names).items():
        (place / name).mkdir(parents=True)
        frame.to_csv(place / name / "breast.csv", index=False)
        records = place / name / "breast.csv"
        made = Home.make(place / name, name, {"breast": str(records)})
        settings = made.path / "hospital.toml"  # relative to it: a copy of the folder has records of its own
        settings.write_text(settings.read_text().replace(str(records.absolute()), "breast.csv"))
        homes[name] = Home(made.path)
    listed = place / "roster.json"
    roster.assemble([h.card() for h in homes.values()], listed)
    for home in homes.values():
        home.sign(listed)
    for home in homes.values():
        home.pin(listed)
        home.approve(text)
    coordinator = CoordinatorHome.make(place / "coordinator")
    roster.pin(listed, coordinator.path)
    return coordinator, homes


def told(home: Path) -> str:
    """A hospital's ledger, as lines of JSON."""
    return "\n".join(json.dumps({"event": e.event, **e.facts}) for e in read(home / "ledger.sqlite"))


def links(homes: Mapping[str, Home], fault: Fault = lambda name, number, answered: None) -> dict[str, Link]:
    """A fresh process at every hospital; `fault` is told of every message before and after it is answered."""

    def link(name: str, home: Home) -> Link:
        desk, number = Desk(home, linger=0.0), 0

        def send(message: bytes) -> bytes:
            nonlocal number
            number += 1
            try:
                fault(name, number, False)
                reply = desk.answer(message)
                fault(name, number, True)
            except Waiting:
                desk.close()
                raise
            return reply

        send.close = desk.close  # type: ignore[attr-defined]
        return send

    return {name: link(name, home) for name, home in homes.items()}


def attempt(place: Path, fault: Fault = lambda name, number, answered: None, text: str = STUDY) -> Found:
    """One attempt at a run: fresh processes everywhere, on what the homes and the coordinator's folder keep."""
    folder = Folder.make(place / "coordinator" / "runs" / parse(text).hash[:16], text)
    given = links({name: Home(place / name) for name in NAMES}, fault)
    try:
        return conduct(folder, given)
    finally:
        let_go(given)


def let_go(given: Mapping[str, Link]) -> None:
    """The hospitals' processes end."""
    for link in given.values():
        link.close()  # type: ignore[attr-defined]


class InProcess:
    """The engine's port over threads. Take a hospital away with `down`."""

    def __init__(self, coordinator: CoordinatorHome, homes: Mapping[str, Home], pace: float = 0.0) -> None:
        """`pace` is how long a message takes, in seconds."""
        self.down: set[str] = set()
        self._coordinator, self._homes, self._pace = coordinator, homes, pace
        self._attempts: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def hospitals(self) -> dict[str, float]:
        """See `Engine`."""
        return {name: time.time() for name in self._homes if name not in self.down}

    def vitals(self) -> dict[str, Vitals]:
        """See `Engine`."""
        said = {name: Vitals.of(vitals(self._homes[name].path), time.time()) for name in self.hospitals()}
        return {name: one for name, one in said.items() if one is not None}

    def start(self, run: str, hospitals: tuple[str, ...]) -> str:
        """See `Engine`."""
        stop = threading.Event()

        def fault(name: str, number: int, answered: bool) -> None:
            time.sleep(self._pace)
            if stop.is_set() or name in self.down:
                raise Waiting(f"{name} did not answer")

        thread = threading.Thread(target=self._conduct, args=(run, fault), daemon=True)
        handle = f"{run}-{len(self._attempts)}"
        self._attempts[handle] = (thread, stop)
        thread.start()
        return handle

    def _conduct(self, run: str, fault: Fault) -> None:
        folder = self._coordinator.folder(run)
        given = links({n: h for n, h in self._homes.items() if n not in folder.without}, fault)
        try:
            with folder.claimed(linger=5.0):
                conduct(folder, given, cancelled=(folder.path / "cancel").exists)
        except Waiting as reason:
            state = "cancelled" if (folder.path / "cancel").exists() else "waiting"
            folder.say(state, why=str(reason))
        except Exception as error:  # noqa: BLE001 - as the engine's component does
            ended(folder, error)
        finally:
            let_go(given)

    def alive(self, handle: str) -> bool:
        """See `Engine`."""
        return handle in self._attempts and self._attempts[handle][0].is_alive()

    def stop(self, handle: str) -> None:
        """See `Engine`."""
        if handle in self._attempts:
            self._attempts[handle][1].set()
            self._attempts[handle][0].join(10)

    def close(self) -> None:
        """See `Engine`."""
        for handle in self._attempts:
            self.stop(handle)
