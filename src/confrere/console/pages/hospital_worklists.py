"""Worklists: a steward says who may see them, without seeing a row; a clinician sees the own, and the ledger has it.

A clinician reads a list by status and by criterion, notes what became of each patient, and comes back to the row that
was worked on: everything is a form, so that a keyboard is enough and no script is needed.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here
from confrere.console.pages.hospital_words import FUNNEL, STATUSES
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.sessions import Person
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.errors import Refused
from confrere.hospital.exports import criteria_of
from confrere.hospital.screening import Log, marks
from confrere.hospital.worklists import Head, Line
from confrere.report.files import safe
from confrere.report.words import Words

router = APIRouter(prefix="/worklists")
Steward = Annotated[Person, require("steward")]
Clinician = Annotated[Person, require("clinician")]
Either = Annotated[Person, require("steward", "clinician")]
Name = Annotated[str, Form(max_length=200)]
NOT_YOURS: Final = N_("There is no such list for you. The steward says who may see a list.")
GONE: Final = "gone"  # the filter of who is no longer on the list


class Filter(BaseModel):
    """Which rows are shown: of a status (or `GONE`), and those of whom a criterion, by its place from 1, is unknown."""

    status: Annotated[str, Field(max_length=30)] = ""
    criterion: Annotated[int, Field(ge=0)] = 0

    def has(self, head: Head, line: Line) -> bool:
        """Whether a row is shown."""
        if self.status and (line.listed if self.status == GONE else line.status != self.status):
            return False
        return not 0 < self.criterion <= len(head.criteria) or line.answers[self.criterion - 1] == "unknown"


class Noted(BaseModel):
    """The form of a row: the patient, the new status, why; and where to come back to."""

    person: Annotated[str, Field(max_length=200)]
    to: Annotated[str, Field(max_length=30)]
    reason: Annotated[str, Field(max_length=500)] = ""
    row: Annotated[int, Field(ge=1)] = 1
    status: Annotated[str, Field(max_length=30)] = ""
    criterion: Annotated[int, Field(ge=0)] = 0

    @property
    def back(self) -> str:
        """The rest of the address of the same rows, at the same place of them."""
        chosen = {key: value for key, value in (("status", self.status), ("criterion", self.criterion)) if value}
        return f"{'?' if chosen else ''}{urlencode(chosen)}#row-{self.row}"


@router.get("")
def lists(request: Request, person: Either, here: Here) -> Response:
    """The lists of a clinician; for a steward all of them, without a row."""
    heads = here.home.worklists.heads()
    mine = [head for head in heads if person.id in head.clinicians] if "clinician" in person.roles else []
    all_ = heads if "steward" in person.roles else ()
    return page(request, "hospital_worklists.html", mine=mine, heads=all_, clinician="clinician" in person.roles)


@router.get("/{name}")
def show(request: Request, person: Clinician, here: Here, name: str, wanted: Annotated[Filter, Query()]) -> Response:
    """One list, for a clinician whom the steward named. Each view is an entry of the ledger."""
    _ = tongue_of(request)
    try:
        found = here.home.worklists.show(name, person.id)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    lines = [line for line in found.lines if wanted.has(found.head, line)]
    rows = [(line, [_shown(v, _) for v in line.values], _why(found.head, line, _)) for line in lines]
    statuses = [("", _("all")), *((s, _(text)) for s, text in STATUSES.items()), (GONE, _("no longer on the list"))]
    unknown = [(str(j), text) for j, text in enumerate(found.head.criteria, 1)
               if any(line.answers[j - 1] == "unknown" for line in found.lines)]  # fmt: skip
    return page(
        request, "hospital_worklist.html", head=found.head, rows=rows, words=STATUSES, wanted=wanted,
        statuses=statuses, unknown=[("0", _("all")), *unknown], total=len(found.lines),
    )  # fmt: skip


@router.post("/{name}/status")
def status(request: Request, by: Clinician, here: Here, name: str, given: Annotated[Noted, Form()]) -> Response:
    """Note what became of a patient."""
    try:
        here.home.worklists.mark(name, by.id, given.person, given.to, given.reason)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    _ = tongue_of(request)
    say(request, _("The status is noted. It stays in this hospital."))
    return RedirectResponse(f"/worklists/{name}{given.back}", 303)


@router.post("/{name}/export")
def export(person: Clinician, here: Here, name: str, stays: Annotated[Literal["yes"], Form()]) -> Response:
    """A list as CSV, for who says that it stays in the hospital; an entry of the ledger too."""
    try:
        text = here.home.worklists.text(name, person.id)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    headers = {"Content-Disposition": f'attachment; filename="{safe(name)}.csv"'}
    return Response(text.encode("utf-8" if text.isascii() else "utf-8-sig"), media_type="text/csv", headers=headers)


@router.get("/{name}/log")
def log(request: Request, person: Either, here: Here, name: str) -> Response:
    """The screening log of a list, to be printed: a steward's, and its clinicians'. No patient is named."""
    _, home = tongue_of(request), here.home
    steward = "steward" in person.roles and any(head.name == name for head in home.worklists.heads())
    try:
        head, found = home.worklists.log(name, person.id, marks(home.ledger), steward=steward)
    except Refused:
        raise HTTPException(404, NOT_YOURS) from None
    sheets = _sheets(found, _)
    return downloaded(request, *sheets) or page(
        request, "hospital_log.html", head=head, log=found, sheets=sheets, place=home.name
    )


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
    named = [f"{what}{Words(_.lang).colon}{', '.join(texts)}" for what, texts in said.items() if texts]
    return "; ".join(named) or _("all met")


def _sheets(found: Log, _: Tongue) -> list[Table]:
    """The flow diagram as a table, and why people were found not eligible."""
    left = [before - n for (_w, _c, before), (_x, _d, n) in zip(found.steps, found.steps[1:], strict=False)]
    steps = [
        {"step": _(FUNNEL.get(what, what)), "criterion": criterion, "n": n, "left": gone}
        for (what, criterion, n), gone in zip(found.steps, [None, *left], strict=True)
    ]
    why = [{"reason": reason, "n": n} for reason, n in found.reasons]
    columns = (
        Column("step", _("Step")), Column("criterion", _("Criterion")), Column("n", _("People"), "count"),
        Column("left", _("Left here"), "count"),
    )  # fmt: skip
    return [
        Table("log", _("People at every step"), columns, steps),
        Table("reasons", _("Why people were found not eligible"),
              (Column("reason", _("Reason")), Column("n", _("People"), "count")), why, _("Nobody was.")),
    ]  # fmt: skip
