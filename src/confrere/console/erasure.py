"""`confrere erasure ...`: what anybody can do who is given a proof that a run was erased: verify it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from confrere.errors import StudyError

app = typer.Typer(no_args_is_help=True, help="Proofs that a run was erased: verify one.")


@app.callback()
def ready() -> None:
    """These commands need no federation."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What `erase` printed, as a file.", metavar="FILE")],
    roster: Annotated[
        Path | None, typer.Option("--roster", metavar="FILE", help="The signed roster, of a hospital's proof.")
    ] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="KEY", help="Public key (hex) or, of a coordinator, its fingerprint.")
    ] = "",
) -> None:
    """Check who signed a proof of erasure, and that nothing in it was changed; exit code 3 where it does not hold."""
    from confrere.hospital.erasures import verified

    bare = "".join(key.split())
    if bare and not re.fullmatch(r"[0-9]{40}|[0-9a-fA-F]{64}", bare):
        raise StudyError(f"--key {key!r} is no key: give 64 hex digits, or the 40 digits of the fingerprint in quotes")
    found = verified(file, roster, bare)
    typer.echo(f"{file.name} verifies: {found.who} says that it removed what it kept of the study {found.study[:16]}.")
    typer.echo(f"erased  {found.day}\njournal {found.journal_sha256 or 'none was kept'}\nkey     {found.fingerprint}")
    if found.worklists:
        typer.echo(f"lists   {found.worklists}")
    if not found.pinned:
        typer.echo("Compare the key's fingerprint with the coordinator's by telephone, or give it with --key.")
