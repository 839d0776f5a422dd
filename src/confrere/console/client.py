"""The researcher's side of a federation: the same objects as `confrere.local`, over HTTPS.

    federation = confrere.connect("https://coordinator:8443", token, authority="authority.pem", table="breast")
    results = federation.run("study.toml")
    results["recurrence"].summary()
    fit = federation.run(confrere.Cox("Surv(rtime, recur) ~ age"), title="Age and recurrence", purpose="research")

An analysis becomes a study file, which hospitals approve like any other: `federation.write` gives it to be sent.

The server's certificate must be by the federation's own authority, whose certificate (`authority.pem`) every
participant has; the public ones of the internet are not asked.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import httpx

from confrere import errors
from confrere.analyses.target_trial import cautioned
from confrere.console.arguments import in_python, recorded
from confrere.console.fit import Results
from confrere.coordinator.conduct import OVER, found_of
from confrere.errors import ConfrereError, ProtocolError, Refused, StudyError, Waiting
from confrere.study import build
from confrere.study.file import Study, parse
from confrere.study.ground import Ground
from confrere.study.omop import Omop
from confrere.study.schema import Column, Schema
from confrere.study.write import sent, written

Progress = Callable[[dict[str, Any]], None]


def _silent(status: dict[str, Any]) -> None:
    """No progress shown."""


class Remote:
    """A federation behind a coordinator's service."""

    def __init__(
        self, url: str, token: str, authority: str | Path, table: str = "", ground: Ground | None = None,
        made: Omop | None = None,
    ) -> None:  # fmt: skip
        """`authority` is the file of the authority's certificate; StudyError where it is none.

        `table` is what the hospitals call their records; analyses that have no ground of their own stand on `ground`.
        `made` says what people are made of where the records are OMOP.
        """
        try:
            trusted = ssl.create_default_context(cafile=str(authority))
        except OSError as error:
            raise StudyError(f"{authority} is no certificate of an authority ({error})") from None
        if not url.startswith("https://"):
            raise StudyError(f"{url!r} must begin with https://: a token never goes in the clear")
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, verify=trusted, timeout=60.0, trust_env=True)
        self.table = table
        self.ground = ground or Ground()
        self.omop = made

    def submit(
        self, study: str | Path | Study, *, deadline: float | None = None, without: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Send a study file, or a study; its run. The same again is the same run.

        `deadline` is in seconds from now. Hospitals in `without` are not waited for, and take no part.
        """
        text, _ = _read(study)
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

    def wait(self, run: str, *, progress: Progress = _silent, seconds: float | None = None) -> dict[str, Any]:
        """Wait until a run is over. `Waiting` after `seconds`; the run goes on."""
        end = None if seconds is None else time.monotonic() + seconds
        while (status := self.status(run))["state"] not in OVER:
            progress(status)
            if end is not None and time.monotonic() > end:
                raise Waiting(f"the run {run} goes on ({status['state']}); {status['why'] or 'ask again later'}")
            time.sleep(0.1)
        return status

    def fetch(self, run: str, study: str | Path | Study) -> Results:
        """What a run of this study found. `Waiting` before it is over, and what else ended it."""
        status = self.status(run)
        if status["state"] != "done":
            raise _ended(status)
        _, parsed = _read(study)
        if parsed.hash != status["study"]:
            name = parsed.id if isinstance(study, Study) else study
            raise StudyError(f"{name} is not the study of the run {run}; give the file that was submitted")
        data = self._got("GET", f"/runs/{run}/found").content
        release = self.status(run)["release"]
        if hashlib.sha256(data).hexdigest() != release["sha256"]:
            raise Refused(f"the findings of {run} that came are not those that were released; ask the coordinator")
        return fetched(parsed, data, release)

    def run(
        self, study: Any, *, title: str = "", purpose: str = "", deadline: float | None = None,
        progress: Progress = _silent, **disclosure: Unpack[build.Disclosure],
    ) -> Any:  # fmt: skip
        """Run an analysis (gives its `Fit`), or a `Study` or the path of a study file (gives `Results`).

        A study is submitted, waited for and fetched. An analysis is made a study of that `title` and `purpose`, which
        stewards read; `allow` names disclosure classes that it asks them for, `alone` members whose own sums may leave,
        `k` the fewest people behind a number. `Waiting` while a steward has not said yes to exactly this study,
        `Refused` where one said no: run the same again once all have, it is the same run.
        """
        if isinstance(study, (str, Path, Study)):
            return self._run(study, deadline, progress)
        made = self._study(study, title, purpose, disclosure)
        with in_python(type(study).__name__, "cf.connect"):
            try:
                return self._run(made, deadline, progress, patient=False)[made.analyses[0].name]
            except Refused as refusal:
                if "airlock" in str(refusal):  # it ran: a reader rejected what it found
                    raise
                raise Refused(f"{refusal}\n{_approval(made)}") from None

    def write(
        self, analysis: Any, file: str | Path, *, title: str, purpose: str, **disclosure: Unpack[build.Disclosure]
    ) -> Study:  # fmt: skip
        """Write the study file that `run` of the same analysis, title and purpose submits; the study."""
        made = self._study(analysis, title, purpose, disclosure)
        Path(file).write_text(written(made), encoding="utf-8")
        return made

    def _study(self, analysis: Any, title: str, purpose: str, disclosure: build.Disclosure) -> Study:
        """An analysis as the study that stewards approve. StudyError says what they must be told."""
        missing = {"title=": title, "purpose=": purpose, "table= in cf.connect": self.table}
        if unsaid := [argument for argument, given in missing.items() if not given.strip()]:
            raise StudyError(f"say {', '.join(unsaid)}: a steward approves a study by its title, purpose and table")
        with in_python(type(analysis).__name__, "cf.connect"):
            ground = build.grounded(analysis, self.ground, disclosure.get("allow", ()))
            made = build.single(analysis, ground, **disclosure)
            made = replace(build.recorded(made, self.omop), title=title, purpose=purpose, table=self.table)
            found = parse(written(build.shortest(made)), "study.toml")
            build.analyses(found)
            return found

    def _run(
        self, study: str | Path | Study, deadline: float | None, progress: Progress, patient: bool = True
    ) -> Results:  # fmt: skip
        """Submit, wait and fetch. Unless `patient`, `Waiting` once an attempt finds that a steward must decide."""
        first = self.submit(study, deadline=deadline)

        def seen(status: dict[str, Any]) -> None:
            new = status["attempts"] > first["attempts"]  # what an earlier attempt said may be over since
            if new and not patient and status["why"].endswith("to decide"):  # which may take days
                raise Waiting(f"the run {status['run']} is {status['why']}\n{_approval(_read(study)[1])}")
            progress(status)

        self.wait(str(first["run"]), progress=seen)
        return self.fetch(str(first["run"]), study)

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


class Declared(TypedDict, total=False):
    """What analyses from Python need to know of the records, as `local` is told."""

    levels: Mapping[str, Sequence[Any]] | None
    person: str
    records: Mapping[str, Any] | None


def connect(
    url: str, token: str, *, authority: str | Path, table: str = "", **declared: Unpack[Declared]
) -> Remote:  # fmt: skip
    """A federation behind a coordinator's service; see `Remote`.

    `authority` is the file of the authority's certificate. Analyses from Python need `table`, what the hospitals call
    their records; `levels`, `person` and `records` are as in `cf.local`, for the ladder of times give an analysis a
    `Ground`.
    """
    with in_python("cf.connect", "cf.connect"):
        levels = declared.get("levels") or {}
        schema = Schema({name: Column(name, tuple(str(v) for v in values)) for name, values in levels.items()})
        made = recorded(declared.get("records"))
    return Remote(url, token, authority, table, Ground(schema, person=declared.get("person", "")), made)


def _read(study: str | Path | Study) -> tuple[str, Study]:
    """The text of a study's file, and the study."""
    if not isinstance(study, Study):
        return sent(study)
    text = written(study)
    return text, parse(text, "study.toml")


def fetched(study: Study, data: bytes, release: Mapping[str, Any]) -> Results:
    """The results in a coordinator's file of findings, with what its airlock says of them."""
    found = found_of(data)
    return Results(
        study, found.hospitals, cautioned(study, found.findings), found.errors, found.left, found.rounds, found.bytes,
        found.seconds, self_approved=False, release=release,
    )  # fmt: skip


def _approval(study: Study) -> str:
    """What whoever runs an analysis from Python must know of approvals."""
    return (
        f"Every hospital must have approved exactly this study, {study.hash[:16]}: "
        f"federation.write(analysis, 'study.toml', title=..., purpose=...) writes its file. Send it to their stewards, "
        f"and run the same again once all have said yes."
    )


def _ended(status: dict[str, Any]) -> ConfrereError:
    """What a run that is not done raises."""
    state, why = status["state"], status["why"]
    text = f"the run {status['run']} is {state}" + (f": {why}" if why else "")
    if state == "refused":
        return Refused(text)
    return ProtocolError(text) if state == "failed" else Waiting(text)
