"""The pages for stewards say what is there: every rule, every move of a study, every file and test that they name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from confrere.hospital.rules import Rules
from confrere.study.life import LIFE
from federate import ROOT

DOCS = ROOT / "docs"
NAMED = ("threats.md", "five-safes.md", "compliance.md", "dpia.md", "dpia.fr.md", "rules.md")


def text(page: str) -> str:
    """A page of docs."""
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.fixture
def diagram(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module docs/life_diagram.py."""
    monkeypatch.syspath_prepend(str(DOCS))
    yield import_module("life_diagram")
    sys.modules.pop("life_diagram")


# rules.md -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [f.name for f in fields(Rules)])
def test_every_rule_is_documented_with_an_example(key: str) -> None:
    page = text("rules.md")
    (row,) = re.findall(rf"^\| `{key}` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert all(row), f"docs/rules.md says nothing of {key}"
    (example,) = re.findall(r"^```toml\n(\[policy\].*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert re.search(rf"^{key}\b", example, re.MULTILINE), f"the example in docs/rules.md has no {key}"


def test_the_example_and_the_defaults_of_the_page_are_those_of_the_program() -> None:
    import tomllib

    (example,) = re.findall(r"^```toml\n(\[policy\].*?)^```$", text("rules.md"), re.MULTILINE | re.DOTALL)
    Rules.of(tomllib.loads(example)["policy"], "docs/rules.md")
    given = Rules()
    for key, shown in {"k": given.k, "rounds": given.rounds, "worklist_days": given.worklist_days}.items():
        assert f"| `{key}` | {shown} |" in text("rules.md")
    assert f"| `megabytes` | {given.megabytes:g} |" in text("rules.md")
    assert f'| `scope` | `"{given.scope}"` |' in text("rules.md")


def test_the_picture_has_every_move_and_no_other(diagram: Any) -> None:
    """Arrows from a box stand for one from each state in it."""
    drawn = {
        (state, a.action, a.to, a.who)
        for a in diagram.arrows()
        for state in diagram.BOXES.get(a.start, frozenset([a.start]))
    }
    assert drawn == {(s, action, m.to, m.who) for s, moves in LIFE.items() for action, m in moves.items()}
    for arrow in diagram.arrows():
        assert f">{arrow.action}" in diagram.drawing()


def test_a_move_without_a_place_in_the_picture_is_named(diagram: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(diagram.LINES, ("draft", "submitted"))
    with pytest.raises(LookupError, match="no line from draft to submitted"):
        diagram.drawing()


def test_the_words_of_the_picture_do_not_lie_upon_each_other(diagram: Any) -> None:
    """Lines of text at the same height keep apart; widths by six tenths of the size of the letters."""
    found = re.findall(r'<text[^>]*?x="(\d+)"[^>]*>(.*?)</text>', diagram.drawing())
    assert len(found) > len(LIFE)
    boxes = [box(whole) for whole in re.findall(r"<text.*?</text>", diagram.drawing())]
    for i, (left, right, y) in enumerate(boxes):
        for other_left, other_right, other_y in boxes[:i]:
            assert abs(y - other_y) >= 11 or left >= other_right or right <= other_left, (left, y)


def box(line: str) -> tuple[float, float, float]:
    """Left, right and height of a text of the picture."""
    x, y = (float(re.search(rf'{name}="(\d+)"', line)[1]) for name in (" x", " y"))  # type: ignore[index]
    width = 6.0 * len(re.sub(r"<.*?>", "", line))
    start = {"middle": x - width / 2, "end": x - width}
    anchor = re.search(r'text-anchor="(\w+)"', line)
    left = start.get(anchor[1], x) if anchor else x
    return left, left + width, y


# what is named is there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", NAMED)
def test_every_file_and_test_that_is_named_is_there(page: str) -> None:
    for file in re.findall(r"`(?:src/confrere/)?([\w/]+\.py)`", text(page)):
        there = [ROOT / "src" / "confrere" / file, ROOT / file]
        assert any(path.is_file() for path in there), f"docs/{page} names {file}"
    for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", text(page)):
        path = ROOT / "tests" / file
        assert path.is_file(), f"docs/{page} names {file}"
        assert re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE), f"{page}: {file}::{name}"


def test_every_threat_has_a_control_a_file_and_a_test() -> None:
    rows = [line for line in text("threats.md").splitlines() if line.startswith("| ") and line.count(" | ") == 3]
    threats = [row for row in rows if not row.startswith(("| threat |", "| --- |"))]
    assert len(threats) > 40
    for row in threats:
        assert re.fullmatch(r"\| .+ \| .+ \| `[\w/]+\.py` \| `[\w/]+\.py::\w+`(, `[\w/]+\.py::\w+`)* \|", row), row


def test_a_file_that_is_not_there_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.md").write_text("`hospital/gate.py`, `attacks/test_active.py::test_that_is_not_there`")
    monkeypatch.setattr(sys.modules[__name__], "DOCS", tmp_path)
    with pytest.raises(AssertionError, match="test_that_is_not_there"):
        test_every_file_and_test_that_is_named_is_there("p.md")
