"""Metrics for Prometheus, of the extra `observability`, counted from logs of lines.

Runs and answers happen in processes of the engine that come and go. Each writes a line of JSON for every round or
answer, so that nothing is lost with it: seconds and bytes, never a value. Who is asked for metrics reads the lines that
are new since it was asked last.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds of a histogram
TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def installed() -> bool:
    """Whether the extra `observability` is there."""
    return find_spec("prometheus_client") is not None


def note(log: Path, event: str, **facts: Any) -> None:
    """Add a line to a log that metrics are counted from. OSError where it cannot be written."""
    with log.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({"event": event, **facts}, ensure_ascii=False) + "\n")


class Tally:
    """What the lines of logs add up to: how many by event; seconds by bucket, bytes received and sent of one event."""

    def __init__(self, timed: str) -> None:
        """`timed` is the event whose lines have `seconds`, `received` and `sent`."""
        self.events: Counter[str] = Counter()
        self.received = self.sent = 0
        self._timed = timed
        self._seconds = 0.0
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._read: dict[Path, int] = {}

    def read(self, logs: Iterable[Path]) -> None:
        """Take in what is new in these logs. A log that is shorter than before was begun anew."""
        there = {log: log.stat().st_size for log in logs if log.is_file()}
        for log, size in there.items():
            at = self._read.get(log, 0)
            if size == at:
                continue
            with log.open("rb") as handle:
                handle.seek(at if at < size else 0)
                new = handle.read()
                whole = new.rfind(b"\n") + 1  # a line under way is read the next time
                there[log] = handle.tell() - len(new) + whole
            for line in new[:whole].splitlines():
                self._take(json.loads(line))
        self._read = there

    def _take(self, line: dict[str, Any]) -> None:
        self.events[line["event"]] += 1
        if line["event"] == self._timed:
            seconds = float(line["seconds"])
            self._seconds += seconds
            self._buckets[sum(bound < seconds for bound in BOUNDS)] += 1
            self.received += int(line["received"])
            self.sent += int(line["sent"])

    def families(self, name: str, of: str) -> Iterator[Any]:
        """The histogram NAME_seconds, and the bytes NAME_received_bytes and NAME_sent_bytes. `of` says of what."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        buckets, running = [], 0
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], self._buckets, strict=True):
            running += count
            buckets.append((bound, running))
        yield HistogramMetricFamily(f"{name}_seconds", f"Seconds of {of}.", buckets, self._seconds)
        yield CounterMetricFamily(f"{name}_received_bytes", f"Bytes received in {of}.", self.received)
        yield CounterMetricFamily(f"{name}_sent_bytes", f"Bytes sent in {of}.", self.sent)


class Page:
    """The text of `/metrics`: what one collector says, asked by one at a time."""

    def __init__(self, collector: Any) -> None:
        """`collector` has a method `collect`, which gives families of metrics."""
        from prometheus_client import CollectorRegistry

        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(collector)
        self._lock = Lock()

    def text(self) -> bytes:
        """The metrics now."""
        from prometheus_client import generate_latest

        with self._lock:
            return bytes(generate_latest(self.registry))
