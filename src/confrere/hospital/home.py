"""A hospital's folder: who it is, which tables it has, whom it runs with, what its steward approved, what it has run.

hospital.toml          name, tables, policy; written by `confrere hospital init`, edited by the hospital
identity.key           the long-term key: born here, never leaves, readable by its owner alone
roster.json            the pinned list of hospitals, signed by every one
approved/HASH.toml     the bytes of every study that the steward said yes to
runs/HASH/             journal, attempts and seed of a run; log.jsonl: what was refused, and why
engine/                certificates and settings of the transport
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confrere.data.sources import Source
from confrere.errors import KeysError, Refused, StudyError
from confrere.study.file import K, Study, meant, parse
from confrere.sums import Identity, Roster, rotate
from confrere.sums.files import read_roster, write_private, write_roster, write_rotation

_KEYS: Mapping[str, tuple[str, ...]] = {
    "hospital": ("name",),
    "tables": (),
    "policy": ("k", "allow"),
}
KEPT = ("hospital.toml", "identity.key", "roster.json", "federation.json", "approved", "runs", "log.jsonl", "engine")
_TABLE = ("path", "table", "encoding")


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

    @classmethod
    def make(cls, path: Path, name: str, tables: Mapping[str, str]) -> Home:
        """A new folder with a new identity. StudyError where there is a hospital already."""
        if (path / "hospital.toml").exists():
            raise StudyError(f"{path} is a hospital's folder already; its key is not made anew. Choose another folder")
        for folder in (path, path / "approved", path / "runs"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path / "identity.key", Identity.generate().to_bytes())
        lines = [
            "[hospital]",
            f"name = {json.dumps(name)}",
            "",
            "[tables]  # what studies call a table, and where it is",
        ]
        lines += [f"{json.dumps(table)} = {json.dumps(str(Path(file).absolute()))}" for table, file in tables.items()]
        lines += ["", "[policy]", f"k = {K}  # people behind every number that leaves, or more"]
        lines += ["allow = []  # disclosure classes that studies may ask for here", ""]
        (path / "hospital.toml").write_text("\n".join(lines), encoding="utf-8")
        return cls(path)

    # who

    @property
    def identity(self) -> Identity:
        """The long-term key."""
        return Identity.from_bytes((self.path / "identity.key").read_bytes())

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
        write_private(self.path / "identity.key", new.to_bytes())
        self.log("rotated", fingerprint=new.fingerprint)
        return file

    # what

    def source(self, table: str) -> Source:
        """Where the records are that studies call `table`."""
        tables = self._config["tables"]
        if table not in tables:
            raise StudyError(f"[tables] of {self.name} has no {table!r}; {meant(table, tables)}")
        given = tables[table]
        given = {"path": given} if isinstance(given, str) else dict(given)
        path = Path(given.pop("path"))
        return Source(str(path if path.is_absolute() else self.path / path), **given)

    @property
    def k(self) -> int:
        """People behind every number that leaves: the hospital's own word, where it is stricter than the study's."""
        return int(self._config["policy"].get("k", K))

    @property
    def allow(self) -> frozenset[str]:
        """Disclosure classes that studies may ask for at this hospital."""
        return frozenset(self._config["policy"].get("allow", ()))

    # studies

    def approve(self, text: str) -> Study:
        """Write down the steward's yes to the bytes of a study. StudyError where the hospital's policy forbids it."""
        study = parse(text, "study.toml")
        if strange := sorted(set(study.allow) - self.allow):
            raise StudyError(
                f"the study asks for {', '.join(strange)}, which [policy] allow of {self.name} does not name; "
                f"add the word there if you accept what it means"
            )
        self.source(study.table)
        (self.path / "approved" / f"{study.hash}.toml").write_text(text, encoding="utf-8")
        self.log("approved", study=study.hash, id=study.id)
        return study

    def refuse(self, study: str) -> None:
        """Take back the steward's yes, if there was one: nothing more is answered under the study."""
        (self.path / "approved" / f"{study}.toml").unlink(missing_ok=True)
        self.log("refused", study=study)

    def approved(self, study: str) -> Study:
        """The approved study of a hash. Refused where the steward has not said yes to exactly these bytes."""
        file = self.path / "approved" / f"{study}.toml"
        if not (study.isalnum() and file.is_file()):
            raise Refused(f"the study {study[:16]} is not approved here")
        found = parse(file.read_text(encoding="utf-8"), file.name)
        if found.hash != study:
            raise Refused(f"{file.name} was changed since it was approved")
        return found

    def run(self, study: str) -> Path:
        """The folder of a study's run."""
        folder = self.path / "runs" / study
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def backup(self, file: Path) -> None:
        """What this hospital could not make again, in one file for its owner alone: keys, roster, approvals, runs.

        The records themselves are not in it. KeysError where the file is there already.
        """
        if file.exists():
            raise StudyError(f"{file} is there already; a backup overwrites nothing")
        with tempfile.TemporaryFile() as whole:
            with tarfile.open(fileobj=whole, mode="w:gz") as tar:
                for name in KEPT:
                    if (self.path / name).exists():
                        tar.add(self.path / name, arcname=name, filter=_plain)
            whole.seek(0)
            write_private(file, whole.read())
        self.log("backed up", file=file.name)

    @classmethod
    def restore(cls, file: Path, path: Path) -> Home:
        """A hospital's folder from its backup, on a new machine. StudyError where there is a hospital already."""
        if (path / "hospital.toml").exists():
            raise StudyError(f"{path} is a hospital's folder already; restore into an empty one")
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with tarfile.open(file, "r:gz") as tar:
                tar.extractall(path, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise StudyError(f"{file} is no backup of a hospital ({type(error).__name__})") from None
        restored = cls(path)
        restored.log("restored", file=file.name)
        return restored

    def erase(self, study: str) -> dict[str, str]:
        """Remove what is kept of a study's run, and its approval; what proves it. StudyError if there is none."""
        folder = self.path / "runs" / study
        if not (study.isalnum() and folder.is_dir()):
            raise StudyError(f"{self.name} keeps nothing of the study {study[:16]}")
        journal = folder / "journal"
        proof = {
            "hospital": self.name, "study": study, "erased": datetime.now(UTC).isoformat(timespec="seconds"),
            "journal_sha256": hashlib.sha256(journal.read_bytes()).hexdigest() if journal.is_file() else "",
        }  # fmt: skip
        shutil.rmtree(folder)
        self.refuse(study)
        self.log("erased", **proof)
        return {**proof, "signature": self.identity.sign("erasure", *(v.encode() for v in proof.values())).hex()}

    def log(self, event: str, **facts: Any) -> None:
        """Add a line to log.jsonl, which stays here. No patient's value is ever among the facts."""
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())


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
    config.setdefault("policy", {})
    return config
