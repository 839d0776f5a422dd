"""Whether a hospital is well connected: its process, its certificate, its last contact, its machine, its roster."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request, Response

from confrere.console.pages.frame import page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here, moment
from confrere.console.pages.tables import Column, Table
from confrere.coordinator.roster import lines
from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.hospital.vitals import vitals
from confrere.kits import Profile, expires

router = APIRouter()
SOON: Final = 30  # days before the certificate ends, from which on the pages say so
LOW: Final = 1_000_000_000  # free bytes, under which the pages say so
LOOKED: Final = 5_000  # entries of the ledger among which the last message is looked for
HEARD: Final = ("asked", "started", "submitted", "approval needed", "refused", "unable")  # what messages leave behind


class Fact(NamedTuple):
    """A line of the page: what, how it stands, whether that is good (None: neither), and what to do."""

    what: str
    value: str
    good: bool | None = None
    do: str = ""


@router.get("/connection", dependencies=[require("steward", "operator")])
def connection(request: Request, here: Here) -> Response:
    """The state of the connection and the machine."""
    _, home = tongue_of(request), here.home
    vital, runs, heard = vitals(home.path), _runs(home), _heard(home)
    days = days_left(home)
    if days is None:
        certificate = Fact(_("Certificate"), _("none"), False, _("Your IT lays it in: confrere hospital install."))
    else:
        ends = _.plural("ends in {count} day", "ends in {count} days", max(0, days))
        renew = _("Your IT renews it: confrere hospital renew.") if days <= SOON else ""
        certificate = Fact(_("Certificate"), f"{_.date(_ends(home) or date.today())} ({ends})", days > SOON, renew)
    start = _("Your IT starts it: confrere hospital serve.")
    facts = [
        Fact(_("Serving process"), _("runs") if runs else _("does not run"), runs, "" if runs else start),
        Fact(_("Coordinator"), _address(home) or _("not known")),
        Fact(_("Last message of the coordinator"), _.time(heard) if heard else _("none lately")),
        certificate,
        Fact(_("Free disk"), _.numbers.size(vital["free"]), vital["free"] > LOW),
        Fact(_("Clock of this machine"), _.time(vital["clock"])),
        Fact(_("Release"), str(vital["version"])),
    ]
    columns = (Column("name", _("Hospital")), Column("fingerprint", _("Fingerprint of its key"), "code"))
    sheet = Table("roster", _("Hospitals of the pinned roster"), columns, _roster(home), _("No roster is pinned yet."))
    return page(request, "hospital_connection.html", facts=facts, sheet=sheet, own=home.identity.fingerprint)


def days_left(home: Home) -> int | None:
    """Days until the certificate ends; None where there is none."""
    day = _ends(home)
    return None if day is None else (day - date.today()).days


def _ends(home: Home) -> date | None:
    try:
        return date.fromisoformat(expires(home.path / "engine" / "site"))
    except (OSError, ValueError):
        return None


def _runs(home: Home) -> bool:
    """Whether the engine's process that `hospital serve` started is there."""
    with suppress(OSError, ValueError):
        os.kill(int((home.path / "engine" / "site.pid").read_text(encoding="utf-8")), 0)
        return True
    return False


def _heard(home: Home) -> datetime | None:
    newest = home.ledger.entries(newest=True, limit=LOOKED)
    return next((moment(entry.at) for entry in newest if entry.event in HEARD), None)


def _address(home: Home) -> str:
    with suppress(StudyError):
        profile = Profile.read(home.path / "federation.json")
        return f"{profile.host}:{profile.port}"
    return ""


def _roster(home: Home) -> list[dict[str, Any]]:
    file = home.path / "roster.json"
    return [line._asdict() for line in lines(file)] if file.is_file() else []
