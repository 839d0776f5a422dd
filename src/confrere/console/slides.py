"""`confrere slides ...`: whole slides of a hospital become bags of numbers; where a model looked. Nothing leaves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.analyses.networks.model import Net
    from confrere.images.slides_extract import Recipe
    from confrere.images.slides_list import Entry

app = typer.Typer(no_args_is_help=True, help="Whole slides: check them, extract features, show where a model looked.")

Folder = Annotated[Path, typer.Argument(help="The slides, with slides.csv: slide, person, mpp.", metavar="FOLDER")]
Encoding = Annotated[
    str, typer.Option("--encoder", metavar="NAME", help="stain, efficientnet-lite0, or a file .onnx or .pt.")
]
Mpp = Annotated[float, typer.Option("--mpp", metavar="MICRONS", help="Resolution of tiles: microns per pixel.")]
Side = Annotated[int, typer.Option("--tile", metavar="PIXELS", help="Side of a tile.")]
Most = Annotated[int, typer.Option("--most", metavar="N", help="Most tiles of a slide, drawn at random; 0 for all.")]


@app.command()
def check(folder: Folder, mpp: Mpp = 0.5, tile: Side = 256) -> None:
    """Look at every slide: whose it is, its resolution, tissue and marks of pens. Nothing is written."""
    from confrere.console.output import Progress
    from confrere.images.slides_extract import examined, unusable

    with Progress("looking at slides") as progress:
        ledger = examined(folder, _recipe("stain", mpp, tile, 0), lambda entry: progress.say(entry.slide))
    _summary(ledger)
    if not any(entry.used for entry in ledger):
        raise unusable(ledger, "the lines above say why of each")
    typer.echo("Focus is looked at when features are extracted.")


@app.command()
def extract(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The bags: a folder NAME.bags.")],
    encoder: Encoding = "stain", mpp: Mpp = 0.5, tile: Side = 256, most: Most = 4000,
) -> None:  # fmt: skip
    """Make bags of the slides of a folder: a row of features a tile, all of a person's slides together.

    What was done is kept beside the bags (NAME.cache): a run that was stopped goes on, and only what is new is encoded.
    """
    from confrere.console.output import Progress
    from confrere.images.slides_extract import extract as made

    with Progress("looking at slides") as progress:
        recipe = _recipe(encoder, mpp, tile, most)
        found = made(folder, out, recipe, lambda entry: progress.say(f"{entry.slide}: {entry.reason}"))
    _summary(found.ledger)
    people, size = len(found.bags.people), found.bags.size
    typer.echo(f"{out}: {found.tiles:,} tiles of {people} people, {size} numbers each.")
    typer.echo(f'In a study: bag_size = {size}, bag_recipe = "{found.bags.recipe}".')
    typer.echo(f'{found.fresh} slides were looked at now. Bind the bags in hospital.toml: [data.bags] slides = "..."')


@app.command()
def ledger(bags: Annotated[Path, typer.Argument(help="The bags.", metavar="BAGS")]) -> None:
    """Say what became of every slide: used, or rejected with the reason."""
    from confrere.images.slides_list import LEDGER, read

    found = read(bags / LEDGER)
    for entry in found:
        if entry.used:
            typer.echo(f"{entry.slide}: used, {entry.tiles} tiles, {entry.blurred} out of focus")
    _summary(found)


@app.command()
def heatmap(
    model: Annotated[Path, typer.Argument(help="A network: models/NAME.json of a result.", metavar="MODEL")],
    slide: Annotated[Path, typer.Argument(help="The slide, one of those in the bags.", metavar="SLIDE")],
    bags: Annotated[Path, typer.Option("--bags", metavar="DIR", help="The bags that hold its tiles.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A PNG; without it, in the bags, for the pages.")
    ] = None,
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="Language: en or fr.")] = "en",
) -> None:
    """Draw where a model of bags looked on a slide. The picture stays in this hospital."""
    from confrere.console.output import check_language
    from confrere.console.slides_looked import drawn

    check_language(lang)
    typer.echo(f"{drawn(_net(model), slide, bags, out, lang)}: it stays in this hospital.")


def _recipe(encoder: str, mpp: float, tile: int, most: int) -> Recipe:
    from confrere.images.encoders import encoder as made
    from confrere.images.slides import reader
    from confrere.images.slides_extract import Recipe
    from confrere.images.tiles import Tiling

    reader()
    return Recipe(Tiling(mpp, tile, most=most), made(encoder))


def summary(ledger: list[Entry]) -> str:
    """How many slides are used, and how many are not, by reason."""
    from confrere.images.slides_list import REASONS

    counts = Counter(entry.reason for entry in ledger)
    return f"{len(ledger)} slides: " + ", ".join(f"{counts[code]} {code}" for code in REASONS if counts[code])


def _summary(ledger: list[Entry]) -> None:
    """How many slides are used, and why each of the others is not."""
    from confrere.images.slides_list import REASONS

    typer.echo(summary(ledger))
    for entry in ledger:
        if not entry.used:
            whole = entry.detail.startswith(Path(entry.slide).name)
            typer.echo(entry.detail if whole else f"{entry.slide}: {REASONS[entry.reason]} ({entry.detail})")


def _net(path: Path) -> Net:
    """The network in a file. StudyError where there is none."""
    from confrere.analyses.networks.model import Net
    from confrere.console.predict import read as model_in

    found = model_in(path)
    if not isinstance(found, Net):
        raise StudyError(f"{path} is no network of a result; give models/NAME.json of one")
    return found
