"""`confrere hospital ...`: the side of a hospital's IT and its steward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from confrere.errors import StudyError

app = typer.Typer(no_args_is_help=True, help="A hospital's side: its keys, its approvals, its serving process.")

At = Annotated[Path, typer.Option("--home", metavar="DIR", help="The hospital's folder.", envvar="CONFRERE_HOSPITAL")]
HERE = Path("confrere-hospital")
ProfileFile = Annotated[
    Path, typer.Option("--federation", metavar="FILE", help="federation.json, from the authority of the certificates.")
]


ModelFile = Annotated[
    Path, typer.Argument(help="A model with its card: models/NAME.json of a result.", metavar="MODEL")
]


RECORDS = ("check-data", "import-csv", "import-fhir")  # commands about records alone, which need no federation


@app.callback()
def ready(context: typer.Context) -> None:
    """What all but those need."""
    from confrere.console.output import federated

    if context.invoked_subcommand not in RECORDS:
        federated()


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="The hospital's name in the roster: letters, digits, hyphens.")],
    federation: ProfileFile,
    table: Annotated[
        list[str], typer.Option("--table", metavar="NAME=FILE", help="What studies call a table, and where it is.")
    ] = [],  # noqa: B006 - Typer copies it
    person: Annotated[
        str, typer.Option("--person", metavar="COLUMN", help="The column that names the person, for oppositions.")
    ] = "",
    home: At = HERE,
) -> None:
    """Make the hospital's folder: its identity key, its card, and the request for a certificate."""
    from confrere.hospital.home import Home
    from confrere.kits import Ask, Profile, checked, request

    profile = Profile.read(federation)
    made = Home.make(home, checked(name), _tables(table), person)
    profile.write(made.path / "federation.json")
    card = made.card()
    (asked,) = request(profile, Ask(made.path, "client", name))
    typer.echo(f"{name} has an identity key. Its fingerprint, to be read out by telephone:\n")
    typer.echo(f"    {made.identity.fingerprint}\n")
    typer.echo(f"Send {card} to whoever assembles the roster, and {asked} to the authority of the certificates.")


@app.command()
def install(
    signed: Annotated[Path, typer.Argument(help="NAME.signed.zip, as it came back from the authority.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", metavar="HEX", help="The authority's fingerprint, as it was read out.")
    ],
    home: At = HERE,
) -> None:
    """Lay the hospital's certificate in; again, for a renewal."""
    from confrere.hospital.home import Home
    from confrere.kits import expires
    from confrere.kits import install as lay

    (kit,) = lay(fingerprint, (Home(home).path, signed))
    typer.echo(f"The certificate is in place, until {expires(kit)}.")


@app.command()
def renew(home: At = HERE) -> None:
    """Make a new key for the transport and the request for its certificate, before the old one ends."""
    from confrere.hospital.home import Home
    from confrere.kits import Ask, Profile, request

    here = Home(home)
    (asked,) = request(Profile.read(here.path / "federation.json"), Ask(here.path, "client", here.name))
    typer.echo(f"Send {asked} to the authority of the certificates, and install what comes back.")


@app.command()
def sign(
    roster: Annotated[Path, typer.Argument(help="The roster, after its fingerprints were compared by telephone.")],
    home: At = HERE,
) -> None:
    """Add this hospital's signature to a roster: it says that every fingerprint in it was compared."""
    from confrere.hospital.home import Home

    here = Home(home)
    here.sign(roster)
    typer.echo(f"{here.name} has signed {roster}.")


@app.command("sign-model")
def sign_model(
    model: Annotated[
        Path, typer.Argument(help="A model with its card: models/NAME.json of a result.", metavar="MODEL")
    ],
    home: At = HERE,
) -> None:
    """Add this hospital's signature to a model and its card; whoever changes either is found out."""
    from confrere.hospital.home import Home
    from confrere.hospital.signing import sign_model as signed

    here = Home(home)
    typer.echo(f"{here.name} has signed {model}; SHA-256 of what it signed: {signed(here, model)}")


@app.command("check-model")
def check_model(
    model: ModelFile,
    home: At = HERE,
) -> None:
    """Check the signatures on a model and its card by the pinned roster, and say which hospitals signed."""
    from confrere.hospital.home import Home
    from confrere.hospital.signing import signers

    typer.echo(f"{model} is signed by {', '.join(signers(model, Home(home).roster))}, and unchanged.")


@app.command()
def pin(
    roster: Annotated[Path, typer.Argument(help="The roster that every hospital has signed.")],
    home: At = HERE,
) -> None:
    """Pin a roster: from now on this hospital runs with exactly these hospitals."""
    from confrere.hospital.home import Home

    here = Home(home)
    typer.echo(f"{here.name} runs with {', '.join(here.pin(roster))}.")


@app.command()
def rotate(home: At = HERE) -> None:
    """Make a new identity key, signed over by the old one. A lost key cannot: that hospital is a new member."""
    from confrere.hospital.home import Home

    here = Home(home)
    file = here.rotate()
    typer.echo(f"The new key's fingerprint:\n\n    {here.identity.fingerprint}\n")
    typer.echo(f"Send {file} to whoever assembles the roster; every hospital signs the new roster, and pins it.")


Chosen = Annotated[str, typer.Argument(help="The study file, or its hash.", metavar="STUDY")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; the ledger keeps the name.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why; it stays in this hospital.")]
STEWARD = "steward"


@app.command()
def check(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    home: At = HERE,
) -> None:
    """Say whether this hospital would answer a study, and if not, every reason why. Nothing is decided."""
    from confrere.hospital.home import Home
    from confrere.study.file import read

    here = Home(home)
    asked = read(study)
    if why := here.check(asked):
        typer.echo(f"{here.name} would not answer {study}:")
        for reason in why:
            typer.echo(f"  - {reason}")
        raise typer.Exit(3)
    record = here.studies.record(asked.hash)
    if record is None or record.state == "submitted":
        typer.echo(f"{here.name} would answer {study}, once its steward approves it.")
    else:
        typer.echo(f"{here.name}: the rules and the records allow {study}; it is {record.state} here.")


@app.command()
def studies(home: At = HERE) -> None:
    """List the studies that are known here: those that wait for a decision, and the state of all others."""
    from confrere.hospital.home import Home

    here = Home(home)
    for record in here.studies.all():
        found = here.studies.study(record.study)
        why = f" ({record.why})" if record.why else ""
        typer.echo(f"{record.study[:16]}  {record.state:<9}  {found.id}: {found.title}{why}")


@app.command()
def approve(
    study: Chosen,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; the manifest was read before.")] = False,
    by: By = STEWARD,
    home: At = HERE,
) -> None:
    """Show what would leave under a study, and write down the steward's yes to exactly these bytes."""
    from confrere.console.app import shown
    from confrere.hospital.home import Home
    from confrere.study.file import parse

    here = Home(home)
    text = _text(here, study)
    asked = parse(text, study)
    if not yes:
        shown(asked)
        try:
            agreed = typer.confirm(f"\nDoes {here.name} approve this study?")
        except typer.Abort:
            raise StudyError("nobody answered; with --yes nothing is asked, once the manifest was read") from None
        if not agreed:
            raise typer.Exit(3)
    found = here.approve(text, by)
    typer.echo(f"{here.name} approves {found.id}, {found.hash[:16]}.")


@app.command()
def refuse(study: Chosen, by: By = STEWARD, why: Why = "", home: At = HERE) -> None:
    """Say no, or take back a yes: nothing more is answered under the study, effective before the next round."""
    from confrere.hospital.home import Home

    here = Home(home)
    if Path(study).exists():
        here.studies.submit(_text(here, study), by)
    _decide(here, study, "refuse", by, why)


@app.command()
def pause(study: Chosen, by: By = STEWARD, why: Why = "", home: At = HERE) -> None:
    """Stop answering under a study before its next round, until it is resumed: the run waits."""
    from confrere.hospital.home import Home

    _decide(Home(home), study, "pause", by, why)


@app.command()
def resume(study: Chosen, by: By = STEWARD, home: At = HERE) -> None:
    """Go on with a study that was paused, by its steward or by the gate after three refused messages."""
    from confrere.hospital.home import Home

    _decide(Home(home), study, "resume", by, "")


@app.command()
def revoke(study: Chosen, by: By = STEWARD, why: Why = "", home: At = HERE) -> None:
    """End a study here for good: a run under way stops before its next round."""
    from confrere.hospital.home import Home

    _decide(Home(home), study, "revoke", by, why)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it holds the identity key, so keep it safe.")],
    home: At = HERE,
) -> None:
    """Save what this hospital could not make again: keys, roster, approvals, runs. Its records are not in it."""
    from confrere.hospital.home import Home

    Home(home).backup(file)
    typer.echo(f"{file} is written. It holds the identity key: whoever has it can pose as this hospital.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    home: At = HERE,
) -> None:
    """Make the hospital's folder from its backup, on a new machine. The pictures of its bank are held."""
    from confrere.hospital.home import Home

    here = Home.restore(file, home)
    typer.echo(f"{here.name} is restored in {home}.")
    typer.echo("What was said since the backup is not in it. Record oppositions of that time again before studies run.")
    if held := next(here.ledger.entries(event="restored", newest=True)).facts["held"]:
        typer.echo(
            f"Pictures held: {held}. Consents revoked and pictures erased or painted over since the backup are as they "
            f"were: `images revoke`, `images erase` and `images mask` them again, then `images release --restored`"
        )


@app.command()
def erase(
    study: Annotated[str, typer.Argument(help="The study file, or its hash.")],
    worklists: Annotated[
        bool, typer.Option("--worklists", help="Its worklists too, with all that clinicians noted on them.")
    ] = False,
    home: At = HERE,
) -> None:
    """Remove what is kept of a study's run; prints a signed proof of what was removed."""
    from confrere.hospital.home import Home

    here = Home(home)
    typer.echo(json.dumps(here.erase(_hash(here, study), lists=worklists)))


@app.command()
def serve(home: At = HERE) -> None:
    """Connect to the coordinator and answer approved studies, until stopped. Connections go out only."""
    from confrere.console.serving import serve_hospital

    serve_hospital(home, typer.echo)


@app.command()
def pages(
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port.")] = 8480,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="The chain of certificates (PEM), for https.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The key of the certificate (PEM).")] = None,
    home: At = HERE,
) -> None:
    """Show the hospital's pages to its stewards, clinicians and IT, until stopped."""
    from confrere.console.serving import show_hospital

    if (certificate is None) != (key is None):
        raise StudyError("--certificate and --key belong together: give both, or neither behind a reverse proxy")
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise StudyError(f"{file} is not there; give --certificate and --key as files in PEM")
    show_hospital(home, (host, port), (certificate, key) if certificate and key else None, typer.echo)


def _tables(given: list[str]) -> dict[str, str]:
    tables: dict[str, Any] = {}
    for item in given:
        name, equals, path = (part.strip() for part in item.partition("="))
        if not (name and equals and path):
            raise StudyError(f"--table {item!r} must be NAME=FILE, such as --table breast=breast.csv")
        tables[name] = path
    return tables


def _text(here: Any, study: str) -> str:
    """A study's file, from a path or from the studies that came here."""
    from confrere.study.write import sent

    if Path(study).exists():
        return sent(study)[0]
    return str(here.studies.text(_hash(here, study)))


def _hash(here: Any, study: str) -> str:
    """A study's hash, from its file, the hash or the beginning of it, or its id. StudyError if none or several fit."""
    from confrere.study.file import read

    if Path(study).exists():
        return read(study).hash
    known = [r.study for r in here.studies.all()]
    fitting = [one for one in known if len(study) >= 8 and one.startswith(study)]
    fitting = fitting or [one for one in known if here.studies.study(one).id == study]
    if len(fitting) != 1:
        raise StudyError(f"{study!r} is no file and no study that {here.name} knows; `hospital studies` lists them")
    return str(fitting[0])


def _decide(here: Any, study: str, action: str, by: str, why: str) -> None:
    chosen = _hash(here, study)
    here.decide(chosen, action, by, why)
    typer.echo(f"{here.name}: {chosen[:16]} is {here.studies.record(chosen).state}.")
