"""Pictures for tests: lesion-like, each its own."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from confrere.images.lesions import lesion


def jpeg(pixels: Any, **more: Any) -> bytes:
    """A file of pixels."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=92, **more)
    return out.getvalue()


def png(pixels: Any, **more: Any) -> bytes:
    """A file of pixels, nothing lost."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **more)
    return out.getvalue()


def written_on(pixels: Any, text: str, at: tuple[int, int], size: int, colour: Any = "white") -> Any:
    """The picture with text burned in."""
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text(at, text, fill=colour, font=ImageFont.load_default(size))
    return np.asarray(image)


def picture(seed: int, kind: str = "nevus", side: int = 128) -> Any:
    """A lesion."""
    return lesion(np.random.default_rng(seed), kind, side=side)
