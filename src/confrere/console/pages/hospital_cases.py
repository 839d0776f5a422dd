"""Cases: a steward opens one and names who may see it; they discuss its picture until it expires.

The picture comes from the bank by an address of its own that asks each time: once the consent is revoked, the case is
closed or over, it is not to be had, and browsers are told to keep no copy. Every look is an entry of the ledger. Where
hospital.toml names a classifier, its set of kinds stands beside the picture, or that it abstains.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here
from confrere.console.pages.languages import N_
from confrere.console.pages.sessions import Person
from confrere.console.reading import Reading, reading
from confrere.errors import Refused, UserError
from confrere.hospital.home import Home
from confrere.images.bank_cases import DAYS, LONGEST, LONGEST_DAYS

router = APIRouter(prefix="/cases")
Steward = Annotated[Person, require("steward")]
Clinician = Annotated[Person, require("clinician")]
Either = Annotated[Person, require("steward", "clinician")]
Who = Annotated[str, Form(max_length=200)]
NOT_YOURS: Final = N_("There is no such case for you: it is over, or you were not invited.")


class Opened(BaseModel):
    """The form of a new case; names of those invited are separated by commas."""

    image: Annotated[str, Field(max_length=40)]
    title: Annotated[str, Field(min_length=1, max_length=120)]
    invited: Annotated[str, Field(min_length=1, max_length=1000)]
    days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] = DAYS


@router.get("")
def cases(request: Request, person: Either, here: Here) -> Response:
    """The cases of a clinician; for a steward all of them, without their pictures."""
    mine = here.home.cases.mine(person.id) if "clinician" in person.roles else ()
    all_ = here.home.cases.heads() if "steward" in person.roles else ()
    return page(
        request, "hospital_cases.html", mine=mine, heads=all_, clinician="clinician" in person.roles, days=DAYS,
        most=LONGEST_DAYS,
    )  # fmt: skip


@router.post("")
def begin(request: Request, by: Steward, here: Here, given: Annotated[Opened, Form()]) -> Response:
    """Open a case."""
    _ = tongue_of(request)
    invited = tuple(who.strip() for who in given.invited.split(",") if who.strip())
    try:
        here.home.cases.begin(given.image.strip(), given.title.strip(), by.id, invited, given.days)
    except Refused:
        raise HTTPException(422, N_("This picture may not be discussed: there is no consent, or it is held.")) from None
    say(request, _("The case is open."))
    return RedirectResponse("/cases", 303)


@router.get("/{name}")
def show(request: Request, person: Clinician, here: Here, name: str) -> Response:
    """One case, for who was invited."""
    try:
        case = here.home.cases.show(name, person.id)
        read, why = _read(here.home, name, person.id)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    return page(request, "hospital_case.html", case=case, longest=LONGEST, read=read, why=why)


def _read(home: Home, name: str, who: str) -> tuple[Reading | None, str]:
    """What the hospital's classifier says of the picture of a case, if it has one; else why it says nothing."""
    if (model := home.picture_model) is None:
        return None, ""
    try:
        png = home.cases.png(name, who, "model")
    except Refused:  # the picture is held, as its place on the page says
        return None, ""
    try:
        return reading(model, png), ""
    except (UserError, ImportError) as error:
        return None, str(error).replace(f"{model.parent}/", "")  # where files lie is the server's own
    except Exception:  # noqa: BLE001 - a file of anybody's making: it stops no case
        return None, f"{model.name} cannot be read as a model"


@router.get("/{name}/picture")
def picture(person: Clinician, here: Here, name: str) -> Response:
    """The picture of a case, of which no copy is kept."""
    try:
        png = here.home.cases.png(name, person.id)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


@router.post("/{name}/comment")
def comment(
    request: Request, person: Clinician, here: Here, name: str, text: Annotated[str, Form(max_length=LONGEST)]
) -> Response:  # fmt: skip
    """Say something about a case."""
    try:
        here.home.cases.say(name, person.id, text)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    _ = tongue_of(request)
    say(request, _("Your comment is noted. It stays in this hospital."))
    return RedirectResponse(f"/cases/{name}#comments", 303)


@router.post("/{name}/withdraw")
def withdraw(request: Request, by: Steward, here: Here, name: str, who: Who) -> Response:
    """Somebody invited sees the case no more."""
    here.home.cases.withdraw(name, who, by.id)
    _ = tongue_of(request)
    say(request, _("{who} may not see the case any more.", who=who))
    return RedirectResponse("/cases", 303)


@router.post("/{name}/close")
def close(request: Request, by: Steward, here: Here, name: str) -> Response:
    """End a case: it is erased with what was said."""
    here.home.cases.close(name, by.id)
    _ = tongue_of(request)
    say(request, _("The case is closed and erased."))
    return RedirectResponse("/cases", 303)
