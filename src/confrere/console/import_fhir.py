"""`confrere hospital import-fhir`: a bulk export of FHIR as the hospital's OMOP tables, and its oppositions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.console.hospital import HERE, At
from confrere.errors import StudyError
from confrere.study.counted import counted, persons

if TYPE_CHECKING:
    from confrere.data.fhir_import import Imported


def import_fhir(
    folder: Annotated[Path, typer.Argument(help="The folder of a FHIR R4 bulk export (NDJSON).", metavar="FOLDER")],
    out: Annotated[Path, typer.Option("--out", metavar="CDM_FOLDER", help="A new or empty folder for the tables.")],
    vocabulary: Annotated[
        Path,
        typer.Option(
            "--vocabulary", metavar="DIR", help="OHDSI's vocabularies: concept and concept_relationship, as of Athena."
        ),
    ],
    system: Annotated[
        list[str], typer.Option("--system", metavar="URL=VOCABULARY", help="The vocabulary of one more code system.")
    ] = [],  # noqa: B006 - Typer copies it
    home: At = HERE,
) -> None:
    """Make OMOP tables (CDM 5.4) of a FHIR R4 export. What cannot be read goes into quarantine.ndjson; exit code 2.

    Consent resources go into the register of oppositions of the hospital's folder.
    """
    from confrere.console.output import Progress
    from confrere.data.fhir_import import imported
    from confrere.data.fhir_tables import SYSTEMS, UNMAPPED
    from confrere.data.quarantine import reasons

    pairs = [one.rpartition("=") for one in system]
    if wrong := [url + equals + name for url, equals, name in pairs if not (url and name)]:
        raise StudyError(f"--system {wrong[0]!r} must be URL=VOCABULARY, such as http://loinc.org=LOINC")
    with Progress("reading the export") as progress:
        done = imported(
            folder, out, vocabulary, {**SYSTEMS, **{url: name for url, _, name in pairs}},
            lambda lines: progress.say(f"{lines:,} lines"),
        )  # fmt: skip
    for line in told(done):
        typer.echo(line)
    fine = _opposed(done, home)
    if any(done.unmapped.values()):
        typer.echo(f"codes without a standard concept, the most frequent first: {out / UNMAPPED}")
    if done.quarantine:
        typer.echo("\n".join(reasons(done.quarantine)), err=True)
        typer.echo(
            f"Mend the lines in {done.quarantine} and import again; until then their records are missing.", err=True
        )
    if done.quarantine or not fine:
        raise typer.Exit(2)


def told(done: Imported) -> list[str]:
    """What became of an export, in lines."""
    lines = [counted(done.lines, "line")]
    for kind, tally in done.kinds.items():
        parts = [f"{tally.taken:,} taken", *(f"{n:,} left ({why})" for why, n in sorted(tally.left.items()))]
        parts += [f"{tally.repeated:,} repeated"] * bool(tally.repeated)
        parts += [f"{tally.quarantined:,} in quarantine"] * bool(tally.quarantined)
        lines.append(f"  {kind or 'no resource'}: {tally.read:,} = {' + '.join(parts)}")
    lines += [f"  {kind}: {n:,} not read, OMOP has no place for it here" for kind, n in sorted(done.unread.items())]
    for table, rows in sorted(done.rows.items()):
        zero = done.unmapped.get(table, 0)
        share = f", {zero:,} ({zero / rows:.1%}) without a standard concept" if rows and table in done.unmapped else ""
        lines.append(f"{table}: {counted(rows, 'row')}{share}")
    if done.undated:
        lines.append(f"dead on a day that nobody said: {persons(done.undated)}, no row in death")
    return lines


def _opposed(done: Imported, home: Path) -> bool:
    """Whether every consent is in the register."""
    from confrere.data.opposition_files import load
    from confrere.data.sources import Source
    from confrere.hospital.home import Home

    if done.consents is None:
        return True
    if not home.exists():
        typer.echo(
            f"No hospital's folder at {home}: oppositions are NOT recorded. Import them: "
            f"confrere hospital opposition import {done.consents}", err=True,
        )  # fmt: skip
        return False
    here = Home(home)
    said = load(here.oppositions, Source(done.consents))
    here.log("oppositions imported", file=done.consents.name, new=said.new, known=said.known,
             quarantined=len(said.problems))  # fmt: skip
    typer.echo(f"Oppositions and consents: {said.new} new, {said.known} known, {said.silent} say nothing yet.")
    for problem in said.problems:
        typer.echo(f"  {problem}", err=True)
    if said.problems:
        typer.echo(f"{len(said.problems)} not imported. Mend them in {said.quarantine} and import that file.", err=True)
    return not said.problems
