"""The checks that every change passes: ruff, its format, and mypy --strict."""

from __future__ import annotations

import subprocess
import sys

import pytest

from federate import ROOT

CHECKS = {
    "ruff": ["ruff", "check", "--quiet", "."],
    "format": ["ruff", "format", "--check", "--quiet", "src", "tests", "benchmarks"],
    "mypy": ["mypy"],
}


@pytest.mark.parametrize("name", CHECKS)
def test_check(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", *CHECKS[name]], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
