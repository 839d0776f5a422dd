"""`confrere connect`, `health`, `submit`, `status`, `fetch` and `cancel`: the researcher's side of a federation."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.console.client import Remote

CONNECTION = Path("confrere-connection.json")
At = Annotated[
    Path,
    typer.Option("--connection", metavar="FILE", envvar="CONFRERE_CONNECTION", help="What `confrere connect` wrote."),
]
RunName = Annotated[str, typer.Argument(help="The run, as submit said.", metavar="RUN")]
StudyFile = Annotated[Path, typer.Argument(help="The study file (TOML).", metavar="STUDY")]


def connect(
    url: Annotated[str, typer.Argument(help="The coordinator, https://HOST:PORT.")],
    token: Annotated[
        Path, typer.Option("--token", metavar="FILE", help="File with your token; - reads it from stdin.")
    ],
    authority: Annotated[
        Path, typer.Option("--authority", metavar="FILE", help="Certificate of the federation's authority.")
    ],
    connection: At = CONNECTION,
) -> None:
    """Try a coordinator, and remember how to reach it for health, submit, status, fetch and cancel."""
    from confrere.console.output import federated

    federated()
    from confrere.console.client import Remote

    if str(token) != "-" and not token.is_file():
        raise StudyError(f"--token {token}: there is no such file")
    word = (sys.stdin.read() if str(token) == "-" else token.read_text(encoding="utf-8")).strip()
    remote = Remote(url, word, authority)
    remote.runs()
    said = {"url": url, "token": word, "authority": str(authority.absolute())}
    connection.touch(mode=0o600)
    connection.chmod(0o600)
    connection.write_text(json.dumps(said) + "\n", encoding="utf-8")
    health(connection)


def health(connection: At = CONNECTION) -> None:
    """Say of every hospital when it was last seen, its release, its clock and its free disk."""
    for name, said in _remote(connection).health()["hospitals"].items():
        typer.echo(_state(name, said))


def submit(
    study: StudyFile,
    deadline: Annotated[
        float | None, typer.Option("--deadline", metavar="SECONDS", help="Give the run up after this long.")
    ] = None,
    without: Annotated[
        list[str], typer.Option("--without", metavar="NAME", help="Start without this hospital; it cannot join later.")
    ] = [],  # noqa: B006 - Typer copies it
    connection: At = CONNECTION,
) -> None:
    """Send a study to the coordinator. It runs once every hospital is there; each must have approved it."""
    said = _remote(connection).submit(study, deadline=deadline, without=without)
    typer.echo(said["run"])
    typer.echo(_line(said), err=True)


def status(
    run: Annotated[str, typer.Argument(help="The run; without it, all of yours.", metavar="[RUN]")] = "",
    connection: At = CONNECTION,
) -> None:
    """Say where a run is, or all your runs."""
    remote = _remote(connection)
    for one in [remote.status(run)] if run else remote.runs():
        typer.echo(_line(one))


def fetch(
    run: RunName,
    study: StudyFile,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")] = Path("confrere-out"),
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="Language of the report: en or fr.")] = "en",
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", help="Wait so long for the end of the run.")
    ] = 0.0,
    connection: At = CONNECTION,
) -> None:
    """Fetch what a run found, and write its report as `confrere run` does."""
    from confrere.console.output import Progress, checked, delivered

    checked(out, lang, wait)
    remote = _remote(connection)
    with Progress("asking the coordinator") as progress:
        remote.wait(run, progress=lambda said: progress.say(_line(said)), seconds=wait)
    delivered(remote.fetch(run, study), out, lang)


def cancel(run: RunName, connection: At = CONNECTION) -> None:
    """Stop a run before its next round."""
    typer.echo(_line(_remote(connection).cancel(run)))


def add(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (connect, health, submit, status, fetch, cancel):
        app.command()(command)


def _remote(connection: Path) -> Remote:
    from confrere.console.output import federated

    federated()
    from confrere.console.client import Remote

    try:
        return Remote(**json.loads(connection.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise StudyError(f"{connection} is no connection; `confrere connect URL` makes it") from None


def _state(name: str, said: dict[str, Any]) -> str:
    """One line on a hospital's machine."""
    if said["connected"]:
        seen = "connected"
    else:
        ago = said["seconds_ago"]
        seen = "not connected" + (", never seen" if ago is None else f", last seen {timedelta(seconds=round(ago))} ago")
    if said["version"] is None:
        return f"{name}: {seen}"
    behind = "behind" if said["clock_ahead"] < 0 else "ahead"
    clock = f"clock {abs(said['clock_ahead']):.1f} s {behind}"
    return f"{name}: {seen}, Confrere {said['version']}, {clock}, {said['disk_free'] / 1e9:.1f} GB free"


def _line(said: dict[str, Any]) -> str:
    """One line on a run: state, round, whom it waits for, until when."""
    at = f", round {said['round']}: {said['what']}" if said.get("what") else ""
    released = said.get("release", {"state": "", "why": ""})
    why = f" ({said['why']})" if said["why"] else ""
    why += f", {released['state']}" if released["state"] else ""
    why += f" ({released['why']})" if released.get("why") else ""
    until = datetime.fromtimestamp(said["deadline"]).astimezone().isoformat(timespec="minutes")
    ends = f", until {until}" if said["state"] in ("queued", "running", "waiting") else ""
    return f"{said['run']}  {said['state']}{at}{why}{ends}  {said['title']}"
