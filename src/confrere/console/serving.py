"""Processes that serve until they are asked to stop, and what ends a run's record."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confrere.errors import StudyError, Waiting


@contextmanager
def stopped() -> Iterator[threading.Event]:
    """An event that is set by SIGINT or SIGTERM: who serves comes to an orderly end."""
    event = threading.Event()

    def stop(*_: Any) -> None:
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def coordinate(home: Path, say: Callable[[str], Any]) -> None:
    """The coordinator's service: the engine's server, the queue, and HTTPS for researchers, until stopped."""
    import uvicorn

    from confrere import __version__
    from confrere.console.api import web
    from confrere.coordinator.book import Book
    from confrere.coordinator.flare import Flare
    from confrere.coordinator.home import Home
    from confrere.coordinator.service import Service
    from confrere.coordinator.watch import sent
    from confrere.kits import Profile

    here = Home(home)
    sent(str(here.settings["traces"]))  # an extra that is missing is said before anything starts
    startup = here.path / "engine" / "site" / "startup"
    if not (startup / "server.key").is_file():
        raise StudyError("the coordinator has no certificate yet: `confrere coordinator install` lays it in")
    here.members  # noqa: B018 - a roster that is missing or not signed is said before anything starts
    profile = Profile.read(here.path / "federation.json")
    engine = Flare(here.path, here.path / "engine" / "server.log", str(here.settings["traces"]))
    service = Service(here, engine, Book(here.database))
    config = uvicorn.Config(
        web(service, __version__), host=str(here.settings["listen"]), port=profile.api_port, log_level="warning",
        ssl_certfile=str(startup / "server.crt"), ssl_keyfile=str(startup / "server.key"), timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = _Quiet(config)
    with stopped() as stop:
        thread = threading.Thread(target=server.run, daemon=True)
        try:
            engine.serve(float(here.settings["round_seconds"]))
            thread.start()
            say(f"the coordinator is serving researchers at https://{profile.host}:{profile.api_port}")
            _look(service, engine, float(here.settings["round_seconds"]), stop)
        finally:
            server.should_exit = True
            thread.join(10)
            engine.close()


def _look(service: Any, engine: Any, patience: float, stop: threading.Event) -> None:
    """Look at the queue five times a second; keep the engine's server up."""
    recovered = tidied = 0.0
    while not stop.wait(0.2):
        if engine.serve(patience):
            recovered = 0.0
        with suppress(Waiting):  # the engine's server does not answer just now: looked at again
            if not recovered and engine.up:
                service.recover()
                recovered = time.time()
            if recovered:
                service.step()
        if time.time() - tidied > 3600:
            service.tidy()
            engine.tidy()
            tidied = time.time()


class _Quiet:
    """uvicorn in a thread: the process's own signals are not its to handle."""

    def __new__(cls, config: Any) -> Any:
        import uvicorn

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        return Server(config)


def erased(home: Path, run: str) -> dict[str, str]:
    """Remove a run that is over; what proves it: the study's hash, the journal's hash, and when."""
    from confrere.coordinator.book import Book
    from confrere.coordinator.home import Home
    from confrere.coordinator.service import erase

    here = Home(home)
    journal = here.folder(run).journal
    proof = {
        "run": run,
        "journal_sha256": hashlib.sha256(journal.read_bytes()).hexdigest() if journal.is_file() else "",
        "erased": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    book = Book(here.database)
    entry = book.get(run)
    erase(here, book, run)
    return {**proof, "study": entry.study if entry else ""}
