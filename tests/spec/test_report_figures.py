"""Figures: Vega-Lite specifications that are valid and hold the table's numbers, and pictures that show them."""

from __future__ import annotations

import copy
import importlib.resources
import itertools
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from confrere.errors import StudyError
from confrere.report import render
from confrere.report.curves import HIGH, WIDE, apart
from confrere.report.figures import charts
from confrere.report.numerals import FIRM
from confrere.report.vega import INK, MUTED, PALETTE, PAPER
from confrere.report.words import Words
from report_sample import (
    EN,
    FR,
    HOSTILE,
    LONG,
    SVG,
    drawn,
    marks,
    one,
    picture,
    places,
    point,
    said,
    sample,
    validator,
    whole,
    words_of,
)


@pytest.fixture
def result() -> dict[str, Any]:
    return sample()


# ---------------------------------------------------------------- specifications


@pytest.mark.parametrize("words", [EN, FR])
def test_every_specification_is_valid_and_holds_its_data(result: dict[str, Any], words: Words) -> None:
    result["analyses"][0]["facts"]["grid"] = "exact times, to 1 days"
    seen = 0
    for place in range(5):
        for drawing in drawn(result, place, words).values():
            validator().validate(drawing.spec)
            text = json.dumps(drawing.spec)
            assert '"url"' not in text
            assert '"params"' not in text  # nothing to press: the picture says all
            assert drawing.spec["description"]
            seen += 1
    assert seen == 4


def test_figures_are_made_from_tables_alone(result: dict[str, Any]) -> None:
    assert [list(drawn(result, i)) for i in range(5)] == [["survival"], ["baseline", "forest"], [], ["incidence"], []]


def test_charts_take_the_plain_record_alone(result: dict[str, Any]) -> None:
    """For pages and notebooks: a record of result.json; what only the study knows is left unsaid."""
    made = charts(result["analyses"][0])
    assert list(made) == ["survival"]
    assert "years" not in json.dumps(made["survival"].to_dict())
    whole = charts(result["analyses"][0], "fr", result["study"])["survival"]
    assert "Temps (ans)" in json.dumps(whole.to_dict(), ensure_ascii=False)  # altair validates it as well
    assert charts(result["analyses"][4]) == {}
    with pytest.raises(StudyError, match="'de' is not known; it is en or fr"):
        charts(result["analyses"][0], "de")


def test_altair_is_imported_by_who_draws() -> None:
    code = "import sys, confrere.report.write; print([m for m in ('altair', 'vl_convert') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_numbers_of_a_curve_are_those_of_its_table(result: dict[str, Any]) -> None:
    (line,) = marks(one(result, 0, "survival"), "line")
    fields = ("group", "time", "estimate", "conf_low", "conf_high")
    table = [tuple(r[f] for f in fields) for r in result["analyses"][0]["tables"]["curve"]]
    rows = [tuple(r[f] for f in fields) for r in line["rows"]]
    assert [row for row in rows if row[1] > 0] == table
    assert [row for row in rows if row[1] == 0] == [("no", 0, 1, 1, 1), ("yes", 0, 1, 1, 1)]


def test_numbers_of_a_forest_are_those_of_its_table(result: dict[str, Any]) -> None:
    rows = [row for row in marks(one(result, 1, "forest"), "text")[0]["rows"] if "term" in row]
    fields = ("term", "hazard_ratio", "hr_low", "hr_high")
    table = result["analyses"][1]["tables"]["coefficients"]
    assert [[row[f] for f in fields] for row in rows] == [[r[f] for f in fields] for r in table]


# ---------------------------------------------------------------- curves


def test_kaplan_meier_is_steps_with_a_band_and_numbers_at_risk(result: dict[str, Any]) -> None:
    drawing = one(result, 0, "survival")
    (line,), (area,) = marks(drawing, "line"), marks(drawing, "area")
    assert line["mark"]["interpolate"] == area["mark"]["interpolate"] == "step-after"
    assert {"Number at risk", "99", "69", "39", f"Log-rank P{FIRM}={FIRM}0.024", "no", "yes"} <= set(said(drawing))


def test_curves_over_cells_of_time_slope(result: dict[str, Any]) -> None:
    result["analyses"][0]["facts"]["grid"] = "ladder of 10 cells up to 960 days, merged to 6"
    drawing = one(result, 0, "survival")
    assert marks(drawing, "line")[0]["mark"]["interpolate"] == "linear"
    assert "Step curves" not in drawing.svg


def test_a_curve_stands_where_its_axis_says(result: dict[str, Any]) -> None:
    """The picture against the numbers: the last point of the path is the last estimate, read off the axes."""
    result["analyses"][0]["tables"] = {"curve": [point("a", 300.0, 0.9), point("a", 600.0, 0.4)]}
    drawing = one(result, 0, "survival")
    ((x, y, path),) = [p for p in places(drawing, "path") if p[2].get("stroke") == PALETTE[0]]
    steps = [(float(a), float(b)) for a, b in re.findall(r"([-\d.]+),([-\d.]+)", path.get("d") or "")]
    assert steps[0] == pytest.approx((0.0, 0.0))
    assert steps[-1] == pytest.approx((WIDE, 0.6 * HIGH))
    ticks = {node.text: (a - x, b - y) for a, b, node in places(drawing, "text")}
    assert ticks["270"][0] == pytest.approx(WIDE * 270 / 600, abs=1)
    assert [a for a, _ in steps[1:3]] == pytest.approx([WIDE / 2] * 2)
    assert ticks["40%"][1] == pytest.approx(0.6 * HIGH, abs=6)  # a baseline, half a letter lower


def test_a_band_reaches_from_limit_to_limit(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"] = {"curve": [point("a", 300.0, 0.9), point("a", 600.0, 0.4)]}
    ((_, _, band),) = [p for p in places(one(result, 0, "survival"), "path") if p[2].get("fill") == PALETTE[0]]
    heights = {round(float(y) / HIGH, 6) for y in re.findall(r"[-\d.]+,([-\d.]+)", band.get("d") or "")}
    assert heights == {0.0, 0.5, 0.2, 0.7}  # 1 - 1 and 1 - 0.5 above, 1 - 0.8 and 1 - 0.3 below


def test_numbers_at_risk_stand_under_their_ticks(result: dict[str, Any]) -> None:
    at = {node.text: (x, y) for x, y, node in places(one(result, 0, "survival"), "text")}
    ticks = {"0": "99", "0.82": "69", "1.64": "39"}  # years
    assert {t for t in ticks if t in at} == set(ticks)
    for tick, count in ticks.items():
        assert at[count][0] == pytest.approx(at[tick][0], abs=1)
        assert at[count][1] > at[tick][1] + 20
    assert len({at[count][1] for count in ticks.values()}) == 1


def test_rows_at_risk_bear_the_names_and_colours_of_their_curves(result: dict[str, Any]) -> None:
    risk = result["analyses"][0]["tables"]["risk"]
    risk += [record | {"group": "yes", "at_risk": 7 + i} for i, record in enumerate(risk)]
    shown = [(n.text, n.get("fill"), y, x) for x, y, n in places(one(result, 0, "survival"), "text")]
    for name, count, colour in (("no", "69", PALETTE[0]), ("yes", "8", PALETTE[1])):
        (row,) = [y for text, fill, y, _ in shown if text == count and fill == colour]
        names = [(y, x) for text, fill, y, x in shown if text == name and fill == colour]
        assert len(names) == 2  # at the end of the curve, and left of the numbers
        assert (row, min(x for _, x in names)) in names


def test_series_differ_by_colour_and_by_dash(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"] = {"curve": [point(f"g{i}", 30, 0.9 - i / 100) for i in range(9)]}
    lines = [p for p in picture(one(result, 0, "survival")).iter(f"{SVG}path") if p.get("stroke")]
    assert len({(p.get("stroke"), p.get("stroke-dasharray")) for p in lines}) == 9


def test_names_of_curves_do_not_touch(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"] = {"curve": [point(f"g{i}", 30, 0.5) for i in range(8)]}
    texts = places(one(result, 0, "survival"), "text")
    ys = sorted(y for x, y, n in texts if (n.text or "").startswith("g") and x > WIDE)
    assert len(ys) == 8
    assert min(b - a for a, b in itertools.pairwise(ys)) >= 13


@pytest.mark.parametrize("ends", [[0.0], [10, 10, 10], [0, 0, 320, 320], list(range(40)), [300, 319, 320]])
def test_labels_moved_apart_keep_their_order_and_their_room(ends: list[float]) -> None:
    moved = apart([float(end) for end in ends], 16, 320)
    assert all(0 <= place <= 320 + 1e-9 for place in moved)
    assert sorted(range(len(ends)), key=lambda i: moved[i]) == sorted(range(len(ends)), key=lambda i: ends[i])
    gaps = [b - a for a, b in itertools.pairwise(sorted(moved))]
    assert min(gaps, default=16) >= min(16, 320 / max(len(ends) - 1, 1)) - 1e-9


def test_a_withheld_count_is_an_asterisk_with_its_reason(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["risk"][2] |= {"at_risk": None, "suppressed": True}
    assert "*" in said(one(result, 0, "survival"))
    assert "39" not in said(one(result, 0, "survival"))
    assert "fewer than 11 people, or few hospitals, stand behind it" in words_of(render(result))


def test_numbers_at_risk_are_read_off_the_curve_where_none_are_given(result: dict[str, Any]) -> None:
    """As in R's survfit: at risk at t are those of the first point from t on, and nobody after the last."""
    curve = [point(None, 100.0, 0.9, 80), point(None, 200.0, 0.8, 60)]
    result["analyses"][0]["tables"] = {"curve": curve}
    rows = next(v["rows"] for v in marks(one(result, 0, "survival"), "text") if "at_risk" in v["rows"][0])
    assert [row["text"] for row in rows] == ["80", "80", "80", "80", "60", "60", "60"]  # a tick every 30 days


def test_on_cells_no_count_is_guessed(result: dict[str, Any]) -> None:
    """There the curve's counts stand at left edges of cells: only reported times have numbers at risk."""
    result["analyses"][0]["facts"]["grid"] = "ladder of 10 cells up to 960 days, merged to 6"
    curve = [point("a", 100.0, 0.9, 80), point("a", 200.0, 0.8, 60)]
    result["analyses"][0]["tables"] = {"curve": curve}
    assert "Number at risk" not in said(one(result, 0, "survival"))
    result["analyses"][0]["tables"]["survival"] = [point("a", 100.0, 0.9, 71), point("a", 150.0, 0.9, 66)]
    assert {"80", f"≈{FIRM}71", f"≈{FIRM}66"} <= set(said(one(result, 0, "survival")))
    assert "≈ Numbers at risk between the edges of cells are estimated." in words_of(render(result))


def test_a_count_that_nobody_reported_is_left_blank(result: dict[str, Any]) -> None:
    """A group without a record at a time is not said to have nobody at risk."""
    tables = result["analyses"][0]["tables"]
    tables["risk"].append({"group": "yes", "time": 300, "at_risk": 21})
    (counts,) = [v["rows"] for v in marks(one(result, 0, "survival"), "text") if "at_risk" in v["rows"][0]]
    assert [(row["time"], row["text"]) for row in counts if row["group"] == "yes"] == [(300, "21")]


def test_censorings_are_marked_at_exact_times_alone(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["curve"][0]["censored"] = None  # withheld
    result["analyses"][0]["tables"]["curve"][1]["censored"] = 0
    assert marks(one(result, 0, "survival"), "point") == []
    result["analyses"][0]["facts"]["grid"] = "exact times, to 1 days"
    (ticks,) = marks(one(result, 0, "survival"), "point")
    assert [row["time"] for row in ticks["rows"] if row["group"] == "no"] == [30 * i for i in range(3, 31)]
    assert "ticks mark censorings" in words_of(render(result))
    curve = [point("a", float(day), 0.5) for day in range(1, 400)]
    result["analyses"][0]["tables"] = {"curve": curve}
    assert marks(one(result, 0, "survival"), "point") == []  # nobody could tell them apart


def test_a_curve_ends_where_its_estimate_does(result: dict[str, Any]) -> None:
    curve = [point("a", 10, 0.9), point("a", 20, None), point("a", 30, 0.5)]
    result["analyses"][0]["tables"] = {"curve": curve}
    (line,) = marks(one(result, 0, "survival"), "line")
    assert [row["time"] for row in line["rows"]] == [0, 10]


@pytest.mark.parametrize("records", [[], [point("a", 10, None)], [point("a", 0, 1.0)]])
def test_no_curve_no_figure(result: dict[str, Any], records: list[dict[str, Any]]) -> None:
    result["analyses"][0]["tables"] = {"curve": records}
    assert drawn(result, 0) == {}
    render(result)


CURVES: dict[str, list[dict[str, Any]]] = {
    "one point": [point("a", 10, 0.9)],
    "a point without limits": [point("a", 10, 0.9) | {"conf_low": None, "conf_high": None}],
    "limits that are lost": [point("a", 10, 0.9), point("a", 20, 0.8) | {"conf_low": None}],
    "down to nothing": [point(None, 10, 0.5), point(None, 20, 0.0)],
    "a day": [point("a", 0.001, 0.5)],
    "an age of the world": [point("a", 1e13, 0.5)],
    "many groups": [point(f"group {i}", 10 + i, i / 40) for i in range(40)],
    "long names": [point(LONG + str(i), 9, 0.5) for i in (1, 2)],
    "names with marks": [point(name, 10, 0.5) for name in ("datum['x']", "\\", "a\nb", "日本", HOSTILE, "\x00")],
    "groups that are numbers": [point(None, 10, 0.5) | {"group": group} for group in (0, 1.5, True)],
}  # fmt: skip


@pytest.mark.parametrize("words", [EN, FR])
@pytest.mark.parametrize("case", CURVES)
def test_strange_curves_break_no_figure(result: dict[str, Any], case: str, words: Words) -> None:
    result["analyses"][0]["tables"] = {"curve": CURVES[case]}
    drawing = one(result, 0, "survival", words)
    validator().validate(drawing.spec)
    whole(drawing)


@pytest.mark.parametrize("highest", [1e-9, 0.004, 0.03, 0.5, 1.0])
def test_incidences_of_any_height_have_an_axis(result: dict[str, Any], highest: float) -> None:
    result["analyses"][3]["tables"]["incidence"][0] |= {"estimate": highest, "conf_low": highest, "conf_high": highest}
    drawing = one(result, 3, "incidence")
    whole(drawing)
    assert len({text for text in said(drawing) if text.endswith("%")}) >= 3


def test_a_long_curve_is_thinned_to_what_one_sees(result: dict[str, Any]) -> None:
    days = 20_000
    curve = [point("a", float(day), 1 - 0.5 * day / days) for day in range(1, days + 1)]
    result["analyses"][0]["tables"] = {"curve": curve}
    (line,) = marks(one(result, 0, "survival"), "line")
    assert 500 < len(line["rows"]) < 2500
    assert line["rows"][-1]["time"] == days
    kept = {row["time"]: row["estimate"] for row in line["rows"]}
    at = sorted(kept)
    for day in range(1, days + 1, 97):
        before = max(time for time in at if time <= day)
        assert abs(kept[before] - curve[day - 1]["estimate"]) <= 1 / 1900  # a pixel is 1 / 320


def test_causes_are_curves_of_one_group_and_panels_of_several(result: dict[str, Any]) -> None:
    (record,) = result["analyses"][3]["tables"]["incidence"]
    result["analyses"][3]["tables"]["incidence"] = [
        record | {"group": group, "cause": cause} for group in ("F", "M") for cause in ("death", "relapse")
    ]
    assert list(drawn(result, 3)) == ["incidence_death", "incidence_relapse"]
    result["analyses"][3]["tables"]["incidence"] = [record | {"cause": cause} for cause in ("death", "relapse")]
    (drawing,) = drawn(result, 3).values()
    assert {"death", "relapse"} <= set(said(drawing))


# ---------------------------------------------------------------- the picture, in two languages, on any screen


def test_a_picture_stands_alone(result: dict[str, Any]) -> None:
    drawing = one(result, 0, "survival")
    root = picture(drawing)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert desc is not None
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert "no 40.0%" in (desc.text or "")
    assert [r.get("fill") for r in root.iter(f"{SVG}rect")] == [PAPER]
    assert {n.get("font-family") for n in root.iter(f"{SVG}text")} == {"Liberation Sans, Arial, Helvetica, sans-serif"}
    assert not re.search(r"var\(|url\(|href|<style|<image", drawing.svg)


def test_every_colour_has_its_shade_for_dark_screens(result: dict[str, Any]) -> None:
    """The page's style finds a colour by its value: whatever a picture paints must have a rule."""
    result["analyses"][0]["tables"]["curve"] = [point(f"g{i}", 30, 0.9 - i / 100) for i in range(9)]
    style = importlib.resources.files("confrere.report").joinpath("report.css").read_text("utf-8")
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")[:2]
    pictures = [picture(d) for place in range(5) for d in drawn(result, place).values()]
    used = {node.get(kind) for root in pictures for node in root.iter() for kind in ("fill", "stroke")} - {None, "none"}
    assert used <= {INK, MUTED, PAPER, *PALETTE}
    for colour in used:
        for kind in ("fill", "stroke"):
            (variable,) = re.findall(rf'svg \[{kind}="{colour}"\] {{ {kind}: var\((--\w+)\); }}', style)
            assert re.search(rf"{variable}: #[0-9a-f]{{3,6}};", dark.split("}")[0])
            assert f"{variable}: {colour}" in light


def test_numbers_are_written_as_the_language_does(result: dict[str, Any]) -> None:
    french = set(said(one(result, 0, "survival", FR))) | set(said(one(result, 1, "forest", FR)))
    assert {"Temps (ans)", "Sujets à risque", "0,82", "20\u202f%", "1,5", "1,40 (1,12–1,68)"} <= french
    assert not [text for text in french if re.search(r"\d\.\d", text)]
    english = set(said(one(result, 0, "survival"))) | set(said(one(result, 1, "forest")))
    assert {"Time (years)", "0.82", "20%", "1.5"} <= english
    assert not [text for text in english if re.search(r"\d,\d", text)]


def test_the_same_figure_is_the_same_bytes(result: dict[str, Any]) -> None:
    assert drawn(result, 0) == drawn(copy.deepcopy(result), 0)


def test_the_loss_of_a_network_is_drawn_by_round() -> None:
    """From the table `training`, which the figure has under it; of one round there is no curve."""
    from confrere.report import learned_plot

    records = [{"round": i, "loss": 1.0 / i} for i in (1, 2, 4)]
    panel = learned_plot.losses(records)
    assert panel is not None
    words = Words("en")
    assert learned_plot.said(panel, [], words) == "Curve. Mean loss from 1.000 in round 1 to 0.250 in round 4."
    chart, rows = learned_plot.draw_learned(panel, words)
    assert rows["losses"] == [{"round": 1, "loss": 1.0}, {"round": 2, "loss": 0.5}, {"round": 4, "loss": 0.25}]
    axis = chart.to_dict()["hconcat"][0]["layer"][0]["encoding"]["x"]
    assert axis["scale"]["domain"] == [1, 4]
    assert learned_plot.losses(records[:1]) is None
