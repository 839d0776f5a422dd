"""The documentation site: `sphinx-build -W --keep-going -n -b html docs site`. It needs no network, nor do its pages.

Pages are plain Markdown, so that they read as well on a code host. Notebooks are shown with the outputs they hold.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from confrere import __version__

project, author, version = "Confrere", "the Confrere contributors", __version__
copyright = "the Confrere contributors, Apache-2.0"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["plugin"]  # a package with its own tests, not pages
nitpicky = True

myst_heading_anchors = 4  # as code hosts make them, so that links work at both
nb_execution_mode = "off"  # a test executes the notebooks; the site shows what they hold

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
default_role = "code"  # docstrings say `x` for code
# types of other packages, and the names of types that our signatures spell for people alone
nitpick_ignore_regex = [
    (r"py:.*", r"(numpy|np|pandas|pd|pathlib|collections|typing|ellipsis).*"),
    (r"py:class", r"(confrere\.rounds\.)?(T|S|P|Array|Ints|Bools|Flow|Language|Chart|Forest|Model)"),
    (r"py:class", r"((str|float) \| )?tuple\[(float|str)"),  # of a union with a tuple of any length, half a name
    (r"py:class", r"confrere\.study\.imputation\.Imputed"),  # what a flow carries between its own rounds
    (r"py:class", r"confrere\.console\.(local\.Ladder|client\.Declared)"),  # the names of further settings
    (r"py:class", r"confrere\.study\.build\.Disclosure"),
]

html_theme = "furo"
html_title = f"Confrere {version}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_sphinx = False

DOCS = Path(__file__).parent
FILES = {"contributing": "CONTRIBUTING.md", "changes": "CHANGELOG.md"}  # pages that are files at the top
CONTENTS = {  # the side bar: appended to the first page, where a code host need not show it
    "Start": ("researcher", "tutorial", "results", "models", "missing"),
    "Records and trials": (
        "cohorts",
        "features",
        "feasibility",
        "recruitment",
        "target-trial",
        "worked-effects",
        "external-control",
        "synthetic",
    ),
    "Methods": ("methods/*",),
    "Hospitals": (
        "federation",
        "upgrading",
        "identity",
        "pages-hospital",
        "pages-researcher",
        "scale",
        "skin",
        "slides",
        "steward",
        "rules",
        "ledger",
        "airlock",
        "differencing",
        "opposition",
        "sources",
        "fhir",
        "threats",
        "figures-rules",
        "five-safes",
        "compliance",
        "dpia",
        "En français <steward.fr>",
        "Règles de l’hôpital <rules.fr>",
        "Oppositions <opposition.fr>",
        "Analyse d’impact <dpia.fr>",
        "Avertissements <warnings.fr>",
        "Erreurs <errors.fr>",
    ),
    "Reference": (
        "reference/commands",
        "reference/settings",
        "reference/result",
        "warnings",
        "errors",
        "reference/api",
    ),
    "Development": ("developer", "contributing", "changes"),
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
TERM = re.compile(r"^(\w[\w, ]*?) {2,}(\S.*)$")


def listed(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Paragraphs of docstrings that align `name  what it is` become definition lists."""
    made: list[str] = []
    inside = False
    for line in lines:
        if found := TERM.match(line):
            made += ["", found[1], f"   {found[2]}"]
            inside = True
        elif inside and line.startswith(" "):
            made.append(f"   {line.strip()}")
        else:
            if inside and line:
                made.append("")
            inside = False
            made.append(line)
    lines[:] = made


def spoken(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """A page NAME.fr says that it is French, for screen readers and hyphenation."""
    if page.endswith(".fr"):
        context["language"] = "fr"


def read(app: Any, page: str, source: list[str]) -> None:
    """Files at the top become pages; a link to a file of the repository that is no page becomes its text."""
    where = DOCS / page
    if page in FILES:
        where = DOCS.parent / FILES[page]
        source[0] = where.read_text(encoding="utf-8")
    if page == "index":
        source[0] += "".join(map(contents, CONTENTS))
    if not (DOCS / f"{page}.ipynb").exists():
        source[0] = LINK.sub(lambda found: linked(found, where.parent, page), source[0])


def contents(caption: str) -> str:
    """A part of the side bar."""
    pages = "\n".join(CONTENTS[caption])
    return f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{pages}\n```\n"


def linked(found: re.Match[str], folder: Path, page: str) -> str:
    """A link as it stands on the site."""
    text, target, anchor = found[1], (folder / found[2]).resolve(), found[3] or ""
    tops = {(DOCS.parent / file).resolve(): DOCS / f"{name}.md" for name, file in FILES.items()}
    target = tops.get(target, target)
    if not target.is_relative_to(DOCS) or "plugin" in target.relative_to(DOCS).parts:
        return text
    return f"[{text}](/{target.relative_to(DOCS)}{anchor})"


def setup(app: Any) -> None:
    """Connect what is above."""
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", listed)
    app.connect("html-page-context", spoken)
