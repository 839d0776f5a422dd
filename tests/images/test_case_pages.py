"""The pages of cases: who sees what, until when, what the ledger has; in French; in a browser (slow)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("joserfc")
pytest.importorskip("fastapi.testclient")

from fastapi.testclient import TestClient

import serve_hospital as pages
from confrere.analyses.learning.conformal import ALWAYS, Conformal
from confrere.console.pages.sessions import Person
from confrere.console.reading import reading
from confrere.errors import StudyError
from confrere.hospital.home import Home
from images.lesions import picture, png
from journeys import browser

MARTIN = Person("martin", "Dr Martin", ("clinician",))
PETIT = Person("petit", "Dr Petit", ("clinician",))
Client = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return pages.hospital(tmp_path)


@pytest.fixture
def image(home: Home) -> str:
    """A picture that may be discussed."""
    got = home.images.add(png(picture(3, "melanoma")), "p17", "ada")
    home.images.consent(got.image, "discussing", "ada")
    return got.image


@pytest.fixture
def guest(home: Home) -> Client:
    """Signs somebody in: get and post."""
    app = pages.app_of(home)

    def make(person: Person = pages.STEWARD, lang: str = "en") -> Any:
        client = TestClient(
            app, "http://testserver", raise_server_exceptions=False, follow_redirects=False,
            headers={"Accept-Language": lang},
        )  # fmt: skip
        session = app.state.front.store.begin(person)
        client.cookies.set("confrere", session.id)
        plain = client.post
        client.post = lambda path, **fields: plain(path, data={"csrf": session.csrf, **fields})
        return client

    return make


def begun(guest: Client, image: str, **more: Any) -> str:
    """Open a case by the form; its name."""
    fields = {"image": image, "title": "Is this border regular?", "invited": "martin, durand", "days": 5} | more
    assert guest().post("/cases", **fields).status_code == 303
    return str(re.findall(r"case-[0-9a-f]{8}", guest().get("/cases").text)[0])


def test_a_case_from_its_beginning_to_its_end(home: Home, image: str, guest: Client) -> None:
    name = begun(guest, image)
    martin = guest(MARTIN)
    assert f"/cases/{name}" in martin.get("/cases").text
    assert "Is this border regular?" in martin.get(f"/cases/{name}").text
    shown = martin.get(f"/cases/{name}/picture")
    assert (shown.headers["content-type"], shown.headers["cache-control"]) == ("image/png", "no-store")
    assert shown.content == home.images.png(image, "discussing")
    assert martin.post(f"/cases/{name}/comment", text="No: <b>look</b> at the left.").status_code == 303
    assert "No: &lt;b&gt;look&lt;/b&gt; at the left." in martin.get(f"/cases/{name}").text
    assert guest().post(f"/cases/{name}/close").status_code == 303
    assert martin.get(f"/cases/{name}").status_code == 404
    assert martin.get(f"/cases/{name}/picture").status_code == 404
    events = [e.event for e in home.ledger.entries() if e.event.startswith("case")]
    assert sorted(set(events)) == ["case closed", "case comment", "case opened", "case shown"]
    assert all("p17" not in str(e.facts) for e in home.ledger.entries())


def test_it_is_for_those_invited_alone(image: str, guest: Client) -> None:
    name = begun(guest, image)
    for who in (PETIT, pages.STEWARD):
        assert guest(who).get(f"/cases/{name}/picture").status_code in (403, 404)
        assert guest(who).get(f"/cases/{name}").status_code in (403, 404)
    assert guest(PETIT).post(f"/cases/{name}/comment", text="x").status_code == 404
    absent, other = (guest(PETIT).get(f"/cases/{one}") for one in ("case-00000000", name))
    assert absent.status_code == other.status_code == 404
    assert absent.text.partition("<main")[2] == other.text.partition("<main")[2]
    for deed in ("close", "withdraw"):
        assert guest(MARTIN).post(f"/cases/{name}/{deed}", who="durand").status_code == 403
    assert guest(MARTIN).post("/cases", image=image, title="x", invited="martin").status_code == 403
    guest().post(f"/cases/{name}/withdraw", who="martin")
    assert guest(MARTIN).get(f"/cases/{name}").status_code == 404


def test_what_is_revoked_is_on_no_page_at_once(home: Home, image: str, guest: Client) -> None:
    name = begun(guest, image)
    assert guest(MARTIN).get(f"/cases/{name}/picture").status_code == 200
    home.images.revoke(image, "discussing", "ada")
    assert guest(MARTIN).get(f"/cases/{name}/picture").status_code == 404
    assert guest(MARTIN).get(f"/cases/{name}").status_code == 404
    assert guest().post("/cases", image=image, title="x", invited="martin", days=1).status_code == 422


def test_the_pages_speak_french(image: str, guest: Client) -> None:
    name = begun(guest, image)
    said = guest(MARTIN, "fr").get(f"/cases/{name}").text + guest(pages.STEWARD, "fr").get("/cases").text
    for words in (
        "Votre commentaire",
        "L’image et ce qui est dit restent",
        "Ouvrir un cas",
        "Se termine le",
        "0 commentaire",
    ):
        assert words in said
    for words in ("Your comment", "Open a case", "Opened by", "Nobody has said"):
        assert words not in said


# What a model says ------------------------------------------------------------------------------------------------

KINDS = ("nevus", "melanoma", "keratosis")
NEVER = 1e9  # a limit that no margin is above


def classifier(folder: Path, limits: tuple[float, ...], levels: tuple[str, ...] = KINDS, alpha: float = 0.1) -> Path:
    """A network of pictures whose score is the same for all: the later the kind, the likelier."""
    pytest.importorskip("torch")
    import numpy as np

    from confrere.analyses.networks.catalogue import Sizes, built
    from confrere.analyses.networks.model import Net
    from confrere.console.result import files
    from confrere.data.bags import recipe_of
    from confrere.images.skin import SKIN

    many, given = len(levels) if len(levels) > 2 else 1, {"hidden": 2, "dropout": 0.0}
    sizes = Sizes(0, 63, many)
    weights = np.zeros(sum(p.numel() for p in built("mean_pool", sizes, given).parameters()))
    weights[-many:] = np.arange(many) if many > 1 else 1.0
    about: Any = ("mean_pool", given, sizes, (0.0,), (1.0,), (), (), "images", weights)
    one = ("multiclass", "label", levels, "~ 1") if many > 1 else ("binary", "label", (), "label ~ 1")
    net = Net(*one, *about, bag_recipe=recipe_of(SKIN.about()))
    sets = Conformal(alpha, levels, limits, (100,) * len(levels)).plain()
    for name, content in files("classifier", net, {"sets": sets}).items():
        (folder / name).write_bytes(content)
    return folder / "classifier.json"


def bound(home: Home, model: str) -> None:
    """Name the model in hospital.toml, as IT would."""
    toml = home.path / "hospital.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + f'\n[pictures]\nmodel = "{model}"\n', encoding="utf-8")


@pytest.mark.parametrize(
    ("limits", "english", "french"),
    [
        ((NEVER, NEVER, ALWAYS), "The model answers: keratosis.", "Le modèle répond\u202f: keratosis."),
        (
            (ALWAYS, ALWAYS, ALWAYS),
            "The model abstains: for it, this may be keratosis, melanoma or nevus.",
            "Le modèle s’abstient\u202f: pour lui, ce peut être keratosis, melanoma ou nevus.",
        ),
        ((NEVER, NEVER, NEVER), "like none of the kinds", "ne ressemble à aucun des types"),
    ],
)
def test_the_set_of_kinds_stands_beside_the_picture(
    home: Home, image: str, guest: Client, limits: tuple[float, ...], english: str, french: str
) -> None:
    classifier(home.path, limits)
    bound(home, "classifier.json")
    name = begun(guest, image)
    said, dit = (guest(MARTIN, lang).get(f"/cases/{name}").text for lang in ("en", "fr"))
    assert english in said
    assert french in dit.replace("\u00a0", "\u202f")
    assert "90% or more, on average over all kinds" in said
    assert "no diagnosis" in said
    assert "pas un diagnostic" in dit
    looks = [e.facts for e in home.ledger.entries(event="case shown")]
    assert sum(one.get("what") == "model" for one in looks) == 2


def test_of_two_kinds_the_promise_is_within_each(home: Home, image: str, guest: Client) -> None:
    classifier(home.path, (NEVER, ALWAYS), ("no", "melanoma"), 0.025)
    bound(home, "classifier.json")
    said = guest(MARTIN).get(f"/cases/{begun(guest, image)}").text
    assert "The model answers: melanoma." in said
    assert "97.5% or more, in each kind" in said


def test_who_was_not_invited_learns_nothing_of_it(home: Home, image: str, guest: Client) -> None:
    classifier(home.path, (NEVER, NEVER, ALWAYS))
    bound(home, "classifier.json")
    name = begun(guest, image)
    assert guest(PETIT).get(f"/cases/{name}").status_code == 404
    assert "keratosis" not in guest().get("/cases").text


def test_a_model_that_says_nothing_stops_no_case(home: Home, image: str, guest: Client) -> None:
    bound(home, "gone.json")
    name = begun(guest, image)
    page = guest(MARTIN).get(f"/cases/{name}")
    assert page.status_code == 200
    assert "says nothing of the picture" in page.text
    assert str(home.path) not in page.text
    assert "Is this border regular?" in page.text


@pytest.mark.parametrize(
    "wrong",
    [{"sets": "text"}, {"sets": {"levels": ["a"]}}, {"sets": {"format": "confrere-sets/1"}}, {"format": 3}, None],
)
def test_a_model_of_anybodys_making_stops_no_case(home: Home, image: str, guest: Client, wrong: Any) -> None:
    import json

    path = classifier(home.path, (NEVER, NEVER, ALWAYS))
    made = json.dumps(json.loads(path.read_text()) | wrong) if wrong else "[" * 100_000 + "]" * 100_000
    path.write_text(made)
    bound(home, "classifier.json")
    page = guest(MARTIN).get(f"/cases/{begun(guest, image)}")
    assert page.status_code == 200
    assert "says nothing of the picture" in page.text
    assert str(home.path) not in page.text


def test_whatever_the_model_raises_stops_no_case(
    home: Home, image: str, guest: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(model: Path, png: bytes) -> None:
        raise RecursionError(str(model))

    monkeypatch.setattr("confrere.console.pages.hospital_cases.reading", fails)
    bound(home, "classifier.json")
    page = guest(MARTIN).get(f"/cases/{begun(guest, image)}")
    assert page.status_code == 200
    assert "classifier.json cannot be read as a model" in page.text
    assert str(home.path) not in page.text


def test_a_model_without_sets_or_pictures_is_refused(home: Home, image: str, tmp_path: Path) -> None:
    import json

    png_ = home.images.png(image, "discussing")
    path = classifier(tmp_path, (ALWAYS,) * 3)
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in plain.items() if key != "sets"}))
    with pytest.raises(StudyError, match="has no sets of classes"):
        reading(path, png_)
    hospital = home.path / "hospital.toml"
    hospital.write_text(hospital.read_text() + "\n[pictures]\nmodel = 3\n")
    with pytest.raises(StudyError, match="must be a file"):
        Home(home.path).picture_model  # noqa: B018 - reading it is the test


@browser.needed
@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en-GB", "fr-FR"])
def test_in_a_browser(home: Home, image: str, lang: str) -> None:
    """As a professional sees it: nothing that axe finds."""
    from playwright.sync_api import sync_playwright

    classifier(home.path, (NEVER, ALWAYS, ALWAYS))
    bound(home, "classifier.json")
    name = home.cases.begin(image, "Is this border regular?", "ada", ("martin",))
    with pages.at(home) as (address, app), sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser.CHROMIUM)
        with browser.visiting(chromium) as visit:
            page = visit([{"name": "confrere", "value": pages.cookie(app, MARTIN), "url": address}], locale=lang)
            page.goto(f"{address}/cases/{name}")
            browser.expect(page.locator("#kinds")).to_be_visible()
            browser.checked(page, f"case-{lang[:2]}")
        chromium.close()
