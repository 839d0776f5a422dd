"""A picture as it enters the bank: its pixels and nothing else, fingerprints of how it looks, the tone of the skin.

Whatever a file says beside its pixels (EXIF with its thumbnail, place and time, comments, profiles, what is appended)
is gone, since the pixels are written anew. They are turned as EXIF says first; what is transparent is laid on black.

dHash (difference hash: whether brightness rises from one place of a grid to the next, along rows and down columns)
finds pictures that were scaled, compressed or brightened; 128 bits each, compared by how many differ. A turn or a
mirror moves bits to other places and flips those of reversed steps: one hash tells how a picture looks in all eight
ways. The tone is the individual typology angle, ITA = atan((L* - 50) / b*) in degrees, of the skin at the edge of the
picture (Chardon et al., Int J Cosmet Sci 1991;13:191; on lesion pictures: Kinyanjui et al., MICCAI 2020). It depends on
the light: a guide, no measurement.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, StudyError

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are the first outside

SMALLEST, MOST = 32, 50_000_000  # pixels on a side; in all, as cameras have them: 1.5 GB while it is looked at
FORMATS: Final = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")  # whatever a file is called: Pillow would run a PostScript file
FAINT: Final = 4  # levels of 255, in which a picture of one colour differs
LOOKED: Final = 1_000_000  # pixels of which the tone is taken, about
RIM: Final = 4  # pixels around a box, whose median colour it is painted in
NEAR: Final = 10  # bits of 128 in which two hashes of one picture differ, at most
TONES: Final = (  # from so many degrees on, the lightest first
    (55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"), (-91.0, "dark"),
)  # fmt: skip
_RGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.089])  # D65


class Unusable(DataError):
    """Why a file is no picture for the bank."""


class Clean(NamedTuple):
    """A picture without anything beside its pixels."""

    pixels: Pixels  # (height, width, 3) sRGB
    png: bytes
    sha256: str  # of the pixels and their shape: the same picture in another file has the same
    dhash: int
    tone: float | None  # individual typology angle in degrees


class Whole(NamedTuple):
    """A picture of the bank that is as it was written."""

    png: bytes
    pixels: Pixels  # (height, width, 3) sRGB


def cleaned(raw: bytes) -> Clean:
    """The pixels of a file. `Unusable` for what is no picture, is damaged, too small, too large or moves."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise StudyError("pictures need Pillow: pip install 'confrere[images]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw), formats=FORMATS) as opened:
                _check(opened.size, getattr(opened, "n_frames", 1))
                turned = ImageOps.exif_transpose(opened)
                flat = Image.new("RGBA", turned.size, (0, 0, 0, 255))
                flat.alpha_composite(turned.convert("RGBA"))
    except Unusable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unusable(f"more than {MOST:,} pixels") from None
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged files, and one must end no list
        raise Unusable("no picture that can be read, or a damaged one") from None
    pixels = np.array(flat.convert("RGB"), dtype=np.uint8)
    if (pixels.max(axis=(0, 1)) - pixels.min(axis=(0, 1))).max() < FAINT:
        raise Unusable("one colour alone")
    return Clean(pixels, png_of(pixels), fingerprint(pixels), dhash(pixels), tone_of(pixels))


def _check(size: tuple[int, int], frames: int) -> None:
    if min(size) < SMALLEST:
        raise Unusable(f"{size[0]} x {size[1]} pixels; {SMALLEST} on each side are the fewest")
    if size[0] * size[1] > MOST:
        raise Unusable(f"more than {MOST:,} pixels")
    if frames != 1:
        raise Unusable(f"{frames} frames; give one picture a file")


def png_of(pixels: Pixels) -> bytes:
    """A PNG of pixels (height, width, 3): header, pixels and end, no other chunk."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
    return out.getvalue()


def painted(pixels: Pixels, boxes: Sequence[Box]) -> Pixels:
    """Pixels with boxes painted over, each in the median colour around it: black would be taken for a lesion.

    Nothing of what is under any box goes into a colour. StudyError for a box that is not within the picture.
    """
    height, width = pixels.shape[:2]
    under = np.zeros((height, width), dtype=bool)
    if not boxes:
        raise StudyError("say what to paint over, such as --box 0,0,200,24")
    for left, top, right, bottom in boxes:
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise StudyError(
                f"the box {left},{top},{right},{bottom} is not within the picture: left and right are from 0 to "
                f"{width}, top and bottom from 0 to {height}, the smaller first"
            )
        under[top:bottom, left:right] = True
    made = pixels.copy()
    for left, top, right, bottom in boxes:
        near = np.s_[max(0, top - RIM) : bottom + RIM, max(0, left - RIM) : right + RIM]
        around = pixels[near][~under[near]]
        around = around if len(around) else pixels[~under]
        made[top:bottom, left:right] = np.median(around, axis=0) if len(around) else 0
    return made


def read(png: bytes) -> Pixels:
    """The pixels (height, width, 3) of a picture of the bank."""
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=("PNG",)) as opened:
        return np.array(opened.convert("RGB"), dtype=np.uint8)


def whole(file: Path, sha256: str) -> Whole | None:
    """A file of the bank and its pixels; None where it is gone, damaged or changed."""
    try:
        pixels = read(png := file.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return None
    return Whole(png, pixels) if fingerprint(pixels) == sha256 else None


def fingerprint(pixels: Pixels) -> str:
    """sha256 of the shape and the pixels."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def dhash(pixels: Pixels) -> int:
    """The difference hash of a picture, 128 bits: along rows, then down columns."""
    from PIL import Image

    grey, box = Image.fromarray(pixels).convert("L").convert("F"), Image.Resampling.BOX  # no rounding, and no ties
    along = np.diff(np.asarray(grey.resize((9, 8), box)), axis=1)
    down = np.diff(np.asarray(grey.resize((8, 9), box)), axis=0)
    bits = np.concatenate([along.ravel(), down.ravel()]) > 0
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def words(hashes: Sequence[int]) -> NDArray[np.uint64]:
    """Hashes as two words each (n, 2)."""
    return np.frombuffer(b"".join(one.to_bytes(16, "big") for one in hashes), dtype=np.uint64).reshape(-1, 2)


def alike(hashes: NDArray[np.uint64], one: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which pictures (n,) look like one, by `words` of their hashes: as they are, turned by quarters or mirrored."""
    along, down = np.unpackbits(one.view(np.uint8)).astype(bool).reshape(2, 8, 8)
    ways = [
        (a[::y, ::x] ^ (x < 0), d[::y, ::x] ^ (y < 0))  # a step that is reversed rises where it fell
        for a, d in ((along, down), (down.T, along.T))
        for x in (1, -1)
        for y in (1, -1)
    ]
    turned = np.packbits(np.array(ways).reshape(8, 128), axis=1).view(np.uint64)
    differ = np.bitwise_count(hashes[None] ^ turned[:, None]).sum(axis=2)
    return np.asarray((differ <= NEAR).any(axis=0))


def lab(pixels: Pixels) -> NDArray[np.float64]:
    """CIE L*a*b* (..., 3) of sRGB pixels (..., 3), D65."""
    value = pixels / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def tone_of(pixels: Pixels) -> float | None:
    """The individual typology angle of the skin at the edge of a picture, in degrees; None where little is skin.

    Of the outermost eighth on each side: pixels neither black (a frame, a hair) nor white (a reflection); of large
    pictures every so many of them.
    """
    height, width = pixels.shape[:2]
    inside = np.zeros((height, width), dtype=bool)
    inside[height // 8 : height - height // 8, width // 8 : width - width // 8] = True
    edge = pixels[~inside]
    values = lab(edge[:: -(-len(edge) // LOOKED)])
    skin = values[(values[:, 0] > 20) & (values[:, 0] < 97) & (values[:, 2] > 0)]
    if len(skin) < 0.2 * len(values):
        return None
    light, _, yellow = np.median(skin, axis=0)
    return float(np.degrees(np.arctan2(light - 50, yellow)))


def tone_name(angle: float | None) -> str:
    """The group of an angle, as Chardon named them; "unknown" for none."""
    return "unknown" if angle is None else next(name for least, name in TONES if angle > least)
