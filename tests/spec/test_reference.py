"""The reference pages are in step with the program, and nothing in it goes unsaid.

`python docs/generated.py` writes them anew.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from confrere.console.app import app
from federate import ROOT

DOCS = ROOT / "docs"
SCHEMA = json.loads((ROOT / "src" / "confrere" / "report" / "result.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module docs/generated.py."""
    monkeypatch.syspath_prepend(str(DOCS))
    yield import_module("generated")
    sys.modules.pop("generated")


def test_the_pages_are_in_step(generated: Any) -> None:
    for path, text in generated.pages():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of step: run `python docs/generated.py`"


def test_the_pages_say_what_the_program_has(generated: Any) -> None:
    """A control: what is added to a command or to the schema appears."""
    text = generated.commands()
    assert "| `--hospital NAME=FILE` | required |" in text
    assert "| `hazard_ratio` | number or null |" in generated.result()
    assert '| `ties` | text | `"efron"` | `efron` or `breslow` |' in generated.settings()


def test_every_command_option_and_argument_says_what_it_is_for(generated: Any) -> None:
    for name, command in generated.commands_of(get_command(app), "confrere"):
        assert command.help, f"{name} has no docstring"
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name} has no help"


def test_no_help_has_words_in_brackets(generated: Any) -> None:
    """The terminal would take them for a style, and leave them out."""
    plain = re.sub(r"`[^`]*`|\[[^]]*\]\([^)]*\)", "", generated.commands())
    assert re.findall(r"\\?\[[a-z_]+\]", plain) == []


def test_every_setting_has_a_meaning(generated: Any) -> None:
    silent = [line for line in generated.settings().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not silent


def described(part: Any, where: str) -> list[str]:
    """Keys of an object of the schema that say nothing, and those of the objects in it."""
    silent = [f"{where}.{key}" for key, said in part.get("properties", {}).items() if not said.get("description")]
    return silent + [s for name, inner in part.get("$defs", {}).items() for s in described(inner, name)]


def test_every_key_of_the_result_says_what_it_is() -> None:
    silent = described(SCHEMA, "result")
    assert not silent, f"give these keys of result.schema.json a description: {silent}"


@pytest.mark.parametrize("page", ["steward", "dpia"])
def test_the_same_sections_in_both_languages(page: str) -> None:
    """The French page has the sections, rows and points of the English one, in its order."""
    english, french = (shape((DOCS / f"{page}{end}").read_text(encoding="utf-8")) for end in (".md", ".fr.md"))
    assert english == french


def shape(text: str) -> list[tuple[int, int, int]]:
    """Of every section: its level, its rows of tables, and its points."""
    sections: list[list[int]] = []
    for line in re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines():
        if line.startswith("#"):
            sections.append([len(line) - len(line.lstrip("#")), 0, 0])
        sections[-1][1] += line.startswith("| ")
        sections[-1][2] += line.startswith("- ")
    return [(level, rows, points) for level, rows, points in sections]


def test_the_shape_of_a_page_sees_a_lost_row() -> None:
    assert shape("# A\n| a |\n- b\n```toml\n# no section\n```\n## C\n") == [(1, 1, 1), (2, 0, 0)]


@pytest.mark.parametrize("name", ["commands", "settings", "result", "api"])
def test_readers_are_led_to_the_reference(name: str) -> None:
    assert f"(reference/{name}.md)" in Path(DOCS / "index.md").read_text(encoding="utf-8")
