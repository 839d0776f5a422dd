"""What a warning or an error means, from the documentation that the package brings: hospitals are offline."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

from confrere.errors import StudyError
from confrere.study.file import meant

PAGES = {"en": ("warnings.md", "errors.md"), "fr": ("warnings.fr.md", "errors.fr.md")}
HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)


def explained(code: str, lang: str = "en") -> str:
    """The section of a code, as Markdown. StudyError for one that is not known, with the one that may be meant."""
    known = {anchor: text for page in PAGES[lang] for anchor, text in sections(page).items()}
    wanted = code.strip().rpartition("#")[2].lower()
    if wanted not in known:
        raise StudyError(f"no warning or error is called {code!r}; {meant(wanted, known, 0.75)}")
    return known[wanted]


def spoken() -> str:
    """The language of the terminal, as the environment says it: "fr" or "en"."""
    said = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    return "fr" if said.lower().startswith("fr") else "en"


def sections(page: str) -> dict[str, str]:
    """The sections of a page by their anchors, which are their headings in small letters."""
    text = _read(page)
    heads = [*HEADING.finditer(text)]
    ends = [*(h.start() for h in heads[1:]), len(text)]
    return {h[1].lower(): text[h.start() : end].strip() for h, end in zip(heads, ends, strict=True)}


def _read(page: str) -> str:
    """A wheel brings the pages; a source tree has them among its docs."""
    brought = files("confrere") / "docs" / page
    place = brought if brought.is_file() else Path(__file__).parents[3] / "docs" / page
    return place.read_text(encoding="utf-8")
