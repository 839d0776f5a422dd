"""How long a newcomer waits: from `confrere demo` to its hazard ratios, and `import confrere`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.process import as_installed, spread

DEMO = "import sys; from confrere.console.app import main; sys.argv[1:1] = ['demo', '--out']; main()"


def start(times: int) -> dict[str, Any]:
    """Seconds by the wall, over so many fresh processes each; `python` is the interpreter alone, which is in both."""
    as_installed()
    return {
        "python": spread([_seconds("pass") for _ in range(times)]),
        "import": spread([_seconds("import confrere") for _ in range(times)]),
        "demo": spread([_demo() for _ in range(times)]),
    }


def _seconds(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def _demo() -> float:
    """Until the table of hazard ratios is printed."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        command = [sys.executable, "-c", DEMO, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout or ():
                if "hazard ratio" in line:
                    seconds = time.perf_counter() - begin
                    process.stdout.read() if process.stdout else None
                    return seconds
        raise RuntimeError("confrere demo printed no hazard ratios")
