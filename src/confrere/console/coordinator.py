"""`confrere coordinator`, `confrere authority` and `confrere roster`: those who bring hospitals together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from confrere.kits import Profile

app = typer.Typer(no_args_is_help=True, help="The coordinator's side: the service that conducts runs.")
authority = typer.Typer(
    no_args_is_help=True, help="The authority of the transport's certificates; not the coordinator."
)
roster = typer.Typer(no_args_is_help=True, help="The list of hospitals and their keys, which every one of them signs.")

At = Annotated[
    Path, typer.Option("--home", metavar="DIR", help="The coordinator's folder.", envvar="CONFRERE_COORDINATOR")
]
AuthorityAt = Annotated[Path, typer.Option("--home", metavar="DIR", help="The authority's folder.")]
RunName = Annotated[str, typer.Argument(help="A run that is held.", metavar="RUN")]
ReaderName = Annotated[str, typer.Option("--reader", metavar="NAME", help="Who has read it.")]
HERE, AUTHORITY = Path("confrere-coordinator"), Path("confrere-authority")
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The roster to write.")]


@app.callback()
@authority.callback()
def ready() -> None:
    """What all of them need."""
    from confrere.console.output import federated

    federated()


# authority


@authority.command("init")
def authority_init(
    name: Annotated[str, typer.Argument(help="The federation's name: letters, digits, hyphens.")],
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="The coordinator's name, as hospitals reach it.")],
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port to which hospitals connect.")] = 8102,
    api_port: Annotated[int, typer.Option("--api-port", metavar="N", help="Port to which researchers connect.")] = 8443,
    home: AuthorityAt = AUTHORITY,
) -> None:
    """Make the authority: its key stays in this folder, its certificate and federation.json go to every site."""
    from confrere.kits import Profile, make_authority

    said = make_authority(home, Profile(name, host, port, port + 1, api_port))
    typer.echo(f"The authority's fingerprint, to be read out by telephone to every site:\n\n    {said}\n")
    typer.echo(f"Give {home / 'federation.json'} to every site, and {home / 'authority.pem'} to every researcher too.")


@authority.command("fingerprint")
def authority_fingerprint(home: AuthorityAt = AUTHORITY) -> None:
    """Show the authority's fingerprint again."""
    from confrere.kits import fingerprint

    typer.echo(fingerprint(home / "authority.pem"))


@authority.command("approve")
def authority_approve(
    requests: Annotated[list[Path], typer.Argument(help="NAME.request.zip of one or more sites.")],
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long the certificates hold.")] = 1095,
    home: AuthorityAt = AUTHORITY,
) -> None:
    """Sign requests for certificates, after asking each site whether it made the request."""
    from confrere.kits import approve

    for signed in approve(home, *requests, days=days):
        typer.echo(f"{signed} is signed; send it back.")


# coordinator


@app.command()
def init(
    federation: Annotated[
        Path, typer.Option("--federation", metavar="FILE", help="federation.json, from the authority.")
    ],
    home: At = HERE,
) -> None:
    """Make the coordinator's folder and the requests for its two certificates."""
    from confrere.coordinator.home import Home
    from confrere.kits import Profile

    profile = Profile.read(federation)
    made = Home.make(home)
    profile.write(made.path / "federation.json")
    asked = _requests(made.path, profile)
    typer.echo(f"Send {asked[0]} and {asked[1]} to the authority of the certificates.")


def _requests(home: Path, profile: Profile) -> list[Path]:
    from confrere.kits import RUNNER, Ask, request

    return request(profile, Ask(home, "server", profile.host), Ask(home, "runner", RUNNER))


@app.command()
def install(
    signed: Annotated[list[Path], typer.Argument(help="The signed answers of the authority.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", metavar="HEX", help="The authority's fingerprint, as it was read out.")
    ],
    home: At = HERE,
) -> None:
    """Lay the coordinator's certificates in; again, for a renewal."""
    from confrere.coordinator.home import Home
    from confrere.kits import expires
    from confrere.kits import install as lay

    kits = lay(fingerprint, *((Home(home).path, answer) for answer in signed))
    for answer, kit in zip(signed, kits, strict=True):
        typer.echo(f"{answer.name.removesuffix('.signed.zip')} has its certificate, until {expires(kit)}.")


@app.command()
def renew(home: At = HERE) -> None:
    """Make new keys for the transport and the requests for their certificates, before the old ones end."""
    from confrere.coordinator.home import Home
    from confrere.kits import Profile

    here = Home(home)
    profile = Profile.read(here.path / "federation.json")
    asked = _requests(here.path, profile)
    typer.echo(f"Send {asked[0]} and {asked[1]} to the authority, and install what comes back.")


@app.command()
def pin(
    file: Annotated[Path, typer.Argument(help="The roster that every hospital has signed.")], home: At = HERE
) -> None:
    """Tell the coordinator which hospitals there are."""
    from confrere.coordinator.home import Home
    from confrere.coordinator.roster import pin as lay

    typer.echo(f"The federation is {', '.join(lay(file, Home(home).path))}.")


@app.command()
def token(
    researcher: Annotated[str, typer.Argument(help="Who gets it.")],
    revoke: Annotated[bool, typer.Option("--revoke", help="Take back every token of this researcher.")] = False,
    scope: Annotated[
        list[str], typer.Option("--scope", metavar="SCOPE", help="What it may do: read or submit; both, unless said.")
    ] = [],  # noqa: B006 - Typer copies it
    days: Annotated[float, typer.Option("--days", metavar="N", help="How long it holds, 365 at most.")] = 365.0,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What will use it.")] = "",
    home: At = HERE,
) -> None:
    """Make a researcher's token; it is shown once."""
    from confrere.coordinator.book import SCOPES, Book
    from confrere.coordinator.home import Home

    book = Book(Home(home).database)
    if revoke:
        typer.echo(f"{book.revoke(researcher)} tokens of {researcher} are taken back.")
    else:
        typer.echo(book.token(researcher, label, tuple(dict.fromkeys(scope)) or SCOPES, days))


@app.command()
def erase(run: Annotated[str, typer.Argument(help="A run that is over.")], home: At = HERE) -> None:
    """Remove a run with its journal and findings; prints a signed proof of what was removed."""
    from confrere.coordinator.erasures import erased
    from confrere.coordinator.home import Home

    typer.echo(json.dumps(erased(Home(home), run)))


@app.command()
def airlock(
    run: Annotated[str, typer.Argument(help="A run to be read; without it, all that are held.", metavar="[RUN]")] = "",
    reader: Annotated[str, typer.Option("--reader", metavar="NAME", help="Who reads it, which is written down.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the report, to be read there.")
    ] = None,
    home: At = HERE,
) -> None:
    """List what the airlock holds, or read one run's findings with their output checks and SHA-256."""
    from confrere.console.airlock import listed, shown

    for line in shown(home, run, reader, out) if run else listed(home):
        typer.echo(line)


@app.command()
def release(
    run: RunName,
    reader: ReaderName,
    accept: Annotated[
        list[str], typer.Option("--accept", metavar="CHECK", help="A check that did not pass and is let through.")
    ] = [],  # noqa: B006 - Typer copies it
    comment: Annotated[
        str, typer.Option("--comment", metavar="TEXT", help="Why; needed where a check is accepted.")
    ] = "",
    home: At = HERE,
) -> None:
    """Let the findings go that this reader has read; as often as coordinator.toml asks for readers."""
    from confrere.console.airlock import let_go

    typer.echo(let_go(home, run, reader, accept, comment))


@app.command()
def reject(
    run: RunName,
    reader: ReaderName,
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why: the researcher reads it.")],
    home: At = HERE,
) -> None:
    """Keep the findings of a run for good, and tell the researcher why."""
    from confrere.console.airlock import kept_back

    typer.echo(kept_back(home, run, reader, comment))


@app.command()
def serve(home: At = HERE) -> None:
    """Conduct runs and answer researchers, until stopped."""
    from confrere.console.serving import coordinate

    coordinate(home, typer.echo)


@app.command()
def pages(
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="Port; else what coordinator.toml says, or 8444.")
    ] = 0,
    home: At = HERE,
) -> None:
    """Show the pages alone, until stopped; what they submit runs while `confrere coordinator serve` does."""
    from confrere.console.serving import show_pages

    show_pages(home, port, typer.echo)


# roster


@roster.command("make")
def roster_make(
    cards: Annotated[list[Path], typer.Argument(help="NAME.card.json of every hospital.")], out: Out
) -> None:
    """Assemble a roster from the hospitals' cards; nobody has signed it yet."""
    from confrere.coordinator.roster import assemble

    assemble(cards, out)
    roster_show(out)


@roster.command("show")
def roster_show(file: Annotated[Path, typer.Argument(help="A roster.")]) -> None:
    """Show the fingerprints of a roster, to be compared by telephone, and who has signed."""
    from confrere.coordinator.roster import lines

    for name, digits, signed in lines(file):
        typer.echo(f"{name:32s} {digits}  {'signed' if signed else 'not signed'}")


@roster.command("merge")
def roster_merge(files: Annotated[list[Path], typer.Argument(help="Copies, each with signatures.")], out: Out) -> None:
    """Bring the signatures of several copies of one roster together."""
    from confrere.coordinator.roster import merge

    merge(files, out)
    roster_show(out)


@roster.command("rotate")
def roster_rotate(
    file: Annotated[Path, typer.Argument(help="The present roster.")],
    rotation: Annotated[Path, typer.Argument(help="NAME.rotation.json.")],
    out: Out,
) -> None:
    """Put a hospital's new key into a roster, if its old key signed it over; everybody signs anew."""
    from confrere.coordinator.roster import rotate

    rotate(file, rotation, out)
    roster_show(out)
