"""What left a hospital so far, from its ledger: by month as a picture, and by study and month as numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from confrere.console.pages.frame import page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here, part
from confrere.console.pages.languages import Tongue
from confrere.console.pages.plots import Plot, bars
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.hospital.left import Left

router = APIRouter()
MONTHS = 12  # in the picture


@router.get("/left", dependencies=[require("steward")])
def left(request: Request, here: Here, page_: Annotated[int, Query(alias="page", ge=1)] = 1) -> Response:
    """The picture, and the table of all studies and months."""
    _, found = tongue_of(request), here.left()
    titles = {listed.study: listed.title for listed in here.studies()}
    whole, months = _by_study(found, titles, _), _by_month(found, _)
    shown = part(whole.records, page_)
    if answer := downloaded(request, whole, months):
        return answer
    return page(
        request, "hospital_left.html", sheet=whole._replace(records=shown.rows), part=shown,
        plot=_drawn(months, _) if found else None, numbers_left=sum(one.numbers for one in found),
        bytes_left=sum(one.bytes for one in found), studies_left=len({one.study for one in found}),
    )  # fmt: skip


def _by_study(found: list[Left], titles: dict[str, str], _: Tongue) -> Table:
    records = [
        one._asdict() | {"title": titles.get(one.study) or one.study[:12], "path": _path(one.study, titles)}
        for one in found
    ]
    columns = (
        Column("title", _("Study"), link="path"), Column("month", _("Month")), Column("rounds", _("Rounds"), "count"),
        Column("arrays", _("Arrays"), "count"), Column("numbers", _("Numbers"), "count"),
        Column("bytes", _("Bytes"), "size"),
    )  # fmt: skip
    return Table("studies", _("What left, by study and month"), columns, records, _("Nothing has left yet."))


def _path(study: str, titles: dict[str, str]) -> str:
    return f"/studies/{study}" if study in titles else ""


def _by_month(found: list[Left], _: Tongue) -> Table:
    """Sums of the last months in which something left."""
    sums: dict[str, dict[str, Any]] = {}
    for one in found:
        row = sums.setdefault(one.month, {"month": one.month, "rounds": 0, "numbers": 0, "kilobytes": 0.0})
        row["rounds"] += one.rounds
        row["numbers"] += one.numbers
        row["kilobytes"] += one.bytes / 1000
    return _months([sums[month] for month in sorted(sums)[-MONTHS:]], _)


def _months(records: list[dict[str, Any]], _: Tongue) -> Table:
    columns = (
        Column("month", _("Month")), Column("kilobytes", _("Kilobytes"), "number"),
        Column("numbers", _("Numbers"), "count"), Column("rounds", _("Rounds"), "count"),
    )  # fmt: skip
    return Table("months", _("What left, by month"), columns, records)


def _drawn(months: Table, _: Tongue) -> Plot:
    """The picture; kept while its numbers are the same, since making it takes longer than all else of the page."""
    return _picture(tuple(tuple(row.items()) for row in months.records), _)


@lru_cache(maxsize=16)
def _picture(rows: tuple[tuple[tuple[str, Any], ...], ...], _: Tongue) -> Plot:
    months = _months([dict(row) for row in rows], _)
    most = max(months.records, key=lambda row: row["kilobytes"])
    said = _.plural(
        "Bars for {count} month; the tallest is {month}, with {size} kilobytes.",
        "Bars for {count} months; the tallest is {month}, with {size} kilobytes.", len(months.records),
        month=most["month"], size=_.numbers.short(most["kilobytes"]),
    )  # fmt: skip
    return bars(months, "month", "kilobytes", said, _.lang)
