"""Slides as DICOM: the same tiles and numbers as from TIFF, several files of which one is listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openslide")
pytest.importorskip("pydicom")

from confrere.images.slides import Slide, digest
from confrere.images.slides_extract import extract
from confrere.images.slides_made import write as write_tiff
from images.dicom import write
from images.made import RECIPE, drawn, listing


def test_a_dicom_slide_gives_the_same_as_a_tiff_of_the_same_specimen(tmp_path: Path) -> None:
    folder, pixels = tmp_path / "slides", drawn(0.3)
    write_tiff(folder / "a.tif", pixels)
    write(folder / "b", pixels, 0.5)
    with Slide(folder / "a.tif") as tiff, Slide(folder / "b" / "1.dcm") as dicom:
        assert (dicom.vendor, dicom.size, dicom.levels) == ("dicom", tiff.size, (1.0, 2.0))
        assert dicom.mpp == pytest.approx(tiff.mpp)
        one, other = (slide.region(64, 64, (256, 256), 1.0).astype(int) for slide in (tiff, dicom))
        assert np.abs(one - other).mean() < 4  # of 255: each was compressed in its own way
    listing(folder, [("a.tif", "ada", ""), ("b/1.dcm", "ben", "")])
    found = extract(folder, tmp_path / "slides.bags", RECIPE)
    assert [(e.slide, e.reason) for e in found.ledger] == [("a.tif", "used"), ("b/1.dcm", "used")]  # its levels are one
    ada, ben = found.bags.of("ada"), found.bags.of("ben")
    assert ada.shape == ben.shape
    alike = [np.corrcoef(one, other)[0, 1] for one, other in zip(ada.T, ben.T, strict=True)]
    assert np.median(alike) > 0.95


def test_a_dicom_slide_without_a_size_of_pixels_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    write(folder / "b", drawn(0.3), None)
    write_tiff(folder / "a.tif", drawn(0.0, 2))
    listing(folder, [("b/1.dcm", "ben", ""), ("a.tif", "ada", "")])
    (entry,) = [e for e in extract(folder, tmp_path / "slides.bags", RECIPE).ledger if not e.used]
    assert entry.reason == "resolution"
    assert "state it in the column mpp of slides.csv" in entry.detail


def test_a_changed_level_makes_another_slide(tmp_path: Path) -> None:
    first = write(tmp_path / "b", drawn(0.3), 0.5)
    before = digest(first)
    other = first.with_name("2.dcm")
    other.write_bytes(other.read_bytes()[:-1] + b"x")
    assert digest(first) != before
