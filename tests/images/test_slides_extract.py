"""From slides to bags: the ledger, the cache, a run that is killed, and what is refused."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from confrere.data.bags import Bags
from confrere.errors import DataError
from confrere.images import slides_extract
from confrere.images.encoders import encoder
from confrere.images.slides import Slide
from confrere.images.slides_extract import TILES, Quality, Recipe, examined, extract
from confrere.images.slides_list import LEDGER, MAPS, REASONS, Entry, listed, read, write
from confrere.images.slides_made import write as write_slide
from confrere.images.stain import strength
from confrere.images.tiles import Tiling
from confrere.images.tissue import look
from images.made import RECIPE, drawn, folder_of, listing, lying


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("clinic") / "slides")


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> slides_extract.Extracted:
    return extract(folder, tmp_path_factory.mktemp("out") / "slides.bags", RECIPE)


def test_every_slide_is_in_the_ledger_with_its_reason(made: slides_extract.Extracted) -> None:
    assert {entry.slide: entry.reason for entry in made.ledger} == {
        "a1.tif": "used", "sub/a2.tif": "used", "b.tif": "used", "gone.tif": "missing", "blurred.tif": "blurred",
        "pen.tif": "pen", "empty.tif": "no tissue", "nowhere.tif": "resolution", "stranger.tif": "not listed",
        "broken.svs": "unreadable",
    }  # fmt: skip
    assert {entry.reason for entry in made.ledger} <= set(REASONS)
    assert all(entry.detail for entry in made.ledger if not entry.used)
    assert read(Path(made.bags.where) / LEDGER)[0].slide == made.ledger[0].slide


def test_rows_of_a_person_are_those_of_all_own_slides(made: slides_extract.Extracted, folder: Path) -> None:
    with (Path(made.bags.where) / TILES).open() as file:
        tiles = list(csv.DictReader(file))
    assert made.bags.people == ("ada", "ben")
    ada = [tile for tile in tiles if tile["slide"] in ("a1.tif", "sub/a2.tif")]
    assert (
        len(made.bags.of("ada")) == len(ada) == sum(e.tiles or 0 for e in made.ledger if e.used and e.person == "ada")
    )
    first = tiles[0]
    with Slide(folder / first["slide"]) as slide:
        seen = look(slide)
        tile = slide.region(int(first["x"]), int(first["y"]), (64, 64), 1.0)
        row = encoder("stain").rows(tile[None], strength(seen.picture, seen.tissue))[0]
    assert made.bags.of("ada")[0] == pytest.approx(row, abs=0.02)


def test_about_says_what_made_the_rows(made: slides_extract.Extracted) -> None:
    about = made.bags.about
    assert about["encoder"] == "stain"
    assert about["encoder_sha256"] == RECIPE.encoder.sha256
    assert about["tiling"]["mpp"] == 1.0
    assert about["quality"]["sharp"] == Quality().sharp


def test_again_nothing_is_encoded_and_bags_are_the_same(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "slides.bags"
    first = extract(folder, out, RECIPE)
    rows = first.bags.of("ada").copy()
    again = extract(folder, out, RECIPE, jobs=1)
    assert first.fresh > 0
    assert again.fresh == 0
    assert np.array_equal(again.bags.of("ada"), rows)
    assert [e.slide for e in again.ledger] == [e.slide for e in first.ledger]


def test_what_changes_the_rows_is_encoded_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "slides.bags"
    extract(folder, out, RECIPE)
    other = replace(RECIPE, tiling=Tiling(mpp=1.0, side=48))
    assert extract(folder, out, other).fresh > 0
    assert extract(folder, out, replace(RECIPE, quality=Quality(sharp=0.04))).fresh > 0
    assert extract(folder, out, replace(RECIPE, encoder=replace(RECIPE.encoder, sha256="other"))).fresh > 0
    assert extract(folder, out, RECIPE).fresh == 0


def test_a_slide_that_changed_is_done_again_and_one_that_moved_is_not(tmp_path: Path) -> None:
    folder, out = tmp_path / "slides", tmp_path / "slides.bags"
    write_slide(folder / "a.tif", drawn(0.3))
    write_slide(folder / "b.tif", drawn(0.0, 2))
    listing(folder, [("a.tif", "ada", ""), ("b.tif", "ben", "")])
    extract(folder, out, RECIPE)
    (folder / "a.tif").rename(folder / "moved.tif")
    listing(folder, [("moved.tif", "ada", ""), ("b.tif", "ben", "")])
    moved = extract(folder, out, RECIPE)
    assert moved.fresh == 0
    assert [entry.slide for entry in moved.ledger] == ["b.tif", "moved.tif"]
    write_slide(folder / "b.tif", drawn(0.4, 3))
    assert extract(folder, out, RECIPE).fresh == 1


KILLED = """
import os, sys
from pathlib import Path
from images.made import RECIPE
from confrere.images import slides_extract
kept = slides_extract._keep
def keep(at, done):
    kept(at, done)
    if len(list(at.parent.glob("[!.]*.npz"))) == 2:
        os.kill(os.getpid(), 9)
slides_extract._keep = keep
slides_extract.extract(Path(sys.argv[1]), Path(sys.argv[2]), RECIPE, jobs=1)
"""


def test_a_run_that_was_killed_goes_on_where_it_was(
    folder: Path, tmp_path: Path, made: slides_extract.Extracted
) -> None:
    out = tmp_path / "slides.bags"
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(out)], check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == -9
    assert not out.exists()
    rest = extract(folder, out, RECIPE)
    assert rest.fresh == made.fresh - 2
    assert np.array_equal(rest.bags.of("ada"), made.bags.of("ada"))


def test_a_torn_file_of_the_cache_is_made_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "slides.bags"
    whole = extract(folder, out, RECIPE)
    rows = whole.bags.of("ben").copy()
    for file in (tmp_path / "slides.cache").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(extract(folder, out, RECIPE).bags.of("ben"), rows)


def test_the_same_slide_of_two_people_is_nobodys(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    write_slide(folder / "a.tif", drawn(0.3))
    write_slide(folder / "c.tif", drawn(0.0, 2))
    for copy in ("b", "d"):
        shutil.copy(folder / ("a.tif" if copy == "b" else "c.tif"), folder / f"{copy}.tif")
    listing(folder, [("a.tif", "ada", ""), ("b.tif", "ben", ""), ("c.tif", "cid", ""), ("d.tif", "cid", "")])
    found = extract(folder, tmp_path / "slides.bags", RECIPE)
    assert {e.slide: e.reason for e in found.ledger} == {
        "a.tif": "twice", "b.tif": "twice", "c.tif": "used", "d.tif": "twice",
    }  # fmt: skip
    assert found.bags.people == ("cid",)


def test_a_stated_resolution_is_used_and_a_coarse_slide_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    write_slide(folder / "a.tif", drawn(0.3), None)
    write_slide(folder / "b.tif", drawn(0.1, 2), 4.0)
    listing(folder, [("a.tif", "ada", "0.5"), ("b.tif", "ben", "")])
    found = extract(folder, tmp_path / "slides.bags", RECIPE)
    assert [(e.slide, e.reason, e.mpp) for e in found.ledger] == [("a.tif", "used", 0.5), ("b.tif", "coarse", 4.0)]


def test_a_look_beforehand_agrees_but_for_focus(folder: Path, made: slides_extract.Extracted) -> None:
    before = {e.slide: e for e in examined(folder, RECIPE)}
    for entry in made.ledger:
        if entry.reason != "blurred":
            assert before[entry.slide].reason == entry.reason
    assert before["blurred.tif"].used


def test_with_no_slide_to_use_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    write_slide(folder / "a.tif", drawn(0.2, 4, "empty"))
    listing(folder, [("a.tif", "ada", "")])
    with pytest.raises(DataError, match=r"no slide can be used \(1 no tissue\)"):
        extract(folder, tmp_path / "slides.bags", RECIPE)
    assert not (tmp_path / "slides.bags").exists()
    (entry,) = read(tmp_path / "slides.cache" / LEDGER)
    assert (entry.slide, entry.reason) == ("a.tif", "no tissue")
    write_slide(folder / "b.tif", drawn(0.3))
    listing(folder, [("a.tif", "ada", ""), ("b.tif", "ben", "")])
    assert extract(folder, tmp_path / "slides.bags", RECIPE).fresh == 1
    assert not (tmp_path / "slides.cache" / LEDGER).exists()


def test_pictures_of_slides_stay_while_the_rows_of_their_people_do(tmp_path: Path) -> None:
    folder, out = tmp_path / "slides", tmp_path / "slides.bags"
    for number, name in enumerate("abc"):
        write_slide(folder / f"{name}.tif", drawn(0.3, number))
    listing(folder, [("a.tif", "ada", ""), ("b.tif", "ben", "")])
    made = extract(folder, out, RECIPE)
    (out / MAPS).mkdir()
    drawn_of = {e.slide: out / MAPS / f"{e.sha256}.png" for e in made.ledger if e.used}
    for slide, picture in drawn_of.items():
        picture.write_text(slide)
    assert extract(folder, out, RECIPE).fresh == 0
    assert {slide: picture.read_text() for slide, picture in drawn_of.items()} == {"a.tif": "a.tif", "b.tif": "b.tif"}
    listing(folder, [("a.tif", "ada", ""), ("b.tif", "ben", ""), ("c.tif", "ben", "")])  # ben's attention is another
    extract(folder, out, RECIPE)
    assert [slide for slide, picture in drawn_of.items() if picture.exists()] == ["a.tif"]
    extract(folder, out, replace(RECIPE, encoder=replace(RECIPE.encoder, sha256="other")))
    assert not (out / MAPS).exists()


def test_a_list_as_excel_writes_it_in_france_is_read(tmp_path: Path) -> None:
    text = "slide;person;mpp\r\na, b.tif;p;0,25\r\nc.tif;q;\r\n"
    (tmp_path / "slides.csv").write_text(text, encoding="utf-8-sig")
    assert listed(tmp_path) == [("a, b.tif", "p", 0.25), ("c.tif", "q", None)]


def test_a_resolution_that_is_stated_in_two_ways_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    for number, name in enumerate("abc"):
        write_slide(folder / f"{name}.tif", drawn(0.3, number), 0.5)
    listing(folder, [("a.tif", "ada", "0.499"), ("b.tif", "ben", "0.25"), ("c.tif", "cid", "0.53")])
    found = extract(folder, tmp_path / "slides.bags", RECIPE)
    assert [e.reason for e in found.ledger] == ["used", "resolution", "resolution"]
    assert found.ledger[1].detail.startswith("b.tif says 0.5 microns per pixel, and slides.csv 0.25; empty the column")


def test_a_slide_that_lies_or_needs_too_much_memory_ends_no_extraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_slide(tmp_path / "slides" / "good.tif", drawn(0.0, 2))
    write_slide(tmp_path / "slides" / "large.tif", drawn(0.0, 3))
    lying(tmp_path / "slides" / "lies.tif")
    listing(tmp_path / "slides", [(f"{name}.tif", name, "") for name in ("good", "lies", "large")])

    def looked(slide: Slide) -> object:
        if slide.path.name == "large.tif":
            raise MemoryError
        return look(slide)

    monkeypatch.setattr(slides_extract, "look", looked)
    made = extract(tmp_path / "slides", tmp_path / "x.bags", RECIPE)
    assert {e.slide: e.reason for e in made.ledger} == {
        "good.tif": "used", "lies.tif": "unreadable", "large.tif": "unreadable",
    }  # fmt: skip
    said = {e.slide: e.detail for e in read(tmp_path / "x.bags" / LEDGER)}
    assert "no glass is so large" in said["lies.tif"]
    assert "more memory" in said["large.tif"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_that_is_no_text_ends_no_extraction(tmp_path: Path) -> None:
    write_slide(tmp_path / "slides" / "good.tif", drawn(0.0, 2))
    listing(tmp_path / "slides", [("good.tif", "ada", "")])
    (tmp_path / "slides" / os.fsdecode(b"b\xff.tif")).write_bytes(b"")
    extract(tmp_path / "slides", tmp_path / "x.bags", RECIPE)
    said = {e.slide: e.reason for e in read(tmp_path / "x.bags" / LEDGER)}
    assert said == {"good.tif": "used", "b?.tif": "not listed"}


def test_what_is_in_the_way_is_left_alone(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bags are a folder NAME\.bags"):
        extract(folder, tmp_path / "slides", RECIPE)
    (tmp_path / "slides.bags").mkdir()
    (tmp_path / "slides.bags" / "thesis.docx").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        extract(folder, tmp_path / "slides.bags", RECIPE)
    assert (tmp_path / "slides.bags" / "thesis.docx").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide,who\na,b\n", "no column person among slide, who"),
        ("slide;who\na;b\n", "no column person"),
        ("slide,person,mpp\na.tif,,\n", "line 2: slide and person must both be there"),
        ("slide,person,mpp\na.tif,p,fine\n", "line 2: mpp is no number"),
        ("slide,person,mpp\n../a.tif,p,\n", "a path inside the folder"),
        ("slide,person,mpp\n/a.tif,p,\n", "a path inside the folder"),
        ("slide,person,mpp\na.tif,p,\na.tif,q,\n", "more than once"),
    ],
)
def test_a_list_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "slides.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        listed(tmp_path)


def test_without_a_list_the_first_lines_are_shown(tmp_path: Path) -> None:
    write_slide(tmp_path / "scan.tif", drawn())
    with pytest.raises(DataError, match=r"(?s)no slides.csv.*slide,person,mpp\nscan.tif,"):
        listed(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        listed(tmp_path / "nothing")


def test_a_ledger_reads_as_it_was_written(tmp_path: Path) -> None:
    lines = [
        Entry("a.tif", "ada", "used", "", "ff", "aperio", 0.25, 10, 20, 0.5, 0.0, 7, 1),
        Entry("é.tif", reason="pen"),
    ]
    write(tmp_path / LEDGER, lines)
    assert read(tmp_path / LEDGER) == lines
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no ledger of slides"):
        read(tmp_path / "other.csv")


@pytest.mark.shared
def test_a_real_slide_becomes_a_bag(tmp_path: Path) -> None:
    from federate import SHARED

    folder = tmp_path / "slides"
    folder.mkdir()
    shutil.copy(SHARED / "images" / "CMU-1-Small-Region.svs", folder)
    listing(folder, [("CMU-1-Small-Region.svs", "cmu", "")])
    found = extract(folder, tmp_path / "slides.bags", Recipe(Tiling(0.5, 256), encoder("stain")))
    assert found.ledger[0].tiles == len(Bags.open(tmp_path / "slides.bags").of("cmu")) == 26
