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
NAMED = ("rules.fr.md", "threats.md", "five-safes.md", "compliance.md", "dpia.md", "dpia.fr.md", "rules.md")


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
    assert re.search(rf"^\| `{key}` \| .+ \| .+ \|$", text("rules.fr.md"), re.MULTILINE)


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


# figures ------------------------------------------------------------------------------------------------------

REPORT = """<testsuites><testsuite>
<testcase classname="tests.attacks.test_active" name="test_hostile[a]" />
<testcase classname="tests.attacks.test_active" name="test_hostile[b]"><failure message="no" /></testcase>
<testcase classname="tests.attacks.test_small" name="test_holes">
<skipped type="pytest.xfail" message="known" /></testcase>
<testcase classname="tests.attacks.test_small" name="test_not_run">
<skipped type="pytest.skip" message="slow" /></testcase>
<testcase classname="tests.attacks.test_controls" name="test_it_is_caught" />
<testcase classname="tests.attacks.test_cases" name="test_membership_is_measured[cox]">
<properties><property name="('attack', 'cox, ranges', 'AUC')" value="0.58 (0.53 to 0.64)" /></properties></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark of the rules, which is beside the package and not in it."""
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.rules")


def test_what_is_known_to_succeed_counts_as_succeeded(figures: Any, tmp_path: Path) -> None:
    (tmp_path / "attacks.xml").write_text(REPORT)
    told = figures.counted(tmp_path / "attacks.xml")
    assert sorted(told.kinds.values()) == [(1, 1), (2, 1)]
    assert told.controls == (1, 1)
    assert [one.split("`")[1] for one in told.succeeded] == ["test_hostile[b]", "test_holes"]
    assert told.auc == {"cox, ranges": "0.58 (0.53 to 0.64)"}


def test_every_file_of_attacks_has_words(figures: Any) -> None:
    files = {path.stem for path in (ROOT / "tests" / "attacks").glob("test_*.py")}
    assert files == {*figures.KINDS, "test_controls"}


def test_the_gate_is_timed_in_a_whole_run_and_the_page_has_it(figures: Any, tmp_path: Path) -> None:
    took = figures.gate(1)
    assert all(value > 0 for value in took.values())
    assert took["gate_share"] < 1
    (tmp_path / "attacks.xml").write_text(REPORT)
    book = dict.fromkeys(("sixteen_threads_per_second", "one_writer_per_second", "fsync_per_second"), 1234.0)
    rest = {
        "ledger": book | {"entries": 1000, "verify_seconds": 0.5},
        "differencing": {"studies": 25, "refused": 5.7, "open": 0.0, "unguarded": 0.75},
        "pages": ["| a page | 12 ms |"],
    }
    made = figures.page(figures.counted(tmp_path / "attacks.xml"), "imputed", took, rest)
    for line in (
        "| attacks tried, succeeded | all, 0 | 3, 2 ([which](#attacks)) |",
        "| membership, area under the curve | printed | 0.58 to 0.58, median 0.58 ([by study](#membership)) |",
        "- `test_holes`: known",
        "| the same, with the guard | 0 % | 0% |",
        "| a page | 12 ms |",
    ):
        assert line in made.splitlines()
    assert "but for those with 'imputed' in their names" in made


def test_the_page_of_figures_is_one_that_the_script_wrote(figures: Any) -> None:
    """Its numbers are of a day; its rows are those of the script."""
    written = text("figures-rules.md")
    assert "Made by `python -m benchmarks.rules` on " in written
    for words in ("attacks tried, succeeded", "the gate, for an ask", "durable entries of the ledger", "to verify "):
        assert f"\n| {words}" in written
