"""`confrere hospital import-csv`: CSV files of a hospital as its OMOP tables, by a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.study.counted import counted

if TYPE_CHECKING:
    from confrere.data.mapping_import import Imported


def import_csv(
    mapping: Annotated[Path, typer.Argument(help="The mapping (TOML).", metavar="MAPPING")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder for the tables.")],
) -> None:
    """Make OMOP tables of CSV files. What cannot be read goes into quarantine.ndjson; exit code 2."""
    from confrere.console.output import Progress
    from confrere.data.mapping_import import imported
    from confrere.data.quarantine import reasons

    with Progress("reading the files") as progress:
        done = imported(mapping, out, lambda records: progress.say(f"{records:,} records"))
    for line in told(done):
        typer.echo(line)
    if done.quarantine:
        typer.echo("\n".join(reasons(done.quarantine)), err=True)
        typer.echo(f"Mend the records in {done.quarantine} and import again; until then they are missing.", err=True)
        raise typer.Exit(2)


def told(done: Imported) -> list[str]:
    """What became of the files, in lines."""
    lines = []
    for t in done.files:
        bad = f" + {t.quarantined:,} in quarantine" if t.quarantined else ""
        zero = f", {t.unmapped:,} without a concept" if t.unmapped else ""
        lines.append(f"{t.file}: {counted(t.read, 'record')} = {counted(t.rows, 'row')} of {t.table}{bad}{zero}")
    if done.periods is not None:
        lines.append(
            f"observation_period: {counted(done.periods, 'row')}, from a person's first record to the last one"
        )
    return lines
