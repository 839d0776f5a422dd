"""The encoder of skin pictures that needs nothing learned: colour, symmetry, border and texture of a lesion.

After the ABCD rule of dermatoscopy (Nachbar et al., J Am Acad Dermatol 1994;30:551): asymmetry, border, colour, and
structures; texture by local binary patterns (Ojala et al., IEEE PAMI 2002;24:971). The lesion is what is darker than
Otsu's threshold of L* allows (Otsu, IEEE Trans SMC 1979;9:62), measured against the skin around it, which takes part of
the light and the camera away. All of a picture scaled to 64 x 64.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from confrere.images.bank_pixels import Pixels, lab
from confrere.images.encoders import Encoder
from confrere.images.stain import Strength

SIDE: Final = 64
SIZE: Final = 63
_NAME: Final = "skin 1: Lab, ABCD, LBP; 63 numbers"
Values = NDArray[np.float64]


def encode(pictures: Pixels, strength: Strength | None = None) -> NDArray[np.float32]:
    """(n, 63) float32 of pictures (n, h, w, 3) uint8. The strength of a stain means nothing here."""
    return np.array([_numbers(lab(_scaled(one))) for one in pictures], dtype=np.float32).reshape(-1, SIZE)


SKIN: Final = Encoder("skin", hashlib.sha256(_NAME.encode()).hexdigest(), SIZE, encode)


def _scaled(picture: Pixels) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)


def _numbers(values: Values) -> Values:
    """63 numbers of a picture (64, 64, 3) in L*a*b*."""
    light = ndimage.gaussian_filter(values[..., 0], 1)
    lesion = _lesion(light)
    skin = np.median(values[~lesion], axis=0) if (~lesion).any() else np.median(values, axis=(0, 1))
    off = (values - skin) / 25.0
    inside = off[lesion] if lesion.any() else off.reshape(-1, 3)
    colours = [inside.mean(axis=0), inside.std(axis=0), *np.quantile(inside, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)]
    return np.concatenate([
        *colours, (values.mean(axis=(0, 1)) - (60, 10, 10)) / 25.0, values.std(axis=(0, 1)) / 25.0,
        _variety(inside), _shape(lesion), _symmetry(off, lesion), _border(light, lesion), _rings(off, lesion),
        _patterns(values[..., 0]),
    ])  # fmt: skip


def _lesion(light: Values) -> NDArray[np.bool_]:
    """(64, 64) the largest dark piece of a picture."""
    counts, edges = np.histogram(light, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * middles)
    weight = below * (below[-1] - below)
    between = (mass * below[-1] - mass[-1] * below) ** 2 / np.maximum(weight, 1)
    labelled, many = ndimage.label(light <= middles[int(np.argmax(between))])
    if not many:
        return np.zeros(light.shape, dtype=bool)
    sizes = ndimage.sum_labels(np.ones(light.shape), labelled, np.arange(1, many + 1))
    return np.asarray(ndimage.binary_fill_holes(labelled == 1 + int(np.argmax(sizes))))


def _variety(inside: Values) -> Values:
    """(3,) how many colours: the share of the commonest cells of a coarse grid, their number, their entropy."""
    cells = np.unique(np.floor(inside * 4).astype(int), axis=0, return_counts=True)[1] / len(inside)
    return np.array([cells.max(), np.log1p(len(cells)) / 4, -(cells * np.log(cells)).sum() / 4])


def _shape(lesion: NDArray[np.bool_]) -> Values:
    """(4,) area, length of the border against that of a disc, flatness, distance from the middle."""
    area = lesion.sum()
    if not area:
        return np.zeros(4)
    edge = lesion & ~ndimage.binary_erosion(lesion)
    at = np.argwhere(lesion)
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(at.T) + np.eye(2) * 1e-9), 0))
    off = np.linalg.norm(at.mean(axis=0) - SIDE / 2) / SIDE
    return np.array([area / SIDE**2, edge.sum() / np.sqrt(4 * np.pi * area), spread[0] / max(spread[1], 1e-9), off])


def _symmetry(off: Values, lesion: NDArray[np.bool_]) -> Values:
    """(6,) difference from the mirrored lesion, left to right and top to bottom: of each colour in L*, a*, b*."""
    if not lesion.any():
        return np.zeros(6)
    row, column = (int(c) for c in ndimage.center_of_mass(lesion))
    centred = np.roll(off, (SIDE // 2 - row, SIDE // 2 - column), axis=(0, 1))
    mirrored = (centred[::-1], centred[:, ::-1])
    return np.concatenate([np.abs(centred - m).mean(axis=(0, 1)) for m in mirrored])


def _border(light: Values, lesion: NDArray[np.bool_]) -> Values:
    """(3,) how sharp the border is: mean, spread and tenth of the slope along it."""
    edge = lesion & ~ndimage.binary_erosion(lesion)
    if not edge.any():
        return np.zeros(3)
    slope = np.hypot(ndimage.sobel(light, 0), ndimage.sobel(light, 1))[edge] / 50.0
    return np.array([slope.mean(), slope.std(), np.quantile(slope, 0.1)])


def _rings(off: Values, lesion: NDArray[np.bool_]) -> Values:
    """(9,) colour of the core, of what is between, and of the rim: means in L*, a*, b*."""
    deep = ndimage.distance_transform_edt(lesion)
    most = max(float(deep.max()), 1.0)
    parts = [(deep > low * most) & (deep <= high * most) for low, high in ((0.6, 1), (0.3, 0.6), (0, 0.3))]
    return np.concatenate([off[p].mean(axis=0) if p.any() else np.zeros(3) for p in parts])


def _patterns(light: Values) -> Values:
    """(11,) uniform local binary patterns of 8 neighbours, and the mean local contrast."""
    pad = np.pad(light, 1, mode="edge")
    places = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    around: Any = np.stack([pad[r : r + SIDE, c : c + SIDE] for r, c in places])
    higher = around > light + 0.5
    turns = (higher != np.roll(higher, 1, axis=0)).sum(axis=0)
    code = np.where(turns <= 2, higher.sum(axis=0), 9)
    shares = np.bincount(code.ravel(), minlength=10) / SIDE**2
    return np.append(shares, around.std(axis=0).mean() / 10)
