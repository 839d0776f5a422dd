"""Pictures that look like skin lesions, made from random numbers: to try everything without a patient.

Four kinds that differ as the ABCD rule says (asymmetry, border, colour, diameter) and overlap as in life: a nevus
(round, even, brown), a melanoma (lopsided, ragged, many colours), a keratosis (light, scaly, sharp), a vascular lesion
(red, smooth). The skin has a tone, hairs and an uneven light. Nothing can be learned from them about patients.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

KINDS: Final = ("nevus", "melanoma", "keratosis", "vascular")
SKINS: Final = {  # sRGB of a group of tones
    "light": (232, 196, 178), "intermediate": (212, 165, 132), "brown": (160, 112, 80), "dark": (92, 62, 46),
}  # fmt: skip
Values = NDArray[np.float64]


class _Look(NamedTuple):
    """Means of a kind; each lesion is off them."""

    colour: tuple[float, float, float]  # of the skin's, kept
    radius: float  # of the side
    ragged: float  # of the radius
    oblong: float
    colours: float  # spread within
    soft: float  # width of the border, pixels of 64
    scaly: float


_LOOKS: Final = {
    "nevus": _Look((0.58, 0.48, 0.42), 0.24, 0.05, 1.15, 0.06, 2.0, 0.01),
    "melanoma": _Look((0.42, 0.36, 0.40), 0.30, 0.09, 1.45, 0.20, 2.6, 0.03),
    "keratosis": _Look((0.72, 0.62, 0.52), 0.27, 0.06, 1.20, 0.08, 1.0, 0.10),
    "vascular": _Look((0.78, 0.34, 0.38), 0.22, 0.06, 1.10, 0.07, 1.4, 0.01),
}


def lesion(rng: np.random.Generator, kind: str, skin: str = "light", side: int = 96) -> NDArray[np.uint8]:
    """A picture (side, side, 3) of a lesion of a kind, one of `KINDS`, on skin of a tone, one of `SKINS`."""
    look = _LOOKS[kind]
    inside = _outline(rng, look, side)[..., None]
    blotches = _cloud(rng, side, side / 8)[..., None] * rng.normal(1, 0.3, 3)
    scales = _cloud(rng, side, 1.2)[..., None]
    ground = np.array(SKINS[skin]) * rng.normal(1, 0.04) + rng.normal(0, 4, 3)
    colour = np.array(look.colour) * rng.normal(1, 0.10) + rng.normal(0, 0.03, 3)
    within = np.clip(colour + look.colours * rng.uniform(0.5, 1.5) * blotches + look.scaly * scales, 0.05, 1.1)
    picture = ground * (1 - inside * (1 - within)) * (1 + 0.015 * _cloud(rng, side, side / 24)[..., None])
    picture *= _light(rng, side)[..., None]
    _hairs(rng, picture, int(rng.integers(0, 5)))
    return np.asarray(np.clip(picture + rng.normal(0, 2.0, picture.shape), 0, 255), dtype=np.uint8)


def _outline(rng: np.random.Generator, look: _Look, side: int) -> Values:
    """(side, side) from 0, skin, to 1, lesion."""
    y, x = (np.mgrid[:side, :side] / side - 0.5) - rng.normal(0, 0.03, 2)[:, None, None]
    turn, oblong = rng.uniform(0, np.pi), max(1.0, look.oblong + rng.normal(0, 0.12))
    u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) * oblong
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    edge = np.full(angle.shape, look.radius * rng.normal(1, 0.18))
    for wave in range(2, 9):
        edge *= 1 + look.ragged * rng.normal(0, 1.2) / np.sqrt(wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    width = look.soft * rng.uniform(0.7, 1.5) / 64
    return np.asarray(1 / (1 + np.exp(-np.clip((edge - radius) / width, -30, 30) * 2)))


def _cloud(rng: np.random.Generator, side: int, width: float) -> Values:
    """(side, side) smooth noise of mean 0 and SD 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=(side, side)), width, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def _light(rng: np.random.Generator, side: int) -> Values:
    """(side, side) how bright: falls off from a place near the middle."""
    y, x = np.mgrid[:side, :side] / side - 0.5 - rng.normal(0, 0.1, 2)[:, None, None]
    return np.asarray(1 - rng.uniform(0.0, 0.35) * (x**2 + y**2))


def _hairs(rng: np.random.Generator, picture: Values, many: int) -> None:
    """Draw dark curves over a picture."""
    side = len(picture)
    along = np.linspace(0, 1, 3 * side)
    for _ in range(many):
        (x0, y0), (x1, y1), (bx, by) = rng.uniform(0, side, (3, 2))
        x = (1 - along) ** 2 * x0 + 2 * along * (1 - along) * bx + along**2 * x1
        y = (1 - along) ** 2 * y0 + 2 * along * (1 - along) * by + along**2 * y1
        picture[y.astype(int) % side, x.astype(int) % side] *= 0.45
