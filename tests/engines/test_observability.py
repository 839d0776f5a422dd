"""What a federation tells of itself: health, metrics, spans and logs, none of which holds a value of a patient."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("fastapi.testclient")

from fastapi.testclient import TestClient

from confrere import wire
from confrere.console import api
from confrere.coordinator import watch
from confrere.coordinator.book import Book
from confrere.coordinator.engine import Vitals
from confrere.coordinator.service import Service
from confrere.errors import StudyError
from confrere.hospital import vitals
from confrere.hospital.home import Home
from confrere.metrics import BOUNDS, Tally, note
from confrere.study.file import parse
from engines.inprocess import STUDY, InProcess, found
from engines.inprocess import told as ledger
from engines.test_service import until

if TYPE_CHECKING:
    from engines.flare import Machines

MARK = re.compile(r"\.1234[0-9]{5}|patient-")  # of values that no log has by chance


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A federation of this process whose records have values that can be told anywhere."""
    import pandas as pd

    coordinator, homes = found(tmp_path)
    for name, home in homes.items():
        frame = pd.read_csv(home.path / "breast.csv")
        frame["age"] = [age + 0.123456789 + i * 1e-7 for i, age in enumerate(frame["age"])]
        frame["pid"] = [f"patient-{name}-{i}" for i in range(len(frame))]
        frame.to_csv(home.path / "breast.csv", index=False)
    engine = InProcess(coordinator, homes)
    yield Service(coordinator, engine, Book(coordinator.database))
    engine.close()


@pytest.fixture(scope="module")
def spans() -> Any:
    """All spans that end in this process."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="needs the extra `observability`")
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def done(service: Service) -> str:
    """A run that is done."""
    run = service.submit(STUDY, "ada").run
    until(service, run, "done")
    return run


def scraped(text: str) -> dict[tuple[str, str], float]:
    """Metrics by their name and the value of their one label."""
    parser = pytest.importorskip("prometheus_client.parser", reason="needs the extra `observability`")
    families = parser.text_string_to_metric_families(text)
    return {(s.name, "".join(s.labels.values())): s.value for family in families for s in family.samples}


def said(client: Any, path: str) -> str:
    """What the coordinator answers to whoever asks."""
    response = client.get(path)
    assert response.status_code == 200, response.text
    return str(response.text)


# Health -------------------------------------------------------------------------------------------------------


def test_health_tells_of_every_machine(service: Service) -> None:
    client = TestClient(api.web(service, wire.release()))
    hospitals = json.loads(said(client, "/health"))["hospitals"]
    for one in hospitals.values():
        assert one["connected"]
        assert one["version"] == wire.release()
        assert one["seconds_ago"] < 5
        assert abs(one["clock_ahead"]) < 1
        assert one["disk_free"] > 0


def test_a_clock_that_is_wrong_and_a_hospital_that_left_are_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    old = Vitals.of({"version": "0.0.9", "clock": now - 4000.0, "free": 7}, now - 100.0)
    monkeypatch.setattr(service._engine, "vitals", lambda: {"delft": old})
    service._engine.down.add("delft")  # type: ignore[attr-defined]
    hospitals = service.health()["hospitals"]
    assert hospitals["delft"] == {
        "connected": False, "seconds_ago": pytest.approx(100, abs=5), "version": "0.0.9", "clock_ahead": -3900.0,
        "disk_free": 7, "on_worklists": 0,
    }  # fmt: skip
    assert hospitals["curie"]["version"] is None


def test_how_many_are_on_worklists_is_not_for_whoever_asks(service: Service) -> None:
    assert "on_worklists" in service.health()["hospitals"]["curie"]  # the operator's page has it
    assert "worklist" not in said(TestClient(api.web(service, "0")), "/health").replace('"worklist"', "")


@pytest.mark.parametrize(
    "said",
    [
        None, "nonsense", {}, {"version": "1", "clock": "now", "free": 1}, {"version": "1", "clock": 1.0, "free": -1},
        {"version": "1", "clock": float("nan"), "free": 1}, {"version": "a\nb", "clock": 1.0, "free": 1},
        {"version": "1", "clock": 1.0, "free": float("inf")}, {"version": "1", "clock": 1.0, "free": 1 << 80},
    ],
)  # fmt: skip
def test_nonsense_is_no_word_on_a_machine(said: object) -> None:
    assert Vitals.of(said, 0.0) is None


def test_the_lines_of_the_command() -> None:
    from confrere.console.researcher import _state

    never = {"connected": False, "seconds_ago": None, "version": None, "clock_ahead": None, "disk_free": None}
    assert _state("delft", never) == "delft: not connected, never seen"
    left = {**never, "seconds_ago": 3725.2, "version": "1.0", "clock_ahead": -2.04, "disk_free": 12_340_000_000}
    assert _state("lyon", left) == (
        "lyon: not connected, last seen 1:02:05 ago, Confrere 1.0, clock 2.0 s behind, 12.3 GB free"
    )
    assert _state("lyon", {**left, "connected": True}).startswith("lyon: connected, Confrere 1.0")


# Metrics ------------------------------------------------------------------------------------------------------


def test_metrics_after_a_run(service: Service) -> None:
    client = TestClient(api.web(service, "0"))
    assert scraped(said(client, "/metrics"))["confrere_rounds_total", ""] == 0
    run = done(service)
    metrics, rounds = scraped(said(client, "/metrics")), service.home.folder(run).found.rounds
    assert rounds > 5
    assert metrics["confrere_rounds_total", ""] == rounds == metrics["confrere_round_seconds_count", ""]
    assert metrics["confrere_round_seconds_bucket", "+Inf"] == rounds
    assert metrics["confrere_round_seconds_bucket", "300.0"] >= metrics["confrere_round_seconds_bucket", "0.01"]
    assert metrics["confrere_round_seconds_sum", ""] > 0
    assert metrics["confrere_runs", "done"] == 1
    assert metrics["confrere_runs", "running"] == 0
    assert metrics["confrere_hospital_connected", "delft"] == 1
    assert metrics["confrere_hospital_disk_free_bytes", "lyon"] > 0
    # what all three sent is more than what the largest of them sent, and less than three times as much
    log = [json.loads(line) for line in service.home.logs[0].read_text().splitlines()]
    total = sum(line["received"] for line in log if line["event"] == "round")
    assert metrics["confrere_round_received_bytes_total", ""] == total
    assert service.home.folder(run).found.bytes < 3 * total
    assert said(client, "/metrics").count("confrere_rounds_total 0") == 0
    service.erase(run)
    assert scraped(said(client, "/metrics"))["confrere_rounds_total", ""] == rounds


def test_without_the_extra_there_are_no_metrics_and_runs_run(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "installed", lambda: False)
    monkeypatch.setattr(watch, "find_spec", lambda name: None)
    client = TestClient(api.web(service, "0"))
    done(service)
    missing = client.get("/metrics")
    assert missing.status_code == 404
    assert "confrere[observability]" in missing.text
    assert not watch.sent()
    with pytest.raises(StudyError, match="observability"):
        watch.sent("http://localhost:4318")


def test_a_log_is_read_once_and_a_line_under_way_later(tmp_path: Path) -> None:
    log, tally = tmp_path / "log", Tally("round")
    for seconds in (0.0, BOUNDS[0], 0.02, 1e9):
        note(log, "round", seconds=seconds, received=1, sent=2)
    with log.open("a") as handle:
        handle.write('{"event": "do')
    tally.read([log, tmp_path / "absent"])
    tally.read([log])
    assert (tally.events["round"], tally.received, tally.sent) == (4, 4, 8)
    assert (tally._buckets[0], tally._buckets[1], tally._buckets[-1]) == (2, 1, 1)
    with log.open("a") as handle:
        handle.write('ne"}\n')
    tally.read([log])
    assert tally.events["done"] == 1
    log.write_text("")
    note(log, "done")
    tally.read([log])
    assert tally.events["done"] == 2


def test_a_hospital_shows_its_metrics_on_loopback_alone(service: Service, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra `observability`")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = tmp_path / "delft" / "hospital.toml"
    (tmp_path / "delft" / "engine").mkdir()
    vitals.answered(Home(tmp_path / "delft"), b"ask", wire.pack({"refused": True}), 0.1)
    assert not vitals.answers(tmp_path / "delft").exists(), "nobody asked for metrics"
    settings.write_text(settings.read_text() + f"\n[metrics]\nport = {port}\n")
    home = Home(tmp_path / "delft")
    for reply in (wire.pack({"refused": True}), wire.pack({"unable": True}), wire.pack({"parts": ()}), bytes(300)):
        vitals.answered(home, b"ask", reply, 0.02)
    with vitals.exposed(home):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            metrics = scraped(answer.read().decode())
        with pytest.raises(StudyError, match="choose another port"), vitals.exposed(home):
            pass
    outcomes = {o: metrics["confrere_hospital_answers_total", o] for o in ("answered", "refused", "unable")}
    assert outcomes == {"answered": 2, "refused": 1, "unable": 1}
    assert metrics["confrere_hospital_answer_seconds_count", ""] == 4
    assert metrics["confrere_hospital_answer_received_bytes_total", ""] == 12
    assert metrics["confrere_hospital_disk_free_bytes", ""] > 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)
    settings.write_text(settings.read_text().replace(f"port = {port}", 'port = "all"'))
    with pytest.raises(StudyError, match="must be a number"):
        _ = Home(tmp_path / "delft").metrics_port


def test_the_log_of_answers_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.make(tmp_path / "delft", "delft", {})
    (home.path / "engine").mkdir()
    (home.path / "hospital.toml").write_text('[hospital]\nname = "delft"\n[metrics]\nport = 9464\n')
    monkeypatch.setattr(vitals, "LARGEST", 1000)
    for _ in range(100):
        vitals.answered(Home(home.path), b"ask", bytes(300), 0.02)
        assert vitals.answers(home.path).stat().st_size < 1300


# Spans --------------------------------------------------------------------------------------------------------


def test_spans_of_a_run_its_rounds_and_every_answer(service: Service, spans: Any) -> None:
    spans.clear()
    run = done(service)
    ended = spans.get_finished_spans()
    (whole,) = [s for s in ended if s.name == "run"]
    rounds = [s for s in ended if s.name == "round"]
    assert whole.attributes["confrere.run"] == run
    assert [s.attributes["confrere.round"] for s in rounds] == list(range(1, len(rounds) + 1))
    assert len(rounds) == service.home.folder(run).found.rounds
    assert all(s.parent.span_id == whole.context.span_id for s in rounds)
    for one in rounds:
        below = [s for s in ended if s.parent is not None and s.parent.span_id == one.context.span_id]
        assert {s.attributes["confrere.hospital"] for s in below} == {"curie", "delft", "lyon"}
        assert all(s.attributes["confrere.received_bytes"] > 0 for s in below)


def test_a_span_of_an_error_has_its_class_and_no_word_of_it(service: Service, spans: Any, tmp_path: Path) -> None:
    spans.clear()
    Home(tmp_path / "lyon").refuse(parse(STUDY).hash)
    run = service.submit(STUDY, "ada").run
    until(service, run, "refused")
    (whole,) = [s for s in spans.get_finished_spans() if s.name == "run"]
    assert whole.status.description == "Refused"
    assert not whole.events
    last = json.loads(service.home.logs[0].read_text().splitlines()[-1])
    assert (last["event"], last["error"]) == ("stopped", "Refused")


# No value of anybody ------------------------------------------------------------------------------------------


def test_logs_metrics_and_spans_hold_no_value_of_a_patient(service: Service, spans: Any, tmp_path: Path) -> None:
    spans.clear()
    for name in ("curie", "delft", "lyon"):
        assert MARK.search((tmp_path / name / "breast.csv").read_text())
    run = done(service)
    client = TestClient(api.web(service, "0"))
    texts = [
        said(client, "/metrics"),
        said(client, "/health"),
        (service.home.path / "runs" / run / "log.jsonl").read_text(),
    ]
    texts += [span.to_json() for span in spans.get_finished_spans()]
    texts += [ledger(tmp_path / name) for name in ("curie", "delft", "lyon")]
    assert len("".join(texts)) > 10_000
    for text in texts:
        assert not MARK.search(text)


# Over the engine ----------------------------------------------------------------------------------------------


class Collector(HTTPServer):
    """A place for traces: what was posted to it."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Post)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Post(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_federation_of_processes_tells_of_itself(federation: Machines) -> None:
    pytest.importorskip("prometheus_client")
    import gzip

    from engines.flare import HOSPITALS, study_of
    from engines.flare import until as eventually

    def vital() -> dict[str, Any]:
        hospitals: dict[str, Any] = federation.remote.health()["hospitals"]
        return hospitals if all(one["version"] for one in hospitals.values()) else {}

    hospitals = eventually(vital, "no hospital told of its machine")
    assert set(hospitals) == set(HOSPITALS)
    for one in hospitals.values():
        assert one["version"] == wire.release()
        assert abs(one["clock_ahead"]) < 10
        assert one["disk_free"] > 0
    place = Collector()
    file = federation.home("coordinator") / "coordinator.toml"
    before = file.read_text(encoding="utf-8")
    federation.stop("coordinator")
    file.write_text(before + f'traces = "http://127.0.0.1:{place.server_port}"\n', encoding="utf-8")
    try:
        federation.up()
        run = federation.submit(study_of("observed"))
        assert federation.ended(run) == "done"
        eventually(lambda: place.got, "no spans came")
        rounds = federation.folder(run).found.rounds
        metrics = scraped(federation.remote._got("GET", "/metrics").text)
        assert metrics["confrere_rounds_total", ""] >= rounds > 5
        assert metrics["confrere_hospital_connected", "delft"] == 1
    finally:
        federation.stop("coordinator")
        file.write_text(before, encoding="utf-8")
        place.shutdown()
        place.server_close()
        federation.up()
    assert {path for path, _ in place.got} == {"/v1/traces"}
    sent = b"".join(gzip.decompress(b) if b[:2] == b"\x1f\x8b" else b for _, b in place.got)
    assert run.encode() in sent
    assert all(name.encode() in sent for name in HOSPITALS)
