"""What the image bank finds on real dermoscopy: `python -m benchmarks.skin FILE.parquet` (column `image_jpeg`, `dx`).

Prints shares, for docs/skin.md: pictures without text that are held, names of several sizes and colours that are found,
pairs of different pictures that look alike by their hash, changed pictures that are found again, pictures of unknown
tone, and the area under the curve of a penalised logistic regression on the bank's own features, one kind against the
rest, over folds, pooled. HAM10000: Tschandl et al., Sci Data 2018;5:180161.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from confrere.images.bank_pixels import Pixels, alike, cleaned, dhash, tone_of, words
from confrere.images.bank_text import burned_in
from confrere.images.skin import SKIN

NAME, SIDE = "DUPONT J 12/03/1961", 256
COLOURS, SIZES = ("white", "black", "yellow"), (8, 10, 12, 14)
Found = Iterator[tuple[str, float]]


def named(pixels: Pixels, size: int, colour: str) -> Pixels:
    """An enlarged picture with a name burned into its corner."""
    image = Image.fromarray(pixels).resize((SIDE, SIDE))
    ImageDraw.Draw(image).text((5, 4), NAME, fill=colour, font=ImageFont.load_default(size))
    return np.asarray(image)


def _again(pixels: Pixels, quality: int) -> Pixels:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out).convert("RGB"))


def _cropped(pixels: Pixels, share: float) -> Pixels:
    y, x = (round(share * n) for n in pixels.shape[:2])
    return pixels[y : len(pixels) - y, x : pixels.shape[1] - x]


def _scaled(pixels: Pixels, times: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((round(64 * times),) * 2, Image.Resampling.BICUBIC))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "compressed (JPEG 30)": lambda p: _again(p, 30), "half the size": lambda p: _scaled(p, 0.5),
    "twice the size": lambda p: _scaled(p, 2.0),
    "20 % more light": lambda p: np.clip(p * 1.2, 0, 255).astype(np.uint8),
    "turned by 90 degrees": lambda p: np.rot90(p), "turned by 180 degrees": lambda p: np.rot90(p, 2),
    "mirrored": lambda p: p[:, ::-1], "cropped by 5 % on each side": lambda p: _cropped(p, 0.05),
}  # fmt: skip


def text(pictures: list[Pixels]) -> Found:
    """Shares of pictures that are held."""
    yield "without text, held", float(np.mean([burned_in(p) for p in pictures]))
    for size in SIZES:
        for colour in COLOURS:
            found = [burned_in(named(p, size, colour)) for p in pictures[::4]]
            yield f"name of {size} pixels in {colour}, held", float(np.mean(found))


def doubles(pictures: list[Pixels]) -> Found:
    """Pairs that look alike, and changed pictures that are found again."""
    hashes, n = words([dhash(p) for p in pictures]), len(pictures)
    pairs = sum(int(alike(hashes[:i], one).sum()) for i, one in enumerate(hashes))
    yield f"pairs that look alike, of {n * (n - 1) // 2:,}", float(pairs)
    for name, change in CHANGES.items():
        again = words([dhash(np.ascontiguousarray(change(p))) for p in pictures])
        near = [alike(hashes[i : i + 1], one)[0] for i, one in enumerate(again)]
        yield f"{name}, found again", float(np.mean(near))


def learnt(pictures: list[Pixels], kinds: pd.Series) -> float:
    """Area under the curve over folds, the mean over kinds against the rest."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([SKIN.rows(p[None]) for p in pictures])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    scores = cross_val_predict(model, x, kinds, cv=5, method="predict_proba")
    return float(roc_auc_score(kinds, scores, multi_class="ovr"))


def area(pictures: list[Pixels], kinds: pd.Series) -> str:
    """What `learnt` finds, or what it lacks."""
    if find_spec("sklearn") is None:
        return "needs scikit-learn: pip install 'confrere[benchmarks]'"
    return f"{learnt(pictures, kinds):.4g}"


def main() -> None:
    """Print every share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--each", type=int, default=1, help="take one picture in so many for text and hashes")
    given = parser.parse_args()
    table = pd.read_parquet(given.file)
    all_ = [cleaned(raw).pixels for raw in table["image_jpeg"]]
    some = all_[:: given.each]
    print(f"{len(some)} of {len(all_)} pictures")
    for what, value in (*text(some), *doubles(some)):
        print(f"{what:<40} {value:.4g}")
    print(f"{'tone unknown':<40} {np.mean([tone_of(p) is None for p in all_]):.4g}")
    print(f"{'area under the curve, kinds':<40} {area(all_, table['dx'])}")


if __name__ == "__main__":
    main()
