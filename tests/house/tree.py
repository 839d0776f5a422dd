"""The files of the repository, for the tests of the house."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

from federate import ROOT

PACKAGE = ROOT / "src" / "confrere"
TOP = ("src", "tests", "docs", "scripts", "benchmarks", ".ci")  # beside the files at the top
WRITTEN = {
    ".py", ".md", ".toml", ".R", ".j2", ".css", ".json", ".csv", ".svg", ".txt", ".html", ".po", "", ".gitignore",
}  # fmt: skip


@lru_cache
def files() -> tuple[Path, ...]:
    """Everything that is written here; not what tools leave behind."""
    found = [p for p in ROOT.iterdir() if p.is_file()]
    for top in TOP:
        found += [p for p in (ROOT / top).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return tuple(sorted(p for p in found if p.suffix in WRITTEN))


@lru_cache
def modules() -> tuple[Path, ...]:
    """The modules of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@lru_cache
def parsed(path: Path) -> ast.Module:
    """A module's tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    """A path as tests show it."""
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()
