"""Numbers of a tile without a trained model: how much of each stain, in what texture, and how many nuclei.

Optical density is -log10 of the light let through, and is linear in the amount of stain (Beer and Lambert).
Haematoxylin and eosin are told apart by their fixed colours: Ruifrok & Johnston, Anal Quant Cytol Histol 2001;23:291.
Amounts are divided by the slide's own `strength`, twice the median over its tissue, so that a laboratory that stains
more strongly is not taken for a finding. (Macenko et al., ISBI 2009, divide by the 99th percentile. That is a tumour's
where there is one, and would make the rest of its slide pale.)

Texture of the haematoxylin: co-occurrence of 8 grey levels, both directions together, at distances of 1 and 4 pixels
(Haralick, IEEE Trans SMC 1973;3:610: contrast, homogeneity, energy, entropy, correlation), and local binary patterns of
8 neighbours, uniform and free of rotation, at two scales (Ojala, IEEE PAMI 2002;24:971). Nuclei are counted as peaks.
All are brought to about the size of 1 by fixed factors: nothing is learned from a hospital.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.images.slides import Picture

Values = NDArray[np.float32]

COLOURS: Final = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # haematoxylin, eosin: density in red, green, blue
GREYS: Final = 8
APART: Final = (1, 4)  # pixels between the two of a pair
NUCLEUS: Final = 0.6  # of the slide's strength: a peak above it is a nucleus
FAINTEST: Final = 0.05  # density: the strength of a slide is at least this

NAMES: Final = (
    "haematoxylin mean", "haematoxylin sd", "haematoxylin skew", "eosin mean", "eosin sd", "eosin skew",
    "other mean", "other sd", "dark 0.5", "dark 1", "dark 1.5", "empty", "nuclei",
    *(f"{what} {d}" for d in APART for what in ("contrast", "homogeneity", "energy", "entropy", "correlation")),
    *(f"pattern {p} scale {s}" for s in (1, 2) for p in range(10)),
)  # fmt: skip


def _apart() -> NDArray[np.float32]:
    """From densities of red, green and blue to amounts of haematoxylin, eosin and what is left (3, 3)."""
    unit = COLOURS / np.linalg.norm(COLOURS, axis=1, keepdims=True)
    rest = np.cross(unit[0], unit[1])
    return np.linalg.inv(np.vstack([unit, rest / np.linalg.norm(rest)])).astype(np.float32)


APART_BY: Final = _apart()
DENSITY: Final = (-np.log10((np.arange(256) + 1) / 256)).astype(np.float32)


class Strength(NamedTuple):
    """Twice the median of each stain over the tissue of a slide, as optical density."""

    haematoxylin: float
    eosin: float


def amounts(picture: Picture) -> Values:
    """Haematoxylin, eosin and what is left of pictures (..., 3), as optical density."""
    return DENSITY[picture] @ APART_BY


def strength(picture: Picture, tissue: NDArray[np.bool_]) -> Strength:
    """How strongly a slide is stained, from its overview and where tissue is."""
    if not tissue.any():
        return Strength(FAINTEST, FAINTEST)
    typical = 2 * np.median(amounts(picture[tissue])[:, :2], axis=0)
    return Strength(*(float(max(value, FAINTEST)) for value in typical))


def describe(tiles: Picture, by: Strength) -> Values:
    """(n, 43) of tiles (n, side, side, 3), in the order of `NAMES`."""
    found = amounts(tiles)
    stained = found[..., 0] / np.float32(by.haematoxylin)
    parts = [_moments(stained), _moments(found[..., 1] / np.float32(by.eosin)), _moments(found[..., 2])[:, :2] * 10]
    dark = np.column_stack([(stained > cut).mean(axis=(1, 2)) for cut in (0.5, 1.0, 1.5)])
    empty = (found[..., :2].sum(axis=-1) < 0.1).mean(axis=(1, 2))
    half = _halved(stained)
    parts += [2 * dark, empty[:, None], _nuclei(half)[:, None]]
    parts += [_haralick(_levels(stained), d) for d in APART]
    parts += [_patterns(stained), _patterns(half)]
    return np.column_stack(parts).astype(np.float32)


def _moments(values: Values) -> Values:
    """Mean, standard deviation and skewness (n, 3) of (n, h, w)."""
    flat = values.reshape(len(values), -1)
    mean, sd = flat.mean(axis=1), flat.std(axis=1)
    away = flat - mean[:, None]
    skew = (away * away * away).mean(axis=1) / np.maximum(sd, 1e-3) ** 3
    return np.column_stack([mean, sd, np.clip(skew, -5, 5) / 2])


def _halved(values: Values) -> Values:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in values.shape[1:])
    even = values[:, :height, :width]
    return np.asarray(even.reshape(len(values), height // 2, 2, width // 2, 2).mean(axis=(2, 4)), np.float32)


def _nuclei(values: Values) -> Values:
    """Peaks of smoothed haematoxylin in 1,000 pixels (n,)."""
    from scipy import ndimage

    smooth = ndimage.uniform_filter(ndimage.uniform_filter(values, (0, 3, 3)), (0, 3, 3))
    peaks = (smooth >= ndimage.maximum_filter(smooth, (0, 5, 5))) & (smooth > NUCLEUS)
    return np.asarray(peaks.mean(axis=(1, 2)) * 1000 / 4, np.float32)


def _levels(values: Values) -> NDArray[np.uint8]:
    """0 to 7 by equal steps up to twice the slide's strength."""
    return np.asarray(np.clip(values * (GREYS / 2), 0, GREYS - 1), np.uint8)


def _haralick(levels: NDArray[np.uint8], d: int) -> Values:
    """Contrast, homogeneity, energy, entropy and correlation (n, 5) of pairs of pixels that lie d apart."""
    many = len(levels)
    start = (np.arange(many, dtype=np.int32) * GREYS * GREYS)[:, None, None]
    code = (levels * GREYS).astype(np.int32) + start
    across, down = code[:, :, :-d] + levels[:, :, d:], code[:, :-d] + levels[:, d:]
    pairs = np.concatenate([across.ravel(), down.ravel()])
    p = np.bincount(pairs, minlength=many * GREYS * GREYS).reshape(many, GREYS, GREYS).astype(np.float64)
    p = (p + p.swapaxes(1, 2)) / np.maximum(2 * p.sum(axis=(1, 2), keepdims=True), 1)
    i, j = np.indices((GREYS, GREYS))
    mean = (p * i).sum(axis=(1, 2))
    variance = (p * i * i).sum(axis=(1, 2)) - mean**2
    together = (p * i * j).sum(axis=(1, 2)) - mean**2
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=(1, 2))
    found = [
        (p * (i - j) ** 2).sum(axis=(1, 2)), (p / (1 + (i - j) ** 2)).sum(axis=(1, 2)), (p * p).sum(axis=(1, 2)),
        entropy / 2, np.where(variance > 1e-9, together / np.maximum(variance, 1e-9), 0.0),
    ]  # fmt: skip
    return np.column_stack(found).astype(np.float32)


def _uniform() -> NDArray[np.uint8]:
    """Of each of the 256 patterns of 8 neighbours its kind: how many are set if they change at most twice, else 9."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9).astype(np.uint8)


UNIFORM: Final = _uniform()
AROUND: Final = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))  # neighbours, in their order


def _patterns(values: Values) -> Values:
    """Shares of the ten kinds of local binary patterns (n, 10), times 3."""
    many, height, width = values.shape
    inner = values[:, 1:-1, 1:-1] + np.float32(0.02)  # so that noise on glass is no pattern
    code = np.zeros(inner.shape, np.uint8)
    for bit, (top, left) in enumerate(AROUND):
        code |= (values[:, top : top + height - 2, left : left + width - 2] > inner).astype(np.uint8) << np.uint8(bit)
    kinds = UNIFORM[code].reshape(many, -1) + (np.arange(many, dtype=np.int32) * 10)[:, None]
    shares = np.bincount(kinds.ravel(), minlength=many * 10).reshape(many, 10) / kinds.shape[1]
    return np.asarray(3 * shares, np.float32)
