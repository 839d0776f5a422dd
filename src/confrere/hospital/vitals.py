"""What a hospital says of its machine with every heartbeat, and the metrics that its own IT may read on loopback.

Release, clock and free disk go to the coordinator, which tells whoever asks for the health of the federation. The
metrics stay at the hospital: they are served on 127.0.0.1 alone, and only where hospital.toml names a port.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from confrere import wire
from confrere.errors import ConfrereError, StudyError
from confrere.hospital.home import Home
from confrere.metrics import Page, Tally, installed, note

OUTCOMES: Final = ("answered", "refused", "unable")
LARGEST: Final = 16 << 20  # bytes of the log of answers, after which it is begun anew


def vitals(home: Path) -> dict[str, Any]:
    """The release that runs here, the clock (seconds since 1970), the free bytes of the hospital's folder.

    And how many people are on its worklists: one number a month, floored to a multiple of k.
    """
    said = {"version": wire.release(), "clock": time.time(), "free": shutil.disk_usage(home).free, "worklists": 0}
    with suppress(OSError, ConfrereError):
        if (home / "worklists.sqlite").is_file():
            here = Home(home)
            said["worklists"] = here.worklists.told(here.rules.k)
    return said


def answers(home: Path) -> Path:
    """The log of answers: outcome, seconds and bytes of each; it exists where metrics are served."""
    return home / "engine" / "answers.jsonl"


def answered(home: Home, message: bytes, reply: bytes, seconds: float) -> None:
    """Write an answer down for the metrics, if the hospital serves any; whatever is in the way, the answer goes."""
    with suppress(OSError, StudyError):
        if home.metrics_port is None:
            return
        outcome = "answered"
        if len(reply) < 256:  # those that refuse have a word and no more
            outcome = next((word for word in OUTCOMES[1:] if word in wire.unpack(reply)), outcome)
        log = answers(home.path)
        if log.is_file() and log.stat().st_size > LARGEST:
            log.unlink(missing_ok=True)
        note(log, "answer", outcome=outcome, seconds=seconds, received=len(message), sent=len(reply))
        note(log, outcome)


class Collector:
    """The metrics of a hospital."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._tally = Tally("answer")

    def collect(self) -> Iterator[Any]:
        """All families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        self._tally.read([answers(self._home.path)])
        now = vitals(self._home.path)
        yield InfoMetricFamily("confrere", "The release that runs here.", {"version": now["version"]})
        yield GaugeMetricFamily("confrere_hospital_disk_free_bytes", "Free bytes of the folder.", now["free"])
        given = CounterMetricFamily("confrere_hospital_answers", "Messages by what was answered.", labels=["outcome"])
        for outcome in OUTCOMES:
            given.add_metric([outcome], self._tally.events[outcome])
        yield given
        yield from self._tally.families("confrere_hospital_answer", "answers to the coordinator")


@contextmanager
def exposed(home: Home) -> Iterator[None]:
    """Serve the metrics on 127.0.0.1 while the hospital serves, if [metrics] port is set; else StudyError says why."""
    if home.metrics_port is None:
        yield
        return
    if not installed():
        raise StudyError("[metrics] port needs what is not installed: pip install 'confrere[observability]'")
    from prometheus_client import start_http_server

    page = Page(Collector(home))
    try:
        server, thread = start_http_server(home.metrics_port, addr="127.0.0.1", registry=page.registry)
    except OSError as error:
        raise StudyError(f"[metrics] port = {home.metrics_port}: {error.strerror}; choose another port") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
