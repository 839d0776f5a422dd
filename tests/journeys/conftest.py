"""The shell of a journey."""

from __future__ import annotations

from pathlib import Path

import pytest

from .command import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs `confrere` commands in an empty folder."""
    return Shell(tmp_path, monkeypatch, capsys)
