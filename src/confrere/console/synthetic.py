"""`confrere synthesize`: hospitals of synthetic people, as OMOP common data models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from confrere.console.output import Progress
from confrere.study.counted import counted, persons

PROCESSES = 4  # at most: each needs about 450 MB


def synthesize(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder for the hospitals.")],
    hospitals: Annotated[int, typer.Option("--hospitals", metavar="N", help="How many hospitals, 1 to 99.")] = 3,
    people: Annotated[
        int, typer.Option("--people", metavar="M", help="People in each hospital, 100 to 10 million.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same people.")] = 1,
    site_shift: Annotated[
        float, typer.Option("--site-shift", metavar="X", help="How much hospitals differ: 0 not at all, 1 markedly.")
    ] = 0.5,
    effect: Annotated[
        float,
        typer.Option("--effect", metavar="LOG_HR", help="Log hazard ratio of bleeding, celecoxib against diclofenac."),
    ] = -0.5,
) -> None:
    """Make hospitals of synthetic people: OMOP 5.4 as folders of Parquet files, and truth.json, what is true of them.

    Nobody's records: for dummy runs before an approval, demos and benchmarks. Among new users of two drugs the effect
    on bleeding is known, and confounded by severity.
    """
    from confrere.data.synthesize import TRUTH, Plan, synthesize

    done, total = 0, hospitals * people
    with Progress("drawing people") as progress:

        def said(more: int) -> None:
            nonlocal done
            done += more
            progress.say(f"{done:,} of {total:,} people")

        made = synthesize(
            Plan(hospitals, people, seed, site_shift, effect), out, min(os.cpu_count() or 1, PROCESSES), said
        )
    for one in made:
        typer.echo(f"{one.folder}: {persons(one.rows['person'])}, {counted(sum(one.rows.values()), 'row')}")
    typer.echo(f"{out / TRUTH}: the effect, its confounders, and how the hospitals differ")
