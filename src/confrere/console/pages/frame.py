"""The frame of all pages: one application of both consoles, and `page`, which makes one page.

    app = application(Console("hospital", "curie", menu, log), identity, Sessions(path), [router, ...])

Each router's routes declare who may have them, `require("steward")` or `PUBLIC`; a route that does not is refused.
A handler returns `page(request, "NAME.html", ...)`, where the template extends `layout.html` and has the macros of
`macros.html`: `table`, `plot`, `field`, `problems`, `confirm`. In templates stand `_` and `plural` (languages),
`numbers`, `person`, `csrf`; a form with method post holds `{{ ui.seal() }}`.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp, Scope

from confrere.console.pages.guard import Guard, checked, cookie, local, require, seal, undeclared
from confrere.console.pages.identity import Provider
from confrere.console.pages.languages import COOKIE, LANGUAGES, N_, NAMES, Tongue, chosen
from confrere.console.pages.laptop import Link
from confrere.console.pages.sessions import Person, Sessions
from confrere.console.pages.settings import IdentitySettings
from confrere.console.pages.tables import cell
from confrere.errors import ConfrereError, UserError, Waiting
from confrere.report.numerals import Language
from confrere.study.life import ROLES

_LOG = logging.getLogger(__name__)
_ROLE_NAMES = {
    "steward": N_("steward"), "second reader": N_("second reader"), "clinician": N_("clinician"),
    "researcher": N_("researcher"), "operator": N_("operator"),
}  # fmt: skip
_HEADS = {
    400: N_("This did not work"), 401: N_("Sign in"), 403: N_("Not for you"), 404: N_("Not found"),
    405: N_("Not found"), 413: N_("Too large"), 419: N_("Send the form again"), 421: N_("Another address"),
    422: N_("Something is to be mended"), 429: N_("A little slower"), 500: N_("Something went wrong"),
    503: N_("Try again in a moment"),
}  # fmt: skip
_MISSING = N_("There is no such page. It may have been moved, or the address is not complete.")
_BROKEN = N_("The fault is on our side. It is noted under the number {number}; tell your IT this number.")
_NOT_FILLED = N_("The form is not filled as it must be: {fields}.")


class Entry(NamedTuple):
    """An entry of the menu: its label and sentence (texts of the catalogue), its path, and whose it is."""

    label: str
    path: str
    roles: tuple[str, ...]
    about: str = ""


def _logged(event: str, facts: dict[str, str]) -> None:
    _LOG.info("%s %s", event, facts)


@dataclass(frozen=True)
class Console:
    """Which console it is, of whom, what its menu leads to, and where events are written (`home.ledger`).

    Events: sign-in, sign-out, sign-in refused, locked out. `owner` is the id of the one person who works alone.
    """

    kind: Literal["hospital", "coordinator"]
    place: str
    menu: tuple[Entry, ...] = ()
    log: Callable[[str, dict[str, str]], Any] = _logged
    owner: str = "alone"

    @property
    def name(self) -> str:
        """What the console is called; a text of the catalogue."""
        return N_("Hospital console") if self.kind == "hospital" else N_("Research console")

    @property
    def alone(self) -> Person:
        """The one person who works alone: every role of the console but that of a second reader of the own work."""
        roles = ("steward", "clinician") if self.kind == "hospital" else ("researcher",)
        return Person(self.owner, self.owner, (*roles, "operator"))


@dataclass(frozen=True)
class Front:
    """What every page can reach: `request.app.state.front`."""

    console: Console
    identity: IdentitySettings
    store: Sessions
    provider: Provider | None
    link: Link | None


def front_of(request: Request) -> Front:
    """The front of a request."""
    front: Front = request.app.state.front
    return front


def application(
    console: Console,
    identity: IdentitySettings,
    store: Sessions,
    routers: Sequence[APIRouter] = (),
    link: Link | None = None,
) -> FastAPI:
    """The application. A route of the given routers comes before one of the same path here, such as the home page.

    `link` is needed where one person works alone. ValueError where a route does not declare who may have it.
    """
    from confrere.console.pages import signin

    if identity.alone != (link is not None):
        raise ValueError("a link is for one person who works alone, without [identity]; and needed then")
    own = (*routers, signin.router, signin.inside, _home)
    if open_ := [path for router in own for path in undeclared(router.routes)]:
        raise ValueError(f"routes that declare neither require(role) nor PUBLIC: {', '.join(open_)}")
    app = FastAPI(
        title=f"Confrere, {console.name}", docs_url=None, redoc_url=None, openapi_url=None,
        dependencies=[Depends(checked)], redirect_slashes=False,
    )  # fmt: skip
    app.state.front = Front(console, identity, store, None if identity.alone else Provider(identity), link)
    for router in own:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=_static()), name="static")
    app.add_middleware(Guard, settings=identity, store=store, failed=_turned_away)
    app.add_exception_handler(AnyHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unfilled)
    app.add_exception_handler(ConfrereError, _ours)
    app.add_exception_handler(Exception, _unforeseen)
    return app


_home = APIRouter()


@_home.get("/", dependencies=[require(*ROLES)])
def home(request: Request) -> Response:
    """The first page: what this person can do here."""
    return page(request, "home.html")


# One page -----------------------------------------------------------------------------------------------------


def tongue_of(request: Request) -> Tongue:
    """The language of a request: `_ = tongue_of(request)`, then `_("text")`."""
    kept = request.cookies.get(cookie(COOKIE, front_of(request).identity), "")
    return Tongue(chosen(kept, request.headers.get("accept-language", "")))


def page(request: Request, template: str | Template, status: int = 200, **values: Any) -> HTMLResponse:
    """A page for the person of the session, in their language: a template, or the one of this name, with `values`."""
    front, session, tongue = front_of(request), request.state.session, tongue_of(request)
    person = session.person if session else None
    mine = set(person.roles) if person else set()
    look = request.cookies.get(cookie("confrere-look", front.identity), "")
    text = environment(tongue.lang).get_template(template).render(
        console=front.console,
        alone=front.identity.alone,
        person=person,
        csrf=session.csrf if session else "",
        said=front.store.heard(session.id) if session and "hx-request" not in request.headers else [],
        menu=[entry for entry in front.console.menu if mine & set(entry.roles)],
        here=_here(request),
        path=request.url.path,
        look=look if look in ("light", "dark") else "auto",
        **values,
    )  # fmt: skip
    return HTMLResponse(text, status)


def say(request: Request, sentence: str) -> None:
    """Leave a sentence (already translated) for the page that comes next, after a form was carried out."""
    if session := request.state.session:
        front_of(request).store.say(session.id, sentence)


@cache
def environment(lang: Language) -> Environment:
    """The templates in one language; whatever they print is escaped unless made as markup."""
    made = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, extensions=["jinja2.ext.do"],
    )  # fmt: skip
    tongue = Tongue(lang)
    made.globals.update(
        _=tongue, plural=tongue.plural, lang=lang, numbers=tongue.numbers, date=tongue.date, time=tongue.time,
        cell=partial(cell, tongue=tongue), languages=[(code, NAMES[code]) for code in LANGUAGES],
        role_names=_ROLE_NAMES,
        preference=lambda here, **given: f"/preferences?{urlencode({**given, 'next': here})}",
    )  # fmt: skip
    return made


@cache
def _static() -> Path:
    with as_file(files(__package__).joinpath("static")) as folder:
        return folder


def _here(request: Request) -> str:
    """Where a change of language leads back to: this page, if reading it again is harmless."""
    if shown := request.headers.get("hx-current-url"):  # the page around the part that htmx asks for
        parts = urlsplit(shown)
        return local(parts.path + (f"?{parts.query}" if parts.query else ""))
    if request.method != "GET":
        return "/"
    query = f"?{request.url.query}" if request.url.query else ""
    return local(request.url.path + query) if not request.url.path.startswith("/sign-in/") else "/sign-in"


# Errors in words ----------------------------------------------------------------------------------------------


def _turned_away(scope: Scope, status: int, sentence: str) -> ASGIApp:
    """The guard's answer."""
    request = Request(scope)
    return _said(request, status, tongue_of(request)(sentence), {"Retry-After": "60"} if status == 429 else {})


def _said(request: Request, status: int, sentence: str, headers: Any = None) -> Response:
    """An error in words: a page, a part of one for htmx, or JSON for who asks for that."""
    head = tongue_of(request)(_HEADS.get(status, _HEADS[400]))
    if request.headers.get("accept", "").startswith("application/json"):
        return JSONResponse({"error": head, "message": sentence}, status, headers)
    if "hx-request" in request.headers:
        answer: Response = page(request, "fault.html", status, sentence=sentence)
        answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#said", "innerHTML"
    else:
        answer = page(request, "error.html", status, sentence=sentence, head=head, again=False)
    answer.headers.update(headers or {})
    return answer


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, AnyHTTPException) else 500
    detail = str(error.detail) if isinstance(error, AnyHTTPException) else ""
    if status == 401 and not request.headers.get("accept", "").startswith("application/json"):
        where = f"/sign-in?next={quote(_here(request), safe='/')}"
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={"HX-Redirect": where})
        return RedirectResponse(where, 303)
    usual = status in set(HTTPStatus) and detail == HTTPStatus(status).phrase
    sentence = _MISSING if usual and status in (404, 405) else detail
    return _said(request, status, tongue_of(request)(sentence), getattr(error, "headers", None))


async def _unfilled(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = ", ".join(sorted({str(e["loc"][-1])[:100] for e in found}))
    return _said(request, 422, tongue_of(request)(_NOT_FILLED, fields=fields))


async def _ours(request: Request, error: Exception) -> Response:
    status = 422 if isinstance(error, UserError) else 503 if isinstance(error, Waiting) else 403
    return _said(request, status, tongue_of(request)(str(error)))


async def _unforeseen(request: Request, error: Exception) -> Response:
    """No trace in the page: a number, under which the log has it. This answer passes no guard on its way out."""
    number = secrets.token_hex(4)
    _LOG.error("error %s: %s %s: %s", number, request.method, request.url.path, type(error).__name__)
    answer = _said(request, 500, tongue_of(request)(_BROKEN, number=number))
    seal(answer.headers, front_of(request).identity, request.url.path)
    return answer
