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
from confrere.console.pages.sessions import Person
from confrere.hospital.home import Home
from images.lesions import picture, png

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
