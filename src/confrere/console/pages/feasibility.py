"""Pages of feasibility: criteria that are changed over sources of this machine; a released finding that is explored.

Neither asks a hospital anything. A page is its form: every answer is made of the fields alone, so that a link, the back
button and a browser without scripts do what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from markupsafe import Markup
from starlette.datastructures import ImmutableMultiDict

from confrere.analyses.feasibility import Feasibility
from confrere.analyses.feasibility_patterns import Interval, bounds
from confrere.analyses.feasibility_tables import read_back
from confrere.analyses.finding import Finding
from confrere.console.pages.feasibility_counts import Explorer, changed, numbers
from confrere.console.pages.frame import Entry, page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.researcher import Researcher, own
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.coordinator.conduct import found_of
from confrere.coordinator.service import Service
from confrere.errors import Refused, StudyError, Waiting
from confrere.report.figures import draw, figures
from confrere.report.words import Words
from confrere.study.build import analyses
from confrere.study.file import Study

NONE_LEFT = N_("Leave at least one criterion on.")
NOTHING = N_("This run has no released count of feasibility.")
WHAT: Final = {  # words of a criterion's numbers, by the keys of Circe
    "days before": N_("days before"), "days after": N_("days after"), "times": N_("times"), "from": N_("from"),
    "up to": N_("up to"), "gte": N_("at least"), "gt": N_("more than"), "lte": N_("at most"), "lt": N_("less than"),
    "eq": N_("exactly"), "Age": N_("age"), "ValueAsNumber": N_("value"), "RangeLow": N_("lower end of the range"),
    "RangeHigh": N_("upper end of the range"), "DaysSupply": N_("days of supply"), "Quantity": N_("quantity"),
}  # fmt: skip
DRAWN = ("funnel", "costs", "accrual")
MENU: Final = (
    Entry(N_("Feasibility"), "/feasibility", ("researcher",), N_("Change a criterion, and see who would be left.")),
)


# On this machine ----------------------------------------------------------------------------------------------


def local(explorer: Explorer, title: str) -> APIRouter:
    """The page over sources of this machine; `title` is what the study is called."""
    pictures(explorer.count(explorer.rules), Tongue("en"))  # loads what draws, while nobody waits for an answer
    made = APIRouter()

    @made.get("/feasibility", dependencies=[require("researcher")])
    def shown(request: Request) -> Response:
        """The criteria as the study has them, or as the fields of the address say, and the counts."""
        fields, tongue, change = request.query_params, tongue_of(request), "hx-request" in request.headers
        known = _counted(explorer, fields, tongue)
        sheets = [s for s in (known["sheet"], known["costs"]) if s is not None]
        drawn = [] if change else pictures(known["finding"], tongue)
        part = "feasibility_counts.html" if change else "feasibility.html"
        return downloaded(request, *sheets) or page(
            request, part, title=title, criteria=_criteria(explorer, fields, tongue), query=request.url.query,
            pictures=drawn, **known,
        )  # fmt: skip

    @made.get("/feasibility/pictures", dependencies=[require("researcher")])
    def pictured(request: Request) -> Response:
        """The pictures of the same fields: drawing takes longer than counting, and waits until somebody looks."""
        tongue = tongue_of(request)
        found = _counted(explorer, request.query_params, tongue)["finding"]
        return page(request, "feasibility_pictures.html", pictures=pictures(found, tongue))

    return made


def _counted(explorer: Explorer, fields: ImmutableMultiDict[str, str], tongue: Tongue) -> dict[str, Any]:
    """The counts with the criteria of a form; or what is to be mended in it."""
    try:
        rules = [changed(rule, _own(j, fields)) for j, rule in enumerate(explorer.rules) if _on(j, fields)]
        if not rules:
            raise StudyError(tongue(NONE_LEFT))
        finding = explorer.count(rules)
    except StudyError as error:
        return {"fault": str(error), "finding": None, "sheet": None, "costs": None}
    return {
        "fault": "", "finding": finding, "sheet": _funnel(finding, tongue), "costs": _costs(finding, tongue),
        "base": explorer.asked if fields else None, "now": finding.tables["funnel"][-1]["n"],
    }  # fmt: skip


def _on(j: int, fields: ImmutableMultiDict[str, str]) -> bool:
    """Whether a criterion is on: all are, where there is no form yet."""
    return not fields or "asked" not in fields or str(j) in fields.getlist("on")


def _own(j: int, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of one criterion, by the names of its numbers."""
    head = f"{j}."
    return {name.removeprefix(head): value for name, value in fields.items() if name.startswith(head)}


def _criteria(explorer: Explorer, fields: ImmutableMultiDict[str, str], tongue: Tongue) -> list[dict[str, Any]]:
    """What the form shows of each criterion."""
    made = []
    names = explorer.analysis.cohorts[0].rules
    for j, (rule, name) in enumerate(zip(explorer.rules, names, strict=True)):
        given = _own(j, fields)
        shown = [
            {"name": f"{j}.{n.name}", "what": _what(n.what, tongue), "value": given.get(n.name, f"{n.value:g}")}
            for n in numbers(rule)
        ]
        made.append({"place": j, "name": name, "on": _on(j, fields), "numbers": shown})
    return made


def _what(words: str, tongue: Tongue) -> str:
    """`Age up to` in words."""
    if words in WHAT:
        return tongue(WHAT[words])
    head, _, tail = words.partition(" ")
    return " ".join(tongue(WHAT[part]) if part in WHAT else part for part in (head, tail) if part)


# Of a released finding ----------------------------------------------------------------------------------------


def released(service: Service) -> APIRouter:
    """The page over findings that the airlock let go."""
    made = APIRouter(prefix="/studies/{run}/feasibility")

    @made.get("")
    def explored(request: Request, person: Researcher, run: str, analysis: str = "") -> Response:
        """Who meets the chosen criteria, by what was told."""
        entry = own(service, person, run)
        study = service.home.folder(entry.run).study
        try:
            found = found_of(service.airlock.fetch(entry.run)).findings
        except (Waiting, Refused):
            found = {}
        made = {name: a for name, a in feasible(study).items() if name in found}
        if not made or (analysis and analysis not in made):
            raise HTTPException(404, NOTHING)
        name = analysis or next(iter(made))
        known = chosen(made[name], found[name], 0 if "small_cells" in study.allow else study.k, request.query_params)
        part = "feasibility_chosen.html" if "hx-request" in request.headers else "feasibility_released.html"
        return page(request, part, run=run, title=entry.title, name=name, names=list(made), **known)

    return made


def feasible(study: Study) -> dict[str, Feasibility]:
    """The feasibility counts of a study, by name."""
    if all(spec.method != "feasibility" for spec in study.analyses):
        return {}
    built = zip(study.analyses, analyses(study), strict=True)
    return {spec.name: made for spec, made in built if isinstance(made, Feasibility)}


def chosen(analysis: Feasibility, finding: Finding, k: int, fields: Any) -> dict[str, Any]:
    """The criteria, which of them are on and by which variant, and how many people meet those: `low` to `high`."""
    patterns, rules = analysis.patterns, analysis.cohorts[0].rules
    told = read_back(patterns, finding.tables, k)
    columns, shown = list[int](), list[dict[str, Any]]()
    for j, rule in enumerate(rules):
        variants = [v for v, place in enumerate(patterns.variants) if place == j]
        on = "asked" not in fields or str(j) in fields.getlist("on")
        picked = next((v for v in variants if fields.get(f"variant{j}") == str(v)), None)
        if on:
            columns.append(patterns.of(j, picked))
        choices = [(str(v), analysis.variants[v]) for v in variants]
        shown.append({"place": j, "name": rule, "on": on, "choices": choices, "picked": str(picked)})
    ends = bounds(told, patterns.meeting(columns).astype(float))
    every = bounds(told, patterns.meeting(list(range(len(rules)))).astype(float))
    return {"criteria": shown, "ends": _whole(ends), "every": _whole(every)}


def _whole(ends: Interval) -> tuple[int, int]:
    return round(ends.low), round(ends.high)


# Tables and pictures ------------------------------------------------------------------------------------------


def _funnel(finding: Finding, tongue: Tongue) -> Table:
    _ = tongue
    words = {"people": _("People"), "entry event": _("Entry event"), "criterion": ""}
    rows = [{"step": r["criterion"] or words.get(r["step"], r["step"]), "n": r["n"]} for r in finding.tables["funnel"]]
    columns = (Column("step", _("Step")), Column("n", _("People"), "count"))
    return Table("funnel", _("Who is left after each criterion"), columns, rows)


def _costs(finding: Finding, tongue: Tongue) -> Table:
    _ = tongue
    rows: dict[int, dict[str, Any]] = {}
    for r in finding.tables["criteria"]:
        row = rows.setdefault(r["number"], {"criterion": r["criterion"], "unknown": ""})
        row[r["measure"]] = _ends(r, tongue)
    columns = (
        Column("criterion", _("Criterion")), Column("alone", _("Meet it alone")), Column("unknown", _("Unknown")),
        Column("without", _("All but this one")), Column("gain", _("More without it")),
        Column("shapley", _("Lost to it (Shapley)")),
    )  # fmt: skip
    return Table("criteria", _("What each criterion costs"), columns, list(rows.values()))


def _ends(record: Mapping[str, Any], tongue: Tongue) -> str:
    low, high = (tongue.numbers.count(round(record[end])) for end in ("n_low", "n_high"))
    return low if low == high else tongue.numbers.interval(low, high)


def pictures(finding: Finding | None, tongue: Tongue) -> Sequence[dict[str, Any]]:
    """The figures of the report that follow a change; none where there is nothing to draw."""
    if finding is None:
        return []
    about = {"method": "feasibility", "tables": finding.tables, "facts": finding.facts, "settings": {}}
    words = Words(tongue.lang)
    return [
        {"title": f.title, "svg": Markup(draw(f, words).svg)}
        for f in figures(about, {}, words) if f.name in DRAWN
    ]  # fmt: skip
