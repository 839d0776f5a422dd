"""The researcher's side of a federation: the same objects as `confrere.local`, over HTTPS.

    federation = confrere.connect("https://coordinator:8443", token, authority="authority.pem")
    results = federation.run("study.toml")
    results["recurrence"].summary()

The server's certificate must be by the federation's own authority, whose certificate (`authority.pem`) every
participant has; the public ones of the internet are not asked.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from confrere import errors
from confrere.console.fit import Results
from confrere.coordinator.conduct import OVER, found_of
from confrere.errors import ConfrereError, ProtocolError, Refused, StudyError, Waiting
from confrere.study.file import parse

Progress = Callable[[dict[str, Any]], None]


class Remote:
    """A federation behind a coordinator's service."""

    def __init__(self, url: str, token: str, authority: str | Path) -> None:
        """`authority` is the file of the authority's certificate; StudyError where it is none."""
        try:
            trusted = ssl.create_default_context(cafile=str(authority))
        except OSError as error:
            raise StudyError(f"{authority} is no certificate of an authority ({error})") from None
        if not url.startswith("https://"):
            raise StudyError(f"{url!r} must begin with https://: a token never goes in the clear")
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, verify=trusted, timeout=60.0, trust_env=True)

    def submit(
        self, study: str | Path, *, deadline: float | None = None, without: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Send a study file; its run. The same file again is the same run.

        `deadline` is in seconds from now. Hospitals in `without` are not waited for, and take no part.
        """
        text = Path(study).read_text(encoding="utf-8")
        parse(text, str(study))
        params: dict[str, Any] = {} if deadline is None else {"deadline": deadline}
        if without:
            params["without"] = ",".join(without)
        return dict(self._said("POST", "/runs", content=text.encode(), params=params))

    def status(self, run: str) -> dict[str, Any]:
        """Where a run is."""
        return dict(self._said("GET", f"/runs/{run}"))

    def runs(self) -> list[dict[str, Any]]:
        """All your runs."""
        return list(self._said("GET", "/runs"))

    def cancel(self, run: str) -> dict[str, Any]:
        """Stop a run before its next round."""
        return dict(self._said("POST", f"/runs/{run}/cancel"))

    def health(self) -> dict[str, Any]:
        """Hospitals, runs and methods of the federation."""
        return dict(self._said("GET", "/health"))

    def wait(
        self, run: str, *, progress: Progress = lambda status: None, seconds: float | None = None
    ) -> dict[str, Any]:
        """Wait until a run is over. `Waiting` after `seconds`; the run goes on."""
        end = None if seconds is None else time.monotonic() + seconds
        while (status := self.status(run))["state"] not in OVER:
            progress(status)
            if end is not None and time.monotonic() > end:
                raise Waiting(f"the run {run} goes on ({status['state']}); {status['why'] or 'ask again later'}")
            time.sleep(0.3)
        return status

    def fetch(self, run: str, study: str | Path) -> Results:
        """What a run of this study file found. `Waiting` before it is over, and what else ended it."""
        status = self.status(run)
        if status["state"] != "done":
            raise _ended(status)
        parsed = parse(Path(study).read_text(encoding="utf-8"), str(study))
        if parsed.hash != status["study"]:
            raise StudyError(f"{study} is not the study of the run {run}; give the file that was submitted")
        found = found_of(self._got("GET", f"/runs/{run}/found").content)
        return Results(
            parsed,
            found.hospitals,
            found.findings,
            found.errors,
            found.left,
            found.rounds,
            found.bytes,
            found.seconds,
            self_approved=False,
        )

    def run(
        self, study: str | Path, *, deadline: float | None = None, progress: Progress = lambda status: None
    ) -> Results:
        """Submit a study file, wait for its end, and fetch what was found."""
        run = str(self.submit(study, deadline=deadline)["run"])
        self.wait(run, progress=progress)
        return self.fetch(run, study)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _said(self, verb: str, path: str, **given: Any) -> Any:
        return self._got(verb, path, **given).json()

    def _got(self, verb: str, path: str, **given: Any) -> httpx.Response:
        """The answer of the service; its errors are raised as ours."""
        try:
            response = self._http.request(verb, path, **given)
        except httpx.HTTPError as error:
            raise Waiting(
                f"the coordinator at {self._http.base_url} does not answer ({type(error).__name__})"
            ) from None
        if response.is_success:
            return response
        try:
            said = response.json()
        except ValueError:
            said = {}
        kind = getattr(errors, str(said.get("error", "")), None)
        message = str(said.get("message") or said.get("detail") or f"the coordinator answered {response.status_code}")
        if isinstance(kind, type) and issubclass(kind, ConfrereError):
            raise kind(message)
        raise (Refused if response.status_code in (401, 403) else StudyError)(message)


def connect(url: str, token: str, *, authority: str | Path) -> Remote:
    """A federation behind a coordinator's service; see `Remote`."""
    return Remote(url, token, authority)


def _ended(status: dict[str, Any]) -> ConfrereError:
    """What a run that is not done raises."""
    state, why = status["state"], status["why"]
    text = f"the run {status['run']} is {state}" + (f": {why}" if why else "")
    if state == "refused":
        return Refused(text)
    return ProtocolError(text) if state == "failed" else Waiting(text)
