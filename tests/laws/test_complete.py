"""A registered analysis without a law case, an oracle, a case by hand, an attack, a source or a page is a failure."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from attacks.cases import CASES as ATTACKS
from confrere.rounds import find
from federate import ROOT
from laws.cases import CASES, registered

TESTS = ROOT / "tests"
EACH = pytest.mark.parametrize("name", registered())
SOURCE = re.compile(r"[A-Z][a-zA-Zé-]+.{0,60}\b(19|20)\d\d\b", re.DOTALL)  # a name and a year


def imports(path: Path) -> set[str]:
    """Names that a test file imports."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    return {alias.name for node in nodes for alias in node.names}


def oracles(name: str) -> list[Path]:
    """Test files under tests/oracles that use the analysis of a name."""
    return [p for p in sorted((TESTS / "oracles").glob("test_*.py")) if find(name).__name__ in imports(p)]


@EACH
def test_it_stands_under_the_laws(name: str) -> None:
    assert name in {c.name for c in CASES}, f"add a case of {name!r} to tests/laws/cases.py"


@EACH
def test_it_is_held_against_a_reference(name: str) -> None:
    assert oracles(name), f"no tests/oracles/test_*.py imports {find(name).__name__}"
    data = {word for p in oracles(name) for word in re.findall(r"[a-z_]+", p.read_text())}
    stored = {p.stem for p in (TESTS / "oracles").glob("*.json")}
    assert data & stored, f"the oracle tests of {name!r} read no reference result of tests/oracles/*.json"


@EACH
def test_it_has_a_case_by_hand(name: str) -> None:
    """The oracle test of the method imports a case of by_hand.py whose section bears its name."""
    text = (TESTS / "oracles" / "by_hand.py").read_text()
    sections = re.findall(r"^# --- ([\w -]+?) -+$(.*?)(?=^# --- |\Z)", text, re.MULTILINE | re.DOTALL)
    cases = {c for title, body in sections if plain(title) in (plain(name), *FAMILY.get(name, ()))
             for c in re.findall(r"^([A-Z][A-Z_]+) =", body, re.MULTILINE)}  # fmt: skip
    assert cases, f"by_hand.py has no section for {name!r}"
    assert cases & {c for p in oracles(name) for c in imports(p)}, f"no oracle test uses {sorted(cases)}"


FAMILY = {"glm": ("gamma",)}  # the general method by the family that has no method of its own


def plain(title: str) -> str:
    """A section's title and a method's name, written alike."""
    return re.sub(r"[^a-z]", "", title.lower())


@EACH
def test_it_is_attacked(name: str) -> None:
    assert name in {c.name for c in ATTACKS}, f"add a case of {name!r} to tests/attacks/cases.py"


@EACH
def test_it_says_what_it_does_and_where_it_is_from(name: str) -> None:
    cls = find(name)
    module = sys.modules[cls.__module__]
    made = str(cls.__doc__).startswith(f"{cls.__name__}(")  # by the dataclass, where there is none
    assert not made, f"{cls.__name__} has no docstring"
    assert SOURCE.search(f"{module.__doc__}\n{cls.__doc__}"), f"{cls.__module__} names no paper (author and year)"
    assert re.search("Finding|tables", cls.__doc__), f"{cls.__name__} does not say what its finding holds"


@EACH
def test_it_has_a_page(name: str) -> None:
    assert (ROOT / "docs" / "methods" / f"{name}.md").exists(), f"write docs/methods/{name}.md"
