"""What an operator sees of the coordinator: where every run is, without what it found, and how the hospitals are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from confrere.console.pages.frame import page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.languages import Tongue
from confrere.console.pages.researcher import PAGE, STATES, pager, why
from confrere.console.pages.sessions import Person
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.coordinator.service import Service

Operator = Annotated[Person, require("operator")]


def router(service: Service) -> APIRouter:
    """The page over a coordinator's service."""
    made = APIRouter(prefix="/operations")

    @made.get("")
    def operations(request: Request, person: Operator, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        """Runs by state, hospitals, and the runs themselves."""
        _, health = tongue_of(request), service.health()
        hospitals, count = _hospitals(health["hospitals"], _), sum(health["runs"].values())
        runs = _runs(service, after, _)
        return downloaded(request, hospitals, runs) or page(
            request, "operations.html", hospitals=hospitals, runs=runs, counts=health["runs"], states=STATES,
            methods=health["methods"], **pager(after, count),
        )  # fmt: skip

    return made


def _hospitals(known: dict[str, dict[str, object]], _: Tongue) -> Table:
    columns = (
        Column("name", _("Hospital")), Column("state", _("Connection")),
        Column("seconds_ago", _("Seconds ago"), "number"),
        Column("version", _("Release of Confrere")), Column("clock_ahead", _("Clock ahead, seconds"), "number"),
        Column("disk_free", _("Free disk"), "size"), Column("on_worklists", _("On worklists, floored"), "count"),
    )  # fmt: skip
    records = [
        {"name": name, **said, "state": _("connected") if said["connected"] else _("not connected")}
        for name, said in known.items()
    ]
    return Table("hospitals", _("Hospitals"), columns, records)


def _runs(service: Service, after: int, _: Tongue) -> Table:
    columns = (
        Column("run", _("Run"), "code"), Column("title", _("Title")), Column("researcher", _("Researcher")),
        Column("submitted", _("Submitted"), "time"), Column("state", _("State")), Column("why", _("Why")),
        Column("attempts", _("Attempts"), "count"),
    )  # fmt: skip
    entries = service.book.all()[::-1][after : after + PAGE]
    records = [{**e._asdict(), "state": _(STATES[e.state]), "why": why(e.why, _)} for e in entries]
    return Table("runs", _("Runs"), columns, records, _("No study was submitted yet."))
