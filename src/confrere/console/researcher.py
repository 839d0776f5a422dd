"""`confrere submit`, `status`, `fetch` and `cancel`: the researcher's side of a federation."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.console.client import Remote

URL = Annotated[
    str, typer.Option("--to", metavar="URL", envvar="CONFRERE_URL", help="The coordinator, https://HOST:PORT.")
]
Token = Annotated[
    Path | None,
    typer.Option("--token", metavar="FILE", help="File with your token; without it CONFRERE_TOKEN is read."),
]
Authority = Annotated[
    Path,
    typer.Option(
        "--authority", metavar="FILE", envvar="CONFRERE_AUTHORITY", help="Certificate of the federation's authority."
    ),
]
CERTIFICATE = Path("authority.pem")
RunName = Annotated[str, typer.Argument(help="The run, as submit said.", metavar="RUN")]
StudyFile = Annotated[Path, typer.Argument(help="The study file (TOML).", metavar="STUDY")]


def submit(
    study: StudyFile,
    to: URL,
    token: Token = None,
    authority: Authority = CERTIFICATE,
    deadline: Annotated[
        float | None, typer.Option("--deadline", metavar="SECONDS", help="Give the run up after this long.")
    ] = None,
) -> None:
    """Send a study to the coordinator. It runs once every hospital has approved it and is there."""
    said = _remote(to, token, authority).submit(study, deadline=deadline)
    typer.echo(said["run"])
    typer.echo(_line(said), err=True)


def status(
    to: URL,
    run: Annotated[str, typer.Argument(help="The run; without it, all of yours.", metavar="[RUN]")] = "",
    token: Token = None,
    authority: Authority = CERTIFICATE,
) -> None:
    """Say where a run is, or all your runs."""
    remote = _remote(to, token, authority)
    for one in [remote.status(run)] if run else remote.runs():
        typer.echo(_line(one))


def fetch(
    run: RunName,
    study: StudyFile,
    to: URL,
    token: Token = None,
    authority: Authority = CERTIFICATE,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")] = Path("confrere-out"),
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="Language of the report: en or fr.")] = "en",
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", help="Wait so long for the end of the run.")
    ] = 0.0,
) -> None:
    """Fetch what a run found, and write its report as `confrere run` does."""
    from confrere.console.output import Progress, checked, delivered

    checked(out, lang, wait)
    remote = _remote(to, token, authority)
    with Progress("asking the coordinator") as progress:
        remote.wait(run, progress=lambda said: progress.say(_line(said)), seconds=wait)
    delivered(remote.fetch(run, study), out, lang)


def cancel(run: RunName, to: URL, token: Token = None, authority: Authority = CERTIFICATE) -> None:
    """Stop a run before its next round."""
    typer.echo(_line(_remote(to, token, authority).cancel(run)))


def add(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (submit, status, fetch, cancel):
        app.command()(command)


def _remote(url: str, token: Path | None, authority: Path) -> Remote:
    from confrere.console.client import Remote

    if token is not None and not token.is_file():
        raise StudyError(f"--token {token}: there is no such file")
    word = token.read_text(encoding="utf-8") if token else os.environ.get("CONFRERE_TOKEN", "")
    if not word.strip():
        raise StudyError("a token is needed: --token FILE, or the environment variable CONFRERE_TOKEN")
    return Remote(url, word.strip(), authority)


def _line(said: dict[str, Any]) -> str:
    """One line on a run: state, round, whom it waits for, until when."""
    at = f", round {said['round']}: {said['what']}" if said.get("what") else ""
    why = f" ({said['why']})" if said["why"] else ""
    until = datetime.fromtimestamp(said["deadline"]).astimezone().isoformat(timespec="minutes")
    ends = f", until {until}" if said["state"] in ("queued", "running", "waiting") else ""
    return f"{said['run']}  {said['state']}{at}{why}{ends}  {said['title']}"
