"""`confrere demo --federated`: the demo over processes finds what it finds in one, to the last digit, and cleans up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import psutil
import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from journeys.command import SCRIPT

FOUR = ("delft", "dordrecht", "gouda", "rotterdam")


@pytest.mark.slow
def test_the_demo_over_processes_is_the_demo(tmp_path: Path) -> None:
    over, home = tmp_path / "over", tmp_path / "sites"
    words = ("--federated", "--home", str(home), "--out", str(over))
    for more in (words, ("--out", str(tmp_path / "one"))):
        done = subprocess.run(
            [str(SCRIPT), "demo", "breast", *more], capture_output=True, text=True, timeout=400, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    found, one = (json.loads((out / "result.json").read_text()) for out in (over, tmp_path / "one"))
    assert found["analyses"] == one["analyses"]
    assert (over / "report.html").exists()
    for name in FOUR:  # what a real site would keep
        for kept in ("identity.key", "ledger.sqlite", "roster.json", "federation.json", "hospital.toml"):
            assert (home / "hospitals" / name / kept).is_file(), (name, kept)
    assert (home / "coordinator" / "coordinator.toml").is_file()
    left = [
        p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or ())
    ]
    assert not left
