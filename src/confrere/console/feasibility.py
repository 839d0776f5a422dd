"""`confrere feasibility`: who could enter a study, over hospitals whose records are in the OMOP common data model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confrere.analyses.feasibility import Feasibility
    from confrere.data.copies import Copies
    from confrere.study.file import Study

METHOD = "feasibility"
PORT = 8446


def feasibility(
    study: Annotated[
        Path,
        typer.Argument(
            help="A study file (TOML) that has cohorts, or a definition (Circe JSON, as ATLAS exports it).",
            metavar="STUDY|COHORT.json",
        ),
    ],
    hospital: Annotated[
        list[str],
        typer.Option(
            "--hospital", metavar="NAME=SOURCE",
            help="A hospital and its OMOP records: a folder of Parquet or CSV files, a DuckDB file, or a PostgreSQL "
            "URL; three or more.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for result.json, report.html, tables and figures.")
    ] = Path("confrere-feasibility"),
    years: Annotated[
        str, typer.Option("--years", metavar="FIRST-LAST", help="Calendar years of entry; the last ten that are over.")
    ] = "",
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="Language of the report: en or fr.")] = "en",
    serve: Annotated[
        bool, typer.Option("--serve", help="Instead of a report: a page on this machine on which criteria are changed.")
    ] = False,
) -> None:  # fmt: skip
    """Count who could enter a study: in sequence, without each criterion, by year, sex, age, region; expected accrual.

    Masks and gate are those of any run. Of a study file, its analyses of feasibility are run; if it has none, the
    target is counted.
    """
    from confrere.console.local import Local
    from confrere.console.output import Progress, checked, delivered, named

    hospitals = named(hospital, "SOURCE")
    made = asked(study, years)
    if serve:
        _serve(made, hospitals)
        return
    checked(out, lang, None)
    with Progress("reading the records") as progress:
        results = Local(hospitals).run(made, progress=lambda number, _: progress.say(f"round {number}"))
    delivered(results, out, lang)


def asked(path: Path, years: str = "") -> Study:
    """The study that a file asks: of its feasibility alone, of its target, or of a definition. StudyError otherwise."""
    from confrere.analyses.feasibility import Feasibility
    from confrere.console.cohort import defined
    from confrere.study.build import single
    from confrere.study.file import Spec, read
    from confrere.study.ground import Ground

    span = _span(years)
    if path.suffix.lower() != ".toml":
        made = single(Feasibility(defined(path).text, span), Ground())
        return replace(made, title=path.stem, purpose="feasibility of a study")
    study = read(path, bare=True)
    found = tuple(spec for spec in study.analyses if spec.method == METHOD)
    if found:
        told = [replace(s, settings={**s.settings, "years": list(span)}) for s in found] if years else found
        return replace(study, analyses=tuple(told))
    names = [name for name, _ in study.omop.cohorts] if study.omop else []
    target = (study.omop.target if study.omop else "") or (names[0] if len(names) == 1 else "")
    if not target:
        raise StudyError(
            f'{path} has no [[analysis]] with method = "{METHOD}", and no target: write target = "..." under [data], '
            f"a name of [cohorts]{f' ({chr(44).join(names)})' if names else ''}"
        )
    return replace(study, analyses=(Spec(METHOD, METHOD, (), {"cohort": target, "years": list(span)}),))


def _span(years: str) -> tuple[int, int]:
    """The calendar years that an option names."""
    if not years:
        return date.today().year - 10, date.today().year - 1
    first, dash, last = years.partition("-")
    if not (dash and first.strip().isdigit() and last.strip().isdigit()):
        raise StudyError(f"--years {years!r} must be the first and the last year, such as --years 2015-2024")
    return int(first), int(last)


def _serve(study: Study, sources: Mapping[str, str]) -> None:
    """The page over these sources, until it is stopped."""
    import tempfile

    from confrere.console.output import federated
    from confrere.data.copies import copied

    federated()
    import uvicorn

    analysis = _first(study)
    with tempfile.TemporaryDirectory(prefix="confrere-") as folder:
        place = Path(folder)
        typer.echo("copying the people with an entry event; nothing leaves this machine", err=True)
        with copied(sources, analysis.cohorts[0].text, place, analysis.ground.schema) as copies:
            uvicorn.Server(page_of(study, copies, place, _port())).run()


def _port() -> int:
    """Where the page answers: the usual port, or any that is free."""
    import socket

    for port in (PORT, 0):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return int(tried.getsockname()[1])
    raise StudyError("no port of this machine is free; close another program that serves pages")


def _first(study: Study) -> Feasibility:
    """The count that the page is about."""
    from confrere.study.build import analyses

    return cast("Feasibility", analyses(study)[0])


def page_of(study: Study, copies: Copies, place: Path, port: int) -> Any:
    """What uvicorn needs to serve the page on this machine; sessions are kept in the folder `place`."""
    from confrere.console.pages.feasibility import MENU, local
    from confrere.console.pages.feasibility_counts import Explorer
    from confrere.console.pages.frame import Console, application
    from confrere.console.pages.laptop import Link, listening
    from confrere.console.pages.sessions import Sessions
    from confrere.console.pages.settings import IdentitySettings

    identity = IdentitySettings()
    store = Sessions(place / "sessions.sqlite", 60.0 * identity.idle_minutes, 3600.0 * identity.hours)
    routes = [local(Explorer(_first(study), copies, study.k), study.title)]
    link = Link(typer.echo, port)
    app = application(Console("coordinator", study.title, MENU), identity, store, routes, link)
    return listening(app, identity, "127.0.0.1", port)
