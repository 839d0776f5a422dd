"""Pages for tests: an application over a few routes of each kind, served on loopback beside a provider.

The provider of OpenID Connect is `oidc-provider-mock`, a process of its own.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import uvicorn
from fastapi import APIRouter, FastAPI, Form, Request, Response

from confrere.console.pages.frame import Console, Entry, application, environment, page, say, tongue_of
from confrere.console.pages.guard import PUBLIC, require
from confrere.console.pages.laptop import Link, listening
from confrere.console.pages.plots import bars
from confrere.console.pages.sessions import Person, Sessions
from confrere.console.pages.settings import IdentitySettings
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.errors import StudyError

ADA = Person("ada", "Ada Lovelace", ("steward",))
GRACE = Person("grace", "Grace Hopper", ("researcher", "operator"))
SHEET = Table(
    "left", "What left", (Column("month", "Month"), Column("bytes", "Bytes", "size"), Column("at", "At", "time")),
    [{"month": "=1+1", "bytes": 1234, "at": 1.7e9}, {"month": "May <b>", "bytes": None, "at": None}],
)  # fmt: skip
MONTHS = Table("months", "Sent per month", (Column("month", "Month"), Column("bytes", "Bytes", "size")), [
    {"month": "May 2026", "bytes": 1200}, {"month": "June 2026", "bytes": 5400},
])  # fmt: skip
NUMBERS = """{% extends "layout.html" %}{% import "macros.html" as ui with context %}
{% block title %}Numbers{% endblock %}
{% block main %}<h1>Numbers</h1>{{ ui.table(sheet) }}{{ ui.plot(drawn) }}
{{ ui.table(sheet._replace(name="none", records=[])) }}
{% call ui.confirm("/approve", "Refuse", "Why?", "Refuse it", danger=true) %}
{{ ui.field("note", "Note", "textarea", required=false) }}{% endcall %}
<button hx-post="/approve" hx-vals='{"note": "wrong"}'>Try</button>{% endblock %}"""


def routes() -> APIRouter:
    """One route of each kind that the guard tells apart."""
    made = APIRouter()

    @made.get("/stewards", dependencies=[require("steward")])
    def stewards(request: Request) -> Response:
        return downloaded(request, SHEET) or page(request, "home.html")

    @made.post("/approve")
    def approve(request: Request, person: Annotated[Person, require("steward")], note: Annotated[str, Form()]) -> Any:
        if note == "break":
            raise RuntimeError("secret of patient 4711")
        if note == "wrong":
            raise StudyError("the study <b>breast</b> is not there; submit it first")
        say(request, f"{person.name}: {note}")
        return {"note": note}

    @made.get("/numbers", dependencies=[PUBLIC])
    def numbers(request: Request) -> Response:
        lang = tongue_of(request).lang
        drawn = bars(MONTHS, "month", "bytes", "Two bars; that of June is the taller.", lang)
        shown = environment(lang).from_string(NUMBERS)
        return downloaded(request, SHEET, MONTHS) or page(request, shown, sheet=SHEET, drawn=drawn)

    @made.get("/open", dependencies=[PUBLIC])
    def open_() -> dict[str, str]:
        return {"open": "yes"}

    return made


def settings(**given: Any) -> IdentitySettings:
    """Settings of a provider that nobody asks, unless `issuer` says so."""
    roles = {"steward": ("confrere-dpo",), "researcher": ("confrere-research",)}
    known = {"address": "http://127.0.0.1:8000", "issuer": "http://127.0.0.1:9", "client_id": "confrere"}
    return IdentitySettings(**{**known, "client_secret": "any", "roles": roles, **given})


def console(kind: Any = "hospital", log: list[Any] | None = None, **given: Any) -> Console:
    """A console with a menu."""
    menu = (Entry("Overview", "/stewards", ("steward",), "Sums leave, worklists stay."),)
    events: list[Any] = [] if log is None else log
    return Console(kind, "Institut Curie", menu, lambda event, facts: events.append((event, facts)), **given)


def made(folder: Path, identity: IdentitySettings, log: list[Any] | None = None, **store: Any) -> FastAPI:
    """The application over `routes`."""
    return application(console(log=log), identity, Sessions(folder / "sessions.sqlite", **store), [routes()])


def free() -> int:
    """A port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


@contextmanager
def served(app: FastAPI, identity: IdentitySettings, port: int) -> Iterator[None]:
    """Serve an application in a thread, for as long as the block runs."""
    server = uvicorn.Server(listening(app, identity, "127.0.0.1", port))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        _until(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def provider(people: Mapping[str, Mapping[str, Any]], *options: str) -> Iterator[str]:
    """A provider that knows these people and their claims; its address."""
    port = free()
    words = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *options]
    for name, claims in people.items():
        words += ["--user-claims", json.dumps({"sub": name, **claims})]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _until(lambda: _answers(f"{url}/.well-known/openid-configuration"))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def links() -> tuple[Link, list[str]]:
    """A link for one person alone, and what the terminal shows."""
    shown: list[str] = []
    return Link(shown.append, 8000), shown


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _until(ready: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "did not start"
        time.sleep(0.05)
