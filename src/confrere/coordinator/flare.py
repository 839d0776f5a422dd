"""The coordinator on NVIDIA FLARE: the component that conducts a run in the server's job process, and the jobs.

A job is plain JSON that names classes of the installed package: nothing is shipped. It carries one word, the run's
name; the rest is in the run's folder. A hospital takes only the job that `kits.hospital_job` writes.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.impl import wf_comm_server
from nvflare.app_common.job_launcher.process_launcher import ProcessHandle
from nvflare.app_common.job_launcher.server_process_launcher import ServerProcessJobLauncher
from nvflare.collab import collab
from nvflare.private.fed.server import job_runner
from nvflare.utils.job_launcher_utils import get_credential_env

from confrere import forks
from confrere.coordinator.conduct import Folder, conduct, ended
from confrere.coordinator.engine import Vitals
from confrere.coordinator.federation import Link
from confrere.coordinator.watch import WHERE, exported
from confrere.errors import Waiting
from confrere.kits import DRIVERS, RUNNER, SAFE, VITALS, Hasty, Process, hospital_job, prune, without_tensors

without_tensors()
job_runner.time = Hasty({1.0: 0.2})  # between two looks at the queue, and at which jobs are over
wf_comm_server.time = Hasty({0.2: 0.05})  # between two looks at whether all hospitals are there

HOME: Final = "CONFRERE_COORDINATOR"  # the environment variable with the coordinator's folder
ROUND: Final = 600.0  # seconds to wait for an answer, unless the environment says otherwise
LOST: Final = 15.0  # seconds without a word, three heartbeats, after which a hospital is not there
SYNC: Final = 30.0  # seconds in which the engine's processes of a run must have found each other
PATIENCE: Final = "CONFRERE_ROUND_SECONDS"
ALLOWED: Final = (
    "confrere.coordinator.flare.Coordinator",
    "nvflare.collab.runtime.controller.CollabController",
)
ENGINE: Final = "nvflare.private.fed.app.server.server_train"
SHARED: Final = (  # what the engine's server and its jobs import, once for all of them
    "confrere.coordinator.flare", ENGINE, "nvflare.private.fed.app.server.runner_process", *DRIVERS,
    "nvflare.collab.runtime.controller", "scipy.linalg", "scipy.special",
)  # fmt: skip


class Coordinator:
    """What a job of the engine loads at the server: conducts the run of this name."""

    def __init__(self, run: str) -> None:
        self._folder = Folder(Path(os.environ[HOME]) / "runs" / run)
        self._ready = forks.importing("formulaic")  # the engine goes on to wait for the hospitals, over a second

    @collab.main
    def conduct(self) -> None:
        """Conduct the run; whatever happens is written into its folder."""
        self._ready.join()
        with exported():
            self._conduct()

    def _conduct(self) -> None:
        links = {proxy.name: _link(proxy) for proxy in collab.clients}
        stop = self._folder.path / "cancel"
        try:
            with self._folder.claimed():
                conduct(self._folder, links, cancelled=stop.exists)
        except Waiting as reason:
            if stop.exists():
                self._folder.say("cancelled", why="cancelled by the researcher")
            else:
                self._folder.say("waiting", why=str(reason))
        except Exception as error:  # noqa: BLE001 - the boundary: what happened is told in the run's folder
            ended(self._folder, error)


class Listener(FLComponent):  # type: ignore[misc]
    """Writes down what hospitals say of their machines with their heartbeats, in the server's process."""

    def handle_event(self, event_type: str, fl_ctx: Any) -> None:
        """Take the word of a heartbeat; what is not of its form is passed over."""
        if event_type != EventType.CLIENT_HEARTBEAT_RECEIVED or (peer := fl_ctx.get_peer_context()) is None:
            return
        name, said = str(peer.get_identity_name()), Vitals.of(peer.get_prop(VITALS), time.time())
        if said is not None and SAFE.fullmatch(name):
            folder = heard(Path(os.environ[HOME]))
            with suppress(OSError):  # a full disk is told elsewhere
                folder.mkdir(exist_ok=True)
                fresh = folder / f".{name}"
                fresh.write_text(json.dumps(said), encoding="utf-8")
                fresh.replace(folder / f"{name}.json")


class Launcher(ServerProcessJobLauncher):  # type: ignore[misc]
    """Starts the process of a job, where the engine asks for one: forked, with what it needs imported."""

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: Any) -> ProcessHandle:
        """Have it forked, with the engine's own words."""
        credentials = get_credential_env(fl_ctx.get_prop(FLContextKey.JOB_PROCESS_ARGS) or {})
        command = self.get_command(job_meta, fl_ctx)
        return ProcessHandle(process_adapter=forks.engine().start(command, credentials))


def heard(home: Path) -> Path:
    """Where the last word of every hospital on its machine lies."""
    return home / "engine" / "heard"


def _link(proxy: Any) -> Link:
    """Bytes to one hospital and back. `Waiting` names the hospital that did not answer."""
    context, patience = copy_context(), float(os.environ.get(PATIENCE, ROUND))

    def send(message: bytes) -> bytes:
        try:
            return bytes(context.copy().run(lambda: proxy(timeout=patience).answer(message)))
        except Exception as error:
            raise Waiting(f"{proxy.name} did not answer ({type(error).__name__})") from error

    return send


def job(folder: Path, run: str, hospitals: list[str]) -> Path:
    """Write the engine's job of a run into a folder: two configurations and a page of facts, no code."""
    app = folder / run / "app" / "config"
    app.mkdir(parents=True, exist_ok=True)
    controller = {"server_obj_id": "_server", "collab_obj_ids": [], "sync_task_timeout": SYNC}
    server = {
        "format_version": 2, "np_download_chunk_size": 0, "server": {"task_request_interval": 0.1},
        "dead_client_grace_period": 5.0, "dead_client_check_lead_time": 3.0,
        "workflows": [{"id": "controller", "path": ALLOWED[1], "args": controller}],
        "components": [{"id": "_server", "path": ALLOWED[0], "args": {"run": run}}],
    }  # fmt: skip
    meta = {
        "name": run, "min_clients": len(hospitals), "mandatory_clients": hospitals,
        "deploy_map": {"app": ["server", *hospitals]}, "resource_spec": {},
    }  # fmt: skip
    (app / "config_fed_server.json").write_text(json.dumps(server, indent=2), encoding="utf-8")
    (app / "config_fed_client.json").write_bytes(hospital_job())
    (folder / run / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
    return folder / run


def harden(kit: Path, state: Path) -> None:
    """Write the server's local settings: no code, no shell, jobs and snapshots kept, dead hospitals seen early."""
    local = kit / "local"
    resources: dict[str, Any] = json.loads((local / "resources.json.default").read_text(encoding="utf-8"))
    resources["class_allow_list"] = list(ALLOWED)
    resources["class_list_enforcement_mode"] = "enforce"
    resources["servers"][0]["heart_beat_timeout"] = 25
    storage = resources["snapshot_persistor"]["args"]["storage"]["args"]
    storage["root_dir"] = str(state / "snapshots")
    for one in resources["components"]:
        if one["id"] == "job_manager":
            one["args"]["uri_root"] = str(state / "jobs")
        if one["id"] == "job_scheduler":
            one["args"] |= {"max_jobs": 4, "min_schedule_interval": 1.0, "max_schedule_interval": 5.0}
        if one["id"] == "process_launcher":
            one["path"] = "confrere.coordinator.flare.Launcher"
    resources["components"].append({"id": "listener", "path": "confrere.coordinator.flare.Listener", "args": {}})
    (local / "resources.json").write_text(json.dumps(resources, indent=2) + "\n", encoding="utf-8")
    default = json.loads((local / "authorization.json.default").read_text(encoding="utf-8"))
    permissions: Mapping[str, Any] = default["permissions"]
    rights = {"submit_job": "any", "manage_job": "any", "download_job": "any", "view": "any", "operate": "any"}
    nothing = {right: "none" for role in permissions.values() if isinstance(role, dict) for right in role}
    given = {role: dict(nothing) for role in permissions}
    given["lead"] |= rights
    policy = {"format_version": "1.0", "permissions": given}
    (local / "authorization.json").write_text(json.dumps(policy, indent=2) + "\n", encoding="utf-8")


class Flare:
    """The engine's server, as a process of ours, and a session with it as the user who submits jobs."""

    def __init__(self, home: Path, log: Path, traces: str = "") -> None:
        """`home` has the kits in engine/; what the server prints goes to `log`, spans of runs to the URL `traces`."""
        self._home = home
        self._environment = {HOME: str(home), **({WHERE: traces} if traces else {})}
        self._site, self._runner = home / "engine" / "site", home / "engine" / "runner"
        self._session: Any = None
        self._lock = threading.RLock()  # the queue and researchers' requests share one session
        self._server = Process(home / "engine" / "server.pid", log)

    def serve(self, patience: float) -> bool:
        """Start the server, or start it again if it died; whether it was. `patience` is in seconds per answer."""
        if self._server.alive:
            return False
        self._drop()
        harden(self._site, self._home / "engine")
        self._server.start(command(self._site), {**self._environment, PATIENCE: str(patience)})
        return True

    @property
    def up(self) -> bool:
        """Whether the server answers."""
        with suppress(Waiting):
            self._ask(lambda s: s.get_system_info())
            return True
        return False

    def hospitals(self) -> dict[str, float]:
        """Hospitals that are connected, and when each was last heard of."""
        found = {c.name: float(c.last_connect_time) for c in self._ask(lambda s: s.get_system_info().client_info)}
        return {name: heard for name, heard in found.items() if time.time() - heard < LOST}

    def vitals(self) -> dict[str, Vitals]:
        """What each hospital last said of its machine with its heartbeat."""
        found = {}
        for file in heard(self._home).glob("*.json"):
            with suppress(OSError, ValueError, TypeError):
                found[file.stem] = Vitals(*json.loads(file.read_bytes()))
        return found

    def start(self, run: str, hospitals: tuple[str, ...]) -> str:
        """Submit the job of a run; its id."""
        with tempfile.TemporaryDirectory(dir=self._home / "engine") as folder:
            return str(self._ask(lambda s: s.submit_job(str(job(Path(folder), run, list(hospitals))))))

    def alive(self, handle: str) -> bool:
        """Whether a job is waiting or running, as the server says."""
        status = str(self._ask(lambda s: s.get_job_meta(handle)).get("status", ""))
        return status in ("SUBMITTED", "APPROVED", "DISPATCHED", "RUNNING")

    def stop(self, handle: str) -> None:
        """Abort a job, or take it out of the queue: what it found is in the run's folder."""

        def end(session: Any) -> None:
            # never deleted, which `tidy` does later: the server's scheduler dies of a queued job that it misses
            with suppress(Exception):  # it was over already; whether the server is there, the next question tells
                session.abort_job(handle)

        with suppress(Waiting):
            self._ask(end)

    def tidy(self) -> None:
        """Remove what the engine keeps of attempts that are over: what they found is in the runs' folders."""
        prune(self._site)
        prune(self._home / "engine" / "jobs", days=60.0)  # of a long run nothing is written there before its end

    def close(self) -> None:
        """End the session and the server with all its jobs."""
        self._drop()
        self._server.stop()

    def _ask(self, what: Callable[[Any], Any]) -> Any:
        """Ask the server; `Waiting` where it does not answer, and a new session the next time."""
        from nvflare.fuel.flare_api.flare_api import JobNotFound, new_secure_session

        with self._lock:
            try:
                if self._session is None:
                    with redirect_stdout(io.StringIO()):  # it tells whom it connects to
                        self._session = new_secure_session(RUNNER, str(self._runner), timeout=5.0)
                return what(self._session)
            except JobNotFound:
                return {}
            except Exception as error:
                self._drop()
                raise Waiting(f"the engine's server does not answer ({type(error).__name__})") from error

    def _drop(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                with suppress(Exception):
                    session.close()


def command(kit: Path) -> list[str]:
    """The engine's server process."""
    return [
        sys.executable, "-u", "-m", "confrere.forks", ",".join(SHARED), ENGINE, "-m", str(kit), "-s",
        "fed_server.json", "--set", "secure_train=true", "org=coordinator", "config_folder=",
    ]  # fmt: skip
