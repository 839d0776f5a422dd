"""Reading slides: resolutions, regions, tissue, marks, focus and tiles; a real slide against an independent reader."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.errors import DataError, StudyError
from confrere.images import tissue
from confrere.images.slides import Slide, digest
from confrere.images.slides_made import Specimen, picture, write
from confrere.images.tiles import Tiling, stream
from confrere.images.tissue import Look, focus, ink, look, otsu, saturation
from federate import ROOT, SHARED
from images.made import drawn, lying

REAL = SHARED / "images" / "CMU-1-Small-Region.svs"


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "a.tif"
    write(path, drawn(0.3))
    return path


def test_a_slide_says_its_resolution_size_and_levels(slide: Path) -> None:
    with Slide(slide) as found:
        assert found.mpp == pytest.approx(0.5, rel=1e-6)
        assert found.size == (640, 640)
        assert found.levels == (1, 2, 4)


def test_a_region_is_what_was_written_but_for_its_compression(slide: Path) -> None:
    with Slide(slide) as found:
        seen = found.region(100, 200, (128, 96), 0.5)
    assert seen.shape == (128, 96, 3)
    assert np.abs(seen.astype(int) - drawn(0.3)[200:328, 100:196]).mean() < 4


@pytest.mark.parametrize("mpp", [1.0, 1.3, 2.0, 5.0])
def test_a_coarser_region_is_the_mean_of_what_it_covers(slide: Path, mpp: float) -> None:
    side = round(mpp / 0.5 * 64)
    with Slide(slide) as found:
        seen = found.region(64, 64, (64, 64), mpp)
        fine = found.region(64, 64, (side, side), 0.5)
    assert np.abs(seen.mean((0, 1)) - fine.mean((0, 1))).max() < 1.5


def test_what_lies_outside_is_white(slide: Path) -> None:
    with Slide(slide) as found:
        assert (found.region(700, 700, (16, 16), 0.5) == 255).all()
        assert found.overview(4.0).shape == (80, 80, 3)


def test_an_overview_is_the_same_by_whatever_blocks(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Slide(slide) as found:
        whole = found.overview(1.0)
        monkeypatch.setattr("confrere.images.slides.BLOCK", 64)
        assert np.array_equal(whole, found.overview(1.0))


def test_no_resolution_is_an_error_with_its_remedy_and_a_stated_one_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", drawn(), None)
    with pytest.raises(DataError, match=r"does not say its microns per pixel; .* column mpp of slides.csv"):
        Slide(tmp_path / "a.tif")
    with Slide(tmp_path / "a.tif", 0.25) as found:
        assert found.mpp == 0.25


def test_the_dots_per_inch_of_ordinary_software_are_no_resolution(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", drawn(), 25400 / 72)
    with pytest.raises(DataError, match=r"352\.8 microns per pixel, which no scanner has"):
        Slide(tmp_path / "a.tif")


@pytest.mark.parametrize("mpp", [0.0, -1.0, 0.001, 500.0, float("nan")])
def test_a_stated_resolution_must_be_a_scanners(slide: Path, mpp: float) -> None:
    with pytest.raises(DataError, match=r"a scanner has 0\.05 to 20"):
        Slide(slide, mpp)


def test_detail_that_was_not_scanned_is_not_made_up(slide: Path) -> None:
    with (
        Slide(slide) as found,
        pytest.raises(DataError, match=r"scanned at 0.5 microns per pixel, coarser than the 0.25"),
    ):
        found.region(0, 0, (8, 8), 0.25)


def test_what_is_no_slide_says_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_text("no slide")
    with pytest.raises(DataError, match=r"a.svs cannot be read as a slide .*\.svs, \.tif"):
        Slide(tmp_path / "a.svs")
    with pytest.raises(DataError, match="no such file"):
        Slide(tmp_path / "b.svs")


def test_a_damaged_slide_says_where(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", drawn())
    whole = (tmp_path / "a.tif").read_bytes()
    at = whole.find(b"\xff\xda", 2000)  # the scan of a tile
    (tmp_path / "a.tif").write_bytes(whole[:at] + bytes(4000) + whole[at + 4000 :])
    with pytest.raises(DataError, match="damaged near pixel"), Slide(tmp_path / "a.tif") as found:
        found.overview(0.5)


def test_a_header_that_says_more_than_any_glass_is_refused(tmp_path: Path) -> None:
    """Its overview would be 125,000 pixels a side."""
    lying(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"says 4000000 x 4000000 pixels .* 1000 x 1000 mm; no glass is so large"):
        Slide(tmp_path / "a.tif")


def test_without_the_reader_the_extra_is_named(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(StudyError, match=r"pip install 'confrere\[slides\]'"):
        Slide(slide)


def test_the_digest_of_a_slide_has_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a.mrxs", "a/Data0001.dat", "b.dcm", "c.dcm"):
        (tmp_path / name).write_bytes(name.encode())
    before = digest(tmp_path / "a.mrxs"), digest(tmp_path / "b.dcm")
    (tmp_path / "a" / "Data0001.dat").write_bytes(b"other")
    (tmp_path / "c.dcm").write_bytes(b"other")
    assert digest(tmp_path / "a.mrxs") != before[0]
    assert digest(tmp_path / "b.dcm") != before[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=2, max_size=60), st.integers(0, 10**6))
def test_otsus_cut_is_the_best_of_all(values: list[int], seed: int) -> None:
    """Against its definition: no cut has a larger variance between both sides."""
    counts = np.bincount(values, minlength=256)
    cut = otsu(counts, np.arange(256.0))

    def between(at: float) -> float:
        low, high = [v for v in values if v <= at], [v for v in values if v > at]
        return len(low) * len(high) * (np.mean(low) - np.mean(high)) ** 2 if low and high else 0.0

    assert between(cut) >= max(between(at) for at in range(256)) - 1e-6


def test_tissue_is_found_and_glass_is_not(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", drawn(0.3))
    write(tmp_path / "b.tif", drawn(0.2, 4, "empty"))
    with Slide(tmp_path / "a.tif") as found, Slide(tmp_path / "b.tif") as empty:
        seen = look(found)
        truth = saturation(found.overview(8.0)) > 0.1
        assert (seen.tissue == truth).mean() > 0.9
        assert 0.3 < seen.share < 0.8
        assert look(empty).share == 0


def test_ink_is_no_tissue(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", drawn(0.2, 4, "pen"))
    with Slide(tmp_path / "a.tif") as found:
        seen = look(found)
    assert seen.inked > 0.3
    assert not (seen.pen & seen.tissue).any()


@pytest.mark.parametrize(
    ("colour", "marked"),
    [((28, 84, 176), True), ((20, 120, 60), True), ((15, 15, 18), True), ((200, 120, 170), False),
     ((90, 60, 140), False), ((245, 245, 245), False), ((150, 40, 60), False)],
)  # fmt: skip
def test_pens_and_stains_by_their_colours(colour: tuple[int, int, int], marked: bool) -> None:
    assert ink(np.full((4, 4, 3), colour, np.uint8)).all() == marked


def test_focus_tells_a_blurred_tile_however_pale() -> None:
    sharp, blurred = drawn(0.3)[200:456, 200:456], drawn(0.2, 4, "blurred")[200:456, 200:456]
    pale = (255 - (255 - sharp.astype(int)) // 3).astype(np.uint8)
    found = focus(np.stack([sharp, pale, blurred]))
    assert found[0] > 0.06
    assert found[1] > 0.06
    assert found[2] < 0.03


def test_tiles_are_whole_hold_tissue_and_are_what_the_reader_reads(slide: Path) -> None:
    with Slide(slide) as found:
        seen = look(found)
        grid = Tiling(1.0, 64).grid(found, seen)
        rows, tiles = [], []
        for batch in stream(found, grid, threads=2):
            rows.append(batch.rows)
            tiles.append(batch.tiles)
        order = np.argsort(np.concatenate(rows))
        streamed = np.concatenate(tiles)[order]
        assert sorted(np.concatenate(rows)) == list(range(len(grid.places)))
        for (x, y), tile in zip(grid.places, streamed, strict=True):
            assert x + grid.step <= found.size.width
            assert y + grid.step <= found.size.height
            assert np.abs(tile.astype(int) - found.region(x, y, (64, 64), 1.0)).max() <= 1
            part = seen.tissue[y // 16 : (y + 128) // 16, x // 16 : (x + 128) // 16]
            assert part.mean() >= 0.4


def test_one_thread_and_several_stream_the_same(slide: Path) -> None:
    with Slide(slide) as found:
        grid = Tiling(0.5, 48, tissue=0.2).grid(found, look(found))
        one, two = (list(stream(found, grid, threads)) for threads in (1, 3))
    assert all(
        np.array_equal(a.tiles, b.tiles) and np.array_equal(a.rows, b.rows) for a, b in zip(one, two, strict=True)
    )


def test_a_sample_of_tiles_is_drawn_by_the_seed(slide: Path) -> None:
    with Slide(slide) as found:
        seen = look(found)
        grids = [Tiling(0.5, 64, most=10, seed=seed).grid(found, seen) for seed in (1, 1, 2)]
    assert all(len(grid.places) == 10 < grid.possible for grid in grids)
    assert np.array_equal(grids[0].places, grids[1].places)
    assert not np.array_equal(grids[0].places, grids[2].places)


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 60), st.integers(5, 60), st.floats(1.0, 9.0), st.integers(0, 10**6))
def test_shares_of_tissue_are_means_of_the_mask(height: int, width: int, step: float, seed: int) -> None:
    """By sums over rectangles, against the mean of each tile's part of the mask."""
    from confrere.images.tiles import _shares

    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    seen = Look(np.zeros((height, width, 3), np.uint8), mask, np.zeros_like(mask), 8.0)
    wide, high = int(width // step), int(height // step)
    shares = _shares(seen, step, wide, high)
    for row in range(high):
        for column in range(wide):
            top, left, bottom, right = (round(v * step) for v in (row, column, row + 1, column + 1))
            assert shares[row, column] == pytest.approx(mask[top:bottom, left:right].mean())


@pytest.mark.parametrize("wrong", [{"mpp": 0}, {"side": 8}, {"tissue": 0}, {"tissue": 2}, {"most": -1}])
def test_a_tiling_says_what_it_may_be(wrong: dict[str, float]) -> None:
    with pytest.raises(StudyError, match=r"it is|is "):
        Tiling(**wrong)  # type: ignore[arg-type]


@pytest.mark.shared
def test_a_real_slide_equals_an_independent_reader() -> None:
    """Means, tissue and density of 88 regions, as tifffile and numpy gave them (oracle_tiles_256.csv)."""
    with Slide(REAL) as found, (REAL.parent / "oracle_tiles_256.csv").open() as file:
        assert (found.mpp, found.size, found.vendor) == (0.499, (2220, 2967), "aperio")
        for row in csv.DictReader(file):
            seen = found.region(int(row["x"]), int(row["y"]), (256, 256), found.mpp)
            means = [float(row[f"mean_{c}"]) for c in "rgb"]
            assert seen.mean((0, 1)) == pytest.approx(means, abs=1e-4)
            assert (saturation(seen) > 0.07).mean() == pytest.approx(float(row["sat_gt_0.07_frac"]), abs=1e-5)


@pytest.mark.shared
def test_tissue_of_a_real_slide() -> None:
    with Slide(REAL) as found:
        seen = look(found)
        assert 0.25 < seen.share < 0.4
        assert seen.inked < 0.01
        tiles = np.concatenate([b.tiles for b in stream(found, Tiling().grid(found, seen))])
    assert (focus(tiles) > 0.1).all()
    assert (focus(_softened(tiles)) < 0.03).mean() > 0.9


@pytest.mark.shared
def test_boxes_have_no_scanners_resolution() -> None:
    with pytest.raises(DataError, match="which no scanner has"):
        Slide(REAL.parent / "openslide_boxes.tiff")
    with Slide(REAL.parent / "openslide_boxes.tiff", 1.0) as found:
        assert found.size == (300, 250)
        assert len(found.levels) == 4


def _softened(tiles: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(tiles, (0, 2, 2, 0)))


def test_a_specimen_is_the_same_for_the_same_seed() -> None:
    light, lesion = picture(Specimen(7, 0.3, side=320))
    again, _ = picture(Specimen(7, 0.3, side=320))
    assert np.array_equal(light, again)
    tissue_part = (saturation(light) > tissue.BETWEEN[0]).sum()
    assert lesion.sum() / tissue_part == pytest.approx(0.3, abs=0.1)


def test_the_benchmark_runs(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No time is judged."""
    monkeypatch.syspath_prepend(str(ROOT))
    benchmark = importlib.import_module("benchmarks.slides")
    found = benchmark.measure(slide, 64, 1)
    assert found["tiles"] > 10
    assert set(found) >= {"reader alone", "1 thread"}
    assert benchmark.encoders(["stain"], 64, 2)["stain"] > 0
