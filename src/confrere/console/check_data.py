"""`confrere hospital check-data`: whether OMOP records keep to the data model, and where they look wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.console.hospital import HERE, At
from confrere.errors import StudyError

if TYPE_CHECKING:
    from rich.console import Console

    from confrere.data.conformity import Problem, Report

COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def check_data(
    source: Annotated[
        str,
        typer.Argument(
            help="OMOP records: a folder, a DuckDB file or a URL. Else: the hospital's.", metavar="[SOURCE]"
        ),
    ] = "",
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="Which of the tables in hospital.toml, where it has several.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="File for the report, as JSON.")] = None,
    home: At = HERE,
) -> None:
    """Check OMOP records: tables, types, versions, plausibility, unmapped codes. Exit code 2 where there are errors.

    The report holds small counts. It is the steward's: nothing of it leaves.
    """
    from confrere.console.output import Progress, apart, terminal
    from confrere.data.conformity import ERROR, checked
    from confrere.data.omop import opened

    if source and table:
        raise StudyError("give a SOURCE, or --table NAME of the hospital's own; not both")
    if out is not None and out.is_dir():
        raise StudyError(f"--out {out} is a folder; give the name of a file")
    where, hospital = (source, "this source") if source else _own(home, table)
    if out is not None:
        apart(out, where)
    with Progress("opening the records") as progress, opened(where, hospital) as cdm:
        report = checked(cdm, datetime.now(UTC).date(), lambda name: progress.say(f"reading {name}"))
    told(report, terminal())
    if out is not None:
        text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"
        try:
            out.touch(mode=0o600)
            out.chmod(0o600)
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StudyError(f"--out {out}: {error.strerror}; choose another file") from None
        typer.echo(f"Report: {out}")
    if any(problem.severity == ERROR for problem in report.problems):
        raise typer.Exit(2)


def _own(home: Path, table: str) -> tuple[str, str]:
    """Where the hospital's records are, and its name."""
    from confrere.hospital.home import Home

    here = Home(home)
    names = here.tables
    if not table and len(names) != 1:
        raise StudyError(f"{here.name} has the tables {', '.join(names) or 'none'}; say which: --table NAME")
    return str(here.source(table or names[0]).path), here.name


def told(report: Report, console: Console) -> None:
    """Print a report."""
    from rich.table import Table

    said = (f"data model {report.cdm or 'unknown'}", f"vocabulary {report.vocabulary or 'unknown'}")
    released = f", released {report.released}" if report.released else ""
    console.print(f"{report.source}: {', '.join(said)}{released}", highlight=False, markup=False)
    tables = Table("table", "rows", "first day", "latest day", "no concept")
    for column in tables.columns[1:]:
        column.justify = "right"
    for t in report.tables:
        share = "" if t.unmapped is None else f"{t.unmapped / t.rows:.1%}"
        tables.add_row(t.name, f"{t.rows:,}", str(t.first or ""), str(t.latest or ""), share)
    console.print(tables)
    findings = Table("", "where", "what", "rows", "what to do")
    findings.columns[1].overflow = "fold"  # the names are what one looks for
    findings.columns[3].justify = "right"
    for p in report.problems:
        findings.add_row(f"[{COLOURS[p.severity]}]{p.severity}[/]", _place(p), p.what, _count(p), p.remedy)
    if report.problems:
        console.print(findings)
    counts = {kind: sum(p.severity == kind for p in report.problems) for kind in COLOURS}
    console.print(", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items()), highlight=False)


def _place(problem: Problem) -> str:
    return f"{problem.table}.{problem.column}" if problem.column else problem.table


def _count(problem: Problem) -> str:
    if not problem.total:
        return ""
    share = f"{problem.share:.1%}" if problem.share >= 0.001 else "<0.1%"
    return f"{problem.found:,} ({share})"
