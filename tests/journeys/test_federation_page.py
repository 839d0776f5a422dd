"""docs/federation.md, followed to the letter by a shell: from nothing to the results of a federation."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("nvflare")

PAGE = Path(__file__).parents[2] / "docs" / "federation.md"
BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free() -> tuple[int, int]:
    """A port with a free one after it, and another."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            port, api = one.getsockname()[1], other.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port, api


def script() -> str:
    """The page's commands, on ports that are free here, waiting until the coordinator answers."""
    port, api = free()
    text = "\n".join(BASH.findall(PAGE.read_text(encoding="utf-8")))
    connect = next(line for line in text.splitlines() if line.startswith("confrere connect"))
    ready = f"for i in $(seq 120); do {connect} > said.connect 2>&1 && break; sleep 0.5; done\n"
    text = text.replace(connect, ready + connect)
    return "set -e\n" + text.replace("8102", str(port)).replace("8443", str(api))


def ended(group: int) -> bool:
    """Ask all processes of a group to stop; whether all have."""
    os.killpg(group, signal.SIGTERM)
    for _ in range(60):
        time.sleep(1)
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
    os.killpg(group, signal.SIGKILL)
    return False


def followed(commands: str, folder: Path, patience: float) -> None:
    """Have a shell follow commands in a folder, for so many seconds at most; nothing of theirs runs on."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "said").open("wb") as said:
        shell = subprocess.Popen(
            ["bash", "-c", commands], cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = shell.wait(patience)
        finally:
            gone = ended(shell.pid)
    assert gone, "serving processes are left over"
    assert code == 0, (folder / "said").read_text()[-3000:]


def test_the_page_leads_from_nothing_to_results(tmp_path: Path) -> None:
    followed(script(), tmp_path, 280)
    result = json.loads((tmp_path / "results" / "result.json").read_text())
    assert result["hospitals"] == ["delft", "gouda", "rotterdam"]
    assert not result["self_approved"]
    assert (tmp_path / "results" / "report.html").exists()
    for private in [*tmp_path.glob("*/identity.key"), *tmp_path.glob("*/engine/*/startup/*.key")]:
        assert private.stat().st_mode & 0o077 == 0, private
    assert not list((tmp_path / "coordinator").rglob("rootCA.key"))  # the authority's key is not the coordinator's
