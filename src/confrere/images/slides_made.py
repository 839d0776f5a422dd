"""Slides that are made, not scanned: tissue-like pictures in which the morphology is known. For demos and tests.

A picture is amounts of haematoxylin and eosin on a ground of noise, turned into light by Beer and Lambert's law with
the colours of a laboratory's stain. On fibrous tissue with small cells lie islands. In a *lesion* nuclei are large,
dense, pleomorphic and dark; a *follicle* is as full of nuclei, but small, round and alike, and is found in anybody: how
dark a slide is does not tell. Laboratories differ in the strength and colour of stains, scanners in noise. What is made
is no patient's and stands for no disease.

Slides are pyramidal TIFF with tiles in JPEG, as scanners write them, with microns per pixel or, to be tried, without.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from confrere.errors import StudyError
from confrere.images.slides import Picture
from confrere.images.slides_list import LIST

Amount = NDArray[np.float32]  # (height, width) of a stain

MPP: Final = 0.5
TILE: Final = 256  # of the file
QUALITY: Final = 85  # of its JPEG
GLASS: Final = 0.012  # density of the glass
COLOURS: Final = np.array([[0.563, 0.720, 0.406], [0.216, 0.801, 0.558]])  # a laboratory's, by Macenko et al. 2009


class Laboratory(NamedTuple):
    """How a hospital's slides look."""

    haematoxylin: float = 1.0  # strength
    eosin: float = 1.0
    turn: float = 0.0  # of both colours, in radians, towards blue or red
    noise: float = 2.5  # grey levels


LABORATORIES: Final = (
    Laboratory(), Laboratory(1.35, 0.8, 0.12, 3.0), Laboratory(0.75, 1.3, -0.10, 2.0), Laboratory(1.1, 1.2, 0.06, 4.0),
)  # fmt: skip


@dataclass(frozen=True)
class Specimen:
    """What a slide shows. Shares are of the tissue; `fault` is none, blurred, pen, empty or resolution."""

    seed: int
    lesion: float = 0.0
    grade: float = 0.5  # 0 to 1: how far the nuclei of the lesion are from ordinary ones
    follicles: float = 0.1
    side: int = 1024
    fault: str = ""


class Cells(NamedTuple):
    """Nuclei of a kind."""

    density: float  # in 10,000 pixels
    radius: float  # pixels
    spread: float  # of radii, as a share
    long: float  # length over width, 1 is round
    dark: float  # amount of haematoxylin


STROMA: Final = Cells(7.0, 4.0, 0.15, 2.6, 0.6)
FOLLICLE: Final = Cells(38.0, 4.2, 0.08, 1.05, 0.8)


def lesion_of(grade: float) -> Cells:
    """Nuclei of a lesion: the higher its grade, the larger, denser and more varied."""
    return Cells(18.0 + 10 * grade, 5.5 + 2.5 * grade, 0.15 + 0.2 * grade, 1.3, 0.7 + 0.25 * grade)


def picture(specimen: Specimen, laboratory: Laboratory = LABORATORIES[0]) -> tuple[Picture, NDArray[np.bool_]]:
    """A slide (side, side, 3) and where its lesion is (side, side)."""
    rng = np.random.default_rng(specimen.seed)
    side = specimen.side
    tissue = _tissue(rng, side) if specimen.fault != "empty" else np.zeros((side, side), bool)
    islands = noise(rng, side, 5)
    lesion = _share(islands, tissue, specimen.lesion)
    follicle = _share(-islands, tissue, specimen.follicles) & ~lesion
    haematoxylin = np.where(tissue, 0.06 + 0.03 * noise(rng, side, 40), 0).astype(np.float32)
    fibres = np.abs(noise(rng, side, 12) + 0.5 * noise(rng, side, (120, 16)))
    eosin = np.where(tissue, np.clip(0.22 + 0.08 * noise(rng, side, 6) + 0.10 * fibres, 0.06, None), 0)
    eosin = (eosin * _thinned(lesion | follicle)).astype(np.float32)
    _sown(rng, haematoxylin, tissue & ~lesion & ~follicle, STROMA)
    _sown(rng, haematoxylin, follicle, FOLLICLE)
    _sown(rng, haematoxylin, lesion, lesion_of(specimen.grade))
    light = _light(rng, haematoxylin, eosin, laboratory)
    if specimen.fault == "blurred":
        light = _blurred(light)
    if specimen.fault == "pen":
        light = _marked(rng, light)
    return light, lesion


def noise(rng: Generator, side: int, waves: int | tuple[int, int]) -> Amount:
    """Smooth noise (side, side) of mean 0 and variance 1, with about so many waves up and down (and across)."""
    from PIL import Image

    down, across = waves if isinstance(waves, tuple) else (waves, waves)
    coarse = rng.standard_normal((down + 3, across + 3)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), np.float32)


def _tissue(rng: Generator, side: int) -> NDArray[np.bool_]:
    """A piece of tissue: an ellipse with an uneven edge, and holes of fat."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    wide, high = rng.uniform(0.75, 0.95, 2)
    edge = 1 - (x / wide) ** 2 - (y / high) ** 2 + 0.16 * noise(rng, side, 6) + 0.05 * noise(rng, side, 30)
    return np.asarray((edge > 0) & (noise(rng, side, 9) < 1.9))


def _share(values: Amount, tissue: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """The part of the tissue where values are highest, of this share."""
    if share <= 0 or not tissue.any():
        return np.zeros_like(tissue)
    return np.asarray(tissue & (values >= np.quantile(values[tissue], 1 - share)))


def _sown(rng: Generator, amount: Amount, where: NDArray[np.bool_], cells: Cells) -> None:
    """Put nuclei into a part of the tissue, each a stamp of a few that were drawn for the slide."""
    spots = np.flatnonzero(where)
    many = rng.poisson(len(spots) * cells.density / 1e4)
    if not many:
        return
    stamps = [_nucleus(rng, cells) for _ in range(48)]
    half, side = stamps[0].shape[0] // 2, amount.shape[0]
    rows, columns = np.divmod(rng.choice(spots, many), side)
    kinds = rng.integers(0, len(stamps), many)
    inside = (rows >= half) & (rows < side - half) & (columns >= half) & (columns < side - half)
    for row, column, kind in zip(rows[inside].tolist(), columns[inside].tolist(), kinds[inside].tolist(), strict=True):
        part = amount[row - half : row + half + 1, column - half : column + half + 1]
        np.maximum(part, stamps[kind], out=part)


def _nucleus(rng: Generator, cells: Cells) -> Amount:
    """One nucleus: an ellipse with a soft edge and uneven chromatin."""
    half = int(np.ceil(cells.radius * (1 + 3 * cells.spread) * np.sqrt(cells.long))) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    angle, radius = (
        rng.uniform(0, np.pi),
        cells.radius * np.clip(1 + cells.spread * rng.standard_normal(), 0.5, 1 + 3 * cells.spread),
    )
    long = 1 + (cells.long - 1) * rng.uniform(0.6, 1)
    along, over = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    away = radius * (1 - np.sqrt(along**2 / long + over**2 * long) / radius)
    chromatin = 1 + 0.22 * rng.standard_normal(x.shape)
    dark = cells.dark * rng.uniform(0.75, 1.25)
    return np.asarray(np.clip(away / 1.2, 0, 1) * dark * chromatin, np.float32)


def _thinned(where: NDArray[np.bool_]) -> Amount:
    """How much eosin is left: less where nuclei are dense, with soft edges."""
    from PIL import Image, ImageFilter

    soft = Image.fromarray(where.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(6))
    return np.asarray(1 - 0.4 * np.asarray(soft, np.float32) / 255, np.float32)


def _light(rng: Generator, haematoxylin: Amount, eosin: Amount, laboratory: Laboratory) -> Picture:
    """Amounts of stains as the scanner sees them (height, width, 3)."""
    turned = COLOURS + laboratory.turn * np.array([[0.6, -0.1, -0.5], [0.3, -0.2, 0.5]])
    h, e = np.clip(turned, 0.01, None).astype(np.float32)
    light = np.empty((*haematoxylin.shape, 3), np.uint8)
    stained = haematoxylin * np.float32(laboratory.haematoxylin), eosin * np.float32(laboratory.eosin)
    grain = rng.standard_normal(haematoxylin.shape, dtype=np.float32) * np.float32(laboratory.noise)
    for colour in range(3):
        density = stained[0] * h[colour] + stained[1] * e[colour] + np.float32(GLASS)
        seen = 250 * np.exp(density * np.float32(-np.log(10))) + np.roll(grain, 7 * colour, axis=colour % 2)
        light[..., colour] = np.clip(seen, 0, 255)
    return light


def _blurred(light: Picture) -> Picture:
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(light).filter(ImageFilter.GaussianBlur(6)))


def _marked(rng: Generator, light: Picture) -> Picture:
    """A pen was used on most of the glass."""
    from PIL import Image, ImageDraw

    made, side = Image.fromarray(light), len(light)
    draw = ImageDraw.Draw(made)
    for at in np.linspace(0.1, 0.9, 7):
        ends = [(0.05 * side, at * side), (0.95 * side, (at + rng.uniform(-0.04, 0.04)) * side)]
        draw.line([(float(x), float(y)) for x, y in ends], fill=(28, 84, 176), width=side // 14)
    return np.asarray(made)


def write(path: Path, light: Picture, mpp: float | None = MPP, levels: int = 3) -> None:
    """Write a picture as a pyramidal TIFF, each level half of the one before; without `mpp` it says no resolution."""
    tifffile = writer()
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            made = light if not level else np.asarray(Image.fromarray(light).reduce(2**level))
            given: dict[str, Any] = {"resolution": None} if mpp is None else {
                "resolution": (1e4 / (mpp * 2**level),) * 2, "resolutionunit": "CENTIMETER"}  # fmt: skip
            file.write(
                _compressed(made), shape=made.shape, dtype=np.uint8, tile=(TILE, TILE), photometric="ycbcr",
                subsampling=(1, 1), compression="jpeg", subfiletype=int(level > 0), metadata=None, **given,
            )  # fmt: skip


def _compressed(light: Picture) -> Iterator[bytes]:
    """The tiles of a picture as JPEG, row after row; what hangs over is white."""
    from PIL import Image

    height, width = (-(-length // TILE) * TILE for length in light.shape[:2])
    whole = np.full((height, width, 3), 255, np.uint8)
    whole[: light.shape[0], : light.shape[1]] = light
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            buffer = io.BytesIO()
            tile = Image.fromarray(whole[top : top + TILE, left : left + TILE])
            tile.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
            yield buffer.getvalue()


def writer() -> Any:
    """tifffile. StudyError where it is not installed, with the extra to install."""
    try:
        import tifffile
    except ImportError:
        raise StudyError("tifffile is not installed; making slides needs: pip install 'confrere[slides]'") from None
    return tifffile


class Person(NamedTuple):
    """Somebody who was made: the outcome, the age, and whether there is a lesion on the slide."""

    person: str
    outcome: int
    age: int
    lesion: float


def hospital(folder: Path, people: int, seed: int, laboratory: Laboratory, side: int = 1024) -> list[Person]:
    """Write the slides of a hospital, slides.csv and table.csv (person, outcome, age) into a folder; who they are.

    The outcome follows the lesion, not surely: 0.9 with one of high grade, 0.55 with one of low grade, 0.08 without.
    One slide each is blurred, marked, empty and without a resolution.
    """
    rng = np.random.default_rng(seed)
    made = [_person(rng, f"{folder.name}-{number:03d}") for number in range(people)]
    faults = ["blurred", "pen", "empty", "resolution"][: max(0, people - 8)]
    folder.mkdir(parents=True, exist_ok=True)
    for number, (one, specimen) in enumerate(made):
        fault = faults[number] if number < len(faults) else ""
        light, _ = picture(replace(specimen, fault=fault, side=side), laboratory)
        write(folder / "slides" / f"{one.person}.tif", light, None if fault == "resolution" else MPP)
    whose = [(f"{one.person}.tif", one.person, "") for one, _ in made]
    _csv(folder / "slides" / LIST, [("slide", "person", "mpp"), *whose])
    _csv(folder / "table.csv", [("person", "outcome", "age"), *(one[:3] for one, _ in made)])
    return [one for one, _ in made]


def _person(rng: Generator, name: str) -> tuple[Person, Specimen]:
    ill, grade = rng.random() < 0.5, float(rng.uniform())
    age = int(np.clip(rng.normal(62 + 3 * ill, 11), 30, 92))
    outcome = int(rng.random() < ((0.55 + 0.35 * grade) if ill else 0.08))
    lesion = float(rng.uniform(0.12, 0.5)) if ill else 0.0
    specimen = Specimen(int(rng.integers(2**31)), lesion, grade, float(rng.uniform(0, 0.35)))
    return Person(name, outcome, age, lesion), specimen


def _csv(path: Path, rows: list[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
