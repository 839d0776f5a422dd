"""The contract of engines: what the service relies on holds in this process and over NVIDIA FLARE alike.

Another engine passes these tests, or it is none of ours: add it to `worlds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from confrere import wire
from confrere.coordinator.conduct import OVER, Folder, Found
from confrere.coordinator.engine import Engine
from confrere.coordinator.home import Home
from confrere.hospital.home import Home as Hospital
from engines.inprocess import STUDY, InProcess, found

pytestmark = pytest.mark.filterwarnings("default")  # the engine's own, of its clients in this process
NOISE = "# {}\n"  # makes a study of another hash, so that each test has a run of its own


class World:
    """An engine, its coordinator's folder, and the power to take a hospital away."""

    def __init__(self, engine: Engine, home: Home, hospitals: dict[str, Hospital]) -> None:
        self.engine, self.home, self.hospitals = engine, home, hospitals
        self.lose: Callable[[str], None]
        self.back: Callable[[str], None]
        self.slowly: Callable[[], None] = lambda: None

    def queued(self, number: int) -> tuple[str, Folder]:
        """A study that all have approved, ready to be conducted."""
        text = STUDY + NOISE.format(number)
        for one in self.hospitals.values():
            one.approve(text)
        folder = self.home.folder(f"contract-{number}")
        return folder.path.name, Folder.make(folder.path, text)

    def until(self, what: Callable[[], object], seconds: float = 120.0) -> None:
        """Wait until something is true."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"not after {seconds:g} s"
            time.sleep(0.02)

    def done(self, run: str, folder: Folder) -> Found:
        """Conduct a run, in as many attempts as it takes; what it found."""
        end = time.monotonic() + 180
        while folder.progress["state"] not in OVER:
            assert time.monotonic() < end, folder.progress
            self.until(lambda: set(self.engine.hospitals()) == set(self.hospitals))
            folder.say("queued")
            handle = self.engine.start(run, tuple(sorted(self.hospitals)))
            self.until(lambda handle=handle: not self.engine.alive(handle))
        return folder.found


@contextmanager
def threads(place: Path) -> Iterator[World]:
    """The engine of this process."""
    home, hospitals = found(place)
    engine = InProcess(home, hospitals)
    world = World(engine, home, hospitals)
    world.lose, world.back = engine.down.add, engine.down.discard
    world.slowly = lambda: setattr(engine, "_pace", 0.01)
    try:
        yield world
    finally:
        engine.close()


@contextmanager
def flare(place: Path) -> Iterator[World]:
    """NVIDIA FLARE, its server and hospitals as processes."""
    pytest.importorskip("nvflare")
    from confrere.coordinator.flare import Flare
    from engines.flare import HOSPITALS, ROUND, Machines, until

    machines = Machines(place)
    home = Home(machines.home("coordinator"))
    engine = Flare(home.path, home.path / "engine" / "server.log")
    world = World(engine, home, {name: Hospital(machines.home(name)) for name in HOSPITALS})
    world.lose, world.back = machines.kill, machines.start
    try:
        engine.serve(ROUND)
        until(lambda: engine.up, "the engine's server is not up")
        for name in HOSPITALS:
            machines.start(name)
        world.until(lambda: set(engine.hospitals()) == set(HOSPITALS), 180)
        yield world
    finally:
        machines.down()
        engine.close()


worlds: list[object] = [threads, pytest.param(flare, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=worlds, ids=lambda p: p.__name__)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made: Callable[[Path], AbstractContextManager[World]] = request.param
    with made(tmp_path_factory.mktemp("world")) as one:
        yield one


def test_it_says_who_is_there(world: World) -> None:
    seen = world.engine.hospitals()
    assert set(seen) == set(world.hospitals)
    assert all(abs(time.time() - at) < 60 for at in seen.values())


def test_it_says_how_the_machines_are(world: World) -> None:
    world.until(lambda: set(world.engine.vitals()) == set(world.hospitals))
    for said in world.engine.vitals().values():
        assert said.version == wire.release()
        assert abs(time.time() - said.heard) < 60
        assert abs(said.ahead) < 10
        assert said.free > 0


def test_it_conducts_a_run_to_its_end(world: World) -> None:
    run, folder = world.queued(1)
    assert set(world.done(run, folder).findings) == {"ages", "recurrence", "risk"}


def test_what_it_does_not_know_is_not_alive_and_can_be_stopped(world: World) -> None:
    assert not world.engine.alive("nobody")
    world.engine.stop("nobody")


def test_what_it_stops_is_over_and_can_be_taken_up_again(world: World) -> None:
    world.slowly()
    run, folder = world.queued(2)
    handle = world.engine.start(run, tuple(sorted(world.hospitals)))
    world.until(lambda: folder.progress.get("round", 0) >= 3)
    world.engine.stop(handle)
    world.until(lambda: not world.engine.alive(handle))
    assert folder.progress["state"] != "done"
    again, whole = world.queued(3)
    tables = {n: f.tables for n, f in world.done(run, folder).findings.items()}
    assert tables == {n: f.tables for n, f in world.done(again, whole).findings.items()}


def test_a_hospital_that_is_lost_is_named(world: World) -> None:
    world.slowly()
    lost = sorted(world.hospitals)[0]
    run, folder = world.queued(4)
    handle = world.engine.start(run, tuple(sorted(world.hospitals)))
    world.until(lambda: folder.progress.get("round", 0) >= 3)
    world.lose(lost)
    world.until(lambda: not world.engine.alive(handle) or folder.progress["state"] == "waiting")
    assert lost in folder.progress["why"]
    world.engine.stop(handle)
    world.back(lost)
    assert set(world.done(run, folder).findings) == {"ages", "recurrence", "risk"}
