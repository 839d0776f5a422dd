"""What answers at a hospital: the desk opens runs of approved studies, and hands every message to its run.

`start` names a study by its hash; the desk says how many rounds of it this hospital has learned and which epoch of keys
was its last; a study that no steward here has decided about goes into the inbox. `hello` begins the next epoch. All the
rest is the run's. Every ask is in the ledger before it is answered, every answer before it goes. A refusal is uniform;
its reason goes into the ledger, never to the coordinator.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

from confrere import wire
from confrere.errors import ConfrereError, KeysError, Paused, ProtocolError, Refused, StudyError
from confrere.hospital import own
from confrere.hospital.gate import Gate, Violation
from confrere.hospital.home import Home
from confrere.hospital.manifest import Manifest
from confrere.hospital.records import Records, pictures
from confrere.hospital.run import Memory, Run
from confrere.hospital.studies import STRIKES, Record, software
from confrere.journal import Journal
from confrere.rounds import Site, supported
from confrere.study import build
from confrere.study.file import LARGEST, Study
from confrere.study.kept import Kept
from confrere.study.life import ANSWERED, LIFE
from confrere.study.worklist import Worklist
from confrere.sums import FileAttempts, Session
from confrere.sums.files import write_private

LONGEST = 2000  # characters of a reason in the ledger
LINGER = 30.0  # seconds to wait for an earlier process of this run that is on its way out


class Desk:
    """One hospital's answers to one engine's messages. One run at a time; a process is started for each."""

    def __init__(self, home: Home, linger: float = LINGER) -> None:
        self.home = home
        self._linger = linger
        self._study: Study | None = None
        self._attempts: FileAttempts | None = None
        self._records: Records | None = None
        self._without: tuple[str, ...] = ()
        self._run: Run | None = None
        self._told = 0  # notes of the run that stand in the ledger
        self._doing = ""  # what the message at hand asks for

    def answer(self, message: bytes) -> bytes:
        """Answer one message; whatever goes wrong, the answer is the same."""
        asked: Mapping[str, Any] = {}
        try:
            asked = wire.unpack(message)
            self._doing = str(asked["do"])[:20]
            if asked["do"] == "start":
                return wire.pack(self._start(asked))
            if asked["do"] == "hello":
                self._renew(int(asked["epoch"]))
            if asked["do"] in ("round", "settle"):
                self._still_may()
            if asked["do"] == "round":
                self._before(asked)
            if self._run is None:
                raise ProtocolError(f"{self._doing} before a study was started")
            return self._after(asked, self._run.answer(message))
        except (OSError, Paused) as reason:
            return self._said("unable", reason)
        except Exception as reason:  # noqa: BLE001 - the boundary: no error may carry a value out
            return self._said("refused", reason)

    def close(self) -> None:
        """Let go of the run: its file of attempts is free for the next process, the ledger is one whole file."""
        if self._attempts is not None:
            self._attempts.close()
            self._wait()
            self.home.ledger.close()
        self._run = self._attempts = None

    def _wait(self) -> None:
        """Whoever asked has gone, or has no answer: the study waits for more."""
        record = self.home.studies.record(self._hash)
        if record is not None and record.state == "running":
            self.home.studies.move(self._hash, "wait", "coordinator", "coordinator")

    @property
    def _hash(self) -> str:
        return self._study.hash if self._study else ""

    # a message of a run

    def _still_may(self) -> None:
        """What must hold before a number leaves: a yes, no end, an open hour, no opposition since, the same bags."""
        if self._run is None or self._study is None or self._records is None:
            raise ProtocolError(f"a {self._doing} was asked before a study was started")
        self.home.approved(self._hash)
        self._not_over(self._study)
        self._open_hours()
        if self.home.oppositions.digest(self._study.purpose) != self._records.opposed:
            raise Refused(
                "the register of oppositions changed since this run began: every hospital erases the run, "
                "`hospital erase`, the coordinator too, and all approve the study anew"
            )
        if pictures(self.home, self._study) != self._records.bags:
            raise Refused(
                "the bags of images changed since this run began, as when a consent is taken back: every hospital "
                "erases the run, `hospital erase`, the coordinator too, and all approve the study anew"
            )

    def _before(self, asked: Mapping[str, Any]) -> None:
        """Before each round: rounds left, and whom it is about. Written down first."""
        if self._study is None or self._records is None:
            raise ProtocolError("a round was asked before a study was started")
        number = int(asked["round"])
        if number > self.home.rules.rounds:
            raise Violation(f"round {number} was asked; [policy] rounds allows {self.home.rules.rounds}")
        folder = self.home.run(self._hash)
        if not _asked(folder).exists():
            self._records.answered(self.home, self._study)
            _asked(folder).touch()
        self.home.log("asked", study=self._hash, round=number, asks=_named(asked["asks"]))

    def _after(self, asked: Mapping[str, Any], reply: bytes) -> bytes:
        """Write down what an answer holds before it goes, or why there is none."""
        run, told = self._run, self._told
        if run is None:
            return reply
        self._told = len(run.notes)
        for note in run.notes[told:]:
            kind = "unable" if isinstance(note.reason, OSError) else "refused"
            reply = self._said(kind, note.reason, round=note.round)
        if self._told == told and asked["do"] == "round":
            self._within(run, len(reply))
            self.home.log("answered", study=self._hash, round=int(asked["round"]), bytes=len(reply), left=run.left)
        if asked["do"] == "close" and run.done:
            self.home.studies.move(self._hash, "finish", "coordinator", "coordinator")
            self.home.log("done", study=self._hash, numbers=run.spent)
            self.close()
        return reply

    def _within(self, run: Run, size: int) -> None:
        """The bytes of a study stay within what the hospital allows, over all attempts."""
        file = self.home.run(self._hash) / "bytes"
        sent = (int(file.read_bytes()) if file.is_file() else 0) + size
        if sent > self.home.rules.megabytes * 1e6:
            raise Violation(f"{sent} bytes would have left; [policy] megabytes allows {self.home.rules.megabytes:g}")
        write_private(file, str(sent).encode())

    def _said(self, event: str, reason: Exception, **facts: Any) -> bytes:
        """The uniform answer. The reason stays in the ledger; three refusals of a study's asks pause it."""
        # only our own errors speak in words that are known to hold no patient's value; DataErrors may name one
        ours = isinstance(reason, ConfrereError) and type(reason).__name__ != "DataError"
        why = str(reason)[:LONGEST] if ours else ""  # a message that fills the ledger would stop the hospital
        with suppress(OSError, ConfrereError):  # a full disk, a broken ledger: nothing is answered anyway
            self.home.log(event, study=self._hash, error=type(reason).__name__, why=why, **facts)
            self._wait()
            if isinstance(reason, Violation | ProtocolError) and self._doing in ("round", "settle"):
                self._strike()
        return wire.pack({event: True})

    def _strike(self) -> None:
        """Count a refused ask. The third pauses the study until the steward has looked."""
        if not self._hash:
            return
        if self.home.studies.strike(self._hash) < STRIKES:
            return
        record = self.home.studies.record(self._hash)
        if record is not None and "pause" in LIFE[record.state]:
            why = f"{STRIKES} refused messages; the ledger has the reasons"
            self.home.studies.move(self._hash, "pause", "gate", "gate", why=why)
            self.home.log("paused", study=self._hash, by="gate", why=why)

    # the start of a run

    def _start(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Open an approved study: its records are read, and what was learned of it before is found again."""
        self.close()
        self._study = None
        if asked["version"] != wire.release():
            return {"version": wire.release()}
        if self._undecided(asked):
            return {"version": wire.release(), "undecided": True}
        study = self._study = self.home.approved(str(asked["study"]))
        self._open_hours()
        self._still(study)
        folder = self.home.run(study.hash)
        self._attempts = _claimed(folder / "attempts", self._linger)
        self._without = _members(self.home, study.hash, tuple(asked["without"]))
        self._records = self.home.records(study, self._without)
        if self._records.why and not _asked(folder).exists():
            raise Refused("; ".join(self._records.why))
        known = Journal(folder / "journal")
        _frozen(folder, self._records.cut)
        self.home.studies.move(study.hash, "start", "coordinator", "coordinator")
        self.home.log("started", study=study.hash, rounds=len(known.records), cut=self._records.cut)
        return {"version": wire.release(), "rounds": len(known.records), "epoch": _epoch(folder)}

    def _undecided(self, asked: Mapping[str, Any]) -> bool:
        """Whether a steward has yet to decide. A study that nobody here knows goes into the inbox."""
        record = self.home.studies.record(str(asked["study"]))
        if record is None:
            text = str(asked.get("text", ""))
            if not text:
                raise Refused(f"the study {str(asked['study'])[:16]} is not approved here")
            if len(text.encode()) > LARGEST:
                raise ProtocolError(f"a study file has at most {LARGEST} bytes")
            study = self.home.studies.submit(text, "the coordinator")
            self.home.log("submitted", study=study.hash, id=study.id)
            return bool(study.hash == asked["study"])
        if record.state in ANSWERED and (why := self._other(record)):
            self.home.log("approval needed", study=record.study, why=why)
            return True
        return record.state == "submitted"

    def _other(self, record: Record) -> str:
        """What is another one since the steward said yes: then the yes was to something else."""
        approval = record.approval
        if approval is None:
            return "there is no approval"
        now = {"Confrere or a method": software(self.home.studies.study(record.study))}
        now |= {"the roster": self.home.roster.hash.hex()}
        then = {"Confrere or a method": approval.software, "the roster": approval.roster}
        return ", ".join(f"{what} is another one since the steward approved" for what in now if now[what] != then[what])

    def _still(self, study: Study) -> None:
        """That the steward's yes is in the ledger, and that the hospital's rules, which may have changed, allow it."""
        self._not_over(study)
        self.home.decided(study.hash)
        self.home.note_rules()
        if why := self.home.rules.against(study, self._listed(study), date.today(), self.home.name):
            raise Refused("; ".join(why))

    def _not_over(self, study: Study) -> None:
        """That the study has not ended: its last day may come while a run is under way."""
        if study.ends is not None and study.ends < date.today():
            self.home.studies.move(study.hash, "expire", "clock", "clock", why=f"it ended on {study.ends}")
            self.home.log("expired", study=study.hash)
            raise Refused(f"the study ended on {study.ends}")

    def _stays(self, study: Study, made: Kept) -> None:
        """Write down what a study made for people of this hospital."""
        if isinstance(made, Worklist):
            self.home.worklists.keep(study.hash, study.purpose, made, id=study.id)
        else:
            own.keep(self.home.run(study.hash), made)

    def _listed(self, study: Study) -> Manifest:
        """The manifest that the steward approved."""
        record = self.home.studies.record(study.hash)
        if record is None or record.approval is None:
            raise Refused(f"the study {study.hash[:16]} is not approved here")
        return Manifest.of(record.approval.manifest)

    def _open_hours(self) -> None:
        try:
            rules = self.home.rules
        except StudyError as wrong:  # mended in a minute: the run waits for it
            raise Paused(str(wrong)) from None
        if not rules.open(datetime.now()):
            raise Paused(f"asks are answered here {rules.hours}")

    def _renew(self, epoch: int) -> None:
        """A run of the study under way with new keys. The epoch is written down before its keys are made."""
        study, records = self._study, self._records
        if study is None or self._attempts is None or records is None:
            raise ProtocolError("keys were asked for before a study was started")
        folder = self.home.run(study.hash)
        if epoch <= _epoch(folder):
            raise KeysError(f"epoch {epoch} of this study was used before")
        write_private(folder / "epoch", str(epoch).encode())
        built, roster = build.analyses(study), self.home.roster
        groups = build.groups_of(study, [n for n in roster.names if n not in self._without])
        session = Session(
            self.home.identity, self.home.name, roster, bytes.fromhex(study.hash), epoch, self._attempts
        )  # fmt: skip
        gate = Gate(self.home.rules.gate(study, self.home.name), len(build.columns_of(built)), self._listed(study))
        flow = supported(build.flow_of(study, built))
        memory = Memory(
            Journal(folder / "journal"), _seed(folder), self._without,
            lambda rows: self._stays(study, rows), Journal(folder / "settled"),
        )  # fmt: skip
        site = Site(records.table, parts=build.parts_of(built))
        self._run, self._told = Run(flow, site, gate, session, groups, memory), 0


def _named(asks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Asks as the ledger has them: which step of which analysis, never an argument."""
    return [f"{a['analysis']}.{a['step']}" for a in asks]


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


def _frozen(folder: Path, cut: str) -> None:
    """Hold the records against those that the run began with: a run is about one cut of the data.

    From the first round asked, not learned: whoever ends runs there would see the same sums of two cuts, and who came.
    """
    file = folder / "cut"
    if not _asked(folder).exists():
        file.write_text(cut, encoding="utf-8")
    elif file.read_text(encoding="utf-8") != cut:
        raise Refused(
            "the records, or who is left out of them, changed since this run began. Restore the cut that it began "
            "with; or every hospital erases the run, `hospital erase`, the coordinator too, and all approve anew"
        )


def _members(home: Home, study: str, without: tuple[str, ...]) -> tuple[str, ...]:
    """Who of the roster takes no part. Who does stays the same, whatever roster is pinned since."""
    folder, members = home.run(study), [name for name in home.members if name not in without]
    if not _asked(folder).exists():
        (folder / "members").write_text("\n".join(members), encoding="utf-8")
    elif _began(home, study) != members:
        raise Refused(
            "this study was begun with other hospitals; a sum less one hospital would show its part. To begin anew, "
            "every hospital erases the run, `hospital erase`, the coordinator too, and all approve anew"
        )
    return without


def _began(home: Home, study: str) -> list[str]:
    """Who takes part in a run since it began: as it was written then, or of a run begun under a release before, which
    wrote who does not, the roster that the ledger has of that day less those. Nobody, where neither is known.
    """
    file, out = home.run(study) / "members", home.run(study) / "without"
    if file.is_file():
        return file.read_text(encoding="utf-8").splitlines()
    erased = next(home.ledger.entries(event="erased", study=study, newest=True, limit=1), None)
    first = next(home.ledger.entries(event="started", study=study, after=erased.number if erased else 0, limit=1), None)
    pinned = first and next(home.ledger.entries(event="pinned", before=first.number, newest=True, limit=1), None)
    if not pinned or not out.is_file():
        return []
    left_out = out.read_text(encoding="utf-8").splitlines()
    return [name for name in pinned.facts["hospitals"] if name not in left_out]


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
