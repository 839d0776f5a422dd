"""Tiles of a slide at a stated resolution: which of them hold tissue, and their pictures, streamed region by region.

    grid = Tiling(mpp=0.5, side=256).grid(slide, look(slide))
    for batch in stream(slide, grid): batch.tiles    # (n, 256, 256, 3) uint8

Tiles lie side by side from the slide's corner; only whole ones count. A tile is kept where at least a share of it is
tissue. Neighbours are read together as one region, since a scanner's file is compressed in blocks that several tiles
share; threads read ahead (OpenSlide lets other threads run), never further than a few regions, so that memory is
bounded by regions and not by the slide.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.errors import StudyError
from confrere.images.slides import Picture, Slide
from confrere.images.tissue import Look

Places = NDArray[np.int64]  # (m, 2): x, y of a tile's corner in pixels of the finest level

DENSE = 0.75  # of a region's tiles: below, tiles are read one by one
REGION = 1024  # pixels of a region's side at the tiles' resolution, at the most


class Grid(NamedTuple):
    """The tiles of a slide that are read."""

    places: Places
    cells: Places  # (m, 2): column and row on the grid
    step: float  # pixels of the finest level on a tile's side
    side: int  # pixels of a tile's side as it is read
    mpp: float
    possible: int  # tiles with enough tissue, before `most` was drawn


class Batch(NamedTuple):
    """Tiles of one region."""

    tiles: Picture  # (n, side, side, 3)
    rows: NDArray[np.int64]  # (n,) which of the grid's places they are


@dataclass(frozen=True)
class Tiling:
    """How slides are cut: `mpp` microns per pixel, `side` pixels, the least `tissue` share of a tile.

    Of a slide with more than `most` tiles a sample is drawn, the same whenever the `seed` is (0 draws all).
    """

    mpp: float = 0.5
    side: int = 256
    tissue: float = 0.5
    most: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.05 <= self.mpp <= 20:
            raise StudyError(f"mpp is {self.mpp:g} microns per pixel; it is 0.05 to 20")
        if not 32 <= self.side <= 2048:
            raise StudyError(f"a tile has {self.side} pixels on a side; it is 32 to 2048")
        if not 0 < self.tissue <= 1:
            raise StudyError(f"tissue is {self.tissue:g}, a share of a tile; it is over 0 and at most 1")
        if self.most < 0:
            raise StudyError(f"most is {self.most} tiles of a slide; it is 1 or more, or 0 for all")

    def grid(self, slide: Slide, seen: Look) -> Grid:
        """The tiles of a slide that hold enough tissue. DataError where the slide is coarser than `mpp`."""
        step = self.side * slide.times(self.mpp)
        wide, high = (math.floor(length / step + 1e-9) for length in slide.size)
        share = _shares(seen, step / (seen.mpp / slide.mpp), wide, high)
        rows, columns = np.nonzero(share >= self.tissue)
        chosen = np.arange(len(rows))
        if self.most and len(rows) > self.most:
            chosen = np.sort(np.random.default_rng(self.seed).choice(len(rows), self.most, replace=False))
        cells = np.column_stack([columns, rows])[chosen]
        return Grid(np.rint(cells * step).astype(np.int64), cells, step, self.side, self.mpp, len(rows))


def _shares(seen: Look, step: float, wide: int, high: int) -> NDArray[np.float64]:
    """The share of tissue of every tile (high, wide); `step` is a tile's side in pixels of the overview.

    By the sums over all rectangles from the corner: four look-ups a tile, whatever its size.
    """
    total = np.pad(seen.tissue.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    ys = np.rint(np.arange(high + 1) * step).astype(int).clip(0, total.shape[0] - 1)
    xs = np.rint(np.arange(wide + 1) * step).astype(int).clip(0, total.shape[1] - 1)
    corners = total[np.ix_(ys, xs)]
    inside = corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]
    return np.asarray(inside / np.maximum(np.outer(np.diff(ys), np.diff(xs)), 1))


def stream(slide: Slide, grid: Grid, threads: int | None = None) -> Iterator[Batch]:
    """The tiles of a grid, region by region, always in the same order; `threads` read (all cores by default)."""
    many = threads or os.cpu_count() or 1
    regions = deque(_regions(grid))
    if many == 1:
        yield from (_cut(slide, grid, rows) for rows in regions)
        return
    with ThreadPoolExecutor(many) as pool:
        ahead = deque(pool.submit(_cut, slide, grid, regions.popleft()) for _ in range(min(2 * many, len(regions))))
        try:
            while ahead:
                batch = ahead.popleft().result()
                if regions:
                    ahead.append(pool.submit(_cut, slide, grid, regions.popleft()))
                yield batch
        finally:
            for waiting in ahead:
                waiting.cancel()


def _regions(grid: Grid) -> list[NDArray[np.int64]]:
    """Tiles that are read together, as rows of the grid."""
    each = max(1, REGION // grid.side)
    names = grid.cells // each
    order = np.lexsort([grid.cells[:, 0], grid.cells[:, 1], names[:, 0], names[:, 1]])
    ends = np.flatnonzero(np.any(np.diff(names[order], axis=0), axis=1)) + 1
    return [part for part in np.split(order, ends) if len(part)]


def _cut(slide: Slide, grid: Grid, rows: NDArray[np.int64]) -> Batch:
    """Read the smallest region around some tiles, and cut them out; one by one where they are few of the region's."""
    cells = grid.cells[rows]
    first = cells.min(axis=0)
    wide, high = cells.max(axis=0) - first + 1
    if len(rows) < DENSE * wide * high:
        shape = (grid.side, grid.side)
        return Batch(np.stack([slide.region(int(x), int(y), shape, grid.mpp) for x, y in grid.places[rows]]), rows)
    width, height = wide * grid.side, high * grid.side
    x, y = np.rint(first * grid.step).astype(int)
    region = slide.region(int(x), int(y), (int(height), int(width)), grid.mpp)
    blocks = region.reshape(height // grid.side, grid.side, width // grid.side, grid.side, 3).swapaxes(1, 2)
    column, row = (cells - first).T
    return Batch(blocks[row, column], rows)
