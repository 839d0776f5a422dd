"""Signing in and out, and the language and look of the pages."""

import secrets
from collections.abc import Callable
from typing import NoReturn

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from confrere.console.pages.frame import Front, front_of, page, tongue_of
from confrere.console.pages.guard import PUBLIC, address, cookie, local, require
from confrere.console.pages.identity import CALLBACK
from confrere.console.pages.languages import COOKIE, LANGUAGES, N_
from confrere.console.pages.laptop import LINK
from confrere.console.pages.sessions import Person
from confrere.errors import ConfrereError, ProtocolError, Refused, Waiting
from confrere.study.life import ROLES

LOCKED = N_("Too many sign-ins failed at your address. Try again in {minutes} min.")
NOT_BEGUN = N_("This sign-in was not begun in this browser, or too long ago. Sign in again.")
USED = N_("This link was used already, or is not the latest. The terminal shows the one that works.")
OUT = N_("You are signed out.")
LOOK, LOOKS = "confrere-look", ("light", "dark")
_YEAR = 365 * 24 * 3600

router = APIRouter(dependencies=[PUBLIC])
inside = APIRouter(dependencies=[require(*ROLES)])


@router.get("/sign-in")
def sign_in(request: Request, next: str = "/") -> Response:
    """The page that leads to the provider, or says where the link is."""
    if request.state.session:
        return RedirectResponse(local(next), 303)
    return page(request, "signin.html", after=local(next), out=False)


@router.get("/sign-in/start")
def start(request: Request, next: str = "/") -> Response:
    """Send the browser to the provider."""
    front = front_of(request)
    _unlocked(request, front)
    if front.provider is None:
        return RedirectResponse("/sign-in", 303)
    try:
        where, begun = front.provider.leave(local(next))
    except ConfrereError as error:
        return _failed(request, error)
    browser = secrets.token_urlsafe(32)
    front.store.leave(begun, browser)
    answer = RedirectResponse(where, 303)
    _keep(answer, front, "confrere-sign-in", browser)
    return answer


@router.get(CALLBACK)
def back(request: Request, state: str = "") -> Response:
    """The person comes back from the provider."""
    front = front_of(request)
    _unlocked(request, front)
    browser = request.cookies.get(cookie("confrere-sign-in", front.identity), "")
    begun = front.store.back(state, browser) if state and browser and front.provider else None
    try:
        if begun is None or front.provider is None:
            raise ProtocolError(NOT_BEGUN)
        person = front.provider.back(request.query_params, begun)
    except ConfrereError as error:
        return _failed(request, error)
    return _signed_in(request, person, begun.after)


@router.get(LINK)
def link(request: Request, token: str = "") -> Response:
    """Sign in by the link of the terminal."""
    front = front_of(request)
    _unlocked(request, front)
    if front.link is None:
        return RedirectResponse("/sign-in", 303)
    if not front.link.take(token):
        return _failed(request, ProtocolError(USED))
    return _signed_in(request, front.console.alone, "/")


@router.get("/preferences")
def preferences(request: Request, language: str = "", look: str = "", next: str = "/") -> Response:
    """Keep the language or the look (light, dark, or "auto" as the system has it) in a cookie; go back to the page."""
    front, answer = front_of(request), RedirectResponse(local(next), 303)
    if language in LANGUAGES:
        _keep(answer, front, COOKIE, language, _YEAR)
    if look in LOOKS:
        _keep(answer, front, LOOK, look, _YEAR)
    elif look == "auto":
        _drop(answer, front, LOOK)
    return answer


@inside.post("/sign-out")
def sign_out(request: Request) -> Response:
    """End the session; the provider's own is ended on its page."""
    front, session = front_of(request), request.state.session
    front.store.end(session.id)
    front.console.log("sign-out", {"person": session.person.id})
    request.state.session = None
    try:
        elsewhere = front.provider.sign_out() if front.provider else ""
    except ConfrereError:  # the provider's page is a courtesy; the session here is over
        elsewhere = ""
    answer = page(request, "signin.html", after="/", out=True, elsewhere=elsewhere)
    _drop(answer, front, "confrere")
    return answer


def _signed_in(request: Request, person: Person, after: str) -> Response:
    """A new session with a new id, whatever the browser held before."""
    front = front_of(request)
    if request.state.session:
        front.store.end(request.state.session.id)
    session = front.store.begin(person)
    front.store.forgive(address(request.scope))
    front.console.log("sign-in", {"person": person.id, "roles": ", ".join(person.roles)})
    answer = RedirectResponse(local(after), 303)
    _keep(answer, front, "confrere", session.id)
    _drop(answer, front, "confrere-sign-in")
    return answer


def _failed(request: Request, error: ConfrereError) -> Response:
    """The page that says why; every failure but a silent provider counts towards lockout."""
    front, who = front_of(request), address(request.scope)
    if not isinstance(error, Waiting):
        front.console.log("sign-in refused", {"address": who, "why": str(error)})
        if front.store.failed(who):
            front.console.log("locked out", {"address": who})
    status = 503 if isinstance(error, Waiting) else 403 if isinstance(error, Refused) else 400
    return page(request, "error.html", status, sentence=tongue_of(request)(str(error)), again=True)


def _unlocked(request: Request, front: Front) -> None:
    if seconds := front.store.locked(address(request.scope)):
        _locked_out(tongue_of(request), seconds)


def _locked_out(say: Callable[..., str], seconds: int) -> NoReturn:
    raise HTTPException(429, say(LOCKED, minutes=-(-seconds // 60)), {"Retry-After": str(seconds)})


def _keep(answer: Response, front: Front, name: str, value: str, seconds: int | None = None) -> None:
    answer.set_cookie(
        cookie(name, front.identity), value, max_age=seconds, path="/", secure=front.identity.https, httponly=True,
        samesite="lax",
    )  # fmt: skip


def _drop(answer: Response, front: Front, name: str) -> None:
    answer.delete_cookie(
        cookie(name, front.identity), path="/", secure=front.identity.https, httponly=True, samesite="lax"
    )
