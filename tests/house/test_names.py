"""Names and words of the house: public names, docstrings, errors, no machine's paths, no print outside console."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import confrere
from confrere import errors
from confrere.rounds import find
from federate import ROOT
from house.tree import PACKAGE, files, modules, name, parsed
from laws.cases import registered

EACH = pytest.mark.parametrize("path", modules(), ids=name)
EMPTY_NAMES = {"utils", "util", "common", "base", "manager", "helper", "helpers", "misc", "tools", "core"}


# Public names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("public", confrere.__all__)
def test_a_public_name_is_there_and_says_what_it_is(public: str) -> None:
    thing = getattr(confrere, public)
    assert thing.__name__ == public
    assert thing.__doc__


def test_public_names_are_said_in_one_way() -> None:
    """For people (`__all__`), on first use (`_WHERE`), and for types."""
    tree = parsed(PACKAGE / "__init__.py")
    (typed,) = [n for n in tree.body if isinstance(n, ast.If)]
    for_types = {a.name: n.module for n in typed.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert sorted(confrere.__all__) == sorted(confrere._WHERE) == sorted(for_types)
    assert {n: f"confrere.{where}" for n, where in confrere._WHERE.items()} == for_types
    assert set(confrere.__all__) <= set(dir(confrere))


@pytest.mark.parametrize("method", registered())
def test_every_analysis_is_a_public_name(method: str) -> None:
    assert getattr(confrere, find(method).__name__) is find(method)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Coxx'"):
        confrere.Coxx  # noqa: B018


def test_import_is_quick() -> None:
    """`import confrere` reads none of the core stack."""
    import subprocess
    import sys

    heavy = ("numpy", "pandas", "ibis", "scipy", "formulaic", "altair", "vl_convert")
    code = f"import confrere, sys; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


# Words --------------------------------------------------------------------------------------------------------


@EACH
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(parsed(path)), f"{name(path)} has no docstring"


@EACH
def test_public_functions_and_classes_say_what_they_do(path: Path) -> None:
    nodes = [n for n in parsed(path).body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"]
    silent = [n.name for n in nodes if not ast.get_docstring(n)]
    assert not silent, f"without a docstring in {name(path)}: {silent}"


@EACH
def test_names_say_something(path: Path) -> None:
    words = {path.stem, *path.relative_to(PACKAGE).parts[:-1]}
    classes = {n.name for n in ast.walk(parsed(path)) if isinstance(n, ast.ClassDef)}
    assert not words & EMPTY_NAMES
    assert not [c for c in classes if re.search(r"(Manager|Helper|Utils?|Base)$", c)]


def test_the_tree_of_errors_is_drawn_whole() -> None:
    drawn = str(errors.__doc__)
    for thing in vars(errors).values():
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert re.search(rf"\b{thing.__name__}\b", drawn), f"{thing.__name__} is not in the tree of errors.py"
            assert thing.__doc__


@EACH
def test_nothing_is_printed_outside_the_console(path: Path) -> None:
    if path.is_relative_to(PACKAGE / "console"):
        return
    calls = [n.func for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]
    assert not [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]
    assert "sys.stdout" not in path.read_text(encoding="utf-8")


@EACH
def test_no_code_arrives_and_no_user_meets_an_assertion(path: Path) -> None:
    tree = parsed(path)
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Assert)], "raise an error of errors.py"
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert not called & {"eval", "exec", "compile", "__import__"}
    roots = {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    roots |= {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not roots & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


# Machines -----------------------------------------------------------------------------------------------------

# in pieces, so that this file is none of those it looks for
PATHS = re.compile(
    "|".join(["/ho" + r"me/\w", "/Us" + r"ers/\w", "/ro" + "ot/", r"(?<![\w.])/wo" + "rk/", r"[A-Z]:\\\\" + "Us"])
)
HOSTS = re.compile("|".join([
    "index" + "-url", "artif" + "actory", "dev" + "pi", r"nexus\." + r"\w", "python" + "hosted", r"\.inter" + r"nal\b",
    r"\b10\.\d+\.\d+\." + r"\d+\b", r"\b192\.168\." + r"\d+",
]))  # fmt: skip


def written(path: Path) -> str:
    """A text file's text."""
    return path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("what", [PATHS, HOSTS], ids=["paths", "hosts"])
def test_no_file_names_a_machine(what: re.Pattern[str]) -> None:
    found = [f"{p.relative_to(ROOT)}: {m[0]}" for p in files() for m in [what.search(written(p))] if m]
    assert not found


def test_sources_end_with_one_newline_and_hold_no_tabs() -> None:
    for path in (p for p in files() if p.suffix in {".py", ".toml", ".md"}):
        text = written(path)
        assert text == "" or (text.endswith("\n") and not text.endswith("\n\n")), path
        assert "\t" not in text, path


def test_no_two_analyses_have_one_name() -> None:
    """The manifest, the wire and the report tell analyses apart by name."""
    found = [
        n for path in modules() for n in re.findall(r'^@register\("(\w+)"\)', path.read_text(encoding="utf-8"), re.M)
    ]
    assert len(found) > 90
    assert sorted(found) == sorted(set(found))
