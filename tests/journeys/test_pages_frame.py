"""The frame of the pages as people meet it: a real browser, and a real provider of OpenID Connect, both on loopback.

Chromium is the system's; without one these tests are skipped, and say so. With CONFRERE_SHOTS=FOLDER they leave
pictures there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("axe_playwright_python")
pytest.importorskip("playwright")

import httpx

import serve_pages as pages
from confrere.console.pages import tokens
from confrere.console.pages.frame import Console, Entry, application
from confrere.console.pages.laptop import Link
from confrere.console.pages.sessions import Sessions
from confrere.console.pages.settings import IdentitySettings
from confrere.coordinator.book import Book
from journeys import browser
from journeys.browser import checked, expect, shot

pytestmark = browser.needed
PEOPLE = {
    "ada": {"name": "Ada Lovelace", "roles": ["confrere-dpo"], "amr": ["pwd", "mfa"]},
    "grace": {"name": "Grace Hopper", "roles": ["confrere-research"], "amr": ["mfa"]},
    "eve": {"name": "Eve", "roles": ["confrere-dpo"], "amr": ["pwd"]},
    "bob": {"name": "Bob", "roles": ["other"], "amr": ["mfa"]},
}


class Site(NamedTuple):
    """Pages that are served: where, over which sessions, and what was logged."""

    url: str
    store: Sessions
    log: list[Any]


@pytest.fixture(scope="module")
def login() -> Iterator[str]:
    with pages.provider(PEOPLE, "--require-nonce", "true") as url:
        yield url


@pytest.fixture
def site(tmp_path: Path, login: str) -> Iterator[Site]:
    """A hospital's console."""
    port, log = pages.free(), list[Any]()
    identity = pages.settings(address=f"http://127.0.0.1:{port}", issuer=login)
    app = pages.made(tmp_path, identity, log)
    with pages.served(app, identity, port):
        yield Site(identity.address, app.state.front.store, log)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A researcher's console on the own machine, with the page of tokens; its address, and what the terminal shows."""
    port, shown, identity = pages.free(), list[str](), IdentitySettings()
    menu = (Entry("API tokens", "/tokens", ("researcher",)),)
    book = Book(f"sqlite:///{tmp_path / 'state.db'}")
    app = application(
        Console("coordinator", "Réseau Ouest", menu), identity, Sessions(tmp_path / "s"), [tokens.router(book)],
        Link(shown.append, port),
    )  # fmt: skip
    with pages.served(app, identity, port):
        yield f"http://127.0.0.1:{port}", shown
    book.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Opens a page in a browser of its own; nothing may be written to its console, such as what the policy blocked."""
    with browser.visiting(chromium, lambda page: "/oauth2/" in page.url) as opened:

        def open_(**given: Any) -> Any:
            page = opened(**given)
            page.route("https://**", lambda route: route.abort())  # the provider's page looks for its style elsewhere
            return page

        yield open_


def sign_in(page: Any, site: Site, who: str, path: str = "/") -> None:
    """From a page of ours to the provider and back."""
    page.goto(site.url + path)
    page.get_by_role("link", name=re.compile("Continue to sign-in|Aller à la connexion")).click()
    page.fill("input[name=sub]", who)
    page.click("button:has-text('Authorize')")
    page.wait_for_url(site.url + "/**")


# Signing in ---------------------------------------------------------------------------------------------------


def test_a_steward_signs_in_where_they_wanted_to_go_and_out(site: Site, visit: Any) -> None:
    page = visit()
    sign_in(page, site, "ada", "/stewards")
    page.wait_for_url(site.url + "/stewards")
    expect(page.get_by_text("Ada Lovelace").first).to_be_visible()
    (cookie,) = [c for c in page.context.cookies() if c["name"] == "confrere"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"], cookie["path"]) == (True, "Lax", False, "/")
    assert cookie["expires"] == -1
    assert not [c for c in page.context.cookies() if c["name"] == "confrere-sign-in"]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert site.store.find(cookie["value"]) is None
    page.goto(site.url + "/stewards")
    assert "/sign-in?next=/stewards" in page.url
    assert [event for event, _ in site.log] == ["sign-in", "sign-out"]


def test_a_session_that_was_planted_is_not_the_one_that_signs_in(site: Site, visit: Any) -> None:
    page = visit()
    planted = site.store.begin(pages.GRACE).id
    for value in (planted, "chosen-by-somebody-else"):
        page.context.clear_cookies()
        page.context.add_cookies([{"name": "confrere", "value": value, "url": site.url}])
        page.goto(site.url + "/sign-in/start")
        page.fill("input[name=sub]", "ada")
        page.click("button:has-text('Authorize')")
        page.wait_for_url(site.url + "/")
        (cookie,) = [c["value"] for c in page.context.cookies() if c["name"] == "confrere"]
        assert cookie != value
        assert site.store.find(value) is None


@pytest.mark.parametrize(("who", "said"), [("eve", "without a second factor"), ("bob", "have no role")])
def test_who_may_not_come_in_is_told_why(site: Site, visit: Any, who: str, said: str) -> None:
    page = visit()
    sign_in(page, site, who)
    expect(page.get_by_text(said)).to_be_visible()
    assert not [c for c in page.context.cookies() if c["name"] == "confrere"]
    checked(page)


def test_who_says_no_at_the_provider_comes_back_with_nothing(site: Site, visit: Any) -> None:
    page = visit()
    page.goto(site.url + "/sign-in/start")
    page.click("button:has-text('Deny')")
    expect(page.get_by_role("heading", name="This did not work")).to_be_visible()


def test_a_sign_in_of_another_browser_is_not_taken(site: Site, visit: Any) -> None:
    """A forged sign-in: the attacker's answer of the provider in the victim's browser."""
    asked = httpx.get(site.url + "/sign-in/start").headers["location"]
    caught = httpx.post(asked, data={"sub": "ada"}).headers["location"]
    assert caught.startswith(site.url + "/sign-in/back?")
    victim = visit()
    victim.goto(caught)
    expect(victim.get_by_text("not begun in this browser")).to_be_visible()
    assert not [c for c in victim.context.cookies() if c["name"] == "confrere"]


def test_the_way_back_is_not_open_to_other_sites(site: Site, visit: Any) -> None:
    page = visit()
    sign_in(page, site, "ada", "/sign-in?next=https://evil.example/")
    page.wait_for_url(site.url + "/")


# What everybody meets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("width", [360, 1100])
def test_both_pages_are_for_everybody(site: Site, visit: Any, look: str, lang: str, width: int) -> None:
    """WCAG AA by axe, in both languages, light and dark, on a telephone."""
    page = visit(
        color_scheme=look, locale={"en": "en-GB", "fr": "fr-FR"}[lang], viewport={"width": width, "height": 700}
    )
    page.goto(site.url + "/")
    checked(page)
    shot(page, f"signin-{look}-{lang}-{width}")
    sign_in(page, site, "ada")
    assert page.locator("html").get_attribute("lang") == lang
    expect(page.get_by_role("heading", name={"en": "Overview", "fr": "Vue d’ensemble"}[lang]).first).to_be_visible()
    checked(page)
    shot(page, f"home-{look}-{lang}-{width}")


def test_language_and_look_are_kept(site: Site, visit: Any) -> None:
    page = visit()
    page.goto(site.url + "/sign-in?next=/stewards")
    page.get_by_role("link", name="Français").click()
    expect(page.get_by_role("heading", name="Connexion")).to_be_visible()
    page.wait_for_url(site.url + "/sign-in?next=/stewards")
    with page.expect_navigation():
        page.get_by_role("link", name="Sombre").click()
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert dark == "rgb(22, 21, 20)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == dark
    with page.expect_navigation():
        page.get_by_role("link", name="Comme le système").click()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != dark


def test_it_works_without_a_script_and_by_keyboard(site: Site, visit: Any) -> None:
    page = visit(java_script_enabled=False)
    sign_in(page, site, "ada")
    expect(page.get_by_role("link", name="Overview").first).to_be_visible()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_focus_is_seen(site: Site, visit: Any) -> None:
    page = visit()
    page.goto(site.url + "/sign-in")
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize(("look", "blue"), [("light", "rgb(0, 114, 178)"), ("dark", "rgb(86, 180, 233)")])
@pytest.mark.parametrize("width", [360, 1100])
def test_tables_and_pictures(site: Site, visit: Any, look: str, blue: str, width: int) -> None:
    page = visit(color_scheme=look, viewport={"width": width, "height": 700})
    sign_in(page, site, "ada", "/stewards")
    page.goto(site.url + "/numbers")
    page.locator("summary").first.click()
    page.locator("summary.button").click()
    checked(page)
    shot(page, f"numbers-{look}-{width}")
    assert page.evaluate("getComputedStyle(document.querySelector('svg [fill=\"#0072b2\"]')).fill") == blue
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").first.click()
    assert download.value.suggested_filename == "left.csv"


def test_htmx_sends_the_token_and_shows_what_is_wrong(site: Site, visit: Any) -> None:
    page = visit()
    sign_in(page, site, "ada", "/stewards")
    page.goto(site.url + "/numbers")
    page.get_by_role("button", name="Try").click()
    assert page.get_by_role("alert").inner_text() == "the study <b>breast</b> is not there; submit it first"
    (session,) = [c["value"] for c in page.context.cookies() if c["name"] == "confrere"]
    site.store.end(session)
    page.get_by_role("button", name="Try").click()
    page.wait_for_url(re.compile(r"/sign-in\?next=/numbers$"))


# Alone, and tokens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["light", "dark"])
def test_a_researcher_alone_makes_and_takes_back_a_token(alone: Any, visit: Any, look: str) -> None:
    url, shown = alone
    page = visit(color_scheme=look)
    page.goto(url)
    expect(page.get_by_text("The terminal in which these pages were started shows a link")).to_be_visible()
    checked(page)
    shot(page, f"alone-{look}")
    page.goto(re.search(r"http\S+", shown[-1])[0])  # type: ignore[index]
    page.get_by_role("link", name="API tokens").first.click()
    page.fill("#field-label", "<i>notebook</i>")
    page.fill("#field-days", "7")
    page.uncheck("input[value=read]")
    page.get_by_role("button", name="Make the token").click()
    assert page.get_by_role("alert").get_by_role("link").inner_text() == "Choose what the token may do."
    checked(page)
    shot(page, f"tokens-wrong-{look}")
    page.fill("#field-label", "<i>notebook</i>")
    page.check("input[value=read]")
    page.get_by_role("button", name="Make the token").click()
    token = page.locator("code.copy").inner_text()
    assert len(token) == 43
    checked(page)
    row = page.get_by_role("row", name="<i>notebook</i>")
    row.locator("summary").click()
    checked(page)
    shot(page, f"tokens-{look}")
    row.get_by_role("button", name="Take it back").click()
    expect(page.get_by_text("The token is taken back.")).to_be_visible()
    assert token not in page.content()
