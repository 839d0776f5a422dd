"""`confrere cohort ...`: cohorts of OHDSI's Circe over hospitals whose records are in the OMOP common data model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.console.fit import Fit

app = typer.Typer(no_args_is_help=True, help="Cohorts as ATLAS draws them, over hospitals with OMOP records.")


@app.command()
def count(
    cohort: Annotated[Path, typer.Argument(help="The definition, Circe JSON as ATLAS exports it.", metavar="COHORT")],
    hospital: Annotated[
        list[str],
        typer.Option(
            "--hospital",
            metavar="NAME=SOURCE",
            help="A hospital and its OMOP records: a folder of Parquet or CSV files, a DuckDB file, or a PostgreSQL "
            "URL; three or more.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File for the counts, as JSON.")] = Path(
        "cohort.json"
    ),
) -> None:
    """Count the people of a cohort over all hospitals, and how many are left after each of its rules.

    Masks and gate are those of any run: a count is 0 or of at least 11 people, and so is the difference of two.
    """
    from confrere.analyses.cohort import Cohort
    from confrere.console.local import Local
    from confrere.console.output import Progress, named, terminal
    from confrere.console.show import findings

    if out.is_dir():
        raise StudyError(f"--out {out} is a folder; give the name of a file")
    if out.resolve() == cohort.resolve():
        raise StudyError(f"--out {out} is the definition itself; give another file")
    analysis = Cohort(_text(cohort))
    hospitals = Local(named(hospital, "SOURCE"))
    with Progress("reading the records") as progress:
        fit = hospitals.run(analysis, progress=lambda number, _: progress.say(f"round {number}"))
    found = counted(cohort.stem, fit)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror}; choose another file") from None
    console = terminal()
    for line in findings(fit.results):
        console.print(line, highlight=False)
    console.print(f"\nCounts: {out}", soft_wrap=True, highlight=False)


def counted(name: str, fit: Fit) -> dict[str, Any]:
    """What FILE holds: `cohort`, `n`, `suppressed`, `hospitals`, `funnel`, `note`; a count that is not told is None."""
    funnel = [
        {"step": r["step"], "rule": r["criterion"], "n": r["n"], "suppressed": r.get("suppressed", False)}
        for r in fit.tables["funnel"]
    ]
    return {
        "cohort": name, "n": funnel[-1]["n"], "suppressed": funnel[-1]["suppressed"],
        "hospitals": list(fit.results.hospitals), "funnel": funnel, "note": " ".join(fit.notes),
    }  # fmt: skip


def _text(path: Path) -> str:
    """The definition in a file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StudyError(f"cannot read the cohort definition {path}: {error.strerror}; check its path") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path} is not UTF-8; export the definition again from ATLAS") from None
