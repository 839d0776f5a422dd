"""The research console for tests: a coordinator's pages over three hospitals of this process, served on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import serve_pages as pages
from confrere.console.pages.research import pages as research
from confrere.console.pages.sessions import Person, Sessions
from confrere.coordinator.book import Book
from confrere.coordinator.home import Home as CoordinatorHome
from confrere.coordinator.service import Service
from confrere.hospital.home import Home
from engines.inprocess import InProcess, found

ADA = Person("ada", "Ada Lovelace", ("researcher",))
BOB = Person("bob", "Bob", ("researcher",))
GRACE = Person("grace", "Grace Hopper", ("second reader",))
IDA = Person("ida", "Ida", ("operator",))
BOTH = Person("ada", "Ada Lovelace", ("researcher", "second reader"))


def study(name: str, formula: str = "recur ~ hormon + age", method: str = "logistic", title: str = "") -> str:
    """A study of one analysis."""
    return f"""[study]
id = "{name}"
title = "{title or name}"
purpose = "public-interest research"
[data]
table = "breast"
[[analysis]]
name = "risk"
method = "{method}"
formula = "{formula}"
"""


COX = study("recurrence", "Surv(rtime, recur) ~ hormon + age", "cox", "Hormone therapy and recurrence")
FIRST = study("first", title="Who relapses")
SECOND = study("second", "recur ~ hormon + age + nodes", title="Who relapses, with nodes")


class Site(NamedTuple):
    """Pages that are served: where, over which sessions, service and hospitals."""

    url: str
    store: Sessions
    service: Service
    homes: dict[str, Home]

    @property
    def engine(self) -> InProcess:
        """What moves bytes."""
        engine = self.service._engine
        assert isinstance(engine, InProcess)
        return engine

    def approve(self, *texts: str) -> None:
        """Every steward says yes."""
        for text in texts:
            for home in self.homes.values():
                home.approve(text)


@contextmanager
def served(folder: Path, readers: int = 1) -> Iterator[Site]:
    """A federation whose stewards approved the first study, and whose airlock asks for so many readers."""
    coordinator, homes = found(folder, FIRST)
    for home in homes.values():  # says which column names the person, and lets trees be grown
        file = home.path / "hospital.toml"
        bound = '"breast" = {path = "breast.csv", person = "pid"}'
        text = file.read_text().replace('"breast" = "breast.csv"', bound)
        file.write_text(text.replace("allow = []", 'allow = ["histograms"]'))
    homes = {name: Home(home.path) for name, home in homes.items()}
    for home in homes.values():
        home.approve(FIRST)
    (coordinator.path / "coordinator.toml").write_text(f"[release]\nreaders = {readers}\n")
    coordinator = CoordinatorHome(coordinator.path)
    port = pages.free()
    identity = pages.settings(address=f"http://127.0.0.1:{port}")
    service = Service(coordinator, InProcess(coordinator, homes), Book(coordinator.database))
    app = research(service, "Réseau Ouest", identity)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            service.step()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        with pages.served(app, identity, port):
            yield Site(identity.address, app.state.front.store, service, homes)
    finally:
        stop.set()
        thread.join(10)
        service._engine.close()
        service.book.close()
