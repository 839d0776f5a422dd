"""The command line. Exit codes: 0 done, 2 the study or the data is wrong, 3 refused, 4 waiting.

Findings go to stdout, progress and messages to stderr.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confrere.console import (
    check_data,
    cohort,
    coordinator,
    erasure,
    import_csv,
    import_fhir,
    ledger,
    opposition,
    researcher,
    skin,
    slides,
    synthetic,
    worklist,
)
from confrere.console.card import card
from confrere.console.feasibility import feasibility
from confrere.console.hospital import app as hospital_app
from confrere.console.predict import predict
from confrere.console.recalibrate import recalibrate
from confrere.errors import ConfrereError, StudyError

if TYPE_CHECKING:
    from confrere.rounds import Round
    from confrere.study.file import Study

app = typer.Typer(
    name="confrere", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Ask every hospital, move no patient: statistics over hospitals whose records stay where they are.",
    epilog="Exit codes: 0 done, 2 the study or the data is wrong, 3 a hospital or its gate refused, "
    "4 waiting for hospitals.",
)  # fmt: skip

StudyFile = Annotated[Path, typer.Argument(help="The study file (TOML).", metavar="STUDY")]
Hospitals = Annotated[
    list[str],
    typer.Option(
        "--hospital", metavar="NAME=FILE", help="A hospital and its records (CSV, Parquet, DuckDB); three or more."
    ),
]
Encoding = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="Encoding of CSV files: utf-8, latin-1 or utf-16.")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder for result.json, report.html, tables and figures.")
]
OwnOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for results and report; confrere-demo-NAME if none is given."),
]
Lang = Annotated[str, typer.Option("--lang", metavar="LANG", help="Language of the report: en or fr.")]
Deadline = Annotated[
    float | None,
    typer.Option("--deadline", metavar="SECONDS", help="Ask nothing more after this long, and end with exit code 4."),
]  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        from confrere import __version__

        typer.echo(f"confrere {__version__}")
        raise typer.Exit()


Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
]


hospital_app.add_typer(opposition.app, name="opposition")
hospital_app.add_typer(worklist.app, name="worklist")
hospital_app.command()(import_fhir.import_fhir)
hospital_app.command()(import_csv.import_csv)
hospital_app.command()(check_data.check_data)
app.add_typer(hospital_app, name="hospital")
app.add_typer(cohort.app, name="cohort")
app.add_typer(slides.app, name="slides")
app.add_typer(skin.app, name="images")
app.add_typer(ledger.app, name="ledger")
app.add_typer(erasure.app, name="erasure")
app.add_typer(coordinator.app, name="coordinator")
app.add_typer(coordinator.authority, name="authority")
app.add_typer(coordinator.roster, name="roster")
researcher.add(app)
app.command()(synthetic.synthesize)
app.command()(feasibility)
app.command()(predict)
app.command()(card)
app.command()(recalibrate)


@app.callback()
def root(version: Version = False) -> None:
    """Options that stand before a command."""


@app.command()
def demo(
    name: Annotated[
        str, typer.Argument(help="breast, lung, myeloma, omop, prognosis, pathology or skin.", metavar="[NAME]")
    ] = "breast",
    out: OwnOut = None,
    lang: Lang = "en",
    deadline: Deadline = None,
    federated: Annotated[
        bool, typer.Option("--federated", help="Run it over a coordinator and hospitals as processes, with TLS.")
    ] = False,
    home: Annotated[
        Path | None, typer.Option("--home", metavar="DIR", help="Keep the folders of a federated demo's sites here.")
    ] = None,
) -> None:
    """Run a study over several hospitals in this process, on real public data (or synthetic), and write its report.

    breast: hormonal therapy and recurrence in 2,982 women. lung: survival with advanced lung cancer, many small
    institutions. myeloma: progression, with death as a competing risk. omop: who could enter a trial, on OMOP records
    of synthetic people. prognosis: a model of recurrence learned, released with its card, evaluated among women of
    later years, and used in a hospital. pathology: slides, a network of their tiles, and where it looked, on made
    slides. skin: image banks, a classifier of lesions and similar cases, on made pictures;
    skin=FOLDER on those of HAM10000.
    """
    from confrere.console.demo import ALONE, OMOP, STAGED, equipped, homeless, load
    from confrere.console.local import Local

    name, _, folder = name.partition("=")
    if folder and name != "skin":
        raise StudyError(f"the demo '{name}' takes no folder; skin=FOLDER does")
    out = out or Path("-".join(["confrere-demo", name, *([Path(folder).resolve().name] if folder else [])]))
    if name in ALONE:
        equipped(name)
        if federated or home:
            raise StudyError(f"the demo '{name}' runs in this process alone; leave out --federated and --home")
        shown = _synthetic if name == OMOP else import_module(STAGED[name]).demonstrated
        shown(out, lang, deadline, *([Path(folder)] if folder else []))
        return
    study, hospitals = load(name)
    if left := homeless(name):
        who = "1 person belongs to no hospital and is" if left == 1 else f"{left} people belong to no hospital and are"
        typer.echo(f"confrere: {who} left out", err=True)
    if federated or home:
        from confrere.console.output import federated as needed

        needed()
        from confrere.console.federated import federate

        federate(name, hospitals, out, lang, deadline, home)
        return
    go(Local(hospitals), study, out, lang, deadline)


@app.command()
def records(
    name: Annotated[
        str, typer.Argument(help="breast, lung, myeloma, omop, prognosis, pathology or skin.", metavar="NAME")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files.")] = Path("records"),
) -> None:
    """Write a demo's study and the records of its hospitals as files, to try everything on."""
    from confrere.console.demo import written

    for file in written(name, out):
        typer.echo(str(file))


@app.command()
def run(
    study: StudyFile,
    hospital: Hospitals,
    encoding: Encoding = "utf-8",
    out: Out = Path("confrere-out"),
    lang: Lang = "en",
    deadline: Deadline = None,
) -> None:
    """Run a study over hospitals in this process: masks, gate and followed flow as in a real federation.

    The study is self-approved under the default policy, and the result says so.
    """
    from confrere.console.local import Local
    from confrere.console.output import named
    from confrere.data.sources import Source
    from confrere.study.file import read

    hospitals = {name: Source(path, encoding=encoding) for name, path in named(hospital, "FILE").items()}
    go(Local(hospitals), read(study), out, lang, deadline)


@app.command()
def manifest(study: StudyFile) -> None:
    """Say what would leave each hospital under a study, before anything runs. No data are read."""
    from confrere.study.file import read

    shown(read(study))


def shown(study: Study) -> None:
    """Print what would leave each hospital under a study."""
    from confrere.console.output import terminal
    from confrere.console.show import listed
    from confrere.hospital.manifest import manifest as manifest_of

    console = terminal()
    for line in listed(study, manifest_of(study)):
        console.print(line, highlight=False, soft_wrap=isinstance(line, str) and line.startswith("  "))


@app.command()
def explain(
    code: Annotated[str, typer.Argument(help="A warning's code, or an error's name; without it, all.")] = "",
    lang: Annotated[str, typer.Option("--lang", "--language", help="en or fr; else that of the terminal.")] = "",
) -> None:
    """Say what a warning or an error means, why, and what to do about it. Works offline."""
    from rich.markdown import Markdown

    from confrere.console.explain import PAGES, explained, sections, spoken
    from confrere.console.output import check_language, terminal

    lang = lang or spoken()
    check_language(lang)
    if code:
        terminal().print(Markdown(explained(code, lang)))
        return
    for page in PAGES[lang]:
        typer.echo(f"{page.partition('.')[0]}: {', '.join(sections(page))}")


def _synthetic(out: Path, lang: str, deadline: float | None) -> None:
    """The demo omop: its hospitals are made, asked, and gone."""
    import tempfile

    from confrere.console.demo import synthetic
    from confrere.console.local import Local
    from confrere.study.file import read

    with tempfile.TemporaryDirectory() as folder:
        study, *hospitals = synthetic(Path(folder))
        go(Local({one.name: one for one in hospitals}), read(study), out, lang, deadline)


def go(hospitals: Any, study: Any, out: Path, lang: str, deadline: float | None) -> Any:
    """Run, write, show; the results."""
    from confrere.console.output import Progress, checked, delivered
    from confrere.rounds import name_of

    checked(out, lang, deadline)
    with Progress("reading the records") as progress:

        def said(number: int, asks: Round) -> None:
            what = ", ".join(dict.fromkeys(f"{name_of(a.analysis).lstrip('_')} {a.step}" for a in asks))
            progress.say(f"round {number}: {what}")

        results = hospitals.run(study, deadline=deadline, progress=said)
    delivered(results, out, lang)
    return results


def main() -> None:
    """Entry point: errors of ours are one message and an exit code, never a traceback."""
    from confrere.console.output import complain

    try:
        app(prog_name="confrere")
    except ConfrereError as error:
        complain(str(error), error.page)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:  # the reader of stdout went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
