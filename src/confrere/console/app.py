"""The command line. Exit codes: 0 done, 2 the study or the data is wrong, 3 refused, 4 waiting.

Findings go to stdout, progress and messages to stderr.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confrere.errors import ConfrereError, StudyError

if TYPE_CHECKING:
    from rich.console import Console

    from confrere.rounds import Round

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


@app.callback()
def root(version: Version = False) -> None:
    """Options that stand before a command."""


@app.command()
def demo(
    name: Annotated[str, typer.Argument(help="breast, lung or myeloma.", metavar="[NAME]")] = "breast",
    out: Out = Path("confrere-demo"),
    lang: Lang = "en",
    deadline: Deadline = None,
) -> None:
    """Run a study over several hospitals in this process, on real public data, and write its report.

    breast: hormonal therapy and recurrence in 2,982 women. lung: survival with advanced lung cancer, many small
    institutions. myeloma: progression, with death as a competing risk.
    """
    from confrere.console.demo import homeless, load
    from confrere.console.local import Local

    study, hospitals = load(name)
    if left := homeless(name):
        typer.echo(f"confrere: {left} of the people belong to no hospital and are left out", err=True)
    _go(Local(hospitals), study, out, lang, deadline)


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
    from confrere.data.sources import Source
    from confrere.study.file import read

    hospitals = {name: Source(path, encoding=encoding) for name, path in _named(hospital).items()}
    _go(Local(hospitals), read(study), out, lang, deadline)


@app.command()
def manifest(study: StudyFile) -> None:
    """Say what would leave each hospital under a study, before anything runs. No data are read."""
    from confrere.console.manifest import manifest as manifest_of
    from confrere.console.show import listed
    from confrere.study.file import read

    parsed = read(study)
    console = _console()
    for line in listed(parsed, manifest_of(parsed)):
        console.print(line, highlight=False, soft_wrap=isinstance(line, str) and line.startswith("  "))


def _named(given: list[str]) -> dict[str, str]:
    """Hospitals from NAME=FILE."""
    hospitals: dict[str, str] = {}
    for item in given:
        name, equals, path = (part.strip() for part in item.partition("="))
        if not equals or not name or not path:
            raise StudyError(f"--hospital {item!r} must be NAME=FILE, such as --hospital curie=curie.csv")
        if name in hospitals:
            raise StudyError(f"two hospitals are called {name!r}; give each its own name")
        for other, known in hospitals.items():
            if Path(known).resolve() == Path(path).resolve():
                raise StudyError(f"{other!r} and {name!r} are the same file {path}; its people would count twice")
        hospitals[name] = path
    return hospitals


def _go(hospitals: Any, study: Any, out: Path, lang: str, deadline: float | None) -> None:
    """Run, write, show; errors of single analyses are told at the end."""
    from confrere.console.result import as_dict
    from confrere.console.show import findings
    from confrere.report import write

    if lang not in ("en", "fr"):
        raise StudyError(f"--lang {lang!r} is not known; it is en or fr")
    if deadline is not None and not deadline >= 0:
        raise StudyError(f"--deadline {deadline:g} is not a number of seconds; it is 0 or more")
    _check_writable(out)
    with _Progress() as progress:
        results = hospitals.run(study, deadline=deadline, progress=progress)
    try:
        written = write(as_dict(results), out, lang="fr" if lang == "fr" else "en")
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror}; make room there, or choose another folder") from None
    console = _console()
    for line in findings(results):
        console.print(line, highlight=False)
    console.print(f"\nReport: {written.report}", soft_wrap=True, highlight=False)
    for name, why in results.errors.items():
        _complain(f"analysis {name!r} has no result: {why}")
    if results.errors:
        raise typer.Exit(2)


def _check_writable(out: Path) -> None:
    """Find out before a long run that its result cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        why = "a file stands in its place" if isinstance(error, FileExistsError) else error.strerror
        raise StudyError(f"--out {out}: nothing can be written there ({why}); choose another folder") from None


class _Progress:
    """Rounds as they go: on stderr, and only where it is a terminal."""

    def __enter__(self) -> Any:
        from rich.console import Console
        from rich.status import Status

        console = Console(stderr=True)
        self._status = Status("reading the records", console=console)
        if console.is_terminal:
            self._status.start()
        return self._said

    def _said(self, number: int, asks: Round) -> None:
        from confrere.rounds import name_of

        what = ", ".join(dict.fromkeys(f"{name_of(a.analysis).lstrip('_')} {a.step}" for a in asks))
        self._status.update(f"round {number}: {what}")

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110)


def _complain(message: str) -> None:
    typer.echo(f"confrere: {message}", err=True)


def main() -> None:
    """Entry point: errors of ours are one message and an exit code, never a traceback."""
    try:
        app(prog_name="confrere")
    except ConfrereError as error:
        _complain(str(error))
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:  # the reader of stdout went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
