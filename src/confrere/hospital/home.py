"""A hospital's folder: who it is, which tables it has, whom it runs with, what its steward approved, what it has run.

hospital.toml          name, tables, policy; written by `confrere hospital init`, edited by the hospital's steward
identity.key           the long-term key: born here, never leaves, readable by its owner alone
roster.json            the pinned list of hospitals, signed by every one
studies/HASH.*         the bytes of every study that came here, its state, and what the steward said yes to
runs/HASH/             journal, attempts and seed of a run
ledger.sqlite          every ask, answer, refusal, decision and change of policy, in a chain
oppositions.sqlite     which patients opposed, to what; answered.sqlite: whom earlier answers were about
worklists.sqlite       lists of patients for this hospital's clinicians
images.sqlite, images/ clinical pictures, what each may be used for, and the cases that are discussed
engine/                certificates and settings of the transport
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from confrere.data.columns import columns
from confrere.data.engines import LIMITS, is_url, limited
from confrere.data.opposition import Register
from confrere.data.sources import Source
from confrere.errors import DataError, KeysError, LedgerError, Paused, Refused, StudyError
from confrere.hospital.chain import ROTATED
from confrere.hospital.check import asks, reasons
from confrere.hospital.differencing import Answered
from confrere.hospital.ledger import Ledger
from confrere.hospital.manifest import Manifest, manifest
from confrere.hospital.records import Records, records
from confrere.hospital.rules import Rules, written
from confrere.hospital.studies import Approval, Studies
from confrere.hospital.worklists import Worklists
from confrere.images.bank import Bank
from confrere.images.bank_cases import Cases
from confrere.rounds import installed
from confrere.study.file import Study, meant
from confrere.study.life import ANSWERED, LIFE
from confrere.sums import Identity, Roster, rotate
from confrere.sums.files import read_roster, write_private, write_roster, write_rotation
from confrere.sums.proofs import HOSPITAL, signed

_KEYS: Mapping[str, tuple[str, ...]] = {
    "hospital": ("name",),
    "tables": (),
    "data": ("bags",),
    "policy": (),
    "metrics": ("port",),
    "transport": ("proxy",),
    "slides": ("clinicians",),
    "pictures": ("model",),
    "identity": (),
}
KEPT = (
    "hospital.toml", "identity.key", "roster.json", "federation.json", "studies", "runs", "ledger.sqlite",
    "oppositions.sqlite", "answered.sqlite", "worklists.sqlite", "members.key", "imports", "engine",
    "images.sqlite", "images",
)  # fmt: skip
_TABLE = ("path", "table", "encoding", "person", *LIMITS)
_OPPOSED = ("asked", "opposition recorded", "oppositions imported", "consent needed")
_DONE = {"refuse": "refused", "pause": "paused", "resume": "resumed", "revoke": "revoked"}
_WORDS = ("approved", *_DONE.values())


class Home:
    """The folder of one hospital. StudyError where its hospital.toml is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        file = self.path / "hospital.toml"
        if not file.is_file():
            raise StudyError(
                f"{path} is no hospital's folder: hospital.toml is not there. Make it with `hospital init`"
            )
        self._config = _read(file)
        self.name: str = self._config["hospital"]["name"]
        if (self.path / "identity.new").exists():
            self._take_over()

    @classmethod
    def make(cls, path: Path, name: str, tables: Mapping[str, str], person: str = "") -> Home:
        """A new folder with a new identity, and rules that name the methods installed and the columns of its tables.

        `person` is the column of its tables that names the person, by which oppositions are matched. StudyError where
        there is a hospital already. A table that cannot be read yet has no columns to allow.
        """
        if (path / "hospital.toml").exists():
            raise StudyError(f"{path} is a hospital's folder already; its key is not made anew. Choose another folder")
        for folder in (path, path / "studies", path / "runs"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path / "identity.key", Identity.generate().to_bytes())
        files = {table: file if is_url(file) else str(Path(file).absolute()) for table, file in tables.items()}
        lines = [
            "[hospital]",
            f"name = {json.dumps(name)}",
            "",
            "[tables]  # what studies call a table, and where it is",
        ]
        lines += [f"{json.dumps(table)} = {_binding(file, person)}" for table, file in files.items()]
        columns = {table: _columns(file) for table, file in files.items()}
        lines += ["", *written(columns, tuple(installed()))]
        (path / "hospital.toml").write_text("\n".join(lines), encoding="utf-8")
        return cls(path)

    # who

    @property
    def identity(self) -> Identity:
        """The long-term key. StudyError where it is lost: another one would be another hospital's."""
        file = self.path / "identity.key"
        if not file.is_file():
            raise StudyError(
                f"{file} is lost: restore it from the hospital's backup. Where there is none, the hospital is a new "
                "member of the federation: a new folder, a new card, a new roster"
            )
        return Identity.from_bytes(file.read_bytes())

    @property
    def roster(self) -> Roster:
        """The pinned roster, signed by all."""
        file = self.path / "roster.json"
        if not file.is_file():
            raise StudyError(
                f"{self.name} has no roster: pin the one that every hospital signed, `hospital pin ROSTER`"
            )
        return read_roster(file)

    def card(self) -> Path:
        """The file that tells others this hospital's name and public key."""
        file = self.path / f"{self.name}.card.json"
        file.write_text(json.dumps({"name": self.name, "key": self.identity.public.hex()}) + "\n", encoding="utf-8")
        return file

    def sign(self, roster: Path) -> None:
        """Add this hospital's signature to a roster's file. KeysError unless it has this hospital and key."""
        write_roster(roster, read_roster(roster).signed(self.name, self.identity))

    def pin(self, roster: Path) -> tuple[str, ...]:
        """Run from now on with the hospitals of this roster, which all have signed; the others. KeysError otherwise."""
        found = read_roster(roster)
        found.verify()
        if found.keys.get(self.name) != self.identity.public:
            raise KeysError(f"{roster} does not have {self.name} with its present key: an old roster, or another's")
        write_roster(self.path / "roster.json", found)
        self.log("pinned", roster=found.hash.hex(), hospitals=list(found.names))
        return tuple(name for name in found.names if name != self.name)

    def rotate(self) -> Path:
        """A new identity key, which the old one signs over; the file that says so. identity.old keeps the old key."""
        old, new = self.identity, Identity.generate()
        file = self.path / f"{self.name}.rotation.json"
        write_rotation(file, rotate(self.name, old, new))
        write_private(self.path / "identity.old", old.to_bytes())
        write_private(self.path / "identity.new", new.to_bytes())  # the ledger's next key is never lost
        self.ledger.rotate(new)
        self._take_over()
        return file

    def _take_over(self) -> None:
        """Finish a rotation that the ledger knows of; forget one that was interrupted before."""
        fresh = self.path / "identity.new"
        new = Identity.from_bytes(fresh.read_bytes())
        last = next(self.ledger.entries(event=ROTATED, newest=True, limit=1), None)
        if last is not None and last.facts["key"] == new.public.hex():
            write_private(self.path / "identity.key", new.to_bytes())
            self.__dict__.pop("ledger", None)
        fresh.unlink()

    # what

    @property
    def tables(self) -> tuple[str, ...]:
        """What studies call the tables that are here."""
        return tuple(self._config["tables"])

    def source(self, table: str) -> Source:
        """Where the records are that studies call `table`."""
        tables = self._config["tables"]
        if table not in tables:
            raise StudyError(f"[tables] of {self.name} has no {table!r}; {meant(table, tables)}")
        given = tables[table]
        given = {"path": given} if isinstance(given, str) else dict(given)
        path, limits = str(given.pop("path")), {key: given.pop(key) for key in LIMITS if key in given}
        path = limited(path, limits)
        return Source(path if is_url(path) else str(self.path / path), **given)  # an absolute path stays as it is

    @property
    def bags(self) -> dict[str, Path]:
        """[data.bags] of hospital.toml: what studies call the bags of images that are here, and where they are."""
        return {name: self.path / folder for name, folder in self._config.get("data", {}).get("bags", {}).items()}

    @property
    def slide_readers(self) -> tuple[str, ...]:
        """[slides] clinicians of hospital.toml: who may see slides and heat maps; nobody unless named."""
        return tuple(self._config.get("slides", {}).get("clinicians", ()))

    @property
    def picture_model(self) -> Path | None:
        """[pictures] model of hospital.toml: the classifier whose word on a picture those who discuss it see."""
        model = self._config.get("pictures", {}).get("model")
        return self.path / model if model else None

    @property
    def identity_settings(self) -> dict[str, Any]:
        """[identity] of hospital.toml: who signs in to the pages, and how."""
        return dict(self._config.get("identity", {}))

    @property
    def metrics_port(self) -> int | None:
        """The port of 127.0.0.1 on which the hospital's own IT reads metrics; None for nowhere."""
        port = self._config.get("metrics", {}).get("port")
        if not (port is None or (type(port) is int and 0 < port < 65536)):
            file = self.path / "hospital.toml"
            raise StudyError(f"{file}: [metrics] port must be a number, such as 9464, not {port!r}")
        return port

    @property
    def proxy(self) -> SplitResult | None:
        """[transport] proxy of hospital.toml: the proxy through which connections go out; None where there is none."""
        given = self._config.get("transport", {}).get("proxy")
        if given is None:
            return None
        with suppress(ValueError):
            found = urlsplit(given if isinstance(given, str) else "")
            if found.scheme == "http" and found.hostname and found.path in ("", "/") and found.port != 0:
                return found
        file = self.path / "hospital.toml"  # what was given is not said: it may hold a password
        raise StudyError(f'{file}: [transport] proxy must be an address, such as "http://proxy.hospital.example:3128"')

    @cached_property
    def rules(self) -> Rules:
        """[policy] of hospital.toml. StudyError where it is wrong: then nothing is answered, but all can be stopped."""
        return Rules.of(self._config["policy"], str(self.path / "hospital.toml"))

    @cached_property
    def ledger(self) -> Ledger:
        """The chain of everything that happened here. LedgerError where it is gone: another one would hide that."""
        file = self.path / "ledger.sqlite"
        if not file.exists() and any(record.approval for record in self.studies.all()):
            raise _gone(file, "studies were approved here")
        return Ledger(file, self.identity, self.name)

    @cached_property
    def oppositions(self) -> Register:
        """Who opposed, and to what. LedgerError where it is gone."""
        return Register(self._kept("oppositions.sqlite", _OPPOSED))

    @cached_property
    def answered(self) -> Answered:
        """Whom earlier answers were about. LedgerError where it is gone."""
        known, file = self._kept("answered.sqlite", ("asked",)), self.path / "members.key"
        if not file.is_file():
            write_private(file, secrets.token_bytes(32))
        return Answered(known, file.read_bytes())

    def _kept(self, name: str, events: tuple[str, ...]) -> Path:
        """A file that is there since one of these events. A new one would have forgotten what must not be forgotten."""
        file = self.path / name
        if not file.exists() and any(next(self.ledger.entries(event=event, limit=1), None) for event in events):
            raise _gone(file, "the ledger says that it was in use")
        return file

    @cached_property
    def worklists(self) -> Worklists:
        """The lists of patients for this hospital's clinicians."""
        return Worklists(self.path / "worklists.sqlite", self.log, self.rules.worklist_days, self.oppositions.left_out)

    @cached_property
    def images(self) -> Bank:
        """The pictures of this hospital's patients, and what each may be used for. LedgerError where they are gone."""
        place = self._kept("images.sqlite", ("image added",)).parent
        return Bank(place, self.log, lambda use, people: self.oppositions.left_out(use, people))

    @cached_property
    def cases(self) -> Cases:
        """The pictures that are discussed in this hospital, and who may see them."""
        return Cases(self.images.store, self.log)

    def expire(self) -> None:
        """Erase rows of worklists and cases whose days are over, or whose patients oppose; also their rows in bags."""
        try:
            if (self.path / "worklists.sqlite").is_file():
                self.worklists.expire()
        finally:
            if (self.path / "images.sqlite").is_file():
                self.cases.expire()
                self.images.bagged.mend()

    @property
    def members(self) -> tuple[str, ...]:
        """The hospitals of the pinned roster; this one alone before there is one."""
        return self.roster.names if (self.path / "roster.json").is_file() else (self.name,)

    def records(self, study: Study, without: tuple[str, ...] = ()) -> Records:
        """The records that a study would see here."""
        return records(self, study, without)

    @cached_property
    def studies(self) -> Studies:
        """The studies that are known here."""
        return Studies(self.path / "studies")

    # studies

    def check(self, study: Study, *, data: bool = True) -> list[str]:
        """Every reason why this hospital would not answer a study; none if it would. `data`: its records too."""
        return reasons(self, study, manifest(study), data=data)

    def approve(self, text: str, by: str = "steward") -> Study:
        """Write down the steward's yes to a study and its manifest. StudyError where the rules here forbid it."""
        study = self.studies.submit(text, by)
        listed = manifest(study)
        self.note_rules()
        if why := reasons(self, study, listed):
            raise StudyError(f"{self.name} cannot approve {study.id}: {'; '.join(why)}")
        roster = self.roster.hash.hex() if (self.path / "roster.json").is_file() else ""
        approval = Approval.of(study, listed, roster, self.rules.digest)
        self.studies.move(study.hash, "approve", "steward", by, approval=approval, strikes=0)
        asked = {"questions": many} if (many := asks(study)) else {}
        self.log("approved", study=study.hash, id=study.id, by=by, manifest=listed.digest, roster=roster, **asked)
        return study

    def decide(self, study: str, action: str, by: str = "steward", why: str = "") -> None:
        """Refuse, pause, resume or revoke a study: effective before the next round. StudyError where it cannot be."""
        self.studies.move(study, action, "steward", by, why=why, strikes=0)
        self.log(_DONE[action], study=study, by=by, why=why)

    def refuse(self, study: str, by: str = "steward", why: str = "") -> None:
        """Take back the steward's yes, or say no: nothing more is answered under the study."""
        self.decide(study, "refuse", by, why)

    def approved(self, study: str) -> Study:
        """The study of a hash, if asks under it may be answered now. Refused with the reason, which stays here."""
        record = self.studies.record(study)
        if record is None or record.approval is None or record.state in ("submitted", "refused"):
            raise Refused(f"the study {study[:16]} is not approved here")
        if record.state == "paused":
            raise Paused(f"the study {study[:16]} is paused: {record.why or 'by its steward'}")
        if record.state not in ANSWERED:
            raise Refused(f"the study {study[:16]} is {record.state} here")
        return self.studies.study(study)

    def decided(self, study: str) -> None:
        """Hold a study against the words of its steward in the ledger, which is signed. Refused where they differ."""
        words = [e for e in self.ledger.entries(study=study, newest=True) if e.event in _WORDS and "by" in e.facts]
        yes, record = next((e for e in words if e.event == "approved"), None), self.studies.record(study)
        if yes is None or words[0].event not in ("approved", "resumed") or record is None or record.approval is None:
            raise Refused(f"the ledger has no yes to the study {study[:16]}: its state was written by somebody else")
        if yes.facts["manifest"] != Manifest.of(record.approval.manifest).digest:
            raise Refused(f"the manifest of the study {study[:16]} is not the one that was approved")

    def note_rules(self) -> None:
        """Write a change of the rules into the ledger."""
        last = next(self.ledger.entries(event="policy", newest=True, limit=1), None)
        if last is None or last.facts["digest"] != self.rules.digest:
            self.log("policy", digest=self.rules.digest, rules=self.rules.to_dict())

    def run(self, study: str) -> Path:
        """The folder of a study's run."""
        folder = self.path / "runs" / study
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def backup(self, file: Path) -> None:
        """What this hospital could not make again, in one file for its owner alone: keys, roster, approvals, runs, the
        pictures of the bank; not the records themselves. StudyError where the file is there already."""
        if file.exists():
            raise StudyError(f"{file} is there already; a backup overwrites nothing")
        with tempfile.TemporaryDirectory(dir=file.absolute().parent) as place:  # it is for its owner alone
            part = Path(place) / "whole"
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as whole, tarfile.open(fileobj=whole, mode="w:gz") as tar:
                for name in KEPT:
                    found = self.path / name
                    if found.exists():
                        copy = _copied(found, Path(place)) if found.suffix == ".sqlite" else found
                        tar.add(copy, arcname=name, filter=_plain)
            with part.open("rb") as made:
                os.fsync(made.fileno())
            os.replace(part, file)
        self.log("backed up", file=file.name)

    @classmethod
    def restore(cls, file: Path, path: Path) -> Home:
        """A hospital's folder from its backup, on a new machine; the pictures of its bank are held. StudyError where
        there is a hospital already."""
        if (path / "hospital.toml").exists():
            raise StudyError(f"{path} is a hospital's folder already; restore into an empty one")
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with tarfile.open(file, "r:gz") as tar:
                tar.extractall(path, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise StudyError(f"{file} is no backup of a hospital ({type(error).__name__})") from None
        restored = cls(path)
        held = restored.images.restored() if (path / "images.sqlite").is_file() else 0
        restored.log("restored", file=file.name, held=held)
        return restored

    def erase(self, study: str, *, lists: bool = False) -> dict[str, str]:
        """Remove what is kept of a study's run, and its approval; what proves it. StudyError if there is none.

        `lists` removes its worklists too, with all that clinicians noted; else a new run takes them up.
        """
        folder = self.path / "runs" / study
        if not (study.isalnum() and folder.is_dir()):
            raise StudyError(f"{self.name} keeps nothing of the study {study[:16]}")
        journal = folder / "journal"
        proof = {
            "hospital": self.name, "study": study, "erased": datetime.now(UTC).isoformat(timespec="seconds"),
            "journal_sha256": hashlib.sha256(journal.read_bytes()).hexdigest() if journal.is_file() else "",
            "worklists": ", ".join(self.worklists.erase(study)) if lists else "",
        }  # fmt: skip
        shutil.rmtree(folder)
        if (record := self.studies.record(study)) and "refuse" in LIFE[record.state]:
            self.refuse(study, why="erased")
        self.log("erased", **proof)
        return signed(HOSPITAL, proof, self.identity)

    def log(self, event: str, **facts: Any) -> None:
        """Add an entry to the ledger, which stays here. No patient's value is ever among the facts."""
        self.ledger.write(event, facts)


def _gone(file: Path, why: str) -> LedgerError:
    return LedgerError(f"{file.name} is gone, and {why}. Nothing is answered; restore it from the hospital's backup")


def _binding(file: str, person: str) -> str:
    """Where a table is, as hospital.toml has it."""
    path = json.dumps(file)
    return f"{{path = {path}, person = {json.dumps(person)}}}" if person else path


def _columns(file: str) -> tuple[str, ...]:
    """The columns of a table that is there; none of one that cannot be read yet."""
    try:
        return columns(file)
    except DataError:
        return ()


def _copied(database: Path, place: Path) -> Path:
    """A whole copy of a database that others may be writing."""
    with closing(sqlite3.connect(database)) as one, closing(sqlite3.connect(place / database.name)) as other:
        one.backup(other)
    return place / database.name


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files and folders of a backup, without owners; sockets and pids of running processes are left out."""
    if not (entry.isfile() or entry.isdir()) or entry.name.endswith(".pid"):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _read(file: Path) -> dict[str, Any]:
    """hospital.toml, its keys checked."""
    try:
        config = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{file}: {error}") from None
    for table in config:
        if table not in _KEYS:
            raise StudyError(f"{file}: [{table}] is not known; {meant(table, _KEYS)}")
        for key in config[table] if _KEYS[table] else ():
            if key not in _KEYS[table]:
                raise StudyError(f"{file}: [{table}] {key} is not known; {meant(key, _KEYS[table])}")
    if not isinstance(config.get("hospital", {}).get("name"), str):
        raise StudyError(f"{file}: [hospital] name is missing; it is the hospital's name in the roster")
    for name, given in config.setdefault("tables", {}).items():
        known = isinstance(given, dict) and "path" in given and set(given) <= set(_TABLE)
        if not (isinstance(given, str) or known):
            raise StudyError(f"{file}: [tables] {name} must be a path, or a table with {', '.join(_TABLE)}")
    bags = config.get("data", {}).get("bags", {})
    if not isinstance(bags, dict) or not all(isinstance(folder, str) for folder in bags.values()):
        raise StudyError(f'{file}: [data.bags] must give each name a folder, such as slides = "slides.bags"')
    clinicians = config.get("slides", {}).get("clinicians", [])
    if not isinstance(clinicians, list) or not all(isinstance(who, str) for who in clinicians):
        raise StudyError(f'{file}: [slides] clinicians must be a list of names, such as ["dr.curie"]')
    if not isinstance(config.get("pictures", {}).get("model", ""), str):
        raise StudyError(f"{file}: [pictures] model must be a file, such as models/classifier.json")
    config.setdefault("policy", {})
    return config
