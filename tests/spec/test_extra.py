"""Without the extra for federations, its commands say what to install; everything else works."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from confrere.console.app import app
from confrere.errors import StudyError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the engine."""
    find = importlib.util.find_spec

    def found(name: str, *more: Any) -> Any:
        return None if name == "nvflare" else find(name, *more)

    monkeypatch.setattr("confrere.console.output.find_spec", found)


@pytest.mark.parametrize(
    "words",
    [
        ["hospital", "serve"],
        ["coordinator", "serve"],
        ["authority", "fingerprint"],
        ["status"],
        ["demo", "--federated"],
        ["connect", "https://localhost:1", "--token", "t", "--authority", "a"],
    ],
    ids=" ".join,
)
def test_what_to_install_is_said(bare: None, words: list[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)] if words[0] == "demo" else []
    error = CliRunner().invoke(app, [*words, *out]).exception
    assert isinstance(error, StudyError)
    assert str(error) == "nvflare is not installed; a federation needs: pip install 'confrere[federation]'"


def test_the_rest_works(bare: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["records", "lung", "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert (tmp_path / "study.toml").exists()
