"""A researcher's API tokens, for notebooks and the command line: made, listed and taken back by their owner."""

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.languages import N_
from confrere.console.pages.sessions import Person
from confrere.coordinator.book import DAYS, SCOPES, Token

_NAMES = {"read": N_("read runs and findings"), "submit": N_("submit and cancel studies")}
_UNNAMED = N_("Give the token a name of at most 100 characters, such as the notebook that will use it.")
_SCOPELESS = N_("Choose what the token may do.")
_TOO_LONG = N_("A token holds for 1 to {days} days.")
_NOT_YOURS = N_("No token of yours has this number.")
_GONE = N_("The token is taken back. What used it is refused from now on.")
Researcher = Annotated[Person, require("researcher")]


class Tokens(Protocol):
    """Where tokens are kept: the coordinator's `Book`."""

    def token(self, researcher: str, label: str, scopes: tuple[str, ...], days: float) -> str:
        """A new token."""

    def tokens(self, researcher: str) -> list[Token]:
        """The tokens of a researcher."""

    def withdraw(self, researcher: str, id: str) -> bool:
        """Take one token back."""


def router(book: Tokens) -> APIRouter:
    """The pages over a book."""
    made = APIRouter(prefix="/tokens")

    def listed(request: Request, person: Person, status: int = 200, **values: Any) -> Response:
        known = {"fresh": "", "faults": [], "given": {"label": "", "scope": ["read"], "days": 30}, **values}
        mine = book.tokens(person.id)
        return page(request, "tokens.html", status, tokens=mine, names=_NAMES, days=DAYS, **known)

    @made.get("")
    def tokens(request: Request, person: Researcher) -> Response:
        """The list, and the form for another."""
        return listed(request, person)

    @made.post("")
    def make(
        request: Request, person: Researcher, label: Annotated[str, Form()] = "",
        scope: Annotated[list[str], Form()] = [], days: Annotated[int, Form()] = 0,  # noqa: B006 - FastAPI copies it
    ) -> Response:  # fmt: skip
        """Make a token; this answer alone shows it."""
        _, faults = tongue_of(request), []
        if not label.strip() or len(label) > 100 or not label.isprintable():
            faults.append(("label", _(_UNNAMED)))
        if not scope or set(scope) - set(SCOPES):
            faults.append(("scope", _(_SCOPELESS)))
        if not 1 <= days <= DAYS:
            faults.append(("days", _(_TOO_LONG, days=DAYS)))
        if faults:
            return listed(request, person, 422, faults=faults, given={"label": label, "scope": scope, "days": days})
        return listed(request, person, fresh=book.token(person.id, label.strip(), tuple(scope), days))

    @made.post("/{id}/withdraw")
    def withdraw(request: Request, person: Researcher, id: str) -> Response:
        """Take one back."""
        if not book.withdraw(person.id, id):
            raise HTTPException(404, _NOT_YOURS)
        say(request, tongue_of(request)(_GONE))
        return RedirectResponse("/tokens", 303)

    return made
