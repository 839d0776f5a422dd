"""One run of a researcher: where it is and, once the airlock has released them, its findings, report and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from confrere.console.pages import delivery
from confrere.console.pages.feasibility import feasible
from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.researcher import PAGE, Researcher, mine, own, where
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.coordinator.book import Entry
from confrere.coordinator.conduct import Found, found_of
from confrere.coordinator.service import Service
from confrere.errors import Refused, Waiting

TOLD: Final = N_("The readers see your word with the findings.")
ALIKE: Final = N_("These two runs have no analysis of the same name and method.")
CHECKS: Final = {
    "cells": N_("small cells"), "complementary": N_("counts that follow from others"), "tails": N_("tails of curves"),
    "extremes": N_("extreme values"), "saturated": N_("saturated models"), "freedom": N_("degrees of freedom"),
    "differences": N_("differences between analyses"), "membership": N_("membership of a model's people"),
}  # fmt: skip


def router(service: Service) -> APIRouter:
    """The pages over a coordinator's service."""
    made = APIRouter(prefix="/studies/{run}")

    @made.get("")
    def run(request: Request, person: Researcher, run: str) -> Response:
        """The page of a run."""
        entry = own(service, person, run)
        known = where(request, service, entry)
        others = [e for e in mine(service, person)[:PAGE] if e.run != run and e.state == "done"]
        shown = _findings(request, service, entry)
        return downloaded(request, known["rounds"]) or page(
            request, "study_run.html", **known, **shown, run=run, others=others, names=CHECKS,
            text=service.home.folder(run).text, feasible=feasible(service.home.folder(run).study),
        )  # fmt: skip

    @made.post("/ask")
    def ask(request: Request, person: Researcher, run: str, word: Annotated[str, Form()] = "") -> Response:
        """A word for the readers of what is held."""
        service.airlock.ask(own(service, person, run).run, person.id, word)
        say(request, tongue_of(request)(TOLD))
        return RedirectResponse(f"/studies/{run}", 303)

    @made.get("/report")
    def report(request: Request, person: Researcher, run: str) -> Response:
        """The report, in the language of the pages."""
        return _given(request, service, own(service, person, run), "report.html")

    @made.get("/files/{name:path}")
    def file(request: Request, person: Researcher, run: str, name: str) -> Response:
        """A file beside the report."""
        return _given(request, service, own(service, person, run), name)

    @made.get("/compare")
    def compare(request: Request, person: Researcher, run: str, to: str = "") -> Response:
        """Two runs side by side."""
        one, other = own(service, person, run), own(service, person, to)
        sheets = compared(_found(service, one), _found(service, other), tongue_of(request))
        if not sheets:
            raise HTTPException(422, ALIKE)
        return downloaded(request, *sheets) or page(request, "study_compare.html", one=one, other=other, sheets=sheets)

    return made


def _findings(request: Request, service: Service, entry: Entry) -> dict[str, Any]:
    """What the airlock says of a run that is done, and its findings if it let them go."""
    known: dict[str, Any] = {"release": None, "parts": [], "errors": {}, "fault": "", "files": []}
    if entry.state != "done":
        return known
    folder, lang = service.home.folder(entry.run), tongue_of(request).lang
    known["release"] = standing = service.airlock.standing(entry.run)
    try:
        data = service.airlock.fetch(entry.run)
    except (Waiting, Refused) as error:
        return known | ({"fault": str(error)} if standing.state == "released" else {})
    made = delivery.result(folder, standing, data)
    parts = delivery.read(made, lang)
    return known | {"parts": parts, "errors": found_of(data).errors, "files": delivery.listed(made, parts)}


def _given(request: Request, service: Service, entry: Entry, name: str) -> Response:
    """A file of the report of a run, once the airlock has released what it found."""
    data, standing = service.airlock.fetch(entry.run), service.airlock.standing(entry.run)
    folder = service.home.folder(entry.run)
    return delivery.file(delivery.report(folder, standing, data, tongue_of(request).lang), name)


def _found(service: Service, entry: Entry) -> Found:
    return found_of(service.airlock.fetch(entry.run))


# Two runs -----------------------------------------------------------------------------------------------------


def compared(one: Found, other: Found, tongue: Tongue) -> list[Table]:
    """A table for every analysis that two runs have alike: its numbers in both, and how much they differ."""
    _, sheets = tongue, []
    columns = (
        Column("term", _("Term")), Column("one", _("This run"), "number"), Column("limits", _("95 % limits")),
        Column("other", _("The other"), "number"), Column("other_limits", _("95 % limits")),
        Column("difference", _("Difference"), "number"),
    )  # fmt: skip
    for name, found in one.findings.items():
        beside = other.findings.get(name)
        if beside is not None and beside.method == found.method:
            rows = [*_people(found, beside, _), *_rows(_terms(found.tables), _terms(beside.tables), tongue)]
            sheets.append(Table(f"compare-{name}", f"{name} ({found.method})", columns, rows))
    return sheets


def _people(found: Any, beside: Any, _: Tongue) -> Iterator[dict[str, Any]]:
    """How many people and events."""
    for label, a, b in ((_("People"), found.n, beside.n), (_("Events"), found.events, beside.events)):
        if a is not None and b is not None:
            yield {"term": label, "one": a, "limits": "", "other": b, "other_limits": "", "difference": a - b}


def _terms(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {record["term"]: record for record in tables.get("coefficients", [])}


def _rows(ones: dict[str, Any], others: dict[str, Any], tongue: Tongue) -> Iterator[dict[str, Any]]:
    """Coefficients on their own scale, which of ratios is the logarithm; a dash for what one run does not have."""
    for term in dict.fromkeys([*ones, *others]):
        a, b = (records.get(term, {}) for records in (ones, others))
        left, right = a.get("estimate"), b.get("estimate")
        yield {
            "term": term, "one": left, "limits": _limits(a, tongue), "other": right, "other_limits": _limits(b, tongue),
            "difference": None if left is None or right is None else left - right,
        }  # fmt: skip


def _limits(record: Mapping[str, Any], tongue: Tongue) -> str:
    low, high = record.get("conf_low"), record.get("conf_high")
    if low is None or high is None:
        return ""
    return tongue.numbers.interval(tongue.numbers.short(low), tongue.numbers.short(high))
