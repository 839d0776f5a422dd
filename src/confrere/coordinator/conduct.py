"""Conducting one run over an engine: start, keys, rounds, end; and again from where all hospitals are, after a fault.

Engine-neutral: an engine gives a `Link` to each hospital (bytes there, bytes back; `Waiting` where no answer came).
What this process knows lives in the run's folder, so that it may be killed at any moment:

    study.toml     the bytes that the stewards approved
    journal        every round's asks and answers
    log.jsonl      a line for every round: seconds and bytes
    progress.json  where the run is, for whoever looks
    found          the findings, once it is over
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confrere import errors, wire
from confrere.analyses.finding import Finding
from confrere.analyses.plain import frozen, thawed
from confrere.coordinator.federation import Federation, Left, Link
from confrere.coordinator.watch import Watch
from confrere.errors import ConfrereError, StudyError, UserError, Waiting
from confrere.journal import Journal, recorded
from confrere.rounds import Round, drive, name_of, supported
from confrere.study import build
from confrere.study.file import Study, parse

STATES: Final = {  # of a run, each with those that may follow it
    "queued": ("running", "cancelled", "expired"),
    "running": ("waiting", "done", "refused", "failed", "cancelled", "expired"),
    "waiting": ("running", "cancelled", "expired"),
    "done": (),
    "refused": (),
    "failed": (),
    "cancelled": (),
    "expired": (),
}
OVER: Final = frozenset(state for state, after in STATES.items() if not after)


@dataclass(frozen=True)
class Found:
    """What a run found: findings and errors by the names of its analyses, and what left each hospital."""

    hospitals: tuple[str, ...]
    findings: Mapping[str, Finding]
    errors: Mapping[str, UserError]
    left: Sequence[Left]
    rounds: int
    bytes: int
    seconds: float


class Folder:
    """The folder of one run at the coordinator."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, path: Path, text: str, without: Sequence[str] = ()) -> Folder:
        """A folder for a study's run `without` some hospitals of the roster; the study is checked.

        Who takes part is fixed once a round was asked: StudyError if it was, of others.
        """
        parse(text, "study.toml")
        path.mkdir(parents=True, exist_ok=True)
        made = cls(path)
        if made.journal.is_file() and made.journal.stat().st_size and set(made.without) != set(without):
            raise StudyError(
                "this study was begun with other hospitals, and a sum less one hospital would show its part"
            )
        _replace(path / "study.toml", text.encode())
        _replace(path / "without.json", json.dumps(sorted(without)).encode())
        return made

    @property
    def without(self) -> tuple[str, ...]:
        """Hospitals of the roster that take no part."""
        file = self.path / "without.json"
        return tuple(json.loads(file.read_bytes())) if file.is_file() else ()

    @property
    def text(self) -> str:
        """The study file, byte for byte."""
        return (self.path / "study.toml").read_text(encoding="utf-8")

    @property
    def study(self) -> Study:
        """The study."""
        return parse(self.text, "study.toml")

    @property
    def journal(self) -> Path:
        """Every round that was answered."""
        return self.path / "journal"

    @contextmanager
    def claimed(self, linger: float = 30.0) -> Iterator[None]:
        """Hold the run against an earlier process of it that is on its way out. `Waiting` if that lingers on."""
        with (self.path / "lock").open("w") as handle:
            end = time.monotonic() + linger
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise Waiting("an earlier attempt of this run still goes on at the coordinator") from None
                    time.sleep(0.2)
            yield

    def say(self, state: str, **facts: Any) -> None:
        """Write down where the run is."""
        line = {"state": state, "at": time.time(), **facts}
        _replace(self.path / "progress.json", json.dumps(line, ensure_ascii=False).encode())

    @property
    def progress(self) -> dict[str, Any]:
        """Where the run is, as it last said: `state`, `at`, and what else there is to say."""
        file = self.path / "progress.json"
        return dict(json.loads(file.read_bytes())) if file.is_file() else {"state": "queued", "at": 0.0}

    def keep(self, found: Found) -> None:
        """Keep what was found."""
        plain = {
            "hospitals": found.hospitals,
            "findings": {n: frozen(f) for n, f in found.findings.items()},
            "errors": {n: (type(e).__name__, str(e)) for n, e in found.errors.items()},
            "order": tuple([*found.findings, *found.errors]),
            "left": tuple(dict(one._asdict()) for one in found.left),
            "rounds": found.rounds,
            "bytes": found.bytes,
            "seconds": found.seconds,
        }
        _replace(self.path / "found", wire.pack(plain))

    @property
    def found(self) -> Found:
        """What was found. StudyError before the run is over."""
        file = self.path / "found"
        if not file.is_file():
            raise StudyError("the run has no findings yet; ask for its status")
        return found_of(file.read_bytes())


def found_of(data: bytes) -> Found:
    """What `Folder.keep` wrote."""
    plain = wire.unpack(data)
    names = [n for n in plain["order"] if n in plain["findings"]]
    return Found(
        tuple(plain["hospitals"]), {n: thawed(plain["findings"][n]) for n in names},
        {n: getattr(errors, kind)(text) for n, (kind, text) in plain["errors"].items()},
        [Left(**one) for one in plain["left"]], plain["rounds"], plain["bytes"], plain["seconds"],
    )  # fmt: skip


def conduct(folder: Folder, links: Mapping[str, Link], *, cancelled: Callable[[], bool] = lambda: False) -> Found:
    """Drive a run to its findings, from the last round that every hospital has learned.

    `Waiting` where a hospital did not answer: call again once all are back. `Refused`, and whatever else is not
    `Waiting`, ends the run.
    """
    study, watch = folder.study, Watch(folder.path / "log.jsonl", folder.path.name)
    with watch.attempt(study.hash):
        return _conducted(folder, study, watch, links, cancelled)


def _conducted(
    folder: Folder, study: Study, watch: Watch, links: Mapping[str, Link], cancelled: Callable[[], bool]
) -> Found:  # fmt: skip
    """One attempt, watched."""
    began, built = time.monotonic(), build.analyses(study)
    federation = Federation(watch.links(links), build.groups_of(study, list(links)))
    folder.say("running", round=0, what="reading the records")
    started = federation.start(study.hash, folder.without, folder.text)
    here = len(Journal(folder.journal).records)
    rounds = min(here, *(s["rounds"] for s in started.values()))
    federation.open(1 + max(s["epoch"] for s in started.values()), rounds)
    number = 0

    def shown(at: int, asks: Round) -> None:
        nonlocal number
        number = at
        what = ", ".join(dict.fromkeys(f"{name_of(a.analysis).lstrip('_')} {a.step}" for a in asks))
        watch.round = (at, what)
        folder.say("running", round=at, what=what)

    answer = recorded(watch.rounds(federation.answer), folder.journal, rounds=rounds, book=federation)
    flow = supported(build.flow_of(study, built))
    results = drive(flow, answer, cancelled=cancelled, progress=shown)
    federation.close()
    named = dict(zip([s.name for s in study.analyses], results, strict=True))
    found = Found(
        tuple(links), {n: f for n, f in named.items() if not isinstance(f, UserError)},
        {n: f for n, f in named.items() if isinstance(f, UserError)}, federation.left, number, federation.bytes,
        time.monotonic() - began,
    )  # fmt: skip
    folder.keep(found)
    folder.say("done", round=number)
    return found


def ended(folder: Folder, error: Exception) -> None:
    """Say that a run is over, and why, in words that the researcher may read."""
    state = "refused" if isinstance(error, ConfrereError) and error.exit_code == 3 else "failed"
    why = str(error) if isinstance(error, ConfrereError) else f"an unexpected {type(error).__name__} at the coordinator"
    folder.say(state, why=why)


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(fresh, path)
