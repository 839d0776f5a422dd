"""Forest plots: every term in its row, at its place on the axis, with its numbers beside it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from confrere.report.numerals import MINUS
from confrere.report.vega import INK, PALETTE
from confrere.report.words import Words
from report_sample import (
    EN,
    FR,
    HOSTILE,
    LONG,
    SVG,
    Drawing,
    coefficient,
    drawn,
    marks,
    one,
    picture,
    places,
    said,
    sample,
    validator,
    whole,
)


@pytest.fixture
def result() -> dict[str, Any]:
    return sample()


def squares(drawing: Drawing) -> list[tuple[float, float, ET.Element]]:
    return [p for p in places(drawing, "path") if p[2].get("fill") == PALETTE[0]]


def test_a_forest_has_a_square_per_term_and_its_numbers(result: dict[str, Any]) -> None:
    drawing = one(result, 1, "forest")
    assert len(squares(drawing)) == 2
    assert {"1.40 (1.12–1.68)", "0.020", "Hazard ratio (log scale)", "← Lower hazard"} <= set(said(drawing))


def test_squares_and_intervals_stand_where_the_axis_says(result: dict[str, Any]) -> None:
    """Against the logarithms of the ratios, by the ticks of the axis."""
    drawing = one(result, 1, "forest")
    at = {n.text: x for x, _, n in places(drawing, "text")}
    unit = (at["2"] - at["1"]) / math.log(2)
    for (x, _, _), ratio in zip(squares(drawing), (1.4, 1.9), strict=True):
        assert x - at["1"] == pytest.approx(unit * math.log(ratio), abs=1)
    intervals = [
        (x, x + float(n.get("x2") or 0)) for x, _, n in places(drawing, "line") if n.get("stroke-width") == "1.3"
    ]
    assert sorted(abs(b - a) for a, b in intervals) == pytest.approx([unit * math.log(1.2 / 0.8)] * 2, abs=1)
    (null,) = [x for x, _, n in places(drawing, "line") if n.get("stroke-dasharray")]
    assert null == pytest.approx(at["1"], abs=1)


def test_a_row_of_a_forest_is_one_row(result: dict[str, Any]) -> None:
    """Name, square, interval and numbers of a term are at one height."""
    drawing = one(result, 1, "forest")
    at = {n.text: y for _, y, n in places(drawing, "text")}
    heights = [y for _, y, _ in squares(drawing)]
    for name, text, height in zip(("20-50", ">50"), ("1.40 (1.12–1.68)", "1.90 (1.52–2.28)"), heights, strict=True):
        assert at[name] == at[text]
        assert abs(at[name] - height) < 6


def test_a_reference_level_has_a_row_without_a_square(result: dict[str, Any]) -> None:
    result["study"]["columns"] = {"size": {"levels": ["<=20", "20-50", ">50"]}}
    drawing = one(result, 1, "forest")
    texts = said(drawing)
    assert {"size", "<=20", "reference"} <= set(texts)
    assert len(squares(drawing)) == 2
    assert "référence" in said(one(result, 1, "forest", FR))


def test_all_squares_are_equal_whatever_the_unit_of_a_term(result: dict[str, Any]) -> None:
    result["analyses"][1]["tables"]["coefficients"][0]["std_error"] = 0.0002
    first, second = (node.get("d") for _, _, node in squares(one(result, 1, "forest")))
    assert first == second


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (EN, {"SHR (95% CI)", "Subdistribution hazard ratio (log scale)", "← Lower incidence", "Higher incidence →"}),
        (FR, {"Rapport des risques de sous-distribution (échelle logarithmique)", "Incidence accrue →"}),
    ],
)
def test_ratios_of_fine_and_gray_are_of_incidence(result: dict[str, Any], words: Words, expected: set[str]) -> None:
    result["analyses"][1]["facts"]["model"] = "fine-gray"
    assert expected <= set(said(one(result, 1, "forest", words)))


def test_a_forest_shows_no_intercept_and_no_term_without_estimate(result: dict[str, Any]) -> None:
    gone = coefficient("stage", 1.0) | {"hazard_ratio": None}
    result["analyses"][1]["tables"]["coefficients"] = [coefficient("Intercept", 0.5), gone, coefficient("age", 1.1)]
    assert len(squares(one(result, 1, "forest"))) == 1


def test_limits_beyond_the_axis_end_in_arrows(result: dict[str, Any]) -> None:
    wild = coefficient("rare", 3.0) | {"hr_low": 1e-6, "hr_high": 1e9}
    result["analyses"][1]["tables"]["coefficients"] = [wild, coefficient("age", 1.1)]
    drawing = one(result, 1, "forest")
    assert len([p for p in picture(drawing).iter(f"{SVG}path") if p.get("fill") == INK]) == 2
    whole(drawing)


def test_limits_within_the_axis_end_in_none(result: dict[str, Any]) -> None:
    """The axis reaches beyond the lowest and the highest limit of ordinary terms."""
    result["analyses"][1]["tables"]["coefficients"] = [coefficient("age", 0.5), coefficient("size", 3.0)]
    drawing = one(result, 1, "forest")
    assert [p for p in picture(drawing).iter(f"{SVG}path") if p.get("fill") == INK] == []
    rows = [row for row in marks(drawing, "point")[0]["rows"] if "term" in row]
    assert [(row["from"], row["to"]) for row in rows] == [(row["hr_low"], row["hr_high"]) for row in rows]
    assert not any(row["less"] or row["more"] for row in rows)


def test_a_linear_model_has_a_plain_axis(result: dict[str, Any]) -> None:
    record = coefficient("age", 1.0)
    for field in ("hazard_ratio", "hr_low", "hr_high"):
        del record[field]
    result["analyses"][1]["tables"]["coefficients"] = [record]
    texts = said(one(result, 1, "forest"))
    assert "Coefficient" in texts
    assert f"{MINUS}0.300 ({MINUS}0.500 to {MINUS}0.100)" in texts


FORESTS: dict[str, list[dict[str, Any]]] = {
    "no difference": [coefficient("age", 1.0) | {"hr_low": 1.0, "hr_high": 1.0}],
    "no limits": [coefficient("age", 1.2) | {"hr_low": None, "hr_high": None}],
    "no error": [coefficient("age", 1.2) | {"std_error": None, "p_value": None}],
    "underflow": [coefficient("age", 1e-300) | {"hr_low": 0.0, "hr_high": 1e300}],
    "limits without end": [coefficient("age", 5.0) | {"hr_low": 0.1, "hr_high": None}],
    "sixty terms": [coefficient(f"x{i}", 0.5 + i / 30) for i in range(60)],
    "long names": [coefficient(LONG, 1.2)],
    "names with marks": [coefficient(name, 1.2) for name in ("datum['x']", "\\", "a\nb", "日本", HOSTILE)],
}


@pytest.mark.parametrize("words", [EN, FR])
@pytest.mark.parametrize("case", FORESTS)
def test_strange_coefficients_break_no_figure(result: dict[str, Any], case: str, words: Words) -> None:
    result["analyses"][1]["tables"] = {"coefficients": FORESTS[case]}
    drawing = one(result, 1, "forest", words)
    validator().validate(drawing.spec)
    whole(drawing)
    assert len(squares(drawing)) == len(FORESTS[case])


def test_too_many_terms_are_a_table(result: dict[str, Any]) -> None:
    result["analyses"][1]["tables"] = {"coefficients": [coefficient(f"x{i}", 1.1) for i in range(61)]}
    assert drawn(result, 1) == {}
