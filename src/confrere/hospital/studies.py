"""The studies that a hospital knows, each with its state, what its steward approved, and the bytes of its file.

studies/HASH.toml   the study file, byte for byte
studies/HASH.json   a `Record`: state, who moved it there, and the approval with its manifest

A move is checked against the table of `study.life` and written whole or not at all; what happened before is in the
ledger. A study that nobody here has decided about waits in the inbox, as `submitted`; how many can, is bounded.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from confrere import wire
from confrere.errors import Refused, StudyError
from confrere.hospital.manifest import Manifest
from confrere.rounds import find, installed
from confrere.study.file import Study, parse
from confrere.study.life import moved
from confrere.sums.files import write_private

INBOX: Final = 200  # studies that may wait for a decision; more are not taken in
_HEX: Final = frozenset("0123456789abcdef")
STRIKES: Final = 3  # refused messages after which a study is paused


@dataclass(frozen=True)
class Approval:
    """What a yes is to, beside the study's hash: nothing else may be asked under it.

    manifest  what may leave, plain; `manifest_sha256` is its digest
    roster    hash of the pinned roster; software: release and methods, by their code
    rules     digest of the hospital's rules at the time
    """

    manifest: Mapping[str, Any]
    manifest_sha256: str
    roster: str
    software: str
    rules: str

    @classmethod
    def of(cls, study: Study, manifest: Manifest, roster: str, rules: str) -> Approval:
        """The approval of a study as things stand now."""
        return cls(manifest.to_dict(), manifest.digest, roster, software(study), rules)


@dataclass(frozen=True)
class Record:
    """One study at this hospital."""

    study: str
    state: str
    at: str
    by: str
    why: str = ""
    strikes: int = 0
    approval: Approval | None = None


def software(study: Study) -> str:
    """The release, and the code of the methods that a study names, and of installed modules of networks: an update of
    any needs a new yes."""
    import importlib.util
    from importlib.metadata import entry_points

    digest = hashlib.sha256(repr(wire.release()).encode())
    modules = {spec.settings.get("module") for spec in study.analyses}
    names = [find(method).__module__ for method in sorted({s.method for s in study.analyses} & set(installed()))]
    names += sorted({e.module for e in entry_points(group="confrere.modules") if e.name in modules})
    for name in names:
        spec = importlib.util.find_spec(name)
        digest.update(Path(str(spec.origin)).read_bytes() if spec is not None else b"")
    return digest.hexdigest()


class Studies:
    """The folder of studies of one hospital."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def submit(self, text: str, by: str) -> Study:
        """Put a study into the inbox, unless it is known. StudyError where it is no study; Refused if that is full."""
        study = parse(text, "study.toml")
        if hidden := sorted({c for c in _texts(study.to_dict()) if _hidden(c)}):
            raise StudyError(f"the study has the character U+{ord(hidden[0]):04X}, which nobody sees; leave it out")
        if self.record(study.hash) is None:
            if sum(r.state == "submitted" for r in self.all()) >= INBOX:
                raise Refused(f"{INBOX} studies wait for a decision here; decide about some first")
            with self._alone():
                write_private(self._text(study.hash), text.encode())
                self._save(Record(study.hash, moved("draft", "submit", "researcher"), _now(), by))
        return study

    def move(self, study: str, action: str, role: str, by: str, **said: Any) -> Record:
        """Move a study by an action of a role. StudyError where the table does not allow it, or nobody knows it.

        `said` is what else is to be remembered: `why`, `approval`, `strikes`.
        """
        with self._alone():
            known = self._known(study)
            state = moved(known.state, action, role)
            new = replace(known, state=state, at=_now(), by=by, **({"why": ""} | said))
            self._save(new)
        return new

    def strike(self, study: str) -> int:
        """Count a refused message against a study; how many it has now."""
        with self._alone():
            known = self._known(study)
            self._save(replace(known, strikes=known.strikes + 1))
        return known.strikes + 1

    def record(self, study: str) -> Record | None:
        """What is known of a study's hash; None if nothing is."""
        file = self.path / f"{study}.json"
        if not (len(study) == 64 and set(study) <= _HEX and file.is_file()):  # a hash, and no path
            return None
        plain = json.loads(file.read_text(encoding="utf-8"))
        approval = Approval(**plain["approval"]) if plain["approval"] else None
        return Record(**plain | {"approval": approval})

    def study(self, study: str) -> Study:
        """The study of a hash. Refused where its file was changed since it came."""
        file = self._text(study)
        found = parse(file.read_text(encoding="utf-8"), file.name)
        if found.hash != study:
            raise Refused(f"{file.name} was changed since it was approved")
        return found

    def text(self, study: str) -> str:
        """The study file, byte for byte."""
        return self._text(study).read_text(encoding="utf-8")

    def all(self, states: Sequence[str] = ()) -> list[Record]:
        """All that are known, or those in some states; what moved last comes first."""
        found = (self.record(file.stem) for file in self.path.glob("*.json"))
        kept = [r for r in found if r is not None and (not states or r.state in states)]
        return sorted(kept, key=lambda r: r.at, reverse=True)

    def _known(self, study: str) -> Record:
        record = self.record(study)
        if record is None:
            raise StudyError(f"the study {study[:16]} is not known here")
        return record

    def _text(self, study: str) -> Path:
        return self.path / f"{study}.toml"

    def _save(self, record: Record) -> None:
        text = json.dumps(asdict(record), ensure_ascii=False, indent=1)
        write_private(self.path / f"{record.study}.json", text.encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time: a steward pauses while a run goes on."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _texts(value: Any) -> Iterator[str]:
    """The characters of all texts in plain data."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    for one in value if isinstance(value, list | tuple | str) else ():
        yield from ([one] if isinstance(value, str) else _texts(one))


def _hidden(character: str) -> bool:
    """Whether a character would show a steward something else than is there: it moves, colours or hides others."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") and character not in "\n\r\t"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
