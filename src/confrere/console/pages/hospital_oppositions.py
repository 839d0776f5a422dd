"""Oppositions and consents: who is left out and since when, lists that are imported, receipts for patients.

A patient's id is sent in the body of a form, never in an address, which browsers and proxies keep. An import is carried
out from a folder of the hospital's own, `imports/`; what could not be read stays there until it is mended.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from fastapi import APIRouter, File, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from confrere.console.opposition import EVERY, receipt_text
from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here, Hospital, part
from confrere.console.pages.hospital_words import SAID
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.sessions import Person
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.data.fhir_consent import Terms
from confrere.data.opposition import Said
from confrere.data.opposition_files import FHIR, load
from confrere.data.sources import Source
from confrere.errors import DataError
from confrere.hospital.home import Home
from confrere.report.files import safe

router = APIRouter(prefix="/oppositions")
Steward = Annotated[Person, require("steward")]
Text = Annotated[str, Form(max_length=500)]
KINDS: Final = (".csv", ".txt", ".tsv", *FHIR)
_NO_LIST = N_("There is no such list of lines to be mended.")
_NO_FILE = N_("Choose a file with one of these ends: {kinds}.")
_NOBODY = N_("Give the patient's id, as the hospital's tables have it.")
_NO_CODE = N_("Write each code on a line of its own, as CODE=purpose.")


class Word(BaseModel):
    """The form of what a patient said."""

    person: Annotated[str, Field(max_length=500)]
    source: Annotated[str, Field(max_length=500)]
    purpose: Annotated[str, Field(max_length=500)] = EVERY
    day: date | Literal[""] = ""
    status: Literal["opposed", "consented"] = "opposed"


class Mended(BaseModel):
    """The form of mended lines; how FHIR resources name purposes and patients."""

    text: str
    codes: str = ""
    identifier: Annotated[str, Field(max_length=500)] = ""


class Upload(NamedTuple):
    """A list that was sent: its name, its bytes, how it names things; the quarantined list that it mends."""

    name: str
    data: bytes
    terms: Terms
    mended: Path | None = None


@router.get("", dependencies=[require("steward")])
def oppositions(request: Request, here: Here, page_: Annotated[int, Query(alias="page", ge=1)] = 1) -> Response:
    """What holds today."""
    return _listed(request, here, page_)


@router.post("/find", dependencies=[require("steward")])
def find(request: Request, here: Here, person: Text = "") -> Response:
    """One patient: what holds, and all that was said."""
    return _listed(request, here, 1, wanted=person.strip())


@router.post("")
def add(request: Request, by: Steward, here: Here, given: Annotated[Word, Form()]) -> Response:
    """Record what a patient said: it holds from the next round on."""
    _, home = tongue_of(request), here.home
    day = str(given.day or date.today())
    try:
        home.oppositions.say(Said(given.person, given.purpose, given.status, day, given.source))
    except DataError as error:
        return _listed(request, here, 1, fault=str(error), given=given, status=422)
    home.log("opposition recorded", status=given.status, purpose=given.purpose, by=by.id)
    say(request, _("It is recorded, and holds from the next round on."))
    return RedirectResponse("/oppositions", 303)


@router.post("/withdraw")
def withdraw(request: Request, by: Steward, here: Here, person: Text, source: Text, purpose: Text = EVERY) -> Response:
    """Take back what a patient said last on a purpose. The history stays."""
    _, home = tongue_of(request), here.home
    home.oppositions.withdraw(person.strip(), purpose, source)
    home.log("opposition recorded", status="withdrawn", purpose=purpose, by=by.id)
    say(request, _("It is withdrawn. The history stays."))
    return RedirectResponse("/oppositions", 303)


@router.post("/import")
def import_(
    request: Request, by: Steward, here: Here, file: Annotated[UploadFile, File()], codes: Annotated[str, Form()] = "",
    identifier: Text = "",
) -> Response:  # fmt: skip
    """Import a list. What can be read takes effect at once; what cannot waits to be mended."""
    sent = Path(file.filename or "")
    if sent.suffix.lower() not in KINDS:
        raise HTTPException(422, tongue_of(request)(_NO_FILE, kinds=", ".join(KINDS)))
    terms = Terms(_codes(codes), identifier.strip() or None)
    name = f"{safe(sent.stem).replace('.', '-')}{sent.suffix.lower()}"  # never that of a quarantined list
    return _imported(request, by, here, Upload(name, file.file.read(), terms))


@router.get("/quarantine/{name}", dependencies=[require("steward")])
def quarantine(request: Request, here: Here, name: str) -> Response:
    """Lines that nobody could read, to be mended."""
    file = _quarantine(here.home, name)
    return page(request, "hospital_quarantine.html", name=name, text=file.read_text(encoding="utf-8"), done=None)


@router.post("/quarantine/{name}")
def mend(request: Request, by: Steward, here: Here, name: str, given: Annotated[Mended, Form()]) -> Response:
    """Import mended lines; what still cannot be read stays."""
    file = _quarantine(here.home, name)
    terms = Terms(_codes(given.codes), given.identifier.strip() or None)
    stem = file.name.partition(".quarantine")[0]
    sent = Upload(f"{stem}{file.suffix}", given.text.encode(), terms, file)
    return _imported(request, by, here, sent)


@router.post("/receipt")
def receipt(
    request: Request, by: Steward, here: Here, person: Text, lang: Annotated[Literal["en", "fr"], Form()] = "en"
) -> Response:
    """A page to print for a patient: which studies used the data of this patient."""
    if not person.strip():
        raise HTTPException(422, _NOBODY)
    title, *lines = receipt_text(here.home, person.strip(), lang).splitlines()
    here.home.log("receipt given", by=by.id)
    return page(request, "hospital_receipt.html", head=title, lines=lines, receipt_lang=lang)


def quarantined(home: Home) -> list[Path]:
    """Lists with lines that nobody could read, the oldest first."""
    return sorted((home.path / "imports").glob("*.quarantine*"))


def _quarantine(home: Home, name: str) -> Path:
    for file in quarantined(home):
        if file.name == name:
            return file
    raise HTTPException(404, _NO_LIST)


def _codes(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not all(code.strip() and purpose.strip() for code, _, purpose in pairs):
        raise HTTPException(422, _NO_CODE)
    return {code.strip(): purpose.strip() for code, _, purpose in pairs}


def _imported(request: Request, by: Person, here: Hospital, sent: Upload) -> Response:
    """Carry an import out in the hospital's own folder, where its quarantine stays and the list itself does not."""
    home = here.home
    folder = home.path / "imports"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / sent.name
    with here.importing:
        try:
            file.touch(mode=0o600)
            file.write_bytes(sent.data)
            done = load(home.oppositions, Source(file), sent.terms)
        finally:
            file.unlink(missing_ok=True)
    home.log(
        "oppositions imported", file=sent.name, new=done.new, known=done.known, quarantined=len(done.problems), by=by.id
    )
    if sent.mended is not None and done.quarantine != sent.mended:
        sent.mended.unlink(missing_ok=True)
    text = done.quarantine.read_text(encoding="utf-8") if done.quarantine else ""
    left = done.quarantine.name if done.quarantine else ""
    return page(request, "hospital_quarantine.html", name=left, text=text, done=done)


def _listed(
    request: Request, here: Hospital, number: int, wanted: str = "", status: int = 200, **given: Any
) -> Response:
    """The list, perhaps of one patient alone, with the forms."""
    _, home = tongue_of(request), here.home
    lines = home.oppositions.last(wanted) if wanted else here.said()
    whole = _sheet("standing", _("What holds today"), lines, _)
    shown = part(whole.records, number)
    past = _sheet("history", _("All that this patient said"), home.oppositions.history(wanted), _) if wanted else None
    purposes = sorted({listed.purpose for listed in here.studies() if listed.purpose})
    fresh = Word.model_construct(person=wanted, source="", day=date.today())
    answer = downloaded(request, whole) if request.method == "GET" else None
    return answer or page(
        request, "hospital_oppositions.html", status, sheet=whole._replace(records=shown.rows), part=shown, past=past,
        wanted=wanted, purposes=purposes, consents=home.oppositions.consents(), every=EVERY, kinds=", ".join(KINDS),
        quarantined=[file.name for file in quarantined(home)], lines=lines, fault=given.get("fault", ""),
        given=given.get("given", fresh), said_names=SAID,
    )  # fmt: skip


def _sheet(name: str, caption: str, lines: list[Said], _: Tongue) -> Table:
    columns = (
        Column("person", _("Patient")), Column("status", _("Said")), Column("purpose", _("Purpose")),
        Column("date", _("On"), "date"), Column("until", _("Until"), "date"), Column("source", _("Where it was said")),
    )  # fmt: skip
    records = [
        {
            "person": line.person, "status": _(SAID.get(line.status, line.status)),
            "purpose": _("every purpose") if line.purpose == EVERY else line.purpose, "date": _day(line.date),
            "until": _day(line.until), "source": line.source,
        }
        for line in lines
    ]  # fmt: skip
    return Table(name, caption, columns, records, _("Nobody has said anything."))


def _day(text: str) -> date | None:
    return date.fromisoformat(text[:10]) if text else None
