"""A hospital on NVIDIA FLARE: the component that its job processes load, and the process that waits for jobs.

The engine moves bytes, authenticates both ends and keeps processes; everything that decides is the `Desk`'s. No code
arrives: a job that is not the one of this release, byte for byte, is refused before it starts (`OnlyOurs`). Behind that
bring-your-own-code is off for every role, and only two classes may be named. Nothing of a log is sent to the server.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from nvflare.apis.app_validation import AppValidator
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.collab import collab
from nvflare.fuel.utils.buffer_list import ConsumableBufferList

from confrere import wire
from confrere.errors import StudyError
from confrere.hospital.desk import Desk
from confrere.hospital.home import Home
from confrere.hospital.vitals import answered, vitals
from confrere.kits import HOSPITAL_CLASSES, VITALS, Process, hospital_job, prune, without_tensors

without_tensors()
# a debugging line of the engine writes every message out as text, also where nobody reads it: four letters a byte
ConsumableBufferList.__repr__ = object.__repr__

HOME: Final = "CONFRERE_HOSPITAL"  # the environment variable with the hospital's folder
MISSED: Final = 2  # heartbeats without an answer, after which the hospital signs in anew
AT_WORK: Final = 4  # the same while it has jobs, which end by it: over two minutes, at half a minute each
SLOW: Final = 25.0  # seconds: the engine waits 30 for an answer to a heartbeat, and does not say whether there was one
FILES: Final = {  # of a job, all that it may bring: its two configurations, and the submitter's signatures on them
    "config", "config/config_fed_client.json", "config/config_fed_server.json", ".__nvfl_sig.json",
    ".__nvfl_submitter.crt", "config/.__nvfl_sig.json", "config/.__nvfl_submitter.crt",
}  # fmt: skip


class Hospital:
    """What a job of the engine loads at a hospital. It takes no settings: a job cannot configure it."""

    def __init__(self) -> None:
        self._desk: Desk | None = None

    @collab.publish
    def answer(self, message: bytes) -> bytes:
        """Answer one message of the coordinator; errors are the desk's, and uniform."""
        try:
            began = time.perf_counter()
            if self._desk is None:
                self._desk = Desk(Home(Path(os.environ[HOME])))
            reply = self._desk.answer(message)
            answered(self._desk.home, message, reply, time.perf_counter() - began)
            return reply
        except (OSError, StudyError):  # also its ledger could not be written, or hospital.toml not be read
            return wire.pack({"unable": True})
        except Exception:  # noqa: BLE001 - the engine would send its traceback
            return wire.pack({"refused": True})


class Pulse(FLComponent):  # type: ignore[misc]
    """What goes with every heartbeat of the hospital's process: release, clock and free disk, nothing of a patient.

    A server whose certificate was renewed no longer knows whom it let in before, and does not answer. Then the process
    ends, and `serve` starts another, which signs in anew. Jobs do not keep it for long: whether they are over stands in
    the answers that do not come, and what they did of a run is in its journal, from which it goes on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sent, self._missed = 0.0, 0

    def handle_event(self, event_type: str, fl_ctx: Any) -> None:
        """Lay them into the heartbeat that is about to be sent; see whether the one before was answered."""
        if event_type == EventType.BEFORE_CLIENT_HEARTBEAT:
            fl_ctx.set_prop(VITALS, vitals(Path(os.environ[HOME])), private=False, sticky=False)
            if self._missed >= (AT_WORK if fl_ctx.get_engine().get_all_job_ids() else MISSED):
                self.logger.warning(f"{self._missed} heartbeats were not answered: this process ends, to sign in anew")
                os._exit(1)
            self._sent, self._missed = time.monotonic(), self._missed + 1
        elif event_type == EventType.AFTER_CLIENT_HEARTBEAT and time.monotonic() - self._sent < SLOW:
            self._missed = 0


class OnlyOurs(AppValidator):  # type: ignore[misc]
    """What the engine asks before a job may start: it is the one job that this release knows, and not a file more."""

    def validate(self, app_folder: str) -> tuple[str, dict[str, Any]]:
        """Nothing, or why the job is refused, for the coordinator; the hospital's log gets it too."""
        try:
            why = strange(Path(app_folder))
        except OSError as error:
            why = f"its files cannot be read ({type(error).__name__})"
        if why:
            Home(Path(os.environ[HOME])).log("refused", error="Job", why=why)
            return f"the job is refused: {why}", {}
        return "", {}


def strange(app: Path) -> str:
    """What a job has that the one job of this release has not; nothing if it is that."""
    found = {path.relative_to(app).as_posix() for path in app.rglob("*")}
    if more := sorted(found - FILES):
        return f"it brings {len(more)} files that no job has, such as {more[0][:100]!r}"
    if (app / "config" / "config_fed_client.json").read_bytes() != hospital_job():
        return "its configuration is not the one of this release; coordinator and hospital may run different releases"
    return ""


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
        sys.executable, "-u", "-m", "nvflare.private.fed.app.client.client_train", "-m", str(kit), "-s",
        "fed_client.json", "--set", "secure_train=true", f"uid={name}", f"org={name}", "config_folder=",
        "heart_beat_interval=5",
    ]  # fmt: skip
