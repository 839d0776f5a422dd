"""Google's own client against a stand-in for BigQuery's REST service: the cap and the region hold before bytes do."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from confrere.data.omop import opened
from confrere.errors import DataError

for module in ("google.cloud.bigquery", "google.cloud.bigquery_storage", "pandas_gbq", "pydata_google_auth"):
    pytest.importorskip(module)

WHERE = {"projectId": "clinic", "datasetId": "cdm"}
COLUMNS = {
    "person": {"person_id": "INTEGER", "gender_concept_id": "INTEGER", "year_of_birth": "INTEGER"},
    "observation_period": {
        "person_id": "INTEGER", "observation_period_start_date": "DATE", "observation_period_end_date": "DATE",
    },
}  # fmt: skip


class Service:
    """What BigQuery would say: a dataset in `region`, two tables, and that every query reads `size` bytes."""

    def __init__(self, region: str, size: int) -> None:
        self.region, self.size = region, size
        self.asked: list[dict[str, Any]] = []  # configurations of jobs, in their order

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET."""
        if found := re.search(r"/datasets/(\w+)/tables/(\w+)", path):
            columns = COLUMNS.get(found[2], COLUMNS["person"])
            fields = [{"name": name, "type": kind} for name, kind in columns.items()]
            where = WHERE | {"datasetId": found[1], "tableId": found[2]}
            return {"tableReference": where, "type": "TABLE", "schema": {"fields": fields}}
        if "/tables" in path:
            return {"tables": [{"tableReference": WHERE | {"tableId": name}} for name in COLUMNS]}
        if "/queries/" in path:
            return {"jobComplete": True}
        return {"datasetReference": WHERE, "location": self.region}

    def post(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a job: it is done."""
        self.asked.append(asked["configuration"] | {"location": asked["jobReference"].get("location")})
        reference = {"projectId": "clinic", "jobId": "j1", "location": self.region} | asked["jobReference"]
        asked["configuration"]["query"]["destinationTable"] = WHERE | {"datasetId": "_anonymous", "tableId": "anon1"}
        told = {"totalBytesProcessed": str(self.size), "query": {"totalBytesProcessed": str(self.size)}}
        return {"jobReference": reference, "configuration": asked["configuration"], "status": {"state": "DONE"},
                "statistics": told}  # fmt: skip


@contextmanager
def served(service: Service) -> Iterator[str]:
    """The address of a service."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(service.get(self.path))

        def do_POST(self) -> None:
            self.answer(service.post(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def answer(self, told: dict[str, Any]) -> None:
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kept(monkeypatch: pytest.MonkeyPatch, service: Service, settings: str) -> str:
    """Keep the people of the dataset; where."""
    with served(service) as address:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
        with opened(f"bigquery://clinic/cdm?{settings}", "the clinic") as cdm:
            return str(cdm.keep(cdm.table("person").select("person_id")).op().namespace.database)


def test_a_query_within_the_cap_runs_after_its_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept goes to the user's anonymous dataset, and is dropped at the end."""
    service = Service("europe-west9", 700)
    assert kept(monkeypatch, service, "max_bytes=1000&region=europe-west9") == "_anonymous"
    dry, real = service.asked[::2], service.asked[1::2]
    assert [job["query"]["query"] for job in dry] == [job["query"]["query"] for job in real]
    words = [" ".join(job["query"]["query"].split()[:2]) for job in real]
    assert words == ["SELECT 1", "CREATE TABLE", "DROP TABLE"]
    assert all(job["dryRun"] and job["query"]["useQueryCache"] is False for job in dry)  # a cached answer costs nothing
    assert not any(job.get("dryRun") for job in real)
    assert {job["query"]["maximumBytesBilled"] for job in real} == {"1000"}
    assert {job["location"] for job in service.asked} == {"europe-west9"}


def test_a_query_over_the_cap_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service("EU", 1_500_000)
    with pytest.raises(DataError, match=r"would read 1,500,000 bytes, and max_bytes is 1,000,000; raise max_bytes"):
        kept(monkeypatch, service, "max_bytes=1000000")
    assert [job.get("dryRun") for job in service.asked] == [True]


def test_there_is_a_cap_where_nobody_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"max_bytes is 100,000,000,000"):
        kept(monkeypatch, Service("EU", 10**12), "")


def test_a_dataset_in_another_region_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service("US", 1)
    with pytest.raises(DataError, match="the dataset lies in US, and region is europe-west9; nothing was read"):
        kept(monkeypatch, service, "region=europe-west9")
    assert service.asked == []


@pytest.mark.parametrize(
    ("url", "words"),
    [("bigquery://clinic", "name project and dataset"), ("bigquery://clinic/cdm?max_bytes=5GB", "no number of bytes")],
)
def test_what_is_no_dataset(url: str, words: str) -> None:
    with pytest.raises(DataError, match=words), opened(url):
        pass
