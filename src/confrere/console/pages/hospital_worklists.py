"""Worklists: a steward says who may see them, without seeing a row; a clinician sees the own, and the ledger has it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here
from confrere.console.pages.hospital_words import STATUSES
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.sessions import Person
from confrere.errors import Refused
from confrere.hospital.worklists import Head, Line, criteria_of
from confrere.report.files import safe

router = APIRouter(prefix="/worklists")
Steward = Annotated[Person, require("steward")]
Clinician = Annotated[Person, require("clinician")]
Name = Annotated[str, Form(max_length=200)]
NOT_YOURS: Final = N_("There is no such list for you. The steward says who may see a list.")


@router.get("")
def lists(request: Request, person: Annotated[Person, require("steward", "clinician")], here: Here) -> Response:
    """The lists of a clinician; for a steward all of them, without a row."""
    heads = here.home.worklists.heads()
    mine = [head for head in heads if person.id in head.clinicians] if "clinician" in person.roles else []
    all_ = heads if "steward" in person.roles else ()
    return page(request, "hospital_worklists.html", mine=mine, heads=all_, clinician="clinician" in person.roles)


@router.get("/{name}")
def show(request: Request, person: Clinician, here: Here, name: str) -> Response:
    """One list, for a clinician whom the steward named. Each view is an entry of the ledger."""
    _ = tongue_of(request)
    try:
        found = here.home.worklists.show(name, person.id)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    rows = [(line, [_shown(v, _) for v in line.values], _why(found.head, line, _)) for line in found.lines]
    return page(request, "hospital_worklist.html", head=found.head, rows=rows, statuses=STATUSES)


@router.post("/{name}/status")
def status(
    request: Request, by: Clinician, here: Here, name: str, person: Name, what: Annotated[str, Form(alias="status")]
) -> Response:
    """Note what became of a patient."""
    try:
        here.home.worklists.mark(name, by.id, person, what)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    _ = tongue_of(request)
    say(request, _("The status is noted. It stays in this hospital."))
    return RedirectResponse(f"/worklists/{name}", 303)


@router.post("/{name}/export")
def export(person: Clinician, here: Here, name: str) -> Response:
    """A list as CSV; an entry of the ledger too."""
    try:
        text = here.home.worklists.text(name, person.id)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    headers = {"Content-Disposition": f'attachment; filename="{safe(name)}.csv"'}
    return Response(text.encode("utf-8" if text.isascii() else "utf-8-sig"), media_type="text/csv", headers=headers)


@router.post("/{name}/grant", dependencies=[require("steward")])
def grant(request: Request, here: Here, name: str, clinician: Name) -> Response:
    """Name a clinician who may see a list."""
    here.home.worklists.grant(name, clinician.strip())
    _ = tongue_of(request)
    say(request, _("{who} may see the list.", who=clinician.strip()))
    return RedirectResponse("/worklists", 303)


@router.post("/{name}/withdraw", dependencies=[require("steward")])
def withdraw(request: Request, here: Here, name: str, clinician: Name) -> Response:
    """Take a grant back."""
    here.home.worklists.withdraw(name, clinician)
    _ = tongue_of(request)
    say(request, _("{who} may not see the list any more.", who=clinician))
    return RedirectResponse("/worklists", 303)


def _shown(value: Any, _: Tongue) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else _.numbers.short(float(value), 4)


def _why(head: Head, line: Line, _: Tongue) -> str:
    """Why a patient is on a list: which criteria are unknown, or not met."""
    said = {_("to be checked"): criteria_of(head, line, "unknown"), _("not met"): criteria_of(head, line, "failed")}
    named = [f"{what}: {', '.join(texts)}" for what, texts in said.items() if texts]
    return "; ".join(named) or _("all met")
