"""Slides for tests: small, made once for all tests of a process."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from confrere.images.encoders import encoder
from confrere.images.slides_extract import Recipe
from confrere.images.slides_made import LABORATORIES, Specimen, picture, write
from confrere.images.tiles import Tiling

RECIPE = Recipe(Tiling(mpp=1.0, side=64), encoder("stain"))


@cache
def drawn(lesion: float = 0.0, seed: int = 1, fault: str = "", laboratory: int = 0) -> NDArray[np.uint8]:
    """The picture of a slide, 640 x 640 at 0.5 microns per pixel."""
    specimen = Specimen(seed, lesion, 0.9, side=640, fault=fault)
    return picture(specimen, LABORATORIES[laboratory])[0]


def listing(folder: Path, lines: Iterable[tuple[str, str, str]]) -> None:
    """Write slides.csv."""
    with (folder / "slides.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("slide", "person", "mpp"), *lines])


def folder_of(path: Path) -> Path:
    """A folder of slides: of ada two, of ben one; one blurred, marked, empty, without resolution, and not listed."""
    write(path / "a1.tif", drawn(0.3, 1))
    write(path / "sub" / "a2.tif", drawn(0.0, 2))
    write(path / "b.tif", drawn(0.4, 3, laboratory=1))
    for fault in ("blurred", "pen", "empty"):
        write(path / f"{fault}.tif", drawn(0.2, 4, fault))
    write(path / "nowhere.tif", drawn(0.2, 5), None)
    write(path / "stranger.tif", drawn(0.2, 6))
    (path / "broken.svs").write_bytes(b"no slide at all")
    whose = [("a1.tif", "ada", ""), ("sub/a2.tif", "ada", ""), ("b.tif", "ben", ""), ("gone.tif", "ben", "")]
    others = [(f"{name}.tif", name, "") for name in ("blurred", "pen", "empty", "nowhere")]
    listing(path, [*whose, *others, ("broken.svs", "cid", "")])
    return path
