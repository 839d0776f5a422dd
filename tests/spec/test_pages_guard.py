"""What every request to the pages passes: host, pace, sessions, forged forms, headers, roles, errors in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("fastapi.testclient")

from fastapi import APIRouter
from fastapi.testclient import TestClient

import serve_pages as pages
from confrere.console.pages import signin
from confrere.console.pages.frame import _home, application
from confrere.console.pages.guard import LARGEST, Pace, address, local, require, undeclared
from confrere.console.pages.laptop import Link, listening
from confrere.console.pages.sessions import FAILURES, Person, Session, Sessions
from confrere.console.pages.settings import IdentitySettings
from confrere.errors import StudyError

Opened = Callable[..., tuple[TestClient, Session]]
HERE = "http://127.0.0.1:8000"
STATIC = Path(str(files("confrere.console.pages").joinpath("static")))


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """A client that is signed in as a person, and its session."""

    def make(person: Person = pages.ADA, **given: Any) -> tuple[TestClient, Session]:
        app = pages.made(tmp_path, pages.settings(**given))
        client = TestClient(app, HERE, raise_server_exceptions=False, follow_redirects=False)
        session = app.state.front.store.begin(person)
        client.cookies.set(
            "__Host-confrere" if given.get("address", "").startswith("https") else "confrere", session.id
        )
        return client, session

    return make


# Roles --------------------------------------------------------------------------------------------------------


def test_a_route_is_for_its_roles_alone(opened: Opened) -> None:
    assert opened()[0].get("/stewards").status_code == 200
    client, session = opened(pages.GRACE)
    said = client.get("/stewards")
    assert said.status_code == 403
    assert "Your role does not open this page." in said.text
    assert client.post("/approve", data={"csrf": session.csrf, "note": "x"}).status_code == 403


def test_who_is_not_signed_in_is_led_to_sign_in_and_back(opened: Opened) -> None:
    client, _ = opened()
    client.cookies.clear()
    said = client.get("/stewards?csv=left")
    assert (said.status_code, said.headers["location"]) == (303, "/sign-in?next=/stewards%3Fcsv%3Dleft")
    assert client.get("/stewards", headers={"Accept": "application/json"}).status_code == 401
    part = client.get("/stewards", headers={"HX-Request": "true"})
    assert part.headers["hx-redirect"] == "/sign-in?next=/stewards"
    assert client.get("/open").status_code == 200


def test_a_route_without_a_role_is_refused(tmp_path: Path) -> None:
    silent, hidden = APIRouter(), APIRouter()
    silent.add_api_route("/silent", lambda: "x")
    hidden.include_router(pages.routes())
    store = Sessions(tmp_path / "s")
    for router in (silent, hidden):
        assert undeclared(router.routes)
        with pytest.raises(ValueError, match=r"declare neither require\(role\) nor PUBLIC"):
            application(pages.console(), pages.settings(), store, [router])
    for fine in (pages.routes(), signin.router, signin.inside, _home):
        assert not undeclared(fine.routes)


@pytest.mark.parametrize("roles", [(), ("stewart",), ("steward", "")])
def test_only_known_roles_can_be_required(roles: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="name roles of"):
        require(*roles)


# Forged forms -------------------------------------------------------------------------------------------------


def test_a_form_needs_the_token_of_its_session(opened: Opened) -> None:
    client, session = opened()
    assert client.post("/approve", data={"csrf": session.csrf, "note": "yes"}).json() == {"note": "yes"}
    sent = client.post("/approve", data={"note": "yes"}, headers={"X-CSRF-Token": session.csrf, "HX-Request": "true"})
    assert sent.status_code == 200
    other = client.app.state.front.store.begin(pages.ADA)  # type: ignore[attr-defined]
    for token in ("", "x", "é", other.csrf, session.csrf + "x"):
        said = client.post("/approve", data={"csrf": token, "note": "yes"})
        assert said.status_code == 419, token
        assert "This form is not of your session." in said.text
    assert client.post("/approve", data={"note": "yes"}).status_code == 419
    assert client.post("/approve", json={"csrf": session.csrf, "note": "yes"}).status_code == 419
    assert client.post("/approve", files={"csrf": ("a", session.csrf), "note": ("b", "yes")}).status_code == 419


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_no_unsafe_method_goes_without(opened: Opened, method: str) -> None:
    client, session = opened()
    router = APIRouter(dependencies=[require("steward")])
    router.add_api_route("/any", lambda: "done", methods=[method])
    client.app.include_router(router)  # type: ignore[attr-defined]
    assert client.request(method, "/any").status_code == 419
    assert client.request(method, "/any", headers={"X-CSRF-Token": session.csrf}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:8001"},
        {"Origin": "http://127.0.0.1:8000.evil.example"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
def test_a_form_of_another_site_is_refused_even_with_a_token(opened: Opened, headers: dict[str, str]) -> None:
    client, session = opened()
    said = client.post("/approve", data={"csrf": session.csrf, "note": "yes"}, headers=headers)
    assert said.status_code == 419
    assert "another site" in said.text
    fine = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/approve", data={"csrf": session.csrf, "note": "yes"}, headers=fine).status_code == 200


# Hosts and addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:8001", "127.0.0.1", "127.0.0.1:8000.evil.example", ""])
def test_another_host_is_not_answered(opened: Opened, host: str) -> None:
    client, _ = opened()
    said = client.get("/stewards", headers={"Host": host})
    assert said.status_code == 421
    assert "evil" not in said.text


def test_the_hosts_of_an_address() -> None:
    assert pages.settings(address="https://A.example").hosts == {"a.example", "a.example:443"}
    assert pages.settings(address="https://a.example:443").hosts == {"a.example", "a.example:443"}
    assert pages.settings(address="https://a.example:8443").hosts == {"a.example:8443"}


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "",
        "/a\r\nSet-Cookie: x=y", "/a\tb", "evil", "///evil.example", "/é", None, "/" + "a" * 1000, "/\x00",
    ],
)  # fmt: skip
def test_after_sign_in_one_stays_here(path: str | None) -> None:
    assert local(path) == "/"


@pytest.mark.parametrize("path", ["/", "/studies/a?csv=b&c=http://d", "/a#b", "/a//b"])
def test_pages_of_ours_are_gone_back_to(path: str) -> None:
    assert local(path) == path


def test_preferences_lead_nowhere_else_and_plant_nothing(opened: Opened) -> None:
    client, _ = opened()
    said = client.get("/preferences", params={"language": "fr", "next": "//evil.example"})
    assert (said.status_code, said.headers["location"]) == (303, "/")
    assert "samesite=lax" in said.headers["set-cookie"].lower()
    assert 'lang="fr"' in client.get("/").text
    for wrong in ({"language": "de"}, {"look": "pink"}, {"language": "fr\r\nX-Evil: 1"}, {"look": "dark; Domain=evil"}):
        assert "set-cookie" not in client.get("/preferences", params=wrong).headers
    client.get("/preferences", params={"look": "dark"})
    assert 'data-look="dark"' in client.get("/").text
    client.get("/preferences", params={"look": "auto"})
    assert 'data-look="auto"' in client.get("/").text


# Sessions -----------------------------------------------------------------------------------------------------


class Clock:
    now = 1.7e9

    def __call__(self) -> float:
        return self.now


def test_sessions_end_when_idle_and_in_any_case(tmp_path: Path) -> None:
    clock = Clock()
    store = Sessions(tmp_path / "s", 100.0, 1000.0, clock)
    idle, busy = store.begin(pages.ADA), store.begin(pages.ADA)
    for _ in range(11):
        clock.now += 90
        assert store.find(busy.id) == busy
    assert store.find(idle.id) is None
    clock.now += 11
    assert store.find(busy.id) is None


def test_a_session_is_of_one_id_that_the_file_does_not_tell(tmp_path: Path) -> None:
    store = Sessions(tmp_path / "s")
    one, two = store.begin(pages.ADA), store.begin(pages.GRACE)
    assert len({one.id, two.id, one.csrf, two.csrf}) == 4
    assert store.find(one.id) == one
    assert store.find(one.id[:-1]) is None
    assert store.find("' OR '1'='1") is store.find("") is store.find("\ud800") is None
    held = b"".join(f.read_bytes() for f in tmp_path.iterdir())
    assert one.id.encode() not in held
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    store.end(one.id)
    assert store.find(one.id) is None
    assert store.end_all("grace") == 1
    assert store.find(two.id) is None


def test_sentences_wait_for_the_next_page(opened: Opened) -> None:
    client, session = opened()
    client.post("/approve", data={"csrf": session.csrf, "note": "<script>alert(1)</script>"})
    assert "Ada Lovelace: &lt;script&gt;" in client.get("/").text
    assert "Ada Lovelace: " not in client.get("/").text


def test_sign_out_ends_the_session_for_good(opened: Opened) -> None:
    client, session = opened()
    assert client.get("/sign-out").status_code == 405
    assert client.post("/sign-out").status_code == 419
    said = client.post("/sign-out", data={"csrf": session.csrf})
    assert "You are signed out." in said.text
    client.cookies.set("confrere", session.id)
    assert client.get("/stewards").status_code == 303


def test_a_cookie_that_comes_twice_is_nobodys(opened: Opened) -> None:
    client, session = opened()
    client.cookies.clear()
    one = {"Cookie": f"confrere={session.id}"}
    assert client.get("/stewards", headers=one).status_code == 200
    assert client.get("/stewards", headers={"Cookie": f"confrere=x; confrere={session.id}"}).status_code == 303


def test_a_sign_in_comes_back_once_to_its_browser_in_time(tmp_path: Path) -> None:
    from confrere.console.pages.sessions import Signin

    clock = Clock()
    store = Sessions(tmp_path / "s", clock=clock)
    begun = Signin("state", "nonce", "verifier", "/after")
    store.leave(begun, "browser")
    assert store.back("state", "another") is None
    assert store.back("other", "browser") is None
    assert store.back("state", "browser") == begun
    assert store.back("state", "browser") is None
    store.leave(begun, "browser")
    clock.now += 601
    assert store.back("state", "browser") is None


# Lockout and pace ---------------------------------------------------------------------------------------------


def test_failures_lock_an_address_out_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    store = Sessions(tmp_path / "s", clock=clock)
    assert [store.failed("a") for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    assert store.locked("a") == 901
    assert store.locked("b") == 0
    clock.now += 901
    assert store.locked("a") == 0
    store.failed("a")
    store.forgive("a")
    assert not [store.failed("a") for _ in range(FAILURES - 1)].count(True)


def test_lockout_shows_and_is_logged(tmp_path: Path) -> None:
    events: list[Any] = []
    client = TestClient(pages.made(tmp_path, pages.settings(), events), HERE, follow_redirects=False)
    for _ in range(FAILURES):
        said = client.get("/sign-in/back?state=x&code=y")
        assert said.status_code == 400
        assert "not begun in this browser" in said.text
    locked = client.get("/sign-in/back?state=x&code=y")
    assert locked.status_code == 429
    assert "Try again in 16 min." in locked.text or "Try again in 15 min." in locked.text
    assert 0 < int(locked.headers["retry-after"]) <= 901
    assert client.get("/sign-in/start").status_code == 429
    assert [e for e, _ in events].count("locked out") == 1
    assert events[0][0] == "sign-in refused"


def test_too_many_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 60.0)
    pace = Pace(3)
    assert [pace.over("a") for _ in range(4)] == [False, False, False, True]
    assert not pace.over("b")
    monkeypatch.setattr("time.monotonic", lambda: 120.0)
    assert not pace.over("a")


def test_the_guard_counts_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "over", lambda self, who: who == "testclient")
    said = TestClient(pages.made(tmp_path, pages.settings()), HERE).get("/open")
    assert (said.status_code, said.headers["retry-after"]) == (429, "60")
    assert "Too many requests" in said.text


def test_who_is_signed_in_is_counted_apart_from_their_address(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "over", lambda self, who: who == "testclient")
    client, _ = opened()
    assert client.get("/stewards").status_code == 200
    client.cookies.set("confrere", "made-up")
    assert client.get("/stewards").status_code == 429
    assert client.get("/static/pages.css").status_code == 200


def test_an_address_is_a_subscriber() -> None:
    assert address({"client": ("203.0.113.7", 1)}) == "203.0.113.7"
    assert address({"client": ("2001:db8:1:2:3::4", 1)}) == "2001:db8:1:2::/64"
    assert address({"client": ("testclient", 1)}) == "testclient"
    assert address({}) == ""


def test_a_body_has_a_bound(opened: Opened) -> None:
    client, session = opened()
    head = {"X-CSRF-Token": session.csrf, "Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/approve", content=b"note=" + b"x" * LARGEST, headers=head).status_code == 413
    pieces = (b"note=" + b"x" * 100_000 for _ in range(25))  # no length is said beforehand
    assert client.post("/approve", content=pieces, headers=head).status_code == 413


# Headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nowhere", "/sign-in", "/open", "/static/pages.css", "/stewards?csv=left"])
def test_security_headers_are_on_every_answer(opened: Opened, path: str) -> None:
    client, _ = opened()
    sealed(client.get(path).headers, path)


def sealed(headers: Any, path: str = "/") -> None:
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("public, max-age=3600" if path.startswith("/static/") else "no-store")
    assert "strict-transport-security" not in headers


def test_over_https_cookies_are_bound_to_it(opened: Opened) -> None:
    client, session = opened(address="https://pages.example")
    client.base_url = "https://pages.example"  # type: ignore[assignment]
    said = client.post("/sign-out", data={"csrf": session.csrf})
    assert said.headers["strict-transport-security"] == "max-age=31536000"
    cookie = said.headers["set-cookie"]
    assert cookie.startswith("__Host-confrere=")
    assert {"secure", "httponly", "path=/", "samesite=lax"} <= set(cookie.lower().split("; "))
    assert "domain" not in cookie.lower()


# Errors in words ----------------------------------------------------------------------------------------------


def test_a_fault_of_ours_shows_a_number_and_no_trace(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    client, session = opened()
    said = client.post("/approve", data={"csrf": session.csrf, "note": "break"})
    assert said.status_code == 500
    found = re.search(r"number ([0-9a-f]{8});", said.text)
    assert found is not None
    assert "4711" not in said.text
    assert "Traceback" not in said.text
    assert found[1] in caplog.text
    sealed(said.headers)


def test_errors_are_said_in_words(opened: Opened) -> None:
    client, session = opened()
    assert "There is no such page." in client.get("/nowhere").text
    wrong = client.post("/approve", data={"csrf": session.csrf, "note": "wrong"})
    assert (wrong.status_code, "&lt;b&gt;breast&lt;/b&gt;" in wrong.text) == (422, True)
    unfilled = client.post("/approve", data={"csrf": session.csrf})
    assert (unfilled.status_code, "not filled as it must be: note." in unfilled.text) == (422, True)
    french = client.get("/nowhere", headers={"Accept-Language": "fr"})
    assert "Page introuvable" in french.text
    part = client.post("/approve", data={"note": "wrong"}, headers={"X-CSRF-Token": session.csrf, "HX-Request": "true"})
    assert (part.headers["hx-retarget"], "<html" in part.text) == ("#said", False)
    plain = client.get("/nowhere", headers={"Accept": "application/json"}).json()
    assert (plain["error"], plain["message"][:22]) == ("Not found", "There is no such page.")


@pytest.mark.parametrize(
    "path", ["/static/../frame.py", "/static/%2e%2e/frame.py", "/static/..%2fframe.py", "/static/"]
)
def test_static_files_are_those_of_the_folder(opened: Opened, path: str) -> None:
    client, _ = opened()
    assert client.get(f"/static/{path}").status_code == 404


# Tables and pictures ------------------------------------------------------------------------------------------


def test_a_table_is_escaped_and_downloaded(opened: Opened) -> None:
    client, _ = opened()
    shown = client.get("/numbers").text
    assert '<caption id="caption-left">What left</caption>' in shown
    assert '<th scope="col" class="number">Bytes</th>' in shown
    assert "<th scope=row>May &lt;b&gt;</th>" in shown
    assert "1.23\u00a0kB" in shown
    assert "There is nothing here yet." in shown
    assert "1,23\u00a0ko" in client.get("/numbers", headers={"Accept-Language": "fr"}).text
    got = client.get("/numbers?csv=left")
    assert got.headers["content-type"].startswith("text/csv")
    assert got.headers["content-disposition"] == 'attachment; filename="left.csv"'
    assert got.text == "month,bytes,at\r\n'=1+1,1234,1700000000.0\r\nMay <b>,,\r\n"  # no formula for a spreadsheet
    assert "<h1>Numbers" in client.get("/numbers?csv=other").text


def test_a_picture_says_what_it_shows_and_takes_the_colours_of_the_page(opened: Opened) -> None:
    shown = opened()[0].get("/numbers").text
    assert '<title id="months-title">Sent per month</title>' in shown
    assert "Two bars; that of June is the taller." in shown
    assert 'fill="#0072b2"' in shown
    css = (STATIC / "pages.css").read_text(encoding="utf-8")
    report = files("confrere.report").joinpath("report.css").read_text(encoding="utf-8")
    rules = [line for line in report.splitlines() if line.startswith("svg [fill=")]
    assert rules
    assert all(rule in css for rule in rules)


def test_htmx_is_the_one_that_its_licence_names() -> None:
    version = re.match(r"htmx (\S+),", (STATIC / "htmx.LICENSE.txt").read_text(encoding="utf-8"))
    assert version is not None
    assert f'version:"{version[1]}"' in (STATIC / "htmx.min.js").read_text(encoding="utf-8")


# Alone --------------------------------------------------------------------------------------------------------


def test_alone_a_link_signs_in_once(tmp_path: Path) -> None:
    link, shown = pages.links()
    app = application(pages.console(), IdentitySettings(), Sessions(tmp_path / "s"), [pages.routes()], link)
    client = TestClient(app, HERE, client=("127.0.0.1", 5), follow_redirects=False)
    planted = app.state.front.store.begin(pages.GRACE)
    client.cookies.set("confrere", planted.id)
    path = shown[0].split("8000")[1].split()[0]
    assert client.get(path[:-1]).status_code == 400
    said = client.get(path)
    assert (said.status_code, said.headers["location"]) == (303, "/")
    assert planted.id not in said.headers["set-cookie"]
    assert app.state.front.store.find(planted.id) is None  # what the browser held before is over
    client.cookies.delete("confrere", domain="")
    assert client.get("/stewards").status_code == 200
    assert client.get(path).status_code == 400
    assert len(shown) == 2
    assert client.get("/sign-in/start").headers["location"] == "/sign-in"
    assert client.get("/sign-in/back?state=x").status_code == 400


@pytest.mark.parametrize("client", ["203.0.113.7", "testclient"])
def test_alone_only_this_machine_is_answered(tmp_path: Path, client: str) -> None:
    app = application(pages.console(), IdentitySettings(), Sessions(tmp_path / "s"), [], pages.links()[0])
    assert TestClient(app, HERE, client=(client, 5)).get("/sign-in").status_code == 403
    for fine in ("http://localhost:1", "http://127.0.0.1", "http://[::1]:8000"):
        assert TestClient(app, fine, client=("::1", 5)).get("/sign-in").status_code == 200
    rebound = TestClient(app, HERE, client=("127.0.0.1", 5)).get("/sign-in", headers={"Host": "evil.example:8000"})
    assert rebound.status_code == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "203.0.113.7", "pages.example", ""])
def test_alone_the_pages_listen_on_this_machine_only(host: str) -> None:
    with pytest.raises(StudyError, match=re.escape(f"would listen on {host}")):
        listening(None, IdentitySettings(), host, 8000)
    assert listening(None, IdentitySettings(), "127.0.0.1", 8000).host == "127.0.0.1"
    assert listening(None, pages.settings(), host, 8000).host == host


def test_a_link_is_for_who_works_alone(tmp_path: Path) -> None:
    store = Sessions(tmp_path / "s")
    for identity, link in ((IdentitySettings(), None), (pages.settings(), Link(str, 1))):
        with pytest.raises(ValueError, match="a link is for one person"):
            application(pages.console(), identity, store, [], link)
