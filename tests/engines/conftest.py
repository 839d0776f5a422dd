"""One federation of real processes for all tests that need one: founding it takes most of their time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engines.inprocess import found

if TYPE_CHECKING:
    from engines.flare import Machines


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Founded once; use `federation`."""
    pytest.importorskip("nvflare", reason="needs the extra `federation`")
    from engines.flare import machines

    with machines(tmp_path_factory.mktemp("federation")) as made:
        yield made


@pytest.fixture
def federation(founded: Machines) -> Machines:
    """A federation of a coordinator and three hospitals, all of them up."""
    founded.up()
    return founded


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of a federation in this process, before its first run; use `place`."""
    folder = tmp_path_factory.mktemp("beginning")
    found(folder)
    return folder


@pytest.fixture
def place(beginning: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    shutil.copytree(beginning, tmp_path / "f")
    return tmp_path / "f"
