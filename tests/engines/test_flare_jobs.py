"""No code arrives: a coordinator that ships code, names a foreign class or changes the job is refused at the hospital.

The coordinator here is malicious: its engine's server permits everything, and who submits has every right.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.coordinator import flare
from confrere.kits import RUNNER, Process, hospital_job
from engines.flare import HOSPITALS, UP, Machines

INTRUDER = Path(__file__).with_name("intruder.py")

Change = Callable[[Path, dict[str, Any]], None]


def permissive(kit: Path) -> None:
    """Local settings of an engine's server that lets everything pass."""
    resources = json.loads((kit / "local" / "resources.json").read_text(encoding="utf-8"))
    resources["class_list_enforcement_mode"] = "warn"
    (kit / "local" / "resources.json").write_text(json.dumps(resources), encoding="utf-8")
    rights = ("submit_job", "manage_job", "download_job", "view", "operate", "shell_commands", "byoc", "clone_job")
    policy = {"format_version": "1.0", "permissions": {"lead": dict.fromkeys(rights, "any")}}
    (kit / "local" / "authorization.json").write_text(json.dumps(policy), encoding="utf-8")


@contextmanager
def malicious(federation: Machines) -> Iterator[Callable[[list[Path]], dict[str, str]]]:
    """The coordinator's place is taken by a server that permits everything; gives what submits jobs to it.

    It answers with the engine's status of every job once all are over, by the engine's handle.
    """
    federation.stop("coordinator")
    home = federation.home("coordinator")
    permissive(home / "engine" / "site")
    server = Process(home / "engine" / "rogue.pid", home / "engine" / "rogue.log")
    server.start(flare.command(home / "engine" / "site"), {flare.HOME: str(home), flare.PATIENCE: "10"})
    kit = str(home / "engine" / "runner")
    words = [sys.executable, "-W", "ignore", str(INTRUDER), RUNNER, kit, ",".join(HOSPITALS)]

    def submit(jobs: list[Path]) -> dict[str, str]:
        done = subprocess.run(
            [*words, *map(str, jobs)], capture_output=True, text=True, timeout=2 * UP, check=False, cwd=home
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return dict(json.loads(done.stdout.splitlines()[-1]))

    try:
        yield submit
    finally:
        server.stop()


# What a job may try


def ships_code(app: Path, client: dict[str, Any]) -> None:
    (app / "custom").mkdir()
    (app / "custom" / "intruder.py").write_text("open('/tmp/intruded', 'w').close()\n", encoding="utf-8")


def names_a_program(app: Path, client: dict[str, Any]) -> None:
    client["components"].append({"id": "x", "path": "subprocess.Popen", "args": {"args": ["touch", "MARK"]}})


def names_a_class_of_the_engine(app: Path, client: dict[str, Any]) -> None:
    client["executors"][0]["executor"] = {
        "path": "nvflare.app_common.executors.task_script_runner.TaskScriptRunner", "args": {"script_path": "x.py"}
    }  # fmt: skip


def gives_arguments(app: Path, client: dict[str, Any]) -> None:
    client["components"][0]["args"] = {"home": "/elsewhere"}


def changes_the_tasks(app: Path, client: dict[str, Any]) -> None:
    client["executors"][0]["tasks"] = ["sync", "setup"]


def adds_a_filter(app: Path, client: dict[str, Any]) -> None:
    client["task_result_filters"] = [{"tasks": ["*"], "filters": []}]


def changes_nothing_that_matters(app: Path, client: dict[str, Any]) -> None:
    client["a note"] = "harmless"


def brings_another_file(app: Path, client: dict[str, Any]) -> None:
    (app / "config" / "config_fed_client.conf").write_text("{}", encoding="utf-8")


CHANGES = (
    ships_code, names_a_program, names_a_class_of_the_engine, gives_arguments, changes_the_tasks, adds_a_filter,
    changes_nothing_that_matters, brings_another_file,
)  # fmt: skip


def changed(folder: Path, change: Change) -> Path:
    """The job of a run, changed; it leaves a mark if its program runs."""
    job = flare.job(folder, change.__name__.replace("_", "-"), list(HOSPITALS))
    app = job / "app"
    client = json.loads(hospital_job())
    change(app, client)
    text = json.dumps(client, indent=2).replace("MARK", str(folder / "mark"))
    (app / "config" / "config_fed_client.json").write_text(text, encoding="utf-8")
    for file in app.glob("custom/*.py"):
        file.write_text(f"open({str(folder / 'mark')!r}, 'w').close()\n", encoding="utf-8")
    return job


def test_a_changed_job_is_refused_at_every_hospital_and_logged(federation: Machines, tmp_path: Path) -> None:
    before = {name: len(federation.logged(name)) for name in HOSPITALS}
    with malicious(federation) as submit:
        said = submit([changed(tmp_path, change) for change in CHANGES])
    assert len(said) == len(CHANGES)
    assert not [status for status in said.values() if status in ("FINISHED:COMPLETED", "RUNNING")], said
    for name in HOSPITALS:
        new = federation.logged(name)[before[name] :]
        refused = [line["why"] for line in new if line["event"] == "refused" and line["error"] == "Job"]
        assert len(refused) == len(CHANGES), new
        assert sum("custom" in why for why in refused) == 1
        assert sum("config_fed_client.conf" in why for why in refused) == 1
        assert sum("configuration" in why for why in refused) == len(CHANGES) - 2
        assert not [line for line in new if line["event"] == "started"]
        site = federation.home(name) / "engine" / "site"
        assert not [handle for handle in said if (site / handle).exists()], "the job's files stayed"
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
def test_the_own_job_is_taken(federation: Machines, tmp_path: Path) -> None:
    """The control: every hospital takes the unchanged job, also of the malicious coordinator, and finds no study."""
    (federation.home("coordinator") / "runs" / "own-job").mkdir()
    before = {name: len(federation.logged(name)) for name in HOSPITALS}
    with malicious(federation) as submit:
        (handle,) = submit([flare.job(tmp_path, "own-job", list(HOSPITALS))])
    for name in HOSPITALS:
        assert (federation.home(name) / "engine" / "site" / handle).exists()
        assert not [line for line in federation.logged(name)[before[name] :] if line["event"] == "refused"]
