"""A hospital on NVIDIA FLARE: the components that its process and the processes of its jobs load.

The engine moves bytes, authenticates both ends and keeps processes; everything that decides is the `Desk`'s. No code
arrives: a job that is not the one of this release, byte for byte, is refused before it starts (`OnlyOurs`). Behind that
bring-your-own-code is off for every role, and only two classes may be named. Nothing of a log is sent to the server.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nvflare.apis.app_validation import AppValidator
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.process_launcher import ProcessHandle
from nvflare.collab import collab
from nvflare.fuel.utils.buffer_list import ConsumableBufferList
from nvflare.private.fed.client import client_app_runner, client_runner
from nvflare.utils.job_launcher_utils import get_credential_env

from confrere import forks, wire
from confrere.data.sources import is_table
from confrere.errors import StudyError
from confrere.hospital.desk import Desk
from confrere.hospital.engine import HOME
from confrere.hospital.home import Home
from confrere.hospital.vitals import answered, vitals
from confrere.kits import VITALS, Hasty, hospital_job, without_tensors

without_tensors()
# a debugging line of the engine writes every message out as text, also where nobody reads it: four letters a byte
ConsumableBufferList.__repr__ = object.__repr__
FETCH: Final = 0.1  # seconds between two times that a job asks the server for a task, as `hospital_job` has it
_WAITS = {0.5: 0.05}  # seconds for seconds: until its parent, and then the server, are found
client_app_runner.time = client_runner.time = Hasty(_WAITS)

MISSED: Final = 2  # heartbeats without an answer, after which the hospital signs in anew
AT_WORK: Final = 4  # the same while it has jobs, which end by it: over two minutes, at half a minute each
SLOW: Final = 25.0  # seconds: the engine waits 30 for an answer to a heartbeat, and does not say whether there was one
SELDOM: Final = 0.5  # seconds instead of `FETCH` once questions come: there is no task any more until the end
FILES: Final = {  # of a job, all that it may bring: its two configurations, and the submitter's signatures on them
    "config", "config/config_fed_client.json", "config/config_fed_server.json", ".__nvfl_sig.json",
    ".__nvfl_submitter.crt", "config/.__nvfl_sig.json", "config/.__nvfl_submitter.crt",
}  # fmt: skip
RECORDS: Final = ("formulaic", "duckdb")  # what only a job needs, and is large at rest
OMOP: Final = "ibis.backends.duckdb"  # the same where records are not one table


class Hospital:
    """What a job of the engine loads at a hospital. It takes no settings: a job cannot configure it."""

    def __init__(self) -> None:
        self._desk: Desk | None = None
        # the engine goes on to wait for the server, over a second
        self._ready = forks.importing(*readers(Path(os.environ[HOME])))

    @collab.publish
    def answer(self, message: bytes) -> bytes:
        """Answer one message of the coordinator; errors are the desk's, and uniform."""
        try:
            began = time.perf_counter()
            self._ready.join()
            if self._desk is None:
                _WAITS[FETCH] = SELDOM
                self._desk = Desk(Home(Path(os.environ[HOME])))
            reply = self._desk.answer(message)
            answered(self._desk.home, message, reply, time.perf_counter() - began)
            return reply
        except (OSError, StudyError):  # also its ledger could not be written, or hospital.toml not be read
            return wire.pack({"unable": True})
        except Exception:  # noqa: BLE001 - the engine would send its traceback
            return wire.pack({"refused": True})


def readers(home: Path) -> tuple[str, ...]:
    """The modules by which a hospital's records are read."""
    with suppress(OSError, StudyError):  # what is wrong with hospital.toml is told when it is asked
        here = Home(home)
        if all(is_table(here.source(name)) for name in here.tables):
            return RECORDS
    return (*RECORDS, OMOP)


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


class Launcher(ClientProcessJobLauncher):  # type: ignore[misc]
    """Starts the process of a job, where the engine asks for one: forked, with what it needs imported."""

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: Any) -> ProcessHandle:
        """Have it forked, with the engine's own words."""
        credentials = get_credential_env(fl_ctx.get_prop(FLContextKey.JOB_PROCESS_ARGS) or {})
        command = self.get_command(job_meta, fl_ctx)
        return ProcessHandle(process_adapter=forks.engine().start(command, credentials))


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
