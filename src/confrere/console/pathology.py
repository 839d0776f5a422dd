"""`confrere demo pathology`: slides are made and looked at in three hospitals, a network of tiles is learned over them.

Each hospital has its own laboratory and scanner, and a few slides that nobody can use. Its features stay; the network
learns by secure sums, is measured on people held out, and shows in one hospital where on a slide it looked.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import typer

from confrere.study.file import parse

NAMES: Final = ("curie", "lyon", "nantes")
PEOPLE: Final = 200  # of each hospital
SIDE: Final = 768  # pixels of a slide
SLIDES: Final = "slides.bags"


def text_of() -> str:
    """The study file of the demo."""
    from importlib.resources import files

    return (files("confrere") / "demos" / "pathology.toml").read_text(encoding="utf-8")


def written(folder: Path, people: int = PEOPLE) -> list[Path]:
    """Write the study, and of each hospital the slides, the list of them and the table; the study and the folders."""
    from confrere.images.slides import reader
    from confrere.images.slides_made import writer

    reader(), writer()
    folder.mkdir(parents=True, exist_ok=True)
    study = folder / "study.toml"
    study.write_text(text_of(), encoding="utf-8")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        made = list(pool.map(_hospital, [(folder, number, people) for number in range(len(NAMES))]))
    return [study, *made]


def _hospital(given: tuple[Path, int, int]) -> Path:
    """Make one hospital."""
    from confrere.images.slides_made import LABORATORIES, hospital

    folder, number, people = given
    hospital(folder / NAMES[number], people, number + 1, LABORATORIES[number], SIDE)
    return folder / NAMES[number]


def demonstrated(out: Path, lang: str, deadline: float | None) -> None:
    """Make the slides, extract their features, learn, and draw where the network looked on one slide."""
    from confrere.analyses.networks.model import Net
    from confrere.console.app import go
    from confrere.console.local import Local

    with tempfile.TemporaryDirectory() as temporary:
        typer.echo(f"Slides of {PEOPLE} people are made in each of {len(NAMES)} hospitals.", err=True)
        study, *folders = written(Path(temporary))
        for folder in folders:
            extracted(folder)
        hospitals = Local({folder.name: folder / "table.csv" for folder in folders})
        results = go(hospitals, parse(study.read_text(encoding="utf-8"), "pathology.toml"), out, lang, deadline)
        picture = looked(Net.of(results.findings["outcome"]), folders[0], out, lang)
        typer.echo(f"\nWhere the network looked on one slide of {folders[0].name}, which stays there: {picture}")


def extracted(folder: Path) -> Any:
    """Extract the features of a hospital's slides, and say what became of them."""
    from confrere.console.slides import summary
    from confrere.images.encoders import encoder
    from confrere.images.slides_extract import Recipe, extract
    from confrere.images.tiles import Tiling

    found = extract(folder / "slides", folder / SLIDES, Recipe(Tiling(mpp=1.0, side=64), encoder("stain")))
    typer.echo(f"{folder.name}: {summary(found.ledger)}; {found.tiles:,} tiles of {len(found.bags.people)} people")
    return found


def looked(net: Any, folder: Path, out: Path, lang: str) -> Path:
    """Draw the heat map of the hospital's slide with the highest score."""
    import numpy as np

    from confrere.console.slides_looked import attention, drawn
    from confrere.data.bags import Bags
    from confrere.images.slides_list import LEDGER, read

    opened = Bags.open(folder / SLIDES)
    scores = {person: attention(net, opened.of(person).astype(np.float64))[1] or 0.0 for person in opened.people}
    first = max(scores, key=lambda person: scores[person])
    slide = next(e.slide for e in read(folder / SLIDES / LEDGER) if e.used and e.person == first)
    return drawn(net, folder / "slides" / slide, folder / SLIDES, out / f"heatmap-{folder.name}.png", lang)
