"""Who may import whom (DESIGN 3): the folders in this order are the path of the data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from house.tree import PACKAGE, modules, name, parsed

BELOW = {"rounds", "wire", "sums", "study", "data", "analyses"}
MAY: dict[str, set[str]] = {
    "errors": set(),
    "rounds": {"errors"},
    "wire": {"errors", "rounds"},
    "journal": {"errors", "rounds", "wire"},
    "kits": {"errors"},
    "forks": set(),
    "metrics": {"errors"},
    "sums": {"errors", "rounds"},
    "study": {"errors", "rounds"},
    "data": {"errors", "study"},
    "images": {"errors", "study", "data"},
    "analyses": {"errors", "rounds", "study"},
    "hospital": {"errors", "forks", "journal", "kits", "metrics", "images"} | BELOW,
    "coordinator": {"errors", "forks", "journal", "kits", "metrics"} | BELOW,
    "report": {"errors", "study", "analyses"},
    "console": {"errors", "hospital", "coordinator", "report", "kits", "metrics", "images", "__version__"}
    | BELOW - {"sums"},
    "testing": {"errors", "hospital", "console", "journal"} | BELOW - {"sums", "wire"},  # for tests of methods
    "__main__": {"console"},
    "__init__": {"analyses", "console", "study"},  # names on first use
}


def layer(path: Path) -> str:
    """The folder or the module at the top of the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Layers of ours that a module imports, also inside functions and for types alone."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "confrere":
            parts = str(node.module).split(".")
            yield from [parts[1]] if len(parts) > 1 else [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name(path)}: imports are absolute"
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("confrere."))


@pytest.mark.parametrize("path", modules(), ids=name)
def test_a_module_imports_what_its_layer_may(path: Path) -> None:
    own = layer(path)
    assert own in MAY, f"a new layer {own!r}: give it a place in DESIGN 3 and here"
    if strange := set(imported(path)) - MAY[own] - {own}:
        raise AssertionError(f"{own} may import {sorted(MAY[own])}; {name(path)} imports {sorted(strange)}")


def test_the_heart_imports_numpy_and_the_standard_library_alone() -> None:
    import sys

    roots = set()
    for node in ast.walk(parsed(PACKAGE / "rounds.py")):
        if isinstance(node, ast.Import):
            roots |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module).split(".")[0])
    assert roots - set(sys.stdlib_module_names) == {"numpy", "confrere"}


def test_sums_know_arrays_and_never_patients() -> None:
    for path in (PACKAGE / "sums").glob("*.py"):
        assert not {"pandas", "ibis", "duckdb"} & {
            str(n.module).split(".")[0] for n in ast.walk(parsed(path)) if isinstance(n, ast.ImportFrom)
        }, name(path)
