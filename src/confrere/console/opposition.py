"""`confrere hospital opposition ...`: who is left out of studies, and which studies used the data of a patient."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.console.hospital import HERE, At
from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.data.opposition import Use
    from confrere.hospital.home import Home

app = typer.Typer(no_args_is_help=True, help="Patients' oppositions and consents, and their receipts.")

Person = Annotated[str, typer.Argument(help="The patient's id, as the hospital's tables have it.")]
Purpose = Annotated[str, typer.Option("--purpose", metavar="TEXT", help='A purpose of studies, or "*" for every one.')]
Origin = Annotated[str, typer.Option("--source", metavar="TEXT", help="Where it was said, such as letter or portal.")]
EVERY = "*"


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or DuckDB; FHIR Consent as .json or .ndjson.")],
    table: Annotated[str | None, typer.Option("--table", metavar="NAME", help="The table of a DuckDB file.")] = None,
    purpose: Annotated[
        list[str], typer.Option("--purpose", metavar="CODE=TEXT", help="What studies call a purpose of FHIR.")
    ] = [],  # noqa: B006 - Typer copies it
    identifier: Annotated[
        str | None, typer.Option("--identifier", metavar="SYSTEM", help="The system of patients' identifiers in FHIR.")
    ] = None,
    home: At = HERE,
) -> None:
    """Import a list of oppositions and consents. What cannot be read goes into a file beside it; exit code 2."""
    from confrere.data.fhir_consent import Terms
    from confrere.data.opposition_files import load
    from confrere.data.sources import Source
    from confrere.hospital.home import Home

    here, pairs = Home(home), [one.partition("=") for one in purpose]
    if wrong := [code + equals + text for code, equals, text in pairs if not (code and text)]:
        raise StudyError(f"--purpose {wrong[0]!r} must be CODE=TEXT, such as HRESCH='public-interest research'")
    terms = Terms({code.strip(): text for code, _, text in pairs}, identifier)
    done = load(here.oppositions, Source(file, table=table), terms)
    here.log("oppositions imported", file=file.name, new=done.new, known=done.known, quarantined=len(done.problems))
    silent = f", {done.silent} say nothing yet" if done.silent else ""
    typer.echo(f"{here.name}: {done.new} new, {done.known} known{silent}.")
    if done.problems:
        for problem in done.problems:
            typer.echo(f"  {problem}", err=True)
        typer.echo(f"{len(done.problems)} not imported. Mend them in {done.quarantine} and import that file.", err=True)
        raise typer.Exit(2)


@app.command()
def add(
    person: Person,
    source: Origin,
    purpose: Purpose = EVERY,
    day: Annotated[str, typer.Option("--date", metavar="DATE", help="When it was said; today if not given.")] = "",
    consent: Annotated[bool, typer.Option("--consent", help="A consent, not an opposition.")] = False,
    home: At = HERE,
) -> None:
    """Record an opposition: it holds from the next round on. Or a consent, for purposes that need one."""
    from confrere.data.opposition import CONTACT, Said, looks
    from confrere.hospital.home import Home

    here = Home(home)
    status = "consented" if consent else "opposed"
    here.oppositions.say(Said(person, purpose, status, day or date.today().isoformat(), source))
    here.log("opposition recorded", status=status, purpose=purpose)
    typer.echo(f"{here.name}: {person} {status} ({purpose}).")
    known = {CONTACT, *(here.studies.study(r.study).purpose for r in here.studies.all())}
    if purpose != EVERY and looks(purpose) not in {looks(one) for one in known}:
        told = "; ".join(sorted(known))
        typer.echo(f"No study here has this purpose, so nobody is left out by it now. Purposes: {told}.", err=True)


@app.command()
def withdraw(
    person: Person,
    purpose: Purpose = EVERY,
    source: Origin = "withdrawn at the hospital",
    home: At = HERE,
) -> None:
    """Take back what a patient said last on a purpose. The history stays."""
    from confrere.hospital.home import Home

    here = Home(home)
    here.oppositions.withdraw(person, purpose, source)
    here.log("opposition recorded", status="withdrawn", purpose=purpose)
    typer.echo(f"{here.name}: {person} has withdrawn ({purpose}).")


@app.command(name="list")
def list_(
    person: Annotated[str | None, typer.Argument(help="One patient, with the whole history; else everybody.")] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="Those only whom this table does not have.")
    ] = None,
    home: At = HERE,
) -> None:
    """List what holds today. With --table, ids that a table does not have: they may be spelt in another way."""
    from confrere.data.opposition import patients
    from confrere.hospital.home import Home

    here = Home(home)
    lines = here.oppositions.history(person) if person else here.oppositions.last()
    if table:
        there = set(patients(here.source(table), here.name))
        lines = [line for line in lines if line.person not in there]
    for line in lines:
        until = f" until {line.until}" if line.until else ""
        typer.echo(f"{line.person}  {line.status}{until}  {line.purpose}  {line.date}  {line.source}")
    if needed := here.oppositions.consents():
        typer.echo(f"Purposes that need consent: {', '.join(needed)}")


@app.command()
def consent(
    purpose: Annotated[str, typer.Argument(help='A purpose of studies, or "*" for every one.')],
    needed: Annotated[bool, typer.Option("--needed/--not-needed", help="Whether the purpose needs consent.")] = True,
    home: At = HERE,
) -> None:
    """Say that a purpose needs consent: everybody without one is left out. Or that it no longer does."""
    from confrere.hospital.home import Home

    here = Home(home)
    here.oppositions.need_consent(purpose, needed)
    here.log("consent needed" if needed else "consent not needed", purpose=purpose)
    typer.echo(f"{here.name}: {purpose} {'needs' if needed else 'does not need'} consent.")


@app.command()
def receipt(
    person: Person,
    lang: Annotated[str, typer.Option("--lang", metavar="CODE", help="en or fr.")] = "en",
    home: At = HERE,
) -> None:
    """Print, for a patient, which studies used the data of this patient."""
    from confrere.console.output import check_language
    from confrere.hospital.home import Home

    check_language(lang)
    here = Home(home)
    text = receipt_text(here, person, lang)
    here.log("receipt given")
    typer.echo(text)


def receipt_text(here: Home, person: str, lang: str) -> str:
    """The receipt of a patient, as it is handed over: English ("en") or French ("fr")."""
    words = _WORDS[lang]
    uses, said = here.oppositions.receipt(person), here.oppositions.last(person)
    lines = [words["title"].format(hospital=here.name), words["about"].format(person=person, day=date.today())]
    lines += ["", words["used" if uses else "unused"], *(_use(use, words) for use in uses), ""]
    lines += [words["said"]] if said else [words["silent"]]
    for line in said:
        purpose = words["every"] if line.purpose == EVERY else line.purpose
        lines.append(f"- {line.date[:10]}: {words[line.status]} ({purpose})")
    return "\n".join([*lines, "", words["how"], words["right"]])


def _use(use: Use, words: dict[str, str]) -> str:
    return f"- {use.day[:10]}: {use.title}. {words['purpose']}: {use.purpose}. {words['number']}: {use.study[:16]}"


_WORDS = {
    "en": {
        "title": "Studies that used your data at {hospital}",
        "about": "Patient {person}, as of {day}",
        "used": "Your data were used in these studies:",
        "unused": "No study used your data.",
        "purpose": "Purpose",
        "number": "Number of the study",
        "said": "What you told us, and what holds today:",
        "silent": "You have told us nothing about the use of your data.",
        "every": "every purpose",
        "opposed": "you oppose",
        "consented": "you consent",
        "withdrawn": "you took back what you had said",
        "how": "Your data stay in this hospital. A study gets sums over many people, never a single record.",
        "right": "You may oppose the use of your data at any time, and change your mind. Results that were made before "
        "stay as they are.",
    },
    "fr": {
        "title": "Études qui ont utilisé vos données à {hospital}",
        "about": "Patient {person}, à la date du {day}",
        "used": "Vos données ont été utilisées dans ces études :",
        "unused": "Aucune étude n’a utilisé vos données.",
        "purpose": "Finalité",
        "number": "Numéro de l’étude",
        "said": "Ce que vous nous avez dit, et qui vaut aujourd’hui :",
        "silent": "Vous ne nous avez rien dit sur l’utilisation de vos données.",
        "every": "toutes les finalités",
        "opposed": "vous vous opposez",
        "consented": "vous consentez",
        "withdrawn": "vous êtes revenu sur ce que vous aviez dit",
        "how": "Vos données restent dans cet hôpital. Une étude reçoit des sommes sur de nombreuses personnes, jamais "
        "un dossier seul.",
        "right": "Vous pouvez vous opposer à tout moment à l’utilisation de vos données, et changer d’avis. Les "
        "résultats déjà produits restent ce qu’ils sont.",
    },
}
