"""The report: result.json as published, numbers as a journal prints them, a page that stands alone."""

from __future__ import annotations

import base64
import copy
import csv
import io
import itertools
import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from confrere.errors import StudyError
from confrere.report import check, render, schema, write
from confrere.report.axes import Clock, clock, ratio_ticks, ticks, time_ticks
from confrere.report.figures import figures
from confrere.report.files import csv_bytes, safe, stems
from confrere.report.forest import lines
from confrere.report.numerals import MINUS, NONE, Numerals
from confrere.report.prose import CLASSES, UNKNOWN_CLASS
from confrere.report.svg import draw
from confrere.report.tables import tables
from confrere.report.terms import is_intercept, read
from confrere.report.words import LABELS, METHODS, Words, french

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


@pytest.fixture
def result() -> dict[str, Any]:
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
    return re.sub(r"\s+", " ", " ".join(Page(page).text))


# ---------------------------------------------------------------- the schema


def test_the_published_schema_is_one_and_the_sample_fits_it(result: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(result)
    check(result)


WRONG = {
    "study absent": lambda r: r.pop("study"),
    "a misspelt key": lambda r: r.update(hospitls=[]),
    "another schema": lambda r: r.update(schema=2),
    "a number as text": lambda r: r.update(rounds="14"),
    "true as a number": lambda r: r.update(seconds=True),
    "negative bytes": lambda r: r.update(bytes=-1),
    "a nameless analysis": lambda r: r["analyses"][0].update(name=""),
    "a term that is a number": lambda r: r["analyses"][1]["tables"]["coefficients"][0].update(term=3),
    "an impossible p": lambda r: r["analyses"][1]["tables"]["coefficients"][0].update(p_value=1.2),
    "a curve without time": lambda r: r["analyses"][0]["tables"]["curve"][0].pop("time"),
    "a nested cell": lambda r: r["analyses"][4]["tables"]["anything"][0].update(worth=[1]),
    "a table that is no list": lambda r: r["analyses"][4]["tables"].update(anything={}),
    "half a person": lambda r: r["analyses"][0].update(n=1.5),
    "a shape of text": lambda r: r["left"][0].update(shape=["8"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_our_check_refuses_what_jsonschema_refuses(result: dict[str, Any], wrong: str) -> None:
    WRONG[wrong](result)
    assert not jsonschema.Draft202012Validator(schema()).is_valid(result)
    with pytest.raises(StudyError, match=r"result.*result\.schema\.json"):
        check(result)


def test_an_error_names_the_place(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["curve"][2]["estimate"] = "high"
    with pytest.raises(StudyError, match=r"result\.analyses\[0\]\.tables\.curve\[2\]\.estimate: 'high'"):
        check(result)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["table", "facts", "settings"])
def test_a_number_that_json_lacks_is_an_error_and_nothing_is_written(
    result: dict[str, Any], tmp_path: Path, number: float, place: str
) -> None:
    if place == "table":
        result["analyses"][1]["tables"]["coefficients"][0]["estimate"] = number
    else:
        result["analyses"][1][place]["deep"] = [number] if place == "settings" else number
    with pytest.raises(StudyError, match="no number in JSON"):
        write(result, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whole_floats_are_integers_as_in_json(result: dict[str, Any]) -> None:
    result["analyses"][0]["n"] = 120.0
    jsonschema.validate(result, schema())
    check(result)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("p_value", "english", "french_"),
    [
        (0.52, "0.52", "0,52"),
        (0.0237, "0.024", "0,024"),
        (0.0496, "0.0496", "0,0496"),
        (0.05, "0.050", "0,050"),
        (0.00432, "0.004", "0,004"),
        (0.00099, "<0.001", "<0,001"),
        (0.0, "<0.001", "<0,001"),
        (0.998, ">0.99", ">0,99"),
        (None, NONE, NONE),
    ],
)
def test_p_values(p_value: float | None, english: str, french_: str) -> None:
    assert Numerals("en").p_value(p_value) == english
    assert Numerals("fr").p_value(p_value) == french_


def test_p_in_a_sentence() -> None:
    assert Numerals().p_equals(0.3) == "P = 0.30"
    assert Numerals().p_equals(1e-9) == "P < 0.001"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Numerals().fixed(-0.004), "0.00"),  # no minus before nothing
        (Numerals().fixed(-1.25), f"{MINUS}1.25"),
        (Numerals().count(2982), "2982"),
        (Numerals().count(12982), "12,982"),
        (Numerals("fr").count(12982), "12\u202f982"),
        (Numerals().count(10.5), "10.5"),
        (Numerals().significant(0.0152345), "0.0152"),
        (Numerals().significant(9.996), "10.0"),
        (Numerals().significant(0), "0"),
        (Numerals().significant(2.9e-9), "2.90 × 10⁻⁹"),
        (Numerals().short(0.8), "0.8"),
        (Numerals().short(100.0), "100"),
        (Numerals("fr").short(1.25), "1,25"),
        (Numerals().percent(0.451), "45.1%"),
        (Numerals("fr").percent(0.451), "45,1\u202f%"),
        (Numerals().size(16), "16 bytes"),
        (Numerals().size(20240), "20.2 kB"),
        (Numerals().size(1_500_000), "1.50 MB"),
        (Numerals("fr").size(20240), "20,2 ko"),
        (Numerals().any(True), "yes"),
        (Numerals().any(-11189.6612), f"{MINUS}11,189.66"),
        (Numerals().any(["a", 1]), "a, 1"),
        (Numerals().any({"a": 1}), "a = 1"),
        (Numerals().any(None), NONE),
    ],
)
def test_numbers_as_printed(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("values", "ratio", "expected"),
    [
        ((0.918, 0.781, 1.0797), True, "0.92 (0.78–1.08)"),
        ((0.98756, 0.98089, 0.99428), True, "0.988 (0.981–0.994)"),  # a narrow interval earns a decimal
        ((12.3456, 8.1, 20.7), True, "12.35 (8.10–20.70)"),
        ((-0.0853, -0.2472, 0.0767), False, f"{MINUS}0.085 ({MINUS}0.247 to 0.077)"),
        ((8.0, 0.0539, 1187.3), True, "8.00 (0.0539–1187)"),
        ((1.5, None, None), True, "1.50"),
        ((1.5, 0.9, None), True, "1.50 (0.90 to –)"),
        ((None, None, None), True, NONE),
    ],
)
def test_an_estimate_with_its_interval(values: tuple[Any, Any, Any], ratio: bool, expected: str) -> None:
    assert Numerals().estimate(*values, ratio=ratio) == expected


# ---------------------------------------------------------------- axes and terms


def test_days_of_a_long_study_are_years_and_months_stay_months() -> None:
    assert clock("days", 3650) == Clock("years", 365.25)
    assert clock("days", 600) == Clock("days")
    assert clock("months", 360) == Clock("months")
    assert clock(None, 9) == Clock(None)
    assert Clock("years", 365.25).shown(3650, Numerals()) == "10"
    assert Clock("years", 365.25).shown(550, Numerals()) == "1.5"


@pytest.mark.parametrize(
    ("time", "longest", "expected"),
    [
        (Clock("years", 365.25), 3653.0, [0, 2, 4, 6, 8, 10]),
        (Clock("months"), 60, [0, 12, 24, 36, 48, 60]),
        (Clock("days"), 600, [0, 90, 180, 270, 360, 450, 540]),
        (Clock(None), 0.0, [0]),
    ],
)
def test_ticks_of_time_are_those_people_count_in(time: Clock, longest: float, expected: list[float]) -> None:
    assert [tick / time.per for tick in time_ticks(time, longest)] == pytest.approx(expected)


@pytest.mark.parametrize("ends", [(0.7, 2.2), (0.02, 40), (0.9, 1.1), (0.97, 1.002), (1e-3, 1e3), (1.2, 3.0)])
def test_ticks_of_ratios_hold_one_and_are_few(ends: tuple[float, float]) -> None:
    found = ratio_ticks(*ends)
    assert 1.0 in found
    assert len(found) <= 8
    assert found == sorted(set(found))


def test_plain_ticks() -> None:
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-0.3, 0.21, 5) == [-0.2, 0, 0.2] or ticks(-0.3, 0.21, 5) == [-0.3, -0.2, -0.1, 0, 0.1, 0.2]


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("age", "age"),
        ("C(size)[T.20-50]", "size: 20-50"),
        ("size[>50]", "size: >50"),
        ("hormon[T.yes]:age", "hormon yes × age"),
        ("C(hour)[T.10:30]", "hour: 10:30"),
        ("I(pgr / 100)", "pgr / 100"),
        ("log(nodes)", "log(nodes)"),
        ("bs(age, knots=[40, 60])[2]", "bs(age, knots=[40, 60]): 2"),
        ("site[T.a[b]]", "site: a[b]"),
        ("", ""),
    ],
)
def test_terms_as_people_say_them(term: str, expected: str) -> None:
    assert str(read(term)) == expected


def test_the_intercept_is_known_by_its_names() -> None:
    assert is_intercept("Intercept")
    assert is_intercept("(Intercept)")
    assert not is_intercept("intercepted")


def test_levels_of_one_variable_stand_under_its_name() -> None:
    terms = ["age", "C(size)[T.20-50]", "C(size)[T.>50]", "C(grade)[T.3]"]
    rows = lines([coefficient(term, 1.0) for term in terms])
    assert [(row.label, row.indent) for row in rows] == [
        ("age", False),
        ("size", False),
        ("20-50", True),
        (">50", True),
        ("grade: 3", False),
    ]


# ---------------------------------------------------------------- figures


def drawn(result: dict[str, Any], place: int, words: Words = EN) -> dict[str, ET.Element]:
    found = figures(result["analyses"][place], result["study"]["time_unit"], words)
    return {figure.name: ET.fromstring(draw(figure, alone=True)) for figure in found}


def said(element: ET.Element) -> list[str]:
    return [text.text or "" for text in element.iter(f"{SVG}text")]


def test_a_figure_is_drawn_from_its_tables_alone(result: dict[str, Any]) -> None:
    assert [list(drawn(result, i)) for i in range(5)] == [["survival"], ["baseline", "forest"], [], ["incidence"], []]


def test_kaplan_meier_is_steps_with_a_band_and_numbers_at_risk(result: dict[str, Any]) -> None:
    picture = drawn(result, 0)["survival"]
    paths = [path.get("d") or "" for path in picture.iter(f"{SVG}path")]
    assert len(paths) == 2
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+(H[\d.]+V[\d.]+)*H[\d.]+", path) for path in paths)
    assert paths[0].count("V") == 30
    bands = [p for p in picture.iter(f"{SVG}polygon") if "band" in (p.get("class") or "")]
    assert len(bands) == 2
    assert {"Number at risk", "99", "69", "39", "Log-rank P = 0.024", "no", "yes"} <= set(said(picture))


def test_series_differ_by_colour_and_by_dash(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["curve"] = [point(f"g{i}", 30, 0.9 - i / 100) for i in range(9)]
    paths = list(drawn(result, 0)["survival"].iter(f"{SVG}path"))
    looks = {(path.get("stroke"), path.get("stroke-dasharray")) for path in paths}
    assert len(looks) == 9


def test_a_withheld_count_is_an_asterisk_with_its_reason(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["risk"][2] |= {"at_risk": None, "suppressed": True}
    assert "*" in said(drawn(result, 0)["survival"])
    assert "fewer than 11 people stand behind it" in words_of(render(result))


def test_numbers_at_risk_are_read_off_the_curve_where_none_are_given(result: dict[str, Any]) -> None:
    """As in R's survfit: at risk at t are those of the first point from t on, and nobody after the last."""
    curve = [point(None, 100.0, 0.9, 80), point(None, 200.0, 0.8, 60)]
    result["analyses"][0]["tables"] = {"curve": curve}
    texts = said(drawn(result, 0)["survival"])
    row = texts[texts.index("Number at risk") + 1 :]
    assert row == ["80", "80", "80", "80", "60", "60", "60"]  # at 0, 30, ... 180: a tick every 30 days


def test_a_curve_ends_where_its_estimate_does(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"] = {"curve": [point("a", 10, 0.9), point("a", 20, None), point("a", 30, 0.5)]}
    (path,) = drawn(result, 0)["survival"].iter(f"{SVG}path")
    assert (path.get("d") or "").count("V") == 1


@pytest.mark.parametrize("records", [[], [point("a", 10, None)], [point("a", 0, 1.0)]])
def test_no_curve_no_figure(result: dict[str, Any], records: list[dict[str, Any]]) -> None:
    result["analyses"][0]["tables"] = {"curve": records}
    assert drawn(result, 0) == {}
    render(result)


def test_causes_are_curves_of_one_group_and_panels_of_several(result: dict[str, Any]) -> None:
    (record,) = result["analyses"][3]["tables"]["incidence"]
    result["analyses"][3]["tables"]["incidence"] = [
        record | {"group": group, "cause": cause} for group in ("F", "M") for cause in ("death", "relapse")
    ]
    assert list(drawn(result, 3)) == ["incidence_death", "incidence_relapse"]
    result["analyses"][3]["tables"]["incidence"] = [record | {"cause": cause} for cause in ("death", "relapse")]
    (picture,) = drawn(result, 3).values()
    assert len(list(picture.iter(f"{SVG}path"))) == 2


def test_a_forest_has_a_square_per_term_and_its_numbers(result: dict[str, Any]) -> None:
    picture = drawn(result, 1)["forest"]
    squares = [r for r in picture.iter(f"{SVG}rect") if "square" in (r.get("class") or "")]
    assert len(squares) == 2
    assert {"1.40 (1.12–1.68)", "0.020", "Hazard ratio (log scale)", "← Lower hazard"} <= set(said(picture))


def test_the_more_precise_term_has_the_larger_square(result: dict[str, Any]) -> None:
    result["analyses"][1]["tables"]["coefficients"][0]["std_error"] = 0.02
    sides = [
        float(r.get("width") or 0)
        for r in drawn(result, 1)["forest"].iter(f"{SVG}rect")
        if "square" in (r.get("class") or "")
    ]
    assert sides[0] > sides[1]


def test_a_forest_shows_no_intercept_and_no_term_without_estimate(result: dict[str, Any]) -> None:
    gone = coefficient("stage", 1.0) | {"hazard_ratio": None}
    result["analyses"][1]["tables"]["coefficients"] = [coefficient("Intercept", 0.5), gone, coefficient("age", 1.1)]
    squares = [r for r in drawn(result, 1)["forest"].iter(f"{SVG}rect") if "square" in (r.get("class") or "")]
    assert len(squares) == 1


def test_limits_beyond_the_axis_end_in_arrows(result: dict[str, Any]) -> None:
    wild = coefficient("rare", 3.0) | {"hr_low": 1e-6, "hr_high": 1e9}
    result["analyses"][1]["tables"]["coefficients"] = [wild]
    picture = drawn(result, 1)["forest"]
    assert len([p for p in picture.iter(f"{SVG}polygon") if p.get("class") == "ink"]) == 2
    for rule in picture.iter(f"{SVG}line"):
        assert -1 <= float(rule.get("x1") or 0) <= 761


def test_a_linear_model_has_a_plain_axis(result: dict[str, Any]) -> None:
    record = coefficient("age", 1.0)
    for field in ("hazard_ratio", "hr_low", "hr_high"):
        del record[field]
    result["analyses"][1]["tables"]["coefficients"] = [record]
    texts = said(drawn(result, 1)["forest"])
    assert "Coefficient" in texts
    assert f"{MINUS}0.300 ({MINUS}0.500 to {MINUS}0.100)" in texts


def test_a_figure_file_stands_alone(result: dict[str, Any]) -> None:
    picture = drawn(result, 0)["survival"]
    assert picture.get("role") == "img"
    title, desc = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")
    assert title is not None
    assert desc is not None
    assert picture.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert "no 40.0%" in (desc.text or "")
    paper = picture.find(f"{SVG}rect")
    assert paper is not None
    assert paper.get("fill") == "#ffffff"
    assert "Helvetica" in (picture.get("font-family") or "")
    assert "var(" not in ET.tostring(picture, encoding="unicode")


def test_long_names_stay_inside(result: dict[str, Any]) -> None:
    name = "a treatment of many words that nobody would abbreviate " * 3
    result["analyses"][0]["tables"]["curve"] = [point(name + str(i), 30, 0.9) for i in range(3)]
    result["analyses"][0]["tables"]["risk"] = []
    for text in said(drawn(result, 0)["survival"]):
        assert len(text) < 70


# ---------------------------------------------------------------- tables


def printed(result: dict[str, Any], place: int, name: str, words: Words = EN) -> list[list[str]]:
    found = {t.name: t for t in tables(result["analyses"][place], result["study"]["time_unit"], 11, words)}
    table = found[name]
    return [[column.head for column in table.columns], *(list(row.cells) for row in table.rows)]


def test_the_table_of_coefficients(result: dict[str, Any]) -> None:
    assert printed(result, 1, "coefficients")[:2] == [
        ["Term", "HR (95% CI)", "β", "SE", "Statistic", "P"],
        ["size: 20-50", "1.40 (1.12–1.68)", f"{MINUS}0.300", "0.100", f"{MINUS}3.00", "0.020"],
    ]


def test_robust_errors_have_a_column_where_there_are_any(result: dict[str, Any]) -> None:
    result["analyses"][1]["tables"]["coefficients"][0]["robust_se"] = 0.12
    assert "robust SE" in printed(result, 1, "coefficients")[0]


def test_another_level_of_confidence_is_named(result: dict[str, Any]) -> None:
    result["analyses"][1]["settings"]["conf_level"] = 0.9
    assert printed(result, 1, "coefficients")[0][1] == "HR (90% CI)"
    assert printed(result, 1, "coefficients", FR)[0][1] == "HR (IC à 90\u202f%)"


def test_survival_has_a_row_per_time_and_a_column_per_group(result: dict[str, Any]) -> None:
    assert printed(result, 0, "survival") == [
        ["Time, years", "no (95% CI)", "yes (95% CI)"],
        ["1", "76.0% (66.0–86.0)", NONE],
    ]


def test_medians_are_in_the_unit_of_the_axis_or_not_reached(result: dict[str, Any]) -> None:
    head, no, yes = printed(result, 0, "median")
    assert head == ["Group", "Median, years (95% CI)"]
    assert no == ["no", "1.92 (1.64 to not reached)"]
    assert yes == ["yes", "not reached"]


def test_table_one_as_a_journal_sets_it(result: dict[str, Any]) -> None:
    assert printed(result, 2, "table1") == [
        ["Characteristic", "no (n = 100)", "SMD"],
        ["age", "", ""],
        ["Mean (SD)", "54.1 (9.80)", ""],
        ["Median [IQR]", "53 [44–64]", ""],
        ["Missing", "1", ""],
        ["size", "", "0.20"],
        ["<=20", "66 (66.7%)", ""],
        [">20", "33 (33.3%)", ""],
        ["Missing", "1", ""],
    ]


def test_no_percentage_gives_a_withheld_level_away(result: dict[str, Any]) -> None:
    result["analyses"][2]["tables"]["table1"][2] |= {"n": None, "suppressed": True}
    rows = printed(result, 2, "table1")
    assert ["<=20", "66", ""] in rows
    assert [">20", "*", ""] in rows
    assert rows[0][1] == "no (n = 100)"  # from age, which withholds nothing


def test_an_unknown_table_is_printed_field_by_field(result: dict[str, Any]) -> None:
    assert printed(result, 4, "anything") == [["name", "worth"], ["a", "1.25"]]


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_the_page_is_whole_and_needs_nobody(result: dict[str, Any], lang: Any) -> None:
    text = render(result, lang)
    page = Page(text)
    assert page.all("html") == [{"lang": lang}]
    assert page.all("script") == page.all("link") == page.all("img") == page.all("iframe") == []
    for anchor in page.all("a"):
        assert re.match(r"#|data:|https://doi\.org/", anchor["href"] or "")
    assert "url(" not in text
    assert "@import" not in text
    policy = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert "default-src 'none'" in (policy[0] or "")


def test_every_anchor_leads_somewhere_and_every_id_is_one(result: dict[str, Any]) -> None:
    page = Page(render(result))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    wanted = {(a["href"] or "")[1:] for a in page.all("a") if (a["href"] or "").startswith("#")}
    wanted |= {i for _, a in page.tags for i in (a.get("aria-labelledby") or "").split()}
    assert wanted <= set(ids)


def test_headings_do_not_skip_and_tables_have_scopes(result: dict[str, Any]) -> None:
    page = Page(render(result))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert all(cell.get("scope") in {"row", "col"} for cell in page.all("th"))
    assert len(page.all("figcaption")) == len(page.all("figure"))
    assert all(picture.get("role") == "img" for picture in page.all("svg"))


@pytest.mark.parametrize(
    "words",
    [
        "Hormones and recurrence",
        "public-interest research",
        "9f2c",
        "curie, lyon and nantes",
        "age missing",
        "people left out and kept: km, cox",
        "no hospital’s data officer has reviewed it",
        "each hospital sent 1 named arrays in 14 rounds, 20.2 kb",
        "8 terms × 8 terms",
        "took part (membership), and protection against all hospitals but one colluding",
        "rests on nobody or on at least 11 people",
        "cox: doubtful for age (p < 0.05)",
        "counted in cells of 30 days",
        "age was clamped for 2 people",
        "python 3.11.7",
        "size 20-50: hr (95% ci) 1.40 (1.12–1.68), p = 0.020",
    ],
)
def test_the_page_says(result: dict[str, Any], words: str) -> None:
    assert words.lower() in words_of(render(result)).lower()


def test_the_same_attrition_is_told_once(result: dict[str, Any]) -> None:
    assert words_of(render(result)).count("People left out and kept") == 1
    result["analyses"][1]["tables"]["attrition"][0]["n"] = 5
    assert words_of(render(result)).count("People left out and kept") == 2


def test_a_reference_is_listed_once_and_linked(result: dict[str, Any]) -> None:
    text = render(result)
    assert text.count('<li id="reference-') == 1
    assert 'href="https://doi.org/10.1111/j.2517-6161.1972.tb00899.x"' in text


def test_classes_of_disclosure_are_told_with_their_risk(result: dict[str, Any]) -> None:
    result["study"]["disclosure"] = ["fine_times", "brand_new"]
    said_ = words_of(render(result))
    assert CLASSES["fine_times"] in said_
    assert UNKNOWN_CLASS in said_
    assert "Beyond the classes of disclosure named here" in said_


def test_the_study_own_rule_is_named(result: dict[str, Any]) -> None:
    result["study"]["k"] = 20
    assert "at least 20 people" in words_of(render(result))


def test_few_events_per_term_are_spoken_of(result: dict[str, Any]) -> None:
    assert "Under 10 events per term" not in words_of(render(result))
    result["analyses"][1]["events"] = 19
    assert "cox: 19 events for 2 terms. Under 10 events per term" in words_of(render(result))


def test_a_description_of_people_stands_with_the_data(result: dict[str, Any]) -> None:
    text = render(result)
    assert text.index('id="analysis-3"') < text.index('id="results"') < text.index('id="analysis-1"')


def test_every_figure_and_table_has_its_numbers_at_hand(result: dict[str, Any]) -> None:
    page = Page(render(result))
    assert len(page.all("details")) == len(page.all("figure"))
    links = {a["download"]: a["href"] or "" for a in page.all("a") if a.get("download")}
    content = base64.b64decode(links["km_survival.csv"].split(",", 1)[1]).decode()
    assert content.startswith("group,time,")
    assert base64.b64decode(links["cox_forest.svg"].split(",", 1)[1]).startswith(b"<?xml")


def test_a_long_curve_is_shortened_on_the_page_and_whole_in_its_file(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["curve"] = [point("a", float(day), 0.5) for day in range(1, 1001)]
    text = render(result)
    assert "850 more rows are in the CSV file" in words_of(text)
    assert text.count("<tr>") < 500


def hostile(value: Any) -> Any:
    """The same result, every text of it replaced by an attack; keys and the date stay."""
    if isinstance(value, dict):
        return {key: hostile(item) if key not in {"created", "time_unit"} else item for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE + "\x00\x0b" if isinstance(value, str) else value


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_whatever_comes_from_data_is_escaped(result: dict[str, Any], tmp_path: Path, lang: Any) -> None:
    bad = hostile(result)
    bad["analyses"][4]["tables"] = {HOSTILE: [{HOSTILE: HOSTILE}]}
    bad["analyses"][4]["settings"] = bad["analyses"][4]["facts"] = {HOSTILE: HOSTILE}
    written = write(bad, tmp_path, lang=lang)
    page = Page(written.report.read_text(encoding="utf-8"))
    assert page.all("script") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    for path in written.figures:
        picture = ET.parse(path).getroot()
        assert {e.tag.removeprefix(SVG) for e in picture.iter()} <= set(
            ["svg", "title", "desc", "rect", "text", "line", "path", "polygon"]
        )
    for path in (*written.tables, *written.figures):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name)
        assert path.parent.parent == tmp_path


# ---------------------------------------------------------------- two languages


def test_french_says_everything_and_nothing_in_english(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["risk"][2] |= {"at_risk": None, "suppressed": True}
    result["study"]["disclosure"] = [*CLASSES, "other"]
    result["analyses"][1]["events"] = 9
    text = words_of(render(result, "fr"))
    for french_ in ("Aucun dossier de patient", "Sujets à risque", "Rapport de risques", "1,40 (1,12–1,68)", "20,2 ko"):
        assert french_ in text
    for english in ("What left", "Number at risk", "Settings", "withheld", "95% CI"):
        assert english not in text


def test_the_catalogue_keeps_the_fields_of_each_text() -> None:
    for english, translated in french().items():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", translated)), english


def test_the_catalogue_holds_nothing_that_is_never_said() -> None:
    folder = Path(__file__).parents[2] / "src" / "confrere" / "report"
    source = "".join(p.read_text(encoding="utf-8") for p in folder.iterdir() if p.suffix in {".py", ".j2"})
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    assert [text for text in french() if f'"{text}"' not in joined and f"'{text}'" not in joined] == []
    assert all(len(pair) == 2 for pair in (*LABELS.values(), *METHODS.values()))


def test_an_untranslated_text_is_an_error() -> None:
    with pytest.raises(KeyError):
        FR("a text that nobody has translated")


# ---------------------------------------------------------------- files


def read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_csv_keeps_every_digit_and_every_kind() -> None:
    record = {"term": 'a,"b"\nc', "x": 0.1 + 0.2, "n": None, "suppressed": True}
    content = csv_bytes([record, {"later": 1}])
    assert content.startswith(b"term,x,n,suppressed,later\r\n")
    first, second = read_csv(content)
    assert first == {"term": 'a,"b"\nc', "x": "0.30000000000000004", "n": "", "suppressed": "TRUE", "later": ""}
    assert second["later"] == "1"


def test_csv_has_a_mark_for_excel_only_where_there_are_accents() -> None:
    assert csv_bytes([{"a": "été"}]).startswith(b"\xef\xbb\xbf")
    assert csv_bytes([{"a": "ete"}]).startswith(b"a")
    assert csv_bytes([]) == b"\r\n" or csv_bytes([]) == b""


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd", "-cmd", "\t=1"])
def test_a_spreadsheet_runs_no_formula_from_data(text: str) -> None:
    assert read_csv(csv_bytes([{"level": text}])) == [{"level": "'" + text}]


def test_a_level_that_is_a_number_stays_one() -> None:
    assert read_csv(csv_bytes([{"level": "-1.5"}])) == [{"level": "-1.5"}]


def test_file_names_are_safe_and_distinct() -> None:
    assert safe("../../etc/passwd") == "etc-passwd"
    assert safe("été: <b>") == "ete-b"
    assert safe("日本") == "unnamed"
    names = stems([("a_b", "c"), ("a", "b_c"), ("A", "B_C"), ("..", "/")])
    assert names == ["a_b_c", "a_b_c-2", "A_B_C-3", "unnamed_unnamed"]
    assert len({name.lower() for name in names}) == 4


def test_write_puts_everything_where_the_manual_says(result: dict[str, Any], tmp_path: Path) -> None:
    written = write(result, tmp_path / "new" / "out")
    assert written.folder == tmp_path / "new" / "out"
    assert json.loads(written.result.read_text(encoding="utf-8")) == result
    assert written.report.name == "report.html"
    assert {path.name for path in written.figures} == {
        "km_survival.svg",
        "cox_baseline.svg",
        "cox_forest.svg",
        "cif_incidence.svg",
    }
    assert all(path.with_suffix(".csv").exists() for path in written.figures)
    assert written.folder / "tables" / "cox_coefficients.csv" in written.tables
    (first, _) = read_csv((written.folder / "tables" / "cox_coefficients.csv").read_bytes())
    assert first["term"] == "C(size)[T.20-50]"
    assert not list(written.folder.rglob("*.part"))


def test_write_twice_gives_the_same_bytes(result: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(copy.deepcopy(result), tmp_path / name)
    for path in (p for p in (tmp_path / "one").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_files_of_the_former_result_go_and_other_files_stay(result: dict[str, Any], tmp_path: Path) -> None:
    write(result, tmp_path)
    (tmp_path / "tables" / "mine.csv").write_text("keep", encoding="utf-8")
    result["analyses"][1]["name"] = "renamed"
    write(result, tmp_path)
    assert not (tmp_path / "tables" / "cox_coefficients.csv").exists()
    assert (tmp_path / "tables" / "renamed_coefficients.csv").exists()
    assert (tmp_path / "tables" / "mine.csv").read_text(encoding="utf-8") == "keep"


@pytest.mark.parametrize("there", ["{", '{"study": 1}', "[]", "\x00"])
def test_a_strange_result_json_in_the_folder_is_replaced(result: dict[str, Any], tmp_path: Path, there: str) -> None:
    (tmp_path / "result.json").write_text(there, encoding="utf-8")
    write(result, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == result


def test_a_failed_write_leaves_no_half_file(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(result, tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write(result, tmp_path, lang="fr")
    assert (tmp_path / "report.html").read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))


def test_a_result_without_analyses_is_a_page_too(result: dict[str, Any], tmp_path: Path) -> None:
    result["analyses"], result["left"] = [], []
    assert "Hormones and recurrence" in words_of(write(result, tmp_path).report.read_text(encoding="utf-8"))
