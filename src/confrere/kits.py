"""Certificates of the transport, by NVIDIA FLARE's own provisioning: a private key is born where it is used.

    authority   `make_authority`: a root certificate, of a third party or one hospital's IT, not of the coordinator
    a site      `request`: a key and a signing request; only the request leaves
    authority   `approve`: signs it
    a site      `install`: checks the authority's fingerprint, read out by telephone, and lays the kit into its folder

They secure the transport and nothing else: sums are bound to the roster's identity keys (`sums.keys`), so that whoever
holds the authority's key could disturb a run, but not read or swap a hospital's part.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from confrere.errors import ConfrereError, StudyError

RUNNER: Final = (
    "runner@coordinator.confrere.org"  # the engine wants an address for who submits jobs; nobody writes to it
)
HOSPITAL_CLASSES: Final = (  # all that a job may load at a hospital: ours, and the engine's that calls it
    "confrere.hospital.flare.Hospital",
    "nvflare.collab.runtime.executor.CollabExecutor",
)
DRIVERS: Final = tuple(  # the engine's transports, all of which it imports wherever it connects
    f"nvflare.fuel.f3.drivers.{name}"
    for name in ("aio_grpc_driver", "aio_http_driver", "aio_tcp_driver", "grpc_driver", "tcp_driver")
)
VITALS: Final = "confrere_vitals"  # what a hospital says of its machine, in the engine's heartbeats
SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}")
DAYS: Final = 1095  # that certificates hold, unless the authority says otherwise
SOON: Final = 60  # days before its end from which a certificate is to be renewed


class KitError(ConfrereError):
    """A certificate or a kit could not be made; says what the engine said."""

    exit_code = 2


@dataclass(frozen=True)
class Profile:
    """What all sites of a federation know of its transport: the file `federation.json`, no secret."""

    name: str
    host: str  # the coordinator's, as hospitals reach it
    port: int = 8102  # of the engine, to which hospitals connect out
    admin_port: int = 8103  # of the engine's jobs, used at the coordinator alone
    api_port: int = 8443  # of the service to which researchers connect

    @classmethod
    def read(cls, path: Path) -> Profile:
        """The profile of a file."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise StudyError(f"{path} is no federation.json ({error}); `confrere authority init` makes it") from None

    def write(self, path: Path) -> None:
        """Write the profile to a file."""
        path.write_text(json.dumps(self.__dict__, indent=2) + "\n", encoding="utf-8")

    def yaml(self) -> dict[str, Any]:
        """The profile in the engine's words."""
        server = {"host": self.host, "fed_learn_port": self.port, "admin_port": self.admin_port}
        return {"name": self.name, "scheme": "http", "connection_security": "mtls", "server": server}


def checked(name: str) -> str:
    """A name that engine, roster and file systems all take. StudyError otherwise."""
    if not SAFE.fullmatch(name):
        raise StudyError(
            f"{name!r} cannot name a site: use up to 31 letters, digits and hyphens, a letter or digit first"
        )
    return name


def make_authority(home: Path, profile: Profile) -> str:
    """A new authority in a folder; its fingerprint. StudyError where there is one already."""
    checked(profile.name)
    if (home / "ca").exists():
        raise StudyError(
            f"{home} holds an authority already; another one would lock every site out. Choose a new folder"
        )
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    profile.write(home / "federation.json")
    _yaml(home / "profile.yml", profile.yaml())
    _engine(["cert", "init", "--profile", str(home / "profile.yml"), "-o", str(home / "ca")])
    (home / "ca" / "rootCA.key").chmod(0o600)
    shutil.copy(home / "ca" / "rootCA.pem", home / "authority.pem")
    return fingerprint(home / "authority.pem")


class Ask(NamedTuple):
    """Whose certificate is asked for: `kind` is `server`, `client` or `runner`; `home` is the site's folder."""

    home: Path
    kind: str
    name: str


def request(profile: Profile, *sites: Ask) -> list[Path]:
    """New keys for the transport in each site's folder, and the requests to send to the authority; again, to renew."""
    commands = []
    with tempfile.TemporaryDirectory() as temporary:
        for site in sites:
            definition = Path(temporary) / f"{site.name}.yml"
            _yaml(definition, {"name": profile.name, "participants": [_participant(profile, site)]})
            folder = site.home / "requests" / site.name
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            commands.append(["cert", "request", "-p", str(definition), "--out", str(folder), "--force"])
        _engine(*commands)
    made = []
    for site in sites:
        folder = site.home / "requests" / site.name
        (folder / f"{site.name}.key").chmod(0o600)
        made.append(site.home / f"{site.name}.request.zip")
        shutil.copy(folder / f"{site.name}.request.zip", made[-1])
    return made


def _participant(profile: Profile, site: Ask) -> dict[str, Any]:
    """A site in the engine's words."""
    of = site.name.replace("-", "_") if site.kind == "client" else "coordinator"  # it takes no hyphens here
    own = {"name": site.name, "org": of, "type": site.kind}
    if site.kind == "server":
        return {**own, "fed_learn_port": profile.port, "admin_port": profile.admin_port}
    return {**own, "type": "admin", "role": "lead"} if site.kind == "runner" else own


def approve(home: Path, *asked: Path, days: int = DAYS) -> list[Path]:
    """Sign requests with the authority's key; the signed answers lie beside the requests."""
    signed = [one.with_name(one.name.replace(".request.zip", "") + ".signed.zip") for one in asked]
    rules = ["-c", str(home / "ca"), "--profile", str(home / "profile.yml"), "--valid-days", str(days), "--force"]
    _engine(*(["cert", "approve", str(a), "--out", str(s), *rules] for a, s in zip(asked, signed, strict=True)))
    return signed


def install(expected: str, *answers: tuple[Path, Path]) -> list[Path]:
    """Lay the kits of (a site's folder, its signed answer) into the folders; the kits.

    `expected` is the authority's fingerprint, as it was read out. KitError where an answer is by another one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        places = [Path(temporary) / str(i) for i in range(len(answers))]
        _engine(
            *(
                ["package", str(signed), "--request-dir", str(home / "requests" / _named(signed)), "--fingerprint",
                 expected, "-w", str(place)]
                for (home, signed), place in zip(answers, places, strict=True)
            )
        )  # fmt: skip
        return [_laid(next(p.glob("*/prod_*/*")), home) for (home, _), p in zip(answers, places, strict=True)]


def _named(signed: Path) -> str:
    return signed.name.removesuffix(".signed.zip")


def _laid(made: Path, home: Path) -> Path:
    """Copy a kit that the engine made into a site's folder, its keys for the owner alone."""
    kit = home / "engine" / ("runner" if made.name == RUNNER else "site")
    (kit / "startup").mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in ("startup", "local"):
        shutil.copytree(made / folder, kit / folder, dirs_exist_ok=True)
    for key in (kit / "startup").glob("*.key"):
        key.chmod(0o600)
    return kit


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a certificate as people read it out: pairs of hexadecimal digits."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    digest = x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(SHA256())
    return ":".join(f"{b:02X}" for b in digest)


def expires(kit: Path) -> str:
    """The day on which a kit's certificate ends, as YYYY-MM-DD."""
    from cryptography import x509

    name = "server.crt" if (kit / "startup" / "server.crt").exists() else "client.crt"
    found = x509.load_pem_x509_certificate((kit / "startup" / name).read_bytes())
    return found.not_valid_after_utc.date().isoformat()


def ending(kit: Path) -> str:
    """What there is to say of a kit's certificate that ends within `SOON` days; "" of one that does not."""
    day = expires(kit)
    if (date.fromisoformat(day) - datetime.now(UTC).date()).days > SOON:
        return ""
    return f"the certificate in {kit} ends on {day}: `renew` asks for a new one, to be approved and installed"


def hospital_job() -> bytes:
    """What a job says to a hospital's engine, byte for byte: the same in every run, so that a hospital may compare.

    Array inlining (`np_download_chunk_size: 0`) and short task intervals make a round 30 ms instead of 120.
    """
    job = {
        "format_version": 2, "np_download_chunk_size": 0, "default_task_fetch_interval": 0.1,
        "executors": [{
            "tasks": ["*"],
            "executor": {"path": HOSPITAL_CLASSES[1], "args": {"client_obj_id": "_client", "collab_obj_ids": []}},
        }],
        "components": [{"id": "_client", "path": HOSPITAL_CLASSES[0], "args": {}}],
    }  # fmt: skip
    return json.dumps(job, indent=2).encode()


def without_tensors() -> None:
    """Keep the engine from importing PyTorch, where it is installed, into every process of a job: seconds and 200 MB.

    It would learn to send tensors, which we never do. A network imports PyTorch by itself.
    """
    sys.modules.setdefault("nvflare.app_opt.pt", None)  # type: ignore[arg-type]


class Hasty:
    """The module `time` to a module of the engine, which waits less where it takes no setting for how long.

    `waits`: seconds for seconds; whatever else it sleeps it sleeps. The start of a run is made of such waits: for the
    next look at the queue, for a neighbour that has not connected yet, for a task to be seen as done.
    """

    def __init__(self, waits: Mapping[float, float]) -> None:
        self._waits = waits

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep, or sleep less."""
        time.sleep(self._waits.get(seconds, seconds))


def prune(folder: Path, days: float = 2.0) -> None:
    """Remove the folders of jobs that the engine made (each named by a UUID), untouched for `days`."""
    for job in folder.glob("????????-????-????-????-????????????"):
        with suppress(OSError):
            if time.time() - max(path.stat().st_mtime for path in (job, *job.rglob("*"))) > 86400 * days:
                shutil.rmtree(job)


class Process:
    """A process of the engine with all that it starts; a second start ends the first, also a forgotten one."""

    def __init__(self, pid: Path, log: Path) -> None:
        """`pid` is the file that remembers the process, `log` gets what it prints."""
        self._pid, self._log = pid, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start it, with one BLAS thread so that digits agree."""
        self._reap()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **environment},
            )  # fmt: skip
        self._pid.write_text(str(self._process.pid), encoding="utf-8")

    def stop(self, patience: float = 5.0) -> None:
        """End it: asked first, killed after `patience` seconds."""
        if self._process is not None and self.alive:
            _end(self._process.pid, patience)
            self._process.wait()
        self._process = None
        self._pid.unlink(missing_ok=True)

    def _reap(self) -> None:
        """End what an earlier process of ours started and could not end, because it was killed itself."""
        import psutil

        with suppress(OSError, ValueError, psutil.Error):
            pid = int(self._pid.read_text(encoding="utf-8"))
            words = psutil.Process(pid).cmdline()
            if any("nvflare" in word for word in words):  # no stranger, who got the number since
                _end(pid, 0.0)


def _end(pid: int, patience: float) -> None:
    """End an engine's process with all that it started: the engine gives processes of jobs sessions of their own."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        started = first.children(recursive=True)
        first.terminate()
        with suppress(psutil.TimeoutExpired):
            first.wait(patience)
        for one in (first, *started):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs([first, *started], 5.0)


def _yaml(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML


_EACH: Final = """
import json, sys
from nvflare.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["nvflare", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def _engine(*commands: list[str]) -> None:
    """Commands of the engine's own, one after another in one process; it leaves nothing in the user's home."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _EACH, json.dumps(commands)], capture_output=True, text=True,
            check=False, env={**os.environ, "HOME": home},
        )  # fmt: skip
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        hint = next((i for i, line in enumerate(said) if line.startswith("Hint:")), len(said))
        raise KitError(
            f"the engine could not do `{' '.join(commands[0][:2])}`: {' '.join(said[max(0, hint - 1) :][:3])}"
        )
