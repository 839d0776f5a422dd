"""What users hold: how fits and studies show themselves, cite, and draw."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from html.parser import HTMLParser

import pytest

import confrere as cf
from confrere.analyses.finding import Caution, Citation
from confrere.console.demo import load
from confrere.console.fit import Fit, Results
from confrere.console.references import cited
from confrere.errors import ModelError, StudyError

STUDY = """
[study]
id = "two"
title = "Two <b>models</b>"
purpose = "public-interest research"
[data]
table = "breast"
[[analysis]]
name = "good"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + nodes + er"
[[analysis]]
name = "curves"
method = "kaplan_meier"
formula = "Surv(rtime, recur) ~ 1"
[[analysis]]
name = "bad"
method = "logistic"
formula = "recur ~ recur"
"""


@lru_cache
def results() -> Results:
    from confrere.study.file import parse

    made = cf.Local(load("breast")[1]).run(parse(STUDY))
    assert isinstance(made, Results)
    return made


@lru_cache
def good() -> Fit:
    return results()["good"]


class Tags(HTMLParser):
    """The tags and the words of a page; tags that are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f" {data}"


def test_a_fit_shows_its_coefficients_and_warnings_on_a_terminal() -> None:
    shown = repr(good())
    assert shown.startswith("good (cox, n = 2,982, 1,518 events)")
    assert re.search(r"hormon +│ +0\.\d+ │ +0\.\d+ to", shown)
    assert "4 hospitals" in shown
    (warning,) = good().warnings
    assert "Hazard ratios change over" in shown
    assert f"-> {warning.page} (confrere explain not-proportional)" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert str(good()) == shown


def test_rich_prints_a_fit_as_its_repr_says() -> None:
    import io

    from rich.console import Console

    out = io.StringIO()
    for thing in (good(), results()):
        Console(file=out, width=100).print(thing)
    assert "hazard ratio" in out.getvalue()
    assert "bad has no result" in out.getvalue()


def test_a_notebook_gets_tables_that_are_whole_and_escaped() -> None:
    fit = replace(good(), name="<script>", finding=replace(good().finding, warnings=(Caution("x", "a < b & <i>"),)))
    for thing in (fit, results()):
        page = Tags(thing._repr_html_())
        assert not page.open
        assert page.seen == {"style", "div", "p", "table", "thead", "tbody", "tr", "th", "td"}
        assert "hazard ratio" in page.words
    assert "a < b & <i>" in Tags(fit._repr_html_()).words
    assert "Two <b>models</b>" in Tags(results()._repr_html_()).words
    assert "color:" not in re.sub(r"border[^;]*", "", fit._repr_html_())  # those of the page around it


def test_a_study_says_what_became_of_its_analyses() -> None:
    shown = repr(results())
    assert "Two <b>models</b>" in shown
    assert "rounds; " in shown
    assert "good (cox" in shown
    assert "bad has no result: " in shown
    assert "(confrere explain " in shown
    table = results().summary().set_index("analysis")
    assert list(table.index) == ["good", "curves", "bad"]
    assert (table.n["good"], table.events["good"], table.hospitals["good"]) == (2982, 1518, 4)
    assert table.warnings["good"] == "not-proportional"
    assert table.error["bad"]
    assert table.n.isna()["bad"]
    assert list(results()) == ["good", "curves"]
    assert len(results()) == 2
    assert set(results().tables) == {"good", "curves"}
    assert set(results().attrition().analysis) == {"good", "curves"}


def test_an_analysis_that_failed_raises_its_error_where_it_is_asked_for() -> None:
    with pytest.raises(ModelError):
        results()["bad"]
    with pytest.raises(StudyError, match="it has good, curves"):
        results()["other"]


def test_people_left_out_are_said_in_a_line() -> None:
    hospitals = {name: part.assign(nodes=part.nodes.where(part.index > 5)) for name, part in load("breast")[1].items()}
    fit = cf.local(hospitals).run(cf.Linear("age ~ nodes"))
    assert "left out: missing nodes (24)" in repr(fit)
    few = {
        n: p.assign(nodes=p.nodes.where(p.index > (5 if n == "delft" else -1))) for n, p in load("breast")[1].items()
    }
    assert "left out: missing nodes (too few to show)" in repr(cf.local(few).run(cf.Linear("age ~ nodes")))


# Papers -------------------------------------------------------------------------------------------------------


def test_a_fit_cites_its_papers_and_the_package() -> None:
    lines = str(good().cite()).splitlines()
    assert lines[0].startswith("Cox DR. Regression models and life-tables.")
    assert lines[0].endswith("https://doi.org/10.1111/j.2517-6161.1972.tb00899.x")
    assert lines[-1].startswith("Confrere, version ")
    assert repr(good().cite()) == str(good().cite())
    both = str(results().cite()).splitlines()
    assert set(lines) < set(both)
    assert len(both) == len(set(both))


def test_bibtex_has_an_entry_with_its_fields_for_each() -> None:
    text = str(good().cite("bibtex"))
    keys = re.findall(r"^@(\w+)\{(\w+),$", text, re.MULTILINE)
    assert keys == [
        ("article", "cox1972"),
        ("article", "efron1977"),
        ("article", "grambsch1994"),
        ("software", "confrere"),
    ]
    assert "author = {Grambsch, PM and Therneau, TM}" in text
    assert "pages = {187--220}" in text
    assert text.count("{") == text.count("}")


def test_bibtex_of_papers_of_one_year_of_books_and_of_signs() -> None:
    papers = [Citation("Cox DR. A & B. J X 1972;1:1-2", ""), Citation("Cox DR, et al. C. J Y 1972;2:3-4", "10.1/a_b")]
    text = str(cited([*papers, Citation("Greenwood M. Cancer. HMSO 1926", "")], "bibtex"))
    assert re.findall(r"^@(\w+)\{(\w+),$", text, re.MULTILINE)[:3] == [
        ("article", "cox1972"), ("article", "cox1972b"), ("misc", "greenwood1926"),
    ]  # fmt: skip
    assert r"title = {A \& B}" in text
    assert "author = {Cox, DR and others}" in text
    with pytest.raises(StudyError, match="must be 'text' or 'bibtex'"):
        cited(papers, "apa")


# Figures ------------------------------------------------------------------------------------------------------


def test_a_fit_draws_its_figure() -> None:
    charts = good().charts()
    assert list(charts) == ["forest"]
    assert good().plot().to_dict() == charts["forest"].to_dict() == good().plot("forest").to_dict()
    assert list(results()["curves"].charts()) == ["survival"]


def test_a_figure_that_is_not_there_is_told() -> None:
    with pytest.raises(StudyError, match="no figure 'survival'; it has forest"):
        good().plot("survival")
    test = cf.local(load("breast")[1], levels={"hormon": ["0", "1"]}).run(cf.LogRank("Surv(rtime, recur) ~ hormon"))
    with pytest.raises(StudyError, match=r"has no figure; its tables are in \.tables") as error:
        test.plot()
    assert error.value.page == "errors.md#no-figure"
