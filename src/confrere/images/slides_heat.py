"""A heat map: where on a slide a model looked, as a picture for a pathologist. It stays in the hospital.

Left the slide, right the same in grey with every tile coloured by its attention as a multiple of the slide's mean, on
a scale that is the same for all slides (a quarter to four times, by logarithm): maps can be compared. Nothing is
smoothed, a square is a tile. Below stand the tiles that count most. Where a model scores tiles (CHOWDER),
colours are of the scores less the slide's median, as far down as up. The colours are viridis (van der Walt & Smith
2015): evenly spaced for the eye, and told apart without red and green.

Attention says what weighed in the model's sum, not why, and not that it was right.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.images.slides import Picture, Slide
from confrere.images.tiles import Places

Array = NDArray[np.float64]

PANEL: Final = 760  # pixels of the longer side of a panel
NARROWEST: Final = 420  # pixels: a long slide leaves room for words
GREY: Final = "#5a5a5a"
MARGIN, LINE, SMALL = 28, 26, 16
FONT: Final = "Roboto, sans-serif"  # the drawing library brings Roboto
RANGE: Final = 4.0  # times the mean, up and down
BLEND: Final = 0.62  # of colour over grey
UNDRAWN: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 does not have
FIRST: Final = 6  # tiles shown below
VIRIDIS: Final = np.array(
    [(68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
     (170, 220, 50), (253, 231, 37)], np.float64,
)  # fmt: skip

FRENCH: Final = {
    "Attention, times the mean of the slide": "Attention, en multiples de la moyenne de la lame",
    "The tiles that count most": "Les tuiles qui comptent le plus",
    "Model": "Modèle",
    "score": "score",
    "tiles": "tuiles",
    "Attention shows what weighed in the score, not that it is right.":
        "L’attention montre ce qui a pesé dans le score, non qu’il est juste.",
    "Score of a tile, less the slide's median": "Score d’une tuile, moins la médiane de la lame",
    "The model takes the highest and the lowest scores of tiles; colours do not show that it is right.":
        "Le modèle prend les scores les plus hauts et les plus bas des tuiles ; les couleurs ne montrent pas qu’il est "
        "juste.",
}  # fmt: skip


class Looked(NamedTuple):
    """What a model made of a slide."""

    places: Places  # (m, 2) corners of tiles, in pixels of the finest level
    step: float  # pixels of the finest level on a tile's side
    weights: Array  # (m,) attention, not negative; or `scores`
    title: str
    model: str  # its name and what is needed to find it again
    score: str = ""  # as it is to be read
    scores: bool = False  # weights are scores of tiles, of either sign


def colours(times: Array) -> Picture:
    """(m, 3) of multiples of the mean (m,): the scale of `RANGE`."""
    with np.errstate(divide="ignore"):
        at = (np.log(np.maximum(times, 0)) / np.log(RANGE) + 1) / 2
    place = np.clip(np.nan_to_num(at, neginf=0.0), 0, 1) * (len(VIRIDIS) - 1)
    low = np.minimum(place.astype(int), len(VIRIDIS) - 2)
    part = (place - low)[..., None]
    return np.asarray(np.rint(VIRIDIS[low] * (1 - part) + VIRIDIS[low + 1] * part), np.uint8)


def relative(weights: Array) -> Array:
    """Weights as multiples of their mean; 1 where all are 0."""
    mean = float(weights.mean()) if len(weights) else 0.0
    return np.asarray(weights / mean if mean > 0 else np.ones(len(weights)))


def shown(looked: Looked) -> Array:
    """Where tiles are on the scale of `colours`: the middle is the mean attention, or the median score."""
    if not looked.scores:
        return relative(looked.weights)
    apart = looked.weights - np.median(looked.weights)
    return np.asarray(RANGE ** (apart / (reach(looked) or 1.0)))


def reach(looked: Looked) -> float:
    """How far the score of a tile is from the slide's median, at most."""
    return float(np.abs(looked.weights - np.median(looked.weights)).max(initial=0.0))


def heat(slide: Slide, looked: Looked, lang: str = "en") -> bytes:
    """The heat map of a slide as PNG: two panels, a legend, a scale and the first tiles."""
    import vl_convert

    return bytes(vl_convert.svg_to_png("".join(_drawn(slide, looked, lang)), scale=1.0))


def _drawn(slide: Slide, looked: Looked, lang: str) -> Iterator[str]:
    """The parts of the picture as SVG."""
    mpp = max(slide.mpp, slide.mpp * max(slide.size) / PANEL)
    seen = slide.overview(mpp)
    high, wide = seen.shape[:2]
    width, top = max(2 * wide, 2 * NARROWEST) + 3 * MARGIN, MARGIN + 2 * LINE
    right, legend = MARGIN + (width - MARGIN) // 2, top + high + SMALL
    first, below = _first(slide, looked), legend + 2 * LINE + SMALL
    side = (width - 2 * MARGIN - (FIRST - 1) * SMALL) // FIRST
    tall = below + (LINE + side + SMALL if first else 0) + MARGIN
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{tall}">'
    yield f'<rect width="{width}" height="{tall}" fill="white"/>'
    yield _text(MARGIN, MARGIN + 10, looked.title, 22)
    score = f" · {_word('score', lang)} {looked.score}" if looked.score else ""
    many = f" · {len(looked.places)} {_word('tiles', lang)}"
    yield _text(MARGIN, MARGIN + 36, f"{_word('Model', lang)} {looked.model}{score}{many}", 15, GREY)
    yield _image(seen, (MARGIN, top), (wide, high))
    yield _image(overlaid(seen, looked, mpp / slide.mpp), (right, top), (wide, high))
    yield from _scale(MARGIN + 12, top + high - 14, wide, mpp)
    yield from _legend(right, legend, min(wide, 320), looked, lang)
    if first:
        yield _text(MARGIN, below + SMALL, _word("The tiles that count most", lang), 18)
    for number, (tile, times) in enumerate(first):
        at = (MARGIN + number * (side + SMALL), below + LINE)
        yield _image(tile, at, (side, side), "#{:02x}{:02x}{:02x}".format(*colours(np.array([times]))[0]), 5)
    why = (
        "The model takes the highest and the lowest scores of tiles; colours do not show that it is right."
        if looked.scores
        else "Attention shows what weighed in the score, not that it is right."
    )
    yield _text(MARGIN, tall - SMALL, _word(why, lang), 15, GREY)
    yield "</svg>"


def overlaid(seen: Picture, looked: Looked, times: float) -> Picture:
    """An overview in grey with its tiles coloured; a pixel of it is `times` pixels of the finest level."""
    grey = np.repeat(seen.mean(axis=-1, keepdims=True), 3, axis=-1)
    made = grey.astype(np.float64)
    for (x, y), colour in zip(looked.places, colours(shown(looked)), strict=True):
        left, top = round(x / times), round(y / times)
        right, bottom = round((x + looked.step) / times), round((y + looked.step) / times)
        part = made[top:bottom, left:right]
        made[top:bottom, left:right] = BLEND * colour + (1 - BLEND) * part
    return np.asarray(np.rint(made), np.uint8)


def _first(slide: Slide, looked: Looked) -> list[tuple[Picture, float]]:
    """The tiles with most attention, or the scores furthest from the median, as pictures, and where they are shown."""
    times = shown(looked)
    order = np.argsort(-np.abs(np.log(times)) if looked.scores else -times, kind="stable")[:FIRST]
    mpp, side = slide.mpp, max(1, round(looked.step))
    if side > 512:
        mpp, side = slide.mpp * side / 512, 512
    return [
        (slide.region(int(x), int(y), (side, side), mpp), float(of))
        for (x, y), of in zip(looked.places[order], times[order], strict=True)
    ]


def _scale(x: int, y: int, width: int, mpp: float) -> Iterator[str]:
    """A bar of a round length, about a fifth of the panel, on a white ground."""
    wanted = width * mpp / 5
    ten = 10.0 ** np.floor(np.log10(wanted))
    length = max(k * ten for k in (1, 2, 5) if k * ten <= wanted)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    ground = max(length / mpp, 60) + 12
    yield f'<rect x="{x - 6}" y="{y - 24}" width="{ground:.0f}" height="34" fill="white" fill-opacity="0.85"/>'
    yield f'<rect x="{x}" y="{y}" width="{length / mpp:.1f}" height="4"/>'
    yield _text(x, y - 7, text, 15)


def _legend(x: int, y: int, long: int, looked: Looked, lang: str) -> Iterator[str]:
    """The colours: from a quarter to four times the mean, or as far below the median as above."""
    ticks, what = ["≤ 1/4", "1/2", "1", "2", "≥ 4"], "Attention, times the mean of the slide"
    if looked.scores:
        most, point = reach(looked), "," if lang == "fr" else "."
        ticks = [f"{part * most:+.2g}".replace(".", point).replace("-", "−") for part in (-1, -0.5, 0, 0.5, 1)]
        what = "Score of a tile, less the slide's median"
    ramp = colours(RANGE ** np.linspace(-1, 1, long))
    yield _image(np.repeat(ramp[None], 12, axis=0), (x, y), (long, 12))
    for part, text in zip((0.0, 0.25, 0.5, 0.75, 1.0), ticks, strict=True):
        anchor = {0.0: "start", 1.0: "end"}.get(part, "middle")
        yield _text(x + part * long, y + 28, text, 14, anchor=anchor)
    yield _text(x, y + 50, _word(what, lang), 15)


def _text(x: float, y: float, text: str, size: int, colour: str = "#000000", anchor: str = "start") -> str:
    look = f'font-family="{FONT}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    drawn = escape(UNDRAWN.sub("\ufffd", text))
    return f'<text x="{x:.0f}" y="{y:.0f}" {look}>{drawn}</text>'


def _image(picture: Picture, at: tuple[int, int], size: tuple[int, int], edge: str = "#bebebe", line: int = 1) -> str:
    """A picture in a frame."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG")
    held = base64.b64encode(buffer.getvalue()).decode()
    place = f'x="{at[0]}" y="{at[1]}" width="{size[0]}" height="{size[1]}"'
    frame = f'<rect {place} fill="none" stroke="{edge}" stroke-width="{line}"/>'
    return f'<image {place} href="data:image/png;base64,{held}"/>{frame}'


def _word(text: str, lang: str) -> str:
    return FRENCH[text] if lang == "fr" else text
