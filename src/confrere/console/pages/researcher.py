"""A researcher's studies: written or uploaded, checked, submitted, watched while they run, stopped.

A person sees the own runs alone: for anybody else's there is no page (404), so that not even its name is told.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import RedirectResponse

from confrere.console.pages import drafts
from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.sessions import Person
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.coordinator.book import Entry
from confrere.coordinator.conduct import OVER
from confrere.coordinator.service import Service
from confrere.errors import UserError
from confrere.rounds import installed
from confrere.study.file import LARGEST, Study

Researcher = Annotated[Person, require("researcher")]
NOT_YOURS = N_("No run of yours has this name.")
STATES: Final = {
    "queued": N_("queued"), "running": N_("running"), "waiting": N_("waiting"), "done": N_("done"),
    "refused": N_("refused"), "failed": N_("failed"), "cancelled": N_("cancelled"), "expired": N_("expired"),
    "held": N_("held in the airlock"), "released": N_("released"), "rejected": N_("rejected in the airlock"),
}  # fmt: skip
_SUBMITTED = N_("The study is submitted. It runs once every hospital has approved it.")
_STOPPING = N_("The run is stopped before its next round.")
_UNKNOWN = N_("There is no method of this name; choose one of the list.")
_WHY: Final = (  # what the coordinator says, where it says it in these words
    (re.compile(r"waiting for the stewards of (?P<names>.+) to decide"),
     N_("waiting for the stewards of {names} to decide")),
    (re.compile(r"waiting for (?P<names>(?!the stewards).+)"), N_("waiting for {names}")),
    (re.compile(r"refused: a hospital did not answer this ask\. Its steward has the reason\."),
     N_("a hospital did not answer; its steward has the reason")),
    (re.compile(r"cancelled by the researcher"), N_("cancelled by the researcher")),
    (re.compile(r"the coordinator was restarted"), N_("the coordinator was restarted")),
    (re.compile(r"(?P<names>\S+) did not answer.*"), N_("{names} did not answer")),
)  # fmt: skip
PAGE: Final = 50  # runs on a page
SHOWN: Final = 12  # rounds on the page; the CSV has all of them


def router(service: Service) -> APIRouter:
    """The pages over a coordinator's service."""
    made = APIRouter(prefix="/studies")

    @made.get("")
    def studies(request: Request, person: Researcher, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        """The runs of this person, the latest first, so many on a page."""
        held = mine(service, person)
        sheet = _sheet(service, held[after : after + PAGE], tongue_of(request))
        return downloaded(request, sheet) or page(request, "studies.html", sheet=sheet, **pager(after, len(held)))

    @made.get("/new")
    def new(request: Request, person: Researcher, method: str = "", like: str = "") -> Response:
        """The text area: empty, with a study to begin with, or with that of an earlier run."""
        if method and method not in installed():
            raise HTTPException(404, _UNKNOWN)
        text = service.home.folder(own(service, person, like).run).text if like else ""
        return _draft(request, text or (drafts.started(method) if method else ""), method=method)

    @made.post("/check")
    def check(request: Request, person: Researcher, text: Annotated[str, Form()] = "") -> Response:
        """What is to be mended in a text, beside it while it is written."""
        return page(request, "study_checked.html", **_said(drafts.checked(text)), arrays=None, found=None)

    @made.post("/new")
    def written(
        request: Request, person: Researcher, text: Annotated[str, Form()] = "", do: Annotated[str, Form()] = "check",
        file: UploadFile | None = None,
    ) -> Response:  # fmt: skip
        """Check a text, or the file that was chosen in its stead; submit it if there is nothing to mend."""
        if file is not None and file.filename:
            raw = file.file.read(LARGEST + 1)
            try:
                text = raw.decode("utf-8-sig")
            except UnicodeDecodeError:
                fault = drafts.Fault(None, drafts.NOT_TEXT, ())
                return _draft(request, text, drafts.Checked(None, (fault,)), 422)
        made = drafts.checked(text)
        if made.study is None or do != "submit":
            return _draft(request, text, made, 422 if made.faults else 200)
        entry = service.submit(text, person.id)
        say(request, tongue_of(request)(_SUBMITTED))
        return RedirectResponse(f"/studies/{entry.run}", 303)

    return made


def runs(service: Service) -> APIRouter:
    """The pages of one run: where it is, live; what would leave; its end."""
    made = APIRouter(prefix="/studies/{run}")

    @made.get("/live")
    def live(request: Request, person: Researcher, run: str) -> Response:
        """The part of the page that changes; once the run is over, the whole page is asked for."""
        known = where(request, service, own(service, person, run))
        answer = page(request, "study_live.html", **known)
        if known["over"]:
            answer.headers["HX-Refresh"] = "true"
        return answer

    @made.get("/leaves")
    def leaves(request: Request, person: Researcher, run: str) -> Response:
        """What may leave each hospital under this study."""
        study = service.home.folder(own(service, person, run).run).study
        found = drafts.leaving(study)
        sheet = drafts.arrays(found, tongue_of(request))
        return downloaded(request, sheet) or page(
            request, "study_leaves.html", study=study, run=run, found=found, arrays=sheet
        )

    @made.post("/cancel")
    def cancel(request: Request, person: Researcher, run: str) -> Response:
        """Stop a run before its next round."""
        service.cancel(own(service, person, run).run)
        say(request, tongue_of(request)(_STOPPING))
        return RedirectResponse(f"/studies/{run}", 303)

    @made.post("/again")
    def again(request: Request, person: Researcher, run: str) -> Response:
        """Submit the study of a run once more that is over without findings."""
        service.submit(service.home.folder(own(service, person, run).run).text, person.id)
        say(request, tongue_of(request)(_SUBMITTED))
        return RedirectResponse(f"/studies/{run}", 303)

    return made


def own(service: Service, person: Person, run: str) -> Entry:
    """A run of this person. HTTPException 404 for any other."""
    entry = service.book.get(run)
    if entry is None or entry.researcher != person.id:
        raise HTTPException(404, NOT_YOURS)
    return entry


def pager(after: int, count: int) -> dict[str, Any]:
    """Where the pages before and after one begin, in a list of so many."""
    return {"newer": max(0, after - PAGE) if after else None, "older": after + PAGE if after + PAGE < count else None}


def mine(service: Service, person: Person) -> list[Entry]:
    """The runs of a person, the latest first."""
    return [e for e in reversed(service.book.all()) if e.researcher == person.id]


def where(request: Request, service: Service, entry: Entry) -> dict[str, Any]:
    """What the pages of a run tell of it: its state, for whom it waits, and its rounds."""
    _, status = tongue_of(request), service.status(entry.run)
    rounds = _rounds(service, entry.run, _)
    state = status["release"]["state"] if "release" in status else status["state"]
    return {
        "known": status, "state": _(STATES[state]), "over": status["state"] in OVER, "why": why(status["why"], _),
        "rounds": rounds, "latest": rounds._replace(records=rounds.records[-SHOWN:][::-1]),
    }  # fmt: skip


def why(said: str, _: Tongue) -> str:
    """A reason of the coordinator in the language of the page, where it is one of the usual."""
    for pattern, text in _WHY:
        if found := pattern.fullmatch(said):
            return _(text, **found.groupdict())
    return said


def _rounds(service: Service, run: str, _: Tongue) -> Table:
    """The rounds of a run, from its log; a line that is being written is passed over."""
    log = service.home.folder(run).path / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    held = [json.loads(line) for line in lines if line.endswith("}")]
    columns = (
        Column("round", _("Round"), "count"), Column("what", _("What was asked"), "code"),
        Column("at", _("At"), "time"),
        Column("seconds", _("Seconds"), "number"), Column("received", _("Received"), "size"),
    )  # fmt: skip
    records = [{c.field: line.get(c.field) for c in columns} for line in held if line.get("event") == "round"]
    return Table("rounds", _("Rounds"), columns, records, _("No round was asked yet."))


def _sheet(service: Service, entries: list[Entry], _: Tongue) -> Table:
    columns = (
        Column("title", _("Title"), link="path"), Column("state", _("State")), Column("why", _("Why")),
        Column("submitted", _("Submitted"), "time"), Column("run", _("Run"), "code"),
    )  # fmt: skip
    records = []
    for entry in entries:
        release = service.status(entry.run).get("release", {})
        state = release.get("state", entry.state)
        said = str(release["why"]) if state == "rejected" else why(entry.why, _)
        known = {"state": _(STATES[state]), "why": said, "path": f"/studies/{entry.run}"}
        records.append({**entry._asdict(), **known})
    return Table("studies", _("My studies"), columns, records, _("You have submitted no study yet."))


def _draft(
    request: Request, text: str, made: drafts.Checked | None = None, status: int = 200, method: str = ""
) -> Response:  # fmt: skip
    """The page with the text area, and what was found in the text."""
    found = arrays = None
    said = _said(made)
    if made is not None and made.study is not None:
        try:
            found = drafts.leaving(made.study)
            arrays = drafts.arrays(found, tongue_of(request))
        except UserError as error:
            said["faults"], status = (drafts.Fault(None, str(error), ()),), 422
    values = {"text": text, "methods": installed(), "method": method, "arrays": arrays, "found": found}
    return page(request, "study_new.html", status, **said, **values)


def _said(made: drafts.Checked | None) -> dict[str, Any]:
    study: Study | None = made.study if made else None
    return {"checked": made is not None, "study": study, "faults": made.faults if made else ()}
