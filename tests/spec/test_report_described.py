"""Figures of whom a study is about: flow of people, overlap of cohorts, treatment pathways, rates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from confrere.report import flow_diagram, rate_plot, sunburst, upset
from confrere.report.figures import charts, draw, figures
from confrere.report.words import Words
from report_sample import EN, FR, HOSTILE, LONG, analysis, validator


def combination(a: bool, b: bool, n: int | None) -> dict[str, Any]:
    made = {"a": a, HOSTILE: b, "cohorts": a + b, "n": n}
    return made if n is not None else made | {"suppressed": True}


OVERLAP = [combination(False, False, 500), combination(True, False, 90), combination(True, True, 40),
           combination(False, True, None)]  # fmt: skip
TOTALS = [{"cohort": "a", "n": 130}, {"cohort": HOSTILE, "n": None, "suppressed": True}]
PATHS = [
    {"line_1": one, "line_2": two, "n": n, "share": n / 200}
    for one, two, n in (
        ("a", LONG, 40), ("a", "other", 20), ("a", None, 60), (LONG, "not followed further", 30), (None, None, 50),
    )
]  # fmt: skip


def rate(by: str, level: str, events: int, years: float) -> dict[str, Any]:
    limits = {"estimate": events / years, "conf_low": 0.5 * events / years, "conf_high": 2 * events / years}
    return {"by": by, "level": level, "events": events, "person_years": years} | limits


RATES = [rate("all", "", 40, 900.0), *(rate("year", str(y), 20, 450.0) for y in range(2010, 2016)),
         rate("age", "0-59", 12, 700.0), rate("sex", "female", 30, 400.0),
         {"by": "age", "level": "60+", "events": 0, "person_years": 0.0, "estimate": None}]  # fmt: skip
PREVALENCE = [{"by": "year", "level": "2010", "cases": 20, "people": 100, "estimate": 0.2, "conf_low": 0.1,
               "conf_high": 0.3}]  # fmt: skip
FUNNEL = [
    {"step": "people", "criterion": "", "n": 1000}, {"step": "entry event", "criterion": "", "n": 300},
    {"step": "inclusion rule", "criterion": LONG, "n": None, "suppressed": True},
    {"step": "cohort", "criterion": "", "n": 250},
]  # fmt: skip
ATTRITION = [
    {"step": "records read", "reason": "", "n": None, "suppressed": True},
    {"step": "left out", "reason": "missing age", "n": None, "suppressed": True},
    {"step": "left out", "reason": f"new users: fails '{LONG}'", "n": 55}, {"step": "analysed", "reason": "", "n": 945},
]  # fmt: skip
CASES = {
    "overlap": ("overlap", {"overlap": OVERLAP, "totals": TOTALS}), "pathways": ("pathways", {"pathways": PATHS}),
    "rates": ("occurrence", {"rates": RATES}), "prevalence": ("occurrence", {"prevalence": PREVALENCE}),
    "flow": ("cohort", {"funnel": FUNNEL}),
}  # fmt: skip


@pytest.mark.parametrize("words", [EN, FR], ids=["en", "fr"])
@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_valid_and_holds_its_records(name: str, words: Words) -> None:
    method, tables = CASES[name]
    (figure,) = (f for f in figures(analysis("one", method, **tables), {}, words) if f.name == name)
    drawing = draw(figure, words)
    validator().validate(drawing.spec)
    assert figure.records == next(iter(tables.values()))
    assert '"url"' not in json.dumps(drawing.spec)
    assert drawing.svg.startswith("<svg")
    assert "<script" not in drawing.svg
    assert figure.description in drawing.svg.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_the_attrition_of_a_study_with_a_target_is_a_flow_diagram() -> None:
    one = analysis("one", "linear", attrition=ATTRITION)
    assert "flow" not in charts(one)
    assert "flow" in charts(one, study={"target": "drug"})


def test_arcs_are_as_wide_as_their_people_and_lie_in_their_parents() -> None:
    panel = sunburst.sunburst(PATHS)
    assert (panel.treated, panel.people) == (150, 200)
    first = [(a.label, round(150 * a.start), round(150 * a.end)) for a in panel.arcs if a.ring == 0]
    assert first == [("a", 0, 120), (LONG, 120, 150)]
    second = [(a.label, round(150 * a.start), round(150 * a.end)) for a in panel.arcs if a.ring == 1]
    assert second == [(LONG, 0, 40), ("other", 40, 60), ("not followed further", 120, 150)]


def test_bars_leave_out_what_is_withheld_and_who_is_nowhere() -> None:
    panel = upset.upset(OVERLAP, TOTALS, EN)
    assert panel.bars == [((0,), 90.0), ((0, 1), 40.0)]
    assert panel.cohorts == ["a (130)", f"{HOSTILE} (*)"]


def test_points_leave_out_what_is_not_known() -> None:
    panel = rate_plot.rates(RATES, EN, 0.95)
    assert panel is not None
    assert [(by, len(rows)) for by, rows in panel.blocks] == [("year", 6), ("age", 1), ("sex", 1)]
    assert rate_plot.rates(RATES[-1:], EN, 0.95) is None


def test_a_withheld_count_gives_no_difference() -> None:
    panel = flow_diagram.of_funnel(FUNNEL, EN)
    assert panel is not None
    assert [box.out for box in panel.boxes] == [["700 fewer"], [], [], []]
    assert panel.boxes[2].lines[-1].endswith("*)")
    assert all(len(line) < 45 for box in panel.boxes for line in box.lines)


def test_reasons_stand_beside_the_arrow_the_commonest_first() -> None:
    panel = flow_diagram.of_attrition(ATTRITION, FR)
    assert panel is not None
    out = " ".join(panel.boxes[0].out)
    assert out.index("new users") < out.index("age")
    assert flow_diagram.of_attrition(ATTRITION[::3], EN) is None
