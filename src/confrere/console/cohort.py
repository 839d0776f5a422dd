"""`confrere cohort ...`: cohorts of OHDSI's Circe over hospitals whose records are in the OMOP common data model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.console.fit import Fit
    from confrere.study.circe import Definition

app = typer.Typer(no_args_is_help=True, help="Cohorts as ATLAS draws them, over hospitals with OMOP records.")

Given = Annotated[
    Path,
    typer.Argument(help="The definition: Circe JSON as ATLAS exports it, or a study file.", metavar="COHORT|STUDY"),
]
Chosen = Annotated[
    str, typer.Option("--cohort", metavar="NAME", help="Which of its cohorts, where a study file is given.")
]


@app.command()
def count(
    definition: Given,
    hospital: Annotated[
        list[str],
        typer.Option(
            "--hospital",
            metavar="NAME=SOURCE",
            help="A hospital and its OMOP records: a folder of Parquet or CSV files, a DuckDB file, or a PostgreSQL "
            "URL; three or more.",
        ),
    ],
    cohort: Chosen = "",
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File for the counts, as JSON.")] = Path(
        "cohort.json"
    ),
) -> None:
    """Count the people of a cohort over all hospitals, and how many are left after each of its rules.

    Masks and gate are those of any run: a count is 0 or of at least 11 people, and so is the difference of two.
    """
    from confrere.analyses.cohort import Cohort
    from confrere.console.local import Local
    from confrere.console.output import Progress, apart, named, terminal
    from confrere.console.show import findings

    if out.is_dir():
        raise StudyError(f"--out {out} is a folder; give the name of a file")
    sources = named(hospital, "SOURCE")
    apart(out, definition, *sources.values())
    name, text = chosen(definition, cohort)
    analysis = Cohort(text)
    hospitals = Local(sources)
    with Progress("reading the records") as progress:
        fit = hospitals.run(analysis, progress=lambda number, _: progress.say(f"round {number}"))
    found = counted(name, fit)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror}; choose another file") from None
    console = terminal()
    for line in findings(fit.results):
        console.print(line, highlight=False)
    console.print(f"\nCounts: {out}", soft_wrap=True, highlight=False)


@app.command()
def describe(
    definition: Given,
    cohort: Chosen = "",
    lang: Annotated[str, typer.Option("--lang", "--language", help="Language of the text: en or fr.")] = "en",
) -> None:
    """Print what a cohort's definition says, in words: every criterion, window, exit and concept."""
    from confrere.study.circe_words import described

    typer.echo(described(chosen(definition, cohort)[1], lang), nl=False)


@app.command("compile")
def compile_(
    definition: Given,
    cohort: Chosen = "",
    vocabulary: Annotated[
        str,
        typer.Option(
            "--vocabulary",
            metavar="SOURCE",
            help="OMOP records whose vocabulary gives codes their ids, as ATLAS needs.",
        ),
    ] = "",
) -> None:
    """Print a cohort of a study file as Circe JSON, which ATLAS opens."""
    from confrere.data.concepts import codes
    from confrere.data.concepts import resolved as with_ids
    from confrere.data.omop import opened

    text = chosen(definition, cohort)[1]
    if vocabulary:
        with opened(vocabulary, "--vocabulary") as cdm:
            text = with_ids(cdm, text)
    elif left := codes(json.loads(text)):
        listed = ", ".join(":".join(code) for code in left[:3])
        typer.echo(f"without an id: {len(left)} (such as {listed}); ATLAS needs ids: --vocabulary SOURCE", err=True)
    typer.echo(json.dumps(json.loads(text), indent=2, ensure_ascii=False))


def chosen(path: Path, cohort: str = "") -> tuple[str, str]:
    """The name and the Circe JSON of a definition: of a file as ATLAS exports it, or of a study file's [cohorts].

    StudyError: what cannot be read, no definition, or no such name.
    """
    from confrere.study import file

    if path.suffix.lower() != ".toml":
        if cohort:
            raise StudyError(f"--cohort {cohort} goes with a study file; {path} is one definition")
        return path.stem, defined(path).text
    made = file.read(path, bare=True).omop
    known = dict(made.cohorts) if made else {}
    if not known:
        raise StudyError(f"{path} has no [cohorts]; write one as [cohorts.NAME], or give Circe JSON")
    if not cohort and len(known) > 1:
        raise StudyError(f"{path} has {len(known)} cohorts; say --cohort and one of {', '.join(known)}")
    name = cohort or next(iter(known))
    if name not in known:
        raise StudyError(f"--cohort {name} is not in {path}; {file.meant(name, known)}")
    return name, known[name].text


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


def defined(path: Path) -> Definition:
    """The definition in a file of Circe JSON. StudyError names the file."""
    from confrere.study.circe import definition

    try:
        return definition(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StudyError(f"cannot read the cohort definition {path}: {error.strerror}; check its path") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path} is not UTF-8; export the definition again from ATLAS") from None
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
