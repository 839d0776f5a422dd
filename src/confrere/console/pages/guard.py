"""What every request passes, and who may have a page.

`Guard` stands before the pages: the Host header is ours (no rebinding of names), from loopback alone when one person
works alone, no body over LARGEST bytes, no faster than a person clicks, no form that another site sent; it finds the
session and puts the security headers on every answer. Then `checked` asks every unsafe request for its session's token
(field `csrf`, or header `X-CSRF-Token` as htmx sends it). Last, `require(role, ...)` of a route lets people of these
roles in. A route that declares neither a role nor `PUBLIC` is refused when the application is made.
"""

import ipaddress
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from confrere.console.pages.languages import N_
from confrere.console.pages.sessions import Person, Session, Sessions
from confrere.console.pages.settings import LOOPBACK, IdentitySettings
from confrere.study.life import ROLES

LARGEST = 2_000_000  # bytes of a body; a study file has far less
PACE = 600  # requests of one session, or of one address without, in a minute
SAFE = {"GET", "HEAD", "OPTIONS"}
FORGED = 419  # a form without its session's token; not registered, but what frameworks answer
SIGN_IN = N_("Sign in first.")
NOT_YOURS = N_("Your role does not open this page.")
STALE = N_("This form is not of your session. Go back, load the page anew, and send it again.")
FOREIGN = N_("This form came from another site, so that nothing was done.")
TOO_FAST = N_("Too many requests. Wait a minute.")
TOO_LARGE = N_("This is more than a page may send.")
OTHER_HOST = N_("These pages do not answer under this name. Use the address that your IT gave you.")
ELSEWHERE = N_("One person works here alone, so that these pages answer this machine only.")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers would hide their own origin from our own forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


# Who may have a page ------------------------------------------------------------------------------------------


class Require:
    """The person of the session, if one of `roles` is theirs. HTTPException 401 without a session, 403 without role."""

    def __init__(self, *roles: str) -> None:
        self.roles = roles

    def __call__(self, request: Request) -> Person:
        """Let the person of a request in."""
        session: Session | None = request.state.session
        if session is None:
            raise HTTPException(401, SIGN_IN)
        if not set(self.roles) & set(session.person.roles):
            raise HTTPException(403, NOT_YOURS)
        return session.person


def require(*roles: str) -> Any:
    """A route's dependency: `person: Annotated[Person, require("steward")]`. ValueError for a role that is none."""
    if not roles or set(roles) - set(ROLES):
        raise ValueError(f"require{roles}: name roles of {', '.join(ROLES)}")
    return Depends(Require(*roles))


def anybody() -> None:
    """Nothing is asked of who visits a route of `PUBLIC`."""


PUBLIC = Depends(anybody)


def undeclared(routes: list[BaseRoute]) -> list[str]:
    """Routes that declare neither a role nor PUBLIC, or of which that cannot be seen."""
    return [getattr(r, "path", repr(r)) for r in routes if not (isinstance(r, APIRoute) and _declares(r.dependant))]


def _declares(dependant: Any) -> bool:
    return any(isinstance(d.call, Require) or d.call is anybody or _declares(d) for d in dependant.dependencies)


# Forged forms -------------------------------------------------------------------------------------------------


async def checked(request: Request) -> None:
    """Refuse an unsafe request without its session's token. HTTPException 401, 419."""
    if request.method in SAFE:
        return
    session: Session | None = request.state.session
    if session is None:
        raise HTTPException(401, SIGN_IN)
    given: Any = request.headers.get("x-csrf-token")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given is None and kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        given = (await request.form()).get("csrf")
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(), session.csrf.encode()):
        raise HTTPException(FORGED, STALE)


def local(path: str | None) -> str:
    """Where to go next, if it is a page of ours; else the first page. Whatever leads to another site is not."""
    if not path or len(path) > 1000 or not path.startswith("/") or path.startswith("//"):
        return "/"
    if "\\" in path or not path.isprintable() or not path.isascii():
        return "/"
    parts = urlsplit(path)
    return path if not parts.scheme and not parts.netloc else "/"


# Every request ------------------------------------------------------------------------------------------------


class Pace:
    """Counts of requests by who sends them, in the minute that runs."""

    def __init__(self, most: int) -> None:
        self._most, self._minute, self._counts = most, 0, dict[str, int]()
        self._lock = threading.Lock()

    def over(self, who: str) -> bool:
        """Count one request; whether it is one too many."""
        minute = int(time.monotonic() // 60)
        with self._lock:
            if minute != self._minute:
                self._minute, self._counts = minute, {}
            self._counts[who] = self._counts.get(who, 0) + 1
            return self._counts[who] > self._most


class Guard:
    """Stands before the pages (ASGI). `failed(scope, status, sentence)` makes the page that says why not."""

    def __init__(
        self, app: ASGIApp, settings: IdentitySettings, store: Sessions,
        failed: Callable[[Scope, int, str], ASGIApp], pace: int = PACE,
    ) -> None:  # fmt: skip
        self._app, self._settings, self._store, self._failed = app, settings, store, failed
        self._pace = Pace(pace)
        self.cookie = cookie("confrere", settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no web sockets here
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["session"] = None
        answer = self._app
        if why := self._refused(scope, headers):
            answer = self._failed(scope, *why)
        elif not scope["path"].startswith("/static/"):
            if id := _cookies(headers).get(self.cookie):
                scope["state"]["session"] = await run_in_threadpool(self._store.find, id)
            session = scope["state"]["session"]  # many people of one hospital may share an address
            if self._pace.over(session.id if session else address(scope)):
                answer = self._failed(scope, 429, TOO_FAST)
        await answer(scope, _bounded(receive), self._sealed(scope, send))

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        named = _name(host) if self._settings.alone else host
        if len(headers.getlist("host")) != 1 or named not in self._settings.hosts:
            return 421, OTHER_HOST
        if self._settings.alone and not all(_is_loopback(scope.get(end)) for end in ("client", "server")):
            return 403, ELSEWHERE
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST:
            return 413, TOO_LARGE
        if scope["method"] not in SAFE and _foreign(headers, host):
            return FORGED, FOREIGN
        return None

    def _sealed(self, scope: Scope, send: Send) -> Send:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seal(MutableHeaders(scope=message), self._settings, scope["path"])
            await send(message)

        return sealed


def seal(headers: MutableHeaders, settings: IdentitySettings, path: str) -> None:
    """Put the security headers on an answer; nothing but what is static may be kept by a cache.

    A content policy that a route has set itself, as that of reports does, stays.
    """
    own = headers.get("content-security-policy")
    headers.update(_HEADERS)
    headers["Content-Security-Policy"] = own or _POLICY
    if settings.https:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    headers["Cache-Control"] = "public, max-age=3600" if path.startswith("/static/") else "no-store"


def cookie(name: str, settings: IdentitySettings) -> str:
    """The name of a cookie; over https bound by the browser to this very host."""
    return f"__Host-{name}" if settings.https else name


def address(scope: Scope) -> str:
    """Whose request it is, for pace and lockout; of IPv6 the network that one subscriber has."""
    host = (scope.get("client") or ("",))[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else str(found)


def _foreign(headers: Headers, host: str) -> bool:
    """Whether the browser says that another site sent this request; old browsers say nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host


def _name(host: str) -> str:
    """A Host header without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(end: Any) -> bool:
    try:
        return bool(end) and (end[0] in LOOPBACK or ipaddress.ip_address(end[0]).is_loopback)
    except ValueError:
        return False


def _cookies(headers: Headers) -> dict[str, str]:
    """The cookies of a request; a name that comes twice is of nobody, since one of them was planted."""
    found: dict[str, str] = {}
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        found[name] = "" if name in found else value
    return found


def _bounded(receive: Receive) -> Receive:
    """`receive`, until the body is over its bound. HTTPException 413."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LARGEST:
            raise HTTPException(413, TOO_LARGE)
        return message

    return bounded
