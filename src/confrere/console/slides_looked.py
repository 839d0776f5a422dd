"""Where a network of bags looked on a slide: what its tiles weigh or score, drawn. Used by commands and pages."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from confrere.data.bags import Bags
from confrere.errors import DataError, StudyError
from confrere.images.slides_list import LEDGER, MAPS, Entry, read
from confrere.report.numerals import Numerals

if TYPE_CHECKING:
    from confrere.analyses.networks.model import Net
    from confrere.images.tiles import Places
    from confrere.rounds import Array


class Tiles(NamedTuple):
    """The rows of a slide among those of its person."""

    rows: Array  # (m,) their places in the person's bag
    places: Places  # (m, 2)
    step: float


def drawn(net: Net, slide: Path, bags: Path, out: Path | None, lang: str) -> Path:
    """Draw the heat map of a slide as PNG, at `out` or where the hospital's pages look for it; its path.

    StudyError: a model without attention. DataError: a slide that is not in the bags, bags made by another recipe.
    """
    from confrere.images.slides import Slide, digest
    from confrere.images.slides_heat import Looked, heat

    if not slide.exists():
        raise DataError(f"there is no slide {slide}")
    entry = _entry(bags, digest(slide))
    opened, tiles = Bags.open(bags).fit(net.bags, net.sizes.bag, net.bag_recipe), tiles_of(bags, entry)
    weights, score = attention(net, opened.of(entry.person).astype(np.float64))
    said = "" if score is None else Numerals("fr" if lang == "fr" else "en").short(score, 2)
    name = f"{net.module} {net.sha256[:12]}"
    with Slide(slide, entry.mpp) as found:
        about = Looked(tiles.places, tiles.step, weights[tiles.rows], entry.slide, name, said, _scores(net.built))
        picture = heat(found, about, lang)
    path = out or map_of(bags, entry)
    _written(path, picture)
    return path


def map_of(bags: Path, entry: Entry) -> Path:
    """Where the heat map of a slide is, once it is drawn: by the hash of its bytes, whatever its file is called."""
    return bags / MAPS / f"{entry.sha256}.png"


def attention(net: Net, rows: Array) -> tuple[Array, float | None]:
    """Weights (m,) of the rows of a person's bag (m, d), or their scores, of either sign, where the module scores
    them; and the prediction, None where it needs features as well."""
    import torch

    from confrere.analyses.networks.training import load, repeatable

    module: Any = net.built.eval()
    if not (_scores(module) or hasattr(module, "attention")):
        raise StudyError(f"the module '{net.module}' does not weigh its tiles; train abmil, clam or chowder")
    given, of = torch.from_numpy(rows), torch.zeros(len(rows), dtype=torch.int64)
    with repeatable(0), torch.no_grad():
        load(module, net.weights)
        weights = (module.row_scores(given) if _scores(module) else module.attention(given, of)).numpy()
        if net.sizes.inputs or net.objective in ("multiclass", "cox"):
            return weights, None
        made = module(torch.zeros((1, 0), dtype=torch.float64), given, of).numpy()
    return weights, float(net.prediction(made)[0])


def _scores(module: Any) -> bool:
    """Whether a module gives rows scores, not weights."""
    return hasattr(module, "row_scores")


def tiles_of(bags: Path, entry: Entry) -> Tiles:
    """The tiles of a slide, as tiles.csv beside the bags has them."""
    from confrere.images.slides_extract import TILES

    start, many = Bags.open(bags).places[entry.person]
    with (bags / TILES).open(newline="", encoding="utf-8") as file:
        lines = [line for i, line in enumerate(csv.DictReader(file)) if start <= i < start + many]
    mine = [(i, line) for i, line in enumerate(lines) if line["slide"] == entry.slide]
    places = np.array([(int(line["x"]), int(line["y"])) for _, line in mine], np.int64)
    return Tiles(np.array([i for i, _ in mine]), places, float(mine[0][1]["step"]))


def _entry(bags: Path, sha256: str) -> Entry:
    """The ledger's line of a slide, by its bytes."""
    for entry in sorted(read(bags / LEDGER), key=lambda e: not e.used):  # listed again, it has a line that was not used
        if entry.sha256 == sha256:
            if entry.used:
                return entry
            raise DataError(f"{entry.slide} was not used ({entry.reason}): {entry.detail}")
    raise DataError(f"the slide is not in the ledger of {bags}; extract its features first")


def _written(path: Path, picture: bytes) -> None:
    """Write a file that its owner alone may read, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(picture)
    part.replace(path)
