"""The documentation site builds offline without a warning, points nowhere that is not there, and loads nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import confrere
from federate import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; warnings are errors, and every reference must resolve."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "-d", str(out / "trees")]
    done = subprocess.run([*command, str(DOCS), str(out / "html")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "html"


class Page(HTMLParser):
    """What a page loads, what it links to, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors.add(given.get("id", ""))
        if "src" in given:
            self.loads.append(given["src"])
        if "href" in given:
            (self.links if tag == "a" else self.loads).append(given["href"])


def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site, parsed."""
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_on_the_site(site: Path) -> None:
    written = {p.relative_to(DOCS).with_suffix("") for p in DOCS.rglob("*") if p.suffix in {".md", ".ipynb"}}
    for page in (p for p in written if p.parts[0] != "plugin"):
        assert (site / f"{page}.html").exists(), page


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for path, page in pages(site).items():
        assert not [what for what in page.loads if re.match(r"(\w+:)?//", what)], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", path.read_text(encoding="utf-8")), path.name


def test_links_within_the_site_resolve(site: Path) -> None:
    known = pages(site)
    for path, page in known.items():
        for link in [*page.links, *page.loads]:
            name, _, anchor = unquote(link).partition("#")
            if re.match(r"\w+:", link) or (not name and not anchor):
                continue
            target = (path.parent / name.partition("?")[0]).resolve() if name else path
            assert target.exists(), f"{path.name} points to {link}"
            if anchor and target in known:
                assert anchor in known[target].anchors, f"{path.name} points to {link}"


def test_search_finds_words_without_a_network(site: Path) -> None:
    script = (site / "searchindex.js").read_text(encoding="utf-8")
    terms = json.loads(script.removeprefix("Search.setIndex(").removesuffix(")"))["terms"]
    assert {"hazard", "efron", "dossier"} <= terms.keys()  # the last is French


@pytest.mark.parametrize("name", confrere.__all__)
def test_every_public_name_is_in_the_reference(site: Path, name: str) -> None:
    thing = getattr(confrere, name)
    anchors = Page(site / "reference" / "api.html").anchors
    assert {f"confrere.{name}", f"{thing.__module__}.{thing.__qualname__}"} & anchors, f"add {name} to reference/api.md"


def test_the_french_page_says_that_it_is_french(site: Path) -> None:
    assert '<html class="no-js" lang="fr"' in (site / "steward.fr.html").read_text(encoding="utf-8")
    assert '<html class="no-js" lang="en"' in (site / "steward.html").read_text(encoding="utf-8")
