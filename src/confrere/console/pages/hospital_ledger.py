"""The ledger: read page by page, by event and study; verified; and written out as JSON lines and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from confrere.console.ledger import jsonl, table
from confrere.console.pages.frame import page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import SIZE, Here, Hospital, moment
from confrere.console.pages.hospital_words import EVENTS
from confrere.console.pages.languages import Tongue
from confrere.console.pages.tables import Column, Table
from confrere.errors import LedgerError
from confrere.hospital.ledger import Entry, Ledger, verify

router = APIRouter(prefix="/ledger", dependencies=[require("steward")])
LONGEST: Final = 160  # characters of an entry's details on a page; exports have all
AT_ONCE: Final = 1000  # entries of an export that are read with one look at the file, so that none is kept waiting
_WHO: Final = ("by", "who", "person")
Find = Annotated[str, Query(max_length=200)]


@router.get("")
def ledger(
    request: Request, here: Here, event: Find = "", study: Find = "", before: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """The newest entries first."""
    _ = tongue_of(request)
    wanted = _meant(here, study)
    found = [] if wanted is None else _entries(here, event, wanted, before)
    filters = {key: value for key, value in (("event", event), ("study", study)) if value}
    older = f"?{urlencode(filters | {'before': found[SIZE - 1].number})}" if len(found) > SIZE else ""
    return page(
        request, "hospital_ledger.html", sheet=_sheet(here, _, found[:SIZE]), older=older, newest=before is None,
        event=event, study=study, query=urlencode(filters), total=len(here.home.ledger), verified=None, broken="",
        events=sorted(((name, _(text)) for name, text in EVENTS.items()), key=lambda pair: pair[1]),
    )  # fmt: skip


@router.post("/verify")
def check(request: Request, here: Here) -> Response:
    """Verify the whole chain, and say what was found."""
    home, found, broken = here.home, None, ""
    try:
        found = verify(home.ledger.path, home.identity.public)
    except LedgerError as error:
        broken = str(error)
    return page(request, "hospital_verified.html", verified=found, broken=broken)


@router.get("/export.{form}")
def export(here: Here, form: Literal["jsonl", "csv"], event: Find = "", study: Find = "") -> Response:
    """All entries, or those of the filters, the oldest first."""
    wanted = _meant(here, study)
    entries = iter(()) if wanted is None else _all(here.home.ledger, event or None, wanted or None)
    lines = jsonl(entries) if form == "jsonl" else table(entries)
    kind = "application/jsonl" if form == "jsonl" else "text/csv"
    encoding = "utf-8" if form == "jsonl" else "utf-8-sig"  # spreadsheets need the mark to read accents
    return StreamingResponse(
        _encoded(lines, encoding), media_type=kind,
        headers={"Content-Disposition": f'attachment; filename="ledger.{form}"'},
    )  # fmt: skip


def history(here: Hospital, _: Tongue, study: str, limit: int) -> Table:
    """The newest entries about a study."""
    found = list(here.home.ledger.entries(study=study, newest=True, limit=limit))
    whole = _sheet(here, _, found)
    columns = tuple(column for column in whole.columns if column.field != "study")
    return whole._replace(name="history", caption=_("What happened, the latest first"), columns=columns)


def _meant(here: Hospital, study: str) -> str | None:
    """The hash of the study that a filter names by its id, its hash or the beginning of it; None if there is none."""
    if not (given := study.strip()):
        return ""
    fitting = [s.study for s in here.studies() if given in (s.id, s.study) or s.study.startswith(given.lower())]
    return fitting[0] if fitting else None


def _entries(here: Hospital, event: str, study: str, before: int | None) -> list[Entry]:
    """The entries of a page, and one more if there is any."""
    book = here.home.ledger
    return list(book.entries(event=event or None, study=study or None, before=before, newest=True, limit=SIZE + 1))


def _all(book: Ledger, event: str | None, study: str | None) -> Iterator[Entry]:
    after = 0
    while True:
        entry = None
        for entry in book.entries(after=after, event=event, study=study, limit=AT_ONCE):
            yield entry
        if entry is None:
            return
        after = entry.number


def _encoded(lines: Iterator[str], encoding: str) -> Iterator[bytes]:
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == AT_ONCE:
            yield "".join(held).encode(encoding)
            held, encoding = [], "utf-8"
    yield "".join(held).encode(encoding if held else "utf-8")


def _sheet(here: Hospital, _: Tongue, found: list[Entry]) -> Table:
    titles = {listed.study: listed.id for listed in here.studies()}
    columns = (
        Column("number", _("Number"), "count"), Column("at", _("When"), "time"), Column("event", _("Event")),
        Column("who", _("Who")), Column("study", _("Study"), link="path"), Column("details", _("Details")),
    )  # fmt: skip
    records = [_record(entry, titles, _) for entry in found]
    return Table("entries", _("Entries, the newest first"), columns, records, _("No entry fits."))


def _record(entry: Entry, titles: dict[str, str], _: Tongue) -> dict[str, Any]:
    facts = dict(entry.facts)
    who = next((str(facts.pop(key)) for key in _WHO if key in facts), "")
    study = str(facts.pop("study", ""))
    facts.pop("id", None)
    return {
        "number": entry.number, "at": moment(entry.at), "event": _(EVENTS.get(entry.event, entry.event)), "who": who,
        "study": titles.get(study, study[:12]), "path": f"/studies/{study}" if study in titles else "",
        "details": _details(facts),
    }  # fmt: skip


def _details(facts: dict[str, Any]) -> str:
    """The facts of an entry on a line: names and values as the ledger has them, cut where they are long."""
    said = []
    for key, value in facts.items():
        if key == "left" and isinstance(value, list):  # the arrays that left: names alone
            value = ", ".join(dict.fromkeys(str(one.get("name", "")) for one in value if isinstance(one, dict)))
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = ", ".join(value)
        plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        text = str(value) if plain else json.dumps(value, ensure_ascii=False)
        short = f"{text[:12]}…" if len(text) >= 40 and " " not in text else text  # a hash, a signature
        if short:
            said.append(f"{key}: {short}")
    line = "; ".join(said)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
