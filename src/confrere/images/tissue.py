"""Where tissue is on a slide, what is a pen's, and what is out of focus.

Tissue is more saturated than glass: Otsu's threshold on the saturation of an overview, held within `BETWEEN` so that
a slide of glass alone has no tissue and a deeply stained one keeps its pale parts (as CLAM does it: Lu et al., Nat
Biomed Eng 2021;5:555). Otsu, IEEE Trans SMC 1979;9:62. Saturation is (max - min) / max of red, green and blue.

Marks of a pen are saturated green to blue, which neither haematoxylin nor eosin makes, or black. Red ink cannot be
told from eosin or blood by colour and is not looked for. Focus of a tile is the variance of the Laplacian of its
grey values (Pech-Pacheco et al., ICPR 2000), divided by the variance of the values so that a pale tile is not taken for
a blurred one.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.images.slides import Picture, Slide

Mask = NDArray[np.bool_]

OVERVIEW: Final = 8.0  # microns per pixel
BETWEEN: Final = (0.07, 0.20)  # the threshold of saturation
SMALLEST: Final = 20_000.0  # square microns: smaller specks are dust
HOLE: Final = 20_000.0  # square microns: smaller gaps belong to the tissue
INK, INK_HUES, BLACK = 0.25, (80.0, 250.0), 0.25  # saturation, degrees, value
DARK: Final = 0.85  # a mark is darker than this value


class Look(NamedTuple):
    """What an overview shows; both masks (height, width), and the side of their pixels in microns."""

    picture: Picture
    tissue: Mask  # without marks
    pen: Mask
    mpp: float

    @property
    def share(self) -> float:
        """Tissue as a share of the slide."""
        return float(self.tissue.mean())

    @property
    def inked(self) -> float:
        """Marks as a share of tissue and marks."""
        both = int(self.tissue.sum() + self.pen.sum())
        return float(self.pen.sum() / both) if both else 0.0


def look(slide: Slide, mpp: float = OVERVIEW) -> Look:
    """The overview of a slide at `mpp` (or at its own, if coarser), its tissue and its marks."""
    from scipy import ndimage

    at = max(mpp, slide.mpp)
    picture = slide.overview(at)
    pen = ndimage.binary_dilation(_large(ink(picture), SMALLEST / 8 / at**2), iterations=2)
    found = saturation(picture) > threshold(saturation(picture)[~pen])
    found = ndimage.binary_closing(ndimage.binary_opening(found & ~pen), iterations=2)
    found = ~_large(~_large(found, SMALLEST / at**2), HOLE / at**2)
    return Look(picture, found & ~pen, pen, at)


def saturation(picture: Picture) -> NDArray[np.float32]:
    """(max - min) / max of the three colours (..., 3); 0 where all are 0."""
    most = picture.max(axis=-1).astype(np.float32)
    return np.asarray((most - picture.min(axis=-1)) / np.maximum(most, 1), np.float32)


def threshold(values: NDArray[np.float32]) -> float:
    """Otsu's threshold of saturations, held within `BETWEEN`."""
    counts, edges = np.histogram(values, bins=256, range=(0.0, 1.0))
    return float(np.clip(otsu(counts, (edges[1:] + edges[:-1]) / 2), *BETWEEN))


def otsu(counts: NDArray[Any], centres: NDArray[np.float64]) -> float:
    """The cut of a histogram with the largest variance between its two sides; the middle where several have it."""
    below = np.cumsum(counts).astype(float)[:-1]
    above = counts.sum() - below
    mass = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass[:-1] / below - (mass[-1] - mass[:-1]) / above) ** 2
    between = np.nan_to_num(between)
    best = np.flatnonzero(between >= between.max())
    return float(centres[best].mean() + centres[best + 1].mean()) / 2


def ink(picture: Picture) -> Mask:
    """Where a picture has the colours of a pen: saturated green to blue, or black."""
    colours = picture.astype(np.float32) / 255
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    most, range_ = colours.max(axis=-1), np.ptp(colours, axis=-1)
    spread = np.maximum(range_, 1e-6)
    hue = np.where(most == green, 120 + 60 * (blue - red) / spread, 240 + 60 * (red - green) / spread)
    coloured = (most != red) & (hue > INK_HUES[0]) & (hue < INK_HUES[1]) & (range_ > INK * most) & (most < DARK)
    return np.asarray(coloured | ((most < BLACK) & (range_ < 0.1)))


def focus(tiles: Picture) -> NDArray[np.float64]:
    """How sharp tiles (n, side, side, 3) are: (n,), about 0.02 out of focus, 0.1 to 1 in focus."""
    grey = tiles.mean(axis=-1, dtype=np.float32)
    inner = grey[:, 1:-1, 1:-1]
    edges = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    return np.asarray(edges.var(axis=(1, 2)) / np.maximum(inner.var(axis=(1, 2)), 1.0), np.float64)


def _large(mask: Mask, pixels: float) -> Mask:
    """The connected parts of a mask that have at least so many pixels."""
    from scipy import ndimage

    parts, many = ndimage.label(mask)
    if not many:
        return mask
    keep = np.bincount(parts.ravel()) >= pixels
    keep[0] = False
    return np.asarray(keep[parts])
