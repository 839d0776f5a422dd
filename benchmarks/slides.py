"""Tiles of a slide beside the reader alone: `python -m benchmarks.slides [--slide FILE] [--side PIXELS]`.

The reader alone reads every tile of the grid with OpenSlide's own call, in one thread, and drops the transparency, as
a script does. Ours reads the same tiles region by region, with one thread and with all cores. Rounds take turns; the
least seconds count. Without `--slide` a slide is made.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from confrere.images.encoders import encoder
from confrere.images.slides import Slide
from confrere.images.slides_made import Specimen, picture, write
from confrere.images.tiles import Grid, Tiling, stream
from confrere.images.tissue import look


def alone(path: Path, grid: Grid) -> int:
    """Pixels read by OpenSlide alone, tile by tile."""
    import openslide

    read = 0
    with openslide.OpenSlide(str(path)) as slide:
        for x, y in grid.places.tolist():
            found = np.asarray(slide.read_region((x, y), 0, (grid.side, grid.side)))[..., :3]
            read += np.ascontiguousarray(found).shape[0] ** 2
    return read


def ours(path: Path, grid: Grid, threads: int) -> int:
    """Pixels of the same tiles, streamed."""
    with Slide(path) as slide:
        return sum(len(batch.tiles) * grid.side**2 for batch in stream(slide, grid, threads))


def seconds(ways: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """The least seconds of each way; they take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(times):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def measure(path: Path, side: int, times: int) -> dict[str, float]:
    """Seconds by way, and megapixels."""
    cores = os.cpu_count() or 1
    with Slide(path) as slide:
        grid = Tiling(slide.mpp, side, tissue=0.05, most=0).grid(slide, look(slide))
    found = seconds(
        {
            "reader alone": lambda: alone(path, grid),
            "1 thread": lambda: ours(path, grid, 1),
            f"{cores} threads": lambda: ours(path, grid, cores),
        },
        times,
    )
    return {"tiles": len(grid.places), "megapixels": len(grid.places) * side**2 / 1e6, **found}


def encoders(names: list[str], side: int, many: int = 64) -> dict[str, float]:
    """Tiles in a second by encoder."""
    light, _ = picture(Specimen(1, 0.3, side=max(side, 320)))
    tiles = np.stack([light[:side, :side]] * many)
    made = {name: encoder(name) for name in names}
    found = seconds({name: (lambda e=e: e.rows(tiles)) for name, e in made.items()}, 2)
    return {name: many / best for name, best in found.items()}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slides", description=__doc__)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--encoders", nargs="*", default=["stain"], metavar="NAME")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.slide or Path(folder) / "made.tif"
        if not given.slide:
            write(path, np.tile(picture(Specimen(1, 0.3, side=1024))[0], (4, 4, 1)))
        found = measure(path, given.side, given.times)
    base = found["reader alone"]
    print(f"{found['tiles']:.0f} tiles of {given.side} pixels, {found['megapixels']:.1f} megapixels")
    for name, took in found.items():
        if name not in ("tiles", "megapixels"):
            print(
                f"{name:14} {took:7.3f} s {found['megapixels'] / took:8.1f} Mpx/s {base / took:6.2f} x the reader alone"
            )
    for name, rate in encoders(given.encoders, given.side).items():
        print(f"{name:20} {rate:7.1f} tiles/s")


if __name__ == "__main__":
    main()
