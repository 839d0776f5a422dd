"""`confrere demo --federated`: an authority, a coordinator and hospitals as processes on loopback, over TLS.

It goes the way that the documentation tells people to go, by the same functions: every site makes its keys, the
authority signs the transport's certificates, all sign the roster and pin it, every steward approves the study, the
researcher submits it over HTTPS and fetches what was found. What a real site would keep lies in HOME.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from confrere import kits
from confrere.console.client import Remote
from confrere.console.demo import text_of
from confrere.console.output import Progress, checked, delivered
from confrere.coordinator import roster
from confrere.coordinator.book import Book
from confrere.coordinator.home import Home as CoordinatorHome
from confrere.errors import StudyError, Waiting
from confrere.hospital.home import Home
from confrere.study.file import Study, parse

if TYPE_CHECKING:
    import pandas as pd

MOST = 5  # hospitals as processes on one machine
START = 120.0  # seconds in which a federation of this size is up, on a slow machine


def federate(
    name: str, hospitals: Mapping[str, pd.DataFrame], out: Path, lang: str, deadline: float | None, home: Path | None
) -> None:  # fmt: skip
    """Run a demo's study over a federation of processes, write and show its results, stop and clean up."""
    checked(out, lang, deadline)
    if len(hospitals) > MOST:
        raise StudyError(f"the demo '{name}' has {len(hospitals)} hospitals, too many processes for one machine")
    with tempfile.TemporaryDirectory() as temporary, Progress("making keys and certificates") as progress:
        place = home.absolute() if home else Path(temporary)
        text = text_of(name)
        token = found(place, hospitals, text)
        progress.say("starting a coordinator and hospitals")
        with serving(place, list(hospitals)):
            remote = remote_of(place, token)
            _until_up(remote, list(hospitals))
            study = place / "study.toml"
            study.write_text(text, encoding="utf-8")
            run = str(remote.submit(study, deadline=deadline)["run"])
            remote.wait(run, progress=lambda said: progress.say(f"{said['state']} {said.get('what', said['why'])}"))
            results = remote.fetch(run, study)
            remote.close()
        progress.say("writing the report")
        delivered(results, out, lang)


def found(place: Path, hospitals: Mapping[str, pd.DataFrame], text: str) -> str:
    """Found a federation in a folder, every site in its own; the researcher's token. StudyError if one is there."""
    if (place / "authority").exists():
        raise StudyError(f"{place} holds a federation already; choose another --home")
    fingerprint = kits.make_authority(place / "authority", kits.Profile("demo", "localhost", *_free(3)))
    profile = kits.Profile.read(place / "authority" / "federation.json")
    coordinator = CoordinatorHome.make(place / "coordinator")
    study = parse(text)
    homes = [_hospital(place / "hospitals" / n, study, frame) for n, frame in hospitals.items()]
    for folder in (coordinator.path, *(home.path for home in homes)):
        profile.write(folder / "federation.json")
    sites = [kits.Ask(h.path, "client", h.name) for h in homes]
    sites += [kits.Ask(coordinator.path, "server", profile.host), kits.Ask(coordinator.path, "runner", kits.RUNNER)]
    signed = kits.approve(place / "authority", *kits.request(profile, *sites))
    kits.install(fingerprint, *((site.home, answer) for site, answer in zip(sites, signed, strict=True)))
    listed = place / "roster.json"
    roster.assemble([h.card() for h in homes], listed)
    for one in homes:
        one.sign(listed)
    for one in homes:
        one.pin(listed)
        one.approve(text)
    roster.pin(listed, coordinator.path)
    return Book(coordinator.database).token("researcher")


def _hospital(path: Path, study: Study, frame: pd.DataFrame) -> Home:
    """A hospital's folder with its records."""
    path.mkdir(parents=True)
    records = path / f"{study.table}.csv"
    frame.to_csv(records, index=False)
    return Home.make(path, kits.checked(path.name), {study.table: str(records)}, study.person or "")


@contextmanager
def serving(place: Path, names: list[str]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The serving processes of a federation, as their users would start them; stopped at the end."""
    processes = {"coordinator": start(place, "coordinator")}
    try:
        for name in names:
            processes[name] = start(place, name)
        yield processes
    finally:
        for process in processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def start(place: Path, name: str) -> subprocess.Popen[bytes]:
    """`confrere coordinator serve`, or `confrere hospital serve` of a hospital."""
    side = "coordinator" if name == "coordinator" else "hospital"
    home = place / "coordinator" if name == "coordinator" else place / "hospitals" / name
    with (home / "serve.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "confrere", side, "serve", "--home", str(home)],
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def remote_of(place: Path, token: str) -> Remote:
    """The researcher's connection to a federation in a folder."""
    profile = kits.Profile.read(place / "authority" / "federation.json")
    return Remote(f"https://{profile.host}:{profile.api_port}", token, place / "authority" / "authority.pem")


def _until_up(remote: Remote, names: list[str]) -> None:
    """Wait until the coordinator answers and every hospital is connected. `Waiting` says who is not."""
    end, missing = time.monotonic() + START, [*names]
    while missing:
        with suppress(Waiting):
            seen = remote.health()["hospitals"]
            missing = [n for n in names if not seen[n]["connected"]]
        if time.monotonic() > end:
            raise Waiting(f"after {START:g} s {', '.join(missing)} did not connect; the logs are in the sites' folders")
        time.sleep(0.2)


def _free(many: int) -> list[int]:
    """Ports of loopback that are free now, below those that systems give to outgoing connections: they stay free."""
    found: list[int] = []
    for port in random.sample(range(12000, 32000), 1000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == many:
            return found
    raise StudyError("no port of loopback between 12000 and 32000 is free")
