"""The report: result.json as published, a page that stands alone, and the files beside it."""

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
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from confrere.errors import StudyError
from confrere.report import check, render, schema, write
from confrere.report.files import csv_bytes, safe, stems
from confrere.report.numerals import FIRM
from confrere.report.page import parts
from confrere.report.prose import CLASSES, UNKNOWN_CLASS, headline
from confrere.report.tables import tables
from confrere.report.words import Words
from report_sample import EN, HOSTILE, Page, point, sample, words_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def result() -> dict[str, Any]:
    return sample()


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


def headline_of(result: dict[str, Any], place: int) -> str:
    return re.sub(r"\s", " ", headline(result["analyses"][place], result["study"], EN))


def test_medians_in_brief_have_units_groups_and_limits(result: dict[str, Any]) -> None:
    no = "23.0 months (no; 95% CI 19.7 to not reached)"  # under two years
    assert headline_of(result, 0) == f"Median time: {no}, not reached (yes). Log-rank P = 0.024"
    result["analyses"][0]["tables"]["median"][0] |= {"estimate": 1461.0, "conf_low": 1000.0, "conf_high": 1826.25}
    assert headline_of(result, 0).startswith("Median time: 4.0 years (no; 95% CI 2.7–5.0), not reached (yes)")
    result["analyses"][0]["tables"] = {"test": result["analyses"][0]["tables"]["tests"]}
    assert headline_of(result, 0) == "Log-rank P = 0.024"


def test_numbers_in_brief_do_not_part_from_their_units(result: dict[str, Any]) -> None:
    assert f"23.0{FIRM}months" in headline(result["analyses"][0], result["study"], EN)
    assert f"P{FIRM}={FIRM}0.024" in headline(result["analyses"][0], result["study"], EN)


def test_incidence_in_brief_is_at_the_last_requested_time(result: dict[str, Any]) -> None:
    """Not at the end of the axis; and of nobody of whom fewer than the rule are at risk there."""
    assert headline_of(result, 3) == ""
    share = result["analyses"][3]["tables"]["incidence"][0] | {"group": "F"}
    at = [share | {"time": 30, "at_risk": 80}, share | {"time": 60, "at_risk": 40, "estimate": 0.22}]
    result["analyses"][3]["tables"]["at_times"] = [*at, at[1] | {"group": "M", "at_risk": None, "suppressed": True}]
    assert headline_of(result, 3) == "Cumulative incidence (60 days; 95% CI): death, F 22.0% (16.0–24.0)"
    at[1]["at_risk"] = 10
    result["analyses"][3]["tables"]["at_times"] = at
    assert headline_of(result, 3) == ""


def test_ratios_of_fine_and_gray_in_brief(result: dict[str, Any]) -> None:
    result["analyses"][1]["facts"]["model"] = "fine-gray"
    assert "SHR (95% CI) 1.40" in headline_of(result, 1)


def test_words_of_a_researcher_are_not_translated(result: dict[str, Any]) -> None:
    """A cohort may be called as a word of ours, and a cause."""
    result["analyses"][1]["facts"] = {"cause": "other", "cohort": "treated", "baseline": "other"}
    (part,) = (p for p in parts(result, Words("fr")) if p.name == result["analyses"][1]["name"])
    assert [said for _, said in part.facts] == ["other", "treated", "autre"]


def test_hospitals_that_gave_nothing_are_told(result: dict[str, Any]) -> None:
    result["hospitals"] += ["metz", "nancy"]
    text = words_of(render(result))
    assert text.count("3 of 5 hospitals contributed.") == 2  # in brief, and with the data
    assert "Records of curie" not in text
    assert "The rest had fewer" not in text  # they may not have been asked
    result["analyses"][1]["warnings"] = [{"code": "hospitals-left-out", "text": "2 of 5 hospitals have too few."}]
    assert words_of(render(result)).count("The rest had fewer than 11 people for these analyses.") == 2


def test_tables_bear_the_name_of_their_analysis(result: dict[str, Any]) -> None:
    assert "km: Median time" in words_of(render(result))


def test_a_french_page_leads_to_the_french_warnings(result: dict[str, Any]) -> None:
    page = "warnings.md#few-events"
    result["analyses"][1]["warnings"] = [{"code": "few-events", "text": "Few.", "page": page}]
    text = words_of(render(result, "fr"))
    assert "confrere explain few-events --lang fr" in text
    assert "warnings.fr.md#few-events" in text


@pytest.mark.parametrize(("group", "shown"), [(1, "1"), ("1", "stage: 1"), (0.0, "stage: 0"), ("II", "II")])
def test_a_running_number_is_no_level_of_the_groups(result: dict[str, Any], group: Any, shown: str) -> None:
    """Groups of a calibration curve are counted; levels that are numbers bear the name of their column."""
    analysis = result["analyses"][0] | {"settings": {"by": "stage"}, "facts": {}}
    row = {"subgroup": "stage", "level": "I", "group": group, "n": 40, "predicted": 0.25, "observed": 0.2}
    (made,) = tables(analysis | {"tables": {"calibration": [row]}}, result["study"], EN)
    said = dict(zip((column.head for column in made.columns), made.rows[0].cells, strict=True))
    assert (said["Group"], said["Subgroup"], said["Level"]) == (shown, "stage", "I")


def test_an_asterisk_stands_where_a_count_or_else_an_estimate_was_withheld(result: dict[str, Any]) -> None:
    """Of a record with its count, in place of what would tell of a few; limits of nothing are empty."""
    analysis = result["analyses"][0]
    told = {"n": 208, "coverage": None, "conf_low": None, "empty": 0.0, "suppressed": True}
    rows = [told, {"n": None, "coverage": None, "suppressed": True}, {"n": 50, "coverage": 0.9, "suppressed": False}]
    (made,) = tables(analysis | {"tables": {"conformal": rows}}, result["study"], EN)
    heads = [column.head for column in made.columns]
    shown = [dict(zip(heads, row.cells, strict=True)) for row in made.rows]
    assert [row[EN.title("coverage")] for row in shown] == ["*", "–", "0.9"]
    assert [row[EN.title("n")] for row in shown] == ["208", "*", "50"]
    assert made.foot[0].startswith("* Count withheld")


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


def test_every_figure_and_table_has_its_numbers_one_click_away(result: dict[str, Any], tmp_path: Path) -> None:
    """What a link brings is what stands beside the page, byte by byte."""
    written = write(result, tmp_path)
    page = Page(written.report.read_text(encoding="utf-8"))
    assert len(page.all("details")) == len(page.all("figure"))
    links = {(a["download"] or "", a["href"] or "") for a in page.all("a") if a.get("download")}
    beside = [p for kind in ("tables", "figures") for p in (tmp_path / kind).iterdir()]
    assert sum(p.suffix == ".json" for p in beside) == sum(p.suffix == ".svg" for p in beside) == len(written.figures)
    found = {(name, base64.b64decode(address.split(",", 1)[1])) for name, address in links}
    drawn = {"km_curve.csv", "km_risk.csv", "cif_incidence.csv"}  # under the figure that draws them
    told_once = {"cox_attrition.csv"}  # the same as that of km
    absent = {p.name for p in beside if (p.name, p.read_bytes()) not in found}
    assert absent <= drawn | told_once


def test_a_warning_says_where_to_read_more(result: dict[str, Any]) -> None:
    """A sentence alone, or one with the code of its page: a link where the page has an address on the web."""
    told = {"code": "few-events", "text": "There are few events.", "page": "warnings.md#few-events"}
    web = told | {"page": "https://confrere.example/warnings.html#few-events"}
    for warnings in ([], ["plain"], [told], [{"text": "bare"}], [web, "plain"]):
        result["analyses"][1]["warnings"] = warnings
        jsonschema.validate(result, schema())
        text = render(result)
        for warning in warnings:
            assert (warning if isinstance(warning, str) else warning["text"]) in words_of(text)
        assert ("confrere explain few-events" in words_of(text)) == (told in warnings)
        assert (f'href="{web["page"]}"' in text) == (web in warnings)


@pytest.mark.parametrize("page", ["javascript:alert(1)", "http://x", "data:text/html,x", "//x"])
def test_a_warning_links_to_no_other_kind_of_address(result: dict[str, Any], page: str) -> None:
    result["analyses"][1]["warnings"] = [{"code": "c", "text": "t", "page": page}]
    assert page not in [a["href"] for a in Page(render(result)).all("a")]


@pytest.mark.parametrize("warning", [3, {"code": "c"}, {"text": "t", "more": "x"}, None])
def test_a_warning_is_a_sentence_or_a_record_with_one(result: dict[str, Any], warning: Any) -> None:
    result["analyses"][1]["warnings"] = [warning]
    assert not jsonschema.Draft202012Validator(schema()).is_valid(result)
    with pytest.raises(StudyError, match="warnings"):
        check(result)


def test_everything_to_press_is_reached_by_keyboard(result: dict[str, Any]) -> None:
    """Links have addresses, tables that scroll take the focus, and nothing steps out of the order of the page."""
    page = Page(render(result))
    assert all(anchor.get("href") for anchor in page.all("a"))
    assert all(region["tabindex"] == "0" for region in page.all("div") if region.get("role") == "region")
    assert {a["tabindex"] for _, a in page.tags if a.get("tabindex")} == {"0"}
    assert page.all("a")[0]["href"] == "#results"  # skip to the results


def test_a_model_of_a_method_is_named(result: dict[str, Any]) -> None:
    result["analyses"][3]["facts"] = {"model": "fine-gray"}
    assert "Fine–Gray subdistribution hazards regression" in words_of(render(result))


def test_what_rests_on_cells_of_time_is_called_approximate(result: dict[str, Any]) -> None:
    assert "times were counted in cells" not in words_of(render(result))
    result["analyses"][0]["facts"]["grid"] = "ladder of 10 cells up to 960 days, merged to 6"
    assert "km: times were counted in cells" in words_of(render(result))


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
            ["svg", "title", "desc", "rect", "text", "line", "path", "g"]
        )
    for path in (*written.tables, *written.figures):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name)
        assert path.parent.parent == tmp_path


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


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd", "-cmd", "\t=1", "  =1+1"])
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
    assert all(path.with_suffix(".vl.json").exists() for path in written.figures)
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


def test_how_sure_one_may_be_depends_on_the_method(result: dict[str, Any]) -> None:
    """A network is made by training and not by the equations of pooled records; what predicts asks no causes."""
    both = words_of(render(result))
    assert "by the same equations as on pooled records" in both
    assert "Records of care are observed" in both
    for analysis in result["analyses"]:
        analysis["method"] = "network"
    trained = words_of(render(result))
    assert "by the same equations as on pooled records" not in trained
    assert "every hospital trains on its own people" in trained
    assert "Records of care are observed" not in trained
    assert "A model predicts from what goes with the outcome" in trained
    for analysis in result["analyses"]:
        analysis |= {"method": "evaluate", "settings": {"outcome": "ill", "learnt": "SHA-256 0123"}}
    evaluated = words_of(render(result))
    assert "adds no approximation of its own" not in evaluated
    assert "near the middle of its cell" in evaluated
