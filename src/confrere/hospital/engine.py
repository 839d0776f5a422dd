"""The engine's process of a hospital: its settings, its start, and what is tidied up behind it.

Nothing here imports the engine: the process that keeps the engine's alive, and hospitals' pages, need not hold it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.kits import DRIVERS, HOSPITAL_CLASSES, Process, prune

HOME: Final = "CONFRERE_HOSPITAL"  # the environment variable with the hospital's folder
ENGINE: Final = "nvflare.private.fed.app.client.client_train"
SHARED: Final = (  # what the engine's process and its jobs import, once for all of them
    "confrere.hospital.flare", ENGINE, "nvflare.private.fed.app.client.worker_process", *DRIVERS,
    "nvflare.collab.runtime.executor", "scipy.linalg", "scipy.special",
)  # fmt: skip


def harden(kit: Path, target: str) -> None:
    """Write the engine's settings of a hospital: where it connects, no code, no shell, no log streams, our classes."""
    local, client = kit / "local", kit / "startup" / "fed_client.json"
    settings: dict[str, Any] = json.loads(client.read_text(encoding="utf-8"))
    if settings["servers"][0]["service"]["target"] != target:
        settings["servers"][0]["service"]["target"] = target
        client.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    resources: dict[str, Any] = json.loads((local / "resources.json.default").read_text(encoding="utf-8"))
    resources["class_allow_list"] = list(HOSPITAL_CLASSES)
    resources["class_list_enforcement_mode"] = "enforce"
    resources["app_validator"] = {"path": "confrere.hospital.flare.OnlyOurs", "args": {}}
    resources["allow_log_streaming"] = False
    resources["components"] = [c for c in resources["components"] if c["id"] != "site_log_streamer"]
    (launcher,) = (c for c in resources["components"] if c["id"] == "process_launcher")
    launcher["path"] = "confrere.hospital.flare.Launcher"
    resources["components"].append({"id": "pulse", "path": "confrere.hospital.flare.Pulse", "args": {}})
    (local / "resources.json").write_text(json.dumps(resources, indent=2) + "\n", encoding="utf-8")
    nothing = dict.fromkeys(RIGHTS, "none")
    permissions = {role: dict(nothing) for role in ("project_admin", "org_admin", "lead", "member")}
    permissions["lead"] |= {"submit_job": "any", "manage_job": "n:submitter", "view": "any"}
    policy = {"format_version": "1.0", "permissions": permissions}
    (local / "authorization.json").write_text(json.dumps(policy, indent=2) + "\n", encoding="utf-8")


RIGHTS: Final = (
    "submit_job", "clone_job", "manage_job", "download_job", "view", "operate", "shell_commands", "byoc",
    "server-predeployed-flwr",
)  # fmt: skip


def site(home: Home) -> Process:
    """The engine's process of a hospital, not yet started."""
    return Process(home.path / "engine" / "site.pid", home.path / "engine" / "site.log")


def serve(home: Home, process: Process, target: str) -> bool:
    """Start the engine's process of a hospital, or start it again if it died; whether it was.

    `target` is HOST:PORT to which it connects: `tunnel.way_out`.
    """
    if process.alive:
        return False
    kit = home.path / "engine" / "site"
    if not (kit / "startup" / "client.key").is_file():
        raise StudyError(f"{home.name} has no certificate yet: `confrere hospital install` lays it in")
    harden(kit, target)
    process.start(command(kit, home.name), {HOME: str(home.path)})
    return True


def tidy(home: Home) -> None:
    """Remove what the engine keeps of jobs that are over, and rows of worklists and cases whose days are over."""
    prune(home.path / "engine" / "site")
    home.expire()


def command(kit: Path, name: str) -> list[str]:
    """The engine's process of a hospital, which connects out to the server and waits for jobs."""
    return [
        sys.executable, "-u", "-m", "confrere.forks", ",".join(SHARED), ENGINE, "-m", str(kit), "-s",
        "fed_client.json", "--set", "secure_train=true", f"uid={name}", f"org={name}", "config_folder=",
        "heart_beat_interval=5",
    ]  # fmt: skip
