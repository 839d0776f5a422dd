"""A hospital on NVIDIA FLARE: the component that its job processes load, and the process that waits for jobs.

The engine moves bytes, authenticates both ends and keeps processes; everything that decides is the `Desk`'s. No code
arrives: bring-your-own-code is off for every role, and the classes that a job may name are ours and the engine's own
two (`ALLOWED`). Nothing of a log is sent to the server.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from nvflare.collab import collab

from confrere.errors import StudyError
from confrere.hospital.desk import Desk
from confrere.hospital.home import Home
from confrere.kits import Process

HOME: Final = "CONFRERE_HOSPITAL"  # the environment variable with the hospital's folder
ALLOWED: Final = (
    "confrere.hospital.flare.Hospital",
    "nvflare.collab.runtime.executor.CollabExecutor",
)


class Hospital:
    """What a job of the engine loads at a hospital. It takes no settings: a job cannot configure it."""

    def __init__(self) -> None:
        self._desk: Desk | None = None

    @collab.publish
    def answer(self, message: bytes) -> bytes:
        """Answer one message of the coordinator; errors are the desk's, and uniform."""
        if self._desk is None:
            self._desk = Desk(Home(Path(os.environ[HOME])))
        return self._desk.answer(message)


def harden(kit: Path) -> None:
    """Write the engine's local settings of a hospital: no code, no shell, no log streams, only our classes."""
    local = kit / "local"
    resources: dict[str, Any] = json.loads((local / "resources.json.default").read_text(encoding="utf-8"))
    resources["class_allow_list"] = list(ALLOWED)
    resources["class_list_enforcement_mode"] = "enforce"
    resources["allow_log_streaming"] = False
    resources["components"] = [c for c in resources["components"] if c["id"] != "site_log_streamer"]
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


def serve(home: Home, process: Process) -> bool:
    """Start the engine's process of a hospital, or start it again if it died; whether it was."""
    if process.alive:
        return False
    kit = home.path / "engine" / "site"
    if not (kit / "startup" / "client.key").is_file():
        raise StudyError(f"{home.name} has no certificate yet: `confrere hospital install` lays it in")
    harden(kit)
    process.start(command(kit, home.name), {HOME: str(home.path)})
    return True


def command(kit: Path, name: str) -> list[str]:
    """The engine's process of a hospital, which connects out to the server and waits for jobs."""
    return [
        sys.executable, "-u", "-m", "nvflare.private.fed.app.client.client_train", "-m", str(kit), "-s",
        "fed_client.json", "--set", "secure_train=true", f"uid={name}", f"org={name}", "config_folder=",
    ]  # fmt: skip
