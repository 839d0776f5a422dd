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


@pytest.mark.parametrize(
    ("name", "lacking", "said"),
    [
        ("skin", ("PIL", "torch"), "PIL, torch are not installed; the demo 'skin' needs: {}[images,networks]'"),
        ("pathology", ("openslide",), "openslide is not installed; the demo 'pathology' needs: {}[slides,networks]'"),
        ("pathology", ("torch",), "torch is not installed; the demo 'pathology' needs: {}[slides,networks]'"),
        ("omop", ("circe",), "circe is not installed; the demo 'omop' needs: {}[omop]'"),
    ],
)
def test_a_demo_says_what_to_install_before_it_makes_anything(
    name: str, lacking: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(module: str, *_: Any) -> object:
        return None if module in lacking else object()

    monkeypatch.setattr("confrere.console.output.find_spec", found)
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, ["demo", name]).exception
    assert isinstance(error, StudyError)
    assert str(error) == said.format("pip install 'confrere")
    assert not list(tmp_path.iterdir())


def test_the_records_of_the_pictures_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confrere.console.output.find_spec", lambda _: None)
    error = CliRunner().invoke(app, ["records", "skin", "--out", str(tmp_path / "skin")]).exception
    assert isinstance(error, StudyError)
    assert str(error) == "PIL is not installed; making pictures needs: pip install 'confrere[images]'"


def test_the_rest_works(bare: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["records", "lung", "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert (tmp_path / "study.toml").exists()
