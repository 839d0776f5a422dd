"""Text that was burned into a picture: a name or a date that a camera or a viewer wrote over the pixels.

Letters are small pieces of even size that stand out from what is around them, side by side on a line. So: what stands
out by `CONTRAST` levels of blue or red and is thinner than `THIN` (a top-hat), in connected pieces of the size of
letters, of which at least `LETTERS` stand in a row near one edge. Hairs are one long piece, pores too faint, a lesion
too large. A ruler's figures are found too; a person looks at whatever was found, so a false alarm costs a look and a
miss costs a name. Not found: letters under 5 pixels, handwriting whose letters touch, text in the middle.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from confrere.images.bank_pixels import Pixels

CONTRAST: Final = 50.0  # levels of 255
THIN: Final = 11  # pixels: strokes are thinner
LETTERS: Final = 4  # on a line
EDGE: Final = 0.25  # of the height or width, on each side
LOWEST, TALLEST = 5, 64  # pixels of a letter
WORKED: Final = (600, 1500)  # pixels on the longer side, at which a larger picture is looked at

Boxes = NDArray[np.int64]


def burned_in(pixels: Pixels) -> bool:
    """Whether a line of text seems to stand near an edge of a picture (height, width, 3), upright or turned by 90."""
    sizes = {min(size, max(pixels.shape)) for size in WORKED}
    planes = (pixels[..., 2], pixels[..., 0])  # skin is dim in blue: white, yellow and black all stand out there
    return any(_lines(_scaled(view, size)) for plane in planes for size in sizes for view in (plane, np.rot90(plane)))


def _scaled(grey: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """Means of squares of pixels, so that the longer side has `size` pixels at most."""
    step = -(-max(grey.shape) // size)
    height, width = (n // step * step for n in grey.shape)
    squares = grey[:height, :width].reshape(height // step, step, width // step, step)
    return np.asarray(squares.mean(axis=(1, 3)))


def _lines(grey: NDArray[np.float64]) -> bool:
    """Whether letters stand side by side near an edge."""
    from scipy import ndimage  # which a hospital that adds no pictures does not need

    for stands_out in (ndimage.white_tophat, ndimage.black_tophat):
        strokes = stands_out(grey, size=THIN, mode="nearest") > CONTRAST
        boxes = _letters(strokes, grey.shape[0])
        if any(_row(boxes, one) >= LETTERS for one in boxes):
            return True
    return False


def _letters(strokes: NDArray[np.bool_], height: int) -> Boxes:
    """(n, 4) top, bottom, left, right of the pieces of the size of letters near the upper and the lower edge."""
    from scipy import ndimage

    labelled, _ = ndimage.label(strokes, structure=np.ones((3, 3)))
    found = []
    for piece, (rows, columns) in enumerate(ndimage.find_objects(labelled), 1):
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        filled = np.count_nonzero(labelled[rows, columns] == piece) / (tall * wide)
        middle = (rows.start + rows.stop) / 2 / height
        if LOWEST <= tall <= TALLEST and wide <= 1.5 * tall + 2 and filled >= 0.2 and min(middle, 1 - middle) < EDGE:
            found.append((rows.start, rows.stop, columns.start, columns.stop))
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def _row(boxes: Boxes, one: NDArray[np.int64]) -> int:
    """How many letters stand on the line of one of them, none further from the next than three of their heights."""
    tall = one[1] - one[0]
    heights = boxes[:, 1] - boxes[:, 0]
    level = np.abs(boxes[:, 1] - one[1]) <= max(1, 0.25 * tall)
    alike = (heights >= 0.6 * tall) & (heights <= 1.67 * tall)
    on = boxes[level & alike]
    on = on[np.argsort(on[:, 2])]
    near = np.append(on[1:, 2] - on[:-1, 3] <= 2 * tall, False)
    longest = current = 1
    for joined in near:
        current = current + 1 if joined else 1
        longest = max(longest, current)
    return longest
