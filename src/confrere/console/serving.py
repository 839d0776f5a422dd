"""Processes that serve until they are asked to stop, and what ends a run's record."""

from __future__ import annotations

import fcntl
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from confrere.errors import ConfrereError, StudyError, Waiting

HOUR = 3600.0  # seconds between two times that what must go is erased
LOOK = 2.0  # seconds between two looks at the engine's process of a hospital


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time: two that serve one folder would displace each other. StudyError if another does."""
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyError(f"{lock.parent} is being served by another process; stop it first") from None
        yield


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
    """The service: the engine's server, the queue, HTTPS for researchers, and their pages, until stopped."""
    import uvicorn

    from confrere import __version__
    from confrere.console.api import web
    from confrere.coordinator.home import Home
    from confrere.coordinator.watch import sent
    from confrere.kits import Profile

    here = Home(home)
    sent(str(here.settings["traces"]))  # an extra that is missing is said before anything starts
    startup = here.path / "engine" / "site" / "startup"
    if not (startup / "server.key").is_file():
        raise StudyError("the coordinator has no certificate yet: `confrere coordinator install` lays it in")
    here.members  # noqa: B018 - a roster that is missing or not signed is said before anything starts
    profile = Profile.read(here.path / "federation.json")
    service, engine = _service(here)
    config = uvicorn.Config(
        web(service, __version__), host=str(here.settings["listen"]), port=profile.api_port, log_level="warning",
        ssl_certfile=str(startup / "server.crt"), ssl_keyfile=str(startup / "server.key"), timeout_graceful_shutdown=2,
    )  # fmt: skip
    configs = [config]
    if here.identity or here.settings["pages.port"]:
        configs.append(_paged(service, profile.name, say))
    with stopped() as stop:
        try:
            engine.serve(float(here.settings["round_seconds"]))
            with _answering(configs):
                say(f"the coordinator is serving researchers at https://{profile.host}:{profile.api_port}")
                _look(service, engine, float(here.settings["round_seconds"]), stop, say)
        finally:
            engine.close()


def show_pages(home: Path, port: int, say: Callable[[str], Any]) -> None:
    """The coordinator's pages alone, until stopped: what they submit runs while the service does."""
    from confrere.coordinator.home import Home
    from confrere.kits import Profile

    here = Home(home)
    service, _ = _service(here)
    file = here.path / "federation.json"
    config = _paged(service, Profile.read(file).name if file.is_file() else here.path.name, say, port)
    with stopped() as stop, _answering([config]):
        stop.wait()


def _service(here: Any) -> tuple[Any, Any]:
    """The service of a coordinator's folder, and its engine."""
    from confrere.coordinator.book import Book
    from confrere.coordinator.flare import Flare
    from confrere.coordinator.service import Service

    engine = Flare(here.path, here.path / "engine" / "server.log", str(here.settings["traces"]))
    return Service(here, engine, Book(here.database)), engine


def _paged(service: Any, place: str, say: Callable[[str], Any], port: int = 0) -> Any:
    """The pages over a service. StudyError where what they need is not installed."""
    _pages_installed()
    from confrere.console.pages.research import serving

    return serving(service, place, say, port)


def serve_hospital(home: Path, say: Callable[[str], Any]) -> None:
    """A hospital's side: the engine's process kept up, and once an hour what must go erased, until stopped."""
    from confrere.hospital.engine import serve, site, tidy
    from confrere.hospital.home import Home
    from confrere.hospital.tunnel import way_out
    from confrere.hospital.vitals import exposed

    here = Home(home)
    _ = here.rules, here.identity  # StudyError where the rules are wrong, or the key is lost
    process, tidied = site(here), -math.inf
    with alone(here.path / "serving.lock"), stopped() as stop, exposed(here), way_out(here, say) as target:
        try:
            while not stop.is_set():
                if serve(here, process, target):
                    say(f"{here.name} is serving; its ledger is {here.path / 'ledger.sqlite'}")
                if time.monotonic() - tidied >= HOUR:
                    tidied = time.monotonic()
                    try:
                        tidy(here)
                    except (OSError, ConfrereError) as error:  # tried again in an hour: studies are answered meanwhile
                        say(f"what is past its day could not be erased: {error}")
                    _remind(here, ("site",), say)
                stop.wait(LOOK)
        finally:
            process.stop()


def show_hospital(
    home: Path, listen: tuple[str, int], certificate: tuple[Path, Path] | None, say: Callable[[str], Any]
) -> None:
    """A hospital's pages, until stopped. `listen`: host and port; `certificate`: files of the chain and its key.

    StudyError where what they need is not installed, or where they cannot listen.
    """
    _pages_installed()
    from confrere.console.pages.hospital import made
    from confrere.console.pages.hospital_folder import Hospital
    from confrere.console.pages.laptop import Link, listening
    from confrere.console.pages.settings import IdentitySettings

    here, (host, port) = Hospital(home), listen
    identity = IdentitySettings.from_mapping(here.home.identity_settings, here.home.path / "hospital.toml")
    link = Link(say, port) if identity.alone else None
    config = listening(made(here, identity, link), identity, host, port, certificate)
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise StudyError(
            f"the pages cannot listen on {host}, port {port} ({error.strerror}); choose another --port"
        ) from None
    if not identity.alone:
        say(f"the pages are at {identity.address}")
    with stopped() as stop, _answering([config]):
        while not stop.is_set():  # once an hour, also where nobody opens a page
            with suppress(OSError, ConfrereError):  # pages say what is wrong, and a stop must always work
                here.home.expire()
            stop.wait(HOUR)


def _pages_installed() -> None:
    """StudyError where what pages need is not installed."""
    from confrere.console.output import installed

    installed(("babel", "joserfc", "python_multipart"), "pages need", "console")


@contextmanager
def _answering(configs: Sequence[Any]) -> Iterator[None]:
    """Servers in threads, for as long as the block runs."""
    servers = [_Quiet(config) for config in configs]
    threads = [threading.Thread(target=server.run, daemon=True) for server in servers]
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.should_exit = True
            thread.join(10)


def _remind(home: Any, kits: Sequence[str], say: Callable[[str], Any]) -> None:
    """Say which certificates in a folder end soon, or cannot be read: an `install` may be half done at this second."""
    from confrere.kits import ending

    for kit in kits:
        try:
            if soon := ending(home.path / "engine" / kit):
                say(soon)
        except (OSError, ValueError) as error:
            say(f"the certificate in {home.path / 'engine' / kit} could not be read, and is looked at again: {error}")


def _look(service: Any, engine: Any, patience: float, stop: threading.Event, say: Callable[[str], Any]) -> None:
    """Look at the queue five times a second; keep the engine's server up; hourly, say which certificates end."""
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
        if time.time() - tidied > HOUR:
            tidied = time.time()
            service.tidy()
            engine.tidy()
            _remind(service.home, ("site", "runner"), say)


class _Quiet:
    """uvicorn in a thread: the process's own signals are not its to handle."""

    def __new__(cls, config: Any) -> Any:
        import uvicorn

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        return Server(config)
