"""The papers that a result rests on, as text and as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

from confrere.analyses.finding import Citation
from confrere.errors import StudyError

# how papers are written here: Cox DR, Efron B. Title. Journal 1972;34:187-220
PAPER = re.compile(
    r"(?P<author>.+?)\. (?P<title>.+)\. (?P<journal>[^.]+) (?P<year>\d{4});(?P<volume>\w+):(?P<pages>[\d-]+)"
)
TEX = re.compile("([&%$#_])")  # what TeX takes for something else


class Papers(str):
    """References as text, shown line by line where they are evaluated."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def cited(papers: Sequence[Citation], format: str = "text") -> Papers:
    """References, each once, and the package: one a line (`text`), or entries (`bibtex`)."""
    from confrere.console.result import installed_version

    version, once = installed_version("confrere"), [*dict.fromkeys(papers)]
    if format == "text":
        lines = [f"{c.text}." + (f" https://doi.org/{c.doi}" if c.doi else "") for c in once]
        return Papers("\n".join([*lines, f"Confrere, version {version}: statistics over hospitals. Apache-2.0."]))
    if format != "bibtex":
        raise StudyError(f"format is {format!r}; it must be 'text' or 'bibtex'")
    own = {"title": "Confrere: statistics over hospitals", "version": version, "license": "Apache-2.0"}
    keys: dict[str, Citation] = {}
    for paper in once:
        keys[_key(paper, keys)] = paper
    return Papers("\n\n".join([*(_entry(key, c) for key, c in keys.items()), _written("software", "confrere", own)]))


def _key(paper: Citation, taken: dict[str, Citation]) -> str:
    """First author and year, such as cox1972; a letter more where it is taken."""
    year = re.search(r"\b(1[89]|20)\d\d\b", paper.text)
    key = re.sub(r"\W", "", paper.text.split()[0].lower()) + (year[0] if year else "")
    return next(k for k in [key, *(key + letter for letter in "bcdefghij")] if k not in taken)


def _entry(key: str, paper: Citation) -> str:
    doi = {"doi": paper.doi} if paper.doi else {}
    found = PAPER.fullmatch(paper.text)
    if not found:
        return _written("misc", key, {"note": paper.text, **doi})
    fields = found.groupdict()
    authors = ["others" if a == "et al" else a.replace(" ", ", ", 1) for a in fields["author"].split(", ")]
    pages = fields["pages"].replace("-", "--")
    return _written("article", key, {**fields, "author": " and ".join(authors), "pages": pages, **doi})


def _written(kind: str, key: str, fields: dict[str, str]) -> str:
    shown = {name: text if name == "doi" else TEX.sub(r"\\\1", text) for name, text in fields.items()}
    lines = [f"  {name} = {{{text}}}" for name, text in shown.items()]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"
