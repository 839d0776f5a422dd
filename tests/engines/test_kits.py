"""What the engine leaves behind is removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from confrere import kits
from confrere.kits import Process, prune


def test_folders_of_old_jobs_go_and_all_else_stays(tmp_path: Path) -> None:
    old, fresh, under_way = (tmp_path / str(uuid.uuid4()) for _ in range(3))
    for folder in (old, fresh, under_way, tmp_path / "startup"):
        (folder / "app").mkdir(parents=True)
        (folder / "log.txt").write_text("said", encoding="utf-8")
    past = time.time() - 3 * 86400
    for folder in (old, under_way, tmp_path / "startup"):
        for path in (folder / "app", folder / "log.txt", folder):
            os.utime(path, (past, past))
    os.utime(under_way / "log.txt")
    prune(tmp_path, days=2.0)
    assert {path.name for path in tmp_path.iterdir()} == {fresh.name, under_way.name, "startup"}


def test_a_process_ends_with_all_that_it_started(tmp_path: Path) -> None:
    """Also with what has a session of its own; and a stranger who got the number is left alone."""
    psutil = pytest.importorskip("psutil", reason="needs the extra `federation`")
    child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
    code = child + "start_new_session=True); time.sleep(600)"
    process = Process(tmp_path / "pid", tmp_path / "log")
    process.start([sys.executable, "-c", code, "nvflare"], {})
    first = psutil.Process(int((tmp_path / "pid").read_text(encoding="utf-8")))
    end = time.monotonic() + 30
    while not (started := first.children()) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(started) == 1
    process.stop()
    assert not psutil.wait_procs([first, *started], timeout=5)[1]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        (tmp_path / "pid").write_text(str(stranger.pid), encoding="utf-8")
        other = Process(tmp_path / "pid", tmp_path / "log")
        other.start([sys.executable, "-c", "import time; time.sleep(600)", "nvflare"], {})
        assert stranger.poll() is None
        other.stop()
        stranger.kill()


def test_names_with_hyphens_are_names_of_sites_to_the_engine_too(tmp_path: Path) -> None:
    """It refuses a hyphen in the name of an organisation, not in that of a site."""
    made = kits._participant(
        kits.Profile("onco", "localhost", 8102, 8103, 8443), kits.Ask(tmp_path, "client", kits.checked("lyon-sud"))
    )
    assert (made["name"], made["org"]) == ("lyon-sud", "lyon_sud")


def test_the_engine_neither_imports_torch_into_a_job_nor_writes_messages_out_as_text() -> None:
    """It imported PyTorch into every process of a run, and formatted every message for a log that nobody keeps."""
    pytest.importorskip("nvflare", reason="needs the extra `federation`")
    from nvflare.fuel.utils.buffer_list import ConsumableBufferList
    from nvflare.fuel.utils.import_utils import optional_import

    import confrere.hospital.flare  # noqa: F401 - what a job's process loads

    assert "masked" not in f"{ConsumableBufferList([b'masked numbers'])}"
    _, there = optional_import(module="nvflare.app_opt.pt.decomposers", name="TensorDecomposer")
    assert not there


def test_a_hospital_that_is_not_answered_signs_in_anew_unless_a_run_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the coordinator's certificate was renewed: nothing of the engine's would ever try."""
    pytest.importorskip("nvflare", reason="needs the extra `federation`")
    from nvflare.apis.event_type import EventType

    from confrere.hospital import flare

    jobs: list[str] = []
    ends: list[int] = []
    context = SimpleNamespace(
        set_prop=lambda *said, **how: None, get_engine=lambda: SimpleNamespace(get_all_job_ids=lambda: jobs)
    )  # fmt: skip
    clock = [0.0]
    monkeypatch.setenv(flare.HOME, str(tmp_path))
    monkeypatch.setattr(flare, "vitals", lambda home: {})
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(os, "_exit", ends.append)
    pulse = flare.Pulse()

    def beat(seconds: float) -> None:
        pulse.handle_event(EventType.BEFORE_CLIENT_HEARTBEAT, context)
        clock[0] += seconds
        pulse.handle_event(EventType.AFTER_CLIENT_HEARTBEAT, context)

    for seconds in (0.1, 30.0, 0.1, 30.0, 0.1):  # one that is lost now and then is none
        beat(seconds)
    assert ends == []
    jobs.append("a run, whose arrays keep the line busy")
    for _ in range(flare.AT_WORK):
        beat(30.0)
    assert ends == []
    jobs.clear()
    beat(30.0)
    assert ends == [1]
