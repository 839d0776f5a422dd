"""The plug-in of docs/plugin: installed as a package, it obeys the laws, and the command line runs it as any other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from confrere.console.demo import load
from federate import ROOT

PLUGIN = ROOT / "docs" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package (`source`) and what pip makes of it (`installed`)."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, "--target", str(folder / "installed"), str(folder / "source")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *command: str) -> str:
    """Run a command where the plug-in is installed; gives what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "installed")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(installed: Path) -> None:
    said = run(installed, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "source/test_agreement.py")
    assert "passed" in said
    assert "skipped" not in said


def test_a_study_names_it_and_the_command_line_runs_it(installed: Path) -> None:
    _, hospitals = load("lung")
    given = []
    for i, records in enumerate(hospitals.values()):
        records.to_csv(installed / f"h{i}.csv", index=False)
        given += ["--hospital", f"h{i}=h{i}.csv"]
    confrere = Path(sys.executable).parent / "confrere"
    assert "agreement" in run(installed, str(confrere), "manifest", "source/study.toml")
    run(installed, str(confrere), "run", "source/study.toml", *given, "--out", "out")
    (finding,) = json.loads((installed / "out" / "result.json").read_text(encoding="utf-8"))["analyses"]
    assert finding["method"] == "agreement"
    assert [r["measure"] for r in finding["tables"]["agreement"]][:2] == ["concordance correlation", "mean difference"]
    assert finding["tables"]["agreement"][0]["estimate"] == pytest.approx(0.5457, abs=5e-5)
    assert "concordance correlation" in (installed / "out" / "report.html").read_text(encoding="utf-8")


def test_the_page_for_developers_shows_the_same_code() -> None:
    code = (PLUGIN / "confrere_agreement.py").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "developer.md").read_text(encoding="utf-8")
    assert f"```python\n# confrere_agreement.py\n{code}```\n" in page, (
        "copy docs/plugin/confrere_agreement.py into the page"
    )


def test_the_method_is_short() -> None:
    """What Confrere asks for: the class, and the arrays that leave."""
    lines = (PLUGIN / "confrere_agreement.py").read_text(encoding="utf-8").splitlines()
    start, end = (
        lines.index('@register("agreement")'),
        lines.index("def concordance(n: float, mean: Array, s: Array) -> Record:"),
    )
    assert len([line for line in lines[start:end] if line.strip()]) <= 32
