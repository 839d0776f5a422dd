"""The research console: the frame with the pages of researchers, second readers and operators over one coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI

from confrere.console.pages import airlock, feasibility, operations, researcher, researcher_findings, tokens
from confrere.console.pages.frame import Console, Entry, application
from confrere.console.pages.languages import N_
from confrere.console.pages.laptop import Link, listening
from confrere.console.pages.sessions import Sessions
from confrere.console.pages.settings import IdentitySettings
from confrere.coordinator.home import Home
from confrere.coordinator.service import Service
from confrere.metrics import note

PORT: Final = 8444  # of the pages, unless coordinator.toml names another
MENU: Final = (
    Entry(N_("Studies"), "/studies", ("researcher",), N_("Write a study, submit it, read what it found.")),
    Entry(N_("API tokens"), "/tokens", ("researcher",), N_("For notebooks and the command line.")),
    Entry(N_("Airlock"), "/airlock", ("second reader",), N_("Read findings, and let them go.")),
    Entry(N_("Operations"), "/operations", ("operator",), N_("Where every run is, and how the hospitals are.")),
)  # fmt: skip


def pages(service: Service, place: str, identity: IdentitySettings, link: Link | None = None) -> FastAPI:
    """The application over a service; `place` is what the federation is called. Sign-ins go to pages.jsonl."""
    home = service.home
    store = Sessions(home.path / "sessions.sqlite", 60.0 * identity.idle_minutes, 3600.0 * identity.hours)

    def log(event: str, facts: dict[str, str]) -> None:
        note(home.path / "pages.jsonl", event, at=round(time.time(), 3), **facts)

    routers = [
        researcher.router(service), researcher.runs(service), researcher_findings.router(service),
        feasibility.released(service), airlock.router(service), airlock.words(service), operations.router(service),
        tokens.router(service.book),
    ]  # fmt: skip
    return application(Console("coordinator", place, MENU, log), identity, store, routers, link)


def settings(home: Home) -> IdentitySettings:
    """Who may sign in to a coordinator's pages. StudyError where [identity] is wrong."""
    return IdentitySettings.from_mapping(home.identity, home.path / "coordinator.toml")


def serving(service: Service, place: str, say: Callable[[str], Any], port: int = 0) -> Any:
    """What uvicorn needs to serve the pages (a `uvicorn.Config`), at `port` or where coordinator.toml says."""
    home, identity = service.home, settings(service.home)
    port = port or int(home.settings["pages.port"]) or PORT
    link = Link(say, port) if identity.alone else None
    app = pages(service, place, identity, link)
    if not identity.alone:
        say(f"the pages are at {identity.address}")
    return listening(app, identity, str(home.settings["pages.listen"]), port, home.certificate)
