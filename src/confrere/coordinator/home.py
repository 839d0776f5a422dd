"""The coordinator's folder.

coordinator.toml   where it serves; written by `confrere coordinator init`, edited by whoever runs it
roster.json        the hospitals, signed by every one of them: here only to know their names
runs/RUN/          study, journal, progress, log and findings of every run
engine/            certificates and settings of the transport, its jobs and its state
proof.key          signs proofs that a run was erased, and nothing else; made by the first
erased.jsonl       these proofs
state.db           runs and tokens, unless coordinator.toml names another database
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confrere.coordinator.conduct import Folder
from confrere.errors import StudyError
from confrere.study.file import meant
from confrere.sums.files import read_roster

_DEFAULTS: Mapping[str, Any] = {
    "listen": "127.0.0.1",  # address of the service for researchers
    "database": "",  # URL; "" is state.db in this folder
    "runs": 4,  # at once
    "round_seconds": 600.0,  # to wait for one answer of one hospital
    "deadline_hours": 168.0,  # of a run, unless the researcher gives another
    "release.readers": 0,  # people who must read findings before the researcher does: 0 where all checks pass, 1 or 2
    "keep_days": 365.0,  # after which findings and journals of runs that are over are removed
    "pages.listen": "127.0.0.1",  # address of the pages
    "pages.port": 0,  # of the pages; 0 is 8444 where there is an [identity], and no pages where there is none
    "pages.certificate": "",  # file of the pages' certificate with its chain; "" is none: plain, behind a proxy
    "pages.key": "",  # file of its key
    "traces": "",  # URL of an OpenTelemetry collector (OTLP over HTTP); "" is none, unless the environment names one
}


class Home:
    """The coordinator's folder. StudyError where its coordinator.toml is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        file = self.path / "coordinator.toml"
        if not file.is_file():
            raise StudyError(f"{path} is no coordinator's folder: make it with `confrere coordinator init`")
        try:
            given = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StudyError(f"{file}: {error}") from None
        identity = given.pop("identity", {})
        if not isinstance(identity, dict):
            raise StudyError(f"{file}: write [identity] as a table, in single brackets")
        self.identity: dict[str, Any] = identity  # who signs in to the pages, and how: read by the console
        given = _flat(given)
        for key, value in given.items():
            if key not in _DEFAULTS:
                raise StudyError(f"{file}: {key} is not known; {meant(key, _DEFAULTS)}")
            if type(value) is not type(_DEFAULTS[key]) and not (
                isinstance(value, int) and isinstance(_DEFAULTS[key], float)
            ):
                raise StudyError(f"{file}: {key} must be a {type(_DEFAULTS[key]).__name__}, not {value!r}")
        self.settings: dict[str, Any] = {**_DEFAULTS, **given}
        if self.readers not in (0, 1, 2):
            raise StudyError(f"{file}: release.readers is {self.readers}; it must be 0, 1 or 2")

    @classmethod
    def make(cls, path: Path) -> Home:
        """A new folder. StudyError where there is a coordinator already."""
        if (path / "coordinator.toml").exists():
            raise StudyError(f"{path} is a coordinator's folder already")
        for folder in (path, path / "runs"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = ["# what the coordinator may be told; every line is a default"]
        lines += [f"# {key} = {_written(value)}" for key, value in _DEFAULTS.items()]
        (path / "coordinator.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return cls(path)

    @property
    def database(self) -> str:
        """The URL of the service's database."""
        return str(self.settings["database"]) or f"sqlite:///{self.path / 'state.db'}"

    @property
    def readers(self) -> int:
        """People who must read findings before they leave the airlock."""
        return int(self.settings["release.readers"])

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        """Files of the pages' certificate and its key; None where there is none. StudyError for one alone."""
        chain, key = str(self.settings["pages.certificate"]), str(self.settings["pages.key"])
        if bool(chain) != bool(key):
            raise StudyError(f"{self.path / 'coordinator.toml'}: [pages] needs both certificate and key, or neither")
        return (self.path / chain, self.path / key) if chain else None

    @property
    def members(self) -> tuple[str, ...]:
        """The hospitals of the roster."""
        file = self.path / "roster.json"
        if not file.is_file():
            raise StudyError(f"{self.path} has no roster.json: put the one there that every hospital signed")
        roster = read_roster(file)
        roster.verify()
        return roster.names

    @property
    def logs(self) -> list[Path]:
        """The logs of all runs."""
        return sorted((self.path / "runs").glob("*/log.jsonl"))

    def folder(self, run: str) -> Folder:
        """The folder of a run."""
        return Folder(self.path / "runs" / run)


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, those of a table after its name and a point: `[release] readers` is `release.readers`."""
    tables = {
        f"{table}.{key}": v for table, inner in given.items() if isinstance(inner, dict) for key, v in inner.items()
    }
    return {key: value for key, value in given.items() if not isinstance(value, dict)} | tables


def _written(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
