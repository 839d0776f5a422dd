"""A whole run in memory: identities, roster, sessions, gates, followed flows; and what an evil coordinator changes.

`tamper` sees every message (as plain data) on its way to a hospital, and may give another. The coordinator has no
key of any hospital: it can only change, drop, repeat or invent messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attacks.people import Table
from confrere import wire
from confrere.coordinator.federation import Federation
from confrere.hospital.gate import Gate, Policy
from confrere.hospital.run import Run
from confrere.rounds import Flow, Site, drive, supported
from confrere.study.formulas import model
from confrere.sums.attempts import MemoryAttempts
from confrere.sums.keys import Identity, Roster
from confrere.sums.session import Session

STUDY = hashlib.sha256(b"the study that the stewards approved").digest()
Tamper = Callable[[str, dict[str, Any]], dict[str, Any]]


def _same(name: str, message: dict[str, Any]) -> dict[str, Any]:
    return message


class Network:
    """Hospitals that hold `tables`, and a coordinator. `runs` are the hospitals' ends, with their notes."""

    def __init__(
        self, flow: Callable[[], Flow[Any]], tables: Mapping[str, Table], columns: int, **settings: Any
    ) -> None:
        model("~ x")  # imports formulaic here: its first import trips over hospitals in threads
        self._flow = flow
        self.tamper: Tamper = settings.get("tamper", _same)
        roster = _roster(tuple(tables))
        group = {"": roster.names} | settings.get("groups", {})
        policy = settings.get("policy", Policy())
        self.runs = {
            name: Run(
                supported(flow()), Site(table), Gate(policy, columns),
                Session(_identity(name), name, roster, STUDY, 1, MemoryAttempts()), group,
            )
            for name, table in tables.items()
        }  # fmt: skip
        self.coordinator = Federation({name: self._link(name) for name in tables}, group)

    def _link(self, name: str) -> Callable[[bytes], bytes]:
        return lambda raw: self.runs[name].answer(wire.pack(self.tamper(name, wire.unpack(raw))))

    def drive(self) -> Any:
        """Open the run and drive the flow to its finding."""
        self.coordinator.open()
        return drive(supported(self._flow()), self.coordinator.answer)

    def say(self, name: str, message: dict[str, Any]) -> dict[str, Any]:
        """One message to one hospital, out of turn."""
        return dict(wire.unpack(self.runs[name].answer(wire.pack(message))))

    @property
    def reasons(self) -> list[str]:
        """Why hospitals refused: what stays with their stewards."""
        return [f"{type(n.reason).__name__}: {n.reason}" for run in self.runs.values() for n in run.notes]


def _identity(name: str) -> Identity:
    return Identity.from_bytes(hashlib.sha256(name.encode()).digest())


def _roster(names: tuple[str, ...]) -> Roster:
    roster = Roster({name: _identity(name).public for name in names})
    for name in names:
        roster = roster.signed(name, _identity(name))
    return roster
