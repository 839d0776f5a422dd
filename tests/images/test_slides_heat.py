"""Heat maps: colours, where they lie, and a picture of the right words and size."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from confrere.images.slides import Slide
from confrere.images.slides_heat import (
    FIRST,
    FRENCH,
    RANGE,
    VIRIDIS,
    Looked,
    _drawn,
    _first,
    colours,
    heat,
    overlaid,
    relative,
    shown,
)
from confrere.images.slides_made import write
from images.made import drawn


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heat") / "a<b>.tif"
    write(path, drawn(0.3))
    return path


def looked(weights: list[float]) -> Looked:
    places = np.array([[128 * i, 128] for i in range(len(weights))])
    return Looked(places, 128.0, np.array(weights), "a<b>.tif", "abmil 12ab", "0.87")


def test_colours_run_from_a_quarter_to_four_times_the_mean() -> None:
    found = colours(np.array([0.0, 1 / RANGE, 1.0, RANGE, 100.0]))
    assert found[0].tolist() == found[1].tolist() == VIRIDIS[0].tolist()
    assert found[2].tolist() == VIRIDIS[4].tolist()
    assert found[3].tolist() == found[4].tolist() == VIRIDIS[-1].tolist()


def test_brightness_rises_with_attention() -> None:
    found = colours(RANGE ** np.linspace(-1, 1, 50)).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(found) > -1).all()
    assert found[-1] > found[0] + 150


def test_weights_are_multiples_of_their_mean() -> None:
    assert relative(np.array([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert relative(np.zeros(3)).tolist() == [1, 1, 1]


def test_tiles_are_coloured_where_they_lie_and_nothing_else_is() -> None:
    seen = np.full((100, 100, 3), (200, 100, 100), np.uint8)
    made = overlaid(seen, Looked(np.array([[40, 80]]), 40.0, np.ones(1), "", ""), 2.0)
    coloured = np.ptp(made.astype(int), axis=-1) > 0
    rows, columns = np.nonzero(coloured)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (40, 60, 20, 40)


def test_the_tiles_that_count_most_come_first(slide: Path) -> None:
    with Slide(slide) as found:
        first = _first(found, looked([1, 5, 2, 4]))
        assert [round(times, 2) for _, times in first] == [1.67, 1.33, 0.67, 0.33]
        assert np.array_equal(first[0][0], found.region(128, 128, (128, 128), 0.5))


def test_scores_are_coloured_by_their_sign_and_both_ends_come_first(slide: Path) -> None:
    """Of CHOWDER the lowest score counts as the highest does, and they have different colours."""
    about = looked([0.4, -2.0, 0.5, 3.0, 0.6])._replace(scores=True)
    assert shown(about).tolist() == pytest.approx(RANGE ** (np.array([-0.1, -2.5, 0, 2.5, 0.1]) / 2.5))
    assert shown(about._replace(weights=np.ones(3))).tolist() == [1, 1, 1]
    with Slide(slide) as found:
        first = [times for _, times in _first(found, about)]
    assert sorted(first[:2]) == pytest.approx([1 / RANGE, RANGE])


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_the_picture_says_what_it_is(slide: Path, lang: str, scores: bool) -> None:
    about = looked([1, 5, 2, 4])._replace(scores=scores)
    with Slide(slide) as found:
        text = "".join(_drawn(found, about, lang))
        picture = Image.open(io.BytesIO(heat(found, about, lang)))
    others = ("Attention",) if scores else ("Score", "The model")
    told = [word for word in FRENCH if not word.startswith(others)]
    assert len(told) == len(FRENCH) - 2
    assert all((FRENCH[word] if lang == "fr" else escape(word)) in text for word in told)
    assert (("−2" in text) and ("+2" in text)) == scores
    assert "a&lt;b&gt;.tif" in text
    assert "50 µm" in text
    assert text.count("<image") == 3 + min(4, FIRST)
    assert picture.format == "PNG"
    assert picture.width > 800
    assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 1000


@pytest.mark.parametrize("name", ["a\x01.tif", "a\ud800.tif", "a\x00.tif"])
def test_any_name_is_drawn(slide: Path, name: str) -> None:
    with Slide(slide) as found:
        about = looked([1, 5, 2, 4])._replace(title=name, model=name, score=name)
        assert "a\ufffd.tif" in "".join(_drawn(found, about, "en"))
        assert heat(found, about).startswith(b"\x89PNG")
