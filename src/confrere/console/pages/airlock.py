"""The airlock for the second reader: what is held, the findings with their checks, and the two words that end it.

The person who is signed in is the reader, and never the researcher who asked for the run. Opening the findings is
written down with their SHA-256; the forms carry it, and release only what this person has read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from confrere.console.pages import delivery
from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.researcher import PAGE, pager
from confrere.console.pages.researcher_findings import CHECKS
from confrere.console.pages.sessions import Person
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.coordinator.book import Entry
from confrere.coordinator.conduct import found_of
from confrere.coordinator.release import Standing
from confrere.coordinator.service import Service
from confrere.errors import Refused, UserError

Reader = Annotated[Person, require("second reader")]
NOT_HERE: Final = N_("The airlock has no run of this name.")
CHANGED: Final = N_("These are not the findings that you read. Read them again.")
RELEASED: Final = N_("You have released the findings.")
REJECTED: Final = N_("The findings are rejected. The researcher reads your comment.")
VERDICTS: Final = {"pass": N_("passed"), "fail": N_("not passed"), "review": N_("for you to judge")}


def router(service: Service) -> APIRouter:
    """The list and the pages of reading, over a coordinator's service."""
    made = APIRouter(prefix="/airlock")
    airlock = service.airlock

    @made.get("")
    def held(request: Request, person: Reader, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        """What waits for a reader, the oldest first."""
        waiting = airlock.held()
        sheet = _sheet(service, waiting[after : after + PAGE], person, tongue_of(request))
        return downloaded(request, sheet) or page(request, "airlock.html", sheet=sheet, **pager(after, len(waiting)))

    @made.get("/{run}")
    def checks(request: Request, person: Reader, run: str) -> Response:
        """What is known of a run before its findings are opened: who asked for what, and every check."""
        return _shown(request, service, person, run, opened=False)

    @made.post("/{run}/read")
    def read(request: Request, person: Reader, run: str) -> Response:
        """Open the findings, which is written down."""
        airlock.read(_here(service, person, run).run, person.id)
        return RedirectResponse(f"/airlock/{run}/findings", 303)

    @made.get("/{run}/findings")
    def findings(request: Request, person: Reader, run: str) -> Response:
        """The findings, for who has opened them."""
        return _shown(request, service, person, run, opened=True)

    @made.get("/{run}/report")
    def report(request: Request, person: Reader, run: str) -> Response:
        """The report as it would be released."""
        standing, data = airlock.again(_here(service, person, run).run, person.id)
        folder = service.home.folder(run)
        return delivery.file(delivery.report(folder, standing, data, tongue_of(request).lang), "report.html")

    return made


def words(service: Service) -> APIRouter:
    """The two words that end it."""
    made = APIRouter(prefix="/airlock/{run}")

    @made.post("/release")
    def release(
        request: Request, person: Reader, run: str, sha256: Annotated[str, Form()],
        accept: Annotated[list[str], Form()] = [], comment: Annotated[str, Form()] = "",  # noqa: B006 - it is copied
    ) -> Response:  # fmt: skip
        """Let what was read go, as far as this reader is concerned."""
        _unchanged(service, _here(service, person, run), sha256)
        try:
            service.airlock.release(run, person.id, accept=accept, comment=comment)
        except (Refused, UserError) as error:
            return _shown(request, service, person, run, opened=True, word=Word(str(error), accept, comment))
        say(request, tongue_of(request)(RELEASED))
        return RedirectResponse("/airlock", 303)

    @made.post("/reject")
    def reject(
        request: Request, person: Reader, run: str, sha256: Annotated[str, Form()], comment: Annotated[str, Form()] = ""
    ) -> Response:
        """Keep what was read for good, and tell the researcher why."""
        _unchanged(service, _here(service, person, run), sha256)
        try:
            service.airlock.reject(run, person.id, comment)
        except UserError as error:
            return _shown(request, service, person, run, opened=True, word=Word(str(error), (), comment))
        say(request, tongue_of(request)(REJECTED))
        return RedirectResponse("/airlock", 303)

    return made


def _here(service: Service, person: Person, run: str) -> Entry:
    """A run that is done, for somebody who did not ask for it. HTTPException 404, Refused for the researcher."""
    entry = service.book.get(run)
    if entry is None or entry.state != "done":
        raise HTTPException(404, NOT_HERE)
    service.airlock.reader(run, person.id)
    return entry


def _unchanged(service: Service, entry: Entry, sha256: str) -> None:
    if service.airlock.standing(entry.run).sha256 != sha256:
        raise Refused(CHANGED)


class Word(NamedTuple):
    """What a reader said that could not be done: why not, the checks let through, the comment."""

    fault: str = ""
    accept: Sequence[str] = ()
    comment: str = ""


NOTHING: Final = Word()


def _shown(
    request: Request, service: Service, person: Person, run: str, *, opened: bool, word: Word = NOTHING
) -> Response:  # fmt: skip
    """The page of a run, its findings only where they are opened; who did not open them is sent to do so."""
    entry, folder, tongue = _here(service, person, run), service.home.folder(run), tongue_of(request)
    standing = service.airlock.standing(run)
    if opened and not standing.has_read(person.id):
        return RedirectResponse(f"/airlock/{run}", 303)
    parts, errors = [], {}
    if opened:
        standing, data = service.airlock.again(run, person.id)
        parts = delivery.read(delivery.result(folder, standing, data), tongue.lang)
        errors = dict(found_of(data).errors)
    sheet = _checks(standing, tongue)
    return downloaded(request, sheet) or page(
        request, "airlock_run.html", 422 if word.fault else 200, entry=entry, study=folder.study, text=folder.text,
        standing=standing, parts=parts, errors=errors, opened=opened, word=word, checks=sheet,
        names=CHECKS, failing=dict.fromkeys(check.check for check in standing.failing),
        mine=person.id in standing.readers,
    )  # fmt: skip


def _checks(standing: Standing, _: Tongue) -> Table:
    """Every output check, those that did not pass first."""
    columns = (
        Column("check", _("Output check")), Column("said", _("Says")), Column("about", _("Analysis")),
        Column("reason", _("Reason")), Column("source", _("From")),
    )  # fmt: skip
    order = {"fail": 0, "review": 1, "pass": 2}
    records = [
        {
            **check._asdict(), "check": _(CHECKS.get(check.check, check.check)), "said": _(VERDICTS[check.verdict]),
            "about": check.analysis or _("all analyses"), "source": check.source.split(". ")[0],
        }
        for check in sorted(standing.checks, key=lambda c: order[c.verdict])
    ]  # fmt: skip
    return Table("checks", _("Output checks"), columns, records)


def _sheet(service: Service, waiting: list[Standing], person: Person, _: Tongue) -> Table:
    columns = (
        Column("title", _("Title"), link="path"), Column("researcher", _("Asked for by")),
        Column("at", _("Held since"), "time"),
        Column("failing", _("Not passed")), Column("readers", _("Released by")),
    )  # fmt: skip
    records = []
    for standing in waiting:
        entry = service.book.get(standing.run)
        if entry is not None:
            own = entry.researcher == person.id
            checks = dict.fromkeys(_(CHECKS.get(c.check, c.check)) for c in standing.failing)
            records.append({
                "path": "" if own else f"/airlock/{standing.run}", "title": entry.title,
                "researcher": _("you: somebody else reads it") if own else entry.researcher,
                "at": standing.acts[0].at, "failing": ", ".join(checks), "readers": ", ".join(standing.readers),
            })  # fmt: skip
    return Table("held", _("Held in the airlock"), columns, records, _("Nothing waits for a reader."))
