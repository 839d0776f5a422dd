"""A small result with every table that the report knows; what the tests of the report ask about a page, a figure."""

from __future__ import annotations

import importlib.resources
import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from html.parser import HTMLParser
from typing import Any

import jsonschema

from confrere.report.figures import Drawing, draw, figures
from confrere.report.words import Words

LONG = "a name of many words that nobody would abbreviate " * 3
EN, FR = Words("en"), Words("fr")
SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = "</title></svg><script>alert('x')</script>\"'&"


def point(group: str | None, time: float, estimate: float | None, at_risk: int | None = 50) -> dict[str, Any]:
    low, high = (None, None) if estimate is None else (max(0.0, estimate - 0.1), min(1.0, estimate + 0.1))
    counted = {"group": group, "time": time, "at_risk": at_risk, "events": 12, "censored": 3}
    found = {"estimate": estimate, "std_error": 0.05, "conf_low": low, "conf_high": high}
    return counted | found | ({"suppressed": True} if at_risk is None else {})


def coefficient(term: str, ratio: float, p_value: float = 0.02) -> dict[str, Any]:
    whole = {"term": term, "estimate": -0.3, "std_error": 0.1, "statistic": -3.0, "p_value": p_value}
    limits = {"conf_low": -0.5, "conf_high": -0.1}
    return whole | limits | {"hazard_ratio": ratio, "hr_low": ratio * 0.8, "hr_high": ratio * 1.2}


def analysis(name: str, method: str, /, **tables: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "method": method,
        "settings": {"formula": "Surv(t, d) ~ arm"},
        "n": 120,
        "events": 60,
        "hospitals": 3,
        "notes": ["counted in cells of 30 days"],
        "warnings": ["age was clamped for 2 people"],
        "cite": [{"text": "Cox DR. Regression models and life-tables", "doi": "10.1111/j.2517-6161.1972.tb00899.x"}],
        "facts": {"log_likelihood": -123.456, "converged": True},
        "tables": tables,
    }


def sample() -> dict[str, Any]:
    """A small result with every table that the report knows."""
    curve = [point("no", 30 * i, 1 - 0.02 * i) for i in range(1, 31)] + [point("yes", 450, 0.7, None)]
    one = {"group": "no", "estimate": 700.0, "conf_low": 600.0, "conf_high": None}
    test = {"test": "logrank", "statistic": 5.1, "df": 1, "p_value": 0.0237}
    check_ = {"term": "age", "transform": "identity", "statistic": 9.0, "df": 1, "p_value": 0.003}
    level = {"variable": "size", "group": "no", "missing": 1, "smd": 0.2}
    number = {"variable": "age", "level": None, "group": "no", "n": 99, "missing": 1, "mean": 54.123, "std_dev": 9.8}
    share = {"estimate": 0.2, "std_error": 0.02, "conf_low": 0.16, "conf_high": 0.24}
    return {
        "confrere": "0.1.0",
        "schema": 1,
        "study": {
            "id": "demo",
            "title": "Hormones and recurrence",
            "purpose": "public-interest research",
            "hash": "9f2c",
            "time_unit": "days",
            "disclosure": [],
        },
        "hospitals": ["curie", "lyon", "nantes"],
        "created": "2026-11-22T01:55:23+00:00",
        "self_approved": True,
        "versions": {"python": "3.11.7"},
        "analyses": [
            analysis(
                "km",
                "kaplan_meier",
                curve=curve,
                survival=[point("no", 365, 0.76), point("yes", 365, None)],
                median=[one, one | {"group": "yes", "estimate": None, "conf_low": None}],
                rmst=[{"group": "no", "tau": 730.5, "estimate": 600.0, "std_error": 7.0}],
                risk=[{"group": "no", "time": t, "at_risk": 99 - t // 10} for t in (0, 300, 600)],
                tests=[test],
                attrition=[{"step": "left out", "reason": "age missing", "n": 4}],
            ),
            analysis(
                "cox",
                "cox",
                coefficients=[coefficient("C(size)[T.20-50]", 1.4), coefficient("C(size)[T.>50]", 1.9)],
                proportional_hazards=[check_],
                baseline=[{"time": 30, "hazard": 0.1, "cumulative_hazard": 0.1, "survival": 0.9}],
                attrition=[{"step": "left out", "reason": "age missing", "n": 4}],
            ),
            analysis(
                "who",
                "describe",
                table1=[
                    number | {"q25": 44.0, "median": 53.0, "q75": 64.0},
                    level | {"level": "<=20", "n": 66},
                    level | {"level": ">20", "n": 33},
                ],
            ),
            analysis("cif", "competing_risks", incidence=[{"group": None, "cause": "death", "time": 90} | share]),
            analysis("own", "plugin", anything=[{"name": "a", "worth": 1.25}]),
        ],
        "left": [
            {
                "analysis": "cox",
                "step": "score",
                "name": "hessian",
                "shape": [8, 8],
                "dims": ["terms", "terms"],
                "rounds": 2,
                "bytes": 2048,
                "kind": "moments",
            }
        ],
        "rounds": 14,
        "bytes": 20240,
        "seconds": 1.84,
    }


class Page(HTMLParser):
    """What of a page the tests ask about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br"} and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def words_of(page: str) -> str:
    """The text of a page, its blanks made one."""
    return re.sub(r"\s+", " ", " ".join(Page(page).text))


# ---------------------------------------------------------------- figures


def drawn(result: dict[str, Any], place: int, words: Words = EN) -> dict[str, Drawing]:
    found = figures(result["analyses"][place], result["study"], words)
    return {figure.name: draw(figure, words) for figure in found}


def one(result: dict[str, Any], place: int, name: str, words: Words = EN) -> Drawing:
    return drawn(result, place, words)[name]


def picture(drawing: Drawing) -> ET.Element:
    return ET.fromstring(drawing.svg)


def said(drawing: Drawing) -> list[str]:
    return [text.text or "" for text in picture(drawing).iter(f"{SVG}text")]


def marks(drawing: Drawing, kind: str) -> list[dict[str, Any]]:
    """The views with this mark, each with its `rows`."""
    sets = drawing.spec["datasets"]
    found = []

    def walk(view: dict[str, Any], rows: Any) -> None:
        data = view.get("data", {})
        rows = sets[data["name"]] if "name" in data else data.get("values", rows)
        if view.get("mark", {}).get("type") == kind:
            found.append(view | {"rows": rows})
        for group in ("vconcat", "hconcat", "layer"):
            for inner in view.get(group, []):
                walk(inner, rows)

    walk(drawing.spec, [])
    return found


def places(drawing: Drawing, element: str) -> list[tuple[float, float, ET.Element]]:
    """Where each element of a kind stands in the picture: the translations of its parents added up."""
    found = []

    def walk(node: ET.Element, x: float, y: float) -> None:
        moved = re.match(r"translate\(([-\d.e]+),([-\d.e]+)\)", node.get("transform", ""))
        if moved:
            x, y = x + float(moved[1]), y + float(moved[2])
        if node.tag == SVG + element:
            found.append((x, y, node))
        for child in node:
            walk(child, x, y)

    walk(picture(drawing), 0.0, 0.0)
    return found


@cache
def validator() -> Any:
    """Of the Vega-Lite schema that altair ships."""
    text = importlib.resources.files("altair.vegalite.v6.schema").joinpath("vega-lite-schema.json").read_text("utf-8")
    return jsonschema.Draft7Validator(json.loads(text))


def whole(drawing: Drawing) -> None:
    """Numbers everywhere, nothing outside the picture, no word cut at its edge."""
    assert not re.search(r"NaN|Infinity|undefined|\bnull\b", drawing.svg)
    root = picture(drawing)
    wide, high = float(root.get("width") or 0), float(root.get("height") or 0)
    assert 300 < wide < 1200
    assert 50 < high < 3000
    for x, y, node in places(drawing, "text"):
        length = 0.45 * 13 * min(len(node.text or ""), 28)
        start = {"end": x - length, "middle": x - length / 2}.get(node.get("text-anchor", ""), x)
        turned = "rotate" in node.get("transform", "")
        assert -1 <= y <= high + 1
        assert turned or (start >= -1 and start + length <= wide + 1), node.text
