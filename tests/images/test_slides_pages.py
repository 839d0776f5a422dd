"""The hospital's pages of slides: numbers for the steward, slides for clinicians who are named, and for nobody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("fastapi.testclient")

from fastapi.testclient import TestClient

from confrere.console.pages.hospital_slides import WHY
from confrere.console.slides_looked import map_of
from confrere.data.opposition import Said
from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.images.slides_extract import extract
from confrere.images.slides_list import LEDGER, REASONS, read
from confrere.images.slides_made import write as write_slide
from images.made import RECIPE, drawn, folder_of, listing
from serve_hospital import CLINICIAN, IT, OTHER, STEWARD, Person, app_of, cookie, hospital

PICTURE = b"\x89PNG picture"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path = tmp_path_factory.mktemp("pages")
    found = hospital(path)
    made = extract(folder_of(path / "slides"), found.path / "slides.bags", RECIPE)
    toml = found.path / "hospital.toml"
    more = '[data.bags]\nslides = "slides.bags"\n[slides]\nclinicians = ["bones"]\n'
    toml.write_text(more + toml.read_text(encoding="utf-8"), encoding="utf-8")
    at = map_of(found.path / "slides.bags", next(e for e in made.ledger if e.slide == "a1.tif"))
    at.parent.mkdir()
    at.write_bytes(PICTURE)
    return Home(found.path)


def browser(home: Home, person: Person) -> TestClient:
    """A browser in which somebody is signed in."""
    app = app_of(home)
    client = TestClient(app, base_url="http://testserver", raise_server_exceptions=False)
    client.cookies.set("confrere", cookie(app, person))
    return client


def sha_of(home: Home, slide: str) -> str:
    """The address of a slide."""
    ledger = read(home.path / "slides.bags" / LEDGER)
    return next(e.sha256 for e in ledger if e.slide == slide)[:16]


def test_each_reason_has_its_words() -> None:
    assert set(WHY) == set(REASONS)


def test_a_slide_that_is_listed_again_is_shown_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    write_slide(folder / "b.tif", drawn(0.0, 2))
    shutil.copy(folder / "b.tif", folder / "a.tif")
    listing(folder, [("b.tif", "ada", ""), ("a.tif", "ada", "")])
    found = hospital(tmp_path / "home")
    extract(folder, found.path / "slides.bags", RECIPE)
    assert [e.reason for e in read(found.path / "slides.bags" / LEDGER)] == ["twice", "used"]
    toml = found.path / "hospital.toml"
    more = '[data.bags]\nslides = "slides.bags"\n[slides]\nclinicians = ["bones"]\n'
    toml.write_text(more + toml.read_text(encoding="utf-8"), encoding="utf-8")
    home = Home(found.path)
    shown = browser(home, CLINICIAN).get(f"/slides/slides/{sha_of(home, 'b.tif')}").text
    assert "b.tif" in shown
    assert "for two people" not in shown


def test_the_steward_sees_numbers_and_no_slide(home: Home) -> None:
    found = browser(home, STEWARD).get("/slides").text
    assert "out of focus" in found
    assert "a1.tif" not in found
    assert "ada" not in found


def test_a_clinician_who_is_named_sees_slides_and_where_a_model_looked(home: Home) -> None:
    client, at = browser(home, CLINICIAN), f"/slides/slides/{sha_of(home, 'a1.tif')}"
    listed = client.get("/slides").text
    assert at in listed
    assert "nowhere.tif" in listed
    rows = client.get("/slides?csv=slides-slides").text.splitlines()
    assert {row.split(",")[0] for row in rows if "drawn" in row} == {"a1.tif"}
    assert "Slides in the bags slides" in listed
    shown = client.get(at).text
    assert f'src="{at}/map.png"' in shown
    picture = client.get(f"{at}/map.png")
    assert picture.content == PICTURE
    assert picture.headers["content-type"] == "image/png"
    assert "no-store" in picture.headers["cache-control"]
    looks = [e.facts for e in home.ledger.entries() if e.event == "slide shown"]
    assert [look.get("what", "page") for look in looks] == ["list", "download", "page", "map"]
    assert {look["who"] for look in looks} == {"bones"}
    assert "ada" not in str(looks)


def test_a_slide_without_a_picture_says_how_to_draw_one(home: Home) -> None:
    assert "confrere slides heatmap" in browser(home, CLINICIAN).get(f"/slides/slides/{sha_of(home, 'b.tif')}").text


@pytest.mark.parametrize("person", [OTHER, STEWARD, IT], ids=lambda p: p.id)
def test_nobody_else_sees_a_slide(home: Home, person: Person) -> None:
    at = f"/slides/slides/{sha_of(home, 'a1.tif')}"
    for path in (at, f"{at}/map.png"):
        answer = browser(home, person).get(path)
        assert answer.status_code in (403, 404)
        assert PICTURE not in answer.content
        assert "a1.tif" not in answer.text


def test_a_clinician_who_is_not_named_reads_the_own_name(home: Home) -> None:
    found = browser(home, OTHER).get("/slides").text
    assert "<code>quinn</code>" in found
    assert "a1.tif" not in found


def test_addresses_that_are_none(home: Home) -> None:
    client = browser(home, CLINICIAN)
    unmade = f"/slides/slides/{sha_of(home, 'b.tif')}/map.png"
    for path in ("slides/0", "slides/0000000000000000", "other/0000000000000000", "..%2Fidentity.key/0000000000000000"):
        assert client.get(f"/slides/{path}").status_code == 404
    assert client.get(unmade).status_code == 404


def test_pages_are_in_french(home: Home) -> None:
    client = browser(home, CLINICIAN)
    client.cookies.set("confrere-language", "fr")
    assert "Ce qu’elle est devenue" in client.get("/slides").text


def test_who_may_see_slides_is_a_list(home: Home, tmp_path: Path) -> None:
    (tmp_path / "hospital.toml").write_text('[hospital]\nname = "curie"\n[slides]\nclinicians = "bones"\n')
    with pytest.raises(StudyError, match="clinicians must be a list"):
        Home(tmp_path)


def test_a_download_of_the_list_is_an_entry(home: Home) -> None:
    client, looks = browser(home, CLINICIAN), lambda: [e.facts for e in home.ledger.entries(event="slide shown")]
    before = len(looks())
    assert "a1.tif" in client.get("/slides?csv=slides-slides").text
    (look,) = looks()[before:]
    assert (look["what"], look["who"], look["bags"]) == ("download", "bones", "slides")


@pytest.mark.parametrize(("purpose", "status", "shown"), [
    ("*", "opposed", False), ("public-interest research", "opposed", False), ("contact for research", "opposed", True),
])  # fmt: skip
def test_slides_of_who_opposes_are_not_shown(
    home: Home, tmp_path: Path, purpose: str, status: str, shown: bool
) -> None:
    """Neither in the list, nor by its address, nor where a model looked."""
    shutil.copytree(home.path, tmp_path / "home")
    here = Home(tmp_path / "home")
    at, client = f"/slides/slides/{sha_of(here, 'a1.tif')}", browser(here, CLINICIAN)
    assert client.get(f"{at}/map.png").content == PICTURE
    whose = next(e.person for e in read(here.path / "slides.bags" / LEDGER) if e.slide == "a1.tif")
    here.oppositions.add([Said(whose, purpose, status, "2026-11-22", "letter")])
    assert [client.get(a).status_code == 200 for a in (at, f"{at}/map.png")] == [shown] * 2
    for page in ("/slides", "/slides?csv=slides-slides"):
        assert ("a1.tif" in client.get(page).text) is shown
        assert "b.tif" in client.get(page).text
