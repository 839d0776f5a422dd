"""The page of feasibility in a real browser: criteria are changed over sources of this machine."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("sqlalchemy")
pytest.importorskip("axe_playwright_python")
pytest.importorskip("playwright")

import uvicorn

import serve_pages as pages
from confrere.console import feasibility
from confrere.data.circe import cohort
from confrere.data.copies import copied
from confrere.data.omop import opened
from confrere.data.synthesize import Plan, synthesize
from confrere.study.build import analyses
from confrere.study.schema import Schema
from journeys import browser
from journeys.browser import checked

pytestmark = browser.needed
STARTS = "text => document.querySelector('#counts .lead')?.innerText.startsWith(text)"
STUDY = """[study]
id = "painkillers"
title = "Who could enter a trial of painkillers"
purpose = "public-interest research"

[data]
table = "omop"

[concepts]
thinners = { include = ["RxNorm:11289", "RxNorm:1191"] }
stomach = { include = [4027663, 192671] }

[cohorts.trial]
entry = { condition = [80180], first = true }
observed = { before = 180 }
criteria = [
    { name = "50 to 80 years old", age = [50, 80] },
    { name = "no peptic ulcer or bleeding before", no = { condition = "stomach" } },
    { name = "no warfarin or aspirin in the last year", no = { drug = "thinners" }, before = 365 },
]

[cohorts.wider]
entry = { condition = [80180], first = true }
observed = { before = 180 }
criteria = [
    { name = "40 years and older", age = [40, 120] },
    { name = "no peptic ulcer or bleeding before", no = { condition = "stomach" } },
    { name = "no warfarin or aspirin in the last year", no = { drug = "thinners" }, before = 365 },
]

[[analysis]]
name = "who"
method = "feasibility"
cohort = "trial"
variants = ["wider"]
years = [2013, 2022]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file."""
    path = tmp_path_factory.mktemp("study") / "trial.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three synthetic hospitals."""
    out = tmp_path_factory.mktemp("hospitals") / "made"
    return {
        one.folder.name: str(one.folder) for one in synthesize(Plan(3, 4000, 4, 0.5, -0.5), out, 1, lambda more: None)
    }


@pytest.fixture(scope="module")
def url(file: Path, sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, and the link that signs in."""
    place, said, port = tmp_path_factory.mktemp("page"), list[str](), pages.free()
    study = feasibility.asked(file)
    with pytest.MonkeyPatch.context() as patch, copied(sources, base(file), place, Schema()) as copies:
        patch.setattr(feasibility.typer, "echo", said.append)
        server = uvicorn.Server(feasibility.page_of(study, copies, place, port))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        pages._until(lambda: server.started)
        yield said[0].split()[1]
        server.should_exit = True
        thread.join(10)


def base(file: Path) -> str:
    """The cohort of the study, as Circe."""
    (analysis,) = analyses(feasibility.asked(file))
    return str(analysis.cohorts[0].text)  # type: ignore[attr-defined]


def eligible(text: str, sources: dict[str, str]) -> int:
    """How many people meet every rule, by executing the whole definition anew."""
    total = 0
    for path in sources.values():
        with opened(path) as cdm:
            rows = cohort(cdm, text).people.to_pyarrow().to_pandas()
            total += int((rows.filter(like="rule_") == 1).all(axis=1).sum())
    return total


def test_a_change_is_counted_as_the_whole_definition_would_be(
    chromium: Any, url: str, file: Path, sources: dict[str, str]
) -> None:
    with browser.visiting(chromium) as opened_:
        page = opened_()
        page.goto(url)
        page.goto(re.sub(r"/sign-in.*", "/feasibility", url))
        checked(page, "feasibility")
        lead = page.locator("#counts .lead")
        assert f"{eligible(base(file), sources)} people" in lead.inner_text().replace(",", "")
        field = page.get_by_label("age from")
        assert field.input_value() == "50"
        field.focus()  # by the keyboard alone
        page.keyboard.press("Control+A")
        page.keyboard.type("65")
        page.keyboard.press("Tab")
        page.wait_for_function(STARTS, arg=f"{eligible(older(file), sources)} ")
        assert "As the study has it" in lead.inner_text()
        page.locator("#counts [hx-get]").scroll_into_view_if_needed()  # figures are drawn once somebody looks
        page.locator("#counts figure svg").first.wait_for()
        page.get_by_label("Apply this criterion: no peptic ulcer or bleeding before").uncheck()
        page.wait_for_function(STARTS, arg=f"{eligible(older(file, without=1), sources)} ")
        checked(page, "feasibility-changed")
        page.get_by_label("age from").fill("old")
        page.keyboard.press("Tab")
        page.get_by_text("is no number").wait_for()
        checked(page)


def older(file: Path, without: int | None = None) -> str:
    """The cohort from 65 years on, and without a criterion."""
    made = json.loads(base(file).replace('"Value":50', '"Value":65'))
    made["InclusionRules"] = [r for j, r in enumerate(made["InclusionRules"]) if j != without]
    return json.dumps(made)
