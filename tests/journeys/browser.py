"""The system's Chromium for journeys over pages. With CONFRERE_SHOTS=FOLDER they leave pictures there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect as expect

expect.set_options(timeout=15_000)  # it waits for what a click brings; `is_visible` does not

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
needed = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed: apt-get install chromium")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def visiting(chromium: Any, ignored: Callable[[Any], bool] = lambda page: False) -> Iterator[Callable[..., Any]]:
    """Opens pages, each in a browser of its own; nothing may be written to their console, as of a blocked style.

    `ignored` says of a page whether what is written there now is not ours.
    """
    contexts, said = [], list[str]()

    def open_(cookies: Sequence[Mapping[str, str]] = (), **given: Any) -> Any:
        context = chromium.new_context(**{"locale": "en-GB", "viewport": {"width": 1100, "height": 760}, **given})
        contexts.append(context)
        context.add_cookies(list(cookies))
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: said.extend([] if ignored(page) else [message.text]))
        page.on("pageerror", lambda error: said.append(str(error)))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not [text for text in said if not re.search(r"status of 4\d\d", text)]


def shot(page: Any, name: str) -> None:
    """A picture, if pictures are wanted."""
    if folder := os.environ.get("CONFRERE_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def checked(page: Any, name: str = "") -> None:
    """Nothing that axe finds, nothing wider than the screen, no control without a name."""
    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    assert not found.violations_count, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if name:
        shot(page, name)
