"""500 rounds with random faults: every finding is right, nothing grows, nothing is left over."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.coordinator.conduct import OVER
from confrere.forks import ENGINE, JOB
from engines.flare import HOSPITALS, ROUND, Machines, family, machines, study_of, until

ROUNDS = int(os.environ.get("CONFRERE_SOAK_ROUNDS", "500"))
FAULTS = ("kill a hospital", "freeze a hospital", "kill a job", "kill the coordinator", "kill the engine")
GROWTH = 60e6  # bytes that the processes of a machine may gain: what is loaded at first use


def at_rest(federation: Machines, name: str) -> tuple[float, int]:
    """Memory (bytes) and open files of a machine, once no run is under way there."""
    until(lambda: not federation.part(name, JOB), f"a job goes on at {name}")
    found = federation.processes(name)
    return sum(p.memory_info().rss for p in found), sum(p.num_fds() for p in found)


def disturb(federation: Machines, chance: random.Random) -> str:
    """One fault; what it was."""
    what, name = chance.choice(FAULTS), chance.choice(HOSPITALS)
    if what == "kill a hospital":
        federation.kill(name)
        time.sleep(chance.uniform(0, 5))
        federation.start(name)
    elif what == "freeze a hospital":
        federation.freeze(name)
        time.sleep(chance.uniform(0, 2 * ROUND))
        federation.thaw(name)
    elif what == "kill a job":
        for one in federation.part(name, JOB):
            one.kill()
    elif what == "kill the coordinator":
        federation.kill("coordinator")
        federation.start("coordinator")
    else:
        for one in federation.part("coordinator", ENGINE):
            one.kill()
    return f"{what} ({name})" if what.endswith("hospital") or what == "kill a job" else what


def passed(federation: Machines, run: str, number: int) -> bool:
    """Whether a run has come to a round, or to its end."""
    said = federation.progress(run)
    return said["state"] in OVER or said.get("round", 0) >= number


@pytest.mark.slow
def test_rounds_with_random_faults(federation: Machines) -> None:
    chance, rounds, told = random.Random(1), 0, []
    expected = None
    while rounds < ROUNDS:
        text = study_of(f"soak {rounds}", 3)
        run = federation.submit(text, deadline=1800.0)
        for number in sorted(chance.sample(range(1, 110), 2)):
            until(lambda run=run, number=number: passed(federation, run, number), f"{run} does not come to {number}")
            told.append(disturb(federation, chance))
        found = federation.found(run, text)
        expected = expected or federation.memory(text)
        assert found == expected, told
        rounds += int(federation.progress(run)["round"])
        federation.up()
    print(rounds, "rounds;", "; ".join(told))


@pytest.mark.slow
def test_nothing_grows(federation: Machines) -> None:
    def once(i: int) -> None:
        text = study_of(f"growth {i}", 3)
        assert federation.ended(federation.submit(text)) == "done"

    once(0)  # what is loaded at first use is no growth
    before = {name: at_rest(federation, name) for name in ("coordinator", *HOSPITALS)}
    for i in range(1, 1 + max(2, ROUNDS // 122)):
        once(i)
    after = {name: at_rest(federation, name) for name in before}
    print({n: [round((a - b) / 1e6, 1) for a, b in zip(after[n], before[n], strict=True)] for n in before})
    for name, (memory, files) in after.items():
        assert memory - before[name][0] < GROWTH, (name, before[name], memory)
        assert files - before[name][1] <= 8, (name, before[name], files)


@pytest.mark.slow
def test_nothing_is_left_over(tmp_path: Path) -> None:
    """Switched off in a round, every process of every machine is gone, also those in sessions of their own."""
    with machines(tmp_path) as federation:
        run = federation.submit(study_of("left over", 3))
        federation.reach(run, 5)
        all_of_them = [p for name in ("coordinator", *HOSPITALS) for p in federation.processes(name)]
        assert len(all_of_them) >= 16
        began = time.monotonic()
        federation.down()
        print(f"all stopped after {time.monotonic() - began:.1f} s")
        gone, alive = psutil.wait_procs(all_of_them, timeout=5)
        assert not alive, [p.cmdline() for p in alive]
        assert len(gone) == len(all_of_them)
    assert not [p for p in family(os.getpid())[1:] if str(tmp_path) in " ".join(p.cmdline())]
