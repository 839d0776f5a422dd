"""The benchmark of a federation runs over real processes, at a tiny size. No time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from federate import ROOT


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.federation", "--out", str(tmp_path), "--times", "1"]
    done = subprocess.run(
        [*command, "--hospitals", "--sizes", "1 kB"], cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    results = json.loads((tmp_path / "federation.json").read_text(encoding="utf-8"))
    assert results["rounds"]["1 kB"]["rounds"] > 10
    assert 0 < results["reports"][0]["first"] < results["reports"][0]["found"] < results["reports"][0]["report"]
    for size, least in (("1 kB", 1 << 10), ("1 MB", 1 << 20)):  # of each of three hospitals in; to all, out
        carried = results["carried"]["3"][size]
        assert 3 * least < carried["received"] < 3 * least * 1.1 + 2000
        assert 6 * least < carried["sent"] < 6 * least * 1.1 + 6000  # nobody gets its own back
    text = (tmp_path / "federation.md").read_text(encoding="utf-8")
    assert text.count("| ") > 20
    assert "nan" not in text


@pytest.mark.slow
def test_the_task_of_fedeca(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.fedeca", "--out", str(tmp_path), "--times", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    results = json.loads((tmp_path / "fedeca.json").read_text(encoding="utf-8"))
    for (run,) in results["runs"].values():
        assert 0 < run["first"] < run["found"] < run["report"]
        assert run["rounds"] > 20
    text = (tmp_path / "fedeca.md").read_text(encoding="utf-8")
    assert "| Confrere, one baseline for all, submit to report |" in text
    assert "| 947 s |" in text
