"""Machines are lost, frozen, slow, full and wrong about the time: the run waits, says for whom, and finds the same."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.forks import ENGINE, JOB
from engines.flare import HOSPITALS, ROUND, UP, Machines, study_of, until

LOST = "gouda"


def same(federation: Machines, run: str, text: str) -> None:
    """The run comes to the finding of an undisturbed one, with keys of another epoch."""
    assert federation.found(run, text) == federation.memory(text)
    assert {federation.epoch(name, run) for name in HOSPITALS} > {1} or federation.epoch(LOST, run) > 1


def before_its_answer(federation: Machines, run: str) -> None:
    """The coordinator is frozen between rounds, or in one: the hospital dies with nothing to do."""
    federation.freeze("coordinator")
    time.sleep(1.0)
    federation.kill(LOST)
    federation.thaw("coordinator")


def during_its_answer(federation: Machines, run: str) -> None:
    """The round waits for the hospital when it dies."""
    federation.freeze(LOST)
    time.sleep(1.0)
    federation.kill(LOST)


def after_its_answer(federation: Machines, run: str) -> None:
    """The round waits for another one, this one has answered."""
    federation.freeze("delft")
    time.sleep(1.0)
    federation.kill(LOST)
    federation.thaw("delft")


@pytest.mark.parametrize(
    "lose",
    [
        during_its_answer,
        pytest.param(before_its_answer, marks=pytest.mark.slow),
        pytest.param(after_its_answer, marks=pytest.mark.slow),
    ],
)
def test_a_hospital_is_lost(federation: Machines, lose: Callable[[Machines, str], None]) -> None:
    text = study_of(f"lost {lose.__name__}", 3)
    run = federation.submit(text)
    federation.reach(run, 10)
    lose(federation, run)
    began = time.monotonic()
    assert LOST in federation.waits(run)
    print(f"says that it waits after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < ROUND + 15
    federation.start(LOST)
    began = time.monotonic()
    same(federation, run, text)
    print(f"done {time.monotonic() - began:.1f} s after the restart")


@pytest.mark.slow
def test_two_hospitals_are_lost(federation: Machines) -> None:
    text = study_of("two lost", 3)
    run = federation.submit(text)
    federation.reach(run, 10)
    for name in ("gouda", "rotterdam"):
        federation.freeze(name)
    for name in ("gouda", "rotterdam"):
        federation.kill(name)
    why = federation.waits(run)
    assert "gouda" in why
    assert "rotterdam" in why
    federation.start("gouda")
    until(lambda: "waiting for rotterdam" in federation.status(run)["why"], "it does not say who is missing")
    assert federation.status(run)["state"] == "waiting"
    federation.start("rotterdam")
    same(federation, run, text)


@pytest.mark.slow
def test_a_hospital_stands_still_for_longer_than_a_round_may_take(federation: Machines) -> None:
    text = study_of("frozen", 3)
    run = federation.submit(text)
    federation.reach(run, 10)
    federation.freeze(LOST)
    assert LOST in federation.waits(run)
    time.sleep(3 * ROUND)
    federation.thaw(LOST)
    same(federation, run, text)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 10, 60])
def test_the_coordinator_is_lost(federation: Machines, number: int) -> None:
    text = study_of(f"coordinator lost in round {number}", 3)
    run = federation.submit(text)
    federation.reach(run, number)
    federation.kill("coordinator")
    federation.start("coordinator")
    same(federation, run, text)


@pytest.mark.slow
def test_only_the_service_is_lost_and_the_engine_goes_on(federation: Machines) -> None:
    text = study_of("service lost", 3)
    run = federation.submit(text)
    federation.reach(run, 10)
    federation._serving["coordinator"].kill()
    federation._serving.pop("coordinator").wait(UP)
    federation.start("coordinator")
    assert federation.found(run, text) == federation.memory(text)


@pytest.mark.slow
def test_only_the_engines_server_is_lost(federation: Machines) -> None:
    text = study_of("engine lost", 3)
    run = federation.submit(text)
    federation.reach(run, 10)
    federation.part("coordinator", ENGINE)[0].kill()
    same(federation, run, text)


@pytest.mark.slow
def test_only_a_hospitals_job_is_lost(federation: Machines) -> None:
    text = study_of("job lost", 3)
    run = federation.submit(text)
    federation.reach(run, 10)
    for one in federation.part(LOST, JOB):  # that of the run before may still be ending
        one.kill()
    same(federation, run, text)
