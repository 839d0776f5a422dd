"""Slides for tests: small, made once for all tests of a process."""

from __future__ import annotations

import csv
import struct
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


def lying(path: Path, side: int = 4_000_000, tile: int = 1 << 16) -> None:
    """A TIFF of a few kilobytes whose header says `side` pixels of 0.25 microns each way; its tiles are not there."""
    many = (-(-side // tile)) ** 2
    data = 8 + 2 + 14 * 12 + 4  # header, directory
    tags = [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 3, data), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3),
        (282, 5, 1, data + 8), (283, 5, 1, data + 8), (284, 3, 1, 1), (296, 3, 1, 3), (322, 4, 1, tile),
        (323, 4, 1, tile), (324, 4, many, data + 16), (325, 4, many, data + 16 + 4 * many),
    ]  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    rest = struct.pack("<IHHHHII", 0, 8, 8, 8, 0, 40_000, 1)  # bits a colour; pixels in a centimetre
    path.write_bytes(head + rest + struct.pack(f"<{2 * many}I", *[8] * (2 * many)))


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
