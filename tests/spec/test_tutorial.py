"""The tutorial runs from nothing, and prints the numbers that it holds.

`python tests/spec/test_tutorial.py` writes its outputs anew.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")
Cell = dict[str, Any]


def executed(folder: Path) -> Any:
    """The notebook with the outputs of a fresh kernel in an empty folder; an error in a cell is raised."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kind = {"resources": {"metadata": {"path": str(folder)}}, "record_timing": False, "coalesce_streams": True}
    client = NotebookClient(notebook, timeout=120, **kind)
    # what commands print must not depend on the terminal of whoever runs this
    return client.execute(env={**os.environ, "PATH": path, "COLUMNS": "110"})


def outputs(notebook: Any) -> Iterator[tuple[str, str, str]]:
    """Of every code cell: its id, the kinds of what it shows, and what it prints or shows as text."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds = sorted({kind for out in cell.outputs for kind in out.get("data", {out.output_type: ""})})
            text = "".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.outputs)
            yield cell.id, " ".join(kinds), text


def numbers(text: str) -> np.ndarray:
    """The numbers of a text, in their order."""
    return np.array([float(n.replace(",", "")) for n in NUMBER.findall(text)])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """What the cells show now."""
    found = executed(tmp_path_factory.mktemp("tutorial"))
    return {name: (kinds, text) for name, kinds, text in outputs(found)}


STORED = list(outputs(nbformat.read(NOTEBOOK, as_version=4)))


@pytest.mark.parametrize(("name", "kinds", "text"), STORED, ids=[name for name, *_ in STORED])
def test_a_cell_shows_what_the_notebook_holds(
    name: str, kinds: str, text: str, fresh: dict[str, tuple[str, str]]
) -> None:
    now_kinds, now = fresh[name]
    assert now_kinds == kinds
    assert NUMBER.sub("#", now).split() == NUMBER.sub("#", text).split()
    np.testing.assert_allclose(numbers(now), numbers(text), rtol=1e-6, atol=1e-12)


def test_the_notebook_holds_outputs_and_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert sum(bool(shown) for _, kinds, shown in STORED if kinds) >= 10
    assert "image/svg+xml" in text
    assert "Traceback" not in text
    assert not re.search(r"https?://(?!doi\.org|www\.w3\.org|orcid)", text), "an output loads something from elsewhere"


def test_a_changed_number_would_be_seen() -> None:
    assert numbers("n = 2,982, 1e-3 and -0.5").tolist() == [2982, 0.001, -0.5]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        made = executed(Path(temporary))
    for cell in made.cells:
        cell.metadata.clear()
    nbformat.write(made, NOTEBOOK)
