"""The documentation cannot rot: its blocks run, its outputs are what comes out, and nothing goes undocumented.

Blocks of a page run in their order, in one folder and one namespace:

    ```toml     valid TOML; a first line `# NAME.toml` saves it; with [study] in it, it is a study that can be built
    ```python   runs; a first line `# NAME.py` saves it as a module instead
    ```console  `$ confrere ...` runs; every line below it must be printed, in this order, `...` stands for any lines
    ```text     directly after a python block: exactly what that block prints

`python tests/spec/test_docs.py` writes the outputs of all pages (or of those named) anew; without a name also the
reference pages (docs/generated.py) and the tutorial (test_tutorial.py).
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from confrere.rounds import find, installed

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in [*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"] if p.exists())
METHODS = [m for m in installed() if find(m).__module__.startswith("confrere.")]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w-]+\.(?:toml|py))\n")
DRIVER = """
import contextlib, io, json, pathlib, shlex, sys, traceback
sys.path.insert(0, ".")
from confrere.console.app import main

def console(text):
    command = text[2:].split("\\n", 1)[0]
    sys.argv = shlex.split(command)
    try:
        main()
    except SystemExit as end:
        if end.code: print(f"exit {end.code}")

space, said = {"__name__": "page"}, []
for kind, text in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            console(text) if kind == "console" else exec(compile(text, "page", "exec"), space)
        except BaseException:
            traceback.print_exc()
            print("FAILED")
    said.append(out.getvalue())
print(json.dumps(said))
"""
HEADINGS = ("Model", "Settings", "Results", "What leaves each hospital", "Exactness", "Limits", "Example", "References")
VARIANTS = {
    "penalised": {"formula": "nodes ~ age + er", "folds": 5},
    "penalised risks": {"formula": "recur ~ age + nodes", "family": "binomial", "folds": 5},
    "penalised hazards": {"formula": "Surv(rtime, recur) ~ age + nodes", "family": "cox", "folds": 5},
    "network": {"outcome": "recur", "features": "age + nodes", "rounds": 2, "fine_tune": 1},
    "network of times": {"outcome": "Surv(rtime, recur)", "features": "age + nodes", "rounds": 2},
    "boosting": {"outcome": "recur", "features": ["age", "nodes"], "trees": 2, "depth": 2},
    "cox": {"robust": True, "formula": "Surv(rtime, recur) ~ hormon + age"},
    "cox shared": {"baseline": "shared", "formula": "Surv(rtime, recur) ~ hormon + age"},
    "describe": {"by": "hormon", "variables": ["age", "size"]},
    "describe by size": {"by": "size", "variables": ["age"]},
    "glm": {"family": "binomial", "formula": "recur ~ hormon + age", "robust": True},
    "kaplan_meier": {"formula": "Surv(rtime, recur) ~ hormon", "times": [365]},
    "kaplan_meier of few": {"formula": "Surv(rtime, recur) ~ hormon + chemo + size", "times": [365]},
    "linear": {"formula": "age ~ hormon + nodes", "robust": True},
    "logistic": {"formula": "recur ~ hormon + age"},
    "logrank": {"formula": "Surv(rtime, recur) ~ hormon"},
    "logrank per hospital": {"formula": "Surv(rtime, recur) ~ hormon", "baseline": "per hospital"},
    "poisson": {"formula": "recur ~ hormon + offset(log(rtime))"},
    "worklist": {"title": "Large", "criteria": ["age >= 65", "size == '>50'", "nodes < 40"]},
}


class Block(NamedTuple):
    """A fenced block: its language, its text, and where the text stands in the page."""

    kind: str
    text: str
    start: int
    end: int


def blocks(page: Path) -> list[Block]:
    """The blocks of a page."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m[1], m[2], m.start(2), m.end(2)) for m in found]


def ran(page: Path, folder: Path) -> list[tuple[Block, str]]:
    """The blocks of a page that say what comes out, each with what does."""
    given, steps, shown = blocks(page), [], []
    for i, block in enumerate(given):
        if named := NAMED.match(block.text):
            (folder / named[1]).write_text(block.text, encoding="utf-8")
        elif block.kind == "python" or (block.kind == "console" and block.text.startswith("$ confrere")):
            steps.append((block.kind, block.text.replace("\\\n", " ")))
            after = given[i + 1] if i + 1 < len(given) else None
            shown.append(block if block.kind == "console" else after if after and after.kind == "text" else None)
    if not steps:
        return []
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(steps), capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout.splitlines()[-1])
    failed = [out for out in outputs if out.endswith("FAILED\n")]
    assert not failed, f"{page.name}: {failed[0]}"
    return [(block, out) for block, out in zip(shown, outputs, strict=True) if block is not None]


def plain(text: str) -> list[str]:
    """Lines without what is blank at their ends; a nought has no sign, since machines differ in it."""
    return [re.sub(r"(?<![\w.])-(0\.0+)(?![\d.])", r" \1", line).rstrip() for line in text.strip("\n").splitlines()]


def in_order(wanted: list[str], lines: list[str]) -> str | None:
    """The first wanted line that does not stand among the lines, after those before it."""
    at = 0
    for line in wanted:
        if line == "..." or not line:
            continue
        if line not in lines[at:]:
            return line
        at += lines[at:].index(line) + 1
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run_and_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    for block, out in ran(page, tmp_path):
        if block.kind == "text":
            assert plain(block.text) == plain(out), f"{page.name}: run `python {Path(__file__).relative_to(ROOT)}`"
        else:
            command, *wanted = plain(block.text.replace("\\\n", " "))
            absent = in_order(wanted, plain(out))
            assert absent is None, f"{page.name}: {command} does not print {absent!r}:\n{out}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_toml_blocks_parse(page: Path) -> None:
    from confrere.study import build, file

    for block in blocks(page):
        if block.kind == "toml":
            content = tomllib.loads(block.text)
            if "study" in content:
                assert build.analyses(file.parse(block.text, page.name))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        where = (page.parent / name).resolve() if name else page
        assert where.exists(), f"{page.name} points to {target}"
        if anchor:
            assert anchor in anchors(where), f"{page.name} points to {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_a_page_with_every_setting(method: str) -> None:
    text = page_of(method)
    for field in dataclasses.fields(find(method)):
        if field.name != "ground":
            assert f"| `{field.name}` |" in text, f"docs/methods/{method}.md has no row for the setting {field.name!r}"
    for heading in HEADINGS:
        assert f"\n## {heading}\n" in text, f"docs/methods/{method}.md has no section {heading!r}"
    assert "**Estimand.**" in text, f"docs/methods/{method}.md does not say what is estimated"
    assert "https://doi.org/" in text


@pytest.mark.parametrize("method", METHODS)
def test_a_page_names_what_the_manifest_lists_and_how_often(method: str) -> None:
    from confrere.hospital.manifest import manifest
    from confrere.study import file

    page = DOCS / "methods" / f"{method}.md"
    for block in blocks(page):
        if block.kind == "toml" and "[study]" in block.text:
            for entry in manifest(file.parse(block.text)).entries:
                wanted = [f"`{entry.step}`", f"`{entry.name}`"] if entry.kind == "ask" else [f"`{entry.step}`"]
                rows = [line for line in page_of(method).splitlines() if all(w in line for w in wanted)]
                assert rows, f"docs/methods/{method}.md has no row with {wanted}, which the manifest lists"
                often = entry.repeats < 2 or any(re.search(rf"\b{entry.repeats}\b", row) for row in rows)
                assert often, f"docs/methods/{method}.md does not say that {wanted} may leave {entry.repeats} times"


@pytest.mark.parametrize("variant", [*VARIANTS, "competing_risks"])
def test_a_page_names_every_table_and_column(variant: str) -> None:
    method = variant.split()[0]
    text = page_of(method)
    for name, records in tables_of(variant).items():
        assert f"`{name}`" in text, f"docs/methods/{method}.md does not name the table {name!r}"
        columns = {column for record in records for column in record}
        missing = sorted(c for c in columns if f"`{c}`" not in text)
        assert not missing, f"docs/methods/{method}.md does not name columns {missing} of {name!r}"


def tables_of(variant: str) -> dict[str, list[dict[str, object]]]:
    """Records of every table that a method gives on the demo data."""
    if variant == "competing_risks":
        found: dict[str, list[dict[str, object]]] = {}
        for finding in demo("myeloma").values():
            for name, records in finding.tables.items():
                found.setdefault(name, []).extend(records)
        return found
    from confrere.console.demo import load
    from confrere.console.local import Local

    study, hospitals = load("breast")
    given = dict(VARIANTS[variant])
    spec = dataclasses.replace(study.analyses[0], name="a", method=variant.split()[0], settings=given)
    made = dataclasses.replace(study, allow=("histograms", "model_weights"), analyses=(spec,))
    return dict(Local(hospitals).run(made)["a"].tables)


@lru_cache
def demo(name: str) -> dict[str, object]:
    """The findings of a demo."""
    from confrere.console.demo import load
    from confrere.console.local import Local

    study, hospitals = load(name)
    return dict(Local(hospitals).run(study).findings)


def page_of(method: str) -> str:
    """The text of a method's page."""
    page = DOCS / "methods" / f"{method}.md"
    assert page.exists(), f"docs/methods/{method}.md is missing: every registered method has a page"
    return page.read_text(encoding="utf-8")


def test_every_command_is_in_the_prose() -> None:
    """Its options stand in the reference, which test_reference.py holds against the program."""
    from typer.main import get_command

    from confrere.console.app import app

    def names(group: Any, before: str) -> Iterator[str]:
        for word, command in group.commands.items():
            yield from names(command, f"{before} {word}") if hasattr(command, "commands") else [f"{before} {word}"]

    prose = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    missing = [name for name in names(get_command(app), "confrere") if not re.search(rf"{name}\b", prose)]
    assert not missing, f"no page of docs says what these commands are for: {missing}"


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_on_the_first_page(method: str) -> None:
    assert f"| [{method}](methods/{method}.md) |" in (DOCS / "index.md").read_text(encoding="utf-8")
    assert f"docs/methods/{method}.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_key_of_the_study_file_is_documented() -> None:
    from confrere.study.file import _KEYS

    text = (DOCS / "researcher.md").read_text(encoding="utf-8")
    for table, keys in _KEYS.items():
        for key in keys if table else ():
            assert f"| `{key}` |" in text, f"[{table}] {key} is not in docs/researcher.md"


def test_every_disclosure_class_is_documented_in_both_languages() -> None:
    from confrere.hospital.classes import CLASSES

    for page in ("steward.md", "steward.fr.md"):
        for name in CLASSES:
            assert f"`{name}`" in (DOCS / page).read_text(encoding="utf-8")
    assert all(sentence in (DOCS / "steward.md").read_text(encoding="utf-8") for sentence in CLASSES.values())


def refresh(page: Path, folder: Path) -> None:
    """Write the outputs of a page anew, but for console blocks that leave lines out."""
    text = page.read_text(encoding="utf-8")
    for block, out in reversed(ran(page, folder)):
        if block.kind == "text":
            text = text[: block.start] + "\n".join(plain(out)) + "\n" + text[block.end :]
        elif "\n...\n" not in block.text:
            command = re.match(r"(?:.*\\\n)*.*\n", block.text)
            assert command is not None
            text = text[: block.start] + command[0] + "\n".join(plain(out)) + "\n" + text[block.end :]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    for script in () if sys.argv[1:] else (DOCS / "generated.py", Path(__file__).parent / "test_tutorial.py"):
        subprocess.run([sys.executable, script], check=True)
    for each in [Path(a).resolve() for a in sys.argv[1:]] or PAGES:
        with tempfile.TemporaryDirectory() as temporary:
            refresh(each, Path(temporary))
