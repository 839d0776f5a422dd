"""Pages of a hospital with a thousand studies: milliseconds per page, and fifty people at once.

    python -m benchmarks.pages [--studies 1000] [--out DIR]

The server is a process of its own, asked over loopback; sessions are those of people who have signed in. The first look
at each page is not in its median: it reads what the pages then keep (`hospital_folder.py`), and stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pandas as pd

from benchmarks.machine import described
from confrere.console.pages.hospital import made
from confrere.console.pages.hospital_folder import Hospital
from confrere.console.pages.laptop import Link, listening
from confrere.console.pages.sessions import Person, Sessions
from confrere.console.pages.settings import IdentitySettings
from confrere.data.opposition import Said
from confrere.hospital.home import Home
from confrere.hospital.manifest import manifest
from confrere.hospital.studies import Approval, Record
from confrere.study.file import Study, parse
from confrere.study.worklist import Worklist

USERS: Final = 50
EACH: Final = 20  # requests of one of them
TIMES: Final = 25  # requests behind a median
ROUNDS: Final = 10  # of a study that has run
STATES: Final = ("submitted", "approved", "done", "done", "paused", "refused")
PERSON: Final = Person("ada", "Ada", ("steward", "clinician", "operator"))
STUDY: Final = """
[study]
id = "study-{i}"
title = "Study {i} of recurrence after surgery"
purpose = "public-interest research"
[data]
table = "breast"
person = "pid"
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + age + nodes"
ties = "efron"
baseline = "per hospital"
"""


def filled(path: Path, studies: int) -> Home:
    """A hospital with so many studies in all states, what their runs left in the ledger, oppositions, a worklist."""
    table = pd.DataFrame({"pid": [str(i) for i in range(3000)]})
    for i, name in enumerate(("rtime", "recur", "hormon", "age", "nodes")):
        table[name] = [(7 * row + i) % 50 for row in range(len(table))]
    path.mkdir(parents=True)
    table.to_csv(path / "breast.csv", index=False)
    home = Home.make(path / "home", "curie", {"breast": str(path / "breast.csv")})
    toml = home.path / "hospital.toml"
    bound = json.dumps(str(path / "breast.csv"))
    text = toml.read_text(encoding="utf-8").replace(
        f'"breast" = {bound}', f'breast = {{path = {bound}, person = "pid"}}'
    )
    toml.write_text(text, encoding="utf-8")
    home = Home(home.path)
    home.oppositions.add([Said(str(i), "*", "opposed", "2026-03-01", "letter") for i in range(5_000)])
    first = parse(STUDY.format(i=0))
    listed = manifest(first)
    approval = Approval.of(first, listed, "", home.rules.digest)
    for i in range(studies):
        text = STUDY.format(i=i)
        study, state = parse(text), STATES[i % len(STATES)]
        yes = approval if state in ("approved", "done", "paused") else None
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = Record(study.hash, state, at, "ada", approval=yes)
        (home.studies.path / f"{study.hash}.toml").write_text(text, encoding="utf-8")  # `submit` looks at all others
        (home.studies.path / f"{study.hash}.json").write_text(json.dumps(asdict(record)), encoding="utf-8")
        home.ledger.write_many(entries(study, state))
    rows = pd.DataFrame({"pid": [str(i) for i in range(200)], "age": [60.0 + i % 30 for i in range(200)]})
    kept = Worklist("Old and large", "call them", ("age >= 60",), rows, (("met",),) * 200)
    home.worklists.grant(home.worklists.keep(first.hash, first.purpose, kept), PERSON.id)
    return home


def entries(study: Study, state: str) -> list[tuple[str, dict[str, Any]]]:
    """What a study leaves in the ledger."""
    found: list[tuple[str, dict[str, Any]]] = [("submitted", {"study": study.hash, "id": study.id})]
    if state == "submitted":
        return found
    if state == "refused":
        return [*found, ("refused", {"study": study.hash, "by": "ada", "why": "not this year"})]
    found.append(("approved", {"study": study.hash, "id": study.id, "by": "ada", "manifest": "5f" * 32, "roster": ""}))
    if state != "done":
        return found
    found.append(("started", {"study": study.hash, "rounds": 0, "cut": "2026-11-22"}))
    left = [{"analysis": "recurrence", "step": "slope", "name": name, "shape": [3], "people": 2982} for name in "ab"]
    for number in range(1, ROUNDS + 1):
        found.append(("asked", {"study": study.hash, "round": number, "asks": ["recurrence slope"]}))
        found.append(("answered", {"study": study.hash, "round": number, "bytes": 1408, "left": left}))
    return [*found, ("done", {"study": study.hash, "numbers": 180})]


def serving(path: str, port: int) -> None:
    """The server, in a process of its own."""
    import uvicorn

    link = Link(lambda said: None, port)
    uvicorn.Server(
        listening(made(Hospital(Path(path)), IdentitySettings(), link), IdentitySettings(), "127.0.0.1", port)
    ).run()


def paths(home: Home) -> dict[str, str]:
    """The pages that are measured, by name."""
    run = parse(STUDY.format(i=2)).hash
    waits = parse(STUDY.format(i=0)).hash
    return {
        "overview": "/", "studies": "/studies", "studies, last page": "/studies?page=99",
        "studies, found": "/studies?find=study-77", "a study that ran": f"/studies/{run}",
        "a study that waits": f"/studies/{waits}", "rules": "/policy", "what left": "/left",
        "oppositions": "/oppositions", "ledger": "/ledger", "ledger, an event": "/ledger?event=refused",
        "ledger, a study": f"/ledger?study={run}", "worklists": "/worklists",
        "a worklist of 200": f"/worklists/{home.worklists.heads()[0].name}", "connection": "/connection",
    }  # fmt: skip


def sessions(home: Home, number: int) -> list[str]:
    """Cookies of people who have signed in."""
    store = Sessions(home.path / "sessions.sqlite")
    return [store.begin(PERSON).id for _ in range(number)]


def medians(url: str, home: Home, times: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each page: the first, the median, the slowest of the others."""
    found = {}
    for name, path in paths(home).items():
        (cookie,) = sessions(home, 1)
        with httpx.Client(base_url=url, cookies={"confrere": cookie}, timeout=60) as client:
            took = []
            for _ in range(times + 1):
                begin = time.perf_counter()
                client.get(path).raise_for_status()
                took.append(1000 * (time.perf_counter() - begin))
        found[name] = {"first": took[0], "median": statistics.median(took[1:]), "slowest": max(took[1:])}
    return found


async def together(url: str, home: Home, users: int, each: int) -> dict[str, float]:
    """People at once, each with a session and a request after the other: errors, seconds, milliseconds."""
    pages, took, wrong = list(paths(home).values()), list[float](), 0

    async def one(at: int, cookie: str) -> None:
        nonlocal wrong
        given: Any = {"base_url": url, "cookies": {"confrere": cookie}, "timeout": 60, "verify": False}
        async with httpx.AsyncClient(**given) as client:
            for i in range(each):
                begin = time.perf_counter()
                try:
                    good = (await client.get(pages[(at + i) % len(pages)])).status_code == 200
                except httpx.TransportError:
                    good = False
                wrong += not good
                took.append(1000 * (time.perf_counter() - begin))

    begin = time.perf_counter()
    await asyncio.gather(*(one(at, cookie) for at, cookie in enumerate(sessions(home, users))))
    seconds = time.perf_counter() - begin
    return {
        "users": users, "requests": len(took), "errors": wrong, "per_second": len(took) / seconds,
        "median": statistics.median(took), "p95": sorted(took)[int(0.95 * len(took))],
    }  # fmt: skip


def measured(folder: Path, studies: int, users: int = USERS, each: int = EACH, times: int = TIMES) -> dict[str, Any]:
    """All figures."""
    home = filled(folder / "hospital", studies)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=serving, args=(str(home.path), port), daemon=True)
    process.start()
    try:
        url = f"http://127.0.0.1:{port}"
        wait(url)
        pages = medians(url, home, times)
        load = asyncio.run(together(url, home, users, each))
    finally:
        process.terminate()
        process.join(10)
    return {"studies": studies, "entries": len(home.ledger), "pages": pages, "together": load}


def wait(url: str) -> None:
    """Until the server answers, for a minute at most."""
    for _ in range(600):
        try:
            httpx.get(f"{url}/sign-in")
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"no server answers at {url}")


def main() -> None:
    """Measure, print, and write pages.json if a folder is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--studies", type=int, default=1_000)
    parser.add_argument("--out", type=Path, help="folder for pages.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), given.studies)
    print(f"{found['studies']:,} studies, {found['entries']:,} entries of the ledger; milliseconds\n")
    print("| page | median | slowest | first |\n| --- | ---: | ---: | ---: |")
    for name, row in found["pages"].items():
        print(f"| {name} | {row['median']:.0f} | {row['slowest']:.0f} | {row['first']:.0f} |")
    load = found["together"]
    print(
        f"| {load['users']} people at once, {load['requests']:,} requests: {load['errors']} errors, "
        f"{load['per_second']:.0f} a second | {load['median']:.0f} | {load['p95']:.0f} (95 %) | |"
    )
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": described(), "pages": found}, indent=1)
        (given.out / "pages.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
