"""The coordinator's service over an engine: queue, waiting, cancelling, deadlines, restarts, and its HTTPS face."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from confrere.coordinator.book import Book
from confrere.coordinator.conduct import OVER, STATES
from confrere.coordinator.service import Service
from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.study.file import parse
from engines.inprocess import NAMES, STUDY, InProcess, found

OTHER = STUDY.replace("engine-test", "engine-test-2").replace("hormon + age + nodes", "hormon + age")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    coordinator, homes = found(tmp_path)
    for home in homes.values():
        home.approve(OTHER)
    engine = InProcess(coordinator, homes)
    yield Service(coordinator, engine, Book(coordinator.database))
    engine.close()


def until(service: Service, run: str, *states: str, seconds: float = 60.0) -> dict[str, object]:
    """Look at everything until a run is in one of these states."""
    end = time.monotonic() + seconds
    while (status := service.status(run))["state"] not in states:
        assert time.monotonic() < end, f"after {seconds} s: {status}"
        service.step()
        time.sleep(0.02)
    return status


def engine_of(service: Service) -> InProcess:
    engine = service._engine
    assert isinstance(engine, InProcess)
    return engine


def slowly(service: Service) -> str:
    """A run that takes its time, in its fifth round or later."""
    engine_of(service)._pace = 0.01
    run = service.submit(STUDY, "ada").run
    service.step()
    while service.home.folder(run).progress.get("round", 0) < 5:
        time.sleep(0.01)
    return run


def test_two_studies_run_and_are_found(service: Service) -> None:
    runs = [service.submit(text, "ada").run for text in (STUDY, OTHER)]
    assert len(set(runs)) == 2
    for run in runs:
        assert until(service, run, *OVER)["state"] == "done"
        assert set(service.home.folder(run).found.findings) == {"ages", "recurrence", "risk"}
    assert service.health()["runs"]["done"] == 2


def test_the_same_study_again_is_the_same_run(service: Service) -> None:
    first = service.submit(STUDY, "ada")
    until(service, first.run, "done")
    assert service.submit(STUDY, "ada").run == first.run
    assert service.status(first.run)["state"] == "done"


def test_no_more_than_the_settings_allow_run_at_once(service: Service) -> None:
    service.home.settings["runs"] = 1
    engine_of(service)._pace = 0.005
    first, second = (service.submit(text, "ada").run for text in (STUDY, OTHER))
    service.step()
    assert (service.status(first)["state"], service.status(second)["state"]) == ("running", "queued")
    until(service, second, "done")
    assert service.status(first)["state"] == "done"


def test_a_run_waits_for_its_hospitals_and_says_for_whom(service: Service) -> None:
    engine_of(service).down.add("lyon")
    run = service.submit(STUDY, "ada").run
    for _ in range(3):
        service.step()
    assert service.status(run)["state"] == "queued"
    assert service.status(run)["why"] == "waiting for lyon"
    engine_of(service).down.clear()
    until(service, run, "done")


def test_a_hospital_that_is_lost_is_waited_for_and_the_run_goes_on(service: Service) -> None:
    engine, run = engine_of(service), slowly(service)
    engine.down.add("delft")
    waiting = until(service, run, "waiting")
    assert "delft" in str(waiting["why"])
    for _ in range(5):
        service.step()
    assert service.status(run)["state"] == "waiting"
    engine.down.clear()
    until(service, run, "done")
    assert service.status(run)["attempts"] == 2


def test_a_run_past_its_deadline_is_over(service: Service) -> None:
    engine_of(service).down.add("lyon")
    run = service.submit(STUDY, "ada", deadline=0.05).run
    time.sleep(0.1)
    status = until(service, run, "expired")
    assert "lyon" in str(status["why"])


@pytest.mark.parametrize("running", [False, True])
def test_a_cancelled_run_asks_nothing_more_and_can_be_submitted_again(service: Service, running: bool) -> None:
    engine_of(service)._pace = 0.02
    run = service.submit(STUDY, "ada").run
    if running:
        service.step()
        while service.home.folder(run).progress.get("round", 0) < 2:
            time.sleep(0.01)
    service.cancel(run)
    until(service, run, "cancelled")
    with pytest.raises(StudyError, match="over already"):
        service.cancel(run)
    engine_of(service)._pace = 0.0
    assert service.submit(STUDY, "ada").run == run
    until(service, run, "done")


def test_a_coordinator_that_was_killed_takes_its_runs_up_again(service: Service) -> None:
    engine, run = engine_of(service), slowly(service)
    restarted = Service(service.home, engine, Book(service.home.database))
    restarted.recover()
    assert restarted.status(run)["state"] == "waiting"
    engine._pace = 0.0
    until(restarted, run, "done")


def test_an_attempt_that_died_without_a_word_is_taken_up_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(service)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "start", lambda run, hospitals: "ghost")
        run = service.submit(STUDY, "ada").run
        service.step()
        assert service.status(run)["state"] == "running"
        service.step()
        assert service.status(run)["state"] == "waiting"
    until(service, run, "done")


def test_a_refusal_ends_the_run_and_says_nothing(service: Service) -> None:
    text = STUDY.replace("engine-test", "refused-here")
    run = service.submit(text, "ada").run
    homes = [Home(service.home.path.parent / name) for name in NAMES]
    status = until(service, run, "waiting")
    assert str(status["why"]) == "waiting for the stewards of curie, delft, lyon to decide"
    for home in homes[:2]:
        home.approve(home.studies.text(parse(text, "").hash))
    homes[2].refuse(parse(text, "").hash)
    status = until(service, run, *OVER)
    assert status["state"] == "refused"
    assert "steward" in str(status["why"])


def test_a_study_that_comes_unannounced_waits_in_the_inbox_and_runs_once_all_said_yes(service: Service) -> None:
    text = STUDY.replace("engine-test", "unannounced")
    run = service.submit(text, "ada").run
    until(service, run, "waiting")
    for name in NAMES:
        home = Home(service.home.path.parent / name)
        (record,) = home.studies.all(["submitted"])
        assert home.studies.text(record.study) == text
        home.approve(text)
    until(service, run, "done")


def test_what_is_over_can_be_erased(service: Service) -> None:
    run = service.submit(STUDY, "ada").run
    with pytest.raises(StudyError, match="not over"):
        service.erase(run)
    until(service, run, "done")
    service.erase(run)
    assert not service.home.folder(run).path.exists()
    with pytest.raises(StudyError, match="no run"):
        service.status(run)


def test_runs_are_kept_as_long_as_the_settings_say(service: Service) -> None:
    run = service.submit(STUDY, "ada").run
    until(service, run, "done")
    service.tidy()
    assert service.book.get(run) is not None
    service.home.settings["keep_days"] = 0.0
    time.sleep(0.01)
    service.tidy()
    assert service.book.get(run) is None


def test_states_follow_their_table(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    change: Callable[..., None] = service.book.change

    def noted(run: str, **facts: object) -> None:
        entry = service.book.get(run)
        if entry is not None and "state" in facts and facts["state"] != entry.state:
            seen.append((entry.state, str(facts["state"])))
        change(run, **facts)

    monkeypatch.setattr(service.book, "change", noted)
    engine = engine_of(service)
    engine.down.add("lyon")
    run = service.submit(STUDY, "ada").run
    service.step()
    engine.down.clear()
    until(service, run, "done")
    assert seen == [("queued", "running"), ("running", "done")]
    assert all(after in STATES[before] for before, after in seen)


def test_a_wrong_study_is_refused_at_once(service: Service) -> None:
    with pytest.raises(StudyError):
        service.submit("nonsense", "ada")
    with pytest.raises(StudyError, match="not known"):
        service.submit(STUDY.replace('"cox"', '"coks"'), "ada")


def test_tokens(service: Service) -> None:
    token = service.book.token("ada")
    assert service.book.researcher(token) == "ada"
    assert service.book.researcher(token + "x") is None
    assert token.encode() not in (service.home.path / "state.db").read_bytes()
    assert service.book.revoke("ada") == 1
    assert service.book.researcher(token) is None
    with pytest.raises(StudyError):
        service.book.revoke("ada")


def test_the_face_to_researchers(service: Service) -> None:
    testing = pytest.importorskip("fastapi.testclient")
    from confrere.console.api import web
    from confrere.coordinator.conduct import found_of

    ada, bob = ({"Authorization": f"Bearer {service.book.token(n)}"} for n in ("ada", "bob"))
    client = testing.TestClient(web(service, "0"))
    assert client.get("/runs").status_code == 401
    assert client.get("/runs", headers={"Authorization": "Bearer nobody"}).status_code == 401
    reads = {"Authorization": f"Bearer {service.book.token('ada', scopes=('read',))}"}
    assert client.get("/runs", headers=reads).status_code == 200
    refused = client.post("/runs", content=STUDY.encode(), headers=reads)
    assert (refused.status_code, "may not submit" in refused.text) == (401, True)
    said = client.post("/runs", content=b"nonsense", headers=ada)
    assert (said.status_code, said.json()["error"]) == (422, "StudyError")
    assert client.post("/runs", content=b"\xff\xfe", headers=ada).status_code == 422
    assert client.post("/runs", content=b"#" * 1_000_001, headers=ada).status_code == 422
    run = client.post("/runs", content=STUDY.encode(), headers=ada).json()["run"]
    assert client.get(f"/runs/{run}/found", headers=ada).status_code == 422
    assert client.get(f"/runs/{run}", headers=bob).status_code == 404
    assert client.post(f"/runs/{run}/cancel", headers=bob).status_code == 404
    assert client.post("/runs", content=STUDY.encode(), headers=bob).status_code == 422
    until(service, run, "done")
    found = found_of(client.get(f"/runs/{run}/found", headers=ada).content)
    assert set(found.findings) == {"ages", "recurrence", "risk"}
    assert [r["state"] for r in client.get("/runs", headers=ada).json()] == ["done"]
    assert client.get("/runs", headers=bob).json() == []
    assert set(client.get("/health").json()["hospitals"]) == {"curie", "delft", "lyon"}
