"""The command line. Exit codes: 0 done, 2 the study or the data is wrong, 3 refused, 4 waiting."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confrere.errors import ConfrereError, StudyError

if TYPE_CHECKING:
    from rich.console import Console

    from confrere.console.local import Results

app = typer.Typer(
    name="confrere", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Ask every hospital, move no patient: statistics over hospitals whose records stay where they are.",
)  # fmt: skip

Out = Annotated[Path, typer.Option("--out", help="Folder for result.json, report.html, tables and figures.")]
Lang = Annotated[str, typer.Option("--lang", help="Language of the report: en or fr.")]
Deadline = Annotated[float | None, typer.Option("--deadline", help="Seconds after which the run ends with exit code 4.")]


@app.command()
def demo(
    name: Annotated[str, typer.Argument(help="breast, lung or myeloma.")] = "breast",
    out: Out = Path("confrere-demo"),
    lang: Lang = "en",
) -> None:
    """Run a study over several hospitals in this process, on real public data, and write its report."""
    from confrere.console.demo import load
    from confrere.console.local import Local

    study, hospitals = load(name)
    _go(Local(hospitals), study, out, lang, None)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="The study file (TOML).")],
    hospital: Annotated[list[str], typer.Option("--hospital", help="NAME=FILE: a hospital and its records; three or more.")],
    out: Out = Path("confrere-out"),
    lang: Lang = "en",
    deadline: Deadline = None,
) -> None:
    """Run a study over hospitals in this process: masks, gate and followed flow as in a real federation.

    The study is self-approved under the default policy, and the result says so.
    """
    from confrere.console.local import Local
    from confrere.study.file import read

    _go(Local(_named(hospital)), read(study), out, lang, deadline)


@app.command()
def manifest(study: Annotated[Path, typer.Argument(help="The study file (TOML).")]) -> None:
    """Say what would leave each hospital under a study, before anything runs."""
    from rich.table import Table

    from confrere.console.manifest import manifest as entries_of
    from confrere.study.file import read

    parsed = read(study)
    table = Table(title=f"What may leave each hospital under {parsed.id}, only as part of a sum", title_justify="left")
    for column in ("analysis", "step", "array", "shape, at most", "times, at most", "bytes each"):
        table.add_column(column, justify="right" if "most" in column or "bytes" in column else "left")
    for e in entries_of(parsed):
        shape = " x ".join(f"{d} {b}" for d, b in zip(e.dims, e.bounds, strict=False)) or ("counts" if e.kind == "support" else "1")
        table.add_row(e.analysis, e.step, e.name, shape, str(e.repeats), "blinded" if e.kind == "support" else str(e.bytes))
    console = _console()
    console.print(table)
    console.print(f"Study {parsed.hash}")
    console.print(f"Columns read: {', '.join(parsed.columns)}. Disclosure classes: {', '.join(parsed.allow) or 'none'}.")


def _named(given: list[str]) -> dict[str, str]:
    """Hospitals from NAME=FILE."""
    hospitals: dict[str, str] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals or not name.strip() or not path.strip():
            raise StudyError(f"--hospital {item!r} must be NAME=FILE, such as --hospital curie=curie.csv")
        if name.strip() in hospitals:
            raise StudyError(f"two hospitals are called {name.strip()!r}; give each its own name")
        hospitals[name.strip()] = path.strip()
    return hospitals


def _go(hospitals: Any, study: Any, out: Path, lang: str, deadline: float | None) -> None:
    """Run, write, show; errors of single analyses are told at the end."""
    from confrere.console.result import as_dict
    from confrere.report import write

    if lang not in ("en", "fr"):
        raise StudyError(f"--lang {lang!r} is not known; it is en or fr")
    _check_writable(out)
    with _Progress() as progress:
        results = hospitals.run(study, deadline=deadline, progress=progress)
    written = write(as_dict(results), out, lang="fr" if lang == "fr" else "en")
    _show(results, _console())
    _console().print(f"\nReport: {written.report}", soft_wrap=True)
    if results.errors:
        for name, error in results.errors.items():
            _complain(f"{name}: {error}")
        raise typer.Exit(2)


def _check_writable(out: Path) -> None:
    """Find out before a long run that its result cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"--out {out}: the folder cannot be made ({error.strerror}); choose another") from None


class _Progress:
    """Rounds as they go, on the terminal alone."""

    def __enter__(self) -> Any:
        from rich.console import Console
        from rich.status import Status

        console = Console(stderr=True)
        self._status = Status("reading the records", console=console)
        if console.is_terminal:
            self._status.start()
        return self._said

    def _said(self, number: int, asks: Any) -> None:
        what = ", ".join(dict.fromkeys(a.step for a in asks))
        self._status.update(f"round {number}: {what}")

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def _show(results: Results, console: Console) -> None:
    """The findings in short: what a reader wants first."""
    from confrere.console.show import tables

    study = results.study
    console.print(f"[bold]{study.title}[/bold]", highlight=False)
    people = max((f.n for f in results.findings.values()), default=0)
    console.print(
        f"{people:,} people in {len(results.hospitals)} hospitals; {results.rounds} rounds; "
        f"{results.bytes / 1000:,.0f} kB left each hospital; {results.seconds:.1f} s", highlight=False,
    )  # fmt: skip
    for name, finding in results.findings.items():
        for table in tables(name, finding, study.time_unit):
            console.print()
            console.print(table)
        for warning in finding.warnings:
            console.print(f"[yellow]{warning}[/yellow]", highlight=False)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110)


def _complain(message: str) -> None:
    typer.echo(f"confrere: {message}", err=True)


def main() -> None:
    """Entry point: errors of ours are one message and an exit code, never a traceback."""
    try:
        app()
    except ConfrereError as error:
        _complain(str(error))
        raise SystemExit(error.exit_code) from None
