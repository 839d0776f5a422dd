"""Whole slides, read by region through OpenSlide: Aperio, Hamamatsu, Leica, Mirax, Philips, Ventana, TIFF and DICOM.

    with Slide("a.svs") as slide:
        slide.mpp                             # microns per pixel, as the scanner wrote it
        slide.region(x, y, (256, 256), 0.5)   # (256, 256, 3) uint8 at 0.5 microns per pixel

A length on a slide is in microns, never in magnification: "20x" differs between scanners. A slide that does not say
its microns per pixel, or says what no scanner does (72 dots per inch, of ordinary software, are 353), is an error; the
remedy is to state it. It is never guessed. Goode et al., OpenSlide, J Pathol Inform 2013;4:27.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, StudyError

Picture = NDArray[np.uint8]  # (height, width, 3): red, green, blue

ENDINGS: Final = (
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm",
)  # fmt: skip
LARGEST = 16_000.0  # square millimetres: the largest glass, of 6 x 4 inches
FINEST, COARSEST = 0.05, 20.0  # microns per pixel that a scanner may have
AGREE = 0.05  # how far the resolution that a person states may be from the file's, as a share
SQUARE = 0.02  # how far width and height of a pixel may differ, as a share
AS_IS = 0.02  # a resolution this near to the one asked for is read without resampling
BLOCK = 2048  # pixels read at a time for an overview
CHUNK = 1 << 22  # bytes hashed at a time


class Size(NamedTuple):
    """Width and height, in pixels of the finest level."""

    width: int
    height: int


def reader() -> Any:
    """OpenSlide. StudyError where it is not installed, with the extra to install."""
    try:
        import openslide
    except (ImportError, OSError):
        raise StudyError(
            "openslide-python is not installed; reading slides needs: pip install 'confrere[slides]'"
        ) from None
    return openslide


class Resolution(DataError):
    """A slide whose microns per pixel are missing, not square or not a scanner's, or stated in two ways."""


class Slide:
    """A whole slide, open for reading; threads may read it at the same time."""

    def __init__(self, path: str | Path, mpp: float | None = None) -> None:
        """Open a slide. `mpp`: microns per pixel as a person states it, for a file that does not say, or says what no
        scanner has.

        DataError: no such file, no slide, a resolution that is missing, not square or not a scanner's, or stated
        otherwise than the file says it; larger than any glass.
        """
        openslide = reader()
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: there is no such file")
        try:
            self._slide = openslide.OpenSlide(str(self.path))
        except openslide.OpenSlideError as error:
            known = ", ".join(ENDINGS)
            raise DataError(f"{self.path.name} cannot be read as a slide ({error}); it reads {known}") from None
        self._failed = openslide.OpenSlideError
        self.size = Size(*self._slide.dimensions)
        try:
            of = self._slide.properties, self.path
            self.mpp = _stated(mpp, *of) if mpp is not None else _written(*of)
            _bounded(self.size, self.mpp, self.path)
        except DataError:
            self.close()
            raise

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    @property
    def vendor(self) -> str:
        """Whose format it is, in OpenSlide's words."""
        return str(self._slide.properties.get("openslide.vendor", "unknown"))

    @property
    def levels(self) -> tuple[float, ...]:
        """How many times coarser than the finest each level is, 1.0 first."""
        return tuple(map(float, self._slide.level_downsamples))

    def times(self, mpp: float) -> float:
        """Pixels of the finest level on a side of a pixel of `mpp`; 1.0 where the two are as good as equal.

        DataError where the slide is coarser: details that were not scanned are not made up.
        """
        ratio = mpp / self.mpp
        if ratio < 1 - AS_IS:
            raise DataError(
                f"{self.path.name} was scanned at {self.mpp:.4g} microns per pixel, coarser than the {mpp:g} asked "
                f"for; ask for {self.mpp:.2g} or more"
            )
        return 1.0 if ratio <= 1 + AS_IS else ratio

    def region(self, x: int, y: int, shape: tuple[int, int], mpp: float) -> Picture:
        """A picture of shape (height, width) at `mpp`, its corner at pixel (x, y) of the finest level.

        It is read from the coarsest level that has the detail and made smaller from there (area average over the
        pixels that it covers). What lies outside the slide, or was not scanned, is white.
        """
        from PIL import Image

        times = self.times(mpp)
        level = max((i for i, d in enumerate(self.levels) if d <= times * (1 + AS_IS)), default=0)
        shrink = times / self.levels[level]
        height, width = shape
        if abs(shrink - 1) <= AS_IS:
            return self._read(x, y, level, width, height)
        found = self._read(x, y, level, max(1, round(width * shrink)), max(1, round(height * shrink)))
        return np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.BOX))

    def overview(self, mpp: float) -> Picture:
        """The whole slide at `mpp`, read block by block: a slide without coarse levels does not fill the memory."""
        times = self.times(max(mpp, self.mpp))
        width, height = (max(1, math.floor(side / times)) for side in self.size)
        level = max((i for i, d in enumerate(self.levels) if d <= times * (1 + AS_IS)), default=0)
        step = max(1, int(BLOCK * self.levels[level] / times))
        whole = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, step):
            for left in range(0, width, step):
                shape = min(step, height - top), min(step, width - left)
                part = self.region(round(left * times), round(top * times), shape, max(mpp, self.mpp))
                whole[top : top + shape[0], left : left + shape[1]] = part
        return whole

    def _read(self, x: int, y: int, level: int, width: int, height: int) -> Picture:
        try:
            seen = self._slide.read_region((x, y), level, (width, height))
        except self._failed as error:
            raise DataError(
                f"{self.path.name} is damaged near pixel ({x}, {y}) ({error}); copy it anew from the scanner"
            ) from None
        if seen.getchannel("A").getextrema()[0] == 255:
            return np.asarray(seen.convert("RGB"))
        found = np.asarray(seen)  # in part outside, or not scanned
        cover = found[..., 3:].astype(np.uint16)
        return np.asarray((found[..., :3] * cover + 255 * (255 - cover)) // 255, np.uint8)


def _bounded(size: Size, mpp: float, path: Path) -> None:
    """DataError where a slide says that it is larger than any glass: its overview would fill the memory."""
    wide, high = (side * mpp / 1000 for side in size)
    if wide * high > LARGEST:
        raise DataError(
            f"{path.name} says {size.width} x {size.height} pixels of {mpp:.4g} microns, {wide:.0f} x {high:.0f} mm; "
            f"no glass is so large. Look at its microns per pixel, or copy it anew from the scanner"
        )


def _stated(mpp: float, properties: Any, path: Path) -> float:
    """Microns per pixel as a person states it, where the file does not say something else that a scanner may have."""
    if not FINEST <= mpp <= COARSEST:
        raise Resolution(f"{path.name}: {mpp:g} microns per pixel are stated; a scanner has {FINEST:g} to {COARSEST:g}")
    try:
        said = _written(properties, path)
    except Resolution:
        return float(mpp)
    if abs(mpp / said - 1) > AGREE:
        raise Resolution(
            f"{path.name} says {said:.4g} microns per pixel, and slides.csv {mpp:g}; empty the column mpp in its line. "
            f"If the file is wrong, have the scanner's people export it anew: one of the two would be of another size"
        )
    return float(mpp)


def _written(properties: Any, path: Path) -> float:
    """Microns per pixel as the file says it; it must be there, square and a scanner's."""
    remedy = f"ask the scanner's people, and state it in the column mpp of slides.csv, in the line of {path.name}"
    try:
        wide, high = (float(properties[f"openslide.mpp-{side}"]) for side in "xy")
    except (KeyError, ValueError):
        raise Resolution(f"{path.name} does not say its microns per pixel; {remedy}") from None
    if not (FINEST <= wide <= COARSEST and FINEST <= high <= COARSEST):
        raise Resolution(f"{path.name} says {wide:.4g} microns per pixel, which no scanner has; {remedy}")
    if abs(wide / high - 1) > SQUARE:
        raise Resolution(f"{path.name} has pixels of {wide:.4g} x {high:.4g} microns, which are not square; {remedy}")
    return (wide + high) / 2


def digest(path: Path) -> str:
    """sha256 of all that makes up a slide: of Mirax also the folder beside it, of DICOM all files of its folder."""
    if path.suffix.lower() == ".mrxs":
        files = [path, *sorted(p for p in path.with_suffix("").rglob("*") if p.is_file())]
    elif path.suffix.lower() == ".dcm":
        files = sorted(p for p in path.parent.iterdir() if p.suffix.lower() == ".dcm")
    else:
        files = [path]
    whole = hashlib.sha256()
    for one in files:
        with one.open("rb") as file:
            while chunk := file.read(CHUNK):
                whole.update(chunk)
    return whole.hexdigest()
