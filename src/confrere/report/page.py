"""report.html: one page that needs no network and no script. `render` is pure: result in, text out."""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from confrere.report import prose
from confrere.report.cautions import said
from confrere.report.checklist import checklist
from confrere.report.checks import released
from confrere.report.cluster_cards import cards
from confrere.report.effect_forest import is_effect
from confrere.report.figures import Drawing, Figure, draw, figures, fitted_model, of_effects
from confrere.report.files import csv_bytes, stems
from confrere.report.labels import LABELS
from confrere.report.labels_methods import METHODS
from confrere.report.model_card import is_model, sheet
from confrere.report.notes import Told, told
from confrere.report.numerals import Language
from confrere.report.protocol import protocol
from confrere.report.raw import raw
from confrere.report.schema import Record, Result, check
from confrere.report.tables import BETWEEN, DRAWN, WITHHELD, Table, tables, threshold
from confrere.report.vega import json_bytes
from confrere.report.words import Words

RECALIBRATION = ("recalibration_intercept", "recalibration_slope")
NAMED = ("cause", "cohort")  # facts that are a researcher's words, which may be spelt as one of ours
SHOWN = 150  # rows of numbers under a figure or table; its CSV has them all


class Caution(NamedTuple):
    """A warning of an analysis, and where the documentation says more."""

    text: Told
    code: str = ""
    page: str = ""


class Part(NamedTuple):
    """One analysis as the page shows it."""

    name: str
    anchor: str
    method: str
    about: str  # people, events, hospitals
    headline: str
    cards: list[str]  # what tells each cluster from the others
    settings: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    figures: list[Figure]
    tables: list[Table]
    notes: list[Told]
    warnings: list[Caution]
    analysis: dict[str, Any]

    @property
    def told(self) -> bool:
        """Whether it has results of its own; a mere description of the data stands with the data."""
        return bool(self.figures or _in_results(self) or not any(t.name == "table1" for t in self.tables))


def parts(result: Result, words: Words) -> list[Part]:
    """Every analysis with its figures and tables, all of them named for their files."""
    study, analyses = result["study"], result["analyses"]
    first = next((a for a in analyses if is_effect(a)), None)
    all_effects = of_effects(analyses, study, words)
    drawn = [
        (a, figure) for a in analyses for figure in (*(all_effects if a is first else ()), *figures(a, study, words))
    ]
    set_up = [(a, table) for a in analyses for table in tables(a, study, words)]
    set_up += [(a, sheet(result, a, words)) for a in analyses if is_model(a)]
    drawn_stems = stems((a["name"], figure.name) for a, figure in drawn)
    sheet_stems = stems((a["name"], table.name) for a, table in set_up)
    named = [(a, f._replace(stem=s)) for (a, f), s in zip(drawn, drawn_stems, strict=True)]
    sheets = [(a, t._replace(stem=s)) for (a, t), s in zip(set_up, sheet_stems, strict=True)]
    return [
        _part(
            analysis,
            f"analysis-{place}",
            [figure for owner, figure in named if owner is analysis],
            [table for owner, table in sheets if owner is analysis],
            result,
            words,
        )
        for place, analysis in enumerate(analyses, start=1)
    ]


def _part(
    analysis: dict[str, Any],
    anchor: str,
    drawn: list[Figure],
    sheets: list[Table],
    result: Result,
    words: Words,
) -> Part:
    forms, study = words.numbers, result["study"]
    about = [
        words(text, n=forms.count(analysis[field]))
        for field, text in (("n", "{n} people"), ("events", "{n} events"))
        if analysis[field] is not None
    ]
    about.append(prose.shares(analysis["hospitals"], len(result["hospitals"]), words))
    return Part(
        name=analysis["name"],
        anchor=anchor,
        method=_method(analysis, words),
        about=" · ".join(about),
        headline=prose.headline(analysis, study, words),
        cards=cards(analysis, words),
        settings=[(words.label(key), _value(value, words)) for key, value in analysis["settings"].items()],
        facts=_facts(analysis, words),
        figures=drawn,
        tables=sheets,
        notes=[told(note, words, threshold(study)) for note in analysis["notes"]],
        warnings=[_caution(warning, words) for warning in analysis["warnings"]],
        analysis=analysis,
    )


def _facts(analysis: dict[str, Any], words: Words) -> list[tuple[str, str]]:
    """The facts as printed; beside a recalibration, for what it is: `confrere recalibrate` takes it or not."""
    facts = analysis["facts"]
    told = {key: value for key, value in facts.items() if value is not None or key not in RECALIBRATION}
    rows = [(words.title(key), _fact(key, value, words)) for key, value in told.items()]
    if not all(key in told for key in RECALIBRATION):
        return rows
    given = analysis["settings"]
    if not given.get("model") and not given.get("learnt"):
        text = words(
            "For whoever computes the risk. The model is not in the study: there is none for confrere recalibrate."
        )
    elif "horizon" in facts and not given.get("baseline"):
        text = words(
            "For a network of discrete time whose last interval ends at the horizon. Of any other model without a "
            "baseline confrere recalibrate refuses it: evaluate that of two levels by an outcome of two levels."
        )
    else:
        text = words("For confrere recalibrate, with this result.")
    return [*rows, (words("Recalibration"), text)]


def _fact(key: str, value: Any, words: Words) -> str:
    """A fact as printed: a word of ours in the language of the page, a researcher's own as it was written."""
    ours = isinstance(value, str) and value in LABELS and key not in NAMED
    return words.label(value) if ours else _value(value, words)


def _value(value: Any, words: Words) -> str:
    """A setting, or a fact of its own words, as printed."""
    return told(value, words).text if isinstance(value, str) and value else words.numbers.any(value)


def _caution(warning: str | dict[str, str], words: Words) -> Caution:
    """A warning and its page, in the language of the report."""
    given = {"text": warning} if isinstance(warning, str) else warning
    code, page = given.get("code", ""), given.get("page", "")
    home = page.replace("warnings.md#", "warnings.fr.md#") if words.lang == "fr" else page
    return Caution(said(code, given["text"], words), code, home)


def _method(analysis: dict[str, Any], words: Words) -> str:
    """The method in full; a method of several models by the one that was fitted."""
    model = fitted_model(analysis)
    return words.method(model if model in METHODS else analysis["method"])


def drawings(shown: list[Part], words: Words) -> dict[str, Drawing]:
    """Every figure drawn, by its file name."""
    return {figure.stem: draw(figure, words) for part in shown for figure in part.figures}


def render(result: Result, lang: Language = "en") -> str:
    """The whole page. Raises StudyError where `result` is not what the schema says."""
    check(result)
    words = Words(lang)
    shown = parts(result, words)
    return set_page(result, shown, drawings(shown, words), words)


def set_page(result: Result, shown: list[Part], drawn: dict[str, Drawing], words: Words) -> str:
    """The page of a checked result, from its parts and their drawings."""
    cited = references(result)
    text: str = _template().render(
        result=result,
        study=result["study"],
        words=words,
        forms=words.numbers,
        parts=shown,
        attrition=attrition(shown),
        left=prose.left_table(result, words)._replace(stem="left"),
        left_said=prose.what_left(result, words),
        disclosed=prose.disclosed(result, words),
        sure=prose.how_sure(result, words),
        where_from=prose.where_from(result, words),
        contributed=prose.contributed(result, words),
        taking=prose.taking_part(result),
        released=released(result, words),
        versions=sorted({"confrere": result["confrere"], **result["versions"]}.items()),
        references=cited,
        protocol=protocol(result, words),
        checklist=checklist(result, words),
        cited=lambda part: [n for n, (_, names) in enumerate(cited, start=1) if part.name in names],
        style=Markup(_asset("report.css")),
        draw=lambda figure: Markup(drawn[figure.stem].svg),
        downloads=lambda records, figure: _downloads(records, drawn[figure] if figure else None),
        numbers=lambda records: raw(records[:SHOWN], words),
        more=lambda records: max(0, len(records) - SHOWN),
        in_results=_in_results,
        asked=lambda part: prose.asked(part.analysis, words),
        between=words(BETWEEN),
        asterisk=words(WITHHELD, k=threshold(result["study"])),
        doi=lambda doi: "https://doi.org/" + quote(doi, safe="/().;:-_"),
        web=lambda page: page.startswith("https://"),
    )
    return text


def _downloads(records: list[Record], drawing: Drawing | None) -> list[tuple[str, str]]:
    """(ending, data: address) of each file behind a table or figure; they work offline, from one page."""
    files = [("csv", _data("text/csv;charset=utf-8", csv_bytes(records)))]
    if drawing is not None:
        files.append(("svg", _data("image/svg+xml", drawing.svg.encode())))
        files.append(("vl.json", _data("application/json", json_bytes(drawing.spec))))
    return files


def attrition(shown: list[Part]) -> list[tuple[list[str], Table]]:
    """Each distinct account of people left out, with the names of the analyses that it is of."""
    found: list[tuple[list[str], Table]] = []
    for part in shown:
        for table in part.tables:
            if table.name != "attrition":
                continue
            same = next((names for names, other in found if other.records == table.records), None)
            if same is None:
                found.append(([part.name], table))
            else:
                same.append(part.name)
    return found


def references(result: Result) -> list[tuple[dict[str, Any], list[str]]]:
    """Each citation once, with the names of the analyses that it is of."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for analysis in result["analyses"]:
        for cited in analysis["cite"]:
            found.setdefault(cited["text"], (cited, []))[1].append(analysis["name"])
    return list(found.values())


def _in_results(part: Part) -> list[Table]:
    """Data has a place of its own, and what a figure draws stands under the figure."""
    elsewhere = ("attrition", "table1", *(DRAWN if part.figures else ()))
    return [table for table in part.tables if table.name not in elsewhere]


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _asset(name: str) -> str:
    return files("confrere.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    """The template; whatever it prints is escaped unless made here as markup."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.j2"))
