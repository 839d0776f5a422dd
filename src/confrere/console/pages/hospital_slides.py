"""Slides: what became of each, for its steward in numbers; for clinicians whom hospital.toml names, with heat maps.

    [slides]
    clinicians = ["dr.curie"]    # as their own pages show it; nobody else sees a slide

Nothing is made here: `confrere slides extract` and `heatmap` write into the folders that [data.bags] names, and pages
show what is there, of nobody who opposes a use of the records. A slide is addressed by the hash of its bytes, since its
file may be named after a patient.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from confrere.console.pages.frame import page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.sessions import Person
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.console.slides_looked import map_of
from confrere.data.opposition import CONTACT, EVERY
from confrere.errors import DataError
from confrere.hospital.home import Home
from confrere.images.slides_list import LEDGER, Entry, read

router = APIRouter(prefix="/slides")
Clinician = Annotated[Person, require("clinician")]
Either = Annotated[Person, require("steward", "clinician")]
NOT_YOURS: Final = N_("There is no such slide for you. [slides] clinicians in hospital.toml says who may see slides.")
SHORT: Final = 16  # digits of a slide's hash in addresses
WHY: Final = {  # as `images.slides_list.REASONS`
    "used": N_("used"), "not listed": N_("not in slides.csv: nobody knows whose it is"),
    "missing": N_("in slides.csv, but there is no such file"), "unreadable": N_("cannot be read as a slide"),
    "resolution": N_("microns per pixel not known, not a scanner’s, or stated in two ways"),
    "coarse": N_("scanned at a coarser resolution than the tiles need"),
    "twice": N_("listed again, or for two people"), "no tissue": N_("too little tissue"),
    "pen": N_("marked by a pen"), "blurred": N_("out of focus"),
}  # fmt: skip


@router.get("")
def slides(request: Request, person: Either, here: Here) -> Response:
    """Every folder of slides: numbers for the steward, the slides for a clinician who may see them."""
    _, mine = tongue_of(request), _may(here.home, person)
    found = _ledgers(here.home)
    wanted = request.query_params.get("csv", "")
    sheets = [_sheet(name, entries, folder, _) for name, (folder, entries) in found.items()] if mine else []
    counts = (
        [_counts(name, entries, _) for name, (_folder, entries) in found.items()] if "steward" in person.roles else []
    )
    table = wanted in {table.name for table in (*sheets, *counts)}
    for name in found if mine else ():  # what is no table's name shows the page
        if wanted == f"slides-{name}" or not table:
            here.home.log("slide shown", bags=name, who=person.id, what="download" if table else "list")
    return downloaded(request, *sheets, *counts) or page(
        request, "hospital_slides.html", sheets=sheets, counts=counts, mine=mine, clinician="clinician" in person.roles
    )


@router.get("/{name}/{short}")
def one(request: Request, person: Clinician, here: Here, name: str, short: str) -> Response:
    """A slide with its heat map. Each view is an entry of the ledger."""
    folder, entry = _slide(here.home, person, name, short)
    here.home.log("slide shown", bags=name, slide=short, who=person.id)
    drawn = map_of(folder, entry).is_file()
    return page(
        request,
        "hospital_slide.html",
        entry=entry,
        why=WHY[entry.reason],
        drawn=drawn,
        address=f"/slides/{name}/{short}",
    )


@router.get("/{name}/{short}/map.png")
def picture(person: Clinician, here: Here, name: str, short: str) -> Response:
    """The heat map of a slide, for who may see it; not kept by browsers."""
    path = map_of(*_slide(here.home, person, name, short))
    if not path.is_file():
        raise HTTPException(404, NOT_YOURS)
    here.home.log("slide shown", bags=name, slide=short, who=person.id, what="map")
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "no-store"})


def _may(home: Home, person: Person) -> bool:
    return "clinician" in person.roles and person.id in home.slide_readers


def _ledgers(home: Home) -> dict[str, tuple[Path, list[Entry]]]:
    """The bags of slides that the hospital has bound, with their ledgers; without those of patients who oppose."""
    found = {}
    opposed = {word.person for word in home.oppositions.last() if word.status == "opposed" and word.purpose != CONTACT}
    for name, folder in home.bags.items():
        if (folder / LEDGER).is_file():
            try:
                entries = read(folder / LEDGER)
            except DataError:
                continue  # no ledger of slides: bags of other images
            out = home.oppositions.left_out(EVERY, {entry.person for entry in entries}) | opposed
            found[name] = (folder, [entry for entry in entries if entry.person not in out])
    return found


def _slide(home: Home, person: Person, name: str, short: str) -> tuple[Path, Entry]:
    """A slide by its address. HTTPException 404 also for who may not see it."""
    folder, entries = _ledgers(home).get(name, (Path(), [])) if _may(home, person) else (Path(), [])
    for entry in sorted(entries, key=lambda e: not e.used):  # listed again, a slide has a line that was not used
        if len(short) == SHORT and entry.sha256.startswith(short):
            return folder, entry
    raise HTTPException(404, NOT_YOURS)


def _sheet(name: str, entries: list[Entry], folder: Path, _: Tongue) -> Table:
    """Every slide: whose it is, what became of it, whether it has a heat map, and where its page is."""
    records: list[dict[str, Any]] = [
        {
            "slide": entry.slide, "person": entry.person, "why": _(WHY[entry.reason]), "mpp": entry.mpp,
            "tissue": None if entry.tissue is None else 100 * entry.tissue, "tiles": entry.tiles,
            "map": _("drawn") if entry.used and map_of(folder, entry).is_file() else "",
            "page": f"/slides/{name}/{entry.sha256[:SHORT]}" if entry.used else "",
        }
        for entry in entries
    ]  # fmt: skip
    columns = (
        Column("slide", _("Slide"), "text", "page"), Column("person", _("Patient")),
        Column("why", _("What became of it")),
        Column("mpp", _("Microns per pixel"), "number"), Column("tissue", _("Tissue, %"), "number"),
        Column("tiles", _("Tiles"), "count"), Column("map", _("Heat map")),
    )  # fmt: skip
    return Table(f"slides-{name}", _("Slides in the bags {name}", name=name), columns, records)


def _counts(name: str, entries: list[Entry], _: Tongue) -> Table:
    """How many slides were used, and why the others were not."""
    many = Counter(entry.reason for entry in entries)
    records = [{"why": _(text), "n": many[code]} for code, text in WHY.items() if many[code]]
    columns = (Column("why", _("What became of them")), Column("n", _("Slides"), "count"))
    return Table(f"counts-{name}", _("Slides in the bags {name}, in numbers", name=name), columns, records)
