"""What answers at a hospital: the desk opens runs of approved studies, and hands every message to its run.

`start` names a study by its hash; the desk says how many rounds of it this hospital has learned and which epoch of keys
was its last. `hello` begins the next epoch. All the rest is the run's. A refusal is uniform; its reason goes into the
hospital's own log, never to the coordinator.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confrere import wire
from confrere.data import sources
from confrere.data.table import Table
from confrere.errors import ConfrereError, KeysError, ProtocolError, Refused
from confrere.hospital.gate import Gate, Policy
from confrere.hospital.home import Home
from confrere.hospital.run import Memory, Run
from confrere.journal import Journal
from confrere.rounds import Site, supported
from confrere.study import build
from confrere.study.file import Study
from confrere.sums import FileAttempts, Session
from confrere.sums.files import write_private

LINGER = 30.0  # seconds to wait for an earlier process of this run that is on its way out


class Desk:
    """One hospital's answers to one engine's messages. One run at a time; a process is started for each."""

    def __init__(self, home: Home, linger: float = LINGER) -> None:
        self.home = home
        self._linger = linger
        self._study: Study | None = None
        self._attempts: FileAttempts | None = None
        self._table: Table | None = None
        self._without: tuple[str, ...] = ()
        self._run: Run | None = None
        self._told = 0  # notes of the run that stand in the log

    def answer(self, message: bytes) -> bytes:
        """Answer one message; whatever goes wrong, the answer is the same."""
        try:
            asked = wire.unpack(message)
            if asked["do"] == "start":
                return wire.pack(self._start(asked))
            if asked["do"] == "hello":
                self._renew(int(asked["epoch"]))
            if asked["do"] == "round" and self._run is not None:
                self.home.approved(self._hash)  # a yes that was taken back holds before the next round
                _asked(self.home.run(self._hash)).touch()
        except OSError as reason:
            self._log("unable", reason)
            return wire.pack({"unable": True})
        except Exception as reason:  # noqa: BLE001 - the boundary: no error may carry a value out
            self._log("refused", reason)
            return wire.pack({"refused": True})
        if self._run is None:
            self._log("refused", ProtocolError(f"{asked['do']} before a study was started"))
            return wire.pack({"refused": True})
        reply = self._run.answer(message)
        for note in self._run.notes[self._told :]:
            self._log("unable" if isinstance(note.reason, OSError) else "refused", note.reason, round=note.round)
        self._told = len(self._run.notes)
        if asked["do"] == "close" and self._run.done:
            self.home.log("done", study=self._hash)
            self.close()
        return reply

    def close(self) -> None:
        """Let go of the run: its file of attempts is free for the next process."""
        if self._attempts is not None:
            self._attempts.close()
        self._run = self._attempts = None

    @property
    def _hash(self) -> str:
        return self._study.hash if self._study else ""

    def _start(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Open an approved study: its records are read, and what was learned of it before is found again."""
        self.close()
        if asked["version"] != wire.release():
            return {"version": wire.release()}
        study = self.home.approved(str(asked["study"]))
        folder = self.home.run(study.hash)
        self._attempts = _claimed(folder / "attempts", self._linger)
        built = build.analyses(study)
        source = self.home.source(study.table)
        self._table = sources.read(source, build.columns_of(built), study.schema, study.person, self.home.name)
        self._study = study
        self._without = _members(folder, tuple(asked["without"]))
        known = Journal(folder / "journal")
        _frozen(folder, self._table)
        self.home.log("started", study=study.hash, rounds=len(known.records))
        return {"version": wire.release(), "rounds": len(known.records), "epoch": _epoch(folder)}

    def _renew(self, epoch: int) -> None:
        """A run of the study under way with new keys. The epoch is written down before its keys are made."""
        study = self._study
        if study is None or self._attempts is None:
            raise ProtocolError("keys were asked for before a study was started")
        folder = self.home.run(study.hash)
        if epoch <= _epoch(folder):
            raise KeysError(f"epoch {epoch} of this study was used before")
        write_private(folder / "epoch", str(epoch).encode())
        built, roster = build.analyses(study), self.home.roster
        groups = build.groups_of(study, [n for n in roster.names if n not in self._without])
        policy = Policy(k=max(study.k, self.home.k), allow=frozenset(study.allow))
        session = Session(
            self.home.identity, self.home.name, roster, bytes.fromhex(study.hash), epoch, self._attempts
        )  # fmt: skip
        gate = Gate(policy, len(build.columns_of(built)))
        flow = supported(build.flow_of(study, built))
        memory = Memory(Journal(folder / "journal"), _seed(folder), self._without)
        self._run, self._told = Run(flow, Site(self._table), gate, session, groups, memory), 0

    def _log(self, event: str, reason: Exception, **facts: Any) -> None:
        # only our own errors speak in words that are known to hold no patient's value; DataErrors may name one
        ours = isinstance(reason, ConfrereError) and type(reason).__name__ != "DataError"
        why = str(reason) if ours else ""
        self.home.log(event, study=self._hash, error=type(reason).__name__, why=why, **facts)


def _claimed(path: Path, linger: float) -> FileAttempts:
    """The file of attempts, once no other process of this run holds it any more."""
    end = time.monotonic() + linger
    while True:
        try:
            return FileAttempts(path)
        except KeysError as error:
            if "in use" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.2)


def _asked(folder: Path) -> Path:
    """Stands from the first round that was asked: hospitals and records are the same from then on."""
    return folder / "asked"


def _frozen(folder: Path, table: Table) -> None:
    """Hold the records against those that the run began with: a run is about one cut of the data.

    From the first round asked, not learned: whoever ends runs there would see the same sums of two cuts, and who came.
    """
    import pandas as pd

    file = folder / "cut"
    now = hashlib.sha256(pd.util.hash_pandas_object(table.frame, index=False).to_numpy().tobytes()).hexdigest()
    if not _asked(folder).exists():
        file.write_text(now, encoding="utf-8")
    elif file.read_text(encoding="utf-8") != now:
        raise Refused(
            "the records changed since this run began; refuse the study, or restore the cut that it began with"
        )


def _members(folder: Path, without: tuple[str, ...]) -> tuple[str, ...]:
    """Who of the roster takes no part: what is said first holds from the first round on."""
    file = folder / "without"
    if _asked(folder).exists():
        if set(file.read_text(encoding="utf-8").split()) != set(without):
            raise Refused("this study was begun with other hospitals; a sum less one hospital would show its part")
    else:
        file.write_text("\n".join(sorted(without)), encoding="utf-8")
    return without


def _epoch(folder: Path) -> int:
    """The last epoch of keys of a run here; 0 before the first."""
    file = folder / "epoch"
    return int(file.read_bytes()) if file.is_file() else 0


def _seed(folder: Path) -> bytes:
    """This hospital's part of the group secret: made once per study, so that folds and samples are found again."""
    file = folder / "seed"
    if not file.is_file():
        write_private(file, os.urandom(32))
    return bytes(file.read_bytes())
