"""The OpenAPI document of the coordinator's API: whole, with examples that hold, and kept by every answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("fastapi.testclient")
pytest.importorskip("sqlalchemy")
pytest.importorskip("schemathesis")

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.checks import positive_data_acceptance

from confrere.console.api import web
from confrere.coordinator.book import Book, Entry
from confrere.coordinator.conduct import STATES, Folder
from confrere.coordinator.home import Home
from confrere.coordinator.service import Service
from confrere.study import build
from confrere.study.file import parse

PLACES = {
    "submit": "/runs", "listed": "/runs", "status": "/runs/{run}", "cancel": "/runs/{run}/cancel",
    "found": "/runs/{run}/found", "health": "/health", "metrics": "/metrics",
}  # fmt: skip


class Quiet:
    """An engine that starts nothing."""

    def hospitals(self) -> dict[str, float]:
        return {"curie": time.time()}

    def vitals(self) -> dict[str, Any]:
        return {}

    def stop(self, handle: str) -> None:
        """Nothing was started."""


class Desk(NamedTuple):
    """An API over a coordinator with three hospitals, and a token that may do all."""

    app: FastAPI
    service: Service
    token: str

    @property
    def client(self) -> TestClient:
        return TestClient(self.app, headers={"Authorization": f"Bearer {self.token}"})


class Three(Home):
    """A coordinator's folder without a roster: its hospitals are said here."""

    members = ("curie", "delft", "lyon")  # type: ignore[assignment]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    Home.make(tmp_path / "coordinator")
    home = Three(tmp_path / "coordinator")
    book = Book(home.database)
    service = Service(home, Quiet(), book)  # type: ignore[arg-type]
    yield Desk(web(service, "0.1.0"), service, book.token("ada"))
    book.close()


def resolved(node: Any, whole: dict[str, Any]) -> Any:
    """A schema with its references filled in."""
    if isinstance(node, dict):
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[1]
            return resolved(whole["components"]["schemas"][name], whole)
        return {key: resolved(value, whole) for key, value in node.items()}
    return [resolved(value, whole) for value in node] if isinstance(node, list) else node


def test_every_call_is_told_with_its_errors_and_who_may(desk: Desk) -> None:
    told = desk.client.get("/openapi.json").json()
    assert set(told["paths"]) == set(PLACES.values())
    for path, calls in told["paths"].items():
        for call in calls.values():
            assert call["description"]
            assert ("security" in call) == path.startswith("/runs")
            assert ("401" in call["responses"]) == path.startswith("/runs")
            assert ("404" in call["responses"]) == ("{run}" in path or path == "/metrics")
    assert desk.client.get("/docs").status_code == 404  # it would load scripts from elsewhere


def test_the_examples_hold(desk: Desk) -> None:
    told = desk.client.get("/openapi.json").json()
    checked = 0
    for name, schema in told["components"]["schemas"].items():
        for example in schema.get("examples", []):
            Draft202012Validator(resolved(schema, told)).validate(example)
            checked += 1
        for field, said in schema.get("properties", {}).items():
            for example in said.get("examples", []):
                Draft202012Validator(resolved(said, told)).validate(example)
                assert name in ("Fault", "Hospital", "Health"), field
    assert checked == 2
    example = told["paths"]["/runs"]["post"]["requestBody"]["content"]["text/plain"]["examples"]["cox"]["value"]
    build.analyses(parse(example))
    run = desk.client.post("/runs", content=example)
    assert (run.status_code, run.json()["state"]) == (200, "queued")
    assert set(resolved(told["components"]["schemas"]["Run"], told)["properties"]["state"]["enum"]) == set(STATES)


@pytest.mark.parametrize("deadline", ["nan", "inf", "-1", "1e9", "x", "32000000"])
def test_a_deadline_is_a_number_of_seconds(desk: Desk, deadline: str) -> None:
    said = desk.client.post("/runs", params={"deadline": deadline}, content="x")
    assert said.status_code == 422
    assert said.json()["error"] == "StudyError"
    assert "deadline" in said.json()["message"]


def test_errors_are_of_one_form(desk: Desk) -> None:
    client = desk.client
    assert client.get("/runs/x").json() == {"error": "StudyError", "message": "no run of yours is called 'x'"}
    assert client.get("/nothing").json()["error"] == "StudyError"
    assert client.put("/runs").status_code == 405
    nobody = TestClient(desk.app).get("/runs")
    assert (nobody.status_code, nobody.json()["error"]) == (401, "Refused")
    assert nobody.headers["www-authenticate"] == "Bearer"


def test_the_run_of_another_is_never_taken_over(desk: Desk) -> None:
    """Not even one that is over: its researcher would lose it."""
    text = desk.client.get("/openapi.json").json()["paths"]["/runs"]["post"]["requestBody"]
    study = text["content"]["text/plain"]["examples"]["cox"]["value"]
    run = desk.client.post("/runs", content=study).json()["run"]
    bob = {"Authorization": f"Bearer {desk.service.book.token('bob')}"}
    for state in STATES:
        desk.service.book.change(run, state=state)
        said = desk.client.post("/runs", content=study, headers=bob)
        assert (said.status_code, "another researcher" in said.json()["message"]) == (422, True)
    assert desk.service.book.get(run).researcher == "ada"  # type: ignore[union-attr]


def full(desk: Desk) -> list[str]:
    """A run in every state but done, which would have findings."""
    study = desk.client.get("/openapi.json").json()["paths"]["/runs"]["post"]["requestBody"]
    text, now = study["content"]["text/plain"]["examples"]["cox"]["value"], time.time()
    for state in STATES:
        Folder.make(desk.service.home.path / "runs" / state, text)
        reached = "failed" if state == "done" else state
        desk.service.book.add(Entry(state, "0" * 64, "T", "ada", now, now + 9, reached, "why", "", 1, now))
    return list(STATES)


@pytest.mark.slow
@pytest.mark.parametrize("call", list(PLACES))
def test_hostile_calls_get_answers_of_the_document(desk: Desk, call: str) -> None:
    hostile(desk, call, 150)


@pytest.mark.parametrize("call", ["submit", "status", "found"])
def test_some_hostile_calls_get_answers_of_the_document(desk: Desk, call: str) -> None:
    hostile(desk, call, 12)


def hostile(desk: Desk, call: str, count: int) -> None:
    """What schemathesis makes of one call of the document: no fault of the server, no answer that is not told.

    That a body is text does not make it a study, so that no call must be answered with 200.
    """
    known = full(desk)
    schema = schemathesis.openapi.from_asgi("/openapi.json", desk.app)
    operation = schema[PLACES[call]]["POST" if call in ("submit", "cancel") else "GET"]
    statuses: list[int] = []

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if case.path_parameters and len(statuses) % 2:
            case.path_parameters["run"] = known[len(statuses) // 2 % len(known)]
        response = case.call(headers={"Authorization": f"Bearer {desk.token}"})
        statuses.append(response.status_code)
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    ask()
    assert statuses
