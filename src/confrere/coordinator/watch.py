"""What the conducting of a run tells of itself: a line of its log for every round, and spans for OpenTelemetry.

Numbers of rounds, names of steps and hospitals, seconds and bytes: no value of anybody is among the facts. The log is
`log.jsonl` in the run's folder. Spans, of the extra `observability`, are one for an attempt of a run, one for each of
its rounds, one for each answer of a hospital; without the extra, or without a place to send them, there are none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

from confrere import wire
from confrere.coordinator.federation import Link
from confrere.errors import StudyError
from confrere.metrics import note
from confrere.rounds import Answers, Round

WHERE: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"  # OpenTelemetry's own: a URL such as http://localhost:4318
PATIENCE: Final = 5.0  # seconds that the place of the spans may take


class Watch:
    """Watches one attempt of a run. `log` is the run's log."""

    def __init__(self, log: Path, run: str) -> None:
        self._log, self._run = log, run
        self._above: Any = None  # the span under way, under which hospitals answer
        self._lock = Lock()
        self._sent = self._received = 0
        self.round: tuple[int, str] = (0, "")  # number and what is asked

    @contextmanager
    def attempt(self, study: str) -> Iterator[None]:
        """One attempt, from its first message to its end. `study` is the hash."""
        self._note("began")
        try:
            with _span("run", None, {"confrere.run": self._run, "confrere.study": study}) as self._above:
                yield
        except Exception as error:
            self._note("stopped", error=type(error).__name__)
            raise
        self._note("done")

    def links(self, links: Mapping[str, Link]) -> dict[str, Link]:
        """The links, each message of which is counted and has a span."""
        return {name: self._link(name, link) for name, link in links.items()}

    def _link(self, name: str, link: Link) -> Link:
        def send(message: bytes) -> bytes:
            facts = {"confrere.hospital": name, "confrere.sent_bytes": len(message)}
            with _span("answer", self._above, facts) as span:
                reply = link(message)
                if span is not None:
                    span.set_attribute("confrere.received_bytes", len(reply))
            with self._lock:
                self._sent += len(message)
                self._received += len(reply)
            return reply

        return send

    def rounds(self, answer: Callable[[Round], Answers]) -> Callable[[Round], Answers]:
        """Answers as `answer` does; every round has a line in the log and a span."""

        def one(asks: Round) -> Answers:
            before, run, began = (self._sent, self._received), self._above, time.perf_counter()
            number, what = self.round
            try:
                with _span("round", run, {"confrere.round": number, "confrere.what": what}) as self._above:
                    answers = answer(asks)
            finally:
                self._above = run
            self._note(
                "round", round=number, what=what, seconds=round(time.perf_counter() - began, 6),
                sent=self._sent - before[0], received=self._received - before[1],
            )  # fmt: skip
            return answers

        return one

    def _note(self, event: str, **facts: Any) -> None:
        with suppress(OSError):  # a line of the log is not worth a round: a full disk stops the journal
            note(self._log, event, at=round(time.time(), 3), **facts)


@contextmanager
def _span(name: str, above: Any, facts: Mapping[str, Any]) -> Iterator[Any]:
    """A span under another one, or None without OpenTelemetry. Of an error it has the class alone."""
    if find_spec("opentelemetry") is None:
        yield None
        return
    from opentelemetry import trace

    tracer = trace.get_tracer("confrere", wire.release())
    context = None if above is None else trace.set_span_in_context(above)
    with tracer.start_as_current_span(
        name, context, attributes=facts, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def sent(traces: str = "") -> bool:
    """Whether spans go anywhere: to `traces`, or where the environment says. StudyError without the extra."""
    there = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None
    if traces and not there:
        raise StudyError("traces needs what is not installed: pip install 'confrere[observability]'")
    return there and bool(traces or os.environ.get(WHERE))


@contextmanager
def exported() -> Iterator[None]:
    """Have the spans of this process sent where the environment says (OTLP over HTTP), if it does."""
    if not sent():
        yield
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "confrere-coordinator"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=PATIENCE)))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
